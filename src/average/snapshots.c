#include "average/snapshots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "container/safetensors.h"
#include "file/folder.h"
#include "file/json_file.h"

enum { SNAPSHOTS_MAX = 4096, UPDATES_MAX = 1000000000 };

void snapshot_name(char name[SNAPSHOT_NAME_MAX], int64_t step, double length)
{
    char text[POWER_TEXT_MAX];
    power_length_text(text, length);
    snprintf(name, SNAPSHOT_NAME_MAX, "step-%08lld-%s.safetensors", (long long)step, text);
}

/* ---- reading the folder ---- */

typedef struct snapshots {
    tensor_file *file;
    power_profile *profile; /* of each */
    double *share;
    int count, last; /* last: the one after most updates */
} snapshots;

static void close_all(snapshots *k)
{
    for (int i = 0; i < k->count; i++) tensor_file_close(&k->file[i]);
    free(k->file);
    free(k->profile);
    free(k->share);
}

static double number_said(const tensor_file *f, const char *key)
{
    const char *said = tensor_file_metadata(f, key);
    char *end;
    const double number = said ? strtod(said, &end) : 0;
    return said && end != said && !*end ? number : 0;
}

static dt_status read_profile(power_profile *p, const tensor_file *f, dt_error *err)
{
    const double length = number_said(f, SNAPSHOT_LENGTH), updates = number_said(f, SNAPSHOT_UPDATES);
    const bool fits = length >= POWER_LENGTH_MIN && length <= POWER_LENGTH_MAX;
    if (!fits || !(updates >= 1 && updates <= UPDATES_MAX))
        return error_set(err, DT_ERR_FORMAT,
                         "%s: its metadata do not say of which length (" SNAPSHOT_LENGTH
                         ") and after how many updates (" SNAPSHOT_UPDATES ") it is an average",
                         f->path);
    *p = (power_profile){length, (int64_t)updates};
    return DT_OK;
}

static dt_status refuse_twice(const snapshots *k, dt_error *err)
{
    const power_profile *p = k->profile, *last = &p[k->count - 1];
    for (int i = 0; i < k->count - 1; i++)
        if (p[i].updates == last->updates && p[i].length == last->length)
            return error_set(err, DT_ERR_FORMAT, "%s: the average of length %g after %lld updates, as %s is",
                             k->file[k->count - 1].path, last->length, (long long)last->updates, k->file[i].path);
    return DT_OK;
}

static dt_status open_one(snapshots *k, const char *path, dt_error *err)
{
    if (k->count == SNAPSHOTS_MAX)
        return error_set(err, DT_ERR_FORMAT, "%s: one average more than the %d that can be mixed", path, SNAPSHOTS_MAX);
    if (safetensors_open(&k->file[k->count], path, err) != DT_OK) return err->status;
    k->count++;
    if (read_profile(&k->profile[k->count - 1], &k->file[k->count - 1], err) != DT_OK) return err->status;
    if (k->profile[k->count - 1].updates > k->profile[k->last].updates) k->last = k->count - 1;
    return refuse_twice(k, err);
}

static dt_status open_all(snapshots *k, const char *folder, dt_error *err)
{
    file_names names = {0};
    file_list(&names, folder, err);
    const size_t room = names.count + 1;
    *k = (snapshots){.file = calloc(room, sizeof *k->file),
                     .profile = calloc(room, sizeof *k->profile),
                     .share = calloc(room, sizeof *k->share)};
    if (!k->file || !k->profile || !k->share)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to list %zu files", folder, names.count);
    for (size_t i = 0; i < names.count && err->status == DT_OK; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, names.name[i]);
        if (file_has_extension(path, "safetensors")) open_one(k, path, err);
    }
    file_names_free(&names);
    if (err->status == DT_OK && k->count == 0)
        error_set(err, DT_ERR_IO, "%s: a folder without averages (*.safetensors)", folder);
    return err->status;
}

/* ---- mixing ---- */

/* Room for one tensor. */
typedef struct mixing {
    const snapshots *k;
    double *sum;
    float *last, *other; /* values of the last snapshot and of another one */
    arena made;          /* the mixed values */
    struct sha256_ctx hash;
} mixing;

/* The tensor that another snapshot has under the same name, of the same shape. */
static const tensor_entry *same_tensor(const tensor_file *other, const tensor_entry *e, dt_error *err)
{
    const tensor_entry *found = tensor_file_find(other, e->name);
    if (found && tensor_same_shape(found, e)) return found;
    error_set(err, DT_ERR_SHAPE, "%s: tensor %s %s %s, an average of the same run", other->path, e->name,
              found ? "has another shape than in" : "is missing, which is in", e->path);
    return NULL;
}

/* sum += share (other - last): what is alike in all of them stays what it is to the bit. */
static dt_status add_other(mixing *m, int i, const tensor_entry *e, dt_error *err)
{
    const tensor_file *file = &m->k->file[i];
    const tensor_entry *other = same_tensor(file, e, err);
    const double share = m->k->share[i];
    if (!other || tensor_read_finite(m->other, other, err) != DT_OK) return err->status;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < e->count; j++) m->sum[j] += share * ((double)m->other[j] - (double)m->last[j]);
    file_map_drop(&file->map, other->data, (size_t)other->bytes);
    return DT_OK;
}

static dt_status mix_tensor(mixing *m, tensor_entry *e, dt_error *err)
{
    float *values = arena_alloc(&m->made, (size_t)e->count * sizeof *values, err);
    if (!values || tensor_read_finite(m->last, e, err) != DT_OK) return err->status;
    for (int64_t j = 0; j < e->count; j++) m->sum[j] = m->last[j];
    for (int i = 0; i < m->k->count && err->status == DT_OK; i++)
        if (i != m->k->last && m->k->share[i] != 0) add_other(m, i, e, err);
    for (int64_t j = 0; j < e->count; j++) values[j] = (float)m->sum[j];
    file_map_drop(&m->k->file[m->k->last].map, e->data, (size_t)e->bytes);
    tensor_take_values(e, values);
    sha256_update(&m->hash, strlen(e->name) + 1, (const uint8_t *)e->name);
    sha256_update(&m->hash, (size_t)e->dim_count * sizeof *e->dims, (const uint8_t *)e->dims);
    sha256_update(&m->hash, (size_t)e->bytes, e->data);
    return err->status;
}

/* Every snapshot has the tensors that the last one has, and no other. */
static dt_status check_counts(const snapshots *k, dt_error *err)
{
    const tensor_file *last = &k->file[k->last];
    for (int i = 0; i < k->count; i++)
        if (k->file[i].count != last->count)
            return error_set(err, DT_ERR_SHAPE, "%s: %zu tensors, where %s, an average of the same run, has %zu",
                             k->file[i].path, k->file[i].count, last->path, last->count);
    return DT_OK;
}

static dt_status open_mixing(mixing *m, const tensor_file *last, dt_error *err)
{
    enum { BESIDE = 4096 }; /* what the arena may take for each block; address space only */
    size_t bytes = BESIDE, largest = 1;
    sha256_init(&m->hash);
    for (size_t i = 0; i < last->count; i++) {
        const size_t count = (size_t)last->entries[i].count;
        if (count > largest) largest = count;
        bytes += count * sizeof(float) + BESIDE;
    }
    m->sum = malloc(largest * sizeof *m->sum);
    m->last = malloc(largest * sizeof *m->last);
    m->other = malloc(largest * sizeof *m->other);
    if (!m->sum || !m->last || !m->other)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory to mix averages", last->path);
    return arena_open(&m->made, "a mixture of averages", bytes, err);
}

/* Puts mixed values in place of those of *f, which is the last snapshot. */
static dt_status mix_all(tensor_file *f, const snapshots *k, dt_error *err)
{
    mixing m = {.k = k};
    tensor_entry *entry = calloc(f->count + 1, sizeof *entry);
    if (!entry)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to mix averages", f->path);
    else if (open_mixing(&m, f, err) == DT_OK)
        for (size_t i = 0; i < f->count && err->status == DT_OK; i++) {
            entry[i] = f->entries[i];
            mix_tensor(&m, &entry[i], err);
        }
    free(m.sum);
    free(m.last);
    free(m.other);
    if (err->status == DT_OK) {
        file_hash_finish(&f->made_hash, &m.hash);
        return tensor_file_replace(f, entry, f->count, &m.made, err);
    }
    arena_close(&m.made);
    free(entry);
    return err->status;
}

static dt_status say_length(tensor_file *f, double length, dt_error *err)
{
    char text[POWER_TEXT_MAX];
    power_length_text(text, length);
    json_put(&f->metadata, SNAPSHOT_LENGTH, json_string(text));
    return f->metadata ? DT_OK : error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
}

/* ---- the whole ---- */

static dt_status solve(snapshots *k, snapshots_used *used, double length, dt_error *err)
{
    *used = (snapshots_used){.updates = k->profile[k->last].updates, .kept = k->count};
    const power_profile wanted = {length, used->updates};
    power_solve(k->share, &used->off, k->profile, k->count, wanted, err);
    for (int i = 0; i < k->count; i++) used->count += k->share[i] != 0;
    return err->status;
}

dt_status snapshots_open(tensor_file *f, snapshots_used *used, const char *folder, double length, dt_error *err)
{
    snapshots k = {0};
    *f = (tensor_file){0};
    if (open_all(&k, folder, err) == DT_OK && check_counts(&k, err) == DT_OK && solve(&k, used, length, err) == DT_OK)
        mix_all(&k.file[k.last], &k, err);
    if (err->status == DT_OK && say_length(&k.file[k.last], length, err) == DT_OK) {
        *f = k.file[k.last];
        k.file[k.last] = (tensor_file){0};
    }
    close_all(&k);
    return err->status;
}
