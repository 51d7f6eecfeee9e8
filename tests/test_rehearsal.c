/* A rehearsal takes of each arena what the work takes, and leaves everything as it was. */
#include "run_fixture.h"

#include "measure/drawing.h"
#include "tensor/rehearsal.h"
#include "train/trainer.h"

static const dt_observer nobody = {0};

typedef struct peaks {
    size_t step, scratch, pass;
} peaks;

static peaks peaks_of(const ctx *c)
{
    return (peaks){c->step.peak, c->scratch.peak, c->pass.peak};
}

static void forget_peaks(ctx *c)
{
    c->step.peak = c->step.used;
    c->scratch.peak = c->scratch.used;
    c->pass.peak = c->pass.used;
}

static file_hash hash_weights(const trainer *t)
{
    file_hash hash;
    struct sha256_ctx sum;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sum);
    for (int i = 0; i < t->set.count; i++) {
        const train_row *r = &t->set.row[i];
        const real *const values[] = {r->tensor->data, r->m, r->v, r->average};
        for (int k = 0; k < 4; k++) sha256_update(&sum, tensor_bytes(r->tensor), (const uint8_t *)values[k]);
    }
    sha256_digest(&sum, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(hash.hex + 2 * i, 3, "%02x", digest[i]);
    return hash;
}

static void assert_same_peaks(peaks rehearsed, peaks taken)
{
    assert_int_equal(rehearsed.step, taken.step);
    assert_int_equal(rehearsed.scratch, taken.scratch);
    assert_int_equal(rehearsed.pass, taken.pass);
}

static void a_step_takes_what_was_rehearsed(void **state)
{
    (void)state;
    ctx c;
    trainer t;
    rehearsal r;
    step_result step;
    dt_settings s = fixture_settings("");
    for (int kind = 0; kind < 8; kind++) {
        s.gradient_checkpointing = kind & 1;
        s.fused_backward_pass = kind & 2;
        s.mixed_precision = kind & 4 ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
        assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
        const file_hash before = hash_weights(&t);
        const size_t model = c.model.used;
        forget_peaks(&c);
        rehearsal_begin(&c, &r);
        trainer_rehearse(&t);
        rehearsal_end(&c, &r);
        assert_int_equal(c.error.status, DT_OK);
        assert_int_equal(c.model.used, model);
        assert_int_equal(c.step.used + c.scratch.used + c.pass.used, 0);
        assert_int_equal(t.step, 0);
        assert_string_equal(hash_weights(&t).hex, before.hex);
        const peaks rehearsed = peaks_of(&c);
        forget_peaks(&c);
        assert_true(trainer_step(&t, &step) && step.finite);
        assert_same_peaks(rehearsed, peaks_of(&c));
        trainer_close(&t);
        ctx_close(&c);
    }
}

static bool take_nothing(void *user, drawn *b)
{
    (void)user, (void)b;
    return true;
}

static void a_batch_of_samples_takes_what_was_rehearsed(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    class_list labels;
    rehearsal r;
    dt_settings s = fixture_settings("");
    s.num_inference_steps = 3;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, NULL, s.pretrained_model, model_kinds_all), DT_OK);
    const codec pixels = codec_of_pixels(3);
    drawing k = {.labels = &labels, .codec = &pixels, .batch = 4};
    assert_int_equal(class_list_all(&labels, &c, d.class_count), DT_OK);
    assert_int_equal(sampler_open(&k.sampler, &d, &s, &c.error), DT_OK);
    forget_peaks(&c);
    rehearsal_begin(&c, &r);
    drawing_rehearse(&c, &k, 9, NULL);
    rehearsal_end(&c, &r);
    const peaks rehearsed = peaks_of(&c);
    forget_peaks(&c);
    assert_int_equal(drawing_run(&c, &k, 0, 9, take_nothing, NULL), DT_OK);
    assert_same_peaks(rehearsed, peaks_of(&c));
    ctx_close(&c);
}

static void what_does_not_fit_fails_before_the_work(void **state)
{
    (void)state;
    ctx c;
    trainer t;
    rehearsal r;
    const dt_settings s = fixture_settings("");
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(trainer_open(&t, &c, &s, &nobody, model_kinds_all), DT_OK);
    c.step.limit = 1 << 12;
    rehearsal_begin(&c, &r);
    trainer_rehearse(&t);
    rehearsal_end(&c, &r);
    assert_int_equal(c.error.status, DT_ERR_MEMORY);
    assert_memory_equal(&c.engine, &r.engine, sizeof c.engine);
    trainer_close(&t);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_takes_what_was_rehearsed),
        cmocka_unit_test(a_batch_of_samples_takes_what_was_rehearsed),
        cmocka_unit_test(what_does_not_fit_fails_before_the_work),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
