/* The rows of a parameter table (nn/params.h) from a file of tensors and to one. Files hold F32, BF16 or F16; computing is in
 * f32. */
#ifndef FILE_PARAMS_FILE_H
#define FILE_PARAMS_FILE_H

#include "container/tensor_file.h"
#include "container/tensor_source.h"
#include "nn/params.h"

/* How messages call what is expected. */
typedef struct params_words {
    const char *file;    /* "a DiT checkpoint with the published names" */
    const char *network; /* "a DiT of this shape" */
} params_words;

/* The tensor of that name and number of dimensions. NULL with DT_ERR_SHAPE, naming file and tensor, when there is none. */
const tensor_entry *params_need(const tensor_file *f, const char *name, int dim_count, const params_words *words,
                                dt_error *err);

/* DT_ERR_SHAPE unless the entry, which has as many dimensions, has this shape. */
dt_status params_check_shape(const tensor_entry *e, const int64_t expected[], dt_error *err);

/* Fills `numbers` with the shape of a row from the tensor `name`. DT_ERR_SHAPE where it is missing or has another count. */
dt_status params_read_values(ctx *c, real *numbers, const param *row, const tensor_file *f, const char *name);

/* Fills one row, or lets it use the file's numbers (tensor_file.in_place) where the engine can. DT_ERR_SHAPE where its tensor is
 * missing or has another shape. */
dt_status params_read_row(ctx *c, const param *row, const tensor_file *f, const params_words *words);

/* DT_ERR_SHAPE naming the first tensor of the file that is no row. */
dt_status params_refuse_strangers(const params *p, const tensor_file *f, const params_words *words, dt_error *err);

/* ---- writing ---- */

/* How numbers are stored. */
safetensors_dtype params_file_dtype(dt_file_dtype dtype);

/* sources[p->count], one for each row in its order, of the row's own numbers or, where `values` and values[i] are not NULL, of
 * those. Numbers that do not lie in the process's memory, or lie otherwise than in files, are fetched one tensor at a time
 * while the file is written. Where `stops`, the fetching asks whether to go on (ctx_go_on). All in scratch. */
dt_status params_sources(ctx *c, tensor_source sources[], const params *p, real *const values[],
                         safetensors_dtype dtype, bool stops);

/* Where rows are fetched to, one at a time: shared by all sources of a file, in scratch, empty at first but for `largest`. */
typedef struct params_room {
    int64_t largest; /* values of the largest row */
    bool stops;      /* see params_sources */
    real *numbers;   /* the host's copy */
    real *turned;    /* the same in the order of files */
} params_room;

/* One source of `numbers` with name and shape of a row. */
dt_status params_source(ctx *c, tensor_source *out, const param *row, real *numbers, safetensors_dtype dtype,
                        params_room *room);

/* ---- convolutions ---- */

/* w[O,H*W,I] of a file's [O,I,H*W] */
void params_channels_last(real *w, const float *values, int64_t outputs, int64_t inputs, int64_t positions);

#endif
