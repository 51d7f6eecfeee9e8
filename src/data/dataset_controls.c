#include "data/dataset_controls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "base/sort.h"
#include "file/path.h"

static dt_status no_memory(dt_error *err)
{
    return error_set(err, DT_ERR_MEMORY, "no memory to list the control pictures");
}

/* ---- where they may be ---- */

static void add_candidate(source *from, const source_file *file, dt_error *err)
{
    source_file *list = grow_array(from->file, from->file_count, sizeof *list);
    char *name = strdup(file->name);
    if (list) from->file = list;
    if (list && name)
        list[from->file_count++] = (source_file){.name = name, .ordinal = file->ordinal};
    else
        free(name), no_memory(err);
}

/* A picture may be the control of another one. */
static dt_status list_own(source *from, const source *s, dt_error *err)
{
    *from = (source){.is_archive = s->is_archive};
    memcpy(from->path, s->path, sizeof from->path);
    for (int64_t i = 0; i < s->control_count; i++) add_candidate(from, &s->control[i], err);
    for (int64_t i = 0; i < s->file_count; i++) add_candidate(from, &s->file[i], err);
    return err->status;
}

/* What is passed over there is told with the folder's name. */
static dt_status list_folder(source *from, const char *folder, dataset_report *report, dt_error *err)
{
    dataset_report own = {0};
    source_open(from, &own, folder, false, err);
    for (int64_t i = 0; i < own.skip_count && err->status == DT_OK; i++) {
        char name[DT_PATH_MAX];
        file_join(name, folder, own.skip[i].file);
        report_skip(report, name, own.skip[i].reason, err);
    }
    report_close(&own);
    return err->status;
}

/* ---- which belongs to which ---- */

/* Length of a name without its extension. */
static size_t stem_length(const char *name)
{
    const char *dot = strrchr(file_base_name(name), '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

static int compare_stems(const char *a, const char *b)
{
    const size_t a_length = stem_length(a), b_length = stem_length(b);
    const int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_candidates(const void *left, const void *right)
{
    const source_file *a = left, *b = right;
    int order = compare_stems(a->name, b->name);
    if (!order) order = strcmp(a->name, b->name);
    return order ? order : (a->ordinal > b->ordinal) - (a->ordinal < b->ordinal);
}

/* The last candidate of that stem, or where `whole` of that name; -1: none. */
static int64_t find(const source *from, const char *name, bool whole)
{
    int64_t low = 0, high = from->file_count;
    while (low < high) { /* the first one behind it */
        const int64_t middle = (low + high) / 2;
        int order = compare_stems(from->file[middle].name, name);
        if (!order && whole) order = strcmp(from->file[middle].name, name);
        if (order <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    const char *last = low > 0 ? from->file[low - 1].name : NULL;
    return last && (whole ? !strcmp(last, name) : !compare_stems(last, name)) ? low - 1 : -1;
}

static int64_t control_of(const source *from, const source_file *picture, size_t prefix, bool own)
{
    if (own) return picture->control ? find(from, picture->control, true) : -1;
    const int64_t found = find(from, picture->name, false);
    return found >= 0 ? found : find(from, picture->name + prefix, false);
}

/* Drops the candidates that nobody wants. */
static dt_status keep_wanted(control_plan *p, int64_t pictures, dt_error *err)
{
    int64_t *now = calloc((size_t)p->from.file_count + 1, sizeof *now), kept = 0; /* new number + 1; 0: not wanted */
    if (!now) return no_memory(err);
    for (int64_t i = 0; i < pictures; i++)
        if (p->of[i] >= 0) now[p->of[i]] = 1;
    for (int64_t i = 0; i < p->from.file_count; i++) {
        if (!now[i]) {
            source_file_close(&p->from.file[i]);
            continue;
        }
        p->from.file[kept++] = p->from.file[i];
        now[i] = kept;
    }
    p->from.file_count = kept;
    for (int64_t i = 0; i < pictures; i++)
        if (p->of[i] >= 0) p->of[i] = now[p->of[i]] - 1;
    free(now);
    return DT_OK;
}

dt_status control_plan_make(control_plan *p, const source *pictures, size_t prefix, const char *folder,
                            dataset_report *report, dt_error *err)
{
    const bool own = !folder || !folder[0];
    const int64_t count = pictures->file_count;
    *p = (control_plan){.of = malloc((size_t)count * sizeof *p->of)};
    if (!p->of) return no_memory(err);
    if ((own ? list_own(&p->from, pictures, err) : list_folder(&p->from, folder, report, err)) != DT_OK)
        return err->status;
    sort_array(p->from.file, (size_t)p->from.file_count, sizeof *p->from.file, compare_candidates);
    for (int64_t i = 0; i < count; i++) p->of[i] = control_of(&p->from, &pictures->file[i], prefix, own);
    if (keep_wanted(p, count, err) == DT_OK && p->from.file_count == 0)
        error_set(
            err, DT_ERR_FORMAT,
            own ? "image data %s: names no control picture (metadata.jsonl with conditioning_image, or prompt.json "
                  "with source); control says where they are"
                : "image data %s: not one of its pictures has a control picture of the same name in %s",
            pictures->path, folder);
    return err->status;
}

void control_plan_close(control_plan *p)
{
    source_close(&p->from);
    free(p->of);
    *p = (control_plan){0};
}
