/* What a denoiser is told beside x and the label: a row of values for each example, or several of which one is told at a time. Rows stay
 * where they are: in mapped files of a cache or a bank, or in memory. */
#ifndef DATA_EXAMPLE_TABLE_H
#define DATA_EXAMPLE_TABLE_H

#include "data/shard_cache.h"

typedef struct example_table {
    int dim_count;
    int64_t dim[3]; /* of one: context [S,W], control [C,H,W] */
    int64_t row_count;
    const void **row; /* [row_count] where each lies; owned. NULL: there is no table */
    int64_t *first;   /* [count + 1], example i has the rows first[i] to first[i + 1] - 1; owned. NULL: row i alone */
    int64_t
        map_channels; /* rows are maps [H,W,map_channels] of bytes, which stand for [0,1]; 0: floats as they are told */
    float *values;    /* where they are no file's: owned */
    uint8_t (*key)[SHARD_KEY]; /* [row_count] what the rows are known by in a cache, until they are settled; owned */
} example_table;

/* Takes values[rows, ..], malloc'ed, for the rows of a table whose dims are set. */
dt_status example_table_own(example_table *t, float *values, int64_t rows, dt_error *err);

/* Appends n rows of `bytes` each, which lie one behind the other in a mapped file. */
dt_status example_table_append(example_table *t, const void *rows, int64_t n, size_t bytes, dt_error *err);

/* Makes *out `count` rows, where those of the first `examples` examples of `from` lie: example by example in turn, of each the next of its
 * rows every time. */
dt_status example_table_in_turn(example_table *out, const example_table *from, int64_t examples, int64_t count,
                                dt_error *err);

/* Makes room for the keys of so many rows, of which none is found yet. */
dt_status example_table_await(example_table *t, int64_t rows, dt_error *err);

/* Finds the rows by their keys: the first tensor of a cache that has been finished. One that it lacks is zeros. */
dt_status example_table_settle(example_table *t, const shard_cache *cache, dt_error *err);

void example_table_close(example_table *t);

/* Values of one row as they are told; 0 where there is no table. */
int64_t example_table_values(const example_table *t);

/* How many rows example i has. */
int64_t example_table_choices(const example_table *t, int64_t i);

/* The place of the row of example i that `choice` (>= 0, counted round) says. */
const void *example_table_row(const example_table *t, int64_t i, int64_t choice);

/* Bytes of a row where it lies. */
size_t example_table_row_bytes(const example_table *t);

/* Writes that row as it is told, each line of a control picture turned round where it is mirrored. */
void example_table_get(float *row, const example_table *t, int64_t i, int64_t choice, bool mirrored);

/* Turns round the lines, `width` values each, of `count` values. */
void example_mirror(float *x, int64_t count, int64_t width);

#endif
