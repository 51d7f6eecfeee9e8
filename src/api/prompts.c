#include "api/prompts.h"

#include <stdlib.h>
#include <string.h>

#include "data/context_cache.h"
#include "data/watch.h"
#include "model/sd/prompt.h"

static dt_status refuse_prompts(const denoiser *d, const dt_settings *s, dt_error *err)
{
    const char *const keys[] = {s->prompt,       "prompt",       s->negative_prompt, "negative_prompt",
                                s->text_encoder, "text_encoder", s->tokenizer,       "tokenizer"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i += 2)
        if (keys[i][0])
            return error_set(err, DT_ERR_ARG, "%s is for models that are told prompts; %s is a %s, which is not",
                             keys[i + 1], s->pretrained_model, d->ops->kind);
    return err->status;
}

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
    if (rows) return example_table_own(&p->told.context, rows, count, &c->error);
    return error_set(&c->error, DT_ERR_MEMORY, "no memory for %lld prompts", (long long)count);
}

/* Fills what was made room for, and the null context in scratch. NULL after a failure. */
static float *encode(ctx *c, prompts *p, const denoiser *d, const dt_settings *s, int64_t numbers,
                     const dt_observer *observer)
{
    context_encoder e;
    const char *path = s->text_encoder[0] ? s->text_encoder : s->pretrained_model;
    watch telling = {.observer = observer};
    const data_watcher watcher = watch_data(&telling);
    if (prompt_context_encoder(c, &e, path, s->tokenizer, d->context_tokens, d->context_width) != DT_OK ||
        make_room(c, p, &e, numbers) != DT_OK)
        return NULL;
    float *null = arena_alloc(&c->scratch, (size_t)(e.tokens * e.width) * sizeof *null, &c->error);
    hash_all(p, e.sha256);
    memcpy(p->encoder_sha256, e.sha256, sizeof p->encoder_sha256);
    context_tell_cut(c, &e, "prompts", p->list.text, p->list.count, &watcher);
    if (ctx_failed(c) || e.encode(c, e.user, p->told.context.values, p->list.text, p->told.count) != DT_OK) return NULL;
    return e.encode(c, e.user, null, p->negative.text, 1) == DT_OK ? null : NULL;
}

dt_status prompts_open(ctx *c, prompts *p, denoiser *d, const dt_settings *s, int64_t numbers,
                       const dt_observer *observer)
{
    *p = (prompts){0};
    if (ctx_failed(c)) return c->error.status;
    if (!d->context_tokens) return refuse_prompts(d, s, &c->error);
    if (open_texts(p, s, &c->error) != DT_OK) return c->error.status;
    const arena_place scratch = arena_mark(&c->scratch), model = arena_mark(&c->model);
    const float *null = encode(c, p, d, s, numbers, observer);
    arena_release(&c->model, model);
    if (null) denoiser_take_null(c, d, null);
    arena_release(&c->scratch, scratch);
    return c->error.status;
}

void prompts_close(prompts *p)
{
    example_table_close(&p->told.context);
    example_table_close(&p->told.control);
    prompt_list_close(&p->list);
    prompt_list_close(&p->negative);
    *p = (prompts){0};
}

const char *prompts_negative(const prompts *p)
{
    const char *text = p->negative.count ? p->negative.text[0] : "";
    return text[0] ? text : NULL;
}
