/* The rows of a matrix that the product reads: lying in memory one after another, or gathered from an image or a convolution's
 * weights as they are packed, so that no matrix of windows is ever made.
 *
 * Windows: row r is window r of [N,OH,OW]; its side_h * side_w * C numbers are those of an image [N,H,W,C] under it, channels
 * fastest, 0 outside the image. Those of one row of a window lie together.
 *
 * Taps: row p is that of output channel p % O at place p / O of some of a convolution's places, of weights [O,side_h,side_w,C]. */
#ifndef CPU_GEMM_ROWS_H
#define CPU_GEMM_ROWS_H

#include <stdbool.h>
#include <string.h>

#include "cpu/kernel.h"
#include "cpu/narrow.h"

/* Places (i, j) of [high, wide]: at `first` - i * down - j * across numbers from the start of an output channel's weights. */
typedef struct weight_taps {
    int64_t outputs, high, wide;
    int64_t first, down, across;
} weight_taps;

/* A matrix from some row and number of its rows on. At most one of windows and taps is not NULL. */
typedef struct row_source {
    const void *numbers;         /* of the matrix, or of the image or the weights */
    int64_t stride;              /* between rows; of taps: between output channels */
    int64_t row, column;         /* where it begins; 0 of plain rows */
    const window_sizes *windows; /* rows are these, of an image */
    const weight_taps *taps;     /* rows are these, of weights */
    bool narrow;
} row_source;

/* A row, or the window that it is. Numbers are counted from row_source.numbers. */
typedef struct row_place {
    int64_t index;       /* of the row */
    int64_t start;       /* its first number, which is outside the image where the window begins there */
    int64_t i, j;        /* of the window; of a tap j is the output channel */
    int64_t top, left;   /* the window's first pixel */
    int64_t from, until; /* numbers of each of the window's rows that are inside the image, if the row is */
} row_place;

static inline void place_window(row_place *p, const window_sizes *z, int64_t n)
{
    p->top = p->i * z->stride - z->pad_h;
    p->left = p->j * z->stride - z->pad_w;
    p->start = ((n * z->h + p->top) * z->w + p->left) * z->c;
    p->from = p->left < 0 ? -p->left * z->c : 0;
    p->until = least(z->side_w, z->w - p->left) * z->c;
}

static inline row_place find_row(const row_source *x, int64_t row)
{
    row_place p = {.index = x->row + row};
    if (x->windows) {
        const window_sizes *z = x->windows;
        const int64_t line = p.index / z->out_w;
        p.i = line % z->out_h;
        p.j = p.index % z->out_w;
        place_window(&p, z, line / z->out_h);
    } else if (x->taps) {
        const weight_taps *t = x->taps;
        const int64_t place = p.index / t->outputs;
        p.j = p.index % t->outputs;
        p.start = t->first - place / t->wide * t->down - place % t->wide * t->across + p.j * x->stride;
    } else {
        p.start = p.index * x->stride;
    }
    return p;
}

/* The row after it, mostly without a division. */
static inline void next_row(row_place *p, const row_source *x)
{
    const int64_t count = x->windows ? x->windows->out_w : x->taps ? x->taps->outputs : INT64_MAX;
    if (++p->j == count) {
        *p = find_row(x, p->index + 1 - x->row);
        return;
    }
    p->index++;
    if (!x->windows) {
        p->start += x->stride;
        return;
    }
    const window_sizes *z = x->windows;
    const int64_t step = z->stride * z->c;
    p->start += step;
    p->left += z->stride;
    p->from = p->from > step ? p->from - step : 0;
    p->until = least(z->side_w, z->w - p->left) * z->c;
}

/* Numbers of a row that lie together; numbers is NULL where they are all 0. */
typedef struct row_piece {
    const void *numbers;
    int64_t count;
} row_piece;

/* The first of the numbers [column, column + count) of a row, as many as lie together. */
static inline row_piece piece_of_row(const row_source *x, const row_place *p, int64_t column, int64_t count)
{
    column += x->column;
    if (!x->windows) return (row_piece){number_at(x->numbers, p->start + column, x->narrow), count};
    const window_sizes *z = x->windows;
    const uint32_t width = (uint32_t)(z->side_w * z->c);
    const int64_t row = (uint32_t)column / width, at = (uint32_t)column % width, end = least(width, at + count);
    const bool inside = p->top + row >= 0 && p->top + row < z->h && at < p->until;
    if (!inside) return (row_piece){NULL, end - at};
    if (at < p->from) return (row_piece){NULL, least(p->from, end) - at};
    return (row_piece){number_at(x->numbers, p->start + row * z->w * z->c + at, x->narrow), least(p->until, end) - at};
}

/* The numbers [column, column + count) of a row: where they lie, or put together in `room`. */
static inline const void *numbers_of_row(const row_source *x, const row_place *p, int64_t column, int64_t count,
                                         void *room)
{
    row_piece piece = piece_of_row(x, p, column, count);
    if (piece.numbers && piece.count == count) return piece.numbers;
    for (int64_t done = 0;; piece = piece_of_row(x, p, column + done, count - done)) {
        const size_t each = x->narrow ? sizeof(narrow_number) : sizeof(real), bytes = (size_t)piece.count * each;
        void *to = (char *)room + (size_t)done * each;
        if (piece.numbers)
            memcpy(to, piece.numbers, bytes);
        else
            memset(to, 0, bytes);
        done += piece.count;
        if (done == count) return room;
    }
}

#endif
