/* A walk over the events of a YAML file (libyaml's), bounded whatever the file holds: the time that libyaml takes grows with the
 * square of how deep collections are nested and of how many directives there are, and its documents with that of their
 * anchors. */
#ifndef FILE_YAML_FILE_H
#define FILE_YAML_FILE_H

#include <yaml.h>

#include "base/error.h"

enum { YAML_FILE_MAX = 1 << 20, YAML_FILE_DEPTH_MAX = 32, YAML_FILE_DIRECTIVES_MAX = 16 };

typedef struct yaml_file {
    const char *path;
    char *text; /* the whole file, with a zero byte behind */
    size_t size;
    yaml_parser_t parser;
    yaml_event_t event; /* the one at hand; none before the first call of yaml_file_next */
    dt_status refusal;  /* of what is no YAML */
    int depth;          /* collections that the event at hand is in */
} yaml_file;

/* Reads the file, of YAML_FILE_MAX bytes at most. `refusal` is the status of what is no YAML, here and later. On failure *y is
 * empty and may be closed. */
dt_status yaml_file_open(yaml_file *y, const char *path, dt_status refusal, dt_error *err);

/* The next event; its line is y->event.start_mark.line + 1. */
dt_status yaml_file_next(yaml_file *y, dt_error *err);

/* Where a collection begins, goes on to its end; else does nothing. */
dt_status yaml_file_skip(yaml_file *y, dt_error *err);

void yaml_file_close(yaml_file *y);

#endif
