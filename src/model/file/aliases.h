/* A network's tensors under another program's names: one table for both directions. Reading puts this program's names in the
 * place of the file's; writing points into the network's own rows.
 *
 * A name may hold one %d, the number of the block it stands in; such rows are repeated for every block. */
#ifndef FILE_ALIASES_H
#define FILE_ALIASES_H

#include "container/tensor_file.h"
#include "container/tensor_source.h"

typedef struct alias {
    const char *theirs, *own;
    int part;  /* 1..parts: this share of the own tensor's rows; 0: all of it */
    int parts; /* how many tensors of the file, rows behind each other in the table, make up the own one */
    bool copy; /* one tensor here, one of equal values in every block of theirs */
} alias;

typedef struct alias_table {
    const alias *once; /* rows without a block */
    int once_count;
    const alias *block; /* rows of each block */
    int block_count;
    const char *network; /* for messages: "a DiT in diffusers' layout" */
} alias_table;

enum { ALIAS_NAME_MAX = 128, ALIAS_PARTS_MAX = 3 };
typedef char alias_name[ALIAS_NAME_MAX];

/* How many names a network of so many blocks has. */
int alias_count(const alias_table *table, int64_t blocks);

/* Number i of all names, in full: those without a block first. */
const alias *alias_at(alias_name theirs, alias_name own, const alias_table *table, int i);

/* How many blocks the file has: the first number for which the table's first row of a block is missing. */
int64_t alias_blocks(const alias_table *table, const tensor_file *f);

/* The same of a file with own names. */
int64_t alias_own_blocks(const alias_table *table, const tensor_file *f);

/* ---- reading ---- */

/* The file while its entries are made anew. */
typedef struct alias_view {
    const alias_table *table;
    tensor_file *f;
    int64_t blocks;
    arena memory; /* names, joined tensors, what is added */
    tensor_entry *entries;
    size_t count;
    size_t used; /* tensors of the file that were met */
    dt_error *err;
} alias_view;

/* What else the network needs: puts at most `more` entries behind the others, with alias_add. */
typedef void alias_complete(alias_view *v, const void *user);

typedef struct alias_more {
    alias_complete *complete; /* NULL: nothing is added */
    const void *user;
    size_t entries, bytes; /* at most so many, with so much memory */
} alias_more;

/* Puts own names in place of the file's. DT_ERR_SHAPE naming the tensor that is missing, is no part of the network, or is
 * not the copy it should be. */
dt_status alias_read(tensor_file *f, const alias_table *table, int64_t blocks, const alias_more *more, dt_error *err);

/* Adds an entry like `like` under this name. NULL after a failure. */
tensor_entry *alias_add(alias_view *v, const tensor_entry *like, const char *name);

/* DT_ERR_SHAPE: that tensor of the file, and why it cannot be. */
dt_status alias_refuse(const alias_view *v, const char *name, const char *why);

/* ---- writing ---- */

/* out[alias_count] under their names, made of own[own_count], which hold every own name. names and dims give room. */
void alias_sources(tensor_source out[], alias_name names[], int64_t dims[][4], const alias_table *table,
                   const tensor_source own[], size_t own_count, int64_t blocks);

#endif
