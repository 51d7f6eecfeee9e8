/* Annotators: what makes a control picture of a picture, as the demos of ControlNet (lllyasviel/ControlNet, annotator/) make theirs.
 * The rest of the program knows an annotator by this file alone; a new kind is a row of the table in annotator.c and a
 * file of its own.
 *
 * A map has the size of its picture, and depends on nothing but the picture, the kind and the weights. Networks compute in f32,
 * whatever the context trains in. */
#ifndef ANNOTATE_ANNOTATOR_H
#define ANNOTATE_ANNOTATOR_H

#include "tensor/context.h"

typedef enum annotator_kind {
    ANNOTATE_CANNY,
    ANNOTATE_HED,
    ANNOTATE_SKETCH,
    ANNOTATE_PIDINET,
    ANNOTATE_DEPTH,
    ANNOTATE_NORMAL,
    ANNOTATE_SEG,
    ANNOTATOR_KINDS,
} annotator_kind;

typedef struct annotator {
    annotator_kind kind;
    int64_t channels;        /* of a map: 1 or 3 */
    int64_t side_min;        /* a picture with a shorter side has no map */
    char sha256[65];         /* of the weights' file; empty without one */
    const char *settings;    /* every constant that shapes a map beside the weights: together they are its identity */
    const void *net;         /* the weights, in the model arena; NULL without */
    int64_t bytes_per_pixel; /* about what making a map takes of memory; 0: not known */
} annotator;

/* "canny", "hed" and so on, as settings and messages name them; NULL for a kind that is not built. */
const char *annotator_name(annotator_kind kind);

/* The names of all that are built, with commas between. */
void annotator_names(char names[DT_TEXT_MAX]);

/* What maps of an annotator are known by: its name, its settings and the hash of its weights (empty: it has none). */
void annotator_identity(char text[DT_PATH_MAX], const char *name, const char *settings, const char *sha256);

/* The kind of that name; ANNOTATOR_KINDS for none. */
annotator_kind annotator_named(const char *name);

/* The file of weights that a kind is published with, for messages; NULL: it needs none. */
const char *annotator_weights_name(annotator_kind kind);

/* DT_ERR_ARG where the kind needs a file of weights and none is given (empty or NULL), or the other way round. */
dt_status annotator_check_weights(annotator_kind kind, const char *weights, dt_error *err);

/* Reads `weights` (any container of container/tensor_open.h; empty or NULL where the kind needs none). DT_ERR_ARG as
 * annotator_check_weights; DT_ERR_SHAPE names file, tensor, expected and found; DT_ERR_UNSUPPORTED: a kind
 * that is not built. */
dt_status annotator_open(ctx *c, annotator *a, annotator_kind kind, const char *weights);

/* map[height,width,channels] of rgb[height,width,3], both bytes. DT_ERR_SHAPE for a side below side_min, with `map` untouched. */
dt_status annotate(ctx *c, const annotator *a, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

/* label[height,width] of a picture, where the map shows classes in colours: ANNOTATE_SEG only, from 0 to 149. Colours cannot be turned
 * back into labels, for two classes have the same one. DT_ERR_UNSUPPORTED for other kinds. */
dt_status annotate_labels(ctx *c, const annotator *a, uint8_t *label, const uint8_t *rgb, int64_t height,
                          int64_t width);

#endif
