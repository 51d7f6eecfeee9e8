#include "data/duplicates.h"

#include <stdlib.h>
#include <string.h>

#include "base/sort.h"

/* One picture of a set, by a hash that only sorts: equal ones are compared byte by byte. */
typedef struct entry {
    uint64_t hash;
    const void *data;
} entry;

static size_t bytes_of(const dataset *d)
{
    return d->pixels ? (size_t)(d->resolution * d->resolution * 3) : DATASET_CONTENT;
}

/* FNV-1a over words of eight bytes. */
static uint64_t hash_bytes(const void *data, size_t bytes)
{
    const uint64_t prime = 0x100000001b3;
    uint64_t hash = 0xcbf29ce484222325, word;
    size_t at = 0;
    for (; at + sizeof word <= bytes; at += sizeof word) {
        memcpy(&word, (const char *)data + at, sizeof word);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 32;
    }
    for (; at < bytes; at++) hash = (hash ^ ((const uint8_t *)data)[at]) * prime;
    return hash;
}

static entry *list_of(const dataset *d)
{
    const size_t bytes = bytes_of(d);
    entry *list = malloc((size_t)d->count * sizeof *list);
    if (!list) return NULL;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d->count; i++) {
        const void *data = d->pixels ? (const void *)(d->pixels + (size_t)i * bytes) : d->content[i];
        list[i] = (entry){hash_bytes(data, bytes), data};
    }
    return list;
}

static int compare(const void *left, const void *right)
{
    const uint64_t a = ((const entry *)left)->hash, b = ((const entry *)right)->hash;
    return (a > b) - (a < b);
}

static bool holds(const entry *list, int64_t count, const entry *wanted, size_t bytes)
{
    int64_t first = 0;
    for (int64_t end = count; first < end;) {
        const int64_t middle = first + (end - first) / 2;
        if (list[middle].hash < wanted->hash)
            first = middle + 1;
        else
            end = middle;
    }
    for (; first < count && list[first].hash == wanted->hash; first++)
        if (!memcmp(list[first].data, wanted->data, bytes)) return true;
    return false;
}

dt_status dataset_count_shared(int64_t *count, const dataset *a, const dataset *b, dt_error *err)
{
    *count = 0;
    if (a->count == 0 || b->count == 0 || bytes_of(a) != bytes_of(b) || !(a->pixels || a->content)) return DT_OK;
    entry *all = list_of(a), *asked = list_of(b);
    if (all && asked) {
        sort_array(all, (size_t)a->count, sizeof *all, compare);
        for (int64_t i = 0; i < b->count; i++) *count += holds(all, a->count, &asked[i], bytes_of(a));
    } else {
        error_set(err, DT_ERR_MEMORY, "no memory to compare two sets of images");
    }
    free(all);
    free(asked);
    return err->status;
}
