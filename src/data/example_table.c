#include "data/example_table.h"

#include <stdlib.h>
#include <string.h>

static dt_status no_memory(const example_table *t, dt_error *err)
{
    return error_set(err, DT_ERR_MEMORY, "no memory for a table of %lld rows", (long long)t->row_count);
}

static size_t values_of(const example_table *t)
{
    size_t values = 1;
    for (int i = 0; i < t->dim_count; i++) values *= (size_t)t->dim[i];
    return values;
}

size_t example_table_row_bytes(const example_table *t)
{
    return t->map_channels ? (size_t)(t->map_channels * t->dim[1] * t->dim[2]) : values_of(t) * sizeof(float);
}

dt_status example_table_append(example_table *t, const void *rows, int64_t n, size_t bytes, dt_error *err)
{
    const void **grown = realloc(t->row, (size_t)(t->row_count + n) * sizeof *grown);
    if (!grown) return no_memory(t, err);
    t->row = grown;
    for (int64_t i = 0; i < n; i++) grown[t->row_count++] = (const uint8_t *)rows + (size_t)i * bytes;
    return DT_OK;
}

dt_status example_table_own(example_table *t, float *values, int64_t rows, dt_error *err)
{
    t->values = values;
    return example_table_append(t, values, rows, example_table_row_bytes(t), err);
}

dt_status example_table_in_turn(example_table *out, const example_table *from, int64_t examples, int64_t count,
                                dt_error *err)
{
    *out = (example_table){.dim_count = from->dim_count, .map_channels = from->map_channels, .row_count = count};
    memcpy(out->dim, from->dim, sizeof out->dim);
    out->row = malloc((size_t)count * sizeof *out->row);
    if (!out->row) return no_memory(out, err);
    for (int64_t i = 0; i < count; i++) out->row[i] = example_table_row(from, i % examples, i / examples);
    return DT_OK;
}

dt_status example_table_await(example_table *t, int64_t rows, dt_error *err)
{
    t->row_count = rows;
    t->key = malloc((size_t)rows * sizeof *t->key);
    return t->key ? DT_OK : no_memory(t, err);
}

dt_status example_table_settle(example_table *t, const shard_cache *cache, dt_error *err)
{
    if (!t->key) return DT_OK;
    t->row = calloc((size_t)t->row_count, sizeof *t->row);
    if (!t->row) return no_memory(t, err);
    for (int64_t i = 0; i < t->row_count; i++) {
        t->row[i] = shard_cache_find(cache, t->key[i], 0);
        if (t->row[i]) continue;
        if (!t->values) t->values = calloc(1, example_table_row_bytes(t));
        if (!t->values) return no_memory(t, err);
        t->row[i] = t->values;
    }
    free(t->key);
    t->key = NULL;
    return DT_OK;
}

void example_table_close(example_table *t)
{
    free(t->row);
    free(t->first);
    free(t->values);
    free(t->key);
    *t = (example_table){0};
}

int64_t example_table_values(const example_table *t)
{
    return t->row ? (int64_t)values_of(t) : 0;
}

int64_t example_table_choices(const example_table *t, int64_t i)
{
    return t->first ? t->first[i + 1] - t->first[i] : 1;
}

const void *example_table_row(const example_table *t, int64_t i, int64_t choice)
{
    return t->row[(t->first ? t->first[i] : i) + choice % example_table_choices(t, i)];
}

void example_mirror(float *x, int64_t count, int64_t width)
{
    for (int64_t row = 0; row < count; row += width)
        for (int64_t i = 0; i < width / 2; i++) {
            const float left = x[row + i];
            x[row + i] = x[row + width - 1 - i];
            x[row + width - 1 - i] = left;
        }
}

/* chw[C,H,W] in [0,1] of the map[H,W,channels]; a grey map is told C times. */
static void spread_map(float *chw, const example_table *t, const uint8_t *map, bool mirrored)
{
    const int64_t channels = t->map_channels, height = t->dim[1], width = t->dim[2];
    for (int64_t c = 0; c < t->dim[0]; c++)
        for (int64_t y = 0; y < height; y++) {
            float *line = chw + (c * height + y) * width;
            const uint8_t *from = map + y * width * channels + (channels > 1 ? c : 0);
            for (int64_t x = 0; x < width; x++)
                line[x] = (float)from[(mirrored ? width - 1 - x : x) * channels] / 255.0f;
        }
}

void example_table_get(float *row, const example_table *t, int64_t i, int64_t choice, bool mirrored)
{
    const void *from = example_table_row(t, i, choice);
    const int64_t values = example_table_values(t);
    if (t->map_channels) {
        spread_map(row, t, from, mirrored);
        return;
    }
    memcpy(row, from, (size_t)values * sizeof *row);
    if (mirrored && t->dim_count == 3) example_mirror(row, values, t->dim[2]);
}
