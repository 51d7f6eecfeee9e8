#include "file/text_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/text.h"
#include "file/file.h"

#define FILE_BYTES_MAX ((size_t)256 << 20)
enum { FIELDS_ALL_MAX = 1 << 26 };

/* *start: the text behind a byte order mark. */
static dt_status open_text(text_table *t, char **start, const char *path, dt_error *err)
{
    size_t size;
    *t = (text_table){0};
    snprintf(t->path, sizeof t->path, "%s", path);
    if (file_read_all(&t->text, &size, path, FILE_BYTES_MAX, err) != DT_OK) return err->status;
    if (strlen(t->text) != size) error_set(err, DT_ERR_FORMAT, "%s: no text: it has a zero byte", path);
    *start = t->text + (text_behind_mark(t->text) - t->text);
    return err->status;
}

static dt_status begin_row(text_table *t, int64_t line, dt_error *err)
{
    struct text_row *row = grow_array(t->row, t->row_count, sizeof *row);
    if (!row) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", t->path);
    t->row = row;
    t->row[t->row_count++] = (struct text_row){(uint32_t)line, (uint32_t)t->field_count};
    return DT_OK;
}

static int64_t fields_of(const text_table *t, int64_t row)
{
    return (row + 1 < t->row_count ? t->row[row + 1].first : t->field_count) - t->row[row].first;
}

static dt_status add_field(text_table *t, const char *text, dt_error *err)
{
    if (t->field_count == FIELDS_ALL_MAX)
        return error_set(err, DT_ERR_FORMAT, "%s: more than %d fields in all", t->path, FIELDS_ALL_MAX);
    uint32_t *field = grow_array(t->field, t->field_count, sizeof *field);
    if (!field) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", t->path);
    t->field = field;
    t->field[t->field_count++] = (uint32_t)(text - t->text);
    if (fields_of(t, t->row_count - 1) > TEXT_FIELDS_MAX)
        error_set(err, DT_ERR_FORMAT, "%s:%lld: more than %d fields", t->path, (long long)t->row[t->row_count - 1].line,
                  TEXT_FIELDS_MAX);
    return err->status;
}

/* The last row has as many fields as it should. */
static dt_status check_row(const text_table *t, int64_t fields, dt_error *err)
{
    const int64_t last = t->row_count - 1;
    if (err->status == DT_OK && fields_of(t, last) != fields)
        error_set(err, DT_ERR_FORMAT, "%s:%lld: %lld fields expected, found %lld", t->path,
                  (long long)t->row[last].line, (long long)fields, (long long)fields_of(t, last));
    return err->status;
}

/* ---- lines ---- */

static const char blanks[] = " \t\r";

static dt_status cut_line(text_table *t, char *line, int64_t number, int fields, dt_error *err)
{
    for (size_t n = strlen(line); n > 0 && strchr(blanks, line[n - 1]);) line[--n] = '\0';
    line += strspn(line, blanks);
    if (!*line) return DT_OK;
    if (begin_row(t, number, err) != DT_OK) return err->status;
    for (int i = 0; i < fields && *line && err->status == DT_OK; i++) {
        add_field(t, line, err);
        if (i + 1 == fields) break;
        line += strcspn(line, blanks);
        if (*line) *line++ = '\0';
        line += strspn(line, blanks);
    }
    return check_row(t, fields, err);
}

dt_status text_table_lines(text_table *t, const char *path, int fields, dt_error *err)
{
    char *rest, *line;
    if (open_text(t, &rest, path, err) == DT_OK) {
        for (int64_t number = 1; err->status == DT_OK && (line = strsep(&rest, "\n")); number++)
            cut_line(t, line, number, fields, err);
    }
    if (err->status != DT_OK) text_table_close(t);
    return err->status;
}

/* ---- comma-separated values ---- */

/* A field that is not quoted, up to what follows it; the end of a line may be a carriage return and a line feed. */
static char *read_plain(char *at)
{
    char *end = at + strcspn(at, ",\n");
    if (*end != ',' && end > at && end[-1] == '\r') end[-1] = '\0';
    return end;
}

/* Reads one field in place and returns what follows it: a comma, the end of a line, or the end. A quoted field may hold
 * commas, line ends and doubled quotes. NULL: a quote is never closed. */
static char *read_field(char *at, int64_t *line)
{
    char *out = at;
    if (*at != '"') return read_plain(at);
    for (at++; *at && (*at != '"' || at[1] == '"'); at++) {
        if (*at == '"') at++;
        *line += *at == '\n';
        *out++ = *at;
    }
    if (!*at) return NULL;
    *out = '\0';
    at++;
    return at + strcspn(at, ",\n");
}

static dt_status read_row(text_table *t, char **rest, int64_t *line, dt_error *err)
{
    int64_t first = *line;
    for (bool more = true; more && err->status == DT_OK;) {
        char *field = *rest, *end = read_field(field, line);
        if (!end) return error_set(err, DT_ERR_FORMAT, "%s:%lld: a quote is never closed", t->path, (long long)first);
        more = *end == ',';
        bool last = !*end;
        *line += *end == '\n';
        *end = '\0';
        *rest = last ? NULL : end + 1;
        add_field(t, field, err);
    }
    return err->status;
}

dt_status text_table_csv(text_table *t, const char *path, dt_error *err)
{
    char *rest;
    int64_t line = 1;
    if (open_text(t, &rest, path, err) == DT_OK) {
        while (err->status == DT_OK && rest && *rest) {
            if (begin_row(t, line, err) == DT_OK && read_row(t, &rest, &line, err) == DT_OK)
                check_row(t, fields_of(t, 0), err);
        }
        if (err->status == DT_OK && t->row_count == 0) error_set(err, DT_ERR_FORMAT, "%s: it is empty", path);
    }
    if (err->status != DT_OK) text_table_close(t);
    return err->status;
}

void text_table_close(text_table *t)
{
    free(t->text);
    free(t->row);
    free(t->field);
    *t = (text_table){0};
}

const char *text_table_field(const text_table *t, int64_t row, int column)
{
    return t->text + t->field[t->row[row].first + column];
}

void text_table_where(char where[DT_PATH_MAX + 32], const text_table *t, int64_t row)
{
    snprintf(where, DT_PATH_MAX + 32, "%s:%lld", t->path, (long long)t->row[row].line);
}

int text_table_column(const text_table *t, const char *name)
{
    for (int i = 0; i < fields_of(t, 0); i++)
        if (!strcmp(text_table_field(t, 0, i), name)) return i;
    return -1;
}
