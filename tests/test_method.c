/* Diff-Tuning against its formulas: tables, draws, shares; and what a training batch is made of. */
#include "run_fixture.h"

#include "statistics_of.h"
#include "train/trainer.h"

static dt_settings diff_tuning(dt_preset preset, double tau)
{
    dt_settings s;
    dt_settings_init(&s);
    s.preset = preset;
    s.tau = tau;
    return s;
}

static difftuning opened(dt_settings s)
{
    difftuning d;
    dt_error err = {0};
    if (difftuning_open(&d, &s, NOISE_LINEAR, &err) != DT_OK) fail_msg("%s", err.message);
    return d;
}

static void expect_table(const time_table *table, double (*formula)(int t, double tau), double tau)
{
    double sum = 0, running = 0;
    for (int t = 0; t < METHOD_T; t++) {
        double expected = formula(t, tau);
        assert_true(fabs(table->value[t] - expected) <= 1e-14 * fmax(1, expected));
        sum += expected;
    }
    assert_true(fabs(table->sum - sum) <= 1e-12 * fmax(1, sum));
    for (int t = 0; t < METHOD_T; t++) {
        running += formula(t, tau);
        if (sum > 0) assert_true(fabs(table->cumulated[t] - running / sum) < 1e-12);
    }
    if (sum > 0) assert_true(table->cumulated[METHOD_T - 1] == 1);
}

/* ---- psi and xi ---- */

static double power(int t, double tau)
{
    return pow((t + 1) / 1000.0, tau);
}

static double one_minus_power(int t, double tau)
{
    return 1 - pow((t + 1) / 1000.0, tau);
}

static double mirrored_power(int t, double tau)
{
    return pow((1000 - t) / 1000.0, tau);
}

/* 1 / (1 + SNR), SNR = abar / (1 - abar), from the schedule's definition. */
static double inverse_snr(int t, double unused)
{
    (void)unused;
    double abar = 1;
    for (int i = 0; i <= t; i++) abar *= 1 - (1e-4 + i * (0.02 - 1e-4) / 999);
    return 1 / (1 + abar / (1 - abar));
}

static double one_minus_inverse_snr(int t, double unused)
{
    return 1 - inverse_snr(t, unused);
}

static double zero(int t, double unused)
{
    return 0 * t * unused;
}

static double one(int t, double unused)
{
    return 1 + 0 * t * unused;
}

static const double taus[] = {0, 0.25, 0.5, 1, 1.5, 7, 100};

static void the_paper_weighs_by_t_to_the_tau_and_one_minus_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof taus / sizeof taus[0]; i++) {
        difftuning d = opened(diff_tuning(DT_PRESET_PAPER, taus[i]));
        expect_table(&d.psi, power, taus[i]);
        expect_table(&d.xi, one_minus_power, taus[i]);
    }
}

static void the_released_code_mirrors_psi(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof taus / sizeof taus[0]; i++) {
        dt_settings s = diff_tuning(DT_PRESET_RELEASED, taus[i]);
        difftuning d = opened(s);
        expect_table(&d.psi, power, taus[i]);
        expect_table(&d.xi, mirrored_power, taus[i]);
        s.tau_retention = 0.3;
        d = opened(s);
        expect_table(&d.psi, power, taus[i]);
        expect_table(&d.xi, mirrored_power, 0.3);
    }
    assert_true(opened(diff_tuning(DT_PRESET_RELEASED, 1)).psi.sum * 1000 == 500500);
}

static void the_form_of_xi_can_be_chosen_against_the_preset(void **state)
{
    (void)state;
    dt_settings s = diff_tuning(DT_PRESET_PAPER, 2);
    s.xi = DT_XI_MIRROR;
    difftuning d = opened(s);
    expect_table(&d.xi, mirrored_power, 2);
    s = diff_tuning(DT_PRESET_RELEASED, 2);
    s.xi = DT_XI_ONE_MINUS;
    d = opened(s);
    expect_table(&d.xi, one_minus_power, 2);
}

static void the_snr_form_is_one_over_one_plus_snr(void **state)
{
    (void)state;
    dt_settings s = diff_tuning(DT_PRESET_PAPER, 3);
    s.psi = DT_PSI_SNR;
    difftuning d = opened(s);
    expect_table(&d.psi, inverse_snr, 0);
    expect_table(&d.xi, one_minus_inverse_snr, 0);
}

static void ablations_leave_out_one_half(void **state)
{
    (void)state;
    dt_settings s = diff_tuning(DT_PRESET_PAPER, 1);
    s.ablation = DT_ABLATION_RETENTION_ONLY;
    difftuning d = opened(s);
    expect_table(&d.psi, one, 0);
    expect_table(&d.xi, one_minus_power, 1);
    assert_int_equal(difftuning_retained_count(&d, 32), 16);
    s.ablation = DT_ABLATION_RECONSOLIDATION_ONLY;
    d = opened(s);
    expect_table(&d.psi, power, 1);
    expect_table(&d.xi, zero, 0);
    assert_int_equal(difftuning_retained_count(&d, 32), 0);
}

static void other_methods_draw_t_evenly_and_know_no_bank(void **state)
{
    (void)state;
    for (dt_method m = DT_METHOD_FINETUNE; m <= DT_METHOD_PRETRAIN; m++) {
        dt_settings s = diff_tuning(DT_PRESET_RELEASED, 2);
        s.method = m;
        s.bank_fraction = 0.5;
        difftuning d = opened(s);
        expect_table(&d.psi, one, 0);
        assert_int_equal(difftuning_retained_count(&d, 32), 0);
    }
}

static void tau_zero_of_the_paper_has_no_bank_and_divides_by_nothing(void **state)
{
    (void)state;
    difftuning d = opened(diff_tuning(DT_PRESET_PAPER, 0));
    assert_int_equal(difftuning_retained_count(&d, 32), 0);
    assert_true(d.retained_fraction == 0 && d.xi.sum == 0);
    for (int t = 0; t < METHOD_T; t++) assert_true(isfinite(d.xi.cumulated[t]) && isfinite(d.psi.cumulated[t]));
    dt_settings s = diff_tuning(DT_PRESET_PAPER, 1);
    s.method = DT_METHOD_FINETUNE;
    difftuning plain = opened(s);
    assert_memory_equal(d.psi.cumulated, plain.psi.cumulated, sizeof d.psi.cumulated);
    d = opened(diff_tuning(DT_PRESET_RELEASED, 0)); /* there both are uniform and the bank stays */
    assert_int_equal(difftuning_retained_count(&d, 32), 6);
    expect_table(&d.xi, one, 0);
}

/* ---- tables from files ---- */

static char table_text[1 << 16];

/* 1000 numbers, `number` in place of entry `at` (none for -1), with `separator` between and `tail` behind. */
static const char *write_table(const char *separator, int at, const char *number, const char *tail)
{
    char *end = table_text;
    for (int t = 0; t < METHOD_T; t++) {
        char plain[32];
        snprintf(plain, sizeof plain, "%g", (t % 7) / 2.0);
        end += sprintf(end, "%s%s", t ? separator : "", t == at ? number : plain);
    }
    end += sprintf(end, "%s", tail);
    temp_write("table", table_text, (size_t)(end - table_text));
    return temp_path("table");
}

static dt_status open_table(const char *path, char message[DT_MESSAGE_MAX])
{
    difftuning d;
    dt_error err = {0};
    dt_settings s = diff_tuning(DT_PRESET_PAPER, 1);
    s.psi = DT_PSI_TABLE;
    snprintf(s.psi_table, sizeof s.psi_table, "%s", path);
    difftuning_open(&d, &s, NOISE_LINEAR, &err);
    snprintf(message, DT_MESSAGE_MAX, "%s", err.message);
    return err.status;
}

static void tables_come_from_files(void **state)
{
    (void)state;
    static const char *const separators[] = {"\n", " ", ", ", "\t\r\n", ","};
    for (size_t k = 0; k < sizeof separators / sizeof separators[0]; k++) {
        dt_settings s = diff_tuning(DT_PRESET_RELEASED, 1);
        s.psi = DT_PSI_TABLE;
        s.xi = DT_XI_TABLE;
        snprintf(s.psi_table, sizeof s.psi_table, "%s", write_table(separators[k], -1, "", "\n"));
        snprintf(s.xi_table, sizeof s.xi_table, "%s", s.psi_table);
        difftuning d = opened(s);
        for (int t = 0; t < METHOD_T; t++)
            assert_true(d.psi.value[t] == (t % 7) / 2.0 && d.xi.value[t] == d.psi.value[t]);
    }
}

static void refuse_table(int at, const char *number, const char *tail, const char *part)
{
    char message[DT_MESSAGE_MAX];
    assert_int_equal(open_table(write_table(" ", at, number, tail), message), DT_ERR_FORMAT);
    assert_says(message, temp_path("table"));
    assert_says(message, part);
}

static void hostile_tables_are_refused(void **state)
{
    (void)state;
    static const char *const numbers[] = {"-1", "nan", "inf", "-0.001", "1e7", "1e308", "1e999", "x", "--1", "1x"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) refuse_table(500, numbers[i], "", "number 50");
    refuse_table(-1, "", " 1", "found more");
    refuse_table(-1, "", " x", "found more");
    refuse_table(999, "", "", "number 1000");
    char message[DT_MESSAGE_MAX];
    write_table(" ", -1, "", "");
    temp_write("nul", table_text, strlen(table_text) + 1); /* a zero byte and what it would hide */
    assert_int_equal(open_table(temp_path("nul"), message), DT_ERR_FORMAT);
    temp_write("empty", "", 0);
    assert_int_equal(open_table(temp_path("empty"), message), DT_ERR_FORMAT);
    assert_int_equal(open_table(temp_path("absent"), message), DT_ERR_IO);
    assert_int_equal(open_table(temp_folder, message), DT_ERR_IO);
    char *big = calloc(1, 2 << 20);
    memset(big, ' ', 2 << 20);
    temp_write("big", big, 2 << 20);
    free(big);
    assert_int_equal(open_table(temp_path("big"), message), DT_ERR_FORMAT);
}

static void a_table_of_zeros_cannot_teach(void **state)
{
    (void)state;
    char message[DT_MESSAGE_MAX], zeros[2 * METHOD_T];
    for (int t = 0; t < METHOD_T; t++) memcpy(zeros + 2 * t, "0 ", 2);
    temp_write("zeros", zeros, sizeof zeros);
    assert_int_equal(open_table(temp_path("zeros"), message), DT_ERR_ARG);
    assert_says(message, "psi");
}

/* ---- drawing t ---- */

enum { DRAWS = 200000, BINS = 50 };

static void check_draws(const difftuning *d, bool from_bank)
{
    int64_t count[BINS] = {0};
    double expected[BINS] = {0};
    const time_table *table = from_bank ? &d->xi : &d->psi;
    for (int t = 0; t < METHOD_T; t++) expected[t * BINS / METHOD_T] += table->value[t] / table->sum * DRAWS;
    for (uint32_t i = 0; i < DRAWS; i++) {
        difftuning_time drawn = difftuning_draw(d, from_bank, (rng_key){3, RNG_TIMESTEP, i, from_bank});
        assert_in_range(drawn.t, 0, METHOD_T - 1);
        assert_true(drawn.weight == 1 && table->value[drawn.t] > 0);
        count[drawn.t * BINS / METHOD_T]++;
    }
    assert_true(chi_square_is_plausible(count, expected, BINS));
}

static void t_is_drawn_from_psi_and_xi(void **state)
{
    (void)state;
    static const double some[] = {0.5, 1, 2.5};
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        for (dt_preset p = DT_PRESET_PAPER; p <= DT_PRESET_RELEASED; p++) {
            difftuning d = opened(diff_tuning(p, some[i]));
            check_draws(&d, false);
            check_draws(&d, true);
        }
}

/* The published mean times at tau = 1: 666 and 333. */
static void the_mean_times_are_those_of_the_released_code(void **state)
{
    (void)state;
    double sum[2] = {0};
    difftuning d = opened(diff_tuning(DT_PRESET_RELEASED, 1));
    for (uint32_t i = 0; i < DRAWS; i++)
        for (int half = 0; half < 2; half++)
            sum[half] += difftuning_draw(&d, half, (rng_key){8, RNG_TIMESTEP, i, (uint32_t)half}).t / (double)DRAWS;
    assert_true(fabs(sum[0] - 666) < 3 && fabs(sum[1] - 333) < 3);
}

static void a_table_with_one_entry_always_gives_that_t(void **state)
{
    (void)state;
    static const int only[] = {0, 1, 500, 999};
    for (size_t k = 0; k < sizeof only / sizeof only[0]; k++) {
        char text[2 * METHOD_T];
        for (int t = 0; t < METHOD_T; t++) memcpy(text + 2 * t, t == only[k] ? "7 " : "0 ", 2);
        temp_write("only", text, sizeof text);
        dt_settings s = diff_tuning(DT_PRESET_PAPER, 1);
        s.psi = DT_PSI_TABLE;
        snprintf(s.psi_table, sizeof s.psi_table, "%s", temp_path("only"));
        difftuning d = opened(s);
        for (uint32_t i = 0; i < 2000; i++)
            assert_int_equal(difftuning_draw(&d, false, (rng_key){1, RNG_TIMESTEP, i, 0}).t, only[k]);
    }
}

/* Equations 3 and 4: t even, the loss weighted; the same expectation as Algorithm 1 up to the mean of the table. */
static void weighting_has_the_expectation_of_sampling(void **state)
{
    (void)state;
    for (dt_preset p = DT_PRESET_PAPER; p <= DT_PRESET_RELEASED; p++)
        for (int from_bank = 0; from_bank < 2; from_bank++) {
            dt_settings s = diff_tuning(p, 1.7);
            s.t_law = DT_T_WEIGHT;
            difftuning d = opened(s);
            const time_table *table = from_bank ? &d.xi : &d.psi;
            int64_t count[BINS] = {0};
            double even[BINS], mean = 0, expected = 0;
            for (int i = 0; i < BINS; i++) even[i] = (double)DRAWS / BINS;
            for (int t = 0; t < METHOD_T; t++) expected += table->value[t] * sin(t / 100.0) / METHOD_T;
            for (uint32_t i = 0; i < DRAWS; i++) {
                difftuning_time drawn = difftuning_draw(&d, from_bank, (rng_key){5, RNG_TIMESTEP, i, 0});
                assert_true(drawn.weight == table->value[drawn.t]);
                count[drawn.t * BINS / METHOD_T]++;
                mean += drawn.weight * sin(drawn.t / 100.0) / DRAWS;
            }
            assert_true(chi_square_is_plausible(count, even, BINS));
            assert_true(fabs(mean - expected) < 5 / sqrt(DRAWS));
        }
}

/* ---- split and shares ---- */

static void a_batch_is_split_as_the_presets_say(void **state)
{
    (void)state;
    difftuning paper = opened(diff_tuning(DT_PRESET_PAPER, 1)), released = opened(diff_tuning(DT_PRESET_RELEASED, 1));
    assert_int_equal(difftuning_retained_count(&paper, 32), 16);
    assert_int_equal(difftuning_retained_count(&released, 32), 6);
    assert_int_equal(difftuning_retained_count(&released, 64), 12);
    for (int64_t n = 2; n < 300; n++) {
        assert_int_equal(difftuning_retained_count(&paper, n), n / 2);
        int64_t fifth = n / 5;
        assert_int_equal(difftuning_retained_count(&released, n), fifth ? fifth : 1);
    }
}

static void both_halves_are_in_every_batch_of_two_and_more(void **state)
{
    (void)state;
    for (int64_t n = 2; n < 100; n++)
        for (double fraction = 0.01; fraction < 1; fraction += 0.049) {
            dt_settings s = diff_tuning(DT_PRESET_PAPER, 1);
            s.bank_fraction = fraction;
            difftuning d = opened(s);
            int64_t count = difftuning_retained_count(&d, n);
            assert_true(count >= 1 && count < n && (double)count <= fmax(1, fraction * (double)n));
        }
}

/* Equation 5: the halves' means, retention times its weight. */
static void shares_make_means_of_the_halves(void **state)
{
    (void)state;
    dt_settings s = diff_tuning(DT_PRESET_RELEASED, 1);
    difftuning d = opened(s);
    assert_true(fabs(26 * difftuning_share(&d, false, 26) - 1) < 1e-15);
    assert_true(fabs(6 * difftuning_share(&d, true, 6) - 0.1) < 1e-15);
    s.retention_weight = 3;
    d = opened(s);
    assert_true(fabs(6 * difftuning_share(&d, true, 6) - 3) < 1e-14);
    d = opened(diff_tuning(DT_PRESET_PAPER, 1));
    assert_true(difftuning_share(&d, true, 16) == difftuning_share(&d, false, 16));
}

static void the_line_says_what_is_in_force(void **state)
{
    (void)state;
    dt_settings s = diff_tuning(DT_PRESET_RELEASED, 1.5);
    s.t_law = DT_T_WEIGHT;
    difftuning d = opened(s);
    static const char *const parts[] = {"released", "tau 1.5", "mirrored", "weighted", "share 0.2", "weight 0.1"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) assert_says(d.line, parts[i]);
    d = opened(diff_tuning(DT_PRESET_PAPER, 0));
    assert_says(d.line, "retention none");
    s.psi = DT_PSI_SNR; /* xi is the mirror image of a power of t all the same */
    d = opened(s);
    assert_says(d.line, "psi 1/(1+SNR)");
    assert_says(d.line, "xi mirrored t^1.5,");
    s.psi = DT_PSI_POWER;
    s.tau_retention = 2;
    d = opened(s);
    assert_says(d.line, "xi mirrored t^2,");
}

/* ---- the feed ---- */

static ctx context;
static dt_settings settings;
static trainer fed;
static const dt_observer nobody = {0};

static void open_feed(dt_settings s)
{
    settings = s;
    assert_int_equal(ctx_open(&context, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (trainer_open(&fed, &context, &settings, &nobody, model_kinds_all) != DT_OK)
        fail_msg("%s", context.error.message);
}

static void close_feed(void)
{
    trainer_close(&fed);
    ctx_close(&context);
}

static batch feed(int64_t step, int64_t micro)
{
    batch b;
    arena_clear(&context.step);
    fed.step = step;
    assert_true(batch_new(&context, &b, &fed.model, settings.train_batch_size));
    fixture_feed(&fed, &b, micro);
    return b;
}

static void a_walk_takes_every_item_once_per_epoch(void **state)
{
    (void)state;
    enum { COUNT = 37, EPOCHS = 5 };
    shuffled o;
    assert_int_equal(ctx_open(&context, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    shuffled_open(&context, &o, COUNT, 9, RNG_DATA_ORDER);
    int64_t order[EPOCHS][COUNT];
    for (int e = 0; e < EPOCHS; e++) {
        bool seen[COUNT] = {false};
        for (int i = 0; i < COUNT; i++) {
            order[e][i] = shuffled_at(&o, e * COUNT + i);
            assert_in_range(order[e][i], 0, COUNT - 1);
            assert_false(seen[order[e][i]]);
            seen[order[e][i]] = true;
        }
        if (e) assert_memory_not_equal(order[e], order[e - 1], sizeof order[e]);
    }
    assert_int_equal(shuffled_at(&o, 3), order[0][3]); /* back again, as a resumed run comes to it */
    assert_int_equal(shuffled_at(&o, 4 * COUNT + 8), order[4][8]);
    ctx_close(&context);
}

static void retained_samples_are_without_class_and_one_in_ten_targets_is(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.train_batch_size = 32;
    open_feed(s);
    int64_t dropped = 0, targets = 0, of_class[4] = {0};
    for (int64_t step = 0; step < 250; step++) {
        batch b = feed(step, 0);
        assert_int_equal(b.target_count, 16);
        for (int64_t i = 0; i < 32; i++) {
            if (i >= 16) assert_int_equal(b.label[i], 3);
            if (i >= 16) continue;
            assert_in_range(b.label[i], 0, 3);
            of_class[b.label[i]]++;
            dropped += b.label[i] == 3;
            targets++;
        }
    }
    assert_true(fabs((double)dropped - 0.1 * (double)targets) < 5 * sqrt(0.09 * (double)targets));
    for (int c = 0; c < 3; c++) assert_true(fabs((double)of_class[c] / (double)targets - 0.3) < 0.03);
    close_feed();
    s.class_dropout_prob = 0;
    open_feed(s);
    for (int64_t step = 0; step < 20; step++) {
        batch b = feed(step, 0);
        for (int64_t i = 0; i < 16; i++) assert_true(b.label[i] < 3);
    }
    close_feed();
}

/* Whether x0 is that picture, as it is or mirrored left to right. */
static bool is_picture(const float *x0, const float *picture, bool *mirrored)
{
    float flipped[3 * FIXTURE_SIZE * FIXTURE_SIZE];
    for (int i = 0; i < 3 * FIXTURE_SIZE * FIXTURE_SIZE; i++)
        flipped[i] = picture[i / FIXTURE_SIZE * FIXTURE_SIZE + FIXTURE_SIZE - 1 - i % FIXTURE_SIZE];
    *mirrored = !memcmp(x0, flipped, sizeof flipped);
    return *mirrored || !memcmp(x0, picture, sizeof flipped);
}

static int64_t target_of(const float *x0, bool *mirrored)
{
    float picture[3 * FIXTURE_SIZE * FIXTURE_SIZE];
    for (int64_t i = 0; i < fed.train.count; i++) {
        examples_get(picture, &fed.train, i, false, NULL);
        if (is_picture(x0, picture, mirrored)) return i;
    }
    return -1;
}

static int64_t retained_of(const float *x0, bool *mirrored)
{
    float picture[3 * FIXTURE_SIZE * FIXTURE_SIZE];
    for (int64_t i = 0; i < fed.bank.count; i++) {
        examples_get(picture, &fed.bank, i, false, NULL);
        if (is_picture(x0, picture, mirrored)) return i;
    }
    return -1;
}

/* The released code gives both halves the same transform. */
static void both_halves_are_walked_evenly_and_half_of_them_mirrored(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.class_dropout_prob = 0;
    s.train_batch_size = 8;
    open_feed(s);
    int64_t size = sample_values(fed.bank.shape), mirrored_count[2] = {0}, seen[2][12] = {{0}};
    for (int64_t step = 0; step < 180; step++) {
        batch b = feed(step, 0);
        for (int64_t i = 0; i < 8; i++) {
            bool mirrored = false, retained = i >= 4;
            const float *x0 = b.x0->data + i * size;
            int64_t which = retained ? retained_of(x0, &mirrored) : target_of(x0, &mirrored);
            assert_in_range(which, 0, 11);
            if (!retained) assert_int_equal(b.label[i], fed.train.pictures.label[which]);
            mirrored_count[retained] += mirrored;
            seen[retained][which]++;
        }
    }
    for (int i = 0; i < 12; i++) assert_int_equal(seen[0][i], 60); /* 720 of each; 12 pictures, 9 in the bank */
    for (int i = 0; i < 9; i++) assert_int_equal(seen[1][i], 80);
    for (int k = 0; k < 2; k++) assert_true(fabs((double)mirrored_count[k] - 360) < 5 * sqrt(180));
    close_feed();
}

static void nothing_is_mirrored_unless_asked(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.random_flip = false;
    open_feed(s);
    for (int64_t step = 0; step < 20; step++) {
        batch b = feed(step, 0);
        for (int64_t i = 0; i < b.count; i++) {
            bool mirrored = false;
            const float *x0 = b.x0->data + i * sample_values(fed.bank.shape);
            assert_true((i < b.target_count ? target_of(x0, &mirrored) : retained_of(x0, &mirrored)) >= 0);
            assert_false(mirrored);
        }
    }
    close_feed();
}

/* At tau = 1: the means of (t + 1) / T and of 1 minus it under themselves, about 666 and 333. */
static void each_half_draws_t_from_its_own_table(void **state)
{
    (void)state;
    double sum[2] = {0};
    dt_settings s = fixture_settings("");
    s.train_batch_size = 32;
    open_feed(s);
    for (int64_t step = 0; step < 200; step++) {
        batch b = feed(step, 0);
        for (int64_t i = 0; i < 32; i++) sum[i >= 16] += b.t[i] / (200.0 * 16);
    }
    assert_true(fabs(sum[0] - 666) < 25 && fabs(sum[1] - 333) < 25);
    close_feed();
}

static void a_batch_has_the_weights_of_equation_5(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.train_batch_size = 32;
    s.preset = DT_PRESET_RELEASED;
    s.gradient_accumulation_steps = 2;
    open_feed(s);
    double sum[2] = {0};
    for (int64_t micro = 0; micro < 2; micro++) {
        batch b = feed(5, micro);
        assert_int_equal(b.target_count, 26);
        for (int64_t i = 0; i < 32; i++) sum[i >= 26] += (double)b.weight[i];
    }
    assert_true(fabs(sum[0] - 1) < 1e-6 && fabs(sum[1] - 0.1) < 1e-7);
    close_feed();
}

/* Of no two samples of a run are the random choices shared. */
static void every_sample_has_its_own_noise(void **state)
{
    (void)state;
    enum { SAMPLES = 2 * 3 * 4 };
    float first[SAMPLES][8];
    int count = 0;
    dt_settings s = fixture_settings("");
    s.gradient_accumulation_steps = 3;
    open_feed(s);
    for (int64_t step = 0; step < 2; step++)
        for (int64_t micro = 0; micro < 3; micro++) {
            batch b = feed(step, micro);
            int64_t size = tensor_count(b.noise) / b.count;
            for (int64_t i = 0; i < 4; i++) memcpy(first[count++], b.noise->data + i * size, sizeof first[0]);
        }
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) assert_memory_not_equal(first[i], first[j], sizeof first[0]);
    close_feed();
}

static void x_t_is_the_picture_under_its_noise(void **state)
{
    (void)state;
    open_feed(fixture_settings(""));
    for (int64_t step = 0; step < 5; step++) {
        batch b = feed(step, 0);
        int64_t size = tensor_count(b.x0) / b.count;
        for (int64_t i = 0; i < b.count * size; i++) {
            double abar = fed.schedule.abar[b.t[i / size]];
            double expected = sqrt(abar) * (double)b.x0->data[i] + sqrt(1 - abar) * (double)b.noise->data[i];
            assert_true(fabs((double)b.xt->data[i] - expected) < 1e-6);
        }
    }
    close_feed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_paper_weighs_by_t_to_the_tau_and_one_minus_it),
        cmocka_unit_test(the_released_code_mirrors_psi),
        cmocka_unit_test(the_form_of_xi_can_be_chosen_against_the_preset),
        cmocka_unit_test(the_snr_form_is_one_over_one_plus_snr),
        cmocka_unit_test(ablations_leave_out_one_half),
        cmocka_unit_test(other_methods_draw_t_evenly_and_know_no_bank),
        cmocka_unit_test(tau_zero_of_the_paper_has_no_bank_and_divides_by_nothing),
        cmocka_unit_test(tables_come_from_files),
        cmocka_unit_test(hostile_tables_are_refused),
        cmocka_unit_test(a_table_of_zeros_cannot_teach),
        cmocka_unit_test(t_is_drawn_from_psi_and_xi),
        cmocka_unit_test(the_mean_times_are_those_of_the_released_code),
        cmocka_unit_test(a_table_with_one_entry_always_gives_that_t),
        cmocka_unit_test(weighting_has_the_expectation_of_sampling),
        cmocka_unit_test(a_batch_is_split_as_the_presets_say),
        cmocka_unit_test(both_halves_are_in_every_batch_of_two_and_more),
        cmocka_unit_test(shares_make_means_of_the_halves),
        cmocka_unit_test(the_line_says_what_is_in_force),
        cmocka_unit_test(a_walk_takes_every_item_once_per_epoch),
        cmocka_unit_test(retained_samples_are_without_class_and_one_in_ten_targets_is),
        cmocka_unit_test(both_halves_are_walked_evenly_and_half_of_them_mirrored),
        cmocka_unit_test(nothing_is_mirrored_unless_asked),
        cmocka_unit_test(each_half_draws_t_from_its_own_table),
        cmocka_unit_test(a_batch_has_the_weights_of_equation_5),
        cmocka_unit_test(every_sample_has_its_own_noise),
        cmocka_unit_test(x_t_is_the_picture_under_its_noise),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
