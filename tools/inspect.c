#include "cli.h"

#include <string.h>

#include "file/json_file.h"

static void print_part(const char *name, const json_t *part)
{
    printf("%-14s %14" JSON_INTEGER_FORMAT " %14.6g %14.6g\n", name,
           json_integer_value(json_object_get(part, "values")), json_number_value(json_object_get(part, "distance")),
           json_number_value(json_object_get(part, "per_value")));
}

/* A line for the whole, for each kind of layer and for each block. */
static void print_table(const json_t *all)
{
    const char *kind;
    json_t *part;
    size_t i;
    printf("%-14s %14s %14s %14s\n", "layers", "values", "L2 distance", "squared/value");
    print_part("all", all);
    json_object_foreach(json_object_get(all, "kinds"), kind, part) print_part(kind, part);
    json_array_foreach(json_object_get(all, "blocks"), i, part)
    {
        char name[32];
        snprintf(name, sizeof name, "block %zu", i);
        print_part(name, part);
    }
    const json_int_t left = json_integer_value(json_object_get(all, "left_out"));
    if (left) printf("%" JSON_INTEGER_FORMAT " values have no counterpart\n", left);
}

static dt_status compare(dt_context *ctx, const char *path, const char *other)
{
    char *text = NULL;
    json_error_t where;
    dt_error err = {0};
    const dt_status status = dt_compare(ctx, path, other, &text);
    if (status != DT_OK) return status;
    json_t *all = json_text_read(text, strlen(text), &where, path, &err);
    if (all) print_table(all);
    json_decref(all);
    dt_free(text);
    return err.status;
}

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)observer;
    char *json = NULL;
    if (s->against[0]) return compare(ctx, operand[0], s->against);
    dt_status status = dt_inspect(ctx, operand[0], &json);
    if (status == DT_OK) puts(json);
    dt_free(json);
    return status;
}

const verb inspect_verb = {
    .section = VERB_FILES,
    .name = "inspect",
    .summary = "what is in a model file, bank, run or cache folder, as JSON",
    .description =
        "Prints what is in a model file, a memory bank, a run folder or a folder of encoded images as JSON: names, "
        "shapes, number types, metadata and hashes. With --against another model, run, checkpoint or adapter it prints "
        "how far the weights of both are apart: the L2 distance and the squared distance for each value, of all, by "
        "kind of layer and by block.",
    .example = "  difftune inspect run/final/model.safetensors\n"
               "  difftune inspect run --against base.safetensors\n",
    .often = "against",
    .keys = SETTINGS_INSPECT,
    .operands = "PATH",
    .in_one_piece = true,
    .run = run,
};
