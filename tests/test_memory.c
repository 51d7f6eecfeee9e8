/* Memory that runs out at any place of any verb is DT_ERR_MEMORY: no crash, nothing half done, and the context goes on to
 * work when there is room again. */
#include "run_fixture.h"

#include "train/trainer.h"

static const dt_observer nobody = {0};

/* ---- one step ---- */

static void a_training_step_survives_every_limit(void **state)
{
    (void)state;
    ctx c;
    trainer t;
    step_result r;
    int64_t tried = 0;
    dt_settings s = fixture_settings("");
    for (int kind = 0; kind < 4; kind++) {
        s.gradient_checkpointing = kind & 1;
        s.fused_backward_pass = kind & 2;
        assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
        assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
        assert_true(trainer_step(&t, &r));
        arena *const arenas[] = {&c.step, &c.scratch, &c.pass};
        const size_t step = c.step.peak, all = c.step.limit;
        for (int which = 0; which < 3; which++)
            for (size_t limit = 0, end = arenas[which]->peak; limit < end; limit += end / 91 + 1, tried++) {
                arena *a = arenas[which];
                a->limit = limit;
                assert_false(trainer_step(&t, &r));
                assert_int_equal(c.error.status, DT_ERR_MEMORY);
                assert_int_equal(t.step, 1);
                a->limit = all;
                error_clear(&c.error);
                tape_clear(&c);
                arena_clear(&c.step);
                arena_clear(&c.scratch);
                c.recording = false;
                optimizer_end(&c, &t.optimizer, 0, 0, false);
            }
        c.step.limit = step; /* just enough */
        assert_true(trainer_step(&t, &r) && r.finite);
        trainer_close(&t);
        ctx_close(&c);
    }
    print_message("%d limits\n", (int)tried);
}

static void opening_a_run_survives_every_limit(void **state)
{
    (void)state;
    ctx c;
    trainer t;
    dt_settings s = fixture_settings("");
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
    size_t used = c.model.used, all = c.model.limit;
    trainer_close(&t);
    for (size_t limit = 0; limit < used; limit += used / 61 + 1) {
        arena_clear(&c.model);
        c.model.limit = limit;
        assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_ERR_MEMORY);
        trainer_close(&t);
        c.model.limit = all;
        error_clear(&c.error);
    }
    ctx_close(&c);
}

/* ---- whole verbs ---- */

typedef dt_status verb(dt_context *c, const dt_settings *s);

static dt_status train(dt_context *c, const dt_settings *s)
{
    return dt_train(c, s, NULL);
}

static dt_status make_bank(dt_context *c, const dt_settings *s)
{
    return dt_bank(c, s, NULL);
}

static dt_status sample(dt_context *c, const dt_settings *s)
{
    return dt_sample(c, s, NULL);
}

static dt_status evaluate(dt_context *c, const dt_settings *s)
{
    dt_eval_result result;
    return dt_eval(c, s, NULL, &result);
}

/* The verb in one context, under about `count` limits of each arena in turn; `made` is its folder or file. In the end it
 * works, in the same context. */
static void check_verb(verb *run, const dt_settings *s, const char *made, int count)
{
    dt_context *c = NULL;
    assert_int_equal(dt_open(&c, s), DT_OK);
    if (run(c, s) != DT_OK) fail_msg("%s", dt_message(c));
    arena *const arenas[] = {&c->model, &c->step, &c->scratch, &c->pass};
    int failures = 0;
    for (int which = 0; which < 4; which++) {
        size_t all = arenas[which]->limit, peak = arenas[which]->peak;
        for (size_t limit = 0; limit < peak; limit += peak / (size_t)count + 1) {
            if (made && file_is_folder(temp_path(made))) fixture_remove(made);
            if (made && file_exists(temp_path(made))) remove(temp_path(made));
            arenas[which]->limit = limit;
            dt_status status = run(c, s);
            arenas[which]->limit = all;
            if (status != DT_ERR_MEMORY) fail_msg("limit %zu: status %d, %s", limit, status, dt_message(c));
            assert_int_equal(c->model.used + c->step.used + c->scratch.used + c->pass.used, 0);
            failures++;
        }
    }
    assert_true(failures >= count);
    if (run(c, s) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
}

static void training_with_all_it_measures_survives_every_limit(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("run");
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.max_train_steps = 2;
    s.validation_steps = s.sample_steps = s.eval_steps = 1;
    s.validation_count = 2;
    s.eval_count = 6;
    s.num_samples = 4;
    s.num_inference_steps = 2;
    file_hash whole = fixture_bits(s);
    check_verb(train, &s, "run", 10);
    assert_same_bits(fixture_result("run"), whole);
    fixture_remove("run");
}

static void drawing_a_bank_survives_every_limit(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    s.bank_size = 5;
    s.bank_shard_size = 2;
    s.num_inference_steps = 2;
    check_verb(make_bank, &s, "bank", 30);
}

static void sampling_survives_every_limit(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("samples");
    s.num_samples = 5;
    s.sample_batch_size = 3;
    s.num_inference_steps = 2;
    check_verb(sample, &s, "samples", 20);
}

static void evaluation_survives_every_limit(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("data"));
    check_verb(evaluate, &s, NULL, 20);
}

static void prediction_with_gradients_survives_every_limit(void **state)
{
    (void)state;
    enum { N = 2 };
    static float x0[N * 3 * FIXTURE_SIZE * FIXTURE_SIZE], noise[N * 3 * FIXTURE_SIZE * FIXTURE_SIZE];
    static const int64_t dims[4] = {N, 3, FIXTURE_SIZE, FIXTURE_SIZE}, count[1] = {N}, t[N] = {0, 700}, y[N] = {1, 3};
    const tensor_source source[] = {
        {.name = "x0", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = x0},
        {.name = "noise", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = noise},
        {.name = "t", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = count, .data = t},
        {.name = "y", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = count, .data = y}};
    dt_error err = {0};
    rng_normal(x0, N * 3 * FIXTURE_SIZE * FIXTURE_SIZE, (rng_key){1, RNG_NOISE, 0, 0});
    rng_normal(noise, N * 3 * FIXTURE_SIZE * FIXTURE_SIZE, (rng_key){1, RNG_NOISE, 1, 0});
    assert_int_equal(safetensors_write(temp_path("input"), source, 4, NULL, 0, NULL, &err), DT_OK);
    dt_settings s = fixture_settings("");
    snprintf(s.input, sizeof s.input, "%s", temp_path("input"));
    snprintf(s.output, sizeof s.output, "%s", temp_path("output"));
    s.gradients = true;
    check_verb(dt_predict, &s, "output", 50);
    assert_true(file_exists(temp_path("output")));
}

/* ---- contexts ---- */

static void two_contexts_do_not_disturb_each_other(void **state)
{
    (void)state;
    dt_context *a = NULL, *b = NULL;
    dt_settings s = fixture_settings("first"), other = fixture_settings("second");
    file_hash whole = fixture_bits(s);
    other.threads = 2;
    assert_int_equal(dt_open(&a, &s), DT_OK);
    assert_int_equal(dt_open(&b, &other), DT_OK);
    snprintf(other.train_data, sizeof other.train_data, "/nowhere");
    assert_int_not_equal(dt_train(b, &other, NULL), DT_OK);
    assert_string_equal(dt_message(a), "");
    assert_int_equal(dt_train(a, &s, NULL), DT_OK);
    assert_says(dt_message(b), "/nowhere");
    other = fixture_settings("second");
    assert_int_equal(dt_train(b, &other, NULL), DT_OK);
    assert_string_equal(dt_message(b), "");
    dt_close(a);
    dt_close(b);
    assert_same_bits(fixture_result("first"), whole);
    assert_same_bits(fixture_result("second"), whole);
    fixture_remove("first");
    fixture_remove("second");
}

static void what_is_closed_or_missing_is_harmless(void **state)
{
    (void)state;
    dt_close(NULL);
    dt_free(NULL);
    assert_true(strlen(dt_message(NULL)) > 0);
    assert_true(strlen(dt_version()) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_training_step_survives_every_limit),
        cmocka_unit_test(opening_a_run_survives_every_limit),
        cmocka_unit_test(training_with_all_it_measures_survives_every_limit),
        cmocka_unit_test(drawing_a_bank_survives_every_limit),
        cmocka_unit_test(sampling_survives_every_limit),
        cmocka_unit_test(evaluation_survives_every_limit),
        cmocka_unit_test(prediction_with_gradients_survives_every_limit),
        cmocka_unit_test(two_contexts_do_not_disturb_each_other),
        cmocka_unit_test(what_is_closed_or_missing_is_harmless),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
