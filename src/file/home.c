#include "file/home.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `path` is `length` characters long. Returns the characters written. */
static size_t expand_span(char *out, size_t size, const char *path, size_t length, dt_error *err)
{
    const char *home = "";
    if (length > 0 && path[0] == '~') {
        home = getenv("HOME");
        if (length > 1 && path[1] != '/')
            error_set(err, DT_ERR_ARG, "%.*s: only ~ and ~/ stand for a home folder; ./%.*s is a name that begins so",
                      (int)length, path, (int)length, path);
        else if (!home || !home[0])
            error_set(err, DT_ERR_ARG, "%.*s: HOME is not set", (int)length, path);
        path++, length--;
    }
    if (err->status != DT_OK) return 0;
    const size_t used = strlen(home) + length;
    if (used < size) snprintf(out, size, "%s%.*s", home, (int)length, path);
    if (used >= size) error_set(err, DT_ERR_ARG, "%.*s: the path is too long", (int)length, path);
    return err->status == DT_OK ? used : 0;
}

dt_status home_expand(char *out, size_t size, const char *path, dt_error *err)
{
    expand_span(out, size, path, strlen(path), err);
    return err->status;
}

dt_status home_expand_list(char *out, size_t size, const char *paths, dt_error *err)
{
    for (size_t used = 0; err->status == DT_OK; paths++) {
        const size_t length = strcspn(paths, ",");
        used += expand_span(out + used, size - used, paths, length, err);
        paths += length;
        if (!*paths) break;
        if (used + 2 > size) return error_set(err, DT_ERR_ARG, "the list of paths is too long");
        if (err->status == DT_OK) out[used++] = ',';
    }
    return err->status;
}
