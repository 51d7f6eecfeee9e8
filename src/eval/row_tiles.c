#include "eval/row_tiles.h"

static int64_t at_most(int64_t count)
{
    return count < ROW_TILE ? count : ROW_TILE;
}

bool row_tiles_open(row_tiles *w, int64_t most)
{
    ctx *c = w->c;
    const size_t row = (size_t)w->dim * sizeof(float), rows = (size_t)at_most(most);
    w->centre = arena_alloc(&c->scratch, row, &c->error);
    w->a = arena_alloc(&c->scratch, rows * row, &c->error);
    w->b = arena_alloc(&c->scratch, rows * row, &c->error);
    w->products = arena_alloc(&c->scratch, rows * ROW_TILE * sizeof(float), &c->error);
    w->a_square = arena_alloc(&c->scratch, ROW_TILE * sizeof(double), &c->error);
    w->b_square = arena_alloc(&c->scratch, ROW_TILE * sizeof(double), &c->error);
    return !ctx_failed(c);
}

void row_tiles_centre(row_tiles *w, const float *x, int64_t count)
{
    for (int64_t k = 0; k < w->dim; k++) {
        double sum = 0;
        for (int64_t i = 0; i < count; i++) sum += (double)x[i * w->dim + k];
        w->centre[k] = (float)(sum / (double)count);
    }
}

/* Rows first..first+count-1 minus the centre, and their squared lengths. */
static void fetch(const row_tiles *w, float *to_rows, double *square, const float *rows, int64_t first, int64_t count)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        const float *from = rows + (first + i) * w->dim;
        float *to = to_rows + i * w->dim;
        double sum = 0;
        for (int64_t k = 0; k < w->dim; k++) {
            to[k] = from[k] - w->centre[k];
            sum += (double)to[k] * (double)to[k];
        }
        square[i] = sum;
    }
}

void row_tiles_a(row_tiles *w, const float *rows, int64_t count, int64_t first)
{
    w->a_first = first;
    w->a_count = at_most(count - first);
    fetch(w, w->a, w->a_square, rows, first, w->a_count);
}

void row_tiles_b(row_tiles *w, const float *rows, int64_t count, int64_t first)
{
    w->b_first = first;
    w->b_count = at_most(count - first);
    fetch(w, w->b, w->b_square, rows, first, w->b_count);
    w->c->host.gemm(w->products, w->a, w->b, NULL, w->a_count, w->b_count, w->dim, w->dim, w->dim, ROW_TILE,
                    GEMM_TRANS_B);
}
