#include "container/zip_directory.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/sort.h"

/* PKWARE's APPNOTE.TXT: signatures, sizes of the fixed parts and places of the fields in them. */
enum {
    LOCAL_SIGNATURE = 0x04034b50,
    LOCAL_BYTES = 30,
    CENTRAL_SIGNATURE = 0x02014b50,
    CENTRAL_BYTES = 46,
    END_SIGNATURE = 0x06054b50,
    END_BYTES = 22,
    END64_SIGNATURE = 0x06064b50,
    END64_BYTES = 56,
    LOCATOR_SIGNATURE = 0x07064b50,
    LOCATOR_BYTES = 20,
    COMMENT_MAX = 65535,
    ZIP64_FIELD = 1,
    FLAG_ENCRYPTED = 1,
    RECORDS_MAX = 1 << 22
};

typedef struct reader {
    const unsigned char *data;
    uint64_t size;
    const char *path;
    dt_error *err;
    uint64_t directory, directory_bytes, count; /* what the end record says */
} reader;

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static dt_status refuse(const reader *r, const char *why)
{
    return error_set(r->err, DT_ERR_FORMAT, "%s is no sound zip file: %s", r->path, why);
}

static dt_status refuse_record(const reader *r, const zip_record *record, const char *why)
{
    int length = record->name_length < 200 ? (int)record->name_length : 200;
    return error_set(r->err, DT_ERR_FORMAT, "%s: record %.*s: %s", r->path, length, record->name, why);
}

/* ---- the end of the file, which says where the directory is ---- */

static const unsigned char *find_end(const reader *r)
{
    uint64_t lowest = r->size > END_BYTES + COMMENT_MAX ? r->size - END_BYTES - COMMENT_MAX : 0;
    for (uint64_t at = r->size - END_BYTES + 1; r->size >= END_BYTES && at-- > lowest;)
        if (number(r->data + at, 4) == END_SIGNATURE && at + END_BYTES + number(r->data + at + 20, 2) == r->size)
            return r->data + at;
    return NULL;
}

/* The zip64 end record stands before `end`, found by a locator of fixed size. */
static dt_status read_end64(reader *r, const unsigned char *end)
{
    if (end - r->data < LOCATOR_BYTES) return refuse(r, "its zip64 end record is missing");
    const unsigned char *locator = end - LOCATOR_BYTES;
    uint64_t at = number(locator + 8, 8), room = (uint64_t)(locator - r->data);
    if (number(locator, 4) != LOCATOR_SIGNATURE || at > room || room - at < END64_BYTES ||
        number(r->data + at, 4) != END64_SIGNATURE)
        return refuse(r, "its zip64 end record is missing");
    const unsigned char *end64 = r->data + at;
    if (number(end64 + 16, 4) || number(end64 + 20, 4)) return refuse(r, "it is a part of several");
    r->count = number(end64 + 32, 8);
    r->directory_bytes = number(end64 + 40, 8);
    r->directory = number(end64 + 48, 8);
    return DT_OK;
}

static dt_status read_end(reader *r)
{
    const unsigned char *end = find_end(r);
    if (!end) return refuse(r, "it has no end record; is it cut off?");
    r->count = number(end + 10, 2);
    r->directory_bytes = number(end + 12, 4);
    r->directory = number(end + 16, 4);
    uint64_t disks = number(end + 4, 2) | number(end + 6, 2);
    if (r->count == UINT16_MAX || r->directory_bytes == UINT32_MAX || r->directory == UINT32_MAX) {
        if (read_end64(r, end) != DT_OK) return r->err->status;
    } else if (disks) {
        return refuse(r, "it is a part of several");
    }
    uint64_t room = (uint64_t)(end - r->data);
    if (r->directory > room || r->directory_bytes > room - r->directory)
        return refuse(r, "its directory lies outside the file");
    if (r->count > r->directory_bytes / CENTRAL_BYTES || r->count > RECORDS_MAX)
        return refuse(r, "it states more records than its directory can hold");
    return DT_OK;
}

/* ---- the directory ---- */

typedef struct header {
    const unsigned char *fixed, *name, *extra;
    uint64_t name_length, extra_length, total;
} header;

/* A central or local header at `at`, all of whose parts lie before `end`. False when they do not. */
static bool read_header(header *h, const reader *r, uint64_t at, uint64_t end, uint32_t signature)
{
    bool central = signature == CENTRAL_SIGNATURE;
    uint64_t fixed_bytes = central ? CENTRAL_BYTES : LOCAL_BYTES;
    if (at > end || end - at < fixed_bytes) return false;
    h->fixed = r->data + at;
    h->name_length = number(h->fixed + (central ? 28 : 26), 2);
    h->extra_length = number(h->fixed + (central ? 30 : 28), 2);
    h->total = fixed_bytes + h->name_length + h->extra_length + (central ? number(h->fixed + 32, 2) : 0);
    h->name = h->fixed + fixed_bytes;
    h->extra = h->name + h->name_length;
    return number(h->fixed, 4) == signature && h->total <= end - at;
}

/* Fields that do not fit 32 bits stand in the extra field number 1, in this order, only those. */
static bool read_zip64(const header *h, uint64_t *const fields[3])
{
    const unsigned char *at = h->extra, *end = h->extra + h->extra_length;
    bool wanted = *fields[0] == UINT32_MAX || *fields[1] == UINT32_MAX || *fields[2] == UINT32_MAX;
    while (wanted && end - at >= 4) {
        uint64_t id = number(at, 2), length = number(at + 2, 2);
        at += 4;
        if (length > (uint64_t)(end - at)) return false;
        const unsigned char *field = at, *field_end = at + length;
        for (int i = 0; id == ZIP64_FIELD && i < 3; i++) {
            if (*fields[i] != UINT32_MAX) continue;
            if (field_end - field < 8) return false;
            *fields[i] = number(field, 8);
            field += 8;
        }
        if (id == ZIP64_FIELD) return true;
        at += length;
    }
    return !wanted;
}

/* One record from its central header; its data from its local one. */
static dt_status read_record(zip_record *record, const reader *r, const header *central)
{
    *record = (zip_record){.name = (const char *)central->name, .name_length = central->name_length};
    uint64_t size = number(central->fixed + 24, 4), packed = number(central->fixed + 20, 4);
    uint64_t at = number(central->fixed + 42, 4), method = number(central->fixed + 10, 2);
    header local;
    if (!read_zip64(central, (uint64_t *const[]){&size, &packed, &at}))
        return refuse_record(r, record, "its zip64 field is malformed");
    if (number(central->fixed + 8, 2) & FLAG_ENCRYPTED) return refuse_record(r, record, "it is encrypted");
    if (method == 0 && size != packed)
        return refuse_record(r, record, "it is stored, but in another size than its own");
    if (!read_header(&local, r, at, r->directory, LOCAL_SIGNATURE))
        return refuse_record(r, record, "its header lies outside the file or is none");
    if (local.name_length != central->name_length || memcmp(local.name, central->name, local.name_length) != 0)
        return refuse_record(r, record, "its header has another name than the directory");
    if (packed > r->directory - at - local.total) return refuse_record(r, record, "its data lie outside the file");
    record->header = local.fixed;
    record->data = local.fixed + local.total;
    record->size = packed;
    record->crc32 = (uint32_t)number(central->fixed + 16, 4);
    record->compressed = method != 0;
    return DT_OK;
}

static int compare_names(const void *a, const void *b)
{
    const zip_record *x = a, *y = b;
    size_t shorter = x->name_length < y->name_length ? x->name_length : y->name_length;
    int order = memcmp(x->name, y->name, shorter);
    return order ? order : (x->name_length > y->name_length) - (x->name_length < y->name_length);
}

static int compare_places(const void *a, const void *b)
{
    const zip_record *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

/* A record ends before the next one begins. */
static dt_status check_places(zip_directory *z, const reader *r)
{
    sort_array(z->records, z->count, sizeof *z->records, compare_places);
    for (size_t i = 1; i < z->count; i++) {
        const zip_record *before = &z->records[i - 1], *record = &z->records[i];
        if (before->data + before->size > record->header) return refuse_record(r, record, "it overlaps another record");
    }
    sort_array(z->records, z->count, sizeof *z->records, compare_names);
    for (size_t i = 1; i < z->count; i++)
        if (compare_names(&z->records[i - 1], &z->records[i]) == 0)
            return refuse_record(r, &z->records[i], "there are two of this name");
    return DT_OK;
}

static dt_status read_directory(zip_directory *z, const reader *r)
{
    uint64_t at = r->directory, end = r->directory + r->directory_bytes;
    header central;
    z->records = calloc((size_t)r->count + 1, sizeof *z->records);
    if (!z->records) return error_set(r->err, DT_ERR_MEMORY, "%s: no memory for its directory", r->path);
    for (; z->count < r->count; z->count++) {
        if (!read_header(&central, r, at, end, CENTRAL_SIGNATURE)) return refuse(r, "its directory is malformed");
        if (read_record(&z->records[z->count], r, &central) != DT_OK) return r->err->status;
        at += central.total;
    }
    return check_places(z, r);
}

dt_status zip_directory_open(zip_directory *z, const file_map *map, const char *path, dt_error *err)
{
    reader r = {.data = map->data, .size = map->size, .path = path, .err = err};
    *z = (zip_directory){0};
    if (read_end(&r) != DT_OK || read_directory(z, &r) != DT_OK) zip_directory_close(z);
    return err->status;
}

void zip_directory_close(zip_directory *z)
{
    free(z->records);
    *z = (zip_directory){0};
}

bool zip_is_sound(const unsigned char *data, uint64_t size, uint32_t crc32)
{
    return !crc32 || crc32_z(0, data, (size_t)size) == crc32;
}

const zip_record *zip_directory_find(const zip_directory *z, const char *name, size_t name_length)
{
    zip_record key = {.name = name, .name_length = name_length};
    if (z->count == 0) return NULL;
    return sorted_find(&key, z->records, z->count, sizeof *z->records, compare_names);
}
