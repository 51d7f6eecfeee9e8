/* Sorting and searching of arrays that may be empty: qsort and bsearch must not be given a null pointer even for none (C17
 * 7.22.5), and an array of nothing is one here. */
#ifndef BASE_SORT_H
#define BASE_SORT_H

#include <stdlib.h>

static inline void sort_array(void *array, size_t count, size_t element_size,
                              int (*compare)(const void *, const void *))
{
    if (count) qsort(array, count, element_size, compare);
}

/* An element that compares equal to *key in an array that is sorted by `compare`. NULL: there is none. */
static inline void *sorted_find(const void *key, const void *array, size_t count, size_t element_size,
                                int (*compare)(const void *, const void *))
{
    return count ? bsearch(key, array, count, element_size, compare) : NULL;
}

#endif
