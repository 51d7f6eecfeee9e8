/* The folder of links. It is made beside its place, under the name with ".part", and renamed when it is whole. */
#include "file/folder.h"
#include "prepare/listing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nettle/base16.h>
#include <nettle/sha2.h>

#include "data/dataset.h"
#include "file/file.h"
#include "file/json_file.h"
#include "file/lock.h"

enum { WATCH_INTERVAL = 1000, DESCRIPTION_MAX = 1 << 16 };

static void hash_part(struct sha256_ctx *hash, const char *text, char end)
{
    sha256_update(hash, strlen(text), (const uint8_t *)text);
    sha256_update(hash, 1, (const uint8_t *)&end);
}

/* A hash over all that is linked, as lines "split/class<tab>path": what tells one preparation from another. */
static void hash_listing(file_hash *out, const listing *l)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    for (int64_t i = 0; i < l->count; i++) {
        hash_part(&hash, listing_split_name[l->image[i].split], '/');
        hash_part(&hash, l->image[i].class_name, '\t');
        hash_part(&hash, l->image[i].path, '\n');
    }
    file_hash_finish(out, &hash);
}

static dt_status describe(char **text, const listing *l, const char *name, dt_error *err)
{
    file_hash hash;
    dt_data_counts n = listing_counts(l);
    hash_listing(&hash, l);
    json_t *images = JSON_OBJECT({"train", json_integer(n.train)}, {"val", json_integer(n.validation)},
                                 {"test", json_integer(n.test)});
    json_t *value = JSON_OBJECT({"tool", json_string("difftune " DT_VERSION)}, {"data_set", json_string(name)},
                                {"source", json_string(l->root)}, {"split", json_string(l->described)},
                                {"classes", json_integer(n.classes)}, {"images", images},
                                {"missing", json_integer(l->missing)}, {"listing_sha256", json_string(hash.hex)});
    *text = value ? json_text_of(value, JSON_INDENT(1)) : NULL;
    json_decref(value);
    return *text ? DT_OK : error_set(err, DT_ERR_MEMORY, "%s: no memory to describe it", l->root);
}

static dt_status make_class_folder(const listing *l, int64_t i, const char *part, dt_error *err)
{
    const listed_image *one = &l->image[i];
    char *folder;
    if (i > 0 && one->split == l->image[i - 1].split && !strcmp(one->class_name, l->image[i - 1].class_name))
        return DT_OK;
    if (asprintf(&folder, "%s/%s/%s", part, listing_split_name[one->split], one->class_name) < 0)
        return error_set(err, DT_ERR_MEMORY, "%s: no memory to make it", part);
    file_make_dirs(folder, err);
    free(folder);
    return err->status;
}

static bool leads_to(const char *link, const char *target)
{
    char *found = malloc(strlen(target) + 2);
    ssize_t length = found ? readlink(link, found, strlen(target) + 1) : -1;
    bool same = length == (ssize_t)strlen(target) && !memcmp(found, target, (size_t)length);
    free(found);
    return same;
}

static dt_status make_link(const listing *l, const listed_image *one, const char *part, dt_error *err)
{
    char *link = NULL, *target = NULL;
    if (asprintf(&target, "%s/%s", l->root, one->path) < 0) target = NULL;
    if (asprintf(&link, "%s/%s/%s/%s", part, listing_split_name[one->split], one->class_name, one->file) < 0)
        link = NULL;
    if (!link || !target)
        error_set(err, DT_ERR_MEMORY, "%s: no memory to link it", one->path);
    else if (symlink(target, link) != 0 && errno != EEXIST)
        error_set_errno(err, "cannot make the link %s", link);
    else if (!leads_to(link, target))
        error_set(err, DT_ERR_CONFLICT, "%s is there and no link to %s; choose another output_dir", link, target);
    free(link);
    free(target);
    return err->status;
}

static dt_status make_all(const listing *l, const char *part, bool (*watch)(void *user, int64_t done, int64_t count),
                          void *user, dt_error *err)
{
    for (int64_t i = 0; i < l->count && err->status == DT_OK; i++) {
        if (make_class_folder(l, i, part, err) == DT_OK) make_link(l, &l->image[i], part, err);
        bool due = (i + 1) % WATCH_INTERVAL == 0 || i + 1 == l->count;
        if (due && watch && !watch(user, i + 1, l->count) && i + 1 < l->count)
            error_set(err, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld links", part, (long long)(i + 1),
                      (long long)l->count);
    }
    return err->status;
}

/* The lock goes with its folder. */
static dt_status put_in_place(const char *part, const char *output, file_lock *lock, dt_error *err)
{
    if (file_rename(part, output, err) == DT_OK) file_join(lock->path, output, FILE_LOCK_NAME);
    return err->status;
}

/* Whether `folder` was made, or begun, from the same listing: its description is the same text. */
static bool is_same(const char *folder, const char *text)
{
    char path[DT_PATH_MAX], *found = NULL;
    size_t size;
    dt_error ignored = {0};
    file_join(path, folder, DATASET_DESCRIPTION);
    bool same = file_read_all(&found, &size, path, DESCRIPTION_MAX, &ignored) == DT_OK && !strcmp(found, text);
    free(found);
    return same;
}

/* What an earlier call began is gone on with, by one process at a time. */
static dt_status make_folder(const listing *l, const char *text, const char *output,
                             bool (*watch)(void *user, int64_t done, int64_t count), void *user, dt_error *err)
{
    char part[DT_PATH_MAX], path[DT_PATH_MAX];
    file_lock lock;
    snprintf(part, sizeof part, "%.*s.part", FILE_FOLDER_MAX, output);
    file_join(path, part, DATASET_DESCRIPTION);
    if ((!is_same(part, text) && file_check_free_folder(part, "data set", err) != DT_OK) ||
        file_make_dirs(part, err) != DT_OK || file_lock_folder(&lock, part, err) != DT_OK)
        return err->status;
    if ((is_same(part, text) || file_write_atomic(path, text, strlen(text), err) == DT_OK) &&
        make_all(l, part, watch, user, err) == DT_OK)
        put_in_place(part, output, &lock, err);
    file_unlock(&lock);
    return err->status;
}

/* The user's folder is not to be changed, so that nothing is made inside of it. */
static dt_status check_outside(const listing *l, const char *output, dt_error *err)
{
    if (!file_is_inside(output, l->root)) return DT_OK;
    return error_set(err, DT_ERR_CONFLICT, "output_dir %s lies in %s, which is not to be changed", output, l->root);
}

dt_status listing_link(const listing *l, const char *name, const char *output,
                       bool (*watch)(void *user, int64_t done, int64_t count), void *user, bool *made, dt_error *err)
{
    char *text, folder[DT_PATH_MAX];
    *made = false;
    snprintf(folder, sizeof folder, "%s", output);
    for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) folder[--n] = '\0';
    if (check_outside(l, folder, err) != DT_OK || describe(&text, l, name, err) != DT_OK) return err->status;
    if (!is_same(folder, text)) {
        *made = true;
        if (file_check_free_folder(folder, "data set", err) == DT_OK) make_folder(l, text, folder, watch, user, err);
    }
    free(text);
    return err->status;
}
