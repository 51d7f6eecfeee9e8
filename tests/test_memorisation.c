/* Copies of training pictures: the rule against its definition, cases with a known answer, and the verb eval. */
#include "run_fixture.h"
#include "context_fixture.h"

#include "eval/memorisation.h"

enum { MOST = 1100, DIM = 6 }; /* more rows than a tile has */

static float training[MOST * DIM], held_out[MOST * DIM], samples[MOST * DIM];

static void fill(float *out, uint64_t seed, float centre, float spread)
{
    rng_normal(out, MOST * DIM, (rng_key){.seed = seed, .purpose = RNG_FEATURE});
    for (int i = 0; i < MOST * DIM; i++) out[i] = centre + spread * out[i];
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (int k = 0; k < DIM; k++) sum += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]);
    return sqrt(sum);
}

/* The nearest of the training rows, without row `self` (-1: all count). */
static int64_t nearest(const float *row, int64_t count, int64_t self)
{
    int64_t best = self == 0;
    for (int64_t i = 0; i < count; i++)
        if (i != self && distance(row, training + i * DIM) < distance(row, training + best * DIM)) best = i;
    return best;
}

static double share(const float *rows, int64_t count, int64_t training_count, double *mean)
{
    int64_t copied = 0;
    *mean = 0;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = nearest(rows + i * DIM, training_count, -1);
        const float *own = training + at * DIM;
        const double mine = distance(rows + i * DIM, own);
        copied += mine <= distance(own, training + nearest(own, training_count, at) * DIM);
        *mean += mine / (double)count;
    }
    return (double)copied / (double)count;
}

static memorisation_result judge(int64_t training_count, int64_t held_out_count, const float *rows, int64_t count)
{
    memorisation_result r;
    const size_t used = arena_mark(&context.scratch).own;
    assert_int_equal(memorisation(&r, &context, (feature_set){training, training_count},
                                  (feature_set){held_out, held_out_count}, (feature_set){rows, count}, DIM),
                     DT_OK);
    assert_int_equal(arena_mark(&context.scratch).own, used);
    return r;
}

static void shares_are_those_of_the_definition(void **state)
{
    (void)state;
    static const int64_t counts[][3] = {{MOST, 40, 300}, {30, MOST, MOST}, {2, 1, 1}};
    fill(training, 1, 100, 1); /* far from zero, where products alone would lose the distances */
    fill(held_out, 2, 100, 1);
    fill(samples, 3, 100.2F, 0.8F);
    for (int i = 0; i < 3; i++) {
        double near_held_out, near_samples;
        const memorisation_result r = judge(counts[i][0], counts[i][1], samples, counts[i][2]);
        assert_true(fabs(r.copied_held_out - share(held_out, counts[i][1], counts[i][0], &near_held_out)) < 1e-12);
        assert_true(fabs(r.copied - share(samples, counts[i][2], counts[i][0], &near_samples)) < 1e-12);
        assert_true(fabs(r.nearest_ratio - near_samples / near_held_out) < 1e-9);
        if (i < 2) assert_true(r.copied > 0.05 && r.copied < 0.95); /* a case that could go wrong */
    }
}

/* Two rows of the training set are the same, so that their own nearest lies at 0. */
static void copies_score_one_and_far_samples_none(void **state)
{
    (void)state;
    static float copies[MOST * DIM];
    fill(training, 4, 3000, 1);
    fill(held_out, 5, 3000, 1);
    memcpy(training + 7 * DIM, training + 900 * DIM, DIM * sizeof(float));
    memcpy(copies, training, sizeof copies);
    memorisation_result r = judge(MOST, 200, copies, MOST);
    assert_true(r.copied == 1 && r.nearest_ratio == 0);
    assert_true(r.copied_held_out > 0.1 && r.copied_held_out < 0.9);
    r = judge(MOST, 200, held_out, 200);
    assert_true(r.copied == r.copied_held_out && r.nearest_ratio == 1);
    fill(samples, 6, 3100, 1);
    r = judge(MOST, 200, samples, 100);
    assert_true(r.copied == 0 && r.nearest_ratio > 10);
}

static void what_cannot_be_known_is_not_a_number(void **state)
{
    (void)state;
    memorisation_result r = judge(1, 10, samples, 10);
    assert_true(isnan(r.copied) && isnan(r.copied_held_out) && isnan(r.nearest_ratio));
    r = judge(10, 0, samples, 10);
    assert_true(isfinite(r.copied) && isnan(r.copied_held_out) && isnan(r.nearest_ratio));
    r = judge(10, 10, samples, 0);
    assert_true(isnan(r.copied) && isfinite(r.copied_held_out) && isnan(r.nearest_ratio));
}

/* ---- the verb ---- */

static dt_eval_result result;

static dt_status evaluate(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    return dt_eval(c, s, observer, &result);
}

static void set_path(char out[DT_PATH_MAX], const char *name)
{
    snprintf(out, DT_PATH_MAX, "%s", temp_path(name));
}

static dt_settings settings_of(const char *reference, const char *candidate, const char *trained_on)
{
    dt_settings s;
    dt_settings_init(&s);
    s.threads = 1;
    set_path(s.pretrained_model, "base.safetensors");
    set_path(s.reference, reference);
    if (candidate) set_path(s.candidate, candidate);
    if (trained_on) set_path(s.trained_on, trained_on);
    return s;
}

static void eval_finds_copies_among_pictures(void **state)
{
    (void)state;
    dt_settings s = settings_of("held", "data", "data");
    fixture_must(evaluate, &s);
    assert_true(result.copied == 1 && result.nearest_ratio == 0 && result.copied_held_out < 1);
    s = settings_of("held", "bank_images", "data");
    fixture_must(evaluate, &s);
    assert_true(result.copied < 1 && result.nearest_ratio > 0);
    s.trained_on[0] = '\0';
    fixture_must(evaluate, &s);
    assert_true(isnan(result.copied) && isnan(result.nearest_ratio));
}

static void keep_features(const char *reference, const char *file, bool features)
{
    dt_settings s = settings_of(reference, NULL, NULL);
    set_path(s.save_statistics, file);
    s.save_features = features;
    fixture_must(evaluate, &s);
}

/* Files of features in the place of pictures: all measures come out with the same bits. */
static void features_in_files_do_for_pictures(void **state)
{
    (void)state;
    keep_features("held", "held.npz", true);
    keep_features("bank_images", "bank.npz", true);
    keep_features("data", "data.npz", true);
    dt_settings s = settings_of("held", "bank_images", "data"),
                of_files = settings_of("held.npz", "bank.npz", "data.npz");
    fixture_must(evaluate, &s);
    const dt_eval_result of_pictures = result;
    fixture_must(evaluate, &of_files);
    assert_true(isfinite(result.kernel_distance) && isfinite(result.precision));
    assert_memory_equal(&result, &of_pictures, sizeof result);
}

static void what_has_no_features_is_refused(void **state)
{
    (void)state;
    keep_features("data", "plain.npz", false);
    dt_settings s = settings_of("held", "bank_images", "plain.npz");
    assert_int_equal(fixture_call(evaluate, &s, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "plain.npz has statistics only");
    s = settings_of("plain.npz", NULL, NULL);
    set_path(s.save_statistics, "again.npz");
    s.save_features = true;
    assert_int_equal(fixture_call(evaluate, &s, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "save_features needs the images of reference");
    s = settings_of("held", NULL, "data");
    set_path(s.save_statistics, "again.npz");
    assert_int_equal(fixture_call(evaluate, &s, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "trained_on is given, but no candidate");
    assert_false(file_exists(temp_path("again.npz")));
}

static int make(void **state)
{
    return context_make(state) || fixture_make(state) ? -1 : 0;
}

static int clear(void **state)
{
    return context_remove(state) || temp_folder_remove(state) ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_those_of_the_definition),   cmocka_unit_test(copies_score_one_and_far_samples_none),
        cmocka_unit_test(what_cannot_be_known_is_not_a_number), cmocka_unit_test(eval_finds_copies_among_pictures),
        cmocka_unit_test(features_in_files_do_for_pictures),    cmocka_unit_test(what_has_no_features_is_refused),
    };
    return cmocka_run_group_tests(tests, make, clear);
}
