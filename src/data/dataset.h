/* A data set: a folder, tar or zip of class folders, decoded, cropped and held in memory as bytes.
 *
 * The rules are those of torchvision's ImageFolder: the classes are the sub-folders in byte order of their names, the
 * images of a class are all below it, ordered by (folder, name), chosen by extension (IMAGE_EXTENSIONS, in any case).
 * Beyond ImageFolder: hidden folders and what operating systems leave (__MACOSX, ._name, Thumbs.db) are passed over;
 * pictures without any class folder are one class called "all"; leading folders that hold everything are dropped, so
 * that a folder, an archive of it and an archive of what is in it are the same data set; and where the class level holds
 * nothing but names of splits (train, training, val, valid, validation, dev, test, testing, in any case), one of them is taken:
 * what follows the last colon of the path ("set.tar.xz:val"), else the one for training, or for held-out data the one for
 * validation, else for test.
 *
 * Where there are files KEY.cls, as in tars of WebDataset, folders are no classes: the picture KEY.jpg is of the class whose
 * number or name KEY.cls holds, and the classes are those that are named, by number where all are numbers, else in byte order.
 *
 * Names of classes are UTF-8. What is passed over is listed in the report, never silently. */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <jansson.h>

#include "data/dataset_report.h"
#include "image/image.h"

/* What a file held before it became a square of RGB. */
typedef struct dataset_origin {
    image_origin image;
    int64_t width, height; /* upright, before the crop */
} dataset_origin;

enum { DATASET_CONTENT = 32 };

typedef struct dataset_file {
    uint8_t content[DATASET_CONTENT]; /* SHA-256 of the file's bytes */
    dataset_origin origin;
    int64_t number, count; /* how many files of how many in all were handed over before */
} dataset_file;

/* Who takes the images one after the other instead of memory. Called by the thread that opens the data set, in an order
 * that depends on the data alone. */
typedef struct dataset_taker {
    void *user;
    /* Whether what becomes of such a file is known, which is then not decoded; fills in its origin. */
    bool (*knows)(void *user, dataset_file *file);
    /* Takes the square rgb[R,R,3] of a file that was not known. A failure ends the opening with its status. */
    dt_status (*take)(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err);
} dataset_taker;

/* What else is wanted of a data set than pictures and classes: the rules are told in dataset_told.h. */
typedef struct dataset_wants {
    const char *default_prompt; /* for pictures without a caption; NULL: captions are not wanted */
    /* Takes the control pictures, before the pictures and cropped as they are: its file's number counts control pictures. NULL: they are
     * not wanted. */
    const dataset_taker *control_taker;
    const char
        *control_folder; /* of pictures of the same names; empty or NULL: the data set itself says which they are */
} dataset_wants;

typedef struct dataset_options {
    int64_t resolution;         /* side of the square that each image is cropped to, 1..16384 */
    const char *background;     /* "#rrggbb", behind transparent pixels */
    bool strict;                /* a broken image is an error instead of a skipped and listed file */
    int64_t memory_limit_bytes; /* of pixels and of images being decoded; 0: no limit */
    int64_t threads;            /* 0: all cores; the result is the same for any number */
    /* The classes to label by, e.g. those of the training data for held-out data; a class of another name is then an
     * error, one that is missing is not. NULL: the classes found. */
    char *const *class_name;
    int64_t class_count;
    bool held_out;              /* of splits, where none is asked for, the one for validation */
    int64_t at_most;            /* so many of the files, spread evenly over the list; 0: all */
    bool first;                 /* the first ones instead */
    const dataset_taker *taker; /* NULL: the pixels are kept */
    const dataset_wants *wants; /* NULL: no captions, no control pictures */
    /* Asked between batches of some hundred files; false ends the opening with DT_ERR_INTERRUPTED. NULL: never. */
    bool (*go_on)(void *user);
    void *go_on_user;
} dataset_options;

typedef struct dataset {
    int64_t count, class_count, resolution;
    char **class_name;                   /* [class_count] */
    int64_t *class_size;                 /* [class_count], images of each class */
    char **name;                         /* [count], path of each image below the folder or inside the archive */
    int32_t *label;                      /* [count], 0..class_count-1 */
    uint8_t *pixels;                     /* [count, resolution, resolution, 3]; NULL: a taker had them */
    uint8_t (*content)[DATASET_CONTENT]; /* [count], SHA-256 of the files' bytes; NULL without a taker */
    /* Captions of picture i, its own or the default prompt, are number caption_first[i] to caption_first[i + 1] - 1; NULL where
     * they were not wanted. */
    char **caption;
    int64_t *caption_first;              /* [count + 1] */
    int64_t captioned;                   /* pictures with captions of their own */
    uint8_t (*control)[DATASET_CONTENT]; /* [count], SHA-256 of the control pictures' files; NULL: not wanted */
    int64_t listed;                      /* files of pictures that were found, taken or not */
    char path[DT_PATH_MAX];              /* as opened */
    char split[16];                      /* the split taken, "" where there are none */
    /* hex, over resolution, names and pixels (contents, with a taker) in order, then captions and control pictures: the identity */
    char sha256[65];
    dataset_report report;
} dataset;

/* What opening a data set takes, as far as that is known before it is done. */
typedef struct dataset_size {
    int64_t files;
    int64_t kept_bytes;    /* of memory while it is open: pixels, unless a taker has them, and names */
    int64_t reading_bytes; /* beside them while it is opened: the files of a batch */
    /* and the pictures of them that are decoded at one time, for baseline JPEG and PNG as large as the largest of some */
    int64_t decoding_bytes;
    int64_t window_bytes; /* beside those for a taker that knows none: the squares of a batch */
} dataset_size;

/* Lists the files that dataset_open would read. Its errors. */
dt_status dataset_measure(dataset_size *size, const char *path, const dataset_options *options, dt_error *err);

/* Reads everything. Where control pictures are wanted, a picture without one that can be read and has its sides' ratio is passed
 * over as broken ones are. Under `strict` captions that cannot be read, lists that name what is not there, and pictures
 * without a caption among others that have one are errors too. Errors: DT_ERR_IO (missing, unreadable), DT_ERR_FORMAT (no
 * images; a class folder without a readable image, as ImageFolder; a broken archive; a broken image under `strict`),
 * DT_ERR_ARG (bad option, unknown split or class), DT_ERR_MEMORY (the limit, checked before memory is taken). On failure *d
 * is empty. No file is written or changed. */
dt_status dataset_open(dataset *d, const char *path, const dataset_options *options, dt_error *err);
void dataset_close(dataset *d);

/* Writes image `index` as chw [3, R, R], x / 127.5 - 1, mirrored left to right if `flip`. */
void dataset_image(float *chw, const dataset *d, int64_t index, bool flip);

/* What was found, for people and reports: one object, the caller's. NULL when memory is short. */
json_t *dataset_report_json(const dataset *d);

#endif
