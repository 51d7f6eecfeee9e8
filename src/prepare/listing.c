#include "prepare/listing.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/grow.h"
#include "base/sort.h"
#include "base/text.h"
#include "file/path.h"

enum { NAME_BYTES_MAX = 255, IMAGES_MAX = 1 << 24 };

const char *const listing_split_name[LISTING_SPLITS] = {"train", "val", "test"};

dt_status listing_open(listing *l, const char *folder, const char *inner, dt_error *err)
{
    *l = (listing){0};
    char path[DT_PATH_MAX], *whole = realpath(folder, NULL);
    if (!whole) return error_set_errno(err, "%s", folder);
    if (!file_is_folder(whole))
        error_set(err, DT_ERR_IO, "%s is no folder; unpack the archive first", folder);
    else if (strlen(whole) > FILE_FOLDER_MAX)
        error_set(err, DT_ERR_ARG, "%s: a path of at most %d bytes expected", whole, FILE_FOLDER_MAX);
    else
        strcpy(l->root, whole);
    free(whole);
    file_join(path, l->root, inner);
    if (inner[0] && file_is_folder(path)) snprintf(l->inner, sizeof l->inner, "%s/", inner);
    return err->status;
}

/* A block of texts, one behind the other: a million paths must not be a million pieces of memory. */
typedef struct listing_text {
    struct listing_text *older;
    size_t used;
    char text[1 << 20];
} listing_text;

/* A class: the folder it becomes, and its own name. */
typedef struct listed_class {
    char *folder, *name;
} listed_class;

static void free_class(void *class)
{
    listed_class *one = class;
    free(one->folder);
    free(one->name);
    free(one);
}

void listing_close(listing *l)
{
    tdestroy(l->classes, free_class);
    for (listing_text *t = l->texts, *older; t; t = older) {
        older = t->older;
        free(t);
    }
    free(l->image);
    *l = (listing){0};
}

bool listing_locate(char below_root[DT_PATH_MAX], const listing *l, const char *choices)
{
    while (*choices) {
        int length = (int)strcspn(choices, "|");
        for (int outside = l->inner[0] ? 0 : 1; outside < 2; outside++) {
            char path[DT_PATH_MAX];
            snprintf(below_root, DT_PATH_MAX, "%s%.*s", outside ? "" : l->inner, length, choices);
            file_join(path, l->root, below_root);
            if (file_exists(path)) return true;
        }
        choices += length + (choices[length] == '|');
    }
    return false;
}

/* ---- adding ---- */

/* Names a single file or folder that is not hidden and stays where it is put. */
static bool is_plain_name(const char *name, size_t length)
{
    if (length == 0 || length > NAME_BYTES_MAX || name[0] == '.') return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f) return false;
    return true;
}

static bool is_plain_path(const char *path)
{
    for (;; path++) {
        size_t length = strcspn(path, "/");
        if (!is_plain_name(path, length)) return false;
        path += length;
        if (!*path) return true;
    }
}

static dt_status grow(listing *l, dt_error *err)
{
    if (l->count == IMAGES_MAX) return error_set(err, DT_ERR_FORMAT, "%s: more than %d images", l->root, IMAGES_MAX);
    void *image = grow_array(l->image, l->count, sizeof *l->image);
    if (!image) return error_set(err, DT_ERR_MEMORY, "%s: no memory to list the images", l->root);
    l->image = image;
    return DT_OK;
}

static int compare_classes(const void *a, const void *b)
{
    return strcmp(((const listed_class *)a)->folder, ((const listed_class *)b)->folder);
}

/* The folder of a class, which is kept; NULL with *err. */
static const char *folder_of_class(listing *l, const char *name, const char *where, dt_error *err)
{
    listed_class *one = calloc(1, sizeof *one), **found = NULL;
    const bool made = one && (one->folder = strdup(name)) && (one->name = strdup(name));
    for (char *c = made ? one->folder : ""; *c; c++)
        if (*c == '/') *c = '-';
    if (made) found = tsearch(one, &l->classes, compare_classes);
    if (!found)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to list the images", where);
    else if (strcmp((*found)->name, name) != 0)
        error_set(err, DT_ERR_FORMAT, "%s: the classes \"%s\" and \"%s\" would both be the folder %s", where,
                  (*found)->name, name, one->folder);
    else if (!is_plain_name(one->folder, strlen(one->folder)) || !text_is_utf8(one->folder))
        error_set(err, DT_ERR_FORMAT, "%s: no folder can be named after the class \"%s\"", where, name);
    if (one && (!found || *found != one)) free_class(one);
    return err->status == DT_OK ? (*found)->folder : NULL;
}

/* images/path, which is kept; NULL with *err. */
static const char *keep_path(listing *l, const char *images, const char *path, const char *where, dt_error *err)
{
    const size_t size = strlen(images) + strlen(path) + 2;
    if (size > DT_PATH_MAX + 1) {
        error_set(err, DT_ERR_FORMAT, "%s: a path of more than %d bytes", where, DT_PATH_MAX);
        return NULL;
    }
    if (!l->texts || sizeof l->texts->text - l->texts->used < size) {
        listing_text *block = malloc(sizeof *block);
        if (!block) {
            error_set(err, DT_ERR_MEMORY, "%s: no memory to list the images", where);
            return NULL;
        }
        block->older = l->texts;
        block->used = 0;
        l->texts = block;
    }
    char *kept = l->texts->text + l->texts->used;
    l->texts->used += (size_t)sprintf(kept, "%s%s%s", images, images[0] ? "/" : "", path) + 1;
    return kept;
}

dt_status listing_add(listing *l, listing_split split, const char *class_name, const char *images, const char *path,
                      const char *where, dt_error *err)
{
    listed_image one = {.split = split};
    if (!is_plain_path(path))
        return error_set(err, DT_ERR_FORMAT, "%s: \"%s\" is no path inside the data set", where, path);
    if (!(one.class_name = folder_of_class(l, class_name, where, err)) ||
        !(one.path = keep_path(l, images, path, where, err)) || grow(l, err) != DT_OK)
        return err->status;
    one.file = file_base_name(one.path);
    l->image[l->count++] = one;
    return DT_OK;
}

/* ---- checking ---- */

static int compare(const void *a, const void *b)
{
    const listed_image *left = a, *right = b;
    if (left->split != right->split) return left->split < right->split ? -1 : 1;
    int order = strcmp(left->class_name, right->class_name);
    return order ? order : strcmp(left->file, right->file);
}

/* Moves what is there to the front. */
static dt_status leave_out_missing(listing *l, dt_error *err)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < l->count; i++) {
        struct stat st;
        char *whole = NULL;
        if (asprintf(&whole, "%s/%s", l->root, l->image[i].path) < 0)
            return error_set(err, DT_ERR_MEMORY, "%s: no memory to look for the images", l->root);
        bool there = stat(whole, &st) == 0 && S_ISREG(st.st_mode);
        free(whole);
        if (!there && l->missing++ == 0) snprintf(l->first_missing, DT_PATH_MAX, "%s", l->image[i].path);
        if (!there) continue;
        l->image[kept++] = l->image[i];
    }
    l->count = kept;
    return DT_OK;
}

dt_status listing_check(listing *l, dt_error *err)
{
    if (leave_out_missing(l, err) != DT_OK) return err->status;
    if (l->count == 0 && l->missing)
        return error_set(err, DT_ERR_FORMAT, "%s: none of the %lld listed images is there; the first one is %s",
                         l->root, (long long)l->missing, l->first_missing);
    if (l->count == 0) return error_set(err, DT_ERR_FORMAT, "%s: no images found", l->root);
    sort_array(l->image, (size_t)l->count, sizeof *l->image, compare);
    if (l->image[0].split != LISTING_TRAIN)
        return error_set(err, DT_ERR_FORMAT, "%s: no image to train on: the split %s is empty%s%s", l->root,
                         listing_split_name[LISTING_TRAIN], l->missing ? "; the first that is missing: " : "",
                         l->missing ? l->first_missing : "");
    for (int64_t i = 1; i < l->count; i++)
        if (compare(&l->image[i - 1], &l->image[i]) == 0)
            return error_set(err, DT_ERR_FORMAT, "%s: class %s of split %s would have %s twice, from %s and %s",
                             l->root, l->image[i].class_name, listing_split_name[l->image[i].split], l->image[i].file,
                             l->image[i - 1].path, l->image[i].path);
    return DT_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int64_t count_classes(const listing *l)
{
    const char **name = malloc((size_t)l->count * sizeof *name + 1);
    int64_t classes = 0;
    for (int64_t i = 0; name && i < l->count; i++) name[i] = l->image[i].class_name;
    if (name) sort_array(name, (size_t)l->count, sizeof *name, compare_names);
    for (int64_t i = 0; name && i < l->count; i++) classes += i == 0 || strcmp(name[i], name[i - 1]) != 0;
    free(name);
    return classes;
}

dt_data_counts listing_counts(const listing *l)
{
    int64_t images[LISTING_SPLITS] = {0};
    for (int64_t i = 0; i < l->count; i++) images[l->image[i].split]++;
    return (dt_data_counts){count_classes(l), images[LISTING_TRAIN], images[LISTING_VALIDATION], images[LISTING_TEST]};
}
