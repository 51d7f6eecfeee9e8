/* libFuzzer target: any bytes as a tar of class folders with pictures. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_file.h"
#include "fuzz_repair.h"
#include "data/dataset.h"

enum { SIDE = 4 };

static void read_input(const uint8_t *data, size_t size)
{
    dataset d;
    dt_error err = {0};
    const dataset_options options = {
        .resolution = SIDE, .background = "#ffffff", .memory_limit_bytes = 1 << 24, .threads = 1};
    int fd = fuzz_file_open(data, size);
    if (dataset_open(&d, fuzz_file_path(fd), &options, &err) == DT_OK) {
        float chw[3 * SIDE * SIDE];
        for (int64_t i = 0; i < d.count; i++) {
            assert(d.label[i] >= 0 && d.label[i] < d.class_count && d.name[i][0]);
            dataset_image(chw, &d, i, i % 2);
        }
        json_decref(dataset_report_json(&d));
    }
    assert((err.status == DT_OK) == (err.message[0] == '\0') && !strchr(err.message, '\n'));
    dataset_close(&d);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(read_input, data, size);
    return 0;
}
