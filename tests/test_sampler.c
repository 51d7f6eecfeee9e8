/* The sampler: an image does not know its neighbours, guidance mixes what it says it mixes, and the steps are those of
 * the schedule. */
#include "run_fixture.h"

#include "diffusion/sampler.h"

static ctx c;
static dit model;
static denoiser asked;

static int setup(void **state)
{
    (void)state;
    if (ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO) != DT_OK) return -1;
    dit_config config = fixture_config();
    if (dit_open(&c, &model, &config) != DT_OK) return -1;
    fixture_randomise(&c, &model, 7);
    asked = fixture_denoiser(&model);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_close(&c);
    return 0;
}

static dt_settings settings_of(dt_sampler kind, double eta, int64_t steps)
{
    dt_settings s;
    dt_settings_init(&s);
    s.sampler = kind;
    s.eta = eta;
    s.num_inference_steps = steps;
    s.seed = 21;
    return s;
}

static sampler open_sampler(const dt_settings *s)
{
    sampler p;
    if (sampler_open(&p, &asked, s, &c.error) != DT_OK) fail_msg("%s", c.error.message);
    return p;
}

enum { IMAGE = 3 * FIXTURE_SIZE * FIXTURE_SIZE };

static void draw(const sampler *p, float *x, const uint32_t index[], int64_t n)
{
    int32_t y[16];
    for (int64_t i = 0; i < n; i++) y[i] = (int32_t)(index[i] % FIXTURE_CLASSES);
    if (sampler_draw(&c, p, x, &(condition){.label = y}, index, n) != DT_OK) fail_msg("%s", c.error.message);
    assert_int_equal(c.step.used, 0);
}

/* Every sampler, DDIM also with noise; guided and not. */
static const struct {
    dt_sampler kind;
    double eta, scale;
} ways[] = {{DT_SAMPLER_DDIM, 0, 1.5},  {DT_SAMPLER_DDIM, 0.7, 1}, {DT_SAMPLER_DDIM, 1, 3},
            {DT_SAMPLER_DDPM, 0, 1},    {DT_SAMPLER_DDPM, 0, 1.5}, {DT_SAMPLER_DPM_2M, 0, 1.5},
            {DT_SAMPLER_UNIPC, 0, 1.5}, {DT_SAMPLER_HEUN, 0, 1.5}, {DT_SAMPLER_EULER, 0, 1}};
enum { WAY_COUNT = sizeof ways / sizeof ways[0] };

static void an_image_does_not_depend_on_its_batch(void **state)
{
    (void)state;
    static float all[9 * IMAGE], some[9 * IMAGE];
    static const uint32_t every[] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, mixed[] = {7, 2, 8, 2}, one[] = {5};
    for (int k = 0; k < WAY_COUNT; k++) {
        dt_settings s = settings_of(ways[k].kind, ways[k].eta, 5);
        s.guidance_scale = ways[k].scale;
        sampler p = open_sampler(&s);
        draw(&p, all, every, 9);
        for (int i = 0; i < 9 * IMAGE; i++) assert_true(isfinite(all[i]));
        assert_memory_not_equal(all, all + IMAGE, IMAGE * sizeof(float));
        draw(&p, some, mixed, 4);
        for (int i = 0; i < 4; i++)
            assert_memory_equal(some + i * IMAGE, all + mixed[i] * IMAGE, IMAGE * sizeof(float));
        draw(&p, some, one, 1);
        assert_memory_equal(some, all + 5 * IMAGE, IMAGE * sizeof(float));
    }
}

static void images_are_the_same_on_any_number_of_threads(void **state)
{
    (void)state;
    static float first[8 * IMAGE], again[8 * IMAGE];
    static const uint32_t every[] = {0, 1, 2, 3, 4, 5, 6, 7};
    dt_settings s = settings_of(DT_SAMPLER_DDPM, 0, 4);
    sampler p = open_sampler(&s);
    draw(&p, first, every, 8);
    for (c.threads = 2; c.threads <= 3; c.threads++) {
        ctx_enter(&c);
        draw(&p, again, every, 8);
        assert_memory_equal(first, again, sizeof first);
    }
}

static void another_seed_gives_other_images(void **state)
{
    (void)state;
    static float a[IMAGE], b[IMAGE];
    static const uint32_t one[] = {0};
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 3);
    sampler p = open_sampler(&s);
    draw(&p, a, one, 1);
    p.seed++;
    draw(&p, b, one, 1);
    assert_memory_not_equal(a, b, sizeof a);
    p.seed--;
    p.start = RNG_BANK_START;
    draw(&p, b, one, 1);
    assert_memory_not_equal(a, b, sizeof a);
}

static void sampling_keeps_its_memory(void **state)
{
    (void)state;
    static float x[4 * IMAGE];
    static const uint32_t index[] = {0, 1, 2, 3};
    dt_settings s = settings_of(DT_SAMPLER_DDPM, 0, 2);
    sampler p = open_sampler(&s);
    draw(&p, x, index, 4);
    size_t peak = c.step.peak;
    s.num_inference_steps = 20;
    p = open_sampler(&s);
    draw(&p, x, index, 4);
    assert_int_equal(c.step.peak, peak);
}

static void check_memory_that_runs_out(dt_sampler kind)
{
    static float x[4 * IMAGE];
    static const uint32_t index[] = {0, 1, 2, 3};
    static const int32_t y[] = {0, 1, 2, 0};
    dt_settings s = settings_of(kind, 0, 2);
    sampler p = open_sampler(&s);
    draw(&p, x, index, 4);
    size_t step = c.step.peak, scratch = c.scratch.peak, all = c.step.limit;
    for (int which = 0; which < 2; which++)
        for (size_t limit = 0, end = which ? scratch : step; limit < end; limit += end / 97 + 1) {
            arena *a = which ? &c.scratch : &c.step;
            a->limit = limit;
            assert_int_equal(sampler_draw(&c, &p, x, &(condition){.label = y}, index, 4), DT_ERR_MEMORY);
            a->limit = all;
            error_clear(&c.error);
            arena_clear(&c.step);
            arena_clear(&c.scratch);
        }
    draw(&p, x, index, 4);
}

static void memory_that_runs_out_while_sampling_is_a_status(void **state)
{
    (void)state;
    check_memory_that_runs_out(DT_SAMPLER_DDIM);
    check_memory_that_runs_out(DT_SAMPLER_HEUN);
}

/* ---- a model whose answers are known ---- */

typedef struct known {
    int64_t out_channels;
    int calls, asked_rows; /* of the last call */
    int32_t asked_t[64];
} known;

/* eps = 0.1 (label + 1) + 0.01 channel everywhere; a variance channel holds -0.5. */
static tensor *answer(ctx *k, const denoiser *d, tensor *x, const real t[], const condition *told)
{
    known *m = d->self;
    const int32_t *y = told->label;
    int64_t n = x->dim[0], channels = x->dim[1], pixels = x->dim[2] * x->dim[3];
    tensor *out = tensor_new(k, &k->step, 4, (int64_t[]){n, m->out_channels, x->dim[2], x->dim[3]});
    for (int64_t i = 0; i < n; i++)
        for (int64_t ch = 0; ch < m->out_channels; ch++)
            for (int64_t j = 0; j < pixels; j++)
                out->data[(i * m->out_channels + ch) * pixels + j] =
                    ch < channels ? 0.1f * (float)(y[i] + 1) + 0.01f * (float)ch : -0.5f;
    for (int64_t i = 1; i < n; i++) assert_true(t[i] == t[0]);
    if (m->calls < 64) m->asked_t[m->calls] = (int32_t)t[0];
    m->calls++;
    m->asked_rows = (int)n;
    return out;
}

static denoiser known_denoiser(known *m, int64_t channels)
{
    static const denoiser_ops ops = {.kind = "known", .forward = answer};
    return (denoiser){.ops = &ops, .self = m, .shape = {channels, 2, 2}, .class_count = 9};
}

static sampler known_sampler(const denoiser *d, const dt_settings *s)
{
    sampler p;
    assert_int_equal(sampler_open(&p, d, s, &c.error), DT_OK);
    return p;
}

/* All DDIM steps of a value, the noise prediction being the same at each. */
static double ddim_by_hand(const sampler *p, double x, double eps, int64_t steps)
{
    for (int64_t i = steps - 1; i >= 0; i--) {
        double abar = p->schedule.abar[i], prev = i > 0 ? p->schedule.abar_prev[i] : 1;
        x = sqrt(prev) * (x - sqrt(1 - abar) * eps) / sqrt(abar) + sqrt(1 - prev) * eps;
    }
    return x;
}

static void check_guidance(int64_t channels, dt_guidance_channels which, double scale, int64_t guided)
{
    enum { STEPS = 4 };
    known m = {.out_channels = channels};
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, STEPS);
    s.guidance_scale = scale;
    s.guidance_channels = which;
    const denoiser d = known_denoiser(&m, channels);
    sampler p = known_sampler(&d, &s);
    float start[2 * 8 * 4], x[2 * 8 * 4];
    const int32_t y[2] = {3, 5};
    const uint32_t index[2] = {0, 1};
    sampler_start(&p, start, index, 2);
    memcpy(x, start, sizeof x);
    assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = y}, index, 2), DT_OK);
    assert_int_equal(m.calls, STEPS);
    assert_int_equal(m.asked_rows, scale == 1 ? 2 : 4);
    for (int64_t i = 0; i < 2; i++)
        for (int64_t ch = 0; ch < channels; ch++) {
            double cond = 0.1 * (y[i] + 1) + 0.01 * (double)ch, uncond = 0.1 * 10 + 0.01 * (double)ch;
            double eps = ch < guided ? uncond + scale * (cond - uncond) : cond;
            for (int64_t j = 0; j < 4; j++) {
                int64_t at = (i * channels + ch) * 4 + j;
                double expected = ddim_by_hand(&p, (double)start[at], eps, STEPS);
                assert_true(fabs((double)x[at] - expected) < 1e-4 * fmax(1, fabs(expected)));
            }
        }
}

static void guidance_moves_from_the_unconditional_answer_beyond_the_conditional_one(void **state)
{
    (void)state;
    static const double scales[] = {0, 0.5, 1.5, 4};
    for (int i = 0; i < 4; i++) {
        check_guidance(3, DT_GUIDE_THREE, scales[i], 3);
        check_guidance(1, DT_GUIDE_THREE, scales[i], 1);
        check_guidance(4, DT_GUIDE_ALL, scales[i], 4);
    }
}

static void three_channel_guidance_leaves_the_fourth_conditional(void **state)
{
    (void)state;
    check_guidance(4, DT_GUIDE_THREE, 1.5, 3);
    check_guidance(6, DT_GUIDE_THREE, 2.5, 3);
}

/* Three of four where the network's authors have it so; else all, of wider latents too. */
static void the_network_says_which_channels_are_guided(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    const denoiser_ops plain = {0}, three = {.guides_three = true};
    for (int64_t channels = 1; channels <= 32; channels++) {
        const denoiser a = {.ops = &plain, .shape = {channels, 2, 2}}, b = {.ops = &three, .shape = {channels, 2, 2}};
        assert_int_equal(sampler_guidance_channels(&a, &s), DT_GUIDE_ALL);
        assert_int_equal(sampler_guidance_channels(&b, &s), channels <= 4 ? DT_GUIDE_THREE : DT_GUIDE_ALL);
    }
    check_guidance(4, DT_GUIDE_AUTO, 1.5, 4);
    check_guidance(6, DT_GUIDE_AUTO, 2.5, 6);
}

static void guidance_of_one_asks_once_and_only_the_condition(void **state)
{
    (void)state;
    check_guidance(4, DT_GUIDE_THREE, 1, 0);
    check_guidance(4, DT_GUIDE_ALL, 1, 0);
}

/* The steps that the network is asked at, from noise to image. */
static void the_network_is_asked_at_the_original_steps(void **state)
{
    (void)state;
    static const struct {
        dt_spacing spacing;
        int32_t last, first;
    } forms[] = {{DT_SPACING_DDIM, 980, 0}, {DT_SPACING_SECTIONS, 999, 0}, {DT_SPACING_LEADING, 981, 1}};
    for (int k = 0; k < 3; k++) {
        known m = {.out_channels = 2};
        dt_settings s = settings_of(DT_SAMPLER_DDPM, 0, 50);
        s.timestep_spacing = forms[k].spacing;
        s.guidance_scale = 1;
        const denoiser d = known_denoiser(&m, 1);
        sampler p = known_sampler(&d, &s);
        float x[4];
        assert_int_equal(sampler_draw(&c, &p, x, &(condition){.label = (int32_t[]){0}}, (uint32_t[]){0}, 1), DT_OK);
        assert_int_equal(m.calls, 50);
        assert_int_equal(m.asked_t[0], forms[k].last);
        assert_int_equal(m.asked_t[49], forms[k].first);
        for (int i = 1; i < 50; i++) assert_true(m.asked_t[i] < m.asked_t[i - 1]);
    }
}

/* With a known answer the ancestral chain is Gaussian; its last-but-one step has the variance of the table. */
static void ancestral_noise_has_the_variance_that_the_model_asks_for(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    known m = {.out_channels = 2};
    dt_settings s = settings_of(DT_SAMPLER_DDPM, 0, 2);
    s.guidance_scale = 1;
    const denoiser d = known_denoiser(&m, 1);
    sampler p = known_sampler(&d, &s);
    static float x[COUNT * 4];
    static int32_t y[COUNT];
    static uint32_t index[COUNT];
    for (int i = 0; i < COUNT; i++) index[i] = (uint32_t)i;
    for (int i = 0; i < COUNT * 4; i++) x[i] = 0.3f;
    assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = y}, index, COUNT), DT_OK);
    double mean = 0, variance = 0;
    for (int i = 0; i < COUNT * 4; i++) mean += (double)x[i] / (COUNT * 4);
    for (int i = 0; i < COUNT * 4; i++) variance += pow((double)x[i] - mean, 2) / (COUNT * 4);
    const schedule *k = &p.schedule;
    double share = 0.25; /* of v = -0.5 */
    double step1 = exp(share * log(k->beta[1]) + (1 - share) * k->posterior_log_variance[1]);
    double gain = k->posterior_mean_x0[0] / sqrt(k->abar[0]) + k->posterior_mean_xt[0];
    assert_true(fabs(variance / (step1 * gain * gain) - 1) < 5 * sqrt(2.0 / (COUNT * 4)));
}

/* All samples begin alike, so that what tells them apart after the only step is its noise. */
static void noise_is_drawn_wherever_ddim_asks_for_it(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static float x[COUNT * 4];
    static int32_t y[COUNT];
    static uint32_t index[COUNT];
    for (int i = 0; i < COUNT; i++) index[i] = (uint32_t)i;
    for (int spacing = DT_SPACING_SECTIONS; spacing <= DT_SPACING_LEADING; spacing++) {
        known m = {.out_channels = 1};
        dt_settings s = settings_of(DT_SAMPLER_DDIM, 1, 1);
        s.timestep_spacing = (dt_spacing)spacing;
        s.guidance_scale = 1;
        const denoiser d = known_denoiser(&m, 1);
        sampler p = known_sampler(&d, &s);
        double mean = 0, variance = 0;
        for (int i = 0; i < COUNT * 4; i++) x[i] = 0.3f;
        assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = y}, index, COUNT), DT_OK);
        for (int i = 0; i < COUNT * 4; i++) mean += (double)x[i] / (COUNT * 4);
        for (int i = 0; i < COUNT * 4; i++) variance += pow((double)x[i] - mean, 2) / (COUNT * 4);
        const double sigma = schedule_ddim_sigma(&p.schedule, 0, 1);
        if (spacing == DT_SPACING_LEADING)
            assert_true(fabs(variance / (sigma * sigma) - 1) < 5 * sqrt(2.0 / (COUNT * 4)));
        else
            assert_true(variance < 1e-10);
    }
}

/* ---- who answers at which t ---- */

static bool say_stop_after(void *user)
{
    int *left = user;
    return (*left)-- > 0;
}

/* A stop is asked for before every evaluation, also between the two of one step. */
static void a_stop_is_asked_before_each_evaluation(void **state)
{
    (void)state;
    for (int asked_before = 0; asked_before < 4; asked_before++) {
        known m = {.out_channels = 1};
        dt_settings s = settings_of(DT_SAMPLER_HEUN, 0, 6);
        const denoiser d = known_denoiser(&m, 1);
        sampler p = known_sampler(&d, &s);
        float x[4];
        int left = asked_before;
        c.go_on = say_stop_after;
        c.go_on_user = &left;
        c.ask_every = 0;
        assert_int_equal(sampler_draw(&c, &p, x, &(condition){.label = (int32_t[]){4}}, (uint32_t[]){0}, 1),
                         DT_ERR_INTERRUPTED);
        assert_int_equal(m.calls, asked_before);
        assert_int_equal(c.step.used, 0);
        error_clear(&c.error);
    }
}

/* Heun's second evaluation is at the next level, and guided by that level's t. */
static void guidance_looks_at_the_t_of_each_evaluation(void **state)
{
    (void)state;
    known m = {.out_channels = 1};
    dt_settings s = settings_of(DT_SAMPLER_HEUN, 0, 2);
    s.timestep_spacing = DT_SPACING_TRAILING;
    s.guidance_scale = 3;
    const denoiser d = known_denoiser(&m, 1);
    sampler p = known_sampler(&d, &s);
    p.guidance.t_last = 500;
    float x[4], first;
    sampler_start(&p, x, (uint32_t[]){0}, 1);
    first = x[0];
    assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = (int32_t[]){4}}, (uint32_t[]){0}, 1), DT_OK);
    assert_int_equal(m.calls, 3);
    assert_int_equal(m.asked_t[0], 999);
    assert_int_equal(m.asked_t[1], 499);
    assert_int_equal(m.asked_t[2], 499);
    const double free = 0.5, guided = 1 + 3 * (0.5 - 1), *abar = p.schedule.abar;
    const double far = sqrt((1 - abar[1]) / abar[1]), near = sqrt((1 - abar[0]) / abar[0]);
    double by_hand = (double)first / sqrt(abar[1]) + (near - far) * (free + guided) / 2; /* x / alpha */
    by_hand -= near * guided;
    assert_true(fabs((double)x[0] - by_hand) < 1e-4 * fmax(1, fabs(by_hand)));
}

static void guidance_acts_in_its_interval_only(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    known m = {.out_channels = 1};
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, STEPS);
    s.guidance_scale = 3;
    const denoiser d = known_denoiser(&m, 1);
    sampler p = known_sampler(&d, &s);
    p.guidance.t_first = 300;
    p.guidance.t_last = 700;
    float x[4], by_hand;
    sampler_start(&p, x, (uint32_t[]){0}, 1);
    by_hand = x[0];
    assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = (int32_t[]){4}}, (uint32_t[]){0}, 1), DT_OK);
    for (int64_t i = STEPS - 1; i >= 0; i--) {
        const int32_t t = p.schedule.original[i];
        const double eps = t >= 300 && t <= 700 ? 1 + 3 * (0.5 - 1) : 0.5;
        const double abar = p.schedule.abar[i], prev = i > 0 ? p.schedule.abar_prev[i] : 1;
        by_hand = (float)(sqrt(prev) * ((double)by_hand - sqrt(1 - abar) * eps) / sqrt(abar) + sqrt(1 - prev) * eps);
    }
    assert_true(fabs((double)(x[0] - by_hand)) < 1e-4 * fmax(1, fabs((double)by_hand)));
}

/* A network that guides itself as another one: two calls instead of one, the same bits. */
static void a_network_guided_by_its_like_draws_the_same_bits(void **state)
{
    (void)state;
    static float own[4 * IMAGE], other[4 * IMAGE];
    static const uint32_t index[] = {0, 1, 2, 3};
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 4);
    s.guidance_scale = 2;
    sampler p = open_sampler(&s);
    draw(&p, own, index, 4);
    const denoiser like = asked;
    p.guidance.other = denoiser_always(&like);
    draw(&p, other, index, 4);
    assert_memory_equal(own, other, sizeof own);
}

/* Karras' levels tell a network the same t several times at the clean end, where the choice must still know which step it is. */
static void the_denoiser_of_a_step_is_chosen_by_its_number(void **state)
{
    (void)state;
    known noisy = {.out_channels = 1}, clean = {.out_channels = 1};
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 300);
    s.timestep_spacing = DT_SPACING_KARRAS;
    s.guidance_scale = 1;
    const denoiser a = known_denoiser(&clean, 1), b = known_denoiser(&noisy, 1);
    sampler p = known_sampler(&b, &s);
    assert_true(p.schedule.original[0] == p.schedule.original[1]);
    p.model = (denoiser_choice){.count = 2, .entry = {{.denoiser = &a}, {.from = 1, .denoiser = &b}}};
    float x[4];
    assert_int_equal(sampler_draw(&c, &p, x, &(condition){.label = (int32_t[]){0}}, (uint32_t[]){0}, 1), DT_OK);
    assert_int_equal(noisy.calls, 299);
    assert_int_equal(clean.calls, 1);
}

/* A tail that is told nothing is asked once for each sample, for the null class, whatever the guidance; one that is told is guided by
 * its own other branch. */
static void a_tail_is_told_and_guided_as_it_is_said(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        known own = {.out_channels = 1}, others = {.out_channels = 1};
        dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 8);
        s.guidance_scale = 3;
        const denoiser a = known_denoiser(&own, 1), b = known_denoiser(&others, 1);
        sampler p = known_sampler(&a, &s);
        float start[4], x[4];
        assert_int_equal(sampler_end_by(&p, &b, 8, told, "tail", &c.error), DT_OK);
        sampler_start(&p, start, (uint32_t[]){0}, 1);
        memcpy(x, start, sizeof x);
        assert_int_equal(sampler_continue(&c, &p, x, &(condition){.label = (int32_t[]){3}}, (uint32_t[]){0}, 1), DT_OK);
        assert_int_equal(own.calls, 0);
        assert_int_equal(others.calls, 8);
        assert_int_equal(others.asked_rows, told ? 2 : 1);
        const double expected = ddim_by_hand(&p, (double)start[0], told ? 1 + 3 * (0.4 - 1) : 1, 8);
        assert_true(fabs((double)x[0] - expected) < 1e-4 * fmax(1, fabs(expected)));
    }
}

static void settings_that_no_schedule_has_are_refused(void **state)
{
    (void)state;
    sampler p;
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 999);
    s.timestep_spacing = DT_SPACING_DDIM;
    assert_int_equal(sampler_open(&p, &asked, &s, &c.error), DT_ERR_ARG);
    assert_says(c.error.message, "999");
    error_clear(&c.error);
    s = settings_of(DT_SAMPLER_UNIPC, 0, 1000);
    assert_int_equal(sampler_open(&p, &asked, &s, &c.error), DT_ERR_ARG);
    assert_says(c.error.message, "linspace spacing: expected 1 to 999 steps of this sampler, found 1000");
    error_clear(&c.error);
    s = settings_of(DT_SAMPLER_EULER, 0, 1);
    assert_int_equal(sampler_open(&p, &asked, &s, &c.error), DT_ERR_ARG);
    assert_says(c.error.message, "linspace spacing: expected 2 to 1000 steps of this sampler, found 1");
}

/* ---- who guides ---- */

/* Two images with guidance of 2, changed by the settings. */
static void draw_guided(float x[2 * IMAGE], const dt_settings *s, const denoiser *guide, bool told)
{
    sampler p = open_sampler(s);
    if (guide) assert_int_equal(sampler_guide_by(&p, guide, told, "guide", &c.error), DT_OK);
    draw(&p, x, (uint32_t[]){0, 1}, 2);
}

static void a_model_that_guides_itself_as_another_is_classifier_free_guidance(void **state)
{
    (void)state;
    float own[2 * IMAGE], twins[2 * IMAGE], told[2 * IMAGE], plain[2 * IMAGE], others[2 * IMAGE];
    dit other;
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 5);
    const denoiser twin = fixture_denoiser(&model);
    const dit_config config = fixture_config();
    s.guidance_scale = 2;
    draw_guided(own, &s, NULL, false);
    draw_guided(twins, &s, &twin, false);
    assert_memory_equal(own, twins, sizeof own);
    draw_guided(told, &s, &twin, true); /* tells the same, so that there is nothing to move away from */
    assert_int_equal(dit_open(&c, &other, &config), DT_OK);
    fixture_randomise(&c, &other, 8);
    const denoiser stranger = fixture_denoiser(&other);
    draw_guided(others, &s, &stranger, false);
    assert_memory_not_equal(own, others, sizeof own);
    s.guidance_scale = 1;
    draw_guided(plain, &s, NULL, false);
    assert_memory_equal(plain, told, sizeof plain);
    draw_guided(others, &s, &stranger, false); /* is not asked */
    assert_memory_equal(plain, others, sizeof plain);
}

static void the_interval_is_that_of_the_settings(void **state)
{
    (void)state;
    dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 5);
    snprintf(s.guidance_interval, sizeof s.guidance_interval, "250, 749");
    const sampler p = open_sampler(&s);
    assert_int_equal(p.guidance.t_first, 250);
    assert_int_equal(p.guidance.t_last, 749);
}

static void guides_and_intervals_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char *const intervals[] = {"5", "9,3", "-1,5", "0,1000", "1,2,3", "a,b", "1,2x"};
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        sampler p;
        dt_error err = {0};
        dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 5);
        snprintf(s.guidance_interval, sizeof s.guidance_interval, "%s", intervals[i]);
        assert_int_equal(sampler_open(&p, &asked, &s, &err), DT_ERR_ARG);
        assert_says(err.message, "guidance_interval");
    }
    const dt_settings s = settings_of(DT_SAMPLER_DDIM, 0, 5);
    sampler p = open_sampler(&s);
    denoiser other = asked;
    dt_error err = {0};
    other.shape.channels = 4;
    assert_int_equal(sampler_guide_by(&p, &other, false, "guide.safetensors", &err), DT_ERR_SHAPE);
    assert_says(err.message, "guide.safetensors");
    err = (dt_error){0};
    other = asked;
    other.process.predicts = PREDICTS_VELOCITY;
    assert_int_equal(sampler_guide_by(&p, &other, false, "guide", &err), DT_ERR_SHAPE);
    err = (dt_error){0};
    other = asked;
    other.class_count++;
    assert_int_equal(sampler_guide_by(&p, &other, true, "guide", &err), DT_ERR_SHAPE);
    assert_says(err.message, "classes");
    err = (dt_error){0};
    assert_int_equal(sampler_guide_by(&p, &other, false, "guide", &err), DT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_image_does_not_depend_on_its_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(images_are_the_same_on_any_number_of_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(another_seed_gives_other_images, setup, teardown),
        cmocka_unit_test_setup_teardown(sampling_keeps_its_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_that_runs_out_while_sampling_is_a_status, setup, teardown),
        cmocka_unit_test_setup_teardown(guidance_moves_from_the_unconditional_answer_beyond_the_conditional_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(three_channel_guidance_leaves_the_fourth_conditional, setup, teardown),
        cmocka_unit_test_setup_teardown(the_network_says_which_channels_are_guided, setup, teardown),
        cmocka_unit_test_setup_teardown(guidance_of_one_asks_once_and_only_the_condition, setup, teardown),
        cmocka_unit_test_setup_teardown(the_network_is_asked_at_the_original_steps, setup, teardown),
        cmocka_unit_test_setup_teardown(ancestral_noise_has_the_variance_that_the_model_asks_for, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_is_drawn_wherever_ddim_asks_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_is_asked_before_each_evaluation, setup, teardown),
        cmocka_unit_test_setup_teardown(guidance_looks_at_the_t_of_each_evaluation, setup, teardown),
        cmocka_unit_test_setup_teardown(guidance_acts_in_its_interval_only, setup, teardown),
        cmocka_unit_test_setup_teardown(a_network_guided_by_its_like_draws_the_same_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(the_denoiser_of_a_step_is_chosen_by_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tail_is_told_and_guided_as_it_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_that_no_schedule_has_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_model_that_guides_itself_as_another_is_classifier_free_guidance, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_interval_is_that_of_the_settings, setup, teardown),
        cmocka_unit_test_setup_teardown(guides_and_intervals_that_cannot_be_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
