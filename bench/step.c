/* Times a training step or a sampling step of a network with random weights, on data made in memory, through the same pieces a
 * real run uses (model, loss, backward, optimiser with its average; sampler with guidance).
 *
 *     bench_step [--task train|sample] [--shape demo|DiT-S/2|..|SD-1.5|ControlNet-1.5] [--classes N]
 *                [--warmup N] [--rounds N] [--steps N] [--wait] [--SETTING VALUE ..]
 *
 * SETTING is any setting of the program: train-batch-size, gradient-accumulation-steps, mixed-precision, threads, isa,
 * gradient-checkpointing, fused-backward-pass, adapter, sample-batch-size .. guidance-model takes any word and stands for another
 * network of the shape. Shapes: network.h.
 *
 * Prints one JSON object per line: {"ready": ..} after warming up, each round, and a summary. With --wait each round waits
 * for a line on standard input, and the end of input ends the run: so two programs can take turns. A sampling step is one
 * step of the schedule that num-inference-steps names, which costs one guided evaluation; a round takes the schedule's last
 * `steps` steps. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "network.h"
#include "register_loop.h"
#include "engine/open.h"
#include "diffusion/sampler.h"
#include "train/batch.h"
#include "base/clock.h"
#include "train/optimizer.h"
#include "settings/settings.h"

enum { ROUNDS_MAX = 1024, PEAK_LAPS = 200 };

typedef struct options {
    bool sample, wait;
    const char *shape;
    int64_t classes, warmup, rounds, steps;
    dt_settings settings;
} options;

typedef struct rig {
    ctx c;
    const options *o;
    network model;
    network guide;       /* of sampling with guidance-model */
    adapter adapter;     /* of training: of the settings' kind */
    trainset set;        /* of training */
    optimizer optimizer; /* of training */
    schedule schedule;
    sampler sampler; /* of sampling */
    real *x;         /* [sample_batch_size,C,H,W] */
    int32_t *y;
    tensor *context; /* in place of labels; NULL: none */
    tensor *control; /* NULL: none */
    uint32_t *index;
    int64_t step;
} rig;

typedef struct round_time {
    double seconds_per_step, others_cores;
    double processor_seconds_per_step; /* of a thread */
} round_time;

static double useful_flops(const rig *r)
{
    const dt_settings *s = &r->o->settings;
    if (r->o->sample)
        return 2 * r->model.evaluation * (double)(s->sample_batch_size * (s->guidance_scale != 1 ? 2 : 1));
    return 2 * r->model.training * (double)(s->train_batch_size * s->gradient_accumulation_steps);
}

/* ---- opening ---- */

static bool open_guide(rig *r)
{
    const options *o = r->o;
    return network_open(&r->c, &r->guide, o->shape, o->classes, &o->settings) == DT_OK &&
           sampler_guide_by(&r->sampler, &r->guide.denoiser, false, "another", &r->c.error) == DT_OK;
}

static real *model_numbers(ctx *c, int64_t count)
{
    return arena_alloc(&c->model, (size_t)count * sizeof(real), &c->error);
}

/* Normal, of the engine; NULL where there are none. */
static tensor *told(ctx *c, int dim_count, const int64_t dim[])
{
    for (int i = 0; i < dim_count; i++)
        if (dim[i] == 0) return NULL;
    tensor *t = tensor_new(c, &c->model, dim_count, dim);
    const int64_t count = t ? tensor_count(t) : 0;
    real *values = t ? numbers_prepare(c, &c->model, t->data, count) : NULL;
    if (!values) return NULL;
    rng_normal(values, count, (rng_key){2, RNG_NOISE, 0, 0});
    numbers_send(c, t->data, values, count);
    return t;
}

static void open_sampler(rig *r)
{
    const dt_settings *s = &r->o->settings;
    ctx *c = &r->c;
    const denoiser *d = &r->model.denoiser;
    if (sampler_open(&r->sampler, d, s, &c->error) != DT_OK) return;
    if (s->guidance_model[0] && !open_guide(r)) return;
    if (r->o->steps < r->sampler.schedule.count) r->sampler.schedule.count = r->o->steps;
    size_t n = (size_t)s->sample_batch_size;
    r->x = model_numbers(c, (int64_t)n * sample_values(r->sampler.shape));
    r->context = told(c, 3, (int64_t[]){(int64_t)n, d->context_tokens, d->context_width});
    r->control = told(c, 4, (int64_t[]){(int64_t)n, d->control.channels, d->control.height, d->control.width});
    r->y = arena_alloc(&c->model, n * sizeof r->y[0], &c->error);
    r->index = arena_alloc(&c->model, n * sizeof r->index[0], &c->error);
    for (size_t i = 0; i < n && !ctx_failed(c); i++) {
        r->y[i] = d->class_count ? (int32_t)((int64_t)i % d->class_count) : 0;
        r->index[i] = (uint32_t)i;
    }
    if (!ctx_failed(c)) sampler_start(&r->sampler, r->x, r->index, (int64_t)n);
}

static void open_training(rig *r)
{
    const dt_settings *s = &r->o->settings;
    const adapter_plan plan = adapter_plan_of(s);
    if (adapter_open(&r->c, &r->adapter, &r->model.denoiser, &plan, 1) == DT_OK &&
        trainset_add_tuned(&r->c, &r->set, &r->model.denoiser, &r->adapter, false) == DT_OK)
        optimizer_open(&r->c, &r->optimizer, &r->set, s);
}

static void open_rig(rig *r, const options *o)
{
    const dt_settings *s = &o->settings;
    ctx *c = &r->c;
    *r = (rig){.o = o};
    if (ctx_open(c, s->device, (int)s->threads, s->isa) != DT_OK) return;
    c->gemm_flags = s->mixed_precision == DT_PRECISION_BF16 ? GEMM_BF16 : 0;
    c->checkpointing = s->gradient_checkpointing;
    if (network_open(c, &r->model, o->shape, o->classes, s) != DT_OK) return;
    schedule_full(&r->schedule, r->model.denoiser.process.noise);
    if (o->sample)
        open_sampler(r);
    else
        open_training(r);
}

/* ---- a step ---- */

/* Pictures, noise, contexts and controls are normal, t and labels uniform, one label in ten the null class. */
static void fill_batch(rig *r, batch *b, uint32_t micro)
{
    int64_t n = b->count, size = tensor_count(b->x0) / n, parts = r->o->settings.gradient_accumulation_steps;
    const denoiser *d = &r->model.denoiser;
    const uint64_t classes = (uint64_t)d->class_count;
    const int64_t context = d->context_tokens * d->context_width, control = sample_values(d->control);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        rng_key key = {2, RNG_NOISE, (uint32_t)r->step, micro * (uint32_t)n + (uint32_t)i};
        rng_normal(b->noise_values + i * size, size, key);
        key.purpose = RNG_SAMPLE_START;
        rng_normal(b->x0_values + i * size, size, key);
        key.purpose = RNG_TIMESTEP;
        b->t[i] = (int32_t)rng_below(key, 0, SCHEDULE_STEPS);
        if (classes) b->label[i] = (int32_t)(rng_below(key, 1, 10) ? rng_below(key, 2, classes) : classes);
        rng_normal(b->context_values + i * context, context, key);
        rng_normal(b->control_values + i * control, control, key);
        b->weight[i] = 1 / (real)(n * parts);
    }
    batch_diffuse(&r->c, b, d, &r->schedule);
}

static void micro_step(rig *r, uint32_t micro)
{
    ctx *c = &r->c;
    const arena_place mark = arena_mark(&c->step);
    batch b;
    if (!batch_new(c, &b, &r->model.denoiser, r->o->settings.train_batch_size)) return;
    fill_batch(r, &b, micro);
    c->recording = true;
    tensor *loss = batch_loss(c, &r->model.denoiser, &b);
    c->recording = false;
    batch_backward(c, loss);
    tape_clear(c);
    arena_release(&c->step, mark);
}

static void train_step(rig *r)
{
    const dt_settings *s = &r->o->settings;
    optimizer_begin(&r->c, &r->optimizer, s->learning_rate);
    for (int64_t i = 0; i < s->gradient_accumulation_steps && !ctx_failed(&r->c); i++) micro_step(r, (uint32_t)i);
    double norm = optimizer_grad_norm(&r->c, &r->optimizer);
    optimizer_end(&r->c, &r->optimizer, s->learning_rate, norm, !ctx_failed(&r->c));
    r->step++;
}

/* Returns the steps that were done. */
static int64_t run_round(rig *r)
{
    const options *o = r->o;
    if (o->sample) {
        const condition k = {.label = r->context ? NULL : r->y, .context = r->context, .control = r->control};
        sampler_continue(&r->c, &r->sampler, r->x, &k, r->index, o->settings.sample_batch_size);
        return r->sampler.schedule.count;
    }
    for (int64_t i = 0; i < o->steps; i++) train_step(r);
    return o->steps;
}

/* ---- measuring ---- */

/* Seconds of processor time that the machine has spent on anything but this process, time stolen by its host included. */
static double others_seconds(void)
{
    unsigned long long user, nice, system, idle, wait, irq, soft, stolen;
    FILE *f = fopen("/proc/stat", "r");
    int fields = f ? fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq,
                            &soft, &stolen)
                   : 0;
    if (f) fclose(f);
    if (fields != 8) return 0;
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (double)(user + nice + system + irq + soft + stolen) / (double)sysconf(_SC_CLK_TCK) -
           (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) -
           1e-6 * (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec);
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static round_time timed_round(rig *r)
{
    double others = others_seconds(), start = clock_s(), processor = processor_seconds();
    int64_t steps = run_round(r);
    r->c.engine.memory.finish(&r->c.error);
    double seconds = clock_s() - start;
    processor = (processor_seconds() - processor) / r->c.threads;
    return (round_time){seconds / (double)steps, fmax(0, others_seconds() - others) / seconds,
                        processor / (double)steps};
}

/* Highest resident size of this process; unlike getrusage's it is not inherited from the one that started it. On a GPU
 * what is in use there, of which this process never gives anything back. */
static int64_t peak_memory(const engine *e)
{
    size_t total, available;
    if (e->memory.backing) {
        e->memory.sizes(&total, &available);
        return (int64_t)(total - available);
    }
    char line[256];
    long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "VmHWM: %lld", &kib) != 1) {
    }
    if (f) fclose(f);
    return kib * 1024;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const round_time *)a)->seconds_per_step, y = ((const round_time *)b)->seconds_per_step;
    return (x > y) - (x < y);
}

static double median_seconds(round_time *list, int64_t count)
{
    qsort(list, (size_t)count, sizeof *list, by_time);
    return (list[(count - 1) / 2].seconds_per_step + list[count / 2].seconds_per_step) / 2;
}

static void tell(json_t *line)
{
    char *text = json_dumps(line, JSON_REAL_PRECISION(6));
    puts(text ? text : "{}");
    fflush(stdout);
    free(text);
    json_decref(line);
}

static json_t *summary(const rig *r, round_time *list, int64_t count, const double peak[2])
{
    const dt_settings *s = &r->o->settings;
    double seconds = median_seconds(list, count), flops = useful_flops(r), rate = flops / seconds / 1e9;
    int64_t samples = r->o->sample ? s->sample_batch_size : s->train_batch_size * s->gradient_accumulation_steps;
    json_t *text = json_pack("{s:s, s:s, s:s, s:I}", "side", "difftune", "version", DT_VERSION, "engine",
                             r->c.engine.name, "parameters", (json_int_t)params_count(r->model.denoiser.params, true));
    json_t *figures =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "seconds_per_step", seconds, "samples_per_second",
                  (double)samples / seconds, "flops_per_step", flops, "gflops", rate, "peak_gflops_before", peak[0],
                  "peak_gflops_after", peak[1], "share_of_peak", rate / fmax(peak[0], peak[1]));
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "trained", (json_int_t)trainset_values(&r->set),
                  "peak_memory_bytes", (json_int_t)peak_memory(&r->c.engine), "model_arena_bytes",
                  (json_int_t)r->c.model.peak, "step_arena_bytes", (json_int_t)r->c.step.peak, "pass_arena_bytes",
                  (json_int_t)r->c.pass.peak, "scratch_arena_bytes", (json_int_t)r->c.scratch.peak);
    json_object_update_new(text, figures);
    json_object_update_new(text, memory);
    return text;
}

static bool next_round(const options *o, int64_t done)
{
    char line[64];
    return done < ROUNDS_MAX && (o->wait ? fgets(line, sizeof line, stdin) != NULL : done < o->rounds);
}

static void measure(rig *r)
{
    const options *o = r->o;
    bool bf16 = o->settings.mixed_precision == DT_PRECISION_BF16;
    round_time list[ROUNDS_MAX];
    int64_t count = 0;
    double peak[2] = {register_peak_gflops(r->c.threads, bf16, PEAK_LAPS)};
    for (int64_t i = 0; i < o->warmup && !ctx_failed(&r->c); i++) run_round(r);
    if (ctx_failed(&r->c)) return;
    tell(json_pack("{s:b}", "ready", true));
    for (; next_round(o, count) && !ctx_failed(&r->c); count++) {
        list[count] = timed_round(r);
        tell(json_pack("{s:f, s:f, s:f}", "seconds_per_step", list[count].seconds_per_step, "others_cores",
                       list[count].others_cores, "processor_seconds_per_step", list[count].processor_seconds_per_step));
    }
    peak[1] = register_peak_gflops(r->c.threads, bf16, PEAK_LAPS);
    if (!ctx_failed(&r->c) && count > 0) tell(summary(r, list, count, peak));
}

/* ---- command line ---- */

static void fail_usage(const char *message)
{
    fprintf(stderr, "bench_step: %s\n", message);
    exit(2);
}

static void read_option(options *o, const char *name, const char *value)
{
    dt_error err = {0};
    if (!strcmp(name, "task"))
        o->sample = !strcmp(value, "sample");
    else if (!strcmp(name, "shape"))
        o->shape = value;
    else if (!strcmp(name, "classes"))
        o->classes = atoll(value);
    else if (!strcmp(name, "warmup"))
        o->warmup = atoll(value);
    else if (!strcmp(name, "rounds"))
        o->rounds = atoll(value);
    else if (!strcmp(name, "steps"))
        o->steps = atoll(value);
    else if (settings_set(&o->settings, name, value, &err) != DT_OK)
        fail_usage(err.message);
}

static void read_options(options *o, int argc, char **argv)
{
    *o = (options){.shape = "demo", .warmup = 1, .rounds = 3, .steps = 3};
    dt_settings_init(&o->settings);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--wait"))
            o->wait = true;
        else if (strncmp(argv[i], "--", 2) || i + 1 == argc)
            fail_usage("--NAME VALUE pairs and --wait expected; see the head of bench/step.c");
        else
            read_option(o, argv[i] + 2, argv[i + 1]), i++;
    }
    if (o->steps < 1) fail_usage("at least one step is needed in a round");
}

int main(int argc, char **argv)
{
    options o;
    rig r;
    read_options(&o, argc, argv);
    open_rig(&r, &o);
    if (!ctx_failed(&r.c)) measure(&r);
    bool failed = ctx_failed(&r.c);
    if (failed) fprintf(stderr, "bench_step: %s\n", r.c.error.message);
    ctx_close(&r.c);
    return failed;
}
