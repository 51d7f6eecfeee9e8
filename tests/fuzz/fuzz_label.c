/* libFuzzer target: any bytes as a text drawn into a picture, in a box that its first bytes say. */
#include "fuzz_folder.h"
#include "image/label.h"

enum { SIDE = 64, NUMBERS = 5 };

/* fontconfig keeps addresses as differences, which LeakSanitizer takes for lost. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static label_font *font;
    static uint8_t rgb[SIDE * SIDE * 3];
    static char text[4096];
    dt_error err = {0};
    if (!font) font = label_font_open(13, &err);
    if (!font || size < NUMBERS) return 0;
    fuzz_copy(text, sizeof text, (fuzz_bytes){data + NUMBERS, size - NUMBERS});
    const label_box box = {(int8_t)data[0], (int8_t)data[1], data[2], data[3]};
    image im = {SIDE, SIDE, rgb};
    const int64_t lines = label_lines(font, text, box.width, data[4]);
    assert(lines >= 0 && lines <= data[4]);
    memset(rgb, 0xff, sizeof rgb);
    label_draw(&im, font, text, box);
    for (int64_t y = 0; y < SIDE; y++) /* nothing is drawn beside the box */
        for (int64_t x = 0; x < SIDE; x++)
            assert((x >= box.left && x < box.left + box.width && y >= box.top && y < box.top + box.height) ||
                   rgb[3 * (y * SIDE + x)] == 0xff);
    return 0;
}
