#include "data/control_cache.h"

#include <stdio.h>
#include <string.h>

enum { MAP, SIZE }; /* the tensors of a shard */

control_maker control_of_pictures(void)
{
    return (control_maker){.identity = "picture", .channels = 3};
}

static const char *wrong(const shard_kind *kind, const void *const row[])
{
    const int64_t *size = row[SIZE];
    (void)kind;
    return size[0] > 0 && size[1] > 0 ? NULL : "has impossible sides";
}

static shard_kind kind_of(control_cache *k, const control_maker *maker, int64_t resolution)
{
    *k = (control_cache){.maker = *maker, .resolution = resolution};
    return (shard_kind){.format = CACHE_OF_CONTROLS,
                        .rows = "control maps",
                        .tensor_count = 2,
                        .tensor = {{"map", SAFETENSORS_U8, 3, {resolution, resolution, maker->channels}, 0},
                                   {"size", SAFETENSORS_I64, 1, {2}, 0}},
                        .wrong = wrong};
}

static json_t *describe(const control_maker *maker, int64_t resolution, const char *background)
{
    return JSON_OBJECT({"maker", json_string(maker->identity)}, {"channels", json_integer(maker->channels)},
                       {"resolution", json_integer(resolution)}, {"crop", json_string("adm")},
                       {"background", json_string(background)});
}

dt_status control_cache_open(control_cache *k, const char *cache_dir, const control_maker *maker, int64_t resolution,
                             const char *background, const data_watcher *watch, dt_error *err)
{
    const shard_kind kind = kind_of(k, maker, resolution);
    return shard_cache_open(&k->shards, &kind, cache_dir, "controls", describe(maker, resolution, background), watch,
                            err);
}

dt_status control_cache_look(control_cache *k, const char *cache_dir, const control_maker *maker, int64_t resolution,
                             const char *background, const data_watcher *watch, dt_error *err)
{
    const shard_kind kind = kind_of(k, maker, resolution);
    return shard_cache_look(&k->shards, &kind, cache_dir, "controls", describe(maker, resolution, background), watch,
                            err);
}

void control_cache_close(control_cache *k)
{
    shard_cache_close(&k->shards);
    *k = (control_cache){0};
}

bool control_cache_find(const control_cache *k, dataset_file *file)
{
    const int64_t *size = shard_cache_find(&k->shards, file->content, SIZE);
    if (!size) return false;
    file->origin = (dataset_origin){.image = {.orientation = 1}, .width = size[0], .height = size[1]};
    return true;
}

dt_status control_cache_take(ctx *c, control_cache *k, const dataset_file *file, const uint8_t *rgb)
{
    const int64_t side = k->resolution, size[2] = {file->origin.width, file->origin.height};
    if (shard_cache_find(&k->shards, file->content, MAP)) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    const void *map = rgb;
    if (k->maker.make) {
        uint8_t *made = arena_alloc(&c->scratch, (size_t)(side * side * k->maker.channels), &c->error);
        if (made) k->maker.make(c, k->maker.user, made, rgb, side, side);
        map = made;
    }
    if (!ctx_failed(c)) shard_cache_add(&k->shards, file->content, (const void *[]){map, size}, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
