/* One process at a time in a folder. The lock is flock(2)'s on the file FILE_LOCK_NAME (file/folder.h) in it, which ends with
 * its process, so one that a dead process left is no obstacle. The file says who holds it, and goes when it is given back. */
#ifndef FILE_LOCK_H
#define FILE_LOCK_H

#include <stdbool.h>

#include "base/error.h"

typedef struct file_lock {
    bool held; /* zeroed: no lock */
    int fd;
    char path[DT_PATH_MAX];
} file_lock;

/* Takes the lock of an existing folder, and removes what killed processes left there (file/left_overs.h). DT_ERR_CONFLICT at
 * once, naming the process and its machine, while another one (or another lock of this process) holds it; DT_ERR_IO where the
 * folder cannot be written to. A file system that knows no locks is taken as it is. */
dt_status file_lock_folder(file_lock *l, const char *folder, dt_error *err);

/* Whether the folder's lock is held by this thread, which would wait for itself. */
bool file_lock_is_own(const char *folder);

/* Harmless on a lock that is not held. */
void file_unlock(file_lock *l);

#endif
