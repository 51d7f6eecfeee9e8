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

/* The object in the file, or NULL with an error: DT_ERR_IO, or DT_ERR_FORMAT for a file longer than 64 MiB and for anything but
 * one object without repeated keys. The caller drops the reference. */
json_t *json_file_read(const char *path, dt_error *err);

/* Writes the value, whose reference is taken, in the place of the file; NULL stands for memory that was out when it was
 * made. `hash` (may be NULL) receives the SHA-256 of the bytes. */
dt_status json_file_write(const char *path, json_t *value, file_hash *hash, dt_error *err);

#endif
