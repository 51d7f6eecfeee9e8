/* metrics.jsonl: one JSON object a line. Five kinds are read; others are left to other readers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "file/json_file.h"
#include "report/run.h"

enum { METRICS_LIMIT = 512 << 20, STEP_MEASURES_MAX = 64 };

/* The line in hand: where it is, and what is wrong with it. */
typedef struct line {
    const char *path;
    long long number;
    json_t *record;
    dt_error *err;
} line;

static dt_status refuse(const line *l, const char *what)
{
    return error_set(l->err, DT_ERR_FORMAT, "%s: line %lld: %s", l->path, l->number, what);
}

/* NaN for a number that is missing or null: JSON has no other way to say "not a number". */
static dt_status get_number(double *out, const line *l, const json_t *from, const char *key)
{
    const json_t *value = json_object_get(from, key);
    *out = NAN;
    if (!value || json_is_null(value)) return DT_OK;
    if (!json_is_number(value))
        return error_set(l->err, DT_ERR_FORMAT, "%s: line %lld: '%s' is not a number", l->path, l->number, key);
    *out = json_number_value(value);
    return DT_OK;
}

static dt_status get_step(double *step, const line *l)
{
    const json_t *value = json_object_get(l->record, "step");
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return refuse(l, "expected a 'step' that is a whole number, not negative");
    *step = (double)json_integer_value(value);
    return DT_OK;
}

/* Room for one more element of `size` bytes. */
static dt_status reserve(void **items, int64_t count, size_t size, const line *l)
{
    void *grown = grow_array(*items, count, size);
    if (!grown) return error_set(l->err, DT_ERR_MEMORY, "%s: not enough memory for its records", l->path);
    *items = grown;
    return DT_OK;
}

static dt_status add_train(run *r, const line *l)
{
    run_train t = {0};
    const struct {
        const char *key;
        double *value;
    } fields[] = {{"loss_target", &t.loss_target},
                  {"loss_bank", &t.loss_bank},
                  {"loss_retained", &t.loss_retained},
                  {"grad_norm", &t.grad_norm},
                  {"lr", &t.lr},
                  {"samples_per_second", &t.samples_per_second},
                  {"time_s", &t.time_s},
                  {"from_step", &t.from_step},
                  {"memory_bytes", &t.memory_bytes},
                  {"skipped", &t.skipped}};
    dt_status status = get_step(&t.step, l);
    for (size_t i = 0; status == DT_OK && i < sizeof fields / sizeof *fields; i++)
        status = get_number(fields[i].value, l, l->record, fields[i].key);
    if (status != DT_OK) return status;
    while (r->train_count > 0 && r->train[r->train_count - 1].step >= t.step) r->train_count--;
    status = reserve((void **)&r->train, r->train_count, sizeof t, l);
    if (status == DT_OK) r->train[r->train_count++] = t;
    return status;
}

static dt_status get_bands(run_validation *v, const line *l)
{
    const json_t *bands = json_object_get(l->record, "bands"), *band;
    size_t i;
    for (int b = 0; b < RUN_BANDS; b++) v->band_loss[b] = v->band_mse[b] = NAN;
    if (!bands) return DT_OK;
    if (!json_is_array(bands)) return refuse(l, "'bands' is not a list");
    json_array_foreach(bands, i, band)
    {
        const json_t *first = json_object_get(band, "t_first");
        json_int_t t = json_is_integer(first) ? json_integer_value(first) : -1;
        if (t < 0 || t >= RUN_BANDS * RUN_BAND_STEPS || t % RUN_BAND_STEPS)
            return refuse(l, "expected bands whose 't_first' is one of 0, 100, .. 900");
        dt_status status = get_number(&v->band_loss[t / RUN_BAND_STEPS], l, band, "loss");
        if (status == DT_OK) status = get_number(&v->band_mse[t / RUN_BAND_STEPS], l, band, "mse");
        if (status != DT_OK) return status;
    }
    return DT_OK;
}

static dt_status add_validation(run *r, const line *l)
{
    run_validation v = {0};
    const char *name = json_string_value(json_object_get(l->record, "set"));
    static const char *const sets[RUN_SETS] = {[RUN_TARGET] = "target", [RUN_BANK] = "bank", [RUN_TRAIN] = "train"};
    int set = 0;
    while (name && set < RUN_SETS && strcmp(name, sets[set]) != 0) set++;
    if (!name || set == RUN_SETS) return refuse(l, "expected a 'set' that is \"target\", \"bank\" or \"train\"");
    dt_status status = get_step(&v.step, l);
    if (status == DT_OK) status = get_number(&v.loss, l, l->record, "loss");
    if (status == DT_OK) status = get_bands(&v, l);
    if (status != DT_OK) return status;
    int64_t *count = &r->validation_count[set];
    while (*count > 0 && r->validation[set][*count - 1].step >= v.step) --*count;
    status = reserve((void **)&r->validation[set], *count, sizeof v, l);
    if (status == DT_OK) r->validation[set][(*count)++] = v;
    return status;
}

static dt_status get_layers(run_weights *w, const line *l)
{
    const json_t *kinds = json_object_get(l->record, "kinds"), *blocks = json_object_get(l->record, "blocks"), *part;
    const char *kind;
    size_t i;
    json_object_foreach((json_t *)kinds, kind, part)
    {
        if (w->kinds == RUN_KINDS_MAX || strlen(kind) >= RUN_NAME_MAX) return refuse(l, "too many or too long 'kinds'");
        struct run_layers *layers = &w->layers[w->kinds++];
        strcpy(layers->kind, kind);
        if (get_number(&layers->squares, l, part, "squares") != DT_OK ||
            get_number(&layers->per_value, l, part, "per_value") != DT_OK)
            return l->err->status;
    }
    json_array_foreach(blocks, i, part)
    {
        if (i < RUN_BLOCKS_MAX && get_number(&w->block[w->blocks++], l, part, "per_value") != DT_OK)
            return l->err->status;
    }
    return DT_OK;
}

static dt_status add_weights(run *r, const line *l)
{
    run_weights w = {0};
    dt_status status = get_step(&w.step, l);
    if (status == DT_OK) status = get_number(&w.squares, l, l->record, "squares");
    if (status == DT_OK) status = get_number(&w.per_value, l, l->record, "per_value");
    if (status == DT_OK) status = get_layers(&w, l);
    if (status != DT_OK) return status;
    while (r->weights_count > 0 && r->weights[r->weights_count - 1].step >= w.step) r->weights_count--;
    status = reserve((void **)&r->weights, r->weights_count, sizeof w, l);
    if (status == DT_OK) r->weights[r->weights_count++] = w;
    return status;
}

static dt_status get_name(char out[RUN_NAME_MAX], const line *l, const char *key)
{
    const char *name = json_string_value(json_object_get(l->record, key));
    if (!name || strlen(name) == 0 || strlen(name) >= RUN_NAME_MAX)
        return error_set(l->err, DT_ERR_FORMAT, "%s: line %lld: expected a '%s' of 1 to %d bytes", l->path, l->number,
                         key, RUN_NAME_MAX - 1);
    strcpy(out, name);
    return DT_OK;
}

static dt_status add_eval(run *r, const line *l)
{
    run_eval e = {0};
    const struct {
        const char *key;
        double *value;
    } fields[] = {{"frechet_distance", &e.frechet_distance},
                  {"kernel_distance", &e.kernel_distance},
                  {"kernel_distance_std", &e.kernel_distance_std},
                  {"count", &e.count},
                  {"reference_count", &e.reference_count}};
    dt_status status = get_name(e.measure, l, "measure");
    if (status == DT_OK) status = get_step(&e.step, l);
    for (size_t i = 0; status == DT_OK && i < sizeof fields / sizeof *fields; i++)
        status = get_number(fields[i].value, l, l->record, fields[i].key);
    if (status != DT_OK) return status;
    while (r->eval_count > 0 && r->eval[r->eval_count - 1].step > e.step) r->eval_count--;
    int64_t same = 0;
    for (int64_t i = r->eval_count; i-- > 0 && r->eval[i].step == e.step; same++) {
        if (strcmp(r->eval[i].measure, e.measure) != 0) continue;
        r->eval[i] = e;
        return DT_OK;
    }
    if (same == STEP_MEASURES_MAX)
        return error_set(l->err, DT_ERR_FORMAT, "%s: line %lld: more than %d measures of one step", l->path, l->number,
                         STEP_MEASURES_MAX);
    status = reserve((void **)&r->eval, r->eval_count, sizeof e, l);
    if (status == DT_OK) r->eval[r->eval_count++] = e;
    return status;
}

static dt_status add_convergence(run *r, const line *l)
{
    run_convergence v = {0};
    dt_status status = get_step(&v.step, l);
    if (status == DT_OK) status = get_name(v.control, l, "control");
    if (status == DT_OK) status = get_name(v.measure, l, "measure");
    if (status == DT_OK) status = get_number(&v.value, l, l->record, "value");
    if (status == DT_OK) status = get_number(&v.error, l, l->record, "error");
    if (status == DT_OK) status = get_number(&v.count, l, l->record, "count");
    if (status != DT_OK) return status;
    while (r->convergence_count > 0 && r->convergence[r->convergence_count - 1].step >= v.step) r->convergence_count--;
    status = reserve((void **)&r->convergence, r->convergence_count, sizeof v, l);
    if (status == DT_OK) r->convergence[r->convergence_count++] = v;
    return status;
}

static dt_status add_record(run *r, const line *l)
{
    static const struct {
        const char *name;
        dt_status (*add)(run *r, const line *l);
    } kinds[] = {{"train", add_train},
                 {"validation", add_validation},
                 {"weights", add_weights},
                 {"eval", add_eval},
                 {"convergence", add_convergence}};
    if (!json_is_object(l->record)) return refuse(l, "expected a JSON object");
    const char *kind = json_string_value(json_object_get(l->record, "kind"));
    if (!kind) return refuse(l, "expected a 'kind'");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].name) == 0) return kinds[i].add(r, l);
    return DT_OK;
}

static dt_status read_lines(run *r, const char *path, const char *text, size_t size, dt_error *err)
{
    line l = {path, 0, NULL, err};
    dt_status status = DT_OK;
    const char *end;
    /* What follows the last newline is a line that a living run is still writing. */
    for (const char *at = text; status == DT_OK && (end = memchr(at, '\n', size - (size_t)(at - text))); at = end + 1) {
        json_error_t where;
        l.number++;
        l.record = json_text_read(at, (size_t)(end - at), &where, path, err);
        if (!l.record)
            return error_set(err, DT_ERR_FORMAT, "%s: line %lld, column %d: not JSON: %s", path, l.number, where.column,
                             where.text);
        status = add_record(r, &l);
        json_decref(l.record);
    }
    return status;
}

static bool has_records(const run *r)
{
    int64_t count = r->train_count + r->eval_count + r->weights_count + r->convergence_count;
    for (int set = 0; set < RUN_SETS; set++) count += r->validation_count[set];
    return count > 0;
}

dt_status run_read_metrics(run *r, dt_error *err)
{
    char path[DT_PATH_MAX + 16], *text = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", r->folder);
    if (!file_exists(path))
        return error_set(err, DT_ERR_IO, "run folder '%s': has no metrics.jsonl; was a training run started in it?",
                         r->folder);
    dt_status status = file_read_all(&text, &size, path, METRICS_LIMIT, err);
    if (status != DT_OK) return status;
    status = read_lines(r, path, text, size, err);
    free(text);
    if (status == DT_OK && !has_records(r)) status = error_set(err, DT_ERR_FORMAT, "%s: holds no records yet", path);
    return status;
}
