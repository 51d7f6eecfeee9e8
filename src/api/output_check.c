#include "api/output_check.h"

#include <string.h>

#include "file/file.h"

static dt_status check_file(const char *path, dt_error *err)
{
    return path[0] ? file_check_writable(path, err) : err->status;
}

/* A file may be meant for the folder that is still to be made. */
static dt_status check_file_beside(const char *path, const char *folder, dt_error *err)
{
    const bool comes_with_it = file_is_named_below(path, folder) && !file_exists(folder);
    return comes_with_it ? err->status : check_file(path, err);
}

/* convert writes an adapter in PEFT's layouts as a folder. */
static bool is_adapter_folder(const dt_settings *s)
{
    return s->adapter_weights[0] && !s->merge && s->save_adapter_as != DT_ADAPTER_KOHYA;
}

dt_status output_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    switch (verb) {
    case SETTINGS_TRAIN:
        if (settings_keep_cache(s)) file_check_folder(s->cache_dir, err);
        return file_check_folder(s->output_dir, err);
    case SETTINGS_SAMPLE:
        check_file_beside(s->save_statistics, s->output_dir, err);
        check_file_beside(s->save_stack, s->output_dir, err);
        return file_check_folder(s->output_dir, err);
    case SETTINGS_RUN:
    case SETTINGS_CHAIN:
    case SETTINGS_IDEAL:
    case SETTINGS_STUDY:
    case SETTINGS_DIAGNOSE:
    case SETTINGS_DATA: return file_check_folder(s->output_dir, err);
    case SETTINGS_BANK: return file_check_folder(s->bank, err);
    case SETTINGS_CACHE: return file_check_folder(s->cache_dir, err);
    case SETTINGS_EVAL: return check_file(s->save_statistics, err);
    case SETTINGS_CONVERT:
        if (s->save_model_as == DT_MODEL_DIFFUSERS || is_adapter_folder(s)) return file_check_folder(s->output, err);
        return check_file(s->output, err);
    case SETTINGS_INSPECT:
    case SETTINGS_ANNOTATE: return err->status; /* its output is no setting */
    case SETTINGS_PREDICT:
    case SETTINGS_REPORT: return check_file(s->output, err);
    }
    return err->status;
}
