#include "model/annotate/pidinet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/annotate/maps.h"
#include "op/conv.h"
#include "op/op.h"

enum { CENTRAL, ANGULAR, RADIAL, PLAIN }; /* kinds of convolutions, in the order in which carv4 has them */
enum { DILATIONS = 4, REACH = 11 };       /* of the dilated convolutions, and of the widest of them */

static const int64_t dilation[DILATIONS] = {5, 7, 9, REACH};

static int block_count(int stage)
{
    return stage ? 4 : 3;
}

/* Stages are once, twice, four and four times as wide as the first. */
static int64_t stage_width(const pidinet *net, int stage)
{
    return net->width << (stage < 2 ? stage : 2);
}

/* ---- differences as plain convolutions ---- */

/* plain[25] of the nine weights w of a 3x3 window, of which the first 9 are used unless kind is RADIAL. */
static void convert(float plain[25], const float w[9], int kind)
{
    static const int ring[8] = {0, 1, 2, 5, 8, 7, 6, 3};      /* around the middle, clockwise */
    static const int near[8] = {6, 7, 8, 11, 13, 16, 17, 18}; /* the middle's neighbours in a 5x5 window */
    static const int far[8] = {0, 2, 4, 10, 14, 20, 22, 24};  /* those twice as far */
    memset(plain, 0, 25 * sizeof *plain);
    switch (kind) {
    case CENTRAL: /* each pixel minus the middle */
        memcpy(plain, w, 9 * sizeof *plain);
        for (int i = 0; i < 9; i++) plain[4] -= w[i];
        break;
    case ANGULAR: /* each pixel around the middle minus the next one */
        for (int i = 0; i < 8; i++) plain[ring[i]] = w[ring[i]] - w[ring[(i + 7) % 8]];
        break;
    case RADIAL: /* each pixel at a distance of two minus the one before it; the first weight is not used */
        for (int i = 0; i < 8; i++) {
            plain[far[i]] = w[i + 1];
            plain[near[i]] = -w[i + 1];
        }
        break;
    default: memcpy(plain, w, 9 * sizeof *plain);
    }
}

/* ---- weights ---- */

/* A tensor in the model arena with these values; NULL after a failure. */
static tensor *put(ctx *c, const float *values, int dim_count, const int64_t dims[])
{
    tensor *t = ctx_failed(c) ? NULL : tensor_new(c, &c->model, dim_count, dims);
    const arena_place mark = arena_mark(&c->scratch);
    real *prepared = t ? numbers_prepare(c, &c->scratch, t->data, tensor_count(t)) : NULL;
    for (int64_t i = 0; prepared && i < tensor_count(t); i++) prepared[i] = values[i];
    if (prepared) numbers_send(c, t->data, prepared, tensor_count(t));
    arena_release(&c->scratch, mark);
    return t;
}

/* [outputs,3,3,inputs] or, of a convolution of single channels (inputs 1), [side,side,outputs], of the difference convolution
 * `name`.weight. */
static tensor *read_difference(const conv_file *f, const char *name, int64_t outputs, int64_t inputs, int kind)
{
    const int64_t side = kind == RADIAL ? 5 : 3, pixels = side * side;
    const arena_place mark = arena_mark(&f->c->scratch);
    const float *w = conv_file_values(f, name, 4, (int64_t[]){outputs, inputs, 3, 3});
    float *turned = arena_alloc(&f->c->scratch, (size_t)(outputs * inputs * pixels) * sizeof *turned, &f->c->error);
    for (int64_t n = 0; !ctx_failed(f->c) && n < outputs * inputs; n++) {
        const int64_t o = n / inputs, i = n % inputs;
        float plain[25];
        convert(plain, w + 9 * n, kind);
        for (int64_t p = 0; p < pixels; p++)
            turned[inputs == 1 ? p * outputs + o : (o * pixels + p) * inputs + i] = plain[p];
    }
    tensor *t = inputs == 1 ? put(f->c, turned, 3, (int64_t[]){side, side, outputs})
                            : put(f->c, turned, 4, (int64_t[]){outputs, side, side, inputs});
    arena_release(&f->c->scratch, mark);
    return t;
}

static void read_block(const conv_file *f, pidinet *net, int stage, int number)
{
    char name[48];
    pidinet_block *b = &net->block[stage][number];
    const bool halves = stage && number == 0;
    const int64_t outputs = stage_width(net, stage), inputs = halves ? stage_width(net, stage - 1) : outputs;
    conv_weights mix;
    snprintf(name, sizeof name, "block%d_%d.conv1.weight", stage + 1, number + 1);
    b->depthwise = read_difference(f, name, inputs, 1, stage ? number : number + 1);
    snprintf(name, sizeof name, "block%d_%d.conv2", stage + 1, number + 1);
    conv_file_read(f, &mix, name, outputs, inputs, 1, false);
    b->mix = mix.weight;
    snprintf(name, sizeof name, "block%d_%d.shortcut", stage + 1, number + 1);
    if (halves) conv_file_read(f, &b->shortcut, name, outputs, inputs, 1, true);
}

/* Tap number t of the sum of the dilated convolutions: number 0 is the middle, which all have. */
static int64_t tap_row(int t)
{
    const int place = (t - 1) % 8, k = place < 4 ? place : place + 1; /* of the 3x3 window */
    return t ? (k / 3 - 1) * dilation[(t - 1) / 8] : 0;
}

static int64_t tap_column(int t)
{
    const int place = (t - 1) % 8, k = place < 4 ? place : place + 1;
    return t ? (k % 3 - 1) * dilation[(t - 1) / 8] : 0;
}

static void read_taps(const conv_file *f, pidinet_side *s, int stage, int64_t width)
{
    char name[48];
    ctx *c = f->c;
    const arena_place mark = arena_mark(&c->scratch);
    float *one = arena_alloc(&c->scratch, (size_t)(width * width) * sizeof *one, &c->error);
    float *middle = arena_alloc_zeroed(&c->scratch, (size_t)(width * width) * sizeof *middle, &c->error);
    for (int d = 0; d < DILATIONS; d++) {
        snprintf(name, sizeof name, "dilations.%d.conv2_%d.weight", stage, d + 1);
        const float *w = conv_file_values(f, name, 4, (int64_t[]){width, width, 3, 3});
        for (int k = 0; k < 9 && !ctx_failed(c); k++) {
            for (int64_t i = 0; i < width * width; i++)
                if (k == 4)
                    middle[i] += w[9 * i + k];
                else
                    one[i] = w[9 * i + k];
            if (k != 4) s->tap[1 + 8 * d + k - (k > 4)] = put(c, one, 2, (int64_t[]){width, width});
        }
    }
    s->tap[0] = put(c, middle, 2, (int64_t[]){width, width});
    arena_release(&c->scratch, mark);
}

static void read_host(const conv_file *f, float *to, const char *name, int64_t count)
{
    const arena_place mark = arena_mark(&f->c->scratch);
    const float *values = conv_file_values(f, name, 2, (int64_t[]){1, count});
    if (values) memcpy(to, values, (size_t)count * sizeof *to);
    arena_release(&f->c->scratch, mark);
}

static void read_side(const conv_file *f, pidinet *net, int stage, int64_t width)
{
    char name[48];
    pidinet_side *s = &net->side[stage];
    conv_weights reduce;
    snprintf(name, sizeof name, "dilations.%d.conv1", stage);
    conv_file_read(f, &s->narrow, name, width, stage_width(net, stage), 1, true);
    read_taps(f, s, stage, width);
    snprintf(name, sizeof name, "attentions.%d.conv1", stage);
    conv_file_read(f, &s->squeeze, name, 4, width, 1, true);
    snprintf(name, sizeof name, "attentions.%d.conv2", stage);
    conv_file_read(f, &s->look, name, 1, 4, 3, false);
    snprintf(name, sizeof name, "conv_reduces.%d.conv", stage);
    conv_file_read(f, &reduce, name, 1, width, 1, false);
    s->reduce = reduce.weight;
    snprintf(name, sizeof name, "conv_reduces.%d.conv.bias", stage);
    read_host(f, &s->reduce_bias, name, 1);
}

/* Outputs of the convolution `name`.weight; 1 where the file has none, so that reading it says what is missing. */
static int64_t width_of(const tensor_file *file, const char *name)
{
    const tensor_entry *e = tensor_file_find(file, name);
    return e && e->dim_count && e->dims[0] > 0 && e->dims[0] <= 256 ? e->dims[0] : 1;
}

dt_status pidinet_open(ctx *c, const void **net, tensor_file *file)
{
    pidinet *p = arena_alloc_zeroed(&c->model, sizeof *p, &c->error);
    const conv_file f = {.c = c, .file = file, .net = "PiDiNet"};
    if (!p) return c->error.status;
    tensor_file_enter(file, "state_dict.");
    tensor_file_enter(file, "module.");
    p->width = width_of(file, "init_block.weight");
    p->first = read_difference(&f, "init_block.weight", p->width, 3, CENTRAL);
    for (int stage = 0; stage < PIDINET_STAGES; stage++)
        for (int b = 0; b < block_count(stage); b++) read_block(&f, p, stage, b);
    const int64_t side_width = width_of(file, "dilations.0.conv1.weight");
    for (int stage = 0; stage < PIDINET_STAGES; stage++) read_side(&f, p, stage, side_width);
    read_host(&f, p->fuse, "classifier.weight", PIDINET_STAGES);
    read_host(&f, &p->fuse_bias, "classifier.bias", 1);
    *net = p;
    return c->error.status;
}

/* ---- the network ---- */

/* out = x + mix relu(depthwise x), or, of a block that halves, the shortcut of x in place of x. */
static void run_block(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const pidinet_block *b = arg;
    tensor *x = b->shortcut.weight ? maps_halve(c, in[0]) : in[0];
    tensor *y = op_relu(c, op_depthwise(c, x, b->depthwise, NULL, 1, ctx_failed(c) ? 0 : b->depthwise->dim[0] / 2));
    y = op_conv2d(c, y, b->mix, NULL, 1, 0);
    if (b->shortcut.weight) x = op_conv2d(c, x, b->shortcut.weight, b->shortcut.bias, 1, 0);
    out[0] = op_add(c, y, x);
}

/* x[1,H,W,C] with a border of REACH zeros. */
static tensor *bordered(ctx *c, tensor *x)
{
    for (int dim = 1; dim <= 2 && !ctx_failed(c); dim++) {
        int64_t shape[4] = {1, x->dim[1], x->dim[2], x->dim[3]};
        shape[dim] = REACH;
        tensor *zeros = tensor_zeros(c, &c->step, 4, shape);
        x = op_concat(c, op_concat(c, zeros, x, dim), zeros, dim);
    }
    return x;
}

/* The sum of four dilated convolutions of x[1,H,W,C]: one linear map of shifted pixels for each tap. */
static tensor *dilated(ctx *c, const pidinet_side *s, tensor *x)
{
    if (ctx_failed(c)) return NULL;
    const int64_t height = x->dim[1], width = x->dim[2];
    tensor *sum = op_linear(c, x, s->tap[0], NULL), *wide = bordered(c, x);
    for (int t = 1; t < PIDINET_TAPS && !ctx_failed(c); t++) {
        const arena_place mark = arena_mark(&c->step);
        tensor *rows = op_slice(c, wide, 1, REACH + tap_row(t), height);
        op_linear_add(c, sum, op_slice(c, rows, 2, REACH + tap_column(t), width), s->tap[t]);
        arena_release(&c->step, mark);
    }
    return sum;
}

/* out = what the stage's x says of edges before the attention, and the attention's logits, both [1,H,W,1]. */
static void run_side(ctx *c, const void *arg, tensor *const in[], tensor *out[])
{
    const pidinet_side *s = arg;
    tensor *x = op_conv2d(c, op_relu(c, in[0]), s->narrow.weight, s->narrow.bias, 1, 0);
    x = dilated(c, s, x);
    tensor *attention = op_conv2d(c, op_relu(c, x), s->squeeze.weight, s->squeeze.bias, 1, 0);
    out[0] = op_conv2d(c, x, s->reduce, NULL, 1, 0);
    out[1] = op_conv2d(c, attention, s->look.weight, NULL, 1, 1);
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

/* fused[height,width] += share * the stage's edge map. The attention is one number a pixel, so it may as well act on what has
 * been reduced to one channel. */
static void add_side(ctx *c, const pidinet_side *s, float share, float *fused, tensor *h, int64_t height, int64_t width)
{
    const arena_place mark = arena_mark(&c->step);
    tensor *both[2] = {h};
    tape_inference(c, run_side, s, both, 1, both, 2);
    const float *said = maps_fetch(c, both[0]), *attention = maps_fetch(c, both[1]);
    float *edge = ctx_failed(c) ? NULL : arena_alloc(&c->step, tensor_bytes(both[0]), &c->error);
    float *full = arena_alloc(&c->step, (size_t)(height * width) * sizeof *full, &c->error);
    if (!ctx_failed(c)) {
        for (int64_t i = 0; i < tensor_count(both[0]); i++) edge[i] = sigmoid(attention[i]) * said[i] + s->reduce_bias;
        maps_enlarge(full, edge, both[0]->dim[1], both[0]->dim[2], height, width);
        for (int64_t i = 0; i < height * width; i++) fused[i] += share * full[i];
    }
    arena_release(&c->step, mark);
}

dt_status pidinet_edges(ctx *c, const pidinet *net, float *edge, const uint8_t *rgb, int64_t height, int64_t width)
{
    static const picture_scaling how = {
        {2, 1, 0}, {0, 0, 0}, {(float)(1.0 / 255), (float)(1.0 / 255), (float)(1.0 / 255)}};
    const arena_place mark = arena_mark(&c->step);
    tensor *h = op_conv2d(c, maps_picture(c, rgb, height, width, &how), net->first, NULL, 1, 1);
    for (int64_t i = 0; i < height * width; i++) edge[i] = net->fuse_bias;
    for (int stage = 0; stage < PIDINET_STAGES; stage++) {
        for (int b = 0; b < block_count(stage); b++) tape_inference(c, run_block, &net->block[stage][b], &h, 1, &h, 1);
        add_side(c, &net->side[stage], net->fuse[stage], edge, h, height, width);
    }
    for (int64_t i = 0; i < height * width; i++) edge[i] = sigmoid(edge[i]);
    arena_release(&c->step, mark);
    return c->error.status;
}

dt_status pidinet_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    const arena_place mark = arena_mark(&c->scratch);
    float *edge = arena_alloc(&c->scratch, (size_t)(height * width) * sizeof *edge, &c->error);
    if (edge && pidinet_edges(c, net, edge, rgb, height, width) == DT_OK)
        for (int64_t i = 0; i < height * width; i++) map[i] = maps_byte(edge[i] * 255.0F);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
