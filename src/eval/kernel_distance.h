/* The kernel distance (KID; Binkowski, Sutherland, Arbel, Gretton 2018): the unbiased estimate of the squared maximum
 * mean discrepancy under the kernel (x.y / dim + 1)^3, over random subsets. Unlike the Frechet distance its expectation
 * does not depend on the number of images; it may be negative.
 *
 * As torch-fidelity and clean-fid compute it: subsets drawn without replacement, diagonals left out of both inner sums,
 * mean and population standard deviation over subsets. Inner products are made in f32 by the engine (the features are
 * f32), everything after them in double. */
#ifndef EVAL_KERNEL_DISTANCE_H
#define EVAL_KERNEL_DISTANCE_H

#include "tensor/tensor.h"

enum { KERNEL_DISTANCE_SUBSETS = 100, KERNEL_DISTANCE_SUBSET_SIZE = 1000 };

typedef struct kernel_distance_result {
    double mean, std;    /* over subsets; std divides by their number */
    int64_t subset_size; /* min(KERNEL_DISTANCE_SUBSET_SIZE, x_count, y_count) */
} kernel_distance_result;

/* Between features x[x_count,dim] and y[y_count,dim]. `seed` chooses the subsets; same seed, same bits. Fewer than two
 * rows on a side are DT_ERR_ARG; features that are not finite are DT_ERR_NUMERIC. */
dt_status kernel_distance(kernel_distance_result *out, ctx *c, const float *x, int64_t x_count, const float *y,
                          int64_t y_count, int64_t dim, uint64_t seed);

/* Takes the scratch that it takes and gives it back, in a rehearsal (tensor/rehearsal.h). */
void kernel_distance_rehearse(ctx *c, int64_t x_count, int64_t y_count, int64_t dim);

#endif
