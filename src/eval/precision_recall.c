#include "eval/precision_recall.h"

#include <math.h>
#include <string.h>

#include "eval/row_tiles.h"

enum { TILE = ROW_TILE, NEIGHBOURS = PRECISION_RECALL_NEIGHBOURS };

/* One set of rows. */
typedef struct set {
    const float *row;
    int64_t count;
    double *radius; /* [count], squared: to the third nearest neighbour */
} set;

/* Puts `value` into the sorted list of the smallest. */
static inline void insert(double smallest[NEIGHBOURS], double value)
{
    for (int k = 0; k < NEIGHBOURS; k++)
        if (value < smallest[k]) {
            double larger = smallest[k];
            smallest[k] = value;
            value = larger;
        }
}

static void measure_radii(row_tiles *w, const set *s)
{
    double smallest[TILE][NEIGHBOURS];
    for (int64_t i = 0; i < s->count && ctx_go_on(w->c); i += TILE) {
        row_tiles_a(w, s->row, s->count, i);
        for (int64_t row = 0; row < w->a_count; row++)
            for (int k = 0; k < NEIGHBOURS; k++) smallest[row][k] = (double)INFINITY;
        for (int64_t j = 0; j < s->count; j += TILE) {
            row_tiles_b(w, s->row, s->count, j);
#pragma omp parallel for schedule(static)
            for (int64_t row = 0; row < w->a_count; row++)
                for (int64_t k = 0; k < w->b_count; k++)
                    if (i + row != j + k) insert(smallest[row], row_tiles_distance(w, row, k));
        }
        for (int64_t row = 0; row < w->a_count; row++) s->radius[i + row] = smallest[row][NEIGHBOURS - 1];
    }
}

/* The share of the rows of s that lie in a ball of `manifold`. */
static double share_inside(row_tiles *w, const set *s, const set *manifold)
{
    bool inside[TILE];
    int64_t total = 0;
    for (int64_t i = 0; i < s->count && ctx_go_on(w->c); i += TILE) {
        row_tiles_a(w, s->row, s->count, i);
        memset(inside, 0, sizeof inside);
        for (int64_t j = 0; j < manifold->count; j += TILE) {
            row_tiles_b(w, manifold->row, manifold->count, j);
#pragma omp parallel for schedule(static)
            for (int64_t row = 0; row < w->a_count; row++)
                for (int64_t k = 0; k < w->b_count && !inside[row]; k++)
                    inside[row] = row_tiles_distance(w, row, k) <= manifold->radius[j + k];
        }
        for (int64_t row = 0; row < w->a_count; row++) total += inside[row];
    }
    return (double)total / (double)s->count;
}

static bool enough(int64_t x_count, int64_t y_count)
{
    return x_count > NEIGHBOURS && y_count > NEIGHBOURS;
}

/* All that is taken of scratch, uninitialised. */
static bool open_all(row_tiles *w, set *reference, set *candidate)
{
    ctx *c = w->c;
    reference->radius = arena_alloc(&c->scratch, (size_t)reference->count * sizeof(double), &c->error);
    candidate->radius = arena_alloc(&c->scratch, (size_t)candidate->count * sizeof(double), &c->error);
    return row_tiles_open(w, reference->count > candidate->count ? reference->count : candidate->count);
}

void precision_recall_rehearse(ctx *c, int64_t x_count, int64_t y_count, int64_t dim)
{
    const arena_place mark = arena_mark(&c->scratch);
    set reference = {.count = x_count}, candidate = {.count = y_count};
    row_tiles w = {.c = c, .dim = dim};
    if (enough(x_count, y_count)) open_all(&w, &reference, &candidate);
    arena_release(&c->scratch, mark);
}

dt_status precision_recall(precision_recall_result *out, ctx *c, const float *x, int64_t x_count, const float *y,
                           int64_t y_count, int64_t dim)
{
    *out = (precision_recall_result){(double)NAN, (double)NAN};
    if (ctx_failed(c) || !enough(x_count, y_count)) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    set reference = {.row = x, .count = x_count}, candidate = {.row = y, .count = y_count};
    row_tiles w = {.c = c, .dim = dim};
    if (open_all(&w, &reference, &candidate)) {
        row_tiles_centre(&w, x, x_count);
        measure_radii(&w, &reference);
        measure_radii(&w, &candidate);
        out->precision = share_inside(&w, &candidate, &reference);
        out->recall = share_inside(&w, &reference, &candidate);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
