/* The ops on images: values against loops written from the definition, gradients against central differences. */
#include <string.h>

#include "gradient_check.h"
#include "op/conv.h"
#include "op/op.h"

static tensor *random_image(int64_t n, int64_t h, int64_t w, int64_t channels)
{
    return random_tensor(4, (int64_t[]){n, h, w, channels}, 0);
}

/* ---- values ---- */

static double at(const tensor *x, int64_t n, int64_t row, int64_t column, int64_t channel)
{
    if (row < 0 || row >= x->dim[1] || column < 0 || column >= x->dim[2]) return 0;
    return x->data[((n * x->dim[1] + row) * x->dim[2] + column) * x->dim[3] + channel];
}

/* One value of the convolution, from its definition. */
static double conv_at(const tensor *x, const tensor *w, const tensor *bias, int64_t stride, const int64_t pad[2],
                      const int64_t place[4])
{
    double sum = bias ? bias->data[place[3]] : 0;
    for (int64_t i = 0; i < w->dim[1]; i++)
        for (int64_t j = 0; j < w->dim[2]; j++)
            for (int64_t k = 0; k < w->dim[3]; k++)
                sum += at(x, place[0], place[1] * stride - pad[0] + i, place[2] * stride - pad[1] + j, k) *
                       at(w, place[3], i, j, k);
    return sum;
}

static void check_values(const tensor *y, const tensor *x, const tensor *w, const tensor *bias, int64_t stride,
                         const int64_t pad[2], const int64_t size[2])
{
    assert_non_null(y);
    assert_int_equal(y->dim[0], x->dim[0]);
    assert_int_equal(y->dim[1], size[0]);
    assert_int_equal(y->dim[2], size[1]);
    assert_int_equal(y->dim[3], w->dim[0]);
    int64_t p[4], i = 0;
    for (p[0] = 0; p[0] < y->dim[0]; p[0]++)
        for (p[1] = 0; p[1] < y->dim[1]; p[1]++)
            for (p[2] = 0; p[2] < y->dim[2]; p[2]++)
                for (p[3] = 0; p[3] < y->dim[3]; p[3]++, i++)
                    assert_true(fabs(y->data[i] - conv_at(x, w, bias, stride, pad, p)) < 1e-12);
}

static void check_conv(tensor *x, tensor *w, tensor *bias, int64_t stride, int64_t pad, const int64_t size[2])
{
    check_values(op_conv2d(&context, x, w, bias, stride, pad), x, w, bias, stride, (int64_t[]){pad, pad}, size);
}

static void convolution_is_the_sum_of_its_definition(void **state)
{
    (void)state;
    tensor *x = random_image(2, 7, 6, 3), *bias = random_tensor(1, (int64_t[]){4}, 1);
    tensor *three = random_tensor(4, (int64_t[]){4, 3, 3, 3}, 2), *one = random_tensor(4, (int64_t[]){4, 1, 1, 3}, 3);
    check_conv(x, three, bias, 1, 1, (int64_t[]){7, 6});
    check_conv(x, three, bias, 2, 0, (int64_t[]){3, 2});
    check_conv(x, three, NULL, 2, 1, (int64_t[]){4, 3});
    check_conv(x, one, bias, 1, 0, (int64_t[]){7, 6});
    check_conv(x, one, bias, 2, 0, (int64_t[]){4, 3});
}

static void windows_need_not_be_square(void **state)
{
    (void)state;
    tensor *x = random_image(2, 8, 9, 3), *bias = random_tensor(1, (int64_t[]){4}, 1);
    static const int64_t shapes[][4] = {{1, 7, 0, 3}, {7, 1, 3, 0}, {1, 3, 0, 1}, {3, 1, 1, 0}, {5, 5, 2, 2}};
    for (int i = 0; i < 5; i++) {
        const int64_t *s = shapes[i];
        tensor *w = random_tensor(4, (int64_t[]){4, s[0], s[1], 3}, i);
        check_values(op_conv2d_pads(&context, x, w, bias, 1, s[2], s[3]), x, w, bias, 1, s + 2, (int64_t[]){8, 9});
    }
}

/* The same as a convolution whose weights between different channels are zero. */
static void depthwise_convolutions_keep_channels_apart(void **state)
{
    (void)state;
    static const int64_t shapes[][4] = {{3, 3, 1, 1}, {5, 5, 1, 2}, {3, 3, 2, 1}, {1, 1, 1, 0}, {3, 3, 2, 0}};
    for (int i = 0; i < 5; i++) {
        const int64_t *s = shapes[i];
        tensor *x = random_image(2, 8, 9, 3), *bias = i % 2 ? NULL : random_tensor(1, (int64_t[]){3}, 1);
        tensor *w = random_tensor(3, (int64_t[]){s[0], s[1], 3}, i);
        tensor *full = tensor_zeros(&context, &context.step, 4, (int64_t[]){3, s[0], s[1], 3});
        for (int64_t c = 0; c < 3; c++)
            for (int64_t k = 0; k < s[0] * s[1]; k++) full->data[(c * s[0] * s[1] + k) * 3 + c] = w->data[k * 3 + c];
        const tensor *y = op_depthwise(&context, x, w, bias, s[2], s[3]);
        const tensor *expected = op_conv2d(&context, x, full, bias, s[2], s[3]);
        assert_memory_equal(y->dim, expected->dim, 4 * sizeof *y->dim);
        for (int64_t k = 0; k < tensor_count(y); k++) assert_true(fabs(y->data[k] - expected->data[k]) < 1e-12);
    }
}

/* Each image alone fills the scratch for rows, so that three chunks are needed. */
static void large_images_are_convolved_in_chunks(void **state)
{
    (void)state;
    tensor *x = random_image(3, 64, 66, 16), *w = random_tensor(4, (int64_t[]){2, 3, 3, 16}, 2);
    check_conv(x, w, NULL, 1, 1, (int64_t[]){64, 66});
}

static void pixels_are_mixed_along_both_sides(void **state)
{
    (void)state;
    tensor *x = random_image(2, 3, 4, 2), *rows = random_tensor(2, (int64_t[]){5, 3}, 1);
    tensor *columns = random_tensor(2, (int64_t[]){6, 4}, 2);
    const tensor *y = op_mix_pixels(&context, x, rows, columns);
    for (int64_t i = 0; i < tensor_count(y); i++) {
        int64_t n = i / 60, row = i / 12 % 5, column = i / 2 % 6, channel = i % 2;
        double sum = 0;
        for (int64_t k = 0; k < 12; k++)
            sum += rows->data[row * 3 + k / 4] * columns->data[column * 4 + k % 4] * at(x, n, k / 4, k % 4, channel);
        assert_true(fabs(y->data[i] - sum) < 1e-12);
    }
}

static void max_pooling_reaches_over_the_edge_when_it_must(void **state)
{
    (void)state;
    tensor *x = random_image(2, 6, 7, 3), *y = op_max_pool(&context, x, 3, 2, 0);
    assert_int_equal(y->dim[1], 3); /* rows 0-2, 2-4, 4-5 */
    assert_int_equal(y->dim[2], 3); /* columns 0-2, 2-4, 4-6: exact */
    for (int64_t i = 0; i < tensor_count(y); i++) {
        int64_t n = i / 27, row = i / 9 % 3, column = i / 3 % 3, channel = i % 3;
        double best = -1e300;
        for (int64_t k = 0; k < 9; k++) {
            int64_t r = 2 * row + k / 3, q = 2 * column + k % 3;
            if (r < 6 && q < 7) best = fmax(best, at(x, n, r, q, channel));
        }
        assert_true(y->data[i] == best);
    }
}

/* The windows of 3 x 3 around each pixel: what lies outside counts in neither pooling. */
static void pooling_with_a_border_leaves_the_border_out(void **state)
{
    (void)state;
    tensor *x = random_image(2, 5, 4, 3);
    for (int64_t i = 0; i < tensor_count(x); i++) x->data[i] -= 10; /* all below the zeros that a border might hold */
    const tensor *greatest = op_max_pool(&context, x, 3, 1, 1), *mean = op_average_pool(&context, x, 3);
    for (int64_t i = 0; i < tensor_count(x); i++) {
        int64_t n = i / 60, row = i / 12 % 5, column = i / 3 % 4, channel = i % 3, count = 0;
        double best = -1e300, sum = 0;
        for (int64_t k = 0; k < 9; k++) {
            int64_t r = row + k / 3 - 1, q = column + k % 3 - 1;
            if (r < 0 || r >= 5 || q < 0 || q >= 4) continue;
            best = fmax(best, at(x, n, r, q, channel));
            sum += at(x, n, r, q, channel);
            count++;
        }
        assert_true(greatest->data[i] == best);
        assert_true(fabs(mean->data[i] - sum / (double)count) < 1e-13);
    }
}

static void what_is_not_a_number_stays_visible(void **state)
{
    (void)state;
    tensor *x = random_image(1, 3, 3, 2);
    for (int64_t pixel = 0; pixel < 9; pixel++) {
        double kept = x->data[2 * pixel];
        x->data[2 * pixel] = NAN;
        const tensor *pooled = op_max_pool(&context, x, 3, 2, 0), *rectified = op_relu(&context, x);
        assert_true(isnan(pooled->data[0]));
        assert_false(isnan(pooled->data[1]));
        assert_true(isnan(rectified->data[2 * pixel]));
        x->data[2 * pixel] = kept;
    }
}

static void concatenation_puts_channels_side_by_side(void **state)
{
    (void)state;
    tensor *a = random_image(2, 2, 2, 3), *b = random_tensor(4, (int64_t[]){2, 2, 2, 1}, 1);
    const tensor *y = op_concat(&context, a, b, 3);
    assert_int_equal(y->dim[3], 4);
    for (int64_t i = 0; i < 32; i++)
        assert_true(y->data[i] == (i % 4 < 3 ? a->data[i / 4 * 3 + i % 4] : b->data[i / 4]));
}

/* From the definition: mean and variance over the pixels and channels of a group. */
static void group_norm_is_what_its_definition_says(void **state)
{
    (void)state;
    enum { N = 2, S = 12, C = 34, GROUPS = 2, WIDTH = C / GROUPS };
    tensor *x = random_image(N, 4, 3, C), *weight = random_tensor(1, (int64_t[]){C}, 1);
    tensor *bias = random_tensor(1, (int64_t[]){C}, 2);
    for (int64_t i = 0; i < tensor_count(x); i++) x->data[i] += 10;
    const tensor *y = op_group_norm(&context, x, weight, bias, GROUPS, 0.1);
    for (int64_t group = 0; group < N * GROUPS; group++) {
        const int64_t from = group / GROUPS * S * C + group % GROUPS * WIDTH;
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < S * WIDTH; i++) mean += x->data[from + i / WIDTH * C + i % WIDTH] / (S * WIDTH);
        for (int64_t i = 0; i < S * WIDTH; i++)
            variance += pow(x->data[from + i / WIDTH * C + i % WIDTH] - mean, 2) / (S * WIDTH);
        for (int64_t i = 0; i < S * WIDTH; i++) {
            const int64_t at = from + i / WIDTH * C + i % WIDTH, c = at % C;
            double expected = (x->data[at] - mean) / sqrt(variance + 0.1) * weight->data[c] + bias->data[c];
            assert_true(fabs(y->data[at] - expected) < 1e-11);
        }
    }
}

static void larger_images_repeat_pixels_or_end_in_zeros(void **state)
{
    (void)state;
    tensor *x = random_image(2, 3, 4, 5);
    const tensor *twice = op_upsample(&context, x), *padded = op_pad_end(&context, x);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t i = 0; i < 6 * 8 * 5; i++)
            assert_true(at(twice, n, i / 40, i / 5 % 8, i % 5) == at(x, n, i / 80, i / 10 % 4, i % 5));
    for (int64_t n = 0; n < 2; n++)
        for (int64_t i = 0; i < 4 * 5 * 5; i++) /* at() is 0 outside */
            assert_true(at(padded, n, i / 25, i / 5 % 5, i % 5) == at(x, n, i / 25, i / 5 % 5, i % 5));
}

static void slices_undo_concatenation_along_any_dimension(void **state)
{
    (void)state;
    for (int dim = 0; dim < 4; dim++) {
        int64_t size[] = {2, 3, 4, 5};
        tensor *a = random_tensor(4, size, 1);
        size[dim] = 2;
        tensor *b = random_tensor(4, size, 2), *y = op_concat(&context, a, b, dim);
        assert_int_equal(y->dim[dim], a->dim[dim] + 2);
        const tensor *first = op_slice(&context, y, dim, 0, a->dim[dim]);
        const tensor *second = op_slice(&context, y, dim, a->dim[dim], 2);
        assert_memory_equal(first->data, a->data, tensor_bytes(a));
        assert_memory_equal(second->data, b->data, tensor_bytes(b));
        assert_memory_equal(second->dim, b->dim, sizeof b->dim);
    }
}

/* ---- gradients ---- */

static tensor *build_conv(ctx *c, tensor *const in[])
{
    return op_conv2d(c, in[0], in[1], in[2], 1, 1);
}

static tensor *build_strided_conv(ctx *c, tensor *const in[])
{
    return op_conv2d(c, in[0], in[1], NULL, 2, 1);
}

static tensor *build_unpadded_conv(ctx *c, tensor *const in[])
{
    return op_conv2d(c, in[0], in[1], in[2], 2, 0);
}

static tensor *build_pointwise_conv(ctx *c, tensor *const in[])
{
    return op_conv2d(c, in[0], in[1], in[2], 1, 0);
}

static tensor *build_wide_conv(ctx *c, tensor *const in[])
{
    return op_conv2d_pads(c, in[0], in[1], in[2], 1, 0, 3);
}

static tensor *build_high_conv(ctx *c, tensor *const in[])
{
    return op_conv2d_pads(c, in[0], in[1], in[2], 2, 1, 0);
}

static tensor *build_max_pool(ctx *c, tensor *const in[])
{
    return op_max_pool(c, in[0], 3, 2, 0);
}

static tensor *build_bordered_max_pool(ctx *c, tensor *const in[])
{
    return op_max_pool(c, in[0], 3, 1, 1);
}

static tensor *build_relu(ctx *c, tensor *const in[])
{
    return op_relu(c, in[0]);
}

static tensor *build_average_pool(ctx *c, tensor *const in[])
{
    return op_average_pool(c, in[0], 3);
}

static tensor *build_add_channels(ctx *c, tensor *const in[])
{
    return op_add_channels(c, in[0], in[1]);
}

static tensor *build_depthwise(ctx *c, tensor *const in[])
{
    return op_depthwise(c, in[0], in[1], in[2], 1, 1);
}

static tensor *build_strided_depthwise(ctx *c, tensor *const in[])
{
    return op_depthwise(c, in[0], in[1], NULL, 2, 0);
}

/* 3 rows become 5, 4 columns 2. */
static tensor *build_mix_pixels(ctx *c, tensor *const in[])
{
    tensor *rows = tensor_new(c, &c->step, 2, (int64_t[]){5, 3}),
           *columns = tensor_new(c, &c->step, 2, (int64_t[]){2, 4});
    for (int i = 0; i < 15; i++) rows->data[i] = sin(1.0 + i);
    for (int i = 0; i < 8; i++) columns->data[i] = cos(2.0 * i);
    return op_mix_pixels(c, in[0], rows, columns);
}

static tensor *build_upsample(ctx *c, tensor *const in[])
{
    return op_upsample(c, in[0]);
}

static tensor *build_pad_end(ctx *c, tensor *const in[])
{
    return op_pad_end(c, in[0]);
}

static tensor *build_soft_clamp(ctx *c, tensor *const in[])
{
    return op_soft_clamp(c, in[0], 1.5);
}

static tensor *build_group_norm(ctx *c, tensor *const in[])
{
    return op_group_norm(c, in[0], in[1], in[2], 3, 1e-5);
}

static tensor *build_group_norm_silu(ctx *c, tensor *const in[])
{
    return op_group_norm_silu(c, in[0], in[1], in[2], 3, 1e-5);
}

/* Wider than what is summed side by side. */
static tensor *build_one_group(ctx *c, tensor *const in[])
{
    return op_group_norm(c, in[0], in[1], in[2], 1, 1e-5);
}

/* The shape of a residual block of a UNet, at whose end the picture shrinks and grows. */
static tensor *build_residual(ctx *c, tensor *const in[])
{
    tensor *h = op_conv2d(c, op_silu(c, op_group_norm(c, in[0], in[1], in[2], 2, 1e-5)), in[3], NULL, 1, 1);
    h = op_conv2d(c, op_pad_end(c, op_add(c, in[0], h)), in[3], NULL, 2, 0);
    return op_concat(c, op_upsample(c, h), in[0], 3);
}

/* One input taken twice: both gradients must arrive. */
static tensor *build_fire(ctx *c, tensor *const in[])
{
    tensor *squeezed = op_relu(c, op_conv2d(c, in[0], in[1], NULL, 1, 0));
    return op_max_pool(c, op_concat(c, squeezed, op_conv2d(c, squeezed, in[2], NULL, 1, 1), 3), 3, 2, 0);
}

static const grad_case cases[] = {
    {"op_conv2d", 3, {{2, 5, 4, 3}, {2, 3, 3, 3}, {2}}, {4, 4, 1}, build_conv},
    {"op_conv2d, stride 2, pad 1", 2, {{2, 6, 5, 2}, {3, 3, 3, 2}}, {4, 4}, build_strided_conv},
    {"op_conv2d, stride 2", 3, {{2, 6, 5, 2}, {3, 3, 3, 2}, {3}}, {4, 4, 1}, build_unpadded_conv},
    {"op_conv2d, 1x1", 3, {{2, 3, 4, 3}, {5, 1, 1, 3}, {5}}, {4, 4, 1}, build_pointwise_conv},
    {"op_conv2d_pads, 1x7", 3, {{2, 3, 8, 3}, {2, 1, 7, 3}, {2}}, {4, 4, 1}, build_wide_conv},
    {"op_conv2d_pads, 3x1, stride 2", 3, {{2, 6, 5, 3}, {2, 3, 1, 3}, {2}}, {4, 4, 1}, build_high_conv},
    {"op_max_pool, pad 1", 1, {{2, 5, 4, 2}}, {4}, build_bordered_max_pool},
    {"op_max_pool", 1, {{2, 6, 7, 2}}, {4}, build_max_pool},
    {"op_relu", 1, {{3, 17}}, {2}, build_relu},
    {"op_average_pool", 1, {{2, 5, 4, 2}}, {4}, build_average_pool},
    {"op_add_channels", 2, {{2, 3, 4, 5}, {2, 5}}, {4, 2}, build_add_channels},
    {"op_depthwise", 3, {{2, 5, 4, 3}, {3, 3, 3}, {3}}, {4, 3, 1}, build_depthwise},
    {"op_depthwise, stride 2", 2, {{2, 6, 5, 2}, {3, 3, 2}}, {4, 3}, build_strided_depthwise},
    {"op_mix_pixels", 1, {{2, 3, 4, 2}}, {4}, build_mix_pixels},
    {"op_upsample", 1, {{2, 3, 4, 2}}, {4}, build_upsample},
    {"op_pad_end", 1, {{2, 3, 4, 2}}, {4}, build_pad_end},
    {"op_soft_clamp", 1, {{3, 17}}, {2}, build_soft_clamp},
    {"op_group_norm", 3, {{2, 3, 2, 6}, {6}, {6}}, {4, 1, 1}, build_group_norm},
    {"op_group_norm_silu", 3, {{2, 3, 2, 6}, {6}, {6}}, {4, 1, 1}, build_group_norm_silu},
    {"op_group_norm, one group", 3, {{2, 5, 37}, {37}, {37}}, {3, 1, 1}, build_one_group},
    {"residual block", 4, {{1, 4, 4, 4}, {4}, {4}, {4, 3, 3, 4}}, {4, 1, 1, 4}, build_residual},
    {"fire module", 3, {{1, 5, 6, 3}, {2, 1, 1, 3}, {3, 3, 3, 2}}, {4, 4, 4}, build_fire},
};

static void each_op_agrees_with_central_differences(void **state)
{
    (void)state;
    check_cases(cases, sizeof cases / sizeof cases[0]);
}

static void gradients_are_summed_over_chunks(void **state)
{
    (void)state;
    const grad_case large = {"large", 3, {{3, 64, 64, 16}, {2, 3, 3, 16}, {2}}, {4, 4, 1}, build_conv};
    assert_true(case_error(&large, 19997) < 1e-6); /* a value or more of each image, one of w, one of the bias */
}

/* ---- frozen weights ---- */

/* No gradient of a weight is made where only x needs one, and x's is the same; nor the other way round. */
static void each_gradient_is_made_alone_when_alone_it_is_wanted(void **state)
{
    (void)state;
    tensor *all[] = {random_input(4, (int64_t[]){2, 4, 4, 4}, 1), random_input(1, (int64_t[]){4}, 2),
                     random_input(1, (int64_t[]){4}, 3), random_input(4, (int64_t[]){4, 3, 3, 4}, 4)};
    double wanted[4][128];
    differentiate(build_residual, all);
    for (int i = 0; i < 4; i++)
        memcpy(wanted[i], all[i]->grad, tensor_bytes(all[i]) < 1024 ? tensor_bytes(all[i]) : 1024);
    for (int only = 0; only < 4; only++) {
        for (int i = 0; i < 4; i++) {
            all[i]->need_grad = i == only;
            memset(all[i]->grad, 0, tensor_bytes(all[i]));
        }
        differentiate(build_residual, all);
        for (int i = 0; i < 4; i++)
            for (int64_t j = 0; j < tensor_count(all[i]) && j < 128; j++)
                assert_true(all[i]->grad[j] == (i == only ? wanted[i][j] : 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(convolution_is_the_sum_of_its_definition, setup, teardown),
        cmocka_unit_test_setup_teardown(depthwise_convolutions_keep_channels_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(large_images_are_convolved_in_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(max_pooling_reaches_over_the_edge_when_it_must, setup, teardown),
        cmocka_unit_test_setup_teardown(windows_need_not_be_square, setup, teardown),
        cmocka_unit_test_setup_teardown(pixels_are_mixed_along_both_sides, setup, teardown),
        cmocka_unit_test_setup_teardown(pooling_with_a_border_leaves_the_border_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_a_number_stays_visible, setup, teardown),
        cmocka_unit_test_setup_teardown(concatenation_puts_channels_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(group_norm_is_what_its_definition_says, setup, teardown),
        cmocka_unit_test_setup_teardown(larger_images_repeat_pixels_or_end_in_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(slices_undo_concatenation_along_any_dimension, setup, teardown),
        cmocka_unit_test_setup_teardown(each_gradient_is_made_alone_when_alone_it_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(each_op_agrees_with_central_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(gradients_are_summed_over_chunks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
