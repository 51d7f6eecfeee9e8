/* The tile of the bfloat16 product on machines with matrix registers (Intel AMX): 32 x 32 sums in four of the eight registers,
 * two more each for A and B. A register holds 16 rows of 64 bytes; one instruction adds the products of 16 rows of A (16
 * pairs each) with 16 words of a panel of B, which gemm_pack.h lays out as the machine wants them. Both operands are padded
 * with zeros to whole registers.
 *
 * Per element the machine sums the products of the 16 first halves and those of the 16 second halves, each product rounded into its
 * sum, and adds both sums' sum to what was there; subnormal numbers, also on the way, are 0 (Intel's instruction set reference,
 * TDPBF16PS). */
#ifndef CPU_GEMM_AMX_H
#define CPU_GEMM_AMX_H

#include "cpu/gemm_tile.h"

enum { AMX_ROWS = 16, AMX_WORDS = 16, AMX_TILE_ROWS = 2 * AMX_ROWS };

#if GEMM_AMX

#ifdef DT_EMULATE_AMX

static _Thread_local _Alignas(64) uint32_t amx_register[8][AMX_ROWS][AMX_WORDS];

static inline void amx_begin(void)
{
}

static inline void amx_end(void)
{
}

static inline void amx_zero(int t)
{
    memset(amx_register[t], 0, sizeof amx_register[t]);
}

static inline void amx_load(int t, const real *from, int64_t stride)
{
    for (int r = 0; r < AMX_ROWS; r++) memcpy(amx_register[t][r], from + r * stride, sizeof amx_register[t][r]);
}

static inline void amx_store(int t, real *to, int64_t stride)
{
    for (int r = 0; r < AMX_ROWS; r++) memcpy(to + r * stride, amx_register[t][r], sizeof amx_register[t][r]);
}

static inline void amx_multiply_add(int t, int a, int b)
{
    for (int r = 0; r < AMX_ROWS; r++) {
        vector *sum = (vector *)amx_register[t][r], first = {0}, second = {0};
        for (int p = 0; p < AMX_WORDS; p++) {
            const vector words_of_b = *(const vector *)amx_register[b][p];
            first = add_lower(first, amx_register[a][r][p], words_of_b);
            second = add_upper(second, amx_register[a][r][p], words_of_b);
        }
        *sum = each_without_subnormals(each_without_subnormals(*sum) + each_without_subnormals(first + second));
    }
}

#else

/* The registers belong to whoever configures them last and are nobody's across calls. */
static inline void amx_begin(void)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } whole = {.palette = 1,
               .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
               .rows = {AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS, AMX_ROWS}};
    _tile_loadconfig(&whole);
}

static inline void amx_end(void)
{
    _tile_release();
}

/* Registers are named by literal numbers. */
#define amx_zero(t)               _tile_zero(t)
#define amx_load(t, from, stride) _tile_loadd(t, from, (size_t)(stride) * sizeof(real))
#define amx_store(t, to, stride)  _tile_stored(t, to, (size_t)(stride) * sizeof(real))
#define amx_multiply_add(t, a, b) _tile_dpbf16ps(t, a, b)

#endif

/* A: rows of `words` pairs, `stride` apart; those beyond the edge are read and come to nothing. */
static void multiply_packed_bf16(real *c, int64_t ldc, const real *a, int64_t stride, const real *panel, int64_t words,
                                 int64_t rows, int64_t columns, update u)
{
    _Alignas(64) real sums[AMX_TILE_ROWS * TILE_COLUMNS];
    const bool tall = rows > AMX_ROWS, wide = columns > AMX_WORDS;
    const bool whole = rows == AMX_TILE_ROWS && columns == TILE_COLUMNS;
    const bool in_place = whole && !u.add_previous && !u.bias && !u.past_caches;
    const real *lower = a + AMX_ROWS * stride;
    real *to = in_place ? c : sums;
    const int64_t pitch = in_place ? ldc : TILE_COLUMNS;
    for (int64_t r = 0; r < rows && !u.past_caches; r++) __builtin_prefetch(c + r * ldc, 1);
    __asm__ volatile("" ::: "memory"); /* gcc does not know that loads of registers read memory */
    amx_zero(0);
    amx_zero(1);
    amx_zero(2);
    amx_zero(3);
    for (int64_t p = 0; p < words; p += AMX_WORDS) {
        const real *b = panel + p * TILE_COLUMNS;
        amx_load(4, a + p, stride);
        amx_load(6, b, TILE_COLUMNS);
        amx_multiply_add(0, 4, 6);
        if (wide) {
            amx_load(7, b + AMX_WORDS, TILE_COLUMNS);
            amx_multiply_add(1, 4, 7);
        }
        if (tall) {
            amx_load(5, lower + p, stride);
            amx_multiply_add(2, 5, 6);
            if (wide) amx_multiply_add(3, 5, 7);
        }
    }
    amx_store(0, to, pitch);
    amx_store(1, to + AMX_WORDS, pitch);
    amx_store(2, to + AMX_ROWS * pitch, pitch);
    amx_store(3, to + AMX_ROWS * pitch + AMX_WORDS, pitch);
    if (in_place) return;
    if (columns < TILE_COLUMNS)
        update_edge(c, ldc, sums, rows, columns, u);
    else
        for (int64_t r = 0; r < rows; r++)
            for (int v = 0; v < TILE_VECTORS; v++)
                update_vector(c + r * ldc, v, ((const vector *)(sums + r * TILE_COLUMNS))[v], u);
}

#else

static inline void amx_begin(void)
{
}

static inline void amx_end(void)
{
}

#endif

#endif
