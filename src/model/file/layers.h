/* What kind of layer a row of weights belongs to, and to which block: from its name, by rules that stand in the network's folder. */
#ifndef FILE_LAYERS_H
#define FILE_LAYERS_H

#include <stdbool.h>

typedef struct layer_rule {
    const char *pattern; /* fnmatch(3)'s */
    const char *kind;    /* "attention" */
} layer_rule;

/* Of one kind of network. The first rule that matches decides. */
typedef struct layer_rules {
    const char *blocks;     /* what stands before a block's number: "blocks." */
    const layer_rule *rule; /* ends with a NULL pattern */
} layer_rules;

typedef struct layer {
    const char *kind; /* "other" where no rule matches */
    int block;        /* from 0; negative: in none */
} layer;

/* *found, where these rules know the name; false and "other" where they do not. */
bool layer_find(layer *found, const char *name, const layer_rules *rules);

#endif
