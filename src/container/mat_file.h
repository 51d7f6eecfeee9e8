/* MATLAB 5 files (.mat, "MAT-File Format", MathWorks): numbers, text, cells and structures, as the split and label lists
 * of older data sets have them. Our own reader because the one library (libmatio 1.5.23) believes the sizes in a file:
 * one flipped bit in 784 bytes made it ask for 17 GiB.
 *
 * A file is read whole into a tree; everything else in it (sparse arrays, objects, functions) becomes MAT_OTHER without
 * content. Files of version 7.3 are HDF5 and refused by name. */
#ifndef CONTAINER_MAT_FILE_H
#define CONTAINER_MAT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef enum mat_kind { MAT_OTHER, MAT_NUMBERS, MAT_TEXT, MAT_CELL, MAT_STRUCT } mat_kind;

enum { MAT_NAME_MAX = 64 };

typedef struct mat_value {
    mat_kind kind;
    char name[MAT_NAME_MAX]; /* of a variable of the file; "" inside of one */
    int64_t count;           /* elements over all dimensions, column by column as the file has them */
    double *number;          /* MAT_NUMBERS: [count], whatever type the file stores; the imaginary part is left out */
    char *text;              /* MAT_TEXT: all characters as UTF-8 */
    int64_t field_count;     /* MAT_STRUCT */
    char (*field)[MAT_NAME_MAX];
    struct mat_value *child; /* MAT_CELL: [count]; MAT_STRUCT: [count][field_count] */
    int64_t child_count;
} mat_value;

typedef struct mat_file {
    mat_value *variable;
    int64_t count;
} mat_file;

/* Errors: DT_ERR_IO, DT_ERR_FORMAT (not such a file; a size that does not fit; more than 64 MiB, packed or unpacked,
 * for one element; more than 256 MiB in all, what is unpacked and what becomes of it), DT_ERR_UNSUPPORTED (version 7.3),
 * DT_ERR_MEMORY. On failure *f is empty. */
dt_status mat_file_open(mat_file *f, const char *path, dt_error *err);
void mat_file_close(mat_file *f);

/* NULL when there is none of that name. */
const mat_value *mat_find(const mat_file *f, const char *name);
const mat_value *mat_field(const mat_value *structure, int64_t index, const char *field);

#endif
