#include "report/study_page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/page.h"

const study_column study_columns[] = {
    {STUDY_FRECHET, "distance", STUDY_PERCENT, false},
    {STUDY_KERNEL, "KID", STUDY_ABSOLUTE, false},
    {STUDY_REACHED, "threshold at step", STUDY_PERCENT, true},
    {STUDY_JUMP, "jump at step", STUDY_PERCENT, true},
    {STUDY_OBEDIENCE, "obedience at the end", STUDY_ABSOLUTE, true},
    {STUDY_LOSS, "held-out loss", STUDY_PERCENT, true},
    {STUDY_BANK_LOSS, "loss on the bank", STUDY_PERCENT, true},
    {STUDY_COPIED, "copied", STUDY_ABSOLUTE, false},
    {STUDY_NEAREST_RATIO, "nearest ratio", STUDY_ABSOLUTE, false},
    {STUDY_PRECISION, "precision", STUDY_ABSOLUTE, false},
    {STUDY_RECALL, "recall", STUDY_ABSOLUTE, false},
    {STUDY_SPATIAL, "sFID", STUDY_PERCENT, false},
    {STUDY_SCORE, "Inception Score", STUDY_PERCENT, false},
};
const int study_column_count = sizeof study_columns / sizeof *study_columns, study_main_columns = 8;

bool study_has(const study_table *t, study_measure measure)
{
    bool has = false;
    for (int i = 0; i < t->row_count; i++) has = has || isfinite(t->row[i].value[measure]);
    return has;
}

const char *study_title(const study_table *t, const study_column *column)
{
    return column->measure == STUDY_FRECHET && t->measure[0] ? t->measure : column->title;
}

void study_label(char label[DT_TEXT_MAX], const study_table *t, int arm, int way)
{
    snprintf(label, DT_TEXT_MAX, "%s%s%s", t->arm.name[arm], t->way.count > 1 ? ", " : "",
             t->way.count > 1 ? t->way.name[way] : "");
}

/* ---- the page ---- */

static void write_summary(html *out, const study_table *t)
{
    int measured = 0, failed = 0;
    for (int i = 0; i < t->row_count; i++) {
        measured += t->row[i].measured;
        failed += t->row[i].failure != NULL;
    }
    html_markup(out, "<section class=\"card\"><p class=\"verdict\">%d arms on %d data sets with %d seeds", t->arm.count,
                t->data.count, t->seed.count);
    if (t->draws) html_markup(out, ", drawn from in %d ways", t->way.count);
    html_markup(out, ": <b>%d of %d measured</b>", measured, t->row_count);
    if (failed) html_markup(out, ", <span class=\"warn\">%d failed</span>", failed);
    html_element(out, ".</p>\n<p>Differences are to the first arm, <b>", t->arm.name[0],
                 "</b>, pair by pair: same data set, seed and way to draw. The numbers are those of "
                 "<code>study.csv</code>, times those of <code>times.csv</code>.</p></section>\n");
}

static void write_notes(html *out)
{
    html_markup(
        out,
        "<section class=\"card\"><h2>How to read the measures</h2>\n<ul>\n"
        "<li>&plusmn; is the standard deviation over seeds (n - 1); of a single seed there is none.</li>\n"
        "<li>Brackets are 95&nbsp;%% intervals of the mean difference by Student's t over the pairs, which takes pairs "
        "as independent and differences as about normal; with three seeds they are wide, and honest. Intervals "
        "without 0 are marked; with many arms one in twenty is so by chance.</li>\n"
        "<li>A distance (FD, KID) is between samples and held-out pictures, lower is better; it rewards copies of the "
        "training pictures and cannot tell them. FD depends on the number of pictures.</li>\n"
        "<li><b>Held-out loss</b> is the denoising loss on held-out pictures, <b>loss on the bank</b> that on the "
        "base's own samples: what it rises by is forgotten. Arms with banks of their own are measured on those.</li>\n"
        "<li><b>Copied</b> is the share of samples that are no farther from their nearest training picture than that "
        "picture is from its own nearest other one; of held-out pictures, which nobody copied, that share stands in "
        "the row below the arms. <b>Nearest ratio</b> is the mean distance to the nearest training picture, of samples "
        "over held-out pictures: 0 for copies, 1 for samples as far away as new pictures.</li>\n"
        "<li><b>Threshold at step</b> is where samples obey their control by the threshold, at two measures in a row; "
        "<b>jump at step</b> where the curve of that measure jumps. <code>study.csv</code> has the interval of each. A "
        "seed that never gets there has no step and is left out: then &ldquo;of&rdquo; says how many did, and the mean "
        "is too low. <b>Obedience</b> is SSIM or accuracy, which rise, or MSE, which falls.</li>\n"
        "<li>Time is that of training, drawing and measuring, without what arms share.</li>\n"
        "<li>A dash is what was not measured.</li>\n</ul></section>\n");
}

static dt_status write_all(html *out, const void *user, dt_error *err)
{
    const study_table *t = user;
    html_element(out, "<p class=\"quiet\">", t->tool, "</p></header>\n");
    write_summary(out, t);
    study_page_failures(out, t);
    study_page_together(out, t);
    for (int data = 0; data < t->data.count; data++) {
        study_page_data(out, t, data);
        study_page_figures(out, t, data);
    }
    study_page_sensitivity(out, t);
    html_element(out, "<section class=\"card\"><h2>Settings</h2><details><summary>recipe.yaml</summary><pre>",
                 t->settings, "</pre></details></section>\n");
    write_notes(out);
    return err->status;
}

dt_status study_page_write(const study_table *t, const char *path, dt_error *err)
{
    return page_write(path, t->title, write_all, t, err);
}
