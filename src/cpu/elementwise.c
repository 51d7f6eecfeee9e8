/* Kernels that treat every element alike. */
#include "cpu/kernel.h"
#include "cpu/vector.h"

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

/* Each thread owns a range of columns and walks all rows in order. */
static void bias_bwd(real *db, const real *dy, int64_t m, int64_t n, int flags)
{
    (void)flags;
    enum { COLUMNS = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += COLUMNS) {
        int64_t last = first + COLUMNS < n ? first + COLUMNS : n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = first; j < last; j++) db[j] += dy[i * n + j];
    }
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

static void silu_fwd(real *y, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = silu(x[i]);
}

/* The choice to add is made outside the loops: inside, it keeps gcc from vectorising them. */
static void silu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add)
{
    if (add) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) dx[i] += dy[i] * silu_slope(x[i]);
    } else {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) dx[i] = dy[i] * silu_slope(x[i]);
    }
}

/* With u = sqrt(2/pi) (x + 0.044715 x^3) the tanh form is x (1 + tanh u) / 2 = x sigmoid(2u), which keeps the small
 * negative tail that 1 + tanh u rounds away. GELU_ROOT is 2 sqrt(2/pi). */
#define GELU_ROOT ((real)1.59576912160573071176)
#define GELU_CUBE ((real)0.044715)

static inline real gelu(real x)
{
    return x * vector_sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * x * x));
}

static inline real gelu_slope(real x)
{
    real square = x * x, s = vector_sigmoid(GELU_ROOT * x * (1 + GELU_CUBE * square));
    return s * (1 + x * (1 - s) * GELU_ROOT * (1 + 3 * GELU_CUBE * square));
}

static void gelu_fwd(real *y, const real *x, int64_t count, int flags)
{
    (void)flags;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = gelu(x[i]);
}

static void gelu_bwd(real *dx, const real *dy, const real *x, int64_t count, bool add, int flags)
{
    (void)flags;
    if (add) {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) dx[i] += dy[i] * gelu_slope(x[i]);
    } else {
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < count; i++) dx[i] = dy[i] * gelu_slope(x[i]);
    }
}

void CPU_FN(cpu_register_elementwise)(engine *e)
{
    e->add_fwd = add_fwd;
    e->accumulate = accumulate;
    e->bias_bwd = bias_bwd;
    e->silu_fwd = silu_fwd;
    e->silu_bwd = silu_bwd;
    e->gelu_fwd = gelu_fwd;
    e->gelu_bwd = gelu_bwd;
}
