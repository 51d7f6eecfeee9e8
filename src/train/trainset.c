#include "train/trainset.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "model/file/params_file.h"
#include "rank/rank.h"
#include "train/shared.h"

/* ---- choosing ---- */

static bool chosen(const param *row, const train_rule rules[], int rule_count)
{
    bool trains = rule_count == 0;
    for (int i = 0; i < rule_count; i++)
        if (fnmatch(rules[i].pattern, row->name, 0) == 0) trains = rules[i].trains;
    return trains && !row->fixed;
}

/* Room for as many more rows as the table has. */
static bool make_room(ctx *c, trainset *set, const params *table)
{
    train_row *row = arena_alloc_zeroed(&c->model, (size_t)(set->count + table->count) * sizeof *row, &c->error);
    if (!set->table) set->table = arena_alloc_zeroed(&c->model, TRAINSET_TABLES_MAX * sizeof(params *), &c->error);
    if (ctx_failed(c)) return false;
    if (set->count) memcpy(row, set->row, (size_t)set->count * sizeof *row);
    set->row = row;
    TENSOR_CHECK(set->table_count < TRAINSET_TABLES_MAX, NULL);
    return true;
}

dt_status trainset_add(ctx *c, trainset *set, params *table, const train_rule rules[], int rule_count)
{
    if (!make_room(c, set, table)) return c->error.status;
    set->table[set->table_count++] = table;
    for (int i = 0; i < table->count; i++) {
        const param *p = &table->row[i];
        if (!chosen(p, rules, rule_count)) continue;
        set->row[set->count++] = (train_row){.param = p, .tensor = p->tensor};
        p->tensor->row = set->count;
    }
    return DT_OK;
}

dt_status trainset_add_tuned(ctx *c, trainset *set, denoiser *d, adapter *a, bool with_null_time)
{
    const char *pattern[ADAPTER_PATTERNS_MAX];
    train_rule rule[2 + ADAPTER_PATTERNS_MAX] = {{"*", false}};
    if (a->plan.kind == DT_ADAPTER_NONE) return trainset_add(c, set, d->params, NULL, 0);
    int count = 1 + adapter_patterns(pattern, &a->plan, d);
    for (int i = 1; i < count; i++) rule[i] = (train_rule){pattern[i - 1], true};
    if (with_null_time) rule[count++] = (train_rule){d->null_time, true};
    if (trainset_add(c, set, d->params, rule, count) == DT_OK && trainset_own(c, set) == DT_OK)
        trainset_add(c, set, &a->params, NULL, 0);
    return c->error.status;
}

bool trainset_has_all(const trainset *set, const params *table)
{
    for (int i = 0; i < table->count; i++) {
        const int row = table->row[i].tensor->row;
        const bool trains = row > 0 && row <= set->count && set->row[row - 1].tensor == table->row[i].tensor;
        if (!trains && !table->row[i].fixed) return false;
    }
    return true;
}

/* ---- what training keeps ---- */

dt_status trainset_own(ctx *c, trainset *set)
{
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        tensor *t = set->row[i].tensor;
        real *own = numbers_alloc(c, &c->model, tensor_bytes(t));
        if (own) c->engine.memory.copy(own, t->data, tensor_bytes(t));
        if (own) set->row[i].start = t->data;
        if (own) t->data = own;
    }
    return c->error.status;
}

dt_status trainset_want_gradients(ctx *c, trainset *set, bool keep_gradients)
{
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        tensor *t = set->row[i].tensor;
        if (keep_gradients) t->grad = numbers_alloc(c, &c->model, tensor_bytes(t));
        t->grad_is_empty = keep_gradients;
        t->need_grad = true;
    }
    return c->error.status;
}

/* The rank's part of all values, in their order over the rows: equal parts, but that a row is parted at whole lines of the cache. */
static void take_parts(const ctx *c, trainset *set)
{
    int64_t at = 0;
    for (int i = 0; i < set->count; i++) {
        set->row[i].at = at;
        at += tensor_count(set->row[i].tensor);
    }
    for (int i = 0; i < set->count; i++) {
        const row_part p = shared_part(set, i, rank_index(c->ranks), rank_count(c->ranks));
        set->row[i].first = p.first;
        set->row[i].kept = p.count;
    }
}

/* A copy of the rank's part of the weight. */
static real *copy_part(ctx *c, const train_row *r)
{
    const size_t bytes = (size_t)r->kept * sizeof(real);
    real *copy = r->kept ? numbers_alloc(c, &c->model, bytes) : NULL;
    if (copy) c->engine.memory.copy(copy, r->tensor->data + r->first, bytes);
    return copy;
}

dt_status trainset_keep(ctx *c, trainset *set)
{
    take_parts(c, set);
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        train_row *r = &set->row[i];
        if (!r->kept) continue;
        r->m = numbers_zeros(c, &c->model, r->kept);
        r->v = numbers_zeros(c, &c->model, r->kept);
        r->average = copy_part(c, r);
        for (int k = 0; k < set->power_count && !ctx_failed(c); k++) r->power[k] = copy_part(c, r);
    }
    return c->error.status;
}

bool trainset_keep_anchor(ctx *c, train_row *r, const tensor_entry *e)
{
    const bool usable = sizeof(real) == sizeof(float) && !r->param->convolution && !c->engine.memory.backing;
    r->anchor = usable ? (const real *)tensor_in_place(e, &c->error) : NULL;
    if (r->anchor || ctx_failed(c)) return false;
    real *copy = numbers_alloc(c, &c->model, tensor_bytes(r->tensor));
    if (copy) c->engine.memory.copy(copy, r->tensor->data, tensor_bytes(r->tensor));
    r->anchor = copy;
    return true;
}

int64_t trainset_values(const trainset *set)
{
    int64_t values = 0;
    for (int i = 0; i < set->count; i++) values += tensor_count(set->row[i].tensor);
    return values;
}

int64_t trainset_bytes(const trainset *set, bool keep_gradients)
{
    int64_t kept = 0; /* before trainset_keep: what a process alone will keep */
    for (int i = 0; i < set->count; i++) kept += set->row[i].kept;
    const int64_t values = trainset_values(set);
    return ((kept ? kept : values) * (3 + set->power_count) + (keep_gradients ? values : 0)) * (int64_t)sizeof(real);
}

void trainset_changed(ctx *c, trainset *set)
{
    for (int i = 0; i < set->table_count; i++) params_round(c, set->table[i]);
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

void trainset_swap_start(trainset *set)
{
    for (int i = 0; i < set->count; i++) {
        train_row *r = &set->row[i];
        real *weights = r->tensor->data;
        void *copy = r->tensor->narrow_copy;
        if (!r->start) continue;
        r->tensor->data = r->start;
        r->tensor->narrow_copy = r->start_copy;
        r->start = weights;
        r->start_copy = copy;
    }
}

/* ---- files ---- */

real *trainset_values_of(const train_row *r, train_values values)
{
    real *const of[TRAIN_POWERS] = {[TRAIN_WEIGHTS] = r->tensor->data,
                                    [TRAIN_AVERAGES] = r->average,
                                    [TRAIN_M] = r->m,
                                    [TRAIN_V] = r->v,
                                    [TRAIN_GRADIENTS] = r->tensor->grad};
    return values >= TRAIN_POWERS ? r->power[values - TRAIN_POWERS] : of[values];
}

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

/* A row whose parts the ranks have. */
typedef struct shared_source {
    ctx *c;
    const trainset *set;
    int row;
    train_values values;
    real *whole;         /* room for it, shared by all sources of a file */
    tensor_source inner; /* of that room */
} shared_source;

static const float *fetch_shared(void *user, dt_error *err)
{
    const shared_source *s = user;
    if (shared_collect_row(s->c, s->set, s->whole, s->row, s->values) != DT_OK) return NULL;
    return s->inner.fetch ? s->inner.fetch(s->inner.user, err) : s->inner.values;
}

/* Makes *out, a source of the room `whole`, one of this row. */
static void source_of_shared(ctx *c, tensor_source *out, const trainset *set, int row, train_values values, real *whole)
{
    shared_source *s = arena_alloc(&c->scratch, sizeof *s, &c->error);
    if (!s) return;
    *s = (shared_source){c, set, row, values, whole, *out};
    out->values = NULL;
    out->fetch = fetch_shared;
    out->user = s;
}

dt_status trainset_sources(ctx *c, tensor_source sources[], const trainset *set, const train_values values[],
                           const char *const prefix[], int kinds)
{
    params_room *room = arena_alloc_zeroed(&c->scratch, sizeof *room, &c->error);
    real *whole = NULL;
    if (room) room->largest = largest_row(set);
    if (rank_count(c->ranks) > 1) whole = numbers_alloc(c, &c->scratch, (size_t)largest_row(set) * sizeof *whole);
    for (int i = 0; i < set->count * kinds && !ctx_failed(c); i++) {
        const train_row *r = &set->row[i / kinds];
        const int kind = i % kinds;
        const bool shared = is_shared(c, values[kind]);
        params_source(c, &sources[i], r->param, shared ? whole : trainset_values_of(r, values[kind]), SAFETENSORS_F32,
                      room);
        if (shared && !ctx_failed(c)) source_of_shared(c, &sources[i], set, i / kinds, values[kind], whole);
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
    real *kept = trainset_values_of(r, values);
    if (!is_shared(c, values)) {
        params_read_values(c, kept, r->param, f, name);
        return;
    }
    real *whole = numbers_alloc(c, &c->scratch, tensor_bytes(r->tensor));
    if (whole && params_read_values(c, whole, r->param, f, name) == DT_OK && r->kept)
        c->engine.memory.copy(kept, whole + r->first, (size_t)r->kept * sizeof *kept);
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
