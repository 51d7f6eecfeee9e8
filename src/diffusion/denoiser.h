/* A denoiser: a network that predicts, as everything above the models sees it. Trainer, sampler, bank, measures and converters
 * hold this and never a network of one kind; src/model/ makes them. */
#ifndef DIFFUSION_DENOISER_H
#define DIFFUSION_DENOISER_H

#include "container/tensor_source.h"
#include "diffusion/condition.h"
#include "diffusion/schedule.h"
#include "file/file.h"
#include "nn/adapter.h"
#include "nn/params.h"

typedef struct denoiser denoiser;

/* How a denoiser is written. */
typedef struct denoiser_file {
    const char *path;
    dt_model_format format;
    dt_file_dtype dtype;
    real *const *values; /* [params.count] in place of the rows' own numbers where not NULL; NULL: none */
    const metadata_pair *metadata;
    size_t metadata_count;
    file_hash *hash; /* receives that of a safetensors file; NULL: not wanted */
    /* DT_MODEL_ORIGINAL: a whole checkpoint in whose copy the network takes the old one's place; NULL: the network alone. */
    const char *checkpoint;
    /* Of a denoiser with a base: the SHA-256 of the base's file that it says it is for; NULL: the one that it was opened with. */
    const char *base_sha256;
    bool stops; /* the caller may ask for a stop between two weights (ctx_go_on), which leaves nothing */
} denoiser_file;

typedef struct denoiser_ops {
    const char *kind; /* "DiT" */
    /* out[N, C or with learned variance 2C, H, W] of x[N,C,H,W] at times t[N]: original timesteps, or those of a flow. */
    tensor *(*forward)(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k);
    /* Features [N, feature_width] of what is in x: inner values of the same pass. NULL where feature_width is 0. */
    tensor *(*features)(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k);
    /* Writes all weights for this program or another. DT_ERR_UNSUPPORTED for a format that has no place for this network. */
    dt_status (*write)(ctx *c, const denoiser *d, const denoiser_file *f);
    /* The same before there is anything to write; `path` is for messages. NULL: every format has a place for it. */
    dt_status (*check_format)(const denoiser *d, dt_model_format format, const char *path, dt_error *err);
    const char *diffusers_folder; /* "transformer": its folder in a pipeline of diffusers */
    /* Gives a network without a null time one: a last row in its table, which starts as the mean of what stands for a time over
     * all 1000 steps. NULL: it has no place for one. */
    dt_status (*start_null_time)(ctx *c, denoiser *d);
    bool guides_three; /* its authors' code guides the first three channels of latents of four, and leaves the fourth */
} denoiser_ops;

struct denoiser {
    const denoiser_ops *ops;
    void *self;                 /* the network, in the model arena */
    params *params;             /* its weights */
    const denoiser *base;       /* the frozen network that it is when it is told no control; NULL: it has none */
    const network_sites *sites; /* where adapters can join it; NULL: nowhere */
    sample_shape shape;
    process process;
    /* What it is told: */
    int64_t class_count; /* labels are 0..class_count, of which the last is the null class; 0: no labels */
    int64_t context_tokens, context_width; /* of a context; 0: none */
    sample_shape control;                  /* 0 channels: none */
    const tensor *null_context; /* [context_tokens, context_width] of the unconditional branch; NULL: zeros */
    const char *null_time;      /* name of the row that stands for no time; NULL: it must be told the time */
    int64_t feature_width;      /* 0: it has no features */
};

static inline int32_t denoiser_null_class(const denoiser *d)
{
    return (int32_t)d->class_count;
}

static inline tensor *denoiser_forward(ctx *c, const denoiser *d, tensor *x, const real t[], const condition *k)
{
    TENSOR_CHECK(d->null_time || !k->null_time, x);
    return d->ops->forward(c, d, x, t, k);
}

/* The condition of the unconditional branch for the same n samples, in the step arena: the null class, the null context; the
 * control stays, and is zeros where there is none. */
condition denoiser_unconditional(ctx *c, const denoiser *d, const condition *k, int64_t n);

/* Gives it the null context of these values [context_tokens, context_width], the host's, in the model arena. */
dt_status denoiser_take_null(ctx *c, denoiser *d, const float *values);

#endif
