/* Rows that train, among several ranks (rank/rank.h): every rank has all weights and makes the gradients of its samples; of the
 * optimiser's numbers (moments, averages) each keeps an equal part of all values, as ZeRO-1 does (Rajbhandari and others, 2020), and
 * updates the weights of that part. Rows are parted where the count wants it.
 *
 * Gradients are added up in a fixed order, the owner's first, then by rank: the same bits for the same number of ranks. Alone all of
 * this does nothing. */
#ifndef TRAIN_SHARED_H
#define TRAIN_SHARED_H

#include "rank/rank.h"
#include "train/trainset.h"

/* Behind the passes of a step: the gradient of each value, where its owner has it, becomes the sum of all ranks'. */
void shared_sum_gradients(ctx *c, trainset *set);

/* Behind an update: every rank gets the weights that the others own. */
void shared_spread_weights(ctx *c, trainset *set);

/* Takes the memory of both and gives it back (tensor/rehearsal.h). */
void shared_rehearse(ctx *c, const trainset *set);

/* Rank 0 gets the values of all rows from the others, which are told so and answer by shared_give: into the memory of the gradients,
 * which are empty between steps. */
void shared_collect(ctx *c, trainset *set, train_values values);

/* The same of one row, which is put there. *err is the context's. */
dt_status shared_collect_row(ctx *c, const trainset *set, real *to, int row, train_values values);

/* Another rank's answer to RANK_COLLECT. */
dt_status shared_give(ctx *c, const trainset *set, const rank_order *order);

#endif
