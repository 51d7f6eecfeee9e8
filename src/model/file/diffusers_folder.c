#include "model/file/diffusers_folder.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/safetensors.h"
#include "file/file.h"
#include "file/folder.h"
#include "file/json_file.h"
#include "model/file/kind.h"

json_t *diffusers_config_read(char path[DT_PATH_MAX], const char *weights, const char *what, dt_error *err)
{
    file_beside(path, weights, DIFFUSERS_CONFIG);
    if (file_exists(path)) return json_file_read(path, err);
    error_set(err, DT_ERR_IO, "%s has diffusers' names, so %s is needed beside it: nothing else says %s", weights, path,
              what);
    return NULL;
}

dt_status diffusers_folder_check(const char *path, dt_error *err)
{
    file_names names;
    if (strlen(path) > FILE_FOLDER_MAX) return error_set(err, DT_ERR_IO, "cannot write %s: the path is too long", path);
    if (!file_exists(path)) return DT_OK;
    if (file_list(&names, path, err) == DT_OK)
        for (size_t i = 0; i < names.count; i++)
            if (strcmp(names.name[i], DIFFUSERS_CONFIG) && strcmp(names.name[i], DIFFUSERS_WEIGHTS))
                error_set(err, DT_ERR_CONFLICT, "%s: the folder holds other things (%s); choose another", path,
                          names.name[i]);
    file_names_free(&names);
    return err->status;
}

static dt_status write_config(const char *folder, const char *config, dt_error *err)
{
    char path[DT_PATH_MAX];
    file_join(path, folder, DIFFUSERS_CONFIG);
    if (config) return file_write_atomic(path, config, strlen(config), err);
    return error_set(err, DT_ERR_MEMORY, "%s: no memory to write it", path);
}

dt_status diffusers_folder_write(const char *path, const char *config, const tensor_source sources[], size_t count,
                                 const metadata_pair metadata[], size_t metadata_count, dt_error *err)
{
    char place[DT_PATH_MAX], made[DT_PATH_MAX], weights[DT_PATH_MAX];
    dt_error ignored = {0};
    if (file_follow_links(place, path, err) != DT_OK || diffusers_folder_check(place, err) != DT_OK) return err->status;
    snprintf(made, sizeof made, "%.*s.tmp-%ld", FILE_FOLDER_MAX, place, (long)getpid());
    file_join(weights, made, DIFFUSERS_WEIGHTS);
    if (file_exists(made)) file_remove_tree(made, &ignored); /* left by a dead process that had our number */
    if (file_make_dirs(made, err) == DT_OK &&
        safetensors_write(weights, sources, count, metadata, metadata_count, NULL, err) == DT_OK &&
        write_config(made, config, err) == DT_OK)
        file_replace_folder(made, place, err);
    if (err->status != DT_OK && file_exists(made)) file_remove_tree(made, &ignored);
    return err->status;
}
