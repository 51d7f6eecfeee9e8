#include "data/latent_cache.h"

#include <stdio.h>
#include <string.h>

#include "base/finite.h"

enum { MOMENTS, ORIGIN }; /* the tensors of a shard */

/* Bits of origin's second number. */
enum { GREY = 1, PALETTE = 2, ALPHA = 4, CMYK = 8, DEEP = 16, ORIENTATION_SHIFT = 8 };

/* ---- what a picture's file held ---- */

static void pack_origin(int64_t out[4], const dataset_origin *o)
{
    out[0] = o->image.format;
    out[1] = (o->image.grey ? GREY : 0) | (o->image.palette ? PALETTE : 0) | (o->image.alpha ? ALPHA : 0) |
             (o->image.cmyk ? CMYK : 0) | (o->image.deep ? DEEP : 0) | o->image.orientation << ORIENTATION_SHIFT;
    out[2] = o->width;
    out[3] = o->height;
}

static dataset_origin unpack_origin(const int64_t in[4])
{
    return (dataset_origin){.image = {.format = (image_format)in[0],
                                      .grey = in[1] & GREY,
                                      .palette = in[1] & PALETTE,
                                      .alpha = in[1] & ALPHA,
                                      .cmyk = in[1] & CMYK,
                                      .deep = in[1] & DEEP,
                                      .orientation = (int)(in[1] >> ORIENTATION_SHIFT & 255)},
                            .width = in[2],
                            .height = in[3]};
}

static bool origin_is_possible(const int64_t in[4])
{
    return in[0] >= 0 && in[0] < IMAGE_FORMAT_COUNT && in[2] > 0 && in[3] > 0;
}

static const char *wrong(const shard_kind *kind, const void *const row[])
{
    const int64_t values = (int64_t)(kind->tensor[MOMENTS].row_bytes / sizeof(float));
    if (!origin_is_possible(row[ORIGIN])) return "has an impossible origin";
    return finite_first_bad(row[MOMENTS], values) >= 0 ? "has latents that are not finite" : NULL;
}

/* ---- opening ---- */

/* What a folder is of; `made_by` is the caller's. */
typedef struct pair {
    shard_kind kind;
    char name[32];
    json_t *made_by;
} pair;

static pair pair_of(latent_cache *k, const codec *vae, int64_t resolution, const char *background)
{
    const int64_t side = resolution / vae->factor;
    pair p = {
        .kind = {.format = CACHE_OF_LATENTS,
                 .rows = "encoded pictures",
                 .tensor_count = 2,
                 .tensor = {{"moments", SAFETENSORS_F32, 5, {2, codec_moment_count(vae), vae->channels, side, side}, 0},
                            {"origin", SAFETENSORS_I64, 1, {4}, 0}},
                 .wrong = wrong}};
    json_t *shape = json_array();
    for (int i = 0; i < 5; i++) json_add(&shape, json_integer(p.kind.tensor[MOMENTS].dim[i]));
    p.made_by = JSON_OBJECT({"codec", json_string(vae->name)}, {"codec_sha256", json_string(vae->sha256)},
                            {"norm_num_groups", json_integer(vae->kl.groups)}, {"tile", json_integer(vae->tile)},
                            {"resolution", json_integer(resolution)}, {"crop", json_string("adm")},
                            {"background", json_string(background)}, {"shape", shape});
    snprintf(p.name, sizeof p.name, "%lld", (long long)resolution);
    *k = (latent_cache){.picture_values = 2 * codec_moment_count(vae) * vae->channels * side * side};
    return p;
}

dt_status latent_cache_open(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err)
{
    const pair p = pair_of(k, vae, resolution, background);
    return shard_cache_open(&k->shards, &p.kind, cache_dir, p.name, p.made_by, watch, err);
}

dt_status latent_cache_look(latent_cache *k, const char *cache_dir, const codec *vae, int64_t resolution,
                            const char *background, const data_watcher *watch, dt_error *err)
{
    const pair p = pair_of(k, vae, resolution, background);
    return shard_cache_look(&k->shards, &p.kind, cache_dir, p.name, p.made_by, watch, err);
}

void latent_cache_close(latent_cache *k)
{
    shard_cache_close(&k->shards);
    *k = (latent_cache){0};
}

/* ---- reading and adding ---- */

bool latent_cache_find(const latent_cache *k, const uint8_t content[DATASET_CONTENT], dataset_origin *origin)
{
    const int64_t *packed = shard_cache_find(&k->shards, content, ORIGIN);
    if (packed && origin) *origin = unpack_origin(packed);
    return packed != NULL;
}

const float *latent_cache_moments(const latent_cache *k, const uint8_t content[DATASET_CONTENT])
{
    return shard_cache_find(&k->shards, content, MOMENTS);
}

int64_t latent_cache_growing_bytes(const latent_cache *k, int64_t pictures)
{
    return shard_cache_growing_bytes(&k->shards, pictures);
}

dt_status latent_cache_add(latent_cache *k, const dataset_file *file, const float *moments, dt_error *err)
{
    int64_t origin[4];
    pack_origin(origin, &file->origin);
    return shard_cache_add(&k->shards, file->content, (const void *[]){moments, origin}, err);
}

dt_status latent_cache_finish(latent_cache *k, dt_error *err)
{
    return shard_cache_finish(&k->shards, err);
}
