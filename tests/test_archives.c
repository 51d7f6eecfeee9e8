/* Data sets from tars and zips: the same as from folders; packings, labels of WebDataset, hostile archives. */
#include "dataset_fixture.h"

/* ---- tars ---- */

static void an_archive_of_any_packing_is_the_same_data_as_the_folder(void **state)
{
    (void)state;
    const char *names[] = {"tench/1.png", "dog/a/2.png", "dog/1.png", "cat/9.png"};
    const char *tars[] = {"set.tar", "set.tar.gz", "set.tar.xz", "set.zip"};
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "folder/%s", names[i]);
        put(name, picture(40 * i, 20 + i, 11));
    }
    dataset folder = open_with(temp_path("folder"), &plain);
    for (packing how = PLAIN; how <= ZIP; how++) {
        struct archive *a = begin_tar(tars[how], how);
        add_to_tar(a, "./lead/", (bytes){0});
        for (int i = 0; i < 4; i++) {
            char name[64];
            snprintf(name, sizeof name, "./lead/set/%s", names[i]);
            add_to_tar(a, name, picture(40 * i, 20 + i, 11));
        }
        end_tar(a);
        dataset d = open_with(temp_path(tars[how]), &plain);
        assert_string_equal(d.sha256, folder.sha256);
        assert_int_equal(d.class_count, 3);
        assert_image(&d, 2, "dog/a/2.png", 1, 40);
        assert_string_equal(d.split, "");
        dataset_close(&d);
    }
    dataset_close(&folder);
}

static void a_folder_and_its_tars_have_the_same_classes(void **state)
{
    (void)state;
    const char *names[] = {"animals/cat/1.png", "animals/dog/2.png", "animals/dog/deep/3.png"};
    struct archive *inside = begin_tar("inside.tar", PLAIN), *whole = begin_tar("whole.tar", PLAIN);
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "wrapped/%s", names[i]);
        put(name, picture(i, 8, 8));
        add_to_tar(whole, name, picture(i, 8, 8));
        snprintf(name, sizeof name, "./%s", names[i]);
        add_to_tar(inside, name, picture(i, 8, 8));
    }
    end_tar(inside);
    end_tar(whole);
    const char *paths[] = {"wrapped", "inside.tar", "whole.tar"};
    char sha256[65] = "";
    for (int i = 0; i < 3; i++) {
        dataset d = open_with(temp_path(paths[i]), &plain);
        assert_int_equal(d.class_count, 2);
        assert_string_equal(d.class_name[0], "cat");
        assert_string_equal(d.class_name[1], "dog");
        if (i) assert_string_equal(d.sha256, sha256);
        snprintf(sha256, sizeof sha256, "%s", d.sha256);
        dataset_close(&d);
    }
    /* an empty class folder is a folder of this level still */
    make_folder("wrapped/fish");
    assert_fails(temp_path("wrapped"), &plain, DT_ERR_FORMAT, "the class folder \"fish\" holds no image");
}

static void a_single_class_in_a_tar_keeps_its_name(void **state)
{
    (void)state;
    const char *names[] = {"cat/1.png", "set/cat/1.png", "set/train/cat/1.png", "set/train/cat/deep/1.png"};
    for (int i = 0; i < 4; i++) {
        struct archive *a = begin_tar("one.tar", PLAIN);
        add_to_tar(a, names[i], picture(9, 8, 8));
        end_tar(a);
        dataset d = open_with(temp_path("one.tar"), &plain);
        assert_int_equal(d.class_count, 1);
        assert_string_equal(d.class_name[0], "cat");
        dataset_close(&d);
    }
}

static void a_name_twice_in_a_tar_means_the_later_one(void **state)
{
    (void)state;
    struct archive *a = begin_tar("twice.tar", PLAIN);
    add_to_tar(a, "cat/1.png", picture(1, 8, 8));
    add_to_tar(a, "dog/1.png", picture(2, 8, 8));
    add_to_tar(a, "cat/1.png", picture(3, 8, 8));
    end_tar(a);
    dataset d = open_with(temp_path("twice.tar"), &plain);
    assert_int_equal(d.count, 2);
    assert_image(&d, 0, "cat/1.png", 0, 3);
    assert_image(&d, 1, "dog/1.png", 1, 2);
    dataset_close(&d);
}

static void a_damaged_archive_is_an_error(void **state)
{
    (void)state;
    for (packing how = PLAIN; how <= ZIP; how++) {
        make_folder("t");
        struct archive *a = begin_tar("t/whole", how);
        for (int i = 0; i < 6; i++) {
            char name[32];
            uint8_t noise[40 * 40 * 3];
            for (size_t k = 0; k < sizeof noise; k++) noise[k] = (uint8_t)((k * k * 2654435761u + (size_t)i * k) >> 11);
            snprintf(name, sizeof name, "s/c/%d.png", i);
            add_to_tar(a, name, make_png(noise, 120, 40, 40, (png_recipe){.type = PNG_COLOR_TYPE_RGB, .depth = 8}));
        }
        end_tar(a);
        char *data;
        size_t size;
        dt_error err = {0};
        assert_int_equal(file_read_all(&data, &size, temp_path("t/whole"), 1 << 24, &err), DT_OK);
        for (size_t cut = 0; cut + 16384 < size; cut += 64 * 13) {
            bytes part = {0};
            bytes_add(&part, data, cut);
            put("t/cut", part);
            dt_error why = {0};
            dataset d;
            dt_status status = dataset_open(&d, temp_path("t/cut"), &plain, &why);
            /* A plain tar that ends between two members is a whole, shorter tar. */
            if (status == DT_OK)
                assert_true(how == PLAIN && d.count < 6);
            else
                assert_int_equal(status, DT_ERR_FORMAT);
            dataset_close(&d);
        }
        free(data);
    }
}

/* Both have the length and the checksum of what is packed behind the last byte of it. */
static void a_packing_whose_end_does_not_fit_is_refused(void **state)
{
    (void)state;
    const struct {
        packing how;
        const char *name, *why;
        size_t end; /* bytes that are looked at: gzip's length and sum; xz's sum, index and footer */
    } cases[] = {{GZIP, "sum.tar.gz", "gzip: ", 8}, {XZ, "sum.tar.xz", "xz: ", 28}};
    for (size_t c = 0; c < 2; c++) {
        dt_error err = {0};
        char *data;
        size_t size;
        const char *path = temp_path(cases[c].name);
        struct archive *a = begin_tar(cases[c].name, cases[c].how);
        for (int i = 0; i < 3; i++)
            add_to_tar(a, i ? i == 1 ? "cat/1.png" : "dog/1.png" : "cat/2.png", picture(i, 9, 9));
        end_tar(a);
        dataset d = open_with(path, &plain);
        dataset_close(&d);
        assert_int_equal(file_read_all(&data, &size, path, 1 << 20, &err), DT_OK);
        for (size_t back = 1; back <= cases[c].end; back++) {
            data[size - back] ^= 1;
            temp_write(cases[c].name, data, size);
            assert_fails(temp_path(cases[c].name), &plain, DT_ERR_FORMAT, cases[c].why);
            data[size - back] ^= 1;
            temp_write(cases[c].name, data, size - back);
            assert_fails(temp_path(cases[c].name), &plain, DT_ERR_FORMAT, cases[c].why);
        }
        free(data);
    }
}

/* ---- zips ---- */

static void put_number(bytes *file, size_t at, uint32_t value, int count)
{
    for (int i = 0; i < count; i++) file->data[at + (size_t)i] = (uint8_t)(value >> 8 * i);
}

/* Sets a field of the first file of a zip, in its own header and in the directory, which has it two bytes further on. */
static void set_zip_field(const char *name, size_t at, uint32_t value, int count)
{
    dt_error err = {0};
    char *data;
    bytes file = {0};
    assert_int_equal(file_read_all(&data, &file.size, temp_path(name), 1 << 24, &err), DT_OK);
    file.data = (uint8_t *)data;
    const uint8_t *central = memmem(data, file.size, "PK\1\2", 4);
    assert_non_null(central);
    put_number(&file, at, value, count);
    put_number(&file, (size_t)(central - file.data) + at + 2, value, count);
    temp_write(name, data, file.size);
    free(data);
}

enum { ZIP_FLAGS_AT = 6, ZIP_METHOD_AT = 8, ZIP_SIZE_AT = 22 };

static void make_zip(const char *name, bytes first)
{
    struct archive *a = begin_tar(name, ZIP);
    add_to_tar(a, "cat/1.png", first);
    add_to_tar(a, "cat/2.png", picture(2, 8, 8));
    end_tar(a);
}

static void a_zip_that_is_encrypted_is_refused_in_one_line(void **state)
{
    (void)state;
    struct archive *a = archive_write_new();
    archive_write_set_format_zip(a);
    assert_int_equal(archive_write_set_options(a, "zip:encryption=traditional"), ARCHIVE_OK);
    archive_write_set_passphrase(a, "open sesame");
    assert_int_equal(archive_write_open_filename(a, temp_path("locked.zip")), ARCHIVE_OK);
    add_to_tar(a, "cat/1.png", picture(1, 8, 8));
    end_tar(a);
    assert_fails(temp_path("locked.zip"), &plain, DT_ERR_FORMAT, "locked.zip: cat/1.png is encrypted; unpack");
}

static void names_that_lead_out_of_an_archive_are_told(void **state)
{
    (void)state;
    const packing how[] = {PLAIN, ZIP};
    for (int i = 0; i < 2; i++) {
        struct archive *a = begin_tar("out", how[i]);
        add_to_tar(a, "../../cat/0.png", picture(1, 8, 8));
        add_to_tar(a, "set/cat/1.png", picture(1, 8, 8));
        add_to_tar(a, "/set/cat/2.png", picture(2, 8, 8)); /* below the root, where unpacking puts it too */
        add_to_tar(a, "set/cat/../../x.png", picture(3, 8, 8));
        add_to_tar(a, "set//./dog/3.png", picture(4, 8, 8));
        end_tar(a);
        dataset d = open_with(temp_path("out"), &plain);
        assert_int_equal(d.count, 3);
        assert_int_equal(d.class_count, 2);
        assert_image(&d, 1, "cat/2.png", 0, 2);
        assert_image(&d, 2, "dog/3.png", 1, 4);
        assert_int_equal(d.report.skip_count, 2);
        assert_skipped(&d, "..", "leads out of the archive");
        assert_skipped(&d, "set/cat/..", "leads out of the archive");
        dataset_close(&d);
    }
}

static void a_file_of_a_zip_that_inflates_beyond_its_size_is_refused(void **state)
{
    (void)state;
    bytes zeros = {calloc(1, 1 << 26), 1 << 26};
    make_zip("bomb.zip", zeros);
    set_zip_field("bomb.zip", ZIP_SIZE_AT, 1000, 4);
    assert_fails(temp_path("bomb.zip"), &plain, DT_ERR_FORMAT, "bomb.zip: not a");
    set_zip_field("bomb.zip", ZIP_SIZE_AT, 1 << 27, 4);
    assert_fails(temp_path("bomb.zip"), &plain, DT_ERR_FORMAT, "bomb.zip: not a");
    set_zip_field("bomb.zip", ZIP_SIZE_AT, 0x7fffffff, 4);
    dataset d = open_with(temp_path("bomb.zip"), &plain);
    assert_image(&d, 0, "cat/2.png", 0, 2);
    assert_skipped(&d, "cat/1.png", "larger than 1 GiB");
    dataset_close(&d);
}

/* Some writers say that names are UTF-8, some say nothing. */
static void names_of_a_zip_may_be_utf8_in_any_locale(void **state)
{
    (void)state;
    for (int flagged = 0; flagged < 2; flagged++) {
        struct archive *a = begin_tar("names.zip", ZIP);
        add_to_tar(a, "caf\xc3\xa9/1.png", picture(1, 8, 8));
        end_tar(a);
        if (flagged) set_zip_field("names.zip", ZIP_FLAGS_AT, 0x808, 2); /* also: sizes follow the data */
        dataset d = open_with(temp_path("names.zip"), &plain);
        assert_image(&d, 0, "caf\xc3\xa9/1.png", 0, 1);
        assert_string_equal(d.class_name[0], "caf\xc3\xa9");
        dataset_close(&d);
    }
}

static void a_file_of_a_zip_that_is_packed_otherwise_is_told(void **state)
{
    (void)state;
    make_zip("lzma.zip", picture(1, 8, 8));
    set_zip_field("lzma.zip", ZIP_METHOD_AT, 14, 2);
    dataset d = open_with(temp_path("lzma.zip"), &plain);
    assert_int_equal(d.count, 1);
    assert_skipped(&d, "cat/1.png", "method of zip");
    dataset_close(&d);
}

static void every_damaged_byte_of_a_zip_is_found_or_does_no_harm(void **state)
{
    (void)state;
    dt_error err = {0};
    char *data;
    size_t size;
    make_zip("z.zip", picture(1, 8, 8));
    dataset whole = open_with(temp_path("z.zip"), &plain);
    assert_int_equal(file_read_all(&data, &size, temp_path("z.zip"), 1 << 20, &err), DT_OK);
    for (size_t at = 0; at < 2 * size; at++) {
        dt_error why = {0};
        dataset d;
        const size_t cut = at / 2;
        data[cut] ^= (char)(at % 2 ? 1 << cut % 8 : 0);
        temp_write("z.zip", data, at % 2 ? size : cut);
        const dt_status status = dataset_open(&d, temp_path("z.zip"), &plain, &why);
        for (int64_t i = 0; status == DT_OK && i < d.count; i++) /* a name has no checksum */
            if (!strcmp(d.name[i], whole.name[i]))
                assert_memory_equal(d.pixels + i * 8 * 8 * 3, whole.pixels + i * 8 * 8 * 3, 8 * 8 * 3);
        if (status != DT_OK) assert_true(status == DT_ERR_FORMAT && strstr(why.message, "z.zip"));
        dataset_close(&d);
        data[cut] ^= (char)(at % 2 ? 1 << cut % 8 : 0);
    }
    free(data);
    dataset_close(&whole);
}

/* ---- WebDataset ---- */

typedef struct member {
    const char *name, *text; /* NULL: a picture, of the shade that its place in the list gives */
} member;

static void add_members(const char *archive, const char *folder, packing how, const member *members, int count)
{
    struct archive *a = begin_tar(archive, how);
    for (int i = 0; i < count; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s/%s", folder, members[i].name);
        put(name, members[i].text ? text_file(members[i].text) : picture(i, 8, 8));
        add_to_tar(a, members[i].name, members[i].text ? text_file(members[i].text) : picture(i, 8, 8));
    }
    end_tar(a);
}

static void labels_of_web_dataset_are_classes_in_folders_and_archives(void **state)
{
    (void)state;
    const member members[] = {{"0001.jpg", NULL},   {"0001.cls", "10\n"},  {"0001.json", "{}"},    {"0002.cls", "2"},
                              {"0002.png", NULL},   {"0002.txt", "a cat"}, {"x/3.left.jpg", NULL}, {"x/3.cls", " 10 "},
                              {"x/4.v2.png", NULL}, {"x/4.v2.cls", "0"},   {"0005.jpg", NULL},     {"0006.jpg", NULL},
                              {"0006.cls", "\1\n"}};
    const packing how[] = {PLAIN, XZ, ZIP};
    for (int i = 0; i <= 3; i++) {
        if (i < 3) add_members("web", "unpacked", how[i], members, 13);
        dataset d = open_with(temp_path(i < 3 ? "web" : "unpacked"), &plain);
        const char *classes[] = {"0", "2", "10"};
        assert_int_equal(d.class_count, 3);
        for (int c = 0; c < 3; c++) assert_string_equal(d.class_name[c], classes[c]);
        assert_int_equal(d.count, 4);
        assert_image(&d, 0, "x/4.v2.png", 0, 8);
        assert_image(&d, 1, "0002.png", 1, 4);
        assert_image(&d, 2, "0001.jpg", 2, 0);
        assert_image(&d, 3, "x/3.left.jpg", 2, 6);
        assert_skipped(&d, "0005.jpg", "no .cls file");
        assert_skipped(&d, "0006.jpg", "no .cls file");
        assert_skipped(&d, "0006.cls", "no name of a class");
        assert_skipped(&d, "0001.json", "a caption");
        assert_skipped(&d, "0002.txt", "a caption");
        dataset_close(&d);
    }
}

static void labels_may_be_names_and_the_later_of_two_counts(void **state)
{
    (void)state;
    const member members[] = {{"1.png", NULL}, {"1.cls", "tench"},       {"2.png", NULL}, {"2.cls", "9"},
                              {"3.png", NULL}, {"3.cls", "caf\xc3\xa9"}, {"1.cls", "10"}};
    add_members("web.tar", "unpacked", PLAIN, members, 7);
    dataset d = open_with(temp_path("web.tar"), &plain);
    const char *classes[] = {"10", "9", "caf\xc3\xa9"};
    assert_int_equal(d.class_count, 3);
    for (int c = 0; c < 3; c++) assert_string_equal(d.class_name[c], classes[c]);
    assert_image(&d, 0, "1.png", 0, 0);
    dataset_close(&d);
    char *names[] = {"tench", "caf\xc3\xa9", "9", "10"};
    dataset_options options = plain;
    options.class_name = names;
    options.class_count = 4;
    d = open_with(temp_path("web.tar"), &options);
    assert_image(&d, 0, "1.png", 3, 0);
    assert_image(&d, 2, "3.png", 1, 4);
    dataset_close(&d);
    const member strays[] = {{"1.png", NULL}, {"2.cls", "3"}};
    add_members("stray.tar", "stray", PLAIN, strays, 2);
    assert_fails(temp_path("stray.tar"), &plain, DT_ERR_FORMAT, "none of its pictures has a .cls file");
}

/* The same rule where some can be read and where none can: what has no label that names a class is left out. */
static void labels_that_cannot_be_read_do_not_make_one_class_of_all(void **state)
{
    (void)state;
    const member members[] = {{"a/1.png", NULL}, {"a/1.cls", "\1"}, {"b/2.png", NULL}, {"b/2.cls", ""}};
    const packing how[] = {PLAIN, ZIP};
    for (int i = 0; i <= 2; i++) {
        if (i < 2) add_members("web", "unpacked", how[i], members, 4);
        assert_fails(temp_path(i < 2 ? "web" : "unpacked"), &plain, DT_ERR_FORMAT,
                     "none of its pictures has a .cls file beside it that names a class");
    }
    put("links/1.png", picture(0, 8, 8));
    assert_int_equal(symlink("nowhere", temp_path("links/1.cls")), 0);
    assert_fails(temp_path("links"), &plain, DT_ERR_FORMAT, "none of its pictures has a .cls file");
}

/* What tells two sets apart is also which class a picture is of, which names do not tell here. */
static void another_label_is_another_set(void **state)
{
    (void)state;
    char sha256[2][65];
    for (int i = 0; i < 2; i++) {
        const member members[] = {{"1.png", NULL},          {"1.cls", "0"},  {"2.png", NULL},
                                  {"2.cls", i ? "1" : "0"}, {"3.png", NULL}, {"3.cls", "1"}};
        add_members("web.tar", "unpacked", PLAIN, members, 6);
        dataset d = open_with(temp_path("web.tar"), &plain);
        assert_image(&d, 1, "2.png", i, 2);
        memcpy(sha256[i], d.sha256, sizeof d.sha256);
        dataset_close(&d);
    }
    assert_string_not_equal(sha256[0], sha256[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DISK(a_packing_whose_end_does_not_fit_is_refused),
        ON_DISK(an_archive_of_any_packing_is_the_same_data_as_the_folder),
        ON_DISK(a_folder_and_its_tars_have_the_same_classes),
        ON_DISK(a_single_class_in_a_tar_keeps_its_name),
        ON_DISK(a_name_twice_in_a_tar_means_the_later_one),
        ON_DISK(a_zip_that_is_encrypted_is_refused_in_one_line),
        ON_DISK(names_that_lead_out_of_an_archive_are_told),
        ON_DISK(a_file_of_a_zip_that_inflates_beyond_its_size_is_refused),
        ON_DISK(names_of_a_zip_may_be_utf8_in_any_locale),
        ON_DISK(a_file_of_a_zip_that_is_packed_otherwise_is_told),
        ON_DISK(every_damaged_byte_of_a_zip_is_found_or_does_no_harm),
        ON_DISK(labels_of_web_dataset_are_classes_in_folders_and_archives),
        ON_DISK(labels_may_be_names_and_the_later_of_two_counts),
        ON_DISK(labels_that_cannot_be_read_do_not_make_one_class_of_all),
        ON_DISK(another_label_is_another_set),
        ON_DISK(a_damaged_archive_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
