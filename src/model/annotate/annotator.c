#include "model/annotate/annotator.h"

#include <stdio.h>
#include <string.h>

#include "container/tensor_open.h"
#include "model/annotate/canny.h"
#include "model/annotate/hed.h"
#include "model/annotate/normal.h"
#include "model/annotate/pidinet.h"
#include "model/annotate/sketch.h"
#include "model/annotate/upernet.h"

#define MIDAS_FILE "dpt_hybrid-midas-501f0c75.pt"

/* One kind. */
typedef struct kind_row {
    const char *name;     /* NULL: not built */
    const char *weights;  /* the published file; NULL: none */
    const char *settings; /* annotator.settings */
    int64_t channels, side_min;
    /* Reads the file's tensors into *net, which it takes from the model arena; NULL without weights. */
    dt_status (*open)(ctx *c, const void **net, tensor_file *file);
    /* annotate(), for sides of side_min at least. */
    dt_status (*annotate)(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);
    int64_t bytes_per_pixel; /* annotator.bytes_per_pixel */
} kind_row;

static const kind_row kinds[ANNOTATOR_KINDS] = {
    [ANNOTATE_CANNY] = {"canny", NULL, CANNY_SETTINGS, 1, 1, NULL, canny_annotate, 16},
    [ANNOTATE_HED] = {"hed", "ControlNetHED.pth", HED_SETTINGS, 1, HED_SIDE_MIN, hed_open, hed_annotate, 4000},
    [ANNOTATE_SKETCH] = {"sketch", "ControlNetHED.pth", SKETCH_SETTINGS, 1, HED_SIDE_MIN, hed_open, sketch_annotate,
                         4000},
    [ANNOTATE_PIDINET] = {"pidinet", "table5_pidinet.pth", PIDINET_SETTINGS, 1, PIDINET_SIDE_MIN, pidinet_open,
                          pidinet_annotate, 1600},
    [ANNOTATE_DEPTH] = {"depth", MIDAS_FILE, MIDAS_SETTINGS, 1, 1, midas_open, midas_annotate, MIDAS_PIXEL_BYTES},
    [ANNOTATE_NORMAL] = {"normal", MIDAS_FILE, NORMAL_SETTINGS, 3, 1, midas_open, normal_annotate, MIDAS_PIXEL_BYTES},
    [ANNOTATE_SEG] = {"seg", "upernet_global_small.pth", UPERNET_SETTINGS, 3, 1, upernet_open, upernet_annotate, 0},
};

const char *annotator_name(annotator_kind kind)
{
    return kinds[kind].name;
}

void annotator_identity(char text[DT_PATH_MAX], const char *name, const char *settings, const char *sha256)
{
    snprintf(text, DT_PATH_MAX, "%.64s (%.512s), weights %.64s", name, settings, sha256[0] ? sha256 : "none");
}

void annotator_names(char names[DT_TEXT_MAX])
{
    int used = 0;
    names[0] = '\0';
    for (annotator_kind kind = 0; kind < ANNOTATOR_KINDS; kind++)
        if (annotator_name(kind))
            used +=
                snprintf(names + used, (size_t)(DT_TEXT_MAX - used), "%s%s", used ? ", " : "", annotator_name(kind));
}

annotator_kind annotator_named(const char *name)
{
    annotator_kind kind = 0;
    while (kind < ANNOTATOR_KINDS && !(kinds[kind].name && strcmp(kinds[kind].name, name) == 0)) kind++;
    return kind;
}

const char *annotator_weights_name(annotator_kind kind)
{
    return kinds[kind].weights;
}

static dt_status read_weights(ctx *c, annotator *a, const kind_row *row, const char *path)
{
    tensor_file file;
    file_hash hash;
    if (tensor_file_open(&file, path, &c->error) == DT_OK) {
        tensor_file_sha256(&hash, &file);
        memcpy(a->sha256, hash.hex, sizeof a->sha256);
        row->open(c, &a->net, &file);
    }
    tensor_file_close(&file);
    return c->error.status;
}

dt_status annotator_check_weights(annotator_kind kind, const char *weights, dt_error *err)
{
    const kind_row *row = &kinds[kind];
    const bool given = weights && weights[0];
    if (row->weights && !given)
        return error_set(err, DT_ERR_ARG, "annotator_weights: %s needs a file of weights, such as %s", row->name,
                         row->weights);
    if (!row->weights && given)
        return error_set(err, DT_ERR_ARG, "annotator_weights: %s has no weights, given %s", row->name, weights);
    return DT_OK;
}

dt_status annotator_open(ctx *c, annotator *a, annotator_kind kind, const char *weights)
{
    const kind_row *row = &kinds[kind];
    *a = (annotator){.kind = kind,
                     .channels = row->channels,
                     .side_min = row->side_min,
                     .bytes_per_pixel = row->bytes_per_pixel,
                     .settings = row->settings};
    if (ctx_failed(c)) return c->error.status;
    if (!row->name)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "annotator number %d is not part of this build", (int)kind);
    if (annotator_check_weights(kind, weights, &c->error) != DT_OK) return c->error.status;
    return row->weights ? read_weights(c, a, row, weights) : DT_OK;
}

dt_status annotate(ctx *c, const annotator *a, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    if (ctx_failed(c)) return c->error.status;
    if (height < a->side_min || width < a->side_min)
        return error_set(&c->error, DT_ERR_SHAPE, "a picture of %lldx%lld pixels: %s needs %lldx%lld at least",
                         (long long)width, (long long)height, kinds[a->kind].name, (long long)a->side_min,
                         (long long)a->side_min);
    const int precision = ctx_set_precision(c, 0);
    kinds[a->kind].annotate(c, a->net, map, rgb, height, width);
    ctx_set_precision(c, precision);
    return c->error.status;
}

dt_status annotate_labels(ctx *c, const annotator *a, uint8_t *label, const uint8_t *rgb, int64_t height, int64_t width)
{
    if (ctx_failed(c)) return c->error.status;
    if (a->kind != ANNOTATE_SEG)
        return error_set(&c->error, DT_ERR_UNSUPPORTED, "%s has no labels, only seg has", kinds[a->kind].name);
    return upernet_labels(c, a->net, label, rgb, height, width);
}
