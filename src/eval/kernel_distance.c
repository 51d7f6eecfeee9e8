#include "eval/kernel_distance.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

/* Scratch of one call: room for a subset of each side and their inner products. */
typedef struct workspace {
    int32_t *order;  /* [larger count] */
    float *x, *y;    /* [m,dim] */
    float *products; /* [m,m] */
    double *sums;    /* [m] */
    int64_t m, dim;
} workspace;

static void workspace_open(workspace *w, ctx *c, int64_t order_count)
{
    size_t m = (size_t)w->m, row = (size_t)w->dim * sizeof(float);
    w->order = arena_alloc(&c->scratch, (size_t)order_count * sizeof(int32_t), &c->error);
    w->x = arena_alloc(&c->scratch, m * row, &c->error);
    w->y = arena_alloc(&c->scratch, m * row, &c->error);
    w->products = arena_alloc(&c->scratch, m * m * sizeof(float), &c->error);
    w->sums = arena_alloc(&c->scratch, m * sizeof(double), &c->error);
}

/* m rows of x without replacement; side 0 and 1 draw independently. */
static void draw(float *out, const workspace *w, const float *x, int64_t count, rng_key key)
{
    rng_permutation(w->order, count, key);
    for (int64_t i = 0; i < w->m; i++)
        memcpy(out + i * w->dim, x + w->order[i] * w->dim, (size_t)w->dim * sizeof(float));
}

/* Sum of the kernel over all pairs of rows of a and b; over pairs of different rows when a is b. */
static double kernel_sum(const ctx *c, const workspace *w, const float *a, const float *b)
{
    const int64_t m = w->m, d = w->dim;
    c->host.gemm(w->products, a, b, NULL, m, m, d, d, d, m, GEMM_TRANS_B);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) {
        double sum = 0;
        for (int64_t j = 0; j < m; j++) {
            double base = (double)w->products[i * m + j] / (double)d + 1;
            if (a != b || i != j) sum += base * base * base;
        }
        w->sums[i] = sum;
    }
    double total = 0;
    for (int64_t i = 0; i < m; i++) total += w->sums[i];
    return total;
}

/* Binkowski et al., equation 4, for equal sizes. */
static double subset_distance(const ctx *c, const workspace *w)
{
    const double m = (double)w->m;
    double within = kernel_sum(c, w, w->x, w->x) + kernel_sum(c, w, w->y, w->y);
    return within / (m * (m - 1)) - 2 * kernel_sum(c, w, w->x, w->y) / (m * m);
}

static workspace workspace_of(int64_t x_count, int64_t y_count, int64_t dim)
{
    const int64_t fewer = x_count < y_count ? x_count : y_count;
    return (workspace){.m = fewer < KERNEL_DISTANCE_SUBSET_SIZE ? fewer : KERNEL_DISTANCE_SUBSET_SIZE, .dim = dim};
}

void kernel_distance_rehearse(ctx *c, int64_t x_count, int64_t y_count, int64_t dim)
{
    const arena_place mark = arena_mark(&c->scratch);
    workspace w = workspace_of(x_count, y_count, dim);
    workspace_open(&w, c, x_count > y_count ? x_count : y_count);
    arena_release(&c->scratch, mark);
}

dt_status kernel_distance(kernel_distance_result *out, ctx *c, const float *x, int64_t x_count, const float *y,
                          int64_t y_count, int64_t dim, uint64_t seed)
{
    if (x_count < 2 || y_count < 2)
        return error_set(&c->error, DT_ERR_ARG, "kernel distance: at least 2 images a side, found %lld and %lld",
                         (long long)x_count, (long long)y_count);
    workspace w = workspace_of(x_count, y_count, dim);
    const arena_place mark = arena_mark(&c->scratch);
    workspace_open(&w, c, x_count > y_count ? x_count : y_count);
    if (ctx_failed(c)) return c->error.status;

    double value[KERNEL_DISTANCE_SUBSETS] = {0}, sum = 0, square = 0;
    for (int s = 0; s < KERNEL_DISTANCE_SUBSETS && ctx_go_on(c); s++) {
        draw(w.x, &w, x, x_count, (rng_key){seed, RNG_SUBSET, (uint32_t)s, 0});
        draw(w.y, &w, y, y_count, (rng_key){seed, RNG_SUBSET, (uint32_t)s, 1});
        value[s] = subset_distance(c, &w);
        sum += value[s];
    }
    arena_release(&c->scratch, mark);
    if (ctx_failed(c)) return c->error.status;
    out->mean = sum / KERNEL_DISTANCE_SUBSETS;
    for (int s = 0; s < KERNEL_DISTANCE_SUBSETS; s++) square += (value[s] - out->mean) * (value[s] - out->mean);
    out->std = sqrt(square / KERNEL_DISTANCE_SUBSETS);
    out->subset_size = w.m;
    if (isfinite(out->mean)) return DT_OK;
    return error_set(&c->error, DT_ERR_NUMERIC, "kernel distance: the features are not finite");
}
