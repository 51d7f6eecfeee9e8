/* What trains: rows chosen by rules from one or several parameter tables, with what an optimiser keeps for each. A row that is
 * not chosen is frozen: it has no gradient, no moments, no average and is not written again. Optimiser, averages, checkpoints,
 * gradient norm and the forecast of memory walk this set. */
#ifndef TRAIN_TRAINSET_H
#define TRAIN_TRAINSET_H

#include "adapter/adapter.h"
#include "average/power.h"
#include "container/safetensors.h"
#include "nn/params.h"

/* The last rule whose pattern matches a row's name decides. Patterns are fnmatch(3)'s: "*", "blocks.*", "*.bias". */
typedef struct train_rule {
    const char *pattern;
    bool trains;
} train_rule;

typedef struct train_row {
    const param *param; /* its table's row */
    tensor *tensor;     /* the weight */
    void *m, *v;        /* moments, numbers of the engine, narrow where narrow_moments */
    bool narrow_moments;
    real *average;                  /* moving average of the weight; of a set without averages the weight itself */
    real *power[POWER_LENGTHS_MAX]; /* its power-function averages (average/power.h): as many as the set has */
    real *start;                    /* what a row that was made its own was before; NULL: it was not */
    void *start_copy;               /* narrow, of that: none, while the row trains */
    const real *anchor;             /* what the weight is pulled to (L2-SP); NULL: nothing */
    /* Of several ranks (rank/rank.h) each keeps moments and averages of a part of the values: m, v, average and power hold so many
     * from value number `first` on, NULL where that is none. Alone: all. */
    int64_t first, kept;
    int64_t at; /* so many values of the set stand before the row's */
} train_row;

/* Everything lies in the model arena. */
typedef struct trainset {
    train_row *row;
    int count;
    params **table; /* that rows were chosen from */
    int table_count;
    int power_count;     /* power-function averages of each row */
    bool swapped;        /* weights and averages have changed places */
    bool unaveraged;     /* averages are the weights themselves: nothing is kept of them */
    bool narrow_moments; /* are kept as bfloat16 (tensor/moment.h) */
} trainset;

enum { TRAINSET_TABLES_MAX = 8 };

/* Chooses rows of `table` by rules (NULL: all) and puts them behind those of other tables. Fixed rows never train. The table is
 * borrowed and must not grow any more. */
dt_status trainset_add(ctx *c, trainset *set, params *table, const train_rule rules[], int rule_count);

/* Chooses what tuning trains: all rows of the network, or with an adapter its rows and those of the network that train with it
 * (adapter/adapter.h; where asked for the null time), which get memory of their own. */
dt_status trainset_add_tuned(ctx *c, trainset *set, denoiser *d, adapter *a, bool with_null_time);

/* Moves the rows into memory of their own, for a table that may lie in a file (container/tensor_file.h, in_place). What they were
 * before stays where it is. */
dt_status trainset_own(ctx *c, trainset *set);

/* Gives every row need_grad and, when asked, an empty gradient that passes add up in. Without one it lives in the pass arena
 * and only until ctx.weight_done has seen it. */
dt_status trainset_want_gradients(ctx *c, trainset *set, bool keep_gradients);

/* Zero moments, and averages that are copies of the weights; of power-function averages as many as set->power_count. */
dt_status trainset_keep(ctx *c, trainset *set);

/* Keeps what the row holds now as its anchor: where it lies in the base's file, whose entry `e` it was read from and which stays
 * open, or as a copy. True: as a copy. */
bool trainset_keep_anchor(ctx *c, train_row *r, const tensor_entry *e);

typedef struct row_part {
    int64_t first, count;
} row_part;

/* The part of row number `row` that one of so many ranks keeps: of all values, in their order over the rows, equal parts, but that a
 * row is parted at whole lines of the cache. The rows' `at` is known. */
row_part trainset_part(const trainset *set, int row, int rank, int ranks);

/* Values that stand before a rank's part. */
int64_t trainset_before(const trainset *set, int rank, int ranks);

enum { TRAINSET_LINE = 16 }; /* values of a line */

/* Whether every row of `table` that is no fixed one trains. */
bool trainset_has_all(const trainset *set, const params *table);

/* Values that train. */
int64_t trainset_values(const trainset *set);

/* Bytes that training keeps for them beside the weights: moments, averages (this rank's part of both) and, unless fused,
 * gradients. */
int64_t trainset_bytes(const trainset *set, bool keep_gradients);

/* Exchanges rows that were made their own with what they were before; a second call exchanges them back. */
void trainset_swap_start(trainset *set);

/* ---- values ---- */

typedef enum train_values {
    TRAIN_WEIGHTS,
    TRAIN_AVERAGES,
    TRAIN_M,
    TRAIN_V,
    TRAIN_GRADIENTS,
    TRAIN_POWERS, /* and on, to TRAIN_POWERS + POWER_LENGTHS_MAX - 1: the power-function averages, in their order */
} train_values;

/* Values of a row where they lie, as many as `kept` says of moments and averages; of narrow ones none (NULL). */
real *trainset_values_of(const train_row *r, train_values values);

/* Copies of the values that a row keeps, `kept` numbers of the engine at `to`, and what they are to become. What was got and is put back
 * keeps its bits. */
void trainset_get(const ctx *c, real *to, const train_row *r, train_values values);
void trainset_put(const ctx *c, const train_row *r, train_values values, const real *from);

/* After rows were filled: whatever the engine keeps of weights in another form. */
void trainset_changed(ctx *c, trainset *set);

#endif
