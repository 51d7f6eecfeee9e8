/* The Frechet distance between two normal distributions (Dowson and Landau 1982), which Heusel et al. 2017 proposed for
 * image features: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2.
 *
 * With S = Q L Q^T the last trace is the sum of the singular values of L2^1/2 Q2^T Q1 L1^1/2: two symmetric
 * eigendecompositions and one product. No eigenvalue of a product is rooted, so rounding enters as itself and not as
 * its root. Where there are fewer images than feature values the covariances are singular: eigenvalues that are only
 * rounding (negative, or below dim * 2^-52 of the largest) count as zero. pytorch-fid's scipy.linalg.sqrtm differs by
 * about 1e-6 relative, or by its added 1e-6 on the diagonal in the singular case. */
#ifndef EVAL_FRECHET_H
#define EVAL_FRECHET_H

#include <stdint.h>

#include "tensor/context.h"

/* means [D], symmetric covariances [D,D]. *distance >= 0: what rounding leaves below zero is 0. DT_ERR_NUMERIC when an
 * input or the distance is not finite or LAPACK does not converge. LAPACK has its own threads: the last digits may differ between
 * machines. It may be long, and asks whether to go on (ctx_go_on) between its three calls of LAPACK. */
dt_status frechet_distance(ctx *c, double *distance, const double *mean1, const double *covariance1,
                           const double *mean2, const double *covariance2, int64_t dim);

/* Bytes that it takes, LAPACK's included. */
int64_t frechet_bytes(int64_t dim);

/* Whether a matrix [D,D] can be a covariance: finite, symmetric and without a negative eigenvalue, each but for rounding (a
 * millionth of the largest variance; 1e-5 of the largest eigenvalue's bound). DT_ERR_FORMAT says what it is instead; `name` is for
 * the message. */
dt_status frechet_check_covariance(const double *covariance, int64_t dim, const char *name, dt_error *err);

#endif
