/* Flags: --key value, --key=value; booleans also --key and --no-key. */
#include "cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "file/home.h"

typedef struct assignment {
    const settings_key *key;
    const char *value;
} assignment;

typedef struct reader {
    const verb *verb;
    char **next, **end; /* arguments still to read */
    const char *config;
    assignment *list; /* in the order of the command line, to be done after the file */
    int count;
} reader;

/* The row for a flag's name without its dashes. A --no-key of a boolean sets *value to "false". */
static const settings_key *find_key(const char **value, const char *name)
{
    const settings_key *key = settings_find(name);
    if (key || *value || (strncmp(name, "no-", 3) && strncmp(name, "no_", 3))) return key;
    key = settings_find(name + 3);
    if (!key || key->type != SETTINGS_BOOL) return NULL;
    *value = "false";
    return key;
}

/* The value of a flag that had no '='. Text that begins with two dashes is the next flag, not a value. */
static const char *take_value(reader *r)
{
    if (r->next == r->end || !strncmp(*r->next, "--", 2)) return NULL;
    return *r->next++;
}

static dt_status read_config(reader *r, const char *value, dt_error *err)
{
    if (r->config) return error_set(err, DT_ERR_ARG, "--config is given twice");
    r->config = value ? value : take_value(r);
    return r->config && r->config[0] ? DT_OK : error_set(err, DT_ERR_ARG, "--config needs a file");
}

static dt_status read_flag(reader *r, char *flag, dt_error *err)
{
    char *name = flag + 2, *equals = strchr(name, '=');
    const char *value = equals ? equals + 1 : NULL;
    if (equals) *equals = '\0';
    if (!strcmp(name, "config")) return read_config(r, value, err);

    const settings_key *key = find_key(&value, name);
    char hint[DT_TEXT_MAX];
    settings_hint(hint, name, r->verb->keys, true);
    if (!key) return error_set(err, DT_ERR_ARG, "unknown flag '--%s'%s", name, hint);
    if (!(key->verbs & r->verb->keys))
        return error_set(err, DT_ERR_ARG, "--%s is not used by %s%s", name, r->verb->name, hint);
    if (!value) value = key->type == SETTINGS_BOOL ? "true" : take_value(r);
    if (!value) {
        char allowed[DT_TEXT_MAX];
        settings_allowed(allowed, key);
        return error_set(err, DT_ERR_ARG, "--%s needs a value: %s", name, allowed);
    }
    r->list[r->count++] = (assignment){key, value};
    return DT_OK;
}

static int count_operands(const verb *v)
{
    int count = v->operands != NULL;
    for (const char *c = v->operands; c && *c; c++) count += *c == ' ';
    return count;
}

/* The next one. "~" stands for the home folder, as in settings. */
static dt_status take_operand(arguments *a, const char *text, dt_error *err)
{
    char *to = a->operand_text[a->operand_count];
    if (!text[0]) return error_set(err, DT_ERR_ARG, "an argument is empty");
    a->operand[a->operand_count++] = to;
    return home_expand(to, sizeof a->operand_text[0], text, err);
}

/* As many as the verb wants, and its fixed words where they belong. */
static dt_status check_operands(const arguments *a, const verb *v, dt_error *err)
{
    if (a->operand_count < count_operands(v)) return error_set(err, DT_ERR_ARG, "%s needs %s", v->name, v->operands);
    const char *word = v->operands;
    for (int i = 0; i < a->operand_count; i++, word += strcspn(word, " ") + 1) {
        size_t length = strcspn(word, " ");
        bool fixed = islower((unsigned char)word[0]);
        if (fixed && (strncmp(a->operand[i], word, length) || a->operand[i][length]))
            return error_set(err, DT_ERR_ARG, "%s: '%.*s' expected, found '%s'", v->name, (int)length, word,
                             a->operand[i]);
    }
    return DT_OK;
}

static dt_status read_all(arguments *a, reader *r, dt_error *err)
{
    while (r->next < r->end && !a->help && err->status == DT_OK) {
        char *text = *r->next++;
        if (!strcmp(text, "--help") || !strcmp(text, "-h"))
            a->help = true;
        else if (!strncmp(text, "--", 2) && text[2])
            read_flag(r, text, err);
        else if (text[0] == '-' || a->operand_count == count_operands(r->verb))
            error_set(err, DT_ERR_ARG, "unexpected argument '%s'; see 'difftune %s --help'", text, r->verb->name);
        else
            take_operand(a, text, err);
    }
    return err->status == DT_OK && !a->help ? check_operands(a, r->verb, err) : err->status;
}

static dt_status load_config(dt_settings *s, const char *config, dt_error *err)
{
    char path[DT_PATH_MAX];
    if (home_expand(path, sizeof path, config, err) != DT_OK) return err->status;
    return settings_load(s, path, err);
}

dt_status arguments_read(arguments *a, dt_settings *s, const verb *v, int argc, char **argv, dt_error *err)
{
    *a = (arguments){0};
    reader r = {.verb = v, .next = argv, .end = argv + argc};
    r.list = calloc((size_t)argc + 1, sizeof *r.list);
    if (!r.list) return error_set(err, DT_ERR_MEMORY, "no memory to read the command line");
    dt_status status = read_all(a, &r, err);
    if (status == DT_OK && v->operand_is_config && !a->help) {
        if (r.config) status = error_set(err, DT_ERR_ARG, "%s is the configuration; leave out --config", v->operands);
        r.config = a->operand[0];
    }
    if (status == DT_OK && !a->help && r.config) status = load_config(s, r.config, err);
    for (int i = 0; i < r.count && status == DT_OK && !a->help; i++)
        status = settings_set(s, r.list[i].key->name, r.list[i].value, err);
    free(r.list);
    return status;
}
