/* Bases for ControlNets in small; comes behind nothing and brings run_fixture.h. */
#ifndef TESTS_CONTROL_FIXTURE_H
#define TESTS_CONTROL_FIXTURE_H

#include "file/folder.h"
#include "run_fixture.h"

#include "model/sd/unet_file.h"

/* A UNet of these widths on pixels, told a class, to be pre-trained in `output`. */
static inline dt_settings fixture_unet_settings(const char *output, const char *widths)
{
    dt_settings s = fixture_settings(output);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    snprintf(s.model, sizeof s.model, "UNet");
    snprintf(s.block_out_channels, sizeof s.block_out_channels, "%s", widths);
    s.layers_per_block = 1;
    s.norm_num_groups = 4;
    s.num_heads = 2;
    s.cross_attention_dim = 12;
    s.resolution = FIXTURE_SIZE;
    return s;
}

/* Writes a UNet of pixels of that side, of random weights, that is told contexts of that width. */
static inline void fixture_unet_told(ctx *c, const char *path, int64_t side, int64_t width)
{
    const unet_config k = {.input_size = side,
                           .in_channels = 3,
                           .out_channels = 3,
                           .level_count = 2,
                           .width = {8, 8},
                           .heads = {2, 2},
                           .down_attends = {true, false},
                           .up_attends = {true, false},
                           .layers = 1,
                           .context_width = width,
                           .groups = 4,
                           .epsilon = 1e-5,
                           .noise = NOISE_SCALED_LINEAR};
    unet m = {0};
    assert_int_equal(unet_open(c, &m, &k), DT_OK);
    params_init(c, &m.params, 3);
    for (int i = 0; i < m.params.count; i++) {
        tensor *t = m.params.row[i].tensor;
        for (int64_t j = 0; j < tensor_count(t); j++) t->data[j] += 0.1F * (real)sin(1 + 0.7 * (double)j + i);
    }
    if (unet_write(c, &m, &(denoiser_file){.path = path}) != DT_OK) fail_msg("%s", c->error.message);
}

/* A pipeline's folder: such a UNet, and the text encoder of vectors/clip. */
static inline void fixture_prompted(const char *folder)
{
    enum { CLIP_WIDTH = 16 };
    static const char *const part[] = {"text_encoder", "tokenizer"};
    ctx c;
    char name[128], from[64], clip[DT_PATH_MAX];
    dt_error err = {0};
    snprintf(name, sizeof name, "%s/unet", folder);
    assert_int_equal(file_make_dirs(temp_path(name), &err), DT_OK);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "vectors/clip/%s", part[i]);
        snprintf(name, sizeof name, "%s/%s", folder, part[i]);
        assert_non_null(realpath(from, clip));
        assert_int_equal(symlink(clip, temp_path(name)), 0);
    }
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    snprintf(name, sizeof name, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    fixture_unet_told(&c, temp_path(name), FIXTURE_SIZE, CLIP_WIDTH);
    ctx_close(&c);
}

#endif
