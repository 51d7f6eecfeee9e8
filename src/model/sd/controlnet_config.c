#include "model/sd/controlnet_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "model/sd/unet_config.h"

#define CLASS_NAME    "ControlNetModel"
#define STEM_WIDTHS   "conditioning_embedding_out_channels"
#define CHANNELS      "conditioning_channels"
#define CHANNEL_ORDER "controlnet_conditioning_channel_order"
#define GLOBAL_POOL   "global_pool_conditions"

static const int64_t published_stem[] = {16, 32, 96, 256};
enum { PUBLISHED_STEM = sizeof published_stem / sizeof *published_stem };

/* ---- reading ---- */

static int64_t whole(const json_t *value, const char *key, const char *path, dt_error *err)
{
    const int64_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    if (number < 1 || number > 1 << 20)
        error_set(err, DT_ERR_FORMAT, "%s: %s: a whole number above 0 expected", path, key);
    return number;
}

static void read_stem(controlnet_config *k, const json_t *list, const char *path, dt_error *err)
{
    k->stem_count = PUBLISHED_STEM;
    memcpy(k->stem_width, published_stem, sizeof published_stem);
    if (!list || json_is_null(list)) return;
    const size_t count = json_array_size(list);
    if (count < 1 || count > CONTROLNET_STEM_MAX)
        error_set(err, DT_ERR_FORMAT, "%s: " STEM_WIDTHS ": a list of 1 to %d numbers expected", path,
                  CONTROLNET_STEM_MAX);
    for (size_t i = 0; err->status == DT_OK && i < count; i++)
        k->stem_width[i] = whole(json_array_get(list, i), STEM_WIDTHS, path, err);
    k->stem_count = (int64_t)count;
}

static void refuse_relatives(const json_t *object, const char *path, dt_error *err)
{
    const char *name = json_string_value(json_object_get(object, "_class_name"));
    const char *order = json_string_value(json_object_get(object, CHANNEL_ORDER));
    if (name && strcmp(name, CLASS_NAME) != 0)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: _class_name is \"%.60s\", and only " CLASS_NAME " is known here", path,
                  name);
    if (order && strcmp(order, "rgb") != 0)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: " CHANNEL_ORDER " is \"%.60s\", and only rgb is known here", path,
                  order);
    if (json_is_true(json_object_get(object, GLOBAL_POOL)))
        error_set(err, DT_ERR_UNSUPPORTED, "%s: " GLOBAL_POOL " is true, and only false is known here", path);
}

/* A ControlNet has no way up, and a UNet's configuration needs one: that of its way down. */
static json_t *mirrored(const json_t *down)
{
    json_t *up = json_array();
    for (size_t i = json_array_size(down); i-- > 0;) {
        const char *type = json_string_value(json_array_get(down, i));
        json_add(&up, json_string(type && !strcmp(type, "CrossAttnDownBlock2D") ? "CrossAttnUpBlock2D" : "UpBlock2D"));
    }
    return up;
}

/* What is left is the configuration of a UNet. */
static json_t *encoder_of(const json_t *object)
{
    static const char *const own[] = {"_class_name", STEM_WIDTHS, CHANNELS, CHANNEL_ORDER, GLOBAL_POOL};
    json_t *encoder = json_copy((json_t *)object);
    const json_t *down = json_object_get(object, "down_block_types");
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) json_object_del(encoder, own[i]);
    if (json_is_array(down)) json_put(&encoder, "up_block_types", mirrored(down));
    return encoder;
}

dt_status controlnet_config_read(controlnet_config *k, const json_t *object, const char *path, dt_error *err)
{
    const json_t *channels = json_object_get(object, CHANNELS);
    *k = (controlnet_config){.control_channels = 3};
    refuse_relatives(object, path, err);
    if (err->status != DT_OK) return err->status;
    json_t *encoder = encoder_of(object);
    if (!encoder) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    unet_config_read(&k->unet, encoder, path, err);
    json_decref(encoder);
    if (err->status == DT_OK && channels) k->control_channels = whole(channels, CHANNELS, path, err);
    if (err->status == DT_OK) read_stem(k, json_object_get(object, STEM_WIDTHS), path, err);
    return err->status == DT_OK ? controlnet_config_check(k, path, err) : err->status;
}

dt_status controlnet_config_parse(controlnet_config *k, const char *text, const char *path, dt_error *err)
{
    json_error_t where;
    json_t *object = json_text_read(text, strlen(text), &where, path, err);
    if (object)
        controlnet_config_read(k, object, path, err);
    else
        error_set(err, DT_ERR_FORMAT, "%s: " MODEL_CONTROLNET ": %s", path, where.text);
    json_decref(object);
    return err->status;
}

/* ---- writing ---- */

json_t *controlnet_config_json(const controlnet_config *k)
{
    static const char *const of_unets[] = {"sample_size", "out_channels", "up_block_types", "center_input_sample"};
    json_t *object = unet_config_json(&k->unet, false), *stem = json_array();
    for (size_t i = 0; object && i < sizeof of_unets / sizeof *of_unets; i++) json_object_del(object, of_unets[i]);
    for (int64_t i = 0; i < k->stem_count; i++) json_add(&stem, json_integer(k->stem_width[i]));
    json_put(&object, "_class_name", json_string(CLASS_NAME));
    json_put(&object, CHANNELS, json_integer(k->control_channels));
    json_put(&object, STEM_WIDTHS, stem);
    json_put(&object, CHANNEL_ORDER, json_string("rgb"));
    json_put(&object, GLOBAL_POOL, json_false());
    return object;
}

/* ---- a new one ---- */

/* Entries of a list with commas. */
static bool read_new_stem(controlnet_config *k, const char *list)
{
    const char *at = list;
    char *end;
    do {
        const long long width = strtoll(at, &end, 10);
        if (end == at || width < 1 || width > 16384 || k->stem_count == CONTROLNET_STEM_MAX) return false;
        k->stem_width[k->stem_count++] = width;
        at = end + strspn(end, " ");
    } while (*at++ == ',');
    return !at[-1];
}

dt_status controlnet_config_new(controlnet_config *k, const unet_config *base, int64_t factor, const char *stem,
                                dt_error *err)
{
    *k = (controlnet_config){.unet = *base, .control_channels = 3};
    k->unet.class_count = 0;
    while (!stem[0] && k->stem_count < PUBLISHED_STEM && (int64_t)1 << k->stem_count <= factor) {
        k->stem_width[k->stem_count] = published_stem[k->stem_count];
        k->stem_count++;
    }
    if (stem[0] && !read_new_stem(k, stem))
        return error_set(err, DT_ERR_ARG, STEM_WIDTHS " %.200s: 1 to %d numbers from 1 to 16384 with commas expected",
                         stem, CONTROLNET_STEM_MAX);
    if (controlnet_factor(k) != factor)
        return error_set(err, DT_ERR_ARG,
                         STEM_WIDTHS " %.200s: %lld entries lead to 1/%lld of the pictures' side, and the model sees "
                                     "1/%lld of it",
                         stem, (long long)k->stem_count, (long long)controlnet_factor(k), (long long)factor);
    return err->status;
}
