/* Layer norm with adaptive modulation, and the gated residual; the formulas and their source stand in cpu/norm.c.
 *
 * A warp has a token. Rows of up to HELD_WIDTH numbers that lie on 16 bytes are held in its registers, so that each
 * is read once; any others are read again where they are needed. m is __restrict__ where that lets its numbers be
 * fetched ahead of a store. Sums over the tokens of a sample are made in two steps: each chunk of tokens leaves its
 * sums, a row for each modulation vector, in cuda_room; sum_chunks adds them in order. */
#include "cuda/device.h"

template <int W> struct alignas(W * sizeof(real)) pack {
    real v[W];
};

template <int W> static __device__ pack<W> load(const real *x)
{
    return *(const pack<W> *)x;
}

template <int W> static __device__ void store(real *y, pack<W> p)
{
    *(pack<W> *)y = p;
}

enum { HELD = 9, HELD_WIDTH = HELD * 32 * 4 }; /* packs of four that a lane holds; 1152 is the width of DiT-XL */
enum { HELD_BWD_THREADS = 64 };                /* few: a thread of that kernel needs most registers there are */

static bool on_16_bytes(const real *a, const real *b, const real *c, const real *d)
{
    return (((uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d) % 16) == 0;
}

/* Whether rows start on 16 bytes where their arrays do. */
static bool rows_of_packs(modulation_sizes z)
{
    return z.d % 4 == 0 && z.stride % 4 == 0;
}

static __device__ int64_t thread_of_grid(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ int lane(void)
{
    return threadIdx.x % 32;
}

/* All lanes receive the sum. */
static __device__ real warp_sum(real x)
{
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}

/* The first number of this lane's pack k of a row. */
static __device__ int64_t place(int k)
{
    return (k * 32 + lane()) * 4;
}

/* All loads of a row stand together, so that they are under way at the same time; beyond d there are zeros. */
static __device__ void hold(pack<4> *held, const real *row, int64_t d)
{
#pragma unroll
    for (int k = 0; k < HELD; k++) held[k] = place(k) < d ? load<4>(row + place(k)) : pack<4>{};
}

/* ---- norm, forward ---- */

/* Mean and 1/sqrt(variance + epsilon) of a held row, in two passes as on the CPU. */
static __device__ void held_moments(real *mean, real *rstd, const pack<4> *row, int64_t d, real epsilon)
{
    real sum = 0, square = 0;
#pragma unroll
    for (int k = 0; k < HELD; k++)
        for (int u = 0; u < 4; u++) sum += row[k].v[u];
    real mu = warp_sum(sum) / (real)d;
#pragma unroll
    for (int k = 0; k < HELD; k++)
        for (int u = 0; u < 4; u++) square += place(k) < d ? (row[k].v[u] - mu) * (row[k].v[u] - mu) : 0;
    *mean = mu;
    *rstd = 1 / sqrtf(warp_sum(square) / (real)d + epsilon);
}

static __global__ void norm_fwd_held(real *y, real *mean, real *rstd, const real *x, const real *__restrict__ m,
                                     modulation_sizes z, int64_t shift, int64_t scale, real epsilon)
{
    int64_t token = thread_of_grid() / 32;
    if (token >= z.n * z.s) return;
    const real *mod = m + token / z.s * z.stride, *b = mod + shift * z.d, *a = mod + scale * z.d;
    pack<4> row[HELD];
    real mu, r;
    hold(row, x + token * z.d, z.d);
    held_moments(&mu, &r, row, z.d, epsilon);
    if (lane() == 0) {
        mean[token] = mu;
        rstd[token] = r;
    }
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        if (place(k) >= z.d) continue;
        pack<4> p = load<4>(a + place(k)), q = load<4>(b + place(k));
        for (int u = 0; u < 4; u++) p.v[u] = (row[k].v[u] - mu) * r * (1 + p.v[u]) + q.v[u];
        store<4>(y + token * z.d + place(k), p);
    }
}

static __global__ void norm_fwd_any(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                                    int64_t shift, int64_t scale, real epsilon)
{
    int64_t token = thread_of_grid() / 32;
    if (token >= z.n * z.s) return;
    const real *mod = m + token / z.s * z.stride, *b = mod + shift * z.d, *a = mod + scale * z.d;
    const real *row = x + token * z.d;
    real sum = 0, square = 0;
    for (int64_t i = lane(); i < z.d; i += 32) sum += row[i];
    real mu = warp_sum(sum) / (real)z.d;
    for (int64_t i = lane(); i < z.d; i += 32) square += (row[i] - mu) * (row[i] - mu);
    real r = 1 / sqrtf(warp_sum(square) / (real)z.d + epsilon);
    if (lane() == 0) {
        mean[token] = mu;
        rstd[token] = r;
    }
    for (int64_t i = lane(); i < z.d; i += 32) y[token * z.d + i] = (row[i] - mu) * r * (1 + a[i]) + b[i];
}

static void norm_modulate_fwd(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                              int64_t shift, int64_t scale, real epsilon)
{
    if (z.n * z.s <= 0) return;
    unsigned blocks = cuda_blocks(z.n * z.s, CUDA_THREADS / 32);
    if (rows_of_packs(z) && z.d <= HELD_WIDTH && on_16_bytes(y, x, m, m))
        norm_fwd_held<<<blocks, CUDA_THREADS, 0, cuda_stream>>>(y, mean, rstd, x, m, z, shift, scale, epsilon);
    else
        norm_fwd_any<<<blocks, CUDA_THREADS, 0, cuda_stream>>>(y, mean, rstd, x, m, z, shift, scale, epsilon);
    CUDA_LAUNCHED("norm forward");
}

/* ---- sums over the tokens of a sample ---- */

/* Tokens of a chunk: few where there are few tokens, so that there is work for the whole device. */
static int64_t chunk_of(modulation_sizes z)
{
    int64_t chunk = z.n * z.s / 1024;
    return chunk < 4 ? 4 : chunk > 16 ? 16 : chunk;
}

static __host__ __device__ int64_t chunks_of(modulation_sizes z, int64_t chunk)
{
    return (z.s + chunk - 1) / chunk;
}

/* The chunk with number q among those of all samples: its sample, and its tokens among those of all samples. */
typedef struct token_range {
    int64_t sample, first, end;
} token_range;

static __device__ token_range range_of(int64_t q, modulation_sizes z, int64_t chunk)
{
    int64_t chunks = chunks_of(z, chunk), sample = q / chunks, first = q % chunks * chunk;
    return token_range{sample, sample * z.s + first, sample * z.s + min(first + chunk, z.s)};
}

/* sums[n*chunks, rows, d]: dm's slice at index0 += sum over a sample's chunks of row 0, at index1 of row 1 */
static __global__ void sum_chunks(real *dm, const real *sums, modulation_sizes z, int64_t chunks, int rows,
                                  int64_t index0, int64_t index1)
{
    int64_t i = thread_of_grid() % z.d, pair = thread_of_grid() / z.d, sample = pair / rows, row = pair % rows;
    if (sample >= z.n) return;
    const real *from = sums + (sample * chunks * rows + row) * z.d + i;
    real sum = 0;
#pragma unroll 8
    for (int64_t q = 0; q < chunks; q++) sum += from[q * rows * z.d];
    dm[sample * z.stride + (row ? index1 : index0) * z.d + i] += sum;
}

static void launch_sum_chunks(real *dm, const real *sums, modulation_sizes z, int64_t chunks, int rows, int64_t index0,
                              int64_t index1)
{
    unsigned blocks = cuda_blocks(z.n * rows * z.d, CUDA_THREADS);
    sum_chunks<<<blocks, CUDA_THREADS, 0, cuda_stream>>>(dm, sums, z, chunks, rows, index0, index1);
    CUDA_LAUNCHED("sums of the modulation");
}

/* ---- norm, backward ---- */

/* The means over a row that its dx is made with. */
typedef struct row_means {
    real g, gx; /* of dy (1 + scale), and of that times xhat */
} row_means;

static __device__ row_means held_means(const pack<4> *up, const pack<4> *xhat, const real *a, int64_t d)
{
    real sum_g = 0, sum_gx = 0;
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        if (place(k) >= d) continue;
        pack<4> p = load<4>(a + place(k));
        for (int u = 0; u < 4; u++) {
            real g = up[k].v[u] * (1 + p.v[u]);
            sum_g += g;
            sum_gx += g * xhat[k].v[u];
        }
    }
    return row_means{warp_sum(sum_g) / (real)d, warp_sum(sum_gx) / (real)d};
}

/* dx = old + r (dy (1 + scale) - mean(g) - xhat mean(g xhat)) */
static __device__ void held_dx(real *dx, const pack<4> *old, const pack<4> *up, const pack<4> *xhat, const real *a,
                               real r, int64_t d)
{
    row_means mean = held_means(up, xhat, a, d);
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        if (place(k) >= d) continue;
        pack<4> p = load<4>(a + place(k));
        for (int u = 0; u < 4; u++)
            p.v[u] = old[k].v[u] + r * (up[k].v[u] * (1 + p.v[u]) - mean.g - xhat[k].v[u] * mean.gx);
        store<4>(dx + place(k), p);
    }
}

/* A warp has a chunk. sums (NULL: not wanted): the chunk's sums of dy and of dy xhat, which stay in registers until all
 * its tokens are done. */
static __global__ void __launch_bounds__(HELD_BWD_THREADS)
    norm_bwd_held(real *dx, real *sums, const real *dy, const real *x, const real *mean, const real *rstd,
                  const real *__restrict__ m, modulation_sizes z, int64_t scale, int64_t chunk)
{
    int64_t q = thread_of_grid() / 32;
    if (q >= z.n * chunks_of(z, chunk)) return;
    token_range range = range_of(q, z, chunk);
    const real *a = m + range.sample * z.stride + scale * z.d;
    pack<4> up[HELD], xhat[HELD], old[HELD], db[HELD] = {}, da[HELD] = {};
    for (int64_t token = range.first; token < range.end; token++) {
        real mu = mean[token], r = rstd[token];
        hold(up, dy + token * z.d, z.d);
        hold(xhat, x + token * z.d, z.d);
        if (dx) hold(old, dx + token * z.d, z.d);
#pragma unroll
        for (int k = 0; k < HELD; k++)
            for (int u = 0; u < 4; u++) {
                xhat[k].v[u] = (xhat[k].v[u] - mu) * r;
                db[k].v[u] += up[k].v[u];
                da[k].v[u] += up[k].v[u] * xhat[k].v[u];
            }
        if (dx) held_dx(dx + token * z.d, old, up, xhat, a, r, z.d);
    }
#pragma unroll
    for (int k = 0; k < HELD; k++) {
        if (!sums || place(k) >= z.d) continue;
        store<4>(sums + 2 * q * z.d + place(k), db[k]);
        store<4>(sums + (2 * q + 1) * z.d + place(k), da[k]);
    }
}

static __device__ row_means any_means(const real *up, const real *row, const real *a, real mu, real r, int64_t d)
{
    real sum_g = 0, sum_gx = 0;
    for (int64_t i = lane(); i < d; i += 32) {
        real g = up[i] * (1 + a[i]);
        sum_g += g;
        sum_gx += g * (row[i] - mu) * r;
    }
    return row_means{warp_sum(sum_g) / (real)d, warp_sum(sum_gx) / (real)d};
}

/* The same with the sums in memory from the start: a column belongs to one lane, which alone reads and writes it. */
static __global__ void norm_bwd_any(real *dx, real *sums, const real *dy, const real *x, const real *mean,
                                    const real *rstd, const real *m, modulation_sizes z, int64_t scale, int64_t chunk)
{
    int64_t q = thread_of_grid() / 32;
    if (q >= z.n * chunks_of(z, chunk)) return;
    token_range range = range_of(q, z, chunk);
    const real *a = m + range.sample * z.stride + scale * z.d;
    real *db = sums ? sums + 2 * q * z.d : NULL, *da = sums ? db + z.d : NULL;
    for (int64_t token = range.first; token < range.end; token++) {
        const real *up = dy + token * z.d, *row = x + token * z.d;
        real mu = mean[token], r = rstd[token];
        row_means means = {};
        if (dx) means = any_means(up, row, a, mu, r, z.d);
        for (int64_t i = lane(); i < z.d; i += 32) {
            real xhat = (row[i] - mu) * r;
            if (dx) dx[token * z.d + i] += r * (up[i] * (1 + a[i]) - means.g - xhat * means.gx);
            if (!sums) continue;
            db[i] = token == range.first ? up[i] : db[i] + up[i];
            da[i] = token == range.first ? up[i] * xhat : da[i] + up[i] * xhat;
        }
    }
}

static void norm_modulate_bwd(real *dx, real *dm, const real *dy, const real *x, const real *mean, const real *rstd,
                              const real *m, modulation_sizes z, int64_t shift, int64_t scale)
{
    if ((!dx && !dm) || z.n * z.s <= 0) return;
    int64_t chunk = chunk_of(z), chunks = chunks_of(z, chunk);
    real *sums = dm ? (real *)cuda_room((size_t)(z.n * chunks * 2 * z.d) * sizeof(real)) : NULL;
    if (dm && !sums) return;
    if (rows_of_packs(z) && z.d <= HELD_WIDTH && on_16_bytes(dx, dy, x, m))
        norm_bwd_held<<<cuda_blocks(z.n * chunks, HELD_BWD_THREADS / 32), HELD_BWD_THREADS, 0, cuda_stream>>>(
            dx, sums, dy, x, mean, rstd, m, z, scale, chunk);
    else
        norm_bwd_any<<<cuda_blocks(z.n * chunks, CUDA_THREADS / 32), CUDA_THREADS, 0, cuda_stream>>>(
            dx, sums, dy, x, mean, rstd, m, z, scale, chunk);
    CUDA_LAUNCHED("norm backward");
    if (dm) launch_sum_chunks(dm, sums, z, chunks, 2, shift, scale);
}

/* ---- gated residual ---- */

/* A warp has a token. */
template <int W>
static __global__ void gated_fwd(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate)
{
    int64_t token = thread_of_grid() / 32, row = token * z.d;
    if (token >= z.n * z.s) return;
    const real *g = m + token / z.s * z.stride + gate * z.d;
    for (int64_t i = lane() * W; i < z.d; i += 32 * W) {
        pack<W> to = load<W>(x + row + i), branch = load<W>(h + row + i), factor = load<W>(g + i);
        for (int u = 0; u < W; u++) to.v[u] += factor.v[u] * branch.v[u];
        store<W>(y + row + i, to);
    }
}

static void gated_add_fwd(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate)
{
    if (z.n * z.s <= 0) return;
    unsigned blocks = cuda_blocks(z.n * z.s, CUDA_THREADS / 32);
    if (rows_of_packs(z) && on_16_bytes(y, x, h, m))
        gated_fwd<4><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(y, x, h, m, z, gate);
    else
        gated_fwd<1><<<blocks, CUDA_THREADS, 0, cuda_stream>>>(y, x, h, m, z, gate);
    CUDA_LAUNCHED("gated add forward");
}

/* A thread has W columns of a chunk. sums (NULL: not wanted): the chunk's sums of h dy. */
template <int W>
static __global__ void gated_bwd(real *dh, real *sums, const real *dy, const real *h, const real *m, modulation_sizes z,
                                 int64_t gate, bool add, int64_t chunk)
{
    int64_t packs = z.d / W, q = thread_of_grid() / packs, j = thread_of_grid() % packs * W;
    if (q >= z.n * chunks_of(z, chunk)) return;
    token_range range = range_of(q, z, chunk);
    pack<W> g = load<W>(m + range.sample * z.stride + gate * z.d + j), sum = {};
    for (int64_t i = range.first * z.d + j; i < range.end * z.d; i += z.d) {
        pack<W> up = load<W>(dy + i), branch = {}, old = {};
        if (sums) branch = load<W>(h + i);
        if (dh && add) old = load<W>(dh + i);
        for (int u = 0; u < W; u++) {
            sum.v[u] += up.v[u] * branch.v[u];
            old.v[u] = add ? old.v[u] + up.v[u] * g.v[u] : up.v[u] * g.v[u];
        }
        if (dh) store<W>(dh + i, old);
    }
    if (sums) store<W>(sums + q * z.d + j, sum);
}

static void gated_add_bwd(real *dh, real *dm, const real *dy, const real *h, const real *m, modulation_sizes z,
                          int64_t gate, bool add)
{
    if ((!dh && !dm) || z.n * z.s <= 0) return;
    int64_t chunk = chunk_of(z), chunks = chunks_of(z, chunk), columns = z.n * chunks * z.d;
    real *sums = dm ? (real *)cuda_room((size_t)columns * sizeof(real)) : NULL;
    if (dm && !sums) return;
    if (rows_of_packs(z) && on_16_bytes(dh, dy, h, m))
        gated_bwd<4><<<cuda_blocks(columns, 4 * CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dh, sums, dy, h, m, z,
                                                                                               gate, add, chunk);
    else
        gated_bwd<1><<<cuda_blocks(columns, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(dh, sums, dy, h, m, z, gate,
                                                                                           add, chunk);
    CUDA_LAUNCHED("gated add backward");
    if (dm) launch_sum_chunks(dm, sums, z, chunks, 1, gate, gate);
}

void cuda_register_norm(engine *e)
{
    e->norm_modulate_fwd = norm_modulate_fwd;
    e->norm_modulate_bwd = norm_modulate_bwd;
    e->gated_add_fwd = gated_add_fwd;
    e->gated_add_bwd = gated_add_bwd;
}
