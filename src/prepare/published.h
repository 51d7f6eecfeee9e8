/* The published data sets that can be prepared: one row each, with the layouts in which their archives are found. */
#ifndef PREPARE_PUBLISHED_H
#define PREPARE_PUBLISHED_H

#include "prepare/layouts.h"

enum { LAYOUTS_MAX = 3 };

typedef struct published {
    const char *name, *title;
    const char *folder; /* the folder that the archive unpacks to; the user may name it or the one around it */
    dt_data_counts counts;
    archive_layout layout[LAYOUTS_MAX]; /* the first one that is found is taken; unused ones have no `read` */
} published;

extern const published published_sets[];
extern const int published_set_count;

/* DT_ERR_ARG that lists the names. */
dt_status published_find(const published **found, const char *name, dt_error *err);

/* Lists the images of `set` below `folder`: chooses the layout, reads its lists, checks them. DT_ERR_FORMAT names the
 * file and line of what is wrong; where no layout is found, the files that were looked for. */
dt_status published_read(listing *l, const published *set, const char *folder, dt_error *err);

#endif
