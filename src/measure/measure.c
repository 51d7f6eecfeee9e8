#include "measure/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/grid.h"
#include "model/dit/dit_sampler.h"
#include "run/eval_record.h"

enum { BAND_COUNT = 10, BAND_WIDTH = SCHEDULE_STEPS / BAND_COUNT };

/* ---- validation loss by band ---- */

typedef struct band_sums {
    double loss[BAND_COUNT], mse[BAND_COUNT];
    int64_t count[BAND_COUNT];
} band_sums;

/* Image i of a set with its label: of the validation data, of the training data, or of the bank. Latents are the modes. */
typedef void fetch_image(const trainer *t, int64_t i, float *x0, int32_t *y);

static void fetch_target(const trainer *t, int64_t i, float *x0, int32_t *y)
{
    const examples *e = t->validation.count ? &t->validation : &t->train;
    int64_t index = i * (e->count / t->s->validation_count > 0 ? e->count / t->s->validation_count : 1) % e->count;
    examples_get(x0, e, index, false, NULL);
    *y = e->pictures.label[index];
}

static void fetch_bank(const trainer *t, int64_t i, float *x0, int32_t *y)
{
    examples_get(x0, &t->bank, i % t->bank.count, false, NULL);
    *y = (int32_t)dit_null_class(&t->model);
}

/* Item k is image k / BAND_COUNT at a fixed t inside band k % BAND_COUNT. */
static void fill_validation(const trainer *t, batch *b, int64_t first, fetch_image *fetch)
{
    int64_t size = tensor_count(b->x0) / b->count;
    for (int64_t i = 0; i < b->count; i++) {
        int64_t item = first + i;
        rng_key key = {(uint64_t)t->s->seed, RNG_VALIDATION, 0, (uint32_t)item};
        fetch(t, item / BAND_COUNT, b->x0_values + i * size, &b->y[i]);
        b->t[i] = (int32_t)(item % BAND_COUNT * BAND_WIDTH + (int64_t)rng_below(key, 1 << 20, BAND_WIDTH));
        b->weight[i] = 0;
        rng_normal(b->noise_values + i * size, size, key);
    }
    batch_diffuse(t->c, b, &t->schedule);
}

static void add_batch(band_sums *sums, const batch *b)
{
    for (int64_t i = 0; i < b->count; i++) {
        int band = b->t[i] / BAND_WIDTH;
        sums->mse[band] += (double)b->mse[i];
        sums->loss[band] += (double)b->mse[i] + (double)b->vb[i];
        sums->count[band]++;
    }
}

static void validate(trainer *t, band_sums *sums, fetch_image *fetch)
{
    ctx *c = t->c;
    int64_t items = t->s->validation_count * BAND_COUNT, n = t->s->sample_batch_size;
    for (int64_t first = 0; first < items && !ctx_failed(c); first += n) {
        const arena_place mark = arena_mark(&c->step);
        batch b;
        if (!batch_new(c, &b, &t->model, items - first < n ? items - first : n)) return;
        fill_validation(t, &b, first, fetch);
        batch_loss(c, &t->model, &b);
        if (!ctx_failed(c)) add_batch(sums, &b);
        arena_release(&c->step, mark);
    }
}

static dt_status write_bands(trainer *t, const band_sums *sums, const char *set)
{
    json_t *bands = json_array();
    double total = 0;
    for (int i = 0; i < BAND_COUNT; i++) {
        double count = (double)sums->count[i], loss = sums->loss[i] / count;
        char tag[64];
        total += loss / BAND_COUNT;
        json_array_append_new(bands, json_pack("{s:i, s:i, s:o, s:o}", "t_first", i * BAND_WIDTH, "t_last",
                                               (i + 1) * BAND_WIDTH - 1, "loss", run_log_number(loss), "mse",
                                               run_log_number(sums->mse[i] / count)));
        snprintf(tag, sizeof tag, "validation_%s/t_%03d_%03d", set, i * BAND_WIDTH, (i + 1) * BAND_WIDTH - 1);
        run_log_scalar(&t->log, tag, t->step, loss, &t->c->error);
    }
    trainer_log(t, "step %lld: validation loss on the %s %.4f", (long long)t->step, set, total);
    return run_log_write(&t->log,
                         json_pack("{s:s, s:I, s:s, s:o, s:o}", "kind", "validation", "step", (json_int_t)t->step,
                                   "set", set, "loss", run_log_number(total), "bands", bands),
                         &t->c->error);
}

dt_status measure_validation(trainer *t)
{
    band_sums on_target = {0}, on_bank = {0};
    if (ctx_failed(t->c)) return t->c->error.status;
    validate(t, &on_target, fetch_target);
    if (t->bank.count) validate(t, &on_bank, fetch_bank);
    if (ctx_failed(t->c)) return t->c->error.status;
    write_bands(t, &on_target, "target");
    if (t->bank.count) write_bands(t, &on_bank, "bank");
    return t->c->error.status;
}

/* ---- samples ---- */

/* Images first..first+n-1 with classes in turn, drawn with the weights that the settings name. */
static dt_status draw(trainer *t, float *x, int64_t first, int64_t n)
{
    sampler p;
    int32_t y[256];
    uint32_t index[256];
    if (dit_sampler_open(&p, &t->model, t->s, &t->c->error) != DT_OK) return t->c->error.status;
    for (int64_t i = 0; i < n; i++) {
        index[i] = (uint32_t)(first + i);
        y[i] = (int32_t)((first + i) % t->model.config.class_count);
    }
    bool averaged = t->s->weights == DT_WEIGHTS_EMA;
    if (averaged) optimizer_swap_average(t->c, &t->optimizer);
    sampler_draw(t->c, &p, x, y, index, n);
    if (averaged) optimizer_swap_average(t->c, &t->optimizer);
    return t->c->error.status;
}

static int64_t batch_at(const trainer *t, int64_t done, int64_t count)
{
    return count - done < t->s->sample_batch_size ? count - done : t->s->sample_batch_size;
}

/* The pictures of n latents, or of n images of a model of pixels. */
static dt_status to_pictures(trainer *t, float *pictures, const float *x, int64_t n)
{
    return codec_decode(t->c, &t->codec, pictures, x, n, t->model.config.input_size, t->model.config.input_size);
}

static int64_t input_values(const trainer *t)
{
    const dit_config *k = &t->model.config;
    return k->channels * k->input_size * k->input_size;
}

static int64_t picture_size(const trainer *t)
{
    return t->model.config.input_size * t->codec.factor;
}

static int64_t picture_values(const trainer *t)
{
    return codec_picture_channels(&t->codec) * picture_size(t) * picture_size(t);
}

static dt_status save_grid(trainer *t, const float *x, int64_t count)
{
    const grid_pictures pictures = {.x = x,
                                    .count = count,
                                    .channels = codec_picture_channels(&t->codec),
                                    .size = picture_size(t),
                                    .class_list_count = t->model.config.class_count,
                                    .class_name = t->train.pictures.class_name,
                                    .class_name_count = t->train.pictures.class_count};
    dt_error *err = &t->c->error;
    char name[64], path[DT_PATH_MAX];
    image grid = {0};
    bool labelled = true;
    uint8_t *png = NULL;
    size_t size = 0;
    snprintf(name, sizeof name, "samples/step_%08lld.png", (long long)t->step);
    file_join(path, t->s->output_dir, name);
    image_text text = {"difftune", t->method.line};
    if (grid_draw(&grid, &labelled, &pictures, err) == DT_OK &&
        image_encode_png(&png, &size, grid.rgb, grid.width, grid.height, &text, 1, err) == DT_OK &&
        file_write_atomic(path, png, size, err) == DT_OK)
        run_log_image(&t->log, "samples", t->step, png, size, grid.width, grid.height, err);
    if (!labelled)
        trainer_log(t, "step %lld: the sample grid has no class names: fontconfig found no font", (long long)t->step);
    free(png);
    image_close(&grid);
    return err->status;
}

dt_status measure_grid(trainer *t)
{
    ctx *c = t->c;
    if (ctx_failed(c)) return c->error.status;
    int64_t count = t->s->num_samples, size = input_values(t);
    const arena_place mark = arena_mark(&c->step);
    float *x = arena_alloc(&c->step, (size_t)(t->s->sample_batch_size * size) * sizeof *x, &c->error);
    float *pictures = arena_alloc(&c->step, (size_t)(count * picture_values(t)) * sizeof *pictures, &c->error);
    for (int64_t done = 0; done < count && !ctx_failed(c); done += batch_at(t, done, count)) {
        int64_t n = batch_at(t, done, count);
        if (draw(t, x, done, n) == DT_OK) to_pictures(t, pictures + done * picture_values(t), x, n);
    }
    if (!ctx_failed(c)) save_grid(t, pictures, count);
    arena_release(&c->step, mark);
    return c->error.status;
}

/* ---- distance ---- */

static dt_status write_distance(trainer *t, const dt_eval_result *r)
{
    dt_error *err = &t->c->error;
    trainer_log(t, "step %lld: %s %.4f, kernel distance %.5f +- %.5f (%lld samples, %lld reference images)",
                (long long)t->step, r->measure, r->frechet_distance, r->kernel_distance, r->kernel_distance_std,
                (long long)r->candidate_count, (long long)r->reference_count);
    run_log_scalar(&t->log, r->measure, t->step, r->frechet_distance, err);
    return run_log_write(&t->log, eval_record(r, t->step), err);
}

/* Adds samples first..first+n-1 to the statistics: latents as they are where the features are of latents, else pictures. */
static void add_drawn(trainer *t, statistics *drawn, int64_t first, int64_t n)
{
    ctx *c = t->c;
    const dit_config *k = &t->model.config;
    bool of_latents = t->s->feature == DT_FEATURE_BASE && t->codec.kind != CODEC_PIXELS;
    const arena_place mark = arena_mark(&c->step);
    float *x = arena_alloc(&c->step, (size_t)(n * input_values(t)) * sizeof *x, &c->error);
    float *pictures = arena_alloc(&c->step, (size_t)(n * picture_values(t)) * sizeof *pictures, &c->error);
    if (ctx_failed(c) || draw(t, x, first, n) != DT_OK) return;
    if (of_latents) {
        meter_add(c, &t->meter, drawn, x, k->channels, k->input_size, first, n);
    } else if (to_pictures(t, pictures, x, n) == DT_OK) {
        image_as_shown(pictures, n * picture_values(t));
        meter_add(c, &t->meter, drawn, pictures, codec_picture_channels(&t->codec), picture_size(t), first, n);
    }
    arena_release(&c->step, mark);
}

dt_status measure_distance(trainer *t)
{
    ctx *c = t->c;
    int64_t count = t->s->eval_count;
    statistics drawn;
    if (ctx_failed(c) || meter_statistics(c, &t->meter, &drawn, true) != DT_OK) return c->error.status;
    for (int64_t done = 0; done < count && !ctx_failed(c); done += batch_at(t, done, count))
        add_drawn(t, &drawn, done, batch_at(t, done, count));
    dt_eval_result result;
    if (!ctx_failed(c) && statistics_finish(&drawn, &c->error) == DT_OK &&
        meter_compare(c, &t->meter, &result, &t->meter.reference, &drawn, (uint64_t)t->s->seed) == DT_OK)
        write_distance(t, &result);
    statistics_close(&drawn);
    return c->error.status;
}
