#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/change_point.h"
#include "report/run.h"

enum { PUBLISHED_SIDE = 512 };

static bool grows(const run *r)
{
    return strcmp(r->convergence[0].measure, map_measure_name(MAP_MSE)) != 0;
}

static double threshold_of(const run *r)
{
    const char *said = run_setting_text(r, "convergence_threshold"), *control = r->convergence[0].control;
    const double value = map_threshold(said ? said : "", control);
    const bool published = run_setting_number(r, "resolution") == PUBLISHED_SIDE;
    return isnan(value) && published ? map_threshold("paper", control) : value;
}

static double step_at(const run *r, int64_t i)
{
    return i >= 0 ? r->convergence[i].step : (double)NAN;
}

/* The step at which the curve, moved by so many standard errors to where samples obey, reaches the threshold. */
static double reached(const run *r, double *curve, double errors, double threshold)
{
    const bool up = grows(r);
    for (int64_t i = 0; i < r->convergence_count; i++) {
        const run_convergence *at = &r->convergence[i];
        const double moved = errors == 0 ? 0 : errors * at->error; /* a single picture has no error */
        curve[i] = up ? at->value + moved : at->value - moved;
    }
    return step_at(r, threshold_reached(curve, r->convergence_count, threshold, up));
}

run_obedience run_find_obedience(const run *r)
{
    run_obedience found = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    const int64_t count = r->convergence_count;
    double *curve = count ? calloc((size_t)(2 * count), sizeof *curve) : NULL; /* values, errors */
    if (!curve) return found;
    found.last = r->convergence[count - 1].value;
    found.threshold = threshold_of(r);
    if (!isnan(found.threshold)) {
        found.early = reached(r, curve, 1.96, found.threshold);
        found.late = reached(r, curve, -1.96, found.threshold);
        found.reached = reached(r, curve, 0, found.threshold);
    }
    for (int64_t i = 0; i < count; i++) {
        curve[i] = r->convergence[i].value;
        curve[count + i] = r->convergence[i].error;
    }
    const change_point c = change_point_of_means(curve, curve + count, count, grows(r));
    if (c.found) {
        found.jump = step_at(r, c.first);
        found.jump_first = step_at(r, c.least);
        found.jump_last = step_at(r, c.most);
        found.before = c.before;
        found.after = c.after;
    }
    free(curve);
    return found;
}

run_steps run_obeys_from(const run *r)
{
    const run_obedience o = run_find_obedience(r);
    if (isnan(o.threshold)) return (run_steps){o.jump, o.jump_first, o.jump_last, true};
    return (run_steps){o.reached, o.early, o.late, false};
}

const map_published *run_published_row(const run *r)
{
    const char *said = run_setting_text(r, "convergence_threshold");
    return r->convergence_count ? map_published_row(r->convergence[0].control, said ? said : "") : NULL;
}
