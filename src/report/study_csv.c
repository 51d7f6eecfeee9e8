/* A study's tables as comma-separated values: RFC 4180, a point in numbers, nothing where nothing was measured. */
#include <stdio.h>

#include "file/text_file.h"
#include "report/study_table.h"

static const char *const names[STUDY_LOSS_BAND] = {
    [STUDY_FRECHET] = "frechet_distance",
    [STUDY_KERNEL] = "kernel_distance",
    [STUDY_KERNEL_STD] = "kernel_distance_std",
    [STUDY_LOSS] = "held_out_loss",
    [STUDY_BANK_LOSS] = "bank_loss",
    [STUDY_COPIED] = "copied",
    [STUDY_COPIED_HELD_OUT] = "copied_held_out",
    [STUDY_NEAREST_RATIO] = "nearest_ratio",
    [STUDY_PRECISION] = "precision",
    [STUDY_RECALL] = "recall",
    [STUDY_SPATIAL] = "spatial_frechet_distance",
    [STUDY_SCORE] = "inception_score",
    [STUDY_REACHED] = "threshold_step",
    [STUDY_REACHED_EARLY] = "threshold_step_early",
    [STUDY_REACHED_LATE] = "threshold_step_late",
    [STUDY_JUMP] = "jump_step",
    [STUDY_JUMP_FIRST] = "jump_step_first",
    [STUDY_JUMP_LAST] = "jump_step_last",
    [STUDY_OBEDIENCE] = "obedience",
    [STUDY_THRESHOLD] = "threshold",
    [STUDY_LOSS_BEFORE] = "held_out_loss_before",
    [STUDY_BANK_LOSS_BEFORE] = "bank_loss_before",
};

void study_measure_name(char name[RUN_NAME_MAX], study_measure measure)
{
    const int band = ((int)measure - STUDY_LOSS_BAND) % RUN_BANDS;
    if (measure < STUDY_LOSS_BAND)
        snprintf(name, RUN_NAME_MAX, "%s", names[measure]);
    else
        snprintf(name, RUN_NAME_MAX, "held_out_loss%s_t%d", measure < STUDY_LOSS_BAND_BEFORE ? "" : "_before",
                 band * RUN_BAND_STEPS);
}

static void put_number(FILE *out, double value)
{
    fputc(',', out);
    text_file_number(out, value);
}

static void put_head(FILE *out, const study_table *t)
{
    fputs("arm", out);
    for (int i = 0; i < t->axis.count; i++) {
        fputc(',', out);
        text_file_text(out, t->axis.name[i]);
    }
    fputs(",data,seed,draw", out);
}

static void put_place(FILE *out, const study_table *t, const study_row *row)
{
    text_file_text(out, t->arm.name[row->arm]);
    for (int i = 0; i < t->axis.count; i++) {
        fputc(',', out);
        text_file_text(out, t->axis_text[row->arm][i]);
    }
    const char *const rest[] = {t->data.name[row->data], t->seed.name[row->seed], t->way.name[row->way]};
    for (int i = 0; i < 3; i++) {
        fputc(',', out);
        text_file_text(out, rest[i]);
    }
}

static const char *state_of(const study_row *row)
{
    return row->measured ? "measured" : row->failure ? "failed" : "open";
}

static void put_measures(FILE *out, const void *user)
{
    const study_table *t = user;
    put_head(out, t);
    fputs(",state,measure", out);
    for (int m = 0; m < STUDY_MEASURES; m++) {
        char name[RUN_NAME_MAX];
        study_measure_name(name, (study_measure)m);
        fprintf(out, ",%s", name);
    }
    fputc('\n', out);
    for (const study_row *row = t->row; row < t->row + t->row_count; row++) {
        put_place(out, t, row);
        fprintf(out, ",%s,", state_of(row));
        text_file_text(out, t->measure);
        for (int m = 0; m < STUDY_MEASURES; m++) put_number(out, row->value[m]);
        fputc('\n', out);
    }
}

static void put_times(FILE *out, const void *user)
{
    const study_table *t = user;
    put_head(out, t);
    fputs(",training_s,drawing_s,measuring_s\n", out);
    for (const study_row *row = t->row; row < t->row + t->row_count; row++) {
        put_place(out, t, row);
        for (int i = 0; i < STUDY_TIMES; i++) put_number(out, row->seconds[i]);
        fputc('\n', out);
    }
}

dt_status study_csv_write(const study_table *t, const char *path, dt_error *err)
{
    return text_file_write(path, put_measures, t, err);
}

dt_status study_times_write(const study_table *t, const char *path, dt_error *err)
{
    return text_file_write(path, put_times, t, err);
}
