/* Readers of the layouts in published.h: each adds a layout's images to a listing. */
#ifndef PREPARE_LAYOUTS_H
#define PREPARE_LAYOUTS_H

#include "prepare/published.h"

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
