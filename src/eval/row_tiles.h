/* Squared distances between the rows of sets of features, a tile at a time: products in f32 by the engine, distances from them in
 * double. Rows are taken relative to a centre, which changes no distance and keeps digits. */
#ifndef EVAL_ROW_TILES_H
#define EVAL_ROW_TILES_H

#include "tensor/tensor.h"

enum { ROW_TILE = 1024 };

/* Room for the squared distances between up to ROW_TILE rows of one set and ROW_TILE of another. */
typedef struct row_tiles {
    ctx *c;
    int64_t dim;
    float *centre;           /* [dim] */
    float *a, *b, *products; /* [ROW_TILE,dim], [ROW_TILE,dim], [ROW_TILE,ROW_TILE]; fewer rows where there are fewer */
    double *a_square, *b_square; /* [ROW_TILE] */
    int64_t a_first, a_count, b_first, b_count;
} row_tiles;

/* Takes scratch, uninitialised, for sets of at most `most` rows of the width w->dim; false after a failure. */
bool row_tiles_open(row_tiles *w, int64_t most);

/* The centre becomes the mean of x[count,dim]. */
void row_tiles_centre(row_tiles *w, const float *x, int64_t count);

/* The next tile of each side: rows from `first` on of `count` rows. That of b is multiplied with that of a. */
void row_tiles_a(row_tiles *w, const float *rows, int64_t count, int64_t first);
void row_tiles_b(row_tiles *w, const float *rows, int64_t count, int64_t first);

/* Squared, between row i of the tile of a and row j of that of b. */
static inline double row_tiles_distance(const row_tiles *w, int64_t i, int64_t j)
{
    const double square = w->a_square[i] + w->b_square[j] - 2 * (double)w->products[i * ROW_TILE + j];
    return square > 0 ? square : 0;
}

#endif
