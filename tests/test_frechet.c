/* The Frechet distance against closed forms and scipy, and the statistics that feed it. */
#include "temp_folder.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "eval/frechet.h"
#include "eval/statistics.h"
#include "container/npz.h"

enum { DIM = 6 };

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%.17g found, %.17g expected", found, expected);
}

static double distance(const double *m1, const double *s1, const double *m2, const double *s2, int64_t dim)
{
    ctx c = {0};
    double d = -1;
    assert_int_equal(frechet_distance(&c, &d, m1, s1, m2, s2, dim), DT_OK);
    return d;
}

static void diagonal(double s[DIM * DIM], const double entries[DIM])
{
    memset(s, 0, DIM * DIM * sizeof s[0]);
    for (int i = 0; i < DIM; i++) s[i * DIM + i] = entries[i];
}

/* s = r d r^T for a product r of plane rotations, which is a rotation of all axes. */
static void rotate(double s[DIM * DIM], double mean[DIM])
{
    for (int p = 0; p < DIM - 1; p++) {
        double c = cos(0.3 + p), n = sin(0.3 + p);
        for (int i = 0; i < DIM; i++) {
            double a = s[i * DIM + p], b = s[i * DIM + p + 1];
            s[i * DIM + p] = c * a - n * b;
            s[i * DIM + p + 1] = n * a + c * b;
        }
        for (int i = 0; i < DIM; i++) {
            double a = s[p * DIM + i], b = s[(p + 1) * DIM + i];
            s[p * DIM + i] = c * a - n * b;
            s[(p + 1) * DIM + i] = n * a + c * b;
        }
        double a = mean[p], b = mean[p + 1];
        mean[p] = c * a - n * b;
        mean[p + 1] = n * a + c * b;
    }
}

static const double variance1[DIM] = {4, 1, 0.25, 9, 2, 1e-3}, variance2[DIM] = {1, 2, 0.25, 3, 0.5, 7};

/* |m1 - m2|^2 + sum (sqrt a - sqrt b)^2 */
static double commuting_form(const double m1[DIM], const double m2[DIM])
{
    double sum = 0;
    for (int i = 0; i < DIM; i++) sum += pow(m1[i] - m2[i], 2) + pow(sqrt(variance1[i]) - sqrt(variance2[i]), 2);
    return sum;
}

static void diagonal_covariances_have_a_closed_form(void **state)
{
    (void)state;
    double m1[DIM] = {1, 2, 3, 4, 5, 6}, m2[DIM] = {0, 2, 4, 4, 4, 6.5}, s1[DIM * DIM], s2[DIM * DIM];
    diagonal(s1, variance1);
    diagonal(s2, variance2);
    assert_near(distance(m1, s1, m2, s2, DIM), commuting_form(m1, m2), 1e-12);
}

static void a_rotation_of_both_changes_nothing(void **state)
{
    (void)state;
    double m1[DIM] = {1, 2, 3, 4, 5, 6}, m2[DIM] = {0, 2, 4, 4, 4, 6.5}, s1[DIM * DIM], s2[DIM * DIM];
    diagonal(s1, variance1);
    diagonal(s2, variance2);
    double expected = commuting_form(m1, m2);
    rotate(s1, m1);
    rotate(s2, m2);
    assert_true(fabs(s1[1]) > 0.1); /* it did rotate; the two still commute */
    assert_near(distance(m1, s1, m2, s2, DIM), expected, 1e-12);
}

static void a_rotation_of_one_changes_the_distance(void **state)
{
    (void)state;
    double zero[DIM] = {0}, moved[DIM] = {0}, s1[DIM * DIM], s2[DIM * DIM];
    diagonal(s1, variance1);
    diagonal(s2, variance2);
    rotate(s1, moved);
    assert_true(fabs(distance(zero, s1, zero, s2, DIM) - commuting_form(zero, zero)) > 0.1);
}

/* numpy 2 and scipy 1.17.1: |m1-m2|^2 + trace(A + B - 2 scipy.linalg.sqrtm(A @ B)) */
static void a_case_that_does_not_commute_agrees_with_scipy(void **state)
{
    (void)state;
    const double a[16] = {1.5, 0.5, 0, -0.5, 0.5, 1, 0.5, 0, 0, 0.5, 2, 0.5, -0.5, 0, 0.5, 1};
    const double b[16] = {0.5, -0.25, 0.25, 0, -0.25, 1.25, 0, 0.5, 0.25, 0, 0.25, 0, 0, 0.5, 0, 0.75};
    const double m1[4] = {1, -2, 0.5, 0}, m2[4] = {0, -1.5, 1, 0.25};
    assert_near(distance(m1, a, m2, b, 4), 3.5778137721360803, 1e-13);
    assert_near(distance(m2, b, m1, a, 4), 3.5778137721360803, 1e-13);
}

static void identical_distributions_are_at_zero(void **state)
{
    (void)state;
    double m[DIM] = {1, 2, 3, 4, 5, 6}, s[DIM * DIM];
    diagonal(s, variance1);
    rotate(s, m);
    assert_near(distance(m, s, m, s, DIM), 0, 1e-13);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    ctx c = {0};
    double m[1] = {0}, s[1] = {1}, bad[1] = {NAN}, d;
    assert_int_equal(frechet_distance(&c, &d, m, s, m, bad, 1), DT_ERR_NUMERIC);
}

static bool count_down(void *user)
{
    int *left = user;
    return (*left)-- > 0;
}

/* Before each of the two decompositions, and before the singular values. */
static void a_stop_is_served_between_the_calls_of_lapack(void **state)
{
    (void)state;
    double m[1] = {0}, s[1] = {1}, d;
    for (int good = 0; good < 4; good++) {
        int left = good;
        ctx c = {.go_on = count_down, .go_on_user = &left};
        assert_int_equal(frechet_distance(&c, &d, m, s, m, s, 1), good < 3 ? DT_ERR_INTERRUPTED : DT_OK);
    }
}

/* ---- statistics ---- */

enum { ROWS = 150, WIDTH = 40 };

static void fill_rows(float *rows, int64_t count, int64_t width, uint64_t seed, float offset)
{
    for (int64_t i = 0; i < count * width; i++)
        rows[i] = offset + (float)rng_uniform((rng_key){.seed = seed, .purpose = RNG_FEATURE}, (uint32_t)i);
}

static void gather(statistics *s, const float *rows, int64_t count, int64_t width, int64_t batch, bool keep)
{
    dt_error err = {0};
    assert_int_equal(statistics_open(s, &(statistics_kind){"FD-test", width, 0, false}, keep, &err), DT_OK);
    for (int64_t i = 0; i < count; i += batch) {
        int64_t n = count - i < batch ? count - i : batch;
        assert_int_equal(statistics_add(s, rows + i * width, n, &err), DT_OK);
    }
    assert_int_equal(statistics_finish(s, &err), DT_OK);
}

static void mean_and_covariance_are_those_of_the_textbook(void **state)
{
    (void)state;
    float rows[ROWS * WIDTH];
    fill_rows(rows, ROWS, WIDTH, 3, 1000);
    statistics s;
    gather(&s, rows, ROWS, WIDTH, 33, false);
    double mean[WIDTH] = {0};
    for (int i = 0; i < ROWS * WIDTH; i++) mean[i % WIDTH] += (double)rows[i] / ROWS;
    for (int i = 0; i < WIDTH; i++) assert_near(s.features.mean[i], mean[i], 1e-11);
    for (int i = 0; i < WIDTH; i++)
        for (int j = 0; j < WIDTH; j++) {
            double sum = 0;
            for (int r = 0; r < ROWS; r++) sum += (rows[r * WIDTH + i] - mean[i]) * (rows[r * WIDTH + j] - mean[j]);
            assert_near(s.features.covariance[i * WIDTH + j], sum / (ROWS - 1), 1e-13);
        }
    assert_null(s.rows);
    statistics_close(&s);
}

static void any_split_into_batches_gives_the_same_bits(void **state)
{
    (void)state;
    float rows[ROWS * WIDTH];
    fill_rows(rows, ROWS, WIDTH, 4, -2);
    statistics whole, parts;
    gather(&whole, rows, ROWS, WIDTH, ROWS, true);
    assert_memory_equal(whole.rows, rows, sizeof rows);
    for (int64_t batch = 1; batch < ROWS; batch += 21) {
        gather(&parts, rows, ROWS, WIDTH, batch, true);
        assert_int_equal(parts.count, ROWS);
        assert_memory_equal(parts.features.mean, whole.features.mean, WIDTH * sizeof(double));
        assert_memory_equal(parts.features.covariance, whole.features.covariance, WIDTH * WIDTH * sizeof(double));
        assert_memory_equal(parts.rows, rows, sizeof rows);
        statistics_close(&parts);
    }
    statistics_close(&whole);
}

/* 20 images, 40 values: both covariances are singular. With m2 = m1 and S2 = 4 S1 the distance is tr S1. */
static void fewer_images_than_values_have_a_distance(void **state)
{
    (void)state;
    float rows[20 * WIDTH], doubled[20 * WIDTH];
    fill_rows(rows, 20, WIDTH, 5, 0);
    for (int i = 0; i < 20 * WIDTH; i++) doubled[i] = 2 * rows[i];
    statistics a, b;
    gather(&a, rows, 20, WIDTH, 7, false);
    gather(&b, doubled, 20, WIDTH, 7, false);
    double trace = 0;
    for (int i = 0; i < WIDTH; i++) trace += a.features.covariance[i * WIDTH + i];
    assert_near(distance(a.features.mean, a.features.covariance, a.features.mean, b.features.covariance, WIDTH), trace,
                1e-12);
    assert_near(distance(a.features.mean, a.features.covariance, a.features.mean, a.features.covariance, WIDTH), 0,
                1e-12);
    statistics_close(&a);
    statistics_close(&b);
}

/* Two sets in two planes at a right angle: tr sqrt is 0 and only the traces remain. */
static void singular_covariances_without_a_common_direction_add_up(void **state)
{
    (void)state;
    double zero[DIM] = {0}, moved[DIM] = {0}, s1[DIM * DIM], s2[DIM * DIM];
    diagonal(s1, (double[DIM]){3, 5, 0, 0, 0, 0});
    diagonal(s2, (double[DIM]){0, 0, 2, 4, 0, 0});
    rotate(s1, moved);
    rotate(s2, moved);
    assert_near(distance(zero, s1, zero, s2, DIM), 14, 1e-12);
}

static void a_constant_set_has_only_its_mean(void **state)
{
    (void)state;
    double m1[DIM] = {3, 0, 0, 0, 0, 0}, m2[DIM] = {0, 4, 0, 0, 0, 0}, none[DIM * DIM] = {0};
    assert_near(distance(m1, none, m2, none, DIM), 25, 1e-14);
}

static void a_single_image_or_a_bad_value_is_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    statistics s;
    float rows[4] = {1, 2, 3, INFINITY};
    assert_int_equal(statistics_open(&s, &(statistics_kind){"FD-test", 2, 0, false}, false, &err), DT_OK);
    assert_int_equal(statistics_add(&s, rows, 1, &err), DT_OK);
    assert_int_equal(statistics_finish(&s, &err), DT_ERR_ARG);
    error_clear(&err);
    assert_int_equal(statistics_add(&s, rows + 2, 1, &err), DT_ERR_NUMERIC);
    assert_non_null(strstr(err.message, "value 1 of row 1"));
    statistics_close(&s);
    error_clear(&err);
    assert_int_equal(statistics_open(&s, &(statistics_kind){"FD-test", STATISTICS_DIM_MAX + 1, 0, false}, false, &err),
                     DT_ERR_ARG);
    statistics_close(&s);
}

/* ---- files ---- */

static void saved_statistics_come_back_unchanged(void **state)
{
    (void)state;
    const char *file = temp_path("statistics.npz");
    float rows[ROWS * WIDTH];
    fill_rows(rows, ROWS, WIDTH, 6, 0);
    statistics s, back;
    dt_error err = {0};
    gather(&s, rows, ROWS, WIDTH, 10, true);
    assert_int_equal(statistics_save(&s, file, &err), DT_OK);
    assert_int_equal(statistics_load(&back, file, &(statistics_kind){"FD-test", WIDTH, 0, false}, NULL, &err), DT_OK);
    assert_string_equal(back.measure, "FD-test");
    assert_int_equal(back.count, ROWS);
    assert_memory_equal(back.features.mean, s.features.mean, WIDTH * sizeof(double));
    assert_memory_equal(back.features.covariance, s.features.covariance, WIDTH * WIDTH * sizeof(double));
    assert_null(back.rows);
    statistics_close(&s);
    statistics_close(&back);
}

static void refused(const char *path, const char *measure, int64_t dim, dt_status status, const char *a, const char *b)
{
    statistics s;
    dt_error err = {0};
    assert_int_equal(statistics_load(&s, path, &(statistics_kind){measure, dim, 0, false}, NULL, &err), status);
    assert_non_null(strstr(err.message, a));
    assert_non_null(strstr(err.message, b));
    statistics_close(&s);
}

static void statistics_of_another_measure_or_width_are_refused(void **state)
{
    (void)state;
    const char *file = temp_path("statistics.npz");
    float rows[4 * 3];
    fill_rows(rows, 4, 3, 7, 0);
    statistics s;
    dt_error err = {0};
    gather(&s, rows, 4, 3, 4, false);
    assert_int_equal(statistics_save(&s, file, &err), DT_OK);
    statistics_close(&s);
    refused(file, "FD-other", 3, DT_ERR_CONFLICT, "FD-test", "FD-other");
    refused(file, "FD-test", 5, DT_ERR_CONFLICT, "with 3 values", "with 5");
}

static void write_arrays(const char *path, const int64_t sigma_rows, bool with_count, int64_t count)
{
    static const double zeros[16] = {0};
    const npz_array arrays[] = {
        {.name = "mu", .dtype = NPZ_F64, .dim_count = 1, .dims = {2}, .data = zeros},
        {.name = "sigma", .dtype = NPZ_F64, .dim_count = 2, .dims = {sigma_rows, 2}, .data = zeros},
        {.name = "measure", .dtype = NPZ_U8, .dim_count = 1, .dims = {7}, .data = "FD-test"},
        {.name = "count", .dtype = NPZ_I64, .data = &count},
    };
    dt_error err = {0};
    assert_int_equal(npz_write(path, arrays, with_count ? 4 : 2, &err), DT_OK);
}

static void files_that_are_not_our_statistics_are_refused(void **state)
{
    (void)state;
    const char *file = temp_path("statistics.npz");
    refused(file, "FD-test", 2, DT_ERR_IO, file, "");
    write_arrays(file, 2, false, 0); /* pytorch-fid's own: no measure named */
    refused(file, "FD-test", 2, DT_ERR_CONFLICT, "no named measure", "FD-test");
    write_arrays(file, 3, true, 10);
    refused(file, "FD-test", 2, DT_ERR_FORMAT, file, "sigma");
    write_arrays(file, 2, true, 1);
    refused(file, "FD-test", 2, DT_ERR_FORMAT, file, "count");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(diagonal_covariances_have_a_closed_form),
        cmocka_unit_test(a_rotation_of_both_changes_nothing),
        cmocka_unit_test(a_rotation_of_one_changes_the_distance),
        cmocka_unit_test(a_case_that_does_not_commute_agrees_with_scipy),
        cmocka_unit_test(identical_distributions_are_at_zero),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(a_stop_is_served_between_the_calls_of_lapack),
        cmocka_unit_test(mean_and_covariance_are_those_of_the_textbook),
        cmocka_unit_test(any_split_into_batches_gives_the_same_bits),
        cmocka_unit_test(fewer_images_than_values_have_a_distance),
        cmocka_unit_test(singular_covariances_without_a_common_direction_add_up),
        cmocka_unit_test(a_constant_set_has_only_its_mean),
        cmocka_unit_test(a_single_image_or_a_bad_value_is_refused),
        cmocka_unit_test_setup_teardown(saved_statistics_come_back_unchanged, temp_folder_make, temp_folder_remove),
        cmocka_unit_test_setup_teardown(statistics_of_another_measure_or_width_are_refused, temp_folder_make,
                                        temp_folder_remove),
        cmocka_unit_test_setup_teardown(files_that_are_not_our_statistics_are_refused, temp_folder_make,
                                        temp_folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
