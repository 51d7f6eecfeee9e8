#include "base/text_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static ssize_t take(void *user, const char *data, size_t size)
{
    text_stream *t = user;
    if (t->room - t->size <= size) { /* one byte for the end */
        const size_t room = 2 * (t->size + size) + 256;
        char *moved = realloc(t->text, room);
        if (!moved) {
            t->failed = true;
            return 0;
        }
        t->text = moved;
        t->room = room;
    }
    memcpy(t->text + t->size, data, size);
    t->size += size;
    return (ssize_t)size;
}

bool text_stream_open(text_stream *t)
{
    *t = (text_stream){.room = 256};
    t->text = malloc(t->room);
    if (t->text) t->out = fopencookie(t, "w", (cookie_io_functions_t){.write = take});
    t->failed = !t->out;
    return t->out;
}

bool text_stream_end(text_stream *t)
{
    if (t->out) t->failed |= fclose(t->out) != 0;
    t->out = NULL;
    if (t->text && !t->failed) t->text[t->size] = '\0';
    return !t->failed;
}

void text_stream_free(text_stream *t)
{
    text_stream_end(t);
    free(t->text);
    *t = (text_stream){0};
}
