/* Pictures that two data sets share. */
#ifndef DATA_DUPLICATES_H
#define DATA_DUPLICATES_H

#include "data/dataset.h"

/* How many pictures of `b` are in `a` too, whatever their names: by their pixels at the size that is used, or where those are
 * not in memory by the bytes of their files. Both sets were opened alike. DT_ERR_MEMORY. */
dt_status dataset_count_shared(int64_t *count, const dataset *a, const dataset *b, dt_error *err);

#endif
