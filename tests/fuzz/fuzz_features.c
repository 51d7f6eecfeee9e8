/* libFuzzer target: tensors of any names and shapes (fuzz_tensors.h) as the weights of SqueezeNet, of Inception and of annotators. */
#include "fuzz_tensors.h"

#include "fuzz_context.h"
#include "model/annotate/annotator.h"
#include "model/feature/inception.h"
#include "model/feature/squeezenet.h"

enum { BYTES_MAX = 1 << 23 }; /* SqueezeNet has 5 MB */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    squeezenet squeeze;
    inception net;
    ctx *c = fuzz_context();
    fuzz_put_tensors("weights.safetensors", (fuzz_bytes){data, size}, BYTES_MAX);
    squeezenet_open(c, &squeeze, fuzz_path("weights.safetensors"));
    fuzz_check_error(&c->error);
    c = fuzz_context();
    inception_open(c, &net, fuzz_path("weights.safetensors"));
    fuzz_check_error(&c->error);
    for (annotator_kind kind = 0; kind < ANNOTATOR_KINDS; kind++) {
        annotator a;
        c = fuzz_context();
        annotator_open(c, &a, kind, fuzz_path("weights.safetensors"));
        fuzz_check_error(&c->error);
    }
    return 0;
}
