/* What memory a call will take, told before it begins its work. */
#ifndef DATA_NEED_H
#define DATA_NEED_H

#include "tensor/context.h"

/* Tells it the observer in a line, with what the machine has, and what a device needs of its memory. */
void need_tell(const ctx *c, const dt_observer *observer, int64_t beside);

#endif
