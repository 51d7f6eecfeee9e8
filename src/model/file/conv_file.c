#include "model/file/conv_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/file/params_file.h"

enum { NAME_MAX_BYTES = 128 };

/* The same dimensions but for ones at the end: a linear map is a 1x1 convolution. */
static bool same_shape(const tensor_entry *e, int dim_count, const int64_t dims[])
{
    for (int i = 0; i < e->dim_count || i < dim_count; i++)
        if ((i < e->dim_count ? e->dims[i] : 1) != (i < dim_count ? dims[i] : 1)) return false;
    return e->dim_count >= 1;
}

float *conv_file_values(const conv_file *f, const char *name, int dim_count, const int64_t dims[])
{
    dt_error *err = &f->c->error;
    char expected[TENSOR_SHAPE_TEXT], found[TENSOR_SHAPE_TEXT] = "none";
    if (!ctx_go_on(f->c)) return NULL;
    const tensor_entry *e = tensor_file_find(f->file, name);
    if (!e || !same_shape(e, dim_count, dims)) {
        tensor_describe_shape(expected, dim_count, dims);
        if (e) tensor_describe_shape(found, e->dim_count, e->dims);
        error_set(err, DT_ERR_SHAPE, "%s: tensor %s%s shape %s expected (%s), found %s", f->file->path, name,
                  e ? ":" : " of", expected, f->net, found);
        return NULL;
    }
    float *values = arena_alloc(&f->c->scratch, (size_t)e->count * sizeof(float), err);
    if (values) tensor_read_finite(values, e, err);
    if (f->used) f->used[e - f->file->entries] = true;
    return ctx_failed(f->c) ? NULL : values;
}

static void read_into(const conv_file *f, real *out, const char *name, int dim_count, const int64_t dims[])
{
    ctx *c = f->c;
    const arena_place mark = arena_mark(&c->scratch);
    const float *values = ctx_failed(c) ? NULL : conv_file_values(f, name, dim_count, dims);
    int64_t positions = dim_count == 4 ? dims[2] * dims[3] : 1, inputs = dim_count > 1 ? dims[1] : 1;
    real *turned = numbers_prepare(c, &c->scratch, out, dims[0] * inputs * positions);
    if (turned) params_channels_last(turned, values, dims[0], inputs, positions);
    numbers_send(c, out, turned, dims[0] * inputs * positions);
    arena_release(&c->scratch, mark);
}

/* [O,side_h,side_w,I] from a file's shape[4] = O, I, side_h, side_w. */
static tensor *read_kernel(const conv_file *f, const char *name, const int64_t shape[4])
{
    if (ctx_failed(f->c)) return NULL;
    tensor *t = tensor_new(f->c, &f->c->model, 4, (int64_t[]){shape[0], shape[2], shape[3], shape[1]});
    if (t) read_into(f, t->data, name, 4, shape);
    return t;
}

void conv_file_read(const conv_file *f, conv_weights *k, const char *name, int64_t outputs, int64_t inputs,
                    int64_t side, bool bias)
{
    char full[NAME_MAX_BYTES];
    *k = (conv_weights){0};
    snprintf(full, sizeof full, "%s.weight", name);
    k->weight = read_kernel(f, full, (int64_t[]){outputs, inputs, side, side});
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) k->bias = conv_file_vector(f, full, outputs);
}

/* With s = gamma / sqrt(variance + epsilon): w' = s w, b' = beta - s mean. */
static void fold(const conv_file *f, conv_weights *k, const char *name, const tensor *const norm[4], double epsilon)
{
    ctx *c = f->c;
    const int64_t outputs = k->weight->dim[0], count = tensor_count(k->weight), each = count / outputs;
    const real *part[4];
    const arena_place mark = arena_mark(&c->scratch);
    for (int i = 0; i < 4; i++) part[i] = numbers_read(c, &c->scratch, norm[i]->data, outputs);
    const real *gamma = part[0], *beta = part[1], *mean = part[2], *variance = part[3];
    real *weight = numbers_read(c, &c->scratch, k->weight->data, count);
    real *bias = numbers_prepare(c, &c->scratch, k->bias->data, outputs);
    for (int64_t o = 0; o < outputs && !ctx_failed(c); o++) {
        if (!(variance[o] >= 0))
            error_set(&c->error, DT_ERR_FORMAT, "%s: tensor %s.bn.running_var: value %lld is %g, not a variance",
                      f->file->path, name, (long long)o, (double)variance[o]);
        double scale = (double)gamma[o] / sqrt((double)variance[o] + epsilon);
        for (int64_t i = o * each; i < (o + 1) * each; i++) weight[i] = (real)(scale * (double)weight[i]);
        bias[o] = (real)((double)beta[o] - scale * (double)mean[o]);
    }
    numbers_send(c, k->weight->data, weight, count);
    numbers_send(c, k->bias->data, bias, outputs);
    arena_release(&c->scratch, mark);
}

void conv_file_read_normalised(const conv_file *f, conv_weights *k, const char *name, const int64_t shape[4],
                               double epsilon)
{
    static const char *const parts[4] = {"weight", "bias", "running_mean", "running_var"};
    char full[NAME_MAX_BYTES];
    const tensor *norm[4];
    *k = (conv_weights){0};
    snprintf(full, sizeof full, "%s.conv.weight", name);
    k->weight = read_kernel(f, full, shape);
    if (!ctx_failed(f->c)) k->bias = tensor_new(f->c, &f->c->model, 1, shape);
    const arena_place mark = arena_mark(&f->c->model); /* what is folded in is not kept */
    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.bn.%s", name, parts[i]);
        norm[i] = conv_file_vector(f, full, shape[0]);
    }
    if (!ctx_failed(f->c)) fold(f, k, name, norm, epsilon);
    arena_release(&f->c->model, mark);
}

tensor *conv_file_vector(const conv_file *f, const char *name, int64_t count)
{
    if (ctx_failed(f->c)) return NULL;
    tensor *t = tensor_new(f->c, &f->c->model, 1, &count);
    if (t) read_into(f, t->data, name, 1, &count);
    return t;
}

tensor *conv_file_matrix(const conv_file *f, const char *name, int64_t rows, int64_t width)
{
    const int64_t dims[] = {rows, width};
    if (ctx_failed(f->c)) return NULL;
    tensor *t = tensor_new(f->c, &f->c->model, 2, dims);
    if (t) read_into(f, t->data, name, 2, dims);
    return t;
}

void conv_file_rows(const conv_file *f, tensor *weight, tensor *bias, int64_t first, const char *name, int64_t outputs,
                    int64_t inputs)
{
    char full[NAME_MAX_BYTES];
    if (ctx_failed(f->c)) return;
    snprintf(full, sizeof full, "%s.weight", name);
    read_into(f, weight->data + first * inputs, full, 2, (int64_t[]){outputs, inputs});
    snprintf(full, sizeof full, "%s.bias", name);
    read_into(f, bias->data + first, full, 1, &outputs);
}
