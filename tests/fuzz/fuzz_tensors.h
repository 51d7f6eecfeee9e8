/* Files of tensors that are well made whatever is in them, so that a target gets to those who read the tensors. The input is a
 * text with a line for each tensor, "name TYPE 2,3 = 1 2.5 nan", whose values are repeated as often as needed (none: zeros),
 * and for metadata "@key value". Lines that say nothing are passed over. */
#ifndef FUZZ_TENSORS_H
#define FUZZ_TENSORS_H

#include <fcntl.h>

#include <jansson.h>

#include "container/dtype.h"
#include "fuzz_folder.h"

enum { FUZZ_DIMS_MAX = 8, FUZZ_VALUES_MAX = 16 };

typedef struct fuzz_tensor {
    char *name;
    safetensors_dtype dtype;
    int dim_count;
    int64_t dims[FUZZ_DIMS_MAX], count;
    int value_count;
    double value[FUZZ_VALUES_MAX];
} fuzz_tensor;

/* Takes a line apart in place. False: it says nothing. */
static inline bool fuzz_read_tensor(fuzz_tensor *t, char *line)
{
    char *shape, *values = strstr(line, " = "), *rest = NULL;
    int dtype = 0;
    *t = (fuzz_tensor){.count = 1};
    if (values) *values = '\0', values += 3;
    t->name = strtok_r(line, " ", &rest);
    const char *type = strtok_r(NULL, " ", &rest);
    shape = strtok_r(NULL, " ", &rest);
    if (!t->name || !type) return false;
    while (dtype < SAFETENSORS_DTYPE_COUNT && strcmp(type, safetensors_dtype_name((safetensors_dtype)dtype)) != 0)
        dtype++;
    if (dtype == SAFETENSORS_DTYPE_COUNT) return false;
    t->dtype = (safetensors_dtype)dtype;
    for (char *at = shape; at && *at && t->dim_count < FUZZ_DIMS_MAX; at += *at == ',') {
        char *end;
        const int64_t dim = strtoll(at, &end, 10);
        if (end == at || dim < 0 || __builtin_mul_overflow(t->count, dim, &t->count)) return false;
        t->dims[t->dim_count++] = dim;
        at = end;
    }
    for (char *word; t->value_count < FUZZ_VALUES_MAX && (word = strtok_r(values, " ", &rest)); values = NULL)
        t->value[t->value_count++] = strtod(word, NULL);
    return true;
}

/* Bytes of the values as they stand in the file; the file's other bytes are zeros. */
static inline void fuzz_write_values(int fd, const fuzz_tensor *t, off_t at)
{
    enum { WRITTEN_MAX = 1 << 16 };
    const int bytes = safetensors_dtype_bits(t->dtype) / 8;
    for (int64_t i = 0; t->value_count && bytes && i < t->count && i < WRITTEN_MAX; i++) {
        uint8_t stored[8];
        const double value = t->value[i % t->value_count];
        const float narrow = (float)value;
        const int64_t whole = value > -9e18 && value < 9e18 ? (int64_t)value : 0;
        memcpy(stored, t->dtype == SAFETENSORS_F64 ? (const void *)&value : &whole, sizeof stored);
        if (t->dtype == SAFETENSORS_F32) memcpy(stored, &narrow, sizeof narrow);
        if (t->dtype == SAFETENSORS_BF16) memcpy(stored, (const char *)&narrow + 2, 2);
        assert(pwrite(fd, stored, (size_t)bytes, at + i * bytes) == bytes);
    }
}

/* A safetensors file of at most `bytes_max` bytes of tensors; those that would go beyond are left out. */
static inline void fuzz_put_tensors(const char *name, fuzz_bytes text, int64_t bytes_max)
{
    json_t *header = json_object(), *metadata = json_object();
    char *copy = strndup((const char *)text.data, text.size), *rest = copy, *line;
    int64_t end = 0;
    fuzz_tensor *list = NULL;
    int64_t *place = NULL;
    size_t count = 0;
    assert(header && metadata && copy);
    while ((line = strsep(&rest, "\n"))) {
        fuzz_tensor t;
        char *value = *line == '@' ? strchr(line, ' ') : NULL;
        if (value) {
            *value = '\0';
            json_object_set_new(metadata, line + 1, json_string(value + 1));
        }
        if (*line == '@' || !fuzz_read_tensor(&t, line) || json_object_get(header, t.name)) continue;
        int64_t bits;
        if (__builtin_mul_overflow(t.count, safetensors_dtype_bits(t.dtype), &bits) || bits % 8 ||
            bits / 8 > bytes_max - end)
            continue;
        json_t *shape = json_array();
        for (int i = 0; i < t.dim_count; i++) json_array_append_new(shape, json_integer(t.dims[i]));
        json_t *entry = json_pack("{s:s, s:o, s:[I,I]}", "dtype", safetensors_dtype_name(t.dtype), "shape", shape,
                                  "data_offsets", (json_int_t)end, (json_int_t)(end + bits / 8));
        if (json_object_set_new(header, t.name, entry) != 0) continue; /* the name is not UTF-8 */
        list = realloc(list, (count + 1) * sizeof *list);
        place = realloc(place, (count + 1) * sizeof *place);
        assert(list && place);
        list[count] = t;
        place[count++] = end;
        end += bits / 8;
    }
    json_object_set_new(header, "__metadata__", metadata);
    char *dump = json_dumps(header, JSON_COMPACT);
    const uint64_t length = strlen(dump);
    const char *path = fuzz_path(name);
    remove(path);
    const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
    assert(fd >= 0 && pwrite(fd, &length, 8, 0) == 8 && pwrite(fd, dump, length, 8) == (ssize_t)length);
    assert(ftruncate(fd, 8 + (off_t)length + end) == 0);
    for (size_t i = 0; i < count; i++) fuzz_write_values(fd, &list[i], 8 + (off_t)length + place[i]);
    close(fd);
    free(dump);
    free(list);
    free(place);
    free(copy);
    json_decref(header);
}

#endif
