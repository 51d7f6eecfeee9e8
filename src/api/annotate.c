/* Control pictures of pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/sample_folder.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/say.h"
#include "data/picture_stream.h"
#include "data/watch.h"
#include "file/file.h"
#include "file/folder.h"
#include "image/demo_resize.h"
#include "image/resample.h"
#include "model/annotate/annotator.h"

enum { FILE_BYTES_MAX = 1 << 30, START_BYTES = 1 << 14 /* of a map: all of its texts */ };

typedef struct annotation {
    ctx *c;
    const dt_settings *s;
    annotator a;
    const char *output;
    char text[SAMPLE_TEXT_MAX]; /* what makes a map what it is, but for its picture; part of every PNG */
    char previous[DT_PATH_MAX]; /* the map of the file that was looked at last */
    int64_t listed;             /* pictures that were found */
    int64_t unsaid;             /* maps that were there and do not say what they were made of */
    int64_t others;             /* maps that were there and are not those of their pictures, or were made otherwise */
    picture_stream stream;
    dt_annotated *result;
    watch watch;
} annotation;

const char *dt_annotator_name(int64_t number)
{
    for (annotator_kind kind = 0; kind < ANNOTATOR_KINDS; kind++)
        if (annotator_name(kind) && number-- == 0) return annotator_name(kind);
    return NULL;
}

static dt_status open_kind(annotation *n, const char *name)
{
    char names[DT_TEXT_MAX];
    const annotator_kind kind = annotator_named(name);
    annotator_names(names);
    if (kind == ANNOTATOR_KINDS)
        return error_set(&n->c->error, DT_ERR_ARG, "annotate: there is no kind \"%s\"; there are %s", name, names);
    if (annotator_open(n->c, &n->a, kind, n->s->annotator_weights) != DT_OK) return n->c->error.status;
    snprintf(n->text, sizeof n->text, "%s (%s), weights %s, resolution %lld%s, background %s", name, n->a.settings,
             n->a.sha256[0] ? n->a.sha256 : "none", (long long)n->s->resolution,
             n->s->crop ? "" : " of the shorter side", n->s->background);
    return DT_OK;
}

/* ---- maps that are there ---- */

#define TEXT_PARAMETERS "parameters"
#define TEXT_PICTURE    "picture" /* SHA-256 of the file that a map was made of */

typedef enum map_there {
    MAP_NONE,      /* there is no file */
    MAP_UNSAID,    /* a file that does not say what it was made of, another program's perhaps */
    MAP_EARLIER,   /* a map made in this way, before maps said of which picture */
    MAP_OTHER,     /* the map of another picture */
    MAP_OTHERWISE, /* a map of this picture, made in another way */
    MAP_SAME,
} map_there;

static map_there look_at(const annotation *n, const char *path, const file_hash *picture)
{
    uint8_t start[START_BYTES];
    char text[SAMPLE_TEXT_MAX], parameters[SAMPLE_TEXT_MAX];
    size_t size;
    dt_error unread = {0};
    if (!file_exists(path)) return MAP_NONE;
    file_read_start(start, &size, sizeof start, path, &unread);
    if (error_is_of_machine(&unread)) error_set(&n->c->error, unread.status, "%s", unread.message);
    if (unread.status != DT_OK || !image_png_text(parameters, sizeof parameters, start, size, TEXT_PARAMETERS))
        return MAP_UNSAID;
    const bool same = !strcmp(parameters, n->text);
    if (!image_png_text(text, sizeof text, start, size, TEXT_PICTURE)) return same ? MAP_EARLIER : MAP_UNSAID;
    if (strcmp(text, picture->hex) != 0) return MAP_OTHER;
    return same ? MAP_SAME : MAP_OTHERWISE;
}

/* ---- one map ---- */

/* A picture that would take more memory than there is, is refused before the system ends the process. */
static dt_status check_memory(const annotation *n, const image *picture, dt_error *err)
{
    const int64_t need = n->a.bytes_per_pixel * picture->width * picture->height;
    const int64_t available = process_available_memory();
    if (available < 0 || need < available + process_own_memory()) return DT_OK;
    return error_set(err, DT_ERR_SHAPE, "%s of %lldx%lld pixels takes about %.0f GiB; a resolution makes it less",
                     annotator_name(n->a.kind), (long long)picture->width, (long long)picture->height,
                     (double)need / (1 << 30));
}

/* rgb[pixels,3] of map[pixels,channels], which begin at the same place. */
static void spread(uint8_t *rgb, int64_t pixels, int64_t channels)
{
    for (int64_t i = pixels - 1; i >= 0 && channels == 1; i--) memset(rgb + 3 * i, rgb[i], 3);
}

/* Brings it to the settings' size; an error leaves it as it is. */
static dt_status fit(const annotation *n, image *picture)
{
    image fitted;
    dt_error *err = &n->c->error;
    const int64_t side = n->s->resolution;
    if (side == 0) return err->status;
    if ((n->s->crop ? resample_centre_crop : demo_resize)(&fitted, picture, side, err) != DT_OK) return err->status;
    image_close(picture);
    *picture = fitted;
    return err->status;
}

/* Makes the map and writes it; `content` is of the picture's file. A picture that cannot have one is DT_ERR_SHAPE. */
static dt_status make_map(annotation *n, const image *picture, const file_hash *content, const char *path)
{
    ctx *c = n->c;
    const image_text texts[] = {
        {"Software", "difftune " DT_VERSION}, {TEXT_PARAMETERS, n->text}, {TEXT_PICTURE, content->hex}};
    image map;
    if (check_memory(n, picture, &c->error) != DT_OK ||
        image_alloc(&map, picture->width, picture->height, &c->error) != DT_OK)
        return c->error.status;
    if (annotate(c, &n->a, map.rgb, picture->rgb, picture->height, picture->width) == DT_OK) {
        spread(map.rgb, map.width * map.height, n->a.channels);
        image_write_png(path, map.rgb, map.width, map.height, texts, 3, &c->error);
    }
    image_close(&map);
    return c->error.status;
}

/* ---- a set of pictures ---- */

/* output/NAME with .png in place of the extension; false where that is too long for a path. */
static bool path_of(char path[DT_PATH_MAX], const annotation *n, const char *name)
{
    const size_t stem = (size_t)(strrchr(name, '.') - name);
    return snprintf(path, DT_PATH_MAX, "%s/%.*s.png", n->output, (int)stem, name) < DT_PATH_MAX;
}

/* Of two files whose maps would have one name, the first has one. */
static bool wants(void *user, const char *name, dataset_report *report, dt_error *err)
{
    annotation *n = user;
    char path[DT_PATH_MAX];
    n->listed++;
    const bool fits = path_of(path, n, name), doubled = fits && !strcmp(path, n->previous);
    if (!fits || doubled) {
        report_skip(report, name, fits ? "another picture has this name" : "the path of its map is too long", err);
        return false;
    }
    snprintf(n->previous, sizeof n->previous, "%s", path);
    return true;
}

static bool go_on(annotation *n, int64_t done)
{
    const int64_t count = n->stream.source.file_count;
    if (ctx_go_on(n->c) && watch_go_on(&n->watch, done, count)) return true;
    if (!ctx_failed(n->c))
        error_set(&n->c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld pictures; the same command goes on",
                  n->output, (long long)done, (long long)count);
    return false;
}

/* What has its map is not made again. What has another one keeps it, and is told. */
static bool wants_content(void *user, const char *name, const file_hash *content, dataset_report *report, dt_error *err)
{
    annotation *n = user;
    char path[DT_PATH_MAX];
    path_of(path, n, name);
    const map_there there = look_at(n, path, content);
    if (there == MAP_NONE) return true;
    if (there == MAP_OTHER || there == MAP_OTHERWISE) {
        n->others++;
        report_skip(report, name,
                    there == MAP_OTHER ? "the map of this name is of another picture"
                                       : "the map of this name was made in another way",
                    err);
    } else {
        n->unsaid += there == MAP_UNSAID || there == MAP_EARLIER;
        n->result->found++;
    }
    go_on(n, n->stream.next + 1);
    return false;
}

static dt_status make_parent(const char *path, dt_error *err)
{
    char folder[DT_PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(file_base_name(path) - path - 1), path);
    return file_make_dirs(folder, err);
}

static dt_status take_picture(annotation *n, image *picture)
{
    char path[DT_PATH_MAX];
    picture_stream *stream = &n->stream;
    dt_error *err = &n->c->error;
    if (!path_of(path, n, stream->latest) || make_parent(path, err) != DT_OK) return err->status;
    if (!n->s->crop) fit(n, picture); /* the stream has cropped it else */
    if (err->status == DT_OK && make_map(n, picture, &stream->content, path) == DT_OK) {
        n->result->made++;
    } else if ((err->status == DT_ERR_SHAPE || err->status == DT_ERR_FORMAT) && !n->s->strict) {
        const dt_error why = *err;
        error_clear(err);
        report_skip(&stream->report, stream->latest, why.message, err);
    }
    return err->status;
}

static dt_status take_all(annotation *n)
{
    dt_error *err = &n->c->error;
    image picture;
    int64_t given = 1;
    while (picture_stream_next(&n->stream, &picture, 1, &given, err) == DT_OK && given > 0) {
        take_picture(n, &picture);
        image_close(&picture);
        if (err->status != DT_OK || !go_on(n, n->stream.next)) break;
    }
    return err->status;
}

/* Maps that were there and cannot be known to be right; maps that are not right are a conflict, when all else is made. */
static void tell_maps_there(annotation *n)
{
    const dt_observer *observer = n->watch.observer;
    if (n->unsaid)
        say(observer->log, observer->user,
            "%s: %lld of the maps that are there do not say which picture they were made of; they are taken as they "
            "are",
            n->output, (long long)n->unsaid);
    if (n->others && !ctx_failed(n->c))
        error_set(
            &n->c->error, DT_ERR_CONFLICT,
            "%s: %lld of the maps that are there were made of other pictures, or in another way, and stay as they are; "
            "remove them, or choose another folder",
            n->output, (long long)n->others);
}

static dt_status annotate_set(annotation *n, const char *input)
{
    dt_error *err = &n->c->error;
    file_lock lock = {0};
    const picture_choice choice = {n, wants, wants_content};
    const dt_observer *observer = n->watch.observer;
    if (file_is_folder(input) && file_is_inside(n->output, input))
        return error_set(err, DT_ERR_ARG, "annotate: the maps' folder %s must not be in the pictures' folder %s",
                         n->output, input);
    if (picture_stream_open_all(&n->stream, input, n->s->crop ? n->s->resolution : 0, n->s->background, n->s->strict,
                                &choice, err) == DT_OK &&
        sample_folder_claim(&lock, n->output, DATASET_MAPS, "maps", n->text, err) == DT_OK)
        take_all(n);
    report_tell_skips(&n->stream.report, observer->log, observer->user);
    tell_maps_there(n);
    picture_stream_close(&n->stream);
    file_unlock(&lock);
    n->result->passed_over = n->listed - n->result->made - n->result->found;
    return err->status;
}

/* ---- one picture ---- */

/* With the hash of its file. */
static dt_status read_picture(const annotation *n, image *picture, file_hash *content, const char *path)
{
    dt_error *err = &n->c->error;
    image_options options = {0};
    char *data;
    size_t size;
    if (image_parse_colour(options.background, n->s->background, err) != DT_OK ||
        file_read_all(&data, &size, path, FILE_BYTES_MAX, err) != DT_OK)
        return err->status;
    file_sha256_bytes(content, data, size);
    image_decode(picture, NULL, (const uint8_t *)data, size, path, &options, err);
    free(data);
    return err->status == DT_OK ? fit(n, picture) : err->status;
}

/* A map of this picture is made again, in whatever way it was made; any other file stays. */
static dt_status check_replaceable(const annotation *n, const char *path, const file_hash *content)
{
    const map_there there = look_at(n, path, content);
    if (there != MAP_OTHER && there != MAP_UNSAID) return DT_OK;
    return error_set(&n->c->error, DT_ERR_CONFLICT, "annotate: %s is there and %s; remove it, or choose another name",
                     path,
                     there == MAP_OTHER ? "is the map of another picture" : "is no map that says what it was made of");
}

static dt_status annotate_one(annotation *n, const char *input)
{
    char path[DT_PATH_MAX];
    dt_error *err = &n->c->error;
    image picture = {0};
    file_hash content;
    if (file_has_extension(n->output, "png") && !file_is_folder(n->output))
        snprintf(path, sizeof path, "%s", n->output);
    else if (!path_of(path, n, file_base_name(input)))
        return error_set(err, DT_ERR_ARG, "annotate: the path %s is too long", n->output);
    else if (file_make_dirs(n->output, err) != DT_OK)
        return err->status;
    if (file_is_same(path, input))
        return error_set(err, DT_ERR_ARG, "annotate: the map must not be the picture %s itself", input);
    if (file_check_writable(path, err) == DT_OK && read_picture(n, &picture, &content, input) == DT_OK &&
        check_replaceable(n, path, &content) == DT_OK && make_map(n, &picture, &content, path) == DT_OK)
        n->result->made = 1;
    image_close(&picture);
    return err->status;
}

/* A name that is a picture's is no folder's, and a map is a PNG. */
static dt_status check_output(const char *output, bool one, dt_error *err)
{
    if (strlen(output) > FILE_FOLDER_MAX)
        return error_set(err, DT_ERR_ARG, "annotate: the path %s is too long", output);
    if (!image_has_extension(output) || (one && file_has_extension(output, "png")) || file_is_folder(output))
        return DT_OK;
    return error_set(err, DT_ERR_ARG, "annotate: %s: %s", output,
                     one ? "a map is a PNG; let its name end in .png, or name a folder"
                         : "maps of several pictures need a folder, and this is a picture's name");
}

dt_status dt_annotate(dt_context *c, const char *kind, const char *input, const char *output, const dt_settings *s,
                      const dt_observer *observer, dt_annotated *result)
{
    annotation n = {.c = c, .s = s, .output = output, .result = result};
    n.watch = (watch){api_observer(observer), "annotate", clock_s()};
    *result = (dt_annotated){0};
    if (api_enter(c, s, SETTINGS_ANNOTATE, n.watch.observer) != DT_OK || open_kind(&n, kind) != DT_OK)
        return api_leave(c);
    const bool one = image_has_extension(input) && !file_is_folder(input);
    if (check_output(output, one, &c->error) == DT_OK) one ? annotate_one(&n, input) : annotate_set(&n, input);
    return api_leave(c);
}
