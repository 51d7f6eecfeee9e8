#include "eval/change_point.h"

#include <float.h>
#include <math.h>

/* The quantile 0.95 of the likelihood ratio of a place (Hansen 2000, table I). */
#define RATIO_95 7.35

typedef struct part {
    double mean, squares; /* squares: of the distances from the mean */
} part;

static part part_of(const double y[], int64_t first, int64_t end)
{
    part p = {0, 0};
    for (int64_t i = first; i < end; i++) p.mean += y[i] / (double)(end - first);
    for (int64_t i = first; i < end; i++) p.squares += (y[i] - p.mean) * (y[i] - p.mean);
    return p;
}

static double squares_at(const double y[], int64_t count, int64_t place)
{
    return part_of(y, 0, place).squares + part_of(y, place, count).squares;
}

static bool is_level(const double y[], int64_t count)
{
    int64_t i = 1;
    while (i < count && y[i] == y[0]) i++;
    return i == count;
}

change_point change_point_find(const double y[], int64_t count)
{
    change_point c = {.first = -1, .least = -1, .most = -1};
    const double whole = part_of(y, 0, count).squares, n = (double)count;
    double least = INFINITY;
    if (count < CHANGE_LEAST || is_level(y, count) || whole != whole) return c;
    for (int64_t place = CHANGE_SIDE_LEAST; place <= count - CHANGE_SIDE_LEAST; place++) {
        const double squares = squares_at(y, count, place);
        if (squares >= least) continue;
        least = squares;
        c.first = place;
    }
    least = fmax(least, whole * DBL_EPSILON);
    c.before = part_of(y, 0, c.first).mean;
    c.after = part_of(y, c.first, count).mean;
    c.found = n * log(whole / least) > 3 * log(n);
    for (int64_t place = CHANGE_SIDE_LEAST; place <= count - CHANGE_SIDE_LEAST; place++) {
        if (n * (squares_at(y, count, place) - least) > RATIO_95 * least) continue;
        if (c.least < 0) c.least = place;
        c.most = place;
    }
    return c;
}

change_point change_point_of_means(const double y[], const double error[], int64_t count, bool grows)
{
    change_point c = change_point_find(y, count);
    const double rise = grows ? c.after - c.before : c.before - c.after;
    const double mean = error ? part_of(error, 0, count).mean : NAN;
    c.found = c.found && rise > 0 && !(rise <= 1.96 * mean);
    return c;
}

static bool reaches(double value, double threshold, bool grows)
{
    return grows ? value >= threshold : value <= threshold;
}

int64_t threshold_reached(const double y[], int64_t count, double threshold, bool grows)
{
    for (int64_t i = 0; i < count; i++)
        if (reaches(y[i], threshold, grows) && (i + 1 == count || reaches(y[i + 1], threshold, grows))) return i;
    return -1;
}
