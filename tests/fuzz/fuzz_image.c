/* libFuzzer target: any bytes as a picture; what is accepted has as many pixels as it says. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_file.h"
#include "fuzz_repair.h"
#include "image/image.h"

static volatile unsigned sink;

static void read_input(const uint8_t *data, size_t size)
{
    image im;
    image_origin origin;
    dt_error err = {0};
    const image_options options = {.background = {255, 0, 128}, .pixel_limit = 1 << 20};
    if (image_decode(&im, &origin, data, size, "input", &options, &err) == DT_OK) {
        assert(im.width > 0 && im.height > 0 && im.width * im.height <= options.pixel_limit);
        for (int64_t i = 0; i < im.width * im.height * 3; i++) sink += im.rgb[i];
        assert(origin.orientation >= 1 && origin.orientation <= 8 && image_format_name(origin.format));
    }
    assert((err.status == DT_OK) == (err.message[0] == '\0') && !strchr(err.message, '\n'));
    image_close(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(read_input, data, size);
    return 0;
}
