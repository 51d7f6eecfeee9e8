#include "data/prompt_list.h"

#include <stdlib.h>

#include "base/text.h"
#include "file/path.h"

static dt_status read_lines(prompt_list *p, const char *path, dt_error *err)
{
    if (text_table_lines(&p->lines, path, 1, err) != DT_OK) return err->status;
    p->count = p->lines.row_count;
    for (int64_t i = 0; i < p->count; i++) {
        char where[DT_PATH_MAX + 32];
        if (text_is_utf8(text_table_field(&p->lines, i, 0))) continue;
        text_table_where(where, &p->lines, i);
        return error_set(err, DT_ERR_FORMAT, "%s: a prompt in UTF-8 expected", where);
    }
    return p->count ? DT_OK : error_set(err, DT_ERR_FORMAT, "%s: prompts expected, one a line; found none", path);
}

dt_status prompt_list_open(prompt_list *p, const char *text, dt_error *err)
{
    const bool is_file = file_has_extension(text, "txt");
    *p = (prompt_list){.count = 1};
    if (is_file && read_lines(p, text, err) != DT_OK) {
        prompt_list_close(p);
        return err->status;
    }
    p->text = malloc((size_t)p->count * sizeof *p->text);
    if (!p->text) {
        error_set(err, DT_ERR_MEMORY, "no memory for %lld prompts", (long long)p->count);
        prompt_list_close(p);
        return err->status;
    }
    for (int64_t i = 0; i < p->count; i++) p->text[i] = is_file ? text_table_field(&p->lines, i, 0) : text;
    return DT_OK;
}

void prompt_list_close(prompt_list *p)
{
    free(p->text);
    text_table_close(&p->lines);
    *p = (prompt_list){0};
}
