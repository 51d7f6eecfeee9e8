#include "base/cpus.h"

#include <ctype.h>
#include <limits.h>
#include <omp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- control groups ---- */

static int smaller_limit(int a, int b)
{
    return a == 0 || (b > 0 && b < a) ? b : a;
}

/* Of a quota of time in each period; none where they are not positive or no numbers of microseconds. */
static int limit_of(double quota, double period)
{
    const double most = 1e18;
    if (!(quota > 0 && quota < most) || !(period > 0 && period < most)) return 0;
    const double whole = (quota + period - 1) / period;
    return whole < 1 ? 1 : whole > INT_MAX ? INT_MAX : (int)whole;
}

static bool read_line(char *line, int size, const char *folder, const char *name)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return false;
    FILE *f = fopen(path, "re");
    if (!f) return false;
    const bool read = fgets(line, size, f) != NULL;
    fclose(f);
    return read;
}

static int limit_of_folder(const char *folder)
{
    char line[128], *rest;
    if (read_line(line, sizeof line, folder, "cpu.max")) { /* "200000 100000", or "max 100000" */
        const double quota = strtod(line, &rest);
        return limit_of(quota, strtod(rest, NULL));
    }
    if (!read_line(line, sizeof line, folder, "cpu.cfs_quota_us")) return 0;
    const double quota = strtod(line, NULL);
    return read_line(line, sizeof line, folder, "cpu.cfs_period_us") ? limit_of(quota, strtod(line, NULL)) : 0;
}

/* From the group up to the mount, which in a container is the container's own. */
static int limit_of_path(const char *mount, const char *group)
{
    char folder[PATH_MAX];
    int limit = 0;
    const int root = snprintf(folder, sizeof folder, "%s", mount);
    if ((size_t)snprintf(folder, sizeof folder, "%s%s", mount, group) >= sizeof folder) return 0;
    for (char *slash; (int)strlen(folder) > root; *slash = '\0') {
        limit = smaller_limit(limit, limit_of_folder(folder));
        slash = strrchr(folder, '/');
    }
    return smaller_limit(limit, limit_of_folder(mount));
}

/* Whether a comma-separated list has the word. */
static bool has_word(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == length && !strncmp(at, word, length)) return true;
    return false;
}

/* A line is "0::/group" in version 2 and "4:cpu,cpuacct:/group" in version 1, where each controller is mounted by itself. */
static int limit_of_line(char *line, const char *mount)
{
    char controller[PATH_MAX];
    line[strcspn(line, "\n")] = '\0';
    char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
    if (!group || group[1] != '/') return 0;
    *group++ = '\0';
    list++;
    if (!*list) return limit_of_path(mount, group);
    if (!has_word(list, "cpu")) return 0;
    snprintf(controller, sizeof controller, "%s/%s", mount, "cpu");
    return limit_of_path(controller, group);
}

int cpus_of_groups(const char *groups, const char *mount)
{
    char line[PATH_MAX];
    int limit = 0;
    FILE *f = fopen(groups, "re");
    if (!f) return 0;
    while (fgets(line, sizeof line, f)) limit = smaller_limit(limit, limit_of_line(line, mount));
    fclose(f);
    return limit;
}

/* ---- all together ---- */

/* The number at *list, above 0, and behind it white space; *list stands behind them then. 0 where there is none. */
static int take_number(const char **list)
{
    char *rest;
    const long number = strtol(*list, &rest, 10); /* LONG_MAX where it is larger */
    if (number <= 0) return 0;
    while (isspace((unsigned char)*rest)) rest++;
    *list = rest;
    return number < CPUS_MOST ? (int)number : CPUS_MOST;
}

/* The first number of a list of them, one for each level of regions inside regions; 0 where it is no such list. */
static int first_number(const char *list)
{
    const int first = take_number(&list);
    for (int next = first; next > 0 && *list;) {
        if (*list++ != ',') return 0;
        next = take_number(&list);
        if (next == 0) return 0;
    }
    return first;
}

/* What the environment asks for; 0: nothing. */
static int wished(void)
{
    const char *wish = getenv("OMP_NUM_THREADS");
    return wish ? first_number(wish) : 0;
}

int cpus_to_use(void)
{
    const int wish = wished();
    const int limit = cpus_of_groups("/proc/self/cgroup", "/sys/fs/cgroup"), all = omp_get_num_procs();
    int count = limit > 0 && limit < all ? limit : all;
    if (wish > 0) count = wish;
    if (count > CPUS_MOST) count = CPUS_MOST;
    return count < omp_get_thread_limit() ? count : omp_get_thread_limit();
}

int cpus_of_share(int processes)
{
    const int limit = cpus_of_groups("/proc/self/cgroup", "/sys/fs/cgroup"),
              online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int mine = cpus_to_use(), share = (limit > 0 && limit < online ? limit : online) / processes;
    if (wished() > 0 || share >= mine) return mine;
    return share > 1 ? share : 1;
}
