#include "file/left_overs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file/folder.h"

static const char mark[] = ".tmp-", aside[] = ".old";

static bool has_ended(long process)
{
    return process > 0 && process <= INT32_MAX && kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

/* The old folder that a process had set aside when it was killed, and whose place is empty still (file_replace_folder). */
static bool is_the_only_one(const char *path)
{
    char place[DT_PATH_MAX];
    const char *at = strstr(file_base_name(path), mark);
    const size_t length = (size_t)(at - path), end = strlen(aside);
    if (length < end || length >= sizeof place || memcmp(at - end, aside, end) != 0) return false;
    memcpy(place, path, length - end);
    place[length - end] = '\0';
    return !file_exists(place);
}

static bool is_folder_itself(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void remove_one(const char *path)
{
    dt_error ignored = {0};
    if (is_the_only_one(path)) return;
    if (is_folder_itself(path))
        file_remove_tree(path, &ignored);
    else
        unlink(path);
}

/* Names in the folder that begin with `beginning`, and where `depth` allows those in its folders. */
static void remove_in(const char *folder, const char *beginning, int depth)
{
    file_names names;
    dt_error ignored = {0};
    file_list(&names, folder, &ignored);
    for (size_t i = 0; i < names.count; i++) {
        char *path;
        const char *name = names.name[i];
        long process;
        const bool ours = !strncmp(name, beginning, strlen(beginning)) && file_is_temporary(name, &process);
        if ((!ours && depth == 0) || asprintf(&path, "%s/%s", folder, name) < 0) continue;
        if (ours && has_ended(process))
            remove_one(path);
        else if (!ours && depth > 0 && is_folder_itself(path))
            remove_in(path, "", depth - 1);
        free(path);
    }
    file_names_free(&names);
}

void left_overs_remove(const char *folder)
{
    remove_in(folder, "", 1);
}

void left_overs_remove_beside(const char *path)
{
    char folder[DT_PATH_MAX], name[DT_PATH_MAX];
    const char *base = file_base_name(path);
    snprintf(folder, sizeof folder, "%.*s", (int)(base - path), path);
    if (!base[0] || strlen(base) + strlen(mark) >= sizeof name) return;
    snprintf(name, sizeof name, "%s%s", base, mark);
    remove_in(folder[0] ? folder : ".", name, 0);
    snprintf(name, sizeof name, "%s%s%s", base, aside, mark);
    remove_in(folder[0] ? folder : ".", name, 0);
}
