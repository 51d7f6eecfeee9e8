/* Arrays that grow by one element at a time. */
#ifndef BASE_GROW_H
#define BASE_GROW_H

#include <stddef.h>
#include <stdint.h>

/* Room for one more element behind `count`, in a block whose capacity is a power of two, so that `count` tells when it is full.
 * NULL (and the old block kept) where memory is out. */
void *grow_array(void *array, int64_t count, size_t element_size);

#endif
