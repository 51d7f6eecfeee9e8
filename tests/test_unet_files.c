/* Files of UNets: the names of Stable Diffusion's original code, its checkpoints, diffusers' folders; what comes back, and what is
 * refused by name. */
#include "context_fixture.h"
#include "file/folder.h"
#include "run_fixture.h"
#include "unet_fixture.h"

#include <jansson.h>

#include "container/tensor_open.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_denoiser.h"
#include "model/sd/unet_names.h"
#include "model/sd/unet_original.h"

/* ---- names ---- */

static void all_names_are_those_of_diffusers_conversion(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__ /* whose arenas are small */
    skip();
#endif
    enum { NAMES = 686 };
    unet m;
    unet_names names;
    const unet_config k = unet_config_sd15();
    unet_open(&context, &m, &k);
    no_failure();
    assert_int_equal(m.params.count, NAMES);
    assert_int_equal(params_count(&m.params, false), 859520964);
    unet_names_open(&names, &k, false);
    assert_names(&m.params, &names, "4bc58ac9bb5f41a2660c425cb6f576022d93ef63875238d40093c275ac87e877");
}

static void what_is_no_part_has_no_other_name(void **state)
{
    (void)state;
    static const char *const strangers[] = {"class_tokens.weight",
                                            "down_blocks.0.resnets.0.conv3.weight",
                                            "down_blocks.4.resnets.0.conv1.weight",
                                            "conv_in",
                                            "conv_inn.weight",
                                            "down_blocks.3.attentions.0.norm.weight",
                                            ""};
    unet_names names, control;
    alias_name out;
    const unet_config k = unet_config_sd15();
    unet_names_open(&names, &k, false);
    unet_names_open(&control, &k, true);
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        assert_false(unet_names_original(out, &names, strangers[i]));
    assert_false(unet_names_own(out, &names, "zero_convs.0.0.weight"));
    assert_true(unet_names_own(out, &control, "zero_convs.11.0.weight"));
    assert_string_equal(out, "controlnet_down_blocks.11.weight");
    assert_false(unet_names_own(out, &control, "zero_convs.12.0.weight"));
    assert_true(unet_names_own(out, &control, "input_hint_block.14.bias"));
    assert_string_equal(out, "controlnet_cond_embedding.conv_out.bias");
    assert_true(unet_names_original(out, &control, "controlnet_mid_block.weight"));
    assert_string_equal(out, "middle_block_out.0.weight");
    assert_false(unet_names_own(out, &control, "out.2.weight"));
}

/* ---- a small network in every format ---- */

static dt_status export(const unet *m, const char *name, dt_model_format format, const char *checkpoint)
{
    denoiser d;
    char path[DT_PATH_MAX];
    unet_denoiser(&d, (unet *)m);
    if (checkpoint) snprintf(path, sizeof path, "%s", temp_path(checkpoint));
    const denoiser_file file = {.path = temp_path(name), .format = format, .checkpoint = checkpoint ? path : NULL};
    return d.ops->write(&context, &d, &file);
}

static unet *load_as(const char *name, const model_choice *choice)
{
    denoiser d;
    if (denoiser_load_as(&context, &d, NULL, temp_path(name), choice, model_kinds_all) != DT_OK) return NULL;
    assert_string_equal(d.ops->kind, "UNet");
    return d.self;
}

static unet *load(const char *name)
{
    return load_as(name, &(model_choice){0});
}

static void assert_same(const unet *a, const unet *b)
{
    no_failure();
    assert_non_null(b);
    json_t *of_a = unet_config_json(&a->config, true), *of_b = unet_config_json(&b->config, true);
    assert_true(json_equal(of_a, of_b));
    json_decref(of_a);
    json_decref(of_b);
    assert_int_equal(a->params.count, b->params.count);
    for (int i = 0; i < a->params.count; i++) {
        const param *p = &a->params.row[i], *q = &b->params.row[i];
        assert_string_equal(p->name, q->name);
        assert_memory_equal(p->tensor->data, q->tensor->data, (size_t)tensor_count(p->tensor) * sizeof(real));
    }
}

static void every_format_comes_back(void **state)
{
    (void)state;
    static const char *const names[] = {"u.safetensors", "u.pt", "u_diffusers", "u_original.safetensors"};
    unet m;
    unet_config k = unet_small();
    k.noise = NOISE_LINEAR;
    k.heads[1] = 4;
    unet_make(&m, &k, 1);
    for (int format = DT_MODEL_SAFETENSORS; format <= DT_MODEL_ORIGINAL; format++) {
        assert_int_equal(export(&m, names[format], (dt_model_format)format, NULL), DT_OK);
        assert_same(&m, load(names[format]));
    }
    tensor_file f;
    tensor_file_open(&f, temp_path(names[0]), &context.error);
    no_failure();
    assert_non_null(strstr(tensor_file_metadata(&f, "difftune.unet"), "\"norm_eps\":1e-5,"));
    tensor_file_close(&f);
}

/* ---- checkpoints of others ---- */

static void what_no_metadata_says_is_inferred(void **state)
{
    (void)state;
    unet m;
    const unet_config k = unet_small();
    const model_choice heads = {.heads = 4}, averages = {.weights = DT_FILE_WEIGHTS_EMA};
    const file_tensor beside[] = {{"first_stage_model.x", 1, {1}, one}, {"betas", 1, {1}, one}};
    unet_make(&m, &k, 2);
    assert_int_equal(export(&m, "plain.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    rewrite("plain.safetensors", "bare.safetensors", "", NULL, beside, 2);
    assert_same(&m, load("bare.safetensors"));
    rewrite("plain.safetensors", "wrapped.safetensors", "state_dict.", NULL, beside, 2);
    assert_same(&m, load("wrapped.safetensors"));
    const unet *other = load_as("bare.safetensors", &heads);
    no_failure();
    assert_int_equal(other->config.heads[2], 4);
    assert_null(load_as("bare.safetensors", &averages));
    assert_refused(DT_ERR_ARG, "does not tell averaged weights from others");
}

/* "model_ema." and names without dots, beside the weights. */
static void averages_are_taken_where_they_are_asked_for(void **state)
{
    (void)state;
    unet m, average;
    const unet_config k = unet_small();
    tensor_file f;
    const model_choice ema = {.weights = DT_FILE_WEIGHTS_EMA}, plain = {.weights = DT_FILE_WEIGHTS_MODEL};
    unet_make(&m, &k, 3);
    unet_make(&average, &k, 4);
    assert_int_equal(export(&m, "m.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    assert_int_equal(export(&average, "a.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    tensor_file_open(&f, temp_path("a.safetensors"), &context.error);
    no_failure();
    file_tensor *more = test_calloc(f.count, sizeof *more);
    char(*name)[256] = test_calloc(f.count, sizeof *name);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        size_t used = (size_t)snprintf(name[i], sizeof name[i], "model_ema.");
        for (const char *at = e->name + strlen("model."); *at; at++)
            if (*at != '.') name[i][used++] = *at;
        more[i] = (file_tensor){.name = name[i], .dim_count = e->dim_count, .values = e->data};
        memcpy(more[i].dims, e->dims, (size_t)e->dim_count * sizeof e->dims[0]);
    }
    rewrite("m.safetensors", "both.safetensors", "", NULL, more, f.count);
    assert_same(&m, load("both.safetensors"));
    assert_same(&m, load_as("both.safetensors", &plain));
    assert_same(&average, load_as("both.safetensors", &ema));
    rewrite("m.safetensors", "less.safetensors", "", NULL, more, f.count - 1);
    assert_null(load_as("less.safetensors", &ema));
    assert_refused(DT_ERR_SHAPE, "tensor model_ema.diffusion_modeltime_embed2weight is missing");
    test_free(more);
    test_free(name);
    tensor_file_close(&f);
}

static void checkpoints_of_other_networks_are_refused_by_name(void **state)
{
    (void)state;
    static float flat[1000];
    static const struct {
        const char *without;
        file_tensor more;
        dt_status status;
        const char *said;
    } wrong[] = {
        {NULL, {"conditioner.embedders.0.x", 1, {1}, one}, DT_ERR_UNSUPPORTED, "a checkpoint of SDXL"},
        {NULL, {"cond_stage_model.model.x", 1, {1}, one}, DT_ERR_UNSUPPORTED, "of Stable Diffusion 2"},
        {NULL, {"v_pred", 1, {1}, one}, DT_ERR_UNSUPPORTED, "predicts v"},
        {NULL, {"ztsnr", 1, {1}, one}, DT_ERR_UNSUPPORTED, "no signal"},
        {NULL, {"alphas_cumprod", 1, {1000}, flat}, DT_ERR_UNSUPPORTED, "alphas_cumprod is not the noise"},
        {NULL, {"alphas_cumprod", 1, {1}, one}, DT_ERR_UNSUPPORTED, "alphas_cumprod is not the noise"},
        {NULL, {"model.diffusion_model.label_emb.0.0.weight", 1, {1}, one}, DT_ERR_UNSUPPORTED, "a UNet of SDXL"},
        {NULL, {"model.diffusion_model.more.weight", 1, {1}, one}, DT_ERR_SHAPE, "tensor more.weight is not part of"},
        {"model.diffusion_model.out.0.bias",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "tensor conv_norm_out.bias (out.0.bias) is missing"},
        {"model.diffusion_model.out.0.bias",
         {"model.diffusion_model.out.0.bias", 1, {1}, one},
         DT_ERR_SHAPE,
         "tensor conv_norm_out.bias: shape [32] expected, found [1]"},
        {"model.diffusion_model.middle_block.1.proj_in.weight",
         {"model.diffusion_model.middle_block.1.proj_in.weight", 2, {1, 1}, one},
         DT_ERR_UNSUPPORTED,
         "a UNet of Stable Diffusion 2"},
        {"model.diffusion_model.input_blocks.3.0.in_layers.0.weight",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "(input_blocks.3.0.in_layers.0.weight) is missing"},
        {"model.diffusion_model.input_blocks.3.0.out_layers.3.weight",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "tensors input_blocks.3..: up to 8 levels"},
        {"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "attn2.to_k.weight is missing"},
    };
    unet m;
    const unet_config k = unet_small();
    unet_make(&m, &k, 5);
    assert_int_equal(export(&m, "sound.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rewrite("sound.safetensors", "wrong.safetensors", "", wrong[i].without, &wrong[i].more, 1);
        assert_null(load("wrong.safetensors"));
        assert_refused(wrong[i].status, wrong[i].said);
    }
    unet_config nine = k;
    nine.in_channels = 9;
    unet_make(&m, &nine, 5);
    assert_int_equal(export(&m, "nine.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    assert_null(load("nine.safetensors"));
    assert_refused(DT_ERR_UNSUPPORTED, "a UNet for inpainting");
}

/* ---- into a whole checkpoint ---- */

static void the_rest_of_a_checkpoint_keeps_its_bits(void **state)
{
    (void)state;
    static const float values[] = {1.5f, -0.0f, INFINITY, 3e-45f};
    static const file_tensor rest[] = {{"first_stage_model.post_quant_conv.weight", 2, {2, 2}, values},
                                       {"cond_stage_model.transformer.x", 1, {4}, values},
                                       {"model_ema.diffusion_modelx", 1, {1}, values}};
    unet old, tuned, wider;
    tensor_file f;
    unet_config k = unet_small();
    unet_make(&old, &k, 6);
    unet_make(&tuned, &k, 7);
    assert_int_equal(export(&old, "old.safetensors", DT_MODEL_ORIGINAL, NULL), DT_OK);
    for (int wrapped = 0; wrapped < 2; wrapped++) {
        rewrite("old.safetensors", "whole.safetensors", "", NULL, rest, 3);
        if (wrapped) rewrite("whole.safetensors", "wrapped.safetensors", "state_dict.", NULL, NULL, 0);
        const char *whole = wrapped ? "wrapped.safetensors" : "whole.safetensors";
        assert_int_equal(export(&tuned, "new.safetensors", DT_MODEL_ORIGINAL, whole), DT_OK);
        assert_same(&tuned, load("new.safetensors"));
        tensor_file_open(&f, temp_path("new.safetensors"), &context.error);
        no_failure();
        assert_int_equal(f.count, tuned.params.count + 2);
        for (int i = 0; i < 2; i++) {
            const tensor_entry *e = tensor_file_find(&f, rest[i].name);
            assert_non_null(e);
            assert_int_equal(e->dim_count, rest[i].dim_count);
            assert_memory_equal(e->data, values, sizeof values);
        }
        tensor_file_close(&f);
    }
    k.width[1] = 96;
    unet_make(&wider, &k, 8);
    export(&wider, "never.safetensors", DT_MODEL_ORIGINAL, "whole.safetensors");
    assert_refused(DT_ERR_SHAPE, "whole.safetensors: tensor model.diffusion_model.input_blocks.3.0.in_layers.2.weight");
    export(&tuned, "never.safetensors", DT_MODEL_ORIGINAL, "u_diffusers");
    assert_true(ctx_failed(&context));
    error_clear(&context.error);
    rewrite("old.safetensors", "more.safetensors", "", NULL,
            &(file_tensor){"model.diffusion_model.more", 1, {1}, values}, 1);
    export(&tuned, "never.safetensors", DT_MODEL_ORIGINAL, "more.safetensors");
    assert_refused(DT_ERR_SHAPE, "its UNet has");
    assert_false(file_exists(temp_path("never.safetensors")));
}

/* ---- folders of diffusers ---- */

static void put_text(const char *name, const char *text)
{
    file_write_atomic(temp_path(name), text, strlen(text), &context.error);
    no_failure();
}

/* A pipeline as diffusers writes it: nothing but config.json and the scheduler's file say what it is. */
static void a_pipelines_scheduler_says_the_noise(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"{\"beta_schedule\": \"scaled_linear\", \"beta_start\": 0.00085, \"beta_end\": 0.012, \"trained_betas\": "
         "null, "
         "\"num_train_timesteps\": 1000, \"steps_offset\": 1}",
         NULL},
        {"{\"beta_schedule\": \"linear\", \"beta_start\": 0.0001, \"beta_end\": 0.02}", NULL},
        {"{\"beta_schedule\": \"scaled_linear\", \"prediction_type\": \"v_prediction\"}", "prediction_type is"},
        {"{\"beta_schedule\": \"scaled_linear\", \"beta_end\": 0.02}", "beta_end is 0.02"},
        {"{\"beta_schedule\": \"linear\", \"beta_start\": 0.00085}", "beta_start is"},
        {"{\"beta_schedule\": \"squaredcos_cap_v2\"}", "beta_schedule: scaled_linear or linear"},
        {"{\"num_train_timesteps\": 100}", "num_train_timesteps is 100"},
        {"{\"rescale_betas_zero_snr\": true}", "rescale_betas_zero_snr is true"},
        {"{\"trained_betas\": [0.1]}", "trained_betas is"},
        {"[", "scheduler_config.json"},
    };
    unet m;
    const unet_config k = unet_small();
    unet_make(&m, &k, 11);
    assert_int_equal(file_make_dirs(temp_path("pipeline/scheduler"), &context.error), DT_OK);
    assert_int_equal(export(&m, "pipeline/unet", DT_MODEL_DIFFUSERS, NULL), DT_OK);
    rewrite("pipeline/unet/" DIFFUSERS_WEIGHTS, "bare.safetensors", "", NULL, NULL, 0);
    file_rename(temp_path("bare.safetensors"), temp_path("pipeline/unet/" DIFFUSERS_STEM ".fp16.safetensors"),
                &context.error);
    assert_int_equal(remove(temp_path("pipeline/unet/" DIFFUSERS_WEIGHTS)), 0);
    assert_same(&m, load("pipeline"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text("pipeline/scheduler/scheduler_config.json", cases[i].text);
        const unet *found = load("pipeline");
        if (cases[i].said) {
            assert_null(found);
            assert_true(strstr(context.error.message, cases[i].said) != NULL);
            error_clear(&context.error);
        } else {
            no_failure();
            assert_int_equal(found->config.noise, i == 0 ? NOISE_SCALED_LINEAR : NOISE_LINEAR);
        }
    }
}

/* ---- convert and train ---- */

static dt_settings convert_settings(const char *model, const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path(model));
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    s.threads = 1;
    return s;
}

/* model - from + to: exactly `to` where the model is `from`. */
static void a_network_is_moved_to_another_base(void **state)
{
    (void)state;
    unet from, to;
    const unet_config k = unet_small();
    unet_make(&from, &k, 9);
    unet_make(&to, &k, 10);
    export(&from, "from.safetensors", DT_MODEL_ORIGINAL, NULL);
    export(&to, "to.safetensors", DT_MODEL_SAFETENSORS, NULL);
    dt_settings s = convert_settings("from.safetensors", "moved.safetensors");
    snprintf(s.transfer_from, sizeof s.transfer_from, "%s", temp_path("from.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "given together"));
    snprintf(s.transfer_to, sizeof s.transfer_to, "%s", temp_path("to.safetensors"));
    fixture_must(dt_convert, &s);
    assert_same(&to, load("moved.safetensors"));
    snprintf(s.transfer_to, sizeof s.transfer_to, "%s", temp_path("base.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "no weight of the model is in it"));
}

static void settings_that_make_no_file_are_refused(void **state)
{
    (void)state;
    dt_settings s = convert_settings("base.safetensors", "never");
    snprintf(s.original_checkpoint, sizeof s.original_checkpoint, "%s", temp_path("old.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "original_checkpoint is for save_model_as original"));
    s = convert_settings("base.safetensors", "never");
    s.save_model_as = DT_MODEL_ORIGINAL;
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_UNSUPPORTED);
    assert_non_null(strstr(fixture_message, "a DiT has its own"));
    assert_false(file_exists(temp_path("never")));
}

/* ---- LoRA ---- */

enum { RANK = 3, LORA_MAPS = 3 };

static const struct {
    const char *map, *old; /* by its name, and by that of an attention processor */
} lora_map[LORA_MAPS] = {
    {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
     "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora"},
    {"mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
     "mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_out_lora"},
    {"down_blocks.0.attentions.0.proj_in", "down_blocks.0.attentions.0.proj_in_lora"},
};

/* Matrices of so many of the maps as NAME.<down> and NAME.<up>, with alpha of half the rank beside them or in B. */
static void write_lora(const char *name, const char *prefix, bool old, const char *down, const char *up, bool alpha,
                       int maps, int64_t width)
{
    enum { VALUES = 64 * RANK };
    static float a[VALUES], b[VALUES], half[VALUES], scale = RANK / 2.0F;
    static char names[3 * LORA_MAPS][160];
    file_tensor list[3 * LORA_MAPS];
    size_t count = 0;
    for (int i = 0; i < VALUES; i++) {
        a[i] = (float)sin(0.7 * i);
        b[i] = (float)cos(1.3 * i);
        half[i] = b[i] / 2;
    }
    for (int i = 0; i < maps; i++) {
        const int64_t side = i == 1 ? 64 : width, out = i == 1 ? 64 : 32;
        const char *module = old ? lora_map[i].old : lora_map[i].map;
        snprintf(names[count], sizeof names[count], "%s%s%s", prefix, module, down);
        list[count] = (file_tensor){names[count], 2, {RANK, side}, a};
        snprintf(names[++count], sizeof names[count], "%s%s%s", prefix, module, up);
        list[count] = (file_tensor){names[count], 2, {out, RANK}, alpha ? b : half};
        count++;
        if (!alpha) continue;
        snprintf(names[count], sizeof names[count], "%s%s.alpha", prefix, module);
        list[count] = (file_tensor){names[count], 0, {0}, &scale};
        count++;
    }
    rewrite("nothing.safetensors", name, "", NULL, list, count);
}

static dt_settings adapter_settings(const char *lora, const char *output)
{
    dt_settings s = convert_settings("lora_base.safetensors", output);
    snprintf(s.adapter_weights, sizeof s.adapter_weights, "%s", temp_path(lora));
    return s;
}

/* The network with the adapter in it. */
static unet *merged(const char *lora)
{
    dt_settings s = adapter_settings(lora, "merged.safetensors");
    s.merge = true;
    fixture_must(dt_convert, &s);
    return load("merged.safetensors");
}

static void make_lora_base(unet *m)
{
    const unet_config k = unet_small();
    unet_make(m, &k, 12);
    export(m, "lora_base.safetensors", DT_MODEL_SAFETENSORS, NULL);
    safetensors_write(temp_path("nothing.safetensors"), NULL, 0, NULL, 0, NULL, &context.error);
    no_failure();
}

/* Of diffusers' pipelines: names as load_lora_weights wants them, the scale in B, convolutions as such. */
static void a_lora_is_written_for_a_pipeline_of_diffusers(void **state)
{
    (void)state;
    unet m;
    tensor_file f;
    make_lora_base(&m);
    write_lora("peft.safetensors", "base_model.model.", false, ".lora_A.weight", ".lora_B.weight", true, LORA_MAPS, 32);
    dt_settings s = adapter_settings("peft.safetensors", "pipeline");
    s.save_adapter_as = DT_ADAPTER_DIFFUSERS;
    fixture_must(dt_convert, &s);
    assert_false(file_exists(temp_path("pipeline/adapter_config.json")));
    tensor_file_open(&f, temp_path("pipeline/pytorch_lora_weights.safetensors"), &context.error);
    no_failure();
    assert_int_equal(f.count, 2 * LORA_MAPS);
    for (int i = 0; i < LORA_MAPS; i++) {
        char name[2][160];
        snprintf(name[0], sizeof name[0], "unet.%s.lora_A.weight", lora_map[i].map);
        snprintf(name[1], sizeof name[1], "unet.%s.lora_B.weight", lora_map[i].map);
        const tensor_entry *a = tensor_file_find(&f, name[0]), *b = tensor_file_find(&f, name[1]);
        assert_non_null(a);
        assert_non_null(b);
        assert_int_equal(a->dim_count, i == 2 ? 4 : 2);
        assert_int_equal(b->dim_count, i == 2 ? 4 : 2);
        assert_true(((const float *)b->data)[1] == (float)cos(1.3) / 2);
    }
    tensor_file_close(&f);
    assert_same(merged("pipeline"), merged("peft.safetensors"));
}

/* A pipeline's loader takes the rank for alpha, older ones that of the first module for all: they get one rank. */
static void ranks_that_differ_become_one_for_a_pipeline(void **state)
{
    (void)state;
    unet m;
    tensor_file f;
    enum { VALUES = 96, TENSORS = 5 };
    float values[VALUES], alpha = 4;
    for (int i = 0; i < VALUES; i++) values[i] = (float)sin(0.7 * i);
    char names[4][128];
    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof names[i], "%s.lora_%c.weight", lora_map[i / 2 ? 2 : 0].map, i % 2 ? 'B' : 'A');
    char name[160];
    snprintf(name, sizeof name, "%s.alpha", lora_map[0].map);
    const file_tensor list[TENSORS] = {{names[0], 2, {1, 32}, values},
                                       {names[1], 2, {32, 1}, values},
                                       {names[2], 2, {3, 32}, values},
                                       {names[3], 2, {32, 3}, values},
                                       {name, 0, {0}, &alpha}};
    make_lora_base(&m);
    rewrite("nothing.safetensors", "uneven.safetensors", "", NULL, list, TENSORS);
    dt_settings s = adapter_settings("uneven.safetensors", "uneven");
    s.save_adapter_as = DT_ADAPTER_DIFFUSERS;
    fixture_must(dt_convert, &s);
    tensor_file_open(&f, temp_path("uneven/pytorch_lora_weights.safetensors"), &context.error);
    no_failure();
    snprintf(name, sizeof name, "unet.%s", names[0]);
    const tensor_entry *a = tensor_file_find(&f, name);
    snprintf(name, sizeof name, "unet.%s", names[1]);
    const tensor_entry *b = tensor_file_find(&f, name);
    assert_true(a && b && a->dims[0] == 3 && b->dims[1] == 3);
    for (int i = 0; i < 3 * 32; i++) {
        assert_true(((const float *)a->data)[i] == (i < 32 ? values[i] : 0));
        assert_true(((const float *)b->data)[i] == (i % 3 ? 0 : 4 * values[i / 3]));
    }
    tensor_file_close(&f);
    assert_same(merged("uneven"), merged("uneven.safetensors"));
}

static void older_layouts_are_read_or_refused_by_name(void **state)
{
    (void)state;
    unet m;
    make_lora_base(&m);
    write_lora("peft.safetensors", "", false, ".lora_A.weight", ".lora_B.weight", false, 2, 32);
    write_lora("old.safetensors", "unet.", true, ".down.weight", ".up.weight", false, 2, 32);
    assert_same(merged("old.safetensors"), merged("peft.safetensors"));
    static const struct {
        const char *name, *said;
    } refused[] = {{"unet:0:up", "cloneofsimo"},
                   {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "text encoder's LoRA"},
                   {"text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", "text encoder's LoRA"}};
    for (int i = 0; i < 3; i++) {
        const file_tensor more = {refused[i].name, 2, {1, 1}, one};
        rewrite("peft.safetensors", "refused.safetensors", "", NULL, &more, 1);
        dt_settings s = adapter_settings("refused.safetensors", "never.safetensors");
        s.merge = true;
        assert_int_not_equal(fixture_call(dt_convert, &s, NULL), DT_OK);
        if (!strstr(fixture_message, refused[i].said)) fail_msg("%s", fixture_message);
    }
    assert_false(file_exists(temp_path("never.safetensors")));
}

/* Before the first step, not behind the last. */
static void training_refuses_a_format_that_has_no_place_for_classes(void **state)
{
    (void)state;
    for (int format = DT_MODEL_PT; format <= DT_MODEL_ORIGINAL; format++) {
        dt_settings s = fixture_settings("trained");
        s.method = DT_METHOD_PRETRAIN;
        s.pretrained_model[0] = s.bank[0] = '\0';
        snprintf(s.model, sizeof s.model, "UNet");
        snprintf(s.block_out_channels, sizeof s.block_out_channels, "8,16");
        s.norm_num_groups = 4;
        s.resolution = FIXTURE_SIZE;
        s.save_model_as = (dt_model_format)format;
        if (format == DT_MODEL_PT) {
            fixture_train_to_the_end(&s);
            assert_true(file_exists(temp_path("trained/final/model.pt")));
            fixture_remove("trained");
            continue;
        }
        assert_int_equal(fixture_train(&s, -1), DT_ERR_UNSUPPORTED);
        assert_non_null(strstr(fixture_message, "save_model_as: the UNet is told classes"));
        assert_false(file_exists(temp_path("trained/final")));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, context_make, context_remove)
    const struct CMUnitTest tests[] = {
        TEST(all_names_are_those_of_diffusers_conversion),
        TEST(what_is_no_part_has_no_other_name),
        TEST(every_format_comes_back),
        TEST(what_no_metadata_says_is_inferred),
        TEST(averages_are_taken_where_they_are_asked_for),
        TEST(checkpoints_of_other_networks_are_refused_by_name),
        TEST(the_rest_of_a_checkpoint_keeps_its_bits),
        TEST(a_pipelines_scheduler_says_the_noise),
        TEST(a_network_is_moved_to_another_base),
        TEST(settings_that_make_no_file_are_refused),
        TEST(a_lora_is_written_for_a_pipeline_of_diffusers),
        TEST(ranks_that_differ_become_one_for_a_pipeline),
        TEST(older_layouts_are_read_or_refused_by_name),
        TEST(training_refuses_a_format_that_has_no_place_for_classes),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
