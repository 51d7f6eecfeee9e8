/* A diagnosis as files: diagnosis.json for programs and the report, train.yaml for `difftune train --config`, psi.txt. */
#include "api/diagnose.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "file/json_file.h"
#include "file/names.h"
#include "file/numbers_file.h"
#include "file/text_file.h"
#include "settings/settings.h"

/* ---- diagnosis.json ---- */

static json_t *interval(const gap_interval *g)
{
    return JSON_OBJECT({"value", json_number(g->value)}, {"low", json_number(g->low)}, {"high", json_number(g->high)});
}

static json_t *describe_gap(const gap *g)
{
    json_t *bands = json_array();
    for (int i = 0; i < GAP_BANDS; i++) {
        const int width = SCHEDULE_STEPS / GAP_BANDS;
        json_add(&bands,
                 JSON_OBJECT({"t_first", json_integer(i * width)}, {"t_last", json_integer((i + 1) * width - 1)},
                             {"loss", json_number(g->a[i])}, {"against", json_number(g->b[i])},
                             {"absolute", interval(&g->absolute[i])}, {"relative", interval(&g->relative[i])}));
    }
    return JSON_OBJECT({"pictures", json_integer(g->pictures)}, {"whole", interval(&g->whole)},
                       {"clean", interval(&g->clean)}, {"noisy", interval(&g->noisy)}, {"rise", interval(&g->rise)},
                       {"bands", bands});
}

static json_t *describe_advice(const advice *a, const dt_settings *s)
{
    json_t *lines = json_array(), *limits = json_object();
    const char *name;
    double value;
    for (int i = 0; i < a->lines; i++) json_add(&lines, json_string(a->line[i]));
    for (int i = 0; advice_limit(i, &name, &value); i++) json_put(&limits, name, json_real(value));
    return JSON_OBJECT(
        {"premise", json_string(advice_premise_word(a->premise))}, {"bank", json_string(advice_bank_word(a->bank))},
        {"length", json_string(advice_length_word(a->length))}, {"method", json_string(settings_word(s, "method"))},
        {"retention", json_string(settings_word_at("retention", a->retention))},
        {"adapter", json_string(settings_word(s, "adapter"))}, {"psi", json_string(advice_psi_word(a->psi))},
        {"tau", json_real(a->tau)}, {"lines", lines}, {"limits", limits});
}

static json_t *describe(const diagnosis *d, const advice *a, const diagnosis_origin *from, const dt_settings *s)
{
    json_t *out = JSON_OBJECT(
        {"format", json_string("difftune diagnosis 1")}, {"tool", json_string("difftune " DT_VERSION)},
        {"base_sha256", json_string(from->base_sha256)}, {"data_sha256", json_string(from->data_sha256)},
        {"drew_samples", json_boolean(from->drew)}, {"pictures", json_integer(d->pictures)},
        {"trained_values", json_integer(d->trained)},
        {"pictures_per_value", json_real((double)d->pictures / (double)d->trained)}, {"passes", json_real(d->passes)},
        {"advice", describe_advice(a, s)}, {"target_against_own", describe_gap(&d->of_own)});
    if (!d->has_source) return out;
    json_put(&out, "target_against_source", describe_gap(&d->of_source));
    json_put(&out, "own_against_source", describe_gap(&d->own));
    json_put(&out, "own_kernel_distance", json_number(d->kernel));
    json_put(&out, "own_kernel_distance_std", json_number(d->kernel_std));
    return out;
}

/* ---- train.yaml ---- */

static bool uses_bank(const advice *a)
{
    return a->retention == DT_RETENTION_BANK_DISTIL;
}

/* What is trained with: the caller's settings under what is recommended, and of the method's own settings only the preset. */
static void recommend(dt_settings *out, const advice *a, const diagnosis_origin *from, const dt_settings *s)
{
    dt_settings usual;
    dt_error unused = {0};
    char text[SETTINGS_VALUE_MAX];
    dt_settings_init(&usual);
    *out = *s;
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        if (key->group != SETTINGS_GROUP_METHOD || !strcmp(key->name, "bank") || !strcmp(key->name, "preset")) continue;
        settings_text(text, &usual, key);
        settings_set(out, key->name, text, &unused);
    }
    out->method = a->method;
    out->retention = a->retention;
    out->psi = a->psi == ADVICE_PSI_TABLE ? DT_PSI_TABLE : DT_PSI_POWER;
    out->tau = a->tau;
    if (a->psi == ADVICE_PSI_TABLE) file_join(out->psi_table, s->output_dir, PSI_FILE);
    if (a->method == DT_METHOD_FINETUNE) out->retention = DT_RETENTION_PRESET; /* the default, which it leaves alone */
    if (a->adapter != DT_ADAPTER_NONE) {
        out->adapter = a->adapter;
        out->adapter_lr_factor = 10; /* as DiffFit's authors take it, and as it was measured */
    }
    if (uses_bank(a) && from->drew) file_join(out->bank, s->output_dir, "bank");
    if (from->sees_pixels) out->clip_sample = true;
    if (from->is_flow) out->sampler = DT_SAMPLER_EULER;
    snprintf(out->diagnosis, sizeof out->diagnosis, "%s", s->output_dir);
}

/* What a training or its bank uses and is not its default, and the method by name. */
static bool is_written(const dt_settings *s, const settings_key *key)
{
    char text[SETTINGS_VALUE_MAX], initial[SETTINGS_VALUE_MAX];
    dt_settings usual;
    if (!(key->verbs & (SETTINGS_TRAIN | SETTINGS_BANK))) return false;
    if (key->affects == SETTINGS_PLACE || key->affects == SETTINGS_SPEED) return false;
    dt_settings_init(&usual);
    settings_text(text, s, key);
    settings_text(initial, &usual, key);
    const bool named = !strcmp(key->name, "method") ||
                       (s->method == DT_METHOD_DIFF_TUNING &&
                        (!strcmp(key->name, "preset") || !strcmp(key->name, "retention") || !strcmp(key->name, "psi")));
    return named || strcmp(text, initial) != 0;
}

/* Text in single quotes, which only one of these can end. */
static void write_value(FILE *out, const dt_settings *s, const settings_key *key)
{
    char text[SETTINGS_VALUE_MAX];
    settings_text(text, s, key);
    if (key->type != SETTINGS_TEXT) {
        fputs(text, out);
        return;
    }
    fputc('\'', out);
    for (const char *c = text; *c; c++) {
        if (*c == '\'') fputc('\'', out);
        fputc(*c, out);
    }
    fputc('\'', out);
}

static void write_comment(FILE *out, const char *line)
{
    enum { WIDTH = 118 };
    int column = fprintf(out, "#");
    for (const char *word = line; *word;) {
        const int length = (int)strcspn(word, " ");
        if (column + 1 + length > WIDTH) column = fprintf(out, "\n#") - 1;
        column += fprintf(out, " %.*s", length, word);
        word += length + (word[length] == ' ');
    }
    fputc('\n', out);
}

typedef struct train_file {
    const dt_settings *s;
    const advice *a;
    const diagnosis_origin *from;
} train_file;

static void print_train_file(FILE *out, const void *user)
{
    const train_file *f = user;
    const advice *a = f->a;
    for (int i = 0; i < a->lines; i++) write_comment(out, a->line[i]);
    if (f->from->drew && uses_bank(a))
        write_comment(out, "The bank is still to be drawn: difftune bank --config with this file.");
    for (int i = 0; i < settings_key_count; i++) {
        if (!is_written(f->s, &settings_keys[i])) continue;
        fprintf(out, "%s: ", settings_keys[i].name);
        write_value(out, f->s, &settings_keys[i]);
        fputc('\n', out);
    }
}

/* ---- the whole ---- */

dt_status diagnosis_write(const diagnosis *d, const advice *a, const diagnosis_origin *from, const dt_settings *s,
                          dt_error *err)
{
    char path[DT_PATH_MAX];
    dt_settings train;
    recommend(&train, a, from, s);
    file_join(path, s->output_dir, PSI_FILE);
    if (a->psi == ADVICE_PSI_TABLE && numbers_file_write(d->psi, SCHEDULE_STEPS, path, err) != DT_OK)
        return err->status;
    file_join(path, s->output_dir, "train.yaml");
    if (text_file_write(path, print_train_file, &(train_file){&train, a, from}, err) != DT_OK) return err->status;
    file_join(path, s->output_dir, DIAGNOSIS_FILE);
    return json_file_write(path, describe(d, a, from, &train), NULL, err);
}
