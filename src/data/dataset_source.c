#include "data/dataset_source.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include "file/file.h"

enum { FILE_BYTES_MAX = 1 << 30, FILES_MAX = 1 << 26 };

static dt_status no_memory(dt_error *err)
{
    return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
}

/* ---- listing ---- */

/* Copies a path without empty and "." components. */
static char *tidy_name(const char *path)
{
    char *name = malloc(strlen(path) + 1), *end = name;
    while (name && *path) {
        size_t length = strcspn(path, "/");
        if (length > 0 && !(length == 1 && path[0] == '.')) {
            if (end > name) *end++ = '/';
            memcpy(end, path, length);
            end += length;
        }
        path += length + (path[length] == '/');
    }
    if (name) *end = '\0';
    return name;
}

/* What systems and file servers put beside people's files. */
static const char *const system_folders[] = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information",
                                             "lost+found"};
static const char *const system_files[] = {".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini"};

static bool is_one_of(const char *const names[], size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == length && !strncasecmp(names[i], name, length)) return true;
    return false;
}

/* Why a folder of that name is passed over, or NULL. */
static const char *why_not_folder(const char *name, size_t length)
{
    if (is_one_of(system_folders, sizeof system_folders / sizeof *system_folders, name, length))
        return "a folder of the operating system";
    return name[0] == '.' ? "a hidden folder" : NULL;
}

/* The same for a file. "._cat.png" holds what macOS knows of cat.png. */
static const char *why_not_file(const char *name)
{
    if (!strncmp(name, "._", 2) ||
        is_one_of(system_files, sizeof system_files / sizeof *system_files, name, strlen(name)))
        return "a file of the operating system";
    return image_has_extension(name) ? NULL : "not a " IMAGE_EXTENSIONS " file";
}

/* Length of `name` up to the end of its first folder that is passed over, 0 if none; a last component counts if it is a
 * folder. */
static size_t hidden_length(const char **why, const char *name, bool is_folder)
{
    for (const char *part = name; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
        size_t length = strcspn(part, "/");
        *why = part[length] == '/' || is_folder ? why_not_folder(part, length) : NULL;
        if (*why) return (size_t)(part - name) + length;
    }
    return 0;
}

static dt_status note_hidden(dataset_report *report, char *name, size_t length, const char *why, dt_error *err)
{
    name[length] = '\0';
    int64_t last = report->skip_count - 1;
    bool known = last >= 0 && strcmp(report->skip[last].file, name) == 0; /* once, not for each file inside */
    return known ? DT_OK : report_skip(report, name, why, err);
}

static dt_status add_folder(source *s, char *name, dt_error *err)
{
    char **folder = grow_array(s->folder, s->folder_count, sizeof *folder);
    if (!folder) {
        free(name);
        return no_memory(err);
    }
    s->folder = folder;
    folder[s->folder_count++] = name;
    return DT_OK;
}

static dt_status add_file(source *s, char *name, int64_t ordinal, dt_error *err)
{
    source_file *file = s->file_count < FILES_MAX ? grow_array(s->file, s->file_count, sizeof *file) : NULL;
    if (!file) {
        free(name);
        return no_memory(err);
    }
    s->file = file;
    file[s->file_count++] = (source_file){name, ordinal, 0};
    return DT_OK;
}

/* Takes one thing that was found into the lists. `trouble` says why it cannot be read, or is NULL. */
static dt_status add_entry(source *s, dataset_report *report, const char *path, int64_t ordinal, bool is_folder,
                           const char *trouble, dt_error *err)
{
    char *name = tidy_name(path);
    if (!name) return no_memory(err);
    if (!strcmp(name, DATASET_DESCRIPTION) || !strcmp(name, FILE_LOCK_NAME)) return free(name), DT_OK;
    const char *why, *last = file_base_name(name);
    size_t hidden = hidden_length(&why, name, is_folder);
    if (hidden == 0) why = trouble || is_folder ? trouble : why_not_file(last);
    if (!why && is_folder) return add_folder(s, name, err);
    if (!why) return add_file(s, name, ordinal, err);
    dt_status status = hidden > 0 ? note_hidden(report, name, hidden, why, err) : report_skip(report, name, why, err);
    free(name);
    return status;
}

static dt_status add_folder_entry(source *s, dataset_report *report, FTS *walk, FTSENT *entry, dt_error *err)
{
    const char *name = entry->fts_path + strlen(s->path);
    switch (entry->fts_info) {
    case FTS_DP: return DT_OK; /* a folder on the way back */
    case FTS_D:
        if (entry->fts_level == 0) return DT_OK;
        if (why_not_folder(entry->fts_name, strlen(entry->fts_name))) fts_set(walk, entry, FTS_SKIP);
        return add_entry(s, report, name, s->file_count, true, NULL, err);
    case FTS_F: return add_entry(s, report, name, s->file_count, false, NULL, err);
    case FTS_DC: return add_entry(s, report, name, 0, false, "a link back to a folder above it", err);
    case FTS_SLNONE: return add_entry(s, report, name, 0, false, "a link to nothing", err);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS: errno = entry->fts_errno; return error_set_errno(err, "%s", entry->fts_path);
    default: return add_entry(s, report, name, 0, false, "not a regular file", err);
    }
}

static dt_status list_folder(source *s, dataset_report *report, dt_error *err)
{
    char *roots[] = {s->path, NULL};
    FTS *walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    if (!walk) return error_set_errno(err, "%s", s->path);
    dt_status status = DT_OK;
    FTSENT *entry;
    errno = 0;
    while (status == DT_OK && (entry = fts_read(walk))) {
        status = add_folder_entry(s, report, walk, entry, err);
        errno = 0;
    }
    if (status == DT_OK && errno != 0) status = error_set_errno(err, "%s", s->path);
    fts_close(walk);
    return status;
}

/* ---- gzip, unpacked by zlib: libarchive does not look at the checksum ---- */

enum { BLOCK_BYTES = 1 << 18 };

typedef struct packed {
    gzFile file;
    uint8_t block[BLOCK_BYTES];
} packed;

static bool is_gzip(const char *path)
{
    uint8_t start[2] = {0};
    FILE *f = fopen(path, "rb");
    bool magic = f && fread(start, 1, 2, f) == 2 && start[0] == 0x1f && start[1] == 0x8b;
    if (f) fclose(f);
    return magic;
}

/* Unpacked bytes; 0 at a sound end, -1 after damage. */
static int read_packed(packed *p)
{
    int code = Z_OK, n = gzread(p->file, p->block, BLOCK_BYTES);
    if (n == 0) gzerror(p->file, &code);
    return n == 0 && code != Z_OK && code != Z_STREAM_END ? -1 : n;
}

static la_ssize_t read_block(struct archive *archive, void *user, const void **block)
{
    packed *p = user;
    int code, n = read_packed(p);
    *block = p->block;
    if (n < 0) archive_set_error(archive, EINVAL, "gzip: %s", gzerror(p->file, &code));
    return n < 0 ? ARCHIVE_FATAL : n;
}

static int open_packed(source *s)
{
    s->packed = malloc(sizeof *s->packed);
    if (s->packed) s->packed->file = gzopen(s->path, "rb");
    if (!s->packed || !s->packed->file) return ARCHIVE_FATAL;
    gzbuffer(s->packed->file, BLOCK_BYTES);
    return archive_read_open(s->archive, s->packed, NULL, read_block, NULL);
}

static void close_packed(source *s)
{
    if (s->packed && s->packed->file) gzclose(s->packed->file);
    free(s->packed);
    s->packed = NULL;
}

/* The checksum stands behind the last byte, which may be behind the tar's own end. */
static dt_status check_rest(source *s, dt_error *err)
{
    int n = 1, code;
    while (s->packed && n > 0) n = read_packed(s->packed);
    if (n >= 0) return DT_OK;
    return error_set(err, DT_ERR_FORMAT, "%s: not a sound tar archive: gzip: %s", s->path,
                     gzerror(s->packed->file, &code));
}

/* ---- tar ---- */

static dt_status archive_failure(source *s, dt_error *err)
{
    const char *why = s->archive ? archive_error_string(s->archive) : "no memory";
    return error_set(err, DT_ERR_FORMAT, "%s: not a readable tar archive: %s", s->path, why ? why : "unknown error");
}

static void close_archive(source *s)
{
    if (s->archive) archive_read_free(s->archive);
    s->archive = NULL;
    close_packed(s);
}

static dt_status open_archive(source *s, dt_error *err)
{
    close_archive(s);
    if (file_check_content(s->path, err) != DT_OK) return err->status; /* libarchive does not say why it fails */
    s->position = 0;
    s->archive = archive_read_new();
    if (!s->archive) return archive_failure(s, err);
    archive_read_support_filter_xz(s->archive);
    archive_read_support_format_tar(s->archive);
    int code = is_gzip(s->path) ? open_packed(s) : archive_read_open_filename(s->archive, s->path, BLOCK_BYTES);
    return code == ARCHIVE_OK ? DT_OK : archive_failure(s, err);
}

/* *entry is NULL at the end. */
static dt_status next_entry(struct archive_entry **entry, source *s, dt_error *err)
{
    int code = archive_read_next_header(s->archive, entry);
    if (code == ARCHIVE_EOF) *entry = NULL;
    if (code != ARCHIVE_EOF && code != ARCHIVE_OK && code != ARCHIVE_WARN) return archive_failure(s, err);
    s->position++;
    return DT_OK;
}

/* The plain name fails where the tar says UTF-8 and the locale cannot show it. */
static const char *entry_name(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    if (!name) name = archive_entry_pathname_utf8(entry);
    return name ? name : "";
}

static dt_status list_archive(source *s, dataset_report *report, dt_error *err)
{
    dt_status status = open_archive(s, err);
    while (status == DT_OK) {
        struct archive_entry *entry;
        status = next_entry(&entry, s, err);
        if (status != DT_OK || !entry) break;
        mode_t type = archive_entry_filetype(entry);
        bool link = archive_entry_hardlink(entry) != NULL;
        const char *trouble = link || (type != AE_IFREG && type != AE_IFDIR) ? "a link or device inside a tar" : NULL;
        status = add_entry(s, report, entry_name(entry), s->position - 1, type == AE_IFDIR, trouble, err);
    }
    if (status == DT_OK) status = check_rest(s, err);
    close_archive(s);
    return status;
}

/* ---- opening and reading ---- */

/* Parts "set.tar:val" where no file of that whole name exists. */
static dt_status part_path(source *s, struct stat *info, const char *path, dt_error *err)
{
    if (strlen(path) >= sizeof s->path) return error_set(err, DT_ERR_ARG, "the path %s is too long", path);
    strcpy(s->path, path);
    if (stat(s->path, info) == 0) return DT_OK;
    int first_errno = errno;
    char *colon = strrchr(s->path, ':');
    if (colon && strlen(colon + 1) < sizeof s->split) {
        *colon = '\0';
        strcpy(s->split, colon + 1);
        if (stat(s->path, info) == 0) return DT_OK;
    }
    errno = first_errno;
    return error_set_errno(err, "image data %s", path);
}

dt_status source_open(source *s, dataset_report *report, const char *path, dt_error *err)
{
    *s = (source){0};
    struct stat info;
    dt_status status = part_path(s, &info, path, err);
    if (status != DT_OK) return status;
    s->is_archive = S_ISREG(info.st_mode);
    if (!s->is_archive && !S_ISDIR(info.st_mode)) {
        return error_set(err, DT_ERR_FORMAT, "image data %s: neither a folder nor a tar file", path);
    }
    return s->is_archive ? list_archive(s, report, err) : list_folder(s, report, err);
}

void source_close(source *s)
{
    close_archive(s);
    for (int64_t i = 0; i < s->file_count; i++) free(s->file[i].name);
    for (int64_t i = 0; i < s->folder_count; i++) free(s->folder[i]);
    free(s->file);
    free(s->folder);
    *s = (source){0};
}

static dt_status read_from_folder(uint8_t **data, size_t *size, char **reason, source *s, const char *name,
                                  dt_error *err)
{
    size_t length = strlen(s->path) + strlen(name) + 2;
    char *path = malloc(length), *bytes = NULL;
    if (!path) return no_memory(err);
    snprintf(path, length, "%s/%s", s->path, name);
    dt_error trouble = {0};
    dt_status status = file_read_all(&bytes, size, path, FILE_BYTES_MAX, &trouble);
    free(path);
    if (status == DT_ERR_MEMORY) return error_set(err, status, "%s", trouble.message);
    if (status == DT_OK) {
        *data = (uint8_t *)bytes;
        return DT_OK;
    }
    *reason = strdup(trouble.message);
    return *reason ? DT_OK : no_memory(err);
}

static dt_status read_entry(uint8_t **data, size_t *size, source *s, size_t bytes, dt_error *err)
{
    *data = malloc(bytes + 1);
    if (!*data) return no_memory(err);
    for (*size = 0; *size < bytes;) {
        la_ssize_t got = archive_read_data(s->archive, *data + *size, bytes - *size);
        if (got <= 0) {
            free(*data);
            *data = NULL;
            return archive_failure(s, err);
        }
        *size += (size_t)got;
    }
    return DT_OK;
}

static dt_status read_from_archive(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file,
                                   dt_error *err)
{
    dt_status status = s->archive ? DT_OK : open_archive(s, err);
    struct archive_entry *entry = NULL;
    while (status == DT_OK && s->position <= file->ordinal) {
        status = next_entry(&entry, s, err);
        if (status == DT_OK && !entry) break;
    }
    if (status != DT_OK) return status;
    char *name = entry ? tidy_name(entry_name(entry)) : NULL;
    bool same = name && strcmp(name, file->name) == 0;
    free(name);
    if (!same) return error_set(err, DT_ERR_FORMAT, "%s: changed while it was being read", s->path);
    int64_t bytes = archive_entry_size(entry);
    if (bytes >= 0 && bytes <= FILE_BYTES_MAX) return read_entry(data, size, s, (size_t)bytes, err);
    *reason = strdup("larger than 1 GiB");
    return *reason ? DT_OK : no_memory(err);
}

dt_status source_read(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file, dt_error *err)
{
    *data = NULL;
    *reason = NULL;
    *size = 0;
    if (s->is_archive) return read_from_archive(data, size, reason, s, file, err);
    return read_from_folder(data, size, reason, s, file->name, err);
}
