/* A device for tests, under the name of the CUDA engine: the CPU's kernels, with memory of its own that can be reached while one of
 * them works, or a copy, and at no other time. Host code that uses a device's pointer ends there, as it would not with the CPU
 * engine, and so does a kernel or a copy that is handed a pointer of the host's; what is otherwise computed has the CPU engine's bits. A
 * loader that is told to look here first (LD_LIBRARY_PATH) finds it in place of the real one. For x86-64. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu/engine_cpu.h"

enum { REGIONS = 64, SLOTS_MAX = 128, THUNK_BYTES = 16 };

#define MEMORY    ((size_t)8 << 30)
#define HUGE_PAGE ((size_t)2 << 20) /* the gate moves pages, so few large ones */

static struct region {
    unsigned char *base;
    size_t backed;
} region[REGIONS];

static void *kernel[SLOTS_MAX];
static void *back_to; /* where the kernel that works was called */

/* ---- the gate ---- */

static void protect_all(int protection)
{
    for (int i = 0; i < REGIONS; i++)
        if (region[i].backed) mprotect(region[i].base, region[i].backed, protection);
}

static void open_gate(void)
{
    protect_all(PROT_READ | PROT_WRITE);
}

static void close_gate(void)
{
    protect_all(PROT_NONE);
}

/* ---- what is handed over ---- */

static bool is_ours(const void *p)
{
    for (int i = 0; i < REGIONS; i++)
        if ((const unsigned char *)p >= region[i].base && (const unsigned char *)p < region[i].base + region[i].backed)
            return true;
    return false;
}

static void must_be_ours(const void *p, const char *what, long number)
{
    if (is_ours(p)) return;
    fprintf(stderr, "guarded device: %s %ld is handed %p, which is not in its memory\n", what, number, p);
    abort();
}

static void must_be_the_hosts(const void *p, const char *what, long number)
{
    if (!is_ours(p)) return;
    fprintf(stderr, "guarded device: %s %ld is handed %p as the host's, which is in its memory\n", what, number, p);
    abort();
}

#define SLOT(kernel) ((long)((offsetof(engine, kernel) - offsetof(engine, gemm_gelu)) / sizeof(void *)))

/* How many of a kernel's first arguments are looked at: arrays, or numbers that are far too small to be addresses. What is in the
 * registers behind a kernel's arguments is nobody's. */
static int arguments_of(long slot)
{
    if (slot == SLOT(sum_squares) || slot == SLOT(adamw)) return 0; /* a list of the host's */
    return slot == SLOT(max_pool_fwd) || slot == SLOT(average_pool_fwd) || slot == SLOT(average_pool_bwd) ? 2 : 3;
}

static void check_rows(const adamw_row row[], int64_t rows)
{
    for (const adamw_row *r = row; r < row + rows; r++) {
        const void *const array[] = {r->w, r->g, r->m, r->v, r->ema ? r->ema : r->w, r->narrow ? r->narrow : r->w};
        for (size_t i = 0; i < sizeof array / sizeof *array; i++) must_be_ours(array[i], "adamw, array", (long)i);
    }
}

static void check_arguments(long slot, const uintptr_t argument[])
{
    static const uintptr_t least_address = (uintptr_t)1 << 40;
    if (slot == SLOT(adamw)) check_rows((const adamw_row *)argument[0], (int64_t)argument[-1]);
    for (int i = 0; i < arguments_of(slot); i++)
        if (argument[-i] >= least_address) must_be_ours((const void *)argument[-i], "kernel", slot);
}

/* Called by the code below, before a kernel and behind it. The first argument lies at `argument`, the next ones before it. */
__attribute__((used)) void *guarded_enter(long slot, void *caller, const uintptr_t argument[]);
__attribute__((used)) void *guarded_leave(void);

void *guarded_enter(long slot, void *caller, const uintptr_t argument[])
{
    check_arguments(slot, argument);
    back_to = caller;
    open_gate();
    return kernel[slot];
}

void *guarded_leave(void)
{
    close_gate();
    return back_to;
}

/* An entry of the table is a thunk that notes its number. Kernels take arguments of every kind, so their registers are put
 * by, and a kernel finds its stack as its caller left it, but for the place to return to. */
__asm__(".text\n"
        ".balign 16\n"
        "guarded_thunks:\n"
        ".set slot, 0\n"
        ".rept 128\n"
        ".balign 16\n"
        "pushq $slot\n"
        "jmp guarded_call\n"
        ".set slot, slot + 1\n"
        ".endr\n"
        "guarded_call:\n"
        "pushq %rdi\n pushq %rsi\n pushq %rdx\n pushq %rcx\n pushq %r8\n pushq %r9\n"
        "subq $128, %rsp\n"
        "movups %xmm0, (%rsp)\n movups %xmm1, 16(%rsp)\n movups %xmm2, 32(%rsp)\n movups %xmm3, 48(%rsp)\n"
        "movups %xmm4, 64(%rsp)\n movups %xmm5, 80(%rsp)\n movups %xmm6, 96(%rsp)\n movups %xmm7, 112(%rsp)\n"
        "movq 176(%rsp), %rdi\n"
        "movq 184(%rsp), %rsi\n"
        "leaq 168(%rsp), %rdx\n"
        "call guarded_enter\n"
        "movups (%rsp), %xmm0\n movups 16(%rsp), %xmm1\n movups 32(%rsp), %xmm2\n movups 48(%rsp), %xmm3\n"
        "movups 64(%rsp), %xmm4\n movups 80(%rsp), %xmm5\n movups 96(%rsp), %xmm6\n movups 112(%rsp), %xmm7\n"
        "addq $128, %rsp\n"
        "popq %r9\n popq %r8\n popq %rcx\n popq %rdx\n popq %rsi\n popq %rdi\n"
        "addq $16, %rsp\n"
        "leaq guarded_return(%rip), %r11\n"
        "pushq %r11\n"
        "jmpq *%rax\n"
        "guarded_return:\n"
        "subq $32, %rsp\n"
        "movq %rax, (%rsp)\n movups %xmm0, 16(%rsp)\n"
        "call guarded_leave\n"
        "movq %rax, %r11\n"
        "movq (%rsp), %rax\n movups 16(%rsp), %xmm0\n"
        "addq $32, %rsp\n"
        "jmpq *%r11\n");

extern const unsigned char guarded_thunks[] __attribute__((visibility("hidden")));

static void guard_kernels(engine *e)
{
    const size_t first = offsetof(engine, gemm_gelu) / sizeof(void *), count = sizeof *e / sizeof(void *) - first;
    void *thunk;
    _Static_assert((sizeof *e - offsetof(engine, gemm_gelu)) / sizeof(void *) <= SLOTS_MAX, "more kernels than thunks");
    for (size_t i = 0; i < count; i++) {
        void **entry = (void **)(void *)e + first + i;
        memcpy(&kernel[i], entry, sizeof kernel[i]);
        thunk = (void *)(guarded_thunks + i * THUNK_BYTES);
        if (kernel[i]) memcpy(entry, &thunk, sizeof thunk);
    }
}

/* ---- memory ---- */

static struct region *region_at(const void *base)
{
    for (int i = 0; i < REGIONS; i++)
        if (region[i].base == base) return &region[i];
    return NULL;
}

static void *reserve(size_t limit, dt_error *err)
{
    struct region *r = region_at(NULL);
    unsigned char *start = mmap(NULL, limit + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!r || start == MAP_FAILED) {
        error_set(err, DT_ERR_MEMORY, "guarded device: no more memory");
        return NULL;
    }
    const size_t before = -(uintptr_t)start % HUGE_PAGE;
    r->base = start + before;
    if (before) munmap(start, before);
    if (before < HUGE_PAGE) munmap(r->base + limit, HUGE_PAGE - before);
    madvise(r->base, limit, MADV_HUGEPAGE);
    return r->base;
}

static size_t extend(void *base, size_t backed, size_t bytes, dt_error *err)
{
    const size_t growth = HUGE_PAGE;
    (void)backed;
    (void)err;
    region_at(base)->backed = (bytes + growth - 1) / growth * growth;
    return region_at(base)->backed;
}

static void release(void *base, size_t limit, size_t backed)
{
    (void)backed;
    *region_at(base) = (struct region){0};
    munmap(base, limit);
}

static const arena_backing backing = {reserve, extend, release};

static void clear(void *numbers, size_t bytes)
{
    if (bytes) must_be_ours(numbers, "clearing of bytes", (long)bytes);
    open_gate();
    memset(numbers, 0, bytes);
    close_gate();
}

static void move(void *to, const void *from, size_t bytes)
{
    open_gate();
    memmove(to, from, bytes);
    close_gate();
}

static void copy(void *to, const void *from, size_t bytes)
{
    if (bytes) must_be_ours(to, "a copy of bytes", (long)bytes);
    if (bytes) must_be_ours(from, "a copy of bytes", (long)bytes);
    move(to, from, bytes);
}

static void upload(void *to, const void *host, size_t bytes)
{
    if (bytes) must_be_ours(to, "an upload of bytes", (long)bytes);
    if (bytes) must_be_the_hosts(host, "an upload of bytes", (long)bytes);
    move(to, host, bytes);
}

static dt_status download(void *host, const void *from, size_t bytes, dt_error *err)
{
    if (bytes) must_be_ours(from, "a download of bytes", (long)bytes);
    if (bytes) must_be_the_hosts(host, "a download of bytes", (long)bytes);
    move(host, from, bytes);
    return err->status;
}

static dt_status finish(dt_error *err)
{
    return err->status;
}

static void sizes(size_t *total, size_t *available)
{
    *total = *available = MEMORY;
}

/* What the real module is asked for (engine/device.c). */
__attribute__((visibility("default"))) dt_status difftune_engine_cuda(engine *e, int number, dt_error *err);

dt_status difftune_engine_cuda(engine *e, int number, dt_error *err)
{
    (void)number;
    memset(e, 0, sizeof *e);
    if (engine_cpu_fill(e, DT_ISA_AUTO, err) != DT_OK) return err->status;
    guard_kernels(e);
    snprintf(e->name, sizeof e->name, "guarded");
    e->remakes = false;
    e->memory = (engine_memory){.backing = &backing,
                                .clear = clear,
                                .copy = copy,
                                .upload = upload,
                                .download = download,
                                .finish = finish,
                                .sizes = sizes};
    return DT_OK;
}
