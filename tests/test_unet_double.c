/* A tiny UNet of Stable Diffusion's kind against central differences, in double: every weight, told a context or labels, plain and
 * with checkpointing. */
#include "gradient_check.h"

#include <string.h>

#include "model/sd/unet.h"

static unet tiny;
static tensor *context_told; /* NULL: labels are */

static tensor *build_unet(ctx *c, tensor *const in[])
{
    (void)in;
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){2, 3, 4, 4});
    for (int64_t i = 0; i < tensor_count(x); i++) x->data[i] = sin(1.0 + (double)i);
    const condition told = {.label = context_told ? NULL : (int32_t[]){1, 2}, .context = context_told};
    return unet_forward(c, &tiny, x, (real[]){3, 977}, &told);
}

static void check_unet(bool labels, bool checkpointing)
{
    enum { ALL = 48, STRIDE = 11 };
    ctx *c = &context;
    const unet_config k = {.input_size = 4,
                           .in_channels = 3,
                           .out_channels = 3,
                           .level_count = 2,
                           .width = {4, 6},
                           .heads = {2, 3},
                           .down_attends = {true, false},
                           .up_attends = {true, false},
                           .layers = 1,
                           .context_width = 3,
                           .groups = 2,
                           .epsilon = 1e-5,
                           .class_count = labels ? 2 : 0};
    assert_int_equal(unet_open(c, &tiny, &k), DT_OK);
    context_told = labels ? NULL : random_input(3, (int64_t[]){2, 3, 3}, 90);
    c->checkpointing = checkpointing;
    double worst = 0;
    for (int i = 0; i < tiny.params.count; i++) {
        tensor *t = tiny.params.row[i].tensor;
        t->grad = numbers_alloc(c, &c->model, tensor_bytes(t));
        t->grad_is_empty = t->need_grad = true;
        rng_normal(t->data, tensor_count(t), (rng_key){.seed = 5, .purpose = RNG_INIT, .step = (uint32_t)i});
        for (int64_t j = 0; j < tensor_count(t); j++)
            t->data[j] = (tiny.params.row[i].init == PARAM_ONE ? 1 : 0) + 0.6 * t->data[j];
    }
    differentiate(build_unet, NULL);
    for (int i = 0; i < tiny.params.count; i++) {
        tensor *t = tiny.params.row[i].tensor;
        /* What attends to one token has no gradient to compare with. */
        if (labels && (strstr(tiny.params.row[i].name, "attn2.to_q") || strstr(tiny.params.row[i].name, "attn2.to_k")))
            continue;
        worst = fmax(worst, worst_error(build_unet, &t, 1, tensor_count(t) > ALL ? STRIDE : 1));
    }
    if (context_told) worst = fmax(worst, worst_error(build_unet, &context_told, 1, 1));
    print_message("%s%s %.2e\n", labels ? "labels" : "a context", checkpointing ? ", checkpointed" : "", worst);
    assert_true(worst < 1e-6);
}

static void a_network_told_a_context_agrees_with_central_differences(void **state)
{
    (void)state;
    check_unet(false, false);
}

static void a_network_told_labels_agrees_with_central_differences(void **state)
{
    (void)state;
    check_unet(true, false);
}

static void checkpointing_gives_the_same_gradients(void **state)
{
    (void)state;
    check_unet(false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_network_told_a_context_agrees_with_central_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(a_network_told_labels_agrees_with_central_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpointing_gives_the_same_gradients, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
