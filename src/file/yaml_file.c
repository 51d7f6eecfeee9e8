#include "file/yaml_file.h"

#include <stdlib.h>
#include <string.h>

#include "file/file.h"

/* Lines that begin as a directive does, wherever they stand. */
static int count_directives(const char *text, size_t size)
{
    int count = 0;
    for (const char *at = text, *end = text + size; at && at < end; at = memchr(at, '\n', (size_t)(end - at))) {
        at += *at == '\n';
        count += *at == '%' && count <= YAML_FILE_DIRECTIVES_MAX;
    }
    return count;
}

dt_status yaml_file_open(yaml_file *y, const char *path, dt_status refusal, dt_error *err)
{
    *y = (yaml_file){.path = path, .refusal = refusal};
    if (file_read_all(&y->text, &y->size, path, YAML_FILE_MAX, err) != DT_OK) {
        y->text = NULL;
    } else if (count_directives(y->text, y->size) > YAML_FILE_DIRECTIVES_MAX) {
        error_set(err, refusal, "%s: more than %d lines begin with %%", path, YAML_FILE_DIRECTIVES_MAX);
    } else if (yaml_parser_initialize(&y->parser)) {
        yaml_parser_set_input_string(&y->parser, (const unsigned char *)y->text, y->size);
        return DT_OK;
    } else {
        error_set(err, DT_ERR_MEMORY, "%s: no memory to read it", path);
    }
    free(y->text);
    *y = (yaml_file){0};
    return err->status;
}

void yaml_file_close(yaml_file *y)
{
    if (!y->text) return;
    yaml_event_delete(&y->event);
    yaml_parser_delete(&y->parser);
    free(y->text);
    *y = (yaml_file){0};
}

static bool begins(const yaml_file *y)
{
    return y->event.type == YAML_MAPPING_START_EVENT || y->event.type == YAML_SEQUENCE_START_EVENT;
}

static bool ends(const yaml_file *y)
{
    return y->event.type == YAML_MAPPING_END_EVENT || y->event.type == YAML_SEQUENCE_END_EVENT;
}

dt_status yaml_file_next(yaml_file *y, dt_error *err)
{
    y->depth += begins(y);
    yaml_event_delete(&y->event);
    if (!yaml_parser_parse(&y->parser, &y->event)) {
        if (y->parser.error == YAML_MEMORY_ERROR) return error_set(err, DT_ERR_MEMORY, "%s: no memory", y->path);
        return error_set(err, y->refusal, "%s:%zu: not YAML: %s", y->path, y->parser.problem_mark.line + 1,
                         y->parser.problem);
    }
    y->depth -= ends(y);
    if (y->depth == YAML_FILE_DEPTH_MAX)
        return error_set(err, y->refusal, "%s:%zu: nested more than %d deep", y->path, y->event.start_mark.line + 1,
                         YAML_FILE_DEPTH_MAX);
    return err->status;
}

dt_status yaml_file_skip(yaml_file *y, dt_error *err)
{
    const int depth = y->depth;
    if (!begins(y)) return err->status;
    while (yaml_file_next(y, err) == DT_OK && y->depth > depth) {
    }
    return err->status;
}
