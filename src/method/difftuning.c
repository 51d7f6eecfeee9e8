#include "method/difftuning.h"

#include <math.h>
#include <stdio.h>

#include "file/numbers_file.h"
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

static dt_status read_table(time_table *table, const char *path, dt_error *err)
{
    return numbers_file_read(table->value, METHOD_T, METHOD_VALUE_MAX, path, err);
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
    case DT_PSI_MEASURED: fill_psi_power(&d->psi, 1); break; /* until it is */
    }
    return DT_OK;
}

static double mirror_tau(const dt_settings *s)
{
    return s->tau_retention >= 0 ? s->tau_retention : s->tau;
}

static bool has_xi(dt_retention kind)
{
    return kind == DT_RETENTION_BANK || kind == DT_RETENTION_BANK_DISTIL || kind == DT_RETENTION_TARGET_DISTIL;
}

static dt_status fill_xi(difftuning *d, const dt_settings *s, dt_error *err)
{
    const dt_retention kind = settings_retention(s);
    if (!has_xi(kind)) {
        fill_constant(&d->xi, kind == DT_RETENTION_NULL_FLAT);
        return DT_OK;
    }
    switch (settings_xi(s)) {
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

/* `variable` is what psi is a power of: t, or n, the noise level of a flow. */
static void describe_xi(char text[64], const difftuning *d, const dt_settings *s, char variable)
{
    static const char *const xi[] = {"", "1-psi", "mirrored psi", "a table"};
    const bool other = settings_xi(s) == DT_XI_MIRROR && (s->psi != DT_PSI_POWER || mirror_tau(s) != s->tau);
    if (d->retention == DT_RETENTION_NULL_FLAT)
        snprintf(text, 64, ", xi flat");
    else if (!has_xi(d->retention))
        text[0] = '\0';
    else if (other) /* what is mirrored is always a power of t, which psi need not be */
        snprintf(text, 64, ", xi mirrored %c^%g", variable, mirror_tau(s));
    else
        snprintf(text, 64, ", xi %s", xi[settings_xi(s)]);
}

static void describe_retention(char text[128], const difftuning *d)
{
    if (d->retention == DT_RETENTION_BANK)
        snprintf(text, 128, "bank share %g, retention weight %g", d->retained_fraction, d->retention_weight);
    else if (d->retention == DT_RETENTION_NONE)
        snprintf(text, 128, "retention none");
    else if (d->retention == DT_RETENTION_SDFT)
        snprintf(text, 128, "retention sdft, retention weight %g", d->retention_weight);
    else
        snprintf(text, 128, "retention %s, share %g, retention weight %g", settings_word_at("retention", d->retention),
                 d->retained_fraction, d->retention_weight);
}

static void describe(difftuning *d, const dt_settings *s, noise_law noise)
{
    const char variable = noise == NOISE_STRAIGHT ? 'n' : 't';
    const char power[] = {variable, '^', 't', 'a', 'u', '\0'};
    const char *const psi[] = {power, "1/(1+SNR)", "a table", "measured"};
    static const char *const ablation[] = {"", ", retention only", ", reconsolidation only"};
    const char *name = settings_method_names[s->method];
    char xi[64], retention[128];
    if (s->method != DT_METHOD_DIFF_TUNING) {
        snprintf(d->line, sizeof d->line, "%s: t uniform, no bank", name);
        return;
    }
    describe_xi(xi, d, s, variable);
    describe_retention(retention, d);
    snprintf(d->line, sizeof d->line, "%s, preset %s: psi %s, tau %g%s, t %s, %s%s", name, settings_word(s, "preset"),
             psi[s->psi], s->tau, xi, s->t_law == DT_T_SAMPLE ? "sampled" : "weighted", retention,
             ablation[s->ablation]);
}

/* The paper: half and half, equal weights. The released code: a fifth of the batch (6 of 32), weight 0.1. SDFT has its own
 * weight and no examples of its own. */
static double preset_share(const dt_settings *s)
{
    const dt_retention kind = settings_retention(s);
    if (kind == DT_RETENTION_SDFT || kind == DT_RETENTION_NONE) return 0;
    if (s->bank_fraction >= 0) return s->bank_fraction;
    return s->preset == DT_PRESET_RELEASED ? 0.2 : 0.5;
}

static double preset_weight(const dt_settings *s)
{
    if (s->retention_weight >= 0) return s->retention_weight;
    return s->preset == DT_PRESET_RELEASED || settings_retention(s) == DT_RETENTION_SDFT ? 0.1 : 1.0;
}

/* What follows from psi. */
static dt_status settle(difftuning *d, const dt_settings *s, noise_law noise, dt_error *err)
{
    if (s->method == DT_METHOD_DIFF_TUNING) {
        if (fill_xi(d, s, err) != DT_OK) return err->status;
        apply_ablation(d, s);
        d->retained_fraction = preset_share(s);
        d->retention_weight = preset_weight(s);
        d->retention = settings_retention(s);
    } else {
        fill_constant(&d->psi, 1);
        d->retention = DT_RETENTION_NONE;
    }
    cumulate(&d->psi);
    cumulate(&d->xi);
    if (d->psi.sum <= 0)
        return error_set(err, DT_ERR_ARG, "psi is zero for every t: there is nothing to learn from the images");
    if (d->xi.sum <= 0) d->retained_fraction = 0; /* tau = 0 under the paper's form: plain fine-tuning */
    if (d->retained_fraction <= 0 && d->retention != DT_RETENTION_SDFT) d->retention = DT_RETENTION_NONE;
    describe(d, s, noise);
    return DT_OK;
}

dt_status difftuning_open(difftuning *d, const dt_settings *s, noise_law noise, dt_error *err)
{
    *d = (difftuning){.t_law = s->t_law};
    if (s->method == DT_METHOD_DIFF_TUNING && fill_psi(d, s, noise, err) != DT_OK) return err->status;
    return settle(d, s, noise, err);
}

dt_status difftuning_take_psi(difftuning *d, const dt_settings *s, noise_law noise, const char *path, dt_error *err)
{
    return read_table(&d->psi, path, err) == DT_OK ? settle(d, s, noise, err) : err->status;
}

/* ---- what is retained ---- */

bool difftuning_uses_bank(const difftuning *d)
{
    return d->retention == DT_RETENTION_BANK || d->retention == DT_RETENTION_BANK_DISTIL;
}

bool difftuning_distils(const difftuning *d)
{
    return d->retention != DT_RETENTION_BANK && d->retention != DT_RETENTION_NONE;
}

int64_t difftuning_retained_count(const difftuning *d, int64_t batch)
{
    if (d->retained_fraction <= 0) return 0;
    int64_t count = (int64_t)((double)batch * d->retained_fraction);
    if (count < 1) count = 1;
    return count < batch ? count : batch - 1;
}

int64_t difftuning_noise_count(const difftuning *d, int64_t batch)
{
    return d->retention == DT_RETENTION_SDFT ? batch : 0;
}

double difftuning_distil_law(const difftuning *d, double abar, bool pure_noise)
{
    return d->retention == DT_RETENTION_SDFT ? pow(1 - abar, pure_noise ? 50 : 3) : 1;
}

/* ---- one step ---- */

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

difftuning_time difftuning_draw(const difftuning *d, bool retained, rng_key key)
{
    const time_table *table = retained ? &d->xi : &d->psi;
    const double u = rng_uniform(key, 0), within = rng_uniform(key, 1);
    if (d->t_law == DT_T_SAMPLE) return (difftuning_time){draw_categorical(table, u), within, 1};
    int32_t t = (int32_t)(u * METHOD_T);
    return (difftuning_time){t, within, table->value[t]};
}

double difftuning_share(const difftuning *d, bool retained, int64_t count)
{
    return (retained ? d->retention_weight : 1) / (double)count;
}
