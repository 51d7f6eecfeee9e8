/* Which kernels an engine gets: by itself the best the machine has, on demand those of one instruction set. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fenv.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "each_engine.h"

static const char *const names[] = {"auto", "portable", "avx2", "avx512", "avx512bf16", "amx"};

static dt_isa highest_that_opens(void)
{
    engine e;
    dt_error err = {0};
    dt_isa isa = CPU_ISA_HIGHEST;
    while (engine_cpu_fill(&e, isa, &err) != DT_OK) isa--;
    return isa;
}

static void every_level_up_to_the_highest_opens_under_its_name(void **state)
{
    (void)state;
    for (dt_isa isa = DT_ISA_PORTABLE; isa <= highest_that_opens(); isa++) {
        engine e;
        dt_error err = {0};
        char name[64];
        assert_int_equal(engine_cpu_fill(&e, isa, &err), DT_OK);
        snprintf(name, sizeof name, "cpu %s", names[isa]);
        assert_string_equal(e.name, name);
        engine_check_complete(&e);
    }
}

static void left_to_itself_the_engine_is_the_highest(void **state)
{
    (void)state;
    engine chosen, highest;
    dt_error err = {0};
    assert_int_equal(engine_cpu_fill(&chosen, DT_ISA_AUTO, &err), DT_OK);
    assert_int_equal(engine_cpu_fill(&highest, highest_that_opens(), &err), DT_OK);
    assert_memory_equal(&chosen, &highest, sizeof chosen);
}

static void what_the_machine_lacks_is_refused_and_the_highest_it_has_is_named(void **state)
{
    (void)state;
    dt_isa highest = highest_that_opens();
    for (dt_isa isa = highest + 1; isa <= CPU_ISA_HIGHEST; isa++) {
        engine e;
        dt_error err = {0};
        char message[128];
        assert_int_equal(engine_cpu_fill(&e, isa, &err), DT_ERR_UNSUPPORTED);
        snprintf(message, sizeof message, "isa: this machine or build has no more than %s", names[highest]);
        assert_string_equal(err.message, message);
    }
    if (highest == CPU_ISA_HIGHEST) skip();
}

/* A level of its own has kernels of its own; bfloat16 dot products only where there are products. */
static void a_level_replaces_the_kernels_it_was_compiled_for(void **state)
{
    (void)state;
    for (dt_isa isa = DT_ISA_AVX2; isa <= highest_that_opens(); isa++) {
        engine below, e;
        dt_error err = {0};
        assert_int_equal(engine_cpu_fill(&below, isa - 1, &err), DT_OK);
        assert_int_equal(engine_cpu_fill(&e, isa, &err), DT_OK);
        assert_true(e.gemm != below.gemm && e.attention_fwd != below.attention_fwd);
        assert_int_equal(e.adamw != below.adamw && e.silu_fwd != below.silu_fwd, isa < DT_ISA_AVX512BF16);
    }
}

/* An activation of ordinary numbers must make nothing denormal on its way, in no lane: processors take a hundred times as long
 * over those, and no result shows it. */
static void check_underflow(const engine *e)
{
    enum { COUNT = 1000 };
    real x[COUNT], dy[COUNT], y[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = (real)(i - COUNT / 2) / 100 + (real)0.003;
        dy[i] = (real)0.7;
    }
    feclearexcept(FE_ALL_EXCEPT);
    e->silu_fwd(y, x, COUNT, 0);
    e->silu_bwd(y, dy, x, COUNT, false, 0);
    e->gelu_fwd(y, x, COUNT, 0);
    e->gelu_bwd(y, dy, x, COUNT, false, 0);
    if (fetestexcept(FE_UNDERFLOW)) fail_msg("%s: something underflows", e->name);
}

static void activations_of_ordinary_numbers_underflow_nowhere(void **state)
{
    (void)state;
    omp_set_num_threads(1); /* the flags are a thread's own */
    for_each_engine(check_underflow);
    omp_set_num_threads(omp_get_num_procs());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_up_to_the_highest_opens_under_its_name),
        cmocka_unit_test(left_to_itself_the_engine_is_the_highest),
        cmocka_unit_test(what_the_machine_lacks_is_refused_and_the_highest_it_has_is_named),
        cmocka_unit_test(a_level_replaces_the_kernels_it_was_compiled_for),
        cmocka_unit_test(activations_of_ordinary_numbers_underflow_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
