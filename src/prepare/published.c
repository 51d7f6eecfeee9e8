#include "prepare/published.h"

#include <stdio.h>
#include <string.h>

/* Counts are those of the paper's appendix B.1 where it has them, else of the data sets' own pages; layouts were read off
 * torchvision's and TensorFlow Datasets' loaders and public code that reads the archives, not off the archives
 * themselves. Caltech101 has no split of its own; 8,677 is what remains of its 9,144 images without the background class. */
const published published_sets[] = {
    {"food101",
     "Food-101",
     "food-101",
     {101, 75750, 0, 25250},
     {{"the lists meta/train.txt and meta/test.txt of the archive", layout_read_lists,
       .list = {"meta/train.txt", NULL, "meta/test.txt"}, .images = {"images"}, .extension = ".jpg"}}},

    {"sun397",
     "SUN397",
     "SUN397",
     {397, 76128, 10875, 21750},
     {{"the lists sun397_tfds_tr.txt, _va.txt and _te.txt of TensorFlow Datasets", layout_read_lists,
       .list = {"sun397_tfds_tr.txt", "sun397_tfds_va.txt", "sun397_tfds_te.txt"}, .images = {""}, .skipped = 1},
      {"partition 1 of the ten in Partitions.zip, 50 + 50 images a class", layout_read_lists,
       .list = {"Partitions/Training_01.txt|Training_01.txt", NULL, "Partitions/Testing_01.txt|Testing_01.txt"},
       .images = {""}, .skipped = 1}}},

    {"df20m",
     "Danish Fungi 2020 Mini",
     "DF20M-images",
     {182, 32753, 0, 3640},
     {{"the tables DF20M-train_metadata_PROD.csv and DF20M-public_test_metadata_PROD.csv", layout_read_csv,
       .list = {"DF20M-train_metadata_PROD.csv|DF20M-metadata/DF20M-train_metadata_PROD.csv", NULL,
                "DF20M-public_test_metadata_PROD.csv|DF20M-metadata/DF20M-public_test_metadata_PROD.csv"},
       .images = {"DF20M|images"}},
      {"the later tables DanishFungi2020-Mini_train_metadata_DEV.csv and .._test_metadata_DEV.csv", layout_read_csv,
       .list = {"DanishFungi2020-Mini_train_metadata_DEV.csv", NULL, "DanishFungi2020-Mini_test_metadata_DEV.csv"},
       .images = {"DF20M|images"}}}},

    {"caltech101",
     "Caltech 101",
     "caltech-101",
     {101, 8677, 0, 0},
     {{"none: the data set has no split; all images are in train, the background class is left out",
       layout_read_folders, .images = {"101_ObjectCategories"}, .left_out = "BACKGROUND_Google"}}},

    {"cub200",
     "CUB-200-2011",
     "CUB_200_2011",
     {200, 5994, 0, 5794},
     {{"train_test_split.txt of the archive", layout_read_index, .list = {"images.txt", NULL, "train_test_split.txt"},
       .images = {"images"}, .labels = "image_class_labels.txt", .names = "classes.txt"}}},

    {"artbench10",
     "ArtBench-10",
     "artbench-10-imagefolder-split",
     {10, 50000, 0, 10000},
     {{"the folders train and test of the archive", layout_read_folders, .images = {"train", NULL, "test"}}}},

    {"oxford_flowers",
     "Oxford 102 Flowers",
     "flowers-102",
     {102, 1020, 1020, 6149},
     {{"setid.mat of the data set's page", layout_read_mat_numbers, .list = {"setid.mat"}, .images = {"jpg"},
       .labels = "imagelabels.mat"}}},

    {"stanford_cars",
     "Stanford Cars",
     "stanford_cars",
     {196, 8144, 0, 8041},
     {{"cars_train_annos.mat and cars_test_annos_withlabels.mat", layout_read_mat_annotations,
       .list = {"devkit/cars_train_annos.mat|car_devkit/devkit/cars_train_annos.mat|cars_train_annos.mat", NULL,
                "cars_test_annos_withlabels.mat|devkit/cars_test_annos_withlabels.mat|"
                "car_devkit/devkit/cars_test_annos_withlabels.mat|devkit/cars_test_annos.mat|"
                "car_devkit/devkit/cars_test_annos.mat"},
       .images = {"cars_train/cars_train|cars_train", NULL, "cars_test/cars_test|cars_test"},
       .names = "devkit/cars_meta.mat|car_devkit/devkit/cars_meta.mat|cars_meta.mat"},
      {"the folders train and test of an archive that is sorted by classes", layout_read_folders,
       .images = {"train|car_data/car_data/train|car_data/train", NULL, "test|car_data/car_data/test|car_data/test"}}}},
};
const int published_set_count = sizeof published_sets / sizeof *published_sets;

dt_status published_find(const published **found, const char *name, dt_error *err)
{
    char names[DT_TEXT_MAX];
    int n = 0;
    for (int i = 0; i < published_set_count; i++) {
        if (!strcmp(published_sets[i].name, name)) {
            *found = &published_sets[i];
            return DT_OK;
        }
        n += snprintf(names + n, sizeof names - (size_t)n, "%s%s", i ? ", " : "", published_sets[i].name);
    }
    return error_set(err, DT_ERR_ARG, "unknown data set '%s'; known are %s", name, names);
}

/* What must be there for a layout to be the one: its first list, or its first folder of images. */
static const char *mark_of(const archive_layout *one)
{
    return one->list[LISTING_TRAIN] ? one->list[LISTING_TRAIN] : one->images[LISTING_TRAIN];
}

static const archive_layout *choose(const listing *l, const published *set)
{
    char path[DT_PATH_MAX];
    for (int i = 0; i < LAYOUTS_MAX && set->layout[i].read; i++)
        if (listing_locate(path, l, mark_of(&set->layout[i]))) return &set->layout[i];
    return NULL;
}

static dt_status refuse_folder(const listing *l, const published *set, dt_error *err)
{
    char marks[DT_MESSAGE_MAX / 2];
    int n = 0;
    for (int i = 0; i < LAYOUTS_MAX && set->layout[i].read; i++)
        n += snprintf(marks + n, sizeof marks - (size_t)n, "%s%s", i ? "|" : "", mark_of(&set->layout[i]));
    return error_set(err, DT_ERR_FORMAT, "%s: not the unpacked archive of %s: expected %s, found none of them", l->root,
                     set->title, marks);
}

dt_status published_read(listing *l, const published *set, const char *folder, dt_error *err)
{
    if (listing_open(l, folder, set->folder, err) != DT_OK) return err->status;
    const archive_layout *layout = choose(l, set);
    if (!layout) return refuse_folder(l, set, err);
    l->described = layout->described;
    if (layout->read(l, layout, err) == DT_OK) listing_check(l, err);
    return err->status;
}
