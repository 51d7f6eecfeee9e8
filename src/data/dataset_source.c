#include "data/dataset_source.h"

#include <ctype.h>
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/text.h"
#include "file/file.h"

enum { FILE_BYTES_MAX = 1 << 30, FILES_MAX = 1 << 26, LABEL_BYTES_MAX = 256 };

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
    if (length == 2 && !strncmp(name, "..", 2)) return "a path that leads out of the archive";
    return name[0] == '.' ? "a hidden folder" : NULL;
}

/* A class of WebDataset's form. */
static bool is_label(const char *name)
{
    return file_has_extension(name, "cls");
}

/* The same for a file. "._cat.png" holds what macOS knows of cat.png. */
static const char *why_not_file(const char *name)
{
    if (!strncmp(name, "._", 2) ||
        is_one_of(system_files, sizeof system_files / sizeof *system_files, name, strlen(name)))
        return "a file of the operating system";
    return is_label(name) || image_has_extension(name) ? NULL : "not a " IMAGE_EXTENSIONS " file";
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
    file[s->file_count++] = (source_file){.name = name, .ordinal = ordinal};
    return DT_OK;
}

/* Its text is filled in by who reads it. */
static dt_status add_label(source *s, char *name, int64_t ordinal, dt_error *err)
{
    source_label *label = s->label_count < FILES_MAX ? grow_array(s->label, s->label_count, sizeof *label) : NULL;
    if (!label) {
        free(name);
        return no_memory(err);
    }
    s->label = label;
    label[s->label_count++] = (source_label){name, NULL, ordinal};
    return DT_OK;
}

/* Gives the latest label the text of its file, without white space around it; where that is no name of a class, the label
 * goes. */
static dt_status fill_label(source *s, dataset_report *report, const char *text, size_t size, dt_error *err)
{
    source_label *label = &s->label[s->label_count - 1];
    while (size > 0 && isspace((unsigned char)*text)) text++, size--;
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    label->text = strndup(text, size);
    if (!label->text) return no_memory(err);
    if (size > 0 && strlen(label->text) == size && text_is_printable(label->text)) return DT_OK;
    const dt_status status = report_skip(report, label->name, "holds no name of a class", err);
    free(label->name);
    free(label->text);
    s->label_count--;
    return status;
}

static dt_status read_label_in_folder(source *s, dataset_report *report, const char *path, dt_error *err)
{
    char *text;
    size_t size = 0;
    dt_error why = {0};
    if (file_read_all(&text, &size, path, LABEL_BYTES_MAX, &why) != DT_OK) return fill_label(s, report, "", 0, err);
    const dt_status status = fill_label(s, report, text, size, err);
    free(text);
    return status;
}

static dt_status read_label_in_archive(source *s, dataset_report *report, int64_t size, dt_error *err)
{
    uint8_t *text;
    if (size < 0 || size > LABEL_BYTES_MAX) return fill_label(s, report, "", 0, err);
    if (archive_file_read(&text, &s->archive, (size_t)size, err) != DT_OK) return err->status;
    const dt_status status = fill_label(s, report, (const char *)text, (size_t)size, err);
    free(text);
    return status;
}

/* Takes one thing that was found into the lists. `trouble` says why it cannot be read, or is NULL. */
static dt_status add_entry(source *s, dataset_report *report, const char *path, int64_t ordinal, bool is_folder,
                           const char *trouble, dt_error *err)
{
    char *name = tidy_name(path);
    if (!name) return no_memory(err);
    if (!strcmp(name, DATASET_DESCRIPTION) || !strcmp(name, DATASET_MAPS) || !strcmp(name, FILE_LOCK_NAME))
        return free(name), DT_OK;
    const char *why, *last = file_base_name(name);
    size_t hidden = hidden_length(&why, name, is_folder);
    if (hidden == 0) why = trouble || is_folder ? trouble : why_not_file(last);
    if (!why && is_folder) return add_folder(s, name, err);
    if (!why) return is_label(last) ? add_label(s, name, ordinal, err) : add_file(s, name, ordinal, err);
    dt_status status = hidden > 0 ? note_hidden(report, name, hidden, why, err) : report_skip(report, name, why, err);
    free(name);
    return status;
}

static dt_status add_folder_entry(source *s, dataset_report *report, FTS *walk, FTSENT *entry, dt_error *err)
{
    const char *name = entry->fts_path + strlen(s->path);
    const int64_t labels = s->label_count;
    switch (entry->fts_info) {
    case FTS_DP: return DT_OK; /* a folder on the way back */
    case FTS_D:
        if (entry->fts_level == 0) return DT_OK;
        if (why_not_folder(entry->fts_name, strlen(entry->fts_name))) fts_set(walk, entry, FTS_SKIP);
        return add_entry(s, report, name, s->file_count, true, NULL, err);
    case FTS_F:
        if (add_entry(s, report, name, s->file_count, false, NULL, err) != DT_OK || s->label_count == labels)
            return err->status;
        return read_label_in_folder(s, report, entry->fts_path, err);
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

/* ---- archives ---- */

static dt_status list_archive(source *s, dataset_report *report, dt_error *err)
{
    archive_item item;
    dt_status status = archive_file_open(&s->archive, s->path, err);
    while (status == DT_OK) {
        const int64_t labels = s->label_count;
        status = archive_file_next(&item, &s->archive, err);
        if (status != DT_OK || !item.name) break;
        const int64_t ordinal = s->archive.position - 1;
        status = add_entry(s, report, item.name, ordinal, item.is_folder, item.trouble, err);
        if (status == DT_OK && s->label_count > labels) status = read_label_in_archive(s, report, item.size, err);
    }
    archive_file_close(&s->archive);
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
        return error_set(err, DT_ERR_FORMAT, "image data %s: neither a folder nor a tar or zip file", path);
    }
    return s->is_archive ? list_archive(s, report, err) : list_folder(s, report, err);
}

void source_close(source *s)
{
    archive_file_close(&s->archive);
    for (int64_t i = 0; i < s->label_count; i++) {
        free(s->label[i].name);
        free(s->label[i].text);
    }
    free(s->label);
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
    if (error_is_of_machine(&trouble)) return error_set(err, status, "%s", trouble.message);
    if (status == DT_OK) {
        *data = (uint8_t *)bytes;
        return DT_OK;
    }
    *reason = strdup(trouble.message);
    return *reason ? DT_OK : no_memory(err);
}

static dt_status read_from_archive(uint8_t **data, size_t *size, char **reason, source *s, const source_file *file,
                                   dt_error *err)
{
    archive_item item = {0};
    dt_status status = s->archive.archive ? DT_OK : archive_file_open(&s->archive, s->path, err);
    while (status == DT_OK && s->archive.position <= file->ordinal) {
        status = archive_file_next(&item, &s->archive, err);
        if (status == DT_OK && !item.name) break;
    }
    if (status != DT_OK) return status;
    char *name = item.name ? tidy_name(item.name) : NULL;
    bool same = name && strcmp(name, file->name) == 0;
    free(name);
    if (!same) return error_set(err, DT_ERR_FORMAT, "%s: changed while it was being read", s->path);
    if (item.size >= 0 && item.size <= FILE_BYTES_MAX) {
        *size = (size_t)item.size;
        return archive_file_read(data, &s->archive, *size, err);
    }
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
