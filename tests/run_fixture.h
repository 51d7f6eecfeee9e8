/* A tiny world for whole runs: folders of pictures, a base model of random weights, settings that take milliseconds a
 * step, and ways to compare what came out. Everything lies in the temporary folder of temp_folder.h. */
#ifndef TESTS_RUN_FIXTURE_H
#define TESTS_RUN_FIXTURE_H

#include "file/folder.h"
#include "temp_folder.h"

#include <math.h>
#include <string.h>

#include <nettle/sha2.h>

#include "data/examples.h"
#include "engine/open.h"
#include "image/image.h"
#include "container/safetensors.h"
#include "train/trainer.h"
#include "dit_fixture.h"

enum { FIXTURE_SIZE = 16, FIXTURE_CLASSES = 3 };

/* What the run under test said: its last error, and its log. */
static char fixture_message[DT_MESSAGE_MAX];
static char fixture_log[1 << 16];

/* ---- making ---- */

/* <folder>/c<k>/<i>.png, each of another colour pattern. */
static inline void fixture_images(const char *folder, int classes, int per_class, int size, int seed)
{
    uint8_t rgb[32 * 32 * 3];
    dt_error err = {0};
    for (int i = 0; i < classes * per_class; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/c%d", folder, i % classes);
        assert_int_equal(file_make_dirs(temp_path(name), &err), DT_OK);
        for (int k = 0; k < size * size * 3; k++)
            rgb[k] = (uint8_t)(128 + 100 * sin(0.1 * (i + 1) * k + 2.0 * (i % classes) + seed));
        snprintf(name, sizeof name, "%s/c%d/%03d.png", folder, i % classes, i);
        assert_int_equal(image_write_png(temp_path(name), rgb, size, size, NULL, 0, &err), DT_OK);
    }
}

static inline dit_config fixture_config(void)
{
    return (dit_config){.input_size = FIXTURE_SIZE,
                        .patch = 4,
                        .channels = 3,
                        .hidden = 32,
                        .depth = 2,
                        .heads = 2,
                        .class_count = FIXTURE_CLASSES,
                        .learn_sigma = true};
}

/* Random values in every weight, so that no gradient is zero by design. */
static inline void fixture_randomise(ctx *c, dit *m, uint64_t seed)
{
    params_init(c, &m->params, seed);
    for (int i = 0; i < m->params.count; i++) {
        tensor *t = m->params.row[i].tensor;
        if (m->params.row[i].init != PARAM_ZERO) continue;
        const arena_place mark = arena_mark(&c->scratch);
        real *values = numbers_prepare(c, &c->scratch, t->data, tensor_count(t));
        rng_normal(values, tensor_count(t), (rng_key){.seed = seed, .purpose = RNG_INIT, .step = 1000 + (uint32_t)i});
        for (int64_t j = 0; j < tensor_count(t); j++) values[j] *= 0.05f;
        numbers_send(c, t->data, values, tensor_count(t));
        arena_release(&c->scratch, mark);
    }
    params_round(c, &m->params);
}

/* A model file of that shape whose classes are called c0, c1, .. as those of fixture_images. */
static inline void fixture_base(const char *name, dit_config config, uint64_t seed)
{
    ctx c;
    dit m;
    char classes[512] = "[";
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(dit_open(&c, &m, &config), DT_OK);
    fixture_randomise(&c, &m, seed);
    for (int64_t i = 0; i < config.class_count; i++)
        snprintf(classes + strlen(classes), sizeof classes - strlen(classes), "%s\"c%d\"", i ? "," : "", (int)i);
    strcat(classes, "]");
    metadata_pair pair = {"difftune.classes", classes};
    assert_int_equal(fixture_save(&c, &m, NULL, temp_path(name), DT_FILE_F32, &pair, 1), DT_OK);
    ctx_close(&c);
}

/* data/ and held/ of three classes, bank_images/, and base.safetensors. */
static inline int fixture_make(void **state)
{
    if (temp_folder_make(state)) return -1;
    fixture_images("data", FIXTURE_CLASSES, 4, FIXTURE_SIZE, 0);
    fixture_images("held", FIXTURE_CLASSES, 2, FIXTURE_SIZE, 5);
    fixture_images("bank_images", 1, 9, FIXTURE_SIZE, 9);
    fixture_base("base.safetensors", fixture_config(), 11);
    return 0;
}

/* Six steps of the paper's Diff-Tuning in `output`, which is a name in the temporary folder; nothing is measured on the way. */
static inline dt_settings fixture_settings(const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("base.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", temp_path("data"));
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank_images"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    s.preset = DT_PRESET_PAPER;
    s.threads = 1;
    s.seed = 42;
    s.max_train_steps = 6;
    s.train_batch_size = 4;
    s.learning_rate = 1e-3;
    s.ema_decay = 0.9;
    s.checkpointing_steps = 0;
    s.logging_steps = 1;
    s.validation_steps = s.sample_steps = 0;
    s.tensorboard = false;
    return s;
}

/* ---- running ---- */

/* Watches a run: collects its log, asks it to stop before step `stop_before` (< 0: never). */
typedef struct fixture_watch {
    int64_t stop_before, asked;
} fixture_watch;

static inline void fixture_collect(void *user, const char *line)
{
    (void)user;
    size_t used = strlen(fixture_log);
    snprintf(fixture_log + used, sizeof fixture_log - used, "%s\n", line);
}

/* A run asks once before each step, so the n-th question of a call comes before its n-th step. */
static inline bool fixture_stop(void *user)
{
    fixture_watch *w = user;
    return w->asked++ == w->stop_before;
}

typedef dt_status fixture_verb(dt_context *c, const dt_settings *s, const dt_observer *observer);

/* Seconds between two questions of a call whether to go on, 0: as many as there are places to stop at; < 0: as for users. */
static double fixture_ask_every = -1;

/* In a second round of a test every call works on the guarded device (guarded/guarded_device.c). */
static inline bool fixture_is_guarded(void)
{
    return getenv("DT_TEST_GUARDED") != NULL;
}

static inline void fixture_choose_device(dt_settings *s)
{
    if (fixture_is_guarded()) s->device = DT_DEVICE_CUDA;
}

/* One call of the library in a context of its own; what it said last is in fixture_message. */
static inline dt_status fixture_call(fixture_verb *verb, const dt_settings *settings, const dt_observer *observer)
{
    dt_settings s = *settings;
    dt_context *c = NULL;
    fixture_log[0] = '\0';
    fixture_choose_device(&s);
    dt_status status = dt_open(&c, &s);
    if (status == DT_OK && fixture_ask_every >= 0) c->ask_every = fixture_ask_every;
    if (status == DT_OK) status = verb(c, &s, observer);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

/* The same, asked to stop by question number `stop_before` (< 0: never), its log collected. */
static inline dt_status fixture_call_until(fixture_verb *verb, const dt_settings *s, int64_t stop_before)
{
    fixture_watch watch = {.stop_before = stop_before};
    dt_observer observer = {.user = &watch, .log = fixture_collect, .should_stop = fixture_stop};
    return fixture_call(verb, s, &observer);
}

/* Verbs whose numbers nobody asks for. */
static inline dt_status fixture_eval(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dt_eval_result result;
    return dt_eval(c, s, observer, &result);
}

static inline dt_status fixture_ideal(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dt_ideal_result result;
    return dt_ideal(c, s, observer, &result);
}

static inline void fixture_must(fixture_verb *verb, const dt_settings *s)
{
    if (fixture_call_until(verb, s, -1) != DT_OK) fail_msg("%s", fixture_message);
}

/* Runs until it ends, or until it has made `steps` steps in this call (< 0: no limit). */
static inline dt_status fixture_train(const dt_settings *s, int64_t steps)
{
    return fixture_call_until(dt_train, s, steps);
}

static inline void fixture_train_to_the_end(const dt_settings *s)
{
    fixture_must(dt_train, s);
}

static inline void fixture_remove(const char *name)
{
    dt_error err = {0};
    assert_int_equal(file_remove_tree(temp_path(name), &err), DT_OK);
}

/* Makes `e`, whatever it was, examples of this value alone. */
static inline void fixture_fill(examples *e, float value)
{
    int64_t values = e->count * sample_values(e->shape);
    if (!e->x) e->x = malloc((size_t)values * sizeof *e->x);
    e->kind = EXAMPLES_VALUES;
    for (int64_t i = 0; i < values; i++) e->x[i] = value;
}

/* Micro-batch `micro` of the step that comes next, filled and sent. */
static inline void fixture_feed(trainer *t, batch *b, int64_t micro)
{
    feed_fill(t, b, t->step * t->plan.accumulation + micro);
    batch_send(t->c, b);
}

/* ---- comparing ---- */

/* SHA-256 over names, shapes and values of all tensors of a file, without its metadata. */
static inline file_hash fixture_tensors(const char *path)
{
    tensor_file f;
    dt_error err = {0};
    struct sha256_ctx sum;
    uint8_t digest[SHA256_DIGEST_SIZE];
    file_hash out;
    sha256_init(&sum);
    if (safetensors_open(&f, path, &err) != DT_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        sha256_update(&sum, strlen(e->name), (const uint8_t *)e->name);
        sha256_update(&sum, (size_t)e->dim_count * sizeof e->dims[0], (const uint8_t *)e->dims);
        sha256_update(&sum, (size_t)e->bytes, e->data);
    }
    tensor_file_close(&f);
    sha256_digest(&sum, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out.hex + 2 * i, 3, "%02x", digest[i]);
    return out;
}

/* The weights that a finished run left. */
static inline file_hash fixture_result(const char *output)
{
    char path[600];
    snprintf(path, sizeof path, "%s/final/model.safetensors", temp_path(output));
    return fixture_tensors(path);
}

/* The same of a whole run of these settings in a folder that is removed again. */
static inline file_hash fixture_bits(dt_settings s)
{
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("bits"));
    fixture_train_to_the_end(&s);
    file_hash hash = fixture_result("bits");
    fixture_remove("bits");
    return hash;
}

/* Hash of every file below a folder with its name, in order. */
static inline void fixture_hash_tree(struct sha256_ctx *sum, const char *path)
{
    dt_error err = {0};
    file_hash hash;
    file_names names = {0};
    sha256_update(sum, strlen(path) + 1, (const uint8_t *)path);
    if (!file_is_folder(path)) {
        assert_int_equal(file_sha256(&hash, path, &err), DT_OK);
        sha256_update(sum, sizeof hash.hex, (const uint8_t *)hash.hex);
        return;
    }
    assert_int_equal(file_list(&names, path, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++) {
        char *inside;
        assert_true(asprintf(&inside, "%s/%s", path, names.name[i]) > 0);
        fixture_hash_tree(sum, inside);
        free(inside);
    }
    file_names_free(&names);
}

static inline file_hash fixture_tree(const char *name)
{
    struct sha256_ctx sum;
    uint8_t digest[SHA256_DIGEST_SIZE];
    file_hash out;
    sha256_init(&sum);
    fixture_hash_tree(&sum, temp_path(name));
    sha256_digest(&sum, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(out.hex + 2 * i, 3, "%02x", digest[i]);
    return out;
}

#define assert_same_bits(a, b) assert_string_equal((a).hex, (b).hex)

#endif
