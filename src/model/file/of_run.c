#include "model/file/of_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/say.h"
#include "file/json_file.h"
#include "file/names.h"
#include "file/path.h"
#include "file/run_around.h"

/* What is taken over: a text of run.json, or of its identity. */
static const struct {
    const char *key, *metadata;
    bool of_identity;
} texts[] = {{"method", "difftune.method", false},  {"base_sha256", "difftune.base_sha256", false},
             {"vae_sha256", MODEL_CODEC, true},     {"encoder_sha256", MODEL_ENCODER, true},
             {"adapter", "difftune.adapter", true}, {"adaptformer_scale", "difftune.adapter_scale", true}};

/* The run.json of a file in RUN/checkpoints/; false for others. */
static bool find_description(char out[DT_PATH_MAX], const char *path)
{
    char run[DT_PATH_MAX], checkpoints[DT_PATH_MAX];
    if (!file_run_around(run, path)) return false;
    file_join(checkpoints, run, "checkpoints");
    file_join(out, run, RUN_FILE);
    return file_is_inside(path, checkpoints);
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

/* Where either is not known nothing is another. */
static bool names_another(const json_t *metadata, const char *key, const char *sha256)
{
    const char *named = json_text_at(metadata, key);
    return named[0] && sha256[0] && strcmp(named, sha256) != 0;
}

void of_run_tell_others(const json_t *metadata, const of_run_use *use, const dt_observer *observer)
{
    if (names_another(metadata, MODEL_CODEC, use->codec_sha256))
        say(observer->log, observer->user, "%s was trained on latents of another codec than %s", use->model,
            use->codec);
    if (names_another(metadata, MODEL_ENCODER, use->encoder_sha256))
        say(observer->log, observer->user, "%s was trained with another text encoder than %s", use->model,
            use->encoder[0] ? use->encoder : "its own folder has");
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
