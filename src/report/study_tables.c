/* Tables of a study's page. */
#include "report/chart.h"
#include "report/study_page.h"

#include <math.h>
#include <string.h>

/* ---- cells ---- */

static void cell_mean(html *out, study_summary s, int planned)
{
    html_markup(out, "<td>");
    html_number(out, s.mean);
    if (isfinite(s.sd)) {
        html_markup(out, " &plusmn; ");
        html_number(out, s.sd);
    }
    if (s.count > 0 && s.count < planned) html_markup(out, " <span class=\"quiet\">of %d</span>", s.count);
    html_markup(out, "</td>");
}

static void cell_difference(html *out, study_summary s, study_difference how)
{
    const char *unit = how == STUDY_PERCENT ? "&nbsp;%" : "";
    const bool sure = isfinite(s.low) && (s.low > 0 || s.high < 0);
    html_markup(out, "<td>%s", sure ? "<b>" : "");
    if (s.mean > 0) html_markup(out, "+");
    html_number(out, s.mean);
    if (s.count > 0) html_markup(out, "%s", unit);
    html_markup(out, "%s", sure ? "</b>" : "");
    if (isfinite(s.low)) {
        html_markup(out, " <span class=\"quiet\">[");
        html_number(out, s.low);
        html_markup(out, ", ");
        html_number(out, s.high);
        html_markup(out, "]</span>");
    }
    html_markup(out, "</td>");
}

static void row_head(html *out, const study_table *t, int arm, int way)
{
    char label[DT_TEXT_MAX];
    bool dashed;
    study_label(label, t, arm, way);
    html_markup(out, "<tr><th scope=\"row\"><span class=\"chip %s\"></span>", chart_colour(arm, &dashed));
    html_element(out, "", label, "</th>");
}

static void table_head(html *out, const study_table *t, int columns, const char *last)
{
    html_markup(out, "<div class=\"wide\"><table><thead><tr><td></td>");
    for (int i = 0; i < columns; i++)
        if (study_has(t, study_columns[i].measure))
            html_element(out, "<th scope=\"col\">", study_title(t, &study_columns[i]), "</th>");
    if (last) html_element(out, "<th scope=\"col\">", last, "</th>");
    html_markup(out, "</tr></thead><tbody>\n");
}

static void table_end(html *out)
{
    html_markup(out, "</tbody></table></div>\n");
}

/* ---- means ---- */

static double seconds_of(const study_row *row)
{
    double sum = 0;
    for (int i = 0; i < STUDY_TIMES; i++) sum += row->seconds[i];
    return sum;
}

static study_summary summarise_seconds(const study_table *t, int arm, int data, int way)
{
    double value[STUDY_SEEDS_MAX];
    for (int seed = 0; seed < t->seed.count; seed++) value[seed] = seconds_of(study_row_at(t, arm, data, seed, way));
    return study_summarise(value, t->seed.count);
}

/* KID has a spread over subsets of pictures beside that over seeds. */
static void cell_measure(html *out, const study_table *t, study_measure measure, int arm, int data, int way)
{
    const study_summary s = study_over_seeds(t, measure, arm, data, way);
    if (measure != STUDY_KERNEL || s.count != 1) {
        cell_mean(out, s, t->seed.count);
        return;
    }
    html_markup(out, "<td>");
    html_number(out, s.mean);
    html_markup(out, " <span class=\"quiet\">&plusmn; ");
    html_number(out, study_over_seeds(t, STUDY_KERNEL_STD, arm, data, way).mean);
    html_markup(out, " over subsets</span></td>");
}

/* What stands below a column for comparison; STUDY_MEASURES: nothing. */
static study_measure before_tuning(study_measure column)
{
    return column == STUDY_LOSS        ? STUDY_LOSS_BEFORE
           : column == STUDY_BANK_LOSS ? STUDY_BANK_LOSS_BEFORE
                                       : STUDY_MEASURES;
}

static study_measure of_held_out(study_measure column)
{
    return column == STUDY_COPIED ? STUDY_COPIED_HELD_OUT : STUDY_MEASURES;
}

/* Values that are the same of all arms, but for what those were given: the first arm's. */
static void row_beside(html *out, const study_table *t, int data, const char *name,
                       study_measure (*beside)(study_measure column))
{
    html_element(out, "<tr><th scope=\"row\" class=\"quiet\">", name, "</th>");
    for (int i = 0; i < study_column_count; i++) {
        const study_measure measure = beside(study_columns[i].measure);
        if (!study_has(t, study_columns[i].measure)) continue;
        cell_mean(out, measure == STUDY_MEASURES ? study_summarise(NULL, 0) : study_over_seeds(t, measure, 0, data, 0),
                  0);
    }
    html_markup(out, "<td>&ndash;</td></tr>\n");
}

static void write_means(html *out, const study_table *t, int data)
{
    table_head(out, t, study_column_count, "time, s");
    for (int arm = 0; arm < t->arm.count; arm++)
        for (int way = 0; way < t->way.count; way++) {
            row_head(out, t, arm, way);
            for (int i = 0; i < study_column_count; i++)
                if (study_has(t, study_columns[i].measure))
                    cell_measure(out, t, study_columns[i].measure, arm, data, way);
            cell_mean(out, summarise_seconds(t, arm, data, way), t->seed.count);
            html_markup(out, "</tr>\n");
        }
    if (study_has(t, STUDY_LOSS_BEFORE) || study_has(t, STUDY_BANK_LOSS_BEFORE))
        row_beside(out, t, data, "before tuning", before_tuning);
    if (study_has(t, STUDY_COPIED)) row_beside(out, t, data, "held-out pictures", of_held_out);
    table_end(out);
}

static void write_differences(html *out, const study_table *t, int data)
{
    html_element(out, "<h3>Difference to ", t->arm.name[0], "</h3>\n");
    table_head(out, t, study_main_columns, NULL);
    for (int arm = 1; arm < t->arm.count; arm++)
        for (int way = 0; way < t->way.count; way++) {
            row_head(out, t, arm, way);
            for (int i = 0; i < study_main_columns; i++)
                if (study_has(t, study_columns[i].measure))
                    cell_difference(out,
                                    study_against_first(t, study_columns[i].measure, arm, data, way, STUDY_ABSOLUTE),
                                    STUDY_ABSOLUTE);
            html_markup(out, "</tr>\n");
        }
    table_end(out);
}

void study_page_data(html *out, const study_table *t, int data)
{
    html_markup(out, "<section class=\"card\"><h2>");
    html_element(out, t->data.count > 1 ? "Data set " : "Arms", t->data.count > 1 ? t->data.name[data] : "", "</h2>\n");
    write_means(out, t, data);
    if (t->arm.count > 1) write_differences(out, t, data);
    html_markup(out, "</section>\n");
}

/* ---- over all data sets ---- */

static void write_arms_together(html *out, const study_table *t)
{
    html_element(
        out, "<section class=\"card\"><h2>All data sets and seeds together</h2>\n<p>Mean difference to ",
        t->arm.name[0],
        ", of distances and losses in percent, with its 95&nbsp;% interval; every pair of a data set and a seed "
        "counts once.</p>\n");
    table_head(out, t, study_main_columns, NULL);
    for (int arm = 1; arm < t->arm.count; arm++)
        for (int way = 0; way < t->way.count; way++) {
            row_head(out, t, arm, way);
            for (int i = 0; i < study_main_columns; i++) {
                const study_column *c = &study_columns[i];
                if (study_has(t, c->measure))
                    cell_difference(out, study_against_first(t, c->measure, arm, -1, way, c->pooled), c->pooled);
            }
            html_markup(out, "</tr>\n");
        }
    table_end(out);
    html_markup(out, "</section>\n");
}

static void write_ways(html *out, const study_table *t)
{
    html_element(out, "<section class=\"card\"><h2>Ways to draw</h2>\n<p>Mean difference to drawing the same model by ",
                 t->way.name[0], ", over all data sets and seeds.</p>\n");
    table_head(out, t, study_main_columns, NULL);
    for (int arm = 0; arm < t->arm.count; arm++)
        for (int way = 1; way < t->way.count; way++) {
            row_head(out, t, arm, way);
            for (int i = 0; i < study_main_columns; i++) {
                const study_column *c = &study_columns[i];
                if (!study_has(t, c->measure)) continue;
                if (!c->of_training)
                    cell_difference(out, study_against_first_way(t, c->measure, arm, way, c->pooled), c->pooled);
                else
                    html_markup(out, "<td class=\"quiet\">the same</td>");
            }
            html_markup(out, "</tr>\n");
        }
    table_end(out);
    html_markup(out, "</section>\n");
}

void study_page_together(html *out, const study_table *t)
{
    if (t->arm.count > 1) write_arms_together(out, t);
    if (t->way.count > 1) write_ways(out, t);
}

/* ---- failures ---- */

void study_page_failures(html *out, const study_table *t)
{
    bool any = false;
    for (int i = 0; i < t->row_count; i++) any = any || t->row[i].failure;
    if (!any) return;
    html_markup(out, "<section class=\"card\"><h2>What failed</h2>\n<p>The same command tries it again.</p>\n<ul>\n");
    for (const study_row *row = t->row; row < t->row + t->row_count; row++) {
        char label[DT_TEXT_MAX];
        if (!row->failure) continue;
        study_label(label, t, row->arm, row->way);
        html_element(out, "<li><b>", label, "</b>, ");
        html_element(out, "", t->data.name[row->data], ", seed ");
        html_element(out, "", t->seed.name[row->seed], ": ");
        html_element(out, "", row->failure, "</li>\n");
    }
    html_markup(out, "</ul></section>\n");
}
