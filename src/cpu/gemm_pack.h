/* Packing for the matrix product: a strip of a matrix becomes a panel of [words, width], so that the tile reads it from one
 * end to the other. */
#ifndef CPU_GEMM_PACK_H
#define CPU_GEMM_PACK_H

#include <stdbool.h>
#include <string.h>

#include "cpu/gemm_amx.h"
#include "cpu/gemm_rows.h"
#include "cpu/gemm_tile.h"
#include "cpu/narrow.h"

/* Words of pairs come in multiples of this; those beyond the end are zero. */
enum { PAIR_STEP = GEMM_AMX ? 16 : 1 };

typedef enum packing {
    PACK_PLAIN,
    PACK_ROUNDED, /* each number rounded to bfloat16 */
    PACK_PAIRS,   /* two bfloat16 a word, the earlier one in the low half; 0 stands in for a missing second */
} packing;

/* What becomes a panel: `lanes` lanes of `depth` numbers. */
typedef struct strip {
    row_source rows;
    int64_t lanes, depth;
    bool across; /* the lanes lie side by side in each row of the source; else each lane is a row */
} strip;

/* Whether its rows follow each other as they lie. */
static inline bool is_plain_strip(const strip *x)
{
    return !x->rows.windows && !x->rows.taps;
}

enum {
    PREFETCH_ROWS = 32, /* rows far apart in memory: the machine does not foresee them by itself */
    NARROW_WORDS = 64,  /* words of a strip that are made at a time */
};

typedef real quad __attribute__((vector_size(4 * sizeof(real))));
typedef real quad_anywhere __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));

static inline int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t packed_words(int64_t depth, packing kind)
{
    return kind == PACK_PAIRS ? divide_up(divide_up(depth, 2), PAIR_STEP) * PAIR_STEP : depth;
}

static inline void round_in_place(real *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = round_bf16(x[i]);
}

static inline void transpose_4x4(real *target, int64_t target_stride, const real *source, int64_t source_stride)
{
    quad r0 = *(const quad_anywhere *)source;
    quad r1 = *(const quad_anywhere *)(source + source_stride);
    quad r2 = *(const quad_anywhere *)(source + 2 * source_stride);
    quad r3 = *(const quad_anywhere *)(source + 3 * source_stride);
    quad low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
    quad high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    quad low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
    quad high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(quad_anywhere *)target = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    *(quad_anywhere *)(target + target_stride) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    *(quad_anywhere *)(target + 2 * target_stride) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    *(quad_anywhere *)(target + 3 * target_stride) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

#if GEMM_WIDE

/* In each group of four: numbers i and j of a and b in turn; two numbers from i on, of a, then of b; and whole groups i and j
 * of a, then of b. */
#define SHUFFLE_NUMBERS(a, b, i, j)                                                                                    \
    __builtin_shufflevector(a, b, i, 16 + (i), j, 16 + (j), 4 + (i), 20 + (i), 4 + (j), 20 + (j), 8 + (i), 24 + (i),   \
                            8 + (j), 24 + (j), 12 + (i), 28 + (i), 12 + (j), 28 + (j))
#define SHUFFLE_HALVES(a, b, i)                                                                                        \
    __builtin_shufflevector(a, b, i, (i) + 1, 16 + (i), 17 + (i), 4 + (i), 5 + (i), 20 + (i), 21 + (i), 8 + (i),       \
                            9 + (i), 24 + (i), 25 + (i), 12 + (i), 13 + (i), 28 + (i), 29 + (i))
#define SHUFFLE_QUADS(a, b, i, j)                                                                                      \
    __builtin_shufflevector(a, b, 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3, 4 * (j), 4 * (j) + 1, 4 * (j) + 2,   \
                            4 * (j) + 3, 16 + 4 * (i), 17 + 4 * (i), 18 + 4 * (i), 19 + 4 * (i), 16 + 4 * (j),         \
                            17 + 4 * (j), 18 + 4 * (j), 19 + 4 * (j))

/* Numbers are exchanged between neighbouring rows, then pairs of them between every second row, then groups of four. */
static inline __attribute__((always_inline)) void transpose_vectors(real *target, int64_t target_stride, vector row[16])
{
    vector mixed[16];
    for (int i = 0; i < 16; i += 2) {
        mixed[i] = SHUFFLE_NUMBERS(row[i], row[i + 1], 0, 1);
        mixed[i + 1] = SHUFFLE_NUMBERS(row[i], row[i + 1], 2, 3);
    }
    for (int i = 0; i < 16; i += 4) { /* row[i + j]: column j of each group of four, of rows i .. i + 3 */
        row[i] = SHUFFLE_HALVES(mixed[i], mixed[i + 2], 0);
        row[i + 1] = SHUFFLE_HALVES(mixed[i], mixed[i + 2], 2);
        row[i + 2] = SHUFFLE_HALVES(mixed[i + 1], mixed[i + 3], 0);
        row[i + 3] = SHUFFLE_HALVES(mixed[i + 1], mixed[i + 3], 2);
    }
    for (int j = 0; j < 4; j++) {
        vector left_top = SHUFFLE_QUADS(row[j], row[4 + j], 0, 1), right_top = SHUFFLE_QUADS(row[j], row[4 + j], 2, 3);
        vector left = SHUFFLE_QUADS(row[8 + j], row[12 + j], 0, 1),
               right = SHUFFLE_QUADS(row[8 + j], row[12 + j], 2, 3);
        *(vector_anywhere *)(target + j * target_stride) = SHUFFLE_QUADS(left_top, left, 0, 2);
        *(vector_anywhere *)(target + (4 + j) * target_stride) = SHUFFLE_QUADS(left_top, left, 1, 3);
        *(vector_anywhere *)(target + (8 + j) * target_stride) = SHUFFLE_QUADS(right_top, right, 0, 2);
        *(vector_anywhere *)(target + (12 + j) * target_stride) = SHUFFLE_QUADS(right_top, right, 1, 3);
    }
}

static void transpose_16x16(real *target, int64_t target_stride, const real *source, int64_t source_stride)
{
    vector row[16];
    for (int i = 0; i < 16; i++) row[i] = *(const vector_anywhere *)(source + i * source_stride);
    transpose_vectors(target, target_stride, row);
}

#endif

/* target[c, r] = source[r, c] in blocks of 4 x 4, and the rest one by one. */
static void transpose_small(real *target, int64_t target_stride, const real *source, int64_t source_stride,
                            int64_t rows, int64_t columns)
{
    int64_t whole_rows = rows & ~INT64_C(3), whole_columns = columns & ~INT64_C(3);
    for (int64_t r = 0; r < whole_rows; r += 4)
        for (int64_t c = 0; c < whole_columns; c += 4) {
            __builtin_prefetch(source + least(r + PREFETCH_ROWS + c / 4 % 4, rows - 1) * source_stride + c);
            transpose_4x4(target + c * target_stride + r, target_stride, source + r * source_stride + c, source_stride);
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            target[c * target_stride + r] = source[r * source_stride + c];
}

/* target[c, r] = source[r, c] */
static void transpose_matrix(real *target, int64_t target_stride, const real *source, int64_t source_stride,
                             int64_t rows, int64_t columns)
{
    int64_t whole_rows = 0;
#if GEMM_WIDE
    int64_t whole_columns = columns & ~INT64_C(15);
    whole_rows = rows & ~INT64_C(15);
    for (int64_t r = 0; r < whole_rows; r += 16)
        for (int64_t c = 0; c < whole_columns; c += 16)
            transpose_16x16(target + c * target_stride + r, target_stride, source + r * source_stride + c,
                            source_stride);
    transpose_small(target + whole_columns * target_stride, target_stride, source + whole_columns, source_stride,
                    whole_rows, columns - whole_columns);
#endif
    transpose_small(target + whole_rows, target_stride, source + whole_rows * source_stride, source_stride,
                    rows - whole_rows, columns);
}

#if GEMM_PAIRS

/* As the machine's own conversion does it (VCVTNE2PS2BF16), so that a number's pair does not depend on where it lies. */
static inline real make_pair(real first, real second)
{
    uint32_t low = half_bf16_word(without_subnormals(first)), high = half_bf16_word(without_subnormals(second));
    uint32_t bits = low >> 16 | (high & 0xffff0000U);
    real word;
    memcpy(&word, &bits, sizeof word);
    return word;
}

/* to[q] = pair (from[2q], from[2q + 1]) */
static void pair_neighbours(real *to, const real *from, int64_t depth)
{
    int64_t done = 0;
#ifdef __AVX512BF16__
    for (; done + 32 <= depth; done += 32) {
        __m512 low = _mm512_loadu_ps(from + done), high = _mm512_loadu_ps(from + done + 16);
        _mm512_storeu_si512(to + done / 2, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
#endif
    for (; done + 2 <= depth; done += 2) to[done / 2] = make_pair(from[done], from[done + 1]);
    if (done < depth) to[done / 2] = make_pair(from[done], 0);
}

/* to[i] = pair (first[i], second[i]) */
static void pair_beside(real *to, const real *first, const real *second, int64_t lanes)
{
    int64_t done = 0;
#ifdef __AVX512BF16__
    const __m512i in_turn =
        _mm512_add_epi32(_mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                            _mm512_set1_epi32(0x00010001)),
                         _mm512_set1_epi32(0x00100000)); /* 0 16 1 17 .. */
    for (; done + 16 <= lanes; done += 16) {
        __m512bh both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(second + done), _mm512_loadu_ps(first + done));
        _mm512_storeu_si512(to + done, _mm512_permutexvar_epi16(in_turn, (__m512i)both));
    }
#endif
    for (; done < lanes; done++) to[done] = make_pair(first[done], second[done]);
}

typedef uint16_t half_words __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t whole_words __attribute__((vector_size(64), aligned(4), may_alias));

/* The same of bfloat16. */
static void join_beside(uint32_t *to, const narrow_number *first, const narrow_number *second, int64_t lanes)
{
    int64_t done = 0;
    for (; done + 16 <= lanes; done += 16) {
        const whole_words low = __builtin_convertvector(*(const half_words *)(first + done), whole_words),
                          high = __builtin_convertvector(*(const half_words *)(second + done), whole_words);
        *(whole_words *)(to + done) = low | high << 16;
    }
    for (; done < lanes; done++) to[done] = first[done] | (uint32_t)second[done] << 16;
}

#endif

static inline int64_t numbers_of_word(packing kind)
{
    return kind == PACK_PAIRS ? 2 : 1;
}

/* Words of `count` numbers that follow each other. */
static void pack_numbers(real *to, const void *from, int64_t count, bool narrow, packing kind)
{
#if GEMM_PAIRS
    if (kind == PACK_PAIRS && narrow) {
        if (count % 2) to[count / 2] = 0;
        memcpy(to, from, (size_t)count * sizeof(narrow_number));
        return;
    }
    if (kind == PACK_PAIRS) {
        pair_neighbours(to, from, count);
        return;
    }
#endif
    (void)kind;
    if (narrow)
        widen(to, from, count);
    else
        memcpy(to, from, (size_t)count * sizeof *to);
}

/* Words of a lane that is a row of the source: of its `count` numbers from p on. Pieces of a window are of whole words unless
 * a pixel has an odd number of channels. */
static void pack_line(real *to, const row_source *x, const row_place *row, int64_t p, int64_t count, packing kind)
{
    const int64_t each = numbers_of_word(kind);
    if (x->windows && x->windows->c % each) {
        real room[2 * NARROW_WORDS];
        for (int64_t done = 0; done < count; done += 2 * NARROW_WORDS) {
            const int64_t part = least(2 * NARROW_WORDS, count - done);
            const void *numbers = numbers_of_row(x, row, p + done, part, room);
            pack_numbers(to + done / each, numbers, part, x->narrow, kind);
        }
        return;
    }
    row_piece piece;
    for (int64_t done = 0; done < count; done += piece.count) {
        piece = piece_of_row(x, row, p + done, count - done);
        if (piece.numbers)
            pack_numbers(to + done / each, piece.numbers, piece.count, x->narrow, kind);
        else
            memset(to + done / each, 0, (size_t)divide_up(piece.count, each) * sizeof *to);
    }
}

/* Words of every lane, where the lanes lie across two rows of the source, of which the second counts for pairs alone. */
static void pack_across(real *to, const void *first, const void *second, int64_t lanes, bool narrow, packing kind)
{
#if GEMM_PAIRS
    if (kind == PACK_PAIRS && narrow) {
        join_beside((uint32_t *)to, first, second, lanes);
        return;
    }
    if (kind == PACK_PAIRS) {
        pair_beside(to, first, second, lanes);
        return;
    }
#endif
    (void)second;
    pack_numbers(to, first, lanes, narrow, kind);
}

#if GEMM_PAIRS

/* The words of 32 numbers; narrow ones may lie anywhere. */
static inline vector words_of(const void *numbers, bool narrow)
{
    vector words;
    if (narrow)
        memcpy(&words, numbers, sizeof words);
    else {
#ifdef __AVX512BF16__
        const real *from = numbers;
        words = (vector)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
#else
        pair_neighbours((real *)&words, numbers, 32);
#endif
    }
    return words;
}

/* Pairs of plain rows, 16 rows and 16 words at a time, which stay in registers from the source to the panel. */
ONE_KIND void pack_plain_lines(real *panel, int64_t width, const strip *x, bool narrow)
{
    enum { AHEAD = 64 / (int)sizeof(real) * 16 }; /* numbers */
    for (int64_t p = 0; p < x->depth; p += 32, panel += 16 * width)
        for (int64_t lane = 0; lane < x->lanes; lane += 16) {
            vector row[16];
            for (int64_t i = 0; i < 16; i++) {
                const int64_t at = (x->rows.row + lane + i) * x->rows.stride + p;
                row[i] = words_of(number_at(x->rows.numbers, at, narrow), narrow);
                __builtin_prefetch(number_at(x->rows.numbers, at + AHEAD, narrow));
                if (!narrow) __builtin_prefetch(number_at(x->rows.numbers, at + AHEAD + 16, narrow));
            }
            transpose_vectors(panel + lane, width, row);
        }
}

#endif

/* Words are made of lanes as they stand, a stretch at a time, and then transposed. */
static void pack_lines(real *panel, int64_t width, const strip *x, packing kind)
{
#if GEMM_PAIRS
    if (kind == PACK_PAIRS && !x->rows.windows && x->lanes % 16 == 0 && x->depth % 32 == 0) {
        WITH_KIND(x->rows.narrow, pack_plain_lines, panel, width, x);
        return;
    }
#endif
    real words[TILE_COLUMNS * NARROW_WORDS];
    row_place row[TILE_COLUMNS];
    const int64_t each = numbers_of_word(kind);
    row[0] = find_row(&x->rows, 0);
    for (int64_t i = 1; i < x->lanes; i++) row[i] = row[i - 1], next_row(&row[i], &x->rows);
    for (int64_t p = 0; p < x->depth; p += each * NARROW_WORDS) {
        int64_t count = least(each * NARROW_WORDS, x->depth - p);
        for (int64_t i = 0; i < x->lanes; i++) pack_line(words + i * NARROW_WORDS, &x->rows, &row[i], p, count, kind);
        transpose_matrix(panel + p / each * width, width, words, NARROW_WORDS, x->lanes, divide_up(count, each));
    }
}

/* Asks for numbers of the row that comes `rows` rows later: rows far apart are not foreseen by the machine. */
static inline void prefetch_row(const row_source *x, const row_place *row, int64_t column, int64_t count, int64_t rows)
{
    const char *at = number_at(x->numbers, row->start + x->column + column + rows * x->stride, x->narrow);
    const int64_t bytes = count * (int64_t)(x->narrow ? sizeof(narrow_number) : sizeof(real));
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(at + i);
}

#if GEMM_PAIRS

/* Pairs of plain rows, 16 lanes at a time, as panels (pack_rows_across). */
ONE_KIND void pack_plain_rows_across(real *panel, int64_t width, int64_t pitch, const strip *x, bool narrow)
{
    const int64_t stride = x->rows.stride;
    for (int64_t p = 0; p < x->depth; p += 2, panel += width)
        for (int64_t lane = 0; lane < x->lanes; lane += 16) {
            const int64_t at = (x->rows.row + p) * stride + x->rows.column + lane;
            const void *first = number_at(x->rows.numbers, at, narrow);
            const void *second = number_at(x->rows.numbers, at + stride, narrow);
            __builtin_prefetch(number_at(x->rows.numbers, at + 4 * stride, narrow));
            __builtin_prefetch(number_at(x->rows.numbers, at + 5 * stride, narrow));
            pack_across(panel + lane / width * pitch + lane % width, first, second, 16, narrow, PACK_PAIRS);
        }
}

#endif

/* Words of rows [0, depth) of the source, whose lanes lie across, as panels of `width` lanes which begin `pitch` words apart. All
 * panels at once, so that rows are read from one end to the other. */
static void pack_rows_across(real *panel, int64_t width, int64_t pitch, const strip *x, packing kind)
{
#if GEMM_PAIRS
    if (kind == PACK_PAIRS && is_plain_strip(x) && width % 16 == 0 && x->lanes % 16 == 0 && x->depth % 2 == 0) {
        WITH_KIND(x->rows.narrow, pack_plain_rows_across, panel, width, pitch, x);
        return;
    }
#endif
    static const real none[TILE_COLUMNS];
    real room[2][TILE_COLUMNS];
    const int64_t each = numbers_of_word(kind);
    row_place row = find_row(&x->rows, 0);
    for (int64_t p = 0; p < x->depth; p += each, panel += width) {
        const bool pair = each == 2 && p + 1 < x->depth;
        row_place after = row;
        next_row(&after, &x->rows);
        for (int64_t j = 0; j < x->lanes; j += width) {
            const int64_t count = least(width, x->lanes - j);
            const void *first = numbers_of_row(&x->rows, &row, j, count, room[0]);
            const void *second = pair ? numbers_of_row(&x->rows, &after, j, count, room[1]) : none;
            for (int64_t i = 0; i < each && !x->rows.windows; i++) prefetch_row(&x->rows, &row, j, count, 2 * each + i);
            pack_across(panel + j / width * pitch, first, second, count, x->rows.narrow, kind);
        }
        row = after;
        if (pair) next_row(&row, &x->rows);
    }
}

/* Panels of at most `width` lanes, one behind another. What lies beside fewer is left as it was: products with it are dropped. */
static void pack_panels(real *panel, int64_t width, const strip *x, packing kind)
{
    const row_source *from = &x->rows;
    const int64_t filled = divide_up(x->depth, numbers_of_word(kind)), words = packed_words(x->depth, kind);
    const bool made = kind == PACK_PAIRS || from->narrow || from->windows;
    if (x->across) pack_rows_across(panel, width, words * width, x, kind);
    for (int64_t lane = 0; lane < x->lanes; lane += width, panel += words * width) {
        if (!x->across) {
            strip part = *x;
            part.rows.row += lane, part.lanes = least(width, x->lanes - lane);
            if (made)
                pack_lines(panel, width, &part, kind);
            else
                transpose_matrix(panel, width, number_at(from->numbers, part.rows.row * from->stride, false),
                                 from->stride, part.lanes, x->depth);
        }
        memset(panel + filled * width, 0, (size_t)((words - filled) * width) * sizeof *panel);
        if (kind == PACK_ROUNDED && !from->narrow) round_in_place(panel, x->depth * width);
    }
}

/* The lanes, which are rows of the source, as rows of `words` words. */
static void pack_rows(real *packed, int64_t words, const strip *x, packing kind)
{
    const int64_t filled = divide_up(x->depth, numbers_of_word(kind));
    row_place row = find_row(&x->rows, 0);
    for (int64_t r = 0; r < x->lanes; r++, packed += words, next_row(&row, &x->rows)) {
        pack_line(packed, &x->rows, &row, 0, x->depth, kind);
        memset(packed + filled, 0, (size_t)(words - filled) * sizeof *packed);
    }
}

#if GEMM_AMX

/* Whether the lanes already lie as pack_tiles would have them: rows of whole words, of which no tile wants more or longer ones. */
static inline bool is_tiles(const strip *x)
{
    return x->rows.narrow && !x->rows.windows && !x->across && x->rows.stride % 2 == 0 &&
           x->depth % (2 * AMX_WORDS) == 0 && x->lanes % AMX_ROWS == 0;
}

/* Lanes that lie across plain rows, 16 lanes and 16 words at a time, which stay in registers from the source to the tiles. */
ONE_KIND void pack_plain_tiles(real *packed, int64_t words, const strip *x, bool narrow)
{
    for (int64_t p = 0; p < x->depth; p += 32)
        for (int64_t lane = 0; lane < x->lanes; lane += 16) {
            vector row[16];
            for (int64_t i = 0; i < 16; i++) {
                const int64_t at = (p + 2 * i) * x->rows.stride + lane, after = at + x->rows.stride;
                pack_across((real *)&row[i], number_at(x->rows.numbers, at, narrow),
                            number_at(x->rows.numbers, after, narrow), 16, narrow, PACK_PAIRS);
                __builtin_prefetch(number_at(x->rows.numbers, at + 32 * x->rows.stride, narrow));
                __builtin_prefetch(number_at(x->rows.numbers, after + 32 * x->rows.stride, narrow));
            }
            transpose_vectors(packed + lane * words + p / 2, words, row);
        }
}

/* The lanes as rows of `words` pairs: tiles of A. */
static void pack_tiles(real *packed, int64_t words, const strip *x)
{
    if (x->across && is_plain_strip(x) && x->lanes % 16 == 0 && x->depth % 32 == 0) {
        WITH_KIND(x->rows.narrow, pack_plain_tiles, packed, words, x);
        return;
    }
    if (!x->across) {
        pack_rows(packed, words, x, PACK_PAIRS);
        return;
    }
    for (int64_t p = 0; p < x->depth; p += 2 * NARROW_WORDS) {
        real panel[NARROW_WORDS * TILE_COLUMNS];
        for (int64_t r = 0; r < x->lanes; r += TILE_COLUMNS) {
            strip part = *x;
            part.rows.row += p, part.rows.column += r;
            part.lanes = least(TILE_COLUMNS, x->lanes - r), part.depth = least(2 * NARROW_WORDS, x->depth - p);
            pack_rows_across(panel, TILE_COLUMNS, 0, &part, PACK_PAIRS);
            transpose_matrix(packed + r * words + p / 2, words, panel, TILE_COLUMNS, divide_up(part.depth, 2),
                             part.lanes);
        }
    }
    int64_t filled = divide_up(x->depth, 2);
    for (int64_t r = 0; r < x->lanes; r++)
        memset(packed + r * words + filled, 0, (size_t)(words - filled) * sizeof *packed);
}

#endif

#endif
