#include "data/context_cache.h"

#include <stdio.h>
#include <string.h>

#include <nettle/sha2.h>

#include "base/finite.h"
#include "base/say.h"
#include "base/text.h"

enum { TEXTS_TOGETHER = 16 };

static const char *wrong(const shard_kind *kind, const void *const row[])
{
    const int64_t values = (int64_t)(kind->tensor[0].row_bytes / sizeof(float));
    return finite_first_bad(row[0], values) >= 0 ? "has numbers that are not finite" : NULL;
}

static shard_kind kind_of(const context_encoder *e)
{
    return (shard_kind){.format = CACHE_OF_CONTEXTS,
                        .rows = "encoded prompts",
                        .tensor_count = 1,
                        .tensor = {{"context", SAFETENSORS_F32, 2, {e->tokens, e->width}, 0}},
                        .wrong = wrong};
}

static json_t *describe(const context_encoder *e)
{
    return JSON_OBJECT({"encoder_sha256", json_string(e->sha256)}, {"tokens", json_integer(e->tokens)},
                       {"width", json_integer(e->width)});
}

dt_status context_cache_open(shard_cache *k, const char *cache_dir, const context_encoder *e, const data_watcher *watch,
                             dt_error *err)
{
    const shard_kind kind = kind_of(e);
    return shard_cache_open(k, &kind, cache_dir, "contexts", describe(e), watch, err);
}

dt_status context_cache_look(shard_cache *k, const char *cache_dir, const context_encoder *e, const data_watcher *watch,
                             dt_error *err)
{
    const shard_kind kind = kind_of(e);
    return shard_cache_look(k, &kind, cache_dir, "contexts", describe(e), watch, err);
}

void context_cache_key(uint8_t key[SHARD_KEY], const char *text)
{
    struct sha256_ctx hash;
    sha256_init(&hash);
    sha256_update(&hash, strlen(text), (const uint8_t *)text);
    sha256_digest(&hash, SHARD_KEY, key);
}

/* ---- filling ---- */

/* Texts on their way into the cache. */
typedef struct filling {
    ctx *c;
    shard_cache *k;
    const context_encoder *e;
    const data_watcher *watch;
    int64_t values;                   /* of a context */
    float *context;                   /* [TEXTS_TOGETHER, values] */
    const char *text[TEXTS_TOGETHER]; /* that the cache lacks */
    uint8_t key[TEXTS_TOGETHER][SHARD_KEY];
    int64_t count;
} filling;

static dt_status refuse_text(const filling *f, int64_t i)
{
    char shown[96];
    snprintf(shown, sizeof shown, "%s", f->text[i]);
    text_make_printable(shown);
    return error_set(&f->c->error, DT_ERR_NUMERIC, "the encoded prompt \"%s\" has numbers that are not finite", shown);
}

static void encode_waiting(filling *f)
{
    ctx *c = f->c;
    if (f->count == 0 || f->e->encode(c, f->e->user, f->context, f->text, f->count) != DT_OK) return;
    for (int64_t i = 0; i < f->count && !ctx_failed(c); i++) {
        const float *row = f->context + i * f->values;
        if (finite_first_bad(row, f->values) >= 0)
            refuse_text(f, i);
        else
            shard_cache_add(f->k, f->key[i], (const void *[]){row}, &c->error);
    }
    f->count = 0;
}

static bool waits(const filling *f, const uint8_t key[SHARD_KEY])
{
    for (int64_t i = 0; i < f->count; i++)
        if (!memcmp(f->key[i], key, SHARD_KEY)) return true;
    return false;
}

static void go_on(const filling *f, int64_t done, int64_t n)
{
    const data_watcher *w = f->watch;
    if (!w->go_on)
        ctx_go_on(f->c);
    else if (!w->go_on(w->user, done, n) && done < n)
        error_set(&f->c->error, DT_ERR_INTERRUPTED, "%s: stopped after %lld of %lld prompts; the same command goes on",
                  f->k->folder, (long long)done, (long long)n);
}

/* Of n texts those that the cache lacks, the same one counted each time it comes. */
static int64_t count_missing(const shard_cache *k, const char *const text[], int64_t n)
{
    int64_t missing = 0;
    uint8_t key[SHARD_KEY];
    for (int64_t i = 0; i < n; i++) {
        context_cache_key(key, text[i]);
        missing += !shard_cache_find(k, key, 0);
    }
    return missing;
}

dt_status context_cache_fill(ctx *c, shard_cache *k, const context_encoder *e, const char *const text[], int64_t n,
                             const data_watcher *watch)
{
    filling f = {.c = c, .k = k, .e = e, .watch = watch, .values = e->tokens * e->width};
    if (count_missing(k, text, n) == 0) return DT_OK;
    const arena_place mark = arena_mark(&c->scratch);
    f.context = arena_alloc(&c->scratch, (size_t)(TEXTS_TOGETHER * f.values) * sizeof *f.context, &c->error);
    for (int64_t i = 0; i < n && f.context && !ctx_failed(c); i++) {
        context_cache_key(f.key[f.count], text[i]);
        if (shard_cache_find(k, f.key[f.count], 0) || waits(&f, f.key[f.count])) continue;
        f.text[f.count++] = text[i];
        if (f.count < TEXTS_TOGETHER) continue;
        encode_waiting(&f);
        if (!ctx_failed(c)) go_on(&f, i + 1, n);
    }
    if (f.context && !ctx_failed(c)) encode_waiting(&f);
    arena_release(&c->scratch, mark);
    if (c->error.status == DT_ERR_INTERRUPTED) {
        dt_error ignored = {0}; /* what could not be kept is encoded again */
        shard_cache_finish(k, &ignored);
    }
    return c->error.status;
}

dt_status context_tell_cut(ctx *c, const context_encoder *e, const char *what, const char *const text[], int64_t n,
                           const data_watcher *watch)
{
    int64_t cut = 0;
    if (!ctx_failed(c) && e->count_cut && e->count_cut(c, e->user, &cut, text, n) == DT_OK && cut && watch->log)
        say(watch->log, watch->user, "%lld of %lld %s have more than %lld tokens; what is beyond is left out",
            (long long)cut, (long long)n, what, (long long)e->tokens);
    return c->error.status;
}
