#include "prepare/layouts.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "container/mat_file.h"
#include "file/folder.h"
#include "image/image.h"
#include "file/text_table.h"

typedef char path_text[DT_PATH_MAX];
typedef char where_text[DT_PATH_MAX + 32];

/* The whole path of the first of the choices, which must be there. */
static dt_status find(path_text whole, const listing *l, const char *choices, dt_error *err)
{
    path_text below;
    if (!listing_locate(below, l, choices))
        return error_set(err, DT_ERR_FORMAT, "%s: %s is missing (looked for %s)", l->root, below, choices);
    file_join(whole, l->root, below);
    return DT_OK;
}

/* The same below root. */
static dt_status find_images(path_text below, const listing *l, const char *choices, dt_error *err)
{
    if (!choices[0])
        snprintf(below, DT_PATH_MAX, "%.*s", (int)strcspn(l->inner, "/"), l->inner);
    else if (!listing_locate(below, l, choices))
        return error_set(err, DT_ERR_FORMAT, "%s: the folder of images %s is missing (looked for %s)", l->root, below,
                         choices);
    return DT_OK;
}

/* ---- folders ---- */

static dt_status read_class(listing *l, listing_split split, const char *images, const char *name, dt_error *err)
{
    file_names files = {0};
    path_text below, whole;
    file_join(below, images, name);
    file_join(whole, l->root, below);
    if (file_list(&files, whole, err) == DT_OK)
        for (size_t i = 0; i < files.count && err->status == DT_OK; i++)
            if (files.name[i][0] != '.' && image_has_extension(files.name[i]))
                listing_add(l, split, name, below, files.name[i], whole, err);
    file_names_free(&files);
    return err->status;
}

static dt_status read_split(listing *l, const archive_layout *layout, listing_split split, dt_error *err)
{
    file_names classes = {0};
    path_text images, whole, inside;
    if (find_images(images, l, layout->images[split], err) != DT_OK) return err->status;
    file_join(whole, l->root, images);
    file_list(&classes, whole, err);
    for (size_t i = 0; i < classes.count && err->status == DT_OK; i++) {
        const char *name = classes.name[i];
        bool left_out = name[0] == '.' || (layout->left_out && !strcmp(name, layout->left_out));
        file_join(inside, whole, name);
        if (!left_out && file_is_folder(inside)) read_class(l, split, images, name, err);
    }
    file_names_free(&classes);
    return err->status;
}

dt_status layout_read_folders(listing *l, const archive_layout *layout, dt_error *err)
{
    for (listing_split split = 0; split < LISTING_SPLITS && err->status == DT_OK; split++)
        if (layout->images[split]) read_split(l, layout, split, err);
    return err->status;
}

/* ---- lists ---- */

/* "a/church/outdoor/x.jpg" with 1 folder skipped is of the class "church/outdoor". */
static dt_status add_listed(listing *l, const archive_layout *layout, listing_split split, const char *images,
                            const char *line, const char *where, dt_error *err)
{
    char path[DT_PATH_MAX], class_name[DT_PATH_MAX];
    if (layout->skipped && line[0] == '/') line++; /* these lists begin every path so and mean the images' folder */
    if (snprintf(path, sizeof path, "%s%s", line, layout->extension ? layout->extension : "") >= (int)sizeof path)
        return error_set(err, DT_ERR_FORMAT, "%s: a path of more than %d bytes", where, DT_PATH_MAX);
    const char *from = path, *end = strrchr(path, '/');
    for (int i = 0; i < layout->skipped && from; i++) from = strchr(from, '/') ? strchr(from, '/') + 1 : NULL;
    if (!from || !end || end <= from)
        return error_set(err, DT_ERR_FORMAT, "%s: \"%s\" has no folder that is its class", where, path);
    snprintf(class_name, sizeof class_name, "%.*s", (int)(end - from), from);
    return listing_add(l, split, class_name, images, path, where, err);
}

dt_status layout_read_lists(listing *l, const archive_layout *layout, dt_error *err)
{
    for (listing_split split = 0; split < LISTING_SPLITS && err->status == DT_OK; split++) {
        text_table t = {0};
        path_text list, images;
        where_text where;
        if (!layout->list[split]) continue;
        if (find(list, l, layout->list[split], err) == DT_OK &&
            find_images(images, l, layout->images[0], err) == DT_OK && text_table_lines(&t, list, 1, err) == DT_OK)
            for (int64_t i = 0; i < t.row_count && err->status == DT_OK; i++) {
                text_table_where(where, &t, i);
                add_listed(l, layout, split, images, text_table_field(&t, i, 0), where, err);
            }
        text_table_close(&t);
    }
    return err->status;
}

/* ---- names of classes ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two numbers of one name would be one class. name[count] is sorted; there are NULLs at places without a name. */
static dt_status refuse_same_names(const char **name, int64_t count, const char *path, dt_error *err)
{
    int64_t named = 0;
    for (int64_t i = 0; i < count; i++)
        if (name[i]) name[named++] = name[i];
    sort_array(name, (size_t)named, sizeof *name, compare_texts);
    for (int64_t i = 1; i < named; i++)
        if (!strcmp(name[i - 1], name[i]))
            return error_set(err, DT_ERR_FORMAT, "%s: two classes have the name \"%s\"", path, name[i]);
    return DT_OK;
}

/* ---- an index of numbered images ---- */

/* One file of "number value" lines, by number: value[number], NULL where there is none. */
typedef struct numbered {
    text_table t;
    const char **value;
    int64_t limit; /* numbers are below it */
} numbered;

static bool read_number(int64_t *number, const char *text, int64_t most)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && !*end && !errno && *number >= 0 && *number <= most;
}

static dt_status fill_numbered(numbered *n, dt_error *err)
{
    where_text where;
    for (int64_t i = 0; i < n->t.row_count; i++) {
        int64_t number;
        text_table_where(where, &n->t, i);
        if (!read_number(&number, text_table_field(&n->t, i, 0), n->limit - 1))
            return error_set(err, DT_ERR_FORMAT, "%s: a number from 0 to %" PRId64 " expected, found \"%s\"", where,
                             n->limit - 1, text_table_field(&n->t, i, 0));
        if (n->value[number]) return error_set(err, DT_ERR_FORMAT, "%s: number %" PRId64 " again", where, number);
        n->value[number] = text_table_field(&n->t, i, 1);
    }
    return DT_OK;
}

static dt_status open_numbered(numbered *n, const listing *l, const char *choices, dt_error *err)
{
    path_text path;
    if (find(path, l, choices, err) != DT_OK || text_table_lines(&n->t, path, 2, err) != DT_OK) return err->status;
    n->limit = n->t.row_count + 2 > 1000 ? n->t.row_count + 2 : 1000; /* numbers are meant to count up from 1 */
    n->value = calloc((size_t)n->limit, sizeof *n->value);
    if (!n->value) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    return fill_numbered(n, err);
}

static dt_status open_names(numbered *n, const listing *l, const char *choices, dt_error *err)
{
    if (open_numbered(n, l, choices, err) != DT_OK) return err->status;
    const char **copy = malloc((size_t)n->limit * sizeof *copy);
    if (!copy) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", n->t.path);
    memcpy(copy, n->value, (size_t)n->limit * sizeof *copy);
    refuse_same_names(copy, n->limit, n->t.path, err);
    free(copy);
    return err->status;
}

static void close_numbered(numbered *n)
{
    text_table_close(&n->t);
    free(n->value);
}

static const char *value_of(const numbered *n, const char *number)
{
    int64_t i;
    return number && read_number(&i, number, n->limit - 1) ? n->value[i] : NULL;
}

static dt_status add_indexed(listing *l, const char *images, const numbered *paths, const numbered *splits,
                             const numbered *labels, const numbered *names, int64_t row, dt_error *err)
{
    where_text where;
    const char *number = text_table_field(&paths->t, row, 0), *flag = value_of(splits, number);
    const char *class_name = value_of(names, value_of(labels, number));
    text_table_where(where, &paths->t, row);
    if (!class_name) return error_set(err, DT_ERR_FORMAT, "%s: image %s has no named class", where, number);
    if (!flag || (strcmp(flag, "0") && strcmp(flag, "1")))
        return error_set(err, DT_ERR_FORMAT, "%s: image %s is in no split: 0 or 1 expected", where, number);
    return listing_add(l, flag[0] == '1' ? LISTING_TRAIN : LISTING_TEST, class_name, images,
                       text_table_field(&paths->t, row, 1), where, err);
}

dt_status layout_read_index(listing *l, const archive_layout *layout, dt_error *err)
{
    numbered paths = {0}, splits = {0}, labels = {0}, names = {0};
    path_text images;
    if (find_images(images, l, layout->images[0], err) == DT_OK &&
        open_numbered(&paths, l, layout->list[LISTING_TRAIN], err) == DT_OK &&
        open_numbered(&splits, l, layout->list[LISTING_TEST], err) == DT_OK &&
        open_numbered(&labels, l, layout->labels, err) == DT_OK && open_names(&names, l, layout->names, err) == DT_OK)
        for (int64_t i = 0; i < paths.t.row_count && err->status == DT_OK; i++)
            add_indexed(l, images, &paths, &splits, &labels, &names, i, err);
    close_numbered(&paths);
    close_numbered(&splits);
    close_numbered(&labels);
    close_numbered(&names);
    return err->status;
}

/* ---- comma-separated values ---- */

/* Classes are told apart by their number; the folder has the first name of that number behind it. */
typedef struct class_names {
    char **name;
} class_names;

enum { CLASS_NUMBER_MAX = 9999 };

static const char *name_class(class_names *known, int64_t number, const char *name)
{
    if (!known->name[number] && asprintf(&known->name[number], "%04" PRId64 " %s", number, name) < 0)
        known->name[number] = NULL;
    return known->name[number];
}

static dt_status add_csv_row(listing *l, listing_split split, const char *images, const text_table *t, int64_t row,
                             const int column[3], class_names *known, dt_error *err)
{
    where_text where;
    text_table_where(where, t, row);
    char number_text[64]; /* pandas writes the numbers of a column with gaps as 17.0 */
    snprintf(number_text, sizeof number_text, "%s", text_table_field(t, row, column[1]));
    char *fraction = strstr(number_text, ".0");
    if (fraction && !fraction[2]) *fraction = '\0';
    int64_t number;
    if (!read_number(&number, number_text, CLASS_NUMBER_MAX))
        return error_set(err, DT_ERR_FORMAT, "%s: class_id must be a number from 0 to %d, found \"%s\"", where,
                         CLASS_NUMBER_MAX, text_table_field(t, row, column[1]));
    const char *name = name_class(known, number, text_table_field(t, row, column[2]));
    if (!name) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", where);
    return listing_add(l, split, name, images, text_table_field(t, row, column[0]), where, err);
}

static dt_status read_csv_split(listing *l, const archive_layout *layout, listing_split split, class_names *known,
                                dt_error *err)
{
    text_table t = {0};
    path_text list, images;
    if (find(list, l, layout->list[split], err) == DT_OK && find_images(images, l, layout->images[0], err) == DT_OK &&
        text_table_csv(&t, list, err) == DT_OK) {
        int column[3] = {text_table_column(&t, "image_path"), text_table_column(&t, "class_id"),
                         text_table_column(&t, "scientificName")};
        if (column[2] < 0) column[2] = text_table_column(&t, "species");
        if (column[0] < 0 || column[1] < 0 || column[2] < 0)
            error_set(err, DT_ERR_FORMAT, "%s: columns image_path, class_id and scientificName expected in line 1",
                      list);
        for (int64_t i = 1; i < t.row_count && err->status == DT_OK; i++)
            add_csv_row(l, split, images, &t, i, column, known, err);
    }
    text_table_close(&t);
    return err->status;
}

dt_status layout_read_csv(listing *l, const archive_layout *layout, dt_error *err)
{
    class_names known = {calloc(CLASS_NUMBER_MAX + 1, sizeof(char *))};
    if (!known.name) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", l->root);
    for (listing_split split = 0; split < LISTING_SPLITS && err->status == DT_OK; split++)
        if (layout->list[split]) read_csv_split(l, layout, split, &known, err);
    for (int i = 0; i <= CLASS_NUMBER_MAX; i++) free(known.name[i]);
    free(known.name);
    return err->status;
}

/* ---- MATLAB ---- */

static const mat_value *need(const mat_file *f, const char *name, mat_kind kind, const char *path, dt_error *err)
{
    static const char *const kinds[] = {"values", "numbers", "text", "cells", "structures"};
    const mat_value *v = mat_find(f, name);
    if (v && v->kind == kind) return v;
    error_set(err, DT_ERR_FORMAT, "%s: %s of name %s expected, found %s", path, kinds[kind], name,
              v ? "another kind" : "none");
    return NULL;
}

/* A whole number from 1 to `most`, or 0. */
static int64_t whole(double value, int64_t most)
{
    return value >= 1 && value <= (double)most && value == floor(value) ? (int64_t)value : 0;
}

static dt_status add_numbered(listing *l, listing_split split, const char *images, const mat_value *ids, int64_t i,
                              const mat_value *labels, const char *path, dt_error *err)
{
    char file[64], class_name[32];
    int64_t id = whole(ids->number[i], labels->count), label = id ? whole(labels->number[id - 1], 9999) : 0;
    if (!id)
        return error_set(err, DT_ERR_FORMAT, "%s: %s: an image's number from 1 to %" PRId64 " expected, found %g", path,
                         ids->name, labels->count, ids->number[i]);
    if (!label)
        return error_set(err, DT_ERR_FORMAT, "%s: image %" PRId64 ": a class from 1 to 9999 expected, found %g", path,
                         id, labels->number[id - 1]);
    snprintf(file, sizeof file, "image_%05" PRId64 ".jpg", id);
    snprintf(class_name, sizeof class_name, "%03" PRId64, label);
    return listing_add(l, split, class_name, images, file, path, err);
}

dt_status layout_read_mat_numbers(listing *l, const archive_layout *layout, dt_error *err)
{
    static const char *const variable[LISTING_SPLITS] = {"trnid", "valid", "tstid"};
    mat_file splits = {0}, labels = {0};
    path_text list, label_path, images;
    const mat_value *label = NULL, *ids;
    if (find(list, l, layout->list[LISTING_TRAIN], err) == DT_OK && find(label_path, l, layout->labels, err) == DT_OK &&
        find_images(images, l, layout->images[0], err) == DT_OK && mat_file_open(&splits, list, err) == DT_OK &&
        mat_file_open(&labels, label_path, err) == DT_OK)
        label = need(&labels, "labels", MAT_NUMBERS, label_path, err);
    for (listing_split split = 0; label && split < LISTING_SPLITS && err->status == DT_OK; split++) {
        if (!(ids = need(&splits, variable[split], MAT_NUMBERS, list, err))) break;
        for (int64_t i = 0; i < ids->count && err->status == DT_OK; i++)
            add_numbered(l, split, images, ids, i, label, list, err);
    }
    mat_file_close(&splits);
    mat_file_close(&labels);
    return err->status;
}

static dt_status add_annotation(listing *l, listing_split split, const char *images, const mat_value *annotations,
                                int64_t i, const mat_value *names, const char *path, dt_error *err)
{
    char where[DT_PATH_MAX + 64];
    const mat_value *file = mat_field(annotations, i, "fname"), *label = mat_field(annotations, i, "class");
    snprintf(where, sizeof where, "%s: annotation %" PRId64, path, i + 1);
    if (!label)
        return error_set(err, DT_ERR_FORMAT,
                         "%s has no class: the file without labels of the original devkit; the one with them is called "
                         "cars_test_annos_withlabels.mat",
                         where);
    if (!file || file->kind != MAT_TEXT) return error_set(err, DT_ERR_FORMAT, "%s has no fname", where);
    int64_t class = label->kind == MAT_NUMBERS && label->count == 1 ? whole(label->number[0], names->count) : 0;
    if (!class || names->child[class - 1].kind != MAT_TEXT)
        return error_set(err, DT_ERR_FORMAT, "%s: a class from 1 to %" PRId64 " with a name expected", where,
                         names->count);
    return listing_add(l, split, names->child[class - 1].text, images, file->text, where, err);
}

static dt_status read_annotations(listing *l, const archive_layout *layout, listing_split split, const mat_value *names,
                                  dt_error *err)
{
    mat_file f = {0};
    path_text path, images;
    const mat_value *annotations = NULL;
    if (find(path, l, layout->list[split], err) == DT_OK &&
        find_images(images, l, layout->images[split], err) == DT_OK && mat_file_open(&f, path, err) == DT_OK)
        annotations = need(&f, "annotations", MAT_STRUCT, path, err);
    for (int64_t i = 0; annotations && i < annotations->count && err->status == DT_OK; i++)
        add_annotation(l, split, images, annotations, i, names, path, err);
    mat_file_close(&f);
    return err->status;
}

static dt_status check_names(const mat_value *cells, const char *path, dt_error *err)
{
    const char **name = malloc((size_t)cells->count * sizeof *name + 1);
    if (!name) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    for (int64_t i = 0; i < cells->count; i++) name[i] = cells->child[i].kind == MAT_TEXT ? cells->child[i].text : NULL;
    refuse_same_names(name, cells->count, path, err);
    free(name);
    return err->status;
}

dt_status layout_read_mat_annotations(listing *l, const archive_layout *layout, dt_error *err)
{
    mat_file f = {0};
    path_text path;
    const mat_value *names = NULL;
    if (find(path, l, layout->names, err) == DT_OK && mat_file_open(&f, path, err) == DT_OK)
        names = need(&f, "class_names", MAT_CELL, path, err);
    if (names) check_names(names, path, err);
    for (listing_split split = 0; names && split < LISTING_SPLITS && err->status == DT_OK; split++)
        if (layout->list[split]) read_annotations(l, layout, split, names, err);
    mat_file_close(&f);
    return err->status;
}
