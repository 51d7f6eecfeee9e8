/* The UNet of Stable Diffusion 1 against diffusers' (vectors/make_unet_vectors.py): what it predicts and every gradient, with and
 * without checkpointing; and as a kind of network that is made, written, read and trained. */
#include "run_fixture.h"

#include <jansson.h>

#include "container/safetensors.h"
#include "engine/open.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_denoiser.h"
#include "reference_vectors.h"

enum { N = 4, TOKENS = 5, CLASSES = 3 };
#define NOTHING 0.1 /* the others are longer */
static const real times[N] = {0, 1, 437, 999};
static const int32_t labels[N] = {0, CLASSES, 1, 0};
static const char *const models[] = {"unet_text", "unet_label"};

/* ---- a network with its vectors ---- */

typedef struct fixture {
    ctx c;
    unet m;
    tensor_file f;
    tensor *x, *context; /* NULL: it is told labels */
} fixture;

static reference reference_of(fixture *x)
{
    return (reference){&x->c, &x->f};
}

static void open_fixture(fixture *x, const char *name, dt_isa isa, int gemm_flags)
{
    char path[128];
    unet_config k;
    snprintf(path, sizeof path, "vectors/%s.safetensors", name);
    assert_int_equal(ctx_open(&x->c, DT_DEVICE_CPU, 2, isa), DT_OK);
    x->c.gemm_flags = gemm_flags;
    if (safetensors_open(&x->f, path, &x->c.error) != DT_OK ||
        unet_config_parse(&k, tensor_file_metadata(&x->f, "config"), path, &x->c.error) != DT_OK)
        fail_msg("%s", x->c.error.message);
    k.class_count = strcmp(name, "unet_label") ? 0 : CLASSES;
    if (unet_open(&x->c, &x->m, &k) != DT_OK) fail_msg("%s", x->c.error.message);
    for (int i = 0; i < x->m.params.count; i++) {
        const param *row = &x->m.params.row[i];
        named_weights(row);
        row->tensor->need_grad = true;
        row->tensor->grad = numbers_zeros(&x->c, &x->c.model, tensor_count(row->tensor));
    }
    params_round(&x->c, &x->m.params);
    x->x = reference_input(reference_of(x), 4, (int64_t[]){N, k.in_channels, k.input_size, k.input_size}, "x");
    x->context =
        k.class_count ? NULL : reference_input(reference_of(x), 3, (int64_t[]){N, TOKENS, k.context_width}, "context");
}

static void close_fixture(fixture *x)
{
    tensor_file_close(&x->f);
    ctx_close(&x->c);
}

static condition told(const fixture *x)
{
    return (condition){.label = x->context ? NULL : labels, .context = x->context};
}

static tensor *predict(fixture *x)
{
    const condition k = told(x);
    tensor *y = unet_forward(&x->c, &x->m, x->x, times, &k);
    if (!y) fail_msg("%s", x->c.error.message);
    return y;
}

static void walk_back(fixture *x)
{
    x->c.recording = true;
    reference_walk_back(reference_of(x), predict(x));
}

static double difference(fixture *x, const tensor *found, const char *name)
{
    return reference_difference(reference_of(x), found->data, tensor_count(found), name);
}

static double gradient_difference(fixture *x)
{
    return reference_gradients(reference_of(x), &x->m.params, "", NOTHING);
}

/* ---- against diffusers ---- */

static void it_predicts_what_diffusers_does(void **state)
{
    (void)state;
    static const dt_isa isas[] = {DT_ISA_AUTO, DT_ISA_PORTABLE};
    for (int i = 0; i < 4; i++) {
        fixture x;
        open_fixture(&x, models[i / 2], isas[i % 2], 0);
        const condition k = told(&x);
        assert_true(difference(&x, predict(&x), "out") < 1e-5);
        assert_true(difference(&x, unet_features(&x.c, &x.m, x.x, times, &k), "features") < 1e-5);
        close_fixture(&x);
    }
}

static void its_gradients_are_those_of_diffusers(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture x;
        open_fixture(&x, models[i], DT_ISA_AUTO, 0);
        walk_back(&x);
        assert_true(gradient_difference(&x) < 1e-4);
        close_fixture(&x);
    }
}

static void bfloat16_stays_near(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        fixture x;
        open_fixture(&x, models[i], DT_ISA_AUTO, GEMM_BF16);
        assert_true(difference(&x, predict(&x), "out") < 3e-2);
        walk_back(&x);
        assert_true(gradient_difference(&x) < 0.15);
        close_fixture(&x);
    }
}

static void checkpointing_changes_no_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        fixture plain, again;
        open_fixture(&plain, models[i / 2], DT_ISA_AUTO, i % 2 ? GEMM_BF16 : 0);
        open_fixture(&again, models[i / 2], DT_ISA_AUTO, i % 2 ? GEMM_BF16 : 0);
        again.c.checkpointing = true;
        walk_back(&plain);
        walk_back(&again);
        for (int k = 0; k < plain.m.params.count; k++) {
            const tensor *a = plain.m.params.row[k].tensor, *b = again.m.params.row[k].tensor;
            assert_memory_equal(a->grad, b->grad, tensor_bytes(a));
        }
        close_fixture(&plain);
        close_fixture(&again);
    }
}

/* ---- as a kind of network ---- */

static dt_settings new_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    snprintf(s.model, sizeof s.model, "UNet");
    snprintf(s.block_out_channels, sizeof s.block_out_channels, "8,16");
    snprintf(s.down_block_types, sizeof s.down_block_types, "DownBlock2D,CrossAttnDownBlock2D");
    s.layers_per_block = 1;
    s.norm_num_groups = 4;
    s.num_heads = 2;
    s.cross_attention_dim = 12;
    s.resolution = FIXTURE_SIZE;
    return s;
}

/* The configuration of a model file, which must open. */
static unet_config config_of(const char *name)
{
    ctx c;
    denoiser d;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (denoiser_load(&c, &d, NULL, temp_path(name), model_kinds_all) != DT_OK) fail_msg("%s", c.error.message);
    assert_string_equal(d.ops->kind, "UNet");
    const unet_config k = ((const unet *)d.self)->config;
    assert_int_equal(d.process.noise, k.noise);
    assert_int_equal(d.class_count, k.class_count);
    ctx_close(&c);
    return k;
}

static void a_new_one_is_trained_and_its_file_says_what_it_is(void **state)
{
    (void)state;
    dt_settings s = new_settings("base");
    s.beta_schedule = DT_BETA_LINEAR;
    fixture_train_to_the_end(&s);
    const unet_config found = config_of("base"), wanted = {.input_size = FIXTURE_SIZE,
                                                           .in_channels = 3,
                                                           .out_channels = 3,
                                                           .level_count = 2,
                                                           .width = {8, 16},
                                                           .heads = {2, 2},
                                                           .down_attends = {false, true},
                                                           .up_attends = {false, true},
                                                           .layers = 1,
                                                           .context_width = 12,
                                                           .groups = 4,
                                                           .class_count = FIXTURE_CLASSES,
                                                           .noise = NOISE_LINEAR};
    assert_int_equal(found.input_size, wanted.input_size);
    assert_int_equal(found.in_channels, wanted.in_channels);
    assert_int_equal(found.out_channels, wanted.out_channels);
    assert_int_equal(found.level_count, wanted.level_count);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(found.width[i], wanted.width[i]);
        assert_int_equal(found.heads[i], wanted.heads[i]);
        assert_int_equal(found.down_attends[i], wanted.down_attends[i]);
        assert_int_equal(found.up_attends[i], wanted.up_attends[i]);
    }
    assert_int_equal(found.layers, wanted.layers);
    assert_int_equal(found.context_width, wanted.context_width);
    assert_int_equal(found.groups, wanted.groups);
    assert_int_equal(found.class_count, wanted.class_count);
    assert_int_equal(found.noise, wanted.noise);
}

/* Stopped and resumed, checkpointed or not: the same weights. */
static void a_run_does_not_depend_on_how_it_was_made(void **state)
{
    (void)state;
    dt_settings s = new_settings("plain");
    const file_hash plain = fixture_bits(s);
    s.gradient_checkpointing = true;
    s.threads = 2;
    const file_hash checkpointed = fixture_bits(s);
    assert_string_equal(plain.hex, checkpointed.hex);
    s = new_settings("stopped");
    assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&s);
    assert_string_equal(fixture_result("stopped").hex, plain.hex);
}

/* Other classes: tokens of equal names are kept, and every verb above goes on from it. */
static void it_is_tuned_to_other_classes(void **state)
{
    (void)state;
    dt_settings s = new_settings("first");
    fixture_train_to_the_end(&s);
    fixture_images("more", FIXTURE_CLASSES + 2, 2, FIXTURE_SIZE, 3);
    dt_settings tuned = fixture_settings("tuned");
    snprintf(tuned.pretrained_model, sizeof tuned.pretrained_model, "%s", temp_path("first"));
    snprintf(tuned.train_data, sizeof tuned.train_data, "%s", temp_path("more"));
    tuned.bank[0] = '\0';
    tuned.method = DT_METHOD_FINETUNE;
    fixture_train_to_the_end(&tuned);
    const unet_config k = config_of("tuned");
    assert_int_equal(k.class_count, FIXTURE_CLASSES + 2);
    assert_int_equal(k.noise, NOISE_SCALED_LINEAR);
    tuned.adapter = DT_ADAPTER_VPT_DEEP;
    snprintf(tuned.output_dir, sizeof tuned.output_dir, "%s", temp_path("vpt"));
    assert_int_equal(fixture_train(&tuned, -1), DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(fixture_message, "has no blocks that it could join"));
    tuned.adapter = DT_ADAPTER_LORA;
    snprintf(tuned.lora_targets, sizeof tuned.lora_targets, "to_q,to_v,ff.net.2");
    snprintf(tuned.output_dir, sizeof tuned.output_dir, "%s", temp_path("lora"));
    fixture_train_to_the_end(&tuned);
}

static void a_new_one_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *widths, *types;
        int64_t resolution, groups;
        const char *said;
    } wrong[] = {
        {"8,16", "", 15, 4, "sample_size 15 is not a multiple of the stride of its levels: 2"},
        {"8,18", "", 16, 4, "block_out_channels 18 is not a multiple of norm_num_groups 4"},
        {"8;16", "", 16, 4, "block_out_channels 8;16: 1 to 8 numbers"},
        {"", "", 16, 4, "block_out_channels: at least one number"},
        {"8,16", "DownBlock2D", 16, 4, "down_block_types DownBlock2D: 2 entries expected"},
        {"8,16", "DownBlock2D,Down", 16, 4, "for each of block_out_channels expected"},
        {"9,18", "", 16, 9, "block_out_channels 9 is not a multiple of attention_head_dim (the number of heads) 2"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dt_settings s = new_settings("wrong");
        snprintf(s.block_out_channels, sizeof s.block_out_channels, "%s", wrong[i].widths);
        snprintf(s.down_block_types, sizeof s.down_block_types, "%s", wrong[i].types);
        s.resolution = wrong[i].resolution;
        s.norm_num_groups = wrong[i].groups;
        assert_int_equal(fixture_train(&s, -1), DT_ERR_ARG);
        if (!strstr(fixture_message, wrong[i].said)) fail_msg("%s", fixture_message);
    }
}

/* ---- configurations ---- */

static dt_status parse(unet_config *k, const char *text, dt_error *err)
{
    *err = (dt_error){0};
    return unet_config_parse(k, text, "config.json", err);
}

static void a_configuration_that_is_not_ours_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"{\"use_linear_projection\": true}", "use_linear_projection: a UNet of Stable Diffusion 2"},
        {"{\"addition_embed_type\": \"text_time\"}", "addition_embed_type: a UNet of SDXL"},
        {"{\"freq_shift\": 1}", "freq_shift is 1, and only 0"},
        {"{\"flip_sin_to_cos\": false}", "flip_sin_to_cos is false"},
        {"{\"class_embed_type\": \"timestep\"}", "class_embed_type is \"timestep\""},
        {"{\"only_cross_attention\": [false, false, true, false]}", "only_cross_attention is"},
        {"{\"transformer_layers_per_block\": 2}", "transformer_layers_per_block is 2"},
        {"{\"prediction_type\": \"v_prediction\"}", "prediction_type"},
        {"{\"mid_block_type\": \"UNetMidBlock2D\"}", "mid_block_type"},
        {"{\"_class_name\": \"UNet2DModel\"}", "_class_name is \"UNet2DModel\""},
        {"{\"something_new\": 3}", "something_new is 3"},
        {"{\"down_block_types\": [\"AttnDownBlock2D\", \"DownBlock2D\", \"DownBlock2D\", \"DownBlock2D\"]}",
         "down_block_types: CrossAttnDownBlock2D or DownBlock2D expected"},
        {"{\"block_out_channels\": [8, 16]}", "down_block_types: as many entries"},
        {"{\"cross_attention_dim\": [8, 16, 8, 8]}", "cross_attention_dim: one number for all levels"},
        {"{\"attention_head_dim\": [8, 16]}", "attention_head_dim: as many entries"},
        {"{\"block_out_channels\": 3}", "block_out_channels: a list"},
        {"{\"sample_size\": \"64\"}", "sample_size: a whole number above 0"},
        {"{\"beta_schedule\": \"squaredcos_cap_v2\"}", "beta_schedule: scaled_linear or linear"},
        {"[", "config.json"},
    };
    unet_config k;
    dt_error err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(parse(&k, wrong[i][0], &err), DT_OK);
        if (!strstr(err.message, wrong[i][1])) fail_msg("%s: %s", wrong[i][0], err.message);
    }
}

static void a_configuration_says_what_it_was_made_from(void **state)
{
    (void)state;
    unet_config k, again;
    dt_error err = {0};
    k = unet_config_sd15();
    k.heads[1] = 4;
    k.up_attends[0] = false;
    k.noise = NOISE_LINEAR;
    json_t *object = unet_config_json(&k, true);
    assert_int_equal(unet_config_read(&again, object, "text", &err), DT_OK);
    json_decref(object);
    assert_memory_equal(k.width, again.width, sizeof k.width);
    assert_memory_equal(k.heads, again.heads, sizeof(int64_t) * 4);
    assert_memory_equal(k.down_attends, again.down_attends, sizeof k.down_attends);
    assert_memory_equal(k.up_attends, again.up_attends, sizeof k.up_attends);
    assert_true(again.noise == NOISE_LINEAR && again.context_width == 768 && again.groups == 32);
    assert_true(again.input_size == 64 && again.in_channels == 4 && again.layers == 2 && again.epsilon == k.epsilon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_predicts_what_diffusers_does),
        cmocka_unit_test(its_gradients_are_those_of_diffusers),
        cmocka_unit_test(bfloat16_stays_near),
        cmocka_unit_test(checkpointing_changes_no_bit),
        cmocka_unit_test(a_new_one_is_trained_and_its_file_says_what_it_is),
        cmocka_unit_test(a_run_does_not_depend_on_how_it_was_made),
        cmocka_unit_test(it_is_tuned_to_other_classes),
        cmocka_unit_test(a_new_one_that_cannot_be_is_refused),
        cmocka_unit_test(a_configuration_that_is_not_ours_is_refused_by_name),
        cmocka_unit_test(a_configuration_says_what_it_was_made_from),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
