#include "study/collect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

/* ---- names ---- */

static bool take_names(study_names *out, const settings_arms *from, const char *without)
{
    out->count = from->count ? from->count : 1;
    out->name = calloc((size_t)out->count, sizeof *out->name);
    for (int i = 0; out->name && i < out->count; i++) out->name[i] = from->count ? from->arm[i].name : without;
    return out->name != NULL;
}

/* The value that an arm has on an axis, as text. */
static const char *place_text(const settings_axis *axis, int place)
{
    if (place < 0) return "";
    return axis->key ? axis->value.arm[place].override[0].text : axis->value.arm[place].name;
}

static bool take_axes(study_table *t, const settings_study *file, const study_grid *grid)
{
    t->axis.count = file->axis_count;
    t->axis.name = calloc((size_t)file->axis_count + 1, sizeof *t->axis.name);
    t->axis_text = calloc((size_t)grid->arms.count, sizeof *t->axis_text);
    if (!t->axis.name || !t->axis_text) return false;
    for (int k = 0; k < file->axis_count; k++) {
        const settings_axis *axis = &file->axis[k];
        t->axis.name[k] = axis->name;
        t->axis_is_number[k] = axis->key && (axis->key->type == SETTINGS_INT || axis->key->type == SETTINGS_REAL);
        for (int i = 0; i < grid->arms.count; i++) t->axis_text[i][k] = place_text(axis, grid->place[i][k]);
    }
    return true;
}

/* ---- one row ---- */

/* Why the stage failed, or what it needs; NULL: neither did. */
static const char *failure_of(const experiment *e, const study_stage *stage)
{
    const char *why = json_string_value(json_object_get(e->failed, stage->name));
    for (int i = 0; !why && i < STUDY_NEEDS_MAX && stage->needs[i]; i++) why = failure_of(e, stage->needs[i]);
    return why;
}

static bool is_done(const experiment *e, const study_stage *stage)
{
    return json_object_get(e->stages, stage->name) != NULL;
}

/* Files and tables have the same names for measures. */
static void take_result(study_row *row, const json_t *result)
{
    char name[RUN_NAME_MAX];
    for (study_measure m = 0; m < STUDY_LOSS_BAND; m++) {
        study_measure_name(name, m);
        if (json_object_get(result, name)) row->value[m] = json_number_at(result, name);
    }
}

/* Validation losses of a finished training, before its first step and after its last. */
static void take_losses(study_row *row, const run *r)
{
    const int64_t targets = r->validation_count[RUN_TARGET], banks = r->validation_count[RUN_BANK];
    const run_validation *target = r->validation[RUN_TARGET], *bank = r->validation[RUN_BANK];
    if (targets > 0) {
        row->value[STUDY_LOSS] = target[targets - 1].loss;
        for (int b = 0; b < RUN_BANDS; b++) row->value[STUDY_LOSS_BAND + b] = target[targets - 1].band_loss[b];
    }
    if (targets > 0 && target[0].step == 0) {
        row->value[STUDY_LOSS_BEFORE] = target[0].loss;
        for (int b = 0; b < RUN_BANDS; b++) row->value[STUDY_LOSS_BAND_BEFORE + b] = target[0].band_loss[b];
    }
    if (banks > 0) row->value[STUDY_BANK_LOSS] = bank[banks - 1].loss;
    if (banks > 0 && bank[0].step == 0) row->value[STUDY_BANK_LOSS_BEFORE] = bank[0].loss;
}

static void take_obedience(study_row *row, const run *r)
{
    const run_obedience o = run_find_obedience(r);
    row->value[STUDY_REACHED] = o.reached;
    row->value[STUDY_REACHED_EARLY] = o.early;
    row->value[STUDY_REACHED_LATE] = o.late;
    row->value[STUDY_JUMP] = o.jump;
    row->value[STUDY_JUMP_FIRST] = o.jump_first;
    row->value[STUDY_JUMP_LAST] = o.jump_last;
    row->value[STUDY_OBEDIENCE] = o.last;
    row->value[STUDY_THRESHOLD] = o.threshold;
}

static study_row *row_of(const study_collection *s, const study_grid *grid, const study_plan *plan,
                         const study_stage *stage, int way)
{
    const study_case *of = &grid->kase[stage->arm - plan->arm];
    return study_row_at(&s->table, of->arm, of->data, of->seed, way);
}

/* The training is the same of all ways to draw. */
static void take_training(study_row *row, const experiment *e, const study_stage *stage, const run *r)
{
    row->seconds[0] = json_number_at(e->seconds, stage->name);
    row->run = r->info ? r : NULL;
    if (!row->run || !is_done(e, stage)) return;
    take_losses(row, r);
    take_obedience(row, r);
}

/* An arm that is not drawn from is measured by its training. */
static void end_with_training(study_row *row, const experiment *e, const study_stage *stage)
{
    row->seconds[1] = row->seconds[2] = 0;
    row->measured = is_done(e, stage) && row->run;
    if (!row->measured) row->failure = failure_of(e, stage);
}

static void take_stage(study_collection *s, const study_grid *grid, const study_plan *plan, const experiment *e,
                       const study_stage *stage)
{
    study_table *t = &s->table;
    if (stage->kind == STUDY_TRAIN) {
        for (int way = 0; way < plan->way_count; way++) {
            study_row *row = row_of(s, grid, plan, stage, way);
            take_training(row, e, stage, &s->runs[stage->arm - plan->arm]);
            if (stage->measures) end_with_training(row, e, stage);
        }
    } else if (stage->kind == STUDY_SAMPLES) {
        row_of(s, grid, plan, stage, stage->way)->seconds[1] = json_number_at(e->seconds, stage->name);
    } else if (stage->kind == STUDY_DISTANCE) {
        study_row *row = row_of(s, grid, plan, stage, stage->way);
        const json_t *result = json_object_get(e->results, stage->name);
        const char *measure = json_string_value(json_object_get(result, "measure"));
        row->seconds[2] = json_number_at(e->seconds, stage->name);
        row->measured = is_done(e, stage) && result;
        if (row->measured) take_result(row, result);
        if (row->measured && measure) t->measure = measure;
        if (!row->measured) row->failure = failure_of(e, stage);
    }
}

/* ---- all of it ---- */

static void clear_rows(study_table *t)
{
    for (int i = 0; i < t->row_count; i++) {
        study_row *row = &t->row[i];
        for (int m = 0; m < STUDY_MEASURES; m++) row->value[m] = (double)NAN;
        for (int k = 0; k < STUDY_TIMES; k++) row->seconds[k] = (double)NAN;
        row->way = i % t->way.count;
        row->seed = i / t->way.count % t->seed.count;
        row->data = i / t->way.count / t->seed.count % t->data.count;
        row->arm = i / t->way.count / t->seed.count / t->data.count;
    }
}

/* A run that has only begun, or that was damaged, is none yet: its arm says what is wrong when its turn comes. */
static dt_status read_runs(study_collection *s, const study_plan *plan, const char *folder, dt_error *err)
{
    for (int i = 0; i < plan->arm_count && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        dt_error why = {0};
        file_join(path, folder, plan->arm[i].name);
        if (file_exists(path) && run_open(&s->runs[i], path, &why) == DT_OK) continue;
        s->runs[i] = (run){0};
        if (error_is_of_machine(&why)) *err = why;
    }
    return err->status;
}

dt_status study_collect(study_collection *out, const settings_study *file, const study_grid *grid,
                        const study_plan *plan, const experiment *e, dt_error *err)
{
    *out = (study_collection){.table = {.tool = "difftune " DT_VERSION, .measure = ""}};
    study_table *t = &out->table;
    const bool named = take_names(&t->arm, &grid->arms, "") && take_names(&t->data, &file->data, "data") &&
                       take_names(&t->seed, &file->seeds, "as set") && take_names(&t->way, &file->draw, "as set") &&
                       take_axes(t, file, grid);
    if (named) {
        t->row_count = t->arm.count * t->data.count * t->seed.count * t->way.count;
        t->row = calloc((size_t)t->row_count, sizeof *t->row);
        out->runs = calloc((size_t)plan->arm_count, sizeof *out->runs);
        out->run_count = plan->arm_count;
    }
    if (!t->row || !out->runs) {
        study_collection_close(out);
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for its results", e->folder);
    }
    t->draws = plan->draws;
    clear_rows(t);
    if (read_runs(out, plan, e->folder, err) != DT_OK) {
        study_collection_close(out);
        return err->status;
    }
    for (int i = 0; i < plan->stage_count; i++) take_stage(out, grid, plan, e, &plan->stage[i]);
    return DT_OK;
}

void study_collection_close(study_collection *s)
{
    study_table *t = &s->table;
    for (int i = 0; s->runs && i < s->run_count; i++) run_close(&s->runs[i]);
    free(s->runs);
    free(t->arm.name);
    free(t->data.name);
    free(t->seed.name);
    free(t->way.name);
    free(t->axis.name);
    free(t->axis_text);
    free(t->row);
    *s = (study_collection){0};
}
