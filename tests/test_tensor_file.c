/* The view of a file of named tensors that all containers share: finding, narrowing, strides. */
#include "file/content.h"
#include "temp_folder.h"

#include <math.h>
#include <string.h>

#include "container/npz.h"
#include "container/pytorch.h"
#include "container/safetensors.h"
#include "container/tensor_open.h"
#include "file/json_file.h"

static dt_error err;

static void no_failure(void)
{
    if (err.status != DT_OK) fail_msg("%s", err.message);
}

/* ---- narrowing ---- */

static void write_named(const char *const names[], size_t count)
{
    tensor_source source[8];
    float value[8];
    for (size_t i = 0; i < count; i++) {
        value[i] = (float)i;
        source[i] = (tensor_source){.name = names[i], .dtype = SAFETENSORS_F32, .values = &value[i]};
    }
    safetensors_write(temp_path("named"), source, count, NULL, 0, NULL, &err);
    no_failure();
}

static float value_of(const tensor_file *f, const char *name)
{
    float value = -1;
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e) fail_msg("no tensor %s", name);
    tensor_read_f32(&value, e, &err);
    no_failure();
    return value;
}

static void a_prefix_narrows_the_file_to_its_tensors(void **state)
{
    (void)state;
    tensor_file f;
    write_named((const char *[]){"model.w", "ema.b", "ema.w", "emaw", "ema.module.w", "opt.0"}, 6);
    tensor_file_open(&f, temp_path("named"), &err);
    no_failure();
    assert_string_equal(f.container, "safetensors");
    assert_false(tensor_file_enter(&f, "em."));
    assert_false(tensor_file_enter(&f, "ema.w."));
    assert_int_equal(f.count, 6);
    assert_true(tensor_file_enter(&f, "ema."));
    assert_int_equal(f.count, 3);
    assert_true(value_of(&f, "b") == 1 && value_of(&f, "w") == 2 && value_of(&f, "module.w") == 4);
    assert_null(tensor_file_find(&f, "ema.w"));
    assert_null(tensor_file_find(&f, "model.w"));
    assert_true(tensor_file_enter(&f, "module."));
    assert_true(f.count == 1 && value_of(&f, "w") == 4);
    tensor_file_close(&f);
}

/* ---- strides ---- */

static void strided_values_come_in_row_major_order(void **state)
{
    (void)state;
    /* x[i][j][k] of 2 x 3 x 2 at 100 i + 1 j + 10 k: what a permutation leaves, with a gap */
    static int16_t storage[128];
    const int64_t dims[] = {2, 3, 2}, strides[] = {100, 1, 10};
    tensor_entry e = {.name = "x",
                      .path = "a file",
                      .dtype = SAFETENSORS_I16,
                      .dim_count = 3,
                      .dims = dims,
                      .strides = strides,
                      .count = 12,
                      .data = storage,
                      .bytes = 24};
    int64_t out[12];
    for (int i = 0; i < 128; i++) storage[i] = (int16_t)(i - 20);
    assert_int_equal(tensor_read_i64(out, &e, &err), DT_OK);
    for (int64_t i = 0; i < 12; i++) assert_int_equal(out[i], 100 * (i / 6) + i / 2 % 3 + 10 * (i % 2) - 20);
}

static void one_value_may_stand_for_many(void **state)
{
    (void)state;
    const double value = 0.5;
    const int64_t dims[] = {2, 3}, strides[] = {0, 0};
    tensor_entry e = {.name = "x",
                      .path = "a file",
                      .dtype = SAFETENSORS_F64,
                      .dim_count = 2,
                      .dims = dims,
                      .strides = strides,
                      .count = 6,
                      .data = &value,
                      .bytes = 48};
    float out[6] = {0};
    assert_int_equal(tensor_read_f32(out, &e, &err), DT_OK);
    for (int i = 0; i < 6; i++) assert_true(out[i] == 0.5f);
    int64_t integers[6];
    assert_int_equal(tensor_read_i64(integers, &e, &err), DT_ERR_SHAPE);
    assert_string_equal(err.message, "a file: tensor x: type F64, expected an integer type");
    error_clear(&err);
}

static void a_shape_is_described_and_a_long_one_cut(void **state)
{
    (void)state;
    char text[TENSOR_SHAPE_TEXT];
    int64_t dims[TENSOR_FILE_STRIDED_DIM_MAX];
    for (int i = 0; i < TENSOR_FILE_STRIDED_DIM_MAX; i++) dims[i] = INT64_MAX;
    tensor_describe_shape(text, 0, NULL);
    assert_string_equal(text, "[]");
    tensor_describe_shape(text, 3, (int64_t[]){2, 0, 1152});
    assert_string_equal(text, "[2,0,1152]");
    tensor_describe_shape(text, 3, dims);
    assert_string_equal(text, "[9223372036854775807,9223372036854775807,9223372036854775807]");
    tensor_describe_shape(text, TENSOR_FILE_STRIDED_DIM_MAX, dims);
    assert_non_null(strstr(text, "7..]"));
}

static void what_is_not_finite_is_named_on_the_way_in_and_out(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float values[5000] = {0}, back[5000];
    const int64_t dim = 5000;
    tensor_source source = {
        .name = "blocks.0.w", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &dim, .values = values};
    for (int i = 0; i < 3; i++) {
        tensor_file f;
        values[4321] = bad[i];
        source.finite = false;
        safetensors_write(temp_path("weights"), &source, 1, NULL, 0, NULL, &err);
        no_failure();
        tensor_file_open(&f, temp_path("weights"), &err);
        no_failure();
        assert_int_equal(tensor_read_f32(back, &f.entries[0], &err), DT_OK);
        assert_int_equal(tensor_read_finite(back, &f.entries[0], &err), DT_ERR_FORMAT);
        assert_says(err.message, "weights: tensor blocks.0.w: value 4321");
        error_clear(&err);
        tensor_file_close(&f);
        source.finite = true;
        const size_t files = temp_count();
        assert_int_equal(safetensors_write(temp_path("out"), &source, 1, NULL, 0, NULL, &err), DT_ERR_NUMERIC);
        assert_says(err.message, "blocks.0.w");
        error_clear(&err);
        assert_int_equal(temp_count(), files); /* nor is anything half written left */
    }
    values[4321] = 1e5F; /* finite here, and not as F16 */
    for (int half = 0; half < 2; half++) {
        source.dtype = half ? SAFETENSORS_F16 : SAFETENSORS_BF16;
        const dt_status expected = half ? DT_ERR_NUMERIC : DT_OK;
        assert_int_equal(safetensors_write(temp_path("half"), &source, 1, NULL, 0, NULL, &err), expected);
        if (half) assert_says(err.message, "value 4321 is 100000, which is not finite as F16");
        error_clear(&err);
        assert_int_equal(pytorch_write(temp_path("half.pt"), &source, 1, NULL, 0, NULL, &err), expected);
        error_clear(&err);
    }
}

static void something_else_under_a_name_is_called_what_it_is(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"<!doctype html>\n<html><head><title>Not found</title></head></html>\n", "a web page"},
        {"\n  <!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">", "a web page"},
        {"\xef\xbb\xbf<HTML lang=en>", "a web page"},
        {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "a web page"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "a Git LFS pointer"},
        {"/annex/objects/SHA256E-s1--0.pt\n", "a git-annex pointer"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        tensor_file f;
        npz z;
        temp_write("file", files[i][0], strlen(files[i][0]));
        assert_int_equal(tensor_file_open(&f, temp_path("file"), &err), DT_ERR_FORMAT);
        assert_says(err.message, files[i][1]);
        error_clear(&err);
        assert_int_equal(npz_read(&z, temp_path("file"), 1000, &err), DT_ERR_FORMAT);
        assert_says(err.message, files[i][1]);
        error_clear(&err);
        assert_null(json_file_read(temp_path("file"), &err));
        assert_says(err.message, files[i][1]);
        error_clear(&err);
    }
    static const char *const kinds[][2] = {
        {"\x89PNG\r\n\x1a\n....", "is a picture (PNG); a file of tensors is expected"},
        {"\xff\xd8\xff\xe0 JFIF", "is a picture (JPEG)"},
        {"\x1f\x8b\x08 of something", "is packed by gzip"},
        {"GGUF\x03 of something", "is a GGUF file"},
        {"model: custom\ndepth: 2\n", "is a text file"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        tensor_file f;
        temp_write("file", kinds[i][0], strlen(kinds[i][0]));
        assert_int_equal(tensor_file_open(&f, temp_path("file"), &err), DT_ERR_FORMAT);
        assert_says(err.message, kinds[i][1]);
        error_clear(&err);
    }
    assert_null(file_stands_for("version 1", 9));
    assert_null(file_stands_for("<!doctype html>\0", 16)); /* text has no zero byte */
    assert_null(file_stands_for("", 0));
}

/* Names of a hub, addresses, and the description of a folder of diffusers. */
static void what_is_no_path_of_tensors_says_what_is_expected(void **state)
{
    (void)state;
    static const char *const elsewhere[] = {"someone/some-model", "https://example.org/model.safetensors"};
    tensor_file f;
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        assert_int_equal(tensor_file_open(&f, elsewhere[i], &err), DT_ERR_IO);
        assert_says(err.message, "nothing is downloaded: the path of a file or folder is expected");
        error_clear(&err);
    }
    assert_int_equal(tensor_file_open(&f, temp_path("missing.pt"), &err), DT_ERR_IO);
    assert_null(strstr(err.message, "downloaded"));
    error_clear(&err);
    assert_int_equal(tensor_file_open(&f, "", &err), DT_ERR_IO);
    assert_says(err.message, "its path is empty");
    error_clear(&err);
    static const char index[] = "{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": []}";
    temp_write("model_index.json", index, strlen(index));
    assert_int_equal(tensor_file_open(&f, temp_path("model_index.json"), &err), DT_ERR_FORMAT);
    assert_says(err.message, "describes a StableDiffusionPipeline of diffusers and holds no tensors; give its folder");
    error_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_narrows_the_file_to_its_tensors),
        cmocka_unit_test(strided_values_come_in_row_major_order),
        cmocka_unit_test(a_shape_is_described_and_a_long_one_cut),
        cmocka_unit_test(one_value_may_stand_for_many),
        cmocka_unit_test(what_is_not_finite_is_named_on_the_way_in_and_out),
        cmocka_unit_test(something_else_under_a_name_is_called_what_it_is),
        cmocka_unit_test(what_is_no_path_of_tensors_says_what_is_expected),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
