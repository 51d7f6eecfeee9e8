#include "file/path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

void file_folder_of(char *folder, const char *path)
{
    const char *slash = strrchr(path, '/');
    const size_t length = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memmove(folder, slash ? path : ".", slash ? length : 1);
    folder[slash ? length : 1] = '\0';
}

void file_join(char out[DT_PATH_MAX], const char *folder, const char *name)
{
    snprintf(out, DT_PATH_MAX, "%.*s/%.*s", FILE_FOLDER_MAX, folder, DT_PATH_MAX - FILE_FOLDER_MAX - 2, name);
}

void file_beside(char out[DT_PATH_MAX], const char *path, const char *name)
{
    snprintf(out, DT_PATH_MAX, "%.*s%s", (int)(file_base_name(path) - path), path, name);
}

const char *file_cut_word(char *path)
{
    char *colon = strrchr(path, ':');
    if (!colon || file_exists(path)) return NULL;
    *colon = '\0';
    if (file_exists(path)) return colon + 1;
    *colon = ':';
    return NULL;
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

bool file_is_elsewhere(const char *path)
{
    char owner[DT_PATH_MAX];
    const char *slash = strchr(path, '/');
    if (file_exists(path)) return false;
    if (strstr(path, "://")) return true;
    if (!slash || slash == path || !slash[1] || strchr(slash + 1, '/') || strchr("./~", path[0])) return false;
    snprintf(owner, sizeof owner, "%.*s", (int)(slash - path), path);
    return !file_exists(owner);
}

bool file_is_inside(const char *path, const char *folder)
{
    char start[DT_PATH_MAX], real[PATH_MAX], real_folder[PATH_MAX];
    if (!realpath(folder, real_folder)) return false;
    snprintf(start, sizeof start, "%s", path);
    while (!realpath(start, real)) { /* the part of it that exists */
        if (!strcmp(start, ".") || !strcmp(start, "/")) return false;
        file_folder_of(start, start);
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

void file_nearest_folder(char near[DT_PATH_MAX], const char *folder)
{
    snprintf(near, DT_PATH_MAX, "%s", folder);
    while (near[0] && !file_is_folder(near)) file_folder_of(near, near);
}
