/* Files of torch.save: what PyTorch wrote (vectors/pytorch, made by make_pytorch_vectors.py) gives the values that it had
 * there, real files give those of their safetensors twins, and nothing that is not sound is read. */
#include "temp_folder.h"

#include <string.h>
#include <unistd.h>

#include "io/tensor_file.h"

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
    const char *shared = getenv("DT_SHARED");
    if (!shared) shared = "../../shared";
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[DT_PATH_MAX], twin[DT_PATH_MAX];
        snprintf(path, sizeof path, "%s/weights/%s", shared, files[i].file);
        snprintf(twin, sizeof twin, "%s/weights/%s", shared, files[i].twin);
        if (access(path, R_OK) != 0) skip();
        assert_same_file(path, files[i].prefix, twin);
    }
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
    const char *shared = getenv("DT_SHARED");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[DT_PATH_MAX];
        tensor_file f;
        int64_t values = 0;
        snprintf(path, sizeof path, "%s/weights/%s", shared ? shared : "../../shared", files[i].file);
        if (access(path, R_OK) != 0) skip();
        open_sound(&f, path);
        for (size_t k = 0; k < f.count; k++) {
            float *read = read_all(&f.entries[k]);
            for (int64_t j = 0; is_float(f.entries[k].dtype) && j < f.entries[k].count; j++)
                assert_true(read[j] - read[j] == 0);
            free(read);
            values += f.entries[k].count;
        }
        assert_int_equal(f.count, files[i].tensors);
        assert_int_equal(values, files[i].values);
        tensor_file_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_pytorch_wrote_is_read_to_the_bit),
        cmocka_unit_test(strides_and_storages_stay_as_they_are_in_the_file),
        cmocka_unit_test(a_checkpoint_opens_at_its_average),
        cmocka_unit_test(real_files_have_the_values_of_their_twins),
        cmocka_unit_test(real_files_without_twins_are_read_in_full),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
