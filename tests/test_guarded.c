/* The guarded device itself (guarded/guarded_device.c), which stands in for a GPU in the second rounds of other tests: what it
 * catches, and that a run on it has the CPU engine's bits. Skipped where it is not loaded. */
#include "control_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "tensor/context.h"

static void skip_unguarded(void)
{
    if (!fixture_is_guarded()) skip();
}

/* The signal that ends a process which does that to an array of the device; 0: none. */
static int signal_of(void (*work)(ctx *c, real *numbers, int64_t count))
{
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        ctx c;
        signal(SIGSEGV, SIG_DFL);
        if (ctx_open(&c, DT_DEVICE_CUDA, 1, DT_ISA_AUTO) != DT_OK) _exit(1);
        tensor *t = tensor_new(&c, &c.model, 1, (int64_t[]){8});
        if (!t) _exit(1);
        c.engine.memory.clear(t->data, tensor_bytes(t));
        work(&c, t->data, 8);
        _exit(ctx_failed(&c));
    }
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void reads(ctx *c, real *numbers, int64_t count)
{
    (void)c;
    if (((volatile real *)numbers)[count - 1] != 0) _exit(1);
}

static void writes(ctx *c, real *numbers, int64_t count)
{
    (void)c;
    ((volatile real *)numbers)[count - 1] = 1;
}

static void sends_and_fetches(ctx *c, real *numbers, int64_t count)
{
    real host[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8] = {0};
    numbers_send(c, numbers, host, count);
    c->engine.accumulate(numbers, numbers, count);
    numbers_fetch(c, back, numbers, count);
    for (int i = 0; i < 8; i++)
        if (back[i] != 2 * host[i]) _exit(1);
}

static void after_a_kernel(ctx *c, real *numbers, int64_t count)
{
    if (c->engine.sum_squares((const real *const[]){numbers}, &count, 1) != 0) _exit(1);
    reads(c, numbers, count);
}

static void only_kernels_and_copies_reach_its_memory(void **state)
{
    (void)state;
    skip_unguarded();
    assert_int_equal(signal_of(sends_and_fetches), 0);
    assert_int_equal(signal_of(reads), SIGSEGV);
    assert_int_equal(signal_of(writes), SIGSEGV);
    assert_int_equal(signal_of(after_a_kernel), SIGSEGV);
}

static file_hash bits_on(dt_device device, dt_settings s)
{
    dt_context *c = NULL;
    s.device = device;
    if (dt_open(&c, &s) != DT_OK || dt_train(c, &s, NULL) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
    const file_hash hash = fixture_result("run");
    fixture_remove("run");
    return hash;
}

static void a_run_has_the_bits_of_the_cpu(void **state)
{
    (void)state;
    skip_unguarded();
    const dt_settings of[] = {fixture_settings("run"), fixture_unet_settings("run", "8,16")};
    for (int i = 0; i < 4; i++) {
        dt_settings s = of[i / 2];
        s.mixed_precision = i % 2 ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        s.max_train_steps = 2;
        assert_same_bits(bits_on(DT_DEVICE_CUDA, s), bits_on(DT_DEVICE_CPU, s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_kernels_and_copies_reach_its_memory),
        cmocka_unit_test(a_run_has_the_bits_of_the_cpu),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
