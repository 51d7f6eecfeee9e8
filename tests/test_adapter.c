/* Adapters in runs and files: what trains and how much that is, stopped and resumed, merged and joined, other programs' layouts,
 * and files that do not fit. tests/test_adapters_double.c has their arithmetic. */
#include "run_fixture.h"

#include <math.h>

#include "adapter/adapter_file.h"
#include "model/maker.h"
#include "train/trainset.h"

enum { BATCH = 2, OUT = BATCH * 6 * FIXTURE_SIZE * FIXTURE_SIZE };

static const dt_adapter kinds[] = {DT_ADAPTER_BITFIT, DT_ADAPTER_DIFFFIT, DT_ADAPTER_LORA, DT_ADAPTER_VPT_DEEP,
                                   DT_ADAPTER_ADAPTFORMER};
enum { KINDS = sizeof kinds / sizeof *kinds };

static dt_settings settings_of(const char *output, dt_adapter kind)
{
    dt_settings s = fixture_settings(output);
    s.adapter = kind;
    s.lora_rank = 3;
    s.lora_alpha = 6;
    snprintf(s.lora_targets, sizeof s.lora_targets, "attn.qkv,mlp.fc1");
    s.vpt_tokens = 2;
    s.adaptformer_width = 5;
    s.learning_rate = 1e-2;
    s.max_train_steps = 4;
    s.weights = DT_WEIGHTS_LAST;
    return s;
}

/* ---- predictions ---- */

static void predict_of(ctx *c, const denoiser *d, float out[OUT])
{
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){BATCH, 3, FIXTURE_SIZE, FIXTURE_SIZE});
    rng_normal(x->data, tensor_count(x), (rng_key){.seed = 3, .purpose = RNG_NOISE});
    const int32_t label[BATCH] = {1, 0};
    const condition told = {.label = label};
    const tensor *y = denoiser_forward(c, d, x, (real[]){3, 700}, &told);
    if (ctx_failed(c)) fail_msg("%s", c->error.message);
    assert_int_equal(tensor_count(y), OUT);
    memcpy(out, y->data, OUT * sizeof *out);
}

/* Of a model with adapters; NULL: none. */
static void predict_as(const char *model, const char *adapters, dt_file_weights weights, float out[OUT])
{
    ctx c;
    denoiser d;
    const model_choice k = {.adapters = adapters, .weights = weights};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    if (denoiser_load_as(&c, &d, NULL, model, &k, model_kinds_all) != DT_OK) fail_msg("%s", c.error.message);
    predict_of(&c, &d, out);
    ctx_close(&c);
}

static void predict(const char *model, const char *adapters, float out[OUT])
{
    predict_as(model, adapters, DT_FILE_WEIGHTS_AUTO, out);
}

/* The same with the adapter at its sites, as it was trained, whatever its kind. */
static void predict_unmerged(const dt_settings *s, const char *file, float out[OUT])
{
    ctx c;
    denoiser d;
    adapter a;
    tensor_file f;
    const adapter_plan plan = adapter_plan_of(s);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, NULL, s->pretrained_model, model_kinds_all), DT_OK);
    assert_int_equal(adapter_open(&c, &a, &d, &plan, 0), DT_OK);
    assert_int_equal(safetensors_open(&f, file, &c.error), DT_OK);
    int met = 0;
    for (size_t i = 0; i < f.count; i++) {
        const char *name = f.entries[i].name + strlen(adapter_prefix(&plan));
        const param *own = params_find(d.params, name), *row = own ? own : params_find(&a.params, name);
        assert_non_null(row);
        assert_int_equal(tensor_read_f32(row->tensor->data, &f.entries[i], &c.error), DT_OK);
        met += row != own;
    }
    assert_int_equal(met, a.params.count);
    predict_of(&c, &d, out);
    tensor_file_close(&f);
    ctx_close(&c);
}

static double difference(const float a[OUT], const float b[OUT])
{
    double most = 0, scale = 0;
    for (int i = 0; i < OUT; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)a[i]));
    }
    return most / scale;
}

/* ---- how much trains ---- */

static int64_t count_of(adapter_plan plan, int64_t classes)
{
    ctx c;
    dit m;
    adapter a;
    dit_config config = {.input_size = 32, .channels = 4, .class_count = classes, .learn_sigma = true};
    assert_true(dit_named(&config, "DiT-XL/2"));
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(dit_open(&c, &m, &config), DT_OK);
    denoiser d = fixture_denoiser(&m);
    assert_int_equal(adapter_open(&c, &a, &d, &plan, 0), DT_OK);
    const char *pattern[ADAPTER_PATTERNS_MAX];
    train_rule rule[1 + ADAPTER_PATTERNS_MAX] = {{"*", false}};
    const int patterns = adapter_patterns(pattern, &plan, &d);
    for (int i = 0; i < patterns; i++) rule[1 + i] = (train_rule){pattern[i], true};
    trainset set = {0};
    assert_int_equal(trainset_add(&c, &set, d.params, rule, 1 + patterns), DT_OK);
    assert_int_equal(trainset_add(&c, &set, &a.params, NULL, 0), DT_OK);
    const int64_t values = trainset_values(&set);
    ctx_close(&c);
    return values;
}

/* The counts of the paper's table and of the released code, for DiT-XL/2. */
static void as_much_trains_as_in_the_paper(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* arenas are smaller than DiT-XL/2 there */
#endif
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_BITFIT}, 101), 607136);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_LORA, .rank = 8, .targets = "attn.qkv"}, 101), 1149696);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_LORA, .rank = 8, .targets = ""}, 101), 1149696);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_LORA, .rank = 16, .targets = "attn.qkv"}, 101),
                     2181888);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_ADAPTFORMER, .width = 64, .scale = 0.1}, 101), 4280320);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_DIFFFIT, .blocks = 14}, 1000), 1739552);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_DIFFFIT, .variant = DT_DIFFFIT_PAPER}, 101), 832928);
    assert_int_equal(count_of((adapter_plan){.kind = DT_ADAPTER_VPT_DEEP, .tokens = 10}, 101), 117504 + 28 * 10 * 1152);
}

/* ---- runs ---- */

static void a_run_of_each_kind_is_resumed_and_is_a_model(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        float base[OUT], joined[OUT], of_run[OUT], of_list[OUT];
        char list[2 * DT_PATH_MAX];
        dt_settings s = settings_of("whole", kinds[k]);
        fixture_train_to_the_end(&s);
        assert_says(fixture_log, "adapter: ");
        assert_true(file_exists(temp_path_in("whole", "final/adapter_config.json")));
        assert_false(file_exists(temp_path_in("whole", "final/model.safetensors")));
        dt_settings stopped = settings_of("parts", kinds[k]);
        assert_int_equal(fixture_train(&stopped, 1), DT_ERR_INTERRUPTED);
        assert_int_equal(fixture_train(&stopped, 2), DT_ERR_INTERRUPTED);
        fixture_train_to_the_end(&stopped);
        assert_same_bits(fixture_tensors(temp_path_in("whole", "final/adapter_model.safetensors")),
                         fixture_tensors(temp_path_in("parts", "final/adapter_model.safetensors")));
        predict(s.pretrained_model, NULL, base);
        predict_unmerged(&s, temp_path_in("whole", "final/adapter_model.safetensors"), joined);
        predict(temp_path("whole"), NULL, of_run);
        snprintf(list, sizeof list, "%s", temp_path("whole"));
        predict(s.pretrained_model, list, of_list);
        assert_memory_equal(of_run, of_list, sizeof of_run);
        print_message("kind %d: %.2e from the base, %.2e from the adapter at its sites\n", (int)kinds[k],
                      difference(base, of_run), difference(joined, of_run));
        assert_true(difference(base, of_run) > 1e-3);
        assert_true(difference(joined, of_run) < 2e-6);
        fixture_remove("whole");
        fixture_remove("parts");
    }
}

/* Alone or beside its base, with its trained rows or their averages: the last one is what the run ends in. */
static void a_checkpoint_of_each_kind_is_a_model_and_an_adapter(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        float of_run[OUT], trained[OUT], averaged[OUT], beside[OUT];
        char at[DT_PATH_MAX];
        dt_settings s = settings_of("whole", kinds[k]);
        fixture_train_to_the_end(&s);
        snprintf(at, sizeof at, "%s", temp_path_in("whole", "checkpoints/step-00000004"));
        predict(temp_path("whole"), NULL, of_run);
        predict_as(at, NULL, DT_FILE_WEIGHTS_MODEL, trained);
        assert_memory_equal(of_run, trained, sizeof of_run);
        predict_as(at, NULL, DT_FILE_WEIGHTS_EMA, averaged);
        assert_true(difference(averaged, trained) > 1e-6);
        predict_as(s.pretrained_model, at, DT_FILE_WEIGHTS_AUTO, beside);
        assert_memory_equal(averaged, beside, sizeof averaged);
        fixture_remove("whole");
    }
}

/* Its base is the first one's base with that one joined, by which it is known. */
static void an_adapter_on_top_of_another_is_a_model(void **state)
{
    (void)state;
    float lower[OUT], upper[OUT], of_checkpoint[OUT];
    dt_settings s = settings_of("lower", DT_ADAPTER_LORA);
    fixture_train_to_the_end(&s);
    s = settings_of("upper", DT_ADAPTER_LORA);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("lower"));
    fixture_train_to_the_end(&s);
    predict(temp_path("lower"), NULL, lower);
    predict(temp_path("upper"), NULL, upper);
    assert_true(difference(lower, upper) > 1e-3);
    predict_as(temp_path_in("upper", "checkpoints/step-00000004"), NULL, DT_FILE_WEIGHTS_MODEL, of_checkpoint);
    assert_memory_equal(upper, of_checkpoint, sizeof upper);
    fixture_remove("upper");
    fixture_remove("lower");
}

/* Of versions that wrote no description of the adapter into its checkpoints. */
static void a_checkpoint_without_its_description_says_what_to_do(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    char at[DT_PATH_MAX];
    dt_settings s = settings_of("whole", DT_ADAPTER_BITFIT);
    fixture_train_to_the_end(&s);
    snprintf(at, sizeof at, "%s", temp_path_in("whole", "checkpoints/step-00000004"));
    assert_int_equal(remove(temp_path_in("whole", "checkpoints/step-00000004/adapter_config.json")), 0);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, NULL, at, model_kinds_all), DT_ERR_UNSUPPORTED);
    assert_says(c.error.message, "give it as adapter_weights");
    error_clear(&c.error);
    const model_choice k = {.adapters = at};
    assert_int_equal(denoiser_load_as(&c, &d, NULL, s.pretrained_model, &k, model_kinds_all), DT_ERR_IO);
    assert_says(c.error.message, "adapter_config.json");
    ctx_close(&c);
    fixture_remove("whole");
}

/* As many classes as the base has, with other names: the model's are the adapter's. */
static void an_adapter_brings_the_names_of_its_classes(void **state)
{
    (void)state;
    ctx c;
    denoiser d;
    model_info info;
    fixture_images("other", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 3);
    assert_int_equal(rename(temp_path_in("other", "c0"), temp_path_in("other", "z")), 0);
    dt_settings s = settings_of("whole", DT_ADAPTER_LORA);
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("other"));
    fixture_train_to_the_end(&s);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &d, &info, temp_path("whole"), model_kinds_all), DT_OK);
    assert_int_equal(info.class_name_count, 3);
    assert_string_equal(info.class_name[0], "c1");
    assert_string_equal(info.class_name[2], "z");
    model_info_free(&info);
    ctx_close(&c);
    fixture_remove("whole");
    fixture_remove("other");
}

/* Products of bfloat16 operands, and arrays of them where the machine has such: near to what f32 gives, whatever joins where. */
static void each_kind_trains_in_bf16(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        float wide[OUT], narrow[OUT];
        dt_settings s = settings_of("wide", kinds[k]);
        s.learning_rate = 1e-3;
        fixture_train_to_the_end(&s);
        predict(temp_path("wide"), NULL, wide);
        fixture_remove("wide");
        s.mixed_precision = DT_PRECISION_BF16;
        fixture_train_to_the_end(&s);
        predict(temp_path("wide"), NULL, narrow);
        fixture_remove("wide");
        print_message("kind %d: %.2e apart\n", (int)kinds[k], difference(wide, narrow));
        assert_true(difference(wide, narrow) < 2e-2);
        assert_true(difference(wide, narrow) > 0);
    }
}

/* The base is left as it is, and what is kept is small. */
static void only_what_trains_is_kept(void **state)
{
    (void)state;
    tensor_file f;
    dt_error err = {0};
    dt_settings s = settings_of("small", DT_ADAPTER_LORA);
    fixture_train_to_the_end(&s);
    assert_int_equal(safetensors_open(&f, temp_path_in("small", "checkpoints/step-00000004/model.safetensors"), &err),
                     DT_OK);
    assert_int_equal(f.count, 2 * 2 * 2 + 1); /* two maps in each of two blocks, and the classes */
    assert_non_null(tensor_file_find(&f, "blocks.1.mlp.fc1.lora_A.weight"));
    assert_non_null(tensor_file_find(&f, "y_embedder.embedding_table.weight"));
    tensor_file_close(&f);
    assert_int_equal(safetensors_open(&f, temp_path_in("small", "final/adapter_model.safetensors"), &err), DT_OK);
    assert_non_null(tensor_file_find(&f, "base_model.model.blocks.1.mlp.fc1.lora_B.weight"));
    assert_string_equal(adapter_kind_of_file(&f), "lora");
    tensor_file_close(&f);
    s.lora_rank = 4;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "lora_rank");
    s = fixture_settings("small"); /* and what the run was asked for and this call does not name */
    s.max_train_steps = 4;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "adapter lora");
    fixture_remove("small");
}

/* ---- layouts ---- */

static dt_settings convert_settings(const char *adapters, const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.adapter_weights, sizeof s.adapter_weights, "%s", adapters);
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    return s;
}

static void every_layout_is_the_same_adapter(void **state)
{
    (void)state;
    static const struct {
        dt_adapter_format format;
        const char *name;
        bool with_classes;
    } layouts[] = {{DT_ADAPTER_PEFT, "again", true},
                   {DT_ADAPTER_DIFFUSERS, "for_diffusers", false},
                   {DT_ADAPTER_KOHYA, "for_kohya.safetensors", false}};
    float own[OUT], other[OUT], first[OUT];
    dt_settings s = settings_of("lora", DT_ADAPTER_LORA);
    fixture_train_to_the_end(&s);
    predict(s.pretrained_model, temp_path("lora"), own);
    for (int i = 0; i < 3; i++) {
        dt_settings k = convert_settings(temp_path("lora"), layouts[i].name);
        k.save_adapter_as = layouts[i].format;
        fixture_must(dt_convert, &k);
        char path[DT_PATH_MAX];
        snprintf(path, sizeof path, "%s", temp_path(layouts[i].name));
        predict(s.pretrained_model, path, other);
        if (layouts[i].with_classes) assert_memory_equal(own, other, sizeof own);
        if (i == 1) memcpy(first, other, sizeof first);
        if (i == 2) assert_true(difference(first, other) < 1e-6);
        assert_int_equal(strstr(fixture_log, "no place") != NULL, !layouts[i].with_classes);
    }
    fixture_remove("lora");
}

static void merging_takes_a_share_and_several(void **state)
{
    (void)state;
    float base[OUT], merged[OUT], joined[OUT];
    char list[4 * DT_PATH_MAX];
    dt_settings a = settings_of("first", DT_ADAPTER_LORA), b = settings_of("second", DT_ADAPTER_LORA);
    b.seed = 43;
    fixture_train_to_the_end(&a);
    fixture_train_to_the_end(&b);
    predict(a.pretrained_model, NULL, base);
    snprintf(list, sizeof list, "%s:0", temp_path("first"));
    predict(a.pretrained_model, list, joined);
    assert_memory_equal(base, joined, sizeof base);
    const size_t used = (size_t)snprintf(list, sizeof list, "%s:0.5,", temp_path("first"));
    snprintf(list + used, sizeof list - used, "%s:-0.25", temp_path("second"));
    dt_settings k = convert_settings(list, "merged.safetensors");
    k.merge = true;
    fixture_must(dt_convert, &k);
    predict(a.pretrained_model, list, joined);
    predict(temp_path("merged.safetensors"), NULL, merged);
    assert_memory_equal(joined, merged, sizeof joined);
    assert_true(difference(base, merged) > 1e-3);
    fixture_remove("first");
    fixture_remove("second");
}

/* ---- DoRA ---- */

static dt_settings dora_settings(const char *output)
{
    dt_settings s = settings_of(output, DT_ADAPTER_LORA);
    s.use_dora = true;
    return s;
}

static void read_tensor(const char *path, const char *name, float *values, int64_t count)
{
    tensor_file f;
    dt_error err = {0};
    if (safetensors_open(&f, path, &err) != DT_OK) fail_msg("%s", err.message);
    const tensor_entry *e = tensor_file_find(&f, name);
    assert_true(e && e->count == count);
    assert_int_equal(tensor_read_f32(values, e, &err), DT_OK);
    tensor_file_close(&f);
}

static void dora_is_merged_as_it_was_trained(void **state)
{
    (void)state;
    enum { OUTPUTS = 3 * 32, INPUTS = 32 };
    float base[OUT], plain[OUT], joined[OUT], merged[OUT], length[OUTPUTS], w[OUTPUTS * INPUTS];
    char list[2 * DT_PATH_MAX];
    dt_settings s = dora_settings("dora"), stopped = dora_settings("parts"),
                lora = settings_of("lora", DT_ADAPTER_LORA);
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "with magnitudes (DoRA)");
    assert_int_equal(fixture_train(&stopped, 2), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&stopped);
    assert_same_bits(fixture_tensors(temp_path_in("dora", "final/adapter_model.safetensors")),
                     fixture_tensors(temp_path_in("parts", "final/adapter_model.safetensors")));
    predict(s.pretrained_model, NULL, base);
    predict_unmerged(&s, temp_path_in("dora", "final/adapter_model.safetensors"), joined);
    predict(temp_path("dora"), NULL, merged);
    print_message("%.2e from the base, %.2e from the adapter at its sites\n", difference(base, merged),
                  difference(joined, merged));
    assert_true(difference(base, merged) > 1e-3 && difference(joined, merged) < 2e-6);
    snprintf(list, sizeof list, "%s:0", temp_path("dora"));
    predict(s.pretrained_model, list, merged);
    assert_memory_equal(base, merged, sizeof base);
    fixture_train_to_the_end(&lora);
    predict(temp_path("lora"), NULL, plain);
    assert_true(difference(plain, joined) > 1e-3);

    /* a merged row is as long as its magnitude says */
    dt_settings k = convert_settings(temp_path("dora"), "merged.safetensors");
    k.merge = true;
    fixture_must(dt_convert, &k);
    read_tensor(temp_path_in("dora", "final/adapter_model.safetensors"),
                "base_model.model.blocks.1.attn.qkv.lora_magnitude_vector", length, OUTPUTS);
    read_tensor(temp_path("merged.safetensors"), "blocks.1.attn.qkv.weight", w, OUTPUTS * INPUTS);
    for (int o = 0; o < OUTPUTS; o++) {
        double squares = 0;
        for (int i = 0; i < INPUTS; i++) squares += pow((double)w[o * INPUTS + i], 2);
        assert_true(fabs(sqrt(squares) / (double)length[o] - 1) < 1e-5);
    }
    assert_int_equal(fixture_train(&lora, -1), DT_OK);
    lora.use_dora = true;
    assert_int_equal(fixture_train(&lora, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "use_dora");
    fixture_remove("dora");
    fixture_remove("parts");
    fixture_remove("lora");
}

/* PEFT's over either names; kohya's has other ones for it, which are not written. */
static void dora_keeps_its_magnitudes_in_layouts_of_peft(void **state)
{
    (void)state;
    enum { VALUES = 3 * 32 * 32 };
    float own[VALUES], other[VALUES];
    dt_settings s = dora_settings("dora");
    fixture_train_to_the_end(&s);
    for (int i = 0; i < 3; i++) {
        dt_settings k = convert_settings(temp_path("dora"), "other");
        k.save_adapter_as = i ? DT_ADAPTER_DIFFUSERS : DT_ADAPTER_PEFT;
        if (i < 2) {
            fixture_must(dt_convert, &k);
            char *text;
            size_t size;
            dt_error err = {0};
            assert_int_equal(file_read_all(&text, &size, temp_path_in("other", "adapter_config.json"), 1 << 16, &err),
                             DT_OK);
            assert_says(text, "\"use_dora\": true");
            free(text);
        }
        k = convert_settings(temp_path(i < 2 ? "other" : "dora"), "merged.safetensors");
        k.merge = true;
        fixture_must(dt_convert, &k);
        read_tensor(temp_path("merged.safetensors"), "blocks.0.attn.qkv.weight", i ? other : own, VALUES);
        for (int j = 0; i && j < VALUES; j++) assert_true(fabs((double)own[j] - (double)other[j]) < 1e-6);
        if (i < 2) fixture_remove("other");
    }
    dt_settings k = convert_settings(temp_path("dora"), "never.safetensors");
    k.save_adapter_as = DT_ADAPTER_KOHYA;
    assert_int_equal(fixture_call(dt_convert, &k, NULL), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "DoRA");
    assert_false(file_exists(temp_path("never.safetensors")));
    fixture_remove("dora");
}

/* ---- blending ---- */

static void a_blend_is_between_its_models(void **state)
{
    (void)state;
    float own[OUT], other[OUT], mixed[OUT];
    char share[DT_PATH_MAX];
    ctx c;
    denoiser d, e;
    fixture_base("other.safetensors", fixture_config(), 12);
    dit_config more = fixture_config();
    more.class_count += 2;
    fixture_base("more.safetensors", more, 12);
    predict(temp_path("base.safetensors"), NULL, own);
    predict(temp_path("other.safetensors"), NULL, other);
    const char *const shares[] = {"0", "1"};
    for (int i = 0; i < 2; i++) {
        snprintf(share, sizeof share, "%s:%s", temp_path("other.safetensors"), shares[i]);
        dt_settings k = convert_settings("", "mixed.safetensors");
        snprintf(k.blend, sizeof k.blend, "%s", share);
        fixture_must(dt_convert, &k);
        predict(temp_path("mixed.safetensors"), NULL, mixed);
        assert_memory_equal(mixed, i ? other : own, sizeof mixed);
    }
    /* of a table of other classes the null class alone */
    snprintf(share, sizeof share, "%s:0.25", temp_path("more.safetensors"));
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    const model_choice choice = {.blend = share};
    assert_int_equal(denoiser_load(&c, &d, NULL, temp_path("base.safetensors"), model_kinds_all), DT_OK);
    assert_int_equal(denoiser_load_as(&c, &e, NULL, temp_path("base.safetensors"), &choice, model_kinds_all), DT_OK);
    const tensor *rows = params_find(d.params, "y_embedder.embedding_table.weight")->tensor,
                 *blended = params_find(e.params, "y_embedder.embedding_table.weight")->tensor;
    const size_t known = (size_t)(FIXTURE_CLASSES * rows->dim[1]) * sizeof(float);
    assert_memory_equal(rows->data, blended->data, known);
    assert_memory_not_equal((const char *)rows->data + known, (const char *)blended->data + known, 32 * sizeof(float));
    ctx_close(&c);
    dt_settings k = convert_settings("", "never.safetensors");
    snprintf(k.blend, sizeof k.blend, "%s:1.5", temp_path("other.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &k, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "from 0 to 1");
    snprintf(k.blend, sizeof k.blend, "%s", temp_path("other.safetensors"));
    assert_int_equal(fixture_call(dt_convert, &k, NULL), DT_ERR_ARG);
    assert_false(file_exists(temp_path("never.safetensors")));
}

/* ---- what does not fit ---- */

static void refuse(const char *adapters, const char *part)
{
    dt_settings k = convert_settings(adapters, "never.safetensors");
    k.merge = true;
    assert_int_not_equal(fixture_call(dt_convert, &k, NULL), DT_OK);
    assert_says(fixture_message, part);
    assert_false(file_exists(temp_path("never.safetensors")));
}

/* One tensor of ones under that name. */
static const char *file_of(const char *name, const char *tensor_name, int64_t rows, int64_t columns)
{
    static float ones[4096];
    static char path[DT_PATH_MAX];
    dt_error err = {0};
    for (int i = 0; i < 4096; i++) ones[i] = 1;
    const tensor_source source = {.name = tensor_name,
                                  .dtype = SAFETENSORS_F32,
                                  .dim_count = 2,
                                  .dims = (int64_t[]){rows, columns},
                                  .values = ones};
    snprintf(path, sizeof path, "%s", temp_path(name));
    assert_int_equal(safetensors_write(path, &source, 1, NULL, 0, NULL, &err), DT_OK);
    return path;
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    refuse(temp_path("nowhere"), "nowhere");
    refuse(",", "a part between its commas is empty");
    refuse("https://example.org/lora", "nothing is downloaded");
    refuse(temp_path("base.safetensors"), "no adapter");
    refuse(file_of("a", "base_model.model.blocks.0.attn.qkv.lora_A.weight", 2, 32), "no counterpart");
    refuse(file_of("a", "base_model.model.blocks.7.attn.qkv.lora_A.weight", 2, 32), "no linear map");
    refuse(file_of("a", "blocks.0.attn.qkv.lora_magnitude_vector", 1, 96), "has no matrices");
    refuse(file_of("a", "blocks.0.attn.gamma1", 1, 95), "another base");
    refuse(file_of("a", "blocks.0.prompt_embeddings", 2, 32), "cannot be merged");
    char weighted[DT_PATH_MAX];
    snprintf(weighted, sizeof weighted, "%.900s:0.5", file_of("a", "blocks.0.prompt_embeddings", 2, 32));
    refuse(weighted, "weight 1 expected");
    snprintf(weighted, sizeof weighted, "%.900s:heavy", file_of("a", "blocks.0.prompt_embeddings", 2, 32));
    refuse(weighted, "a weight is a number");

    dt_settings stranger = convert_settings(file_of("a", "stranger", 2, 32), "never.safetensors");
    assert_int_not_equal(fixture_call(dt_convert, &stranger, NULL), DT_OK);
    assert_false(file_exists(temp_path("never.safetensors")));

    dt_settings s = settings_of("lora", DT_ADAPTER_LORA);
    snprintf(s.lora_targets, sizeof s.lora_targets, "to_q");
    assert_int_equal(fixture_train(&s, -1), DT_ERR_ARG);
    assert_says(fixture_message,
                "lora_targets to_q: no linear map of the network has such a name; attention's have attn.qkv");
    assert_false(file_exists(temp_path("lora")));
    s = settings_of("lora", DT_ADAPTER_LORA);
    fixture_train_to_the_end(&s);
    fixture_base("other.safetensors", fixture_config(), 12);
    dt_settings k = convert_settings(temp_path("lora"), "never.safetensors");
    snprintf(k.pretrained_model, sizeof k.pretrained_model, "%s", temp_path("other.safetensors"));
    k.merge = true;
    assert_int_equal(fixture_call(dt_convert, &k, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "another base");
    fixture_remove("lora");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_much_trains_as_in_the_paper),
        cmocka_unit_test(a_run_of_each_kind_is_resumed_and_is_a_model),
        cmocka_unit_test(a_checkpoint_of_each_kind_is_a_model_and_an_adapter),
        cmocka_unit_test(an_adapter_on_top_of_another_is_a_model),
        cmocka_unit_test(a_checkpoint_without_its_description_says_what_to_do),
        cmocka_unit_test(an_adapter_brings_the_names_of_its_classes),
        cmocka_unit_test(each_kind_trains_in_bf16),
        cmocka_unit_test(only_what_trains_is_kept),
        cmocka_unit_test(every_layout_is_the_same_adapter),
        cmocka_unit_test(merging_takes_a_share_and_several),
        cmocka_unit_test(dora_is_merged_as_it_was_trained),
        cmocka_unit_test(dora_keeps_its_magnitudes_in_layouts_of_peft),
        cmocka_unit_test(a_blend_is_between_its_models),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
