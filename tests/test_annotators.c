/* Annotators of edges against OpenCV, and their networks against PyTorch: pictures and weights are made by formula.h, expected
 * values come from vectors/make_annotator_vectors.py (networks in double). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "context_fixture.h"
#include "formula.h"
#include "shared_data.h"
#include "temp_folder.h"

#include "container/safetensors.h"
#include "model/annotate/annotator.h"
#include "model/annotate/canny.h"
#include "model/annotate/pidinet.h"
#include "model/annotate/sketch.h"

enum { HEIGHT = 37, WIDTH = 50 }; /* of the picture that networks see */

/* ---- weights by the formula ---- */

enum { TENSORS_MAX = 128 };

typedef struct made_weights {
    tensor_source source[TENSORS_MAX];
    char name[TENSORS_MAX][48];
    int64_t dims[TENSORS_MAX][4];
    int count;
} made_weights;

/* How annotator_reference.py scales the tensor. */
static double value_of(const char *name, double r, int64_t inputs)
{
    if (!strcmp(name, "norm")) return 100 + 20 * r;
    if (strstr(name, "projection.weight")) return r / 64;
    return strstr(name, ".weight") ? r * sqrt((strstr(name, ".convs.") ? 6 : 2) / (double)inputs) : 0.25 * r;
}

/* A tensor whose name is `format` with two numbers put in. */
__attribute__((format(printf, 2, 8))) static void make(made_weights *m, const char *format, int64_t o, int64_t i,
                                                       int64_t h, int64_t w, int dim_count, ...)
{
    char *name = m->name[m->count];
    va_list numbers;
    va_start(numbers, dim_count);
    vsnprintf(name, sizeof m->name[0], format, numbers);
    va_end(numbers);
    const int64_t dims[4] = {o, i, h, w}, count = o * i * h * w;
    memcpy(m->dims[m->count], dims, sizeof dims);
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    const uint64_t seed = seed_of(name);
    for (int64_t k = 0; k < count; k++) values[k] = (float)value_of(name, noise(seed, k), i * h * w);
    m->source[m->count] = (tensor_source){
        .name = name, .dtype = SAFETENSORS_F32, .dim_count = dim_count, .dims = m->dims[m->count], .values = values};
    assert_true(++m->count < TENSORS_MAX);
}

static void write_and_free(made_weights *m, const char *path)
{
    if (safetensors_write(path, m->source, (size_t)m->count, NULL, 0, NULL, &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
    for (int i = 0; i < m->count; i++) free((void *)m->source[i].values);
    free(m);
}

/* `last` is the width of the last block, 512 in the published file. */
static void write_hed(const char *path, int64_t last)
{
    static const int convs[] = {2, 2, 3, 3, 3};
    const int64_t widths[] = {64, 128, 256, 512, last};
    made_weights *m = calloc(1, sizeof *m);
    assert_non_null(m);
    make(m, "norm", 1, 3, 1, 1, 4);
    for (int b = 0; b < HED_BLOCKS; b++) {
        for (int k = 0; k < convs[b]; k++) {
            make(m, "block%d.convs.%d.weight", widths[b], k ? widths[b] : b ? widths[b - 1] : 3, 3, 3, 4, b + 1, k);
            make(m, "block%d.convs.%d.bias", widths[b], 1, 1, 1, 1, b + 1, k);
        }
        make(m, "block%d.projection.weight", 1, widths[b], 1, 1, 4, b + 1);
        make(m, "block%d.projection.bias", 1, 1, 1, 1, 1, b + 1);
    }
    write_and_free(m, path);
}

static void make_stage(made_weights *m, int stage, int64_t width)
{
    const int64_t outputs = width << (stage < 2 ? stage : 2), before = stage ? width << (stage - 1) : width;
    for (int b = 0; b < (stage ? 4 : 3); b++) {
        const int64_t inputs = b ? outputs : before;
        make(m, "block%d_%d.conv1.weight", inputs, 1, 3, 3, 4, stage + 1, b + 1);
        make(m, "block%d_%d.conv2.weight", outputs, inputs, 1, 1, 4, stage + 1, b + 1);
        if (!stage || b) continue;
        make(m, "block%d_%d.shortcut.weight", outputs, inputs, 1, 1, 4, stage + 1, b + 1);
        make(m, "block%d_%d.shortcut.bias", outputs, 1, 1, 1, 1, stage + 1, b + 1);
    }
}

static void make_side(made_weights *m, int stage, int64_t width, int64_t side)
{
    make(m, "dilations.%d.conv1.weight", side, width << (stage < 2 ? stage : 2), 1, 1, 4, stage);
    make(m, "dilations.%d.conv1.bias", side, 1, 1, 1, 1, stage);
    for (int k = 1; k <= 4; k++) make(m, "dilations.%d.conv2_%d.weight", side, side, 3, 3, 4, stage, k);
    make(m, "attentions.%d.conv1.weight", 4, side, 1, 1, 4, stage);
    make(m, "attentions.%d.conv1.bias", 4, 1, 1, 1, 1, stage);
    make(m, "attentions.%d.conv2.weight", 1, 4, 3, 3, 4, stage);
    make(m, "conv_reduces.%d.conv.weight", 1, side, 1, 1, 4, stage);
    make(m, "conv_reduces.%d.conv.bias", 1, 1, 1, 1, 1, stage);
}

static void write_pidinet(const char *path)
{
    made_weights *m = calloc(1, sizeof *m);
    assert_non_null(m);
    make(m, "init_block.weight", 20, 3, 3, 3, 4);
    for (int stage = 0; stage < PIDINET_STAGES; stage++) make_stage(m, stage, 20);
    for (int stage = 0; stage < PIDINET_STAGES; stage++) make_side(m, stage, 20, 8);
    make(m, "classifier.weight", 1, 4, 1, 1, 4);
    make(m, "classifier.bias", 1, 1, 1, 1, 1);
    write_and_free(m, path);
}

/* ---- what is expected ---- */

static tensor_file vectors;

static int setup(void **state)
{
    if (temp_folder_make(state) || context_make(state)) return -1;
    return safetensors_open(&vectors, "vectors/annotators.safetensors", &context.error) == DT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    tensor_file_close(&vectors);
    return context_remove(state) | temp_folder_remove(state);
}

static const tensor_entry *expected(const char *name)
{
    const tensor_entry *e = tensor_file_find(&vectors, name);
    if (!e) fail_msg("vectors have no %s", name);
    return e;
}

static void assert_same_bytes(const uint8_t *map, const tensor_entry *e)
{
    const uint8_t *bytes = e->data;
    int64_t wrong = 0;
    for (int64_t i = 0; i < e->count; i++) wrong += map[i] != bytes[i];
    if (wrong) fail_msg("%s: %lld of %lld pixels differ", e->name, (long long)wrong, (long long)e->count);
}

/* Calls check(e) for each of the expected tensors whose name begins with `prefix`; returns their number. */
static int for_each(const char *prefix, void (*check)(const tensor_entry *e))
{
    int count = 0;
    for (size_t i = 0; i < vectors.count; i++)
        if (!strncmp(vectors.entries[i].name, prefix, strlen(prefix))) {
            check(&vectors.entries[i]);
            count++;
        }
    return count;
}

/* ---- maps ---- */

static void check_canny(const tensor_entry *e)
{
    annotator a;
    image im = picture("canny", e->dims[1], e->dims[0]);
    uint8_t *map = malloc((size_t)e->count);
    assert_non_null(map);
    assert_int_equal(annotator_open(&context, &a, ANNOTATE_CANNY, ""), DT_OK);
    assert_int_equal(a.channels, 1);
    assert_int_equal(annotate(&context, &a, map, im.rgb, im.height, im.width), DT_OK);
    assert_same_bytes(map, e);
    free(map);
    image_close(&im);
}

static void canny_is_opencv_s_to_the_pixel(void **state)
{
    (void)state;
    assert_int_equal(for_each("canny.", check_canny), 7);
}

static void check_sketch(const tensor_entry *e)
{
    char name[48];
    snprintf(name, sizeof name, "soft.%s", strchr(e->name, '.') + 1);
    uint8_t *map = malloc((size_t)e->count);
    assert_non_null(map);
    memcpy(map, expected(name)->data, (size_t)e->count);
    assert_int_equal(sketch_of_soft_edge(&context, map, map, e->dims[0], e->dims[1]), DT_OK);
    assert_same_bytes(map, e);
    free(map);
}

static void a_sketch_of_a_soft_edge_is_opencv_s_to_the_pixel(void **state)
{
    (void)state;
    assert_int_equal(for_each("sketch.", check_sketch), 6);
}

static void check_hed_map(const tensor_entry *e)
{
    const int64_t height = e->dims[0], width = e->dims[1];
    float *logit[HED_BLOCKS];
    uint8_t *map = malloc((size_t)e->count);
    assert_non_null(map);
    for (int b = 0; b < HED_BLOCKS; b++) {
        char name[16];
        snprintf(name, sizeof name, "logit %d", b);
        const int64_t count = (height >> b) * (width >> b);
        assert_non_null(logit[b] = malloc((size_t)count * sizeof(float)));
        for (int64_t i = 0; i < count; i++) logit[b][i] = (float)(4 * noise(seed_of(name), i));
    }
    assert_int_equal(hed_map(&context, map, (const float *const *)logit, height, width), DT_OK);
    assert_same_bytes(map, e);
    for (int b = 0; b < HED_BLOCKS; b++) free(logit[b]);
    free(map);
}

static void logits_become_the_map_of_opencv_and_numpy(void **state)
{
    (void)state;
    assert_int_equal(for_each("hed_map.", check_hed_map), 2);
}

/* ---- networks ---- */

static void assert_near(const float *found, const char *name, double tolerance)
{
    const tensor_entry *e = expected(name);
    double largest = 0, worst = 0;
    const float *values = e->data;
    for (int64_t i = 0; i < e->count; i++) {
        largest = fmax(largest, fabs((double)values[i]));
        worst = fmax(worst, fabs((double)found[i] - (double)values[i]));
    }
    print_message("%s: largest difference %.2e of %.2f\n", name, worst, largest);
    assert_true(worst < tolerance * largest);
}

static void open_or_fail(annotator *a, annotator_kind kind, const char *path)
{
    if (annotator_open(&context, a, kind, path) != DT_OK) fail_msg("%s", context.error.message);
}

static void hed_is_pytorch_s(void **state)
{
    (void)state;
    annotator a, pen;
    tensor *logit[HED_BLOCKS];
    const float *values[HED_BLOCKS];
    uint8_t map[HEIGHT * WIDTH], other[HEIGHT * WIDTH];
    image im = picture("network", WIDTH, HEIGHT);
    write_hed(temp_path("hed.safetensors"), 512);
    open_or_fail(&a, ANNOTATE_HED, temp_path("hed.safetensors"));
    assert_int_equal(strlen(a.sha256), 64);
    hed_forward(&context, a.net, logit, im.rgb, HEIGHT, WIDTH);
    for (int b = 0; b < HED_BLOCKS; b++) {
        char name[32];
        snprintf(name, sizeof name, "hed.logit.%d", b);
        values[b] = numbers_read(&context, &context.step, logit[b]->data, tensor_count(logit[b]));
        assert_int_equal(tensor_count(logit[b]), expected(name)->count);
        assert_near(values[b], name, 1e-5);
    }
    const size_t used = arena_mark(&context.step).own;
    assert_int_equal(annotate(&context, &a, map, im.rgb, HEIGHT, WIDTH), DT_OK);
    hed_map(&context, other, values, HEIGHT, WIDTH);
    assert_memory_equal(map, other, sizeof map);
    open_or_fail(&pen, ANNOTATE_SKETCH, temp_path("hed.safetensors"));
    assert_int_equal(annotate(&context, &pen, map, im.rgb, HEIGHT, WIDTH), DT_OK);
    sketch_of_soft_edge(&context, other, other, HEIGHT, WIDTH);
    assert_memory_equal(map, other, sizeof map);
    assert_int_equal(arena_mark(&context.step).own, used);
    image_close(&im);
}

static void check_pidinet(const char *path, const char *name, double tolerance)
{
    annotator a;
    float edge[HEIGHT * WIDTH];
    uint8_t map[HEIGHT * WIDTH];
    image im = picture("network", WIDTH, HEIGHT);
    open_or_fail(&a, ANNOTATE_PIDINET, path);
    assert_int_equal(pidinet_edges(&context, a.net, edge, im.rgb, HEIGHT, WIDTH), DT_OK);
    assert_near(edge, name, tolerance);
    context.gemm_flags = GEMM_BF16; /* must not reach a map */
    assert_int_equal(annotate(&context, &a, map, im.rgb, HEIGHT, WIDTH), DT_OK);
    context.gemm_flags = 0;
    for (int i = 0; i < HEIGHT * WIDTH; i++) assert_int_equal(map[i], (int)(edge[i] * 255));
    image_close(&im);
}

static void pidinet_is_pytorch_s(void **state)
{
    (void)state;
    write_pidinet(temp_path("pidinet.safetensors"));
    check_pidinet(temp_path("pidinet.safetensors"), "pidinet.made", 1e-5);
}

static void pidinet_s_published_weights_work(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    shared_path(path, "weights/edges/table5_pidinet-tiny.pth");
    check_pidinet(path, "pidinet.table5_pidinet-tiny", 1e-5);
    shared_path(path, "weights/edges/table5_pidinet.pth");
    check_pidinet(path, "pidinet.table5_pidinet", 1e-5);
}

/* ---- bad input ---- */

static void refused(annotator_kind kind, const char *path, dt_status status, const char *says)
{
    annotator a;
    assert_int_equal(annotator_open(&context, &a, kind, path), status);
    assert_says(context.error.message, says);
    error_clear(&context.error);
}

static void weights_that_do_not_fit_are_refused_by_name(void **state)
{
    (void)state;
    write_pidinet(temp_path("pidinet.safetensors"));
    write_hed(temp_path("narrow.safetensors"), 8);
    refused(ANNOTATE_CANNY, "x.pth", DT_ERR_ARG, "annotator_weights: canny has no weights, given x.pth");
    refused(ANNOTATE_HED, "", DT_ERR_ARG, "annotator_weights: hed needs a file of weights, such as ControlNetHED.pth");
    refused(ANNOTATE_HED, temp_path("pidinet.safetensors"), DT_ERR_SHAPE, "pidinet.safetensors: tensor norm");
    refused(ANNOTATE_SKETCH, temp_path("narrow.safetensors"), DT_ERR_SHAPE,
            "tensor block5.convs.0.weight: shape [512,512,3,3] expected (ControlNet's HED), found [8,512,3,3]");
    refused(ANNOTATE_PIDINET, temp_path("narrow.safetensors"), DT_ERR_SHAPE,
            "tensor init_block.weight of shape [1,3,3,3] expected (PiDiNet), found none");
    refused(ANNOTATE_PIDINET, temp_path("none.pth"), DT_ERR_IO, "none.pth");
}

static void pictures_too_small_for_a_network_are_refused(void **state)
{
    (void)state;
    annotator a;
    uint8_t map[4 * 100] = {7};
    image im = picture("small", 100, 4);
    write_pidinet(temp_path("pidinet.safetensors"));
    open_or_fail(&a, ANNOTATE_PIDINET, temp_path("pidinet.safetensors"));
    assert_int_equal(annotate(&context, &a, map, im.rgb, 4, 100), DT_ERR_SHAPE);
    assert_says(context.error.message, "a picture of 100x4 pixels: pidinet needs 8x8 at least");
    assert_int_equal(map[0], 7);
    error_clear(&context.error);
    image_close(&im);
}

static void kinds_have_names(void **state)
{
    (void)state;
    for (annotator_kind kind = 0; kind < ANNOTATOR_KINDS; kind++)
        if (annotator_name(kind)) assert_int_equal(annotator_named(annotator_name(kind)), kind);
    assert_int_equal(annotator_named("canny"), ANNOTATE_CANNY);
    assert_int_equal(annotator_named("Canny"), ANNOTATOR_KINDS);
    assert_null(annotator_weights_name(ANNOTATE_CANNY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(canny_is_opencv_s_to_the_pixel, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sketch_of_a_soft_edge_is_opencv_s_to_the_pixel, setup, teardown),
        cmocka_unit_test_setup_teardown(logits_become_the_map_of_opencv_and_numpy, setup, teardown),
        cmocka_unit_test_setup_teardown(hed_is_pytorch_s, setup, teardown),
        cmocka_unit_test_setup_teardown(pidinet_is_pytorch_s, setup, teardown),
        cmocka_unit_test_setup_teardown(pidinet_s_published_weights_work, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_that_do_not_fit_are_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(pictures_too_small_for_a_network_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(kinds_have_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
