/* Compares every entry of the engine table between instruction sets, and measures it.
 *
 *     check_kernels           every table the machine has against the portable one: odd sizes, tails, extreme values, guards,
 *                             narrow arrays against float
 *     check_kernels --bench   GFLOP/s or GB/s of each entry beside what a register loop and a large copy reach; with
 *                             avx2 after it for instance, those of that instruction set; with cuda, those of the GPU beside
 *                             what a large product and a large copy reach there
 *
 * What is called with what is in kernel_cases.h. */
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../bench/register_loop.h"
#include "cpu/engine_cpu.h"
#include "engine/device.h"
#include "kernel_cases.h"

enum { LAPS = 12 };

/* ---- comparing ---- */

static work run_once(const check *c, const engine *e, dims z, bool narrow, int laps)
{
    work w = {.engine = e, .narrow = narrow, .laps = laps, .seed = 99};
    c->run(&w, e, z);
    return w;
}

static void free_work(work *w)
{
    for (int i = 0; i < w->count; i++) free_memory(w, w->arrays[i].memory);
}

static uint16_t word_at(const array *x, int64_t i)
{
    return ((const uint16_t *)(x->memory + GUARD))[i];
}

static bool guards_stand(const array *x)
{
    for (int64_t i = 0; i < GUARD; i++)
        if (x->memory[i] != GUARD_VALUE || x->memory[GUARD + x->count + i] != GUARD_VALUE) return false;
    for (int64_t i = x->count; x->packed && i < 2 * x->count; i++)
        if (word_at(x, i) != GUARD_WORD) return false;
    return true;
}

static float number_at(const array *x, int64_t i)
{
    return x->packed ? half_f32_from_bf16(word_at(x, i)) : x->memory[GUARD + i];
}

/* A GPU adds in another order, and its matrix units cut off more of the smaller terms. */
static double factor_of(const engine *e)
{
    return e->memory.backing ? 3 : 1;
}

/* How much of its tolerance the difference uses up; an input that changed uses more than all of it. */
static double used_tolerance(const array *a, const array *b)
{
    double worst = 0;
    for (int64_t i = 0; i < a->count; i++) {
        float x = number_at(a, i), y = number_at(b, i);
        if (x == y || (isnan(x) && isnan(y))) continue;
        double used = a->tolerance > 0 ? fabs((double)x - y) / (1 + fabs((double)x)) / a->tolerance : INFINITY;
        worst = used > worst || isnan(used) ? (isnan(used) ? INFINITY : used) : worst;
    }
    return worst;
}

static bool compare_case(const check *c, const engine *portable, const engine *other, dims z, bool narrow,
                         double *worst)
{
    work a = run_once(c, portable, z, narrow, 1), b = run_once(c, other, z, narrow, 1);
    bool good = true;
    for (int i = 0; i < a.count; i++) {
        double used = used_tolerance(&a.arrays[i], &b.arrays[i]) / (b.arrays[i].packed ? 1 : factor_of(other));
        bool stand = guards_stand(&a.arrays[i]) && guards_stand(&b.arrays[i]);
        *worst = fmax(*worst, used);
        if (used <= 1 && stand) continue;
        printf("    n %ld s %ld d %ld%s, array %d: %g of the tolerance%s\n", (long)z.n, (long)z.s, (long)z.d,
               z.extreme ? " extreme" : "", i, used, stand ? "" : ", written outside its bounds");
        good = false;
    }
    free_work(&a);
    free_work(&b);
    return good;
}

static bool compare_entry(const check *c, const engine *portable, const engine *other, bool narrow)
{
    static const int64_t shapes[][3] = {
        {1, 1, 1},    {1, 2, 3},    {2, 3, 5},   {1, 5, 7},   {3, 4, 8},    {2, 7, 9},   {1, 17, 15},
        {2, 16, 16},  {3, 5, 17},   {1, 33, 31}, {5, 64, 33}, {1, 9, 65},   {1, 3, 257}, {2, 5, 1000},
        {3, 67, 129}, {2, 64, 192}, {1, 530, 2}, {2, 77, 40}, {1, 50, 160}, {2, 65, 72}, {1, 98, 80}};
    bool good = true;
    double worst = 0;
    int cases = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int extreme = 0; extreme <= 1; extreme++, cases++) {
            dims z = {shapes[i][0], shapes[i][1], shapes[i][2], extreme};
            good = compare_case(c, portable, other, z, narrow, &worst) && good;
        }
    printf("%-20s %s  %d %scases, at most %.2f of the tolerance\n", c->name, good ? "ok    " : "FAILED", cases,
           narrow ? "narrow " : "", worst);
    return good;
}

static int compare_all(const engine *portable, const engine *other)
{
    int failures = 0;
    printf("%s against %s\n", other->name, portable->name);
    for (int i = 0; i < CHECKS; i++) {
        if (checks[i].offset != offsetof(engine, round) + (size_t)i * sizeof(void (*)(void))) {
            printf("%-20s FAILED  is not in the place it has in the engine table\n", checks[i].name);
            failures++;
        }
        failures += !compare_entry(&checks[i], portable, other, false);
        if (checks[i].narrow && other->narrow) failures += !compare_entry(&checks[i], portable, other, true);
    }
    printf("%d entries, %d failures\n", CHECKS, failures);
    return failures;
}

/* ---- measuring ---- */

static double measure_copy(int threads)
{
    const int64_t count = 32 << 20;
    work w = {.seed = 1};
    float *to = new_array(&w, count, 0, 0, 1), *from = new_array(&w, count, 0, 0, 1);
    double best = INFINITY;
    for (int lap = 0; lap < LAPS; lap++) {
        double start = seconds();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t part = 0; part < 64; part++)
            memcpy(to + part * (count / 64), from + part * (count / 64), (size_t)(count / 64) * sizeof *to);
        best = fmin(best, seconds() - start);
    }
    free_work(&w);
    return 2 * sizeof(float) * (double)count / best / 1e9;
}

/* Room that the GPU's kernels work on must not be in its caches: many times as large as they are. */
static double measure_device_copy(const engine *e)
{
    const size_t bytes = (size_t)1 << 30;
    work w = {.engine = e, .laps = LAPS};
    void *to = new_memory(&w, bytes), *from = new_memory(&w, bytes);
    e->memory.clear(from, bytes);
    CALL(&w, e->memory.copy(to, from, bytes));
    return 2 * (double)bytes / w.best_seconds / 1e9;
}

static void print_rate(const char *name, const work *w, double peak, double copy)
{
    const bool on_device = w->engine && w->engine->memory.backing;
    bool arithmetic = w->flops > 0;
    double rate = (arithmetic ? w->flops : w->bytes) / w->best_seconds / 1e9;
    printf("  %-34s %9.1f us %8.1f %s %5.0f %% of %s\n", name, 1e6 * w->best_seconds, rate,
           arithmetic ? "GFLOP/s" : "GB/s   ", 100 * rate / (arithmetic ? peak : copy),
           !arithmetic ? "a large copy"
           : on_device ? "the large product"
                       : "the register loop");
}

static void bench_gemm(const engine *e, double peak)
{
    static const struct {
        const char *name;
        int64_t m, n, k;
        int flags;
    } shapes[] = {
        {"gemm forward, qkv", 4096, 576, 192, GEMM_TRANS_B},
        {"gemm forward, projection", 4096, 192, 192, GEMM_TRANS_B},
        {"gemm forward, fc1", 4096, 768, 192, GEMM_TRANS_B},
        {"gemm forward, fc2", 4096, 192, 768, GEMM_TRANS_B},
        {"gemm forward, fc2 bf16", 4096, 192, 768, GEMM_TRANS_B | GEMM_BF16},
        {"gemm forward, width 384 fc1", 2048, 1536, 384, GEMM_TRANS_B},
        {"gemm forward, width 1152 fc1", 1024, 4608, 1152, GEMM_TRANS_B},
        {"gemm forward, modulation", 64, 1152, 192, GEMM_TRANS_B},
        {"gemm input gradient, fc1", 4096, 192, 768, 0},
        {"gemm input gradient, fc2", 4096, 768, 192, 0},
        {"gemm weight gradient, fc1", 768, 192, 4096, GEMM_TRANS_A | GEMM_ACCUMULATE},
        {"gemm weight gradient, fc2", 192, 768, 4096, GEMM_TRANS_A | GEMM_ACCUMULATE},
        {"gemm weight gradient, 1152 fc1", 4608, 1152, 1024, GEMM_TRANS_A | GEMM_ACCUMULATE},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        work w = {.laps = 2 * LAPS, .seed = 99};
        run_gemm_case(&w, e, shapes[i].m, shapes[i].n, shapes[i].k, 0, shapes[i].flags);
        print_rate(shapes[i].name, &w, peak, 0);
        free_work(&w);
    }
}

/* Stable Diffusion's: a picture's tokens to each other and to those of a text, widths 40 and 160; and a text's. The bare f32
 * arithmetic, or with `flags` bfloat16 in narrow arrays. */
static void bench_attention(const engine *e, int64_t samples, int flags, double peak, double copy)
{
    static const struct {
        const char *name;
        int64_t s, keys, k, e;
        bool causal;
    } shapes[] = {
        {"attention, width 40", 1024, 1024, 8, 40, false},
        {"attention, width 160", 256, 256, 8, 160, false},
        {"attention to a text, width 40", 1024, 77, 8, 40, false},
        {"attention, causal, width 64", 77, 77, 12, 64, true},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int back = 0; back <= 1; back++) {
            const int64_t width = shapes[i].k * shapes[i].e;
            attention_sizes z = {samples,     shapes[i].s, shapes[i].keys, shapes[i].k,
                                 shapes[i].e, width,       width,          shapes[i].causal};
            work w = {.engine = e, .narrow = flags & NARROW, .laps = LAPS, .seed = 99};
            char name[48];
            snprintf(name, sizeof name, "%s%s", shapes[i].name, back ? ", back" : "");
            (back ? run_attention_bwd_case : run_attention_fwd_case)(&w, e, z, false, flags);
            print_rate(name, &w, peak, copy);
            free_work(&w);
        }
}

static void bench_entry(const engine *e, const check *c, dims z, double peak, double copy)
{
    for (int narrow = 0; narrow <= (c->narrow && e->narrow); narrow++) {
        char name[40];
        work w = run_once(c, e, z, narrow, LAPS);
        snprintf(name, sizeof name, "%s%s", c->name, narrow ? ", narrow" : "");
        print_rate(name, &w, peak, copy);
        free_work(&w);
    }
}

/* DiT of width 192: 64 samples of 64 tokens. */
static void bench(const engine *e, int threads)
{
    static const dims tiny = {64, 64, 192, false}, images = {64, 64, 3, false};
    double peak = register_peak_gflops(threads, false, 4 * LAPS), copy = measure_copy(threads);
    omp_set_num_threads(threads);
    printf("%s, %d thread%s: register loop %.1f GFLOP/s, large copy %.1f GB/s\n", e->name, threads,
           threads > 1 ? "s" : "", peak, copy);
    bench_gemm(e, peak);
    bench_attention(e, 1, 0, peak, copy);
    for (int i = 1; i < CHECKS; i++) {
        bool of_images = strstr(checks[i].name, "patchify") || strstr(checks[i].name, "loss");
        bench_entry(e, &checks[i], of_images ? images : tiny, peak, copy);
    }
}

/* DiT-XL/2: 32 samples of 256 tokens. Products of bf16 beside a large one of them. */
static void bench_device(const engine *e)
{
    static const dims wide = {32, 256, 1152, false}, images = {256, 32, 4, false};
    static const struct {
        const char *name;
        int64_t m, n, k;
        int flags;
    } shapes[] = {
        {"gemm forward, qkv", 8192, 3456, 1152, GEMM_TRANS_B | GEMM_BF16},
        {"gemm forward, fc1", 8192, 4608, 1152, GEMM_TRANS_B | GEMM_BF16},
        {"gemm forward, fc2", 8192, 1152, 4608, GEMM_TRANS_B | GEMM_BF16},
        {"gemm forward, fc2 f32", 8192, 1152, 4608, GEMM_TRANS_B},
        {"gemm input gradient, fc1", 8192, 1152, 4608, GEMM_BF16},
        {"gemm weight gradient, fc1", 4608, 1152, 8192, GEMM_TRANS_A | GEMM_ACCUMULATE | GEMM_BF16},
    };
    work large = {.engine = e, .laps = LAPS, .seed = 99};
    run_gemm_case(&large, e, 8192, 8192, 8192, 0, GEMM_BF16 | GEMM_TRANS_B);
    double peak = large.flops / large.best_seconds / 1e9, copy = measure_device_copy(e);
    printf("%s: large product %.0f GFLOP/s, large copy %.0f GB/s\n", e->name, peak, copy);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        work w = {.engine = e, .laps = 2 * LAPS, .seed = 99};
        run_gemm_case(&w, e, shapes[i].m, shapes[i].n, shapes[i].k, 0, shapes[i].flags);
        print_rate(shapes[i].name, &w, peak, copy);
    }
    bench_attention(e, 8, 0, peak, copy);
    bench_attention(e, 8, GEMM_BF16 | NARROW, peak, copy);
    for (int i = 1; i < CHECKS; i++) {
        bool of_images = strstr(checks[i].name, "patchify") || strstr(checks[i].name, "loss");
        bool of_convolutions = checks[i].offset >= offsetof(engine, conv_fwd);
        dims z = of_images ? images : of_convolutions ? (dims){8, 64, 192, false} : wide;
        bench_entry(e, &checks[i], z, peak, copy);
    }
}

/* The engine of one instruction set by its name, or the best without one. */
static bool open_engine(engine *e, const char *name)
{
    dt_error err = {0};
    if (!name) return engine_cpu_fill(e, DT_ISA_AUTO, &err) == DT_OK;
    for (dt_isa isa = DT_ISA_PORTABLE; engine_cpu_fill(e, isa, &err) == DT_OK; isa++)
        if (strcmp(strchr(e->name, ' ') + 1, name) == 0) return true;
    fprintf(stderr, "check_kernels: %s is no instruction set of this machine and build\n", name);
    return false;
}

static int bench_all(const char *name)
{
    engine e;
    dt_error err = {0};
    int threads = omp_get_max_threads();
    if (name && !strcmp(name, "cuda")) {
        if (device_load(&e, 0, &err) == DT_OK) bench_device(&e);
        if (err.status != DT_OK) fprintf(stderr, "check_kernels: %s\n", err.message);
        return err.status != DT_OK;
    }
    if (!open_engine(&e, name)) return 1;
    for (int t = 1; t <= threads; t = t < threads && 2 * t > threads ? threads : 2 * t) bench(&e, t);
    return 0;
}

static int compare_instruction_sets(void)
{
    engine portable, other;
    dt_error err = {0};
    dt_isa isa = DT_ISA_PORTABLE;
    int failures = 0;
    if (engine_cpu_fill(&portable, DT_ISA_PORTABLE, &err) != DT_OK) return 1;
    portable.narrow = false; /* what narrow arrays are compared with is computed with float */
    for (; engine_cpu_fill(&other, isa, &err) == DT_OK; isa++) failures += compare_all(&portable, &other);
    if (isa <= CPU_ISA_HIGHEST) printf("the rest is skipped: %s\n", err.message);
    error_clear(&err);
    if (device_load(&other, 0, &err) == DT_OK)
        failures += compare_all(&portable, &other);
    else
        printf("the GPU is skipped: %s\n", err.message);
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc == 1) return compare_instruction_sets();
    if (argc <= 3 && strcmp(argv[1], "--bench") == 0) return bench_all(argv[2]);
    fprintf(stderr, "usage: check_kernels [--bench [INSTRUCTION-SET]]\n");
    return 2;
}
