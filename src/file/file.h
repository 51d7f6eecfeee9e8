/* Files: reading whole, mapping, and writing so that a reader finds either the old file or the whole new one.
 *
 * Writing follows the order that survives a crash: a temporary file in the same folder, fsync, rename, fsync of the
 * folder (Pillai et al., OSDI 2014). A failed fsync is not repeated, because the kernel may have dropped the pages
 * already (Rebello et al., USENIX ATC 2020): the temporary file is thrown away instead.
 *
 * Every failure is DT_ERR_IO (DT_ERR_MEMORY when memory is out) and names the file. */
#ifndef FILE_FILE_H
#define FILE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include <nettle/sha2.h>

#include "file/path.h"

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

/* Whether a writer could write the file: its folder is there and takes new files. Leaves nothing behind. */
dt_status file_check_writable(const char *path, dt_error *err);

/* Makes a rename in the folder of `path` durable. Some network file systems know no fsync of a folder, which is no failure. */
dt_status file_sync_folder_of(const char *path, dt_error *err);

/* Appends to a log opened with O_APPEND, all of the data or nothing of it: what a failed write left is cut off again.
 * Where even that fails *fd is closed and becomes -1, and every later call is refused. `path` is for messages. */
dt_status file_append(int *fd, const char *path, const void *data, size_t size, dt_error *err);

#endif
