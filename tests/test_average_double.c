/* Averages of weights in double: the engine's kernel, update by update, against the sum of all weights that went in. */
#include <math.h>

#include "gradient_check.h"

/* Karras et al. 2024: the weights behind update t count for the integral of the profile from t - 1 to t. */
static void the_kernel_makes_the_average_of_its_profile(void **state)
{
    (void)state;
    enum { UPDATES = 200, VALUES = 37 };
    for (double exponent = -0.3; exponent < 40; exponent = 2 * exponent + 3) {
        double average[VALUES], weights[VALUES], expected[VALUES] = {0};
        for (int i = 0; i < VALUES; i++) average[i] = 1e3; /* of which nothing may be left */
        for (int t = 1; t <= UPDATES; t++) {
            const double share = 1 - pow(1 - 1.0 / t, exponent + 1), all = UPDATES;
            const double counts = pow(t / all, exponent + 1) - pow((t - 1) / all, exponent + 1);
            for (int i = 0; i < VALUES; i++) {
                weights[i] = sin(0.1 * t * (i + 1)) + i;
                expected[i] += counts * weights[i];
            }
            context.engine.average(average, weights, VALUES, share);
            if (t == 1) assert_memory_equal(average, weights, sizeof average);
        }
        for (int i = 0; i < VALUES; i++) assert_true(fabs(average[i] - expected[i]) < 1e-12 * (1 + fabs(expected[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_kernel_makes_the_average_of_its_profile, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
