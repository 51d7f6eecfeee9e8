/* Control maps on disk (data/shard_cache.h): what a denoiser is told of a picture's edges, depths or parts, as bytes at the side of
 * the pictures it is trained on. A map is read from a control picture, cropped as its picture is, or made of the cropped picture; every way
 * and transform has a folder of its own. A map is known by the SHA-256 of the file that it was made of. A row is
 *
 *     map  [R,R,C] U8  C is 3, or 1 for grey
 *     size [2] I64     width and height of the upright picture in the file, before the crop */
#ifndef DATA_CONTROL_CACHE_H
#define DATA_CONTROL_CACHE_H

#include "data/dataset.h"
#include "data/shard_cache.h"
#include "tensor/context.h"

/* What makes maps. */
typedef struct control_maker {
    const char *identity; /* what the maps depend on beside the picture: annotator, weights, settings */
    int64_t channels;     /* of a map: 1 or 3 */
    void *user;
    /* map[height,width,channels] of rgb[height,width,3]; NULL: the picture is the map, of 3 channels */
    dt_status (*make)(ctx *c, void *user, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);
} control_maker;

/* Control pictures that are maps themselves. */
control_maker control_of_pictures(void);

typedef struct control_cache {
    shard_cache shards;
    control_maker maker;
    int64_t resolution;
} control_cache;

/* As shard_cache_open and shard_cache_look; maps of that side, of pictures before that background. */
dt_status control_cache_open(control_cache *k, const char *cache_dir, const control_maker *maker, int64_t resolution,
                             const char *background, const data_watcher *watch, dt_error *err);
dt_status control_cache_look(control_cache *k, const char *cache_dir, const control_maker *maker, int64_t resolution,
                             const char *background, const data_watcher *watch, dt_error *err);
void control_cache_close(control_cache *k);

/* Whether the map of a file is there; fills in the sides of what the file held. */
bool control_cache_find(const control_cache *k, dataset_file *file);

/* Makes the map of rgb[R,R,3], what a file held, and adds it where it is not there. */
dt_status control_cache_take(ctx *c, control_cache *k, const dataset_file *file, const uint8_t *rgb);

#endif
