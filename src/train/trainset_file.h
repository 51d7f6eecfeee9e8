/* The values of a train set as wholes: in files, and in the place of the weights. Of several ranks (rank/rank.h) rank 0 collects what the
 * others keep, row by row where it goes to a file (train/shared.h). */
#ifndef TRAIN_TRAINSET_FILE_H
#define TRAIN_TRAINSET_FILE_H

#include "train/trainset.h"

/* Exchanges the weights with their averages; a second call exchanges them back. Of several ranks rank 0 does so, and collects the
 * averages. */
void trainset_swap_averages(ctx *c, trainset *set);

/* values[table->count]: those of each row of `table` that trains, NULL for the others. In scratch. */
real *const *trainset_values_in(ctx *c, trainset *set, const params *table, train_values values);

/* sources[kinds * set->count] of values of all rows, kind after kind for each, under their prefix and the weight's name, in f32.
 * Tensors are brought to the host one at a time, when they are written. In scratch. */
dt_status trainset_sources(ctx *c, tensor_source sources[], const trainset *set, const train_values values[],
                           const char *const prefix[], int kinds);

/* Writes those to a file of safetensors. */
dt_status trainset_write(ctx *c, const trainset *set, const char *path, const train_values values[],
                         const char *const prefix[], int kinds, file_hash *hash);

/* Fills values of all rows from a file of trainset_write, or of the whole network. DT_ERR_SHAPE naming what is missing. */
dt_status trainset_read(ctx *c, trainset *set, const char *path, train_values values, const char *prefix);

#endif
