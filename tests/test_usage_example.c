/* The usage example of difftune.h, cut out of the header by the build: it compiles, and on a tiny model and a few
 * images it does what its first line says. */
#include <unistd.h>

#include "file/folder.h"
#include "temp_folder.h"
#include "image/image.h"

int usage_example(void);
#define main usage_example
#include "usage_example.c"
#undef main

static char home[1024];

static void make_images(void)
{
    dt_error err = {0};
    for (int i = 0; i < 6; i++) {
        char path[64];
        uint8_t rgb[8 * 8 * 3];
        for (int k = 0; k < 8 * 8 * 3; k++) rgb[k] = (uint8_t)(i * 40 + k);
        snprintf(path, sizeof path, "my_images/%s", i % 2 ? "odd" : "even");
        assert_int_equal(file_make_dirs(path, &err), DT_OK);
        snprintf(path, sizeof path, "my_images/%s/%d.png", i % 2 ? "odd" : "even", i);
        assert_int_equal(image_write_png(path, rgb, 8, 8, NULL, 0, &err), DT_OK);
    }
}

/* One step of pre-training leaves the file that the example calls base.safetensors. */
static void make_base(void)
{
    static const char *const settings[][2] = {
        {"method", "pretrain"},    {"train_data", "my_images"}, {"output_dir", "pretraining"},
        {"resolution", "8"},       {"hidden_size", "16"},       {"depth", "1"},
        {"num_heads", "2"},        {"patch_size", "4"},         {"max_train_steps", "1"},
        {"train_batch_size", "2"}, {"sample_steps", "0"},       {"validation_steps", "0"},
    };
    dt_settings s;
    dt_settings_init(&s);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        assert_int_equal(dt_settings_set(&s, settings[i][0], settings[i][1], NULL, 0), DT_OK);
    dt_context *ctx = NULL;
    assert_int_equal(dt_open(&ctx, &s), DT_OK);
    if (dt_train(ctx, &s, NULL) != DT_OK) fail_msg("%s", dt_message(ctx));
    dt_close(ctx);
    dt_error err = {0};
    assert_int_equal(file_rename("pretraining/final/model.safetensors", "base.safetensors", &err), DT_OK);
}

static int enter_folder(void **state)
{
    if (!getcwd(home, sizeof home) || temp_folder_make(state)) return -1;
    return chdir(temp_folder);
}

static int leave_folder(void **state)
{
    return chdir(home) ? -1 : temp_folder_remove(state);
}

static void the_usage_example_makes_a_bank_and_a_tuned_model(void **state)
{
    (void)state;
    make_images();
    make_base();
    assert_int_equal(usage_example(), DT_OK);
    assert_true(file_exists("bank/manifest.json"));
    assert_true(file_exists("run/final/model.safetensors"));
}

static void the_usage_example_fails_without_its_model(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs("empty", &err), DT_OK);
    assert_int_equal(chdir("empty"), 0);
    int status = usage_example();
    assert_int_equal(chdir(".."), 0);
    assert_int_not_equal(status, DT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usage_example_makes_a_bank_and_a_tuned_model),
        cmocka_unit_test(the_usage_example_fails_without_its_model),
    };
    return cmocka_run_group_tests_name("usage_example", tests, enter_folder, leave_folder);
}
