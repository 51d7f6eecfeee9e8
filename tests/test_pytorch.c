/* Files of torch.save: what PyTorch wrote (vectors/pytorch, made by make_pytorch_vectors.py) gives the values that it had
 * there, real files give those of their safetensors twins, and nothing that is not sound is read. */
#include "file/folder.h"
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "container/tensor_open.h"
#include "container/zip_directory.h"
#include "container/zip_writer.h"
#include "shared_data.h"

static dt_error err;

static void open_sound(tensor_file *f, const char *path)
{
    if (tensor_file_open(f, path, &err) != DT_OK) fail_msg("%s", err.message);
}

/* ---- what PyTorch wrote ---- */

static bool is_float(safetensors_dtype dtype)
{
    return dtype == SAFETENSORS_F32 || dtype == SAFETENSORS_F16 || dtype == SAFETENSORS_BF16 ||
           dtype == SAFETENSORS_F64;
}

static void *read_all(const tensor_entry *e)
{
    void *values = calloc((size_t)e->count + 1, sizeof(int64_t));
    assert_non_null(values);
    dt_status status = is_float(e->dtype) ? tensor_read_f32(values, e, &err) : tensor_read_i64(values, e, &err);
    if (status != DT_OK) fail_msg("%s", err.message);
    return values;
}

static void assert_same_tensor(const tensor_entry *found, const tensor_entry *expected)
{
    assert_string_equal(safetensors_dtype_name(found->dtype), safetensors_dtype_name(expected->dtype));
    assert_int_equal(found->dim_count, expected->dim_count);
    for (int i = 0; i < found->dim_count; i++) assert_int_equal(found->dims[i], expected->dims[i]);
    assert_int_equal(found->count, expected->count);
    void *a = read_all(found), *b = read_all(expected);
    if (memcmp(a, b, (size_t)found->count * (is_float(found->dtype) ? sizeof(float) : sizeof(int64_t))) != 0)
        fail_msg("%s: %s differs", found->path, found->name);
    free(a);
    free(b);
}

/* Every tensor of one is in the other and has the same bits; the first may have a prefix before its names. */
static void assert_same_file(const char *path, const char *prefix, const char *twin)
{
    tensor_file found, expected;
    open_sound(&found, path);
    open_sound(&expected, twin);
    assert_true(!prefix[0] || tensor_file_enter(&found, prefix));
    assert_int_equal(found.count, expected.count);
    for (size_t i = 0; i < found.count; i++) {
        assert_string_equal(found.entries[i].name, expected.entries[i].name);
        assert_same_tensor(&found.entries[i], &expected.entries[i]);
    }
    tensor_file_close(&found);
    tensor_file_close(&expected);
}

static void what_pytorch_wrote_is_read_to_the_bit(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {"kinds.pt", "kinds"},
        {"kinds.pth", "kinds"},
        {"strides.pt", "strides"},
        {"strides.pth", "strides"},
        {"newer.pt", "newer"},
        {"inception.pt", "inception"},
        {"inception.pth", "inception"},
        {"bare.pt", "bare"},
        {"bare.pth", "bare"},
        {"checkpoint.pt", "checkpoint"},
        {"checkpoint.pth", "checkpoint"},
        {"checkpoint.p3.pt", "checkpoint"},
        {"checkpoint.p3.pth", "checkpoint"},
        {"checkpoint.p4.pt", "checkpoint"},
        {"checkpoint.p4.pth", "checkpoint"},
        {"checkpoint.p5.pt", "checkpoint"},
        {"checkpoint.p5.pth", "checkpoint"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128], twin[128];
        snprintf(path, sizeof path, "vectors/pytorch/%s", files[i][0]);
        snprintf(twin, sizeof twin, "vectors/pytorch/%s.safetensors", files[i][1]);
        assert_same_file(path, "", twin);
    }
}

static void strides_and_storages_stay_as_they_are_in_the_file(void **state)
{
    (void)state;
    static const char *const files[] = {"vectors/pytorch/strides.pt", "vectors/pytorch/strides.pth"};
    for (int i = 0; i < 2; i++) {
        tensor_file f;
        open_sound(&f, files[i]);
        const tensor_entry *base = tensor_file_find(&f, "base"), *rows = tensor_file_find(&f, "rows");
        const tensor_entry *inception = tensor_file_find(&f, "inception");
        assert_null(base->strides); /* row-major: values are used where they lie */
        assert_null(rows->strides);
        assert_ptr_equal((const char *)rows->data, (const char *)base->data + 2 * 4 * sizeof(float));
        assert_true((const unsigned char *)base->data > f.map.data &&
                    (const unsigned char *)base->data < f.map.data + f.map.size);
        assert_memory_equal(inception->strides, ((int64_t[]){1, 32, 288, 96}), 4 * sizeof(int64_t));
        assert_memory_equal(inception->dims, ((int64_t[]){32, 3, 3, 3}), 4 * sizeof(int64_t));
        tensor_file_close(&f);
    }
}

/* As in the published file: storage order is rows, columns, inputs, outputs. A reader that takes it for tensor order gets
 * other values without an error. */
static void the_transposed_inception_weights_are_turned(void **state)
{
    (void)state;
    tensor_file f;
    float values[6 * 4 * 5 * 5];
    open_sound(&f, "vectors/pytorch/inception.pth");
    assert_string_equal(f.container, "pytorch before zip");
    const tensor_entry *e = tensor_file_find(&f, "Mixed_5b.branch5x5_2.conv.weight");
    assert_non_null(e);
    assert_memory_equal(e->dims, ((int64_t[]){6, 4, 5, 5}), 4 * sizeof(int64_t));
    assert_memory_equal(e->strides, ((int64_t[]){1, 6, 120, 24}), 4 * sizeof(int64_t));
    assert_int_equal(tensor_read_f32(values, e, &err), DT_OK);
    for (int o = 0, at = 0; o < 6; o++)
        for (int i = 0; i < 4; i++)
            for (int row = 0; row < 5; row++)
                for (int column = 0; column < 5; column++, at++) {
                    float stored;
                    memcpy(&stored, (const float *)e->data + row * 120 + column * 24 + i * 6 + o, sizeof stored);
                    assert_true(values[at] == stored);
                }
    assert_memory_equal(tensor_file_find(&f, "fc.weight")->strides, ((int64_t[]){1, 7}), 2 * sizeof(int64_t));
    tensor_file_close(&f);
}

/* The directory at the end counts, so records may stand in any order in the file. */
static void records_may_stand_in_any_order(void **state)
{
    (void)state;
    file_map map;
    zip_directory z;
    zip_writer out;
    assert_int_equal(file_map_open(&map, "vectors/pytorch/kinds.pt", &err), DT_OK);
    assert_int_equal(zip_directory_open(&z, &map, "kinds.pt", &err), DT_OK);
    assert_int_equal(zip_writer_begin(&out, temp_path("backwards.pt"), &err), DT_OK);
    for (size_t i = z.count; i-- > 0;) {
        char name[200];
        snprintf(name, sizeof name, "%.*s", (int)z.records[i].name_length, z.records[i].name);
        assert_int_equal(zip_writer_add(&out, name, z.records[i].data, z.records[i].size, &err), DT_OK);
    }
    assert_int_equal(zip_writer_commit(&out, NULL, &err), DT_OK);
    zip_directory_close(&z);
    file_map_close(&map);
    assert_same_file(temp_path("backwards.pt"), "", "vectors/pytorch/kinds.safetensors");
}

static void a_checkpoint_opens_at_its_average(void **state)
{
    (void)state;
    tensor_file f;
    open_sound(&f, "vectors/pytorch/checkpoint.pt");
    assert_string_equal(f.container, "pytorch zip");
    assert_string_equal(tensor_file_metadata(&f, "note"), "texts of the outermost dictionary are metadata");
    assert_non_null(tensor_file_find(&f, "opt.state.0.exp_avg"));
    assert_non_null(tensor_file_find(&f, "parameters.1.1.5"));
    assert_null(tensor_file_find(&f, "stranger.tensor"));
    assert_true(tensor_file_enter(&f, "ema."));
    assert_int_equal(f.count, 7);
    assert_string_equal(f.entries[1].name, "0.weight");
    tensor_file_close(&f);
}

/* ---- real files ---- */

static void real_files_have_the_values_of_their_twins(void **state)
{
    (void)state;
    static const struct {
        const char *file, *prefix, *twin;
    } files[] = {
        {"taef2/taef2_encoder.pth", "", "taef2/taef2_encoder.safetensors"},
        {"taef2/taef2_decoder.pth", "", "taef2/taef2_decoder.safetensors"},
        {"cifar10_resnet/resnet20-12fca82f.th", "state_dict.module.", "cifar10_resnet/resnet20.safetensors"},
        {"cifar10_resnet/resnet56-4bfd9763.th", "state_dict.module.", "cifar10_resnet/resnet56.safetensors"},
        {"ddpm_mnist/ddpm_mnist_starter.pth", "", "ddpm_mnist/ddpm_mnist_starter.safetensors"},
    };
    char weights[DT_PATH_MAX];
    shared_path(weights, "weights");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[DT_PATH_MAX], twin[DT_PATH_MAX];
        file_join(path, weights, files[i].file);
        file_join(twin, weights, files[i].twin);
        if (!file_exists(path)) skip();
        assert_same_file(path, files[i].prefix, twin);
    }
}

/* How many values the file has, all of them finite. */
static int64_t count_finite_values(const tensor_file *f)
{
    int64_t values = 0;
    for (size_t k = 0; k < f->count; k++) {
        float *read = read_all(&f->entries[k]);
        for (int64_t j = 0; is_float(f->entries[k].dtype) && j < f->entries[k].count; j++)
            assert_true(read[j] - read[j] == 0);
        free(read);
        values += f->entries[k].count;
    }
    return values;
}

static void real_files_without_twins_are_read_in_full(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t tensors;
        int64_t values; /* as PyTorch counts them */
    } files[] = {
        {"ddpm_mnist/ddpm_mnist_augmentation.pth", 29, 293235},
        {"edges/table5_pidinet.pth", 83, 710149},
        {"edges/table5_pidinet-tiny.pth", 83, 84477},
        {"edges/mlsd_tiny_512_fp32.pth", 252, 630936},
        {"lpips/lpips_v0.1_alex.pth", 5, 1152},
        {"lpips/lpips_v0.1_vgg.pth", 5, 1472},
        {"lpips/lpips_v0.1_squeeze.pth", 7, 2240},
    };
    char weights[DT_PATH_MAX];
    shared_path(weights, "weights");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[DT_PATH_MAX];
        tensor_file f;
        file_join(path, weights, files[i].file);
        if (!file_exists(path)) skip();
        open_sound(&f, path);
        assert_int_equal(f.count, files[i].tensors);
        assert_int_equal(count_finite_values(&f), files[i].values);
        tensor_file_close(&f);
    }
}

/* Every tensor file below a folder opens, and all its numbers are finite. */
static size_t read_folder(const char *folder)
{
    file_names names;
    size_t count = 0;
    assert_int_equal(file_list(&names, folder, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, names.name[i]);
        if (file_is_folder(path)) {
            count += read_folder(path);
        } else if (file_has_extension(path, "pth") || file_has_extension(path, "th") ||
                   file_has_extension(path, "safetensors")) {
            tensor_file f;
            open_sound(&f, path);
            count_finite_values(&f);
            tensor_file_close(&f);
            count++;
        }
    }
    file_names_free(&names);
    return count;
}

static void every_real_file_opens(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    shared_path(path, "weights");
    size_t count = read_folder(path);
    print_message("%zu tensor files below %s\n", count, path);
    assert_true(count >= 20);
}

/* ---- hostile files ---- */

enum { ROOM = 1 << 16 };

typedef struct draft {
    unsigned char data[ROOM];
    size_t size;
} draft;

static void put(draft *d, const void *bytes, size_t size)
{
    assert_true(d->size + size <= ROOM);
    memcpy(d->data + d->size, bytes, size);
    d->size += size;
}

#define PUT(d, text) put(d, text, sizeof(text) - 1)

static void put_int(draft *d, int64_t value)
{
    PUT(d, "\x8a\x08");
    put(d, &value, sizeof value);
}

static void put_tuple(draft *d, const int64_t values[], int count)
{
    PUT(d, "(");
    for (int i = 0; i < count; i++) put_int(d, values[i]);
    PUT(d, "t");
}

/* A tensor on a float storage "0" of `stored` values. */
static void put_tensor(draft *d, int64_t stored, int64_t offset, const int64_t dims[], int dim_count,
                       const int64_t strides[], int stride_count)
{
    PUT(d, "ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"
           "0U\x03"
           "cpu");
    put_int(d, stored);
    PUT(d, "tQ");
    put_int(d, offset);
    put_tuple(d, dims, dim_count);
    put_tuple(d, strides, stride_count);
    PUT(d, "\x89)tR");
}

#define MAGIC                                                                                                          \
    "\x80\x02\x8a\x0al\xfc\x9c"                                                                                        \
    "F\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."

/* The older container up to its object; what must follow the object. */
static void put_head(draft *d)
{
    d->size = 0;
    PUT(d, MAGIC "\x80\x02}U\x0dlittle_endian\x88s.\x80\x02");
}

static void put_tail(draft *d)
{
    const float values[] = {1, 2, 3, 4};
    PUT(d, ".\x80\x02]U\x01"
           "0a.\x04\0\0\0\0\0\0\0");
    put(d, values, sizeof values);
}

/* The file ends in one line that names it and says why. */
static void assert_refused(const char *why, const draft *d)
{
    tensor_file f;
    temp_write("hostile", d->data, d->size);
    assert_int_equal(tensor_file_open(&f, temp_path("hostile"), &err), DT_ERR_FORMAT);
    if (!strstr(err.message, why)) fail_msg("expected \"%s\", found \"%s\"", why, err.message);
    assert_true(strstr(err.message, "hostile") && !strchr(err.message, '\n'));
    error_clear(&err);
    tensor_file_close(&f);
}

static void a_tensor_stays_inside_its_storage(void **state)
{
    (void)state;
    static const struct {
        int64_t stored, offset;
        int dim_count, stride_count;
        int64_t dims[3], strides[3];
        const char *why; /* NULL: sound */
    } cases[] = {
        {4, 0, 2, 2, {2, 2}, {2, 1}, NULL},
        {4, 1, 2, 2, {2, 2}, {1, 1}, NULL},
        {4, 3, 2, 2, {1, 1}, {9, 9}, NULL},
        {4, 9, 2, 2, {0, 7}, {9, 9}, NULL},
        {4, 1, 2, 2, {2, 2}, {2, 1}, "outside its storage"},
        {4, 4, 0, 0, {0}, {0}, "outside its storage"},
        {4, INT64_MAX, 1, 1, {1}, {1}, "outside its storage"},
        {4, 0, 1, 1, {5}, {1}, "outside its storage"},
        {4, 0, 1, 1, {2}, {INT64_MAX}, "outside its storage"},
        {4, 0, 1, 1, {3}, {INT64_MAX}, "too large"},
        {4, 0, 2, 2, {2, 2}, {INT64_MAX, INT64_MAX}, "too large"},
        {4, 0, 3, 3, {1 << 30, 1 << 30, 1 << 30}, {0}, "too large"},
        {4, 0, 2, 2, {1 << 15, 1 << 15}, {0}, "repeats its storage"},
        {4, 0, 1, 1, {-1}, {1}, "whole numbers from 0 up"},
        {4, 0, 1, 1, {1}, {-1}, "whole numbers from 0 up"},
        {4, -1, 1, 1, {1}, {1}, "whole numbers from 0 up"},
        {4, 0, 2, 1, {1, 1}, {1}, "whole numbers from 0 up"},
        {-4, 0, 1, 1, {1}, {1}, "nothing says its type"},
        {5, 0, 1, 1, {1}, {1}, "5 values expected, found 4"},
        {INT64_MAX, 0, 1, 1, {1}, {1}, "values expected, found 4"},
    };
    draft *d = calloc(1, sizeof *d);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tensor_file f;
        put_head(d);
        put_tensor(d, cases[i].stored, cases[i].offset, cases[i].dims, cases[i].dim_count, cases[i].strides,
                   cases[i].stride_count);
        put_tail(d);
        if (cases[i].why) {
            assert_refused(cases[i].why, d);
            continue;
        }
        temp_write("sound", d->data, d->size);
        open_sound(&f, temp_path("sound"));
        assert_string_equal(f.entries[0].name, "tensor");
        float *values = read_all(&f.entries[0]);
        for (int64_t k = 0; k < f.entries[0].count; k++)
            assert_true(values[k] == (float)(1 + cases[i].offset + k / 2 * cases[i].strides[0] + k % 2));
        free(values);
        tensor_file_close(&f);
    }
    int64_t many[65] = {0};
    put_head(d);
    put_tensor(d, 4, 0, many, 65, many, 65);
    put_tail(d);
    assert_refused("at most 64", d);
    free(d);
}

/* 12 GiB that are a hole in the file: only the directory and the pickle are looked at. */
static void opening_a_large_file_costs_no_copy(void **state)
{
    (void)state;
    const int64_t count = (int64_t)3 << 30, one = 1;
    draft *d = calloc(1, sizeof *d);
    zip_writer z;
    tensor_file f;
    struct rusage before, after;
    PUT(d, "\x80\x02}U\x01w");
    put_tensor(d, count, 0, &count, 1, &one, 1);
    PUT(d, "s.");
    assert_int_equal(zip_writer_begin(&z, temp_path("large.pt"), &err), DT_OK);
    assert_int_equal(zip_writer_record(&z, "archive/data/0", (uint64_t)count * sizeof(float), 0, &err), DT_OK);
    if (lseek(z.file.fd, count * (off_t)sizeof(float), SEEK_CUR) < 0) {
        zip_writer_abort(&z);
        free(d);
        skip(); /* a file system without large files */
    }
    z.at += (uint64_t)count * sizeof(float);
    assert_int_equal(zip_writer_add(&z, "archive/data.pkl", d->data, d->size, &err), DT_OK);
    assert_int_equal(zip_writer_commit(&z, NULL, &err), DT_OK);
    free(d);
    getrusage(RUSAGE_SELF, &before);
    open_sound(&f, temp_path("large.pt"));
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(tensor_file_find(&f, "w")->count, count);
    assert_true(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB */
    tensor_file_close(&f);
    unlink(temp_path("large.pt"));
}

static void a_file_without_tensors_is_refused_and_runs_nothing(void **state)
{
    (void)state;
    draft *d = calloc(1, sizeof *d);
    char command[600];
    put_head(d);
    snprintf(command, sizeof command, "touch %s", temp_path("made"));
    uint32_t length = (uint32_t)strlen(command);
    PUT(d, "}U\x01wcos\nsystem\nX");
    put(d, &length, sizeof length);
    put(d, command, length);
    PUT(d, "\x85Rs.\x80\x02].");
    assert_refused("no tensor in it", d);
    assert_int_not_equal(access(temp_path("made"), F_OK), 0);
    free(d);
}

static void odd_containers_are_refused(void **state)
{
    (void)state;
    draft *d = calloc(1, sizeof *d);
    PUT(d, "\x80\x02K\x01.");
    assert_refused("not one of torch.save", d);
    d->size = 0;
    PUT(d, "\x80\x02\x8a\x0al\xfc\x9c"
           "F\xf9 j\xa8P\x19.\x80\x02M\xe8\x03.");
    assert_refused("version 1001", d);
    d->size = 0;
    PUT(d, MAGIC "\x80\x02}U\x0dlittle_endian\x89s.");
    assert_refused("not little-endian", d);
    put_head(d);
    PUT(d, "}.}.");
    assert_refused("no list of storages", d);
    put_head(d);
    PUT(d, "}.](K\x01"
           "e.");
    assert_refused("key is not a text", d);
    put_head(d);
    PUT(d, "}.](U\x01"
           "7e.");
    assert_refused("storage 7: nothing says its type", d);
    d->size = 0;
    PUT(d, "PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_refused("no data.pkl", d);
    free(d);
}

static void names_must_be_usable(void **state)
{
    (void)state;
    draft *d = calloc(1, sizeof *d);
    const int64_t one = 1;
    static const struct {
        const char *key;
        size_t size;
        const char *why;
    } keys[] = {
        {"U\x01\xff", 3, "no UTF-8"},
        {"U\x03"
         "a\0b",
         5, "zero byte"},
    };
    for (int i = 0; i < 2; i++) {
        put_head(d);
        PUT(d, "}");
        put(d, keys[i].key, keys[i].size);
        put_tensor(d, 4, 0, &one, 1, &one, 1);
        PUT(d, "s");
        put_tail(d);
        assert_refused(keys[i].why, d);
    }
    put_head(d); /* {"1": tensor, 1: tensor} */
    PUT(d, "}U\x01"
           "1");
    put_tensor(d, 4, 0, &one, 1, &one, 1);
    PUT(d, "sK\x01");
    put_tensor(d, 4, 0, &one, 1, &one, 1);
    PUT(d, "s");
    put_tail(d);
    assert_refused("two tensors have the name 1", d);
    free(d);
}

static void shared_dictionaries_do_not_multiply(void **state)
{
    (void)state;
    draft *d = calloc(1, sizeof *d);
    put_head(d); /* a dictionary that holds itself */
    PUT(d, "}q\0U\x01"
           "ah\0s");
    PUT(d, ".\x80\x02].");
    assert_refused("again and again", d);
    put_head(d); /* a list in a list, 100 times */
    for (int i = 0; i < 100; i++) PUT(d, "]");
    for (int i = 1; i < 100; i++) PUT(d, "a");
    PUT(d, ".\x80\x02].");
    assert_refused("nested deeper than", d);
    put_head(d); /* 40 lists, each of the one before ten times */
    PUT(d, "]");
    for (int i = 0; i < 40; i++) PUT(d, "q\0]q\x01(h\0h\0h\0h\0h\0h\0h\0h\0h\0h\0e");
    PUT(d, ".\x80\x02].");
    assert_refused("again and again", d);
    free(d);
}

/* Whatever is wrong with a file, it is refused or its values can be read. */
static void survive(const draft *d, const char *name)
{
    tensor_file f;
    temp_write(name, d->data, d->size);
    if (tensor_file_open(&f, temp_path(name), &err) == DT_OK)
        for (size_t i = 0; i < f.count; i++)
            if (f.entries[i].dtype != SAFETENSORS_C64 && f.entries[i].count < 1000) {
                void *values = calloc((size_t)f.entries[i].count + 1, sizeof(int64_t));
                if (is_float(f.entries[i].dtype))
                    tensor_read_f32(values, &f.entries[i], &err);
                else
                    tensor_read_i64(values, &f.entries[i], &err);
                free(values);
            }
    error_clear(&err);
    tensor_file_close(&f);
}

static draft *read_draft(const char *path)
{
    draft *d = calloc(1, sizeof *d);
    char *data;
    assert_int_equal(file_read_all(&data, &d->size, path, ROOM, &err), DT_OK);
    memcpy(d->data, data, d->size);
    free(data);
    return d;
}

/* States no checksum for any record of a zip. */
static void forget_checksums(draft *d)
{
    for (unsigned char *at = d->data; (at = memmem(at, (size_t)(d->data + d->size - at), "PK\x01\x02", 4)); at += 4)
        memset(at + 16, 0, 4);
}

static void every_cut_and_every_odd_byte_is_survived(void **state)
{
    (void)state;
    static const char *const files[] = {"vectors/pytorch/bare.pt", "vectors/pytorch/bare.pth",
                                        "vectors/pytorch/kinds.pth"};
    for (int i = 0; i < 3; i++) {
        draft *d = read_draft(files[i]);
        size_t size = d->size;
        forget_checksums(d);
        while (d->size-- > 0) assert_refused("", d);
        d->size = size;
        for (size_t at = 0; at < size; at++) {
            unsigned char saved = d->data[at];
            d->data[at] ^= 0xff;
            survive(d, "odd");
            d->data[at] = saved ^ 1;
            survive(d, "odd");
            d->data[at] = saved;
        }
        free(d);
    }
}

static void replace(draft *d, const char *old, const char *new)
{
    unsigned char *at = memmem(d->data, d->size, old, strlen(old));
    assert_non_null(at);
    memcpy(at, new, strlen(old));
}

static void an_odd_zip_is_refused(void **state)
{
    (void)state;
    draft *d = read_draft("vectors/pytorch/bare.pt");
    forget_checksums(d);
    replace(d, "little", "bigger");
    assert_refused("byte order", d);
    free(d);
    d = read_draft("vectors/pytorch/bare.pt");
    forget_checksums(d);
    replace(d, "FloatStorage", "BloatStorage");
    assert_refused("storage is of no known type", d);
    replace(d, "BloatStorage", "FloatStorage");
    for (int i = 0; i < 2; i++) replace(d, "/data/0", "/data/1");
    assert_refused("storage is not in the file", d);
    free(d);
    d = read_draft("vectors/pytorch/bare.pt");
    unsigned char *central = memmem(d->data, d->size, "PK\x01\x02", 4);
    assert_non_null(central);
    central[10] = 8;
    assert_refused("is compressed", d);
    free(d);
    d = read_draft("vectors/pytorch/script.pt");
    assert_refused("TorchScript", d);
    free(d);
}

/* What a file says is checked when it is opened, values when they are read. */
static void a_record_that_is_not_what_its_checksum_says_is_refused(void **state)
{
    (void)state;
    tensor_file f;
    draft *d = read_draft("vectors/pytorch/bare.pt");
    replace(d, "cpu", "gpu");
    assert_refused("data.pkl: its checksum", d);
    free(d);
    tensor_file_open(&f, "vectors/pytorch/bare.pt", &err);
    assert_int_equal(err.status, DT_OK);
    const size_t place = (size_t)((const unsigned char *)f.entries[0].data - f.map.data);
    tensor_file_close(&f);
    d = read_draft("vectors/pytorch/bare.pt");
    for (int bit = 0; bit < 8; bit++) {
        float values[64];
        d->data[place] ^= (unsigned char)(1 << bit);
        temp_write("damaged.pt", d->data, d->size);
        d->data[place] ^= (unsigned char)(1 << bit);
        assert_int_equal(tensor_file_open(&f, temp_path("damaged.pt"), &err), DT_OK);
        assert_true(f.entries[0].count <= 64);
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(tensor_read_f32(values, &f.entries[0], &err), DT_ERR_FORMAT);
            assert_says(err.message, "damaged.pt");
            assert_says(err.message, f.entries[0].name);
            assert_says(err.message, "checksum");
            error_clear(&err);
        }
        tensor_file_close(&f);
    }
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_pytorch_wrote_is_read_to_the_bit),
        cmocka_unit_test(strides_and_storages_stay_as_they_are_in_the_file),
        cmocka_unit_test(the_transposed_inception_weights_are_turned),
        cmocka_unit_test(records_may_stand_in_any_order),
        cmocka_unit_test(opening_a_large_file_costs_no_copy),
        cmocka_unit_test(every_real_file_opens),
        cmocka_unit_test(a_checkpoint_opens_at_its_average),
        cmocka_unit_test(real_files_have_the_values_of_their_twins),
        cmocka_unit_test(real_files_without_twins_are_read_in_full),
        cmocka_unit_test(a_tensor_stays_inside_its_storage),
        cmocka_unit_test(a_file_without_tensors_is_refused_and_runs_nothing),
        cmocka_unit_test(odd_containers_are_refused),
        cmocka_unit_test(names_must_be_usable),
        cmocka_unit_test(shared_dictionaries_do_not_multiply),
        cmocka_unit_test(every_cut_and_every_odd_byte_is_survived),
        cmocka_unit_test(an_odd_zip_is_refused),
        cmocka_unit_test(a_record_that_is_not_what_its_checksum_says_is_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
