/* What a network is told that is told a context: the settings' prompts, encoded, for numbers in turn, and their negative prompt as
 * its null context. They are encoded before the network is loaded, so that only one of the two is in memory. */
#ifndef API_PROMPTS_H
#define API_PROMPTS_H

#include "data/examples.h"
#include "data/prompt_list.h"
#include "model/maker.h"

typedef struct prompts {
    prompt_list list;     /* count 0: the network is told no context */
    prompt_list negative; /* of one text, likewise */
    char encoder_sha256[65];
    float *null_context; /* of the negative prompt; NULL likewise */
    examples
        told; /* contexts of the first told.count of them: number i has that of i % told.count. told.sha256 is of the
                    * encoder and all texts, the negative one among them */
} prompts;

/* Encodes s->prompt, or the lines of the text file that it names (NAME.txt), as far as the first `numbers` samples need them, and
 * s->negative_prompt, or the one line of the file that it names: DT_ERR_ARG where that has more. The encoder is gone then. The
 * observer is told how many prompts are too long. For a network without a context nothing is done, and DT_ERR_ARG where the settings
 * speak of prompts. DT_ERR_SHAPE: the encoder's contexts are not the network's. Close it in any case. */
dt_status prompts_open(ctx *c, prompts *p, const model_file *f, const dt_settings *s, int64_t numbers,
                       const dt_observer *observer);

/* Gives the loaded network its null context. */
dt_status prompts_join(ctx *c, const prompts *p, denoiser *d);
void prompts_close(prompts *p);

/* What guidance leads away from, as a text; NULL: nothing. */
const char *prompts_negative(const prompts *p);

#endif
