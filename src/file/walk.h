/* All that is below a folder. */
#ifndef FILE_WALK_H
#define FILE_WALK_H

#include <fts.h>
#include <stdbool.h>

#include "base/error.h"

/* Takes an entry of fts(3), which it may fts_set. */
typedef dt_status file_visit(void *user, FTS *walk, FTSENT *entry, dt_error *err);

/* Calls `visit` with the folder, with what is in it, and with each folder again after its content, until one call fails. Links are
 * followed. Names come in their order (by_name), or in that of the disk. */
dt_status file_walk(const char *folder, bool by_name, file_visit *visit, void *user, dt_error *err);

#endif
