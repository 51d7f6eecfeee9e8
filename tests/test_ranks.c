/* Several ranks: what they say to each other, what each keeps, and that a call by any number of them gives what one process gives. */
#include "rank_fixture.h"

#include <math.h>

#include "rank/launch.h"
#include "run/loop.h"
#include "train/shared.h"

static int code[FIXTURE_RANKS_MAX];

static void assert_all_end_with(int count, int expected)
{
    for (int i = 0; i < count; i++)
        if (code[i] != expected)
            fail_msg("rank %d of %d ended with %d: %s", i, count, code[i], code[i] < 20 ? rank_message(i) : "");
}

/* ---- what they say ---- */

static int talk(rank_group *g, void *user)
{
    enum { BYTES = 300000 };
    static char all[FIXTURE_RANKS_MAX][BYTES], mine[BYTES];
    dt_error err = {0};
    rank_order order = {0};
    (void)user;
    memset(mine, 'a' + g->index, sizeof mine);
    if (rank_gather(g, all, mine, sizeof mine, &err) != DT_OK) return 1;
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < BYTES; k++)
            if (all[i][k] != 'a' + i) return 2;
    mine[7] = g->index == 0 ? 'x' : 'y';
    if (rank_spread(g, mine, sizeof mine, &err) != DT_OK || mine[7] != 'x' || mine[8] != 'a') return 3;
    if (g->index == 0)
        rank_tell(g, (rank_order){RANK_COLLECT, 5, -1}, &err);
    else if (rank_hear(g, &order, &err) != DT_OK || order.what != RANK_COLLECT || order.number != 5 ||
             order.value != -1)
        return 4;
    if (g->local_count != g->count || rank_is_lost(g)) return 5;
    ranks_close(g);
    return err.status;
}

static void what_one_rank_says_the_others_hear(void **state)
{
    (void)state;
    for (int count = 1; count <= FIXTURE_RANKS_MAX; count++) {
        rank_run(count, talk, NULL, code);
        assert_all_end_with(count, 0);
    }
}

static int die_or_wait(rank_group *g, void *user)
{
    const int *victim = user;
    char all[FIXTURE_RANKS_MAX];
    dt_error err = {0};
    if (g->index == *victim) return 0; /* the system closes what it holds */
    const dt_status status = rank_gather(g, all, "", 1, &err);
    char named[32];
    snprintf(named, sizeof named, "rank %d of %d has ended", *victim, g->count);
    return status == DT_ERR_IO && g->lost == *victim && strstr(err.message, named) ? 20 : 21;
}

static void who_waits_for_a_rank_that_has_ended_learns_which(void **state)
{
    (void)state;
    for (int victim = 0; victim < 3; victim++) {
        rank_run(3, die_or_wait, &victim, code);
        for (int i = 0; i < 3; i++) assert_int_equal(code[i], i == victim ? 0 : 20);
    }
}

/* As a step that fails at rank 0 between two of its transfers: what the others wait for does not come. */
static int fail_inside_an_order(rank_group *g, void *user)
{
    char sum[1000] = "";
    dt_error err = {0};
    (void)user;
    rank_begin(g);
    rank_begun(g);
    if (g->index == 0) {
        rank_tell(g, (rank_order){RANK_STEP, 0, 0}, &err);
        rank_tell_end(g, DT_ERR_MEMORY);
        ranks_close(g);
        return 20;
    }
    rank_order order;
    rank_hear(g, &order, &err);
    rank_transfer(g, &(rank_part){0, false, sum, sizeof sum}, 1, &err);
    const bool named = err.status == DT_ERR_IO && strstr(err.message, "rank 0 of 3 has ended");
    ranks_close(g);
    return named ? 20 : 21;
}

static void a_step_that_is_broken_off_leaves_nobody_waiting(void **state)
{
    (void)state;
    rank_run(3, fail_inside_an_order, NULL, code);
    assert_all_end_with(3, 20);
}

static int be_of_another_kind(rank_group *g, void *user)
{
    dt_error err = {0};
    (void)user;
    rank_agree(g, g->index == 2 ? "of yesterday" : "of today", &err);
    const bool told = strstr(err.message, "rank 2 is of yesterday, rank 0 is of today") != NULL;
    ranks_close(g);
    return told ? err.status : 99;
}

static void ranks_of_another_kind_are_refused(void **state)
{
    (void)state;
    rank_run(3, be_of_another_kind, NULL, code);
    assert_all_end_with(3, DT_ERR_CONFLICT);
}

static void what_started_a_process_is_read_from_its_variables(void **state)
{
    (void)state;
    static const struct {
        const char *index, *count, *by;
        bool has_mpi;
    } known[] = {{"RANK", "WORLD_SIZE", "torchrun", false},
                 {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun", true},
                 {"PMI_RANK", "PMI_SIZE", "mpirun", true},
                 {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun", true}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        unsetenv(known[i].index);
        unsetenv(known[i].count);
    }
    launch l;
    dt_error err = {0};
    assert_int_equal(launch_find(&l, &err), DT_OK);
    assert_int_equal(l.count, 1);
    assert_null(l.by);
    setenv("SLURM_NTASKS", "4", 1); /* a batch script has it too */
    setenv("WORLD_SIZE", "1", 1);
    assert_int_equal(launch_find(&l, &err), DT_OK);
    assert_int_equal(l.count, 1);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) { /* later ones win over earlier ones */
        setenv(known[i].index, "2", 1);
        setenv(known[i].count, "5", 1);
        assert_int_equal(launch_find(&l, &err), DT_OK);
        assert_string_equal(l.by, known[i].by);
        assert_int_equal(l.index, 2);
        assert_int_equal(l.count, 5);
        assert_int_equal(l.has_mpi, known[i].has_mpi);
    }
    for (size_t i = sizeof known / sizeof *known; i-- > 0;) {
        static const char *const wrong[] = {"", "x", "-1", "5", "2x", "99999999999"};
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
            setenv(known[i].index, wrong[k], 1);
            assert_int_equal(launch_find(&l, &err), DT_ERR_ARG);
            assert_says(err.message, known[i].count);
            error_clear(&err);
        }
        unsetenv(known[i].index);
        assert_int_equal(launch_find(&l, &err), DT_ERR_ARG); /* one of five, not known which */
        error_clear(&err);
        setenv(known[i].index, "0", 1);
        setenv(known[i].count, "0", 1);
        assert_int_equal(launch_find(&l, &err), DT_ERR_ARG);
        error_clear(&err);
        unsetenv(known[i].index);
        unsetenv(known[i].count);
    }
    assert_int_equal(launch_find(&l, &err), DT_OK);
    unsetenv("SLURM_NTASKS");
}

/* Each would do the whole work, into one folder. */
static void processes_that_cannot_reach_each_other_are_refused(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("refused");
    setenv("RANK", "0", 1);
    setenv("WORLD_SIZE", "2", 1);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(fixture_message, "torchrun started 2 processes, which find each other at MASTER_ADDR"));
    assert_false(file_exists(temp_path("refused")));
    s.ranks = DT_RANKS_ALONE;
    fixture_train_to_the_end(&s);
    unsetenv("RANK");
    unsetenv("WORLD_SIZE");
    fixture_remove("refused");
}

/* ---- what each keeps ---- */

static void every_value_is_kept_by_one_rank(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 15, 16, 17, 1000, 3, 64, 4097, 2, 333};
    enum { ROWS = sizeof sizes / sizeof *sizes };
    tensor t[ROWS] = {0};
    train_row row[ROWS] = {0};
    trainset set = {.row = row, .count = ROWS};
    int64_t total = 0;
    for (int i = 0; i < ROWS; i++) {
        t[i].dim_count = 1;
        t[i].dim[0] = sizes[i];
        row[i].tensor = &t[i];
        row[i].at = total;
        total += sizes[i];
    }
    for (int count = 1; count <= 40; count++) {
        int64_t kept[40] = {0};
        for (int i = 0; i < ROWS; i++) {
            int64_t next = 0;
            for (int rank = 0; rank < count; rank++) {
                const row_part p = trainset_part(&set, i, rank, count);
                assert_int_equal(p.first, next);
                assert_true(p.count >= 0 && (p.first % 16 == 0 || p.first == sizes[i]));
                next += p.count;
                kept[rank] += p.count;
            }
            assert_int_equal(next, sizes[i]);
        }
        for (int rank = 0; rank < count; rank++) assert_true(llabs(kept[rank] - total / count) <= 16);
    }
}

static void samples_are_dealt_out_evenly(void **state)
{
    (void)state;
    for (int64_t size = 1; size < 20; size++)
        for (int64_t retained = 0; retained < size; retained++)
            for (int count = 1; count < 9; count++) {
                const step_plan plan = {.batch = size, .retained_count = retained};
                int64_t targets = 0, back = retained;
                for (int rank = 0; rank < count; rank++) {
                    const step_share s = feed_share(&plan, rank, count);
                    assert_int_equal(s.target_first, targets);
                    assert_int_equal(s.retained_first + s.retained_count, back);
                    assert_true(llabs((s.target_count + s.retained_count) * count - size) < 2 * count);
                    targets += s.target_count;
                    back = s.retained_first;
                }
                assert_int_equal(targets, size - retained);
                assert_int_equal(back, 0);
            }
}

/* ---- runs ---- */

static int train(rank_group *g, void *user)
{
    return (int)rank_call(g, dt_train, user, NULL);
}

static void train_by(int count, dt_settings s, const char *output)
{
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    if (count == 1) {
        fixture_train_to_the_end(&s);
        return;
    }
    rank_run(count, train, &s, code);
    assert_all_end_with(count, DT_OK);
}

/* The greatest difference of two files' values, as a share of the greatest value of their tensor. */
static double difference(const char *folder, const char *other, const char *name)
{
    tensor_file a, b;
    dt_error err = {0};
    double worst = 0;
    assert_int_equal(safetensors_open(&a, temp_path_in(folder, name), &err), DT_OK);
    assert_int_equal(safetensors_open(&b, temp_path_in(other, name), &err), DT_OK);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        const tensor_entry *e = &a.entries[i], *f = tensor_file_find(&b, e->name);
        const float *x = (const void *)e->data, *y = f ? (const void *)f->data : NULL;
        double greatest = 1e-12, apart = 0;
        assert_true(f && f->count == e->count);
        for (int64_t k = 0; k < e->count; k++) {
            greatest = fmax(greatest, fabs((double)x[k]));
            apart = fmax(apart, fabs((double)x[k] - (double)y[k]));
        }
        worst = fmax(worst, apart / greatest);
    }
    tensor_file_close(&a);
    tensor_file_close(&b);
    return worst;
}

/* Six steps, their checkpoint and result. Adam divides by the root of a gradient's mean square: where that is all rounding, so is the
 * step, which is bounded by the rate. */
static void assert_same_run(const char *one, const char *other, const dt_settings *s)
{
    static const char *const file[] = {"model", "ema", "optimizer", "power"};
    for (int i = 0; i < (s->ema_power[0] ? 4 : 3); i++) {
        /* a moment between two bfloat16 numbers may become either */
        const double bound = i == 2 && s->adam_moments == DT_PRECISION_BF16 ? 1.0 / 128 : 2e-4;
        char name[64];
        snprintf(name, sizeof name, "checkpoints/step-00000006/%s.safetensors", file[i]);
        const double apart = difference(one, other, name);
        if (!(apart < bound)) fail_msg("%s and %s: %s is %g apart", one, other, name, apart);
    }
}

static dt_settings plain(void)
{
    dt_settings s = fixture_settings("");
    s.adam_epsilon = 1e-4; /* so that rounding does not decide the direction of a step */
    return s;
}

static dt_settings with_powers(void)
{
    dt_settings s = plain();
    snprintf(s.ema_power, sizeof s.ema_power, "0.05,0.1");
    s.l2_sp = 0.1;
    s.gradient_accumulation_steps = 2;
    s.max_grad_norm = 0.1;
    return s;
}

static dt_settings with_adapter(void)
{
    dt_settings s = plain();
    s.adapter = DT_ADAPTER_LORA;
    return s;
}

static dt_settings distilled(void)
{
    dt_settings s = plain();
    s.retention = DT_RETENTION_BANK_DISTIL;
    return s;
}

static dt_settings self_distilled(void)
{
    dt_settings s = plain();
    s.retention = DT_RETENTION_SDFT;
    s.adapter = DT_ADAPTER_LORA;
    s.train_batch_size = 5;
    return s;
}

static dt_settings with_narrow_moments(void)
{
    dt_settings s = plain();
    s.adam_moments = DT_PRECISION_BF16;
    return s;
}

static dt_settings of_two_samples(void)
{
    dt_settings s = plain();
    s.train_batch_size = 2;
    s.gradient_checkpointing = true;
    return s;
}

static void any_number_of_ranks_makes_the_run_of_one(void **state)
{
    (void)state;
    static dt_settings (*const kind[])(void) = {plain,     with_powers,    with_adapter,  with_narrow_moments,
                                                distilled, self_distilled, of_two_samples};
    for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
        const dt_settings s = kind[i]();
        train_by(1, s, "one");
        for (int count = 2; count <= FIXTURE_RANKS_MAX; count++) {
            train_by(count, s, "many");
            assert_same_run("one", "many", &s);
            if (count == 3) { /* and again, to the bit */
                train_by(count, s, "again");
                assert_true(difference("many", "again", "checkpoints/step-00000006/optimizer.safetensors") == 0);
                assert_true(difference("many", "again", "checkpoints/step-00000006/model.safetensors") == 0);
                fixture_remove("again");
            }
            fixture_remove("many");
        }
        fixture_remove("one");
    }
}

static int train_three(rank_group *g, void *user)
{
    fixture_watch watch = {.stop_before = g->index == g->count - 1 ? 3 : -1};
    const dt_observer observer = {.user = &watch, .should_stop = fixture_stop};
    return (int)rank_call(g, dt_train, user, &observer);
}

/* The rank that is asked to stop is not the one that leads. */
static void a_stop_at_any_rank_stops_all_with_one_checkpoint(void **state)
{
    (void)state;
    static const int then[] = {1, 2, 3, 4};
    dt_settings s = plain();
    train_by(1, s, "one");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("many"));
    for (int count = 2; count <= 3; count++)
        for (size_t i = 0; i < sizeof then / sizeof *then; i++) {
            rank_run(count, train_three, &s, code);
            assert_all_end_with(count, DT_ERR_INTERRUPTED);
            assert_non_null(strstr(rank_message(0), "stopped at step 4 with a checkpoint"));
            assert_string_equal(rank_message(1), "");
            assert_true(file_exists(temp_path("many/checkpoints/step-00000004/manifest.json")));
            train_by(then[i], s, "many");
            assert_same_run("one", "many", &s);
            fixture_remove("many");
        }
    fixture_remove("one");
}

typedef struct death {
    dt_settings s;
    int victim;
} death;

/* Asked once before each step. */
static bool die_at_the_fourth(void *user)
{
    int *asked = user;
    if (++*asked == 4) _exit(97);
    return false;
}

static int train_or_die(rank_group *g, void *user)
{
    const death *d = user;
    int asked = 0;
    const dt_observer observer = {.user = &asked, .should_stop = g->index == d->victim ? die_at_the_fourth : NULL};
    return (int)rank_call(g, dt_train, &d->s, &observer);
}

static void a_rank_that_dies_ends_the_others_with_its_name(void **state)
{
    (void)state;
    death d = {.s = plain()};
    train_by(1, d.s, "one");
    snprintf(d.s.output_dir, sizeof d.s.output_dir, "%s", temp_path("many"));
    d.s.checkpointing_steps = 2;
    for (d.victim = 0; d.victim < 3; d.victim++) {
        char named[128];
        const int teller = d.victim == 0 ? 1 : 0;
        rank_run(3, train_or_die, &d, code);
        for (int i = 0; i < 3; i++) assert_int_equal(code[i], i == d.victim ? 97 : DT_ERR_IO);
        snprintf(named, sizeof named,
                 "rank %d of 3 has ended before the run was done; the checkpoint of step 2 is good", d.victim);
        if (!strstr(rank_message(teller), named)) fail_msg("%s", rank_message(teller));
        train_by(1 + d.victim, d.s, "many");
        assert_same_run("one", "many", &d.s);
        fixture_remove("many");
    }
    fixture_remove("one");
}

/* ---- what is wrong at one of them ---- */

static int train_with_bad_numbers(rank_group *g, void *user)
{
    dt_context *c = NULL;
    training r = {0};
    const dt_observer nobody = {0};
    dt_settings s = *(const dt_settings *)user;
    s.ranks = DT_RANKS_ALONE;
    fixture_choose_device(&s);
    if (dt_open(&c, &s) != DT_OK) return 98;
    c->ranks = g;
    rank_begin(g);
    rank_begun(g);
    if (training_open(&r, c, &s, &nobody, model_kinds_all) == DT_OK) {
        if (g->index == 1) fixture_fill(&r.trainer.train, NAN);
        training_through(&r);
    }
    rank_tell_end(g, c->error.status);
    const bool none = r.trainer.optimizer.update_count == 0 && r.trainer.skipped == 5;
    const dt_status status = none ? c->error.status : 96;
    training_close(&r);
    dt_close(c);
    return (int)status;
}

static void a_step_that_is_not_finite_at_one_rank_is_skipped_by_all(void **state)
{
    (void)state;
    dt_settings s = plain();
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("bad"));
    rank_run(3, train_with_bad_numbers, &s, code);
    for (int i = 0; i < 3; i++) assert_int_equal(code[i], DT_ERR_NUMERIC);
    fixture_remove("bad");
}

static int train_by_another_rate(rank_group *g, void *user)
{
    dt_settings s = *(const dt_settings *)user;
    if (g->index == 1) s.learning_rate *= 2;
    return (int)rank_call(g, dt_train, &s, NULL);
}

static void ranks_with_different_settings_are_refused(void **state)
{
    (void)state;
    dt_settings s = plain();
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("different"));
    rank_run(2, train_by_another_rate, &s, code);
    assert_int_equal(code[1], DT_ERR_CONFLICT);
    assert_non_null(strstr(rank_message(1), "rank 1 has learning_rate 0.002, rank 0 has 0.001"));
    assert_int_equal(code[0], DT_ERR_IO); /* the other has ended */
    assert_false(file_exists(temp_path("different/final/model.safetensors")));
}

static int evaluate(rank_group *g, void *user)
{
    return (int)rank_call(g, fixture_eval, user, NULL);
}

static dt_status describe(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    char *json;
    (void)observer;
    return dt_inspect(c, s->pretrained_model, &json);
}

static int inspect(rank_group *g, void *user)
{
    return (int)rank_call(g, describe, user, NULL);
}

static void what_one_process_makes_is_refused(void **state)
{
    (void)state;
    dt_settings s = plain();
    s.fused_backward_pass = true;
    rank_run(2, train, &s, code);
    assert_all_end_with(2, DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(rank_message(0), "fused_backward_pass is not made by several processes"));
    rank_run(2, evaluate, &s, code);
    assert_int_equal(code[0], code[1]);
    assert_true(code[0] == DT_ERR_UNSUPPORTED || code[0] == DT_ERR_ARG);
    rank_run(2, inspect, &s, code);
    assert_all_end_with(2, DT_ERR_UNSUPPORTED);
}

/* ---- samples ---- */

static int make_bank(rank_group *g, void *user)
{
    return (int)rank_call(g, dt_bank, user, NULL);
}

static int make_samples(rank_group *g, void *user)
{
    return (int)rank_call(g, dt_sample, user, NULL);
}

static void bank_and_samples_are_those_of_one(void **state)
{
    (void)state;
    dt_settings s = plain();
    s.num_inference_steps = 4;
    s.sample_batch_size = 3;
    s.bank_size = 22;
    s.bank_shard_size = 10;
    s.num_samples = 13;
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("samples"));
    fixture_must(dt_bank, &s);
    fixture_must(dt_sample, &s);
    const file_hash bank = fixture_tree("bank"), samples = fixture_tree("samples");
    for (int count = 2; count <= FIXTURE_RANKS_MAX; count++) {
        fixture_remove("bank");
        fixture_remove("samples");
        rank_run(count, make_bank, &s, code);
        assert_all_end_with(count, DT_OK);
        rank_run(count, make_samples, &s, code);
        assert_all_end_with(count, DT_OK);
        assert_string_equal(fixture_tree("bank").hex, bank.hex);
        assert_string_equal(fixture_tree("samples").hex, samples.hex);
    }
    fixture_remove("bank");
    fixture_remove("samples");
}

static int stop_samples(rank_group *g, void *user)
{
    fixture_watch watch = {.stop_before = g->index == 1 ? 1 : -1};
    const dt_observer observer = {.user = &watch, .should_stop = fixture_stop};
    return (int)rank_call(g, dt_sample, user, &observer);
}

static void samples_stop_at_the_wish_of_any_rank(void **state)
{
    (void)state;
    dt_settings s = plain();
    s.num_inference_steps = 4;
    s.sample_batch_size = 2;
    s.num_samples = 20;
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("samples"));
    fixture_must(dt_sample, &s);
    const file_hash whole = fixture_tree("samples");
    fixture_remove("samples");
    rank_run(2, stop_samples, &s, code);
    assert_all_end_with(2, DT_ERR_INTERRUPTED);
    assert_true(file_exists(temp_path("samples/images")));
    assert_false(file_exists(temp_path("samples/grid.png")));
    rank_run(3, make_samples, &s, code);
    assert_all_end_with(3, DT_OK);
    assert_string_equal(fixture_tree("samples").hex, whole.hex);
    fixture_remove("samples");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_rank_says_the_others_hear),
        cmocka_unit_test(who_waits_for_a_rank_that_has_ended_learns_which),
        cmocka_unit_test(a_step_that_is_broken_off_leaves_nobody_waiting),
        cmocka_unit_test(ranks_of_another_kind_are_refused),
        cmocka_unit_test(what_started_a_process_is_read_from_its_variables),
        cmocka_unit_test(processes_that_cannot_reach_each_other_are_refused),
        cmocka_unit_test(every_value_is_kept_by_one_rank),
        cmocka_unit_test(samples_are_dealt_out_evenly),
        cmocka_unit_test(any_number_of_ranks_makes_the_run_of_one),
        cmocka_unit_test(a_stop_at_any_rank_stops_all_with_one_checkpoint),
        cmocka_unit_test(a_rank_that_dies_ends_the_others_with_its_name),
        cmocka_unit_test(a_step_that_is_not_finite_at_one_rank_is_skipped_by_all),
        cmocka_unit_test(ranks_with_different_settings_are_refused),
        cmocka_unit_test(what_one_process_makes_is_refused),
        cmocka_unit_test(bank_and_samples_are_those_of_one),
        cmocka_unit_test(samples_stop_at_the_wish_of_any_rank),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
