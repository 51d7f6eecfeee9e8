/* The segmentation of ControlNet's demo (lllyasviel/ControlNet annotator/uniformer; upernet_global_small.pth): UniFormer-S
 * and UPerNet's head (Xiao et al. 2018), 150 classes of ADE20K, as mmsegmentation 0.x runs them on a whole picture: resized
 * to a short side of 512 (the long one 2048 at most), logits brought to that size and then to the picture's, the greatest one's class.
 *
 * The demo hands the network a picture whose red and blue have changed places, and so does this: labels of a picture that was fed
 * the right way round would be others than those the published ControlNet was trained with. */
#ifndef ANNOTATE_UPERNET_H
#define ANNOTATE_UPERNET_H

#include "model/annotate/uniformer.h"

#define UPERNET_SETTINGS "UniFormer-S and UPerNet, short side 512, red and blue swapped, ADE palette"

enum { UPERNET_CLASSES = 150, UPERNET_POOLS = 4 };

typedef struct upernet {
    uniformer backbone;
    conv_weights pool[UPERNET_POOLS], bottleneck;
    conv_weights lateral[UNIFORMER_STAGES - 1], smooth[UNIFORMER_STAGES - 1], join;
    conv_weights classes;
} upernet;

/* Reads the weights into *net, which it takes from the model arena; below state_dict. or not. Tensors the network does not need are
 * ignored. DT_ERR_SHAPE names file, tensor, expected and found. */
dt_status upernet_open(ctx *c, const void **net, tensor_file *file);

/* label[height,width], from 0 to 149, of rgb[height,width,3]. DT_ERR_SHAPE, with `label` untouched, for a picture more than 64 times as
 * long as it is wide. */
dt_status upernet_labels(ctx *c, const upernet *net, uint8_t *label, const uint8_t *rgb, int64_t height, int64_t width);

/* map[count,3]: the colours of the labels in the ADE palette. Classes 6 and 48 have the same one. */
void upernet_paint(uint8_t *map, const uint8_t *label, int64_t count);

/* The painted labels of a picture. */
dt_status upernet_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

/* What upernet_labels does in turn, for tests: the sides that the network sees, and logits[h,w,150] of a picture prepared to them, of which
 * h and w are a quarter. */
bool upernet_seen_sides(int64_t seen[2], int64_t height, int64_t width);
tensor *upernet_logits(ctx *c, const upernet *net, const uint8_t *rgb, int64_t height, int64_t width);

#endif
