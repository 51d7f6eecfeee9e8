/* The feature network against expected values, and what it says about files that do not fit. */
#include "context_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/safetensors.h"
#include "model/feature/squeezenet.h"
#include "shared_data.h"

enum { PIXELS = SQUEEZENET_SIDE * SQUEEZENET_SIDE * 3 };

static void open_network(squeezenet *net)
{
    char path[DT_PATH_MAX];
    shared_path(path, "weights/squeezenet/squeezenet_v1_1.safetensors");
    if (squeezenet_open(&context, net, path) != DT_OK) fail_msg("%s", context.error.message);
}

/* The picture and its features, both to be freed with tensor_file_close. */
static const uint8_t *open_reference(tensor_file *f, float expected[SQUEEZENET_FEATURES])
{
    char path[DT_PATH_MAX];
    shared_path(path, "data/reference/reference_io.safetensors");
    assert_int_equal(safetensors_open(f, path, &context.error), DT_OK);
    const tensor_entry *picture = tensor_file_find(f, "squeezenet.input_u8_rgb_hwc");
    const tensor_entry *features = tensor_file_find(f, "squeezenet.fire9_gap");
    assert_int_equal(picture->count, PIXELS);
    assert_int_equal(features->count, SQUEEZENET_FEATURES);
    assert_int_equal(tensor_read_f32(expected, features, &context.error), DT_OK);
    return picture->data;
}

static void features_agree_with_the_reference(void **state)
{
    (void)state;
    squeezenet net;
    tensor_file f;
    float expected[SQUEEZENET_FEATURES], found[SQUEEZENET_FEATURES], largest = 0, worst = 0;
    open_network(&net);
    const uint8_t *picture = open_reference(&f, expected);
    assert_int_equal(squeezenet_features(&context, found, &net, picture, 1, SQUEEZENET_SIDE), DT_OK);
    for (int i = 0; i < SQUEEZENET_FEATURES; i++) {
        largest = fmaxf(largest, fabsf(expected[i]));
        worst = fmaxf(worst, fabsf(found[i] - expected[i]));
    }
    print_message("largest difference %.2e of %.2f\n", (double)worst, (double)largest);
    assert_true(worst < 1e-4F * largest);
    tensor_file_close(&f);
}

/* Five pictures make two batches. The context's bf16 mode must not reach the measure. */
static void a_picture_s_features_depend_on_nothing_else(void **state)
{
    (void)state;
    squeezenet net;
    tensor_file f;
    float expected[SQUEEZENET_FEATURES], alone[SQUEEZENET_FEATURES], together[5 * SQUEEZENET_FEATURES];
    open_network(&net);
    const uint8_t *picture = open_reference(&f, expected);
    uint8_t *pictures = malloc(5 * PIXELS);
    assert_non_null(pictures);
    for (int64_t i = 0; i < 5 * PIXELS; i++) pictures[i] = picture[(i + i / PIXELS * 3000) % PIXELS];
    memcpy(pictures + 4 * PIXELS, picture, PIXELS);
    assert_int_equal(squeezenet_features(&context, alone, &net, picture, 1, SQUEEZENET_SIDE), DT_OK);
    context.gemm_flags = GEMM_BF16;
    context.threads = 1;
    ctx_enter(&context);
    const size_t used = arena_mark(&context.step).own;
    assert_int_equal(squeezenet_features(&context, together, &net, pictures, 5, SQUEEZENET_SIDE), DT_OK);
    assert_memory_equal(together, alone, sizeof alone);
    assert_memory_equal(together + 4 * SQUEEZENET_FEATURES, alone, sizeof alone);
    assert_memory_not_equal(together + SQUEEZENET_FEATURES, alone, sizeof alone);
    assert_int_equal(context.gemm_flags, GEMM_BF16);
    assert_int_equal(arena_mark(&context.step).own, used);
    free(pictures);
    tensor_file_close(&f);
}

/* Constant pictures stay constant when resized, so all sizes give the same features. */
static void pictures_of_any_size_are_resized(void **state)
{
    (void)state;
    squeezenet net;
    float small[SQUEEZENET_FEATURES], large[SQUEEZENET_FEATURES], full[SQUEEZENET_FEATURES];
    open_network(&net);
    uint8_t *grey = malloc(3 * 300 * 300);
    assert_non_null(grey);
    for (int i = 0; i < 3 * 300 * 300; i++) grey[i] = (uint8_t)(60 + 50 * (i % 3));
    assert_int_equal(squeezenet_features(&context, small, &net, grey, 1, 32), DT_OK);
    assert_int_equal(squeezenet_features(&context, large, &net, grey, 1, 300), DT_OK);
    assert_int_equal(squeezenet_features(&context, full, &net, grey, 1, SQUEEZENET_SIDE), DT_OK);
    assert_memory_equal(small, full, sizeof full);
    assert_memory_equal(large, full, sizeof full);
    free(grey);
}

static void refused(const char *path, dt_status status, const char *tensor_name, const char *expected,
                    const char *found)
{
    squeezenet net;
    assert_int_equal(squeezenet_open(&context, &net, path), status);
    assert_non_null(strstr(context.error.message, path));
    assert_non_null(strstr(context.error.message, tensor_name));
    assert_non_null(strstr(context.error.message, expected));
    assert_non_null(strstr(context.error.message, found));
    error_clear(&context.error);
}

static void files_of_other_networks_are_refused(void **state)
{
    (void)state;
    static float zeros[64 * 27];
    const char *base = getenv("TMPDIR");
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/squeezenet-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/other.safetensors", folder);
    refused(path, DT_ERR_IO, "", "", "");

    const int64_t right[4] = {64, 3, 3, 3}, wrong[4] = {64, 3, 1, 1}, outputs = 64;
    tensor_source sources[2] = {
        {.name = "conv1.weight", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = wrong, .values = zeros},
        {.name = "conv1.bias", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &outputs, .values = zeros},
    };
    assert_int_equal(safetensors_write(path, sources, 2, NULL, 0, NULL, &context.error), DT_OK);
    refused(path, DT_ERR_SHAPE, "conv1.weight", "[64,3,3,3] expected", "found [64,3,1,1]");
    sources[0].dims = right;
    assert_int_equal(safetensors_write(path, sources, 1, NULL, 0, NULL, &context.error), DT_OK);
    refused(path, DT_ERR_SHAPE, "conv1.bias", "[64] expected", "found none");
    assert_int_equal(safetensors_write(path, sources, 2, NULL, 0, NULL, &context.error), DT_OK);
    refused(path, DT_ERR_SHAPE, "fire2.squeeze1x1.weight", "[16,64,1,1] expected", "found none");
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(features_agree_with_the_reference, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_picture_s_features_depend_on_nothing_else, context_make, context_remove),
        cmocka_unit_test_setup_teardown(pictures_of_any_size_are_resized, context_make, context_remove),
        cmocka_unit_test_setup_teardown(files_of_other_networks_are_refused, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
