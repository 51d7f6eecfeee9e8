/* safetensors: round trips, the reference library's own files, hostile files, failing writes. */
#include "temp_folder.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "container/safetensors.h"

enum { MANY = 5000 };

/* ---- helpers ---- */

/* Header text with its length in front, then `data_bytes` bytes of data. */
static void make_file(const char *header, size_t data_bytes)
{
    uint64_t length = strlen(header);
    size_t size = sizeof length + length + data_bytes;
    unsigned char *bytes = calloc(size, 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + sizeof length, header, length);
    temp_write("hostile", bytes, size);
    free(bytes);
}

static dt_status try_open(dt_error *err)
{
    tensor_file f;
    *err = (dt_error){0};
    dt_status status = safetensors_open(&f, temp_path("hostile"), err);
    tensor_file_close(&f);
    return status;
}

/* The file is refused, and the sentence names it and says `why`. */
static void assert_refused(const char *why)
{
    dt_error err;
    dt_status status = try_open(&err);
    if (status != DT_ERR_FORMAT || !strstr(err.message, why))
        fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    assert_non_null(strstr(err.message, "hostile"));
}

static const tensor_entry *need(const tensor_file *f, const char *name)
{
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e) fail_msg("no tensor %s", name);
    return e;
}

static void open_sound(tensor_file *f, const char *path)
{
    dt_error err = {0};
    safetensors_open(f, path, &err);
    assert_string_equal(err.message, "");
}

/* ---- round trips ---- */

static void every_type_comes_back_as_it_was_written(void **state)
{
    (void)state;
    const float values[6] = {1, -2.5f, NAN, INFINITY, 0.1f, 70000};
    const double doubles[2] = {0.1, -1e300};
    const int64_t wide[2] = {INT64_MIN, 7};
    const int32_t narrow[2] = {-5, 1 << 30};
    const uint8_t bytes[3] = {0, 128, 255};
    const tensor_source sources[] = {
        {.name = "bf16", .dtype = SAFETENSORS_BF16, .dim_count = 2, .dims = (int64_t[]){2, 3}, .values = values},
        {.name = "f16", .dtype = SAFETENSORS_F16, .dim_count = 2, .dims = (int64_t[]){3, 2}, .values = values},
        {.name = "f32", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){6}, .values = values},
        {.name = "f64", .dtype = SAFETENSORS_F64, .dim_count = 1, .dims = (int64_t[]){2}, .data = doubles},
        {.name = "i32", .dtype = SAFETENSORS_I32, .dim_count = 1, .dims = (int64_t[]){2}, .data = narrow},
        {.name = "i64", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = (int64_t[]){2}, .data = wide},
        {.name = "u8", .dtype = SAFETENSORS_U8, .dim_count = 3, .dims = (int64_t[]){3, 1, 1}, .data = bytes},
        {.name = "scalar", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = values},
        {.name = "nothing", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = (int64_t[]){4, 0}},
    };
    const metadata_pair metadata[] = {{"format", "pt"}, {"note", "gr\xc3\xbc\xc3\x9f \"dich\"\n"}};
    dt_error err = {0};
    file_hash hash, of_file;
    tensor_file f;
    safetensors_write(temp_path("types"), sources, 9, metadata, 2, &hash, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(file_sha256(&of_file, temp_path("types"), &err), DT_OK);
    assert_string_equal(hash.hex, of_file.hex);

    open_sound(&f, temp_path("types"));
    assert_int_equal(f.count, 9);
    assert_string_equal(tensor_file_metadata(&f, "note"), metadata[1].value);
    assert_null(tensor_file_metadata(&f, "other"));
    assert_null(tensor_file_find(&f, "other"));
    for (size_t i = 0; i < 9; i++) {
        const tensor_entry *e = need(&f, sources[i].name);
        assert_int_equal(e->dtype, sources[i].dtype);
        assert_int_equal(e->dim_count, sources[i].dim_count);
        for (int d = 0; d < e->dim_count; d++) assert_int_equal(e->dims[d], sources[i].dims[d]);
    }
    float back[6];
    tensor_read_f32(back, need(&f, "f32"), &err);
    assert_memory_equal(back, values, sizeof values);
    tensor_read_f32(back, need(&f, "bf16"), &err);
    for (int i = 0; i < 6; i++) assert_int_equal(half_bf16_from_f32(back[i]), half_bf16_from_f32(values[i]));
    tensor_read_f32(back, need(&f, "f16"), &err);
    for (int i = 0; i < 6; i++) assert_int_equal(half_f16_from_f32(back[i]), half_f16_from_f32(values[i]));
    tensor_read_f32(back, need(&f, "f64"), &err);
    assert_true(back[0] == 0.1f && back[1] == -INFINITY);
    tensor_read_f32(back, need(&f, "scalar"), &err);
    assert_true(back[0] == 1);
    tensor_read_f32(back, need(&f, "nothing"), &err);
    int64_t integers[3];
    tensor_read_i64(integers, need(&f, "i64"), &err);
    assert_true(integers[0] == INT64_MIN && integers[1] == 7);
    tensor_read_i64(integers, need(&f, "i32"), &err);
    assert_true(integers[0] == -5 && integers[1] == 1 << 30);
    tensor_read_i64(integers, need(&f, "u8"), &err);
    assert_true(integers[1] == 128 && integers[2] == 255);
    assert_string_equal(err.message, "");
    tensor_file_close(&f);
}

static void integers_are_no_weights_and_weights_no_integers(void **state)
{
    (void)state;
    dt_error err = {0}, wrong = {0}, big = {0};
    tensor_file f;
    float value;
    int64_t integer;
    const tensor_source sources[] = {
        {.name = "i", .dtype = SAFETENSORS_I16, .dim_count = 0, .data = &(int16_t){-300}},
        {.name = "u", .dtype = SAFETENSORS_U64, .dim_count = 0, .data = &(uint64_t){UINT64_MAX}},
        {.name = "w", .dtype = SAFETENSORS_BF16, .dim_count = 0, .values = &(float){1}}};
    safetensors_write(temp_path("integers"), sources, 3, NULL, 0, NULL, &err);
    open_sound(&f, temp_path("integers"));
    assert_int_equal(tensor_read_f32(&value, need(&f, "i"), &wrong), DT_ERR_SHAPE);
    assert_int_equal(tensor_read_i64(&integer, need(&f, "i"), &err), DT_OK);
    assert_true(integer == -300);
    assert_int_equal(tensor_read_i64(&integer, need(&f, "u"), &big), DT_ERR_FORMAT);
    error_clear(&wrong);
    assert_int_equal(tensor_read_i64(&integer, need(&f, "w"), &wrong), DT_ERR_SHAPE);
    assert_non_null(strstr(wrong.message, "tensor w: type BF16"));
    tensor_file_close(&f);
}

static void every_integer_type_is_read(void **state)
{
    (void)state;
    const struct {
        safetensors_dtype dtype;
        const void *data;
        int64_t value;
    } cases[] = {
        {SAFETENSORS_BOOL, &(const uint8_t){2}, 1},
        {SAFETENSORS_U8, &(const uint8_t){200}, 200},
        {SAFETENSORS_I8, &(const int8_t){-100}, -100},
        {SAFETENSORS_U16, &(const uint16_t){65535}, 65535},
        {SAFETENSORS_I16, &(const int16_t){-32768}, -32768},
        {SAFETENSORS_U32, &(const uint32_t){UINT32_C(1) << 31}, INT64_C(1) << 31},
        {SAFETENSORS_I32, &(const int32_t){INT32_MIN}, INT32_MIN},
        {SAFETENSORS_U64, &(const uint64_t){UINT64_C(1) << 62}, INT64_C(1) << 62},
        {SAFETENSORS_I64, &(const int64_t){INT64_MIN}, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dt_error err = {0};
        tensor_file f;
        int64_t integer;
        const tensor_source source = {.name = "x", .dtype = cases[i].dtype, .dim_count = 0, .data = cases[i].data};
        safetensors_write(temp_path("integer"), &source, 1, NULL, 0, NULL, &err);
        open_sound(&f, temp_path("integer"));
        tensor_read_i64(&integer, need(&f, "x"), &err);
        assert_string_equal(err.message, "");
        assert_int_equal(integer, cases[i].value);
        tensor_file_close(&f);
    }
}

static void five_thousand_tensors_are_found_by_name(void **state)
{
    (void)state;
    static char names[MANY][32];
    static tensor_source sources[MANY];
    static int64_t values[MANY];
    const int64_t one = 1;
    dt_error err = {0};
    tensor_file f;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "blocks.%d.weight", i * 1237 % MANY);
        values[i] = i;
        sources[i] = (tensor_source){
            .name = names[i], .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &one, .data = &values[i]};
    }
    safetensors_write(temp_path("many"), sources, MANY, NULL, 0, NULL, &err);
    open_sound(&f, temp_path("many"));
    assert_int_equal(f.count, MANY);
    for (int i = 0; i < MANY; i++) {
        int64_t value;
        tensor_read_i64(&value, need(&f, names[i]), &err);
        assert_int_equal(value, i);
    }
    tensor_file_close(&f);
}

/* vectors/dit_patch1.safetensors was written by the reference library. */
static void a_file_of_the_reference_library_is_written_again_byte_by_byte(void **state)
{
    (void)state;
    static const char original[] = "vectors/dit_patch1.safetensors";
    dt_error err = {0};
    tensor_file f;
    file_hash ours, theirs;
    open_sound(&f, original);
    tensor_source *sources = calloc(f.count, sizeof *sources);
    assert_true(sources && f.count > 10);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        sources[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = e->data};
    }
    const metadata_pair metadata = {"config", tensor_file_metadata(&f, "config")};
    safetensors_write(temp_path("again"), sources, f.count, &metadata, 1, &ours, &err);
    assert_int_equal(file_sha256(&theirs, original, &err), DT_OK);
    assert_string_equal(ours.hex, theirs.hex);
    free(sources);
    tensor_file_close(&f);
}

static void a_file_is_saved_over_itself_while_it_is_mapped(void **state)
{
    (void)state;
    static float values[20000], back[20000];
    dt_error err = {0};
    tensor_file f;
    for (int i = 0; i < 20000; i++) values[i] = (float)i;
    const tensor_source first = {
        .name = "x", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){20000}, .values = values};
    safetensors_write(temp_path("self"), &first, 1, NULL, 0, NULL, &err);
    open_sound(&f, temp_path("self"));
    const tensor_source mapped = {
        .name = "y", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){20000}, .data = f.entries[0].data};
    safetensors_write(temp_path("self"), &mapped, 1, NULL, 0, NULL, &err);
    tensor_file_close(&f);
    open_sound(&f, temp_path("self"));
    tensor_read_f32(back, need(&f, "y"), &err);
    assert_memory_equal(back, values, sizeof values);
    tensor_file_close(&f);
}

/* ---- refusals of the writer ---- */

static void impossible_tensors_are_not_written(void **state)
{
    (void)state;
    const float one = 1;
    const struct {
        tensor_source source;
        const char *why;
    } cases[] = {
        {{.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){-1}, .values = &one}, "no size"},
        {{.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = (int64_t[]){INT64_MAX, 4}, .values = &one},
         "no size"},
        {{.name = "x", .dtype = SAFETENSORS_F4, .dim_count = 1, .dims = (int64_t[]){1}, .data = &one}, "no size"},
        {{.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 0}, "either"},
        {{.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = &one, .data = &one}, "either"},
        {{.name = "x", .dtype = SAFETENSORS_I32, .dim_count = 0, .values = &one}, "F32, BF16 or F16"},
        {{.name = "twice", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = &one}, "taken"},
        {{.name = "__metadata__", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = &one}, "taken"},
        {{.name = "\xff", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = &one}, "UTF-8"},
    };
    temp_write("target", "old", 3);
    size_t before = temp_count();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tensor_source sources[] = {{.name = "twice", .dtype = SAFETENSORS_F32, .dim_count = 0, .values = &one},
                                         cases[i].source};
        dt_error err = {0};
        assert_int_equal(safetensors_write(temp_path("target"), sources, 2, NULL, 0, NULL, &err), DT_ERR_ARG);
        assert_non_null(strstr(err.message, cases[i].why));
    }
    const metadata_pair doubled[] = {{"k", "1"}, {"k", "2"}};
    const metadata_pair latin = {"k", "\xe9"};
    dt_error twice = {0}, coded = {0};
    assert_int_equal(safetensors_write(temp_path("target"), NULL, 0, doubled, 2, NULL, &twice), DT_ERR_ARG);
    assert_int_equal(safetensors_write(temp_path("target"), NULL, 0, &latin, 1, NULL, &coded), DT_ERR_ARG);
    assert_int_equal(temp_count(), before);
}

static void a_failed_write_keeps_the_old_model(void **state)
{
    (void)state;
    static float values[50000];
    dt_error err = {0}, full = {0};
    tensor_file f;
    values[9] = 42;
    const tensor_source small = {
        .name = "x", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){10}, .values = values};
    const tensor_source big = {
        .name = "x", .dtype = SAFETENSORS_F16, .dim_count = 1, .dims = (int64_t[]){50000}, .values = values};
    safetensors_write(temp_path("model"), &small, 1, NULL, 0, NULL, &err);
    size_t before = temp_count();
    limit_file_size(4096);
    dt_status status = safetensors_write(temp_path("model"), &big, 1, NULL, 0, NULL, &full);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, DT_ERR_IO);
    assert_non_null(strstr(full.message, temp_path("model")));
    assert_int_equal(temp_count(), before);
    float back[10];
    open_sound(&f, temp_path("model"));
    tensor_read_f32(back, need(&f, "x"), &err);
    assert_true(back[9] == 42);
    tensor_file_close(&f);
}

/* ---- memory that runs out ---- */

static int allocations_left;

static void *scarce_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* Fails the first, second, .. allocation of the JSON library until all succeed: no leak, and no wrong file. */
static void memory_that_runs_out_in_a_header_is_an_error(void **state)
{
    (void)state;
    static const float values[2] = {1, 2};
    const tensor_source source = {
        .name = "x", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = (int64_t[]){2}, .values = values};
    dt_status status = DT_ERR_MEMORY;
    file_hash whole, hash;
    dt_error err = {0};
    safetensors_write(temp_path("whole"), &source, 1, &(metadata_pair){"k", "v"}, 1, &whole, &err);
    assert_string_equal(err.message, "");
    json_set_alloc_funcs(scarce_malloc, free);
    for (int n = 0; status != DT_OK; n++) {
        error_clear(&err);
        allocations_left = n;
        status = safetensors_write(temp_path("scarce"), &source, 1, &(metadata_pair){"k", "v"}, 1, &hash, &err);
        if (status == DT_OK)
            assert_string_equal(hash.hex, whole.hex);
        else
            assert_false(file_exists(temp_path("scarce")));
        assert_true(n < 1000);
    }
    status = DT_ERR_MEMORY;
    for (int n = 0; status != DT_OK; n++) {
        tensor_file f;
        error_clear(&err);
        allocations_left = n;
        status = safetensors_open(&f, temp_path("whole"), &err);
        if (status == DT_OK) assert_non_null(tensor_file_find(&f, "x"));
        tensor_file_close(&f);
        assert_true(n < 1000);
    }
    json_set_alloc_funcs(malloc, free);
}

/* ---- hostile files ---- */

#define ENTRY(name, dtype, shape, offsets)                                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void every_kind_of_lying_header_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        const char *why;
    } cases[] = {
        {"", 8, "begin with '{'"},
        {" {}", 0, "begin with '{'"},
        {"[]", 0, "begin with '{'"},
        {"{", 0, "not valid JSON"},
        {"{} x", 0, "not valid JSON"},
        {"{\"\xff\":1}", 0, "not valid JSON"},
        {"{}", 1, "1 bytes after the last tensor"},
        {"{\"x\":5}", 0, "not an object"},
        {"{\"x\":{}}", 0, "no dtype"},
        {"{\"x\":{\"dtype\":\"U8\"}}", 0, "no shape"},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets are not two"},
        {"{\"__metadata__\":[]}", 0, "not an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "not a string"},
        {"{" ENTRY("x", "F99", "[1]", "[0,1]") "}", 1, "unknown dtype F99"},
        {"{" ENTRY("x", "U8", "[-1]", "[0,1]") "}", 1, "whole number"},
        {"{" ENTRY("x", "U8", "[1.0]", "[0,1]") "}", 1, "whole number"},
        {"{" ENTRY("x", "U8", "[\"1\"]", "[0,1]") "}", 1, "whole number"},
        {"{" ENTRY("x", "U8", "[9223372036854775807,9223372036854775807]", "[0,1]") "}", 1, "too large"},
        {"{" ENTRY("x", "F64", "[4294967296,4294967296]", "[0,0]") "}", 0, "too large"},
        {"{" ENTRY("x", "F32", "[4611686018427387904]", "[0,0]") "}", 0, "too large"},
        {"{" ENTRY("x", "U8", "[99999999999999999999]", "[0,1]") "}", 1, "too big integer"},
        {"{" ENTRY("x", "F4", "[3]", "[0,2]") "}", 2, "whole bytes"},
        {"{" ENTRY("x", "F32", "[2]", "[0,4]") "}", 4, "4 bytes of data, expected 8"},
        {"{" ENTRY("x", "U8", "[4]", "[0,4]") "}", 3, "the file has 3 bytes"},
        {"{" ENTRY("x", "U8", "[4]", "[4,0]") "}", 4, "bytes 4 to 0"},
        {"{" ENTRY("x", "U8", "[4]", "[-4,0]") "}", 4, "data_offsets are not two"},
        {"{" ENTRY("x", "U8", "[4]", "[0,4,8]") "}", 4, "data_offsets are not two"},
        {"{" ENTRY("x", "U8", "[0]", "[9223372036854775807,9223372036854775807]") "}", 0, "the file has 0 bytes"},
        {"{" ENTRY("x", "U8", "[4]", "[1,5]") "}", 5, "a hole"},
        {"{" ENTRY("x", "U8", "[2]", "[0,2]") "," ENTRY("y", "U8", "[2]", "[3,5]") "}", 5, "tensor y: a hole"},
        {"{" ENTRY("x", "U8", "[2]", "[0,2]") "," ENTRY("y", "U8", "[2]", "[1,3]") "}", 3, "overlaps"},
        {"{" ENTRY("x", "U8", "[2]", "[0,2]") "," ENTRY("y", "U8", "[2]", "[0,2]") "}", 2, "overlaps"},
        {"{" ENTRY("x", "U8", "[2]", "[0,2]") "," ENTRY("x", "U8", "[2]", "[2,4]") "}", 4, "duplicate"},
        {"{\"x\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "duplicate"},
        {"{" ENTRY("x", "U8", "[2]", "[0,2]") "}", 9, "7 bytes after the last tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_file(cases[i].header, cases[i].data_bytes);
        assert_refused(cases[i].why);
    }
}

static void what_the_format_allows_is_read(void **state)
{
    (void)state;
    static const char *headers[] = {
        "{}",
        "{}        ",
        "{\"__metadata__\":{}}",
        "{\"x\":{\"data_offsets\":[0,0],\"later\":[[{}]],\"shape\":[0,7],\"dtype\":\"U8\"}}",
        "{" ENTRY("x", "F4", "[0]", "[0,0]") "," ENTRY("y", "BOOL", "[3,0]", "[0,0]") "}",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        dt_error err;
        make_file(headers[i], 0);
        try_open(&err);
        assert_string_equal(err.message, "");
    }
}

static void a_length_beyond_the_file_or_the_cap_is_refused(void **state)
{
    (void)state;
    const uint64_t lengths[] = {3, 1000, 100000000, 100000001, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 8};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        unsigned char bytes[10] = {[8] = '{', [9] = '}'};
        memcpy(bytes, &lengths[i], 8);
        temp_write("hostile", bytes, sizeof bytes);
        assert_refused(lengths[i] > SAFETENSORS_HEADER_MAX ? "at most 100000000" : "cut off");
    }
    temp_write("hostile", "1234567", 7);
    assert_refused("expected at least 8");
}

/* Such headers cost the parser far more memory or stack than they have bytes. */
static void a_header_that_would_burst_the_parser_is_refused(void **state)
{
    (void)state;
    enum { DEEP = 100000, WIDE = 9000000 };
    char *text = malloc(WIDE + 1);
    assert_non_null(text);
    memset(text, '[', DEEP);
    memcpy(text, "{\"x\":", 5);
    text[DEEP] = '\0';
    make_file(text, 0);
    assert_refused("nested deeper");
    for (int i = 0; i < WIDE; i++) text[i] = i % 2 ? '0' : ',';
    memcpy(text, "{\"x\":[0", 7);
    text[WIDE] = '\0';
    make_file(text, 0);
    assert_refused("more than");
    free(text);
}

static size_t read_sound_file(char **bytes)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    const tensor_source sources[] = {
        {.name = "a", .dtype = SAFETENSORS_F32, .dim_count = 2, .dims = (int64_t[]){2, 3}, .values = values},
        {.name = "b", .dtype = SAFETENSORS_BF16, .dim_count = 1, .dims = (int64_t[]){6}, .values = values}};
    dt_error err = {0};
    size_t size;
    safetensors_write(temp_path("hostile"), sources, 2, &(metadata_pair){"k", "v"}, 1, NULL, &err);
    assert_int_equal(file_read_all(bytes, &size, temp_path("hostile"), 4096, &err), DT_OK);
    return size;
}

static void a_file_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    char *bytes;
    dt_error err;
    size_t size = read_sound_file(&bytes);
    for (size_t length = 0; length < size; length++) {
        temp_write("hostile", bytes, length);
        assert_int_equal(try_open(&err), DT_ERR_FORMAT);
    }
    free(bytes);
}

/* Whatever a changed byte makes of the file, it is refused or read; the sanitizers watch that nothing else happens. */
static void a_file_with_any_byte_changed_is_refused_or_read(void **state)
{
    (void)state;
    char *bytes;
    dt_error err;
    int refused = 0;
    size_t size = read_sound_file(&bytes);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            bytes[at] = (char)(bytes[at] ^ 1 << bit);
            temp_write("hostile", bytes, size);
            dt_status status = try_open(&err);
            assert_true(status == DT_OK || status == DT_ERR_FORMAT);
            refused += status != DT_OK;
            bytes[at] = (char)(bytes[at] ^ 1 << bit);
        }
    assert_true(refused > 300);
    free(bytes);
}

/* ---- values that are fetched when their turn comes ---- */

typedef struct fetched {
    float room[6];
    int asked;
    bool fails;
} fetched;

static const float *fetch_six(void *user, dt_error *err)
{
    fetched *f = user;
    if (f->fails) error_set(err, DT_ERR_IO, "the device is gone");
    for (int i = 0; i < 6; i++) f->room[i] = (float)(10 * f->asked + i);
    f->asked++;
    return f->room;
}

/* Two tensors share one room; the second is a part of what is fetched, stored in 16 bits. */
static void values_are_fetched_one_tensor_at_a_time(void **state)
{
    (void)state;
    dt_error err = {0};
    fetched f = {0};
    const int64_t six = 6, two = 2;
    const tensor_source source[] = {
        {.name = "a", .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &six, .fetch = fetch_six, .user = &f},
        {.name = "b",
         .dtype = SAFETENSORS_BF16,
         .dim_count = 1,
         .dims = &two,
         .fetch = fetch_six,
         .user = &f,
         .first = 3}};
    assert_int_equal(safetensors_write(temp_path("fetched"), source, 2, NULL, 0, NULL, &err), DT_OK);
    tensor_file file;
    float a[6], b[2];
    assert_int_equal(safetensors_open(&file, temp_path("fetched"), &err), DT_OK);
    assert_int_equal(tensor_read_f32(a, tensor_file_find(&file, "a"), &err), DT_OK);
    assert_int_equal(tensor_read_f32(b, tensor_file_find(&file, "b"), &err), DT_OK);
    assert_int_equal(f.asked, 2);
    const float first_a = a[0], first_b = b[0] - 3;
    assert_true((first_a == 0 && first_b == 10) || (first_a == 10 && first_b == 0));
    for (int i = 0; i < 6; i++) assert_true(a[i] == first_a + (float)i);
    assert_true(b[1] == b[0] + 1);
    tensor_file_close(&file);
    f.fails = true;
    assert_int_equal(safetensors_write(temp_path("gone"), source, 2, NULL, 0, NULL, &err), DT_ERR_IO);
    assert_false(file_exists(temp_path("gone")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back_as_it_was_written),
        cmocka_unit_test(integers_are_no_weights_and_weights_no_integers),
        cmocka_unit_test(every_integer_type_is_read),
        cmocka_unit_test(five_thousand_tensors_are_found_by_name),
        cmocka_unit_test(a_file_of_the_reference_library_is_written_again_byte_by_byte),
        cmocka_unit_test(a_file_is_saved_over_itself_while_it_is_mapped),
        cmocka_unit_test(impossible_tensors_are_not_written),
        cmocka_unit_test(a_failed_write_keeps_the_old_model),
        cmocka_unit_test(memory_that_runs_out_in_a_header_is_an_error),
        cmocka_unit_test(every_kind_of_lying_header_is_refused),
        cmocka_unit_test(what_the_format_allows_is_read),
        cmocka_unit_test(a_length_beyond_the_file_or_the_cap_is_refused),
        cmocka_unit_test(a_header_that_would_burst_the_parser_is_refused),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_file_with_any_byte_changed_is_refused_or_read),
        cmocka_unit_test(values_are_fetched_one_tensor_at_a_time),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
