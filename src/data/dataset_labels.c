#include "data/dataset_labels.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"

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
        const source_text *found = source_find_text(s->label, s->label_count, s->file[i].name);
        text[kept] = found ? found->text : NULL;
        if (text[kept]) {
            s->file[kept++] = s->file[i];
            continue;
        }
        if (err->status == DT_OK)
            report_skip(report, s->file[i].name, "has no .cls file beside it that names a class", err);
        source_file_close(&s->file[i]);
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
    source_sort_texts(s->label, s->label_count);
    keep_labelled(text, s, report, err);
    const int64_t count = s->file_count;
    text_order *order = order_of(text, count);
    memcpy(sorted, text, (size_t)count * sizeof *text);
    sort_array(sorted, (size_t)count, sizeof *sorted, order);
    if (err->status == DT_OK) list_classes(class_name, class_count, sorted, count, err);
    for (int64_t i = 0; i < count && err->status == DT_OK; i++) {
        char **class = sorted_find(&text[i], *class_name, (size_t)*class_count, sizeof **class_name, order);
        s->file[i].label = class - *class_name;
        s->file[i].place = i;
    }
    sort_array(s->file, (size_t)count, sizeof *s->file, compare_classes);
    free(text);
    return err->status;
}
