/* libFuzzer target: any bytes as a pickle; what comes out of it is walked. */
#include <assert.h>

#include "fuzz_file.h"
#include "container/pickle.h"

static uint64_t walked; /* so that the walk is not optimised away */

static void walk(const pickle *p, pickle_ref value)
{
    const pickle_value *v = pickle_at(p, value);
    if (v->kind == PICKLE_STRING || v->kind == PICKLE_BYTES || v->kind == PICKLE_LONG)
        for (uint32_t i = 0; i < v->count; i++) walked += (unsigned char)v->text[i];
    if (v->kind >= PICKLE_TUPLE && v->kind <= PICKLE_DICT) {
        uint32_t count = 0;
        for (uint32_t cell = v->items.first; cell; cell = p->cells[cell].next) {
            assert(cell < p->cell_count && p->cells[cell].value < p->value_count);
            count++;
        }
        assert(count == v->count && (v->kind != PICKLE_DICT || count % 2 == 0));
        assert(count == 0 || pickle_item(p, value, count - 1));
        assert(!pickle_item(p, value, count));
    }
    if (v->kind >= PICKLE_GLOBAL) assert(v->pair.a < p->value_count && v->pair.b < p->value_count);
    walked += pickle_is_global(p, value, "collections", "OrderedDict");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pickle p;
    dt_error err = {0};
    if (pickle_read(&p, data, size, "input", &err) == DT_OK) {
        assert(p.root > 0 && p.root < p.value_count && p.size <= size);
        for (pickle_ref i = 1; i < p.value_count; i++) walk(&p, i);
    }
    pickle_free(&p);
    return 0;
}
