#include "base/grow.h"

#include <stdlib.h>

void *grow_array(void *array, int64_t count, size_t element_size)
{
    if ((count & (count - 1)) != 0) return array; /* the block holds the next power of two */
    return realloc(array, (count ? 2 * (size_t)count : 1) * element_size);
}
