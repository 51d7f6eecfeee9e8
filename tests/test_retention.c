/* What is kept beside the paper's bank: shares and weights against their formulas, batches, losses against arithmetic of their
 * own, and runs: stopped, on any number of threads, with and without what saves memory. */
#include "inside_fixture.h"
#include "settings/settings.h"

static const dt_retention distilled[] = {DT_RETENTION_BANK_DISTIL, DT_RETENTION_TARGET_DISTIL, DT_RETENTION_NULL_FLAT,
                                         DT_RETENTION_SDFT};
enum { DISTILLED = sizeof distilled / sizeof *distilled };

static dt_settings settings_of(dt_retention kind)
{
    dt_settings s = fixture_settings("");
    s.retention = kind;
    if (kind != DT_RETENTION_BANK && kind != DT_RETENTION_BANK_DISTIL) s.bank[0] = '\0';
    return s;
}

static difftuning opened(const dt_settings *s)
{
    difftuning d;
    dt_error err = {0};
    if (difftuning_open(&d, s, NOISE_LINEAR, &err) != DT_OK) fail_msg("%s", err.message);
    return d;
}

/* Product of 1 - beta of DiT's schedule, from its definition. */
static double abar_of(int t)
{
    double abar = 1;
    for (int i = 0; i <= t; i++) abar *= 1 - (1e-4 + i * (0.02 - 1e-4) / 999);
    return abar;
}

/* ---- shares and weights ---- */

static void kinds_have_the_shares_and_weights_of_their_definitions(void **state)
{
    (void)state;
    static const struct {
        dt_retention kind;
        dt_preset preset;
        int64_t retained, noise; /* of 32 */
        double weight;
        bool bank, distils;
    } rows[] = {
        {DT_RETENTION_BANK, DT_PRESET_PAPER, 16, 0, 1, true, false},
        {DT_RETENTION_BANK_DISTIL, DT_PRESET_PAPER, 16, 0, 1, true, true},
        {DT_RETENTION_BANK_DISTIL, DT_PRESET_RELEASED, 6, 0, 0.1, true, true},
        {DT_RETENTION_TARGET_DISTIL, DT_PRESET_PAPER, 16, 0, 1, false, true},
        {DT_RETENTION_NULL_FLAT, DT_PRESET_RELEASED, 6, 0, 0.1, false, true},
        {DT_RETENTION_SDFT, DT_PRESET_PAPER, 0, 32, 0.1, false, true},
        {DT_RETENTION_SDFT, DT_PRESET_RELEASED, 0, 32, 0.1, false, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dt_settings s = settings_of(rows[i].kind);
        s.preset = rows[i].preset;
        const difftuning d = opened(&s);
        assert_int_equal(d.retention, rows[i].kind);
        assert_int_equal(difftuning_retained_count(&d, 32), rows[i].retained);
        assert_int_equal(difftuning_noise_count(&d, 32), rows[i].noise);
        assert_true(d.retention_weight == rows[i].weight);
        assert_int_equal(difftuning_uses_bank(&d), rows[i].bank);
        assert_int_equal(difftuning_distils(&d), rows[i].distils);
    }
}

/* A word of the setting wins over the preset; only distil asks whether there is a bank. */
static void a_preset_says_what_is_kept(void **state)
{
    (void)state;
    static const struct {
        dt_preset preset;
        dt_retention asked;
        bool bank;
        dt_retention kept;
        const char *line;
    } rows[] = {
        {DT_PRESET_DISTIL, DT_RETENTION_PRESET, true, DT_RETENTION_BANK_DISTIL,
         "preset distil: psi t^tau, tau 1, xi 1-psi, t sampled, retention bank-distil, share 0.5, retention weight 1"},
        {DT_PRESET_DISTIL, DT_RETENTION_PRESET, false, DT_RETENTION_TARGET_DISTIL,
         "retention target-distil, share 0.5"},
        {DT_PRESET_DISTIL, DT_RETENTION_BANK, true, DT_RETENTION_BANK, "bank share 0.5, retention weight 1"},
        {DT_PRESET_DISTIL, DT_RETENTION_NONE, true, DT_RETENTION_NONE, "retention none"},
        {DT_PRESET_PAPER, DT_RETENTION_PRESET, true, DT_RETENTION_BANK, "preset paper: psi t^tau, tau 1, xi 1-psi"},
        {DT_PRESET_PAPER, DT_RETENTION_TARGET_DISTIL, true, DT_RETENTION_TARGET_DISTIL, "retention target-distil"},
        {DT_PRESET_RELEASED, DT_RETENTION_PRESET, true, DT_RETENTION_BANK, "bank share 0.2, retention weight 0.1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dt_settings s;
        dt_settings_init(&s);
        s.preset = rows[i].preset;
        s.retention = rows[i].asked;
        if (rows[i].bank) strcpy(s.bank, "bank");
        const difftuning d = opened(&s);
        assert_int_equal(settings_retention(&s), rows[i].kept);
        assert_int_equal(d.retention, rows[i].kept);
        if (!strstr(d.line, rows[i].line)) fail_msg("case %d: %s", (int)i, d.line);
    }
}

static void what_is_told_a_control_keeps_nothing_but_by_the_papers_presets(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    strcpy(s.control, "canny");
    strcpy(s.bank, "bank");
    s.bank_fraction = 0.25;
    assert_int_equal(opened(&s).retention, DT_RETENTION_NONE);
    assert_true(opened(&s).retained_fraction == 0);
    s.retention = DT_RETENTION_BANK_DISTIL;
    assert_true(opened(&s).retained_fraction == 0.25);
    s.retention = DT_RETENTION_PRESET;
    s.preset = DT_PRESET_PAPER;
    assert_int_equal(opened(&s).retention, DT_RETENTION_BANK);
}

static void what_leaves_nothing_retains_nothing(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_TARGET_DISTIL);
    s.bank_fraction = 0;
    assert_int_equal(opened(&s).retention, DT_RETENTION_NONE);
    s = settings_of(DT_RETENTION_TARGET_DISTIL);
    s.tau = 0; /* xi = 1 - psi = 0 */
    assert_int_equal(opened(&s).retention, DT_RETENTION_NONE);
    s = settings_of(DT_RETENTION_NONE);
    const difftuning d = opened(&s);
    assert_true(difftuning_retained_count(&d, 32) == 0 && difftuning_noise_count(&d, 32) == 0);
    s = settings_of(DT_RETENTION_SDFT);
    s.tau = 0; /* t is drawn evenly, as published; what is kept has no xi */
    assert_int_equal(opened(&s).retention, DT_RETENTION_SDFT);
}

/* xi is flat for null-flat, and for the others what it is for the bank. */
static void xi_is_that_of_the_kind(void **state)
{
    (void)state;
    dt_settings flat = settings_of(DT_RETENTION_NULL_FLAT), bank = settings_of(DT_RETENTION_BANK);
    flat.tau = bank.tau = 2;
    const difftuning f = opened(&flat), b = opened(&bank);
    for (int t = 0; t < METHOD_T; t++) assert_true(f.xi.value[t] == 1 && f.psi.value[t] == b.psi.value[t]);
    for (dt_xi form = DT_XI_ONE_MINUS; form <= DT_XI_MIRROR; form++)
        for (dt_retention kind = DT_RETENTION_BANK_DISTIL; kind <= DT_RETENTION_TARGET_DISTIL; kind++) {
            dt_settings s = settings_of(kind), same = bank;
            s.tau = 2;
            s.xi = same.xi = form;
            const difftuning d = opened(&s), e = opened(&same);
            assert_memory_equal(d.xi.value, e.xi.value, sizeof d.xi.value);
        }
}

/* The weights of the first term as they were read off the published code, and of the second by its power. */
static void sdft_protects_the_noisy_end(void **state)
{
    (void)state;
    static const struct {
        int t;
        double weight, error;
    } published[] = {{50, 0.00003, 1e-5}, {100, 0.001, 5e-4}, {200, 0.04, 5e-3},
                     {300, 0.22, 5e-3},   {500, 0.78, 5e-3},  {700, 0.98, 5e-3}};
    dt_settings s = settings_of(DT_RETENTION_SDFT);
    const difftuning d = opened(&s);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        assert_true(fabs(difftuning_distil_law(&d, abar_of(published[i].t), false) - published[i].weight) <
                    published[i].error);
    for (int t = 0; t < METHOD_T; t += 37) {
        double power = 1;
        for (int k = 0; k < 50; k++) power *= 1 - abar_of(t);
        assert_true(fabs(difftuning_distil_law(&d, abar_of(t), true) - power) < 1e-12);
    }
    s.retention = DT_RETENTION_BANK_DISTIL;
    const difftuning other = opened(&s);
    assert_true(difftuning_distil_law(&other, 0.3, false) == 1);
}

/* ---- batches ---- */

enum { VALUES = 3 * FIXTURE_SIZE * FIXTURE_SIZE };

static batch fed(void)
{
    batch b;
    const step_plan *plan = &run.t.plan;
    assert_true(batch_new(&run.c, &b, &run.t.model, plan->batch + plan->noise_count));
    fixture_feed(&run.t, &b, 0);
    return b;
}

/* Whether the values are a training picture, or its mirror image. */
static bool is_training_picture(const real *x)
{
    static float picture[VALUES];
    for (int64_t i = 0; i < run.t.train.count; i++)
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            examples_get(picture, &run.t.train, i, mirrored, NULL);
            if (!memcmp(picture, x, sizeof picture)) return true;
        }
    return false;
}

static void without_a_bank_the_users_pictures_are_told_nothing(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_TARGET_DISTIL);
    s.train_batch_size = 8;
    open_inside(s);
    for (run.t.step = 0; run.t.step < 5; run.t.step++) {
        const batch b = fed();
        assert_true(b.count == 8 && b.target_count == 4 && b.taught_first == 4);
        for (int64_t i = 0; i < b.count; i++) assert_true(is_training_picture(b.x0_values + i * VALUES));
        for (int64_t i = b.target_count; i < b.count; i++) {
            assert_int_equal(b.label[i], FIXTURE_CLASSES);
            assert_true(fabs((double)b.taught_weight[i] - 0.25) < 1e-7);
        }
        arena_clear(&run.c.step);
    }
    close_inside();
}

/* Rows of pure noise have the noise, t and class of the sample that they stand behind; the target rows are those of a run that
 * retains nothing. */
static void sdft_adds_pure_noise_and_changes_no_sample(void **state)
{
    (void)state;
    static real kept[4 * VALUES];
    int32_t t[4], label[4];
    open_inside(settings_of(DT_RETENTION_NONE));
    batch b = fed();
    assert_int_equal(b.count, 4);
    memcpy(kept, b.xt_values, sizeof kept);
    memcpy(t, b.t, sizeof t);
    memcpy(label, b.label, sizeof label);
    arena_clear(&run.c.step);
    close_inside();
    open_inside(settings_of(DT_RETENTION_SDFT));
    b = fed();
    assert_true(b.count == 8 && b.target_count == 4 && b.taught_first == 0 && b.noise_first == 4);
    assert_memory_equal(b.xt_values, kept, sizeof kept);
    for (int64_t i = 0; i < 4; i++) {
        assert_true(b.t[i] == t[i] && b.t[i + 4] == t[i] && b.label[i] == label[i] && b.label[i + 4] == label[i]);
        assert_memory_equal(b.xt_values + (i + 4) * VALUES, b.noise_values + i * VALUES, VALUES * sizeof(real));
    }
    arena_clear(&run.c.step);
    close_inside();
}

/* ---- losses ---- */

/* What the base says on its null branch of one row, from its file and without the trainer. */
static void ask_base(ctx *c, const denoiser *base, real out[VALUES], const batch *b, int64_t i)
{
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){1, 3, FIXTURE_SIZE, FIXTURE_SIZE});
    memcpy(x->data, b->xt_values + i * VALUES, VALUES * sizeof(real));
    const condition null = {.label = (int32_t[]){FIXTURE_CLASSES}};
    const tensor *y = denoiser_forward(c, base, x, b->time + i, &null);
    memcpy(out, y->data, VALUES * sizeof(real));
    arena_clear(&c->step);
}

static double mean_square(const real *a, const real *b)
{
    double sum = 0;
    for (int j = 0; j < VALUES; j++) sum += pow((double)a[j] - (double)b[j], 2);
    return sum / VALUES;
}

/* The loss of the batch in double, row by row from the outputs: (mse + vb) of the target samples, and the weighted distances to
 * what the base's file says. */
static double loss_by_hand(const batch *b, const tensor *out, double *retained)
{
    static real said[VALUES];
    ctx c;
    denoiser base;
    double loss = 0;
    const bool sdft = run.s.retention == DT_RETENTION_SDFT;
    const double count = (double)(sdft ? b->target_count : b->count - b->target_count), weight = sdft ? 0.1 : 1;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_load(&c, &base, NULL, temp_path("base.safetensors"), model_kinds_all), DT_OK);
    for (int64_t i = 0; i < b->target_count; i++) {
        const double mse = mean_square(out->data + 2 * i * VALUES, b->noise_values + i * VALUES);
        assert_true(fabs((double)b->mse[i] / mse - 1) < 1e-4);
        loss += (mse + (double)b->vb[i]) / (double)b->target_count;
    }
    *retained = 0;
    for (int64_t i = sdft ? 0 : b->target_count; i < b->count; i++) {
        const double law = sdft ? pow(1 - abar_of(b->t[i]), i < b->target_count ? 3 : 50) : 1;
        ask_base(&c, &base, said, b, i);
        *retained += law * mean_square(out->data + 2 * i * VALUES, said) / count;
    }
    ctx_close(&c);
    return loss + weight * *retained;
}

static void losses_are_those_of_their_formulas(void **state)
{
    (void)state;
    for (int k = 0; k < DISTILLED; k++) {
        open_inside(settings_of(distilled[k]));
        for (int i = 0; i < 3; i++) step_inside(); /* away from the base */
        batch b = fed();
        batch_ask(&run.c, &b, &run.t.teacher);
        tensor *out = denoiser_forward(&run.c, &run.t.model, b.xt, b.time, &b.condition);
        const tensor *loss = batch_loss_of(&run.c, &b, out);
        double retained;
        const double expected = loss_by_hand(&b, out, &retained);
        print_message("kind %d: loss %.6f, by hand %.6f\n", (int)distilled[k], (double)loss->data[0], expected);
        assert_true(fabs((double)loss->data[0] / expected - 1) < 1e-5);
        arena_clear(&run.c.step);
        const step_result r = step_inside();
        assert_true(retained > 1e-9 && fabs(r.loss_retained / retained - 1) < 1e-4);
        assert_true(isnan(r.loss_bank));
        close_inside();
    }
}

/* Before the first step both are the same network, so that nothing is to be corrected: not a bit. */
static void at_the_start_the_base_is_met_exactly(void **state)
{
    (void)state;
    for (int k = 0; k < DISTILLED; k++) {
        if (distilled[k] == DT_RETENTION_SDFT) continue; /* whose samples are told their class */
        open_inside(settings_of(distilled[k]));
        assert_true(step_inside().loss_retained == 0);
        assert_true(step_inside().loss_retained > 0);
        close_inside();
    }
}

/* Weight 0 leaves the gradient of the target samples alone. */
static void the_retained_rows_reach_the_weights_by_their_weight_only(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_SDFT);
    s.retention_weight = 0;
    const file_hash idle = fixture_bits(s);
    assert_same_bits(idle, fixture_bits(settings_of(DT_RETENTION_NONE)));
    s.retention_weight = 0.1;
    assert_string_not_equal(fixture_bits(s).hex, idle.hex);
}

/* The base's weights are used where its file has them, and stay what they are. */
static void the_teacher_is_the_file(void **state)
{
    (void)state;
    dt_error err = {0};
    file_hash before, after;
    assert_int_equal(file_sha256(&before, temp_path("base.safetensors"), &err), DT_OK);
    open_inside(settings_of(DT_RETENTION_TARGET_DISTIL));
    assert_int_equal(run.t.teacher.copied_bytes, 0);
    for (int i = 0; i < 3; i++) step_inside();
    const params *p = run.t.teacher.model.params;
    for (int i = 0; i < p->count; i++) {
        const tensor_entry *e = tensor_file_find(&run.t.teacher.file.tensors, p->row[i].name);
        assert_non_null(e);
        assert_ptr_equal(e->data, p->row[i].tensor->data);
    }
    close_inside();
    assert_int_equal(file_sha256(&after, temp_path("base.safetensors"), &err), DT_OK);
    assert_same_bits(before, after);
}

/* One of half precision is copied, to the same predictions as far as its numbers go. */
static void a_base_of_half_precision_is_copied(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_TARGET_DISTIL), convert = s;
    snprintf(convert.output, sizeof convert.output, "%s", temp_path("half.safetensors"));
    convert.save_dtype = DT_FILE_F16;
    dt_context *c = NULL;
    assert_int_equal(dt_open(&c, &convert), DT_OK);
    if (dt_convert(c, &convert, NULL) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("half.safetensors"));
    open_inside(s);
    assert_true(run.t.teacher.copied_bytes > 0);
    assert_true(step_inside().loss_retained == 0);
    close_inside();
}

/* ---- beside an adapter ---- */

/* Trained values after some steps beside the adapter, and their losses, with the base in a network of its own or in the one that
 * trains. */
static real *trained_beside(dt_settings s, bool apart, double losses[3])
{
    const model_choice choice = model_choice_of(&s, NULL);
    open_inside(s);
    assert_ptr_equal(run.t.teacher.set, &run.t.set);
    if (apart && teacher_open(&run.c, &run.t.teacher, s.pretrained_model, &choice, model_kinds_all) != DT_OK)
        fail_msg("%s", run.c.error.message);
    if (apart) run.t.teacher.set = NULL;
    for (int i = 0; i < 3; i++) losses[i] = step_inside().loss_retained;
    real *values = malloc((size_t)trainset_values(&run.t.set) * sizeof *values), *to = values;
    for (int i = 0; i < run.t.set.count; i++) {
        const tensor *w = run.t.set.row[i].tensor;
        memcpy(to, w->data, tensor_bytes(w));
        to += tensor_count(w);
    }
    assert_false(run.t.adapter.off);
    close_inside();
    return values;
}

static int64_t trained_values(dt_settings s)
{
    open_inside(s);
    const int64_t values = trainset_values(&run.t.set);
    close_inside();
    return values;
}

/* Also of half precision, which no network can use where it lies, and where products are of bfloat16. */
static void with_its_adapter_off_a_network_is_its_base(void **state)
{
    (void)state;
    for (dt_adapter kind = DT_ADAPTER_BITFIT; kind <= DT_ADAPTER_ADAPTFORMER; kind++)
        for (int k = 0; k < DISTILLED; k++)
            for (int narrow = 0; narrow < 2; narrow++) {
                double within[3], apart[3];
                dt_settings s = settings_of(distilled[k]);
                s.adapter = kind;
                s.learning_rate = 1e-2;
                if (narrow) s.mixed_precision = DT_PRECISION_BF16;
                if (narrow)
                    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("half.safetensors"));
                real *a = trained_beside(s, false, within), *b = trained_beside(s, true, apart);
                assert_memory_equal(a, b, (size_t)trained_values(s) * sizeof *a);
                assert_memory_equal(within, apart, sizeof within);
                assert_true(within[2] > 0);
                free(a);
                free(b);
            }
}

/* The null class of the network trains, and its base's stays what it was. */
static void beside_an_adapter_the_base_is_asked(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_TARGET_DISTIL);
    s.adapter = DT_ADAPTER_LORA;
    s.learning_rate = 1e-2;
    open_inside(s);
    for (int i = 0; i < 3; i++) step_inside();
    batch b = fed();
    batch_ask(&run.c, &b, &run.t.teacher);
    tensor *out = denoiser_forward(&run.c, &run.t.model, b.xt, b.time, &b.condition);
    double retained;
    batch_loss_of(&run.c, &b, out);
    loss_by_hand(&b, out, &retained);
    const double found = step_inside().loss_retained;
    assert_true(retained > 1e-9 && fabs(found / retained - 1) < 1e-4);
    close_inside();
}

/* ---- runs ---- */

static file_hash bits_with_stops(dt_settings s)
{
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("stopped"));
    for (int64_t i = 1; i <= 2; i++)
        if (fixture_train(&s, i) != DT_ERR_INTERRUPTED) fail_msg("stop %d: %s", (int)i, fixture_message);
    fixture_train_to_the_end(&s);
    const file_hash hash = fixture_result("stopped");
    fixture_remove("stopped");
    return hash;
}

static void every_kind_ends_in_the_same_bits(void **state)
{
    (void)state;
    char seen[DISTILLED][sizeof((file_hash *)0)->hex];
    for (int k = 0; k < DISTILLED; k++) {
        dt_settings s = settings_of(distilled[k]);
        const file_hash whole = fixture_bits(s);
        assert_same_bits(bits_with_stops(s), whole);
        for (s.threads = 2; s.threads <= 3; s.threads++) assert_same_bits(fixture_bits(s), whole);
        s.gradient_checkpointing = true;
        assert_same_bits(fixture_bits(s), whole);
        s.fused_backward_pass = true;
        assert_same_bits(fixture_bits(s), whole);
        memcpy(seen[k], whole.hex, sizeof seen[k]);
        for (int j = 0; j < k; j++) assert_string_not_equal(seen[j], seen[k]);
    }
}

static void every_kind_runs_in_bf16_with_accumulation(void **state)
{
    (void)state;
    for (int k = 0; k < DISTILLED; k++) {
        dt_settings s = settings_of(distilled[k]);
        s.mixed_precision = DT_PRECISION_BF16;
        s.gradient_accumulation_steps = 2;
        s.t_law = DT_T_WEIGHT;
        const file_hash whole = fixture_bits(s);
        assert_same_bits(bits_with_stops(s), whole);
        s.threads = 2;
        assert_same_bits(fixture_bits(s), whole);
    }
}

static void nothing_is_allocated_after_the_second_step(void **state)
{
    (void)state;
    for (int k = 0; k < DISTILLED; k++) {
        open_inside(settings_of(distilled[k]));
        size_t model = 0, step = 0, scratch = 0;
        for (int i = 0; i < 5; i++) {
            step_inside();
            assert_int_equal(run.c.step.used, 0);
            if (i == 1) model = run.c.model.used, step = run.c.step.peak, scratch = run.c.scratch.peak;
        }
        assert_true(run.c.model.used == model && run.c.step.peak == step && run.c.scratch.peak == scratch);
        close_inside();
    }
}

/* A bank that the kind does not use is measured on and changes nothing. */
static void an_unused_bank_changes_no_bit(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_RETENTION_TARGET_DISTIL), given = s;
    snprintf(given.bank, sizeof given.bank, "%s", temp_path("bank_images"));
    const file_hash without = fixture_bits(s);
    assert_null(strstr(fixture_log, "only measured on"));
    assert_same_bits(fixture_bits(given), without);
    assert_says(fixture_log, "nothing is trained on it; it is only measured on");
}

static void none_is_reconsolidation_only(void **state)
{
    (void)state;
    dt_settings s = fixture_settings("");
    s.ablation = DT_ABLATION_RECONSOLIDATION_ONLY;
    const file_hash before = fixture_bits(s);
    assert_same_bits(fixture_bits(settings_of(DT_RETENTION_NONE)), before);
}

/* The run says what is in force, and its lines and metrics call what is retained by its name. */
static void a_run_says_what_it_keeps(void **state)
{
    (void)state;
    static const char *const said[] = {"xi 1-psi, t sampled, retention bank-distil, share 0.5, retention weight 1",
                                       "xi 1-psi, t sampled, retention target-distil, share 0.5, retention weight 1",
                                       "xi flat, t sampled, retention null-flat, share 0.5, retention weight 1",
                                       "tau 1, t sampled, retention sdft, retention weight 0.1"};
    for (int k = 0; k < DISTILLED; k++) {
        dt_settings s = settings_of(distilled[k]);
        dt_error err = {0};
        char *text, path[DT_PATH_MAX];
        size_t size;
        snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("says"));
        fixture_train_to_the_end(&s);
        assert_says(fixture_log, said[k]);
        assert_says(fixture_log, "the frozen base beside it: 0 MiB");
        file_join(path, s.output_dir, "metrics.jsonl");
        assert_int_equal(file_read_all(&text, &size, path, 1 << 20, &err), DT_OK);
        assert_says(text, "\"loss_bank\":null,\"loss_retained\":");
        free(text);
        fixture_remove("says");
    }
}

static void a_teacher_that_is_no_model_is_refused(void **state)
{
    (void)state;
    ctx c;
    teacher k = {0};
    const model_choice choice = {0};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    temp_write("no_model", "nothing", 7);
    assert_int_equal(teacher_open(&c, &k, temp_path("no_model"), &choice, model_kinds_all), DT_ERR_FORMAT);
    teacher_close(&k);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_have_the_shares_and_weights_of_their_definitions),
        cmocka_unit_test(a_preset_says_what_is_kept),
        cmocka_unit_test(what_is_told_a_control_keeps_nothing_but_by_the_papers_presets),
        cmocka_unit_test(what_leaves_nothing_retains_nothing),
        cmocka_unit_test(xi_is_that_of_the_kind),
        cmocka_unit_test(sdft_protects_the_noisy_end),
        cmocka_unit_test(without_a_bank_the_users_pictures_are_told_nothing),
        cmocka_unit_test(sdft_adds_pure_noise_and_changes_no_sample),
        cmocka_unit_test(losses_are_those_of_their_formulas),
        cmocka_unit_test(at_the_start_the_base_is_met_exactly),
        cmocka_unit_test(the_retained_rows_reach_the_weights_by_their_weight_only),
        cmocka_unit_test(the_teacher_is_the_file),
        cmocka_unit_test(a_base_of_half_precision_is_copied),
        cmocka_unit_test(with_its_adapter_off_a_network_is_its_base),
        cmocka_unit_test(beside_an_adapter_the_base_is_asked),
        cmocka_unit_test(every_kind_ends_in_the_same_bits),
        cmocka_unit_test(every_kind_runs_in_bf16_with_accumulation),
        cmocka_unit_test(nothing_is_allocated_after_the_second_step),
        cmocka_unit_test(an_unused_bank_changes_no_bit),
        cmocka_unit_test(none_is_reconsolidation_only),
        cmocka_unit_test(a_run_says_what_it_keeps),
        cmocka_unit_test(a_teacher_that_is_no_model_is_refused),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
