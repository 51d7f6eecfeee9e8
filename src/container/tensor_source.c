#include "container/tensor_source.h"

#include <stdbool.h>

#include "base/finite.h"
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

/* Also what is finite here and not in the file's type. */
static dt_status refuse_value(const tensor_source *s, const char *path, const float *values, uint64_t index,
                              dt_error *err)
{
    return error_set(err, DT_ERR_NUMERIC, "cannot write tensor %s to %s: value %llu is %g, which is not finite as %s",
                     s->name, path, (unsigned long long)index, (double)values[index], safetensors_dtype_name(s->dtype));
}

static bool is_finite_half(uint16_t value, bool bf16)
{
    const uint16_t exponent = bf16 ? 0x7f80 : 0x7c00;
    return (value & exponent) != exponent;
}

static dt_status stream_converted(const tensor_source *s, const char *path, const float *values, uint64_t count,
                                  tensor_sink *sink, void *user, dt_error *err)
{
    uint16_t block[BLOCK_VALUES];
    const bool bf16 = s->dtype == SAFETENSORS_BF16;
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < BLOCK_VALUES ? (size_t)(count - done) : BLOCK_VALUES;
        if (bf16)
            for (size_t i = 0; i < n; i++) block[i] = half_bf16_from_f32(values[done + i]);
        else
            for (size_t i = 0; i < n; i++) block[i] = half_f16_from_f32(values[done + i]);
        for (size_t i = 0; s->finite && i < n; i++)
            if (!is_finite_half(block[i], bf16)) return refuse_value(s, path, values, done + i, err);
        if (sink(user, block, n * sizeof *block, err) != DT_OK) return err->status;
        done += n;
    }
    return DT_OK;
}

dt_status tensor_source_stream(const tensor_source *s, const char *path, tensor_sink *sink, void *user, dt_error *err)
{
    uint64_t count = 0, bytes = 0;
    measure(&count, &bytes, s);
    const float *values = s->values;
    if (s->fetch) {
        values = s->fetch(s->user, err);
        if (err->status != DT_OK) return err->status;
        values += s->first;
    }
    if (values && s->dtype != SAFETENSORS_F32) return stream_converted(s, path, values, count, sink, user, err);
    const int64_t bad = values && s->finite ? finite_first_bad(values, (int64_t)count) : -1;
    if (bad >= 0) return refuse_value(s, path, values, (uint64_t)bad, err);
    return sink(user, values ? (const void *)values : s->data, (size_t)bytes, err);
}
