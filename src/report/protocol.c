/* Runs of a recipe beside the paper's table 1: its number next to ours, and in which settings they differ. */
#include "report/page.h"

#include <math.h>
#include <string.h>

#include "settings/settings.h"

/* What section 4.1 and table 3 of the paper state. What they leave open is said in a sentence of its own. */
static const struct {
    const char *key, *name;
    double value;    /* of an enum: the number of its word */
    bool difftuning; /* plain fine-tuning does not use it */
} stated[] = {
    {"learning_rate", "learning rate", 1e-4, false},
    {"lr_scheduler", "course of the learning rate", DT_LR_CONSTANT, false},
    {"resolution", "size of the images", 256, false},
    {"preset", "preset", DT_PRESET_PAPER, true},
    {"psi", "psi", DT_PSI_POWER, true},
    {"tau", "tau", 1, true},
    {"retention", "retention", DT_RETENTION_BANK, true},
    {"ablation", "ablation", DT_ABLATION_NONE, true},
    {"sampler", "sampler", DT_SAMPLER_DDIM, false},
    {"num_inference_steps", "steps of sampling", 50, false},
    {"eta", "eta", 0, false},
    {"guidance_scale", "guidance", 1.5, false},
};
enum { STATED_STEPS = 24000, STATED_BATCH = 32, STATED_SAMPLES = 10000 };

static bool has_recipe(const report_run *r)
{
    const char *recipe = run_setting_text(&r->run, "recipe");
    return recipe && *recipe;
}

/* The last FID of a run, under whichever resize; NULL: none was taken. */
static const run_eval *find_fid(const report_run *r)
{
    for (int64_t i = r->run.eval_count - 1; i >= 0; i--)
        if (strncmp(r->run.eval[i].measure, "FID", 3) == 0) return &r->run.eval[i];
    return NULL;
}

static double published_fid(const report_run *r, const char *key)
{
    double value = run_setting_number(&r->run, key);
    return value > 0 ? value : (double)NAN;
}

/* ---- the table ---- */

static void write_row(html *out, const char *method, const char *preset, const run_eval *fid, double published)
{
    html_element(out, "<tr><th scope=\"row\">", method, "</th><td>");
    html_escaped(out, preset);
    html_markup(out, "</td><td>");
    html_number(out, fid ? fid->frechet_distance : (double)NAN);
    html_element(out, "</td><td>", fid ? fid->measure : "\xe2\x80\x93", "</td><td>");
    html_number(out, fid ? fid->count : (double)NAN);
    html_markup(out, "</td><td>");
    html_number(out, fid ? fid->reference_count : (double)NAN);
    html_markup(out, "</td><td>");
    html_number(out, published);
    html_markup(out, "</td></tr>\n");
}

static void write_table(html *out, const report *r)
{
    const report_run *first = NULL;
    html_markup(out,
                "<div class=\"wide\"><table><thead><tr><td></td><th scope=\"col\">preset</th><th scope=\"col\">FID "
                "here</th><th scope=\"col\">measure</th><th scope=\"col\">samples</th><th scope=\"col\">reference "
                "images</th><th scope=\"col\">FID in the paper</th></tr></thead><tbody>\n");
    for (int64_t i = 0; i < r->count; i++) {
        const report_run *one = &r->runs[i];
        if (!has_recipe(one)) continue;
        if (!first) first = one;
        bool difftuning = run_is(&one->run, DT_METHOD_DIFF_TUNING);
        write_row(out, one->label, difftuning ? run_text(&one->run, "preset") : "", find_fid(one),
                  published_fid(one, difftuning ? "paper_fid_diff_tuning" : "paper_fid_finetune"));
    }
    if (isfinite(published_fid(first, "paper_fid_difffit")))
        write_row(out, "DiffFit (not offered here)", "", NULL, published_fid(first, "paper_fid_difffit"));
    html_markup(out, "</tbody></table></div>\n");
}

/* ---- what differs ---- */

static void open_difference(html *out, const report_run *r, int *count)
{
    if ((*count)++ == 0)
        html_element(out, "<li class=\"warn\">", r->label, " does not follow the paper&rsquo;s protocol: ");
    else
        html_markup(out, "; ");
}

static void number_differs(html *out, const report_run *r, const char *name, double mine, double paper, int *count)
{
    if (mine == paper) return;
    open_difference(out, r, count);
    html_element(out, "", name, " ");
    html_number(out, mine);
    html_markup(out, " (paper ");
    html_number(out, paper);
    html_markup(out, ")");
}

static void word_differs(html *out, const report_run *r, const char *name, const char *mine, const char *paper,
                         int *count)
{
    if (mine && strcmp(mine, paper) == 0) return;
    open_difference(out, r, count);
    html_element(out, "", name, " ");
    html_escaped(out, mine ? mine : "unknown");
    html_element(out, " (paper ", paper, ")");
}

static void state_run(html *out, const report_run *r)
{
    int count = 0;
    const run_eval *fid = find_fid(r);
    for (size_t i = 0; i < sizeof stated / sizeof *stated; i++) {
        if (stated[i].difftuning && !run_is(&r->run, DT_METHOD_DIFF_TUNING)) continue;
        const settings_key *key = settings_find(stated[i].key);
        if (key->type == SETTINGS_ENUM)
            word_differs(out, r, stated[i].name, run_setting_text(&r->run, key->name), key->words[(int)stated[i].value],
                         &count);
        else
            number_differs(out, r, stated[i].name, run_setting_number(&r->run, key->name), stated[i].value, &count);
    }
    number_differs(out, r, "steps made", r->summary.steps, STATED_STEPS, &count);
    number_differs(out, r, "images of a step", r->summary.batch, STATED_BATCH, &count);
    if (fid)
        number_differs(out, r, "samples measured", fid->count, STATED_SAMPLES, &count);
    else {
        open_difference(out, r, &count);
        html_markup(out, "no FID was taken, and no other distance compares with one");
    }
    if (count)
        html_markup(out, ". Its number and the paper&rsquo;s are not results of one experiment.</li>\n");
    else
        html_element(out, "<li>", r->label,
                     " follows the paper&rsquo;s protocol as far as the paper states it.</li>\n");
}

static void state_open_choices(html *out, const report *r)
{
    double size = NAN;
    for (int64_t i = 0; i < r->count && !isfinite(size); i++)
        if (run_is(&r->runs[i].run, DT_METHOD_DIFF_TUNING)) size = run_setting_number(&r->runs[i].run, "bank_size");
    html_markup(out, "<li>Not stated in the paper, and therefore a choice of this program: the number of images in the "
                     "memory bank (here ");
    html_number(out, size);
    html_markup(out,
                "; the paper tried 5,000 to 200,000), which 50 of the 1,000 steps are taken, how classes are drawn, "
                "and the program that computed the FID.</li>\n");
}

void page_protocol(html *out, const report *r)
{
    const char *recipe = NULL;
    for (int64_t i = 0; i < r->count && !recipe; i++)
        if (has_recipe(&r->runs[i])) recipe = run_setting_text(&r->runs[i].run, "recipe");
    if (!recipe) return;
    html_element(out, "<section class=\"card\"><h2>Beside the paper: ", recipe, "</h2>\n");
    write_table(out, r);
    html_markup(out, "<ul>\n");
    for (int64_t i = 0; i < r->count; i++)
        if (has_recipe(&r->runs[i])) state_run(out, &r->runs[i]);
    state_open_choices(out, r);
    html_markup(out, "</ul></section>\n");
}
