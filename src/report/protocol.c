/* Runs of a recipe beside the paper: of table 1 its number next to ours (table 4's stand where obedience is told, convergence.c), and
 * in which settings they differ from what it states. */
#include "report/page.h"

#include <math.h>
#include <string.h>

#include "settings/settings.h"

typedef struct stated {
    const char *key, *name;
    double value;    /* of an enum: the number of its word */
    bool difftuning; /* plain fine-tuning does not use it */
} stated;

#define STATED_METHOD                                                                                                  \
    {"preset", "preset", DT_PRESET_PAPER, true}, {"psi", "psi", DT_PSI_POWER, true}, {"tau", "tau", 1, true},          \
        {"retention", "retention", DT_RETENTION_BANK, true},                                                           \
    {                                                                                                                  \
        "ablation", "ablation", DT_ABLATION_NONE, true                                                                 \
    }

/* What section 4 and table 3 of the paper state of each of its two halves. What they leave open is said in a sentence of its own. */
static const stated class_conditional[] = {
    {"learning_rate", "learning rate", 1e-4, false},
    {"lr_scheduler", "course of the learning rate", DT_LR_CONSTANT, false},
    {"resolution", "size of the images", 256, false},
    STATED_METHOD,
    {"sampler", "sampler", DT_SAMPLER_DDIM, false},
    {"num_inference_steps", "steps of sampling", 50, false},
    {"eta", "eta", 0, false},
    {"guidance_scale", "guidance", 1.5, false},
    {NULL, NULL, 0, false},
};
static const stated controlled[] = {
    {"learning_rate", "learning rate", 1e-5, false},
    {"lr_scheduler", "course of the learning rate", DT_LR_CONSTANT, false},
    {"resolution", "size of the images", 512, false},
    STATED_METHOD,
    {"num_inference_steps", "steps of sampling", 50, false},
    {"convergence_steps", "steps between measures", 100, false},
    {NULL, NULL, 0, false},
};
enum { STATED_STEPS = 24000, STATED_BATCH = 32, STATED_SAMPLES = 10000, STATED_CONTROLLED_BATCH = 4 };

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

/* Plain fine-tuning of DiffFit's scales and biases alone, which has a number of its own in the paper. */
static bool is_difffit(const report_run *r)
{
    const char *adapter = run_setting_text(&r->run, "adapter");
    return adapter && !strcmp(adapter, settings_word_at("adapter", DT_ADAPTER_DIFFFIT)) &&
           !run_is(&r->run, DT_METHOD_DIFF_TUNING);
}

static const char *published_key(const report_run *r)
{
    return run_is(&r->run, DT_METHOD_DIFF_TUNING) ? "paper_fid_diff_tuning"
           : is_difffit(r)                        ? "paper_fid_difffit"
                                                  : "paper_fid_finetune";
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

static void write_table(html *out, const report *r, const report_run *first)
{
    html_markup(out,
                "<div class=\"wide\"><table><thead><tr><td></td><th scope=\"col\">preset</th><th scope=\"col\">FID "
                "here</th><th scope=\"col\">measure</th><th scope=\"col\">samples</th><th scope=\"col\">reference "
                "images</th><th scope=\"col\">FID in the paper</th></tr></thead><tbody>\n");
    bool has_difffit = false;
    for (const report_run *one = first; one < r->runs + r->count; one++) {
        if (!has_recipe(one)) continue;
        bool difftuning = run_is(&one->run, DT_METHOD_DIFF_TUNING);
        write_row(out, one->label, difftuning ? run_text(&one->run, "preset") : "", find_fid(one),
                  published_fid(one, published_key(one)));
        has_difffit = has_difffit || is_difffit(one);
    }
    if (!has_difffit && isfinite(published_fid(first, "paper_fid_difffit")))
        write_row(out, "DiffFit (no run here)", "", NULL, published_fid(first, "paper_fid_difffit"));
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

static void setting_differs(html *out, const report_run *r, const stated *s, int *count)
{
    if (s->difftuning && !run_is(&r->run, DT_METHOD_DIFF_TUNING)) return;
    const settings_key *key = settings_find(s->key);
    if (!strcmp(key->name, "retention"))
        word_differs(out, r, s->name, run_retention(&r->run), key->words[(int)s->value], count);
    else if (key->type == SETTINGS_ENUM)
        word_differs(out, r, s->name, run_setting_text(&r->run, key->name), key->words[(int)s->value], count);
    else
        number_differs(out, r, s->name, run_setting_number(&r->run, key->name), s->value, count);
}

static void result_differs(html *out, const report_run *r, int *count)
{
    const run_eval *fid = find_fid(r);
    if (fid) {
        number_differs(out, r, "samples measured", fid->count, STATED_SAMPLES, count);
        return;
    }
    open_difference(out, r, count);
    html_markup(out, "no FID was taken, and no other distance compares with one");
}

static void state_run(html *out, const report_run *r)
{
    int count = 0;
    const map_published *row = run_published_row(&r->run);
    const stated *all = run_tells_control(&r->run) ? controlled : class_conditional;
    for (const stated *s = all; s->key; s++) setting_differs(out, r, s, &count);
    if (row || !run_tells_control(&r->run))
        number_differs(out, r, "steps made", r->summary.steps, row ? row->steps : STATED_STEPS, &count);
    number_differs(out, r, "images of a step", r->summary.batch,
                   run_tells_control(&r->run) ? STATED_CONTROLLED_BATCH : STATED_BATCH, &count);
    if (!run_tells_control(&r->run)) result_differs(out, r, &count);
    if (count)
        html_markup(out, ". Its number and the paper&rsquo;s are not results of one experiment.</li>\n");
    else
        html_element(out, "<li>", r->label,
                     " follows the paper&rsquo;s protocol as far as the paper states it.</li>\n");
}

static void state_open_choices(html *out, const report *r, bool with_control)
{
    double size = NAN;
    for (int64_t i = 0; i < r->count && !isfinite(size); i++)
        if (run_is(&r->runs[i].run, DT_METHOD_DIFF_TUNING)) size = run_setting_number(&r->runs[i].run, "bank_size");
    html_markup(out, "<li>Not stated in the paper, and therefore a choice of this program: the number of images in the "
                     "memory bank (here ");
    html_number(out, size);
    html_markup(out,
                with_control
                    ? "), which and how many pictures obedience is measured on, the guidance they are drawn with, "
                      "blur and window of SSIM, and for how long a threshold must be kept. The paper set its "
                      "thresholds by hand and looked at the samples.</li>\n"
                    : "; the paper tried 5,000 to 200,000), which 50 of the 1,000 steps are taken, how classes are "
                      "drawn, and the program that computed the FID.</li>\n");
}

void page_protocol(html *out, const report *r)
{
    const report_run *first = r->runs, *end = r->runs + r->count;
    while (first < end && !has_recipe(first)) first++;
    if (first == end) return;
    html_element(out, "<section class=\"card\"><h2>Beside the paper: ", run_setting_text(&first->run, "recipe"),
                 "</h2>\n");
    if (!run_tells_control(&first->run)) write_table(out, r, first);
    html_markup(out, "<ul>\n");
    for (const report_run *one = first; one < end; one++)
        if (has_recipe(one)) state_run(out, one);
    state_open_choices(out, r, run_tells_control(&first->run));
    html_markup(out, "</ul></section>\n");
}
