/* Each kind of adapter in a frozen DiT, in double: at its start every prediction is what it was, its rows have the gradients of
 * central differences, and off it is not there. */
#include "frozen_dit.h"

#include "adapter/adapter.h"

enum { VALUES = FROZEN_VALUES, ROWS_MAX = 64 };

static const adapter_plan plans[] = {
    {.kind = DT_ADAPTER_LORA, .rank = 2, .targets = "attn.qkv"},
    {.kind = DT_ADAPTER_LORA, .rank = 4, .alpha = 2, .root = true, .targets = "all-linear"},
    {.kind = DT_ADAPTER_LORA, .rank = 3, .alpha = 2, .dora = true, .targets = "attn.qkv,mlp.fc1,adaLN_modulation.1"},
    {.kind = DT_ADAPTER_DIFFFIT, .variant = DT_DIFFFIT_RELEASED, .blocks = 1},
    {.kind = DT_ADAPTER_DIFFFIT, .variant = DT_DIFFFIT_PAPER},
    {.kind = DT_ADAPTER_VPT_DEEP, .tokens = 3},
    {.kind = DT_ADAPTER_ADAPTFORMER, .width = 5, .scale = 0.1},
};
enum { PLANS = sizeof plans / sizeof *plans };

static denoiser network;
static adapter joined;

static void open_with(const adapter_plan *plan)
{
    char text[DT_TEXT_MAX];
    open_frozen();
    network = (denoiser){.params = &frozen.params, .sites = frozen.sites};
    assert_int_equal(adapter_open(&context, &joined, &network, plan, 7), DT_OK);
    adapter_describe(text, plan);
    print_message("%s: %d rows\n", text, joined.params.count);
}

static void at_its_start_it_changes_nothing_and_off_it_is_not_there(void **state)
{
    (void)state;
    for (int i = 0; i < PLANS; i++) {
        double plain[VALUES], with[VALUES];
        open_with(&plans[i]);
        keep_output(with);
        joined.off = true;
        keep_output(plain);
        if (plans[i].kind == DT_ADAPTER_VPT_DEEP)
            assert_memory_not_equal(plain, with, sizeof plain);
        else
            assert_memory_equal(plain, with, sizeof plain);
        arena_clear(&context.model);
    }
}

/* ---- lengths that stand still ----
 *
 * DoRA's lengths take no gradient: central differences are of a network whose lengths are those that its rows had. */

enum { MAPS_MAX = 16, OUTPUTS_MAX = 64 };

static struct {
    const real *w;
    real minus[OUTPUTS_MAX], inverse[OUTPUTS_MAX];
} kept[MAPS_MAX];
static int kept_count;
static engine whole;

static void keep_lengths(real *minus, real *inverse, const real *w, const real *b, const real *a, real s, int64_t o,
                         int64_t i, int64_t r)
{
    assert_true(kept_count < MAPS_MAX && o <= OUTPUTS_MAX);
    whole.row_lengths(minus, inverse, w, b, a, s, o, i, r);
    kept[kept_count].w = w;
    memcpy(kept[kept_count].minus, minus, (size_t)o * sizeof *minus);
    memcpy(kept[kept_count++].inverse, inverse, (size_t)o * sizeof *inverse);
}

static void same_lengths(real *minus, real *inverse, const real *w, const real *b, const real *a, real s, int64_t o,
                         int64_t i, int64_t r)
{
    int k = 0;
    (void)b, (void)a, (void)s, (void)i, (void)r;
    while (kept[k].w != w) assert_true(++k < kept_count);
    memcpy(minus, kept[k].minus, (size_t)o * sizeof *minus);
    memcpy(inverse, kept[k].inverse, (size_t)o * sizeof *inverse);
}

/* Rows away from where they start, of which some have no gradient there. */
static int let_train(tensor *in[ROWS_MAX])
{
    const params *p = &joined.params;
    assert_true(p->count > 0 && p->count <= ROWS_MAX);
    for (int i = 0; i < p->count; i++) {
        tensor *t = in[i] = p->row[i].tensor;
        for (int64_t j = 0; j < tensor_count(t); j++) t->data[j] += 0.2 * weight_of(j + i);
        t->need_grad = true;
        t->grad = arena_alloc_zeroed(&context.model, (size_t)tensor_count(t) * sizeof(real), &context.error);
    }
    return p->count;
}

static void each_kind_has_the_right_gradients(void **state)
{
    (void)state;
    for (int i = 0; i < PLANS; i++)
        for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
            tensor *in[ROWS_MAX];
            double plain[VALUES], changed[VALUES];
            open_with(&plans[i]);
            keep_output(plain);
            const int count = let_train(in);
            whole = context.engine;
            kept_count = 0;
            context.engine.row_lengths = keep_lengths;
            keep_output(changed);
            context.engine.row_lengths = same_lengths;
            assert_memory_not_equal(plain, changed, sizeof plain);
            context.checkpointing = checkpointing;
            differentiate(build_model, in);
            for (int k = 0; k < frozen.params.count; k++) assert_null(frozen.params.row[k].tensor->grad);
            const double error = worst_error(build_model, in, count, 1);
            print_message("checkpointed %d: %.2e\n", checkpointing, error);
            assert_true(error < 1e-6);
            context.engine = whole;
            arena_clear(&context.model);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(at_its_start_it_changes_nothing_and_off_it_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(each_kind_has_the_right_gradients, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
