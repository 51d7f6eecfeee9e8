/* Writes a zip file of records stored as they are, each at a multiple of 64 bytes, so that a reader can use them where
 * they lie (PyTorch's mmap, container/zip_directory.h). Zip64 where sizes or places need it. The same records give the same
 * bytes: all are dated 1980. */
#ifndef CONTAINER_ZIP_WRITER_H
#define CONTAINER_ZIP_WRITER_H

#include "file/file.h"

typedef struct zip_written {
    char *name;
    uint64_t size, header; /* bytes of data; place of its header in the file */
    uint32_t checksum;
} zip_written;

typedef struct zip_writer {
    file_writer file;
    uint64_t at;
    zip_written *records;
    size_t count, room;
} zip_writer;

/* As file_writer_begin. After any failure nothing is left behind and the writer is closed. */
dt_status zip_writer_begin(zip_writer *z, const char *path, dt_error *err);

/* Begins a record of `size` bytes with this CRC-32, which exactly so many bytes of zip_writer_write must follow. */
dt_status zip_writer_record(zip_writer *z, const char *name, uint64_t size, uint32_t checksum, dt_error *err);

/* A tensor_sink. */
dt_status zip_writer_write(void *zip_writer, const void *data, size_t size, dt_error *err);

/* A whole small record. */
dt_status zip_writer_add(zip_writer *z, const char *name, const void *data, size_t size, dt_error *err);

/* Writes the directory and makes the file visible. */
dt_status zip_writer_commit(zip_writer *z, file_hash *hash, dt_error *err);

/* Drops what was written. Harmless on a writer that is closed. */
void zip_writer_abort(zip_writer *z);

/* CRC-32 as zip files have it, of bytes that follow others with the checksum `before` (0: none). */
uint32_t zip_checksum(uint32_t before, const void *data, size_t size);

#endif
