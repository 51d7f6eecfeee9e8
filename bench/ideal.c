/* How fast the ideal denoiser goes through a set, as a share of what the machine's arithmetic can reach at most.
 *
 *     bench_ideal [COUNT [SIDE [BATCH [ROUNDS]]]]      defaults: 100000 pictures of 32x32, batches of 64, 3 rounds
 *
 * Pictures are random bytes in memory, shades of random pictures of 4x4 so that they are not all equally far from each other. At each
 * t a batch of noised pictures is asked about; counted are the two matrix products, 4 COUNT D operations a row, also where blocks
 * without weight let the second be left out. Times are the processors' own, divided by the threads: on a machine that others use too, wall
 * time says more about these. Set OMP_WAIT_POLICY=passive, so that waiting is not counted. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/open.h"
#include "model/ideal/ideal.h"
#include "register_loop.h"

typedef struct bytes {
    uint8_t *pixel;
    int64_t values;
} bytes;

static void get(const void *user, real *x, int64_t first, int64_t n)
{
    const bytes *b = user;
    const uint8_t *from = b->pixel + first * b->values;
    for (int64_t i = 0; i < n * b->values; i++) x[i] = (real)from[i] / 127.5F - 1;
}

static void fill(bytes *b, int64_t count, int64_t side)
{
#pragma omp parallel for
    for (int64_t i = 0; i < count; i++) {
        real shade[3 * 4 * 4], grain[64];
        rng_normal(shade, 48, (rng_key){1, RNG_INIT, 0, (uint32_t)i});
        rng_normal(grain, 64, (rng_key){1, RNG_INIT, 1, (uint32_t)i});
        for (int64_t j = 0; j < b->values; j++) {
            const int64_t at = j % (side * side), y = at / side * 4 / side, z = at % side * 4 / side;
            const double v = 128 + 50 * (double)shade[j / (side * side) * 16 + y * 4 + z] + 8 * (double)grain[j % 61];
            b->pixel[i * b->values + j] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
}

/* Seconds of all threads; of the program's own only, whoever else is busy on the machine. */
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double time_one(ctx *c, const denoiser *d, const bytes *b, int64_t n, int32_t t)
{
    const arena_place mark = arena_mark(&c->step);
    real *x = arena_alloc(&c->step, (size_t)(n * b->values) * sizeof *x, &c->error), times[4096];
    real *noise = arena_alloc(&c->step, (size_t)(n * b->values) * sizeof *x, &c->error);
    real *x0 = arena_alloc(&c->step, (size_t)(n * b->values) * sizeof *x, &c->error);
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    get(b, x0, 0, n);
    rng_normal(noise, n * b->values, (rng_key){2, RNG_INIT, 0, (uint32_t)t});
    for (int64_t i = 0; i < n; i++) times[i] = (real)t;
    schedule_add_noise(x, x0, noise, n * b->values, &s, t);
    const double start = cpu_s();
    ideal_posterior(c, d, x0, NULL, x, times, NULL, n);
    const double seconds = (cpu_s() - start) / c->threads;
    arena_release(&c->step, mark);
    return seconds;
}

int main(int argc, char **argv)
{
    static const int32_t steps[] = {0, 100, 300, 500, 700, 800, 900, 999};
    const int64_t count = argc > 1 ? atoll(argv[1]) : 100000, side = argc > 2 ? atoll(argv[2]) : 32;
    const int64_t n = argc > 3 ? atoll(argv[3]) : 64, rounds = argc > 4 ? atoll(argv[4]) : 3;
    bytes b = {.values = 3 * side * side};
    ctx c;
    denoiser d;
    b.pixel = malloc((size_t)(count * b.values));
    if (!b.pixel || ctx_open(&c, DT_DEVICE_CPU, 0, DT_ISA_AUTO) != DT_OK) return 1;
    fill(&b, count, side);
    const ideal_source from = {.count = count, .shape = {3, side, side}, .get = get, .user = &b};
    const double started = clock_s();
    if (ideal_open(&c, &d, &from, (process){NOISE_LINEAR, PREDICTS_NOISE, false}) != DT_OK) return 1;
    const double peak = c.threads * register_peak_gflops(1, false, 1000);
    printf("%lld pictures of %lldx%lld, batch %lld, %d threads; opened in %.2f s\n", (long long)count, (long long)side,
           (long long)side, (long long)n, c.threads, clock_s() - started);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        double best = INFINITY;
        for (int64_t k = 0; k < rounds; k++) best = fmin(best, time_one(&c, &d, &b, n, steps[i]));
        const double gflops = 4e-9 * (double)(count * b.values * n) / best;
        printf("t %3d  %7.2f ms a row  %6.1f GFLOP/s  %3.0f %% of %.1f\n", (int)steps[i], 1e3 * best / (double)n,
               gflops, 100 * gflops / peak, peak);
    }
    free(b.pixel);
    ctx_close(&c);
    return 0;
}
