#include "adapter/peft_config.h"

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sort.h"
#include "file/json_file.h"

/* A group that is repeated may be copied by regcomp, groups within groups many times: so they are few. */
enum { PATTERNS_MAX = 1 << 14, KEY_MAX = 256, GROUPS_MAX = 4, RANK_MAX = 1 << 20 };
enum { TRANSLATED_MAX = 3 * KEY_MAX + 32 };

typedef struct peft_pattern {
    const char *key;
    double value;
    bool regular;     /* `compiled` is to be used; else the key is a name */
    regex_t compiled; /* of the whole name of a module */
} peft_pattern;

/* ---- keys ---- */

/* All of the module's name, or what stands behind one of its dots. */
static bool name_fits(const char *key, const char *module)
{
    const size_t length = strlen(key), all = strlen(module);
    if (all < length || (all > length && module[all - length - 1] != '.')) return false;
    const char *end = module + all - length;
    for (size_t i = 0; i < length; i++)
        if (key[i] != '.' && key[i] != end[i]) return false;
    return true;
}

/* Bytes of a set such as "[0-9_]" that Python and POSIX read alike; 0: it is no such set. */
static size_t set_length(const char *set)
{
    static const char in_set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const size_t start = set[1] == '^' ? 2 : 1, inside = strspn(set + start, in_set);
    return inside && set[start + inside] == ']' ? start + inside + 1 : 0;
}

/* Bytes of what stands at the place of an expression, and how POSIX writes it; 0: it is not taken. */
static size_t translate_one(const char **posix, size_t *posix_length, const char *at)
{
    size_t length = 1;
    if (at[0] == '[') length = set_length(at);
    if (at[0] == '\\') length = at[1] == '.' || at[1] == 'd' ? 2 : 0;
    if (at[0] == '{' || at[0] == '}') length = 0;
    const bool digit = length == 2 && at[1] == 'd';
    *posix = digit ? "[0-9]" : at;
    *posix_length = digit ? strlen(*posix) : length;
    return length;
}

/* A KEY as POSIX's expression for a module's name. False: it holds what is not taken, such as a repetition of nothing or of a
 * repetition, which Python refuses or reads in a way of its own. */
static bool translate(char out[TRANSLATED_MAX], const char *key)
{
    size_t used = (size_t)snprintf(out, TRANSLATED_MAX, "^(.*\\.)?(");
    int groups = 0;
    bool repeatable = false;
    for (size_t length; *key; key += length) {
        const char *posix;
        size_t posix_length;
        length = translate_one(&posix, &posix_length, key);
        const bool repeats = strchr("*+?", *key);
        groups += (*key == '(') - (*key == ')');
        if (!length || (repeats && !repeatable) || groups < 0 || groups > GROUPS_MAX) return false;
        repeatable = !repeats && !strchr("(|^$", *key);
        memcpy(out + used, posix, posix_length);
        used += posix_length;
    }
    memcpy(out + used, ")$", sizeof ")$");
    return groups == 0;
}

static dt_status refuse(const peft_config *k, const char *what, const char *key, const char *why, dt_error *err)
{
    return error_set(err, DT_ERR_FORMAT, "%s: %s: %.*s%s%s", k->path, what, KEY_MAX, key, key[0] ? ": " : "", why);
}

/* Takes in the key of pattern `p`, which is closed with the others once it is compiled. */
static dt_status take_key(peft_pattern *p, const peft_config *k, const char *what, dt_error *err)
{
    char text[TRANSLATED_MAX];
    if (!strpbrk(p->key, "^$*+?()[]{}|\\")) return DT_OK;
    const bool taken = strlen(p->key) < KEY_MAX && translate(text, p->key);
    const int failed = taken ? regcomp(&p->compiled, text, REG_EXTENDED | REG_NOSUB) : REG_BADPAT;
    if (failed == REG_ESPACE) return error_set(err, DT_ERR_MEMORY, "%s: no memory for %s", k->path, what);
    if (failed) return refuse(k, what, p->key, "a regular expression that is not taken here", err);
    p->regular = true;
    return DT_OK;
}

/* ---- opening ---- */

static bool is_rank(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) > 0 && json_integer_value(value) <= RANK_MAX;
}

/* The value under a key of the description; NULL: there is none. */
static json_t *value_of(const peft_config *k, const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", k->prefix, key);
    return json_object_get(k->object, name);
}

/* A rank, or else any number, as alpha may be. */
static dt_status take_number(double *out, const json_t *value, bool rank, const peft_config *k, const char *what,
                             const char *key, dt_error *err)
{
    if (rank && !is_rank(value)) return refuse(k, what, key, "a rank expected, a whole number above 0", err);
    if (!json_is_number(value)) return refuse(k, what, key, "a number expected", err);
    *out = json_number_value(value);
    return DT_OK;
}

static dt_status take_patterns(peft_patterns *list, bool rank, const peft_config *k, const char *what, dt_error *err)
{
    json_t *object = value_of(k, what), *value;
    const char *key;
    if (!object || json_is_null(object)) return DT_OK;
    if (!json_is_object(object)) return refuse(k, what, "", "an object of names and numbers expected", err);
    if (json_object_size(object) > PATTERNS_MAX) return refuse(k, what, "", "too many exceptions", err);
    list->pattern = calloc(json_object_size(object) + 1, sizeof *list->pattern);
    if (!list->pattern) return error_set(err, DT_ERR_MEMORY, "%s: no memory for %s", k->path, what);
    json_object_foreach(object, key, value)
    {
        peft_pattern *p = &list->pattern[list->count++];
        p->key = key;
        if (take_number(&p->value, value, rank, k, what, key, err) != DT_OK || take_key(p, k, what, err) != DT_OK)
            return err->status;
    }
    return DT_OK;
}

static dt_status take_exceptions(peft_config *k, dt_error *err)
{
    if (take_patterns(&k->ranks, true, k, "rank_pattern", err) == DT_OK)
        take_patterns(&k->alphas, false, k, "alpha_pattern", err);
    return err->status;
}

dt_status peft_config_open(peft_config *k, const char *path, dt_error *err)
{
    *k = (peft_config){.prefix = ""};
    snprintf(k->path, sizeof k->path, "%s", path);
    if (!file_exists(path)) return DT_OK;
    k->object = json_file_read(path, err);
    return k->object ? take_exceptions(k, err) : err->status;
}

dt_status peft_config_take(peft_config *k, const char *path, const char *text, dt_error *err)
{
    static const char *const prefixes[] = {"transformer.", "unet.", ""};
    json_error_t where;
    *k = (peft_config){0};
    snprintf(k->path, sizeof k->path, "%s", path);
    k->object = json_text_read(text, strlen(text), &where, path, err);
    if (!json_is_object(k->object) && err->status == DT_OK)
        error_set(err, DT_ERR_FORMAT, "%s: " PEFT_CONFIG_METADATA ": a JSON object expected", path);
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        k->prefix = prefixes[i];
        if (value_of(k, "r")) break;
    }
    return err->status == DT_OK ? take_exceptions(k, err) : err->status;
}

static void close_patterns(peft_patterns *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pattern[i].regular) regfree(&list->pattern[i].compiled);
    free(list->pattern);
}

void peft_config_close(peft_config *k)
{
    close_patterns(&k->ranks);
    close_patterns(&k->alphas);
    json_decref(k->object);
    *k = (peft_config){0};
}

/* ---- asking ---- */

/* The value of the first exception that fits, else that of all modules; NaN where nothing says it. */
static dt_status find(double *out, const peft_config *k, const peft_patterns *list, const char *all, bool rank,
                      const char *module, dt_error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const peft_pattern *p = &list->pattern[i];
        const int met = p->regular ? regexec(&p->compiled, module, 0, NULL, 0) : !name_fits(p->key, module);
        *out = p->value;
        if (met == 0) return DT_OK;
        if (p->regular && met != REG_NOMATCH)
            return error_set(err, DT_ERR_MEMORY, "%s: no memory to look for %s", k->path, module);
    }
    *out = (double)NAN;
    const json_t *value = value_of(k, all);
    return value ? take_number(out, value, rank, k, all, "", err) : DT_OK;
}

dt_status peft_config_scale(double *scale, const peft_config *k, const char *module, int64_t rank, dt_error *err)
{
    double said, alpha;
    *scale = 1;
    if (find(&said, k, &k->ranks, "r", true, module, err) != DT_OK ||
        find(&alpha, k, &k->alphas, "lora_alpha", false, module, err) != DT_OK)
        return err->status;
    if (!isnan(said) && said != (double)rank)
        return error_set(err, DT_ERR_SHAPE, "%s: module %s has rank %lld, not the %.0f that r and rank_pattern say",
                         k->path, module, (long long)rank, said);
    const bool root = json_is_true(value_of(k, "use_rslora"));
    if (!isnan(alpha)) *scale = alpha / (root ? sqrt((double)rank) : (double)rank);
    return DT_OK;
}

/* ---- writing ---- */

json_t *peft_config_new(const char *type, const char *base)
{
    return JSON_OBJECT({"peft_type", json_string(type)}, {"base_model_name_or_path", json_string(base)},
                       {"inference_mode", json_true()}, {"task_type", json_null()});
}

void peft_config_add_lora(json_t **config, int64_t rank, double alpha, bool root, json_t *targets, json_t *saved)
{
    json_put(config, "r", json_integer(rank));
    json_put(config, "lora_alpha", json_real(alpha));
    json_put(config, "use_rslora", json_boolean(root));
    json_put(config, "target_modules", targets);
    json_put(config, "modules_to_save", saved);
    json_put(config, "bias", json_string("none"));
    json_put(config, "lora_dropout", json_real(0));
    json_put(config, "fan_in_fan_out", json_false());
}

/* Whether one module differs from another in what the description says of all. */
static bool differs(const peft_module *a, const peft_module *b)
{
    return a->rank != b->rank || a->alpha != b->alpha;
}

static int by_length(const void *a, const void *b)
{
    const char *x = ((const peft_module *)a)->name, *y = ((const peft_module *)b)->name;
    const size_t m = strlen(x), n = strlen(y);
    return m == n ? strcmp(x, y) : (m < n) - (m > n);
}

/* Whether the exception of a module of a shorter name, which stands behind this one, would be taken for this one's too. */
static bool is_met(const peft_module module[], size_t count, size_t i, const peft_module *usual)
{
    for (size_t k = i + 1; k < count; k++)
        if (differs(&module[k], usual) && name_fits(module[k].name, module[i].name)) return true;
    return false;
}

void peft_config_add_exceptions(json_t **config, peft_module module[], size_t count)
{
    json_t *ranks = json_object(), *alphas = json_object();
    const peft_module usual = module[0];
    sort_array(module, count, sizeof *module, by_length);
    for (size_t i = 0; i < count; i++) {
        if (!differs(&module[i], &usual) && !is_met(module, count, i, &usual)) continue;
        json_put(&ranks, module[i].name, json_integer(module[i].rank));
        json_put(&alphas, module[i].name, json_real(module[i].alpha));
    }
    json_put(config, "rank_pattern", ranks);
    json_put(config, "alpha_pattern", alphas);
}
