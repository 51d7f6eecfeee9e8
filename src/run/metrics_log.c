#include "run/metrics_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file/json_file.h"

enum { DUMP_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(9) };

/* The line at text[0..length) with its newline, or the rest of the file when that is cut off. */
static bool line_stays(const char *line, size_t length, int64_t last_step, const char *path, dt_error *err)
{
    json_error_t where;
    if (line[length - 1] != '\n') return false;
    json_t *object = json_text_read(line, length, &where, path, err);
    const json_t *step = json_object_get(object, "step");
    bool stays = !json_is_integer(step) || json_integer_value(step) <= last_step;
    json_decref(object);
    return stays;
}

static size_t line_length(const char *line, size_t rest)
{
    const char *newline = memchr(line, '\n', rest);
    return newline ? (size_t)(newline - line) + 1 : rest;
}

/* Writes the lines that stay; with w NULL it only counts their bytes. */
static dt_status copy_lines(size_t *kept, const file_map *map, int64_t last_step, file_writer *w, const char *path,
                            dt_error *err)
{
    const char *text = (const char *)map->data;
    *kept = 0;
    for (size_t at = 0, length; at < map->size && err->status == DT_OK; at += length) {
        length = line_length(text + at, map->size - at);
        if (!line_stays(text + at, length, last_step, path, err)) continue;
        *kept += length;
        if (w) file_writer_write(w, text + at, length, err);
    }
    return err->status;
}

static dt_status drop_later_lines(const char *path, int64_t last_step, dt_error *err)
{
    file_map map;
    file_writer w;
    size_t kept;
    if (file_map_open(&map, path, err) != DT_OK) return err->status;
    if (copy_lines(&kept, &map, last_step, NULL, path, err) == DT_OK && kept != map.size &&
        file_writer_begin(&w, path, err) == DT_OK) {
        if (copy_lines(&kept, &map, last_step, &w, path, err) == DT_OK)
            file_writer_commit(&w, NULL, err);
        else
            file_writer_abort(&w);
    }
    file_map_close(&map);
    return err->status;
}

dt_status metrics_log_open(metrics_log *m, const char *path, int64_t last_step, dt_error *err)
{
    m->fd = -1;
    if (strlen(path) >= sizeof m->path) return error_set(err, DT_ERR_IO, "cannot log to %s: path too long", path);
    strcpy(m->path, path);
    if (file_exists(path) && drop_later_lines(path, last_step, err) != DT_OK) return err->status;
    m->fd = file_open(path, O_WRONLY | O_CREAT | O_APPEND);
    return m->fd < 0 ? error_set_errno(err, "cannot open %s", path) : DT_OK;
}

dt_status metrics_log_write(metrics_log *m, const json_t *object, dt_error *err)
{
    if (!json_is_object(object)) return error_set(err, DT_ERR_ARG, "a line of %s is not a JSON object", m->path);
    size_t length = json_dumpb(object, NULL, 0, DUMP_FLAGS);
    char *line = malloc(length + 1);
    if (!line || length == 0 || json_dumpb(object, line, length, DUMP_FLAGS) != length) {
        error_set(err, DT_ERR_MEMORY, "no memory for a line of %s", m->path);
    } else {
        line[length] = '\n';
        file_append(&m->fd, m->path, line, length + 1, err);
    }
    free(line);
    return err->status;
}

dt_status metrics_log_sync(const metrics_log *m, dt_error *err)
{
    return file_sync_data(m->fd) == 0 ? DT_OK : error_set_errno(err, "cannot write %s", m->path);
}

static bool says(const json_t *object, const char *key, const char *word)
{
    return !strcmp(json_text_at(object, key), word);
}

dt_status metrics_log_find(bool *found, const metrics_log *m, int64_t step, const char *kind, const char *set,
                           dt_error *err)
{
    file_map map;
    char mark[40];
    const int marked = snprintf(mark, sizeof mark, "\"step\":%lld", (long long)step);
    *found = false;
    if (file_map_open(&map, m->path, err) != DT_OK) return err->status;
    const char *text = (const char *)map.data;
    for (size_t at = 0, length; at < map.size && !*found; at += length) {
        length = line_length(text + at, map.size - at);
        if (!memmem(text + at, length, mark, (size_t)marked)) continue; /* few lines are worth the parsing */
        json_error_t where;
        json_t *object = json_text_read(text + at, length, &where, m->path, err);
        *found = json_integer_value(json_object_get(object, "step")) == step && says(object, "kind", kind) &&
                 (!set || says(object, "set", set));
        json_decref(object);
    }
    file_map_close(&map);
    return err->status;
}

static dt_status append(double **values, int64_t *count, double value, dt_error *err)
{
    double *grown = realloc(*values, (size_t)(*count + 1) * sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "no memory for a curve of %lld values", (long long)*count + 1);
    *values = grown;
    grown[(*count)++] = value;
    return DT_OK;
}

dt_status metrics_log_curve(double **values, int64_t *count, const metrics_log *m, const char *kind, const char *key,
                            dt_error *err)
{
    file_map map;
    char mark[64];
    const int marked = snprintf(mark, sizeof mark, "\"kind\":\"%.40s\"", kind);
    *values = NULL;
    *count = 0;
    if (file_map_open(&map, m->path, err) != DT_OK) return err->status;
    const char *text = (const char *)map.data;
    for (size_t at = 0, length; at < map.size && err->status == DT_OK; at += length) {
        length = line_length(text + at, map.size - at);
        if (!memmem(text + at, length, mark, (size_t)marked)) continue;
        json_error_t where;
        json_t *object = json_text_read(text + at, length, &where, m->path, err);
        const json_t *value = json_object_get(object, key);
        if (says(object, "kind", kind) && json_is_number(value)) append(values, count, json_number_value(value), err);
        json_decref(object);
    }
    file_map_close(&map);
    return err->status;
}

void metrics_log_close(metrics_log *m)
{
    if (m->fd >= 0) close(m->fd);
    m->fd = -1;
}
