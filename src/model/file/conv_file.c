#include "model/file/conv_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/file/params_file.h"

enum { NAME_MAX_BYTES = 128, WIDTH_MAX = 8192 };

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

/* scale[count] = gamma / sqrt(variance + epsilon) and shift[count] = beta - scale mean of a batch norm `name`. */
static void read_batch_norm(const conv_file *f, double *scale, double *shift, const char *name, int64_t count,
                            double epsilon)
{
    static const char *const parts[4] = {"weight", "bias", "running_mean", "running_var"};
    const float *value[4] = {0};
    char full[NAME_MAX_BYTES];
    for (int i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s", name, parts[i]);
        if (!ctx_failed(f->c)) value[i] = conv_file_values(f, full, 1, &count);
    }
    for (int64_t i = 0; i < count && !ctx_failed(f->c); i++) {
        const float gamma = value[0][i], beta = value[1][i], mean = value[2][i], variance = value[3][i];
        if (!(variance >= 0))
            error_set(&f->c->error, DT_ERR_FORMAT, "%s: tensor %s.running_var: value %lld is %g, not a variance",
                      f->file->path, name, (long long)i, (double)variance);
        scale[i] = (double)gamma / sqrt((double)variance + epsilon);
        shift[i] = (double)beta - scale[i] * (double)mean;
    }
}

void conv_file_read_norm(const conv_file *f, norm_weights *n, const char *name, int64_t channels)
{
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    n->weight = conv_file_vector(f, full, channels);
    snprintf(full, sizeof full, "%s.bias", name);
    n->bias = conv_file_vector(f, full, channels);
}

static double *scales(const conv_file *f, int64_t count)
{
    return arena_alloc(&f->c->scratch, (size_t)count * sizeof(double), &f->c->error);
}

void conv_file_read_normalised(const conv_file *f, conv_weights *k, const char *name, const int64_t shape[4],
                               double epsilon)
{
    ctx *c = f->c;
    const int64_t outputs = shape[0], each = shape[1] * shape[2] * shape[3];
    char full[NAME_MAX_BYTES];
    *k = (conv_weights){0};
    snprintf(full, sizeof full, "%s.conv.weight", name);
    k->weight = read_kernel(f, full, shape);
    if (!ctx_failed(c)) k->bias = tensor_new(c, &c->model, 1, shape);
    if (ctx_failed(c)) return;
    const arena_place mark = arena_mark(&c->scratch);
    double *scale = scales(f, outputs), *shift = scales(f, outputs);
    snprintf(full, sizeof full, "%s.bn", name);
    read_batch_norm(f, scale, shift, full, outputs, epsilon);
    real *weight = numbers_read(c, &c->scratch, k->weight->data, outputs * each);
    real *bias = numbers_prepare(c, &c->scratch, k->bias->data, outputs);
    for (int64_t o = 0; o < outputs && !ctx_failed(c); o++) {
        for (int64_t i = o * each; i < (o + 1) * each; i++) weight[i] = (real)(scale[o] * (double)weight[i]);
        bias[o] = (real)shift[o];
    }
    numbers_send(c, k->weight->data, weight, outputs * each);
    numbers_send(c, k->bias->data, bias, outputs);
    arena_release(&c->scratch, mark);
}

void conv_file_read_behind(const conv_file *f, conv_weights *k, const char *name, const char *norm, int64_t outputs,
                           int64_t inputs, double epsilon)
{
    ctx *c = f->c;
    conv_file_read(f, k, name, outputs, inputs, 1, true);
    if (ctx_failed(c)) return;
    const arena_place mark = arena_mark(&c->scratch);
    double *scale = scales(f, inputs), *shift = scales(f, inputs);
    read_batch_norm(f, scale, shift, norm, inputs, epsilon);
    real *weight = numbers_read(c, &c->scratch, k->weight->data, outputs * inputs);
    real *bias = numbers_read(c, &c->scratch, k->bias->data, outputs);
    for (int64_t o = 0; o < outputs && !ctx_failed(c); o++) {
        real *w = weight + o * inputs;
        double sum = (double)bias[o];
        for (int64_t i = 0; i < inputs; i++) {
            sum += (double)w[i] * shift[i];
            w[i] = (real)(scale[i] * (double)w[i]);
        }
        bias[o] = (real)sum;
    }
    numbers_send(c, k->weight->data, weight, outputs * inputs);
    numbers_send(c, k->bias->data, bias, outputs);
    arena_release(&c->scratch, mark);
}

void conv_file_read_depthwise(const conv_file *f, conv_weights *k, const char *name, int64_t channels, int64_t side)
{
    ctx *c = f->c;
    const int64_t positions = side * side;
    char full[NAME_MAX_BYTES];
    *k = (conv_weights){0};
    snprintf(full, sizeof full, "%s.bias", name);
    k->bias = conv_file_vector(f, full, channels);
    if (!ctx_failed(c)) k->weight = tensor_new(c, &c->model, 3, (int64_t[]){side, side, channels});
    snprintf(full, sizeof full, "%s.weight", name);
    const arena_place mark = arena_mark(&c->scratch);
    const float *values = ctx_failed(c) ? NULL : conv_file_values(f, full, 4, (int64_t[]){channels, 1, side, side});
    real *turned = values ? numbers_prepare(c, &c->scratch, k->weight->data, channels * positions) : NULL;
    if (turned) {
        params_channels_last(turned, values, 1, channels, positions);
        numbers_send(c, k->weight->data, turned, channels * positions);
    }
    arena_release(&c->scratch, mark);
}

int64_t conv_file_width(const conv_file *f, const char *name, int dim, conv_file_steps width)
{
    char found[TENSOR_SHAPE_TEXT] = "none";
    const tensor_entry *e = tensor_file_find(f->file, name);
    const int64_t size = e && dim < e->dim_count ? e->dims[dim] : 0;
    if (size > 0 && size <= WIDTH_MAX && size % width.step == 0) return size;
    if (e) tensor_describe_shape(found, e->dim_count, e->dims);
    if (!ctx_failed(f->c))
        error_set(&f->c->error, DT_ERR_SHAPE,
                  "%s: tensor %s: a multiple of %lld (such as %lld) expected as dimension %d (%s), found %s",
                  f->file->path, name, (long long)width.step, (long long)width.published, dim + 1, f->net, found);
    return width.published;
}

tensor *conv_file_tensor(const conv_file *f, const char *name, int dim_count, const int64_t dims[])
{
    ctx *c = f->c;
    if (ctx_failed(c)) return NULL;
    tensor *t = tensor_new(c, &c->model, dim_count, dims);
    const arena_place mark = arena_mark(&c->scratch);
    const float *values = t ? conv_file_values(f, name, dim_count, dims) : NULL;
    real *numbers = values ? numbers_prepare(c, &c->scratch, t->data, tensor_count(t)) : NULL;
    if (numbers) {
        for (int64_t i = 0; i < tensor_count(t); i++) numbers[i] = (real)values[i];
        numbers_send(c, t->data, numbers, tensor_count(t));
    }
    arena_release(&c->scratch, mark);
    return t;
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
