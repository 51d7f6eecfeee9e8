/* Weights of networks on images, read from a file of tensors: convolutions [O,I,H,W] become [O,H,W,I], as op/conv.h
 * wants them. All go into the model arena. A tensor that is missing or of another shape is DT_ERR_SHAPE naming file,
 * tensor, expected and found; after a failure of the context every call does nothing. */
#ifndef FILE_CONV_FILE_H
#define FILE_CONV_FILE_H

#include "container/tensor_file.h"
#include "tensor/tensor.h"

typedef struct conv_file {
    ctx *c;
    const tensor_file *file;
    const char *net; /* for messages, e.g. "SqueezeNet v1.1" */
    bool *used;      /* [file->count] which tensors have been read; NULL: not kept */
} conv_file;

typedef struct conv_weights {
    tensor *weight; /* [O,side_h,side_w,I] */
    tensor *bias;   /* [O]; NULL: none */
} conv_weights;

/* Of a group or layer norm. */
typedef struct norm_weights {
    tensor *weight, *bias; /* [C] */
} norm_weights;

/* Reads `name`.weight and `name`.bias. */
void conv_file_read_norm(const conv_file *f, norm_weights *n, const char *name, int64_t channels);

/* Reads `name`.weight and, with `bias`, `name`.bias. */
void conv_file_read(const conv_file *f, conv_weights *k, const char *name, int64_t outputs, int64_t inputs,
                    int64_t side, bool bias);

/* Reads `name`.conv.weight of shape[4] = O, I, side_h, side_w and folds the batch norm behind it in, `name`.bn.weight,
 * .bias, .running_mean and .running_var: in double, rounded once. A variance that is negative or no number is
 * DT_ERR_FORMAT. */
void conv_file_read_normalised(const conv_file *f, conv_weights *k, const char *name, const int64_t shape[4],
                               double epsilon);

/* The values of a tensor of this shape in the order of the file, in the scratch arena; NULL after a failure. */
float *conv_file_values(const conv_file *f, const char *name, int dim_count, const int64_t dims[]);

/* The same of a 1x1 convolution or linear map `name`, with a bias, behind a batch norm `norm`: w' = w s, b' = b + w (beta - s mean). */
void conv_file_read_behind(const conv_file *f, conv_weights *k, const char *name, const char *norm, int64_t outputs,
                           int64_t inputs, double epsilon);

/* Reads `name`.weight [C,1,side,side] and `name`.bias of op_depthwise: the weight becomes [side,side,C]. */
void conv_file_read_depthwise(const conv_file *f, conv_weights *k, const char *name, int64_t channels, int64_t side);

/* A width as the network needs it: a multiple of `step`, and what it is in the published file. */
typedef struct conv_file_steps {
    int64_t step, published;
} conv_file_steps;

/* Dimension `dim` (from 0) of the tensor `name`, which must be a multiple of the step from 1 to 8192; else DT_ERR_SHAPE, and the published
 * one. */
int64_t conv_file_width(const conv_file *f, const char *name, int dim, conv_file_steps width);

/* A tensor as it stands in the file, of at most 4 dimensions. */
tensor *conv_file_tensor(const conv_file *f, const char *name, int dim_count, const int64_t dims[]);

/* A tensor [count]. */
tensor *conv_file_vector(const conv_file *f, const char *name, int64_t count);

/* A tensor [rows,width]. */
tensor *conv_file_matrix(const conv_file *f, const char *name, int64_t rows, int64_t width);

/* Rows first..first+outputs-1 of weight [..,inputs] and bias [..], from a 1x1 convolution or a linear map `name`. */
void conv_file_rows(const conv_file *f, tensor *weight, tensor *bias, int64_t first, const char *name, int64_t outputs,
                    int64_t inputs);

#endif
