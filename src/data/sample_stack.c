#include "data/sample_stack.h"

/* ---- writing ---- */

dt_status sample_stack_begin(sample_stack_writer *w, const char *path, int64_t count, int64_t width, int64_t height,
                             dt_error *err)
{
    const npz_array head = {.name = "arr_0", .dtype = NPZ_U8, .dim_count = 4, .dims = {count, height, width, 3}};
    w->count = count;
    w->width = width;
    w->height = height;
    w->added = 0;
    if (npz_writer_begin(&w->file, path, err) != DT_OK) return err->status;
    return npz_writer_array(&w->file, &head, err);
}

dt_status sample_stack_add(sample_stack_writer *w, const uint8_t *rgb, int64_t n, dt_error *err)
{
    w->added += n;
    return npz_writer_data(&w->file, rgb, n * w->width * w->height * 3, err);
}

dt_status sample_stack_commit(sample_stack_writer *w, const int64_t *labels, dt_error *err)
{
    const npz_array classes = {.name = "arr_1", .dtype = NPZ_I64, .dim_count = 1, .dims = {w->count}, .data = labels};
    if (w->added != w->count) {
        sample_stack_abort(w);
        return error_set(err, DT_ERR_ARG, "a stack of %lld samples was begun and %lld were added", (long long)w->count,
                         (long long)w->added);
    }
    if (labels && npz_writer_array(&w->file, &classes, err) != DT_OK) return err->status;
    return npz_writer_commit(&w->file, err);
}

void sample_stack_abort(sample_stack_writer *w)
{
    npz_writer_abort(&w->file);
}

/* ---- reading ---- */

dt_status sample_stack_open(sample_stack *s, const char *path, dt_error *err)
{
    *s = (sample_stack){0};
    if (npz_stream_open(&s->file, path, "arr_0", err) != DT_OK) return err->status;
    const npz_array *a = &s->file.array;
    bool pictures = a->dtype == NPZ_U8 && a->dim_count == 4 && a->dims[3] == 3 && a->dims[0] > 0 && a->dims[1] > 0 &&
                    a->dims[2] > 0;
    if (!pictures) return error_set(err, DT_ERR_FORMAT, "%s: array arr_0: 8-bit pictures [N,H,W,3] expected", path);
    if (a->dims[1] > IMAGE_SIDE_LIMIT || a->dims[2] > IMAGE_SIDE_LIMIT)
        return error_set(err, DT_ERR_FORMAT, "%s: array arr_0: sides of at most %lld pixels are read", path,
                         (long long)IMAGE_SIDE_LIMIT);
    s->count = a->dims[0];
    s->height = a->dims[1];
    s->width = a->dims[2];
    return DT_OK;
}

void sample_stack_close(sample_stack *s)
{
    npz_stream_close(&s->file);
}

dt_status sample_stack_next(sample_stack *s, image *out, dt_error *err)
{
    *out = (image){0};
    if (image_alloc(out, s->width, s->height, err) == DT_OK &&
        npz_stream_read(&s->file, out->rgb, s->width * s->height * 3, err) == DT_OK)
        s->next++;
    else
        image_close(out);
    return err->status;
}
