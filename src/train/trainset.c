#include "train/trainset.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "model/file/params_file.h"

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

dt_status trainset_keep(ctx *c, trainset *set)
{
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        train_row *r = &set->row[i];
        const int64_t count = tensor_count(r->tensor);
        r->m = numbers_zeros(c, &c->model, count);
        r->v = numbers_zeros(c, &c->model, count);
        r->average = numbers_alloc(c, &c->model, tensor_bytes(r->tensor));
        if (!ctx_failed(c)) c->engine.memory.copy(r->average, r->tensor->data, tensor_bytes(r->tensor));
        for (int k = 0; k < set->power_count && !ctx_failed(c); k++) {
            r->power[k] = numbers_alloc(c, &c->model, tensor_bytes(r->tensor));
            if (r->power[k]) c->engine.memory.copy(r->power[k], r->tensor->data, tensor_bytes(r->tensor));
        }
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
    return trainset_values(set) * (int64_t)sizeof(real) * ((keep_gradients ? 4 : 3) + set->power_count);
}

void trainset_changed(ctx *c, trainset *set)
{
    for (int i = 0; i < set->table_count; i++) params_round(c, set->table[i]);
}

void trainset_swap_averages(ctx *c, trainset *set)
{
    for (int i = 0; i < set->count; i++) {
        train_row *r = &set->row[i];
        real *weights = r->tensor->data;
        r->tensor->data = r->average;
        r->average = weights;
    }
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

static real *values_of(const train_row *r, train_values values)
{
    real *const of[TRAIN_POWERS] = {[TRAIN_WEIGHTS] = r->tensor->data,
                                    [TRAIN_AVERAGES] = r->average,
                                    [TRAIN_M] = r->m,
                                    [TRAIN_V] = r->v,
                                    [TRAIN_GRADIENTS] = r->tensor->grad};
    return values >= TRAIN_POWERS ? r->power[values - TRAIN_POWERS] : of[values];
}

real *const *trainset_values_in(ctx *c, const trainset *set, const params *table, train_values values)
{
    real **found = arena_alloc_zeroed(&c->scratch, (size_t)table->count * sizeof *found, &c->error);
    for (int i = 0; found && i < table->count; i++) {
        const int row = table->row[i].tensor->row;
        if (row > 0) found[i] = values_of(&set->row[row - 1], values);
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

dt_status trainset_sources(ctx *c, tensor_source sources[], const trainset *set, const train_values values[],
                           const char *const prefix[], int kinds)
{
    params_room *room = arena_alloc_zeroed(&c->scratch, sizeof *room, &c->error);
    if (room) room->largest = largest_row(set);
    for (int i = 0; i < set->count * kinds && !ctx_failed(c); i++) {
        const train_row *r = &set->row[i / kinds];
        const int kind = i % kinds;
        params_source(c, &sources[i], r->param, values_of(r, values[kind]), SAFETENSORS_F32, room);
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

dt_status trainset_read(ctx *c, trainset *set, const char *path, train_values values, const char *prefix)
{
    tensor_file f;
    if (safetensors_open(&f, path, &c->error) != DT_OK) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        const train_row *r = &set->row[i];
        const char *name = prefixed(c, prefix, r->param->name);
        if (name && (values != TRAIN_V || check_squares(c, &f, name) == DT_OK))
            params_read_values(c, values_of(r, values), r->param, &f, name);
        arena_release(&c->scratch, mark);
    }
    tensor_file_close(&f);
    return c->error.status;
}
