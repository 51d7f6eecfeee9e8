#include "container/tensor_open.h"

#include <string.h>

#include "container/pytorch.h"
#include "container/safetensors.h"
#include "container/tensor_shards.h"
#include "file/content.h"

/* A safetensors header follows its length, which may look like any signature, so it is asked for first. */
static dt_status any_container(tensor_file *f, dt_error *err)
{
    const unsigned char *data = f->map.data;
    const char *other = file_stands_for(data, f->map.size);
    bool header = f->map.size > 8 && data[8] == '{';
    if (other) return error_set(err, DT_ERR_FORMAT, "%s is %s", f->path, other);
    const char *kind = header ? NULL : file_kind(data, f->map.size);
    if (!header && f->map.size >= 2 && memcmp(data, "PK", 2) == 0) return pytorch_zip_container(f, err);
    if (!header && f->map.size >= 2 && data[0] == 0x80 && data[1] <= 5) return pytorch_old_container(f, err);
    if (kind)
        return error_set(err, DT_ERR_FORMAT, "%s is %s; a file of tensors is expected, safetensors or of torch.save",
                         f->path, kind);
    return safetensors_container(f, err);
}

dt_status tensor_file_open(tensor_file *f, const char *path, dt_error *err)
{
    if (file_is_elsewhere(path))
        return error_set(
            err, DT_ERR_IO,
            "%s: there is no such file, and nothing is downloaded: the path of a file or folder is expected", path);
    if (file_has_extension(path, "json")) return tensor_shards_open(f, path, any_container, err);
    return tensor_file_open_as(f, path, any_container, err);
}
