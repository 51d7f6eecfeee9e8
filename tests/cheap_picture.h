/* Decodes a picture where its memory and time are seen: in a process of its own. */
#ifndef TESTS_CHEAP_PICTURE_H
#define TESTS_CHEAP_PICTURE_H

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image.h"
#include "picture_files.h"

#if defined(__SANITIZE_ADDRESS__)
enum { WITHOUT_SANITIZER = 0 };
#else
enum { WITHOUT_SANITIZER = 1 };
#endif

static inline long peak_kib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmPeak: %ld", &kib) == 1) break;
    fclose(f);
    return kib;
}

/* Decodes in a process of its own, which must see `status` and take less than 64 MiB of addresses and two seconds. */
static inline void assert_cheap(bytes file, dt_status status)
{
    struct rusage used = {0};
    int outcome;
    pid_t child = fork();
    if (child == 0) {
        dt_error err = {0};
        image im;
        const image_options options = {0};
        const long before = peak_kib();
        bool right = image_decode(&im, NULL, file.data, file.size, "x", &options, &err) == status;
        bool small = peak_kib() - before < 64 << 10;
        _exit(!right ? 1 : WITHOUT_SANITIZER && !small ? 2 : 0);
    }
    assert_int_equal(wait4(child, &outcome, 0, &used), child);
    assert_int_equal(outcome, 0);
    assert_true(used.ru_utime.tv_sec < 2);
    free(file.data);
}

#endif
