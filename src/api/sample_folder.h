/* The folder of drawn images: images/NNNNNN.png, grid.png, features.f32, and samples.txt, which says how they were drawn.
 * A folder with the same samples.txt is gone on with; one that holds anything else is left alone. */
#ifndef API_SAMPLE_FOLDER_H
#define API_SAMPLE_FOLDER_H

#include "data/class_list.h"
#include "eval/feature_rows.h"
#include "file/lock.h"

enum { SAMPLE_TEXT_MAX = 2048 };

typedef struct sample_folder {
    const dt_settings *s;
    const class_list *classes;
    const model_info *info;
    const char *const *prompt; /* [prompt_count], drawn in turn; NULL: none */
    int64_t prompt_count;
    const char *negative_prompt; /* of all; NULL: none, or the empty one */
    int64_t channels, size;      /* of a picture */
    int64_t saved;               /* so many images become files */
    char text[SAMPLE_TEXT_MAX];  /* what makes an image what it is; part of every PNG */
    const char *feature;         /* identity of the features that are kept; NULL: none */
    int64_t feature_dim;         /* values of each row of them */
    feature_rows rows;           /* open where features are kept */
    int64_t done;                /* images that need not be drawn again */
    file_lock lock;
    int64_t
        holds; /* images in the folder, as files or as rows of features, from the first on; those beyond num_samples stay */
} sample_folder;

/* Claims a folder for this purpose, e.g. "samples", by a file `name` in it that says how they were drawn, or recognises it by the same
 * text there; takes its lock. DT_ERR_CONFLICT: the folder is somebody else's, or another process draws into it. */
dt_status sample_folder_claim(file_lock *lock, const char *folder, const char *name, const char *purpose,
                              const char *text, dt_error *err);

/* Claims s->output_dir or recognises it, and finds out how far it is; text and the other members above it are filled.
 * DT_ERR_CONFLICT: the folder is somebody else's, or another process draws into it. On failure *f is closed. */
dt_status sample_folder_open(sample_folder *f, dt_error *err);
void sample_folder_close(sample_folder *f);

/* Bytes of disk that the images take that are not there yet: PNGs of the usual pictures have at least a quarter of their pixels' bytes,
 * rows what they hold. */
int64_t sample_folder_missing_bytes(const sample_folder *f);

/* Saves image `number`, x [channels,size,size], where it is one of those that become files. */
dt_status sample_folder_save(const sample_folder *f, const float *x, int64_t number, dt_error *err);

/* Draws grid.png from the first images in the folder; nothing where none became files. */
dt_status sample_folder_grid(const sample_folder *f, bool *labelled, dt_error *err);

/* Bytes that it takes. */
int64_t sample_folder_grid_bytes(const sample_folder *f);

/* Puts all images, which must have become files, and their classes into one .npz (data/sample_stack.h). */
dt_status sample_folder_stack(ctx *c, const sample_folder *f, const char *path);

#endif
