/* The FID network at its full size against pytorch-fid: weights are made by the formula of vectors/inception_reference.py,
 * expected values (in double) come from vectors/make_inception_vectors.py. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "context_fixture.h"
#include "file/folder.h"
#include "formula.h"
#include "temp_folder.h"

#include "container/safetensors.h"
#include "data/sample_stack.h"
#include "model/feature/inception.h"

enum { PIXELS = INCEPTION_SIDE * INCEPTION_SIDE * 3, TENSORS = 5 * INCEPTION_CONVOLUTIONS + 2 };

/* ---- what inception_reference.py makes ---- */

typedef struct made_tensor {
    char name[64];
    int64_t dims[4], count;
    int dim_count;
    float *values;
} made_tensor;

static made_tensor made[TENSORS];
static int made_count;

static void make(const char *prefix, const char *suffix, int dim_count, const int64_t dims[], double offset,
                 double scale)
{
    made_tensor *t = &made[made_count++];
    snprintf(t->name, sizeof t->name, "%s%s", prefix, suffix);
    t->dim_count = dim_count;
    t->count = 1;
    for (int i = 0; i < dim_count; i++) t->count *= t->dims[i] = dims[i];
    t->values = malloc((size_t)t->count * sizeof(float));
    assert_non_null(t->values);
    uint64_t seed = seed_of(t->name);
    for (int64_t i = 0; i < t->count; i++) t->values[i] = (float)(offset + scale * noise(seed, i));
}

static void make_all(void)
{
    FILE *f = fopen("vectors/inception_names.txt", "r");
    char name[48];
    int64_t d[4];
    assert_non_null(f);
    while (fscanf(f, "%47s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, name, &d[0], &d[1], &d[2], &d[3]) == 5) {
        make(name, ".conv.weight", 4, d, 0, sqrt(6 / (double)(d[1] * d[2] * d[3])));
        make(name, ".bn.weight", 1, d, 1, 0.25);
        make(name, ".bn.bias", 1, d, 0, 0.25);
        make(name, ".bn.running_mean", 1, d, 0, 0.25);
        make(name, ".bn.running_var", 1, d, 1, 0.25);
    }
    fclose(f);
    make("fc", ".weight", 2, (int64_t[]){INCEPTION_CLASSES, INCEPTION_FEATURES}, 0, 0.0625);
    make("fc", ".bias", 1, (int64_t[]){INCEPTION_CLASSES}, 0, 0.25);
    assert_int_equal(made_count, TENSORS);
}

static void write_weights(const char *path, int count)
{
    tensor_source sources[TENSORS];
    for (int i = 0; i < count; i++)
        sources[i] = (tensor_source){.name = made[i].name,
                                     .dtype = SAFETENSORS_F32,
                                     .dim_count = made[i].dim_count,
                                     .dims = made[i].dims,
                                     .values = made[i].values};
    if (safetensors_write(path, sources, (size_t)count, NULL, 0, NULL, &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
}

/* ---- the tests ---- */

static int setup(void **state)
{
    if (temp_folder_make(state) || context_make(state)) return -1;
    make_all();
    write_weights(temp_path("weights.safetensors"), TENSORS);
    return 0;
}

static int teardown(void **state)
{
    for (int i = 0; i < made_count; i++) free(made[i].values);
    return context_remove(state) | temp_folder_remove(state);
}

static void prepare(float *x, const char *name)
{
    image im = picture(name, INCEPTION_SIDE, INCEPTION_SIDE);
    assert_int_equal(inception_prepare(x, &im, DT_INCEPTION_TF1, &context.error), DT_OK);
    image_close(&im);
}

static void assert_near(const float *found, const float *expected, int64_t count, const char *what)
{
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)expected[i]));
        worst = fmax(worst, fabs((double)found[i] - (double)expected[i]));
    }
    print_message("%s: largest difference %.2e of %.2f\n", what, worst, largest);
    assert_true(worst < 1e-5 * largest);
}

static void read_expected(float *out, const tensor_file *f, const char *name, int64_t count)
{
    const tensor_entry *e = tensor_file_find(f, name);
    assert_true(e && e->count == count);
    assert_int_equal(tensor_read_f32(out, e, &context.error), DT_OK);
}

/* Both pictures at once, then the second alone with one thread and in the context's bf16 mode: the same bits. */
static void features_are_those_of_pytorch_fid(void **state)
{
    (void)state;
    static float x[2 * PIXELS], pool[2 * INCEPTION_FEATURES], spatial[2 * INCEPTION_SPATIAL];
    static float logits[2 * INCEPTION_CLASSES], expected[2 * INCEPTION_FEATURES], alone[INCEPTION_FEATURES];
    inception net;
    tensor_file f;
    if (inception_open(&context, &net, temp_path("weights.safetensors")) != DT_OK)
        fail_msg("%s", context.error.message);
    prepare(x, "picture 0");
    prepare(x + PIXELS, "picture 1");
    const size_t used = arena_mark(&context.step).own;
    assert_int_equal(inception_features(&context, pool, spatial, &net, x, 2), DT_OK);
    assert_int_equal(inception_logits(&context, logits, &net, pool, 2, true), DT_OK);
    assert_int_equal(arena_mark(&context.step).own, used);
    print_message("%.0f MB of activations\n", (double)context.step.peak / 1e6);
    assert_int_equal(safetensors_open(&f, "vectors/inception.safetensors", &context.error), DT_OK);
    read_expected(expected, &f, "pool", 2 * INCEPTION_FEATURES);
    assert_near(pool, expected, 2 * INCEPTION_FEATURES, "pool");
    read_expected(expected, &f, "spatial", 2 * INCEPTION_SPATIAL);
    assert_near(spatial, expected, 2 * INCEPTION_SPATIAL, "spatial");
    read_expected(expected, &f, "logits", 2 * INCEPTION_CLASSES);
    assert_near(logits, expected, 2 * INCEPTION_CLASSES, "logits");
    tensor_file_close(&f);

    float unbiased[INCEPTION_CLASSES];
    assert_int_equal(inception_logits(&context, unbiased, &net, pool, 1, false), DT_OK);
    for (int i = 0; i < INCEPTION_CLASSES; i++)
        assert_true(fabsf(unbiased[i] + net.classes.bias->data[i] - logits[i]) < 1e-5F);

    context.gemm_flags = GEMM_BF16;
    context.threads = 1;
    ctx_enter(&context);
    assert_int_equal(inception_features(&context, alone, NULL, &net, x + PIXELS, 1), DT_OK);
    assert_memory_equal(alone, pool + INCEPTION_FEATURES, sizeof alone);
    assert_memory_not_equal(alone, pool, sizeof alone);
    assert_int_equal(context.gemm_flags, GEMM_BF16);
    context.gemm_flags = 0;
    arena_clear(&context.model);
}

static void refused(int count, dt_status status, const char *part, const char *other_part)
{
    inception net;
    write_weights(temp_path("other.safetensors"), count);
    assert_int_equal(inception_open(&context, &net, temp_path("other.safetensors")), status);
    if (!strstr(context.error.message, part) || !strstr(context.error.message, other_part))
        fail_msg("%s", context.error.message);
    error_clear(&context.error);
    arena_clear(&context.model);
}

static void files_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    refused(1, DT_ERR_SHAPE, "Conv2d_1a_3x3.bn.weight", "found none");
    refused(5, DT_ERR_SHAPE, "Conv2d_2a_3x3.conv.weight", "[32,32,3,3] expected");
    made[4].values[3] = -0.5F;
    refused(5, DT_ERR_FORMAT, "Conv2d_1a_3x3.bn.running_var", "value 3 is -0.5");
    made[4].values[3] = NAN;
    refused(5, DT_ERR_FORMAT, "Conv2d_1a_3x3.bn.running_var", "value 3 is");
}

/* ---- through the library's front door ---- */

#ifdef __SANITIZE_ADDRESS__
enum { PICTURES = 4 };
#else
enum { PICTURES = 10 }; /* as many as an Inception Score asks for */
#endif

enum { WIDTH = 48, HEIGHT = 40 };

static dt_settings eval_settings(const char *reference, const char *candidate)
{
    dt_settings s;
    dt_settings_init(&s);
    s.threads = 2;
    s.feature = DT_FEATURE_INCEPTION;
    snprintf(s.feature_weights, sizeof s.feature_weights, "%s", temp_path("weights.safetensors"));
    snprintf(s.reference, sizeof s.reference, "%s", reference);
    snprintf(s.candidate, sizeof s.candidate, "%s", candidate);
    return s;
}

/* What the library said while it measured. */
static char said[1024];

static void listen(void *user, const char *line)
{
    (void)user;
    snprintf(said, sizeof said, "%s", line);
}

static dt_eval_result measure(const dt_settings *s)
{
    dt_context *c;
    dt_eval_result r;
    const dt_observer observer = {.log = listen};
    said[0] = '\0';
    if (dt_open(&c, s) != DT_OK || dt_eval(c, s, &observer, &r) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
    return r;
}

/* The same pictures as a folder and as a stack. */
static void make_pictures(const char *stack, int count)
{
    dt_error *err = &context.error;
    sample_stack_writer w;
    assert_int_equal(file_make_dirs(temp_path("pictures"), err), DT_OK);
    assert_int_equal(sample_stack_begin(&w, temp_path(stack), count, WIDTH, HEIGHT, err), DT_OK);
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, "pictures/%02d.png", i);
        image im = picture(name, WIDTH, HEIGHT);
        assert_int_equal(sample_stack_add(&w, im.rgb, 1, err), DT_OK);
        assert_int_equal(image_write_png(temp_path(name), im.rgb, WIDTH, HEIGHT, NULL, 0, err), DT_OK);
        image_close(&im);
    }
    if (sample_stack_commit(&w, NULL, err) != DT_OK) fail_msg("%s", err->message);
}

/* A file as ADM's references are: statistics without a name, and pictures. */
static void make_adm_reference(void)
{
    static const char *const names[] = {"mu", "sigma", "mu_s", "sigma_s", NULL};
    static const char *const pictures[] = {"arr_0", NULL};
    dt_error *err = &context.error;
    npz statistics, stack;
    npz_array arrays[5];
    assert_int_equal(npz_read_some(&statistics, temp_path("saved.npz"), names, INT64_MAX, err), DT_OK);
    assert_int_equal(npz_read_some(&stack, temp_path("stack.npz"), pictures, INT64_MAX, err), DT_OK);
    assert_int_equal(statistics.count, 4);
    memcpy(arrays, statistics.arrays, sizeof statistics.arrays[0] * 4);
    arrays[4] = stack.arrays[0];
    assert_int_equal(npz_write(temp_path("adm.npz"), arrays, 5, err), DT_OK);
    npz_free(&statistics);
    npz_free(&stack);
}

/* A folder, and its statistics with a stack of its pictures as ADM's reference files have them, against the stack. */
static void the_same_pictures_are_at_no_distance_however_they_come(void **state)
{
    (void)state;
    make_pictures("stack.npz", PICTURES);
    dt_settings s = eval_settings(temp_path("pictures"), "");
    snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path("saved.npz"));
    dt_eval_result r = measure(&s);
    assert_int_equal(r.reference_count, PICTURES);
    assert_true(isnan(r.frechet_distance) && isnan(r.precision));
    assert_memory_equal(said, "memory: ", 8); /* and nothing behind it */

    make_adm_reference();
    s = eval_settings(temp_path("adm.npz"), temp_path("stack.npz"));
    r = measure(&s);
    assert_string_equal(r.measure, "FID tf1");
    assert_true(r.frechet_distance < 1e-6 && r.spatial_frechet_distance < 1e-6);
    assert_true(r.precision == 1 && r.recall == 1);
    assert_true(PICTURES < 10 ? isnan(r.inception_score) : r.inception_score > 1);
    assert_true(isfinite(r.kernel_distance));
    assert_int_equal(r.reference_count, PICTURES); /* by its pictures: the file does not say */
    assert_int_equal(r.candidate_count, PICTURES);
    assert_non_null(strstr(said, "does not say how its images were resized; taken for FID tf1"));
}

static void another_resize_or_size_is_another_set_of_features(void **state)
{
    (void)state;
    double mean[4];
#ifdef __SANITIZE_ADDRESS__
    skip(); /* slow there, and its code is in the test before */
#endif
    make_pictures("pair.npz", 2);
    for (int i = 0; i < 4; i++) {
        npz z;
        static const char *const names[] = {"mu", NULL};
        dt_settings s = eval_settings(temp_path("pair.npz"), "");
        s.inception_resize = i < 3 ? (dt_inception_resize)i : DT_INCEPTION_TF1;
        s.resolution = i < 3 ? 0 : 32;
        snprintf(s.save_statistics, sizeof s.save_statistics, "%s", temp_path("one.npz"));
        measure(&s);
        assert_int_equal(npz_read_some(&z, temp_path("one.npz"), names, 1 << 20, &context.error), DT_OK);
        mean[i] = ((const double *)z.arrays[0].data)[0];
        npz_free(&z);
        for (int k = 0; k < i; k++) assert_true(mean[k] != mean[i]);
    }
    /* the last one says tf1 */
    dt_context *c;
    dt_eval_result r;
    dt_settings s = eval_settings(temp_path("one.npz"), temp_path("one.npz"));
    s.inception_resize = DT_INCEPTION_CLEAN;
    assert_int_equal(dt_open(&c, &s), DT_OK);
    assert_int_equal(dt_eval(c, &s, NULL, &r), DT_ERR_CONFLICT);
    assert_non_null(strstr(dt_message(c), "statistics of FID tf1 with 2048 values a feature; expected FID clean"));
    dt_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_those_of_pytorch_fid),
        cmocka_unit_test(the_same_pictures_are_at_no_distance_however_they_come),
        cmocka_unit_test(another_resize_or_size_is_another_set_of_features),
        cmocka_unit_test(files_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
