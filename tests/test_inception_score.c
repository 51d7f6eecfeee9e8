/* The Inception Score against numpy: softmax, RandomState(2020).permutation and the formula, in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "eval/inception_score.h"

enum { MOST = 5003, CLASSES = 4 };

static float logits[MOST * CLASSES];

/* ((i*7 + k*5 + i*k) % 11) / 2 of image i and class k, as the values below were made from. */
static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < MOST; i++)
        for (int k = 0; k < CLASSES; k++) logits[i * CLASSES + k] = (float)((i * 7 + k * 5 + i * k) % 11) / 2;
    return 0;
}

static void check(int64_t count, dt_score_parts parts, double mean, double std)
{
    dt_error err = {0};
    inception_score_result r;
    assert_int_equal(inception_score(&r, logits, count, CLASSES, parts, &err), DT_OK);
    assert_true(fabs(r.mean / mean - 1) < 1e-12);
    assert_true(fabs(r.std - std) < 1e-12);
}

static void scores_are_those_of_numpy(void **state)
{
    (void)state;
    check(25, DT_SCORE_ADM, 1.7996696571210815, 0);
    check(25, DT_SCORE_TORCH_FIDELITY, 1.4486352539028904, 0.22601138537050938);
    check(MOST, DT_SCORE_ADM, 1.4213991455059694, 0.3408775348157338); /* 5000 images and 3 */
    check(MOST, DT_SCORE_TORCH_FIDELITY, 1.760779966268263, 0.027467949742593423);
}

/* Images that are all sure of another class score the number of classes; images that are all alike score 1. */
static void the_ends_of_the_scale_are_known(void **state)
{
    (void)state;
    float sure[CLASSES * CLASSES] = {0}, alike[CLASSES * CLASSES] = {0};
    inception_score_result r;
    dt_error err = {0};
    for (int i = 0; i < CLASSES; i++) sure[i * CLASSES + i] = 1000;
    for (int i = 0; i < CLASSES; i++) alike[i * CLASSES + 1] = 3;
    assert_int_equal(inception_score(&r, sure, CLASSES, CLASSES, DT_SCORE_ADM, &err), DT_OK);
    assert_true(fabs(r.mean - CLASSES) < 1e-12);
    assert_int_equal(inception_score(&r, alike, CLASSES, CLASSES, DT_SCORE_ADM, &err), DT_OK);
    assert_true(fabs(r.mean - 1) < 1e-12);
}

static void too_few_images_are_refused(void **state)
{
    (void)state;
    inception_score_result r;
    dt_error err = {0};
    assert_int_equal(inception_score(&r, logits, 9, CLASSES, DT_SCORE_TORCH_FIDELITY, &err), DT_ERR_ARG);
    assert_non_null(strstr(err.message, "10 images at least, found 9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_numpy),
        cmocka_unit_test(the_ends_of_the_scale_are_known),
        cmocka_unit_test(too_few_images_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
