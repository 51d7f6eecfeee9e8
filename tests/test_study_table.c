/* What follows from a study's table, against numbers worked out by hand, and its CSV. */
#include "temp_folder.h"

#include <math.h>
#include <string.h>

#include "report/study_statistics.h"

enum { ARMS = 2, DATA = 2, SEEDS = 3, ROWS = ARMS * DATA * SEEDS };

static const char *arms[] = {"plain", "paper"}, *data[] = {"a", "b"}, *seeds[] = {"0", "1", "2"}, *ways[] = {"as set"};
static const char *axes[] = {"lora_targets"};
static const char *axis_text[ARMS][STUDY_AXES_MAX] = {{"attn.qkv,mlp.fc1"}, {"say \"all\""}};
static study_row rows[ROWS];
static study_table table;

/* Distances of each arm on each set with each seed. */
static const double distances[ARMS][DATA][SEEDS] = {{{10, 12, 14}, {100, 100, 100}}, {{11, 12, 16}, {90, 80, NAN}}};

static int make(void **state)
{
    table = (study_table){.title = "T",
                          .tool = "difftune",
                          .settings = "",
                          .measure = "FD-base",
                          .arm = {arms, ARMS},
                          .data = {data, DATA},
                          .seed = {seeds, SEEDS},
                          .way = {ways, 1},
                          .axis = {axes, 1},
                          .axis_text = axis_text,
                          .row = rows,
                          .row_count = ROWS};
    for (int a = 0; a < ARMS; a++)
        for (int d = 0; d < DATA; d++)
            for (int s = 0; s < SEEDS; s++) {
                study_row *row = study_row_at(&table, a, d, s, 0);
                *row = (study_row){.arm = a, .data = d, .seed = s, .measured = isfinite(distances[a][d][s])};
                for (int m = 0; m < STUDY_MEASURES; m++) row->value[m] = NAN;
                for (int k = 0; k < STUDY_TIMES; k++) row->seconds[k] = NAN;
                row->value[STUDY_FRECHET] = distances[a][d][s];
                if (!row->measured) row->failure = "no <pictures> & no \"bank\"";
            }
    return temp_folder_make(state);
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected) + 1e-12)) fail_msg("%.12g, not %.12g", value, expected);
}

/* 4.3027 is the quantile of Student's t at two degrees of freedom, 12.7062 that at one. */
static void intervals_are_those_of_student(void **state)
{
    (void)state;
    study_summary s = study_over_seeds(&table, STUDY_FRECHET, 0, 0, 0);
    assert_int_equal(s.count, 3);
    assert_near(s.mean, 12);
    assert_near(s.sd, 2);
    assert_near(s.high - s.mean, 4.3027 * 2 / sqrt(3));
    s = study_over_seeds(&table, STUDY_FRECHET, 1, 1, 0);
    assert_int_equal(s.count, 2);
    assert_near(s.mean, 85);
    assert_near(s.mean - s.low, 12.7062 * sqrt(50) / sqrt(2));
    s = study_summarise((const double[]){7}, 1);
    assert_true(s.mean == 7 && isnan(s.sd) && isnan(s.low));
    s = study_summarise((const double[]){NAN, INFINITY}, 2);
    assert_true(s.count == 0 && isnan(s.mean));
    double many[101]; /* -50 .. 50: 100 degrees of freedom, whose quantile is 1.98397 */
    for (int i = 0; i <= 100; i++) many[i] = i - 50;
    s = study_summarise(many, 101);
    assert_true(fabs(s.high / (s.sd / sqrt(101)) - 1.98397) < 0.003);
}

static void differences_are_taken_pair_by_pair(void **state)
{
    (void)state;
    study_summary s = study_against_first(&table, STUDY_FRECHET, 1, 0, 0, STUDY_ABSOLUTE);
    assert_int_equal(s.count, 3); /* 1, 0, 2 */
    assert_near(s.mean, 1);
    assert_near(s.sd, 1);
    s = study_against_first(&table, STUDY_FRECHET, 1, -1, 0, STUDY_PERCENT);
    assert_int_equal(s.count, 5); /* 10, 0, 100 / 7, -10, -20; the pair without a value is none */
    assert_near(s.mean, (10 + 0 + 100.0 / 7 - 10 - 20) / 5);
    s = study_against_first(&table, STUDY_FRECHET, 0, -1, 0, STUDY_PERCENT);
    assert_true(s.mean == 0 && s.sd == 0 && s.count == 6);
}

static void text_in_a_table_stays_in_its_cell(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(study_csv_write(&table, temp_path("study.csv"), &err), DT_OK);
    assert_file_says("study.csv", "\nplain,\"attn.qkv,mlp.fc1\",a,1,as set,measured,FD-base,12,,");
    assert_file_says("study.csv", "\npaper,\"say \"\"all\"\"\",b,2,as set,failed,FD-base,,,");
    assert_file_says("study.csv", ",held_out_loss_t0,");
    assert_file_says("study.csv", ",held_out_loss_before_t900\n");
    assert_int_equal(study_page_write(&table, temp_path("page.html"), &err), DT_OK);
    assert_file_says("page.html", "no &lt;pictures&gt; &amp; no &quot;bank&quot;");
    assert_file_says("page.html", "<b>11 of 12 measured</b>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_are_those_of_student),
        cmocka_unit_test(differences_are_taken_pair_by_pair),
        cmocka_unit_test(text_in_a_table_stays_in_its_cell),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
