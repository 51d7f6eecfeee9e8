/* Which control picture belongs to which picture of a data set. Private to src/data. */
#ifndef DATA_DATASET_CONTROLS_H
#define DATA_DATASET_CONTROLS_H

#include "data/dataset_source.h"

typedef struct control_plan {
    source from; /* its files are the control pictures that are wanted, each once */
    int64_t *of; /* [pictures] the number of its control picture among them; -1: none */
} control_plan;

/* `folder`: a folder, tar or zip beside the pictures, in which the picture cat/1.jpg has the control cat/1.EXTENSION; where the
 * pictures' names begin with a split or a folder that holds all (`prefix` characters), also without that. Empty or NULL: what the
 * lists of the data set say (dataset_told.h). DT_ERR_FORMAT where not one picture has a control picture. On failure *p may only be
 * closed. */
dt_status control_plan_make(control_plan *p, const source *pictures, size_t prefix, const char *folder,
                            dataset_report *report, dt_error *err);
void control_plan_close(control_plan *p);

#endif
