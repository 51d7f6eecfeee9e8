#include "file/json_file.h"

#include <stdlib.h>
#include <string.h>

enum { LONGEST = 64 << 20 };

json_t *json_object_of(const json_field *fields)
{
    json_t *object = json_object();
    bool whole = object;
    for (const json_field *f = fields; f->key; f++)
        if (json_object_set_new(object, f->key, f->value) != 0) whole = false;
    if (whole) return object;
    json_decref(object);
    return NULL;
}

json_t *json_file_read(const char *path, dt_error *err)
{
    char *text;
    size_t size;
    json_error_t where;
    if (file_read_all(&text, &size, path, LONGEST, err) != DT_OK) return NULL;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    const char *other = file_stands_for(text, size);
    free(text);
    if (other) {
        error_set(err, DT_ERR_FORMAT, "%s is %s", path, other);
        return NULL;
    }
    if (json_is_object(value)) return value;
    if (value)
        error_set(err, DT_ERR_FORMAT, "%s: a JSON object expected", path);
    else
        error_set(err, DT_ERR_FORMAT, "%s: line %d: not JSON: %s", path, where.line, where.text);
    json_decref(value);
    return NULL;
}

dt_status json_file_write(const char *path, json_t *value, file_hash *hash, dt_error *err)
{
    char *text = json_dumps(value, JSON_INDENT(1));
    json_decref(value);
    if (!text) return error_set(err, DT_ERR_MEMORY, "%s: writing it", path);
    if (hash) file_sha256_bytes(hash, text, strlen(text));
    file_write_atomic(path, text, strlen(text), err);
    free(text);
    return err->status;
}
