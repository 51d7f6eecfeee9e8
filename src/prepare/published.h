/* The published data sets that can be prepared: one row each, with the layouts in which their archives are found. */
#ifndef PREPARE_PUBLISHED_H
#define PREPARE_PUBLISHED_H

#include "prepare/listing.h"

/* One way an archive may look. Paths are below the archive's folder; "a|b" means a, or b where there is no a. A split
 * without its path has no images in this layout. */
typedef struct archive_layout {
    const char *described; /* for people: where the split comes from */
    dt_status (*read)(listing *l, const struct archive_layout *layout, dt_error *err);
    const char *list[LISTING_SPLITS];   /* files that list a split's images; the first one given tells the layout */
    const char *images[LISTING_SPLITS]; /* folders of the images */
    const char *labels, *names;         /* files with the classes of images, and with the names of classes */
    const char *extension;              /* added to what a list says */
    int skipped;                        /* leading folders of a listed path that are not part of the class */
    const char *left_out;               /* a class folder that is no class */
} archive_layout;

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
