/* Published data sets: a small fake archive of every layout, what comes out of it, and lists that lie. */
#include "file/folder.h"
#include "temp_folder.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"
#include "file/lock.h"
#include "prepare/published.h"
#include "file/text_table.h"

static void put(const char *name, const char *text)
{
    dt_error err = {0};
    char folder[600];
    snprintf(folder, sizeof folder, "%s", temp_path(name));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(file_make_dirs(folder, &err), DT_OK);
    FILE *f = fopen(temp_path(name), "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_all(const char *const names[])
{
    for (; *names; names++) put(*names, *names);
}

static void put_vector(const char *name, const char *vector)
{
    char path[128], *bytes;
    size_t size;
    dt_error err = {0};
    put(name, "");
    snprintf(path, sizeof path, "vectors/mat/%s", vector);
    assert_int_equal(file_read_all(&bytes, &size, path, 1 << 20, &err), DT_OK);
    FILE *f = fopen(temp_path(name), "wb");
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
    free(bytes);
}

/* ---- preparing ---- */

static dt_prepared result;
static char message[DT_MESSAGE_MAX];

static dt_status prepare(const char *name, const char *folder, const char *output)
{
    dt_settings s;
    dt_context *c;
    dt_settings_init(&s);
    s.threads = 1;
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path(output));
    assert_int_equal(dt_open(&c, &s), DT_OK);
    dt_status status = dt_data_prepare(c, name, temp_path(folder), &s, NULL, &result);
    snprintf(message, sizeof message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

static void prepare_well(const char *name, const char *folder, const char *output)
{
    prepare(name, folder, output);
    assert_string_equal(message, "");
}

static void assert_counts(int64_t classes, int64_t train, int64_t validation, int64_t test)
{
    assert_int_equal(result.found.classes, classes);
    assert_int_equal(result.found.train, train);
    assert_int_equal(result.found.validation, validation);
    assert_int_equal(result.found.test, test);
}

/* The link at `name` leads to a file that says what it is. */
static void assert_link(const char *name, const char *target)
{
    struct stat st;
    char found[600] = "";
    if (lstat(temp_path(name), &st) != 0 || !S_ISLNK(st.st_mode)) fail_msg("%s is no link", name);
    FILE *f = fopen(temp_path(name), "rb");
    assert_non_null(f);
    assert_non_null(fgets(found, sizeof found, f));
    fclose(f);
    assert_string_equal(found, target);
}

static void assert_refused(const char *name, const char *folder, dt_status status, const char *part)
{
    dt_status got = prepare(name, folder, "refused");
    if (got != status || !strstr(message, part)) fail_msg("expected \"%s\", found %d \"%s\"", part, got, message);
    assert_false(file_exists(temp_path("refused")));
}

/* ---- every layout ---- */

static void food101_is_split_by_its_lists(void **state)
{
    (void)state;
    put_all((const char *[]){"a/food-101/images/apple_pie/1.jpg", "a/food-101/images/apple_pie/2.jpg",
                             "a/food-101/images/waffles/3.jpg", "a/food-101/images/waffles/9.jpg", NULL});
    put("a/food-101/meta/train.txt", "waffles/3\r\napple_pie/1\n\n");
    put("a/food-101/meta/test.txt", "apple_pie/2\n");
    prepare_well("food101", "a", "out");
    assert_counts(2, 2, 0, 1);
    assert_true(result.made);
    assert_int_equal(result.published.train, 75750);
    assert_link("out/train/waffles/3.jpg", "a/food-101/images/waffles/3.jpg");
    assert_link("out/test/apple_pie/2.jpg", "a/food-101/images/apple_pie/2.jpg");
    assert_false(file_exists(temp_path("out/train/waffles/9.jpg"))); /* in no list */
    assert_true(file_exists(temp_path("out/data_set.json")));
    prepare_well("food101", "a/food-101/", "inner"); /* the archive's own folder may be named as well */
    assert_link("inner/train/apple_pie/1.jpg", "a/food-101/images/apple_pie/1.jpg");
}

static void sun397_has_the_papers_split_and_the_official_one(void **state)
{
    (void)state;
    put_all((const char *[]){"s/SUN397/a/abbey/sun_a.jpg", "s/SUN397/c/church/outdoor/sun_b.jpg",
                             "s/SUN397/c/church/indoor/sun_b.jpg", NULL});
    put("s/Partitions/Training_01.txt", "/a/abbey/sun_a.jpg\n");
    put("s/Partitions/Testing_01.txt", "/c/church/outdoor/sun_b.jpg\n");
    prepare_well("sun397", "s", "official");
    assert_counts(2, 1, 0, 1);
    assert_non_null(strstr(result.split_source, "partition 1"));
    put("s/sun397_tfds_tr.txt", "/a/abbey/sun_a.jpg\n");
    put("s/sun397_tfds_va.txt", "/c/church/indoor/sun_b.jpg\n");
    put("s/sun397_tfds_te.txt", "/c/church/outdoor/sun_b.jpg\n");
    prepare_well("sun397", "s", "out");
    assert_counts(3, 1, 1, 1);
    assert_link("out/test/church-outdoor/sun_b.jpg", "s/SUN397/c/church/outdoor/sun_b.jpg");
    assert_link("out/val/church-indoor/sun_b.jpg", "s/SUN397/c/church/indoor/sun_b.jpg");
}

static void df20m_is_read_from_its_tables(void **state)
{
    (void)state;
    put_all((const char *[]){"d/DF20M/1-a.JPG", "d/DF20M/2-b.JPG", "d/DF20M/3-c.JPG", NULL});
    put("d/DF20M-train_metadata_PROD.csv",
        "\xef\xbb\xbfgbifID,note,image_path,class_id,scientificName\n"
        "1,\"two\nlines, a \"\"comma\"\"\",1-a.JPG,17.0,\"Amanita muscaria (L.) Lam., 1783\"\r\n"
        "2,,2-b.JPG,4,Boletus edulis Bull.\n");
    put("d/DF20M-public_test_metadata_PROD.csv", "image_path,scientificName,class_id\n3-c.JPG,Amanita synonym,17\n");
    prepare_well("df20m", "d", "out");
    assert_counts(2, 2, 0, 1);
    assert_link("out/train/0017 Amanita muscaria (L.) Lam., 1783/1-a.JPG", "d/DF20M/1-a.JPG");
    assert_link("out/test/0017 Amanita muscaria (L.) Lam., 1783/3-c.JPG", "d/DF20M/3-c.JPG");
    assert_link("out/train/0004 Boletus edulis Bull./2-b.JPG", "d/DF20M/2-b.JPG");
}

static void caltech101_has_no_split_and_no_background(void **state)
{
    (void)state;
    put_all((const char *[]){"c/101_ObjectCategories/ant/image_0001.jpg", "c/101_ObjectCategories/bass/image_0001.jpg",
                             "c/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg",
                             "c/101_ObjectCategories/ant/tmp", "c/101_ObjectCategories/.hidden/x.jpg", NULL});
    prepare_well("caltech101", "c", "out");
    assert_counts(2, 2, 0, 0);
    assert_link("out/train/bass/image_0001.jpg", "c/101_ObjectCategories/bass/image_0001.jpg");
}

static void put_birds(void)
{
    put_all((const char *[]){"b/CUB_200_2011/images/001.Albatross/x.jpg", "b/CUB_200_2011/images/002.Wren/y.jpg",
                             "b/CUB_200_2011/images/002.Wren/z.jpg", NULL});
    put("b/CUB_200_2011/images.txt", "1 001.Albatross/x.jpg\n2 002.Wren/y.jpg\n3 002.Wren/z.jpg\n");
    put("b/CUB_200_2011/train_test_split.txt", "1 1\n2 0\n3 1\n");
    put("b/CUB_200_2011/image_class_labels.txt", "1 1\n2 2\n3 2\n");
    put("b/CUB_200_2011/classes.txt", "1 001.Albatross\n2 002.Wren\n");
}

static void cub200_is_read_from_its_numbered_lists(void **state)
{
    (void)state;
    put_birds();
    prepare_well("cub200", "b", "out");
    assert_counts(2, 2, 0, 1);
    assert_link("out/train/002.Wren/z.jpg", "b/CUB_200_2011/images/002.Wren/z.jpg");
    assert_link("out/test/002.Wren/y.jpg", "b/CUB_200_2011/images/002.Wren/y.jpg");
}

static void artbench10_keeps_its_folders(void **state)
{
    (void)state;
    put_all((const char *[]){"r/artbench-10-imagefolder-split/train/baroque/a.jpg",
                             "r/artbench-10-imagefolder-split/test/baroque/b.jpg",
                             "r/artbench-10-imagefolder-split/test/ukiyo_e/c.jpg", NULL});
    prepare_well("artbench10", "r", "out");
    assert_counts(2, 1, 0, 2);
    assert_link("out/test/ukiyo_e/c.jpg", "r/artbench-10-imagefolder-split/test/ukiyo_e/c.jpg");
}

static void oxford_flowers_are_read_from_matlab_files(void **state)
{
    (void)state;
    for (int i = 1; i <= 7; i++) {
        char name[64];
        snprintf(name, sizeof name, "f/jpg/image_%05d.jpg", i);
        put(name, name);
    }
    put_vector("f/setid.mat", "setid.mat");
    put_vector("f/imagelabels.mat", "imagelabels.mat");
    prepare_well("oxford_flowers", "f", "out");
    assert_counts(2, 2, 1, 4);
    assert_link("out/train/001/image_00002.jpg", "f/jpg/image_00002.jpg");
    assert_link("out/train/002/image_00003.jpg", "f/jpg/image_00003.jpg");
    assert_link("out/val/001/image_00004.jpg", "f/jpg/image_00004.jpg");
    assert_link("out/test/001/image_00007.jpg", "f/jpg/image_00007.jpg");
}

static void put_cars(const char *test_annotations)
{
    put_all((const char *[]){"k/cars_train/cars_train/00001.jpg", "k/cars_train/cars_train/00002.jpg",
                             "k/cars_train/cars_train/00003.jpg", "k/cars_test/cars_test/00001.jpg",
                             "k/cars_test/cars_test/00002.jpg", NULL});
    put_vector("k/car_devkit/devkit/cars_meta.mat", "cars_meta.mat");
    put_vector("k/car_devkit/devkit/cars_train_annos.mat", "cars_train_annos.mat");
    char name[128];
    snprintf(name, sizeof name, "k/%s", test_annotations);
    put_vector(name, test_annotations);
}

static void stanford_cars_are_read_from_annotations_or_class_folders(void **state)
{
    (void)state;
    put_cars("cars_test_annos_withlabels.mat");
    prepare_well("stanford_cars", "k", "out");
    assert_counts(3, 3, 0, 2);
    assert_link("out/train/Ram C-V Cargo Van Minivan 2012/00001.jpg", "k/cars_train/cars_train/00001.jpg");
    assert_link("out/test/AM General Hummer SUV 2000/00001.jpg", "k/cars_test/cars_test/00001.jpg");
    assert_link("out/train/Citro\xc3\xabn C3 2001/00003.jpg", "k/cars_train/cars_train/00003.jpg");
    put_all((const char *[]){"sorted/car_data/car_data/train/Audi S4/1.jpg",
                             "sorted/car_data/car_data/test/Audi S4/2.jpg", NULL});
    prepare_well("stanford_cars", "sorted", "other");
    assert_counts(1, 1, 0, 1);
}

static void annotations_without_classes_are_refused_by_name(void **state)
{
    (void)state;
    put_cars("cars_test_annos_withlabels.mat");
    remove(temp_path("k/cars_test_annos_withlabels.mat"));
    put_vector("k/car_devkit/devkit/cars_test_annos.mat", "cars_test_annos.mat");
    assert_refused("stanford_cars", "k", DT_ERR_FORMAT, "cars_test_annos_withlabels.mat");
}

/* ---- what is made can be used, made again, and is never written over ---- */

static void a_prepared_folder_opens_as_a_data_set(void **state)
{
    (void)state;
    uint8_t rgb[3 * 64] = {0};
    dt_error err = {0};
    put_birds();
    assert_int_equal(image_write_png(temp_path("b/CUB_200_2011/images/001.Albatross/x.jpg"), rgb, 8, 8, NULL, 0, &err),
                     DT_OK);
    assert_int_equal(image_write_png(temp_path("b/CUB_200_2011/images/002.Wren/y.jpg"), rgb, 8, 8, NULL, 0, &err),
                     DT_OK);
    assert_int_equal(image_write_png(temp_path("b/CUB_200_2011/images/002.Wren/z.jpg"), rgb, 8, 8, NULL, 0, &err),
                     DT_OK);
    prepare_well("cub200", "b", "out");
    dataset d;
    dataset_options options = {.resolution = 8, .background = "#ffffff"};
    dataset_open(&d, temp_path("out"), &options, &err);
    assert_string_equal(err.message, "");
    assert_string_equal(d.split, "train");
    assert_int_equal(d.count, 2);
    assert_int_equal(d.report.skip_count, 0);
    assert_string_equal(d.class_name[1], "002.Wren");
    dataset_close(&d);
    char test[600];
    snprintf(test, sizeof test, "%s:test", temp_path("out"));
    dataset_open(&d, test, &options, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(d.count, 1);
    dataset_close(&d);
}

static void the_same_folder_again_is_left_as_it_is(void **state)
{
    (void)state;
    put_birds();
    prepare_well("cub200", "b", "out");
    struct stat before, after;
    assert_int_equal(lstat(temp_path("out/train/002.Wren/z.jpg"), &before), 0);
    prepare_well("cub200", "b", "out/");
    assert_false(result.made);
    assert_counts(2, 2, 0, 1);
    assert_int_equal(lstat(temp_path("out/train/002.Wren/z.jpg"), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    put("b/CUB_200_2011/train_test_split.txt", "1 0\n2 0\n3 1\n"); /* another split: another data set */
    assert_int_equal(prepare("cub200", "b", "out"), DT_ERR_CONFLICT);
    put("mine/letter.txt", "dear");
    assert_int_equal(prepare("cub200", "b", "mine"), DT_ERR_CONFLICT);
    assert_int_equal(prepare("cub200", "b", "b/CUB_200_2011/out"), DT_ERR_CONFLICT);
    assert_int_equal(prepare("cub200", "b", "b"), DT_ERR_CONFLICT);
    assert_false(file_exists(temp_path("b/CUB_200_2011/out")));
}

static bool stop_at_once(void *user, int64_t done, int64_t count)
{
    (void)user;
    (void)count;
    return done > 1000;
}

static void an_interrupted_preparation_goes_on(void **state)
{
    (void)state;
    char list[40000] = "", *end = list, name[64];
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "a/images/pie/%04d.jpg", i);
        put(name, name);
        end += sprintf(end, "pie/%04d\n", i);
    }
    put("a/meta/train.txt", list);
    put("a/meta/test.txt", "");
    const published *set;
    listing l;
    dt_error err = {0};
    bool made;
    assert_int_equal(published_find(&set, "food101", &err), DT_OK);
    assert_int_equal(published_read(&l, set, temp_path("a"), &err), DT_OK);
    assert_int_equal(listing_link(&l, "food101", temp_path("out"), stop_at_once, NULL, &made, &err),
                     DT_ERR_INTERRUPTED);
    listing_close(&l);
    assert_false(file_exists(temp_path("out")));
    file_lock other; /* as if another process went on with it */
    error_clear(&err);
    assert_int_equal(file_lock_folder(&other, temp_path("out.part"), &err), DT_OK);
    assert_int_equal(prepare("food101", "a", "out"), DT_ERR_CONFLICT);
    assert_non_null(strstr(message, "out.part: another process is at work in this folder (process "));
    file_unlock(&other);
    prepare_well("food101", "a", "out");
    assert_false(file_exists(temp_path("out/" FILE_LOCK_NAME)));
    assert_counts(1, 1500, 0, 0);
    assert_link("out/train/pie/1499.jpg", "a/images/pie/1499.jpg");
    assert_false(file_exists(temp_path("out.part")));
}

static void missing_images_are_counted_and_named(void **state)
{
    (void)state;
    put_birds();
    remove(temp_path("b/CUB_200_2011/images/002.Wren/z.jpg"));
    prepare_well("cub200", "b", "out");
    assert_counts(2, 1, 0, 1);
    assert_int_equal(result.missing, 1);
    assert_string_equal(result.first_missing, "CUB_200_2011/images/002.Wren/z.jpg");
    remove(temp_path("b/CUB_200_2011/images/002.Wren/y.jpg"));
    remove(temp_path("b/CUB_200_2011/images/001.Albatross/x.jpg"));
    assert_refused("cub200", "b", DT_ERR_FORMAT, "none of the 3 listed images is there");
}

/* ---- lists that lie ---- */

static void paths_that_lead_out_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {"../secret/x", "pie/../../x", "/etc/passwd", "pie//x", "pie/./x",
                                        "pie/.x",      "x",           "pie/x\x01y",  ".pie/x"};
    put("secret/x.jpg", "");
    put("a/meta/test.txt", "");
    put("a/images/pie/1.jpg", "");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[128];
        snprintf(text, sizeof text, "pie/1\n%s\n", lines[i]);
        put("a/meta/train.txt", text);
        assert_refused("food101", "a", DT_ERR_FORMAT, "train.txt:2");
    }
}

static void lists_that_lie_are_refused(void **state)
{
    (void)state;
    put("a/images/pie/1.jpg", "");
    put("a/meta/test.txt", "");
    put("a/meta/train.txt", "pie/1\npie/1\n");
    assert_refused("food101", "a", DT_ERR_FORMAT, "twice");
    char *long_line = calloc(1, 1 << 20);
    memset(long_line, 'x', (1 << 20) - 1);
    long_line[3] = '/';
    put("a/meta/train.txt", long_line);
    free(long_line);
    assert_refused("food101", "a", DT_ERR_FORMAT, "train.txt:1");
    put("a/meta/train.txt", "");
    assert_refused("food101", "a", DT_ERR_FORMAT, "no images");
    remove(temp_path("a/meta/test.txt"));
    assert_refused("food101", "a", DT_ERR_FORMAT, "meta/test.txt is missing");
    put_birds();
    put("b/CUB_200_2011/images.txt", "1 001.Albatross/x.jpg\n1 002.Wren/y.jpg\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "images.txt:2: number 1 again");
    put("b/CUB_200_2011/images.txt", "99999999999999999999 001.Albatross/x.jpg\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "images.txt:1");
    put("b/CUB_200_2011/images.txt", "1\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "2 fields expected, found 1");
    put("b/CUB_200_2011/images.txt", "7 001.Albatross/x.jpg\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "image 7 has no named class");
    put("d/DF20M/1.JPG", "");
    put("d/DF20M-public_test_metadata_PROD.csv", "image_path,class_id,species\n");
    put("d/DF20M-train_metadata_PROD.csv", "image_path,class_id,species\n1.JPG,\"5,x\n");
    assert_refused("df20m", "d", DT_ERR_FORMAT, "a quote is never closed");
    put("d/DF20M-train_metadata_PROD.csv", "image_path,class_id,species\n1.JPG,5\n");
    assert_refused("df20m", "d", DT_ERR_FORMAT, "metadata_PROD.csv:2: 3 fields expected, found 2");
    put("d/DF20M-train_metadata_PROD.csv", "image_path,class_id,species\n1.JPG,-5,x\n");
    assert_refused("df20m", "d", DT_ERR_FORMAT, "class_id must be");
    put("d/DF20M-train_metadata_PROD.csv", "image_path,species\n1.JPG,x\n");
    assert_refused("df20m", "d", DT_ERR_FORMAT, "columns image_path");
}

static void classes_that_would_become_one_are_refused(void **state)
{
    (void)state;
    put_all((const char *[]){"s/SUN397/a/x/y/1.jpg", "s/SUN397/a/x-y/2.jpg", NULL});
    put("s/Partitions/Testing_01.txt", "/a/x-y/2.jpg\n");
    put("s/Partitions/Training_01.txt", "/a/x/y/1.jpg\n");
    assert_refused("sun397", "s", DT_ERR_FORMAT, "the classes \"x/y\" and \"x-y\" would both be the folder x-y");
    put_birds();
    put("b/CUB_200_2011/classes.txt", "1 Wren\n2 Wren\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "classes.txt: two classes have the name \"Wren\"");
}

static void nothing_to_train_on_is_refused(void **state)
{
    (void)state;
    put_birds();
    put("b/CUB_200_2011/train_test_split.txt", "1 0\n2 0\n3 0\n");
    assert_refused("cub200", "b", DT_ERR_FORMAT, "no image to train on: the split train is empty");
    put("b/CUB_200_2011/train_test_split.txt", "1 1\n2 0\n3 0\n");
    assert_int_equal(unlink(temp_path("b/CUB_200_2011/images/001.Albatross/x.jpg")), 0);
    assert_refused("cub200", "b", DT_ERR_FORMAT, "the first that is missing: CUB_200_2011/images/001.Albatross/x.jpg");
}

/* 32 MB of the shortest lines: 16 million rows. */
static void a_long_list_takes_a_small_multiple_of_its_size(void **state)
{
    (void)state;
    enum { LINES = 16 << 20 };
    dt_error err = {0};
    text_table t;
    char *text = malloc(2 * LINES);
    for (int i = 0; i < LINES; i++) memcpy(text + 2 * i, "a\n", 2);
    temp_write("long.txt", text, 2 * LINES);
    free(text);
    assert_int_equal(text_table_lines(&t, temp_path("long.txt"), 1, &err), DT_OK);
    assert_int_equal(t.row_count, LINES);
    assert_true(sizeof *t.row + sizeof *t.field <= 12);
    assert_string_equal(text_table_field(&t, LINES - 1, 0), "a");
    text_table_close(&t);
}

static void what_is_no_archive_is_refused(void **state)
{
    (void)state;
    put("empty/x.txt", "");
    assert_refused("food101", "empty", DT_ERR_FORMAT, "meta/train.txt");
    assert_refused("food101", "nowhere", DT_ERR_IO, "nowhere");
    assert_refused("food101", "empty/x.txt", DT_ERR_IO, "no folder");
    assert_refused("mnist", "empty", DT_ERR_ARG, "food101, sun397");
    assert_refused("stanford_cars", "empty", DT_ERR_FORMAT, "cars_train_annos.mat");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, temp_folder_make, temp_folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(food101_is_split_by_its_lists),
        TEST(sun397_has_the_papers_split_and_the_official_one),
        TEST(df20m_is_read_from_its_tables),
        TEST(caltech101_has_no_split_and_no_background),
        TEST(cub200_is_read_from_its_numbered_lists),
        TEST(artbench10_keeps_its_folders),
        TEST(oxford_flowers_are_read_from_matlab_files),
        TEST(stanford_cars_are_read_from_annotations_or_class_folders),
        TEST(annotations_without_classes_are_refused_by_name),
        TEST(a_prepared_folder_opens_as_a_data_set),
        TEST(the_same_folder_again_is_left_as_it_is),
        TEST(an_interrupted_preparation_goes_on),
        TEST(missing_images_are_counted_and_named),
        TEST(paths_that_lead_out_are_refused),
        TEST(lists_that_lie_are_refused),
        TEST(classes_that_would_become_one_are_refused),
        TEST(nothing_to_train_on_is_refused),
        TEST(a_long_list_takes_a_small_multiple_of_its_size),
        TEST(what_is_no_archive_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
