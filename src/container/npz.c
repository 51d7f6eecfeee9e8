#include "container/npz.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "file/content.h"
#include "file/file.h"

enum { PREFIX_BYTES = 10, HEADER_MAX = 65536, HEADER_ALIGNMENT = 64, READ_BLOCK_BYTES = 1 << 17 };

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

static const struct {
    const char *name;
    int64_t bytes;
} dtypes[NPZ_DTYPE_COUNT] = {
    [NPZ_F64] = {"<f8", 8}, [NPZ_F32] = {"<f4", 4}, [NPZ_I64] = {"<i8", 8},
    [NPZ_I32] = {"<i4", 4}, [NPZ_U8] = {"|u1", 1},
};

/* ---- the dictionary of an npy header: a Python literal with exactly descr, fortran_order and shape ---- */

typedef struct cursor {
    const char *at; /* in a text that ends with a zero byte */
} cursor;

static bool take(cursor *c, const char *token)
{
    while (*c->at == ' ') c->at++;
    size_t length = strlen(token);
    if (strncmp(c->at, token, length) != 0) return false;
    c->at += length;
    return true;
}

static bool take_size(cursor *c, int64_t *value)
{
    while (*c->at == ' ') c->at++;
    if (*c->at < '0' || *c->at > '9') return false;
    char *end;
    errno = 0;
    *value = strtoll(c->at, &end, 10);
    c->at = end;
    return errno == 0;
}

static bool take_shape(cursor *c, npz_array *a)
{
    if (!take(c, "(")) return false;
    for (a->dim_count = 0; !take(c, ")"); a->dim_count++) {
        if (a->dim_count == NPZ_DIM_MAX || !take_size(c, &a->dims[a->dim_count])) return false;
        if (!take(c, ",")) return take(c, ")") && ++a->dim_count > 1; /* a tuple of one needs its comma */
    }
    return true;
}

static bool take_dtype(cursor *c, npz_array *a)
{
    for (a->dtype = 0; a->dtype < NPZ_DTYPE_COUNT; a->dtype++) {
        char quoted[8];
        snprintf(quoted, sizeof quoted, "'%s'", dtypes[a->dtype].name);
        if (take(c, quoted)) return true;
    }
    return false;
}

static dt_status parse_dictionary(npz_array *a, const char *text, const char *path, dt_error *err)
{
    cursor c = {text};
    int descr = 0, order = 0, shape = 0;
    bool valid = take(&c, "{"), supported = true;
    while (valid && supported && !take(&c, "}")) {
        if (take(&c, "'descr':") && ++descr)
            supported = take_dtype(&c, a);
        else if (take(&c, "'fortran_order':") && ++order)
            supported = take(&c, "False");
        else if (take(&c, "'shape':") && ++shape)
            valid = take_shape(&c, a);
        else
            valid = false;
        take(&c, ",");
    }
    if (!supported)
        return error_set(err, DT_ERR_UNSUPPORTED,
                         "%s: array %s: %.80s: expected little-endian f8, f4, i8, i4 or u1 in C order", path, a->name,
                         text);
    if (!valid || descr != 1 || order != 1 || shape != 1 || *c.at != '\0')
        return error_set(err, DT_ERR_FORMAT, "%s: array %s: its npy header is malformed: %.80s", path, a->name, text);
    return DT_OK;
}

/* False when the size in bytes does not fit 63 bits. */
static bool size_in_bytes(int64_t *bytes, const npz_array *a)
{
    *bytes = dtypes[a->dtype].bytes;
    for (int i = 0; i < a->dim_count; i++)
        if (a->dims[i] < 0 || __builtin_mul_overflow(*bytes, a->dims[i], bytes)) return false;
    return true;
}

/* ---- reading ---- */

typedef struct reader {
    struct archive *archive;
    const char *path;
    int64_t bytes_left; /* of the caller's limit */
} reader;

static dt_status archive_failed(const reader *r, dt_error *err)
{
    const char *why = archive_error_string(r->archive);
    if (archive_errno(r->archive) == ENOMEM) return error_set(err, DT_ERR_MEMORY, "no memory to read %s", r->path);
    return error_set(err, DT_ERR_FORMAT, "%s is not a sound npz file: %s", r->path, why ? why : "not a zip");
}

static dt_status read_bytes(reader *r, void *data, int64_t size, const npz_array *a, dt_error *err)
{
    int64_t done = 0;
    while (done < size) {
        la_ssize_t n = archive_read_data(r->archive, (char *)data + done, (size_t)(size - done));
        if (n < 0) return archive_failed(r, err);
        if (n == 0) return error_set(err, DT_ERR_FORMAT, "%s: array %s is cut off", r->path, a->name);
        done += n;
    }
    return DT_OK;
}

/* Magic, version, header length and dictionary; *header_bytes is the size of all that. */
static dt_status read_header(int64_t *header_bytes, npz_array *a, reader *r, dt_error *err)
{
    unsigned char prefix[PREFIX_BYTES + 2];
    if (read_bytes(r, prefix, PREFIX_BYTES, a, err) != DT_OK) return err->status;
    int version = prefix[6], length = prefix[8] | prefix[9] << 8, prefix_bytes = PREFIX_BYTES;
    if (memcmp(prefix, magic, sizeof magic) != 0 || version < 1 || version > 3)
        return error_set(err, DT_ERR_FORMAT, "%s: array %s is not in npy format 1 to 3", r->path, a->name);
    if (version > 1) { /* the length has four bytes */
        if (read_bytes(r, prefix + PREFIX_BYTES, 2, a, err) != DT_OK) return err->status;
        prefix_bytes += 2;
        if (prefix[10] || prefix[11]) length = HEADER_MAX;
    }
    if (length >= HEADER_MAX)
        return error_set(err, DT_ERR_FORMAT, "%s: array %s: npy header longer than %d bytes", r->path, a->name,
                         HEADER_MAX);
    *header_bytes = prefix_bytes + length;
    char text[HEADER_MAX];
    if (read_bytes(r, text, length, a, err) != DT_OK) return err->status;
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) length--; /* padding */
    text[length] = '\0';
    return parse_dictionary(a, text, r->path, err);
}

/* The zip directory states a size, the npy header another; they must agree before memory is taken. */
static dt_status read_array(npz_array *a, reader *r, int64_t stated, dt_error *err)
{
    int64_t header_bytes, bytes;
    char extra;
    if (read_header(&header_bytes, a, r, err) != DT_OK) return err->status;
    if (!size_in_bytes(&bytes, a) || stated < header_bytes || bytes != stated - header_bytes)
        return error_set(err, DT_ERR_FORMAT, "%s: array %s: %lld bytes in the zip do not fit its shape", r->path,
                         a->name, (long long)stated);
    if (bytes > r->bytes_left)
        return error_set(err, DT_ERR_FORMAT, "%s: array %s has %lld bytes, at most %lld are expected", r->path, a->name,
                         (long long)bytes, (long long)r->bytes_left);
    r->bytes_left -= bytes;
    void *data = malloc((size_t)bytes + 1);
    if (!data) return error_set(err, DT_ERR_MEMORY, "no memory for array %s of %s", a->name, r->path);
    a->data = data;
    if (read_bytes(r, data, bytes, a, err) != DT_OK) return err->status;
    if (archive_read_data(r->archive, &extra, 1) != 0) return archive_failed(r, err); /* also checks the CRC */
    return DT_OK;
}

static dt_status reader_open(reader *r, const char *path, int64_t byte_limit, dt_error *err)
{
    *r = (reader){.path = path, .bytes_left = byte_limit};
    if (file_check_content(path, err) != DT_OK) return err->status; /* libarchive does not say why it fails */
    r->archive = archive_read_new();
    if (!r->archive) return error_set(err, DT_ERR_MEMORY, "no memory to read %s", path);
    int status = archive_read_support_format_zip_seekable(r->archive);
    if (status == ARCHIVE_OK) status = archive_read_open_filename(r->archive, path, READ_BLOCK_BYTES);
    return status == ARCHIVE_OK ? DT_OK : archive_failed(r, err);
}

static void reader_close(reader *r)
{
    if (r->archive) archive_read_free(r->archive);
    r->archive = NULL;
}

/* Goes to the next array, whose name and size in bytes (npy header included) are told; false at the end or after a
 * failure. */
static bool next_array(reader *r, npz_array *a, int64_t *stated, dt_error *err)
{
    struct archive_entry *entry;
    *stated = 0;
    int status = err->status == DT_OK ? archive_read_next_header(r->archive, &entry) : ARCHIVE_EOF;
    if (status == ARCHIVE_EOF) return false;
    if (status != ARCHIVE_OK) return archive_failed(r, err) == DT_OK;
    const char *name = archive_entry_pathname(entry);
    size_t length = name ? strlen(name) : 0;
    *a = (npz_array){0};
    if (length < 5 || length - 4 >= NPZ_NAME_MAX || strcmp(name + length - 4, ".npy") != 0)
        error_set(err, DT_ERR_FORMAT, "%s: member %.100s, expected a name that ends with .npy", r->path,
                  name ? name : "without a name");
    else
        memcpy(a->name, name, length - 4);
    if (err->status == DT_OK && (!archive_entry_size_is_set(entry) || archive_entry_filetype(entry) != AE_IFREG))
        error_set(err, DT_ERR_FORMAT, "%s: array %s has no size", r->path, a->name);
    *stated = archive_entry_size(entry);
    return err->status == DT_OK;
}

static dt_status keep_array(npz *z, reader *r, const npz_array *a, int64_t stated, dt_error *err)
{
    if (npz_find(z, a->name)) return error_set(err, DT_ERR_FORMAT, "%s: array %s twice", r->path, a->name);
    if (z->count == NPZ_ARRAY_MAX)
        return error_set(err, DT_ERR_FORMAT, "%s: more than %d arrays", r->path, NPZ_ARRAY_MAX);
    z->arrays[z->count] = *a;
    return read_array(&z->arrays[z->count++], r, stated, err);
}

static bool among(const char *const names[], const char *name)
{
    while (*names && strcmp(*names, name) != 0) names++;
    return *names;
}

dt_status npz_read_some(npz *z, const char *path, const char *const names[], int64_t byte_limit, dt_error *err)
{
    reader r;
    npz_array a;
    int64_t stated;
    z->count = 0;
    if (reader_open(&r, path, byte_limit, err) == DT_OK)
        while (next_array(&r, &a, &stated, err))
            if (!names || among(names, a.name)) keep_array(z, &r, &a, stated, err);
    reader_close(&r);
    if (err->status != DT_OK) npz_free(z);
    return err->status;
}

dt_status npz_read(npz *z, const char *path, int64_t byte_limit, dt_error *err)
{
    return npz_read_some(z, path, NULL, byte_limit, err);
}

dt_status npz_has(bool *has, const char *path, const char *name, dt_error *err)
{
    reader r;
    npz_array a;
    int64_t stated;
    *has = false;
    if (reader_open(&r, path, 0, err) == DT_OK)
        while (!*has && next_array(&r, &a, &stated, err)) *has = !strcmp(a.name, name);
    reader_close(&r);
    return err->status;
}

dt_status npz_stream_open(npz_stream *s, const char *path, const char *name, dt_error *err)
{
    reader r;
    int64_t stated = 0, header_bytes;
    *s = (npz_stream){0};
    snprintf(s->path, sizeof s->path, "%s", path);
    if (reader_open(&r, s->path, 0, err) == DT_OK) {
        bool found = false;
        while (!found && next_array(&r, &s->array, &stated, err)) found = !strcmp(s->array.name, name);
        if (err->status == DT_OK && !found)
            error_set(err, DT_ERR_FORMAT, "%s: array %s expected, found none", path, name);
    }
    if (err->status == DT_OK && read_header(&header_bytes, &s->array, &r, err) == DT_OK &&
        (!size_in_bytes(&s->bytes_left, &s->array) || s->bytes_left != stated - header_bytes))
        error_set(err, DT_ERR_FORMAT, "%s: array %s: %lld bytes in the zip do not fit its shape", path, name,
                  (long long)stated);
    s->archive = r.archive;
    if (err->status != DT_OK) npz_stream_close(s);
    return err->status;
}

dt_status npz_stream_read(npz_stream *s, void *out, int64_t bytes, dt_error *err)
{
    reader r = {.archive = s->archive, .path = s->path};
    char extra;
    if (bytes > s->bytes_left)
        return error_set(err, DT_ERR_FORMAT, "%s: array %s has no more data", s->path, s->array.name);
    if (read_bytes(&r, out, bytes, &s->array, err) != DT_OK) return err->status;
    s->bytes_left -= bytes;
    if (s->bytes_left == 0 && archive_read_data(s->archive, &extra, 1) != 0) return archive_failed(&r, err); /* CRC */
    return DT_OK;
}

void npz_stream_close(npz_stream *s)
{
    if (s->archive) archive_read_free(s->archive);
    *s = (npz_stream){0};
}

void npz_free(npz *z)
{
    for (size_t i = 0; i < z->count; i++) free((void *)z->arrays[i].data);
    z->count = 0;
}

const npz_array *npz_find(const npz *z, const char *name)
{
    for (size_t i = 0; i < z->count; i++)
        if (strcmp(z->arrays[i].name, name) == 0) return &z->arrays[i];
    return NULL;
}

int64_t npz_count(const npz_array *a)
{
    int64_t count = 1;
    for (int i = 0; i < a->dim_count; i++) count *= a->dims[i];
    return count;
}

void npz_to_f64(double *out, const npz_array *a)
{
    int64_t count = npz_count(a);
    for (int64_t i = 0; i < count; i++) switch (a->dtype) {
        case NPZ_F64: out[i] = ((const double *)a->data)[i]; break;
        case NPZ_F32: out[i] = ((const float *)a->data)[i]; break;
        case NPZ_I64: out[i] = (double)((const int64_t *)a->data)[i]; break;
        case NPZ_I32: out[i] = ((const int32_t *)a->data)[i]; break;
        default: out[i] = ((const uint8_t *)a->data)[i]; break;
        }
}

/* ---- writing ---- */

static la_ssize_t take_bytes(struct archive *archive, void *user, const void *data, size_t size)
{
    npz_writer *w = user;
    (void)archive;
    return file_writer_write(&w->file, data, size, &w->why) == DT_OK ? (la_ssize_t)size : -1;
}

/* Prefix and dictionary, padded with spaces so that the data begins at a multiple of 64. */
static int make_header(char out[512], const npz_array *a)
{
    char shape[NPZ_DIM_MAX * 24];
    int used = 0;
    shape[0] = '\0';
    for (int i = 0; i < a->dim_count; i++)
        used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%lld%s", i ? " " : "", (long long)a->dims[i],
                         i + 1 < a->dim_count || a->dim_count == 1 ? "," : "");
    int length = PREFIX_BYTES + snprintf(out + PREFIX_BYTES, 512 - PREFIX_BYTES,
                                         "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                                         dtypes[a->dtype].name, shape);
    int total = (length + 1 + HEADER_ALIGNMENT - 1) / HEADER_ALIGNMENT * HEADER_ALIGNMENT;
    memset(out + length, ' ', (size_t)(total - length));
    out[total - 1] = '\n';
    memcpy(out, magic, sizeof magic);
    out[6] = 1;
    out[7] = 0;
    out[8] = (char)((total - PREFIX_BYTES) & 0xff);
    out[9] = (char)((total - PREFIX_BYTES) >> 8);
    return total;
}

/* After a failure of libarchive: tells why and drops the file. `made` is false where it could not make something. */
static dt_status writer_failed(npz_writer *w, bool made, dt_error *err)
{
    const char *why = w->archive ? archive_error_string(w->archive) : NULL;
    if (w->why.status != DT_OK)
        *err = w->why;
    else if (!w->archive || !made || archive_errno(w->archive) == ENOMEM)
        error_set(err, DT_ERR_MEMORY, "no memory to write %s", w->file.path);
    else
        error_set(err, DT_ERR_IO, "cannot write %s: %s", w->file.path, why ? why : "an array has no size");
    npz_writer_abort(w);
    return err->status;
}

dt_status npz_writer_begin(npz_writer *w, const char *path, dt_error *err)
{
    *w = (npz_writer){.file.fd = -1};
    if (file_writer_begin(&w->file, path, err) != DT_OK) return err->status;
    w->archive = archive_write_new();
    bool sound = w->archive && archive_write_set_format_zip(w->archive) == ARCHIVE_OK &&
                 archive_write_zip_set_compression_store(w->archive) == ARCHIVE_OK &&
                 archive_write_set_bytes_in_last_block(w->archive, 1) == ARCHIVE_OK &&
                 archive_write_open(w->archive, w, NULL, take_bytes, NULL) == ARCHIVE_OK;
    return sound ? DT_OK : writer_failed(w, true, err);
}

dt_status npz_writer_array(npz_writer *w, const npz_array *a, dt_error *err)
{
    char header[512], name[NPZ_NAME_MAX + 4];
    int64_t bytes;
    int header_bytes = make_header(header, a);
    if (!size_in_bytes(&bytes, a)) return writer_failed(w, true, err);
    struct archive_entry *entry = archive_entry_new();
    if (!entry) return writer_failed(w, false, err);
    snprintf(name, sizeof name, "%s.npy", a->name);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, header_bytes + bytes);
    bool written = archive_write_header(w->archive, entry) == ARCHIVE_OK &&
                   archive_write_data(w->archive, header, (size_t)header_bytes) == header_bytes;
    archive_entry_free(entry);
    w->bytes_left = bytes;
    if (!written) return writer_failed(w, true, err);
    return a->data ? npz_writer_data(w, a->data, bytes, err) : DT_OK;
}

dt_status npz_writer_data(npz_writer *w, const void *data, int64_t bytes, dt_error *err)
{
    if (bytes > w->bytes_left) return writer_failed(w, true, err);
    w->bytes_left -= bytes;
    bool written = bytes == 0 || archive_write_data(w->archive, data, (size_t)bytes) == bytes;
    return written ? DT_OK : writer_failed(w, true, err);
}

dt_status npz_writer_commit(npz_writer *w, dt_error *err)
{
    if (w->bytes_left != 0 || archive_write_close(w->archive) != ARCHIVE_OK) return writer_failed(w, true, err);
    archive_write_free(w->archive);
    w->archive = NULL;
    return file_writer_commit(&w->file, NULL, err);
}

void npz_writer_abort(npz_writer *w)
{
    file_writer_abort(&w->file);
    if (w->archive) archive_write_free(w->archive);
    w->archive = NULL;
}

dt_status npz_write(const char *path, const npz_array arrays[], size_t count, dt_error *err)
{
    npz_writer w;
    npz_writer_begin(&w, path, err);
    for (size_t i = 0; i < count && err->status == DT_OK; i++) npz_writer_array(&w, &arrays[i], err);
    return err->status == DT_OK ? npz_writer_commit(&w, err) : err->status;
}
