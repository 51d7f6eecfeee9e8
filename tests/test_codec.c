/* Latent codecs against diffusers' AutoencoderKL and a PyTorch tiny autoencoder (vectors/make_codec_vectors.py), the
 * real TAEF2 where the shared data is, the layouts of names, tiling, and files that do not fit. */
#include "context_fixture.h"
#include "file/folder.h"
#include "temp_folder.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "container/safetensors.h"
#include "container/tensor_open.h"
#include "model/codec/codec.h"
#include "shared_data.h"

enum { TENSORS_MAX = 512 };

/* ---- files made from the vectors ---- */

static tensor_file vectors_of(const char *name)
{
    tensor_file f;
    char path[128];
    snprintf(path, sizeof path, "vectors/%s", name);
    if (tensor_file_open(&f, path, &context.error) != DT_OK) fail_msg("%s", context.error.message);
    return f;
}

static const tensor_entry *vector(const tensor_file *f, const char *name)
{
    const tensor_entry *e = tensor_file_find(f, name);
    assert_non_null(e);
    return e;
}

static float *values_of(const tensor_file *f, const char *name)
{
    const tensor_entry *e = vector(f, name);
    float *out = arena_alloc(&context.model, (size_t)e->count * sizeof *out, &context.error);
    assert_int_equal(tensor_read_f32(out, e, &context.error), DT_OK);
    return out;
}

/* Gives a tensor its name in the new file; false: leave it out. */
typedef bool rename_function(char out[128], const char *name);

/* Replaces `from` in text, in place; false when it is not there. */
static bool replace(char text[128], const char *from, const char *to)
{
    char *at = strstr(text, from), rest[128];
    if (!at) return false;
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(text + 128 - at), "%s%s", to, rest);
    return true;
}

static bool as_diffusers(char out[128], const char *name)
{
    if (strncmp(name, "diffusers.", 10)) return false;
    snprintf(out, 128, "%s", name + 10);
    return true;
}

static bool as_old_diffusers(char out[128], const char *name)
{
    if (!as_diffusers(out, name)) return false;
    replace(out, ".to_q.", ".query.");
    replace(out, ".to_k.", ".key.");
    replace(out, ".to_v.", ".value.");
    replace(out, ".to_out.0.", ".proj_attn.");
    return true;
}

/* The table of names in the other direction than the library's. */
static bool as_original(char out[128], const char *name)
{
    static const char *const pairs[][2] = {{"downsamplers.0", "downsample"},
                                           {"upsamplers.0", "upsample"},
                                           {"down_blocks", "down"},
                                           {"up_blocks.0", "up.2"},
                                           {"up_blocks.1", "up.#"},
                                           {"up_blocks.2", "up.0"},
                                           {"up.#", "up.1"},
                                           {"mid_block.resnets.0", "mid.block_1"},
                                           {"mid_block.resnets.1", "mid.block_2"},
                                           {"mid_block.attentions.0", "mid.attn_1"},
                                           {"resnets", "block"},
                                           {"group_norm", "norm"},
                                           {"to_q", "q"},
                                           {"to_k", "k"},
                                           {"to_v", "v"},
                                           {"to_out.0", "proj_out"},
                                           {"conv_norm_out", "norm_out"},
                                           {"conv_shortcut", "nin_shortcut"}};
    if (!as_diffusers(out, name)) return false;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) replace(out, pairs[i][0], pairs[i][1]);
    return true;
}

static bool as_checkpoint(char out[128], const char *name)
{
    char plain[128];
    if (!strcmp(name, "z")) return snprintf(out, 128, "model.diffusion_model.input_blocks.0.0.weight") > 0;
    if (!as_original(plain, name)) return false;
    snprintf(out, 128, "first_stage_model.%.100s", plain);
    return true;
}

/* A folder with the weights of `from` under other names, and a config.json with this text (NULL: none). In original names
 * linear maps are 1x1 convolutions. */
static const char *write_codec(const char *folder, const tensor_file *from, rename_function *rename_tensor,
                               const char *config)
{
    static char names[TENSORS_MAX][128];
    static int64_t dims[TENSORS_MAX][4];
    static tensor_source sources[TENSORS_MAX];
    size_t count = 0;
    dt_error err = {0};
    char path[128];
    for (size_t i = 0; i < from->count; i++) {
        const tensor_entry *e = &from->entries[i];
        if (!rename_tensor(names[count], e->name)) continue;
        bool widen = strstr(names[count], "attn_1") && e->dim_count == 2;
        for (int d = 0; d < 4; d++) dims[count][d] = d < e->dim_count ? e->dims[d] : 1;
        sources[count] = (tensor_source){.name = names[count],
                                         .dtype = e->dtype,
                                         .dim_count = widen ? 4 : e->dim_count,
                                         .dims = dims[count],
                                         .data = e->data};
        count++;
    }
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    snprintf(path, sizeof path, "%.60s/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(safetensors_write(temp_path(path), sources, count, NULL, 0, NULL, &err), DT_OK);
    snprintf(path, sizeof path, "%.60s/config.json", folder);
    if (config) temp_write(path, config, strlen(config));
    return temp_path(folder);
}

static const char config[] = "{\"norm_num_groups\": 4, \"scaling_factor\": 0.5}";

static void open_codec(codec *k, const char *path)
{
    if (codec_open(&context, k, path) != DT_OK) fail_msg("%s", context.error.message);
}

/* Opening must fail with this status and all these words in the message. */
static void refused(const char *path, dt_status status, const char *words[], int count)
{
    codec k;
    error_clear(&context.error);
    assert_int_equal(codec_open(&context, &k, path), status);
    for (int i = 0; i < count; i++)
        if (!strstr(context.error.message, words[i])) fail_msg("\"%s\" lacks %s", context.error.message, words[i]);
    error_clear(&context.error);
}

/* ---- comparing ---- */

/* The largest difference by the largest expected value. */
static double relative(const float *found, const float *expected, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)found[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
        if (isnan(found[i])) return INFINITY;
    }
    return worst / largest;
}

static void check(const char *what, const float *found, const float *expected, int64_t count, double bound)
{
    double error = relative(found, expected, count);
    if (!(error < bound)) fail_msg("%s: relative error %g, bound %g", what, error, bound);
}

static float *room(int64_t count)
{
    float *x = arena_alloc(&context.model, (size_t)count * sizeof *x, &context.error);
    assert_non_null(x);
    return x;
}

/* ---- AutoencoderKL ---- */

static void autoencoder_kl_is_that_of_diffusers(void **state)
{
    (void)state;
    tensor_file f = vectors_of("codec_kl.safetensors");
    codec k;
    open_codec(&k, write_codec("kl", &f, as_diffusers, config));
    assert_int_equal(k.channels, 3);
    assert_int_equal(k.factor, 4);
    assert_true(k.random && k.scale == 0.5);

    const int64_t count = 3 * 3 * 4; /* of one latent */
    float *moments = room(2 * 2 * count);
    assert_int_equal(codec_encode(&context, &k, moments, values_of(&f, "x"), 2, 12, 16), DT_OK);
    for (int n = 0; n < 2; n++) {
        check("mean", moments + n * 2 * count, values_of(&f, "mean") + n * count, count, 1e-5);
        check("logvar", moments + (2 * n + 1) * count, values_of(&f, "logvar") + n * count, count, 1e-5);
    }
    float *z = values_of(&f, "z"), *x = room(2 * 3 * 12 * 20);
    for (int i = 0; i < 2 * 3 * 3 * 5; i++) z[i] *= 0.5F; /* the codec takes scaled latents */
    assert_int_equal(codec_decode(&context, &k, x, z, 2, 3, 5), DT_OK);
    check("decoded", x, values_of(&f, "decoded"), 2 * 3 * 12 * 20, 1e-5);
    tensor_file_close(&f);
}

static void all_layouts_of_names_give_the_same_bits(void **state)
{
    (void)state;
    static rename_function *const layouts[] = {as_diffusers, as_old_diffusers, as_original, as_checkpoint};
    static const char *const folders[] = {"new", "old", "original", "checkpoint"};
    tensor_file f = vectors_of("codec_kl.safetensors");
    float *x = values_of(&f, "x"), *z = values_of(&f, "z");
    float first[2 * 72 + 2 * 3 * 240], found[2 * 72 + 2 * 3 * 240];
    for (int i = 0; i < 4; i++) {
        codec k;
        open_codec(&k, write_codec(folders[i], &f, layouts[i], config));
        codec_encode(&context, &k, i ? found : first, x, 2, 12, 16);
        assert_int_equal(codec_decode(&context, &k, (i ? found : first) + 144, z, 2, 3, 5), DT_OK);
        if (i) assert_memory_equal(found, first, sizeof first);
    }
    tensor_file_close(&f);
}

static void a_pipeline_folder_and_a_single_file_are_taken(void **state)
{
    (void)state;
    tensor_file f = vectors_of("codec_kl.safetensors");
    codec folder, file;
    write_codec("pipeline/vae", &f, as_diffusers, config);
    open_codec(&folder, temp_path("pipeline"));
    open_codec(&file, temp_path("pipeline/vae/diffusion_pytorch_model.safetensors"));
    assert_string_equal(folder.sha256, file.sha256);
    assert_int_equal(strlen(file.sha256), 64);
    tensor_file_close(&f);
}

/* ---- latents ---- */

static void a_latent_is_the_scaled_sample_of_its_moments(void **state)
{
    (void)state;
    codec k = {.scale = 0.25, .random = true};
    const float moments[] = {1, -2, 0, 2 * logf(3)}, noise[] = {0.5F, -1};
    float z[2];
    codec_latent(z, &k, moments, noise, 2);
    assert_float_equal(z[0], 0.25 * (1 + 0.5), 1e-6);
    assert_float_equal(z[1], 0.25 * (-2 - 3), 1e-6);
    codec_latent(z, &k, moments, NULL, 2);
    assert_float_equal(z[1], -0.5, 1e-6);
    k.random = false;
    codec_latent(z, &k, moments, noise, 2);
    assert_float_equal(z[0], 0.25, 1e-6);
}

/* ---- tiny autoencoder ---- */

static bool plain_name(char out[128], const char *name)
{
    if (strncmp(name, "encoder.", 8) && strncmp(name, "decoder.", 8)) return false;
    snprintf(out, 128, "%s", name);
    return true;
}

static bool encoder_name(char out[128], const char *name)
{
    return !strncmp(name, "encoder.", 8) && snprintf(out, 128, "%s", name + 8) > 0;
}

static bool decoder_name(char out[128], const char *name)
{
    return !strncmp(name, "decoder.", 8) && snprintf(out, 128, "%s", name + 8) > 0;
}

static const char *write_tiny_pair(const tensor_file *f)
{
    dt_error err = {0};
    char from[512];
    file_make_dirs(temp_path("pair"), &err);
    snprintf(from, sizeof from, "%s/diffusion_pytorch_model.safetensors", write_codec("half", f, encoder_name, NULL));
    file_rename(from, temp_path("pair/my_encoder.safetensors"), &err);
    snprintf(from, sizeof from, "%s/diffusion_pytorch_model.safetensors", write_codec("half", f, decoder_name, NULL));
    file_rename(from, temp_path("pair/my_decoder.safetensors"), &err);
    assert_int_equal(err.status, DT_OK);
    return temp_path("pair");
}

static void tiny_autoencoder_is_that_of_pytorch(void **state)
{
    (void)state;
    tensor_file f = vectors_of("codec_tiny.safetensors");
    const char *ways[] = {write_tiny_pair(&f), temp_path("pair/my_encoder.safetensors"),
                          temp_path("pair/my_decoder.safetensors"), write_codec("one", &f, plain_name, NULL)};
    for (int i = 0; i < 4; i++) {
        codec k;
        open_codec(&k, ways[i]);
        assert_int_equal(k.channels, 5);
        assert_int_equal(k.factor, 8);
        assert_true(!k.random && k.scale == 1 && codec_moment_count(&k) == 1);
        float *z = room(2 * 5 * 6), *x = room(2 * 3 * 16 * 24);
        assert_int_equal(codec_encode(&context, &k, z, values_of(&f, "x"), 2, 24, 16), DT_OK);
        check("latent", z, values_of(&f, "latent"), 2 * 5 * 6, 1e-5);
        assert_int_equal(codec_decode(&context, &k, x, values_of(&f, "z"), 2, 2, 3), DT_OK);
        check("decoded", x, values_of(&f, "decoded"), 2 * 3 * 16 * 24, 1e-5);
    }
    tensor_file_close(&f);
}

static void the_real_taef2_gives_its_reference_outputs(void **state)
{
    (void)state;
    char weights[DT_PATH_MAX], reference[DT_PATH_MAX];
    shared_path(weights, "weights/taef2");
    shared_path(reference, "data/reference/reference_io.safetensors");
    tensor_file f;
    assert_int_equal(tensor_file_open(&f, reference, &context.error), DT_OK);
    codec k;
    open_codec(&k, weights);
    assert_int_equal(k.channels, 32);
    const uint8_t *rgb = vector(&f, "taef2.input_u8_hwc")->data;
    float *x = room(3 * 4096), *z = room(32 * 64), *expected = values_of(&f, "taef2.recon");
    for (int i = 0; i < 4096; i++)
        for (int p = 0; p < 3; p++) x[p * 4096 + i] = (float)rgb[3 * i + p] / 127.5F - 1;
    assert_int_equal(codec_encode(&context, &k, z, x, 1, 64, 64), DT_OK);
    check("latent", z, values_of(&f, "taef2.latent"), 32 * 64, 1e-4);
    assert_int_equal(codec_decode(&context, &k, x, z, 1, 8, 8), DT_OK);
    for (int i = 0; i < 3 * 4096; i++) x[i] = (x[i] + 1) / 2;
    check("picture", x, expected, 3 * 4096, 1e-4);
    tensor_file_close(&f);
}

/* ---- tiles ---- */

static bool without_pools(char out[128], const char *name)
{
    return plain_name(out, name) && !strstr(name, ".pool.");
}

/* Without its normalisations the network sees less than 160 pixels in each direction: farther than that from the ends of
 * every tile that covers it, a latent is the same in tiles and whole. Tiles of 800 start at 0, 600 and 800. */
static void tiles_give_what_the_whole_picture_gives(void **state)
{
    (void)state;
    enum { H = 64, W = 1600, PLANE = H * W, LW = W / 8, LATENT = 5 * H / 8 * LW, VIEW = 160 };
    tensor_file f = vectors_of("codec_tiny.safetensors");
    codec k;
    open_codec(&k, write_codec("narrow", &f, without_pools, NULL));
    float *x = room(3 * PLANE), *whole = room(LATENT), *tiled = room(LATENT), *back = room(3 * PLANE);
    for (int i = 0; i < 3 * PLANE; i++) x[i] = sinf((float)(i % W) * 0.05F) * cosf((float)(i / W) * 0.3F);
    k.tile = 0;
    assert_int_equal(codec_encode(&context, &k, whole, x, 1, H, W), DT_OK);
    k.tile = 800;
    assert_int_equal(codec_encode(&context, &k, tiled, x, 1, H, W), DT_OK);
    int same = 0;
    for (int i = 0; i < LATENT; i++) {
        int column = i % LW * 8;
        bool far = column < 600 || (column > 800 + VIEW && column < 1400 - VIEW) || column >= 1400;
        assert_true(fabsf(tiled[i] - whole[i]) < (far ? 1e-5F : 1) * (1 + fabsf(whole[i])));
        same += far;
    }
    assert_true(same > LATENT / 2);
    k.tile = W; /* not above the limit: not one bit differs */
    assert_int_equal(codec_encode(&context, &k, tiled, x, 1, H, W), DT_OK);
    assert_memory_equal(tiled, whole, LATENT * sizeof *whole);

    codec_decode(&context, &k, x, whole, 1, H / 8, LW);
    k.tile = 800;
    assert_int_equal(codec_decode(&context, &k, back, whole, 1, H / 8, LW), DT_OK);
    for (int i = 0; i < 3 * PLANE; i++)
        assert_true(fabsf(back[i] - x[i]) < (i % W < 600 ? 1e-4F : 2) * (1 + fabsf(x[i])));
    tensor_file_close(&f);
}

/* ---- files that do not fit ---- */

static bool without_one(char out[128], const char *name)
{
    return as_diffusers(out, name) && strcmp(out, "decoder.mid_block.resnets.1.conv2.bias");
}

static bool with_a_stranger(char out[128], const char *name)
{
    if (!strcmp(name, "z")) return snprintf(out, 128, "encoder.down_blocks.2.attentions.0.to_q.weight") > 0;
    return as_diffusers(out, name);
}

static bool with_swapped_shapes(char out[128], const char *name)
{
    if (!strcmp(name, "diffusers.encoder.conv_in.weight")) return snprintf(out, 128, "decoder.conv_out.weight") > 0;
    if (!strcmp(name, "diffusers.decoder.conv_out.weight")) return snprintf(out, 128, "encoder.conv_in.weight") > 0;
    return as_diffusers(out, name);
}

static bool nothing_known(char out[128], const char *name)
{
    return !strcmp(name, "x") && snprintf(out, 128, "x") > 0;
}

static void files_that_do_not_fit_are_refused_by_name(void **state)
{
    (void)state;
    tensor_file f = vectors_of("codec_kl.safetensors");
    refused(write_codec("b1", &f, without_one, config), DT_ERR_SHAPE,
            (const char *[]){"decoder.mid_block.resnets.1.conv2.bias", "[8]", "none"}, 3);
    refused(write_codec("b2", &f, with_a_stranger, config), DT_ERR_SHAPE,
            (const char *[]){"encoder.down_blocks.2.attentions.0.to_q.weight"}, 1);
    refused(write_codec("b3", &f, with_swapped_shapes, config), DT_ERR_SHAPE,
            (const char *[]){"encoder.conv_in.weight", "[4,3,3,3]", "[3,4,3,3]"}, 3);
    refused(write_codec("b4", &f, nothing_known, config), DT_ERR_FORMAT, (const char *[]){"codec"}, 1);
    refused(write_codec("b5", &f, as_diffusers, "{\"norm_num_groups\": 3}"), DT_ERR_SHAPE,
            (const char *[]){"groups", "4"}, 2);
    refused(write_codec("b6", &f, as_diffusers, "{\"norm_num_groups\": 0}"), DT_ERR_FORMAT,
            (const char *[]){"norm_num_groups"}, 1);
    refused(write_codec("b7", &f, as_diffusers, "{\"scaling_factor\": -1}"), DT_ERR_FORMAT,
            (const char *[]){"scaling_factor"}, 1);
    static const char *const unusual[] = {"\"shift_factor\": 0.5", "\"act_fn\": \"relu\"", "\"use_quant_conv\": false",
                                          "\"latents_mean\": [0, 1]", "\"mid_block_add_attention\": false"};
    for (size_t i = 0; i < sizeof unusual / sizeof *unusual; i++) {
        char text[160], name[32];
        snprintf(text, sizeof text, "{\"norm_num_groups\": 4, %s}", unusual[i]);
        snprintf(name, sizeof name, "unusual%d", (int)i);
        refused(write_codec(name, &f, as_diffusers, text), DT_ERR_UNSUPPORTED, (const char *[]){"config.json"}, 1);
    }
    refused(write_codec("b8", &f, as_diffusers, "[1]"), DT_ERR_FORMAT, (const char *[]){"config.json"}, 1);
    refused(write_codec("b9", &f, as_diffusers, NULL), DT_ERR_SHAPE, (const char *[]){"32 groups"}, 1);
    refused(temp_folder, DT_ERR_IO, (const char *[]){"diffusion_pytorch_model"}, 1);
    refused(temp_path("missing"), DT_ERR_IO, (const char *[]){"missing"}, 1);
    tensor_file_close(&f);
}

static void a_picture_of_odd_size_is_refused(void **state)
{
    (void)state;
    tensor_file f = vectors_of("codec_tiny.safetensors");
    codec k;
    float z[64];
    open_codec(&k, write_codec("one", &f, plain_name, NULL));
    assert_int_equal(codec_encode(&context, &k, z, values_of(&f, "x"), 1, 12, 16), DT_ERR_SHAPE);
    assert_non_null(strstr(context.error.message, "divisible by 8"));
    tensor_file_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(autoencoder_kl_is_that_of_diffusers, context_make, context_remove),
        cmocka_unit_test_setup_teardown(all_layouts_of_names_give_the_same_bits, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_pipeline_folder_and_a_single_file_are_taken, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_latent_is_the_scaled_sample_of_its_moments, context_make, context_remove),
        cmocka_unit_test_setup_teardown(tiny_autoencoder_is_that_of_pytorch, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_real_taef2_gives_its_reference_outputs, context_make, context_remove),
        cmocka_unit_test_setup_teardown(tiles_give_what_the_whole_picture_gives, context_make, context_remove),
        cmocka_unit_test_setup_teardown(files_that_do_not_fit_are_refused_by_name, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_picture_of_odd_size_is_refused, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
