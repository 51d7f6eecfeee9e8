#include "file/run_around.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/names.h"
#include "file/path.h"

enum { LEVELS = 3 }; /* of a file of a checkpoint */

/* Cuts the last name off a path; false where it has no folder. */
static bool go_up(char path[DT_PATH_MAX])
{
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

static bool resolve(char out[DT_PATH_MAX], const char *path)
{
    char *resolved = realpath(path, NULL);
    const bool fits = resolved && strlen(resolved) < DT_PATH_MAX;
    if (fits) snprintf(out, DT_PATH_MAX, "%s", resolved);
    free(resolved);
    return fits;
}

bool file_run_around(char run[DT_PATH_MAX], const char *path)
{
    char file[DT_PATH_MAX];
    if (!resolve(run, path)) return false;
    for (int up = 0; up < LEVELS; up++) {
        if (!go_up(run)) return false;
        file_join(file, run, RUN_FILE);
        if (file_exists(file)) return true;
    }
    return false;
}
