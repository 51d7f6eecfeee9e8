/* Where a curve jumps: a network that learns to obey its control does so suddenly (the paper's Appendix C, "sudden convergence"),
 * and the curve of its measure over steps is a low level, a jump, and a high level. */
#ifndef EVAL_CHANGE_POINT_H
#define EVAL_CHANGE_POINT_H

#include <stdbool.h>
#include <stdint.h>

enum { CHANGE_LEAST = 6, CHANGE_SIDE_LEAST = 2 };

typedef struct change_point {
    bool found;    /* false: fewer points than CHANGE_LEAST, or two levels do not fit them enough better than one */
    int64_t first; /* index of the first point of the second level */
    int64_t least, most;  /* 95 %: first lies from least to most */
    double before, after; /* the two levels */
} change_point;

/* The two levels that fit y[count] best by least squares, with at least CHANGE_SIDE_LEAST points on each. It is found where
 * count log(squares around one level / around two) exceeds 3 log(count): two levels and a place cost that much by the
 * information criterion of Schwarz (1978; for change points Yao 1988). The interval holds the places whose squares S have
 * count (S - least) / least at most 7.35 (Hansen 2000, "Sample splitting and threshold estimation"): right for a jump, too
 * narrow for what rises slowly. */
change_point change_point_find(const double y[], int64_t count);

/* Of a curve of means with these standard errors (NULL or NaN: not known) it is found only where the second level is above
 * the first (grows: false: below), and farther from it than 1.96 of the mean error: a curve of small chance changes has two levels too. */
change_point change_point_of_means(const double y[], const double error[], int64_t count, bool grows);

/* Index of the first point from which y reaches `threshold` (grows: from below) at itself and at the next one, if there is a next
 * one; -1: none. */
int64_t threshold_reached(const double y[], int64_t count, double threshold, bool grows);

#endif
