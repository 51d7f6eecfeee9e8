/* Every op, block and a tiny model against central differences, in double: signed, relative error below 1e-6. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "gradient_check.h"
#include "model/dit/dit.h"
#include "op/op.h"

/* ---- cases ---- */

static tensor *build_linear(ctx *c, tensor *const in[])
{
    return op_linear(c, in[0], in[1], in[2]);
}

static tensor *build_linear_branch(ctx *c, tensor *const in[])
{
    return op_linear_branch(c, in[0], in[1], in[2]);
}

static tensor *build_linear_add(ctx *c, tensor *const in[])
{
    return op_linear_add(c, op_linear_branch(c, in[0], in[1], NULL), in[0], in[2]);
}

static tensor *build_linear_gelu(ctx *c, tensor *const in[])
{
    return op_linear_gelu(c, in[0], in[1], in[2]);
}

static tensor *build_add(ctx *c, tensor *const in[])
{
    return op_add(c, in[0], in[1]);
}

static tensor *build_add_row(ctx *c, tensor *const in[])
{
    tensor *fixed = tensor_zeros(c, &c->step, 2, (int64_t[]){3, 4});
    fixed->data[5] = 2;
    return op_add_row(c, in[0], fixed);
}

static tensor *build_silu(ctx *c, tensor *const in[])
{
    return op_silu(c, in[0]);
}

static tensor *build_gelu(ctx *c, tensor *const in[])
{
    return op_gelu(c, in[0]);
}

static tensor *build_exact_gelu(ctx *c, tensor *const in[])
{
    return op_exact_gelu(c, in[0]);
}

static tensor *build_quick_gelu(ctx *c, tensor *const in[])
{
    return op_quick_gelu(c, in[0]);
}

static tensor *build_geglu(ctx *c, tensor *const in[])
{
    return op_geglu(c, in[0]);
}

static tensor *build_layer_norm(ctx *c, tensor *const in[])
{
    return op_layer_norm(c, in[0], in[1], in[2], 1e-5);
}

static tensor *build_norm_modulate(ctx *c, tensor *const in[])
{
    return op_norm_modulate(c, in[0], in[1], 2, 0, 1e-6);
}

static tensor *build_gated_add(ctx *c, tensor *const in[])
{
    return op_gated_add(c, in[0], in[1], in[2], 1);
}

static tensor *build_attention(ctx *c, tensor *const in[])
{
    return op_attention(c, in[0], 2);
}

static tensor *build_attention_apart(ctx *c, tensor *const in[])
{
    return op_attention_apart(c, in[0], in[1], in[2], 2, false);
}

static tensor *build_causal_attention(ctx *c, tensor *const in[])
{
    return op_attention_apart(c, in[0], in[1], in[2], 2, true);
}

/* What attends is used elsewhere too, so that gradients are there already when attention's come. */
static tensor *build_attention_added(ctx *c, tensor *const in[])
{
    tensor *k = op_silu(c, in[1]), *v = op_silu(c, in[2]);
    return op_add(c, op_attention_apart(c, in[0], k, v, 2, false), op_gelu(c, k));
}

static tensor *build_concat_tokens(ctx *c, tensor *const in[])
{
    return op_concat(c, in[0], in[1], 1);
}

static tensor *build_concat(ctx *c, tensor *const in[])
{
    return op_concat(c, in[0], in[1], 2);
}

static tensor *build_slice_tokens(ctx *c, tensor *const in[])
{
    return op_slice(c, in[0], 1, 1, 2);
}

static tensor *build_slice(ctx *c, tensor *const in[])
{
    return op_slice(c, in[0], 2, 2, 3);
}

/* Halves that overlap: both gradients must arrive. */
static tensor *build_slices(ctx *c, tensor *const in[])
{
    return op_concat(c, op_slice(c, in[0], 0, 0, 2), op_slice(c, in[0], 0, 1, 2), 2);
}

static tensor *build_embedding(ctx *c, tensor *const in[])
{
    return op_embedding(c, in[0], (int32_t[]){3, 0, 3, 1}, 4);
}

static tensor *build_mean_tokens(ctx *c, tensor *const in[])
{
    return op_mean_tokens(c, in[0]);
}

static tensor *build_patchify(ctx *c, tensor *const in[])
{
    return op_patchify(c, in[0], 2);
}

static tensor *build_unpatchify(ctx *c, tensor *const in[])
{
    return op_unpatchify(c, in[0], 2, 3, 4, 6);
}

static tensor *build_reshape(ctx *c, tensor *const in[])
{
    return op_gelu(c, op_reshape(c, in[0], 2, (int64_t[]){6, 4}));
}

/* Two samples: one at t = 0 (discretised likelihood, with values in and beyond the open bins), one inside. */
static tensor *build_loss(ctx *c, tensor *const in[])
{
    const loss_coefficients coef[2] = {{1.00005, 0.01, 0.9, 0.1, -7.0, -6.0, true},
                                       {1.4, 0.9, 0.3, 0.65, -5.0, -4.5, false}};
    int64_t dim[4] = {2, 2, 3, 3};
    tensor *noise = tensor_new(c, &c->step, 4, dim), *x0 = tensor_new(c, &c->step, 4, dim),
           *xt = tensor_new(c, &c->step, 4, dim);
    for (int64_t i = 0; i < tensor_count(noise); i++) {
        noise->data[i] = sin((double)i);
        x0->data[i] = i % 7 == 0 ? -1.0 : i % 5 == 0 ? 1.0 : 0.4 * cos(3.0 * (double)i);
        xt->data[i] = x0->data[i] + 0.02 * sin(2.0 * (double)i);
    }
    real mse[2], vb[2], weight[2] = {0.7, 1.3};
    return op_diffusion_loss(c, mse, vb, in[0], noise, x0, xt, coef, weight);
}

/* The squared distance of the first two of four channels, or of all of two, from numbers that take no gradient. */
static tensor *build_prediction_loss(ctx *c, tensor *const in[])
{
    tensor *target = tensor_new(c, &c->step, 4, (int64_t[]){in[0]->dim[0], 2, 3, 3});
    for (int64_t i = 0; i < tensor_count(target); i++) target->data[i] = cos(2.0 * (double)i);
    real mse[3];
    return op_prediction_loss(c, mse, in[0], target, (real[]){0.7, 1.3, 0.2});
}

/* As a batch whose last rows are taught has it: the loss of two rows, and the distance of one and of all. */
static tensor *build_taught_rows(ctx *c, tensor *const in[])
{
    tensor *last = op_slice(c, in[0], 0, 2, 1), *all = in[0];
    tensor *target = build_loss(c, (tensor *[]){op_slice(c, in[0], 0, 0, 2)});
    target = op_add(c, target, build_prediction_loss(c, &last));
    return op_add(c, target, build_prediction_loss(c, &all));
}

/* The variance half only: the bound must not differentiate through the noise half (detached on purpose). */
static tensor *build_loss_variance(ctx *c, tensor *const in[])
{
    int64_t dim[4] = {2, 4, 3, 3};
    tensor *out = tensor_zeros(c, &c->step, 4, dim);
    out->need_grad = c->recording;
    for (int64_t n = 0; n < 2; n++)
        for (int64_t i = 0; i < 18; i++) {
            out->data[n * 36 + i] = 0.3 * sin((double)(n * 18 + i)) + 0.2;
            out->data[n * 36 + 18 + i] = in[0]->data[n * 18 + i];
        }
    tensor *loss = build_loss(c, (tensor *[]){out});
    if (!c->recording) return loss;
    /* Hand the variance half of the gradient back to the input. */
    real *d = tensor_grad(c, loss);
    d[0] = weight_of(0);
    tape_backward(c, NULL);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t i = 0; i < 18; i++) in[0]->grad[n * 18 + i] = out->grad[n * 36 + 18 + i];
    return loss;
}

static const grad_case cases[] = {
    {"op_linear", 3, {{2, 3, 5}, {4, 5}, {4}}, {3, 2, 1}, build_linear},
    {"op_linear_branch", 3, {{2, 3, 5}, {4, 5}, {4}}, {3, 2, 1}, build_linear_branch},
    {"op_linear_gelu", 3, {{2, 3, 5}, {4, 5}, {4}}, {3, 2, 1}, build_linear_gelu},
    {"op_linear_add", 3, {{2, 3, 5}, {4, 5}, {4, 5}}, {3, 2, 2}, build_linear_add},
    {"op_add", 2, {{2, 7}, {2, 7}}, {2, 2}, build_add},
    {"op_add_row", 1, {{2, 3, 4}}, {3}, build_add_row},
    {"op_silu", 1, {{3, 11}}, {2}, build_silu},
    {"op_gelu", 1, {{3, 11}}, {2}, build_gelu},
    {"op_quick_gelu", 1, {{3, 11}}, {2}, build_quick_gelu},
    {"op_exact_gelu", 1, {{3, 11}}, {2}, build_exact_gelu},
    {"op_geglu", 1, {{2, 3, 10}}, {3}, build_geglu},
    {"op_layer_norm", 3, {{2, 3, 5}, {5}, {5}}, {3, 1, 1}, build_layer_norm},
    {"op_norm_modulate", 2, {{2, 3, 5}, {2, 15}}, {3, 2}, build_norm_modulate},
    {"op_gated_add", 3, {{2, 3, 5}, {2, 3, 5}, {2, 10}}, {3, 3, 2}, build_gated_add},
    {"op_attention", 1, {{2, 5, 18}}, {3}, build_attention},
    {"op_attention_apart", 3, {{2, 5, 6}, {2, 3, 6}, {2, 3, 6}}, {3, 3, 3}, build_attention_apart},
    {"op_attention_apart, more keys", 3, {{1, 2, 8}, {1, 9, 8}, {1, 9, 8}}, {3, 3, 3}, build_attention_apart},
    {"op_attention_apart, causal", 3, {{2, 5, 6}, {2, 5, 6}, {2, 5, 6}}, {3, 3, 3}, build_causal_attention},
    {"op_attention_apart, added", 3, {{2, 3, 6}, {2, 3, 6}, {2, 3, 6}}, {3, 3, 3}, build_attention_added},
    {"op_concat, tokens", 2, {{2, 3, 4}, {2, 5, 4}}, {3, 3}, build_concat_tokens},
    {"op_concat, channels", 2, {{2, 3, 2}, {2, 3, 4}}, {3, 3}, build_concat},
    {"op_slice, tokens", 1, {{2, 4, 3}}, {3}, build_slice_tokens},
    {"op_slice, channels", 1, {{2, 3, 6}}, {3}, build_slice},
    {"op_slice, twice", 1, {{3, 2, 4}}, {3}, build_slices},
    {"op_embedding", 1, {{4, 5}}, {2}, build_embedding},
    {"op_mean_tokens", 1, {{2, 3, 5}}, {3}, build_mean_tokens},
    {"op_patchify", 1, {{2, 3, 4, 6}}, {4}, build_patchify},
    {"op_unpatchify", 1, {{2, 6, 12}}, {3}, build_unpatchify},
    {"op_reshape", 1, {{2, 3, 4}}, {3}, build_reshape},
    {"op_diffusion_loss", 1, {{2, 2, 3, 3}}, {4}, build_loss},
    {"op_prediction_loss", 1, {{2, 2, 3, 3}}, {4}, build_prediction_loss},
    {"op_prediction_loss, variance", 1, {{3, 4, 3, 3}}, {4}, build_prediction_loss},
    {"op_prediction_loss, of rows", 1, {{3, 2, 3, 3}}, {4}, build_taught_rows},
};

static void each_op_agrees_with_central_differences(void **state)
{
    (void)state;
    check_cases(cases, sizeof cases / sizeof cases[0]);
}

static void the_bound_reaches_the_variance_half_only(void **state)
{
    (void)state;
    tensor *in = random_input(3, (int64_t[]){2, 2, 9}, 3);
    context.recording = true;
    build_loss_variance(&context, &in);
    context.recording = false;
    double error = worst_error(build_loss_variance, &in, 1, 1);
    print_message("variance half        %.2e\n", error);
    assert_true(error < 1e-6);
}

static void a_planted_sign_error_is_seen(void **state)
{
    (void)state;
    tensor *in = random_input(2, (int64_t[]){3, 5}, 4);
    differentiate(build_gelu, &in);
    for (int64_t i = 0; i < tensor_count(in); i++) in->grad[i] = -in->grad[i];
    assert_true(worst_error(build_gelu, &in, 1, 1) > 1);
}

/* ---- that nothing was forgotten ---- */

/* Whether the table of cases in that source has a row for the op: {"op_name" or {"op_name, of some kind". */
static bool has_case(const char *source, const char *op)
{
    char line[512], row[80];
    bool found = false;
    FILE *f = fopen(source, "r");
    assert_non_null(f);
    size_t length = (size_t)snprintf(row, sizeof row, "{\"%s", op);
    while (!found && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, row);
        found = at && (at[length] == '"' || at[length] == ',');
    }
    fclose(f);
    return found;
}

/* Every "tensor *op_...(" of a header must have one. Returns how many there are. */
static int check_header(const char *path)
{
    char line[512], name[64];
    int count = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "tensor *%63[a-z_0-9](", name) != 1 || strncmp(name, "op_", 3)) continue;
        count++;
        if (!has_case("test_gradients_double.c", name) && !has_case("test_conv_double.c", name))
            fail_msg("%s has no gradient check", name);
    }
    fclose(f);
    return count;
}

static void no_op_is_without_a_gradient_check(void **state)
{
    (void)state;
    int count = check_header("../src/tensor/tensor.h"); /* op_reshape */
    DIR *folder = opendir("../src/op");
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char path[320];
        const char *end = strrchr(entry->d_name, '.');
        if (!end || strcmp(end, ".h")) continue;
        snprintf(path, sizeof path, "../src/op/%s", entry->d_name);
        count += check_header(path);
    }
    closedir(folder);
    assert_true(count >= 31);
    assert_false(has_case("test_gradients_double.c", "op_no_such"));
    assert_false(has_case("test_gradients_double.c", "op_ad"));
}

/* ---- a whole tiny model, plain and with block checkpointing ---- */

static dit tiny;
static const bool *told_no_time; /* who */

static tensor *build_model(ctx *c, tensor *const in[])
{
    (void)in;
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){2, 2, 4, 4});
    for (int64_t i = 0; i < tensor_count(x); i++) x->data[i] = sin(1.0 + (double)i);
    const condition told = {.label = (int32_t[]){1, 3}, .null_time = told_no_time};
    return dit_forward(c, &tiny, x, (real[]){3, 977}, &told);
}

static void check_model(bool checkpointing)
{
    ctx *c = &context;
    dit_config k = {.input_size = 4,
                    .patch = 2,
                    .channels = 2,
                    .hidden = 8,
                    .depth = 2,
                    .heads = 2,
                    .class_count = 3,
                    .learn_sigma = true,
                    .null_time = told_no_time};
    assert_int_equal(dit_open(c, &tiny, &k), DT_OK);
    c->checkpointing = checkpointing;
    tensor *in[64];
    int count = 0;
    for (int i = 0; i < tiny.params.count; i++) {
        tensor *t = tiny.params.row[i].tensor;
        if (tiny.params.row[i].fixed) continue;
        t->grad = numbers_alloc(c, &c->model, tensor_bytes(t));
        t->grad_is_empty = t->need_grad = true;
        rng_normal(t->data, tensor_count(t), (rng_key){.seed = 5, .purpose = RNG_INIT, .step = (uint32_t)i});
        for (int64_t j = 0; j < tensor_count(t); j++) t->data[j] *= 0.3;
        in[count++] = t;
    }
    differentiate(build_model, in);
    double worst = 0;
    for (int i = 0; i < count; i++) {
        double e = worst_error(build_model, &in[i], 1, 1);
        if (e > worst) worst = e;
    }
    const char *which = checkpointing ? ", checkpointed   " : told_no_time ? ", null time      " : "                ";
    print_message("model%s %.2e\n", which, worst);
    assert_true(worst < 1e-6);
}

static void a_tiny_model_agrees_with_central_differences(void **state)
{
    (void)state;
    check_model(false);
}

static void block_checkpointing_gives_the_same_gradients(void **state)
{
    (void)state;
    check_model(true);
}

/* One of two samples is not told its time: its gradient goes to the row, the other one's to the MLP. */
static void the_null_time_agrees_with_central_differences(void **state)
{
    (void)state;
    const bool second[] = {false, true};
    told_no_time = second;
    check_model(false);
    double largest = 0;
    for (int64_t i = 0; i < tensor_count(tiny.t_null); i++) largest = fmax(largest, fabs(tiny.t_null->grad[i]));
    assert_true(largest > 1e-3);
    told_no_time = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_op_agrees_with_central_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(the_bound_reaches_the_variance_half_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_planted_sign_error_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(no_op_is_without_a_gradient_check, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tiny_model_agrees_with_central_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(block_checkpointing_gives_the_same_gradients, setup, teardown),
        cmocka_unit_test_setup_teardown(the_null_time_agrees_with_central_differences, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
