#include "model/sd/unet_original.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/file/kind.h"
#include "model/file/params_file.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_names.h"

#define AVERAGES "model_ema.diffusion_model"

enum { HEADS = 8 };

/* Of a UNet, and of a ControlNet. */
static const params_words words[] = {
    {"a UNet with Stable Diffusion's original names", "a UNet of Stable Diffusion 1"},
    {"a ControlNet with Stable Diffusion's original names", "a ControlNet of Stable Diffusion 1"}};

/* ---- a whole checkpoint ---- */

static bool has_prefix(const tensor_file *f, const char *prefix)
{
    for (size_t i = 0; i < f->count; i++)
        if (!strncmp(f->entries[i].name, prefix, strlen(prefix))) return true;
    return false;
}

/* Tensors that tell what a checkpoint is. */
static dt_status refuse_relatives(const tensor_file *f, dt_error *err)
{
    static const struct {
        const char *prefix, *what;
    } signs[] = {
        {"conditioner.embedders.", "a checkpoint of SDXL"},
        {"cond_stage_model.model.", "a checkpoint of Stable Diffusion 2"},
        {"v_pred", "its network predicts v"},
        {"ztsnr", "it was trained with noise that ends in no signal at all"},
    };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (has_prefix(f, signs[i].prefix))
            return error_set(err, DT_ERR_UNSUPPORTED,
                             "%s: tensor %s..: %s; only Stable Diffusion 1 is known here, which predicts the noise",
                             f->path, signs[i].prefix, signs[i].what);
    return err->status;
}

/* The schedule stands in a checkpoint as a buffer; its ends tell it apart. */
static dt_status check_noise(const tensor_file *f, dt_error *err)
{
    enum { STEPS = 1000 };
    static const double first = 0.99915, last = 0.00466009851, tolerance = 1e-3;
    const tensor_entry *e = tensor_file_find(f, "alphas_cumprod");
    float kept[STEPS];
    if (!e) return err->status;
    if (e->count == STEPS && tensor_read_finite(kept, e, err) != DT_OK) return err->status;
    if (e->count != STEPS || fabs((double)kept[0] / first - 1) > tolerance ||
        fabs((double)kept[STEPS - 1] / last - 1) > tolerance)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: tensor alphas_cumprod is not the noise of Stable Diffusion 1", f->path);
    return err->status;
}

/* "model_ema.diffusion_modeltime_embed0weight" of "time_embed.0.weight" */
static void average_name(alias_name out, const char *name)
{
    size_t used = (size_t)snprintf(out, ALIAS_NAME_MAX, AVERAGES);
    for (; *name && used < ALIAS_NAME_MAX - 1; name++)
        if (*name != '.') out[used++] = *name;
    out[used] = '\0';
}

/* The weights' entries with the averages' values; only these are kept. */
static dt_status take_averages(tensor_file *f, dt_error *err)
{
    const arena nothing = {0};
    const size_t length = strlen(UNET_ORIGINAL_PREFIX);
    size_t count = 0;
    tensor_entry *entries = calloc(f->count, sizeof *entries);
    if (!entries) return error_set(err, DT_ERR_MEMORY, "%s: no memory to list its tensors", f->path);
    for (size_t i = 0; i < f->count && err->status == DT_OK; i++) {
        alias_name name;
        if (strncmp(f->entries[i].name, UNET_ORIGINAL_PREFIX, length) != 0) continue;
        average_name(name, f->entries[i].name + length);
        const tensor_entry *e = tensor_file_find(f, name);
        if (!e) {
            error_set(err, DT_ERR_SHAPE, "%s: tensor %s is missing: the average of %s", f->path, name,
                      f->entries[i].name);
            break;
        }
        entries[count] = *e;
        entries[count++].name = f->entries[i].name + length;
    }
    if (err->status == DT_OK) return tensor_file_replace(f, entries, count, &nothing, err);
    free(entries);
    return err->status;
}

dt_status unet_original_enter(tensor_file *f, dt_file_weights weights, bool *both, dt_error *err)
{
    *both = false;
    if (has_prefix(f, "state_dict." UNET_ORIGINAL_PREFIX)) tensor_file_enter(f, "state_dict.");
    if (!has_prefix(f, UNET_ORIGINAL_PREFIX)) {
        if (has_prefix(f, "diffusion_model.input_blocks.")) tensor_file_enter(f, "diffusion_model.");
        return err->status;
    }
    *both = has_prefix(f, AVERAGES);
    if (refuse_relatives(f, err) != DT_OK || check_noise(f, err) != DT_OK) return err->status;
    if (*both && weights == DT_FILE_WEIGHTS_EMA) return take_averages(f, err);
    tensor_file_enter(f, UNET_ORIGINAL_PREFIX);
    return err->status;
}

dt_status control_original_enter(tensor_file *f, dt_error *err)
{
    if (has_prefix(f, "state_dict." CONTROL_ORIGINAL_PREFIX)) tensor_file_enter(f, "state_dict.");
    if (!has_prefix(f, CONTROL_ORIGINAL_PREFIX)) return err->status;
    if (refuse_relatives(f, err) == DT_OK && check_noise(f, err) == DT_OK)
        tensor_file_enter(f, CONTROL_ORIGINAL_PREFIX);
    return err->status;
}

bool control_original_is_beside_unet(const tensor_file *f)
{
    return (has_prefix(f, CONTROL_ORIGINAL_PREFIX) && has_prefix(f, UNET_ORIGINAL_PREFIX)) ||
           (has_prefix(f, "state_dict." CONTROL_ORIGINAL_PREFIX) && has_prefix(f, "state_dict." UNET_ORIGINAL_PREFIX));
}

bool unet_original_fits(const tensor_file *f)
{
    return tensor_file_find(f, "input_blocks.0.0.weight") && tensor_file_find(f, "time_embed.0.weight");
}

bool control_original_fits(const tensor_file *f)
{
    return unet_original_fits(f) && tensor_file_find(f, "input_hint_block.0.weight");
}

/* ---- the configuration ---- */

static const tensor_entry *find(const tensor_file *f, const char *pattern, int block)
{
    char name[96];
    snprintf(name, sizeof name, pattern, block); // NOLINT: patterns of this file, each with one %d
    return tensor_file_find(f, name);
}

static dt_status refuse_level(const tensor_file *f, int block, dt_error *err)
{
    return error_set(err, DT_ERR_SHAPE,
                     "%s: tensors input_blocks.%d..: up to %d levels of equally many layers, up to %d, expected",
                     f->path, block, UNET_LEVELS_MAX, UNET_LAYERS_MAX);
}

/* From the first block on: layers, then what leads to the next level. */
static dt_status read_levels(unet_config *k, const tensor_file *f, dt_error *err)
{
    int64_t layers = 0;
    k->level_count = k->layers = 0;
    for (int block = 1;; block++) {
        const tensor_entry *conv = find(f, "input_blocks.%d.0.out_layers.3.weight", block);
        const bool leads_on = find(f, "input_blocks.%d.0.op.weight", block) != NULL;
        if (conv) {
            if (k->level_count == UNET_LEVELS_MAX || ++layers > UNET_LAYERS_MAX || conv->dim_count != 4)
                return refuse_level(f, block, err);
            k->width[k->level_count] = conv->dims[0];
            k->down_attends[k->level_count] = find(f, "input_blocks.%d.1.proj_in.weight", block) != NULL;
            continue;
        }
        if (!layers || (k->level_count && layers != k->layers)) return refuse_level(f, block, err);
        k->layers = layers;
        k->level_count++;
        layers = 0;
        if (!leads_on) return err->status;
    }
}

static dt_status refuse_shapes(const unet_config *k, const tensor_file *f, bool control, dt_error *err)
{
    const char *what = control ? "ControlNet" : "UNet";
    const tensor_entry *in = tensor_file_find(f, "middle_block.1.proj_in.weight");
    if (tensor_file_find(f, "label_emb.0.0.weight"))
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: tensor label_emb.0.0.weight: a %s of SDXL; only those of Stable "
                  "Diffusion 1 are known here",
                  f->path, what);
    else if (in && in->dim_count == 2)
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: tensor middle_block.1.proj_in.weight has two dimensions: a %s of Stable Diffusion 2; only those "
                  "of Stable Diffusion 1 are known here",
                  f->path, what);
    else
        unet_config_check(k, f->path, err);
    return err->status;
}

dt_status unet_original_config(unet_config *k, const tensor_file *f, bool control, dt_error *err)
{
    const char *heads = tensor_file_metadata(f, MODEL_HEADS);
    const tensor_entry *in = params_need(f, "input_blocks.0.0.weight", 4, &words[control], err);
    const tensor_entry *out = control ? in : params_need(f, "out.2.weight", 4, &words[control], err);
    const tensor_entry *told =
        params_need(f, "middle_block.1.transformer_blocks.0.attn2.to_k.weight", 2, &words[control], err);
    *k = unet_config_sd15();
    if (err->status != DT_OK || read_levels(k, f, err) != DT_OK) return err->status;
    k->in_channels = in->dims[1];
    k->out_channels = control ? in->dims[1] : out->dims[0];
    k->context_width = told->dims[1];
    for (int i = 0; i < (int)k->level_count; i++) {
        const int first = ((int)k->level_count - 1 - i) * (int)(k->layers + 1);
        k->heads[i] = heads ? strtoll(heads, NULL, 10) : HEADS;
        k->up_attends[i] = control ? k->down_attends[i] : find(f, "output_blocks.%d.1.proj_in.weight", first) != NULL;
    }
    return refuse_shapes(k, f, control, err);
}

/* ---- names ---- */

dt_status unet_original_rename(tensor_file *f, const unet_config *k, bool control, dt_error *err)
{
    unet_names names;
    arena memory;
    tensor_entry *entries = calloc(f->count, sizeof *entries);
    unet_names_open(&names, k, control);
    if (!entries) return error_set(err, DT_ERR_MEMORY, "%s: no memory to list its tensors", f->path);
    arena_open(&memory, "tensors' names", 2 * f->count * sizeof(alias_name),
               err); /* blocks may have guards behind them */
    for (size_t i = 0; i < f->count && err->status == DT_OK; i++) {
        char *own = arena_alloc(&memory, sizeof(alias_name), err);
        entries[i] = f->entries[i];
        entries[i].name = own;
        if (own && !unet_names_own(own, &names, f->entries[i].name))
            error_set(err, DT_ERR_SHAPE, "%s: tensor %s is not part of %s", f->path, f->entries[i].name,
                      words[control].network);
    }
    if (err->status == DT_OK) return tensor_file_replace(f, entries, f->count, &memory, err);
    free(entries);
    arena_close(&memory);
    return err->status;
}

dt_status unet_original_sources(arena *a, tensor_source sources[], size_t count, const unet_config *k, bool control,
                                dt_error *err)
{
    unet_names names;
    const char *prefix = control ? CONTROL_ORIGINAL_PREFIX : UNET_ORIGINAL_PREFIX;
    const size_t length = strlen(prefix);
    unet_names_open(&names, k, control);
    for (size_t i = 0; i < count && err->status == DT_OK; i++) {
        alias_name original;
        char *name = arena_alloc(a, length + sizeof original, err);
        if (!name) return err->status;
        if (!unet_names_original(original, &names, sources[i].name))
            return error_set(err, DT_ERR_UNSUPPORTED, "the original layout has no place for %s", sources[i].name);
        memcpy(name, prefix, length);
        strcpy(name + length, original);
        sources[i].name = name;
    }
    return err->status;
}
