/* Lists as archives have them: a file of lines, and a file of comma-separated values (RFC 4180). */
#ifndef FILE_TEXT_TABLE_H
#define FILE_TEXT_TABLE_H

#include "base/error.h"

enum { TEXT_FIELDS_MAX = 128 };

/* Rows of fields, all in one block. `where` of a row is "path:line". Places are numbers of 32 bits, because a list of 100 MB may
 * have 50 million lines. */
typedef struct text_table {
    char path[DT_PATH_MAX];
    char *text; /* the file, cut into fields */
    struct text_row {
        uint32_t line;
        uint32_t first; /* of its fields in `field`; they end where the next row's begin */
    } * row;
    int64_t row_count;
    uint32_t *field; /* places in `text` */
    int64_t field_count;
} text_table;

/* Lines cut at the first `fields` - 1 blanks; 1: whole lines. Blanks around are dropped, empty lines passed over. Every
 * line must have `fields` fields. Errors: DT_ERR_IO, DT_ERR_FORMAT (line named; a zero byte; more than 256 MiB, or 2^26 fields),
 * DT_ERR_MEMORY. On failure *t is empty. */
dt_status text_table_lines(text_table *t, const char *path, int fields, dt_error *err);

/* The first row names the columns; every row must have as many fields. */
dt_status text_table_csv(text_table *t, const char *path, dt_error *err);
void text_table_close(text_table *t);

const char *text_table_field(const text_table *t, int64_t row, int column);
void text_table_where(char where[DT_PATH_MAX + 32], const text_table *t, int64_t row);

/* The column of this name in the first row, or -1. */
int text_table_column(const text_table *t, const char *name);

#endif
