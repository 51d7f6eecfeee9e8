/* The diffusion loss of DiT: noise MSE plus, where the model learns its variance, the variational bound in bits with
 * the noise part detached (Nichol and Dhariwal 2021; facebookresearch/DiT diffusion/gaussian_diffusion.py, LEARNED_RANGE). */
#include "cpu/kernel.h"
#include "cpu/vector.h"

#define LN2 ((real)0.69314718055994530942)

/* What the learned-variance channel says about one element. */
typedef struct bound_element {
    real fraction;     /* (v + 1) / 2 */
    real mean;         /* model's mean of x_{t-1} */
    real log_variance; /* fraction*log beta + (1-fraction)*clipped posterior log variance */
} bound_element;

static inline bound_element bound_at(real eps, real v, real xt, const loss_coefficients *k)
{
    real fraction = (v + 1) / 2, x0 = k->sqrt_recip_abar * xt - k->sqrt_recipm1_abar * eps;
    return (bound_element){fraction, k->posterior_mean_x0 * x0 + k->posterior_mean_xt * xt,
                           fraction * k->log_beta + (1 - fraction) * k->posterior_log_variance};
}

/* KL(N(m1, e^l1) || N(m2, e^l2)), and its derivative by l2. */
static inline real normal_kl(real m1, real l1, real m2, real l2)
{
    return (real)0.5 * (-1 + l2 - l1 + vector_exp(l1 - l2) + (m1 - m2) * (m1 - m2) * vector_exp(-l2));
}

static inline real normal_kl_by_l2(real m1, real l1, real m2, real l2)
{
    return (real)0.5 * (1 - vector_exp(l1 - l2) - (m1 - m2) * (m1 - m2) * vector_exp(-l2));
}

/* The tanh form of the normal distribution function, and its derivative. */
static inline real approximate_cdf(real x)
{
    return (real)0.5 * (1 + (real)tanh((real)0.79788456080286535588 * (x + (real)0.044715 * x * x * x)));
}

static inline real approximate_cdf_slope(real x)
{
    real c = (real)0.79788456080286535588, h = (real)tanh(c * (x + (real)0.044715 * x * x * x));
    return (real)0.5 * (1 - h * h) * c * (1 + (real)(3 * 0.044715) * x * x);
}

/* Negative log likelihood of x0 as an 8-bit value under N(mean, e^log_variance): bins of half width 1/255, open ends
 * beyond +-0.999, probabilities clamped at 1e-12. *slope receives the derivative by log_variance. */
static real discretised_nll(real *slope, real x0, real mean, real log_variance)
{
    const real half = (real)(1.0 / 255.0), floor_ = (real)1e-12;
    real inverse = (real)exp((real)-0.5 * log_variance), centred = x0 - mean;
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
    bool clamped = probability < floor_;
    *slope = clamped ? 0 : -by_l / probability;
    return -(real)log(clamped ? floor_ : probability);
}

/* Bound of one element in bits; *slope by the raw variance output v. */
static inline real bound_bits(real *slope, real eps, real v, real x0, real xt, const loss_coefficients *k)
{
    bound_element b = bound_at(eps, v, xt, k);
    real value, by_l;
    if (k->at_zero) {
        value = discretised_nll(&by_l, x0, b.mean, b.log_variance);
    } else {
        real true_mean = k->posterior_mean_x0 * x0 + k->posterior_mean_xt * xt;
        value = normal_kl(true_mean, k->posterior_log_variance, b.mean, b.log_variance);
        by_l = normal_kl_by_l2(true_mean, k->posterior_log_variance, b.mean, b.log_variance);
    }
    *slope = by_l * (real)0.5 * (k->log_beta - k->posterior_log_variance) / LN2;
    return value / LN2;
}

static void diffusion_loss_fwd(real *mse, real *vb, const real *out, const real *noise, const real *x0, const real *xt,
                               const loss_coefficients *coef, int64_t n, int64_t c, int64_t r, bool learned_variance)
{
    int64_t count = c * r, out_stride = learned_variance ? 2 * count : count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const real *eps = out + i * out_stride, *target = noise + i * count;
        double square = 0, bits = 0;
        for (int64_t j = 0; j < count; j++) square += (double)((target[j] - eps[j]) * (target[j] - eps[j]));
        for (int64_t j = 0; learned_variance && j < count; j++) {
            real slope;
            bits += (double)bound_bits(&slope, eps[j], eps[count + j], x0[i * count + j], xt[i * count + j], &coef[i]);
        }
        mse[i] = (real)(square / (double)count);
        vb[i] = (real)(bits / (double)count);
    }
}

static void diffusion_loss_bwd(real *dout, const real *dloss, const real *weight, const real *out, const real *noise,
                               const real *x0, const real *xt, const loss_coefficients *coef, int64_t n, int64_t c,
                               int64_t r, bool learned_variance)
{
    int64_t count = c * r, out_stride = learned_variance ? 2 * count : count;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const real *eps = out + i * out_stride, *target = noise + i * count;
        real *d = dout + i * out_stride, share = dloss[0] * weight[i] / (real)count;
        for (int64_t j = 0; j < count; j++) d[j] += share * 2 * (eps[j] - target[j]);
        for (int64_t j = 0; learned_variance && j < count; j++) {
            real slope;
            bound_bits(&slope, eps[j], eps[count + j], x0[i * count + j], xt[i * count + j], &coef[i]);
            d[count + j] += share * slope;
        }
    }
}

void CPU_FN(cpu_register_loss)(engine *e)
{
    e->diffusion_loss_fwd = diffusion_loss_fwd;
    e->diffusion_loss_bwd = diffusion_loss_bwd;
}
