#include "model/file/aliases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

int alias_count(const alias_table *table, int64_t blocks)
{
    return table->once_count + (int)blocks * table->block_count;
}

/* `pattern` with the number in place of its %d, if it has one. */
static void write_name(alias_name out, const char *pattern, int number)
{
    const char *mark = strstr(pattern, "%d");
    if (mark)
        snprintf(out, ALIAS_NAME_MAX, "%.*s%d%s", (int)(mark - pattern), pattern, number, mark + 2);
    else
        snprintf(out, ALIAS_NAME_MAX, "%s", pattern);
}

const alias *alias_at(alias_name theirs, alias_name own, const alias_table *table, int i)
{
    const int inside = i - table->once_count;
    const alias *a = inside < 0 ? &table->once[i] : &table->block[inside % table->block_count];
    const int block = inside < 0 ? 0 : inside / table->block_count;
    write_name(theirs, a->theirs, block);
    write_name(own, a->own, block);
    return a;
}

int64_t alias_blocks(const alias_table *table, const tensor_file *f)
{
    for (int64_t i = 0;; i++) {
        alias_name name;
        write_name(name, table->block[0].theirs, (int)i);
        if (!tensor_file_find(f, name)) return i;
    }
}

int64_t alias_own_blocks(const alias_table *table, const tensor_file *f)
{
    for (int i = 0;; i++) {
        alias_name theirs, own;
        alias_at(theirs, own, table, table->once_count + (i + 1) * table->block_count - 1);
        if (!tensor_file_find(f, own)) return i;
    }
}

/* ---- reading ---- */

dt_status alias_refuse(const alias_view *v, const char *name, const char *why)
{
    return error_set(v->err, DT_ERR_SHAPE, "%s: tensor %s %s", v->f->path, name, why);
}

tensor_entry *alias_add(alias_view *v, const tensor_entry *like, const char *name)
{
    char *kept = arena_alloc(&v->memory, strlen(name) + 1, v->err);
    if (!kept) return NULL;
    strcpy(kept, name);
    tensor_entry *e = &v->entries[v->count++];
    *e = *like;
    e->name = kept;
    return e;
}

/* `e` without strides, in f32, in memory of the view. */
static void join(alias_view *v, const tensor_entry *first, int parts, const tensor_entry *const part[],
                 const char *name)
{
    int64_t *dims = arena_alloc(&v->memory, (size_t)first->dim_count * sizeof *dims, v->err);
    float *values = arena_alloc(&v->memory, (size_t)(parts * first->count) * sizeof *values, v->err);
    tensor_entry *e = values ? alias_add(v, first, name) : NULL;
    if (!e) return;
    memcpy(dims, first->dims, (size_t)first->dim_count * sizeof *dims);
    dims[0] *= parts;
    for (int i = 0; i < parts && v->err->status == DT_OK; i++)
        tensor_read_finite(values + i * first->count, part[i], v->err);
    e->dims = dims;
    e->count = parts * first->count;
    tensor_take_values(e, values);
}

/* Part 1 is met first; the others, the next names, have its shape. */
static void join_parts(alias_view *v, const tensor_entry *first, int parts, int i, const char *own_name)
{
    const tensor_entry *part[ALIAS_PARTS_MAX] = {first};
    for (int k = 1; k < parts; k++) {
        alias_name name, other;
        alias_at(name, other, v->table, i + k);
        part[k] = tensor_file_find(v->f, name);
        if (!part[k]) alias_refuse(v, name, "is missing");
        if (part[k] && !tensor_same_shape(first, part[k]))
            error_set(v->err, DT_ERR_SHAPE, "%s: tensor %s has another shape than %s", v->f->path, name, first->name);
        if (v->err->status != DT_OK) return;
    }
    if (first->dim_count < 1)
        alias_refuse(v, first->name, "has no dimension");
    else
        join(v, first, parts, part, own_name);
}

static bool same_bytes(const tensor_entry *a, const tensor_entry *b)
{
    if (a->dtype != b->dtype || !tensor_same_shape(a, b) || a->strides || b->strides) return false;
    return a->data == b->data || !memcmp(a->data, b->data, (size_t)a->bytes);
}

/* Every block's copy must be the first block's. */
static void check_copy(alias_view *v, const tensor_entry *e, int i)
{
    alias_name first, own;
    const alias_table *table = v->table;
    alias_at(first, own, table, table->once_count + (i - table->once_count) % table->block_count);
    if (!same_bytes(e, tensor_file_find(v->f, first)))
        alias_refuse(v, e->name, "differs from block 0's: the network has one for all blocks");
}

static void take_name(alias_view *v, int i)
{
    alias_name name, own;
    const alias *a = alias_at(name, own, v->table, i);
    const tensor_entry *e = tensor_file_find(v->f, name);
    if (!e) {
        alias_refuse(v, name, "is missing");
        return;
    }
    v->used++;
    if (a->copy && i >= v->table->once_count + v->table->block_count)
        check_copy(v, e, i);
    else if (a->part == 1)
        join_parts(v, e, a->parts, i, own);
    else if (a->part == 0)
        alias_add(v, e, own);
}

static void name_stranger(const alias_view *v)
{
    for (size_t k = 0; k < v->f->count; k++) {
        bool known = false;
        for (int i = 0; i < alias_count(v->table, v->blocks) && !known; i++) {
            alias_name name, own;
            alias_at(name, own, v->table, i);
            known = !strcmp(name, v->f->entries[k].name);
        }
        if (known) continue;
        error_set(v->err, DT_ERR_SHAPE, "%s: tensor %s is not part of %s", v->f->path, v->f->entries[k].name,
                  v->table->network);
    }
}

/* Room for what a view makes: joined tensors in f32, names, and what is added. */
static size_t memory_of(const alias_view *v, const alias_more *more)
{
    size_t bytes = more->bytes + (size_t)alias_count(v->table, v->blocks) * 4 * sizeof(alias_name);
    for (int i = 0; i < alias_count(v->table, v->blocks); i++) {
        alias_name name, own;
        const tensor_entry *e = alias_at(name, own, v->table, i)->part ? tensor_file_find(v->f, name) : NULL;
        if (e) bytes += (size_t)e->count * sizeof(float);
    }
    return bytes;
}

dt_status alias_read(tensor_file *f, const alias_table *table, int64_t blocks, const alias_more *more, dt_error *err)
{
    static const alias_more nothing = {0};
    alias_view v = {.table = table, .f = f, .blocks = blocks, .err = err};
    const int names = alias_count(table, blocks);
    if (!more) more = &nothing;
    v.entries = calloc((size_t)names + more->entries, sizeof *v.entries);
    if (!v.entries) error_set(err, DT_ERR_MEMORY, "%s: no memory for its tensors", f->path);
    if (err->status == DT_OK && arena_open(&v.memory, "tensors under other names", memory_of(&v, more), err) == DT_OK) {
        for (int i = 0; i < names && err->status == DT_OK; i++) take_name(&v, i);
        if (err->status == DT_OK && v.used != f->count) name_stranger(&v);
        if (err->status == DT_OK && more->complete) more->complete(&v, more->user);
    }
    if (err->status == DT_OK) {
        tensor_file_replace(f, v.entries, v.count, &v.memory, err);
    } else {
        free(v.entries);
        arena_close(&v.memory);
    }
    return err->status;
}

/* ---- writing ---- */

static const tensor_source *find_source(const tensor_source own[], size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(own[i].name, name)) return &own[i];
    return NULL;
}

/* A part's rows lie one part after the other in the whole. */
static void take_part(tensor_source *out, int64_t dims[4], const alias *a)
{
    int64_t values = 1;
    memcpy(dims, out->dims, (size_t)out->dim_count * sizeof dims[0]);
    dims[0] /= a->parts;
    for (int k = 0; k < out->dim_count; k++) values *= dims[k];
    out->dims = dims;
    if (out->values) out->values += (a->part - 1) * values;
    out->first = (a->part - 1) * values;
}

void alias_sources(tensor_source out[], alias_name names[], int64_t dims[][4], const alias_table *table,
                   const tensor_source own[], size_t own_count, int64_t blocks)
{
    for (int i = 0; i < alias_count(table, blocks); i++) {
        alias_name name;
        const alias *a = alias_at(names[i], name, table, i);
        out[i] = *find_source(own, own_count, name);
        out[i].name = names[i];
        if (a->part) take_part(&out[i], dims[i], a);
    }
}
