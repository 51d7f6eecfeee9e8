#include "container/pickle.h"

#include <stdlib.h>
#include <string.h>

/* The opcodes of Python's Lib/pickletools.py by their names there. Not among them: text opcodes of protocols 0 and 1,
 * extension codes and buffers outside the pickle, which torch.save has no use for. */
enum {
    MARK = '(',
    STOP = '.',
    POP = '0',
    POP_MARK = '1',
    BINFLOAT = 'G',
    BININT = 'J',
    BININT1 = 'K',
    BININT2 = 'M',
    NONE = 'N',
    BINPERSID = 'Q',
    REDUCE = 'R',
    BINSTRING = 'T',
    SHORT_BINSTRING = 'U',
    BINUNICODE = 'X',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    APPENDS = 'e',
    BINGET = 'h',
    LONG_BINGET = 'j',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    SETITEM = 's',
    TUPLE = 't',
    SETITEMS = 'u',
    EMPTY_TUPLE = ')',
    EMPTY_LIST = ']',
    EMPTY_DICT = '}',
    PROTO = 0x80,
    NEWOBJ = 0x81,
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    NEWTRUE = 0x88,
    NEWFALSE = 0x89,
    LONG1 = 0x8a,
    LONG4 = 0x8b,
    BINBYTES = 'B',
    SHORT_BINBYTES = 'C',
    SHORT_BINUNICODE = 0x8c,
    BINUNICODE8 = 0x8d,
    BINBYTES8 = 0x8e,
    EMPTY_SET = 0x8f,
    ADDITEMS = 0x90,
    FROZENSET = 0x91,
    NEWOBJ_EX = 0x92,
    STACK_GLOBAL = 0x93,
    MEMOIZE = 0x94,
    FRAME = 0x95,
    BYTEARRAY8 = 0x96
};

enum { PROTOCOL_MAX = 5, CELLS_MAX = 2 * PICKLE_VALUES_MAX };

typedef struct numbers {
    uint32_t *at;
    size_t count, room;
} numbers;

typedef struct machine {
    pickle *p;
    const unsigned char *begin, *at, *end;
    const char *path;
    dt_error *err;
    size_t value_room, cell_room;
    numbers stack, marks, memo; /* memo: 0 where nothing is kept */
} machine;

/* ---- memory ---- */

static dt_status refuse(machine *m, const char *why)
{
    return error_set(m->err, DT_ERR_FORMAT, "%s: pickle at byte %zu: %s", m->path, (size_t)(m->at - m->begin), why);
}

/* Makes room for item `count` of an array that may have `limit` items. */
static bool make_room(machine *m, void **array, size_t *room, size_t count, size_t item_bytes, size_t limit)
{
    if (count < *room) return true;
    if (count >= limit) {
        refuse(m, "more values than a file of tensors needs");
        return false;
    }
    size_t wanted = count < 32 ? 64 : 2 * count;
    void *grown = realloc(*array, wanted * item_bytes);
    if (!grown) {
        error_set(m->err, DT_ERR_MEMORY, "%s: no memory for its pickle", m->path);
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

static void numbers_push(machine *m, numbers *n, uint32_t number)
{
    void *array = n->at;
    if (!make_room(m, &array, &n->room, n->count, sizeof *n->at, PICKLE_VALUES_MAX)) return;
    n->at = array;
    n->at[n->count++] = number;
}

/* ---- values ---- */

static pickle_ref new_value(machine *m, pickle_value value)
{
    pickle *p = m->p;
    void *array = p->values;
    if (!make_room(m, &array, &m->value_room, p->value_count, sizeof value, PICKLE_VALUES_MAX)) return 0;
    p->values = array;
    p->values[p->value_count] = value;
    return p->value_count++;
}

static void add_item(machine *m, pickle_ref container, pickle_ref item)
{
    pickle *p = m->p;
    void *array = p->cells;
    if (!make_room(m, &array, &m->cell_room, p->cell_count, sizeof *p->cells, CELLS_MAX)) return;
    p->cells = array;
    p->cells[p->cell_count] = (pickle_cell){.value = item};
    pickle_value *v = &p->values[container];
    if (v->items.first)
        p->cells[v->items.last].next = p->cell_count;
    else
        v->items.first = p->cell_count;
    v->items.last = p->cell_count++;
    v->count++;
}

static void push(machine *m, pickle_ref value)
{
    numbers_push(m, &m->stack, value);
}

static void push_new(machine *m, pickle_value value)
{
    push(m, new_value(m, value));
}

/* Where the items since the latest mark begin. */
static size_t floor_of(const machine *m)
{
    return m->marks.count ? m->marks.at[m->marks.count - 1] : 0;
}

/* The value `depth` below the top; 0 after a failure. */
static pickle_ref peek(machine *m, size_t depth)
{
    if (m->stack.count > floor_of(m) + depth) return m->stack.at[m->stack.count - 1 - depth];
    refuse(m, "takes a value from an empty stack");
    return 0;
}

static pickle_ref pop(machine *m)
{
    pickle_ref top = peek(m, 0);
    if (top) m->stack.count--;
    return top;
}

/* Takes the latest mark off; the items above it stay on the stack from *first on. */
static bool pop_mark(machine *m, size_t *first)
{
    *first = floor_of(m);
    if (m->marks.count == 0)
        refuse(m, "takes a mark that is not there");
    else
        m->marks.count--;
    return m->err->status == DT_OK;
}

/* ---- reading bytes ---- */

/* NULL, with the failure recorded, when fewer than `count` bytes are left. */
static const unsigned char *take(machine *m, uint64_t count)
{
    if (count > (uint64_t)(m->end - m->at)) {
        refuse(m, "cut off");
        return NULL;
    }
    m->at += count;
    return m->at - count;
}

/* A little-endian number. */
static uint64_t take_unsigned(machine *m, int bytes)
{
    uint64_t value = 0;
    const unsigned char *from = take(m, (uint64_t)bytes);
    for (int i = bytes - 1; from && i >= 0; i--) value = value << 8 | from[i];
    return value;
}

static void push_text(machine *m, pickle_kind kind, uint64_t length)
{
    const unsigned char *text = take(m, length);
    if (!text) return;
    if (length > UINT32_MAX)
        refuse(m, "a text of more than 4 GB");
    else
        push_new(m, (pickle_value){.kind = kind, .count = (uint32_t)length, .text = (const char *)text});
}

/* ---- opcodes: each handler does one family ---- */

typedef void handler(machine *m, int op);

static void do_proto(machine *m, int op)
{
    (void)op;
    if (take_unsigned(m, 1) > PROTOCOL_MAX) refuse(m, "a protocol above 5");
}

static void do_frame(machine *m, int op)
{
    (void)op;
    if (take_unsigned(m, 8) > (uint64_t)(m->end - m->at)) refuse(m, "cut off");
}

static void do_constant(machine *m, int op)
{
    push_new(m, (pickle_value){.kind = op == NONE ? PICKLE_NONE : PICKLE_BOOL, .integer = op == NEWTRUE});
}

static void do_integer(machine *m, int op)
{
    int64_t value = (int64_t)take_unsigned(m, op == BININT1 ? 1 : op == BININT2 ? 2 : 4);
    push_new(m, (pickle_value){.kind = PICKLE_INT, .integer = op == BININT ? (int32_t)value : value});
}

static void do_long(machine *m, int op)
{
    uint64_t length = take_unsigned(m, op == LONG1 ? 1 : 4), value = 0;
    if (length > 8) {
        push_text(m, PICKLE_LONG, length);
        return;
    }
    const unsigned char *from = take(m, length);
    if (!from) return;
    if (length > 0 && from[length - 1] & 0x80) value = UINT64_MAX; /* the sign fills the missing bytes */
    for (int i = (int)length - 1; i >= 0; i--) value = value << 8 | from[i];
    push_new(m, (pickle_value){.kind = PICKLE_INT, .integer = (int64_t)value});
}

static void do_float(machine *m, int op)
{
    (void)op;
    uint64_t bits = __builtin_bswap64(take_unsigned(m, 8)); /* the only big-endian number */
    pickle_value value = {.kind = PICKLE_FLOAT};
    memcpy(&value.real, &bits, sizeof bits);
    push_new(m, value);
}

static void do_text(machine *m, int op)
{
    bool bytes = op == BINBYTES || op == SHORT_BINBYTES || op == BINBYTES8 || op == BYTEARRAY8;
    bool tiny = op == SHORT_BINSTRING || op == SHORT_BINBYTES || op == SHORT_BINUNICODE;
    bool wide = op == BINUNICODE8 || op == BINBYTES8 || op == BYTEARRAY8;
    push_text(m, bytes ? PICKLE_BYTES : PICKLE_STRING, take_unsigned(m, tiny ? 1 : wide ? 8 : 4));
}

static void do_mark(machine *m, int op)
{
    (void)op;
    numbers_push(m, &m->marks, (uint32_t)m->stack.count);
}

static void do_pop(machine *m, int op)
{
    size_t first;
    if (op == POP && m->stack.count > floor_of(m))
        pop(m);
    else if (pop_mark(m, &first)) /* POP on a mark takes the mark */
        m->stack.count = first;
}

static void do_empty(machine *m, int op)
{
    push_new(m, (pickle_value){.kind = op == EMPTY_TUPLE  ? PICKLE_TUPLE
                                       : op == EMPTY_LIST ? PICKLE_LIST
                                       : op == EMPTY_DICT ? PICKLE_DICT
                                                          : PICKLE_SET});
}

/* Replaces the stack from `first` on by one container of those items. */
static void gather(machine *m, pickle_kind kind, size_t first)
{
    pickle_ref container = new_value(m, (pickle_value){.kind = kind});
    for (size_t i = first; i < m->stack.count && m->err->status == DT_OK; i++) add_item(m, container, m->stack.at[i]);
    m->stack.count = first;
    push(m, container);
}

static void do_tuple(machine *m, int op)
{
    size_t first, count = (size_t)(op - TUPLE1 + 1);
    if (op == TUPLE || op == FROZENSET) {
        if (pop_mark(m, &first)) gather(m, op == TUPLE ? PICKLE_TUPLE : PICKLE_SET, first);
    } else if (peek(m, count - 1)) {
        gather(m, PICKLE_TUPLE, m->stack.count - count);
    }
}

/* The items on the stack from `first` on go into the container below them. An object's items are dropped. */
static void fill(machine *m, pickle_kind kind, size_t first)
{
    size_t end = m->stack.count;
    if (first <= floor_of(m)) {
        refuse(m, "items without a container");
        return;
    }
    pickle_ref container = m->stack.at[first - 1];
    pickle_kind found = m->p->values[container].kind;
    if (found != kind && found != PICKLE_CALL) refuse(m, "items for a value that is no such container");
    if (kind == PICKLE_DICT && (end - first) % 2 != 0) refuse(m, "a key without a value");
    for (size_t i = first; i < end && found == kind && m->err->status == DT_OK; i++)
        add_item(m, container, m->stack.at[i]);
    m->stack.count = first;
}

static void do_items(machine *m, int op)
{
    size_t first;
    if (op == APPEND && peek(m, 1)) fill(m, PICKLE_LIST, m->stack.count - 1);
    if (op == SETITEM && peek(m, 2)) fill(m, PICKLE_DICT, m->stack.count - 2);
    if (op == APPEND || op == SETITEM) return;
    if (pop_mark(m, &first)) fill(m, op == APPENDS ? PICKLE_LIST : op == SETITEMS ? PICKLE_DICT : PICKLE_SET, first);
}

static void do_put(machine *m, int op)
{
    uint64_t at = op == MEMOIZE ? m->memo.count : take_unsigned(m, op == BINPUT ? 1 : 4);
    pickle_ref top = peek(m, 0);
    if (at >= PICKLE_VALUES_MAX) refuse(m, "a memo number above what a file of tensors needs");
    while (m->memo.count <= at && m->err->status == DT_OK) numbers_push(m, &m->memo, 0);
    if (m->err->status == DT_OK) m->memo.at[at] = top;
}

static void do_get(machine *m, int op)
{
    uint64_t at = take_unsigned(m, op == BINGET ? 1 : 4);
    if (at < m->memo.count && m->memo.at[at])
        push(m, m->memo.at[at]);
    else
        refuse(m, "asks for a value that was not kept");
}

static void push_pair(machine *m, pickle_kind kind, pickle_ref a, pickle_ref b)
{
    if (m->err->status == DT_OK) push_new(m, (pickle_value){.kind = kind, .pair = {a, b}});
}

/* A line of GLOBAL, without its end. */
static pickle_ref take_line(machine *m)
{
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));
    if (!end || end - m->at > UINT16_MAX) {
        refuse(m, "cut off");
        return 0;
    }
    pickle_value line = {.kind = PICKLE_STRING, .count = (uint32_t)(end - m->at), .text = (const char *)m->at};
    m->at = end + 1;
    return new_value(m, line);
}

static void do_global(machine *m, int op)
{
    pickle_ref module, name;
    if (op == GLOBAL) {
        module = take_line(m);
        name = module ? take_line(m) : 0;
    } else {
        name = pop(m);
        module = name ? pop(m) : 0;
        if (pickle_at(m->p, name)->kind != PICKLE_STRING || pickle_at(m->p, module)->kind != PICKLE_STRING)
            refuse(m, "the name of a class is not a text");
    }
    push_pair(m, PICKLE_GLOBAL, module, name);
}

/* OrderedDict's arguments are none or, from Python 2, one list of pairs. */
static void push_dictionary(machine *m, pickle_ref arguments)
{
    pickle *p = m->p;
    pickle_ref pairs = pickle_item(p, arguments, 0), dictionary = new_value(m, (pickle_value){.kind = PICKLE_DICT});
    if (pairs && p->values[pairs].kind != PICKLE_LIST) refuse(m, "a dictionary made of something else than pairs");
    uint32_t cell = pairs ? p->values[pairs].items.first : 0;
    for (; cell && m->err->status == DT_OK; cell = p->cells[cell].next) {
        pickle_ref pair = p->cells[cell].value, key = pickle_item(p, pair, 0), value = pickle_item(p, pair, 1);
        if (!value || p->values[pair].count != 2) refuse(m, "a dictionary made of something else than pairs");
        if (m->err->status == DT_OK) add_item(m, dictionary, key);
        if (m->err->status == DT_OK) add_item(m, dictionary, value);
    }
    push(m, dictionary);
}

static void do_call(machine *m, int op)
{
    if (op == NEWOBJ_EX) pop(m); /* keywords */
    pickle_ref arguments = pop(m), callee = arguments ? pop(m) : 0;
    if (!callee) return;
    if (m->p->values[arguments].kind != PICKLE_TUPLE)
        refuse(m, "arguments that are no tuple");
    else if (pickle_is_global(m->p, callee, "collections", "OrderedDict"))
        push_dictionary(m, arguments);
    else
        push_pair(m, PICKLE_CALL, callee, arguments);
}

/* The state of an object is dropped; OrderedDict's holds only what torch knows about its modules' versions. */
static void do_build(machine *m, int op)
{
    (void)op;
    if (peek(m, 1)) pop(m);
}

static void do_persistent(machine *m, int op)
{
    (void)op;
    push_pair(m, PICKLE_PERSISTENT, pop(m), 0);
}

static handler *const handlers[256] = {
    [PROTO] = do_proto,
    [FRAME] = do_frame,
    [NONE] = do_constant,
    [NEWTRUE] = do_constant,
    [NEWFALSE] = do_constant,
    [BININT] = do_integer,
    [BININT1] = do_integer,
    [BININT2] = do_integer,
    [LONG1] = do_long,
    [LONG4] = do_long,
    [BINFLOAT] = do_float,
    [BINSTRING] = do_text,
    [SHORT_BINSTRING] = do_text,
    [BINUNICODE] = do_text,
    [SHORT_BINUNICODE] = do_text,
    [BINUNICODE8] = do_text,
    [BINBYTES] = do_text,
    [SHORT_BINBYTES] = do_text,
    [BINBYTES8] = do_text,
    [BYTEARRAY8] = do_text,
    [MARK] = do_mark,
    [POP] = do_pop,
    [POP_MARK] = do_pop,
    [EMPTY_TUPLE] = do_empty,
    [EMPTY_LIST] = do_empty,
    [EMPTY_DICT] = do_empty,
    [EMPTY_SET] = do_empty,
    [TUPLE] = do_tuple,
    [TUPLE1] = do_tuple,
    [TUPLE2] = do_tuple,
    [TUPLE3] = do_tuple,
    [FROZENSET] = do_tuple,
    [APPEND] = do_items,
    [APPENDS] = do_items,
    [SETITEM] = do_items,
    [SETITEMS] = do_items,
    [ADDITEMS] = do_items,
    [BINPUT] = do_put,
    [LONG_BINPUT] = do_put,
    [MEMOIZE] = do_put,
    [BINGET] = do_get,
    [LONG_BINGET] = do_get,
    [GLOBAL] = do_global,
    [STACK_GLOBAL] = do_global,
    [REDUCE] = do_call,
    [NEWOBJ] = do_call,
    [NEWOBJ_EX] = do_call,
    [BUILD] = do_build,
    [BINPERSID] = do_persistent,
};

/* ---- the machine ---- */

static dt_status run(machine *m)
{
    while (m->err->status == DT_OK) {
        const unsigned char *op = take(m, 1);
        if (!op) break;
        if (*op == STOP) {
            m->p->root = pop(m);
            break;
        }
        if (handlers[*op])
            handlers[*op](m, *op);
        else
            error_set(m->err, DT_ERR_FORMAT, "%s: pickle at byte %zu: opcode 0x%02x, which no file of tensors needs",
                      m->path, (size_t)(m->at - m->begin) - 1, *op);
    }
    m->p->size = (size_t)(m->at - m->begin);
    return m->err->status;
}

dt_status pickle_read(pickle *p, const unsigned char *data, size_t size, const char *path, dt_error *err)
{
    machine m = {.p = p, .begin = data, .at = data, .end = data + size, .path = path, .err = err};
    *p = (pickle){.value_count = 1, .cell_count = 1};
    if (run(&m) != DT_OK) pickle_free(p);
    free(m.stack.at);
    free(m.marks.at);
    free(m.memo.at);
    return err->status;
}

void pickle_free(pickle *p)
{
    free(p->values);
    free(p->cells);
    *p = (pickle){0};
}

/* ---- looking ---- */

const pickle_value *pickle_at(const pickle *p, pickle_ref value)
{
    static const pickle_value none = {.kind = PICKLE_NONE};
    return value ? &p->values[value] : &none;
}

static bool has_items(pickle_kind kind)
{
    return kind == PICKLE_TUPLE || kind == PICKLE_LIST || kind == PICKLE_SET || kind == PICKLE_DICT;
}

pickle_ref pickle_item(const pickle *p, pickle_ref value, uint32_t i)
{
    const pickle_value *v = pickle_at(p, value);
    if (!has_items(v->kind) || i >= v->count) return 0;
    uint32_t cell = v->items.first;
    while (i-- > 0) cell = p->cells[cell].next;
    return p->cells[cell].value;
}

bool pickle_is_text(const pickle *p, pickle_ref value, const char *text)
{
    const pickle_value *v = pickle_at(p, value);
    return v->kind == PICKLE_STRING && v->count == strlen(text) && memcmp(v->text, text, v->count) == 0;
}

bool pickle_is_global(const pickle *p, pickle_ref value, const char *module, const char *name)
{
    const pickle_value *v = pickle_at(p, value);
    return v->kind == PICKLE_GLOBAL && pickle_is_text(p, v->pair.a, module) && pickle_is_text(p, v->pair.b, name);
}
