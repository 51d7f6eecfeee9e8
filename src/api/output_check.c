#include "api/output_check.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "api/settings_paths.h"
#include "file/file.h"
#include "file/folder.h"
#include "file/names.h"

/* ---- a file that is there already ---- */

/* What it must be to be replaced: the kind of what is written. Known by its first bytes. */
typedef struct kind {
    const char *words;
    bool (*is)(const unsigned char *start, size_t size);
} kind;

static bool is_page(const unsigned char *start, size_t size)
{
    return size > 0 && start[0] == '<';
}

static bool is_archive(const unsigned char *start, size_t size)
{
    return size > 1 && start[0] == 'P' && start[1] == 'K';
}

/* Safetensors, or PyTorch's archive or its older pickle. */
static bool is_weights(const unsigned char *start, size_t size)
{
    return is_archive(start, size) || (size > 0 && start[0] == 0x80) || (size > 8 && start[8] == '{');
}

static const kind page = {"report", is_page}, archive = {".npz file", is_archive}, weights = {"model file", is_weights};

static dt_status check_file(const char *path, const kind *k, dt_error *err)
{
    size_t size;
    unsigned char start[16];
    if (!path[0] || file_check_writable(path, err) != DT_OK) return err->status;
    if (!file_exists(path) || file_read_start(start, &size, sizeof start, path, err) != DT_OK) return err->status;
    if (size == 0 || k->is(start, size)) return DT_OK;
    return error_set(err, DT_ERR_CONFLICT, "%s is there already and is no %s; choose another name", path, k->words);
}

/* Of samples' files: one may be meant for the folder that is still to be made, among whose own files it is no .npz file. */
static dt_status check_beside(const char *path, const char *folder, dt_error *err)
{
    const bool below = file_is_named_below(path, folder);
    if (below && !file_has_extension(path, "npz"))
        return error_set(err, DT_ERR_ARG, "%s: a name that ends with .npz expected in output_dir", path);
    return below && !file_exists(folder) ? err->status : check_file(path, &archive, err);
}

/* ---- the whole ---- */

/* Checkpoints are removed with all that is in them. */
static dt_status check_no_checkpoint(const settings_paths *out, dt_error *err)
{
    char folder[DT_PATH_MAX], state[DT_PATH_MAX];
    for (const char *at = out->path; (at = strstr(at, "step-")); at++) {
        snprintf(folder, sizeof folder, "%.*s", (int)(at - out->path + (ptrdiff_t)strcspn(at, "/")), out->path);
        file_join(state, folder, STATE_FILE);
        if (file_exists(state))
            return error_set(err, DT_ERR_ARG, "%s %s must not be in a checkpoint, which goes when its run goes on",
                             out->key->name, out->path);
    }
    return err->status;
}

/* convert writes an adapter in PEFT's layouts as a folder. */
static bool is_adapter_folder(const dt_settings *s)
{
    return s->adapter_weights[0] && !s->merge && s->save_adapter_as != DT_ADAPTER_KOHYA;
}

dt_status output_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    for (settings_paths out = settings_paths_of(s, verb); err->status == DT_OK && settings_paths_next(&out);)
        if (settings_paths_writes(&out)) check_no_checkpoint(&out, err);
    if (err->status != DT_OK) return err->status;
    switch (verb) {
    case SETTINGS_TRAIN:
        if (settings_keep_cache(s)) file_check_folder(s->cache_dir, err);
        file_check_folder(s->output_dir, err);
        break;
    case SETTINGS_SAMPLE:
        check_beside(s->save_statistics, s->output_dir, err);
        check_beside(s->save_stack, s->output_dir, err);
        file_check_folder(s->output_dir, err);
        break;
    case SETTINGS_RUN:
    case SETTINGS_CHAIN:
    case SETTINGS_IDEAL:
    case SETTINGS_STUDY:
    case SETTINGS_DIAGNOSE:
    case SETTINGS_DATA: file_check_folder(s->output_dir, err); break;
    case SETTINGS_BANK: file_check_folder(s->bank, err); break;
    case SETTINGS_CACHE: file_check_folder(s->cache_dir, err); break;
    case SETTINGS_EVAL: check_file(s->save_statistics, &archive, err); break;
    case SETTINGS_CONVERT:
        if (s->save_model_as == DT_MODEL_DIFFUSERS || is_adapter_folder(s))
            file_check_folder(s->output, err);
        else
            check_file(s->output, &weights, err);
        break;
    case SETTINGS_INSPECT:
    case SETTINGS_ANNOTATE: break; /* its output is no setting */
    case SETTINGS_PREDICT: check_file(s->output, &weights, err); break;
    case SETTINGS_REPORT: check_file(s->output, &page, err); break;
    }
    return err->status;
}
