#include "eval/inception_score.h"

#include <math.h>
#include <stdlib.h>

enum { ADM_PART = 5000, TEN = 10, FIDELITY_SEED = 2020 };

/* ---- numpy's RandomState: the Mersenne twister (Matsumoto and Nishimura 1998), for this one permutation ---- */

enum { TWISTER_WORDS = 624, TWISTER_MIDDLE = 397 };

typedef struct twister {
    uint32_t word[TWISTER_WORDS];
    int next;
} twister;

static void twister_seed(twister *t, uint32_t seed)
{
    t->word[0] = seed;
    for (int i = 1; i < TWISTER_WORDS; i++)
        t->word[i] = 1812433253U * (t->word[i - 1] ^ (t->word[i - 1] >> 30)) + (uint32_t)i;
    t->next = TWISTER_WORDS;
}

static void twister_turn(twister *t)
{
    for (int i = 0; i < TWISTER_WORDS; i++) {
        uint32_t mixed = (t->word[i] & 0x80000000U) | (t->word[(i + 1) % TWISTER_WORDS] & 0x7fffffffU);
        t->word[i] = t->word[(i + TWISTER_MIDDLE) % TWISTER_WORDS] ^ (mixed >> 1) ^ (mixed & 1 ? 0x9908b0dfU : 0);
    }
    t->next = 0;
}

static uint32_t twister_word(twister *t)
{
    if (t->next == TWISTER_WORDS) twister_turn(t);
    uint32_t y = t->word[t->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680U;
    y ^= (y << 15) & 0xefc60000U;
    return y ^ (y >> 18);
}

/* 0..most, by drawing again what is too large under the smallest mask of ones. */
static uint32_t twister_up_to(twister *t, uint32_t most)
{
    uint32_t mask = most, value;
    for (int shift = 1; shift < 32; shift *= 2) mask |= mask >> shift;
    do value = twister_word(t) & mask;
    while (value > most);
    return value;
}

static void fidelity_order(int64_t *order, int64_t count)
{
    twister t;
    twister_seed(&t, FIDELITY_SEED);
    for (int64_t i = 0; i < count; i++) order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = twister_up_to(&t, (uint32_t)i), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* ---- the score ---- */

/* Adds an image's probabilities to mean[classes]; returns the sum of p log p. */
static double add_probabilities(double *mean, const float *logits, int64_t classes)
{
    double greatest = (double)logits[0], sum = 0, entropy = 0;
    for (int64_t k = 1; k < classes; k++) greatest = fmax(greatest, (double)logits[k]);
    for (int64_t k = 0; k < classes; k++) sum += exp((double)logits[k] - greatest);
    for (int64_t k = 0; k < classes; k++) {
        double log_p = (double)logits[k] - greatest - log(sum), p = exp(log_p);
        mean[k] += p;
        entropy += p * log_p;
    }
    return entropy;
}

/* The score of images order[0..count-1]. With q the mean of p: mean KL = mean of sum p log p, minus sum q log q. */
static double part_score(double *mean, const float *logits, const int64_t *order, int64_t count, int64_t classes)
{
    double divergence = 0;
    for (int64_t k = 0; k < classes; k++) mean[k] = 0;
    for (int64_t i = 0; i < count; i++) divergence += add_probabilities(mean, logits + order[i] * classes, classes);
    divergence /= (double)count;
    for (int64_t k = 0; k < classes; k++) {
        double q = mean[k] / (double)count;
        if (q > 0) divergence -= q * log(q);
    }
    return exp(divergence);
}

static int64_t part_start(int64_t part, int64_t part_count, int64_t count, bool ten)
{
    if (ten) return part * count / TEN;
    return part < part_count ? part * ADM_PART : count;
}

dt_status inception_score(inception_score_result *out, const float *logits, int64_t count, int64_t classes,
                          dt_score_parts parts, dt_error *err)
{
    const bool ten = parts == DT_SCORE_TORCH_FIDELITY;
    const int64_t part_count = ten ? TEN : (count + ADM_PART - 1) / ADM_PART;
    if (count > UINT32_MAX || count < (ten ? TEN : 1))
        return error_set(err, DT_ERR_ARG, "Inception Score: %d images at least, found %lld", ten ? TEN : 1,
                         (long long)count);
    int64_t *order = malloc((size_t)count * sizeof *order);
    double *mean = malloc((size_t)classes * sizeof *mean), *score = malloc((size_t)part_count * sizeof *score);
    if (order && mean && score) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < count; i++) order[i] = i;
        if (ten) fidelity_order(order, count);
        for (int64_t p = 0; p < part_count; p++) {
            int64_t first = part_start(p, part_count, count, ten), end = part_start(p + 1, part_count, count, ten);
            sum += score[p] = part_score(mean, logits, order + first, end - first, classes);
        }
        out->mean = sum / (double)part_count;
        for (int64_t p = 0; p < part_count; p++) square += (score[p] - out->mean) * (score[p] - out->mean);
        out->std = sqrt(square / (double)part_count);
    } else {
        error_set(err, DT_ERR_MEMORY, "no memory for an Inception Score");
    }
    free(order);
    free(mean);
    free(score);
    return err->status;
}
