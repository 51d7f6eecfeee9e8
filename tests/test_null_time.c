/* Noise awareness guidance: the row that stands for no time, who is told it in training, how its answer is mixed in sampling, and
 * the files that hold it. */
#include "inside_fixture.h"

#include "adapter/adapter_file.h"
#include "diffusion/flow.h"
#include "diffusion/sampler.h"
#include "model/file/kind.h"
#include "tiny_network.h"

enum { WIDTH = 32, VALUES = 3 * FIXTURE_SIZE * FIXTURE_SIZE };

static int make(void **state)
{
    dit_config k = fixture_config();
    if (fixture_make(state)) return -1;
    k.flow = true;
    fixture_base("flow.safetensors", k, 13);
    return 0;
}

static dt_settings settings_of(const char *output, double share)
{
    dt_settings s = fixture_settings(output);
    s.time_dropout = share;
    s.learning_rate = 1e-2;
    s.weights = DT_WEIGHTS_LAST;
    return s;
}

/* The row of a file, under this name. */
static void read_row(const char *path, const char *name, float row[WIDTH])
{
    tensor_file f;
    dt_error err = {0};
    if (safetensors_open(&f, path, &err) != DT_OK) fail_msg("%s", err.message);
    const tensor_entry *e = tensor_file_find(&f, name);
    assert_true(e && e->dim_count == 2 && e->dims[0] == 1 && e->dims[1] == WIDTH);
    assert_int_equal(tensor_read_f32(row, e, &err), DT_OK);
    tensor_file_close(&f);
}

static bool has_row(const char *path)
{
    tensor_file f;
    dt_error err = {0};
    if (safetensors_open(&f, path, &err) != DT_OK) fail_msg("%s", err.message);
    const bool found = tensor_file_find(&f, MODEL_NULL_TIME);
    tensor_file_close(&f);
    return found;
}

static const float *weights(const char *name)
{
    return params_find(run.t.model.params, name)->tensor->data;
}

/* ---- the row ---- */

/* The time MLP in double, from its definition. */
static void embed_by_hand(double out[WIDTH], double t)
{
    enum { FREQUENCIES = 128 };
    double wave[2 * FREQUENCIES], hidden[WIDTH];
    const float *w0 = weights("t_embedder.mlp.0.weight"), *b0 = weights("t_embedder.mlp.0.bias");
    const float *w2 = weights("t_embedder.mlp.2.weight"), *b2 = weights("t_embedder.mlp.2.bias");
    for (int i = 0; i < FREQUENCIES; i++) {
        const double angle = t * pow(10000, -(double)i / FREQUENCIES);
        wave[i] = cos(angle);
        wave[FREQUENCIES + i] = sin(angle);
    }
    for (int o = 0; o < WIDTH; o++) {
        double sum = (double)b0[o];
        for (int i = 0; i < 2 * FREQUENCIES; i++) sum += (double)w0[o * 2 * FREQUENCIES + i] * wave[i];
        hidden[o] = sum / (1 + exp(-sum));
    }
    for (int o = 0; o < WIDTH; o++) {
        out[o] = (double)b2[o];
        for (int i = 0; i < WIDTH; i++) out[o] += (double)w2[o * WIDTH + i] * hidden[i];
    }
}

static void it_starts_as_the_mean_over_all_times(void **state)
{
    (void)state;
    for (int flow = 0; flow < 2; flow++) {
        dt_settings s = settings_of("mean", 0.1);
        if (flow) snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("flow.safetensors"));
        open_inside(s);
        assert_string_equal(run.t.model.null_time, MODEL_NULL_TIME);
        const float *row = weights(MODEL_NULL_TIME);
        double mean[WIDTH] = {0}, one[WIDTH], spread = 0;
        for (int t = 0; t < 1000; t++) {
            embed_by_hand(one, flow ? 1 - (t + 0.5) / 1000 : t);
            for (int j = 0; j < WIDTH; j++) mean[j] += one[j] / 1000;
        }
        for (int j = 0; j < WIDTH; j++) {
            assert_true(fabs((double)row[j] - mean[j]) < 1e-5);
            spread = fmax(spread, fabs(mean[j] - one[j]));
        }
        assert_true(flow || spread > 1e-3); /* one time alone would be seen */
        close_inside();
    }
}

/* What a network says to three samples at these times. */
static void predict(ctx *c, const denoiser *d, const real t[3], const bool null_time[3], real out[3 * 2 * VALUES])
{
    tensor *x = tensor_new(c, &c->step, 4, (int64_t[]){3, 3, FIXTURE_SIZE, FIXTURE_SIZE});
    rng_normal(x->data, tensor_count(x), (rng_key){.seed = 3, .purpose = RNG_NOISE});
    const condition told = {.label = (int32_t[]){1, 0, 2}, .null_time = null_time};
    const tensor *y = denoiser_forward(c, d, x, t, &told);
    if (ctx_failed(c)) fail_msg("%s", c->error.message);
    memcpy(out, y->data, 3 * 2 * VALUES * sizeof *out);
    arena_clear(&c->step);
}

static void who_is_not_told_the_time_does_not_know_it(void **state)
{
    (void)state;
    static real told[3 * 2 * VALUES], one[3 * 2 * VALUES], other[3 * 2 * VALUES];
    enum { EACH = 2 * VALUES };
    open_inside(settings_of("blind", 0.1));
    const bool middle[] = {false, true, false}, nobody_is[3] = {false};
    predict(&run.c, &run.t.model, (real[]){5, 300, 999}, NULL, told);
    predict(&run.c, &run.t.model, (real[]){5, 300, 999}, nobody_is, one);
    assert_memory_equal(told, one, sizeof told);
    predict(&run.c, &run.t.model, (real[]){5, 300, 999}, middle, one);
    predict(&run.c, &run.t.model, (real[]){5, 20, 999}, middle, other);
    assert_memory_equal(one, other, sizeof one); /* whatever it would have been told */
    assert_memory_equal(one, told, EACH * sizeof *one);
    assert_memory_equal(one + 2 * EACH, told + 2 * EACH, EACH * sizeof *one);
    assert_memory_not_equal(one + EACH, told + EACH, EACH * sizeof *one);
    close_inside();
}

/* ---- who is told ---- */

static batch fed(void)
{
    batch b;
    const step_plan *plan = &run.t.plan;
    assert_true(batch_new(&run.c, &b, &run.t.model, plan->batch + plan->noise_count));
    fixture_feed(&run.t, &b, 0);
    assert_ptr_equal(b.condition.null_time, b.null_time);
    return b;
}

/* Target samples alone, each by chance, and no other choice changes with it. */
static void a_share_of_the_target_samples_is_not_told(void **state)
{
    (void)state;
    enum { STEPS = 400, TARGETS = 4 };
    dt_settings s = settings_of("share", 0.25);
    int dropped = 0, differs = 0;
    s.train_batch_size = 8;
    open_inside(s);
    for (run.t.step = 0; run.t.step < STEPS; run.t.step++) {
        const batch b = fed();
        assert_int_equal(b.target_count, TARGETS);
        for (int64_t i = 0; i < b.count; i++) {
            const rng_key key = {(uint64_t)s.seed, RNG_TIME_DROP, (uint32_t)run.t.step, (uint32_t)i};
            assert_int_equal(b.null_time[i], i < TARGETS && rng_uniform(key, 0) < 0.25);
            dropped += b.null_time[i];
            differs += b.null_time[i] != (i < TARGETS && b.label[i] == FIXTURE_CLASSES);
        }
        arena_clear(&run.c.step);
    }
    assert_true(abs(dropped - STEPS * TARGETS / 4) < 70); /* four standard deviations */
    assert_true(differs > 0);
    close_inside();
}

/* Rows of pure noise are told what their sample is told. */
static void noise_is_told_what_its_sample_is(void **state)
{
    (void)state;
    int dropped = 0;
    dt_settings s = settings_of("noise", 0.5);
    s.retention = DT_RETENTION_SDFT;
    s.bank[0] = '\0';
    open_inside(s);
    for (run.t.step = 0; run.t.step < 20; run.t.step++) {
        const batch b = fed();
        for (int64_t i = 0; i < 4; i++) {
            assert_int_equal(b.null_time[i + 4], b.null_time[i]);
            dropped += b.null_time[i];
        }
        arena_clear(&run.c.step);
    }
    assert_true(dropped > 20 && dropped < 60);
    close_inside();
}

/* ---- how answers are mixed ---- */

/* By class and channel; without the time 2 less. */
typedef struct known {
    int calls;
    int64_t rows[4];
} known;

enum { CHANNELS = 4, PIXELS = 4, EACH = CHANNELS * PIXELS };

static tensor *answer(ctx *k, const denoiser *d, tensor *x, const real t[], const condition *told)
{
    known *m = d->self;
    const int64_t n = x->dim[0];
    tensor *v = tensor_new(k, &k->step, 4, x->dim);
    (void)t;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < EACH; j++)
            v->data[i * EACH + j] =
                (real)told->label[i] + (real)(j / PIXELS) / 8 - (told->null_time && told->null_time[i] ? 2 : 0);
    m->rows[m->calls++] = n;
    return v;
}

static denoiser known_denoiser(known *m)
{
    static const denoiser_ops ops = {.kind = "known", .forward = answer};
    return (denoiser){.ops = &ops,
                      .self = m,
                      .shape = {CHANNELS, 2, 2},
                      .process = {NOISE_STRAIGHT, PREDICTS_VELOCITY, false},
                      .class_count = 9,
                      .null_time = "null"};
}

/* Two samples of classes 3 and 5 in one step of Euler from zero: what comes out is the mixed answer. */
static void draw_known(const dt_settings *s, known *m, known *guide, real x[2 * EACH])
{
    ctx c;
    sampler p;
    const denoiser d = known_denoiser(m), other = known_denoiser(guide);
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(sampler_open(&p, &d, s, &c.error), DT_OK);
    if (s->guidance_model[0]) assert_int_equal(sampler_guide_by(&p, &other, false, "guide", &c.error), DT_OK);
    *m = *guide = (known){0};
    memset(x, 0, 2 * EACH * sizeof *x);
    assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = (int32_t[]){3, 5}}, (uint32_t[]){0, 1}, 2),
                     DT_OK);
    assert_int_equal(c.step.used, 0);
    ctx_close(&c);
}

static void answers_are_mixed_by_the_formula(void **state)
{
    (void)state;
    static const struct {
        double scale, nag;
        bool other; /* another denoiser guides */
        int calls;
        int64_t rows, rows_of_other;
    } ways[] = {{1, 0, false, 1, 2, 0}, {2, 0, false, 1, 4, 0}, {1, 1.5, false, 1, 4, 0}, {2, 1.5, false, 1, 6, 0},
                {2, 0, true, 1, 2, 2},  {2, 3, true, 1, 4, 2},  {0, 0.5, false, 1, 6, 0}};
    for (int three = 0; three < 2; three++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            real x[2 * EACH];
            known m, guide;
            dt_settings s;
            dt_settings_init(&s);
            s.sampler = DT_SAMPLER_EULER;
            s.num_inference_steps = 1;
            s.guidance_scale = ways[i].scale;
            s.nag_scale = ways[i].nag;
            s.guidance_channels = three ? DT_GUIDE_THREE : DT_GUIDE_ALL;
            snprintf(s.guidance_model, sizeof s.guidance_model, "%s", ways[i].other ? "guide" : "");
            draw_known(&s, &m, &guide, x);
            assert_true(m.calls == ways[i].calls && m.rows[0] == ways[i].rows);
            assert_true(guide.calls == ways[i].other && guide.rows[0] == ways[i].rows_of_other);
            for (int j = 0; j < 2 * EACH; j++) {
                const int channel = j % EACH / PIXELS;
                const double told = (j < EACH ? 3 : 5) + channel / 8.0, null = 9 + channel / 8.0;
                const double mixed = null + ways[i].scale * (told - null) + ways[i].nag * 2;
                assert_true(fabs((double)x[j] - (three && channel == 3 ? told : mixed)) < 1e-5);
            }
        }
}

/* One interval for both. */
static void outside_the_interval_nobody_else_is_asked(void **state)
{
    (void)state;
    real x[2 * EACH];
    known m, guide;
    dt_settings s;
    dt_settings_init(&s);
    s.sampler = DT_SAMPLER_EULER;
    s.num_inference_steps = 2; /* at levels 999 and 500 */
    s.nag_scale = 1;
    snprintf(s.guidance_interval, sizeof s.guidance_interval, "0,600");
    draw_known(&s, &m, &guide, x);
    assert_true(m.calls == 2 && m.rows[0] == 2 && m.rows[1] == 6);
}

/* ---- runs ---- */

/* Of a model, four samples. */
static dt_settings drawing_settings(const char *model, const char *output, double nag)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", model);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    s.threads = 1;
    s.num_samples = 4;
    s.num_inference_steps = 3;
    s.nag_scale = nag;
    return s;
}

/* The pixels of sample number 0. */
static void draw(const char *model, const char *output, double nag, uint8_t rgb[VALUES])
{
    const dt_settings s = drawing_settings(model, output, nag);
    dt_error err = {0};
    char *data;
    size_t bytes;
    image picture = {0};
    const image_options options = {.background = {255, 255, 255}};
    fixture_must(dt_sample, &s);
    assert_int_equal(file_read_all(&data, &bytes, temp_path_in(output, "images/000000.png"), 1 << 20, &err), DT_OK);
    assert_int_equal(image_decode(&picture, NULL, (const uint8_t *)data, bytes, "picture", &options, &err), DT_OK);
    memcpy(rgb, picture.rgb, VALUES);
    image_close(&picture);
    free(data);
    fixture_remove(output);
}

static void a_run_is_resumed_and_draws_with_what_it_learned(void **state)
{
    (void)state;
    float row[WIDTH], start[WIDTH];
    uint8_t plain[VALUES], none[VALUES], aware[VALUES];
    dt_settings s = settings_of("whole", 0.5);
    open_inside(s);
    memcpy(start, weights(MODEL_NULL_TIME), sizeof start);
    close_inside();
    fixture_train_to_the_end(&s);
    const char *model = temp_path_in("whole", "final/model.safetensors");
    read_row(model, MODEL_NULL_TIME, row);
    for (int j = 0; j < WIDTH; j++) assert_true(row[j] != start[j]); /* each was trained */
    const file_hash whole = fixture_result("whole");
    dt_settings stopped = settings_of("stopped", 0.5);
    assert_int_equal(fixture_train(&stopped, 3), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&stopped);
    assert_same_bits(whole, fixture_result("stopped"));
    dt_settings otherwise = s;
    otherwise.threads = 2;
    otherwise.gradient_checkpointing = true;
    assert_same_bits(whole, fixture_bits(otherwise));
    otherwise.fused_backward_pass = true;
    assert_same_bits(whole, fixture_bits(otherwise));
    otherwise.time_dropout = 0.4;
    assert_string_not_equal(whole.hex, fixture_bits(otherwise).hex);

    draw(temp_path("whole"), "drawn", 0, plain);
    draw(temp_path_in("whole", "final/model.safetensors"), "drawn", 0, none);
    assert_memory_equal(plain, none, sizeof plain);
    draw(temp_path("whole"), "drawn", 2, aware);
    assert_memory_not_equal(plain, aware, sizeof plain);

    /* who was not asked for it is another run */
    s.time_dropout = 0;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "time_dropout");
    fixture_remove("whole");
    fixture_remove("stopped");
}

/* In bf16 too, where weights have narrow copies. */
static void it_trains_in_bf16(void **state)
{
    (void)state;
    dt_settings s = settings_of("narrow", 0.5);
    s.mixed_precision = DT_PRECISION_BF16;
    fixture_train_to_the_end(&s);
    assert_true(has_row(temp_path_in("narrow", "final/model.safetensors")));
    fixture_remove("narrow");
}

static void without_the_setting_nothing_is_other_than_before(void **state)
{
    (void)state;
    uint8_t drawn[VALUES];
    dt_settings s = settings_of("plain", 0);
    fixture_train_to_the_end(&s);
    assert_false(has_row(temp_path_in("plain", "final/model.safetensors")));
    draw(temp_path("plain"), "drawn", 0, drawn);
    const dt_settings aware = drawing_settings(temp_path("plain"), "never", 1);
    assert_int_equal(fixture_call(dt_sample, &aware, NULL), DT_ERR_ARG);
    assert_says(fixture_message, "was not trained with time_dropout");
    assert_false(file_exists(temp_path("never")));
    s = settings_of("plain", 0.5);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "time_dropout");
    fixture_remove("plain");
}

/* A model that has the row keeps it: as it is without the setting, going on from it with it. */
static void a_model_that_has_it_goes_on(void **state)
{
    (void)state;
    float first[WIDTH], kept[WIDTH], more[WIDTH];
    char model[DT_PATH_MAX];
    dt_settings s = settings_of("first", 0.5);
    fixture_train_to_the_end(&s);
    snprintf(model, sizeof model, "%s", temp_path_in("first", "final/model.safetensors"));
    read_row(model, MODEL_NULL_TIME, first);
    for (int again = 0; again < 2; again++) {
        s = settings_of("second", again ? 0.5 : 0);
        snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", model);
        fixture_train_to_the_end(&s);
        read_row(temp_path_in("second", "final/model.safetensors"), MODEL_NULL_TIME, again ? more : kept);
        fixture_remove("second");
    }
    assert_memory_equal(first, kept, sizeof first);
    assert_memory_not_equal(first, more, sizeof first);
    fixture_remove("first");
}

/* Rows before it start as they do without it. */
static void a_new_model_has_it_behind_the_others(void **state)
{
    (void)state;
    dt_settings s = settings_of("new", 0.5);
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    s.resolution = FIXTURE_SIZE;
    s.hidden_size = WIDTH;
    s.depth = 2;
    s.num_heads = 2;
    open_inside(s);
    const params *p = run.t.model.params;
    const int rows = p->count;
    assert_string_equal(p->row[rows - 1].name, MODEL_NULL_TIME);
    float *kept[128];
    for (int i = 0; i < rows - 1; i++) {
        kept[i] = malloc(tensor_bytes(p->row[i].tensor));
        memcpy(kept[i], p->row[i].tensor->data, tensor_bytes(p->row[i].tensor));
    }
    close_inside();
    s.time_dropout = 0;
    open_inside(s);
    p = run.t.model.params;
    assert_int_equal(p->count, rows - 1);
    for (int i = 0; i < rows - 1; i++) {
        assert_memory_equal(kept[i], p->row[i].tensor->data, tensor_bytes(p->row[i].tensor));
        free(kept[i]);
    }
    close_inside();
}

/* ---- files ---- */

static dt_settings convert_settings(const char *model, const char *output)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", model);
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    return s;
}

static void it_stays_in_a_model_as_far_as_there_is_a_place(void **state)
{
    (void)state;
    float row[WIDTH], other[WIDTH];
    dt_settings s = settings_of("run", 0.5);
    fixture_train_to_the_end(&s);
    read_row(temp_path_in("run", "final/model.safetensors"), MODEL_NULL_TIME, row);
    dt_settings k = convert_settings(temp_path("run"), "model.pt");
    k.save_model_as = DT_MODEL_PT;
    fixture_must(dt_convert, &k);
    k = convert_settings(temp_path("model.pt"), "back.safetensors");
    fixture_must(dt_convert, &k);
    read_row(temp_path("back.safetensors"), MODEL_NULL_TIME, other);
    assert_memory_equal(row, other, sizeof row);
    k = convert_settings(temp_path("run"), "mixed.safetensors"); /* the base has none to mix it with */
    snprintf(k.blend, sizeof k.blend, "%s:0.5", temp_path("base.safetensors"));
    fixture_must(dt_convert, &k);
    read_row(temp_path("mixed.safetensors"), MODEL_NULL_TIME, other);
    assert_memory_equal(row, other, sizeof row);
    k = convert_settings(temp_path("run"), "theirs");
    k.save_model_as = DT_MODEL_DIFFUSERS;
    assert_int_equal(fixture_call(dt_convert, &k, NULL), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, MODEL_NULL_TIME);
    assert_false(file_exists(temp_path("theirs")));
    fixture_remove("run");
}

/* The row is in an adapter's file, and in a model that the adapter is joined to or merged into. */
static void it_trains_beside_an_adapter(void **state)
{
    (void)state;
    float row[WIDTH], merged[WIDTH];
    uint8_t joined[VALUES], whole[VALUES], plain[VALUES];
    static const dt_adapter kinds[] = {DT_ADAPTER_LORA, DT_ADAPTER_BITFIT, DT_ADAPTER_VPT_DEEP};
    for (int i = 0; i < 3; i++) {
        char name[64];
        dt_settings s = settings_of("adapted", 0.5);
        s.adapter = kinds[i];
        s.vpt_tokens = 2;
        fixture_train_to_the_end(&s);
        const adapter_plan plan = adapter_plan_of(&s);
        snprintf(name, sizeof name, "%s" MODEL_NULL_TIME, adapter_prefix(&plan));
        read_row(temp_path_in("adapted", "final/" ADAPTER_WEIGHTS), name, row);
        draw(temp_path("adapted"), "drawn", 2, joined);
        draw(temp_path("adapted"), "drawn", 0, plain);
        assert_memory_not_equal(joined, plain, sizeof joined);
        if (kinds[i] != DT_ADAPTER_VPT_DEEP) {
            dt_settings k = convert_settings(temp_path("base.safetensors"), "merged.safetensors");
            snprintf(k.adapter_weights, sizeof k.adapter_weights, "%s", temp_path("adapted"));
            k.merge = true;
            fixture_must(dt_convert, &k);
            read_row(temp_path("merged.safetensors"), MODEL_NULL_TIME, merged);
            assert_memory_equal(row, merged, sizeof row);
            draw(temp_path("merged.safetensors"), "drawn", 2, whole);
            assert_memory_equal(joined, whole, sizeof joined);
        }
        fixture_remove("adapted");
    }
}

/* A LoRA in PEFT's layout keeps it, and in kohya's it is told that there is no place. */
static void it_stays_with_a_lora_as_far_as_there_is_a_place(void **state)
{
    (void)state;
    float row[WIDTH], other[WIDTH];
    dt_settings s = settings_of("adapted", 0.5);
    s.adapter = DT_ADAPTER_LORA;
    fixture_train_to_the_end(&s);
    read_row(temp_path_in("adapted", "final/" ADAPTER_WEIGHTS), "base_model.model." MODEL_NULL_TIME, row);
    dt_settings k = convert_settings(temp_path("base.safetensors"), "again");
    snprintf(k.adapter_weights, sizeof k.adapter_weights, "%s", temp_path("adapted"));
    fixture_must(dt_convert, &k);
    assert_null(strstr(fixture_log, "no place"));
    read_row(temp_path_in("again", ADAPTER_WEIGHTS), "base_model.model." MODEL_NULL_TIME, other);
    assert_memory_equal(row, other, sizeof row);
    snprintf(k.output, sizeof k.output, "%s", temp_path("kohya.safetensors"));
    k.save_adapter_as = DT_ADAPTER_KOHYA;
    fixture_must(dt_convert, &k);
    assert_says(fixture_log, "no place");
    fixture_remove("adapted");
    fixture_remove("again");
}

/* ---- who has no place for it ---- */

static void a_network_without_a_place_for_it_is_refused(void **state)
{
    (void)state;
    static const model_kind *const kinds[] = {&tiny_kind, NULL};
    dt_settings s = settings_of("", 0.5);
    trainer t;
    ctx c;
    s.method = DT_METHOD_PRETRAIN;
    s.pretrained_model[0] = s.bank[0] = '\0';
    snprintf(s.model, sizeof s.model, "tiny");
    s.resolution = FIXTURE_SIZE;
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(trainer_open(&t, &c, &s, &nobody, kinds), DT_ERR_UNSUPPORTED);
    assert_says(c.error.message, "tiny network has no place for a null time");
    trainer_close(&t);
    ctx_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_as_the_mean_over_all_times),
        cmocka_unit_test(who_is_not_told_the_time_does_not_know_it),
        cmocka_unit_test(a_share_of_the_target_samples_is_not_told),
        cmocka_unit_test(noise_is_told_what_its_sample_is),
        cmocka_unit_test(answers_are_mixed_by_the_formula),
        cmocka_unit_test(outside_the_interval_nobody_else_is_asked),
        cmocka_unit_test(a_run_is_resumed_and_draws_with_what_it_learned),
        cmocka_unit_test(it_trains_in_bf16),
        cmocka_unit_test(without_the_setting_nothing_is_other_than_before),
        cmocka_unit_test(a_model_that_has_it_goes_on),
        cmocka_unit_test(a_new_model_has_it_behind_the_others),
        cmocka_unit_test(it_stays_in_a_model_as_far_as_there_is_a_place),
        cmocka_unit_test(it_trains_beside_an_adapter),
        cmocka_unit_test(it_stays_with_a_lora_as_far_as_there_is_a_place),
        cmocka_unit_test(a_network_without_a_place_for_it_is_refused),
    };
    return cmocka_run_group_tests(tests, make, temp_folder_remove);
}
