/* Moments of AdamW that are kept as bfloat16: how they are rounded, and runs with them. */
#include "run_fixture.h"

#include <math.h>

#include "container/safetensors.h"
#include "engine/open.h"
#include "inside_fixture.h"
#include "tensor/moment.h"

enum { COUNT = 5003 };

/* ---- rounding ---- */

static float of_bits(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* Over all noise there is, the mean of what a value becomes is the value, and it becomes nothing but its two neighbours. */
static void rounding_keeps_the_mean(void **state)
{
    (void)state;
    static const float values[] = {1, 1.001F, -3.14159F, 1e-30F, 2.5e-9F, -7.7e8F, 0, 1.00390625F, 3.0e38F};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const float x = values[i], below = of_bits(moment_bits(x, 0)), above = of_bits(moment_bits(x, 0xffff));
        double sum = 0;
        for (uint32_t noise = 0; noise <= 0xffff; noise++) {
            const float y = of_bits(moment_bits(x, noise));
            assert_true(y == below || y == above);
            sum += (double)y;
        }
        assert_true(fabs(sum / 65536 - (double)x) <= fabs((double)x) * 1e-7);
        assert_true(fabsf(below) <= fabsf(x) && fabsf(above) >= fabsf(x));
        assert_true(fabs((double)above - (double)below) <= fabs((double)x) / 128 + 1e-45);
    }
}

static void no_moment_becomes_infinite(void **state)
{
    (void)state;
    static const float values[] = {3.4028235e38F, -3.4028235e38F, 3.39e38F};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (uint32_t noise = 0; noise <= 0xffff; noise += 0xff)
            assert_true(isfinite(of_bits(moment_bits(values[i], noise))));
}

/* Bits of noise are set half the time, whatever the number and the key, and those of neighbours have nothing to do with each other. */
static void noise_has_no_pattern(void **state)
{
    (void)state;
    enum { NUMBERS = 1 << 16 };
    for (uint32_t key = 0; key < 3; key++)
        for (int bit = 0; bit < 32; bit++) {
            int set = 0, same = 0;
            for (uint32_t i = 0; i < NUMBERS; i++) {
                const uint32_t a = moment_noise(key * 77, i) >> bit & 1, b = moment_noise(key * 77, i + 1) >> bit & 1;
                set += (int)a;
                same += a == b;
            }
            assert_true(abs(set - NUMBERS / 2) < 5 * 128); /* five standard deviations */
            assert_true(abs(same - NUMBERS / 2) < 5 * 128);
        }
}

/* ---- the kernel ---- */

typedef struct arrays {
    float w[COUNT], m[COUNT], v[COUNT], g[COUNT];
    uint16_t narrow_m[COUNT], narrow_v[COUNT];
} arrays;

static void fill(arrays *a)
{
    for (int i = 0; i < COUNT; i++) {
        a->w[i] = sinf((float)i);
        a->narrow_m[i] = moment_bits(1e-3F * cosf((float)i * 3), 0);
        a->narrow_v[i] = moment_bits(1e-5F * (1 + sinf((float)i * 7)), 0);
        a->m[i] = of_bits(a->narrow_m[i]);
        a->v[i] = of_bits(a->narrow_v[i]);
        a->g[i] = 1e-2F * sinf((float)i * 5);
    }
}

static adamw_coefficients coefficients(void)
{
    return (adamw_coefficients){.learning_rate = 1e-3F,
                                .beta1 = 0.9F,
                                .beta2 = 0.999F,
                                .epsilon = 1e-8F,
                                .bias1 = 0.1F,
                                .bias2 = 0.001F,
                                .grad_scale = 1};
}

/* From value number `at` on, with narrow moments or with wide ones. */
static adamw_row row_of(arrays *a, int at, int count, bool narrow)
{
    return (adamw_row){.w = a->w + at,
                       .g = a->g + at,
                       .m = narrow ? (void *)(a->narrow_m + at) : a->m + at,
                       .v = narrow ? (void *)(a->narrow_v + at) : a->v + at,
                       .count = count,
                       .first = 64 + at,
                       .noise = 12345};
}

enum { PART = 1000, PARTS = (COUNT + PART - 1) / PART };

/* From the same moments the weights are those of wide ones, and what is kept is the wide moment's neighbour. An array may be updated in
 * parts, in one call or several, by any number of threads. */
static void an_update_differs_in_what_is_kept_only(void **state)
{
    (void)state;
    static arrays a, wide, parts;
    const engine *e;
    ctx c;
    for (dt_isa isa = DT_ISA_PORTABLE; ctx_open(&c, DT_DEVICE_CPU, 2, isa) == DT_OK; isa++, ctx_close(&c)) {
        const adamw_coefficients k = coefficients();
        const adamw_row whole = row_of(&a, 0, COUNT, true), beside = row_of(&wide, 0, COUNT, false);
        adamw_row part[PARTS];
        e = &c.engine;
        fill(&a);
        wide = parts = a;
        e->adamw(&whole, 1, k, NARROW);
        e->adamw(&beside, 1, k, 0);
        for (int i = 0; i < COUNT; i++) {
            assert_true(fabsf(a.w[i] - wide.w[i]) <= 1e-6F * fabsf(wide.w[i]));
            assert_true(fabsf(of_bits(a.narrow_m[i]) - wide.m[i]) <= fabsf(wide.m[i]) / 128);
            assert_true(fabsf(of_bits(a.narrow_v[i]) - wide.v[i]) <= fabsf(wide.v[i]) / 128);
        }
        for (int i = 0; i < PARTS; i++)
            part[i] = row_of(&parts, i * PART, COUNT - i * PART < PART ? COUNT - i * PART : PART, true);
        e->adamw(part, PARTS - 1, k, NARROW);
        e->adamw(part + PARTS - 1, 1, k, NARROW);
        assert_memory_equal(a.narrow_m, parts.narrow_m, sizeof a.narrow_m);
        assert_memory_equal(a.narrow_v, parts.narrow_v, sizeof a.narrow_v);
        if (isa == DT_ISA_AMX) {
            ctx_close(&c);
            break;
        }
    }
}

/* What a step adds to a second moment near its end is an eighth of the last place of a bfloat16: rounded to the nearest it would never
 * arrive. */
static void second_moments_arrive(void **state)
{
    (void)state;
    static arrays a;
    ctx c;
    double sum = 0;
    adamw_row row = row_of(&a, 0, 256, true);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 2, DT_ISA_AUTO), DT_OK);
    memset(&a, 0, sizeof a);
    for (int i = 0; i < COUNT; i++) a.g[i] = 0.5F;
    for (uint32_t step = 0; step < 8000; step++) {
        row.noise = moment_noise(99, step);
        c.engine.adamw(&row, 1, coefficients(), NARROW);
    }
    for (int i = 0; i < 256; i++) {
        sum += (double)of_bits(a.narrow_v[i]) / 256;
        assert_true(fabsf(of_bits(a.narrow_v[i]) - 0.25F) < 0.05F);
        assert_true(fabsf(of_bits(a.narrow_m[i]) - 0.5F) < 0.02F);
    }
    assert_true(fabs(sum - 0.25) < 0.003);
    ctx_close(&c);
}

/* ---- runs ---- */

static dt_settings narrow_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.adam_moments = DT_PRECISION_BF16;
    return s;
}

/* They take half of the memory, and after some steps the loss is that of a run with wide ones. */
static void a_run_is_as_good_and_keeps_less(void **state)
{
    (void)state;
    double loss[2];
    int64_t bytes[2], values = 0;
    for (int narrow = 0; narrow < 2; narrow++) {
        dt_settings s = fixture_settings("");
        s.adam_moments = narrow ? DT_PRECISION_BF16 : DT_PRECISION_F32;
        s.max_train_steps = 40;
        s.learning_rate = 1e-3;
        open_inside(s);
        loss[narrow] = 0;
        for (int step = 0; step < 40; step++) {
            const step_result r = step_inside();
            if (step >= 20) loss[narrow] += r.loss_target / 20;
        }
        bytes[narrow] = trainset_bytes(&run.t.set, true);
        values = trainset_values(&run.t.set);
        close_inside();
    }
    print_message("mean loss of steps 20 to 39: %.6f with f32 moments, %.6f with bf16\n", loss[0], loss[1]);
    assert_true(fabs(loss[1] / loss[0] - 1) < 5e-3);
    assert_int_equal(bytes[0] - bytes[1], 4 * values);
}

static bool same_bytes(const char *folder, const char *other, const char *name)
{
    file_hash a, b;
    dt_error err = {0};
    assert_int_equal(file_sha256(&a, temp_path_in(folder, name), &err), DT_OK);
    assert_int_equal(file_sha256(&b, temp_path_in(other, name), &err), DT_OK);
    return strcmp(a.hex, b.hex) == 0;
}

/* Stopped and gone on with, by the bytes of the checkpoint; fused into the backward pass as well. */
static void a_stop_leaves_no_trace(void **state)
{
    (void)state;
    static const char *const file[] = {"model", "ema", "optimizer"};
    for (int fused = 0; fused < 2; fused++) {
        dt_settings s = narrow_settings("whole");
        s.fused_backward_pass = fused;
        fixture_train_to_the_end(&s);
        snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("stopped"));
        assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
        fixture_train_to_the_end(&s);
        for (int i = 0; i < 3; i++) {
            char name[96];
            snprintf(name, sizeof name, "checkpoints/step-00000006/%s.safetensors", file[i]);
            if (!same_bytes("whole", "stopped", name)) fail_msg("fused %d: another %s", fused, file[i]);
        }
        fixture_remove("whole");
        fixture_remove("stopped");
    }
}

/* Files hold moments as F32, whatever they were kept in: what reads them need not know. */
static void files_hold_what_is_kept(void **state)
{
    (void)state;
    dt_settings s = narrow_settings("run");
    tensor_file f;
    dt_error err = {0};
    int64_t others = 0;
    fixture_train_to_the_end(&s);
    assert_int_equal(safetensors_open(&f, temp_path("run/checkpoints/step-00000006/optimizer.safetensors"), &err),
                     DT_OK);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        const uint32_t *bits = (const void *)e->data;
        assert_int_equal(e->bytes, 4 * e->count);
        for (int64_t k = 0; k < e->count; k++) {
            assert_int_equal(bits[k] & 0xffff, 0);
            others += bits[k] != 0;
        }
    }
    assert_true(others > 100);
    tensor_file_close(&f);
    s.adam_moments = DT_PRECISION_F32;
    s.max_train_steps = 9;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_non_null(strstr(fixture_message, "adam_moments"));
    fixture_remove("run");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_keeps_the_mean), cmocka_unit_test(no_moment_becomes_infinite),
        cmocka_unit_test(noise_has_no_pattern),    cmocka_unit_test(an_update_differs_in_what_is_kept_only),
        cmocka_unit_test(second_moments_arrive),   cmocka_unit_test(a_run_is_as_good_and_keeps_less),
        cmocka_unit_test(a_stop_leaves_no_trace),  cmocka_unit_test(files_hold_what_is_kept),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
