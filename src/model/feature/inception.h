/* Inception v3 in the variant that the Frechet Inception Distance is defined by (Szegedy et al. 2016; Heusel et al. 2017):
 * TensorFlow's graph of 2015-12-05, in PyTorch's names. Checked against pytorch-fid (mseitzer/pytorch-fid).
 *
 * Unlike torchvision's network: average poolings inside the units leave the border out, the last unit pools by maximum,
 * there are 1008 classes and no auxiliary ones. Batch norms (epsilon 1e-3) are folded into the convolutions when they are
 * read, in double. */
#ifndef FEATURE_INCEPTION_H
#define FEATURE_INCEPTION_H

#include "image/image.h"
#include "model/file/conv_file.h"

enum {
    INCEPTION_SIDE = 299,
    INCEPTION_FEATURES = 2048, /* the mean over positions of the last unit's output */
    INCEPTION_SPATIAL = 2023,  /* 17 x 17 positions of 7 channels, for sFID */
    INCEPTION_CLASSES = 1008,
    INCEPTION_CONVOLUTIONS = 94,
};

typedef struct inception {
    conv_weights convolution[INCEPTION_CONVOLUTIONS]; /* in the order of the table in inception.c */
    conv_weights classes;
} inception;

/* Reads pt_inception-2015-12-05-6726825d.pth, or the same names in another container of container/tensor_file.h:
 * Conv2d_1a_3x3.conv.weight, Conv2d_1a_3x3.bn.weight, .bias, .running_mean, .running_var, .. Mixed_7c.branch_pool, and
 * fc.weight, fc.bias; others are ignored. They live in the model arena. DT_ERR_SHAPE names file, tensor, expected and
 * found; a negative variance is DT_ERR_FORMAT. */
dt_status inception_open(ctx *c, inception *net, const char *path);

/* Makes the network's input x[299,299,3] of a picture; the three published ways differ by up to a few percent in FID.
 * Safe to call from several threads. */
dt_status inception_prepare(float *x, const image *picture, dt_inception_resize resize, dt_error *err);

/* pool[n,2048] and spatial[n,2023] (row, column, channel; NULL: not wanted) of prepared inputs x[n,299,299,3]: the first 7
 * channels of Mixed_6d.branch1x1, which TensorFlow's graph calls mixed_6/conv. Always in f32; a picture's features do
 * not depend on the others. Takes about 40 MB of memory for each of the n. */
dt_status inception_features(ctx *c, float *pool, float *spatial, const inception *net, const float *x, int64_t n);

/* logits[n,1008] of features pool[n,2048], with or without the bias of the classes. */
dt_status inception_logits(ctx *c, float *logits, const inception *net, const float *pool, int64_t n, bool with_bias);

#endif
