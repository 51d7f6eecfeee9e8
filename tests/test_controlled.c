/* A ControlNet on a small UNet told a class, through the verbs: it is trained, stopped and resumed, written and read, drawn from, and told
 * that it is for another base. */
#include "latent_fixture.h"
#include "control_fixture.h"
#include "inside_fixture.h"
#include "rank_fixture.h"

#include "engine/open.h"
#include "image/image_codec.h"
#include "measure/measure.h"
#include "model/sd/controlnet_file.h"

/* base and wide: UNets of two shapes; other: one of the first's with other weights; edges/: a control for each picture. */
static int make(void **state)
{
    if (fixture_make(state)) return -1;
    fixture_images("edges", FIXTURE_CLASSES, 4, FIXTURE_SIZE, 3);
    dt_settings s = fixture_unet_settings("base", "8,16");
    fixture_train_to_the_end(&s);
    s = fixture_unet_settings("other", "8,16");
    s.seed = 7;
    fixture_train_to_the_end(&s);
    s = fixture_unet_settings("wide", "12,16");
    fixture_train_to_the_end(&s);
    return 0;
}

static dt_settings control_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.bank[0] = '\0';
    s.method = DT_METHOD_FINETUNE;
    s.train_batch_size = 3;
    s.max_train_steps = 4;
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.control, sizeof s.control, "%s", temp_path("edges"));
    snprintf(s.cache_dir, sizeof s.cache_dir, "%s", temp_path("cache"));
    return s;
}

static file_hash file_of(const char *name)
{
    file_hash hash;
    dt_error err = {0};
    if (file_sha256(&hash, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
    return hash;
}

static void open_result(tensor_file *f, const char *name)
{
    dt_error err = {0};
    if (safetensors_open(f, temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
}

/* ---- training ---- */

static void a_new_one_is_trained_on_a_frozen_base(void **state)
{
    (void)state;
    tensor_file f;
    const file_hash before = file_of("base/final/model.safetensors");
    dt_settings s = control_settings("first");
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "a copy of the base's way down"));
    assert_string_equal(file_of("base/final/model.safetensors").hex, before.hex);
    open_result(&f, "first/final/model.safetensors");
    assert_true(controlnet_file_fits(&f));
    assert_string_equal(tensor_file_metadata(&f, CONTROLNET_BASE), before.hex);
    const tensor_entry *zero = tensor_file_find(&f, "controlnet_mid_block.weight");
    float weights[16 * 16];
    double sum = 0;
    dt_error err = {0};
    assert_int_equal(tensor_read_f32(weights, zero, &err), DT_OK);
    for (int i = 0; i < 16 * 16; i++) sum += fabs((double)weights[i]);
    assert_true(sum > 0);
    tensor_file_close(&f);
}

/* Stopped and resumed, checkpointed or not, with more threads: the same weights; with the way up unlocked too, whose base stands
 * beside. */
static void a_run_does_not_depend_on_how_it_was_made(void **state)
{
    (void)state;
    for (int unlocked = 0; unlocked < 2; unlocked++) {
        dt_settings s = control_settings("plain");
        s.sd_unlocked = unlocked;
        const file_hash plain = fixture_bits(s);
        s.gradient_checkpointing = true;
        s.threads = 2;
        assert_string_equal(fixture_bits(s).hex, plain.hex);
        s = control_settings(unlocked ? "stopped-unlocked" : "stopped");
        s.sd_unlocked = unlocked;
        assert_int_equal(fixture_train(&s, 2), DT_ERR_INTERRUPTED);
        fixture_train_to_the_end(&s);
        assert_string_equal(fixture_result(unlocked ? "stopped-unlocked" : "stopped").hex, plain.hex);
    }
}

/* Of the base only the way up is another one. */
static void unlocked_the_way_up_trains_too(void **state)
{
    (void)state;
    tensor_file before, after;
    dt_settings s = control_settings("unlocked");
    s.sd_unlocked = true;
    fixture_train_to_the_end(&s);
    open_result(&before, "base/final/model.safetensors");
    open_result(&after, "unlocked/final/unet.safetensors");
    assert_int_equal(before.count, after.count);
    for (size_t i = 0; i < before.count; i++) {
        const tensor_entry *a = &before.entries[i], *b = tensor_file_find(&after, a->name);
        const bool up = !strncmp(a->name, "up_blocks.", 10) || !strncmp(a->name, "conv_out.", 9) ||
                        !strncmp(a->name, "conv_norm_out.", 14);
        assert_non_null(b);
        if (!up && memcmp(a->data, b->data, (size_t)a->bytes)) fail_msg("%s has changed", a->name);
        if (!strcmp(a->name, "conv_out.weight")) assert_memory_not_equal(a->data, b->data, (size_t)a->bytes);
    }
    tensor_file_close(&before);
    tensor_file_close(&after);
}

static void it_goes_on_from_one_that_is_there(void **state)
{
    (void)state;
    dt_settings s = control_settings("again");
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("first"));
    s.save_model_as = DT_MODEL_DIFFUSERS;
    fixture_train_to_the_end(&s);
    assert_true(file_exists(temp_path("again/final/controlnet/config.json")));
    assert_null(strstr(fixture_log, "another base"));
    assert_string_not_equal(fixture_result("again").hex, fixture_result("first").hex);
}

/* Beside the one that this program reads; what has no place for it is refused before the first step. */
static void it_is_written_in_another_format_too(void **state)
{
    (void)state;
    dt_settings s = control_settings("formats");
    s.save_model_as = DT_MODEL_ORIGINAL;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(fixture_message, "save_model_as: the original layout has a ControlNet's stem of 4"));
    assert_false(file_exists(temp_path("formats/final")));
    s.save_model_as = DT_MODEL_PT;
    fixture_train_to_the_end(&s);
    assert_string_equal(fixture_result("formats").hex, fixture_result("first").hex);
    s = control_settings("from-pt");
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("formats/final/model.pt"));
    fixture_train_to_the_end(&s);
}

/* As ControlNet's own files: of latents an eighth of the picture's side. */
static void a_run_writes_the_original_layout(void **state)
{
    (void)state;
    tensor_file f;
    dt_settings b = fixture_unet_settings("latent-base", "8,16"), s = control_settings("original");
    fixture_images("large", FIXTURE_CLASSES, 2, LATENT_PICTURE, 0);
    for (int i = 0; i < 2; i++) {
        dt_settings *k = i ? &s : &b;
        snprintf(k->vae, sizeof k->vae, "%s", tiny_codec);
        snprintf(k->train_data, sizeof k->train_data, "%s", temp_path("large"));
        snprintf(k->cache_dir, sizeof k->cache_dir, "%s", temp_path("latents"));
    }
    b.resolution = LATENT_PICTURE;
    fixture_train_to_the_end(&b);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("latent-base"));
    snprintf(s.control, sizeof s.control, "canny");
    s.save_model_as = DT_MODEL_ORIGINAL;
    fixture_train_to_the_end(&s);
    open_result(&f, "original/final/original.safetensors");
    for (size_t i = 0; i < f.count; i++) assert_int_equal(strncmp(f.entries[i].name, "control_model.", 14), 0);
    assert_non_null(tensor_file_find(&f, "control_model.zero_convs.0.0.weight"));
    assert_non_null(tensor_file_find(&f, "control_model.input_hint_block.14.bias"));
    assert_non_null(tensor_file_find(&f, "control_model.middle_block_out.0.weight"));
    tensor_file_close(&f);
    dt_settings k;
    dt_settings_init(&k);
    snprintf(k.pretrained_model, sizeof k.pretrained_model, "%s", temp_path("original/final/original.safetensors"));
    snprintf(k.output, sizeof k.output, "%s", temp_path("back.safetensors"));
    fixture_must(dt_convert, &k);
    assert_same_bits(fixture_tensors(temp_path("back.safetensors")), fixture_result("original"));
}

/* What the frozen base says without a control is retained. */
static void the_frozen_base_teaches_it(void **state)
{
    (void)state;
    dt_settings s = control_settings("distilled");
    s.method = DT_METHOD_DIFF_TUNING;
    s.retention = DT_RETENTION_TARGET_DISTIL;
    fixture_train_to_the_end(&s);
    assert_string_not_equal(fixture_result("distilled").hex, fixture_result("first").hex);
}

static dt_settings bank_settings(const char *bank, const char *control)
{
    dt_settings b;
    dt_settings_init(&b);
    snprintf(b.pretrained_model, sizeof b.pretrained_model, "%s", temp_path("base"));
    snprintf(b.bank, sizeof b.bank, "%s", temp_path(bank));
    snprintf(b.control, sizeof b.control, "%s", control);
    b.bank_size = 5;
    b.bank_shard_size = 3;
    b.sample_batch_size = 2;
    b.num_inference_steps = 2;
    b.threads = 1;
    return b;
}

/* A bank of the base's pictures, each with the map that the annotator makes of it, and a run whose own controls are made by it. */
static void a_bank_holds_the_control_of_each_picture(void **state)
{
    (void)state;
    static const dt_retention ways[] = {DT_RETENTION_BANK, DT_RETENTION_BANK_DISTIL};
    tensor_file f;
    const dt_settings b = bank_settings("bank", "canny");
    assert_int_equal(fixture_call_until(dt_bank, &b, 1), DT_ERR_INTERRUPTED);
    fixture_must(dt_bank, &b);
    open_result(&f, "bank/shard-00001.safetensors");
    const tensor_entry *maps = tensor_file_find(&f, "control"), *x = tensor_file_find(&f, "x");
    assert_non_null(maps);
    assert_int_equal(maps->dtype, SAFETENSORS_U8);
    assert_int_equal(maps->dims[0], x->dims[0]);
    assert_int_equal(maps->dims[1], FIXTURE_SIZE);
    for (int64_t i = 0; i < maps->count; i++) {
        const uint8_t value = ((const uint8_t *)maps->data)[i];
        assert_true(value == 0 || value == 255);
    }
    tensor_file_close(&f);
    for (int i = 0; i < 2; i++) {
        dt_settings s = control_settings(i ? "banked-distil" : "banked");
        s.method = DT_METHOD_DIFF_TUNING;
        s.retention = ways[i];
        snprintf(s.control, sizeof s.control, "canny");
        snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
        fixture_train_to_the_end(&s);
    }
    assert_string_not_equal(fixture_result("banked").hex, fixture_result("banked-distil").hex);
    dt_settings s = control_settings("banked-read"); /* its pictures' controls are read */
    s.method = DT_METHOD_DIFF_TUNING;
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "bank: its controls are maps of canny"));
}

/* Half of a batch would teach the network other maps than the pictures do. */
static void a_bank_of_other_maps_is_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    dt_settings s = control_settings("other-maps");
    s.method = DT_METHOD_DIFF_TUNING;
    s.retention = DT_RETENTION_BANK;
    snprintf(s.control, sizeof s.control, "canny");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    json_t *manifest = json_file_read_sealed(temp_path("bank/manifest.json"), &err);
    json_object_set_new(json_object_get(manifest, "drawing"), "control", json_string("hed"));
    assert_int_equal(json_file_write_sealed(temp_path("bank/manifest.json"), manifest, &err), DT_OK);
    assert_int_equal(fixture_call_until(dt_train, &s, -1), DT_ERR_CONFLICT);
    assert_non_null(strstr(fixture_message, "the controls of this bank are maps of hed"));
    assert_non_null(strstr(fixture_message, "those of the pictures of canny"));
}

static void a_bank_without_controls_is_refused(void **state)
{
    (void)state;
    const dt_settings b = bank_settings("untold", "");
    fixture_must(dt_bank, &b);
    dt_settings s = control_settings("untaught");
    s.method = DT_METHOD_DIFF_TUNING;
    s.retention = DT_RETENTION_BANK;
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("untold"));
    assert_int_equal(fixture_call_until(dt_train, &s, -1), DT_ERR_SHAPE);
    assert_non_null(strstr(fixture_message, "a bank without control, which the model is told"));
}

/* ---- drawing ---- */

static dt_settings sample_settings(const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    s.threads = 1;
    s.num_samples = 4;
    s.sample_batch_size = 2;
    s.num_inference_steps = 3;
    s.guidance_scale = 2;
    return s;
}

static dt_settings controlled_settings(const char *output, double scale)
{
    dt_settings s = sample_settings(output);
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("first"));
    snprintf(s.control_data, sizeof s.control_data, "%s", temp_path("edges"));
    snprintf(s.control, sizeof s.control, "given");
    s.controlnet_conditioning_scale = scale;
    return s;
}

/* Pixels of the second picture of a folder of samples. */
static void read_pixels(uint8_t rgb[3 * FIXTURE_SIZE * FIXTURE_SIZE], const char *folder)
{
    char name[128], *data;
    size_t size;
    image picture = {0};
    dt_error err = {0};
    const image_options options = {.background = {255, 255, 255}};
    snprintf(name, sizeof name, "%s/images/000001.png", folder);
    assert_int_equal(file_read_all(&data, &size, temp_path(name), 1 << 20, &err), DT_OK);
    assert_int_equal(image_decode(&picture, NULL, (const uint8_t *)data, size, name, &options, &err), DT_OK);
    memcpy(rgb, picture.rgb, 3 * FIXTURE_SIZE * FIXTURE_SIZE);
    image_close(&picture);
    free(data);
}

static void at_scale_zero_it_draws_what_the_base_draws(void **state)
{
    (void)state;
    static uint8_t alone[3 * FIXTURE_SIZE * FIXTURE_SIZE], silent[sizeof alone], told[sizeof alone];
    dt_settings s = sample_settings("alone");
    fixture_must(dt_sample, &s);
    s = controlled_settings("silent", 0);
    fixture_must(dt_sample, &s);
    s = controlled_settings("told", 20);
    fixture_must(dt_sample, &s);
    read_pixels(alone, "alone");
    read_pixels(silent, "silent");
    read_pixels(told, "told");
    assert_memory_equal(alone, silent, sizeof alone);
    assert_memory_not_equal(alone, told, sizeof alone);
    snprintf(s.control, sizeof s.control, "canny");
    assert_int_equal(fixture_call_until(dt_sample, &s, -1), DT_ERR_CONFLICT);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("annotated"));
    fixture_must(dt_sample, &s);
}

/* A sample has the control of its number, however many are drawn: a folder goes on. One that cannot be read would shift the others. */
static void samples_are_told_controls_in_turn(void **state)
{
    (void)state;
    static uint8_t few[3 * FIXTURE_SIZE * FIXTURE_SIZE], all[sizeof few];
    dt_settings s = controlled_settings("all-in-turn", 20);
    s.num_samples = 5;
    fixture_must(dt_sample, &s);
    s = controlled_settings("few-in-turn", 20);
    s.num_samples = 2;
    fixture_must(dt_sample, &s);
    read_pixels(all, "all-in-turn");
    read_pixels(few, "few-in-turn");
    assert_memory_equal(all, few, sizeof all);
    s.num_samples = 3;
    fixture_must(dt_sample, &s);
    fixture_images("spoilt", 1, 2, FIXTURE_SIZE, 3);
    temp_write("spoilt/c0/0.png", "no picture", 10);
    s = controlled_settings("of-spoilt", 20);
    snprintf(s.control_data, sizeof s.control_data, "%s", temp_path("spoilt"));
    assert_int_equal(fixture_call_until(dt_sample, &s, -1), DT_ERR_FORMAT);
    assert_non_null(strstr(fixture_message, "c0/0.png"));
}

/* Its last steps by the base, which is told no control: from what sample draws with it to what sample draws without. */
static void a_chain_leads_from_it_to_its_base(void **state)
{
    (void)state;
    static uint8_t pixels[2][3 * FIXTURE_SIZE * FIXTURE_SIZE], expected[sizeof pixels[0]];
    dt_chain_result result;
    dt_context *c = NULL;
    dt_settings s = controlled_settings("chain", 20);
    snprintf(s.tail_model, sizeof s.tail_model, "%s", temp_path("base"));
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    snprintf(s.tails, sizeof s.tails, "0,1");
    s.eval_count = s.num_samples = 4;
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_chain(c, &s, NULL, &result) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
    dt_settings told = controlled_settings("chain-told", 20), alone = sample_settings("chain-alone");
    fixture_must(dt_sample, &told);
    fixture_must(dt_sample, &alone);
    read_pixels(pixels[0], "chain/p0");
    read_pixels(pixels[1], "chain/p100");
    read_pixels(expected, "chain-told");
    assert_memory_equal(pixels[0], expected, sizeof expected);
    read_pixels(expected, "chain-alone");
    assert_memory_equal(pixels[1], expected, sizeof expected);
    assert_memory_not_equal(pixels[0], pixels[1], sizeof expected);
    s.control_data[0] = '\0';
    assert_int_equal(dt_open(&c, &s), DT_OK);
    assert_int_equal(dt_chain(c, &s, NULL, &result), DT_ERR_ARG);
    assert_non_null(strstr(dt_message(c), "controlnet_model needs control_data"));
    dt_close(c);
}

/* ---- predictions ---- */

enum { N = 2, VALUES = N * 3 * FIXTURE_SIZE * FIXTURE_SIZE };

static void write_input(const char *name, bool with_control)
{
    static float x0[VALUES], noise[VALUES], control[VALUES];
    const int64_t n = N, t[N] = {20, 800}, y[N] = {0, 2}, dims[] = {N, 3, FIXTURE_SIZE, FIXTURE_SIZE};
    dt_error err = {0};
    for (int i = 0; i < VALUES; i++) {
        x0[i] = (float)sin(0.3 * i);
        noise[i] = (float)cos(1.7 * i);
        control[i] = (float)(i % 7) / 7;
    }
    const tensor_source source[] = {
        {.name = "x0", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = x0},
        {.name = "noise", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = noise},
        {.name = "t", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &n, .data = t},
        {.name = "y", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &n, .data = y},
        {.name = "control", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = dims, .values = control}};
    if (safetensors_write(temp_path(name), source, with_control ? 5 : 4, NULL, 0, NULL, &err) != DT_OK)
        fail_msg("%s", err.message);
}

/* The prediction in out[VALUES], and the open file of all that was said. */
static dt_status predict(dt_settings s, float *out, tensor_file *f)
{
    dt_context *c = NULL;
    dt_error err = {0};
    snprintf(s.output, sizeof s.output, "%s", temp_path("said.safetensors"));
    assert_int_equal(dt_open(&c, &s), DT_OK);
    const dt_status status = dt_predict(c, &s);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(c));
    dt_close(c);
    if (status != DT_OK) return status;
    if (safetensors_open(f, s.output, &err) != DT_OK) fail_msg("%s", err.message);
    assert_int_equal(tensor_read_f32(out, tensor_file_find(f, "out"), &err), DT_OK);
    return status;
}

static void it_predicts_what_its_base_does_and_more(void **state)
{
    (void)state;
    static float alone[VALUES], silent[VALUES], told[VALUES];
    tensor_file f;
    dt_settings s;
    dt_settings_init(&s);
    s.threads = 1;
    s.gradients = true;
    write_input("told.safetensors", true);
    write_input("untold.safetensors", false);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.input, sizeof s.input, "%s", temp_path("told.safetensors"));
    assert_int_equal(predict(s, alone, &f), DT_OK);
    assert_non_null(tensor_file_find(&f, "grad.conv_out.weight"));
    tensor_file_close(&f);
    s.controlnet_conditioning_scale = 0;
    assert_int_equal(predict(s, silent, &f), DT_ERR_ARG);
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("first"));
    assert_int_equal(predict(s, silent, &f), DT_OK);
    tensor_file_close(&f);
    s.controlnet_conditioning_scale = 1;
    assert_int_equal(predict(s, told, &f), DT_OK);
    assert_non_null(tensor_file_find(&f, "grad.controlnet_mid_block.weight"));
    assert_null(tensor_file_find(&f, "grad.conv_out.weight"));
    tensor_file_close(&f);
    assert_memory_equal(silent, alone, sizeof alone);
    assert_memory_not_equal(told, alone, sizeof alone);
    snprintf(s.input, sizeof s.input, "%s", temp_path("untold.safetensors"));
    assert_int_equal(predict(s, told, &f), DT_ERR_SHAPE);
    assert_non_null(strstr(fixture_message, "tensor control with 4 dimensions expected, it is missing"));
}

static void a_run_draws_grids_of_its_held_out_controls(void **state)
{
    (void)state;
    dt_settings s = control_settings("grids");
    s.sample_steps = 2;
    s.validation_steps = 2;
    s.validation_count = 6;
    s.num_samples = 3;
    s.sample_batch_size = 2;
    s.num_inference_steps = 2;
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    fixture_train_to_the_end(&s);
    assert_true(file_exists(temp_path("grids/samples")));
}

/* ---- obedience ---- */

static dt_settings watched_settings(const char *output)
{
    dt_settings s = control_settings(output);
    snprintf(s.control, sizeof s.control, "canny");
    s.convergence_steps = 1;
    s.convergence_count = 3;
    s.num_inference_steps = 2;
    s.sample_batch_size = 2;
    return s;
}

/* How many lines of a run's metrics have `text`. */
static int lines_with(const char *folder, const char *text)
{
    char name[64], *all;
    size_t size;
    int count = 0;
    dt_error err = {0};
    snprintf(name, sizeof name, "%s/metrics.jsonl", folder);
    assert_int_equal(file_read_all(&all, &size, temp_path(name), 1 << 20, &err), DT_OK);
    for (const char *at = all; (at = strstr(at, text)); at++) count++;
    free(all);
    return count;
}

static void obedience_is_measured_once_a_step(void **state)
{
    (void)state;
    dt_settings s = watched_settings("watched");
    assert_int_equal(fixture_train(&s, 2), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&s);
    assert_int_equal(lines_with("watched", "\"kind\":\"convergence\""), 5);
    assert_int_equal(lines_with("watched", "\"measure\":\"SSIM\""), 5);
    assert_int_equal(lines_with("watched", "\"value\":null"), 0);
    assert_true(file_exists(temp_path("watched/samples/control_00000000.png")));
    assert_true(file_exists(temp_path("watched/samples/control_00000004.png")));
    const file_hash watched = fixture_result("watched");
    s.convergence_steps = 0;
    assert_string_equal(fixture_bits(s).hex, watched.hex);
}

/* Their classes and controls are those of the same pictures, each once, and a few samples have all classes among them. */
static void samples_on_the_way_are_told_one_picture_each(void **state)
{
    (void)state;
    measures m;
    bool told[FIXTURE_CLASSES * 4] = {false}, seen[FIXTURE_CLASSES] = {false};
    open_inside(watched_settings("told"));
    assert_int_equal(measures_open(&m, &run.t, &run.s, model_kinds_all), DT_OK);
    const examples *from = m.drawing.told;
    assert_int_equal(from->count, FIXTURE_CLASSES * 4);
    for (int64_t i = 0; i < from->count; i++) {
        const int64_t example = drawing_example(&m.drawing, i);
        assert_false(told[example]);
        told[example] = true;
        assert_int_equal(class_list_at(m.drawing.labels, i), from->pictures.label[example]);
        if (i < 4) seen[from->pictures.label[example]] = true;
    }
    for (int k = 0; k < FIXTURE_CLASSES; k++) assert_true(seen[k]);
    assert_int_equal(drawing_example(&m.drawing, from->count), drawing_example(&m.drawing, 0));
    measures_close(&m);
    close_inside();
}

/* No measure is below -1: two in a row are there behind the first step. */
static void a_run_ends_where_samples_obey(void **state)
{
    (void)state;
    dt_settings s = watched_settings("obeys");
    s.stop_at_convergence = true;
    s.logging_steps = 3; /* its last step is written down whenever that is */
    s.validation_steps = 4;
    s.validation_count = 1;
    snprintf(s.ema_power, sizeof s.ema_power, "0.05");
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "-1");
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "step 1: samples obey their controls; the run ends here"));
    assert_int_equal(lines_with("obeys", "\"kind\":\"convergence\""), 2);
    assert_int_equal(lines_with("obeys", "\"kind\":\"train\""), 1);
    assert_int_equal(lines_with("obeys", "\"kind\":\"validation\""), 2); /* before the first step and at the last */
    assert_true(file_exists(temp_path("obeys/averages/step-00000001-0.05.safetensors")));
    const file_hash ended = fixture_result("obeys");
    fixture_must(dt_train, &s);
    assert_string_equal(fixture_result("obeys").hex, ended.hex);
    assert_int_equal(lines_with("obeys", "\"kind\":\"train\""), 1);
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "1.5");
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("never"));
    fixture_train_to_the_end(&s);
    assert_int_equal(lines_with("never", "\"kind\":\"convergence\""), 5);
}

static int train(rank_group *g, void *user)
{
    return (int)rank_call(g, dt_train, user, NULL);
}

/* One rank measures, whatever their number, and ends the run of all. */
static void several_ranks_end_where_samples_obey(void **state)
{
    (void)state;
    int code[2];
    dt_settings s = watched_settings("obeys-by-two");
    s.stop_at_convergence = true;
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "-1");
    rank_run(2, train, &s, code);
    for (int i = 0; i < 2; i++)
        if (code[i] != DT_OK) fail_msg("rank %d: %s", i, rank_message(i));
    assert_int_equal(lines_with("obeys-by-two", "\"kind\":\"convergence\""), 2);
    assert_true(file_exists(temp_path("obeys-by-two/final/model.safetensors")));
}

static dt_status write_report(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    (void)observer;
    return dt_report(c, s);
}

static void the_report_tells_when(void **state)
{
    (void)state;
    dt_settings s = watched_settings("report.html");
    char *page;
    size_t size;
    dt_error err = {0};
    snprintf(s.runs, sizeof s.runs, "%s,%s", temp_path("watched"), temp_path("never"));
    snprintf(s.output, sizeof s.output, "%s", temp_path("report.html"));
    fixture_must(write_report, &s);
    assert_int_equal(file_read_all(&page, &size, temp_path("report.html"), 64 << 20, &err), DT_OK);
    assert_non_null(strstr(page, "When samples obey their control"));
    assert_non_null(strstr(page, "In the paper</th>"));
    assert_non_null(strstr(page, "maps of the samples"));
    free(page);
}

/* ---- what does not fit ---- */

/* With sd_unlocked it is for the base that trained with it, which is written beside it. */
static void the_base_of_an_unlocked_one_is_its_own(void **state)
{
    (void)state;
    dt_settings t = control_settings("unlocked-own");
    t.sd_unlocked = true;
    fixture_train_to_the_end(&t);
    dt_settings s = controlled_settings("by-its-own", 1);
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("unlocked-own"));
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("unlocked-own/final/unet.safetensors"));
    fixture_must(dt_sample, &s);
    assert_null(strstr(fixture_log, "another base"));
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("by-the-first"));
    fixture_must(dt_sample, &s);
    assert_non_null(strstr(fixture_log, "was made for another base"));
    assert_non_null(strstr(fixture_log, "its own, whose way up trained with it, is "));
    assert_non_null(strstr(fixture_log, "unlocked-own/final/unet.safetensors"));
}

static void another_base_is_told(void **state)
{
    (void)state;
    dt_settings s = controlled_settings("on-another", 1);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("other"));
    fixture_must(dt_sample, &s);
    assert_non_null(strstr(fixture_log, "was made for another base"));
    assert_null(strstr(fixture_log, "trained with it"));
}

static void refuse(const dt_settings *s, fixture_verb *verb, dt_status status, const char *said)
{
    assert_int_equal(fixture_call_until(verb, s, -1), status);
    if (!strstr(fixture_message, said)) fail_msg("%s", fixture_message);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    dt_settings s = controlled_settings("refused", 1);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("wide"));
    refuse(&s, dt_sample, DT_ERR_SHAPE, "block_out_channels is 8, and the model's is 12");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    refuse(&s, dt_sample, DT_ERR_UNSUPPORTED, "it is told no control picture");
    s = controlled_settings("refused", 1);
    snprintf(s.controlnet_model, sizeof s.controlnet_model, "%s", temp_path("base"));
    refuse(&s, dt_sample, DT_ERR_FORMAT, "no ControlNet");
    s = controlled_settings("refused", 1);
    s.control_data[0] = '\0';
    refuse(&s, dt_sample, DT_ERR_ARG, "controlnet_model needs control_data");
    s = control_settings("refused");
    s.adapter = DT_ADAPTER_LORA;
    refuse(&s, dt_train, DT_ERR_ARG, "a ControlNet trains as a whole");
    s = control_settings("refused");
    snprintf(s.conditioning_embedding_out_channels, sizeof s.conditioning_embedding_out_channels, "4,8");
    refuse(&s, dt_train, DT_ERR_ARG, "2 entries lead to 1/2");
    s = control_settings("refused");
    s.control[0] = '\0';
    s.sd_unlocked = true;
    refuse(&s, dt_train, DT_ERR_ARG, "is for a ControlNet");
    assert_false(file_exists(temp_path("refused")));
    s = watched_settings("refused");
    snprintf(s.control, sizeof s.control, "%s", temp_path("edges"));
    refuse(&s, dt_train, DT_ERR_ARG, "convergence_steps needs control canny");
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "paper");
    refuse(&s, dt_train, DT_ERR_ARG, "convergence_steps needs control canny");
    s = watched_settings("refused");
    snprintf(s.convergence_threshold, sizeof s.convergence_threshold, "soon");
    refuse(&s, dt_train, DT_ERR_ARG, "or a number expected, found \"soon\"");
    s = watched_settings("refused");
    s.convergence_steps = 0;
    s.stop_at_convergence = true;
    refuse(&s, dt_train, DT_ERR_ARG, "stop_at_convergence needs convergence_steps");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_one_is_trained_on_a_frozen_base),
        cmocka_unit_test(a_run_does_not_depend_on_how_it_was_made),
        cmocka_unit_test(unlocked_the_way_up_trains_too),
        cmocka_unit_test(it_goes_on_from_one_that_is_there),
        cmocka_unit_test(it_is_written_in_another_format_too),
        cmocka_unit_test(a_run_writes_the_original_layout),
        cmocka_unit_test(the_frozen_base_teaches_it),
        cmocka_unit_test(a_bank_holds_the_control_of_each_picture),
        cmocka_unit_test(a_bank_of_other_maps_is_refused),
        cmocka_unit_test(a_bank_without_controls_is_refused),
        cmocka_unit_test(at_scale_zero_it_draws_what_the_base_draws),
        cmocka_unit_test(samples_are_told_controls_in_turn),
        cmocka_unit_test(a_chain_leads_from_it_to_its_base),
        cmocka_unit_test(it_predicts_what_its_base_does_and_more),
        cmocka_unit_test(a_run_draws_grids_of_its_held_out_controls),
        cmocka_unit_test(obedience_is_measured_once_a_step),
        cmocka_unit_test(samples_on_the_way_are_told_one_picture_each),
        cmocka_unit_test(a_run_ends_where_samples_obey),
        cmocka_unit_test(several_ranks_end_where_samples_obey),
        cmocka_unit_test(the_report_tells_when),
        cmocka_unit_test(the_base_of_an_unlocked_one_is_its_own),
        cmocka_unit_test(another_base_is_told),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
