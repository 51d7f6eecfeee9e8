/* Opening a trainer: everything is read and checked here before anything is written. */
#include "train/trainer.h"

#include <fnmatch.h>
#include <string.h>

#include "base/clock.h"
#include "data/bank.h"
#include "data/duplicates.h"
#include "data/watch.h"
#include "diffusion/sampler.h"
#include "file/json_file.h"
#include "file/names.h"
#include "file/path.h"
#include "model/file/of_run.h"
#include "rank/rank.h"

/* What is needed while a trainer is being opened. */
typedef struct opening {
    trainer *t;
    ctx *c;
    const dt_settings *s;
    watch watch;
} opening;

static bool pretrains(const opening *o)
{
    return o->s->method == DT_METHOD_PRETRAIN;
}

static bool has_latents(const trainer *t)
{
    return t->codec.kind != CODEC_PIXELS;
}

/* ---- between pictures and what the model sees ---- */

/* Pre-training: a model of pixels sees what the settings say, a model of latents what the codec makes. */
static dt_status open_codec_of_new(opening *o)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    t->codec = codec_of_pixels(s->in_channels);
    t->resolution = s->resolution;
    if (s->vae[0] && codec_open(o->c, &t->codec, s->vae) != DT_OK) return o->c->error.status;
    return codec_check_resolution(&t->codec, t->resolution, s->vae, &o->c->error);
}

/* A model's file states its input size; the pictures are larger by the codec's factor. */
static dt_status open_codec_of_tuned(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    dt_error *err = &o->c->error;
    model_choice choice = model_choice_of(s, t->observer);
    choice.control = control_choice_of(s);
    if (model_file_open_as(&t->file, s->pretrained_model, &choice, kinds, err) != DT_OK ||
        codec_open_for(o->c, &t->codec, s->vae, t->file.path, t->file.shape.channels) != DT_OK)
        return err->status;
    const adapter_file *beside = adapter_files_unmerged(&t->file.adapters);
    if (beside && s->adapter == DT_ADAPTER_NONE)
        return error_set(err, DT_ERR_ARG,
                         "%s: an adapter of a kind that no whole model can hold: train an adapter on it", beside->path);
    t->resolution = t->file.shape.height * t->codec.factor;
    if (s->resolution && s->resolution != t->resolution)
        error_set(err, DT_ERR_SHAPE, "%s: the model's pictures are %lldx%lld, resolution %lld was asked for",
                  t->file.path, (long long)t->resolution, (long long)t->resolution, (long long)s->resolution);
    return err->status;
}

/* What a run asks for later and a flow has not: before anything is encoded. */
static dt_status check_process(const opening *o)
{
    const dt_settings *s = o->s;
    const bool flow = pretrains(o) ? s->process == DT_PROCESS_SIT : o->t->file.flow;
    const process p = {.noise = flow ? NOISE_STRAIGHT : NOISE_LINEAR};
    if (flow && s->save_model_as == DT_MODEL_DIFFUSERS)
        return error_set(&o->c->error, DT_ERR_UNSUPPORTED, "save_model_as diffusers: diffusers has no SiT");
    return s->sample_steps > 0 || s->eval_steps > 0 ? sampler_check(&p, s, &o->c->error) : DT_OK;
}

static dt_status open_codec(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    if ((pretrains(o) ? open_codec_of_new(o) : open_codec_of_tuned(o, kinds)) != DT_OK || check_process(o) != DT_OK)
        return o->c->error.status;
    if (has_latents(t))
        trainer_log(t, "%s: %s, latents of %lld channels at 1/%lld of the pictures' side", o->s->vae, t->codec.name,
                    (long long)t->codec.channels, (long long)t->codec.factor);
    else if (t->codec.channels != 3)
        return error_set(&o->c->error, DT_ERR_UNSUPPORTED, "%s: the model takes %lld channels; pictures have 3",
                         pretrains(o) ? "in_channels" : o->s->pretrained_model, (long long)t->codec.channels);
    return o->c->error.status;
}

/* ---- data ---- */

/* Of a dry run, where the cache lacks pictures. */
static void log_missing(const trainer *t, const char *path, const examples *e)
{
    const double bytes = (double)(e->stand_in.missing * t->cache.picture_values) * sizeof(float);
    if (e->stand_in.missing)
        trainer_log(t, "%s: %lld pictures would be encoded first, about %.3g s each, %.3g MiB in the cache", path,
                    (long long)e->stand_in.missing, e->stand_in.seconds, bytes / (1 << 20));
}

/* How pictures become what the model sees. */
static examples_options options_of(opening *o)
{
    trainer *t = o->t;
    o->watch = (watch){.observer = t->observer, .task = "cache", .started_s = clock_s()};
    return (examples_options){.codec = &t->codec,
                              .cache = has_latents(t) ? &t->cache : NULL,
                              .rehearsal = o->s->dry_run,
                              .resolution = t->resolution,
                              .background = o->s->background,
                              .strict = o->s->strict,
                              .memory_limit_bytes = examples_memory(),
                              .watch = watch_data(&o->watch)};
}

static dt_status open_cache(opening *o)
{
    const examples_options k = options_of(o);
    if (!k.cache) return DT_OK;
    return (k.rehearsal ? latent_cache_look : latent_cache_open)(k.cache, o->s->cache_dir, k.codec, k.resolution,
                                                                 k.background, &k.watch, &o->c->error);
}

/* Of images that are trained on, the validation loss tells nothing. */
static dt_status tell_shared(trainer *t, const char *path)
{
    int64_t shared;
    if (dataset_count_shared(&shared, &t->train.pictures, &t->validation.pictures, &t->c->error) != DT_OK)
        return t->c->error.status;
    if (shared)
        trainer_log(t, "%s: %lld of its %lld images are among the training images too", path, (long long)shared,
                    (long long)t->validation.count);
    return DT_OK;
}

/* What the data says beside classes; a new network is told none of it. */
static dt_status open_told(opening *o)
{
    trainer *t = o->t;
    const examples_options k = options_of(o);
    if (pretrains(o)) {
        if (o->s->control[0])
            error_set(&o->c->error, DT_ERR_UNSUPPORTED,
                      "control: a network of method pretrain is told no control picture");
        return o->c->error.status;
    }
    return told_open(&t->told, o->c, o->s, &t->file, &k);
}

static dt_status open_sets(opening *o)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    examples_options k = options_of(o);
    k.told = told_options(&t->told);
    if (examples_open(o->c, &t->train, s->train_data, &k) != DT_OK) return o->c->error.status;
    log_missing(t, s->train_data, &t->train);
    k.class_name = t->train.pictures.class_name;
    k.class_count = t->train.pictures.class_count;
    k.held_out = true;
    if (!s->validation_data[0] || examples_open(o->c, &t->validation, s->validation_data, &k) != DT_OK)
        return o->c->error.status;
    log_missing(t, s->validation_data, &t->validation);
    return tell_shared(t, s->validation_data);
}

static dt_status open_data(opening *o)
{
    trainer *t = o->t;
    if (open_cache(o) != DT_OK || open_told(o) != DT_OK || open_sets(o) != DT_OK) return o->c->error.status;
    return pretrains(o) ? DT_OK : told_finish(&t->told, (examples *[]){&t->train, &t->validation}, 2);
}

/* Controls of a bank that was drawn are an annotator's maps; those of the pictures must be the same kind of maps. */
static dt_status check_controls_of_bank(opening *o)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    char path[DT_PATH_MAX], made[DT_PATH_MAX];
    file_join(path, s->bank, MANIFEST_FILE);
    if (!t->told.has_controls || !file_exists(path)) return o->c->error.status;
    json_t *manifest = bank_manifest_read(s->bank, &o->c->error);
    const json_t *drawing = json_object_get(manifest, "drawing");
    annotator_identity(made, json_text_at(drawing, "control"), json_text_at(drawing, "control_settings"),
                       json_text_at(drawing, "control_weights"));
    json_decref(manifest);
    if (!manifest) return o->c->error.status;
    if (!t->told.maker_identity[0])
        trainer_log(t, "bank %s: its controls are maps of %s; those of the pictures are read", s->bank, made);
    else if (strcmp(made, t->told.maker_identity) != 0)
        error_set(&o->c->error, DT_ERR_CONFLICT,
                  "%s: the controls of this bank are maps of %s, those of the pictures of %s (control, "
                  "annotator_weights)",
                  s->bank, made, t->told.maker_identity);
    return o->c->error.status;
}

/* A bank that is not trained on is read only to measure on it what is forgotten. */
static dt_status open_bank(opening *o)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    const examples_options k = options_of(o);
    if (!s->bank[0]) return DT_OK;
    if (bank_open(o->c, &t->bank, s->bank, &t->model, t->base.sha256, &k) != DT_OK ||
        check_controls_of_bank(o) != DT_OK)
        return o->c->error.status;
    trainer_log(t, "bank %s: %lld images", s->bank, (long long)t->bank.count);
    if (s->method == DT_METHOD_DIFF_TUNING && !difftuning_uses_bank(&t->method))
        trainer_log(t, "bank %s: nothing is trained on it; it is only measured on", s->bank);
    log_missing(t, s->bank, &t->bank);
    return o->c->error.status;
}

static dt_status open_teacher(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    const model_choice choice = model_choice_of(o->s, NULL);
    if (!difftuning_distils(&t->method)) return DT_OK;
    if (t->adapter.plan.kind != DT_ADAPTER_NONE) {
        teacher_within(&t->teacher, &t->model, &t->set, &t->adapter.off);
        trainer_log(t, "the frozen base is the network itself with its adapter off");
        return DT_OK;
    }
    if (teacher_open(o->c, &t->teacher, o->s->pretrained_model, &choice, kinds) != DT_OK) return o->c->error.status;
    trainer_log(t, "the frozen base beside it: %lld MiB of weights, the rest is used where it lies in %s",
                (long long)(t->teacher.copied_bytes >> 20), t->teacher.file.path);
    return DT_OK;
}

static dt_status open_retention(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    if (open_bank(o) != DT_OK || open_teacher(o, kinds) != DT_OK) return o->c->error.status;
    const int64_t count = difftuning_uses_bank(&t->method) ? t->bank.count : t->train.count;
    if (t->plan.retained_count) shuffled_open(o->c, &t->retained_order, count, t->plan.seed, RNG_BANK_ORDER);
    return o->c->error.status;
}

/* ---- the model ---- */

static dt_status new_model(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    const dt_settings *s = o->s;
    const int64_t side = t->resolution / t->codec.factor;
    const model_size size = {.name = s->model,
                             .hidden = s->hidden_size,
                             .depth = s->depth,
                             .heads = s->num_heads,
                             .patch = s->patch_size,
                             .learned_variance = s->learn_sigma,
                             .flow = s->process == DT_PROCESS_SIT,
                             .shape = {t->codec.channels, side, side},
                             .class_count = t->train.pictures.class_count,
                             .unet = {.block_out_channels = s->block_out_channels,
                                      .down_block_types = s->down_block_types,
                                      .layers_per_block = s->layers_per_block,
                                      .cross_attention_dim = s->cross_attention_dim,
                                      .norm_num_groups = s->norm_num_groups,
                                      .linear = s->beta_schedule == DT_BETA_LINEAR}};
    return denoiser_new(o->c, &t->model, &size, (uint64_t)s->seed, kinds);
}

static dt_status tuned_model(opening *o)
{
    trainer *t = o->t;
    const label_start labels = {.class_count = t->train.pictures.class_count,
                                .class_name = t->train.pictures.class_name,
                                .init = o->s->label_init,
                                .seed = (uint64_t)o->s->seed,
                                .user = t->observer->user,
                                .log = t->observer->log};
    const bool controlled = t->file.control.choice.wanted;
    /* What is frozen is used where it lies. */
    t->file.tensors.in_place = o->s->adapter != DT_ADAPTER_NONE || (controlled && !o->s->sd_unlocked);
    t->file.control.factor = t->codec.factor;
    if (model_file_load(o->c, &t->model, &t->base, &t->file, &labels) != DT_OK) return o->c->error.status;
    const int64_t classes = t->file.kind->class_count(&t->file.tensors);
    t->relabelled = classes && !label_table_fits(&labels, &t->base, classes); /* what is told prompts has no table */
    if (controlled && t->relabelled)
        return error_set(&o->c->error, DT_ERR_SHAPE,
                         "%s: a ControlNet's base is frozen, and its classes are not those of %s", t->file.path,
                         o->s->train_data);
    if (controlled && !o->s->sd_unlocked) params_narrow(o->c, t->model.base->params);
    if (controlled)
        trainer_log(t, "ControlNet: %s; %s is frozen%s",
                    t->file.control.path[0] ? t->file.control.path : "a new one, a copy of the base's way down",
                    t->file.path, o->s->sd_unlocked ? " but for its way up" : "");
    of_run_tell_others(
        t->base.metadata,
        &(of_run_use){t->file.path, o->s->vae, t->codec.sha256, o->s->text_encoder, t->told.encoder_sha256},
        t->observer);
    return DT_OK;
}

/* A model that has a null time goes on with it. */
static dt_status open_null_time(opening *o)
{
    denoiser *d = &o->t->model;
    const double share = o->s->time_dropout;
    if (!(share > 0)) return DT_OK;
    trainer_log(o->t, "time dropout: %g of the target samples are not told t%s", share,
                d->null_time ? "; the model has a null time already" : "");
    if (d->null_time) return DT_OK;
    if (!d->ops->start_null_time)
        return error_set(&o->c->error, DT_ERR_UNSUPPORTED,
                         "time_dropout: a network of kind %s has no place for a null time", d->ops->kind);
    return d->ops->start_null_time(o->c, d);
}

/* Told nothing is told the empty text, unless the network has a null context of its own. */
static dt_status take_null(opening *o)
{
    trainer *t = o->t;
    const example_table *null = &t->told.null;
    if (!ctx_failed(o->c) && null->row && !t->model.null_context) denoiser_take_null(o->c, &t->model, null->row[0]);
    t->null_context = feed_null_context(o->c, &t->model);
    return o->c->error.status;
}

static dt_status open_model(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    if ((pretrains(o) ? new_model(o, kinds) : tuned_model(o)) != DT_OK) return o->c->error.status;
    if (!pretrains(o) && told_check(&t->told, &t->train, &t->model) != DT_OK) return o->c->error.status;
    if (open_null_time(o) != DT_OK) return o->c->error.status;
    schedule_full(&t->schedule, t->model.process.noise);
    const adapter_plan plan = adapter_plan_of(o->s);
    if (t->model.ops->check_format &&
        t->model.ops->check_format(&t->model, o->s->save_model_as, "save_model_as", &o->c->error) != DT_OK)
        return o->c->error.status;
    if (adapter_open(o->c, &t->adapter, &t->model, &plan, (uint64_t)o->s->seed) != DT_OK) return o->c->error.status;
    return take_null(o);
}

/* ---- the whole ---- */

static dt_status choose_rows(opening *o)
{
    static const train_rule way_up[] = {
        {"*", false}, {"up_blocks.*", true}, {"conv_norm_out.*", true}, {"conv_out.*", true}};
    trainer *t = o->t;
    char text[DT_TEXT_MAX];
    if (t->adapter.plan.kind != DT_ADAPTER_NONE) {
        adapter_describe(text, &t->adapter.plan);
        trainer_log(t, "adapter: %s", text);
    }
    if (trainset_add_tuned(o->c, &t->set, &t->model, &t->adapter, t->plan.time_dropout > 0) == DT_OK &&
        o->s->sd_unlocked)
        trainset_add(o->c, &t->set, t->model.base->params, way_up, (int)(sizeof way_up / sizeof *way_up));
    return o->c->error.status;
}

const tensor_file *trainer_start_file(const trainer *t, const param *row)
{
    const tensor_file *control = &t->file.control.tensors;
    return tensor_file_find(control, row->name) ? control : &t->file.tensors;
}

bool trainer_row_is_of_base(const trainer *t, const train_row *r)
{
    const param *p = r->param;
    const network_sites *sites = t->model.sites;
    const bool of_classes = sites && sites->label_rows && fnmatch(sites->label_rows, p->name, 0) == 0;
    const tensor_entry *e = t->file.path[0] ? tensor_file_find(trainer_start_file(t, p), p->name) : NULL;
    bool same = e && e->dim_count == p->file_dim_count && !(of_classes && t->relabelled);
    for (int i = 0; same && i < p->file_dim_count; i++) same = e->dims[i] == p->file_dim[i];
    return same;
}

/* What weights are pulled to: the base's, where they lie in its file or as copies. They are what trains now. */
static dt_status keep_anchors(opening *o)
{
    trainer *t = o->t;
    int64_t values = 0, copied = 0;
    for (int i = 0; i < t->set.count && !ctx_failed(o->c); i++) {
        train_row *r = &t->set.row[i];
        if (!trainer_row_is_of_base(t, r)) continue;
        const int64_t count = tensor_count(r->tensor);
        values += count;
        copied += trainset_keep_anchor(o->c, r, tensor_file_find(&t->file.tensors, r->param->name)) ? count : 0;
    }
    if (!ctx_failed(o->c) && values == 0)
        return error_set(&o->c->error, DT_ERR_ARG, "l2_sp: none of the weights that train is in the base");
    trainer_log(t, "L2-SP %g on %lld of the %lld values that train, %lld MiB of the base's beside them", o->s->l2_sp,
                (long long)values, (long long)trainset_values(&t->set),
                (long long)(copied * (int64_t)sizeof(real) >> 20));
    return o->c->error.status;
}

static dt_status open_optimizer(opening *o)
{
    trainer *t = o->t;
    if (choose_rows(o) == DT_OK && (o->s->l2_sp == 0 || keep_anchors(o) == DT_OK))
        optimizer_open(o->c, &t->optimizer, &t->set, o->s);
    return o->c->error.status;
}

static step_plan plan_of(const dt_settings *s, const difftuning *method)
{
    return (step_plan){.seed = (uint64_t)s->seed,
                       .batch = s->train_batch_size,
                       .accumulation = s->gradient_accumulation_steps,
                       .retained_count = difftuning_retained_count(method, s->train_batch_size),
                       .noise_count = difftuning_noise_count(method, s->train_batch_size),
                       .flips = s->random_flip,
                       .class_dropout = s->class_dropout_prob,
                       .time_dropout = s->time_dropout};
}

static dt_status open_method(opening *o)
{
    trainer *t = o->t;
    if (difftuning_open(&t->method, o->s, t->model.process.noise, &o->c->error) != DT_OK) return o->c->error.status;
    trainer_log(t, "%s", t->method.line);
    t->plan = plan_of(o->s, &t->method);
    t->share = feed_share(&t->plan, rank_index(o->c->ranks), rank_count(o->c->ranks));
    return DT_OK;
}

/* Averages of short runs are mostly what the run began with: DiT's decay is made for hundreds of thousands of steps. */
static void warn_of_average(const opening *o)
{
    const double share = optimizer_start_share(&o->t->optimizer), harmless = pretrains(o) ? 0.01 : 0.1;
    if (o->s->weights == DT_WEIGHTS_EMA && share > harmless)
        trainer_log(o->t,
                    "after %lld steps %.0f %% of the averaged weights will still be the starting ones: --ema-warmup or "
                    "a smaller --ema-decay changes that",
                    (long long)o->s->max_train_steps, 100 * share);
}

static void fill_for(void *user, batch *b, int64_t round)
{
    feed_fill(user, b, round);
}

static dt_status open_all(opening *o, model_kinds kinds)
{
    trainer *t = o->t;
    ctx *c = o->c;
    if (open_codec(o, kinds) != DT_OK || open_data(o) != DT_OK || open_model(o, kinds) != DT_OK ||
        open_method(o) != DT_OK)
        return c->error.status;
    shuffled_open(c, &t->train_order, t->train.count, t->plan.seed, RNG_DATA_ORDER);
    if (open_retention(o, kinds) != DT_OK) return c->error.status;
    if (has_latents(t) && latent_cache_finish(&t->cache, &c->error) != DT_OK) return c->error.status;
    if (open_optimizer(o) != DT_OK) return c->error.status;
    trainer_log(t, "model: %lld parameters, engine %s, %d threads", (long long)params_count(t->model.params, true),
                c->engine.name, c->threads);
    if (rank_count(c->ranks) > 1)
        trainer_log(t, "ranks: %d, on this machine %d; the numbers beside the weights are shared out", c->ranks->count,
                    c->ranks->local_count);
    if (rank_count(c->ranks) > 1 && c->engine.memory.backing)
        trainer_log(t, "ranks: sums go %s%s",
                    rank_reaches_devices(c->ranks) ? "from device to device" : "by way of the host: ", c->ranks->note);
    trainer_log(t, "training: %lld of them, for which %lld MiB are kept beside the weights",
                (long long)trainset_values(&t->set), (long long)(trainset_bytes(&t->set, !t->optimizer.fused) >> 20));
    warn_of_average(o);
    if (c->engine.memory.backing && feed_rows(t) > 0) ahead_open(&t->ahead, c, &t->model, feed_rows(t), fill_for, t);
    return c->error.status;
}

dt_status trainer_open(trainer *t, ctx *c, const dt_settings *s, const dt_observer *observer, model_kinds kinds)
{
    *t = (trainer){.c = c, .observer = observer};
    opening o = {.t = t, .c = c, .s = s};
    c->gemm_flags = s->mixed_precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    c->checkpointing = s->gradient_checkpointing;
    open_all(&o, kinds);
    return c->error.status;
}

dt_status trainer_check_told(const trainer *t)
{
    const denoiser *d = &t->model;
    const bool context = d->context_tokens && !t->train.context.row;
    if (!context && (!d->control.channels || t->train.control.row)) return t->c->error.status;
    return error_set(&t->c->error, DT_ERR_UNSUPPORTED,
                     "a network of kind %s is told %s, which there is no way to give it", d->ops->kind,
                     context ? "prompts" : "control pictures");
}

void trainer_close(trainer *t)
{
    ahead_close(t->ahead);
    examples_close(&t->train);
    examples_close(&t->validation);
    examples_close(&t->bank);
    teacher_close(&t->teacher);
    latent_cache_close(&t->cache);
    told_close(&t->told);
    model_info_free(&t->base);
    model_file_close(&t->file);
}
