/* The view of a file of named tensors that all containers share: finding, narrowing, strides. */
#include "temp_folder.h"

#include <string.h>

#include "container/safetensors.h"
#include "container/tensor_open.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_narrows_the_file_to_its_tensors),
        cmocka_unit_test(strided_values_come_in_row_major_order),
        cmocka_unit_test(a_shape_is_described_and_a_long_one_cut),
        cmocka_unit_test(one_value_may_stand_for_many),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
