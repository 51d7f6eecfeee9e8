#include "api/sample_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/file.h"
#include "file/folder.h"
#include "image/grid.h"
#include "data/sample_stack.h"

enum { GRID_MAX = 256, FILE_BYTES_MAX = 1 << 28 };

static void image_path(char path[DT_PATH_MAX], const sample_folder *f, int64_t number)
{
    char name[32];
    snprintf(name, sizeof name, "images/%06lld.png", (long long)number);
    file_join(path, f->s->output_dir, name);
}

/* ---- whose folder it is ---- */

dt_status sample_folder_claim(file_lock *lock, const char *folder, const char *name, const char *purpose,
                              const char *text, dt_error *err)
{
    char path[DT_PATH_MAX], *found = NULL;
    size_t size;
    file_join(path, folder, name);
    if (!file_exists(path) &&
        (file_check_free_folder(folder, purpose, err) != DT_OK || file_make_dirs(folder, err) != DT_OK))
        return err->status;
    if (file_lock_folder(lock, folder, err) != DT_OK) return err->status;
    if (file_exists(path)) {
        if (file_read_all(&found, &size, path, 1 << 16, err) == DT_OK && strcmp(found, text))
            error_set(err, DT_ERR_CONFLICT, "%s: the folder holds %s drawn otherwise (%s); choose another folder",
                      folder, purpose, found);
        free(found);
    } else {
        file_write_atomic(path, text, strlen(text), err);
    }
    return err->status;
}

/* Of those beyond what is asked for, files or rows of features, whichever are more. */
static int64_t count_held(const sample_folder *f)
{
    char path[DT_PATH_MAX];
    int64_t count = f->s->num_samples;
    for (image_path(path, f, count); file_exists(path); image_path(path, f, count)) count++;
    if (count == f->s->num_samples) count = f->done;
    return f->feature && f->rows.count > count ? f->rows.count : count;
}

/* The images before `done` are there, as files and as rows of features, as far as they are wanted so. */
static dt_status find_done(sample_folder *f, dt_error *err)
{
    int64_t saved = 0;
    char path[DT_PATH_MAX];
    for (; saved < f->saved; saved++) {
        image_path(path, f, saved);
        if (!file_exists(path)) break;
    }
    f->done = f->feature && f->rows.count < f->s->num_samples ? f->rows.count : f->s->num_samples;
    if (saved < f->saved && saved < f->done) f->done = saved;
    return f->feature && f->rows.count > f->done && f->done < f->s->num_samples
               ? feature_rows_cut(&f->rows, f->done, err)
               : DT_OK;
}

dt_status sample_folder_open(sample_folder *f, dt_error *err)
{
    char path[DT_PATH_MAX], text[SAMPLE_TEXT_MAX + 128];
    int n = snprintf(text, sizeof text, "%s", f->text);
    if (f->feature) snprintf(text + n, sizeof text - (size_t)n, ", features %s", f->feature);
    f->rows.fd = -1;
    sample_folder_claim(&f->lock, f->s->output_dir, "samples.txt", "samples", text, err);
    file_join(path, f->s->output_dir, "images");
    if (f->saved > 0 && err->status == DT_OK) file_make_dirs(path, err);
    file_join(path, f->s->output_dir, "features.f32");
    if (f->feature && err->status == DT_OK) feature_rows_open(&f->rows, path, f->feature_dim, err);
    if (err->status == DT_OK) find_done(f, err);
    if (err->status == DT_OK) f->holds = count_held(f);
    if (err->status != DT_OK) sample_folder_close(f);
    return err->status;
}

void sample_folder_close(sample_folder *f)
{
    feature_rows_close(&f->rows);
    file_unlock(&f->lock);
}

int64_t sample_folder_missing_bytes(const sample_folder *f)
{
    const int64_t images = f->saved > f->done ? f->saved - f->done : 0, rows = f->s->num_samples - f->done;
    const int64_t row = f->feature ? f->feature_dim * (int64_t)sizeof(float) : 0;
    return images * (f->size * f->size * 3 / 4) + (rows > 0 ? rows * row : 0);
}

/* ---- images ---- */

dt_status sample_folder_save(const sample_folder *f, const float *x, int64_t number, dt_error *err)
{
    char path[DT_PATH_MAX], label[128];
    const int32_t y = class_list_at(f->classes, number);
    const char *prompt = f->prompt ? f->prompt[number % f->prompt_count] : NULL;
    image picture = {0};
    if (number >= f->saved) return DT_OK;
    image_path(path, f, number);
    snprintf(label, sizeof label, "%d %s", (int)y, y < f->info->class_name_count ? f->info->class_name[y] : "");
    const image_text texts[] = {{"Software", "difftune " DT_VERSION},
                                {prompt ? "prompt" : "class", prompt ? prompt : label},
                                {"parameters", f->text},
                                {"negative prompt", f->negative_prompt}};
    if (image_grid(&picture, x, 1, f->channels, f->size, f->size, 1, err) == DT_OK)
        image_write_png(path, picture.rgb, picture.width, picture.height, texts, f->negative_prompt ? 4 : 3, err);
    image_close(&picture);
    return err->status;
}

/* Reads image `number` back, to be freed with image_close. */
static dt_status load(const sample_folder *f, image *out, int64_t number, dt_error *err)
{
    char path[DT_PATH_MAX], *data;
    size_t bytes;
    const image_options options = {.background = {255, 255, 255}};
    *out = (image){0};
    image_path(path, f, number);
    if (file_read_all(&data, &bytes, path, FILE_BYTES_MAX, err) != DT_OK) return err->status;
    if (image_decode(out, NULL, (const uint8_t *)data, bytes, path, &options, err) == DT_OK &&
        (out->width != f->size || out->height != f->size)) {
        error_set(err, DT_ERR_FORMAT, "%s is %lldx%lld pixels, %lldx%lld expected", path, (long long)out->width,
                  (long long)out->height, (long long)f->size, (long long)f->size);
        image_close(out);
    }
    free(data);
    return err->status;
}

/* The same as x [channels,size,size]; the bytes of a picture survive the way to floats and back. */
static dt_status load_values(const sample_folder *f, float *x, int64_t number, dt_error *err)
{
    image picture;
    if (load(f, &picture, number, err) != DT_OK) return err->status;
    image_to_floats(x, f->channels, picture.rgb, f->size, false);
    image_close(&picture);
    return DT_OK;
}

/* Classes in turn have columns, and so have prompts; where classes are drawn, every picture has its own name. */
static dt_status draw_grid(const sample_folder *f, const float *x, int64_t count, bool *labelled, dt_error *err)
{
    int32_t class_of[GRID_MAX];
    bool in_turn = f->classes->order == DT_CLASSES_IN_TURN;
    for (int64_t i = 0; i < count; i++) class_of[i] = class_list_at(f->classes, i);
    grid_pictures pictures = {.x = x,
                              .count = count,
                              .channels = f->channels,
                              .size = f->size,
                              .class_list = in_turn ? f->classes->class : class_of,
                              .class_list_count = in_turn ? f->classes->count : count,
                              .class_name = f->info->class_name,
                              .class_name_count = f->info->class_name_count};
    if (f->prompt) {
        pictures.class_list = NULL;
        pictures.class_name = (char *const *)f->prompt;
        pictures.class_list_count = pictures.class_name_count = f->prompt_count;
    }
    char path[DT_PATH_MAX];
    image picture = {0};
    file_join(path, f->s->output_dir, "grid.png");
    const image_text texts[] = {{"Software", "difftune " DT_VERSION}, {"parameters", f->text}};
    if (grid_draw(&picture, labelled, &pictures, err) == DT_OK)
        image_write_png(path, picture.rgb, picture.width, picture.height, texts, 2, err);
    image_close(&picture);
    return err->status;
}

static int64_t grid_count(const sample_folder *f)
{
    return f->saved < GRID_MAX ? f->saved : GRID_MAX;
}

int64_t sample_folder_grid_bytes(const sample_folder *f)
{
    const int64_t values = f->channels * f->size * f->size * (int64_t)sizeof(float);
    return grid_count(f) * values + grid_bytes(grid_count(f), f->channels, f->size);
}

dt_status sample_folder_grid(const sample_folder *f, bool *labelled, dt_error *err)
{
    const int64_t count = grid_count(f), size = f->channels * f->size * f->size;
    *labelled = true;
    if (count == 0) return DT_OK;
    float *x = malloc((size_t)(count * size) * sizeof *x);
    if (!x) return error_set(err, DT_ERR_MEMORY, "%s: no memory for grid.png", f->s->output_dir);
    for (int64_t i = 0; i < count && err->status == DT_OK; i++) load_values(f, x + i * size, i, err);
    if (err->status == DT_OK) draw_grid(f, x, count, labelled, err);
    free(x);
    return err->status;
}

dt_status sample_folder_stack(ctx *c, const sample_folder *f, const char *path)
{
    dt_error *err = &c->error;
    sample_stack_writer w;
    image picture;
    const int64_t count = f->s->num_samples;
    int64_t *labels = malloc((size_t)count * sizeof *labels);
    if (!labels) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its classes", path);
    for (int64_t i = 0; i < count; i++) labels[i] = class_list_at(f->classes, i);
    if (sample_stack_begin(&w, path, count, f->size, f->size, err) == DT_OK) {
        for (int64_t i = 0; i < count && ctx_go_on(c) && load(f, &picture, i, err) == DT_OK; i++) {
            sample_stack_add(&w, picture.rgb, 1, err);
            image_close(&picture);
            if (err->status != DT_OK) break;
        }
        if (err->status == DT_OK)
            sample_stack_commit(&w, labels, err);
        else
            sample_stack_abort(&w);
    }
    free(labels);
    return err->status;
}
