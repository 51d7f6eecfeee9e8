/* Settings: the table itself, text in and out, and YAML files. */
#include <string.h>
#include <unistd.h>

#include "comma_locale.h"
#include "base/text.h"
#include "settings/settings.h"

static char file[512];

static int make_folder(void **state)
{
    if (temp_folder_make(state)) return -1;
    snprintf(file, sizeof file, "%s", temp_path("settings.yaml"));
    return 0;
}

/* ---- the table ---- */

static void every_row_is_complete_and_its_default_is_allowed(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *k = &settings_keys[i];
        dt_error err = {0};
        assert_non_null(settings_group_names[k->group]);
        assert_non_null(k->metavar);
        assert_true(strlen(k->help) > 0 && strlen(k->help) < 80);
        assert_int_not_equal(k->verbs, 0);
        assert_int_equal(settings_set(&s, k->name, k->initial, &err), DT_OK);
        assert_true(settings_in_range(&s, k));
        assert_ptr_equal(settings_find(k->name), k);
    }
}

static void every_member_of_the_struct_has_exactly_one_row(void **state)
{
    (void)state;
    static unsigned char covered[sizeof(dt_settings)];
    memset(covered, 0, sizeof covered);
    for (int i = 0; i < settings_key_count; i++)
        for (size_t b = 0; b < settings_keys[i].size; b++) assert_int_equal(covered[settings_keys[i].offset + b]++, 0);
    size_t gap = 0; /* what the compiler put between members for alignment is at most 7 bytes long */
    for (size_t b = 0; b < sizeof covered; b++) {
        gap = covered[b] ? 0 : gap + 1;
        assert_in_range(gap, 0, 7);
    }
}

static void rows_of_a_group_stand_together(void **state)
{
    (void)state;
    for (int i = 1; i < settings_key_count; i++)
        for (int j = 0; j < i - 1; j++)
            if (settings_keys[i].group == settings_keys[j].group)
                assert_int_equal(settings_keys[i].group, settings_keys[i - 1].group);
}

static void defaults_are_those_of_the_paper_but_for_what_is_kept(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    assert_int_equal(s.method, DT_METHOD_DIFF_TUNING);
    assert_int_equal(s.max_train_steps, 24000);
    assert_int_equal(s.train_batch_size, 32);
    assert_true(s.learning_rate == 1e-4 && s.ema_decay == 0.9999 && s.tau == 1 && s.guidance_scale == 1.5);
    assert_int_equal(s.preset, DT_PRESET_DISTIL);
    assert_int_equal(settings_retention(&s), DT_RETENTION_TARGET_DISTIL);
    assert_true(s.random_flip && s.tensorboard && s.learn_sigma && !s.strict);
    assert_string_equal(s.background, "#ffffff");
}

/* ---- what finished work is recognised by ---- */

static bool is_among(const char *const names[], const char *name)
{
    while (*names && strcmp(*names, name)) names++;
    return *names;
}

/* Folders of runs that are there already keep being recognised only while these are the keys that run.json lacks. */
static void the_identity_of_a_run_is_what_it_was(void **state)
{
    (void)state;
    static const char *const free_keys[] = {"threads",
                                            "ranks",
                                            "output_dir",
                                            "checkpointing_steps",
                                            "checkpoints_total_limit",
                                            "ema_snapshot_steps",
                                            "logging_steps",
                                            "validation_steps",
                                            "validation_count",
                                            "sample_steps",
                                            "eval_steps",
                                            "eval_count",
                                            "convergence_steps",
                                            "convergence_count",
                                            "convergence_threshold",
                                            "stop_at_convergence",
                                            "tensorboard",
                                            "diagnosis",
                                            "dry_run",
                                            "save_model_as",
                                            "save_dtype",
                                            "metadata",
                                            "weights",
                                            "num_samples",
                                            "sample_batch_size",
                                            "sampler",
                                            "num_inference_steps",
                                            "timestep_spacing",
                                            "eta",
                                            "guidance_scale",
                                            "clip_sample",
                                            "guidance_channels",
                                            "classes",
                                            "feature",
                                            "feature_weights",
                                            "inception_resize",
                                            "pretrained_model",
                                            "file_weights",
                                            "adapter_weights",
                                            "process",
                                            "vae",
                                            "inception_score_parts",
                                            "cache_dir",
                                            "control",
                                            "controlnet_model",
                                            "annotator_weights",
                                            "default_prompt",
                                            "text_encoder",
                                            "tokenizer",
                                            "validation_prompt",
                                            "train_data",
                                            "validation_data",
                                            "bank",
                                            "gradient_checkpointing",
                                            "strict",
                                            "fused_backward_pass",
                                            NULL};
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *k = &settings_keys[i];
        bool expected = (k->verbs & SETTINGS_TRAIN) && !is_among(free_keys, k->name);
        if (((k->identity & SETTINGS_TRAIN) != 0) != expected) fail_msg("%s", k->name);
        assert_int_equal(k->identity & ~k->verbs, 0);
    }
}

/* The same for the stages in experiment.json, for every verb and all of them together. */
static void a_stage_is_recognised_by_what_it_was(void **state)
{
    (void)state;
    static const char *const free_keys[] = {"threads",
                                            "ranks",
                                            "checkpointing_steps",
                                            "checkpoints_total_limit",
                                            "ema_snapshot_steps",
                                            "logging_steps",
                                            "tensorboard",
                                            "diagnosis",
                                            "dry_run",
                                            "validation_steps",
                                            "validation_count",
                                            "sample_steps",
                                            "eval_steps",
                                            "sample_batch_size",
                                            "eval_count",
                                            "validation_prompt",
                                            "keep",
                                            "output_dir",
                                            NULL};
    for (unsigned verbs = SETTINGS_BANK; verbs <= SETTINGS_STUDY; verbs *= 2)
        for (int i = 0; i < settings_key_count; i++) {
            const settings_key *k = &settings_keys[i];
            bool expected = (k->verbs & verbs) && !is_among(free_keys, k->name);
            if (settings_shapes(k, verbs) != expected) fail_msg("%s of verb %u", k->name, verbs);
        }
}

static void words_are_asked_for_by_the_name_of_their_key(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *k = &settings_keys[i];
        if (k->type != SETTINGS_ENUM) continue;
        assert_string_equal(settings_word(&s, k->name), k->initial);
        for (int w = 0; k->words[w]; w++) assert_int_equal(settings_word_number(k->name, k->words[w]), w);
        assert_int_equal(settings_word_number(k->name, "nonsense"), -1);
    }
    s.timestep_spacing = DT_SPACING_LEADING;
    assert_string_equal(settings_word(&s, "timestep_spacing"), "leading");
    assert_string_equal(settings_method_names[settings_word_number("method", "pretrain")], "pre-training");
}

/* ---- one key from text ---- */

static void samplers_are_known_by_the_names_of_diffusers(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"DDIMScheduler", "ddim"},
                                           {"DDPMScheduler", "ddpm"},
                                           {"DPMSolverMultistepScheduler", "dpm++2m"},
                                           {"UniPCMultistepScheduler", "unipc"},
                                           {"HeunDiscreteScheduler", "heun"},
                                           {"EulerDiscreteScheduler", "euler"}};
    dt_settings s;
    char text[SETTINGS_VALUE_MAX];
    dt_settings_init(&s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(dt_settings_set(&s, "sampler", names[i][0], NULL, 0), DT_OK);
        settings_text(text, &s, settings_find("sampler"));
        assert_string_equal(text, names[i][1]);
        assert_int_equal(dt_settings_set(&s, "sampler", text, NULL, 0), DT_OK);
        assert_string_equal(settings_word(&s, "sampler"), names[i][1]);
    }
    assert_int_equal(dt_settings_set(&s, "sampler", "PNDMScheduler", NULL, 0), DT_ERR_ARG);
}

static void hyphens_and_underscores_are_the_same(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    assert_int_equal(dt_settings_set(&s, "learning-rate", "3e-5", NULL, 0), DT_OK);
    assert_true(s.learning_rate == 3e-5);
    assert_int_equal(dt_settings_set(&s, "learning_rate", "0.25", NULL, 0), DT_OK);
    assert_true(s.learning_rate == 0.25);
    assert_int_equal(dt_settings_set(&s, "method", "diff_tuning", NULL, 0), DT_OK);
    assert_int_equal(dt_settings_set(&s, "label-init", "nearest-name", NULL, 0), DT_OK);
    assert_int_equal(s.label_init, DT_LABEL_NEAREST_NAME);
}

static void text_that_is_not_allowed_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"depth", ""},
        {"depth", "six"},
        {"depth", "6x"},
        {"depth", "6.5"},
        {"depth", " 6"},
        {"depth", "0"},
        {"depth", "-1"},
        {"depth", "1025"},
        {"seed", "-1"},
        {"depth", "1e2"},
        {"seed", "99999999999999999999"},
        {"seed", "9007199254740993"}, /* one above the last, which is the same double */
        {"learning_rate", "0x10"},
        {"learning_rate", "inf"},
        {"learning_rate", "nan"},
        {"learning_rate", "1e999"},
        {"learning_rate", "1e-999"},
        {"learning_rate", "-0.1"},
        {"learning_rate", "0,1"},
        {"ema_decay", "1.01"},
        {"random_flip", "maybe"},
        {"random_flip", "1"},
        {"method", "lora"},
        {"method", ""},
        {"title", "two\nlines"},
        {"title", "\xff\xfe"},
        {"title", "\xc0\xaf"},
        {"title", "\xed\xa0\x80"},
        {"title", "\xe2\x82"},
        {"title", "\x7f"},
    };
    dt_settings s, before;
    dt_settings_init(&s);
    before = s;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char message[512] = "";
        char shown[64]; /* a message is one line of UTF-8: all else is question marks in it */
        snprintf(shown, sizeof shown, "%s", bad[i][1]);
        text_make_printable(shown);
        assert_int_equal(dt_settings_set(&s, bad[i][0], bad[i][1], message, sizeof message), DT_ERR_ARG);
        assert_says(message, bad[i][0]);
        assert_says(message, shown);
        assert_memory_equal(&s, &before, sizeof s);
    }
}

static void a_refusal_says_what_is_allowed(void **state)
{
    (void)state;
    dt_settings s;
    char message[512];
    dt_settings_init(&s);
    dt_settings_set(&s, "depth", "0", message, sizeof message);
    assert_says(message, "a whole number from 1 to 1024");
    dt_settings_set(&s, "eta", "2", message, sizeof message);
    assert_says(message, "a number from 0 to 1");
    dt_settings_set(&s, "sampler", "plms", message, sizeof message);
    assert_says(message, "ddim, ddpm, dpm++2m, unipc, heun, euler");
    dt_settings_set(&s, "strict", "2", message, sizeof message);
    assert_says(message, "true or false");
}

static void the_ends_of_a_range_are_allowed(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *k = &settings_keys[i];
        if (k->type != SETTINGS_INT && k->type != SETTINGS_REAL) continue;
        const double ends[2] = {k->min, k->max};
        for (int e = 0; e < 2; e++) {
            char text[64];
            snprintf(text, sizeof text, k->type == SETTINGS_INT ? "%.0f" : "%.17g", ends[e]);
            assert_int_equal(dt_settings_set(&s, k->name, text, NULL, 0), DT_OK);
        }
    }
}

static void a_text_that_just_fits_is_kept_and_a_longer_one_refused(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    char text[DT_TEXT_MAX + 1];
    memset(text, 'a', sizeof text);
    text[DT_TEXT_MAX] = '\0';
    assert_int_equal(dt_settings_set(&s, "title", text, NULL, 0), DT_ERR_ARG);
    text[DT_TEXT_MAX - 1] = '\0';
    assert_int_equal(dt_settings_set(&s, "title", text, NULL, 0), DT_OK);
    assert_string_equal(s.title, text);
}

static void what_is_far_from_every_name_gets_none(void **state)
{
    (void)state;
    char hint[DT_TEXT_MAX];
    assert_null(settings_nearest("zebra", ~0u));
    assert_null(settings_nearest("q", SETTINGS_REPORT));
    assert_string_equal(settings_nearest("max_train_stesp", SETTINGS_TRAIN), "max_train_steps");
    assert_null(settings_nearest("max_train_stesp", SETTINGS_SAMPLE)); /* only of the verb */
    settings_hint(hint, "frobnicate", ~0u, true);
    assert_string_equal(hint, "");
    settings_hint(hint, "lerning-rate", SETTINGS_TRAIN, true);
    assert_string_equal(hint, "; the nearest one is '--learning-rate'");
}

static void words_of_other_programs_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        unsigned verb;
        const char *hint;
    } cases[] = {
        {"lr", SETTINGS_TRAIN, "; here that is '--learning-rate'"},
        {"batch-size", SETTINGS_TRAIN, "; here that is '--train-batch-size'"},
        {"batch_size", SETTINGS_SAMPLE, "; here that is '--sample-batch-size'"},
        {"epochs", SETTINGS_TRAIN, "max_train_steps"},
        {"resume_from_checkpoint", SETTINGS_TRAIN, "the same command goes on"},
        {"cfg-scale", SETTINGS_SAMPLE, "; here that is '--guidance-scale'"},
        {"pretrained_model_name_or_path", SETTINGS_BANK, "; here that is '--pretrained-model'"},
        {"output", SETTINGS_SAMPLE, "; here that is '--output-dir'"},
        {"lr_warmup", SETTINGS_TRAIN, "'--lr-warmup-steps'"},
        {"warmup", SETTINGS_TRAIN, "'--lr-warmup-steps'"},
        {"ema", SETTINGS_TRAIN, "'--ema-decay'"},
        {"height", SETTINGS_SAMPLE, "resolution"},
        {"height", SETTINGS_TRAIN, "'--resolution'"},
        {"width", SETTINGS_SAMPLE, "resolution"},
        {"gpus", SETTINGS_TRAIN, "--device cuda"},
        {"workers", SETTINGS_TRAIN, "'--threads'"},
        {"bs", SETTINGS_TRAIN, "'--train-batch-size'"},
        {"bs", SETTINGS_SAMPLE, "'--sample-batch-size'"},
        {"iters", SETTINGS_TRAIN, "'--max-train-steps'"},
        {"data", SETTINGS_TRAIN, "'--train-data'"},
        {"gradient-accumulation", SETTINGS_TRAIN, "'--gradient-accumulation-steps'"},
        {"min_snr_gamma", SETTINGS_TRAIN, "not offered"},
        {"lora_dropout", SETTINGS_TRAIN, "without dropout"},
        {"use_8bit_adam", SETTINGS_TRAIN, "'--adam-moments'"},
        {"controlnet_model_name_or_path", SETTINGS_TRAIN, "'--controlnet-model'"},
        {"prior_loss_weight", SETTINGS_TRAIN, "'--retention-weight'"},
        {"use-karras-sigmas", SETTINGS_SAMPLE, "; Karras' noise levels are timestep_spacing karras"},
        {"instance_prompt", SETTINGS_TRAIN, "'--default-prompt'"},
        {"sample_prompts", SETTINGS_TRAIN, "'--validation-prompt'"},
        {"text_encoder_lr", SETTINGS_TRAIN, "; the text encoder stays as it is"},
        {"local-rank", SETTINGS_TRAIN, "find each other"},
        {"enable_bucket", SETTINGS_TRAIN, "no buckets"},
        {"proportion_empty_prompts", SETTINGS_TRAIN, "'--class-dropout-prob'"},
        {"num_class_images", SETTINGS_TRAIN, "difftune bank"},
    };
    char hint[DT_TEXT_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        settings_hint(hint, cases[i].word, cases[i].verb, true);
        assert_says(hint, cases[i].hint);
    }
    settings_hint(hint, "lr", SETTINGS_SAMPLE, true);
    assert_string_equal(hint, "");
}

static void a_tilde_is_the_home_folder(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text, *value; /* NULL: refused */
    } cases[] = {{"output_dir", "~/run", "/home/of me/run"},
                 {"output_dir", "~", "/home/of me"},
                 {"output_dir", "./~", "./~"},
                 {"output_dir", "a~b", "a~b"},
                 {"output_dir", "~other/run", NULL},
                 {"train_data", "~/set:val", "/home/of me/set:val"},
                 {"title", "~ title", "~ title"},
                 {"runs", "~/a,b,~/c", "/home/of me/a,b,/home/of me/c"},
                 {"runs", "a,~b", NULL}};
    char *before = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("HOME", "/home/of me", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_settings s;
        char value[SETTINGS_VALUE_MAX];
        dt_settings_init(&s);
        assert_int_equal(dt_settings_set(&s, cases[i].key, cases[i].text, NULL, 0),
                         cases[i].value ? DT_OK : DT_ERR_ARG);
        settings_text(value, &s, settings_find(cases[i].key));
        assert_string_equal(value, cases[i].value ? cases[i].value : "");
    }
    dt_settings s;
    unsetenv("HOME");
    dt_settings_init(&s);
    assert_int_equal(dt_settings_set(&s, "bank", "~/x", NULL, 0), DT_ERR_ARG);
    if (before) setenv("HOME", before, 1);
    free(before);
}

static void words_of_yaml(void **state)
{
    (void)state;
    static const struct {
        const char *text, *refused; /* NULL: read */
        bool tensorboard;
        const char *validation, *background;
    } cases[] = {
        {"tensorboard: True\nvalidation_data: null\n", NULL, true, "", "#ffffff"},
        {"tensorboard: off\nvalidation_data: ~\n", NULL, false, "", "#ffffff"},
        {"tensorboard: On\nvalidation_data: NULL\nbackground:\n", NULL, true, "", ""},
        {"bank_labels: null\nguidance_condition: null\n", NULL, true, "", "#ffffff"}, /* of these words it is one */
        {"validation_data: >\n  a\n  b\n", NULL, true, "a b", "#ffffff"},             /* its line end is none of it */
        {"learning_rate: 0x10\n", ":1: learning_rate must be a number", true, "", ""},
        {"max_train_steps: null\n", ":1: max_train_steps must be a whole number", true, "", ""},
        {"tensorboard: NO\nvalidation_data: 'null'\n", NULL, false, "null", "#ffffff"},
        {"validation_data: # none yet\nbackground: \"#102030\"\n", NULL, true, "", "#102030"},
        {"title: caf\xc3\xa9\nbackground: #102030\n", ":2: background has no value: # begins a comment", true, "", ""},
        {"background:   #102030", "# begins a comment", true, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_settings s;
        char message[512] = "";
        dt_settings_init(&s);
        temp_write("words.yaml", cases[i].text, strlen(cases[i].text));
        dt_status status = dt_settings_load(&s, temp_path("words.yaml"), message, sizeof message);
        if (cases[i].refused) {
            assert_int_equal(status, DT_ERR_ARG);
            assert_says(message, cases[i].refused);
            continue;
        }
        if (status != DT_OK) fail_msg("%s", message);
        assert_int_equal(s.tensorboard, cases[i].tensorboard);
        assert_string_equal(s.validation_data, cases[i].validation);
        assert_string_equal(s.background, cases[i].background);
        assert_int_equal(s.max_train_steps, 24000);
        dt_settings again; /* what is written means the same */
        dt_settings_init(&again);
        assert_int_equal(dt_settings_save(&s, temp_path("again.yaml"), NULL, 0), DT_OK);
        assert_int_equal(dt_settings_load(&again, temp_path("again.yaml"), NULL, 0), DT_OK);
        assert_memory_equal(&again, &s, sizeof s);
    }
}

static void an_unknown_key_gets_the_nearest_name(void **state)
{
    (void)state;
    static const char *const typos[][2] = {
        {"learnin-rate", "learning_rate"},       {"max_train_step", "max_train_steps"}, {"etaa", "eta"},
        {"train_bach_size", "train_batch_size"}, {"guidence-scale", "guidance_scale"},
    };
    dt_settings s;
    dt_settings_init(&s);
    for (size_t i = 0; i < sizeof typos / sizeof typos[0]; i++) {
        char message[512];
        assert_int_equal(dt_settings_set(&s, typos[i][0], "1", message, sizeof message), DT_ERR_ARG);
        assert_says(message, typos[i][0]);
        assert_says(message, typos[i][1]);
    }
    char endless[4096];
    memset(endless, 'x', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(dt_settings_set(&s, endless, "1", NULL, 0), DT_ERR_ARG);
}

static void a_short_message_buffer_is_never_overrun(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    char message[8] = "1234567";
    assert_int_equal(dt_settings_set(&s, "nonsense", "1", message, 4), DT_ERR_ARG);
    assert_int_equal(strlen(message), 3);
    assert_string_equal(message + 4, "567");
}

static void numbers_have_a_point_also_where_the_locale_has_a_comma(void **state)
{
    (void)state;
    if (!comma_locale_make()) skip();
    dt_settings s;
    char text[SETTINGS_VALUE_MAX];
    dt_settings_init(&s);
    comma_locale_begin();
    dt_status status = dt_settings_set(&s, "tau", "0.75", NULL, 0);
    settings_text(text, &s, settings_find("tau"));
    comma_locale_end();
    assert_int_equal(status, DT_OK);
    assert_string_equal(text, "0.75");
    assert_true(s.tau == 0.75 && s.learning_rate == 1e-4 && s.ema_decay == 0.9999);
}

/* ---- YAML ---- */

/* A value for every key that is unlike its default and awkward to write. */
static void set_unusual_values(dt_settings *s)
{
    static const char *const texts[] = {"a b", "#hash", "true",       "1e5",
                                        "~",   "null",  "it's \"q\"", "k: v",
                                        "- x", " lead", "trail ",     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                                        "*a",  "&b",    "%c",         "\\n"};
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *k = &settings_keys[i];
        char *member = (char *)s + k->offset;
        switch (k->type) {
        case SETTINGS_TEXT:
            memset(member, 0, k->size);
            snprintf(member, k->size, "%s", texts[i % (int)(sizeof texts / sizeof texts[0])]);
            if (k->path != SETTINGS_NO_PATH && !strcmp(member, "~"))
                snprintf(member, k->size, "./~"); /* ~ is the home folder */
            break;
        case SETTINGS_INT: *(int64_t *)member = (int64_t)(k->min + (k->max - k->min) / 3); break;
        case SETTINGS_REAL: *(double *)member = k->min + (k->max - k->min) / (3 + i); break;
        case SETTINGS_BOOL: *(bool *)member = !*(bool *)member; break;
        case SETTINGS_ENUM: *(int *)member = 1; break;
        }
    }
}

static void saving_and_loading_gives_back_every_bit(void **state)
{
    (void)state;
    dt_settings s, back;
    dt_settings_init(&s);
    set_unusual_values(&s);
    dt_settings_init(&back);
    char message[512] = "";
    assert_int_equal(dt_settings_save(&s, file, message, sizeof message), DT_OK);
    dt_status status = dt_settings_load(&back, file, message, sizeof message);
    if (status != DT_OK) fail_msg("%s", message);
    assert_memory_equal(&s, &back, sizeof s);
}

static void the_longest_texts_survive_a_file(void **state)
{
    (void)state;
    dt_settings s, back;
    dt_settings_init(&s);
    memset(s.train_data, 'x', sizeof s.train_data - 1);
    memset(s.train_data + 500, ' ', 20);
    dt_settings_init(&back);
    assert_int_equal(dt_settings_save(&s, file, NULL, 0), DT_OK);
    assert_int_equal(dt_settings_load(&back, file, NULL, 0), DT_OK);
    assert_memory_equal(&s, &back, sizeof s);
}

static dt_status load_text(dt_settings *s, const char *text, char message[512])
{
    temp_write("settings.yaml", text, strlen(text));
    message[0] = '\0';
    return dt_settings_load(s, file, message, 512);
}

static void a_file_changes_only_the_keys_it_names(void **state)
{
    (void)state;
    dt_settings s, expected;
    dt_settings_init(&s);
    dt_settings_init(&expected);
    expected.depth = 9;
    expected.random_flip = false;
    expected.learning_rate = 0.5;
    snprintf(expected.background, sizeof expected.background, "#102030");
    expected.mixed_precision = DT_PRECISION_F32;
    char message[512];
    const char *text =
        "# mine\ndepth: 9\nrandom_flip: no\nlearning-rate: 0.5\nbackground: '#102030'\nmixed_precision: no\n";
    assert_int_equal(load_text(&s, text, message), DT_OK);
    assert_memory_equal(&s, &expected, sizeof s);
}

static void an_empty_file_changes_nothing(void **state)
{
    (void)state;
    dt_settings s, before;
    dt_settings_init(&s);
    before = s;
    char message[512];
    assert_int_equal(load_text(&s, "", message), DT_OK);
    assert_int_equal(load_text(&s, "# only a comment\n", message), DT_OK);
    assert_memory_equal(&s, &before, sizeof s);
}

/* A text, and two parts of what is said of it; the settings stay as they were. */
static void text_is_refused(const char *const row[3])
{
    dt_settings s, before;
    char message[512];
    dt_settings_init(&s);
    before = s;
    assert_int_equal(load_text(&s, row[0], message), DT_ERR_ARG);
    assert_says(message, row[1]);
    assert_says(message, row[2]);
    assert_memory_equal(&s, &before, sizeof s);
}

static void a_bad_file_is_refused_with_its_line_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"depth: 7\nlerning_rate: 1\n", ":2:", "learning_rate"},
        {"depth: 7\n\n# c\nlearning_rate: fast\n", ":4:", "learning_rate must be a number from 0 to 1000, not 'fast'"},
        {"depth: 7\nseed: 1\ndepth: 8\n", ":3:", "depth is set twice"},
        {"lr_scheduler: cosine\nlr-scheduler: linear\n", ":2:", "lr_scheduler is set twice"},
        {"seed: 1\ndepth: [7]\n", ":2:", "depth needs a single value"},
        {"seed: 1\nema_power: [0.05, [0.1]]\n", ":2:", "ema_power needs a single value"},
        {"seed: 1\nclasses: [cat, 'a,b']\n", ":2:", "classes: an item of its list is empty or holds a comma"},
        {"seed: 1\nclasses:\n- cat\n-\n", ":4:", "classes: an item of its list is empty or holds a comma"},
        {"seed: 1\nclasses: {a: 7}\n", ":2:", "classes needs a single value"},
        {"seed: 1\ndepth: {a: 7}\n", ":2:", "depth needs a single value"},
        {"seed: &x 1\ndepth: *x\n", ":2:", "depth needs a single value"},
        {"seed: 1\ndepth: 7: 8\n", ":2:", "not YAML"},
        {"seed: 1\n\ttitle: x\n", ":2:", "not YAML"},
        {"depth:\n", ":1:", "depth must be a whole number"},
        {"- depth\n", "settings.yaml", "mapping"},
        {"depth\n", "settings.yaml", "mapping"},
        {"seed: 1\n---\nseed: 2\n", "settings.yaml", "documents"},
        {"? [a]\n: 1\n", "settings.yaml", "mapping"},
        {"title: \"two\\nlines\"\n", ":1:", "title must be printable"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) text_is_refused(bad[i]);
}

/* A key that holds a list may be given as one; the file that is written has the text of the flag. */
static void a_list_may_be_a_sequence(void **state)
{
    (void)state;
    static const char text[] = "ema_power: [0.05, 0.1]\nclasses:\n- cat\n- 3-9\nadapter_weights: [a:0.5, b]\n"
                               "guidance_interval: [100, 700]\ntails: []\n"
                               "grid:\n  ema_power: [[0.05, 0.1], 0.2]\n";
    dt_settings s;
    dt_error err = {0};
    settings_study study;
    dt_settings_init(&s);
    temp_write("settings.yaml", text, strlen(text));
    if (settings_load(&s, temp_path("settings.yaml"), &err) != DT_OK) fail_msg("%s", err.message);
    assert_string_equal(s.ema_power, "0.05,0.1");
    assert_string_equal(s.classes, "cat,3-9");
    assert_string_equal(s.adapter_weights, "a:0.5,b");
    assert_string_equal(s.guidance_interval, "100,700");
    assert_string_equal(s.tails, "");
    assert_int_equal(settings_study_load(&study, temp_path("settings.yaml"), &err), DT_OK);
    assert_string_equal(study.axis[0].value.arm[0].override[0].text, "0.05,0.1");
    settings_study_free(&study);
}

static void time_that_a_file_takes_is_bounded(void **state)
{
    (void)state;
    static char text[1 << 20];
    dt_settings s;
    char message[512];
    dt_settings_init(&s);
    memset(text, '[', sizeof text - 1);
    assert_int_equal(load_text(&s, text, message), DT_ERR_ARG);
    text[0] = '\0';
    for (size_t n = 0; n < 30000; n++) sprintf(text + 16 * n, "%%TAG !%06zu! b\n", n);
    assert_int_equal(load_text(&s, text, message), DT_ERR_ARG);
    assert_says(message, "settings.yaml: more than 16 lines begin with %");
    strcpy(text, "arms:\n");
    for (int n = 0; n < 257; n++) sprintf(text + strlen(text), "  a%d: {}\n", n);
    assert_int_equal(load_text(&s, text, message), DT_ERR_ARG);
    assert_says(message, "settings.yaml:258: more than 256 arms");
}

static void a_missing_or_huge_file_is_refused(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    char message[512];
    assert_int_equal(dt_settings_load(&s, "/nonexistent/settings.yaml", message, sizeof message), DT_ERR_IO);
    assert_says(message, "/nonexistent/settings.yaml");
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), 1 << 30), 0);
    fclose(f);
    assert_int_not_equal(dt_settings_load(&s, file, message, sizeof message), DT_OK);
}

/* ---- arms ---- */

static const char two_arms[] = "max_train_steps: 7\n"
                               "arms:\n"
                               "  plain: {method: finetune}\n"
                               "  steep_2:\n"
                               "    tau: 2\n"
                               "    learning-rate: 0.5\n"
                               "  same: {}\n"
                               "seed: 3\n";

static void arms_are_names_with_settings_of_their_own(void **state)
{
    (void)state;
    dt_settings s, plain;
    settings_arms arms;
    dt_error err = {0};
    char message[512];
    dt_settings_init(&s);
    assert_int_equal(load_text(&s, two_arms, message), DT_OK);
    assert_string_equal(s.arms, file);
    assert_true(s.max_train_steps == 7 && s.seed == 3 && s.tau == 1);
    assert_int_equal(settings_arms_load(&arms, s.arms, &err), DT_OK);
    assert_int_equal(arms.count, 3);
    assert_string_equal(arms.arm[0].name, "plain");
    assert_string_equal(arms.arm[1].name, "steep_2");
    assert_int_equal(arms.arm[2].count, 0);
    plain = s;
    settings_arm_apply(&plain, &arms.arm[0]);
    assert_int_equal(plain.method, DT_METHOD_FINETUNE);
    settings_arm_apply(&s, &arms.arm[1]);
    assert_true(s.tau == 2 && s.learning_rate == 0.5 && s.max_train_steps == 7);
    settings_arms_free(&arms);
    assert_int_equal(arms.count, 0);
}

/* What a recipe retains is for the arm of Diff-Tuning. */
static void plain_fine_tuning_retains_nothing_whatever_the_recipe_says(void **state)
{
    (void)state;
    dt_settings s, plain;
    settings_arms arms;
    dt_error err = {0};
    dt_settings_init(&s);
    s.retention = DT_RETENTION_SDFT;
    plain = s;
    assert_int_equal(settings_arms_default(&arms, &err), DT_OK);
    assert_int_equal(arms.count, 2);
    settings_arm_apply(&plain, &arms.arm[0]);
    settings_arm_apply(&s, &arms.arm[1]);
    assert_true(plain.method == DT_METHOD_FINETUNE && plain.retention == DT_RETENTION_NONE);
    assert_true(s.method == DT_METHOD_DIFF_TUNING && s.retention == DT_RETENTION_SDFT);
    settings_arms_free(&arms);
}

static void arms_survive_a_file(void **state)
{
    (void)state;
    dt_settings s, back;
    settings_arms arms, again;
    dt_error err = {0};
    char message[512], copy[512];
    snprintf(copy, sizeof copy, "%s", temp_path("copy.yaml"));
    dt_settings_init(&s);
    assert_int_equal(load_text(&s, two_arms, message), DT_OK);
    assert_int_equal(settings_arms_load(&arms, file, &err), DT_OK);
    const settings_study parts = {.arms = arms};
    assert_int_equal(settings_save_with(&s, &parts, copy, &err), DT_OK);
    dt_settings_init(&back);
    assert_int_equal(settings_load(&back, copy, &err), DT_OK);
    assert_string_equal(back.arms, copy);
    assert_int_equal(settings_arms_load(&again, copy, &err), DT_OK);
    assert_int_equal(again.count, arms.count);
    for (int i = 0; i < arms.count; i++) {
        assert_string_equal(again.arm[i].name, arms.arm[i].name);
        assert_int_equal(again.arm[i].count, arms.arm[i].count);
        for (int k = 0; k < arms.arm[i].count; k++) {
            assert_ptr_equal(again.arm[i].override[k].key, arms.arm[i].override[k].key);
            assert_string_equal(again.arm[i].override[k].text, arms.arm[i].override[k].text);
        }
    }
    memcpy(back.arms, s.arms, sizeof s.arms);
    assert_memory_equal(&s, &back, sizeof s);
    settings_arms_free(&arms);
    settings_arms_free(&again);
}

static void bad_arms_are_refused_with_their_line(void **state)
{
    (void)state;
    static const char *const bad[][3] = {
        {"arms:\n  a: {lerning_rate: 1}\n",
         ":2:", "unknown setting 'lerning_rate'; the nearest one is 'learning_rate'"},
        {"arms:\n  a:\n    tau: 1\n    depth: deep\n",
         ":4:", "depth must be a whole number from 1 to 1024, not 'deep'"},
        {"arms:\n  a: {tau: 1, tau: 2}\n", ":2:", "tau is set twice"},
        {"arms:\n  a: {tau: [1]}\n", ":2:", "tau needs a single value"},
        {"arms:\n  a: {output_dir: x}\n", ":2:", "output_dir cannot be set by an arm"},
        {"arms:\n  a: {runs: x}\n", ":2:", "runs cannot be set by an arm"},
        {"arms:\n  a: {arms: x}\n", ":2:", "arms cannot be set by an arm"},
        {"arms:\n  a: {}\n  b: {}\n  a: {}\n", ":4:", "arm a is there twice"},
        {"arms:\n  a: finetune\n", ":2:", "arm a needs a mapping"},
        {"arms:\n  ../a: {}\n", ":2:", "an arm's name"},
        {"arms:\n  a.b: {}\n", ":2:", "an arm's name"},
        {"arms:\n  '': {}\n", ":2:", "an arm's name"},
        {"arms:\n  -a: {}\n", ":2:", "an arm's name"},
        {"arms:\n  an_arm_with_a_name_that_is_one_letter_too_long_48: {}\n", ":2:", "1 to 47"},
        {"arms: {}\n", ":1:", "arms names no arm"},
        {"arms: [a]\n", ":1:", "arms needs names with settings"},
        {"arms: {a: {}}\narms: {b: {}}\n", ":2:", "arms is set twice"},
        {"seed: {a: {}}\n", ":1:", "seed needs a single value"},
        {"arms:\n  a: {title: \"x\\0y\"}\n", ":2:", "title cannot be set by an arm"},
        {"arms:\n  a: {model: \"x\\0y\"}\n", ":2:", "model holds a zero byte"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        settings_arms arms;
        dt_error err = {0};
        text_is_refused(bad[i]);
        assert_int_equal(settings_arms_load(&arms, file, &err), DT_ERR_ARG);
        assert_int_equal(arms.count, 0);
    }
    settings_arms arms;
    dt_error err = {0};
    temp_write("settings.yaml", "seed: 1\n", 8);
    assert_int_equal(settings_arms_load(&arms, file, &err), DT_ERR_ARG);
    assert_says(err.message, "has no mapping 'arms'");
}

/* Every prefix and many single-byte changes of a good file: refused or read, never a crash or a value out of range. */
static void damaged_files_never_give_values_out_of_range(void **state)
{
    (void)state;
    dt_settings s;
    dt_settings_init(&s);
    assert_int_equal(dt_settings_save(&s, file, NULL, 0), DT_OK);
    static char good[65536], damaged[65536];
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    size_t size = fread(good, 1, sizeof good, f);
    fclose(f);
    uint32_t noise = 12345;
    for (int trial = 0; trial < 1500; trial++) {
        memcpy(damaged, good, size);
        noise = noise * 1664525u + 1013904223u;
        size_t at = (noise >> 8) % size;
        damaged[at] = (char)(noise >> 3);
        temp_write("settings.yaml", damaged, trial % 2 ? size : at);
        dt_settings got;
        dt_settings_init(&got);
        dt_settings_load(&got, file, NULL, 0);
        for (int i = 0; i < settings_key_count; i++) assert_true(settings_in_range(&got, &settings_keys[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete_and_its_default_is_allowed),
        cmocka_unit_test(every_member_of_the_struct_has_exactly_one_row),
        cmocka_unit_test(rows_of_a_group_stand_together),
        cmocka_unit_test(defaults_are_those_of_the_paper_but_for_what_is_kept),
        cmocka_unit_test(the_identity_of_a_run_is_what_it_was),
        cmocka_unit_test(a_stage_is_recognised_by_what_it_was),
        cmocka_unit_test(words_are_asked_for_by_the_name_of_their_key),
        cmocka_unit_test(samplers_are_known_by_the_names_of_diffusers),
        cmocka_unit_test(hyphens_and_underscores_are_the_same),
        cmocka_unit_test(text_that_is_not_allowed_is_refused_and_changes_nothing),
        cmocka_unit_test(a_refusal_says_what_is_allowed),
        cmocka_unit_test(the_ends_of_a_range_are_allowed),
        cmocka_unit_test(a_text_that_just_fits_is_kept_and_a_longer_one_refused),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_name),
        cmocka_unit_test(what_is_far_from_every_name_gets_none),
        cmocka_unit_test(words_of_other_programs_are_known),
        cmocka_unit_test(a_tilde_is_the_home_folder),
        cmocka_unit_test(words_of_yaml),
        cmocka_unit_test(a_short_message_buffer_is_never_overrun),
        cmocka_unit_test(numbers_have_a_point_also_where_the_locale_has_a_comma),
        cmocka_unit_test(saving_and_loading_gives_back_every_bit),
        cmocka_unit_test(the_longest_texts_survive_a_file),
        cmocka_unit_test(a_file_changes_only_the_keys_it_names),
        cmocka_unit_test(an_empty_file_changes_nothing),
        cmocka_unit_test(a_bad_file_is_refused_with_its_line_and_changes_nothing),
        cmocka_unit_test(a_list_may_be_a_sequence),
        cmocka_unit_test(time_that_a_file_takes_is_bounded),
        cmocka_unit_test(a_missing_or_huge_file_is_refused),
        cmocka_unit_test(arms_are_names_with_settings_of_their_own),
        cmocka_unit_test(plain_fine_tuning_retains_nothing_whatever_the_recipe_says),
        cmocka_unit_test(arms_survive_a_file),
        cmocka_unit_test(bad_arms_are_refused_with_their_line),
        cmocka_unit_test(damaged_files_never_give_values_out_of_range),
    };
    return cmocka_run_group_tests_name("settings", tests, make_folder, temp_folder_remove);
}
