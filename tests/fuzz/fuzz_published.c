/* libFuzzer target: any bytes as the lists of a published data set: a line with the number of the set, then for each of its
 * layouts the lists of the three splits, the classes of images and the names of classes. What is accepted is made. */
#include "fuzz_folder.h"
#include "prepare/published.h"

/* The first of "a|b|c". */
static void put_list(const char *choices, fuzz_bytes part)
{
    char name[DT_PATH_MAX];
    snprintf(name, sizeof name, "set/%.*s", (int)strcspn(choices, "|"), choices);
    fuzz_put(name, part);
    if (part.size == 0) remove(fuzz_path(name));
}

/* Pictures as the seeds list them, which are only looked for, and folders where lists lie. */
static void make_pictures(void)
{
    static const char *const names[] = {"images/a/1.jpg",       "images/b/2.jpg",      "a/c/1.jpg",
                                        "DF20M/1.jpg",          "jpg/image_00001.jpg", "jpg/image_00002.jpg",
                                        "jpg/image_00003.jpg",  "jpg/image_00004.jpg", "jpg/image_00005.jpg",
                                        "cars_train/00001.jpg", "cars_test/00001.jpg"};
    static const char *const folders[] = {"meta", "Partitions", "DF20M-metadata", "devkit"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s", folders[i]);
        fuzz_make_dirs(name);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "set/%s", names[i]);
        *strrchr(name, '/') = '\0';
        fuzz_make_dirs(name);
        snprintf(name, sizeof name, "set/%s", names[i]);
        fuzz_put(name, fuzz_text(""));
    }
}

static void check(const listing *l)
{
    for (int64_t i = 0; i < l->count; i++) {
        assert(l->image[i].class_name[0] && !strchr(l->image[i].class_name, '/') && !strstr(l->image[i].path, "/../"));
        assert(strncmp(l->image[i].path, "../", 3) != 0 && l->image[i].path[0] != '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    listing l;
    fuzz_bytes rest = {data, size};
    dt_error err = {0};
    if (!made) make_pictures();
    made = true;
    const fuzz_bytes number = fuzz_part(&rest);
    const published *set = &published_sets[number.size ? (uint8_t)(number.data[0] - '0') % published_set_count : 0];
    for (int i = 0; i < LAYOUTS_MAX && set->layout[i].read; i++) {
        const archive_layout *layout = &set->layout[i];
        for (int k = 0; k < LISTING_SPLITS; k++)
            if (layout->list[k]) put_list(layout->list[k], fuzz_part(&rest));
        if (layout->labels) put_list(layout->labels, fuzz_part(&rest));
        if (layout->names) put_list(layout->names, fuzz_part(&rest));
    }
    if (published_read(&l, set, fuzz_path("set"), &err) == DT_OK) {
        bool linked;
        check(&l);
        fuzz_remove(fuzz_path("out"));
        assert(listing_link(&l, set->name, fuzz_path("out"), NULL, NULL, &linked, &err) == DT_OK && linked);
    }
    fuzz_check_error(&err);
    listing_close(&l);
    /* What another set has may stand for a list of the next input's. */
    for (int i = 0; i < LAYOUTS_MAX && set->layout[i].read; i++)
        for (int k = 0; k < LISTING_SPLITS; k++)
            if (set->layout[i].list[k]) put_list(set->layout[i].list[k], fuzz_text(""));
    return 0;
}
