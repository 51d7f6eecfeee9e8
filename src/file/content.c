#include "file/content.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "file/file.h"

static bool begins(const char *text, size_t size, const char *with)
{
    return size >= strlen(with) && !strncasecmp(text, with, strlen(with));
}

static bool is_text(const char *data, size_t size)
{
    for (size_t i = 0; i < size && i < 512; i++)
        if ((unsigned char)data[i] < ' ' && !strchr("\t\n\r\f", data[i])) return false;
    return size > 0 && !memchr(data, 0, size < 512 ? size : 512);
}

const char *file_stands_for(const void *data, size_t size)
{
    static const char *const markup[] = {"<!doctype html", "<html", "<head",   "<body",
                                         "<!--",           "<?xml", "<script", "<error"};
    const char *text = data;
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) text += 3, size -= 3; /* byte order mark */
    while (size > 0 && (*text == ' ' || *text == '\n' || *text == '\r' || *text == '\t')) text++, size--;
    if (!is_text(text, size)) return NULL;
    if (begins(text, size, "version https://git-lfs") || begins(text, size, "version https://hawser"))
        return "a Git LFS pointer: the file itself was not downloaded (git lfs pull does that)";
    if (begins(text, size, "/annex/objects/") || begins(text, size, "../.git/annex/objects/"))
        return "a git-annex pointer: the file itself was not downloaded (git annex get does that)";
    for (size_t i = 0; i < sizeof markup / sizeof *markup; i++)
        if (begins(text, size, markup[i])) return "a web page: a site's answer was saved under this name";
    return NULL;
}

const char *file_kind(const void *data, size_t size)
{
    static const struct {
        size_t at, length;
        const char *bytes, *words;
    } kinds[] = {
        {0, 4, "\x89PNG", "a picture (PNG)"},
        {0, 3, "\xff\xd8\xff", "a picture (JPEG)"},
        {0, 4, "GIF8", "a picture (GIF)"},
        {8, 4, "WEBP", "a picture (WebP)"},
        {257, 5, "ustar", "a tar archive"},
        {0, 2, "PK", "a zip archive"},
        {0, 2, "\x1f\x8b", "packed by gzip"},
        {0, 6,
         "\xfd"
         "7zXZ",
         "packed by xz"},
        {0, 4, "\x28\xb5\x2f\xfd", "packed by zstd"},
        {0, 4, "%PDF", "a PDF document"},
        {0, 4, "GGUF", "a GGUF file"},
        {0, 4, "\x89HDF", "an HDF5 file"},
        {0, 6, "\x93NUMPY", "an array of NumPy"},
    };
    const char *start = data;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= kinds[i].at + kinds[i].length && !memcmp(start + kinds[i].at, kinds[i].bytes, kinds[i].length))
            return kinds[i].words;
    return is_text(start, size) ? "a text file" : NULL;
}

dt_status file_check_content(const char *path, dt_error *err)
{
    size_t size;
    char start[512];
    if (file_read_start(start, &size, sizeof start, path, err) != DT_OK) return err->status;
    const char *other = file_stands_for(start, size);
    return other ? error_set(err, DT_ERR_FORMAT, "%s is %s", path, other) : DT_OK;
}
