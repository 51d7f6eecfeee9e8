/* Arenas hand out aligned blocks up to their limit and say no beyond it; errors keep the first sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"

enum { LIMIT = 1 << 20 };

static arena a;
static dt_error err;

static int setup(void **state)
{
    (void)state;
    error_clear(&err);
    return arena_open(&a, "test", LIMIT, &err) == DT_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_close(&a);
    return 0;
}

static void blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    unsigned char *block[64];
    for (size_t i = 0; i < 64; i++) {
        block[i] = arena_alloc(&a, i * 5 + 1, &err);
        assert_non_null(block[i]);
        assert_int_equal((uintptr_t)block[i] % 64, 0);
        memset(block[i], (int)i, i * 5 + 1);
    }
    for (size_t i = 0; i < 64; i++)
        for (size_t k = 0; k < i * 5 + 1; k++) assert_int_equal(block[i][k], i);
}

static void a_released_block_is_handed_out_again(void **state)
{
    (void)state;
    arena_alloc(&a, 100, &err);
    const arena_place mark = arena_mark(&a);
    unsigned char *first = arena_alloc(&a, 1000, &err);
    memset(first, 7, 1000);
    arena_release(&a, mark);
    assert_int_equal(a.used, mark.own);
    unsigned char *again = arena_alloc_zeroed(&a, 1000, &err);
    assert_ptr_equal(again, first);
    for (int i = 0; i < 1000; i++) assert_int_equal(again[i], 0);
}

static void the_peak_is_the_most_ever_in_use(void **state)
{
    (void)state;
    arena_alloc(&a, 5000, &err);
    size_t peak = a.peak;
    assert_int_equal(peak, a.used);
    arena_clear(&a);
    arena_alloc(&a, 100, &err);
    assert_int_equal(a.peak, peak);
}

static void the_limit_is_kept_and_named(void **state)
{
    (void)state;
    static const size_t too_much[] = {LIMIT + 1, LIMIT + 64, SIZE_MAX, SIZE_MAX - 62, SIZE_MAX - 63, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof too_much / sizeof too_much[0]; i++) {
        error_clear(&err);
        assert_null(arena_alloc(&a, too_much[i], &err));
        assert_int_equal(err.status, DT_ERR_MEMORY);
        assert_non_null(strstr(err.message, "test arena"));
        assert_int_equal(a.used, 0);
    }
    error_clear(&err);
    while (arena_alloc(&a, 4000, &err)) {
    }
    assert_int_equal(err.status, DT_ERR_MEMORY);
    assert_true(a.used <= LIMIT && a.used > LIMIT - 8192);
    error_clear(&err);
    assert_null(arena_alloc_zeroed(&a, 8192, &err));
    assert_int_equal(err.status, DT_ERR_MEMORY);
}

static void an_arena_that_cannot_be_reserved_is_full(void **state)
{
    (void)state;
    arena impossible;
    assert_int_equal(arena_open(&impossible, "huge", (size_t)1 << 62, &err), DT_ERR_MEMORY);
    assert_non_null(strstr(err.message, "huge"));
    error_clear(&err);
    assert_null(arena_alloc(&impossible, 8, &err));
    assert_int_equal(err.status, DT_ERR_MEMORY);
    arena_clear(&impossible);
    arena_close(&impossible);
}

#if !defined(__SANITIZE_ADDRESS__) /* whose shadow takes more addresses than any limit */

/* In a process that may have 512 MiB of addresses more than now. */
static int with_few_addresses(void)
{
    enum { MORE = 512 << 20, BLOCK = 64 << 20 };
    const size_t machine = (size_t)64 << 30;
    arena two[2];
    dt_error why = {0};
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f) && sscanf(line, "VmSize: %ld", &kib) != 1) continue;
    const struct rlimit limit = {((rlim_t)kib << 10) + MORE, RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 1;
    for (int i = 0; i < 2; i++)
        if (arena_open(&two[i], i ? "second" : "first", machine, &why) != DT_OK) return 2;
    unsigned char *block[2][3];
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 2; i++) {
            block[i][k] = arena_alloc(&two[i], BLOCK, &why);
            if (!block[i][k]) return 3;
            memset(block[i][k], 10 * i + k, BLOCK);
        }
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 2; i++)
            if (block[i][k][0] != 10 * i + k || block[i][k][BLOCK - 1] != 10 * i + k) return 4;
    if (arena_alloc(&two[1], 4 * (size_t)BLOCK, &why)) return 5;
    if (why.status != DT_ERR_MEMORY || !strstr(why.message, "second") || !strstr(why.message, "ulimit -v")) return 6;
    arena_close(&two[1]); /* what it had is free for others */
    error_clear(&why);
    if (!arena_alloc(&two[0], 2 * BLOCK, &why)) return 7;
    arena_close(&two[0]);
    return 0;
}

static void under_a_limit_on_addresses_memory_is_taken_as_it_is_used(void **state)
{
    (void)state;
    int outcome;
    pid_t child = fork();
    if (child == 0) _exit(with_few_addresses());
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_int_equal(outcome, 0);
}

/* A verb in a shell that may have a sixth of the machine's memory in addresses, but 2 GiB at least. */
static void verbs_work_under_a_limit_on_addresses(void **state)
{
    (void)state;
    char command[1024];
    const long pages = sysconf(_SC_PHYS_PAGES), kib = pages / 6 * (sysconf(_SC_PAGESIZE) >> 10);
    snprintf(command, sizeof command,
             "ulimit -v %ld; OMP_NUM_THREADS=2 " DT_PROGRAM " inspect vectors/dit_run.safetensors > /dev/null",
             kib > 2 << 20 ? kib : 2 << 20);
    assert_int_equal(system(command), 0);
}

#endif

static void the_first_failure_is_kept(void **state)
{
    (void)state;
    assert_int_equal(error_set(&err, DT_ERR_SHAPE, "first %d", 1), DT_ERR_SHAPE);
    assert_int_equal(error_set(&err, DT_ERR_IO, "second"), DT_ERR_SHAPE);
    assert_string_equal(err.message, "first 1");
    error_clear(&err);
    assert_string_equal(err.message, "");
    assert_int_equal(error_set(&err, DT_ERR_IO, "third"), DT_ERR_IO);
}

static void the_system_s_reason_is_appended(void **state)
{
    (void)state;
    errno = ENOENT;
    assert_int_equal(error_set_errno(&err, "%s", "a file"), DT_ERR_IO);
    assert_string_equal(err.message, "a file: No such file or directory");
    error_clear(&err);
    errno = ENOMEM;
    assert_int_equal(error_set_errno(&err, "a map"), DT_ERR_MEMORY);
}

static void a_sentence_that_is_too_long_is_cut(void **state)
{
    (void)state;
    char text[2 * DT_MESSAGE_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    errno = ENOENT;
    error_set_errno(&err, "%s", text);
    assert_int_equal(strlen(err.message), DT_MESSAGE_MAX - 1);
}

static void every_status_has_its_own_word(void **state)
{
    (void)state;
    for (int i = DT_OK; i <= DT_ERR_CONFLICT; i++)
        for (int j = DT_OK; j < i; j++)
            assert_string_not_equal(dt_status_name((dt_status)i), dt_status_name((dt_status)j));
    assert_string_equal(dt_status_name((dt_status)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_aligned_and_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_released_block_is_handed_out_again, setup, teardown),
        cmocka_unit_test_setup_teardown(the_peak_is_the_most_ever_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_is_kept_and_named, setup, teardown),
        cmocka_unit_test_setup_teardown(an_arena_that_cannot_be_reserved_is_full, setup, teardown),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(under_a_limit_on_addresses_memory_is_taken_as_it_is_used),
        cmocka_unit_test(verbs_work_under_a_limit_on_addresses),
#endif
        cmocka_unit_test_setup_teardown(the_first_failure_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(the_system_s_reason_is_appended, setup, teardown),
        cmocka_unit_test_setup_teardown(a_sentence_that_is_too_long_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(every_status_has_its_own_word, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
