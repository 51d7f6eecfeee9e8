/* Settings as a YAML file: a flat mapping of keys to single values.
 *
 * libcyaml reads and writes the file by a schema made from the table at run time. Every value is text in the schema and
 * goes through settings_set, so that files and flags obey the same rules: libcyaml's own booleans take any unknown word
 * for true, and its numbers accept inf. libcyaml does not keep the line of a value, so after a refusal the same text is
 * walked once more with libyaml to find the line to blame. */
#include "settings/settings.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "file/file.h"

enum { FILE_MAX = 1 << 20, KEYS_MAX = 128, NAME_MAX_BYTES = 64 };

/* Two fields per key: value[2*i] for its underscored name, value[2*i+1] for its hyphenated one, where that differs. */
typedef struct document {
    char *value[2 * KEYS_MAX];
} document;

typedef struct schema {
    char hyphenated[KEYS_MAX][NAME_MAX_BYTES];
    cyaml_schema_field_t fields[2 * KEYS_MAX + 1];
    cyaml_schema_value_t top;
    cyaml_config_t config;
    char complaint[DT_TEXT_MAX]; /* first warning or error that libcyaml logged */
} schema;

static void keep_first_complaint(cyaml_log_t level, void *user, const char *format, va_list args)
{
    schema *c = user;
    if (level < CYAML_LOG_WARNING || c->complaint[0]) return;
    vsnprintf(c->complaint, sizeof c->complaint, format, args);
    c->complaint[strcspn(c->complaint, "\n")] = '\0';
}

static cyaml_schema_field_t text_field(const char *key, int slot)
{
    return (cyaml_schema_field_t){
        .key = key,
        .data_offset = (uint32_t)(slot * (int)sizeof(char *)),
        .value = {.type = CYAML_STRING,
                  .flags = (enum cyaml_flag)(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL),
                  .data_size = sizeof(char),
                  .string = {.min = 0, .max = FILE_MAX}},
    };
}

/* The schema points into itself: it must not be moved afterwards. */
static void schema_init(schema *c)
{
    memset(c, 0, sizeof *c);
    cyaml_schema_field_t *field = c->fields;
    for (int i = 0; i < settings_key_count; i++) {
        const char *name = settings_keys[i].name;
        *field++ = text_field(name, 2 * i);
        snprintf(c->hyphenated[i], NAME_MAX_BYTES, "%s", name);
        for (char *p = c->hyphenated[i]; *p; p++) *p = *p == '_' ? '-' : *p;
        if (strcmp(name, c->hyphenated[i])) *field++ = text_field(c->hyphenated[i], 2 * i + 1);
    }
    c->top = (cyaml_schema_value_t){.type = CYAML_MAPPING,
                                    .flags = CYAML_FLAG_POINTER,
                                    .data_size = sizeof(document),
                                    .mapping = {.fields = c->fields}};
    c->config = (cyaml_config_t){.log_fn = keep_first_complaint,
                                 .log_ctx = c,
                                 .mem_fn = cyaml_mem,
                                 .log_level = CYAML_LOG_WARNING,
                                 .flags = (cyaml_cfg_flags_t)(CYAML_CFG_NO_ALIAS | CYAML_CFG_STYLE_BLOCK)};
}

/* ---- finding the line to blame ---- */

typedef struct pair {
    char key[NAME_MAX_BYTES]; /* cut when longer */
    size_t line;
    yaml_event_type_t value; /* what the value begins with */
} pair;

/* Moves to the next event. False at the end and at a mistake in the YAML itself. */
static bool next_event(yaml_parser_t *parser, yaml_event_t *event)
{
    yaml_event_delete(event);
    return yaml_parser_parse(parser, event) && event->type != YAML_STREAM_END_EVENT;
}

/* Moves to the first key of the top mapping. False when the document is something else. */
static bool enter_mapping(yaml_parser_t *parser, yaml_event_t *event)
{
    while (event->type != YAML_MAPPING_START_EVENT) {
        if (event->type == YAML_SCALAR_EVENT || event->type == YAML_SEQUENCE_START_EVENT) return false;
        if (!next_event(parser, event)) return false;
    }
    return next_event(parser, event);
}

/* Reads the key at hand and moves to the next one. The walk ends at a key that is no scalar, and behind a value that is
 * none. */
static bool next_pair(yaml_parser_t *parser, yaml_event_t *event, pair *p)
{
    if (event->type != YAML_SCALAR_EVENT) return false;
    snprintf(p->key, sizeof p->key, "%s", (const char *)event->data.scalar.value);
    p->line = event->start_mark.line + 1;
    if (!next_event(parser, event)) return false;
    p->value = event->type;
    return p->value != YAML_SCALAR_EVENT || next_event(parser, event);
}

/* Walks `text` and records what is wrong with the pair at which libcyaml stopped. `key` is the one whose value is not
 * allowed (`why` says how), or NULL when libcyaml refused the document (`why` is its own sentence). */
static dt_status blame(const char *path, const char *text, size_t size, const char *key, const char *why, dt_error *err)
{
    yaml_parser_t parser;
    yaml_event_t event = {0};
    bool seen[KEYS_MAX] = {0};
    if (!yaml_parser_initialize(&parser)) return error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    dt_status status = DT_OK;
    bool inside = enter_mapping(&parser, &event);
    for (pair p; inside && status == DT_OK && next_pair(&parser, &event, &p);) {
        const settings_key *row = settings_find(p.key);
        if (!row)
            status = error_set(err, DT_ERR_ARG, "%s:%zu: unknown setting '%s'; the nearest one is '%s'", path, p.line,
                               p.key, settings_nearest(p.key));
        else if (p.value != YAML_SCALAR_EVENT)
            status = error_set(err, DT_ERR_ARG, "%s:%zu: %s needs a single value", path, p.line, row->name);
        else if (seen[row - settings_keys])
            status = error_set(err, DT_ERR_ARG, "%s:%zu: %s is set twice", path, p.line, row->name);
        else if (key && row == settings_find(key))
            status = error_set(err, DT_ERR_ARG, "%s:%zu: %s", path, p.line, why);
        else
            seen[row - settings_keys] = true;
    }
    if (status == DT_OK && parser.problem)
        status = error_set(err, DT_ERR_ARG, "%s:%zu: not YAML: %s", path, parser.problem_mark.line + 1, parser.problem);
    if (status == DT_OK) status = error_set(err, DT_ERR_ARG, "%s: not a mapping of keys to values: %s", path, why);
    yaml_event_delete(&event);
    yaml_parser_delete(&parser);
    return status;
}

/* ---- load and save ---- */

static dt_status take_values(dt_settings *s, const document *d, const char *path, const char *text, size_t size,
                             dt_error *err)
{
    for (int i = 0; i < 2 * settings_key_count; i++) {
        if (!d->value[i]) continue;
        if (i % 2 && d->value[i - 1]) return blame(path, text, size, NULL, "a key is set twice", err);
        const char *name = settings_keys[i / 2].name;
        dt_error why = {0};
        if (settings_set(s, name, d->value[i], &why) != DT_OK) return blame(path, text, size, name, why.message, err);
    }
    return DT_OK;
}

dt_status settings_load(dt_settings *s, const char *path, dt_error *err)
{
    char *text;
    size_t size;
    dt_status status = file_read_all(&text, &size, path, FILE_MAX, err);
    if (status != DT_OK) return status;

    schema c;
    schema_init(&c);
    cyaml_data_t *loaded = NULL; /* stays NULL for a file without any key, which is fine */
    cyaml_err_t refusal = cyaml_load_data((const uint8_t *)text, size, &c.config, &c.top, &loaded, NULL);
    dt_settings changed = *s;
    if (refusal == CYAML_ERR_OOM)
        status = error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    else if (refusal != CYAML_OK || c.complaint[0])
        status = blame(path, text, size, NULL, c.complaint[0] ? c.complaint : cyaml_strerror(refusal), err);
    else if (loaded)
        status = take_values(&changed, loaded, path, text, size, err);
    if (status == DT_OK) *s = changed;
    cyaml_free(&c.config, &c.top, loaded, 0);
    free(text);
    return status;
}

dt_status settings_save(const dt_settings *s, const char *path, dt_error *err)
{
    schema c;
    schema_init(&c);
    document d = {0};
    char(*values)[SETTINGS_VALUE_MAX] = calloc((size_t)settings_key_count, sizeof *values);
    if (!values) return error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
    for (int i = 0; i < settings_key_count; i++) {
        settings_text(values[i], s, &settings_keys[i]);
        d.value[2 * i] = values[i];
    }
    char *text = NULL;
    size_t size = 0;
    dt_status status = DT_OK;
    cyaml_err_t refusal = cyaml_save_data(&text, &size, &c.config, &c.top, &d, 0);
    if (refusal == CYAML_OK)
        status = file_write_atomic(path, text, size, err);
    else
        status =
            error_set(err, DT_ERR_ARG, "%s: settings cannot be written as YAML: %s", path, cyaml_strerror(refusal));
    if (text) cyaml_mem(NULL, text, 0);
    free(values);
    return status;
}

static dt_status hand_over(const dt_error *err, char message[], int64_t message_size)
{
    if (message && message_size > 0) snprintf(message, (size_t)message_size, "%s", err->message);
    return err->status;
}

dt_status dt_settings_load(dt_settings *s, const char *path, char message[], int64_t message_size)
{
    dt_error err = {0};
    settings_load(s, path, &err);
    return hand_over(&err, message, message_size);
}

dt_status dt_settings_save(const dt_settings *s, const char *path, char message[], int64_t message_size)
{
    dt_error err = {0};
    settings_save(s, path, &err);
    return hand_over(&err, message, message_size);
}
