/* The threads of a process that nobody has told how many to have. */
#include "file/folder.h"
#include "temp_folder.h"

#include <omp.h>
#include <sched.h>

#include "base/cpus.h"

static void put(const char *folder, const char *name, const char *text)
{
    char path[256];
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    temp_write(path, text, strlen(text));
}

static int limit_with(const char *groups)
{
    temp_write("groups", groups, strlen(groups));
    return cpus_of_groups(temp_path("groups"), temp_path("mount"));
}

static void the_tightest_group_on_the_way_up_is_the_limit(void **state)
{
    (void)state;
    put("mount/jobs/mine", "cpu.max", "250000 100000\n");
    assert_int_equal(limit_with("0::/jobs/mine\n"), 3);
    assert_int_equal(limit_with("0::/jobs/mine/inner\n"), 3); /* that has no file of its own */
    assert_int_equal(limit_with("0::/jobs\n"), 0);
    put("mount/jobs", "cpu.max", "50000 100000\n");
    assert_int_equal(limit_with("0::/jobs/mine\n"), 1);
    put("mount/jobs", "cpu.max", "max 100000\n");
    assert_int_equal(limit_with("0::/jobs/mine\n"), 3);
    put("mount", "cpu.max", "200000 100000\n"); /* of a container, which sees itself as the root */
    assert_int_equal(limit_with("0::/\n"), 2);
}

static void groups_of_version_1_have_quota_and_period(void **state)
{
    (void)state;
    static const char groups[] = "5:cpuset:/x\n4:cpu,cpuacct:/docker/a\n3:memory:/docker/a\n";
    put("mount/cpu/docker/a", "cpu.cfs_quota_us", "150000\n");
    put("mount/cpu/docker/a", "cpu.cfs_period_us", "50000\n");
    assert_int_equal(limit_with(groups), 3);
    put("mount/cpu/docker/a", "cpu.cfs_quota_us", "-1\n");
    assert_int_equal(limit_with(groups), 0);
    put("mount/cpu", "cpu.cfs_quota_us", "100000\n"); /* in a container the path is the one outside of it */
    put("mount/cpu", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(limit_with("4:cpuacct,cpu:/outside/only\n"), 1);
}

static void nonsense_is_no_limit(void **state)
{
    (void)state;
    static const char *const lines[] = {"", "\n", "0\n", "0:\n", "0::\n", "0::nowhere\n", "0::/odd\n"};
    put("mount/odd", "cpu.max", "many 0\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) assert_int_equal(limit_with(lines[i]), 0);
    put("mount/odd", "cpu.max", "inf inf\n");
    assert_int_equal(limit_with("0::/odd\n"), 0);
    put("mount/odd", "cpu.max", "100000\n");
    assert_int_equal(limit_with("0::/odd\n"), 0);
    assert_int_equal(cpus_of_groups(temp_path("no_such"), temp_path("mount")), 0);
}

static void the_environment_and_the_affinity_are_obeyed(void **state)
{
    (void)state;
    cpu_set_t all, one;
    setenv("OMP_NUM_THREADS", "7,2", 1);
    assert_int_equal(cpus_to_use(), 7);
    setenv("OMP_NUM_THREADS", "none", 1);
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
    assert_in_range(cpus_to_use(), 1, CPU_COUNT(&all));
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cpus_to_use(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    unsetenv("OMP_NUM_THREADS");
}

static int with_wish(const char *wish)
{
    setenv("OMP_NUM_THREADS", wish, 1);
    const int count = cpus_to_use();
    unsetenv("OMP_NUM_THREADS");
    return count;
}

/* As libgomp reads the variable, and bounded as the setting is. */
static void the_environment_is_bounded_and_nonsense_is_passed(void **state)
{
    (void)state;
    static const char *const nonsense[] = {"", "0", "-3", "abc", "4x", "4,", ",4", "4,0", "4,abc", "4 2", "0,9999"};
    const int own = cpus_to_use();
    assert_int_equal(with_wish("99999"), 1024);
    assert_int_equal(with_wish("99999999999999999999999"), 1024);
    assert_int_equal(with_wish("5000,2"), 1024);
    assert_int_equal(with_wish(" 4 , 2 "), 4);
    assert_int_equal(with_wish("4,5000,3"), 4);
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) assert_int_equal(with_wish(nonsense[i]), own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_tightest_group_on_the_way_up_is_the_limit, temp_folder_make,
                                        temp_folder_remove),
        cmocka_unit_test_setup_teardown(groups_of_version_1_have_quota_and_period, temp_folder_make,
                                        temp_folder_remove),
        cmocka_unit_test_setup_teardown(nonsense_is_no_limit, temp_folder_make, temp_folder_remove),
        cmocka_unit_test(the_environment_and_the_affinity_are_obeyed),
        cmocka_unit_test(the_environment_is_bounded_and_nonsense_is_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
