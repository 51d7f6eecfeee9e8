/* Data sets of small pictures, as folders and archives, and what is expected of them. */
#ifndef TESTS_DATASET_FIXTURE_H
#define TESTS_DATASET_FIXTURE_H

#include "file/folder.h"
#include "temp_folder.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "data/dataset.h"
#include "picture_files.h"

#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, temp_folder_make, temp_folder_remove)

/* ---- making data ---- */

static inline void make_folder(const char *name)
{
    dt_error err = {0};
    if (file_make_dirs(temp_path(name), &err) != DT_OK) fail_msg("%s", err.message);
}

static inline void put(const char *name, bytes file)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", name);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        make_folder(folder);
    }
    FILE *f = fopen(temp_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(file.data, 1, file.size, f), file.size);
    fclose(f);
    free(file.data);
}

/* A PNG of one colour; `shade` tells pictures apart. */
static inline bytes picture(int shade, int width, int height)
{
    uint8_t *rgb = malloc((size_t)(width * height * 3));
    for (int i = 0; i < width * height; i++) memcpy(rgb + 3 * i, (uint8_t[]){(uint8_t)shade, 100, 200}, 3);
    bytes file = make_png(rgb, (size_t)width * 3, width, height, (png_recipe){.type = PNG_COLOR_TYPE_RGB, .depth = 8});
    free(rgb);
    return file;
}

static inline bytes text_file(const char *text)
{
    bytes file = {0};
    bytes_add(&file, text, strlen(text));
    return file;
}

typedef enum packing { PLAIN, GZIP, XZ, ZIP } packing;

static inline struct archive *begin_tar(const char *name, packing how)
{
    struct archive *a = archive_write_new();
    if (how == ZIP)
        archive_write_set_format_zip(a);
    else
        archive_write_set_format_ustar(a);
    if (how == GZIP) archive_write_add_filter_gzip(a);
    if (how == XZ) archive_write_add_filter_xz(a);
    assert_int_equal(archive_write_open_filename(a, temp_path(name)), ARCHIVE_OK);
    return a;
}

/* Consumes `file`; a name that ends in a slash is a folder. */
static inline void add_to_tar(struct archive *a, const char *name, bytes file)
{
    struct archive_entry *entry = archive_entry_new();
    bool folder = name[strlen(name) - 1] == '/';
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, folder ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, 0755);
    archive_entry_set_size(entry, (la_int64_t)file.size);
    assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
    if (file.size) assert_int_equal(archive_write_data(a, file.data, file.size), file.size);
    archive_entry_free(entry);
    free(file.data);
}

static inline void end_tar(struct archive *a)
{
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
}

/* ---- reading it ---- */

static const dataset_options plain = {.resolution = 8, .background = "#ffffff", .threads = 2};

static inline dataset open_with(const char *path, const dataset_options *options)
{
    dt_error err = {0};
    dataset d;
    if (dataset_open(&d, path, options, &err) != DT_OK) fail_msg("%s", err.message);
    return d;
}

/* Checks the failure, that its message holds `why`, and that nothing is left behind. */
static inline void assert_fails(const char *path, const dataset_options *options, dt_status expected, const char *why)
{
    dt_error err = {0};
    dataset d;
    dt_status status = dataset_open(&d, path, options, &err);
    if (status != expected) fail_msg("%s instead of %s", dt_status_name(status), dt_status_name(expected));
    if (!strstr(err.message, why)) fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    assert_null(d.pixels);
    assert_int_equal(d.count, 0);
}

static inline void assert_skipped(const dataset *d, const char *file, const char *reason)
{
    for (int64_t i = 0; i < d->report.skip_count; i++) {
        const dataset_skip *skip = &d->report.skip[i];
        if (strcmp(skip->file, file) == 0 && strstr(skip->reason, reason)) return;
    }
    fail_msg("%s (%s) is not among the %d skipped", file, reason, (int)d->report.skip_count);
}

static inline void assert_image(const dataset *d, int64_t index, const char *name, int label, int shade)
{
    assert_string_equal(d->name[index], name);
    assert_int_equal(d->label[index], label);
    const uint8_t *rgb = d->pixels + index * d->resolution * d->resolution * 3;
    assert_int_equal(rgb[0], shade);
    assert_int_equal(rgb[d->resolution * d->resolution * 3 - 3], shade);
}

#endif
