/* The program as a user meets it: help that agrees with the table, exit codes, one line for each mistake, signals. */
#include "control_fixture.h"
#include "file/folder.h"
#include "program.h"
#include "settings/settings.h"

enum { RUN_KEYS = SETTINGS_RUN | SETTINGS_CACHE | SETTINGS_BANK | SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_EVAL };

static const struct {
    const char *name;
    unsigned keys;
} verb_names[] = {{"data", SETTINGS_DATA},
                  {"diagnose", SETTINGS_DIAGNOSE},
                  {"bank", SETTINGS_BANK},
                  {"cache", SETTINGS_CACHE},
                  {"train", SETTINGS_TRAIN},
                  {"sample", SETTINGS_SAMPLE},
                  {"eval", SETTINGS_EVAL},
                  {"predict", SETTINGS_PREDICT},
                  {"convert", SETTINGS_CONVERT},
                  {"inspect", SETTINGS_INSPECT},
                  {"annotate", SETTINGS_ANNOTATE},
                  {"run", RUN_KEYS},
                  {"chain", SETTINGS_CHAIN},
                  {"ideal", SETTINGS_IDEAL},
                  {"study", (RUN_KEYS & ~(unsigned)SETTINGS_RUN) | SETTINGS_STUDY},
                  {"report", SETTINGS_REPORT}};
enum { VERB_COUNT = sizeof verb_names / sizeof verb_names[0] };

/* ---- help ---- */

static void version_says_what_is_in_use(void **state)
{
    (void)state;
    assert_int_equal(run("--version"), 0);
    assert_says(printed, "difftune ");
    assert_says(printed, "cpu (portable");
#ifdef __x86_64__
    assert_says(printed, "avx2, avx512, avx512bf16, amx)");
#endif
    assert_string_equal(complained, "");
}

static void without_a_verb_the_usage_is_shown_and_it_is_a_mistake(void **state)
{
    (void)state;
    assert_int_equal(run(""), 2);
    assert_says(complained, "usage: difftune VERB");
    assert_string_equal(printed, "");
}

static void help_lists_every_verb(void **state)
{
    (void)state;
    assert_int_equal(run("help"), 0);
    for (int i = 0; i < VERB_COUNT; i++) assert_says(printed, verb_names[i].name);
    char *first = strdup(printed);
    assert_int_equal(run("--help"), 0);
    assert_string_equal(printed, first);
    free(first);
}

/* "  --some-key " as the help starts a key's line. */
static void help_flag(char flag[128], const settings_key *key)
{
    snprintf(flag, 128, "\n  --%s%s ", key->type == SETTINGS_BOOL ? "[no-]" : "", key->name);
    for (char *p = flag; *p; p++) *p = *p == '_' ? '-' : *p;
}

/* No line that was printed is wider than a terminal of 100 columns; all is ASCII. */
static void assert_narrow(void)
{
    for (const char *line = printed; *line; line += strspn(line, "\n")) {
        size_t columns = strcspn(line, "\n");
        if (columns > 100) fail_msg("%zu columns: %.*s", columns, (int)columns, line);
        line += columns;
    }
}

static void help_fits_100_columns(void **state)
{
    (void)state;
    assert_int_equal(run("--help"), 0);
    assert_narrow();
    for (int v = 0; v < VERB_COUNT; v++) {
        char command[64];
        snprintf(command, sizeof command, "%s --help", verb_names[v].name);
        assert_int_equal(run(command), 0);
        assert_narrow();
    }
}

static void help_of_a_verb_shows_exactly_its_keys_with_help_and_default(void **state)
{
    (void)state;
    for (int v = 0; v < VERB_COUNT; v++) {
        char command[64];
        snprintf(command, sizeof command, "%s --help", verb_names[v].name);
        assert_int_equal(run(command), 0);
        assert_says(printed, "Example:\n  difftune ");
        for (int i = 0; i < settings_key_count; i++) {
            const settings_key *key = &settings_keys[i];
            char flag[128], *line;
            help_flag(flag, key);
            line = strstr(printed, flag);
            assert_int_equal(line != NULL, (key->verbs & verb_names[v].keys) != 0);
            if (!line) continue;
            char words[3][64] = {"", "", ""}; /* between words a line may be broken */
            sscanf(key->help, "%63s %63s", words[0], words[1]);
            sscanf(key->initial, "%63s", words[2]);
            for (int w = 0; w < 3; w++) assert_says(line, words[w]);
        }
        snprintf(command, sizeof command, "help %s", verb_names[v].name);
        char *first = strdup(printed);
        assert_int_equal(run(command), 0);
        assert_string_equal(printed, first);
        free(first);
    }
}

/* What was printed between `start` and the next empty line, to be freed. */
static char *cut_out(const char *start)
{
    char *from = strstr(printed, start);
    if (!from) fail_msg("'%s' lacks '%s'", printed, start);
    from += strlen(start);
    char *end = strstr(from, "\n\n");
    return end ? strndup(from, (size_t)(end - from)) : strdup(from);
}

static int run_in_shell(const char *folder, const char *command)
{
    char line[4096], program_folder[1024];
    snprintf(program_folder, sizeof program_folder, "%s", DT_PROGRAM);
    *strrchr(program_folder, '/') = '\0';
    snprintf(line, sizeof line, "cd '%s' && PATH='%s':$PATH && { %s; } > out 2> err", temp_path(folder), program_folder,
             command);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The next command of an example, in which a line that ends in a backslash goes on in the next one; cuts the text. */
static char *next_command(char **text)
{
    char *command = *text, *end = command;
    while ((end = strchr(end, '\n')) && end[-1] == '\\') end++;
    *text = end ? end + 1 : command + strlen(command);
    if (end) *end = '\0';
    return *command ? command : NULL;
}

/* As they stand, in a folder where none of their files is: what they lack is a file, never a flag or a setting. */
static void examples_are_wrong_in_nothing_but_missing_files(void **state)
{
    (void)state;
    dt_error err = {0};
    int count = 0;
    char recipes[1024];
    assert_int_equal(file_make_dirs(temp_path("empty"), &err), DT_OK);
    assert_non_null(realpath("../recipes", recipes));
    assert_int_equal(symlink(recipes, temp_path("empty/recipes")), 0);
    for (int v = 0; v < VERB_COUNT; v++) {
        char command[64];
        snprintf(command, sizeof command, "%s --help", verb_names[v].name);
        assert_int_equal(run(command), 0);
        char *example = cut_out("\nExample:\n"), *rest = example;
        for (char *line; (line = next_command(&rest)); count++) {
            int code = run_in_shell("empty", line);
            if (code != 1) fail_msg("%d: %s", code, line);
        }
        free(example);
    }
    assert_true(count > VERB_COUNT);
    assert_int_equal(remove(temp_path("empty/recipes")), 0);
}

/* The commands of the overview one after the other, with flags behind them that make them short. */
static void the_example_of_the_overview_works(void **state)
{
    (void)state;
    static const char *const shorter[] = {
        "--validation-count 4",
        "--bank-size 4 --num-inference-steps 2",
        "--max-train-steps 2 --train-batch-size 2 --validation-steps 0 --sample-steps 0",
        "--num-samples 4 --num-inference-steps 2",
        "",
        ""};
    dt_error err = {0};
    int count = 0;
    char command[4096];
    assert_int_equal(file_make_dirs(temp_path("first"), &err), DT_OK);
    assert_int_equal(run_in_shell("first", "ln -s ../images my_images; ln -s ../images held_out; "
                                           "ln -s ../base/final/model.safetensors base.safetensors"),
                     0);
    assert_int_equal(run("--help"), 0);
    char *lines = cut_out("\nExample"), *rest = strchr(lines, '\n') + 1;
    for (char *line; (line = next_command(&rest)); count++) {
        assert_in_range(count, 0, sizeof shorter / sizeof *shorter - 1);
        snprintf(command, sizeof command, "%s %s", line, shorter[count]);
        int code = run_in_shell("first", command);
        if (code != 0) fail_msg("%d: %s", code, command);
    }
    assert_int_equal(count, sizeof shorter / sizeof *shorter);
    assert_true(file_exists(temp_path("first/report.html")));
    assert_int_equal(run_in_shell("first", "rm my_images held_out base.safetensors"), 0);
    free(lines);
}

/* Held-out pictures that are the training pictures are at distance 0 from them: no ratio to it is printed. Of statistics it is not
 * known what of them would count as copied. */
static void a_number_that_eval_lacks_is_left_out(void **state)
{
    (void)state;
    char *text;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("left_out"), &err), DT_OK);
    assert_int_equal(run_in_shell("left_out", "difftune eval --pretrained-model ../base/final/model.safetensors "
                                              "--reference ../images --candidate ../images --trained-on ../images"),
                     0);
    if (file_read_all(&text, &size, temp_path("left_out/out"), 1 << 16, &err) != DT_OK) fail_msg("%s", err.message);
    assert_says(text, "copied 1.0000 (held-out pictures: 1.0000)  reference ");
    assert_null(strstr(text, "nan"));
    free(text);
    assert_int_equal(run_in_shell("left_out", "difftune eval --pretrained-model ../base/final/model.safetensors "
                                              "--reference ../images --save-statistics only.npz"),
                     0);
    assert_int_equal(run_in_shell("left_out", "difftune eval --pretrained-model ../base/final/model.safetensors "
                                              "--reference only.npz --candidate ../images --trained-on ../images"),
                     0);
    if (file_read_all(&text, &size, temp_path("left_out/out"), 1 << 16, &err) != DT_OK) fail_msg("%s", err.message);
    assert_says(text, "copied 1.0000  reference ");
    assert_null(strstr(text, "nan"));
    free(text);
}

/* The flags that a help calls needed; how many. */
static int needed_flags(char flags[8][64])
{
    int count = 0;
    char *rest, *needed = cut_out("\nNeeded:\n");
    for (char *line = strtok_r(needed, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        assert_in_range(count, 0, 7);
        if (sscanf(line, "  --%63s", flags[count]) == 1) count++;
    }
    free(needed);
    return count;
}

/* Verbs that work on paths, without any flag. */
static bool needs_no_flag(const char *name)
{
    return !strcmp(name, "inspect") || !strcmp(name, "annotate");
}

/* What is needed only sometimes is not called needed. */
static void examples_give_what_help_calls_needed(void **state)
{
    (void)state;
    for (int v = 0; v < VERB_COUNT; v++) {
        const char *name = verb_names[v].name;
        char command[64], flags[8][64];
        if (needs_no_flag(name) || !strcmp(name, "study")) continue; /* a study has a file with settings */
        snprintf(command, sizeof command, "%s --help", name);
        assert_int_equal(run(command), 0);
        char *example = cut_out("\nExample:\n");
        for (int i = needed_flags(flags) - 1; i >= 0; i--)
            if (!strstr(example, flags[i])) fail_msg("%s: the example lacks --%s", name, flags[i]);
        free(example);
    }
}

/* A verb takes what its help calls needed, and without one of them says which. */
static void what_help_calls_needed_is_needed(void **state)
{
    (void)state;
    for (int v = 0; v < VERB_COUNT; v++) {
        static const char *const operands[] = {"prepare food101 food", "recipes.yaml"};
        const char *name = verb_names[v].name;
        const char *operand = !strcmp(name, "data") ? operands[0] : operands[1];
        if (strcmp(name, "data") != 0 && strcmp(name, "run") != 0 && strcmp(name, "study") != 0) operand = "";
        char command[1024], flags[8][64];
        if (needs_no_flag(name)) continue;
        temp_write("recipes.yaml", "", 0);
        snprintf(command, sizeof command, "%s --help", name);
        assert_int_equal(run(command), 0);
        const int count = needed_flags(flags);
        assert_in_range(count, 1, 8);
        for (int without = 0; without < count; without++) {
            int n = snprintf(command, sizeof command, "%s %s", name, operand);
            for (int i = 0; i < count; i++)
                if (i != without)
                    n += snprintf(command + n, sizeof command - (size_t)n, " --%s %s", flags[i],
                                  strcmp(flags[i], "resolution") ? flags[i] : "64");
            assert_refused(command, 2, settings_find(flags[without])->name);
        }
    }
}

static void the_man_page_has_every_verb_and_key_and_each_key_once(void **state)
{
    (void)state;
    char path[1024], *text;
    size_t size;
    dt_error err = {0};
    snprintf(path, sizeof path, "%s.1", DT_PROGRAM);
    if (file_read_all(&text, &size, path, 1 << 20, &err) != DT_OK) fail_msg("%s", err.message);
    for (int v = 0; v < VERB_COUNT; v++) {
        char heading[64];
        snprintf(heading, sizeof heading, ".SS \"difftune %s", verb_names[v].name);
        assert_says(text, heading);
    }
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        bool is_bool = key->type == SETTINGS_BOOL;
        char heading[256];
        int n = snprintf(heading, sizeof heading, ".TP\n.B \\-\\-%s", is_bool ? "[no\\-]" : "");
        for (const char *p = key->name; *p; p++)
            n += snprintf(heading + n, sizeof heading - (size_t)n, *p == '_' ? "\\-" : "%c", *p);
        snprintf(heading + n, sizeof heading - (size_t)n, is_bool ? "\n" : " ");
        char *found = strstr(text, heading);
        if (!found) fail_msg("the man page lacks %s", key->name);
        assert_null(strstr(found + 1, heading));
    }
    assert_null(strstr(text, "@"));
    free(text);
}

/* ---- mistakes ---- */

static void mistakes_on_the_command_line_are_one_line_and_status_2(void **state)
{
    (void)state;
    static const char *const mistakes[][2] = {
        {"tune", "unknown verb 'tune'"},
        {"help tune", "difftune help"},
        {"train --learning-rat 1", "the nearest one is '--learning-rate'"},
        {"train --learning-rate", "--learning-rate needs a value: a number from 0 to 1000"},
        {"train --learning-rate --seed 1", "--learning-rate needs a value"},
        {"train --learning-rate fast", "learning_rate must be a number"},
        {"train --learning-rate=", "learning_rate must be a number"},
        {"train --learning-rate nan", "learning_rate must be a number"},
        {"train --max-train-steps 1e3", "max_train_steps must be a whole number"},
        {"train --random-flip=maybe", "random_flip must be true or false"},
        {"train --no-learning-rate", "unknown flag '--no-learning-rate'"},
        {"train extra", "unexpected argument 'extra'"},
        {"train -x", "unexpected argument '-x'"},
        {"train --", "unexpected argument '--'"},
        {"sample --learning-rate 1", "--learning-rate is not used by sample"},
        {"inspect", "inspect needs PATH"},
        {"inspect a b", "unexpected argument 'b'"},
        {"annotate canny a", "annotate needs KIND IN OUT"},
        {"inspect --seed 1 a", "--seed is not used by inspect"},
        {"train --config", "--config needs a file"},
        {"train --config=", "--config needs a file"},
        {"train --config a --config b", "--config is given twice"},
        {"train", "train needs train_data"},
        {"bank --bank b", "bank needs pretrained_model"},
        {"sample --output-dir o", "sample needs pretrained_model"},
        {"eval", "eval needs reference"},
        {"predict", "predict needs pretrained_model"},
        {"report", "report needs runs"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) assert_refused(mistakes[i][0], 2, mistakes[i][1]);
}

static void missing_files_are_one_line_and_status_1(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "train --config /nonexistent/x",
        "inspect /nonexistent/x",
        "sample --pretrained-model /nonexistent/x --output-dir o",
        "bank --pretrained-model /nonexistent/x --bank b",
        "predict --pretrained-model /nonexistent/x --input i --output o",
        "train --method pretrain --resolution 8 --train-data /nonexistent/x --output-dir o",
        "report --runs /nonexistent/x --output r.html",
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) assert_refused(calls[i], 1, "/nonexistent/x");
}

static void write_text(const char *name, const char *text)
{
    temp_write(name, text, strlen(text));
}

static void a_mistake_in_the_settings_file_names_its_line(void **state)
{
    (void)state;
    write_text("bad.yaml", "seed: 1\nlearning_rat: 2\n");
    assert_refused("train --config bad.yaml", 2, "bad.yaml:2: unknown setting 'learning_rat'");
    write_text("bad.yaml", "seed: 1\n\ndepth: deep\n");
    assert_refused("train --config=bad.yaml", 2, "bad.yaml:3: depth must be a whole number");
}

static void a_flag_beats_the_file_wherever_it_stands(void **state)
{
    (void)state;
    write_text("good.yaml", "pretrained_model: /nonexistent/from-file\noutput-dir: o\nlearning_rate: 1\n");
    assert_refused("sample --config good.yaml", 1, "/nonexistent/from-file");
    assert_refused("sample --config good.yaml --pretrained-model /nonexistent/from-flag", 1, "/nonexistent/from-flag");
    assert_refused("sample --pretrained_model=/nonexistent/from-flag --config good.yaml", 1, "/nonexistent/from-flag");
}

static void output_that_cannot_be_written_is_a_failure(void **state)
{
    (void)state;
    char command[1024];
    snprintf(command, sizeof command, "%s --version > /dev/full 2> '%s'", DT_PROGRAM, temp_path("err"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* A limit on the size of files is a disk that is full. */
static void a_limit_on_files_is_a_failed_write(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("limited"), &err), DT_OK);
    char command[1024];
    snprintf(command, sizeof command,
             "ulimit -f 1; difftune convert --pretrained-model '%s' --output model.safetensors", temp_path("base"));
    assert_int_equal(run_in_shell("limited", command), 1);
    assert_false(file_exists(temp_path("limited/model.safetensors")));
    file_names names;
    assert_int_equal(file_list(&names, temp_path("limited"), &err), DT_OK);
    assert_int_equal(names.count, 2); /* what the shell writes */
    file_names_free(&names);
}

/* A link to a folder stays one, and the folder is what is written. */
static void a_folder_is_written_through_its_link(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("linked/real"), &err), DT_OK);
    char command[1024];
    snprintf(command, sizeof command,
             "ln -sfn real link; difftune convert --pretrained-model '%s' --output link --save-model-as diffusers && "
             "test -L link && test -e real/config.json && test $(ls | wc -l) = 4",
             temp_path("base"));
    assert_int_equal(run_in_shell("linked", command), 0);
    assert_int_equal(run_in_shell("linked", command), 0); /* once more, over what is there */
}

/* ---- real work ---- */

static void saved_settings_can_be_fed_back(void **state)
{
    (void)state;
    assert_int_equal(run("train --config base/config.yaml --output-dir again"), 0);
    char *first, *second;
    size_t size;
    dt_error err = {0};
    assert_int_equal(file_read_all(&first, &size, temp_path("base/config.yaml"), 1 << 20, &err), DT_OK);
    assert_int_equal(file_read_all(&second, &size, temp_path("again/config.yaml"), 1 << 20, &err), DT_OK);
    char *line = strstr(first, "output_dir: base\n"), *other = strstr(second, "output_dir: again\n");
    assert_non_null(line);
    assert_non_null(other);
    *line = *other = '\0';
    assert_string_equal(first, second);
    assert_string_equal(strchr(line + 1, '\n'), strchr(other + 1, '\n'));
    free(first);
    free(second);
}

static void inspect_prints_json_about_a_model(void **state)
{
    (void)state;
    assert_int_equal(run("inspect base/final/model.safetensors"), 0);
    assert_int_equal(printed[0], '{');
    assert_says(printed, "x_embedder.proj.weight");
}

/* Shells leave a quoted one as it stands. */
static void a_tilde_in_an_operand_is_the_home_folder(void **state)
{
    (void)state;
    char *before = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("HOME", temp_folder, 1);
    assert_int_equal(run("inspect base --against base/final/model.safetensors"), 0);
    assert_says(printed, "\nattention ");
    assert_says(printed, "\nblock 0 ");
    assert_int_equal(run("inspect base --against nowhere"), 1);
    assert_int_equal(run("inspect ~/base/final/model.safetensors"), 0);
    assert_says(printed, "x_embedder.proj.weight");
    assert_refused("data prepare food101 ~/nowhere --output-dir pies", 1, temp_folder);
    assert_refused("run ~/nowhere.yaml", 1, temp_folder);
    assert_refused("inspect ~other/x", 2, "only ~ and ~/ stand for a home folder");
    before ? setenv("HOME", before, 1) : unsetenv("HOME");
    free(before);
}

static void a_model_is_converted_and_read_again(void **state)
{
    (void)state;
    char command[1024];
    static const char *const steps[][2] = {
        {"base", "pt"}, {"model.pt", "diffusers"}, {"model.diffusers", "safetensors"}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        snprintf(command, sizeof command, "convert --pretrained-model %s --output model.%s --save-model-as %s",
                 steps[i][0], steps[i][1], steps[i][1]);
        assert_int_equal(run(command), 0);
        assert_says(complained, "wrote model.");
        snprintf(command, sizeof command, "inspect model.%s", steps[i][1]);
        assert_int_equal(run(command), 0);
        assert_says(printed, i == 1 ? "transformer_blocks.0.attn1.to_q.weight" : "blocks.0.attn.qkv.weight");
        assert_says(printed, "difftune.source_sha256");
    }
    assert_refused("convert --pretrained-model model.pt", 2, "convert needs output");
    assert_refused("convert --pretrained-model model.pt --output model.pt --save-model-as pt", 2, "output must not be");
    assert_refused("convert --pretrained-model model.pt --output x --save-model-as ckpt", 2, "diffusers");
    assert_refused("convert --pretrained-model images --output x", 1, "images");
}

/* Settings of an experiment as small as can be. */
#define SMALL_EXPERIMENT                                                                                               \
    "max_train_steps: 1\ntrain_batch_size: 2\nvalidation_steps: 0\nsample_steps: 0\n"                                  \
    "bank_size: 2\nfid_count: 2\nnum_inference_steps: 1\n"

/* Of a run, what lies in it, and a pipeline; another one may be named. */
static void a_model_of_latents_brings_its_codec(void **state)
{
    (void)state;
    char vae[DT_PATH_MAX], command[2048], *bytes;
    size_t size;
    dt_error err = {0};
    assert_non_null(realpath("vectors/codec_tiny.safetensors", vae));
    snprintf(
        command, sizeof command,
        "train --method pretrain --train-data images --output-dir latent --resolution 32 --vae %s --hidden-size 16 "
        "--depth 1 --num-heads 2 --patch-size 2 --max-train-steps 2 --checkpointing-steps 1 --train-batch-size 2 "
        "--validation-steps 0 --sample-steps 0",
        vae);
    if (run(command) != 0) fail_msg("%s", complained);
    static const char draw[] =
        "sample --pretrained-model %s --output-dir of_%s --num-samples 1 --num-inference-steps 1";
    static const char *const models[][2] = {{"latent", "run"},
                                            {"latent/final/model.safetensors", "file"},
                                            {"latent/checkpoints/step-00000001", "checkpoint"}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        snprintf(command, sizeof command, draw, models[i][0], models[i][1]);
        if (run(command) != 0) fail_msg("%s", complained);
    }
    assert_true(file_exists(temp_path("of_checkpoint/images/000000.png")));
    snprintf(command, sizeof command, "eval --reference images --candidate images --pretrained-model %s", models[2][0]);
    if (run(command) != 0) fail_msg("%s", complained);
    assert_int_equal(run("convert --pretrained-model latent --output pipe --save-model-as diffusers"), 0);
    snprintf(command, sizeof command, draw, "pipe", "pipe");
    assert_refused(command, 2, "vae is needed");
    assert_int_equal(file_make_dirs(temp_path("pipe/vae"), &err), DT_OK);
    assert_int_equal(file_read_all(&bytes, &size, vae, 1 << 24, &err), DT_OK);
    temp_write("pipe/vae/diffusion_pytorch_model.safetensors", bytes, size);
    free(bytes);
    if (run(command) != 0) fail_msg("%s", complained);
    static const char arms[] =
        SMALL_EXPERIMENT "arms:\n"
                         "  pixels: {method: finetune}\n"
                         "  encoded: {method: finetune, pretrained_model: latent, resolution: 32}\n";
    temp_write("arms.yaml", arms, sizeof arms - 1);
    snprintf(command, sizeof command,
             "study arms.yaml --pretrained-model %s --train-data images --reference images --output-dir of_both", base);
    if (run(command) != 0) fail_msg("%s", complained);
    assert_file_says("of_both/encoded/config.yaml", vae);
    snprintf(command, sizeof command, draw, "latent --vae nowhere", "none");
    assert_refused(command, 1, "vae nowhere");
}

static void write_small_recipe(void)
{
    temp_write("small.yaml", SMALL_EXPERIMENT, sizeof SMALL_EXPERIMENT - 1);
}

static void must(const char *const *commands, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (run(commands[i]) != 0) fail_msg("%s: %s", commands[i], complained);
}

/* Which is that of the pipeline it was tuned from, wherever it is called from. */
static void a_run_that_is_told_prompts_brings_its_encoder(void **state)
{
    (void)state;
    dt_error err = {0};
    static const char *const commands[] = {
        "train --method finetune --pretrained-model told --train-data images --output-dir prompted --max-train-steps 1 "
        "--train-batch-size 2 --validation-steps 0 --sample-steps 0",
        "sample --pretrained-model prompted --prompt cat --output-dir of_prompted --num-samples 1 "
        "--num-inference-steps 1",
        "bank --pretrained-model prompted/final/model.safetensors --prompt cat --bank bank_of_prompted --bank-size 2 "
        "--num-inference-steps 1",
        "train --method finetune --pretrained-model prompted --train-data images --output-dir prompted_on "
        "--max-train-steps 1 --train-batch-size 2 --validation-steps 0 --sample-steps 0",
        "run small.yaml --pretrained-model told --train-data images --reference images --output-dir told_run"};
    fixture_prompted("told");
    write_small_recipe();
    must(commands, sizeof commands / sizeof *commands);
    assert_file_says("prompted_on/config.yaml", "text_encoder: told\n");
    assert_int_equal(run("sample --pretrained-model prompted --output-dir untold --num-samples 1 "
                         "--num-inference-steps 1"),
                     0);
    assert_says(complained, "no prompt is given");
    assert_int_equal(file_make_dirs(temp_path("elsewhere/told"), &err), DT_OK); /* another one of that name */
    assert_int_equal(run_in_shell("elsewhere", "difftune sample --pretrained-model ../prompted --prompt cat "
                                               "--output-dir of_prompted --num-samples 1 --num-inference-steps 1"),
                     0);
    assert_refused("sample --pretrained-model prompted --text-encoder nowhere --prompt cat --output-dir none", 1,
                   "text_encoder nowhere");
}

/* They go on with what they were trained on top of; what was tuned as a whole has it in itself. */
static void adapters_upon_adapters_are_used_as_they_were_trained(void **state)
{
    (void)state;
    dt_error err = {0};
    char command[2048];
    static const char *const formats[] = {
        "train --method finetune --adapter lora --pretrained-model %s --train-data images --output-dir under "
        "--max-train-steps 2 --learning-rate 0.1 --train-batch-size 2 --validation-steps 0 --sample-steps 0",
        "train --method finetune --adapter lora --pretrained-model %s --adapter-weights under --train-data images "
        "--output-dir upon --max-train-steps 2 --learning-rate 0.1 --train-batch-size 2 --validation-steps 0 "
        "--sample-steps 0",
        "sample --pretrained-model %s --adapter-weights under,upon --output-dir by_hand --num-samples 1 "
        "--num-inference-steps 1 --save-stack by_hand.npz",
        "run small.yaml --pretrained-model %s --adapter-weights under --train-data images --reference images "
        "--output-dir joined_run",
        "run small.yaml --pretrained-model %s --adapter-weights under --adapter lora --train-data images "
        "--reference images --output-dir upon_run"};
    write_small_recipe();
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        snprintf(command, sizeof command, formats[i], base);
        if (run(command) != 0) fail_msg("%s: %s", command, complained);
    }
    assert_refused("convert --pretrained-model under --save-adapter-as kohya --output kohya.safetensors", 2,
                   "is for adapter_weights");
    if (run("sample --pretrained-model upon --output-dir by_itself --num-samples 1 --num-inference-steps 1 "
            "--save-stack by_itself.npz") != 0)
        fail_msg("%s", complained);
    file_hash by_hand, by_itself;
    assert_int_equal(file_sha256(&by_hand, temp_path("by_hand.npz"), &err), DT_OK);
    assert_int_equal(file_sha256(&by_itself, temp_path("by_itself.npz"), &err), DT_OK);
    assert_string_equal(by_hand.hex, by_itself.hex);
}

/* Of a ControlNet, and of an adapter that was moved together with it. */
static void runs_find_their_bases(void **state)
{
    (void)state;
    static const char *const commands[] = {
        "train --method finetune --pretrained-model told --control canny --conditioning-embedding-out-channels 4 "
        "--train-data images --output-dir net --max-train-steps 1 --train-batch-size 2 --validation-steps 0 "
        "--sample-steps 0",
        "sample --controlnet-model net --control canny --control-data images --prompt cat --output-dir of_net "
        "--num-samples 1 --num-inference-steps 1"};
    dt_error err = {0};
    must(commands, sizeof commands / sizeof *commands);
    assert_int_equal(file_make_dirs(temp_path("here"), &err), DT_OK);
    assert_int_equal(
        run_in_shell("here", "cp ../base/final/model.safetensors b.safetensors && difftune train --method finetune "
                             "--adapter lora --pretrained-model b.safetensors --train-data ../images --output-dir lora "
                             "--max-train-steps 1 --train-batch-size 2 --validation-steps 0 --sample-steps 0 && cd .. "
                             "&& mv here there && cd there && difftune sample --pretrained-model lora --output-dir of "
                             "--num-samples 1 --num-inference-steps 1"),
        0);
}

static void progress_in_a_file_is_plain_lines(void **state)
{
    (void)state;
    char command[1024];
    snprintf(command, sizeof command, "bank --pretrained-model %s --bank few --bank-size 8 --num-inference-steps 2",
             base);
    assert_int_equal(run(command), 0);
    assert_says(complained, "bank 8/8");
    assert_null(strchr(complained, '\r'));
    assert_null(strchr(complained, '\033'));
}

/* Starts a bank that would take hours and waits until it is at work. */
static pid_t start_long_work(void)
{
    char command[1024];
    snprintf(command, sizeof command,
             "bank --pretrained-model %s --bank long --bank-size 1000000 --bank-shard-size 8 --num-inference-steps 2",
             base);
    dt_error err = {0};
    if (file_exists(temp_path("long"))) assert_int_equal(file_remove_tree(temp_path("long"), &err), DT_OK);
    pid_t child = start(command);
    for (int i = 0; i < 600 && !file_exists(temp_path("long/shard-00000.safetensors")); i++) usleep(50000);
    if (!file_exists(temp_path("long/shard-00000.safetensors"))) {
        kill(child, SIGKILL);
        finish(child);
        fail_msg("no shard after 30 seconds: %s", complained);
    }
    return child;
}

static void a_signal_stops_with_status_75(void **state)
{
    (void)state;
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        pid_t child = start_long_work();
        kill(child, numbers[i]);
        assert_int_equal(finish(child), 75);
        assert_says(complained, "difftune: ");
    }
}

/* ---- verbs with arguments ---- */

static const char experiment[] =
    "run recipe.yaml --train-data images --reference images --num-inference-steps 2 --fid-count 4 --train-batch-size 2 "
    "--validation-steps 0 --sample-steps 0";

static void put_recipe(void)
{
    static const char text[] =
        "# Small.\nrecipe: Cars\npaper_fid_diff_tuning: 5.37\nmax_train_steps: 5\nbank_size: 4\n";
    temp_write("recipe.yaml", text, strlen(text));
}

static void an_experiment_is_one_command(void **state)
{
    (void)state;
    char command[2048];
    put_recipe();
    snprintf(command, sizeof command, "%s --pretrained-model %s --output-dir experiment --max-train-steps 2",
             experiment, base);
    int code = run(command);
    if (code != 0) fail_msg("%d: %s", code, complained);
    assert_says(complained, "stage 1 of 10, reference");
    assert_says(complained, "stage 10 of 10, report");
    assert_true(file_exists(temp_path("experiment/report.html")));
    snprintf(command, sizeof command, "%s --pretrained-model %s --output-dir experiment", experiment, base);
    assert_int_equal(run(command), 1);
    assert_says(complained, "max_train_steps 2, this call has 5");
    snprintf(command, sizeof command, "%s --config recipe.yaml", experiment);
    assert_refused(command, 2, "leave out --config");
    assert_refused("run", 2, "run needs RECIPE");
    assert_refused("run nowhere.yaml", 1, "nowhere.yaml");
    assert_refused("run recipe.yaml", 2, "run needs output_dir");
}

static void an_interrupted_experiment_ends_with_status_75(void **state)
{
    (void)state;
    char command[2048];
    put_recipe();
    snprintf(command, sizeof command,
             "%s --pretrained-model %s --output-dir halted --bank-size 1000000 "
             "--bank-shard-size 8",
             experiment, base);
    pid_t child = start(command);
    for (int i = 0; i < 1200 && !file_exists(temp_path("halted/bank/shard-00000.safetensors")); i++) usleep(50000);
    kill(child, SIGINT);
    assert_int_equal(finish(child), 75);
    assert_says(complained, "stage 3 of 10, bank");
    assert_true(file_exists(temp_path("halted/experiment.json")));
}

static void data_sets_are_prepared_by_name(void **state)
{
    (void)state;
    dt_error err = {0};
    assert_int_equal(file_make_dirs(temp_path("food/images/pie"), &err), DT_OK);
    assert_int_equal(file_make_dirs(temp_path("food/meta"), &err), DT_OK);
    temp_write("food/images/pie/1.jpg", "", 0);
    temp_write("food/meta/train.txt", "pie/1\npie/2\n", 12);
    temp_write("food/meta/test.txt", "", 0);
    assert_int_equal(run("data prepare food101 food --output-dir pies"), 0);
    assert_says(printed, "train               1  published    75750  differs");
    assert_says(printed, "1 images are listed and not there");
    assert_refused("data prepare food101 food --output-dir food/pies", 1, "not to be changed");
    assert_refused("data prepare mnist food --output-dir p", 2, "food101, sun397");
    assert_refused("data prepare food101 food", 2, "output_dir");
    assert_refused("data remove food101 food", 2, "'prepare' expected");
    assert_refused("data prepare food101", 2, "data needs prepare NAME DIR");
    assert_int_equal(remove(temp_path("pies/train/pie/1.jpg")), 0); /* a link, which the tests' clean-up would refuse */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_says_what_is_in_use),
        cmocka_unit_test(without_a_verb_the_usage_is_shown_and_it_is_a_mistake),
        cmocka_unit_test(help_lists_every_verb),
        cmocka_unit_test(help_fits_100_columns),
        cmocka_unit_test(help_of_a_verb_shows_exactly_its_keys_with_help_and_default),
        cmocka_unit_test(examples_are_wrong_in_nothing_but_missing_files),
        cmocka_unit_test(the_example_of_the_overview_works),
        cmocka_unit_test(a_number_that_eval_lacks_is_left_out),
        cmocka_unit_test(examples_give_what_help_calls_needed),
        cmocka_unit_test(what_help_calls_needed_is_needed),
        cmocka_unit_test(the_man_page_has_every_verb_and_key_and_each_key_once),
        cmocka_unit_test(mistakes_on_the_command_line_are_one_line_and_status_2),
        cmocka_unit_test(missing_files_are_one_line_and_status_1),
        cmocka_unit_test(a_mistake_in_the_settings_file_names_its_line),
        cmocka_unit_test(a_flag_beats_the_file_wherever_it_stands),
        cmocka_unit_test(a_limit_on_files_is_a_failed_write),
        cmocka_unit_test(a_folder_is_written_through_its_link),
        cmocka_unit_test(output_that_cannot_be_written_is_a_failure),
        cmocka_unit_test(saved_settings_can_be_fed_back),
        cmocka_unit_test(inspect_prints_json_about_a_model),
        cmocka_unit_test(a_tilde_in_an_operand_is_the_home_folder),
        cmocka_unit_test(a_model_is_converted_and_read_again),
        cmocka_unit_test(a_model_of_latents_brings_its_codec),
        cmocka_unit_test(a_run_that_is_told_prompts_brings_its_encoder),
        cmocka_unit_test(adapters_upon_adapters_are_used_as_they_were_trained),
        cmocka_unit_test(runs_find_their_bases),
        cmocka_unit_test(progress_in_a_file_is_plain_lines),
        cmocka_unit_test(a_signal_stops_with_status_75),
        cmocka_unit_test(an_experiment_is_one_command),
        cmocka_unit_test(an_interrupted_experiment_ends_with_status_75),
        cmocka_unit_test(data_sets_are_prepared_by_name),
    };
    return cmocka_run_group_tests_name("cli", tests, open_folder, close_folder);
}
