#include "file/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/file.h"
#include "file/folder.h"
#include "file/left_overs.h"

enum { HOLDER_MAX = 128 };

/* Whether the file is still the one under its name: the holder before may have removed it between our open and our lock. */
static bool is_in_place(const file_lock *l)
{
    struct stat mine, there;
    return fstat(l->fd, &mine) == 0 && stat(l->path, &there) == 0 && mine.st_dev == there.st_dev &&
           mine.st_ino == there.st_ino;
}

/* ---- who holds what in this process ---- */

typedef struct holding {
    dev_t device;
    ino_t number;
    pid_t process; /* a child of fork knows what its parent held */
    pthread_t thread;
    struct holding *next;
} holding;

static pthread_mutex_t holdings_lock = PTHREAD_MUTEX_INITIALIZER;
static holding *holdings;

/* Without memory a lock is none's own, which is no harm. */
static void note_holding(const file_lock *l)
{
    struct stat s;
    holding *h = fstat(l->fd, &s) == 0 ? malloc(sizeof *h) : NULL;
    if (!h) return;
    *h = (holding){.device = s.st_dev, .number = s.st_ino, .process = getpid(), .thread = pthread_self()};
    pthread_mutex_lock(&holdings_lock);
    h->next = holdings;
    holdings = h;
    pthread_mutex_unlock(&holdings_lock);
}

/* The place of the pointer to it; that of the last one's where there is none. The mutex is held. */
static holding **find_holding(const struct stat *s)
{
    holding **at = &holdings;
    while (*at && ((*at)->device != s->st_dev || (*at)->number != s->st_ino)) at = &(*at)->next;
    return at;
}

static void forget_holding(const file_lock *l)
{
    struct stat s;
    if (fstat(l->fd, &s) != 0) return;
    pthread_mutex_lock(&holdings_lock);
    holding **at = find_holding(&s), *h = *at;
    if (h) *at = h->next;
    pthread_mutex_unlock(&holdings_lock);
    free(h);
}

bool file_lock_is_own(const char *folder)
{
    char path[DT_PATH_MAX];
    struct stat s;
    file_join(path, folder, FILE_LOCK_NAME);
    if (stat(path, &s) != 0) return false;
    pthread_mutex_lock(&holdings_lock);
    const holding *h = *find_holding(&s);
    const bool own = h && h->process == getpid() && pthread_equal(h->thread, pthread_self());
    pthread_mutex_unlock(&holdings_lock);
    return own;
}

/* ---- taking one ---- */

/* Only a help for people: a disk without room for it is found by what is written next. */
static void sign(const file_lock *l)
{
    char host[64] = "", text[HOLDER_MAX];
    gethostname(host, sizeof host - 1);
    const int length = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(l->fd, 0) != 0 || pwrite(l->fd, text, (size_t)length, 0) != length) return;
}

static dt_status tell_holder(const file_lock *l, const char *folder, dt_error *err)
{
    char holder[HOLDER_MAX];
    const ssize_t length = pread(l->fd, holder, sizeof holder - 1, 0);
    holder[length > 0 ? length : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    return error_set(err, DT_ERR_CONFLICT, "%s: another process is at work in this folder (%s)", folder,
                     holder[0] ? holder : "it has just begun");
}

static bool knows_no_locks(int number)
{
    return number == ENOSYS || number == EOPNOTSUPP || number == ENOLCK || number == EINVAL;
}

/* Whether the lock is taken, or nothing more is to be done about it. */
static bool try_to_take(file_lock *l, const char *folder, dt_error *err)
{
    l->fd = file_open(l->path, O_RDWR | O_CREAT | O_NOFOLLOW);
    if (l->fd < 0) {
        error_set_errno(err, "cannot write to the folder %s: cannot make " FILE_LOCK_NAME " in it", folder);
        return true;
    }
    const bool locked = flock(l->fd, LOCK_EX | LOCK_NB) == 0;
    if (locked || knows_no_locks(errno)) {
        l->held = is_in_place(l);
        if (l->held) sign(l);
        if (l->held && locked) note_holding(l);
        if (l->held && locked) left_overs_remove(folder);
    } else if (errno == EWOULDBLOCK) {
        tell_holder(l, folder, err);
    } else if (errno != EINTR) {
        error_set_errno(err, "cannot lock %s", l->path);
    }
    if (!l->held) close(l->fd);
    return l->held || err->status != DT_OK;
}

dt_status file_lock_folder(file_lock *l, const char *folder, dt_error *err)
{
    *l = (file_lock){.fd = -1};
    file_join(l->path, folder, FILE_LOCK_NAME);
    while (!try_to_take(l, folder, err)) {
    }
    return err->status;
}

void file_unlock(file_lock *l)
{
    if (!l->held) return;
    forget_holding(l);
    unlink(l->path);
    close(l->fd);
    *l = (file_lock){.fd = -1};
}
