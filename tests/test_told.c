/* Captions and control pictures on their way into a network: encoded once, drawn, mirrored, banked; a run that was stopped ends in the
 * same bits. The network is tests/tiny_network.h, its text encoder is made up. */
#include "latent_fixture.h"

#include "api/bank.h"
#include "data/bank.h"
#include "data/context_cache.h"
#include "engine/open.h"
#include "kinds_run.h"
#include "tiny_network.h"

enum { WORDS = TINY_TOKENS * TINY_CONTEXT, PICTURES = 12, MAP = 3 * FIXTURE_SIZE * FIXTURE_SIZE };

/* ---- a text encoder ---- */

static struct {
    int64_t encoded; /* texts, since a run began */
    bool bad;        /* it makes numbers that are none */
    int64_t width;   /* of its contexts */
} encoder = {.width = TINY_CONTEXT};

static void context_of(float context[WORDS], const char *text)
{
    unsigned sum = 7;
    for (; *text; text++) sum = 31 * sum + (unsigned char)*text;
    for (int j = 0; j < WORDS; j++) context[j] = 0.5F * (float)sin((double)(sum % 1000) + j);
}

static dt_status fake_encode(ctx *c, void *user, float *context, const char *const text[], int64_t n)
{
    const int64_t values = TINY_TOKENS * encoder.width;
    (void)user;
    for (int64_t i = 0; i < n; i++) {
        float whole[WORDS];
        context_of(whole, text[i]);
        memcpy(context + i * values, whole, (size_t)values * sizeof *whole);
    }
    if (encoder.bad) context[1] = NAN;
    encoder.encoded += n;
    return c->error.status;
}

static dt_status open_fake(ctx *c, context_encoder *e, const tensor_file *f, const char *model, const char *vocabulary)
{
    (void)f;
    (void)model;
    (void)vocabulary;
    *e = (context_encoder){.tokens = TINY_TOKENS, .width = encoder.width, .encode = fake_encode};
    memset(e->sha256, 'a', sizeof e->sha256 - 1);
    return c->error.status;
}

static bool always(const tensor_file *f)
{
    (void)f;
    return true;
}

static model_kind told_kind;
static const model_kind *const kinds[] = {&told_kind, &dit_kind, NULL};

/* ---- pictures ---- */

/* Where fixture_images puts picture i. */
static const char *path_of(const char *folder, int i, const char *extension)
{
    char name[128];
    snprintf(name, sizeof name, "%s/c%d/%03d.%s", folder, i % FIXTURE_CLASSES, i, extension);
    return temp_path(name);
}

static void put_text(const char *path, const char *text)
{
    dt_error err = {0};
    assert_int_equal(file_write_atomic(path, text, strlen(text), &err), DT_OK);
}

static void caption_of(char out[40], int i, int which)
{
    snprintf(out, 40, "picture %d%s", i, which ? ", another one" : "");
}

/* told/ with two captions for each picture but the last, and their control pictures in edges/. */
static int make(void **state)
{
    ctx c;
    denoiser d;
    told_kind = tiny_kind;
    told_kind.open_encoder = open_fake;
    told_kind.is_controlled = always;
    if (latent_fixture_make(state)) return -1;
    fixture_images("told", FIXTURE_CLASSES, 4, FIXTURE_SIZE, 0);
    fixture_images("edges", FIXTURE_CLASSES, 4, FIXTURE_SIZE, 3);
    for (int i = 0; i + 1 < PICTURES; i++) {
        char first[40], second[40], text[100];
        caption_of(first, i, 0);
        caption_of(second, i, 1);
        snprintf(text, sizeof text, "%s\n%s\n", first, second);
        put_text(path_of("told", i, "txt"), text);
    }
    const model_size size = {.name = "tiny", .shape = {3, FIXTURE_SIZE, FIXTURE_SIZE}, .class_count = FIXTURE_CLASSES};
    const metadata_pair classes = {"difftune.classes", "[\"c0\",\"c1\",\"c2\"]"};
    const denoiser_file file = {.path = temp_path("tiny.safetensors"), .metadata = &classes, .metadata_count = 1};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_new(&c, &d, &size, 7, kinds), DT_OK);
    assert_int_equal(d.ops->write(&c, &d, &file), DT_OK);
    ctx_close(&c);
    return 0;
}

static dt_settings told_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.method = DT_METHOD_FINETUNE;
    s.bank[0] = '\0';
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("tiny.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("told"));
    snprintf(s.control, sizeof s.control, "%s", temp_path("edges"));
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("cache"));
    return s;
}

/* ---- runs ---- */

static dt_status run(const dt_settings *s, int64_t stop_before)
{
    encoder.encoded = 0;
    return kinds_run(s, kinds, stop_before, NULL);
}

static void run_to_the_end(const dt_settings *s)
{
    if (run(s, -1) != DT_OK) fail_msg("%s", fixture_message);
}

/* The picture or control picture of that number as [3,H,W], mirrored or not. */
static void read_map(float chw[MAP], int seed, int i, bool mirrored)
{
    for (int channel = 0; channel < 3; channel++)
        for (int y = 0; y < FIXTURE_SIZE; y++)
            for (int x = 0; x < FIXTURE_SIZE; x++) {
                const int k = 3 * (y * FIXTURE_SIZE + (mirrored ? FIXTURE_SIZE - 1 - x : x)) + channel;
                const uint8_t byte = (uint8_t)(128 + 100 * sin(0.1 * (i + 1) * k + 2.0 * (i % FIXTURE_CLASSES) + seed));
                chw[(channel * FIXTURE_SIZE + y) * FIXTURE_SIZE + x] = (float)byte / 255.0F;
            }
}

static bool is_context(const real *row, const char *text)
{
    float expected[WORDS];
    context_of(expected, text);
    return !memcmp(row, expected, sizeof expected);
}

/* ---- the tests ---- */

/* What a batch is told belongs to its picture: one of its captions, and its control, mirrored with it. */
static void a_batch_is_told_what_belongs_to_its_pictures(void **state)
{
    (void)state;
    dt_settings s = told_settings("fed");
    s.class_dropout_prob = 0;
    ctx c;
    training t;
    const dt_observer nobody = {0};
    int told[2] = {0}, defaults = 0, mirrored[2] = {0};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (training_open(&t, &c, &s, &nobody, kinds) != DT_OK) fail_msg("%s", c.error.message);
    trainer *k = &t.trainer;
    assert_int_equal(k->train.context.row_count, 2 * PICTURES - 1);
    for (k->step = 0; k->step < 12; k->step++) {
        batch b;
        assert_true(batch_new(&c, &b, &k->model, 4));
        fixture_feed(k, &b, 0);
        for (int64_t i = 0; i < 4; i++) {
            const int64_t index = shuffled_at(&k->train_order, k->step * 4 + i);
            const int number = atoi(strchr(k->train.pictures.name[index], '/') + 1);
            static float plain_map[MAP], turned[MAP];
            char text[2][40];
            for (int which = 0; which < 2; which++) caption_of(text[which], number, which);
            const real *context = b.context_values + i * WORDS, *x0 = b.x0_values + i * MAP;
            if (number == PICTURES - 1) {
                assert_true(is_context(context, s.default_prompt));
                defaults++;
            } else {
                const bool second = is_context(context, text[1]);
                assert_true(second || is_context(context, text[0]));
                told[second]++;
            }
            read_map(plain_map, 0, number, false);
            const bool flipped =
                fabsf(x0[0] - (2 * plain_map[0] - 1)) > 1e-4F || fabsf(x0[1] - (2 * plain_map[1] - 1)) > 1e-4F;
            read_map(turned, 3, number, flipped);
            assert_memory_equal(b.control_values + i * MAP, turned, sizeof turned);
            mirrored[flipped]++;
        }
        arena_clear(&c.step);
    }
    assert_true(told[0] > 5 && told[1] > 5 && defaults == 4 && mirrored[0] > 5 && mirrored[1] > 5);
    training_close(&t);
    ctx_close(&c);
}

static void prompts_and_maps_are_made_once(void **state)
{
    (void)state;
    dt_settings s = told_settings("first");
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("once"));
    run_to_the_end(&s);
    assert_int_equal(encoder.encoded, 2 * PICTURES); /* that of nothing among them */
    assert_says(fixture_log, "22 captions of 11 images; 1 are told the default prompt");
    assert_says(fixture_log, "12 control pictures");
    assert_true(file_exists(temp_path("first/data_report.json")));
    const file_hash cache = fixture_tree("once");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("second"));
    run_to_the_end(&s);
    assert_int_equal(encoder.encoded, 0);
    assert_same_bits(fixture_tree("once"), cache);
    assert_same_bits(fixture_result("second"), fixture_result("first"));
    put_text(path_of("told", 3, "txt"), "an edited caption");
    assert_int_equal(run(&s, -1), DT_ERR_CONFLICT); /* it is another data set */
    assert_says(fixture_message,
                "a run with other pictures, captions, controls or classes than this call's (train_data");
    assert_int_equal(encoder.encoded, 1);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("third"));
    run_to_the_end(&s);
    assert_int_equal(encoder.encoded, 0);
    assert_string_not_equal(fixture_result("third").hex, fixture_result("first").hex);
    put_text(path_of("told", 3, "txt"), "picture 3\npicture 3, another one");
}

static void a_stopped_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    dt_settings whole = told_settings("whole"), s = told_settings("stopped");
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("another_cache"));
    run_to_the_end(&whole);
    assert_int_equal(run(&s, 2), DT_ERR_INTERRUPTED);
    int calls = 1;
    while (run(&s, 3) == DT_ERR_INTERRUPTED) assert_true(++calls < 40);
    run_to_the_end(&s);
    assert_same_bits(fixture_result("stopped"), fixture_result("whole"));
}

static void what_does_not_fit_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    dt_settings s = told_settings("refused");
    encoder.width = TINY_CONTEXT / 2;
    assert_int_equal(run(&s, -1), DT_ERR_SHAPE);
    assert_says(fixture_message, "contexts of 3 x 2, the network takes 3 x 4");
    encoder.width = TINY_CONTEXT;
    encoder.bad = true;
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("bad_cache"));
    assert_int_equal(run(&s, -1), DT_ERR_NUMERIC);
    assert_says(fixture_message, "the encoded prompt \"\" has numbers that are not finite");
    encoder.bad = false;
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    assert_int_equal(run(&s, -1), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "is told no control picture");
    assert_false(file_exists(temp_path("refused")));
}

/* A dry run makes nothing. */
static void a_dry_run_writes_no_cache(void **state)
{
    (void)state;
    dt_settings s = told_settings("dry");
    s.dry_run = true;
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("dry_cache"));
    ctx c;
    training t;
    const dt_observer nobody = {0};
    encoder.encoded = 0;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (training_open(&t, &c, &s, &nobody, kinds) != DT_OK) fail_msg("%s", c.error.message);
    assert_int_equal(t.trainer.train.count, PICTURES);
    assert_true(example_table_values(&t.trainer.train.control) == MAP);
    assert_int_equal(encoder.encoded, 0);
    assert_false(file_exists(temp_path("dry_cache")));
    training_close(&t);
    ctx_close(&c);
}

/* ---- examples alone ---- */

static int64_t annotated; /* pictures */

/* A grey map: the red channel, negated. */
static dt_status negate(ctx *c, void *user, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    (void)user;
    annotated++;
    for (int64_t i = 0; i < height * width; i++) map[i] = (uint8_t)(255 - rgb[3 * i]);
    return c->error.status;
}

/* Reads a set whose maps are made of the pictures. */
static void annotate_set(ctx *c, examples *e, const codec *k, int64_t side, const char *pictures)
{
    const control_maker maker = {.identity = "negated red", .channels = 1, .make = negate};
    const data_watcher nobody = {0};
    control_cache controls;
    latent_cache latents = {0};
    const examples_told told = {.controls = &controls};
    examples_options o = {.codec = k, .told = &told, .resolution = side, .background = "#ffffff"};
    if (k->kind != CODEC_PIXELS) {
        o.cache = &latents;
        assert_int_equal(latent_cache_open(&latents, temp_path("maps"), k, side, "#ffffff", &nobody, &c->error), DT_OK);
    }
    assert_int_equal(control_cache_open(&controls, temp_path("maps"), &maker, side, "#ffffff", &nobody, &c->error),
                     DT_OK);
    if (examples_open(c, e, temp_path(pictures), &o) != DT_OK) fail_msg("%s", c->error.message);
    if (o.cache) assert_int_equal(latent_cache_finish(&latents, &c->error), DT_OK);
    assert_int_equal(shard_cache_finish(&controls.shards, &c->error), DT_OK);
    assert_int_equal(examples_settle(e, &told, &c->error), DT_OK);
    for (int64_t i = 0; i < e->count; i++) {
        static float row[3 * 32 * 32], turned[3 * 32 * 32];
        const uint8_t *map = example_table_row(&e->control, i, 0);
        example_table_get(row, &e->control, i, 0, false);
        example_table_get(turned, &e->control, i, 0, true);
        for (int64_t j = 0; j < 3 * side * side; j++) {
            assert_true(row[j] == (float)map[j % (side * side)] / 255.0F);
            assert_true(turned[j] == row[j / side * side + side - 1 - j % side]);
        }
    }
    latent_cache_close(&latents);
    control_cache_close(&controls);
}

/* Latents have smaller sides than their control maps. */
static void maps_are_made_of_pictures_once(void **state)
{
    (void)state;
    ctx c;
    codec vae;
    examples e;
    const codec pixels = codec_of_pixels(3);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 2, DT_ISA_AUTO), DT_OK);
    ctx_enter(&c);
    for (int again = 0; again < 2; again++) {
        annotated = 0;
        annotate_set(&c, &e, &pixels, FIXTURE_SIZE, "told");
        assert_int_equal(annotated, again ? 0 : PICTURES);
        assert_int_equal(e.control.dim[1], FIXTURE_SIZE);
        examples_close(&e);
    }
    assert_int_equal(codec_open(&c, &vae, tiny_codec), DT_OK);
    for (int again = 0; again < 2; again++) {
        annotated = 0;
        annotate_set(&c, &e, &vae, LATENT_PICTURE, "data");
        assert_int_equal(annotated, again ? 0 : e.count);
        assert_int_equal(e.shape.width, LATENT_SIZE);
        assert_int_equal(e.control.dim[2], LATENT_PICTURE);
        assert_true(examples_can_mirror(&e));
        examples_close(&e);
    }
    ctx_close(&c);
}

/* ---- the bank ---- */

/* What is retained is told what it was drawn with; distilled it is told nothing, as the frozen base is. */
static void told_again(const dt_settings *tuned)
{
    static const dt_retention kinds_of[] = {DT_RETENTION_BANK, DT_RETENTION_BANK_DISTIL};
    for (int k = 0; k < 2; k++) {
        dt_settings s = *tuned;
        ctx c;
        training t;
        batch b;
        const dt_observer nobody = {0};
        s.retention = kinds_of[k];
        s.random_flip = false;
        assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
        if (training_open(&t, &c, &s, &nobody, kinds) != DT_OK) fail_msg("%s", c.error.message);
        trainer *o = &t.trainer;
        assert_true(batch_new(&c, &b, &o->model, 4));
        fixture_feed(o, &b, 0);
        for (int64_t i = 2; i < 4; i++) {
            const int64_t index = shuffled_at(&o->retained_order, i - 2);
            const real *context = b.context_values + i * WORDS;
            assert_int_equal(b.label[i], FIXTURE_CLASSES);
            if (k == 0)
                assert_memory_equal(context, example_table_row(&o->bank.context, index, 0), WORDS * sizeof *context);
            else
                for (int j = 0; j < WORDS; j++) assert_true(context[j] == o->null_context[j]);
        }
        arena_clear(&c.step);
        training_close(&t);
        ctx_close(&c);
    }
}

/* A bank drawn with captions and controls of the data keeps maps as bytes, and is trained on. */
static void a_bank_holds_captions_and_maps(void **state)
{
    (void)state;
    dt_settings s = told_settings("source");
    ctx c, own;
    training t;
    denoiser d;
    model_info info;
    examples b;
    const dt_observer nobody = {0};
    const codec pixels = codec_of_pixels(3);
    const examples_options o = {.codec = &pixels, .resolution = FIXTURE_SIZE};
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    s.bank_size = PICTURES + 3;
    s.bank_shard_size = 8;
    s.sample_batch_size = 5;
    s.num_inference_steps = 3;
    dt_settings data = s;
    data.bank[0] = '\0';
    assert_int_equal(ctx_open(&own, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&t, &own, &data, &nobody, kinds), DT_OK);
    const examples *told = &t.trainer.train;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    ctx_enter(&c);
    assert_int_equal(denoiser_load(&c, &d, &info, s.pretrained_model, kinds), DT_OK);
    if (bank_make(&c, &d, info.sha256, told, NULL, &s, &nobody) != DT_OK) fail_msg("%s", c.error.message);
    if (bank_open(&c, &b, s.bank, &d, info.sha256, &o) != DT_OK) fail_msg("%s", c.error.message);
    assert_int_equal(b.count, PICTURES + 3);
    assert_int_equal(b.control.map_channels, 3);
    for (int64_t i = 0; i < b.count; i++) {
        const int64_t of = i % PICTURES, turn = i / PICTURES;
        assert_memory_equal(example_table_row(&b.control, i, 0), example_table_row(&told->control, of, 0), MAP);
        assert_memory_equal(example_table_row(&b.context, i, 0), example_table_row(&told->context, of, turn),
                            WORDS * sizeof(float));
    }
    examples_close(&b);
    model_info_free(&info);
    ctx_close(&c);
    training_close(&t);
    ctx_close(&own);
    dt_settings tuned = told_settings("tuned");
    tuned.method = DT_METHOD_DIFF_TUNING;
    snprintf(tuned.bank, sizeof tuned.bank, "%s", temp_path("bank"));
    run_to_the_end(&tuned);
    told_again(&tuned);
    tuned.max_train_steps = 6;
    snprintf(tuned.bank, sizeof tuned.bank, "%s", temp_path("bank_images"));
    snprintf(tuned.output_dir, sizeof tuned.output_dir, "%s", temp_path("untold"));
    assert_int_equal(run(&tuned, -1), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "pictures alone are no bank");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_told_what_belongs_to_its_pictures),
        cmocka_unit_test(prompts_and_maps_are_made_once),
        cmocka_unit_test(a_stopped_run_ends_in_the_same_bits),
        cmocka_unit_test(what_does_not_fit_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_dry_run_writes_no_cache),
        cmocka_unit_test(maps_are_made_of_pictures_once),
        cmocka_unit_test(a_bank_holds_captions_and_maps),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
