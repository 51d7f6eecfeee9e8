/* Before any training: the frozen base's loss over t on the user's pictures, on its own samples and on its source pictures. */
#include "api/diagnose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/adapter.h"
#include "api/api.h"
#include "api/prompts.h"
#include "base/clock.h"
#include "base/say.h"
#include "data/bank.h"
#include "data/watch.h"
#include "eval/kernel_distance.h"
#include "file/folder.h"
#include "file/lock.h"
#include "file/names.h"
#include "measure/bands.h"
#include "measure/drawing.h"
#include "model/feature/features.h"
#include "model/file/of_run.h"
#include "train/trainer.h"

/* Samples that are drawn where no bank is given, and how: 25 steps of dpm++2m are no worse than 50 of ddim (docs/methods.md). */
enum { DRAWN_MAX = 128, DRAWN_STEPS = 25 };

enum { TELL_EVERY = 32 }; /* pictures */

typedef enum asked_set { TARGET, OWN, SOURCE, SETS } asked_set;

typedef struct diagnosing {
    ctx *c;
    const dt_settings *s;
    watch watch;
    denoiser model;
    model_info info;
    codec codec;
    schedule schedule;
    float *null_context;
    prompts nothing; /* the empty one */
    examples examples[SETS];
    int64_t count[SETS];  /* that are measured */
    int32_t *order[SETS]; /* [count]: which; every beginning of it is a random part of the set */
    real *loss[SETS];     /* [count][GAP_BANDS] */
    int32_t *t[SETS];     /* likewise */
    int64_t pictures;     /* to train on */
    int64_t done, total;  /* samples drawn and measured */
    diagnosis *d;
} diagnosing;

static bool has_bank(const diagnosing *k)
{
    return k->s->bank[0] != '\0';
}

static bool has_source(const diagnosing *k)
{
    return k->s->source_data[0] != '\0';
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void tell_done(diagnosing *k, int64_t more)
{
    k->done += more;
    watch_progress(k->watch.observer, "diagnose", k->done, k->total, clock_s() - k->watch.started_s);
}

/* ---- opening ---- */

/* A network that is told prompts is told the empty one all along, as its null context and as what is drawn. */
static dt_status load_model(diagnosing *k, const model_file *f)
{
    ctx *c = k->c;
    dt_settings s = *k->s;
    s.prompt[0] = s.negative_prompt[0] = '\0';
    if (prompts_open(c, &k->nothing, f, &s, 1, k->watch.observer) != DT_OK ||
        model_file_load(c, &k->model, &k->info, f, NULL) != DT_OK)
        return c->error.status;
    return prompts_join(c, &k->nothing, &k->model);
}

static dt_status open_model(diagnosing *k, model_kinds kinds)
{
    ctx *c = k->c;
    model_file f;
    const dt_settings *s = k->s;
    const model_choice choice = model_choice_of(s, k->watch.observer);
    if (model_file_open_as(&f, s->pretrained_model, &choice, kinds, &c->error) != DT_OK) return c->error.status;
    load_model(k, &f);
    model_file_close(&f);
    if (ctx_failed(c) || codec_open_for(c, &k->codec, s->vae, s->pretrained_model, k->model.shape.channels) != DT_OK)
        return c->error.status;
    if (k->model.control.channels)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: a %s is told control pictures; it cannot be diagnosed",
                         s->pretrained_model, k->model.ops->kind);
    of_run_tell_others(
        k->info.metadata,
        &(of_run_use){s->pretrained_model, s->vae, k->codec.sha256, s->text_encoder, k->nothing.encoder_sha256},
        k->watch.observer);
    schedule_full(&k->schedule, k->model.process.noise);
    k->null_context = feed_null_context(c, &k->model);
    return c->error.status;
}

/* Of a set only the pictures that are measured are read; latents stay in memory. */
static examples_options options_of(diagnosing *k, bool held_out)
{
    const dt_settings *s = k->s;
    return (examples_options){.codec = &k->codec,
                              .resolution = k->model.shape.height * k->codec.factor,
                              .background = s->background,
                              .strict = s->strict,
                              .memory_limit_bytes = examples_memory(),
                              .held_out = held_out,
                              .at_most = s->validation_count,
                              .watch = watch_log(k->watch.observer)};
}

/* How many pictures a set has: of its files as many as could be read of those that were tried. */
static int64_t readable(const dataset *d, int64_t at_most)
{
    const int64_t tried = at_most > 0 ? least(at_most, d->listed) : d->listed;
    return llround((double)d->listed * (double)d->count / (double)tried);
}

static dt_status open_target(diagnosing *k)
{
    const dt_settings *s = k->s;
    const bool held_out = s->validation_data[0] != '\0';
    const examples_options o = options_of(k, held_out);
    examples_options of_train = options_of(k, false);
    examples_size train = {0};
    if (examples_open(k->c, &k->examples[TARGET], held_out ? s->validation_data : s->train_data, &o) != DT_OK)
        return k->c->error.status;
    k->pictures = readable(&k->examples[TARGET].pictures, o.at_most);
    of_train.at_most = 0;
    if (!held_out || examples_measure(k->c, &train, s->train_data, &of_train) != DT_OK) return k->c->error.status;
    k->pictures = train.count;
    say(k->watch.observer->log, k->watch.observer->user,
        "%s: %lld files; none is opened, so that each counts as a picture of the plan", s->train_data,
        (long long)train.count);
    return DT_OK;
}

static dt_status open_sets(diagnosing *k)
{
    ctx *c = k->c;
    const examples_options o = options_of(k, false);
    examples *e = k->examples;
    if (open_target(k) != DT_OK || (has_source(k) && examples_open(c, &e[SOURCE], k->s->source_data, &o) != DT_OK) ||
        (has_bank(k) && bank_open(c, &e[OWN], k->s->bank, &k->model, k->info.sha256, &o) != DT_OK))
        return c->error.status;
    const int64_t wanted = k->s->validation_count, few = least(wanted, DRAWN_MAX);
    if (has_bank(k))
        k->count[OWN] = least(wanted, e[OWN].count);
    else
        k->count[OWN] = has_source(k) ? few : least(few, e[TARGET].count);
    k->count[TARGET] = least(k->count[OWN], e[TARGET].count);
    k->count[SOURCE] = least(k->count[OWN], e[SOURCE].count);
    for (int set = 0; set < SETS; set++) k->total += k->count[set];
    if (!has_bank(k)) k->total += k->count[OWN];
    return c->error.status;
}

/* ---- own samples ---- */

static bool keep_samples(void *user, drawn *b)
{
    diagnosing *k = user;
    const int64_t each = sample_values(k->model.shape);
    memcpy(k->examples[OWN].x + b->first * each, b->x, (size_t)(b->n * each) * sizeof(float));
    tell_done(k, b->n);
    return true;
}

/* On the null branch, as a bank's, with the settings of nobody: the bank that is recommended may be drawn otherwise. */
static dt_status draw_own(diagnosing *k)
{
    ctx *c = k->c;
    examples *e = &k->examples[OWN];
    class_list null = {0};
    drawing d = {.labels = k->model.class_count ? &null : NULL, .batch = k->s->sample_batch_size};
    dt_settings s = *k->s;
    const bool pixels = k->codec.kind == CODEC_PIXELS;
    if (k->nothing.list.count) d.told = &k->nothing.told;
    s.sampler = process_is_flow(&k->model.process) ? DT_SAMPLER_EULER : DT_SAMPLER_DPM_2M;
    s.num_inference_steps = DRAWN_STEPS;
    s.timestep_spacing = DT_SPACING_AUTO;
    s.eta = 0;
    s.guidance_scale = 1;
    s.guidance_interval[0] = '\0';
    s.clip_sample = pixels;
    *e = (examples){.kind = EXAMPLES_VALUES, .count = k->count[OWN], .shape = k->model.shape, .codec = &k->codec};
    e->x = malloc((size_t)(e->count * sample_values(e->shape)) * sizeof *e->x);
    if (!e->x) return error_set(&c->error, DT_ERR_MEMORY, "diagnose: no memory for %lld samples", (long long)e->count);
    if (class_list_one(&null, c, denoiser_null_class(&k->model)) != DT_OK ||
        sampler_open(&d.sampler, &k->model, &s, &c->error) != DT_OK)
        return c->error.status;
    d.sampler.start = RNG_BANK_START;
    d.sampler.step = RNG_BANK_STEP;
    drawing_tell_need(c, &d, e->count, NULL, k->watch.observer, 0);
    return drawing_run(c, &d, 0, e->count, keep_samples, k);
}

/* ---- losses ---- */

static int64_t example_at(const void *user, int64_t i)
{
    return ((const int32_t *)user)[i];
}

typedef struct item_taker {
    diagnosing *k;
    asked_set set;
} item_taker;

static void keep_item(void *user, int64_t item, int32_t t, real mse, real vb)
{
    const item_taker *taker = user;
    diagnosing *k = taker->k;
    (void)vb;
    k->loss[taker->set][item] = mse;
    k->t[taker->set][item] = t;
    if (!(mse > 0) || !isfinite(mse))
        error_set(&k->c->error, DT_ERR_NUMERIC, "%s: its loss at t = %d is %g, a number above 0 expected",
                  k->s->pretrained_model, (int)t, (double)mse);
    if ((item + 1) % (TELL_EVERY * GAP_BANDS) == 0) tell_done(k, TELL_EVERY);
}

static dt_status ask_about(diagnosing *k, asked_set set)
{
    ctx *c = k->c;
    const int64_t n = k->count[set], all = k->examples[set].count;
    if (n == 0) return c->error.status;
    int32_t *order = arena_alloc(&c->model, (size_t)all * sizeof *order, &c->error);
    k->loss[set] = arena_alloc(&c->model, (size_t)(n * GAP_BANDS) * sizeof **k->loss, &c->error);
    k->t[set] = arena_alloc(&c->model, (size_t)(n * GAP_BANDS) * sizeof **k->t, &c->error);
    if (ctx_failed(c)) return c->error.status;
    rng_permutation(order, all, (rng_key){(uint64_t)k->s->seed, RNG_DATA_ORDER, 0, 0});
    k->order[set] = order;
    item_taker taker = {k, set};
    const band_asker asker = {
        c, &k->model, &k->schedule, k->null_context, (uint64_t)k->s->seed, k->s->sample_batch_size};
    const band_items items = {
        .set = &k->examples[set], .examples = n, .bands = GAP_BANDS, .example_at = example_at, .user = order};
    if (bands_ask(&asker, &items, keep_item, &taker) == DT_OK && n % TELL_EVERY) tell_done(k, n % TELL_EVERY);
    return c->error.status;
}

/* ---- what follows from them ---- */

/* Mean losses in psi's bands, of the first n pictures; false where a band has none. */
static bool means_by_psi_bands(double mean[PSI_BANDS], const diagnosing *k, asked_set set, int64_t n)
{
    int64_t count[PSI_BANDS] = {0};
    bool all = true;
    for (int b = 0; b < PSI_BANDS; b++) mean[b] = 0;
    for (int64_t i = 0; i < n * GAP_BANDS; i++) {
        const int b = k->t[set][i] / (SCHEDULE_STEPS / PSI_BANDS);
        mean[b] += (double)k->loss[set][i];
        count[b]++;
    }
    for (int b = 0; b < PSI_BANDS; b++) {
        all = all && count[b] > 0;
        mean[b] /= (double)count[b];
    }
    return all;
}

static void compare(diagnosing *k)
{
    diagnosis *d = k->d;
    const asked_set against = has_source(k) ? SOURCE : OWN;
    const int64_t n = least(k->count[TARGET], k->count[against]);
    double target[PSI_BANDS], other[PSI_BANDS];
    d->has_source = has_source(k);
    gap_measure(&d->of_own, k->loss[TARGET], k->loss[OWN], k->count[TARGET]);
    if (d->has_source) {
        gap_measure(&d->of_source, k->loss[TARGET], k->loss[SOURCE], n);
        gap_measure(&d->own, k->loss[OWN], k->loss[SOURCE], k->count[SOURCE]);
    }
    d->psi_fits = means_by_psi_bands(target, k, TARGET, n) && means_by_psi_bands(other, k, against, n) &&
                  psi_fit(d->psi, target, other);
}

/* rows[count of the set, dim] of the base's features, in scratch. */
static float *features_of(diagnosing *k, const features *f, asked_set set)
{
    ctx *c = k->c;
    const int64_t n = k->count[set], each = sample_values(k->model.shape), most = k->s->sample_batch_size;
    float *rows = arena_alloc(&c->scratch, (size_t)(n * f->dim) * sizeof *rows, &c->error);
    float *x = arena_alloc(&c->scratch, (size_t)(least(most, n) * each) * sizeof *x, &c->error);
    for (int64_t first = 0; first < n && rows && x && ctx_go_on(c); first += most) {
        const int64_t count = least(most, n - first);
        for (int64_t i = 0; i < count; i++)
            examples_get(x + i * each, &k->examples[set], k->order[set][first + i], false, NULL);
        features_rows(c, f, rows + first * f->dim, x, k->model.shape, first, count);
    }
    return rows;
}

static dt_status measure_kernel(diagnosing *k)
{
    ctx *c = k->c;
    features f;
    kernel_distance_result result;
    k->d->kernel = k->d->kernel_std = (double)NAN;
    if (!has_source(k) || k->model.feature_width == 0 || k->count[SOURCE] < 2) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    features_of_base(&f, &k->model, k->info.sha256);
    const float *own = features_of(k, &f, OWN), *source = features_of(k, &f, SOURCE);
    if (!ctx_failed(c) && kernel_distance(&result, c, own, k->count[OWN], source, k->count[SOURCE], f.dim,
                                          (uint64_t)k->s->seed) == DT_OK) {
        k->d->kernel = result.mean;
        k->d->kernel_std = result.std;
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* Joins the adapter to the network, which is not asked again. */
static dt_status count_trained(diagnosing *k)
{
    ctx *c = k->c;
    const dt_settings *s = k->s;
    adapter a;
    trainset rows = {0};
    const network_sites *sites = k->model.sites;
    const adapter_plan plan = adapter_plan_of(s);
    if (adapter_open(c, &a, &k->model, &plan, (uint64_t)s->seed) == DT_OK)
        trainset_add_tuned(c, &rows, &k->model, &a, false);
    k->d->trained = trainset_values(&rows);
    k->d->takes_difffit = s->adapter == DT_ADAPTER_NONE && sites && sites->block_count;
    k->d->pictures = k->pictures;
    k->d->passes = (double)s->max_train_steps * (double)s->train_batch_size * (double)s->gradient_accumulation_steps /
                   (double)k->pictures;
    return c->error.status;
}

/* ---- the whole ---- */

static dt_status measure_all(diagnosing *k)
{
    for (int set = 0; set < SETS; set++)
        if (ask_about(k, (asked_set)set) != DT_OK) return k->c->error.status;
    compare(k);
    return measure_kernel(k) == DT_OK ? count_trained(k) : k->c->error.status;
}

/* An earlier diagnosis in the folder is replaced. */
static dt_status check_folder(const diagnosing *k)
{
    return file_check_own_folder(k->s->output_dir, DIAGNOSIS_FILE, "diagnosis", &k->c->error);
}

static dt_status write_all(const diagnosing *k, const advice *a)
{
    file_lock lock = {0};
    dt_error *err = &k->c->error;
    const char *folder = k->s->output_dir;
    const diagnosis_origin from = {.base_sha256 = k->info.sha256,
                                   .data_sha256 = k->examples[TARGET].sha256,
                                   .drew = !has_bank(k),
                                   .sees_pixels = k->codec.kind == CODEC_PIXELS,
                                   .is_flow = process_is_flow(&k->model.process)};
    if (check_folder(k) != DT_OK || file_make_dirs(folder, err) != DT_OK) return err->status;
    if (file_lock_folder(&lock, folder, err) == DT_OK) diagnosis_write(k->d, a, &from, k->s, err);
    file_unlock(&lock);
    return err->status;
}

dt_status diagnose(ctx *c, diagnosis *d, advice *a, const dt_settings *s, const dt_observer *observer,
                   model_kinds kinds)
{
    diagnosing k = {.c = c, .s = s, .d = d, .watch = {observer, "diagnose", clock_s()}};
    *d = (diagnosis){0};
    *a = (advice){0};
    if (check_folder(&k) == DT_OK && open_model(&k, kinds) == DT_OK && open_sets(&k) == DT_OK &&
        (has_bank(&k) || draw_own(&k) == DT_OK) && measure_all(&k) == DT_OK) {
        *a = advice_of(d);
        for (int i = 0; i < a->lines; i++) say(observer->log, observer->user, "%s", a->line[i]);
        if (write_all(&k, a) == DT_OK)
            say(observer->log, observer->user,
                "wrote %s/train.yaml: difftune train --config %s/train.yaml "
                "--output-dir RUN",
                s->output_dir, s->output_dir);
    }
    for (int set = 0; set < SETS; set++) examples_close(&k.examples[set]);
    prompts_close(&k.nothing);
    model_info_free(&k.info);
    return c->error.status;
}

dt_status dt_diagnose(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    diagnosis d;
    advice a;
    observer = api_observer(observer);
    if (api_enter(c, s, SETTINGS_DIAGNOSE, observer) == DT_OK) diagnose(c, &d, &a, s, observer, model_kinds_all);
    return api_leave(c);
}
