/* A ControlNet on a UNet against diffusers' (vectors/make_controlnet_vectors.py): what is predicted, every gradient, ten steps of AdamW
 * and what DDIM draws; what a pass keeps; and its files. */
#include "run_fixture.h"

#include <jansson.h>

#include "container/tensor_open.h"
#include "diffusion/sampler.h"
#include "engine/open.h"
#include "model/sd/controlled.h"
#include "model/sd/controlnet_config.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_denoiser.h"
#include "reference_vectors.h"
#include "train/batch.h"
#include "train/optimizer.h"

enum { N = 4, TOKENS = 5, CLASSES = 3, STEPS = 10, DRAWN = 2 };
#define NAMES         "controlnet." /* before them in the vectors */
#define NOTHING       0.1           /* gradients that are longer are compared by their length */
#define LEARNING_RATE 1e-3
#define GUIDANCE      3.0
static const real times[N] = {0, 1, 437, 999};
static const int32_t labels[N] = {0, CLASSES, 1, 0};
static const char *const kinds[] = {"text", "label"};

/* ---- networks with their vectors ---- */

typedef struct fixture {
    ctx c;
    unet base;
    controlnet net;
    denoiser frozen, d;
    trainset set;
    tensor_file f;
    tensor *x, *context, *control; /* context NULL: it is told labels */
} fixture;

static reference reference_of(fixture *x)
{
    return (reference){&x->c, &x->f};
}

static void must(fixture *x)
{
    reference_must(reference_of(x));
}

/* Numbers by the names that the script has: those of a ControlNet stand behind "controlnet.". */
static param under_its_name(const param *row, char full[160])
{
    param named = *row;
    snprintf(full, 160, NAMES "%s", row->name);
    named.name = full;
    return named;
}

static void open_networks(fixture *x, const char *kind)
{
    char path[128], full[160];
    unet_config base;
    controlnet_config k;
    snprintf(path, sizeof path, "vectors/controlnet_%s.safetensors", kind);
    safetensors_open(&x->f, path, &x->c.error);
    must(x);
    unet_config_parse(&base, tensor_file_metadata(&x->f, "base"), path, &x->c.error);
    base.class_count = strcmp(kind, "label") ? 0 : CLASSES;
    if (x->c.error.status == DT_OK) unet_open(&x->c, &x->base, &base);
    controlnet_config_parse(&k, tensor_file_metadata(&x->f, "config"), path, &x->c.error);
    if (x->c.error.status == DT_OK) controlnet_open(&x->c, &x->net, &k);
    controlnet_config_fits(&k, &base, path, &x->c.error);
    must(x);
    for (int i = 0; i < x->base.params.count; i++) named_weights(&x->base.params.row[i]);
    for (int i = 0; i < x->net.params.count; i++) {
        const param named = under_its_name(&x->net.params.row[i], full);
        named_weights(&named);
    }
    params_round(&x->c, &x->base.params);
    params_round(&x->c, &x->net.params);
}

static void open_fixture_as(fixture *x, const char *kind, int64_t n, int gemm_flags)
{
    *x = (fixture){0};
    assert_int_equal(ctx_open(&x->c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    x->c.gemm_flags = gemm_flags;
    open_networks(x, kind);
    unet_denoiser(&x->frozen, &x->base);
    if (!x->base.config.class_count) x->frozen.context_tokens = TOKENS;
    controlled_denoiser(&x->c, &x->d, &x->frozen, &x->net, "");
    must(x);
    const sample_shape *s = &x->d.shape, *p = &x->d.control;
    x->x = reference_input(reference_of(x), 4, (int64_t[]){n, s->channels, s->height, s->width}, "x");
    x->control = reference_input(reference_of(x), 4, (int64_t[]){n, p->channels, p->height, p->width}, "control");
    if (!x->d.class_count)
        x->context = reference_input(reference_of(x), 3, (int64_t[]){n, TOKENS, x->d.context_width}, "context");
}

static void open_fixture(fixture *x, const char *kind)
{
    open_fixture_as(x, kind, N, 0);
}

static void close_fixture(fixture *x)
{
    must(x);
    tensor_file_close(&x->f);
    ctx_close(&x->c);
}

static condition told(const fixture *x)
{
    return (condition){.label = x->context ? NULL : labels, .context = x->context, .control = x->control};
}

static tensor *predict(fixture *x)
{
    const condition k = told(x);
    tensor *y = denoiser_forward(&x->c, &x->d, x->x, times, &k);
    must(x);
    return y;
}

static double difference(fixture *x, const tensor *found, const char *name)
{
    return reference_difference(reference_of(x), found->data, tensor_count(found), name);
}

static void want_gradients(fixture *x)
{
    trainset_add(&x->c, &x->set, &x->net.params, NULL, 0);
    trainset_want_gradients(&x->c, &x->set, true);
    must(x);
}

static void walk_back(fixture *x)
{
    x->c.recording = true;
    reference_walk_back(reference_of(x), predict(x));
}

static double gradient_difference(fixture *x)
{
    return reference_gradients(reference_of(x), &x->net.params, NAMES, NOTHING);
}

/* ---- against diffusers ---- */

static void it_predicts_what_diffusers_does(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture x;
        open_fixture(&x, kinds[i]);
        const tensor *out = predict(&x);
        assert_true(difference(&x, out, "out") < 1e-5);
        close_fixture(&x);
    }
}

static void its_gradients_are_those_of_diffusers(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        fixture x;
        open_fixture(&x, kinds[i / 2]);
        want_gradients(&x);
        x.c.checkpointing = i % 2;
        walk_back(&x);
        assert_true(gradient_difference(&x) < 1e-4);
        for (int k = 0; k < x.base.params.count; k++) assert_null(x.base.params.row[k].tensor->grad);
        close_fixture(&x);
    }
}

static void bfloat16_stays_near(void **state)
{
    (void)state;
    fixture x;
    open_fixture_as(&x, "text", N, GEMM_BF16);
    want_gradients(&x);
    walk_back(&x);
    const tensor *out = predict(&x);
    assert_true(difference(&x, out, "out") < 4e-2);
    assert_true(gradient_difference(&x) < 0.2);
    close_fixture(&x);
}

/* What two passes back add up to, the base's matrices as they are or narrow, and the last prediction. */
static real *twice(bool narrow, int64_t *count)
{
    fixture x;
    open_fixture_as(&x, "text", N, GEMM_BF16);
    want_gradients(&x);
    walk_back(&x);
    if (narrow) params_narrow(&x.c, &x.base.params);
    walk_back(&x);
    const tensor *out = predict(&x);
    int64_t at = tensor_count(out), narrow_rows = 0;
    *count = at + params_count(&x.net.params, true);
    real *found = malloc((size_t)*count * sizeof *found);
    assert_non_null(found);
    memcpy(found, out->data, tensor_bytes(out));
    for (int i = 0; i < x.net.params.count; i++) {
        const tensor *row = x.net.params.row[i].tensor;
        memcpy(found + at, row->grad, tensor_bytes(row));
        at += tensor_count(row);
    }
    for (int i = 0; i < x.base.params.count; i++) narrow_rows += x.base.params.row[i].tensor->narrow;
    assert_int_equal(narrow_rows > 0, narrow && x.c.engine.narrow);
    close_fixture(&x);
    return found;
}

static void a_frozen_base_that_is_kept_narrow_gives_the_same_bits(void **state)
{
    (void)state;
    int64_t count, same;
    real *wide = twice(false, &count), *narrow = twice(true, &same);
    assert_int_equal(count, same);
    assert_memory_equal(wide, narrow, (size_t)count * sizeof *wide);
    free(wide);
    free(narrow);
}

/* The loss of one step on the batch that is always the same. */
static real take_step(fixture *x, optimizer *o, const tensor *noise)
{
    const arena_place mark = arena_mark(&x->c.step);
    real mse[N], weight[N];
    for (int i = 0; i < N; i++) weight[i] = 1 / (real)N;
    optimizer_begin(&x->c, o, LEARNING_RATE);
    x->c.recording = true;
    tensor *loss = op_prediction_loss(&x->c, mse, predict(x), noise, weight);
    const real value = loss->data[0];
    tensor_grad(&x->c, loss)[0] = 1;
    tape_backward(&x->c, NULL);
    x->c.recording = false;
    optimizer_end(&x->c, o, LEARNING_RATE, optimizer_grad_norm(&x->c, o), true);
    arena_release(&x->c.step, mark);
    return value;
}

static void ten_steps_are_those_of_pytorch(void **state)
{
    (void)state;
    fixture x;
    optimizer o;
    dt_settings s;
    real losses[STEPS];
    open_fixture(&x, "text");
    dt_settings_init(&s);
    s.adam_weight_decay = 1e-2;
    s.max_grad_norm = 0;
    trainset_add(&x.c, &x.set, &x.net.params, NULL, 0);
    optimizer_open(&x.c, &o, &x.set, &s);
    const tensor *noise = reference_input(reference_of(&x), 4, x.x->dim, "noise");
    for (int i = 0; i < STEPS; i++) losses[i] = take_step(&x, &o, noise);
    assert_true(reference_difference(reference_of(&x), losses, STEPS, "losses") < 1e-4);
    const tensor *out = predict(&x);
    assert_true(difference(&x, out, "trained") < 1e-4);
    close_fixture(&x);
}

static void ddim_draws_what_diffusers_does(void **state)
{
    (void)state;
    static const char *const name[] = {"ddim20", "ddim50"};
    for (int i = 0; i < 2; i++) {
        fixture x;
        sampler drawer;
        dt_settings s;
        open_fixture_as(&x, "text", DRAWN, 0);
        dt_settings_init(&s);
        s.timestep_spacing = DT_SPACING_LEADING;
        s.num_inference_steps = i ? 50 : 20;
        s.guidance_scale = GUIDANCE;
        s.guidance_channels = DT_GUIDE_ALL;
        sampler_open(&drawer, &x.d, &s, &x.c.error);
        must(&x);
        const condition k = told(&x);
        sampler_continue(&x.c, &drawer, x.x->data, &k, (uint32_t[]){0, 1}, DRAWN);
        must(&x);
        assert_true(difference(&x, x.x, name[i]) < 1e-3);
        close_fixture(&x);
    }
}

/* ---- what it is without a control, and at first ---- */

static void expect_the_base(fixture *x, const condition *k)
{
    const tensor *alone = unet_forward(&x->c, &x->base, x->x, times, k);
    const tensor *out = denoiser_forward(&x->c, &x->d, x->x, times, k);
    must(x);
    assert_memory_equal(out->data, alone->data, tensor_bytes(out));
}

static void untold_or_new_it_is_the_base(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture x;
        open_fixture(&x, kinds[i]);
        condition k = told(&x);
        k.control = NULL;
        expect_the_base(&x, &k);
        controlnet_start(&x.c, &x.net, &x.base, 3);
        k = told(&x);
        expect_the_base(&x, &k);
        for (int r = 0; r < x.net.params.count; r++) {
            const param *row = &x.net.params.row[r], *same = params_find(&x.base.params, row->name);
            if (same) assert_memory_equal(row->tensor->data, same->tensor->data, tensor_bytes(row->tensor));
        }
        close_fixture(&x);
    }
}

static void the_scale_multiplies_what_is_told(void **state)
{
    (void)state;
    fixture x;
    unet_inner whole, half;
    open_fixture(&x, "text");
    controlnet_forward(&x.c, &x.net, &whole, x.x, times, x.context, x.control);
    controlnet_scale(&x.c, &x.net, 0.5);
    controlnet_forward(&x.c, &x.net, &half, x.x, times, x.context, x.control);
    must(&x);
    assert_int_equal(whole.skip_count, unet_skip_count(&x.base.config));
    for (int i = 0; i <= whole.skip_count; i++) {
        const tensor *a = i ? whole.skip[i - 1] : whole.middle, *b = i ? half.skip[i - 1] : half.middle;
        for (int64_t k = 0; k < tensor_count(a); k++)
            assert_true(fabs((double)a->data[k] / 2 - (double)b->data[k]) < 1e-5);
    }
    close_fixture(&x);
}

/* ---- what a pass keeps ---- */

/* Bytes of the step arena that a recorded pass of `part` holds until it is walked back. */
typedef void pass_part(fixture *x, unet_inner *inner);

static size_t bytes_kept(fixture *x, pass_part *part, unet_inner *inner)
{
    const size_t before = x->c.step.used;
    x->c.recording = true;
    part(x, inner);
    x->c.recording = false;
    must(x);
    return x->c.step.used - before;
}

static void whole_pass(fixture *x, unet_inner *inner)
{
    (void)inner;
    predict(x);
}

static void control_pass(fixture *x, unet_inner *inner)
{
    controlnet_forward(&x->c, &x->net, inner, x->x, times, x->context, x->control);
}

static void way_up(fixture *x, unet_inner *inner)
{
    unet_decode(&x->c, &x->base, inner, unet_embed_time(&x->c, &x->base.encoder, times, N), x->context);
}

static void way_down(fixture *x, unet_inner *inner)
{
    *inner = unet_look(&x->c, &x->base, x->x, unet_embed_time(&x->c, &x->base.encoder, times, N), x->context);
}

/* Beside what the ControlNet and the way up keep there is little: the skips that the frozen encoder leaves and their sums with what is
 * told, but nothing of its inside. */
static void the_frozen_encoder_keeps_its_results_alone(void **state)
{
    (void)state;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        fixture x;
        unet_inner inner;
        size_t results;
        open_fixture(&x, "text");
        want_gradients(&x);
        x.c.checkpointing = checkpointing;
        const size_t whole = bytes_kept(&x, whole_pass, NULL), told = bytes_kept(&x, control_pass, &inner);
        results = tensor_bytes(inner.middle);
        for (int i = 0; i < inner.skip_count; i++) results += tensor_bytes(inner.skip[i]);
        const size_t up = bytes_kept(&x, way_up, &inner);
        for (int i = 0; i < x.base.params.count; i++) x.base.params.row[i].tensor->need_grad = true;
        const size_t down = bytes_kept(&x, way_down, &inner);
        print_message("kept %zu: ControlNet %zu, way up %zu, results %zu; recorded, the way down would keep %zu\n",
                      whole, told, up, results, down);
        assert_true(whole - told - up < 3 * results);
        if (!checkpointing) assert_true(down > 6 * results);
        tape_clear(&x.c);
        close_fixture(&x);
    }
}

/* ---- files ---- */

static void write_as(fixture *x, const char *name, dt_model_format format, const char *base_sha256)
{
    const denoiser_file f = {.path = temp_path(name), .format = format};
    controlnet_write(&x->c, &x->net, base_sha256, &f);
    must(x);
}

static void expect_the_same_in(fixture *x, const char *path, const char *base_sha256)
{
    tensor_file f;
    controlnet again;
    tensor_file_open(&f, path, &x->c.error);
    must(x);
    assert_true(controlnet_file_fits(&f));
    assert_string_equal(tensor_file_metadata(&f, CONTROLNET_BASE), base_sha256);
    controlnet_load(&x->c, &again, &f);
    must(x);
    const controlnet_config *a = &x->net.config, *b = &again.config;
    assert_int_equal(a->stem_count, b->stem_count);
    assert_memory_equal(a->stem_width, b->stem_width, sizeof a->stem_width);
    assert_int_equal(a->control_channels, b->control_channels);
    controlnet_config_fits(b, &x->base.config, path, &x->c.error);
    must(x);
    for (int i = 0; i < again.params.count; i++) {
        const tensor *s = x->net.params.row[i].tensor, *t = again.params.row[i].tensor;
        assert_memory_equal(s->data, t->data, tensor_bytes(s));
    }
    tensor_file_close(&f);
}

static void it_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture x;
        open_fixture(&x, kinds[i]);
        write_as(&x, "control.safetensors", DT_MODEL_SAFETENSORS, "abc");
        expect_the_same_in(&x, temp_path("control.safetensors"), "abc");
        write_as(&x, "folder", DT_MODEL_DIFFUSERS, "abc");
        expect_the_same_in(&x, temp_path("folder/diffusion_pytorch_model.safetensors"), "abc");
        write_as(&x, "control.pt", DT_MODEL_PT, "abc");
        expect_the_same_in(&x, temp_path("control.pt"), "abc");
        close_fixture(&x);
    }
}

static void a_configuration_that_is_not_ours_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"{\"_class_name\": \"UNet2DConditionModel\"}", "_class_name is \"UNet2DConditionModel\""},
        {"{\"controlnet_conditioning_channel_order\": \"bgr\"}", "controlnet_conditioning_channel_order is \"bgr\""},
        {"{\"global_pool_conditions\": true}", "global_pool_conditions is true"},
        {"{\"conditioning_channels\": 0}", "conditioning_channels: a whole number"},
        {"{\"conditioning_embedding_out_channels\": []}", "conditioning_embedding_out_channels: a list of 1 to 8"},
        {"{\"use_linear_projection\": true}", "use_linear_projection: a UNet of Stable Diffusion 2"},
        {"{\"something_new\": 3}", "something_new is 3"},
        {"[", "config.json: difftune.controlnet"},
    };
    controlnet_config k;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dt_error err = {0};
        assert_int_not_equal(controlnet_config_parse(&k, wrong[i][0], "config.json", &err), DT_OK);
        if (!strstr(err.message, wrong[i][1])) fail_msg("%s: %s", wrong[i][0], err.message);
    }
}

static void a_new_one_has_the_stem_that_its_pictures_need(void **state)
{
    (void)state;
    static const struct {
        const char *stem, *said;
        int64_t factor, count;
    } rows[] = {
        {"", NULL, 8, 4},
        {"", NULL, 1, 1},
        {"5, 7", NULL, 2, 2},
        {"5", "1 entries lead to 1/1 of the pictures' side, and the model sees 1/2 of it", 2, 0},
        {"5,", "1 to 8 numbers", 2, 0},
        {"5;7", "1 to 8 numbers", 2, 0},
    };
    const unet_config base = unet_config_sd15();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        controlnet_config k;
        dt_error err = {0};
        controlnet_config_new(&k, &base, rows[i].factor, rows[i].stem, &err);
        if (rows[i].said && !strstr(err.message, rows[i].said)) fail_msg("%s: %s", rows[i].stem, err.message);
        if (!rows[i].said) assert_int_equal(k.stem_count, rows[i].count);
    }
}

/* 340 tensors of 361,279,120 values: lllyasviel/ControlNet's control_model. */
static void the_published_one_has_as_many_values(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__ /* whose arenas are small */
    skip();
#endif
    ctx c;
    controlnet m;
    controlnet_config k;
    const unet_config base = unet_config_sd15();
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(controlnet_config_new(&k, &base, 8, "", &c.error), DT_OK);
    assert_int_equal(controlnet_open(&c, &m, &k), DT_OK);
    assert_int_equal(m.params.count, 340);
    assert_int_equal(params_count(&m.params, true), 361279120);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_predicts_what_diffusers_does),
        cmocka_unit_test(its_gradients_are_those_of_diffusers),
        cmocka_unit_test(bfloat16_stays_near),
        cmocka_unit_test(a_frozen_base_that_is_kept_narrow_gives_the_same_bits),
        cmocka_unit_test(ten_steps_are_those_of_pytorch),
        cmocka_unit_test(ddim_draws_what_diffusers_does),
        cmocka_unit_test(untold_or_new_it_is_the_base),
        cmocka_unit_test(the_scale_multiplies_what_is_told),
        cmocka_unit_test(the_frozen_encoder_keeps_its_results_alone),
        cmocka_unit_test(it_is_read_as_it_was_written),
        cmocka_unit_test(a_configuration_that_is_not_ours_is_refused_by_name),
        cmocka_unit_test(a_new_one_has_the_stem_that_its_pictures_need),
        cmocka_unit_test(the_published_one_has_as_many_values),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
