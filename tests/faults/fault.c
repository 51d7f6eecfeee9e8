/* A library to be loaded before a program (LD_PRELOAD) that makes one of its calls of the system fail, as a full disk or memory
 * that is out do. It counts the calls of one kind from the beginning of main on, and calls for files only where these lie below
 * the current folder. In the environment:
 *
 *   FAULT_KIND    allocate (malloc and its kin, anonymous mappings), open, read, write, sync, rename, mkdir, resize (ftruncate and
 *                 fallocate), map, close, unlink
 *   FAULT_AT      the number of the call that fails, from 1; without it none does
 *   FAULT_ERROR   the number of the error; 0 makes a read or a write a short one
 *   FAULT_ON      every later call fails too; where the error is EINTR, every second one, since no system interrupts each call
 *   FAULT_LIST    file that gets a line for each call of any kind: kind, number, a number for its chain of callers, path
 *   FAULT_REPORT  file that gets a line for each of the first calls that fail: its chain of callers, and the path
 *
 * Allocations of libraries count as the program's own do, but for those of libraries that end the process, or wait for ever, where
 * they find no memory: the loader, the unwinder, OpenMP, OpenBLAS, fontconfig, libarchive, and jansson where it reads a word. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { ALLOCATE, OPEN, READ, WRITE, SYNC, RENAME, MKDIR, RESIZE, MAP, CLOSE, UNLINK, NONE };

static const char *const kind_names[] = {"allocate", "open",   "read", "write", "sync",  "rename",
                                         "mkdir",    "resize", "map",  "close", "unlink"};

enum { CALLERS_MAX = 48, REPORTED_MAX = 40, MODULES_MAX = 32, LINE_MAX_BYTES = PATH_MAX + 32 + 20 * CALLERS_MAX };

static enum kind kind = NONE;
static long at;
static bool from_then_on;
static int error_number, list_fd = -1;
static const char *report;
static char below[PATH_MAX];
static atomic_long count[NONE];
static atomic_bool in_main;
static atomic_int reported;
static __thread int inside; /* of this library: what it calls itself does not count */

/* Code of this library, of the program, of libraries that allocate for whoever calls them, and of those that are excused. */
enum owner { OTHER, THIS, PROGRAM, SERVANT, EXCUSED };

static struct {
    uintptr_t first, last;
    enum owner owner;
} module[MODULES_MAX];
static int module_count;

/* The next definition of a function behind this library's. */
#define NEXT(name)         ((__typeof__(&name))next(&next_##name, #name))
#define DECLARE_NEXT(name) static void *next_##name
static void *next(void **kept, const char *name)
{
    if (!*kept) *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

/* ---- whose call it is ---- */

static enum owner owner_named(const char *name)
{
    static const char *const excused[] = {"/ld-linux",    "/libgcc_s",  "/libgomp",       "openblas",
                                          "/libgfortran", "/liblapack", "/libfontconfig", "/libarchive"};
    static const char *const servant[] = {"/libc.so", "/libexpat", "/libasan", "/libubsan"};
    if (!name[0]) return PROGRAM;
    for (size_t i = 0; i < sizeof excused / sizeof *excused; i++)
        if (strstr(name, excused[i])) return EXCUSED;
    for (size_t i = 0; i < sizeof servant / sizeof *servant; i++)
        if (strstr(name, servant[i])) return SERVANT;
    return OTHER;
}

static int note_module(struct dl_phdr_info *info, size_t size, void *user)
{
    const uintptr_t self = (uintptr_t)note_module - info->dlpi_addr;
    enum owner owner = owner_named(info->dlpi_name);
    for (int k = 0; k < info->dlpi_phnum; k++)
        if (info->dlpi_phdr[k].p_type == PT_LOAD && self - info->dlpi_phdr[k].p_vaddr < info->dlpi_phdr[k].p_memsz)
            owner = THIS;
    (void)size, (void)user;
    for (int k = 0; k < info->dlpi_phnum && module_count < MODULES_MAX && owner != OTHER; k++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[k];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        const uintptr_t first = info->dlpi_addr + p->p_vaddr;
        module[module_count].first = first;
        module[module_count].last = first + p->p_memsz;
        module[module_count++].owner = owner;
    }
    return 0;
}

static enum owner owner_of(const void *caller)
{
    for (int i = 0; i < module_count; i++)
        if ((uintptr_t)caller >= module[i].first && (uintptr_t)caller < module[i].last) return module[i].owner;
    return OTHER;
}

static bool is_below(const char *path)
{
    const size_t length = strlen(below);
    return path[0] != '/' || (!strncmp(path, below, length) && path[length] == '/');
}

static bool path_of(char path[PATH_MAX], int fd)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return false;
    path[length] = '\0';
    return path[0] == '/';
}

/* ---- counting ---- */

/* Callers from the innermost one outside of this library on. */
typedef struct callers {
    void *all[CALLERS_MAX];
    void **first;
    int count;
} callers;

static void find_callers(callers *c)
{
    const int all = backtrace(c->all, CALLERS_MAX);
    c->first = c->all;
    while (c->first < c->all + all && owner_of(*c->first) == THIS) c->first++;
    c->count = all - (int)(c->first - c->all);
}

static uintptr_t json_reader, json_reader_size; /* code of json_loadb */

static void find_json_reader(void)
{
    Dl_info info;
    const ElfW(Sym) * symbol;
    void *code = dlsym(RTLD_DEFAULT, "json_loadb");
    if (!code || !dladdr1(code, &info, (void **)&symbol, RTLD_DL_SYMENT)) return;
    json_reader = (uintptr_t)code;
    json_reader_size = symbol->st_size;
}

/* Whether jansson asks for its buffer of a token: it takes no notice where it gets none and reads on, past the buffer's end. */
static bool is_token_buffer(const callers *c, size_t size)
{
    if (size < 16 || (size & (size - 1))) return false;
    for (int i = 0; i < c->count; i++)
        if ((uintptr_t)c->first[i] - json_reader < json_reader_size) return true;
    return false;
}

/* Whose code asks, through the libraries that allocate for whoever calls them. */
static enum owner owner_outside(const callers *c)
{
    for (int i = 0; i < c->count; i++)
        if (owner_of(c->first[i]) != SERVANT) return owner_of(c->first[i]);
    return OTHER;
}

static bool is_excused(const callers *c, size_t size)
{
    return owner_outside(c) == EXCUSED || is_token_buffer(c, size);
}

/* The way through the program, and the innermost caller: where a library calls itself again and again does not matter. */
static uint64_t number_of(const callers *c)
{
    uint64_t number = 14695981039346656037u;
    for (int i = 0; i < c->count; i++)
        if (i == 0 || owner_of(c->first[i]) == PROGRAM) number = (number ^ (uintptr_t)c->first[i]) * 1099511628211u;
    return number;
}

static void list(enum kind k, long number, const callers *c, const char *path)
{
    char line[PATH_MAX + 128];
    const int length = snprintf(line, sizeof line, "%s %ld %016llx %s\n", kind_names[k], number,
                                (unsigned long long)number_of(c), path);
    syscall(SYS_write, list_fd, line, (size_t)length);
}

static void tell(const callers *c, const char *path)
{
    char line[LINE_MAX_BYTES];
    int length = 0;
    for (int i = 0; i < c->count; i++) {
        Dl_info info;
        if (!dladdr(c->first[i], &info)) continue;
        const char *slash = strrchr(info.dli_fname, '/');
        length += snprintf(line + length, sizeof line - (size_t)length, "%.24s+%zx ",
                           slash ? slash + 1 : info.dli_fname, (size_t)((char *)c->first[i] - (char *)info.dli_fbase));
    }
    length += snprintf(line + length, sizeof line - (size_t)length, "%s\n", path);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    syscall(SYS_write, fd, line, (size_t)length);
    syscall(SYS_close, fd);
}

/* Whether calls of a kind are counted at all. */
static bool counts(enum kind k)
{
    return in_main && !inside && (k == kind || list_fd >= 0);
}

/* Whether this call is to fail. */
static bool fails(enum kind k, const char *path, size_t size)
{
    callers c = {0};
    const int saved = errno;
    inside++;
    if (list_fd >= 0 || k == ALLOCATE) find_callers(&c);
    const bool is_counted = k != ALLOCATE || !is_excused(&c, size);
    const long number = is_counted ? ++count[k] : 0;
    bool now = k == kind && at > 0 && (number == at || (from_then_on && number > at));
    if (now && from_then_on && error_number == EINTR) now = (number - at) % 2 == 0;
    if (is_counted && list_fd >= 0) list(k, number, &c, path);
    if (now && report && reported++ < REPORTED_MAX) {
        find_callers(&c);
        tell(&c, path);
    }
    inside--;
    errno = now ? error_number : saved;
    return now;
}

static bool path_fails(enum kind k, const char *path)
{
    return counts(k) && is_below(path) && fails(k, path, 0);
}

static bool fd_fails(enum kind k, int fd)
{
    char path[PATH_MAX];
    if (!counts(k)) return false;
    const int saved = errno;
    const bool ours = path_of(path, fd) && is_below(path);
    errno = saved;
    return ours && fails(k, path, 0);
}

static bool at_fails(enum kind k, int folder, const char *name)
{
    char path[2 * PATH_MAX] = "";
    if (!counts(k)) return false;
    if (name[0] != '/' && folder != AT_FDCWD && path_of(path, folder)) strcat(path, "/");
    strncat(path, name, PATH_MAX - 1);
    return path_fails(k, path);
}

static bool allocation_fails(size_t size)
{
    return counts(ALLOCATE) && fails(ALLOCATE, "", size);
}

__attribute__((constructor)) static void prepare(void)
{
    void *chain[4];
    const char *text = getenv("FAULT_KIND");
    backtrace(chain, 4); /* loads the unwinder now */
    dl_iterate_phdr(note_module, NULL);
    find_json_reader();
    for (int i = 0; text && i < NONE; i++)
        if (!strcmp(text, kind_names[i])) kind = (enum kind)i;
    if ((text = getenv("FAULT_AT"))) at = atol(text);
    if ((text = getenv("FAULT_ERROR"))) error_number = atoi(text);
    from_then_on = getenv("FAULT_ON") != NULL;
    report = getenv("FAULT_REPORT");
    if (!getcwd(below, sizeof below)) abort();
    if ((text = getenv("FAULT_LIST")))
        list_fd = (int)syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

static int (*real_main)(int, char **, char **);

static int counted_main(int argc, char **argv, char **environment)
{
    in_main = true;
    return real_main(argc, argv, environment);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end)
{
    __typeof__(&__libc_start_main) start = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main;
    return start(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}

/* ---- memory ---- */

DECLARE_NEXT(malloc);
DECLARE_NEXT(calloc);
DECLARE_NEXT(realloc);
DECLARE_NEXT(reallocarray);
DECLARE_NEXT(aligned_alloc);
DECLARE_NEXT(memalign);
DECLARE_NEXT(posix_memalign);
DECLARE_NEXT(free);
DECLARE_NEXT(mmap);

/* What dlsym itself asks for while the functions are looked up is never given back. */
static char early[1 << 16];
static size_t early_used;
static bool looking;

static void *early_block(size_t size)
{
    void *block = early + early_used;
    early_used += (size + 63) / 64 * 64;
    if (early_used > sizeof early) abort();
    return block;
}

static bool is_early(const void *block)
{
    return (const char *)block >= early && (const char *)block < early + sizeof early;
}

static void look_up(void)
{
    looking = true;
    next(&next_malloc, "malloc"), next(&next_calloc, "calloc"), next(&next_realloc, "realloc");
    next(&next_free, "free");
    looking = false;
}

void *malloc(size_t size)
{
    if (!next_free && looking) return early_block(size);
    if (!next_free) look_up();
    return allocation_fails(size) ? NULL : NEXT(malloc)(size);
}

void *calloc(size_t number, size_t size)
{
    if (!next_free && looking) return early_block(number * size);
    if (!next_free) look_up();
    return allocation_fails(0) ? NULL : NEXT(calloc)(number, size);
}

void *realloc(void *block, size_t size)
{
    if (!next_free) look_up();
    return allocation_fails(0) ? NULL : NEXT(realloc)(block, size);
}

void *reallocarray(void *block, size_t number, size_t size)
{
    return allocation_fails(0) ? NULL : NEXT(reallocarray)(block, number, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return allocation_fails(0) ? NULL : NEXT(aligned_alloc)(alignment, size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size)
{
    return allocation_fails(0) ? NULL : NEXT(memalign)(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    return allocation_fails(0) ? ENOMEM : NEXT(posix_memalign)(block, alignment, size);
}

void free(void *block)
{
    if (is_early(block)) return;
    if (!next_free) look_up();
    NEXT(free)(block);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 ? fd_fails(MAP, fd) : allocation_fails(0)) return MAP_FAILED;
    if (!next_mmap) return (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
    return NEXT(mmap)(address, size, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return mmap(address, size, protection, flags, fd, offset);
}

/* ---- files by name ---- */

DECLARE_NEXT(open);
DECLARE_NEXT(openat);
DECLARE_NEXT(opendir);
DECLARE_NEXT(rename);
DECLARE_NEXT(renameat2);
DECLARE_NEXT(mkdir);
DECLARE_NEXT(unlink);
DECLARE_NEXT(unlinkat);

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

#define OPEN_LIKE(name)                                                                                                \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        const mode_t mode = mode_of(flags, arguments);                                                                 \
        va_end(arguments);                                                                                             \
        return path_fails(OPEN, path) ? -1 : NEXT(open)(path, flags, mode);                                            \
    }
#define OPENAT_LIKE(name)                                                                                              \
    int name(int folder, const char *path, int flags, ...)                                                             \
    {                                                                                                                  \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        const mode_t mode = mode_of(flags, arguments);                                                                 \
        va_end(arguments);                                                                                             \
        return at_fails(OPEN, folder, path) ? -1 : NEXT(openat)(folder, path, flags, mode);                            \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

DIR *opendir(const char *path)
{
    return path_fails(OPEN, path) ? NULL : NEXT(opendir)(path);
}

int rename(const char *from, const char *to)
{
    return path_fails(RENAME, to) ? -1 : NEXT(rename)(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    return path_fails(RENAME, to) ? -1 : NEXT(renameat2)(from_folder, from, to_folder, to, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return path_fails(MKDIR, path) ? -1 : NEXT(mkdir)(path, mode);
}

int unlink(const char *path)
{
    return path_fails(UNLINK, path) ? -1 : NEXT(unlink)(path);
}

int unlinkat(int folder, const char *path, int flags)
{
    return at_fails(UNLINK, folder, path) ? -1 : NEXT(unlinkat)(folder, path, flags);
}

/* ---- open files ---- */

DECLARE_NEXT(read);
DECLARE_NEXT(pread);
DECLARE_NEXT(write);
DECLARE_NEXT(pwrite);
DECLARE_NEXT(fsync);
DECLARE_NEXT(fdatasync);
DECLARE_NEXT(ftruncate);
DECLARE_NEXT(fallocate);
DECLARE_NEXT(close);

/* Bytes to move where this call fails with 0: half of them, one at least; else -1 with errno. */
static ssize_t moved(size_t size)
{
    if (error_number != 0) return -1;
    return (ssize_t)(size > 1 ? size / 2 : size);
}

#define MOVE(which, fd, size)                                                                                          \
    if (fd_fails(which, fd)) {                                                                                         \
        const ssize_t part = moved(size);                                                                              \
        if (part < 0) return -1;                                                                                       \
        size = (size_t)part;                                                                                           \
    }

ssize_t read(int fd, void *data, size_t size)
{
    MOVE(READ, fd, size)
    return NEXT(read)(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    MOVE(READ, fd, size)
    return NEXT(pread)(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    MOVE(WRITE, fd, size)
    return NEXT(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    MOVE(WRITE, fd, size)
    return NEXT(pwrite)(fd, data, size, offset);
}

int fsync(int fd)
{
    return fd_fails(SYNC, fd) ? -1 : NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    return fd_fails(SYNC, fd) ? -1 : NEXT(fdatasync)(fd);
}

int ftruncate(int fd, off_t size)
{
    return fd_fails(RESIZE, fd) ? -1 : NEXT(ftruncate)(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fd_fails(RESIZE, fd) ? -1 : NEXT(fallocate)(fd, mode, offset, size);
}

/* Linux has closed the file also where the call fails. */
int close(int fd)
{
    const bool failed = fd_fails(CLOSE, fd);
    const int result = NEXT(close)(fd);
    if (!failed) return result;
    errno = error_number;
    return -1;
}

/* ---- streams: the C library reads them by calls of its own, so they get a reader of ours ---- */

DECLARE_NEXT(fopen);

static ssize_t stream_read(void *user, char *data, size_t size)
{
    return read((int)(intptr_t)user, data, size);
}

static int stream_seek(void *user, off64_t *offset, int from)
{
    const off64_t place = lseek64((int)(intptr_t)user, *offset, from);
    *offset = place;
    return place < 0 ? -1 : 0;
}

static int stream_close(void *user)
{
    return close((int)(intptr_t)user);
}

FILE *fopen(const char *path, const char *mode)
{
    static const cookie_io_functions_t functions = {.read = stream_read, .seek = stream_seek, .close = stream_close};
    if (mode[0] != 'r' || strchr(mode, '+') || !is_below(path)) return NEXT(fopen)(path, mode);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);
    if (!stream) NEXT(close)(fd);
    return stream;
}
