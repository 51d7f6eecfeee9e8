/* CLIP's byte-pair encoding of text (Radford et al. 2021): words of lower-case text, each a row of bytes of UTF-8 whose last one is
 * marked, in which the pair of the lowest rank is merged until there is none.
 *
 * The reference is transformers' CLIPTokenizer as diffusers uses it now (5.x: the tokenizers library; the same as
 * CLIPTokenizerFast before), with the special tokens of Stable Diffusion 1.5's folder. Text is brought to Unicode's form NFC and
 * lower case letter by letter; a word is a run of letters, one digit, a run of anything else but white space, or one of seven
 * contractions. Two older programs differ: openai/CLIP takes HTML's entities out and repairs broken text (ftfy), and
 * transformers' former slow class did the latter where ftfy was installed.
 *
 * "<|endoftext|>" in a text is the end's id, as it stands; "<|startoftext|>" the start's, in any case. */
#ifndef SD_TOKENIZER_H
#define SD_TOKENIZER_H

#include "tensor/context.h"

enum {
    TOKENIZER_TEXT_MAX = 1 << 16, /* bytes of a text */
    TOKENIZER_IDS_MAX = 1 << 20,  /* entries of a vocabulary */
};

typedef struct tokenizer_merge {
    uint64_t pair; /* the left id above the right one */
    int32_t rank, id;
} tokenizer_merge;

typedef struct tokenizer {
    int64_t count;        /* ids are 0..count-1 */
    int32_t start, end;   /* the end is also what fills up, and what stands for a byte that the vocabulary lacks */
    int32_t byte[2][256]; /* ids of bytes: inside a word, and at its end */
    const tokenizer_merge *merge; /* by pair, in the model arena */
    int64_t merge_count;
    char sha256[65]; /* of all of the above */
} tokenizer;

/* Opens a vocabulary: openai's list of merges (bpe_simple_vocab_16e6.txt.gz, packed or not), or a folder with vocab.json and
 * merges.txt, or with tokenizer.json alone. DT_ERR_FORMAT names the file and what in it is wrong. */
dt_status tokenizer_open(ctx *c, tokenizer *t, const char *path);

/* Finds the vocabulary that belongs to a model: of a folder, in its folder tokenizer/ or in itself; of a file, the same beside it.
 * False: there is none. */
bool tokenizer_find(char out[DT_PATH_MAX], const char *model);

/* ids[length] of a text: the start, its tokens, the end, and the end again up to the length, of at least 2. Tokens beyond it are
 * left out; *wanted is the length that would have held all. DT_ERR_ARG for a text that is longer than TOKENIZER_TEXT_MAX or no
 * UTF-8. */
dt_status tokenizer_encode(ctx *c, const tokenizer *t, int32_t ids[], int64_t length, const char *text,
                           int64_t *wanted);

#endif
