/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as what a model is asked to predict. */
#include "fuzz_tensors.h"

#include "../dit_fixture.h"
#include "fuzz_context.h"

enum { BYTES_MAX = 1 << 14 };

static void make_model(void)
{
    const dit_config config = {
        .input_size = 2, .patch = 2, .channels = 1, .hidden = 4, .depth = 1, .heads = 1, .class_count = 2};
    dit m;
    ctx *c = fuzz_context();
    assert(dit_open(c, &m, &config) == DT_OK);
    params_init(c, &m.params, 1);
    assert(fixture_save(c, &m, NULL, fuzz_path("model.safetensors"), DT_FILE_F32, NULL, 0) == DT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static dt_settings s;
    if (!s.output[0]) {
        make_model();
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
