#include "settings/settings_implied.h"

#include <stdio.h>
#include <string.h>

#include "file/json_file.h"
#include "file/names.h"
#include "file/path.h"
#include "file/run_around.h"

/* ---- of a run ---- */

/* What a run says of itself. */
typedef struct run_record {
    json_t *about;        /* run.json; NULL: there is no run */
    dt_settings settings; /* that it was trained with */
} run_record;

/* The folder of the run that a model is, or that it lies in. */
static bool find_run(char out[DT_PATH_MAX], const char *model)
{
    char path[DT_PATH_MAX];
    file_join(path, model, RUN_FILE);
    if (!file_exists(path)) return file_run_around(out, model);
    snprintf(out, DT_PATH_MAX, "%s", model);
    return true;
}

static void open_record(run_record *r, const char *model)
{
    char run[DT_PATH_MAX], path[DT_PATH_MAX];
    dt_error none = {0};
    r->about = NULL;
    dt_settings_init(&r->settings);
    if (!find_run(run, model)) return;
    file_join(path, run, CONFIG_FILE);
    if (settings_load(&r->settings, path, &none) != DT_OK) return;
    file_join(path, run, RUN_FILE);
    r->about = json_file_read(path, &none);
}

static bool is_told_prompts(const run_record *r)
{
    return json_text_at(json_object_get(r->about, "identity"), "encoder_sha256")[0];
}

/* The path of a setting: as the run was told it, unless that leads elsewhere from here. Empty where none leads anywhere. */
static const char *path_of(const run_record *r, const char *key, const char *told)
{
    const char *resolved = json_text_at(json_object_get(r->about, RUN_PATHS), key);
    if (resolved[0] && file_exists(resolved)) return file_is_same(told, resolved) ? told : resolved;
    return file_exists(told) ? told : "";
}

/* ---- what the verb asks for ---- */

static bool takes(unsigned verbs, const char *setting)
{
    return settings_find(setting)->verbs & verbs;
}

static bool asks_for_codec(const dt_settings *s, unsigned verbs)
{
    const bool sees_pictures = (verbs & SETTINGS_EVAL) && s->feature != DT_FEATURE_BASE;
    const bool draws_alone = (verbs & SETTINGS_BANK) && !s->control[0];
    return !s->vae[0] && takes(verbs, "vae") && !sees_pictures && !draws_alone;
}

static bool asks_for_encoder(const dt_settings *s, unsigned verbs)
{
    const bool is_given_contexts = (verbs & SETTINGS_PREDICT) && !s->prompt[0];
    return !s->text_encoder[0] && takes(verbs, "text_encoder") && !is_given_contexts;
}

static bool asks_for_base(const dt_settings *s, unsigned verbs)
{
    const bool from_nothing = (verbs & SETTINGS_TRAIN) && s->method == DT_METHOD_PRETRAIN;
    return !s->pretrained_model[0] && s->controlnet_model[0] && takes(verbs, "controlnet_model") && !from_nothing;
}

/* An adapter that is converted is so as it is. */
static bool joins_adapters(unsigned verbs)
{
    return takes(verbs, "adapter_weights") && !(verbs & SETTINGS_CONVERT);
}

/* As a pipeline of diffusers does. */
static bool holds(const char *model, const char *part)
{
    char path[DT_PATH_MAX];
    file_join(path, model, part);
    return file_is_folder(path);
}

/* What a pipeline holds goes before what a run around it was trained with. */
static void imply_codec(dt_settings *s, const run_record *r)
{
    const bool own = holds(s->pretrained_model, "vae");
    snprintf(s->vae, sizeof s->vae, "%s", own ? s->pretrained_model : path_of(r, "vae", r->settings.vae));
}

/* The text encoder of the model which a run began with is the run's. A pipeline's own is found where it is read. */
static void imply_encoder(dt_settings *s, const run_record *r)
{
    const dt_settings *of_run = &r->settings;
    if (holds(s->pretrained_model, "text_encoder") || !is_told_prompts(r)) return;
    snprintf(s->text_encoder, sizeof s->text_encoder, "%s",
             of_run->text_encoder[0] ? path_of(r, "text_encoder", of_run->text_encoder)
                                     : path_of(r, "pretrained_model", of_run->pretrained_model));
    if (s->text_encoder[0] && !s->tokenizer[0])
        snprintf(s->tokenizer, sizeof s->tokenizer, "%s", path_of(r, "tokenizer", of_run->tokenizer));
}

/* With its base, that is: then it is where it was told the run. */
static bool was_moved(const run_record *r)
{
    const char *base = json_text_at(json_object_get(r->about, RUN_PATHS), "pretrained_model");
    return base[0] && !file_exists(base);
}

/* An adapter that was trained on top of others, or of a blend, is used with them. */
static void imply_adapters(dt_settings *s, const run_record *r)
{
    char list[2 * DT_LIST_MAX + DT_PATH_MAX];
    const dt_settings *of_run = &r->settings;
    const char *base = path_of(r, "pretrained_model", of_run->pretrained_model), *before = of_run->adapter_weights;
    if (of_run->adapter == DT_ADAPTER_NONE || !base[0] || s->blend[0]) return;
    if (!before[0] && !of_run->blend[0] && !was_moved(r)) return; /* its file names the base */
    const int length = snprintf(list, sizeof list, "%s%s%s%s%s", before, before[0] ? "," : "", s->pretrained_model,
                                s->adapter_weights[0] ? "," : "", s->adapter_weights);
    if (length >= DT_LIST_MAX) return;
    memcpy(s->adapter_weights, list, (size_t)length + 1);
    snprintf(s->blend, sizeof s->blend, "%s", of_run->blend);
    snprintf(s->pretrained_model, sizeof s->pretrained_model, "%s", base);
}

/* A ControlNet of a run is used with the base that it was trained on. */
static void imply_base(dt_settings *s)
{
    run_record r;
    open_record(&r, s->controlnet_model);
    if (!r.settings.sd_unlocked)
        snprintf(s->pretrained_model, sizeof s->pretrained_model, "%s",
                 path_of(&r, "pretrained_model", r.settings.pretrained_model));
    json_decref(r.about);
}

void settings_imply(dt_settings *s, unsigned verbs)
{
    run_record r;
    if (asks_for_base(s, verbs)) imply_base(s);
    if (!s->pretrained_model[0]) return;
    open_record(&r, s->pretrained_model);
    if (asks_for_codec(s, verbs)) imply_codec(s, &r);
    if (asks_for_encoder(s, verbs)) imply_encoder(s, &r);
    if (joins_adapters(verbs)) imply_adapters(s, &r);
    json_decref(r.about);
}
