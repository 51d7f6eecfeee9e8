/* The rules across keys: what a verb cannot do without, and settings that contradict each other. */
#include "api/settings_check.h"
#include "api/chain_file.h"
#include "api/controls.h"
#include "api/settings_paths.h"
#include "api/settings_unused.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "average/power.h"
#include "base/text.h"
#include "diffusion/sampler.h"
#include "file/names.h"
#include "file/path.h"
#include "image/image.h"
#include "measure/convergence.h"
#include "model/annotate/annotator.h"
#include "model/control_part.h"
#include "method/difftuning.h"

/* One broken rule: when `broken`, records the sentence unless an earlier rule has spoken. */
#define RULE(broken, ...) ((broken) ? (void)error_set(err, DT_ERR_ARG, __VA_ARGS__) : (void)0)

static void require(const char *value, const char *key, const char *verb, dt_error *err)
{
    RULE(!value[0], "%s needs %s", verb, key);
}

static void check_background(const dt_settings *s, dt_error *err)
{
    uint8_t rgb[3];
    dt_error why = {0};
    RULE(image_parse_colour(rgb, s->background, &why) != DT_OK, "background: %s", why.message);
}

static void check_sampler(const dt_settings *s, dt_error *err)
{
    RULE(s->sampler != DT_SAMPLER_DDIM && s->eta > 0, "eta is for sampler ddim; %s has no such choice",
         settings_word(s, "sampler"));
    RULE(s->clip_sample && s->vae[0], "clip_sample is for models of pixels; leave it out with vae");
}

static void check_feature(const dt_settings *s, dt_error *err)
{
    RULE(s->feature == DT_FEATURE_SQUEEZENET && !s->feature_weights[0], "feature squeezenet needs feature_weights");
    RULE(s->feature == DT_FEATURE_INCEPTION && !s->feature_weights[0],
         "feature inception needs feature_weights (pt_inception-2015-12-05-6726825d.pth)");
    RULE(s->feature == DT_FEATURE_BASE && s->feature_weights[0], "feature_weights is given, but feature is base");
}

/* Widths of a network that is made from nothing. */
static void check_new_model(const dt_settings *s, dt_error *err)
{
    int64_t patch = s->patch_size;
    RULE(s->pretrained_model[0], "method pretrain starts from nothing; leave out pretrained_model");
    RULE(s->resolution == 0, "method pretrain needs resolution");
    if (strcmp(s->model, "custom")) return;
    RULE(patch != 1 && patch != 2 && patch != 4 && patch != 8, "patch_size must be 1, 2, 4 or 8, not %" PRId64, patch);
    const int64_t heads = s->num_heads ? s->num_heads : DT_HEADS_OF_NEW;
    RULE(s->hidden_size % heads, "hidden_size %" PRId64 " is not divisible by num_heads %" PRId64, s->hidden_size,
         heads);
    RULE(s->hidden_size % 4,
         "hidden_size %" PRId64 " is not divisible by 4, which the positions' sines and cosines need", s->hidden_size);
    RULE(!s->vae[0] && s->resolution % patch, "resolution %" PRId64 " is not divisible by patch_size %" PRId64,
         s->resolution, patch);
}

/* Which of the retention's settings mean something to its kind. */
static void check_retention(const dt_settings *s, dt_error *err)
{
    const dt_retention asked = s->method == DT_METHOD_DIFF_TUNING ? settings_retention(s) : s->retention;
    const char *kind = settings_word_at("retention", asked);
    const bool other = s->retention != DT_RETENTION_PRESET && s->retention != DT_RETENTION_BANK;
    const bool none = asked == DT_RETENTION_NONE, sdft = asked == DT_RETENTION_SDFT;
    const bool flat = asked == DT_RETENTION_NULL_FLAT;
    const bool said = s->bank_fraction >= 0 || s->retention_weight >= 0 || s->xi != DT_XI_PRESET ||
                      s->ablation == DT_ABLATION_RETENTION_ONLY;
    RULE(none && s->retention == DT_RETENTION_PRESET && said,
         "preset distil retains nothing of what is told a control; give retention, or another preset");
    RULE(other && !none && s->method != DT_METHOD_DIFF_TUNING,
         "retention %s is for method diff-tuning (with tau 0 it draws t evenly); leave out method", kind);
    RULE(other && !none && s->ablation == DT_ABLATION_RECONSOLIDATION_ONLY,
         "ablation reconsolidation-only retains nothing; leave out retention %s", kind);
    RULE(none && s->ablation == DT_ABLATION_RETENTION_ONLY, "ablation retention-only, but retention is none");
    RULE((sdft || none) && s->bank_fraction >= 0, "retention %s takes no share of the batch; leave out bank_fraction",
         kind);
    RULE((sdft || none || flat) && s->xi != DT_XI_PRESET, "xi is given, but retention %s has none to choose", kind);
    RULE((sdft || none || flat) && settings_xi(s) == DT_XI_MIRROR && s->tau_retention >= 0,
         "tau_retention is given, but retention %s has no xi to choose", kind);
}

static void check_method(const dt_settings *s, dt_error *err)
{
    bool tunes = s->method == DT_METHOD_DIFF_TUNING;
    RULE(!tunes && s->ablation != DT_ABLATION_NONE, "ablation is for method diff-tuning");
    RULE(s->psi == DT_PSI_TABLE && !s->psi_table[0], "psi table needs psi_table");
    RULE(s->psi != DT_PSI_TABLE && s->psi_table[0], "psi_table is given, but psi is not table");
    RULE(s->xi == DT_XI_TABLE && !s->xi_table[0], "xi table needs xi_table");
    RULE(s->xi != DT_XI_TABLE && s->xi_table[0], "xi_table is given, but xi is not table");
    RULE(s->tau_retention >= 0 && settings_xi(s) != DT_XI_MIRROR, "tau_retention is given, but xi is not mirror");
    RULE(s->ablation == DT_ABLATION_RECONSOLIDATION_ONLY && s->bank_fraction > 0,
         "ablation reconsolidation-only uses no bank; leave out bank_fraction");
    RULE(s->bank_fraction == 1, "bank_fraction 1 leaves no image of train_data in the batch");
    check_retention(s, err);

    difftuning d;
    if (err->status != DT_OK || difftuning_open(&d, s, NOISE_LINEAR, err) != DT_OK) return;
    bool retains = d.retention != DT_RETENTION_NONE;
    RULE(
        difftuning_uses_bank(&d) && !s->bank[0],
        "method diff-tuning with retention %s needs bank (difftune bank makes one); retention target-distil needs none",
        settings_word_at("retention", d.retention));
    RULE(d.retained_fraction > 0 && s->train_batch_size < 2,
         "train_batch_size must be at least 2: one image to learn and one to retain");
    RULE(!retains && s->ablation == DT_ABLATION_RETENTION_ONLY,
         "ablation retention-only, but nothing is retained: bank_fraction is 0, or tau is 0 with xi one-minus");
    const bool measures_psi = tunes && s->psi == DT_PSI_MEASURED;
    RULE(measures_psi && !s->validation_data[0], "psi measured needs validation_data: held-out pictures to measure on");
    RULE(measures_psi && !s->bank[0],
         "psi measured needs bank: samples of the base itself to compare with (difftune bank makes them)");
}

/* Folders that this program puts names below must leave room for them. */
static void check_folder(const char *folder, const char *key, dt_error *err)
{
    RULE(strlen(folder) > FILE_FOLDER_MAX, "%s: a path of at most %d bytes expected, found %zu", key, FILE_FOLDER_MAX,
         strlen(folder));
}

static void check_folders(const dt_settings *s, dt_error *err)
{
    check_folder(s->output_dir, "output_dir", err);
    check_folder(s->bank, "bank", err);
    check_folder(s->pretrained_model, "pretrained_model", err);
    check_folder(s->cache_dir, "cache_dir", err);
    check_folder(s->diagnosis, "diagnosis", err);
}

/* What needs the whole gradient before the first weight changes cannot be had without one. */
static void check_fused(const dt_settings *s, dt_error *err)
{
    RULE(s->gradient_accumulation_steps > 1,
         "fused_backward_pass keeps no gradients to add up in: it needs "
         "gradient_accumulation_steps 1, not %" PRId64,
         s->gradient_accumulation_steps);
    RULE(s->max_grad_norm > 0, "fused_backward_pass updates before the whole norm is known; leave out max_grad_norm");
}

/* A whole model has no place for an adapter, and a new one nothing to adapt. */
static void check_adapter(const dt_settings *s, dt_error *err)
{
    if (s->adapter == DT_ADAPTER_NONE) return;
    RULE(s->method == DT_METHOD_PRETRAIN,
         "adapter is for tuning a pretrained_model; method pretrain trains all weights");
    RULE(s->save_model_as != DT_MODEL_SAFETENSORS,
         "an adapter is written as safetensors; convert with adapter_weights and merge makes a whole model of it");
}

static void check_averages(const dt_settings *s, dt_error *err)
{
    double lengths[POWER_LENGTHS_MAX];
    int count;
    dt_error why = {0};
    RULE(power_lengths_read(lengths, &count, s->ema_power, &why) != DT_OK, "%s", why.message);
    RULE(s->ema_snapshot_steps && !s->ema_power[0], "ema_snapshot_steps is given, but ema_power keeps no averages");
    RULE(s->sd_unlocked && s->ema_power[0],
         "ema_power keeps averages of one network, and sd_unlocked trains two; leave one of them out");
}

/* Which weights of a run's folder are taken. */
static void check_length(const dt_settings *s, dt_error *err)
{
    if (s->ema_length == 0) return;
    RULE(s->ema_length < POWER_LENGTH_MIN, "ema_length must be 0, or a length from %g to %g", POWER_LENGTH_MIN,
         POWER_LENGTH_MAX);
    RULE(s->file_weights != DT_FILE_WEIGHTS_AUTO, "ema_length says which weights are taken; leave out file_weights");
}

/* Found before the run's first step; a run that is resumed has kept it. */
static void check_diagnosis(const dt_settings *s, dt_error *err)
{
    char path[DT_PATH_MAX], kept[DT_PATH_MAX];
    if (!s->diagnosis[0] || err->status != DT_OK) return;
    file_join(path, s->diagnosis, DIAGNOSIS_FILE);
    file_join(kept, s->output_dir, DIAGNOSIS_FILE);
    RULE(!file_exists(path) && !file_exists(kept), "diagnosis: %s has no diagnosis.json; difftune diagnose makes one",
         s->diagnosis);
}

/* Other programs go by the name of a file. */
static void check_output_name(const dt_settings *s, dt_error *err)
{
    static const char *const of_torch[] = {"pt", "pth", "ckpt", "bin"};
    bool torch = false;
    for (size_t i = 0; i < sizeof of_torch / sizeof *of_torch; i++)
        torch = torch || file_has_extension(s->output, of_torch[i]);
    RULE(torch && s->save_model_as != DT_MODEL_PT,
         "output %s: save_model_as %s writes no file of torch.save; save_model_as pt does", s->output,
         settings_word(s, "save_model_as"));
    RULE(file_has_extension(s->output, "safetensors") && s->save_model_as == DT_MODEL_PT,
         "output %s: save_model_as pt writes no safetensors", s->output);
}

/* An adapter by itself is no whole model. */
static void check_convert(const dt_settings *s, dt_error *err)
{
    const bool alone = s->adapter_weights[0] && !s->merge;
    check_output_name(s, err);
    RULE(s->original_checkpoint[0] && s->save_model_as != DT_MODEL_ORIGINAL,
         "original_checkpoint is for save_model_as original");
    RULE(!s->transfer_from[0] != !s->transfer_to[0], "transfer_from and transfer_to are given together");
    RULE(alone && s->transfer_from[0], "transfer_from is for whole models; an adapter's need merge");
    RULE(alone && s->part != DT_PART_AUTO, "part is for whole models; an adapter's need merge");
    RULE(alone && s->original_checkpoint[0], "original_checkpoint is for whole models; an adapter's need merge");
}

static void check_warmup(const dt_settings *s, dt_error *err)
{
    RULE(s->lr_warmup_steps > s->max_train_steps, "lr_warmup_steps %" PRId64 " is more than max_train_steps %" PRId64,
         s->lr_warmup_steps, s->max_train_steps);
}

/* What reads pictures for controls. */
static void check_annotator(const dt_settings *s, dt_error *err)
{
    if (err->status == DT_OK && controls_are_annotated(s))
        annotator_check_weights(annotator_named(s->control), s->annotator_weights, err);
}

static void check_convergence(const dt_settings *s, dt_error *err)
{
    const char *said = s->convergence_threshold;
    const bool found = !strcmp(said, "auto");
    RULE(!map_threshold_is_one(said),
         "convergence_threshold: auto, paper, a row of the paper's table 4 (such as Seg-ADE) or a number expected, "
         "found \"%.40s\"",
         said);
    RULE(s->convergence_steps > 0 && !controls_are_annotated(s),
         "convergence_steps needs control canny, hed or another annotator: it reads what is drawn");
    RULE(s->convergence_steps > 0 && !found && isnan(convergence_threshold(s)),
         "convergence_threshold %s: the paper has none for %s", said, s->control);
    RULE(s->stop_at_convergence && s->convergence_steps == 0, "stop_at_convergence needs convergence_steps");
}

static void check_train(const dt_settings *s, dt_error *err)
{
    RULE(s->time_dropout > 0 && s->save_model_as == DT_MODEL_DIFFUSERS,
         "time_dropout makes a null time, for which diffusers' format has no place; leave out save_model_as diffusers");
    require(s->train_data, "train_data", "train", err);
    require(s->output_dir, "output_dir", "train", err);
    if (s->method == DT_METHOD_PRETRAIN)
        check_new_model(s, err);
    else
        RULE(!s->pretrained_model[0], "train needs pretrained_model, unless method is pretrain");
    RULE(s->l2_sp > 0 && s->method == DT_METHOD_PRETRAIN,
         "l2_sp pulls to the base's weights; method pretrain has no base");
    check_method(s, err);
    check_adapter(s, err);
    check_averages(s, err);
    check_sampler(s, err);
    check_background(s, err);
    check_diagnosis(s, err);
    if (s->fused_backward_pass) check_fused(s, err);
    RULE(s->vae[0] && !s->cache_dir[0], "vae needs cache_dir, where encoded images are kept");
    RULE(settings_tell_control(s) && !s->cache_dir[0], "control needs cache_dir, where control maps are kept");
    RULE(settings_tell_control(s) && s->adapter != DT_ADAPTER_NONE,
         "a ControlNet trains as a whole: leave out adapter");
    RULE(s->controlnet_model[0] && s->l2_sp > 0, "l2_sp pulls to pretrained_model; leave out controlnet_model");
    RULE(s->text_encoder[0] && !s->cache_dir[0], "text_encoder needs cache_dir, where encoded prompts are kept");
    RULE(!s->default_prompt[0] || !text_is_printable(s->default_prompt), "default_prompt: a line of UTF-8 expected");
    check_annotator(s, err);
    check_convergence(s, err);
    check_warmup(s, err);
    if (s->eval_steps == 0) return;
    RULE(!s->validation_data[0], "eval_steps needs validation_data to compare with");
    RULE(s->feature == DT_FEATURE_BASE && s->method == DT_METHOD_PRETRAIN,
         "eval_steps with method pretrain needs feature squeezenet or inception, as there is no base model");
    check_feature(s, err);
}

static void check_cache(const dt_settings *s, dt_error *err)
{
    require(s->vae, "vae", "cache", err);
    require(s->train_data, "train_data", "cache", err);
    require(s->cache_dir, "cache_dir", "cache", err);
    RULE(s->resolution == 0, "cache needs resolution");
    check_background(s, err);
}

static void check_diagnose(const dt_settings *s, dt_error *err)
{
    check_warmup(s, err); /* of the training that it writes the settings of */
    require(s->pretrained_model, "pretrained_model", "diagnose", err);
    require(s->train_data, "train_data", "diagnose", err);
    require(s->output_dir, "output_dir", "diagnose", err);
    check_background(s, err);
}

static void check_eval(const dt_settings *s, dt_error *err)
{
    require(s->reference, "reference", "eval", err);
    RULE(!s->candidate[0] && !s->save_statistics[0], "eval needs candidate, or save_statistics");
    RULE(s->trained_on[0] && !s->candidate[0], "trained_on is given, but no candidate that may hold copies of it");
    RULE(s->save_features && !s->save_statistics[0], "save_features is given, but not save_statistics");
    RULE(s->feature == DT_FEATURE_BASE && !s->pretrained_model[0], "feature base needs pretrained_model");
    check_feature(s, err);
    check_background(s, err);
}

/* The model that is drawn from is a tuned one: features of the base need the base beside it. */
static void check_guidance(const dt_settings *s, dt_error *err)
{
    int32_t first, last;
    RULE(s->guidance_condition == DT_GUIDE_BY_SAME && !s->guidance_model[0],
         "guidance_condition same needs guidance_model");
    RULE(s->guidance_model[0] && s->guidance_scale == 1, "guidance_model is given, but guidance_scale 1 asks nobody");
    if (s->guidance_interval[0] && err->status == DT_OK)
        sampler_read_interval(&first, &last, s->guidance_interval, err);
}

static void check_annotate(const dt_settings *s, dt_error *err)
{
    enum { DEMO_SIDE_MIN = 64 };
    RULE(!s->crop && s->resolution == 0, "crop no needs resolution, to which the shorter side is brought");
    RULE(!s->crop && s->resolution < DEMO_SIDE_MIN, "crop no needs a resolution of at least %d", DEMO_SIDE_MIN);
    check_background(s, err);
}

/* What is drawn with a ControlNet. */
static void check_controls(const dt_settings *s, dt_error *err)
{
    RULE((s->control[0] || s->control_data[0]) && !s->controlnet_model[0], "control needs controlnet_model");
    RULE(s->controlnet_model[0] && !s->control_data[0],
         "controlnet_model needs control_data, the pictures that it is told");
    RULE(s->controlnet_model[0] && strcmp(s->control, CONTROL_GIVEN) != 0 && !controls_are_annotated(s),
         "control%s%s: an annotator is expected, or given: control_data holds control pictures",
         s->control[0] ? " " : "", s->control);
    check_annotator(s, err);
}

static void check_sample(const dt_settings *s, dt_error *err)
{
    require(s->pretrained_model, "pretrained_model", "sample", err);
    require(s->output_dir, "output_dir", "sample", err);
    check_sampler(s, err);
    check_length(s, err);
    check_guidance(s, err);
    check_controls(s, err);
    RULE(s->save_statistics[0] && !s->feature_weights[0],
         "save_statistics needs feature_weights: of the features' network, or for feature base the base model");
    RULE(s->save_stack[0] && s->save_images >= 0 && s->save_images < s->num_samples,
         "save_stack needs all images as files: save_images -1");
    RULE(s->save_features && !s->save_statistics[0], "save_features is given, but not save_statistics");
    RULE(s->save_images == 0 && !s->save_statistics[0], "save_images 0 without save_statistics keeps nothing");
}

/* Features of the base are those of tail_model, which is one. */
static void check_chain(const dt_settings *s, dt_error *err)
{
    double shares[DT_CHAIN_POINTS_MAX];
    require(s->pretrained_model, "pretrained_model", "chain", err);
    require(s->tail_model, "tail_model", "chain", err);
    require(s->reference, "reference", "chain", err);
    require(s->output_dir, "output_dir", "chain", err);
    check_sampler(s, err);
    check_length(s, err);
    check_guidance(s, err);
    check_controls(s, err);
    check_feature(s, err);
    check_background(s, err);
    if (err->status == DT_OK) chain_read_tails(shares, s->tails, err);
}

static void check_ideal(const dt_settings *s, dt_error *err)
{
    require(s->train_data, "train_data", "ideal", err);
    require(s->output_dir, "output_dir", "ideal", err);
    RULE(s->resolution == 0 && !s->pretrained_model[0],
         "ideal needs resolution, or a pretrained_model, which has its own");
    RULE(s->vae[0] && !s->cache_dir[0], "vae needs cache_dir, where encoded images are kept");
    check_background(s, err);
}

/* What an experiment fills in itself; each stage's settings are checked by the rules of its own verb. */
static void check_arm(const dt_settings *s, dt_error *err)
{
    require(s->pretrained_model, "pretrained_model", "run", err);
    check_convergence(s, err);
    if (settings_tell_control(s)) {
        RULE(!s->data[0] && !s->train_data[0], "run needs data, or train_data");
        RULE(s->convergence_steps == 0 && !s->reference[0],
             "run with a control needs convergence_steps, or reference: what tells how well it is learned");
    } else {
        RULE(!s->data[0] && !s->train_data[0], "run needs data, or train_data and reference");
        RULE(!s->data[0] && !s->reference[0], "run needs data, or train_data and reference");
    }
    RULE(s->candidate[0] || s->trained_on[0] || s->save_statistics[0] || s->save_stack[0],
         "run chooses candidate, trained_on and save_statistics itself and keeps no save_stack; leave them out");
    RULE(s->ema_length > 0 && !s->ema_power[0], "ema_length needs ema_power: the averages that it is made of");
    RULE(s->method == DT_METHOD_PRETRAIN, "run tunes by both methods; method pretrain is for train");
}

/* What its arms need is checked of each of them. */
static void check_experiment(const dt_settings *s, const char *verb, dt_error *err)
{
    require(s->output_dir, "output_dir", verb, err);
    RULE(s->dry_run, "dry_run is for train; %s has none", verb);
}

static void check_predict(const dt_settings *s, dt_error *err)
{
    require(s->pretrained_model, "pretrained_model", "predict", err);
    require(s->input, "input", "predict", err);
    require(s->output, "output", "predict", err);
    check_length(s, err);
}

/* A caller in C writes the members without settings_set; the rules may rely on the table's ranges. */
static void check_ranges(const dt_settings *s, settings_verb verb, dt_error *err)
{
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        char allowed[DT_TEXT_MAX];
        if (!(key->verbs & verb) || settings_in_range(s, key)) continue;
        settings_allowed(allowed, key);
        RULE(true, "%s must be %s", key->name, allowed);
    }
}

static bool begin_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    check_ranges(s, verb, err);
    check_folders(s, err);
    return err->status == DT_OK;
}

static dt_status end_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    if (err->status != DT_OK || settings_refuse_unused(s, verb, err) != DT_OK) return err->status;
    return settings_check_paths(s, verb, err);
}

dt_status settings_check_arm(const dt_settings *s, dt_error *err)
{
    if (begin_check(s, SETTINGS_RUN, err)) check_arm(s, err);
    return end_check(s, SETTINGS_RUN, err);
}

dt_status settings_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    if (!begin_check(s, verb, err)) return err->status;
    switch (verb) {
    case SETTINGS_BANK:
        require(s->pretrained_model, "pretrained_model", "bank", err);
        RULE(!s->bank[0], "bank needs the setting bank: the folder that it is drawn into");
        check_sampler(s, err);
        RULE(s->control[0] && !controls_are_annotated(s), "control %s: an annotator of what is drawn expected",
             s->control);
        check_annotator(s, err);
        break;
    case SETTINGS_CACHE: check_cache(s, err); break;
    case SETTINGS_TRAIN: check_train(s, err); break;
    case SETTINGS_SAMPLE: check_sample(s, err); break;
    case SETTINGS_EVAL: check_eval(s, err); break;
    case SETTINGS_CHAIN: check_chain(s, err); break;
    case SETTINGS_IDEAL: check_ideal(s, err); break;
    case SETTINGS_DIAGNOSE: check_diagnose(s, err); break;
    case SETTINGS_INSPECT: break;
    case SETTINGS_ANNOTATE: check_annotate(s, err); break;
    case SETTINGS_PREDICT: check_predict(s, err); break;
    case SETTINGS_CONVERT:
        require(s->pretrained_model, "pretrained_model", "convert", err);
        require(s->output, "output", "convert", err);
        check_convert(s, err);
        RULE(s->merge && !s->adapter_weights[0], "merge needs adapter_weights");
        RULE(s->ema_length > 0 && s->adapter_weights[0] && !s->merge,
             "ema_length is about pretrained_model, of which an adapter by itself takes nothing; leave it out");
        check_length(s, err);
        break;
    case SETTINGS_REPORT:
        require(s->runs, "runs", "report", err);
        require(s->output, "output", "report", err);
        break;
    case SETTINGS_RUN:
        check_experiment(s, "run", err);
        if (!s->arms[0]) check_arm(s, err); /* its two differ in their method alone */
        break;
    case SETTINGS_STUDY: check_experiment(s, "study", err); break;
    case SETTINGS_DATA: require(s->output_dir, "output_dir", "data prepare", err); break;
    }
    return end_check(s, verb, err);
}
