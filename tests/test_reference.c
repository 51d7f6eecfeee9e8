/* The network, its loss, its training step and its samplers against the official code of DiT and of SiT: vectors/README.md says
 * how the vectors were made. Errors are relative to the largest expected value of a tensor. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "diffusion/flow.h"
#include "diffusion/sampler.h"
#include "container/safetensors.h"
#include "engine/open.h"
#include "model/dit/dit_denoiser.h"
#include "train/batch.h"
#include "train/optimizer.h"

static const char *const models[] = {"dit_patch1", "dit_patch2", "dit_patch4",
                                     "dit_patch8", "sit_patch2", "sit_patch4"};
enum { MODEL_COUNT = sizeof models / sizeof models[0] };

static dt_isa isa; /* of all contexts of the running group */

/* ---- a model with its vectors ---- */

typedef struct fixture {
    ctx c;
    dit m;
    denoiser d; /* the same */
    trainset set;
    tensor_file f;
    double guidance_scale, learning_rate, ema_decay;
} fixture;

static void must(const fixture *x, const char *what)
{
    if (x->c.error.status != DT_OK) fail_msg("%s: %s", what, x->c.error.message);
}

static const tensor_entry *entry(const fixture *x, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const tensor_entry *e = tensor_file_find(&x->f, full);
    if (!e) fail_msg("%s: no tensor %s", x->f.path, full);
    return e;
}

static bool has(const fixture *x, const char *name)
{
    return tensor_file_find(&x->f, name) != NULL;
}

/* A tensor of the file in the step arena. */
static tensor *load(fixture *x, const char *prefix, const char *name)
{
    const tensor_entry *e = entry(x, prefix, name);
    tensor *t = tensor_new(&x->c, &x->c.step, e->dim_count, e->dims);
    if (t) tensor_read_f32(t->data, e, &x->c.error);
    must(x, name);
    return t;
}

static int32_t *load_integers(fixture *x, const char *prefix, const char *name)
{
    const tensor_entry *e = entry(x, prefix, name);
    int64_t *wide = arena_alloc(&x->c.step, (size_t)e->count * sizeof *wide, &x->c.error);
    int32_t *out = arena_alloc(&x->c.step, (size_t)e->count * sizeof *out, &x->c.error);
    if (out) tensor_read_i64(wide, e, &x->c.error);
    must(x, name);
    for (int64_t i = 0; i < e->count; i++) out[i] = (int32_t)wide[i];
    return out;
}

/* What the network was told of the time: steps, or the times of a flow. */
static real *load_times(fixture *x, const char *prefix, const char *name)
{
    if (x->m.config.flow) return load(x, prefix, name)->data;
    const int64_t count = entry(x, prefix, name)->count;
    const int32_t *steps = load_integers(x, prefix, name);
    real *out = arena_alloc(&x->c.step, (size_t)count * sizeof *out, &x->c.error);
    must(x, name);
    for (int64_t i = 0; i < count; i++) out[i] = (real)steps[i];
    return out;
}

static dit_config read_config(fixture *x)
{
    json_t *k = json_loads(tensor_file_metadata(&x->f, "config"), 0, NULL);
    assert_non_null(k);
    const dit_config config = {.input_size = json_integer_value(json_object_get(k, "input_size")),
                               .patch = json_integer_value(json_object_get(k, "patch_size")),
                               .channels = json_integer_value(json_object_get(k, "in_channels")),
                               .hidden = json_integer_value(json_object_get(k, "hidden_size")),
                               .depth = json_integer_value(json_object_get(k, "depth")),
                               .heads = json_integer_value(json_object_get(k, "num_heads")),
                               .class_count = json_integer_value(json_object_get(k, "num_classes")),
                               .learn_sigma = json_is_true(json_object_get(k, "learn_sigma")),
                               .flow = json_is_true(json_object_get(k, "flow"))};
    x->guidance_scale = json_real_value(json_object_get(k, "guidance_scale"));
    x->learning_rate = json_real_value(json_object_get(k, "learning_rate"));
    x->ema_decay = json_real_value(json_object_get(k, "ema_decay"));
    json_decref(k);
    return config;
}

static void open_fixture(fixture *x, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "vectors/%s.safetensors", name);
    ctx_open(&x->c, DT_DEVICE_CPU, 2, isa);
    safetensors_open(&x->f, path, &x->c.error);
    must(x, path);
    const dit_config config = read_config(x);
    x->set = (trainset){0};
    dit_open(&x->c, &x->m, &config);
    dit_denoiser(&x->d, &x->m);
    must(x, path);
    for (int i = 0; i < x->m.params.count; i++) {
        const param *row = &x->m.params.row[i];
        const tensor_entry *e = entry(x, "w.", row->name);
        assert_int_equal(e->dim_count, row->file_dim_count);
        assert_memory_equal(e->dims, row->file_dim, (size_t)e->dim_count * sizeof e->dims[0]);
        if (!row->fixed) tensor_read_f32(row->tensor->data, e, &x->c.error);
    }
    must(x, path);
}

static void close_fixture(fixture *x)
{
    must(x, x->f.path);
    tensor_file_close(&x->f);
    ctx_close(&x->c);
}

/* DT_REFERENCE_ERRORS=1 prints every error that is measured. */
static void check_error(const fixture *x, const char *what, double error, double bound)
{
    if (getenv("DT_REFERENCE_ERRORS")) printf("%.2e %s %s\n", error, x->f.path, what);
    if (!(error <= bound)) fail_msg("%s: %s is off by %.2e, allowed %.0e", x->f.path, what, error, bound);
}

/* The largest distance, over the largest expected value. */
static double error_of(const real *found, const real *expected, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double distance = fabs((double)found[i] - (double)expected[i]);
        if (!isfinite(distance)) return INFINITY;
        worst = fmax(worst, distance);
        largest = fmax(largest, fabs((double)expected[i]));
    }
    return worst / largest;
}

static void check_close(fixture *x, const real *found, const char *prefix, const char *name, double bound)
{
    const tensor *expected = load(x, prefix, name);
    char what[128];
    snprintf(what, sizeof what, "%s%s", prefix, name);
    check_error(x, what, error_of(found, expected->data, tensor_count(expected)), bound);
}

/* ---- forward ---- */

static void positions_are_the_official_ones(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        fixture x;
        open_fixture(&x, models[i]);
        check_close(&x, x.m.pos_embed->data, "w.", "pos_embed", 1e-7);
        close_fixture(&x);
    }
}

static void want_gradients(fixture *x)
{
    trainset_add(&x->c, &x->set, &x->m.params, NULL, 0);
    trainset_want_gradients(&x->c, &x->set, true);
}

static void the_forward_pass_is_the_official_one(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++)
        for (int recording = 0; recording < 2; recording++) {
            fixture x;
            open_fixture(&x, models[i]);
            x.c.recording = recording;
            if (recording) want_gradients(&x);
            const tensor *out = dit_forward(&x.c, &x.m, load(&x, "", "x"), load_times(&x, "", "t"),
                                            &(condition){.label = load_integers(&x, "", "y")});
            must(&x, "forward");
            assert_int_equal(tensor_count(out), entry(&x, "", "out")->count);
            check_close(&x, out->data, "", "out", 1e-5);
            close_fixture(&x);
        }
}

static sampler make_sampler(fixture *x, dt_guidance_channels channels)
{
    sampler s;
    dt_settings settings;
    dt_settings_init(&settings);
    settings.guidance_scale = x->guidance_scale;
    settings.guidance_channels = channels;
    if (x->m.config.flow) settings.sampler = DT_SAMPLER_EULER;
    assert_int_equal(sampler_open(&s, &x->d, &settings, &x->c.error), DT_OK);
    return s;
}

/* The guided answer for one image, seen through a sampler of a single step made so that x' = sqrt(2) x - eps; of a flow that
 * step is Euler's from t = 0, x' = x + v. */
static void guided_answer(fixture *x, real *eps, const real *image, real t, int32_t y, dt_guidance_channels channels)
{
    sampler s = make_sampler(x, channels);
    s.schedule.count = 1;
    s.schedule.original[0] = (int32_t)t;
    s.schedule.abar[0] = 0.5;
    s.schedule.ddim_final_abar = 1;
    const int64_t count = sample_values(s.shape);
    memcpy(eps, image, (size_t)count * sizeof *eps);
    sampler_continue(&x->c, &s, eps, &(condition){.label = &y}, (uint32_t[]){0}, 1);
    must(x, "guided sampling step");
    for (int64_t j = 0; j < count; j++)
        eps[j] = x->m.config.flow ? eps[j] - image[j] : (real)sqrt(2) * image[j] - eps[j];
}

static void check_guidance(fixture *x, const char *name, dt_guidance_channels channels)
{
    const tensor *image = load(x, "", "cfg.x"), *expected = load(x, "", name);
    const real *t = load_times(x, "", "cfg.t");
    const int32_t *y = load_integers(x, "", "cfg.y");
    const int64_t n = image->dim[0], count = tensor_count(image) / n, stride = tensor_count(expected) / n;
    for (int64_t i = 0; i < n; i++) {
        tensor *eps = tensor_new(&x->c, &x->c.step, 1, &count);
        guided_answer(x, eps->data, image->data + i * count, t[i], y[i], channels);
        check_error(x, name, error_of(eps->data, expected->data + i * stride, count), 1e-5);
    }
}

static void guided_answers_are_the_official_ones(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        fixture x;
        open_fixture(&x, models[i]);
        check_guidance(&x, "cfg.all", DT_GUIDE_ALL);
        if (has(&x, "cfg.three")) check_guidance(&x, "cfg.three", DT_GUIDE_THREE);
        close_fixture(&x);
    }
}

/* ---- loss and gradients ---- */

static void fill_batch(fixture *f, batch *b, const schedule *s, const real *x0, const real *noise, const real *t,
                       const int32_t *y)
{
    const size_t bytes = (size_t)tensor_count(b->x0) * sizeof(real), labels = (size_t)b->count * sizeof(int32_t);
    memcpy(b->x0->data, x0, bytes);
    memcpy(b->noise->data, noise, bytes);
    memcpy(b->label, y, labels);
    for (int64_t i = 0; i < b->count; i++) {
        b->t[i] = f->m.config.flow ? flow_level((double)t[i]) : (int32_t)t[i];
        if (f->m.config.flow) b->time[i] = t[i];
        b->weight[i] = 1 / (real)b->count;
    }
    batch_diffuse(&f->c, b, &f->d, s);
}

static void read_batch(fixture *x, batch *b)
{
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    const tensor *x0 = load(x, "", "x0"), *noise = load(x, "", "noise");
    assert_true(batch_new(&x->c, b, &x->d, x0->dim[0]));
    fill_batch(x, b, &s, x0->data, noise->data, load_times(x, "", "t"), load_integers(x, "", "y"));
}

/* Each sample for itself: the bound at t = 437 is a hundred times smaller than at t = 0. */
static void check_terms(fixture *x, const batch *b)
{
    const tensor *mse = load(x, "", "mse"), *vb = has(x, "vb") ? load(x, "", "vb") : NULL;
    for (int64_t k = 0; k < b->count; k++) {
        char what[64];
        snprintf(what, sizeof what, "mse at t %d", b->t[k]);
        check_error(x, what, error_of(&b->mse[k], &mse->data[k], 1), 1e-5);
        snprintf(what, sizeof what, "vb at t %d", b->t[k]);
        if (vb)
            check_error(x, what, error_of(&b->vb[k], &vb->data[k], 1), 1e-5);
        else
            assert_true(b->vb[k] == 0);
    }
}

static void the_loss_terms_are_the_official_ones(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) {
        fixture x;
        batch b;
        open_fixture(&x, models[i]);
        read_batch(&x, &b);
        const tensor *loss = batch_loss(&x.c, &x.d, &b);
        must(&x, "loss");
        check_close(&x, b.xt->data, "", "x_t", 1e-6);
        double mean = 0;
        for (int64_t k = 0; k < b.count; k++) mean += ((double)b.mse[k] + (double)b.vb[k]) / (double)b.count;
        assert_true(fabs((double)loss->data[0] - mean) < 1e-6 * mean);
        check_terms(&x, &b);
        close_fixture(&x);
    }
}

static void check_gradients(const char *name, bool checkpoint_blocks)
{
    fixture x;
    batch b;
    open_fixture(&x, name);
    want_gradients(&x);
    x.c.checkpointing = checkpoint_blocks;
    x.c.recording = true;
    read_batch(&x, &b);
    tensor *loss = batch_loss(&x.c, &x.d, &b);
    must(&x, "loss");
    tensor_grad(&x.c, loss)[0] = 1;
    tape_backward(&x.c, NULL);
    must(&x, "backward");
    for (int i = 0; i < x.m.params.count; i++) {
        const param *row = &x.m.params.row[i];
        if (row->fixed)
            assert_null(row->tensor->grad);
        else
            check_close(&x, row->tensor->grad, "g.", row->name, 1e-4);
    }
    close_fixture(&x);
}

static void every_gradient_is_the_official_one(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) check_gradients(models[i], false);
}

static void gradients_with_checkpointed_blocks_are_the_official_ones(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_COUNT; i++) check_gradients(models[i], true);
}

/* ---- ten steps ---- */

static void take_steps(fixture *x, optimizer *o, real losses[], int64_t step_count)
{
    schedule s;
    schedule_full(&s, NOISE_LINEAR);
    const tensor *x0 = load(x, "train.", "x0"), *noise = load(x, "train.", "noise");
    const real *t = load_times(x, "train.", "t");
    const int32_t *y = load_integers(x, "train.", "y");
    const int64_t n = x0->dim[1], size = tensor_count(x0) / step_count;
    for (int64_t i = 0; i < step_count; i++) {
        const arena_place mark = arena_mark(&x->c.step);
        batch b;
        assert_true(batch_new(&x->c, &b, &x->d, n));
        fill_batch(x, &b, &s, x0->data + i * size, noise->data + i * size, t + i * n, y + i * n);
        optimizer_begin(&x->c, o, x->learning_rate);
        x->c.recording = true;
        tensor *loss = batch_loss(&x->c, &x->d, &b);
        must(x, "loss");
        losses[i] = loss->data[0];
        tensor_grad(&x->c, loss)[0] = 1;
        tape_backward(&x->c, NULL);
        optimizer_end(&x->c, o, x->learning_rate, optimizer_grad_norm(&x->c, o), true);
        arena_release(&x->c.step, mark);
    }
}

static void check_training(const char *name, const char *prefix, double weight_decay)
{
    fixture x;
    optimizer o;
    dt_settings settings;
    open_fixture(&x, name);
    dt_settings_init(&settings);
    settings.adam_weight_decay = weight_decay;
    settings.ema_decay = x.ema_decay;
    settings.max_grad_norm = 0;
    trainset_add(&x.c, &x.set, &x.m.params, NULL, 0);
    optimizer_open(&x.c, &o, &x.set, &settings);
    must(&x, "optimizer");
    real losses[10];
    take_steps(&x, &o, losses, 10);
    check_close(&x, losses, prefix, "losses", 1e-4);
    int compared = 0;
    for (int i = 0; i < x.m.params.count; i++) {
        const param *row = &x.m.params.row[i];
        char weight[128], average[128];
        snprintf(weight, sizeof weight, "%sw.%s", prefix, row->name);
        snprintf(average, sizeof average, "%sema.%s", prefix, row->name);
        if (!has(&x, weight)) continue;
        check_close(&x, row->tensor->data, "", weight, 1e-4);
        check_close(&x, x.set.row[row->tensor->row - 1].average, "", average, 1e-5);
        compared++;
    }
    assert_int_equal(compared, 6);
    close_fixture(&x);
}

static void ten_training_steps_are_the_official_ones(void **state)
{
    (void)state;
    check_training("dit_run", "adamw.", 0);
    check_training("sit_run", "adamw.", 0);
}

static void ten_training_steps_with_weight_decay_are_the_official_ones(void **state)
{
    (void)state;
    check_training("dit_run", "adamw_decay.", 0.01);
}

/* ---- samples ---- */

static void ddim_samples_are_the_official_ones(void **state)
{
    (void)state;
    const char *const names[] = {
        [DT_SPACING_DDIM] = "ddim50", [DT_SPACING_SECTIONS] = "sections50", [DT_SPACING_LEADING] = "leading50"};
    fixture x;
    open_fixture(&x, "dit_run");
    for (int spacing = DT_SPACING_DDIM; spacing <= DT_SPACING_LEADING; spacing++) {
        sampler s = make_sampler(&x, DT_GUIDE_THREE);
        schedule_respaced(&s.schedule, NOISE_LINEAR, (dt_spacing)spacing, 50, &x.c.error);
        tensor *image = load(&x, "sample.", "start");
        const condition k = {.label = load_integers(&x, "sample.", "y")};
        sampler_continue(&x.c, &s, image->data, &k, (uint32_t[]){0, 1}, 2);
        must(&x, names[spacing]);
        check_close(&x, image->data, "sample.", names[spacing], 1e-4);
    }
    close_fixture(&x);
}

static void flow_samples_are_the_official_ones(void **state)
{
    (void)state;
    static const struct {
        dt_sampler kind;
        int64_t steps;
        const char *name;
    } runs[] = {{DT_SAMPLER_EULER, 50, "euler50"}, {DT_SAMPLER_HEUN, 25, "heun25"}};
    fixture x;
    open_fixture(&x, "sit_run");
    for (int i = 0; i < 2; i++) {
        sampler s = make_sampler(&x, DT_GUIDE_THREE);
        s.kind = runs[i].kind;
        s.schedule.count = runs[i].steps;
        tensor *image = load(&x, "sample.", "start");
        const condition k = {.label = load_integers(&x, "sample.", "y")};
        sampler_continue(&x.c, &s, image->data, &k, (uint32_t[]){0, 1}, 2);
        must(&x, runs[i].name);
        check_close(&x, image->data, "sample.", runs[i].name, 1e-4);
    }
    close_fixture(&x);
}

typedef void sampler_step(const fixture *x, const schedule *s, real *image, const real *out, const real *noise,
                          int64_t i);

static void ancestral_step(const fixture *x, const schedule *s, real *image, const real *out, const real *noise,
                           int64_t i)
{
    const int64_t count = x->m.config.channels * x->m.config.input_size * x->m.config.input_size;
    schedule_ancestral_step(image, image, out, out + count, noise, count, s, i);
}

static void ddim_step_eta1(const fixture *x, const schedule *s, real *image, const real *out, const real *noise,
                           int64_t i)
{
    const int64_t count = x->m.config.channels * x->m.config.input_size * x->m.config.input_size;
    schedule_ddim_step(image, image, out, noise, count, s, i, 1);
}

/* Both classes and twice the null class in one pass; guides the first three channels of the conditional half. */
static tensor *guided_output(fixture *x, const tensor *image, const int32_t y[2], int32_t t)
{
    const int64_t count = tensor_count(image);
    tensor *both = tensor_new(&x->c, &x->c.step, 4, (int64_t[]){4, image->dim[1], image->dim[2], image->dim[3]});
    memcpy(both->data, image->data, (size_t)count * sizeof(real));
    memcpy(both->data + count, image->data, (size_t)count * sizeof(real));
    const int32_t null_class = (int32_t)dit_null_class(&x->m);
    tensor *out = dit_forward(&x->c, &x->m, both, (real[]){(real)t, (real)t, (real)t, (real)t},
                              &(condition){.label = (int32_t[]){y[0], y[1], null_class, null_class}});
    must(x, "forward");
    const int64_t stride = tensor_count(out) / 4, guided = 3 * image->dim[2] * image->dim[3];
    for (int64_t j = 0; j < 2 * stride; j++) {
        const real uncond = out->data[j + 2 * stride];
        if (j % stride < guided) out->data[j] = uncond + (real)x->guidance_scale * (out->data[j] - uncond);
    }
    return out;
}

static void check_noisy_samples(dt_spacing spacing, sampler_step *step, const char *name)
{
    fixture x;
    schedule s;
    open_fixture(&x, "dit_run");
    schedule_respaced(&s, NOISE_LINEAR, spacing, 10, &x.c.error);
    must(&x, name);
    tensor *image = load(&x, "sample.", "start");
    const tensor *noise = load(&x, "sample.", "noise");
    const int32_t *y = load_integers(&x, "sample.", "y");
    const int64_t count = tensor_count(image);
    for (int64_t i = 9; i >= 0; i--) {
        const tensor *out = guided_output(&x, image, y, s.original[i]);
        for (int64_t k = 0; k < 2; k++)
            step(&x, &s, image->data + k * count / 2, out->data + k * tensor_count(out) / 4,
                 noise->data + (9 - i) * count + k * count / 2, i);
    }
    check_close(&x, image->data, "sample.", name, 1e-4);
    close_fixture(&x);
}

static void samples_with_given_noise_are_the_official_ones(void **state)
{
    (void)state;
    check_noisy_samples(DT_SPACING_SECTIONS, ancestral_step, "ancestral10");
    check_noisy_samples(DT_SPACING_DDIM, ddim_step_eta1, "ddim10_eta1");
}

/* ---- the base's predictions ---- */

/* Every weight moved as make_distil_vectors.py has it. */
static void move_weights(const fixture *x)
{
    for (int i = 0; i < x->m.params.count; i++) {
        const param *row = &x->m.params.row[i];
        const int64_t n = tensor_count(row->tensor);
        for (int64_t j = 0; !row->fixed && j < n; j++)
            row->tensor->data[j] += (real)(0.02 * sin(0.7 * (double)j + (double)n));
    }
}

/* The tuned network, and beside it the base that teaches it. */
static void open_pair(fixture *tuned, fixture *base, teacher *k)
{
    open_fixture(base, "dit_run");
    open_fixture(tuned, "dit_run");
    move_weights(tuned);
    want_gradients(tuned);
    tensor_file_close(&tuned->f);
    safetensors_open(&tuned->f, "vectors/dit_distil.safetensors", &tuned->c.error);
    must(tuned, "dit_distil");
    *k = (teacher){.model = base->d};
}

/* The four samples of the file, with rows of pure noise behind them where there is room. */
static void read_taught(fixture *x, batch *b, const schedule *s, int64_t noise_count)
{
    const tensor *x0 = load(x, "", "x0"), *noise = load(x, "", "noise");
    const int32_t *t = load_integers(x, "", "t"), *y = load_integers(x, "", "y");
    const int64_t values = sample_values(x->d.shape);
    assert_true(batch_new(&x->c, b, &x->d, 4 + noise_count));
    b->noise_first = 4;
    for (int64_t i = 0; i < b->count; i++) {
        memcpy(b->x0_values + i * values, x0->data + i % 4 * values, (size_t)values * sizeof(real));
        memcpy(b->noise_values + i * values, noise->data + i % 4 * values, (size_t)values * sizeof(real));
        b->t[i] = t[i % 4];
        b->label[i] = y[i % 4];
    }
    batch_diffuse(&x->c, b, &x->d, s);
}

static void check_taught(fixture *x, batch *b, const teacher *k, const char *prefix)
{
    char name[16];
    batch_ask(&x->c, b, k);
    x->c.recording = true;
    tensor *loss = batch_loss(&x->c, &x->d, b);
    must(x, "loss");
    tensor_grad(&x->c, loss)[0] = 1;
    tape_backward(&x->c, NULL);
    must(x, "backward");
    check_close(x, loss->data, prefix, "loss", 1e-5);
    check_close(x, b->distance + b->taught_first, prefix, "distance", 1e-5);
    snprintf(name, sizeof name, "%sg.", prefix);
    int checked = 0;
    for (int i = 0; i < x->m.params.count; i++) {
        const param *row = &x->m.params.row[i];
        char full[128];
        snprintf(full, sizeof full, "%s%s", name, row->name);
        if (!has(x, full)) continue;
        check_close(x, row->tensor->grad, name, row->name, 1e-4);
        checked++;
    }
    assert_int_equal(checked, 7);
}

static void kept_predictions_have_the_loss_and_gradients_of_pytorch(void **state)
{
    (void)state;
    for (int sdft = 0; sdft < 2; sdft++) {
        fixture tuned, base;
        teacher k;
        batch b;
        schedule s;
        schedule_full(&s, NOISE_LINEAR);
        open_pair(&tuned, &base, &k);
        read_taught(&tuned, &b, &s, sdft ? 4 : 0);
        b.target_count = sdft ? 4 : 2;
        b.taught_first = sdft ? 0 : 2;
        for (int64_t i = 0; i < b.count; i++) {
            const double power = pow(1 - s.abar[b.t[i]], i < 4 ? 3 : 50);
            b.weight[i] = 1 / (real)b.target_count;
            b.taught_weight[i] = (real)(sdft ? 0.1 * power / 4 : 0.5);
        }
        check_taught(&tuned, &b, &k, sdft ? "sdft." : "split.");
        close_fixture(&tuned);
        close_fixture(&base);
    }
}

static int use_portable(void **state)
{
    (void)state;
    isa = DT_ISA_PORTABLE;
    return 0;
}

static int use_fastest(void **state)
{
    (void)state;
    isa = DT_ISA_AUTO;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_are_the_official_ones),
        cmocka_unit_test(the_forward_pass_is_the_official_one),
        cmocka_unit_test(guided_answers_are_the_official_ones),
        cmocka_unit_test(the_loss_terms_are_the_official_ones),
        cmocka_unit_test(every_gradient_is_the_official_one),
        cmocka_unit_test(gradients_with_checkpointed_blocks_are_the_official_ones),
        cmocka_unit_test(kept_predictions_have_the_loss_and_gradients_of_pytorch),
        cmocka_unit_test(ten_training_steps_are_the_official_ones),
        cmocka_unit_test(ten_training_steps_with_weight_decay_are_the_official_ones),
        cmocka_unit_test(ddim_samples_are_the_official_ones),
        cmocka_unit_test(flow_samples_are_the_official_ones),
        cmocka_unit_test(samples_with_given_noise_are_the_official_ones),
    };
    const int failed = cmocka_run_group_tests_name("portable", tests, use_portable, NULL);
    return failed + cmocka_run_group_tests_name("fastest", tests, use_fastest, NULL);
}
