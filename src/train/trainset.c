#include "train/trainset.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "rank/rank.h"

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

int64_t trainset_before(const trainset *set, int rank, int ranks)
{
    const train_row *last = &set->row[set->count - 1];
    return (last->at + tensor_count(last->tensor)) * rank / ranks;
}

/* Where in a row the parts of the ranks before end. */
static int64_t cut(const trainset *set, int row, int rank, int ranks)
{
    const int64_t count = tensor_count(set->row[row].tensor);
    const int64_t at = trainset_before(set, rank, ranks) - set->row[row].at;
    if (at >= count) return count;
    return at > 0 ? at - at % TRAINSET_LINE : 0;
}

row_part trainset_part(const trainset *set, int row, int rank, int ranks)
{
    const int64_t first = cut(set, row, rank, ranks);
    return (row_part){first, cut(set, row, rank + 1, ranks) - first};
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
        const row_part p = trainset_part(set, i, rank_index(c->ranks), rank_count(c->ranks));
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

static size_t moment_bytes(const trainset *set)
{
    return set->narrow_moments ? sizeof(uint16_t) : sizeof(real);
}

static void *zero_moments(ctx *c, const trainset *set, int64_t count)
{
    const size_t bytes = (size_t)count * moment_bytes(set);
    void *moments = numbers_alloc(c, &c->model, bytes);
    if (moments) c->engine.memory.clear(moments, bytes);
    return moments;
}

dt_status trainset_keep(ctx *c, trainset *set)
{
    take_parts(c, set);
    for (int i = 0; i < set->count && !ctx_failed(c); i++) {
        train_row *r = &set->row[i];
        if (!r->kept) continue;
        r->narrow_moments = set->narrow_moments;
        r->m = zero_moments(c, set, r->kept);
        r->v = zero_moments(c, set, r->kept);
        r->average = set->unaveraged ? r->tensor->data + r->first : copy_part(c, r);
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
    const int64_t averages = 1 - set->unaveraged + set->power_count;
    return (kept ? kept : values) * (2 * (int64_t)moment_bytes(set) + averages * (int64_t)sizeof(real)) +
           (keep_gradients ? values : 0) * (int64_t)sizeof(real);
}

void trainset_changed(ctx *c, trainset *set)
{
    for (int i = 0; i < set->table_count; i++) params_round(c, set->table[i]);
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

/* The narrow moments that these values are; NULL: they are none. */
static void *narrow_of(const train_row *r, train_values values)
{
    if (!r->narrow_moments) return NULL;
    return values == TRAIN_M ? r->m : values == TRAIN_V ? r->v : NULL;
}

real *trainset_values_of(const train_row *r, train_values values)
{
    real *const of[TRAIN_POWERS] = {[TRAIN_WEIGHTS] = r->tensor->data,
                                    [TRAIN_AVERAGES] = r->average,
                                    [TRAIN_M] = r->narrow_moments ? NULL : r->m,
                                    [TRAIN_V] = r->narrow_moments ? NULL : r->v,
                                    [TRAIN_GRADIENTS] = r->tensor->grad};
    return values >= TRAIN_POWERS ? r->power[values - TRAIN_POWERS] : of[values];
}

void trainset_get(const ctx *c, real *to, const train_row *r, train_values values)
{
    const void *narrow = narrow_of(r, values);
    if (r->kept && narrow)
        c->engine.widen(to, narrow, r->kept);
    else if (r->kept)
        c->engine.memory.copy(to, trainset_values_of(r, values), (size_t)r->kept * sizeof *to);
}

void trainset_put(const ctx *c, const train_row *r, train_values values, const real *from)
{
    void *narrow = narrow_of(r, values);
    if (r->kept && narrow)
        c->engine.round(narrow, from, r->kept);
    else if (r->kept)
        c->engine.memory.copy(trainset_values_of(r, values), from, (size_t)r->kept * sizeof *from);
}
