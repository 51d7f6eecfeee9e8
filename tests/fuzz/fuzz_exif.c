/* libFuzzer target: any bytes as the EXIF block of a picture. */
#include "fuzz_file.h"
#include "image/image_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int orientation = image_exif_orientation(data, size);
    assert(orientation >= 1 && orientation <= 8);
    return 0;
}
