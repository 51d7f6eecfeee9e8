#include "report/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include <nettle/base64.h>

dt_status html_open(html *out, dt_error *err)
{
    *out = (html){0};
    out->stream = open_memstream(&out->text, &out->size);
    return out->stream ? DT_OK : error_set(err, DT_ERR_MEMORY, "report: not enough memory for the page");
}

dt_status html_close(html *out, dt_error *err)
{
    int broken = ferror(out->stream);
    broken |= fclose(out->stream);
    out->stream = NULL;
    return broken ? error_set(err, DT_ERR_MEMORY, "report: not enough memory for a page of %zu bytes", out->size)
                  : DT_OK;
}

void html_free(html *out)
{
    if (out->stream) fclose(out->stream);
    free(out->text);
    *out = (html){0};
}

void html_markup(html *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out->stream, format, arguments);
    va_end(arguments);
}

void html_escaped(html *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        switch (*c) {
        case '&': fputs("&amp;", out->stream); break;
        case '<': fputs("&lt;", out->stream); break;
        case '>': fputs("&gt;", out->stream); break;
        case '"': fputs("&quot;", out->stream); break;
        case '\'': fputs("&#39;", out->stream); break;
        default:
            if ((*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
                fputs("\xef\xbf\xbd", out->stream);
            else
                fputc(*c, out->stream);
        }
    }
}

void html_element(html *out, const char *before, const char *text, const char *after)
{
    fputs(before, out->stream);
    html_escaped(out, text);
    fputs(after, out->stream);
}

void html_number(html *out, double value)
{
    double size = fabs(value);
    if (isnan(value))
        fputs("&ndash;", out->stream);
    else if (isinf(value))
        fputs("infinite", out->stream);
    else if (size >= 1e4 && size < 1e15)
        fprintf(out->stream, "%.0f", value);
    else
        fprintf(out->stream, "%.4g", value);
}

void html_png_attributes(html *out, const unsigned char *png, int64_t size, int64_t width, int64_t height)
{
    enum { PIECE = 3 * 1024 }; /* a multiple of three, so that only the last piece is padded */
    char encoded[BASE64_ENCODE_RAW_LENGTH(PIECE)];
    html_markup(out, "width=\"%lld\" height=\"%lld\" src=\"data:image/png;base64,", (long long)width,
                (long long)height);
    for (int64_t at = 0; at < size; at += PIECE) {
        size_t length = (size_t)(size - at < PIECE ? size - at : PIECE);
        base64_encode_raw(encoded, length, png + at);
        fwrite(encoded, 1, BASE64_ENCODE_RAW_LENGTH(length), out->stream);
    }
    fputs("\"", out->stream);
}
