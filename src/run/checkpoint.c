#include "run/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sort.h"
#include "adapter/adapter_file.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"
#include "run/weights_file.h"

static const char *const weight_files[] = {WEIGHTS_FILE, AVERAGES_FILE, "optimizer.safetensors", "power.safetensors"};
enum { MODEL, EMA, OPTIMIZER, POWER, WEIGHT_FILES_MAX };

/* The last one is of runs that keep power-function averages. */
static int weight_file_count(const training *r)
{
    return r->trainer.set.power_count ? WEIGHT_FILES_MAX : POWER;
}

/* No run is longer (the settings' bound), and steps are counted in 32 bits by the random numbers. */
static const int64_t STEP_MAX = 1000000000;

static void name_of(char name[64], int64_t step)
{
    snprintf(name, 64, "step-%08lld", (long long)step);
}

static void folder_of(char out[DT_PATH_MAX], const training *r, const char *name)
{
    char inside[96];
    snprintf(inside, sizeof inside, "checkpoints/%.64s", name);
    file_join(out, r->folder, inside);
}

/* ---- saving ---- */

static dt_status save_json(const char *folder, const char *name, json_t *value, file_hash *hash, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return json_file_write(path, value, hash, err);
}

/* All weights where all of them train, so that the file is a model; else the rows that do. */
static dt_status save_weights(training *r, const char *path, train_values values, file_hash *hash)
{
    trainer *t = &r->trainer;
    ctx *c = t->c;
    const denoiser *d = &t->model;
    if (t->set.table_count > 1 || !trainset_has_all(&t->set, d->params))
        return trainset_write(c, &t->set, path, &values, &(const char *){""}, 1, hash);
    const arena_place mark = arena_mark(&c->scratch);
    const denoiser_file file = {.path = path,
                                .format = DT_MODEL_SAFETENSORS,
                                .dtype = DT_FILE_F32,
                                .values = trainset_values_in(c, &t->set, d->params, values),
                                .hash = hash};
    if (!ctx_failed(c)) d->ops->write(c, d, &file);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* Moments under the names that PyTorch gives them. */
static dt_status save_moments(training *r, const char *path, file_hash *hash)
{
    static const train_values values[] = {TRAIN_M, TRAIN_V};
    static const char *const prefix[] = {"exp_avg.", "exp_avg_sq."};
    return trainset_write(r->trainer.c, &r->trainer.set, path, values, prefix, 2, hash);
}

/* "0.05.": what stands before the names of a power-function average. */
typedef char power_prefix[POWER_TEXT_MAX + 1];

static void name_power(power_prefix prefix, const training *r, int power)
{
    power_length_text(prefix, r->trainer.optimizer.power_length[power]);
    strcat(prefix, ".");
}

static dt_status save_powers(training *r, const char *path, file_hash *hash)
{
    trainer *t = &r->trainer;
    train_values values[POWER_LENGTHS_MAX];
    power_prefix text[POWER_LENGTHS_MAX];
    const char *prefix[POWER_LENGTHS_MAX];
    for (int i = 0; i < t->set.power_count; i++) {
        values[i] = (train_values)(TRAIN_POWERS + i);
        name_power(text[i], r, i);
        prefix[i] = text[i];
    }
    return trainset_write(t->c, &t->set, path, values, prefix, t->set.power_count, hash);
}

static json_t *describe_state(const trainer *t)
{
    return JSON_OBJECT({"step", json_integer(t->step)}, {"update_count", json_integer(t->optimizer.update_count)},
                       {"skipped", json_integer(t->skipped)}, {"skipped_in_row", json_integer(t->skipped_in_row)});
}

/* PEFT's description, which the rows of an adapter are read with. */
static dt_status save_adapter_config(training *r, const char *folder)
{
    char path[DT_PATH_MAX];
    const trainer *t = &r->trainer;
    file_join(path, folder, ADAPTER_CONFIG);
    return adapter_config_write(&t->adapter.plan, &t->model, r->s->pretrained_model, path, &t->c->error);
}

static dt_status save_files(training *r, const char *folder)
{
    char path[DT_PATH_MAX];
    file_hash hash[WEIGHT_FILES_MAX], state_hash;
    dt_error *err = &r->trainer.c->error;
    file_join(path, folder, weight_files[MODEL]);
    save_weights(r, path, TRAIN_WEIGHTS, &hash[MODEL]);
    file_join(path, folder, weight_files[EMA]);
    save_weights(r, path, TRAIN_AVERAGES, &hash[EMA]);
    file_join(path, folder, weight_files[OPTIMIZER]);
    save_moments(r, path, &hash[OPTIMIZER]);
    file_join(path, folder, weight_files[POWER]);
    if (r->trainer.set.power_count) save_powers(r, path, &hash[POWER]);
    if (err->status == DT_OK && weights_adapt(r)) save_adapter_config(r, folder);
    if (err->status != DT_OK) return err->status;
    if (save_json(folder, STATE_FILE, describe_state(&r->trainer), &state_hash, err) != DT_OK) return err->status;
    json_t *manifest = JSON_OBJECT({STATE_FILE, json_string(state_hash.hex)});
    for (int i = 0; i < weight_file_count(r); i++) json_put(&manifest, weight_files[i], json_string(hash[i].hex));
    return save_json(folder, MANIFEST_FILE, manifest, NULL, err);
}

/* The step that a finished checkpoint's name states; -1 for other names. */
static int64_t step_of(const char *name)
{
    size_t digits = strspn(name + (strncmp(name, "step-", 5) ? 0 : 5), "0123456789");
    if (strncmp(name, "step-", 5) || digits == 0 || digits > 12 || name[5 + digits]) return -1;
    return strtoll(name + 5, NULL, 10);
}

static int compare_steps(const void *a, const void *b)
{
    int64_t x = step_of(*(char *const *)a), y = step_of(*(char *const *)b);
    return (x > y) - (x < y);
}

/* Names of checkpoints, oldest first. */
static dt_status list_checkpoints(file_names *names, const training *r, dt_error *err)
{
    char folder[DT_PATH_MAX];
    file_join(folder, r->folder, "checkpoints");
    *names = (file_names){0};
    if (!file_exists(folder) || file_list(names, folder, err) != DT_OK) return err->status;
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        char *name = names->name[i];
        if (step_of(name) >= 0)
            names->name[kept++] = name;
        else
            free(name);
    }
    names->count = kept;
    sort_array(names->name, kept, sizeof names->name[0], compare_steps);
    return DT_OK;
}

/* Those of later steps were broken when this run was resumed: they neither count nor are touched. */
static dt_status remove_old(training *r)
{
    int64_t limit = r->checkpoints_kept, past = 0;
    file_names names;
    dt_error *err = &r->trainer.c->error;
    if (limit <= 0 || list_checkpoints(&names, r, err) != DT_OK) return err->status;
    while (past < (int64_t)names.count && step_of(names.name[past]) <= r->trainer.step) past++;
    for (int64_t i = 0; i < past - limit; i++) {
        char folder[DT_PATH_MAX];
        folder_of(folder, r, names.name[i]);
        file_remove_tree(folder, err);
    }
    file_names_free(&names);
    return err->status;
}

/* A leftover of an attempt that was killed is in the way and holds nothing finished. */
static dt_status make_fresh_folder(const char *folder, dt_error *err)
{
    if (file_exists(folder) && file_remove_tree(folder, err) != DT_OK) return err->status;
    return file_make_dirs(folder, err);
}

dt_status checkpoint_save(training *r)
{
    char name[64], folder[DT_PATH_MAX], unfinished[DT_PATH_MAX];
    dt_error *err = &r->trainer.c->error;
    name_of(name, r->trainer.step);
    folder_of(folder, r, name);
    if (r->saved_step == r->trainer.step) return remove_old(r); /* where a call ended before it had done so */
    folder_of(unfinished, r, "unfinished");
    if (make_fresh_folder(unfinished, err) != DT_OK) return err->status;
    save_files(r, unfinished);
    if (err->status == DT_OK)
        metrics_log_sync(&r->log.metrics, err); /* what is decided from it on the way is decided again */
    /* What bears this name already was found broken by checkpoint_resume. */
    if (err->status == DT_OK && file_exists(folder)) file_remove_tree(folder, err);
    if (err->status == DT_OK) file_rename(unfinished, folder, err);
    if (err->status != DT_OK) {
        dt_error ignored = {0};
        file_remove_tree(unfinished, &ignored);
        return err->status;
    }
    r->saved_step = r->trainer.step;
    trainer_log(&r->trainer, "checkpoint %s", folder);
    return remove_old(r);
}

/* ---- resuming ---- */

static json_t *load_json(const char *folder, const char *name, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return json_file_read(path, err);
}

/* Every file that belongs to a checkpoint has the hash that the manifest states. */
static dt_status verify(const training *r, const char *folder, dt_error *err)
{
    json_t *manifest = load_json(folder, MANIFEST_FILE, err);
    const int count = weight_file_count(r);
    for (int i = 0; i <= count && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        file_hash hash;
        const char *name = i < count ? weight_files[i] : STATE_FILE;
        const char *expected = json_string_value(json_object_get(manifest, name));
        file_join(path, folder, name);
        if (file_sha256(&hash, path, err) == DT_OK && (!expected || strcmp(expected, hash.hex)))
            error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    }
    json_decref(manifest);
    return err->status;
}

static int64_t read_count(const json_t *state, const char *folder, const char *key, dt_error *err)
{
    const json_t *value = json_object_get(state, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > STEP_MAX)
        error_set(err, DT_ERR_FORMAT, "%s/state.json: %s must be a whole number from 0 to %lld", folder, key,
                  (long long)STEP_MAX);
    return json_integer_value(value);
}

static dt_status load_state(training *r, const char *folder, dt_error *err)
{
    json_t *state = load_json(folder, STATE_FILE, err);
    r->trainer.step = r->saved_step = read_count(state, folder, "step", err);
    r->trainer.optimizer.update_count = read_count(state, folder, "update_count", err);
    r->trainer.skipped = read_count(state, folder, "skipped", err);
    r->trainer.skipped_in_row = read_count(state, folder, "skipped_in_row", err);
    json_decref(state);
    return err->status;
}

static dt_status load(training *r, const char *folder, dt_error *err)
{
    static const struct {
        int file;
        train_values values;
        const char *prefix;
    } parts[] = {{MODEL, TRAIN_WEIGHTS, ""},
                 {EMA, TRAIN_AVERAGES, ""},
                 {OPTIMIZER, TRAIN_M, "exp_avg."},
                 {OPTIMIZER, TRAIN_V, "exp_avg_sq."}};
    trainer *t = &r->trainer;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, weight_files[parts[i].file]);
        trainset_read(t->c, &t->set, path, parts[i].values, parts[i].prefix);
    }
    for (int i = 0; i < t->set.power_count && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        power_prefix prefix;
        name_power(prefix, r, i);
        file_join(path, folder, weight_files[POWER]);
        trainset_read(t->c, &t->set, path, (train_values)(TRAIN_POWERS + i), prefix);
    }
    trainset_changed(t->c, &t->set);
    return err->status == DT_OK ? load_state(r, folder, err) : err->status;
}

dt_status checkpoint_resume(training *r)
{
    file_names names;
    bool found = false;
    if (list_checkpoints(&names, r, &r->trainer.c->error) != DT_OK) return r->trainer.c->error.status;
    for (size_t i = names.count; i-- > 0 && !found && !ctx_failed(r->trainer.c);) {
        char folder[DT_PATH_MAX];
        dt_error broken = {0};
        folder_of(folder, r, names.name[i]);
        if (verify(r, folder, &broken) != DT_OK && error_is_of_machine(&broken)) {
            error_set(&r->trainer.c->error, broken.status, "%s", broken.message);
            break;
        }
        if (broken.status != DT_OK) {
            trainer_log(&r->trainer, "checkpoint passed over: %s", broken.message);
            continue;
        }
        found = true;
        if (load(r, folder, &r->trainer.c->error) == DT_OK) trainer_log(&r->trainer, "resuming from %s", folder);
    }
    file_names_free(&names);
    return r->trainer.c->error.status;
}

dt_status checkpoint_follow(training *r, int64_t step)
{
    char name[64], folder[DT_PATH_MAX];
    name_of(name, step);
    folder_of(folder, r, name);
    return load(r, folder, &r->trainer.c->error);
}

int64_t checkpoint_disk_bytes(const training *r)
{
    const trainer *t = &r->trainer;
    const int64_t value = (int64_t)sizeof(float), trained = trainset_values(&t->set) * value;
    const int64_t model = params_count(t->model.params, true) * value;
    const int64_t weights = t->set.table_count == 1 && trainset_has_all(&t->set, t->model.params) ? model : trained;
    const int64_t made = r->checkpointing_steps > 0 ? r->step_count / r->checkpointing_steps : 0;
    const int64_t kept = r->checkpoints_kept > 0 && made > r->checkpoints_kept ? r->checkpoints_kept : made;
    const int64_t results = r->s->save_model_as == DT_MODEL_SAFETENSORS ? 1 : 2;
    const int64_t base = r->s->sd_unlocked ? params_count(t->model.base->params, true) * value : 0;
    const int64_t each = 2 * weights + (2 + t->set.power_count) * trained; /* weights, averages, two moments */
    int64_t bytes;
    if (__builtin_mul_overflow(each, kept + 1, &bytes) || __builtin_add_overflow(bytes, results * model + base, &bytes))
        return INT64_MAX;
    return bytes;
}
