#include "run/checkpoint.h"
#include "run/run_folder.h"
#include "settings/settings.h"

#include "api/api.h"

static dt_status check_disk(trainer *t)
{
    int64_t needed = checkpoint_disk_bytes(t), free_bytes;
    dt_error *err = &t->c->error;
    if (file_free_bytes(&free_bytes, t->s->output_dir, err) != DT_OK) return err->status;
    trainer_log(t, "disk: up to %lld MiB needed, %lld MiB free", (long long)(needed >> 20),
                (long long)(free_bytes >> 20));
    if (needed > free_bytes)
        error_set(err, DT_ERR_IO, "%s: checkpoints and result need up to %lld MiB, %lld MiB are free", t->s->output_dir,
                  (long long)(needed >> 20), (long long)(free_bytes >> 20));
    return err->status;
}

static dt_status run(trainer *t)
{
    dt_error *err = &t->c->error;
    if (run_folder_open(t, err) != DT_OK || check_disk(t) != DT_OK || checkpoint_resume(t) != DT_OK) return err->status;
    if (t->step > t->s->max_train_steps)
        return error_set(err, DT_ERR_CONFLICT, "%s: the run has made %lld steps already, max_train_steps is %lld",
                         t->s->output_dir, (long long)t->step, (long long)t->s->max_train_steps);
    int64_t known = t->step > 0 ? t->step : -1; /* before the first step everything is measured, and so logged, anew */
    if (run_log_open(&t->log, t->s->output_dir, known, t->s->tensorboard, err) != DT_OK) return err->status;
    if (trainer_run(t) != DT_OK || checkpoint_save(t) != DT_OK) return err->status;
    return run_folder_finish(t);
}

dt_status dt_train(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    trainer t = {.c = c};
    if (api_enter(c, s, SETTINGS_TRAIN) != DT_OK) return c->error.status;
    if (trainer_open(&t, c, s, api_observer(observer)) == DT_OK) run(&t);
    trainer_close(&t);
    return api_leave(c);
}
