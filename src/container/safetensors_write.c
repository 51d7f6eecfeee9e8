#include "container/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "base/text.h"

enum { HEADER_ALIGNMENT = 8 };

/* What will be written, complete before the first byte goes out. */
typedef struct plan {
    const char *path;
    const tensor_source **order; /* by type descending, then name, as the reference library writes */
    size_t count;
    json_t *header;
    char *text; /* of the header, padded with spaces */
    size_t text_length;
    uint64_t data_bytes;
} plan;

static int compare_sources(const void *a, const void *b)
{
    const tensor_source *x = *(const tensor_source *const *)a, *y = *(const tensor_source *const *)b;
    if (x->dtype != y->dtype) return x->dtype > y->dtype ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* ---- header ---- */

static dt_status plan_metadata(plan *p, const metadata_pair metadata[], size_t count, dt_error *err)
{
    if (count == 0) return DT_OK;
    json_t *object = json_object();
    if (json_object_set_new(p->header, "__metadata__", object) != 0)
        return error_set(err, DT_ERR_MEMORY, "no memory for the metadata of %s", p->path);
    for (size_t i = 0; i < count; i++) {
        const metadata_pair *m = &metadata[i];
        if (json_object_get(object, m->key))
            return error_set(err, DT_ERR_ARG, "cannot write %s: metadata %s is given twice", p->path, m->key);
        if (!text_is_utf8(m->key) || !text_is_utf8(m->value))
            return error_set(err, DT_ERR_ARG, "cannot write %s: metadata %s is not UTF-8", p->path, m->key);
        if (json_object_set_new(object, m->key, json_string(m->value)) != 0)
            return error_set(err, DT_ERR_MEMORY, "no memory for the metadata of %s", p->path);
    }
    return DT_OK;
}

/* NULL when memory is out, which json_pack passes on. */
static json_t *shape_of(const tensor_source *s)
{
    json_t *shape = json_array();
    for (int i = 0; i < s->dim_count; i++) {
        if (json_array_append_new(shape, json_integer(s->dims[i])) == 0) continue;
        json_decref(shape);
        return NULL;
    }
    return shape;
}

static dt_status plan_source(plan *p, const tensor_source *s, dt_error *err)
{
    uint64_t count, bytes, end;
    if (tensor_source_size(&count, &bytes, s, p->path, err) != DT_OK) return err->status;
    if (__builtin_add_overflow(p->data_bytes, bytes, &end) || end > INT64_MAX)
        return tensor_source_refused(s, p->path, "the file would have no size in bytes", err);
    if (json_object_get(p->header, s->name) || strcmp(s->name, "__metadata__") == 0)
        return tensor_source_refused(s, p->path, "its name is taken", err);
    if (!text_is_utf8(s->name)) return tensor_source_refused(s, p->path, "its name is not UTF-8", err);
    json_t *info = json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_dtype_name(s->dtype), "shape", shape_of(s),
                             "data_offsets", (json_int_t)p->data_bytes, (json_int_t)end);
    if (json_object_set_new(p->header, s->name, info) != 0)
        return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", p->path);
    p->data_bytes = end;
    return DT_OK;
}

static dt_status plan_text(plan *p, dt_error *err)
{
    size_t length = json_dumpb(p->header, NULL, 0, JSON_COMPACT);
    p->text_length = (length + HEADER_ALIGNMENT - 1) / HEADER_ALIGNMENT * HEADER_ALIGNMENT;
    if (p->text_length > SAFETENSORS_HEADER_MAX)
        return error_set(err, DT_ERR_ARG, "cannot write %s: its header of %zu bytes is above the format's %d", p->path,
                         p->text_length, SAFETENSORS_HEADER_MAX);
    p->text = malloc(p->text_length + 1);
    if (p->text) memset(p->text, ' ', p->text_length);
    if (!p->text || length == 0 || json_dumpb(p->header, p->text, length, JSON_COMPACT) != length)
        return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", p->path);
    return DT_OK;
}

static dt_status plan_open(plan *p, const tensor_source sources[], size_t count, const metadata_pair metadata[],
                           size_t metadata_count, dt_error *err)
{
    p->header = json_object();
    p->order = calloc(count + 1, sizeof *p->order);
    if (!p->header || !p->order) return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", p->path);
    if (plan_metadata(p, metadata, metadata_count, err) != DT_OK) return err->status;
    for (; p->count < count; p->count++) p->order[p->count] = &sources[p->count];
    sort_array(p->order, count, sizeof *p->order, compare_sources);
    for (size_t i = 0; i < count; i++)
        if (plan_source(p, p->order[i], err) != DT_OK) return err->status;
    return plan_text(p, err);
}

static void plan_close(plan *p)
{
    json_decref(p->header);
    free(p->order);
    free(p->text);
}

/* ---- data ---- */

static dt_status write_bytes(void *user, const void *data, size_t size, dt_error *err)
{
    return file_writer_write(user, data, size, err);
}

static dt_status write_plan(const plan *p, file_hash *hash, dt_error *err)
{
    file_writer w;
    uint64_t length = p->text_length;
    if (file_writer_begin(&w, p->path, err) != DT_OK) return err->status;
    if (file_writer_reserve(&w, sizeof length + length + p->data_bytes, err) != DT_OK) return err->status;
    if (file_writer_write(&w, &length, sizeof length, err) != DT_OK) return err->status;
    if (file_writer_write(&w, p->text, p->text_length, err) != DT_OK) return err->status;
    for (size_t i = 0; i < p->count; i++)
        if (tensor_source_stream(p->order[i], p->path, write_bytes, &w, err) != DT_OK) {
            file_writer_abort(&w); /* the failure may be that of the values */
            return err->status;
        }
    return file_writer_commit(&w, hash, err);
}

dt_status safetensors_write(const char *path, const tensor_source sources[], size_t count,
                            const metadata_pair metadata[], size_t metadata_count, file_hash *hash, dt_error *err)
{
    plan p = {.path = path};
    if (plan_open(&p, sources, count, metadata, metadata_count, err) == DT_OK) write_plan(&p, hash, err);
    plan_close(&p);
    return err->status;
}
