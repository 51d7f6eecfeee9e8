/* Which class each sample is drawn of. */
#ifndef DATA_CLASS_LIST_H
#define DATA_CLASS_LIST_H

#include "model/file/model_info.h"
#include "tensor/tensor.h"

typedef struct class_list {
    int32_t *class; /* [count], in the model arena */
    int64_t count;
    dt_class_order order;
    uint64_t seed;
} class_list;

/* Reads s->classes: names of `info`, numbers and ranges "0-101", parted by commas; nothing: all of 0..class_count-1. Where a
 * class is called by a number that is not its own, numbers are names and nothing else. DT_ERR_ARG names the word that is
 * none of these, or could be two. */
dt_status class_list_read(class_list *l, ctx *c, const dt_settings *s, const model_info *info, int64_t class_count);

/* All of 0..class_count-1 in turn. */
dt_status class_list_all(class_list *l, ctx *c, int64_t class_count);

/* One class for every sample, e.g. the null class. */
dt_status class_list_one(class_list *l, ctx *c, int32_t class);

/* The class of sample `number`: the list in turn, or drawn evenly from it, by seed and number alone. 0 of an empty one. */
int32_t class_list_at(const class_list *l, int64_t number);

#endif
