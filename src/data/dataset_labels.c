#include "data/dataset_labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "file/file.h"

static int compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* Of the name of a label: all before ".cls". */
static size_t key_length(const source_label *label)
{
    return strlen(label->name) - strlen(".cls");
}

static int compare_labels(const void *left, const void *right)
{
    const source_label *a = left, *b = right;
    const int order = compare_keys(a->name, key_length(a), b->name, key_length(b));
    return order ? order : (a->ordinal > b->ordinal) - (a->ordinal < b->ordinal);
}

/* The text for the first `length` characters of a name; of several in one archive that of the last. NULL: none. */
static const char *find_text(const source *s, const char *name, size_t length)
{
    int64_t low = 0, high = s->label_count;
    while (low < high) { /* the first label behind this key */
        const int64_t middle = (low + high) / 2;
        const source_label *label = &s->label[middle];
        if (compare_keys(label->name, key_length(label), name, length) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    const source_label *label = low > 0 ? &s->label[low - 1] : NULL;
    return label && !compare_keys(label->name, key_length(label), name, length) ? label->text : NULL;
}

/* WebDataset's key ends at the first dot of a file's name ("7.left.jpg" is of "7"); other writers mean the last. */
static const char *text_of(const source *s, const char *name)
{
    const char *base = file_base_name(name), *last = strrchr(base, '.');
    const char *text = find_text(s, name, (size_t)(last - name));
    return text ? text : find_text(s, name, (size_t)(strchr(base, '.') - name));
}

static bool is_number(const char *text)
{
    return text[strspn(text, "0123456789")] == '\0' && strlen(text) < 18;
}

static int compare_texts(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static int compare_numbers(const void *left, const void *right)
{
    const long long a = atoll(*(const char *const *)left), b = atoll(*(const char *const *)right);
    return a != b ? (a > b) - (a < b) : compare_texts(left, right);
}

typedef int text_order(const void *left, const void *right);

/* By their numbers where all are numbers, else in byte order. */
static text_order *order_of(const char *const *text, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!is_number(text[i])) return compare_texts;
    return compare_numbers;
}

/* Copies of those that differ from the one before. */
static dt_status list_classes(char ***class_name, int64_t *class_count, const char *const *sorted, int64_t count,
                              dt_error *err)
{
    char **list = *class_name = calloc((size_t)count + 1, sizeof *list);
    bool whole = list != NULL;
    for (int64_t i = 0; whole && i < count; i++) {
        if (i > 0 && !strcmp(sorted[i], sorted[i - 1])) continue;
        list[*class_count] = strdup(sorted[i]);
        whole = list[*class_count] != NULL;
        *class_count += whole;
    }
    return whole ? DT_OK : error_set(err, DT_ERR_MEMORY, "no memory for the names of the classes");
}

static int compare_classes(const void *left, const void *right)
{
    const source_file *a = left, *b = right;
    return a->label != b->label ? (a->label > b->label) - (a->label < b->label)
                                : (a->place > b->place) - (a->place < b->place);
}

/* Drops the files that have no text, and gives those of the others. */
static dt_status keep_labelled(const char **text, source *s, dataset_report *report, dt_error *err)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < s->file_count; i++) {
        text[kept] = text_of(s, s->file[i].name);
        if (text[kept]) {
            s->file[kept++] = s->file[i];
            continue;
        }
        if (err->status == DT_OK) report_skip(report, s->file[i].name, "has no .cls file beside it", err);
        free(s->file[i].name);
    }
    s->file_count = kept;
    return err->status;
}

dt_status label_files_by_text(char ***class_name, int64_t *class_count, source *s, dataset_report *report,
                              dt_error *err)
{
    const char **text = malloc(2 * (size_t)s->file_count * sizeof *text), **sorted = text + s->file_count;
    *class_name = NULL;
    *class_count = 0;
    if (!text) return error_set(err, DT_ERR_MEMORY, "no memory to list the images");
    qsort(s->label, (size_t)s->label_count, sizeof *s->label, compare_labels);
    keep_labelled(text, s, report, err);
    const int64_t count = s->file_count;
    text_order *order = order_of(text, count);
    memcpy(sorted, text, (size_t)count * sizeof *text);
    qsort(sorted, (size_t)count, sizeof *sorted, order);
    if (err->status == DT_OK) list_classes(class_name, class_count, sorted, count, err);
    for (int64_t i = 0; i < count && err->status == DT_OK; i++) {
        char **class = bsearch(&text[i], *class_name, (size_t)*class_count, sizeof **class_name, order);
        s->file[i].label = class - *class_name;
        s->file[i].place = i;
    }
    if (count) qsort(s->file, (size_t)count, sizeof *s->file, compare_classes);
    free(text);
    return err->status;
}
