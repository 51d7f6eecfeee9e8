#include "api/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "data/context_cache.h"
#include "data/watch.h"

/* ---- texts ---- */

/* Texts with their zero bytes, behind the encoder's hash. */
static void hash_all(prompts *p, const char *encoder)
{
    const char *negative = p->negative.text[0];
    struct sha256_ctx hash;
    file_hash out;
    sha256_init(&hash);
    sha256_update(&hash, strlen(encoder), (const uint8_t *)encoder);
    sha256_update(&hash, strlen(negative) + 1, (const uint8_t *)negative);
    for (int64_t i = 0; i < p->list.count; i++)
        sha256_update(&hash, strlen(p->list.text[i]) + 1, (const uint8_t *)p->list.text[i]);
    file_hash_finish(&out, &hash);
    memcpy(p->told.sha256, out.hex, sizeof p->told.sha256);
}

/* All samples are led away from the same. */
static dt_status open_texts(prompts *p, const dt_settings *s, dt_error *err)
{
    if (prompt_list_open(&p->list, s->prompt, err) != DT_OK ||
        prompt_list_open(&p->negative, s->negative_prompt, err) != DT_OK || p->negative.count == 1)
        return err->status;
    return error_set(err, DT_ERR_ARG, "negative_prompt %s: one line expected, for all samples; found %lld",
                     s->negative_prompt, (long long)p->negative.count);
}

/* ---- contexts ---- */

static dt_status make_room(ctx *c, prompts *p, const context_encoder *e, int64_t numbers)
{
    const int64_t each = e->tokens * e->width * (int64_t)sizeof(float);
    const int64_t count = p->list.count < numbers ? p->list.count : numbers;
    if (count > examples_memory() / each)
        return error_set(&c->error, DT_ERR_MEMORY, "%lld prompts take %lld bytes of memory, which are not there",
                         (long long)count, (long long)(count * each));
    p->told = (examples){.count = count};
    p->told.context = (example_table){.dim_count = 2, .dim = {e->tokens, e->width}};
    float *rows = malloc((size_t)(count * each));
    p->null_context = malloc((size_t)each);
    if (rows && p->null_context) return example_table_own(&p->told.context, rows, count, &c->error);
    free(rows);
    return error_set(&c->error, DT_ERR_MEMORY, "no memory for %lld prompts", (long long)count);
}

static void encode(ctx *c, prompts *p, const context_encoder *e, int64_t numbers, const dt_observer *observer)
{
    const data_watcher watcher = watch_log(observer);
    if (make_room(c, p, e, numbers) != DT_OK) return;
    hash_all(p, e->sha256);
    memcpy(p->encoder_sha256, e->sha256, sizeof p->encoder_sha256);
    context_tell_cut(c, e, "prompts", p->list.text, p->list.count, &watcher);
    if (!ctx_failed(c) && e->encode(c, e->user, p->told.context.values, p->list.text, p->told.count) == DT_OK)
        e->encode(c, e->user, p->null_context, p->negative.text, 1);
}

dt_status prompts_open(ctx *c, prompts *p, const model_file *f, const dt_settings *s, int64_t numbers,
                       const dt_observer *observer)
{
    context_encoder e;
    const char *const given[] = {s->prompt,         "prompt",        s->negative_prompt,
                                 "negative_prompt", s->text_encoder, "text_encoder",
                                 s->tokenizer,      "tokenizer",     NULL};
    *p = (prompts){0};
    if (ctx_failed(c)) return c->error.status;
    const arena_place model = arena_mark(&c->model);
    if (model_file_open_encoder(c, &e, f, s, given) == DT_OK && e.encode && open_texts(p, s, &c->error) == DT_OK)
        encode(c, p, &e, numbers, observer);
    if (e.close) e.close(e.user);
    arena_release(&c->model, model);
    return c->error.status;
}

dt_status prompts_join(ctx *c, const prompts *p, denoiser *d)
{
    return p->null_context ? denoiser_take_null(c, d, p->null_context) : c->error.status;
}

void prompts_close(prompts *p)
{
    example_table_close(&p->told.context);
    example_table_close(&p->told.control);
    prompt_list_close(&p->list);
    prompt_list_close(&p->negative);
    free(p->null_context);
    *p = (prompts){0};
}

const char *prompts_negative(const prompts *p)
{
    const char *text = p->negative.count ? p->negative.text[0] : "";
    return text[0] ? text : NULL;
}
