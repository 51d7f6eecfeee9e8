/* Holistically-nested edge detection (Xie and Tu 2015) as ControlNet has it: a VGG-like network of its own weights
 * (ControlNetHED.pth, 37 tensors, 14,716,168 numbers) that sees red, green, blue 0..255 and gives five maps of logits, from the
 * picture's own size down to a sixteenth. */
#ifndef ANNOTATE_HED_H
#define ANNOTATE_HED_H

#include "model/file/conv_file.h"

enum { HED_BLOCKS = 5, HED_CONVS_MAX = 3 };
enum { HED_SIDE_MIN = 16 }; /* the last map has a pixel then */
#define HED_SETTINGS "ControlNetHED"

typedef struct hed {
    float norm[3]; /* taken from the picture */
    struct {
        conv_weights conv[HED_CONVS_MAX], projection;
    } block[HED_BLOCKS];
} hed;

/* Reads norm, block1..5.convs.0.. and .projection, after netNetwork. or state_dict. too; *net is a hed. */
dt_status hed_open(ctx *c, const void **net, tensor_file *file);

/* logit[b] = [1,height >> b,width >> b,1] in the step arena, NULL after a failure; the sides are HED_SIDE_MIN at least. */
void hed_forward(ctx *c, const hed *net, tensor *logit[HED_BLOCKS], const uint8_t *rgb, int64_t height, int64_t width);

/* map[height,width] of logits logit[b] = [height >> b,width >> b]: each brought to full size (maps_enlarge), their mean in
 * float, its sigmoid in double, times 255 and cut to a byte. Works in the scratch arena. */
dt_status hed_map(ctx *c, uint8_t *map, const float *const logit[HED_BLOCKS], int64_t height, int64_t width);

/* map[height,width], 0 no edge to 255, of a picture. */
dt_status hed_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width);

#endif
