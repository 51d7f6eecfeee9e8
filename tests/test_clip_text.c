/* CLIP's text encoder and prompts against transformers' (vectors/make_clip_vectors.py): every layout of files, batches, and files
 * that do not fit. With a model and a vocabulary as its arguments the program writes the contexts of the lines it reads, as 32-bit
 * floats: vectors/check_text_encoder.py. */
#include "context_fixture.h"
#include "file/folder.h"
#include "temp_folder.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "container/safetensors.h"
#include "container/tensor_open.h"
#include "model/sd/prompt.h"

enum { TOKENS = 77, WIDTH = 16, VALUES = TOKENS * WIDTH, PROMPTS = 3, TENSORS_MAX = 64 };

/* As make_clip_vectors.py has them. */
#define LONG "A high-quality, detailed, and professional image! "
static const char *const prompts[PROMPTS] = {"", "a photo of a cat", LONG LONG LONG LONG LONG LONG LONG LONG LONG};

static tensor_file open_file(const char *path)
{
    tensor_file f;
    if (tensor_file_open(&f, path, &context.error) != DT_OK) fail_msg("%s", context.error.message);
    return f;
}

static void read_expected(float *out, const char *name)
{
    tensor_file f = open_file("vectors/clip/expected.safetensors");
    const tensor_entry *e = tensor_file_find(&f, name);
    assert_non_null(e);
    assert_int_equal(e->count, PROMPTS * VALUES);
    assert_int_equal(tensor_read_f32(out, e, &context.error), DT_OK);
    tensor_file_close(&f);
}

static void check_near(const float *found, const float *expected)
{
    float largest = 0, off = 0;
    for (int i = 0; i < PROMPTS * VALUES; i++) {
        largest = fmaxf(largest, fabsf(expected[i]));
        off = fmaxf(off, fabsf(found[i] - expected[i]));
    }
    assert_true(off <= 1e-5F * largest);
}

/* ---- folders and checkpoints made from the vectors ---- */

static void put_text(const char *name, const char *text)
{
    if (file_write_atomic(temp_path(name), text, strlen(text), &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
}

static void copy_vector(const char *name, const char *from)
{
    char path[128], *data;
    size_t size;
    snprintf(path, sizeof path, "vectors/clip/%s", from);
    assert_int_equal(file_read_all(&data, &size, path, 1 << 20, &context.error), DT_OK);
    assert_int_equal(file_write_atomic(temp_path(name), data, size, &context.error), DT_OK);
    free(data);
}

static void make_folder(const char *name)
{
    if (file_make_dirs(temp_path(name), &context.error) != DT_OK) fail_msg("%s", context.error.message);
}

/* The vectors' weights with this before each name; without the tensor `left_out`, and with `more` beside (NULL: none). */
static void write_weights(const char *path, const char *prefix, const char *left_out, const char *more)
{
    static char name[TENSORS_MAX][160];
    static const int64_t one = 1;
    static const float zero;
    tensor_source source[TENSORS_MAX];
    size_t count = 0;
    tensor_file f = open_file("vectors/clip/text_encoder/model.safetensors");
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        if (left_out && !strcmp(e->name, left_out)) continue;
        float *values = arena_alloc(&context.model, (size_t)e->count * sizeof *values, &context.error);
        assert_int_equal(tensor_read_f32(values, e, &context.error), DT_OK);
        snprintf(name[count], sizeof name[count], "%s%s", prefix, e->name);
        source[count] = (tensor_source){.name = name[count],
                                        .dtype = SAFETENSORS_F32,
                                        .dim_count = e->dim_count,
                                        .dims = e->dims,
                                        .values = values};
        count++;
    }
    if (more)
        source[count++] =
            (tensor_source){.name = more, .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &one, .values = &zero};
    if (safetensors_write(temp_path(path), source, count, NULL, 0, NULL, &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
    tensor_file_close(&f);
}

static prompt_encoder open_encoder(const char *path, const char *vocabulary)
{
    prompt_encoder p;
    if (prompt_encoder_open(&context, &p, path, vocabulary) != DT_OK) fail_msg("%s", context.error.message);
    return p;
}

static void refused(const char *path, dt_status status, const char *part)
{
    prompt_encoder p;
    assert_int_equal(prompt_encoder_open(&context, &p, path, "vectors/clip/tokenizer"), status);
    if (!strstr(context.error.message, part)) fail_msg("%s: %s expected", context.error.message, part);
    error_clear(&context.error);
}

/* ---- the tests ---- */

static void contexts_are_those_of_transformers(void **state)
{
    (void)state;
    static float found[PROMPTS * VALUES], expected[PROMPTS * VALUES];
    int64_t cut;
    const prompt_encoder p = open_encoder("vectors/clip", "");
    assert_int_equal(p.tokens, TOKENS);
    assert_int_equal(p.width, WIDTH);
    assert_int_equal(prompt_encode(&context, &p, found, prompts, PROMPTS), DT_OK);
    read_expected(expected, "quick_gelu");
    check_near(found, expected);
    assert_int_equal(prompt_count_cut(&context, &p, &cut, prompts, PROMPTS), DT_OK);
    assert_int_equal(cut, 1);
}

static void gelu_is_as_it_is_defined(void **state)
{
    (void)state;
    static float found[PROMPTS * VALUES], expected[PROMPTS * VALUES];
    make_folder("gelu");
    copy_vector("gelu/model.safetensors", "text_encoder/model.safetensors");
    put_text("gelu/config.json", "{\"num_attention_heads\": 2, \"hidden_act\": \"gelu\"}");
    const prompt_encoder p = open_encoder(temp_path("gelu"), "vectors/clip/bpe.txt");
    const prompt_encoder quick = open_encoder("vectors/clip/text_encoder", "");
    assert_int_equal(prompt_encode(&context, &p, found, prompts, PROMPTS), DT_OK);
    read_expected(expected, "gelu");
    check_near(found, expected);
    assert_string_not_equal(p.sha256, quick.sha256);
}

/* A checkpoint states no heads: of this width there is one. */
static void checkpoints_have_the_same_network(void **state)
{
    (void)state;
    static float found[2][VALUES];
    char sha256[65];
    static const char *const prefix[] = {"", "text_model.", "cond_stage_model.transformer.text_model.",
                                         "cond_stage_model.transformer.",
                                         "state_dict.cond_stage_model.transformer.text_model."};
    make_folder("base/tokenizer");
    copy_vector("base/tokenizer/vocab.json", "tokenizer/vocab.json");
    copy_vector("base/tokenizer/merges.txt", "tokenizer/merges.txt");
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
        char ids[128];
        snprintf(ids, sizeof ids, "%sembeddings.position_ids", prefix[i]);
        write_weights("base/sd.safetensors", prefix[i], NULL, i % 2 ? ids : NULL);
        const prompt_encoder p = open_encoder(temp_path("base/sd.safetensors"), "");
        assert_int_equal(prompt_encode(&context, &p, found[i > 0], &prompts[1], 1), DT_OK);
        if (i) assert_memory_equal(found[0], found[1], sizeof found[0]);
        if (i) assert_string_equal(p.sha256, sha256);
        memcpy(sha256, p.sha256, sizeof sha256);
    }
}

/* More prompts than a batch has; each gives the bits that it gives alone. */
static void a_batch_changes_nothing(void **state)
{
    (void)state;
    enum { MANY = 19 };
    static float all[MANY * VALUES], one[VALUES];
    const char *text[MANY];
    for (int i = 0; i < MANY; i++) text[i] = prompts[i % PROMPTS];
    const prompt_encoder p = open_encoder("vectors/clip", "");
    const size_t step = context.step.used, scratch = context.scratch.used;
    assert_int_equal(prompt_encode(&context, &p, all, text, MANY), DT_OK);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(prompt_encode(&context, &p, one, &text[i], 1), DT_OK);
        assert_memory_equal(one, all + i * VALUES, sizeof one);
    }
    assert_int_equal(context.step.used, step);
    assert_int_equal(context.scratch.used, scratch);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    write_weights("a.safetensors", "text_model.", "final_layer_norm.bias", NULL);
    refused(temp_path("a.safetensors"), DT_ERR_SHAPE, "final_layer_norm.bias");
    write_weights("a.safetensors", "text_model.", NULL, "text_model.more.weight");
    refused(temp_path("a.safetensors"), DT_ERR_SHAPE, "more.weight");
    write_weights("a.safetensors", "cond_stage_model.model.transformer.resblocks.", NULL, NULL);
    refused(temp_path("a.safetensors"), DT_ERR_UNSUPPORTED, "Stable Diffusion 2");
    write_weights("a.safetensors", "conditioner.embedders.0.transformer.text_model.", NULL, NULL);
    refused(temp_path("a.safetensors"), DT_ERR_UNSUPPORTED, "Stable Diffusion XL");
    write_weights("a.safetensors", "vision_model.", NULL, NULL);
    refused(temp_path("a.safetensors"), DT_ERR_FORMAT, "text encoder expected");

    make_folder("f");
    copy_vector("f/model.safetensors", "text_encoder/model.safetensors");
    put_text("f/config.json", "{\"num_attention_heads\": 3}");
    refused(temp_path("f"), DT_ERR_SHAPE, "3 heads");
    put_text("f/config.json", "{\"num_attention_heads\": 2, \"num_hidden_layers\": 1}");
    refused(temp_path("f"), DT_ERR_UNSUPPORTED, "num_hidden_layers 1");
    put_text("f/config.json", "{\"hidden_act\": \"relu\"}");
    refused(temp_path("f"), DT_ERR_UNSUPPORTED, "relu");
    put_text("f/config.json", "{\"hidden_act\": \"gelu\", \"hidden_size\": 1024}");
    refused(temp_path("f"), DT_ERR_UNSUPPORTED, "Stable Diffusion 2");
    make_folder("xl/text_encoder_2");
    refused(temp_path("xl"), DT_ERR_UNSUPPORTED, "Stable Diffusion XL");
}

static void a_tokenizer_of_another_encoder_is_refused(void **state)
{
    (void)state;
    prompt_encoder p;
    char *list;
    size_t size;
    assert_int_equal(file_read_all(&list, &size, "vectors/clip/bpe.txt", 1 << 20, &context.error), DT_OK);
    FILE *out = fopen(temp_path("more.txt"), "w");
    fprintf(out, "%sq q\n", list);
    assert_int_equal(fclose(out), 0);
    free(list);
    assert_int_equal(prompt_encoder_open(&context, &p, "vectors/clip", temp_path("more.txt")), DT_ERR_SHAPE);
    assert_non_null(strstr(context.error.message, "does not fit"));
    error_clear(&context.error);
    make_folder("alone");
    write_weights("alone/sd.safetensors", "text_model.", NULL, NULL);
    assert_int_equal(prompt_encoder_open(&context, &p, temp_path("alone/sd.safetensors"), ""), DT_ERR_IO);
    assert_non_null(strstr(context.error.message, "bpe_simple_vocab"));
}

/* ---- for check_text_encoder.py ---- */

static int write_contexts(const char *model, const char *vocabulary)
{
    char *line = NULL;
    size_t room = 0;
    if (context_make(NULL)) return 1;
    const prompt_encoder p = open_encoder(model, vocabulary);
    float *values = malloc((size_t)(p.tokens * p.width) * sizeof *values);
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        const char *text = line;
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        if (prompt_encode(&context, &p, values, &text, 1) != DT_OK) fail_msg("%s", context.error.message);
        fwrite(values, sizeof *values, (size_t)(p.tokens * p.width), stdout);
    }
    free(values);
    free(line);
    return context_remove(NULL);
}

int main(int count, char **argument)
{
    if (count == 3) return write_contexts(argument[1], argument[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(contexts_are_those_of_transformers, context_make, context_remove),
        cmocka_unit_test_setup_teardown(gelu_is_as_it_is_defined, context_make, context_remove),
        cmocka_unit_test_setup_teardown(checkpoints_have_the_same_network, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_batch_changes_nothing, context_make, context_remove),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, context_make, context_remove),
        cmocka_unit_test_setup_teardown(a_tokenizer_of_another_encoder_is_refused, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
