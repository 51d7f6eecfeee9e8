/* libFuzzer target: any bytes as a MATLAB file; every value of what is accepted is read. */
#include "fuzz_file.h"
#include "container/mat_file.h"

static volatile double sink;

static void visit(const mat_value *v)
{
    for (int64_t i = 0; v->number && i < v->count; i++) sink += v->number[i];
    for (const char *c = v->text; c && *c; c++) sink += *c;
    for (int64_t i = 0; i < v->field_count; i++) assert(mat_field(v, v->count, v->field[i]) == NULL);
    for (int64_t i = 0; i < v->child_count; i++) visit(&v->child[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mat_file f;
    dt_error err = {0};
    int fd = fuzz_file_open(data, size);
    if (mat_file_open(&f, fuzz_file_path(fd), &err) == DT_OK)
        for (int64_t i = 0; i < f.count; i++) visit(&f.variable[i]);
    mat_file_close(&f);
    close(fd);
    return 0;
}
