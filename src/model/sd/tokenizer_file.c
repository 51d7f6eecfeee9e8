/* Vocabularies of CLIP's tokenizer from files: openai's list of merges, and the folders of transformers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "file/content.h"
#include "base/sort.h"
#include "file/json_file.h"
#include "model/sd/tokenizer.h"

#define VOCABULARY "vocab.json"
#define MERGES     "merges.txt"
#define WHOLE      "tokenizer.json"
#define CONFIG     "tokenizer_config.json"
#define OPENAI     "bpe_simple_vocab_16e6.txt.gz"
#define WORD_END   "</w>"

/* openai's file goes on behind what its own program reads: so many merges make 49,408 entries. */
enum { OPENAI_MERGES = 48894, FILE_MAX = 16 << 20, ENTRY_MAX = 1024 };

/* What stands for a byte in vocabularies: itself where it is printable in Latin-1, else a code point from 256 on. */
typedef struct byte_names {
    char name[256][4];
    uint8_t in_order[256]; /* the bytes in the order of openai's ids */
} byte_names;

static bool is_itself(int byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static byte_names name_bytes(void)
{
    byte_names b = {0};
    int others = 0, place = 0;
    for (int i = 0; i < 256; i++) {
        const int point = is_itself(i) ? i : 256 + others++;
        if (point < 0x80)
            b.name[i][0] = (char)point;
        else
            snprintf(b.name[i], sizeof b.name[i], "%c%c", 0xc0 | point >> 6, 0x80 | (point & 0x3f));
        if (is_itself(i)) b.in_order[place++] = (uint8_t)i;
    }
    for (int i = 0; i < 256; i++)
        if (!is_itself(i)) b.in_order[place++] = (uint8_t)i;
    return b;
}

/* ---- a vocabulary while it is read: names, and merges of two names; all in scratch ---- */

typedef struct entry {
    const char *name;
    int32_t id;
} entry;

typedef struct reading {
    ctx *c;
    char path[DT_PATH_MAX]; /* of the file that is read */
    entry *entry;           /* by name, once sorted */
    int64_t count;
    const char *(*merge)[2]; /* by rank */
    int64_t merge_count;
} reading;

static dt_status refuse(const reading *r, const char *what)
{
    return error_set(&r->c->error, DT_ERR_FORMAT, "%s: %s", r->path, what);
}

static dt_status make_room(reading *r, int64_t entries, int64_t merges)
{
    ctx *c = r->c;
    if (entries > TOKENIZER_IDS_MAX || merges > TOKENIZER_IDS_MAX)
        return refuse(r, "too many entries for a vocabulary");
    if (entries) r->entry = arena_alloc(&c->scratch, (size_t)entries * sizeof *r->entry, &c->error);
    if (merges) r->merge = arena_alloc(&c->scratch, (size_t)merges * sizeof *r->merge, &c->error);
    return c->error.status;
}

static const char *keep(const reading *r, const char *text, size_t length)
{
    char *kept = arena_alloc(&r->c->scratch, length + 1, &r->c->error);
    if (!kept) return NULL;
    memcpy(kept, text, length);
    kept[length] = '\0';
    return kept;
}

static void add_entry(reading *r, const char *name, int64_t id)
{
    r->entry[r->count++] = (entry){name, (int32_t)id};
}

/* "a b" */
static dt_status add_merge(reading *r, const char *text, size_t length)
{
    const char *space = memchr(text, ' ', length);
    const size_t left = space ? (size_t)(space - text) : 0, right = space ? length - left - 1 : 0;
    if (!left || !right || length > ENTRY_MAX || memchr(space + 1, ' ', right)) {
        char what[DT_TEXT_MAX];
        snprintf(what, sizeof what, "merge %lld: two parts with a blank between them expected, found \"%.*s\"",
                 (long long)r->merge_count + 1, (int)(length < 40 ? length : 40), text);
        return refuse(r, what);
    }
    r->merge[r->merge_count][0] = keep(r, text, left);
    r->merge[r->merge_count++][1] = keep(r, space + 1, right);
    return r->c->error.status;
}

/* One merge a line, behind a first line that is a heading where `heading` says so or where it says "#version". At most so many;
 * what is behind is not looked at. */
static dt_status read_merges(reading *r, const char *text, int64_t at_most, bool heading)
{
    int64_t lines = 0;
    for (const char *l = text; *l && lines < at_most; lines++) l += strcspn(l, "\n") + (strchr(l, '\n') != NULL);
    if (make_room(r, 0, lines) != DT_OK) return r->c->error.status;
    if (*text && (heading || !strncmp(text, "#version", 8))) text += strcspn(text, "\n") + (strchr(text, '\n') != NULL);
    while (*text && r->merge_count < lines && !ctx_failed(r->c)) {
        const size_t all = strcspn(text, "\n"), length = all - (all && text[all - 1] == '\r');
        if (length && add_merge(r, text, length) != DT_OK) break;
        text += all + (text[all] == '\n');
    }
    return r->c->error.status;
}

/* ---- from names to numbers ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static int by_pair(const void *a, const void *b)
{
    const tokenizer_merge *left = a, *right = b;
    return left->pair < right->pair ? -1 : left->pair > right->pair;
}

/* -1: there is none. */
static int32_t id_of(const reading *r, const char *name)
{
    const entry key = {.name = name};
    const entry *e = sorted_find(&key, r->entry, (size_t)r->count, sizeof key, by_name);
    return e ? e->id : -1;
}

/* Every id of 0..count-1 once, and no name twice. */
static dt_status sort_entries(reading *r)
{
    char what[DT_TEXT_MAX];
    bool *seen = arena_alloc_zeroed(&r->c->scratch, (size_t)r->count + 1, &r->c->error);
    if (!seen) return r->c->error.status;
    sort_array(r->entry, (size_t)r->count, sizeof *r->entry, by_name);
    for (int64_t i = 0; i < r->count; i++) {
        const entry *e = &r->entry[i];
        const bool twice = i && !strcmp(e->name, e[-1].name);
        if (e->id >= 0 && e->id < r->count && !seen[e->id] && !twice) {
            seen[e->id] = true;
            continue;
        }
        snprintf(what, sizeof what, "entry \"%.40s\": %s", e->name,
                 twice ? "stands twice" : "ids from 0 on without a gap, each once, expected");
        return refuse(r, what);
    }
    return DT_OK;
}

static dt_status find_bytes(const reading *r, tokenizer *t)
{
    const byte_names bytes = name_bytes();
    char ended[sizeof bytes.name[0] + sizeof WORD_END];
    t->start = id_of(r, "<|startoftext|>");
    t->end = id_of(r, "<|endoftext|>");
    if (t->start < 0 || t->end < 0)
        return refuse(r, "a vocabulary of CLIP with <|startoftext|> and <|endoftext|> expected, found another one");
    for (int i = 0; i < 256; i++) {
        snprintf(ended, sizeof ended, "%s" WORD_END, bytes.name[i]);
        t->byte[0][i] = id_of(r, bytes.name[i]);
        t->byte[1][i] = id_of(r, ended);
        for (int k = 0; k < 2; k++)
            if (t->byte[k][i] < 0) t->byte[k][i] = t->end;
    }
    return DT_OK;
}

/* Number `rank` of the merges. */
static dt_status find_one_merge(const reading *r, tokenizer_merge *m, int64_t rank)
{
    char joined[2 * ENTRY_MAX + 1], what[DT_TEXT_MAX];
    const char *const *part = r->merge[rank];
    snprintf(joined, sizeof joined, "%s%s", part[0], part[1]);
    const int32_t left = id_of(r, part[0]), right = id_of(r, part[1]);
    *m = (tokenizer_merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, (int32_t)rank, id_of(r, joined)};
    if (left >= 0 && right >= 0 && m->id >= 0) return DT_OK;
    snprintf(what, sizeof what, "merge %lld, \"%.40s %.40s\": not all of it is in the vocabulary", (long long)rank + 1,
             part[0], part[1]);
    return refuse(r, what);
}

static void hash_all(tokenizer *t)
{
    struct sha256_ctx hash;
    file_hash hex;
    sha256_init(&hash);
    sha256_update(&hash, sizeof t->count, (const uint8_t *)&t->count);
    sha256_update(&hash, sizeof t->start, (const uint8_t *)&t->start);
    sha256_update(&hash, sizeof t->end, (const uint8_t *)&t->end);
    sha256_update(&hash, sizeof t->byte, (const uint8_t *)t->byte);
    if (t->merge_count) sha256_update(&hash, (size_t)t->merge_count * sizeof *t->merge, (const uint8_t *)t->merge);
    file_hash_finish(&hex, &hash);
    memcpy(t->sha256, hex.hex, sizeof t->sha256);
}

static dt_status finish(reading *r, tokenizer *t)
{
    ctx *c = r->c;
    if (sort_entries(r) != DT_OK || find_bytes(r, t) != DT_OK) return c->error.status;
    const size_t room = (size_t)(r->merge_count ? r->merge_count : 1);
    tokenizer_merge *merge = arena_alloc(&c->model, room * sizeof *merge, &c->error);
    if (!merge) return c->error.status;
    for (int64_t i = 0; i < r->merge_count; i++)
        if (find_one_merge(r, &merge[i], i) != DT_OK) return c->error.status;
    sort_array(merge, (size_t)r->merge_count, sizeof *merge, by_pair);
    for (int64_t i = 1; i < r->merge_count; i++)
        if (merge[i].pair == merge[i - 1].pair) return refuse(r, "a merge stands twice");
    t->merge = merge;
    t->merge_count = r->merge_count;
    t->count = r->count;
    hash_all(t);
    return DT_OK;
}

/* ---- openai's file ---- */

/* The text of a file, packed or not, in scratch. */
static const char *read_text(const reading *r)
{
    ctx *c = r->c;
    if (file_check_content(r->path, &c->error) != DT_OK) return NULL; /* of a pipe one would wait for ever */
    gzFile file = gzopen(r->path, "rbe");
    if (!file) {
        error_set_errno(&c->error, "%s: cannot be opened", r->path);
        return NULL;
    }
    char *text = arena_alloc(&c->scratch, FILE_MAX + 1, &c->error);
    const int read = text ? gzread(file, text, FILE_MAX) : 0;
    const bool more = text && read == FILE_MAX;
    const bool broken = gzclose(file) != Z_OK || read < 0;
    if (!text) return NULL;
    text[read > 0 ? read : 0] = '\0';
    if (broken || more || strlen(text) != (size_t)read) {
        refuse(r, more     ? "longer than a list of merges is"
                  : broken ? "cannot be unpacked"
                           : "a list of merges expected, found a zero byte in it");
        return NULL;
    }
    return text;
}

static const char *join(const reading *r, const char *left, const char *right)
{
    char both[2 * ENTRY_MAX + 8];
    return keep(r, both, (size_t)snprintf(both, sizeof both, "%s%s", left, right));
}

/* Ids are bytes, bytes at a word's end, merges, start, end. */
static dt_status read_openai(reading *r)
{
    const byte_names bytes = name_bytes();
    const char *text = read_text(r);
    if (!text || read_merges(r, text, OPENAI_MERGES + 1, true) != DT_OK) return r->c->error.status;
    if (r->merge_count > OPENAI_MERGES) r->merge_count = OPENAI_MERGES;
    if (make_room(r, 512 + r->merge_count + 2, 0) != DT_OK) return r->c->error.status;
    for (int i = 0; i < 512; i++)
        add_entry(r, join(r, bytes.name[bytes.in_order[i % 256]], i < 256 ? "" : WORD_END), i);
    for (int64_t i = 0; i < r->merge_count; i++) add_entry(r, join(r, r->merge[i][0], r->merge[i][1]), r->count);
    add_entry(r, "<|startoftext|>", r->count);
    add_entry(r, "<|endoftext|>", r->count);
    return r->c->error.status;
}

/* ---- transformers' folders ---- */

static dt_status read_entries(reading *r, const json_t *object)
{
    const char *name;
    const json_t *id;
    if (!json_is_object(object)) return refuse(r, "a vocabulary expected: an object of names and ids");
    if (make_room(r, (int64_t)json_object_size(object), 0) != DT_OK) return r->c->error.status;
    json_object_foreach((json_t *)object, name, id)
    {
        const json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        const char *kept = keep(r, name, strlen(name));
        if (!kept) return r->c->error.status;
        add_entry(r, kept, value >= 0 && value < TOKENIZER_IDS_MAX ? value : -1);
    }
    return DT_OK;
}

/* Merges as texts "a b" or as pairs of texts. */
static dt_status read_merge_list(reading *r, const json_t *list)
{
    size_t i;
    const json_t *item;
    if (!json_is_array(list)) return refuse(r, "a list of merges expected");
    if (make_room(r, 0, (int64_t)json_array_size(list)) != DT_OK) return r->c->error.status;
    json_array_foreach((json_t *)list, i, item)
    {
        char text[2 * ENTRY_MAX];
        const char *left = json_string_value(json_array_get(item, 0)),
                   *right = json_string_value(json_array_get(item, 1));
        const char *both = json_string_value(item);
        snprintf(text, sizeof text, "%s%s%s", both ? both : left ? left : "", right ? " " : "", right ? right : "");
        if (add_merge(r, text, strlen(text)) != DT_OK) break;
    }
    return r->c->error.status;
}

static dt_status read_pair(reading *r, const char *folder)
{
    char *text = NULL;
    size_t size;
    file_join(r->path, folder, VOCABULARY);
    json_t *vocabulary = json_file_read(r->path, &r->c->error);
    if (vocabulary) read_entries(r, vocabulary);
    json_decref(vocabulary);
    if (ctx_failed(r->c)) return r->c->error.status;
    file_join(r->path, folder, MERGES);
    if (file_read_all(&text, &size, r->path, FILE_MAX, &r->c->error) == DT_OK) {
        if (strlen(text) == size)
            read_merges(r, text, TOKENIZER_IDS_MAX, false);
        else
            refuse(r, "a list of merges expected, found a zero byte in it");
    }
    free(text);
    return r->c->error.status;
}

static dt_status read_whole(reading *r, const char *folder)
{
    file_join(r->path, folder, WHOLE);
    json_t *object = json_file_read(r->path, &r->c->error);
    const json_t *model = json_object_get(object, "model");
    if (object && read_entries(r, json_object_get(model, "vocab")) == DT_OK)
        read_merge_list(r, json_object_get(model, "merges"));
    json_decref(object);
    return r->c->error.status;
}

static bool has(const char *folder, const char *name)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, name);
    return file_exists(path);
}

static bool has_pair(const char *folder)
{
    return has(folder, VOCABULARY) && has(folder, MERGES);
}

/* OpenCLIP's vocabulary is the same, but it fills up with "!", which gives other contexts. */
static dt_status check_filling(reading *r, const char *folder)
{
    if (!has(folder, CONFIG)) return DT_OK;
    file_join(r->path, folder, CONFIG);
    json_t *config = json_file_read(r->path, &r->c->error);
    const json_t *pad = json_object_get(config, "pad_token");
    const char *text = json_string_value(json_is_object(pad) ? json_object_get(pad, "content") : pad);
    if (text && strcmp(text, "<|endoftext|>") != 0)
        error_set(&r->c->error, DT_ERR_UNSUPPORTED,
                  "%s: pad_token <|endoftext|> expected, as Stable Diffusion 1.x has it, found %.40s (that of Stable "
                  "Diffusion 2 and XL is !)",
                  r->path, text);
    json_decref(config);
    return r->c->error.status;
}

static dt_status read_folder(reading *r, const char *folder)
{
    if (check_filling(r, folder) != DT_OK) return r->c->error.status;
    if (has_pair(folder)) return read_pair(r, folder);
    if (has(folder, WHOLE)) return read_whole(r, folder);
    return error_set(&r->c->error, DT_ERR_IO, "%s: " VOCABULARY " and " MERGES ", or " WHOLE ", expected in the folder",
                     folder);
}

dt_status tokenizer_open(ctx *c, tokenizer *t, const char *path)
{
    reading r = {.c = c};
    *t = (tokenizer){0};
    snprintf(r.path, sizeof r.path, "%s", path);
    if (ctx_failed(c)) return c->error.status;
    const arena_place mark = arena_mark(&c->scratch);
    if ((file_is_folder(path) ? read_folder(&r, path) : read_openai(&r)) == DT_OK) finish(&r, t);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

bool tokenizer_find(char out[DT_PATH_MAX], const char *model)
{
    char folder[DT_PATH_MAX], below[DT_PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(file_base_name(model) - model), model);
    if (file_is_folder(model)) snprintf(folder, sizeof folder, "%s", model);
    if (!folder[0]) snprintf(folder, sizeof folder, ".");
    file_join(below, folder, "tokenizer");
    const char *const places[] = {below, folder};
    for (int i = 0; i < 2; i++) {
        snprintf(out, DT_PATH_MAX, "%s", places[i]);
        if (has_pair(places[i]) || has(places[i], WHOLE)) return true;
        file_join(out, places[i], OPENAI);
        if (file_exists(out)) return true;
    }
    return false;
}
