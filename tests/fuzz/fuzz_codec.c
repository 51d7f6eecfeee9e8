/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as a latent codec in diffusers' folder, and behind them its
 * config.json. What is accepted encodes and decodes a picture. */
#include "fuzz_tensors.h"

#include "fuzz_context.h"
#include "model/codec/codec.h"

enum { BYTES_MAX = 1 << 21, SIDE_MAX = 32, VALUES_MAX = 1 << 14 };

static void use(ctx *c, const codec *k)
{
    static float picture[3 * SIDE_MAX * SIDE_MAX], values[VALUES_MAX];
    if (k->factor > SIDE_MAX || k->channels * CODEC_MOMENTS_MAX > VALUES_MAX) return;
    codec_encode(c, k, values, picture, 1, k->factor, k->factor);
    codec_decode(c, k, picture, values, 1, 1, 1);
    memset(picture, 0, sizeof picture);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    codec k;
    fuzz_bytes rest = {data, size};
    ctx *c = fuzz_context();
    fuzz_put_tensors("diffusion_pytorch_model.safetensors", fuzz_part(&rest), BYTES_MAX);
    fuzz_put("config.json", rest);
    if (rest.size == 0) remove(fuzz_path("config.json"));
    if (codec_open(c, &k, fuzz_path("diffusion_pytorch_model.safetensors")) == DT_OK) {
        assert(k.channels > 0 && k.factor > 0 && k.scale > 0);
        use(c, &k);
    }
    fuzz_check_error(&c->error);
    return 0;
}
