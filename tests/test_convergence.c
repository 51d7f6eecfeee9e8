/* Likeness of maps against scikit-image (vectors/make_likeness_values.py), and the place where a curve jumps against made-up curves
 * whose place is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "eval/change_point.h"
#include "eval/map_likeness.h"

enum { HEIGHT = 48, WIDTH = 64, PIXELS = HEIGHT * WIDTH };

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%.17g found, %.17g expected", found, expected);
}

/* ---- likeness ---- */

static void draw_ring(uint8_t map[PIXELS], int row, int column, int radius)
{
    for (int i = 0; i < PIXELS; i++) {
        const int y = i / WIDTH - row, x = i % WIDTH - column, far = y * y + x * x;
        map[i] = far >= radius * radius && far < (radius + 1) * (radius + 1) ? 255 : 0;
    }
}

static void draw_noise(uint8_t map[PIXELS], uint32_t state)
{
    for (int i = 0; i < PIXELS; i++) {
        state = (state * 1103515245U + 12345U) & 0x7fffffffU;
        map[i] = (uint8_t)(state >> 16);
    }
}

static double ssim(const uint8_t *a, const uint8_t *b, int64_t height, int64_t width, double blur)
{
    double value = NAN;
    dt_error err = {0};
    assert_int_equal(map_ssim(&value, a, b, height, width, blur, &err), DT_OK);
    return value;
}

static uint8_t ring[PIXELS], moved[PIXELS], noise[PIXELS], other[PIXELS];

static int draw_maps(void **state)
{
    (void)state;
    draw_ring(ring, 20, 30, 12);
    draw_ring(moved, 21, 33, 11);
    draw_noise(noise, 1);
    draw_noise(other, 2);
    return 0;
}

static void similarity_is_that_of_scikit_image(void **state)
{
    (void)state;
    static const struct {
        double blur, moved, noise, noises;
    } expected[] = {{0, 0.598508617120, -0.004353678699, 0.003476859566},
                    {0.375, 0.602190954033, -0.004615643081, 0.006681309876},
                    {2.5, 0.713408233787, 0.062321034976, 0.644473868182}};
    for (int i = 0; i < 3; i++) {
        const double blur = expected[i].blur;
        assert_near(ssim(ring, moved, HEIGHT, WIDTH, blur), expected[i].moved, 1e-11);
        assert_near(ssim(ring, noise, HEIGHT, WIDTH, blur), expected[i].noise, 1e-11);
        assert_near(ssim(noise, other, HEIGHT, WIDTH, blur), expected[i].noises, 1e-11);
        assert_near(ssim(noise, noise, HEIGHT, WIDTH, blur), 1, 1e-12);
    }
    assert_near(map_blur(512, 640), 4, 0);
}

static void the_least_map_has_one_window(void **state)
{
    (void)state;
    uint8_t a[121], b[121];
    double value;
    dt_error err = {0};
    for (int i = 0; i < 121; i++) {
        a[i] = ring[(10 + i / 11) * WIDTH + 20 + i % 11];
        b[i] = moved[(10 + i / 11) * WIDTH + 20 + i % 11];
    }
    assert_near(ssim(a, b, 11, 11, 0.5), 0.000237815564, 1e-11);
    assert_int_equal(map_ssim(&value, a, b, 10, 12, 0, &err), DT_ERR_SHAPE);
    assert_string_equal(err.message, "SSIM needs maps of 11x11 pixels or more, found 12x10");
}

static void errors_and_labels_are_those_of_numpy(void **state)
{
    (void)state;
    uint8_t labels[2][PIXELS];
    assert_near(map_mse(ring, moved, PIXELS), 0.040364583333, 1e-11);
    assert_near(map_mse(noise, other, PIXELS), 0.165261988578, 1e-11);
    assert_near(map_accuracy(ring, moved, PIXELS, 1), 0.959635416667, 1e-11);
    for (int i = 0; i < PIXELS; i++) {
        labels[0][i] = noise[i] / 32;
        labels[1][i] = other[i] / 32;
    }
    assert_near(map_accuracy(labels[0], labels[1], PIXELS, 1), 0.124348958333, 1e-11);
}

/* ---- the place of a jump ---- */

enum { POINTS = 40 };

/* A level, a slope over `width` points around `place`, a level, and noise. */
static void draw_curve(double y[POINTS], int place, int width, double spread, uint32_t number)
{
    real random[POINTS];
    rng_normal(random, POINTS, (rng_key){.seed = 5, .purpose = RNG_SUBSET, .sample = number});
    for (int i = 0; i < POINTS; i++) {
        const double way = width ? ((double)(i - place) + width) / (2.0 * width) : i >= place;
        y[i] = 0.2 + 0.5 * fmin(fmax(way, 0), 1) + spread * (double)random[i];
    }
}

static void a_jump_is_found_where_it_is(void **state)
{
    (void)state;
    double y[POINTS];
    for (int place = CHANGE_SIDE_LEAST; place <= POINTS - CHANGE_SIDE_LEAST; place++) {
        draw_curve(y, place, 0, 0, 0);
        const change_point c = change_point_find(y, POINTS);
        assert_true(c.found && c.first == place && c.least == place && c.most == place);
        assert_near(c.before, 0.2, 1e-12);
        assert_near(c.after, 0.7, 1e-12);
    }
}

/* Of 400 curves with a jump of twice their noise the interval holds the place in 93 % or more; of 400 without a jump 5 % or fewer are
 * said to have one. */
static void the_interval_holds_what_it_says(void **state)
{
    (void)state;
    double y[POINTS];
    int held = 0, found = 0, false_ones = 0;
    for (uint32_t i = 0; i < 400; i++) {
        const int place = 8 + (int)(i % 24);
        draw_curve(y, place, 0, 0.25, i);
        change_point c = change_point_find(y, POINTS);
        found += c.found;
        held += c.least <= place && place <= c.most;
        draw_curve(y, POINTS, 0, 0.25, 1000 + i);
        c = change_point_find(y, POINTS);
        false_ones += c.found;
    }
    if (found < 380 || held < 372 || false_ones > 20) fail_msg("%d found, %d held, %d false", found, held, false_ones);
}

/* What rises over some points jumps in their middle. */
static void a_slope_has_a_middle(void **state)
{
    (void)state;
    double y[POINTS];
    draw_curve(y, 20, 4, 0.01, 7);
    const change_point c = change_point_find(y, POINTS);
    assert_true(c.found && labs(c.first - 20) <= 1 && c.least <= c.first && c.most >= c.first);
}

static void short_and_broken_curves_have_none(void **state)
{
    (void)state;
    double y[POINTS];
    draw_curve(y, 2, 0, 0, 0);
    assert_false(change_point_find(y, CHANGE_LEAST - 1).found);
    assert_true(change_point_find(y, CHANGE_LEAST).found);
    y[3] = NAN;
    assert_false(change_point_find(y, POINTS).found);
    for (int i = 0; i < POINTS; i++) y[i] = 0.3;
    assert_false(change_point_find(y, POINTS).found);
}

/* Two levels are a jump where they are farther apart than the means' errors, and in the right order. */
static void a_jump_is_larger_than_the_errors(void **state)
{
    (void)state;
    double y[POINTS], error[POINTS];
    draw_curve(y, 20, 0, 0.02, 3); /* from 0.2 to 0.7 */
    for (int i = 0; i < POINTS; i++) error[i] = 0.25;
    assert_true(change_point_of_means(y, error, POINTS, true).found);
    assert_int_equal(change_point_of_means(y, error, POINTS, true).first, 20);
    for (int i = 0; i < POINTS; i++) error[i] = 0.26;
    assert_false(change_point_of_means(y, error, POINTS, true).found);
    assert_true(change_point_of_means(y, NULL, POINTS, true).found);
    assert_false(change_point_of_means(y, NULL, POINTS, false).found);
    error[5] = NAN;
    assert_true(change_point_of_means(y, error, POINTS, true).found);
}

static void a_threshold_is_reached_when_it_stays(void **state)
{
    (void)state;
    static const double y[] = {0.1, 0.6, 0.2, 0.5, 0.7, 0.4, 0.8};
    assert_int_equal(threshold_reached(y, 7, 0.5, true), 3);
    assert_int_equal(threshold_reached(y, 7, 0.75, true), 6);
    assert_int_equal(threshold_reached(y, 7, 0.9, true), -1);
    assert_int_equal(threshold_reached(y, 6, 0.2, false), -1);
    assert_int_equal(threshold_reached(y, 3, 0.2, false), 2);
    assert_int_equal(threshold_reached(y, 0, 0.2, false), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(similarity_is_that_of_scikit_image),   cmocka_unit_test(the_least_map_has_one_window),
        cmocka_unit_test(errors_and_labels_are_those_of_numpy), cmocka_unit_test(a_jump_is_found_where_it_is),
        cmocka_unit_test(the_interval_holds_what_it_says),      cmocka_unit_test(a_slope_has_a_middle),
        cmocka_unit_test(short_and_broken_curves_have_none),    cmocka_unit_test(a_jump_is_larger_than_the_errors),
        cmocka_unit_test(a_threshold_is_reached_when_it_stays)};
    return cmocka_run_group_tests(tests, draw_maps, NULL);
}
