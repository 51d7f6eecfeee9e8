/* The ways in which an archive may look, and their readers: each adds a layout's images to a listing. */
#ifndef PREPARE_LAYOUTS_H
#define PREPARE_LAYOUTS_H

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

/* SPLIT/CLASS/FILE: `images` is each split's folder. Also for one folder of classes without a split. */
dt_status layout_read_folders(listing *l, const archive_layout *layout, dt_error *err);

/* A list per split, a line per image: its path below `images` without the extension; its folders are the class. */
dt_status layout_read_lists(listing *l, const archive_layout *layout, dt_error *err);

/* Lines of an image's number and: its path (list), 1 for train (list of test), its class's number (labels); and lines of
 * a class's number and name (names). */
dt_status layout_read_index(listing *l, const archive_layout *layout, dt_error *err);

/* A table per split with columns image_path, class_id and scientificName or species (labels: not used). */
dt_status layout_read_csv(listing *l, const archive_layout *layout, dt_error *err);

/* Numbers of images per split in a .mat file (trnid, valid, tstid), and the class of each image in another (labels). */
dt_status layout_read_mat_numbers(listing *l, const archive_layout *layout, dt_error *err);

/* A .mat file per split with a structure `annotations` of fname and class, and one with class_names (names). */
dt_status layout_read_mat_annotations(listing *l, const archive_layout *layout, dt_error *err);

#endif
