/* libFuzzer target: any bytes as the manifest of a cache folder that holds one good shard. */
#include <stdlib.h>
#include <string.h>

#include "data/latent_cache.h"
#include "fuzz_file.h"

static const codec vae = {.kind = CODEC_TINY, .name = "tiny autoencoder", .channels = 1, .factor = 8, .scale = 1};
static const data_watcher nobody;
static char home[] = "latents-XXXXXX", manifest[DT_PATH_MAX], shard[DT_PATH_MAX];
static char *shard_bytes;
static size_t shard_size;

static void put(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert(f && fwrite(data, 1, size, f) == size);
    fclose(f);
}

/* The folder with its one shard, as the library makes it. */
static void make_folder(void)
{
    latent_cache k;
    dt_error err = {0};
    const float moments[2] = {1, 2};
    const dataset_file file = {.content = {1}, .origin = {.image = {.orientation = 1}, .width = 8, .height = 8}};
    assert(mkdtemp(home) && latent_cache_open(&k, home, &vae, 8, "#ffffff", &nobody, &err) == DT_OK);
    assert(latent_cache_add(&k, &file, moments, &err) == DT_OK && latent_cache_finish(&k, &err) == DT_OK);
    file_join(manifest, k.folder, "manifest.json");
    file_join(shard, k.folder, "shard-00000-000001.safetensors");
    latent_cache_close(&k);
    assert(file_read_all(&shard_bytes, &shard_size, shard, 1 << 20, &err) == DT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    latent_cache k;
    dt_error err = {0};
    dataset_origin origin;
    const uint8_t content[DATASET_CONTENT] = {1};
    if (!shard_bytes) make_folder();
    put(manifest, data, size);
    put(shard, shard_bytes, shard_size); /* the last input's folder may have lost it */
    if (latent_cache_open(&k, home, &vae, 8, "#ffffff", &nobody, &err) == DT_OK) {
        bool there = latent_cache_find(&k, content, &origin);
        assert(!there || latent_cache_moments(&k, content)[1] == 2);
        assert(k.picture_count == there);
        latent_cache_close(&k);
    }
    return 0;
}
