/* A folder below $TMPDIR for the tests of one program, or for each of them, made and removed by cmocka's set-up and tear-down. */
#ifndef TESTS_TEMP_FOLDER_H
#define TESTS_TEMP_FOLDER_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "file/file.h"
#include "file/folder.h"

static char temp_folder[256];

static inline int temp_folder_make(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(temp_folder, sizeof temp_folder, "%s/difftune-test-XXXXXX", tmp ? tmp : P_tmpdir);
    return mkdtemp(temp_folder) ? 0 : -1;
}

static inline int temp_remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

/* With links and pipes, which the library's own removal refuses. */
static inline int temp_folder_remove(void **state)
{
    (void)state;
    return nftw(temp_folder, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a name in the folder; the four latest results stay valid. */
static inline const char *temp_path(const char *name)
{
    static char paths[4][2048];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", temp_folder, name);
    return path;
}

/* The same of a name in a folder of it; the four latest results stay valid. */
static inline const char *temp_path_in(const char *folder, const char *name)
{
    static char paths[4][2048];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", temp_path(folder), name);
    return path;
}

static inline void temp_write(const char *name, const void *data, size_t size)
{
    remove(temp_path(name)); /* a new file: ext4 waits for the disk when an old one is overwritten */
    FILE *f = fopen(temp_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline size_t temp_count(void)
{
    dt_error err = {0};
    file_names names;
    assert_int_equal(file_list(&names, temp_folder, &err), DT_OK);
    size_t count = names.count;
    file_names_free(&names);
    return count;
}

static inline void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("\"%.4000s\" does not say \"%s\"", text, part);
}

/* The bytes of a file, with a zero byte behind; the caller frees them. Not inlined: then gcc takes what it returns for a pointer to
 * its own variable. */
__attribute__((noinline, unused)) static char *temp_read(const char *name)
{
    char *text;
    size_t size;
    dt_error err = {0};
    if (file_read_all(&text, &size, temp_path(name), 1 << 24, &err) != DT_OK) fail_msg("%s", err.message);
    return text;
}

static inline void assert_file_says(const char *name, const char *part)
{
    char *text = temp_read(name);
    assert_says(text, part);
    free(text);
}

/* From here on a write that makes a file longer than `bytes` fails, as on a full disk. */
static inline void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif
