/* Settings as a YAML file: a mapping of keys to single values or, of keys that hold lists, to sequences of them, and in a recipe the mapping `arms`, of names to such
 * mappings; a study has more of the kind. Every value is text and goes through settings_set, so that files and flags obey the
 * same rules. */
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
    bool (*suits)(const settings_key *key); /* what the mappings in hand may set */
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

/* Of these words `null` may be one: bank_labels null. */
static bool is_word_of(const char *text, const settings_key *key)
{
    return key->type == SETTINGS_ENUM && settings_word_number(key->name, text) >= 0;
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

/* The sequence whose start is at hand, as the text that a flag would be given: its items parted by commas. */
static const char *read_list(reader *r, const settings_key *key, char text[SETTINGS_VALUE_MAX])
{
    size_t used = 0;
    text[0] = '\0';
    while (next(r) == DT_OK && r->file.event.type != YAML_SEQUENCE_END_EVENT) {
        if (check_value(r, key, line_at_hand(r)) != DT_OK) break;
        if (is_no_value(r) || !scalar(r)[0] || strchr(scalar(r), ','))
            refuse(r, line_at_hand(r), "%s: an item of its list is empty or holds a comma", key->name);
        else if (used + strlen(scalar(r)) + 2 > SETTINGS_VALUE_MAX)
            refuse(r, line_at_hand(r), "%s: its list is too long", key->name);
        if (r->err->status != DT_OK) break;
        used += (size_t)sprintf(text + used, "%s%s", used ? "," : "", scalar(r));
    }
    return r->err->status == DT_OK ? text : NULL;
}

/* The line end that a block (| or >) has behind its last line is no part of a value. */
static void cut_block(reader *r)
{
    yaml_char_t *text = r->file.event.data.scalar.value;
    const yaml_scalar_style_t style = r->file.event.data.scalar.style;
    size_t length = strlen((char *)text);
    if (style != YAML_LITERAL_SCALAR_STYLE && style != YAML_FOLDED_SCALAR_STYLE) return;
    while (length > 0 && text[length - 1] == '\n') text[--length] = '\0';
}

/* The value at hand of a key; a list is put into `room`. NULL after a failure. */
static const char *read_value(reader *r, const settings_key *key, size_t line, char room[SETTINGS_VALUE_MAX])
{
    if (r->file.event.type == YAML_SEQUENCE_START_EVENT && key->is_list) return read_list(r, key, room);
    if (check_value(r, key, line) != DT_OK) return NULL;
    cut_block(r);
    return is_no_value(r) && !is_word_of(scalar(r), key) ? "" : scalar(r);
}

/* ---- parts of a study ---- */

/* Whether the file may go on to a collection under this name: the mappings of a recipe and of a study. */
typedef struct part {
    const char *name;
    bool is_key; /* the name is that of a setting too, where a single value stands behind it */
    dt_status (*read)(reader *r, settings_study *study);
} part;

static const part *find_part(const char *name);

static dt_status find_key(const settings_key **key, reader *r)
{
    char hint[DT_TEXT_MAX];
    *key = settings_find(scalar(r));
    if (*key) return DT_OK;
    settings_hint(hint, scalar(r), ~0u, false);
    return refuse(r, line_at_hand(r), "unknown setting '%.*s'%s", SHOWN_MAX, scalar(r), hint);
}

/* Reads a pair of the mapping in hand, whose name is at hand and is that of a key. */
static dt_status read_pair(reader *r, dt_settings *s, settings_arm *arm, settings_study *study, bool seen[])
{
    const size_t line = line_at_hand(r);
    const settings_key *key;
    char list[SETTINGS_VALUE_MAX];
    if (find_key(&key, r) != DT_OK) return r->err->status;
    if (arm && !r->suits(key))
        return refuse(r, line, "%s cannot be set by %s", key->name,
                      r->suits == settings_suits_draw ? "a way to draw" : "an arm");
    if (next(r) != DT_OK) return r->err->status;
    bool *twice = &seen[key - settings_keys];
    if (*twice) return refuse(r, line, "%s is set twice", key->name);
    *twice = true;
    const part *p = study ? find_part(key->name) : NULL;
    if (p && r->file.event.type == YAML_MAPPING_START_EVENT) return p->read(r, study);
    if (p && r->file.event.type == YAML_SEQUENCE_START_EVENT)
        return refuse(r, line, "%s needs names with settings, as in {NAME: {KEY: VALUE}}", key->name);
    dt_error why = {0};
    const char *text = read_value(r, key, line, list);
    if (!text) return r->err->status;
    if (settings_set(s, key->name, text, &why) != DT_OK) return refuse(r, line, "%s", why.message);
    return arm ? settings_arm_add(arm, key, text, r->err) : DT_OK;
}

/* Reads the pairs of the mapping whose start is at hand, up to its end, and puts them into *s. In an arm's mapping (`arm`
 * not NULL) they are kept as well; `study` receives the parts of the top mapping and is NULL in an arm's. */
static dt_status read_pairs(reader *r, dt_settings *s, settings_arm *arm, settings_study *study, bool seen[])
{
    while (next(r) == DT_OK && r->file.event.type != YAML_MAPPING_END_EVENT) {
        if (r->file.event.type != YAML_SCALAR_EVENT) return refuse_form(r);
        const part *p = study ? find_part(scalar(r)) : NULL;
        dt_status status = DT_OK;
        if (!p || p->is_key)
            status = read_pair(r, s, arm, study, seen);
        else if (next(r) == DT_OK)
            status = p->read(r, study);
        if (status != DT_OK) break;
    }
    return r->err->status;
}

static dt_status read_mapping(reader *r, dt_settings *s, settings_arm *arm, settings_study *study)
{
    bool *seen = calloc((size_t)settings_key_count, sizeof *seen);
    if (!seen) return error_set(r->err, DT_ERR_MEMORY, "%s: no memory to read it", r->file.path);
    read_pairs(r, s, arm, study, seen);
    free(seen);
    return r->err->status;
}

/* An arm is a folder in that of the experiment, beside files with points in their names; `what` is "an arm" or the like. */
static dt_status check_name(reader *r, const settings_arms *arms, const char *what)
{
    const char *name = scalar(r);
    size_t length = strlen(name);
    bool fine = isalnum((unsigned char)name[0]) && length < SETTINGS_NAME_MAX;
    for (const char *c = name; *c; c++) fine = fine && (isalnum((unsigned char)*c) || *c == '-' || *c == '_');
    if (!fine)
        return refuse(r, line_at_hand(r), "%s's name has 1 to %d letters, digits, hyphens and underscores, not '%.*s'",
                      what, SETTINGS_NAME_MAX - 1, SHOWN_MAX, name);
    for (int i = 0; arms && i < arms->count; i++)
        if (!strcmp(arms->arm[i].name, name))
            return refuse(r, line_at_hand(r), "%s %s is there twice", strchr(what, ' ') + 1, name);
    return DT_OK;
}

static dt_status check_room(reader *r, const settings_arms *arms)
{
    if (arms->count < SETTINGS_ARMS_MAX) return DT_OK;
    return refuse(r, line_at_hand(r), "more than %d arms", SETTINGS_ARMS_MAX);
}

/* Reads the mapping whose start is at hand, of names to mappings of settings. Values are tried on settings of their own:
 * whether an arm's settings agree with each other and with the recipe's is for settings_check. */
static dt_status read_groups(reader *r, settings_arms *arms, const char *what, const char *part_name)
{
    dt_settings tried;
    const size_t first_line = line_at_hand(r);
    if (arms->count) return refuse(r, first_line, "%s is set twice", part_name);
    if (r->file.event.type != YAML_MAPPING_START_EVENT)
        return refuse(r, first_line, "%s needs a mapping of names to settings", part_name);
    while (next(r) == DT_OK && r->file.event.type != YAML_MAPPING_END_EVENT) {
        const size_t line = line_at_hand(r);
        if (r->file.event.type != YAML_SCALAR_EVENT) return refuse_form(r);
        if (check_name(r, arms, what) != DT_OK || check_room(r, arms) != DT_OK) break;
        settings_arm *arm = settings_arms_add(arms, scalar(r), r->err);
        if (!arm || next(r) != DT_OK) break;
        if (r->file.event.type != YAML_MAPPING_START_EVENT)
            return refuse(r, line, "%s %s needs a mapping of its settings, such as {tau: 2}, or {}",
                          strchr(what, ' ') + 1, arm->name);
        dt_settings_init(&tried);
        if (read_mapping(r, &tried, arm, NULL) != DT_OK) break;
    }
    if (r->err->status == DT_OK && arms->count == 0)
        refuse(r, first_line, "%s names no %s", part_name, strchr(what, ' ') + 1);
    return r->err->status;
}

/* Reads the sequence whose start is at hand: values of one key, each of which becomes an arm that is called by it. */
static dt_status read_values(reader *r, settings_arms *arms, const settings_key *key)
{
    dt_settings tried;
    const size_t first_line = line_at_hand(r);
    if (arms->count) return refuse(r, first_line, "the values of %s are set twice", key->name);
    if (!settings_suits_arm(key)) return refuse(r, first_line, "%s cannot be set by an arm", key->name);
    while (next(r) == DT_OK && r->file.event.type != YAML_SEQUENCE_END_EVENT) {
        char name[SETTINGS_VALUE_MAX], text[SETTINGS_VALUE_MAX], list[SETTINGS_VALUE_MAX];
        dt_error why = {0};
        const char *value = read_value(r, key, line_at_hand(r), list);
        if (!value || check_room(r, arms) != DT_OK) return r->err->status;
        dt_settings_init(&tried);
        if (settings_set(&tried, key->name, value, &why) != DT_OK) return refuse(r, line_at_hand(r), "%s", why.message);
        settings_text(text, &tried, key);
        if (!text[0] || strlen(text) >= SETTINGS_NAME_MAX)
            return refuse(r, line_at_hand(r),
                          "a value of %s makes no name of an arm; use a mapping of names to settings", key->name);
        snprintf(name, sizeof name, "%s", text);
        for (char *c = name; *c; c++)
            if (!isalnum((unsigned char)*c) && *c != '-') *c = '_';
        for (int i = 0; i < arms->count; i++)
            if (!strcmp(arms->arm[i].name, name) || !strcmp(arms->arm[i].override[0].text, text))
                return refuse(r, line_at_hand(r), "%s %s is there twice, or has the name of another value", key->name,
                              text);
        settings_arm *arm = settings_arms_add(arms, name, r->err);
        if (!arm || settings_arm_add(arm, key, text, r->err) != DT_OK) return r->err->status;
    }
    if (r->err->status == DT_OK && arms->count == 0) refuse(r, first_line, "%s has no value", key->name);
    return r->err->status;
}

static dt_status read_arms(reader *r, settings_study *study)
{
    r->suits = settings_suits_arm;
    return read_groups(r, &study->arms, "an arm", "arms");
}

static dt_status read_data(reader *r, settings_study *study)
{
    r->suits = settings_suits_arm;
    return read_groups(r, &study->data, "a data set", "data");
}

static dt_status read_draw(reader *r, settings_study *study)
{
    r->suits = settings_suits_draw;
    return read_groups(r, &study->draw, "a way to draw", "draw");
}

static dt_status read_seeds(reader *r, settings_study *study)
{
    if (r->file.event.type != YAML_SEQUENCE_START_EVENT)
        return refuse(r, line_at_hand(r), "seeds needs a list, such as [0, 1, 2]");
    return read_values(r, &study->seeds, settings_find("seed"));
}

/* An axis is called by a key whose values it lists, or as it likes where it is a mapping of groups. */
static dt_status read_axis(reader *r, settings_study *study)
{
    const size_t line = line_at_hand(r);
    settings_axis *axis = &study->axis[study->axis_count];
    if (check_name(r, NULL, "an axis") != DT_OK) return r->err->status;
    if (study->axis_count == SETTINGS_AXES_MAX) return refuse(r, line, "more than %d axes", SETTINGS_AXES_MAX);
    for (int i = 0; i < study->axis_count; i++)
        if (!strcmp(study->axis[i].name, scalar(r))) return refuse(r, line, "axis %s is there twice", scalar(r));
    *axis = (settings_axis){0};
    snprintf(axis->name, sizeof axis->name, "%s", scalar(r));
    study->axis_count++;
    if (next(r) != DT_OK) return r->err->status;
    if (r->file.event.type != YAML_SEQUENCE_START_EVENT) {
        r->suits = settings_suits_arm;
        return read_groups(r, &axis->value, "a group", axis->name);
    }
    axis->key = settings_find(axis->name);
    if (!axis->key) return refuse(r, line, "axis %s lists values, but there is no setting of that name", axis->name);
    return read_values(r, &axis->value, axis->key);
}

static dt_status read_grid(reader *r, settings_study *study)
{
    const size_t line = line_at_hand(r);
    if (study->axis_count) return refuse(r, line, "grid is set twice");
    if (r->file.event.type != YAML_MAPPING_START_EVENT) return refuse(r, line, "grid needs a mapping of its axes");
    while (next(r) == DT_OK && r->file.event.type != YAML_MAPPING_END_EVENT) {
        if (r->file.event.type != YAML_SCALAR_EVENT) return refuse_form(r);
        if (read_axis(r, study) != DT_OK) break;
    }
    if (r->err->status == DT_OK && study->axis_count == 0) refuse(r, line, "grid names no axis");
    return r->err->status;
}

static const part parts[] = {
    {"arms", true, read_arms},  {"data", true, read_data},    {"grid", false, read_grid},
    {"draw", false, read_draw}, {"seeds", false, read_seeds},
};

static const part *find_part(const char *name)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strcmp(parts[i].name, name)) return &parts[i];
    return NULL;
}

/* One document, which is a mapping; or none, which sets nothing. */
static dt_status read_document(reader *r, dt_settings *s, settings_study *study)
{
    if (next(r) != DT_OK || next(r) != DT_OK || r->file.event.type == YAML_STREAM_END_EVENT) return r->err->status;
    if (next(r) != DT_OK) return r->err->status;
    if (r->file.event.type != YAML_MAPPING_START_EVENT) return refuse_form(r);
    if (read_mapping(r, s, NULL, study) != DT_OK || next(r) != DT_OK || next(r) != DT_OK) return r->err->status;
    if (r->file.event.type != YAML_STREAM_END_EVENT)
        refuse(r, line_at_hand(r), "one mapping of keys to values expected, found several documents");
    return r->err->status;
}

static bool has_parts(const settings_study *study)
{
    return study->arms.count || study->data.count || study->seeds.count || study->draw.count || study->axis_count;
}

/* *s is changed only when the whole file is good. */
static dt_status read_file(dt_settings *s, settings_study *study, const char *path, dt_error *err)
{
    reader r = {.err = err};
    *study = (settings_study){0};
    if (yaml_file_open(&r.file, path, DT_ERR_ARG, err) != DT_OK) return err->status;
    dt_settings changed = *s;
    r.line_start = r.file.text;
    if (read_document(&r, &changed, study) == DT_OK && has_parts(study)) settings_set(&changed, "arms", path, err);
    if (err->status == DT_OK) *s = changed;
    yaml_file_close(&r.file);
    return err->status;
}

dt_status settings_load(dt_settings *s, const char *path, dt_error *err)
{
    settings_study study;
    read_file(s, &study, path, err);
    settings_study_free(&study);
    return err->status;
}

dt_status settings_study_load(settings_study *study, const char *path, dt_error *err)
{
    dt_settings unused;
    dt_settings_init(&unused);
    if (read_file(&unused, study, path, err) != DT_OK) settings_study_free(study);
    return err->status;
}

dt_status settings_arms_load(settings_arms *arms, const char *path, dt_error *err)
{
    settings_study study;
    *arms = (settings_arms){0};
    if (settings_study_load(&study, path, err) != DT_OK) return err->status;
    if (study.data.count || study.seeds.count || study.draw.count || study.axis_count)
        error_set(err, DT_ERR_ARG, "%s: data sets, seeds, a grid and ways to draw are for difftune study", path);
    else if (study.arms.count == 0)
        error_set(err, DT_ERR_ARG, "%s: has no mapping 'arms'", path);
    if (err->status == DT_OK) {
        *arms = study.arms;
        study.arms = (settings_arms){0};
    }
    settings_study_free(&study);
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

static bool emit_groups(yaml_emitter_t *out, const char *name, const settings_arms *arms)
{
    bool good = emit_text(out, name) && emit_start(out);
    for (int i = 0; good && i < arms->count; i++) {
        const settings_arm *arm = &arms->arm[i];
        good = emit_text(out, arm->name) && emit_start(out);
        for (int k = 0; good && k < arm->count; k++)
            good = emit_text(out, arm->override[k].key->name) && emit_text(out, arm->override[k].text);
        good = good && emit_end(out);
    }
    return good && emit_end(out);
}

static bool emit_values(yaml_emitter_t *out, const char *name, const settings_arms *values)
{
    yaml_event_t e;
    bool good = emit_text(out, name) &&
                emit(out, &e, yaml_sequence_start_event_initialize(&e, NULL, NULL, 1, YAML_FLOW_SEQUENCE_STYLE));
    for (int i = 0; good && i < values->count; i++) good = emit_text(out, values->arm[i].override[0].text);
    return good && emit(out, &e, yaml_sequence_end_event_initialize(&e));
}

static bool emit_grid(yaml_emitter_t *out, const settings_study *study)
{
    bool good = emit_text(out, "grid") && emit_start(out);
    for (int i = 0; good && i < study->axis_count; i++)
        good = (study->axis[i].key ? emit_values : emit_groups)(out, study->axis[i].name, &study->axis[i].value);
    return good && emit_end(out);
}

/* The parts whose names are no keys. */
static bool emit_parts(yaml_emitter_t *out, const settings_study *study)
{
    return (!study->axis_count || emit_grid(out, study)) &&
           (!study->seeds.count || emit_values(out, "seeds", &study->seeds)) &&
           (!study->draw.count || emit_groups(out, "draw", &study->draw));
}

static bool emit_document(yaml_emitter_t *out, const dt_settings *s, const settings_study *study)
{
    yaml_event_t e;
    bool good = emit(out, &e, yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING)) &&
                emit(out, &e, yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1)) && emit_start(out);
    for (int i = 0; good && i < settings_key_count; i++) {
        char value[SETTINGS_VALUE_MAX];
        const settings_key *key = &settings_keys[i];
        if (study->arms.count && key == settings_find("arms")) {
            good = emit_groups(out, key->name, &study->arms);
            continue;
        }
        if (study->data.count && key == settings_find("data")) {
            good = emit_groups(out, key->name, &study->data);
            continue;
        }
        settings_text(value, s, key);
        if (has_parts(study) && key == settings_find("arms")) value[0] = '\0'; /* they are in this file */
        good = emit_text(out, key->name) && emit_text(out, value);
    }
    return good && emit_parts(out, study) && emit_end(out) &&
           emit(out, &e, yaml_document_end_event_initialize(&e, 1)) &&
           emit(out, &e, yaml_stream_end_event_initialize(&e));
}

dt_status settings_save_with(const dt_settings *s, const settings_study *study, const char *path, dt_error *err)
{
    yaml_emitter_t out;
    text_stream text;
    bool good = false;
    if (text_stream_open(&text) && yaml_emitter_initialize(&out)) {
        yaml_emitter_set_output_file(&out, text.out);
        good = emit_document(&out, s, study);
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
    const settings_study none = {0};
    return settings_save_with(s, &none, path, err);
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
