#include "data/dataset_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/grow.h"
#include "base/text.h"
#include "data/dataset_labels.h"

/* All names of the files share their first `prefix` characters; what follows is the rest. */
static const char *rest_of(const source *s, int64_t index, size_t prefix)
{
    return s->file[index].name + prefix;
}

/* Length of the first folder of `rest` with its slash; 0 for a loose file. */
static size_t first_folder(const char *rest)
{
    const char *slash = strchr(rest, '/');
    return slash ? (size_t)(slash - rest) + 1 : 0;
}

/* ---- descending to the class folders ---- */

/* Keeps the files inside the folder `into` (with its slash). Loose files are listed as passed over; those of other
 * folders, which are other splits, are not the user's mistake and are not listed. */
static dt_status descend(source *s, dataset_report *report, size_t *prefix, const char *into, dt_error *err)
{
    size_t length = strlen(into);
    int64_t kept = 0;
    dt_status status = DT_OK;
    for (int64_t i = 0; i < s->file_count; i++) {
        const char *rest = rest_of(s, i, *prefix);
        bool inside = strncmp(rest, into, length) == 0;
        if (inside) {
            s->file[kept++] = s->file[i];
            continue;
        }
        if (status == DT_OK && first_folder(rest) == 0) {
            status = report_skip(report, s->file[i].name, "not inside a class folder", err);
        }
        source_file_close(&s->file[i]);
    }
    s->file_count = kept;
    *prefix += length;
    return status;
}

/* What a split is for, in the order of preference where held-out images are wanted. */
typedef enum split_role { SPLIT_NONE, SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST } split_role;

static split_role role_of(const char *name, size_t length)
{
    static const struct {
        const char *name;
        split_role role;
    } known[] = {{"train", SPLIT_TRAIN},      {"training", SPLIT_TRAIN},        {"val", SPLIT_VALIDATION},
                 {"valid", SPLIT_VALIDATION}, {"validation", SPLIT_VALIDATION}, {"dev", SPLIT_VALIDATION},
                 {"test", SPLIT_TEST},        {"testing", SPLIT_TEST}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && !strncasecmp(name, known[i].name, length)) return known[i].role;
    return SPLIT_NONE;
}

/* The folders of a level, as far as they tell whether they are splits. */
typedef struct level {
    bool has[SPLIT_TEST + 1]; /* by role */
    const char *other;        /* the first folder that is no split, with what follows; NULL: none */
} level;

static level look_at(const source *s, size_t prefix)
{
    level l = {0};
    for (int64_t i = 0; i < s->file_count; i++) {
        const char *rest = rest_of(s, i, prefix);
        size_t length = first_folder(rest);
        if (length == 0) continue;
        split_role role = role_of(rest, length - 1);
        l.has[role] = true;
        if (role == SPLIT_NONE && !l.other) l.other = rest;
    }
    return l;
}

/* Whether there are folders here and all of them are named like splits. */
static bool level_is_splits(const source *s, size_t prefix)
{
    const level l = look_at(s, prefix);
    return !l.other && (l.has[SPLIT_TRAIN] || l.has[SPLIT_VALIDATION] || l.has[SPLIT_TEST]);
}

/* A folder for training beside one for validation or test, and others that are neither: as classes they would be nonsense. */
static dt_status refuse_mixed_level(const source *s, size_t prefix, dt_error *err)
{
    const level l = look_at(s, prefix);
    if (!l.other || !l.has[SPLIT_TRAIN] || !(l.has[SPLIT_VALIDATION] || l.has[SPLIT_TEST])) return DT_OK;
    return error_set(
        err, DT_ERR_ARG,
        "image data %s: has folders of splits (train, val, test) and beside them \"%.*s\": are they splits "
        "or classes? Give the folder of one split",
        s->path, (int)first_folder(l.other) - 1, l.other);
}

/* Whether a folder at this level, `length` characters with its slash, is the only one, those without images counted. */
static bool is_only_folder(const source *s, const char *folder, size_t prefix, size_t length)
{
    const char *above = folder - prefix;
    for (int64_t i = 0; i < s->folder_count; i++) {
        const char *name = s->folder[i];
        if (strlen(name) <= prefix || strncmp(name, above, prefix) != 0) continue;
        const size_t own = strcspn(name + prefix, "/");
        if (own != length - 1 || strncmp(name + prefix, folder, own) != 0) return false;
    }
    return true;
}

/* Length of the one folder (with its slash) that holds all files but loose ones, and has folders itself; else 0. */
static size_t shared_folder(const source *s, size_t prefix)
{
    const char *shared = NULL;
    size_t length = 0;
    bool deeper = false;
    for (int64_t i = 0; i < s->file_count; i++) {
        const char *rest = rest_of(s, i, prefix);
        size_t own = first_folder(rest);
        if (own == 0) continue;
        if (!shared) {
            shared = rest;
            length = own;
        }
        if (own != length || strncmp(rest, shared, length) != 0) return 0;
        deeper = deeper || first_folder(rest + own) > 0;
    }
    return deeper && is_only_folder(s, shared, prefix, length) ? length : 0;
}

static dt_status drop_leading_folders(source *s, dataset_report *report, size_t *prefix, dt_error *err)
{
    dt_status status = DT_OK;
    size_t length;
    while (status == DT_OK && !level_is_splits(s, *prefix) && (length = shared_folder(s, *prefix)) > 0) {
        const char *name = NULL;
        for (int64_t i = 0; !name && i < s->file_count; i++) {
            if (first_folder(rest_of(s, i, *prefix)) == length) name = rest_of(s, i, *prefix);
        }
        char *into = strndup(name, length);
        if (!into) return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
        status = descend(s, report, prefix, into, err);
        free(into);
    }
    return status;
}

/* "train, val", for messages. */
static void name_splits(char text[DT_TEXT_MAX], const source *s, size_t prefix)
{
    text[0] = '\0';
    for (int64_t i = 0; i < s->file_count; i++) {
        const char *rest = rest_of(s, i, prefix);
        size_t length = first_folder(rest);
        char name[16];
        if (length == 0) continue;
        snprintf(name, sizeof name, "%.*s", (int)(length - 1), rest);
        bool known = false;
        for (char *at = text; !known && (at = strstr(at, name)); at++) {
            known = (at == text || at[-1] == ' ') && strchr(", ", at[strlen(name)]); /* strchr also finds the end */
        }
        size_t used = strlen(text);
        if (!known) snprintf(text + used, DT_TEXT_MAX - used, "%s%s", used ? ", " : "", name);
    }
}

/* The folder of this level (with its slash) that `wanted` says: by its whole name, else whatever its case, else by what it
 * is for. NULL where there is none, or where several fit as well; *several tells which. */
static const char *find_split(const source *s, size_t prefix, const char *wanted, bool *several)
{
    const split_role role = role_of(wanted, strlen(wanted));
    const char *best = NULL;
    int best_fit = 0;
    *several = false;
    for (int64_t i = 0; i < s->file_count; i++) {
        const char *rest = rest_of(s, i, prefix);
        const size_t length = first_folder(rest);
        if (length == 0 || (best && first_folder(best) == length && !strncmp(best, rest, length))) continue;
        const bool as_long = strlen(wanted) == length - 1;
        const int fit = as_long && !strncmp(rest, wanted, length - 1)       ? 3
                        : as_long && !strncasecmp(rest, wanted, length - 1) ? 2
                        : role && role == role_of(rest, length - 1)         ? 1
                                                                            : 0;
        if (fit > best_fit) {
            best = rest;
            best_fit = fit;
            *several = false;
        } else if (fit && fit == best_fit) {
            *several = true;
        }
    }
    return *several ? NULL : best;
}

/* The split that is taken where none is asked for. Held-out images are never those for training. */
static const char *default_split(const source *s, size_t prefix, bool held_out, bool *several)
{
    if (!held_out) return find_split(s, prefix, "train", several);
    const char *found = find_split(s, prefix, "val", several);
    return found || *several ? found : find_split(s, prefix, "test", several);
}

static dt_status choose_split(class_plan *p, source *s, dataset_report *report, bool held_out, dt_error *err)
{
    if (!level_is_splits(s, p->prefix)) {
        if (!s->split[0]) return refuse_mixed_level(s, p->prefix, err);
        return error_set(err, DT_ERR_ARG, "image data %s: the split \"%s\" was asked for, but there are no splits",
                         s->path, s->split);
    }
    char found[DT_TEXT_MAX], into[sizeof p->split + 1];
    bool several;
    const char *taken =
        s->split[0] ? find_split(s, p->prefix, s->split, &several) : default_split(s, p->prefix, held_out, &several);
    name_splits(found, s, p->prefix);
    if (!taken)
        return error_set(err, DT_ERR_ARG, "image data %s: has %s \"%s\", only %s; choose one as %s:NAME", s->path,
                         several ? "more than one split for" : "no split",
                         s->split[0] ? s->split
                         : held_out  ? "val"
                                     : "train",
                         found, s->path);
    snprintf(p->split, sizeof p->split, "%.*s", (int)first_folder(taken) - 1, taken);
    snprintf(into, sizeof into, "%s/", p->split);
    return descend(s, report, &p->prefix, into, err);
}

/* ---- the order of ImageFolder ---- */

static int compare_spans(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* By class, then by whole folder, then by name, then by place in the archive. `prefix` is shared and does no harm. */
static int compare_files(const void *left, const void *right, void *prefix)
{
    const source_file *a = left, *b = right;
    const char *a_rest = a->name + *(const size_t *)prefix, *b_rest = b->name + *(const size_t *)prefix;
    size_t a_class = first_folder(a_rest), b_class = first_folder(b_rest);
    int order = compare_spans(a_rest, a_class - (a_class > 0), b_rest, b_class - (b_class > 0)); /* without slash */
    const char *a_slash = strrchr(a_rest, '/'), *b_slash = strrchr(b_rest, '/');
    size_t a_folder = a_slash ? (size_t)(a_slash - a_rest) : 0, b_folder = b_slash ? (size_t)(b_slash - b_rest) : 0;
    if (!order) order = compare_spans(a_rest, a_folder, b_rest, b_folder);
    if (!order) order = strcmp(a_rest + a_folder, b_rest + b_folder);
    return order ? order : (a->ordinal > b->ordinal) - (a->ordinal < b->ordinal);
}

/* An archive may hold a name twice; unpacking it would leave the later one. */
static void drop_overwritten(source *s)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->file_count; i++) {
        if (i + 1 < s->file_count && strcmp(s->file[i].name, s->file[i + 1].name) == 0) {
            source_file_close(&s->file[i]);
        } else {
            s->file[kept++] = s->file[i];
        }
    }
    s->file_count = kept;
}

/* ---- classes ---- */

/* Names of classes go into models, runs and reports, whose files hold UTF-8. */
static dt_status refuse_foreign_name(const source *s, const char *name, dt_error *err)
{
    if (text_is_utf8(name)) return DT_OK;
    return error_set(
        err, DT_ERR_FORMAT,
        "image data %s: the name of the class folder \"%s\" is not UTF-8, so no file could hold it; rename "
        "the folder (convmv does that for a whole tree)",
        s->path, name);
}

static dt_status add_class(class_plan *p, const char *name, size_t length, dt_error *err)
{
    char **list = grow_array(p->class_name, p->class_count, sizeof *list);
    char *copy = strndup(name, length);
    if (list) p->class_name = list;
    if (!list || !copy) {
        free(copy);
        return error_set(err, DT_ERR_MEMORY, "no memory for the names of the classes");
    }
    list[p->class_count++] = copy;
    return DT_OK;
}

/* Labels the sorted files by their first folder. Loose files are passed over, except where there is nothing else: then
 * they are the one class "all". */
static dt_status label_files(class_plan *p, source *s, dataset_report *report, dt_error *err)
{
    bool flat = true;
    for (int64_t i = 0; flat && i < s->file_count; i++) flat = first_folder(rest_of(s, i, p->prefix)) == 0;
    if (flat) return add_class(p, "all", 3, err); /* labels are 0 already */
    int64_t kept = 0;
    dt_status status = DT_OK;
    for (int64_t i = 0; i < s->file_count; i++) {
        source_file file = s->file[i];
        const char *rest = file.name + p->prefix;
        size_t length = first_folder(rest);
        if (length == 0) {
            if (status == DT_OK) status = report_skip(report, file.name, "not inside a class folder", err);
            source_file_close(&file);
            continue;
        }
        const char *last = p->class_count ? p->class_name[p->class_count - 1] : "";
        bool same = strlen(last) == length - 1 && strncmp(last, rest, length - 1) == 0;
        if (!same && status == DT_OK) status = add_class(p, rest, length - 1, err);
        file.label = p->class_count - 1;
        s->file[kept++] = file;
    }
    s->file_count = kept;
    return status;
}

static int64_t find_class(char *const *names, int64_t count, const char *name)
{
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    return -1;
}

/* An empty class folder is an error in ImageFolder too: the label table would have a row that is never trained. */
static dt_status refuse_empty_classes(const class_plan *p, const source *s, const char *prefix_text, dt_error *err)
{
    bool flat = s->labelled || (s->file_count > 0 && first_folder(rest_of(s, 0, p->prefix)) == 0);
    for (int64_t i = 0; !flat && i < s->folder_count; i++) {
        const char *folder = s->folder[i];
        bool here = strlen(folder) > p->prefix && strncmp(folder, prefix_text, p->prefix) == 0;
        if (!here || strchr(folder + p->prefix, '/')) continue;
        if (find_class(p->class_name, p->class_count, folder + p->prefix) < 0) {
            return error_set(err, DT_ERR_FORMAT, "image data %s: the class folder \"%s\" holds no image", s->path,
                             folder);
        }
    }
    return DT_OK;
}

/* Replaces the classes found by those given, and the labels with them. */
static dt_status map_classes(class_plan *p, source *s, char *const *known, int64_t known_count, dt_error *err)
{
    int64_t found_count = p->class_count;
    char **found = p->class_name;
    p->class_name = NULL;
    p->class_count = 0;
    dt_status status = DT_OK;
    for (int64_t i = 0; status == DT_OK && i < known_count; i++) {
        status = add_class(p, known[i], strlen(known[i]), err);
    }
    int64_t file = 0;
    for (int64_t c = 0; c < found_count; c++) {
        int64_t label = find_class(p->class_name, p->class_count, found[c]);
        if (status == DT_OK && label < 0) {
            status = error_set(err, DT_ERR_ARG, "image data %s: class \"%s\" is not among the %lld known classes",
                               s->path, found[c], (long long)known_count);
        }
        for (; file < s->file_count && s->file[file].label == c; file++) s->file[file].label = label;
        free(found[c]);
    }
    free(found);
    return status;
}

dt_status class_plan_make(class_plan *p, source *s, dataset_report *report, const class_plan_options *options,
                          dt_error *err)
{
    *p = (class_plan){0};
    dt_status status = drop_leading_folders(s, report, &p->prefix, err);
    if (status == DT_OK) status = choose_split(p, s, report, options->held_out, err);
    if (status != DT_OK) return status;
    if (s->file_count == 0) {
        return error_set(err, DT_ERR_FORMAT, "image data %s: holds no " IMAGE_EXTENSIONS " file%s", s->path,
                         s->folder_count ? " in its folders" : "");
    }
    qsort_r(s->file, (size_t)s->file_count, sizeof *s->file, compare_files, &p->prefix);
    drop_overwritten(s);
    char *prefix_text = strndup(s->file[0].name, p->prefix);
    if (!prefix_text) return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
    status = s->labelled ? label_files_by_text(&p->class_name, &p->class_count, s, report, err)
                         : label_files(p, s, report, err);
    if (status == DT_OK && s->file_count == 0)
        status = error_set(err, DT_ERR_FORMAT,
                           "image data %s: none of its pictures has a .cls file beside it that names a class", s->path);
    for (int64_t i = 0; i < p->class_count && status == DT_OK; i++)
        status = refuse_foreign_name(s, p->class_name[i], err);
    if (status == DT_OK) status = refuse_empty_classes(p, s, prefix_text, err);
    free(prefix_text);
    if (status == DT_OK && options->known) status = map_classes(p, s, options->known, options->known_count, err);
    return status;
}

void class_plan_close(class_plan *p)
{
    for (int64_t i = 0; i < p->class_count; i++) free(p->class_name[i]);
    free(p->class_name);
    *p = (class_plan){0};
}
