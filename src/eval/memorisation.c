#include "eval/memorisation.h"

#include <math.h>

#include "eval/row_tiles.h"

typedef struct workspace {
    row_tiles tiles;
    feature_set training;
    double *own;      /* [training.count] distance to the nearest other training row */
    int64_t *nearest; /* [most] of each row in hand: its nearest training row */
} workspace;

/* The number of the nearest training row of each row; `own`: the rows are the training's, and none counts as its own. */
static void find_nearest(workspace *w, feature_set of, bool own)
{
    row_tiles *t = &w->tiles;
    for (int64_t i = 0; i < of.count && ctx_go_on(t->c); i += ROW_TILE) {
        double best[ROW_TILE];
        row_tiles_a(t, of.row, of.count, i);
        for (int64_t row = 0; row < t->a_count; row++) {
            best[row] = (double)INFINITY;
            w->nearest[i + row] = own && i + row == 0;
        }
        for (int64_t j = 0; j < w->training.count; j += ROW_TILE) {
            row_tiles_b(t, w->training.row, w->training.count, j);
#pragma omp parallel for schedule(static)
            for (int64_t row = 0; row < t->a_count; row++)
                for (int64_t k = 0; k < t->b_count; k++) {
                    const double distance = row_tiles_distance(t, row, k);
                    if (distance >= best[row] || (own && i + row == j + k)) continue;
                    best[row] = distance;
                    w->nearest[i + row] = j + k;
                }
        }
    }
}

/* Between two rows, from their differences. */
static double distance_of(const float *a, const float *b, int64_t dim)
{
    double sum = 0;
    for (int64_t k = 0; k < dim; k++) {
        const double difference = (double)a[k] - (double)b[k];
        sum += difference * difference;
    }
    return sqrt(sum);
}

static double nearest_distance(const workspace *w, feature_set of, int64_t i)
{
    const int64_t dim = w->tiles.dim;
    return distance_of(of.row + i * dim, w->training.row + w->nearest[i] * dim, dim);
}

/* The share of a set that counts as copied, and its mean distance to the nearest training row. */
static void judge(workspace *w, feature_set of, double *copied, double *mean)
{
    int64_t count = 0;
    double sum = 0;
    find_nearest(w, of, false);
    if (of.count == 0 || ctx_failed(w->tiles.c)) return;
    for (int64_t i = 0; i < of.count; i++) {
        const double distance = nearest_distance(w, of, i);
        sum += distance;
        count += distance <= w->own[w->nearest[i]];
    }
    *copied = (double)count / (double)of.count;
    *mean = sum / (double)of.count;
}

/* All that is taken of scratch, uninitialised. */
static bool open_all(workspace *w, int64_t held_out, int64_t samples)
{
    ctx *c = w->tiles.c;
    int64_t most = w->training.count > samples ? w->training.count : samples;
    if (held_out > most) most = held_out;
    w->own = arena_alloc(&c->scratch, (size_t)w->training.count * sizeof *w->own, &c->error);
    w->nearest = arena_alloc(&c->scratch, (size_t)most * sizeof *w->nearest, &c->error);
    return row_tiles_open(&w->tiles, most);
}

void memorisation_rehearse(ctx *c, int64_t training, int64_t held_out, int64_t samples, int64_t dim)
{
    const arena_place mark = arena_mark(&c->scratch);
    workspace w = {.tiles = {.c = c, .dim = dim}, .training = {.count = training}};
    if (training > 1) open_all(&w, held_out, samples);
    arena_release(&c->scratch, mark);
}

dt_status memorisation(memorisation_result *out, ctx *c, feature_set training, feature_set held_out,
                       feature_set samples, int64_t dim)
{
    const double none = (double)NAN;
    double near_held_out = none, near_samples = none;
    *out = (memorisation_result){none, none, none};
    if (ctx_failed(c) || training.count < 2) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    workspace w = {.tiles = {.c = c, .dim = dim}, .training = training};
    if (open_all(&w, held_out.count, samples.count)) {
        row_tiles_centre(&w.tiles, training.row, training.count);
        find_nearest(&w, training, true);
        for (int64_t i = 0; !ctx_failed(c) && i < training.count; i++) w.own[i] = nearest_distance(&w, training, i);
        judge(&w, held_out, &out->copied_held_out, &near_held_out);
        judge(&w, samples, &out->copied, &near_samples);
        if (near_held_out > 0) out->nearest_ratio = near_samples / near_held_out;
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
