#include "file/json_file.h"
#include "file/content.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
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

void json_put(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) == 0) return;
    json_decref(*object);
    *object = NULL;
}

void json_add(json_t **array, json_t *value)
{
    if (json_array_append_new(*array, value) == 0) return;
    json_decref(*array);
    *array = NULL;
}

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

double json_number_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *json_text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

char *json_text_of(const json_t *value, size_t flags)
{
    char *text = json_dumps(value, flags), *again = json_dumps(value, flags);
    const bool whole = text && again && !strcmp(text, again);
    free(again);
    if (whole) return text;
    free(text);
    return NULL;
}

/* Bounds what the parser will take in memory and stack, before it runs. */
static bool is_bounded(const char *text, size_t size, json_error_t *where)
{
    int64_t values = 0, depth = 0;
    bool quoted = false;
    *where = (json_error_t){.line = 1};
    for (size_t i = 0; i < size; i++) {
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
        if (depth > JSON_DEPTH_MAX) snprintf(where->text, sizeof where->text, "nested deeper than %d", JSON_DEPTH_MAX);
        if (values > JSON_VALUES_MAX) snprintf(where->text, sizeof where->text, "more than %d values", JSON_VALUES_MAX);
        if (where->text[0]) return false;
    }
    return true;
}

json_t *json_text_read(const char *text, size_t size, json_error_t *where, const char *path, dt_error *err)
{
    if (!is_bounded(text, size, where)) return NULL;
    errno = 0;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, where);
    if (errno == ENOMEM) { /* jansson may go on with a part of a word */
        error_set(err, DT_ERR_MEMORY, "no memory to read %s", path);
        json_decref(value);
        value = NULL;
    }
    return value;
}

/* The object in a file's text. */
static json_t *read_object(const char *text, size_t size, const char *path, dt_error *err)
{
    json_error_t where;
    json_t *value = json_text_read(text, size, &where, path, err);
    const char *other = file_stands_for(text, size);
    if (other) {
        json_decref(value);
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

json_t *json_file_read(const char *path, dt_error *err)
{
    char *text;
    size_t size;
    if (file_read_all(&text, &size, path, LONGEST, err) != DT_OK) return NULL;
    json_t *value = read_object(text, size, path, err);
    free(text);
    return value;
}

dt_status json_file_write(const char *path, json_t *value, file_hash *hash, dt_error *err)
{
    char *text = json_text_of(value, JSON_INDENT(1));
    json_decref(value);
    if (!text) return error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
    if (hash) file_sha256_bytes(hash, text, strlen(text));
    file_write_atomic(path, text, strlen(text), err);
    free(text);
    return err->status;
}

/* ---- sealed ---- */

/* The end of a file: SEAL_BEGIN, 64 digits, SEAL_END. */
static const char SEAL_BEGIN[] = ",\n \"sha256\": \"", SEAL_END[] = "\"\n}";
enum { DIGITS = 2 * SHA256_DIGEST_SIZE, SEAL_BYTES = sizeof SEAL_BEGIN - 1 + DIGITS + sizeof SEAL_END - 1 };

static void make_seal(char seal[SEAL_BYTES + 1], const char *text, size_t size)
{
    file_hash hash;
    file_sha256_bytes(&hash, text, size);
    snprintf(seal, SEAL_BYTES + 1, "%s%s%s", SEAL_BEGIN, hash.hex, SEAL_END);
}

dt_status json_file_write_sealed(const char *path, json_t *value, dt_error *err)
{
    char *text = json_text_of(value, JSON_INDENT(1));
    json_decref(value);
    const size_t size = text ? strlen(text) - strlen("\n}") : 0;
    char *sealed = text ? realloc(text, size + SEAL_BYTES + 1) : NULL;
    if (!sealed) {
        free(text);
        return error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
    }
    make_seal(sealed + size, sealed, size);
    file_write_atomic(path, sealed, size + SEAL_BYTES, err);
    free(sealed);
    return err->status;
}

json_t *json_file_read_sealed(const char *path, dt_error *err)
{
    char *text, seal[SEAL_BYTES + 1];
    size_t size;
    if (file_read_all(&text, &size, path, LONGEST, err) != DT_OK) return NULL;
    json_t *value = read_object(text, size, path, err);
    if (json_object_get(value, "sha256")) {
        const size_t before = size > SEAL_BYTES ? size - SEAL_BYTES : 0;
        make_seal(seal, text, before);
        if (before == 0 || memcmp(text + before, seal, SEAL_BYTES) != 0)
            error_set(err, DT_ERR_FORMAT, "%s: it was changed since it was written: its SHA-256 is another one", path);
        json_object_del(value, "sha256");
    }
    free(text);
    if (err->status == DT_OK) return value;
    json_decref(value);
    return NULL;
}
