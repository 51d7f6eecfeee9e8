#include "container/tensor_source.h"

#include <stdbool.h>

#include "base/half.h"

enum { BLOCK_VALUES = 1 << 15 };

dt_status tensor_source_refused(const tensor_source *s, const char *path, const char *why, dt_error *err)
{
    return error_set(err, DT_ERR_ARG, "cannot write tensor %s to %s: %s", s->name, path, why);
}

/* False when the shape has a negative dimension, a size beyond 63 bits or a part of a byte. */
static bool measure(uint64_t *count, uint64_t *bytes, const tensor_source *s)
{
    uint64_t bits;
    *count = 1;
    for (int i = 0; i < s->dim_count; i++)
        if (s->dims[i] < 0 || __builtin_mul_overflow(*count, (uint64_t)s->dims[i], count)) return false;
    if (__builtin_mul_overflow(*count, (uint64_t)safetensors_dtype_bits(s->dtype), &bits)) return false;
    *bytes = bits / 8;
    return bits % 8 == 0;
}

static bool is_convertible(safetensors_dtype dtype)
{
    return dtype == SAFETENSORS_F32 || dtype == SAFETENSORS_BF16 || dtype == SAFETENSORS_F16;
}

dt_status tensor_source_size(uint64_t *count, uint64_t *bytes, const tensor_source *s, const char *path, dt_error *err)
{
    if (!measure(count, bytes, s)) return tensor_source_refused(s, path, "its shape has no size in bytes", err);
    if (*count > 0 && !!s->values + !!s->data + !!s->fetch != 1)
        return tensor_source_refused(s, path, "give either its values or its data", err);
    if (!s->data && *count > 0 && !is_convertible(s->dtype))
        return tensor_source_refused(s, path, "float values are stored as F32, BF16 or F16 only", err);
    return DT_OK;
}

static dt_status stream_converted(const float *values, safetensors_dtype dtype, uint64_t count, tensor_sink *sink,
                                  void *user, dt_error *err)
{
    uint16_t block[BLOCK_VALUES];
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < BLOCK_VALUES ? (size_t)(count - done) : BLOCK_VALUES;
        if (dtype == SAFETENSORS_BF16)
            for (size_t i = 0; i < n; i++) block[i] = half_bf16_from_f32(values[done + i]);
        else
            for (size_t i = 0; i < n; i++) block[i] = half_f16_from_f32(values[done + i]);
        if (sink(user, block, n * sizeof *block, err) != DT_OK) return err->status;
        done += n;
    }
    return DT_OK;
}

dt_status tensor_source_stream(const tensor_source *s, tensor_sink *sink, void *user, dt_error *err)
{
    uint64_t count = 0, bytes = 0;
    measure(&count, &bytes, s);
    const float *values = s->values;
    if (s->fetch) {
        values = s->fetch(s->user, err);
        if (err->status != DT_OK) return err->status;
        values += s->first;
    }
    if (values && s->dtype != SAFETENSORS_F32) return stream_converted(values, s->dtype, count, sink, user, err);
    return sink(user, values ? (const void *)values : s->data, (size_t)bytes, err);
}
