/* A page that grows in memory: text is printed in, everything that came from a file is escaped on the way.
 * Failures of memory are remembered by the stream and reported once, by html_close. */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "base/error.h"
#include "base/text_stream.h"

typedef struct html {
    text_stream page;
} html;

dt_status html_open(html *out, dt_error *err);

/* Ends the page: out->page holds its text until html_free. DT_ERR_MEMORY when a write had failed. */
dt_status html_close(html *out, dt_error *err);

/* Releases the page; safe after a failed html_open and more than once. */
void html_free(html *out);

/* Our own markup, as it is. Values from files never go through `format`; they go through html_escaped. */
void html_markup(html *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text from outside: & < > " ' become entities, control characters other than newline and tab become U+FFFD. */
void html_escaped(html *out, const char *text);

/* markup before, escaped text, markup after: the most common line of a page. */
void html_element(html *out, const char *before, const char *text, const char *after);

/* A number for reading: four significant digits; an en dash for NaN, "infinite" for infinities. */
void html_number(html *out, double value);

/* "width=.. height=.. src=data:image/png;base64,.." of a PNG file in memory; size in bytes, dimensions in pixels. */
void html_png_attributes(html *out, const unsigned char *png, int64_t size, int64_t width, int64_t height);

#endif
