/* libFuzzer target: vocab.json and merges.txt, or where the first is empty openai's list of merges, and a text. What is accepted gives
 * ids that are its own. */
#include "fuzz_folder.h"

#include "fuzz_context.h"
#include "model/sd/tokenizer.h"

enum { LENGTH = 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[4096];
    ctx *c = fuzz_context();
    tokenizer t;
    int32_t ids[LENGTH];
    int64_t wanted = 0;
    fuzz_bytes rest = {data, size};
    const fuzz_bytes vocabulary = fuzz_part(&rest), merges = fuzz_part(&rest);
    fuzz_copy(text, sizeof text, rest);
    fuzz_make_dirs("pair");
    fuzz_put("pair/vocab.json", vocabulary);
    fuzz_put("pair/merges.txt", merges);
    fuzz_put("list", merges);
    if (tokenizer_open(c, &t, fuzz_path(vocabulary.size ? "pair" : "list")) == DT_OK &&
        tokenizer_encode(c, &t, ids, LENGTH, text, &wanted) == DT_OK) {
        assert(wanted >= 2 && ids[0] == t.start && ids[LENGTH - 1] == t.end);
        for (int i = 0; i < LENGTH; i++) assert(ids[i] >= 0 && ids[i] < t.count);
        for (int64_t i = wanted; i < LENGTH; i++) assert(ids[i] == t.end);
    }
    assert(c->scratch.used == 0);
    fuzz_check_error(&c->error);
    return 0;
}
