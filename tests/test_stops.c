/* The program among others: signals in any number and order, in the middle of anything long; two processes in one folder;
 * outputs that cannot be written; readers that leave. */
#include "file/folder.h"
#include "program.h"

#include <signal.h>
#include <time.h>

#include "file/lock.h"

enum { SOON_MS = 6000 }; /* on a busy machine; what is stopped here would go on for minutes */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* A file of that name below the temporary folder has come in time, or text that the program writes to `err`. */
static bool comes(const char *name)
{
    for (int i = 0; i < 1500 && !file_exists(temp_path(name)); i++) sleep_ms(20);
    return file_exists(temp_path(name));
}

static bool is_said(const char *part)
{
    bool found = false;
    for (int i = 0; i < 1500 && !found; i++) {
        char *text = NULL;
        size_t size;
        dt_error err = {0};
        found = file_read_all(&text, &size, temp_path("err"), 1 << 24, &err) == DT_OK && strstr(text, part);
        free(text);
        if (!found) sleep_ms(20);
    }
    return found;
}

static int times_said(const char *part)
{
    int count = 0;
    for (const char *at = complained; (at = strstr(at, part)); at += strlen(part)) count++;
    return count;
}

/* Its exit status, and that it ended soon after `since`. */
static int ended_soon(pid_t child, int64_t since)
{
    const int code = finish(child);
    if (now_ms() - since > SOON_MS) fail_msg("ended %lld ms after it was asked to", (long long)(now_ms() - since));
    return code;
}

static bool goes_on(pid_t child)
{
    int status;
    if (waitpid(child, &status, WNOHANG) == 0) return true;
    print_error("it has ended: status %x\n", (unsigned)status);
    return false;
}

/* The command of a run of many steps that writes no checkpoint by itself; nothing is measured unless `more` says so. */
static const char *train(const char *output, const char *more)
{
    static char command[2048];
    snprintf(
        command, sizeof command,
        "train --method finetune --pretrained-model %s --train-data images --output-dir %s --max-train-steps 1000000 "
        "--train-batch-size 2 --threads 1 --checkpointing-steps 900000 --logging-steps 1000 --validation-steps 0 "
        "--sample-steps 0 %s",
        base, output, more);
    return command;
}

static const char *bank(const char *output)
{
    static char command[1024];
    snprintf(command, sizeof command,
             "bank --pretrained-model %s --bank %s --bank-size 1000000 --bank-shard-size 8 --num-inference-steps 2 "
             "--threads 1",
             base, output);
    return command;
}

static void expect_checkpoints(const char *output, size_t count)
{
    char folder[256];
    dt_error err = {0};
    file_names names;
    snprintf(folder, sizeof folder, "%s/checkpoints", output);
    assert_int_equal(file_list(&names, temp_path(folder), &err), DT_OK);
    assert_int_equal(names.count, count);
    for (size_t i = 0; i < names.count; i++) assert_non_null(strstr(names.name[i], "step-"));
    file_names_free(&names);
}

/* ---- signals ---- */

static void signals_that_come_together_are_one_stop(void **state)
{
    (void)state;
    static const int bursts[][5] = {{SIGTERM},
                                    {SIGTERM, SIGTERM},
                                    {SIGINT, SIGTERM, SIGHUP, SIGINT, SIGTERM},
                                    {SIGHUP, SIGHUP},
                                    {SIGUSR1, SIGINT, SIGUSR2, SIGINT},
                                    {SIGXCPU, SIGXCPU}};
    for (size_t i = 0; i < sizeof bursts / sizeof *bursts; i++)
        for (int pause_ms = 0; pause_ms < 8; pause_ms += 3) {
            const pid_t child = start(train("burst", ""));
            assert_true(is_said("train 1000/"));
            for (int k = 0; k < 5 && bursts[i][k]; k++, sleep_ms(pause_ms)) kill(child, bursts[i][k]);
            const int code = finish(child);
            if (code != 75) fail_msg("burst %zu, %d ms apart: %d, %s", i, pause_ms, code, complained);
            assert_int_equal(times_said("stopping as soon as"), 1);
            assert_int_equal(times_said("with a checkpoint; the same command goes on"), 1);
            if (bursts[i][0] != SIGUSR1) expect_checkpoints("burst", 1);
            fixture_remove("burst");
        }
}

static void signals_that_are_pending_together_are_one_stop(void **state)
{
    (void)state;
    const pid_t child = start(train("pending", ""));
    assert_true(is_said("train 1000/"));
    kill(child, SIGSTOP);
    kill(child, SIGINT);
    kill(child, SIGTERM);
    kill(child, SIGHUP);
    kill(child, SIGCONT);
    assert_int_equal(finish(child), 75);
    assert_int_equal(times_said("stopping as soon as"), 1);
    expect_checkpoints("pending", 1);
    fixture_remove("pending");
}

/* A step that would take hours cannot serve a stop. The line says what ends it; a hang-up does not. */
static void a_signal_after_the_line_has_stood_ends_at_once(void **state)
{
    (void)state;
    const pid_t child = start(train("endless", "--train-batch-size 16 --gradient-accumulation-steps 65536"));
    assert_true(comes("endless/metrics.jsonl"));
    sleep_ms(1500); /* until it is in its step, before which it asks */
    const int64_t first = now_ms();
    kill(child, SIGTERM);
    assert_true(is_said("SIGTERM: stopping as soon as what is done is saved"));
    assert_true(is_said("once more, 5 seconds from now or later"));
    for (int i = 0; now_ms() - first < 1500; i++, sleep_ms(100)) kill(child, i % 2 ? SIGINT : SIGTERM);
    assert_true(goes_on(child));
    sleep_ms(5500);
    kill(child, SIGHUP);
    sleep_ms(300);
    assert_true(goes_on(child));
    const int64_t since = now_ms();
    kill(child, SIGINT);
    assert_int_equal(ended_soon(child, since), 128 + SIGINT);
    fixture_remove("endless");
}

static void a_request_for_a_checkpoint_is_served_and_the_run_goes_on(void **state)
{
    (void)state;
    const pid_t child = start(train("asked", ""));
    assert_true(is_said("train 1000/"));
    kill(child, SIGUSR1);
    assert_true(is_said("checkpoint asked/checkpoints/step-"));
    assert_true(goes_on(child));
    expect_checkpoints("asked", 1);
    sleep_ms(100);
    kill(child, SIGUSR2);
    for (int i = 0; i < 1500 && goes_on(child); i++, sleep_ms(20)) {
        dt_error err = {0};
        file_names names;
        assert_int_equal(file_list(&names, temp_path("asked/checkpoints"), &err), DT_OK);
        const bool second = names.count == 2 && strcmp(names.name[1], "unfinished");
        file_names_free(&names);
        if (second) break;
    }
    expect_checkpoints("asked", 2);
    assert_true(goes_on(child));
    kill(child, SIGTERM);
    assert_int_equal(finish(child), 75);
    fixture_remove("asked");
}

static void a_request_for_a_checkpoint_does_no_harm_elsewhere(void **state)
{
    (void)state;
    const pid_t child = start(bank("unharmed"));
    assert_true(comes("unharmed/shard-00000.safetensors"));
    kill(child, SIGUSR1);
    kill(child, SIGUSR2);
    assert_true(comes("unharmed/shard-00003.safetensors"));
    kill(child, SIGHUP);
    assert_int_equal(finish(child), 75);
    fixture_remove("unharmed");
}

/* Measurements of minutes, before the first step. */
static const char *const measurements[] = {
    "--validation-steps 1 --validation-count 1000000 --sample-batch-size 8",
    "--sample-steps 1 --num-samples 256 --num-inference-steps 1000 --sample-batch-size 256",
    "--eval-steps 1 --eval-count 1000000 --validation-data images --num-inference-steps 50",
};

static void a_stop_in_the_middle_of_a_measurement_is_served_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++) {
        const pid_t child = start(train("measuring", measurements[i]));
        assert_true(comes("measuring/metrics.jsonl"));
        sleep_ms(300);
        const int64_t since = now_ms();
        kill(child, SIGTERM);
        assert_int_equal(ended_soon(child, since), 75);
        assert_says(complained, "stopped at step 0 with a checkpoint");
        expect_checkpoints("measuring", 1);
        fixture_remove("measuring");
    }
}

static void a_checkpoint_is_made_in_the_middle_of_a_measurement(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof measurements / sizeof *measurements; i++) {
        const pid_t child = start(train("saving", measurements[i]));
        assert_true(comes("saving/metrics.jsonl"));
        sleep_ms(300);
        const int64_t since = now_ms();
        kill(child, SIGUSR1);
        assert_true(comes("saving/checkpoints/step-00000000/manifest.json"));
        assert_in_range(now_ms() - since, 0, SOON_MS);
        sleep_ms(300);
        assert_true(goes_on(child));
        kill(child, SIGINT);
        assert_int_equal(ended_soon(child, now_ms()), 75);
        fixture_remove("saving");
    }
}

static void a_stop_is_served_within_a_batch_in_other_verbs(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "sample --pretrained-model %s --output-dir slow --num-samples 256 --sample-batch-size 256 "
        "--num-inference-steps 1000 --threads 1",
        "bank --pretrained-model %s --bank slow --bank-size 256 --bank-shard-size 256 --sample-batch-size 256 "
        "--num-inference-steps 1000 --threads 1",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char command[1024];
        snprintf(command, sizeof command, forms[i], base);
        const pid_t child = start(command);
        assert_true(comes("slow"));
        sleep_ms(500);
        const int64_t since = now_ms();
        kill(child, SIGTERM);
        assert_int_equal(ended_soon(child, since), 75);
        fixture_remove("slow");
    }
}

/* ---- two processes ---- */

/* The process has taken the folder, which may hold the lock of one that was killed. */
static bool takes(const char *lock, pid_t child)
{
    char holder[64];
    bool taken = false;
    snprintf(holder, sizeof holder, "process %ld on ", (long)child);
    for (int i = 0; i < 1500 && !taken; i++) {
        char *text = temp_read(lock);
        taken = strstr(text, holder) != NULL;
        free(text);
        if (!taken) sleep_ms(20);
    }
    return taken;
}

/* The long work has the folder: the same command is refused by the name of its process. Then it is killed, and what it
 * leaves is in nobody's way. */
static void expect_one_process(const char *command, const char *folder)
{
    char lock[256], holder[64], again[4096];
    snprintf(again, sizeof again, "%s", command);
    snprintf(lock, sizeof lock, "%s/" FILE_LOCK_NAME, folder);
    pid_t child = start(again);
    snprintf(holder, sizeof holder, "(process %ld on ", (long)child);
    assert_true(comes(lock));
    sleep_ms(200);
    assert_refused(again, 1, holder);
    assert_true(goes_on(child));
    kill(child, SIGKILL);
    finish(child);
    assert_true(file_exists(temp_path(lock)));
    child = start(again);
    assert_true(takes(lock, child));
    sleep_ms(300);
    kill(child, SIGTERM);
    const int code = finish(child);
    if (code != 75) fail_msg("%s: %d, %s", again, code, complained);
    assert_false(file_exists(temp_path(lock)));
    fixture_remove(folder);
}

static void a_folder_belongs_to_one_process_at_a_time(void **state)
{
    (void)state;
    char command[2048];
    expect_one_process(train("mine", ""), "mine");
    expect_one_process(bank("mine"), "mine");
    snprintf(command, sizeof command,
             "sample --pretrained-model %s --output-dir mine --num-samples 1000000 --num-inference-steps 2 --threads 1",
             base);
    expect_one_process(command, "mine");
    static const char recipe[] = "max_train_steps: 5\nbank_size: 100000\nbank_shard_size: 8\n";
    temp_write("recipe.yaml", recipe, strlen(recipe));
    snprintf(command, sizeof command,
             "run recipe.yaml --train-data images --reference images --pretrained-model %s --output-dir mine "
             "--num-inference-steps 2 --threads 1 --train-batch-size 2",
             base);
    expect_one_process(command, "mine");
}

/* ---- outputs ---- */

static void what_cannot_be_written_is_found_before_the_work(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "train --method finetune --pretrained-model %s --train-data images --output-dir file/x",
        "bank --pretrained-model %s --bank file/x",
        "sample --pretrained-model %s --output-dir file/x",
        "sample --pretrained-model %s --output-dir drawn --save-stack file/x.npz",
        "sample --pretrained-model %s --output-dir drawn --save-stack no/such/folder.npz",
        "eval --reference images --candidate images --save-statistics file/x.npz --pretrained-model %s",
        "convert --pretrained-model %s --output file/x.pt --save-model-as pt",
        "convert --pretrained-model %s --output file/x --save-model-as diffusers",
        "predict --pretrained-model %s --input input.safetensors --output file/x.safetensors",
        "report --runs %s --output no/such/report.html",
    };
    temp_write("file", "text", 4);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char command[2048];
        snprintf(command, sizeof command, forms[i], base);
        const int code = run(command);
        if (code != 1) fail_msg("'%s' ended with %d: %s", command, code, complained);
        assert_int_equal(
            strncmp(complained, "difftune: cannot write", 22) && strncmp(complained, "difftune: cannot make", 21), 0);
        assert_false(file_exists(temp_path("drawn")));
    }
}

/* Standard output and standard error of a call, each a pipe whose reader has left where asked for. */
static int run_without_readers(const char *command, bool out, bool err)
{
    int gone[2];
    assert_int_equal(pipe(gone), 0);
    close(gone[0]);
    const int file[] = {open(temp_path("out"), O_WRONLY | O_CREAT | O_TRUNC, 0600),
                        open(temp_path("err"), O_WRONLY | O_CREAT | O_TRUNC, 0600)};
    const pid_t child = start_with(command, out ? gone[1] : file[0], err ? gone[1] : file[1]);
    close(gone[1]);
    close(file[0]);
    close(file[1]);
    return finish(child);
}

static void a_reader_that_leaves_is_no_failure(void **state)
{
    (void)state;
    static const char *const commands[] = {"--help", "help", "train --help", "help train", "--version", "help --roff"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_int_equal(run_without_readers(commands[i], true, false), 0);
        assert_string_equal(complained, "");
    }
    assert_int_equal(run_without_readers(train("unread", "--max-train-steps 50 --logging-steps 1"), true, true), 0);
    assert_true(file_exists(temp_path("unread/final/model.safetensors")));
    fixture_remove("unread");
}

static void the_number_of_threads_follows_the_environment(void **state)
{
    (void)state;
    char command[2048];
    snprintf(
        command, sizeof command,
        "train --method finetune --pretrained-model %s --train-data images --output-dir threads --max-train-steps 1 "
        "--train-batch-size 2 --validation-steps 0 --sample-steps 0",
        base);
    setenv("OMP_NUM_THREADS", "3", 1);
    assert_int_equal(run(command), 0);
    assert_says(complained, "3 threads");
    unsetenv("OMP_NUM_THREADS");
    fixture_remove("threads");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_that_come_together_are_one_stop),
        cmocka_unit_test(signals_that_are_pending_together_are_one_stop),
        cmocka_unit_test(a_signal_after_the_line_has_stood_ends_at_once),
        cmocka_unit_test(a_request_for_a_checkpoint_is_served_and_the_run_goes_on),
        cmocka_unit_test(a_request_for_a_checkpoint_does_no_harm_elsewhere),
        cmocka_unit_test(a_stop_in_the_middle_of_a_measurement_is_served_at_once),
        cmocka_unit_test(a_checkpoint_is_made_in_the_middle_of_a_measurement),
        cmocka_unit_test(a_stop_is_served_within_a_batch_in_other_verbs),
        cmocka_unit_test(a_folder_belongs_to_one_process_at_a_time),
        cmocka_unit_test(what_cannot_be_written_is_found_before_the_work),
        cmocka_unit_test(a_reader_that_leaves_is_no_failure),
        cmocka_unit_test(the_number_of_threads_follows_the_environment),
    };
    return cmocka_run_group_tests_name("stops", tests, open_folder, close_folder);
}
