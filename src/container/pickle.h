/* Python pickles, protocols 2 to 5, read as data and nothing else. The machine below knows the opcodes that build numbers,
 * strings, tuples, lists, dictionaries and sets, names a class or function ("global"), and notes that one was called with
 * some arguments ("call"). No call is ever made and no object is ever built: what is done to an object afterwards (its
 * state, its items) is dropped. The one class with a meaning is collections.OrderedDict, which is read as a dictionary.
 *
 * Values are numbered; the numbers lead into arrays that pickle_free gives back as one. Texts point into the pickle's own
 * bytes, which must stay. A pickle has at most PICKLE_VALUES_MAX values, so memory stays below some 200 MB. */
#ifndef CONTAINER_PICKLE_H
#define CONTAINER_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { PICKLE_VALUES_MAX = 1 << 22 }; /* 100,000 tensors have about 2.5 million */

typedef enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_STRING,
    PICKLE_BYTES,
    PICKLE_LONG, /* an integer beyond 64 bits: its bytes, little-endian two's complement */
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_SET,
    PICKLE_DICT,
    PICKLE_GLOBAL,
    PICKLE_CALL,
    PICKLE_PERSISTENT /* stands for something outside the pickle */
} pickle_kind;

typedef uint32_t pickle_ref; /* a value's number; 0: no value */

typedef struct pickle_value {
    pickle_kind kind;
    uint32_t count; /* STRING, BYTES, LONG: bytes; TUPLE, LIST, SET: items; DICT: keys and values together */
    union {
        int64_t integer; /* BOOL, INT */
        double real;
        const char *text; /* no zero byte follows it */
        struct {
            uint32_t first, last; /* cells; 0: no items */
        } items;
        struct {
            pickle_ref a, b; /* GLOBAL: module, name; CALL: what is called, arguments; PERSISTENT: id, 0 */
        } pair;
    };
} pickle_value;

typedef struct pickle_cell {
    pickle_ref value;
    uint32_t next; /* cell; 0: the last */
} pickle_cell;

typedef struct pickle {
    pickle_value *values;
    pickle_cell *cells;
    uint32_t value_count, cell_count; /* one more than are in use: nothing has the number 0 */
    pickle_ref root;
    size_t size; /* bytes up to and with the end mark */
} pickle;

/* Reads the pickle that begins at `data` and ends at or before data + size. `path` is for messages. On failure *p is empty
 * and may be freed. DT_ERR_FORMAT: cut off, malformed, or an opcode that files of tensors have no use for. */
dt_status pickle_read(pickle *p, const unsigned char *data, size_t size, const char *path, dt_error *err);
void pickle_free(pickle *p);

/* Of any value, 0 included: a NONE. */
const pickle_value *pickle_at(const pickle *p, pickle_ref value);

/* Item i of a tuple, list or set (of a dictionary: key, value, key, ..), found by walking; 0 when there is none. */
pickle_ref pickle_item(const pickle *p, pickle_ref value, uint32_t i);

/* Whether the value is this text, or this global. */
bool pickle_is_text(const pickle *p, pickle_ref value, const char *text);
bool pickle_is_global(const pickle *p, pickle_ref value, const char *module, const char *name);

#endif
