/* Opening a training run: everything is read and checked here before anything is written. */
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/settings.h"

static void log_line(void *user, const char *line)
{
    trainer_log(user, "%s", line);
}

static int64_t memory_for_data(void)
{
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
}

static dt_status open_images(trainer *t, dataset *d, const char *path, int64_t resolution, const dataset *train)
{
    dataset_options options = {.resolution = resolution,
                               .background = t->s->background,
                               .strict = t->s->strict,
                               .memory_limit_bytes = memory_for_data(),
                               .threads = t->c->threads,
                               .class_name = train ? train->class_name : NULL,
                               .class_count = train ? train->class_count : 0};
    if (dataset_open(d, path, &options, &t->c->error) != DT_OK) return t->c->error.status;
    trainer_log(t, "%s: %lld images of %lld classes at %lldx%lld, %lld skipped", path, (long long)d->count,
                (long long)d->class_count, (long long)resolution, (long long)resolution,
                (long long)d->report.skip_count);
    for (int64_t i = 0; i < d->report.skip_count; i++)
        trainer_log(t, "  skipped %s: %s", d->report.skip[i].file, d->report.skip[i].reason);
    return DT_OK;
}

static dt_status check_channels(const char *object, int64_t channels, dt_error *err)
{
    if (channels == 3) return DT_OK;
    return error_set(err, DT_ERR_UNSUPPORTED,
                     "%s: the model takes %lld channels; images have 3 (latent models are not supported yet)", object,
                     (long long)channels);
}

/* The resolution of the images is the model's input size: a checkpoint states it, pre-training takes it from the settings. */
static dt_status read_resolution(const trainer *t, int64_t *resolution, dt_error *err)
{
    *resolution = t->s->resolution;
    if (t->s->method == DT_METHOD_PRETRAIN) return check_channels("in_channels", t->s->in_channels, err);
    tensor_file f;
    dit_config k;
    char path[DT_PATH_MAX];
    if (dit_file_path(path, t->s->pretrained_model, err) != DT_OK || dit_file_open(&f, path, err) != DT_OK)
        return err->status;
    if (dit_file_config(&k, &f, err) == DT_OK) {
        if (*resolution && *resolution != k.input_size)
            error_set(err, DT_ERR_SHAPE, "%s: the model's input is %lldx%lld, resolution %lld was asked for", path,
                      (long long)k.input_size, (long long)k.input_size, (long long)*resolution);
        check_channels(path, k.channels, err);
        *resolution = k.input_size;
    }
    tensor_file_close(&f);
    return err->status;
}

static dt_status new_model(trainer *t, int64_t resolution)
{
    const dt_settings *s = t->s;
    dit_config k = {.input_size = resolution,
                    .patch = s->patch_size,
                    .channels = s->in_channels,
                    .hidden = s->hidden_size,
                    .depth = s->depth,
                    .heads = s->num_heads,
                    .class_count = t->train.class_count,
                    .learn_sigma = s->learn_sigma};
    if (strcmp(s->model, "custom") && !dit_named(&k, s->model))
        return error_set(&t->c->error, DT_ERR_ARG, "model %s: custom or one of DiT-{S,B,L,XL}/{2,4,8} expected",
                         s->model);
    if (dit_open(t->c, &t->model, &k) == DT_OK) params_init(&t->model.params, (uint64_t)s->seed);
    return t->c->error.status;
}

static dt_status tuned_model(trainer *t)
{
    char path[DT_PATH_MAX];
    dit_labels labels = {.class_count = t->train.class_count,
                         .class_name = t->train.class_name,
                         .init = t->s->label_init,
                         .seed = (uint64_t)t->s->seed,
                         .user = t,
                         .log = log_line};
    if (dit_file_path(path, t->s->pretrained_model, &t->c->error) != DT_OK) return t->c->error.status;
    return dit_load_for_classes(t->c, &t->model, &t->base, path, &labels);
}

static dt_status open_data(trainer *t)
{
    int64_t resolution;
    if (read_resolution(t, &resolution, &t->c->error) != DT_OK) return t->c->error.status;
    if (open_images(t, &t->train, t->s->train_data, resolution, NULL) != DT_OK) return t->c->error.status;
    if (t->s->validation_data[0]) open_images(t, &t->validation, t->s->validation_data, resolution, &t->train);
    return t->c->error.status;
}

/* Plain fine-tuning reads a bank that is given only to measure on it what is forgotten. */
static dt_status open_bank(trainer *t)
{
    if (!t->s->bank[0]) return DT_OK;
    if (bank_open(&t->bank, t->s->bank, &t->model, t->base.sha256, t->s, &t->c->error) != DT_OK)
        return t->c->error.status;
    trainer_log(t, "bank %s: %lld images", t->s->bank, (long long)t->bank.count);
    shuffled_open(t->c, &t->bank_order, t->bank.count, (uint64_t)t->s->seed, RNG_BANK_ORDER);
    return t->c->error.status;
}

/* The reference is the held-out data. */
static dt_status open_meter(trainer *t)
{
    const dt_settings *s = t->s;
    if (s->eval_steps == 0) return DT_OK;
    if (meter_open(t->c, &t->meter, s, s->pretrained_model) != DT_OK) return t->c->error.status;
    return meter_measure_dataset(t->c, &t->meter, &t->meter.reference, &t->validation, s->sample_batch_size);
}

dt_status trainer_open(trainer *t, ctx *c, const dt_settings *s, const dt_observer *observer)
{
    *t = (trainer){.c = c, .s = s, .observer = observer, .saved_step = -1};
    c->gemm_flags = s->mixed_precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    schedule_full(&t->schedule);
    if (difftuning_open(&t->method, s, &c->error) != DT_OK) return c->error.status;
    trainer_log(t, "%s", t->method.line);
    if (open_data(t) != DT_OK) return c->error.status;
    if ((s->method == DT_METHOD_PRETRAIN ? new_model(t, s->resolution) : tuned_model(t)) != DT_OK)
        return c->error.status;
    t->model.checkpoint_blocks = s->gradient_checkpointing;
    shuffled_open(c, &t->train_order, t->train.count, (uint64_t)s->seed, RNG_DATA_ORDER);
    if (open_bank(t) != DT_OK || open_meter(t) != DT_OK) return c->error.status;
    if (optimizer_open(c, &t->optimizer, &t->model.params, s) != DT_OK) return c->error.status;
    trainer_log(t, "model: %lld parameters, engine %s, %d threads", (long long)params_count(&t->model.params, true),
                c->engine.name, c->threads);
    return c->error.status;
}

void trainer_close(trainer *t)
{
    run_log_close(&t->log);
    meter_close(&t->meter);
    dataset_close(&t->train);
    dataset_close(&t->validation);
    bank_close(&t->bank);
    dit_file_info_free(&t->base);
}
