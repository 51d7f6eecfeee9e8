#include "model/dit/dit_file.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/dit/dit_diffusers.h"

#define LABEL_TABLE "y_embedder.embedding_table.weight"

static const params_words words = {"a DiT checkpoint with the published names", "a DiT of this shape"};

static int64_t count_blocks(const tensor_file *f)
{
    for (int64_t i = 0;; i++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.attn.qkv.weight", (int)i);
        if (!tensor_file_find(f, name)) return i;
    }
}

int64_t dit_implied_heads(int64_t hidden)
{
    return hidden == 1024 || hidden == 1152 ? 16 : hidden / 64;
}

static int64_t heads_of(const tensor_file *f, int64_t hidden)
{
    const char *said = tensor_file_metadata(f, MODEL_HEADS);
    return said ? strtoll(said, NULL, 10) : dit_implied_heads(hidden);
}

dt_status dit_file_config(dit_config *k, const tensor_file *f, dt_error *err)
{
    const char *said = model_process_said(f);
    const tensor_entry *pos = params_need(f, "pos_embed", 3, &words, err);
    const tensor_entry *patch = params_need(f, "x_embedder.proj.weight", 4, &words, err);
    const tensor_entry *table = params_need(f, LABEL_TABLE, 2, &words, err);
    const tensor_entry *final = params_need(f, "final_layer.linear.weight", 2, &words, err);
    params_need(f, "blocks.0.attn.qkv.weight", 2, &words, err);
    if (err->status != DT_OK) return err->status;

    int64_t p = patch->dims[2], channels = patch->dims[1], tokens = pos->dims[1], hidden = patch->dims[0];
    int64_t grid = (int64_t)llround(sqrt((double)(tokens < (1 << 24) ? tokens : 0)));
    if (grid < 1 || grid * grid != tokens)
        return error_set(err, DT_ERR_SHAPE, "%s: pos_embed has %lld tokens, which is not a square grid", f->path,
                         (long long)tokens);
    if (p < 1 || p > 64 || channels < 1 || channels > 1024 || final->dims[0] % (p * p * channels) ||
        final->dims[0] / (p * p * channels) < 1 || final->dims[0] / (p * p * channels) > 2)
        return error_set(err, DT_ERR_SHAPE,
                         "%s: final_layer.linear.weight has %lld rows; patch %lld and %lld channels "
                         "need once or twice %lld",
                         f->path, (long long) final->dims[0], (long long)p, (long long)channels,
                         (long long)(p * p * channels));
    *k = (dit_config){.input_size = grid * p,
                      .patch = p,
                      .channels = channels,
                      .hidden = hidden,
                      .depth = count_blocks(f),
                      .heads = heads_of(f, hidden),
                      .class_count = table->dims[0] - 1,
                      .learn_sigma = final->dims[0] == 2 * p * p * channels,
                      .flow = said && !strcmp(said, MODEL_SIT),
                      .null_time = tensor_file_find(f, MODEL_NULL_TIME) != NULL};
    /* Both are filled or read by other rules than the rest, which is compared row by row. */
    params_check_shape(pos, (int64_t[]){1, tokens, hidden}, err);
    params_check_shape(table, (int64_t[]){table->dims[0], hidden}, err);
    return dit_config_check(k, f->path, err);
}

/* ---- DiT or SiT ---- */

/* SiT's files have DiT's names and shapes, and their networks predict a velocity: only metadata could tell. What this program
 * wrote without saying SiT is a DiT. */
static bool says_its_maker(const tensor_file *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(f->metadata, key, value) if (!strncmp(key, "difftune.", strlen("difftune.")) &&
                                                     strcmp(key, MODEL_HEADS)) return true;
    return false;
}

/* Whether the last `parts` names of a path have the word "sit" in them, in any case. */
static bool named_sit(const char *path, int parts)
{
    const char *tail = path + strlen(path);
    while (tail > path && (tail[-1] != '/' || --parts > 0)) tail--;
    for (const char *at = tail; *at; at++)
        if (!strncasecmp(at, "sit", 3) && !isalnum((unsigned char)at[3]) &&
            (at == tail || !isalnum((unsigned char)at[-1])))
            return true;
    return false;
}

static dt_status refuse_process(const tensor_file *f, const char *said, const char *wanted, dt_error *err)
{
    if (strcmp(said, MODEL_DDPM) && strcmp(said, MODEL_SIT))
        return error_set(err, DT_ERR_FORMAT, "%s: states process %.40s, " MODEL_DDPM " or " MODEL_SIT " expected",
                         f->path, said);
    if (wanted && strcmp(said, wanted))
        return error_set(err, DT_ERR_ARG, "%s: the model's process is %s, process %s was asked for", f->path, said,
                         wanted);
    return DT_OK;
}

dt_status dit_file_settle(tensor_file *f, const char *model, dt_process asked, dt_error *err)
{
    static const char *const names[] = {NULL, MODEL_DDPM, MODEL_SIT};
    const char *said = model_process_said(f), *wanted = names[asked];
    if (!said && (dit_diffusers_fits(f) || says_its_maker(f))) said = MODEL_DDPM;
    if (said) return refuse_process(f, said, wanted, err);
    if (!wanted && (named_sit(f->path, 2) || named_sit(model, 1)))
        return error_set(err, DT_ERR_ARG,
                         "%s: its name says SiT, and the tensors of a SiT are those of a DiT: say which it is by "
                         "process " MODEL_SIT " or " MODEL_DDPM,
                         f->path);
    if (!wanted) return DT_OK;
    if (!f->metadata) f->metadata = json_object();
    if (json_object_set_new(f->metadata, MODEL_PROCESS, json_string(wanted)) != 0)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    return DT_OK;
}

/* ---- what is told and asked of a file ---- */

void dit_file_guess(const tensor_file *f, char text[DT_TEXT_MAX])
{
    const tensor_entry *patch = tensor_file_find(f, "x_embedder.proj.weight");
    int n = 0;
    text[0] = '\0';
    if (!patch || patch->dim_count != 4) return; /* in diffusers' layout, whose config.json says it all */
    if (!says_its_maker(f) && !model_process_said(f))
        n = snprintf(text, DT_TEXT_MAX,
                     "does not say what it is: taken for a DiT, which predicts noise (a SiT looks the "
                     "same and needs process " MODEL_SIT ")");
    if (!tensor_file_metadata(f, MODEL_HEADS))
        snprintf(text + n, (size_t)(DT_TEXT_MAX - n), "%s its number of heads: %lld are taken (num_heads)",
                 n ? "; nor" : "does not say", (long long)dit_implied_heads(patch->dims[0]));
}

int64_t dit_file_classes(const tensor_file *f)
{
    return tensor_file_find(f, LABEL_TABLE)->dims[0] - 1;
}

dt_status dit_load(ctx *c, dit *m, const tensor_file *f, const model_info *info, const label_start *labels)
{
    dit_config k;
    if (dit_file_config(&k, f, &c->error) != DT_OK) return c->error.status;
    const bool relabel = labels && !label_table_fits(labels, info, k.class_count);
    if (labels && !relabel) label_table_tell_kept(labels, info);
    if (labels) k.class_count = labels->class_count;
    if (dit_open(c, m, &k) != DT_OK || params_refuse_strangers(&m->params, f, &words, &c->error) != DT_OK)
        return c->error.status;
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        const param *row = &m->params.row[i];
        if (relabel && row->tensor == m->y_table)
            label_table_start(c, row, tensor_file_find(f, LABEL_TABLE), labels, info);
        else
            params_read_row(c, row, f, &words);
    }
    params_round(c, &m->params);
    return c->error.status;
}
