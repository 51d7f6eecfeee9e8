/* Pixel difference network (Su et al. 2021; hellozhuo/pidinet) as ControlNet's soft edge uses it: the model of the paper's
 * table 5, configuration carv4 (central, angular, radial differences and a plain convolution in turn), with its modules
 * for dilation and attention. Files of three widths are told apart by their tensors: 60 (pidinet), 30 (small), 20 (tiny).
 *
 * The network sees blue, green, red in 0..1. A difference of pixels times a weight is the same as a plain convolution
 * with other weights; these are made when the file is read. */
#ifndef ANNOTATE_PIDINET_H
#define ANNOTATE_PIDINET_H

#include "model/file/conv_file.h"

enum { PIDINET_STAGES = 4, PIDINET_BLOCKS = 4, PIDINET_TAPS = 33 };
enum { PIDINET_SIDE_MIN = 8 }; /* the last stage has a pixel then */
#define PIDINET_SETTINGS "PiDiNet carv4, BGR"

typedef struct pidinet_block {
    tensor *depthwise;     /* [side,side,inputs] */
    tensor *mix;           /* [outputs,1,1,inputs] */
    conv_weights shortcut; /* of a block that halves its input; else empty */
} pidinet_block;

/* What a stage says of edges. */
typedef struct pidinet_side {
    conv_weights narrow;        /* 1x1, to `width` channels */
    tensor *tap[PIDINET_TAPS];  /* [width,width]: four dilated 3x3 convolutions, summed, pixel by pixel */
    conv_weights squeeze, look; /* of the attention */
    tensor *reduce;             /* [1,1,1,width] */
    float reduce_bias;
} pidinet_side;

typedef struct pidinet {
    int64_t width;                                       /* of the first stage */
    tensor *first;                                       /* [width,3,3,3] */
    pidinet_block block[PIDINET_STAGES][PIDINET_BLOCKS]; /* the first stage has three */
    pidinet_side side[PIDINET_STAGES];
    float fuse[PIDINET_STAGES], fuse_bias;
} pidinet;

/* Reads the published names, after state_dict. and module. too; *net is a pidinet. */
dt_status pidinet_open(ctx *c, const void **net, tensor_file *file);

/* edge[height,width] in 0..1, for the host; the sides are PIDINET_SIDE_MIN at least. */
dt_status pidinet_edges(ctx *c, const pidinet *net, float *edge, const uint8_t *rgb, int64_t height, int64_t width);

/* map[height,width] = the edges times 255, cut to bytes. */
dt_status pidinet_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
