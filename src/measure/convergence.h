/* How well samples obey their control, during training: pictures are drawn by the controls of held-out examples from the same noise
 * each time, the annotator that made the controls reads them, and its maps are compared with the controls (the paper's Appendix C,
 * "sudden convergence"; eval/map_likeness.h). Of a segmentation the colours of two maps are compared: the two classes of the palette
 * that share a colour count as one. */
#ifndef MEASURE_CONVERGENCE_H
#define MEASURE_CONVERGENCE_H

#include "eval/map_likeness.h"
#include "measure/measure.h"
#include "model/annotate/annotator.h"

/* Pictures of the strip, at most. */
enum { CONVERGENCE_STRIP_MAX = 8 };

typedef struct convergence {
    annotator annotator;
    map_measure measure;
    int64_t count; /* pictures that are measured; 0: nothing is */
} convergence;

typedef struct convergence_value {
    double mean, error; /* over the pictures; error: standard error of the mean, NaN for one */
} convergence_value;

/* s->convergence_threshold: a number, the paper's, or NaN for one that is to be found. */
double convergence_threshold(const dt_settings *s);

/* Opens the annotator that s->control names, for s->convergence_count examples of the drawing's. DT_ERR_ARG where it names none. */
dt_status convergence_open(convergence *k, const measures *m, const trainer *t, const dt_settings *s);

/* Draws and compares; *strip shows the first pictures: controls, samples, and the maps of the samples, one row each. Free it
 * with image_close. */
dt_status convergence_take(const convergence *k, const measures *m, trainer *t, convergence_value *out, image *strip);

/* Bytes that it takes beside the drawing. */
int64_t convergence_bytes(const convergence *k, const trainer *t);

#endif
