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
static void bias_bwd(real *db, const real *dy, int64_t m, int64_t n)
{
    enum { COLUMNS = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += COLUMNS) {
        int64_t last = first + COLUMNS < n ? first + COLUMNS : n;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = first; j < last; j++) db[j] += dy[i * n + j];
    }
}

static void silu_fwd(real *y, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * vector_sigmoid(x[i]);
}

static void silu_bwd(real *dx, const real *dy, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        real s = vector_sigmoid(x[i]);
        dx[i] += dy[i] * s * (1 + x[i] * (1 - s));
    }
}

#define GELU_ROOT ((real)0.79788456080286535588) /* sqrt(2/pi) */
#define GELU_CUBE ((real)0.044715)

static void gelu_fwd(real *y, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        real u = GELU_ROOT * (x[i] + GELU_CUBE * x[i] * x[i] * x[i]);
        y[i] = (real)0.5 * x[i] * (1 + vector_tanh(u));
    }
}

static void gelu_bwd(real *dx, const real *dy, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) {
        real square = x[i] * x[i], h = vector_tanh(GELU_ROOT * x[i] * (1 + GELU_CUBE * square));
        real slope = GELU_ROOT * (1 + 3 * GELU_CUBE * square);
        dx[i] += dy[i] * (real)0.5 * (1 + h + x[i] * (1 - h * h) * slope);
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
