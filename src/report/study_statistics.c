#include "report/study_statistics.h"

#include <math.h>
#include <stdlib.h>

/* The 97.5 % quantile of Student's t; above 30 degrees of freedom by its first terms, right to 0.003. */
static double t_quantile(int degrees)
{
    static const double small[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                                   2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                                   2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
    enum { SMALL = sizeof small / sizeof *small };
    return degrees <= SMALL ? small[degrees - 1] : 1.95996 + 2.3722 / degrees + 2.82 / ((double)degrees * degrees);
}

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
    const double half = t_quantile(s.count - 1) * s.sd / sqrt(s.count);
    s.low = s.mean - half;
    s.high = s.mean + half;
    return s;
}

study_summary study_over_seeds(const study_table *t, study_measure measure, int arm, int data, int way)
{
    double *value = calloc((size_t)t->seed.count, sizeof *value);
    if (!value) return study_summarise(NULL, 0);
    for (int seed = 0; seed < t->seed.count; seed++)
        value[seed] = study_row_at(t, arm, data, seed, way)->value[measure];
    const study_summary s = study_summarise(value, t->seed.count);
    free(value);
    return s;
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
