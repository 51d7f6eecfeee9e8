/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as what a model is asked to predict. */
#include "fuzz_tensors.h"

#include "fuzz_dit.h"

enum { BYTES_MAX = 1 << 14 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    if (!s.output[0]) {
        fuzz_put_dit("model.safetensors", 1, 2);
        dt_settings_init(&s);
        s.threads = 1;
        snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", fuzz_path("model.safetensors"));
        snprintf(s.input, sizeof s.input, "%s", fuzz_path("input.safetensors"));
        snprintf(s.output, sizeof s.output, "%s", fuzz_path("output.safetensors"));
    }
    fuzz_put_tensors("input.safetensors", (fuzz_bytes){data, size}, BYTES_MAX);
    ctx *c = fuzz_context();
    s.gradients = size && memmem(data, size, "noise", 5);
    dt_predict(c, &s);
    fuzz_check_error(&c->error);
    return 0;
}
