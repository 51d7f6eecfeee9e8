#include "model/sd/unet_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

#define DOWN_ATTENDS "CrossAttnDownBlock2D"
#define DOWN_PLAIN   "DownBlock2D"
#define UP_ATTENDS   "CrossAttnUpBlock2D"
#define UP_PLAIN     "UpBlock2D"

enum { HEADS_OF_NEW = 4 };

unet_config unet_config_sd15(void)
{
    return (unet_config){.input_size = 64,
                         .in_channels = 4,
                         .out_channels = 4,
                         .level_count = 4,
                         .width = {320, 640, 1280, 1280},
                         .heads = {8, 8, 8, 8},
                         .down_attends = {true, true, true, false},
                         .up_attends = {true, true, true, false},
                         .layers = 2,
                         .context_width = 768,
                         .groups = 32,
                         .epsilon = 1e-5,
                         .noise = NOISE_SCALED_LINEAR};
}

/* ---- what must be as it is in Stable Diffusion 1 ---- */

/* JSON texts; what is missing or null is that too. */
static const struct {
    const char *key, *expected;
} fixed_keys[] = {
    {"_class_name", "\"UNet2DConditionModel\""},
    {"center_input_sample", "false"},
    {"flip_sin_to_cos", "true"},
    {"freq_shift", "0"},
    {"mid_block_type", "\"UNetMidBlock2DCrossAttn\""},
    {"only_cross_attention", "false"},
    {"downsample_padding", "1"},
    {"mid_block_scale_factor", "1"},
    {"dropout", "0"},
    {"act_fn", "\"silu\""},
    {"transformer_layers_per_block", "1"},
    {"dual_cross_attention", "false"},
    {"use_linear_projection", "false"},
    {"resnet_time_scale_shift", "\"default\""},
    {"resnet_skip_time_act", "false"},
    {"resnet_out_scale_factor", "1"},
    {"time_embedding_type", "\"positional\""},
    {"conv_in_kernel", "3"},
    {"conv_out_kernel", "3"},
    {"attention_type", "\"default\""},
    {"class_embeddings_concat", "false"},
    {"prediction_type", "\"epsilon\""},
};

/* Read below, or without a meaning for the numbers. */
static const char *const other_keys[] = {
    "sample_size",      "in_channels",
    "out_channels",     "block_out_channels",
    "layers_per_block", "down_block_types",
    "up_block_types",   "attention_head_dim",
    "norm_num_groups",  "norm_eps",
    "beta_schedule",    "cross_attention_dim",
    "upcast_attention", "addition_embed_type_num_heads",
};

/* Numbers as numbers (1 is 1.0); of a list every entry. */
static bool is_as_expected(const json_t *value, const json_t *expected)
{
    if (!value || json_is_null(value)) return true;
    if (json_is_number(value) && json_is_number(expected))
        return json_number_value(value) == json_number_value(expected); // NOLINT: constants of a table
    if (!json_is_array(value)) return json_equal(value, (json_t *)expected) != 0;
    bool same = true;
    for (size_t i = 0; i < json_array_size(value); i++)
        same = same && is_as_expected(json_array_get(value, i), expected);
    return same;
}

static void refuse(const char *path, const char *key, const json_t *value, const char *expected, dt_error *err)
{
    char *found = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    error_set(err, DT_ERR_UNSUPPORTED, "%s: %s is %.60s, and only %s is known here", path, key, found ? found : "?",
              expected);
    free(found);
}

/* Stable Diffusion's other networks, by their names. */
static void refuse_relatives(const json_t *object, const char *path, dt_error *err)
{
    const json_t *added = json_object_get(object, "addition_embed_type");
    if (added && !json_is_null(added))
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: addition_embed_type: a UNet of SDXL; only those of Stable Diffusion 1 are known here", path);
    if (json_is_true(json_object_get(object, "use_linear_projection")))
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: use_linear_projection: a UNet of Stable Diffusion 2; only those of Stable Diffusion 1 are known "
                  "here",
                  path);
}

static bool is_other_key(const char *key)
{
    for (size_t i = 0; i < sizeof other_keys / sizeof *other_keys; i++)
        if (!strcmp(key, other_keys[i])) return true;
    return key[0] == '_';
}

static void check_keys(const json_t *object, const char *path, dt_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (i < sizeof fixed_keys / sizeof *fixed_keys && strcmp(key, fixed_keys[i].key) != 0) i++;
        const bool fixed = i < sizeof fixed_keys / sizeof *fixed_keys;
        json_t *expected = fixed ? json_loads(fixed_keys[i].expected, JSON_DECODE_ANY, NULL) : json_false();
        if (!expected)
            error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
        else if ((fixed || !is_other_key(key)) && !is_as_expected(value, expected))
            refuse(path, key, value, fixed ? fixed_keys[i].expected : "null", err);
        json_decref(expected);
    }
}

/* ---- what differs ---- */

typedef struct config_reader {
    const json_t *object;
    const char *path;
    dt_error *err;
} config_reader;

static int64_t whole(const config_reader *r, const char *key, const json_t *value)
{
    const int64_t number = json_is_integer(value) ? json_integer_value(value) : 0;
    if (number < 1 || number > 1 << 20)
        error_set(r->err, DT_ERR_FORMAT, "%s: %s: a whole number above 0 expected", r->path, key);
    return number;
}

static const json_t *given(const config_reader *r, const char *key)
{
    const json_t *value = json_object_get(r->object, key);
    return value && !json_is_null(value) ? value : NULL;
}

static void read_number(const config_reader *r, const char *key, int64_t *number)
{
    const json_t *value = given(r, key);
    if (value) *number = whole(r, key, value);
}

/* One number for all levels, or a list with one for each. */
static void read_numbers(const config_reader *r, const char *key, int64_t numbers[], int64_t count)
{
    const json_t *value = given(r, key);
    if (value && json_is_array(value) && (int64_t)json_array_size(value) != count)
        error_set(r->err, DT_ERR_FORMAT, "%s: %s: as many entries as block_out_channels has expected", r->path, key);
    for (int64_t i = 0; value && r->err->status == DT_OK && i < count; i++)
        numbers[i] = whole(r, key, json_is_array(value) ? json_array_get(value, (size_t)i) : value);
}

/* A number that a newer configuration may say for each level, all equal. */
static void read_equal(const config_reader *r, const char *key, int64_t *number, int64_t count)
{
    int64_t all[UNET_LEVELS_MAX];
    for (int64_t i = 0; i < count; i++) all[i] = *number;
    read_numbers(r, key, all, count);
    for (int64_t i = 0; r->err->status == DT_OK && i < count; i++)
        if (all[i] != all[0])
            error_set(r->err, DT_ERR_UNSUPPORTED, "%s: %s: one number for all levels expected", r->path, key);
    *number = all[0];
}

static void read_widths(const config_reader *r, unet_config *k)
{
    const json_t *value = given(r, "block_out_channels");
    if (!value) return;
    const size_t count = json_array_size(value);
    if (count < 1 || count > UNET_LEVELS_MAX)
        error_set(r->err, DT_ERR_FORMAT, "%s: block_out_channels: a list of 1 to %d numbers expected", r->path,
                  UNET_LEVELS_MAX);
    else
        read_numbers(r, "block_out_channels", k->width, k->level_count = (int64_t)count);
}

/* Kinds of levels, in the order of the list. */
static void read_types(const config_reader *r, const char *key, const char *attends, const char *plain, bool is[],
                       int64_t count)
{
    const json_t *value = given(r, key);
    if (!value && count == 4) return;
    if (!value || (int64_t)json_array_size(value) != count)
        error_set(r->err, DT_ERR_FORMAT, "%s: %s: as many entries as block_out_channels has expected", r->path, key);
    for (int64_t i = 0; r->err->status == DT_OK && i < count; i++) {
        const char *type = json_string_value(json_array_get(value, (size_t)i));
        is[i] = type && !strcmp(type, attends);
        if (!is[i] && !(type && !strcmp(type, plain)))
            error_set(r->err, DT_ERR_UNSUPPORTED, "%s: %s: %s or %s expected, found %.60s", r->path, key, attends,
                      plain, type ? type : "no text");
    }
}

static void read_noise(const config_reader *r, noise_law *noise)
{
    const json_t *value = given(r, "beta_schedule");
    const char *said = json_string_value(value);
    if (!value) return;
    if (said && !strcmp(said, "linear"))
        *noise = NOISE_LINEAR;
    else if (!said || strcmp(said, "scaled_linear") != 0)
        error_set(r->err, DT_ERR_UNSUPPORTED, "%s: beta_schedule: scaled_linear or linear expected, found %.60s",
                  r->path, said ? said : "no text");
}

static void turn(bool is[], int64_t count)
{
    for (int64_t i = 0; i < count / 2; i++) {
        const bool kept = is[i];
        is[i] = is[count - 1 - i];
        is[count - 1 - i] = kept;
    }
}

/* diffusers lists the levels of the way up from the smallest image on. */
dt_status unet_config_read(unet_config *k, const json_t *object, const char *path, dt_error *err)
{
    const config_reader r = {object, path, err};
    const json_t *epsilon = json_object_get(object, "norm_eps");
    *k = unet_config_sd15();
    k->context_width = 1280;
    refuse_relatives(object, path, err);
    if (err->status == DT_OK) check_keys(object, path, err);
    if (err->status == DT_OK) read_widths(&r, k);
    if (err->status != DT_OK) return err->status;
    const int64_t levels = k->level_count;
    read_number(&r, "sample_size", &k->input_size);
    read_number(&r, "in_channels", &k->in_channels);
    read_number(&r, "out_channels", &k->out_channels);
    read_equal(&r, "layers_per_block", &k->layers, levels);
    read_equal(&r, "cross_attention_dim", &k->context_width, levels);
    read_number(&r, "norm_num_groups", &k->groups);
    for (int64_t i = 0; i < levels; i++) k->heads[i] = 8;
    read_numbers(&r, "attention_head_dim", k->heads, levels);
    read_types(&r, "down_block_types", DOWN_ATTENDS, DOWN_PLAIN, k->down_attends, levels);
    turn(k->up_attends, levels);
    read_types(&r, "up_block_types", UP_ATTENDS, UP_PLAIN, k->up_attends, levels);
    turn(k->up_attends, levels);
    read_noise(&r, &k->noise);
    if (epsilon && !json_is_null(epsilon)) k->epsilon = json_number_value(epsilon);
    return err->status;
}

dt_status unet_config_parse(unet_config *k, const char *text, const char *path, dt_error *err)
{
    json_error_t where;
    json_t *object = json_text_read(text, strlen(text), &where, path, err);
    if (object)
        unet_config_read(k, object, path, err);
    else
        error_set(err, DT_ERR_FORMAT, "%s: " MODEL_UNET ": %s", path, where.text);
    json_decref(object);
    return err->status;
}

/* Keys of a scheduler that say what the network was trained for; others are the sampler's. */
static const struct {
    const char *key, *scaled_linear, *linear;
} scheduler_keys[] = {
    {"num_train_timesteps", "1000", "1000"},
    {"beta_start", "0.00085", "0.0001"},
    {"beta_end", "0.012", "0.02"},
    {"trained_betas", "null", "null"},
    {"prediction_type", "\"epsilon\"", "\"epsilon\""},
    {"rescale_betas_zero_snr", "false", "false"},
};

dt_status unet_config_read_scheduler(unet_config *k, const json_t *object, const char *path, dt_error *err)
{
    const config_reader r = {object, path, err};
    read_noise(&r, &k->noise);
    for (size_t i = 0; i < sizeof scheduler_keys / sizeof *scheduler_keys; i++) {
        const char *expected = k->noise == NOISE_LINEAR ? scheduler_keys[i].linear : scheduler_keys[i].scaled_linear;
        const json_t *value = json_object_get(object, scheduler_keys[i].key);
        json_t *wanted = json_loads(expected, JSON_DECODE_ANY, NULL);
        if (!wanted)
            error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
        else if (!is_as_expected(value, wanted))
            refuse(path, scheduler_keys[i].key, value, expected, err);
        json_decref(wanted);
    }
    return err->status;
}

/* ---- writing ---- */

static json_t *list_of(const int64_t numbers[], int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_add(&list, json_integer(numbers[i]));
    return list;
}

static json_t *types_of(const bool is[], int64_t count, bool backwards, const char *attends, const char *plain)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++)
        json_add(&list, json_string(is[backwards ? count - 1 - i : i] ? attends : plain));
    return list;
}

static json_t *heads_of(const unet_config *k)
{
    bool equal = true;
    for (int64_t i = 1; i < k->level_count; i++) equal = equal && k->heads[i] == k->heads[0];
    return equal ? json_integer(k->heads[0]) : list_of(k->heads, k->level_count);
}

json_t *unet_config_json(const unet_config *k, bool own)
{
    json_t *object = JSON_OBJECT(
        {"_class_name", json_string("UNet2DConditionModel")}, {"sample_size", json_integer(k->input_size)},
        {"in_channels", json_integer(k->in_channels)}, {"out_channels", json_integer(k->out_channels)},
        {"block_out_channels", list_of(k->width, k->level_count)}, {"layers_per_block", json_integer(k->layers)},
        {"down_block_types", types_of(k->down_attends, k->level_count, false, DOWN_ATTENDS, DOWN_PLAIN)},
        {"mid_block_type", json_string("UNetMidBlock2DCrossAttn")},
        {"up_block_types", types_of(k->up_attends, k->level_count, true, UP_ATTENDS, UP_PLAIN)},
        {"attention_head_dim", heads_of(k)}, {"cross_attention_dim", json_integer(k->context_width)},
        {"norm_num_groups", json_integer(k->groups)}, {"norm_eps", json_real(k->epsilon)},
        {"act_fn", json_string("silu")}, {"flip_sin_to_cos", json_true()}, {"freq_shift", json_integer(0)},
        {"downsample_padding", json_integer(1)}, {"mid_block_scale_factor", json_integer(1)},
        {"center_input_sample", json_false()});
    if (own) json_put(&object, "beta_schedule", json_string(k->noise == NOISE_LINEAR ? "linear" : "scaled_linear"));
    return object;
}

/* ---- a new network ---- */

/* The next entry of a list with commas, without blanks; false at the end. */
static bool next_word(char word[64], const char **list)
{
    const char *at = *list + strspn(*list, " ,");
    const size_t length = strcspn(at, " ,");
    *list = at + length;
    if (!length) return false;
    snprintf(word, 64, "%.*s", (int)(length < 64 ? length : 63), at);
    return true;
}

static void read_new_widths(unet_config *k, const char *list, dt_error *err)
{
    char word[64], *end;
    for (const char *rest = list; next_word(word, &rest);) {
        const long long width = strtoll(word, &end, 10);
        if (*end || width < 2 || width > 16384 || k->level_count == UNET_LEVELS_MAX) {
            error_set(err, DT_ERR_ARG, "block_out_channels %s: 1 to %d numbers from 2 to 16384 with commas expected",
                      list, UNET_LEVELS_MAX);
            return;
        }
        k->width[k->level_count++] = width;
    }
    if (!k->level_count) error_set(err, DT_ERR_ARG, "block_out_channels: at least one number expected");
}

/* Nothing stands for what Stable Diffusion has: all levels but the last. */
static void read_new_types(unet_config *k, const char *list, dt_error *err)
{
    char word[64];
    int64_t count = 0;
    for (const char *rest = list; next_word(word, &rest); count++) {
        const bool attends = !strcmp(word, DOWN_ATTENDS);
        if ((!attends && strcmp(word, DOWN_PLAIN) != 0) || count == k->level_count) {
            error_set(err, DT_ERR_ARG,
                      "down_block_types %s: " DOWN_ATTENDS " or " DOWN_PLAIN " for each of block_out_channels expected",
                      list);
            return;
        }
        k->down_attends[count] = attends;
    }
    if (count && count < k->level_count)
        error_set(err, DT_ERR_ARG, "down_block_types %s: %lld entries expected, as block_out_channels has", list,
                  (long long)k->level_count);
    for (int64_t i = 0; !count && i < k->level_count - 1; i++) k->down_attends[i] = true;
    memcpy(k->up_attends, k->down_attends, sizeof k->up_attends);
}

dt_status unet_config_new(unet_config *k, const model_size *size, dt_error *err)
{
    const model_unet *u = &size->unet;
    dt_error why = {0};
    *k = (unet_config){.input_size = size->shape.height,
                       .in_channels = size->shape.channels,
                       .out_channels = size->shape.channels,
                       .layers = u->layers_per_block,
                       .context_width = u->cross_attention_dim,
                       .groups = u->norm_num_groups,
                       .epsilon = 1e-5,
                       .class_count = size->class_count,
                       .noise = u->linear ? NOISE_LINEAR : NOISE_SCALED_LINEAR};
    read_new_widths(k, u->block_out_channels, err);
    if (err->status == DT_OK) read_new_types(k, u->down_block_types, err);
    for (int64_t i = 0; i < k->level_count; i++) k->heads[i] = size->heads ? size->heads : HEADS_OF_NEW;
    if (err->status == DT_OK && unet_config_check(k, "model UNet", &why) != DT_OK)
        error_set(err, DT_ERR_ARG, "%s", why.message);
    return err->status;
}
