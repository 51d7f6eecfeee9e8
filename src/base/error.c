#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

const char *dt_status_name(dt_status status)
{
    switch (status) {
    case DT_OK: return "ok";
    case DT_ERR_ARG: return "argument";
    case DT_ERR_IO: return "io";
    case DT_ERR_FORMAT: return "format";
    case DT_ERR_SHAPE: return "shape";
    case DT_ERR_MEMORY: return "memory";
    case DT_ERR_NUMERIC: return "numeric";
    case DT_ERR_INTERRUPTED: return "interrupted";
    case DT_ERR_UNSUPPORTED: return "unsupported";
    case DT_ERR_CONFLICT: return "conflict";
    }
    return "unknown";
}

static dt_status record(dt_error *e, dt_status status, const char *suffix, const char *format, va_list args)
{
    if (e->status != DT_OK) return e->status;
    e->status = status;
    int n = vsnprintf(e->message, sizeof e->message, format, args);
    if (suffix && n >= 0 && n < (int)sizeof e->message)
        snprintf(e->message + n, sizeof e->message - (size_t)n, ": %s", suffix);
    text_make_printable(e->message);
    return status;
}

dt_status error_set(dt_error *e, dt_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    status = record(e, status, NULL, format, args);
    va_end(args);
    return status;
}

dt_status error_set_errno(dt_error *e, const char *format, ...)
{
    const int saved = errno;
    const bool first = e->status == DT_OK;
    va_list args;
    va_start(args, format);
    dt_status status = record(e, saved == ENOMEM ? DT_ERR_MEMORY : DT_ERR_IO, strerror(saved), format, args);
    va_end(args);
    if (first) e->number = saved;
    return status;
}

bool error_is_of_machine(const dt_error *e)
{
    switch (e->number) {
    case 0: return e->status == DT_ERR_MEMORY;
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case ELOOP:
    case EISDIR:
    case ENXIO:
    case ENAMETOOLONG: return false;
    default: return true;
    }
}

void error_clear(dt_error *e)
{
    e->status = DT_OK;
    e->number = 0;
    e->message[0] = '\0';
}
