/* What a process that was killed leaves of the files it was writing: temporary files of writers (file/file.h), and folders made
 * beside their place. Both are called NAME.tmp-<process id>. */
#ifndef FILE_LEFT_OVERS_H
#define FILE_LEFT_OVERS_H

/* Removes those of processes that have ended in a folder, and in the folders in it. The caller has the folder's lock: ids of
 * processes of other machines and containers say nothing here. What cannot be removed stays. */
void left_overs_remove(const char *folder);

/* The same beside the file or folder `path` alone, of what was to have this name. To be called when `path` is in place. */
void left_overs_remove_beside(const char *path);

#endif
