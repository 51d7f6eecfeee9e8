/* How a class-conditional network's label table [classes + 1, D] starts when the classes change; its last row is the null
 * class. */
#ifndef FILE_LABEL_TABLE_H
#define FILE_LABEL_TABLE_H

#include "base/say.h"
#include "model/file/model_info.h"
#include "nn/params.h"

/* The new classes. Their names are needed for DT_LABEL_NEAREST_NAME. */
typedef struct label_start {
    int64_t class_count;
    char *const *class_name;
    dt_label_init init;
    uint64_t seed;
    void *user;
    say_log *log; /* told in one line what was done; may be NULL */
} label_start;

/* Whether a table of file_classes already fits: in count, and in names where both sides say them. */
bool label_table_fits(const label_start *l, const model_info *info, int64_t file_classes);

/* Tells of a table that is taken as it is that its rows go by their places, where the model does not name them: another order of the
 * classes would be noticed by nobody. */
void label_table_tell_kept(const label_start *l, const model_info *info);

/* Fills a row [l->class_count + 1, D] from the file's table [file_classes + 1, D]: the null row is kept, and so are those of
 * classes that have the same name on both sides, wherever they stand; the others start by l->init. DT_ERR_ARG when names
 * are needed and missing. */
dt_status label_table_start(ctx *c, const param *row, const tensor_entry *table, const label_start *l,
                            const model_info *info);

#endif
