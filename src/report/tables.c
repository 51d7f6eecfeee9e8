/* Tables of the report: the runs in numbers, what differs in their settings, their data, where they come from. */
#include "report/page.h"

#include <math.h>
#include <string.h>

/* ---- the runs, one column each ---- */

static void cell_setting(html *out, const report_run *r, const char *key)
{
    const char *value = run_setting_text(&r->run, key);
    html_escaped(out, value && *value ? value : "\xe2\x80\x93");
}

static void cell_method(html *out, const report_run *r, const char *key)
{
    const char *value = run_text(&r->run, key);
    html_escaped(out, *value ? value : "\xe2\x80\x93");
}

/* Settings that only Diff-Tuning uses say so in the other columns, where they would mislead. */
static void cell_difftuning(html *out, const report_run *r, const char *key)
{
    if (!run_is(&r->run, DT_METHOD_DIFF_TUNING))
        html_markup(out, "<span class=\"quiet\">not used</span>");
    else
        cell_setting(out, r, key);
}

static void cell_retention(html *out, const report_run *r, const char *key)
{
    if (run_is(&r->run, DT_METHOD_DIFF_TUNING))
        html_escaped(out, run_retention(&r->run));
    else
        cell_difftuning(out, r, key);
}

static void cell_steps(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.steps);
    if (isfinite(r->summary.planned_steps) && r->summary.planned_steps != r->summary.steps)
        html_markup(out, " of %.0f", r->summary.planned_steps);
}

static void cell_batch(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.batch);
}

static void cell_seconds(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.seconds);
}

static void cell_speed(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.samples_per_second);
}

static void cell_skipped(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.skipped);
}

static void cell_memory(html *out, const report_run *r, const char *key)
{
    (void)key;
    html_number(out, r->summary.memory_bytes / 0x1p20);
}

static void cell_last_distance(html *out, const report_run *r, const char *measure)
{
    const run_eval *last = run_find_evals(&r->run, measure).last;
    html_number(out, last ? last->frechet_distance : NAN);
}

static void cell_best_distance(html *out, const report_run *r, const char *measure)
{
    const run_eval *best = run_find_evals(&r->run, measure).best;
    html_number(out, best ? best->frechet_distance : NAN);
    if (best) html_markup(out, " <span class=\"quiet\">step %.0f</span>", best->step);
}

static void cell_base_distance(html *out, const report_run *r, const char *measure)
{
    const run_eval *base = run_find_evals(&r->run, measure).base;
    html_number(out, base ? base->frechet_distance : NAN);
}

static void cell_kernel_distance(html *out, const report_run *r, const char *measure)
{
    const run_eval *last = run_find_evals(&r->run, measure).last;
    html_number(out, last ? last->kernel_distance : NAN);
    if (!last || !isfinite(last->kernel_distance_std)) return;
    html_markup(out, " &plusmn; ");
    html_number(out, last->kernel_distance_std);
}

typedef struct table_row {
    const char *name, *key;
    void (*cell)(html *out, const report_run *r, const char *key);
} table_row;

static void table_head(html *out, const report *r)
{
    html_markup(out, "<div class=\"wide\"><table><thead><tr><td></td>");
    for (int64_t i = 0; i < r->count; i++) {
        html_markup(out, "<th scope=\"col\"><span class=\"chip %s\"></span>", r->runs[i].colour);
        html_element(out, "", r->runs[i].label, "</th>");
    }
    html_markup(out, "</tr></thead><tbody>\n");
}

static void write_row(html *out, const report *r, const char *subject, const table_row *row)
{
    html_element(out, "<tr><th scope=\"row\">", subject, "");
    html_element(out, "", row->name, "</th>");
    for (int64_t i = 0; i < r->count; i++) {
        html_markup(out, "<td>");
        row->cell(out, &r->runs[i], row->key);
        html_markup(out, "</td>");
    }
    html_markup(out, "</tr>\n");
}

void page_run_table(html *out, const report *r)
{
    static const table_row rows[] = {
        {"method", "method", cell_method},
        {"preset", "preset", cell_difftuning},
        {"psi", "psi", cell_difftuning},
        {"tau", "tau", cell_difftuning},
        {"retention", "retention", cell_retention},
        {"steps", NULL, cell_steps},
        {"batch, with accumulation", NULL, cell_batch},
        {"learning rate", "learning_rate", cell_setting},
        {"seed", "seed", cell_setting},
        {"time, seconds", NULL, cell_seconds},
        {"speed, images a second (median)", NULL, cell_speed},
        {"peak memory, MiB", NULL, cell_memory},
        {"steps skipped as not finite", NULL, cell_skipped},
    };
    static const table_row measured[] = {
        {", last", NULL, cell_last_distance},
        {", lowest", NULL, cell_best_distance},
        {", before tuning", NULL, cell_base_distance},
        {": KID in the same features, last", NULL, cell_kernel_distance},
    };
    html_markup(out, "<section class=\"card\"><h2>The runs in numbers</h2>\n");
    table_head(out, r);
    for (int64_t m = 0; m < r->measure_count; m++) {
        for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
            table_row row = measured[i];
            row.key = r->measures[m];
            write_row(out, r, r->measures[m], &row);
        }
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) write_row(out, r, "", &rows[i]);
    html_markup(out, "</tbody></table></div>\n");
    for (int64_t i = 0; i < r->count; i++) {
        if (!*run_text(&r->runs[i].run, "method_line")) continue;
        html_element(out, "<p class=\"note\"><b>", r->runs[i].label, ".</b> ");
        html_element(out, "", run_text(&r->runs[i].run, "method_line"), "</p>\n");
    }
    html_markup(out, "</section>\n");
}

/* ---- settings ---- */

static bool setting_differs(const report *r, const char *key)
{
    const char *first = run_setting_text(&r->runs[0].run, key);
    for (int64_t i = 1; i < r->count; i++) {
        const char *other = run_setting_text(&r->runs[i].run, key);
        if (!first != !other || (first && strcmp(first, other) != 0)) return true;
    }
    return false;
}

/* Keys of the first run that differ in another, then keys that only a later run has. */
static void write_differing_settings(html *out, const report *r)
{
    table_head(out, r);
    for (int64_t i = 0; i < r->count; i++) {
        for (int64_t s = 0; s < r->runs[i].run.setting_count; s++) {
            const char *key = r->runs[i].run.setting[s].key;
            bool seen = false;
            for (int64_t j = 0; j < i; j++) seen = seen || run_setting_text(&r->runs[j].run, key);
            if (!seen && setting_differs(r, key)) write_row(out, r, "", &(table_row){key, key, cell_setting});
        }
    }
    html_markup(out, "</tbody></table></div>\n");
}

void page_differences(html *out, const report *r)
{
    html_markup(out, "<section class=\"card\"><h2>Settings</h2>\n");
    if (r->count > 1) {
        html_markup(out, "<p>Settings that are not the same in all runs:</p>\n");
        write_differing_settings(out, r);
    }
    for (int64_t i = 0; i < r->count; i++) {
        html_element(out, "<details><summary>config.yaml of ", r->runs[i].label, "</summary><pre>");
        html_escaped(out,
                     r->runs[i].run.config ? r->runs[i].run.config : "There is no config.yaml in this run folder.");
        html_markup(out, "</pre></details>\n");
    }
    html_markup(out, "</section>\n");
}

/* ---- JSON of any form as nested lists: the data report, and what run.json says ---- */

enum { SHOWN_DEPTH_MAX = 6, SHOWN_ITEMS_MAX = 60 };

static void write_json(html *out, const json_t *value, int depth);

static void write_json_more(html *out, size_t total)
{
    if (total > SHOWN_ITEMS_MAX) html_markup(out, "<li>&hellip; and %zu more</li>", total - SHOWN_ITEMS_MAX);
}

static bool is_flat(json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (json_is_object(value) || json_is_array(value)) return false;
    }
    return true;
}

/* A list of its members; below the first level those without further structure stand in one line. */
static void write_json_object(html *out, json_t *object, int depth)
{
    const char *key;
    json_t *value;
    size_t shown = 0;
    bool line = depth > 0 && json_object_size(object) <= SHOWN_ITEMS_MAX && is_flat(object);
    html_markup(out, "%s", line ? "" : "<ul class=\"json\">");
    json_object_foreach(object, key, value)
    {
        if (shown++ == SHOWN_ITEMS_MAX) break;
        html_element(out, line ? "<span class=\"item\">" : "<li>", "", "<span class=\"quiet\">");
        html_element(out, "", key, "</span> ");
        write_json(out, value, depth + 1);
        html_markup(out, "%s", line ? "</span> " : "</li>");
    }
    write_json_more(out, json_object_size(object));
    html_markup(out, "%s", line ? "" : "</ul>\n");
}

static void write_json_array(html *out, const json_t *array, int depth)
{
    size_t count = json_array_size(array);
    bool nested = count > 0 && (json_is_object(json_array_get(array, 0)) || json_is_array(json_array_get(array, 0)));
    if (count == 0) html_markup(out, "none");
    if (nested) html_markup(out, "<ul class=\"json many\">");
    for (size_t i = 0; i < count && i < SHOWN_ITEMS_MAX; i++) {
        html_markup(out, "%s", nested ? "<li>" : i ? ", " : "");
        write_json(out, json_array_get(array, i), depth + 1);
        html_markup(out, "%s", nested ? "</li>" : "");
    }
    if (nested) write_json_more(out, count);
    if (!nested && count > SHOWN_ITEMS_MAX) html_markup(out, ", &hellip; and %zu more", count - SHOWN_ITEMS_MAX);
    if (nested) html_markup(out, "</ul>\n");
}

static void write_json(html *out, const json_t *value, int depth)
{
    if (depth > SHOWN_DEPTH_MAX)
        html_markup(out, "&hellip;");
    else if (json_is_object(value))
        write_json_object(out, (json_t *)value, depth);
    else if (json_is_array(value))
        write_json_array(out, value, depth);
    else if (json_is_string(value))
        html_escaped(out, *json_string_value(value) ? json_string_value(value) : "\xe2\x80\x93");
    else if (json_is_integer(value))
        html_markup(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        html_number(out, json_real_value(value));
    else
        html_markup(out, "%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "&ndash;");
}

void page_data(html *out, const report *r)
{
    html_markup(out, "<section class=\"card\"><h2>Training data</h2>\n");
    for (int64_t i = 0; i < r->count; i++) {
        const json_t *data = r->runs[i].run.data_report;
        bool shown = i > 0 && data && json_equal(data, r->runs[0].run.data_report);
        html_element(out, r->count > 1 ? "<h3>" : "<h3 hidden>", r->runs[i].label, "</h3>");
        if (!data)
            html_markup(out, "<p>There is no data report in this run folder.</p>\n");
        else if (shown)
            html_element(out, "<p>The same data as ", r->runs[0].label, ".</p>\n");
        else
            write_json(out, data, 0);
    }
    html_markup(out, "</section>\n");
}

void page_origins(html *out, const report *r)
{
    html_markup(out, "<section class=\"card\"><h2>Where it comes from</h2>\n");
    for (int64_t i = 0; i < r->count; i++) {
        html_element(out, "<details><summary>run.json of ", r->runs[i].label, "</summary>");
        html_element(out, "<p>Folder <code>", r->runs[i].run.folder, "</code></p>");
        write_json(out, r->runs[i].run.info, 0);
        html_markup(out, "</details>\n");
    }
    html_markup(out, "</section>\n");
}
