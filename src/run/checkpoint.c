#include "run/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file/json_file.h"

static const char *const weight_files[] = {"model.safetensors", "ema.safetensors", "optimizer.safetensors"};
enum { WEIGHT_FILE_COUNT = 3, MODEL = 0, EMA = 1, OPTIMIZER = 2 };

/* No run is longer (the settings' bound), and steps are counted in 32 bits by the random numbers. */
static const int64_t STEP_MAX = 1000000000;

static void folder_of(char out[DT_PATH_MAX], const trainer *t, const char *name)
{
    char inside[96];
    snprintf(inside, sizeof inside, "checkpoints/%.64s", name);
    file_join(out, t->s->output_dir, inside);
}

/* ---- saving ---- */

/* Moments under the names exp_avg.<weight> and exp_avg_sq.<weight>, as PyTorch calls them. */
static dt_status save_moments(trainer *t, const char *path, file_hash *hash)
{
    ctx *c = t->c;
    const params *p = &t->model.params;
    const arena_place mark = arena_mark(&c->scratch);
    size_t count = 0;
    tensor_source *source = arena_alloc_zeroed(&c->scratch, 2 * (size_t)p->count * sizeof *source, &c->error);
    char(*name)[96] = arena_alloc(&c->scratch, 2 * (size_t)p->count * sizeof *name, &c->error);
    for (int i = 0; i < p->count && !ctx_failed(c); i++) {
        const param *row = &p->row[i];
        for (int second = 0; second < 2 && t->optimizer.m[i]; second++, count++) {
            real *moment = second ? t->optimizer.v[i] : t->optimizer.m[i];
            snprintf(name[count], sizeof name[count], "%s.%s", second ? "exp_avg_sq" : "exp_avg", row->name);
            source[count] = (tensor_source){.name = name[count],
                                            .dtype = SAFETENSORS_F32,
                                            .dim_count = row->file_dim_count,
                                            .dims = row->file_dim,
                                            .values = numbers_read(c, &c->scratch, moment, tensor_count(row->tensor))};
        }
    }
    if (!ctx_failed(c)) safetensors_write(path, source, count, NULL, 0, hash, &c->error);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

static dt_status save_json(const char *folder, const char *name, json_t *value, file_hash *hash, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return json_file_write(path, value, hash, err);
}

static dt_status save_files(trainer *t, const char *folder)
{
    char path[DT_PATH_MAX];
    file_hash hash[WEIGHT_FILE_COUNT], state_hash;
    dt_error *err = &t->c->error;
    file_join(path, folder, weight_files[MODEL]);
    dit_save(t->c, &t->model, NULL, path, DT_FILE_F32, NULL, 0, &hash[MODEL]);
    file_join(path, folder, weight_files[EMA]);
    dit_save(t->c, &t->model, t->optimizer.ema, path, DT_FILE_F32, NULL, 0, &hash[EMA]);
    file_join(path, folder, weight_files[OPTIMIZER]);
    save_moments(t, path, &hash[OPTIMIZER]);
    if (err->status != DT_OK) return err->status;
    json_t *state = json_pack("{s:I, s:I, s:I, s:I}", "step", (json_int_t)t->step, "update_count",
                              (json_int_t)t->optimizer.update_count, "skipped", (json_int_t)t->skipped,
                              "skipped_in_row", (json_int_t)t->skipped_in_row);
    if (save_json(folder, "state.json", state, &state_hash, err) != DT_OK) return err->status;
    json_t *manifest = json_pack("{s:s}", "state.json", state_hash.hex);
    for (int i = 0; i < WEIGHT_FILE_COUNT; i++)
        json_object_set_new(manifest, weight_files[i], json_string(hash[i].hex));
    return save_json(folder, "manifest.json", manifest, NULL, err);
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
static dt_status list_checkpoints(file_names *names, const trainer *t, dt_error *err)
{
    char folder[DT_PATH_MAX];
    file_join(folder, t->s->output_dir, "checkpoints");
    *names = (file_names){0};
    if (!file_is_folder(folder) || file_list(names, folder, err) != DT_OK) return err->status;
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        char *name = names->name[i];
        if (step_of(name) >= 0)
            names->name[kept++] = name;
        else
            free(name);
    }
    names->count = kept;
    if (kept) qsort(names->name, kept, sizeof names->name[0], compare_steps);
    return DT_OK;
}

/* Those of later steps were broken when this run was resumed: they neither count nor are touched. */
static void remove_old(trainer *t)
{
    int64_t limit = t->s->checkpoints_total_limit, past = 0;
    file_names names;
    if (limit <= 0 || list_checkpoints(&names, t, &t->c->error) != DT_OK) return;
    while (past < (int64_t)names.count && step_of(names.name[past]) <= t->step) past++;
    for (int64_t i = 0; i < past - limit; i++) {
        char folder[DT_PATH_MAX];
        folder_of(folder, t, names.name[i]);
        file_remove_tree(folder, &t->c->error);
    }
    file_names_free(&names);
}

/* A leftover of an attempt that was killed is in the way and holds nothing finished. */
static dt_status make_fresh_folder(const char *folder, dt_error *err)
{
    if (file_exists(folder) && file_remove_tree(folder, err) != DT_OK) return err->status;
    return file_make_dirs(folder, err);
}

dt_status checkpoint_save(trainer *t)
{
    char name[64], folder[DT_PATH_MAX], unfinished[DT_PATH_MAX];
    dt_error *err = &t->c->error;
    snprintf(name, sizeof name, "step-%08lld", (long long)t->step);
    folder_of(folder, t, name);
    if (t->saved_step == t->step) return DT_OK;
    folder_of(unfinished, t, "unfinished");
    if (make_fresh_folder(unfinished, err) != DT_OK) return err->status;
    save_files(t, unfinished);
    /* What bears this name already was found broken by checkpoint_resume. */
    if (err->status == DT_OK && file_exists(folder)) file_remove_tree(folder, err);
    if (err->status == DT_OK) file_rename(unfinished, folder, err);
    if (err->status != DT_OK) {
        dt_error ignored = {0};
        file_remove_tree(unfinished, &ignored);
        return err->status;
    }
    t->saved_step = t->step;
    trainer_log(t, "checkpoint %s", folder);
    remove_old(t);
    return err->status;
}

/* ---- resuming ---- */

static json_t *load_json(const char *folder, const char *name, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return json_file_read(path, err);
}

/* Every file that belongs to a checkpoint has the hash that the manifest states. */
static dt_status verify(const char *folder, dt_error *err)
{
    json_t *manifest = load_json(folder, "manifest.json", err);
    for (int i = 0; i <= WEIGHT_FILE_COUNT && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        file_hash hash;
        const char *name = i < WEIGHT_FILE_COUNT ? weight_files[i] : "state.json";
        const char *expected = json_string_value(json_object_get(manifest, name));
        file_join(path, folder, name);
        if (file_sha256(&hash, path, err) == DT_OK && (!expected || strcmp(expected, hash.hex)))
            error_set(err, DT_ERR_FORMAT, "%s: SHA-256 is not the manifest's", path);
    }
    json_decref(manifest);
    return err->status;
}

/* Fills rows from a file whose tensors are called prefix + name. */
static dt_status load_rows(const trainer *t, const char *folder, const char *file, const char *prefix,
                           real *const into[])
{
    char path[DT_PATH_MAX];
    tensor_file f;
    dt_error *err = &t->c->error;
    file_join(path, folder, file);
    if (safetensors_open(&f, path, err) != DT_OK) return err->status;
    for (int i = 0; i < t->model.params.count && err->status == DT_OK; i++) {
        const param *row = &t->model.params.row[i];
        char name[96];
        real *out = into ? into[i] : row->tensor->data;
        if (!out) continue;
        snprintf(name, sizeof name, "%s%s", prefix, row->name);
        const tensor_entry *e = tensor_file_find(&f, name);
        if (!e || e->count != tensor_count(row->tensor))
            error_set(err, DT_ERR_SHAPE, "%s: tensor %s with %lld values expected, found %lld", path, name,
                      (long long)tensor_count(row->tensor), e ? (long long)e->count : 0LL);
        else if (dit_file_numbers(t->c, out, e) == DT_OK)
            file_map_drop(&f.map, e->data, (size_t)e->bytes);
    }
    tensor_file_close(&f);
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

static dt_status load_state(trainer *t, const char *folder, dt_error *err)
{
    json_t *state = load_json(folder, "state.json", err);
    t->step = t->saved_step = read_count(state, folder, "step", err);
    t->optimizer.update_count = read_count(state, folder, "update_count", err);
    t->skipped = read_count(state, folder, "skipped", err);
    t->skipped_in_row = read_count(state, folder, "skipped_in_row", err);
    json_decref(state);
    return err->status;
}

static dt_status load(trainer *t, const char *folder, dt_error *err)
{
    load_rows(t, folder, weight_files[MODEL], "", NULL);
    load_rows(t, folder, weight_files[EMA], "", t->optimizer.ema);
    load_rows(t, folder, weight_files[OPTIMIZER], "exp_avg.", t->optimizer.m);
    load_rows(t, folder, weight_files[OPTIMIZER], "exp_avg_sq.", t->optimizer.v);
    params_round(t->c, &t->model.params);
    return err->status == DT_OK ? load_state(t, folder, err) : err->status;
}

dt_status checkpoint_resume(trainer *t)
{
    file_names names;
    bool found = false;
    if (list_checkpoints(&names, t, &t->c->error) != DT_OK) return t->c->error.status;
    for (size_t i = names.count; i-- > 0 && !found && !ctx_failed(t->c);) {
        char folder[DT_PATH_MAX];
        dt_error broken = {0};
        folder_of(folder, t, names.name[i]);
        if (verify(folder, &broken) != DT_OK) {
            trainer_log(t, "checkpoint passed over: %s", broken.message);
            continue;
        }
        found = true;
        if (load(t, folder, &t->c->error) == DT_OK) trainer_log(t, "resuming from %s", folder);
    }
    file_names_free(&names);
    return t->c->error.status;
}

int64_t checkpoint_disk_bytes(const trainer *t)
{
    const dt_settings *s = t->s;
    int64_t one = params_count(&t->model.params, true) * (int64_t)sizeof(float), bytes;
    int64_t made = s->checkpointing_steps > 0 ? s->max_train_steps / s->checkpointing_steps : 0;
    int64_t kept =
        s->checkpoints_total_limit > 0 && made > s->checkpoints_total_limit ? s->checkpoints_total_limit : made;
    int64_t results = s->save_model_as == DT_MODEL_SAFETENSORS ? 1 : 2;
    return __builtin_mul_overflow(one, 4 * (kept + 1) + results, &bytes) ? INT64_MAX : bytes;
}
