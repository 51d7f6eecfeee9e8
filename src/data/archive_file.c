#include "data/archive_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include "file/content.h"

/* ---- packings, read to their ends: libarchive stops at the tar's, and does not look at gzip's checksum ---- */

enum { BLOCK_BYTES = 1 << 18 };

typedef struct packed {
    gzFile gzip;        /* one of the two */
    struct archive *xz; /* whose one entry is what is packed */
    uint8_t block[BLOCK_BYTES];
} packed;

static bool begins_with(const char *path, const void *magic, size_t size)
{
    uint8_t start[8];
    FILE *f = fopen(path, "rb");
    bool same = f && fread(start, 1, size, f) == size && !memcmp(start, magic, size);
    if (f) fclose(f);
    return same;
}

static const char *packed_error(const packed *p)
{
    int code;
    const char *why = p->xz ? archive_error_string(p->xz) : gzerror(p->gzip, &code);
    return why ? why : "unknown error";
}

/* Unpacked bytes; 0 at a sound end, -1 after damage. */
static la_ssize_t read_packed(packed *p)
{
    int code = Z_OK;
    if (p->xz) {
        const la_ssize_t got = archive_read_data(p->xz, p->block, BLOCK_BYTES);
        return got < 0 ? -1 : got;
    }
    const int n = gzread(p->gzip, p->block, BLOCK_BYTES);
    if (n == 0) gzerror(p->gzip, &code);
    return n == 0 && code != Z_OK && code != Z_STREAM_END ? -1 : n;
}

static la_ssize_t read_block(struct archive *archive, void *user, const void **block)
{
    packed *p = user;
    const la_ssize_t n = read_packed(p);
    *block = p->block;
    if (n < 0) archive_set_error(archive, EINVAL, "%s: %s", p->xz ? "xz" : "gzip", packed_error(p));
    return n < 0 ? ARCHIVE_FATAL : n;
}

static bool open_xz(packed *p, const char *path)
{
    struct archive_entry *entry;
    p->xz = archive_read_new();
    if (!p->xz) return false;
    archive_read_support_filter_xz(p->xz);
    archive_read_support_format_raw(p->xz);
    return archive_read_open_filename(p->xz, path, BLOCK_BYTES) == ARCHIVE_OK &&
           archive_read_next_header(p->xz, &entry) == ARCHIVE_OK;
}

static int open_packed(archive_file *a, bool xz)
{
    packed *p = a->packed = calloc(1, sizeof *p);
    if (!p) return ARCHIVE_FATAL;
    if (!xz) p->gzip = gzopen(a->path, "rb");
    if (xz ? !open_xz(p, a->path) : !p->gzip) {
        archive_set_error(a->archive, EINVAL, "%s", xz && p->xz ? packed_error(p) : strerror(errno));
        return ARCHIVE_FATAL;
    }
    if (!xz) gzbuffer(p->gzip, BLOCK_BYTES);
    return archive_read_open(a->archive, p, NULL, read_block, NULL);
}

static void close_packed(packed *p)
{
    if (!p) return;
    if (p->gzip) gzclose(p->gzip);
    if (p->xz) archive_read_free(p->xz);
    free(p);
}

/* What stands behind the tar's own end. */
static dt_status check_rest(archive_file *a, dt_error *err)
{
    la_ssize_t n = 1;
    while (a->packed && n > 0) n = read_packed(a->packed);
    if (n >= 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: not a sound tar archive: %s: %s", a->path, a->packed->xz ? "xz" : "gzip",
                     packed_error(a->packed));
}

/* ---- archives ---- */

static dt_status failure(archive_file *a, dt_error *err)
{
    const char *why = a->archive ? archive_error_string(a->archive) : NULL;
    if (!a->archive || archive_errno(a->archive) == ENOMEM)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", a->path);
    return error_set(err, DT_ERR_FORMAT, "%s: not a readable tar or zip archive: %s", a->path,
                     why ? why : "unknown error");
}

void archive_file_close(archive_file *a)
{
    if (a->archive) archive_read_free(a->archive);
    close_packed(a->packed);
    if (a->utf8) freelocale(a->utf8);
    *a = (archive_file){0};
}

dt_status archive_file_open(archive_file *a, const char *path, dt_error *err)
{
    *a = (archive_file){.path = path};
    if (file_check_content(path, err) != DT_OK) return err->status; /* libarchive does not say why it fails */
    a->archive = archive_read_new();
    if (!a->archive) return failure(a, err);
    const bool gzip = begins_with(path, "\x1f\x8b", 2), xz = begins_with(path, "\xfd\x37zXZ", 5);
    if (begins_with(path, "PK", 2)) {
        a->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        archive_read_support_format_zip_seekable(a->archive);
    } else {
        archive_read_support_format_tar(a->archive);
    }
    const int code = gzip || xz ? open_packed(a, xz) : archive_read_open_filename(a->archive, path, BLOCK_BYTES);
    return code == ARCHIVE_OK ? DT_OK : failure(a, err);
}

/* The plain name fails where the archive says UTF-8 and the locale cannot show it. */
static const char *entry_name(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    if (!name) name = archive_entry_pathname_utf8(entry);
    return name ? name : "";
}

/* Other packings are libraries of their own, some of which take what memory a file asks for. libarchive tells a file's packing
 * in the name of the format. */
static bool is_foreign_packing(struct archive *archive)
{
    const char *format = archive_format_name(archive);
    return (archive_format(archive) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_ZIP && format &&
           !strstr(format, "(uncompressed)") && !strstr(format, "(deflation)");
}

static dt_status next_item(archive_item *item, archive_file *a, dt_error *err)
{
    struct archive_entry *entry;
    *item = (archive_item){0};
    const int code = archive_read_next_header(a->archive, &entry);
    a->position++;
    if (code == ARCHIVE_EOF) return check_rest(a, err);
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) return failure(a, err);
    const mode_t type = archive_entry_filetype(entry);
    if (archive_entry_is_encrypted(entry))
        return error_set(err, DT_ERR_FORMAT, "%s: %s is encrypted; unpack the archive and give the folder", a->path,
                         entry_name(entry));
    *item = (archive_item){.name = entry_name(entry), .size = archive_entry_size(entry), .is_folder = type == AE_IFDIR};
    if (archive_entry_hardlink(entry) || (type != AE_IFREG && type != AE_IFDIR))
        item->trouble = "a link or device inside an archive";
    else if (type == AE_IFREG && is_foreign_packing(a->archive))
        item->trouble = "packed by a method of zip that is not read";
    return DT_OK;
}

/* Of a zip libarchive drops a name that the locale cannot show. */
dt_status archive_file_next(archive_item *item, archive_file *a, dt_error *err)
{
    const locale_t callers = a->utf8 ? uselocale(a->utf8) : (locale_t)0;
    next_item(item, a, err);
    if (callers) uselocale(callers);
    return err->status;
}

/* Of a zip the size that is stated may be too small for what is packed: the end must follow. */
dt_status archive_file_read(uint8_t **data, archive_file *a, size_t size, dt_error *err)
{
    la_ssize_t got = 1;
    size_t at = 0;
    *data = malloc(size + 1);
    if (!*data) return error_set(err, DT_ERR_MEMORY, "%s: no memory for a file of %zu bytes", a->path, size);
    for (; at < size && got > 0; at += got > 0 ? (size_t)got : 0)
        got = archive_read_data(a->archive, *data + at, size - at);
    if (at == size) got = archive_read_data(a->archive, *data + at, 1);
    if (at == size && got == 0) return DT_OK;
    free(*data);
    *data = NULL;
    if (got < 0) return failure(a, err);
    return error_set(err, DT_ERR_FORMAT, "%s: not a sound archive: a file is %s than it says", a->path,
                     got > 0 ? "longer" : "shorter");
}
