/* The averages that a run kept on its way (average/power.h), and from them the one of any length at its end.
 *
 * They lie in RUN/averages, each as a file of its own: a model, or an adapter where that is what trained, whose metadata say of
 * which length it is and of how many updates. */
#ifndef AVERAGE_SNAPSHOTS_H
#define AVERAGE_SNAPSHOTS_H

#include "average/power.h"
#include "container/tensor_file.h"

/* In the folder of a run. */
#define SNAPSHOTS_FOLDER "averages"

/* Metadata. */
#define SNAPSHOT_LENGTH  "difftune.average_length"
#define SNAPSHOT_UPDATES "difftune.average_updates"

enum { SNAPSHOT_NAME_MAX = 80 };

/* "step-00001000-0.05.safetensors" */
void snapshot_name(char name[SNAPSHOT_NAME_MAX], int64_t step, double length);

/* What an average was made of. */
typedef struct snapshots_used {
    int64_t updates; /* those of the last snapshot: where the average stands */
    int count, kept; /* that have a share in it, of so many */
    double off;      /* distance of its profile from the wanted one, over that one's norm */
} snapshots_used;

/* Makes the average of this length of a folder's snapshots: *f is a file as the last of them with other values, known by the
 * hash of these, and stays open by itself. On failure *f is empty. DT_ERR_IO where there is no snapshot; DT_ERR_FORMAT for one that
 * does not say what it is, two of the same, and values that are not finite; DT_ERR_SHAPE where their tensors differ. */
dt_status snapshots_open(tensor_file *f, snapshots_used *used, const char *folder, double length, dt_error *err);

#endif
