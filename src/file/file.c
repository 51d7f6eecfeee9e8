#include "file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/base16.h>

#include "base/arena.h"

enum { CHUNK_BYTES = 1 << 20, DROP_BYTES = 1 << 24 };

/* ---- calls that a signal may interrupt ---- */

int file_open(const char *path, int flags)
{
    return TEMP_FAILURE_RETRY(open(path, flags | O_CLOEXEC, 0666));
}

int file_sync(int fd)
{
    return TEMP_FAILURE_RETRY(fsync(fd));
}

int file_sync_data(int fd)
{
    return TEMP_FAILURE_RETRY(fdatasync(fd));
}

int file_resize(int fd, int64_t bytes)
{
    return TEMP_FAILURE_RETRY(ftruncate(fd, (off_t)bytes));
}

int file_close(int fd)
{
    return close(fd) == 0 || errno == EINTR ? 0 : -1;
}

/* ---- reading ---- */

/* Opens without waiting (a FIFO would block for ever) and without following a device's own rules. */
static dt_status open_regular(int *fd, size_t *size, const char *path, dt_error *err)
{
    struct stat st;
    *fd = -1;
    if (!path[0]) return error_set(err, DT_ERR_IO, "a file is expected, its path is empty");
    *fd = file_open(path, O_RDONLY | O_NONBLOCK);
    if (*fd < 0) return error_set_errno(err, "cannot open %s", path);
    if (fstat(*fd, &st) != 0) {
        error_set_errno(err, "cannot examine %s", path);
    } else if (!S_ISREG(st.st_mode)) {
        error_set(err, DT_ERR_IO, "%s is %s, expected a regular file", path,
                  S_ISDIR(st.st_mode) ? "a folder" : "a device, pipe or socket");
    } else {
        *size = (size_t)st.st_size;
        return DT_OK;
    }
    close(*fd);
    return err->status;
}

dt_status file_map_open(file_map *m, const char *path, dt_error *err)
{
    *m = (file_map){0};
    int fd;
    size_t size = 0;
    if (open_regular(&fd, &size, path, err) != DT_OK) return err->status;
    const void *data = "";
    if (size > 0) data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        error_set_errno(err, "cannot map %s", path);
    else
        *m = (file_map){data, size};
    close(fd);
    return err->status;
}

void file_map_close(file_map *m)
{
    if (m->size > 0) munmap((void *)m->data, m->size);
    *m = (file_map){0};
}

void file_map_drop(const file_map *m, const void *data, size_t size)
{
    const uintptr_t begin = (uintptr_t)data, first = (uintptr_t)m->data;
    if (begin >= first && begin + size <= first + m->size && begin + size >= begin) arena_drop_pages(data, size);
}

/* Up to `size` bytes, less at the end of the file only; -1 with errno. */
static ssize_t read_up_to(int fd, char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = TEMP_FAILURE_RETRY(read(fd, data + done, size - done));
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static dt_status read_exactly(int fd, char *data, size_t size, const char *path, dt_error *err)
{
    const ssize_t n = read_up_to(fd, data, size);
    if (n < 0) return error_set_errno(err, "cannot read %s", path);
    return (size_t)n == size ? DT_OK : error_set(err, DT_ERR_IO, "%s became shorter while it was read", path);
}

dt_status file_read_all(char **data, size_t *size, const char *path, size_t limit, dt_error *err)
{
    *data = NULL;
    int fd;
    if (open_regular(&fd, size, path, err) != DT_OK) return err->status;
    if (*size > limit) {
        error_set(err, DT_ERR_FORMAT, "%s has %zu bytes, at most %zu are expected", path, *size, limit);
    } else if (!(*data = malloc(*size + 1))) {
        error_set(err, DT_ERR_MEMORY, "no memory for the %zu bytes of %s", *size, path);
    } else if (read_exactly(fd, *data, *size, path, err) != DT_OK) {
        free(*data);
        *data = NULL;
    } else {
        (*data)[*size] = '\0';
    }
    close(fd);
    return err->status;
}

dt_status file_read_start(void *data, size_t *size, size_t room, const char *path, dt_error *err)
{
    int fd;
    if (open_regular(&fd, size, path, err) != DT_OK) return err->status;
    const ssize_t n = read_up_to(fd, data, room);
    *size = n > 0 ? (size_t)n : 0;
    if (n < 0) error_set_errno(err, "cannot read %s", path);
    close(fd);
    return err->status;
}

/* ---- SHA-256 ---- */

void file_hash_finish(file_hash *out, struct sha256_ctx *hash)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(hash, sizeof digest, digest);
    base16_encode_update(out->hex, sizeof digest, digest);
    out->hex[sizeof out->hex - 1] = '\0';
}

dt_status file_sha256(file_hash *out, const char *path, dt_error *err)
{
    file_map map;
    if (file_map_open(&map, path, err) != DT_OK) return err->status;
    file_map_sha256(out, &map);
    file_map_close(&map);
    return DT_OK;
}

void file_map_sha256(file_hash *out, const file_map *m)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    for (size_t at = 0; at < m->size; at += DROP_BYTES) {
        size_t size = m->size - at < DROP_BYTES ? m->size - at : DROP_BYTES;
        sha256_update(&hash, size, m->data + at);
        file_map_drop(m, m->data + at, size);
    }
    file_hash_finish(out, &hash);
}

void file_sha256_bytes(file_hash *out, const void *data, size_t size)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, size, data);
    file_hash_finish(out, &hash);
}

/* ---- writing ---- */

dt_status file_sync_folder_of(const char *path, dt_error *err)
{
    char folder[DT_PATH_MAX];
    file_folder_of(folder, path);
    int fd = file_open(folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == EACCES) return err->status; /* it may be written to and not read */
    if (fd < 0) return error_set_errno(err, "cannot open the folder %s", folder);
    if (file_sync(fd) != 0 && errno != EINVAL) error_set_errno(err, "cannot make the folder %s durable", folder);
    close(fd);
    return err->status;
}

dt_status file_follow_links(char to[DT_PATH_MAX], const char *path, dt_error *err)
{
    enum { LINKS_MAX = 40 }; /* as Linux has it */
    if (strlen(path) >= DT_PATH_MAX) return error_set(err, DT_ERR_IO, "cannot write %s: the path is too long", path);
    strcpy(to, path);
    for (int n = 0; n < LINKS_MAX; n++) {
        char link[DT_PATH_MAX], folder[DT_PATH_MAX];
        const ssize_t length = readlink(to, link, sizeof link - 1);
        if (length < 0) return DT_OK;
        link[length] = '\0';
        file_folder_of(folder, to);
        const bool whole = link[0] == '/';
        if (snprintf(to, DT_PATH_MAX, "%s%s%s", whole ? "" : folder, whole ? "" : "/", link) >= DT_PATH_MAX)
            return error_set(err, DT_ERR_IO, "cannot write %s: its link leads to a path that is too long", path);
    }
    return error_set(err, DT_ERR_IO, "cannot write %s: its links lead in circles", path);
}

dt_status file_writer_begin(file_writer *w, const char *path, dt_error *err)
{
    w->fd = -1;
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(err, DT_ERR_IO, "cannot write %s: it exists and is not a regular file", path);
    if (file_follow_links(w->path, path, err) != DT_OK) return err->status;
    snprintf(w->temporary, sizeof w->temporary, "%s.tmp-%ld", w->path, (long)getpid());
    unlink(w->temporary); /* left by a dead process that had our number */
    w->fd = file_open(w->temporary, O_WRONLY | O_CREAT | O_EXCL);
    if (w->fd < 0) return error_set_errno(err, "cannot write %s: cannot make %s", path, w->temporary);
    sha256_init(&w->hash);
    return DT_OK;
}

/* Reports errno against the file that was to be, and drops the temporary one. */
static dt_status writer_failed(file_writer *w, const char *what, dt_error *err)
{
    error_set_errno(err, "cannot %s %s", what, w->path);
    file_writer_abort(w);
    return err->status;
}

dt_status file_writer_reserve(file_writer *w, uint64_t bytes, dt_error *err)
{
    if (bytes == 0 || bytes > INT64_MAX) return DT_OK;
    if (TEMP_FAILURE_RETRY(fallocate(w->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes)) == 0) return DT_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return DT_OK;
    return writer_failed(w, "reserve the disk space for", err);
}

dt_status file_writer_write(file_writer *w, const void *data, size_t size, dt_error *err)
{
    const unsigned char *at = data;
    while (size > 0) {
        ssize_t n = TEMP_FAILURE_RETRY(write(w->fd, at, size < CHUNK_BYTES ? size : CHUNK_BYTES));
        if (n < 0) return writer_failed(w, "write", err);
        sha256_update(&w->hash, (size_t)n, at);
        at += n;
        size -= (size_t)n;
    }
    return DT_OK;
}

dt_status file_writer_commit(file_writer *w, file_hash *hash, dt_error *err)
{
    if (file_sync(w->fd) != 0) return writer_failed(w, "write", err);
    int closed = file_close(w->fd);
    w->fd = -1;
    if (closed != 0 || rename(w->temporary, w->path) != 0) {
        error_set_errno(err, "cannot write %s", w->path);
        unlink(w->temporary);
        return err->status;
    }
    if (hash) file_hash_finish(hash, &w->hash);
    return file_sync_folder_of(w->path, err);
}

void file_writer_abort(file_writer *w)
{
    if (w->fd < 0) return;
    close(w->fd);
    unlink(w->temporary);
    w->fd = -1;
}

dt_status file_write_atomic(const char *path, const void *data, size_t size, dt_error *err)
{
    file_writer w;
    if (file_writer_begin(&w, path, err) != DT_OK) return err->status;
    if (file_writer_write(&w, data, size, err) != DT_OK) return err->status;
    return file_writer_commit(&w, NULL, err);
}

dt_status file_check_writable(const char *path, dt_error *err)
{
    file_writer w;
    if (file_writer_begin(&w, path, err) == DT_OK) file_writer_abort(&w);
    return err->status;
}

dt_status file_append(int *fd, const char *path, const void *data, size_t size, dt_error *err)
{
    if (*fd < 0) return error_set(err, DT_ERR_IO, "cannot write %s: an earlier write failed", path);
    off_t before = lseek(*fd, 0, SEEK_END);
    for (size_t done = 0; done < size;) {
        ssize_t n = TEMP_FAILURE_RETRY(write(*fd, (const char *)data + done, size - done));
        if (n < 0) {
            error_set_errno(err, "cannot write %s", path);
            if (file_resize(*fd, before) == 0) return err->status;
            close(*fd);
            *fd = -1;
            return err->status;
        }
        done += (size_t)n;
    }
    return DT_OK;
}
