/* libFuzzer target: any bytes as the manifest of a bank with a good shard; or, where they do not begin as an object does,
 * tensors of any names and shapes (fuzz_tensors.h) as the shard of a good manifest. */
#include "fuzz_tensors.h"

#include "data/bank.h"
#include "fuzz_context.h"

enum { BYTES_MAX = 1 << 16 };

static const char shard_name[] = "bank/shard-00000.safetensors";

/* As examples are added up, whatever the samples are. */
static void read_all(const examples *b)
{
    for (int64_t i = 0; i < b->count; i++) {
        float x[4], told[2];
        examples_get(x, b, i, false, NULL);
        assert(x[0] == x[0]);
        example_table_get(told, &b->context, i, 0, false);
        assert(told[1] == told[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const denoiser_ops ops = {.kind = "network"};
    static const denoiser d = {
        .ops = &ops, .shape = {1, 2, 2}, .context_tokens = 1, .context_width = 2}; /* what bank_open asks of it */
    const codec pixels = codec_of_pixels(1);
    const examples_options options = {.codec = &pixels, .resolution = 2, .background = "#ffffff"};
    const bool is_manifest = size && data[0] == '{';
    examples b;
    file_hash hash;
    dt_error err = {0};
    ctx *c = fuzz_context();
    fuzz_make_dirs("bank");
    fuzz_put_tensors(shard_name,
                     is_manifest ? fuzz_text("x F32 3,1,2,2 = 1 2\ncontext F32 3,1,2 = 3") : (fuzz_bytes){data, size},
                     BYTES_MAX);
    assert(file_sha256(&hash, fuzz_path(shard_name), &err) == DT_OK);
    char good[512];
    snprintf(good, sizeof good,
             "{\"format\":\"" BANK_FORMAT "\",\"drawing\":{\"base_sha256\":\"b\"},\"shards\":[{\"file\":"
             "\"shard-00000.safetensors\",\"sha256\":\"%s\"}]}",
             hash.hex);
    fuzz_put("bank/manifest.json", is_manifest ? (fuzz_bytes){data, size} : fuzz_text(good));
    if (bank_open(c, &b, fuzz_path("bank"), &d, "b", &options) == DT_OK) {
        assert(b.count > 0 && strlen(b.sha256) == 64);
        read_all(&b);
    }
    fuzz_check_error(&c->error);
    examples_close(&b);
    return 0;
}
