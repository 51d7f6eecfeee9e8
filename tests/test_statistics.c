/* Statistics of two kinds of features at once, measurements that are interrupted, and files of other programs.
 * (test_frechet.c has mean, covariance and our own files.) */
#include <math.h>
#include <string.h>

#include "temp_folder.h"

#include "base/rng.h"
#include "eval/statistics.h"
#include "container/npz.h"

enum { ROWS = 150, DIM = 5, SPATIAL = 3, ROW = DIM + SPATIAL };

static const statistics_kind both = {"FID test", DIM, SPATIAL, true};
static float rows[ROWS * ROW];

static int setup(void **state)
{
    for (int i = 0; i < ROWS * ROW; i++)
        rows[i] = 3 + (float)rng_uniform((rng_key){.seed = 9, .purpose = RNG_FEATURE}, (uint32_t)i);
    return temp_folder_make(state);
}

static void add(statistics *s, int64_t first, int64_t n)
{
    dt_error err = {0};
    assert_int_equal(statistics_add(s, rows + first * ROW, n, &err), DT_OK);
}

static void gather(statistics *s, const statistics_kind *kind, bool keep_rows)
{
    dt_error err = {0};
    assert_int_equal(statistics_open(s, kind, keep_rows, &err), DT_OK);
    add(s, 0, ROWS);
    assert_int_equal(statistics_finish(s, &err), DT_OK);
}

static void assert_same(const feature_moments *a, const feature_moments *b)
{
    assert_int_equal(a->dim, b->dim);
    assert_memory_equal(a->mean, b->mean, (size_t)a->dim * sizeof(double));
    assert_memory_equal(a->covariance, b->covariance, (size_t)(a->dim * a->dim) * sizeof(double));
}

static double covariance(int i, int j)
{
    double mean_i = 0, mean_j = 0, sum = 0;
    for (int r = 0; r < ROWS; r++) mean_i += (double)rows[r * ROW + i] / ROWS;
    for (int r = 0; r < ROWS; r++) mean_j += (double)rows[r * ROW + j] / ROWS;
    for (int r = 0; r < ROWS; r++) sum += ((double)rows[r * ROW + i] - mean_i) * ((double)rows[r * ROW + j] - mean_j);
    return sum / (ROWS - 1);
}

static void each_part_of_a_row_has_its_moments(void **state)
{
    (void)state;
    statistics s;
    gather(&s, &both, true);
    for (int i = 0; i < DIM; i++)
        for (int j = 0; j < DIM; j++) assert_true(fabs(s.features.covariance[i * DIM + j] - covariance(i, j)) < 1e-12);
    for (int i = 0; i < SPATIAL; i++)
        for (int j = 0; j < SPATIAL; j++)
            assert_true(fabs(s.spatial.covariance[i * SPATIAL + j] - covariance(DIM + i, DIM + j)) < 1e-12);
    assert_int_equal(s.row_count, ROWS);
    for (int r = 0; r < ROWS; r++) assert_memory_equal(s.rows + r * DIM, rows + r * ROW, DIM * sizeof(float));
    statistics_close(&s);
}

/* Pieces that end before the first row, inside a block of rows, at its end. */
static void rows_may_come_in_any_pieces(void **state)
{
    (void)state;
    static const int64_t ends[][3] = {{0, 1, ROWS}, {3, 64, ROWS}, {63, 65, 128}, {149, 150, 150}};
    statistics whole;
    gather(&whole, &both, true);
    for (int i = 0; i < 4; i++) {
        dt_error err = {0};
        statistics s;
        assert_int_equal(statistics_open(&s, &both, true, &err), DT_OK);
        for (int k = 0; k < 3; k++) add(&s, s.count, ends[i][k] - s.count);
        add(&s, s.count, ROWS - s.count);
        assert_int_equal(statistics_finish(&s, &err), DT_OK);
        assert_same(&s.features, &whole.features);
        assert_same(&s.spatial, &whole.spatial);
        assert_memory_equal(s.rows, whole.rows, ROWS * DIM * sizeof(float));
        statistics_close(&s);
    }
    statistics_close(&whole);
}

static void both_parts_come_back_from_a_file(void **state)
{
    (void)state;
    dt_error err = {0};
    statistics s, back;
    bool named = false;
    const statistics_kind without = {"FID test", DIM, 0, true};
    gather(&s, &both, false);
    assert_int_equal(statistics_save(&s, temp_path("saved.npz"), &err), DT_OK);
    assert_int_equal(statistics_load(&back, temp_path("saved.npz"), &both, &named, &err), DT_OK);
    assert_true(named);
    assert_int_equal(back.count, ROWS);
    assert_same(&back.features, &s.features);
    assert_same(&back.spatial, &s.spatial);
    statistics_close(&back);
    assert_int_equal(statistics_load(&back, temp_path("saved.npz"), &without, NULL, &err), DT_OK);
    assert_int_equal(back.spatial.dim, 0);
    statistics_close(&back);
    statistics_close(&s);
}

/* As pytorch-fid writes: mu and sigma alone. As ADM: with mu_s, sigma_s and 10,000 pictures that nobody asked for. */
static void files_that_name_no_measure_are_taken_for_a_published_one(void **state)
{
    (void)state;
    double numbers[DIM * DIM] = {0}, spatial[SPATIAL * SPATIAL] = {0};
    for (int i = 0; i < DIM; i++) numbers[i * (DIM + 1)] = i + 1;
    for (int i = 0; i < SPATIAL; i++) spatial[i * (SPATIAL + 1)] = i + 1;
    static const uint8_t pictures[4096];
    const npz_array arrays[] = {
        {.name = "mu", .dtype = NPZ_F64, .dim_count = 1, .dims = {DIM}, .data = numbers},
        {.name = "sigma", .dtype = NPZ_F64, .dim_count = 2, .dims = {DIM, DIM}, .data = numbers},
        {.name = "mu_s", .dtype = NPZ_F64, .dim_count = 1, .dims = {SPATIAL}, .data = numbers},
        {.name = "sigma_s", .dtype = NPZ_F64, .dim_count = 2, .dims = {SPATIAL, SPATIAL}, .data = spatial},
        {.name = "arr_0", .dtype = NPZ_U8, .dim_count = 1, .dims = {sizeof pictures}, .data = pictures},
    };
    const statistics_kind own = {"FID test", DIM, SPATIAL, false}, wide = {"FID test", DIM + 1, SPATIAL, true};
    for (size_t count = 2; count <= 5; count += 3) {
        dt_error err = {0};
        statistics s;
        bool named = true;
        assert_int_equal(npz_write(temp_path("theirs.npz"), arrays, count, &err), DT_OK);
        if (statistics_load(&s, temp_path("theirs.npz"), &both, &named, &err) != DT_OK) fail_msg("%s", err.message);
        assert_false(named);
        assert_int_equal(s.count, 0);
        assert_int_equal(s.spatial.dim, count == 5 ? SPATIAL : 0);
        assert_memory_equal(s.features.covariance, numbers, sizeof numbers);
        statistics_close(&s);
        assert_int_equal(statistics_load(&s, temp_path("theirs.npz"), &own, NULL, &err), DT_ERR_CONFLICT);
        error_clear(&err);
        assert_int_equal(statistics_load(&s, temp_path("theirs.npz"), &wide, NULL, &err), DT_ERR_CONFLICT);
    }
}

/* A good file but for one thing, which the message names with the file. */
static void what_is_no_covariance_is_refused(void **state)
{
    (void)state;
    static const struct {
        double mean, variance, upper, lower; /* of value 0; of row 0, column 1 and of row 1, column 0 */
        const char *why;
    } cases[] = {
        {NAN, 1, 0, 0, "array mu: value 0 is not finite"},
        {0, INFINITY, 0, 0, "array sigma: no covariance: a value is not finite"},
        {0, 1, 0, NAN, "array sigma: no covariance: a value is not finite"},
        {0, 1, 0.5, 0.25, "array sigma: no covariance: it is not symmetric"},
        {0, -1, 0, 0, "array sigma: no covariance: the variance of value 0 is -1"},
        {0, 1, 3, 3, "array sigma: no covariance: it has a negative eigenvalue"},
        {0, 1, 0.5, 0.5, NULL},
        {0, 1, 0.5, 0.5 + 1e-8, NULL},
        {0, 0, 0, 0, NULL}, /* a value that never changes */
    };
    const statistics_kind kind = {"FID test", DIM, 0, true};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_error err = {0};
        statistics s;
        double mean[DIM] = {cases[i].mean}, covariance[DIM * DIM] = {0};
        for (int k = 0; k < DIM; k++) covariance[k * (DIM + 1)] = 1;
        covariance[0] = cases[i].variance;
        covariance[1] = cases[i].upper;
        covariance[DIM] = cases[i].lower;
        const npz_array arrays[] = {
            {.name = "mu", .dtype = NPZ_F64, .dim_count = 1, .dims = {DIM}, .data = mean},
            {.name = "sigma", .dtype = NPZ_F64, .dim_count = 2, .dims = {DIM, DIM}, .data = covariance},
        };
        assert_int_equal(npz_write(temp_path("none.npz"), arrays, 2, &err), DT_OK);
        const dt_status status = statistics_load(&s, temp_path("none.npz"), &kind, NULL, &err);
        assert_int_equal(status, cases[i].why ? DT_ERR_FORMAT : DT_OK);
        if (cases[i].why) assert_says(err.message, "none.npz: ");
        if (cases[i].why) assert_says(err.message, cases[i].why);
        statistics_close(&s);
    }
}

/* With its rows a file gives back all that was measured; rows that are not those of its count are refused. */
static void rows_come_back_from_a_file_or_not_at_all(void **state)
{
    (void)state;
    dt_error err = {0};
    statistics s, back;
    int64_t count = -1;
    gather(&s, &both, true);
    assert_int_equal(statistics_save_with_rows(&s, temp_path("rows.npz"), &err), DT_OK);
    assert_int_equal(statistics_count_rows(&count, temp_path("rows.npz"), &err), DT_OK);
    assert_int_equal(count, ROWS);
    assert_int_equal(statistics_load(&back, temp_path("rows.npz"), &both, NULL, &err), DT_OK);
    assert_int_equal(back.row_count, ROWS);
    assert_memory_equal(back.rows, s.rows, ROWS * DIM * sizeof(float));
    assert_same(&back.spatial, &s.spatial);
    statistics_close(&back);
    assert_int_equal(statistics_save(&s, temp_path("without.npz"), &err), DT_OK);
    assert_int_equal(statistics_count_rows(&count, temp_path("without.npz"), &err), DT_OK);
    assert_int_equal(count, 0);

    const int64_t had = s.row_count;
    for (int fault = 0; fault < 3; fault++) {
        static const char *const says[] = {"rows [150,5] of float32 expected", "rows [150,5] of float32 expected",
                                           "array rows: value 7 is not finite"};
        dt_error why = {0};
        if (fault == 0) s.row_count = 0;
        if (fault == 1) s.row_count = had - 1;
        if (fault == 2) s.row_count = had, s.rows[7] = NAN;
        assert_int_equal(statistics_save_with_rows(&s, temp_path("rows.npz"), &err), DT_OK);
        assert_int_equal(statistics_load(&back, temp_path("rows.npz"), &both, NULL, &why), DT_ERR_FORMAT);
        assert_says(why.message, says[fault]);
        assert_null(back.rows);
    }
    statistics_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_of_a_row_has_its_moments),
        cmocka_unit_test(rows_may_come_in_any_pieces),
        cmocka_unit_test(both_parts_come_back_from_a_file),
        cmocka_unit_test(what_is_no_covariance_is_refused),
        cmocka_unit_test(files_that_name_no_measure_are_taken_for_a_published_one),
        cmocka_unit_test(rows_come_back_from_a_file_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, setup, temp_folder_remove);
}
