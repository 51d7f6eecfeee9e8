#include "model/ideal/ideal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "diffusion/flow.h"

enum { BLOCK_VALUES = 1 << 21, BLOCK_MIN = 64, BLOCK_MAX = 4096 };

/* Weights below exp(-FAR) of the largest are nothing: of 10 million such the sum would be 1e-6. */
#define FAR 30.0
/* Rounding of a product of two rows, as a share of their lengths' product; larger than any that was measured. */
#define PRODUCT_ERROR (4 * (double)FLT_EPSILON)
/* How far off a logarithm of a weight may be before its distance is taken again in double. */
#define LOG_ERROR 2e-3
/* sigma of a flow's last moment, where it is 0. */
#define SIGMA_MIN 1e-5

typedef struct ideal {
    ideal_source from;
    schedule schedule; /* whole; of a flow not used */
    real *mean;        /* [D] */
    double *square;    /* [count] |x_i - mean|^2 */
    double farthest;   /* the largest |x_i - mean| */
    int64_t values, block;
    params none;
} ideal;

/* ---- the set ---- */

/* Pictures first.. relative to the mean. */
static void get_block(const ideal *m, real *x, int64_t first, int64_t n)
{
    const int64_t d = m->values;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        real *row = x + i * d;
        m->from.get(m->from.user, row, first + i, 1);
        for (int64_t j = 0; j < d; j++) row[j] -= m->mean[j];
    }
}

static int64_t block_at(const ideal *m, int64_t first)
{
    return m->from.count - first < m->block ? m->from.count - first : m->block;
}

static dt_status find_mean(ctx *c, ideal *m, real *x)
{
    const int64_t d = m->values;
    double *sum = arena_alloc_zeroed(&c->scratch, (size_t)d * sizeof *sum, &c->error);
    for (int64_t first = 0; first < m->from.count && ctx_go_on(c); first += m->block) {
        const int64_t n = block_at(m, first);
        get_block(m, x, first, n); /* the mean is still 0 */
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < d; j++)
            for (int64_t i = 0; i < n; i++) sum[j] += (double)x[i * d + j];
    }
    for (int64_t j = 0; !ctx_failed(c) && j < d; j++) m->mean[j] = (real)(sum[j] / (double)m->from.count);
    return c->error.status;
}

static double square_of(const real *x, int64_t d)
{
    double sum = 0;
    for (int64_t j = 0; j < d; j++) sum += (double)x[j] * (double)x[j];
    return sum;
}

static dt_status find_squares(ctx *c, ideal *m, real *x)
{
    for (int64_t first = 0; first < m->from.count && ctx_go_on(c); first += m->block) {
        const int64_t n = block_at(m, first);
        get_block(m, x, first, n);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n; i++) m->square[first + i] = square_of(x + i * m->values, m->values);
    }
    for (int64_t i = 0; !ctx_failed(c) && i < m->from.count; i++) m->farthest = fmax(m->farthest, sqrt(m->square[i]));
    return c->error.status;
}

/* ---- one pass ---- */

/* A row that is asked about, and what is known of its posterior so far. */
typedef struct question {
    const real *x; /* relative to alpha times the mean */
    double square; /* |x|^2 */
    noise_level at;
    int32_t label;   /* -1: all */
    bool close;      /* at this sigma the products' rounding would be seen */
    double max, sum; /* of l; of exp(l - max) */
    int64_t nearest;
} question;

static noise_level level_at(const denoiser *d, real t)
{
    const ideal *m = d->self;
    if (!process_is_flow(&d->process)) return schedule_level(&m->schedule, (int64_t)t);
    return (noise_level){.alpha = (double)t, .sigma = fmax(1 - (double)t, SIGMA_MIN)};
}

static double distance_in_double(const question *q, const real *picture, int64_t d)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < d; j++) {
        const double off = (double)q->x[j] - q->at.alpha * (double)picture[j];
        sum += off * off;
    }
    return sum;
}

/* l of a block's pictures in `l`, of which product[n] are the products with x; the largest of them. */
static double logs_of_block(const ideal *m, const question *q, double *l, const real *product, const real *pictures,
                            int64_t first, int64_t n)
{
    const double a = q->at.alpha, scale = -0.5 / (q->at.sigma * q->at.sigma);
    const double error = -scale * 2 * a * PRODUCT_ERROR * sqrt(q->square) * m->farthest;
    double max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        const bool counts = q->label < 0 || m->from.label[first + i] == q->label;
        l[i] = counts ? scale * (q->square - 2 * a * (double)product[i] + a * a * m->square[first + i]) : -INFINITY;
        if (l[i] > max) max = l[i];
    }
    if (!q->close) return max;
    const double worth = fmax(max, q->max) - FAR - 2 * error;
    max = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (l[i] > worth) l[i] = scale * distance_in_double(q, pictures + i * m->values, m->values);
        if (l[i] > max) max = l[i];
    }
    return max;
}

/* Takes a block into the question: weights in place of the products, sums scaled anew. Whether any weight is there. */
static bool weigh_block(const ideal *m, question *q, real *sums, double *l, real *product, const real *pictures,
                        int64_t first, int64_t n)
{
    const double max = logs_of_block(m, q, l, product, pictures, first, n);
    bool any = false;
    if (max > q->max) {
        const double keep = exp(q->max - max);
        const real factor = (real)keep;
        for (int64_t j = 0; j < m->values; j++) sums[j] *= factor;
        q->sum *= (double)factor;
        q->max = max;
        int64_t at = 0;
        while (l[at] != max) at++;
        q->nearest = first + at;
    }
    for (int64_t i = 0; i < n; i++) {
        const double off = l[i] - q->max;
        product[i] = off > -FAR ? (real)expf((float)off) : 0;
        q->sum += (double)product[i];
        any = any || product[i] > 0;
    }
    return any;
}

/* Where the work of a pass lies, in scratch. */
typedef struct room {
    real *pictures, *product; /* [block,D], [n,block] */
    double *l;                /* [n,block] */
    question *question;       /* [n] */
    real *x;                  /* [n,D] */
} room;

static room room_alloc(ctx *c, const ideal *m, int64_t n)
{
    const size_t rows = (size_t)n, block = (size_t)m->block, values = (size_t)m->values;
    room r;
    r.pictures = arena_alloc(&c->scratch, block * values * sizeof *r.pictures, &c->error);
    r.product = arena_alloc(&c->scratch, rows * block * sizeof *r.product, &c->error);
    r.l = arena_alloc(&c->scratch, rows * block * sizeof *r.l, &c->error);
    r.question = arena_alloc(&c->scratch, rows * sizeof *r.question, &c->error);
    r.x = arena_alloc(&c->scratch, rows * values * sizeof *r.x, &c->error);
    return r;
}

int64_t ideal_pass_bytes(const denoiser *d, int64_t n)
{
    const ideal *m = d->self;
    const int64_t block = m->block * (m->values + n) * (int64_t)sizeof(real) + m->block * n * (int64_t)sizeof(double);
    return block + n * ((int64_t)sizeof(question) + m->values * (int64_t)sizeof(real));
}

static void begin(const denoiser *d, const room *r, real *sums, const real *x, const real t[], const int32_t *label,
                  int64_t n)
{
    const ideal *m = d->self;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        question *q = &r->question[i];
        real *own = r->x + i * m->values;
        const bool all = !label || !m->from.label || label[i] >= m->from.class_count;
        *q = (question){.x = own, .at = level_at(d, t[i]), .label = all ? -1 : label[i], .max = -INFINITY};
        for (int64_t j = 0; j < m->values; j++)
            own[j] = (real)((double)x[i * m->values + j] - q->at.alpha * (double)m->mean[j]);
        memset(sums + i * m->values, 0, (size_t)m->values * sizeof *sums);
        q->square = square_of(own, m->values);
        const double error = q->at.alpha / (q->at.sigma * q->at.sigma) * PRODUCT_ERROR * sqrt(q->square) * m->farthest;
        q->close = error > LOG_ERROR;
    }
}

static void take_block(ctx *c, const ideal *m, const room *r, real *sums, int64_t first, int64_t n)
{
    const int64_t d = m->values, block = block_at(m, first);
    bool any = false;
    get_block(m, r->pictures, first, block);
    c->host.gemm(r->product, r->x, r->pictures, NULL, n, block, d, d, d, block, GEMM_TRANS_B);
#pragma omp parallel for schedule(dynamic) reduction(|| : any)
    for (int64_t i = 0; i < n; i++)
        any = weigh_block(m, &r->question[i], sums + i * d, r->l + i * block, r->product + i * block, r->pictures,
                          first, block) ||
              any;
    if (any) c->host.gemm(sums, r->product, r->pictures, NULL, n, d, block, block, d, d, GEMM_ACCUMULATE);
}

dt_status ideal_posterior(ctx *c, const denoiser *d, real *x0, int64_t *nearest, const real *x, const real t[],
                          const int32_t *label, int64_t n)
{
    const ideal *m = d->self;
    const arena_place mark = arena_mark(&c->scratch);
    const room r = room_alloc(c, m, n);
    if (!ctx_failed(c)) begin(d, &r, x0, x, t, label, n);
    for (int64_t first = 0; first < m->from.count && ctx_go_on(c); first += m->block)
        take_block(c, m, &r, x0, first, n);
    for (int64_t i = 0; i < n && !ctx_failed(c); i++) {
        const double sum = r.question[i].sum;
        if (nearest) nearest[i] = r.question[i].nearest;
        for (int64_t j = 0; j < m->values; j++)
            x0[i * m->values + j] = (real)((double)m->mean[j] + (double)x0[i * m->values + j] / sum);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* ---- as a denoiser ---- */

/* What it says of a row, in the place of the x0 that it means. */
static void answer(const denoiser *d, real *x0, const real *x, real t, int64_t count)
{
    const noise_level at = level_at(d, t);
    const bool flow = process_is_flow(&d->process), velocity = d->process.predicts == PREDICTS_VELOCITY;
    for (int64_t j = 0; j < count; j++) {
        const double noise = ((double)x[j] - at.alpha * (double)x0[j]) / at.sigma;
        const double v = flow ? (double)x0[j] - noise : at.alpha * noise - at.sigma * (double)x0[j];
        x0[j] = (real)(velocity ? v : noise);
    }
}

static tensor *ideal_forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    const int64_t n = x ? x->dim[0] : 0, count = sample_values(d->shape);
    tensor *out = tensor_new(c, &c->step, 4, (int64_t[]){n, d->shape.channels, d->shape.height, d->shape.width});
    real *prepared = out ? numbers_prepare(c, &c->step, out->data, n * count) : NULL;
    const real *values = numbers_read(c, &c->step, x->data, n * count);
    if (ctx_failed(c) || ideal_posterior(c, d, prepared, NULL, values, t, k->label, n) != DT_OK) return NULL;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) answer(d, prepared + i * count, values + i * count, t[i], count);
    numbers_send(c, out->data, prepared, n * count);
    return out;
}

static dt_status ideal_write(ctx *c, const denoiser *d, const denoiser_file *f)
{
    (void)d;
    return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s: an ideal denoiser is made of pictures and has no weights",
                     f->path);
}

const real *ideal_mean(const denoiser *d)
{
    return ((const ideal *)d->self)->mean;
}

dt_status ideal_open(ctx *c, denoiser *d, const ideal_source *from, process p)
{
    static const denoiser_ops ops = {.kind = "ideal denoiser", .forward = ideal_forward, .write = ideal_write};
    ideal *m = arena_alloc_zeroed(&c->model, sizeof *m, &c->error);
    if (!m) return c->error.status;
    m->from = *from;
    m->values = sample_values(from->shape);
    m->block = BLOCK_VALUES / m->values;
    m->block = m->block < BLOCK_MIN ? BLOCK_MIN : m->block > BLOCK_MAX ? BLOCK_MAX : m->block;
    if (m->block > from->count) m->block = from->count;
    if (!process_is_flow(&p)) schedule_full(&m->schedule, p.noise);
    p.learned_variance = false;
    m->mean = arena_alloc_zeroed(&c->model, (size_t)m->values * sizeof *m->mean, &c->error);
    m->square = arena_alloc(&c->model, (size_t)from->count * sizeof *m->square, &c->error);
    *d = (denoiser){.ops = &ops,
                    .self = m,
                    .params = &m->none,
                    .shape = from->shape,
                    .process = p,
                    .class_count = from->class_count};
    const arena_place mark = arena_mark(&c->scratch);
    real *x = arena_alloc(&c->scratch, (size_t)(m->block * m->values) * sizeof *x, &c->error);
    if (!ctx_failed(c) && find_mean(c, m, x) == DT_OK) find_squares(c, m, x);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
