/* Distances of weights to where they started, in runs and between files, and L2-SP, which pulls them back. */
#include "inside_fixture.h"

#include "container/tensor_open.h"
#include "file/json_file.h"
#include "measure/weights.h"
#include "model/dit/dit_layers.h"

/* ---- layers ---- */

static void names_tell_layers_and_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *name, *kind;
        int block;
    } rows[] = {
        {"x_embedder.proj.weight", "embedding", -1},
        {"pos_embed", "embedding", -1},
        {"blocks.0.attn.qkv.weight", "attention", 0},
        {"blocks.11.mlp.fc2.bias", "mlp", 11},
        {"blocks.3.adaLN_modulation.1.weight", "modulation", 3},
        {"final_layer.adaLN_modulation.1.bias", "final", -1},
        {"blocks.2.attn.proj.lora_A.weight", "attention", 2},
        {"blocks.2.gamma1", "adapter", 2},
        {"blocks.99999999999999999999.mlp.fc1.bias", "mlp", -1},
        {"down.0.weight", "other", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        layer l;
        assert_int_equal(layer_find(&l, rows[i].name, &dit_layers), strcmp(rows[i].kind, "other") != 0);
        assert_string_equal(l.kind, rows[i].kind);
        assert_int_equal(l.block, rows[i].block);
    }
}

static void every_row_of_a_dit_is_of_a_layer(void **state)
{
    (void)state;
    open_inside(fixture_settings("run"));
    layer l;
    for (int i = 0; i < run.t.model.params->count; i++)
        assert_true(layer_find(&l, run.t.model.params->row[i].name, &dit_layers));
    close_inside();
}

/* ---- during training ---- */

static void expect_start(dt_settings s, int64_t left_out)
{
    weight_distance d;
    open_inside(s);
    assert_int_equal(measure_weights(&run.t, &d), DT_OK);
    assert_true(d.whole.squares == 0);
    assert_int_equal(d.left_out, left_out);
    assert_int_equal(d.whole.values + d.left_out, trainset_values(&run.t.set));
    assert_true(d.whole.values > 0);
    step_inside();
    step_inside();
    assert_int_equal(measure_weights(&run.t, &d), DT_OK);
    assert_true(d.whole.squares > 0);
    close_inside();
}

/* Before the first step every distance is exactly 0: what a row started with is known again. */
static void at_its_start_every_run_is_where_it_started(void **state)
{
    (void)state;
    const dt_adapter adapters[] = {DT_ADAPTER_NONE, DT_ADAPTER_BITFIT,   DT_ADAPTER_DIFFFIT,
                                   DT_ADAPTER_LORA, DT_ADAPTER_VPT_DEEP, DT_ADAPTER_ADAPTFORMER};
    for (size_t i = 0; i < sizeof adapters / sizeof *adapters; i++) {
        dt_settings s = fixture_settings("run");
        s.adapter = adapters[i];
        expect_start(s, 0);
    }
    dt_settings dora = fixture_settings("run"); /* whose magnitudes are lengths of the base's rows: left out */
    dora.adapter = DT_ADAPTER_LORA;
    dora.use_dora = true;
    expect_start(dora, 3 * fixture_config().hidden * fixture_config().depth);
    dt_settings new = fixture_settings("run");
    new.method = DT_METHOD_PRETRAIN;
    new.pretrained_model[0] = new.bank[0] = '\0';
    new.resolution = FIXTURE_SIZE;
    new.hidden_size = 24;
    new.depth = 1;
    expect_start(new, 0);
}

static void rows_of_new_classes_are_left_out(void **state)
{
    (void)state;
    fixture_images("four", 4, 2, FIXTURE_SIZE, 0);
    dt_settings s = fixture_settings("run");
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("four"));
    expect_start(s, 5 * fixture_config().hidden);
}

/* The "weights" records of a run, to be freed. */
static json_t *records_of(const char *output)
{
    char path[600], *text, *rest;
    size_t size;
    dt_error err = {0};
    json_t *list = json_array();
    snprintf(path, sizeof path, "%s/metrics.jsonl", temp_path(output));
    assert_int_equal(file_read_all(&text, &size, path, 1 << 20, &err), DT_OK);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (strstr(line, "\"kind\":\"weights\"")) json_array_append_new(list, json_loads(line, 0, NULL));
    free(text);
    return list;
}

static dt_settings measured_settings(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.validation_steps = 3;
    s.validation_count = 2;
    s.weights = DT_WEIGHTS_LAST;
    return s;
}

static json_t *compared(const char *path, const char *other)
{
    dt_context *c = NULL;
    dt_settings s;
    char *text = NULL;
    dt_settings_init(&s);
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_compare(c, path, other, &text) != DT_OK) fail_msg("%s", dt_message(c));
    json_t *out = json_loads(text, 0, NULL);
    dt_free(text);
    dt_close(c);
    return out;
}

/* A run's last record and the comparison of the two files say the same, whole, by layer and by block. */
static void a_run_and_its_files_say_the_same(void **state)
{
    (void)state;
    dt_settings s = measured_settings("run");
    fixture_train_to_the_end(&s);
    json_t *records = records_of("run"), *files = compared(temp_path("run"), s.pretrained_model);
    assert_int_equal(json_array_size(records), 3);
    const json_t *first = json_array_get(records, 0), *last = json_array_get(records, 2);
    assert_true(json_number_value(json_object_get(first, "squares")) == 0);
    const double squares = json_number_value(json_object_get(last, "squares"));
    assert_true(squares > 0);
    assert_float_equal(json_number_value(json_object_get(files, "squares")) / squares, 1, 1e-5);
    assert_float_equal(json_number_value(json_object_get(files, "distance")), sqrt(squares), 1e-5 * sqrt(squares));
    /* the file has its table of positions too, which nothing trains */
    assert_true(json_integer_value(json_object_get(files, "values")) >
                json_integer_value(json_object_get(last, "values")));
    double sum = 0;
    const char *kind;
    json_t *part;
    json_object_foreach(json_object_get(last, "kinds"), kind, part)
    {
        const json_t *its = json_object_get(json_object_get(files, "kinds"), kind);
        sum += json_number_value(json_object_get(part, "squares"));
        assert_float_equal(json_number_value(json_object_get(its, "squares")) /
                               json_number_value(json_object_get(part, "squares")),
                           1, 1e-5);
    }
    assert_float_equal(sum / squares, 1, 1e-9);
    assert_int_equal(json_array_size(json_object_get(last, "blocks")), fixture_config().depth);
    json_decref(records);
    json_decref(files);
}

static void a_resumed_run_records_the_same(void **state)
{
    (void)state;
    dt_settings s = measured_settings("whole"), parts = measured_settings("parts");
    s.adapter = parts.adapter = DT_ADAPTER_LORA;
    fixture_train_to_the_end(&s);
    assert_int_equal(fixture_train(&parts, 3), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&parts);
    json_t *whole = records_of("whole"), *resumed = records_of("parts");
    assert_int_equal(json_array_size(whole), 3);
    assert_true(json_equal(whole, resumed));
    json_decref(whole);
    json_decref(resumed);
}

static void files_without_common_weights_are_refused(void **state)
{
    (void)state;
    dt_context *c = NULL;
    dt_settings s = fixture_settings("run");
    char *text = NULL;
    assert_int_equal(dt_open(&c, &s), DT_OK);
    assert_int_equal(dt_compare(c, s.pretrained_model, temp_path("nowhere"), &text), DT_ERR_IO);
    assert_null(text);
    assert_int_equal(dt_compare(c, s.pretrained_model, s.pretrained_model, &text), DT_OK);
    assert_says(text, "\"squares\": 0.0");
    dt_free(text);
    dt_close(c);
}

/* ---- L2-SP ---- */

static dt_settings pulled_settings(const char *output, double l2_sp)
{
    dt_settings s = fixture_settings(output);
    s.l2_sp = l2_sp;
    return s;
}

/* d/dw of l2_sp / 2 |w - anchor|^2 by central differences of that sum, on a few values of each row. */
static double penalty(const train_row *r, double l2_sp)
{
    double sum = 0;
    for (int64_t i = 0; i < tensor_count(r->tensor); i++) {
        const double d = (double)r->tensor->data[i] - (double)r->anchor[i];
        sum += l2_sp / 2 * d * d;
    }
    return sum;
}

static void the_pull_is_the_gradient_of_the_penalty(void **state)
{
    (void)state;
    const double l2_sp = 0.5, step = 1.0 / 64;
    open_inside(pulled_settings("run", l2_sp));
    step_inside();
    step_inside();
    for (int i = 0; i < run.t.set.count; i++) {
        const train_row *r = &run.t.set.row[i];
        real *g = tensor_grad(&run.c, r->tensor);
        for (int64_t k = 0; k < tensor_count(r->tensor); k++) g[k] = 2;
    }
    optimizer_pull(&run.c, &run.t.optimizer);
    for (int i = 0; i < run.t.set.count; i++) {
        const train_row *r = &run.t.set.row[i];
        assert_non_null(r->anchor);
        for (int64_t k = 0; k < tensor_count(r->tensor); k += 1 + tensor_count(r->tensor) / 3) {
            real *w = &r->tensor->data[k], was = *w;
            *w = was + (real)step;
            const double high = penalty(r, l2_sp);
            *w = was - (real)step;
            const double slope = (high - penalty(r, l2_sp)) / (2 * step);
            *w = was;
            assert_float_equal((double)r->tensor->grad[k], 2 + slope, 1e-5);
        }
    }
    close_inside();
}

static double distance_after(dt_settings s)
{
    weight_distance d;
    open_inside(s);
    for (int i = 0; i < 6; i++) step_inside();
    assert_int_equal(measure_weights(&run.t, &d), DT_OK);
    close_inside();
    return d.whole.squares;
}

static void a_stronger_pull_keeps_weights_nearer(void **state)
{
    (void)state;
    const double free_one = distance_after(pulled_settings("run", 0)), weak = distance_after(pulled_settings("run", 1)),
                 strong = distance_after(pulled_settings("run", 1000));
    assert_true(weak < free_one && strong < weak);
}

static void fused_and_resumed_runs_have_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = pulled_settings("run", 10), fused = s, parts = s;
    const file_hash whole = fixture_bits(s);
    fused.fused_backward_pass = true;
    assert_same_bits(fixture_bits(fused), whole);
    assert_int_equal(fixture_train(&parts, 3), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&parts);
    assert_same_bits(fixture_result("run"), whole);
    s.l2_sp = 0;
    assert_string_not_equal(fixture_bits(s).hex, whole.hex);
    parts.l2_sp = 11;
    assert_int_equal(fixture_call(dt_train, &parts, NULL), DT_ERR_CONFLICT);
    assert_says(fixture_message, "l2_sp");
    parts.l2_sp = 0;
    assert_int_equal(fixture_call(dt_train, &parts, NULL), DT_ERR_CONFLICT);
}

/* Of a file of bf16 the start is kept as a copy: the same as of that file's values in f32. */
static void a_copied_start_is_one_in_the_file(void **state)
{
    (void)state;
    dt_settings narrow = pulled_settings("run", 10), wide = narrow;
    dt_settings convert;
    dt_settings_init(&convert);
    snprintf(convert.pretrained_model, DT_PATH_MAX, "%s", narrow.pretrained_model);
    snprintf(convert.output, DT_PATH_MAX, "%s", temp_path("narrow.safetensors"));
    convert.save_dtype = DT_FILE_BF16;
    fixture_must(dt_convert, &convert);
    snprintf(convert.pretrained_model, DT_PATH_MAX, "%s", temp_path("narrow.safetensors"));
    snprintf(convert.output, DT_PATH_MAX, "%s", temp_path("wide.safetensors"));
    convert.save_dtype = DT_FILE_F32;
    fixture_must(dt_convert, &convert);
    snprintf(narrow.pretrained_model, DT_PATH_MAX, "%s", temp_path("narrow.safetensors"));
    snprintf(wide.pretrained_model, DT_PATH_MAX, "%s", temp_path("wide.safetensors"));
    assert_same_bits(fixture_bits(narrow), fixture_bits(wide));
}

static void what_cannot_be_pulled_is_refused(void **state)
{
    (void)state;
    dt_settings s = pulled_settings("run", 1);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    s.resolution = FIXTURE_SIZE;
    assert_int_equal(fixture_call(dt_train, &s, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "l2_sp");
    fixture_images("four", 4, 2, FIXTURE_SIZE, 0);
    s = pulled_settings("run", 1);
    s.adapter = DT_ADAPTER_LORA;
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("four"));
    assert_int_equal(fixture_call(dt_train, &s, NULL), DT_ERR_ARG);
    assert_string_equal(fixture_message, "l2_sp: none of the weights that train is in the base");
    assert_false(file_exists(s.output_dir));
}

#define WORLD(test) cmocka_unit_test_setup_teardown(test, fixture_make, temp_folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_tell_layers_and_blocks),    WORLD(every_row_of_a_dit_is_of_a_layer),
        WORLD(at_its_start_every_run_is_where_it_started), WORLD(rows_of_new_classes_are_left_out),
        WORLD(a_run_and_its_files_say_the_same),           WORLD(a_resumed_run_records_the_same),
        WORLD(files_without_common_weights_are_refused),   WORLD(the_pull_is_the_gradient_of_the_penalty),
        WORLD(a_stronger_pull_keeps_weights_nearer),       WORLD(fused_and_resumed_runs_have_the_same_bits),
        WORLD(a_copied_start_is_one_in_the_file),          WORLD(what_cannot_be_pulled_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
