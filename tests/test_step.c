/* What a training step does: accumulation, clipping, memory, the loss, the average of the weights; and what it refuses to do to
 * the weights. */
#include "file/folder.h"
#include "inside_fixture.h"

/* ---- one step ---- */

static double rate_of(const dt_settings *s, int64_t step)
{
    const rate_law law = rate_from_settings(s);
    return rate_at(&law, step);
}

static void the_learning_rate_follows_its_schedule(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.learning_rate = 2;
    s.max_train_steps = 10;
    assert_true(rate_of(&s, 0) == 2 && rate_of(&s, 9) == 2);
    s.lr_warmup_steps = 4;
    for (int64_t i = 0; i < 4; i++) assert_true(rate_of(&s, i) == 2 * (double)(i + 1) / 4);
    s.lr_scheduler = DT_LR_LINEAR;
    for (int64_t i = 4; i < 10; i++) assert_true(fabs(rate_of(&s, i) - 2 * (double)(10 - i) / 6) < 1e-12);
    s.lr_scheduler = DT_LR_COSINE;
    assert_true(rate_of(&s, 4) == 2);
    assert_true(fabs(rate_of(&s, 7) - 1) < 1e-12);
    s.lr_warmup_steps = 10;
    assert_true(isfinite(rate_of(&s, 9)));
}

/* The first moment of the first step is the gradient but for a factor: it tells gradients apart. */
static double largest_difference(const real *const a[], const trainset *b)
{
    double worst = 0, largest = 0;
    for (int i = 0; i < b->count; i++) {
        const real *m = b->row[i].m;
        for (int64_t j = 0; j < tensor_count(b->row[i].tensor); j++) {
            largest = fmax(largest, fabs((double)m[j]));
            worst = fmax(worst, fabs((double)(a[i][j] - m[j])));
        }
    }
    return worst / largest;
}

static void two_accumulated_batches_are_one_of_twice_the_size(void **state)
{
    (void)state;
    static real *kept[64];
    dt_settings s = fixture_settings("");
    s.method = DT_METHOD_FINETUNE;
    s.train_batch_size = 8;
    open_inside(s);
    step_result whole = step_inside();
    for (int i = 0; i < run.t.set.count; i++) {
        size_t bytes = tensor_bytes(run.t.set.row[i].tensor);
        kept[i] = malloc(bytes);
        memcpy(kept[i], run.t.set.row[i].m, bytes);
    }
    close_inside();
    s.train_batch_size = 4;
    s.gradient_accumulation_steps = 2;
    open_inside(s);
    step_result parts = step_inside();
    double difference = largest_difference((const real *const *)kept, &run.t.set);
    print_message("two halves and the whole: gradients differ by %.1e\n", difference);
    assert_true(difference < 1e-5);
    assert_true(fabs(parts.loss_target / whole.loss_target - 1) < 1e-6);
    assert_true(fabs(parts.grad_norm / whole.grad_norm - 1) < 1e-5);
    close_inside();
    for (int i = 0; i < 64; i++) free(kept[i]);
}

/* The gradient of Equation 5 at weight w: each half is averaged over all samples of the step, not of its micro-batch. */
static void accumulation_does_not_change_the_size_of_the_gradient(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.train_batch_size = 32;
    open_inside(s);
    double whole = step_inside().grad_norm;
    close_inside();
    s.train_batch_size = 8;
    s.gradient_accumulation_steps = 4;
    open_inside(s);
    double parts = step_inside().grad_norm;
    close_inside();
    assert_true(parts / whole > 0.5 && parts / whole < 2);
}

static void clipping_bounds_the_gradient_that_is_used(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.max_grad_norm = 0.01;
    open_inside(s);
    step_result r = step_inside();
    assert_true(r.grad_norm > 0.02);
    double sum = 0;
    for (int i = 0; i < run.t.set.count; i++)
        for (int64_t j = 0; j < tensor_count(run.t.set.row[i].tensor); j++)
            sum += pow((double)trainset_values_of(&run.t.set.row[i], TRAIN_M)[j] / 0.1, 2);
    assert_true(fabs(sqrt(sum) - 0.01) < 1e-5);
    close_inside();
}

static void nothing_is_allocated_after_the_second_step(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.gradient_accumulation_steps = 2;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        s.gradient_checkpointing = checkpointing;
        open_inside(s);
        size_t used = 0, step = 0, scratch = 0;
        for (int i = 0; i < 6; i++) {
            step_inside();
            assert_int_equal(run.c.step.used, 0);
            assert_int_equal(run.c.scratch.used, 0);
            if (i == 1) used = run.c.model.used, step = run.c.step.peak, scratch = run.c.scratch.peak;
        }
        assert_int_equal(run.c.model.used, used);
        assert_int_equal(run.c.step.peak, step);
        assert_int_equal(run.c.scratch.peak, scratch);
        close_inside();
    }
}

static void block_checkpointing_keeps_less_memory(void **state)
{
    (void)state;
    size_t peak[2];
    dt_settings s = fixture_settings("");
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        s.gradient_checkpointing = checkpointing;
        open_inside(s);
        step_inside();
        peak[checkpointing] = run.c.step.peak;
        close_inside();
    }
    print_message("step arena: %zu KiB, with block checkpointing %zu KiB\n", peak[0] >> 10, peak[1] >> 10);
    assert_true(peak[1] < 0.75 * (double)peak[0]);
}

static double mean_target_loss(int64_t steps)
{
    double sum = 0;
    for (int64_t i = 0; i < steps; i++) sum += step_inside().loss_target / (double)steps;
    return sum;
}

static void the_loss_falls_on_a_handful_of_pictures(void **state)
{
    (void)state;
    fixture_images("few", 2, 4, FIXTURE_SIZE, 3);
    dt_settings s = fixture_settings("");
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("few"));
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    s.resolution = FIXTURE_SIZE;
    s.hidden_size = 32;
    s.depth = s.num_heads = 2;
    s.max_train_steps = 1000;
    s.learning_rate = 4e-3;
    s.train_batch_size = 8;
    open_inside(s);
    double first = mean_target_loss(10);
    for (int64_t i = 0; i < 400; i++) step_inside();
    double last = mean_target_loss(40);
    print_message("loss %.3f -> %.3f\n", first, last);
    assert_true(first > 0.8 && last < 0.6 * first);
    close_inside();
}

/* ---- method ---- */

static void tau_zero_is_plain_fine_tuning_bit_for_bit(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.tau = 0;
    file_hash tau_zero = fixture_bits(s);
    s.tau = 1;
    assert_string_not_equal(fixture_bits(s).hex, tau_zero.hex);
    s.method = DT_METHOD_FINETUNE;
    assert_same_bits(fixture_bits(s), tau_zero);
    s.bank[0] = '\0';
    assert_same_bits(fixture_bits(s), tau_zero);
    s.method = DT_METHOD_DIFF_TUNING;
    s.ablation = DT_ABLATION_RECONSOLIDATION_ONLY;
    assert_string_not_equal(fixture_bits(s).hex, tau_zero.hex);
}

static void tau_zero_has_the_losses_of_plain_fine_tuning(void **state)
{
    (void)state;
    double loss[2][3], norm[2][3];
    for (int method = 0; method < 2; method++) {
        dt_settings s = fixture_settings("");
        s.tau = 0;
        s.method = method ? DT_METHOD_FINETUNE : DT_METHOD_DIFF_TUNING;
        open_inside(s);
        for (int i = 0; i < 3; i++) {
            step_result r = step_inside();
            assert_true(isnan(r.loss_bank));
            loss[method][i] = r.loss_target;
            norm[method][i] = r.grad_norm;
        }
        close_inside();
    }
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
    assert_memory_equal(norm[0], norm[1], sizeof norm[0]);
}

/* ---- the average ---- */

/* One step, after which the average must be decay times what it was plus the rest times the new weights. */
static void step_averages_with(double decay)
{
    const trainset *rows = &run.t.set;
    real **before = malloc((size_t)rows->count * sizeof *before);
    for (int i = 0; i < rows->count; i++) {
        size_t bytes = tensor_bytes(rows->row[i].tensor);
        before[i] = malloc(bytes);
        memcpy(before[i], rows->row[i].average, bytes);
    }
    step_inside();
    for (int i = 0; i < rows->count; i++) {
        const tensor *w = rows->row[i].tensor;
        const real *average = rows->row[i].average;
        for (int64_t j = 0; j < tensor_count(w); j++) {
            double expected = decay * before[i][j] + (1 - decay) * w->data[j];
            assert_true(fabs(average[j] - expected) <= 1e-6 * (1 + fabs(expected)));
        }
        free(before[i]);
    }
    free(before);
}

static void the_average_starts_at_the_weights_or_is_warmed_up(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.ema_decay = 0.2;
    s.learning_rate = 0.1; /* so that a wrong decay shows */
    open_inside(s);
    for (int i = 0; i < 3; i++) step_averages_with(0.2);
    close_inside();
    s.ema_warmup = true;
    open_inside(s);
    step_averages_with(0);
    step_averages_with(2 / 11.0);
    step_averages_with(0.2);
    close_inside();
}

static void a_run_too_short_for_its_average_is_told_so(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("short");
    s.max_train_steps = 2;
    s.ema_decay = 0.5;
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "after 2 steps 25 % of the averaged weights will still be the starting ones"));
    fixture_remove("short");
    s.ema_decay = 0.3;
    fixture_train_to_the_end(&s);
    assert_null(strstr(fixture_log, "averaged weights"));
    fixture_remove("short");
    s.ema_decay = 0.5;
    s.ema_warmup = true;
    fixture_train_to_the_end(&s);
    assert_null(strstr(fixture_log, "averaged weights"));
    fixture_remove("short");
    s.ema_warmup = false;
    s.weights = DT_WEIGHTS_LAST;
    fixture_train_to_the_end(&s);
    assert_null(strstr(fixture_log, "averaged weights"));
}

/* ---- what is not finite ---- */

static void weights_are_finite(void)
{
    for (int i = 0; i < run.t.set.count; i++) {
        const train_row *r = &run.t.set.row[i];
        for (int64_t j = 0; j < tensor_count(r->tensor); j++)
            assert_true(isfinite(r->tensor->data[j]) && isfinite(trainset_values_of(r, TRAIN_M)[j]) &&
                        isfinite(trainset_values_of(r, TRAIN_V)[j]) && isfinite(r->average[j]) &&
                        r->tensor->grad_is_empty);
    }
}

static file_hash weights_now(void)
{
    struct sha256_ctx sum;
    uint8_t digest[SHA256_DIGEST_SIZE];
    file_hash out;
    sha256_init(&sum);
    for (int i = 0; i < run.t.set.count; i++) {
        const train_row *r = &run.t.set.row[i];
        const real *const kept[] = {r->tensor->data, r->m, r->v, r->average};
        for (int k = 0; k < 4; k++) sha256_update(&sum, tensor_bytes(r->tensor), (const uint8_t *)kept[k]);
    }
    sha256_digest(&sum, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out.hex + 2 * i, 3, "%02x", digest[i]);
    return out;
}

static void poison_bank(float value)
{
    fixture_fill(&run.t.bank, value);
}

static void a_step_that_is_not_finite_is_skipped_and_counted(void **state)
{
    (void)state;
    static const float poison[] = {NAN, INFINITY, -INFINITY};
    for (int k = 0; k < 3; k++) {
        open_inside(fixture_settings(""));
        step_inside();
        file_hash before = weights_now();
        poison_bank(poison[k]);
        step_result r = step_inside();
        assert_false(r.finite);
        assert_int_equal(run.t.skipped, 1);
        assert_int_equal(run.t.skipped_in_row, 1);
        assert_int_equal(run.t.optimizer.update_count, 1);
        assert_same_bits(weights_now(), before);
        poison_bank(0.25f);
        assert_true(step_inside().finite);
        assert_int_equal(run.t.step, 3);
        assert_int_equal(run.t.skipped, 1);
        assert_int_equal(run.t.skipped_in_row, 0);
        assert_int_equal(run.t.optimizer.update_count, 2);
        weights_are_finite();
        close_inside();
    }
}

/* Even where retention counts for nothing: its loss is a loss of this step. */
static void a_bank_loss_that_is_not_finite_skips_the_step_whatever_its_weight(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.retention_weight = 0;
    open_inside(s);
    assert_true(step_inside().finite);
    poison_bank(NAN);
    assert_false(step_inside().finite);
    weights_are_finite();
    close_inside();
}

static void a_huge_learning_rate_never_makes_weights_that_are_not_finite(void **state)
{
    (void)state;
    static const double rates[] = {1e3, 30, 3};
    for (int k = 0; k < 3; k++) {
        dt_settings s = fixture_settings("");
        s.learning_rate = rates[k];
        s.adam_weight_decay = k == 0 ? 100 : 0;
        s.max_train_steps = 1000;
        open_inside(s);
        for (int i = 0; i < 30; i++) {
            step_inside();
            weights_are_finite();
        }
        print_message("rate %g: %d of 30 steps skipped\n", rates[k], (int)run.t.skipped);
        close_inside();
    }
}

static void every_value_is_finite(const char *path)
{
    tensor_file f;
    dt_error err = {0};
    assert_int_equal(safetensors_open(&f, path, &err), DT_OK);
    for (size_t i = 0; i < f.count; i++)
        for (int64_t k = 0; k < f.entries[i].count; k++) {
            float value;
            memcpy(&value, (const char *)f.entries[i].data + k * (int64_t)sizeof value, sizeof value);
            assert_true(isfinite(value));
        }
    tensor_file_close(&f);
}

static void a_run_that_bursts_ends_with_finite_checkpoints(void **state)
{
    (void)state;
    static const char *const files[] = {"model", "ema", "optimizer"};
    dt_settings s = fixture_settings("burst");
    s.learning_rate = 1000;
    s.max_train_steps = 50;
    s.checkpointing_steps = 1;
    s.checkpoints_total_limit = 1;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_NUMERIC);
    assert_says(fixture_message, "is good");
    assert_says(fixture_log, "was skipped");
    dt_error err = {0};
    file_names names;
    assert_int_equal(file_list(&names, temp_path("burst/checkpoints"), &err), DT_OK);
    assert_int_equal(names.count, 1);
    for (int i = 0; i < 3; i++) {
        char name[128];
        snprintf(name, sizeof name, "burst/checkpoints/%s/%s.safetensors", names.name[0], files[i]);
        every_value_is_finite(temp_path(name));
    }
    file_names_free(&names);
    assert_false(file_exists(temp_path("burst/final/model.safetensors")));
    fixture_remove("burst");
}

/* Saves the base with one weight that is VALUE. */
static void save_with(float value, const char *name)
{
    ctx c;
    dit m;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(fixture_load(&c, &m, NULL, temp_path("base.safetensors")), DT_OK);
    m.block[1].fc1.w->data[5] = value;
    assert_int_equal(fixture_save(&c, &m, NULL, temp_path(name), DT_FILE_F32, NULL, 0), DT_OK);
    ctx_close(&c);
}

static void put_nan_for(float value, const char *name)
{
    char *bytes;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_read_all(&bytes, &size, temp_path(name), 1 << 24, &err), DT_OK);
    void *at = memmem(bytes, size, &value, sizeof value);
    assert_non_null(at);
    memcpy(at, &(float){NAN}, sizeof value);
    temp_write(name, bytes, size);
    free(bytes);
}

static void a_poisoned_model_trains_nothing(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("poisoned");
    save_with(3e38f, "huge.safetensors");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("huge.safetensors"));
    s.max_train_steps = 20;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_NUMERIC);
    assert_says(fixture_message, "no checkpoint was due before");
    assert_false(file_exists(temp_path("poisoned/final/model.safetensors")));
    fixture_remove("poisoned");

    put_nan_for(3e38f, "huge.safetensors");
    assert_int_equal(fixture_train(&s, -1), DT_ERR_FORMAT);
    assert_says(fixture_message, "huge.safetensors");
    assert_says(fixture_message, "blocks.1.mlp.fc1.weight");
    assert_false(file_exists(temp_path("poisoned")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_learning_rate_follows_its_schedule),
        cmocka_unit_test(two_accumulated_batches_are_one_of_twice_the_size),
        cmocka_unit_test(accumulation_does_not_change_the_size_of_the_gradient),
        cmocka_unit_test(clipping_bounds_the_gradient_that_is_used),
        cmocka_unit_test(nothing_is_allocated_after_the_second_step),
        cmocka_unit_test(block_checkpointing_keeps_less_memory),
        cmocka_unit_test(the_loss_falls_on_a_handful_of_pictures),
        cmocka_unit_test(tau_zero_is_plain_fine_tuning_bit_for_bit),
        cmocka_unit_test(tau_zero_has_the_losses_of_plain_fine_tuning),
        cmocka_unit_test(the_average_starts_at_the_weights_or_is_warmed_up),
        cmocka_unit_test(a_run_too_short_for_its_average_is_told_so),
        cmocka_unit_test(a_step_that_is_not_finite_is_skipped_and_counted),
        cmocka_unit_test(a_bank_loss_that_is_not_finite_skips_the_step_whatever_its_weight),
        cmocka_unit_test(a_huge_learning_rate_never_makes_weights_that_are_not_finite),
        cmocka_unit_test(a_run_that_bursts_ends_with_finite_checkpoints),
        cmocka_unit_test(a_poisoned_model_trains_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
