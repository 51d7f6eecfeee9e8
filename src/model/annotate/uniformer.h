/* UniFormer-S (Li et al. 2022; Sense-X/UniFormer, and lllyasviel/ControlNet annotator/uniformer) as the backbone of a segmentation: four
 * stages of halving size, blocks of convolutions in the first two, of global self-attention in the last two. Batch norms (epsilon
 * 1e-5) are folded into the 1x1 convolutions behind them. Layer norms have epsilon 1e-6, those of the patch embeddings 1e-5. Widths come
 * from the shapes in the file; depths and the width of a head are the published ones of upernet_global_small.pth. */
#ifndef ANNOTATE_UNIFORMER_H
#define ANNOTATE_UNIFORMER_H

#include "model/annotate/attention_block.h"

enum { UNIFORMER_STAGES = 4, UNIFORMER_BLOCKS = 18, UNIFORMER_HEAD_WIDTH = 64, UNIFORMER_PATCH = 32 };

typedef struct uniformer_block {
    conv_weights position; /* depth-wise 3x3 */
    /* of convolutions: 1x1, depth-wise 5x5, 1x1 */
    conv_weights before, local, after;
    attention_block own; /* of convolutions its fc1 and fc2 alone */
} uniformer_block;

typedef struct uniformer_stage {
    conv_weights patch; /* a convolution as wide as its stride */
    norm_weights patch_norm, norm_out;
    uniformer_block *block;
    int count;
    bool attends;
} uniformer_stage;

typedef struct uniformer {
    int64_t width[UNIFORMER_STAGES];
    uniformer_stage stage[UNIFORMER_STAGES];
    uniformer_block block[UNIFORMER_BLOCKS];
} uniformer;

/* Reads the weights, named backbone.patch_embed1.proj.weight and so on, into the model arena. */
void uniformer_read(const conv_file *f, uniformer *net);

/* level[4]: what the stages make of x[1,H,W,3], of a quarter of its sides, an eighth, a 16th and a 32nd, rounded down. Sides are
 * UNIFORMER_PATCH at least. */
void uniformer_forward(ctx *c, const uniformer *net, tensor *level[UNIFORMER_STAGES], tensor *x);

#endif
