#include "report/page.h"

#include "file/file.h"

static void begin(html *out, const char *heading)
{
    html_element(out,
                 "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
                 heading, "</title>\n<style>\n");
    html_markup(out, "%s", report_style);
    html_element(out, "</style></head><body><main>\n<header><h1>", heading, "</h1>\n");
}

dt_status page_write(const char *path, const char *heading,
                     dt_status (*print)(html *out, const void *user, dt_error *err), const void *user, dt_error *err)
{
    html out;
    dt_status status = html_open(&out, err);
    if (status == DT_OK) {
        begin(&out, heading);
        status = print(&out, user, err);
        html_markup(&out, "</main></body></html>\n");
    }
    if (status == DT_OK) status = html_close(&out, err);
    if (status == DT_OK) status = file_write_atomic(path, out.page.text, out.page.size, err);
    html_free(&out);
    return status;
}
