#include "measure/psi.h"

#include <math.h>

enum { BAND = SCHEDULE_STEPS / PSI_BANDS };

/* The least squares fit among rising sequences: neighbours that fall become their mean (pool adjacent violators). */
static void make_rising(double v[PSI_BANDS])
{
    double mean[PSI_BANDS];
    int size[PSI_BANDS], pools = 0;
    for (int i = 0; i < PSI_BANDS; i++) {
        mean[pools] = v[i];
        size[pools++] = 1;
        for (; pools > 1 && mean[pools - 2] > mean[pools - 1]; pools--) {
            const int a = size[pools - 2], b = size[pools - 1];
            mean[pools - 2] = (a * mean[pools - 2] + b * mean[pools - 1]) / (a + b);
            size[pools - 2] = a + b;
        }
    }
    for (int p = 0, i = 0; p < pools; p++)
        for (int k = 0; k < size[p]; k++) v[i++] = mean[p];
}

/* Between the middles of the bands straight lines, beyond them the outer bands' values. */
static double at(const double band[PSI_BANDS], int t)
{
    const double place = fmin(fmax((t + 0.5) / BAND - 0.5, 0), PSI_BANDS - 1);
    const int low = (int)fmin(floor(place), PSI_BANDS - 2);
    return band[low] + (place - low) * (band[low + 1] - band[low]);
}

/* The mean over a band to either side, where the ends go on as they are: what rises goes on rising. */
static void smooth(double psi[SCHEDULE_STEPS], const double band[PSI_BANDS])
{
    for (int t = 0; t < SCHEDULE_STEPS; t++) {
        double sum = 0;
        for (int k = -BAND; k <= BAND; k++) sum += at(band, t + k);
        psi[t] = sum / (2 * BAND + 1);
    }
}

bool psi_fit(double psi[SCHEDULE_STEPS], const double target[PSI_BANDS], const double own[PSI_BANDS])
{
    double excess[PSI_BANDS];
    for (int i = 0; i < PSI_BANDS; i++) excess[i] = target[i] / own[i] - 1;
    make_rising(excess);
    smooth(psi, excess);
    const double low = psi[0], range = psi[SCHEDULE_STEPS - 1] - low;
    if (!isfinite(range) || !(range > 1e-9 * fmax(1, fabs(low)))) return false;
    for (int t = 0; t < SCHEDULE_STEPS; t++) psi[t] = fmin(fmax((psi[t] - low) / range, 0), 1);
    return true;
}

static dt_status measure_set(const measures *m, const trainer *t, measured_set set, int64_t count,
                             double mse[PSI_BANDS])
{
    const band_plan plan = {.set = set, .bands = PSI_BANDS, .examples = count};
    band_means means;
    measure_bands(m, t, &plan, &means);
    for (int i = 0; i < PSI_BANDS; i++) mse[i] = means.mse[i];
    return t->c->error.status;
}

dt_status psi_measure(const measures *m, const trainer *t, measured_psi *out)
{
    const int64_t given = t->validation.count;
    out->examples = given < m->validation_count ? given : m->validation_count;
    if (measure_set(m, t, MEASURED_TARGET, out->examples, out->target) == DT_OK &&
        measure_set(m, t, MEASURED_BANK, out->examples, out->own) == DT_OK && !psi_fit(out->psi, out->target, out->own))
        error_set(&t->c->error, DT_ERR_ARG,
                  "psi measured: the base's loss on the pictures, over that on its own samples, is %.3g at clean and "
                  "%.3g at noisy t and rises nowhere; choose another psi",
                  out->target[0] / out->own[0], out->target[PSI_BANDS - 1] / out->own[PSI_BANDS - 1]);
    return t->c->error.status;
}
