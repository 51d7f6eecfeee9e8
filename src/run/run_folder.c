#include "run/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapter/adapter_file.h"
#include "base/text.h"
#include "container/safetensors.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "file/names.h"
#include "model/file/of_run.h"
#include "run/weights_file.h"
#include "settings/settings.h"

#define FINAL_MODEL   "final/model.safetensors"
#define FINAL_BASE    "final/unet.safetensors"
#define FINAL_ADAPTER "final/" ADAPTER_WEIGHTS

/* With a constant rate a run may be made longer: the steps it has made stay what they are. And base_sha256 tells the heads of what is
 * tuned. */
static bool may_differ(const dt_settings *s, const settings_key *key)
{
    const bool grows = s->lr_scheduler == DT_LR_CONSTANT && !strcmp(key->name, "max_train_steps");
    return grows || !settings_matter(s, key) || (s->method != DT_METHOD_PRETRAIN && !strcmp(key->name, "num_heads"));
}

/* Whether a run is known by this setting. */
static bool identifies(const dt_settings *s, const settings_key *key)
{
    return (key->identity & SETTINGS_TRAIN) && !may_differ(s, key);
}

/* Settings that shape the run, and the hashes of what its paths name. */
static json_t *identity_of(const training *r)
{
    json_t *identity = json_object();
    dt_settings s = settings_settled(r->s);
    if (!s.num_heads) s.num_heads = DT_HEADS_OF_NEW;
    if (s.method == DT_METHOD_PRETRAIN && s.process == DT_PROCESS_SIT)
        snprintf(s.model, sizeof s.model, "%.200s, a SiT", r->s->model);
    for (int i = 0; i < settings_key_count; i++) {
        char text[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        if (!identifies(r->s, key)) continue;
        settings_text(text, &s, key);
        json_put(&identity, key->name, json_string(text));
    }
    json_put(&identity, "data_sha256", json_string(r->trainer.train.sha256));
    json_put(&identity, "base_sha256", json_string(r->trainer.base.sha256));
    json_put(&identity, "bank_sha256", json_string(r->trainer.bank.sha256));
    const told_data *told = &r->trainer.told;
    const file_hash *control = &r->trainer.file.control.hash;
    if (control->hex[0]) json_put(&identity, "controlnet_sha256", json_string(control->hex));
    if (told->has_contexts) json_put(&identity, "encoder_sha256", json_string(told->encoder_sha256));
    if (told->has_controls) json_put(&identity, "control_maker", json_string(told->controls.maker.identity));
    if (r->trainer.codec.kind != CODEC_PIXELS) json_put(&identity, "vae_sha256", json_string(r->trainer.codec.sha256));
    return identity;
}

/* In full; empty where nothing is there, or where JSON cannot say it. */
static json_t *resolved(const char *path)
{
    char *whole = realpath(path, NULL);
    json_t *text = json_string(whole && text_is_utf8(whole) ? whole : "");
    free(whole);
    return text;
}

/* What is used with the trained model, wherever that is called from. */
static json_t *paths_of(const dt_settings *s)
{
    return JSON_OBJECT({"pretrained_model", resolved(s->pretrained_model)}, {"vae", resolved(s->vae)},
                       {"text_encoder", resolved(s->text_encoder)}, {"tokenizer", resolved(s->tokenizer)});
}

static json_t *describe_run(const training *r)
{
    char started[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    const trainer *t = &r->trainer;
    return JSON_OBJECT(
        {"tool", json_string("difftune " DT_VERSION)}, {"method", json_string(settings_word(r->s, "method"))},
        {"preset", json_string(settings_word(r->s, "preset"))}, {"method_line", json_string(t->method.line)},
        {"base_sha256", json_string(t->base.sha256)}, {"bank_sha256", json_string(t->bank.sha256)},
        {"data_sha256", json_string(t->train.sha256)}, {"classes", weights_class_names(r)},
        {"started", json_string(started)}, {RUN_PATHS, paths_of(r->s)},
        {"parameters", json_integer(params_count(t->model.params, true))}, {"identity", identity_of(r)});
}

/* Whether `text` is what a setting is untouched: folders from before there was the setting are known without it. */
static bool is_initial(const char *name, const char *text)
{
    char initial[SETTINGS_VALUE_MAX];
    const settings_key *key = settings_find(name);
    if (key) settings_initial_text(initial, key);
    return key && !strcmp(text, initial);
}

/* What a run is known by beside its settings: the content of what a setting names. */
static const struct content {
    const char *key, *one, *other, *setting;
} contents[] = {
    {"data_sha256", "pictures", "other pictures, captions, controls or classes", "train_data, default_prompt, control"},
    {"base_sha256", "a base model", "another base model", "pretrained_model"},
    {"bank_sha256", "a bank", "another bank", "bank"},
    {"controlnet_sha256", "a ControlNet", "another ControlNet", "controlnet_model"},
    {"encoder_sha256", "a text encoder", "another text encoder", "text_encoder, tokenizer, pretrained_model"},
    {"control_maker", "control maps", "control maps of another maker", "control"},
    {"vae_sha256", "an autoencoder", "another autoencoder", "vae"},
};

/* Hashes say nothing to people; NULL and "" are none. */
static void tell_content(const training *r, const struct content *c, const char *found, const char *mine, dt_error *err)
{
    const bool had = found && *found, has = *mine != '\0';
    error_set(err, DT_ERR_CONFLICT, "%s: the folder belongs to a run %s %s%s (%s); choose another output_dir",
              r->folder, had ? "with" : "without", had && has ? c->other : c->one,
              had && has ? " than this call's"
              : had      ? ", this call has none"
                         : ", this call has one",
              c->setting);
}

/* Records that the folder's run and this call have other values of `name`; NULL for one that the folder does not tell: of a setting
 * that was not asked for then. */
static void tell_difference(const training *r, const char *name, const char *found, const char *mine, dt_error *err)
{
    char initial[SETTINGS_VALUE_MAX] = "";
    const settings_key *key = settings_find(name);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
        if (!strcmp(contents[i].key, name)) return tell_content(r, &contents[i], found, mine, err);
    if (!found && key) settings_initial_text(initial, key);
    if (!found) found = initial;
    error_set(err, DT_ERR_CONFLICT,
              "%s: the folder belongs to a run with %s %s, this call has %s; choose another output_dir", r->folder,
              name, *found ? found : "(none)", *mine ? mine : "(none)");
}

/* Records a difference of keys that both have (`missing` false), or of a key that only this call has. */
static void compare_keys(const training *r, json_t *mine, const json_t *found, bool missing, dt_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(mine, key, value)
    {
        const char *text = json_string_value(value), *other = json_string_value(json_object_get(found, key));
        if (missing != !other || (other ? !strcmp(other, text) : is_initial(key, text))) continue;
        tell_difference(r, key, other, text, err);
    }
}

/* Records a setting that the folder's run was asked for and this call leaves as it is. */
static void compare_asked(const training *r, const json_t *mine, json_t *found, dt_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(found, name, value)
    {
        char text[SETTINGS_VALUE_MAX];
        const settings_key *key = json_object_get(mine, name) ? NULL : settings_find(name);
        if (!key || !json_is_string(value) || may_differ(r->s, key)) continue;
        settings_text(text, r->s, key);
        if (strcmp(text, json_string_value(value))) tell_difference(r, name, json_string_value(value), text, err);
    }
}

/* Which keys there are depends on others (identifies), so those that both have are told first. */
static dt_status compare_identity(const training *r, json_t *found, dt_error *err)
{
    json_t *mine = identity_of(r);
    if (!mine) return error_set(err, DT_ERR_MEMORY, "%s: no memory to compare the runs", r->folder);
    compare_keys(r, mine, found, false, err);
    compare_keys(r, mine, found, true, err);
    compare_asked(r, mine, found, err);
    json_decref(mine);
    return err->status;
}

/* *known: run.json is this run's; false without an error: another one's that failed before it made anything. */
static dt_status recognise(bool *known, const training *r, const char *path, dt_error *err)
{
    json_t *found = json_file_read(path, err);
    json_t *identity = json_object_get(found, "identity");
    if (!json_is_object(identity))
        error_set(err, DT_ERR_FORMAT, "%s: not the description of a run", path);
    else
        compare_identity(r, identity, err);
    json_decref(found);
    *known = err->status != DT_ERR_CONFLICT || file_is_claimed(r->folder, RUN_FILE);
    if (!*known) error_clear(err);
    return err->status;
}

static dt_status make_sub_folders(const training *r, dt_error *err)
{
    static const char *const names[] = {"samples", "checkpoints", "final"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[DT_PATH_MAX];
        file_join(path, r->folder, names[i]);
        if (file_make_dirs(path, err) != DT_OK) return err->status;
    }
    return DT_OK;
}

/* run.json comes first: a folder that has it is this run's, whatever stopped the call that made it. */
dt_status run_folder_open(training *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    bool known = false;
    file_join(path, r->folder, RUN_FILE);
    if (!file_exists(path) &&
        (file_check_free_folder(r->folder, "run", err) != DT_OK || file_make_dirs(r->folder, err) != DT_OK))
        return err->status;
    if (!r->lock.held && file_lock_folder(&r->lock, r->folder, err) != DT_OK) return err->status;
    if (file_exists(path) && recognise(&known, r, path, err) != DT_OK) return err->status;
    return known ? DT_OK : json_file_write(path, describe_run(r), NULL, err);
}

/* Steps of the finished result: 0 there is none, -1 it does not say, or with an error it could not be read. */
static int64_t finished_steps(const training *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    tensor_file f;
    dt_error unreadable = {0};
    file_join(path, r->folder, weights_adapt(r) ? FINAL_ADAPTER : FINAL_MODEL);
    if (!file_exists(path)) return 0;
    if (safetensors_open(&f, path, &unreadable) != DT_OK) {
        if (error_is_of_machine(&unreadable)) error_set(err, unreadable.status, "%s", unreadable.message);
        return -1;
    }
    const char *steps = tensor_file_metadata(&f, "difftune.steps");
    const int64_t count = steps ? strtoll(steps, NULL, 10) : -1;
    tensor_file_close(&f);
    return count > 0 ? count : -1;
}

dt_status run_folder_check_length(const training *r, dt_error *err)
{
    const int64_t finished = finished_steps(r, err), at = r->trainer.step;
    const bool begins_anew = r->saved_step < 0;
    if (err->status != DT_OK) return err->status;
    if (at > r->step_count || finished > r->step_count)
        return error_set(err, DT_ERR_CONFLICT, "%s: the run has made %lld steps already, max_train_steps is %lld",
                         r->folder, (long long)(at > finished ? at : finished), (long long)r->step_count);
    if (!begins_anew || finished == 0) return DT_OK;
    char length[48] = "of another length";
    if (finished > 0) snprintf(length, sizeof length, "of %lld steps", (long long)finished);
    if (finished != r->step_count)
        return error_set(
            err, DT_ERR_CONFLICT,
            "%s: holds a finished model %s and no checkpoint to go on from; to begin again would overwrite "
            "final/model.safetensors: choose another output_dir",
            r->folder, length);
    trainer_log(&r->trainer, "%s: no checkpoint is left of the finished run; it is made again from step 0", r->folder);
    return DT_OK;
}

/* What was found before the run, as it was then. */
static dt_status keep_diagnosis(const training *r, dt_error *err)
{
    char path[DT_PATH_MAX], to[DT_PATH_MAX];
    file_join(to, r->folder, DIAGNOSIS_FILE);
    if (!r->s->diagnosis[0] || file_exists(to)) return err->status;
    file_join(path, r->s->diagnosis, DIAGNOSIS_FILE);
    json_t *found = json_file_read(path, err);
    return found ? json_file_write(to, found, NULL, err) : err->status;
}

dt_status run_folder_fill(const training *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    if (make_sub_folders(r, err) != DT_OK || keep_diagnosis(r, err) != DT_OK) return err->status;
    file_join(path, r->folder, CONFIG_FILE);
    if (settings_save(r->s, path, err) != DT_OK) return err->status;
    file_join(path, r->folder, DATA_REPORT_FILE);
    if (file_exists(path)) return DT_OK;
    return json_file_write(path, dataset_report_json(&r->trainer.train.pictures), NULL, err);
}

dt_status run_folder_look(const training *r, dt_error *err)
{
    char path[DT_PATH_MAX];
    bool known;
    file_join(path, r->folder, RUN_FILE);
    return file_exists(path) ? recognise(&known, r, path, err) : file_check_free_folder(r->folder, "run", err);
}

/* ---- the result ---- */

/* Beside a ControlNet the base, where rows of it trained too: what the ControlNet is for then. */
static dt_status write_base(training *r, train_values values, weights_note *n)
{
    char path[DT_PATH_MAX];
    file_hash hash;
    dt_error *err = &r->trainer.c->error;
    file_join(path, r->folder, FINAL_BASE);
    if (weights_write_network(r, r->trainer.model.base, path, values, DT_MODEL_SAFETENSORS, r->s->save_dtype, n) !=
            DT_OK ||
        file_sha256(&hash, path, err) != DT_OK)
        return err->status;
    memcpy(n->base_sha256, hash.hex, sizeof n->base_sha256);
    return DT_OK;
}

/* What another program wants beside it. */
static dt_status write_other(training *r, train_values values, const weights_note *n)
{
    static const char *const name[] = {FINAL_MODEL, "final/model.pt", "final", "final/original.safetensors"};
    const dt_model_format other = r->s->save_model_as;
    char path[DT_PATH_MAX], folder[DT_PATH_MAX];
    file_join(path, r->folder, name[other]);
    if (other == DT_MODEL_DIFFUSERS) {
        snprintf(folder, sizeof folder, "%s", path);
        file_join(path, folder, r->trainer.model.ops->diffusers_folder);
    }
    return weights_write_model(r, path, values, other, r->s->save_dtype, n);
}

/* final/model.safetensors always, which this program looks for. */
static dt_status write_models(training *r, train_values values, weights_note *n)
{
    char path[DT_PATH_MAX];
    const dt_error *err = &r->trainer.c->error;
    if (r->s->sd_unlocked && write_base(r, values, n) != DT_OK) return err->status;
    file_join(path, r->folder, FINAL_MODEL);
    weights_write_model(r, path, values, DT_MODEL_SAFETENSORS, r->s->save_dtype, n);
    if (err->status == DT_OK && r->s->save_model_as != DT_MODEL_SAFETENSORS) write_other(r, values, n);
    return err->status;
}

/* The rows that trained, as an adapter's file with PEFT's description beside it. */
static dt_status write_adapter(training *r, train_values values, weights_note *n)
{
    const trainer *t = &r->trainer;
    char path[DT_PATH_MAX];
    file_join(path, r->folder, "final/" ADAPTER_CONFIG);
    if (adapter_config_write(&t->adapter.plan, &t->model, r->s->pretrained_model, path, &t->c->error) != DT_OK)
        return t->c->error.status;
    file_join(path, r->folder, FINAL_ADAPTER);
    return weights_write_adapter(r, path, values, r->s->save_dtype, n);
}

dt_status run_folder_finish(training *r)
{
    weights_note n;
    const train_values values = r->s->weights == DT_WEIGHTS_EMA ? TRAIN_AVERAGES : TRAIN_WEIGHTS;
    if (weights_note_open(&n, r, values) == DT_OK) (weights_adapt(r) ? write_adapter : write_models)(r, values, &n);
    weights_note_close(&n);
    return r->trainer.c->error.status;
}
