#include "model/file/of_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"
#include "file/names.h"

/* What is taken over: a text of run.json, or of its identity. */
static const struct {
    const char *key, *metadata;
    bool of_identity;
} texts[] = {{"method", "difftune.method", false},  {"base_sha256", "difftune.base_sha256", false},
             {"vae_sha256", MODEL_CODEC, true},     {"encoder_sha256", MODEL_ENCODER, true},
             {"adapter", "difftune.adapter", true}, {"adaptformer_scale", "difftune.adapter_scale", true}};

/* Cuts the last name off a path; false where it has no folder. */
static bool go_up(char path[DT_PATH_MAX])
{
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

static bool resolve(char out[DT_PATH_MAX], const char *path)
{
    char *resolved = realpath(path, NULL);
    const bool fits = resolved && strlen(resolved) < DT_PATH_MAX;
    if (fits) snprintf(out, DT_PATH_MAX, "%s", resolved);
    free(resolved);
    return fits;
}

bool of_run_find(char run[DT_PATH_MAX], const char *folder)
{
    char file[DT_PATH_MAX];
    if (!resolve(run, folder)) return false;
    for (int up = 0; up < 2; up++) {
        if (!go_up(run)) return false;
        file_join(file, run, RUN_FILE);
        if (file_exists(file)) return true;
    }
    return false;
}

/* The run.json of a file in RUN/checkpoints/NAME/; false for others. */
static bool find_description(char out[DT_PATH_MAX], const char *path)
{
    char folder[DT_PATH_MAX];
    if (!resolve(folder, path) || !go_up(folder) || !go_up(folder)) return false;
    if (strcmp(file_base_name(folder), "checkpoints") != 0 || !go_up(folder)) return false;
    file_join(out, folder, RUN_FILE);
    return file_exists(out);
}

/* Text that says something. Leaves no metadata where memory is out, as json_put has it. */
static void add(tensor_file *f, const char *key, const char *text)
{
    const bool says = text && text[0] && strcmp(text, "none") != 0;
    if (f->metadata && says && !tensor_file_metadata(f, key)) json_put(&f->metadata, key, json_string(text));
}

static void add_all(tensor_file *f, const json_t *run, const char *classes)
{
    const json_t *identity = json_object_get(run, "identity");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        add(f, texts[i].metadata, json_text_at(texts[i].of_identity ? identity : run, texts[i].key));
    add(f, MODEL_CLASSES, classes);
}

bool of_run_names_another(const json_t *metadata, const char *key, const char *sha256)
{
    const char *named = json_text_at(metadata, key);
    return named[0] && sha256[0] && strcmp(named, sha256) != 0;
}

dt_status of_run_complete(tensor_file *f, dt_error *err)
{
    char path[DT_PATH_MAX];
    if (err->status != DT_OK || !find_description(path, f->path)) return err->status;
    json_t *run = json_file_read(path, err);
    const json_t *classes = json_object_get(run, "classes");
    char *names = classes ? json_text_of(classes, JSON_COMPACT) : NULL;
    if (!f->metadata) f->metadata = json_object();
    add_all(f, run, names);
    if (err->status == DT_OK && (!f->metadata || (classes && !names)))
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    free(names);
    json_decref(run);
    return err->status;
}
