/* A stream into memory that tells where memory is out. open_memstream of the C library does not: what finds no room is dropped in
 * silence, and neither ferror nor fclose knows of it. */
#ifndef BASE_TEXT_STREAM_H
#define BASE_TEXT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Must stay where it is in memory. */
typedef struct text_stream {
    FILE *out; /* NULL: closed, or it could not be opened */
    char *text;
    size_t size, room;
    bool failed;
} text_stream;

/* False where memory is out. */
bool text_stream_open(text_stream *t);

/* Closes `out`: then `text` is whole, `size` bytes and a zero byte. False where memory was out. */
bool text_stream_end(text_stream *t);

/* Closes what is open and gives the text back. */
void text_stream_free(text_stream *t);

#endif
