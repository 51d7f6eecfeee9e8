#include "model/annotate/canny.h"

#include <stdbool.h>
#include <stdlib.h>

enum { TANGENT_BITS = 15, TANGENT_22 = 13573 }; /* tan 22.5 degrees = 0.41421; tan 67.5 degrees is 2 more */
enum { NOTHING, CANDIDATE, EDGE = 255 };        /* what a pixel of the map is meanwhile */

/* A picture's gradients: of the channel where the norm is greatest. */
typedef struct gradients {
    int64_t height, width;
    int16_t *dx, *dy; /* [height,width] */
    int32_t *norm;    /* [height+2,width+2]: |dx| + |dy| with a border of zeros */
} gradients;

static void gradients_alloc(ctx *c, gradients *g, int64_t height, int64_t width)
{
    const size_t pixels = (size_t)(height * width), bordered = (size_t)((height + 2) * (width + 2));
    *g = (gradients){.height = height, .width = width};
    g->dx = arena_alloc(&c->scratch, pixels * sizeof *g->dx, &c->error);
    g->dy = arena_alloc(&c->scratch, pixels * sizeof *g->dy, &c->error);
    g->norm = arena_alloc_zeroed(&c->scratch, bordered * sizeof *g->norm, &c->error);
}

/* Where norm has the pixel (y, x). */
static int64_t norm_place(const gradients *g, int64_t y, int64_t x)
{
    return (y + 1) * (g->width + 2) + x + 1;
}

/* Sobel's 3x3 differences around column x of three rows, columns beyond the picture being its last ones. */
static void fill_pixel(gradients *g, const uint8_t *const row[3], int64_t y, int64_t x)
{
    const int64_t left = 3 * (x > 0 ? x - 1 : 0), right = 3 * (x + 1 < g->width ? x + 1 : x), middle = 3 * x;
    int best = -1, best_x = 0, best_y = 0;
    for (int k = 0; k < 3; k++) {
        int dx = 0, dy = 0;
        for (int i = 0; i < 3; i++) dx += (i == 1 ? 2 : 1) * (row[i][right + k] - row[i][left + k]);
        for (int i = 0; i < 3; i += 2) dy += (i - 1) * (row[i][left + k] + 2 * row[i][middle + k] + row[i][right + k]);
        if (abs(dx) + abs(dy) <= best) continue;
        best = abs(dx) + abs(dy);
        best_x = dx;
        best_y = dy;
    }
    g->dx[y * g->width + x] = (int16_t)best_x;
    g->dy[y * g->width + x] = (int16_t)best_y;
    g->norm[norm_place(g, y, x)] = best;
}

static void gradients_fill(gradients *g, const uint8_t *rgb)
{
    for (int64_t y = 0; y < g->height; y++) {
        const int64_t above = y > 0 ? y - 1 : 0, below = y + 1 < g->height ? y + 1 : y, stride = 3 * g->width;
        const uint8_t *const row[3] = {rgb + above * stride, rgb + y * stride, rgb + below * stride};
        for (int64_t x = 0; x < g->width; x++) fill_pixel(g, row, y, x);
    }
}

/* Whether the norm is greatest along the gradient's direction, which is one of four. */
static bool is_maximum(const gradients *g, int64_t y, int64_t x)
{
    const int64_t stride = g->width + 2;
    const int32_t *at = g->norm + norm_place(g, y, x);
    const int dx = g->dx[y * g->width + x], dy = g->dy[y * g->width + x];
    const int64_t flat = (int64_t)abs(dx) * TANGENT_22, steep = flat + ((int64_t)abs(dx) << (TANGENT_BITS + 1));
    const int64_t rise = (int64_t)abs(dy) << TANGENT_BITS;
    if (rise < flat) return at[0] > at[-1] && at[0] >= at[1];
    if (rise > steep) return at[0] > at[-stride] && at[0] >= at[stride];
    const int64_t side = (dx < 0) != (dy < 0) ? -1 : 1;
    return at[0] > at[-stride - side] && at[0] > at[stride + side];
}

/* Marks candidates, and as edges those above the high threshold, which are put on `stack`; returns their number. */
static int64_t mark_maxima(uint8_t *map, int32_t *stack, const gradients *g)
{
    int64_t count = 0;
    for (int64_t y = 0; y < g->height; y++)
        for (int64_t x = 0; x < g->width; x++) {
            const int64_t place = y * g->width + x;
            const int32_t norm = g->norm[norm_place(g, y, x)];
            map[place] = norm > CANNY_LOW && is_maximum(g, y, x) ? norm > CANNY_HIGH ? EDGE : CANDIDATE : NOTHING;
            if (map[place] == EDGE) stack[count++] = (int32_t)place;
        }
    return count;
}

/* Candidates that touch an edge, by a side or a corner, become edges; each pixel is put on the stack once. */
static void follow_edges(uint8_t *map, int32_t *stack, int64_t count, int64_t height, int64_t width)
{
    while (count > 0) {
        const int64_t place = stack[--count], y = place / width, x = place % width;
        for (int64_t v = y > 0 ? y - 1 : 0; v <= y + 1 && v < height; v++)
            for (int64_t u = x > 0 ? x - 1 : 0; u <= x + 1 && u < width; u++) {
                if (map[v * width + u] != CANDIDATE) continue;
                map[v * width + u] = EDGE;
                stack[count++] = (int32_t)(v * width + u);
            }
    }
}

dt_status canny_annotate(ctx *c, const void *net, uint8_t *map, const uint8_t *rgb, int64_t height, int64_t width)
{
    (void)net;
    gradients g;
    const arena_place mark = arena_mark(&c->scratch);
    gradients_alloc(c, &g, height, width);
    int32_t *stack = arena_alloc(&c->scratch, (size_t)(height * width) * sizeof *stack, &c->error);
    if (!ctx_failed(c)) {
        gradients_fill(&g, rgb);
        const int64_t count = mark_maxima(map, stack, &g);
        follow_edges(map, stack, count, height, width);
        for (int64_t i = 0; i < height * width; i++)
            if (map[i] == CANDIDATE) map[i] = NOTHING;
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
