/* How many threads a process should have where nobody has said so. */
#ifndef BASE_CPUS_H
#define BASE_CPUS_H

/* No process has more threads, whoever asks for them: a thread takes memory and a number of the system's. */
enum { CPUS_MOST = 1024 };

/* Between 1 and CPUS_MOST: the first number of OMP_NUM_THREADS where that is a list of numbers above 0, as OpenMP has it; else the processors that the process may run on, and no more than its
 * control groups give it the time of (cpu.max of version 2, cpu.cfs_quota_us of version 1), a part counting as a whole one. */
int cpus_to_use(void);

/* The same where so many processes share the machine: at most an equal part of its processors and of the groups' time, and at least
 * one. A process that was given processors of its own keeps them. */
int cpus_of_share(int processes);

/* Whole processors, rounded up, whose time the control groups named in `groups` (/proc/self/cgroup) leave; `mount` is where
 * they are mounted (/sys/fs/cgroup). A group's limit holds for all below it. 0: no limit, or none is known. */
int cpus_of_groups(const char *groups, const char *mount);

#endif
