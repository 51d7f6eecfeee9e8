/* What is written for torch.load comes back through our own reader, byte for byte; PyTorch itself reads it in
 * vectors/check_writers.py. */
#include "temp_folder.h"

#include <string.h>

#include "base/half.h"
#include "container/pytorch.h"
#include "container/tensor_open.h"
#include "container/zip_directory.h"

static dt_error err;

static const float floats[6] = {0, -1.5f, 3.25f, 1e-3f, 65504, -7};
static const int64_t two_by_three[] = {2, 3}, six[] = {6}, none[] = {0, 4};

static void must(dt_status status)
{
    if (status != DT_OK) fail_msg("%s", err.message);
}

static void all_kinds_come_back(void **state)
{
    (void)state;
    const int64_t integers[6] = {0, -1, 2, INT64_MAX, INT64_MIN, 5};
    const uint8_t bytes[6] = {0, 1, 2, 3, 254, 255};
    const tensor_source source[] = {
        {.name = "z.first", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = two_by_three, .values = floats},
        {.name = "half", .dtype = SAFETENSORS_F16, .dim_count = 1, .dims = six, .values = floats},
        {.name = "brain", .dtype = SAFETENSORS_BF16, .dim_count = 1, .dims = six, .values = floats},
        {.name = "long", .dtype = SAFETENSORS_I64, .dim_count = 2, .dims = two_by_three, .data = integers},
        {.name = "byte", .dtype = SAFETENSORS_U8, .dim_count = 1, .dims = six, .data = bytes},
        {.name = "scalar", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = floats + 2},
        {.name = "empty", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = none, .values = floats},
        {.name = "M\xc3\xa4tti", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = six, .values = floats},
    };
    const metadata_pair metadata[] = {{"difftune.heads", "3"}, {"note", "a \"text\"\n"}};
    tensor_file f;
    file_hash stated, found;
    must(pytorch_write(temp_path("kinds.pt"), source, 8, metadata, 2, &stated, &err));
    must(file_sha256(&found, temp_path("kinds.pt"), &err));
    assert_string_equal(stated.hex, found.hex);
    must(tensor_file_open(&f, temp_path("kinds.pt"), &err));
    assert_string_equal(f.container, "pytorch zip");
    assert_int_equal(f.count, 8);
    assert_string_equal(tensor_file_metadata(&f, "difftune.heads"), "3");
    assert_string_equal(tensor_file_metadata(&f, "note"), "a \"text\"\n");
    for (size_t i = 0; i < 8; i++) {
        const tensor_entry *e = tensor_file_find(&f, source[i].name);
        assert_non_null(e);
        assert_int_equal(e->dtype, source[i].dtype);
        assert_int_equal(e->dim_count, source[i].dim_count);
        for (int k = 0; k < e->dim_count; k++) assert_int_equal(e->dims[k], source[i].dims[k]);
        assert_null(e->strides);
        assert_int_equal(((const unsigned char *)e->data - f.map.data) % 64, 0);
    }
    assert_memory_equal(tensor_file_find(&f, "z.first")->data, floats, sizeof floats);
    assert_memory_equal(tensor_file_find(&f, "long")->data, integers, sizeof integers);
    assert_memory_equal(tensor_file_find(&f, "byte")->data, bytes, sizeof bytes);
    float back[6];
    must(tensor_read_f32(back, tensor_file_find(&f, "half"), &err));
    for (int i = 0; i < 6; i++) assert_true(back[i] == half_f32_from_f16(half_f16_from_f32(floats[i])));
    must(tensor_read_f32(back, tensor_file_find(&f, "brain"), &err));
    for (int i = 0; i < 6; i++) assert_true(back[i] == half_f32_from_bf16(half_bf16_from_f32(floats[i])));
    must(tensor_read_f32(back, tensor_file_find(&f, "scalar"), &err));
    assert_true(back[0] == floats[2]);
    tensor_file_close(&f);
}

/* The whole pickle of {"w": a 2x3 tensor}, from the opcodes of CPython's pickletools and torch/_utils.py. */
static void the_pickle_has_these_bytes(void **state)
{
    (void)state;
    static const char expected[] = "\x80\x02"
                                   "ccollections\nOrderedDict\n)R("
                                   "X\1\0\0\0w"
                                   "ctorch._utils\n_rebuild_tensor_v2\n(("
                                   "X\7\0\0\0storage"
                                   "ctorch\nFloatStorage\n"
                                   "X\1\0\0\0"
                                   "0"
                                   "X\3\0\0\0cpu"
                                   "J\6\0\0\0tQ"
                                   "J\0\0\0\0"
                                   "(J\2\0\0\0J\3\0\0\0t"
                                   "(J\3\0\0\0J\1\0\0\0t"
                                   "\x89"
                                   "ccollections\nOrderedDict\n)RtRu.";
    static const char *const names[] = {"archive/byteorder", "archive/data.pkl", "archive/data/0", "archive/version"};
    const tensor_source source = {
        .name = "w", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = two_by_three, .values = floats};
    file_map map;
    zip_directory z;
    must(pytorch_write(temp_path("one.pt"), &source, 1, NULL, 0, NULL, &err));
    must(file_map_open(&map, temp_path("one.pt"), &err));
    must(zip_directory_open(&z, &map, "one.pt", &err));
    assert_int_equal(z.count, 4);
    for (size_t i = 0; i < 4; i++) assert_memory_equal(z.records[i].name, names[i], strlen(names[i]));
    assert_int_equal(z.records[1].size, sizeof expected - 1);
    assert_memory_equal(z.records[1].data, expected, sizeof expected - 1);
    assert_memory_equal(z.records[0].data, "little", 6);
    assert_memory_equal(z.records[3].data, "3\n", 2);
    zip_directory_close(&z);
    file_map_close(&map);
}

static void what_cannot_be_written_is_named_and_nothing_is_left(void **state)
{
    (void)state;
    static const int64_t negative[] = {-1}, huge[] = {INT64_MAX, 4};
    const struct {
        tensor_source source;
        const char *says;
    } wrong[] = {
        {{.name = "a", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = negative, .values = floats}, "no size"},
        {{.name = "a", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = huge, .values = floats}, "no size"},
        {{.name = "a", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = six}, "values or its data"},
        {{.name = "a", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = six, .values = floats}, "F32, BF16 or F16"},
        {{.name = "a", .dtype = SAFETENSORS_F8_E8M0, .dim_count = 1, .dims = six, .data = floats}, "no storage"},
        {{.name = "\xff", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = six, .values = floats}, "UTF-8"},
    };
    size_t before = temp_count();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(pytorch_write(temp_path("wrong.pt"), &wrong[i].source, 1, NULL, 0, NULL, &err), DT_ERR_ARG);
        if (!strstr(err.message, wrong[i].says)) fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i].says);
        error_clear(&err);
    }
    const tensor_source good = {.name = "w", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = six, .values = floats};
    const metadata_pair bad_text = {"key", "\xff"};
    assert_int_equal(pytorch_write(temp_path("wrong.pt"), &good, 1, &bad_text, 1, NULL, &err), DT_ERR_ARG);
    error_clear(&err);
    assert_int_equal(pytorch_write(temp_path("absent/wrong.pt"), &good, 1, NULL, 0, NULL, &err), DT_ERR_IO);
    error_clear(&err);
    assert_int_equal(temp_count(), before);
}

/* A record of metadata that is not one of ours is refused, not half believed. */
static void foreign_metadata_are_refused(void **state)
{
    (void)state;
    const tensor_source good = {.name = "w", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = six, .values = floats};
    const metadata_pair pair = {"key", "text"};
    char *bytes;
    size_t size;
    must(pytorch_write(temp_path("meta.pt"), &good, 1, &pair, 1, NULL, &err));
    must(file_read_all(&bytes, &size, temp_path("meta.pt"), 1 << 16, &err));
    char *at = memmem(bytes, size, "{\"key\":\"text\"}", 14);
    assert_non_null(at);
    static const char *const spoiled[] = {"{\"key\":[\"tex\"]}", "[\"key\",\"text\"]", "{\"key\":\"text\",",
                                          "{\"key\":123456}"};
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        tensor_file f;
        memcpy(at, spoiled[i], 14);
        temp_write("spoiled.pt", bytes, size);
        assert_int_equal(tensor_file_open(&f, temp_path("spoiled.pt"), &err), DT_ERR_FORMAT);
        assert_non_null(strstr(err.message, "extra/difftune.json"));
        error_clear(&err);
        tensor_file_close(&f);
    }
    free(bytes);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    enum { COUNT = 1 << 18 };
    static float values[COUNT];
    const int64_t count = COUNT;
    const tensor_source large = {
        .name = "w", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &count, .values = values};
    char *text;
    size_t size, before;
    temp_write("full.pt", "old", 3);
    before = temp_count();
    limit_file_size(1 << 19);
    assert_int_equal(pytorch_write(temp_path("full.pt"), &large, 1, NULL, 0, NULL, &err), DT_ERR_IO);
    error_clear(&err);
    assert_int_equal(temp_count(), before);
    must(file_read_all(&text, &size, temp_path("full.pt"), 10, &err));
    assert_string_equal(text, "old");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds_come_back),
        cmocka_unit_test(the_pickle_has_these_bytes),
        cmocka_unit_test(what_cannot_be_written_is_named_and_nothing_is_left),
        cmocka_unit_test(foreign_metadata_are_refused),
        cmocka_unit_test(a_full_disk_leaves_the_old_file),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
