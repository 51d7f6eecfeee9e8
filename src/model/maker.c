#include "model/maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "average/snapshots.h"
#include "base/say.h"
#include "container/tensor_open.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"
#include "file/run_around.h"
#include "model/dit/dit_denoiser.h"
#include "model/file/of_run.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/controlnet_kind.h"
#include "model/sd/unet_denoiser.h"
#include "model/sd/unet_original.h"

model_kinds model_kinds_all = {&unet_kind, &dit_kind, NULL};
model_kinds model_kinds_files = {&controlnet_kind, &unet_kind, &dit_kind, NULL};

model_choice model_choice_of(const dt_settings *s, const dt_observer *observer)
{
    return (model_choice){.weights = s->file_weights,
                          .heads = s->num_heads,
                          .process = s->process,
                          .adapters = s->adapter_weights,
                          .blend = s->blend,
                          .observer = observer};
}

control_choice control_choice_of(const dt_settings *s)
{
    return (control_choice){.wanted = s->controlnet_model[0] || s->control[0],
                            .path = s->controlnet_model,
                            .scale = s->controlnet_conditioning_scale,
                            .stem = s->conditioning_embedding_out_channels,
                            .seed = (uint64_t)s->seed};
}

static void tell(const model_choice *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(const model_choice *k, const char *format, ...)
{
    va_list args;
    if (!k->observer) return;
    va_start(args, format);
    say_list(k->observer->log, k->observer->user, format, args);
    va_end(args);
}

/* ---- where the weights are ---- */

static bool find_file(char out[DT_PATH_MAX], const char *folder, const char *name)
{
    file_join(out, folder, name);
    return file_exists(out);
}

/* A checkpoint of a run (run/checkpoint.c) holds the weights and their averages in two files. */
static bool find_checkpoint(char out[DT_PATH_MAX], const model_choice *k, const char *folder, bool *beside_averages)
{
    if (!find_file(out, folder, MANIFEST_FILE) || !find_file(out, folder, WEIGHTS_FILE)) return false;
    *beside_averages = k->weights == DT_FILE_WEIGHTS_MODEL;
    if (*beside_averages) return true;
    tell(k, "%.700s: the averaged weights are taken (ema.safetensors); file_weights model takes the others", folder);
    return find_file(out, folder, AVERAGES_FILE);
}

/* The index of shards, or the one file of another variant ("diffusion_pytorch_model.fp16.safetensors"). */
static dt_status find_variant(char out[DT_PATH_MAX], const model_choice *k, const char *folder, dt_error *err)
{
    file_names names = {0};
    int found = 0;
    out[0] = '\0';
    if (!file_is_folder(folder) || file_list(&names, folder, err) != DT_OK) return err->status;
    for (size_t i = 0; i < names.count && err->status == DT_OK; i++) {
        const char *name = names.name[i];
        const bool index = strstr(name, ".index.") && file_has_extension(name, "json");
        const bool weights = file_has_extension(name, "safetensors") || file_has_extension(name, "bin");
        const bool shard = strstr(name, "-of-");
        if (strncmp(name, DIFFUSERS_STEM ".", strlen(DIFFUSERS_STEM) + 1) || !(index || (weights && !shard))) continue;
        if (found++)
            error_set(err, DT_ERR_ARG, "%s: several variants of a model, %s among them; name the file", folder, name);
        else
            file_join(out, folder, name);
    }
    file_names_free(&names);
    if (found && err->status == DT_OK) tell(k, "%.700s is taken", out);
    return err->status;
}

static dt_status refuse_folder(const char *model, dt_error *err)
{
    char inside[DT_PATH_MAX], run[DT_PATH_MAX];
    if (find_file(inside, model, "final/" ADAPTER_WEIGHTS))
        return error_set(err, DT_ERR_FORMAT, "%s: a run that trained an adapter; give it as adapter_weights", model);
    if (find_file(inside, model, "checkpoints"))
        return error_set(
            err, DT_ERR_IO,
            "%s: a run without final/model.safetensors, which is not finished; a folder of its checkpoints "
            "(checkpoints/step-N) is a model too",
            model);
    if (file_run_around(run, model))
        return error_set(err, DT_ERR_IO, "%s: lies in the folder of a run and is no model by itself; give %s", model,
                         run);
    return error_set(err, DT_ERR_IO,
                     "%s: a folder without final/model.safetensors and " DIFFUSERS_WEIGHTS
                     ": no finished run and no model of diffusers",
                     model);
}

static dt_status find_weights(char out[DT_PATH_MAX], const model_choice *k, const char *model, bool *beside_averages,
                              dt_error *err)
{
    static const char *const inside[] = {"final/model.safetensors",
                                         DIFFUSERS_WEIGHTS,
                                         DIFFUSERS_PICKLE,
                                         "transformer/" DIFFUSERS_WEIGHTS,
                                         "transformer/" DIFFUSERS_PICKLE,
                                         "unet/" DIFFUSERS_WEIGHTS,
                                         "unet/" DIFFUSERS_PICKLE};
    static const char *const below[] = {"", "transformer", "unet"};
    char folder[DT_PATH_MAX];
    *beside_averages = false;
    snprintf(out, DT_PATH_MAX, "%s", model);
    if (!file_is_folder(model)) return DT_OK;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (find_file(out, model, inside[i])) return DT_OK;
    if (find_checkpoint(out, k, model, beside_averages)) return DT_OK;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        file_join(folder, model, below[i]);
        if (find_variant(out, k, below[i][0] ? folder : model, err) != DT_OK || out[0]) return err->status;
    }
    return refuse_folder(model, err);
}

/* ---- adapters, and what they were made for ---- */

enum { CHAIN_MAX = 8 };

/* Adapters of a base that is a folder of an adapter itself, and so on; the last one's base is a model. */
typedef struct adapter_chain {
    char weights[CHAIN_MAX][DT_PATH_MAX];
    int count;
    char base[DT_PATH_MAX];
    char averages[DT_PATH_MAX]; /* the folder of averages that one of a length is asked of; "": none is */
    bool averages_adapt;        /* they are an adapter's, and outermost; else they are the base itself */
} adapter_chain;

/* The base is named by PEFT's file beside the adapter. */
static dt_status read_base(char base[DT_PATH_MAX], const char *weights, dt_error *err)
{
    char config[DT_PATH_MAX];
    file_beside(config, weights, ADAPTER_CONFIG);
    json_t *object = json_file_read(config, err);
    const char *said = json_text_at(object, "base_model_name_or_path");
    if (said[0] && strlen(said) < DT_PATH_MAX && file_exists(said))
        snprintf(base, DT_PATH_MAX, "%s", said);
    else if (err->status == DT_OK)
        error_set(err, DT_ERR_IO,
                  "%s: an adapter, whose base %.300s is not there; give the base as pretrained_model and this as "
                  "adapter_weights",
                  weights, said[0] ? said : "(not named)");
    json_decref(object);
    return err->status;
}

/* The averages that a run kept; of an adapter PEFT's file stands beside them. */
static dt_status find_averages(adapter_chain *a, const char *model, dt_error *err)
{
    char config[DT_PATH_MAX];
    if (!find_file(a->averages, model, SNAPSHOTS_FOLDER))
        return error_set(err, DT_ERR_ARG,
                         "%s: ema_length needs the folder of a run that kept averages in " SNAPSHOTS_FOLDER
                         "/ (train with ema_power)",
                         model);
    a->averages_adapt = find_file(config, a->averages, ADAPTER_CONFIG);
    return a->averages_adapt ? read_base(a->base, config, err) : DT_OK;
}

/* The choice between averages and what they are averages of is about what was given, not about what it was made from. */
static dt_file_weights weights_of_next(const adapter_chain *a, const model_choice *k)
{
    const bool chosen = a->count > 0 && strcmp(file_base_name(a->weights[0]), ADAPTER_WEIGHTS) != 0;
    return chosen ? DT_FILE_WEIGHTS_AUTO : k->weights;
}

static dt_status follow_adapters(adapter_chain *a, const char *model, const model_choice *k, dt_error *err)
{
    char whole[DT_PATH_MAX];
    *a = (adapter_chain){0};
    snprintf(a->base, sizeof a->base, "%s", model);
    if (k->length > 0 && find_averages(a, model, err) != DT_OK) return err->status;
    if (a->averages[0] && !a->averages_adapt) return DT_OK;
    while (file_is_folder(a->base) && !find_file(whole, a->base, "final/model.safetensors")) {
        if (a->count == CHAIN_MAX)
            return error_set(err, DT_ERR_FORMAT, "%s: an adapter of an adapter, and so on more than %d times", model,
                             CHAIN_MAX);
        if (!adapter_path(a->weights[a->count], a->base, weights_of_next(a, k))) break;
        if (read_base(a->base, a->weights[a->count++], err) != DT_OK) break;
    }
    return err->status;
}

static dt_status open_average(tensor_file *f, const adapter_chain *a, const model_choice *k, dt_error *err)
{
    snapshots_used used;
    if (snapshots_open(f, &used, a->averages, k->length, err) == DT_OK)
        tell(k, "%.600s: length %g after %lld updates, mixed of %d of %d files; its profile is off by %.2g %%",
             a->averages, k->length, (long long)used.updates, used.count, used.kept, 100 * used.off);
    return err->status;
}

/* Those of the chain, the innermost first, then those of the choice. */
static dt_status open_adapters(adapter_files *j, const adapter_chain *a, const model_choice *k, dt_error *err)
{
    tensor_file average;
    if (adapter_files_open(j, k->weights, err) != DT_OK) return err->status;
    for (int i = a->count; i-- > 0 && err->status == DT_OK;) adapter_files_add(j, a->weights[i], 1, err);
    if (err->status == DT_OK && a->averages_adapt && open_average(&average, a, k, err) == DT_OK)
        adapter_files_take(j, &average, 1, err);
    return err->status == DT_OK && k->adapters ? adapter_files_add_list(j, k->adapters, err) : err->status;
}

dt_status model_path(char out[DT_PATH_MAX], const char *model, dt_error *err)
{
    bool beside_averages;
    adapter_chain chain;
    const model_choice none = {0};
    if (follow_adapters(&chain, model, &none, err) != DT_OK) return err->status;
    return find_weights(out, &none, chain.base, &beside_averages, err);
}

/* ---- which of a file's tensors ---- */

static bool is_network(const tensor_file *f, model_kinds kinds)
{
    for (int i = 0; kinds[i]; i++)
        if (kinds[i]->fits(f)) return true;
    return false;
}

static bool has_prefix(const tensor_file *f, const char *const prefix[])
{
    for (int i = 0; prefix[i]; i++)
        for (size_t k = 0; k < f->count; k++)
            if (!strncmp(f->entries[k].name, prefix[i], strlen(prefix[i]))) return true;
    return false;
}

static bool enter_one(tensor_file *f, const char *const prefix[])
{
    for (int i = 0; prefix[i]; i++)
        if (tensor_file_enter(f, prefix[i])) return true;
    return false;
}

/* The averages of a checkpoint lie in a file of their own. */
static bool is_ema_file(const char *path)
{
    return !strcmp(file_base_name(path), AVERAGES_FILE);
}

static void take_trained(model_file *f, const model_choice *k, bool trained)
{
    f->beside_averages = trained;
    tell(k, "%.700s: the %s weights are taken, of averaged ones and those they are averages of (file_weights)", f->path,
         trained ? "trained" : "averaged");
}

/* Goes down to the network: into a checkpoint of a whole pipeline, whose weights are taken unless averages are asked for;
 * past what trainers put around it (Lightning, Accelerate, ema-pytorch, the reference code's {model, ema, opt, args}),
 * DistributedDataParallel and torch.compile. */
static dt_status enter_network(model_file *f, const model_choice *k, model_kinds kinds, dt_error *err)
{
    static const char *const averages[] = {"ema.",    "ema_model.",  "model_ema.",      "ema_state_dict.",
                                           "shadow.", "online_ema.", "averaged_model.", NULL};
    static const char *const weights[] = {"model.",    "online_model.", "net.", "network.",
                                          "denoiser.", "transformer.",  NULL};
    static const char *const wrappers[] = {"state_dict.", "model_state_dict.", "module.",
                                           "_orig_mod.",  "params.",           NULL};
    enum { DEEPEST = 12 };
    bool both = false, averaged = f->beside_averages || is_ema_file(f->path);
    for (int i = 0; kinds[i] && !both; i++)
        if (kinds[i]->enter && kinds[i]->enter(&f->tensors, k->weights, &both, err) != DT_OK) return err->status;
    if (both) {
        averaged = true;
        take_trained(f, k, k->weights != DT_FILE_WEIGHTS_EMA);
    }
    for (int depth = 0; depth < DEEPEST && !is_network(&f->tensors, kinds); depth++) {
        const bool has_averages = has_prefix(&f->tensors, averages),
                   has_weights = has_prefix(&f->tensors, weights) ||
                                 has_prefix(&f->tensors, (const char *const[]){"model_state_dict.", NULL});
        averaged = averaged || has_averages;
        if (has_averages && has_weights) take_trained(f, k, k->weights == DT_FILE_WEIGHTS_MODEL);
        if (has_averages && !f->beside_averages && enter_one(&f->tensors, averages)) continue;
        if (!enter_one(&f->tensors, weights) && !enter_one(&f->tensors, wrappers)) break;
    }
    if (k->weights == DT_FILE_WEIGHTS_EMA && !averaged)
        error_set(err, DT_ERR_ARG, "%s: file_weights ema, but the file does not tell averaged weights from others",
                  f->path);
    return err->status;
}

/* Said before the last kind says that the file is none of its own. */
static dt_status refuse_parts(tensor_file *f, model_kinds kinds, dt_error *err)
{
    if (is_network(f, kinds)) return err->status;
    if (adapter_kind_of_file(f))
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: an adapter, no model by itself: give it as adapter_weights, and the model that it was "
                         "made for as pretrained_model",
                         f->path);
    tensor_file_enter(f, CONTROL_ORIGINAL_PREFIX);
    if (controlnet_file_fits(f))
        error_set(err, DT_ERR_UNSUPPORTED,
                  "%s: a ControlNet, no model by itself: give it as controlnet_model, and the model that it tells as "
                  "pretrained_model",
                  f->path);
    return err->status;
}

static const model_kind *kind_of(const tensor_file *f, model_kinds kinds)
{
    int i = 0;
    while (kinds[i + 1] && !kinds[i]->fits(f)) i++;
    return kinds[i];
}

/* ---- heads, which no shape shows ---- */

static dt_status check_heads(const model_file *f, const model_choice *k, dt_error *err)
{
    const char *said = tensor_file_metadata(&f->tensors, MODEL_HEADS);
    if (!k->heads || !said || strtoll(said, NULL, 10) == k->heads) return err->status;
    return error_set(err, DT_ERR_ARG, "%s: states %.20s heads, num_heads %lld was asked for; leave out num_heads",
                     f->path, said, (long long)k->heads);
}

/* What the settings say of a file that does not say it itself. */
static dt_status add_heads(model_file *f, const model_choice *k, dt_error *err)
{
    char number[24];
    if (!k->heads || check_heads(f, k, err) != DT_OK || tensor_file_metadata(&f->tensors, MODEL_HEADS))
        return err->status;
    f->added_heads = k->heads;
    snprintf(number, sizeof number, "%lld", (long long)k->heads);
    if (!f->tensors.metadata) f->tensors.metadata = json_object();
    if (json_object_set_new(f->tensors.metadata, MODEL_HEADS, json_string(number)) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    return err->status;
}

/* ---- the process, which no shape shows either ---- */

static dt_status settle_process(model_file *f, const char *model, const model_choice *k, dt_error *err)
{
    const bool of_file = model_process_said(&f->tensors);
    if (f->kind->settle)
        f->kind->settle(&f->tensors, model, k->process, err);
    else if (k->process == DT_PROCESS_SIT)
        error_set(err, DT_ERR_ARG, "%s: process sit was asked for, but its network is no SiT", f->path);
    if (err->status != DT_OK) return err->status;
    const char *said = f->kind->settle ? model_process_said(&f->tensors) : NULL;
    f->flow = said && !strcmp(said, MODEL_SIT);
    f->added_flow = f->flow && !of_file;
    return DT_OK;
}

/* ---- what a model is known by ---- */

/* Other weights of a file, other heads or another process than it is taken to have, and adapters (their identity; "": none) make
 * another model than the one its hash stands for. */
static void tell_apart(char sha256[65], const model_file *f, const char *adapters)
{
    char text[2 * 65 + 56];
    file_hash hash;
    if (!sha256[0] || !(f->beside_averages || f->added_heads || f->added_flow || adapters[0])) return;
    const int length = snprintf(text, sizeof text, "%s %s %lld%s%s", sha256, f->beside_averages ? "model" : "",
                                (long long)f->added_heads, f->added_flow ? " " MODEL_SIT : "", adapters);
    file_sha256_bytes(&hash, text, (size_t)length);
    memcpy(sha256, hash.hex, sizeof hash.hex);
}

/* ---- a ControlNet beside it ---- */

/* The base that train writes beside one with sd_unlocked (run/run_folder.c). */
#define UNLOCKED_BASE "unet.safetensors"

/* Where its run trained the base's way up too, the base that it is for lies beside it. */
static void tell_other_base(const model_file *f, const model_choice *k, const char *path, const char *said)
{
    char own[DT_PATH_MAX], hint[DT_PATH_MAX + 64] = "";
    file_hash hash;
    dt_error unread = {0};
    file_beside(own, path, UNLOCKED_BASE);
    if (file_exists(own) && file_sha256(&hash, own, &unread) == DT_OK && !strcmp(hash.hex, said))
        snprintf(hint, sizeof hint, "; its own, whose way up trained with it, is %.600s", own);
    tell(k, "%.600s was made for another base (sha256 %.12s..) than %.600s (%.12s..)%s", path, said, f->path,
         f->hash.hex, hint);
}

static dt_status open_control(model_file *f, const model_choice *k, dt_error *err)
{
    char path[DT_PATH_MAX];
    bool averages;
    const char *model = k->control.path ? k->control.path : "";
    if (!k->control.wanted || (f->kind->is_controlled && f->kind->is_controlled(&f->tensors))) return err->status;
    if (f->kind != &unet_kind)
        return error_set(err, DT_ERR_UNSUPPORTED, "%s: no UNet of Stable Diffusion: it is told no control picture",
                         f->path);
    if (model[0] && find_weights(path, k, model, &averages, err) != DT_OK) return err->status;
    if (control_part_open(&f->control, &k->control, model[0] ? path : "", &f->tensors, err) != DT_OK || !model[0])
        return err->status;
    const char *said = control_part_base(&f->control);
    if (!f->hash.hex[0] && said) tensor_file_sha256(&f->hash, &f->tensors);
    if (said && strcmp(said, f->hash.hex) != 0) tell_other_base(f, k, path, said);
    return err->status;
}

/* ---- opening ---- */

/* An adapter may have been trained beside others or on top of them. */
static dt_status check_bases(const model_file *f, dt_error *err)
{
    for (int i = 0; i < f->adapters.count && err->status == DT_OK; i++) {
        const adapter_file *a = &f->adapters.file[i];
        file_hash alone = f->hash, joined = f->hash;
        tell_apart(alone.hex, f, "");
        tell_apart(joined.hex, f, a->before);
        adapter_file_check_base(a, f->path, alone.hex, joined.hex, err);
    }
    return err->status;
}

/* Their base is looked at first: what would not fit was most likely made for another one. */
static dt_status join_adapters(model_file *f, const model_choice *k, dt_error *err)
{
    adapter_files *j = &f->adapters;
    if (adapter_files_know_their_base(j)) {
        tensor_file_sha256(&f->hash, &f->tensors);
        if (check_bases(f, err) != DT_OK) return err->status;
    }
    for (int i = 0; i < j->count; i++)
        tell(k, "%.600s: adapter %s, weight %g", j->file[i].path, adapter_kind_of_file(&j->file[i].tensors),
             j->file[i].weight);
    return adapter_files_merge(j, &f->tensors, f->kind->other_names, err);
}

/* Other weights of the same network, e.g. those that training began with (Wortsman et al. 2022, WiSE-FT). */
static dt_status blend(model_file *f, const model_choice *k, model_kinds kinds, dt_error *err)
{
    char path[DT_PATH_MAX];
    double share = -1;
    model_file other = {0};
    snprintf(path, sizeof path, "%s", k->blend);
    if (adapter_split_weight(&share, path, "blend", err) != DT_OK) return err->status;
    if (!(share >= 0 && share <= 1))
        return error_set(err, DT_ERR_ARG, "blend %s: PATH:SHARE expected, the share from 0 to 1", k->blend);
    const model_choice same = {.process = k->process};
    if (model_file_open_as(&other, path, &same, kinds, err) == DT_OK && other.flow != f->flow)
        error_set(err, DT_ERR_ARG, "blend %s: one of the two models is a SiT, the other is none", k->blend);
    if (err->status == DT_OK && adapter_files_blend(&f->adapters, &f->tensors, &other.tensors, share, err) == DT_OK)
        tell(k, "%.600s: mixed with %g of %.600s", f->path, share, path);
    model_file_close(&other);
    return err->status;
}

static dt_status open_tensors(model_file *f, const adapter_chain *a, const model_choice *k, dt_error *err)
{
    const bool averaged = a->averages[0] && !a->averages_adapt;
    if (!averaged && find_weights(f->path, k, a->base, &f->beside_averages, err) == DT_OK)
        tensor_file_open(&f->tensors, f->path, err);
    if (!averaged) of_run_complete(&f->tensors, err);
    if (averaged && open_average(&f->tensors, a, k, err) == DT_OK)
        snprintf(f->path, sizeof f->path, "%s", f->tensors.path);
    return err->status;
}

dt_status model_file_open_as(model_file *f, const char *model, const model_choice *choice, model_kinds kinds,
                             dt_error *err)
{
    char guess[DT_TEXT_MAX] = "";
    adapter_chain chain;
    *f = (model_file){0};
    if (follow_adapters(&chain, model, choice, err) != DT_OK) return err->status;
    model_choice of_base = *choice;
    of_base.weights = weights_of_next(&chain, choice);
    if (open_tensors(f, &chain, &of_base, err) != DT_OK) return err->status;
    const bool two = control_original_is_beside_unet(&f->tensors);
    if (enter_network(f, &of_base, kinds, err) == DT_OK && refuse_parts(&f->tensors, kinds, err) == DT_OK &&
        add_heads(f, choice, err) == DT_OK) {
        f->kind = kind_of(&f->tensors, kinds);
        if (two && f->kind == &controlnet_kind)
            tell(choice, "%.700s: of its ControlNet and its UNet the ControlNet is taken", f->path);
        if (settle_process(f, chain.base, choice, err) == DT_OK && f->kind->guess) f->kind->guess(&f->tensors, guess);
        if (err->status == DT_OK && f->kind->view(&f->tensors, &f->shape, err) == DT_OK) check_heads(f, choice, err);
    }
    if (err->status == DT_OK && open_adapters(&f->adapters, &chain, choice, err) == DT_OK)
        join_adapters(f, choice, err);
    if (err->status == DT_OK && choice->blend && choice->blend[0]) blend(f, choice, kinds, err);
    if (err->status == DT_OK) open_control(f, choice, err);
    if (err->status != DT_OK)
        model_file_close(f);
    else if (guess[0])
        tell(choice, "%.700s %s", f->path, guess);
    return err->status;
}

dt_status model_file_open(model_file *f, const char *model, model_kinds kinds, dt_error *err)
{
    return model_file_open_as(f, model, &(model_choice){0}, kinds, err);
}

void model_file_close(model_file *f)
{
    tensor_file_close(&f->tensors);
    adapter_files_close(&f->adapters);
    control_part_close(&f->control);
    *f = (model_file){0};
}

dt_status model_file_open_encoder(ctx *c, context_encoder *e, const model_file *f, const dt_settings *s,
                                  const char *const given[])
{
    const char *from = s->text_encoder[0] ? s->text_encoder : s->pretrained_model;
    *e = (context_encoder){0};
    if (f->kind->open_encoder && f->kind->open_encoder(c, e, &f->tensors, from, s->tokenizer) != DT_OK)
        return c->error.status;
    for (; !e->encode && *given; given += 2)
        if (given[0][0])
            error_set(&c->error, DT_ERR_ARG, "%s is for models that are told prompts; %s is none", given[1], f->path);
    return c->error.status;
}

dt_status model_file_load(ctx *c, denoiser *d, model_info *info, const model_file *f, const label_start *labels)
{
    model_info own = {0}, *kept = info ? info : &own;
    const int64_t class_count = f->kind->class_count(&f->tensors);
    const bool known = f->hash.hex[0];
    if (model_info_read(kept, &f->tensors, class_count, info != NULL && !known, &c->error) == DT_OK) {
        if (info && known) memcpy(info->sha256, f->hash.hex, sizeof info->sha256);
        tell_apart(kept->sha256, f, f->adapters.identity);
        if (f->kind->load(c, d, &f->tensors, kept, labels) == DT_OK) adapter_files_join(c, &f->adapters, d);
        if (f->control.choice.wanted && !ctx_failed(c)) control_part_join(c, d, &f->control, kept->sha256);
    }
    model_info_free(&own);
    return c->error.status;
}

dt_status denoiser_load_as(ctx *c, denoiser *d, model_info *info, const char *model, const model_choice *choice,
                           model_kinds kinds)
{
    model_file f;
    if (model_file_open_as(&f, model, choice, kinds, &c->error) != DT_OK) return c->error.status;
    model_file_load(c, d, info, &f, NULL);
    model_file_close(&f);
    return c->error.status;
}

dt_status denoiser_load(ctx *c, denoiser *d, model_info *info, const char *model, model_kinds kinds)
{
    return denoiser_load_as(c, d, info, model, &(model_choice){0}, kinds);
}

static dt_status refuse_name(const char *name, model_kinds kinds, dt_error *err)
{
    char names[DT_TEXT_MAX] = "";
    size_t used = 0;
    for (int i = 0; kinds[i] && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", kinds[i]->names);
    return error_set(err, DT_ERR_ARG, "model %s: %s expected", name, names);
}

dt_status denoiser_new(ctx *c, denoiser *d, const model_size *size, uint64_t seed, model_kinds kinds)
{
    int i = 0;
    while (kinds[i] && !kinds[i]->knows(size->name)) i++;
    if (kinds[i] && size->flow && !kinds[i]->settle)
        return error_set(&c->error, DT_ERR_ARG, "model %s: process sit was asked for, but the network is no SiT",
                         size->name);
    if (kinds[i]) return kinds[i]->make(c, d, size, seed);
    return refuse_name(size->name, kinds, &c->error);
}
