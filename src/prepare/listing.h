/* The images of a data set as its own lists have them: split, class and file of each. */
#ifndef PREPARE_LISTING_H
#define PREPARE_LISTING_H

#include "base/error.h"

typedef enum listing_split { LISTING_TRAIN, LISTING_VALIDATION, LISTING_TEST, LISTING_SPLITS } listing_split;

/* Names of the split folders, which are those that data sets are opened by. */
extern const char *const listing_split_name[LISTING_SPLITS];

typedef struct listed_image {
    listing_split split;
    const char *class_name; /* a folder's name */
    const char *path;       /* below root, components parted by one slash */
    const char *file;       /* the last component of path */
} listed_image;

typedef struct listing {
    char root[DT_PATH_MAX]; /* absolute, without links */
    char inner[64];         /* "folder/" where the archive's own folder lies in root, else "" */
    listed_image *image;    /* by split, class and file once it is checked */
    int64_t count;
    const char *described; /* of the layout taken */
    int64_t missing;       /* listed images that are not there, left out */
    char first_missing[DT_PATH_MAX];
    /* owned */
    void *classes;              /* a tree (tsearch) of those met so far */
    struct listing_text *texts; /* where paths lie */
} listing;

/* `folder` must exist; `inner` (may be "") is looked for in it. */
dt_status listing_open(listing *l, const char *folder, const char *inner, dt_error *err);
void listing_close(listing *l);

/* The first of "a|b|c" that exists, in the archive's own folder or beside it, as a path below root; false: none. */
bool listing_locate(char below_root[DT_PATH_MAX], const listing *l, const char *choices);

/* Adds one image. `images` is a folder below root ("": root itself). A path that is absolute or has "..", empty or
 * hidden components, and a class that no folder can be named after, are DT_ERR_FORMAT with `where` (a file, and line)
 * in front. Slashes in a class name become hyphens; two classes that would then have one folder are DT_ERR_FORMAT too. */
dt_status listing_add(listing *l, listing_split split, const char *class_name, const char *images, const char *path,
                      const char *where, dt_error *err);

/* Sorts; leaves out and counts what is not there. DT_ERR_FORMAT: two images of one class and split with one file name;
 * no image at all; none to train on. */
dt_status listing_check(listing *l, dt_error *err);

dt_data_counts listing_counts(const listing *l);

/* Makes output/SPLIT/CLASS/FILE, each a symbolic link to its image, and output/data_set.json, which says what it is.
 * The folder appears when it is whole. The same folder again is left as it is (*made false); a folder that holds
 * anything else, or that another process is making, is DT_ERR_CONFLICT. `watch` (may be NULL) is called now and then;
 * false stops with DT_ERR_INTERRUPTED, and the same call goes on. */
dt_status listing_link(const listing *l, const char *name, const char *output,
                       bool (*watch)(void *user, int64_t done, int64_t count), void *user, bool *made, dt_error *err);

#endif
