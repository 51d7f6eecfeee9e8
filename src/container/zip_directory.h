/* The records of a zip file that is mapped, where they lie: for archives that store their records as they are, so that
 * their bytes can be used in place. (container/npz.h and data sets unpack archives with libarchive, which copies.)
 *
 * The central directory counts; each record's own header must agree with it. Zip64 is read. Refused: encryption, several
 * disks, records that overlap each other or the directory. Checksums are noted but not looked at:
 * that would read the whole file. */
#ifndef CONTAINER_ZIP_DIRECTORY_H
#define CONTAINER_ZIP_DIRECTORY_H

#include "file/file.h"

typedef struct zip_record {
    const char *name; /* in the mapping; no zero byte follows it */
    size_t name_length;
    const unsigned char *header; /* its own, before its data */
    const unsigned char *data;
    uint64_t size;   /* in the file */
    uint32_t crc32;  /* of the contents; whoever reads them asks zip_is_sound */
    bool compressed; /* data are not the contents */
} zip_record;

typedef struct zip_directory {
    zip_record *records; /* in byte order of their names, which differ */
    size_t count;
} zip_directory;

/* Valid while the mapping is. On failure *z is empty and may be closed; DT_ERR_FORMAT names file and record. */
dt_status zip_directory_open(zip_directory *z, const file_map *map, const char *path, dt_error *err);
void zip_directory_close(zip_directory *z);

/* Whether these are the bytes that a checksum was taken of. 0 is no checksum: writers that are told to make none state it. */
bool zip_is_sound(const unsigned char *data, uint64_t size, uint32_t crc32);

/* NULL when there is no record with this name. */
const zip_record *zip_directory_find(const zip_directory *z, const char *name, size_t name_length);

#endif
