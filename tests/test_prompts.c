/* Drawing by prompts, with the text encoder of vectors/clip: of a denoiser that is told a context and knows no classes, and of a
 * small UNet by the verbs sample and bank. */
#include "control_fixture.h"

#include "api/prompts.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "measure/drawing.h"
#include "model/sd/prompt.h"
#include "model/sd/unet_denoiser.h"
#include "op/op.h"
#include "run/loop.h"

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

/* A file of such a network, which is told contexts of this width; 0: none. */
static int64_t told_width = CLIP_WIDTH;

static dt_status open_encoder(ctx *at, context_encoder *e, const tensor_file *f, const char *model,
                              const char *vocabulary)
{
    (void)f;
    return told_width ? prompt_context_encoder(at, e, model, vocabulary, TOKENS, told_width) : DT_OK;
}

static const model_kind told_kind = {.open_encoder = open_encoder};
static const model_file told_file = {.path = "network", .kind = &told_kind};

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
    if (prompts_open(&c, &p, &told_file, s, COUNT,
                     &(dt_observer){.log = fixture_collect, .user = &(fixture_watch){0}}) != DT_OK ||
        prompts_join(&c, &p, &d) != DT_OK)
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
    assert_int_equal(prompt_encoder_open(&c, &e, "vectors/clip", ""), DT_OK);
    assert_int_equal(prompt_encode(&c, &e, expected, &empty, 1), DT_OK);
    const size_t with_encoder = c.model.used;
    assert_int_equal(prompts_open(&c, &p, &told_file, &s, COUNT, &(dt_observer){0}), DT_OK);
    assert_int_equal(prompts_join(&c, &p, &d), DT_OK);
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

static void refused(const dt_settings *s, dt_status status, const char *part)
{
    prompts p;
    assert_int_equal(prompts_open(&c, &p, &told_file, s, COUNT, &(dt_observer){0}), status);
    if (!strstr(c.error.message, part)) fail_msg("%s: %s expected", c.error.message, part);
    prompts_close(&p);
    error_clear(&c.error);
}

/* A file of one line is that line; of more it is refused. */
static void a_negative_prompt_may_be_the_line_of_a_file(void **state)
{
    (void)state;
    static float of_text[COUNT * PIXELS], of_file[COUNT * PIXELS];
    char sha256[2][65];
    put_file("away.txt", "mars\n");
    dt_settings s = settings_of("a cat", "mars");
    draw(of_text, &s, sha256[0]);
    s = settings_of("a cat", temp_path("away.txt"));
    draw(of_file, &s, sha256[1]);
    assert_memory_equal(of_text, of_file, sizeof of_text);
    assert_string_equal(sha256[0], sha256[1]);
    put_file("away.txt", "mars\na dog\n");
    refused(&s, DT_ERR_ARG, "one line expected, for all samples; found 2");
    s = settings_of("a cat", temp_path("missing.txt"));
    refused(&s, DT_ERR_IO, "missing.txt");
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    dt_settings s = settings_of("a cat", "");
    told_width = 8;
    refused(&s, DT_ERR_SHAPE, "width 16");
    told_width = CLIP_WIDTH;
    put_file("none.txt", "\n \n");
    s = settings_of(temp_path("none.txt"), "");
    refused(&s, DT_ERR_FORMAT, "found none");
    put_file("latin.txt", "a cat\n\na caf\xe9\n");
    s = settings_of(temp_path("latin.txt"), "");
    refused(&s, DT_ERR_FORMAT, "latin.txt:3: a prompt in UTF-8");
    s = settings_of(temp_path("missing.txt"), "");
    refused(&s, DT_ERR_IO, "missing.txt");
    s = settings_of("a cat", "");
    snprintf(s.text_encoder, sizeof s.text_encoder, "%s", temp_path("nowhere"));
    refused(&s, DT_ERR_IO, "nowhere");
    told_width = 0;
    refused(&s, DT_ERR_ARG, "prompt is for models that are told prompts; network is none");
    s = settings_of("", "a dog");
    refused(&s, DT_ERR_ARG, "negative_prompt");
    told_width = CLIP_WIDTH;
}

/* ---- the verbs ---- */

static void write_unet(const char *name)
{
    fixture_unet_told(&c, temp_path(name), 8, CLIP_WIDTH);
}

static dt_settings verb_settings(const char *prompt)
{
    dt_settings s = settings_of(prompt, "blurred");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("unet.safetensors"));
    snprintf(s.text_encoder, sizeof s.text_encoder, "vectors/clip");
    s.num_samples = 4;
    s.bank_size = 4;
    s.bank_shard_size = 2;
    return s;
}

/* Whether a PNG of a folder says this. */
static bool picture_says(const char *folder, int number, const char *text)
{
    char name[64], *data;
    size_t size;
    snprintf(name, sizeof name, "%s/images/%06d.png", folder, number);
    assert_int_equal(file_read_all(&data, &size, temp_path(name), 1 << 20, &c.error), DT_OK);
    const bool says = memmem(data, size, text, strlen(text)) != NULL;
    free(data);
    return says;
}

static dt_settings sampled(const char *folder, const char *prompt)
{
    dt_settings s = verb_settings(prompt);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(folder));
    return s;
}

static void check_same_file(const char *a, const char *b)
{
    file_hash hash[2];
    assert_int_equal(file_sha256(&hash[0], temp_path(a), &c.error), DT_OK);
    assert_int_equal(file_sha256(&hash[1], temp_path(b), &c.error), DT_OK);
    assert_string_equal(hash[0].hex, hash[1].hex);
}

static void samples_are_drawn_by_prompts(void **state)
{
    (void)state;
    write_unet("unet.safetensors");
    put_file("two.txt", "a cat\ntwo dogs, in the snow\n");
    const dt_settings all = sampled("all", temp_path("two.txt")), other = sampled("all", "a cat");
    fixture_must(dt_sample, &all);
    assert_true(picture_says("all", 2, "a cat") && picture_says("all", 3, "two dogs, in the snow"));
    assert_false(picture_says("all", 3, "a cat"));
    assert_true(picture_says("all", 0, "blurred"));
    assert_true(file_exists(temp_path("all/grid.png")));
    assert_int_equal(fixture_call_until(dt_sample, &other, -1), DT_ERR_CONFLICT);
    dt_settings part = sampled("part", temp_path("two.txt"));
    part.num_samples = part.sample_batch_size = 1; /* one prompt is encoded, then both */
    fixture_must(dt_sample, &part);
    part.num_samples = 4;
    fixture_must(dt_sample, &part);
    for (int i = 0; i < 4; i++) {
        char name[2][64];
        for (int k = 0; k < 2; k++) snprintf(name[k], sizeof name[k], "%s/images/%06d.png", k ? "part" : "all", i);
        check_same_file(name[0], name[1]);
    }
}

static void a_bank_is_drawn_by_prompts(void **state)
{
    (void)state;
    write_unet("unet.safetensors");
    put_file("two.txt", "a cat\ntwo dogs, in the snow\n");
    dt_settings s = verb_settings(temp_path("two.txt"));
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    fixture_must(dt_bank, &s);
    tensor_file f;
    assert_int_equal(safetensors_open(&f, temp_path("bank/shard-00001.safetensors"), &c.error), DT_OK);
    const tensor_entry *context = tensor_file_find(&f, "context");
    assert_true(context && context->dims[0] == 2 && context->dims[1] == TOKENS && context->dims[2] == CLIP_WIDTH);
    tensor_file_close(&f);
    snprintf(s.prompt, sizeof s.prompt, "mars");
    assert_int_equal(fixture_call_until(dt_bank, &s, -1), DT_ERR_CONFLICT);
    assert_non_null(strstr(fixture_message, "drawn with other prompts"));
}

/* pipe/: a pipeline's folder whose UNet is trained on captions; pictures without one are told the default prompt. */
static void a_unet_is_tuned_by_captions_whole_and_by_lora(void **state)
{
    (void)state;
    char clip[2][DT_PATH_MAX];
    static const char *const part[] = {"text_encoder", "tokenizer"};
    assert_int_equal(file_make_dirs(temp_path("pipe/unet"), &c.error), DT_OK);
    write_unet("pipe/unet/diffusion_pytorch_model.safetensors");
    for (int i = 0; i < 2; i++) {
        char name[64], from[64];
        snprintf(from, sizeof from, "vectors/clip/%s", part[i]);
        snprintf(name, sizeof name, "pipe/%s", part[i]);
        assert_non_null(realpath(from, clip[i]));
        assert_int_equal(symlink(clip[i], temp_path(name)), 0);
    }
    fixture_images("captioned", 1, 4, 8, 2);
    put_file("captioned/c0/000.txt", "a cat\n");
    dt_settings s = fixture_settings("tuned");
    s.method = DT_METHOD_FINETUNE;
    s.bank[0] = '\0';
    s.train_batch_size = 2;
    s.max_train_steps = 3;
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("pipe"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("captioned"));
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("cache"));
    fixture_train_to_the_end(&s);
    dt_settings shown = sampled("from-tuned", "a cat");
    snprintf(shown.pretrained_model, sizeof shown.pretrained_model, "%s", temp_path("tuned"));
    fixture_must(dt_sample, &shown);
    s.adapter = DT_ADAPTER_LORA;
    snprintf(s.lora_targets, sizeof s.lora_targets, "to_q,to_v,ff.net.2,proj_in");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("lora"));
    fixture_train_to_the_end(&s);
    assert_true(file_exists(temp_path("tuned/final/model.safetensors")));
    tensor_file f;
    assert_int_equal(safetensors_open(&f, temp_path("lora/final/adapter_model.safetensors"), &c.error), DT_OK);
    const tensor_entry *a = tensor_file_find(&f, "base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight");
    assert_true(a && a->dim_count == 4 && a->dims[1] == 8 && a->dims[2] == 1); /* as PEFT has a convolution's */
    tensor_file_close(&f);
    s.lora_targets[0] = '\0'; /* attention's, as diffusers' script for text to image has them */
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("lora-usual"));
    fixture_train_to_the_end(&s);
    assert_int_equal(safetensors_open(&f, temp_path("lora-usual/final/adapter_model.safetensors"), &c.error), DT_OK);
    for (int i = 0; i < 4; i++) {
        char name[160];
        static const char *const map[] = {"to_q", "to_k", "to_v", "to_out.0"};
        snprintf(name, sizeof name,
                 "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.%s.lora_B.weight", map[i]);
        assert_non_null(tensor_file_find(&f, name));
    }
    for (size_t i = 0; i < f.count; i++) assert_non_null(strstr(f.entries[i].name, ".to_"));
    tensor_file_close(&f);
}

/* unet.safetensors on the pictures of captioned/, of which one has a caption; the text encoder is named. */
static dt_settings captioned_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    write_unet("unet.safetensors");
    fixture_images("captioned", 1, 4, 8, 2);
    put_file("captioned/c0/000.txt", "a cat\n");
    s.method = DT_METHOD_FINETUNE;
    s.bank[0] = '\0';
    s.train_batch_size = 2;
    s.max_train_steps = 2;
    s.sample_steps = 2;
    s.num_samples = 3;
    s.num_inference_steps = 2;
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("unet.safetensors"));
    snprintf(s.text_encoder, sizeof s.text_encoder, "vectors/clip/text_encoder");
    snprintf(s.tokenizer, sizeof s.tokenizer, "vectors/clip/tokenizer");
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("captioned"));
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("cache"));
    return s;
}

/* What is told nothing is told the empty text. */
static void a_unet_is_tuned_with_a_named_text_encoder(void **state)
{
    (void)state;
    enum { WORDS = TOKENS * CLIP_WIDTH };
    static float expected[2 * WORDS];
    const char *const text[] = {"", "a cat"};
    prompt_encoder e;
    training t;
    dt_settings s = captioned_settings("named");
    s.class_dropout_prob = 0.5;
    assert_int_equal(prompt_encoder_open(&c, &e, "vectors/clip", ""), DT_OK);
    assert_int_equal(prompt_encode(&c, &e, expected, text, 2), DT_OK);
    if (training_open(&t, &c, &s, &(dt_observer){0}, model_kinds_all) != DT_OK) fail_msg("%s", c.error.message);
    assert_memory_equal(t.trainer.model.null_context->data, expected, WORDS * sizeof *expected);
    int empty = 0, cat = 0, other = 0;
    for (trainer *k = &t.trainer; k->step < 16; k->step++) {
        batch b;
        assert_true(batch_new(&c, &b, &k->model, 2));
        fixture_feed(k, &b, 0);
        for (int i = 0; i < 2; i++) {
            const real *row = b.context_values + i * WORDS;
            const bool nothing = !memcmp(row, expected, sizeof expected / 2),
                       a_cat = !memcmp(row, expected + WORDS, sizeof expected / 2);
            empty += nothing;
            cat += a_cat;
            other += !nothing && !a_cat;
        }
        arena_clear(&c.step);
    }
    assert_true(empty > 8 && empty < 24 && cat > 1 && other > 4);
    training_close(&t);
}

static file_hash grid_of(const char *output)
{
    char name[64];
    file_hash hash;
    snprintf(name, sizeof name, "%s/samples/step_00000002.png", output);
    if (file_sha256(&hash, temp_path(name), &c.error) != DT_OK) fail_msg("%s", c.error.message);
    return hash;
}

/* Grids show the validation prompts; the training does not know them. */
static void grids_are_drawn_by_validation_prompts(void **state)
{
    (void)state;
    static const char *const prompt[] = {"", "mars", "two.txt"};
    file_hash grid[3];
    put_file("two.txt", "mars\ntwo dogs, in the snow\n");
    for (int i = 0; i < 3; i++) {
        char output[16];
        snprintf(output, sizeof output, "grid%d", i);
        dt_settings s = captioned_settings(output);
        snprintf(s.validation_prompt, sizeof s.validation_prompt, "%s", i == 2 ? temp_path(prompt[i]) : prompt[i]);
        fixture_train_to_the_end(&s);
        grid[i] = grid_of(output);
        assert_same_bits(fixture_result(output), fixture_result("grid0"));
        for (int k = 0; k < i; k++) assert_string_not_equal(grid[i].hex, grid[k].hex);
    }
}

static void refused_training(const dt_settings *s, dt_status status, const char *part)
{
    assert_int_equal(fixture_call_until(dt_train, s, -1), status);
    if (!strstr(fixture_message, part)) fail_msg("%s: %s expected", fixture_message, part);
    assert_false(file_exists(s->output_dir));
}

/* The vocabulary of an encoder with one more id. */
static void one_merge_more(const char *name)
{
    char *list, *more;
    size_t size;
    assert_int_equal(file_read_all(&list, &size, "vectors/clip/bpe.txt", 1 << 20, &c.error), DT_OK);
    assert_true(asprintf(&more, "%sq q\n", list) > 0);
    put_file(name, more);
    free(list);
    free(more);
}

static void what_cannot_be_trained_is_refused_before(void **state)
{
    (void)state;
    dt_settings s = captioned_settings("refused");
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("refused_cache"));
    snprintf(s.validation_prompt, sizeof s.validation_prompt, "%s", temp_path("nowhere.txt"));
    refused_training(&s, DT_ERR_IO, "nowhere.txt");
    put_file("empty.txt", "\n");
    snprintf(s.validation_prompt, sizeof s.validation_prompt, "%s", temp_path("empty.txt"));
    refused_training(&s, DT_ERR_FORMAT, "prompts expected, one a line; found none");
    s.validation_prompt[0] = '\0';
    one_merge_more("many.txt");
    snprintf(s.tokenizer, sizeof s.tokenizer, "%s", temp_path("many.txt"));
    refused_training(&s, DT_ERR_SHAPE, "the tokenizer does not fit the text encoder");
    s = captioned_settings("refused");
    snprintf(s.text_encoder, sizeof s.text_encoder, "%s", temp_path("nowhere"));
    refused_training(&s, DT_ERR_IO, "nowhere");
    s = captioned_settings("refused");
    fixture_unet_told(&c, temp_path("narrow.safetensors"), 8, 8);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("narrow.safetensors"));
    refused_training(&s, DT_ERR_SHAPE, "gives 77 tokens of width 16, but the model is told 77 of width 8");
    fixture_base("dit.safetensors", fixture_config(), 11);
    s = captioned_settings("refused");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("dit.safetensors"));
    refused_training(&s, DT_ERR_ARG, "text_encoder is for models that are told prompts");
}

static void what_is_cut_of_captions_is_told(void **state)
{
    (void)state;
    char text[100 * 5 + 1] = "";
    for (int i = 0; i < 100; i++) strcat(text, "mars ");
    dt_settings s = captioned_settings("cut");
    snprintf(s.validation_prompt, sizeof s.validation_prompt, "%s", text);
    s.max_train_steps = 0;
    put_file("captioned/c0/001.txt", text);
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "1 of 4 captions have more than 77 tokens"));
    assert_non_null(strstr(fixture_log, "1 of 1 prompts of validation_prompt have more than 77 tokens"));
    assert_int_equal(unlink(temp_path("captioned/c0/001.txt")), 0);
}

/* ---- predict and diagnose ---- */

static dt_status predict(dt_settings s, float *out, int64_t count)
{
    dt_context *other = NULL;
    tensor_file f;
    snprintf(s.output, sizeof s.output, "%s", temp_path("said.safetensors"));
    assert_int_equal(dt_open(&other, &s), DT_OK);
    const dt_status status = dt_predict(other, &s);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(other));
    dt_close(other);
    if (status != DT_OK) return status;
    assert_int_equal(safetensors_open(&f, s.output, &c.error), DT_OK);
    const tensor_entry *e = tensor_file_find(&f, "out");
    assert_int_equal(e->count, count);
    assert_int_equal(tensor_read_f32(out, e, &c.error), DT_OK);
    tensor_file_close(&f);
    return status;
}

/* x and t of two samples, and with `context` what they are told. */
static void write_input(const char *name, const float *context)
{
    enum { N = 2, VALUES = N * 3 * 8 * 8 };
    static float x[VALUES];
    const int64_t n = N, t[N] = {3, 700}, dims[] = {N, 3, 8, 8}, told[] = {N, TOKENS, CLIP_WIDTH};
    for (int i = 0; i < VALUES; i++) x[i] = (float)sin(0.3 * i);
    const tensor_source source[] = {
        {.name = "x", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = x},
        {.name = "t", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &n, .data = t},
        {.name = "context", .dtype = SAFETENSORS_F32, .dim_count = 3, .dims = told, .values = context}};
    if (safetensors_write(temp_path(name), source, context ? 3 : 2, NULL, 0, NULL, &c.error) != DT_OK)
        fail_msg("%s", c.error.message);
}

static void predictions_are_told_prompts_or_contexts(void **state)
{
    (void)state;
    enum { VALUES = 2 * 3 * 8 * 8 };
    static float context[2 * TOKENS * CLIP_WIDTH], by_prompts[VALUES], by_contexts[VALUES];
    static const char *const text[] = {"a cat", "mars"};
    prompt_encoder e;
    dt_settings s;
    dt_settings_init(&s);
    assert_int_equal(prompt_encoder_open(&c, &e, "vectors/clip", ""), DT_OK);
    assert_int_equal(prompt_encode(&c, &e, context, text, 2), DT_OK);
    write_unet("unet.safetensors");
    write_input("with.safetensors", context);
    write_input("without.safetensors", NULL);
    put_file("cat_and_mars.txt", "a cat\nmars\n");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("unet.safetensors"));
    snprintf(s.input, sizeof s.input, "%s", temp_path("with.safetensors"));
    assert_int_equal(predict(s, by_contexts, VALUES), DT_OK);
    snprintf(s.text_encoder, sizeof s.text_encoder, "vectors/clip");
    assert_int_equal(predict(s, by_prompts, VALUES), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "is for prompt; leave it out"));
    snprintf(s.prompt, sizeof s.prompt, "%s", temp_path("cat_and_mars.txt"));
    assert_int_equal(predict(s, by_prompts, VALUES), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "holds a context already; leave out prompt"));
    snprintf(s.input, sizeof s.input, "%s", temp_path("without.safetensors"));
    assert_int_equal(predict(s, by_prompts, VALUES), DT_OK);
    assert_memory_equal(by_prompts, by_contexts, sizeof by_prompts);
    snprintf(s.prompt, sizeof s.prompt, "a cat");
    assert_int_equal(predict(s, by_prompts, VALUES), DT_OK);
    assert_memory_equal(by_prompts, by_contexts, sizeof by_prompts / 2);
    assert_memory_not_equal(by_prompts, by_contexts, sizeof by_prompts);
    s.prompt[0] = s.text_encoder[0] = '\0';
    assert_int_equal(predict(s, by_prompts, VALUES), DT_ERR_SHAPE);
    assert_non_null(strstr(fixture_message, "tensor context with 3 dimensions expected, it is missing"));
}

/* A folder of the same weights with another activation. */
static void another_encoder(const char *folder)
{
    char name[64], weights[DT_PATH_MAX];
    assert_int_equal(file_make_dirs(temp_path(folder), &c.error), DT_OK);
    snprintf(name, sizeof name, "%s/config.json", folder);
    put_file(name, "{\"hidden_act\": \"gelu\", \"num_attention_heads\": 2}");
    snprintf(name, sizeof name, "%s/model.safetensors", folder);
    assert_non_null(realpath("vectors/clip/text_encoder/model.safetensors", weights));
    assert_int_equal(symlink(weights, temp_path(name)), 0);
}

/* What was trained with one text encoder says so where it is drawn from, and trained on, with another one. */
static void another_text_encoder_is_told(void **state)
{
    (void)state;
    static const char words[] = "was trained with another text encoder than";
    dt_settings s = captioned_settings("taught");
    s.sample_steps = 0;
    fixture_train_to_the_end(&s);
    dt_settings shown = sampled("from-taught", "a cat");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("taught"));
    snprintf(shown.pretrained_model, sizeof shown.pretrained_model, "%s", temp_path("taught"));
    another_encoder("other");
    for (int other = 0; other < 2; other++) {
        const char *encoder = other ? temp_path("other") : "vectors/clip/text_encoder";
        snprintf(shown.text_encoder, sizeof shown.text_encoder, "%s", encoder);
        snprintf(shown.tokenizer, sizeof shown.tokenizer, "%s", s.tokenizer);
        snprintf(shown.output_dir, sizeof shown.output_dir, "%s", temp_path(other ? "drawn-1" : "drawn-0"));
        fixture_must(dt_sample, &shown);
        assert_int_equal(strstr(fixture_log, words) != NULL, other);
        snprintf(s.text_encoder, sizeof s.text_encoder, "%s", encoder);
        snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(other ? "again-1" : "again-0"));
        fixture_train_to_the_end(&s);
        assert_int_equal(strstr(fixture_log, words) != NULL, other);
        s.validation_count = 4;
        snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(other ? "judged-1" : "judged-0"));
        fixture_must(dt_diagnose, &s);
        assert_int_equal(strstr(fixture_log, words) != NULL, other);
        snprintf(shown.bank, sizeof shown.bank, "%s", temp_path(other ? "kept-1" : "kept-0"));
        shown.bank_size = 2;
        fixture_must(dt_bank, &shown);
        assert_int_equal(strstr(fixture_log, words) != NULL, other);
    }
}

/* By an adapter of a base that says nothing. */
static void another_text_encoder_of_an_adapter_is_told(void **state)
{
    (void)state;
    dt_settings s = captioned_settings("taught-lora");
    s.sample_steps = 0;
    s.adapter = DT_ADAPTER_LORA;
    fixture_train_to_the_end(&s);
    dt_settings shown = sampled("from-taught-lora", "a cat");
    snprintf(shown.adapter_weights, sizeof shown.adapter_weights, "%s", temp_path("taught-lora"));
    another_encoder("third");
    snprintf(shown.text_encoder, sizeof shown.text_encoder, "%s", temp_path("third"));
    snprintf(shown.tokenizer, sizeof shown.tokenizer, "%s", s.tokenizer);
    fixture_must(dt_sample, &shown);
    assert_non_null(strstr(fixture_log, "was trained with another text encoder than"));
}

/* Of the target pictures in the first band. */
static double target_loss(const char *folder)
{
    char name[64];
    snprintf(name, sizeof name, "%s/diagnosis.json", folder);
    json_t *all = json_file_read(temp_path(name), &c.error);
    json_t *bands = json_object_get(json_object_get(all, "target_against_own"), "bands");
    const double loss = json_number_value(json_object_get(json_array_get(bands, 0), "loss"));
    json_decref(all);
    return loss;
}

/* Where nothing is said, the empty text is told: its encoder has a part in the loss. */
static void a_diagnosis_tells_the_empty_prompt(void **state)
{
    (void)state;
    char *text;
    size_t size;
    dt_settings s = captioned_settings("diagnosed");
    s.validation_count = 4;
    fixture_must(dt_diagnose, &s);
    assert_int_equal(file_read_all(&text, &size, temp_path("diagnosed/train.yaml"), 1 << 20, &c.error), DT_OK);
    assert_non_null(strstr(text, "text_encoder: 'vectors/clip/text_encoder'"));
    assert_non_null(strstr(text, "tokenizer: 'vectors/clip/tokenizer'"));
    free(text);
    const double loss = target_loss("diagnosed");
    another_encoder("gelu");
    snprintf(s.text_encoder, sizeof s.text_encoder, "%s", temp_path("gelu"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("diagnosed-gelu"));
    fixture_must(dt_diagnose, &s);
    assert_true(loss > 0 && target_loss("diagnosed-gelu") != loss);
    s.text_encoder[0] = '\0';
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("undiagnosed"));
    assert_int_not_equal(fixture_call_until(dt_diagnose, &s, -1), DT_OK);
    assert_false(file_exists(temp_path("undiagnosed")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prompts_of_a_file_are_drawn_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(the_null_context_is_the_negative_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(the_null_context_of_nothing_is_that_of_the_empty_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_negative_prompt_may_be_the_line_of_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_are_drawn_by_prompts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bank_is_drawn_by_prompts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_unet_is_tuned_by_captions_whole_and_by_lora, setup, teardown),
        cmocka_unit_test_setup_teardown(a_unet_is_tuned_with_a_named_text_encoder, setup, teardown),
        cmocka_unit_test_setup_teardown(grids_are_drawn_by_validation_prompts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_trained_is_refused_before, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_cut_of_captions_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(predictions_are_told_prompts_or_contexts, setup, teardown),
        cmocka_unit_test_setup_teardown(another_text_encoder_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(another_text_encoder_of_an_adapter_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_diagnosis_tells_the_empty_prompt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
