/* A model in another format. */
#include <stdio.h>

#include "api/api.h"
#include "base/say.h"
#include "file/file.h"
#include "model/maker.h"

/* The source's metadata, and what was made of what by whom. */
static size_t list_metadata(metadata_pair pair[], const model_info *info)
{
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach(info->metadata, key, value) pair[count++] = (metadata_pair){key, json_string_value(value)};
    return count;
}

static dt_status write(ctx *c, const denoiser *d, model_info *info, const dt_settings *s)
{
    if (!info->metadata) info->metadata = json_object();
    json_object_set_new(info->metadata, "difftune.tool", json_string("difftune " DT_VERSION));
    json_object_set_new(info->metadata, "difftune.source_sha256", json_string(info->sha256));
    json_object_set_new(info->metadata, "format", json_string("pt"));
    metadata_pair *pair = arena_alloc(&c->step, json_object_size(info->metadata) * sizeof *pair, &c->error);
    if (!pair) return c->error.status;
    size_t count = s->metadata ? list_metadata(pair, info) : 0;
    const denoiser_file file = {.path = s->output,
                                .format = s->save_model_as,
                                .dtype = s->save_dtype,
                                .metadata = pair,
                                .metadata_count = count};
    const int64_t each = s->save_dtype == DT_FILE_F32 ? 4 : 2;
    if (file_check_space(s->output, params_count(d->params, true) * each, "the model", &c->error) != DT_OK)
        return c->error.status;
    return d->ops->write(c, d, &file);
}

dt_status dt_convert(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    denoiser d;
    model_info info = {0};
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_CONVERT, observer) != DT_OK) return api_leave(c);
    const model_choice choice = model_choice_of(s, observer);
    if (denoiser_load_as(c, &d, &info, s->pretrained_model, &choice, model_kinds_all) == DT_OK && ctx_go_on(c) &&
        write(c, &d, &info, s) == DT_OK)
        say(observer->log, observer->user, "wrote %s", s->output);
    model_info_free(&info);
    return api_leave(c);
}
