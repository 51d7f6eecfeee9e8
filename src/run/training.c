#include "run/training.h"

#include <stdio.h>

#include "file/names.h"
#include "file/path.h"
#include "rank/rank.h"

/* A folder that is a run's already is known to be taken before anything is read. A dry run takes none, nor do ranks that follow. */
static dt_status lock_early(training *r, const ctx *c, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, r->folder, RUN_FILE);
    if (rank_follows(c->ranks)) return DT_OK;
    return file_exists(path) && !r->s->dry_run ? file_lock_folder(&r->lock, r->folder, err) : DT_OK;
}

dt_status training_open(training *r, ctx *c, const dt_settings *s, const dt_observer *observer, model_kinds kinds)
{
    *r = (training){.s = s,
                    .step_count = s->max_train_steps,
                    .logging_steps = s->logging_steps,
                    .measuring_steps = {s->validation_steps, s->sample_steps, s->eval_steps, s->convergence_steps},
                    .checkpointing_steps = s->checkpointing_steps,
                    .checkpoints_kept = s->checkpoints_total_limit,
                    .average_steps = s->ema_snapshot_steps ? s->ema_snapshot_steps : s->checkpointing_steps,
                    .saved_step = -1};
    snprintf(r->folder, sizeof r->folder, "%s", s->output_dir);
    if (lock_early(r, c, &c->error) == DT_OK && trainer_open(&r->trainer, c, s, observer, kinds) == DT_OK &&
        !rank_follows(c->ranks) && measures_open(&r->measures, &r->trainer, s, kinds) == DT_OK &&
        s->convergence_steps > 0)
        convergence_open(&r->convergence, &r->measures, &r->trainer, s);
    return c->error.status;
}

void training_close(training *r)
{
    run_log_close(&r->log);
    measures_close(&r->measures);
    trainer_close(&r->trainer);
    file_unlock(&r->lock);
}
