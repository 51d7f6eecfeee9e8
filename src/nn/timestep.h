/* A time as numbers that a network can read. */
#ifndef NN_TIMESTEP_H
#define NN_TIMESTEP_H

#include "tensor/tensor.h"

/* [N,width] = [cos(t f) | sin(t f)], f_i = 10000^(-i / half) with half = width / 2: cosine first, divided by the half width, as DiT
 * and Stable Diffusion do it (diffusers: flip_sin_to_cos, freq_shift 0). width is even. */
tensor *timestep_embedding(ctx *c, const real t[], int64_t n, int64_t width);

#endif
