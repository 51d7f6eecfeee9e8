/* One call of every entry of the engine table, on arrays that a seed fills: check_kernels.c compares and measures them.
 * The table of cases has the order of the engine table and as many lines: an entry without a case does not compile. */
#ifndef TESTS_KERNEL_CASES_H
#define TESTS_KERNEL_CASES_H

#include "kernel_work.h"

/* ---- one function per kernel: shapes, values, call ---- */

/* Rows of narrow arrays are multiples of 8 long where products take them. */
static int64_t product_side(const work *w, int64_t side)
{
    return w->narrow ? (side + 7) / 8 * 8 : side;
}

/* cuBLASLt rounds a product before it adds it to narrow numbers, which are the array made last. */
static void allow_two_roundings(work *w, int flags)
{
    if (w->narrow && flags & GEMM_ACCUMULATE) w->arrays[w->count - 1].tolerance *= 2;
}

/* `gap`: how much longer the rows of C are than the product's. */
static void run_gemm_case(work *w, const engine *e, int64_t m, int64_t n, int64_t k, int64_t gap, int flags)
{
    bool rounded = flags & GEMM_BF16 && !w->narrow;
    double tolerance = 1e-6 * sqrt((double)(k + 16)); /* sums of k terms of either sign, with and without fused steps */
    float *c = narrowed(w, updated(w, m * (n + gap), tolerance));
    allow_two_roundings(w, flags);
    float *a = narrowed(w, input(w, m * k)), *b = input(w, n * k), *bias = input(w, n);
    w->flops = 2.0 * (double)m * (double)n * (double)k;
    for (int64_t i = 0; rounded && i < m * k; i++) a[i] *= 1.001F;
    flags |= (w->narrow ? GEMM_BF16 : 0) | (narrow_flag(w) ? GEMM_NARROW_A | GEMM_NARROW_C : 0);
    CALL(w,
         e->gemm(c, a, b, bias, m, n, k, flags & GEMM_TRANS_A ? m : k, flags & GEMM_TRANS_B ? k : n, n + gap, flags));
}

/* Sixteen flags in turn with the sizes. */
static void run_gemm(work *w, const engine *e, dims z)
{
    const int flags = (int)(z.n * 5 + z.s + z.d * 3 + (z.extreme ? 8 : 0)) % 16;
    run_gemm_case(w, e, product_side(w, z.n * z.s), product_side(w, z.d), product_side(w, z.d + 7 * z.s),
                  product_side(w, 3), flags);
}

static void run_bias_bwd(work *w, const engine *e, dims z)
{
    float *db = updated(w, z.d, 1e-5), *dy = narrowed(w, input(w, z.n * z.s * z.d));
    CALL(w, e->bias_bwd(db, dy, z.n * z.s, z.d, narrow_flag(w)));
}

static void run_add_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = output(w, count, 1e-7), *a = activations(w, z, count), *b = input(w, count);
    CALL(w, e->add_fwd(y, a, b, count));
}

static void run_accumulate(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = updated(w, count, 1e-7), *x = activations(w, z, count);
    CALL(w, e->accumulate(y, x, count));
}

static void run_add_difference(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = updated(w, count, 1e-6), *a = activations(w, z, count), *b = input(w, count);
    CALL(w, e->add_difference(y, a, b, 0.75F, count));
}

static void run_add_row_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, z.n * z.s * z.d, 1e-7), *x = input(w, z.n * z.s * z.d), *r = input(w, z.s * z.d);
    CALL(w, e->add_row_fwd(y, x, r, z.n, z.s * z.d));
}

/* With no rows in a the length of w's alone; one row of zeros. */
static void run_row_lengths(work *w, const engine *e, dims z)
{
    const int64_t o = z.n * z.s, r = z.s % 4;
    float *minus = output(w, o, 1e-5), *inverse = output(w, o, 1e-5);
    float *m = input(w, o * z.d), *b = input(w, o * r + 1), *a = input(w, r * z.d + 1);
    for (int64_t j = 0; j < z.d; j++) m[j] = 0;
    for (int64_t k = 0; k < r; k++) b[k] = 0;
    w->flops = 2.0 * (double)o * (double)z.d * (double)(r + 1);
    CALL(w, e->row_lengths(minus, inverse, m, b, a, 0.5F, o, z.d, r));
}

static void run_silu_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = narrowed(w, output(w, count, 1e-6)), *x = activations(w, z, count);
    CALL(w, e->silu_fwd(y, x, count, narrow_flag(w)));
}

static void run_silu_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = updated(w, count, 2e-6), *dy = narrowed(w, input(w, count)), *x = activations(w, z, count);
    CALL(w, e->silu_bwd(dx, dy, x, count, z.s % 2, narrow_flag(w)));
}

static void run_gelu_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = narrowed(w, output(w, count, 1e-6)), *x = narrowed(w, activations(w, z, count));
    CALL(w, e->gelu_fwd(y, x, count, narrow_flag(w)));
}

static void run_gelu_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = narrowed(w, updated(w, count, 2e-6)), *dy = narrowed(w, input(w, count));
    float *x = narrowed(w, activations(w, z, count));
    CALL(w, e->gelu_bwd(dx, dy, x, count, z.s % 2, narrow_flag(w)));
}

static void run_quick_gelu_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = narrowed(w, output(w, count, 1e-6)), *x = narrowed(w, activations(w, z, count));
    CALL(w, e->quick_gelu_fwd(y, x, count, narrow_flag(w)));
}

static void run_quick_gelu_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = narrowed(w, updated(w, count, 2e-6)), *dy = narrowed(w, input(w, count));
    float *x = narrowed(w, activations(w, z, count));
    CALL(w, e->quick_gelu_bwd(dx, dy, x, count, z.s % 2, narrow_flag(w)));
}

static void run_geglu_fwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s;
    float *y = narrowed(w, output(w, m * z.d, 1e-6)), *x = narrowed(w, activations(w, z, 2 * m * z.d));
    CALL(w, e->geglu_fwd(y, x, m, z.d, narrow_flag(w)));
}

static void run_geglu_bwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s;
    float *dx = narrowed(w, updated(w, 2 * m * z.d, 2e-6)), *dy = narrowed(w, input(w, m * z.d));
    float *x = narrowed(w, activations(w, z, 2 * m * z.d));
    CALL(w, e->geglu_bwd(dx, dy, x, m, z.d, z.s % 2, narrow_flag(w)));
}

static void run_exact_gelu_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = narrowed(w, output(w, count, 1e-6)), *x = narrowed(w, activations(w, z, count));
    CALL(w, e->exact_gelu_fwd(y, x, count, narrow_flag(w)));
}

static void run_exact_gelu_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = narrowed(w, updated(w, count, 2e-6)), *dy = narrowed(w, input(w, count));
    float *x = narrowed(w, activations(w, z, count));
    CALL(w, e->exact_gelu_bwd(dx, dy, x, count, z.s % 2, narrow_flag(w)));
}

static void run_soft_clamp_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = output(w, count, 1e-6), *x = activations(w, z, count);
    CALL(w, e->soft_clamp_fwd(y, x, 3, count));
}

static void run_soft_clamp_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = updated(w, count, 2e-6), *dy = input(w, count), *x = activations(w, z, count);
    CALL(w, e->soft_clamp_bwd(dx, dy, x, 3, count));
}

/* Rows whose mean lies far from zero when the case is an extreme one. */
static float *norm_rows(work *w, dims z)
{
    return z.extreme ? input_between(w, z.n * z.s * z.d, 96, 104) : input(w, z.n * z.s * z.d);
}

static void run_layer_norm_fwd(work *w, const engine *e, dims z)
{
    const int64_t m = z.n * z.s;
    double tolerance = z.d < 4 ? 1e-3 : 1e-4; /* as for norm_modulate */
    float *y = narrowed(w, output(w, m * z.d, tolerance)), *mean = output(w, m, 1e-5), *rstd = output(w, m, tolerance);
    float *x = norm_rows(w, z), *weight = input(w, z.d), *bias = input(w, z.d);
    CALL(w, e->layer_norm_fwd(y, mean, rstd, x, weight, bias, m, z.d, 1e-5F, narrow_flag(w)));
}

static void run_layer_norm_bwd(work *w, const engine *e, dims z)
{
    const int64_t m = z.n * z.s;
    float *dx = updated(w, m * z.d, 1e-4), *dweight = updated(w, z.d, 1e-4), *dbias = updated(w, z.d, 1e-4);
    float *dy = narrowed(w, input(w, m * z.d)), *x = input(w, m * z.d);
    float *mean = input_between(w, m, -0.1F, 0.1F), *rstd = input_between(w, m, 0.5F, 2), *weight = input(w, z.d);
    const bool no_dx = z.extreme && z.s % 2, no_weights = z.extreme && z.s % 2 == 0;
    CALL(w, e->layer_norm_bwd(no_dx ? NULL : dx, no_weights ? NULL : dweight, z.extreme ? NULL : dbias, dy, x, mean,
                              rstd, weight, m, z.d, narrow_flag(w)));
}

static group_sizes groups_of(dims z)
{
    return (group_sizes){z.n, z.s, z.d, z.d % 4 ? 1 : 4};
}

static void run_group_norm_fwd(work *w, const engine *e, dims z)
{
    group_sizes s = groups_of(z);
    int64_t count = s.n * s.s * s.c;
    float *y = output(w, count, 1e-5), *mean = output(w, s.n * s.c, 1e-6), *rstd = output(w, s.n * s.c, 1e-5);
    float *factor = output(w, s.n * s.c, 1e-5);
    float *x = input_between(w, count, z.extreme ? 90 : -2, z.extreme ? 110 : 2);
    float *weight = input(w, s.c), *bias = input(w, s.c);
    CALL(w, e->group_norm_fwd(y, mean, rstd, factor, x, weight, bias, s, 1e-6F));
}

/* What is left in the room says nothing. */
static void run_group_norm_bwd(work *w, const engine *e, dims z)
{
    group_sizes s = groups_of(z);
    int64_t count = s.n * s.s * s.c;
    float *dx = updated(w, count, 1e-5), *dweight = updated(w, s.c, 1e-5), *dbias = updated(w, s.c, 1e-5);
    float *room = output(w, 2 * s.n * s.c, INFINITY), *dy = input(w, count), *x = input(w, count);
    float *mean = input_between(w, s.n * s.c, -0.1F, 0.1F), *rstd = input_between(w, s.n * s.c, 0.5F, 2);
    float *weight = input(w, s.c);
    const bool no_dx = z.extreme && z.s % 2, no_weights = z.extreme && z.s % 2 == 0;
    CALL(w, e->group_norm_bwd(no_dx ? NULL : dx, no_weights ? NULL : dweight, z.extreme ? NULL : dbias, room, dy, x,
                              mean, rstd, weight, s));
}

static void run_norm_modulate_fwd(work *w, const engine *e, dims z)
{
    modulation_sizes sizes = {z.n, z.s, z.d, 6 * z.d};
    double tolerance = z.d < 4 ? 1e-3 : 1e-4; /* the variance of two or three numbers may nearly vanish */
    float *y = narrowed(w, output(w, z.n * z.s * z.d, tolerance)), *mean = output(w, z.n * z.s, 1e-5);
    float *rstd = output(w, z.n * z.s, tolerance), *x = norm_rows(w, z), *m = input(w, z.n * sizes.stride);
    CALL(w, e->norm_modulate_fwd(y, mean, rstd, x, m, sizes, 1, 4, 1e-6F, narrow_flag(w)));
}

static void run_norm_modulate_bwd(work *w, const engine *e, dims z)
{
    modulation_sizes sizes = {z.n, z.s, z.d, 6 * z.d};
    float *dx = updated(w, z.n * z.s * z.d, 1e-4), *dm = updated(w, z.n * sizes.stride, 1e-4);
    float *dy = narrowed(w, input(w, z.n * z.s * z.d)), *x = input(w, z.n * z.s * z.d);
    float *mean = input_between(w, z.n * z.s, -0.1F, 0.1F), *rstd = input_between(w, z.n * z.s, 0.5F, 2);
    float *m = input(w, z.n * sizes.stride);
    CALL(w, e->norm_modulate_bwd(z.extreme ? NULL : dx, dm, dy, x, mean, rstd, m, sizes, 0, 5, narrow_flag(w)));
}

static void run_gated_add_fwd(work *w, const engine *e, dims z)
{
    modulation_sizes sizes = {z.n, z.s, z.d, 6 * z.d};
    float *y = output(w, z.n * z.s * z.d, 1e-6), *x = input(w, z.n * z.s * z.d);
    float *h = narrowed(w, input(w, z.n * z.s * z.d)), *m = input(w, z.n * sizes.stride);
    CALL(w, e->gated_add_fwd(y, x, h, m, sizes, 2, narrow_flag(w)));
}

static void run_gated_add_bwd(work *w, const engine *e, dims z)
{
    modulation_sizes sizes = {z.n, z.s, z.d, 6 * z.d};
    float *dh = narrowed(w, updated(w, z.n * z.s * z.d, 1e-6)), *dm = updated(w, z.n * sizes.stride, 1e-5);
    float *dy = input(w, z.n * z.s * z.d), *h = narrowed(w, input(w, z.n * z.s * z.d));
    float *m = input(w, z.n * sizes.stride);
    CALL(w, e->gated_add_bwd(dh, z.extreme ? NULL : dm, dy, h, m, sizes, 5, z.s % 2, narrow_flag(w)));
}

/* Queries, keys and values, or their gradients. */
typedef struct operands {
    float *q, *k, *v;
} operands;

static bool is_packed(attention_sizes z)
{
    return z.kv_stride == 3 * z.k * z.e;
}

/* Number `at` of a narrow array or another. */
static float *number_behind(const work *w, float *x, int64_t at)
{
    return narrow_flag(w) ? (float *)((uint16_t *)x + at) : x + at;
}

static operands parts_of(const work *w, attention_sizes z, float *qkv)
{
    return (operands){qkv, number_behind(w, qkv, z.k * z.e), number_behind(w, qkv, 2 * z.k * z.e)};
}

/* One of q, k and v, which is no value in an extreme case: then products of q and k are whole numbers down to below -1e5 and
 * so the same in any arithmetic, and what differs is the treatment of large scores alone. */
static float *attention_input(work *w, int64_t count, int64_t width, bool packed, bool whole)
{
    float *x = input(w, count);
    for (int64_t i = 0; whole && i < count; i++)
        if (!packed || i / width % 3 != 2) x[i] = rintf(x[i] * 100);
    return narrowed(w, x);
}

static operands attention_inputs(work *w, attention_sizes z, bool extreme)
{
    const int64_t width = z.k * z.e, count = z.n * z.keys * width;
    if (is_packed(z)) return parts_of(w, z, attention_input(w, 3 * count, width, true, extreme));
    operands x = {.q = attention_input(w, z.n * z.s * width, width, false, extreme)};
    x.k = attention_input(w, count, width, false, extreme);
    x.v = attention_input(w, count, width, false, false);
    return x;
}

/* Narrow ones differ by what probabilities are rounded to, which are taken relative to another greatest score. */
static float *attention_output(work *w, float *x, double tolerance)
{
    narrowed(w, x);
    if (w->narrow) w->arrays[w->count - 1].tolerance = tolerance;
    return x;
}

static operands attention_gradients(work *w, attention_sizes z, double tolerance)
{
    const int64_t width = z.k * z.e, count = z.n * z.keys * width;
    if (is_packed(z)) return parts_of(w, z, attention_output(w, updated(w, 3 * count, tolerance), 0x1p-4));
    operands d = {.q = attention_output(w, updated(w, z.n * z.s * width, tolerance), 0x1p-4)};
    d.k = attention_output(w, updated(w, count, tolerance), 0x1p-4);
    d.v = attention_output(w, updated(w, count, tolerance), 0x1p-4);
    return d;
}

static double attention_flops(attention_sizes z, int products)
{
    return 2.0 * products * (double)(z.n * z.k * z.s * z.keys * z.e);
}

static void run_attention_fwd_case(work *w, const engine *e, attention_sizes z, bool extreme, int flags)
{
    operands x = attention_inputs(w, z, extreme);
    float *y = attention_output(w, output(w, z.n * z.s * z.k * z.e, 2e-6), 0x1p-6);
    float *lse = output(w, z.n * z.k * z.s, w->narrow ? 1e-5 : 2e-6);
    w->flops = attention_flops(z, 2);
    CALL(w, e->attention_fwd(y, lse, x.q, x.k, x.v, z, flags));
}

/* Some gradients are not wanted in an extreme case of arrays apart. */
static void run_attention_bwd_case(work *w, const engine *e, attention_sizes z, bool extreme, int flags)
{
    operands x = attention_inputs(w, z, extreme);
    const int64_t count = z.n * z.s * z.k * z.e;
    float *y = attention_output(w, output(w, count, 2e-6), 0x1p-6);
    float *lse = output(w, z.n * z.k * z.s, w->narrow ? 1e-5 : 2e-6), *dy = narrowed(w, input(w, count));
    operands d = attention_gradients(w, z, extreme ? 2e-3 : 2e-5); /* grows with q and k */
    if (extreme && !is_packed(z)) *(z.causal ? &d.q : &d.k) = NULL;
    w->flops = attention_flops(z, 5);
    e->attention_fwd(y, lse, x.q, x.k, x.v, z, flags & ~GEMM_ACCUMULATE);
    for (int64_t i = 0; w->narrow && !narrow_flag(w) && i < count; i++)
        y[i] = half_f32_from_bf16(half_bf16_from_f32(y[i]));
    CALL(w, e->attention_bwd(d.q, d.k, d.v, dy, y, lse, x.q, x.k, x.v, z, flags));
}

/* Heads of 64 where the width allows it, else two. In turn with the number of tokens q, k and v are packed in one array, own
 * arrays of other lengths, and own arrays under a causal mask. */
static attention_sizes attention_of(dims z)
{
    attention_sizes a = {z.n, z.s, z.s, z.d % 64 ? 2 : z.d / 64, z.d % 64 ? z.d : 64, .causal = z.s % 3 == 0};
    if (z.extreme) a.e = 16;
    if (z.s % 3 == 2) a.keys = 77;
    a.q_stride = a.kv_stride = (z.s % 3 == 1 ? 3 : 1) * a.k * a.e;
    return a;
}

static void run_attention_fwd(work *w, const engine *e, dims z)
{
    run_attention_fwd_case(w, e, attention_of(z), z.extreme, narrow_flag(w) | (w->narrow ? GEMM_BF16 : 0));
}

/* Narrow arrays hold too little of y for the steep scores of an extreme case. */
static void run_attention_bwd(work *w, const engine *e, dims z)
{
    int flags = narrow_flag(w) | (w->narrow ? GEMM_BF16 : 0) | (z.s % 2 ? GEMM_ACCUMULATE : 0);
    run_attention_bwd_case(w, e, attention_of(z), z.extreme && !w->narrow, flags);
}

static int32_t *row_numbers(const work *w, int64_t n, int64_t rows)
{
    int32_t *index = new_memory(w, (size_t)n * sizeof *index);
    for (int64_t i = 0; i < n; i++) index[i] = (int32_t)(i * i % rows);
    return index;
}

static void run_embedding_fwd(work *w, const engine *e, dims z)
{
    int32_t *index = row_numbers(w, z.n * z.s, z.n + 2);
    float *y = output(w, z.n * z.s * z.d, 1e-9), *table = input(w, (z.n + 2) * z.d);
    CALL(w, e->embedding_fwd(y, table, index, z.n * z.s, z.d));
    free_memory(w, index);
}

static void run_embedding_bwd(work *w, const engine *e, dims z)
{
    int32_t *index = row_numbers(w, z.n * z.s, z.n + 2);
    float *dtable = updated(w, (z.n + 2) * z.d, 1e-6), *dy = input(w, z.n * z.s * z.d);
    CALL(w, e->embedding_bwd(dtable, dy, index, z.n * z.s, z.d));
    free_memory(w, index);
}

static void run_mean_tokens_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, z.n * z.d, 1e-6), *x = input(w, z.n * z.s * z.d);
    CALL(w, e->mean_tokens_fwd(y, x, z.n, z.s, z.d));
}

static void run_mean_tokens_bwd(work *w, const engine *e, dims z)
{
    float *dx = updated(w, z.n * z.s * z.d, 1e-6), *dy = input(w, z.n * z.d);
    CALL(w, e->mean_tokens_bwd(dx, dy, z.n, z.s, z.d));
}

/* Images whose sides are s and 3 patches long. */
enum { PATCH = 2, PATCH_COLUMNS = 3 };

static void run_patches(work *w, dims z, float *to, const float *from,
                        void (*kernel)(real *to, const real *from, int64_t n, int64_t c, int64_t h, int64_t width,
                                       int64_t p))
{
    CALL(w, kernel(to, from, z.n, z.d, PATCH * z.s, PATCH * PATCH_COLUMNS, PATCH));
}

static int64_t image_count(dims z)
{
    return z.n * z.d * z.s * PATCH * PATCH * PATCH_COLUMNS;
}

static void run_patchify_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, image_count(z), 1e-9);
    run_patches(w, z, y, input(w, image_count(z)), e->patchify_fwd);
}

static void run_patchify_bwd(work *w, const engine *e, dims z)
{
    float *dx = updated(w, image_count(z), 1e-7);
    run_patches(w, z, dx, input(w, image_count(z)), e->patchify_bwd);
}

static void run_unpatchify_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, image_count(z), 1e-9);
    run_patches(w, z, y, input(w, image_count(z)), e->unpatchify_fwd);
}

static void run_unpatchify_bwd(work *w, const engine *e, dims z)
{
    float *dx = updated(w, image_count(z), 1e-7);
    run_patches(w, z, dx, input(w, image_count(z)), e->unpatchify_bwd);
}

/* The inputs of the loss, n samples of d channels of s pixels; some samples are at t = 0. Variances are wide enough for
 * a bin of the discretised likelihood to hold a probability that float can tell from its neighbours. */
typedef struct loss_inputs {
    float *out, *noise, *x0, *xt;
    loss_coefficients *k;
    bool learned_variance;
} loss_inputs;

static loss_inputs new_loss_inputs(work *w, dims z)
{
    int64_t count = z.n * z.d * z.s;
    loss_inputs l = {.learned_variance = (z.s + z.d) % 3 != 0};
    l.out = input_between(w, l.learned_variance ? 2 * count : count, -1, 1);
    l.noise = input_between(w, count, -1, 1);
    l.x0 = input_between(w, count, -1.1F, 1.1F);
    l.xt = input_between(w, count, -1, 1);
    l.k = new_memory(w, (size_t)z.n * sizeof *l.k);
    for (int64_t i = 0; i < count; i++) l.x0[i] = fmaxf(-1, fminf(1, l.x0[i])); /* some exactly at the open ends */
    for (int64_t i = 0; i < z.n; i++)
        l.k[i] = (loss_coefficients){1.1F, 0.4F, 0.3F, 0.7F, z.extreme ? -4 : -2, -1, i % 2 == 0};
    return l;
}

static void run_diffusion_loss_fwd(work *w, const engine *e, dims z)
{
    loss_inputs l = new_loss_inputs(w, z);
    float *mse = output(w, z.n, 1e-6), *vb = output(w, z.n, 1e-4);
    CALL(w, e->diffusion_loss_fwd(mse, vb, l.out, l.noise, l.x0, l.xt, l.k, z.n, z.d, z.s, l.learned_variance));
    free_memory(w, l.k);
}

static void run_diffusion_loss_bwd(work *w, const engine *e, dims z)
{
    loss_inputs l = new_loss_inputs(w, z);
    float *dout = updated(w, z.n * z.d * z.s * (l.learned_variance ? 2 : 1), 3e-4), *dloss = input(w, 1),
          *weight = input(w, z.n);
    CALL(w, e->diffusion_loss_bwd(dout, dloss, weight, l.out, l.noise, l.x0, l.xt, l.k, z.n, z.d, z.s,
                                  l.learned_variance));
    free_memory(w, l.k);
}

/* Of row r without its first `by` values. */
static adamw_row later_part(adamw_row r, int64_t by, bool narrow)
{
    const int64_t bytes = by * (int64_t)(narrow ? sizeof(uint16_t) : sizeof(float));
    r.w += by, r.g += by, r.m = (char *)r.m + bytes, r.v = (char *)r.v + bytes, r.ema += by;
    r.count -= by, r.first += by;
    return r;
}

/* Small parts of none to seven numbers, which begin anywhere, and one with the others. The second moment starts between 0 and 1e-3, the
 * smallest nowhere near epsilon squared. */
static void run_adamw(work *w, const engine *e, dims z)
{
    enum { SMALL = 64 };
    const int64_t count = z.n * z.s * z.d;
    const adamw_coefficients k = {1e-3F, 0.9F, 0.999F, 1e-8F, 0.01F, 0.1F, 0.001F, 0.99F, z.extreme ? 1e-3F : 1};
    float *p = updated(w, count, 1e-6), *m = narrowed(w, updated(w, count, 1e-6)), *g = input(w, count);
    float *ema = updated(w, count, 1e-6), *v = narrowed(w, new_array(w, count, 1e-6, 0, 1e-3F));
    adamw_row part[SMALL + 1], rest = {p, g, m, v, ema, NULL, count, 40, 7};
    for (int i = 0; i < SMALL; i++) {
        part[i] = rest;
        part[i].count = i % 8 < rest.count ? i % 8 : rest.count;
        part[i].noise = (uint32_t)i;
        if (i % 3 == 0) part[i].ema = NULL;
        rest = later_part(rest, part[i].count, narrow_flag(w));
    }
    if (z.extreme) rest.ema = NULL;
    part[SMALL] = rest;
    w->bytes += 2 * sizeof(float) * (double)count;
    CALL(w, e->adamw(part, SMALL + 1, k, narrow_flag(w)));
}

/* Two bfloat16 numbers beside each other are a float that can be compared. */
static void run_round(work *w, const engine *e, dims z)
{
    const int64_t count = z.n * z.s * z.d;
    float *there = output(w, count, 0), *x = input(w, count);
    CALL(w, e->round(there, x, count));
}

static void run_widen(work *w, const engine *e, dims z)
{
    const int64_t count = z.n * z.s * z.d;
    float *x = output(w, count, 0), *narrow = input(w, count);
    CALL(w, e->widen(x, narrow, count));
}

/* Shares on both sides of one half. */
static void run_average(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = updated(w, count, 1e-6), *x = input(w, count);
    CALL(w, e->average(y, x, count, z.extreme ? 0.875F : 1e-3F));
}

static void run_sum_squares(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d * 8;
    float *sum = output(w, 1, 1e-7), *x = input(w, count);
    CALL(w, *sum = (float)e->sum_squares((const float *[]){x, x + count / 3}, (int64_t[]){count / 3, count - count / 3},
                                         2));
}

/* Images of s rows, 7 columns and d channels under a window of 3 rows and `side_w` columns, moved by 2 in an extreme
 * case. */
static window_sizes windows_of(dims z, int64_t side_w, int64_t pad_h, int64_t pad_w)
{
    int64_t stride = z.extreme ? 2 : 1, h = z.s + 2;
    window_sizes s = {z.n, h, 7, z.d, .side_h = 3, .side_w = side_w, .stride = stride, .pad_h = pad_h, .pad_w = pad_w};
    s.out_h = (h + 2 * pad_h - 3) / stride + 1;
    s.out_w = (7 + 2 * pad_w - side_w) / stride + 1;
    return s;
}

/* One convolution, or one of its gradients: one array of three is an output, whose sums have `terms` terms. */
typedef struct conv_case {
    window_sizes z;
    int64_t o;
    int flags;
    float *x, *w, *y;
} conv_case;

typedef enum conv_output { CONV_X, CONV_W, CONV_Y } conv_output;

static float *conv_array(work *w, int64_t count, bool is_output, bool add, int64_t terms)
{
    const double tolerance = 1e-6 * sqrt((double)(terms + 16));
    return !is_output ? input(w, count) : add ? updated(w, count, tolerance) : output(w, count, tolerance);
}

static conv_case new_conv_case(work *w, window_sizes z, int64_t o, int flags, conv_output made)
{
    const bool add = flags & GEMM_ACCUMULATE;
    const int64_t pixels = z.n * z.h * z.w, windows = z.n * z.out_h * z.out_w, k = z.side_h * z.side_w * z.c;
    conv_case t = {.z = z, .o = o, .flags = flags | (w->narrow ? GEMM_BF16 : 0)};
    t.x = narrowed(w, conv_array(w, pixels * z.c, made == CONV_X, add, o * z.side_h * z.side_w));
    allow_two_roundings(w, made == CONV_X ? flags : 0);
    t.w = conv_array(w, o * k, made == CONV_W, add, windows);
    t.y = narrowed(w, conv_array(w, windows * o, made == CONV_Y, add, k));
    w->flops = 2.0 * (double)windows * (double)o * (double)k;
    return t;
}

/* Output channels, and windows of which some reach over an edge, or are pixels, or leave some out. */
static conv_case conv_case_of(work *w, dims z, conv_output made)
{
    static const int64_t sides[][4] = {{3, 3, 1, 1}, {1, 1, 0, 0}, {2, 5, 0, 2}, {3, 1, 2, 0}}; /* and pads */
    const int64_t *side = sides[(z.n + z.s + z.d) % 4];
    window_sizes s = {.n = z.n, .h = (z.s < 30 ? z.s : 30) + 2, .w = 7, .c = product_side(w, z.d)};
    s.side_h = side[0], s.side_w = side[1], s.pad_h = side[2], s.pad_w = side[3];
    s.stride = 1 + (z.extreme ? 1 + z.d % 2 : 0);
    s.out_h = (s.h + 2 * s.pad_h - s.side_h) / s.stride + 1;
    s.out_w = (s.w + 2 * s.pad_w - s.side_w) / s.stride + 1;
    const int flags = (z.s % 3 == 0 ? GEMM_BF16 : 0) | (made != CONV_Y && z.d % 3 ? GEMM_ACCUMULATE : 0);
    return new_conv_case(w, s, product_side(w, (z.s < 40 ? z.s : 40) + 3), flags, made);
}

static int narrow_conv_flags(const work *w, int narrow)
{
    return narrow_flag(w) ? narrow : 0;
}

static void run_conv_fwd_case(work *w, const engine *e, conv_case t)
{
    float *bias = input(w, t.o);
    t.flags |= narrow_conv_flags(w, GEMM_NARROW_A | GEMM_NARROW_C);
    CALL(w, e->conv_fwd(t.y, t.x, t.w, bias, t.z, t.o, t.flags));
}

static void run_conv_bwd_x_case(work *w, const engine *e, conv_case t)
{
    t.flags |= narrow_conv_flags(w, GEMM_NARROW_A | GEMM_NARROW_C);
    CALL(w, e->conv_bwd_x(t.x, t.y, t.w, t.z, t.o, t.flags));
}

static void run_conv_bwd_w_case(work *w, const engine *e, conv_case t)
{
    t.flags |= narrow_conv_flags(w, GEMM_NARROW_A | GEMM_NARROW_B);
    CALL(w, e->conv_bwd_w(t.w, t.y, t.x, t.z, t.o, t.flags));
}

static void run_conv_fwd(work *w, const engine *e, dims z)
{
    run_conv_fwd_case(w, e, conv_case_of(w, z, CONV_Y));
}

static void run_conv_bwd_x(work *w, const engine *e, dims z)
{
    run_conv_bwd_x_case(w, e, conv_case_of(w, z, CONV_X));
}

static void run_conv_bwd_w(work *w, const engine *e, dims z)
{
    run_conv_bwd_w_case(w, e, conv_case_of(w, z, CONV_W));
}

static void run_max_pool_fwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 3, 1, 1);
    float *y = output(w, s.n * s.out_h * s.out_w * s.c, 1e-9), *x = input(w, s.n * s.h * s.w * s.c);
    CALL(w, e->max_pool_fwd(y, x, s));
}

/* Whole numbers, so that a window has several greatest pixels. */
static void run_max_pool_bwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 3, 1, 1);
    float *dx = updated(w, s.n * s.h * s.w * s.c, 1e-6), *dy = input(w, s.n * s.out_h * s.out_w * s.c);
    float *x = input(w, s.n * s.h * s.w * s.c);
    for (int64_t i = 0; i < s.n * s.h * s.w * s.c; i++) x[i] = rintf(x[i]);
    CALL(w, e->max_pool_bwd(dx, dy, x, s));
}

static void run_relu_fwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *y = output(w, count, 1e-9), *x = activations(w, z, count);
    x[count / 2] = NAN;
    CALL(w, e->relu_fwd(y, x, count));
}

static void run_relu_bwd(work *w, const engine *e, dims z)
{
    int64_t count = z.n * z.s * z.d;
    float *dx = updated(w, count, 1e-7), *dy = input(w, count), *x = activations(w, z, count);
    CALL(w, e->relu_bwd(dx, dy, x, count));
}

static void run_average_pool_fwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 3, 1, 1);
    float *y = output(w, s.n * s.out_h * s.out_w * s.c, 1e-6), *x = input(w, s.n * s.h * s.w * s.c);
    CALL(w, e->average_pool_fwd(y, x, s));
}

static void run_average_pool_bwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 3, 1, 1);
    float *dx = updated(w, s.n * s.h * s.w * s.c, 1e-6), *dy = input(w, s.n * s.out_h * s.out_w * s.c);
    CALL(w, e->average_pool_bwd(dx, dy, s));
}

static void run_depthwise_fwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 3, 1, 1);
    float *y = output(w, s.n * s.out_h * s.out_w * s.c, 1e-5), *x = input(w, s.n * s.h * s.w * s.c);
    float *weight = input(w, 9 * s.c), *bias = z.extreme ? NULL : input(w, s.c);
    CALL(w, e->depthwise_fwd(y, x, weight, bias, s));
}

static void run_depthwise_bwd(work *w, const engine *e, dims z)
{
    window_sizes s = windows_of(z, 5, 1, 2);
    float *dx = updated(w, s.n * s.h * s.w * s.c, 2e-6), *dw = updated(w, 15 * s.c, 4e-5);
    float *dy = input(w, s.n * s.out_h * s.out_w * s.c), *x = input(w, s.n * s.h * s.w * s.c);
    float *factor = input(w, 15 * s.c);
    CALL(w, e->depthwise_bwd(z.extreme ? NULL : dx, dw, dy, x, factor, s));
}

static void run_upsample_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, 4 * z.n * z.s * 3 * z.d, 1e-9), *x = input(w, z.n * z.s * 3 * z.d);
    CALL(w, e->upsample_fwd(y, x, z.n, z.s, 3, z.d));
}

static void run_upsample_bwd(work *w, const engine *e, dims z)
{
    float *dx = updated(w, z.n * z.s * 3 * z.d, 1e-6), *dy = input(w, 4 * z.n * z.s * 3 * z.d);
    CALL(w, e->upsample_bwd(dx, dy, z.n, z.s, 3, z.d));
}

static void run_pad_end_fwd(work *w, const engine *e, dims z)
{
    float *y = output(w, z.n * (z.s + 1) * 4 * z.d, 1e-9), *x = input(w, z.n * z.s * 3 * z.d);
    CALL(w, e->pad_end_fwd(y, x, z.n, z.s, 3, z.d));
}

static void run_pad_end_bwd(work *w, const engine *e, dims z)
{
    float *dx = updated(w, z.n * z.s * 3 * z.d, 1e-7), *dy = input(w, z.n * (z.s + 1) * 4 * z.d);
    CALL(w, e->pad_end_bwd(dx, dy, z.n, z.s, 3, z.d));
}

static void run_concat_fwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s, other = z.d / 2 + 1;
    float *y = output(w, m * (z.d + other), 1e-9), *a = input(w, m * z.d), *b = input(w, m * other);
    CALL(w, e->concat_fwd(y, a, b, m, z.d, other));
}

static void run_concat_bwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s, other = z.d / 2 + 1;
    float *da = updated(w, m * z.d, 1e-7), *db = updated(w, m * other, 1e-7), *dy = input(w, m * (z.d + other));
    CALL(w, e->concat_bwd(z.extreme ? NULL : da, db, dy, m, z.d, other));
}

static void run_slice_fwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s, first = z.d / 3, all = z.d + first + (z.extreme ? 0 : 2);
    float *y = output(w, m * z.d, 1e-9), *x = input(w, m * all);
    CALL(w, e->slice_fwd(y, x, m, all, first, z.d));
}

static void run_slice_bwd(work *w, const engine *e, dims z)
{
    int64_t m = z.n * z.s, first = z.d / 3, all = z.d + first + (z.extreme ? 0 : 2);
    float *dx = updated(w, m * all, 1e-7), *dy = input(w, m * z.d);
    CALL(w, e->slice_bwd(dx, dy, m, all, first, z.d));
}

/* ---- the table ---- */

#define ENTRY_OF(name, narrow)                                                                                         \
    {                                                                                                                  \
#name, offsetof(engine, name), narrow, run_##name                                                              \
    }
#define ENTRY(name)        ENTRY_OF(name, false)
#define NARROW_ENTRY(name) ENTRY_OF(name, true)

static const check checks[] = {
    ENTRY(round),
    ENTRY(widen),
    NARROW_ENTRY(gemm),
    NARROW_ENTRY(bias_bwd),
    ENTRY(add_fwd),
    ENTRY(accumulate),
    ENTRY(add_difference),
    ENTRY(add_row_fwd),
    ENTRY(row_lengths),
    NARROW_ENTRY(silu_fwd),
    NARROW_ENTRY(silu_bwd),
    NARROW_ENTRY(gelu_fwd),
    NARROW_ENTRY(gelu_bwd),
    NARROW_ENTRY(quick_gelu_fwd),
    NARROW_ENTRY(quick_gelu_bwd),
    NARROW_ENTRY(geglu_fwd),
    NARROW_ENTRY(geglu_bwd),
    NARROW_ENTRY(exact_gelu_fwd),
    NARROW_ENTRY(exact_gelu_bwd),
    ENTRY(soft_clamp_fwd),
    ENTRY(soft_clamp_bwd),
    NARROW_ENTRY(layer_norm_fwd),
    NARROW_ENTRY(layer_norm_bwd),
    ENTRY(group_norm_fwd),
    ENTRY(group_norm_bwd),
    NARROW_ENTRY(norm_modulate_fwd),
    NARROW_ENTRY(norm_modulate_bwd),
    NARROW_ENTRY(gated_add_fwd),
    NARROW_ENTRY(gated_add_bwd),
    NARROW_ENTRY(attention_fwd),
    NARROW_ENTRY(attention_bwd),
    ENTRY(embedding_fwd),
    ENTRY(embedding_bwd),
    ENTRY(mean_tokens_fwd),
    ENTRY(mean_tokens_bwd),
    ENTRY(patchify_fwd),
    ENTRY(patchify_bwd),
    ENTRY(unpatchify_fwd),
    ENTRY(unpatchify_bwd),
    ENTRY(diffusion_loss_fwd),
    ENTRY(diffusion_loss_bwd),
    NARROW_ENTRY(adamw),
    ENTRY(average),
    ENTRY(sum_squares),
    NARROW_ENTRY(conv_fwd),
    NARROW_ENTRY(conv_bwd_x),
    NARROW_ENTRY(conv_bwd_w),
    ENTRY(max_pool_fwd),
    ENTRY(max_pool_bwd),
    ENTRY(relu_fwd),
    ENTRY(relu_bwd),
    ENTRY(average_pool_fwd),
    ENTRY(average_pool_bwd),
    ENTRY(depthwise_fwd),
    ENTRY(depthwise_bwd),
    ENTRY(upsample_fwd),
    ENTRY(upsample_bwd),
    ENTRY(pad_end_fwd),
    ENTRY(pad_end_bwd),
    ENTRY(concat_fwd),
    ENTRY(concat_bwd),
    ENTRY(slice_fwd),
    ENTRY(slice_bwd),
};

enum { CHECKS = sizeof checks / sizeof *checks };
_Static_assert(CHECKS == (sizeof(engine) - offsetof(engine, round)) / sizeof(void (*)(void)),
               "every entry of the engine table needs a check");

#endif
