/* Files: mapping, hashes, atomic replacement under failures and kills, folders. */
#include "file/content.h"
#include "file/folder.h"
#include "temp_folder.h"

#include "file/left_overs.h"
#include "file/lock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_content(const char *path, const char *expected)
{
    dt_error err = {0};
    char *data;
    size_t size;
    assert_int_equal(file_read_all(&data, &size, path, 1 << 24, &err), DT_OK);
    assert_string_equal(data, expected);
    assert_int_equal(size, strlen(expected));
    free(data);
}

static void a_mapping_shows_the_bytes_of_a_file(void **state)
{
    (void)state;
    dt_error err = {0};
    file_map m;
    temp_write("bytes", "a\0b", 3);
    assert_int_equal(file_map_open(&m, temp_path("bytes"), &err), DT_OK);
    assert_int_equal(m.size, 3);
    assert_memory_equal(m.data, "a\0b", 3);
    file_map_close(&m);
    temp_write("empty", "", 0);
    assert_int_equal(file_map_open(&m, temp_path("empty"), &err), DT_OK);
    assert_non_null(m.data);
    assert_int_equal(m.size, 0);
    file_map_close(&m);
}

static void only_regular_files_are_read(void **state)
{
    (void)state;
    file_map m;
    const char *names[] = {"missing", "pipe", "."};
    assert_int_equal(mkfifo(temp_path("pipe"), 0600), 0);
    for (int i = 0; i < 3; i++) {
        dt_error err = {0};
        assert_int_equal(file_map_open(&m, temp_path(names[i]), &err), DT_ERR_IO);
        assert_non_null(strstr(err.message, temp_path(names[i])));
        file_map_close(&m);
    }
    unlink(temp_path("pipe"));
}

static void a_file_above_the_limit_is_refused(void **state)
{
    (void)state;
    dt_error err = {0};
    char *data;
    size_t size;
    temp_write("ten", "0123456789", 10);
    assert_int_equal(file_read_all(&data, &size, temp_path("ten"), 9, &err), DT_ERR_FORMAT);
    assert_null(data);
    assert_content(temp_path("ten"), "0123456789");
}

static void the_start_of_a_file_is_read_alone(void **state)
{
    (void)state;
    dt_error err = {0};
    char start[16] = "";
    size_t size;
    temp_write("ten", "0123456789", 10);
    assert_int_equal(file_read_start(start, &size, 4, temp_path("ten"), &err), DT_OK);
    assert_int_equal(size, 4);
    assert_string_equal(start, "0123");
    assert_int_equal(file_read_start(start, &size, sizeof start, temp_path("ten"), &err), DT_OK);
    assert_int_equal(size, 10);
    assert_string_equal(start, "0123456789");
    assert_int_equal(file_read_start(start, &size, 4, temp_path("."), &err), DT_ERR_IO);
}

static void sha256_agrees_with_the_standard(void **state)
{
    (void)state;
    static const char of_abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    dt_error err = {0};
    file_hash hash;
    file_sha256_bytes(&hash, "abc", 3);
    assert_string_equal(hash.hex, of_abc);
    temp_write("abc", "abc", 3);
    assert_int_equal(file_sha256(&hash, temp_path("abc"), &err), DT_OK);
    assert_string_equal(hash.hex, of_abc);
}

static void a_new_file_is_seen_at_the_commit_and_not_before(void **state)
{
    (void)state;
    dt_error err = {0};
    file_writer w;
    file_hash hash, expected;
    temp_write("target", "old", 3);
    size_t before = temp_count();
    assert_int_equal(file_writer_begin(&w, temp_path("target"), &err), DT_OK);
    assert_int_equal(file_writer_reserve(&w, 6, &err), DT_OK);
    assert_int_equal(file_writer_write(&w, "new", 3, &err), DT_OK);
    assert_int_equal(file_writer_write(&w, "est", 3, &err), DT_OK);
    assert_content(temp_path("target"), "old");
    assert_int_equal(file_writer_commit(&w, &hash, &err), DT_OK);
    assert_content(temp_path("target"), "newest");
    file_sha256_bytes(&expected, "newest", 6);
    assert_string_equal(hash.hex, expected.hex);
    assert_int_equal(file_write_atomic(temp_path("target"), "last", 4, &err), DT_OK);
    assert_content(temp_path("target"), "last");
    assert_int_equal(temp_count(), before);
}

static void an_aborted_file_leaves_nothing(void **state)
{
    (void)state;
    dt_error err = {0};
    file_writer w;
    temp_write("target", "old", 3);
    size_t before = temp_count();
    assert_int_equal(file_writer_begin(&w, temp_path("target"), &err), DT_OK);
    assert_int_equal(file_writer_write(&w, "new", 3, &err), DT_OK);
    file_writer_abort(&w);
    file_writer_abort(&w);
    assert_content(temp_path("target"), "old");
    assert_int_equal(temp_count(), before);
}

static void a_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    static const char big[100000];
    file_writer w;
    dt_error wrote = {0}, reserved = {0};
    temp_write("target", "old", 3);
    size_t before = temp_count();
    limit_file_size(5000);
    assert_int_equal(file_write_atomic(temp_path("target"), big, sizeof big, &wrote), DT_ERR_IO);
    assert_int_equal(file_writer_begin(&w, temp_path("target"), &reserved), DT_OK);
    dt_status status = file_writer_reserve(&w, sizeof big, &reserved);
    file_writer_abort(&w);
    limit_file_size(RLIM_INFINITY);
    assert_true(status == DT_OK || status == DT_ERR_IO); /* not every file system can reserve */
    assert_non_null(strstr(wrote.message, temp_path("target")));
    assert_content(temp_path("target"), "old");
    assert_int_equal(temp_count(), before);
}

static void what_is_not_a_file_is_never_replaced(void **state)
{
    (void)state;
    dt_error missing = {0}, folder = {0}, pipe = {0}, late = {0}, err = {0};
    file_writer w;
    assert_int_equal(mkfifo(temp_path("pipe"), 0600), 0);
    assert_int_equal(file_write_atomic(temp_path("no/such"), "x", 1, &missing), DT_ERR_IO);
    assert_int_equal(file_write_atomic(temp_folder, "x", 1, &folder), DT_ERR_IO);
    assert_int_equal(file_write_atomic(temp_path("pipe"), "x", 1, &pipe), DT_ERR_IO);
    assert_true(file_is_folder(temp_folder));
    assert_non_null(strstr(pipe.message, "not a regular file"));
    size_t before = temp_count();
    assert_int_equal(file_writer_begin(&w, temp_path("late"), &err), DT_OK);
    assert_int_equal(file_make_dirs(temp_path("late/folder"), &err), DT_OK);
    assert_int_equal(file_writer_commit(&w, NULL, &late), DT_ERR_IO);
    assert_int_equal(temp_count(), before + 1);
    unlink(temp_path("pipe"));
}

/* Replaces the file by 64 KiB of one letter after another until it is killed. */
static void replace_for_ever(const char *path)
{
    static char data[65536];
    for (char letter = 'a';; letter = letter == 'z' ? 'a' : letter + 1) {
        dt_error err = {0};
        memset(data, letter, sizeof data);
        if (file_write_atomic(path, data, sizeof data, &err) != DT_OK) _exit(1);
    }
}

static void a_killed_writer_leaves_a_whole_file(void **state)
{
    (void)state;
    static char data[65536];
    memset(data, 'a', sizeof data);
    temp_write("target", data, sizeof data);
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        if (child == 0) replace_for_ever(temp_path("target"));
        usleep((useconds_t)(500 + i * 137 % 4000));
        int status;
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        dt_error err = {0};
        file_map m;
        assert_int_equal(file_map_open(&m, temp_path("target"), &err), DT_OK);
        assert_int_equal(m.size, sizeof data);
        memset(data, m.data[0], sizeof data);
        assert_memory_equal(m.data, data, sizeof data);
        file_map_close(&m);
    }
}

static void an_append_is_whole_or_nothing(void **state)
{
    (void)state;
    static const char big[100000];
    dt_error err = {0};
    temp_write("log", "one\n", 4);
    int fd = open(temp_path("log"), O_WRONLY | O_APPEND);
    assert_int_equal(file_append(&fd, temp_path("log"), "two\n", 4, &err), DT_OK);
    limit_file_size(5000);
    dt_status status = file_append(&fd, temp_path("log"), big, sizeof big, &err);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(status, DT_ERR_IO);
    error_clear(&err);
    assert_int_equal(file_append(&fd, temp_path("log"), "three\n", 6, &err), DT_OK);
    close(fd);
    assert_content(temp_path("log"), "one\ntwo\nthree\n");
}

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    dt_error err = {0}, blocked = {0}, nameless = {0};
    int64_t bytes;
    assert_int_equal(file_make_dirs(temp_path("a/b//c/"), &err), DT_OK);
    assert_int_equal(file_make_dirs(temp_path("a/b/c"), &err), DT_OK);
    assert_true(file_is_folder(temp_path("a/b/c")));
    assert_int_equal(file_free_bytes(&bytes, temp_path("a"), &err), DT_OK);
    assert_true(bytes > 0);
    temp_write("a/file", "x", 1);
    assert_false(file_is_folder(temp_path("a/file")));
    assert_int_equal(file_make_dirs(temp_path("a/file"), &blocked), DT_ERR_IO);
    assert_says(blocked.message, "Not a directory");
    error_clear(&blocked);
    assert_int_equal(file_make_dirs(temp_path("a/file/d"), &blocked), DT_ERR_IO);
    assert_says(blocked.message, "Not a directory");
    assert_int_equal(file_make_dirs("", &nameless), DT_ERR_IO);
}

/* As a user who may not look into the folder of the tests: everything is refused for that reason. */
static int without_permission(void)
{
    dt_error e[4] = {{0}};
    char *data;
    size_t size;
    file_map map;
    if (geteuid() == 0 && setuid(65534) != 0) return 1;
    file_make_dirs(temp_path("secret/new/folder"), &e[0]);
    file_read_all(&data, &size, temp_path("secret/file"), 100, &e[1]);
    file_map_open(&map, temp_path("secret/file"), &e[2]);
    file_check_content(temp_path("secret/file"), &e[3]);
    for (int i = 0; i < 4; i++)
        if (e[i].status != DT_ERR_IO || !strstr(e[i].message, "Permission denied")) return 2 + i;
    return file_exists(temp_path("secret/file")) ? 0 : 6; /* nobody can say that it is not there */
}

static void a_lack_of_permission_is_told_as_such(void **state)
{
    (void)state;
    dt_error err = {0};
    int outcome;
    assert_int_equal(file_make_dirs(temp_path("secret"), &err), DT_OK);
    temp_write("secret/file", "x", 1);
    assert_int_equal(chmod(temp_path("secret"), 0), 0);
    pid_t child = fork();
    if (child == 0) _exit(without_permission());
    assert_int_equal(waitpid(child, &outcome, 0), child);
    assert_int_equal(chmod(temp_path("secret"), 0700), 0);
    assert_int_equal(outcome, 0);
}

static void parts_of_a_path_are_found(void **state)
{
    (void)state;
    char near[DT_PATH_MAX];
    assert_string_equal(file_base_name("a/b.c"), "b.c");
    assert_string_equal(file_base_name("b.c"), "b.c");
    assert_string_equal(file_base_name("/"), "");
    file_nearest_folder(near, "/no/such/folder");
    assert_string_equal(near, "/");
    file_nearest_folder(near, "nosuch/folder");
    assert_string_equal(near, ".");
    file_nearest_folder(near, temp_path("."));
    assert_string_equal(near, temp_path("."));
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char path[DT_PATH_MAX + 1];
    dt_error writing = {0}, making = {0};
    memset(path, 'x', DT_PATH_MAX);
    path[DT_PATH_MAX] = '\0';
    assert_int_equal(file_write_atomic(path, "x", 1, &writing), DT_ERR_IO);
    assert_non_null(strstr(writing.message, "too long"));
    assert_int_equal(file_make_dirs(path, &making), DT_ERR_IO);
    assert_non_null(strstr(making.message, "too long"));
}

static void a_tree_is_removed_whole(void **state)
{
    (void)state;
    dt_error err = {0}, gone = {0};
    assert_int_equal(file_make_dirs(temp_path("tree/x/y"), &err), DT_OK);
    temp_write("tree/x/y/file", "x", 1);
    temp_write("tree/file", "x", 1);
    assert_int_equal(file_remove_tree(temp_path("tree"), &err), DT_OK);
    assert_false(file_exists(temp_path("tree")));
    assert_int_equal(file_remove_tree(temp_path("tree"), &gone), DT_ERR_IO);
}

static void a_tree_with_a_link_is_left_as_it_is(void **state)
{
    (void)state;
    dt_error err = {0}, refused = {0}, link = {0};
    assert_int_equal(file_make_dirs(temp_path("tree/x"), &err), DT_OK);
    temp_write("tree/file", "x", 1);
    temp_write("precious", "x", 1);
    assert_int_equal(symlink(temp_folder, temp_path("tree/x/link")), 0);
    assert_int_equal(file_remove_tree(temp_path("tree"), &refused), DT_ERR_IO);
    assert_non_null(strstr(refused.message, "link"));
    assert_int_equal(file_remove_tree(temp_path("tree/x/link"), &link), DT_ERR_IO);
    assert_true(file_exists(temp_path("tree/file")));
    assert_true(file_exists(temp_path("precious")));
    unlink(temp_path("tree/x/link"));
    assert_int_equal(file_remove_tree(temp_path("tree"), &err), DT_OK);
}

static void names_are_listed_in_byte_order(void **state)
{
    (void)state;
    dt_error err = {0};
    file_names names;
    char name[32];
    assert_int_equal(file_make_dirs(temp_path("many"), &err), DT_OK);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "many/%02d", i * 37 % 100);
        temp_write(name, "", 0);
    }
    assert_int_equal(file_list(&names, temp_path("many"), &err), DT_OK);
    assert_int_equal(names.count, 100);
    for (size_t i = 1; i < names.count; i++) assert_true(strcmp(names.name[i - 1], names.name[i]) < 0);
    file_names_free(&names);
    assert_int_equal(file_list(&names, temp_path("missing"), &err), DT_ERR_IO);
    file_names_free(&names);
}

static void a_folder_is_published_by_its_name(void **state)
{
    (void)state;
    dt_error err = {0}, refused = {0};
    assert_int_equal(file_make_dirs(temp_path("staging"), &err), DT_OK);
    temp_write("staging/file", "whole", 5);
    assert_int_equal(file_rename(temp_path("staging"), temp_path("published"), &err), DT_OK);
    assert_content(temp_path("published/file"), "whole");
    assert_int_equal(file_make_dirs(temp_path("staging"), &err), DT_OK);
    assert_int_equal(file_rename(temp_path("staging"), temp_path("published"), &refused), DT_ERR_IO);
    assert_content(temp_path("published/file"), "whole");
}

static void what_is_inside_a_folder_is_told_before_it_exists(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("inside/a"), &err), DT_OK);
    assert_true(file_is_inside(temp_path("inside"), temp_path("inside")));
    assert_true(file_is_inside(temp_path("inside/a/b/c"), temp_path("inside")));
    assert_true(file_is_inside(temp_path("inside/x"), temp_path("inside")));
    assert_false(file_is_inside(temp_path("inside_not"), temp_path("inside")));
    assert_false(file_is_inside(temp_path("inside/a"), temp_path("inside/b")));
    assert_false(file_is_inside(temp_path(""), temp_path("inside")));
    assert_int_equal(symlink(temp_path("inside/a"), temp_path("link")), 0);
    assert_true(file_is_inside(temp_path("link/new"), temp_path("inside")));
    assert_int_equal(remove(temp_path("link")), 0);
    assert_true(file_is_inside("new/folder", "."));
    assert_true(file_is_inside("/new", "/"));
    assert_false(file_is_inside("new", temp_path("inside")));
}

static void assert_holds(const char *name, const char *expected)
{
    char *text = temp_read(name);
    assert_string_equal(text, expected);
    free(text);
}

/* A link stays a link, and the file it leads to is written, also where that is not there yet. */
static void what_a_link_leads_to_is_written(void **state)
{
    (void)state;
    struct stat st;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("store"), &err), DT_OK);
    temp_write("store/old", "old", 3);
    assert_int_equal(symlink("store/old", temp_path("relative")), 0);
    assert_int_equal(symlink(temp_path("store/new"), temp_path("absolute")), 0);
    assert_int_equal(symlink("relative", temp_path("second")), 0);
    assert_int_equal(file_write_atomic(temp_path("second"), "written", 7, &err), DT_OK);
    assert_int_equal(file_write_atomic(temp_path("absolute"), "made", 4, &err), DT_OK);
    assert_holds("store/old", "written");
    assert_holds("store/new", "made");
    static const char *const links[] = {"relative", "absolute", "second"};
    for (int i = 0; i < 3; i++) assert_true(lstat(temp_path(links[i]), &st) == 0 && S_ISLNK(st.st_mode));
    assert_int_equal(symlink("circle", temp_path("circle")), 0);
    assert_int_equal(file_write_atomic(temp_path("circle"), "x", 1, &err), DT_ERR_IO);
    assert_says(err.message, "circles");
    error_clear(&err);
    assert_int_equal(symlink("/dev/null", temp_path("device")), 0);
    assert_int_equal(file_write_atomic(temp_path("device"), "x", 1, &err), DT_ERR_IO);
    assert_says(err.message, "is not a regular file");
}

static void a_mark_alone_claims_no_folder(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("claim/empty"), &err), DT_OK);
    assert_false(file_is_claimed(temp_path("claim"), "mark"));
    temp_write("claim/mark", "x", 1);
    temp_write("claim/" FILE_LOCK_NAME, "x", 1);
    temp_write("claim/nothing", "", 0);
    assert_false(file_is_claimed(temp_path("claim"), "mark"));
    temp_write("claim/empty/thing", "x", 1);
    assert_true(file_is_claimed(temp_path("claim"), "mark"));
    assert_false(file_is_claimed(temp_path("claim"), "other"));
}

static void a_lock_is_held_by_one_at_a_time(void **state)
{
    (void)state;
    dt_error err = {0};
    char self[64];
    file_lock first = {0}, second = {0};
    assert_int_equal(file_make_dirs(temp_path("locked"), &err), DT_OK);
    assert_int_equal(file_lock_folder(&first, temp_path("locked"), &err), DT_OK);
    assert_int_equal(file_lock_folder(&second, temp_path("locked"), &err), DT_ERR_CONFLICT);
    assert_false(second.held);
    snprintf(self, sizeof self, "process %ld on ", (long)getpid());
    assert_says(err.message, self);
    error_clear(&err);
    file_unlock(&first);
    assert_false(first.held);
    assert_false(file_exists(temp_path("locked/" FILE_LOCK_NAME)));
    assert_int_equal(file_lock_folder(&second, temp_path("locked"), &err), DT_OK);
    file_unlock(&second);
    assert_int_equal(file_lock_folder(&first, temp_path("no_such"), &err), DT_ERR_IO);
}

/* Of a process that was killed: a file that nobody holds, and no reason to call the folder taken. */
static void a_lock_of_a_dead_process_is_no_obstacle(void **state)
{
    (void)state;
    dt_error err = {0};
    file_lock lock;
    assert_int_equal(file_make_dirs(temp_path("orphan"), &err), DT_OK);
    const pid_t child = fork();
    if (child == 0) {
        file_lock_folder(&lock, temp_path("orphan"), &err);
        _exit(lock.held ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(file_exists(temp_path("orphan/" FILE_LOCK_NAME)));
    assert_int_equal(file_check_free_folder(temp_path("orphan"), "run", &err), DT_OK);
    assert_int_equal(file_lock_folder(&lock, temp_path("orphan"), &err), DT_OK);
    file_unlock(&lock);
}

/* 64 MiB pass through the process, and at most some 16 of them are in its memory at a time. */
/* The number of a process that has ended and left files under it. */
static long dead_process(void)
{
    const pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    return (long)child;
}

static void put_left_over(const char *name, const char *end, long process)
{
    char full[256];
    snprintf(full, sizeof full, "%s%s%ld", name, end, process);
    temp_write(full, "part", 4);
}

static void what_killed_processes_left_goes_with_the_next_lock(void **state)
{
    (void)state;
    static const char *const names[] = {"left/a.safetensors", "left/images/1.png", "left/deep/er/x"};
    const long dead = dead_process();
    char folder[64], name[128];
    file_lock l;
    file_names found;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("left/images"), &err), DT_OK);
    assert_int_equal(file_make_dirs(temp_path("left/deep/er"), &err), DT_OK);
    for (int i = 0; i < 3; i++) put_left_over(names[i], ".tmp-", dead);
    put_left_over("left/alive", ".tmp-", (long)getppid());
    temp_write("left/mine.tmp-x1", "data", 4);
    temp_write("left/whole", "data", 4);
    snprintf(folder, sizeof folder, "left/model.tmp-%ld", dead); /* a folder that was being made */
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    snprintf(name, sizeof name, "%s/weights", folder);
    temp_write(name, "part", 4);
    snprintf(folder, sizeof folder, "left/gone.old.tmp-%ld", dead); /* the only one of its name: it stays */
    assert_int_equal(file_make_dirs(temp_path(folder), &err), DT_OK);
    assert_int_equal(file_lock_folder(&l, temp_path("left"), &err), DT_OK);
    file_unlock(&l);
    assert_int_equal(file_list(&found, temp_path("left"), &err), DT_OK);
    assert_int_equal(found.count, 6); /* alive, deep, gone.old, images, mine, whole */
    file_names_free(&found);
    assert_int_equal(file_list(&found, temp_path("left/images"), &err), DT_OK);
    assert_int_equal(found.count, 0);
    file_names_free(&found);
    assert_true(file_exists(temp_path(folder)));
    temp_write("left/gone", "new", 3);
    left_overs_remove_beside(temp_path("left/gone"));
    assert_false(file_exists(temp_path(folder)));
}

static void hashing_a_large_file_does_not_keep_it_in_memory(void **state)
{
    (void)state;
    enum { SIZE = 1 << 26 };
    dt_error err = {0};
    file_writer w;
    file_hash stated, found;
    struct rusage before, after;
    unsigned char *block = malloc(1 << 20);
    assert_non_null(block);
    assert_int_equal(file_writer_begin(&w, temp_path("large"), &err), DT_OK);
    for (int i = 0; i < SIZE >> 20; i++) {
        memset(block, i, 1 << 20);
        assert_int_equal(file_writer_write(&w, block, 1 << 20, &err), DT_OK);
    }
    assert_int_equal(file_writer_commit(&w, &stated, &err), DT_OK);
    free(block);
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(file_sha256(&found, temp_path("large"), &err), DT_OK);
    getrusage(RUSAGE_SELF, &after);
    assert_string_equal(found.hex, stated.hex);
    assert_true(after.ru_maxrss - before.ru_maxrss < 32 << 10); /* KiB */
}

static void dropped_pages_are_read_again(void **state)
{
    (void)state;
    dt_error err = {0};
    file_map m;
    char text[20000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7);
    temp_write("pages", text, sizeof text);
    assert_int_equal(file_map_open(&m, temp_path("pages"), &err), DT_OK);
    file_map_drop(&m, m.data, m.size);
    file_map_drop(&m, m.data + 5, 10000);
    file_map_drop(&m, text, sizeof text); /* outside: left alone */
    file_map_drop(&m, m.data + 1, m.size);
    assert_memory_equal(m.data, text, sizeof text);
    for (size_t i = 0; i < sizeof text; i++) assert_true(text[i] == (char)(i * 7));
    file_map_close(&m);
    file_map_drop(&m, text, sizeof text);
}

static void a_name_tells_its_extension(void **state)
{
    (void)state;
    static const char *const yes[] = {"a.npz", "/b.c/a.NPZ", "a.png.npz"};
    static const char *const no[] = {"",       "npz",    "a.npz/", "a.npz/b", ".npz",
                                     "b/.npz", "a.npzx", "a.xnpz", "a.",      "a.npz.png"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) assert_true(file_has_extension(yes[i], "npz"));
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) assert_false(file_has_extension(no[i], "npz"));
}

static void folders_of_paths(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"a", "."},         {"a/b", "a"}, {"/a", "/"},
                                           {"/a/b/c", "/a/b"}, {"/", "/"},   {"", "."}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[DT_PATH_MAX];
        snprintf(folder, sizeof folder, "%s", cases[i][0]);
        file_folder_of(folder, folder); /* in its own place */
        assert_string_equal(folder, cases[i][1]);
    }
}

static void a_word_is_cut_off_what_is_there(void **state)
{
    (void)state;
    char path[DT_PATH_MAX];
    temp_write("set", "", 0);
    temp_write("odd:name", "", 0);
    snprintf(path, sizeof path, "%s", temp_path("set:val"));
    assert_string_equal(file_cut_word(path), "val");
    assert_string_equal(path, temp_path("set"));
    snprintf(path, sizeof path, "%s", temp_path("odd:name"));
    assert_null(file_cut_word(path));
    snprintf(path, sizeof path, "%s", temp_path("gone:val"));
    assert_null(file_cut_word(path));
    assert_string_equal(path, temp_path("gone:val"));
}

/* Of a folder names and sizes are looked at, of a file its size and its ends. */
static void a_state_is_told_from_another(void **state)
{
    (void)state;
    dt_error err = {0};
    file_hash first, again;
    assert_int_equal(file_make_dirs(temp_path("tree/a/b"), &err), DT_OK);
    temp_write("tree/a/1", "one", 3);
    temp_write("tree/a/b/2", "two", 3);
    assert_int_equal(symlink("a", temp_path("tree/link")), 0);
    assert_int_equal(file_tree_hash(&first, temp_path("tree"), &err), DT_OK);
    temp_write("tree/a/1.tmp-123", "being written", 5);
    temp_write("tree/" FILE_LOCK_NAME, "lock", 4);
    temp_write("tree/a/1", "eno", 3); /* not looked at */
    assert_int_equal(file_tree_hash(&again, temp_path("tree"), &err), DT_OK);
    assert_string_equal(again.hex, first.hex);
    const char *const changes[] = {"tree/a/1", "tree/a/3", "tree/a/b/2", "tree/4"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        temp_write(changes[i], "longer", 6);
        assert_int_equal(file_tree_hash(&again, temp_path("tree"), &err), DT_OK);
        assert_string_not_equal(again.hex, first.hex);
        first = again;
    }
    assert_int_equal(file_tree_hash(&first, temp_path("tree/a/1"), &err), DT_OK);
    temp_write("tree/a/1", "regnol", 6);
    assert_int_equal(file_tree_hash(&again, temp_path("tree/a/1"), &err), DT_OK);
    assert_string_not_equal(again.hex, first.hex);
    assert_int_equal(symlink(".", temp_path("tree/circle")), 0);
    assert_int_equal(file_tree_hash(&again, temp_path("tree"), &err), DT_OK);
    assert_int_equal(file_tree_hash(&again, temp_path("nothing"), &err), DT_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashing_a_large_file_does_not_keep_it_in_memory),
        cmocka_unit_test(dropped_pages_are_read_again),
        cmocka_unit_test(a_mapping_shows_the_bytes_of_a_file),
        cmocka_unit_test(only_regular_files_are_read),
        cmocka_unit_test(a_file_above_the_limit_is_refused),
        cmocka_unit_test(the_start_of_a_file_is_read_alone),
        cmocka_unit_test(sha256_agrees_with_the_standard),
        cmocka_unit_test(a_new_file_is_seen_at_the_commit_and_not_before),
        cmocka_unit_test(an_aborted_file_leaves_nothing),
        cmocka_unit_test(a_full_disk_keeps_the_old_file),
        cmocka_unit_test(what_is_not_a_file_is_never_replaced),
        cmocka_unit_test(a_killed_writer_leaves_a_whole_file),
        cmocka_unit_test(an_append_is_whole_or_nothing),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(a_lack_of_permission_is_told_as_such),
        cmocka_unit_test(parts_of_a_path_are_found),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_tree_is_removed_whole),
        cmocka_unit_test(a_tree_with_a_link_is_left_as_it_is),
        cmocka_unit_test(names_are_listed_in_byte_order),
        cmocka_unit_test(a_folder_is_published_by_its_name),
        cmocka_unit_test(what_is_inside_a_folder_is_told_before_it_exists),
        cmocka_unit_test(a_name_tells_its_extension),
        cmocka_unit_test(what_a_link_leads_to_is_written),
        cmocka_unit_test(folders_of_paths),
        cmocka_unit_test(a_word_is_cut_off_what_is_there),
        cmocka_unit_test(a_state_is_told_from_another),
        cmocka_unit_test(a_mark_alone_claims_no_folder),
        cmocka_unit_test(a_lock_is_held_by_one_at_a_time),
        cmocka_unit_test(a_lock_of_a_dead_process_is_no_obstacle),
        cmocka_unit_test(what_killed_processes_left_goes_with_the_next_lock),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
