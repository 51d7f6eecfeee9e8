/* Paths: their words, and what they lead to. */
#ifndef FILE_PATH_H
#define FILE_PATH_H

#include <stdbool.h>

#include "base/error.h"

/* Room that a folder's path leaves for the names that this program puts below it; settings keep to it. */
enum { FILE_FOLDER_MAX = DT_PATH_MAX - 128 };

/* folder/name. Longer paths are cut, which no folder of FILE_FOLDER_MAX bytes and none of our names reach. */
void file_join(char out[DT_PATH_MAX], const char *folder, const char *name);

/* The file `name` in the folder of the file `path`. */
void file_beside(char out[DT_PATH_MAX], const char *path, const char *name);

/* The folder that a file or folder is in: "." for a name alone, "/" for what is in it. `folder` may be `path` itself, and has room for
 * it. */
void file_folder_of(char *folder, const char *path);

/* The word of "PATH:WORD": where `path` is not there and what stands before its last colon is, it becomes that, and what stood behind
 * is returned; else NULL, and nothing is changed. */
const char *file_cut_word(char *path);

/* What stands behind the last slash; the whole path where there is none. */
const char *file_base_name(const char *path);

/* Whether the name ends in a dot and these letters, in either case, with something before them. */
bool file_has_extension(const char *path, const char *extension);

/* Anything of that name; links are followed. Also true where a folder on the way may not be searched: using the file then
 * tells why not. */
bool file_exists(const char *path);

/* Whether two paths are equal or lead to one file or folder, through links too. */
bool file_is_same(const char *a, const char *b);
bool file_is_folder(const char *path);

/* Whether the words of `path` begin with those of `folder` and go on below it; neither is looked for. */
bool file_is_named_below(const char *path, const char *folder);

/* Whether a path that leads nowhere is an address, or has the form of a name on a hub: OWNER/NAME. */
bool file_is_elsewhere(const char *path);

/* Whether `path`, which need not exist, is that folder or would be somewhere below it; links are followed. */
bool file_is_inside(const char *path, const char *folder);

/* The folder, or the nearest on the way to it that is there. */
void file_nearest_folder(char near[DT_PATH_MAX], const char *folder);

#endif
