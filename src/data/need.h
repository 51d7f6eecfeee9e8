/* What memory a call will take, told before it begins its work. */
#ifndef DATA_NEED_H
#define DATA_NEED_H

#include "tensor/context.h"

/* Bytes of this process's own memory (resident memory that is no file's) at the peak of work that has been rehearsed
 * (tensor/rehearsal.h) and takes `beside` more bytes outside the arenas. Right within 5 %, or 8 MiB where that is more: what
 * libraries take for themselves, of which a few MiB are counted, is not known. Mapped files are not counted. */
int64_t need_bytes(const ctx *c, int64_t beside);

/* Tells it the observer in a line, with what the machine has, and what a device needs of its memory. */
void need_tell(const ctx *c, const dt_observer *observer, int64_t beside);

#endif
