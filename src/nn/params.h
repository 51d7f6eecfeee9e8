/* The weights of a network as a table: one row per named tensor. Readers and writers of files (nn/params_file.h),
 * initialisation and the choice of what trains (train/trainset.h) walk this table; networks hold pointers into it. */
#ifndef NN_PARAMS_H
#define NN_PARAMS_H

#include "base/rng.h"
#include "tensor/tensor.h"

/* How a new network's row starts. */
typedef enum param_init {
    PARAM_GIVEN, /* the network fills it itself */
    PARAM_ZERO,
    PARAM_ONE,
    PARAM_XAVIER,  /* uniform +-sqrt(6 / (fan in + fan out)) */
    PARAM_NORMAL,  /* normal, standard deviation 0.02 */
    PARAM_UNIFORM, /* uniform +-bound */
} param_init;

typedef struct param {
    const char *name; /* the published name */
    int file_dim_count;
    int64_t file_dim[4]; /* shape in files; the tensor itself may join trailing dimensions */
    bool convolution;    /* [O,I,H,W] in files, [O,H,W,I] in the tensor, as op/conv.h wants it */
    bool fixed;          /* a table that is no weight: nothing ever trains it */
    bool operand;        /* a matrix that products alone read */
    tensor *tensor;
    param_init init;
    double bound; /* PARAM_UNIFORM */
} param;

/* Rows, names and tensors lie in the model arena. */
typedef struct params {
    param *row;
    int count, capacity;
} params;

/* Adds a row and its tensor [dim[0], product of the others] (or [dim[0]] for one dimension). Returns the tensor, not
 * filled, so that a shape which lies costs no memory; NULL after a failure. The name is printf-like. */
tensor *params_add(ctx *c, params *p, param_init init, int dim_count, const int64_t dim[], const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The same for a row that starts uniform in +-bound. */
tensor *params_add_uniform(ctx *c, params *p, double bound, int dim_count, const int64_t dim[], const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The same for a table that nothing trains. */
tensor *params_add_fixed(ctx *c, params *p, int dim_count, const int64_t dim[], const char *name);

/* The same for a convolution of dim[4] = O, I, H, W: the tensor is [O,H,W,I]. */
tensor *params_add_convolution(ctx *c, params *p, param_init init, const int64_t dim[4], const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Fills all rows but given ones by their rule; row i uses key (seed, RNG_INIT, step i). */
void params_init(ctx *c, params *p, uint64_t seed);

/* Fills `numbers`, of the engine and with the shape of row i, with what params_init fills that row with. Given rows have none. */
void params_start(ctx *c, real *numbers, const params *p, int i, uint64_t seed);

/* For an engine that reads weights from narrow copies (engine.narrow_weights), where products are of bfloat16 operands: makes
 * those copies, or makes them again. Called whenever rows were written by anything but the optimiser, which keeps them up. */
void params_round(ctx *c, params *p);

/* Of a network that is frozen for good: where products are of bfloat16 operands, keeps the rows that they alone read as bfloat16 and
 * gives back what they were, which may have been a file's. Products stay the same. Nothing where the engine has memory of its own. */
void params_narrow(ctx *c, params *p);

/* Number of values, fixed rows included or not. */
int64_t params_count(const params *p, bool with_fixed);

/* The row of that name; NULL if there is none. */
param *params_find(const params *p, const char *name);

#endif
