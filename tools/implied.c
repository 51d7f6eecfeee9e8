/* Settings that the folder of a model answers where the user says nothing: the codec of a model of latents, the text encoder of one
 * that is told prompts. */
#include "cli.h"

#include "file/json_file.h"
#include "file/names.h"
#include "file/path.h"
#include "file/run_around.h"

/* ---- of a run ---- */

/* The folder of the run that a model is, or that it lies in. */
static bool find_run(char out[DT_PATH_MAX], const char *model)
{
    char path[DT_PATH_MAX];
    file_join(path, model, RUN_FILE);
    if (!file_exists(path)) return file_run_around(out, model);
    snprintf(out, DT_PATH_MAX, "%s", model);
    return true;
}

/* What it was trained with. */
static bool read_settings(dt_settings *out, const char *run)
{
    char path[DT_PATH_MAX];
    dt_error none = {0};
    dt_settings_init(out);
    file_join(path, run, CONFIG_FILE);
    return settings_load(out, path, &none) == DT_OK;
}

static bool is_told_prompts(const char *run)
{
    char path[DT_PATH_MAX];
    dt_error none = {0};
    file_join(path, run, RUN_FILE);
    json_t *about = json_file_read(path, &none);
    const bool told = json_text_at(json_object_get(about, "identity"), "encoder_sha256")[0];
    json_decref(about);
    return told;
}

/* Paths that lead nowhere from here are no answer. */
static bool take(char out[DT_PATH_MAX], const char *path)
{
    if (!path[0] || !file_exists(path)) return false;
    snprintf(out, DT_PATH_MAX, "%s", path);
    return true;
}

/* ---- what the verb asks for ---- */

static bool asks_for_codec(const dt_settings *s, const verb *v)
{
    const unsigned keys = SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_CHAIN | SETTINGS_IDEAL | SETTINGS_DIAGNOSE;
    return !s->vae[0] && ((v->keys & keys) || ((v->keys & SETTINGS_EVAL) && s->feature == DT_FEATURE_BASE));
}

static bool asks_for_encoder(const dt_settings *s, const verb *v)
{
    const unsigned keys = SETTINGS_TRAIN | SETTINGS_BANK | SETTINGS_SAMPLE | SETTINGS_CHAIN | SETTINGS_DIAGNOSE;
    return !s->text_encoder[0] && ((v->keys & keys) || ((v->keys & SETTINGS_PREDICT) && s->prompt[0]));
}

/* As a pipeline of diffusers does. */
static bool holds(const char *model, const char *part)
{
    char path[DT_PATH_MAX];
    file_join(path, model, part);
    return file_is_folder(path);
}

/* That of the model which the run began with is the run's. */
static void take_encoder(dt_settings *s, const dt_settings *of_run)
{
    if (take(s->text_encoder, of_run->text_encoder[0] ? of_run->text_encoder : of_run->pretrained_model) &&
        !s->tokenizer[0])
        take(s->tokenizer, of_run->tokenizer);
}

/* What a pipeline holds goes before what a run around it was trained with; its own text encoder is found where it is read. */
void implied_take(dt_settings *s, const verb *v)
{
    dt_settings of_run;
    char run[DT_PATH_MAX];
    const char *model = s->pretrained_model;
    if (!model[0]) return;
    const bool is_run = find_run(run, model) && read_settings(&of_run, run);
    if (asks_for_codec(s, v) && holds(model, "vae"))
        take(s->vae, model);
    else if (asks_for_codec(s, v) && is_run)
        take(s->vae, of_run.vae);
    if (asks_for_encoder(s, v) && !holds(model, "text_encoder") && is_run && is_told_prompts(run))
        take_encoder(s, &of_run);
}
