#include "model/dit/dit_diffusers.h"
#include "model/dit/dit_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/tensor_open.h"
#include "base/text.h"

/* ---- reading ---- */

void dit_file_info_free(dit_file_info *info)
{
    json_decref(info->metadata);
    for (int64_t i = 0; i < info->class_name_count; i++) free(info->class_name[i]);
    free(info->class_name);
    *info = (dit_file_info){0};
}

dt_status dit_file_path(char out[DT_PATH_MAX], const char *model, dt_error *err)
{
    static const char *const inside[] = {"final/model.safetensors", DIT_DIFFUSERS_WEIGHTS, DIT_DIFFUSERS_PICKLE,
                                         "transformer/" DIT_DIFFUSERS_WEIGHTS, "transformer/" DIT_DIFFUSERS_PICKLE};
    snprintf(out, DT_PATH_MAX, "%s", model);
    if (!file_is_folder(model)) return DT_OK;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        file_join(out, model, inside[i]);
        if (file_exists(out)) return DT_OK;
    }
    return error_set(err, DT_ERR_IO,
                     "%s: a folder without final/model.safetensors and " DIT_DIFFUSERS_WEIGHTS
                     ": no finished run and no model of diffusers",
                     model);
}

static const tensor_entry *need(const tensor_file *f, const char *name, int dim_count, dt_error *err)
{
    const tensor_entry *e = tensor_file_find(f, name);
    if (!e)
        error_set(err, DT_ERR_SHAPE, "%s: tensor %s is missing; a DiT checkpoint with the published names is expected",
                  f->path, name);
    else if (e->dim_count != dim_count)
        error_set(err, DT_ERR_SHAPE, "%s: tensor %s: %d dimensions expected, found %d", f->path, name, dim_count,
                  e->dim_count);
    return err->status == DT_OK ? e : NULL;
}

/* The entry has as many dimensions as expected (need). */
static dt_status check_shape(const tensor_entry *e, const int64_t expected[], dt_error *err)
{
    bool same = true;
    for (int i = 0; i < e->dim_count; i++) same &= e->dims[i] == expected[i];
    if (same) return DT_OK;
    char wanted[TENSOR_SHAPE_TEXT], found[TENSOR_SHAPE_TEXT];
    tensor_describe_shape(wanted, e->dim_count, expected);
    tensor_describe_shape(found, e->dim_count, e->dims);
    return error_set(err, DT_ERR_SHAPE, "%s: tensor %s: shape %s expected, found %s", e->path, e->name, wanted, found);
}

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
    const char *said = tensor_file_metadata(f, "difftune.heads");
    return said ? strtoll(said, NULL, 10) : dit_implied_heads(hidden);
}

dt_status dit_file_config(dit_config *k, const tensor_file *f, dt_error *err)
{
    const tensor_entry *pos = need(f, "pos_embed", 3, err);
    const tensor_entry *patch = need(f, "x_embedder.proj.weight", 4, err);
    const tensor_entry *table = need(f, "y_embedder.embedding_table.weight", 2, err);
    const tensor_entry *final = need(f, "final_layer.linear.weight", 2, err);
    need(f, "blocks.0.attn.qkv.weight", 2, err);
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
                      .learn_sigma = final->dims[0] == 2 * p * p * channels};
    /* Both are filled or read by other rules than the rest, which is compared row by row. */
    check_shape(pos, (int64_t[]){1, tokens, hidden}, err);
    check_shape(table, (int64_t[]){table->dims[0], hidden}, err);
    return dit_config_check(k, f->path, err);
}

dt_status dit_file_numbers(ctx *c, real *numbers, const tensor_entry *e)
{
    const arena_place mark = arena_mark(&c->scratch);
    real *values = numbers_prepare(c, &c->scratch, numbers, e->count);
    if (values && tensor_read_f32(values, e, &c->error) == DT_OK) numbers_send(c, numbers, values, e->count);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status fill_row(ctx *c, const param *row, const tensor_file *f)
{
    const tensor_entry *e = need(f, row->name, row->file_dim_count, &c->error);
    if (!e || check_shape(e, row->file_dim, &c->error) != DT_OK) return c->error.status;
    if (dit_file_numbers(c, row->tensor->data, e) == DT_OK && !e->strides)
        file_map_drop(&f->map, e->data, (size_t)e->bytes);
    return c->error.status;
}

static dt_status refuse_strangers(const params *p, const tensor_file *f, dt_error *err)
{
    for (size_t i = 0; i < f->count; i++)
        if (!params_find(p, f->entries[i].name))
            return error_set(err, DT_ERR_SHAPE, "%s: tensor %s is not part of a DiT of this shape", f->path,
                             f->entries[i].name);
    return DT_OK;
}

/* The hash takes a pass over the file, the rest nothing. */
static dt_status read_info(dit_file_info *info, const tensor_file *f, int64_t class_count, bool hash, dt_error *err)
{
    *info = (dit_file_info){.metadata = json_deep_copy(f->metadata)};
    file_hash sum;
    if (hash) file_map_sha256(&sum, &f->map);
    if (hash) memcpy(info->sha256, sum.hex, sizeof info->sha256);
    const char *text = tensor_file_metadata(f, "difftune.classes");
    json_t *list = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (text && (!json_is_array(list) || (int64_t)json_array_size(list) != class_count))
        error_set(err, DT_ERR_FORMAT, "%s: metadata difftune.classes is not a list of %lld names", f->path,
                  (long long)class_count);
    if (list && err->status == DT_OK) info->class_name = calloc((size_t)class_count, sizeof *info->class_name);
    if (list && !info->class_name) error_set(err, DT_ERR_MEMORY, "%s: memory for the names of its classes", f->path);
    for (int64_t i = 0; info->class_name && i < class_count; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        info->class_name[i] = strdup(name ? name : "");
        info->class_name_count = i + 1;
        if (!info->class_name[i]) error_set(err, DT_ERR_MEMORY, "%s: memory for the names of its classes", f->path);
    }
    json_decref(list);
    return err->status;
}

dt_status dit_file_open(tensor_file *f, const char *path, dt_error *err)
{
    if (tensor_file_open(f, path, err) != DT_OK) return err->status;
    if (!tensor_file_enter(f, "ema.")) tensor_file_enter(f, "model.");
    tensor_file_enter(f, "module.");
    if (dit_diffusers_fits(f) && dit_diffusers_view(f, err) != DT_OK) tensor_file_close(f);
    return err->status;
}

dt_status dit_load(ctx *c, dit *m, dit_file_info *info, const char *path)
{
    return dit_load_for_classes(c, m, info, path, NULL);
}

/* ---- new classes ---- */

static int64_t nearest_name(const dit_file_info *info, const char *name)
{
    int64_t best = 0;
    int best_distance = 1 << 30;
    for (int64_t i = 0; i < info->class_name_count; i++) {
        int d = text_distance(info->class_name[i], name, text_lower);
        if (d < best_distance) {
            best_distance = d;
            best = i;
        }
    }
    return best;
}

static void table_mean(real *out, const real *table, int64_t rows, int64_t d)
{
    for (int64_t j = 0; j < d; j++) {
        double sum = 0;
        for (int64_t i = 0; i < rows; i++) sum += table[i * d + j];
        out[j] = (real)(sum / (double)rows);
    }
}

/* Row i of the new table, from the old one with `rows` classes. */
static void start_row(real *out, int64_t i, const real *old, int64_t rows, int64_t d, const dit_labels *l,
                      const dit_file_info *info)
{
    int64_t source = -1;
    if (l->init == DT_LABEL_ROWS && i < rows) source = i;
    if (l->init == DT_LABEL_NEAREST_NAME) source = nearest_name(info, l->class_name[i]);
    if (source >= 0) {
        memcpy(out, old + source * d, (size_t)d * sizeof *out);
    } else if (l->init == DT_LABEL_RANDOM) {
        rng_normal(out, d, (rng_key){l->seed, RNG_LABEL_ROWS, 0, (uint32_t)i});
        for (int64_t j = 0; j < d; j++) out[j] *= (real)0.02;
    } else {
        table_mean(out, old, rows, d);
    }
}

/* Without names on one of the sides the count alone decides. */
static bool same_classes(const dit_labels *l, const dit_file_info *info, int64_t file_classes)
{
    if (l->class_count != file_classes) return false;
    for (int64_t i = 0; l->class_name && i < info->class_name_count; i++)
        if (strcmp(l->class_name[i], info->class_name[i])) return false;
    return true;
}

static void say(const dit_labels *l, int64_t file_classes)
{
    static const char *const how[] = {"the mean of its rows", "random rows", "its first rows in order",
                                      "the row with the nearest name"};
    char line[256];
    snprintf(line, sizeof line,
             "label table: %lld classes instead of the model's %lld, each starts from %s; the null class "
             "is kept",
             (long long)l->class_count, (long long)file_classes, how[l->init]);
    if (l->log) l->log(l->user, line);
}

static dt_status fill_labels(ctx *c, dit *m, const tensor_file *f, const dit_file_info *info, const dit_labels *l,
                             int64_t file_classes)
{
    param *row = params_find(&m->params, "y_embedder.embedding_table.weight");
    const tensor_entry *e = tensor_file_find(f, row->name);
    int64_t d = m->config.hidden;
    if (l->init == DT_LABEL_NEAREST_NAME && (!info->class_name || !l->class_name))
        return error_set(&c->error, DT_ERR_ARG, "label_init nearest-name: %s does not name its classes", f->path);
    const arena_place mark = arena_mark(&c->scratch);
    real *old = arena_alloc(&c->scratch, (size_t)e->count * sizeof *old, &c->error);
    real *table = numbers_prepare(c, &c->scratch, row->tensor->data, tensor_count(row->tensor));
    if (table && tensor_read_f32(old, e, &c->error) == DT_OK) {
        for (int64_t i = 0; i < l->class_count; i++) start_row(table + i * d, i, old, file_classes, d, l, info);
        memcpy(table + l->class_count * d, old + file_classes * d, (size_t)d * sizeof *old);
        numbers_send(c, row->tensor->data, table, tensor_count(row->tensor));
        say(l, file_classes);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status fill_model(ctx *c, dit *m, const tensor_file *f, const dit_file_info *info, const dit_labels *labels,
                            int64_t file_classes)
{
    bool relabel = labels && !same_classes(labels, info, file_classes);
    refuse_strangers(&m->params, f, &c->error);
    for (int i = 0; i < m->params.count && !ctx_failed(c); i++) {
        const param *row = &m->params.row[i];
        if (relabel && row->tensor == m->y_table)
            fill_labels(c, m, f, info, labels, file_classes);
        else
            fill_row(c, row, f);
    }
    params_round(c, &m->params);
    return c->error.status;
}

dt_status dit_load_for_classes(ctx *c, dit *m, dit_file_info *info, const char *path, const dit_labels *labels)
{
    tensor_file f;
    dit_config config;
    dit_file_info own = {0};
    if (dit_file_open(&f, path, &c->error) != DT_OK) return c->error.status;
    if (dit_file_config(&config, &f, &c->error) == DT_OK &&
        read_info(&own, &f, config.class_count, info, &c->error) == DT_OK) {
        int64_t file_classes = config.class_count;
        if (labels) config.class_count = labels->class_count;
        if (dit_open(c, m, &config) == DT_OK) fill_model(c, m, &f, &own, labels, file_classes);
    }
    tensor_file_close(&f);
    if (info && !ctx_failed(c))
        *info = own;
    else
        dit_file_info_free(&own);
    return c->error.status;
}
