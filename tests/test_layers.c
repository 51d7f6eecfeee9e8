/* Who may include whom: arrows between the folders of src/ run downward only, and no files include each other in a circle. A file
 * NAME.c and its NAME.h are one here: whoever includes the header uses the file. And what no source calls by itself: qsort and
 * bsearch, whose arrays must not be null even where they are empty (base/sort.h). */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* From the lowest folder to the highest, with the folders that each may include beside itself. DESIGN.md says what they are. */
static const struct {
    const char *folder, *may_include;
} layers[] = {
    {"base", ""},
    {"rank", "base"},
    {"mpi", "base rank"},
    {"nccl", "base rank"},
    {"file", "base"},
    {"settings", "base file"},
    {"container", "base file"},
    {"average", "base file container"},
    {"image", "base file"},
    {"tensor", "base"},
    {"cpu", "base tensor"},
    {"cuda", "base tensor"},
    {"engine", "base tensor cpu"},
    {"op", "base tensor"},
    {"nn", "base file container tensor op"},
    {"diffusion", "base file container tensor op nn"},
    {"model/file", "base file container tensor op nn diffusion"},
    {"model/codec", "base file container tensor op nn model/file"},
    {"model/dit", "base file container tensor op nn diffusion model/file"},
    {"model/sd", "base file container tensor op nn diffusion model/file"},
    {"model/ideal", "base tensor diffusion"},
    {"model/feature", "base container image tensor op nn diffusion model/file"},
    {"model/annotate", "base file container image tensor op nn diffusion model/file"},
    {"adapter", "base file container tensor op nn diffusion model/file"},
    {"model", "base file container average tensor diffusion model/file model/dit model/sd adapter"},
    {"eval", "base file container tensor"},
    {"data", "base file container image tensor diffusion model/file model/codec"},
    {"method", "base file settings diffusion"},
    {"train",
     "base rank file container average tensor op nn diffusion model/file model/annotate adapter model data method"},
    {"measure",
     "base rank file image tensor diffusion model/file model/ideal model/feature model/annotate model eval data train"},
    {"run", "base rank file container average settings model/file model/annotate adapter eval data train measure"},
    {"prepare", "base file container image data"},
    {"report", "base file settings eval"},
    {"api",
     "base rank file settings container average image tensor engine op nn diffusion model/file model/codec model/dit "
     "model/sd model/ideal "
     "model/feature model/annotate adapter model eval data method train measure run prepare report"},
    {"study", "base file settings tensor run report api"},
    {"tools", "base file settings prepare"},
};

enum { LAYERS = sizeof layers / sizeof *layers };
enum { FILES_MAX = 1024, INCLUDES_MAX = 64, NAME_BYTES = 96 };

/* Names are paths below src/ without what follows the dot: "base/arena"; those of tools/ begin with "tools/". */
typedef struct source {
    char name[NAME_BYTES];
    char include[INCLUDES_MAX][NAME_BYTES];
    int include_count;
    bool sorts_by_itself;
} source;

static source sources[FILES_MAX];
static int source_count;

/* ---- reading ---- */

static void folder_of(char folder[NAME_BYTES], const char *name)
{
    snprintf(folder, NAME_BYTES, "%.*s", (int)(strrchr(name, '/') - name), name);
}

static void read_includes(source *s, const char *path)
{
    char *line = NULL, name[NAME_BYTES];
    size_t room = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&line, &room, f) > 0) {
        s->sorts_by_itself |= strstr(line, " qsort(") || strstr(line, " bsearch(");
        if (sscanf(line, " # include \"%95[^\"]\"", name) != 1 || !strchr(name, '/')) continue;
        assert_true(s->include_count < INCLUDES_MAX);
        snprintf(s->include[s->include_count++], NAME_BYTES, "%.*s", (int)strcspn(name, "."), name);
    }
    free(line);
    fclose(f);
}

static int read_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)walk;
    const char *name = path + strlen("../"), *dot = strrchr(name, '.');
    if (type != FTW_F || !dot || !(dot[1] == 'c' || dot[1] == 'h')) return 0;
    if (!strncmp(name, "src/", 4)) name += 4;
    assert_true(source_count < FILES_MAX);
    source *s = &sources[source_count++];
    snprintf(s->name, sizeof s->name, "%.*s", (int)strcspn(name, "."), name);
    read_includes(s, path);
    return 0;
}

static int read_sources(void **state)
{
    (void)state;
    return nftw("../src", read_one, 16, FTW_PHYS) || nftw("../tools", read_one, 16, FTW_PHYS);
}

/* ---- folders ---- */

static int layer_of(const char *folder)
{
    for (int i = 0; i < LAYERS; i++)
        if (!strcmp(layers[i].folder, folder)) return i;
    return -1;
}

static bool names(const char *list, const char *folder)
{
    const size_t length = strlen(folder);
    for (const char *at = list; (at = strstr(at, folder)); at++)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
    return false;
}

static void the_table_names_only_folders_that_stand_before(void **state)
{
    (void)state;
    for (int i = 0; i < LAYERS; i++) {
        char list[512], *rest = list;
        snprintf(list, sizeof list, "%s", layers[i].may_include);
        for (char *folder; (folder = strtok_r(rest, " ", &rest));) {
            const int below = layer_of(folder);
            if (below < 0 || below >= i)
                fail_msg("%s may include %s, which does not stand before it", layers[i].folder, folder);
        }
    }
}

static void folders_include_what_their_row_names(void **state)
{
    (void)state;
    int wrong = 0, seen = 0;
    for (int i = 0; i < source_count; i++) {
        char from[NAME_BYTES], to[NAME_BYTES];
        folder_of(from, sources[i].name);
        const int row = layer_of(from);
        if (row < 0) fail_msg("%s: its folder is not in the table", sources[i].name);
        for (int k = 0; k < sources[i].include_count; k++) {
            folder_of(to, sources[i].include[k]);
            seen++;
            if (!strcmp(from, to) || names(layers[row].may_include, to)) continue;
            print_error("%s includes %s\n", sources[i].name, sources[i].include[k]);
            wrong++;
        }
    }
    assert_true(source_count > 150 && seen > 300);
    assert_int_equal(wrong, 0);
}

/* ---- files ---- */

static void arrays_that_may_be_empty_are_sorted_and_searched_in_one_place(void **state)
{
    (void)state;
    for (int i = 0; i < source_count; i++)
        if (sources[i].sorts_by_itself != !strcmp(sources[i].name, "base/sort"))
            fail_msg("%s: sort_array and sorted_find of base/sort.h expected", sources[i].name);
}

/* The names on the way from the first file to the one that is looked at. */
static const char *way[FILES_MAX + 1];
/* Names from which every way has been looked at. */
static const char *done[FILES_MAX * 2];
static int done_count;

static bool is_done(const char *name)
{
    for (int i = 0; i < done_count; i++)
        if (!strcmp(done[i], name)) return true;
    return false;
}

static void follow(const char *name, int depth)
{
    if (is_done(name)) return;
    for (int first = 0; first < depth; first++) {
        if (strcmp(way[first], name)) continue;
        for (int i = first; i < depth; i++) print_error("%s includes\n", way[i]);
        fail_msg("%s, which they go round to", name);
    }
    way[depth] = name;
    for (int i = 0; i < source_count; i++) {
        if (strcmp(sources[i].name, name)) continue;
        for (int k = 0; k < sources[i].include_count; k++) {
            if (strcmp(sources[i].include[k], name)) follow(sources[i].include[k], depth + 1);
        }
    }
    done[done_count++] = name;
}

static void no_files_include_each_other_in_a_circle(void **state)
{
    (void)state;
    for (int i = 0; i < source_count; i++) follow(sources[i].name, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_names_only_folders_that_stand_before),
        cmocka_unit_test(folders_include_what_their_row_names),
        cmocka_unit_test(arrays_that_may_be_empty_are_sorted_and_searched_in_one_place),
        cmocka_unit_test(no_files_include_each_other_in_a_circle),
    };
    return cmocka_run_group_tests(tests, read_sources, NULL);
}
