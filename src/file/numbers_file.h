/* Text files of numbers, such as tables over t: separated by white space or commas. */
#ifndef FILE_NUMBERS_FILE_H
#define FILE_NUMBERS_FILE_H

#include "base/error.h"

/* Reads exactly `count` numbers from 0 to `max`. DT_ERR_IO, DT_ERR_FORMAT naming the first that is wrong. */
dt_status numbers_file_read(double value[], int count, double max, const char *path, dt_error *err);

/* Writes them one to a line, with nine digits. */
dt_status numbers_file_write(const double value[], int count, const char *path, dt_error *err);

#endif
