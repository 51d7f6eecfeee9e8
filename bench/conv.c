/* How long convolutions of Stable Diffusion's UNet take.
 *
 *     bench_conv [f32|bf16 [ISA [LAPS]]]     defaults: bf16, the best instruction set, 5 laps
 *
 * A line for each shape: its name, and the milliseconds of y, dx and dw, best of the laps. bf16 is with narrow images and
 * gradients of them, as in a residual branch. Times are the processors' own, divided by the threads, so that they hold on a
 * machine that others use too. Set OMP_WAIT_POLICY=passive, so that waiting is not counted. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "cpu/engine_cpu.h"

typedef struct conv_shape {
    const char *name;
    int64_t side, in, out, window, stride;
} conv_shape;

static const conv_shape shapes[] = {
    {"320 at 64", 64, 320, 320, 3, 1},
    {"320 at 32", 32, 320, 320, 3, 1},
    {"640 at 32", 32, 640, 640, 3, 1},
    {"640 at 16", 16, 640, 640, 3, 1},
    {"1280 at 16", 16, 1280, 1280, 3, 1},
    {"1280 at 8", 8, 1280, 1280, 3, 1},
    {"320 at 64, by 2", 64, 320, 320, 3, 2},
    {"640 at 32, by 2", 32, 640, 640, 3, 2},
    {"960 to 320 at 32, 1x1", 32, 960, 320, 1, 1},
    {"4 to 320 at 64", 64, 4, 320, 3, 1},
};

typedef struct arrays {
    real *x, *y, *w, *dx, *dw;
} arrays;

static real *random_numbers(int64_t count, bool narrow)
{
    real *x = aligned_alloc(64, (size_t)(count * (int64_t)sizeof *x + 63) / 64 * 64);
    if (!x) exit(1);
    uint64_t seed = 1;
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        const float value = (float)(int32_t)(seed >> 32) * 0x1p-31F;
        if (narrow)
            ((uint16_t *)x)[i] = half_bf16_from_f32(value);
        else
            x[i] = value;
    }
    return x;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec) / omp_get_max_threads();
}

/* Of y (0), dx (1) or dw (2). */
static void call(const engine *e, int which, arrays a, window_sizes z, int64_t o, bool bf16)
{
    const int flags = bf16 ? GEMM_BF16 | GEMM_NARROW_A : 0;
    if (which == 0) e->conv_fwd(a.y, a.x, a.w, NULL, z, o, bf16 ? flags | GEMM_NARROW_C : 0);
    if (which == 1) e->conv_bwd_x(a.dx, a.y, a.w, z, o, bf16 ? flags | GEMM_NARROW_C : 0);
    if (which == 2) e->conv_bwd_w(a.dw, a.y, a.x, z, o, bf16 ? flags | GEMM_NARROW_B : 0);
}

static void measure(const engine *e, const conv_shape *s, bool bf16, int laps)
{
    window_sizes z = {.n = 1, .h = s->side, .w = s->side, .c = s->in};
    z.side_h = z.side_w = s->window, z.stride = s->stride, z.pad_h = z.pad_w = s->window / 2;
    z.out_h = z.out_w = (s->side + 2 * z.pad_h - s->window) / s->stride + 1;
    const int64_t pixels = z.h * z.w * z.c, taps = s->out * s->window * s->window * s->in;
    arrays a = {random_numbers(pixels, bf16), random_numbers(z.out_h * z.out_w * s->out, bf16),
                random_numbers(taps, false), random_numbers(pixels, bf16), random_numbers(taps, false)};
    printf("%s;", s->name);
    for (int which = 0; which < 3; which++) {
        double best = INFINITY;
        for (int lap = 0; lap <= laps; lap++) {
            const double start = cpu_ms();
            call(e, which, a, z, s->out, bf16);
            if (lap) best = fmin(best, cpu_ms() - start);
        }
        printf(" %.4f", best);
    }
    printf("\n");
    free(a.x);
    free(a.y);
    free(a.w);
    free(a.dx);
    free(a.dw);
}

/* The engine of one instruction set by its name, or the best without one. */
static bool open_engine(engine *e, const char *name)
{
    dt_error err = {0};
    if (!name) return engine_cpu_fill(e, DT_ISA_AUTO, &err) == DT_OK;
    for (dt_isa isa = DT_ISA_PORTABLE; engine_cpu_fill(e, isa, &err) == DT_OK; isa++)
        if (strcmp(strchr(e->name, ' ') + 1, name) == 0) return true;
    return false;
}

int main(int argc, char **argv)
{
    engine e;
    const bool bf16 = argc < 2 || strcmp(argv[1], "f32") != 0;
    if (!open_engine(&e, argc > 2 && strcmp(argv[2], "auto") != 0 ? argv[2] : NULL)) return 1;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        measure(&e, &shapes[i], bf16, argc > 3 ? atoi(argv[3]) : 5);
    return 0;
}
