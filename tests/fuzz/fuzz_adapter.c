/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as an adapter, behind them its adapter_config.json and, where
 * that is not empty, tensors as the base that it is joined to. What is accepted is written for other programs. */
#include "fuzz_tensors.h"

#include "adapter/lora_file.h"
#include "container/tensor_open.h"
#include "fuzz_dit.h"

enum { BYTES_MAX = 1 << 16 };

static void convert(const char *base, const char *joined)
{
    for (int format = DT_ADAPTER_PEFT; format <= DT_ADAPTER_KOHYA; format++) {
        bool left_out;
        model_file m;
        tensor_file f = {0};
        dt_error err = {0};
        fuzz_remove(fuzz_path("out"));
        if (model_file_open(&m, base, model_kinds_all, &err) == DT_OK && tensor_file_open(&f, joined, &err) == DT_OK)
            lora_convert(&f, &m.tensors, base, m.kind, (dt_adapter_format)format, DT_FILE_F32, fuzz_path("out"),
                         &left_out, &err);
        fuzz_check_error(&err);
        tensor_file_close(&f);
        model_file_close(&m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool made;
    denoiser d;
    fuzz_bytes rest = {data, size};
    if (!made) fuzz_put_dit("base.safetensors", 1, 2);
    made = true;
    fuzz_make_dirs("adapter");
    fuzz_put_tensors("adapter/adapter_model.safetensors", fuzz_part(&rest), BYTES_MAX);
    const fuzz_bytes config = fuzz_part(&rest);
    fuzz_put("adapter/adapter_config.json", config);
    if (config.size == 0) remove(fuzz_path("adapter/adapter_config.json"));
    if (rest.size) fuzz_put_tensors("other.safetensors", rest, BYTES_MAX);

    char base[DT_PATH_MAX], path[DT_PATH_MAX];
    snprintf(base, sizeof base, "%s", fuzz_path(rest.size ? "other.safetensors" : "base.safetensors"));
    snprintf(path, sizeof path, "%s", fuzz_path("adapter/adapter_model.safetensors"));
    ctx *c = fuzz_context();
    const model_choice choice = {.adapters = path};
    const bool joined = denoiser_load_as(c, &d, NULL, base, &choice, model_kinds_all) == DT_OK;
    fuzz_check_error(&c->error);
    if (joined) convert(base, path);
    return 0;
}
