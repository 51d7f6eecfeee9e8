/* The ideal denoiser: against its formula in double, at both ends of t, and as what a sampler draws from. */
#include "context_fixture.h"

#include <math.h>
#include <string.h>

#include "diffusion/flow.h"
#include "diffusion/sampler.h"
#include "model/ideal/ideal.h"

enum { SIDE = 4, VALUES = 3 * SIDE * SIDE, MANY = 5000, CLASSES = 3 };

/* Pictures like pictures: values from -1 to 1 in steps of a byte, neighbours alike. */
typedef struct set {
    real x[MANY][VALUES];
    int32_t label[MANY];
    int64_t count;
} set;

static set pictures;

static void get(const void *user, real *x, int64_t first, int64_t n)
{
    memcpy(x, ((const set *)user)->x[first], (size_t)n * sizeof pictures.x[0]);
}

static void fill(int64_t count, uint64_t seed)
{
    pictures.count = count;
    for (int64_t i = 0; i < count; i++) {
        real shade[3], grain[VALUES];
        rng_normal(shade, 3, (rng_key){seed, RNG_INIT, 0, (uint32_t)i});
        rng_normal(grain, VALUES, (rng_key){seed, RNG_INIT, 1, (uint32_t)i});
        pictures.label[i] = (int32_t)(i % CLASSES);
        for (int j = 0; j < VALUES; j++) {
            const double v = 0.4 * (double)shade[j / (SIDE * SIDE)] + 0.1 * (double)grain[j];
            pictures.x[i][j] = (real)(round(127.5 * fmax(-1, fmin(1, v)) + 127.5) / 127.5 - 1);
        }
    }
}

static const process ddpm = {NOISE_LINEAR, PREDICTS_NOISE, true};
static const process flow = {NOISE_STRAIGHT, PREDICTS_VELOCITY, false};
static const process stable = {NOISE_SCALED_LINEAR, PREDICTS_VELOCITY, false};

static denoiser ideal_of(ctx *c, process p, bool labels)
{
    denoiser d;
    ideal_source from = {.count = pictures.count, .shape = {3, SIDE, SIDE}, .get = get, .user = &pictures};
    if (labels) from.class_count = CLASSES, from.label = pictures.label;
    if (ideal_open(c, &d, &from, p) != DT_OK) fail_msg("%s", c->error.message);
    return d;
}

static noise_level level(const denoiser *d, real t)
{
    if (process_is_flow(&d->process)) return (noise_level){.alpha = (double)t, .sigma = 1 - (double)t};
    schedule s;
    schedule_full(&s, d->process.noise);
    return schedule_level(&s, (int64_t)t);
}

/* The formula as it stands, in double. */
static void by_formula(double mean[VALUES], const real *x, noise_level at, int32_t label)
{
    static double l[MANY];
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < pictures.count; i++) {
        double distance = 0;
        for (int j = 0; j < VALUES; j++) distance += pow((double)x[j] - at.alpha * (double)pictures.x[i][j], 2);
        l[i] = label < 0 || pictures.label[i] == label ? -distance / (2 * at.sigma * at.sigma) : -INFINITY;
        max = fmax(max, l[i]);
    }
    memset(mean, 0, VALUES * sizeof *mean);
    for (int64_t i = 0; i < pictures.count; i++) {
        const double w = exp(l[i] - max);
        sum += w;
        for (int j = 0; j < VALUES; j++) mean[j] += w * (double)pictures.x[i][j];
    }
    for (int j = 0; j < VALUES; j++) mean[j] /= sum;
}

enum { ROWS = 6 };

/* Rows of a set's pictures under noise of that level. */
static void noised(real x[ROWS][VALUES], noise_level at, uint64_t seed)
{
    for (int i = 0; i < ROWS; i++) {
        rng_normal(x[i], VALUES, (rng_key){seed, RNG_NOISE, 0, (uint32_t)i});
        for (int j = 0; j < VALUES; j++)
            x[i][j] = (real)(at.alpha * (double)pictures.x[i * 37 % pictures.count][j] + at.sigma * (double)x[i][j]);
    }
}

/* The largest difference from the formula over all t. */
static double worst(ctx *c, const denoiser *d, const real times[], int count, const int32_t *label)
{
    double most = 0;
    for (int k = 0; k < count; k++) {
        real x[ROWS][VALUES], x0[ROWS][VALUES], t[ROWS];
        for (int i = 0; i < ROWS; i++) t[i] = times[k];
        noised(x, level(d, times[k]), (uint64_t)k);
        if (ideal_posterior(c, d, x0[0], NULL, x[0], t, label, ROWS) != DT_OK) fail_msg("%s", c->error.message);
        for (int i = 0; i < ROWS; i++) {
            double expected[VALUES];
            by_formula(expected, x[i], level(d, times[k]), label ? label[i] : -1);
            for (int j = 0; j < VALUES; j++) most = fmax(most, fabs((double)x0[i][j] - expected[j]));
        }
    }
    return most;
}

static const real steps[] = {0, 1, 3, 10, 30, 60, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999};
enum { STEPS = sizeof steps / sizeof *steps };

static void it_is_the_formula_at_every_t(void **state)
{
    (void)state;
    ctx *c = &context;
    static const real times[] = {0, 0.01F, 0.1F, 0.3F, 0.5F, 0.7F, 0.9F, 0.99F, 0.999F};
    static const int64_t counts[] = {1, 2, 77, MANY}; /* the last in more blocks than one */
    for (int i = 0; i < 4; i++) {
        fill(counts[i], (uint64_t)i);
        const denoiser d = ideal_of(c, ddpm, false), f = ideal_of(c, flow, false);
        assert_true(worst(c, &d, steps, STEPS, NULL) < 2e-5);
        assert_true(worst(c, &f, times, sizeof times / sizeof *times, NULL) < 2e-5);
        arena_clear(&c->model);
    }
}

static void a_label_narrows_the_set(void **state)
{
    (void)state;
    ctx *c = &context;
    const int32_t label[ROWS] = {0, 1, 2, 2, 1, 0};
    fill(500, 4);
    const denoiser d = ideal_of(c, ddpm, true);
    assert_true(worst(c, &d, steps, STEPS, label) < 2e-5);
    real x[ROWS][VALUES], all[ROWS][VALUES], null[ROWS][VALUES], t[ROWS];
    const int32_t none[ROWS] = {CLASSES, CLASSES, CLASSES, CLASSES, CLASSES, CLASSES};
    for (int i = 0; i < ROWS; i++) t[i] = 700;
    noised(x, level(&d, 700), 1);
    assert_int_equal(ideal_posterior(c, &d, all[0], NULL, x[0], t, NULL, ROWS), DT_OK);
    assert_int_equal(ideal_posterior(c, &d, null[0], NULL, x[0], t, none, ROWS), DT_OK);
    assert_memory_equal(all, null, sizeof all);
    arena_clear(&c->model);
}

/* Theorem 1. */
static void its_limits_are_the_nearest_picture_and_the_mean(void **state)
{
    (void)state;
    ctx *c = &context;
    fill(MANY, 5);
    const denoiser d = ideal_of(c, ddpm, false);
    real x[ROWS][VALUES], x0[ROWS][VALUES], t[ROWS] = {0};
    int64_t nearest[ROWS];
    noised(x, level(&d, 0), 7);
    assert_int_equal(ideal_posterior(c, &d, x0[0], nearest, x[0], t, NULL, ROWS), DT_OK);
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(nearest[i], i * 37);
        for (int j = 0; j < VALUES; j++) assert_true(fabs((double)(x0[i][j] - pictures.x[nearest[i]][j])) < 2e-7);
    }
    for (int i = 0; i < ROWS; i++) t[i] = 999;
    noised(x, level(&d, 999), 8);
    assert_int_equal(ideal_posterior(c, &d, x0[0], NULL, x[0], t, NULL, ROWS), DT_OK);
    for (int j = 0; j < VALUES; j++) {
        double mean = 0;
        for (int i = 0; i < MANY; i++) mean += (double)pictures.x[i][j] / MANY;
        assert_true(fabs((double)ideal_mean(&d)[j] - mean) < 1e-6);
        for (int i = 0; i < ROWS; i++) assert_true(fabs((double)x0[i][j] - mean) < 0.05);
    }
    arena_clear(&c->model);
}

/* Pictures that differ by one step of one byte, twice the same picture, and noise that came from outside of the set. */
static void pictures_that_are_nearly_the_same_are_told_apart(void **state)
{
    (void)state;
    ctx *c = &context;
    fill(64, 6);
    for (int i = 1; i < 64; i++) {
        memcpy(pictures.x[i], pictures.x[0], sizeof pictures.x[0]);
        if (i < 48) pictures.x[i][i] = (real)((double)pictures.x[i][i] + (pictures.x[i][i] > 0 ? -1 : 1) / 127.5);
    }
    const denoiser d = ideal_of(c, ddpm, false);
    assert_true(worst(c, &d, steps, STEPS, NULL) < 1e-6);
    real far[VALUES], x0[VALUES];
    for (int j = 0; j < VALUES; j++) far[j] = j % 2 ? 300 : -300;
    assert_int_equal(ideal_posterior(c, &d, x0, NULL, far, &(real){0}, NULL, 1), DT_OK);
    for (int j = 0; j < VALUES; j++) assert_true(isfinite(x0[j]) && fabs((double)x0[j]) <= 1.01);
    arena_clear(&c->model);
}

static void the_bits_do_not_depend_on_batches_and_threads(void **state)
{
    (void)state;
    ctx *c = &context;
    fill(MANY, 9);
    const denoiser d = ideal_of(c, ddpm, false);
    for (int k = 0; k < STEPS; k += 3) {
        real x[ROWS][VALUES], all[ROWS][VALUES], one[VALUES], t[ROWS];
        for (int i = 0; i < ROWS; i++) t[i] = steps[(k + i) % STEPS];
        noised(x, level(&d, steps[k]), 3);
        assert_int_equal(ideal_posterior(c, &d, all[0], NULL, x[0], t, NULL, ROWS), DT_OK);
        for (int i = 0; i < ROWS; i++) {
            c->threads = 1 + i % 3;
            ctx_enter(c);
            assert_int_equal(ideal_posterior(c, &d, one, NULL, x[i], &t[i], NULL, 1), DT_OK);
            assert_memory_equal(one, all[i], sizeof one);
        }
    }
    c->threads = 1;
    ctx_enter(c);
    arena_clear(&c->model);
}

/* ---- as a denoiser ---- */

/* Distance of a picture to the nearest of the set, of one class where it is not negative: the largest difference. */
static double off_from_set(const real *x, int32_t label)
{
    double least = INFINITY;
    for (int64_t i = 0; i < pictures.count; i++) {
        double most = 0;
        if (label >= 0 && pictures.label[i] != label) continue;
        for (int j = 0; j < VALUES; j++) most = fmax(most, fabs((double)(x[j] - pictures.x[i][j])));
        least = fmin(least, most);
    }
    return least;
}

static void check_drawing(ctx *c, process p, dt_sampler kind, bool labels, double bound)
{
    dt_settings s;
    sampler a;
    dt_settings_init(&s);
    s.sampler = kind;
    s.num_inference_steps = 40;
    s.guidance_scale = 1;
    const denoiser d = ideal_of(c, p, labels);
    if (sampler_open(&a, &d, &s, &c->error) != DT_OK) fail_msg("%s", c->error.message);
    real x[ROWS][VALUES];
    const int32_t label[ROWS] = {0, 1, 2, 0, 1, 2};
    const uint32_t index[ROWS] = {0, 1, 2, 3, 4, 5};
    if (sampler_draw(c, &a, x[0], &(condition){.label = labels ? label : NULL}, index, ROWS) != DT_OK)
        fail_msg("%s", c->error.message);
    int different = 0;
    for (int i = 0; i < ROWS; i++) {
        const double off = off_from_set(x[i], labels ? label[i] : -1);
        if (!(off < bound)) fail_msg("sampler %d: %g from the nearest picture", (int)kind, off);
        different += memcmp(x[i], x[0], sizeof x[0]) != 0;
    }
    assert_true(different >= 2);
    arena_clear(&c->model);
}

/* The last step lands on what the denoiser says at the cleanest level: a picture of the set. Heun's last step along a flow asks at the
 * data itself, where nothing tells the noise any more and its mean 0 is the right answer: it ends half a step of noise beside. */
static void what_is_drawn_from_it_are_pictures_of_the_set(void **state)
{
    (void)state;
    ctx *c = &context;
    fill(40, 10);
    for (int kind = DT_SAMPLER_DDIM; kind <= DT_SAMPLER_EULER; kind++)
        check_drawing(c, ddpm, (dt_sampler)kind, kind % 2, 1e-6);
    check_drawing(c, stable, DT_SAMPLER_DDIM, true, 1e-6);
    check_drawing(c, flow, DT_SAMPLER_EULER, false, 1e-6);
    check_drawing(c, flow, DT_SAMPLER_HEUN, true, 0.05);
}

static bool never(void *user)
{
    (void)user;
    return false;
}

static void a_stop_and_missing_memory_are_a_status(void **state)
{
    (void)state;
    ctx *c = &context;
    fill(MANY, 11);
    const denoiser d = ideal_of(c, ddpm, false);
    real x[ROWS][VALUES], t[ROWS] = {0};
    noised(x, level(&d, 0), 1);
    c->go_on = never;
    c->ask_every = 0;
    assert_int_equal(ideal_posterior(c, &d, x[0], NULL, x[0], t, NULL, ROWS), DT_ERR_INTERRUPTED);
    c->go_on = NULL;
    error_clear(&c->error);
    const size_t limit = c->scratch.limit;
    for (size_t bytes = 0; bytes < (size_t)ideal_pass_bytes(&d, ROWS); bytes += 100000) {
        c->scratch.limit = bytes;
        assert_int_equal(ideal_posterior(c, &d, x[0], NULL, x[0], t, NULL, ROWS), DT_ERR_MEMORY);
        error_clear(&c->error);
    }
    c->scratch.limit = limit;
    assert_int_equal(d.ops->write(c, &d, &(denoiser_file){.path = "f"}), DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(c->error.message, "has no weights"));
    error_clear(&c->error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_the_formula_at_every_t, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_label_narrows_the_set, context_make, context_remove),
        cmocka_unit_test_setup_teardown(its_limits_are_the_nearest_picture_and_the_mean, context_make, context_remove),
        cmocka_unit_test_setup_teardown(pictures_that_are_nearly_the_same_are_told_apart, context_make, context_remove),
        cmocka_unit_test_setup_teardown(the_bits_do_not_depend_on_batches_and_threads, context_make, context_remove),
        cmocka_unit_test_setup_teardown(what_is_drawn_from_it_are_pictures_of_the_set, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_stop_and_missing_memory_are_a_status, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
