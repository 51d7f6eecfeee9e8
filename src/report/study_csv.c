/* A study's tables as comma-separated values: RFC 4180, a point in numbers, nothing where nothing was measured. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/text_stream.h"
#include "file/file.h"
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

/* Quoted where it must be. */
static void put_text(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void put_number(FILE *out, double value)
{
    fputc(',', out);
    if (isfinite(value)) fprintf(out, "%.9g", value);
}

static void put_head(FILE *out, const study_table *t)
{
    fputs("arm", out);
    for (int i = 0; i < t->axis.count; i++) {
        fputc(',', out);
        put_text(out, t->axis.name[i]);
    }
    fputs(",data,seed,draw", out);
}

static void put_place(FILE *out, const study_table *t, const study_row *row)
{
    put_text(out, t->arm.name[row->arm]);
    for (int i = 0; i < t->axis.count; i++) {
        fputc(',', out);
        put_text(out, t->axis_text[row->arm][i]);
    }
    const char *const rest[] = {t->data.name[row->data], t->seed.name[row->seed], t->way.name[row->way]};
    for (int i = 0; i < 3; i++) {
        fputc(',', out);
        put_text(out, rest[i]);
    }
}

static const char *state_of(const study_row *row)
{
    return row->measured ? "measured" : row->failure ? "failed" : "open";
}

static void put_measures(FILE *out, const study_table *t)
{
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
        put_text(out, t->measure);
        for (int m = 0; m < STUDY_MEASURES; m++) put_number(out, row->value[m]);
        fputc('\n', out);
    }
}

static void put_times(FILE *out, const study_table *t)
{
    put_head(out, t);
    fputs(",training_s,drawing_s,measuring_s\n", out);
    for (const study_row *row = t->row; row < t->row + t->row_count; row++) {
        put_place(out, t, row);
        for (int i = 0; i < STUDY_TIMES; i++) put_number(out, row->seconds[i]);
        fputc('\n', out);
    }
}

static dt_status write(const study_table *t, const char *path, void (*put)(FILE *, const study_table *), dt_error *err)
{
    text_stream text;
    text_c_numbers numbers;
    bool good = false;
    if (text_enter_c_numbers(&numbers) && text_stream_open(&text)) {
        put(text.out, t);
        good = text_stream_end(&text);
        if (good) file_write_atomic(path, text.text, text.size, err);
        text_stream_free(&text);
    }
    text_leave_c_numbers(&numbers);
    return good ? err->status : error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
}

dt_status study_csv_write(const study_table *t, const char *path, dt_error *err)
{
    return write(t, path, put_measures, err);
}

dt_status study_times_write(const study_table *t, const char *path, dt_error *err)
{
    return write(t, path, put_times, err);
}
