#include "nn/timestep.h"

#include <math.h>

/* In `real` arithmetic as the references do it: at t = 999 the rounding of f is visible in the fifth digit. */
tensor *timestep_embedding(ctx *c, const real t[], int64_t n, int64_t width)
{
    const int64_t half = width / 2;
    if (ctx_failed(c)) return NULL;
    tensor *y = tensor_new(c, &c->step, 2, (int64_t[]){n, width});
    real *values = y ? numbers_prepare(c, &c->step, y->data, tensor_count(y)) : NULL;
    if (!values) return NULL;
    for (int64_t i = 0; i < half; i++) {
        real exponent = (real)-9.210340371976184 * (real)i / (real)half, f = (real)exp(exponent);
        for (int64_t j = 0; j < n; j++) {
            real angle = t[j] * f;
            values[j * width + i] = (real)cos(angle);
            values[j * width + half + i] = (real)sin(angle);
        }
    }
    numbers_send(c, y->data, values, tensor_count(y));
    return y;
}
