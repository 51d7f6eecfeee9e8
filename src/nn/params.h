/* The weights of a model as a table: one row per named tensor. Files, initialisation, optimiser and "what is
 * trainable" all walk this table; models hold pointers into it. */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include "base/rng.h"
#include "tensor/tensor.h"

typedef enum param_init {
    PARAM_ZERO,
    PARAM_XAVIER, /* uniform +-sqrt(6 / (fan in + fan out)) */
    PARAM_NORMAL, /* normal, standard deviation 0.02 */
    PARAM_FIXED,  /* not trained; the model computes it */
} param_init;

typedef struct param {
    char name[64]; /* the published name */
    int file_dim_count;
    int64_t file_dim[4]; /* shape in files; the tensor itself may join trailing dimensions */
    tensor *tensor;
    param_init init;
} param;

typedef struct params {
    param *row;
    int count, capacity;
} params;

/* Makes room for `capacity` rows in the model arena. */
void params_open(ctx *c, params *p, int capacity);

/* Adds a row and its tensor [dim[0], product of the others] (or [dim[0]] for one dimension) in the model arena.
 * Returns the tensor, not filled, so that a shape which lies costs no memory; NULL after a failure. The name is
 * printf-like with one number. */
tensor *params_add(ctx *c, params *p, param_init init, int dim_count, const int64_t dim[], const char *format,
                   int number);

/* Fills all rows but fixed ones by their rule; row i uses key (seed, RNG_INIT, step i). */
void params_init(ctx *c, params *p, uint64_t seed);

/* For an engine that reads weights from narrow copies (engine.narrow_weights), where products are of bfloat16 operands: makes
 * those copies, or makes them again. Called whenever rows were written by anything but the optimiser, which keeps them up. */
void params_round(ctx *c, params *p);

/* Gives every trainable row (all but fixed ones) need_grad and, when asked, an empty gradient in the model arena that
 * passes add up in. Without one it lives in the gradient arena and only until ctx.weight_done has seen it. */
void params_train(ctx *c, params *p, bool keep_gradients);

/* Number of values, fixed rows included or not. */
int64_t params_count(const params *p, bool with_fixed);

/* The row of that name; NULL if there is none. */
param *params_find(const params *p, const char *name);

#endif
