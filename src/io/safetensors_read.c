#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "io/half.h"

enum {
    LENGTH_BYTES = 8,
    HEADER_VALUES_MAX = 1 << 22, /* parsed values take some 100 bytes each; 100,000 tensors have about 1.5 million */
    HEADER_DEPTH_MAX = 16        /* 3 are needed; unknown fields may have some more */
};

static const struct {
    const char *name;
    int bits;
} dtypes[SAFETENSORS_DTYPE_COUNT] = {
    [SAFETENSORS_BOOL] = {"BOOL", 8},
    [SAFETENSORS_F4] = {"F4", 4},
    [SAFETENSORS_F6_E2M3] = {"F6_E2M3", 6},
    [SAFETENSORS_F6_E3M2] = {"F6_E3M2", 6},
    [SAFETENSORS_U8] = {"U8", 8},
    [SAFETENSORS_I8] = {"I8", 8},
    [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 8},
    [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 8},
    [SAFETENSORS_F8_E8M0] = {"F8_E8M0", 8},
    [SAFETENSORS_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [SAFETENSORS_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [SAFETENSORS_I16] = {"I16", 16},
    [SAFETENSORS_U16] = {"U16", 16},
    [SAFETENSORS_F16] = {"F16", 16},
    [SAFETENSORS_BF16] = {"BF16", 16},
    [SAFETENSORS_I32] = {"I32", 32},
    [SAFETENSORS_U32] = {"U32", 32},
    [SAFETENSORS_F32] = {"F32", 32},
    [SAFETENSORS_C64] = {"C64", 64},
    [SAFETENSORS_F64] = {"F64", 64},
    [SAFETENSORS_I64] = {"I64", 64},
    [SAFETENSORS_U64] = {"U64", 64},
};

const char *safetensors_dtype_name(safetensors_dtype dtype)
{
    return dtypes[dtype].name;
}

int safetensors_dtype_bits(safetensors_dtype dtype)
{
    return dtypes[dtype].bits;
}

/* ---- header ---- */

static dt_status check_length(size_t *length, const safetensors *f, dt_error *err)
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

/* Bounds what the JSON parser will take in memory and stack, before it runs. */
static dt_status check_extent(const char *text, size_t length, const char *path, dt_error *err)
{
    int64_t values = 0, depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (quoted)
            continue;
        else if (text[i] == '{' || text[i] == '[')
            depth++, values++;
        else if (text[i] == '}' || text[i] == ']')
            depth--;
        else if (text[i] == ',')
            values++;
        if (depth > HEADER_DEPTH_MAX)
            return error_set(err, DT_ERR_FORMAT, "%s: header nested deeper than %d", path, HEADER_DEPTH_MAX);
        if (values > HEADER_VALUES_MAX)
            return error_set(err, DT_ERR_FORMAT, "%s: header of more than %d values", path, HEADER_VALUES_MAX);
    }
    return DT_OK;
}

static dt_status parse_header(safetensors *f, size_t length, dt_error *err)
{
    const char *text = (const char *)f->map.data + LENGTH_BYTES;
    json_error_t why;
    if (check_extent(text, length, f->path, err) != DT_OK) return err->status;
    f->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!f->header && json_error_code(&why) == json_error_out_of_memory)
        return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", f->path);
    if (!f->header)
        return error_set(err, DT_ERR_FORMAT, "%s: header is not valid JSON at byte %d: %s", f->path, why.position,
                         why.text);
    f->metadata = json_object_get(f->header, "__metadata__");
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

static dt_status entry_refused(const safetensors_entry *e, const char *why, dt_error *err)
{
    return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: %s", e->path, e->name, why);
}

static bool is_size(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static dt_status read_dtype(safetensors_entry *e, const json_t *info, dt_error *err)
{
    const char *name = json_string_value(json_object_get(info, "dtype"));
    if (!name) return entry_refused(e, "no dtype", err);
    for (e->dtype = 0; e->dtype < SAFETENSORS_DTYPE_COUNT; e->dtype++)
        if (strcmp(name, dtypes[e->dtype].name) == 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: tensor %s: unknown dtype %.32s", e->path, e->name, name);
}

/* Shape into `dims`; count and the bytes that follow from it, with every product checked. */
static dt_status read_shape(safetensors_entry *e, int64_t *dims, const json_t *info, dt_error *err)
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
    if (__builtin_mul_overflow(count, (uint64_t)dtypes[e->dtype].bits, &bits))
        return entry_refused(e, "the product of its shape is too large", err);
    if (bits % 8 != 0) return entry_refused(e, "its values do not fill whole bytes", err);
    e->count = (int64_t)count; /* count <= bits / 4, so both fit */
    e->bytes = (int64_t)(bits / 8);
    return DT_OK;
}

/* Offsets count from the end of the header and must agree with the shape. */
static dt_status read_offsets(safetensors_entry *e, const json_t *info, const unsigned char *begin, int64_t size,
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

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const safetensors_entry *)a)->name, ((const safetensors_entry *)b)->name);
}

static int compare_places(const void *a, const void *b)
{
    const safetensors_entry *x = *(safetensors_entry *const *)a, *y = *(safetensors_entry *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Every byte of data belongs to exactly one tensor: no hole, no overlap, nothing after the last. */
static dt_status check_tiling(const safetensors *f, const unsigned char *begin, dt_error *err)
{
    safetensors_entry **by_place = calloc(f->count + 1, sizeof *by_place);
    if (!by_place) return error_set(err, DT_ERR_MEMORY, "no memory for the %zu tensors of %s", f->count, f->path);
    for (size_t i = 0; i < f->count; i++) by_place[i] = &f->entries[i];
    qsort(by_place, f->count, sizeof *by_place, compare_places);
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

static dt_status take_memory(safetensors *f, dt_error *err)
{
    size_t dim_count = 0;
    const char *name;
    json_t *info;
    json_object_foreach(f->header, name, info) dim_count += json_array_size(json_object_get(info, "shape"));
    f->entries = calloc(json_object_size(f->header) + 1, sizeof *f->entries);
    f->dims = calloc(dim_count + 1, sizeof *f->dims);
    if (!f->entries || !f->dims) return error_set(err, DT_ERR_MEMORY, "no memory for the header of %s", f->path);
    return DT_OK;
}

static dt_status read_entries(safetensors *f, size_t header_length, dt_error *err)
{
    if (take_memory(f, err) != DT_OK) return err->status;
    const unsigned char *begin = f->map.data + LENGTH_BYTES + header_length;
    int64_t size = (int64_t)(f->map.size - LENGTH_BYTES - header_length), *dims = f->dims;
    const char *name;
    json_t *info;
    json_object_foreach(f->header, name, info)
    {
        if (info == f->metadata) continue;
        safetensors_entry *e = &f->entries[f->count];
        *e = (safetensors_entry){.name = name, .path = f->path};
        if (!json_is_object(info)) return entry_refused(e, "its description is not an object", err);
        if (read_dtype(e, info, err) != DT_OK) return err->status;
        if (read_shape(e, dims, info, err) != DT_OK) return err->status;
        if (read_offsets(e, info, begin, size, err) != DT_OK) return err->status;
        dims += e->dim_count;
        f->count++;
    }
    qsort(f->entries, f->count, sizeof *f->entries, compare_names);
    return check_tiling(f, begin, err);
}

dt_status safetensors_open(safetensors *f, const char *path, dt_error *err)
{
    size_t header_length = 0;
    *f = (safetensors){.path = strdup(path)};
    if (!f->path) return error_set(err, DT_ERR_MEMORY, "no memory to open %s", path);
    bool opened = file_map_open(&f->map, path, err) == DT_OK && check_length(&header_length, f, err) == DT_OK &&
                  parse_header(f, header_length, err) == DT_OK && read_entries(f, header_length, err) == DT_OK;
    if (!opened) safetensors_close(f);
    return err->status;
}

void safetensors_close(safetensors *f)
{
    json_decref(f->header);
    free(f->entries);
    free(f->dims);
    free(f->path);
    file_map_close(&f->map);
    *f = (safetensors){0};
}

const safetensors_entry *safetensors_find(const safetensors *f, const char *name)
{
    safetensors_entry key = {.name = name};
    if (f->count == 0) return NULL;
    return bsearch(&key, f->entries, f->count, sizeof *f->entries, compare_names);
}

const char *safetensors_metadata(const safetensors *f, const char *key)
{
    return json_string_value(json_object_get(f->metadata, key));
}

/* ---- values ---- */

/* out[i] = expression of v, for `count` values v of `type` at `data`, which may be unaligned: hence memcpy. */
#define CONVERT(type, expression)                                                                                      \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type v;                                                                                                        \
        memcpy(&v, data + i * (int64_t)sizeof v, sizeof v);                                                            \
        out[i] = (expression);                                                                                         \
    }                                                                                                                  \
    return DT_OK

static dt_status wrong_dtype(const safetensors_entry *e, const char *expected, dt_error *err)
{
    return error_set(err, DT_ERR_SHAPE, "%s: tensor %s: type %s, expected %s", e->path, e->name, dtypes[e->dtype].name,
                     expected);
}

dt_status safetensors_read_f32(float *out, const safetensors_entry *e, dt_error *err)
{
    const unsigned char *data = e->data;
    int64_t count = e->count;
    switch (e->dtype) {
    case SAFETENSORS_F32:
        if (count > 0) memcpy(out, data, (size_t)count * sizeof *out);
        return DT_OK;
    case SAFETENSORS_F64: CONVERT(double, (float)v);
    case SAFETENSORS_F16: CONVERT(uint16_t, half_f32_from_f16(v));
    case SAFETENSORS_BF16: CONVERT(uint16_t, half_f32_from_bf16(v));
    default: return wrong_dtype(e, "F32, F64, F16 or BF16", err);
    }
}

static dt_status read_u64(int64_t *out, const safetensors_entry *e, dt_error *err)
{
    memcpy(out, e->data, (size_t)e->bytes);
    for (int64_t i = 0; i < e->count; i++)
        if (out[i] < 0) return entry_refused(e, "a value is above the largest signed 64-bit number", err);
    return DT_OK;
}

dt_status safetensors_read_i64(int64_t *out, const safetensors_entry *e, dt_error *err)
{
    const unsigned char *data = e->data;
    int64_t count = e->count;
    switch (e->dtype) {
    case SAFETENSORS_BOOL: CONVERT(uint8_t, v != 0);
    case SAFETENSORS_U8: CONVERT(uint8_t, v);
    case SAFETENSORS_I8: CONVERT(int8_t, v);
    case SAFETENSORS_U16: CONVERT(uint16_t, v);
    case SAFETENSORS_I16: CONVERT(int16_t, v);
    case SAFETENSORS_U32: CONVERT(uint32_t, v);
    case SAFETENSORS_I32: CONVERT(int32_t, v);
    case SAFETENSORS_I64: CONVERT(int64_t, v);
    case SAFETENSORS_U64: return read_u64(out, e, err);
    default: return wrong_dtype(e, "an integer type", err);
    }
}
