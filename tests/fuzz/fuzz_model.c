/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as a model, and behind them a text as the classes to draw.
 * What is accepted is written in every format. */
#include "fuzz_tensors.h"

#include "data/class_list.h"
#include "fuzz_context.h"
#include "model/maker.h"

enum { BYTES_MAX = 1 << 21 };

static void write_formats(ctx *c, const denoiser *d)
{
    static const char *const names[] = {"out.safetensors", "out.pt", "out", "original.safetensors"};
    for (int format = DT_MODEL_SAFETENSORS; format <= DT_MODEL_ORIGINAL && !ctx_failed(c); format++) {
        const denoiser_file file = {.path = fuzz_path(names[format]), .format = (dt_model_format)format};
        d->ops->write(c, d, &file);
    }
}

static void list_classes(ctx *c, const denoiser *d, const model_info *info, fuzz_bytes classes)
{
    static dt_settings s;
    class_list l;
    dt_settings_init(&s);
    fuzz_copy(s.classes, sizeof s.classes, classes);
    if (class_list_read(&l, c, &s, info, d->class_count) != DT_OK) return;
    for (int64_t i = 0; i < l.count; i++) assert(l.class[i] >= 0 && l.class[i] < d -> class_count);
    assert(l.count > 0 && class_list_at(&l, 5) < d->class_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    denoiser d;
    model_info info = {0};
    fuzz_bytes rest = {data, size};
    ctx *c = fuzz_context();
    fuzz_put_tensors("model.safetensors", fuzz_part(&rest), BYTES_MAX);
    if (denoiser_load(c, &d, &info, fuzz_path("model.safetensors"), model_kinds_all) == DT_OK) {
        assert(d.shape.channels > 0 && d.shape.height > 0 && d.shape.width > 0 && d.class_count >= 0);
        list_classes(c, &d, &info, rest);
        fuzz_check_error(&c->error);
        error_clear(&c->error);
        write_formats(c, &d);
    }
    fuzz_check_error(&c->error);
    model_info_free(&info);
    return 0;
}
