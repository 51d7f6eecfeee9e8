#include "container/mat_file.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "file/file.h"

enum { HEADER_BYTES = 128, TAG_BYTES = 8, BYTES_MAX = 64 << 20, MEMORY_MAX = 256 << 20, DEPTH_MAX = 8 };

/* Types of data elements. */
enum {
    MI_INT8 = 1,
    MI_UINT8,
    MI_INT16,
    MI_UINT16,
    MI_INT32,
    MI_UINT32,
    MI_SINGLE,
    MI_DOUBLE = 9,
    MI_INT64 = 12,
    MI_UINT64,
    MI_MATRIX,
    MI_COMPRESSED,
    MI_UTF8,
    MI_UTF16
};

/* Classes of arrays; 6 to 15 are numbers. */
enum { MX_CELL = 1, MX_STRUCT, MX_CHAR = 4, MX_DOUBLE = 6, MX_UINT64 = 15 };

/* What is left to read of the file, of an unpacked element, or of one matrix. */
typedef struct stream {
    const uint8_t *at, *end;
    bool swapped; /* the other byte order than little-endian */
    int64_t *budget;
    const char *path;
    dt_error *err;
} stream;

typedef struct element {
    uint32_t type;
    stream data;
} element;

static dt_status refuse(const stream *s, const char *why)
{
    return error_set(s->err, DT_ERR_FORMAT, "%s is no sound MATLAB 5 file: %s", s->path, why);
}

static uint64_t integer(const stream *s, const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[s->swapped ? i : bytes - 1 - i];
    return value;
}

/* Takes bytes out of what one file may ask for: memory, and what is unpacked, which is time. */
static bool charge(const stream *s, int64_t bytes)
{
    *s->budget -= bytes;
    return *s->budget >= 0 || refuse(s, "it asks for more than 256 MiB") == DT_OK;
}

/* Zeroed room for `count` things of `size` bytes and one more. */
static void *take(const stream *s, int64_t count, size_t size)
{
    if (!charge(s, (count + 1) * (int64_t)size)) return NULL;
    void *memory = calloc((size_t)count + 1, size);
    if (!memory) error_set(s->err, DT_ERR_MEMORY, "%s: no memory to read it", s->path);
    return memory;
}

/* The next element; a small one holds its data in the tag. Elements inside of a matrix fill whole 8 bytes. */
static dt_status next_element(element *e, stream *s)
{
    if (s->end - s->at < TAG_BYTES) return refuse(s, "it ends inside of an element's tag");
    uint32_t first = (uint32_t)integer(s, s->at, 4), bytes = first >> 16;
    e->data = *s;
    e->type = bytes ? first & 0xffff : first;
    e->data.at = s->at + (bytes ? 4 : TAG_BYTES);
    if (bytes > 4) return refuse(s, "a small element of more than 4 bytes");
    if (!bytes) bytes = (uint32_t)integer(s, s->at + 4, 4);
    if ((size_t)(s->end - e->data.at) < bytes) return refuse(s, "an element is longer than what holds it");
    e->data.end = e->data.at + bytes;
    size_t used = (size_t)(e->data.end - s->at), whole = (used + 7) & ~(size_t)7;
    if (e->type == MI_COMPRESSED) whole = used;
    s->at += whole < (size_t)(s->end - s->at) ? whole : (size_t)(s->end - s->at);
    return DT_OK;
}

static dt_status expect(element *e, stream *s, uint32_t type, const char *what)
{
    if (next_element(e, s) == DT_OK && e->type != type) refuse(s, what);
    return s->err->status;
}

/* ---- values ---- */

static int bytes_of(uint32_t type)
{
    static const int bytes[] = {0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8, 0, 0, 1, 2};
    return type < sizeof bytes / sizeof *bytes ? bytes[type] : 0;
}

static double number(const stream *s, uint32_t type, const uint8_t *at)
{
    uint64_t raw = integer(s, at, bytes_of(type));
    uint32_t low = (uint32_t)raw;
    float single;
    double wide;
    switch (type) {
    case MI_INT8: return (int8_t)raw;
    case MI_INT16: return (int16_t)raw;
    case MI_INT32: return (int32_t)raw;
    case MI_INT64: return (double)(int64_t)raw;
    case MI_SINGLE: memcpy(&single, &low, sizeof single); return single;
    case MI_DOUBLE: memcpy(&wide, &raw, sizeof wide); return wide;
    default: return (double)raw;
    }
}

/* The elements of a matrix's real part, which must be as many as its dimensions say. */
static dt_status open_part(element *e, stream *s, const mat_value *v)
{
    if (next_element(e, s) != DT_OK) return s->err->status;
    int bytes = bytes_of(e->type);
    if (!bytes || (e->data.end - e->data.at) % bytes || (e->data.end - e->data.at) / bytes != v->count)
        refuse(s, "an array has not as many values as its dimensions say");
    return s->err->status;
}

static dt_status read_numbers(mat_value *v, stream *s)
{
    element e;
    if (open_part(&e, s, v) != DT_OK) return s->err->status;
    v->number = take(s, v->count, sizeof *v->number);
    for (int64_t i = 0; v->number && i < v->count; i++)
        v->number[i] = number(s, e.type, e.data.at + i * bytes_of(e.type));
    v->kind = MAT_NUMBERS;
    return s->err->status;
}

/* One UTF-16 unit as UTF-8; halves of a pair become a question mark each. */
static char *write_unit(char *out, uint32_t unit)
{
    if (unit >= 0xd800 && unit < 0xe000) unit = '?';
    if (unit >= 0x800) *out++ = (char)(0xe0 | unit >> 12);
    if (unit >= 0x800) *out++ = (char)(0x80 | (unit >> 6 & 0x3f));
    if (unit >= 0x80 && unit < 0x800) *out++ = (char)(0xc0 | unit >> 6);
    *out++ = (char)(unit < 0x80 ? unit : 0x80 | (unit & 0x3f));
    return out;
}

static dt_status read_text(mat_value *v, stream *s)
{
    element e;
    if (next_element(&e, s) != DT_OK) return s->err->status;
    int bytes = bytes_of(e.type);
    if (bytes != 1 && bytes != 2) return refuse(s, "text of neither 8 nor 16 bits");
    int64_t units = (e.data.end - e.data.at) / bytes;
    char *out = v->text = take(s, units, 3);
    for (int64_t i = 0; out && i < units; i++) {
        uint32_t unit = (uint32_t)integer(s, e.data.at + i * bytes, bytes);
        if (e.type == MI_UTF8)
            *out++ = (char)unit;
        else
            out = write_unit(out, unit);
    }
    if (v->text && strlen(v->text) != (size_t)(out - v->text)) refuse(s, "text with a zero character");
    v->kind = MAT_TEXT;
    return s->err->status;
}

/* ---- matrices ---- */

static dt_status read_matrix(mat_value *v, stream *s, int depth);

/* Each child costs a tag at least, so that the file's size bounds their number. */
static dt_status read_children(mat_value *v, stream *s, int64_t count, int depth)
{
    if (count > (s->end - s->at) / TAG_BYTES) return refuse(s, "it has fewer cells or fields than it says");
    v->child = take(s, count, sizeof *v->child);
    for (v->child_count = 0; v->child && v->child_count < count && s->err->status == DT_OK; v->child_count++) {
        element e;
        if (expect(&e, s, MI_MATRIX, "a cell or field is no array") == DT_OK)
            read_matrix(&v->child[v->child_count], &e.data, depth + 1);
    }
    return s->err->status;
}

static dt_status read_fields(mat_value *v, stream *s)
{
    element length, names;
    if (expect(&length, s, MI_INT32, "a structure without its field length") != DT_OK ||
        expect(&names, s, MI_INT8, "a structure without field names") != DT_OK)
        return s->err->status;
    int64_t width = length.data.end - length.data.at == 4 ? (int64_t)integer(s, length.data.at, 4) : 0;
    int64_t bytes = names.data.end - names.data.at;
    if (width < 1 || width > MAT_NAME_MAX || bytes % width) return refuse(s, "field names of no sound length");
    v->field_count = bytes / width;
    v->field = take(s, v->field_count, sizeof *v->field);
    for (int64_t i = 0; v->field && i < v->field_count; i++)
        memcpy(v->field[i], names.data.at + i * width, (size_t)width - 1);
    return s->err->status;
}

static dt_status read_struct(mat_value *v, stream *s, int depth)
{
    if (read_fields(v, s) != DT_OK) return s->err->status;
    if (v->field_count && v->count > BYTES_MAX / v->field_count) return refuse(s, "a structure of too many elements");
    v->kind = MAT_STRUCT;
    return read_children(v, s, v->count * v->field_count, depth);
}

static dt_status read_dimensions(mat_value *v, stream *s)
{
    element dims;
    if (expect(&dims, s, MI_INT32, "an array without dimensions") != DT_OK) return s->err->status;
    v->count = 1;
    for (const uint8_t *at = dims.data.at; dims.data.end - at >= 4; at += 4) {
        int64_t size = (int32_t)integer(s, at, 4);
        if (size < 0 || (size && v->count > BYTES_MAX / size)) return refuse(s, "an array of impossible size");
        v->count *= size;
    }
    return DT_OK;
}

static dt_status read_name(mat_value *v, stream *s)
{
    element name;
    if (expect(&name, s, MI_INT8, "an array without a name") != DT_OK) return s->err->status;
    size_t length = (size_t)(name.data.end - name.data.at);
    if (length >= MAT_NAME_MAX) return refuse(s, "a name of more than 63 characters");
    memcpy(v->name, name.data.at, length);
    return DT_OK;
}

/* An empty matrix has no content at all, not even flags. */
static dt_status read_matrix(mat_value *v, stream *s, int depth)
{
    element flags;
    *v = (mat_value){0};
    if (s->at == s->end) return DT_OK;
    if (depth > DEPTH_MAX) return refuse(s, "arrays inside of arrays without end");
    if (expect(&flags, s, MI_UINT32, "an array without flags") != DT_OK) return s->err->status;
    if (flags.data.end - flags.data.at != 8) return refuse(s, "array flags of no sound size");
    uint32_t class = (uint32_t)integer(s, flags.data.at, 4) & 0xff;
    if (read_dimensions(v, s) != DT_OK || read_name(v, s) != DT_OK) return s->err->status;
    if (class == MX_CELL) v->kind = MAT_CELL;
    if (class == MX_CELL) return read_children(v, s, v->count, depth);
    if (class == MX_STRUCT) return read_struct(v, s, depth);
    if (class == MX_CHAR) return read_text(v, s);
    if (class >= MX_DOUBLE && class <= MX_UINT64) return read_numbers(v, s);
    return DT_OK;
}

static void free_value(mat_value *v)
{
    for (int64_t i = 0; i < v->child_count; i++) free_value(&v->child[i]);
    free(v->child);
    free(v->field);
    free(v->number);
    free(v->text);
}

/* ---- the file ---- */

static dt_status add_variable(mat_file *f, stream *s)
{
    mat_value *grown = realloc(f->variable, (size_t)(f->count + 1) * sizeof *grown);
    if (!grown) return error_set(s->err, DT_ERR_MEMORY, "%s: no memory to read it", s->path);
    f->variable = grown;
    return read_matrix(&f->variable[f->count++], s, 0);
}

static dt_status inflate_all(uint8_t **out, size_t *size, const stream *packed)
{
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)packed->at, .avail_in = (uInt)(packed->end - packed->at)};
    if (inflateInit(&z) != Z_OK) return error_set(packed->err, DT_ERR_MEMORY, "%s: no memory", packed->path);
    size_t room = 4 * (size_t)(packed->end - packed->at) + 1024;
    if (room > BYTES_MAX) room = BYTES_MAX;
    int code = Z_OK;
    while (code == Z_OK && packed->err->status == DT_OK) {
        uint8_t *grown = realloc(*out, room);
        if (!grown) {
            error_set(packed->err, DT_ERR_MEMORY, "%s: no memory to unpack it", packed->path);
            break;
        }
        *out = grown;
        const size_t done = z.total_out;
        z.next_out = grown + done;
        z.avail_out = (uInt)(room - z.total_out);
        code = inflate(&z, Z_NO_FLUSH);
        if (!charge(packed, (int64_t)(z.next_out - (grown + done)))) break;
        if (code == Z_OK && z.avail_out) refuse(packed, "a packed element ends too soon");
        if (code == Z_OK && room >= BYTES_MAX) refuse(packed, "a packed element of more than 64 MiB");
        room = 2 * room < BYTES_MAX ? 2 * room : BYTES_MAX;
    }
    *size = z.total_out;
    inflateEnd(&z);
    if (code != Z_STREAM_END) refuse(packed, "a packed element cannot be unpacked"); /* or is told already */
    return packed->err->status;
}

static dt_status read_packed(mat_file *f, const stream *packed)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    element inner;
    if (inflate_all(&bytes, &size, packed) == DT_OK) {
        stream s = *packed;
        s.at = bytes;
        s.end = bytes + size;
        if (expect(&inner, &s, MI_MATRIX, "a packed element is no array") == DT_OK) add_variable(f, &inner.data);
    }
    free(bytes);
    return packed->err->status;
}

static dt_status read_all(mat_file *f, stream *s)
{
    if (s->end - s->at < HEADER_BYTES) return refuse(s, "it is shorter than the header");
    const uint8_t *mark = s->at + HEADER_BYTES - 2;
    if (!memcmp(mark, "MI", 2))
        s->swapped = true;
    else if (memcmp(mark, "IM", 2))
        return refuse(s, "the header has no byte order");
    uint64_t version = integer(s, mark - 2, 2);
    if (version == 0x0200)
        return error_set(s->err, DT_ERR_UNSUPPORTED, "%s is a MATLAB 7.3 file; save it with -v7", s->path);
    if (version != 0x0100) return refuse(s, "the header has another version");
    s->at += HEADER_BYTES;
    while (s->at < s->end && s->err->status == DT_OK) {
        element e;
        if (next_element(&e, s) != DT_OK) break;
        if (e.type == MI_COMPRESSED)
            read_packed(f, &e.data);
        else if (e.type == MI_MATRIX)
            add_variable(f, &e.data);
    }
    return s->err->status;
}

dt_status mat_file_open(mat_file *f, const char *path, dt_error *err)
{
    *f = (mat_file){0};
    char *data;
    size_t size;
    int64_t budget = MEMORY_MAX;
    if (file_read_all(&data, &size, path, BYTES_MAX, err) != DT_OK) return err->status;
    stream s = {(uint8_t *)data, (uint8_t *)data + size, false, &budget, path, err};
    if (read_all(f, &s) != DT_OK) mat_file_close(f);
    free(data);
    return err->status;
}

void mat_file_close(mat_file *f)
{
    for (int64_t i = 0; i < f->count; i++) free_value(&f->variable[i]);
    free(f->variable);
    *f = (mat_file){0};
}

const mat_value *mat_find(const mat_file *f, const char *name)
{
    for (int64_t i = 0; i < f->count; i++)
        if (!strcmp(f->variable[i].name, name)) return &f->variable[i];
    return NULL;
}

const mat_value *mat_field(const mat_value *structure, int64_t index, const char *field)
{
    if (structure->kind != MAT_STRUCT || index < 0 || index >= structure->count) return NULL;
    for (int64_t i = 0; i < structure->field_count; i++)
        if (!strcmp(structure->field[i], field)) return &structure->child[index * structure->field_count + i];
    return NULL;
}
