/* SqueezeNet v1.1 (Iandola et al. 2016; forresti/SqueezeNet) up to fire9, as a feature network: 512 values an image,
 * the averages over positions of fire9's output. Distances in these features are called FD-squeezenet, never FID, which
 * is a distance in the features of one Inception v3 network.
 *
 * Pictures of another size than 227 x 227 are resized as Pillow does it (bicubic, widened when shrinking); then blue,
 * green, red minus 104, 117, 123. Poolings are 3 x 3 with stride 2, the last window over the edge. */
#ifndef FEATURE_SQUEEZENET_H
#define FEATURE_SQUEEZENET_H

#include "model/file/conv_file.h"

enum { SQUEEZENET_SIDE = 227, SQUEEZENET_FEATURES = 512, SQUEEZENET_FIRES = 8 };

typedef struct squeezenet_fire {
    conv_weights squeeze, expand1, expand3;
} squeezenet_fire;

typedef struct squeezenet {
    conv_weights conv1;
    squeezenet_fire fire[SQUEEZENET_FIRES]; /* fire2 to fire9 */
} squeezenet;

/* Reads weights from any container of container/tensor_file.h, named conv1.weight [O,I,H,W], conv1.bias, fire2.squeeze1x1.weight,
 * fire2.expand1x1.weight, fire2.expand3x3.weight and so on to fire9; others (conv10) are ignored. They live in the
 * model arena. DT_ERR_SHAPE names file, tensor, expected and found. */
dt_status squeezenet_open(ctx *c, squeezenet *net, const char *path);

/* features[n,512] of 8-bit pictures rgb[n,side,side,3]. Always in f32, whatever the context trains in; a picture's
 * features do not depend on the others. */
dt_status squeezenet_features(ctx *c, float *features, const squeezenet *net, const uint8_t *rgb, int64_t n,
                              int64_t side);

#endif
