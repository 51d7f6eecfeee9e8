#include "report/study_statistics.h"

#include <math.h>
#include <stdlib.h>

#include "base/student.h"

study_summary study_summarise(const double value[], int count)
{
    study_summary s = {0, NAN, NAN, NAN, NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < count; i++) {
        if (!isfinite(value[i])) continue;
        sum += value[i];
        s.count++;
    }
    if (s.count == 0) return s;
    s.mean = sum / s.count;
    for (int i = 0; i < count; i++)
        if (isfinite(value[i])) squares += (value[i] - s.mean) * (value[i] - s.mean);
    if (s.count < 2) return s;
    s.sd = sqrt(squares / (s.count - 1));
    const double half = student_95(s.count - 1) * s.sd / sqrt(s.count);
    s.low = s.mean - half;
    s.high = s.mean + half;
    return s;
}

study_summary study_over_seeds(const study_table *t, study_measure measure, int arm, int data, int way)
{
    double value[STUDY_SEEDS_MAX];
    for (int seed = 0; seed < t->seed.count; seed++)
        value[seed] = study_row_at(t, arm, data, seed, way)->value[measure];
    return study_summarise(value, t->seed.count);
}

static double difference(const study_row *row, const study_row *other, study_measure measure, study_difference how)
{
    const double mine = row->value[measure], theirs = other->value[measure];
    if (how == STUDY_ABSOLUTE) return mine - theirs;
    return theirs > 0 ? 100 * (mine / theirs - 1) : NAN;
}

study_summary study_against_first(const study_table *t, study_measure measure, int arm, int data, int way,
                                  study_difference how)
{
    int count = 0;
    double *value = calloc((size_t)(t->seed.count * t->data.count), sizeof *value);
    if (!value) return study_summarise(NULL, 0);
    for (int d = 0; d < t->data.count; d++)
        for (int seed = 0; seed < t->seed.count && (data < 0 || d == data); seed++)
            value[count++] =
                difference(study_row_at(t, arm, d, seed, way), study_row_at(t, 0, d, seed, way), measure, how);
    const study_summary s = study_summarise(value, count);
    free(value);
    return s;
}

study_summary study_against_first_way(const study_table *t, study_measure measure, int arm, int way,
                                      study_difference how)
{
    int count = 0;
    double *value = calloc((size_t)(t->seed.count * t->data.count), sizeof *value);
    if (!value) return study_summarise(NULL, 0);
    for (int d = 0; d < t->data.count; d++)
        for (int seed = 0; seed < t->seed.count; seed++)
            value[count++] =
                difference(study_row_at(t, arm, d, seed, way), study_row_at(t, arm, d, seed, 0), measure, how);
    const study_summary s = study_summarise(value, count);
    free(value);
    return s;
}
