/* libFuzzer target: any bytes as a safetensors file, and every value of it read when it is accepted. See run.sh. */
#include <assert.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(const tensor_entry *e)
{
    if (e->bytes == 0) return; /* a shape with a zero may have any other dimensions */
    dt_error err = {0};
    float *floats = malloc((size_t)e->count * sizeof *floats);
    int64_t *integers = malloc((size_t)e->count * sizeof *integers);
    assert(floats && integers);
    tensor_read_f32(floats, e, &err);
    error_clear(&err);
    tensor_read_i64(integers, e, &err);
    free(floats);
    free(integers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("fuzz", 0);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tensor_file f;
    dt_error err = {0};
    if (safetensors_open(&f, path, &err) == DT_OK) {
        for (size_t i = 0; i < f.count; i++) {
            assert(tensor_file_find(&f, f.entries[i].name) == &f.entries[i]);
            read_values(&f.entries[i]);
        }
        tensor_file_close(&f);
    }
    close(fd);
    return 0;
}
