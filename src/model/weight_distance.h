/* How far weights are from others, as sums of squared differences: whole, by kind of layer and by block. The paper (section 4.3,
 * figure 5) calls the sum over tunable weights EWC, and reads it as what was forgotten. */
#ifndef MODEL_WEIGHT_DISTANCE_H
#define MODEL_WEIGHT_DISTANCE_H

#include <jansson.h>
#include <stdint.h>

enum { DISTANCE_KINDS_MAX = 16, DISTANCE_BLOCKS_MAX = 1024 };

typedef struct distance_part {
    const char *kind; /* of layer; NULL: of the whole and of blocks */
    double squares;
    int64_t values;
} distance_part;

typedef struct weight_distance {
    distance_part whole, kind[DISTANCE_KINDS_MAX], block[DISTANCE_BLOCKS_MAX];
    int kinds, blocks;
    int64_t left_out; /* values without a counterpart */
} weight_distance;

/* Adds a row of that name. */
void weight_distance_add(weight_distance *d, const char *name, double squares, int64_t values);

/* Squares over values; 0 of none. */
double distance_per_value(const distance_part *p);

/* {"squares", "distance" (the root), "values", "per_value", "left_out", "kinds": {"attention": {..}, ..},
 * "blocks": [{..}, ..]}; NULL when memory is short. */
json_t *weight_distance_json(const weight_distance *d);

#endif
