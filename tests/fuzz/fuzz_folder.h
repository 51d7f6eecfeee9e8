/* What a fuzz target has of files: a folder of its own below $TMPDIR, gone when the program ends, and inputs that stand for
 * several files. */
#ifndef FUZZ_FOLDER_H
#define FUZZ_FOLDER_H

#include <ftw.h>
#include <stdlib.h>
#include <string.h>

#include "file/file.h"
#include "file/folder.h"
#include "fuzz_file.h"

static char fuzz_folder[256];

/* A target ends with its process: nothing it writes need reach the disk. */
int fsync(int fd)
{
    (void)fd;
    return 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

static inline int fuzz_remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void fuzz_remove(const char *path)
{
    nftw(path, fuzz_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fuzz_folder_remove(void)
{
    fuzz_remove(fuzz_folder);
}

/* The path of a name in the folder; the eight latest results stay valid. */
static inline const char *fuzz_path(const char *name)
{
    static char paths[8][DT_PATH_MAX];
    static int next;
    if (!fuzz_folder[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(fuzz_folder, sizeof fuzz_folder, "%s/difftune-fuzz-XXXXXX", tmp ? tmp : P_tmpdir);
        assert(mkdtemp(fuzz_folder));
        atexit(fuzz_folder_remove);
    }
    char *path = paths[next++ % 8];
    snprintf(path, DT_PATH_MAX, "%s/%.700s", fuzz_folder, name);
    return path;
}

static inline void fuzz_make_dirs(const char *name)
{
    dt_error err = {0};
    assert(file_make_dirs(fuzz_path(name), &err) == DT_OK);
}

/* Some bytes of an input, or of a file. */
typedef struct fuzz_bytes {
    const uint8_t *data;
    size_t size;
} fuzz_bytes;

static inline fuzz_bytes fuzz_text(const char *text)
{
    return (fuzz_bytes){(const uint8_t *)text, strlen(text)};
}

/* A new file in a folder that is there. */
static inline void fuzz_put(const char *name, fuzz_bytes bytes)
{
    const char *path = fuzz_path(name);
    remove(path);
    FILE *f = fopen(path, "wb");
    assert(f && fwrite(bytes.data, 1, bytes.size, f) == bytes.size);
    assert(fclose(f) == 0);
}

/* Reads a whole file of the folder; the caller frees the data. */
static inline fuzz_bytes fuzz_get(const char *name)
{
    char *data;
    dt_error err = {0};
    fuzz_bytes bytes = {0};
    assert(file_read_all(&data, &bytes.size, fuzz_path(name), (size_t)1 << 30, &err) == DT_OK);
    bytes.data = (const uint8_t *)data;
    return bytes;
}

/* The next part of an input: what stands before a line of four hyphens, which is taken off with it. Empty at the end. */
static inline fuzz_bytes fuzz_part(fuzz_bytes *rest)
{
    static const char mark[] = "\n----\n";
    const uint8_t *end = rest->size ? memmem(rest->data, rest->size, mark, strlen(mark)) : NULL;
    const fuzz_bytes part = {rest->data, end ? (size_t)(end - rest->data) : rest->size};
    const size_t taken = end ? part.size + strlen(mark) : part.size;
    rest->data = taken ? rest->data + taken : rest->data;
    rest->size -= taken;
    return part;
}

/* The part as a text, up to its first zero byte, cut where it is longer. */
static inline void fuzz_copy(char *out, size_t size, fuzz_bytes part)
{
    const size_t length = part.size < size ? part.size : size - 1;
    if (length) memcpy(out, part.data, length);
    out[length] = '\0';
}

/* What every call leaves: a status, and with a failure a sentence in one line that a terminal may be sent. */
static inline void fuzz_check_error(const dt_error *err)
{
    assert((err->status == DT_OK) == (err->message[0] == '\0'));
    for (const unsigned char *c = (const unsigned char *)err->message; *c; c++) assert(*c >= ' ' && *c != 0x7f);
}

#endif
