#include "model/codec/codec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "container/tensor_open.h"
#include "file/folder.h"
#include "file/json_file.h"

#define KL_FILE  "diffusion_pytorch_model." /* diffusers' name; its config.json lies beside */
#define KL_SCALE 0.18215                    /* of Stable Diffusion 1.x: one over the latents' standard deviation */
enum { LOG_VARIANCE_MIN = -30, LOG_VARIANCE_MAX = 20 };

/* ---- opening ---- */

/* What diffusers' config.json says beside the shapes. */
typedef struct kl_config {
    int64_t groups;
    double scale;
} kl_config;

/* Whether the value is none, or as this network has it. */
static bool is_usual(const json_t *value, const char *usual)
{
    const char *word = json_string_value(value);
    if (!value || json_is_null(value)) return true;
    if (word) return !strcmp(word, usual);
    if (json_is_boolean(value)) return !strcmp(usual, json_is_true(value) ? "true" : "false");
    return json_is_number(value) && json_number_value(value) == 0 && !strcmp(usual, "0");
}

/* Of what other networks of this name have. */
static dt_status refuse_unusual(const json_t *config, const char *path, dt_error *err)
{
    static const char *const usual[][2] = {
        {"act_fn", "silu"},
        {"shift_factor", "0"},
        {"latents_mean", "null"},
        {"latents_std", "null"},
        {"use_quant_conv", "true"},
        {"use_post_quant_conv", "true"},
        {"mid_block_add_attention", "true"},
    };
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (!is_usual(json_object_get(config, usual[i][0]), usual[i][1]))
            return error_set(err, DT_ERR_UNSUPPORTED,
                             "%s: %s %s expected, as Stable Diffusion 1.x has it, found another", path, usual[i][0],
                             usual[i][1]);
    return err->status;
}

static dt_status read_config(kl_config *out, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    *out = (kl_config){KL_GROUPS, KL_SCALE};
    file_join(path, folder, "config.json");
    if (!folder[0] || !file_exists(path)) return DT_OK;
    json_t *config = json_file_read(path, err);
    if (!config) return err->status;
    const json_t *groups = json_object_get(config, "norm_num_groups"),
                 *scale = json_object_get(config, "scaling_factor");
    if (groups) out->groups = json_integer_value(groups);
    if (scale) out->scale = json_number_value(scale);
    if (out->groups < 1 || out->groups > 1 << 14)
        error_set(err, DT_ERR_FORMAT, "%s: norm_num_groups: a whole number above 0 expected", path);
    else if (!(out->scale >= 1e-6 && out->scale <= 1e6)) /* as a float and its inverse too */
        error_set(err, DT_ERR_FORMAT, "%s: scaling_factor: a number from 1e-6 to 1e6 expected", path);
    else
        refuse_unusual(config, path, err);
    json_decref(config);
    return err->status;
}

static dt_status open_kl(ctx *c, codec *k, const tensor_file *f, const char *folder)
{
    kl_config config;
    if (read_config(&config, folder, &c->error) != DT_OK || autoencoder_kl_open(c, &k->kl, f, config.groups) != DT_OK)
        return c->error.status;
    k->kind = CODEC_AUTOENCODER_KL;
    k->name = "AutoencoderKL";
    k->channels = k->kl.latents;
    k->factor = (int64_t)1 << (k->kl.level_count - 1);
    k->scale = config.scale;
    k->random = true;
    return DT_OK;
}

static dt_status open_tiny(ctx *c, codec *k, const tensor_file *encoder, const tensor_file *decoder)
{
    if (tiny_autoencoder_open(c, &k->tiny, encoder, decoder) != DT_OK) return c->error.status;
    k->kind = CODEC_TINY;
    k->name = "tiny autoencoder";
    k->channels = k->tiny.latents;
    k->factor = TINY_FACTOR;
    k->scale = 1;
    return DT_OK;
}

static void hash_file(codec *k, const tensor_file *f)
{
    file_hash hash;
    file_map_sha256(&hash, &f->map);
    memcpy(k->sha256, hash.hex, sizeof k->sha256);
}

static void hash_pair(codec *k, const tensor_file *encoder, const tensor_file *decoder)
{
    char both[2 * sizeof k->sha256];
    file_hash hash;
    hash_file(k, encoder);
    memcpy(both, k->sha256, sizeof k->sha256);
    hash_file(k, decoder);
    memcpy(both + sizeof k->sha256, k->sha256, sizeof k->sha256);
    file_sha256_bytes(&hash, both, sizeof both);
    memcpy(k->sha256, hash.hex, sizeof k->sha256);
}

/* The encoder's file and the decoder's, from the path of either: `path` with its last "encoder" or "decoder" put so. */
static bool other_half(char out[DT_PATH_MAX], const char *path, const char *word)
{
    const char *name = file_base_name(path), *at = strstr(name, "encoder");
    if (!at) at = strstr(name, "decoder");
    if (!at) return false;
    snprintf(out, DT_PATH_MAX, "%.*s%s%s", (int)(at - path), path, word, at + strlen(word));
    return true;
}

static dt_status refuse(const char *path, dt_error *err)
{
    return error_set(
        err, DT_ERR_FORMAT,
        "%s: a latent codec expected (AutoencoderKL by its original or diffusers' names, or the encoder and "
        "decoder of a tiny autoencoder), found another file",
        path);
}

static dt_status open_two_files(ctx *c, codec *k, const char *encoder_path, const char *decoder_path)
{
    tensor_file encoder = {0}, decoder = {0};
    if (tensor_file_open(&encoder, encoder_path, &c->error) == DT_OK &&
        tensor_file_open(&decoder, decoder_path, &c->error) == DT_OK) {
        if (!tiny_autoencoder_fits(&encoder, &decoder))
            refuse(encoder_path, &c->error);
        else if (open_tiny(c, k, &encoder, &decoder) == DT_OK)
            hash_pair(k, &encoder, &decoder);
    }
    tensor_file_close(&encoder);
    tensor_file_close(&decoder);
    return c->error.status;
}

/* Both halves of a tiny autoencoder in one file. */
static dt_status open_tiny_file(ctx *c, codec *k, const char *path)
{
    tensor_file encoder = {0}, decoder = {0};
    if (tensor_file_open(&encoder, path, &c->error) == DT_OK && tensor_file_open(&decoder, path, &c->error) == DT_OK) {
        if (!tensor_file_enter(&encoder, "encoder.") || !tensor_file_enter(&decoder, "decoder.") ||
            !tiny_autoencoder_fits(&encoder, &decoder))
            refuse(path, &c->error);
        else if (open_tiny(c, k, &encoder, &decoder) == DT_OK)
            hash_file(k, &encoder);
    }
    tensor_file_close(&encoder);
    tensor_file_close(&decoder);
    return c->error.status;
}

static dt_status open_file(ctx *c, codec *k, const char *path, const char *folder)
{
    tensor_file f;
    char encoder[DT_PATH_MAX], decoder[DT_PATH_MAX];
    if (tensor_file_open(&f, path, &c->error) != DT_OK) return c->error.status;
    static const char *const inside[] = {"first_stage_model.", "state_dict.first_stage_model.", "state_dict."};
    for (size_t i = 0; i < sizeof inside / sizeof *inside && !autoencoder_kl_fits(&f); i++)
        if (tensor_file_enter(&f, inside[i])) break;
    bool is_kl = autoencoder_kl_fits(&f);
    if (is_kl && open_kl(c, k, &f, folder) == DT_OK) hash_file(k, &f);
    tensor_file_close(&f);
    if (is_kl) return c->error.status;
    if (other_half(encoder, path, "encoder") && other_half(decoder, path, "decoder") && file_exists(encoder) &&
        file_exists(decoder))
        return open_two_files(c, k, encoder, decoder);
    return open_tiny_file(c, k, path);
}

static bool has_ending(const char *name)
{
    static const char *const endings[] = {"safetensors", "bin", "pt", "pth", "ckpt"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (file_has_extension(name, endings[i])) return true;
    return false;
}

/* The weights in a folder: diffusers' file, or the encoder of a pair; safetensors before anything else of the same
 * name. */
static bool find_weights(char out[DT_PATH_MAX], const char *folder, dt_error *err)
{
    file_names names;
    bool found = false;
    if (file_list(&names, folder, err) != DT_OK) return false;
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        bool wanted = has_ending(name) && (!strncmp(name, KL_FILE, strlen(KL_FILE)) || strstr(name, "encoder"));
        if (!wanted || (found && !strstr(name, ".safetensors"))) continue;
        file_join(out, folder, name);
        found = true;
    }
    file_names_free(&names);
    return found;
}

static dt_status open_folder(ctx *c, codec *k, const char *folder)
{
    char path[DT_PATH_MAX], below[DT_PATH_MAX];
    file_join(below, folder, "vae");
    if (file_is_folder(below)) folder = below;
    if (find_weights(path, folder, &c->error)) return open_file(c, k, path, folder);
    return error_set(&c->error, DT_ERR_IO,
                     "%s: diffusion_pytorch_model.safetensors, or the two files of a tiny autoencoder expected in the "
                     "folder, found neither",
                     folder);
}

dt_status codec_open(ctx *c, codec *k, const char *path)
{
    *k = (codec){.tile = CODEC_TILE};
    if (ctx_failed(c)) return c->error.status;
    if (file_is_folder(path)) return open_folder(c, k, path);
    char folder[DT_PATH_MAX];
    const char *name = file_base_name(path);
    snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path);
    return open_file(c, k, path, strncmp(name, KL_FILE, strlen(KL_FILE)) ? "" : folder[0] ? folder : ".");
}

codec codec_of_pixels(int64_t channels)
{
    return (codec){.kind = CODEC_PIXELS, .name = "pixels", .channels = channels, .factor = 1, .scale = 1};
}

/* Whether the path of a model holds a codec too, as a pipeline and a checkpoint of Stable Diffusion do. */
static bool is_beside(ctx *c, const char *model, int64_t channels)
{
    codec k;
    const arena_place mark = arena_mark(&c->model);
    const bool found = codec_open(c, &k, model) == DT_OK && k.channels == channels;
    arena_release(&c->model, mark);
    error_clear(&c->error);
    return found;
}

static dt_status refuse_pixels(ctx *c, const char *model, int64_t channels)
{
    if (ctx_failed(c)) return c->error.status;
    const bool beside = is_beside(c, model, channels);
    return error_set(&c->error, DT_ERR_ARG,
                     "%s: the model takes %lld channels, which are latents; vae is needed, the codec that makes "
                     "pictures of them%s%s",
                     model, (long long)channels, beside ? "; one is in " : "", beside ? model : "");
}

dt_status codec_open_for(ctx *c, codec *k, const char *path, const char *model, int64_t channels)
{
    if (!path[0]) {
        *k = codec_of_pixels(channels);
        return channels == 1 || channels == 3 ? c->error.status : refuse_pixels(c, model, channels);
    }
    if (codec_open(c, k, path) != DT_OK || k->channels == channels) return c->error.status;
    return error_set(&c->error, DT_ERR_SHAPE, "%s: the model takes %lld channels, but %s makes latents of %lld", model,
                     (long long)channels, path, (long long)k->channels);
}

/* ---- one picture, or one tile of it ---- */

/* A rectangle of a picture or latent of `channels` planes: row r of plane p starts at data + p*plane + r*stride. */
typedef struct window {
    float *data;
    int64_t channels, height, width, plane, stride;
} window;

static tensor *to_channels_last(ctx *c, const window *w)
{
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){1, w->height, w->width, w->channels});
    real *values = x ? numbers_prepare(c, &c->step, x->data, tensor_count(x)) : NULL;
    for (int64_t row = 0; values && row < w->height; row++)
        for (int64_t column = 0; column < w->width; column++)
            for (int64_t p = 0; p < w->channels; p++)
                values[(row * w->width + column) * w->channels + p] = w->data[p * w->plane + row * w->stride + column];
    if (values) numbers_send(c, x->data, values, tensor_count(x));
    return values ? x : NULL;
}

static tensor *run_network(ctx *c, const codec *k, tensor *x, bool encode)
{
    if (ctx_failed(c)) return NULL;
    if (k->kind == CODEC_AUTOENCODER_KL)
        return encode ? autoencoder_kl_encode(c, &k->kl, x) : autoencoder_kl_decode(c, &k->kl, x);
    return encode ? tiny_autoencoder_encode(c, &k->tiny, x) : tiny_autoencoder_decode(c, &k->tiny, x);
}

/* How much of a tile counts at distance `i` from its first of `size` entries: rising over the overlap with the tile
 * before, falling over the overlap with the tile behind. */
static float ramp(int64_t i, int64_t size, int64_t overlap, bool before, bool behind)
{
    float weight = 1;
    if (before && i < overlap) weight = ((float)i + 0.5F) / (float)overlap;
    if (behind && size - 1 - i < overlap) weight *= ((float)(size - 1 - i) + 0.5F) / (float)overlap;
    return weight;
}

/* Where tiles of one side lie: tile number i starts at start_of(i), the last one ends at the end. */
typedef struct tiling {
    int64_t size, tile, overlap, count;
} tiling;

static tiling tiles_of(int64_t size, int64_t tile)
{
    tiling t = {size, tile < size ? tile : size, 0, 1};
    if (t.tile == size) return t;
    t.overlap = t.tile / 4 > 0 ? t.tile / 4 : 1;
    t.count = (size - t.overlap + t.tile - t.overlap - 1) / (t.tile - t.overlap);
    return t;
}

static int64_t start_of(const tiling *t, int64_t i)
{
    int64_t start = i * (t->tile - t->overlap), last = t->size - t->tile;
    return start < last ? start : last;
}

/* Adds a tile's result y[1,th,tw,C] at (top, left) of out, weighted, and the weights themselves to `total`. */
static void add_tile(const window *out, float *total, const tensor *y, const real *values, const tiling *rows,
                     const tiling *columns, int64_t i, int64_t j, int64_t up, int64_t down)
{
    int64_t top = start_of(rows, i) * up / down, left = start_of(columns, j) * up / down;
    int64_t over_rows = rows->overlap * up / down, over_columns = columns->overlap * up / down;
    for (int64_t r = 0; r < y->dim[1]; r++)
        for (int64_t q = 0; q < y->dim[2]; q++) {
            float weight = ramp(r, y->dim[1], over_rows, i > 0, i + 1 < rows->count) *
                           ramp(q, y->dim[2], over_columns, j > 0, j + 1 < columns->count);
            const real *from = values + (r * y->dim[2] + q) * y->dim[3];
            total[(top + r) * out->width + left + q] += weight;
            for (int64_t p = 0; p < out->channels; p++)
                out->data[p * out->plane + (top + r) * out->stride + left + q] += weight * (float)from[p];
        }
}

static void divide_by_total(const window *out, const float *total)
{
    for (int64_t p = 0; p < out->channels; p++)
        for (int64_t i = 0; i < out->height * out->width; i++) out->data[p * out->plane + i] /= total[i];
}

/* out = network(in), tile by tile where a side of `in` is above `tile`. `up`/`down`: side of out by side of in. */
static void run_window(ctx *c, const codec *k, const window *out, const window *in, bool encode)
{
    int64_t up = encode ? 1 : k->factor, down = encode ? k->factor : 1;
    /* whole latent entries, and a quarter of the tile too */
    int64_t tile = k->tile / (4 * k->factor) * 4 * down;
    if (tile == 0) tile = k->tile > 0 ? 4 * down : in->height + in->width;
    const tiling rows = tiles_of(in->height, tile), columns = tiles_of(in->width, tile);
    const arena_place mark = arena_mark(&c->scratch);
    const size_t count = (size_t)(out->height * out->width);
    float *total = arena_alloc_zeroed(&c->scratch, count * sizeof *total, &c->error);
    for (int64_t p = 0; p < out->channels; p++) memset(out->data + p * out->plane, 0, count * sizeof *total);
    for (int64_t tile_number = 0; tile_number < rows.count * columns.count && !ctx_failed(c); tile_number++) {
        const arena_place step = arena_mark(&c->step);
        int64_t i = tile_number / columns.count, j = tile_number % columns.count;
        window part = *in;
        part.data += start_of(&rows, i) * in->stride + start_of(&columns, j);
        part.height = rows.tile;
        part.width = columns.tile;
        const tensor *y = run_network(c, k, to_channels_last(c, &part), encode);
        const real *values = y ? numbers_read(c, &c->step, y->data, tensor_count(y)) : NULL;
        if (values) add_tile(out, total, y, values, &rows, &columns, i, j, up, down);
        arena_release(&c->step, step);
    }
    if (!ctx_failed(c) && rows.count * columns.count > 1) divide_by_total(out, total);
    arena_release(&c->scratch, mark);
}

static window whole(float *data, int64_t channels, int64_t height, int64_t width)
{
    return (window){data, channels, height, width, height * width, width};
}

/* ---- the interface ---- */

dt_status codec_encode(ctx *c, const codec *k, float *moments, const float *x, int64_t n, int64_t height, int64_t width)
{
    if (ctx_failed(c)) return c->error.status;
    if (height % k->factor || width % k->factor)
        return error_set(&c->error, DT_ERR_SHAPE, "%s: sides divisible by %lld expected, found %lldx%lld", k->name,
                         (long long)k->factor, (long long)width, (long long)height);
    if (k->kind == CODEC_PIXELS) {
        memcpy(moments, x, (size_t)(n * k->channels * height * width) * sizeof *x);
        return DT_OK;
    }
    const int64_t h = height / k->factor, w = width / k->factor, planes = codec_moment_count(k) * k->channels;
    const int precision = ctx_set_precision(c, 0);
    for (int64_t i = 0; i < n && !ctx_failed(c); i++) {
        float *out = moments + i * planes * h * w;
        const window from = whole((float *)x + i * 3 * height * width, 3, height, width), to = whole(out, planes, h, w);
        run_window(c, k, &to, &from, true);
        for (int64_t j = k->channels * h * w; j < planes * h * w && !ctx_failed(c); j++)
            out[j] = fminf(fmaxf(out[j], LOG_VARIANCE_MIN), LOG_VARIANCE_MAX);
    }
    ctx_set_precision(c, precision);
    return c->error.status;
}

dt_status codec_check_resolution(const codec *k, int64_t resolution, const char *path, dt_error *err)
{
    if (resolution % k->factor == 0) return DT_OK;
    return error_set(err, DT_ERR_ARG, "resolution %lld is not divisible by %lld, the factor of %s",
                     (long long)resolution, (long long)k->factor, path);
}

void codec_latent(float *z, const codec *k, const float *moments, const float *noise, int64_t count)
{
    const float scale = (float)k->scale;
    for (int64_t i = 0; i < count; i++) {
        float deviation = k->random && noise ? expf(0.5F * moments[count + i]) * noise[i] : 0;
        z[i] = scale * (moments[i] + deviation);
    }
}

dt_status codec_decode(ctx *c, const codec *k, float *x, const float *z, int64_t n, int64_t height, int64_t width)
{
    if (ctx_failed(c)) return c->error.status;
    if (k->kind == CODEC_PIXELS) {
        memcpy(x, z, (size_t)(n * k->channels * height * width) * sizeof *x);
        return DT_OK;
    }
    const int64_t count = k->channels * height * width, pixels = k->factor * k->factor * height * width;
    const arena_place mark = arena_mark(&c->scratch);
    float *unscaled = arena_alloc(&c->scratch, (size_t)count * sizeof *unscaled, &c->error);
    const int precision = ctx_set_precision(c, 0);
    for (int64_t i = 0; i < n && !ctx_failed(c); i++) {
        for (int64_t j = 0; j < count; j++) unscaled[j] = z[i * count + j] / (float)k->scale;
        const window from = whole(unscaled, k->channels, height, width);
        const window to = whole(x + i * 3 * pixels, 3, k->factor * height, k->factor * width);
        run_window(c, k, &to, &from, false);
    }
    ctx_set_precision(c, precision);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
