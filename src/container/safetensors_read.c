#include "container/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "file/json_file.h"

enum { LENGTH_BYTES = 8 };

/* ---- header ---- */

static dt_status check_length(size_t *length, const tensor_file *f, dt_error *err)
{
    uint64_t stated = 0;
    if (f->map.size < LENGTH_BYTES)
        return error_set(err, DT_ERR_FORMAT, "%s is no safetensors file: %zu bytes, expected at least %d", f->path,
                         f->map.size, LENGTH_BYTES);
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) stated = stated << 8 | f->map.data[i];
    if (stated > SAFETENSORS_HEADER_MAX)
        return error_set(err, DT_ERR_FORMAT, "%s is no safetensors file: header of %llu bytes, expected at most %d",
                         f->path, (unsigned long long)stated, SAFETENSORS_HEADER_MAX);
    if (stated > f->map.size - LENGTH_BYTES)
        return error_set(err, DT_ERR_FORMAT, "%s is cut off: header of %llu bytes, the file has %zu", f->path,
                         (unsigned long long)stated, f->map.size);
    if (stated == 0 || f->map.data[LENGTH_BYTES] != '{')
        return error_set(err, DT_ERR_FORMAT, "%s is no safetensors file: its header does not begin with '{'", f->path);
    *length = (size_t)stated;
    return DT_OK;
}

static dt_status parse_header(tensor_file *f, size_t length, dt_error *err)
{
    const char *text = (const char *)f->map.data + LENGTH_BYTES;
    json_error_t why;
    f->header = json_text_read(text, length, &why, f->path, err);
    if (!f->header)
        return error_set(err, DT_ERR_FORMAT, "%s: header is not valid JSON at byte %d: %s", f->path, why.position,
                         why.text);
    f->metadata = json_incref(json_object_get(f->header, "__metadata__"));
    if (!f->metadata) return DT_OK;
    if (!json_is_object(f->metadata))
        return error_set(err, DT_ERR_FORMAT, "%s: __metadata__ is not an object", f->path);
    const char *key;
    json_t *value;
    json_object_foreach(f->metadata, key, value) if (!json_is_string(value)) return error_set(
        err, DT_ERR_FORMAT, "%s: __metadata__ %s is not a string", f->path, key);
    return DT_OK;
}

/* ---- entries ---- */

static dt_status entry_refused(const tensor_entry *e, const char *why, dt_error *err)
{
    return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: %s", e->path, e->name, why);
}

static bool is_size(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static dt_status read_dtype(tensor_entry *e, const json_t *info, dt_error *err)
{
    const char *name = json_string_value(json_object_get(info, "dtype"));
    if (!name) return entry_refused(e, "no dtype", err);
    for (e->dtype = 0; e->dtype < SAFETENSORS_DTYPE_COUNT; e->dtype++)
        if (strcmp(name, safetensors_dtype_name(e->dtype)) == 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: unknown dtype %.32s", e->path, e->name, name);
}

/* Shape into `dims`; count and the bytes that follow from it, with every product checked. */
static dt_status read_shape(tensor_entry *e, int64_t *dims, const json_t *info, dt_error *err)
{
    const json_t *shape = json_object_get(info, "shape");
    if (!json_is_array(shape)) return entry_refused(e, "no shape", err);
    uint64_t count = 1, bits;
    e->dim_count = (int)json_array_size(shape);
    e->dims = dims;
    for (int i = 0; i < e->dim_count; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!is_size(dim)) return entry_refused(e, "a dimension is not a whole number from 0 up", err);
        dims[i] = json_integer_value(dim);
        if (__builtin_mul_overflow(count, (uint64_t)dims[i], &count))
            return entry_refused(e, "the product of its shape is too large", err);
    }
    if (__builtin_mul_overflow(count, (uint64_t)safetensors_dtype_bits(e->dtype), &bits))
        return entry_refused(e, "the product of its shape is too large", err);
    if (bits % 8 != 0) return entry_refused(e, "its values do not fill whole bytes", err);
    e->count = (int64_t)count; /* count <= bits / 4, so both fit */
    e->bytes = (int64_t)(bits / 8);
    return DT_OK;
}

/* Offsets count from the end of the header and must agree with the shape. */
static dt_status read_offsets(tensor_entry *e, const json_t *info, const unsigned char *begin, int64_t size,
                              dt_error *err)
{
    const json_t *offsets = json_object_get(info, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !is_size(first) || !is_size(last))
        return entry_refused(e, "data_offsets are not two whole numbers from 0 up", err);
    int64_t from = json_integer_value(first), to = json_integer_value(last);
    if (from > to || to > size)
        return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: bytes %lld to %lld, the file has %lld bytes of data",
                         e->path, e->name, (long long)from, (long long)to, (long long)size);
    if (to - from != e->bytes)
        return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: %lld bytes of data, expected %lld from its shape", e->path,
                         e->name, (long long)(to - from), (long long)e->bytes);
    e->data = begin + from;
    return DT_OK;
}

static int compare_places(const void *a, const void *b)
{
    const tensor_entry *x = *(tensor_entry *const *)a, *y = *(tensor_entry *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Every byte of data belongs to exactly one tensor: no hole, no overlap, nothing after the last. */
static dt_status check_tiling(const tensor_file *f, const unsigned char *begin, dt_error *err)
{
    tensor_entry **by_place = calloc(f->count + 1, sizeof *by_place);
    if (!by_place) return error_set(err, DT_ERR_MEMORY, "no memory for the %zu tensors of %s", f->count, f->path);
    for (size_t i = 0; i < f->count; i++) by_place[i] = &f->entries[i];
    sort_array(by_place, f->count, sizeof *by_place, compare_places);
    const unsigned char *end = begin, *file_end = f->map.data + f->map.size;
    for (size_t i = 0; i < f->count && err->status == DT_OK; i++) {
        const unsigned char *data = by_place[i]->data;
        if (data > end) entry_refused(by_place[i], "a hole before its data", err);
        if (data < end) entry_refused(by_place[i], "its data overlaps another tensor's", err);
        end = data + by_place[i]->bytes;
    }
    if (err->status == DT_OK && end != file_end)
        error_set(err, DT_ERR_FORMAT, "%s: %lld bytes after the last tensor, expected none", f->path,
                  (long long)(file_end - end));
    free(by_place);
    return err->status;
}

static dt_status take_memory(tensor_file *f, dt_error *err)
{
    size_t dim_count = 0;
    const char *name;
    json_t *info;
    json_object_foreach(f->header, name, info) dim_count += json_array_size(json_object_get(info, "shape"));
    f->entries = f->all_entries = calloc(json_object_size(f->header) + 1, sizeof *f->entries);
    f->numbers = calloc(dim_count + 1, sizeof *f->numbers);
    if (!f->entries || !f->numbers) return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", f->path);
    return DT_OK;
}

static dt_status read_entries(tensor_file *f, size_t header_length, dt_error *err)
{
    if (take_memory(f, err) != DT_OK) return err->status;
    const unsigned char *begin = f->map.data + LENGTH_BYTES + header_length;
    int64_t size = (int64_t)(f->map.size - LENGTH_BYTES - header_length), *dims = f->numbers;
    const char *name;
    json_t *info;
    json_object_foreach(f->header, name, info)
    {
        if (info == f->metadata) continue;
        tensor_entry *e = &f->entries[f->count];
        *e = (tensor_entry){.name = name, .path = f->path};
        if (!json_is_object(info)) return entry_refused(e, "its description is not an object", err);
        if (read_dtype(e, info, err) != DT_OK) return err->status;
        if (read_shape(e, dims, info, err) != DT_OK) return err->status;
        if (read_offsets(e, info, begin, size, err) != DT_OK) return err->status;
        dims += e->dim_count;
        f->count++;
    }
    return check_tiling(f, begin, err);
}

dt_status safetensors_container(tensor_file *f, dt_error *err)
{
    size_t header_length = 0;
    f->container = "safetensors";
    if (check_length(&header_length, f, err) == DT_OK && parse_header(f, header_length, err) == DT_OK)
        read_entries(f, header_length, err);
    return err->status;
}

dt_status safetensors_open(tensor_file *f, const char *path, dt_error *err)
{
    return tensor_file_open_as(f, path, safetensors_container, err);
}
