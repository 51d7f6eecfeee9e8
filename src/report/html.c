#include "report/html.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include <nettle/base64.h>

dt_status html_open(html *out, dt_error *err)
{
    return text_stream_open(&out->page) ? DT_OK : error_set(err, DT_ERR_MEMORY, "report: no memory for the page");
}

dt_status html_close(html *out, dt_error *err)
{
    return text_stream_end(&out->page) ? DT_OK : error_set(err, DT_ERR_MEMORY, "report: no memory for the page");
}

void html_free(html *out)
{
    text_stream_free(&out->page);
}

void html_markup(html *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out->page.out, format, arguments);
    va_end(arguments);
}

void html_escaped(html *out, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        switch (*c) {
        case '&': fputs("&amp;", out->page.out); break;
        case '<': fputs("&lt;", out->page.out); break;
        case '>': fputs("&gt;", out->page.out); break;
        case '"': fputs("&quot;", out->page.out); break;
        case '\'': fputs("&#39;", out->page.out); break;
        default:
            if ((*c < 0x20 && *c != '\n' && *c != '\t') || *c == 0x7f)
                fputs("\xef\xbf\xbd", out->page.out);
            else
                fputc(*c, out->page.out);
        }
    }
}

void html_element(html *out, const char *before, const char *text, const char *after)
{
    fputs(before, out->page.out);
    html_escaped(out, text);
    fputs(after, out->page.out);
}

void html_number(html *out, double value)
{
    double size = fabs(value);
    if (isnan(value))
        fputs("&ndash;", out->page.out);
    else if (isinf(value))
        fputs("infinite", out->page.out);
    else if (size >= 1e4 && size < 1e15)
        fprintf(out->page.out, "%.0f", value);
    else
        fprintf(out->page.out, "%.4g", value);
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
        fwrite(encoded, 1, BASE64_ENCODE_RAW_LENGTH(length), out->page.out);
    }
    fputs("\"", out->page.out);
}
