/* Models in the formats of other programs: each comes back as it was, what diffusers' layout cannot say is refused, and an
 * odd diffusers folder is named. */
#include "context_fixture.h"
#include "file/folder.h"
#include "run_fixture.h"

#include "container/tensor_open.h"
#include "model/dit/dit_diffusers.h"

static void no_failure(void)
{
    if (ctx_failed(&context)) fail_msg("%s", context.error.message);
}

static void assert_same_model(const dit *a, const dit *b)
{
    assert_memory_equal(&a->config, &b->config, sizeof a->config);
    for (int i = 0; i < a->params.count; i++)
        assert_memory_equal(a->params.row[i].tensor->data, b->params.row[i].tensor->data,
                            (size_t)tensor_count(a->params.row[i].tensor) * sizeof(real));
}

static const char *const names[] = {"m.safetensors", "m.pt", "m_diffusers"};

/* ---- there and back ---- */

static void every_format_comes_back(void **state)
{
    (void)state;
    const metadata_pair pair = {"difftune.classes", "[\"a\",\"b\",\"c\"]"};
    for (int sigma = 0; sigma < 2; sigma++) {
        dit m;
        dit_config config = fixture_config();
        config.learn_sigma = sigma;
        dit_open(&context, &m, &config);
        fixture_randomise(&context, &m, 5);
        for (int format = 0; format < 3; format++)
            for (size_t pairs = 0; pairs < 2; pairs++) {
                dit back;
                model_info info = {0};
                char path[DT_PATH_MAX];
                fixture_export(&context, &m, NULL, temp_path(names[format]), (dt_model_format)format, DT_FILE_F32,
                               &pair, pairs);
                model_path(path, temp_path(names[format]), &context.error);
                fixture_load(&context, &back, &info, path);
                no_failure();
                assert_same_model(&m, &back);
                assert_int_equal(info.class_name_count, pairs ? 3 : 0);
                model_info_free(&info);
            }
        arena_clear(&context.model);
    }
}

static void heads_are_left_out_where_the_width_tells_them(void **state)
{
    (void)state;
    for (int heads = 1; heads <= 2; heads++) {
        dit m;
        tensor_file f;
        dit_config config = fixture_config();
        config.hidden = 128;
        config.heads = heads;
        dit_open(&context, &m, &config);
        fixture_randomise(&context, &m, 5);
        fixture_export(&context, &m, NULL, temp_path("bare"), DT_MODEL_SAFETENSORS, DT_FILE_F32, NULL, 0);
        tensor_file_open(&f, temp_path("bare"), &context.error);
        no_failure();
        assert_int_equal(json_object_size(f.metadata), heads == 2 ? 0 : 1);
        tensor_file_close(&f);
        arena_clear(&context.model);
    }
}

/* ---- a folder of diffusers ---- */

static void make_folder(const char *name, uint64_t seed)
{
    dit m;
    dit_config config = fixture_config();
    dit_open(&context, &m, &config);
    fixture_randomise(&context, &m, seed);
    fixture_export(&context, &m, NULL, temp_path(name), DT_MODEL_DIFFUSERS, DT_FILE_F32, NULL, 0);
    no_failure();
    arena_clear(&context.model);
}

static void a_folder_is_replaced_as_a_whole_and_never_a_strangers(void **state)
{
    (void)state;
    make_folder("replaced", 1);
    file_hash first = fixture_tree("replaced");
    size_t before = temp_count();
    make_folder("replaced", 2);
    file_hash second = fixture_tree("replaced");
    assert_string_not_equal(first.hex, second.hex);
    assert_int_equal(temp_count(), before); /* nothing set aside is left */
    temp_write("replaced/notes.txt", "mine", 4);
    dit m;
    dit_config config = fixture_config();
    dit_open(&context, &m, &config);
    fixture_randomise(&context, &m, 3);
    file_hash kept = fixture_tree("replaced");
    assert_int_equal(
        fixture_export(&context, &m, NULL, temp_path("replaced"), DT_MODEL_DIFFUSERS, DT_FILE_F32, NULL, 0),
        DT_ERR_CONFLICT);
    assert_says(context.error.message, "notes.txt");
    assert_same_bits(fixture_tree("replaced"), kept);
    assert_int_equal(temp_count(), before);
}

static void other_positions_are_refused(void **state)
{
    (void)state;
    dit m;
    dit_config config = fixture_config();
    dit_open(&context, &m, &config);
    fixture_randomise(&context, &m, 3);
    m.pos_embed->data[7] += 0.02f;
    assert_int_equal(fixture_export(&context, &m, NULL, temp_path("moved"), DT_MODEL_DIFFUSERS, DT_FILE_F32, NULL, 0),
                     DT_ERR_UNSUPPORTED);
    assert_says(context.error.message, "pos_embed");
    assert_false(file_exists(temp_path("moved")));
}

/* Loads "odd" with its config.json changed: the first `from` becomes `to`. */
static void assert_config_refused(const char *from, const char *to, dt_status status, const char *says)
{
    char *text, changed[4096];
    size_t size;
    dit m;
    make_folder("odd", 4);
    assert_int_equal(file_read_all(&text, &size, temp_path("odd/config.json"), 1 << 16, &context.error), DT_OK);
    char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    temp_write("odd/config.json", changed, strlen(changed));
    free(text);
    dt_status found = fixture_load(&context, &m, NULL, temp_path("odd/" DIFFUSERS_WEIGHTS));
    if (found != status) fail_msg("%s instead of %s: status %d, %s", to, from, found, context.error.message);
    assert_says(context.error.message, says);
    error_clear(&context.error);
    arena_clear(&context.model);
}

static void a_config_that_lies_is_named(void **state)
{
    (void)state;
    assert_config_refused("\"sample_size\": 16", "\"sample_size\": 18", DT_ERR_FORMAT, "sample_size");
    assert_config_refused("\"sample_size\": 16", "\"sample_size\": 0", DT_ERR_FORMAT, "sample_size");
    assert_config_refused("\"sample_size\": 16", "\"sample_size\": 1048576", DT_ERR_FORMAT, "sample_size");
    assert_config_refused("\"sample_size\": 16", "\"sample_size\": \"16\"", DT_ERR_FORMAT, "sample_size");
    assert_config_refused("\"patch_size\": 4", "\"patch_size\": 2.5", DT_ERR_FORMAT, "patch_size");
    assert_config_refused("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", DT_ERR_SHAPE,
                          "num_attention_heads");
    assert_config_refused("\"num_attention_heads\"", "\"heads\"", DT_ERR_FORMAT, "num_attention_heads");
    assert_config_refused("ada_norm_zero", "layer_norm", DT_ERR_UNSUPPORTED, "norm_type");
    assert_config_refused("gelu-approximate", "gelu", DT_ERR_UNSUPPORTED, "activation_fn");
    assert_config_refused("{", "[{", DT_ERR_FORMAT, "JSON");
}

static void weights_without_their_config_are_refused(void **state)
{
    (void)state;
    dit m;
    make_folder("alone", 4);
    assert_int_equal(file_rename(temp_path("alone/config.json"), temp_path("elsewhere.json"), &context.error), DT_OK);
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("alone/" DIFFUSERS_WEIGHTS)), DT_ERR_IO);
    assert_says(context.error.message, "alone/config.json");
}

enum { ENTRIES_MAX = 128 };

/* Writes the tensors of "sound" as "spoiled", with the one called `name` changed by `change`, and loads that. */
typedef void change_tensor(tensor_source *s);

static void assert_tensors_refused(const char *name, change_tensor *change, const char *says)
{
    tensor_file f;
    tensor_source source[ENTRIES_MAX];
    dit m;
    assert_int_equal(tensor_file_open(&f, temp_path("sound/" DIFFUSERS_WEIGHTS), &context.error), DT_OK);
    assert_true(f.count <= ENTRIES_MAX);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        source[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = e->data};
        if (!strcmp(e->name, name)) change(&source[i]);
    }
    assert_int_equal(
        safetensors_write(temp_path("spoiled/" DIFFUSERS_WEIGHTS), source, f.count, NULL, 0, NULL, &context.error),
        DT_OK);
    tensor_file_close(&f);
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("spoiled/" DIFFUSERS_WEIGHTS)), DT_ERR_SHAPE);
    assert_says(context.error.message, says);
    error_clear(&context.error);
    arena_clear(&context.model);
}

static void rename_it(tensor_source *s)
{
    s->name = "transformer_blocks.0.stranger";
}

static void cut_it(tensor_source *s)
{
    static int64_t dims[4];
    memcpy(dims, s->dims, (size_t)s->dim_count * sizeof *dims);
    dims[0] /= 2;
    s->dims = dims;
}

static void change_its_values(tensor_source *s)
{
    static float other[1 << 16];
    other[3] = 5;
    s->data = other;
}

static void tensors_that_do_not_fit_are_named(void **state)
{
    (void)state;
    make_folder("sound", 4);
    make_folder("spoiled", 4);
    assert_tensors_refused("transformer_blocks.1.attn1.to_k.weight", rename_it, "blocks.1.attn1.to_k.weight");
    assert_tensors_refused("transformer_blocks.1.attn1.to_k.weight", cut_it,
                           "another shape than transformer_blocks.1.attn1.to_q.weight");
    assert_tensors_refused("transformer_blocks.1.attn1.to_v.bias", rename_it, "to_v.bias");
    assert_tensors_refused("proj_out_2.bias", rename_it, "proj_out_2.bias");
    assert_tensors_refused("transformer_blocks.0.ff.net.2.bias", cut_it, "mlp.fc2.bias");
    assert_tensors_refused("transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight", change_its_values,
                           "differs from block 0's");
    assert_tensors_refused("pos_embed.proj.bias", cut_it, "num_attention_heads");
}

static void a_tensor_too_many_is_named(void **state)
{
    (void)state;
    tensor_file f;
    tensor_source source[ENTRIES_MAX];
    dit m;
    make_folder("more", 4);
    assert_int_equal(tensor_file_open(&f, temp_path("more/" DIFFUSERS_WEIGHTS), &context.error), DT_OK);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        source[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .data = e->data};
    }
    source[f.count] = source[0];
    source[f.count].name = "lora.weight";
    safetensors_write(temp_path("more/" DIFFUSERS_WEIGHTS), source, f.count + 1, NULL, 0, NULL, &context.error);
    tensor_file_close(&f);
    no_failure();
    assert_int_equal(fixture_load(&context, &m, NULL, temp_path("more/" DIFFUSERS_WEIGHTS)), DT_ERR_SHAPE);
    assert_says(context.error.message, "lora.weight");
}

/* ---- the result of a run ---- */

static void a_run_leaves_another_format_too(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("run");
    s.max_train_steps = 1;
    s.save_model_as = DT_MODEL_DIFFUSERS;
    fixture_train_to_the_end(&s);
    s.save_model_as = DT_MODEL_PT; /* does not make it another run */
    fixture_train_to_the_end(&s);
    dit first, other;
    model_info info = {0};
    fixture_load(&context, &first, &info, temp_path("run/final/model.safetensors"));
    no_failure();
    assert_string_equal(json_string_value(json_object_get(info.metadata, "difftune.images")), "12");
    assert_string_equal(json_string_value(json_object_get(info.metadata, "difftune.bank_images")), "9");
    model_info_free(&info);
    fixture_load(&context, &other, &info, temp_path("run/final/model.pt"));
    no_failure();
    assert_same_model(&first, &other);
    assert_string_equal(json_string_value(json_object_get(info.metadata, "difftune.preset")), "paper");
    assert_int_equal(info.class_name_count, FIXTURE_CLASSES);
    model_info_free(&info);
    fixture_load(&context, &other, NULL, temp_path("run/final/transformer/" DIFFUSERS_WEIGHTS));
    no_failure();
    assert_same_model(&first, &other);
}

static void metadata_can_be_left_out(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("silent");
    tensor_file f;
    s.max_train_steps = 1;
    s.metadata = false;
    fixture_train_to_the_end(&s);
    assert_int_equal(tensor_file_open(&f, temp_path("silent/final/model.safetensors"), &context.error), DT_OK);
    assert_int_equal(json_object_size(f.metadata), 1); /* 2 heads do not follow from a width of 32 */
    assert_string_equal(tensor_file_metadata(&f, "difftune.heads"), "2");
    tensor_file_close(&f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, context_make, context_remove)
    const struct CMUnitTest tests[] = {
        TEST(every_format_comes_back),
        TEST(heads_are_left_out_where_the_width_tells_them),
        TEST(a_folder_is_replaced_as_a_whole_and_never_a_strangers),
        TEST(other_positions_are_refused),
        TEST(a_config_that_lies_is_named),
        TEST(weights_without_their_config_are_refused),
        TEST(tensors_that_do_not_fit_are_named),
        TEST(a_tensor_too_many_is_named),
        TEST(a_run_leaves_another_format_too),
        TEST(metadata_can_be_left_out),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
