#include "file/numbers_file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "file/file.h"

enum { READ_MAX = 1 << 20, LINE_MAX_BYTES = 32 };

static dt_status parse(double value[], int count, double max, const char *path, const char *text, const char *text_end,
                       dt_error *err)
{
    for (int i = 0; i < count; i++) {
        char *end;
        double v = strtod(text, &end);
        if (end == text || !(v >= 0 && v <= max))
            return error_set(err, DT_ERR_FORMAT,
                             "%s: %d numbers from 0 to %g expected, number %d is missing or not one", path, count, max,
                             i + 1);
        value[i] = v;
        for (text = end; isspace((unsigned char)*text) || *text == ',';) text++;
    }
    if (text != text_end) return error_set(err, DT_ERR_FORMAT, "%s: %d numbers expected, found more", path, count);
    return DT_OK;
}

dt_status numbers_file_read(double value[], int count, double max, const char *path, dt_error *err)
{
    char *text;
    size_t size;
    if (file_read_all(&text, &size, path, READ_MAX, err) != DT_OK) return err->status;
    parse(value, count, max, path, text, text + size, err);
    free(text);
    return err->status;
}

dt_status numbers_file_write(const double value[], int count, const char *path, dt_error *err)
{
    char *text = malloc((size_t)count * LINE_MAX_BYTES);
    size_t used = 0;
    if (!text) return error_set(err, DT_ERR_MEMORY, "%s: no memory for %d numbers", path, count);
    for (int i = 0; i < count; i++) used += (size_t)snprintf(text + used, LINE_MAX_BYTES, "%.9g\n", value[i]);
    file_write_atomic(path, text, used, err);
    free(text);
    return err->status;
}
