/* The run that a path belongs to. */
#ifndef FILE_RUN_OF_H
#define FILE_RUN_OF_H

#include <stdbool.h>

#include "base/error.h"

/* Whether a file or folder lies in the folder of a run, as RUN/final and RUN/checkpoints/NAME/FILE do; then `run` is that folder. Links
 * are followed. */
bool file_run_of(char run[DT_PATH_MAX], const char *path);

#endif
