#include "data/dataset_source.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/grow.h"
#include "base/sort.h"
#include "base/text.h"
#include "file/file.h"
#include "file/folder.h"
#include "file/walk.h"

enum { FILE_BYTES_MAX = 1 << 30, FILES_MAX = 1 << 26 };
enum { LABEL_BYTES_MAX = 256, CAPTION_BYTES_MAX = 1 << 20, LIST_BYTES_MAX = 1 << 28 };

/* Lists of captions, by their names. */
static const char *const list_names[] = {"metadata.jsonl", "metadata.csv", "prompt.json"};

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

/* What may hold captions: a list of them, or the text of one picture. */
static bool is_list(const char *name)
{
    return is_one_of(list_names, sizeof list_names / sizeof *list_names, name, strlen(name));
}

static bool is_caption(const char *name)
{
    return is_list(name) || file_has_extension(name, "txt") || file_has_extension(name, "caption") ||
           file_has_extension(name, "json");
}

/* The same for a file. "._cat.png" holds what macOS knows of cat.png. */
static const char *why_not_file(const char *name)
{
    if (!strncmp(name, "._", 2) ||
        is_one_of(system_files, sizeof system_files / sizeof *system_files, name, strlen(name)))
        return "a file of the operating system";
    return is_label(name) || is_caption(name) || image_has_extension(name) ? NULL : "not a " IMAGE_EXTENSIONS " file";
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
static dt_status add_text(source_text **list, int64_t *count, char *name, int64_t ordinal, dt_error *err)
{
    source_text *text = *count < FILES_MAX ? grow_array(*list, *count, sizeof *text) : NULL;
    if (!text) {
        free(name);
        return no_memory(err);
    }
    *list = text;
    text[(*count)++] = (source_text){name, NULL, ordinal, false};
    return DT_OK;
}

/* Gives the latest label the text of its file, without white space around it; where that is no name of a class, the label
 * goes. */
static dt_status fill_label(source *s, dataset_report *report, const char *text, size_t size, dt_error *err)
{
    source_text *label = &s->label[s->label_count - 1];
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

/* The same of the latest caption, whose text stays as it is; one that cannot be text goes. */
static dt_status fill_caption(source *s, dataset_report *report, const char *text, size_t size, const char *trouble,
                              dt_error *err)
{
    source_text *caption = &s->caption[s->caption_count - 1];
    if (!trouble && memchr(text, '\0', size)) trouble = "holds bytes that are no text";
    caption->text = trouble ? NULL : strndup(text, size);
    if (caption->text) return DT_OK;
    if (!trouble) return no_memory(err);
    const dt_status status = report_skip(report, caption->name, trouble, err);
    free(caption->name);
    s->caption_count--;
    return status;
}

/* A text that was just listed. */
typedef struct new_text {
    bool label;
    int64_t most; /* bytes; 0: there is no new text that is to be read */
} new_text;

static new_text latest_text(const source *s, int64_t labels, int64_t captions, bool wanted)
{
    if (s->label_count > labels) return (new_text){true, LABEL_BYTES_MAX};
    if (s->caption_count == captions) return (new_text){0};
    if (source_is_list(&s->caption[captions])) return (new_text){false, LIST_BYTES_MAX};
    return (new_text){false, wanted ? CAPTION_BYTES_MAX : 0};
}

static dt_status fill_text(source *s, dataset_report *report, const new_text *t, const char *text, size_t size,
                           const char *trouble, dt_error *err)
{
    return t->label ? fill_label(s, report, trouble ? "" : text, trouble ? 0 : size, err)
                    : fill_caption(s, report, text, size, trouble, err);
}

static dt_status read_text_in_folder(source *s, dataset_report *report, const new_text *t, const char *path,
                                     dt_error *err)
{
    char *text = NULL;
    size_t size = 0;
    dt_error why = {0};
    file_read_all(&text, &size, path, (size_t)t->most, &why);
    if (error_is_of_machine(&why)) return error_set(err, why.status, "%s", why.message);
    const dt_status status = fill_text(s, report, t, text, size, why.status == DT_OK ? NULL : why.message, err);
    if (why.status == DT_OK) free(text);
    return status;
}

static dt_status read_text_in_archive(source *s, dataset_report *report, const new_text *t, int64_t size, dt_error *err)
{
    uint8_t *text;
    if (size < 0 || size > t->most) return fill_text(s, report, t, "", 0, "too large to be text", err);
    if (archive_file_read(&text, &s->archive, (size_t)size, err) != DT_OK) return err->status;
    const dt_status status = fill_text(s, report, t, (const char *)text, (size_t)size, NULL, err);
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
    if (hidden == 0 && !is_folder && is_label(last) && (!why || trouble)) s->labelled = true;
    if (!why && is_folder) return add_folder(s, name, err);
    if (!why && is_label(last)) return add_text(&s->label, &s->label_count, name, ordinal, err);
    if (!why && is_caption(last)) return add_text(&s->caption, &s->caption_count, name, ordinal, err);
    if (!why) return add_file(s, name, ordinal, err);
    dt_status status = hidden > 0 ? note_hidden(report, name, hidden, why, err) : report_skip(report, name, why, err);
    free(name);
    return status;
}

/* What an entry of a folder is added to. */
typedef struct listing {
    source *source;
    dataset_report *report;
    bool captions; /* are wanted */
} listing;

static dt_status add_folder_entry(void *user, FTS *walk, FTSENT *entry, dt_error *err)
{
    const listing *l = user;
    source *s = l->source;
    const char *name = entry->fts_path + strlen(s->path);
    const int64_t label_count = s->label_count, caption_count = s->caption_count;
    new_text text;
    switch (entry->fts_info) {
    case FTS_DP: return DT_OK; /* a folder on the way back */
    case FTS_D:
        if (entry->fts_level == 0) return DT_OK;
        if (why_not_folder(entry->fts_name, strlen(entry->fts_name))) fts_set(walk, entry, FTS_SKIP);
        return add_entry(s, l->report, name, s->file_count, true, NULL, err);
    case FTS_F:
        if (add_entry(s, l->report, name, s->file_count, false, NULL, err) != DT_OK) return err->status;
        text = latest_text(s, label_count, caption_count, l->captions);
        return text.most ? read_text_in_folder(s, l->report, &text, entry->fts_path, err) : DT_OK;
    case FTS_DC: return add_entry(s, l->report, name, 0, false, "a link back to a folder above it", err);
    case FTS_SLNONE: return add_entry(s, l->report, name, 0, false, "a link to nothing", err);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS: errno = entry->fts_errno; return error_set_errno(err, "%s", entry->fts_path);
    default: return add_entry(s, l->report, name, 0, false, "not a regular file", err);
    }
}

/* ---- archives ---- */

static dt_status list_archive(source *s, dataset_report *report, bool captions, dt_error *err)
{
    archive_item item;
    dt_status status = archive_file_open(&s->archive, s->path, err);
    while (status == DT_OK) {
        const int64_t label_count = s->label_count, caption_count = s->caption_count;
        status = archive_file_next(&item, &s->archive, err);
        if (status != DT_OK || !item.name) break;
        const int64_t ordinal = s->archive.position - 1;
        status = add_entry(s, report, item.name, ordinal, item.is_folder, item.trouble, err);
        if (status != DT_OK) break;
        const new_text text = latest_text(s, label_count, caption_count, captions);
        if (text.most) status = read_text_in_archive(s, report, &text, item.size, err);
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
    const int first_errno = errno;
    const char *word = file_cut_word(s->path);
    if (word && strlen(word) < sizeof s->split && stat(s->path, info) == 0) {
        strcpy(s->split, word);
        return DT_OK;
    }
    errno = first_errno;
    return error_set_errno(err, "image data %s", path);
}

dt_status source_open(source *s, dataset_report *report, const char *path, bool captions, dt_error *err)
{
    *s = (source){0};
    struct stat info;
    dt_status status = part_path(s, &info, path, err);
    if (status != DT_OK) return status;
    s->is_archive = S_ISREG(info.st_mode);
    if (!s->is_archive && !S_ISDIR(info.st_mode)) {
        return error_set(err, DT_ERR_FORMAT, "image data %s: neither a folder nor a tar or zip file", path);
    }
    if (s->is_archive && image_has_extension(s->path))
        return error_set(err, DT_ERR_FORMAT, "image data %s: one picture; give the folder that it is in", path);
    return s->is_archive ? list_archive(s, report, captions, err)
                         : file_walk(s->path, false, add_folder_entry, &(listing){s, report, captions}, err);
}

void source_file_close(source_file *file)
{
    for (int64_t i = 0; i < file->caption_count; i++) free(file->caption[i]);
    free(file->caption);
    free(file->control);
    free(file->name);
    *file = (source_file){0};
}

static void free_texts(source_text *text, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        free(text[i].name);
        free(text[i].text);
    }
    free(text);
}

void source_close(source *s)
{
    archive_file_close(&s->archive);
    free_texts(s->label, s->label_count);
    free_texts(s->caption, s->caption_count);
    for (int64_t i = 0; i < s->file_count; i++) source_file_close(&s->file[i]);
    for (int64_t i = 0; i < s->control_count; i++) source_file_close(&s->control[i]);
    for (int64_t i = 0; i < s->folder_count; i++) free(s->folder[i]);
    free(s->file);
    free(s->control);
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

/* ---- texts of pictures ---- */

bool source_is_list(const source_text *text)
{
    return is_list(file_base_name(text->name));
}

static int compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* Of the name of a text: all before its extension. */
static size_t key_length(const source_text *text)
{
    return (size_t)(strrchr(text->name, '.') - text->name);
}

/* Of one key the more trusted comes later. */
static int rank_of(const source_text *text)
{
    return file_has_extension(text->name, "txt") ? 2 : file_has_extension(text->name, "caption");
}

static int compare_texts(const void *left, const void *right)
{
    const source_text *a = left, *b = right;
    int order = compare_keys(a->name, key_length(a), b->name, key_length(b));
    if (!order) order = rank_of(a) - rank_of(b);
    return order ? order : (a->ordinal > b->ordinal) - (a->ordinal < b->ordinal);
}

int source_compare_ordinals(const void *left, const void *right, void *files)
{
    const source_file *file = files;
    const int64_t a = file[*(const int64_t *)left].ordinal, b = file[*(const int64_t *)right].ordinal;
    return (a > b) - (a < b);
}

void source_sort_texts(source_text *text, int64_t count)
{
    sort_array(text, (size_t)count, sizeof *text, compare_texts);
}

/* The last text for the first `length` characters of a name. */
static source_text *find_key(source_text *text, int64_t count, const char *name, size_t length)
{
    int64_t low = 0, high = count;
    while (low < high) { /* the first text behind this key */
        const int64_t middle = (low + high) / 2;
        if (compare_keys(text[middle].name, key_length(&text[middle]), name, length) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    source_text *last = low > 0 ? &text[low - 1] : NULL;
    return last && !compare_keys(last->name, key_length(last), name, length) ? last : NULL;
}

source_text *source_find_text(source_text *text, int64_t count, const char *name)
{
    const char *base = file_base_name(name), *last = strrchr(base, '.');
    source_text *found = find_key(text, count, name, (size_t)(last - name));
    return found ? found : find_key(text, count, name, (size_t)(strchr(base, '.') - name));
}

char *source_join(const char *folder, size_t folder_length, const char *name)
{
    const size_t length = folder_length + strlen(name) + 2;
    char *path = malloc(length), *tidy;
    if (!path) return NULL;
    snprintf(path, length, "%.*s/%s", (int)folder_length, folder, name);
    tidy = tidy_name(path);
    free(path);
    return tidy;
}
