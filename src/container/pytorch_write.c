/* A state dictionary as torch.save writes it: the zip of PyTorch 1.6 and later, whose data.pkl torch.load takes with
 * weights_only. Each tensor has a storage of its own, in the order given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/text_stream.h"
#include "container/pytorch.h"
#include "container/zip_writer.h"
#include "file/json_file.h"

#define ROOT "archive/"

/* ---- the pickle, protocol 2 (CPython, Lib/pickle.py) ---- */

static void put_integer(FILE *out, int64_t value)
{
    if (value <= INT32_MAX) {
        int32_t narrow = (int32_t)value;
        putc('J', out);
        fwrite(&narrow, sizeof narrow, 1, out);
    } else {
        fputs("\x8a\x08", out);
        fwrite(&value, sizeof value, 1, out);
    }
}

static void put_text(FILE *out, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    putc('X', out);
    fwrite(&length, sizeof length, 1, out);
    fputs(text, out);
}

/* A tuple of the sizes, or of row-major strides. */
static void put_sizes(FILE *out, const tensor_source *s, bool strides)
{
    putc('(', out);
    for (int i = 0; i < s->dim_count; i++) {
        int64_t value = s->dims[i];
        if (strides) value = 1;
        for (int k = i + 1; strides && k < s->dim_count; k++) value *= s->dims[k] > 0 ? s->dims[k] : 1;
        put_integer(out, value);
    }
    putc('t', out);
}

/* _rebuild_tensor_v2(storage `number`, 0, sizes, strides, False, OrderedDict()) */
static void put_tensor(FILE *out, const tensor_source *s, size_t number, uint64_t count)
{
    char key[24];
    snprintf(key, sizeof key, "%zu", number);
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", out);
    put_text(out, "storage");
    fprintf(out, "ctorch\n%s\n", pytorch_storage_class(s->dtype));
    put_text(out, key);
    put_text(out, "cpu");
    put_integer(out, (int64_t)count);
    fputs("tQ", out);
    put_integer(out, 0);
    put_sizes(out, s, false);
    put_sizes(out, s, true);
    fputs("\x89"
          "ccollections\nOrderedDict\n)RtR",
          out);
}

static dt_status check_source(uint64_t *count, uint64_t *bytes, const tensor_source *s, const char *path, dt_error *err)
{
    if (tensor_source_size(count, bytes, s, path, err) != DT_OK) return err->status;
    if (!pytorch_storage_class(s->dtype))
        return tensor_source_refused(s, path, "torch.save has no storage of its number type", err);
    if (!text_is_utf8(s->name)) return tensor_source_refused(s, path, "its name is not UTF-8", err);
    return DT_OK;
}

/* The text is to be freed by the caller, also after a failure. */
static dt_status make_pickle(text_stream *text, const tensor_source sources[], size_t source_count, const char *path,
                             dt_error *err)
{
    if (!text_stream_open(text)) return error_set(err, DT_ERR_MEMORY, "no memory for the names in %s", path);
    FILE *out = text->out;
    fputs("\x80\x02"
          "ccollections\nOrderedDict\n)R(",
          out);
    for (size_t i = 0; i < source_count; i++) {
        uint64_t count, bytes;
        if (check_source(&count, &bytes, &sources[i], path, err) != DT_OK) break;
        put_text(out, sources[i].name);
        put_tensor(out, &sources[i], i, count);
    }
    fputs("u.", out);
    if (!text_stream_end(text)) error_set(err, DT_ERR_MEMORY, "no memory for the names in %s", path);
    return err->status;
}

/* ---- the records ---- */

static dt_status add_checksum(void *user, const void *data, size_t size, dt_error *err)
{
    uint32_t *checksum = user;
    *checksum = zip_checksum(*checksum, data, size);
    return err->status;
}

/* A record's checksum stands before it, so the bytes are made twice. */
static dt_status write_storage(zip_writer *z, const tensor_source *s, size_t number, dt_error *err)
{
    char name[64];
    uint64_t count, bytes;
    uint32_t checksum = 0;
    snprintf(name, sizeof name, ROOT "data/%zu", number);
    tensor_source_size(&count, &bytes, s, z->file.path, err);
    if (tensor_source_stream(s, z->file.path, add_checksum, &checksum, err) != DT_OK) {
        zip_writer_abort(z);
        return err->status;
    }
    if (zip_writer_record(z, name, bytes, checksum, err) != DT_OK) return err->status;
    if (tensor_source_stream(s, z->file.path, zip_writer_write, z, err) != DT_OK)
        zip_writer_abort(z); /* the failure may be that of the values */
    return err->status;
}

static dt_status write_metadata(zip_writer *z, const metadata_pair metadata[], size_t count, dt_error *err)
{
    if (count == 0) return DT_OK;
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        if (!text_is_utf8(metadata[i].key) || !text_is_utf8(metadata[i].value))
            error_set(err, DT_ERR_ARG, "cannot write %s: its metadata are not UTF-8", z->file.path);
        json_put(&object, metadata[i].key, json_string(metadata[i].value));
    }
    char *text = json_text_of(object, JSON_COMPACT);
    json_decref(object);
    if (!text) error_set(err, DT_ERR_MEMORY, "no memory for the metadata of %s", z->file.path);
    if (err->status == DT_OK)
        zip_writer_add(z, ROOT PYTORCH_METADATA, text, strlen(text), err);
    else
        zip_writer_abort(z);
    free(text);
    return err->status;
}

static dt_status write_records(zip_writer *z, const char *text, size_t size, const tensor_source sources[],
                               size_t source_count, dt_error *err)
{
    if (zip_writer_add(z, ROOT "data.pkl", text, size, err) != DT_OK) return err->status;
    if (zip_writer_add(z, ROOT "byteorder", "little", 6, err) != DT_OK) return err->status;
    for (size_t i = 0; i < source_count; i++)
        if (write_storage(z, &sources[i], i, err) != DT_OK) return err->status;
    return zip_writer_add(z, ROOT "version", "3\n", 2, err);
}

dt_status pytorch_write(const char *path, const tensor_source sources[], size_t count, const metadata_pair metadata[],
                        size_t metadata_count, file_hash *hash, dt_error *err)
{
    zip_writer z;
    text_stream text;
    if (make_pickle(&text, sources, count, path, err) == DT_OK && zip_writer_begin(&z, path, err) == DT_OK &&
        write_records(&z, text.text, text.size, sources, count, err) == DT_OK &&
        write_metadata(&z, metadata, metadata_count, err) == DT_OK)
        zip_writer_commit(&z, hash, err);
    text_stream_free(&text);
    return err->status;
}
