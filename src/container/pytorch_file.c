/* The two containers of torch.save. */
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "container/pytorch.h"
#include "container/zip_directory.h"
#include "file/json_file.h"

/* ---- the zip: ROOT/data.pkl, ROOT/data/KEY for each storage, ROOT/byteorder ---- */

static const char pickle_name[] = "data.pkl";

/* The pickle's record; what stands before "data.pkl" in its name is the root of all names. */
static const zip_record *find_pickle(const zip_directory *z)
{
    for (size_t i = 0; i < z->count; i++) {
        const zip_record *record = &z->records[i];
        if (record->name_length < strlen(pickle_name)) continue;
        size_t root = record->name_length - strlen(pickle_name);
        if (memcmp(record->name + root, pickle_name, strlen(pickle_name)) != 0) continue;
        if (root == 0 || memchr(record->name, '/', root) == record->name + root - 1) return record;
    }
    return NULL;
}

/* The record of `name` below a root of names. */
static const zip_record *find_below(const zip_directory *z, pytorch_key root, const char *name)
{
    char full[512];
    size_t length = strlen(name);
    if (root.length > sizeof full - length) return NULL;
    memcpy(full, root.text, root.length);
    memcpy(full + root.length, name, length);
    return zip_directory_find(z, full, root.length + length);
}

/* Records that are read at once; those of storages are checked when a tensor in them is read. */
static dt_status check_record(const zip_record *r, const char *path, dt_error *err)
{
    if (!r || zip_is_sound(r->data, r->size, r->crc32)) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: record %.*s: its checksum (CRC-32) is not that of its bytes: damaged",
                     path, r->name_length < 200 ? (int)r->name_length : 200, r->name);
}

static dt_status refuse_compressed(const zip_directory *z, const char *path, dt_error *err)
{
    for (size_t i = 0; i < z->count; i++) {
        const zip_record *r = &z->records[i];
        int shown = r->name_length < 200 ? (int)r->name_length : 200;
        if (r->compressed)
            return error_set(err, DT_ERR_FORMAT, "%s: record %.*s is compressed; torch.save stores records as they are",
                             path, shown, r->name);
    }
    return DT_OK;
}

/* Records below ROOT/data/, which stay sorted when that is taken off their names. */
static dt_status list_storages(pytorch_storages *storages, tensor_file *f, const zip_directory *z, pytorch_key root,
                               dt_error *err)
{
    static const char folder[] = "data/";
    size_t prefix = root.length + strlen(folder);
    storages->storage = calloc(z->count + 1, sizeof *storages->storage);
    f->seals = calloc(z->count + 1, sizeof *f->seals);
    if (!storages->storage || !f->seals)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory for its storages", f->path);
    for (size_t i = 0; i < z->count; i++) {
        const zip_record *r = &z->records[i];
        if (r->name_length < prefix || memcmp(r->name, root.text, root.length) != 0 ||
            memcmp(r->name + root.length, folder, strlen(folder)) != 0)
            continue;
        tensor_seal *seal = &f->seals[storages->count];
        *seal = (tensor_seal){.data = r->data, .size = r->size, .crc32 = r->crc32};
        storages->storage[storages->count++] = (pytorch_storage){
            .key = {r->name + prefix, r->name_length - prefix}, .data = r->data, .size = r->size, .seal = seal};
    }
    return DT_OK;
}

/* Our own record of metadata, if it is there; it comes before texts in the pickle. */
static dt_status read_metadata(tensor_file *f, const zip_record *record, dt_error *err)
{
    if (!record) return DT_OK;
    json_error_t where;
    json_t *object = json_text_read((const char *)record->data, record->size, &where, f->path, err), *value;
    const char *key;
    bool good = json_is_object(object);
    json_object_foreach(object, key, value) good &= json_is_string(value);
    if (!good)
        error_set(err, DT_ERR_FORMAT, "%s: record " PYTORCH_METADATA ": a JSON object of texts expected", f->path);
    else if (json_object_update(f->metadata, object) != 0)
        error_set(err, DT_ERR_MEMORY, "%s: no memory for its metadata", f->path);
    json_decref(object);
    return err->status;
}

static dt_status read_zip(tensor_file *f, const zip_directory *z, dt_error *err)
{
    pickle p = {0};
    pytorch_storages storages = {0};
    const zip_record *record = find_pickle(z);
    if (!record) return error_set(err, DT_ERR_FORMAT, "%s is a zip file, but has no data.pkl as torch.save's", f->path);
    pytorch_key root = {record->name, record->name_length - strlen(pickle_name)};
    const zip_record *order = find_below(z, root, "byteorder");
    if (find_below(z, root, "constants.pkl"))
        return error_set(err, DT_ERR_FORMAT, "%s is a TorchScript archive, expected a file of torch.save", f->path);
    if (order && (order->size != 6 || memcmp(order->data, "little", 6) != 0))
        return error_set(err, DT_ERR_FORMAT, "%s: its byte order is not \"little\"", f->path);
    const zip_record *metadata = find_below(z, root, PYTORCH_METADATA);
    if (refuse_compressed(z, f->path, err) == DT_OK && check_record(record, f->path, err) == DT_OK &&
        check_record(order, f->path, err) == DT_OK && check_record(metadata, f->path, err) == DT_OK &&
        list_storages(&storages, f, z, root, err) == DT_OK &&
        pickle_read(&p, record->data, record->size, f->path, err) == DT_OK &&
        pytorch_collect(f, &p, &storages, err) == DT_OK)
        read_metadata(f, metadata, err);
    pickle_free(&p);
    free(storages.storage);
    return err->status;
}

dt_status pytorch_zip_container(tensor_file *f, dt_error *err)
{
    zip_directory z;
    f->container = "pytorch zip";
    if (zip_directory_open(&z, &f->map, f->path, err) == DT_OK) read_zip(f, &z, err);
    zip_directory_close(&z);
    return err->status;
}

/* ---- before the zip: five pickles, then each storage as a count of 64 bits and its values ---- */

enum { MAGIC, PROTOCOL, SYSTEM, OBJECT, KEYS, PART_COUNT };
enum { PROTOCOL_VERSION = 1001, COUNT_BYTES = 8 };

static const unsigned char magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool has_magic(const pickle *p)
{
    const pickle_value *v = pickle_at(p, p->root);
    return v->kind == PICKLE_LONG && v->count == sizeof magic && memcmp(v->text, magic, sizeof magic) == 0;
}

static bool is_big_endian(const pickle *system)
{
    const pickle_value *v = pickle_at(system, system->root);
    for (uint32_t i = 0; v->kind == PICKLE_DICT && i + 1 < v->count && i < 100; i += 2)
        if (pickle_is_text(system, pickle_item(system, system->root, i), "little_endian"))
            return pickle_at(system, pickle_item(system, system->root, i + 1))->integer != 1;
    return false;
}

static dt_status read_parts(pickle part[PART_COUNT], size_t *end, const tensor_file *f, dt_error *err)
{
    *end = 0;
    for (int i = 0; i < PART_COUNT; i++) {
        if (pickle_read(&part[i], f->map.data + *end, f->map.size - *end, f->path, err) != DT_OK) return err->status;
        *end += part[i].size;
        const pickle_value *root = pickle_at(&part[i], part[i].root);
        if (i == MAGIC && !has_magic(&part[i]))
            return error_set(err, DT_ERR_FORMAT, "%s is a pickle, but not one of torch.save", f->path);
        if (i == PROTOCOL && (root->kind != PICKLE_INT || root->integer != PROTOCOL_VERSION))
            return error_set(err, DT_ERR_FORMAT, "%s: container version %d expected", f->path, PROTOCOL_VERSION);
        if (i == SYSTEM && is_big_endian(&part[i]))
            return error_set(err, DT_ERR_FORMAT, "%s: its byte order is not little-endian", f->path);
        if (i == KEYS && root->kind != PICKLE_LIST)
            return error_set(err, DT_ERR_FORMAT, "%s: no list of storages after its object", f->path);
    }
    return DT_OK;
}

/* All storages that the object names, also in parts that are passed over; sorted by key. */
static dt_status list_ids(pytorch_storage_id **ids, size_t *count, const tensor_file *f, const pickle *object,
                          dt_error *err)
{
    *ids = calloc(object->value_count, sizeof **ids);
    if (!*ids) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its storages", f->path);
    for (pickle_ref i = 1; i < object->value_count; i++)
        if (pytorch_read_storage_id(&(*ids)[*count], object, i)) ++*count;
    sort_array(*ids, *count, sizeof **ids, pytorch_compare_keys);
    return DT_OK;
}

/* The storage of `key` at byte *at of the file; *at moves behind it. */
static dt_status read_storage(pytorch_storage *s, size_t *at, const tensor_file *f, const pytorch_storage_id ids[],
                              size_t id_count, dt_error *err)
{
    int shown = s->key.length < 100 ? (int)s->key.length : 100;
    int64_t stated;
    const pytorch_storage_id *id = sorted_find(&s->key, ids, id_count, sizeof *ids, pytorch_compare_keys);
    if (!id)
        return error_set(err, DT_ERR_FORMAT, "%s: storage %.*s: nothing says its type", f->path, shown, s->key.text);
    size_t left = f->map.size - *at;
    if (left < COUNT_BYTES)
        return error_set(err, DT_ERR_FORMAT, "%s: cut off before storage %.*s", f->path, shown, s->key.text);
    memcpy(&stated, f->map.data + *at, COUNT_BYTES);
    if (stated != id->count)
        return error_set(err, DT_ERR_FORMAT, "%s: storage %.*s: %lld values expected, found %lld", f->path, shown,
                         s->key.text, (long long)id->count, (long long)stated);
    if ((uint64_t)stated > (left - COUNT_BYTES) / (size_t)id->value_bytes)
        return error_set(err, DT_ERR_FORMAT, "%s: cut off in storage %.*s of %lld values", f->path, shown, s->key.text,
                         (long long)stated);
    s->data = f->map.data + *at + COUNT_BYTES;
    s->size = (uint64_t)(stated * id->value_bytes);
    *at += COUNT_BYTES + (size_t)s->size;
    return DT_OK;
}

/* The storages in the order of their keys in the last pickle. */
static dt_status read_storages(pytorch_storages *storages, const tensor_file *f, const pickle part[PART_COUNT],
                               size_t at, dt_error *err)
{
    pytorch_storage_id *ids = NULL;
    size_t id_count = 0;
    const pickle *keys = &part[KEYS];
    const pickle_value *list = pickle_at(keys, keys->root);
    storages->storage = calloc(list->count + 1, sizeof *storages->storage);
    if (!storages->storage) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its storages", f->path);
    list_ids(&ids, &id_count, f, &part[OBJECT], err);
    for (uint32_t cell = list->items.first; cell && err->status == DT_OK; cell = keys->cells[cell].next) {
        const pickle_value *key = pickle_at(keys, keys->cells[cell].value);
        pytorch_storage *s = &storages->storage[storages->count];
        if (key->kind != PICKLE_STRING) {
            error_set(err, DT_ERR_FORMAT, "%s: a storage's key is not a text", f->path);
            break;
        }
        *s = (pytorch_storage){.key = {key->text, key->count}};
        if (read_storage(s, &at, f, ids, id_count, err) == DT_OK) storages->count++;
    }
    sort_array(storages->storage, storages->count, sizeof *storages->storage, pytorch_compare_keys);
    free(ids);
    return err->status;
}

dt_status pytorch_old_container(tensor_file *f, dt_error *err)
{
    pickle part[PART_COUNT] = {{0}};
    pytorch_storages storages = {0};
    size_t end;
    f->container = "pytorch before zip";
    if (read_parts(part, &end, f, err) == DT_OK && read_storages(&storages, f, part, end, err) == DT_OK)
        pytorch_collect(f, &part[OBJECT], &storages, err);
    for (int i = 0; i < PART_COUNT; i++) pickle_free(&part[i]);
    free(storages.storage);
    return err->status;
}
