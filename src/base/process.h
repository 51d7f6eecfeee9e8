/* What the system says of this process. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Peak resident memory so far, in bytes, mapped files included. */
int64_t process_memory(void);

/* Resident memory that is no file's, in bytes; 0 where the system does not say. */
int64_t process_own_memory(void);

/* What the machine would still give without taking it from others, in bytes; -1 where the system does not say. */
int64_t process_available_memory(void);

/* Bytes from `at` on that have no memory behind them. They are mapped, and `at` begins a page. */
size_t process_untouched(const void *at, size_t bytes);

/* Bytes of a page; `huge`: of the memory that asked for huge ones and may get them. */
size_t process_page_bytes(bool huge);

#endif
