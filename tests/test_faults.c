/* Calls of the system that fail, each at one place; faults/run.sh lets all of them fail under the program. The functions of the C
 * library are replaced for this program. */
#include "file/folder.h"
#include "run_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text_stream.h"
#include "data/dataset.h"
#include "eval/feature_rows.h"

typedef enum system_call { NO_CALL, OPEN, SYNC, SYNC_DATA, RESIZE, CLOSE, RENAME, REMOVE } system_call;

/* What fails next: `times` calls of a kind, of those whose path ends so (where they have one), after `before` others. */
static struct {
    system_call call;
    const char *end;
    int error, before, times;
} fault;

static void let_fail(system_call call, const char *end, int error)
{
    fault = (__typeof__(fault)){.call = call, .end = end, .error = error, .times = 1};
}

static bool fails(system_call call, const char *path)
{
    const size_t length = strlen(path), end = fault.end ? strlen(fault.end) : 0;
    if (call != fault.call || fault.times == 0) return false;
    if (fault.end && (length < end || strcmp(path + length - end, fault.end) != 0)) return false;
    if (fault.before-- > 0) return false;
    fault.before = 0;
    fault.times--;
    errno = fault.error;
    return true;
}

int open(const char *path, int flags, ...)
{
    return fails(OPEN, path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
}

int fsync(int fd)
{
    return fails(SYNC, "") ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails(SYNC_DATA, "") ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t size)
{
    return fails(RESIZE, "") ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int close(int fd)
{
    const bool interrupted = fails(CLOSE, "");
    const int result = (int)syscall(SYS_close, fd);
    if (interrupted) errno = fault.error;
    return interrupted ? -1 : result;
}

int rename(const char *from, const char *to)
{
    return fails(RENAME, to) ? -1 : (int)syscall(SYS_rename, from, to);
}

/* What old kernels and some file systems have not. */
static bool no_exchange;

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    if (no_exchange) errno = ENOSYS;
    return no_exchange ? -1 : (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int unlinkat(int folder, const char *path, int flags)
{
    return fails(REMOVE, path) ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}

/* ---- interrupted ---- */

static void interrupted_calls_are_made_again(void **state)
{
    (void)state;
    static const system_call calls[] = {OPEN, SYNC, SYNC_DATA, RESIZE, CLOSE};
    static const float row[] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        dt_error err = {0};
        feature_rows rows;
        char *text;
        size_t size;
        let_fail(calls[i], NULL, EINTR);
        assert_int_equal(file_write_atomic(temp_path("a"), "whole", 5, &err), DT_OK);
        assert_int_equal(feature_rows_open(&rows, temp_path("rows"), 4, &err), DT_OK);
        assert_int_equal(feature_rows_append(&rows, row, 1, &err), DT_OK);
        assert_int_equal(feature_rows_cut(&rows, 1, &err), DT_OK);
        feature_rows_close(&rows);
        assert_int_equal(fault.times, 0);
        assert_int_equal(file_read_all(&text, &size, temp_path("a"), 10, &err), DT_OK);
        assert_string_equal(text, "whole");
        free(text);
        unlink(temp_path("rows"));
    }
}

/* ---- a folder in the place of another ---- */

static void the_old_folder_stays_where_the_new_one_cannot_take_its_place(void **state)
{
    (void)state;
    static const struct {
        system_call call;
        int before;
        bool exchanged;
    } places[] = {{RENAME, 0, false}, {RENAME, 1, false}, {SYNC, 0, false}, {SYNC, 0, true}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        dt_error err = {0};
        assert_int_equal(file_make_dirs(temp_path("old"), &err), DT_OK);
        assert_int_equal(file_make_dirs(temp_path("new"), &err), DT_OK);
        temp_write("old/a", "a", 1);
        temp_write("new/b", "b", 1);
        let_fail(places[i].call, NULL, EIO);
        fault.before = places[i].before;
        no_exchange = !places[i].exchanged;
        assert_int_equal(file_replace_folder(temp_path("new"), temp_path("old"), &err), DT_ERR_IO);
        assert_int_equal(fault.times, 0);
        assert_true(file_exists(temp_path("old/a")));
        assert_true(file_exists(temp_path("new/b")));
        fixture_remove("old");
        fixture_remove("new");
    }
    no_exchange = false;
}

/* ---- what the machine does not give ---- */

static void only_what_says_nothing_of_a_file_is_of_the_machine(void **state)
{
    (void)state;
    static const int machine[] = {EIO, EMFILE, ENFILE, ENOMEM}, file[] = {ENOENT, EACCES, ELOOP, EISDIR};
    for (int i = 0; i < 8; i++) {
        dt_error err = {0};
        errno = i < 4 ? machine[i] : file[i - 4];
        error_set_errno(&err, "a file");
        assert_int_equal(error_is_of_machine(&err), i < 4);
        error_set(&err, DT_ERR_FORMAT, "later"); /* changes nothing */
        assert_int_equal(error_is_of_machine(&err), i < 4);
        error_clear(&err);
        assert_false(error_is_of_machine(&err));
        error_set(&err, i < 4 ? DT_ERR_MEMORY : DT_ERR_IO, "no call failed");
        errno = EIO;
        error_set_errno(&err, "later");
        assert_int_equal(error_is_of_machine(&err), i < 4);
    }
}

static void a_picture_that_the_machine_does_not_give_is_not_passed_over(void **state)
{
    (void)state;
    dataset d;
    dt_error err = {0};
    const dataset_options options = {.resolution = FIXTURE_SIZE, .background = "#ffffff"};
    let_fail(OPEN, "/c1/001.png", EIO);
    assert_int_equal(dataset_open(&d, temp_path("data"), &options, &err), DT_ERR_IO);
    assert_non_null(strstr(err.message, "c1/001.png"));
    error_clear(&err);
    let_fail(OPEN, "/c1/001.png", EACCES);
    assert_int_equal(dataset_open(&d, temp_path("data"), &options, &err), DT_OK);
    assert_int_equal(d.report.skip_count, 1);
    dataset_close(&d);
}

static dt_settings run_of(const char *output)
{
    dt_settings s = fixture_settings(output);
    s.checkpointing_steps = 2;
    s.checkpoints_total_limit = 1;
    return s;
}

static void a_checkpoint_that_the_machine_does_not_give_is_not_passed_over(void **state)
{
    (void)state;
    dt_settings s = run_of("given");
    assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
    let_fail(OPEN, "step-00000003/model.safetensors", EMFILE);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_IO);
    assert_non_null(strstr(fixture_message, "step-00000003/model.safetensors"));
    fixture_train_to_the_end(&s);
    assert_non_null(strstr(fixture_log, "step-00000003\n"));
    assert_same_bits(fixture_result("given"), fixture_bits(run_of("")));
    fixture_remove("given");
}

static void a_checkpoint_too_many_goes_with_the_next_call(void **state)
{
    (void)state;
    dt_error err = {0};
    file_names names;
    dt_settings s = run_of("many");
    let_fail(REMOVE, "step-00000004", EIO);
    assert_int_equal(fixture_train(&s, -1), DT_ERR_IO);
    assert_non_null(strstr(fixture_message, "step-00000004"));
    fixture_train_to_the_end(&s);
    assert_int_equal(file_list(&names, temp_path("many/checkpoints"), &err), DT_OK);
    assert_int_equal(names.count, 1);
    file_names_free(&names);
    fixture_remove("many");
}

/* ---- memory ---- */

#if !defined(__SANITIZE_ADDRESS__) /* whose shadow takes more addresses than any limit */
static void text_that_finds_no_memory_is_told(void **state)
{
    (void)state;
    const pid_t child = fork();
    if (child == 0) {
        static char piece[1 << 20];
        const struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
        text_stream t;
        if (!text_stream_open(&t) || setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
        for (int i = 0; i < 64; i++) fwrite(piece, 1, sizeof piece, t.out);
        _exit(text_stream_end(&t) ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}
#endif

static void text_is_whole_with_a_zero_behind_it(void **state)
{
    (void)state;
    text_stream t;
    assert_true(text_stream_open(&t));
    for (int i = 0; i < 100000; i++) fprintf(t.out, "%05d", i);
    assert_true(text_stream_end(&t));
    assert_int_equal(t.size, 500000);
    assert_int_equal(strlen(t.text), 500000);
    assert_memory_equal(t.text + 499995, "99999", 5);
    text_stream_free(&t);
    text_stream_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupted_calls_are_made_again),
        cmocka_unit_test(the_old_folder_stays_where_the_new_one_cannot_take_its_place),
        cmocka_unit_test(only_what_says_nothing_of_a_file_is_of_the_machine),
        cmocka_unit_test(a_picture_that_the_machine_does_not_give_is_not_passed_over),
        cmocka_unit_test(a_checkpoint_that_the_machine_does_not_give_is_not_passed_over),
        cmocka_unit_test(a_checkpoint_too_many_goes_with_the_next_call),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(text_that_finds_no_memory_is_told),
#endif
        cmocka_unit_test(text_is_whole_with_a_zero_behind_it),
    };
    return cmocka_run_group_tests(tests, fixture_make, temp_folder_remove);
}
