#include "api/output_check.h"

#include "file/file.h"

static dt_status check_file(const char *path, dt_error *err)
{
    return path[0] ? file_check_writable(path, err) : err->status;
}

dt_status output_check(const dt_settings *s, settings_verb verb, dt_error *err)
{
    switch (verb) {
    case SETTINGS_TRAIN:
        if (s->vae[0]) file_check_folder(s->cache_dir, err);
        return file_check_folder(s->output_dir, err);
    case SETTINGS_SAMPLE:
        check_file(s->save_statistics, err);
        check_file(s->save_stack, err);
        return file_check_folder(s->output_dir, err);
    case SETTINGS_RUN:
    case SETTINGS_DATA: return file_check_folder(s->output_dir, err);
    case SETTINGS_BANK: return file_check_folder(s->bank, err);
    case SETTINGS_CACHE: return file_check_folder(s->cache_dir, err);
    case SETTINGS_EVAL: return check_file(s->save_statistics, err);
    case SETTINGS_CONVERT:
        if (s->save_model_as == DT_MODEL_DIFFUSERS) return file_check_folder(s->output, err);
        return check_file(s->output, err);
    case SETTINGS_PREDICT:
    case SETTINGS_REPORT: return check_file(s->output, err);
    }
    return err->status;
}
