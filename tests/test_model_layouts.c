/* Where the network is in other programs' files: names before its own, averages beside it, variants, shards, checkpoints; and
 * what a file does not say. */
#include "context_fixture.h"
#include "file/folder.h"
#include "run_fixture.h"

#include "container/safetensors.h"
#include "container/tensor_open.h"

static char said[1024];

static void hear(void *user, const char *line)
{
    (void)user;
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", line);
}

static const dt_observer observer = {.log = hear};

/* Opens the model; the first value of its label table tells which weights those are. */
static dt_status open_as(const char *name, dt_file_weights weights, int64_t heads, float *first, int64_t *found_heads)
{
    model_file f;
    dit_config k;
    const model_choice choice = {.weights = weights, .heads = heads, .observer = &observer};
    said[0] = '\0';
    error_clear(&context.error);
    if (model_file_open_as(&f, temp_path(name), &choice, model_kinds_all, &context.error) != DT_OK)
        return context.error.status;
    const tensor_entry *e = tensor_file_find(&f.tensors, "y_embedder.embedding_table.weight");
    assert_non_null(e);
    memcpy(first, e->data, sizeof *first);
    assert_int_equal(dit_file_config(&k, &f.tensors, &context.error), DT_OK);
    *found_heads = k.heads;
    model_file_close(&f);
    return DT_OK;
}

static void must_open(const char *name, dt_file_weights weights, float expected)
{
    float first = 0;
    int64_t heads;
    if (open_as(name, weights, 0, &first, &heads) != DT_OK) fail_msg("%s: %s", name, context.error.message);
    if (first != expected) fail_msg("%s: %g instead of %g", name, (double)first, (double)expected);
}

enum { SETS_MAX = 3 };

/* Writes the base's tensors once for each prefix; of copy i the label table begins with i + 1. */
static void write_copies(const char *name, const char *const prefix[], const metadata_pair *metadata)
{
    enum { NAME = 128, TENSORS = 64 };
    static char names[SETS_MAX * TENSORS][NAME];
    static float table[SETS_MAX][4096];
    tensor_source source[SETS_MAX * TENSORS] = {0};
    size_t count = 0;
    tensor_file f;
    error_clear(&context.error);
    assert_int_equal(tensor_file_open(&f, temp_path("base.safetensors"), &context.error), DT_OK);
    for (int copy = 0; prefix[copy]; copy++)
        for (size_t i = 0; i < f.count; i++) {
            const tensor_entry *e = &f.entries[i];
            snprintf(names[count], NAME, "%s%s", prefix[copy], e->name);
            source[count] = (tensor_source){.name = names[count],
                                            .dtype = SAFETENSORS_F32,
                                            .dim_count = e->dim_count,
                                            .dims = e->dims,
                                            .values = e->data};
            if (!strcmp(e->name, "y_embedder.embedding_table.weight")) {
                assert_true(e->bytes <= (int64_t)sizeof table[0]);
                memcpy(table[copy], e->data, (size_t)e->bytes);
                table[copy][0] = (float)(copy + 1);
                source[count].values = table[copy];
            }
            count++;
        }
    assert_int_equal(
        safetensors_write(temp_path(name), source, count, metadata, metadata != NULL, NULL, &context.error), DT_OK);
    tensor_file_close(&f);
}

static const metadata_pair four_heads = {"difftune.heads", "4"};

static void names_before_the_network_are_passed(void **state)
{
    (void)state;
    static const char *const before[] = {"",
                                         "module.",
                                         "_orig_mod.",
                                         "module._orig_mod.",
                                         "_orig_mod.module.",
                                         "state_dict.",
                                         "state_dict.model.",
                                         "state_dict.model._orig_mod.",
                                         "state_dict.net.",
                                         "model_state_dict.",
                                         "model_state_dict.module.",
                                         "model.",
                                         "net.",
                                         "ema.",
                                         "ema_model.",
                                         "ema.ema_model.",
                                         "ema.module."};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        write_copies("one.safetensors", (const char *const[]){before[i], NULL}, &four_heads);
        must_open("one.safetensors", DT_FILE_WEIGHTS_AUTO, 1);
    }
}

static void of_averages_and_weights_one_is_chosen_and_told(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {{"ema.", "model."},
                                           {"ema_model.", "model."},
                                           {"state_dict.ema_model.", "state_dict.net."},
                                           {"ema.ema_model.", "ema.online_model."},
                                           {"ema.module.", "model_state_dict.module."}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        write_copies("two.safetensors", pairs[i], &four_heads);
        must_open("two.safetensors", DT_FILE_WEIGHTS_AUTO, 1);
        assert_says(said, "the averaged weights are taken");
        must_open("two.safetensors", DT_FILE_WEIGHTS_EMA, 1);
        if (i == 3) continue; /* what is below ema. is asked for as such */
        must_open("two.safetensors", DT_FILE_WEIGHTS_MODEL, 2);
        assert_says(said, "the trained weights are taken");
    }
    float first;
    int64_t heads;
    write_copies("one.safetensors", (const char *const[]){"", NULL}, &four_heads);
    must_open("one.safetensors", DT_FILE_WEIGHTS_MODEL, 1);
    assert_int_equal(open_as("one.safetensors", DT_FILE_WEIGHTS_EMA, 0, &first, &heads), DT_ERR_ARG);
    assert_says(context.error.message, "file_weights ema");
}

/* The two are two models: a bank of one is not the other's. */
static void each_choice_has_a_hash_of_its_own(void **state)
{
    (void)state;
    denoiser d;
    char sha256[3][65];
    write_copies("two.safetensors", (const char *const[]){"ema.", "model.", NULL}, &four_heads);
    for (dt_file_weights w = DT_FILE_WEIGHTS_AUTO; w <= DT_FILE_WEIGHTS_MODEL; w++) {
        model_info info;
        const model_choice choice = {.weights = w};
        assert_int_equal(denoiser_load_as(&context, &d, &info, temp_path("two.safetensors"), &choice, model_kinds_all),
                         DT_OK);
        memcpy(sha256[w], info.sha256, sizeof sha256[w]);
        model_info_free(&info);
    }
    assert_string_equal(sha256[DT_FILE_WEIGHTS_AUTO], sha256[DT_FILE_WEIGHTS_EMA]);
    assert_string_not_equal(sha256[DT_FILE_WEIGHTS_AUTO], sha256[DT_FILE_WEIGHTS_MODEL]);
}

static void a_checkpoint_of_a_run_is_a_model(void **state)
{
    (void)state;
    assert_int_equal(file_make_dirs(temp_path("run/checkpoints/step-00000004"), &context.error), DT_OK);
    float first;
    int64_t heads;
    assert_int_equal(open_as("run", DT_FILE_WEIGHTS_AUTO, 0, &first, &heads), DT_ERR_IO);
    assert_says(context.error.message, "checkpoints/step-N");
    error_clear(&context.error);
    const char *const plain[] = {"", NULL};
    write_copies("run/checkpoints/step-00000004/ema.safetensors", plain, &four_heads);
    write_copies("run/checkpoints/step-00000004/model.safetensors", plain, &four_heads);
    temp_write("run/checkpoints/step-00000004/manifest.json", "{}", 2);
    must_open("run/checkpoints/step-00000004", DT_FILE_WEIGHTS_AUTO, 1);
    assert_says(said, "the averaged weights are taken");
    must_open("run/checkpoints/step-00000004", DT_FILE_WEIGHTS_EMA, 1);
    assert_int_equal(remove(temp_path("run/checkpoints/step-00000004/ema.safetensors")), 0);
    must_open("run/checkpoints/step-00000004", DT_FILE_WEIGHTS_MODEL, 1);
}

static void write_text(const char *name, const char *text)
{
    temp_write(name, text, strlen(text));
}

static void variants_and_shards_are_found(void **state)
{
    (void)state;
    const char *const plain[] = {"", NULL};
    float first;
    int64_t heads;
    assert_int_equal(file_make_dirs(temp_path("pipe/transformer"), &context.error), DT_OK);
    write_copies("pipe/transformer/diffusion_pytorch_model.fp16.safetensors", plain, &four_heads);
    must_open("pipe", DT_FILE_WEIGHTS_AUTO, 1);
    assert_says(said, "fp16");
    write_copies("pipe/transformer/diffusion_pytorch_model.bf16.safetensors", plain, &four_heads);
    assert_int_equal(open_as("pipe", DT_FILE_WEIGHTS_AUTO, 0, &first, &heads), DT_ERR_ARG);
    assert_says(context.error.message, "several variants");
    error_clear(&context.error);

    /* two shards: the base split in the middle */
    tensor_file f;
    static tensor_source source[64];
    char index[16384] = "{\"metadata\": {}, \"weight_map\": {";
    assert_int_equal(file_make_dirs(temp_path("shards"), &context.error), DT_OK);
    assert_int_equal(tensor_file_open(&f, temp_path("base.safetensors"), &context.error), DT_OK);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        source[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .values = e->data};
        snprintf(index + strlen(index), sizeof index - strlen(index), "%s\"%s\": \"m-%d-of-2.safetensors\"",
                 i ? "," : "", e->name, i < f.count / 2 ? 1 : 2);
    }
    strcat(index, "}}");
    const size_t half = f.count / 2;
    safetensors_write(temp_path("shards/m-1-of-2.safetensors"), source, half, &four_heads, 1, NULL, &context.error);
    safetensors_write(temp_path("shards/m-2-of-2.safetensors"), source + half, f.count - half, NULL, 0, NULL,
                      &context.error);
    tensor_file_close(&f);
    write_text("shards/diffusion_pytorch_model.safetensors.index.json", index);

    denoiser whole, parts;
    model_info info;
    denoiser_load(&context, &whole, NULL, temp_path("base.safetensors"), model_kinds_all);
    if (denoiser_load(&context, &parts, &info, temp_path("shards"), model_kinds_all) != DT_OK)
        fail_msg("%s", context.error.message);
    assert_int_equal(strlen(info.sha256), 64);
    model_info_free(&info);
    for (int i = 0; i < whole.params->count; i++) {
        const tensor *a = whole.params->row[i].tensor, *b = parts.params->row[i].tensor;
        assert_memory_equal(a->data, b->data, (size_t)tensor_count(a) * sizeof(real));
    }

    static const char *const wrong[] = {"{}",
                                        "{\"weight_map\": {}}",
                                        "{\"weight_map\": {\"a\": \"../base.safetensors\"}}",
                                        "{\"weight_map\": {\"a\": 3}}",
                                        "{\"weight_map\": {\"a\": \"missing\"}}",
                                        "{\"weight_map\": {\"a\": \"m-1-of-2.safetensors\"}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_text("shards/diffusion_pytorch_model.safetensors.index.json", wrong[i]);
        assert_int_not_equal(open_as("shards", DT_FILE_WEIGHTS_AUTO, 0, &first, &heads), DT_OK);
    }
}

static void heads_are_stated_asked_for_or_a_guess_that_is_told(void **state)
{
    (void)state;
    const char *const plain[] = {"", NULL};
    float first;
    int64_t heads;
    write_copies("silent.safetensors", plain, NULL);
    assert_int_equal(open_as("silent.safetensors", DT_FILE_WEIGHTS_AUTO, 4, &first, &heads), DT_OK);
    assert_int_equal(heads, 4);
    assert_null(strstr(said, "number of heads"));
    assert_says(said, "taken for a DiT"); /* nothing says that it is no SiT */
    open_as("silent.safetensors", DT_FILE_WEIGHTS_AUTO, 0, &first, &heads);
    assert_says(said, "its number of heads: ");
    write_copies("says.safetensors", plain, &four_heads);
    assert_int_equal(open_as("says.safetensors", DT_FILE_WEIGHTS_AUTO, 4, &first, &heads), DT_OK);
    assert_int_equal(open_as("says.safetensors", DT_FILE_WEIGHTS_AUTO, 2, &first, &heads), DT_ERR_ARG);
    assert_says(context.error.message, "states 4 heads, num_heads 2 was asked for");
    write_copies("ours.safetensors", plain, &(metadata_pair){"difftune.tool", "x"});
    open_as("ours.safetensors", DT_FILE_WEIGHTS_AUTO, 4, &first, &heads);
    assert_string_equal(said, "");
}

static int make_base(void **state)
{
    ctx own;
    dit m;
    const dit_config k = {.input_size = 8,
                          .patch = 4,
                          .channels = 3,
                          .hidden = 64,
                          .depth = 1,
                          .heads = 4,
                          .class_count = 3,
                          .learn_sigma = true};
    if (temp_folder_make(state) || ctx_open(&own, DT_DEVICE_CPU, 1, DT_ISA_AUTO) != DT_OK) return -1;
    dit_open(&own, &m, &k);
    fixture_randomise(&own, &m, 3);
    fixture_save(&own, &m, NULL, temp_path("base.safetensors"), DT_FILE_F32, NULL, 0);
    const dt_status status = own.error.status;
    ctx_close(&own);
    return status == DT_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_before_the_network_are_passed, context_make, context_remove),
        cmocka_unit_test_setup_teardown(of_averages_and_weights_one_is_chosen_and_told, context_make, context_remove),
        cmocka_unit_test_setup_teardown(each_choice_has_a_hash_of_its_own, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_checkpoint_of_a_run_is_a_model, context_make, context_remove),
        cmocka_unit_test_setup_teardown(variants_and_shards_are_found, context_make, context_remove),
        cmocka_unit_test_setup_teardown(heads_are_stated_asked_for_or_a_guess_that_is_told, context_make,
                                        context_remove),
    };
    return cmocka_run_group_tests_name("model layouts", tests, make_base, temp_folder_remove);
}
