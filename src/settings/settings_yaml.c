/* Settings as a YAML file: a mapping of keys to single values, and in a recipe the mapping `arms`, of names to such
 * mappings. Every value is text and goes through settings_set, so that files and flags obey the same rules. */
#include "settings/settings.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text_stream.h"
#include "file/file.h"
#include "file/yaml_file.h"

/* ---- reading ---- */

typedef struct reader {
    yaml_file file;
    const char *line_start; /* a line of its text, and its number from 0 */
    size_t line;
    dt_error *err;
} reader;

/* Fails with path, line and a sentence. */
static dt_status refuse(reader *r, size_t line, const char *format, ...) __attribute__((format(printf, 3, 4)));
static dt_status refuse(reader *r, size_t line, const char *format, ...)
{
    char sentence[DT_MESSAGE_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return error_set(r->err, DT_ERR_ARG, "%s:%zu: %s", r->file.path, line, sentence);
}

static size_t line_at_hand(const reader *r)
{
    return r->file.event.start_mark.line + 1;
}

static dt_status refuse_form(reader *r)
{
    return refuse(r, line_at_hand(r), "not a mapping of keys to values");
}

static dt_status next(reader *r)
{
    return yaml_file_next(&r->file, r->err);
}

static const char *scalar(const reader *r)
{
    return (const char *)r->file.event.data.scalar.value;
}

/* What the text of a scalar is cut to where it is shown. */
enum { SHOWN_MAX = 63 };

/* Words that say in YAML that there is no value, where they stand without quotes. */
static bool is_null_word(const char *text)
{
    return !text[0] || !strcmp(text, "~") || !strcasecmp(text, "null");
}

/* Then the value is empty, which only text may be. */
static bool is_no_value(const reader *r)
{
    return r->file.event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE && is_null_word(scalar(r));
}

/* What follows the event at hand in the file. Marks count characters, not bytes; events come in the order of the file. */
static const char *behind_event(reader *r)
{
    const yaml_mark_t end = r->file.event.end_mark;
    const char *next_line;
    for (; r->line < end.line && (next_line = strchr(r->line_start, '\n')); r->line++) r->line_start = next_line + 1;
    const char *at = r->line_start;
    for (size_t n = end.column; n > 0 && *at && *at != '\n'; n--) do
            at++;
        while (((unsigned char)*at & 0xc0) == 0x80);
    return at;
}

/* Whether what was meant as a value begins a comment: "background: #102030". */
static bool is_commented_out(reader *r, const settings_key *key)
{
    if (key->type != SETTINGS_TEXT || !is_no_value(r) || scalar(r)[0]) return false;
    const char *rest = behind_event(r);
    rest += strspn(rest, " \t");
    return rest[0] == '#' && rest[1] && !strchr(" \t\r\n#", rest[1]);
}

/* A row whose value is no single one, or holds a zero byte, which would end it early. */
static dt_status check_value(reader *r, const settings_key *key, size_t line)
{
    if (r->file.event.type != YAML_SCALAR_EVENT) return refuse(r, line, "%s needs a single value", key->name);
    if (strlen(scalar(r)) != r->file.event.data.scalar.length)
        return refuse(r, line, "%s holds a zero byte", key->name);
    if (is_commented_out(r, key))
        return refuse(r, line, "%s has no value: # begins a comment; put the value in quotes, as in '#ffffff'",
                      key->name);
    return DT_OK;
}

static dt_status read_arms(reader *r, settings_arms *arms);

/* Reads the pairs of the mapping whose start is at hand, up to its end, and puts them into *s. In an arm's mapping (`arm`
 * not NULL) they are kept as well; `arms` receives the arms of the top mapping and is NULL in an arm's. */
static dt_status read_pairs(reader *r, dt_settings *s, settings_arm *arm, settings_arms *arms, bool seen[])
{
    while (next(r) == DT_OK && r->file.event.type != YAML_MAPPING_END_EVENT) {
        const size_t line = line_at_hand(r);
        if (r->file.event.type != YAML_SCALAR_EVENT) return refuse_form(r);
        const settings_key *key = settings_find(scalar(r));
        if (!key) {
            char hint[DT_TEXT_MAX];
            settings_hint(hint, scalar(r), ~0u, false);
            return refuse(r, line, "unknown setting '%.*s'%s", SHOWN_MAX, scalar(r), hint);
        }
        if (arm && !settings_suits_arm(key)) return refuse(r, line, "%s cannot be set by an arm", key->name);
        if (next(r) != DT_OK) break;
        bool *twice = &seen[key - settings_keys];
        if (*twice) return refuse(r, line, "%s is set twice", key->name);
        *twice = true;
        if (arms && r->file.event.type == YAML_MAPPING_START_EVENT && key == settings_find("arms")) {
            if (read_arms(r, arms) != DT_OK) break;
            continue;
        }
        dt_error why = {0};
        if (check_value(r, key, line) != DT_OK) break;
        const char *text = is_no_value(r) ? "" : scalar(r);
        if (settings_set(s, key->name, text, &why) != DT_OK) return refuse(r, line, "%s", why.message);
        if (arm && settings_arm_add(arm, key, text, r->err) != DT_OK) break;
    }
    return r->err->status;
}

static dt_status read_mapping(reader *r, dt_settings *s, settings_arm *arm, settings_arms *arms)
{
    bool *seen = calloc((size_t)settings_key_count, sizeof *seen);
    if (!seen) return error_set(r->err, DT_ERR_MEMORY, "%s: no memory to read it", r->file.path);
    read_pairs(r, s, arm, arms, seen);
    free(seen);
    return r->err->status;
}

/* An arm is a folder in that of the experiment, beside files with points in their names. */
static dt_status check_arm_name(reader *r, const settings_arms *arms)
{
    const char *name = scalar(r);
    size_t length = strlen(name);
    bool fine = isalnum((unsigned char)name[0]) && length < sizeof arms->arm->name;
    for (const char *c = name; *c; c++) fine = fine && (isalnum((unsigned char)*c) || *c == '-' || *c == '_');
    if (!fine)
        return refuse(r, line_at_hand(r),
                      "an arm's name has 1 to %zu letters, digits, hyphens and underscores, not '%.*s'",
                      sizeof arms->arm->name - 1, SHOWN_MAX, name);
    for (int i = 0; i < arms->count; i++)
        if (!strcmp(arms->arm[i].name, name)) return refuse(r, line_at_hand(r), "arm %s is there twice", name);
    return DT_OK;
}

/* Reads the mapping whose start is at hand. Values are tried on settings of their own: whether an arm's settings agree
 * with each other and with the recipe's is for settings_check. */
static dt_status read_arms(reader *r, settings_arms *arms)
{
    dt_settings tried;
    const size_t first_line = line_at_hand(r);
    while (next(r) == DT_OK && r->file.event.type != YAML_MAPPING_END_EVENT) {
        const size_t line = line_at_hand(r);
        if (r->file.event.type != YAML_SCALAR_EVENT) return refuse_form(r);
        if (check_arm_name(r, arms) != DT_OK) break;
        if (arms->count == SETTINGS_ARMS_MAX) return refuse(r, line, "more than %d arms", SETTINGS_ARMS_MAX);
        settings_arm *arm = settings_arms_add(arms, scalar(r), r->err);
        if (!arm || next(r) != DT_OK) break;
        if (r->file.event.type != YAML_MAPPING_START_EVENT)
            return refuse(r, line, "arm %s needs a mapping of its settings, such as {tau: 2}, or {}", arm->name);
        dt_settings_init(&tried);
        if (read_mapping(r, &tried, arm, NULL) != DT_OK) break;
    }
    if (r->err->status == DT_OK && arms->count == 0) refuse(r, first_line, "arms names no arm");
    return r->err->status;
}

/* One document, which is a mapping; or none, which sets nothing. */
static dt_status read_document(reader *r, dt_settings *s, settings_arms *arms)
{
    if (next(r) != DT_OK || next(r) != DT_OK || r->file.event.type == YAML_STREAM_END_EVENT) return r->err->status;
    if (next(r) != DT_OK) return r->err->status;
    if (r->file.event.type != YAML_MAPPING_START_EVENT) return refuse_form(r);
    if (read_mapping(r, s, NULL, arms) != DT_OK || next(r) != DT_OK || next(r) != DT_OK) return r->err->status;
    if (r->file.event.type != YAML_STREAM_END_EVENT)
        refuse(r, line_at_hand(r), "one mapping of keys to values expected, found several documents");
    return r->err->status;
}

/* *s is changed only when the whole file is good. */
static dt_status read_file(dt_settings *s, settings_arms *arms, const char *path, dt_error *err)
{
    reader r = {.err = err};
    if (yaml_file_open(&r.file, path, DT_ERR_ARG, err) != DT_OK) return err->status;
    dt_settings changed = *s;
    r.line_start = r.file.text;
    if (read_document(&r, &changed, arms) == DT_OK && arms->count) settings_set(&changed, "arms", path, err);
    if (err->status == DT_OK) *s = changed;
    yaml_file_close(&r.file);
    return err->status;
}

dt_status settings_load(dt_settings *s, const char *path, dt_error *err)
{
    settings_arms arms = {0};
    read_file(s, &arms, path, err);
    settings_arms_free(&arms);
    return err->status;
}

dt_status settings_arms_load(settings_arms *arms, const char *path, dt_error *err)
{
    dt_settings unused;
    *arms = (settings_arms){0};
    dt_settings_init(&unused);
    if (read_file(&unused, arms, path, err) == DT_OK && arms->count == 0)
        error_set(err, DT_ERR_ARG, "%s: has no mapping 'arms'", path);
    if (err->status != DT_OK) settings_arms_free(arms);
    return err->status;
}

/* ---- writing ---- */

/* Sends an event whose making went well. */
static bool emit(yaml_emitter_t *out, yaml_event_t *event, int made)
{
    return made && yaml_emitter_emit(out, event);
}

static bool emit_start(yaml_emitter_t *out)
{
    yaml_event_t e;
    return emit(out, &e, yaml_mapping_start_event_initialize(&e, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
}

static bool emit_end(yaml_emitter_t *out)
{
    yaml_event_t e;
    return emit(out, &e, yaml_mapping_end_event_initialize(&e));
}

static bool emit_text(yaml_emitter_t *out, const char *text)
{
    yaml_event_t e;
    const yaml_scalar_style_t style =
        text[0] && is_null_word(text) ? YAML_SINGLE_QUOTED_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
    return emit(
        out, &e,
        yaml_scalar_event_initialize(&e, NULL, NULL, (const yaml_char_t *)text, (int)strlen(text), 1, 1, style));
}

static bool emit_arms(yaml_emitter_t *out, const settings_arms *arms)
{
    bool good = emit_text(out, "arms") && emit_start(out);
    for (int i = 0; good && i < arms->count; i++) {
        const settings_arm *arm = &arms->arm[i];
        good = emit_text(out, arm->name) && emit_start(out);
        for (int k = 0; good && k < arm->count; k++)
            good = emit_text(out, arm->override[k].key->name) && emit_text(out, arm->override[k].text);
        good = good && emit_end(out);
    }
    return good && emit_end(out);
}

static bool emit_document(yaml_emitter_t *out, const dt_settings *s, const settings_arms *arms)
{
    yaml_event_t e;
    bool good = emit(out, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING)) &&
                emit(out, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1)) && emit_start(out);
    for (int i = 0; good && i < settings_key_count; i++) {
        char value[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        if (arms && arms->count && key == settings_find("arms")) {
            good = emit_arms(out, arms);
            continue;
        }
        settings_text(value, s, key);
        good = emit_text(out, key->name) && emit_text(out, value);
    }
    return good && emit_end(out) && emit(out, &e, yaml_document_end_event_initialize(&e, 1)) &&
           emit(out, &e, yaml_stream_end_event_initialize(&e));
}

dt_status settings_save_with(const dt_settings *s, const settings_arms *arms, const char *path, dt_error *err)
{
    yaml_emitter_t out;
    text_stream text;
    bool good = false;
    if (text_stream_open(&text) && yaml_emitter_initialize(&out)) {
        yaml_emitter_set_output_file(&out, text.out);
        good = emit_document(&out, s, arms);
        yaml_emitter_delete(&out);
    }
    if (text_stream_end(&text) && good)
        file_write_atomic(path, text.text, text.size, err);
    else
        error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
    text_stream_free(&text);
    return err->status;
}

dt_status settings_save(const dt_settings *s, const char *path, dt_error *err)
{
    return settings_save_with(s, NULL, path, err);
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
