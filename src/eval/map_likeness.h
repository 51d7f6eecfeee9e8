/* How like two maps of one picture are (edges, depths, labels): what tells whether a network does what its control says. The paper
 * (Appendix C) takes SSIM of blurred maps for sparse ones (edge, sketch), the mean square error for dense ones (depth, normal), and
 * the share of equal labels for segmentation. It states neither blur nor window: those here are said below. */
#ifndef EVAL_MAP_LIKENESS_H
#define EVAL_MAP_LIKENESS_H

#include "base/error.h"

typedef enum map_measure {
    MAP_SSIM,     /* greater is more alike */
    MAP_MSE,      /* smaller is */
    MAP_ACCURACY, /* greater is */
} map_measure;

static inline bool map_measure_grows(map_measure m)
{
    return m != MAP_MSE;
}

/* The name that reports give it: "SSIM", "MSE", "accuracy". */
const char *map_measure_name(map_measure m);

/* The window of SSIM: a Gaussian of deviation 1.5, cut off at 11 pixels (Wang, Bovik, Sheikh, Simoncelli 2004). */
enum { MAP_SSIM_SIDE = 11 };

/* Maps are blurred by a Gaussian of this deviation in pixels before SSIM: a pixel at 128, in proportion for other sides. */
static inline double map_blur(int64_t height, int64_t width)
{
    return (double)(height < width ? height : width) / 128;
}

/* Mean structural similarity of a and b [height,width] in [0,1], both blurred first by a Gaussian of deviation `blur` (0: not):
 * population moments, K1 0.01, K2 0.03, range 1, over the windows that lie inside. As scikit-image's structural_similarity
 * with gaussian_weights and use_sample_covariance false of SciPy's gaussian_filter (mode nearest, truncate 4). In double.
 * DT_ERR_SHAPE where a side is below MAP_SSIM_SIDE. */
dt_status map_ssim(double *out, const uint8_t *a, const uint8_t *b, int64_t height, int64_t width, double blur,
                   dt_error *err);

/* Mean square of the difference of count bytes, as numbers in [0,1]. */
double map_mse(const uint8_t *a, const uint8_t *b, int64_t count);

/* Share of `pixels` labels, or colours of `channels` bytes each, that are equal. */
double map_accuracy(const uint8_t *a, const uint8_t *b, int64_t pixels, int64_t channels);

/* A row of the paper's table 4: for pictures of 512 pixels the threshold, the steps at which the plain ControlNet and
 * Diff-Tuning reach it, and how many steps were made (section 4.2). */
typedef struct map_published {
    const char *control, *row; /* "canny", "Edge" */
    double threshold, plain, difftuning, steps;
} map_published;

enum { MAP_PUBLISHED = 6 };
extern const map_published map_published_rows[MAP_PUBLISHED];

/* The control's row: the one called `row`, or for another text the control's first one. NULL: the paper has none of it. */
const map_published *map_published_row(const char *control, const char *row);

/* What the setting convergence_threshold says for a control: a number, with "paper" or the name of a row the published one. NaN:
 * it says none, or one of another control. */
double map_threshold(const char *said, const char *control);

/* Whether the text may stand there: "auto" and the above. */
bool map_threshold_is_one(const char *said);

#endif
