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

layer layer_of(const char *name, const layer_rules *const rules[])
{
    for (int i = 0; rules[i]; i++)
        for (const layer_rule *r = rules[i]->rule; r->pattern; r++)
            if (fnmatch(r->pattern, name, 0) == 0) return (layer){r->kind, block_of(name, rules[i]->blocks)};
    return (layer){"other", -1};
}
