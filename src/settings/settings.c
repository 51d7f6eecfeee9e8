/* One key at a time: find it, read its text, write it as text. */
#include "settings/settings.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "file/home.h"

_Static_assert(sizeof(dt_method) == sizeof(int), "enums of dt_settings are read and written as int");

static bool same_name(const char *a, const char *b)
{
    while (*a && text_unhyphened(*a) == text_unhyphened(*b)) a++, b++;
    return *a == *b;
}

static bool read_word(int *value, const settings_key *key, const char *text)
{
    for (*value = 0; key->words[*value]; ++*value)
        if (same_name(key->words[*value], text)) return true;
    for (const settings_alias *a = key->aliases; a && a->word; a++)
        if (same_name(a->word, text)) {
            *value = a->number;
            return true;
        }
    return false;
}

const settings_key *settings_find(const char *name)
{
    for (int i = 0; i < settings_key_count; i++)
        if (same_name(settings_keys[i].name, name)) return &settings_keys[i];
    return NULL;
}

bool settings_is_listed(const char *names, const settings_key *key)
{
    const size_t length = strlen(key->name);
    for (const char *at = names; at && (at = strstr(at, key->name)); at += length)
        if ((at == names || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

bool settings_shapes(const settings_key *key, unsigned verbs)
{
    return (key->verbs & verbs) && (key->affects == SETTINGS_RESULT || key->affects == SETTINGS_MEMORY);
}

bool settings_matter(const dt_settings *s, const settings_key *key)
{
    if (!(key->identity & SETTINGS_TRAIN) || !strcmp(key->name, "method") || !strcmp(key->name, "adapter")) return true;
    if (key->group == SETTINGS_GROUP_METHOD) return s->method == DT_METHOD_DIFF_TUNING;
    return key->group != SETTINGS_GROUP_ADAPTER || s->adapter != DT_ADAPTER_NONE;
}

static bool same_value(const dt_settings *a, const dt_settings *b, const settings_key *key)
{
    const void *mine = (const char *)a + key->offset, *other = (const char *)b + key->offset;
    return key->type == SETTINGS_TEXT ? !strcmp(mine, other) : !memcmp(mine, other, key->size);
}

bool settings_same(const dt_settings *a, const dt_settings *b, unsigned verbs)
{
    for (int i = 0; i < settings_key_count; i++)
        if (settings_shapes(&settings_keys[i], verbs) && !same_value(a, b, &settings_keys[i])) return false;
    return true;
}

static const settings_key *find_enum(const char *name)
{
    const settings_key *key = settings_find(name);
    assert(key && key->type == SETTINGS_ENUM);
    return key;
}

const char *settings_word(const dt_settings *s, const char *name)
{
    const settings_key *key = find_enum(name);
    return key->words[*(const int *)((const char *)s + key->offset)];
}

bool settings_tell_control(const dt_settings *s)
{
    return s->control[0] || s->controlnet_model[0];
}

bool settings_keep_cache(const dt_settings *s)
{
    return s->vae[0] || s->text_encoder[0] || settings_tell_control(s);
}

dt_xi settings_xi(const dt_settings *s)
{
    if (s->xi != DT_XI_PRESET) return s->xi;
    return s->preset == DT_PRESET_RELEASED ? DT_XI_MIRROR : DT_XI_ONE_MINUS;
}

dt_retention settings_retention(const dt_settings *s)
{
    if (s->retention != DT_RETENTION_PRESET) return s->retention;
    if (s->preset != DT_PRESET_DISTIL) return DT_RETENTION_BANK;
    if (settings_tell_control(s)) return DT_RETENTION_NONE;
    return s->bank[0] ? DT_RETENTION_BANK_DISTIL : DT_RETENTION_TARGET_DISTIL;
}

dt_settings settings_settled(const dt_settings *s)
{
    dt_settings settled = *s;
    settled.retention = settings_retention(s);
    return settled;
}

int settings_word_number(const char *name, const char *word)
{
    int number;
    return read_word(&number, find_enum(name), word) ? number : -1;
}

const char *settings_word_at(const char *name, int number)
{
    return find_enum(name)->words[number];
}

static bool read_real(double *value, const char *text)
{
    text_c_numbers numbers;
    char *end;
    text_enter_c_numbers(&numbers);
    errno = 0;
    *value = strtod(text, &end);
    const bool vanished = *value == 0 && errno == ERANGE; /* "1e-999" */
    text_leave_c_numbers(&numbers);
    if (vanished) return false;
    return !isspace((unsigned char)text[0]) && !strpbrk(text, "xX") && end != text && *end == '\0' && isfinite(*value);
}

static bool read_int(int64_t *value, const char *text)
{
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return !isspace((unsigned char)text[0]) && end != text && *end == '\0' && errno == 0;
}

static bool read_bool(bool *value, const char *text)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int i = 0; i < 6; i++) {
        *value = i % 2;
        if (!strcasecmp(text, words[i])) return true;
    }
    return false;
}

static bool in_range(const settings_key *key, double value)
{
    return value >= key->min && value <= key->max;
}

/* Limits are whole numbers that a double has exactly; the values between are not. */
static bool is_whole_in_range(const settings_key *key, int64_t value)
{
    return value >= (int64_t)key->min && value <= (int64_t)key->max;
}

static bool is_word(const settings_key *key, int value)
{
    int count = 0;
    while (key->words[count]) count++;
    return value >= 0 && value < count;
}

bool settings_in_range(const dt_settings *s, const settings_key *key)
{
    const void *member = (const char *)s + key->offset;
    switch (key->type) {
    case SETTINGS_TEXT: return memchr(member, 0, key->size) && text_is_printable(member);
    case SETTINGS_INT: return is_whole_in_range(key, *(const int64_t *)member);
    case SETTINGS_REAL: return in_range(key, *(const double *)member);
    case SETTINGS_BOOL: return true;
    case SETTINGS_ENUM: return is_word(key, *(const int *)member);
    }
    return false;
}

void settings_allowed(char text[DT_TEXT_MAX], const settings_key *key)
{
    int n = 0;
    switch (key->type) {
    case SETTINGS_TEXT: snprintf(text, DT_TEXT_MAX, "printable UTF-8 text of at most %zu bytes", key->size - 1); break;
    case SETTINGS_INT: snprintf(text, DT_TEXT_MAX, "a whole number from %.0f to %.0f", key->min, key->max); break;
    case SETTINGS_REAL: snprintf(text, DT_TEXT_MAX, "a number from %.9g to %.9g", key->min, key->max); break;
    case SETTINGS_BOOL: snprintf(text, DT_TEXT_MAX, "true or false"); break;
    case SETTINGS_ENUM:
        for (int i = 0; key->words[i]; i++)
            n += snprintf(text + n, (size_t)(DT_TEXT_MAX - n), "%s%s", i ? ", " : "one of: ", key->words[i]);
        break;
    }
}

/* Writes the member that `text` stands for, or returns false and leaves it. */
static bool assign(void *member, const settings_key *key, const char *text)
{
    double real;
    int64_t integer;
    bool flag;
    int word;
    switch (key->type) {
    case SETTINGS_TEXT:
        if (strlen(text) >= key->size || !text_is_printable(text)) return false;
        memset(member, 0, key->size);
        memcpy(member, text, strlen(text));
        return true;
    case SETTINGS_INT:
        if (!read_int(&integer, text) || !is_whole_in_range(key, integer)) return false;
        *(int64_t *)member = integer;
        return true;
    case SETTINGS_REAL:
        if (!read_real(&real, text) || !in_range(key, real)) return false;
        *(double *)member = real;
        return true;
    case SETTINGS_BOOL:
        if (!read_bool(&flag, text)) return false;
        *(bool *)member = flag;
        return true;
    case SETTINGS_ENUM:
        if (!read_word(&word, key, text)) return false;
        *(int *)member = word;
        return true;
    }
    return false;
}

dt_status settings_set(dt_settings *s, const char *name, const char *text, dt_error *err)
{
    const settings_key *key = settings_find(name);
    char hint[DT_TEXT_MAX], expanded[SETTINGS_VALUE_MAX];
    if (!key) {
        settings_hint(hint, name, ~0u, false);
        return error_set(err, DT_ERR_ARG, "unknown setting '%s'%s", name, hint);
    }
    if (key->path != SETTINGS_NO_PATH && strchr(text, '~')) {
        dt_error why = {0};
        if ((key->is_list ? home_expand_list : home_expand)(expanded, sizeof expanded, text, &why) != DT_OK)
            return error_set(err, DT_ERR_ARG, "%s: %s", key->name, why.message);
        text = expanded;
    }
    if (assign((char *)s + key->offset, key, text)) return DT_OK;
    char allowed[DT_TEXT_MAX];
    settings_allowed(allowed, key);
    return error_set(err, DT_ERR_ARG, "%s must be %s, not '%.200s'", key->name, allowed, text);
}

/* The shortest of 15 to 17 digits that reads back to the same bits. */
static void write_real(char text[SETTINGS_VALUE_MAX], double value)
{
    text_c_numbers numbers;
    text_enter_c_numbers(&numbers);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, SETTINGS_VALUE_MAX, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    text_leave_c_numbers(&numbers);
}

void settings_text(char text[SETTINGS_VALUE_MAX], const dt_settings *s, const settings_key *key)
{
    const void *member = (const char *)s + key->offset;
    switch (key->type) {
    case SETTINGS_TEXT: snprintf(text, SETTINGS_VALUE_MAX, "%s", (const char *)member); break;
    case SETTINGS_INT: snprintf(text, SETTINGS_VALUE_MAX, "%" PRId64, *(const int64_t *)member); break;
    case SETTINGS_REAL: write_real(text, *(const double *)member); break;
    case SETTINGS_BOOL: snprintf(text, SETTINGS_VALUE_MAX, "%s", *(const bool *)member ? "true" : "false"); break;
    case SETTINGS_ENUM: snprintf(text, SETTINGS_VALUE_MAX, "%s", key->words[*(const int *)member]); break;
    }
}

void settings_initial_text(char text[SETTINGS_VALUE_MAX], const settings_key *key)
{
    dt_settings untouched;
    dt_settings_init(&untouched);
    settings_text(text, &untouched, key);
}

void dt_settings_init(dt_settings *s)
{
    memset(s, 0, sizeof *s);
    for (int i = 0; i < settings_key_count; i++)
        assign((char *)s + settings_keys[i].offset, &settings_keys[i], settings_keys[i].initial);
}

dt_status dt_settings_set(dt_settings *s, const char *key, const char *text, char message[], int64_t message_size)
{
    dt_error err = {0};
    settings_set(s, key, text, &err);
    if (message && message_size > 0) snprintf(message, (size_t)message_size, "%s", err.message);
    return err.status;
}
