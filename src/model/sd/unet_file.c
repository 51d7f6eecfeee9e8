#include "model/sd/unet_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "model/file/diffusers_folder.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_names.h"
#include "model/sd/unet_original.h"

#define CLASS_TOKENS "class_tokens.weight"

static const params_words words = {"a UNet with diffusers' names", "a UNet of this configuration"};

bool unet_file_fits(const tensor_file *f)
{
    const bool own = tensor_file_find(f, "time_embedding.linear_1.weight") && tensor_file_find(f, "conv_out.weight");
    return own || (unet_original_fits(f) && tensor_file_find(f, "out.2.weight"));
}

void unet_file_guess(const tensor_file *f, char text[DT_TEXT_MAX])
{
    text[0] = '\0';
    if (unet_original_fits(f) && !tensor_file_metadata(f, MODEL_UNET) && !tensor_file_metadata(f, MODEL_HEADS))
        snprintf(text, DT_TEXT_MAX,
                 "does not say its number of heads: 8 are taken, as Stable Diffusion 1 has (num_heads)");
}

/* ---- configuration ---- */

dt_status unet_file_put_text(tensor_file *f, const char *key, json_t *text, dt_error *err)
{
    if (!f->metadata) f->metadata = json_object();
    if (json_object_set_new(f->metadata, key, text) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    return err->status;
}

static dt_status put_config(tensor_file *f, const unet_config *k, dt_error *err)
{
    json_t *object = unet_config_json(k, true);
    char *text = json_text_of(object, JSON_COMPACT | UNET_CONFIG_REALS);
    json_decref(object);
    unet_file_put_text(f, MODEL_UNET, text ? json_string(text) : NULL, err);
    free(text);
    return err->status;
}

/* Other heads than an asked-for number are found by whoever asked. */
dt_status unet_file_put_heads(tensor_file *f, const unet_config *k, dt_error *err)
{
    char number[24];
    for (int64_t i = 1; i < k->level_count; i++)
        if (k->heads[i] != k->heads[0]) return err->status;
    snprintf(number, sizeof number, "%lld", (long long)k->heads[0]);
    return unet_file_put_text(f, MODEL_HEADS, json_string(number), err);
}

/* Of a pipeline: what its scheduler says of the noise that the network was trained for. */
static dt_status read_scheduler(unet_config *k, const tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_beside(path, f->path, "../scheduler/scheduler_config.json");
    if (!file_exists(path)) return err->status;
    json_t *object = json_file_read(path, err);
    if (object) unet_config_read_scheduler(k, object, path, err);
    json_decref(object);
    return err->status;
}

static dt_status read_beside(unet_config *k, const tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    json_t *object = diffusers_config_read(path, f->path, "the configuration", err);
    if (object) unet_config_read(k, object, path, err);
    json_decref(object);
    return err->status == DT_OK ? read_scheduler(k, f, err) : err->status;
}

dt_status unet_file_view(tensor_file *f, dt_error *err)
{
    unet_config k;
    const bool original = unet_original_fits(f);
    const char *said = tensor_file_metadata(f, MODEL_UNET);
    if (said)
        unet_config_parse(&k, said, f->path, err);
    else if (original)
        unet_original_config(&k, f, false, err);
    else
        read_beside(&k, f, err);
    if (err->status != DT_OK || (original && (unet_config_check(&k, f->path, err) != DT_OK ||
                                              unet_original_rename(f, &k, false, err) != DT_OK)))
        return err->status;
    if (!said && put_config(f, &k, err) != DT_OK) return err->status;
    if (unet_file_put_heads(f, &k, err) == DT_OK) unet_file_config(&k, f, err);
    return err->status;
}

int64_t unet_file_classes(const tensor_file *f)
{
    const tensor_entry *table = tensor_file_find(f, CLASS_TOKENS);
    return table ? table->dims[0] - 1 : 0;
}

dt_status unet_file_config(unet_config *k, const tensor_file *f, dt_error *err)
{
    const char *said = tensor_file_metadata(f, MODEL_UNET);
    const tensor_entry *table = tensor_file_find(f, CLASS_TOKENS);
    if (unet_config_parse(k, said, f->path, err) != DT_OK) return err->status;
    if (table && (table->dim_count != 2 || table->dims[0] < 2 || table->dims[1] != k->context_width))
        return error_set(err, DT_ERR_SHAPE, "%s: tensor " CLASS_TOKENS " has no shape [classes + 1, %lld]", f->path,
                         (long long)k->context_width);
    k->class_count = unet_file_classes(f);
    return unet_config_check(k, f->path, err);
}

/* ---- reading ---- */

dt_status unet_file_check_complete(const params *rows, const unet_config *k, bool control, const tensor_file *f,
                                   const params_words *what, dt_error *err)
{
    unet_names names;
    alias_name original;
    unet_names_open(&names, k, control);
    for (int i = 0; i < rows->count; i++) {
        const char *name = rows->row[i].name;
        if (tensor_file_find(f, name)) continue;
        const bool both = unet_names_original(original, &names, name);
        return error_set(err, DT_ERR_SHAPE, "%s: tensor %s%s%s%s is missing; %s is expected", f->path, name,
                         both ? " (" : "", both ? original : "", both ? ")" : "", what->network);
    }
    return err->status;
}

dt_status unet_load(ctx *c, unet *m, const tensor_file *f, const model_info *info, const label_start *labels)
{
    unet_config k;
    if (unet_file_config(&k, f, &c->error) != DT_OK) return c->error.status;
    const bool relabel = k.class_count && labels && !label_table_fits(labels, info, k.class_count);
    if (relabel) k.class_count = labels->class_count;
    if (unet_open(c, m, &k) != DT_OK || params_refuse_strangers(&m->params, f, &words, &c->error) != DT_OK ||
        unet_file_check_complete(&m->params, &k, false, f, &words, &c->error) != DT_OK)
        return c->error.status;
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        const param *row = &m->params.row[i];
        if (relabel && row->tensor == m->class_tokens)
            label_table_start(c, row, tensor_file_find(f, row->name), labels, info);
        else
            params_read_row(c, row, f, &words);
    }
    params_round(c, &m->params);
    return c->error.status;
}
