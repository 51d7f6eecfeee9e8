#include "data/picture_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/say.h"
#include "file/file.h"
#include "file/folder.h"

typedef struct filler {
    picture_file *f;
    const char *near; /* folder of the file */
    int fd;
    size_t square; /* bytes of a picture */
} filler;

static bool knows_none(void *user, dataset_file *file)
{
    (void)user;
    (void)file;
    return false;
}

static dt_status write_square(const filler *k, const uint8_t *rgb, dt_error *err)
{
    for (size_t done = 0; done < k->square;) {
        const ssize_t n = write(k->fd, rgb + done, k->square - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return error_set_errno(err, "%s: cannot keep the pictures there", k->near);
        done += (size_t)n;
    }
    return DT_OK;
}

static dt_status take(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    filler *k = user;
    if (k->f->count == 0 &&
        file_check_space(k->near, file->count * (int64_t)k->square, "the pictures of the set", err) != DT_OK)
        return err->status;
    if (write_square(k, rgb, err) == DT_OK) k->f->count++;
    return err->status;
}

/* A file that has lost its name. */
static dt_status make_file(filler *k, dt_error *err)
{
    char path[DT_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/pictures.tmp-XXXXXX", k->near);
    k->fd = mkstemp(path);
    if (k->fd < 0) return error_set_errno(err, "%s: cannot keep the pictures there", k->near);
    if (unlink(path) != 0) error_set_errno(err, "cannot remove %s", path);
    return err->status;
}

static dt_status map_file(filler *k, dt_error *err)
{
    picture_file *f = k->f;
    f->bytes = (size_t)f->count * k->square;
    void *map = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, k->fd, 0);
    if (map == MAP_FAILED) return error_set_errno(err, "%s: cannot map the pictures there", k->near);
    f->view.pixels = map;
    return DT_OK;
}

static bool go_on(void *user)
{
    return ctx_go_on(user);
}

static void tell(const examples_options *o, const dataset *d)
{
    say(o->watch.log, o->watch.user, "%.600s%s%s: %lld images at %lldx%lld, %lld skipped", d->path,
        d->split[0] ? ", split " : "", d->split, (long long)d->count, (long long)d->resolution,
        (long long)d->resolution, (long long)d->report.skip_count);
    if (o->watch.log) report_tell_skips(&d->report, o->watch.log, o->watch.user);
}

dt_status picture_file_open(ctx *c, picture_file *f, const char *path, const char *folder, const examples_options *o)
{
    char near[DT_PATH_MAX];
    dataset found;
    filler k = {.f = f, .near = near, .fd = -1, .square = (size_t)(3 * o->resolution * o->resolution)};
    const dataset_taker taker = {.user = &k, .knows = knows_none, .take = take};
    const dataset_options how = {.resolution = o->resolution,
                                 .background = o->background,
                                 .strict = o->strict,
                                 .threads = c->threads,
                                 .held_out = o->held_out,
                                 .taker = &taker,
                                 .go_on = go_on,
                                 .go_on_user = c};
    *f = (picture_file){.view = {.resolution = o->resolution}};
    file_nearest_folder(near, folder);
    if (make_file(&k, &c->error) == DT_OK && dataset_open(&found, path, &how, &c->error) == DT_OK) {
        if (map_file(&k, &c->error) == DT_OK) tell(o, &found);
        dataset_close(&found);
    }
    if (k.fd >= 0) file_close(k.fd);
    if (ctx_failed(c)) picture_file_close(f);
    return c->error.status;
}

void picture_file_close(picture_file *f)
{
    if (f->view.pixels) munmap(f->view.pixels, f->bytes);
    *f = (picture_file){0};
}

void picture_file_get(float *x, const picture_file *f, int64_t i)
{
    dataset_image(x, &f->view, i, false);
}
