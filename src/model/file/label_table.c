#include "model/file/label_table.h"

#include <string.h>

#include "base/text.h"

static int64_t nearest_name(const model_info *info, const char *name)
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

/* The model's class of that name, or -1. */
static int64_t same_name(const model_info *info, const label_start *l, int64_t i)
{
    for (int64_t k = 0; l->class_name && l->class_name[i][0] && k < info->class_name_count; k++)
        if (!strcmp(info->class_name[k], l->class_name[i])) return k;
    return -1;
}

/* Row i of the new table, from the old one with `rows` classes. What the model knows by name it keeps knowing. */
static void start_row(real *out, int64_t i, const real *old, int64_t rows, int64_t d, const label_start *l,
                      const model_info *info)
{
    int64_t source = same_name(info, l, i);
    if (source < 0 && l->init == DT_LABEL_ROWS && i < rows) source = i;
    if (source < 0 && l->init == DT_LABEL_NEAREST_NAME) source = nearest_name(info, l->class_name[i]);
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
bool label_table_fits(const label_start *l, const model_info *info, int64_t file_classes)
{
    if (l->class_count != file_classes) return false;
    for (int64_t i = 0; l->class_name && i < info->class_name_count; i++)
        if (strcmp(l->class_name[i], info->class_name[i])) return false;
    return true;
}

static void tell(const label_start *l, const model_info *info, int64_t file_classes)
{
    static const char *const how[] = {"the mean of its rows", "random rows", "its first rows in order",
                                      "the row with the nearest name"};
    int64_t kept = 0;
    for (int64_t i = 0; i < l->class_count; i++) kept += same_name(info, l, i) >= 0;
    say(l->log, l->user,
        "label table: %lld classes instead of the model's %lld%s: %lld with the name of a class of the model %s its "
        "row, %lld new start%s from %s; the null class is kept",
        (long long)l->class_count, (long long)file_classes,
        info->class_name_count && l->class_name ? "" : ", which it does not name", (long long)kept,
        kept == 1 ? "keeps" : "keep", (long long)(l->class_count - kept), l->class_count - kept == 1 ? "s" : "",
        how[l->init]);
}

void label_table_tell_kept(const label_start *l, const model_info *info)
{
    const char *first = l->class_name && l->class_count > 0 ? l->class_name[0] : "";
    if (info->class_name_count) return;
    say(l->log, l->user, "label table: the model does not name its classes: all %lld rows are kept by position%s%.60s",
        (long long)l->class_count, first[0] ? "; row 0 goes on as " : "", first);
}

dt_status label_table_start(ctx *c, const param *row, const tensor_entry *e, const label_start *l,
                            const model_info *info)
{
    const int64_t d = row->file_dim[1], file_classes = e->dims[0] - 1;
    if (l->init == DT_LABEL_NEAREST_NAME && (!info->class_name || !l->class_name))
        return error_set(&c->error, DT_ERR_ARG, "label_init nearest-name: %s does not name its classes", e->path);
    const arena_place mark = arena_mark(&c->scratch);
    real *old = arena_alloc(&c->scratch, (size_t)e->count * sizeof *old, &c->error);
    real *table = numbers_prepare(c, &c->scratch, row->tensor->data, tensor_count(row->tensor));
    if (table && old && tensor_read_finite(old, e, &c->error) == DT_OK) {
        for (int64_t i = 0; i < l->class_count; i++) start_row(table + i * d, i, old, file_classes, d, l, info);
        memcpy(table + l->class_count * d, old + file_classes * d, (size_t)d * sizeof *old);
        numbers_send(c, row->tensor->data, table, tensor_count(row->tensor));
        tell(l, info, file_classes);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
