/* Captions and control pictures of a data set: every layout says the same, in a folder and in an archive; what cannot be had is
 * told, or under `strict` refused. */
#include "dataset_fixture.h"

enum { SIDE = 8 };

/* ---- taking control pictures ---- */

typedef struct taken {
    int64_t count;
    uint8_t shade[16];
    uint8_t content[16][DATASET_CONTENT];
} taken;

static bool knows_none(void *user, dataset_file *file)
{
    (void)user;
    (void)file;
    return false;
}

static dt_status take(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    taken *t = user;
    (void)err;
    assert_true(t->count < 16);
    t->shade[t->count] = rgb[0];
    memcpy(t->content[t->count++], file->content, DATASET_CONTENT);
    return DT_OK;
}

/* The shade of the control picture of picture i. */
static int control_shade(const taken *t, const dataset *d, int64_t i)
{
    for (int64_t k = 0; k < t->count; k++)
        if (!memcmp(t->content[k], d->control[i], DATASET_CONTENT)) return t->shade[k];
    fail_msg("picture %d has a control that was never handed over", (int)i);
    return -1;
}

/* ---- opening ---- */

typedef struct asked {
    taken taken;
    dataset_taker taker;
    dataset_wants wants;
    dataset_options options;
    char folder[512]; /* of control pictures */
} asked;

static void ask(asked *a, bool controls, const char *folder, bool strict)
{
    *a = (asked){.taker = {.user = &a->taken, .knows = knows_none, .take = take},
                 .wants = {.default_prompt = "a default", .control_folder = a->folder},
                 .options = {.resolution = SIDE, .background = "#ffffff", .threads = 2, .strict = strict}};
    if (folder) snprintf(a->folder, sizeof a->folder, "%s", folder);
    if (controls) a->wants.control_taker = &a->taker;
    a->options.wants = &a->wants;
}

static void assert_captions(const dataset *d, int64_t i, const char *const expected[], int64_t count)
{
    assert_int_equal(d->caption_first[i + 1] - d->caption_first[i], count);
    for (int64_t k = 0; k < count; k++) assert_string_equal(d->caption[d->caption_first[i] + k], expected[k]);
}

#define CAPTIONS(d, i, ...)                                                                                            \
    assert_captions(d, i, (const char *[]){__VA_ARGS__},                                                               \
                    (int64_t)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))

/* ---- layouts ---- */

typedef struct member {
    const char *name, *text; /* NULL: a picture */
    int shade;
} member;

static void put_members(const char *folder, const member members[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[200];
        snprintf(name, sizeof name, "%s/%s", folder, members[i].name);
        put(name, members[i].text ? text_file(members[i].text) : picture(members[i].shade, SIDE, SIDE));
    }
}

static void tar_members(const char *tar, const member members[], size_t count)
{
    struct archive *a = begin_tar(tar, GZIP);
    for (size_t i = 0; i < count; i++)
        add_to_tar(a, members[i].name,
                   members[i].text ? text_file(members[i].text) : picture(members[i].shade, SIDE, SIDE));
    end_tar(a);
}

static void texts_beside_pictures_are_their_captions(void **state)
{
    (void)state;
    static const member members[] = {{"a.png", NULL, 1},
                                     {"a.txt", "\xEF\xBB\xBF one cat \r\n\n  another\xC3\xA9 cat\n", 0},
                                     {"a.caption", "not this", 0},
                                     {"b.png", NULL, 2},
                                     {"b.caption", "a dog", 0},
                                     {"c.png", NULL, 3},
                                     {"c.json", "{\"width\": 8, \"caption\": [\"x\", \" y \"]}", 0},
                                     {"d.png", NULL, 4},
                                     {"e.left.png", NULL, 5},
                                     {"e.txt", "of its key", 0},
                                     {"notes.txt", "of no picture", 0}};
    asked a;
    put_members("set", members, sizeof members / sizeof *members);
    tar_members("set.tar.gz", members, sizeof members / sizeof *members);
    char sha[2][65];
    for (int archive = 0; archive < 2; archive++) {
        ask(&a, false, NULL, false);
        dataset d = open_with(temp_path(archive ? "set.tar.gz" : "set"), &a.options);
        assert_int_equal(d.count, 5);
        assert_int_equal(d.class_count, 1);
        CAPTIONS(&d, 0, "one cat", "another\xC3\xA9 cat");
        CAPTIONS(&d, 1, "a dog");
        CAPTIONS(&d, 2, "x", "y");
        CAPTIONS(&d, 3, "a default");
        CAPTIONS(&d, 4, "of its key");
        assert_int_equal(d.captioned, 4);
        assert_skipped(&d, "notes.txt", "of no picture");
        assert_int_equal(d.report.skip_count, 2); /* and the .caption that a .txt stands before */
        json_t *report = dataset_report_json(&d), *captions = json_object_get(report, "captions");
        assert_int_equal(json_integer_value(json_object_get(captions, "captions")), 6);
        assert_int_equal(json_integer_value(json_object_get(captions, "images")), 4);
        assert_int_equal(json_integer_value(json_object_get(captions, "default_prompt")), 1);
        assert_null(json_object_get(report, "controls"));
        json_decref(report);
        memcpy(sha[archive], d.sha256, sizeof sha[0]);
        dataset_close(&d);
    }
    assert_string_equal(sha[0], sha[1]);
    dataset d = open_with(temp_path("set"), &plain); /* who is told no captions */
    assert_null(d.caption_first);
    assert_skipped(&d, "a.txt", "a caption, which is not used");
    assert_skipped(&d, "notes.txt", "of no picture");
    dataset_close(&d);
    put("set/b.caption", text_file("a wolf")); /* another data set then */
    ask(&a, false, NULL, false);
    d = open_with(temp_path("set"), &a.options);
    assert_string_not_equal(d.sha256, sha[0]);
    dataset_close(&d);
}

/* Class folders stay classes where there are captions. */
static void lists_name_captions_and_control_pictures(void **state)
{
    (void)state;
    static const member members[] = {
        {"cat/1.png", NULL, 1},
        {"cat/2.png", NULL, 2},
        {"dog/1.png", NULL, 3},
        {"edges/1.png", NULL, 11},
        {"edges/2.png", NULL, 12},
        {"edges/3.png", NULL, 13},
        {"cat/1.txt", "less trusted", 0},
        {"metadata.jsonl",
         "{\"file_name\": \"cat/1.png\", \"text\": \"first\", \"conditioning_image\": \"edges/1.png\"}\n\n"
         "{\"file_name\": \"./cat//2.png\", \"text\": [\"a\", \"b\"], \"conditioning_image_file_name\": "
         "\"edges/2.png\"}\r\n"
         "{\"file_name\": \"dog/1.png\", \"prompt\": \"dog\", \"conditioning_image\": \"edges/3.png\"}",
         0}};
    asked a;
    put_members("set", members, sizeof members / sizeof *members);
    tar_members("set.tar.gz", members, sizeof members / sizeof *members);
    for (int archive = 0; archive < 2; archive++) {
        ask(&a, true, NULL, true);
        dataset d = open_with(temp_path(archive ? "set.tar.gz" : "set"), &a.options);
        assert_int_equal(d.count, 3);
        assert_int_equal(d.class_count, 2);
        assert_image(&d, 2, "dog/1.png", 1, 3);
        CAPTIONS(&d, 0, "first");
        CAPTIONS(&d, 1, "a", "b");
        CAPTIONS(&d, 2, "dog");
        for (int64_t i = 0; i < 3; i++) assert_int_equal(control_shade(&a.taken, &d, i), 11 + i);
        dataset_close(&d);
    }
    dataset d = open_with(temp_path("set"), &plain); /* control pictures are pictures for nobody */
    assert_int_equal(d.count, 3);
    assert_int_equal(d.class_count, 2);
    assert_skipped(&d, "metadata.jsonl", "a list, whose captions are not used");
    dataset_close(&d);
}

static void the_layout_of_controlnet_is_read(void **state)
{
    (void)state;
    static const member members[] = {
        {"source/0.png", NULL, 10},
        {"source/1.png", NULL, 11},
        {"target/0.png", NULL, 1},
        {"target/1.png", NULL, 2},
        {"prompt.json",
         "{\"source\": \"source/0.png\", \"target\": \"target/0.png\", \"prompt\": \"a circle\"}\n"
         "{\"source\": \"source/1.png\", \"target\": \"target/1.png\", \"prompt\": \"a square\"}\n",
         0}};
    asked a;
    tar_members("fill.tar.gz", members, sizeof members / sizeof *members);
    ask(&a, true, "", true);
    dataset d = open_with(temp_path("fill.tar.gz"), &a.options);
    assert_int_equal(d.count, 2);
    assert_int_equal(d.class_count, 1);
    for (int64_t i = 0; i < 2; i++) assert_int_equal(control_shade(&a.taken, &d, i), 10 + i);
    CAPTIONS(&d, 1, "a square");
    json_t *report = dataset_report_json(&d);
    assert_int_equal(json_integer_value(json_object_get(report, "controls")), 2);
    json_decref(report);
    dataset_close(&d);
}

/* Names are the same up to the extension; a split's name may be left out of the controls' folder. */
static void controls_may_lie_in_a_folder_beside(void **state)
{
    (void)state;
    asked a;
    put("set/train/cat/1.png", picture(1, SIDE, SIDE));
    put("set/train/cat/2.png", picture(2, SIDE, SIDE));
    put("set/train/dog/1.png", picture(3, SIDE, SIDE));
    put("set/val/dog/9.png", picture(9, SIDE, SIDE));
    put("edges/cat/1.bmp.png", picture(99, SIDE, SIDE)); /* of a picture 1.bmp */
    put("edges/cat/1.png", picture(11, 2 * SIDE, 2 * SIDE));
    put("edges/train/cat/2.png", picture(12, SIDE, SIDE));
    put("edges/dog/1.png", picture(13, SIDE, SIDE));
    put("edges/dog/broken.png", text_file("of no picture, so nobody reads it"));
    ask(&a, true, temp_path("edges"), true);
    dataset d = open_with(temp_path("set"), &a.options);
    assert_int_equal(d.count, 3);
    assert_int_equal(a.taken.count, 3);
    for (int64_t i = 0; i < 3; i++) assert_int_equal(control_shade(&a.taken, &d, i), 11 + i);
    dataset_close(&d);
    ask(&a, true, temp_path("set/val"), false);
    assert_fails(temp_path("set"), &a.options, DT_ERR_FORMAT, "not one of its pictures has a control picture");
}

/* ---- what cannot be had ---- */

typedef struct fault {
    const char *file, *text; /* what is put beside three pictures with captions */
    const char *told, *why;  /* what is skipped, and the reason, which strict refuses */
} fault;

static void broken_captions_are_told_or_refused(void **state)
{
    (void)state;
    static const fault faults[] = {
        {"a.txt", "caf\xE9", "a.txt", "not UTF-8"},
        {"a.txt", " \n\t\n", "a.txt", "an empty caption"},
        {"a.json", "{\"text\": 3}", "a.json", "neither a text nor an array"},
        {"a.json", "{\"text\": [\"x\", 3]}", "a.json", "neither a text nor an array"},
        {"a.json", "{\"text\"", "a.json", "no JSON object"},
        {"metadata.csv", "file_name,text\n", "metadata.csv", "metadata.jsonl"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n[]\n{}\n", "metadata.jsonl",
         "2 of its lines left out, line 2 first, which is no JSON object"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": {}}\n", "metadata.jsonl",
         "1 of its lines left out, line 1 first, which has a caption that is neither a text nor an array of texts"},
        {"metadata.jsonl", "\n{\"text\": \"x\"}\n", "metadata.jsonl", "line 2 first, which has no name of a picture"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"conditioning_image\": 1}\n", "metadata.jsonl",
         "line 1 first, which has a control picture that is no name"},
        {"metadata.jsonl", "{\"file_name\": \"../a.png\"}\n{\"file_name\": \"/etc/passwd\"}\n", "metadata.jsonl",
         "names 2 pictures that are not there, ../a.png first"},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"conditioning_image\": \"z.png\"}", "metadata.jsonl",
         "names 1 pictures that are not there, z.png first"},
    };
    asked a;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char set[32], name[80];
        snprintf(set, sizeof set, "set%d", (int)i);
        snprintf(name, sizeof name, "%s/a.png", set);
        put(name, picture(1, SIDE, SIDE));
        snprintf(name, sizeof name, "%s/%s", set, faults[i].file);
        put(name, text_file(faults[i].text));
        ask(&a, false, NULL, false);
        dataset d = open_with(temp_path(set), &a.options);
        assert_skipped(&d, faults[i].told, faults[i].why);
        assert_int_equal(d.count, 1);
        assert_int_equal(d.caption_first[1], 1);
        dataset_close(&d);
        ask(&a, false, NULL, true);
        assert_fails(temp_path(set), &a.options, DT_ERR_FORMAT, faults[i].why);
    }
    const struct {
        const char *file, *text;
        int64_t count;
    } half[] = {
        {"a.json", "{\"text\": [\"a\", 3]}", 2},
        {"metadata.jsonl", "{\"file_name\": \"a.png\", \"text\": [\"a\", 3], \"conditioning_image\": \"c.png\"}", 1},
        {"prompt.json", "{\"target\": \"a.png\", \"prompt\": \"a\", \"source\": [\"c.png\"]}", 2},
    };
    for (size_t i = 0; i < sizeof half / sizeof *half;
         i++) { /* of what is left out nothing is taken but that c.png is a control */
        char name[80];
        put("half/a.png", picture(1, SIDE, SIDE));
        put("half/c.png", picture(2, SIDE, SIDE));
        snprintf(name, sizeof name, "half/%s", half[i].file);
        put(name, text_file(half[i].text));
        ask(&a, false, NULL, false);
        dataset d = open_with(temp_path("half"), &a.options);
        assert_int_equal(d.count, half[i].count);
        CAPTIONS(&d, 0, "a default");
        dataset_close(&d);
        assert_int_equal(unlink(temp_path(name)), 0);
    }
    put("some/a.png", picture(1, SIDE, SIDE));
    put("some/b.png", picture(2, SIDE, SIDE));
    ask(&a, false, NULL, true);
    dataset d = open_with(temp_path("some"), &a.options); /* all are told the default prompt */
    CAPTIONS(&d, 1, "a default");
    dataset_close(&d);
    put("some/a.txt", text_file("a cat"));
    assert_fails(temp_path("some"), &a.options, DT_ERR_FORMAT, "b.png has no caption, and others have");
}

/* Controls in a folder of their own are no pictures of the set, whatever is wrong with one line, and make no class. */
static void a_control_that_is_left_over_is_no_picture(void **state)
{
    (void)state;
#define LINE(n) "{\"file_name\": \"" #n ".png\", \"text\": \"a\", \"conditioning_image\": \"c/" #n ".png\"}\n"
    static const struct {
        const char *list;
        int64_t pictures, controlled; /* of the set, and with a control */
        const char *told;             /* of the folder; NULL: nothing */
    } cases[] = {
        {LINE(1) LINE(2) LINE(3), 3, 3, NULL},
        {"\xef\xbb\xbf" LINE(1) LINE(2) LINE(3), 3, 3, NULL}, /* a byte order mark */
        {LINE(1) LINE(2) "{\"file_name\": \"3.png\", \"text\": 7, \"conditioning_image\": \"c/3.png\"}\n", 3, 2, NULL},
        {LINE(1) LINE(2) LINE(3) "{\"file_name\"", 3, 3, NULL},
        {LINE(1) LINE(2), 3, 2, "no list says whose 1 of its 3 are"},
        {LINE(1) LINE(2) "{\"file_name\": \"gone.png\", \"conditioning_image\": \"c/3.png\"}\n", 3, 2, NULL},
    };
#undef LINE
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        asked a;
        char set[32];
        const member members[] = {{"1.png", NULL, 1},
                                  {"2.png", NULL, 2},
                                  {"3.png", NULL, 3},
                                  {"c/1.png", NULL, 11},
                                  {"c/2.png", NULL, 12},
                                  {"c/3.png", NULL, 13},
                                  {"metadata.jsonl", cases[i].list, 0}};
        snprintf(set, sizeof set, "left-over-%d", (int)i);
        put_members(set, members, sizeof members / sizeof *members);
        for (int controls = 0; controls < 2; controls++) {
            ask(&a, controls, NULL, false);
            dataset d = open_with(temp_path(set), &a.options);
            assert_int_equal(d.count, controls ? cases[i].controlled : cases[i].pictures);
            assert_int_equal(d.class_count, 1);
            if (cases[i].told) assert_skipped(&d, "c/", cases[i].told);
            dataset_close(&d);
        }
        ask(&a, false, NULL, true);
        if (cases[i].told) assert_fails(temp_path(set), &a.options, DT_ERR_FORMAT, cases[i].told);
    }
}

static void pictures_without_their_control_are_passed_over(void **state)
{
    (void)state;
    asked a;
    put("set/a.png", picture(1, SIDE, SIDE));
    put("set/b.png", picture(2, SIDE, 2 * SIDE));
    put("set/c.png", picture(3, SIDE, SIDE));
    put("set/d.png", picture(4, 100, 75));
    put("edges/a.png", picture(11, SIDE, SIDE));
    put("edges/b.png", picture(12, SIDE, SIDE));
    put("edges/c.png", text_file("no picture"));
    put("edges/d.png", picture(14, 67, 50)); /* within a pixel */
    ask(&a, true, temp_path("edges"), false);
    dataset d = open_with(temp_path("set"), &a.options);
    assert_int_equal(d.count, 2);
    assert_int_equal(control_shade(&a.taken, &d, 0), 11);
    assert_int_equal(control_shade(&a.taken, &d, 1), 14);
    assert_skipped(&d, "b.png", "its control picture b.png: 8x8 for a picture of 8x16: another ratio");
    assert_skipped(&d, "c.png", "its control picture c.png");
    dataset_close(&d);
    ask(&a, true, temp_path("edges"), true);
    assert_fails(temp_path("set"), &a.options, DT_ERR_FORMAT, "c.png: its control picture c.png");
    put("edges/c.png", picture(13, SIDE, SIDE));
    assert_fails(temp_path("set"), &a.options, DT_ERR_FORMAT, "b.png: its control picture b.png: 8x8");
    put("edges/b.png", picture(12, SIDE, 2 * SIDE));
    put("set/e.png", picture(5, SIDE, SIDE));
    assert_fails(temp_path("set"), &a.options, DT_ERR_FORMAT, "e.png: has no control picture");
    ask(&a, true, NULL, false);
    assert_fails(temp_path("set"), &a.options, DT_ERR_FORMAT, "names no control picture");
    ask(&a, true, temp_path("nowhere"), false);
    assert_fails(temp_path("set"), &a.options, DT_ERR_IO, "nowhere");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DISK(texts_beside_pictures_are_their_captions),  ON_DISK(lists_name_captions_and_control_pictures),
        ON_DISK(the_layout_of_controlnet_is_read),          ON_DISK(controls_may_lie_in_a_folder_beside),
        ON_DISK(broken_captions_are_told_or_refused),       ON_DISK(pictures_without_their_control_are_passed_over),
        ON_DISK(a_control_that_is_left_over_is_no_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
