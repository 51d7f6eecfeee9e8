#include "cpu/engine_cpu.h"

#include <stdio.h>
#include <string.h>
#ifdef DT_X86_KERNELS
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/process.h"
#include "cpu/thread_room.h"

_Thread_local thread_memory thread_room;

/* The kernel files that are compiled for every instruction set, and those to which bfloat16 dot products bring something. */
#define ALL_FILES(X, isa)                                                                                              \
    X(gemm, isa)                                                                                                       \
    X(attention, isa)                                                                                                  \
    X(elementwise, isa) X(norm, isa) X(layout, isa) X(loss, isa) X(adamw, isa) X(conv, isa) X(group_norm, isa)
#define BF16_FILES(X, isa) X(gemm, isa) X(attention, isa)

#define DECLARE(file, isa) void cpu_register_##file##_##isa(engine *e);
#define CALL(file, isa)    cpu_register_##file##_##isa(e);

/* register_<isa>: puts the kernels of one instruction set into the table, over those that were there. */
#define DEFINE_REGISTER(FILES, isa)                                                                                    \
    FILES(DECLARE, isa)                                                                                                \
    static void register_##isa(engine *e)                                                                              \
    {                                                                                                                  \
        FILES(CALL, isa)                                                                                               \
    }

DEFINE_REGISTER(ALL_FILES, portable)

static bool runs_anywhere(void)
{
    return true;
}

#ifdef DT_X86_KERNELS
DEFINE_REGISTER(ALL_FILES, avx2)
DEFINE_REGISTER(ALL_FILES, avx512)
DEFINE_REGISTER(BF16_FILES, avx512bf16)
DEFINE_REGISTER(BF16_FILES, amx)

/* What the kernels were compiled for (CMakeLists.txt). __builtin_cpu_supports also asks whether the operating system
 * saves the wide registers. */
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool runs_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512cd");
}

static bool runs_avx512bf16(void)
{
    return __builtin_cpu_supports("avx512bf16");
}

/* Linux gives a process the tile registers when it asks (Documentation/arch/x86/xstate.rst). */
static bool runs_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    const unsigned amx_bf16 = 1U << 22, amx_tile = 1U << 24;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amx_bf16) || !(d & amx_tile)) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

/* From the lowest to the highest; each one needs those before it. */
static const struct {
    dt_isa isa;
    const char *name;
    bool (*runs_here)(void);
    void (*register_kernels)(engine *e);
} levels[] = {
    {DT_ISA_PORTABLE, "portable", runs_anywhere, register_portable},
#ifdef DT_X86_KERNELS
    {DT_ISA_AVX2, "avx2", runs_avx2, register_avx2},
    {DT_ISA_AVX512, "avx512", runs_avx512, register_avx512},
    {DT_ISA_AVX512BF16, "avx512bf16", runs_avx512bf16, register_avx512bf16},
    {DT_ISA_AMX, "amx", runs_amx, register_amx},
#endif
};

enum { LEVELS = sizeof levels / sizeof *levels };

static void clear(void *numbers, size_t bytes)
{
    memset(numbers, 0, bytes);
}

static void copy(void *to, const void *from, size_t bytes)
{
    if (to != from) memcpy(to, from, bytes);
}

static dt_status download(void *host, const void *from, size_t bytes, dt_error *err)
{
    copy(host, from, bytes);
    return err->status;
}

static dt_status finish(dt_error *err)
{
    return err->status;
}

/* Of the rooms of all threads. Most of a room is used sooner or later by most networks. */
static size_t room_untouched(void)
{
    const size_t page = process_page_bytes(false);
    size_t untouched = 0;
#pragma omp parallel reduction(+ : untouched)
    {
        const uintptr_t from = ((uintptr_t)&thread_room + page - 1) / page * page,
                        to = (uintptr_t)(&thread_room + 1) / page * page;
        untouched += process_untouched((const void *)from, to - from);
    }
    return untouched;
}

dt_status engine_cpu_fill(engine *e, dt_isa isa, dt_error *err)
{
    memset(e, 0, sizeof *e);
    e->narrow = sizeof(real) == sizeof(float);
    e->remakes = true;
    e->memory = (engine_memory){
        .clear = clear, .copy = copy, .upload = copy, .download = download, .finish = finish, .beside = room_untouched};
    int top = -1;
    while (top + 1 < LEVELS && (isa == DT_ISA_AUTO || levels[top + 1].isa <= isa) && levels[top + 1].runs_here()) {
        top++;
        levels[top].register_kernels(e);
    }
    if (isa != DT_ISA_AUTO && levels[top].isa != isa)
        return error_set(err, DT_ERR_UNSUPPORTED, "isa: this machine or build has no more than %s", levels[top].name);
    snprintf(e->name, sizeof e->name, "cpu %s", levels[top].name);
    return DT_OK;
}
