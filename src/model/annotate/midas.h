/* MiDaS' DPT-hybrid (Ranftl et al. 2021, "Vision Transformers for Dense Prediction"; isl-org/MiDaS, and lllyasviel/ControlNet
 * annotator/midas, whose file dpt_hybrid-midas-501f0c75.pt this reads): inverse depth of one picture. Checked against those sources and
 * timm's vit_base_resnet50_384.
 *
 * A ResNet-50 without its last stage (weight-standardised convolutions with a border as TensorFlow's SAME, so that with stride 2
 * there is more of it below and to the right; GroupNorm of 32 groups, epsilon 1e-5) makes the patches of a ViT-B. Its first two stages and
 * the ViT's blocks 9 and 12 (before the last norm) are tapped; RefineNet-like fusion goes from coarse to fine. Widths come from the
 * shapes in the file, depths, groups and the width of a head are the published ones. */
#ifndef ANNOTATE_MIDAS_H
#define ANNOTATE_MIDAS_H

#include "model/annotate/attention_block.h"

#define MIDAS_SETTINGS "DPT-hybrid, sides of multiples of 64"

enum { MIDAS_PIXEL_BYTES = 7000 }; /* about what a depth takes of memory */

enum {
    MIDAS_STAGES = 3,
    MIDAS_BOTTLENECKS = 16,
    MIDAS_BLOCKS = 12,
    MIDAS_TAPS = 4,
    MIDAS_GROUPS = 32,
    MIDAS_HEAD_WIDTH = 64
};

/* Of the ResNet. */
typedef struct midas_bottleneck {
    conv_weights conv[3], shortcut; /* shortcut: of a stage's first one only */
    norm_weights norm[3], shortcut_norm;
    int64_t stride;
} midas_bottleneck;

typedef struct midas_fusion {
    conv_weights skip[2], own[2]; /* two residual units of two convolutions; the coarsest fusion has no skip */
    conv_weights out;
} midas_fusion;

typedef struct midas {
    conv_weights stem;
    norm_weights stem_norm;
    midas_bottleneck bottleneck[MIDAS_BOTTLENECKS];
    conv_weights embedding;
    tensor *class_token;                      /* [1,1,D] */
    tensor *position;                         /* [1,1+G^2,D]: that of the class token, then those of a grid */
    attention_block block[MIDAS_BLOCKS];      /* of the ViT */
    conv_weights readout[2], widen[2], halve; /* of the ViT's two taps */
    conv_weights rn[MIDAS_TAPS];
    midas_fusion fusion[MIDAS_TAPS]; /* from fine to coarse */
    conv_weights head[3];
} midas;

/* Reads the weights into *net, which it takes from the model arena. Tensors the network does not need are ignored. DT_ERR_SHAPE names file,
 * tensor, expected and found. */
dt_status midas_open(ctx *c, const void **net, tensor_file *file);

/* depth[height,width] of rgb[height,width,3]: inverse depth, 0 far away, on no fixed scale. A picture is seen as it is where both sides are
 * multiples of 32; else it is resized bilinearly to the nearest multiples of 64, and the depth back. */
dt_status midas_depth(ctx *c, const midas *net, float *depth, const uint8_t *rgb, int64_t height, int64_t width);

typedef struct depth_range {
    float least, extent;
} depth_range;

depth_range depth_range_of(const float *depth, int64_t count);

/* Where in [0,1] a depth lies; 0 where all are the same. */
static inline float depth_within(float depth, depth_range range)
{
    return range.extent > 0 ? (depth - range.least) / range.extent : 0;
}

/* map[count]: a depth as ControlNet's demo draws it, the least 0, the greatest 255, the rest truncated. */
void midas_bytes(uint8_t *map, const float *depth, int64_t count);

/* map[height,width]: that of a picture; `net` is that of midas_open. */
dt_status midas_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
