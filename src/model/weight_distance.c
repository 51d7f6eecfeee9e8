#include "model/weight_distance.h"

#include <math.h>
#include <string.h>

#include "file/json_file.h"
#include "model/maker.h"

static void add(distance_part *p, double squares, int64_t values)
{
    p->squares += squares;
    p->values += values;
}

/* NULL where there are too many. */
static distance_part *part_of(weight_distance *d, const char *kind)
{
    int i = 0;
    while (i < d->kinds && strcmp(d->kind[i].kind, kind) != 0) i++;
    if (i == DISTANCE_KINDS_MAX) return NULL;
    if (i == d->kinds) d->kind[d->kinds++] = (distance_part){.kind = kind};
    return &d->kind[i];
}

/* By the rules of the first kind of network that knows the name. */
static layer layer_of(const char *name)
{
    layer found = {"other", -1};
    for (int i = 0; model_kinds_all[i]; i++)
        if (model_kinds_all[i]->layers && layer_find(&found, name, model_kinds_all[i]->layers)) break;
    return found;
}

void weight_distance_add(weight_distance *d, const char *name, double squares, int64_t values)
{
    const layer l = layer_of(name);
    distance_part *kind = part_of(d, l.kind);
    add(&d->whole, squares, values);
    if (kind) add(kind, squares, values);
    if (l.block < 0 || l.block >= DISTANCE_BLOCKS_MAX) return;
    if (l.block >= d->blocks) d->blocks = l.block + 1;
    add(&d->block[l.block], squares, values);
}

double distance_per_value(const distance_part *p)
{
    return p->values ? p->squares / (double)p->values : 0;
}

/* Weights may be finite and their squares not. */
static json_t *part_json(const distance_part *p)
{
    return JSON_OBJECT({"squares", json_number(p->squares)}, {"distance", json_number(sqrt(p->squares))},
                       {"values", json_integer(p->values)}, {"per_value", json_number(distance_per_value(p))});
}

json_t *weight_distance_json(const weight_distance *d)
{
    json_t *out = part_json(&d->whole), *kinds = json_object(), *blocks = json_array();
    for (int i = 0; i < d->kinds; i++) json_put(&kinds, d->kind[i].kind, part_json(&d->kind[i]));
    for (int i = 0; i < d->blocks; i++) json_add(&blocks, part_json(&d->block[i]));
    json_put(&out, "left_out", json_integer(d->left_out));
    json_put(&out, "kinds", kinds);
    json_put(&out, "blocks", blocks);
    return out;
}
