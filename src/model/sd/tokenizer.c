#include "model/sd/tokenizer.h"

#include <string.h>

#include <utf8proc.h>

#include "base/text.h"

static const char start_token[] = "<|startoftext|>", end_token[] = "<|endoftext|>";

/* Text on its way: code points in scratch. */
typedef struct letters {
    const int32_t *at;
    int64_t count;
} letters;

/* Where ids go. */
typedef struct output {
    ctx *c;
    const tokenizer *t;
    int32_t *ids;
    int64_t length, wanted; /* room, and how many there were to put */
} output;

static void put(output *o, int32_t id)
{
    if (o->wanted < o->length) o->ids[o->wanted] = id;
    o->wanted++;
}

/* ---- merging: always the pair of the lowest rank, of several such the first ---- */

static const tokenizer_merge *find_merge(const tokenizer *t, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    int64_t first = 0, last = t->merge_count;
    while (first < last) {
        const int64_t middle = first + (last - first) / 2;
        if (t->merge[middle].pair < pair)
            first = middle + 1;
        else
            last = middle;
    }
    return first < t->merge_count && t->merge[first].pair == pair ? &t->merge[first] : NULL;
}

/* A symbol of a word, in a list from left to right. */
typedef struct symbol {
    int32_t id;             /* -1: it went into the one before */
    int32_t previous, next; /* -1: none */
} symbol;

/* A pair that could be merged when it was put on the heap. */
typedef struct candidate {
    int32_t rank, place, id;
} candidate;

typedef struct word {
    symbol *symbol;
    candidate *heap; /* the best is number 0 */
    int64_t heap_count;
} word;

static bool comes_before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void heap_push(word *w, candidate k)
{
    int64_t i = w->heap_count++;
    for (; i > 0 && comes_before(&k, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = k;
}

static candidate heap_pop(word *w)
{
    const candidate best = w->heap[0], last = w->heap[--w->heap_count];
    int64_t i = 0, child;
    for (; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && comes_before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!comes_before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return best;
}

static void consider(const tokenizer *t, word *w, int32_t place)
{
    if (place < 0 || w->symbol[place].next < 0) return;
    const tokenizer_merge *m = find_merge(t, w->symbol[place].id, w->symbol[w->symbol[place].next].id);
    if (m) heap_push(w, (candidate){m->rank, place, m->id});
}

/* Whether the pair is still what it was. */
static const tokenizer_merge *still_there(const tokenizer *t, const word *w, const candidate *k)
{
    const symbol *s = &w->symbol[k->place];
    if (s->id < 0 || s->next < 0) return NULL;
    const tokenizer_merge *m = find_merge(t, s->id, w->symbol[s->next].id);
    return m && m->id == k->id ? m : NULL;
}

static void merge(const tokenizer *t, word *w)
{
    while (w->heap_count) {
        const candidate k = heap_pop(w);
        if (!still_there(t, w, &k)) continue;
        symbol *left = &w->symbol[k.place], *right = &w->symbol[left->next];
        left->id = k.id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) w->symbol[left->next].previous = k.place;
        consider(t, w, left->previous);
        consider(t, w, k.place);
    }
}

/* A word of `count` bytes. Each merge puts at most two pairs on the heap and takes a symbol away. */
static void put_word(output *o, const uint8_t *bytes, int64_t count)
{
    ctx *c = o->c;
    word w = {0};
    const arena_place mark = arena_mark(&c->scratch);
    w.symbol = arena_alloc(&c->scratch, (size_t)count * sizeof *w.symbol, &c->error);
    w.heap = arena_alloc(&c->scratch, (size_t)(3 * count) * sizeof *w.heap, &c->error);
    if (ctx_failed(c)) count = 0;
    for (int32_t i = 0; i < count; i++)
        w.symbol[i] = (symbol){o->t->byte[i + 1 == count][bytes[i]], i - 1, i + 1 < count ? i + 1 : -1};
    for (int32_t i = 0; i < count; i++) consider(o->t, &w, i);
    merge(o->t, &w);
    for (int32_t i = count ? 0 : -1; i >= 0; i = w.symbol[i].next) put(o, w.symbol[i].id);
    arena_release(&c->scratch, mark);
}

static void put_letters(output *o, letters l)
{
    const arena_place mark = arena_mark(&o->c->scratch);
    uint8_t *bytes = arena_alloc(&o->c->scratch, (size_t)(4 * l.count), &o->c->error);
    int64_t count = 0;
    for (int64_t i = 0; bytes && i < l.count; i++) count += utf8proc_encode_char(l.at[i], bytes + count);
    if (bytes) put_word(o, bytes, count);
    arena_release(&o->c->scratch, mark);
}

/* ---- words ---- */

typedef enum letter_class { SPACE, LETTER, DIGIT, OTHER } letter_class;

static letter_class class_of(int32_t letter)
{
    if ((letter >= 9 && letter <= 13) || letter == 0x85) return SPACE;
    switch (utf8proc_category(letter)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return DIGIT;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return SPACE;
    default: return OTHER;
    }
}

static bool begins_with(letters l, const char *text)
{
    const int64_t length = (int64_t)strlen(text);
    for (int64_t i = 0; i < length; i++)
        if (i == l.count || l.at[i] != text[i]) return false;
    return true;
}

/* How many letters the next word has: the first of these that fits, then the longest run of a class. */
static int64_t word_length(letters l)
{
    static const char *const fixed[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (begins_with(l, fixed[i])) return (int64_t)strlen(fixed[i]);
    const letter_class class = class_of(l.at[0]);
    int64_t length = 1;
    while (class != DIGIT && length < l.count && class_of(l.at[length]) == class) length++;
    return length;
}

static letters first_of(letters l, int64_t count)
{
    return (letters){l.at, count};
}

static letters behind(letters l, int64_t count)
{
    return (letters){l.at + count, l.count - count};
}

static void put_words(output *o, letters l)
{
    for (int64_t length; l.count && !ctx_failed(o->c); l = behind(l, length)) {
        if (begins_with(l, end_token)) { /* in capitals in the text: no special token, but three words */
            put_letters(o, first_of(l, 2));
            put_letters(o, first_of(behind(l, 2), 9));
            put_letters(o, first_of(behind(l, 11), 2));
            length = 13;
        } else {
            length = word_length(l);
            if (class_of(l.at[0]) != SPACE) put_letters(o, first_of(l, length));
        }
    }
}

/* ---- special tokens and form ---- */

/* Lower-case text between special tokens "<|startoftext|>". */
static void put_part(output *o, letters l)
{
    const int64_t length = (int64_t)strlen(start_token);
    while (l.count && !ctx_failed(o->c)) {
        int64_t i = 0;
        while (i < l.count && !begins_with(behind(l, i), start_token)) i++;
        put_words(o, first_of(l, i));
        l = behind(l, i);
        if (!l.count) break;
        put(o, o->t->start);
        l = behind(l, length);
    }
}

enum { CAPITAL_I_DOT = 0x130, DOT_ABOVE = 0x307 }; /* the one letter whose lower case is two */

static letters lower(int32_t *out, const int32_t *in, int64_t count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        out[n++] = in[i] == CAPITAL_I_DOT ? 'i' : utf8proc_tolower(in[i]);
        if (in[i] == CAPITAL_I_DOT) out[n++] = DOT_ABOVE;
    }
    return (letters){out, n};
}

/* `bytes` of UTF-8 in form NFC and lower case. The library counts what it would write before it writes. */
static void put_text(output *o, const char *text, int64_t bytes)
{
    const utf8proc_option_t form = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    ctx *c = o->c;
    const arena_place mark = arena_mark(&c->scratch);
    const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)text;
    const utf8proc_ssize_t room = utf8proc_decompose(in, bytes, NULL, 0, form);
    int32_t *points = room > 0 ? arena_alloc(&c->scratch, (size_t)(room + 1) * sizeof *points, &c->error) : NULL;
    int32_t *lowered = points ? arena_alloc(&c->scratch, (size_t)(2 * room) * sizeof *lowered, &c->error) : NULL;
    if (lowered) {
        utf8proc_decompose(in, bytes, points, room, form);
        put_part(o, lower(lowered, points, utf8proc_normalize_utf32(points, room, form)));
    }
    arena_release(&c->scratch, mark);
}

static dt_status check_text(const char *text, dt_error *err)
{
    const size_t bytes = strnlen(text, TOKENIZER_TEXT_MAX + 1);
    if (bytes > TOKENIZER_TEXT_MAX)
        return error_set(err, DT_ERR_ARG, "a prompt of at most %d bytes expected, found more: \"%.40s..\"",
                         TOKENIZER_TEXT_MAX, text);
    if (!text_is_utf8(text)) return error_set(err, DT_ERR_ARG, "a prompt in UTF-8 expected, found \"%.100s\"", text);
    return DT_OK;
}

dt_status tokenizer_encode(ctx *c, const tokenizer *t, int32_t ids[], int64_t length, const char *text, int64_t *wanted)
{
    output o = {.c = c, .t = t, .ids = ids, .length = length - 1};
    if (ctx_failed(c) || check_text(text, &c->error) != DT_OK) return c->error.status;
    put(&o, t->start);
    for (const char *at; (at = strstr(text, end_token)); text = at + strlen(end_token)) {
        put_text(&o, text, at - text);
        put(&o, t->end);
    }
    put_text(&o, text, (int64_t)strlen(text));
    *wanted = o.wanted + 1;
    for (int64_t i = o.wanted < o.length ? o.wanted : o.length; i < length; i++) ids[i] = t->end;
    return c->error.status;
}
