#include "eval/precision_recall.h"

#include <math.h>
#include <string.h>

enum { TILE = 1024, NEIGHBOURS = PRECISION_RECALL_NEIGHBOURS };

/* One set of rows. */
typedef struct set {
    const float *row;
    int64_t count;
    double *radius; /* [count], squared: to the third nearest neighbour */
} set;

/* Room for the squared distances between up to TILE rows of one set and TILE of another. */
typedef struct workspace {
    ctx *c;
    int64_t dim;
    float *centre;           /* [dim] */
    float *a, *b, *products; /* [TILE,dim], [TILE,dim], [TILE,TILE]; as many rows as there are where those are fewer */
    double *a_square, *b_square; /* [TILE] */
    int64_t a_first, a_count, b_first, b_count;
} workspace;

/* Rows first..first+count-1 minus the centre, and their squared lengths. */
static void fetch(const workspace *w, float *rows, double *square, const set *s, int64_t first, int64_t count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float *from = s->row + (first + i) * w->dim;
        float *to = rows + i * w->dim;
        double sum = 0;
        for (int64_t k = 0; k < w->dim; k++) {
            to[k] = from[k] - w->centre[k];
            sum += (double)to[k] * (double)to[k];
        }
        square[i] = sum;
    }
}

static int64_t at_most(int64_t count)
{
    return count < TILE ? count : TILE;
}

static void fetch_a(workspace *w, const set *s, int64_t first)
{
    w->a_first = first;
    w->a_count = at_most(s->count - first);
    fetch(w, w->a, w->a_square, s, first, w->a_count);
}

static void fetch_b(workspace *w, const set *s, int64_t first)
{
    w->b_first = first;
    w->b_count = at_most(s->count - first);
    fetch(w, w->b, w->b_square, s, first, w->b_count);
    w->c->host.gemm(w->products, w->a, w->b, NULL, w->a_count, w->b_count, w->dim, w->dim, w->dim, TILE, GEMM_TRANS_B);
}

/* Squared, between row i of the tile of a and row j of that of b. */
static inline double distance(const workspace *w, int64_t i, int64_t j)
{
    double square = w->a_square[i] + w->b_square[j] - 2 * (double)w->products[i * TILE + j];
    return square > 0 ? square : 0;
}

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

static void measure_radii(workspace *w, const set *s)
{
    double smallest[TILE][NEIGHBOURS];
    for (int64_t i = 0; i < s->count && ctx_go_on(w->c); i += TILE) {
        fetch_a(w, s, i);
        for (int64_t row = 0; row < w->a_count; row++)
            for (int k = 0; k < NEIGHBOURS; k++) smallest[row][k] = (double)INFINITY;
        for (int64_t j = 0; j < s->count; j += TILE) {
            fetch_b(w, s, j);
#pragma omp parallel for schedule(static)
            for (int64_t row = 0; row < w->a_count; row++)
                for (int64_t k = 0; k < w->b_count; k++)
                    if (i + row != j + k) insert(smallest[row], distance(w, row, k));
        }
        for (int64_t row = 0; row < w->a_count; row++) s->radius[i + row] = smallest[row][NEIGHBOURS - 1];
    }
}

/* The share of the rows of s that lie in a ball of `manifold`. */
static double share_inside(workspace *w, const set *s, const set *manifold)
{
    bool inside[TILE];
    int64_t total = 0;
    for (int64_t i = 0; i < s->count && ctx_go_on(w->c); i += TILE) {
        fetch_a(w, s, i);
        memset(inside, 0, sizeof inside);
        for (int64_t j = 0; j < manifold->count; j += TILE) {
            fetch_b(w, manifold, j);
#pragma omp parallel for schedule(static)
            for (int64_t row = 0; row < w->a_count; row++)
                for (int64_t k = 0; k < w->b_count && !inside[row]; k++)
                    inside[row] = distance(w, row, k) <= manifold->radius[j + k];
        }
        for (int64_t row = 0; row < w->a_count; row++) total += inside[row];
    }
    return (double)total / (double)s->count;
}

static void fill_mean(float *mean, const float *x, int64_t count, int64_t dim)
{
    for (int64_t k = 0; k < dim; k++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) sum += (double)x[i * dim + k];
        mean[k] = (float)(sum / (double)count);
    }
}

static bool enough(int64_t x_count, int64_t y_count)
{
    return x_count > NEIGHBOURS && y_count > NEIGHBOURS;
}

/* All that is taken of scratch, uninitialised. */
static bool workspace_open(workspace *w, set *reference, set *candidate)
{
    ctx *c = w->c;
    const size_t row = (size_t)w->dim * sizeof(float),
                 rows = (size_t)at_most(reference->count > candidate->count ? reference->count : candidate->count);
    reference->radius = arena_alloc(&c->scratch, (size_t)reference->count * sizeof(double), &c->error);
    candidate->radius = arena_alloc(&c->scratch, (size_t)candidate->count * sizeof(double), &c->error);
    w->centre = arena_alloc(&c->scratch, row, &c->error);
    w->a = arena_alloc(&c->scratch, rows * row, &c->error);
    w->b = arena_alloc(&c->scratch, rows * row, &c->error);
    w->products = arena_alloc(&c->scratch, rows * TILE * sizeof(float), &c->error);
    w->a_square = arena_alloc(&c->scratch, TILE * sizeof(double), &c->error);
    w->b_square = arena_alloc(&c->scratch, TILE * sizeof(double), &c->error);
    return !ctx_failed(c);
}

void precision_recall_rehearse(ctx *c, int64_t x_count, int64_t y_count, int64_t dim)
{
    const arena_place mark = arena_mark(&c->scratch);
    set reference = {.count = x_count}, candidate = {.count = y_count};
    workspace w = {.c = c, .dim = dim};
    if (enough(x_count, y_count)) workspace_open(&w, &reference, &candidate);
    arena_release(&c->scratch, mark);
}

dt_status precision_recall(precision_recall_result *out, ctx *c, const float *x, int64_t x_count, const float *y,
                           int64_t y_count, int64_t dim)
{
    *out = (precision_recall_result){(double)NAN, (double)NAN};
    if (ctx_failed(c) || !enough(x_count, y_count)) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    set reference = {.row = x, .count = x_count}, candidate = {.row = y, .count = y_count};
    workspace w = {.c = c, .dim = dim};
    if (workspace_open(&w, &reference, &candidate)) {
        fill_mean(w.centre, x, x_count, dim);
        measure_radii(&w, &reference);
        measure_radii(&w, &candidate);
        out->precision = share_inside(&w, &candidate, &reference);
        out->recall = share_inside(&w, &reference, &candidate);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
