/* Precision and recall of a set of images against a reference (Kynkaanniemi et al. 2019): the share of candidates inside the
 * reference's manifold, and of references inside the candidates'. A set's manifold is the union of balls around its rows,
 * each reaching to its third nearest neighbour in the set. As the ADM evaluator and torch-fidelity compute it; edges
 * belong to the balls.
 *
 * Rows are taken relative to the reference's mean, which changes no distance and keeps digits; products are made in f32 by
 * the engine, distances from them in double. */
#ifndef EVAL_PRECISION_RECALL_H
#define EVAL_PRECISION_RECALL_H

#include "tensor/tensor.h"

enum { PRECISION_RECALL_NEIGHBOURS = 3 };

typedef struct precision_recall_result {
    double precision, recall;
} precision_recall_result;

/* Of candidates y[y_count,dim] against references x[x_count,dim]. With fewer than 4 rows on a side, where no row has three
 * neighbours, both are NaN. */
dt_status precision_recall(precision_recall_result *out, ctx *c, const float *x, int64_t x_count, const float *y,
                           int64_t y_count, int64_t dim);

/* Takes the scratch that it takes and gives it back, in a rehearsal (tensor/rehearsal.h). */
void precision_recall_rehearse(ctx *c, int64_t x_count, int64_t y_count, int64_t dim);

#endif
