/* A stack of samples as guided-diffusion (ADM) keeps it for its evaluator: an .npz whose array `arr_0` holds 8-bit RGB
 * pictures [N,H,W,3], with the classes beside it as `arr_1` where there are any. Ten thousand samples of 256 x 256 are
 * 2 GB: both ways go picture by picture. */
#ifndef DATA_SAMPLE_STACK_H
#define DATA_SAMPLE_STACK_H

#include "image/image.h"
#include "container/npz.h"

/* ---- writing ---- */

typedef struct sample_stack_writer {
    npz_writer file;
    int64_t count, width, height; /* of the whole stack */
    int64_t added;
} sample_stack_writer;

/* A stack of exactly `count` pictures. The writer must stay where it is in memory. After any failure nothing is left. */
dt_status sample_stack_begin(sample_stack_writer *w, const char *path, int64_t count, int64_t width, int64_t height,
                             dt_error *err);
/* The next n pictures rgb[n,height,width,3]. */
dt_status sample_stack_add(sample_stack_writer *w, const uint8_t *rgb, int64_t n, dt_error *err);
/* labels[count], or NULL. The file appears whole. */
dt_status sample_stack_commit(sample_stack_writer *w, const int64_t *labels, dt_error *err);
void sample_stack_abort(sample_stack_writer *w);

/* ---- reading ---- */

typedef struct sample_stack {
    npz_stream file;
    int64_t count, width, height;
    int64_t next; /* number of the picture that sample_stack_next gives */
} sample_stack;

/* DT_ERR_FORMAT when arr_0 is missing or no 8-bit [N,H,W,3]. On failure *s may be closed. */
dt_status sample_stack_open(sample_stack *s, const char *path, dt_error *err);
void sample_stack_close(sample_stack *s);

/* The next picture, to be freed with image_close. */
dt_status sample_stack_next(sample_stack *s, image *out, dt_error *err);

#endif
