/* Opening a training run: everything is read and checked here before anything is written. */
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "settings/settings.h"
#include "run/watch.h"

static void log_line(void *user, const char *line)
{
    trainer_log(user, "%s", line);
}

static int64_t memory_for_data(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
}

static void log_set(const trainer *t, const char *path, const examples *e)
{
    const dataset *d = &e->pictures;
    trainer_log(t, "%s: %lld images of %lld classes at %lldx%lld, %lld skipped", path, (long long)d->count,
                (long long)d->class_count, (long long)d->resolution, (long long)d->resolution,
                (long long)d->report.skip_count);
    for (int64_t i = 0; i < d->report.skip_count; i++)
        trainer_log(t, "  skipped %s: %s", d->report.skip[i].file, d->report.skip[i].reason);
}

/* How pictures become what the model sees. */
static examples_options options_of(trainer *t, watch *w)
{
    *w = (watch){.observer = t->observer, .task = "cache", .started_s = clock_s()};
    return (examples_options){.codec = &t->codec,
                              .cache = t->codec.kind == CODEC_PIXELS ? NULL : &t->cache,
                              .resolution = t->resolution,
                              .background = t->s->background,
                              .strict = t->s->strict,
                              .memory_limit_bytes = memory_for_data(),
                              .watch = watch_data(w)};
}

/* Pre-training: a model of pixels sees what the settings say, a model of latents what the codec makes. */
static dt_status open_codec_of_new(trainer *t)
{
    const dt_settings *s = t->s;
    t->codec = codec_of_pixels(s->in_channels);
    t->resolution = s->resolution;
    if (s->vae[0] && codec_open(t->c, &t->codec, s->vae) != DT_OK) return t->c->error.status;
    if (t->resolution % t->codec.factor)
        error_set(&t->c->error, DT_ERR_ARG, "resolution %lld is not divisible by %lld, the factor of %s",
                  (long long)t->resolution, (long long)t->codec.factor, s->vae);
    return t->c->error.status;
}

/* A checkpoint states its input size; the pictures are larger by the codec's factor. */
static dt_status open_codec_of_tuned(trainer *t)
{
    tensor_file f;
    dit_config k;
    char path[DT_PATH_MAX];
    dt_error *err = &t->c->error;
    if (dit_file_path(path, t->s->pretrained_model, err) != DT_OK || dit_file_open(&f, path, err) != DT_OK)
        return err->status;
    if (dit_file_config(&k, &f, err) == DT_OK &&
        codec_open_for(t->c, &t->codec, t->s->vae, path, k.channels) == DT_OK) {
        t->resolution = k.input_size * t->codec.factor;
        if (t->s->resolution && t->s->resolution != t->resolution)
            error_set(err, DT_ERR_SHAPE, "%s: the model's pictures are %lldx%lld, resolution %lld was asked for", path,
                      (long long)t->resolution, (long long)t->resolution, (long long)t->s->resolution);
    }
    tensor_file_close(&f);
    return err->status;
}

static dt_status open_codec(trainer *t)
{
    bool is_new = t->s->method == DT_METHOD_PRETRAIN;
    if ((is_new ? open_codec_of_new(t) : open_codec_of_tuned(t)) != DT_OK) return t->c->error.status;
    if (t->codec.kind != CODEC_PIXELS)
        trainer_log(t, "%s: %s, latents of %lld channels at 1/%lld of the pictures' side", t->s->vae, t->codec.name,
                    (long long)t->codec.channels, (long long)t->codec.factor);
    else if (t->codec.channels != 3)
        return error_set(&t->c->error, DT_ERR_UNSUPPORTED, "%s: the model takes %lld channels; pictures have 3",
                         is_new ? "in_channels" : t->s->pretrained_model, (long long)t->codec.channels);
    return t->c->error.status;
}

static dt_status new_model(trainer *t)
{
    const dt_settings *s = t->s;
    dit_config k = {.input_size = t->resolution / t->codec.factor,
                    .patch = s->patch_size,
                    .channels = t->codec.channels,
                    .hidden = s->hidden_size,
                    .depth = s->depth,
                    .heads = s->num_heads,
                    .class_count = t->train.pictures.class_count,
                    .learn_sigma = s->learn_sigma};
    if (strcmp(s->model, "custom") && !dit_named(&k, s->model))
        return error_set(&t->c->error, DT_ERR_ARG, "model %s: custom or one of DiT-{S,B,L,XL}/{2,4,8} expected",
                         s->model);
    if (k.input_size % k.patch)
        return error_set(&t->c->error, DT_ERR_ARG,
                         "the model's input of %lldx%lld is not divisible by its patches of %lld",
                         (long long)k.input_size, (long long)k.input_size, (long long)k.patch);
    if (dit_open(t->c, &t->model, &k) == DT_OK) params_init(t->c, &t->model.params, (uint64_t)s->seed);
    return t->c->error.status;
}

static dt_status tuned_model(trainer *t)
{
    char path[DT_PATH_MAX];
    dit_labels labels = {.class_count = t->train.pictures.class_count,
                         .class_name = t->train.pictures.class_name,
                         .init = t->s->label_init,
                         .seed = (uint64_t)t->s->seed,
                         .user = t,
                         .log = log_line};
    if (dit_file_path(path, t->s->pretrained_model, &t->c->error) != DT_OK) return t->c->error.status;
    if (dit_load_for_classes(t->c, &t->model, &t->base, path, &labels) != DT_OK) return t->c->error.status;
    if (codec_is_another(&t->codec, t->base.metadata))
        trainer_log(t, "%s was trained on latents of another codec than %s", path, t->s->vae);
    return DT_OK;
}

static dt_status open_cache(trainer *t)
{
    watch w;
    const examples_options o = options_of(t, &w);
    if (!o.cache) return DT_OK;
    return latent_cache_open(o.cache, t->s->cache_dir, &t->codec, t->resolution, t->s->background, &o.watch,
                             &t->c->error);
}

static dt_status open_data(trainer *t)
{
    watch w;
    examples_options o = options_of(t, &w);
    const dt_settings *s = t->s;
    if (open_cache(t) != DT_OK || examples_open(t->c, &t->train, s->train_data, &o) != DT_OK) return t->c->error.status;
    log_set(t, s->train_data, &t->train);
    o.class_name = t->train.pictures.class_name;
    o.class_count = t->train.pictures.class_count;
    if (!s->validation_data[0]) return DT_OK;
    if (examples_open(t->c, &t->validation, s->validation_data, &o) == DT_OK)
        log_set(t, s->validation_data, &t->validation);
    return t->c->error.status;
}

/* Plain fine-tuning reads a bank that is given only to measure on it what is forgotten. */
static dt_status open_bank(trainer *t)
{
    watch w;
    const examples_options o = options_of(t, &w);
    if (!t->s->bank[0]) return DT_OK;
    if (bank_open(t->c, &t->bank, t->s->bank, &t->model, t->base.sha256, &o) != DT_OK) return t->c->error.status;
    trainer_log(t, "bank %s: %lld images", t->s->bank, (long long)t->bank.count);
    shuffled_open(t->c, &t->bank_order, t->bank.count, (uint64_t)t->s->seed, RNG_BANK_ORDER);
    return t->c->error.status;
}

/* The reference is the held-out data: as the base sees it, or as pictures. */
static dt_status open_meter(trainer *t)
{
    const dt_settings *s = t->s;
    ctx *c = t->c;
    if (s->eval_steps == 0) return DT_OK;
    if (meter_open(c, &t->meter, s, s->pretrained_model) != DT_OK) return c->error.status;
    if (s->feature == DT_FEATURE_BASE || t->codec.kind == CODEC_PIXELS)
        return meter_measure_examples(c, &t->meter, &t->meter.reference, &t->validation, s->sample_batch_size);
    watch w;
    examples pictures;
    examples_options o = options_of(t, &w);
    const codec pixels = codec_of_pixels(3);
    o.codec = &pixels;
    o.cache = NULL;
    if (examples_open(c, &pictures, s->validation_data, &o) != DT_OK) return c->error.status;
    meter_measure_examples(c, &t->meter, &t->meter.reference, &pictures, s->sample_batch_size);
    examples_close(&pictures);
    return c->error.status;
}

/* Averages of short runs are mostly what the run began with: DiT's decay is made for hundreds of thousands of steps. */
static void warn_of_average(const trainer *t)
{
    double share = optimizer_start_share(t->s), harmless = t->s->method == DT_METHOD_PRETRAIN ? 0.01 : 0.1;
    if (t->s->weights == DT_WEIGHTS_EMA && share > harmless)
        trainer_log(
            t,
            "after %lld steps %.0f %% of the averaged weights will still be the starting ones: --ema-warmup or a "
            "smaller --ema-decay changes that",
            (long long)t->s->max_train_steps, 100 * share);
}

dt_status trainer_open(trainer *t, ctx *c, const dt_settings *s, const dt_observer *observer)
{
    *t = (trainer){.c = c, .s = s, .observer = observer, .saved_step = -1};
    c->gemm_flags = s->mixed_precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    schedule_full(&t->schedule);
    if (difftuning_open(&t->method, s, &c->error) != DT_OK) return c->error.status;
    trainer_log(t, "%s", t->method.line);
    if (open_codec(t) != DT_OK || open_data(t) != DT_OK) return c->error.status;
    if ((s->method == DT_METHOD_PRETRAIN ? new_model(t) : tuned_model(t)) != DT_OK) return c->error.status;
    t->model.checkpoint_blocks = s->gradient_checkpointing;
    shuffled_open(c, &t->train_order, t->train.count, (uint64_t)s->seed, RNG_DATA_ORDER);
    if (open_bank(t) != DT_OK) return c->error.status;
    if (t->codec.kind != CODEC_PIXELS && latent_cache_finish(&t->cache, &c->error) != DT_OK) return c->error.status;
    if (open_meter(t) != DT_OK) return c->error.status;
    if (optimizer_open(c, &t->optimizer, &t->model.params, s) != DT_OK) return c->error.status;
    trainer_log(t, "model: %lld parameters, engine %s, %d threads", (long long)params_count(&t->model.params, true),
                c->engine.name, c->threads);
    warn_of_average(t);
    return c->error.status;
}

void trainer_close(trainer *t)
{
    run_log_close(&t->log);
    meter_close(&t->meter);
    examples_close(&t->train);
    examples_close(&t->validation);
    examples_close(&t->bank);
    latent_cache_close(&t->cache);
    dit_file_info_free(&t->base);
}
