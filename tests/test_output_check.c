/* What is there already is replaced by its kind only, and no checkpoint is written into. */
#include <string.h>

#include "file/folder.h"
#include "temp_folder.h"
#include "api/output_check.h"

static void assert_check(settings_verb verb, const char *key, const char *name, const char *part)
{
    dt_settings s;
    dt_error err = {0};
    dt_settings_init(&s);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("samples"));
    assert_int_equal(dt_settings_set(&s, key, temp_path(name), NULL, 0), DT_OK);
    const dt_status status = output_check(&s, verb, &err);
    if (part && status == DT_OK) fail_msg("%s %s was not refused", key, name);
    if (part) assert_says(err.message, part);
    if (!part && status != DT_OK) fail_msg("%s", err.message);
}

static void what_is_there_is_replaced_by_its_kind_only(void **state)
{
    (void)state;
    temp_write("page.html", "<!DOCTYPE html>", 15);
    temp_write("metrics.jsonl", "{\"step\": 1}", 11);
    temp_write("model.safetensors", "\x10\0\0\0\0\0\0\0{}              ", 24);
    temp_write("model.pt", "PK\x03\x04", 4);
    temp_write("old.pt", "\x80\x02", 2);
    temp_write("empty", "", 0);
    static const struct {
        settings_verb verb;
        const char *key, *name, *part;
    } cases[] = {
        {SETTINGS_REPORT, "output", "page.html", NULL},
        {SETTINGS_REPORT, "output", "empty", NULL},
        {SETTINGS_REPORT, "output", "new.html", NULL},
        {SETTINGS_REPORT, "output", "metrics.jsonl", "is there already and is no report"},
        {SETTINGS_REPORT, "output", "model.safetensors", "is no report"},
        {SETTINGS_CONVERT, "output", "model.safetensors", NULL},
        {SETTINGS_CONVERT, "output", "model.pt", NULL},
        {SETTINGS_CONVERT, "output", "old.pt", NULL},
        {SETTINGS_CONVERT, "output", "metrics.jsonl", "is no model file"},
        {SETTINGS_PREDICT, "output", "page.html", "is no model file"},
        {SETTINGS_EVAL, "save_statistics", "model.pt", NULL},
        {SETTINGS_EVAL, "save_statistics", "model.safetensors", "is no .npz file"},
        {SETTINGS_SAMPLE, "save_stack", "metrics.jsonl", "is no .npz file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_check(cases[i].verb, cases[i].key, cases[i].name, cases[i].part);
}

/* Among the files of samples are others than .npz files. */
static void a_stack_is_none_of_the_files_of_samples(void **state)
{
    (void)state;
    assert_check(SETTINGS_SAMPLE, "save_stack", "samples/samples.txt", "ends with .npz");
    assert_check(SETTINGS_SAMPLE, "save_statistics", "samples/statistics.npz", NULL);
    assert_check(SETTINGS_SAMPLE, "save_stack", "elsewhere", NULL);
}

static void nothing_is_written_into_a_checkpoint(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("run/checkpoints/step-00000002"), &err), DT_OK);
    assert_int_equal(file_make_dirs(temp_path("run/step-by-step"), &err), DT_OK);
    temp_write("run/checkpoints/step-00000002/state.json", "{}", 2);
    assert_check(SETTINGS_TRAIN, "output_dir", "run/checkpoints/step-00000002/new", "must not be in a checkpoint");
    assert_check(SETTINGS_CONVERT, "output", "run/checkpoints/step-00000002/m.pt", "must not be in a checkpoint");
    assert_check(SETTINGS_TRAIN, "output_dir", "run/step-by-step/new", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_replaced_by_its_kind_only),
        cmocka_unit_test(a_stack_is_none_of_the_files_of_samples),
        cmocka_unit_test(nothing_is_written_into_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
