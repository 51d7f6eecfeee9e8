/* Windows of an image as the A of a product with matrix registers, read where they lie: rows of a matrix register are
 * the same place of 16 windows that follow each other, which is 16 pixels that follow each other. For that the image's lines
 * are copied, as pairs, with their border of zeros. All of the contraction runs by while the sums stay in registers. */
#ifndef CPU_GEMM_IMAGE_H
#define CPU_GEMM_IMAGE_H

#include "cpu/gemm_pack.h"

#if GEMM_AMX

/* Some lines of windows, moved by 1, and the part of the image under them: side_h - 1 more lines of `pitch` pixels each. */
typedef struct image_part {
    const real *pixels; /* pairs of channels */
    int64_t lines, width, pitch;
    int64_t side_h, run; /* words of a row of a window */
    int64_t channels;    /* words of a pixel */
} image_part;

static int64_t pitch_of(const window_sizes *z)
{
    return z->out_w + z->side_w - 1;
}

/* Words that lines of windows need; those that the last registers hold beyond the windows are among them. */
static int64_t words_of_lines(const window_sizes *z, int64_t lines)
{
    return ((lines + z->side_h - 1) * pitch_of(z) + AMX_ROWS) * (z->c / 2);
}

/* Lines of windows from number `first` of image n on. */
static image_part copy_lines(real *room, const void *image, bool narrow, const window_sizes *z, int64_t n,
                             int64_t first, int64_t lines)
{
    const int64_t pitch = pitch_of(z), pixel = z->c / 2; /* words */
    const int64_t from = z->pad_w > 0 ? least(z->pad_w, pitch) : 0, until = least(pitch, z->w + z->pad_w);
    real *to = room;
    for (int64_t y = first - z->pad_h; y < first - z->pad_h + lines + z->side_h - 1; y++, to += pitch * pixel) {
        if (y < 0 || y >= z->h || until <= from) {
            memset(to, 0, (size_t)(pitch * pixel) * sizeof *to);
            continue;
        }
        const int64_t start = ((n * z->h + y) * z->w + from - z->pad_w) * z->c;
        memset(to, 0, (size_t)(from * pixel) * sizeof *to);
        pack_numbers(to + from * pixel, number_at(image, start, narrow), (until - from) * z->c, narrow, PACK_PAIRS);
        memset(to + until * pixel, 0, (size_t)((pitch - until) * pixel) * sizeof *to);
    }
    return (image_part){room, lines, z->out_w, pitch, z->side_h, z->side_w * pixel, pixel};
}

/* Windows are taken 16 at a time, from place to place of the part, which has `pitch` places a line: where a line is not of
 * whole sixteens, with the places between the lines, whose sums are dropped. */
static int64_t count_sixteens(const image_part *x)
{
    if (x->width % AMX_ROWS == 0) return x->lines * (x->width / AMX_ROWS);
    return ((x->lines - 1) * x->pitch + x->width + AMX_ROWS - 1) / AMX_ROWS;
}

static int64_t place_of_sixteen(const image_part *x, int64_t index)
{
    const int64_t each = x->width / AMX_ROWS;
    return x->width % AMX_ROWS == 0 ? index / each * x->pitch + index % each * AMX_ROWS : index * AMX_ROWS;
}

/* sums[32,32] of the windows at two places and those that follow them, times a panel. */
static void multiply_windows(real *sums, const image_part *x, int64_t upper_place, int64_t lower_place,
                             const real *panel, bool wide)
{
    __asm__ volatile("" ::: "memory"); /* gcc does not know that loads of registers read memory */
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    for (int64_t y = 0; y < x->side_h; y++) {
        const real *upper = x->pixels + (upper_place + y * x->pitch) * x->channels;
        const real *lower = x->pixels + (lower_place + y * x->pitch) * x->channels;
        for (int64_t p = 0; p < x->run; p += AMX_WORDS, panel += AMX_WORDS * TILE_COLUMNS) {
            amx_load(4, upper + p, x->channels);
            amx_load(6, panel, TILE_COLUMNS);
            amx_multiply_add(0, 4, 6);
            amx_load(5, lower + p, x->channels);
            amx_multiply_add(2, 5, 6);
            if (!wide) continue;
            amx_load(7, panel + AMX_WORDS, TILE_COLUMNS);
            amx_multiply_add(1, 4, 7);
            amx_multiply_add(3, 5, 7);
        }
    }
    amx_store(0, sums, TILE_COLUMNS);
    amx_store(1, sums + AMX_WORDS, TILE_COLUMNS);
    amx_store(2, sums + AMX_ROWS * TILE_COLUMNS, TILE_COLUMNS);
    amx_store(3, sums + AMX_ROWS * TILE_COLUMNS + AMX_WORDS, TILE_COLUMNS);
    __asm__ volatile("" ::: "memory");
}

#endif

#endif
