/* PEFT's description of a LoRA: which rank and which scale a module has. It is adapter_config.json, or of diffusers since 0.34 a text in
 * the metadata of the file of matrices, where each key may begin with the network's name in the pipeline ("unet.r").
 *
 *     r, lora_alpha                 of all modules
 *     rank_pattern, alpha_pattern   {KEY: NUMBER, ..}, exceptions: the first KEY that fits a module's name counts
 *     use_rslora                    the scale is alpha / sqrt(rank), not alpha / rank
 *
 * KEY is a regular expression of Python for a whole name or for what stands behind one of its dots. Taken are names, in which a dot
 * stands for any byte, and of regular expressions . * + ? | ( ) ^ $ \. \d and sets as [0-9_]; what else there is is refused, as a module
 * of which the exception is not known would get another scale.
 * Sources: huggingface/peft utils/other.py (get_pattern_key), tuners/lora/model.py (_create_and_replace), tuners/lora/layer.py;
 * huggingface/diffusers loaders/peft.py (load_lora_adapter). */
#ifndef ADAPTER_PEFT_CONFIG_H
#define ADAPTER_PEFT_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define PEFT_PREFIX          "base_model.model." /* before the names of a network's rows in a file */
#define ADAPTER_CONFIG       "adapter_config.json"
#define PEFT_CONFIG_METADATA "lora_adapter_metadata" /* the key of a description in a file's metadata */

/* ---- reading ---- */

/* What rank_pattern or alpha_pattern says, in its order. */
typedef struct peft_patterns {
    struct peft_pattern *pattern;
    size_t count;
} peft_patterns;

typedef struct peft_config {
    char path[DT_PATH_MAX];
    json_t *object;     /* NULL: there is no such file */
    const char *prefix; /* of its keys */
    peft_patterns ranks, alphas;
} peft_config;

/* Reads the file where there is one. DT_ERR_FORMAT naming the key for a value that is none, or for an exception whose KEY is not taken.
 * *k may be closed after a failure. */
dt_status peft_config_open(peft_config *k, const char *path, dt_error *err);

/* The same of a text in the metadata of the file at `path`. DT_ERR_FORMAT for one that is no JSON object, too. */
dt_status peft_config_take(peft_config *k, const char *path, const char *text, dt_error *err);
void peft_config_close(peft_config *k);

/* What the product of the matrices of a module is multiplied with: 1 where nothing says it. `module` is its name in the network that
 * PEFT joined it to, `rank` that of its matrices: DT_ERR_SHAPE where the description has another one. */
dt_status peft_config_scale(double *scale, const peft_config *k, const char *module, int64_t rank, dt_error *err);

/* ---- writing ---- */

/* A description of an adapter: what all kinds have, and what a LoRA has beside it. References to values are taken. NULL where memory
 * is out, as json_put has it. */
json_t *peft_config_new(const char *type, const char *base);
void peft_config_add_lora(json_t **config, int64_t rank, double alpha, bool root, json_t *targets, json_t *saved);

/* A module by the name under which it is written. */
typedef struct peft_module {
    const char *name;
    int64_t rank;
    double alpha;
} peft_module;

/* Adds rank_pattern and alpha_pattern: which modules are not as the first is, which r and lora_alpha are of. At least one; they are put
 * into another order, as names that hold others must come first. */
void peft_config_add_exceptions(json_t **config, peft_module module[], size_t count);

#endif
