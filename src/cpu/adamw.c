/* The optimiser's pass over the weights: decoupled weight decay (Loshchilov and Hutter 2019), bias correction as in
 * torch.optim.AdamW, and the moving average of the weights, all in one pass over memory; and other averages of
 * them in a pass each. */
#include "cpu/kernel.h"
#include "cpu/narrow.h"
#include "tensor/moment.h"

enum { BLOCK = 4096 };

/* What the update multiplies by beside the coefficients themselves. */
typedef struct factors {
    real step, root, decay;
} factors;

ONE_KIND void update(const adamw_row *row, int64_t begin, int64_t end, adamw_coefficients k, factors f, bool narrow)
{
    const adamw_row r = *row;
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const real grad = r.g[i] * k.grad_scale;
        const real first = k.beta1 * read_number(r.m, i, narrow) + (1 - k.beta1) * grad;
        const real second = k.beta2 * read_number(r.v, i, narrow) + (1 - k.beta2) * grad * grad;
        r.w[i] = f.decay * r.w[i] - f.step * first / ((real)sqrt(second) * f.root + k.epsilon);
        if (narrow) {
            const uint32_t noise = moment_noise(r.noise, (uint32_t)(r.first + i));
            ((narrow_number *)r.m)[i] = moment_bits((float)first, noise & 0xffff);
            ((narrow_number *)r.v)[i] = moment_bits((float)second, noise >> 16);
        } else {
            ((real *)r.m)[i] = first;
            ((real *)r.v)[i] = second;
        }
    }
}

static void follow(real *ema, const real *w, int64_t begin, int64_t end, real decay)
{
#pragma omp simd
    for (int64_t i = begin; i < end; i++) ema[i] = decay * ema[i] + (1 - decay) * w[i];
}

static void adamw(const adamw_row row[], int64_t rows, adamw_coefficients k, int flags)
{
    const factors f = {k.learning_rate / k.bias1, 1 / (real)sqrt(k.bias2), 1 - k.learning_rate * k.weight_decay};
#pragma omp parallel
    for (const adamw_row *r = row; r < row + rows; r++) {
#pragma omp for schedule(static) nowait
        for (int64_t block = 0; block < r->count; block += BLOCK) {
            const int64_t end = least(block + BLOCK, r->count);
            WITH_KIND(flags & NARROW, update, r, block, end, k, f);
            if (r->ema) follow(r->ema, r->w, block, end, k.ema_decay);
        }
    }
}

static void round_all(void *narrow, const real *x, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) write_number(narrow, i, x[i], true);
}

static void widen_all(real *x, const void *narrow, int64_t count)
{
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) x[i] = read_number(narrow, i, true);
}

/* As torch.lerp has it: written from the nearer end, so that both ends are exact. */
static void average(real *y, const real *x, int64_t count, real share)
{
    const bool near_x = share >= (real)0.5;
    const real part = near_x ? 1 - share : share;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < count; block += BLOCK) {
        int64_t end = least(block + BLOCK, count);
        if (near_x) {
#pragma omp simd
            for (int64_t i = block; i < end; i++) y[i] = x[i] - part * (x[i] - y[i]);
        } else {
#pragma omp simd
            for (int64_t i = block; i < end; i++) y[i] += part * (x[i] - y[i]);
        }
    }
}

/* Blocks are summed by themselves and then in order, so the result does not depend on who summed which. */
static double squares_of(const real *x, int64_t count)
{
    enum { BLOCKS_AT_ONCE = 1024 };
    double total = 0, partial[BLOCKS_AT_ONCE];
    for (int64_t start = 0; start < count; start += (int64_t)BLOCK * BLOCKS_AT_ONCE) {
        int64_t blocks = least((count - start + BLOCK - 1) / BLOCK, BLOCKS_AT_ONCE);
#pragma omp parallel for schedule(static)
        for (int64_t b = 0; b < blocks; b++) {
            int64_t first = start + b * BLOCK, end = least(first + BLOCK, count);
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = first; i < end; i++) sum += (double)x[i] * (double)x[i];
            partial[b] = sum;
        }
        for (int64_t b = 0; b < blocks; b++) total += partial[b];
    }
    return total;
}

static double sum_squares(const real *const x[], const int64_t count[], int64_t arrays)
{
    double total = 0;
    for (int64_t i = 0; i < arrays; i++) total += squares_of(x[i], count[i]);
    return total;
}

void CPU_FN(cpu_register_adamw)(engine *e)
{
    e->round = round_all;
    e->widen = widen_all;
    e->adamw = adamw;
    e->average = average;
    e->sum_squares = sum_squares;
}
