/* Folders of difftune chain: what they measured, as a section of the page. Everything in them is taken as hostile. */
#include "file/names.h"
#include "report/page.h"
#include "report/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "file/json_file.h"

/* ---- reading ---- */

/* The grid lies in a folder of that name, which leads nowhere else. */
static bool read_point(report_chain *c, const json_t *from)
{
    report_chain_point *p = &c->point[c->count];
    const char *folder = json_text_at(from, "folder");
    p->tail = json_number_at(from, "tail");
    p->frechet_distance = json_number_at(from, "frechet_distance");
    p->kernel_distance = json_number_at(from, "kernel_distance");
    p->kernel_distance_std = json_number_at(from, "kernel_distance_std");
    if (!(p->tail >= 0 && p->tail <= 1) || !*folder || *folder == '.' || strchr(folder, '/') ||
        strlen(folder) >= sizeof p->folder)
        return false;
    strcpy(p->folder, folder);
    c->count++;
    return true;
}

dt_status report_chain_open(report_chain *c, const char *folder, dt_error *err)
{
    char path[DT_PATH_MAX];
    snprintf(c->folder, sizeof c->folder, "%s", folder);
    file_join(path, folder, CHAIN_FILE);
    c->info = json_file_read(path, err);
    if (!c->info) return err->status;
    const json_t *points = json_object_get(c->info, "points");
    const size_t count = json_array_size(points);
    const json_int_t best = json_integer_value(json_object_get(c->info, "best"));
    bool good = count >= 1 && count <= DT_CHAIN_POINTS_MAX && best >= 0 && best < (json_int_t)count;
    for (size_t i = 0; good && i < count; i++) good = read_point(c, json_array_get(points, i));
    if (!good) {
        report_chain_close(c);
        return error_set(err, DT_ERR_FORMAT, "%s: not what difftune chain writes", path);
    }
    c->best = best;
    return DT_OK;
}

void report_chain_close(report_chain *c)
{
    json_decref(c->info);
    *c = (report_chain){0};
}

/* ---- the section ---- */

/* The last point, all steps by the base, is left out of the comparison with none where it is the same. */
static void write_verdict(html *out, const report_chain *c)
{
    const report_chain_point *none = &c->point[0], *best = &c->point[c->best], *most = &c->point[c->count - 1];
    if (!isfinite(none->frechet_distance) || !isfinite(best->frechet_distance)) return;
    html_markup(out, "<p class=\"verdict\">With %.4g&nbsp;%% of the steps by the base the distance is ",
                100 * none->tail);
    html_number(out, none->frechet_distance);
    if (best == none) {
        html_markup(out, ", which no larger share lowers");
    } else {
        html_markup(out, ", at best, with %.4g&nbsp;%%, ", 100 * best->tail);
        html_number(out, best->frechet_distance);
        if (best->frechet_distance > (1 - REPORT_TIE) * none->frechet_distance) html_markup(out, " (a tie)");
    }
    if (most != none && most != best) {
        html_markup(out, "; with %.4g&nbsp;%% it is ", 100 * most->tail);
        html_number(out, most->frechet_distance);
    }
    html_markup(out, ".</p>\n");
}

static void write_chart(html *out, const report_chain *c, const char *title, const char *label, size_t offset)
{
    double x[DT_CHAIN_POINTS_MAX], y[DT_CHAIN_POINTS_MAX];
    for (int64_t i = 0; i < c->count; i++) {
        x[i] = 100 * c->point[i].tail;
        y[i] = *(const double *)((const char *)&c->point[i] + offset);
    }
    const chart_series series = {.label = NULL, .colour = "s0", .markers = true, .count = c->count, .x = x, .y = y};
    const chart picture = {.title = title,
                           .x_label = "share of the last steps made by the base, in %",
                           .x_high = x[c->count - 1],
                           .y_label = label,
                           .allow_log = true,
                           .series_count = 1,
                           .series = &series};
    chart_write(out, &picture);
}

static void write_table(html *out, const report_chain *c)
{
    html_element(out, "<details><summary>In numbers</summary><table><tr><th>share</th><th>",
                 json_text_at(c->info, "measure"), "</th><th>KID</th></tr>\n");
    for (int64_t i = 0; i < c->count; i++) {
        const report_chain_point *p = &c->point[i];
        html_markup(out, "<tr><td>%.4g&nbsp;%%</td><td>", 100 * p->tail);
        html_number(out, p->frechet_distance);
        html_markup(out, "</td><td>");
        html_number(out, p->kernel_distance);
        html_markup(out, " &plusmn; ");
        html_number(out, p->kernel_distance_std);
        html_markup(out, "</td></tr>\n");
    }
    html_markup(out, "</table></details>\n");
}

enum { GRIDS_SHOWN = 6 };

/* Some of the grids, evenly over the shares, none and all among them; the best too. */
static dt_status write_grids(html *out, const report_chain *c, dt_error *err)
{
    const int64_t shown = c->count < GRIDS_SHOWN ? c->count : GRIDS_SHOWN;
    int64_t next = 0;
    html_markup(out, "<div class=\"grids\">\n");
    for (int64_t i = 0; i < c->count && err->status == DT_OK; i++) {
        const int64_t wanted = shown > 1 ? next * (c->count - 1) / (shown - 1) : 0;
        char folder[DT_PATH_MAX], path[DT_PATH_MAX], caption[64];
        if (i == wanted) next++;
        if (i != wanted && i != c->best) continue;
        file_join(folder, c->folder, c->point[i].folder);
        file_join(path, folder, "grid.png");
        snprintf(caption, sizeof caption, "%.4g %% by the base%s", 100 * c->point[i].tail,
                 i == c->best ? ", the lowest distance" : "");
        if (file_exists(path)) page_grid(out, path, caption, err);
    }
    html_markup(out, "</div>\n");
    return err->status;
}

static dt_status write_chain(html *out, const report *r, const report_chain *c, dt_error *err)
{
    const char *measure = json_text_at(c->info, "measure");
    char title[RUN_NAME_MAX + 32];
    html_element(out,
                 "<section class=\"card\"><h2>Chain of forgetting: ", c->run >= 0 ? r->runs[c->run].label : c->folder,
                 "</h2>\n");
    html_element(out, "<p>The last and cleanest steps of the same samples, made by ",
                 json_text_at(c->info, "tail_model"),
                 " in the tuned model&rsquo;s place (figure 1 of the paper). Where the line falls at small shares, the "
                 "tuned model has forgotten what the base still knows of nearly clean pictures; where it rises, the "
                 "base does not know these pictures. ");
    html_markup(out, "%.0f samples of each share, %.0f images to compare with.", json_number_at(c->info, "samples"),
                json_number_at(c->info, "reference_count"));
    html_element(out, " In its steps the base is told ", json_text_at(c->info, "tail_is_told"), ".</p>\n");
    write_verdict(out, c);
    html_markup(out, "<div class=\"charts\">\n");
    snprintf(title, sizeof title, "%.60s over the share", measure);
    write_chart(out, c, title, measure, offsetof(report_chain_point, frechet_distance));
    write_chart(out, c, "KID in the same features", "kernel distance", offsetof(report_chain_point, kernel_distance));
    html_markup(out, "</div>\n");
    write_table(out, c);
    write_grids(out, c, err);
    html_markup(out, "</section>\n");
    return err->status;
}

dt_status page_chains(html *out, const report *r, dt_error *err)
{
    for (int64_t i = 0; i < r->chain_count && err->status == DT_OK; i++) write_chain(out, r, &r->chains[i], err);
    return err->status;
}
