/* Settings that the folder of a model answers where the user says nothing: the codec of a model of latents. */
#include "cli.h"

#include "file/names.h"
#include "file/path.h"
#include "file/run_of.h"

/* Of a pipeline of diffusers. */
static bool holds_codec(const char *model)
{
    char path[DT_PATH_MAX];
    file_join(path, model, "vae");
    return file_is_folder(path);
}

/* The settings of the run that a model is, or that it lies in. */
static bool find_config(char out[DT_PATH_MAX], const char *model)
{
    char run[DT_PATH_MAX];
    file_join(out, model, CONFIG_FILE);
    if (file_exists(out)) return true;
    if (!file_run_of(run, model)) return false;
    file_join(out, run, CONFIG_FILE);
    return true;
}

/* What a run was trained with, as its settings name it; a path that leads nowhere from here is no answer. */
static bool codec_of_run(char out[DT_PATH_MAX], const char *model)
{
    char path[DT_PATH_MAX];
    dt_settings s;
    dt_error none = {0};
    dt_settings_init(&s);
    if (!find_config(path, model) || settings_load(&s, path, &none) != DT_OK) return false;
    if (!s.vae[0] || !file_exists(s.vae)) return false;
    snprintf(out, DT_PATH_MAX, "%s", s.vae);
    return true;
}

static bool asks_for_codec(const dt_settings *s, const verb *v)
{
    const unsigned keys = SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_CHAIN | SETTINGS_IDEAL | SETTINGS_DIAGNOSE;
    return (v->keys & keys) || ((v->keys & SETTINGS_EVAL) && s->feature == DT_FEATURE_BASE);
}

void implied_take(dt_settings *s, const verb *v)
{
    const char *model = s->pretrained_model;
    if (!model[0] || s->vae[0] || !asks_for_codec(s, v) || codec_of_run(s->vae, model)) return;
    if (holds_codec(model)) snprintf(s->vae, sizeof s->vae, "%s", model);
}
