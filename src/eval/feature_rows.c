#include "eval/feature_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/file.h"

enum { BLOCK_ROWS = 256 };

static int64_t row_bytes(const feature_rows *r)
{
    return r->dim * (int64_t)sizeof(float);
}

dt_status feature_rows_open(feature_rows *r, const char *path, int64_t dim, dt_error *err)
{
    struct stat st;
    *r = (feature_rows){.fd = -1, .dim = dim};
    if (strlen(path) >= sizeof r->path) return error_set(err, DT_ERR_IO, "cannot open %s: path too long", path);
    strcpy(r->path, path);
    r->fd = file_open(path, O_RDWR | O_CREAT | O_APPEND);
    if (r->fd < 0) return error_set_errno(err, "cannot open %s", path);
    if (fstat(r->fd, &st) != 0)
        error_set_errno(err, "cannot examine %s", path);
    else if (!S_ISREG(st.st_mode))
        error_set(err, DT_ERR_IO, "%s is no regular file", path);
    else
        feature_rows_cut(r, st.st_size / row_bytes(r), err);
    if (err->status != DT_OK) feature_rows_close(r);
    return err->status;
}

void feature_rows_close(feature_rows *r)
{
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
}

dt_status feature_rows_cut(feature_rows *r, int64_t count, dt_error *err)
{
    if (file_resize(r->fd, count * row_bytes(r)) != 0) return error_set_errno(err, "cannot shorten %s", r->path);
    r->count = count;
    return DT_OK;
}

dt_status feature_rows_append(feature_rows *r, const float *rows, int64_t n, dt_error *err)
{
    if (file_append(&r->fd, r->path, rows, (size_t)(n * row_bytes(r)), err) != DT_OK) return err->status;
    if (file_sync_data(r->fd) != 0) return error_set_errno(err, "cannot write %s", r->path);
    r->count += n;
    return DT_OK;
}

static dt_status read_rows(float *rows, const feature_rows *r, int64_t first, int64_t n, dt_error *err)
{
    char *at = (char *)rows;
    int64_t left = n * row_bytes(r), offset = first * row_bytes(r);
    while (left > 0) {
        ssize_t got = TEMP_FAILURE_RETRY(pread(r->fd, at, (size_t)left, offset));
        if (got < 0) return error_set_errno(err, "cannot read %s", r->path);
        if (got == 0) return error_set(err, DT_ERR_IO, "%s: it has become shorter", r->path);
        at += got;
        left -= got;
        offset += got;
    }
    return DT_OK;
}

dt_status feature_rows_add_to(ctx *c, statistics *s, const feature_rows *r, int64_t count)
{
    dt_error *err = &c->error;
    float *rows = malloc((size_t)(BLOCK_ROWS * row_bytes(r)));
    if (!rows) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", r->path);
    for (int64_t first = 0; first < count && ctx_go_on(c); first += BLOCK_ROWS) {
        int64_t n = count - first < BLOCK_ROWS ? count - first : BLOCK_ROWS;
        if (read_rows(rows, r, first, n, err) == DT_OK) statistics_add(s, rows, n, err);
    }
    free(rows);
    return err->status;
}
