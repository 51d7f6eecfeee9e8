/* libFuzzer target: any bytes as a file of tensors of any container, and every value of it read when it is accepted. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_file.h"
#include "fuzz_repair.h"
#include "container/tensor_open.h"

enum { VALUES_MAX = 1 << 16 }; /* of a tensor that is read; one that repeats its storage may have very many */

static void read_values(const tensor_entry *e)
{
    if (e->count > VALUES_MAX || e->bytes == 0) return; /* a shape with a zero may have any other dimensions */
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

static void read_input(const uint8_t *data, size_t size)
{
    tensor_file f;
    dt_error err = {0};
    int fd = fuzz_file_open(data, size);
    if (tensor_file_open(&f, fuzz_file_path(fd), &err) == DT_OK) {
        for (size_t i = 0; i < f.count; i++) {
            assert(tensor_file_find(&f, f.entries[i].name) == &f.entries[i]);
            read_values(&f.entries[i]);
        }
        if (f.metadata) free(json_dumps(f.metadata, 0));
        tensor_file_enter(&f, "a");
    }
    assert((err.status == DT_OK) == (err.message[0] == '\0') && !strchr(err.message, '\n'));
    tensor_file_close(&f);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_both(read_input, data, size);
    return 0;
}
