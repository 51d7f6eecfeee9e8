#include "cli.h"

#include <inttypes.h>

static void print_count(const char *what, int64_t found, int64_t published)
{
    printf("  %-12s %8" PRId64 "  published %8" PRId64 "%s\n", what, found, published,
           found == published ? "" : "  differs");
}

static void print_result(const dt_prepared *r, const char *output_dir)
{
    printf("%s in %s%s\n", r->title, output_dir, r->made ? "" : ", which was there already");
    printf("split: %s\n", r->split_source);
    print_count("classes", r->found.classes, r->published.classes);
    print_count("train", r->found.train, r->published.train);
    print_count("validation", r->found.validation, r->published.validation);
    print_count("test", r->found.test, r->published.test);
    if (r->missing)
        printf("%" PRId64 " images are listed and not there; they were left out. The first one is %s\n", r->missing,
               r->first_missing);
}

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    dt_prepared result;
    dt_status status = dt_data_prepare(ctx, operand[1], operand[2], s, observer, &result);
    if (status == DT_OK) print_result(&result, s->output_dir);
    return status;
}

const verb data_verb = {
    .section = VERB_WHOLE,
    .name = "data",
    .summary = "makes class folders of a published data set's archive",
    .description =
        "Turns an archive as it was downloaded and unpacked (DIR, or the folder in it) into the folders train, val and "
        "test of class folders, as the data set's own lists split it. Every file is a symbolic link: nothing is copied "
        "and nothing in DIR is changed. Says how many images there are and where that differs from the published "
        "counts. NAME is food101, sun397, df20m, caltech101, cub200, artbench10, oxford_flowers or stanford_cars; the "
        "file recipes/NAME.yaml says what must be in DIR. Your own images need no such step.",
    .example = "  difftune data prepare stanford_cars downloads/stanford_cars --output-dir cars\n",
    .needs = "output_dir",
    .keys = SETTINGS_DATA,
    .operands = "prepare NAME DIR",
    .run = run,
};
