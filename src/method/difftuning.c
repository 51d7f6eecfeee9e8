#include "method/difftuning.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "file/file.h"
#include "settings/settings.h"

/* ---- psi and xi ---- */

/* Section 3.2, "Choices of xi(t) and psi(t)": t is scaled to (0, 1]; entry t of a table stands for (t + 1) / T, as the
 * released code has it. */
static double power_law(double scaled_t, double tau)
{
    return pow(scaled_t, tau);
}

static void fill_psi_power(time_table *psi, double tau)
{
    for (int t = 0; t < METHOD_T; t++) psi->value[t] = power_law((t + 1.0) / METHOD_T, tau);
}

/* Section 4.4: psi = 1 / (1 + SNR(t)), which is 1 - abar_t. */
static void fill_psi_snr(time_table *psi, noise_law noise)
{
    schedule s;
    schedule_full(&s, noise);
    for (int t = 0; t < METHOD_T; t++) psi->value[t] = 1 - s.abar[t];
}

/* The paper's xi = 1 - psi. */
static void fill_xi_one_minus(time_table *xi, const time_table *psi)
{
    for (int t = 0; t < METHOD_T; t++) xi->value[t] = fmax(0, 1 - psi->value[t]);
}

/* The released code's xi: psi read from the other end. It equals 1 - psi only at tau = 1 (up to 1/T). */
static void fill_xi_mirror(time_table *xi, double tau)
{
    for (int t = 0; t < METHOD_T; t++) xi->value[t] = power_law((double)(METHOD_T - t) / METHOD_T, tau);
}

static void fill_constant(time_table *table, double value)
{
    for (int t = 0; t < METHOD_T; t++) table->value[t] = value;
}

static dt_status parse_table(time_table *table, const char *path, const char *text, const char *text_end, dt_error *err)
{
    for (int t = 0; t < METHOD_T; t++) {
        char *end;
        double v = strtod(text, &end);
        if (end == text || !(v >= 0 && v <= METHOD_VALUE_MAX))
            return error_set(err, DT_ERR_FORMAT,
                             "%s: %d numbers from 0 to %g expected, number %d is missing or not one", path, METHOD_T,
                             METHOD_VALUE_MAX, t + 1);
        table->value[t] = v;
        for (text = end; isspace((unsigned char)*text) || *text == ',';) text++;
    }
    if (text != text_end) return error_set(err, DT_ERR_FORMAT, "%s: %d numbers expected, found more", path, METHOD_T);
    return DT_OK;
}

static dt_status read_table(time_table *table, const char *path, dt_error *err)
{
    char *text;
    size_t size;
    if (file_read_all(&text, &size, path, 1 << 20, err) != DT_OK) return err->status;
    text_c_numbers numbers;
    if (text_enter_c_numbers(&numbers))
        parse_table(table, path, text, text + size, err);
    else
        error_set_errno(err, "%s: reading numbers", path);
    text_leave_c_numbers(&numbers);
    free(text);
    return err->status;
}

static void cumulate(time_table *table)
{
    table->sum = 0;
    for (int t = 0; t < METHOD_T; t++) table->sum += table->value[t];
    double running = 0;
    for (int t = 0; t < METHOD_T; t++) {
        running += table->value[t];
        table->cumulated[t] = table->sum > 0 ? running / table->sum : 0;
    }
}

static dt_status fill_psi(difftuning *d, const dt_settings *s, noise_law noise, dt_error *err)
{
    switch (s->psi) {
    case DT_PSI_POWER: fill_psi_power(&d->psi, s->tau); break;
    case DT_PSI_SNR: fill_psi_snr(&d->psi, noise); break;
    case DT_PSI_TABLE: return read_table(&d->psi, s->psi_table, err);
    }
    return DT_OK;
}

static dt_xi xi_form(const dt_settings *s)
{
    if (s->xi != DT_XI_PRESET) return s->xi;
    return s->preset == DT_PRESET_PAPER ? DT_XI_ONE_MINUS : DT_XI_MIRROR;
}

static double mirror_tau(const dt_settings *s)
{
    return s->tau_retention >= 0 ? s->tau_retention : s->tau;
}

static dt_status fill_xi(difftuning *d, const dt_settings *s, dt_error *err)
{
    switch (xi_form(s)) {
    case DT_XI_MIRROR: fill_xi_mirror(&d->xi, mirror_tau(s)); break;
    case DT_XI_TABLE: return read_table(&d->xi, s->xi_table, err);
    default: fill_xi_one_minus(&d->xi, &d->psi); break;
    }
    return DT_OK;
}

/* Section 4.4's ablations: retention alone leaves psi flat, reconsolidation alone has no bank. */
static void apply_ablation(difftuning *d, const dt_settings *s)
{
    if (s->ablation == DT_ABLATION_RETENTION_ONLY) fill_constant(&d->psi, 1);
    if (s->ablation == DT_ABLATION_RECONSOLIDATION_ONLY) fill_constant(&d->xi, 0);
}

/* ---- opening ---- */

static void describe(difftuning *d, const dt_settings *s, noise_law noise)
{
    const char variable = noise == NOISE_STRAIGHT ? 'n' : 't'; /* a flow's noise level */
    const char power[] = {variable, '^', 't', 'a', 'u', '\0'};
    const char *const psi[] = {power, "1/(1+SNR)", "a table"};
    static const char *const xi[] = {"", "1-psi", "mirrored psi", "a table"};
    char mirror[32]; /* what is mirrored is always a power of t, which psi need not be */
    snprintf(mirror, sizeof mirror, "mirrored %c^%g", variable, mirror_tau(s));
    const bool other = xi_form(s) == DT_XI_MIRROR && (s->psi != DT_PSI_POWER || mirror_tau(s) != s->tau);
    static const char *const ablation[] = {"", ", retention only", ", reconsolidation only"};
    const char *name = settings_method_names[s->method];
    if (s->method != DT_METHOD_DIFF_TUNING)
        snprintf(d->line, sizeof d->line, "%s: t uniform, no bank", name);
    else
        snprintf(d->line, sizeof d->line,
                 "%s, preset %s: psi %s, tau %g, xi %s, t %s, bank share %g, retention weight %g%s", name,
                 settings_word(s, "preset"), psi[s->psi], s->tau, other ? mirror : xi[xi_form(s)],
                 s->t_law == DT_T_SAMPLE ? "sampled" : "weighted", d->bank_fraction, d->retention_weight,
                 ablation[s->ablation]);
}

/* The paper: half and half, equal weights. The released code: a fifth of the batch (6 of 32), weight 0.1. */
static void apply_preset(difftuning *d, const dt_settings *s)
{
    bool paper = s->preset == DT_PRESET_PAPER;
    d->bank_fraction = s->bank_fraction >= 0 ? s->bank_fraction : paper ? 0.5 : 0.2;
    d->retention_weight = s->retention_weight >= 0 ? s->retention_weight : paper ? 1.0 : 0.1;
}

dt_status difftuning_open(difftuning *d, const dt_settings *s, noise_law noise, dt_error *err)
{
    *d = (difftuning){.t_law = s->t_law};
    if (s->method == DT_METHOD_DIFF_TUNING) {
        if (fill_psi(d, s, noise, err) != DT_OK || fill_xi(d, s, err) != DT_OK) return err->status;
        apply_ablation(d, s);
        apply_preset(d, s);
    } else {
        fill_constant(&d->psi, 1);
    }
    cumulate(&d->psi);
    cumulate(&d->xi);
    if (d->psi.sum <= 0)
        return error_set(err, DT_ERR_ARG, "psi is zero for every t: there is nothing to learn from the images");
    if (d->xi.sum <= 0) d->bank_fraction = 0; /* tau = 0 under the paper's form: plain fine-tuning */
    describe(d, s, noise);
    return DT_OK;
}

/* ---- one step ---- */

int64_t difftuning_bank_count(const difftuning *d, int64_t batch)
{
    if (d->bank_fraction <= 0) return 0;
    int64_t count = (int64_t)((double)batch * d->bank_fraction);
    if (count < 1) count = 1;
    return count < batch ? count : batch - 1;
}

/* First t whose cumulated share exceeds u; entries of probability zero are never hit. */
static int32_t draw_categorical(const time_table *table, double u)
{
    int32_t low = 0, high = METHOD_T - 1;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (table->cumulated[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

difftuning_time difftuning_draw(const difftuning *d, bool from_bank, rng_key key)
{
    const time_table *table = from_bank ? &d->xi : &d->psi;
    const double u = rng_uniform(key, 0), within = rng_uniform(key, 1);
    if (d->t_law == DT_T_SAMPLE) return (difftuning_time){draw_categorical(table, u), within, 1};
    int32_t t = (int32_t)(u * METHOD_T);
    return (difftuning_time){t, within, table->value[t]};
}

double difftuning_share(const difftuning *d, bool from_bank, int64_t target_count, int64_t bank_count)
{
    return from_bank ? d->retention_weight / (double)bank_count : 1 / (double)target_count;
}
