/* Prompts as a network is told them: CLIP's tokenizer and text encoder together. The rest of the program knows both by this file
 * alone. */
#ifndef SD_PROMPT_H
#define SD_PROMPT_H

#include "diffusion/context_encoder.h"
#include "model/sd/clip_text.h"
#include "model/sd/tokenizer.h"

typedef struct prompt_encoder {
    int64_t tokens, width; /* of an encoded prompt */
    char sha256[65]; /* of vocabulary and network: equal encoders give equal contexts, of whatever files they came */
    tokenizer tokenizer;
    clip_text network;
} prompt_encoder;

/* Opens, into the model arena, the encoder of
 *  - a folder of diffusers, with text_encoder/ and tokenizer/, or that text_encoder itself;
 *  - a checkpoint of Stable Diffusion 1.x, whose vocabulary stands beside it: bpe_simple_vocab_16e6.txt.gz of openai/CLIP, or
 *    tokenizer/ of diffusers' folder.
 * with the vocabulary at `vocabulary` (tokenizer_open), or where that is empty the one named here. DT_ERR_UNSUPPORTED names Stable
 * Diffusion 2 and XL; DT_ERR_SHAPE a vocabulary with more ids than the network has. */
dt_status prompt_encoder_open(ctx *c, prompt_encoder *p, const char *model, const char *vocabulary);

/* context[n,tokens,width] of n prompts, some of them at a time. Computed in f32, whatever the context trains in; what comes out
 * for one prompt does not depend on the others. A prompt that is too long is cut. Errors as tokenizer_encode. */
dt_status prompt_encode(ctx *c, const prompt_encoder *p, float *context, const char *const text[], int64_t n);

/* How many of the prompts are cut. */
dt_status prompt_count_cut(ctx *c, const prompt_encoder *p, int64_t *cut, const char *const text[], int64_t n);

/* Opens one as a network sees it that is told contexts of this shape; what it holds is in the model arena. Errors as
 * prompt_encoder_open, and DT_ERR_SHAPE naming `model` where it makes contexts of another shape. */
dt_status prompt_context_encoder(ctx *c, context_encoder *e, const char *model, const char *vocabulary, int64_t tokens,
                                 int64_t width);

#endif
