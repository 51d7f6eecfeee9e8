/* psi from the data: where in t the base knows the user's pictures worse than its own samples, there its knowledge belongs to
 * the old pictures and is to be replaced.
 *
 *     excess(t) = loss of the base on held-out pictures / loss on its own samples - 1
 *
 * in bands of t with the same noise for both, on the null branch, which is all that the base can be told of new classes. It is a
 * ratio because the loss falls with t by orders of magnitude: the plain difference falls with it, whatever the pictures are. */
#ifndef MEASURE_PSI_H
#define MEASURE_PSI_H

#include "measure/measure.h"

enum { PSI_BANDS = 25 };

typedef struct measured_psi {
    double target[PSI_BANDS], own[PSI_BANDS]; /* mean losses: held-out pictures, samples of the bank */
    int64_t examples;                         /* of each in each band */
    double psi[SCHEDULE_STEPS];
} measured_psi;

/* Measures it with the weights as they are: those of the base. DT_ERR_ARG where the excess rises nowhere. */
dt_status psi_measure(const measures *m, const trainer *t, measured_psi *out);

/* psi of the two losses: their excess made rising (isotonic regression by pooling neighbours that fall, each band counting the
 * same), joined by straight lines between the middles of the bands, smoothed over two bands, and brought to 0..1. False where
 * it is the same everywhere, or no number. */
bool psi_fit(double psi[SCHEDULE_STEPS], const double target[PSI_BANDS], const double own[PSI_BANDS]);

#endif
