#include "eval/eval_values.h"

#define VALUE(name) #name, offsetof(dt_eval_result, name)

const struct eval_value eval_values[EVAL_VALUES] = {
    {VALUE(frechet_distance)},
    {VALUE(kernel_distance)},
    {VALUE(kernel_distance_std)},
    {VALUE(precision)},
    {VALUE(recall)},
    {VALUE(spatial_frechet_distance)},
    {VALUE(inception_score)},
    {VALUE(inception_score_std)},
    {VALUE(copied)},
    {VALUE(copied_held_out)},
    {VALUE(nearest_ratio)},
};
