/* What follows from a diagnosis: facts by limits, and from the facts a way to train by a table of rules. Limits and rules stand in
 * advice.c, each with its reason; docs/analyses.md tells them. */
#ifndef MEASURE_ADVICE_H
#define MEASURE_ADVICE_H

#include "difftune.h"
#include "measure/gap.h"
#include "measure/psi.h"

/* What was measured. */
typedef struct diagnosis {
    gap of_own;    /* the target against the base's own samples */
    gap of_source; /* the target against the base's source pictures, where there are any */
    gap own;       /* the base's own samples against its source pictures */
    bool has_source;
    double kernel, kernel_std;  /* distance of own samples and source in the base's features; NaN: not measured */
    int64_t pictures, trained;  /* training pictures; values that train */
    double passes;              /* over the training pictures, that the plan makes */
    bool takes_difffit;         /* all weights are to train, and the network has places for DiffFit's scales */
    bool psi_fits;              /* the gap rises somewhere: */
    double psi[SCHEDULE_STEPS]; /* psi by its shape */
} diagnosis;

typedef enum advice_premise { PREMISE_UNKNOWN, PREMISE_HOLDS, PREMISE_FAILS, PREMISE_NO_GAP } advice_premise;
typedef enum advice_bank { BANK_UNKNOWN, BANK_LIKE_SOURCE, BANK_UNLIKE_SOURCE } advice_bank;
/* few: few pictures, over and over */
typedef enum advice_length { LENGTH_SHORT, LENGTH_FEW, LENGTH_LONG } advice_length;
typedef enum advice_psi { ADVICE_PSI_FLAT, ADVICE_PSI_POWER, ADVICE_PSI_TABLE } advice_psi;

enum { ADVICE_LINES = 6, ADVICE_LINE_MAX = 640 };

typedef struct advice {
    advice_premise premise;
    advice_bank bank;
    advice_length length;
    dt_method method;
    dt_retention retention;
    dt_adapter adapter; /* none: that of the plan */
    advice_psi psi;
    double tau;                               /* of ADVICE_PSI_POWER */
    char line[ADVICE_LINES][ADVICE_LINE_MAX]; /* sentences: the gap, the bank, the plan, what to do and why */
    int lines;
} advice;

advice advice_of(const diagnosis *d);

/* One word for each: "holds", "like-source", "few-pictures", "table". */
const char *advice_premise_word(advice_premise p);
const char *advice_bank_word(advice_bank b);
const char *advice_length_word(advice_length l);
const char *advice_psi_word(advice_psi p);

/* The tau of t^tau that lies nearest to psi, one of 0.1, 0.2 .. 5. */
double advice_tau(const double psi[SCHEDULE_STEPS]);

/* Limits by number, from 0 on; false behind the last. */
bool advice_limit(int i, const char **name, double *value);

#endif
