#include "eval/map_likeness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define WINDOW_DEVIATION 1.5

const char *map_measure_name(map_measure m)
{
    static const char *const name[] = {"SSIM", "MSE", "accuracy"};
    return name[m];
}

/* ---- Gaussian filters ---- */

enum { RADIUS_MAX = 1 << 10 };

typedef struct gaussian {
    int radius;
    double weight[RADIUS_MAX + 1]; /* of the pixel itself and of those on either side */
} gaussian;

/* Radius as SciPy rounds it. */
static void gaussian_open(gaussian *g, double deviation, double truncate)
{
    double sum = 0;
    g->radius = (int)fmin(truncate * deviation + 0.5, RADIUS_MAX);
    for (int i = 0; i <= g->radius; i++) {
        g->weight[i] = exp(-0.5 * i * i / (deviation * deviation));
        sum += i ? 2 * g->weight[i] : g->weight[i];
    }
    for (int i = 0; i <= g->radius; i++) g->weight[i] /= sum;
}

static int64_t clamp(int64_t i, int64_t count)
{
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

/* y = x filtered along lines of `count` values `step` apart; beyond the ends stands the last value. */
static void filter_lines(double *y, const double *x, const gaussian *g, int64_t lines, int64_t line_step, int64_t count,
                         int64_t step)
{
    for (int64_t line = 0; line < lines; line++) {
        const double *from = x + line * line_step;
        for (int64_t i = 0; i < count; i++) {
            double sum = g->weight[0] * from[i * step];
            for (int k = 1; k <= g->radius; k++)
                sum += g->weight[k] * (from[clamp(i - k, count) * step] + from[clamp(i + k, count) * step]);
            y[line * line_step + i * step] = sum;
        }
    }
}

/* x[height,width] in its place; `between` has the same room. */
static void filter(double *x, double *between, const gaussian *g, int64_t height, int64_t width)
{
    filter_lines(between, x, g, width, 1, height, width);
    filter_lines(x, between, g, height, width, width, 1);
}

/* ---- structural similarity ---- */

static double similarity(double ma, double mb, double aa, double bb, double ab)
{
    static const double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
    return (2 * ma * mb + c1) * (2 * (ab - ma * mb) + c2) /
           ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2));
}

enum { MEAN_A, MEAN_B, SQUARE_A, SQUARE_B, PRODUCT, BETWEEN, PLANES };

/* Over the pixels whose windows lie inside. */
static double mean_similarity(double *const plane[PLANES], int64_t height, int64_t width)
{
    const int64_t edge = MAP_SSIM_SIDE / 2;
    double sum = 0;
    for (int64_t row = edge; row < height - edge; row++)
        for (int64_t i = row * width + edge; i < (row + 1) * width - edge; i++)
            sum += similarity(plane[MEAN_A][i], plane[MEAN_B][i], plane[SQUARE_A][i], plane[SQUARE_B][i],
                              plane[PRODUCT][i]);
    return sum / (double)((height - 2 * edge) * (width - 2 * edge));
}

static void fill(double *const plane[PLANES], const uint8_t *a, const uint8_t *b, int64_t height, int64_t width,
                 double blur)
{
    const int64_t count = height * width;
    gaussian g;
    for (int64_t i = 0; i < count; i++) {
        plane[MEAN_A][i] = a[i] / 255.0;
        plane[MEAN_B][i] = b[i] / 255.0;
    }
    if (blur > 0) {
        gaussian_open(&g, blur, 4);
        for (int i = MEAN_A; i <= MEAN_B; i++) filter(plane[i], plane[BETWEEN], &g, height, width);
    }
    for (int64_t i = 0; i < count; i++) {
        const double x = plane[MEAN_A][i], y = plane[MEAN_B][i];
        plane[SQUARE_A][i] = x * x;
        plane[SQUARE_B][i] = y * y;
        plane[PRODUCT][i] = x * y;
    }
}

dt_status map_ssim(double *out, const uint8_t *a, const uint8_t *b, int64_t height, int64_t width, double blur,
                   dt_error *err)
{
    if (height < MAP_SSIM_SIDE || width < MAP_SSIM_SIDE)
        return error_set(err, DT_ERR_SHAPE, "SSIM needs maps of %dx%d pixels or more, found %lldx%lld", MAP_SSIM_SIDE,
                         MAP_SSIM_SIDE, (long long)width, (long long)height);
    const size_t count = (size_t)(height * width);
    double *memory = malloc(count * PLANES * sizeof *memory), *plane[PLANES];
    if (!memory) return error_set(err, DT_ERR_MEMORY, "no memory to compare maps of %zu pixels", count);
    for (int i = 0; i < PLANES; i++) plane[i] = memory + (size_t)i * count;
    gaussian window;
    gaussian_open(&window, WINDOW_DEVIATION, (MAP_SSIM_SIDE / 2) / WINDOW_DEVIATION);
    fill(plane, a, b, height, width, blur);
    for (int i = MEAN_A; i <= PRODUCT; i++) filter(plane[i], plane[BETWEEN], &window, height, width);
    *out = mean_similarity(plane, height, width);
    free(memory);
    return DT_OK;
}

/* ---- the others ---- */

double map_mse(const uint8_t *a, const uint8_t *b, int64_t count)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)sum / (255.0 * 255.0) / (double)count;
}

double map_accuracy(const uint8_t *a, const uint8_t *b, int64_t pixels, int64_t channels)
{
    int64_t equal = 0;
    for (int64_t i = 0; i < pixels; i++) equal += memcmp(a + channels * i, b + channels * i, (size_t)channels) == 0;
    return (double)equal / (double)pixels;
}

/* ---- what the paper has ---- */

const map_published map_published_rows[MAP_PUBLISHED] = {
    {"canny", "Edge", 0.55, 6700, 5300, 15000},  {"sketch", "Sketch", 0.75, 3800, 3200, 5000},
    {"depth", "Depth", 0.04, 9900, 8800, 15000}, {"normal", "Normal", 0.06, 10300, 7800, 15000},
    {"seg", "Seg-COCO", 0.5, 9200, 6300, 15000}, {"seg", "Seg-ADE", 0.4, 13900, 8300, 20000},
};

const map_published *map_published_row(const char *control, const char *row)
{
    const map_published *first = NULL;
    for (const map_published *p = map_published_rows; p < map_published_rows + MAP_PUBLISHED; p++) {
        if (strcmp(p->control, control) != 0) continue;
        if (!strcmp(p->row, row)) return p;
        if (!first) first = p;
    }
    return first;
}

static bool names_a_row(const char *said)
{
    for (int i = 0; i < MAP_PUBLISHED; i++)
        if (!strcmp(map_published_rows[i].row, said)) return true;
    return false;
}

double map_threshold(const char *said, const char *control)
{
    double value;
    if (text_read_numbers(&value, 1, said) == 1) return value;
    const map_published *p = map_published_row(control, said);
    const bool wanted = p && (!strcmp(said, "paper") || !strcmp(said, p->row));
    return wanted ? p->threshold : (double)NAN;
}

bool map_threshold_is_one(const char *said)
{
    double value;
    return !strcmp(said, "auto") || !strcmp(said, "paper") || names_a_row(said) ||
           text_read_numbers(&value, 1, said) == 1;
}
