/* A model in another format. */
#include <stdio.h>

#include "adapter/lora_file.h"
#include "api/api.h"
#include "base/say.h"
#include "data/need.h"
#include "file/file.h"
#include "file/folder.h"
#include "file/left_overs.h"
#include "file/json_file.h"
#include "model/file/params_file.h"
#include "model/maker.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/controlnet_kind.h"
#include "model/sd/unet_denoiser.h"

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
    json_put(&info->metadata, "difftune.tool", json_string("difftune " DT_VERSION));
    json_put(&info->metadata, "difftune.source_sha256", json_string(info->sha256));
    json_put(&info->metadata, "format", json_string("pt"));
    if (!info->metadata) return error_set(&c->error, DT_ERR_MEMORY, "%s: no memory for its metadata", s->output);
    metadata_pair *pair = arena_alloc(&c->step, json_object_size(info->metadata) * sizeof *pair, &c->error);
    if (!pair) return c->error.status;
    size_t count = s->metadata ? list_metadata(pair, info) : 0;
    const denoiser_file file = {.path = s->output,
                                .format = s->save_model_as,
                                .dtype = s->save_dtype,
                                .checkpoint = s->original_checkpoint[0] ? s->original_checkpoint : NULL,
                                .metadata = pair,
                                .metadata_count = count,
                                .stops = true};
    const int64_t each = s->save_dtype == DT_FILE_F32 ? 4 : 2;
    if (file_check_space(s->output, params_count(d->params, true) * each, "the model", &c->error) != DT_OK)
        return c->error.status;
    return d->ops->write(c, d, &file);
}

/* An adapter by itself, in another program's layout. */
static dt_status convert_adapter(ctx *c, const dt_settings *s, const dt_observer *observer)
{
    adapter_files j;
    model_file base = {0};
    bool left_out = false;
    dt_error *err = &c->error;
    model_choice choice = model_choice_of(s, observer);
    choice.adapters = NULL;
    if (adapter_files_open(&j, s->file_weights, err) == DT_OK &&
        adapter_files_add_list(&j, s->adapter_weights, err) == DT_OK && j.count != 1)
        error_set(err, DT_ERR_ARG, "convert: one adapter at a time, or merge");
    if (err->status == DT_OK && j.file[0].weight != 1)
        error_set(err, DT_ERR_ARG, "adapter_weights %s: a weight is for merge", s->adapter_weights);
    if (err->status == DT_OK &&
        model_file_open_as(&base, s->pretrained_model, &choice, model_kinds_all, err) == DT_OK &&
        lora_convert(&j.file[0].tensors, &base.tensors, base.path, base.kind, s->save_adapter_as, s->save_dtype,
                     s->output, &left_out, err) == DT_OK)
        say(observer->log, observer->user, "wrote %s%s", s->output,
            left_out ? "; rows of the network that trained with it (its classes) have no place in this layout" : "");
    model_file_close(&base);
    adapter_files_close(&j);
    return err->status;
}

/* What a file has of a row, for the host, in scratch; NULL after a failure. */
static const real *values_in(ctx *c, const param *row, const model_file *f)
{
    const int64_t count = tensor_count(row->tensor);
    real *numbers = numbers_alloc(c, &c->scratch, (size_t)count * sizeof *numbers);
    if (!numbers || params_read_values(c, numbers, row, &f->tensors, row->name) != DT_OK) return NULL;
    return numbers_read(c, &c->scratch, numbers, count);
}

/* A row of the model in two other networks. */
static dt_status move_row(ctx *c, const param *row, const model_file *from, const model_file *to)
{
    const int64_t count = tensor_count(row->tensor);
    const arena_place mark = arena_mark(&c->scratch);
    real *values = numbers_read(c, &c->scratch, row->tensor->data, count);
    const real *old = values_in(c, row, from), *new = values_in(c, row, to);
    if (values && old && new) {
        for (int64_t i = 0; i < count; i++) values[i] = (real)((double)values[i] - (double)old[i] + (double)new[i]);
        numbers_send(c, row->tensor->data, values, count);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* A ControlNet that says what base it is for is for another one now. */
static void name_base(model_info *info, const model_file *base)
{
    file_hash hash;
    if (!json_object_get(info->metadata, CONTROLNET_BASE)) return;
    tensor_file_sha256(&hash, &base->tensors);
    json_put(&info->metadata, CONTROLNET_BASE, json_string(hash.hex));
}

/* What was tuned on one base, on another (ControlNet's tool_transfer_control.py): each weight that all three have, less the old
 * base's, and the new one's added. */
static dt_status transfer(ctx *c, const denoiser *d, model_info *info, const dt_settings *s,
                          const dt_observer *observer)
{
    model_file from = {0}, to = {0};
    int moved = 0;
    const model_choice choice = {0};
    if (!s->transfer_from[0]) return DT_OK;
    if (model_file_open_as(&from, s->transfer_from, &choice, model_kinds_all, &c->error) == DT_OK)
        model_file_open_as(&to, s->transfer_to, &choice, model_kinds_all, &c->error);
    for (int i = 0; i < d->params->count && !ctx_failed(c); i++) {
        const param *row = &d->params->row[i];
        if (!tensor_file_find(&from.tensors, row->name) || !tensor_file_find(&to.tensors, row->name)) continue;
        move_row(c, row, &from, &to);
        moved++;
    }
    if (!ctx_failed(c) && !moved)
        error_set(&c->error, DT_ERR_ARG, "transfer_from %.300s: no weight of the model is in it and in transfer_to",
                  s->transfer_from);
    else if (!ctx_failed(c))
        say(observer->log, observer->user, "%d of %d weights moved from %.300s to %.300s", moved, d->params->count,
            from.path, to.path);
    if (!ctx_failed(c)) name_base(info, &to);
    model_file_close(&from);
    model_file_close(&to);
    return c->error.status;
}

/* The model, with its adapters merged into it. */
static dt_status convert_model(ctx *c, const dt_settings *s, const dt_observer *observer)
{
    denoiser d;
    model_info info = {0};
    model_file f;
    model_choice choice = model_choice_of(s, observer);
    choice.length = s->ema_length;
    if (model_file_open_as(&f, s->pretrained_model, &choice,
                           s->part == DT_PART_UNET ? model_kinds_all : model_kinds_files, &c->error) != DT_OK)
        return c->error.status;
    const adapter_file *beside = adapter_files_unmerged(&f.adapters);
    if (s->part == DT_PART_CONTROLNET && f.kind != &controlnet_kind)
        error_set(&c->error, DT_ERR_ARG, "%s: part controlnet was asked for, and there is none in it", f.path);
    else if (s->part == DT_PART_UNET && f.kind != &unet_kind)
        error_set(&c->error, DT_ERR_ARG, "%s: part unet was asked for, and there is none in it", f.path);
    else if (beside)
        error_set(&c->error, DT_ERR_ARG, "%s: %s changes more than weights and cannot be merged", beside->path,
                  adapter_kind_of_file(&beside->tensors));
    else if (model_file_load(c, &d, &info, &f, NULL) == DT_OK && ctx_go_on(c)) {
        need_tell(c, observer, 0); /* rows are written one after the other */
        if (transfer(c, &d, &info, s, observer) == DT_OK && write(c, &d, &info, s) == DT_OK)
            say(observer->log, observer->user, "wrote %s", s->output);
    }
    model_info_free(&info);
    model_file_close(&f);
    return c->error.status;
}

dt_status dt_convert(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_CONVERT, observer) != DT_OK) return api_leave(c);
    if ((s->adapter_weights[0] && !s->merge ? convert_adapter : convert_model)(c, s, observer) == DT_OK)
        left_overs_remove_beside(s->output);
    return api_leave(c);
}
