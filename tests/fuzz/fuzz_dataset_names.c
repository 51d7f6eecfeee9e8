/* libFuzzer target: lines of any bytes as the paths of pictures in a folder that is opened as a data set. A line with a colon at
 * its end is the split that is asked for. */
#include "file/folder.h"
#include "fuzz_folder.h"

#include "data/dataset.h"

enum { FILES_MAX = 16 };

/* Links and what leads out of the folder are left to the tests. */
static void put_picture(const char *path, fuzz_bytes picture)
{
    char name[DT_PATH_MAX];
    dt_error err = {0};
    if (strstr(path, "..") || strlen(path) > 200) return;
    snprintf(name, sizeof name, "set/%s", path);
    char *slash = strrchr(name, '/');
    *slash = '\0';
    if (file_make_dirs(fuzz_path(name), &err) != DT_OK) return;
    *slash = '/';
    FILE *f = fopen(fuzz_path(name), "wb");
    if (!f) return;
    fwrite(picture.data, 1, picture.size, f);
    fclose(f);
}

static fuzz_bytes make_picture(void)
{
    static const uint8_t rgb[2 * 2 * 3];
    uint8_t *png;
    fuzz_bytes picture;
    dt_error err = {0};
    assert(image_encode_png(&png, &picture.size, rgb, 2, 2, NULL, 0, &err) == DT_OK);
    picture.data = png;
    return picture;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz_bytes picture;
    char text[2048], *rest = text, *line, split[64] = "";
    dataset d;
    dt_error err = {0};
    const dataset_options options = {
        .resolution = 2, .background = "#ffffff", .memory_limit_bytes = 1 << 24, .threads = 1};
    if (!picture.data) picture = make_picture();
    fuzz_copy(text, sizeof text, (fuzz_bytes){data, size});
    fuzz_remove(fuzz_path("set"));
    fuzz_make_dirs("set");
    for (int i = 0; i < FILES_MAX && (line = strsep(&rest, "\n"));) {
        const size_t length = strlen(line);
        if (length && line[length - 1] == ':')
            snprintf(split, sizeof split, ":%.*s", (int)length - 1, line);
        else
            put_picture(line, picture), i++;
    }
    char path[DT_PATH_MAX];
    snprintf(path, sizeof path, "%s%.60s", fuzz_path("set"), split);
    if (dataset_open(&d, path, &options, &err) == DT_OK) {
        for (int64_t i = 0; i < d.count; i++) assert(d.label[i] >= 0 && d.label[i] < d.class_count && d.name[i][0]);
        json_t *report = dataset_report_json(&d);
        assert(report);
        json_decref(report);
    }
    fuzz_check_error(&err);
    dataset_close(&d);
    return 0;
}
