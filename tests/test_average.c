/* Power-function averages: published figures of their formulas, what a run keeps of them, and the average of any length that is
 * made of that. */
#include "file/folder.h"
#include "run_fixture.h"

#include <math.h>
#include <unistd.h>

#include "average/snapshots.h"
#include "model/maker.h"
#include "run/averages.h"
#include "run/checkpoint.h"
#include "train/trainset.h"

/* ---- formulas ---- */

static void exponents_are_those_of_the_published_lengths(void **state)
{
    (void)state;
    static const double table[][2] = {{0.03, 30.317372}, {0.05, 16.972199}, {0.075, 10.289116}, {0.10, 6.937204},
                                      {0.15, 3.557869},  {0.20, 1.826214},  {0.25, 0.719824}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_true(fabs(power_exponent(table[i][0]) - table[i][1]) < 1e-6);
    for (double length = POWER_LENGTH_MIN; length <= POWER_LENGTH_MAX; length += 0.0007) {
        const double g = power_exponent(length), back = sqrt((g + 1) / ((g + 2) * (g + 2) * (g + 3)));
        assert_true(fabs(back - length) < 1e-12);
        assert_true(g > -0.4);
    }
}

static void shares_are_those_of_the_published_updates(void **state)
{
    (void)state;
    static const struct {
        double length, t, beta, tolerance;
    } table[] = {{0.05, 1, 0, 0},
                 {0.05, 2, 4e-6, 5e-7},
                 {0.05, 10, 0.150535, 1e-6},
                 {0.05, 100, 0.834747, 1e-6},
                 {0.05, 1000, 0.982180, 1e-6},
                 {0.05, 24000, 0.999251, 1e-6},
                 {0.10, 2, 0.00408, 5e-6},
                 {0.10, 10, 0.433325, 1e-6},
                 {0.10, 100, 0.923327, 1e-6},
                 {0.10, 1000, 0.992090, 1e-6},
                 {0.10, 24000, 0.999669, 1e-6}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const double share = power_share(power_exponent(table[i].length), (int64_t)table[i].t);
        assert_true(fabs(1 - share - table[i].beta) <= table[i].tolerance);
    }
}

/* Weight of update t in an average after `updates`: the integral of its profile from t - 1 to t. */
static double weight_of(double length, int64_t t, int64_t updates)
{
    const double power = power_exponent(length) + 1, all = (double)updates;
    return pow((double)t / all, power) - pow((double)(t - 1) / all, power);
}

static void updates_one_after_the_other_make_the_profile(void **state)
{
    (void)state;
    enum { UPDATES = 300 };
    const double lengths[] = {0.02, 0.05, 0.1, 0.25, 0.3};
    for (int k = 0; k < 5; k++) {
        double weight[UPDATES + 1] = {0};
        const double g = power_exponent(lengths[k]);
        for (int64_t t = 1; t <= UPDATES; t++) {
            const double share = power_share(g, t);
            for (int64_t j = 1; j < t; j++) weight[j] *= 1 - share;
            weight[t] = share;
        }
        for (int64_t t = 1; t <= UPDATES; t++) assert_true(fabs(weight[t] - weight_of(lengths[k], t, UPDATES)) < 1e-13);
    }
}

static void solve(double share[], double *off, const power_profile stored[], int count, power_profile wanted)
{
    dt_error err = {0};
    if (power_solve(share, off, stored, count, wanted, &err) != DT_OK) fail_msg("%s", err.message);
}

/* Of edm2's phema.py. */
static void the_mixture_is_the_published_one(void **state)
{
    (void)state;
    const power_profile stored[] = {{0.05, 12000}, {0.10, 12000}, {0.05, 24000}, {0.10, 24000}};
    static const double expected[] = {0.000136, -0.002427, 0.342969, 0.659322};
    double share[4], off;
    solve(share, &off, stored, 4, (power_profile){0.075, 24000});
    for (int i = 0; i < 4; i++) assert_true(fabs(share[i] - expected[i]) < 1e-6);
    assert_true(fabs(off - 0.0541903) < 1e-6); /* numpy, from the same products */
}

/* Distance of the mixture's profile from the wanted one over that one's norm, by sums over the updates. */
static double distance(const double share[], const power_profile stored[], int count, power_profile wanted)
{
    double left = 0, whole = 0;
    for (int64_t t = 1; t <= wanted.updates; t++) {
        const double aim = weight_of(wanted.length, t, wanted.updates);
        double sum = 0;
        for (int i = 0; i < count; i++)
            if (t <= stored[i].updates) sum += share[i] * weight_of(stored[i].length, t, stored[i].updates);
        left += (sum - aim) * (sum - aim);
        whole += aim * aim;
    }
    return sqrt(left / whole);
}

static void a_mixture_is_as_near_as_is_said(void **state)
{
    (void)state;
    enum { KEPT = 48, UPDATES = 24000 };
    power_profile stored[KEPT + 1];
    static const struct {
        double length, most;
    } wanted[] = {{0.05, 1e-9}, {0.1, 1e-9}, {0.075, 0.0017}, {0.15, 0.0042}, {0.02, 0.066}};
    for (int i = 0; i < KEPT; i++) stored[i] = (power_profile){i % 2 ? 0.1 : 0.05, UPDATES / 24 * (i / 2 + 1)};
    for (int k = 0; k < 5; k++) {
        double share[KEPT + 1], off, sum = 0;
        const power_profile aim = {wanted[k].length, UPDATES};
        solve(share, &off, stored, KEPT, aim);
        for (int i = 0; i < KEPT; i++) sum += share[i];
        assert_true(fabs(sum - 1) < 1e-12);
        assert_true(off < wanted[k].most);
        assert_true(fabs(distance(share, stored, KEPT, aim) - off) < 1e-4);
        if (k < 2) assert_true(fabs(share[KEPT - 2 + k] - 1) < 1e-9); /* stored itself */
    }
    /* one that stands there twice, or almost, brings nothing: no share of any size */
    double share[KEPT + 1], off;
    stored[KEPT] = (power_profile){0.1 + 1e-9, UPDATES};
    solve(share, &off, stored, KEPT + 1, (power_profile){0.075, UPDATES});
    for (int i = 0; i <= KEPT; i++) assert_true(fabs(share[i]) < 1);
    assert_true(share[KEPT] == 0 || share[KEPT - 1] == 0);
    assert_true(off < 0.0017);
}

static void lengths_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {{"0.05,", "separated by commas"},
               {",0.05", "separated by commas"},
               {"0.05;0.1", "separated by commas"},
               {"0.05 0.1", "separated by commas"},
               {"nan", "from 0.001 to 0.3"},
               {"inf", "from 0.001 to 0.3"},
               {"0.0009", "from 0.001 to 0.3"},
               {"0.31", "from 0.001 to 0.3"},
               {"-0.05", "from 0.001 to 0.3"},
               {"0", "from 0.001 to 0.3"},
               {"0.05,0.1,0.05", "0.05 stands there twice"},
               {"0.05,0.0500000001", "twice"},
               {"0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09", "more than 8"}};
    double lengths[POWER_LENGTHS_MAX];
    int count;
    dt_error err = {0};
    assert_int_equal(power_lengths_read(lengths, &count, "", &err), DT_OK);
    assert_int_equal(count, 0);
    assert_int_equal(power_lengths_read(lengths, &count, "0.05,1e-1", &err), DT_OK);
    assert_int_equal(count, 2);
    assert_true(lengths[0] == 0.05 && lengths[1] == 0.1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dt_error why = {0};
        assert_int_equal(power_lengths_read(lengths, &count, bad[i].text, &why), DT_ERR_ARG);
        assert_says(why.message, bad[i].why);
        assert_says(why.message, bad[i].text);
    }
}

/* ---- what a run keeps ---- */

static const double kept_lengths[] = {0.05, 0.2};
enum { STEPS = 8, EVERY = 3 };

/* Eight steps, weights of every one in a checkpoint. */
static dt_settings settings_of(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.max_train_steps = STEPS;
    s.learning_rate = 1e-2;
    s.checkpointing_steps = 1;
    s.checkpoints_total_limit = 0;
    s.ema_snapshot_steps = EVERY;
    snprintf(s.ema_power, sizeof s.ema_power, "0.05,0.2");
    return s;
}

static void open_file(tensor_file *f, const char *run, const char *name)
{
    char path[DT_PATH_MAX];
    dt_error err = {0};
    snprintf(path, sizeof path, "%s/%s", temp_path(run), name);
    if (safetensors_open(f, path, &err) != DT_OK) fail_msg("%s", err.message);
}

static float *values_of(const tensor_entry *e)
{
    dt_error err = {0};
    float *values = malloc((size_t)e->count * sizeof *values);
    assert_int_equal(tensor_read_f32(values, e, &err), DT_OK);
    return values;
}

/* Every tensor of `f` is the sum of the same tensor's values in the checkpoints 1 to `steps`, times their weights. */
static void expect_average(const tensor_file *f, const char *run, double length, int steps, double tolerance)
{
    tensor_file at[STEPS];
    for (int t = 0; t < steps; t++) {
        char name[64];
        snprintf(name, sizeof name, "checkpoints/step-%08d/model.safetensors", t + 1);
        open_file(&at[t], run, name);
    }
    for (size_t i = 0; i < f->count; i++) {
        const char *bare =
            strstr(f->entries[i].name, "base_model.model.") ? f->entries[i].name + 17 : f->entries[i].name;
        double *sum = calloc((size_t)f->entries[i].count, sizeof *sum);
        float *found = values_of(&f->entries[i]);
        for (int t = 0; t < steps; t++) {
            const tensor_entry *e = tensor_file_find(&at[t], bare);
            assert_non_null(e);
            float *values = values_of(e);
            for (int64_t k = 0; k < e->count; k++) sum[k] += weight_of(length, t + 1, steps) * values[k];
            free(values);
        }
        for (int64_t k = 0; k < f->entries[i].count; k++)
            if (!(fabs(found[k] - sum[k]) <= tolerance * (1 + fabs(sum[k]))))
                fail_msg("%s, value %lld: %g, expected %g", bare, (long long)k, (double)found[k], sum[k]);
        free(sum);
        free(found);
    }
    for (int t = 0; t < steps; t++) tensor_file_close(&at[t]);
}

static void expect_kept(const char *run)
{
    static const int at[] = {3, 6, 8};
    char folder[DT_PATH_MAX];
    snprintf(folder, sizeof folder, "%s/averages", temp_path(run));
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 2; k++) {
            tensor_file f;
            char name[SNAPSHOT_NAME_MAX], inside[128], updates[16];
            snapshot_name(name, at[i], kept_lengths[k]);
            snprintf(inside, sizeof inside, "averages/%s", name);
            open_file(&f, run, inside);
            snprintf(updates, sizeof updates, "%d", at[i]);
            assert_string_equal(tensor_file_metadata(&f, SNAPSHOT_UPDATES), updates);
            assert_string_equal(tensor_file_metadata(&f, SNAPSHOT_LENGTH), k ? "0.2" : "0.05");
            assert_string_equal(tensor_file_metadata(&f, "difftune.steps"), updates);
            expect_average(&f, run, kept_lengths[k], at[i], 1e-6);
            tensor_file_close(&f);
        }
}

static int files_in(const char *run, const char *folder)
{
    char path[DT_PATH_MAX];
    file_names names;
    dt_error err = {0};
    snprintf(path, sizeof path, "%s/%s", temp_path(run), folder);
    assert_int_equal(file_list(&names, path, &err), DT_OK);
    const int count = (int)names.count;
    file_names_free(&names);
    return count;
}

/* Beside the plain average, which does not notice. */
static void averages_are_of_what_trained_whatever_it_is(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        dt_settings s = settings_of("kept"), without;
        s.fused_backward_pass = way == 1;
        s.gradient_accumulation_steps = way == 2 ? 2 : 1;
        if (way == 3) {
            s.adapter = DT_ADAPTER_LORA;
            s.lora_rank = 2;
        }
        fixture_train_to_the_end(&s);
        expect_kept("kept");
        assert_int_equal(files_in("kept", "averages"), way == 3 ? 7 : 6); /* PEFT's description too */
        without = s;
        without.ema_power[0] = '\0';
        without.ema_snapshot_steps = 0;
        snprintf(without.output_dir, sizeof without.output_dir, "%s", temp_path("without"));
        fixture_train_to_the_end(&without);
        const char *const result = way == 3 ? "final/adapter_model.safetensors" : "final/model.safetensors";
        char with[600], plain[600];
        snprintf(with, sizeof with, "%s/%s", temp_path("kept"), result);
        snprintf(plain, sizeof plain, "%s/%s", temp_path("without"), result);
        assert_same_bits(fixture_tensors(with), fixture_tensors(plain));
        snprintf(plain, sizeof plain, "%s/averages", temp_path("without"));
        assert_false(file_exists(plain));
        assert_int_equal(files_in("without", "checkpoints/step-00000008"), way == 3 ? 6 : 5); /* likewise */
        assert_int_equal(files_in("kept", "checkpoints/step-00000008"), way == 3 ? 7 : 6);
        fixture_remove("kept");
        fixture_remove("without");
    }
}

static void steps_between_files_are_those_of_checkpoints_unless_said(void **state)
{
    (void)state;
    static const struct {
        int64_t checkpoints, averages;
        int files;
    } cases[] = {{0, 0, 2}, {5, 0, 4}, {0, 2, 8}, {1, 100, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_settings s = settings_of("steps");
        s.checkpointing_steps = cases[i].checkpoints;
        s.ema_snapshot_steps = cases[i].averages;
        fixture_train_to_the_end(&s);
        assert_int_equal(files_in("steps", "averages"), cases[i].files);
        fixture_remove("steps");
    }
}

/* Stopped before each step, also behind one whose average was written and whose checkpoint was not. */
static void a_resumed_run_keeps_the_same(void **state)
{
    (void)state;
    dt_settings s = settings_of("whole");
    s.checkpointing_steps = 2;
    fixture_train_to_the_end(&s);
    for (int64_t stop = 0; stop < STEPS; stop++) {
        snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("parts"));
        if (fixture_train(&s, stop) != DT_ERR_INTERRUPTED) fail_msg("%s", fixture_message);
        fixture_train_to_the_end(&s);
        for (int i = 1; i <= 3; i++)
            for (int k = 0; k < 2; k++) {
                char name[SNAPSHOT_NAME_MAX], one[DT_PATH_MAX], other[DT_PATH_MAX];
                file_hash a, b;
                dt_error err = {0};
                snapshot_name(name, i < 3 ? 3 * i : STEPS, kept_lengths[k]);
                snprintf(one, sizeof one, "%s/averages/%s", temp_path("whole"), name);
                snprintf(other, sizeof other, "%s/averages/%s", temp_path("parts"), name);
                assert_int_equal(file_sha256(&a, one, &err), DT_OK);
                assert_int_equal(file_sha256(&b, other, &err), DT_OK);
                assert_same_bits(a, b);
            }
        fixture_remove("parts");
    }
    fixture_remove("whole");
}

static void a_folder_belongs_to_the_averages_it_was_asked_for(void **state)
{
    (void)state;
    dt_settings s = settings_of("folder");
    fixture_train(&s, 2);
    dt_settings other = s;
    snprintf(other.ema_power, sizeof other.ema_power, "0.05");
    assert_int_equal(fixture_train(&other, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "ema_power 0.05,0.2");
    other.ema_power[0] = '\0';
    other.ema_snapshot_steps = 0;
    assert_int_equal(fixture_train(&other, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "ema_power 0.05,0.2");
    s.ema_snapshot_steps = 2; /* may change on the way */
    fixture_train_to_the_end(&s);
    fixture_remove("folder");
    fixture_train(&other, 2);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "ema_power (none), this call has 0.05,0.2");
    fixture_remove("folder");
}

static void memory_and_disk_are_told_before(void **state)
{
    (void)state;
    training r;
    ctx c;
    const dt_observer nobody = {0};
    dt_settings s = settings_of("told");
    s.dry_run = true;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(training_open(&r, &c, &s, &nobody, model_kinds_all), DT_OK);
    const int64_t trained = trainset_values(&r.trainer.set), all = params_count(r.trainer.model.params, true);
    assert_int_equal(trainset_bytes(&r.trainer.set, true), (4 + 2) * 4 * trained);
    assert_int_equal(averages_disk_bytes(&r), 3 * 2 * 4 * all);
    const int64_t with = checkpoint_disk_bytes(&r);
    r.trainer.set.power_count = 0;
    assert_int_equal(averages_disk_bytes(&r), 0);
    assert_int_equal(with - checkpoint_disk_bytes(&r), (STEPS + 1) * 2 * 4 * trained);
    training_close(&r);
    ctx_close(&c);
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "of them for averages"));
    assert_false(file_exists(temp_path("told")));
}

/* ---- the average of any length ---- */

static dt_settings convert_settings(const char *run, double length)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path(run));
    snprintf(s.output, sizeof s.output, "%s", temp_path("converted.safetensors"));
    s.ema_length = length;
    return s;
}

static void expect_converted(const char *run, double length, double tolerance)
{
    tensor_file f;
    dt_error err = {0};
    const dt_settings k = convert_settings(run, length);
    fixture_must(dt_convert, &k);
    assert_int_equal(safetensors_open(&f, temp_path("converted.safetensors"), &err), DT_OK);
    expect_average(&f, run, length, STEPS, tolerance);
    tensor_file_close(&f);
}

/* Weights of each step are there: the average of any length is known. */
static void an_average_of_any_length_is_made_of_those_that_were_kept(void **state)
{
    (void)state;
    dt_settings s = settings_of("run");
    s.ema_snapshot_steps = 1;
    fixture_train_to_the_end(&s);
    expect_converted("run", 0.05, 1e-6);
    expect_converted("run", 0.2, 1e-6);
    expect_converted("run", 0.1, 5e-5); /* which differs from its neighbours 0.075 and 0.15 by 2e-3 and more */
    assert_non_null(strstr(fixture_log, "length 0.1 after 8 updates, mixed of 16 of 16 files; its profile is off by "));
    tensor_file f;
    dt_error err = {0};
    assert_int_equal(safetensors_open(&f, temp_path("converted.safetensors"), &err), DT_OK);
    assert_string_equal(tensor_file_metadata(&f, SNAPSHOT_LENGTH), "0.1");
    tensor_file_close(&f);
    fixture_remove("run");
}

/* In double, from the files alone. */
static void the_mixture_of_files_is_the_sum_of_their_shares(void **state)
{
    (void)state;
    tensor_file average, one[4];
    snapshots_used used;
    dt_error err = {0};
    char folder[DT_PATH_MAX];
    const power_profile stored[] = {{0.05, 5}, {0.2, 5}, {0.05, 8}, {0.2, 8}};
    double share[4], off;
    dt_settings s = settings_of("run");
    s.ema_snapshot_steps = 5;
    fixture_train_to_the_end(&s);
    snprintf(folder, sizeof folder, "%s/averages", temp_path("run"));
    if (snapshots_open(&average, &used, folder, 0.1, &err) != DT_OK) fail_msg("%s", err.message);
    solve(share, &off, stored, 4, (power_profile){0.1, 8});
    assert_true(used.off == off && used.count == 4 && used.kept == 4 && used.updates == 8);
    for (int i = 0; i < 4; i++) {
        char name[SNAPSHOT_NAME_MAX], inside[128];
        snapshot_name(name, stored[i].updates, stored[i].length);
        snprintf(inside, sizeof inside, "averages/%s", name);
        open_file(&one[i], "run", inside);
    }
    assert_int_equal(average.count, one[0].count);
    for (size_t e = 0; e < average.count; e++) {
        float *found = values_of(&average.entries[e]), *of[4];
        for (int i = 0; i < 4; i++) of[i] = values_of(tensor_file_find(&one[i], average.entries[e].name));
        for (int64_t k = 0; k < average.entries[e].count; k++) {
            double sum = 0;
            for (int i = 0; i < 4; i++) sum += share[i] * of[i][k];
            assert_true(fabs(found[k] - sum) <= 1e-7 * (fabs(sum) + fabs(of[3][k])));
        }
        if (!strcmp(average.entries[e].name, "pos_embed")) /* fixed: the same to the bit */
            assert_memory_equal(found, of[0], (size_t)average.entries[e].count * sizeof *found);
        for (int i = 0; i < 4; i++) free(of[i]);
        free(found);
    }
    for (int i = 0; i < 4; i++) tensor_file_close(&one[i]);
    tensor_file_close(&average);
    fixture_remove("run");
}

/* ---- who takes it ---- */

static void load(const char *model, double length, const char *adapters, ctx *c, denoiser *d, model_info *info)
{
    assert_int_equal(ctx_open(c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    const model_choice choice = {.length = length, .adapters = adapters};
    if (denoiser_load_as(c, d, info, model, &choice, model_kinds_all) != DT_OK) fail_msg("%s", c->error.message);
}

/* Every kind of adapter as well as a whole model; a length that was kept is the same as its file by itself. */
static void adapters_are_averaged_beside_their_base(void **state)
{
    (void)state;
    for (int kind = DT_ADAPTER_NONE; kind <= DT_ADAPTER_ADAPTFORMER; kind++) {
        ctx a, b, e;
        denoiser from_run, from_file, other;
        model_info of_run = {0}, of_other = {0};
        char file[DT_PATH_MAX];
        dt_settings s = settings_of("run");
        s.adapter = (dt_adapter)kind;
        if (kind != DT_ADAPTER_NONE) s.lora_rank = s.adaptformer_width = 2;
        fixture_train_to_the_end(&s);
        snprintf(file, sizeof file, "%s/averages/step-00000008-0.2.safetensors", temp_path("run"));
        load(temp_path("run"), 0.2, NULL, &a, &from_run, &of_run);
        load(kind ? s.pretrained_model : file, 0, kind ? file : NULL, &b, &from_file, NULL);
        load(temp_path("run"), 0.19, NULL, &e, &other, &of_other);
        bool differs = false;
        for (int i = 0; i < from_run.params->count; i++) {
            const tensor *x = from_run.params->row[i].tensor, *y = from_file.params->row[i].tensor;
            for (int64_t k = 0; k < tensor_count(x); k++) assert_true(fabs(x->data[k] - y->data[k]) <= 1e-6);
            differs = differs || memcmp(x->data, other.params->row[i].tensor->data, tensor_bytes(x)) != 0;
        }
        const bool beside = kind == DT_ADAPTER_VPT_DEEP || kind == DT_ADAPTER_ADAPTFORMER;
        assert_true(differs || beside);
        assert_string_not_equal(of_run.sha256, of_other.sha256);
        model_info_free(&of_run);
        model_info_free(&of_other);
        ctx_close(&a);
        ctx_close(&b);
        ctx_close(&e);
        fixture_remove("run");
    }
}

static dt_settings sample_settings(const char *run, const char *output, double length)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path(run));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    s.num_samples = 2;
    s.num_inference_steps = 2;
    s.clip_sample = true;
    s.ema_length = length;
    snprintf(s.save_stack, sizeof s.save_stack, "%.900s/stack.npz", s.output_dir);
    return s;
}

/* Of a run that is not finished too; a folder of samples belongs to one length. */
static void samples_are_drawn_with_a_length(void **state)
{
    (void)state;
    dt_settings s = settings_of("run");
    assert_int_equal(fixture_train(&s, 6), DT_ERR_INTERRUPTED);
    dt_settings k = sample_settings("run", "samples", 0.1), c = convert_settings("run", 0.1);
    fixture_must(dt_sample, &k);
    fixture_must(dt_convert, &c);
    dt_settings of_file = sample_settings("converted.safetensors", "of_file", 0);
    fixture_must(dt_sample, &of_file);
    file_hash a, b;
    dt_error err = {0};
    assert_int_equal(file_sha256(&a, k.save_stack, &err), DT_OK);
    assert_int_equal(file_sha256(&b, of_file.save_stack, &err), DT_OK);
    assert_same_bits(a, b);
    k.ema_length = 0.15;
    assert_int_equal(fixture_call(dt_sample, &k, NULL), DT_ERR_CONFLICT);
    fixture_remove("samples");
    fixture_remove("of_file");
    fixture_remove("run");
}

/* ---- what cannot be ---- */

static void refuse(const char *run, dt_status status, const char *part)
{
    const dt_settings k = convert_settings(run, 0.1);
    unlink(k.output);
    assert_int_equal(fixture_call(dt_convert, &k, NULL), status);
    assert_says(fixture_message, part);
    assert_false(file_exists(k.output));
}

static void write_average(const char *name, const char *row, int64_t count, float value, const char *length,
                          const char *updates)
{
    float values[8];
    char path[DT_PATH_MAX];
    dt_error err = {0};
    for (int i = 0; i < 8; i++) values[i] = value;
    const tensor_source source = {
        .name = row, .dtype = SAFETENSORS_F32, .dim_count = 1, .dims = &count, .values = values};
    const metadata_pair said[] = {{SNAPSHOT_LENGTH, length}, {SNAPSHOT_UPDATES, updates}};
    snprintf(path, sizeof path, "%s/averages/%s", temp_path("made"), name);
    assert_int_equal(file_make_dirs(temp_path("made/averages"), &err), DT_OK);
    assert_int_equal(safetensors_write(path, &source, 1, said, length ? 2 : 0, NULL, &err), DT_OK);
}

static void what_cannot_be_averaged_is_refused_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *row;
        int64_t count;
        float value;
        const char *length, *updates;
        dt_status status;
        const char *part;
    } other[] = {
        {"w", 4, 1, "0.05", "9", DT_ERR_FORMAT, "b.safetensors: the average of length 0.05 after 9 updates, as"},
        {"w", 5, 1, "0.2", "9", DT_ERR_SHAPE, "tensor w has another shape than in"},
        {"v", 4, 1, "0.2", "9", DT_ERR_SHAPE, "tensor w is missing"},
        {"w", 4, NAN, "0.2", "9", DT_ERR_FORMAT, "b.safetensors: tensor w: value 0 is nan, a finite number expected"},
        {"w", 4, 1, NULL, NULL, DT_ERR_FORMAT, "b.safetensors: its metadata do not say of which length"},
        {"w", 4, 1, "0.9", "9", DT_ERR_FORMAT, "b.safetensors: its metadata"},
        {"w", 4, 1, "nan", "9", DT_ERR_FORMAT, "b.safetensors: its metadata"},
        {"w", 4, 1, "0.2", "0", DT_ERR_FORMAT, "b.safetensors: its metadata"},
        {"w", 4, 1, "0.2", "9x", DT_ERR_FORMAT, "b.safetensors: its metadata"},
        {"w", 4, 1, "0.2", "1e300", DT_ERR_FORMAT, "b.safetensors: its metadata"},
    };
    write_average("a.safetensors", "w", 4, 1, "0.05", "9");
    refuse("made", DT_ERR_SHAPE, "w"); /* no network's */
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        write_average("b.safetensors", other[i].row, other[i].count, other[i].value, other[i].length, other[i].updates);
        refuse("made", other[i].status, other[i].part);
    }
    fixture_remove("made");
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("made/averages"), &err), DT_OK);
    refuse("made", DT_ERR_IO, "made/averages: a folder without averages");
    fixture_remove("made");
    dt_settings s = fixture_settings("plain");
    fixture_train_to_the_end(&s);
    refuse("plain", DT_ERR_ARG, "ema_length needs the folder of a run that kept averages");
    refuse("plain/final/model.safetensors", DT_ERR_ARG, "ema_length needs the folder of a run");
    fixture_remove("plain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponents_are_those_of_the_published_lengths),
        cmocka_unit_test(shares_are_those_of_the_published_updates),
        cmocka_unit_test(updates_one_after_the_other_make_the_profile),
        cmocka_unit_test(the_mixture_is_the_published_one),
        cmocka_unit_test(a_mixture_is_as_near_as_is_said),
        cmocka_unit_test(lengths_are_read_or_refused),
        cmocka_unit_test(averages_are_of_what_trained_whatever_it_is),
        cmocka_unit_test(steps_between_files_are_those_of_checkpoints_unless_said),
        cmocka_unit_test(a_resumed_run_keeps_the_same),
        cmocka_unit_test(a_folder_belongs_to_the_averages_it_was_asked_for),
        cmocka_unit_test(memory_and_disk_are_told_before),
        cmocka_unit_test(an_average_of_any_length_is_made_of_those_that_were_kept),
        cmocka_unit_test(the_mixture_of_files_is_the_sum_of_their_shares),
        cmocka_unit_test(adapters_are_averaged_beside_their_base),
        cmocka_unit_test(samples_are_drawn_with_a_length),
        cmocka_unit_test(what_cannot_be_averaged_is_refused_in_one_line),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
