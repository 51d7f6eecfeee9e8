/* Prompts as settings give them: one text, or a file of texts. */
#ifndef DATA_PROMPT_LIST_H
#define DATA_PROMPT_LIST_H

#include "file/text_table.h"

typedef struct prompt_list {
    const char **text; /* [count]; owned, what they point to is the caller's or that of `lines` */
    int64_t count;
    text_table lines;
} prompt_list;

/* The text itself, which stays the caller's, or the lines of the file that it names (NAME.txt). DT_ERR_FORMAT for a file without a
 * line; errors as text_table_lines. On failure *p is empty. */
dt_status prompt_list_open(prompt_list *p, const char *text, dt_error *err);
void prompt_list_close(prompt_list *p);

#endif
