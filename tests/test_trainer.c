/* A training run's bits: the same for any number of threads, however often it is stopped, with and without block
 * checkpointing; and what its result says and holds. */
#include "inside_fixture.h"

#include <sys/time.h>

/* ---- threads ---- */

static void check_threads(dt_settings s)
{
    s.max_train_steps = 4;
    s.train_batch_size = 8;
    file_hash one = fixture_bits(s);
    for (s.threads = 2; s.threads <= 3; s.threads++) assert_same_bits(fixture_bits(s), one);
    s.threads = 1;
    s.seed++;
    assert_string_not_equal(fixture_bits(s).hex, one.hex);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    check_threads(s);
    s.isa = DT_ISA_PORTABLE;
    check_threads(s);
}

static void any_number_of_threads_gives_the_same_bits_in_bf16(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.mixed_precision = DT_PRECISION_BF16;
    file_hash bf16 = fixture_bits(s);
    check_threads(s);
    s.mixed_precision = DT_PRECISION_F32;
    assert_string_not_equal(fixture_bits(s).hex, bf16.hex);
}

static void block_checkpointing_gives_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    for (int bf16 = 0; bf16 < 2; bf16++) {
        s.mixed_precision = bf16 ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        s.gradient_checkpointing = false;
        file_hash kept = fixture_bits(s);
        s.gradient_checkpointing = true;
        assert_same_bits(fixture_bits(s), kept);
    }
}

/* Runs with stops after the given numbers of steps, then to the end. */
static file_hash bits_with_stops(dt_settings s, const int64_t stops[], int count)
{
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("stopped"));
    for (int i = 0; i < count; i++)
        if (fixture_train(&s, stops[i]) != DT_ERR_INTERRUPTED) fail_msg("stop %d: %s", i, fixture_message);
    fixture_train_to_the_end(&s);
    file_hash hash = fixture_result("stopped");
    fixture_remove("stopped");
    return hash;
}

/* The same sums in the same order: what differs is when a weight is updated. */
static void updating_in_the_backward_pass_gives_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    for (int kind = 0; kind < 4; kind++) {
        s.mixed_precision = kind & 1 ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        s.gradient_checkpointing = kind & 2;
        s.adam_weight_decay = kind & 1 ? 0.1 : 0;
        s.fused_backward_pass = false;
        file_hash kept = fixture_bits(s);
        s.fused_backward_pass = true;
        assert_same_bits(fixture_bits(s), kept);
        assert_same_bits(bits_with_stops(s, (const int64_t[]){1, 2}, 2), kept);
    }
}

/* No gradient is made in the model arena, and the pass arena holds less than all of them. */
static void updating_in_the_backward_pass_keeps_no_gradients(void **state)
{
    (void)state;
    size_t model[2], gradient[2];
    int64_t weights = 0;
    for (int fused = 0; fused < 2; fused++) {
        trainer t;
        step_result r;
        ctx c;
        dt_settings s = fixture_settings("");
        s.fused_backward_pass = fused;
        s.gradient_checkpointing = true;
        s.train_batch_size = 2;
        assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
        assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
        assert_true(trainer_step(&t, &r) && r.finite && r.grad_norm > 0);
        model[fused] = c.model.used;
        gradient[fused] = c.pass.peak;
        weights = params_count(t.model.params, false);
        trainer_close(&t);
        ctx_close(&c);
    }
    const size_t all = (size_t)weights * sizeof(real);
    assert_true(model[0] - model[1] >= all);
    assert_true(gradient[1] - gradient[0] < all);
}

static void updating_in_the_backward_pass_excludes_what_needs_the_whole_gradient(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("refused");
    s.fused_backward_pass = true;
    s.gradient_accumulation_steps = 2;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "gradient_accumulation_steps 1, not 2");
    s.gradient_accumulation_steps = 1;
    s.max_grad_norm = 1;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "leave out max_grad_norm");
}

/* ---- stopping ---- */

static void a_stop_before_any_step_changes_nothing(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.max_train_steps = 4;
    file_hash whole = fixture_bits(s);
    for (int64_t k = 0; k < 4; k++) assert_same_bits(bits_with_stops(s, &k, 1), whole);
}

/* In whatever way the steps are made up. */
static void three_stops_change_nothing(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    for (int kind = 0; kind < 4; kind++) {
        s.gradient_accumulation_steps = kind & 1 ? 3 : 1;
        s.gradient_checkpointing = kind & 1;
        s.mixed_precision = kind & 2 ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        file_hash whole = fixture_bits(s);
        assert_same_bits(bits_with_stops(s, (const int64_t[]){1, 2}, 2), whole);
        assert_same_bits(bits_with_stops(s, (const int64_t[]){2, 1, 2}, 3), whole);
    }
}

static volatile sig_atomic_t alarm_rang;

static void on_alarm(int number)
{
    (void)number;
    alarm_rang = 1;
}

/* Asked before its second step, it sets an alarm that rings inside that step. */
static bool stop_after_alarm(void *user)
{
    int *asked = user;
    struct itimerval soon = {.it_value = {.tv_usec = 1500}};
    if (++*asked == 2) setitimer(ITIMER_REAL, &soon, NULL);
    return alarm_rang != 0;
}

static void a_signal_in_the_middle_of_accumulation_changes_nothing(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("signalled");
    s.gradient_accumulation_steps = 8;
    file_hash whole = fixture_bits(s);
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        int asked = 0;
        dt_observer observer = {.user = &asked, .should_stop = stop_after_alarm};
        s.gradient_checkpointing = checkpointing;
        alarm_rang = 0;
        signal(SIGALRM, on_alarm);
        assert_int_equal(fixture_call(dt_train, &s, &observer), DT_ERR_INTERRUPTED);
        assert_says(fixture_message, "with a checkpoint");
        fixture_train_to_the_end(&s);
        assert_same_bits(fixture_result("signalled"), whole);
        fixture_remove("signalled");
    }
}

/* A cosine and a warm-up know the whole length, so they go on where they stood. */
static void the_learning_rate_goes_on_after_a_stop(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.lr_scheduler = DT_LR_COSINE;
    s.lr_warmup_steps = 3;
    s.max_grad_norm = 0.5;
    s.adam_weight_decay = 0.1;
    file_hash whole = fixture_bits(s);
    assert_same_bits(bits_with_stops(s, (const int64_t[]){2, 2}, 2), whole);
}

/* Validation, grids and distances swap weights with their average and use the same arenas. */
static void measuring_does_not_touch_the_bits(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    file_hash unwatched = fixture_bits(s);
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.validation_steps = s.sample_steps = s.eval_steps = 2;
    s.validation_count = 2;
    s.num_samples = 3;
    s.eval_count = 4;
    s.num_inference_steps = 2;
    s.tensorboard = true;
    assert_same_bits(fixture_bits(s), unwatched);
}

/* ---- the result ---- */

static void the_result_says_how_it_was_made(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } expected[] = {{"difftune.method", "diff-tuning"},
                    {"difftune.preset", "released"},
                    {"difftune.steps", "6"},
                    {"difftune.seed", "42"},
                    {"difftune.images", "12"},
                    {"difftune.weights", "ema"},
                    {"difftune.heads", "2"},
                    {"difftune.classes", "[\"c0\",\"c1\",\"c2\"]"}};
    tensor_file f;
    dt_error err = {0};
    file_hash base;
    dt_settings s = fixture_settings("said");
    s.preset = DT_PRESET_RELEASED;
    fixture_train_to_the_end(&s);
    assert_int_equal(safetensors_open(&f, temp_path("said/final/model.safetensors"), &err), DT_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_string_equal(tensor_file_metadata(&f, expected[i].key), expected[i].value);
    assert_says(tensor_file_metadata(&f, "difftune.method_line"), "preset released");
    assert_int_equal(file_sha256(&base, temp_path("base.safetensors"), &err), DT_OK);
    assert_string_equal(tensor_file_metadata(&f, "difftune.base_sha256"), base.hex);
    tensor_file_close(&f);
    fixture_remove("said");
}

/* The average or the last weights, in the type asked for; a finished run may be asked again. */
static void the_result_has_the_weights_and_type_asked_for(void **state)
{
    (void)state;
    tensor_file f;
    dt_error err = {0};
    dt_settings s = fixture_settings("typed");
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("typed"),
                     fixture_tensors(temp_path("typed/checkpoints/step-00000006/ema.safetensors")));
    s.weights = DT_WEIGHTS_LAST;
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("typed"),
                     fixture_tensors(temp_path("typed/checkpoints/step-00000006/model.safetensors")));
    s.save_dtype = DT_FILE_BF16;
    fixture_train_to_the_end(&s);
    assert_int_equal(safetensors_open(&f, temp_path("typed/final/model.safetensors"), &err), DT_OK);
    for (size_t i = 0; i < f.count; i++) assert_int_equal(f.entries[i].dtype, SAFETENSORS_BF16);
    tensor_file_close(&f);
    fixture_remove("typed");
}

/* Of one's own result, as a run folder. */
static void a_result_can_be_tuned_again(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("first"), again = fixture_settings("second");
    fixture_train_to_the_end(&s);
    snprintf(again.pretrained_model, sizeof again.pretrained_model, "%s", s.output_dir);
    fixture_train_to_the_end(&again);
    assert_string_not_equal(fixture_result("first").hex, fixture_result("second").hex);
    fixture_remove("first");
    fixture_remove("second");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits_in_bf16),
        cmocka_unit_test(block_checkpointing_gives_the_same_bits),
        cmocka_unit_test(updating_in_the_backward_pass_gives_the_same_bits),
        cmocka_unit_test(updating_in_the_backward_pass_keeps_no_gradients),
        cmocka_unit_test(updating_in_the_backward_pass_excludes_what_needs_the_whole_gradient),
        cmocka_unit_test(a_stop_before_any_step_changes_nothing),
        cmocka_unit_test(three_stops_change_nothing),
        cmocka_unit_test(a_signal_in_the_middle_of_accumulation_changes_nothing),
        cmocka_unit_test(the_learning_rate_goes_on_after_a_stop),
        cmocka_unit_test(measuring_does_not_touch_the_bits),
        cmocka_unit_test(the_result_says_how_it_was_made),
        cmocka_unit_test(the_result_has_the_weights_and_type_asked_for),
        cmocka_unit_test(a_result_can_be_tuned_again),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
