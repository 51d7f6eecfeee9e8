/* Drawing by prompts: a denoiser that is told a context and knows no classes, with the text encoder of vectors/clip. */
#include "run_fixture.h"

#include "api/prompts.h"
#include "measure/drawing.h"
#include "model/sd/prompt.h"
#include "op/op.h"

enum { SIDE = 4, PIXELS = SIDE * SIDE, TOKENS = 77, COUNT = 7, CLIP_WIDTH = 16 };

static ctx c;

static int setup(void **state)
{
    (void)state;
    return ctx_open(&c, DT_DEVICE_CPU, 2, DT_ISA_AUTO) == DT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    ctx_close(&c);
    return 0;
}

/* ---- the denoiser: the noise is the mean of the context's tokens ---- */

static tensor *forward(ctx *at, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    (void)d;
    (void)t;
    TENSOR_CHECK(k->context && !k->label && k->context->dim[0] == x->dim[0], x);
    return op_reshape(at, op_mean_tokens(at, k->context), 4, x->dim);
}

static denoiser new_denoiser(void)
{
    static const denoiser_ops ops = {.kind = "network of prompts", .forward = forward};
    static params none;
    return (denoiser){.ops = &ops,
                      .params = &none,
                      .shape = {1, SIDE, SIDE},
                      .process = {NOISE_LINEAR, PREDICTS_NOISE, false},
                      .context_tokens = TOKENS,
                      .context_width = CLIP_WIDTH};
}

static dt_settings settings_of(const char *prompt, const char *negative)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "vectors/clip");
    snprintf(s.prompt, sizeof s.prompt, "%s", prompt);
    snprintf(s.negative_prompt, sizeof s.negative_prompt, "%s", negative);
    s.num_inference_steps = 3;
    s.guidance_scale = 4;
    s.guidance_channels = DT_GUIDE_ALL;
    return s;
}

/* ---- drawing ---- */

static bool keep(void *user, drawn *b)
{
    memcpy((float *)user + b->first * PIXELS, b->x, (size_t)(b->n * PIXELS) * sizeof *b->x);
    return true;
}

/* COUNT samples. `sha256` may be NULL. */
static void draw(float *out, const dt_settings *s, char sha256[65])
{
    prompts p;
    denoiser d = new_denoiser();
    fixture_log[0] = '\0';
    if (prompts_open(&c, &p, &d, s, COUNT, &(dt_observer){.log = fixture_collect, .user = &(fixture_watch){0}}) !=
        DT_OK)
        fail_msg("%s", c.error.message);
    drawing one = {.told = &p.told, .batch = 3};
    assert_int_equal(sampler_open(&one.sampler, &d, s, &c.error), DT_OK);
    if (drawing_run(&c, &one, 0, COUNT, keep, out) != DT_OK) fail_msg("%s", c.error.message);
    if (sha256) memcpy(sha256, p.told.sha256, sizeof p.told.sha256);
    prompts_close(&p);
}

static void put_file(const char *name, const char *text)
{
    if (file_write_atomic(temp_path(name), text, strlen(text), &c.error) != DT_OK) fail_msg("%s", c.error.message);
}

/* Sample i of a file is that of its prompt alone. */
static void prompts_of_a_file_are_drawn_in_turn(void **state)
{
    (void)state;
    static const char *const text[] = {"a cat", "two dogs, in the snow", "mars"};
    static float all[COUNT * PIXELS], alone[3][COUNT * PIXELS];
    char sha256[4][65];
    put_file("three.txt", "a cat\n\n  two dogs, in the snow\r\nmars\n");
    const dt_settings s = settings_of(temp_path("three.txt"), "");
    draw(all, &s, sha256[3]);
    for (int k = 0; k < 3; k++) {
        const dt_settings one = settings_of(text[k], "");
        draw(alone[k], &one, sha256[k]);
        for (int j = 0; j < k; j++) assert_string_not_equal(sha256[j], sha256[k]);
    }
    for (int i = 0; i < COUNT; i++)
        assert_memory_equal(all + i * PIXELS, alone[i % 3] + i * PIXELS, PIXELS * sizeof *all);
    assert_memory_not_equal(alone[0], alone[1], sizeof alone[0]);
    assert_string_not_equal(sha256[3], sha256[0]);
}

/* Guidance goes from the negative prompt to the prompt: where both are the same it changes nothing. */
static void the_null_context_is_the_negative_prompt(void **state)
{
    (void)state;
    static float plain[COUNT * PIXELS], same[COUNT * PIXELS], other[COUNT * PIXELS], empty[COUNT * PIXELS];
    dt_settings s = settings_of("a cat", "a cat");
    draw(same, &s, NULL);
    s.guidance_scale = 1;
    draw(plain, &s, NULL);
    for (int i = 0; i < COUNT * PIXELS; i++) assert_true(fabsf(plain[i] - same[i]) < 1e-4F);
    s = settings_of("a cat", "");
    draw(empty, &s, NULL);
    s = settings_of("a cat", "mars");
    draw(other, &s, NULL);
    assert_memory_not_equal(empty, same, sizeof empty);
    assert_memory_not_equal(empty, other, sizeof empty);
}

static void the_null_context_of_nothing_is_that_of_the_empty_prompt(void **state)
{
    (void)state;
    static float expected[TOKENS * CLIP_WIDTH];
    prompts p;
    prompt_encoder e;
    denoiser d = new_denoiser();
    const dt_settings s = settings_of("a cat", "");
    const char *empty = "";
    const size_t before = c.scratch.used;
    assert_int_equal(prompt_encoder_open(&c, &e, "vectors/clip"), DT_OK);
    assert_int_equal(prompt_encode(&c, &e, expected, &empty, 1), DT_OK);
    const size_t with_encoder = c.model.used;
    assert_int_equal(prompts_open(&c, &p, &d, &s, COUNT, &(dt_observer){0}), DT_OK);
    assert_memory_equal(d.null_context->data, expected, sizeof expected);
    assert_int_equal(p.told.count, 1);
    assert_true(c.model.used < with_encoder + 2 * sizeof expected); /* a second encoder is not kept */
    assert_int_equal(c.scratch.used, before);
    prompts_close(&p);
}

static void what_is_cut_is_told(void **state)
{
    (void)state;
    static float out[COUNT * PIXELS];
    char text[DT_PATH_MAX] = "";
    for (int i = 0; i < 60; i++) snprintf(text + 4 * i, 5, "mars");
    for (int i = 3; i < 240; i += 4) text[i] = ' ';
    const dt_settings s = settings_of(text, "");
    draw(out, &s, NULL);
    assert_non_null(strstr(fixture_log, "1 of 1 prompts have more than 77 tokens"));
}

static void refused(denoiser *d, const dt_settings *s, dt_status status, const char *part)
{
    prompts p;
    assert_int_equal(prompts_open(&c, &p, d, s, COUNT, &(dt_observer){0}), status);
    if (!strstr(c.error.message, part)) fail_msg("%s: %s expected", c.error.message, part);
    prompts_close(&p);
    error_clear(&c.error);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    denoiser d = new_denoiser();
    dt_settings s = settings_of("a cat", "");
    d.context_width = 8;
    refused(&d, &s, DT_ERR_SHAPE, "width 16");
    d = new_denoiser();
    put_file("none.txt", "\n \n");
    s = settings_of(temp_path("none.txt"), "");
    refused(&d, &s, DT_ERR_FORMAT, "found none");
    s = settings_of(temp_path("missing.txt"), "");
    refused(&d, &s, DT_ERR_IO, "missing.txt");
    s = settings_of("a cat", "");
    snprintf(s.text_encoder, sizeof s.text_encoder, "%s", temp_path("nowhere"));
    refused(&d, &s, DT_ERR_IO, "nowhere");
    d.context_tokens = d.context_width = 0;
    refused(&d, &s, DT_ERR_ARG, "prompt is for models that are told prompts");
    s = settings_of("", "a dog");
    refused(&d, &s, DT_ERR_ARG, "negative_prompt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prompts_of_a_file_are_drawn_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(the_null_context_is_the_negative_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(the_null_context_of_nothing_is_that_of_the_empty_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
