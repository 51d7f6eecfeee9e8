#include "run/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "eval/change_point.h"
#include "file/json_file.h"
#include "measure/weights.h"
#include "run/eval_record.h"

static dt_error *error_of(const training *r)
{
    return &r->trainer.c->error;
}

dt_status record_step(training *r, const step_result *step, double samples_per_second)
{
    const trainer *t = &r->trainer;
    const struct {
        const char *tag;
        double value;
    } curve[] = {{"loss/target", step->loss_target},     {"loss/bank", step->loss_bank},
                 {"loss/retained", step->loss_retained}, {"grad_norm", step->grad_norm},
                 {"learning_rate", step->learning_rate}, {"samples_per_second", samples_per_second}};
    run_log_write(
        &r->log,
        JSON_OBJECT({"kind", json_string("train")}, {"step", json_integer(t->step)},
                    {"from_step", json_integer(r->log.from_step)}, {"loss_target", json_number(step->loss_target)},
                    {"loss_bank", json_number(step->loss_bank)}, {"loss_retained", json_number(step->loss_retained)},
                    {"grad_norm", json_number(step->grad_norm)}, {"lr", json_real(step->learning_rate)},
                    {"samples_per_second", json_number(samples_per_second)},
                    {"time_s", json_real(run_log_seconds(&r->log))}, {"memory_bytes", json_integer(process_memory())},
                    {"skipped", json_integer(t->skipped)}),
        error_of(r));
    for (size_t i = 0; i < sizeof curve / sizeof *curve; i++)
        run_log_scalar(&r->log, curve[i].tag, t->step, curve[i].value, error_of(r));
    return error_of(r)->status;
}

/* ---- what a step has already ---- */

/* How metrics call a set; that of a run without held-out images is of training images. */
static const char *set_name(const training *r, int set)
{
    if (set == MEASURED_BANK) return "bank";
    return r->trainer.validation.count ? "target" : "train";
}

/* samples/KIND_STEP.png */
static void picture_path(char path[DT_PATH_MAX], const training *r, const char *kind)
{
    char name[64];
    snprintf(name, sizeof name, "samples/%s_%08lld.png", kind, (long long)r->trainer.step);
    file_join(path, r->folder, name);
}

dt_status record_find(training *r)
{
    char path[DT_PATH_MAX];
    dt_error *err = error_of(r);
    recorded *k = &r->recorded;
    const metrics_log *m = &r->log.metrics;
    k->step = r->trainer.step;
    picture_path(path, r, "step");
    k->grid = file_exists(path);
    for (int set = 0; set < 2; set++)
        metrics_log_find(&k->validation[set], m, k->step, "validation", set_name(r, set), err);
    metrics_log_find(&k->weights, m, k->step, "weights", NULL, err);
    metrics_log_find(&k->convergence, m, k->step, "convergence", NULL, err);
    return metrics_log_find(&k->distance, m, k->step, "eval", NULL, err);
}

static bool is_at_recorded_step(const training *r)
{
    return r->recorded.step > 0 && r->recorded.step == r->trainer.step;
}

/* ---- validation ---- */

static json_t *describe_band(const band_losses *l, int i)
{
    return JSON_OBJECT({"t_first", json_integer(i * BAND_WIDTH)}, {"t_last", json_integer((i + 1) * BAND_WIDTH - 1)},
                       {"loss", json_number(l->loss[i])}, {"mse", json_number(l->mse[i])});
}

static dt_status write_bands(training *r, const band_losses *l, const char *set)
{
    const trainer *t = &r->trainer;
    json_t *bands = json_array();
    for (int i = 0; i < BAND_COUNT; i++) {
        char tag[64];
        json_add(&bands, describe_band(l, i));
        snprintf(tag, sizeof tag, "validation_%s/t_%03d_%03d", set, i * BAND_WIDTH, (i + 1) * BAND_WIDTH - 1);
        run_log_scalar(&r->log, tag, t->step, l->loss[i], error_of(r));
    }
    if (strcmp(set, "train") != 0)
        trainer_log(t, "step %lld: validation loss on the %s %.4f", (long long)t->step, set, l->mean);
    else
        trainer_log(t, "step %lld: loss on training images %.4f (no validation_data)", (long long)t->step, l->mean);
    return run_log_write(&r->log,
                         JSON_OBJECT({"kind", json_string("validation")}, {"step", json_integer(t->step)},
                                     {"set", json_string(set)}, {"loss", json_number(l->mean)}, {"bands", bands}),
                         error_of(r));
}

/* What was forgotten, as the paper's figure 5 measures it. */
static dt_status write_weights(training *r, const weight_distance *d)
{
    const int64_t step = r->trainer.step;
    json_t *line = JSON_OBJECT({"kind", json_string("weights")}, {"step", json_integer(step)}),
           *distance = weight_distance_json(d);
    if (line && distance && json_object_update(line, distance) != 0) {
        json_decref(line);
        line = NULL;
    }
    json_decref(distance);
    run_log_scalar(&r->log, "weights/squared_distance", step, d->whole.squares, error_of(r));
    run_log_scalar(&r->log, "weights/squared_distance_per_value", step, distance_per_value(&d->whole), error_of(r));
    return run_log_write(&r->log, distance ? line : NULL, error_of(r));
}

dt_status record_validation(training *r)
{
    trainer *t = &r->trainer;
    band_losses losses[2];
    weight_distance distance;
    const int sets = t->bank.count ? 2 : 1;
    const bool found = is_at_recorded_step(r), *done = r->recorded.validation;
    for (int i = 0; i < sets && !ctx_failed(t->c); i++)
        if (!found || !done[i]) measure_validation(&r->measures, t, (measured_set)i, &losses[i]);
    const bool weights = !found || !r->recorded.weights;
    if (weights && !ctx_failed(t->c)) measure_weights(t, &distance);
    for (int i = 0; i < sets && !ctx_failed(t->c); i++)
        if (!found || !done[i]) write_bands(r, &losses[i], set_name(r, i));
    if (weights && !ctx_failed(t->c)) write_weights(r, &distance);
    return error_of(r)->status;
}

/* ---- samples ---- */

static dt_status save_picture(training *r, const image *grid, const char *kind, const char *tag)
{
    dt_error *err = error_of(r);
    const trainer *t = &r->trainer;
    char path[DT_PATH_MAX];
    uint8_t *png = NULL;
    size_t size = 0;
    picture_path(path, r, kind);
    const image_text text = {"difftune", t->method.line};
    if (image_encode_png(&png, &size, grid->rgb, grid->width, grid->height, &text, 1, err) == DT_OK &&
        file_write_atomic(path, png, size, err) == DT_OK)
        run_log_image(&r->log, tag, t->step, png, size, grid->width, grid->height, err);
    free(png);
    return err->status;
}

dt_status record_grid(training *r)
{
    trainer *t = &r->trainer;
    image grid = {0};
    bool labelled = true;
    if (ctx_failed(t->c) || (is_at_recorded_step(r) && r->recorded.grid)) return error_of(r)->status;
    if (measure_grid(&r->measures, t, &grid, &labelled) == DT_OK) save_picture(r, &grid, "step", "samples");
    if (!labelled)
        trainer_log(t, "step %lld: the sample grid has no class names: fontconfig found no font", (long long)t->step);
    image_close(&grid);
    return error_of(r)->status;
}

dt_status record_distance(training *r)
{
    trainer *t = &r->trainer;
    dt_eval_result d;
    if (is_at_recorded_step(r) && r->recorded.distance) return error_of(r)->status;
    if (ctx_failed(t->c) || measure_distance(&r->measures, t, &d) != DT_OK) return error_of(r)->status;
    trainer_log(t, "step %lld: %s %.4f, kernel distance %.5f +- %.5f (%lld samples, %lld reference images)",
                (long long)t->step, d.measure, d.frechet_distance, d.kernel_distance, d.kernel_distance_std,
                (long long)d.candidate_count, (long long)d.reference_count);
    run_log_scalar(&r->log, d.measure, t->step, d.frechet_distance, error_of(r));
    return run_log_write(&r->log, eval_record(&d, t->step), error_of(r));
}

/* ---- obedience to controls ---- */

dt_status record_convergence(training *r)
{
    trainer *t = &r->trainer;
    const convergence *k = &r->convergence;
    convergence_value v;
    image strip = {0};
    char tag[32];
    if (ctx_failed(t->c) || (is_at_recorded_step(r) && r->recorded.convergence)) return error_of(r)->status;
    if (convergence_take(k, &r->measures, t, &v, &strip) == DT_OK) save_picture(r, &strip, "control", "controls");
    image_close(&strip);
    if (ctx_failed(t->c)) return error_of(r)->status;
    const char *name = map_measure_name(k->measure);
    trainer_log(t, "step %lld: samples and their controls (%s): %s %.4f +- %.4f over %lld%s", (long long)t->step,
                annotator_name(k->annotator.kind), name, v.mean, v.error, (long long)k->count,
                t->validation.count ? "" : " of the training pictures (no validation_data)");
    snprintf(tag, sizeof tag, "convergence/%s", name);
    run_log_scalar(&r->log, tag, t->step, v.mean, error_of(r));
    return run_log_write(&r->log,
                         JSON_OBJECT({"kind", json_string("convergence")}, {"step", json_integer(t->step)},
                                     {"control", json_string(annotator_name(k->annotator.kind))},
                                     {"measure", json_string(name)}, {"value", json_number(v.mean)},
                                     {"error", json_number(v.error)}, {"count", json_integer(k->count)}),
                         error_of(r));
}

/* A key of the measures of obedience. NULL where it has another number of values than *count, if that is not negative; which becomes
 * their number. */
static double *curve_of(const training *r, const char *key, int64_t *count)
{
    double *curve = NULL;
    const int64_t expected = *count;
    metrics_log_curve(&curve, count, &r->log.metrics, "convergence", key, error_of(r));
    if (expected < 0 || *count == expected) return curve;
    free(curve);
    return NULL;
}

dt_status record_has_converged(bool *converged, const training *r)
{
    const bool grows = map_measure_grows(r->convergence.measure);
    const double threshold = convergence_threshold(r->s);
    int64_t count = -1;
    double *curve = curve_of(r, "value", &count);
    int64_t errors = count;
    double *error = curve ? curve_of(r, "error", &errors) : NULL; /* a single picture has none */
    *converged = false;
    if (curve && threshold == threshold) {
        const int64_t at = threshold_reached(curve, count, threshold, grows);
        *converged = at >= 0 && at + 1 < count;
    } else if (curve) {
        const change_point c = change_point_of_means(curve, error, count, grows);
        *converged = c.found && c.most + CONVERGENCE_SETTLED < count;
    }
    free(curve);
    free(error);
    return error_of(r)->status;
}
