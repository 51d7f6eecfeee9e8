/* The run that a path lies in. */
#ifndef FILE_RUN_AROUND_H
#define FILE_RUN_AROUND_H

#include <stdbool.h>

#include "base/error.h"

/* Whether a file or folder lies in the folder of a run, as RUN/final and RUN/checkpoints/NAME/FILE do; then `run` is that folder. Links
 * are followed. */
bool file_run_around(char run[DT_PATH_MAX], const char *path);

#endif
