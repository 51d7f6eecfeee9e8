#include "model/file/layers.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 1 << 20 };

static int block_of(const char *name, const char *blocks)
{
    const size_t length = strlen(blocks);
    if (strncmp(name, blocks, length) != 0 || !isdigit((unsigned char)name[length])) return -1;
    const long number = strtol(name + length, NULL, 10);
    return number < BLOCKS_MAX ? (int)number : -1;
}

bool layer_find(layer *found, const char *name, const layer_rules *rules)
{
    *found = (layer){"other", -1};
    for (const layer_rule *r = rules->rule; r->pattern; r++) {
        if (fnmatch(r->pattern, name, 0) != 0) continue;
        *found = (layer){r->kind, block_of(name, rules->blocks)};
        return true;
    }
    return false;
}
