/* MiDaS' DPT-hybrid against ControlNet's modules in double, and depth and normal pictures against NumPy and OpenCV
 * (vectors/make_depth_vectors.py). */
#include "annotator_fixture.h"

#include "model/annotate/annotator.h"
#include "model/annotate/normal.h"

static const midas *open_network(const char *path)
{
    tensor_file f;
    const void *net = NULL;
    assert_int_equal(tensor_file_open(&f, path, &context.error), DT_OK);
    if (midas_open(&context, &net, &f) != DT_OK) fail_msg("%s", context.error.message);
    tensor_file_close(&f);
    return net;
}

static int setup(void **state)
{
    if (temp_folder_make(state) || context_make(state)) return -1;
    make_weights("midas_names.txt");
    return 0;
}

static int teardown(void **state)
{
    free_weights();
    return context_remove(state) | temp_folder_remove(state);
}

/* A picture whose sides the network takes as they are, one that is resized for it, and one of 384x384 where the vectors are of the
 * published widths. */
static void depths_agree_with_the_reference(void **state)
{
    static const char *const names[] = {"depth", "odd", "full"};
    (void)state;
    const midas *net = open_network(write_weights("midas.safetensors", "", -1));
    tensor_file f = open_vectors("midas.safetensors");
    int compared = 0;
    for (int i = 0; i < 3; i++) {
        const tensor_entry *e = find_vector(&f, names[i], "");
        if (!e) continue;
        char name[32];
        snprintf(name, sizeof name, "picture %s", names[i]);
        image im = picture(name, e->dims[1], e->dims[0]);
        float *found = arena_alloc(&context.model, (size_t)e->count * sizeof *found, &context.error);
        context.gemm_flags = GEMM_BF16; /* must not reach the annotator */
        const size_t used = arena_mark(&context.step).own;
        assert_int_equal(midas_depth(&context, net, found, im.rgb, e->dims[0], e->dims[1]), DT_OK);
        assert_int_equal(context.gemm_flags, GEMM_BF16);
        assert_int_equal(arena_mark(&context.step).own, used);
        const double error = relative_error(found, vector_values(e), e->count);
        print_message("%s: %.2e\n", names[i], error);
        assert_true(error < 1e-4);
        image_close(&im);
        compared++;
    }
    assert_true(compared > 0);
    tensor_file_close(&f);
}

static void pictures_of_a_depth_are_numpy_s_and_opencv_s(void **state)
{
    static const char *const names[] = {"smooth", "wild", "flat", "line"};
    (void)state;
    tensor_file f = open_vectors("midas.safetensors");
    for (int i = 0; i < 4; i++) {
        const tensor_entry *e = find_vector(&f, names[i], ".depth");
        const float *depth = vector_values(e);
        uint8_t *map = arena_alloc(&context.model, (size_t)(3 * e->count), &context.error);
        normal_of_depth(map, depth, e->dims[0], e->dims[1]);
        assert_memory_equal(map, find_vector(&f, names[i], ".normal")->data, (size_t)(3 * e->count));
        midas_bytes(map, depth, e->count);
        assert_memory_equal(map, find_vector(&f, names[i], ".bytes")->data, (size_t)e->count);
    }
    tensor_file_close(&f);
}

/* One depth everywhere has no range. */
static void a_flat_depth_is_black_and_looks_forward(void **state)
{
    (void)state;
    float depth[12];
    uint8_t map[36];
    for (int i = 0; i < 12; i++) depth[i] = 2.5F;
    midas_bytes(map, depth, 12);
    for (int i = 0; i < 12; i++) assert_int_equal(map[i], 0);
    normal_of_depth(map, depth, 3, 4);
    for (int i = 0; i < 36; i++) assert_int_equal(map[i], i % 3 == 0 ? 255 : 127);
}

/* The maps of the annotators are those of the depth. */
static void annotators_draw_the_network_s_depth(void **state)
{
    (void)state;
    const char *path = write_weights("midas.safetensors", "", -1);
    const midas *net = open_network(path);
    annotator a;
    float depth[64 * 64];
    uint8_t map[3 * 64 * 64], expected[3 * 64 * 64];
    image im = picture("drawn", 64, 64);
    assert_int_equal(midas_depth(&context, net, depth, im.rgb, 64, 64), DT_OK);
    assert_int_equal(annotator_open(&context, &a, ANNOTATE_DEPTH, path), DT_OK);
    assert_int_equal(a.channels, 1);
    assert_int_equal(strlen(a.sha256), 64);
    assert_int_equal(annotate(&context, &a, map, im.rgb, 64, 64), DT_OK);
    midas_bytes(expected, depth, 64 * 64);
    assert_memory_equal(map, expected, 64 * 64);
    assert_int_equal(annotator_open(&context, &a, ANNOTATE_NORMAL, path), DT_OK);
    assert_int_equal(a.channels, 3);
    assert_int_equal(annotate(&context, &a, map, im.rgb, 64, 64), DT_OK);
    normal_of_depth(expected, depth, 64, 64);
    assert_memory_equal(map, expected, sizeof map);
    assert_int_equal(annotate_labels(&context, &a, map, im.rgb, 64, 64), DT_ERR_UNSUPPORTED);
    image_close(&im);
}

/* Weights whose sums overflow give no picture. */
static void a_depth_that_is_no_number_is_told(void **state)
{
    (void)state;
    for (int i = 0; i < weight_count; i++)
        if (!strncmp(weights[i].name, "scratch.", 8))
            for (int64_t k = 0; k < weights[i].count; k++) weights[i].values[k] *= 1e20F;
    const midas *net = open_network(write_weights("large.safetensors", "", -1));
    float depth[64 * 64];
    image im = picture("drawn", 64, 64);
    assert_int_equal(midas_depth(&context, net, depth, im.rgb, 64, 64), DT_ERR_NUMERIC);
    image_close(&im);
}

static void files_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    each_missing_tensor_is_named(midas_open, 23);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(depths_agree_with_the_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(pictures_of_a_depth_are_numpy_s_and_opencv_s, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flat_depth_is_black_and_looks_forward, setup, teardown),
        cmocka_unit_test_setup_teardown(annotators_draw_the_network_s_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(a_depth_that_is_no_number_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_do_not_fit_are_refused, setup, teardown),
    };
    if (argc > 1) {
        vectors_folder = argv[1];
        cmocka_set_test_filter("depths_agree_*");
    }
    return cmocka_run_group_tests_name("test_depth", tests, NULL, NULL);
}
