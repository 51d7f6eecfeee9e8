#include "model/annotate/normal.h"

#include <math.h>

#define BACKGROUND 0.4F
#define THIRD_PART 6.28318530717958647692F

/* Position at - 1 or at + 1 of a side; beyond its ends mirrored at the last pixel's middle. */
static int64_t beside(int64_t at, int64_t step, int64_t size)
{
    if (size == 1) return 0;
    const int64_t next = at + step;
    return next < 0 ? 1 : next == size ? size - 2 : next;
}

/* Sums are made in OpenCV's order: the outer two, then the middle one. */
static float smooth(float before, float middle, float after)
{
    return before + after + 2 * middle;
}

void normal_of_depth(uint8_t *map, const float *depth, int64_t height, int64_t width)
{
    const depth_range range = depth_range_of(depth, height * width);
    for (int64_t y = 0; y < height; y++) {
        const float *middle = depth + y * width, *above = depth + beside(y, -1, height) * width;
        const float *below = depth + beside(y, 1, height) * width;
        for (int64_t x = 0; x < width; x++, map += 3) {
            const int64_t l = beside(x, -1, width), r = beside(x, 1, width);
            const bool background = depth_within(middle[x], range) < BACKGROUND;
            const float right =
                background ? 0 : smooth(above[r] - above[l], middle[r] - middle[l], below[r] - below[l]);
            const float down =
                background ? 0 : smooth(below[l], below[x], below[r]) - smooth(above[l], above[x], above[r]);
            const float square = right * right + down * down, length = sqrtf(square + THIRD_PART * THIRD_PART);
            const float part[3] = {THIRD_PART / length, down / length, right / length};
            for (int k = 0; k < 3; k++) map[k] = (uint8_t)(part[k] * 127.5F + 127.5F);
        }
    }
}

dt_status normal_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    const arena_place mark = arena_mark(&c->scratch);
    float *depth = arena_alloc(&c->scratch, (size_t)(height * width) * sizeof *depth, &c->error);
    if (depth && midas_depth(c, net, depth, rgb, height, width) == DT_OK) normal_of_depth(map, depth, height, width);
    arena_release(&c->scratch, mark);
    return c->error.status;
}
