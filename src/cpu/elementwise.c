/* Kernels that treat every element alike. */
#include "cpu/gelu.h"
#include "cpu/kernel.h"
#include "cpu/narrow.h"

/* Numbers that are handed to a thread at a time, where there is a choice of loops: for gcc a choice is constant in a function that a
 * parallel loop calls, and a variable in the loop itself, which it then does not vectorise. */
enum { BLOCK = 4096 };

static void add_fwd(real *y, const real *a, const real *b, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

static void accumulate(real *dst, const real *src, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] += src[i];
}

static void add_difference(real *dst, const real *a, const real *b, real factor, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) dst[i] += factor * (a[i] - b[i]);
}

/* Columns [first, last) of all rows in order. */
ONE_KIND void add_columns(real *db, const void *dy, int64_t m, int64_t n, int64_t first, int64_t last, bool narrow)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = first; j < last; j++) db[j] += read_number(dy, i * n + j, narrow);
}

static void bias_bwd(real *db, const real *dy, int64_t m, int64_t n, int flags)
{
    enum { COLUMNS = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += COLUMNS)
        WITH_KIND(flags & NARROW, add_columns, db, dy, m, n, first, least(first + COLUMNS, n));
}

static inline real silu(real x)
{
    return x * vector_sigmoid(x);
}

static inline real silu_slope(real x)
{
    real s = vector_sigmoid(x);
    return s * (1 + x * (1 - s));
}

ONE_KIND void silu_numbers(void *y, const real *x, int64_t first, int64_t end, bool narrow)
{
#pragma omp simd
    for (int64_t i = first; i < end; i++) write_number(y, i, silu(x[i]), narrow);
}

static void silu_fwd(real *y, const real *x, int64_t count, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, silu_numbers, y, x, first, least(first + BLOCK, count));
}

/* The choice to add is made outside the loops: inside, it keeps gcc from vectorising them. */
ONE_KIND void silu_slopes(real *dx, const void *dy, const real *x, int64_t first, int64_t end, bool add, bool narrow)
{
    if (add) {
#pragma omp simd
        for (int64_t i = first; i < end; i++) dx[i] += read_number(dy, i, narrow) * silu_slope(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = first; i < end; i++) dx[i] = read_number(dy, i, narrow) * silu_slope(x[i]);
    }
}

static void silu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, silu_slopes, dx, dy, x, first, least(first + BLOCK, count), add);
}

/* The forms of GELU: numbers [first, end). */
typedef real activation(real x);

ONE_KIND void apply_numbers(void *y, const void *x, int64_t first, int64_t end, activation *f, bool narrow)
{
#pragma omp simd
    for (int64_t i = first; i < end; i++) write_number(y, i, f(read_number(x, i, narrow)), narrow);
}

ONE_KIND void apply_slopes(void *dx, const void *dy, const void *x, int64_t first, int64_t end, activation *slope_of,
                           bool add, bool narrow)
{
    if (add) {
#pragma omp simd
        for (int64_t i = first; i < end; i++) {
            real slope = read_number(dy, i, narrow) * slope_of(read_number(x, i, narrow));
            write_number(dx, i, read_number(dx, i, narrow) + slope, narrow);
        }
    } else {
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            write_number(dx, i, read_number(dy, i, narrow) * slope_of(read_number(x, i, narrow)), narrow);
    }
}

static void gelu_fwd(real *y, const real *x, int64_t count, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_numbers, y, x, first, least(first + BLOCK, count), gelu);
}

static void gelu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_slopes, dx, dy, x, first, least(first + BLOCK, count), gelu_slope, add);
}

static void quick_gelu_fwd(real *y, const real *x, int64_t count, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_numbers, y, x, first, least(first + BLOCK, count), quick_gelu);
}

static void quick_gelu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_slopes, dx, dy, x, first, least(first + BLOCK, count), quick_gelu_slope, add);
}

static void exact_gelu_fwd(real *y, const real *x, int64_t count, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_numbers, y, x, first, least(first + BLOCK, count), exact_gelu);
}

static void exact_gelu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < count; first += BLOCK)
        WITH_KIND(flags & NARROW, apply_slopes, dx, dy, x, first, least(first + BLOCK, count), exact_gelu_slope, add);
}

/* One row: y = a gelu(b), with a beside b in x. */
ONE_KIND void geglu_row(void *y, const void *x, int64_t d, bool narrow)
{
#pragma omp simd
    for (int64_t j = 0; j < d; j++) {
        real gate = exact_gelu(read_number(x, d + j, narrow));
        write_number(y, j, read_number(x, j, narrow) * gate, narrow);
    }
}

static void geglu_fwd(real *y, const real *x, int64_t m, int64_t d, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++)
        WITH_KIND(narrow, geglu_row, number_at(y, i * d, narrow), number_at(x, 2 * i * d, narrow), d);
}

ONE_KIND void geglu_row_bwd(void *dx, const void *dy, const void *x, int64_t d, bool add, bool narrow)
{
#pragma omp simd
    for (int64_t j = 0; j < d; j++) {
        real slope, gate = exact_gelu_and_slope(&slope, read_number(x, d + j, narrow)), g = read_number(dy, j, narrow);
        real da = g * gate, db = g * read_number(x, j, narrow) * slope;
        write_number(dx, j, add ? read_number(dx, j, narrow) + da : da, narrow);
        write_number(dx, d + j, add ? read_number(dx, d + j, narrow) + db : db, narrow);
    }
}

static void geglu_bwd(real *dx, const real *dy, const real *x, int64_t m, int64_t d, bool add, int flags)
{
    const bool narrow = flags & NARROW;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m; i++) {
        void *to = number_at(dx, 2 * i * d, narrow);
        const void *from = number_at(dy, i * d, narrow), *row = number_at(x, 2 * i * d, narrow);
        if (add)
            WITH_KIND(narrow, geglu_row_bwd, to, from, row, d, true);
        else
            WITH_KIND(narrow, geglu_row_bwd, to, from, row, d, false);
    }
}

static void soft_clamp_fwd(real *y, const real *x, real limit, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = limit * vector_tanh(x[i] / limit);
}

static void soft_clamp_bwd(real *dx, const real *dy, const real *x, real limit, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        real t = vector_tanh(x[i] / limit);
        dx[i] += dy[i] * (1 - t * t);
    }
}

void CPU_FN(cpu_register_elementwise)(engine *e)
{
    e->add_fwd = add_fwd;
    e->accumulate = accumulate;
    e->add_difference = add_difference;
    e->bias_bwd = bias_bwd;
    e->silu_fwd = silu_fwd;
    e->silu_bwd = silu_bwd;
    e->gelu_fwd = gelu_fwd;
    e->gelu_bwd = gelu_bwd;
    e->quick_gelu_fwd = quick_gelu_fwd;
    e->quick_gelu_bwd = quick_gelu_bwd;
    e->geglu_fwd = geglu_fwd;
    e->geglu_bwd = geglu_bwd;
    e->exact_gelu_fwd = exact_gelu_fwd;
    e->exact_gelu_bwd = exact_gelu_bwd;
    e->soft_clamp_fwd = soft_clamp_fwd;
    e->soft_clamp_bwd = soft_clamp_bwd;
}
