/* Work that was stopped and went on leaves what work leaves that was never stopped: every byte of every file. Each round stops a
 * call at a random one of all the places where it can stop, the next call too, and a third one, and then lets it come to its end.
 *
 * What may differ, and is made equal before: in metrics.jsonl how long a step took, the memory, and where the call began (time_s,
 * samples_per_second, memory_bytes, from_step), in run.json when the run was started, and so the page made of both, which is
 * made again. A stop leaves a checkpoint that the other run does not have; it is compared with that of a run which keeps one of
 * every step.
 *
 * test_resume [ROUNDS [SEED]]: rounds of each kind of work. */
#include "file/folder.h"
#include "latent_fixture.h"

#include <jansson.h>

#include "settings/settings.h"
#include "tensor/engine.h"

static int rounds = 2;
static uint64_t seed = 1;
static int stops_made, stops_of_number[3];

/* ---- kinds of work, each in the folder "out" ---- */

typedef struct work {
    const char *name;
    fixture_verb *verb;
    void (*shape)(dt_settings *s); /* on top of latent_fixture_settings or fixture_settings */
    bool of_latents;
    bool with_checkpoints;
} work;

/* Everything that a run may do on its way. */
static void shape_training(dt_settings *s)
{
    s->max_train_steps = 7;
    s->gradient_accumulation_steps = 2;
    s->checkpointing_steps = 3;
    s->checkpoints_total_limit = 0;
    s->validation_steps = 2;
    s->validation_count = 3;
    s->sample_steps = 3;
    s->eval_steps = 4;
    s->eval_count = 6;
    s->num_samples = 5;
    s->sample_batch_size = 2;
    s->num_inference_steps = 3;
    s->ema_warmup = true;
    snprintf(s->ema_power, sizeof s->ema_power, "0.05,0.2");
    s->ema_snapshot_steps = 2;
    snprintf(s->validation_data, sizeof s->validation_data, "%s", temp_path("held"));
}

static void shape_training_otherwise(dt_settings *s)
{
    shape_training(s);
    s->mixed_precision = DT_PRECISION_BF16;
    s->fused_backward_pass = true;
    s->gradient_accumulation_steps = 1;
    s->max_grad_norm = 0;
    s->lr_scheduler = DT_LR_COSINE;
    s->lr_warmup_steps = 2;
    s->weights = DT_WEIGHTS_LAST;
    s->preset = DT_PRESET_RELEASED;
    s->save_model_as = DT_MODEL_PT;
    s->validation_data[0] = '\0';
    s->eval_steps = 0;
}

static void shape_bank(dt_settings *s)
{
    snprintf(s->bank, sizeof s->bank, "%s", temp_path("out"));
    s->bank_size = 11;
    s->bank_shard_size = 4;
    s->sample_batch_size = 3;
    s->num_inference_steps = 4;
}

static void shape_samples(dt_settings *s)
{
    s->num_samples = 11;
    s->save_images = 9;
    s->sample_batch_size = 3;
    s->num_inference_steps = 4;
    s->sampler = DT_SAMPLER_DDPM;
    s->class_order = DT_CLASSES_RANDOM;
    memcpy(s->feature_weights, s->pretrained_model, sizeof s->feature_weights);
    snprintf(s->save_statistics, sizeof s->save_statistics, "%s", temp_path("out/statistics.npz"));
}

static void shape_stack(dt_settings *s)
{
    shape_samples(s);
    s->save_images = -1;
    snprintf(s->save_stack, sizeof s->save_stack, "%s", temp_path("out/stack.npz"));
}

static void shape_chain(dt_settings *s)
{
    s->eval_count = 7;
    s->num_samples = 4;
    s->sample_batch_size = 3;
    s->num_inference_steps = 3;
    s->sampler = DT_SAMPLER_UNIPC;
    snprintf(s->tails, sizeof s->tails, "0,0.4,1");
    memcpy(s->tail_model, s->pretrained_model, sizeof s->tail_model);
    snprintf(s->reference, sizeof s->reference, "%s", temp_path("held"));
}

static dt_status call_chain(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dt_chain_result r;
    return dt_chain(c, s, observer, &r);
}

static void shape_ideal(dt_settings *s)
{
    s->validation_count = 4;
    s->sample_batch_size = 3;
    snprintf(s->validation_data, sizeof s->validation_data, "%s", temp_path("held"));
}

static void shape_maps(dt_settings *s)
{
    (void)s;
}

static dt_status call_maps(dt_context *c, const dt_settings *s, const dt_observer *observer)
{
    dt_annotated r;
    return dt_annotate(c, "canny", temp_path("data"), temp_path("out"), s, observer, &r);
}

static void shape_cache(dt_settings *s)
{
    snprintf(s->cache_dir, sizeof s->cache_dir, "%s", temp_path("out"));
    snprintf(s->validation_data, sizeof s->validation_data, "%s", temp_path("held"));
    s->resolution = LATENT_PICTURE;
}

static void shape_study(dt_settings *s)
{
    s->bank[0] = '\0';
    snprintf(s->reference, sizeof s->reference, "%s", temp_path("held"));
    s->max_train_steps = 4;
    s->checkpointing_steps = 2;
    s->checkpoints_total_limit = 0;
    s->sample_steps = 2;
    s->validation_steps = 2;
    s->validation_count = 2;
    s->num_samples = 3;
    s->num_inference_steps = 3;
    s->bank_size = 5;
    s->bank_shard_size = 2;
    s->sample_batch_size = 2;
    s->fid_count = 5;
    s->save_images = 3;
}

static void shape_latent_study(dt_settings *s)
{
    shape_study(s);
    s->resolution = LATENT_PICTURE;
    snprintf(s->cache_dir, sizeof s->cache_dir, "%s", temp_path("out/latents"));
}

static const work works[] = {
    {"training", dt_train, shape_training, false, true},
    {"training otherwise", dt_train, shape_training_otherwise, false, true},
    {"training of latents", dt_train, shape_training, true, true},
    {"bank", dt_bank, shape_bank, false, false},
    {"samples with statistics", dt_sample, shape_samples, false, false},
    {"samples with a stack", dt_sample, shape_stack, true, false},
    {"chain", call_chain, shape_chain, false, false},
    {"chain of latents", call_chain, shape_chain, true, false},
    {"ideal", fixture_ideal, shape_ideal, false, false},
    {"ideal of latents", fixture_ideal, shape_ideal, true, false},
    {"cache", dt_cache, shape_cache, true, false},
    {"maps", call_maps, shape_maps, false, false},
    {"study", dt_run, shape_study, false, true},
    {"study of latents", dt_run, shape_latent_study, true, true},
};

static dt_settings settings_of(const work *w)
{
    dt_settings s = w->of_latents ? latent_fixture_settings("out") : fixture_settings("out");
    w->shape(&s);
    return s;
}

/* ---- calls ---- */

/* From the question of that number on the answer is yes. */
typedef struct stopper {
    int64_t at, asked;
} stopper;

static bool stop_from(void *user)
{
    stopper *k = user;
    return k->asked++ >= k->at;
}

/* Also how often the call asked. */
static dt_status call_until(const work *w, const dt_settings *s, int64_t at, int64_t *asked)
{
    stopper k = {.at = at};
    const dt_observer observer = {.user = &k, .should_stop = stop_from};
    const dt_status status = fixture_call(w->verb, s, &observer);
    if (status != DT_OK && status != DT_ERR_INTERRUPTED) fail_msg("%s: %s", w->name, fixture_message);
    if (status == DT_OK && k.asked > at + 1) fail_msg("%s: question %lld was not heeded", w->name, (long long)at);
    if (asked) *asked = k.asked;
    return status;
}

/* Whether something has happened since the last checkpoint that was wished for: a run then makes one before its first step. */
static bool news = true;

static void take_news(void *user, const dt_progress *p)
{
    (void)user;
    (void)p;
    news = true;
}

static bool save_after_news(void *user)
{
    (void)user;
    const bool wanted = news;
    news = false;
    return wanted;
}

/* With a checkpoint of every step, the one before the first too. */
static void call_keeping_each(const work *w, dt_settings s)
{
    const dt_observer observer = {.progress = take_news, .should_save = save_after_news};
    s.checkpointing_steps = 1;
    news = true;
    if (fixture_call(w->verb, &s, &observer) != DT_OK) fail_msg("%s: %s", w->name, fixture_message);
}

/* ---- trees ---- */

static json_t *without_times(json_t *object)
{
    static const char *const keys[] = {"time_s", "samples_per_second", "memory_bytes", "from_step", "started"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) json_object_del(object, keys[i]);
    return object;
}

static void rewrite_lines(const char *path, bool one_object)
{
    char *text, *made = NULL;
    size_t size, length = 0;
    dt_error err = {0};
    assert_int_equal(file_read_all(&text, &size, path, 1 << 24, &err), DT_OK);
    FILE *out = open_memstream(&made, &length);
    for (char *rest = text, *line; (line = one_object ? rest : strsep(&rest, "\n")) && *line;) {
        json_t *object = json_loads(line, 0, NULL);
        assert_non_null(object);
        json_dumpf(without_times(object), out, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putc('\n', out);
        json_decref(object);
        if (one_object) break;
    }
    fclose(out);
    assert_int_equal(file_write_atomic(path, made, length, &err), DT_OK);
    free(made);
    free(text);
}

/* Calls `take` with the path of every file below a folder. */
static void for_each_file(const char *folder, void (*take)(const char *path, void *user), void *user)
{
    dt_error err = {0};
    file_names names;
    char path[DT_PATH_MAX], inside[2 * DT_PATH_MAX];
    snprintf(path, sizeof path, "%s", folder); /* it may be one of temp_path's */
    if (!file_is_folder(path)) {
        take(path, user);
        return;
    }
    assert_int_equal(file_list(&names, path, &err), DT_OK);
    for (size_t i = 0; i < names.count; i++) {
        snprintf(inside, sizeof inside, "%s/%s", path, names.name[i]);
        for_each_file(inside, take, user);
    }
    file_names_free(&names);
}

static void settle_file(const char *path, void *user)
{
    (void)user;
    const char *name = file_base_name(path);
    if (!strcmp(name, "metrics.jsonl")) rewrite_lines(path, false);
    if (!strcmp(name, "run.json")) rewrite_lines(path, true);
}

/* Makes equal what may differ in the folder "out". */
static void settle(const work *w)
{
    for_each_file(temp_path("out"), settle_file, NULL);
    if (w->verb != dt_run) return;
    dt_settings s;
    dt_context *c = NULL;
    dt_settings_init(&s);
    snprintf(s.runs, sizeof s.runs, "%s", temp_path("out"));
    snprintf(s.output, sizeof s.output, "%s", temp_path("out/report.html"));
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_report(c, &s) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
}

typedef struct comparison {
    const work *w;
    const char *other, *alternative; /* folders; the second for checkpoints that the first lacks */
    int64_t count;
} comparison;

static void compare_file(const char *path, void *user)
{
    comparison *k = user;
    const char *below = path + strlen(temp_folder) + 1;
    char name[512];
    file_hash a, b;
    dt_error err = {0};
    below = strchr(below, '/');
    assert_non_null(below);
    snprintf(name, sizeof name, "%s%s", k->other, below);
    if (!file_exists(temp_path(name)) && k->alternative && strstr(below, "checkpoints/step-"))
        snprintf(name, sizeof name, "%s%s", k->alternative, below);
    if (!file_exists(temp_path(name))) fail_msg("%s: %s is not in %s", k->w->name, path, k->other);
    assert_int_equal(file_sha256(&a, path, &err), DT_OK);
    assert_int_equal(file_sha256(&b, temp_path(name), &err), DT_OK);
    if (strcmp(a.hex, b.hex) != 0) fail_msg("%s: %s is another file in %s", k->w->name, below, k->other);
    k->count++;
}

/* "out" has the files of "whole", and beside them checkpoints of "each" at the most. */
static void compare_trees(const work *w)
{
    comparison all = {.w = w, .other = "out"}, back = {.w = w, .other = "whole"};
    if (w->with_checkpoints) back.alternative = "each";
    for_each_file(temp_path("whole"), compare_file, &all);
    for_each_file(temp_path("out"), compare_file, &back);
    assert_true(all.count > 1 && back.count >= all.count);
}

static void keep_as(const work *w, const char *name)
{
    dt_error err = {0};
    settle(w);
    assert_int_equal(file_rename(temp_path("out"), temp_path(name), &err), DT_OK);
}

/* ---- rounds ---- */

static void stop_three_times(const work *w, const dt_settings *s, int64_t questions, uint32_t round)
{
    const rng_key key = {seed, RNG_INIT, (uint32_t)(w - works), round};
    dt_status status = DT_ERR_INTERRUPTED;
    for (uint32_t i = 0; i < 3 && status != DT_OK; i++) {
        const int64_t within =
            round % 2 ? questions : (questions + 2) / 3; /* so that the third call has work left too */
        status = call_until(w, s, (int64_t)rng_below(key, i, (uint64_t)within), NULL);
        if (status != DT_ERR_INTERRUPTED) continue;
        stops_made++;
        stops_of_number[i]++;
    }
    if (status != DT_OK) assert_int_equal(call_until(w, s, INT64_MAX - 1, NULL), DT_OK);
}

static void what_was_stopped_is_what_was_not(void **state)
{
    static const char *const folders[] = {"out", "whole", "each"};
    const work *w = *state;
    const dt_settings s = settings_of(w);
    int64_t questions;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (file_exists(temp_path(folders[i]))) fixture_remove(folders[i]); /* of a test that failed */
    fixture_ask_every = 0;
    assert_int_equal(call_until(w, &s, INT64_MAX - 1, &questions), DT_OK);
    keep_as(w, "whole");
    if (w->with_checkpoints) {
        call_keeping_each(w, s);
        keep_as(w, "each");
    }
    for (int round = 0; round < rounds; round++) {
        stop_three_times(w, &s, questions, (uint32_t)round);
        settle(w);
        compare_trees(w);
        fixture_remove("out");
    }
    fixture_ask_every = -1;
    fixture_remove("whole");
    if (w->with_checkpoints) fixture_remove("each");
    print_message("%s: %lld places to stop at\n", w->name, (long long)questions);
}

/* ---- what has no middle ---- */

/* A conversion is not gone on with: one that is stopped leaves the old file, or none, and nothing beside it. */
static void a_stopped_conversion_leaves_what_was_there(void **state)
{
    (void)state;
    static const dt_model_format formats[] = {DT_MODEL_SAFETENSORS, DT_MODEL_PT, DT_MODEL_DIFFUSERS};
    const work w = {"conversion", dt_convert, NULL, false, false};
    dt_error err = {0};
    fixture_ask_every = 0;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        int64_t questions;
        dt_settings s = fixture_settings(""), other = s;
        assert_int_equal(file_make_dirs(temp_path("converted"), &err), DT_OK);
        snprintf(s.output, sizeof s.output, "%s", temp_path("converted/model"));
        s.save_model_as = formats[i];
        other = s;
        snprintf(other.pretrained_model, sizeof other.pretrained_model, "%s", temp_path("latent.safetensors"));
        assert_int_equal(call_until(&w, &s, INT64_MAX - 1, &questions), DT_OK);
        assert_true(questions > 60); /* of about thirty weights: read, and written */
        for (int again = 0; again < 2; again++) {
            const file_hash before = fixture_tree("converted");
            for (int64_t at = 0; at < questions; at += 1 + questions / 16)
                assert_int_equal(call_until(&w, &other, at, NULL), DT_ERR_INTERRUPTED);
            assert_same_bits(fixture_tree("converted"), before);
            if (!again) fixture_remove("converted");
            assert_int_equal(file_make_dirs(temp_path("converted"), &err), DT_OK);
        }
        fixture_remove("converted");
    }
    fixture_ask_every = -1;
}

/* ---- how far the places are apart ---- */

/* Products that the engine has been asked for since the last question, and the most there were between two. */
static int64_t work_now, work_most;
static engine counted;

static void count_gemm(real *c, const real *a, const real *b, const real *bias, int64_t m, int64_t n, int64_t k,
                       int64_t lda, int64_t ldb, int64_t ldc, int flags)
{
    work_now += m * n * k;
    counted.gemm(c, a, b, bias, m, n, k, lda, ldb, ldc, flags);
}

static void count_gemm_gelu(real *y, real *u, const real *x, const real *w, const real *bias, int64_t m, int64_t o,
                            int64_t i, int flags)
{
    work_now += m * o * i;
    counted.gemm_gelu(y, u, x, w, bias, m, o, i, flags);
}

static void count_conv(real *y, const real *x, const real *w, const real *bias, window_sizes z, int64_t o, int flags)
{
    work_now += z.n * z.out_h * z.out_w * z.side_h * z.side_w * z.c * o;
    counted.conv_fwd(y, x, w, bias, z, o, flags);
}

static bool measure_work(void *user)
{
    (void)user;
    if (work_now > work_most) work_most = work_now;
    work_now = 0;
    return false;
}

static int64_t most_work_between_places(const work *w, const dt_settings *s)
{
    dt_context *c = NULL;
    const dt_observer observer = {.should_stop = measure_work};
    assert_int_equal(dt_open(&c, s), DT_OK);
    c->ask_every = 0;
    counted = c->engine;
    c->engine.gemm = c->host.gemm = count_gemm;
    c->engine.gemm_gelu = c->host.gemm_gelu = count_gemm_gelu;
    c->engine.conv_fwd = c->host.conv_fwd = count_conv;
    work_now = work_most = 0;
    if (w->verb(c, s, &observer) != DT_OK) fail_msg("%s: %s", w->name, dt_message(c));
    measure_work(NULL);
    dt_close(c);
    fixture_remove("out");
    return work_most;
}

/* Of everything but batches. */
static void grow(dt_settings *s)
{
    int64_t *const counts[] = {&s->max_train_steps, &s->validation_count, &s->num_samples,         &s->eval_count,
                               &s->bank_size,       &s->fid_count,        &s->num_inference_steps, &s->bank_shard_size};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) *counts[i] *= 3;
    if (s->lr_warmup_steps > 0) s->lr_warmup_steps = 3;
    snprintf(s->train_data, sizeof s->train_data, "%s", temp_path("more"));
    if (s->validation_data[0]) snprintf(s->validation_data, sizeof s->validation_data, "%s", temp_path("more_held"));
    if (s->reference[0]) snprintf(s->reference, sizeof s->reference, "%s", temp_path("more_held"));
}

/* Removes from a run's identity the settings that are as they are untouched (`touched` false), or the others. */
static void forget_settings(const char *path, bool touched)
{
    dt_error err = {0};
    json_t *run = json_file_read(path, &err);
    json_t *identity = json_object_get(run, "identity");
    for (int i = 0; i < settings_key_count; i++) {
        char initial[SETTINGS_VALUE_MAX];
        const char *value = json_string_value(json_object_get(identity, settings_keys[i].name));
        settings_initial_text(initial, &settings_keys[i]);
        if (value && (strcmp(value, initial) != 0) == touched) json_object_del(identity, settings_keys[i].name);
    }
    assert_int_equal(json_file_write(path, run, NULL, &err), DT_OK);
}

/* A program that has learned more settings knows the folders of before: there those are what they are untouched. */
static void a_folder_from_before_a_setting_goes_on(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    dt_settings s = fixture_settings("out");
    s.tau = 2;
    snprintf(path, sizeof path, "%s", temp_path("out/run.json"));
    fixture_train(&s, 2);
    forget_settings(path, false);
    fixture_train_to_the_end(&s);
    forget_settings(path, true);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "a run with seed 0, this call has");
    fixture_remove("out");
}

/* A run is known by what is retained, however that was said, and plain fine-tuning by none of the method's settings. */
static void what_comes_to_the_same_goes_on(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("out");
    fixture_train(&s, 2);
    s.retention = DT_RETENTION_BANK;
    fixture_train_to_the_end(&s);
    s.preset = DT_PRESET_DISTIL;
    s.retention = DT_RETENTION_PRESET;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "a run with ");
    fixture_remove("out");
    s.method = DT_METHOD_FINETUNE;
    fixture_train(&s, 2);
    s.preset = DT_PRESET_PAPER;
    s.retention = DT_RETENTION_NONE;
    s.tau = 2;
    fixture_train_to_the_end(&s);
    fixture_remove("out");
}

/* A stop is served within a batch: however much there is to do, no more lies between two places to stop at. */
static void more_work_has_no_more_between_two_places(void **state)
{
    (void)state;
    fixture_images("more", FIXTURE_CLASSES, 12, LATENT_PICTURE, 0);
    fixture_images("more_held", FIXTURE_CLASSES, 6, LATENT_PICTURE, 5);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        if (works[i].verb == call_maps) continue; /* Canny has no products of matrices */
        dt_settings s = settings_of(&works[i]);
        s.sample_batch_size = 2;
        const int64_t some = most_work_between_places(&works[i], &s);
        grow(&s);
        const int64_t more = most_work_between_places(&works[i], &s);
        assert_true(some > 0);
        if (more > some)
            fail_msg("%s: %lld products between two places, %lld when there is more to do", works[i].name,
                     (long long)some, (long long)more);
    }
}

int main(int argc, char **argv)
{
    enum { WORKS = sizeof works / sizeof *works };
    struct CMUnitTest tests[WORKS + 4] = {
        [WORKS] = cmocka_unit_test(a_stopped_conversion_leaves_what_was_there),
        cmocka_unit_test(a_folder_from_before_a_setting_goes_on),
        cmocka_unit_test(what_comes_to_the_same_goes_on),
        cmocka_unit_test(more_work_has_no_more_between_two_places),
    };
    if (argc > 1) rounds = atoi(argv[1]);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    for (size_t i = 0; i < WORKS; i++)
        tests[i] = (struct CMUnitTest){
            .name = works[i].name, .test_func = what_was_stopped_is_what_was_not, .initial_state = (void *)&works[i]};
    const int failed = cmocka_run_group_tests(tests, latent_fixture_make, temp_folder_remove);
    printf("%d stops: %d first, %d second, %d third ones\n", stops_made, stops_of_number[0], stops_of_number[1],
           stops_of_number[2]);
    return failed;
}
