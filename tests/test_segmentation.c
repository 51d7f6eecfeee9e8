/* UniFormer-S with UPerNet against ControlNet's modules in double, labels and colours of pictures, and the resizing before
 * (vectors/make_depth_vectors.py). */
#include "annotator_fixture.h"

#include <nettle/sha2.h>

#include "model/annotate/annotator.h"
#include "model/annotate/bilinear.h"
#include "model/annotate/upernet.h"

static const upernet *open_network(const char *path)
{
    tensor_file f;
    const void *net = NULL;
    assert_int_equal(tensor_file_open(&f, path, &context.error), DT_OK);
    if (upernet_open(&context, &net, &f) != DT_OK) fail_msg("%s", context.error.message);
    tensor_file_close(&f);
    return net;
}

static int setup(void **state)
{
    if (temp_folder_make(state) || context_make(state)) return -1;
    make_weights("segmentation_names.txt");
    return 0;
}

static int teardown(void **state)
{
    free_weights();
    return context_remove(state) | temp_folder_remove(state);
}

/* Every 16th row from the 4th and every 16th column from the 6th are kept. */
static void check_logits(const upernet *net, const char *name, const image *seen, const tensor_entry *e)
{
    const arena_place mark = arena_mark(&context.step);
    tensor *y = upernet_logits(&context, net, seen->rgb, seen->height, seen->width);
    assert_non_null(y);
    const int64_t columns = e->dims[1], w = y->dim[2];
    float *all = vector_values(e),
          *found = arena_alloc(&context.model, (size_t)e->count * sizeof *found, &context.error);
    float *logits = arena_alloc(&context.model, tensor_bytes(y), &context.error);
    assert_true(numbers_fetch(&context, logits, y->data, tensor_count(y)));
    for (int64_t i = 0; i < e->count; i++) {
        const int64_t k = i % UPERNET_CLASSES, at = i / UPERNET_CLASSES;
        found[i] = logits[((3 + 16 * (at / columns)) * w + 5 + 16 * (at % columns)) * UPERNET_CLASSES + k];
    }
    const double error = relative_error(found, all, e->count);
    print_message("%s: logits %.2e\n", name, error);
    assert_true(error < 1e-4);
    arena_release(&context.step, mark);
}

/* Labels may differ only where the first two classes are as good as equal. */
static void check_labels(const upernet *net, const tensor_file *f, const char *name, const image *im)
{
    const tensor_entry *e = find_vector(f, name, ".labels");
    const uint8_t *expected = e->data;
    const float *lead = vector_values(find_vector(f, name, ".lead"));
    uint8_t *label = arena_alloc(&context.model, (size_t)e->count, &context.error);
    context.gemm_flags = GEMM_BF16; /* must not reach the annotator */
    assert_int_equal(upernet_labels(&context, net, label, im->rgb, im->height, im->width), DT_OK);
    assert_int_equal(context.gemm_flags, GEMM_BF16);
    context.gemm_flags = 0;
    int others = 0;
    for (int64_t i = 0; i < e->count; i++) {
        others += label[i] != expected[i];
        if (label[i] != expected[i] && lead[i] > 1e-4F)
            fail_msg("%s, pixel %d: label %d, expected %d", name, (int)i, label[i], expected[i]);
    }
    print_message("%s: %d of %d labels differ\n", name, others, (int)e->count);
    assert_true(others * 1000 < e->count);
}

/* A picture that is enlarged and brought back, and one that is square; one of 512x512 where the vectors are of the published widths. */
static void segmentations_agree_with_the_reference(void **state)
{
    static const char *const names[] = {"small", "square", "full"};
    (void)state;
    const upernet *net = open_network(write_weights("upernet.safetensors", "state_dict.", -1));
    tensor_file f = open_vectors("segmentation.safetensors");
    int compared = 0;
    for (int i = 0; i < 3; i++) {
        const tensor_entry *e = find_vector(&f, names[i], ".labels");
        if (!e) continue;
        char name[32];
        int64_t sides[2];
        snprintf(name, sizeof name, "picture %s", names[i]);
        image im = picture(name, e->dims[1], e->dims[0]), seen;
        assert_true(upernet_seen_sides(sides, im.height, im.width));
        assert_int_equal(image_alloc(&seen, sides[1], sides[0], &context.error), DT_OK);
        assert_int_equal(bilinear_bytes(&context, seen.rgb, sides[0], sides[1], im.rgb, im.height, im.width), DT_OK);
        check_logits(net, names[i], &seen, find_vector(&f, names[i], ".logits"));
        check_labels(net, &f, names[i], &im);
        image_close(&seen);
        image_close(&im);
        compared++;
    }
    assert_true(compared > 0);
    tensor_file_close(&f);
}

static void bytes_are_resized_as_opencv_does(void **state)
{
    static const struct {
        const char *name;
        int64_t height, width;
    } cases[] = {{"grown", 5, 7}, {"shrunk", 30, 40}, {"line", 1, 9}};
    (void)state;
    tensor_file f = open_vectors("segmentation.safetensors");
    for (int i = 0; i < 3; i++) {
        char name[32];
        const tensor_entry *e = find_vector(&f, cases[i].name, ".bytes");
        snprintf(name, sizeof name, "bytes %s", cases[i].name);
        image im = picture(name, cases[i].width, cases[i].height);
        uint8_t *out = arena_alloc(&context.model, (size_t)e->count, &context.error);
        assert_int_equal(bilinear_bytes(&context, out, e->dims[0], e->dims[1], im.rgb, im.height, im.width), DT_OK);
        assert_memory_equal(out, e->data, (size_t)e->count);
        image_close(&im);
    }
    tensor_file_close(&f);
}

static void the_palette_is_ade_s(void **state)
{
    static const char expected[] = "ce475c9151035eff51f4cf27fd7d906959b1480f6d15b9423ae2417c1b23a0ed";
    (void)state;
    uint8_t label[UPERNET_CLASSES], map[3 * UPERNET_CLASSES], digest[SHA256_DIGEST_SIZE];
    char hex[2 * SHA256_DIGEST_SIZE + 1];
    for (int i = 0; i < UPERNET_CLASSES; i++) label[i] = (uint8_t)i;
    upernet_paint(map, label, UPERNET_CLASSES);
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, sizeof map, map);
    sha256_digest(&hash, sizeof digest, digest);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
    assert_memory_equal(map + 3 * 6, map + 3 * 48, 3);
}

static void the_annotator_paints_the_labels_it_gives(void **state)
{
    (void)state;
    annotator a;
    uint8_t label[16 * 20], map[3 * 16 * 20], expected[3 * 16 * 20];
    image im = picture("painted", 20, 16);
    const char *path = write_weights("upernet.safetensors", "", -1);
    assert_int_equal(annotator_open(&context, &a, ANNOTATE_SEG, path), DT_OK);
    assert_int_equal(a.channels, 3);
    assert_int_equal(annotate_labels(&context, &a, label, im.rgb, 16, 20), DT_OK);
    assert_int_equal(annotate(&context, &a, map, im.rgb, 16, 20), DT_OK);
    upernet_paint(expected, label, 16 * 20);
    assert_memory_equal(map, expected, sizeof map);
    image_close(&im);
}

static void a_picture_too_narrow_is_refused(void **state)
{
    (void)state;
    const upernet *net = open_network(write_weights("upernet.safetensors", "", -1));
    static uint8_t rgb[3 * 200], label[200];
    assert_int_equal(upernet_labels(&context, net, label, rgb, 2, 100), DT_OK);
    assert_int_equal(upernet_labels(&context, net, label, rgb, 1, 100), DT_ERR_SHAPE);
    assert_non_null(strstr(context.error.message, "100x1"));
}

static void files_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    each_missing_tensor_is_named(upernet_open, 23);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(segmentations_agree_with_the_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_are_resized_as_opencv_does, setup, teardown),
        cmocka_unit_test_setup_teardown(the_palette_is_ade_s, setup, teardown),
        cmocka_unit_test_setup_teardown(the_annotator_paints_the_labels_it_gives, setup, teardown),
        cmocka_unit_test_setup_teardown(a_picture_too_narrow_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(files_that_do_not_fit_are_refused, setup, teardown),
    };
    if (argc > 1) {
        vectors_folder = argv[1];
        cmocka_set_test_filter("segmentations_agree_*");
    }
    return cmocka_run_group_tests_name("test_segmentation", tests, NULL, NULL);
}
