/* LoRA files whose modules differ in rank and scale: what PEFT's adapter_config.json says of each, and every layout there and back. */
#include "file/folder.h"
#include "run_fixture.h"

#include <math.h>

#include "adapter/peft_config.h"
#include "file/json_file.h"

enum { WIDTH = 32, BLOCKS = 2, MODULES = 5, MAPS = 3, VALUES_MAX = 4 * WIDTH * WIDTH };

/* What a DiT's block has in diffusers, and which rows of which map here it is. */
static const struct {
    const char *name, *map;
    int64_t first, out, in, rank;
    double alpha;
} module[MODULES] = {
    {"attn1.to_q", "attn.qkv", 0, WIDTH, WIDTH, 2, 4},         {"attn1.to_k", "attn.qkv", WIDTH, WIDTH, WIDTH, 3, 5},
    {"attn1.to_v", "attn.qkv", 2 * WIDTH, WIDTH, WIDTH, 2, 4}, {"attn1.to_out.0", "attn.proj", 0, WIDTH, WIDTH, 4, 3},
    {"ff.net.2", "mlp.fc2", 0, WIDTH, 4 * WIDTH, 1, -0.5},
};

/* The exceptions as PEFT takes them: by the end of a name, by a whole name, by a regular expression. */
#define PATTERNS                                                                                                       \
    "\"rank_pattern\": {\"to_k\": 3, \"attn1.to_out.0\": 4, \"transformer_blocks\\\\.[01]\\\\.ff.net.2\": 1}, "        \
    "\"alpha_pattern\": {\"to_k\": 5, \"transformer_blocks.0.attn1.to_out.0\": 3, "                                    \
    "\"transformer_blocks.1.attn1.to_out.0\": 3, \"ff\\\\..*\": -0.5}"

typedef struct variant {
    bool root, dora;
} variant;

/* ---- what is written, and what must come of it ---- */

/* Of matrix A (0), B (1) or the magnitudes (2). */
static float value_of(int block, int k, int matrix, int64_t i)
{
    const double wave = sin(0.7 * (double)i + 3.1 * k + 1.7 * block + matrix);
    return (float)(matrix == 2 ? 0.6 + 0.1 * wave : 0.2 * wave);
}

static void write_modules(const char *folder, variant v)
{
    enum { TENSORS = BLOCKS * MODULES * 3 };
    static float values[TENSORS][VALUES_MAX];
    static char names[TENSORS][128];
    static int64_t dims[TENSORS][2];
    static const char *const ends[] = {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"};
    tensor_source source[TENSORS];
    size_t count = 0;
    dt_error err = {0};
    for (int i = 0; i < TENSORS; i++) {
        const int block = i / 3 / MODULES, k = i / 3 % MODULES, matrix = i % 3;
        if (matrix == 2 && !v.dora) continue;
        dims[i][0] = matrix ? module[k].out : module[k].rank;
        dims[i][1] = matrix ? module[k].rank : module[k].in;
        snprintf(names[i], sizeof names[i], "base_model.model.transformer_blocks.%d.%s.%s", block, module[k].name,
                 ends[matrix]);
        for (int64_t j = 0; j < VALUES_MAX; j++) values[i][j] = value_of(block, k, matrix, j);
        source[count++] = (tensor_source){.name = names[i],
                                          .dtype = SAFETENSORS_F32,
                                          .dim_count = matrix == 2 ? 1 : 2,
                                          .dims = dims[i],
                                          .values = values[i]};
    }
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    assert_int_equal(
        safetensors_write(temp_path_in(folder, "adapter_model.safetensors"), source, count, NULL, 0, NULL, &err),
        DT_OK);
}

static void write_config(const char *folder, const char *more)
{
    char text[2048];
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    const int length = snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4%s%s}",
                                more[0] ? ", " : "", more);
    assert_int_equal(file_write_atomic(temp_path_in(folder, "adapter_config.json"), text, (size_t)length, &err), DT_OK);
}

/* A module's row of W goes to W + s B A, with DoRA to the length m. */
static void change_row(double *w, int block, int k, int64_t row, variant v)
{
    const int64_t rank = module[k].rank, in = module[k].in;
    const double scale = module[k].alpha / (v.root ? sqrt((double)rank) : (double)rank);
    double squares = 0;
    for (int64_t i = 0; i < in; i++) {
        for (int64_t r = 0; r < rank; r++)
            w[i] += scale * (double)value_of(block, k, 1, row * rank + r) * (double)value_of(block, k, 0, r * in + i);
        squares += w[i] * w[i];
    }
    const double length = (double)value_of(block, k, 2, row);
    for (int64_t i = 0; v.dora && i < in; i++) w[i] *= length / sqrt(squares);
}

static int64_t read_weight(double *out, const char *file, int block, const char *map)
{
    static float values[VALUES_MAX];
    tensor_file f;
    dt_error err = {0};
    char name[128];
    snprintf(name, sizeof name, "blocks.%d.%s.weight", block, map);
    if (safetensors_open(&f, temp_path(file), &err) != DT_OK) fail_msg("%s", err.message);
    const tensor_entry *e = tensor_file_find(&f, name);
    assert_true(e && e->count <= VALUES_MAX);
    const int64_t count = e->count;
    assert_int_equal(tensor_read_f32(values, e, &err), DT_OK);
    for (int64_t i = 0; i < count; i++) out[i] = (double)values[i];
    tensor_file_close(&f);
    return count;
}

static dt_settings settings_of(const char *lora, const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.adapter_weights, sizeof s.adapter_weights, "%s", temp_path(lora));
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    s.merge = true;
    return s;
}

/* What a file merges into, against the definition: the furthest of all values. */
static double distance_of(const char *lora, variant v)
{
    static const char *const maps[MAPS] = {"attn.qkv", "attn.proj", "mlp.fc2"};
    static double wanted[VALUES_MAX], found[VALUES_MAX];
    double most = 0;
    const dt_settings s = settings_of(lora, "merged.safetensors");
    fixture_must(dt_convert, &s);
    for (int i = 0; i < BLOCKS * MAPS; i++) {
        const int block = i / MAPS;
        const char *map = maps[i % MAPS];
        const int64_t count = read_weight(wanted, "base.safetensors", block, map);
        for (int k = 0; k < MODULES; k++)
            for (int64_t row = 0; !strcmp(module[k].map, map) && row < module[k].out; row++)
                change_row(wanted + (module[k].first + row) * module[k].in, block, k, row, v);
        assert_int_equal(read_weight(found, "merged.safetensors", block, map), count);
        for (int64_t j = 0; j < count; j++) most = fmax(most, fabs(wanted[j] - found[j]));
    }
    return most;
}

/* ---- there and back ---- */

static void every_layout_keeps_ranks_and_scales(void **state)
{
    (void)state;
    static const char *const outputs[] = {"as_peft", "as_diffusers", "as_kohya.safetensors"};
    for (int i = 0; i < 4; i++) {
        const variant v = {.root = i & 1, .dora = i & 2};
        write_modules("theirs", v);
        write_config("theirs", v.root ? "\"use_rslora\": true, " PATTERNS : PATTERNS);
        const double read = distance_of("theirs", v);
        print_message("rslora %d, DoRA %d: read %.1e from the definition\n", v.root, v.dora, read);
        assert_true(read < 1e-6);
        for (int format = DT_ADAPTER_PEFT; format <= DT_ADAPTER_KOHYA; format++) {
            const char *output = outputs[format - DT_ADAPTER_PEFT];
            dt_settings s = settings_of("theirs", output);
            s.merge = false;
            s.save_adapter_as = (dt_adapter_format)format;
            if (v.dora && format == DT_ADAPTER_KOHYA) continue; /* which has no place for it */
            fixture_must(dt_convert, &s);
            const double back = distance_of(output, v);
            print_message("%s: %.1e\n", output, back);
            assert_true(back < 1e-6);
            if (format == DT_ADAPTER_KOHYA)
                assert_int_equal(remove(temp_path(output)), 0);
            else
                fixture_remove(output);
        }
        fixture_remove("theirs");
    }
}

/* diffusers has the time's maps in every block. */
static void a_map_that_diffusers_repeats_is_written_for_each_block(void **state)
{
    (void)state;
    enum { MANY = 24, RANK = 2 };
    static float values[WIDTH * 256];
    tensor_source source[] = {
        {.name = "base_model.model.t_embedder.mlp.0.lora_A.weight", .dims = (int64_t[]){RANK, 256}},
        {.name = "base_model.model.t_embedder.mlp.0.lora_B.weight", .dims = (int64_t[]){WIDTH, RANK}}};
    tensor_file f;
    dt_error err = {0};
    dit_config deep = fixture_config();
    deep.depth = MANY;
    fixture_base("deep.safetensors", deep, 11);
    for (int i = 0; i < 2; i++) {
        source[i].dtype = SAFETENSORS_F32;
        source[i].dim_count = 2;
        source[i].values = values;
    }
    assert_int_equal(safetensors_write(temp_path("time.safetensors"), source, 2, NULL, 0, NULL, &err), DT_OK);
    dt_settings s = settings_of("time.safetensors", "as_diffusers");
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("deep.safetensors"));
    s.merge = false;
    s.save_adapter_as = DT_ADAPTER_DIFFUSERS;
    fixture_must(dt_convert, &s);
    assert_int_equal(safetensors_open(&f, temp_path_in("as_diffusers", "adapter_model.safetensors"), &err), DT_OK);
    assert_int_equal(f.count, 2 * MANY);
    tensor_file_close(&f);
    fixture_remove("as_diffusers");
}

/* ---- what a description says ---- */

#define MODULE "transformer_blocks.10.attn1.to_out.0"

/* The scale of MODULE, of which the rank is 4 where `rest` says no other, or why there is none in fixture_message. */
static dt_status ask(double *scale, const char *rest)
{
    peft_config k;
    dt_error err = {0};
    write_config("described", rest);
    if (peft_config_open(&k, temp_path_in("described", "adapter_config.json"), &err) == DT_OK)
        peft_config_scale(scale, &k, MODULE, strstr(rest, "rank_pattern") ? 4 : 2, &err);
    peft_config_close(&k);
    snprintf(fixture_message, sizeof fixture_message, "%s", err.message);
    return err.status;
}

/* As Python's re.match(rf"(.*\.)?({key})$", MODULE), which gave this table. */
static void a_key_fits_as_in_peft(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool fits;
    } keys[] = {
        {MODULE, true},
        {"0", true},
        {"to_out.0", true},
        {"attn1.to_out.0", true},
        {"attn1_to_out_0", false},
        {"transformer_blocks.10.attn1.to_out..", true}, /* a dot is any byte */
        {"10.attn1.to.out.0", true},
        {"o_out.0", false}, /* not behind a dot */
        {"to_out", false},
        {"x." MODULE, false},
        {"", false},
        {"to_(q|out.0)", true},
        {"nothing|to_out.0", true},
        {"to_out.0|nothing", true},
        {"nothing|to_out", false},
        {"to_.*", true},
        {".*attn1.*", true},
        {"^transformer_blocks\\\\.[0-9]+\\\\.attn1\\\\.to_out.0", true},
        {"^attn1.to_out.0", false},
        {"transformer_blocks.\\\\d+.attn1.to_out.0", true},
        {"transformer_blocks.\\\\d.attn1.to_out.0", false},
        {"transformer_blocks.(1?0|2).*", true},
        {"transformer_blocks.[^2-9]0.*", true},
        {"transformer_blocks.[2-9]0.*", false},
        {"to_out\\\\.0$", true},
        {"(to_)+out.0", true},
        {"x?to_out.0", true},
    };
    double scale;
    char text[512];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        snprintf(text, sizeof text, "\"alpha_pattern\": {\"%s\": 10}", keys[i].key);
        if (ask(&scale, text) != DT_OK) fail_msg("%s", fixture_message);
        if (scale != (keys[i].fits ? 5 : 2)) fail_msg("%s: %g", keys[i].key, scale);
    }
}

static void the_scale_is_that_of_peft(void **state)
{
    (void)state;
    static const struct {
        const char *rest;
        double scale;
    } cases[] = {
        {"", 2},
        {"\"alpha_pattern\": {}, \"rank_pattern\": {\"to_out.0\": 4}", 1},
        {"\"alpha_pattern\": {\"to_out.0\": 3}, \"rank_pattern\": {\"to_out.0\": 4}", 0.75},
        {"\"alpha_pattern\": {\"to_out.0\": 3}, \"rank_pattern\": {\"to_.*\": 4}, \"use_rslora\": true", 1.5},
        {"\"alpha_pattern\": {\"to_out.0\": 8, \"attn1.to_out.0\": 12}", 4}, /* the first counts */
        {"\"alpha_pattern\": {\"attn1.to_out.0\": 12, \"to_out.0\": 8}", 6},
        {"\"alpha_pattern\": {\"to_out.0\": -1.5}", -0.75}, /* which PEFT takes */
        {"\"alpha_pattern\": {\"to_out.0\": 0}", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double scale = -1;
        if (ask(&scale, cases[i].rest) != DT_OK) fail_msg("%s: %s", cases[i].rest, fixture_message);
        if (fabs(scale - cases[i].scale) > 1e-15) fail_msg("%s: %g", cases[i].rest, scale);
    }
}

static void what_is_not_taken_is_refused_by_name(void **state)
{
    (void)state;
    static const char number[] = "a number expected", rank[] = "a rank expected", regular[] = "a regular expression";
    static const struct {
        const char *rest, *name, *why;
    } refused[] = {
        {"\"rank_pattern\": null", MODULE, "has rank 4, not the 2 that r and rank_pattern say"},
        {"\"alpha_pattern\": [3]", "alpha_pattern", "an object"},
        {"\"rank_pattern\": 4", "rank_pattern", "an object"},
        {"\"alpha_pattern\": {\"to_q\": \"3\"}", "alpha_pattern: to_q", number},
        {"\"alpha_pattern\": {\"to_q\": null}", "alpha_pattern: to_q", number},
        {"\"alpha_pattern\": {\"to_q\": true}", "alpha_pattern: to_q", number},
        {"\"alpha_pattern\": {\"to_q\": NaN}", "adapter_config.json", "not JSON"},
        {"\"alpha_pattern\": {\"to_q\": 1e999}", "adapter_config.json", "not JSON"},
        {"\"rank_pattern\": {\"to_q\": -4}", "rank_pattern: to_q", rank},
        {"\"rank_pattern\": {\"to_q\": 0}", "rank_pattern: to_q", rank},
        {"\"rank_pattern\": {\"to_q\": 4.5}", "rank_pattern: to_q", rank},
        {"\"rank_pattern\": {\"to_q\": [true]}", "rank_pattern: to_q", rank}, /* AdaLoRA's */
        {"\"rank_pattern\": {\"to_q\": 9223372036854775807}", "rank_pattern: to_q", rank},
        {"\"alpha_pattern\": {\"to_(?:q|k)\": 3}", "alpha_pattern: to_(?:q|k)", regular},
        {"\"alpha_pattern\": {\"to_q{1,2}\": 3}", "to_q{1,2}", regular},
        {"\"alpha_pattern\": {\"to_\\\\w\": 3}", "to_\\w", regular},
        {"\"alpha_pattern\": {\"to_q\\\\\": 3}", "to_q\\", regular},
        {"\"alpha_pattern\": {\"to_[\\\\w]\": 3}", "to_[\\w]", regular},
        {"\"alpha_pattern\": {\"to_[q\": 3}", "to_[q", regular},
        {"\"alpha_pattern\": {\"to_[z-a]\": 3}", "to_[z-a]", regular},
        {"\"alpha_pattern\": {\"to_.*?\": 3}", "to_.*?", regular},
        {"\"alpha_pattern\": {\"*to_q\": 3}", "*to_q", regular},
        {"\"alpha_pattern\": {\"(to_q\": 3}", "(to_q", regular},
        {"\"alpha_pattern\": {\"to_q)|(to_k\": 3}", "to_q)|(to_k", regular},
        {"\"alpha_pattern\": {\"(((((a)+)+)+)+)+\": 3}", "(((((a)+)+)+)+)+", regular}, /* would grow with each */
    };
    double scale;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (ask(&scale, refused[i].rest) == DT_OK) fail_msg("%s: taken", refused[i].rest);
        assert_says(fixture_message, refused[i].name);
        assert_says(fixture_message, refused[i].why);
    }
    write_modules("theirs", (variant){0});
    write_config("theirs", "\"alpha_pattern\": {\"to_(?:q|k)\": 3}");
    const dt_settings s = settings_of("theirs", "never.safetensors");
    assert_int_equal(fixture_call(dt_convert, &s, NULL), DT_ERR_FORMAT);
    assert_says(fixture_message, "alpha_pattern: to_(?:q|k)");
    assert_false(file_exists(temp_path("never.safetensors")));
    fixture_remove("theirs");
}

/* Of diffusers, whose keys begin as the names of tensors in a pipeline's file do, or stand alone. */
static void a_file_may_hold_its_description(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"r\": 2, \"lora_alpha\": 4, \"alpha_pattern\": {\"to_out.0\": 3}}",
        "{\"unet.r\": 2, \"unet.lora_alpha\": 4, \"unet.alpha_pattern\": {\"to_out.0\": 3}, \"text_encoder.r\": 7}",
        "{\"transformer.r\": 2, \"transformer.lora_alpha\": 3, \"unet.lora_alpha\": 9}",
        "{\"text_encoder.r\": 7, \"text_encoder.lora_alpha\": 3}",
    };
    static const double scales[] = {1.5, 1.5, 1.5, 1};
    for (int i = 0; i < 4; i++) {
        peft_config k;
        dt_error err = {0};
        double scale;
        assert_int_equal(peft_config_take(&k, "FILE", texts[i], &err), DT_OK);
        assert_int_equal(peft_config_scale(&scale, &k, MODULE, 2, &err), DT_OK);
        assert_true(scale == scales[i]);
        peft_config_close(&k);
    }
    static const char *const broken[] = {"", "[]", "{\"r\"", "{\"r\": 2, \"alpha_pattern\": 1}"};
    for (int i = 0; i < 4; i++) {
        peft_config k;
        dt_error err = {0};
        assert_int_equal(peft_config_take(&k, "FILE", broken[i], &err), DT_ERR_FORMAT);
        assert_says(err.message, "FILE: ");
        assert_says(err.message, " object");
        peft_config_close(&k);
    }
}

/* A name that ends another's would be taken for it too, were it not behind it. */
static void exceptions_are_written_longest_first(void **state)
{
    (void)state;
    static const peft_module written[] = {{"a", 2, 2}, {"x.b", 2, 2}, {"b", 3, 1}, {"y.x.b", 4, 8}, {"z.a", 2, 2}};
    peft_module modules[5];
    peft_config k;
    dt_error err = {0};
    json_t *config = peft_config_new("LORA", "base");
    memcpy(modules, written, sizeof modules);
    peft_config_add_lora(&config, 2, 2, false, json_array(), json_array());
    peft_config_add_exceptions(&config, modules, 5);
    assert_int_equal(json_object_size(json_object_get(config, "rank_pattern")), 3);
    assert_int_equal(file_make_dirs(temp_path("described"), &err), DT_OK);
    const char *path = temp_path_in("described", "adapter_config.json");
    assert_int_equal(json_file_write(path, config, NULL, &err), DT_OK);
    assert_int_equal(peft_config_open(&k, path, &err), DT_OK);
    for (int i = 0; i < 5; i++) {
        double scale;
        if (peft_config_scale(&scale, &k, written[i].name, written[i].rank, &err) != DT_OK) fail_msg("%s", err.message);
        assert_true(scale == written[i].alpha / (double)written[i].rank);
    }
    peft_config_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_fits_as_in_peft),
        cmocka_unit_test(the_scale_is_that_of_peft),
        cmocka_unit_test(what_is_not_taken_is_refused_by_name),
        cmocka_unit_test(a_file_may_hold_its_description),
        cmocka_unit_test(exceptions_are_written_longest_first),
        cmocka_unit_test(every_layout_keeps_ranks_and_scales),
        cmocka_unit_test(a_map_that_diffusers_repeats_is_written_for_each_block),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
