#include "model/file/params_file.h"

/* ---- reading ---- */

const tensor_entry *params_need(const tensor_file *f, const char *name, int dim_count, const params_words *words,
                                dt_error *err)
{
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e)
        error_set(err, DT_ERR_SHAPE, "%s: tensor %s is missing; %s is expected", f->path, name, words->file);
    else if (e->dim_count != dim_count)
        error_set(err, DT_ERR_SHAPE, "%s: tensor %s: %d dimensions expected, found %d", f->path, name, dim_count,
                  e->dim_count);
    return err->status == DT_OK ? e : NULL;
}

dt_status params_check_shape(const tensor_entry *e, const int64_t expected[], dt_error *err)
{
    bool same = true;
    for (int i = 0; i < e->dim_count; i++) same &= e->dims[i] == expected[i];
    if (same) return DT_OK;
    char wanted[TENSOR_SHAPE_TEXT], found[TENSOR_SHAPE_TEXT];
    tensor_describe_shape(wanted, e->dim_count, expected);
    tensor_describe_shape(found, e->dim_count, e->dims);
    return error_set(err, DT_ERR_SHAPE, "%s: tensor %s: shape %s expected, found %s", e->path, e->name, wanted, found);
}

/* All of a tensor as float, to where the engine keeps numbers. */
static dt_status read_numbers(ctx *c, real *numbers, const tensor_entry *e)
{
    const arena_place mark = arena_mark(&c->scratch);
    real *values = numbers_prepare(c, &c->scratch, numbers, e->count);
    if (values && tensor_read_finite(values, e, &c->error) == DT_OK) numbers_send(c, numbers, values, e->count);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

void params_channels_last(real *w, const float *values, int64_t outputs, int64_t inputs, int64_t positions)
{
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t p = 0; p < positions; p++)
            for (int64_t i = 0; i < inputs; i++)
                w[(o * positions + p) * inputs + i] = values[(o * inputs + i) * positions + p];
}

static dt_status read_convolution(ctx *c, real *numbers, const param *row, const tensor_entry *e)
{
    const int64_t *d = row->file_dim;
    const arena_place mark = arena_mark(&c->scratch);
    float *values = arena_alloc(&c->scratch, (size_t)e->count * sizeof *values, &c->error);
    real *w = numbers_prepare(c, &c->scratch, numbers, e->count);
    if (values && w && tensor_read_finite(values, e, &c->error) == DT_OK) {
        params_channels_last(w, values, d[0], d[1], d[2] * d[3]);
        numbers_send(c, numbers, w, e->count);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status read_entry(ctx *c, real *numbers, const param *row, const tensor_file *f, const tensor_entry *e)
{
    if (!ctx_go_on(c)) return c->error.status;
    if (row->convolution)
        read_convolution(c, numbers, row, e);
    else
        read_numbers(c, numbers, e);
    if (!ctx_failed(c) && !e->strides) file_map_drop(&f->map, e->data, (size_t)e->bytes);
    return c->error.status;
}

dt_status params_read_values(ctx *c, real *numbers, const param *row, const tensor_file *f, const char *name)
{
    const tensor_entry *e = tensor_file_find(f, name);
    const int64_t count = tensor_count(row->tensor);
    if (!e || e->count != count)
        return error_set(&c->error, DT_ERR_SHAPE, "%s: tensor %s with %lld values expected, found %lld", f->path, name,
                         (long long)count, e ? (long long)e->count : 0LL);
    return read_entry(c, numbers, row, f, e);
}

dt_status params_read_row(ctx *c, const param *row, const tensor_file *f, const params_words *words)
{
    const tensor_entry *e = params_need(f, row->name, row->file_dim_count, words, &c->error);
    if (!e || params_check_shape(e, row->file_dim, &c->error) != DT_OK) return c->error.status;
    const bool usable = f->in_place && !row->convolution && !c->engine.memory.backing;
    const float *values = usable ? tensor_in_place(e, &c->error) : NULL;
    if (!values) return ctx_failed(c) ? c->error.status : read_entry(c, row->tensor->data, row, f, e);
    row->tensor->data = (real *)(uintptr_t)values;
    return DT_OK;
}

dt_status params_refuse_strangers(const params *p, const tensor_file *f, const params_words *words, dt_error *err)
{
    for (size_t i = 0; i < f->count; i++)
        if (!params_find(p, f->entries[i].name))
            return error_set(err, DT_ERR_SHAPE, "%s: tensor %s is not part of %s", f->path, f->entries[i].name,
                             words->network);
    return DT_OK;
}

/* ---- writing ---- */

safetensors_dtype params_file_dtype(dt_file_dtype dtype)
{
    return dtype == DT_FILE_BF16 ? SAFETENSORS_BF16 : dtype == DT_FILE_F16 ? SAFETENSORS_F16 : SAFETENSORS_F32;
}

/* A row on its way to a file. */
typedef struct row_source {
    ctx *c;
    const param *row;
    real *numbers;
    params_room *room;
} row_source;

static void channels_first(real *values, const real *w, int64_t outputs, int64_t inputs, int64_t positions)
{
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t p = 0; p < positions; p++)
                values[(o * inputs + i) * positions + p] = w[(o * positions + p) * inputs + i];
}

/* The host's numbers of a row in the order of files, in the room of all rows. *err is the context's. */
static const float *fetch_row(void *user, dt_error *err)
{
    const row_source *s = user;
    if (s->room->stops && !ctx_go_on(s->c)) return NULL;
    const int64_t count = tensor_count(s->row->tensor), *d = s->row->file_dim;
    real *numbers = s->numbers;
    if (s->c->engine.memory.backing) {
        numbers = s->room->numbers;
        s->c->engine.memory.download(numbers, s->numbers, (size_t)count * sizeof *numbers, err);
    }
    if (!s->row->convolution) return (const float *)numbers;
    channels_first(s->room->turned, numbers, d[0], d[1], d[2] * d[3]);
    return (const float *)s->room->turned;
}

static void make_room(ctx *c, params_room *room, bool turns)
{
    const size_t bytes = (size_t)room->largest * sizeof(real);
    if (c->engine.memory.backing && !room->numbers) room->numbers = arena_alloc(&c->scratch, bytes, &c->error);
    if (turns && !room->turned) room->turned = arena_alloc(&c->scratch, bytes, &c->error);
}

dt_status params_source(ctx *c, tensor_source *out, const param *row, real *numbers, safetensors_dtype dtype,
                        params_room *room)
{
    *out = (tensor_source){
        .name = row->name, .dtype = dtype, .dim_count = row->file_dim_count, .dims = row->file_dim, .finite = true};
    if (!c->engine.memory.backing && !row->convolution && !room->stops) {
        out->values = (const float *)numbers;
        return c->error.status;
    }
    row_source *source = arena_alloc(&c->scratch, sizeof *source, &c->error);
    make_room(c, room, row->convolution);
    if (ctx_failed(c)) return c->error.status;
    *source = (row_source){c, row, numbers, room};
    out->fetch = fetch_row;
    out->user = source;
    return DT_OK;
}

static int64_t params_largest(const params *p)
{
    int64_t largest = 0;
    for (int i = 0; i < p->count; i++) {
        const int64_t count = tensor_count(p->row[i].tensor);
        if (count > largest) largest = count;
    }
    return largest;
}

dt_status params_sources(ctx *c, tensor_source sources[], const params *p, real *const values[],
                         safetensors_dtype dtype, bool stops)
{
    params_room *room = arena_alloc_zeroed(&c->scratch, sizeof *room, &c->error);
    if (room) *room = (params_room){.largest = params_largest(p), .stops = stops};
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        real *numbers = values && values[i] ? values[i] : p->row[i].tensor->data;
        params_source(c, &sources[i], &p->row[i], numbers, dtype, room);
    }
    return c->error.status;
}
