#include "file/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/sort.h"
#include "file/walk.h"

enum { TREE_DEPTH_MAX = 64, END_BYTES = 1 << 16 };

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
        if (!why && file_sync_folder_of(part, err) != DT_OK) return err->status;
        if (last) return DT_OK;
        *at = '/';
    }
    return error_set(err, DT_ERR_IO, "cannot make a folder without a name");
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
        file_folder_of(folder, path);
    if (file_free_bytes(&free_bytes, folder, err) != DT_OK || bytes <= free_bytes) return err->status;
    return error_set(err, DT_ERR_IO, "%s: %s will take some %.3g MiB, %.3g MiB are free", folder, what,
                     (double)bytes / (1 << 20), (double)free_bytes / (1 << 20));
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
        file_folder_of(part, part);
    }
    if (!S_ISDIR(st.st_mode)) return error_set(err, DT_ERR_IO, "%s: %s is not a folder", path, part);
    if (access(part, W_OK | X_OK) != 0) return error_set_errno(err, "cannot write to the folder %s", part);
    return DT_OK;
}

dt_status file_rename(const char *from, const char *to, dt_error *err)
{
    if (rename(from, to) != 0) return error_set_errno(err, "cannot rename %s to %s", from, to);
    if (file_sync_folder_of(to, err) != DT_OK) return err->status;
    return file_sync_folder_of(from, err);
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
        if (file_sync_folder_of(path, err) == DT_OK) return file_remove_tree(made, err);
        renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE);
        return err->status;
    }
    if ((size_t)snprintf(aside, sizeof aside, "%s.old.tmp-%ld", path, (long)getpid()) >= sizeof aside)
        return error_set(err, DT_ERR_IO, "cannot replace %s: the path is too long", path);
    if (rename(path, aside) != 0) return error_set_errno(err, "cannot rename %s to %s", path, aside);
    if (rename(made, path) != 0) {
        error_set_errno(err, "cannot rename %s to %s", made, path);
        rename(aside, path);
    } else if (file_sync_folder_of(path, err) != DT_OK) {
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
    sort_array(names->name, names->count, sizeof names->name[0], compare_names);
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

/* ---- which state ---- */

static void hash_name(struct sha256_ctx *hash, const char *name, int64_t size)
{
    char text[DT_PATH_MAX + 32];
    const int length = snprintf(text, sizeof text, "%s/%" PRId64 "/", name, size);
    sha256_update(hash, (size_t)length, (const uint8_t *)text);
}

/* A folder's name, what is in it, and a mark of its end; of a link that leads back to a folder around it no content. */
static dt_status hash_entry(void *user, FTS *walk, FTSENT *entry, dt_error *err)
{
    struct sha256_ctx *hash = user;
    const char *name = entry->fts_name;
    if (!strcmp(name, FILE_LOCK_NAME) || file_is_temporary(name, NULL)) {
        fts_set(walk, entry, FTS_SKIP);
        return DT_OK;
    }
    if (entry->fts_level == 0) return DT_OK;
    switch (entry->fts_info) {
    case FTS_D:
    case FTS_NS:
    case FTS_SLNONE: hash_name(hash, name, -1); break;
    case FTS_DC:
        hash_name(hash, name, -1);
        hash_name(hash, "..", -1);
        break;
    case FTS_DP: hash_name(hash, "..", -1); break;
    case FTS_DNR:
    case FTS_ERR: errno = entry->fts_errno; return error_set_errno(err, "%s", entry->fts_path);
    default: hash_name(hash, name, entry->fts_statp->st_size);
    }
    return DT_OK;
}

static void hash_ends(struct sha256_ctx *hash, const char *path, dt_error *err)
{
    file_map map;
    if (file_map_open(&map, path, err) != DT_OK) return;
    const size_t end = map.size < END_BYTES ? map.size : END_BYTES;
    hash_name(hash, "", (int64_t)map.size);
    sha256_update(hash, end, map.data);
    sha256_update(hash, end, map.data + map.size - end);
    file_map_close(&map);
}

dt_status file_tree_hash(file_hash *out, const char *path, dt_error *err)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    if (file_is_folder(path))
        file_walk(path, true, hash_entry, &hash, err);
    else
        hash_ends(&hash, path, err);
    file_hash_finish(out, &hash);
    return err->status;
}
