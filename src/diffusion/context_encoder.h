/* What makes contexts of texts, as those see it that keep contexts. */
#ifndef DIFFUSION_CONTEXT_ENCODER_H
#define DIFFUSION_CONTEXT_ENCODER_H

#include "tensor/context.h"

typedef struct context_encoder {
    int64_t tokens, width; /* of a context */
    char sha256[65];       /* hex: what the encoder is, so that contexts of another one are not taken for its own */
    void *user;
    /* context[n,tokens,width] of n texts, the host's; each text's is the same whatever it stands beside */
    dt_status (*encode)(ctx *c, void *user, float *context, const char *const text[], int64_t n);
    /* how many of n texts are too long and were cut; NULL: none ever is */
    dt_status (*count_cut)(ctx *c, void *user, int64_t *cut, const char *const text[], int64_t n);
    void (*close)(void *user); /* what it holds outside the arenas; NULL: nothing */
} context_encoder;

#endif
