/* Diff-Tuning (Zhong, Guo, Dong, Long 2024): what distinguishes it from plain fine-tuning, and nothing else.
 *
 * Section 3.2 trains on two losses of the same form,
 *     (3)  L_retention(theta)  = E [ xi(t)  || eps - f_theta(sqrt(abar_t) x^s + sqrt(1-abar_t) eps, t) ||^2 ]   x^s: bank
 *     (4)  L_adaptation(theta) = E [ psi(t) || eps - f_theta(sqrt(abar_t) x   + sqrt(1-abar_t) eps, t) ||^2 ]   x: target
 *     (5)  L = L_retention + L_adaptation,
 * with psi rising and xi falling in t. On a flow (diffusion/flow.h), whose time runs the other way, they are functions of its
 * noise level n, and t stands for the level. Algorithm 1 (appendix B) draws t from the categorical distributions of xi and psi
 * instead of weighting the loss; both are offered (dt_t_law). Retention acts on the unconditional branch (the null class),
 * reconsolidation on both. The released code (thuml/Diffusion-Tuning) differs from the paper in batch split, weight and
 * xi; the presets keep the two apart.
 *
 * What is retained, and how, can be something else than the paper's bank (dt_retention). Where it is distilled, (3) becomes
 *     L_retention(theta) = E [ xi(t) || f_0(x_t, null) - f_theta(x_t, null) ||^2 ],   f_0: the frozen base,
 * with x_t from the bank or from the target pictures. SDFT (Hur et al., WACV 2024; JiwanHur/SDFT) takes no examples of its own
 * but adds to every target sample, which f_theta sees with its class,
 *     w (1-abar_t)^3 || f_0(x_t) - f_theta(x_t) ||^2  +  w (1-abar_t)^50 || f_0(z) - f_theta(z) ||^2,
 * where z is the sample's noise itself, taken for x_t: it protects the noisy end, which Diff-Tuning gives up.
 *
 * The preset distil has the paper's shares, weight and xi, and distils: on the bank where one is given, else on the target pictures.
 * Both were ahead of the paper's own retention in docs/results.md, which is why it is the default. With a control it retains
 * nothing, which was ahead in docs/controlnet.md. */
#ifndef METHOD_DIFFTUNING_H
#define METHOD_DIFFTUNING_H

#include "base/error.h"
#include "base/rng.h"
#include "diffusion/schedule.h"

enum { METHOD_T = SCHEDULE_STEPS };
#define METHOD_VALUE_MAX 1e6 /* of a table from a file: what a loss can be multiplied by and stay a float */

/* One of the two coefficient functions as a table over t, with the cumulated distribution that t is drawn from. */
typedef struct time_table {
    double value[METHOD_T];     /* psi(t) or xi(t), >= 0 */
    double cumulated[METHOD_T]; /* of value / sum(value); the last entry is 1 */
    double sum;                 /* 0: nothing is to be drawn */
} time_table;

typedef struct difftuning {
    time_table psi, xi;
    dt_t_law t_law;
    dt_retention retention;   /* in force: none where nothing is left of what was asked for */
    double retained_fraction; /* share of the batch that is there to be retained; 0: none */
    double retention_weight;  /* factor of the retention loss */
    char line[512];           /* what is in force, in one sentence: for logs, metadata and tables */
} difftuning;

/* Settles preset, overrides and ablation into tables and numbers; `noise` is the model's, for psi by SNR. For the methods
 * finetune and pretrain: t uniform, nothing retained. Where psi is to be measured, t stands in until difftuning_take_psi.
 * DT_ERR_ARG / DT_ERR_IO / DT_ERR_FORMAT for table files (METHOD_T numbers from 0 to METHOD_VALUE_MAX, separated by white
 * space or commas). */
dt_status difftuning_open(difftuning *d, const dt_settings *s, noise_law noise, dt_error *err);

/* Takes psi from such a file and makes anew what follows from it. */
dt_status difftuning_take_psi(difftuning *d, const dt_settings *s, noise_law noise, const char *path, dt_error *err);

/* Of a batch of `batch` samples, how many are there to be retained: the fraction's whole part, and at least one sample of
 * each half when both are wanted. The target samples come first in a batch. */
int64_t difftuning_retained_count(const difftuning *d, int64_t batch);

/* How many rows of pure noise stand behind such a batch: as many as it has samples for SDFT, else none. */
int64_t difftuning_noise_count(const difftuning *d, int64_t batch);

/* Whether a bank is trained on. */
bool difftuning_uses_bank(const difftuning *d);

/* Whether what is retained are the frozen base's predictions. */
bool difftuning_distils(const difftuning *d);

/* What a distilled term is multiplied by beside its share: for SDFT its power of 1 - abar_t, else 1. */
double difftuning_distil_law(const difftuning *d, double abar, bool pure_noise);

typedef struct difftuning_time {
    int32_t t;     /* a step, or a flow's level */
    double within; /* even in [0, 1): the place in a flow's level */
    double weight; /* of this sample's loss, before the mean over its half */
} difftuning_time;

/* Draws t for one sample of the target half or of the retained half (Algorithm 1), or uniformly with the weight of Equation 3
 * or 4 (DT_T_WEIGHT). */
difftuning_time difftuning_draw(const difftuning *d, bool retained, rng_key key);

/* The factor of one sample's loss in Equation 5: each half is averaged over its `count` samples, retention times its
 * weight. */
double difftuning_share(const difftuning *d, bool retained, int64_t count);

#endif
