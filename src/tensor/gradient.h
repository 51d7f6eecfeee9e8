/* What the tape does with gradient buffers; ops see only tensor.h. */
#ifndef TENSOR_GRADIENT_H
#define TENSOR_GRADIENT_H

#include "tensor/tensor.h"

/* Gives t's buffer back for another tensor of the same size, unless it has none or one of its own elsewhere. */
void gradient_release(ctx *c, tensor *t);

/* Gives all buffers back; tensors that still point to one must not be used. */
void gradient_release_all(ctx *c);

#endif
