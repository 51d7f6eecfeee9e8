/* Files: reading whole, mapping, and writing so that a reader finds either the old file or the whole new one.
 *
 * Writing follows the order that survives a crash: a temporary file in the same folder, fsync, rename, fsync of the
 * folder (Pillai et al., OSDI 2014). A failed fsync is not repeated, because the kernel may have dropped the pages
 * already (Rebello et al., USENIX ATC 2020): the temporary file is thrown away instead.
 *
 * Every failure is DT_ERR_IO (DT_ERR_MEMORY when memory is out) and names the file. */
#ifndef FILE_FILE_H
#define FILE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nettle/sha2.h>

#include "base/error.h"

/* ---- calls that a signal may interrupt, which are made again ---- */

/* open(2), closed when another program is begun, and with mode 0666. */
int file_open(const char *path, int flags);

int file_sync(int fd);      /* fsync(2) */
int file_sync_data(int fd); /* fdatasync(2) */
int file_resize(int fd, int64_t bytes);

/* close(2), which Linux has done also where it was interrupted. */
int file_close(int fd);

/* ---- reading ---- */

/* A read-only mapping. A file that another program shortens meanwhile raises SIGBUS on access; files written by
 * file_writer never shrink under a reader, because they are replaced by rename. */
typedef struct file_map {
    const unsigned char *data; /* never NULL while open, also for an empty file */
    size_t size;
} file_map;

/* Maps a regular file. On failure *m is empty and may be closed. */
dt_status file_map_open(file_map *m, const char *path, dt_error *err);
void file_map_close(file_map *m);

/* Bytes of the mapping that were used and will not be for a while: their pages leave the process's memory and are read from
 * the file again when needed. Bytes outside the mapping are left alone. */
void file_map_drop(const file_map *m, const void *data, size_t size);

/* Reads a whole regular file into *data, which the caller frees; one zero byte follows the *size bytes. A file longer
 * than `limit` bytes is refused (DT_ERR_FORMAT) before memory is taken. */
dt_status file_read_all(char **data, size_t *size, const char *path, size_t limit, dt_error *err);

/* Reads the first `room` bytes of a regular file, or all that there are: *size. */
dt_status file_read_start(void *data, size_t *size, size_t room, const char *path, dt_error *err);

/* What a file's first bytes show it to be in place of what its name says: a web page, a Git LFS or git-annex pointer, as words for
 * a message ("FILE is ..."); NULL for anything else. */
const char *file_stands_for(const void *data, size_t size);

/* What a file is by its first bytes, where that is a picture, an archive, a document or text, as words for a message ("FILE is ...");
 * NULL for anything else. */
const char *file_kind(const void *data, size_t size);

/* Fails as opening a regular file for reading does, and with DT_ERR_FORMAT for one that stands for another. */
dt_status file_check_content(const char *path, dt_error *err);

/* ---- SHA-256 ---- */

typedef struct file_hash {
    char hex[2 * SHA256_DIGEST_SIZE + 1]; /* lower-case digits and a zero byte */
} file_hash;

dt_status file_sha256(file_hash *out, const char *path, dt_error *err);

/* Of a whole mapping, whose pages are dropped on the way: a large file is never in memory as a whole. */
void file_map_sha256(file_hash *out, const file_map *m);
void file_sha256_bytes(file_hash *out, const void *data, size_t size);
void file_hash_finish(file_hash *out, struct sha256_ctx *hash); /* of all that `hash` was given */

/* ---- writing ---- */

/* One new file. Nothing is visible under `path` before the commit. After any failure the temporary file is gone, the
 * old file is untouched, and the writer is closed. One writer per path at a time. */
typedef struct file_writer {
    char path[DT_PATH_MAX];
    char temporary[DT_PATH_MAX + 32]; /* path.tmp-<process id>, so that it lies in the same file system */
    int fd;                           /* -1: closed */
    struct sha256_ctx hash;           /* of all bytes so far, taken while they are in the cache */
} file_writer;

/* What is written for `path`, which need not be there yet: where its links lead, so that they stay. DT_ERR_IO: in circles, or too far. */
dt_status file_follow_links(char to[DT_PATH_MAX], const char *path, dt_error *err);

/* The folder must exist. A path that names a folder or a device is refused; a symbolic link is followed. */
dt_status file_writer_begin(file_writer *w, const char *path, dt_error *err);

/* Takes `bytes` of disk now, where the file system can, so that a full disk is found before the work. */
dt_status file_writer_reserve(file_writer *w, uint64_t bytes, dt_error *err);

dt_status file_writer_write(file_writer *w, const void *data, size_t size, dt_error *err);

/* Makes the new file durable and visible. `hash` (may be NULL) receives the SHA-256 of its bytes. */
dt_status file_writer_commit(file_writer *w, file_hash *hash, dt_error *err);

/* Drops the temporary file. Harmless on a writer that is closed. */
void file_writer_abort(file_writer *w);

/* begin, write and commit in one. */
dt_status file_write_atomic(const char *path, const void *data, size_t size, dt_error *err);

/* Appends to a log opened with O_APPEND, all of the data or nothing of it: what a failed write left is cut off again.
 * Where even that fails *fd is closed and becomes -1, and every later call is refused. `path` is for messages. */
dt_status file_append(int *fd, const char *path, const void *data, size_t size, dt_error *err);

/* ---- folders ---- */

/* Room that a folder's path leaves for the names that this program puts below it; settings keep to it. */
enum { FILE_FOLDER_MAX = DT_PATH_MAX - 128 };

/* folder/name. Longer paths are cut, which no folder of FILE_FOLDER_MAX bytes and none of our names reach. */
void file_join(char out[DT_PATH_MAX], const char *folder, const char *name);

/* The file `name` in the folder of the file `path`. */
void file_beside(char out[DT_PATH_MAX], const char *path, const char *name);

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

/* Whether `path`, which need not exist, is that folder or would be somewhere below it; links are followed. */
bool file_is_inside(const char *path, const char *folder);

/* Makes a folder and its missing parents; an existing folder is fine. */
dt_status file_make_dirs(const char *path, dt_error *err);

/* The folder, or the nearest on the way to it that is there. */
void file_nearest_folder(char near[DT_PATH_MAX], const char *folder);

/* Bytes that an ordinary user can still write below `folder`. */
dt_status file_free_bytes(int64_t *bytes, const char *folder, dt_error *err);

/* DT_ERR_IO when `bytes` of `what`, e.g. "the bank", find no room in the folder `path`, or in that of the file `path`. */
dt_status file_check_space(const char *path, int64_t bytes, const char *what, dt_error *err);

/* Whether a writer could write the file: its folder is there and takes new files. Leaves nothing behind. */
dt_status file_check_writable(const char *path, dt_error *err);

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
