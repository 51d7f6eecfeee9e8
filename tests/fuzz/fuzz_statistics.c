/* libFuzzer target: arrays of any names and shapes (fuzz_tensors.h) as a file of feature statistics. The distance of what is
 * accepted from itself is nothing. */
#include <math.h>

#include "fuzz_tensors.h"

#include "container/npz.h"
#include "container/tensor_open.h"
#include "eval/frechet.h"
#include "eval/statistics.h"
#include "fuzz_context.h"

enum { BYTES_MAX = 1 << 16 };

/* The tensors as arrays of numpy's, those that have a type of theirs. */
static void write_arrays(const tensor_file *f)
{
    static const struct {
        safetensors_dtype tensor;
        npz_dtype array;
    } types[] = {{SAFETENSORS_F64, NPZ_F64},
                 {SAFETENSORS_F32, NPZ_F32},
                 {SAFETENSORS_I64, NPZ_I64},
                 {SAFETENSORS_I32, NPZ_I32},
                 {SAFETENSORS_U8, NPZ_U8}};
    npz_array arrays[NPZ_ARRAY_MAX];
    size_t count = 0;
    dt_error err = {0};
    for (size_t i = 0; i < f->count && count < NPZ_ARRAY_MAX; i++) {
        const tensor_entry *e = &f->entries[i];
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            if (types[k].tensor != e->dtype || strlen(e->name) >= NPZ_NAME_MAX) continue;
            npz_array *a = &arrays[count++];
            *a = (npz_array){.dtype = types[k].array, .dim_count = e->dim_count, .data = e->data};
            strcpy(a->name, e->name);
            memcpy(a->dims, e->dims, (size_t)e->dim_count * sizeof *e->dims);
        }
    }
    npz_write(fuzz_path("statistics.npz"), arrays, count, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const statistics_kind kind = {.measure = "M", .dim = 3, .spatial_dim = 2, .published = true};
    statistics s;
    tensor_file f;
    double distance;
    dt_error err = {0};
    fuzz_put_tensors("arrays.safetensors", (fuzz_bytes){data, size}, BYTES_MAX);
    assert(tensor_file_open(&f, fuzz_path("arrays.safetensors"), &err) == DT_OK);
    write_arrays(&f);
    tensor_file_close(&f);
    if (statistics_load(&s, fuzz_path("statistics.npz"), &kind, NULL, &err) == DT_OK) {
        const feature_moments *m = &s.features;
        if (frechet_distance(fuzz_context(), &distance, m->mean, m->covariance, m->mean, m->covariance, m->dim) ==
            DT_OK)
            assert(isfinite(distance) && distance >= 0);
    }
    fuzz_check_error(&err);
    statistics_close(&s);
    return 0;
}
