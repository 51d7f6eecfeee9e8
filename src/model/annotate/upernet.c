#include "model/annotate/upernet.h"

#include <stdio.h>
#include <string.h>

#include "base/finite.h"
#include "model/annotate/bilinear.h"
#include "model/annotate/maps.h"
#include "model/annotate/part.h"
#include "op/conv.h"
#include "op/op.h"

enum { NAME = 96, SHORT_SIDE = 512, LONG_SIDE = 2048, PUBLISHED_WIDTH = 512 };

static const int64_t pool_cells[UPERNET_POOLS] = {1, 2, 3, 6};

#define HEAD          "decode_head."
#define BATCH_EPSILON 1e-5

/* ---- weights ---- */

static void read_module(const conv_file *f, conv_weights *k, int64_t outputs, int64_t inputs, int64_t side,
                        const char *name)
{
    conv_file_read_normalised(f, k, name, (int64_t[]){outputs, inputs, side, side}, BATCH_EPSILON);
}

static void read_head(const conv_file *f, upernet *net)
{
    const int64_t width = conv_file_width(f, HEAD "conv_seg.weight", 1, (conv_file_steps){1, PUBLISHED_WIDTH});
    const int64_t *level = net->backbone.width, last = level[UNIFORMER_STAGES - 1];
    char name[NAME];
    for (int i = 0; i < UPERNET_POOLS; i++) {
        snprintf(name, sizeof name, HEAD "psp_modules.%d.1", i);
        read_module(f, &net->pool[i], width, last, 1, name);
    }
    read_module(f, &net->bottleneck, width, last + UPERNET_POOLS * width, 3, HEAD "bottleneck");
    for (int i = 0; i < UNIFORMER_STAGES - 1; i++) {
        snprintf(name, sizeof name, HEAD "lateral_convs.%d", i);
        read_module(f, &net->lateral[i], width, level[i], 1, name);
        snprintf(name, sizeof name, HEAD "fpn_convs.%d", i);
        read_module(f, &net->smooth[i], width, width, 3, name);
    }
    read_module(f, &net->join, width, UNIFORMER_STAGES * width, 3, HEAD "fpn_bottleneck");
    conv_file_read(f, &net->classes, HEAD "conv_seg", UPERNET_CLASSES, width, 1, true);
}

dt_status upernet_open(ctx *c, const void **net, tensor_file *file)
{
    upernet *u = arena_alloc_zeroed(&c->model, sizeof *u, &c->error);
    if (!u) return c->error.status;
    tensor_file_enter(file, "state_dict.");
    const conv_file f = {.c = c, .file = file, .net = "UniFormer-S with UPerNet"};
    uniformer_read(&f, &u->backbone);
    read_head(&f, u);
    *net = u;
    return c->error.status;
}

/* ---- the head ---- */

static tensor *module(ctx *c, const conv_weights *k, tensor *x)
{
    return ctx_failed(c) ? NULL : op_relu(c, op_conv2d(c, x, k->weight, k->bias, 1, k->weight->dim[1] / 2));
}

static tensor *module_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    return module(c, weights, in[0]);
}

/* The coarsest level beside its means over 1, 4, 9 and 36 cells. */
static tensor *pyramid_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    const upernet *net = weights;
    tensor *x = in[0], *all = x;
    for (int i = 0; i < UPERNET_POOLS; i++) {
        tensor *pooled = module(c, &net->pool[i], bilinear_pool(c, x, pool_cells[i]));
        all = op_concat(c, all, bilinear_resize(c, pooled, x->dim[1], x->dim[2], BILINEAR_MIDDLES), 3);
    }
    return module(c, &net->bottleneck, all);
}

/* in[0] convolved, and the next coarser level at its size. */
static tensor *lateral_forward(ctx *c, const void *weights, tensor *const in[PART_INPUTS])
{
    tensor *x = module(c, weights, in[0]);
    return ctx_failed(c) ? NULL : op_add(c, x, bilinear_resize(c, in[1], x->dim[1], x->dim[2], BILINEAR_MIDDLES));
}

/* level: of one width, from fine to coarse. */
static tensor *join_levels(ctx *c, const upernet *net, tensor *const level[UNIFORMER_STAGES])
{
    tensor *all = level[0];
    for (int i = 1; i < UNIFORMER_STAGES && !ctx_failed(c); i++)
        all = op_concat(c, all, bilinear_resize(c, level[i], all->dim[1], all->dim[2], BILINEAR_MIDDLES), 3);
    all = module(c, &net->join, all);
    return op_conv2d(c, all, net->classes.weight, net->classes.bias, 1, 0);
}

static tensor *head(ctx *c, const upernet *net, tensor *const backbone[UNIFORMER_STAGES])
{
    const int last = UNIFORMER_STAGES - 1;
    tensor *level[UNIFORMER_STAGES];
    level[last] = part_run(c, pyramid_forward, net, backbone[last], NULL);
    for (int i = last - 1; i >= 0; i--)
        level[i] = part_run(c, lateral_forward, &net->lateral[i], backbone[i], level[i + 1]);
    for (int i = 0; i < last; i++) level[i] = part_run(c, module_forward, &net->smooth[i], level[i], NULL);
    return join_levels(c, net, level);
}

/* ---- pictures ---- */

bool upernet_seen_sides(int64_t seen[2], int64_t height, int64_t width)
{
    const double shorter = (double)(height < width ? height : width),
                 longer = (double)(height < width ? width : height);
    const double by_long = LONG_SIDE / longer, by_short = SHORT_SIDE / shorter;
    const double scale = by_long < by_short ? by_long : by_short;
    seen[0] = (int64_t)((double)height * scale + 0.5);
    seen[1] = (int64_t)((double)width * scale + 0.5);
    return seen[0] >= UNIFORMER_PATCH && seen[1] >= UNIFORMER_PATCH;
}

tensor *upernet_logits(ctx *c, const upernet *net, const uint8_t *rgb, int64_t height, int64_t width)
{
    static const picture_scaling scaling = {
        {2, 1, 0}, {123.675F, 116.28F, 103.53F}, {(float)(1 / 58.395), (float)(1 / 57.12), (float)(1 / 57.375)}};
    tensor *level[UNIFORMER_STAGES], *x = maps_picture(c, rgb, height, width, &scaling);
    uniformer_forward(c, &net->backbone, level, x);
    return head(c, net, level);
}

/* ---- from logits to labels ---- */

/* Logits of one size, and how to make one row of a larger or smaller one of them. */
typedef struct logit_rows {
    const float *logit; /* [h,w,150]; NULL: they are the rows of `of` */
    const struct logit_rows *of;
    int64_t h, w, height, width; /* old and new size */
    float *room;                 /* two rows of the old one, where they have to be made */
} logit_rows;

/* Row y of the new size, into row[width,150]. */
static void make_row(float *row, const logit_rows *r, int64_t y)
{
    const bilinear_tap down = bilinear_tap_of(y, r->height, r->h, BILINEAR_MIDDLES);
    const float *from[2];
    for (int k = 0; k < 2; k++) {
        float *made = r->room + k * r->w * UPERNET_CLASSES;
        if (r->of) make_row(made, r->of, down.at[k]);
        from[k] = r->of ? made : r->logit + down.at[k] * r->w * UPERNET_CLASSES;
    }
    for (int64_t x = 0; x < r->width; x++, row += UPERNET_CLASSES) {
        const bilinear_tap across = bilinear_tap_of(x, r->width, r->w, BILINEAR_MIDDLES);
        const float *corner[4];
        float weight[4];
        for (int k = 0; k < 4; k++) {
            corner[k] = from[k / 2] + across.at[k % 2] * UPERNET_CLASSES;
            weight[k] = down.weight[k / 2] * across.weight[k % 2];
        }
        for (int64_t i = 0; i < UPERNET_CLASSES; i++)
            row[i] = weight[0] * corner[0][i] + weight[1] * corner[1][i] + weight[2] * corner[2][i] +
                     weight[3] * corner[3][i];
    }
}

static uint8_t greatest(const float *logit)
{
    int best = 0;
    for (int i = 1; i < UPERNET_CLASSES; i++)
        if (logit[i] > logit[best]) best = i;
    return (uint8_t)best;
}

static float *rows_alloc(ctx *c, int64_t rows, int64_t width)
{
    return arena_alloc(&c->scratch, (size_t)(rows * width * UPERNET_CLASSES) * sizeof(float), &c->error);
}

/* label[height,width] of the network's logits. Where the picture was seen in its own size the second resizing changes nothing. */
static void label_pixels(ctx *c, uint8_t *label, tensor *logits, const int64_t seen[2], int64_t height, int64_t width)
{
    const int64_t h = logits->dim[1], w = logits->dim[2];
    float *row = rows_alloc(c, 1, width), *room = rows_alloc(c, 2, seen[1]);
    const float *logit = maps_fetch(c, logits);
    if (ctx_failed(c)) return;
    if (finite_first_bad(logit, h * w * UPERNET_CLASSES) >= 0)
        error_set(&c->error, DT_ERR_NUMERIC, "the segmentation gives this picture a logit that is no number");
    const logit_rows whole = {.logit = logit, .h = h, .w = w, .height = seen[0], .width = seen[1]};
    const logit_rows again = {.of = &whole, .h = seen[0], .w = seen[1], .height = height, .width = width, .room = room};
    const logit_rows *rows = seen[0] == height && seen[1] == width ? &whole : &again;
    for (int64_t y = 0; y < height && ctx_go_on(c); y++) {
        make_row(row, rows, y);
        for (int64_t x = 0; x < width; x++) label[y * width + x] = greatest(row + x * UPERNET_CLASSES);
    }
}

dt_status upernet_labels(ctx *c, const upernet *net, uint8_t *label, const uint8_t *rgb, int64_t height, int64_t width)
{
    int64_t seen[2];
    if (ctx_failed(c)) return c->error.status;
    if (!upernet_seen_sides(seen, height, width))
        return error_set(&c->error, DT_ERR_SHAPE,
                         "a picture of %lldx%lld pixels is too long and narrow to be segmented", (long long)width,
                         (long long)height);
    const arena_place step = arena_mark(&c->step), scratch = arena_mark(&c->scratch);
    const int precision = ctx_set_precision(c, 0);
    uint8_t *resized = arena_alloc(&c->scratch, (size_t)(3 * seen[0] * seen[1]), &c->error);
    if (resized) bilinear_bytes(c, resized, seen[0], seen[1], rgb, height, width);
    tensor *logits = ctx_failed(c) ? NULL : upernet_logits(c, net, resized, seen[0], seen[1]);
    if (logits) label_pixels(c, label, logits, seen, height, width);
    ctx_set_precision(c, precision);
    arena_release(&c->scratch, scratch);
    arena_release(&c->step, step);
    return c->error.status;
}

static const uint32_t palette[UPERNET_CLASSES] = {
    0x787878, 0xB47878, 0x06E6E6, 0x503232, 0x04C803, 0x787850, 0x8C8C8C, 0xCC05FF, 0xE6E6E6, 0x04FA07, 0xE005FF,
    0xEBFF07, 0x96053D, 0x787846, 0x08FF33, 0xFF0652, 0x8FFF8C, 0xCCFF04, 0xFF3307, 0xCC4603, 0x0066C8, 0x3DE6FA,
    0xFF0633, 0x0B66FF, 0xFF0747, 0xFF09E0, 0x0907E6, 0xDCDCDC, 0xFF095C, 0x7009FF, 0x08FFD6, 0x07FFE0, 0xFFB806,
    0x0AFF47, 0xFF290A, 0x07FFFF, 0xE0FF08, 0x6608FF, 0xFF3D06, 0xFFC207, 0xFF7A08, 0x00FF14, 0xFF0829, 0xFF0599,
    0x0633FF, 0xEB0CFF, 0xA09614, 0x00A3FF, 0x8C8C8C, 0xFA0A0F, 0x14FF00, 0x1FFF00, 0xFF1F00, 0xFFE000, 0x99FF00,
    0x0000FF, 0xFF4700, 0x00EBFF, 0x00ADFF, 0x1F00FF, 0x0BC8C8, 0xFF5200, 0x00FFF5, 0x003DFF, 0x00FF70, 0x00FF85,
    0xFF0000, 0xFFA300, 0xFF6600, 0xC2FF00, 0x008FFF, 0x33FF00, 0x0052FF, 0x00FF29, 0x00FFAD, 0x0A00FF, 0xADFF00,
    0x00FF99, 0xFF5C00, 0xFF00FF, 0xFF00F5, 0xFF0066, 0xFFAD00, 0xFF0014, 0xFFB8B8, 0x001FFF, 0x00FF3D, 0x0047FF,
    0xFF00CC, 0x00FFC2, 0x00FF52, 0x000AFF, 0x0070FF, 0x3300FF, 0x00C2FF, 0x007AFF, 0x00FFA3, 0xFF9900, 0x00FF0A,
    0xFF7000, 0x8FFF00, 0x5200FF, 0xA3FF00, 0xFFEB00, 0x08B8AA, 0x8500FF, 0x00FF5C, 0xB800FF, 0xFF001F, 0x00B8FF,
    0x00D6FF, 0xFF0070, 0x5CFF00, 0x00E0FF, 0x70E0FF, 0x46B8A0, 0xA300FF, 0x9900FF, 0x47FF00, 0xFF00A3, 0xFFCC00,
    0xFF008F, 0x00FFEB, 0x85FF00, 0xFF00EB, 0xF500FF, 0xFF007A, 0xFFF500, 0x0ABED4, 0xD6FF00, 0x00CCFF, 0x1400FF,
    0xFFFF00, 0x0099FF, 0x0029FF, 0x00FFCC, 0x2900FF, 0x29FF00, 0xAD00FF, 0x00F5FF, 0x4700FF, 0x7A00FF, 0x00FFB8,
    0x005CFF, 0xB8FF00, 0x0085FF, 0xFFD600, 0x19C2C2, 0x66FF00, 0x5C00FF,
};

void upernet_paint(uint8_t *map, const uint8_t *label, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) map[3 * i + k] = (uint8_t)(palette[label[i]] >> (16 - 8 * k));
}

dt_status upernet_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    const int64_t count = height * width;
    const arena_place mark = arena_mark(&c->scratch);
    uint8_t *label = arena_alloc(&c->scratch, (size_t)count, &c->error);
    if (label && upernet_labels(c, net, label, rgb, height, width) == DT_OK) upernet_paint(map, label, count);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
