/* What came out, said plainly whichever way it came out: every sentence is made from numbers of the run folders. */
#include "report/page.h"

#include <math.h>
#include <string.h>

/* What the others are compared with: plain fine-tuning where there is one, else the first run. */
static const report_run *find_baseline(const report *r)
{
    for (int64_t i = 0; i < r->count; i++)
        if (run_is(&r->runs[i].run, DT_METHOD_FINETUNE)) return &r->runs[i];
    return &r->runs[0];
}

static const run_eval *find_base(const report *r, const char *measure)
{
    for (int64_t i = 0; i < r->count; i++) {
        const run_eval *base = run_find_evals(&r->runs[i].run, measure).base;
        if (base && isfinite(base->frechet_distance)) return base;
    }
    return NULL;
}

static bool same_text(const report_run *a, const report_run *b, const char *key)
{
    return strcmp(run_text(&a->run, key), run_text(&b->run, key)) == 0;
}

static bool same_budget(const report_run *a, const report_run *b)
{
    return a->summary.steps == b->summary.steps && a->summary.batch == b->summary.batch;
}

static void percent(html *out, double ratio, const char *lower, const char *higher)
{
    html_markup(out, "%.1f&nbsp;%% %s", 100 * fabs(ratio - 1), ratio < 1 ? lower : higher);
}

static void who(html *out, const report_run *r)
{
    html_element(out, "<strong>", r->label, "</strong>");
    if (run_is(&r->run, DT_METHOD_DIFF_TUNING)) html_element(out, " (", run_text(&r->run, "preset"), " preset)");
}

/* The headline of two runs under one measure. */
static void compare(html *out, const report_run *a, const report_run *b, const char *measure)
{
    const run_eval *mine = run_find_evals(&a->run, measure).last, *theirs = run_find_evals(&b->run, measure).last;
    if (!mine || !theirs || !isfinite(mine->frechet_distance) || !isfinite(theirs->frechet_distance)) {
        html_markup(out, "<p class=\"verdict\">");
        who(out, a);
        html_markup(out, " and ");
        who(out, b);
        html_element(out, " cannot be compared by ", measure, ": at least one has no finite value after step 0.</p>\n");
        return;
    }
    double ratio = mine->frechet_distance / theirs->frechet_distance;
    html_markup(out, "<p class=\"verdict\">");
    who(out, a);
    html_element(out, " ended at ", measure, " <b>");
    html_number(out, mine->frechet_distance);
    html_markup(out, "</b>, ");
    who(out, b);
    html_markup(out, " at <b>");
    html_number(out, theirs->frechet_distance);
    html_markup(out, "</b>");
    if (!isfinite(ratio)) {
        html_markup(out, ".</p>\n");
        return;
    }
    html_markup(out, ": ");
    percent(out, ratio, "lower", "higher");
    html_markup(out, ". Lower is better, so ");
    if (fabs(ratio - 1) < REPORT_TIE)
        html_markup(out, "this is a tie: differences below %.0f&nbsp;%% are not resolved here", 100 * REPORT_TIE);
    else
        who(out, ratio < 1 ? a : b);
    html_markup(out, "%s.</p>\n", fabs(ratio - 1) < REPORT_TIE ? "" : " came out ahead under this measure");
}

static void state_single(html *out, const report *r, const char *measure)
{
    const run_eval *last = run_find_evals(&r->runs[0].run, measure).last;
    if (!last) return;
    html_markup(out, "<p class=\"verdict\">");
    who(out, &r->runs[0]);
    html_element(out, " ended at ", measure, " <b>");
    html_number(out, last->frechet_distance);
    html_markup(out, "</b> (lower is better).</p>\n");
}

static void state_base(html *out, const report *r, const char *measure)
{
    const run_eval *base = find_base(r, measure);
    if (!base) return;
    html_element(out, "<li>Before tuning (step 0) the model stood at ", measure, " ");
    html_number(out, base->frechet_distance);
    for (int64_t i = 0; i < r->count; i++) {
        const run_eval *last = run_find_evals(&r->runs[i].run, measure).last;
        double ratio = last ? last->frechet_distance / base->frechet_distance : NAN;
        if (!isfinite(ratio)) continue;
        html_element(out, "; ", r->runs[i].label, " ended ");
        percent(out, ratio, "below", "above");
        html_markup(out, " that");
    }
    html_markup(out, ".</li>\n");
}

static void state_best(html *out, const report *r, const char *measure)
{
    bool first = true;
    for (int64_t i = 0; i < r->count; i++) {
        const run_eval *best = run_find_evals(&r->runs[i].run, measure).best;
        if (!best) continue;
        html_element(out, first ? "<li>Lowest " : "; ", first ? measure : "", first ? " on the way: " : "");
        html_element(out, "", r->runs[i].label, " ");
        html_number(out, best->frechet_distance);
        html_markup(out, " at step %.0f", best->step);
        first = false;
    }
    if (!first)
        html_markup(out,
                    ". The lowest of many evaluations flatters a run; the last one is what the file holds.</li>\n");
}

/* Sample counts move a Frechet distance by themselves, so that different ones are not compared silently. */
static void state_counts(html *out, const report *r, const char *measure)
{
    const run_eval *first = NULL;
    bool equal = true;
    for (int64_t i = 0; i < r->count; i++) {
        const run_eval *last = run_find_evals(&r->runs[i].run, measure).last;
        if (!last) continue;
        if (first) equal = equal && last->count == first->count && last->reference_count == first->reference_count;
        if (!first) first = last;
    }
    if (!first || !isfinite(first->count) || !isfinite(first->reference_count)) return;
    if (!equal) {
        html_element(out, "<li class=\"warn\">The counts of images behind ", measure,
                     " differ between the runs; the distances are biased differently and not comparable.</li>\n");
        return;
    }
    html_element(out, "<li>", measure, " compares ");
    html_markup(out,
                "%.0f samples with %.0f held-out images. So few make every value too high by about the same amount: "
                "compare values of this page with each other, not with other publications.</li>\n",
                first->count, first->reference_count);
}

static void budget_of(html *out, const report_run *r)
{
    html_number(out, r->summary.steps);
    html_markup(out, " steps of ");
    html_number(out, r->summary.batch);
    html_markup(out, " images");
}

static void state_budget(html *out, const report *r)
{
    bool equal = true, with_bank = false;
    for (int64_t i = 0; i < r->count; i++) {
        equal = equal && (i == 0 || same_budget(&r->runs[0], &r->runs[i]));
        with_bank = with_bank || run_is(&r->runs[i].run, DT_METHOD_DIFF_TUNING);
    }
    if (equal) {
        html_markup(out, "<li>%s ", r->count > 1 ? "Same budget for all runs:" : "Budget:");
        budget_of(out, &r->runs[0]);
        html_markup(out, "%s.</li>\n",
                    with_bank ? " (for Diff-Tuning the share that is retained is part of the batch)" : "");
        return;
    }
    html_markup(out, "<li class=\"warn\">The budgets differ, so the comparison is not like for like: ");
    for (int64_t i = 0; i < r->count; i++) {
        html_element(out, i ? "; " : "", r->runs[i].label, " ");
        budget_of(out, &r->runs[i]);
    }
    html_markup(out, ".</li>\n");
}

static void state_differences(html *out, const report *r)
{
    static const struct {
        const char *key, *sentence;
    } facts[] = {
        {"base_sha256", "The runs started from different base models; FD-base is then measured in different features, "
                        "and its values are not comparable."},
        {"data_sha256", "The runs were tuned to different images."},
    };
    for (size_t f = 0; f < sizeof facts / sizeof *facts; f++) {
        bool equal = true;
        for (int64_t i = 1; i < r->count; i++) equal = equal && same_text(&r->runs[0], &r->runs[i], facts[f].key);
        if (!equal) html_markup(out, "<li class=\"warn\">%s</li>\n", facts[f].sentence);
    }
}

/* How far the loss on the memory bank moved: what was forgotten. */
static void state_forgetting(html *out, const report *r)
{
    bool first = true;
    for (int64_t i = 0; i < r->count; i++) {
        const run *one = &r->runs[i].run;
        int64_t count = one->validation_count[RUN_BANK];
        const run_validation *v = one->validation[RUN_BANK];
        double ratio = count > 1 ? v[count - 1].loss / v[0].loss : NAN;
        if (!isfinite(ratio)) continue;
        html_element(out, first ? "<li>What was forgotten, as the validation loss on the memory bank: " : "; ",
                     r->runs[i].label, " ");
        percent(out, ratio, "lower", "higher");
        html_markup(out, " than at step %.0f", v[0].step);
        first = false;
    }
    if (!first) html_markup(out, ".</li>\n");
}

/* The last line of a diagnosis, which is what it recommends; NULL: there is no such diagnosis, or it is no text. */
static const char *advice_at(const report *r, int64_t number)
{
    const json_t *lines = json_object_get(json_object_get(report_finding_at(r, number).found, "advice"), "lines");
    return json_string_value(json_array_get(lines, json_array_size(lines) - 1));
}

/* What was foreseen. Runs of one experiment keep the same diagnosis, whose words are told once. */
static void state_foreseen(html *out, const report *r)
{
    for (int64_t i = 0; report_finding_at(r, i).found; i++) {
        const char *advice = advice_at(r, i);
        bool told = !advice;
        for (int64_t before = 0; before < i && !told; before++) {
            const char *other = advice_at(r, before);
            told = other && !strcmp(other, advice);
        }
        if (!told) html_element(out, "<li>The diagnosis before any training: ", advice, "</li>\n");
    }
}

/* ---- obedience to controls ---- */

static bool same_control(const report_run *a, const report_run *b)
{
    return a->run.convergence_count && b->run.convergence_count &&
           !strcmp(a->run.convergence[0].control, b->run.convergence[0].control);
}

/* The first of plain fine-tuning by the same control, which may be the run itself; NULL: there is none. */
static const report_run *find_plain(const report *r, const report_run *one)
{
    for (int64_t i = 0; i < r->count; i++)
        if (run_is(&r->runs[i].run, DT_METHOD_FINETUNE) && same_control(&r->runs[i], one)) return &r->runs[i];
    return NULL;
}

static int64_t count_same_control(const report *r, const report_run *one)
{
    int64_t count = 0;
    for (int64_t i = 0; i < r->count; i++) count += same_control(&r->runs[i], one);
    return count;
}

static void tell_obedience(html *out, const report_run *r, run_steps s)
{
    who(out, r);
    if (!isfinite(s.step)) {
        html_markup(out, " does not come to obey its control in ");
        html_number(out, r->summary.steps);
        html_markup(out, " steps");
        return;
    }
    html_markup(out, " obeys its control from step <b>%.0f</b> on (%s; 95&nbsp;%%: ", s.step,
                s.is_jump ? "its jump" : "its threshold");
    html_number(out, s.first);
    html_markup(out, " to ");
    html_number(out, s.last);
    html_markup(out, ")");
}

static void compare_obedience(html *out, const report_run *a, const report_run *b)
{
    const run_steps m = run_obeys_from(&a->run), t = b ? run_obeys_from(&b->run) : (run_steps){NAN, NAN, NAN, false};
    html_markup(out, "<p class=\"verdict\">");
    tell_obedience(out, a, m);
    if (b) {
        html_markup(out, ", ");
        tell_obedience(out, b, t);
    }
    if (isfinite(m.step / t.step)) {
        html_markup(out, ": ");
        percent(out, m.step / t.step, "fewer steps", "more steps");
        const bool apart = m.last < t.first || t.last < m.first;
        html_markup(out, apart ? "" : ", which the intervals do not tell from none");
    }
    html_markup(out, ".</p>\n");
}

/* Each run beside the plain one of its control. Whether any has a measure of it. */
static bool state_obedience(html *out, const report *r)
{
    bool any = false;
    for (int64_t i = 0; i < r->count; i++) {
        const report_run *one = &r->runs[i], *plain = find_plain(r, one);
        any = any || one->run.convergence_count;
        if (!one->run.convergence_count || (one == plain && count_same_control(r, one) > 1)) continue;
        compare_obedience(out, one, one == plain ? NULL : plain);
    }
    return any;
}

void page_verdict(html *out, const report *r)
{
    const report_run *baseline = find_baseline(r);
    html_markup(out, "<section class=\"card\"><h2>What came out</h2>\n");
    if (!state_obedience(out, r) && r->measure_count == 0)
        html_markup(out, "<p class=\"verdict\">No distance to held-out images was measured%s.</p>\n",
                    r->count > 1 ? ", so the runs cannot be ranked" : "");
    for (int64_t m = 0; m < r->measure_count; m++) {
        if (r->count == 1) state_single(out, r, r->measures[m]);
        for (int64_t i = 0; i < r->count; i++)
            if (&r->runs[i] != baseline) compare(out, &r->runs[i], baseline, r->measures[m]);
    }
    html_markup(out, "<ul>\n");
    state_foreseen(out, r);
    state_budget(out, r);
    state_differences(out, r);
    for (int64_t m = 0; m < r->measure_count; m++) {
        state_base(out, r, r->measures[m]);
        state_best(out, r, r->measures[m]);
        state_counts(out, r, r->measures[m]);
    }
    state_forgetting(out, r);
    if (r->count > 1)
        html_markup(out,
                    "<li>One run each. How far another seed would move these numbers was not measured here.</li>\n");
    html_markup(out, "</ul></section>\n");
}
