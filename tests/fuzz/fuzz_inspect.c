/* libFuzzer target: what `inspect` says of any bytes: as a model file, or as the one file that tells what a folder is, by the
 * digit on the first line. What it says is JSON. */
#include "fuzz_folder.h"

#include <jansson.h>

#include "fuzz_context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"f/model.pt",
                                        "run/run.json",
                                        "bank/manifest.json",
                                        "pair/manifest.json",
                                        "pairs/x/manifest.json",
                                        "f/model.safetensors.index.json",
                                        "done/final/model.safetensors"};
    enum { NAMES = sizeof names / sizeof *names };
    char inside[64], *json;
    fuzz_bytes rest = {data, size};
    const fuzz_bytes number = fuzz_part(&rest);
    const int which = number.size ? (uint8_t)(number.data[0] - '0') % NAMES : 0;
    snprintf(inside, sizeof inside, "%s", names[which]);
    *strrchr(inside, '/') = '\0';
    fuzz_make_dirs(inside);
    fuzz_put(names[which], rest);
    ctx *c = fuzz_context();
    inside[strcspn(inside, "/")] = '\0';
    if (dt_inspect(c, fuzz_path(strcmp(inside, "f") ? inside : names[which]), &json) == DT_OK) {
        json_t *value = json_loads(json, 0, NULL);
        assert(json_is_object(value));
        json_decref(value);
    }
    fuzz_check_error(&c->error);
    free(json);
    remove(fuzz_path(names[which]));
    return 0;
}
