#include "train/trainset_file.h"

#include <stdio.h>
#include <string.h>

#include "model/file/params_file.h"
#include "train/shared.h"

/* Whether a rank has only its part of such values. */
static bool is_shared(const ctx *c, train_values values)
{
    return rank_count(c->ranks) > 1 && values != TRAIN_WEIGHTS && values != TRAIN_GRADIENTS;
}

real *const *trainset_values_in(ctx *c, trainset *set, const params *table, train_values values)
{
    real **found = arena_alloc_zeroed(&c->scratch, (size_t)table->count * sizeof *found, &c->error);
    if (is_shared(c, values)) shared_collect(c, set, values);
    for (int i = 0; found && i < table->count; i++) {
        const int row = table->row[i].tensor->row;
        if (row > 0) found[i] = trainset_values_of(&set->row[row - 1], is_shared(c, values) ? TRAIN_GRADIENTS : values);
    }
    return found;
}

static const char *prefixed(ctx *c, const char *prefix, const char *name)
{
    const size_t size = strlen(prefix) + strlen(name) + 1;
    char *full = arena_alloc(&c->scratch, size, &c->error);
    if (full) snprintf(full, size, "%s%s", prefix, name);
    return full;
}

static int64_t largest_row(const trainset *set)
{
    int64_t largest = 0;
    for (int i = 0; i < set->count; i++)
        if (tensor_count(set->row[i].tensor) > largest) largest = tensor_count(set->row[i].tensor);
    return largest;
}

/* A row that does not lie in one place as numbers: the ranks have its parts, or it is narrow. */
typedef struct made_source {
    ctx *c;
    const trainset *set;
    int row;
    train_values values;
    real *whole;         /* room for it, shared by all sources of a file */
    tensor_source inner; /* of that room */
} made_source;

static const float *fetch_made(void *user, dt_error *err)
{
    const made_source *s = user;
    if (!is_shared(s->c, s->values))
        trainset_get(s->c, s->whole, &s->set->row[s->row], s->values);
    else if (shared_collect_row(s->c, s->set, s->whole, s->row, s->values) != DT_OK)
        return NULL;
    return s->inner.fetch ? s->inner.fetch(s->inner.user, err) : s->inner.values;
}

/* Makes *out, a source of the room `whole`, one of this row. */
static void make_source(ctx *c, tensor_source *out, const trainset *set, int row, train_values values, real *whole)
{
    made_source *s = arena_alloc(&c->scratch, sizeof *s, &c->error);
    if (!s) return;
    *s = (made_source){c, set, row, values, whole, *out};
    out->values = NULL;
    out->fetch = fetch_made;
    out->user = s;
}

dt_status trainset_sources(ctx *c, tensor_source sources[], const trainset *set, const train_values values[],
                           const char *const prefix[], int kinds)
{
    params_room *room = arena_alloc_zeroed(&c->scratch, sizeof *room, &c->error);
    real *whole = NULL;
    if (room) room->largest = largest_row(set);
    if (rank_count(c->ranks) > 1 || set->narrow_moments)
        whole = numbers_alloc(c, &c->scratch, (size_t)largest_row(set) * sizeof *whole);
    for (int i = 0; i < set->count * kinds && !ctx_failed(c); i++) {
        const train_row *r = &set->row[i / kinds];
        const int kind = i % kinds;
        real *lie = is_shared(c, values[kind]) ? NULL : trainset_values_of(r, values[kind]);
        params_source(c, &sources[i], r->param, lie ? lie : whole, SAFETENSORS_F32, room);
        if (!lie && !ctx_failed(c)) make_source(c, &sources[i], set, i / kinds, values[kind], whole);
        sources[i].name = prefixed(c, prefix[kind], r->param->name);
    }
    return c->error.status;
}

dt_status trainset_write(ctx *c, const trainset *set, const char *path, const train_values values[],
                         const char *const prefix[], int kinds, file_hash *hash)
{
    const arena_place mark = arena_mark(&c->scratch);
    const size_t count = (size_t)(set->count * kinds);
    tensor_source *source = arena_alloc_zeroed(&c->scratch, count * sizeof *source, &c->error);
    if (source && trainset_sources(c, source, set, values, prefix, kinds) == DT_OK)
        safetensors_write(path, source, count, NULL, 0, hash, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* A square below zero would make weights of its root, which is none. */
static dt_status check_squares(ctx *c, const tensor_file *f, const char *name)
{
    const tensor_entry *e = tensor_file_find(f, name);
    float *values = e ? arena_alloc(&c->scratch, (size_t)e->count * sizeof *values, &c->error) : NULL;
    if (!values || tensor_read_f32(values, e, &c->error) != DT_OK) return c->error.status;
    for (int64_t i = 0; i < e->count; i++)
        if (values[i] < 0)
            return error_set(&c->error, DT_ERR_FORMAT, "%s: tensor %s: value %lld is %g, a mean of squares expected",
                             f->path, name, (long long)i, (double)values[i]);
    return DT_OK;
}

/* One row; of several ranks each keeps its part. */
static void read_row(ctx *c, const train_row *r, const tensor_file *f, const char *name, train_values values)
{
    real *lie = is_shared(c, values) ? NULL : trainset_values_of(r, values);
    real *whole = lie ? lie : numbers_alloc(c, &c->scratch, tensor_bytes(r->tensor));
    if (whole && params_read_values(c, whole, r->param, f, name) == DT_OK && !lie)
        trainset_put(c, r, values, whole + r->first);
}

dt_status trainset_read(ctx *c, trainset *set, const char *path, train_values values, const char *prefix)
{
    tensor_file f;
    if (safetensors_open(&f, path, &c->error) != DT_OK) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        const train_row *r = &set->row[i];
        const char *name = prefixed(c, prefix, r->param->name);
        if (name && (values != TRAIN_V || check_squares(c, &f, name) == DT_OK)) read_row(c, r, &f, name, values);
        arena_release(&c->scratch, mark);
    }
    tensor_file_close(&f);
    return c->error.status;
}

/* Collected averages lie in the gradients' memory, which is as large as the weights'. */
void trainset_swap_averages(ctx *c, trainset *set)
{
    const bool shared = rank_count(c->ranks) > 1;
    if (shared && !set->swapped) shared_collect(c, set, TRAIN_AVERAGES);
    for (int i = 0; i < set->count; i++) {
        train_row *r = &set->row[i];
        real *weights = r->tensor->data, **average = shared ? &r->tensor->grad : &r->average;
        r->tensor->data = *average;
        *average = weights;
    }
    set->swapped = !set->swapped;
    trainset_changed(c, set);
}
