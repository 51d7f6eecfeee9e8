/* JSON objects, and files that hold one: what the program writes about its own folders, and diffusers' config.json. */
#ifndef FILE_JSON_FILE_H
#define FILE_JSON_FILE_H

#include <jansson.h>

#include "file/file.h"

typedef struct json_field {
    const char *key;
    json_t *value;
} json_field;

/* An object of the fields, in their order, up to the first without a key. References to the values are taken. NULL if a value
 * is NULL, as jansson's makers of values are where memory is out or a text is not UTF-8. */
json_t *json_object_of(const json_field *fields);

/* The same of fields written in place: JSON_OBJECT({"step", json_integer(3)}, {"name", json_string("a")}). */
#define JSON_OBJECT(...) json_object_of((const json_field[]){__VA_ARGS__, {NULL, NULL}})

/* Put a value, whose reference is taken, into what is being made. Where memory is out, or the value is NULL, what was made so far is
 * dropped and becomes NULL, and stays so. */
void json_put(json_t **object, const char *key, json_t *value);
void json_add(json_t **array, json_t *value);

/* A number, or null for what JSON cannot say (NaN, infinities). */
json_t *json_number(double value);

/* The number under a key; NaN where there is none. */
double json_number_at(const json_t *object, const char *key);

/* The text under a key, which the object keeps; empty where there is none. */
const char *json_text_at(const json_t *object, const char *key);

/* json_dumps of a value; NULL where memory is out or the value is NULL. jansson may leave parts out in silence when memory is out, so
 * the text is made twice and compared. The caller frees it. */
char *json_text_of(const json_t *value, size_t flags);

/* A parsed value takes some 100 bytes; a safetensors header of 100,000 tensors has about 1.5 million. */
enum { JSON_VALUES_MAX = 1 << 22, JSON_DEPTH_MAX = 64 };

/* A JSON text without repeated keys and within these bounds. NULL for anything else, with the place in `where`; *err is set only
 * where memory is out, which jansson does not tell from damage. `path` is for the message. */
json_t *json_text_read(const char *text, size_t size, json_error_t *where, const char *path, dt_error *err);

/* The object in the file, or NULL with an error: DT_ERR_IO, or DT_ERR_FORMAT for a file longer than 64 MiB and for anything but
 * one object without repeated keys. The caller drops the reference. */
json_t *json_file_read(const char *path, dt_error *err);

/* Writes the value, whose reference is taken, in the place of the file; NULL stands for memory that was out when it was
 * made. `hash` (may be NULL) receives the SHA-256 of the bytes. */
dt_status json_file_write(const char *path, json_t *value, file_hash *hash, dt_error *err);

/* The same with a seal: behind the last key stands "sha256", of the bytes before it, so that any change of the file is found. */
dt_status json_file_write_sealed(const char *path, json_t *value, dt_error *err);

/* As json_file_read, and without the seal, which must fit (DT_ERR_FORMAT). A file without one, from before there were seals, is
 * taken; whoever knows which keys there may be refuses one whose name was changed. */
json_t *json_file_read_sealed(const char *path, dt_error *err);

#endif
