/* Settings that the folder of a model answers where the user says nothing: the codec of a model of latents. */
#include "cli.h"

#include "file/names.h"
#include "file/path.h"

/* Of a pipeline of diffusers. */
static bool holds_codec(const char *model)
{
    char path[DT_PATH_MAX];
    file_join(path, model, "vae");
    return file_is_folder(path);
}

/* What a run was trained with, as its settings name it; a path that leads nowhere from here is no answer. */
static bool codec_of_run(char out[DT_PATH_MAX], const char *model)
{
    char path[DT_PATH_MAX];
    dt_settings s;
    dt_error none = {0};
    dt_settings_init(&s);
    file_join(path, model, CONFIG_FILE);
    if (settings_load(&s, path, &none) != DT_OK || !s.vae[0] || !file_exists(s.vae)) return false;
    snprintf(out, DT_PATH_MAX, "%s", s.vae);
    return true;
}

void implied_take(dt_settings *s, const verb *v)
{
    const unsigned asked = SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_CHAIN | SETTINGS_DIAGNOSE;
    const char *model = s->pretrained_model;
    if (!(v->keys & asked) || s->vae[0] || !file_is_folder(model) || codec_of_run(s->vae, model)) return;
    if (holds_codec(model)) snprintf(s->vae, sizeof s->vae, "%s", model);
}
