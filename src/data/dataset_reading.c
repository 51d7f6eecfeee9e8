#include "data/dataset_reading.h"

#include <stdlib.h>

#include <sys/stat.h>

#include "file/file.h"
#include "image/image.h"

/* RGB, half of its columns, and half of the rows of those (resample_centre_crop). */
enum { BYTES_PER_FOUR_PIXELS = 12 + 6 + 3 };

int64_t reading_batch_bytes(const source *s)
{
    const int64_t count = s->file_count < READING_FILES ? s->file_count : READING_FILES;
    int64_t bytes = 0;
    struct stat status;
    if (s->is_archive && stat(s->path, &status) == 0) bytes = status.st_size / s->file_count * count;
    for (int64_t i = 0; i < count && !s->is_archive && bytes < READING_BYTES; i++) {
        char path[DT_PATH_MAX];
        file_join(path, s->path, s->file[i].name);
        if (stat(path, &status) == 0) bytes += status.st_size;
    }
    return bytes < READING_BYTES ? bytes : READING_BYTES;
}

/* Of the first bytes of a file; 0 as well where its header lies behind them. */
static int64_t pixels_at_start(const source *s, const source_file *file)
{
    enum { START_BYTES = 1 << 17 };
    char path[DT_PATH_MAX];
    uint8_t *start = malloc(START_BYTES);
    size_t size;
    dt_error ignored = {0};
    file_join(path, s->path, file->name);
    const bool read = start && file_read_start(start, &size, START_BYTES, path, &ignored) == DT_OK;
    const int64_t pixels = read ? image_pixels(start, size) : 0;
    free(start);
    return pixels;
}

/* Pixels that the header of a file promises; 0 where it cannot be read. */
static int64_t pixels_of_file(source *s, const source_file *file)
{
    int64_t pixels = s->is_archive ? 0 : pixels_at_start(s, file);
    if (pixels) return pixels;
    uint8_t *data = NULL;
    char *reason = NULL;
    size_t size;
    dt_error ignored = {0};
    source_read(&data, &size, &reason, s, file, &ignored);
    pixels = data ? image_pixels(data, size) : 0;
    free(data);
    free(reason);
    return pixels;
}

/* Pixels of the largest picture of those that are decoded one after the other, and of those that each thread has one of. */
typedef struct largest {
    int64_t alone, shared;
} largest;

/* Looks at some, evenly spread over a folder's. An archive is read in order: the first stands for all. */
static largest look_at_some(source *s)
{
    enum { LOOKED_AT = 32 };
    const int64_t step = s->is_archive ? s->file_count : (s->file_count + LOOKED_AT - 1) / LOOKED_AT;
    largest found = {0};
    int64_t first = 0;
    for (int64_t i = 0; s->is_archive && i < s->file_count; i++)
        if (s->file[i].ordinal < s->file[first].ordinal) first = i;
    for (int64_t i = first; i < s->file_count; i += step) {
        const int64_t pixels = pixels_of_file(s, &s->file[i]);
        int64_t *of_its_kind = pixels > READING_PIXELS_PER_THREAD ? &found.alone : &found.shared;
        if (pixels > *of_its_kind) *of_its_kind = pixels;
    }
    return found;
}

int64_t reading_decoding_bytes(source *s, int threads)
{
    const largest found = look_at_some(s);
    const int64_t held = s->file_count < threads ? s->file_count : threads, shared = held * found.shared;
    return (shared > found.alone ? shared : found.alone) * BYTES_PER_FOUR_PIXELS / 4;
}
