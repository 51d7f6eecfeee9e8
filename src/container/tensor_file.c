#include "container/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nettle/sha2.h>

#include "base/finite.h"
#include "base/half.h"
#include "base/sort.h"
#include "container/zip_directory.h"

/* ---- opening ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const tensor_entry *)a)->name, ((const tensor_entry *)b)->name);
}

static dt_status sort_entries(tensor_file *f, dt_error *err)
{
    sort_array(f->entries, f->count, sizeof *f->entries, compare_names);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->entries[i - 1].name, f->entries[i].name) == 0)
            return error_set(err, DT_ERR_FORMAT, "%s: two tensors have the name %s", f->path, f->entries[i].name);
    return DT_OK;
}

dt_status tensor_file_open_as(tensor_file *f, const char *path, tensor_container *container, dt_error *err)
{
    *f = (tensor_file){.path = strdup(path)};
    if (!f->path) return error_set(err, DT_ERR_MEMORY, "no memory to open %s", path);
    if (file_map_open(&f->map, path, err) != DT_OK || container(f, err) != DT_OK || sort_entries(f, err) != DT_OK)
        tensor_file_close(f);
    return err->status;
}

void tensor_file_close(tensor_file *f)
{
    for (size_t i = 0; i < f->part_count; i++) tensor_file_close(&f->part[i]);
    free(f->part);
    json_decref(f->metadata);
    json_decref(f->header);
    free(f->all_entries);
    free(f->numbers);
    free(f->seals);
    free(f->path);
    arena_close(&f->memory);
    arena_close(&f->made);
    file_map_close(&f->map);
    *f = (tensor_file){0};
}

void tensor_file_sha256(file_hash *out, const tensor_file *f)
{
    struct sha256_ctx all;
    if (f->made_hash.hex[0]) {
        *out = f->made_hash;
        return;
    }
    if (!f->part) {
        file_map_sha256(out, &f->map);
        return;
    }
    sha256_init(&all);
    for (size_t i = 0; i < f->part_count; i++) {
        file_map_sha256(out, &f->part[i].map);
        sha256_update(&all, sizeof out->hex - 1, (const uint8_t *)out->hex);
    }
    file_hash_finish(out, &all);
}

/* ---- finding ---- */

bool tensor_file_enter(tensor_file *f, const char *prefix)
{
    size_t length = strlen(prefix), first = 0, end;
    while (first < f->count && strncmp(f->entries[first].name, prefix, length) != 0) first++;
    for (end = first; end < f->count && strncmp(f->entries[end].name, prefix, length) == 0; end++)
        f->entries[end].name += length;
    if (first == end) return false;
    f->entries += first; /* names with one prefix are neighbours, and stay sorted without it */
    f->count = end - first;
    return true;
}

dt_status tensor_file_replace(tensor_file *f, tensor_entry *entries, size_t count, const arena *made, dt_error *err)
{
    free(f->all_entries);
    arena_close(&f->made);
    f->entries = f->all_entries = entries;
    f->count = count;
    f->made = *made;
    return sort_entries(f, err);
}

dt_status tensor_file_add(tensor_file *f, const tensor_entry *e, dt_error *err)
{
    tensor_entry *entries = calloc(f->count + 1, sizeof *entries);
    if (!entries) return error_set(err, DT_ERR_MEMORY, "%s: no memory to list its tensors", f->path);
    if (f->count) memcpy(entries, f->entries, f->count * sizeof *entries);
    entries[f->count] = *e;
    free(f->all_entries);
    f->entries = f->all_entries = entries;
    f->count++;
    return sort_entries(f, err);
}

const tensor_entry *tensor_file_find(const tensor_file *f, const char *name)
{
    tensor_entry key = {.name = name};
    if (f->count == 0) return NULL;
    return sorted_find(&key, f->entries, f->count, sizeof *f->entries, compare_names);
}

const char *tensor_file_metadata(const tensor_file *f, const char *key)
{
    return json_string_value(json_object_get(f->metadata, key));
}

bool tensor_same_shape(const tensor_entry *a, const tensor_entry *b)
{
    bool same = a->dim_count == b->dim_count;
    for (int i = 0; same && i < a->dim_count; i++) same = a->dims[i] == b->dims[i];
    return same;
}

void tensor_take_values(tensor_entry *e, const float *values)
{
    e->dtype = SAFETENSORS_F32;
    e->strides = NULL;
    e->seal = NULL;
    e->data = values;
    e->bytes = e->count * (int64_t)sizeof *values;
}

void tensor_describe_shape(char text[TENSOR_SHAPE_TEXT], int dim_count, const int64_t dims[])
{
    enum { LONGEST = 21, END = 4 }; /* a comma and a number; "..]" and a zero byte */
    int used = 0;
    text[used++] = '[';
    for (int i = 0; i < dim_count; i++) {
        if (used + LONGEST + END > TENSOR_SHAPE_TEXT) {
            used += sprintf(text + used, "..");
            break;
        }
        used += sprintf(text + used, i ? ",%lld" : "%lld", (long long)dims[i]);
    }
    sprintf(text + used, "]");
}

/* ---- values ---- */

/* Converts `count` values that lie `stride` bytes apart. */
typedef dt_status convert_row(void *out, const tensor_entry *e, const unsigned char *data, int64_t stride,
                              int64_t count, dt_error *err);

/* to[i] = expression of v, for values v of `type`, which may be unaligned: hence memcpy. */
#define CONVERT_BY(type, step, expression)                                                                             \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type v;                                                                                                        \
        memcpy(&v, data + i * (step), sizeof v);                                                                       \
        to[i] = (expression);                                                                                          \
    }

/* Neighbours have a loop of their own, whose step the compiler knows. */
#define CONVERT(type, expression)                                                                                      \
    if (stride == (int64_t)sizeof(type)) {                                                                             \
        CONVERT_BY(type, (int64_t)sizeof(type), expression)                                                            \
    } else {                                                                                                           \
        CONVERT_BY(type, stride, expression)                                                                           \
    }                                                                                                                  \
    return DT_OK

static dt_status wrong_dtype(const tensor_entry *e, const char *expected, dt_error *err)
{
    return error_set(err, DT_ERR_SHAPE, "%s: tensor %s: type %s, expected %s", e->path, e->name,
                     safetensors_dtype_name(e->dtype), expected);
}

static dt_status row_f32(void *out, const tensor_entry *e, const unsigned char *data, int64_t stride, int64_t count,
                         dt_error *err)
{
    float *to = out;
    switch (e->dtype) {
    case SAFETENSORS_F32: CONVERT(float, v);
    case SAFETENSORS_F64: CONVERT(double, (float)v);
    case SAFETENSORS_F16: CONVERT(uint16_t, half_f32_from_f16(v));
    case SAFETENSORS_BF16: CONVERT(uint16_t, half_f32_from_bf16(v));
    default: return wrong_dtype(e, "F32, F64, F16 or BF16", err);
    }
}

static dt_status row_u64(int64_t *to, const tensor_entry *e, const unsigned char *data, int64_t stride, int64_t count,
                         dt_error *err)
{
    CONVERT_BY(int64_t, stride, v)
    for (int64_t i = 0; i < count; i++)
        if (to[i] < 0)
            return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: a value is above the largest signed 64-bit number",
                             e->path, e->name);
    return DT_OK;
}

static dt_status row_i64(void *out, const tensor_entry *e, const unsigned char *data, int64_t stride, int64_t count,
                         dt_error *err)
{
    int64_t *to = out;
    switch (e->dtype) {
    case SAFETENSORS_BOOL: CONVERT(uint8_t, v != 0);
    case SAFETENSORS_U8: CONVERT(uint8_t, v);
    case SAFETENSORS_I8: CONVERT(int8_t, v);
    case SAFETENSORS_U16: CONVERT(uint16_t, v);
    case SAFETENSORS_I16: CONVERT(int16_t, v);
    case SAFETENSORS_U32: CONVERT(uint32_t, v);
    case SAFETENSORS_I32: CONVERT(int32_t, v);
    case SAFETENSORS_I64: CONVERT(int64_t, v);
    case SAFETENSORS_U64: return row_u64(to, e, data, stride, count, err);
    default: return wrong_dtype(e, "an integer type", err);
    }
}

/* The next row's place among the outer dimensions, and its distance from the tensor's first value. */
static int64_t next_row(int64_t index[], const tensor_entry *e, int64_t offset)
{
    for (int k = e->dim_count - 2; k >= 0; k--) {
        offset += e->strides[k];
        if (++index[k] < e->dims[k]) return offset;
        offset -= e->strides[k] * e->dims[k];
        index[k] = 0;
    }
    return offset;
}

/* Rows of the last dimension in row-major order, each converted from where it lies. */
static dt_status read_rows(void *out, size_t out_bytes, const tensor_entry *e, convert_row *convert, dt_error *err)
{
    const unsigned char *data = e->data;
    int64_t size = safetensors_dtype_bits(e->dtype) / 8;
    if (!e->strides) return convert(out, e, data, size, e->count, err);
    int64_t index[TENSOR_FILE_STRIDED_DIM_MAX] = {0}, offset = 0, last = e->dim_count - 1, length = e->dims[last];
    for (int64_t done = 0; done < e->count && err->status == DT_OK; done += length) {
        convert((char *)out + (size_t)done * out_bytes, e, data + offset * size, e->strides[last] * size, length, err);
        offset = next_row(index, e, offset);
    }
    return err->status;
}

/* The pages are read for the values anyhow. */
static dt_status check_seal(const tensor_entry *e, dt_error *err)
{
    tensor_seal *seal = e->seal;
    if (!seal || seal->checked) return err->status;
    if (!zip_is_sound(seal->data, seal->size, seal->crc32))
        return error_set(err, DT_ERR_FORMAT,
                         "%s: tensor %s: its record's checksum (CRC-32) is not that of its bytes: damaged", e->path,
                         e->name);
    seal->checked = true;
    return err->status;
}

dt_status tensor_read_f32(float *out, const tensor_entry *e, dt_error *err)
{
    if (check_seal(e, err) != DT_OK) return err->status;
    return read_rows(out, sizeof *out, e, row_f32, err);
}

dt_status tensor_read_i64(int64_t *out, const tensor_entry *e, dt_error *err)
{
    if (check_seal(e, err) != DT_OK) return err->status;
    return read_rows(out, sizeof *out, e, row_i64, err);
}

static dt_status check_finite(const float *values, const tensor_entry *e, dt_error *err)
{
    const int64_t bad = finite_first_bad(values, e->count);
    if (bad < 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: value %lld is %g, a finite number expected", e->path, e->name,
                     (long long)bad, (double)values[bad]);
}

dt_status tensor_read_finite(float *out, const tensor_entry *e, dt_error *err)
{
    return tensor_read_f32(out, e, err) == DT_OK ? check_finite(out, e, err) : err->status;
}

const float *tensor_in_place(const tensor_entry *e, dt_error *err)
{
    const float *values = e->data;
    if (e->dtype != SAFETENSORS_F32 || e->strides || (uintptr_t)values % _Alignof(float)) return NULL;
    return check_seal(e, err) == DT_OK && check_finite(values, e, err) == DT_OK ? values : NULL;
}

const void *tensor_stored(const tensor_entry *e, dt_error *err)
{
    if (e->strides)
        error_set(err, DT_ERR_UNSUPPORTED, "%s: tensor %s is stored with gaps: save it contiguous", e->path, e->name);
    else
        check_seal(e, err);
    return err->status == DT_OK ? e->data : NULL;
}
