/* What another op needs of op_gelu. */
#ifndef OP_RECORD_H
#define OP_RECORD_H

#include "tensor/tensor.h"

/* Appends the record of y = gelu(x), when it is wanted, to the tape. */
void gelu_record(ctx *c, tensor *y, tensor *x);

#endif
