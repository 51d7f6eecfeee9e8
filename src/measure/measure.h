/* What a run measures of itself between steps. All of it uses fixed seeds, so that two steps, and two runs with the same
 * data, are compared on the same noise. What is done with the results is for the run to say (src/run/). */
#ifndef MEASURE_MEASURE_H
#define MEASURE_MEASURE_H

#include "image/image.h"
#include "measure/bands.h"
#include "measure/drawing.h"
#include "train/trainer.h"

enum { BAND_COUNT = 10, BAND_WIDTH = SCHEDULE_STEPS / BAND_COUNT };

/* Losses at fixed t and noise in ten bands of t: how much is learned and forgotten, and where in t. */
typedef struct band_losses {
    double loss[BAND_COUNT], mse[BAND_COUNT];
    double mean; /* of `loss` over the bands */
} band_losses;

typedef enum measured_set {
    MEASURED_TARGET, /* the held-out images, else training images */
    MEASURED_BANK,
} measured_set;

typedef struct measures {
    uint64_t seed;
    int64_t batch; /* so many at a time */
    int64_t validation_count, sample_count, distance_count;
    int64_t obedience_count;                         /* samples of measure/convergence.h; 0: none */
    bool validates, draws_grids, measures_distances; /* what is wanted */
    bool averaged;                                   /* samples are drawn with the averages of the weights */
    class_list labels;                               /* of samples that are told more: the classes of those examples */
    drawing drawing;                                 /* open where samples are wanted */
    examples grid_told; /* what grids are told where prompts are given for them; count 0: the same as all samples */
    meter meter;        /* open where distances are wanted; its reference are the held-out images */
} measures;

/* Opens what s->sample_steps and s->eval_steps make necessary. The trainer is borrowed and stays where it is. */
dt_status measures_open(measures *m, const trainer *t, const dt_settings *s, model_kinds kinds);
void measures_close(measures *m);

/* What the steps of the trainer and all that is measured between them take: of the arenas rehearsed (tensor/rehearsal.h), the
 * rest, in bytes, returned. */
int64_t measures_rehearse(const measures *m, trainer *t);

/* Losses with the weights as they are. */
dt_status measure_validation(const measures *m, const trainer *t, measured_set set, band_losses *out);

/* Of `wanted` examples of a set of `count`, spread evenly over it, number i. */
int64_t measure_spread(int64_t i, int64_t wanted, int64_t count);

/* The same over other bands. */
enum { BANDS_MAX = 50 };
typedef struct band_plan {
    measured_set set;
    int bands;        /* of equal width, at most BANDS_MAX */
    int64_t examples; /* in each band */
    bool told;        /* what they say; else nothing, as samples of the bank are in any case */
} band_plan;

typedef struct band_means {
    double loss[BANDS_MAX], mse[BANDS_MAX];
} band_means;

/* Means over the examples at fixed t and noise, which depend on the number of an example and not on its set. */
dt_status measure_bands(const measures *m, const trainer *t, const band_plan *plan, band_means *out);

/* A grid of sample_count samples, classes in turn, always from the same noise; free it with image_close. `labelled` is false
 * where no font was found for the names of the classes. */
dt_status measure_grid(const measures *m, trainer *t, image *grid, bool *labelled);

/* Draws `count` samples with the weights that the run ends in. */
dt_status measure_draw(const measures *m, trainer *t, int64_t count, drawing_taker *take, void *user);

/* Frechet and kernel distance of distance_count samples to the held-out images. */
dt_status measure_distance(const measures *m, trainer *t, dt_eval_result *result);

#endif
