#include "api/settings_unused.h"

#include <stdio.h>
#include <string.h>

#include "api/controls.h"
#include "base/say.h"

/* ---- when ---- */

static bool tunes(const dt_settings *s)
{
    return s->method != DT_METHOD_PRETRAIN;
}

static bool pretrains(const dt_settings *s)
{
    return !tunes(s);
}

static bool makes_named_model(const dt_settings *s)
{
    return pretrains(s) && strcmp(s->model, "custom") != 0 && strcmp(s->model, "UNet") != 0;
}

static bool makes_unet(const dt_settings *s)
{
    return pretrains(s) && !strcmp(s->model, "UNet");
}

static bool makes_no_unet(const dt_settings *s)
{
    return !makes_unet(s);
}

static bool makes_latent_model(const dt_settings *s)
{
    return pretrains(s) && s->vae[0];
}

static bool is_plain(const dt_settings *s)
{
    return s->method != DT_METHOD_DIFF_TUNING;
}

/* psi is another one, and so is xi. */
static bool has_no_power(const dt_settings *s)
{
    return !is_plain(s) && s->psi != DT_PSI_POWER && !(settings_xi(s) == DT_XI_MIRROR && s->tau_retention < 0);
}

static bool has_no_adapter(const dt_settings *s)
{
    return s->adapter == DT_ADAPTER_NONE;
}

static bool is_no_lora(const dt_settings *s)
{
    return s->adapter != DT_ADAPTER_LORA;
}

static bool is_no_difffit(const dt_settings *s)
{
    return s->adapter != DT_ADAPTER_DIFFFIT;
}

static bool is_no_vpt(const dt_settings *s)
{
    return s->adapter != DT_ADAPTER_VPT_DEEP;
}

static bool is_no_adaptformer(const dt_settings *s)
{
    return s->adapter != DT_ADAPTER_ADAPTFORMER;
}

static bool tells_no_control(const dt_settings *s)
{
    return !settings_tell_control(s);
}

static bool keeps_nothing(const dt_settings *s)
{
    return !settings_keep_cache(s);
}

static bool annotates_nothing(const dt_settings *s)
{
    return !controls_are_annotated(s);
}

static bool has_a_controlnet(const dt_settings *s)
{
    return s->controlnet_model[0] != '\0';
}

static bool draws_no_grid(const dt_settings *s)
{
    return s->sample_steps == 0;
}

static bool validates_nothing(const dt_settings *s)
{
    return s->validation_steps == 0 && s->psi != DT_PSI_MEASURED;
}

static bool measures_no_distance(const dt_settings *s)
{
    return s->eval_steps == 0;
}

static bool has_no_prompt(const dt_settings *s)
{
    return !s->prompt[0];
}

static bool has_no_controlnet(const dt_settings *s)
{
    return !has_a_controlnet(s);
}

static bool measures_no_convergence(const dt_settings *s)
{
    return s->convergence_steps == 0;
}

static bool keeps_no_statistics(const dt_settings *s)
{
    return !s->save_statistics[0];
}

static bool has_no_inception(const dt_settings *s)
{
    return s->feature != DT_FEATURE_INCEPTION;
}

static bool has_no_tail(const dt_settings *s)
{
    return !s->tail_model[0];
}

static bool has_model(const dt_settings *s)
{
    return s->pretrained_model[0];
}

static bool has_no_model(const dt_settings *s)
{
    return !has_model(s);
}

static bool has_base(const dt_settings *s)
{
    return s->feature == DT_FEATURE_BASE;
}

static bool has_no_base(const dt_settings *s)
{
    return !has_base(s);
}

static bool draws_without_classes(const dt_settings *s)
{
    return s->bank_labels == DT_BANK_NULL;
}

static bool joins_no_adapters(const dt_settings *s)
{
    return !s->adapter_weights[0];
}

static bool draws_unguided(const dt_settings *s)
{
    return s->guidance_scale == 1;
}

/* ---- what ---- */

typedef struct unused {
    unsigned verbs;
    bool (*when)(const dt_settings *s);
    const char *keys; /* with blanks between */
    const char *why;
    bool refused;
} unused;

static const unused unused_keys[] = {
    {SETTINGS_TRAIN, tunes, "model hidden_size depth patch_size in_channels learn_sigma",
     "is for method pretrain; the model that is tuned has its own", true},
    {SETTINGS_TRAIN, makes_named_model, "hidden_size depth patch_size num_heads",
     "is for model custom; a model with a name has its own", true},
    {SETTINGS_TRAIN, makes_unet, "hidden_size depth patch_size learn_sigma",
     "is for a DiT; a UNet has block_out_channels and layers_per_block", true},
    {SETTINGS_TRAIN, makes_no_unet,
     "block_out_channels down_block_types layers_per_block cross_attention_dim norm_num_groups beta_schedule",
     "is for method pretrain with model UNet", true},
    {SETTINGS_TRAIN, makes_latent_model, "in_channels", "is for models of pixels; the vae says how many a latent has",
     true},
    {SETTINGS_TRAIN, pretrains, "controlnet_model conditioning_embedding_out_channels sd_unlocked",
     "is for a ControlNet, which is tuned on a base", true},
    {SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_CHAIN, tells_no_control,
     "conditioning_embedding_out_channels controlnet_conditioning_scale sd_unlocked control_data",
     "is for a ControlNet: control or controlnet_model", true},
    {SETTINGS_PREDICT, has_no_prompt, "text_encoder tokenizer", "is for prompt", true},
    {SETTINGS_PREDICT, has_no_controlnet, "controlnet_conditioning_scale", "is for controlnet_model", true},
    {SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_CHAIN | SETTINGS_BANK, annotates_nothing, "annotator_weights",
     "is for an annotator: control canny, hed and so on", true},
    {SETTINGS_BANK, annotates_nothing, "vae", "control", false},
    {SETTINGS_TRAIN, has_a_controlnet, "conditioning_embedding_out_channels",
     "is for a new ControlNet; controlnet_model has its own", true},
    {SETTINGS_TRAIN, pretrains, "text_encoder tokenizer validation_prompt",
     "is for tuning a model that is told prompts; a new one is told classes", true},
    {SETTINGS_TRAIN, draws_no_grid, "validation_prompt", "sample_steps", false},
    {SETTINGS_TRAIN, pretrains, "label_init file_weights", "is for tuning; method pretrain starts from nothing", true},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, has_no_adapter,
     "lora_rank lora_alpha use_rslora use_dora lora_targets difffit_variant difffit_depth vpt_tokens adaptformer_width "
     "adaptformer_scale adapter_lr_factor",
     "is for an adapter, and there is none: all weights train", true},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, is_no_lora, "use_dora", "is for adapter lora", true},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, is_no_lora, "lora_rank lora_alpha use_rslora lora_targets", "adapter lora",
     false},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, is_no_difffit, "difffit_variant difffit_depth", "adapter difffit", false},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, is_no_vpt, "vpt_tokens", "adapter vpt-deep", false},
    {SETTINGS_TRAIN | SETTINGS_DIAGNOSE, is_no_adaptformer, "adaptformer_width adaptformer_scale",
     "adapter adaptformer", false},
    {SETTINGS_TRAIN, is_plain, "preset tau tau_retention psi xi t_law bank_fraction retention_weight",
     "method diff-tuning", false},
    {SETTINGS_TRAIN, has_no_power, "tau", "psi power, or xi mirror", false},
    {SETTINGS_TRAIN, keeps_nothing, "cache_dir", "vae, control or text_encoder", false},
    {SETTINGS_IDEAL, keeps_nothing, "cache_dir", "vae", false},
    {SETTINGS_IDEAL, has_model, "resolution", "is for an ideal without pretrained_model, which has its own", true},
    {SETTINGS_IDEAL, has_no_model, "file_weights num_heads adapter_weights mixed_precision device", "pretrained_model",
     false},
    {SETTINGS_TRAIN, validates_nothing, "validation_count", "validation_steps", false},
    {SETTINGS_TRAIN, measures_no_distance, "feature feature_weights inception_resize inception_score_parts eval_count",
     "eval_steps", false},
    {SETTINGS_TRAIN, measures_no_convergence, "convergence_count convergence_threshold", "convergence_steps", false},
    {SETTINGS_BANK, draws_without_classes, "guidance_scale guidance_channels negative_prompt", "bank_labels classes",
     false},
    {SETTINGS_SAMPLE | SETTINGS_CHAIN, draws_unguided, "negative_prompt", "guidance_scale other than 1", false},
    {SETTINGS_SAMPLE, keeps_no_statistics, "feature feature_weights inception_resize", "save_statistics", false},
    {SETTINGS_SAMPLE, has_no_tail, "tail", "tail_model", false},
    {SETTINGS_EVAL | SETTINGS_CHAIN, has_no_inception, "inception_resize inception_score_parts", "feature inception",
     false},
    {SETTINGS_CONVERT, joins_no_adapters, "save_adapter_as",
     "is for adapter_weights; a run that trained an adapter is given there, and its base as pretrained_model", true},
    {SETTINGS_EVAL, has_base, "resolution", "other features than base", false},
    {SETTINGS_EVAL, has_no_base, "file_weights num_heads", "feature base", false},
};

enum { UNUSED_ROWS = sizeof unused_keys / sizeof *unused_keys };

bool settings_is_given(const dt_settings *s, const settings_key *key)
{
    char value[SETTINGS_VALUE_MAX], initial[SETTINGS_VALUE_MAX];
    settings_text(value, s, key);
    settings_initial_text(initial, key);
    return strcmp(value, initial) != 0;
}

/* The first row of the table that says so. */
static const char *find(const dt_settings *s, settings_verb verb, const settings_key *key, bool refused)
{
    for (const unused *row = unused_keys; row < unused_keys + UNUSED_ROWS; row++)
        if (row->refused == refused && (row->verbs & verb) && settings_is_listed(row->keys, key) && row->when(s))
            return row->why;
    return NULL;
}

const char *settings_why_unused(const dt_settings *s, settings_verb verb, const settings_key *key)
{
    return find(s, verb, key, false);
}

dt_status settings_refuse_unused(const dt_settings *s, settings_verb verb, dt_error *err)
{
    for (int i = 0; i < settings_key_count; i++) {
        char value[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        const char *why = (key->verbs & verb) && settings_is_given(s, key) ? find(s, verb, key, true) : NULL;
        settings_text(value, s, key);
        if (why) error_set(err, DT_ERR_ARG, "%s %.200s %s; leave it out", key->name, value, why);
    }
    return err->status;
}

/* ---- telling ---- */

void unused_add(unused_list *l, const char *arm, const settings_key *key, const char *why)
{
    if (l->used < sizeof l->text)
        l->used += (size_t)snprintf(l->text + l->used, sizeof l->text - l->used, "%s%s%s%s (%s)", l->used ? ", " : "",
                                    arm, arm[0] ? ": " : "", key->name, why);
}

void unused_tell(const unused_list *l, const dt_observer *observer)
{
    if (l->used)
        say(observer->log, observer->user, "given and not used, for want of what stands behind each: %s", l->text);
}

void settings_tell_unused(const dt_settings *s, settings_verb verb, const dt_observer *observer)
{
    unused_list l = {0};
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        const char *why = (key->verbs & verb) && settings_is_given(s, key) ? settings_why_unused(s, verb, key) : NULL;
        if (why) unused_add(&l, "", key, why);
    }
    unused_tell(&l, observer);
}
