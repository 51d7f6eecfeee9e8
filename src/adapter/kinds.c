#include "adapter/kinds.h"

#include <math.h>
#include <string.h>

#include "op/op.h"

double adapter_lora_scale(const adapter_plan *plan)
{
    const double rank = (double)plan->rank, alpha = plan->alpha > 0 ? plan->alpha : rank;
    return alpha / (plan->root ? sqrt(rank) : rank);
}

void kind_join_map(ctx *c, const adapter *a, lin_w *map, join_at_map *join, bool narrow, const void *weights)
{
    lin_site *site = arena_alloc(&c->model, sizeof *site, &c->error);
    if (!site) return;
    *site = (lin_site){.join = join, .narrow = narrow, .adapter = weights, .off = &a->off, .next = map->site};
    map->site = site;
}

void kind_join_block(ctx *c, const adapter *a, block_sites *block, join_in_block *join, const void *weights)
{
    block_site *site = arena_alloc(&c->model, sizeof *site, &c->error);
    if (!site) return;
    *site = (block_site){.join = join, .adapter = weights, .off = &a->off, .next = *block->first};
    *block->first = site;
}

tensor *kind_constant(ctx *c, int64_t width, double value)
{
    tensor *row = tensor_new(c, &c->model, 2, (int64_t[]){1, width});
    const arena_place mark = arena_mark(&c->scratch);
    real *values = row ? numbers_prepare(c, &c->scratch, row->data, width) : NULL;
    for (int64_t i = 0; values && i < width; i++) values[i] = (real)value;
    if (values) numbers_send(c, row->data, values, width);
    arena_release(&c->scratch, mark);
    return row;
}

tensor *kind_spread(ctx *c, tensor *row, int64_t n)
{
    const arena_place mark = arena_mark(&c->scratch);
    const int32_t *first = arena_alloc_zeroed(&c->scratch, (size_t)n * sizeof *first, &c->error);
    tensor *rows = op_embedding(c, row, first, n);
    arena_release(&c->scratch, mark);
    return rows;
}

tensor *kind_add(ctx *c, tensor *y, tensor *h, tensor *factor)
{
    if (ctx_failed(c)) return NULL;
    if (y->dim_count == 3) return op_gated_add(c, y, h, factor, 0);
    const int64_t n = y->dim[0], width = y->dim[1], tokens[] = {n, 1, width}, rows[] = {n, width};
    return op_reshape(c, op_gated_add(c, op_reshape(c, y, 3, tokens), op_reshape(c, h, 3, tokens), factor, 0), 2, rows);
}

tensor *kind_scale(ctx *c, tensor *h, tensor *factor)
{
    return ctx_failed(c) ? NULL : kind_add(c, tensor_zeros(c, &c->step, h->dim_count, h->dim), h, factor);
}

int kind_map_name(const char **name, const denoiser *d, const lin_w *map)
{
    const params *p = d->params;
    int i = 0;
    while (p->row[i].tensor != map->w) i++;
    *name = p->row[i].name;
    return (int)(strlen(*name) - strlen(".weight"));
}
