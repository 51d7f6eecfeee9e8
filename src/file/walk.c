#include "file/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int compare_names(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

dt_status file_walk(const char *folder, bool by_name, file_visit *visit, void *user, dt_error *err)
{
    char root[DT_PATH_MAX], *roots[] = {root, NULL};
    snprintf(root, sizeof root, "%s", folder);
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name ? compare_names : NULL);
    if (!walk) return error_set_errno(err, "%s", folder);
    dt_status status = DT_OK;
    FTSENT *entry;
    errno = 0;
    while (status == DT_OK && (entry = fts_read(walk))) {
        status = visit(user, walk, entry, err);
        errno = 0;
    }
    if (status == DT_OK && errno != 0) status = error_set_errno(err, "%s", folder);
    fts_close(walk);
    return status;
}
