#include "file/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <nettle/base16.h>

#include "base/arena.h"

enum { CHUNK_BYTES = 1 << 20, DROP_BYTES = 1 << 24, TREE_DEPTH_MAX = 64 };

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

/* ---- something else under a file's name ---- */

static bool begins(const char *text, size_t size, const char *with)
{
    return size >= strlen(with) && !strncasecmp(text, with, strlen(with));
}

static bool is_text(const char *data, size_t size)
{
    for (size_t i = 0; i < size && i < 512; i++)
        if ((unsigned char)data[i] < ' ' && !strchr("\t\n\r\f", data[i])) return false;
    return size > 0 && !memchr(data, 0, size < 512 ? size : 512);
}

const char *file_stands_for(const void *data, size_t size)
{
    static const char *const markup[] = {"<!doctype html", "<html", "<head",   "<body",
                                         "<!--",           "<?xml", "<script", "<error"};
    const char *text = data;
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, size -= 3; /* byte order mark */
    while (size > 0 && (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')) text++, size--;
    if (!is_text(text, size)) return NULL;
    if (begins(text, size, "version https://git-lfs") || begins(text, size, "version https://hawser"))
        return "a Git LFS pointer: the file itself was not downloaded (git lfs pull does that)";
    if (begins(text, size, "/annex/objects/") || begins(text, size, "../.git/annex/objects/"))
        return "a git-annex pointer: the file itself was not downloaded (git annex get does that)";
    for (size_t i = 0; i < sizeof markup / sizeof *markup; i++)
        if (begins(text, size, markup[i])) return "a web page: a site's answer was saved under this name";
    return NULL;
}

const char *file_kind(const void *data, size_t size)
{
    static const struct {
        size_t at, length;
        const char *bytes, *words;
    } kinds[] = {
        {0, 4, "\x89PNG", "a picture (PNG)"},
        {0, 3, "\xff\xd8\xff", "a picture (JPEG)"},
        {0, 4, "GIF8", "a picture (GIF)"},
        {8, 4, "WEBP", "a picture (WebP)"},
        {257, 5, "ustar", "a tar archive"},
        {0, 2, "PK", "a zip archive"},
        {0, 2, "\x1f\x8b", "packed by gzip"},
        {0, 6,
         "\xfd"
         "7zXZ",
         "packed by xz"},
        {0, 4, "\x28\xb5\x2f\xfd", "packed by zstd"},
        {0, 4, "%PDF", "a PDF document"},
        {0, 4, "GGUF", "a GGUF file"},
        {0, 4, "\x89HDF", "an HDF5 file"},
        {0, 6, "\x93NUMPY", "an array of NumPy"},
    };
    const char *start = data;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= kinds[i].at + kinds[i].length && !memcmp(start + kinds[i].at, kinds[i].bytes, kinds[i].length))
            return kinds[i].words;
    return is_text(start, size) ? "a text file" : NULL;
}

dt_status file_check_content(const char *path, dt_error *err)
{
    size_t size;
    char start[512];
    if (file_read_start(start, &size, sizeof start, path, err) != DT_OK) return err->status;
    const char *other = file_stands_for(start, size);
    return other ? error_set(err, DT_ERR_FORMAT, "%s is %s", path, other) : DT_OK;
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

static void folder_of(char folder[DT_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        strcpy(folder, ".");
    else
        snprintf(folder, DT_PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static void to_folder_of(char path[DT_PATH_MAX])
{
    char folder[DT_PATH_MAX];
    folder_of(folder, path);
    strcpy(path, folder);
}

/* Makes a rename in the folder of `path` durable. Some network file systems know no fsync of a folder (EINVAL). */
static dt_status sync_folder_of(const char *path, dt_error *err)
{
    char folder[DT_PATH_MAX];
    folder_of(folder, path);
    int fd = file_open(folder, O_RDONLY | O_DIRECTORY);
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
        folder_of(folder, to);
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
    return sync_folder_of(w->path, err);
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

/* ---- folders ---- */

void file_join(char out[DT_PATH_MAX], const char *folder, const char *name)
{
    snprintf(out, DT_PATH_MAX, "%.*s/%.*s", FILE_FOLDER_MAX, folder, DT_PATH_MAX - FILE_FOLDER_MAX - 2, name);
}

void file_beside(char out[DT_PATH_MAX], const char *path, const char *name)
{
    snprintf(out, DT_PATH_MAX, "%.*s%s", (int)(file_base_name(path) - path), path, name);
}

const char *file_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool file_has_extension(const char *path, const char *extension)
{
    const char *name = file_base_name(path), *dot = strrchr(name, '.');
    return dot && dot > name && !strcasecmp(dot + 1, extension);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool file_is_same(const char *a, const char *b)
{
    struct stat x, y;
    if (!strcmp(a, b)) return true;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool file_is_named_below(const char *path, const char *folder)
{
    const size_t length = strlen(folder);
    return !strncmp(path, folder, length) && path[length] == '/';
}

bool file_is_inside(const char *path, const char *folder)
{
    char start[DT_PATH_MAX], real[PATH_MAX], real_folder[PATH_MAX];
    if (!realpath(folder, real_folder)) return false;
    snprintf(start, sizeof start, "%s", path);
    while (!realpath(start, real)) { /* the part of it that exists */
        if (!strcmp(start, ".") || !strcmp(start, "/")) return false;
        to_folder_of(start);
    }
    size_t length = strlen(real_folder);
    if (real_folder[length - 1] == '/') length--;
    return !strncmp(real, real_folder, length) && (real[length] == '\0' || real[length] == '/');
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

dt_status file_make_dirs(const char *path, dt_error *err)
{
    char part[DT_PATH_MAX];
    if (strlen(path) >= sizeof part) return error_set(err, DT_ERR_IO, "cannot make %s: the path is too long", path);
    strcpy(part, path);
    for (char *at = part + 1; part[0] != '\0'; at++) {
        if (*at != '/' && *at != '\0') continue;
        bool last = *at == '\0';
        *at = '\0';
        const int why = mkdir(part, 0777) != 0 ? errno : 0;
        if (why && !file_is_folder(part)) {
            errno = why == EEXIST ? ENOTDIR : why;
            return error_set_errno(err, "cannot make the folder %s", part);
        }
        if (last) return DT_OK;
        *at = '/';
    }
    return error_set(err, DT_ERR_IO, "cannot make a folder without a name");
}

void file_nearest_folder(char near[DT_PATH_MAX], const char *folder)
{
    snprintf(near, DT_PATH_MAX, "%s", folder);
    while (near[0] && !file_is_folder(near)) to_folder_of(near);
}

dt_status file_free_bytes(int64_t *bytes, const char *folder, dt_error *err)
{
    struct statvfs st;
    if (statvfs(folder, &st) != 0) return error_set_errno(err, "cannot ask for the free space of %s", folder);
    if (__builtin_mul_overflow(st.f_bavail, st.f_frsize, bytes)) *bytes = INT64_MAX;
    return DT_OK;
}

dt_status file_check_space(const char *path, int64_t bytes, const char *what, dt_error *err)
{
    char folder[DT_PATH_MAX];
    int64_t free_bytes;
    if (file_is_folder(path))
        snprintf(folder, sizeof folder, "%s", path);
    else
        folder_of(folder, path);
    if (file_free_bytes(&free_bytes, folder, err) != DT_OK || bytes <= free_bytes) return err->status;
    return error_set(err, DT_ERR_IO, "%s: %s will take some %lld MiB, %lld MiB are free", folder, what,
                     (long long)(bytes >> 20), (long long)(free_bytes >> 20));
}

dt_status file_check_writable(const char *path, dt_error *err)
{
    file_writer w;
    if (file_writer_begin(&w, path, err) == DT_OK) file_writer_abort(&w);
    return err->status;
}

dt_status file_check_folder(const char *path, dt_error *err)
{
    char part[DT_PATH_MAX];
    struct stat st;
    if (strlen(path) >= sizeof part) return error_set(err, DT_ERR_IO, "cannot make %s: the path is too long", path);
    strcpy(part, path);
    for (size_t n = strlen(part); n > 1 && part[n - 1] == '/';) part[--n] = '\0';
    while (stat(part, &st) != 0) { /* the nearest that is there */
        if (errno != ENOENT) return error_set_errno(err, "cannot make the folder %s: cannot examine %s", path, part);
        to_folder_of(part);
    }
    if (!S_ISDIR(st.st_mode)) return error_set(err, DT_ERR_IO, "%s: %s is not a folder", path, part);
    if (access(part, W_OK | X_OK) != 0) return error_set_errno(err, "cannot write to the folder %s", part);
    return DT_OK;
}

dt_status file_rename(const char *from, const char *to, dt_error *err)
{
    if (rename(from, to) != 0) return error_set_errno(err, "cannot rename %s to %s", from, to);
    if (sync_folder_of(to, err) != DT_OK) return err->status;
    return sync_folder_of(from, err);
}

static dt_status remove_tree_at(int parent, const char *name, const char *root, int depth, bool remove, dt_error *err);

/* One thing inside a folder that is to be removed. */
static dt_status remove_member(int folder, const char *name, const char *root, int depth, bool remove, dt_error *err)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return error_set_errno(err, "cannot remove %s: cannot examine %s in it", root, name);
    if (S_ISDIR(st.st_mode)) return remove_tree_at(folder, name, root, depth + 1, remove, err);
    if (!S_ISREG(st.st_mode))
        return error_set(err, DT_ERR_IO, "will not remove %s: %s in it is neither a file nor a folder", root, name);
    if (remove && unlinkat(folder, name, 0) != 0)
        return error_set_errno(err, "cannot remove %s: cannot remove %s in it", root, name);
    return DT_OK;
}

/* Every name is resolved in its opened folder, so a folder swapped for a link meanwhile is not followed. No memory is taken,
 * which may be out when something half made is to be removed. */
static dt_status remove_tree_at(int parent, const char *name, const char *root, int depth, bool remove, dt_error *err)
{
    if (depth > TREE_DEPTH_MAX)
        return error_set(err, DT_ERR_IO, "will not remove %s: folders in it are nested too deep", root);
    _Alignas(struct dirent64) char members[4096];
    ssize_t size = 0;
    int fd = TEMP_FAILURE_RETRY(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd < 0) return error_set_errno(err, "cannot remove %s: cannot open the folder %s", root, name);
    while (err->status == DT_OK && (size = getdents64(fd, members, sizeof members)) > 0)
        for (ssize_t at = 0; at < size && err->status == DT_OK;) {
            const struct dirent64 *member = (const struct dirent64 *)(members + at);
            if (strcmp(member->d_name, ".") != 0 && strcmp(member->d_name, "..") != 0)
                remove_member(fd, member->d_name, root, depth, remove, err);
            at += member->d_reclen;
        }
    if (size < 0) error_set_errno(err, "cannot remove %s: cannot list the folder %s", root, name);
    close(fd);
    if (err->status == DT_OK && remove && unlinkat(parent, name, AT_REMOVEDIR) != 0)
        error_set_errno(err, "cannot remove %s: cannot remove the folder %s", root, name);
    return err->status;
}

dt_status file_remove_tree(const char *path, dt_error *err)
{
    if (remove_tree_at(AT_FDCWD, path, path, 0, false, err) != DT_OK) return err->status;
    return remove_tree_at(AT_FDCWD, path, path, 0, true, err);
}

dt_status file_replace_folder(const char *made, const char *path, dt_error *err)
{
    char aside[DT_PATH_MAX];
    if (!file_exists(path)) return file_rename(made, path, err);
    if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        if (sync_folder_of(path, err) == DT_OK) return file_remove_tree(made, err);
        renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE);
        return err->status;
    }
    if ((size_t)snprintf(aside, sizeof aside, "%s.old.tmp-%ld", path, (long)getpid()) >= sizeof aside)
        return error_set(err, DT_ERR_IO, "cannot replace %s: the path is too long", path);
    if (rename(path, aside) != 0) return error_set_errno(err, "cannot rename %s to %s", path, aside);
    if (rename(made, path) != 0) {
        error_set_errno(err, "cannot rename %s to %s", made, path);
        rename(aside, path);
    } else if (sync_folder_of(path, err) != DT_OK) {
        if (rename(path, made) == 0) rename(aside, path);
    } else {
        file_remove_tree(aside, err);
    }
    return err->status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool names_append(file_names *names, size_t *room, const char *name)
{
    if (names->count == *room) {
        size_t wider = *room ? 2 * *room : 64;
        char **moved = reallocarray(names->name, wider, sizeof *moved);
        if (!moved) return false;
        names->name = moved;
        *room = wider;
    }
    names->name[names->count] = strdup(name);
    return names->name[names->count] && ++names->count;
}

dt_status file_list(file_names *names, const char *folder, dt_error *err)
{
    *names = (file_names){0};
    DIR *d;
    while (!(d = opendir(folder)) && errno == EINTR) {
    }
    if (!d) return error_set_errno(err, "cannot list the folder %s", folder);
    size_t room = 0;
    const struct dirent *member;
    while (err->status == DT_OK && (errno = 0, member = readdir(d))) {
        if (strcmp(member->d_name, ".") == 0 || strcmp(member->d_name, "..") == 0) continue;
        if (!names_append(names, &room, member->d_name))
            error_set(err, DT_ERR_MEMORY, "no memory for the names in %s", folder);
    }
    if (err->status == DT_OK && errno != 0) error_set_errno(err, "cannot list the folder %s", folder);
    closedir(d);
    if (names->count > 1) qsort(names->name, names->count, sizeof names->name[0], compare_names);
    return err->status;
}

void file_names_free(file_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->name[i]);
    free(names->name);
    *names = (file_names){0};
}

bool file_is_temporary(const char *name, long *process)
{
    static const char mark[] = ".tmp-";
    const char *at = strstr(name, mark), *digits = at ? at + strlen(mark) : "";
    if (!digits[0] || digits[strspn(digits, "0123456789")]) return false;
    if (process) *process = strtol(digits, NULL, 10);
    return true;
}

dt_status file_check_free_folder(const char *folder, const char *purpose, dt_error *err)
{
    file_names names;
    if (!file_exists(folder)) return DT_OK;
    if (file_list(&names, folder, err) == DT_OK)
        for (size_t i = 0; i < names.count; i++)
            if (strcmp(names.name[i], FILE_LOCK_NAME) != 0 && !file_is_temporary(names.name[i], NULL))
                error_set(err, DT_ERR_CONFLICT, "%s: the folder holds other things (%s) and no %s; choose another",
                          folder, names.name[i], purpose);
    file_names_free(&names);
    return err->status;
}

static bool is_empty(const char *path)
{
    struct stat st;
    file_names names;
    dt_error unreadable = {0};
    if (stat(path, &st) != 0) return false;
    if (!S_ISDIR(st.st_mode)) return st.st_size == 0;
    const bool empty = file_list(&names, path, &unreadable) == DT_OK && names.count == 0;
    file_names_free(&names);
    return empty;
}

bool file_is_claimed(const char *folder, const char *mark)
{
    file_names names;
    char path[DT_PATH_MAX];
    dt_error unreadable = {0};
    bool more = file_list(&names, folder, &unreadable) != DT_OK;
    for (size_t i = 0; i < names.count && !more; i++) {
        const char *name = names.name[i];
        file_join(path, folder, name);
        more = strcmp(name, mark) != 0 && strcmp(name, FILE_LOCK_NAME) != 0 && !file_is_temporary(name, NULL) &&
               !is_empty(path);
    }
    file_names_free(&names);
    file_join(path, folder, mark);
    return more && file_exists(path);
}

dt_status file_check_own_folder(const char *folder, const char *mark, const char *purpose, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, mark);
    return file_exists(path) ? DT_OK : file_check_free_folder(folder, purpose, err);
}
