/* Runs a fuzz target without libFuzzer, which only clang has: over every file of a folder, and over as many inputs made of them
 * by chance, the same in every run: replay CORPUS MUTATIONS. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "file/file.h"
#include "file/folder.h"
#include "fuzz_file.h"

enum { INPUT_MAX = 1 << 20, CHANGES_MAX = 4 };

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

/* The n-th number below `limit`. */
static size_t below(uint32_t n, size_t limit)
{
    static uint32_t drawn;
    const rng_key key = {.seed = 1, .purpose = RNG_INIT, .step = n, .sample = drawn++};
    return (size_t)rng_below(key, 0, limit);
}

static input *read_corpus(size_t *count, const char *folder)
{
    file_names names;
    dt_error err = {0};
    assert(file_list(&names, folder, &err) == DT_OK && names.count > 0);
    input *corpus = calloc(names.count, sizeof *corpus);
    assert(corpus);
    for (size_t i = 0; i < names.count; i++) {
        char path[DT_PATH_MAX];
        file_join(path, folder, names.name[i]);
        assert(file_read_all((char **)&corpus[i].data, &corpus[i].size, path, INPUT_MAX, &err) == DT_OK);
    }
    *count = names.count;
    file_names_free(&names);
    return corpus;
}

/* Another byte, bits of one, a piece cut out, or a piece copied over another place. */
static void change(input *one, uint32_t n)
{
    static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '-', '9', '\n'};
    if (one->size == 0) return;
    const size_t at = below(n, one->size), from = below(n, one->size);
    size_t length = 1 + below(n, 16);
    switch (below(n, 4)) {
    case 0: one->data[at] = telling[below(n, sizeof telling)]; break;
    case 1: one->data[at] ^= (uint8_t)(1 << below(n, 8)); break;
    case 2:
        if (length > one->size - at) length = one->size - at;
        memmove(one->data + at, one->data + at + length, one->size - at - length);
        one->size -= length;
        break;
    default:
        if (length > one->size - at) length = one->size - at;
        if (length > one->size - from) length = one->size - from;
        memmove(one->data + at, one->data + from, length);
    }
}

/* A block of exactly the input's size, so that AddressSanitizer sees what reads beyond it. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    assert(exact);
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    size_t count;
    assert(argc == 3);
    input *corpus = read_corpus(&count, argv[1]);
    for (size_t i = 0; i < count; i++) run(corpus[i].data, corpus[i].size);
    const uint32_t mutations = (uint32_t)strtoul(argv[2], NULL, 10);
    for (uint32_t n = 0; n < mutations; n++) {
        const input *seed = &corpus[below(n, count)];
        input one = {malloc(seed->size + 1), seed->size};
        assert(one.data);
        memcpy(one.data, seed->data, seed->size);
        for (size_t changes = 1 + below(n, CHANGES_MAX); changes > 0; changes--) change(&one, n);
        run(one.data, one.size);
        free(one.data);
    }
    for (size_t i = 0; i < count; i++) free(corpus[i].data);
    free(corpus);
    return 0;
}
