/* A study: the plan of an experiment with the cases of a grid as its arms, a page about all of them, and files that are not kept. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/settings_unused.h"
#include "base/clock.h"
#include "base/say.h"
#include "file/file.h"
#include "file/folder.h"
#include "file/names.h"
#include "study/collect.h"
#include "study/runner.h"
#include "study/unused.h"

typedef struct study {
    ctx *c;
    const dt_settings *s;
    const dt_observer *observer;
    settings_study file;
    study_grid grid;
    study_plan plan;
    experiment experiment;
    runner runner;
    double page_ended_s, page_took_s; /* when the page was written last, and how long that took */
} study;

/* ---- the page ---- */

static dt_status write_page(study *y, dt_error *err)
{
    char path[DT_PATH_MAX], settings[DT_PATH_MAX], *text = NULL;
    size_t size;
    study_collection all = {0};
    const char *folder = y->experiment.folder;
    file_join(settings, folder, RECIPE_FILE);
    if (file_read_all(&text, &size, settings, 1 << 24, err) == DT_OK &&
        study_collect(&all, &y->file, &y->grid, &y->plan, &y->experiment, err) == DT_OK) {
        all.table.title = y->s->title[0] ? y->s->title : "Study";
        all.table.settings = text;
        file_join(path, folder, "study.csv");
        study_csv_write(&all.table, path, err);
        file_join(path, folder, "times.csv");
        if (err->status == DT_OK) study_times_write(&all.table, path, err);
        file_join(path, folder, "report.html");
        if (err->status == DT_OK) study_page_write(&all.table, path, err);
    }
    study_collection_close(&all);
    free(text);
    return err->status;
}

/* On the way, for whoever looks: at most a hundredth of the time goes into it, and a failure is told at the end. */
static void refresh_page(study *y)
{
    dt_error why = {0};
    const double now_s = clock_s();
    if (now_s - y->page_ended_s < 100 * y->page_took_s) return;
    write_page(y, &why);
    y->page_ended_s = clock_s();
    y->page_took_s = y->page_ended_s - now_s;
}

/* ---- what is not kept ---- */

static void remove_file(const char *folder, const char *name)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    if (file_exists(path)) unlink(path);
}

/* What cannot be removed stays, and is tried again by the next call. */
static void remove_folder(const char *folder, const char *name)
{
    char path[DT_PATH_MAX];
    dt_error why = {0};
    file_join(path, folder, name);
    if (file_is_folder(path)) file_remove_tree(path, &why);
}

static void drop_samples(const char *folder, dt_keep keep)
{
    remove_file(folder, "statistics.npz");
    remove_file(folder, "features.f32");
    if (keep == DT_KEEP_MEASURES) remove_folder(folder, "images");
}

static void drop_run(const char *folder, dt_keep keep)
{
    remove_folder(folder, "checkpoints");
    if (keep != DT_KEEP_MEASURES) return;
    remove_folder(folder, "averages");
    remove_folder(folder, "final");
}

static bool is_finished(const study *y, const study_arm *arm)
{
    bool finished = true;
    for (int i = 0; i < y->plan.stage_count; i++) {
        const study_stage *stage = &y->plan.stage[i];
        if (stage->arm == arm && !study_is_shared(stage)) finished = finished && y->runner.done[i];
    }
    return finished;
}

/* Of an arm that is drawn from and measured in all ways. */
static void drop_arm(const study *y, const study_arm *arm)
{
    if (y->s->keep == DT_KEEP_ALL || !is_finished(y, arm)) return;
    for (int i = 0; i < y->plan.stage_count; i++) {
        const study_stage *stage = &y->plan.stage[i];
        char folder[DT_PATH_MAX];
        if (stage->arm != arm) continue;
        file_join(folder, y->experiment.folder, stage->name);
        if (stage->kind == STUDY_SAMPLES) drop_samples(folder, y->s->keep);
        if (stage->kind == STUDY_TRAIN) drop_run(folder, y->s->keep);
    }
}

/* A training whose model was dropped is made again where it is still to be drawn from: in another way than before. */
static void restore_dropped(study *y)
{
    for (int i = 0; i < y->plan.stage_count; i++) {
        const study_stage *stage = &y->plan.stage[i];
        char folder[DT_PATH_MAX], path[DT_PATH_MAX];
        if (stage->kind != STUDY_SAMPLES || y->runner.done[i]) continue;
        const int train = runner_number(&y->runner, stage->needs[0]);
        file_join(folder, y->experiment.folder, stage->needs[0]->name);
        file_join(path, folder, "final");
        if (!y->runner.done[train] || file_exists(path)) continue;
        y->runner.done[train] = false;
        experiment_forget(&y->experiment, stage->needs[0]->name);
    }
}

/* ---- all of it ---- */

static void after_stage(void *user, const study_stage *stage)
{
    study *y = user;
    if (!stage->measures) return;
    drop_arm(y, stage->arm);
    refresh_page(y);
}

static dt_status save_recipe(const study *y, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, y->s->output_dir, RECIPE_FILE);
    return settings_save_with(y->s, &y->file, path, err);
}

static int count_failed_arms(const study *y)
{
    int count = 0;
    for (int i = 0; i < y->plan.arm_count; i++) {
        bool failed = false;
        for (int k = 0; k < y->plan.stage_count; k++) {
            const study_stage *stage = &y->plan.stage[k];
            if (stage->arm == &y->plan.arm[i] && !study_is_shared(stage)) failed = failed || y->runner.failed[k];
        }
        count += failed;
    }
    return count;
}

/* Ends in what stopped the call, or in the first failure of an arm, after the page is written in either case. */
static dt_status end(study *y)
{
    dt_error why = {0}, *err = &y->c->error;
    const int failed = count_failed_arms(y);
    write_page(y, &why);
    if (why.status != DT_OK) return error_set(err, why.status, "%s", why.message);
    say(y->observer->log, y->observer->user, "wrote %s/report.html, study.csv and times.csv", y->experiment.folder);
    if (err->status != DT_OK || failed == 0) return err->status;
    return error_set(err, y->runner.first_failure.status, "%d of %d trainings failed; the first for: %s", failed,
                     y->plan.arm_count, y->runner.first_failure.message);
}

/* Nothing is written before it is known that every finished stage is one of this plan. */
static dt_status run_plan(study *y)
{
    dt_error *err = &y->c->error;
    if (experiment_open(&y->experiment, y->s->output_dir, err) != DT_OK) return err->status;
    y->runner = (runner){.c = y->c,
                         .observer = y->observer,
                         .plan = &y->plan,
                         .experiment = &y->experiment,
                         .after = after_stage,
                         .after_user = y};
    if (runner_open(&y->runner) == DT_OK) {
        restore_dropped(y);
        if (experiment_set_arms(&y->experiment, &y->grid.cases, err) == DT_OK && save_recipe(y, err) == DT_OK) {
            for (int i = 0; i < y->plan.arm_count; i++) drop_arm(y, &y->plan.arm[i]);
            runner_run(&y->runner);
            end(y);
        }
    }
    runner_close(&y->runner);
    experiment_close(&y->experiment);
    return err->status;
}

static void tell_size(const study *y)
{
    const int data = y->file.data.count, seeds = y->file.seeds.count;
    char ways[48] = "";
    if (y->plan.draws) snprintf(ways, sizeof ways, ", each drawn from in %d ways", y->plan.way_count);
    say(y->observer->log, y->observer->user, "%d arms on %d data sets with %d seeds: %d trainings%s",
        y->grid.arms.count, data ? data : 1, seeds ? seeds : 1, y->plan.arm_count, ways);
    if (seeds && settings_is_given(y->s, settings_find("seed")))
        say(y->observer->log, y->observer->user, "seed %lld is no training's: the study has seeds of its own",
            (long long)y->s->seed);
}

dt_status dt_study(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    study y = {.c = c, .s = s, .observer = api_observer(observer)};
    dt_error *err = &c->error;
    if (api_enter(c, s, SETTINGS_STUDY, y.observer) != DT_OK) return api_leave(c);
    if (s->arms[0]) settings_study_load(&y.file, s->arms, err);
    if (err->status == DT_OK && study_grid_open(&y.grid, &y.file, err) == DT_OK &&
        study_plan_open(&y.plan, s, &y.grid.cases, &y.file.draw, err) == DT_OK &&
        (experiment_exists(s->output_dir) || study_plan_check_inputs(&y.plan, err) == DT_OK) &&
        study_plan_check_bases(&y.plan, err) == DT_OK) {
        tell_size(&y);
        study_tell_unused(&y.plan, s, &y.grid.cases, y.observer);
        run_plan(&y);
    }
    study_plan_close(&y.plan);
    study_grid_close(&y.grid);
    settings_study_free(&y.file);
    return api_leave(c);
}
