#include "base/student.h"

#include <math.h>

double student_95(int64_t freedom)
{
    static const double few[] = {12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622};
    enum { FEW = sizeof few / sizeof *few };
    const double z = 1.9599639845, n = (double)freedom, z2 = z * z;
    if (freedom < 1) return (double)INFINITY;
    if (freedom <= FEW) return few[freedom - 1];
    /* Abramowitz and Stegun 26.7.5 */
    return z + z * (z2 + 1) / (4 * n) + z * ((5 * z2 + 16) * z2 + 3) / (96 * n * n) +
           z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n);
}
