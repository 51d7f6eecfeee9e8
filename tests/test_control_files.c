/* Files of ControlNets: the original names, alone and beside a whole Stable Diffusion; what comes back, what is refused by name, and what
 * convert makes of them. */
#include "context_fixture.h"
#include "run_fixture.h"
#include "unet_fixture.h"

#include "model/sd/controlnet_config.h"
#include "model/sd/controlnet_file.h"
#include "model/sd/unet_config.h"
#include "model/sd/unet_denoiser.h"
#include "model/sd/unet_names.h"

static const dt_model_format formats[] = {DT_MODEL_SAFETENSORS, DT_MODEL_PT, DT_MODEL_DIFFUSERS, DT_MODEL_ORIGINAL};
static const char *const names[] = {"c.safetensors", "c.pt", "c_diffusers", "c_original.safetensors"};
enum { FORMATS = sizeof formats / sizeof *formats };

/* ---- names ---- */

static void all_names_are_those_of_diffusers_conversion(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__ /* whose arenas are small */
    skip();
#endif
    enum { NAMES = 340 };
    controlnet m;
    controlnet_config k;
    unet_names both;
    const unet_config base = unet_config_sd15();
    controlnet_config_new(&k, &base, 8, "", &context.error);
    controlnet_open(&context, &m, &k);
    no_failure();
    assert_int_equal(m.params.count, NAMES);
    assert_int_equal(params_count(&m.params, true), 361279120);
    unet_names_open(&both, &k.unet, true);
    assert_names(&m.params, &both, "6ab450d5f258588b2cde8d1b23bc50defef9bd8ec97e83728892f83ad488c7c0");
}

/* ---- a small network in every format ---- */

static controlnet_config small(void)
{
    return (controlnet_config){
        .unet = unet_small(), .control_channels = 3, .stem_count = 4, .stem_width = {4, 8, 8, 16}};
}

/* Every weight is a number of its own. */
static void make(controlnet *m, const controlnet_config *k, uint64_t seed)
{
    controlnet_open(&context, m, k);
    for (int i = 0; i < m->params.count; i++)
        rng_normal(m->params.row[i].tensor->data, tensor_count(m->params.row[i].tensor),
                   (rng_key){.seed = seed, .purpose = RNG_INIT, .step = (uint32_t)i});
    no_failure();
}

static dt_status export(const controlnet *m, const char *name, dt_model_format format, const char *base_sha256)
{
    const denoiser_file f = {.path = temp_path(name), .format = format};
    return controlnet_write(&context, m, base_sha256, &f);
}

static void export_base(const unet *m, const char *name, dt_model_format format)
{
    denoiser d;
    unet_denoiser(&d, (unet *)m);
    const denoiser_file f = {.path = temp_path(name), .format = format};
    assert_int_equal(d.ops->write(&context, &d, &f), DT_OK);
}

/* By itself, as convert reads it; NULL after a failure. *base_sha256 (65 bytes; may be NULL): what it says of its base. */
static controlnet *load(const char *name, char *base_sha256)
{
    model_file f;
    denoiser d = {0};
    if (model_file_open(&f, temp_path(name), model_kinds_files, &context.error) != DT_OK) return NULL;
    const char *said = tensor_file_metadata(&f.tensors, CONTROLNET_BASE);
    if (base_sha256) snprintf(base_sha256, 65, "%s", said ? said : "");
    model_file_load(&context, &d, NULL, &f, NULL);
    model_file_close(&f);
    return ctx_failed(&context) ? NULL : d.self;
}

/* Beside a base, as sample and train read it. */
static controlnet *load_beside(const char *name, const char *base)
{
    control_part part;
    model_file f;
    controlnet *m = arena_alloc_zeroed(&context.model, sizeof *m, &context.error);
    const control_choice choice = {.wanted = true, .scale = 1};
    model_file_open(&f, temp_path(base), model_kinds_all, &context.error);
    no_failure();
    if (control_part_open(&part, &choice, temp_path(name), &f.tensors, &context.error) == DT_OK)
        controlnet_load(&context, m, &part.tensors);
    control_part_close(&part);
    model_file_close(&f);
    return ctx_failed(&context) ? NULL : m;
}

static void assert_same(const controlnet *a, const controlnet *b)
{
    no_failure();
    assert_non_null(b);
    json_t *of_a = controlnet_config_json(&a->config), *of_b = controlnet_config_json(&b->config);
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
    controlnet m;
    char base[65];
    controlnet_config k = small();
    k.unet.heads[1] = 4;
    make(&m, &k, 1);
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(export(&m, names[i], formats[i], "abc"), DT_OK);
        assert_same(&m, load(names[i], base));
        assert_string_equal(base, "abc");
    }
}

static void a_stem_that_the_original_has_not_is_refused(void **state)
{
    (void)state;
    controlnet m;
    controlnet_config k = small();
    k.stem_count = 2;
    make(&m, &k, 1);
    assert_int_equal(export(&m, "never.safetensors", DT_MODEL_ORIGINAL, ""), DT_ERR_UNSUPPORTED);
    assert_refused(DT_ERR_UNSUPPORTED, "stem of 4 conditioning_embedding_out_channels, and this one has 2");
    const denoiser_file whole = {
        .path = temp_path("never.safetensors"), .format = DT_MODEL_ORIGINAL, .checkpoint = "sd.ckpt"};
    controlnet_write(&context, &m, "", &whole);
    assert_refused(DT_ERR_UNSUPPORTED, "original_checkpoint sd.ckpt: a UNet is put into a copy of it");
    assert_false(file_exists(temp_path("never.safetensors")));
}

/* ---- files of others ---- */

/* Entries for a rewritten file, of all tensors of a file that stays open. */
static file_tensor *list_tensors(tensor_file *f, const char *name)
{
    tensor_file_open(f, temp_path(name), &context.error);
    no_failure();
    file_tensor *list = test_calloc(f->count, sizeof *list);
    for (size_t i = 0; i < f->count; i++) {
        const tensor_entry *e = &f->entries[i];
        list[i] = (file_tensor){.name = e->name, .dim_count = e->dim_count, .values = e->data};
        memcpy(list[i].dims, e->dims, (size_t)e->dim_count * sizeof e->dims[0]);
    }
    return list;
}

/* A ControlNet and its base, and of each a file in the original layout: plain.safetensors and sd.safetensors. */
static void make_originals(controlnet *m, unet *base)
{
    const controlnet_config k = small();
    make(m, &k, 2);
    unet_make(base, &k.unet, 3);
    export_base(base, "sd.safetensors", DT_MODEL_ORIGINAL);
    assert_int_equal(export(m, "plain.safetensors", DT_MODEL_ORIGINAL, ""), DT_OK);
}

/* Plain, in Lightning's dictionary, without a prefix, and beside a whole Stable Diffusion, of which a model is read too. */
static void what_no_metadata_says_is_inferred(void **state)
{
    (void)state;
    const file_tensor beside[] = {{"first_stage_model.x", 1, {1}, one}, {"betas", 1, {1}, one}};
    controlnet m;
    unet base;
    denoiser d;
    tensor_file f;
    make_originals(&m, &base);
    rewrite("plain.safetensors", "bare.safetensors", "", NULL, beside, 2);
    assert_same(&m, load("bare.safetensors", NULL));
    assert_same(&m, load_beside("bare.safetensors", "sd.safetensors"));
    rewrite("plain.safetensors", "wrapped.safetensors", "state_dict.", NULL, beside, 2);
    assert_same(&m, load("wrapped.safetensors", NULL));
    assert_same(&m, load_beside("wrapped.safetensors", "sd.safetensors"));
    file_tensor *sd = list_tensors(&f, "sd.safetensors");
    rewrite("plain.safetensors", "whole.safetensors", "", NULL, sd, f.count);
    test_free(sd);
    tensor_file_close(&f);
    assert_same(&m, load("whole.safetensors", NULL));
    assert_same(&m, load_beside("whole.safetensors", "whole.safetensors"));
    assert_int_equal(denoiser_load(&context, &d, NULL, temp_path("whole.safetensors"), model_kinds_all), DT_OK);
    assert_string_equal(d.ops->kind, "UNet");
}

/* No shape shows heads: they are those of the base that it is opened for. */
static void heads_are_those_of_the_base(void **state)
{
    (void)state;
    controlnet m;
    unet base;
    controlnet_config k = small();
    for (int i = 0; i < 3; i++) k.unet.heads[i] = 4;
    make(&m, &k, 2);
    unet_make(&base, &k.unet, 3);
    export_base(&base, "four.safetensors", DT_MODEL_SAFETENSORS);
    assert_int_equal(export(&m, "plain.safetensors", DT_MODEL_ORIGINAL, ""), DT_OK);
    rewrite("plain.safetensors", "bare.safetensors", "", NULL, NULL, 0);
    assert_same(&m, load_beside("bare.safetensors", "four.safetensors"));
    const controlnet *alone = load("bare.safetensors", NULL);
    no_failure();
    assert_int_equal(alone->config.unet.heads[0], 8);
}

static void files_of_other_networks_are_refused_by_name(void **state)
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
        {NULL, {"alphas_cumprod", 1, {1000}, flat}, DT_ERR_UNSUPPORTED, "alphas_cumprod is not the noise"},
        {NULL, {"control_model.label_emb.0.0.weight", 1, {1}, one}, DT_ERR_UNSUPPORTED, "a ControlNet of SDXL"},
        {"control_model.middle_block.1.proj_in.weight",
         {"control_model.middle_block.1.proj_in.weight", 2, {1, 1}, one},
         DT_ERR_UNSUPPORTED,
         "a ControlNet of Stable Diffusion 2"},
        {NULL,
         {"control_model.more.weight", 1, {1}, one},
         DT_ERR_SHAPE,
         "tensor more.weight is not part of a ControlNet"},
        {"control_model.input_hint_block.8.weight",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "input_hint_block.8.weight is missing"},
        {"control_model.zero_convs.1.0.bias",
         {"x", 1, {1}, one},
         DT_ERR_SHAPE,
         "tensor controlnet_down_blocks.1.bias (zero_convs.1.0.bias) is missing"},
        {"control_model.input_hint_block.0.weight",
         {"x", 1, {1}, one},
         DT_ERR_FORMAT,
         "no ControlNet: it has no tensor"},
    };
    controlnet m;
    unet base, wider;
    controlnet_config k = small();
    make(&m, &k, 4);
    unet_make(&base, &k.unet, 5);
    export_base(&base, "sd.safetensors", DT_MODEL_ORIGINAL);
    assert_int_equal(export(&m, "sound.safetensors", DT_MODEL_ORIGINAL, ""), DT_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rewrite("sound.safetensors", "wrong.safetensors", "", wrong[i].without, &wrong[i].more, 1);
        assert_null(load_beside("wrong.safetensors", "sd.safetensors"));
        assert_refused(wrong[i].status, wrong[i].said);
    }
    k.unet.context_width = 16;
    unet_make(&wider, &k.unet, 6);
    export_base(&wider, "wider.safetensors", DT_MODEL_ORIGINAL);
    assert_null(load_beside("sound.safetensors", "wider.safetensors"));
    assert_refused(DT_ERR_SHAPE, "cross_attention_dim is 12, and the model's is 16");
}

static void in_place_of_a_model_it_is_refused(void **state)
{
    (void)state;
    controlnet m;
    const controlnet_config k = small();
    make(&m, &k, 7);
    for (int i = 0; i < FORMATS; i++) {
        denoiser d;
        assert_int_equal(export(&m, names[i], formats[i], ""), DT_OK);
        denoiser_load(&context, &d, NULL, temp_path(names[i]), model_kinds_all);
        assert_refused(DT_ERR_UNSUPPORTED, "a ControlNet, no model by itself: give it as controlnet_model");
    }
}

/* ---- convert ---- */

static dt_settings convert_settings(const char *model, const char *output, dt_model_format format)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path(model));
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    s.save_model_as = format;
    s.threads = 1;
    return s;
}

/* A ControlNet's own file of version 1.0. */
static void of_two_networks_one_is_taken(void **state)
{
    (void)state;
    controlnet m;
    unet base;
    denoiser d;
    tensor_file f;
    make_originals(&m, &base);
    file_tensor *sd = list_tensors(&f, "sd.safetensors");
    rewrite("plain.safetensors", "whole.safetensors", "", NULL, sd, f.count);
    test_free(sd);
    tensor_file_close(&f);
    dt_settings s = convert_settings("whole.safetensors", "taken.safetensors", DT_MODEL_SAFETENSORS);
    for (int part = DT_PART_AUTO; part <= DT_PART_CONTROLNET; part++) {
        s.part = (dt_part)part;
        fixture_must(dt_convert, &s);
        const bool told = strstr(fixture_log, "of its ControlNet and its UNet the ControlNet is taken") != NULL;
        assert_true(told == (part != DT_PART_UNET));
        if (part != DT_PART_UNET) {
            assert_same(&m, load("taken.safetensors", NULL));
            continue;
        }
        assert_int_equal(denoiser_load(&context, &d, NULL, temp_path("taken.safetensors"), model_kinds_all), DT_OK);
        assert_string_equal(d.ops->kind, "UNet");
    }
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("sd.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_ARG);
    assert_non_null(strstr(fixture_message, "part controlnet was asked for"));
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("plain.safetensors"));
    s.part = DT_PART_UNET;
    assert_int_not_equal(fixture_call(dt_convert, &s, NULL), DT_OK);
}

static void every_format_becomes_every_other(void **state)
{
    (void)state;
    static const char *const to[] = {"to.safetensors", "to.pt", "to_diffusers", "to_original.safetensors"};
    controlnet m;
    char base[65];
    const controlnet_config k = small();
    make(&m, &k, 8);
    for (int i = 0; i < FORMATS; i++) {
        assert_int_equal(export(&m, names[i], formats[i], "abc"), DT_OK);
        for (int j = 0; j < FORMATS; j++) {
            dt_settings s = convert_settings(names[i], to[j], formats[j]);
            fixture_must(dt_convert, &s);
            assert_same(&m, load(to[j], base));
            assert_string_equal(base, "abc");
        }
    }
}

/* inspect --against. */
static void it_is_compared_in_any_format(void **state)
{
    (void)state;
    controlnet m;
    dt_context *c = NULL;
    dt_settings s;
    char own[DT_PATH_MAX], *text = NULL;
    const controlnet_config k = small();
    make(&m, &k, 12);
    assert_int_equal(export(&m, "own.safetensors", DT_MODEL_SAFETENSORS, ""), DT_OK);
    assert_int_equal(export(&m, "other.safetensors", DT_MODEL_ORIGINAL, ""), DT_OK);
    snprintf(own, sizeof own, "%s", temp_path("own.safetensors"));
    dt_settings_init(&s);
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_compare(c, own, temp_path("other.safetensors"), &text) != DT_OK) fail_msg("%s", dt_message(c));
    json_t *said = json_loads(text, 0, NULL);
    assert_float_equal(json_number_value(json_object_get(said, "squares")), 0, 0);
    assert_int_equal(json_integer_value(json_object_get(said, "values")), params_count(&m.params, true));
    assert_int_equal(json_integer_value(json_object_get(said, "left_out")), 0);
    json_decref(said);
    dt_free(text);
    dt_close(c);
}

/* A new one is a copy of its base: moved it is a copy of the other one, and what only a ControlNet has stays. */
static void it_is_moved_to_another_base(void **state)
{
    (void)state;
    unet from, to;
    controlnet m, moved;
    char base[65];
    const controlnet_config k = small();
    file_hash other;
    unet_make(&from, &k.unet, 9);
    unet_make(&to, &k.unet, 10);
    make(&m, &k, 11);
    make(&moved, &k, 11);
    for (int i = 0; i < m.params.count; i++) {
        const param *a = params_find(&from.params, m.params.row[i].name),
                    *b = params_find(&to.params, m.params.row[i].name);
        if (!a) continue;
        memcpy(m.params.row[i].tensor->data, a->tensor->data, tensor_bytes(a->tensor));
        memcpy(moved.params.row[i].tensor->data, b->tensor->data, tensor_bytes(b->tensor));
    }
    export_base(&from, "from.safetensors", DT_MODEL_ORIGINAL);
    export_base(&to, "to.safetensors", DT_MODEL_SAFETENSORS);
    assert_int_equal(export(&m, "m.safetensors", DT_MODEL_ORIGINAL, "abc"), DT_OK);
    dt_settings s = convert_settings("m.safetensors", "moved.safetensors", DT_MODEL_ORIGINAL);
    snprintf(s.transfer_from, sizeof s.transfer_from, "%s", temp_path("from.safetensors"));
    snprintf(s.transfer_to, sizeof s.transfer_to, "%s", temp_path("to.safetensors"));
    fixture_must(dt_convert, &s);
    assert_same(&moved, load("moved.safetensors", base));
    file_sha256(&other, temp_path("to.safetensors"), &context.error);
    assert_string_equal(base, other.hex);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, context_make, context_remove)
    const struct CMUnitTest tests[] = {
        TEST(all_names_are_those_of_diffusers_conversion),
        TEST(every_format_comes_back),
        TEST(a_stem_that_the_original_has_not_is_refused),
        TEST(what_no_metadata_says_is_inferred),
        TEST(heads_are_those_of_the_base),
        TEST(files_of_other_networks_are_refused_by_name),
        TEST(in_place_of_a_model_it_is_refused),
        TEST(of_two_networks_one_is_taken),
        TEST(every_format_becomes_every_other),
        TEST(it_is_compared_in_any_format),
        TEST(it_is_moved_to_another_base),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
