/* The diffusion loss of DiT: noise MSE plus, where the model learns its variance, the variational bound in bits. The
 * formulas and their sources are those of cpu/loss.c, in the same precision. */
#include <math.h>

#include "cuda/block_sum.cuh"

#define LN2 ((real)0.69314718055994530942)

/* tanh as the CPU computes it: rounded once from double. Differences of nearly equal probabilities hang on it. */
static __device__ real exact_tanh(real x)
{
    return (real)tanh((double)x);
}

/* The tanh form of the normal distribution function, and its derivative. */
static __device__ real approximate_cdf(real x)
{
    return (real)0.5 * (1 + exact_tanh((real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x)));
}

static __device__ real approximate_cdf_slope(real x)
{
    real c = (real)0.79788456080286535588, h = exact_tanh(c * (x + (real)0.044715 * x * x * x));
    return (real)0.5 * (1 - h * h) * c * (1 + (real)(3 * 0.044715) * x * x);
}

/* Negative log likelihood of x0 as an 8-bit value under N(mean, e^log_variance); *slope is its derivative by
 * log_variance. */
static __device__ real discretised_nll(real *slope, real x0, real mean, real log_variance)
{
    const real half = (real)(1.0 / 255.0), least = (real)1e-12;
    real inverse = (real)exp((double)((real)-0.5 * log_variance)), centred = x0 - mean;
    real upper = inverse * (centred + half), lower = inverse * (centred - half);
    real probability, by_l;
    if (x0 < (real)-0.999) {
        probability = approximate_cdf(upper);
        by_l = approximate_cdf_slope(upper) * (real)-0.5 * upper;
    } else if (x0 > (real)0.999) {
        probability = 1 - approximate_cdf(lower);
        by_l = approximate_cdf_slope(lower) * (real)0.5 * lower;
    } else {
        probability = approximate_cdf(upper) - approximate_cdf(lower);
        by_l = (real)-0.5 * (approximate_cdf_slope(upper) * upper - approximate_cdf_slope(lower) * lower);
    }
    bool clamped = probability < least;
    *slope = clamped ? 0 : -by_l / probability;
    return -(real)log((double)(clamped ? least : probability));
}

/* KL(N(m1, e^l1) || N(m2, e^l2)); *slope is its derivative by l2. */
static __device__ real normal_kl(real *slope, real m1, real l1, real m2, real l2)
{
    real ratio = expf(l1 - l2), distance = (m1 - m2) * (m1 - m2) * expf(-l2);
    *slope = (real)0.5 * (1 - ratio - distance);
    return (real)0.5 * (-1 + l2 - l1 + ratio + distance);
}

/* Bound of one element in bits; *slope is its derivative by the raw variance output v. */
static __device__ real bound_bits(real *slope, real eps, real v, real x0, real xt, const loss_coefficients *k)
{
    real fraction = (v + 1) / 2, guess = k->sqrt_recip_abar * xt - k->sqrt_recipm1_abar * eps;
    real mean = k->posterior_mean_x0 * guess + k->posterior_mean_xt * xt;
    real log_variance = fraction * k->log_beta + (1 - fraction) * k->posterior_log_variance;
    real value, by_l;
    if (k->at_zero) {
        value = discretised_nll(&by_l, x0, mean, log_variance);
    } else {
        real true_mean = k->posterior_mean_x0 * x0 + k->posterior_mean_xt * xt;
        value = normal_kl(&by_l, true_mean, k->posterior_log_variance, mean, log_variance);
    }
    *slope = by_l * (real)0.5 * (k->log_beta - k->posterior_log_variance) / LN2;
    return value / LN2;
}

/* A block has one sample of `count` elements. */
static __global__ void loss_fwd(real *mse, real *vb, const real *out, const real *noise, const real *x0, const real *xt,
                                const loss_coefficients *coef, int64_t count, bool learned_variance)
{
    int64_t sample = blockIdx.x, start = sample * count;
    const real *eps = out + (learned_variance ? 2 : 1) * start;
    loss_coefficients k = coef[sample];
    double square = 0, bits = 0;
    for (int64_t j = threadIdx.x; j < count; j += CUDA_THREADS) {
        real off = noise[start + j] - eps[j], slope;
        square += (double)(off * off);
        if (learned_variance)
            bits += (double)bound_bits(&slope, eps[j], eps[count + j], x0[start + j], xt[start + j], &k);
    }
    square = block_sum(square);
    bits = block_sum(bits);
    if (threadIdx.x > 0) return;
    mse[sample] = (real)(square / (double)count);
    vb[sample] = (real)(bits / (double)count);
}

/* A thread has one element of the noise and its variance. */
static __global__ void loss_bwd(real *dout, const real *dloss, const real *weight, const real *out, const real *noise,
                                const real *x0, const real *xt, const loss_coefficients *coef, int64_t n, int64_t count,
                                bool learned_variance)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * count) return;
    int64_t sample = i / count, at = learned_variance ? i + sample * count : i;
    real share = dloss[0] * weight[sample] / (real)count, slope;
    dout[at] += share * 2 * (out[at] - noise[i]);
    if (!learned_variance) return;
    bound_bits(&slope, out[at], out[at + count], x0[i], xt[i], &coef[sample]);
    dout[at + count] += share * slope;
}

static void diffusion_loss_fwd(real *mse, real *vb, const real *out, const real *noise, const real *x0, const real *xt,
                               const loss_coefficients *coef, int64_t n, int64_t c, int64_t r, bool learned_variance)
{
    if (n <= 0) return;
    loss_fwd<<<(unsigned)n, CUDA_THREADS, 0, cuda_stream>>>(mse, vb, out, noise, x0, xt, coef, c * r, learned_variance);
    CUDA_LAUNCHED("diffusion loss forward");
}

static void diffusion_loss_bwd(real *dout, const real *dloss, const real *weight, const real *out, const real *noise,
                               const real *x0, const real *xt, const loss_coefficients *coef, int64_t n, int64_t c,
                               int64_t r, bool learned_variance)
{
    int64_t count = c * r;
    if (n * count <= 0) return;
    loss_bwd<<<cuda_blocks(n * count, CUDA_THREADS), CUDA_THREADS, 0, cuda_stream>>>(
        dout, dloss, weight, out, noise, x0, xt, coef, n, count, learned_variance);
    CUDA_LAUNCHED("diffusion loss backward");
}

void cuda_register_loss(engine *e)
{
    e->diffusion_loss_fwd = diffusion_loss_fwd;
    e->diffusion_loss_bwd = diffusion_loss_bwd;
}
