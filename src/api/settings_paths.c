#include "api/settings_paths.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "file/file.h"

enum {
    ALL = ~0,
    BANK = SETTINGS_BANK,
    TRAIN = SETTINGS_TRAIN,
    LINKS_DEPTH_MAX = 16,
    FOLDERS_MAX = 100000,
};

// clang-format off
/* What a verb does with the path of a key. A bank is made by one and read by another. */
static const struct {
    const char *key;
    unsigned written, read; /* verbs */
    bool pictures;          /* a folder of pictures where it is read */
} uses[] = {
    {"cache_dir", ALL, 0, false},
    {"output_dir", ALL, 0, false},
    {"bank", BANK, TRAIN | SETTINGS_DIAGNOSE, true},
    {"output", ALL, 0, false},
    {"save_stack", ALL, 0, false},
    {"save_statistics", ALL, 0, false},
    {"train_data", 0, ALL, true},
    {"validation_data", 0, ALL, true},
    {"source_data", 0, ALL, true},
    {"control", 0, ALL, true},
    {"control_data", 0, ALL, true},
    {"controlnet_model", 0, ALL, false},
    {"reference", 0, ALL, true},
    {"candidate", 0, ALL, true},
    {"trained_on", 0, ALL, true},
    {"data", 0, ALL, true},
    {"pretrained_model", 0, ALL, false},
    {"blend", 0, ALL, false},
    {"original_checkpoint", 0, ALL, false},
    {"transfer_from", 0, ALL, false},
    {"transfer_to", 0, ALL, false},
    {"guidance_model", 0, ALL, false},
    {"tail_model", 0, ALL, false},
    {"vae", 0, ALL, false},
    {"text_encoder", 0, ALL, false},
    {"tokenizer", 0, ALL, false},
    {"feature_weights", 0, ALL, false},
    {"annotator_weights", 0, ALL, false},
    {"psi_table", 0, ALL, false},
    {"xi_table", 0, ALL, false},
    {"input", 0, ALL, false},
    {"arms", 0, ALL, false},
};
// clang-format on

enum { USES = sizeof uses / sizeof *uses };

/* The value of a key that the verb uses, without the split of "PATH:SPLIT"; "" for others. */
static void path_of(char path[DT_PATH_MAX], const dt_settings *s, const char *name, settings_verb verb)
{
    const settings_key *key = settings_find(name);
    const bool unused = !strcmp(name, "cache_dir") && !s->vae[0] && !settings_tell_control(s) &&
                        !s->text_encoder[0]; /* it has a default */
    const bool experiment = verb == SETTINGS_RUN || verb == SETTINGS_STUDY;
    const unsigned verbs = experiment ? ~0u : verb; /* all stages' */
    const char *value = (key->verbs & verbs) && !unused ? (const char *)s + key->offset : "";
    char *colon;
    snprintf(path, DT_PATH_MAX, "%s", value);
    if (!file_exists(path) && (colon = strrchr(path, ':'))) {
        *colon = '\0';
        if (!file_exists(path)) *colon = ':';
    }
}

/* Whether `path` is in `folder`, or in a folder that a link below it leads to. *left folders more are looked at: links may
 * lead in circles. */
static bool is_reached_from(const char *path, const char *folder, int depth, int *left)
{
    if (file_is_inside(path, folder)) return true;
    DIR *open = depth < LINKS_DEPTH_MAX && --*left > 0 ? opendir(folder) : NULL;
    bool found = false;
    for (const struct dirent *member; open && !found && (member = readdir(open));) {
        char inner[DT_PATH_MAX];
        const unsigned char type = member->d_type;
        if (member->d_name[0] == '.' || !(type == DT_DIR || type == DT_LNK || type == DT_UNKNOWN)) continue;
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", folder, member->d_name) >= sizeof inner) continue;
        if (file_is_folder(inner)) found = is_reached_from(path, inner, depth + 1, left);
    }
    if (open) closedir(open);
    return found;
}

static void check_input(const char *out_key, const char *out, int in, const dt_settings *s, settings_verb verb,
                        dt_error *err)
{
    char path[DT_PATH_MAX];
    int left = FOLDERS_MAX;
    path_of(path, s, uses[in].key, verb);
    if (!path[0]) return;
    if (file_is_same(out, path))
        error_set(err, DT_ERR_ARG, "%s must not be the %s of %s", out_key, file_is_folder(path) ? "folder" : "file",
                  uses[in].key);
    else if (uses[in].pictures && file_is_folder(path) && is_reached_from(out, path, 0, &left))
        error_set(err, DT_ERR_ARG, "%s %s must not be in the folder of %s", out_key, out, uses[in].key);
}

dt_status settings_check_paths(const dt_settings *s, settings_verb verb, dt_error *err)
{
    char path[DT_PATH_MAX], other[DT_PATH_MAX];
    for (int out = 0; out < USES; out++) {
        if (!(uses[out].written & verb)) continue;
        path_of(path, s, uses[out].key, verb);
        if (!path[0]) continue;
        for (int in = 0; in < USES && err->status == DT_OK; in++) {
            if (uses[in].read & verb) check_input(uses[out].key, path, in, s, verb, err);
            if (!(uses[in].written & verb) || in <= out) continue;
            path_of(other, s, uses[in].key, verb);
            if (other[0] && file_is_same(path, other))
                error_set(err, DT_ERR_ARG, "%s must not be the same as %s", uses[out].key, uses[in].key);
        }
    }
    return err->status;
}
