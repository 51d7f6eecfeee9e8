/* Data and published weights beside the checkout, which no test needs. */
#ifndef TESTS_SHARED_DATA_H
#define TESTS_SHARED_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

/* A file or folder of $DT_SHARED, or of ../shared; the test is skipped where it is not there. */
static inline void shared_path(char path[DT_PATH_MAX], const char *name)
{
    const char *folder = getenv("DT_SHARED");
    snprintf(path, DT_PATH_MAX, "%s/%s", folder ? folder : "../../shared", name);
    if (access(path, R_OK) != 0) skip();
}

#endif
