/* libFuzzer target: any bytes as an .npz file; every value of it is converted when it is accepted, and arr_0 is read piece by
 * piece as a stack of samples. */
#include <stdlib.h>

#include "fuzz_file.h"
#include "fuzz_repair.h"
#include "container/npz.h"
#include "data/sample_stack.h"

static void read_stack(const char *path)
{
    dt_error err = {0};
    sample_stack s;
    sample_stack_open(&s, path, &err);
    while (err.status == DT_OK && s.next < s.count && s.width * s.height < 1 << 20) {
        image picture;
        if (sample_stack_next(&s, &picture, &err) == DT_OK) image_close(&picture);
    }
    sample_stack_close(&s);
}

static void read_input(const uint8_t *data, size_t size)
{
    static npz z;
    dt_error err = {0};
    int fd = fuzz_file_open(data, size);
    if (npz_read(&z, fuzz_file_path(fd), 1 << 20, &err) == DT_OK) {
        for (size_t i = 0; i < z.count; i++) {
            double *values = malloc((size_t)npz_count(&z.arrays[i]) * sizeof *values + 1);
            assert(values && npz_find(&z, z.arrays[i].name) == &z.arrays[i]);
            npz_to_f64(values, &z.arrays[i]);
            free(values);
        }
    }
    npz_free(&z);
    read_stack(fuzz_file_path(fd));
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(read_input, data, size);
    return 0;
}
