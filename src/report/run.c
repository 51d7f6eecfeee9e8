#include "report/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/sort.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"
#include "file/numbers_file.h"
#include "file/yaml_file.h"
#include "settings/settings.h"

enum { GRIDS_MAX = 100000 };

double run_band_middle(int band)
{
    return RUN_BAND_STEPS * (band + 0.5);
}

static dt_status file_in_run(char path[DT_PATH_MAX], const run *r, const char *name, dt_error *err)
{
    int length = snprintf(path, DT_PATH_MAX, "%s/%s", r->folder, name);
    if (length >= DT_PATH_MAX)
        return error_set(err, DT_ERR_ARG, "run folder '%s': a path is longer than %d bytes", r->folder,
                         DT_PATH_MAX - 1);
    return DT_OK;
}

static dt_status read_descriptions(run *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    dt_status status = file_in_run(path, r, RUN_FILE, err);
    if (status == DT_OK && !file_exists(path))
        status =
            error_set(err, DT_ERR_IO,
                      "run folder '%s': has no run.json, chain.json or diagnosis.json; is it the --output-dir of a "
                      "training run, of chain or of diagnose?",
                      r->folder);
    if (status == DT_OK && !(r->info = json_file_read(path, err))) status = err->status;
    if (status == DT_OK) status = file_in_run(path, r, DATA_REPORT_FILE, err);
    if (status == DT_OK && file_exists(path) && !(r->data_report = json_file_read(path, err))) status = err->status;
    return status;
}

/* With sentences, and ten bands of the one gap that each diagnosis has. */
static bool is_diagnosis(const json_t *found)
{
    const json_t *bands = json_object_get(json_object_get(found, "target_against_own"), "bands");
    return !strcmp(json_text_at(found, "format"), "difftune diagnosis 1") && json_array_size(bands) == RUN_BANDS &&
           json_array_size(json_object_get(json_object_get(found, "advice"), "lines")) > 0;
}

json_t *run_read_diagnosis(const char *path, dt_error *err)
{
    json_t *found = json_file_read(path, err);
    if (!found || is_diagnosis(found)) return found;
    error_set(err, DT_ERR_FORMAT, "%s: not what difftune diagnose writes (\"difftune diagnosis 1\")", path);
    json_decref(found);
    return NULL;
}

static dt_status read_diagnosis(run *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    dt_status status = file_in_run(path, r, DIAGNOSIS_FILE, err);
    if (status == DT_OK && file_exists(path) && !(r->diagnosis = run_read_diagnosis(path, err))) status = err->status;
    return status;
}

static dt_status add_setting(run *r, const char *path, char *key, const char *value, dt_error *err)
{
    run_setting *grown = grow_array(r->setting, r->setting_count, sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "%s: not enough memory", path);
    r->setting = grown;
    for (char *c = key; *c; c++)
        if (*c == '-') *c = '_';
    run_setting *one = &grown[r->setting_count++];
    *one = (run_setting){strdup(key), strdup(value)};
    return one->key && one->value ? DT_OK : error_set(err, DT_ERR_MEMORY, "%s: not enough memory", path);
}

/* A pair of the top mapping, whose key is at hand. What is no pair of scalars is only shown as text. */
static dt_status read_pair(run *r, yaml_file *y, dt_error *err)
{
    char *key = y->event.type == YAML_SCALAR_EVENT ? strdup((const char *)y->event.data.scalar.value) : NULL;
    if (y->event.type == YAML_SCALAR_EVENT && !key) error_set(err, DT_ERR_MEMORY, "%s: not enough memory", y->path);
    if (err->status == DT_OK && yaml_file_skip(y, err) == DT_OK && yaml_file_next(y, err) == DT_OK) {
        if (key && y->event.type == YAML_SCALAR_EVENT)
            add_setting(r, y->path, key, (const char *)y->event.data.scalar.value, err);
        else
            yaml_file_skip(y, err);
    }
    free(key);
    return err->status;
}

/* The first document. */
static dt_status read_settings(run *r, yaml_file *y, dt_error *err)
{
    while (yaml_file_next(y, err) == DT_OK && y->event.type != YAML_DOCUMENT_END_EVENT &&
           y->event.type != YAML_STREAM_END_EVENT)
        if (y->depth == 1)
            read_pair(r, y, err);
        else if (y->event.type != YAML_MAPPING_START_EVENT)
            yaml_file_skip(y, err);
    return err->status;
}

static dt_status read_config(run *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    yaml_file y;
    dt_status status = file_in_run(path, r, CONFIG_FILE, err);
    if (status != DT_OK || !file_exists(path)) return status;
    if (yaml_file_open(&y, path, DT_ERR_FORMAT, err) != DT_OK) return err->status;
    read_settings(r, &y, err);
    r->config = strdup(y.text);
    if (!r->config) error_set(err, DT_ERR_MEMORY, "%s: not enough memory", path);
    yaml_file_close(&y);
    return err->status;
}

static dt_status read_psi(run *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    enum { COUNT = RUN_BANDS * RUN_BAND_STEPS };
    dt_status status = file_in_run(path, r, PSI_FILE, err);
    if (status != DT_OK || !file_exists(path)) return status;
    r->psi = calloc(COUNT, sizeof *r->psi);
    if (!r->psi) return error_set(err, DT_ERR_MEMORY, "%s: not enough memory", path);
    return numbers_file_read(r->psi, COUNT, 1, path, err);
}

/* The step in "step_00000500.png", where `kind` is "step_"; -1 for any other name. */
static int64_t picture_step(const char *name, const char *kind)
{
    char *end = NULL;
    const size_t length = strlen(kind);
    if (strncmp(name, kind, length) != 0 || name[length] < '0' || name[length] > '9') return -1;
    long long step = strtoll(name + length, &end, 10);
    return strcmp(end, ".png") == 0 && step >= 0 ? (int64_t)step : -1;
}

static int compare_grids(const void *a, const void *b)
{
    int64_t left = ((const run_grid *)a)->step, right = ((const run_grid *)b)->step;
    return (left > right) - (left < right);
}

/* Those of one kind, by step. */
static dt_status find_pictures(run_grid **list, int64_t *count, const file_names *names, const char *folder,
                               const char *kind, dt_error *err)
{
    *list = calloc(names->count + 1, sizeof **list);
    if (!*list) return error_set(err, DT_ERR_MEMORY, "%s: not enough memory", folder);
    for (size_t i = 0; i < names->count; i++) {
        run_grid *g = &(*list)[*count];
        g->step = picture_step(names->name[i], kind);
        if (g->step < 0) continue;
        if (asprintf(&g->path, "%s/%s", folder, names->name[i]) < 0) {
            g->path = NULL;
            return error_set(err, DT_ERR_MEMORY, "%s: not enough memory", folder);
        }
        ++*count;
    }
    sort_array(*list, (size_t)*count, sizeof **list, compare_grids);
    return DT_OK;
}

static dt_status find_grids(run *r, dt_error *err)
{
    char folder[DT_PATH_MAX];
    file_names names = {0};
    dt_status status = file_in_run(folder, r, "samples", err);
    if (status != DT_OK || !file_is_folder(folder)) return status;
    status = file_list(&names, folder, err);
    if (status == DT_OK && names.count > GRIDS_MAX)
        status =
            error_set(err, DT_ERR_FORMAT, "%s: holds %zu files, at most %d are read", folder, names.count, GRIDS_MAX);
    if (status == DT_OK) status = find_pictures(&r->grid, &r->grid_count, &names, folder, "step_", err);
    if (status == DT_OK) status = find_pictures(&r->strip, &r->strip_count, &names, folder, "control_", err);
    file_names_free(&names);
    return status;
}

dt_status run_open(run *out, const char *folder, dt_error *err)
{
    *out = (run){0};
    if (strlen(folder) >= sizeof out->folder)
        return error_set(err, DT_ERR_ARG, "run folder: the path is longer than %zu bytes", sizeof out->folder - 1);
    strcpy(out->folder, folder);
    dt_status status = DT_OK;
    if (!file_is_folder(folder)) status = error_set(err, DT_ERR_IO, "run folder '%s': no such folder", folder);
    if (status == DT_OK) status = read_descriptions(out, err);
    if (status == DT_OK) status = read_config(out, err);
    if (status == DT_OK) status = run_read_metrics(out, err);
    if (status == DT_OK) status = read_psi(out, err);
    if (status == DT_OK) status = read_diagnosis(out, err);
    if (status == DT_OK) status = find_grids(out, err);
    if (status != DT_OK) run_close(out);
    return status;
}

void run_close(run *r)
{
    json_decref(r->info);
    json_decref(r->data_report);
    json_decref(r->diagnosis);
    for (int64_t i = 0; i < r->setting_count; i++) {
        free(r->setting[i].key);
        free(r->setting[i].value);
    }
    for (int64_t i = 0; i < r->grid_count; i++) free(r->grid[i].path);
    for (int64_t i = 0; i < r->strip_count; i++) free(r->strip[i].path);
    for (int set = 0; set < RUN_SETS; set++) free(r->validation[set]);
    free(r->psi);
    free(r->setting);
    free(r->config);
    free(r->grid);
    free(r->strip);
    free(r->train);
    free(r->eval);
    free(r->weights);
    free(r->convergence);
    *r = (run){0};
}

const char *run_text(const run *r, const char *key)
{
    return json_text_at(r->info, key);
}

const char *run_setting_text(const run *r, const char *key)
{
    for (int64_t i = 0; i < r->setting_count; i++)
        if (strcmp(r->setting[i].key, key) == 0) return r->setting[i].value;
    return NULL;
}

/* The settings that the rules below ask for. */
static void take_settings(dt_settings *s, const run *r)
{
    static const char *const keys[] = {"preset", "retention", "bank", "control", "controlnet_model"};
    dt_error unused = {0};
    dt_settings_init(s);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *text = run_setting_text(r, keys[i]);
        if (text) settings_set(s, keys[i], text, &unused);
    }
}

const char *run_retention(const run *r)
{
    dt_settings s;
    take_settings(&s, r);
    return settings_word_at("retention", settings_retention(&s));
}

bool run_tells_control(const run *r)
{
    dt_settings s;
    take_settings(&s, r);
    return settings_tell_control(&s);
}

double run_setting_number(const run *r, const char *key)
{
    const char *text = run_setting_text(r, key);
    char *end = NULL;
    if (!text) return NAN;
    double value = strtod(text, &end);
    return end != text && *end == '\0' ? value : NAN;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The median of the speeds, which a pause for sampling or a busy machine moves less than it moves the mean. */
static double median_speed(const run *r)
{
    double median = NAN, *speed = calloc((size_t)r->train_count + 1, sizeof *speed);
    int64_t count = 0;
    if (!speed) return NAN;
    for (int64_t i = 0; i < r->train_count; i++)
        if (isfinite(r->train[i].samples_per_second)) speed[count++] = r->train[i].samples_per_second;
    sort_array(speed, (size_t)count, sizeof *speed, compare_doubles);
    if (count > 0) median = (speed[count / 2] + speed[(count - 1) / 2]) / 2;
    free(speed);
    return median;
}

/* Whether two records are of different calls. Each begins its clock anew and says which step it went on from; that of a program
 * which did not say it shows only where the clock falls. */
static bool is_resumed(const run_train *before, const run_train *now)
{
    return now->time_s < before->time_s || (isfinite(now->from_step) && now->from_step != before->from_step);
}

static double total_seconds(const run *r)
{
    double seconds = 0;
    const run_train *last = NULL;
    for (int64_t i = 0; i < r->train_count; i++) {
        const run_train *now = &r->train[i];
        if (!isfinite(now->time_s)) continue;
        if (last && is_resumed(last, now)) seconds += last->time_s;
        last = now;
    }
    return last ? seconds + last->time_s : (double)NAN;
}

run_summary run_summarise(const run *r)
{
    run_summary s = {.steps = NAN,
                     .planned_steps = run_setting_number(r, "max_train_steps"),
                     .batch = run_setting_number(r, "train_batch_size"),
                     .seconds = total_seconds(r),
                     .samples_per_second = median_speed(r),
                     .memory_bytes = NAN,
                     .skipped = NAN};
    double accumulation = run_setting_number(r, "gradient_accumulation_steps");
    if (isfinite(accumulation)) s.batch *= accumulation;
    for (int64_t i = 0; i < r->train_count; i++) {
        s.steps = r->train[i].step;
        s.memory_bytes = fmax(s.memory_bytes, r->train[i].memory_bytes);
        s.skipped = fmax(s.skipped, r->train[i].skipped);
    }
    return s;
}

run_evals run_find_evals(const run *r, const char *measure)
{
    run_evals found = {0};
    for (int64_t i = 0; i < r->eval_count; i++) {
        const run_eval *e = &r->eval[i];
        if (strcmp(e->measure, measure) != 0) continue;
        if (e->step == 0) {
            found.base = e;
            continue;
        }
        found.last = e;
        if (isfinite(e->frechet_distance) && (!found.best || e->frechet_distance < found.best->frechet_distance))
            found.best = e;
    }
    return found;
}

bool run_is(const run *r, dt_method method)
{
    return settings_word_number("method", run_text(r, "method")) == (int)method;
}
