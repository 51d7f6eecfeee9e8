#include "container/zip_writer.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

/* PKWARE's APPNOTE.TXT. */
enum {
    LOCAL_SIGNATURE = 0x04034b50,
    CENTRAL_SIGNATURE = 0x02014b50,
    END_SIGNATURE = 0x06054b50,
    END64_SIGNATURE = 0x06064b50,
    LOCATOR_SIGNATURE = 0x07064b50,
    LOCAL_BYTES = 30,
    END64_BYTES = 56,
    NAME_MAX_BYTES = 512,
    FLAG_UTF8 = 0x800,
    VERSION_PLAIN = 20,
    VERSION_ZIP64 = 45,
    DATE_1980 = 1 << 5 | 1,
    FIELD_ZIP64 = 1,
    FIELD_PADDING = 0x4246, /* PyTorch's "FB"; readers pass over it */
    ALIGNMENT = 64,
    HEADER_MAX = LOCAL_BYTES + NAME_MAX_BYTES + 2 * ALIGNMENT
};

uint32_t zip_checksum(uint32_t before, const void *data, size_t size)
{
    return (uint32_t)crc32_z(before, data, size);
}

/* ---- little-endian headers ---- */

typedef struct header {
    unsigned char bytes[HEADER_MAX];
    size_t size;
} header;

static void put(header *h, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) h->bytes[h->size++] = (unsigned char)(value >> (8 * i));
}

static void put_name(header *h, const char *name)
{
    memcpy(h->bytes + h->size, name, strlen(name));
    h->size += strlen(name);
}

/* A number of 32 bits, which is all ones when the zip64 field has it. */
static uint64_t short_form(uint64_t value)
{
    return value < UINT32_MAX ? value : UINT32_MAX;
}

/* Version, flags, method, date, checksum and sizes stand alike in both headers of a record. */
static void put_common(header *h, const zip_written *r, bool zip64)
{
    put(h, zip64 ? VERSION_ZIP64 : VERSION_PLAIN, 2);
    put(h, FLAG_UTF8, 2);
    put(h, 0, 2); /* stored */
    put(h, 0, 2);
    put(h, DATE_1980, 2);
    put(h, r->checksum, 4);
    put(h, short_form(r->size), 4);
    put(h, short_form(r->size), 4);
    put(h, strlen(r->name), 2);
}

static void local_header(header *h, const zip_written *r)
{
    bool large = r->size >= UINT32_MAX;
    uint64_t zip64_bytes = large ? 20 : 0, fixed = LOCAL_BYTES + strlen(r->name) + zip64_bytes + 4;
    uint64_t padding = (ALIGNMENT - (r->header + fixed) % ALIGNMENT) % ALIGNMENT;
    *h = (header){0};
    put(h, LOCAL_SIGNATURE, 4);
    put_common(h, r, large);
    put(h, zip64_bytes + 4 + padding, 2);
    put_name(h, r->name);
    if (large) {
        put(h, FIELD_ZIP64, 2);
        put(h, 16, 2);
        put(h, r->size, 8);
        put(h, r->size, 8);
    }
    put(h, FIELD_PADDING, 2);
    put(h, padding, 2);
    while (padding-- > 0) put(h, 'Z', 1);
}

/* The zip64 field has only those numbers that do not fit, in this order. */
static void central_header(header *h, const zip_written *r)
{
    bool large = r->size >= UINT32_MAX, far = r->header >= UINT32_MAX;
    uint64_t field_bytes = (large ? 16 : 0) + (far ? 8 : 0);
    *h = (header){0};
    put(h, CENTRAL_SIGNATURE, 4);
    put(h, VERSION_ZIP64, 2);
    put_common(h, r, large || far);
    put(h, field_bytes ? field_bytes + 4 : 0, 2);
    put(h, 0, 2); /* comment */
    put(h, 0, 2); /* disk */
    put(h, 0, 2); /* attributes */
    put(h, 0, 4);
    put(h, short_form(r->header), 4);
    put_name(h, r->name);
    if (field_bytes) put(h, FIELD_ZIP64, 2), put(h, field_bytes, 2);
    if (large) put(h, r->size, 8), put(h, r->size, 8);
    if (far) put(h, r->header, 8);
}

static void end_headers(header *h, uint64_t count, uint64_t directory, uint64_t directory_end)
{
    uint64_t bytes = directory_end - directory;
    *h = (header){0};
    if (count >= UINT16_MAX || bytes >= UINT32_MAX || directory >= UINT32_MAX) {
        put(h, END64_SIGNATURE, 4);
        put(h, END64_BYTES - 12, 8); /* what follows this number */
        put(h, VERSION_ZIP64, 2);
        put(h, VERSION_ZIP64, 2);
        put(h, 0, 8); /* disks */
        put(h, count, 8);
        put(h, count, 8);
        put(h, bytes, 8);
        put(h, directory, 8);
        put(h, LOCATOR_SIGNATURE, 4);
        put(h, 0, 4);
        put(h, directory_end, 8);
        put(h, 1, 4);
    }
    put(h, END_SIGNATURE, 4);
    put(h, 0, 4);
    put(h, count < UINT16_MAX ? count : UINT16_MAX, 2);
    put(h, count < UINT16_MAX ? count : UINT16_MAX, 2);
    put(h, short_form(bytes), 4);
    put(h, short_form(directory), 4);
    put(h, 0, 2);
}

/* ---- the file ---- */

static void forget(zip_writer *z)
{
    for (size_t i = 0; i < z->count; i++) free(z->records[i].name);
    free(z->records);
    z->records = NULL;
    z->count = z->room = 0;
}

void zip_writer_abort(zip_writer *z)
{
    file_writer_abort(&z->file);
    forget(z);
}

dt_status zip_writer_begin(zip_writer *z, const char *path, dt_error *err)
{
    *z = (zip_writer){0};
    return file_writer_begin(&z->file, path, err);
}

dt_status zip_writer_write(void *zip_writer_, const void *data, size_t size, dt_error *err)
{
    zip_writer *z = zip_writer_;
    if (file_writer_write(&z->file, data, size, err) != DT_OK) forget(z);
    z->at += size;
    return err->status;
}

static zip_written *new_record(zip_writer *z, const char *name)
{
    if (z->count == z->room) {
        size_t room = 2 * z->room + 64;
        zip_written *grown = reallocarray(z->records, room, sizeof *grown);
        if (!grown) return NULL;
        z->records = grown;
        z->room = room;
    }
    z->records[z->count] = (zip_written){.name = strdup(name), .header = z->at};
    return z->records[z->count].name ? &z->records[z->count++] : NULL;
}

dt_status zip_writer_record(zip_writer *z, const char *name, uint64_t size, uint32_t checksum, dt_error *err)
{
    header h;
    zip_written *r = strlen(name) <= NAME_MAX_BYTES ? new_record(z, name) : NULL;
    if (!r) {
        error_set(err, DT_ERR_MEMORY, "cannot write %s: no memory for the record %.100s", z->file.path, name);
        zip_writer_abort(z);
        return err->status;
    }
    r->size = size;
    r->checksum = checksum;
    local_header(&h, r);
    return zip_writer_write(z, h.bytes, h.size, err);
}

dt_status zip_writer_add(zip_writer *z, const char *name, const void *data, size_t size, dt_error *err)
{
    if (zip_writer_record(z, name, size, zip_checksum(0, data, size), err) != DT_OK) return err->status;
    return zip_writer_write(z, data, size, err);
}

dt_status zip_writer_commit(zip_writer *z, file_hash *hash, dt_error *err)
{
    header h;
    uint64_t directory = z->at;
    for (size_t i = 0; i < z->count; i++) {
        central_header(&h, &z->records[i]);
        if (zip_writer_write(z, h.bytes, h.size, err) != DT_OK) return err->status;
    }
    end_headers(&h, z->count, directory, z->at);
    if (zip_writer_write(z, h.bytes, h.size, err) == DT_OK) file_writer_commit(&z->file, hash, err);
    forget(z);
    return err->status;
}
