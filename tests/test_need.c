/* The memory that verbs say they need, against what they take: within 5 %, or 8 MiB where that is more. And under a limit of 1.2
 * times what they say they finish.
 *
 *     test_need          small models, in the suite
 *     test_need all      models of the size of DiT-S/2 too, and where the variables DT_SQUEEZENET (a file) and DT_CODEC (a codec
 *                        of latents) name weights, what needs those: about ten minutes and 2 GiB
 *
 * Taken is resident memory that is no file's, looked at every millisecond. The limit is that of a control group where
 * DT_MEMORY_GROUP names the folder of one for memory (version 1 or 2) that may be written to: the program ends there when it uses
 * more. Else it is RLIMIT_DATA, which counts what was reserved: room for what libraries reserve is added to it. */
#include "program.h"

#include <limits.h>

#include "dataset_fixture.h"

#define MIB ((int64_t)1 << 20)

/* 128 MiB of OpenBLAS for each of its threads, of which there is one however many cores there are, and the stacks of threads. */
#define RESERVED (160 * MIB)

typedef struct measured {
    int64_t told, taken; /* bytes */
    int code;
} measured;

static int64_t own_memory(pid_t pid)
{
    char path[64], line[256];
    long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %lld", &kib) == 1) break;
    if (f) fclose(f);
    return kib * 1024;
}

/* ---- limits ---- */

static void write_to_group(const char *name, long long value)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("DT_MEMORY_GROUP"), name);
    FILE *f = fopen(path, "w");
    if (!f || fprintf(f, "%lld", value) < 0 || fclose(f) != 0) fail_msg("cannot write %lld to %s", value, path);
}

static pid_t start_in_group(const char *command, int64_t limit)
{
    char v2[PATH_MAX];
    snprintf(v2, sizeof v2, "%s/memory.max", getenv("DT_MEMORY_GROUP"));
    write_to_group(file_exists(v2) ? "memory.max" : "memory.limit_in_bytes", limit);
    const pid_t child = start(command);
    write_to_group("cgroup.procs", child);
    return child;
}

static pid_t start_with_little_data(const char *command, int64_t limit)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_DATA, &(struct rlimit){(rlim_t)(limit + RESERVED), before.rlim_max}), 0);
    const pid_t child = start(command);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    return child;
}

static pid_t start_limited(const char *command, int64_t limit)
{
    return (getenv("DT_MEMORY_GROUP") ? start_in_group : start_with_little_data)(command, limit);
}

/* ---- a verb ---- */

/* Waits for the end of a call. */
static measured watch_call(pid_t child)
{
    measured m = {0};
    siginfo_t ended = {0};
    while (ended.si_pid == 0) {
        const int64_t now = own_memory(child);
        m.taken = now > m.taken ? now : m.taken;
        usleep(1000);
        assert_int_equal(waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    m.code = finish(child);
    const char *line = strstr(complained, "memory: about ");
    if (line) m.told = strtoll(line + strlen("memory: about "), NULL, 10) * MIB;
    return m;
}

/* Every call begins anew. */
static void forget(void)
{
    static const char *const made[] = {"run", "samples", "drawn", "latents"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (file_is_folder(temp_path(made[i]))) fixture_remove(made[i]);
}

static void check(const char *verb, const char *arguments)
{
    char command[2048];
    snprintf(command, sizeof command, "%s %s", verb, arguments);
    const measured alone = watch_call(start(command));
    if (alone.code != 0 || alone.told == 0) fail_msg("'%s': status %d, %s", command, alone.code, complained);
    const double off = (double)(alone.told - alone.taken), share = off / (double)alone.taken;
    print_message("%4lld MiB told, %6.1f taken (%+.1f %%): %.110s\n", (long long)(alone.told / MIB),
                  (double)alone.taken / (double)MIB, 100 * share, command);
    if (fabs(share) > 0.05 && fabs(off) > 8 * (double)MIB)
        fail_msg("'%s': told %lld, took %lld", command, (long long)alone.told, (long long)alone.taken);

    forget();
    const measured limited = watch_call(start_limited(command, alone.told * 6 / 5));
    if (limited.code != 0) fail_msg("'%s' under 1.2 times its forecast: %d, %s", command, limited.code, complained);
    forget();
}

static void check_training(const char *data, const char *arguments)
{
    char all[1024];
    snprintf(all, sizeof all, "--train-data %s --output-dir run --max-train-steps 2 --threads 2 %s", data, arguments);
    check("train", all);
}

/* ---- the suite's ---- */

#define TUNES   "--pretrained-model demo.safetensors --clip-sample --num-inference-steps 2 "
#define WATCHES "--validation-data held --validation-count 4 --num-samples 4 "

static void drawing_takes_what_it_says(void **state)
{
    (void)state;
    check("bank", TUNES "--bank drawn --bank-size 24 --threads 2");
    check("sample", TUNES "--output-dir samples --num-samples 12 --threads 2");
    check("chain", TUNES "--tail-model demo.safetensors --reference held --output-dir chain --eval-count 12 "
                         "--tails 0,0.5,1 --threads 2");
}

static void training_takes_what_it_says(void **state)
{
    (void)state;
    check_training("data", TUNES WATCHES "--method finetune --train-batch-size 4 --eval-steps 2 --eval-count 8");
    check_training("photographs", TUNES "--method finetune --train-batch-size 4");
    check_training("data", TUNES WATCHES "--bank bank_images --train-batch-size 16 --mixed-precision bf16");
    check_training("data", TUNES WATCHES
                   "--method finetune --train-batch-size 16 --gradient-checkpointing --fused-backward-pass");
}

static void measuring_takes_what_it_says(void **state)
{
    (void)state;
    check("eval", "--pretrained-model demo.safetensors --reference data --candidate held --threads 2");
    check("eval", "--pretrained-model demo.safetensors --reference photographs --candidate held --threads 2");
    check("ideal", "--pretrained-model demo.safetensors --train-data data --validation-data held --output-dir ideal "
                   "--validation-count 16 --threads 2");
}

static void files_take_what_they_say(void **state)
{
    (void)state;
    check("cache", "--vae tiny.safetensors --train-data held --cache-dir latents --resolution 128 --threads 2");
    check("cache", "--vae tiny.safetensors --train-data photographs --cache-dir latents --resolution 32 --threads 2");
    check("convert", "--pretrained-model demo.safetensors --output model.pt --save-model-as pt");
}

/* ---- all of them ---- */

static void larger_models_take_what_they_say(void **state)
{
    (void)state;
    static const char *const ways[] = {"",
                                       "--gradient-checkpointing",
                                       "--mixed-precision bf16",
                                       "--mixed-precision bf16 --gradient-checkpointing",
                                       "--gradient-accumulation-steps 2",
                                       "--fused-backward-pass"};
    static const int batches[] = {1, 4, 16};
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            char arguments[512];
            snprintf(arguments, sizeof arguments,
                     "--method pretrain --model DiT-S/2 --resolution 32 --validation-steps 0 --sample-steps 0 "
                     "--train-batch-size %d %s",
                     batches[b], ways[i]);
            check_training("data", arguments);
        }
    check_training("data", TUNES "--method finetune --train-batch-size 64 --num-samples 64");
    check("sample", TUNES "--output-dir samples --num-samples 64 --sample-batch-size 64 --threads 2");
}

static void named_weights_take_what_they_say(void **state)
{
    (void)state;
    char arguments[1024];
    const char *squeezenet = getenv("DT_SQUEEZENET"), *vae = getenv("DT_CODEC");
    if (!squeezenet && !vae) skip();
    if (squeezenet) {
        snprintf(arguments, sizeof arguments,
                 "--feature squeezenet --feature-weights %s --reference data --candidate held --threads 2", squeezenet);
        check("eval", arguments);
        snprintf(arguments, sizeof arguments,
                 TUNES "--feature squeezenet --feature-weights %s --save-statistics s.npz --output-dir samples "
                       "--num-samples 12 --threads 2",
                 squeezenet);
        check("sample", arguments);
    }
    for (int side = 64; vae && side <= 512; side *= 2) {
        snprintf(arguments, sizeof arguments,
                 "--vae %s --train-data held --cache-dir latents --resolution %d --threads 2", vae, side);
        check("cache", arguments);
    }
}

static int make(void **state)
{
    char demo[PATH_MAX], tiny[PATH_MAX];
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    if (fixture_make(state) || !realpath("../demo/base.safetensors", demo) ||
        !realpath("vectors/codec_tiny.safetensors", tiny))
        return -1;
    fixture_images("data", FIXTURE_CLASSES, 24, 32, 0);
    fixture_images("held", FIXTURE_CLASSES, 8, 32, 5);
    for (int i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "photographs/a/%d.png", i);
        put(name, picture(i, 5000, 3600));
    }
    return symlink(demo, temp_path("demo.safetensors")) || symlink(tiny, temp_path("tiny.safetensors"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest small[] = {
        cmocka_unit_test(drawing_takes_what_it_says),
        cmocka_unit_test(training_takes_what_it_says),
        cmocka_unit_test(measuring_takes_what_it_says),
        cmocka_unit_test(files_take_what_they_say),
    };
    const struct CMUnitTest large[] = {
        cmocka_unit_test(larger_models_take_what_they_say),
        cmocka_unit_test(named_weights_take_what_they_say),
    };
    if (own_memory(getpid()) == 0) {
        print_message("skipped: this kernel does not tell a process's own memory (RssAnon)\n");
        return 0;
    }
#if defined(__SANITIZE_ADDRESS__)
    print_message("skipped: a sanitizer takes memory of its own\n");
    return 0;
#endif
    const int failed = cmocka_run_group_tests_name("need", small, make, close_folder);
    if (argc < 2 || strcmp(argv[1], "all")) return failed;
    return failed + cmocka_run_group_tests_name("need of larger models", large, make, close_folder);
}
