/* Layer norm with adaptive modulation or weights of its own, the gated residual, and lengths of rows; the formulas and their
 * source stand in cpu/norm.c.
 *
 * A block has a chunk of a sample's tokens, a thread the same columns of all of them. A few tokens are in work
 * together, so that several loads of a thread are under way and one barrier serves several sums. The norm's rows of up
 * to HELD_WIDTH numbers are read once: a thread holds one pack of four columns. Rows that are longer or do not lie on
 * 16 bytes are read again where they are needed, a warp to each.
 * Sums over the tokens of a sample are made in two steps: each chunk of tokens leaves its sums, a row for each
 * modulation vector, in cuda_room; sum_chunks adds them in order. Rows that share weights of their own are tokens of one
 * sample.
 * T is the type of the arrays that may be narrow. */
#include "cuda/pack.cuh"

enum { ROW_THREADS = 288, ROW_WARPS = ROW_THREADS / 32 }; /* of a block, at most */
enum { HELD_WIDTH = ROW_THREADS * 4 };                    /* 1152 is the width of DiT-XL */
enum { ROWS_FWD = 4, ROWS_BWD = 2 };                      /* tokens in work together */
enum { SUM_THREADS = 128 };

/* What normed rows are multiplied with, base + a, and what is added, b; those of a sample `stride` behind those of the sample
 * before it. */
typedef struct affine {
    const real *a, *b;
    int64_t stride;
    real base;
} affine;

static affine modulation(const real *m, modulation_sizes z, int64_t shift, int64_t scale)
{
    return affine{m + scale * z.d, m + shift * z.d, z.stride, 1};
}

/* Where the sums over a sample's tokens are added (NULL: not wanted), `stride` apart from sample to sample. */
typedef struct sums_of_tokens {
    real *to[2];
    int64_t stride;
} sums_of_tokens;

/* Whether rows start on 16 bytes (those of narrow arrays on 8) where their arrays do. */
static bool rows_of_packs(modulation_sizes z)
{
    return z.d % 4 == 0 && z.stride % 4 == 0;
}

static unsigned threads_for(int64_t packs)
{
    return (unsigned)min((packs + 31) / 32 * 32, (int64_t)ROW_THREADS);
}

/* All lanes receive the sum. */
static __device__ real warp_sum(real x)
{
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
    return x;
}

/* Sums of the block's threads, which all threads receive; `parts` may be used again behind the next barrier. */
template <int COUNT> static __device__ void block_sums(real (&sum)[COUNT], pack<COUNT> *parts)
{
    pack<COUNT> own;
    for (int i = 0; i < COUNT; i++) own.v[i] = warp_sum(sum[i]);
    if (lane() == 0) parts[threadIdx.x / 32] = own;
    __syncthreads();
    for (int i = 0; i < COUNT; i++) sum[i] = 0;
    for (int warp = 0; warp < blockDim.x / 32; warp++) {
        pack<COUNT> part = parts[warp];
        for (int i = 0; i < COUNT; i++) sum[i] += part.v[i];
    }
}

/* How the tokens of each sample are divided: chunks of `size`, the last may have fewer. */
typedef struct division {
    int64_t size;
    unsigned chunks;
} division;

static division divide(modulation_sizes z, int64_t size)
{
    return division{size, cuda_blocks(z.s, size)};
}

/* For sums over tokens: long chunks leave few sums, but there must be work for the whole device. */
static division divide_for_sums(modulation_sizes z)
{
    int64_t size = z.n * z.s / 512;
    return divide(z, size < 2 ? 2 : size > 16 ? 16 : size);
}

static unsigned all_chunks(modulation_sizes z, division c)
{
    return (unsigned)z.n * c.chunks;
}

/* The chunk with number q among those of all samples: its sample, and its tokens among those of all samples. */
typedef struct token_range {
    int64_t sample, first, end;
} token_range;

static __device__ token_range range_of(unsigned q, modulation_sizes z, division c)
{
    int64_t sample = q / c.chunks, first = q % c.chunks * c.size;
    return token_range{sample, sample * z.s + first, sample * z.s + min(first + c.size, z.s)};
}

/* rows[k] = W columns of token first + k; zeros where there is no such token or column. */
template <int W, int ROWS, class T>
static __device__ void hold(pack<W> (&rows)[ROWS], const T *from, int64_t first, int64_t end, int64_t column, int64_t d)
{
#pragma unroll
    for (int k = 0; k < ROWS; k++)
        rows[k] = column < d && first + k < end ? load<W>(from + (first + k) * d + column) : pack<W>{};
}

/* ---- norm, forward ---- */

/* Means and 1/sqrt(variance + epsilon) of held rows, in two passes as on the CPU. */
static __device__ void held_moments(real (&mean)[ROWS_FWD], real (&rstd)[ROWS_FWD], const pack<4> (&rows)[ROWS_FWD],
                                    int64_t d, real epsilon)
{
    __shared__ pack<ROWS_FWD> parts[2][ROW_WARPS];
    const real share = 1 / (real)d;
    for (int k = 0; k < ROWS_FWD; k++) mean[k] = rows[k].v[0] + rows[k].v[1] + rows[k].v[2] + rows[k].v[3];
    block_sums(mean, parts[0]);
    for (int k = 0; k < ROWS_FWD; k++) {
        mean[k] *= share;
        rstd[k] = 0;
        for (int u = 0; u < 4 && threadIdx.x * 4 < d; u++)
            rstd[k] += (rows[k].v[u] - mean[k]) * (rows[k].v[u] - mean[k]);
    }
    block_sums(rstd, parts[1]);
    for (int k = 0; k < ROWS_FWD; k++) rstd[k] = rsqrtf(rstd[k] * share + epsilon);
}

/* A block has ROWS_FWD tokens. */
template <class T>
static __global__ void __launch_bounds__(ROW_THREADS, 4)
    norm_fwd_held(T *y, real *mean, real *rstd, const real *x, affine f, modulation_sizes z, division c, real epsilon)
{
    const token_range range = range_of(blockIdx.x, z, c);
    const int column = threadIdx.x * 4;
    const int64_t at = range.sample * f.stride + column;
    pack<4> rows[ROWS_FWD], a = {}, b = {};
    real mu[ROWS_FWD], r[ROWS_FWD];
    hold(rows, x, range.first, range.end, column, z.d);
    if (column < z.d) {
        a = load<4>(f.a + at);
        b = load<4>(f.b + at);
    }
    held_moments(mu, r, rows, z.d, epsilon);
#pragma unroll
    for (int k = 0; k < ROWS_FWD; k++) {
        int64_t token = range.first + k;
        if (token >= range.end || column >= z.d) return;
        if (column == 0) {
            mean[token] = mu[k];
            rstd[token] = r[k];
        }
        for (int u = 0; u < 4; u++) rows[k].v[u] = (rows[k].v[u] - mu[k]) * r[k] * (f.base + a.v[u]) + b.v[u];
        store<4>(y + token * z.d + column, rows[k]);
    }
}

template <class T>
static __global__ void norm_fwd_any(T *y, real *mean, real *rstd, const real *x, affine f, modulation_sizes z,
                                    real epsilon)
{
    int64_t token = thread_of_grid() / 32;
    if (token >= z.n * z.s) return;
    const real *a = f.a + token / z.s * f.stride, *b = f.b + token / z.s * f.stride;
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
    for (int64_t i = lane(); i < z.d; i += 32) y[token * z.d + i] = (T)((row[i] - mu) * r * (f.base + a[i]) + b[i]);
}

template <class T>
static void norm_fwd(T *y, real *mean, real *rstd, const real *x, affine f, modulation_sizes z, real epsilon)
{
    const division c = divide(z, ROWS_FWD);
    if (z.n * z.s <= 0) return;
    if (rows_of_packs(z) && z.d <= HELD_WIDTH && on_16_bytes(y, x, f.a, f.b))
        norm_fwd_held<<<all_chunks(z, c), threads_for(z.d / 4), 0, cuda_stream>>>(y, mean, rstd, x, f, z, c, epsilon);
    else
        norm_fwd_any<<<cuda_blocks(z.n * z.s, CUDA_THREADS / 32), CUDA_THREADS, 0, cuda_stream>>>(y, mean, rstd, x, f,
                                                                                                  z, epsilon);
    CUDA_LAUNCHED("norm forward");
}

static void norm_modulate_fwd(real *y, real *mean, real *rstd, const real *x, const real *m, modulation_sizes z,
                              int64_t shift, int64_t scale, real epsilon, int flags)
{
    if (flags & NARROW)
        norm_fwd((bf16 *)y, mean, rstd, x, modulation(m, z, shift, scale), z, epsilon);
    else
        norm_fwd(y, mean, rstd, x, modulation(m, z, shift, scale), z, epsilon);
}

/* M rows under the same weights, as tokens of one sample. */
static modulation_sizes one_sample(int64_t m, int64_t d)
{
    return modulation_sizes{1, m, d, 0};
}

static void layer_norm_fwd(real *y, real *mean, real *rstd, const real *x, const real *weight, const real *bias,
                           int64_t m, int64_t d, real epsilon, int flags)
{
    const affine f = {weight, bias, 0, 0};
    if (flags & NARROW)
        norm_fwd((bf16 *)y, mean, rstd, x, f, one_sample(m, d), epsilon);
    else
        norm_fwd(y, mean, rstd, x, f, one_sample(m, d), epsilon);
}

/* ---- sums over the tokens of a sample ---- */

/* sums[n*chunks, rows, d]: to[i] += sum over a sample's chunks of row i. A block has SUM_THREADS columns of a row. */
static __global__ void sum_chunks(sums_of_tokens out, const real *sums, modulation_sizes z, unsigned chunks,
                                  unsigned strips, unsigned rows)
{
    const unsigned pair = blockIdx.x / strips, row = pair % rows;
    const int64_t sample = pair / rows, i = blockIdx.x % strips * SUM_THREADS + threadIdx.x;
    real *to = row ? out.to[1] : out.to[0];
    if (i >= z.d || !to) return;
    const real *from = sums + (sample * chunks * rows + row) * z.d + i;
    real sum = 0;
#pragma unroll 8
    for (unsigned q = 0; q < chunks; q++) sum += from[q * rows * z.d];
    to[sample * out.stride + i] += sum;
}

static void launch_sum_chunks(sums_of_tokens out, const real *sums, modulation_sizes z, division c, unsigned rows)
{
    const unsigned strips = cuda_blocks(z.d, SUM_THREADS);
    sum_chunks<<<(unsigned)z.n * rows * strips, SUM_THREADS, 0, cuda_stream>>>(out, sums, z, c.chunks, strips, rows);
    CUDA_LAUNCHED("sums of the modulation");
}

/* ---- norm, backward ---- */

/* dx = old + r (g - mean(g) - xhat mean(g xhat)) with g = dy (base + a), of held rows; all threads of the block come
 * here. `parts` may be used again behind the next barrier. */
static __device__ void held_dx(real *dx, const pack<4> (&old)[ROWS_BWD], const pack<4> (&g)[ROWS_BWD],
                               const pack<4> (&xhat)[ROWS_BWD], const real (&r)[ROWS_BWD], int64_t first, int64_t end,
                               int64_t d, pack<2 * ROWS_BWD> *parts)
{
    const int column = threadIdx.x * 4;
    const real share = 1 / (real)d;
    real sums[2 * ROWS_BWD] = {};
    for (int k = 0; k < ROWS_BWD; k++)
        for (int u = 0; u < 4; u++) {
            sums[2 * k] += g[k].v[u];
            sums[2 * k + 1] += g[k].v[u] * xhat[k].v[u];
        }
    block_sums(sums, parts);
#pragma unroll
    for (int k = 0; k < ROWS_BWD; k++) {
        if (column >= d || first + k >= end) return;
        pack<4> to;
        for (int u = 0; u < 4; u++)
            to.v[u] = old[k].v[u] + r[k] * (g[k].v[u] - share * (sums[2 * k] + xhat[k].v[u] * sums[2 * k + 1]));
        store<4>(dx + (first + k) * d + column, to);
    }
}

/* A block has a chunk. sums (NULL: not wanted): the chunk's sums of dy and of dy xhat, which stay in registers until
 * all its tokens are done. */
template <class T>
static __global__ void __launch_bounds__(ROW_THREADS, 4)
    norm_bwd_held(real *dx, real *sums, const T *dy, const real *x, const real *mean, const real *rstd, affine f,
                  modulation_sizes z, division c)
{
    __shared__ pack<2 * ROWS_BWD> parts[2][ROW_WARPS]; /* by turns, so that one barrier each time is enough */
    const token_range range = range_of(blockIdx.x, z, c);
    const int column = threadIdx.x * 4;
    pack<4> up[ROWS_BWD], xhat[ROWS_BWD], old[ROWS_BWD], factor = {}, db = {}, da = {};
    if (column < z.d) factor = load<4>(f.a + range.sample * f.stride + column);
    int turn = 0;
    for (int64_t token = range.first; token < range.end; token += ROWS_BWD, turn ^= 1) {
        real r[ROWS_BWD];
        hold(up, dy, token, range.end, column, z.d);
        hold(xhat, x, token, range.end, column, z.d);
        if (dx) hold(old, dx, token, range.end, column, z.d);
#pragma unroll
        for (int k = 0; k < ROWS_BWD; k++) {
            const bool there = token + k < range.end;
            const real mu = there ? mean[token + k] : 0;
            r[k] = there ? rstd[token + k] : 0;
            for (int u = 0; u < 4; u++) {
                xhat[k].v[u] = (xhat[k].v[u] - mu) * r[k];
                db.v[u] += up[k].v[u];
                da.v[u] += up[k].v[u] * xhat[k].v[u];
                up[k].v[u] *= f.base + factor.v[u];
            }
        }
        if (dx) held_dx(dx, old, up, xhat, r, token, range.end, z.d, parts[turn]);
    }
    if (!sums || column >= z.d) return;
    store<4>(sums + 2 * blockIdx.x * z.d + column, db);
    store<4>(sums + (2 * blockIdx.x + 1) * z.d + column, da);
}

/* The means over a row that its dx is made with. */
typedef struct row_means {
    real g, gx; /* of dy (base + a), and of that times xhat */
} row_means;

template <class T>
static __device__ row_means any_means(const T *up, const real *row, const real *a, real base, real mu, real r,
                                      int64_t d)
{
    real sum_g = 0, sum_gx = 0;
    for (int64_t i = lane(); i < d; i += 32) {
        real g = (real)up[i] * (base + a[i]);
        sum_g += g;
        sum_gx += g * (row[i] - mu) * r;
    }
    return row_means{warp_sum(sum_g) / (real)d, warp_sum(sum_gx) / (real)d};
}

/* A warp has a chunk, and the sums are in memory from the start: a column belongs to one lane, which alone reads and
 * writes it. */
template <class T>
static __global__ void norm_bwd_any(real *dx, real *sums, const T *dy, const real *x, const real *mean,
                                    const real *rstd, affine f, modulation_sizes z, division c)
{
    int64_t q = thread_of_grid() / 32;
    if (q >= z.n * c.chunks) return;
    token_range range = range_of(q, z, c);
    const real *a = f.a + range.sample * f.stride;
    real *db = sums ? sums + 2 * q * z.d : NULL, *da = sums ? db + z.d : NULL;
    for (int64_t token = range.first; token < range.end; token++) {
        const T *up = dy + token * z.d;
        const real *row = x + token * z.d, mu = mean[token], r = rstd[token];
        row_means means = {};
        if (dx) means = any_means(up, row, a, f.base, mu, r, z.d);
        for (int64_t i = lane(); i < z.d; i += 32) {
            real xhat = (row[i] - mu) * r, g = up[i];
            if (dx) dx[token * z.d + i] += r * (g * (f.base + a[i]) - means.g - xhat * means.gx);
            if (!sums) continue;
            db[i] = token == range.first ? g : db[i] + g;
            da[i] = token == range.first ? g * xhat : da[i] + g * xhat;
        }
    }
}

template <class T>
static void norm_bwd(real *dx, sums_of_tokens out, const T *dy, const real *x, const real *mean, const real *rstd,
                     affine f, modulation_sizes z)
{
    const bool summed = out.to[0] || out.to[1];
    if ((!dx && !summed) || z.n * z.s <= 0) return;
    const division c = divide_for_sums(z);
    const unsigned chunks = all_chunks(z, c);
    real *sums = summed ? (real *)cuda_room((size_t)(chunks * 2 * z.d) * sizeof(real)) : NULL;
    if (summed && !sums) return;
    if (rows_of_packs(z) && z.d <= HELD_WIDTH && on_16_bytes(dx, dy, x, f.a))
        norm_bwd_held<<<chunks, threads_for(z.d / 4), 0, cuda_stream>>>(dx, sums, dy, x, mean, rstd, f, z, c);
    else
        norm_bwd_any<<<cuda_blocks(chunks, CUDA_THREADS / 32), CUDA_THREADS, 0, cuda_stream>>>(dx, sums, dy, x, mean,
                                                                                               rstd, f, z, c);
    CUDA_LAUNCHED("norm backward");
    if (summed) launch_sum_chunks(out, sums, z, c, 2);
}

static void norm_modulate_bwd(real *dx, real *dm, const real *dy, const real *x, const real *mean, const real *rstd,
                              const real *m, modulation_sizes z, int64_t shift, int64_t scale, int flags)
{
    const affine f = modulation(m, z, shift, scale);
    const sums_of_tokens out = {{dm ? dm + shift * z.d : NULL, dm ? dm + scale * z.d : NULL}, z.stride};
    if (flags & NARROW)
        norm_bwd(dx, out, (const bf16 *)dy, x, mean, rstd, f, z);
    else
        norm_bwd(dx, out, dy, x, mean, rstd, f, z);
}

static void layer_norm_bwd(real *dx, real *dweight, real *dbias, const real *dy, const real *x, const real *mean,
                           const real *rstd, const real *weight, int64_t m, int64_t d, int flags)
{
    const affine f = {weight, NULL, 0, 0};
    const sums_of_tokens out = {{dbias, dweight}, 0};
    if (flags & NARROW)
        norm_bwd(dx, out, (const bf16 *)dy, x, mean, rstd, f, one_sample(m, d));
    else
        norm_bwd(dx, out, dy, x, mean, rstd, f, one_sample(m, d));
}

/* ---- gated residual ---- */

/* A block has ROWS_FWD tokens; a thread has W columns of them, and those a block's width further on. */
template <int W, class T>
static __global__ void __launch_bounds__(ROW_THREADS, 4)
    gated_fwd(real *y, const real *x, const T *h, const real *m, modulation_sizes z, division c, int64_t gate)
{
    const token_range range = range_of(blockIdx.x, z, c);
    const real *gates = m + range.sample * z.stride + gate * z.d;
    for (int64_t j = threadIdx.x * W; j < z.d; j += blockDim.x * W) {
        pack<W> to[ROWS_FWD], branch[ROWS_FWD], g = load<W>(gates + j);
        hold(to, x, range.first, range.end, j, z.d);
        hold(branch, h, range.first, range.end, j, z.d);
#pragma unroll
        for (int k = 0; k < ROWS_FWD; k++) {
            if (range.first + k >= range.end) break;
            for (int u = 0; u < W; u++) to[k].v[u] += g.v[u] * branch[k].v[u];
            store<W>(y + (range.first + k) * z.d + j, to[k]);
        }
    }
}

template <class T>
static void gated_fwd_of(real *y, const real *x, const T *h, const real *m, modulation_sizes z, int64_t gate)
{
    const division c = divide(z, ROWS_FWD);
    const unsigned blocks = all_chunks(z, c);
    if (z.n * z.s <= 0) return;
    if (rows_of_packs(z) && on_16_bytes(y, x, h, m))
        gated_fwd<4><<<blocks, threads_for(z.d / 4), 0, cuda_stream>>>(y, x, h, m, z, c, gate);
    else
        gated_fwd<1><<<blocks, threads_for(z.d), 0, cuda_stream>>>(y, x, h, m, z, c, gate);
    CUDA_LAUNCHED("gated add forward");
}

static void gated_add_fwd(real *y, const real *x, const real *h, const real *m, modulation_sizes z, int64_t gate,
                          int flags)
{
    if (flags & NARROW)
        gated_fwd_of(y, x, (const bf16 *)h, m, z, gate);
    else
        gated_fwd_of(y, x, h, m, z, gate);
}

/* A block has a chunk; a thread has W columns of it, and those a block's width further on. sums (NULL: not wanted): the
 * chunk's sums of h dy. */
template <int W, class T>
static __global__ void __launch_bounds__(ROW_THREADS, 4)
    gated_bwd(T *dh, real *sums, const real *dy, const T *h, const real *m, modulation_sizes z, division c,
              int64_t gate, bool add)
{
    const token_range range = range_of(blockIdx.x, z, c);
    const real *gates = m + range.sample * z.stride + gate * z.d;
    for (int64_t j = threadIdx.x * W; j < z.d; j += blockDim.x * W) {
        pack<W> up[ROWS_BWD], branch[ROWS_BWD] = {}, to[ROWS_BWD], g = load<W>(gates + j), sum = {};
        for (int64_t token = range.first; token < range.end; token += ROWS_BWD) {
            hold(up, dy, token, range.end, j, z.d);
            if (sums) hold(branch, h, token, range.end, j, z.d);
            hold(to, dh, token, add && dh ? range.end : 0, j, z.d);
#pragma unroll
            for (int k = 0; k < ROWS_BWD; k++) {
                for (int u = 0; u < W; u++) {
                    sum.v[u] += up[k].v[u] * branch[k].v[u];
                    to[k].v[u] += up[k].v[u] * g.v[u];
                }
                if (dh && token + k < range.end) store<W>(dh + (token + k) * z.d + j, to[k]);
            }
        }
        if (sums) store<W>(sums + blockIdx.x * z.d + j, sum);
    }
}

template <class T>
static void gated_bwd_of(T *dh, real *dm, const real *dy, const T *h, const real *m, modulation_sizes z, int64_t gate,
                         bool add)
{
    if ((!dh && !dm) || z.n * z.s <= 0) return;
    const division c = divide_for_sums(z);
    const unsigned chunks = all_chunks(z, c);
    real *sums = dm ? (real *)cuda_room((size_t)(chunks * z.d) * sizeof(real)) : NULL;
    if (dm && !sums) return;
    if (rows_of_packs(z) && on_16_bytes(dh, dy, h, m))
        gated_bwd<4><<<chunks, threads_for(z.d / 4), 0, cuda_stream>>>(dh, sums, dy, h, m, z, c, gate, add);
    else
        gated_bwd<1><<<chunks, threads_for(z.d), 0, cuda_stream>>>(dh, sums, dy, h, m, z, c, gate, add);
    CUDA_LAUNCHED("gated add backward");
    if (dm) launch_sum_chunks(sums_of_tokens{{dm + gate * z.d, NULL}, z.stride}, sums, z, c, 1);
}

static void gated_add_bwd(real *dh, real *dm, const real *dy, const real *h, const real *m, modulation_sizes z,
                          int64_t gate, bool add, int flags)
{
    if (flags & NARROW)
        gated_bwd_of((bf16 *)dh, dm, dy, (const bf16 *)h, m, z, gate, add);
    else
        gated_bwd_of(dh, dm, dy, h, m, z, gate, add);
}

/* ---- lengths of rows ---- */

/* A block has a row. */
static __global__ void lengths(real *minus, real *inverse, const real *w, const real *b, const real *a, real s,
                               int64_t i, int64_t r)
{
    __shared__ pack<1> parts[ROW_WARPS];
    const int64_t row = blockIdx.x;
    real sum[1] = {0};
    for (int64_t j = threadIdx.x; j < i; j += blockDim.x) {
        real x = w[row * i + j];
        for (int64_t k = 0; k < r; k++) x += s * b[row * r + k] * a[k * i + j];
        sum[0] += x * x;
    }
    block_sums(sum, parts);
    if (threadIdx.x > 0) return;
    const real length = sqrtf(sum[0]);
    minus[row] = -length;
    inverse[row] = length > 0 ? 1 / length : 0;
}

static void row_lengths(real *minus, real *inverse, const real *w, const real *b, const real *a, real s, int64_t o,
                        int64_t i, int64_t r)
{
    if (o <= 0) return;
    lengths<<<(unsigned)o, SUM_THREADS, 0, cuda_stream>>>(minus, inverse, w, b, a, s, i, r);
    CUDA_LAUNCHED("row_lengths");
}

void cuda_register_norm(engine *e)
{
    e->row_lengths = row_lengths;
    e->layer_norm_fwd = layer_norm_fwd;
    e->layer_norm_bwd = layer_norm_bwd;
    e->norm_modulate_fwd = norm_modulate_fwd;
    e->norm_modulate_bwd = norm_modulate_bwd;
    e->gated_add_fwd = gated_add_fwd;
    e->gated_add_bwd = gated_add_bwd;
}
