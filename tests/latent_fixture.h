/* What tests of latent models share: small random codecs (from the vectors of test_codec), pictures, and bases. */
#ifndef TESTS_LATENT_FIXTURE_H
#define TESTS_LATENT_FIXTURE_H

#include "file/folder.h"
#include "run_fixture.h"

#include "container/tensor_open.h"
#include "model/codec/codec.h"

/* Pictures of 32x32: 5x4x4 latents of the tiny autoencoder; of 16x16: 3x4x4 latents of the AutoencoderKL. */
enum { LATENT_PICTURE = 32, LATENT_CHANNELS = 5, LATENT_SIZE = 4 };

static const char tiny_codec[] = "vectors/codec_tiny.safetensors";

/* kl/, diffusers' folder of an AutoencoderKL with 4 groups and scale 0.5. */
static inline void latent_fixture_kl(void)
{
    static const char config[] = "{\"norm_num_groups\": 4, \"scaling_factor\": 0.5}", prefix[] = "diffusers.";
    static tensor_source sources[512];
    tensor_file f;
    dt_error err = {0};
    size_t count = 0;
    assert_int_equal(tensor_file_open(&f, "vectors/codec_kl.safetensors", &err), DT_OK);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        if (strncmp(e->name, prefix, strlen(prefix))) continue;
        sources[count++] = (tensor_source){.name = e->name + strlen(prefix),
                                           .dtype = e->dtype,
                                           .dim_count = e->dim_count,
                                           .dims = e->dims,
                                           .data = e->data};
    }
    assert_int_equal(file_make_dirs(temp_path("kl"), &err), DT_OK);
    temp_write("kl/config.json", config, strlen(config));
    assert_int_equal(
        safetensors_write(temp_path("kl/diffusion_pytorch_model.safetensors"), sources, count, NULL, 0, NULL, &err),
        DT_OK);
    tensor_file_close(&f);
}

/* The world of fixture_make with pictures twice as large, and latent.safetensors for the tiny autoencoder. */
static inline int latent_fixture_make(void **state)
{
    if (temp_folder_make(state)) return -1;
    fixture_images("data", FIXTURE_CLASSES, 4, LATENT_PICTURE, 0);
    fixture_images("held", FIXTURE_CLASSES, 2, LATENT_PICTURE, 5);
    fixture_images("bank_images", 1, 9, LATENT_PICTURE, 9);
    dit_config config = fixture_config();
    config.channels = LATENT_CHANNELS;
    config.input_size = LATENT_SIZE;
    config.patch = 2;
    fixture_base("latent.safetensors", config, 11);
    fixture_base("base.safetensors", fixture_config(), 11);
    latent_fixture_kl();
    return 0;
}

/* Six steps of Diff-Tuning of the latent base, with encoded pictures in latents/. */
static inline dt_settings latent_fixture_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("latent.safetensors"));
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("latents"));
    snprintf(s.vae, sizeof s.vae, "%s", tiny_codec);
    return s;
}

#endif
