#include "model/sd/unet_names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Inside a residual block; own name, original name. */
static const char *const resnet_parts[][2] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"},
};

/* ---- the parts ---- */

static void add(unet_names *n, const char *own, const char *original, ...) __attribute__((format(printf, 3, 4)));

/* The own name is a plain text. */
static void add(unet_names *n, const char *own, const char *original, ...)
{
    va_list args;
    unet_name *name = &n->name[n->count++];
    va_start(args, original);
    snprintf(name->own, sizeof name->own, "%s", own);
    vsnprintf(name->original, sizeof name->original, original, args);
    va_end(args);
    name->resnet = strstr(own, ".resnets.") != NULL;
}

/* Layer `layer` of the level "down_blocks.2", which is the original's block "input_blocks.7". */
static void add_layer(unet_names *n, const char *level, int layer, bool attends, const char *block)
{
    char own[48];
    snprintf(own, sizeof own, "%.20s.resnets.%d", level, layer);
    add(n, own, "%s.0", block);
    snprintf(own, sizeof own, "%.20s.attentions.%d", level, layer);
    if (attends) add(n, own, "%s.1", block);
}

static void add_down(unet_names *n, const unet_config *k, int level)
{
    char own[24], block[32], resample[48];
    snprintf(own, sizeof own, "down_blocks.%d", level);
    const int first = 1 + level * (int)(k->layers + 1);
    for (int i = 0; i < (int)k->layers; i++) {
        snprintf(block, sizeof block, "input_blocks.%d", first + i);
        add_layer(n, own, i, k->down_attends[level], block);
    }
    snprintf(resample, sizeof resample, "%s.downsamplers.0.conv", own);
    if (level < k->level_count - 1) add(n, resample, "input_blocks.%d.0.op", first + (int)k->layers);
}

/* What leads to the next level stands behind the last layer, and its transformer if there is one. */
static void add_up(unet_names *n, const unet_config *k, int index)
{
    char own[24], block[32], resample[48];
    const bool attends = k->up_attends[k->level_count - 1 - index];
    const int first = index * (int)(k->layers + 1);
    snprintf(own, sizeof own, "up_blocks.%d", index);
    for (int i = 0; i <= (int)k->layers; i++) {
        snprintf(block, sizeof block, "output_blocks.%d", first + i);
        add_layer(n, own, i, attends, block);
    }
    snprintf(resample, sizeof resample, "%s.upsamplers.0.conv", own);
    if (index < k->level_count - 1)
        add(n, resample, "output_blocks.%d.%d.conv", first + (int)k->layers, attends ? 2 : 1);
}

static void add_control(unet_names *n, const unet_config *k)
{
    enum { HINT_BLOCKS = 6 };
    char own[48];
    add(n, "controlnet_cond_embedding.conv_in", "input_hint_block.0");
    for (int i = 0; i < HINT_BLOCKS; i++) {
        snprintf(own, sizeof own, "controlnet_cond_embedding.blocks.%d", i);
        add(n, own, "input_hint_block.%d", 2 + 2 * i);
    }
    add(n, "controlnet_cond_embedding.conv_out", "input_hint_block.%d", 2 + 2 * HINT_BLOCKS);
    for (int i = 0; i < unet_skip_count(k); i++) {
        snprintf(own, sizeof own, "controlnet_down_blocks.%d", i);
        add(n, own, "zero_convs.%d.0", i);
    }
    add(n, "controlnet_mid_block", "middle_block_out.0");
}

void unet_names_open(unet_names *n, const unet_config *k, bool control)
{
    n->count = 0;
    add(n, "time_embedding.linear_1", "time_embed.0");
    add(n, "time_embedding.linear_2", "time_embed.2");
    add(n, "conv_in", "input_blocks.0.0");
    for (int i = 0; i < (int)k->level_count; i++) add_down(n, k, i);
    add_layer(n, "mid_block", 0, true, "middle_block");
    add(n, "mid_block.resnets.1", "middle_block.2");
    if (control) {
        add_control(n, k);
        return;
    }
    for (int i = 0; i < (int)k->level_count; i++) add_up(n, k, i);
    add(n, "conv_norm_out", "out.0");
    add(n, "conv_out", "out.2");
}

/* ---- one name ---- */

/* What stands in `name` behind `part` and a dot; NULL where it begins otherwise. */
static const char *behind(const char *name, const char *part)
{
    const size_t length = strlen(part);
    return !strncmp(name, part, length) && name[length] == '.' ? name + length + 1 : NULL;
}

/* `from` and `to` say which of the two names is which: 0 the own one. */
static bool rename_rest(alias_name out, const char *part, bool resnet, const char *rest, int from, int to)
{
    const size_t inside = sizeof resnet_parts / sizeof *resnet_parts;
    if (!resnet) return snprintf(out, ALIAS_NAME_MAX, "%s.%s", part, rest) < ALIAS_NAME_MAX;
    for (size_t i = 0; i < inside; i++) {
        const char *last = behind(rest, resnet_parts[i][from]);
        if (last) return snprintf(out, ALIAS_NAME_MAX, "%s.%s.%s", part, resnet_parts[i][to], last) < ALIAS_NAME_MAX;
    }
    return false;
}

bool unet_names_original(alias_name out, const unet_names *n, const char *own)
{
    for (int i = 0; i < n->count; i++) {
        const char *rest = behind(own, n->name[i].own);
        if (rest) return rename_rest(out, n->name[i].original, n->name[i].resnet, rest, 0, 1);
    }
    return false;
}

bool unet_names_own(alias_name out, const unet_names *n, const char *original)
{
    for (int i = 0; i < n->count; i++) {
        const char *rest = behind(original, n->name[i].original);
        if (rest) return rename_rest(out, n->name[i].own, n->name[i].resnet, rest, 1, 0);
    }
    return false;
}
