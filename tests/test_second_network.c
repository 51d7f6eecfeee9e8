/* A second kind of network, which src/ does not know (tiny_network.h), through everything that stands above the models: it is
 * trained, stopped and resumed, written and loaded, sampled, banked and measured by the functions that DiT goes through. */
#include "run_fixture.h"

#include "api/bank.h"
#include "data/bank.h"
#include "engine/open.h"
#include "measure/drawing.h"
#include "kinds_run.h"
#include "tiny_network.h"

static const model_kind *const kinds[] = {&tiny_kind, &dit_kind, NULL};

/* ---- what the examples say beside their class ---- */

static example_table table_of(int64_t count, int dim_count, const int64_t dim[], float first)
{
    example_table t = {.dim_count = dim_count};
    dt_error err = {0};
    int64_t values = count;
    for (int i = 0; i < dim_count; i++) values *= t.dim[i] = dim[i];
    float *rows = malloc((size_t)values * sizeof *rows);
    for (int64_t i = 0; i < values; i++) rows[i] = 0.5F * (float)sin((double)first + 0.37 * (double)i);
    assert_int_equal(example_table_own(&t, rows, count, &err), DT_OK);
    return t;
}

static void tell(examples *e, float first)
{
    if (!e->count) return;
    e->context = table_of(e->count, 2, (int64_t[]){TINY_TOKENS, TINY_CONTEXT}, first);
    e->control = table_of(e->count, 3, (int64_t[]){3, FIXTURE_SIZE, FIXTURE_SIZE}, first + 1);
}

/* ---- runs ---- */

static dt_settings new_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    snprintf(s.model, sizeof s.model, "tiny");
    s.resolution = FIXTURE_SIZE;
    s.learning_rate = 1e-2;
    return s;
}

static dt_settings tuned_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.sample_batch_size = 5;
    s.num_samples = 7;
    s.num_inference_steps = 4;
    s.validation_count = 6;
    s.eval_count = 12;
    return s;
}

static void tell_sets(trainer *t)
{
    tell(&t->train, 0);
    tell(&t->validation, 5);
}

static dt_status run(const dt_settings *s, int64_t stop_before)
{
    return kinds_run(s, kinds, stop_before, tell_sets);
}

static void run_to_the_end(const dt_settings *s)
{
    if (run(s, -1) != DT_OK) fail_msg("%s", fixture_message);
}

/* ---- the bank ---- */

static dt_settings bank_settings(const char *folder)
{
    dt_settings s = tuned_settings("");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path(folder));
    s.bank_size = 10;
    s.bank_shard_size = 4;
    s.sample_batch_size = 3;
    return s;
}

static dt_status make_bank(const dt_settings *s, int64_t stop_at)
{
    ctx c;
    denoiser d;
    model_info info;
    examples told = {.count = 6};
    fixture_watch watch = {.stop_before = stop_at};
    const dt_observer observer = {.user = &watch, .should_stop = fixture_stop};
    tell(&told, 9);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (denoiser_load(&c, &d, &info, s->pretrained_model, kinds) != DT_OK) fail_msg("%s", c.error.message);
    const dt_status status = bank_make(&c, &d, info.sha256, &told, NULL, s, &observer);
    snprintf(fixture_message, sizeof fixture_message, "%s", c.error.message);
    examples_close(&told);
    model_info_free(&info);
    ctx_close(&c);
    return status;
}

/* A base, and its bank. */
static int make(void **state)
{
    if (fixture_make(state)) return -1;
    const dt_settings s = new_settings("base"), b = bank_settings("bank");
    run_to_the_end(&s);
    return make_bank(&b, -1) == DT_OK ? 0 : -1;
}

/* ---- the tests ---- */

static void it_learns(void **state)
{
    (void)state;
    dt_settings s = new_settings("learns");
    s.max_train_steps = 150;
    ctx c;
    training t;
    step_result r;
    const dt_observer nobody = {0};
    double first = 0, last = 0;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &nobody, kinds), DT_OK);
    assert_int_equal(t.trainer.model.process.predicts, PREDICTS_VELOCITY);
    tell(&t.trainer.train, 0);
    for (int i = 0; i < 150; i++) {
        assert_true(trainer_step(&t.trainer, &r) && r.finite);
        if (i < 30) first += r.loss_target / 30;
        if (i >= 120) last += r.loss_target / 30;
    }
    assert_true(last < 0.9 * first);
    training_close(&t);
    ctx_close(&c);
}

/* What it is to predict is the velocity under the scaled-linear schedule. */
static void the_target_of_a_batch_is_the_velocity(void **state)
{
    (void)state;
    const dt_settings s = new_settings("target");
    ctx c;
    training t;
    batch b;
    const dt_observer nobody = {0};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &nobody, kinds), DT_OK);
    tell(&t.trainer.train, 0);
    assert_true(batch_new(&c, &b, &t.trainer.model, 4));
    fixture_feed(&t.trainer, &b, 0);
    const int64_t values = sample_values(t.trainer.model.shape);
    for (int64_t i = 0; i < 4; i++) {
        double abar = 1;
        for (int k = 0; k <= b.t[i]; k++) abar *= 1 - pow(sqrt(0.00085) + k * (sqrt(0.012) - sqrt(0.00085)) / 999, 2);
        for (int64_t j = i * values; j < (i + 1) * values; j++) {
            const double x0 = (double)b.x0->data[j], noise = (double)b.noise->data[j];
            assert_true(fabs((double)b.target->data[j] - (sqrt(abar) * noise - sqrt(1 - abar) * x0)) < 1e-5);
            assert_true(fabs((double)b.xt->data[j] - (sqrt(abar) * x0 + sqrt(1 - abar) * noise)) < 1e-5);
        }
    }
    training_close(&t);
    ctx_close(&c);
}

/* A mirrored example mirrors its control; one that is told nothing has the null class and the null context. */
static void an_example_carries_its_context_and_its_control(void **state)
{
    (void)state;
    dt_settings s = new_settings("fed");
    s.class_dropout_prob = 0.5;
    ctx c;
    training t;
    const dt_observer nobody = {0};
    int nulls = 0, mirrored = 0;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &nobody, kinds), DT_OK);
    trainer *k = &t.trainer;
    tell(&k->train, 0);
    const int64_t pixels = sample_values(k->model.control), words = TINY_TOKENS * TINY_CONTEXT;
    for (k->step = 0; k->step < 10; k->step++) {
        batch b;
        assert_true(batch_new(&c, &b, &k->model, 4));
        fixture_feed(k, &b, 0);
        for (int64_t i = 0; i < 4; i++) {
            const int64_t index = shuffled_at(&k->train_order, k->step * 4 + i);
            const float *control = k->train.control.values + index * pixels;
            const float *context = k->train.context.values + index * words;
            const bool same = !memcmp(b.control_values + i * pixels, control, (size_t)pixels * sizeof *control);
            for (int64_t j = 0; !same && j < FIXTURE_SIZE; j++)
                assert_true(b.control_values[i * pixels + j] == control[FIXTURE_SIZE - 1 - j]);
            mirrored += !same;
            const bool null = b.label[i] == FIXTURE_CLASSES;
            if (!null) assert_int_equal(b.label[i], k->train.pictures.label[index]);
            assert_memory_equal(b.context_values + i * words, null ? k->null_context : context,
                                (size_t)words * sizeof *context);
            nulls += null;
        }
        arena_clear(&c.step);
    }
    assert_in_range(nulls, 8, 32);
    assert_in_range(mirrored, 8, 32);
    training_close(&t);
    ctx_close(&c);
}

static void a_stopped_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = new_settings("stopped");
    assert_int_equal(run(&s, 2), DT_ERR_INTERRUPTED);
    assert_int_equal(run(&s, 3), DT_ERR_INTERRUPTED);
    run_to_the_end(&s);
    assert_same_bits(fixture_result("stopped"), fixture_result("base"));
}

static void a_written_network_is_the_one_that_was_trained(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    model_info info;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, &info, temp_path("base"), kinds), DT_OK);
    assert_string_equal(d.ops->kind, "tiny network");
    assert_int_equal(info.class_name_count, FIXTURE_CLASSES);
    const param *row = params_find(
        d.params, "a_name.that_is_longer.than_sixty_four.bytes.as_those.of_stable_diffusion_are.12.34.weight");
    assert_non_null(row);
    file_hash hash;
    const denoiser_file file = {.path = temp_path("again.safetensors"), .hash = &hash};
    assert_int_equal(d.ops->write(&c, &d, &file), DT_OK);
    assert_same_bits(fixture_tensors(temp_path("again.safetensors")), fixture_result("base"));
    model_info_free(&info);
    ctx_close(&c);
}

static void dit_is_still_told_from_it(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, NULL, temp_path("base.safetensors"), kinds), DT_OK);
    assert_string_equal(d.ops->kind, "DiT");
    ctx_close(&c);
}

static void its_bank_holds_what_the_samples_were_told(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    model_info info;
    examples b, told = {.count = 6};
    const codec pixels = codec_of_pixels(3);
    const examples_options options = {.codec = &pixels, .resolution = FIXTURE_SIZE};
    tell(&told, 9);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, &info, temp_path("base"), kinds), DT_OK);
    if (bank_open(&c, &b, temp_path("bank"), &d, info.sha256, &options) != DT_OK) fail_msg("%s", c.error.message);
    assert_int_equal(b.count, 10);
    const int64_t pixel_count = example_table_values(&told.control), words = example_table_values(&told.context);
    for (int64_t i = 0; i < 10; i++) {
        assert_memory_equal(b.control.row[i], told.control.values + i % 6 * pixel_count,
                            (size_t)pixel_count * sizeof(float));
        assert_memory_equal(b.context.row[i], told.context.values + i % 6 * words, (size_t)words * sizeof(float));
    }
    for (int64_t i = 0; i < 10 * sample_values(d.shape); i++) assert_true(isfinite(b.x[i]));
    examples_close(&b);
    if (bank_open(&c, &b, temp_path("bank_images"), &d, info.sha256, &options) != DT_ERR_UNSUPPORTED)
        fail_msg("pictures alone are taken for a bank");
    examples_close(&told);
    model_info_free(&info);
    ctx_close(&c);
}

static void a_stopped_bank_has_the_same_bits(void **state)
{
    (void)state;
    const dt_settings s = bank_settings("stopped_bank");
    assert_int_equal(make_bank(&s, 1), DT_ERR_INTERRUPTED);
    assert_int_equal(make_bank(&s, -1), DT_OK);
    dt_error err = {0};
    for (int i = 0; i < 3; i++) {
        char a[64], b[64];
        file_hash ha, hb;
        snprintf(a, sizeof a, "bank/shard-%05d.safetensors", i);
        snprintf(b, sizeof b, "stopped_bank/shard-%05d.safetensors", i);
        assert_int_equal(file_sha256(&ha, temp_path(a), &err), DT_OK);
        assert_int_equal(file_sha256(&hb, temp_path(b), &err), DT_OK);
        assert_same_bits(ha, hb);
    }
}

/* Diff-Tuning with everything that is measured on the way; the measurements change no bit of the result. */
static void it_is_tuned_and_measured_as_any_other(void **state)
{
    (void)state;
    dt_settings s = tuned_settings("tuned"), quiet = tuned_settings("quiet");
    s.validation_steps = s.sample_steps = s.eval_steps = 3;
    run_to_the_end(&s);
    assert_says(fixture_log, "validation loss on the bank");
    assert_says(fixture_log, "FD-base");
    assert_true(file_exists(temp_path("tuned/samples/step_00000006.png")));
    run_to_the_end(&quiet);
    assert_same_bits(fixture_result("tuned"), fixture_result("quiet"));
}

/* Velocities of a frozen network that is told a control picture and the null context: kept as noise is. */
static void its_own_predictions_can_be_kept(void **state)
{
    (void)state;
    for (dt_retention kind = DT_RETENTION_BANK_DISTIL; kind <= DT_RETENTION_SDFT; kind++) {
        dt_settings s = tuned_settings("kept"), stopped = tuned_settings("kept_stopped");
        s.retention = stopped.retention = kind;
        run_to_the_end(&s);
        assert_says(fixture_log, "the frozen base beside it");
        assert_int_equal(run(&stopped, 3), DT_ERR_INTERRUPTED);
        run_to_the_end(&stopped);
        assert_same_bits(fixture_result("kept_stopped"), fixture_result("kept"));
        fixture_remove("kept");
        fixture_remove("kept_stopped");
    }
}

/* What is taught are velocities of the base's file under the null branch, with the control of the row itself. */
static void its_teacher_is_told_the_control_alone(void **state)
{
    (void)state;
    dt_settings s = tuned_settings("taught");
    s.retention = DT_RETENTION_TARGET_DISTIL;
    ctx c;
    training t;
    batch b;
    denoiser base;
    const dt_observer nobody = {0};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &c, &s, &nobody, kinds), DT_OK);
    tell(&t.trainer.train, 0);
    assert_int_equal(denoiser_load(&c, &base, NULL, s.pretrained_model, kinds), DT_OK);
    assert_true(batch_new(&c, &b, &t.trainer.model, 4));
    fixture_feed(&t.trainer, &b, 0);
    batch_ask(&c, &b, &t.trainer.teacher);
    const int64_t values = sample_values(base.shape), words = TINY_TOKENS * TINY_CONTEXT;
    for (int64_t i = 2; i < 4; i++) {
        condition k = {.label = (int32_t[]){FIXTURE_CLASSES}};
        k.context = tensor_new(&c, &c.step, 3, (int64_t[]){1, TINY_TOKENS, TINY_CONTEXT});
        k.control = tensor_new(&c, &c.step, 4, (int64_t[]){1, 3, FIXTURE_SIZE, FIXTURE_SIZE});
        tensor *x = tensor_new(&c, &c.step, 4, k.control->dim);
        memcpy(k.context->data, base.null_context->data, (size_t)words * sizeof(real));
        memcpy(k.control->data, b.control_values + i * values, (size_t)values * sizeof(real));
        memcpy(x->data, b.xt_values + i * values, (size_t)values * sizeof(real));
        const tensor *expected = denoiser_forward(&c, &base, x, b.time + i, &k);
        assert_memory_equal(b.taught->data + (i - 2) * values, expected->data, (size_t)values * sizeof(real));
    }
    training_close(&t);
    ctx_close(&c);
}

/* Guided by its own other branch it draws finite samples that listen to the context and to the control. */
static void samples_listen_to_what_they_are_told(void **state)
{
    (void)state;
    enum { N = 3, VALUES = 3 * FIXTURE_SIZE * FIXTURE_SIZE };
    ctx c;
    denoiser d;
    sampler p;
    static float x[3][N * VALUES];
    const dt_settings s = tuned_settings("");
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, NULL, temp_path("base"), kinds), DT_OK);
    assert_int_equal(sampler_open(&p, &d, &s, &c.error), DT_OK);
    for (int way = 0; way < 3; way++) {
        condition k = {.label = (int32_t[]){0, 1, 2}};
        k.context = tensor_new(&c, &c.step, 3, (int64_t[]){N, TINY_TOKENS, TINY_CONTEXT});
        k.control = tensor_new(&c, &c.step, 4, (int64_t[]){N, 3, FIXTURE_SIZE, FIXTURE_SIZE});
        for (int64_t i = 0; i < tensor_count(k.context); i++) k.context->data[i] = way == 1 ? 0.9F : 0.1F;
        for (int64_t i = 0; i < tensor_count(k.control); i++) k.control->data[i] = way == 2 ? 0.9F : 0.1F;
        assert_int_equal(sampler_draw(&c, &p, x[way], &k, (uint32_t[]){0, 1, 2}, N), DT_OK);
        for (int64_t i = 0; i < N * VALUES; i++) assert_true(isfinite(x[way][i]));
        arena_clear(&c.step);
    }
    assert_memory_not_equal(x[0], x[1], sizeof x[0]);
    assert_memory_not_equal(x[0], x[2], sizeof x[0]);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns),
        cmocka_unit_test(the_target_of_a_batch_is_the_velocity),
        cmocka_unit_test(an_example_carries_its_context_and_its_control),
        cmocka_unit_test(a_stopped_run_ends_in_the_same_bits),
        cmocka_unit_test(a_written_network_is_the_one_that_was_trained),
        cmocka_unit_test(dit_is_still_told_from_it),
        cmocka_unit_test(its_bank_holds_what_the_samples_were_told),
        cmocka_unit_test(a_stopped_bank_has_the_same_bits),
        cmocka_unit_test(it_is_tuned_and_measured_as_any_other),
        cmocka_unit_test(its_own_predictions_can_be_kept),
        cmocka_unit_test(its_teacher_is_told_the_control_alone),
        cmocka_unit_test(samples_listen_to_what_they_are_told),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
