/* Sample grids, embedded as they are: the PNG files are measured, not decoded. */
#include "report/page.h"

#include <stdlib.h>
#include <string.h>

#include "file/file.h"

enum { GRID_LIMIT = 32 << 20, STRIP_MAX = 6 };

static int64_t big_endian(const unsigned char *p)
{
    return (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* Signature, then the IHDR chunk: length 13, "IHDR", width, height (PNG specification, sections 5.2 and 11.2.2). */
static bool png_size(int64_t *width, int64_t *height, const unsigned char *png, size_t size)
{
    if (size < 33 || memcmp(png, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16) != 0) return false;
    *width = big_endian(png + 16);
    *height = big_endian(png + 20);
    return *width >= 1 && *height >= 1 && *width <= INT32_MAX && *height <= INT32_MAX;
}

dt_status page_grid(html *out, const char *path, const char *caption, dt_error *err)
{
    char *png = NULL;
    size_t size = 0;
    int64_t width, height;
    dt_status status = file_read_all(&png, &size, path, GRID_LIMIT, err);
    if (status != DT_OK) return status;
    if (!png_size(&width, &height, (const unsigned char *)png, size)) {
        status = error_set(err, DT_ERR_FORMAT, "%s: not a PNG file", path);
    } else {
        html_element(out, "<figure class=\"grid\"><figcaption>", caption, "</figcaption><img alt=\"");
        html_element(out, "Samples: ", caption, "\" ");
        html_png_attributes(out, (const unsigned char *)png, (int64_t)size, width, height);
        html_markup(out, "></figure>\n");
    }
    free(png);
    return status;
}

static dt_status write_base(html *out, const report *r, dt_error *err)
{
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        if (one->grid_count > 0 && one->grid[0].step == 0)
            return page_grid(out, one->grid[0].path, "Before tuning (step 0)", err);
    }
    return DT_OK;
}

/* Step 0 is the base, which stands before. */
static dt_status write_last(html *out, const report_run *r, dt_error *err)
{
    char caption[REPORT_LABEL_MAX + 48];
    if (r->run.grid_count == 0 || r->run.grid[r->run.grid_count - 1].step == 0) return DT_OK;
    const run_grid *last = &r->run.grid[r->run.grid_count - 1];
    snprintf(caption, sizeof caption, "%s, step %lld", r->label, (long long)last->step);
    return page_grid(out, last->path, caption, err);
}

dt_status page_strip(html *out, const char *label, const char *what, const run_grid grid[], int64_t count,
                     dt_error *err)
{
    dt_status status = DT_OK;
    const int64_t shown = count < STRIP_MAX ? count : STRIP_MAX;
    html_element(out, "<details><summary>", label, "");
    html_element(out, "", what, "</summary><div class=\"grids\">\n");
    for (int64_t i = 0; status == DT_OK && i < shown; i++) {
        char caption[48];
        const run_grid *one = &grid[shown > 1 ? i * (count - 1) / (shown - 1) : 0];
        snprintf(caption, sizeof caption, "step %lld", (long long)one->step);
        status = page_grid(out, one->path, caption, err);
    }
    html_markup(out, "</div></details>\n");
    return status;
}

dt_status page_grids(html *out, const report *r, dt_error *err)
{
    int64_t total = 0;
    for (int64_t i = 0; i < r->count; i++) total += r->runs[i].run.grid_count;
    if (total == 0) return DT_OK;
    html_markup(out,
                "<section class=\"card\"><h2>Samples</h2>\n<p>The same noise and the same classes at each place of "
                "the grids, where the runs share seed and settings.</p>\n<div class=\"grids\">\n");
    dt_status status = write_base(out, r, err);
    for (int64_t i = 0; status == DT_OK && i < r->count; i++) status = write_last(out, &r->runs[i], err);
    html_markup(out, "</div>\n");
    for (int64_t i = 0; status == DT_OK && i < r->count; i++) {
        const run *one = &r->runs[i].run;
        if (one->grid_count > 1)
            status = page_strip(out, r->runs[i].label, " over time", one->grid, one->grid_count, err);
    }
    html_markup(out, "</section>\n");
    return status;
}
