/* libFuzzer target: any bytes as the index of a model in two good shards. */
#include "fuzz_tensors.h"

#include "container/tensor_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    tensor_file f;
    dt_error err = {0};
    if (!made) {
        fuzz_put_tensors("a.safetensors", fuzz_text("x F32 2 = 1\ny F32 1,3 = 2\n@k v"), 1 << 10);
        fuzz_put_tensors("b.safetensors", fuzz_text("z BF16 2,2 = 3"), 1 << 10);
        made = true;
    }
    fuzz_put("model.safetensors.index.json", (fuzz_bytes){data, size});
    if (tensor_file_open(&f, fuzz_path("model.safetensors.index.json"), &err) == DT_OK) {
        for (size_t i = 0; i < f.count; i++) {
            float values[4];
            assert(f.entries[i].count <= 4 && tensor_file_find(&f, f.entries[i].name) == &f.entries[i]);
            assert(tensor_read_finite(values, &f.entries[i], &err) == DT_OK);
        }
    }
    fuzz_check_error(&err);
    tensor_file_close(&f);
    return 0;
}
