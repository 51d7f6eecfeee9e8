/* Batches that a thread fills ahead: each is that of its number in whatever order they are asked for, and the next one is filled
 * while the caller is busy with this one. */
#include "run_fixture.h"

#include <stdatomic.h>
#include <time.h>

#include "train/ahead.h"

enum { SAMPLES = 5 };

static ctx c;
static dit model;
static atomic_int filled;

static int setup(void **state)
{
    (void)state;
    const dit_config config = fixture_config();
    if (ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO) != DT_OK || dit_open(&c, &model, &config) != DT_OK) return -1;
    fixture_randomise(&c, &model, 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ctx_close(&c);
    return 0;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void write_number(void *user, batch *b, int64_t round)
{
    assert_ptr_equal(user, &filled);
    batch_begin(b);
    for (int64_t i = 0; i < b->count; i++) b->t[i] = (int32_t)(10 * round + i);
    filled++;
}

static void expect(const batch *b, int64_t round)
{
    assert_int_equal(b->count, SAMPLES);
    for (int64_t i = 0; i < SAMPLES; i++) assert_int_equal(b->t[i], 10 * round + i);
}

static ahead *opened(void)
{
    ahead *a = NULL;
    const denoiser d = fixture_denoiser(&model);
    filled = 0;
    assert_int_equal(ahead_open(&a, &c, &d, SAMPLES, write_number, &filled), DT_OK);
    return a;
}

static void a_batch_is_that_of_its_number(void **state)
{
    (void)state;
    static const int64_t order[] = {0, 1, 2, 3, 9, 10, 4, 4, 5, 0};
    ahead *a = opened();
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) expect(ahead_take(a, order[i]), order[i]);
    ahead_close(a);
}

static void the_next_is_filled_meanwhile_and_not_over_this_one(void **state)
{
    (void)state;
    ahead *a = opened();
    assert_int_equal(filled, 0);
    for (int64_t round = 0; round < 20; round++) {
        const batch *b = ahead_take(a, round);
        while (filled < round + 2) nap();
        expect(b, round);
    }
    assert_int_equal(filled, 21);
    ahead_close(a);
}

static void one_that_was_never_asked_ends_too(void **state)
{
    (void)state;
    ahead_close(opened());
    ahead_close(NULL);
    assert_int_equal(filled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_that_of_its_number),
        cmocka_unit_test(the_next_is_filled_meanwhile_and_not_over_this_one),
        cmocka_unit_test(one_that_was_never_asked_ends_too),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
