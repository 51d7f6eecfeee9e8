#include "base/finite.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* Without a way out of the loop the compiler takes many values at a time. */
static bool has_bad(const float *x, int64_t count)
{
    int bad = 0;
    for (int64_t i = 0; i < count; i++) bad |= !(fabsf(x[i]) <= FLT_MAX);
    return bad;
}

int64_t finite_first_bad(const float *x, int64_t count)
{
    enum { BLOCK = 4096 };
    for (int64_t first = 0; first < count; first += BLOCK) {
        const int64_t n = count - first < BLOCK ? count - first : BLOCK;
        if (!has_bad(x + first, n)) continue;
        for (int64_t i = first; i < first + n; i++)
            if (has_bad(x + i, 1)) return i;
    }
    return -1;
}
