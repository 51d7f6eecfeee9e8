#include "data/picture_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "data/dataset_told.h"
#include "file/file.h"
#include "image/resample.h"

/* The order in which the files are read. */
static dt_status order_files(picture_stream *s, const char *path, dt_error *err)
{
    size_t count = (size_t)s->source.file_count;
    s->order = calloc(count + 1, sizeof *s->order);
    if (!s->order) return error_set(err, DT_ERR_MEMORY, "no memory to list the images of %s", path);
    for (size_t i = 0; i < count; i++) s->order[i] = (int64_t)i;
    if (s->source.is_archive) qsort_r(s->order, count, sizeof *s->order, source_compare_ordinals, s->source.file);
    return DT_OK;
}

static dt_status list_files(picture_stream *s, const char *path, dt_error *err)
{
    if (source_open(&s->source, &s->report, path, false, err) != DT_OK ||
        told_find(&s->source, &s->report, false, s->strict, err) != DT_OK ||
        class_plan_make(&s->plan, &s->source, &s->report, &(class_plan_options){0}, err) != DT_OK)
        return err->status;
    return order_files(s, path, err);
}

/* By name without the extension, then by all of it. */
static int compare_stems(const void *left, const void *right)
{
    const char *a = ((const source_file *)left)->name, *b = ((const source_file *)right)->name;
    const size_t length_a = (size_t)(strrchr(a, '.') - a), length_b = (size_t)(strrchr(b, '.') - b);
    const int order = memcmp(a, b, length_a < length_b ? length_a : length_b);
    if (order) return order;
    return length_a == length_b ? strcmp(a, b) : length_a < length_b ? -1 : 1;
}

static dt_status list_all_files(picture_stream *s, const char *path, dt_error *err)
{
    source *from = &s->source;
    const picture_choice *choice = &s->choice;
    if (source_open(from, &s->report, path, false, err) != DT_OK) return err->status;
    if (from->split[0])
        return error_set(err, DT_ERR_ARG, "%s: all pictures are taken, not the split %s", from->path, from->split);
    if (from->file_count == 0) return error_set(err, DT_ERR_FORMAT, "%s: no " IMAGE_EXTENSIONS " files", path);
    sort_array(from->file, (size_t)from->file_count, sizeof *from->file, compare_stems);
    int64_t kept = 0;
    for (int64_t i = 0; i < from->file_count; i++)
        if (choice->wants(choice->user, from->file[i].name, &s->report, err))
            from->file[kept++] = from->file[i];
        else
            source_file_close(&from->file[i]);
    from->file_count = kept;
    return err->status == DT_OK ? order_files(s, path, err) : err->status;
}

dt_status picture_stream_open_all(picture_stream *s, const char *path, int64_t resolution, const char *background,
                                  bool strict, const picture_choice *choice, dt_error *err)
{
    *s = (picture_stream){.resolution = resolution, .strict = strict, .choice = *choice};
    if (image_parse_colour(s->decode.background, background, err) != DT_OK) return err->status;
    return list_all_files(s, path, err);
}

dt_status picture_stream_open(picture_stream *s, const char *path, int64_t resolution, const char *background,
                              bool strict, dt_error *err)
{
    *s = (picture_stream){.resolution = resolution, .strict = strict};
    s->is_stack = file_has_extension(path, "npz");
    if (image_parse_colour(s->decode.background, background, err) != DT_OK) return err->status;
    return s->is_stack ? sample_stack_open(&s->stack, path, err) : list_files(s, path, err);
}

void picture_stream_close(picture_stream *s)
{
    sample_stack_close(&s->stack);
    source_close(&s->source);
    class_plan_close(&s->plan);
    report_close(&s->report);
    free(s->order);
    free(s->pending_file.data);
    *s = (picture_stream){0};
}

/* One picture on its way: a file, or what came of it. */
typedef struct item {
    const char *name;
    picture_bytes file;
    image picture;
    dt_error why; /* why there is no picture */
} item;

/* Asks the choice of a file that was read; what is not wanted goes. */
static bool is_wanted(picture_stream *s, item *it, dt_error *err)
{
    const picture_choice *choice = &s->choice;
    if (!choice->wants_content || !it->file.data) return true;
    file_sha256_bytes(&it->file.content, it->file.data, it->file.size);
    if (choice->wants_content(choice->user, it->name, &it->file.content, &s->report, err)) return true;
    free(it->file.data);
    return false;
}

/* Reads file number s->next, or takes the one that was read and left. False where it is not wanted, or reading failed. */
static bool read_file(picture_stream *s, item *it, dt_error *err)
{
    char *reason = NULL;
    const source_file *file = &s->source.file[s->order[s->next]];
    *it = (item){.name = file->name, .file = s->pending_file};
    s->pending_file = (picture_bytes){0};
    if (s->pending) return s->pending = false, true;
    source_read(&it->file.data, &it->file.size, &reason, &s->source, file, err);
    if (reason) error_set(&it->why, DT_ERR_IO, "%s", reason);
    free(reason);
    return err->status == DT_OK && is_wanted(s, it, err);
}

static void leave_for_next_call(picture_stream *s, const item *it)
{
    s->pending = true;
    s->pending_file = it->file;
}

/* Reads up to `most` files, or pictures of a stack, of PICTURES_TOGETHER pixels and FILES_TOGETHER bytes in all, but one at
 * least: at their own sizes they are all in memory at once. */
static dt_status fetch(picture_stream *s, item items[], int64_t most, int64_t *count, dt_error *err)
{
    enum { FILES_TOGETHER = 1 << 26 };
    const int64_t all = s->is_stack ? s->stack.count : s->source.file_count;
    int64_t pixels = 0;
    size_t bytes = 0;
    for (*count = 0; *count < most && s->next < all && bytes < FILES_TOGETHER && err->status == DT_OK; s->next++) {
        item *it = &items[*count];
        *it = (item){.name = "a sample"};
        if (!s->is_stack && !read_file(s, it, err)) continue;
        const picture_bytes *file = &it->file;
        pixels += s->is_stack  ? s->stack.width * s->stack.height
                  : file->data ? image_pixels(file->data, file->size)
                               : 0;
        bytes += file->size;
        if (*count > 0 && pixels > PICTURES_TOGETHER) {
            if (!s->is_stack) leave_for_next_call(s, it);
            break;
        }
        ++*count;
        if (s->is_stack) sample_stack_next(&s->stack, &it->picture, err);
    }
    return err->status;
}

static void decode(const picture_stream *s, item *it)
{
    image square;
    picture_bytes *file = &it->file;
    if (file->data) image_decode(&it->picture, NULL, file->data, file->size, it->name, &s->decode, &it->why);
    free(file->data);
    file->data = NULL;
    const image *p = &it->picture;
    if (!p->rgb || s->resolution == 0 || (p->width == s->resolution && p->height == s->resolution)) return;
    resample_centre_crop(&square, p, s->resolution, &it->why);
    image_close(&it->picture);
    it->picture = square;
}

/* A broken file is passed over unless `strict`; anything else that fails ends the stream. */
static void judge(picture_stream *s, const item *it, dt_error *err)
{
    dt_status why = it->why.status;
    if (why == DT_OK) return;
    if (s->strict || (why != DT_ERR_FORMAT && why != DT_ERR_IO)) {
        error_set(err, why, "%s", it->why.message);
    } else {
        report_skip(&s->report, it->name, it->why.message, err);
    }
}

dt_status picture_stream_next(picture_stream *s, image pictures[], int64_t most, int64_t *count, dt_error *err)
{
    int64_t fetched = 1;
    *count = 0;
    item *items = calloc((size_t)most, sizeof *items);
    if (!items) return error_set(err, DT_ERR_MEMORY, "no memory to read images");
    while (*count == 0 && fetched > 0 && err->status == DT_OK) {
        fetch(s, items, most, &fetched, err);
#pragma omp parallel for schedule(dynamic)
        for (int64_t i = 0; i < fetched; i++) decode(s, &items[i]);
        for (int64_t i = 0; i < fetched; i++) {
            judge(s, &items[i], err);
            if (!items[i].picture.rgb) continue;
            pictures[(*count)++] = items[i].picture;
            s->latest = items[i].name;
            s->content = items[i].file.content;
        }
    }
    free(items);
    if (err->status == DT_OK) return DT_OK;
    for (int64_t i = 0; i < *count; i++) image_close(&pictures[i]);
    *count = 0;
    return err->status;
}
