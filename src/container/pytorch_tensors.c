/* From a pickle to the tensors in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "container/pytorch.h"

enum {
    NAME_BYTES_MAX = 1000,
    DEPTH_MAX = 64,
    VISITS_PER_VALUE = 16,        /* how often a value may be met on average: dictionaries can be shared */
    MEMORY_PER_VALUE = 256,       /* bytes for names and sizes; a tensor takes some 15 values of the pickle */
    REPEATED_COUNT_MAX = 1 << 24, /* values of a tensor that has fewer in its storage */
};

static const struct {
    const char *storage, *dtype; /* classes and constants of the module torch */
    safetensors_dtype is;
} types[] = {
    {"FloatStorage", "float32", SAFETENSORS_F32},
    {"HalfStorage", "float16", SAFETENSORS_F16},
    {"BFloat16Storage", "bfloat16", SAFETENSORS_BF16},
    {"DoubleStorage", "float64", SAFETENSORS_F64},
    {"LongStorage", "int64", SAFETENSORS_I64},
    {"IntStorage", "int32", SAFETENSORS_I32},
    {"ShortStorage", "int16", SAFETENSORS_I16},
    {"CharStorage", "int8", SAFETENSORS_I8},
    {"ByteStorage", "uint8", SAFETENSORS_U8},
    {"BoolStorage", "bool", SAFETENSORS_BOOL},
    {"ComplexFloatStorage", "complex64", SAFETENSORS_C64},
    {NULL, "uint16", SAFETENSORS_U16},
    {NULL, "uint32", SAFETENSORS_U32},
    {NULL, "uint64", SAFETENSORS_U64},
    {NULL, "float8_e5m2", SAFETENSORS_F8_E5M2},
    {NULL, "float8_e4m3fn", SAFETENSORS_F8_E4M3},
    {NULL, "float8_e5m2fnuz", SAFETENSORS_F8_E5M2FNUZ},
    {NULL, "float8_e4m3fnuz", SAFETENSORS_F8_E4M3FNUZ},
    {NULL, "float8_e8m0fnu", SAFETENSORS_F8_E8M0},
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

static bool find_type(safetensors_dtype *dtype, const pickle *p, pickle_ref global, bool storage)
{
    for (int i = 0; i < TYPE_COUNT; i++) {
        const char *name = storage ? types[i].storage : types[i].dtype;
        *dtype = types[i].is;
        if (name && pickle_is_global(p, global, "torch", name)) return true;
    }
    return false;
}

const char *pytorch_storage_class(safetensors_dtype dtype)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (types[i].is == dtype) return types[i].storage;
    return NULL;
}

static int64_t bytes_of(safetensors_dtype dtype)
{
    return safetensors_dtype_bits(dtype) / 8;
}

/* ---- storages ---- */

static bool read_size(int64_t *size, const pickle *p, pickle_ref value)
{
    const pickle_value *v = pickle_at(p, value);
    *size = v->integer;
    return v->kind == PICKLE_INT && v->integer >= 0;
}

/* ('storage', class, key, location, count[, None or (key of the view, offset, count)]) */
bool pytorch_read_storage_id(pytorch_storage_id *id, const pickle *p, pickle_ref value)
{
    const pickle_value *v = pickle_at(p, value);
    pickle_ref tuple = v->kind == PICKLE_PERSISTENT ? v->pair.a : 0, class = pickle_item(p, tuple, 1);
    const pickle_value *key = pickle_at(p, pickle_item(p, tuple, 2));
    pickle_ref view = pickle_item(p, tuple, 5);
    *id = (pytorch_storage_id){.key = {key->text, key->count}};
    if (!pickle_is_text(p, pickle_item(p, tuple, 0), "storage") || key->kind != PICKLE_STRING) return false;
    if (!read_size(&id->count, p, pickle_item(p, tuple, 4))) return false;
    id->typed = find_type(&id->dtype, p, class, true);
    id->value_bytes = id->typed ? bytes_of(id->dtype) : 1;
    id->view_count = id->count;
    if (!id->typed && !pickle_is_global(p, class, "torch", "UntypedStorage") &&
        !pickle_is_global(p, class, "torch.storage", "UntypedStorage"))
        return false;
    if (pickle_at(p, view)->kind == PICKLE_NONE) return true;
    return read_size(&id->view_offset, p, pickle_item(p, view, 1)) &&
           read_size(&id->view_count, p, pickle_item(p, view, 2));
}

int pytorch_compare_keys(const void *a, const void *b)
{
    const pytorch_key *x = a, *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->text, y->text, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

/* ---- one tensor ---- */

typedef struct collector {
    tensor_file *f;
    const pickle *p;
    const pytorch_storages *storages;
    dt_error *err;
    size_t room; /* of f->entries */
    size_t visits_left;
    char name[NAME_BYTES_MAX + 32];
} collector;

static dt_status refuse(const collector *c, const char *why)
{
    return error_set(c->err, DT_ERR_FORMAT, "%s: tensor %s: %s", c->f->path, c->name, why);
}

/* What the arguments of a rebuilding function say. */
typedef struct description {
    pytorch_storage_id storage;
    safetensors_dtype dtype;
    int64_t offset; /* of the first value in the storage, in values */
    int dim_count;
    int64_t dims[TENSOR_FILE_STRIDED_DIM_MAX], strides[TENSOR_FILE_STRIDED_DIM_MAX];
} description;

/* A tuple of at most 64 sizes; false when it is none. */
static bool read_sizes(int64_t sizes[], int *count, const pickle *p, pickle_ref tuple)
{
    const pickle_value *v = pickle_at(p, tuple);
    if (v->kind != PICKLE_TUPLE || v->count > TENSOR_FILE_STRIDED_DIM_MAX) return false;
    int i = 0;
    for (uint32_t cell = v->items.first; cell; cell = p->cells[cell].next)
        if (!read_size(&sizes[i++], p, p->cells[cell].value)) return false;
    *count = i;
    return true;
}

/* (storage, offset, sizes, strides, ..); version 2 goes on: requires_grad, hooks, flags; version 3: .., dtype, flags */
static dt_status describe(description *d, const collector *c, pickle_ref arguments, int version)
{
    const pickle *p = c->p;
    int stride_count;
    if (!pytorch_read_storage_id(&d->storage, p, pickle_item(p, arguments, 0)))
        return refuse(c, "its storage is of no known type");
    if (!read_size(&d->offset, p, pickle_item(p, arguments, 1)) ||
        !read_sizes(d->dims, &d->dim_count, p, pickle_item(p, arguments, 2)) ||
        !read_sizes(d->strides, &stride_count, p, pickle_item(p, arguments, 3)) || stride_count != d->dim_count)
        return refuse(c, "its offset, sizes and strides are not whole numbers from 0 up, at most 64 of them");
    d->dtype = d->storage.dtype;
    if (version == 3 && !find_type(&d->dtype, p, pickle_item(p, arguments, 6), false))
        return refuse(c, "it is of no known number type");
    if (version < 3 && !d->storage.typed) return refuse(c, "its storage has no number type");
    if (version > 1 && pickle_at(p, pickle_item(p, arguments, version == 3 ? 7 : 6))->count != 0)
        return refuse(c, "its values are stored negated or conjugated");
    return DT_OK;
}

static bool is_row_major(const description *d)
{
    int64_t expected = 1;
    for (int i = d->dim_count - 1; i >= 0; i--) {
        if (d->dims[i] != 1 && d->strides[i] != expected) return false;
        expected *= d->dims[i];
    }
    return true;
}

/* The count of values, and the distance between the first and the last; false when one overflows. */
static bool measure(int64_t *count, int64_t *span, const description *d)
{
    *count = 1;
    *span = 0;
    for (int i = 0; i < d->dim_count; i++)
        if (d->dims[i] == 0) *count = 0;
    for (int i = 0; i<d->dim_count && * count> 0; i++) {
        int64_t step;
        if (__builtin_mul_overflow(*count, d->dims[i], count) ||
            __builtin_mul_overflow(d->dims[i] - 1, d->strides[i], &step) || __builtin_add_overflow(*span, step, span))
            return false;
    }
    return true;
}

/* Where the tensor's values lie: `data` of the entry, all of whose values are inside its storage. */
static dt_status place(tensor_entry *e, const collector *c, const description *d)
{
    const pytorch_storage_id *id = &d->storage;
    const pytorch_storages *all = c->storages;
    const pytorch_storage *s = sorted_find(&id->key, all->storage, all->count, sizeof *s, pytorch_compare_keys);
    if (!s) return refuse(c, "its storage is not in the file");
    uint64_t known = s->size / (uint64_t)id->value_bytes;
    if ((uint64_t)id->count > known || id->view_offset > id->count || id->view_count > id->count - id->view_offset)
        return refuse(c, "its storage is shorter than the file says");
    int64_t bytes = bytes_of(d->dtype), span, room = id->view_count * id->value_bytes / bytes;
    if (!measure(&e->count, &span, d)) return refuse(c, "the product of its sizes is too large");
    if (e->count > 0 && (d->offset >= room || span > room - 1 - d->offset))
        return refuse(c, "its values lie outside its storage");
    if (e->count > room && e->count > REPEATED_COUNT_MAX)
        return refuse(c, "it repeats its storage more often than is read");
    e->bytes = e->count * bytes;
    e->seal = s->seal;
    e->data = e->count ? s->data + id->view_offset * id->value_bytes + d->offset * bytes : s->data;
    return DT_OK;
}

/* Name, sizes and strides move to memory of the file's own, the name filled up to a multiple of 8 bytes. */
static dt_status keep(tensor_entry *e, const collector *c, const description *d)
{
    size_t name_bytes = (strlen(c->name) + 8) / 8 * 8, dims_bytes = (size_t)d->dim_count * sizeof d->dims[0];
    char *memory = arena_alloc(&c->f->memory, name_bytes + 2 * dims_bytes, c->err);
    if (!memory) return c->err->status;
    strcpy(memory, c->name);
    memcpy(memory + name_bytes, d->dims, dims_bytes);
    memcpy(memory + name_bytes + dims_bytes, d->strides, dims_bytes);
    e->name = memory;
    e->dims = (const int64_t *)(memory + name_bytes);
    if (e->count > 0 && !is_row_major(d)) e->strides = e->dims + d->dim_count;
    return DT_OK;
}

static tensor_entry *new_entry(collector *c)
{
    tensor_file *f = c->f;
    if (f->count < c->room) return &f->entries[f->count];
    c->room = 2 * c->room + 64;
    tensor_entry *grown = realloc(f->entries, c->room * sizeof *grown);
    if (!grown) {
        error_set(c->err, DT_ERR_MEMORY, "%s: no memory for its tensors", f->path);
        return NULL;
    }
    f->entries = f->all_entries = grown;
    return &grown[f->count];
}

static void add_tensor(collector *c, pickle_ref arguments, int version)
{
    description d;
    tensor_entry *e = new_entry(c);
    json_t *name = json_string(c->name); /* knows what UTF-8 is */
    if (!name) refuse(c, "its name is no UTF-8");
    json_decref(name);
    if (c->err->status != DT_OK || describe(&d, c, arguments, version) != DT_OK) return;
    *e = (tensor_entry){.path = c->f->path, .dtype = d.dtype, .dim_count = d.dim_count};
    if (place(e, c, &d) == DT_OK && keep(e, c, &d) == DT_OK) c->f->count++;
}

/* ---- the way to them ---- */

/* Appends ".key" to the name, whose first *length bytes stay. */
static bool append_key(collector *c, size_t *length, const char *key, size_t key_length)
{
    if (*length + key_length > NAME_BYTES_MAX || memchr(key, '\0', key_length)) {
        error_set(c->err, DT_ERR_FORMAT, "%s: below %.100s: a name that is too long or has a zero byte", c->f->path,
                  c->name);
        return false;
    }
    *length += (size_t)sprintf(c->name + *length, "%s%.*s", *length ? "." : "", (int)key_length, key);
    return true;
}

static void visit(collector *c, pickle_ref value, size_t length, int depth);

/* A value below a key, which is a text or a number; other keys' values are passed over. */
static void visit_below(collector *c, const pickle_value *key, pickle_ref value, size_t length, int depth)
{
    char digits[24];
    size_t end = length;
    int digit_count = snprintf(digits, sizeof digits, "%lld", (long long)key->integer);
    if (key->kind == PICKLE_STRING && append_key(c, &end, key->text, key->count)) visit(c, value, end, depth);
    if (key->kind == PICKLE_INT && append_key(c, &end, digits, (size_t)digit_count)) visit(c, value, end, depth);
    if (c->err->status == DT_OK) c->name[length] = '\0';
}

static void visit_dictionary(collector *c, const pickle_value *v, size_t length, int depth)
{
    const pickle_cell *cells = c->p->cells;
    for (uint32_t cell = v->items.first; cell && c->err->status == DT_OK; cell = cells[cells[cell].next].next)
        visit_below(c, pickle_at(c->p, cells[cell].value), cells[cells[cell].next].value, length, depth);
}

static void visit_sequence(collector *c, const pickle_value *v, size_t length, int depth)
{
    pickle_value index = {.kind = PICKLE_INT};
    for (uint32_t cell = v->items.first; cell && c->err->status == DT_OK; cell = c->p->cells[cell].next) {
        visit_below(c, &index, c->p->cells[cell].value, length, depth);
        index.integer++;
    }
}

/* A call makes a tensor, wraps one, or makes something else, which is passed over. */
static void visit_call(collector *c, const pickle_value *v)
{
    const pickle *p = c->p;
    const pickle_value *inner = pickle_at(p, pickle_item(p, v->pair.b, 0));
    bool parameter = pickle_is_global(p, v->pair.a, "torch._utils", "_rebuild_parameter") ||
                     pickle_is_global(p, v->pair.a, "torch._utils", "_rebuild_parameter_with_state");
    if (parameter && inner->kind == PICKLE_CALL) v = inner;
    if (pickle_is_global(p, v->pair.a, "torch._utils", "_rebuild_tensor")) add_tensor(c, v->pair.b, 1);
    if (pickle_is_global(p, v->pair.a, "torch._utils", "_rebuild_tensor_v2")) add_tensor(c, v->pair.b, 2);
    if (pickle_is_global(p, v->pair.a, "torch._utils", "_rebuild_tensor_v3")) add_tensor(c, v->pair.b, 3);
}

static void visit(collector *c, pickle_ref value, size_t length, int depth)
{
    const pickle_value *v = pickle_at(c->p, value);
    if (depth > DEPTH_MAX)
        error_set(c->err, DT_ERR_FORMAT, "%s: %.100s: nested deeper than %d", c->f->path, c->name, DEPTH_MAX);
    else if (c->visits_left-- == 0)
        error_set(c->err, DT_ERR_FORMAT, "%s: %.100s: dictionaries that contain one another again and again",
                  c->f->path, c->name);
    else if (v->kind == PICKLE_DICT)
        visit_dictionary(c, v, length, depth + 1);
    else if (v->kind == PICKLE_LIST || v->kind == PICKLE_TUPLE)
        visit_sequence(c, v, length, depth + 1);
    else if (v->kind == PICKLE_CALL)
        visit_call(c, v);
}

/* ---- the whole ---- */

/* Texts in the outermost dictionary. One text can be the value of many keys, so their sum is bounded by the pickle. */
static void collect_metadata(tensor_file *f, const pickle *p)
{
    const pickle_value *root = pickle_at(p, p->root);
    const pickle_cell *cells = p->cells;
    size_t left = p->size;
    f->metadata = json_object();
    for (uint32_t cell = root->kind == PICKLE_DICT ? root->items.first : 0; cell; cell = cells[cells[cell].next].next) {
        const pickle_value *key = pickle_at(p, cells[cell].value), *value = pickle_at(p, cells[cells[cell].next].value);
        if (key->kind != PICKLE_STRING || value->kind != PICKLE_STRING || memchr(key->text, '\0', key->count)) continue;
        if (value->count > left) return;
        left -= value->count;
        json_object_setn_new(f->metadata, key->text, key->count, json_stringn(value->text, value->count));
    }
}

dt_status pytorch_collect(tensor_file *f, const pickle *p, const pytorch_storages *storages, dt_error *err)
{
    size_t values = p->value_count;
    collector c = {.f = f, .p = p, .storages = storages, .err = err, .visits_left = VISITS_PER_VALUE * values};
    if (arena_open(&f->memory, "tensor names", MEMORY_PER_VALUE * (values + VISITS_PER_VALUE), err) != DT_OK)
        return err->status;
    bool bare = pickle_at(p, p->root)->kind == PICKLE_CALL;
    visit(&c, p->root, bare ? (size_t)sprintf(c.name, "tensor") : 0, 0);
    if (err->status == DT_OK && f->count == 0)
        error_set(err, DT_ERR_FORMAT,
                  "%s: no tensor in it; dictionaries, lists and tuples are searched, other objects "
                  "are never built",
                  f->path);
    collect_metadata(f, p);
    return err->status;
}
