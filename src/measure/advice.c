#include "measure/advice.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- limits ---- */

enum { NO_GAP, NO_GAP_HIGH, CLEAN_GAP, BLUR, ENOUGH_PICTURES, FEW_PICTURES, FEW_PASSES, LONG_PASSES, LIMITS };

static const struct {
    const char *name;
    double value;
} limits[LIMITS] = {
    /* A gap below this is none, if its interval ends below that: of 128 pictures it is some 8 % to either side. */
    [NO_GAP] = {"no_gap", 0.05},
    [NO_GAP_HIGH] = {"no_gap_high", 0.15},
    /* A gap at clean t whose interval begins above this has to be learned. Measured: 3 % with the same low-level statistics on both
     * sides, 80 % where the base had learned damaged pictures. */
    [CLEAN_GAP] = {"clean_gap", 0.10},
    /* Own samples nearer than this to the source at t < 100 are like it. A base whose samples lay 11 % below made the denoiser
     * worse on pictures when its bank was retained. */
    [BLUR] = {"blur", 0.05},
    /* Fewer pictures tell neither that samples are like the source nor a table of 25 bands. */
    [ENOUGH_PICTURES] = {"enough_pictures", 64},
    /* Training pictures, fewer than that, and passes over them, so many or more. Over 210 pictures 76 times DiffFit was ahead of
     * training all weights in distance and in held-out loss, over 6,442 pictures 5 times it was behind. */
    [FEW_PICTURES] = {"few_pictures", 1000},
    [FEW_PASSES] = {"few_passes", 50},
    /* Passes over any training pictures. At 10 to 30 plain fine-tuning was ahead in distance and in held-out loss, at 320
     * distillation was ahead in held-out loss. */
    [LONG_PASSES] = {"long_passes", 100},
};

bool advice_limit(int i, const char **name, double *value)
{
    if (i >= LIMITS) return false;
    *name = limits[i].name;
    *value = limits[i].value;
    return true;
}

/* ---- facts ---- */

/* Source pictures stand for what the base knows where there are any: samples of a weak base are easier than all pictures. */
static const gap *gap_of(const diagnosis *d)
{
    return d->has_source ? &d->of_source : &d->of_own;
}

static bool is_none(const gap_interval *g)
{
    return g->value < limits[NO_GAP].value && g->high < limits[NO_GAP_HIGH].value;
}

static advice_premise premise_of(const gap *g)
{
    if (is_none(&g->clean) && is_none(&g->noisy)) return PREMISE_NO_GAP;
    const bool falls = g->clean.low > 0 && g->rise.high < 0;
    if (g->clean.low > limits[CLEAN_GAP].value || falls) return PREMISE_FAILS;
    return g->rise.low > 0 && g->noisy.low > 0 ? PREMISE_HOLDS : PREMISE_UNKNOWN;
}

static advice_bank bank_of(const diagnosis *d)
{
    const gap_interval *clean = &d->own.relative[0];
    if (!d->has_source) return BANK_UNKNOWN;
    if (clean->high < 0 || clean->low > 0) return BANK_UNLIKE_SOURCE;
    const bool near = fabs(clean->value) < limits[BLUR].value;
    return near && (double)d->own.pictures >= limits[ENOUGH_PICTURES].value ? BANK_LIKE_SOURCE : BANK_UNKNOWN;
}

static advice_length length_of(const diagnosis *d)
{
    const bool few = (double)d->pictures < limits[FEW_PICTURES].value;
    if (few && d->passes >= limits[FEW_PASSES].value) return LENGTH_FEW;
    return d->passes >= limits[LONG_PASSES].value ? LENGTH_LONG : LENGTH_SHORT;
}

/* ---- rules ---- */

#define IS(fact) (1U << (fact))
#define ANY      (~0U)

/* The first whose facts are all met is taken. Sources: what was measured with this program (docs/results.md), and the paper. */
typedef struct rule {
    unsigned premise, bank, length;
    bool adapts; /* by DiffFit; only where the plan takes it */
    dt_method method;
    dt_retention retention;
    bool shapes_psi; /* psi follows the gap; else it is flat */
    const char *what, *why;
} rule;

static const rule rules[] = {
    {IS(PREMISE_NO_GAP), ANY, ANY, false, DT_METHOD_FINETUNE, DT_RETENTION_NONE, false,
     "plain fine-tuning, and little of it",
     "the base fits these pictures as well as its own: there is nothing to transfer, and a long run can only copy "
     "them"},
    {IS(PREMISE_FAILS), ANY, ANY, false, DT_METHOD_FINETUNE, DT_RETENTION_NONE, false, "plain fine-tuning",
     "the clean steps have to be learned, which Diff-Tuning holds where they are; where this was measured (two "
     "targets, to 6,000 steps) plain fine-tuning was ahead throughout"},
    {IS(PREMISE_HOLDS), IS(BANK_LIKE_SOURCE), ANY, false, DT_METHOD_DIFF_TUNING, DT_RETENTION_BANK_DISTIL, true,
     "Diff-Tuning with the memory bank and the base's predictions on it (retention bank-distil), psi after the gap",
     "this is the paper's own setting: the gap rises with t and the base's samples are as good as its source; it was "
     "published as ahead there, which no base measured here has shown; keeping the predictions was ahead of the "
     "paper's way to use the bank wherever both were measured"},
    {IS(PREMISE_HOLDS) | IS(PREMISE_UNKNOWN), ANY, IS(LENGTH_FEW), true, DT_METHOD_FINETUNE, DT_RETENTION_NONE, false,
     "plain fine-tuning of a part, adapter difffit",
     "many passes over few pictures over-fit; where that was measured (76 passes over 210 pictures, three seeds) "
     "DiffFit was ahead of training all weights in distance and in held-out loss, and adapter lora with retention "
     "target-distil forgot and copied least"},
    {IS(PREMISE_HOLDS), ANY, IS(LENGTH_FEW) | IS(LENGTH_LONG), false, DT_METHOD_DIFF_TUNING, DT_RETENTION_TARGET_DISTIL,
     true, "Diff-Tuning without a bank (retention target-distil), psi after the gap",
     "many passes over few pictures over-fit, and a frozen base on your own pictures had the lowest held-out loss; "
     "a Frechet distance may still prefer plain fine-tuning, because it rewards copies"},
    {IS(PREMISE_HOLDS), ANY, ANY, false, DT_METHOD_FINETUNE, DT_RETENTION_NONE, false, "plain fine-tuning",
     "the gap rises with t, but there are pictures enough for this plan: plain fine-tuning was ahead in distance and "
     "in held-out loss where this was measured"},
    {ANY, ANY, ANY, false, DT_METHOD_FINETUNE, DT_RETENTION_NONE, false, "plain fine-tuning",
     "nothing that was found argues for anything else; more pictures would say more"},
};

static bool is_met(const rule *r, const advice *a, const diagnosis *d)
{
    return (r->premise & IS(a->premise)) && (r->bank & IS(a->bank)) && (r->length & IS(a->length)) &&
           (d->takes_difffit || !r->adapts);
}

static const rule *rule_of(const advice *a, const diagnosis *d)
{
    const rule *r = rules;
    while (!is_met(r, a, d)) r++;
    return r;
}

/* ---- psi ---- */

double advice_tau(const double psi[SCHEDULE_STEPS])
{
    double best = 1, least = (double)INFINITY;
    for (int k = 1; k <= 50; k++) {
        double squares = 0;
        for (int t = 0; t < SCHEDULE_STEPS; t++) {
            const double d = psi[t] - pow((t + 1.0) / SCHEDULE_STEPS, k / 10.0);
            squares += d * d;
        }
        if (squares < least) best = k / 10.0;
        least = fmin(least, squares);
    }
    return best;
}

static void choose_psi(advice *a, const diagnosis *d, const rule *r)
{
    const bool fine = (double)gap_of(d)->pictures >= limits[ENOUGH_PICTURES].value;
    a->psi = !r->shapes_psi ? ADVICE_PSI_FLAT : fine && d->psi_fits ? ADVICE_PSI_TABLE : ADVICE_PSI_POWER;
    a->tau = a->psi == ADVICE_PSI_POWER && d->psi_fits ? advice_tau(d->psi) : 1;
}

/* ---- words ---- */

static void tell(advice *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void tell(advice *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->line[a->lines++], ADVICE_LINE_MAX, format, args);
    va_end(args);
}

typedef struct interval_text {
    char text[96];
} interval_text;

/* "12.3 % (8.1 to 16.6)" */
static interval_text percent(const gap_interval *g)
{
    interval_text t;
    if (isfinite(g->high))
        snprintf(t.text, sizeof t.text, "%+.1f %% (%+.1f to %+.1f)", 100 * g->value, 100 * g->low, 100 * g->high);
    else
        snprintf(t.text, sizeof t.text, "%+.1f %% (no interval)", 100 * g->value);
    return t;
}

static void tell_premise(advice *a, const diagnosis *d)
{
    static const char *const words[] = {
        [PREMISE_UNKNOWN] = "The premise of Diff-Tuning: not enough to say.",
        [PREMISE_HOLDS] = "The premise of Diff-Tuning holds: the gap rises with t.",
        [PREMISE_FAILS] = "The premise of Diff-Tuning fails at small t: the pictures differ in their low-level "
                          "statistics (JPEG, sharpness, flat drawings).",
        [PREMISE_NO_GAP] = "There is no gap to speak of.",
    };
    const gap *g = gap_of(d);
    tell(a,
         "%s The base's loss on your pictures against that on %s: %s at t < 200, %s at t >= 500 (95 %% intervals, %lld "
         "picture%s).",
         words[a->premise], d->has_source ? "its source" : "its own samples", percent(&g->clean).text,
         percent(&g->noisy).text, (long long)g->pictures, g->pictures == 1 ? "" : "s");
}

static void tell_bank(advice *a, const diagnosis *d)
{
    static const char *const words[] = {
        [BANK_UNKNOWN] = "whether a bank is worth retaining: not enough to say",
        [BANK_LIKE_SOURCE] = "a bank of them is worth retaining",
        [BANK_UNLIKE_SOURCE] = "they are not as pictures are, and a bank of them would teach that",
    };
    if (!d->has_source)
        tell(a,
             "Whether the base's samples are as good as its source is not known without source_data. Samples of a weak "
             "base are easier than pictures, which makes the gap at small t look larger.");
    else
        tell(a, "The base's own samples against its source at t < 100: loss %s; %s.", percent(&d->own.relative[0]).text,
             words[a->bank]);
}

static void tell_plan(advice *a, const diagnosis *d)
{
    tell(a, "The plan makes %.*f passes over %lld picture%s, and trains %.0f values for each of them: %s.",
         d->passes < 10 ? 1 : 0, d->passes, (long long)d->pictures, d->pictures == 1 ? "" : "s",
         (double)d->trained / (double)d->pictures, a->length == LENGTH_SHORT ? "short" : "long enough to over-fit");
}

static void tell_rule(advice *a, const rule *r)
{
    tell(a, "Recommended: %s. Why: %s.", r->what, r->why);
}

advice advice_of(const diagnosis *d)
{
    advice a = {.premise = premise_of(gap_of(d)), .bank = bank_of(d), .length = length_of(d)};
    const rule *r = rule_of(&a, d);
    a.method = r->method;
    a.retention = r->retention;
    a.adapter = r->adapts ? DT_ADAPTER_DIFFFIT : DT_ADAPTER_NONE;
    choose_psi(&a, d, r);
    tell_premise(&a, d);
    tell_bank(&a, d);
    tell_plan(&a, d);
    tell_rule(&a, r);
    return a;
}

const char *advice_premise_word(advice_premise p)
{
    static const char *const words[] = {[PREMISE_UNKNOWN] = "unknown",
                                        [PREMISE_HOLDS] = "holds",
                                        [PREMISE_FAILS] = "fails",
                                        [PREMISE_NO_GAP] = "no-gap"};
    return words[p];
}

const char *advice_bank_word(advice_bank b)
{
    static const char *const words[] = {
        [BANK_UNKNOWN] = "unknown", [BANK_LIKE_SOURCE] = "like-source", [BANK_UNLIKE_SOURCE] = "unlike-source"};
    return words[b];
}

const char *advice_length_word(advice_length l)
{
    static const char *const words[] = {
        [LENGTH_SHORT] = "short", [LENGTH_FEW] = "few-pictures", [LENGTH_LONG] = "long"};
    return words[l];
}

const char *advice_psi_word(advice_psi p)
{
    static const char *const words[] = {
        [ADVICE_PSI_FLAT] = "flat", [ADVICE_PSI_POWER] = "power", [ADVICE_PSI_TABLE] = "table"};
    return words[p];
}
