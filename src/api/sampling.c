#include "api/sampling.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "api/controls.h"
#include "base/say.h"
#include "model/file/of_run.h"

/* ---- opening ---- */

/* Another model beside the first, of which adapters and blends are not asked. */
static dt_status open_other(sampling *p, denoiser *d, model_info *info, const char *path)
{
    const model_choice choice = {.process = p->s->process, .observer = p->observer};
    return denoiser_load_as(p->c, d, info, path, &choice, model_kinds_all);
}

static dt_status open_guide(sampling *p)
{
    const dt_settings *s = p->s;
    if (!s->guidance_model[0] || s->guidance_scale == 1) return p->c->error.status;
    if (open_other(p, &p->guide, &p->guide_info, s->guidance_model) != DT_OK) return p->c->error.status;
    return sampler_guide_by(&p->drawing.sampler, &p->guide, s->guidance_condition == DT_GUIDE_BY_SAME,
                            s->guidance_model, &p->c->error);
}

/* Whether a class of one is the same class of the other. Where a file does not name its classes, nobody knows. */
static bool same_classes(const sampling *p)
{
    const model_info *a = &p->info, *b = &p->tail_info;
    if (p->model.class_count != p->tail.class_count) return false;
    if (p->model.class_count == 0) return true;
    if (!a->class_name || !b->class_name || a->class_name_count != b->class_name_count) return false;
    for (int64_t i = 0; i < a->class_name_count; i++)
        if (strcmp(a->class_name[i], b->class_name[i])) return false;
    return true;
}

static dt_status open_tail(sampling *p)
{
    sampler fits;
    const dt_settings *s = p->s;
    if (!s->tail_model[0]) return p->c->error.status;
    if (open_other(p, &p->tail, &p->tail_info, s->tail_model) != DT_OK) return p->c->error.status;
    p->tail_told = same_classes(p);
    return sampling_end(p, &fits, p->drawing.sampler.schedule.count);
}

/* Who answers beside the model is told the same contexts. */
static dt_status share_null(const sampling *p, denoiser *other, const char *key, const char *path)
{
    const denoiser *d = &p->model;
    if (!other->ops || (!d->context_tokens && !other->context_tokens)) return p->c->error.status;
    if (other->context_tokens != d->context_tokens || other->context_width != d->context_width)
        return error_set(&p->c->error, DT_ERR_SHAPE, "%s %s: is told other contexts than the model", key, path);
    other->null_context = d->null_context;
    return p->c->error.status;
}

/* What the models are told: classes, or prompts. */
static dt_status open_told(sampling *p, int64_t numbers)
{
    const dt_settings *s = p->s;
    if (controls_open(p->c, &p->prompts.told, &p->model, s, numbers, p->observer) != DT_OK) return p->c->error.status;
    if (p->prompts.told.count) p->drawing.told = &p->prompts.told;
    if (!p->model.class_count) p->drawing.labels = NULL;
    if (share_null(p, &p->guide, "guidance_model", s->guidance_model) != DT_OK ||
        share_null(p, &p->tail, "tail_model", s->tail_model) != DT_OK)
        return p->c->error.status;
    return class_list_read(&p->classes, p->c, s, &p->info, p->model.class_count);
}

/* The model, what it is told, and the ControlNet's hash. */
static dt_status open_model(sampling *p, int64_t numbers)
{
    model_file f;
    ctx *c = p->c;
    model_choice choice = model_choice_of(p->s, p->observer);
    choice.length = p->s->ema_length;
    choice.control = control_choice_of(p->s);
    if (model_file_open_as(&f, p->s->pretrained_model, &choice, model_kinds_all, &c->error) != DT_OK)
        return c->error.status;
    if (prompts_open(c, &p->prompts, &f, p->s, numbers, p->observer) == DT_OK &&
        model_file_load(c, &p->model, &p->info, &f, NULL) == DT_OK)
        prompts_join(c, &p->prompts, &p->model);
    memcpy(p->control_sha256, f.control.hash.hex, sizeof p->control_sha256);
    model_file_close(&f);
    return c->error.status;
}

dt_status sampling_open(sampling *p, int64_t numbers)
{
    ctx *c = p->c;
    const dt_settings *s = p->s;
    p->drawing = (drawing){.labels = &p->classes, .codec = &p->codec, .batch = s->sample_batch_size};
    if (open_model(p, numbers) != DT_OK || sampler_open(&p->drawing.sampler, &p->model, s, &c->error) != DT_OK ||
        open_guide(p) != DT_OK || open_tail(p) != DT_OK ||
        codec_open_for(c, &p->codec, s->vae, s->pretrained_model, p->model.shape.channels) != DT_OK)
        return c->error.status;
    return open_told(p, numbers);
}

void sampling_close(sampling *p)
{
    prompts_close(&p->prompts);
    model_info_free(&p->info);
    model_info_free(&p->guide_info);
    model_info_free(&p->tail_info);
}

dt_status sampling_end(const sampling *p, sampler *out, int64_t steps)
{
    *out = p->drawing.sampler;
    return steps ? sampler_end_by(out, &p->tail, steps, p->tail_told, p->s->tail_model, &p->c->error) : DT_OK;
}

/* ---- saying ---- */

static size_t add_prompts(const sampling *p, char out[SAMPLE_TEXT_MAX], size_t used)
{
    if (!p->prompts.list.count) return used;
    snprintf(out + used, SAMPLE_TEXT_MAX - used, ", prompts and their encoder sha256 %s", p->prompts.told.sha256);
    return strlen(out);
}

static size_t add_guide(const sampling *p, char out[SAMPLE_TEXT_MAX], size_t used)
{
    const dt_settings *s = p->s;
    if (!s->guidance_model[0] && !s->guidance_interval[0]) return used;
    snprintf(out + used, SAMPLE_TEXT_MAX - used, ", guided by %s told %s, at t %s",
             s->guidance_model[0] ? p->guide_info.sha256 : "itself",
             s->guidance_condition == DT_GUIDE_BY_SAME ? "the same" : "nothing",
             s->guidance_interval[0] ? s->guidance_interval : "all");
    return strlen(out);
}

void sampling_describe(const sampling *p, int64_t tail_steps, char out[SAMPLE_TEXT_MAX])
{
    const dt_settings *s = p->s;
    snprintf(
        out, SAMPLE_TEXT_MAX,
        "sampler %s, steps %lld, spacing %s, eta %g, clip_sample %s, guidance_scale %g on %s channels, %s, seed %lld, "
        "model sha256 %s%s%s, classes %s%s",
        settings_word(s, "sampler"), (long long)s->num_inference_steps, api_spacing_word(s), s->eta,
        s->clip_sample ? "yes" : "no", s->guidance_scale,
        settings_word_at("guidance_channels", sampler_guidance_channels(&p->model, s)),
        s->mixed_precision == DT_PRECISION_BF16 ? "bf16" : "f32", (long long)s->seed, p->info.sha256,
        p->codec.kind == CODEC_PIXELS ? "" : ", vae sha256 ", p->codec.sha256, s->classes[0] ? s->classes : "all",
        s->class_order == DT_CLASSES_RANDOM ? " drawn evenly" : " in turn");
    size_t used = add_prompts(p, out, add_guide(p, out, strlen(out)));
    if (p->control_sha256[0])
        snprintf(out + used, SAMPLE_TEXT_MAX - used, ", controlnet sha256 %s, scale %g, control %s", p->control_sha256,
                 s->controlnet_conditioning_scale, p->prompts.told.sha256);
    used = strlen(out);
    if (s->nag_scale > 0) snprintf(out + used, SAMPLE_TEXT_MAX - used, ", nag_scale %g", s->nag_scale);
    used = strlen(out);
    if (tail_steps)
        snprintf(out + used, SAMPLE_TEXT_MAX - used, ", last %lld steps by %s told %s", (long long)tail_steps,
                 p->tail_info.sha256, p->tail_told ? "the same" : "nothing");
}

sample_folder sampling_folder(const sampling *p, const dt_settings *s, int64_t saved, int64_t tail_steps,
                              const meter *measured)
{
    const sample_shape shape = drawing_picture_shape(&p->drawing);
    sample_folder f = {.s = s,
                       .classes = &p->classes,
                       .info = &p->info,
                       .prompt = p->prompts.list.text,
                       .prompt_count = p->prompts.list.count,
                       .negative_prompt = prompts_negative(&p->prompts),
                       .channels = shape.channels,
                       .size = shape.height,
                       .saved = saved < s->num_samples ? saved : s->num_samples,
                       .feature = measured ? measured->features.identity : NULL,
                       .feature_dim = measured ? meter_row_values(measured) : 0,
                       .rows = {.fd = -1}};
    sampling_describe(p, tail_steps, f.text);
    return f;
}

/* Three of wider latents than DiT's are next to nothing. */
static void tell_guidance(const sampling *p)
{
    const dt_settings *s = p->s;
    const int64_t channels = p->model.shape.channels;
    if ((s->guidance_scale == 1 && s->nag_scale == 0) || s->guidance_channels != DT_GUIDE_THREE || channels <= 4)
        return;
    say(p->observer->log, p->observer->user,
        "guidance acts on 3 of %lld channels; guidance_channels all guides every one", (long long)channels);
}

static void tell_tail(const sampling *p, int64_t steps)
{
    if (!p->s->tail_model[0]) return;
    if (steps == 0)
        say(p->observer->log, p->observer->user, "%.600s makes no step: the share is less than half of one of %lld",
            p->s->tail_model, (long long)p->s->num_inference_steps);
    else
        say(p->observer->log, p->observer->user, "the last steps are made by %.600s, %s", p->s->tail_model,
            p->tail_told ? "told the same classes and guided alike"
                         : "told nothing and unguided, as its classes are not known to be the model's");
}

static void tell_nothing(const sampling *p)
{
    if (p->prompts.list.count && !p->s->prompt[0])
        say(p->observer->log, p->observer->user, "no prompt is given; the network is told the empty text");
}

void sampling_tell(const sampling *p, int64_t tail_steps)
{
    const dt_settings *s = p->s;
    of_run_tell_others(
        p->info.metadata,
        &(of_run_use){s->pretrained_model, s->vae, p->codec.sha256, s->text_encoder, p->prompts.encoder_sha256},
        p->observer);
    tell_nothing(p);
    tell_guidance(p);
    tell_tail(p, tail_steps);
}
