#include "run/averages.h"

#include <stdio.h>

#include "adapter/adapter_file.h"
#include "average/snapshots.h"
#include "file/folder.h"
#include "run/weights_file.h"

static dt_status write_one(training *r, const char *folder, int power)
{
    weights_note n;
    char path[DT_PATH_MAX], name[SNAPSHOT_NAME_MAX];
    const train_values values = (train_values)(TRAIN_POWERS + power);
    snapshot_name(name, r->trainer.step, r->trainer.optimizer.power_length[power]);
    file_join(path, folder, name);
    if (weights_note_open(&n, r, values) == DT_OK) {
        if (weights_adapt(r))
            weights_write_adapter(r, path, values, DT_FILE_F32, &n);
        else
            weights_write_model(r, path, values, DT_MODEL_SAFETENSORS, DT_FILE_F32, &n);
    }
    weights_note_close(&n);
    return r->trainer.c->error.status;
}

dt_status averages_write(training *r)
{
    const trainer *t = &r->trainer;
    dt_error *err = &t->c->error;
    char folder[DT_PATH_MAX], config[DT_PATH_MAX];
    if (t->set.power_count == 0 || t->optimizer.update_count == 0 || err->status != DT_OK) return err->status;
    file_join(folder, r->folder, SNAPSHOTS_FOLDER);
    file_join(config, folder, ADAPTER_CONFIG);
    if (file_make_dirs(folder, err) == DT_OK && weights_adapt(r))
        adapter_config_write(&t->adapter.plan, &t->model, r->s->pretrained_model, config, err);
    for (int i = 0; i < t->set.power_count && err->status == DT_OK; i++) write_one(r, folder, i);
    return err->status;
}

int64_t averages_disk_bytes(const training *r)
{
    const trainer *t = &r->trainer;
    const int64_t every = r->average_steps, steps = r->step_count;
    const int64_t times = every > 0 ? steps / every + (steps % every != 0) : steps > 0;
    const int64_t values = weights_adapt(r) ? trainset_values(&t->set) : params_count(t->model.params, true);
    int64_t bytes;
    if (__builtin_mul_overflow(values * (int64_t)sizeof(float) * t->set.power_count, times, &bytes)) return INT64_MAX;
    return bytes;
}
