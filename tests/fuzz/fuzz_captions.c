/* libFuzzer target: any bytes as a file that says what two pictures are told. The first byte chooses which: m metadata.jsonl,
 * p prompt.json, j a.json, c a.caption, else a.txt. */
#include "fuzz_folder.h"

#include "data/dataset.h"

static bool knows(void *user, dataset_file *file)
{
    (void)user;
    (void)file;
    return false;
}

static dt_status take(void *user, const dataset_file *file, const uint8_t *rgb, dt_error *err)
{
    (void)user;
    assert(file->number < file->count && rgb);
    return err->status;
}

static void put_pictures(void)
{
    static const uint8_t rgb[2 * 2 * 3];
    static uint8_t *png;
    static size_t size;
    dt_error err = {0};
    if (!png) assert(image_encode_png(&png, &size, rgb, 2, 2, NULL, 0, &err) == DT_OK);
    fuzz_put("told/a.png", (fuzz_bytes){png, size});
    fuzz_put("told/b.png", (fuzz_bytes){png, size});
    fuzz_put("told/edges/a.png", (fuzz_bytes){png, size});
}

static const char *file_of(uint8_t first)
{
    switch (first) {
    case 'm': return "told/metadata.jsonl";
    case 'p': return "told/prompt.json";
    case 'j': return "told/a.json";
    case 'c': return "told/a.caption";
    default: return "told/a.txt";
    }
}

static void check(const dataset *d)
{
    assert(d->count > 0 && d->caption_first[0] == 0);
    for (int64_t i = 0; i < d->count; i++) {
        assert(d->caption_first[i + 1] > d->caption_first[i]);
        for (int64_t k = d->caption_first[i]; k < d->caption_first[i + 1]; k++) assert(d->caption[k][0]);
    }
    json_t *report = dataset_report_json(d);
    assert(report);
    json_decref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const dataset_taker taker = {.knows = knows, .take = take};
    dataset_wants wants = {.default_prompt = "a picture"};
    const dataset_options options = {
        .resolution = 2, .background = "#ffffff", .memory_limit_bytes = 1 << 24, .threads = 1, .wants = &wants};
    if (size == 0) return 0;
    fuzz_remove(fuzz_path("told"));
    fuzz_make_dirs("told/edges");
    put_pictures();
    fuzz_put(file_of(data[0]), (fuzz_bytes){data + 1, size - 1});
    for (int controls = 0; controls < 2; controls++) {
        dataset d;
        dt_error err = {0};
        if (controls) wants.control_taker = &taker;
        if (dataset_open(&d, fuzz_path("told"), &options, &err) == DT_OK) check(&d);
        fuzz_check_error(&err);
        dataset_close(&d);
    }
    return 0;
}
