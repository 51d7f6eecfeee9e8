#include "data/dataset_told.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/sort.h"
#include "base/text.h"
#include "file/json_file.h"

typedef struct finder {
    source *s;
    dataset_report *report;
    bool captions, strict;
    source_file **by_name; /* [s->file_count], of s->file */
    bool *is_control;      /* [s->file_count], in the order of s->file; so is the next */
    bool *is_named;        /* as a picture with a control */
    dt_error *err;
} finder;

static dt_status no_memory(finder *f)
{
    return error_set(f->err, DT_ERR_MEMORY, "no memory for the captions");
}

/* Who asks for no captions is told of no mistakes in them. */
static void object_to(finder *f, const char *name, const char *reason)
{
    if (f->err->status != DT_OK || !f->captions) return;
    if (f->strict)
        error_set(f->err, DT_ERR_FORMAT, "image data %s: %s: %s", f->s->path, name, reason);
    else
        report_skip(f->report, name, reason, f->err);
}

/* ---- captions of one picture ---- */

/* Adds a caption without the white space around it; one that is blank is none. */
static void add_caption(finder *f, source_file *file, const char *text, size_t length)
{
    while (length > 0 && isspace((unsigned char)*text)) text++, length--;
    while (length > 0 && isspace((unsigned char)text[length - 1])) length--;
    if (length == 0) return;
    char **list = grow_array(file->caption, file->caption_count, sizeof *list), *copy = strndup(text, length);
    if (list) file->caption = list;
    if (list && copy) {
        list[file->caption_count++] = copy;
        return;
    }
    free(copy);
    no_memory(f);
}

static void add_lines(finder *f, source_file *file, const source_text *text)
{
    const char *line = text_behind_mark(text->text);
    if (!text_is_utf8(line)) return object_to(f, text->name, "a caption that is not UTF-8");
    while (*line) {
        const size_t length = strcspn(line, "\n");
        add_caption(f, file, line, length);
        line += length + (line[length] == '\n');
    }
    if (file->caption_count == 0) object_to(f, text->name, "an empty caption");
}

static json_t *first_of(const json_t *object, const char *const keys[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_t *value = json_object_get(object, keys[i]);
        if (value && !json_is_null(value)) return value;
    }
    return NULL;
}

/* What an object says of its picture; NULL: nothing. */
static const json_t *described(const json_t *object)
{
    static const char *const keys[] = {"text", "caption", "prompt"};
    return first_of(object, keys, sizeof keys / sizeof *keys);
}

/* One caption or an array of them; none at all is no mistake. */
static bool can_be_captions(const json_t *value)
{
    const json_t *one;
    size_t i;
    json_array_foreach(value, i, one)
    {
        if (!json_is_string(one)) return false;
    }
    return !value || json_is_string(value) || json_is_array(value);
}

static void add_described(finder *f, source_file *file, const json_t *value)
{
    const json_t *one;
    size_t i;
    if (json_is_string(value)) add_caption(f, file, json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, one) add_caption(f, file, json_string_value(one), json_string_length(one));
}

static void add_object(finder *f, source_file *file, const source_text *text)
{
    json_error_t where;
    const char *start = text_behind_mark(text->text);
    json_t *object = json_text_read(start, strlen(start), &where, text->name, f->err);
    if (f->err->status != DT_OK) return;
    if (!json_is_object(object))
        object_to(f, text->name, "no JSON object that could hold a caption");
    else if (!can_be_captions(described(object)))
        object_to(f, text->name, "its caption is neither a text nor an array of texts");
    else
        add_described(f, file, described(object));
    json_decref(object);
}

/* ---- lists ---- */

static int compare_names(const void *left, const void *right)
{
    return strcmp((*(source_file *const *)left)->name, (*(source_file *const *)right)->name);
}

/* The file of that name below the list's folder; NULL where there is none. */
static source_file *find_file(finder *f, const source_text *list, const char *name)
{
    const size_t folder = (size_t)(file_base_name(list->name) - list->name);
    source_file wanted = {.name = source_join(list->name, folder, name)}, *key = &wanted;
    if (!wanted.name) return no_memory(f), NULL;
    source_file **found = sorted_find(&key, f->by_name, (size_t)f->s->file_count, sizeof *f->by_name, compare_names);
    free(wanted.name);
    return found ? *found : NULL;
}

/* What went wrong in a list: how often, and where first. */
typedef struct list_faults {
    int64_t bad, missing, first_bad;
    const char *why_bad; /* of the first */
    char first_missing[DT_TEXT_MAX];
} list_faults;

static void note_missing(list_faults *faults, const char *name)
{
    if (faults->missing++ > 0) return;
    snprintf(faults->first_missing, sizeof faults->first_missing, "%s", name);
    text_make_printable(faults->first_missing);
}

static void set_control(finder *f, source_file *picture, const source_file *control)
{
    free(picture->control);
    picture->control = strdup(control->name);
    if (!picture->control) no_memory(f);
}

/* Takes one line of a list, all of it or, where that returns what is wrong with it, nothing but that a control picture is no picture
 * of the set. */
static const char *read_entry(finder *f, const source_text *list, const json_t *entry, list_faults *faults)
{
    static const char *const pictures[] = {"file_name", "target"};
    static const char *const controls[] = {"conditioning_image", "conditioning_image_file_name", "source"};
    const char *name = json_string_value(first_of(entry, pictures, 2));
    const json_t *said = first_of(entry, controls, 3), *captions = described(entry);
    const char *control_name = json_string_value(said);
    if (!json_is_object(entry)) return "is no JSON object";
    source_file *control = control_name ? find_file(f, list, control_name) : NULL;
    source_file *picture = name ? find_file(f, list, name) : NULL;
    if (control) f->is_control[control - f->s->file] = true;
    if (picture && control_name) f->is_named[picture - f->s->file] = true;
    if (!name) return "has no name of a picture";
    if (said && !control_name) return "has a control picture that is no name";
    if (f->captions && !can_be_captions(captions)) return "has a caption that is neither a text nor an array of texts";
    if (!picture) return note_missing(faults, name), NULL;
    if (control) set_control(f, picture, control);
    if (control_name && !control) note_missing(faults, control_name);
    if (f->captions) add_described(f, picture, captions);
    return NULL;
}

static void tell_faults(finder *f, const source_text *list, const list_faults *faults)
{
    char reason[2 * DT_TEXT_MAX];
    if (faults->bad) {
        snprintf(reason, sizeof reason, "%lld of its lines left out, line %lld first, which %s", (long long)faults->bad,
                 (long long)faults->first_bad, faults->why_bad);
        object_to(f, list->name, reason);
    }
    if (faults->missing) {
        snprintf(reason, sizeof reason, "names %lld pictures that are not there, %s first", (long long)faults->missing,
                 faults->first_missing);
        object_to(f, list->name, reason);
    }
}

static void read_list(finder *f, source_text *list)
{
    list_faults faults = {0};
    const char *line = text_behind_mark(list->text);
    for (int64_t number = 1; *line && f->err->status == DT_OK; number++) {
        const size_t length = strcspn(line, "\n");
        json_error_t where;
        if (strspn(line, " \t\r") < length) {
            json_t *entry = json_text_read(line, length, &where, list->name, f->err);
            const char *why = read_entry(f, list, entry, &faults);
            if (why && faults.bad++ == 0) faults.first_bad = number, faults.why_bad = why;
            json_decref(entry);
        }
        line += length + (line[length] == '\n');
    }
    list->used = true;
    tell_faults(f, list, &faults);
}

/* Of two of one name in an archive the later one counts. */
static void read_lists(finder *f)
{
    for (int64_t i = 0; i < f->s->caption_count && f->err->status == DT_OK; i++) {
        source_text *text = &f->s->caption[i];
        const bool last = i + 1 == f->s->caption_count || strcmp(text->name, text[1].name) != 0;
        if (!source_is_list(text) || !text->text) continue;
        if (file_has_extension(text->name, "csv"))
            text->used = true, object_to(f, text->name, "a table: captions are read from metadata.jsonl");
        else if (last)
            read_list(f, text);
    }
}

static void read_texts(finder *f)
{
    for (int64_t i = 0; i < f->s->file_count && f->err->status == DT_OK; i++) {
        source_file *file = &f->s->file[i];
        source_text *text = source_find_text(f->s->caption, f->s->caption_count, file->name);
        if (!text || source_is_list(text)) continue;
        text->used = true;
        if (!f->captions || file->caption_count || !text->text) continue;
        if (file_has_extension(text->name, "json"))
            add_object(f, file, text);
        else
            add_lines(f, file, text);
    }
}

/* ---- the whole ---- */

static size_t folder_length(const source_file *file)
{
    return (size_t)(file_base_name(file->name) - file->name);
}

static int compare_folders(const void *left, const void *right)
{
    const source_file *a = *(source_file *const *)left, *b = *(source_file *const *)right;
    const size_t m = folder_length(a), n = folder_length(b);
    const int order = memcmp(a->name, b->name, m < n ? m : n);
    return order || m == n ? order : m < n ? -1 : 1;
}

/* The pictures of one folder. Where some are controls and none has a control, the others are controls too: of lines that could not
 * be read, or of none. */
static void take_left_over(finder *f, source_file *const file[], size_t count)
{
    size_t controls = 0, named = 0;
    for (size_t i = 0; i < count; i++) {
        const ptrdiff_t at = file[i] - f->s->file;
        controls += f->is_control[at];
        named += f->is_named[at];
    }
    if (controls == 0 || controls == count || named > 0) return;
    char folder[DT_PATH_MAX], reason[DT_TEXT_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)folder_length(file[0]), file[0]->name);
    snprintf(reason, sizeof reason,
             "a folder of control pictures; no list says whose %zu of its %zu are, and they are left out",
             count - controls, count);
    for (size_t i = 0; i < count; i++) f->is_control[file[i] - f->s->file] = true;
    if (f->strict)
        error_set(f->err, DT_ERR_FORMAT, "image data %s: %s: %s", f->s->path, folder, reason);
    else
        report_skip(f->report, folder, reason, f->err);
}

static void take_left_overs(finder *f)
{
    const size_t count = (size_t)f->s->file_count;
    sort_array(f->by_name, count, sizeof *f->by_name, compare_folders);
    for (size_t first = 0, end; first < count && f->err->status == DT_OK; first = end) {
        for (end = first + 1; end < count && compare_folders(&f->by_name[first], &f->by_name[end]) == 0;) end++;
        take_left_over(f, f->by_name + first, end - first);
    }
}

/* Moves the control pictures of others, which are no pictures of the set. */
static void part_controls(finder *f)
{
    source *s = f->s;
    int64_t kept = 0;
    for (int64_t i = 0; i < s->file_count; i++) {
        if (!f->is_control[i] || f->is_named[i]) {
            s->file[kept++] = s->file[i];
            continue;
        }
        source_file *list = grow_array(s->control, s->control_count, sizeof *list);
        if (list) s->control = list;
        if (list)
            list[s->control_count++] = s->file[i];
        else
            source_file_close(&s->file[i]), no_memory(f);
    }
    s->file_count = kept;
}

static bool is_below(const char *name, const char *folder, size_t length)
{
    return !strncmp(name, folder, length) && name[length] == '/';
}

static bool holds_any(const source_file *file, int64_t count, const char *folder)
{
    const size_t length = strlen(folder);
    for (int64_t i = 0; i < count; i++)
        if (is_below(file[i].name, folder, length)) return true;
    return false;
}

/* A folder of nothing but control pictures is no class without pictures. */
static void drop_control_folders(source *s)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->folder_count; i++) {
        char *folder = s->folder[i];
        if (holds_any(s->control, s->control_count, folder) && !holds_any(s->file, s->file_count, folder))
            free(folder);
        else
            s->folder[kept++] = folder;
    }
    s->folder_count = kept;
}

static void tell_others(finder *f)
{
    for (int64_t i = 0; i < f->s->caption_count && f->err->status == DT_OK; i++) {
        const source_text *text = &f->s->caption[i];
        if (text->used && f->captions) continue;
        report_skip(f->report, text->name,
                    !text->used            ? "of no picture, or of one whose captions another file has"
                    : source_is_list(text) ? "a list, whose captions are not used"
                                           : "a caption, which is not used",
                    f->err);
    }
}

dt_status told_find(source *s, dataset_report *report, bool captions, bool strict, dt_error *err)
{
    const size_t count = (size_t)s->file_count;
    finder f = {.s = s, .report = report, .captions = captions, .strict = strict, .err = err};
    if (s->caption_count == 0) return DT_OK;
    f.by_name = calloc(count + 1, sizeof *f.by_name);
    f.is_control = calloc(2 * count + 1, sizeof *f.is_control);
    if (f.by_name && f.is_control) {
        f.is_named = f.is_control + count;
        for (size_t i = 0; i < count; i++) f.by_name[i] = &s->file[i];
        sort_array(f.by_name, count, sizeof *f.by_name, compare_names);
        source_sort_texts(s->caption, s->caption_count);
        read_lists(&f);
        read_texts(&f);
        take_left_overs(&f);
        part_controls(&f);
        drop_control_folders(s);
        tell_others(&f);
    } else {
        no_memory(&f);
    }
    free(f.by_name);
    free(f.is_control);
    return err->status;
}
