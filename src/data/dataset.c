#include "data/dataset.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "base/grow.h"
#include "base/sort.h"
#include "data/dataset_controls.h"
#include "data/dataset_plan.h"
#include "data/dataset_reading.h"
#include "data/dataset_told.h"
#include "image/resample.h"

enum { WINDOW_BYTES = 1 << 27, RESOLUTION_MAX = 16384 };

/* RGB, the same turned upright or halved, and what a decoder of progressive or transparent pictures keeps. */
enum { BYTES_PER_DECODED_PIXEL = 12 };

/* What became of one file. */
typedef struct outcome {
    dataset_origin origin;
    dt_status status;
    char *reason; /* why it was not taken, or NULL */
} outcome;

typedef struct loader {
    dataset *d;
    source *source;
    const dataset_options *options;
    image_options decode;
    int threads;
    outcome *outcome; /* [source->file_count] */
    int64_t *order;   /* [source->file_count], files as they lie in the archive */
    /* with a taker */
    uint8_t (*content)[DATASET_CONTENT]; /* [source->file_count] */
    uint8_t *window;                     /* [batch_files] squares of one batch */
    int64_t handed_over;
    int64_t batch_files; /* files of a batch at most */
    /* where control pictures are wanted: their loader, and the number of each file's among its files; -1: none */
    struct loader *controls;
    const int64_t *control_of;
} loader;

typedef struct raw_file {
    uint8_t *data;
    size_t size;
    int64_t index;
    bool known; /* to the taker */
    bool large;
} raw_file;

static size_t image_bytes(const dataset *d)
{
    return (size_t)(d->resolution * d->resolution * 3);
}

static int threads_of(const dataset_options *options)
{
    return options->threads > 0 && options->threads < 4096 ? (int)options->threads : omp_get_max_threads();
}

/* ---- decoding ---- */

/* Decodes one file to the square rgb. Runs in several threads, each on its own file. */
static void decode_file(loader *l, const raw_file *raw, uint8_t *rgb)
{
    outcome *result = &l->outcome[raw->index];
    dt_error err = {0};
    image whole, square = {0};
    result->status = image_decode(&whole, &result->origin.image, raw->data, raw->size, l->source->file[raw->index].name,
                                  &l->decode, &err);
    result->origin.width = whole.width;
    result->origin.height = whole.height;
    if (result->status == DT_OK) result->status = resample_centre_crop(&square, &whole, l->d->resolution, &err);
    if (result->status == DT_OK)
        memcpy(rgb, square.rgb, image_bytes(l->d));
    else
        result->reason = strdup(err.message);
    image_close(&square);
    image_close(&whole);
}

/* A broken file is an error under `strict`; anything but a broken file is one always. */
static dt_status judge(const loader *l, int64_t index, dt_error *err)
{
    const outcome *result = &l->outcome[index];
    bool broken = result->status == DT_ERR_FORMAT || result->status == DT_ERR_IO;
    if (result->status == DT_OK || (broken && !l->options->strict)) return DT_OK;
    return error_set(err, result->status, "image data %s: %s", l->d->path,
                     result->reason ? result->reason : "no memory");
}

static dataset_file describe_file(const loader *l, const raw_file *raw)
{
    dataset_file file = {
        .origin = l->outcome[raw->index].origin, .number = l->handed_over, .count = l->source->file_count};
    memcpy(file.content, l->content[raw->index], sizeof file.content);
    return file;
}

/* What the taker knows by its content is not decoded. */
static void ask_taker(loader *l, raw_file *batch, int64_t count)
{
    const dataset_taker *taker = l->options->taker;
#pragma omp parallel for schedule(dynamic, 4) num_threads(l->threads)
    for (int64_t i = 0; i < count; i++) {
        struct sha256_ctx hash;
        sha256_init(&hash);
        sha256_update(&hash, batch[i].size, batch[i].data);
        sha256_digest(&hash, DATASET_CONTENT, l->content[batch[i].index]);
    }
    for (int64_t i = 0; i < count; i++) {
        dataset_file file = describe_file(l, &batch[i]);
        batch[i].known = taker->knows(taker->user, &file);
        if (batch[i].known) l->outcome[batch[i].index].origin = file.origin;
    }
}

static dt_status hand_over(loader *l, const raw_file *batch, int64_t count, dt_error *err)
{
    const dataset_taker *taker = l->options->taker;
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < count; i++, l->handed_over++) {
        if (batch[i].known || l->outcome[batch[i].index].status != DT_OK) continue;
        dataset_file file = describe_file(l, &batch[i]);
        status = taker->take(taker->user, &file, l->window + (size_t)i * image_bytes(l->d), err);
    }
    return status;
}

static void decode_one(loader *l, const raw_file *raw, int64_t number)
{
    const size_t place = l->window ? (size_t)number : (size_t)raw->index;
    uint8_t *squares = l->window ? l->window : l->d->pixels;
    decode_file(l, raw, squares + place * image_bytes(l->d));
}

static dt_status decode_batch(loader *l, raw_file *batch, int64_t count, dt_error *err)
{
    if (l->options->taker) ask_taker(l, batch, count);
#pragma omp parallel for schedule(dynamic, 4) num_threads(l->threads)
    for (int64_t i = 0; i < count; i++) {
        batch[i].large = !batch[i].known && image_pixels(batch[i].data, batch[i].size) > READING_PIXELS_PER_THREAD;
        if (!batch[i].known && !batch[i].large) decode_one(l, &batch[i], i);
    }
    for (int64_t i = 0; i < count; i++)
        if (batch[i].large) decode_one(l, &batch[i], i);
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < count; i++) status = judge(l, batch[i].index, err);
    if (status == DT_OK && l->options->taker) status = hand_over(l, batch, count, err);
    return status;
}

/* Fills `batch` from order[*next] on, up to its limits. */
static dt_status read_batch(loader *l, raw_file *batch, int64_t *count, int64_t *next, dt_error *err)
{
    size_t bytes = 0;
    *count = 0;
    while (*next < l->source->file_count && *count < l->batch_files && bytes < READING_BYTES) {
        raw_file raw = {.index = l->order[(*next)++]};
        char *reason;
        if (l->outcome[raw.index].status != DT_OK) continue; /* it has no control picture */
        dt_status status = source_read(&raw.data, &raw.size, &reason, l->source, &l->source->file[raw.index], err);
        if (status == DT_OK && reason) {
            l->outcome[raw.index].reason = reason;
            l->outcome[raw.index].status = DT_ERR_IO;
            status = judge(l, raw.index, err);
        }
        if (status != DT_OK) return status;
        if (!reason) batch[(*count)++] = raw;
        bytes += raw.size;
    }
    return DT_OK;
}

static dt_status ask_to_go_on(const loader *l, dt_error *err)
{
    const dataset_options *o = l->options;
    if (!o->go_on || o->go_on(o->go_on_user)) return DT_OK;
    return error_set(err, DT_ERR_INTERRUPTED, "image data %s: stopped while it was read", l->d->path);
}

static dt_status decode_all(loader *l, dt_error *err)
{
    raw_file *batch = calloc(READING_FILES, sizeof *batch);
    if (!batch) return error_set(err, DT_ERR_MEMORY, "no memory to read images");
    dt_status status = DT_OK;
    for (int64_t next = 0; status == DT_OK && next < l->source->file_count;) {
        int64_t count;
        status = read_batch(l, batch, &count, &next, err);
        if (status == DT_OK) status = decode_batch(l, batch, count, err);
        for (int64_t i = 0; i < count; i++) free(batch[i].data);
        if (status == DT_OK && next < l->source->file_count) status = ask_to_go_on(l, err);
    }
    free(batch);
    return status;
}

/* ---- making room ---- */

static dt_status check_options(const dataset_options *options, dt_error *err)
{
    if (options->resolution >= 1 && options->resolution <= RESOLUTION_MAX) return DT_OK;
    return error_set(err, DT_ERR_ARG, "resolution %lld: expected 1 to %d", (long long)options->resolution,
                     RESOLUTION_MAX);
}

static dt_status check_memory(const loader *l, dt_error *err)
{
    int64_t count = l->source->file_count, limit = l->options->memory_limit_bytes;
    int64_t bytes = count * (int64_t)image_bytes(l->d);
    if (l->options->taker || limit <= 0 || bytes <= limit) return DT_OK;
    return error_set(err, DT_ERR_MEMORY,
                     "image data %s: %lld images at %lld x %lld pixels need %lld MiB, the limit is %lld MiB",
                     l->d->path, (long long)count, (long long)l->d->resolution, (long long)l->d->resolution,
                     (long long)(bytes >> 20), (long long)(limit >> 20));
}

/* At most so many files are read together, whose squares fit the window where there is one. */
static int64_t files_of_batch(const loader *l)
{
    const int64_t fitting = (int64_t)((size_t)WINDOW_BYTES / image_bytes(l->d));
    if (!l->options->taker || fitting >= READING_FILES) return READING_FILES;
    return fitting > 0 ? fitting : 1;
}

/* Room for the squares of all files, or of one batch and for the contents. */
static bool take_squares(loader *l, size_t count)
{
    dataset *d = l->d;
    l->batch_files = files_of_batch(l);
    if (!l->options->taker) {
        d->pixels = malloc(count * image_bytes(d));
        return d->pixels != NULL;
    }
    l->window = malloc((size_t)l->batch_files * image_bytes(d));
    l->content = malloc(count * sizeof *l->content);
    d->content = malloc(count * sizeof *d->content);
    return l->window && l->content && d->content;
}

static dt_status take_memory(loader *l, dt_error *err)
{
    dataset *d = l->d;
    size_t count = (size_t)l->source->file_count;
    dt_status status = check_memory(l, err);
    if (status != DT_OK) return status;
    bool squares = take_squares(l, count);
    d->name = calloc(count, sizeof *d->name);
    d->label = calloc(count, sizeof *d->label);
    d->class_size = calloc((size_t)d->class_count + 1, sizeof *d->class_size);
    l->outcome = calloc(count, sizeof *l->outcome);
    l->order = calloc(count, sizeof *l->order);
    const dataset_wants *wants = l->options->wants;
    if (wants && wants->default_prompt) d->caption_first = calloc(count + 1, sizeof *d->caption_first);
    if (l->controls) d->control = calloc(count, sizeof *d->control);
    if ((wants && wants->default_prompt && !d->caption_first) || (l->controls && !d->control) || !squares || !d->name ||
        !d->label || !d->class_size || !l->outcome || !l->order) {
        return error_set(err, DT_ERR_MEMORY, "image data %s: no memory for %zu images", d->path, count);
    }
    for (size_t i = 0; i < count; i++) l->order[i] = (int64_t)i;
    if (l->source->is_archive) qsort_r(l->order, count, sizeof *l->order, source_compare_ordinals, l->source->file);
    if (l->options->memory_limit_bytes > 0) {
        int64_t kept = d->pixels ? (int64_t)(count * image_bytes(d)) : 0, left = l->options->memory_limit_bytes - kept;
        l->decode.pixel_limit = left / BYTES_PER_DECODED_PIXEL + 1;
    }
    return DT_OK;
}

/* ---- control pictures ---- */

/* A picture that cannot be had with its control picture is as a broken one. */
static dt_status refuse_picture(loader *l, int64_t i, const char *what, const char *control, const char *why,
                                dt_error *err)
{
    char reason[2 * DT_PATH_MAX];
    snprintf(reason, sizeof reason, "%s%s%s%s", what, control, control[0] ? ": " : "", why);
    l->outcome[i].status = DT_ERR_FORMAT;
    l->outcome[i].reason = strdup(reason);
    if (!l->outcome[i].reason) return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
    if (!l->options->strict) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "image data %s: %s: %s", l->d->path, l->source->file[i].name, reason);
}

/* Reads the control pictures, all before their pictures. */
static dt_status load_controls(loader *l, dt_error *err)
{
    loader *k = l->controls;
    dt_status status = take_memory(k, err);
    if (status == DT_OK) status = decode_all(k, err);
    free(k->window);
    k->window = NULL;
    for (int64_t i = 0; status == DT_OK && i < l->source->file_count; i++) {
        const int64_t of = l->control_of[i];
        const outcome *result = of < 0 ? NULL : &k->outcome[of];
        if (!result)
            status = refuse_picture(l, i, "has no control picture", "", "", err);
        else if (result->status != DT_OK)
            status = refuse_picture(l, i, "its control picture ", k->source->file[of].name,
                                    result->reason ? result->reason : "", err);
    }
    return status;
}

/* A crop of both shows the same part of them where their sides have one ratio, within a pixel. */
static bool same_ratio(const dataset_origin *a, const dataset_origin *b)
{
    const int64_t off = a->width * b->height - b->width * a->height, side = a->width + a->height,
                  other = b->width + b->height;
    return 2 * (off < 0 ? -off : off) <= (side > other ? side : other);
}

static dt_status compare_controls(loader *l, dt_error *err)
{
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < l->source->file_count; i++) {
        if (l->outcome[i].status != DT_OK) continue;
        const dataset_origin *picture = &l->outcome[i].origin,
                             *control = &l->controls->outcome[l->control_of[i]].origin;
        char sides[128];
        snprintf(sides, sizeof sides, "%lldx%lld for a picture of %lldx%lld: another ratio of its sides",
                 (long long)control->width, (long long)control->height, (long long)picture->width,
                 (long long)picture->height);
        if (!same_ratio(picture, control))
            status = refuse_picture(l, i, "its control picture ", l->controls->source->file[l->control_of[i]].name,
                                    sides, err);
    }
    return status;
}

/* ---- captions ---- */

/* The captions of file i become those of the data set's last picture. */
static bool keep_captions(loader *l, int64_t i)
{
    dataset *d = l->d;
    source_file *file = &l->source->file[i];
    int64_t at = d->caption_first[d->count - 1];
    const int64_t own = file->caption_count;
    d->caption_first[d->count] = at;
    for (int64_t k = 0; k < (own ? own : 1); k++) {
        char **list = grow_array(d->caption, at, sizeof *list);
        if (!list) return false;
        d->caption = list;
        list[at] = own ? file->caption[k] : strdup(l->options->wants->default_prompt);
        if (own) file->caption[k] = NULL;
        if (!list[at]) return false;
        d->caption_first[d->count] = ++at;
    }
    d->captioned += own > 0;
    return true;
}

/* Where some have captions, one that has none was forgotten. */
static dt_status check_captions(const loader *l, dt_error *err)
{
    const source *s = l->source;
    int64_t with = 0, without = -1;
    if (!l->options->strict || !l->d->caption_first) return DT_OK;
    for (int64_t i = 0; i < s->file_count; i++) {
        with += s->file[i].caption_count > 0;
        if (!s->file[i].caption_count && without < 0) without = i;
    }
    if (with == 0 || without < 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "image data %s: %s has no caption, and others have", l->d->path,
                     s->file[without].name);
}

/* ---- bringing it together ---- */

/* Moves the images that were decoded together and lists the others. */
static dt_status keep_decoded(loader *l, size_t prefix, dt_error *err)
{
    dataset *d = l->d;
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < l->source->file_count; i++) {
        source_file *file = &l->source->file[i];
        if (l->outcome[i].status != DT_OK) {
            status = report_skip(&d->report, file->name, l->outcome[i].reason ? l->outcome[i].reason : "", err);
            continue;
        }
        size_t bytes = image_bytes(d);
        if (d->pixels && d->count < i)
            memcpy(d->pixels + (size_t)d->count * bytes, d->pixels + (size_t)i * bytes, bytes);
        if (d->content) memcpy(d->content[d->count], l->content[i], sizeof d->content[0]);
        if (d->control) memcpy(d->control[d->count], l->controls->content[l->control_of[i]], sizeof d->control[0]);
        d->label[d->count] = (int32_t)file->label;
        d->class_size[file->label]++;
        d->name[d->count] = strdup(file->name + prefix);
        const bool named = d->name[d->count++] != NULL;
        if (!named || (d->caption_first && !keep_captions(l, i)))
            status = error_set(err, DT_ERR_MEMORY, "no memory for file names and captions");
    }
    return status;
}

/* A class of which every image is broken is as bad as an empty folder. */
static dt_status refuse_broken_classes(const loader *l, dt_error *err)
{
    for (int64_t i = 0; i < l->source->file_count; i++) {
        int64_t label = l->source->file[i].label;
        if (l->d->class_size[label] > 0) continue;
        return error_set(err, DT_ERR_FORMAT, "image data %s: no image of the class \"%s\" can be read; the first: %s",
                         l->d->path, l->d->class_name[label], l->outcome[i].reason ? l->outcome[i].reason : "");
    }
    return DT_OK;
}

/* Folders' classes are in the names; `labelled`: the classes were in files of their own. */
static void hash_content(dataset *d, bool labelled)
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char head[32];
    sha256_init(&hash);
    int length = snprintf(head, sizeof head, "%lld\n", (long long)d->resolution);
    sha256_update(&hash, (size_t)length, (const uint8_t *)head);
    for (int64_t i = 0; i < d->count; i++) {
        sha256_update(&hash, strlen(d->name[i]) + 1, (const uint8_t *)d->name[i]);
        if (d->pixels) sha256_update(&hash, image_bytes(d), d->pixels + (size_t)i * image_bytes(d));
        if (d->content) sha256_update(&hash, sizeof d->content[i], d->content[i]);
        const char *class_name = d->class_name[d->label[i]];
        if (labelled) sha256_update(&hash, strlen(class_name) + 1, (const uint8_t *)class_name);
    }
    for (int64_t i = 0; d->caption_first && i < d->caption_first[d->count]; i++)
        sha256_update(&hash, strlen(d->caption[i]) + 1, (const uint8_t *)d->caption[i]);
    for (int64_t i = 0; d->control && i < d->count; i++) sha256_update(&hash, sizeof d->control[i], d->control[i]);
    sha256_digest(&hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(d->sha256 + 2 * i, 3, "%02x", digest[i]);
}

static int compare_sides(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static int compare_skips(const void *left, const void *right)
{
    return strcmp(((const dataset_skip *)left)->file, ((const dataset_skip *)right)->file);
}

static void count_origin(dataset_report *report, const dataset_origin *from, int64_t resolution)
{
    const image_origin *origin = &from->image;
    report->format[origin->format]++;
    report->grey += origin->grey;
    report->palette += origin->palette;
    report->alpha += origin->alpha;
    report->cmyk += origin->cmyk;
    report->deep += origin->deep;
    report->rotated += origin->orientation != 1;
    report->enlarged += from->width < resolution || from->height < resolution;
}

static dt_status fill_report(loader *l, dt_error *err)
{
    dataset_report *report = &l->d->report;
    size_t count = (size_t)l->d->count;
    int64_t *shorter = malloc(2 * count * sizeof *shorter), *longer = shorter + count;
    if (!shorter) return error_set(err, DT_ERR_MEMORY, "no memory for the data report");
    size_t at = 0;
    for (int64_t i = 0; i < l->source->file_count; i++) {
        const outcome *result = &l->outcome[i];
        if (result->status != DT_OK) continue;
        count_origin(report, &result->origin, l->d->resolution);
        int64_t w = result->origin.width, h = result->origin.height;
        shorter[at] = w < h ? w : h;
        longer[at++] = w < h ? h : w;
    }
    sort_array(shorter, count, sizeof *shorter, compare_sides);
    sort_array(longer, count, sizeof *longer, compare_sides);
    report->short_min = shorter[0];
    report->short_median = shorter[count / 2];
    report->short_max = shorter[count - 1];
    report->long_min = longer[0];
    report->long_median = longer[count / 2];
    report->long_max = longer[count - 1];
    free(shorter);
    sort_array(report->skip, (size_t)report->skip_count, sizeof *report->skip, compare_skips);
    return DT_OK;
}

/* Keeps the first, or file i where the share of the first i + 1 files is a whole number more than that of the first i. */
static void thin_out(source *s, int64_t at_most, bool first)
{
    const int64_t count = s->file_count;
    int64_t kept = 0;
    if (at_most <= 0 || at_most >= count) return;
    for (int64_t i = 0; i < count; i++)
        if (first ? i < at_most : (i + 1) * at_most / count > i * at_most / count)
            s->file[kept++] = s->file[i];
        else
            source_file_close(&s->file[i]);
    s->file_count = kept;
}

/* Lists the files that are taken and hands the classes to the data set. *prefix as in class_plan. */
static dt_status list_files(const loader *l, size_t *prefix, const char *path, dt_error *err)
{
    dataset *d = l->d;
    class_plan plan;
    const bool captions = l->options->wants && l->options->wants->default_prompt;
    if (source_open(l->source, &d->report, path, captions, err) != DT_OK ||
        told_find(l->source, &d->report, captions, l->options->strict, err) != DT_OK)
        return err->status;
    const class_plan_options how = {l->options->class_name, l->options->class_count, l->options->held_out};
    class_plan_make(&plan, l->source, &d->report, &how, err);
    d->class_name = plan.class_name, d->class_count = plan.class_count;
    snprintf(d->split, sizeof d->split, "%s", plan.split);
    *prefix = plan.prefix;
    d->listed = l->source->file_count;
    if (err->status == DT_OK) thin_out(l->source, l->options->at_most, l->options->first);
    return err->status;
}

/* All that follows from the list of files. */
static dt_status load_listed(loader *l, size_t prefix, dt_error *err)
{
    dt_status status = take_memory(l, err);
    if (status == DT_OK) status = check_captions(l, err);
    if (status == DT_OK && l->controls) status = load_controls(l, err);
    if (status == DT_OK) status = decode_all(l, err);
    if (status == DT_OK && l->controls) status = compare_controls(l, err);
    if (status == DT_OK) status = keep_decoded(l, prefix, err);
    if (status == DT_OK) status = refuse_broken_classes(l, err);
    if (status == DT_OK) status = fill_report(l, err);
    if (status == DT_OK) hash_content(l->d, l->source->labelled);
    return status;
}

static void free_loader(loader *l)
{
    for (int64_t i = 0; l->outcome && i < l->source->file_count; i++) free(l->outcome[i].reason);
    free(l->outcome);
    free(l->order);
    free(l->content);
    free(l->window);
}

/* The same with a loader of control pictures beside it, which are a data set of their own while they are read. */
static dt_status load_with_controls(loader *l, size_t prefix, dt_error *err)
{
    const dataset_wants *wants = l->options->wants;
    control_plan plan;
    dataset d = {.resolution = l->d->resolution};
    dataset_options how = *l->options;
    loader k = {.d = &d, .source = &plan.from, .options = &how, .decode = l->decode, .threads = l->threads};
    how.taker = wants->control_taker;
    how.wants = NULL;
    how.strict = false; /* the picture that it belongs to is refused */
    if (control_plan_make(&plan, l->source, prefix, wants->control_folder, &l->d->report, err) == DT_OK) {
        memcpy(d.path, plan.from.path, sizeof d.path);
        l->controls = &k;
        l->control_of = plan.of;
        load_listed(l, prefix, err);
        l->controls = NULL;
    }
    free_loader(&k);
    dataset_close(&d);
    control_plan_close(&plan);
    return err->status;
}

static dt_status load(loader *l, const char *path, dt_error *err)
{
    const dataset_wants *wants = l->options->wants;
    size_t prefix = 0;
    if (list_files(l, &prefix, path, err) != DT_OK) return err->status;
    return wants && wants->control_taker ? load_with_controls(l, prefix, err) : load_listed(l, prefix, err);
}

static void measure(dataset_size *size, const loader *l)
{
    enum { NAME_BYTES = 64 }; /* a short name as malloc keeps it, with pointer and label */
    const int64_t files = l->source->file_count, square = (int64_t)image_bytes(l->d);
    const bool taken = l->options->taker != NULL;
    const int64_t batch = files < files_of_batch(l) ? files : files_of_batch(l);
    *size = (dataset_size){.files = files,
                           .kept_bytes = files * ((taken ? 0 : square) + NAME_BYTES),
                           .reading_bytes = reading_batch_bytes(l->source) + files * (int64_t)sizeof *l->outcome,
                           .decoding_bytes = reading_decoding_bytes(l->source, threads_of(l->options)),
                           .window_bytes = taken ? batch * square : 0};
}

dt_status dataset_measure(dataset_size *size, const char *path, const dataset_options *options, dt_error *err)
{
    dataset d = {.resolution = options->resolution};
    source files = {0};
    const loader l = {.d = &d, .source = &files, .options = options};
    size_t prefix;
    *size = (dataset_size){0};
    snprintf(d.path, sizeof d.path, "%s", path);
    if (check_options(options, err) == DT_OK && list_files(&l, &prefix, path, err) == DT_OK) measure(size, &l);
    source_close(&files);
    dataset_close(&d);
    return err->status;
}

dt_status dataset_open(dataset *d, const char *path, const dataset_options *options, dt_error *err)
{
    *d = (dataset){.resolution = options->resolution};
    source files = {0};
    loader l = {.d = d, .source = &files, .options = options};
    l.threads = threads_of(options);
    dt_status status = check_options(options, err);
    if (status == DT_OK) status = image_parse_colour(l.decode.background, options->background, err);
    if (status == DT_OK) {
        snprintf(d->path, sizeof d->path, "%s", path);
        status = load(&l, path, err);
    }
    free_loader(&l);
    source_close(&files);
    if (status != DT_OK) dataset_close(d);
    return status;
}

void dataset_close(dataset *d)
{
    for (int64_t i = 0; i < d->class_count; i++) free(d->class_name[i]);
    for (int64_t i = 0; i < d->count; i++) free(d->name[i]);
    for (int64_t i = 0; d->caption_first && i < d->caption_first[d->count]; i++) free(d->caption[i]);
    report_close(&d->report);
    free(d->caption);
    free(d->caption_first);
    free(d->control);
    free(d->class_name);
    free(d->class_size);
    free(d->name);
    free(d->label);
    free(d->pixels);
    free(d->content);
    *d = (dataset){0};
}

void dataset_image(float *chw, const dataset *d, int64_t index, bool flip)
{
    image_to_floats(chw, 3, d->pixels + (size_t)index * image_bytes(d), d->resolution, flip);
}
