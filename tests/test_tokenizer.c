/* CLIP's tokenizer against transformers' (vectors/make_clip_vectors.py), and files that are no vocabularies. With a path as its
 * argument the program prints the ids of the lines it reads: vectors/check_tokenizer.py. */
#include "context_fixture.h"
#include "file/folder.h"
#include "shared_data.h"
#include "temp_folder.h"

#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "model/sd/tokenizer.h"

enum { IDS_MAX = TOKENIZER_TEXT_MAX + 8 };

static int32_t ids[IDS_MAX];

static tokenizer open_at(const char *path)
{
    tokenizer t;
    if (tokenizer_open(&context, &t, path) != DT_OK) fail_msg("%s", context.error.message);
    return t;
}

static int64_t encode(const tokenizer *t, int64_t length, const char *text)
{
    int64_t wanted = 0;
    if (tokenizer_encode(&context, t, ids, length, text, &wanted) != DT_OK) fail_msg("%s", context.error.message);
    return wanted;
}

static char *read_text(const char *path)
{
    char *text;
    size_t size;
    if (file_read_all(&text, &size, path, 1 << 20, &context.error) != DT_OK) fail_msg("%s", context.error.message);
    return text;
}

/* ---- ids ---- */

/* Each line of lines.txt has the ids of the same line of the other file. */
static void check_lines(const tokenizer *t, const char *expected)
{
    char *lines = read_text("vectors/clip/lines.txt"), *numbers = read_text(expected), *number = numbers;
    int count = 0;
    for (char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1, count++) {
        *end = '\0';
        const int64_t wanted = encode(t, IDS_MAX, line);
        for (int64_t i = 0; i < wanted; i++)
            if (strtol(number, &number, 10) != ids[i]) fail_msg("line %d, id %d: %s", count + 1, (int)i, line);
        assert_int_equal(*number++, '\n');
    }
    assert_int_equal(*number, '\0');
    assert_true(count >= 100);
    free(lines);
    free(numbers);
}

static void ids_are_those_of_transformers(void **state)
{
    (void)state;
    const tokenizer t = open_at("vectors/clip/tokenizer");
    assert_int_equal(t.end, t.count - 1);
    assert_int_equal(t.start, t.count - 2);
    check_lines(&t, "vectors/clip/ids.txt");
}

static void ids_of_the_whole_vocabulary_are_those_of_transformers(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    shared_path(path, "weights/clip/bpe_simple_vocab_16e6.txt.gz");
    const tokenizer t = open_at(path);
    assert_int_equal(t.count, 49408);
    assert_int_equal(t.merge_count, 48894);
    check_lines(&t, "vectors/clip/ids_openai.txt");
    assert_int_equal(encode(&t, 77, "a photo of an astronaut riding a horse on mars"), 12);
    static const int32_t expected[] = {49406, 320, 1125, 539, 550, 18376, 6765, 320, 4558, 525, 7496, 49407, 49407};
    assert_memory_equal(ids, expected, sizeof expected);
}

/* openai's list, plain and packed, and tokenizer.json are the same vocabulary as the pair of files. */
static void every_layout_is_the_same_vocabulary(void **state)
{
    (void)state;
    char whole[DT_PATH_MAX];
    const tokenizer pair = open_at("vectors/clip/tokenizer"), plain = open_at("vectors/clip/bpe.txt");
    assert_string_equal(pair.sha256, plain.sha256);
    char *list = read_text("vectors/clip/bpe.txt"), *vocabulary = read_text("vectors/clip/tokenizer/vocab.json");
    gzFile packed = gzopen(temp_path("bpe.txt.gz"), "wb");
    assert_int_equal(gzwrite(packed, list, (unsigned)strlen(list)), strlen(list));
    assert_int_equal(gzclose(packed), Z_OK);
    assert_string_equal(open_at(temp_path("bpe.txt.gz")).sha256, pair.sha256);

    assert_int_equal(file_make_dirs(temp_path("whole/tokenizer"), &context.error), DT_OK);
    FILE *out = fopen(temp_path("whole/tokenizer/tokenizer.json"), "w");
    fprintf(out, "{\"model\": {\"vocab\": %s, \"merges\": [", vocabulary);
    char *line = list + strcspn(list, "\n") + 1;
    for (int i = 0; *line; i++) {
        const int left = (int)strcspn(line, " "), length = (int)strcspn(line, "\n");
        if (i % 2) /* both spellings */
            fprintf(out, ",\"%.*s\"", length, line);
        else
            fprintf(out, "%s[\"%.*s\", \"%.*s\"]", i ? "," : "", left, line, length - left - 1, line + left + 1);
        line += length + 1;
    }
    fputs("]}}", out);
    assert_int_equal(fclose(out), 0);
    assert_true(tokenizer_find(whole, temp_path("whole")));
    assert_string_equal(open_at(whole).sha256, pair.sha256);
    free(list);
    free(vocabulary);
}

static void what_is_too_long_is_cut_and_told(void **state)
{
    (void)state;
    const tokenizer t = open_at("vectors/clip/tokenizer");
    const int64_t all = encode(&t, IDS_MAX, "a photo of a cat on a sofa");
    int32_t whole[64];
    memcpy(whole, ids, sizeof whole);
    for (int64_t length = 2; length < all; length++) {
        assert_int_equal(encode(&t, length, "a photo of a cat on a sofa"), all);
        assert_memory_equal(ids, whole, (size_t)(length - 1) * sizeof *ids);
        assert_int_equal(ids[length - 1], t.end);
    }
    assert_int_equal(encode(&t, all + 3, "a photo of a cat on a sofa"), all);
    for (int64_t i = all - 1; i < all + 3; i++) assert_int_equal(ids[i], t.end);
    assert_int_equal(encode(&t, 8, " \t\n "), 2);
    assert_int_equal(ids[0], t.start);
}

/* Merging a word takes no more than its length times its logarithm: the longest text is one word. */
static void long_words_are_no_burden(void **state)
{
    (void)state;
    const tokenizer t = open_at("vectors/clip/tokenizer");
    char *text = calloc(1, TOKENIZER_TEXT_MAX + 2);
    memset(text, 'o', TOKENIZER_TEXT_MAX);
    assert_true(encode(&t, IDS_MAX, text) > 2);
    text[TOKENIZER_TEXT_MAX] = 'o';
    int64_t wanted;
    assert_int_equal(tokenizer_encode(&context, &t, ids, 77, text, &wanted), DT_ERR_ARG);
    assert_non_null(strstr(context.error.message, "at most 65536 bytes"));
    free(text);
}

static void text_must_be_utf8(void **state)
{
    (void)state;
    int64_t wanted;
    const tokenizer t = open_at("vectors/clip/tokenizer");
    assert_int_equal(tokenizer_encode(&context, &t, ids, 77, "a \xff", &wanted), DT_ERR_ARG);
    assert_non_null(strstr(context.error.message, "UTF-8"));
}

/* ---- files that are none ---- */

static void put_file(const char *name, const char *text)
{
    if (file_write_atomic(temp_path(name), text, strlen(text), &context.error) != DT_OK)
        fail_msg("%s", context.error.message);
}

static void refused(const char *path, dt_status status, const char *part)
{
    tokenizer t;
    assert_int_equal(tokenizer_open(&context, &t, path), status);
    if (!strstr(context.error.message, part)) fail_msg("%s: %s expected", context.error.message, part);
    error_clear(&context.error);
}

static void pair_is_refused(const char *vocabulary, const char *merges, const char *part)
{
    assert_int_equal(file_make_dirs(temp_path("pair"), &context.error), DT_OK);
    put_file("pair/vocab.json", vocabulary);
    put_file("pair/merges.txt", merges);
    refused(temp_path("pair"), DT_ERR_FORMAT, part);
}

#define ENDS "\"<|startoftext|>\": 0, \"<|endoftext|>\": 1"

static void broken_vocabularies_are_refused(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(temp_path("pipe.txt"), 0600), 0);
    refused(temp_path("pipe.txt"), DT_ERR_IO, "pipe");
    pair_is_refused("[]", "", "vocab.json");
    pair_is_refused("{}", "", "<|startoftext|>");
    pair_is_refused("{\"a\": 0}", "", "<|startoftext|>");
    pair_is_refused("{" ENDS ", \"a\": 1}", "", "each once");
    pair_is_refused("{" ENDS ", \"a\": 3}", "", "each once");
    pair_is_refused("{" ENDS ", \"a\": -1}", "", "each once");
    pair_is_refused("{" ENDS ", \"a\": \"2\"}", "", "each once");
    pair_is_refused("{" ENDS ", \"a\": 2}", "#version: 0.2\na\n", "merge 1: two parts");
    pair_is_refused("{" ENDS ", \"a\": 2}", "a a a\n", "two parts");
    pair_is_refused("{" ENDS ", \"a\": 2}", "a a\n", "merge 1, \"a a\"");
    pair_is_refused("{" ENDS ", \"a\": 2, \"aa\": 3}", "a a\na a\n", "twice");
    put_file("pair/tokenizer_config.json", "{\"pad_token\": \"!\"}");
    refused(temp_path("pair"), DT_ERR_UNSUPPORTED, "Stable Diffusion 2");
    put_file("pair/tokenizer_config.json", "{\"pad_token\": {\"content\": \"!\"}}");
    refused(temp_path("pair"), DT_ERR_UNSUPPORTED, "Stable Diffusion 2");
    refused(temp_path("nothing"), DT_ERR_IO, "nothing");
    refused(temp_path(""), DT_ERR_IO, "tokenizer.json");
    put_file("no.gz", "\x1f\x8b\x08 is not packed");
    refused(temp_path("no.gz"), DT_ERR_FORMAT, "cannot be unpacked");
    put_file("words", "heading\nno\n");
    refused(temp_path("words"), DT_ERR_FORMAT, "merge 1: two parts");
}

/* ---- for check_tokenizer.py ---- */

static int print_ids(const char *path)
{
    char *line = NULL;
    size_t room = 0;
    if (context_make(NULL)) return 1;
    const tokenizer t = open_at(path);
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0;) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        const int64_t wanted = encode(&t, IDS_MAX, line);
        for (int64_t i = 0; i < wanted; i++) printf("%s%d", i ? " " : "", (int)ids[i]);
        puts("");
    }
    free(line);
    return context_remove(NULL);
}

int main(int count, char **argument)
{
    if (count == 2) return print_ids(argument[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ids_are_those_of_transformers, context_make, context_remove),
        cmocka_unit_test_setup_teardown(ids_of_the_whole_vocabulary_are_those_of_transformers, context_make,
                                        context_remove),
        cmocka_unit_test_setup_teardown(every_layout_is_the_same_vocabulary, context_make, context_remove),
        cmocka_unit_test_setup_teardown(what_is_too_long_is_cut_and_told, context_make, context_remove),
        cmocka_unit_test_setup_teardown(long_words_are_no_burden, context_make, context_remove),
        cmocka_unit_test_setup_teardown(text_must_be_utf8, context_make, context_remove),
        cmocka_unit_test_setup_teardown(broken_vocabularies_are_refused, context_make, context_remove),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
