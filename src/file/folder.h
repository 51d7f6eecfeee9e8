/* Folders: making, measuring, listing, replacing and removing them, and whose they are.
 *
 * Every failure is DT_ERR_IO (DT_ERR_MEMORY when memory is out) where no other is named, and names the folder. */
#ifndef FILE_FOLDER_H
#define FILE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "file/file.h"

/* Makes a folder and its missing parents, durably; an existing folder is fine. */
dt_status file_make_dirs(const char *path, dt_error *err);

/* Bytes that an ordinary user can still write below `folder`. */
dt_status file_free_bytes(int64_t *bytes, const char *folder, dt_error *err);

/* DT_ERR_IO when `bytes` of `what`, e.g. "the bank", find no room in the folder `path`, or in that of the file `path`. */
dt_status file_check_space(const char *path, int64_t bytes, const char *what, dt_error *err);

/* Whether a folder could be made, with its missing parents, or is there, and takes new files. Nothing is made. */
dt_status file_check_folder(const char *path, dt_error *err);

/* Renames a file or folder within one file system and makes the new name durable. `to` must not be a folder with
 * something in it. */
dt_status file_rename(const char *from, const char *to, dt_error *err);

/* Puts the folder `made` in the place of `path`, in the same file system, and removes what was there. Both change places in
 * one step; where the file system knows no such step the old one is set aside under another name before, so that at any time
 * one of them is whole. */
dt_status file_replace_folder(const char *made, const char *path, dt_error *err);

/* Removes a folder with all that is in it. Only regular files and folders are removed and no link is followed: when
 * anything else is found inside, the call fails and nothing is removed. A missing folder is an error. */
dt_status file_remove_tree(const char *path, dt_error *err);

/* What tells one state of a file or folder from another without reading all of it: of a folder the names and sizes of all files
 * below it, where links lead too, but for locks and files being written; of a file its size, and its first and last 64 KiB. */
dt_status file_tree_hash(file_hash *out, const char *path, dt_error *err);

typedef struct file_names {
    char **name; /* without "." and "..", in byte order */
    size_t count;
} file_names;

/* Names in a folder. Free the list with file_names_free, also after a failure. */
dt_status file_list(file_names *names, const char *folder, dt_error *err);
void file_names_free(file_names *names);

/* Whether a writer, or who makes a folder beside its place, calls what is not finished so: NAME.tmp-<process id>. *process (may
 * be NULL) is then that process. */
bool file_is_temporary(const char *name, long *process);

/* Of the lock of a folder (file/lock.h), which may be there at any time. */
#define FILE_LOCK_NAME "difftune.lock"

/* DT_ERR_CONFLICT naming one of them when an existing folder holds things, temporary files of writers and locks of
 * processes that died left aside; the caller is about to make it the folder of its `purpose`, e.g. "run". */
dt_status file_check_free_folder(const char *folder, const char *purpose, dt_error *err);

/* The same of a folder that is not known, by a file `mark` in it, as one of an earlier call: its files are written anew. */
dt_status file_check_own_folder(const char *folder, const char *mark, const char *purpose, dt_error *err);

/* Whether the folder holds `mark` and something else that is not empty. A call that failed before it made anything leaves its mark
 * alone, which another call may replace: it stands for nothing. */
bool file_is_claimed(const char *folder, const char *mark);

#endif
