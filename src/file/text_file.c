#include "file/text_file.h"

#include <math.h>
#include <string.h>

#include "base/text_stream.h"
#include "file/file.h"

dt_status text_file_write(const char *path, void (*print)(FILE *out, const void *user), const void *user, dt_error *err)
{
    text_stream text;
    if (text_stream_open(&text)) print(text.out, user);
    const bool good = text_stream_end(&text);
    if (good) file_write_atomic(path, text.text, text.size, err);
    text_stream_free(&text);
    return good ? err->status : error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
}

void text_file_number(FILE *out, double value)
{
    if (isfinite(value)) fprintf(out, "%.9g", value);
}

void text_file_text(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}
