/* What the tape does with the pass arena; ops see only tensor.h. */
#ifndef TENSOR_PASS_H
#define TENSOR_PASS_H

#include "tensor/tensor.h"

/* Gives t's gradient back for another tensor of the same size, unless it has none or one of its own elsewhere. */
void pass_release_gradient(ctx *c, tensor *t);

/* Gives all blocks back; tensors that still point to one must not be used. */
void pass_release_all(ctx *c);

#endif
