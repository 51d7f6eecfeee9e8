#include "model/feature/inception.h"

#include <stdio.h>
#include <string.h>

#include "container/tensor_open.h"
#include "image/resample.h"
#include "op/conv.h"
#include "op/op.h"

/* ---- the architecture, as a table ---- */

/* What a step works on: the stage's input, the step before, what the step before worked on, or the input pooled over 3 x 3. */
typedef enum source { INPUT, BEFORE, BESIDE, AVERAGE_POOLED, MAX_POOLED, MAX_POOLED_BY_2 } source;

typedef enum border { PADDED, UNPADDED, UNPADDED_BY_2 } border; /* zeros so that the size stays; none; none, stride 2 */

/* A convolution with its ReLU. `kept`: the result is a part of what the stage puts out. */
typedef struct step {
    const char *name; /* inside the stage; NULL: the stage's own */
    source from;
    int16_t outputs; /* 0: the stage's `width`; NOTHING: no convolution, the source itself */
    int8_t rows, columns;
    border border;
    bool kept;
} step;

enum { NOTHING = -1 };

// clang-format off
#define INNER(name, from, outputs, rows, columns) {name, from, outputs, rows, columns, PADDED, false}
#define KEPT(name, from, outputs, rows, columns, border) {name, from, outputs, rows, columns, border, true}
#define POOL {NULL, MAX_POOLED_BY_2, NOTHING, 0, 0, PADDED, true}

static const step conv2d_1a[] = {KEPT(NULL, INPUT, 32, 3, 3, UNPADDED_BY_2)};
static const step conv2d_2a[] = {KEPT(NULL, INPUT, 32, 3, 3, UNPADDED)};
static const step conv2d_2b[] = {KEPT(NULL, INPUT, 64, 3, 3, PADDED)};
static const step conv2d_3b[] = {KEPT(NULL, MAX_POOLED_BY_2, 80, 1, 1, PADDED)};
static const step conv2d_4a[] = {KEPT(NULL, INPUT, 192, 3, 3, UNPADDED)};
static const step pooling[] = {POOL};

static const step unit_a[] = {
    KEPT("branch1x1", INPUT, 64, 1, 1, PADDED),
    INNER("branch5x5_1", INPUT, 48, 1, 1),
    KEPT("branch5x5_2", BEFORE, 64, 5, 5, PADDED),
    INNER("branch3x3dbl_1", INPUT, 64, 1, 1),
    INNER("branch3x3dbl_2", BEFORE, 96, 3, 3),
    KEPT("branch3x3dbl_3", BEFORE, 96, 3, 3, PADDED),
    KEPT("branch_pool", AVERAGE_POOLED, 0, 1, 1, PADDED),
};
static const step unit_b[] = {
    KEPT("branch3x3", INPUT, 384, 3, 3, UNPADDED_BY_2),
    INNER("branch3x3dbl_1", INPUT, 64, 1, 1),
    INNER("branch3x3dbl_2", BEFORE, 96, 3, 3),
    KEPT("branch3x3dbl_3", BEFORE, 96, 3, 3, UNPADDED_BY_2),
    POOL,
};
static const step unit_c[] = {
    KEPT("branch1x1", INPUT, 192, 1, 1, PADDED),
    INNER("branch7x7_1", INPUT, 0, 1, 1),
    INNER("branch7x7_2", BEFORE, 0, 1, 7),
    KEPT("branch7x7_3", BEFORE, 192, 7, 1, PADDED),
    INNER("branch7x7dbl_1", INPUT, 0, 1, 1),
    INNER("branch7x7dbl_2", BEFORE, 0, 7, 1),
    INNER("branch7x7dbl_3", BEFORE, 0, 1, 7),
    INNER("branch7x7dbl_4", BEFORE, 0, 7, 1),
    KEPT("branch7x7dbl_5", BEFORE, 192, 1, 7, PADDED),
    KEPT("branch_pool", AVERAGE_POOLED, 192, 1, 1, PADDED),
};
static const step unit_d[] = {
    INNER("branch3x3_1", INPUT, 192, 1, 1),
    KEPT("branch3x3_2", BEFORE, 320, 3, 3, UNPADDED_BY_2),
    INNER("branch7x7x3_1", INPUT, 192, 1, 1),
    INNER("branch7x7x3_2", BEFORE, 192, 1, 7),
    INNER("branch7x7x3_3", BEFORE, 192, 7, 1),
    KEPT("branch7x7x3_4", BEFORE, 192, 3, 3, UNPADDED_BY_2),
    POOL,
};
#define UNIT_E(pooled) {                                 \
    KEPT("branch1x1", INPUT, 320, 1, 1, PADDED),         \
    INNER("branch3x3_1", INPUT, 384, 1, 1),              \
    KEPT("branch3x3_2a", BEFORE, 384, 1, 3, PADDED),     \
    KEPT("branch3x3_2b", BESIDE, 384, 3, 1, PADDED),     \
    INNER("branch3x3dbl_1", INPUT, 448, 1, 1),           \
    INNER("branch3x3dbl_2", BEFORE, 384, 3, 3),          \
    KEPT("branch3x3dbl_3a", BEFORE, 384, 1, 3, PADDED),  \
    KEPT("branch3x3dbl_3b", BESIDE, 384, 3, 1, PADDED),  \
    KEPT("branch_pool", pooled, 192, 1, 1, PADDED),      \
}
static const step unit_e1[] = UNIT_E(AVERAGE_POOLED), unit_e2[] = UNIT_E(MAX_POOLED);
// clang-format on

typedef struct stage {
    const char *name;
    const step *steps;
    int count;
    int16_t width;
} stage;

#define STAGE(name, steps, width)                                                                                      \
    {                                                                                                                  \
        name, steps, sizeof steps / sizeof *steps, width                                                               \
    }

static const stage stages[] = {
    STAGE("Conv2d_1a_3x3", conv2d_1a, 0), /* [149,149,32] */
    STAGE("Conv2d_2a_3x3", conv2d_2a, 0), /* [147,147,32] */
    STAGE("Conv2d_2b_3x3", conv2d_2b, 0), /* [147,147,64] */
    STAGE("Conv2d_3b_1x1", conv2d_3b, 0), /* [73,73,80] */
    STAGE("Conv2d_4a_3x3", conv2d_4a, 0), /* [71,71,192] */
    STAGE("pooling", pooling, 0),         /* [35,35,192] */
    STAGE("Mixed_5b", unit_a, 32),        /* [35,35,256] */
    STAGE("Mixed_5c", unit_a, 64),        /* [35,35,288] */
    STAGE("Mixed_5d", unit_a, 64),        /* [35,35,288] */
    STAGE("Mixed_6a", unit_b, 0),         /* [17,17,768] */
    STAGE("Mixed_6b", unit_c, 128),       /* [17,17,768] */
    STAGE("Mixed_6c", unit_c, 160),       /* [17,17,768] */
    STAGE("Mixed_6d", unit_c, 160),       /* [17,17,768] */
    STAGE("Mixed_6e", unit_c, 192),       /* [17,17,768] */
    STAGE("Mixed_7a", unit_d, 0),         /* [8,8,1280] */
    STAGE("Mixed_7b", unit_e1, 0),        /* [8,8,2048] */
    STAGE("Mixed_7c", unit_e2, 0),        /* [8,8,2048] */
};

enum { STAGES = sizeof stages / sizeof *stages, SPATIAL_STAGE = 12, SPATIAL_CHANNELS = 7, SPATIAL_POSITIONS = 17 * 17 };

/* ---- weights ---- */

/* Reads the convolutions of one stage into net->convolution from number *next on; `channels` goes from what the stage takes
 * to what it puts out. */
static void read_stage(const conv_file *f, inception *net, int *next, const stage *s, int64_t *channels)
{
    int64_t taken = *channels, put_out = 0, inputs = taken, outputs = taken;
    for (const step *p = s->steps; p < s->steps + s->count; p++) {
        if (p->from != BESIDE) inputs = p->from == BEFORE ? outputs : taken;
        outputs = p->outputs == NOTHING ? inputs : p->outputs ? p->outputs : s->width;
        if (p->kept) put_out += outputs;
        if (p->outputs == NOTHING) continue;
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", s->name, p->name ? "." : "", p->name ? p->name : "");
        conv_file_read_normalised(f, &net->convolution[(*next)++], name,
                                  (int64_t[]){outputs, inputs, p->rows, p->columns}, 1e-3);
    }
    *channels = put_out;
}

dt_status inception_open(ctx *c, inception *net, const char *path)
{
    tensor_file file;
    const conv_file f = {.c = c, .file = &file, .net = "Inception v3 for FID"};
    if (tensor_file_open(&file, path, &c->error) == DT_OK) {
        int64_t channels = 3;
        int next = 0;
        for (int i = 0; i < STAGES; i++) read_stage(&f, net, &next, &stages[i], &channels);
        conv_file_read(&f, &net->classes, "fc", INCEPTION_CLASSES, INCEPTION_FEATURES, 1, true);
    }
    tensor_file_close(&file);
    return c->error.status;
}

/* ---- pictures ---- */

dt_status inception_prepare(float *x, const image *picture, dt_inception_resize resize, dt_error *err)
{
    static const resample_float_way ways[] = {[DT_INCEPTION_TF1] = RESAMPLE_TF1_BILINEAR,
                                              [DT_INCEPTION_PYTORCH_FID] = RESAMPLE_TORCH_BILINEAR,
                                              [DT_INCEPTION_CLEAN] = RESAMPLE_PILLOW_BICUBIC};
    const int64_t count = 3 * INCEPTION_SIDE * INCEPTION_SIDE;
    if (resample_float(x, picture, INCEPTION_SIDE, INCEPTION_SIDE, ways[resize], err) != DT_OK) return err->status;
    for (int64_t i = 0; i < count; i++) {
        float value = x[i] < 0 ? 0 : x[i] > 255 ? 255 : x[i]; /* only the cubic overshoots */
        x[i] = resize == DT_INCEPTION_PYTORCH_FID ? 2 * (value / 255) - 1 : (value - 128) / 128;
    }
    return DT_OK;
}

/* ---- features ---- */

static tensor *source_of(ctx *c, source from, tensor *input, tensor *before, tensor *beside)
{
    switch (from) {
    case INPUT: return input;
    case BEFORE: return before;
    case BESIDE: return beside;
    case AVERAGE_POOLED: return op_average_pool(c, input, 3);
    case MAX_POOLED: return op_max_pool(c, input, 3, 1, 1);
    default: return op_max_pool(c, input, 3, 2, 0);
    }
}

static tensor *convolve(ctx *c, const conv_weights *k, const step *p, tensor *x)
{
    int64_t stride = p->border == UNPADDED_BY_2 ? 2 : 1, rows = p->rows / 2, columns = p->columns / 2;
    bool padded = p->border == PADDED;
    return op_relu(c, op_conv2d_pads(c, x, k->weight, k->bias, stride, padded ? rows : 0, padded ? columns : 0));
}

/* One pass through the network up to stage number `last`. */
typedef struct pass {
    const inception *net;
    int last;
    float *spatial;
} pass;

static const conv_weights *first_convolution(const inception *net, int stage_number)
{
    const conv_weights *k = net->convolution;
    for (const stage *s = stages; s < stages + stage_number; s++)
        for (int i = 0; i < s->count; i++) k += s->steps[i].outputs != NOTHING;
    return k;
}

static void copy_spatial(ctx *c, float *spatial, const tensor *x)
{
    const arena_place mark = arena_mark(&c->scratch);
    const real *values = numbers_read(c, &c->scratch, x->data, tensor_count(x));
    for (int64_t i = 0; values && i < x->dim[0] * SPATIAL_POSITIONS; i++)
        memcpy(spatial + i * SPATIAL_CHANNELS, values + i * x->dim[3], SPATIAL_CHANNELS * sizeof *spatial);
    arena_release(&c->scratch, mark);
}

/* The output of stage p->last. The stages before run inside, so that tape_inference gives back what they leave: at any time
 * the activations of one stage are there, and its input. */
static void run_stages(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const pass *p = arg;
    const stage *s = &stages[p->last];
    const conv_weights *k = first_convolution(p->net, p->last);
    pass before_it = {p->net, p->last - 1, p->spatial};
    tensor *input = in[0];
    if (p->last) tape_inference(c, run_stages, &before_it, in, 1, &input, 1);
    tensor *before = input, *beside = input, *y = NULL;
    for (int i = 0; i < s->count && !ctx_failed(c); i++) {
        const step *now = &s->steps[i];
        beside = source_of(c, now->from, input, before, beside);
        before = now->outputs == NOTHING ? beside : convolve(c, k++, now, beside);
        if (now->kept) y = y ? op_concat(c, y, before, 3) : before;
        if (p->last == SPATIAL_STAGE && i == 0 && p->spatial && !ctx_failed(c)) copy_spatial(c, p->spatial, before);
    }
    out[0] = y;
}

dt_status inception_features(ctx *c, float *pool, float *spatial, const inception *net, const float *x, int64_t n)
{
    const pass whole = {net, STAGES - 1, spatial};
    const arena_place mark = arena_mark(&c->step);
    tensor *input = tensor_new(c, &c->step, 4, (int64_t[]){n, INCEPTION_SIDE, INCEPTION_SIDE, 3});
    if (!input) return c->error.status;
    numbers_send(c, input->data, x, tensor_count(input));
    const int precision = ctx_set_precision(c, 0);
    tensor *y;
    tape_inference(c, run_stages, &whole, &input, 1, &y, 1);
    if (y) y = op_mean_tokens(c, op_reshape(c, y, 3, (int64_t[]){n, y->dim[1] * y->dim[2], INCEPTION_FEATURES}));
    if (!ctx_failed(c)) numbers_fetch(c, pool, y->data, n * INCEPTION_FEATURES);
    ctx_set_precision(c, precision);
    arena_release(&c->step, mark);
    return c->error.status;
}

dt_status inception_logits(ctx *c, float *logits, const inception *net, const float *pool, int64_t n, bool with_bias)
{
    const int64_t features = INCEPTION_FEATURES, classes = INCEPTION_CLASSES;
    const arena_place mark = arena_mark(&c->scratch);
    const real *weight = numbers_read(c, &c->scratch, net->classes.weight->data, classes * features);
    const real *bias = numbers_read(c, &c->scratch, net->classes.bias->data, classes);
    if (!ctx_failed(c))
        c->host.gemm(logits, pool, weight, with_bias ? bias : NULL, n, classes, features, features, features, classes,
                     GEMM_TRANS_B);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
