/* libFuzzer target: any bytes as the manifest of a cache folder that holds one good shard. */
#include "data/latent_cache.h"
#include "fuzz_folder.h"

static const codec vae = {.kind = CODEC_TINY, .name = "tiny autoencoder", .channels = 1, .factor = 8, .scale = 1};
static const data_watcher nobody;
static char manifest[DT_PATH_MAX], shard[DT_PATH_MAX]; /* names in the folder */
static fuzz_bytes shard_bytes;

/* The folder with its one shard, as the library makes it. */
static void make_folder(void)
{
    latent_cache k;
    dt_error err = {0};
    const float moments[2] = {1, 2};
    const dataset_file file = {.content = {1}, .origin = {.image = {.orientation = 1}, .width = 8, .height = 8}};
    fuzz_make_dirs("latents");
    assert(latent_cache_open(&k, fuzz_path("latents"), &vae, 8, "#ffffff", &nobody, &err) == DT_OK);
    assert(latent_cache_add(&k, &file, moments, &err) == DT_OK && latent_cache_finish(&k, &err) == DT_OK);
    file_join(manifest, k.shards.folder + strlen(fuzz_folder) + 1, "manifest.json");
    file_join(shard, k.shards.folder + strlen(fuzz_folder) + 1, "shard-00000-000001.safetensors");
    latent_cache_close(&k);
    shard_bytes = fuzz_get(shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    latent_cache k;
    dt_error err = {0};
    dataset_origin origin;
    const uint8_t content[DATASET_CONTENT] = {1};
    if (!shard_bytes.data) make_folder();
    fuzz_put(manifest, (fuzz_bytes){data, size});
    fuzz_put(shard, shard_bytes); /* the last input's folder may have lost it */
    if (latent_cache_open(&k, fuzz_path("latents"), &vae, 8, "#ffffff", &nobody, &err) == DT_OK) {
        bool there = latent_cache_find(&k, content, &origin);
        assert(!there || latent_cache_moments(&k, content)[1] == 2);
        assert(k.shards.row_count == there);
        latent_cache_close(&k);
    }
    fuzz_check_error(&err);
    return 0;
}
