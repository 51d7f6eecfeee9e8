/* A SiT as a base: what says that a file is one, every verb on it, and what is refused. Its tensors are a DiT's. */
#include "file/folder.h"
#include "run_fixture.h"

#include <jansson.h>

#include "container/tensor_open.h"
#include "diffusion/flow.h"
#include "tiny_network.h"

/* ---- files ---- */

/* The tensors of one file in another, whose metadata is these pairs. */
static void copy(const char *to, const char *from, const metadata_pair pair[], size_t pair_count)
{
    tensor_file f;
    dt_error err = {0};
    tensor_source source[64];
    if (tensor_file_open(&f, temp_path(from), &err) != DT_OK) fail_msg("%s", err.message);
    assert_true(f.count <= 64);
    for (size_t i = 0; i < f.count; i++) {
        const tensor_entry *e = &f.entries[i];
        source[i] = (tensor_source){
            .name = e->name, .dtype = e->dtype, .dim_count = e->dim_count, .dims = e->dims, .values = e->data};
    }
    if (safetensors_write(temp_path(to), source, f.count, pair, pair_count, NULL, &err) != DT_OK)
        fail_msg("%s", err.message);
    tensor_file_close(&f);
}

static const metadata_pair heads = {"difftune.heads", "2"};

/* bare.safetensors says its heads alone; says.safetensors that it is a SiT. */
static int make(void **state)
{
    dit_config k = fixture_config();
    dt_error err = {0};
    k.flow = true;
    if (fixture_make(state) || file_make_dirs(temp_path("SiT-XL"), &err) != DT_OK) return -1;
    fixture_base("says.safetensors", k, 13);
    copy("bare.safetensors", "says.safetensors", &heads, 1);
    return 0;
}

static dt_settings settings_of(const char *model, const char *output)
{
    dt_settings s = fixture_settings(output);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path(model));
    snprintf(s.output, sizeof s.output, "%s", temp_path(output));
    s.sampler = DT_SAMPLER_EULER;
    s.num_inference_steps = 3;
    s.num_samples = 4;
    return s;
}

/* Opens the file as these settings say; its hash, as runs and banks know it, in *sha256. */
static dt_status open_as(const char *name, dt_process asked, bool *flow, char sha256[65])
{
    ctx c;
    denoiser d;
    model_info info = {0};
    dt_settings s = settings_of(name, "");
    s.process = asked;
    const dt_observer observer = {.log = fixture_collect};
    const model_choice choice = model_choice_of(&s, &observer);
    fixture_log[0] = '\0';
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    const dt_status status = denoiser_load_as(&c, &d, &info, s.pretrained_model, &choice, model_kinds_all);
    if (status == DT_OK) {
        *flow = process_is_flow(&d.process);
        assert_string_equal(d.ops->kind, *flow ? "SiT" : "DiT");
        snprintf(sha256, 65, "%s", info.sha256);
    }
    snprintf(fixture_message, sizeof fixture_message, "%s", c.error.message);
    model_info_free(&info);
    ctx_close(&c);
    return status;
}

static void assert_opens(const char *name, dt_process asked, bool flow)
{
    bool found;
    char sha256[65];
    if (open_as(name, asked, &found, sha256) != DT_OK) fail_msg("%s: %s", name, fixture_message);
    if (found != flow) fail_msg("%s is %s", name, found ? "a flow" : "no flow");
}

static void assert_refuses(const char *name, dt_process asked, dt_status status, const char *part)
{
    bool flow;
    char sha256[65];
    const dt_status found = open_as(name, asked, &flow, sha256);
    if (found != status) fail_msg("%s: status %d: %s", name, found, fixture_message);
    assert_says(fixture_message, part);
    assert_null(strchr(fixture_message, '\n'));
}

static void metadata_or_the_setting_says_it(void **state)
{
    (void)state;
    assert_opens("says.safetensors", DT_PROCESS_AUTO, true);
    assert_opens("says.safetensors", DT_PROCESS_SIT, true);
    assert_opens("bare.safetensors", DT_PROCESS_SIT, true);
    assert_opens("bare.safetensors", DT_PROCESS_DDPM, false);
    assert_string_equal(fixture_log, "");
    assert_opens("bare.safetensors", DT_PROCESS_AUTO, false);
    assert_says(fixture_log, "taken for a DiT, which predicts noise (a SiT looks the same and needs process sit)");
    assert_opens("base.safetensors", DT_PROCESS_DDPM, false);
    copy("plain.safetensors", "bare.safetensors", (metadata_pair[]){heads, {"process", "sit"}}, 2);
    assert_opens("plain.safetensors", DT_PROCESS_AUTO, true);
    copy("ddpm.safetensors", "bare.safetensors", (metadata_pair[]){heads, {"difftune.process", "ddpm"}}, 2);
    assert_opens("ddpm.safetensors", DT_PROCESS_AUTO, false);
    assert_string_equal(fixture_log, "");
}

static void a_contradiction_is_refused(void **state)
{
    (void)state;
    copy("ddpm.safetensors", "bare.safetensors", (metadata_pair[]){heads, {"difftune.process", "ddpm"}}, 2);
    copy("other.safetensors", "bare.safetensors", (metadata_pair[]){heads, {"difftune.process", "edm"}}, 2);
    assert_refuses("says.safetensors", DT_PROCESS_DDPM, DT_ERR_ARG,
                   "the model's process is sit, process ddpm was asked for");
    assert_refuses("ddpm.safetensors", DT_PROCESS_SIT, DT_ERR_ARG,
                   "the model's process is ddpm, process sit was asked for");
    assert_refuses("base.safetensors", DT_PROCESS_SIT, DT_ERR_ARG, "the model's process is ddpm"); /* ours, and a DiT */
    for (int asked = DT_PROCESS_AUTO; asked <= DT_PROCESS_SIT; asked++)
        assert_refuses("other.safetensors", (dt_process)asked, DT_ERR_FORMAT, "states process edm, ddpm or sit");
    dt_settings s = settings_of("base.safetensors", "diffusers");
    s.save_model_as = DT_MODEL_DIFFUSERS;
    fixture_must(dt_convert, &s);
    assert_opens("diffusers", DT_PROCESS_AUTO, false);
    assert_refuses("diffusers", DT_PROCESS_SIT, DT_ERR_ARG, "the model's process is ddpm");
}

/* A word of its own, in the file's name, its folder's, or that of a folder that was given. */
static void a_file_that_is_called_sit_is_not_taken_for_a_dit(void **state)
{
    (void)state;
    static const char *const names[] = {"SiT-XL-2-256.safetensors", "sit_tuned.safetensors", "my-SIT.safetensors",
                                        "SiT-XL/model.safetensors"};
    static const char *const others[] = {"visit-1.safetensors", "sitting.safetensors", "transit_x.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        copy(names[i], "bare.safetensors", &heads, 1);
        assert_refuses(names[i], DT_PROCESS_AUTO, DT_ERR_ARG, "say which it is by process sit or ddpm");
        assert_opens(names[i], DT_PROCESS_SIT, true);
        assert_opens(names[i], DT_PROCESS_DDPM, false);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        copy(others[i], "bare.safetensors", &heads, 1);
        assert_opens(others[i], DT_PROCESS_AUTO, false);
    }
    copy("SiT-XL/model.safetensors", "base.safetensors", (metadata_pair[]){heads, {"difftune.tool", "x"}}, 2);
    assert_opens("SiT-XL/model.safetensors", DT_PROCESS_AUTO, false); /* what this program wrote is what it says */
}

/* A bank of the file as a DiT is not one of the file as a SiT. */
static void each_process_has_a_hash_of_its_own(void **state)
{
    (void)state;
    char unsaid[65], ddpm[65], sit[65];
    bool flow;
    assert_int_equal(open_as("bare.safetensors", DT_PROCESS_AUTO, &flow, unsaid), DT_OK);
    assert_int_equal(open_as("bare.safetensors", DT_PROCESS_DDPM, &flow, ddpm), DT_OK);
    assert_int_equal(open_as("bare.safetensors", DT_PROCESS_SIT, &flow, sit), DT_OK);
    assert_string_equal(unsaid, ddpm);
    assert_string_not_equal(sit, ddpm);
}

static void a_network_of_another_kind_is_no_sit(void **state)
{
    (void)state;
    static const model_kind *const kinds[] = {&tiny_kind, &dit_kind, NULL};
    ctx c;
    denoiser d;
    model_file f;
    const model_size size = {.name = "tiny", .flow = true, .shape = {3, 8, 8}, .class_count = 2};
    assert_int_equal(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO), DT_OK);
    assert_int_equal(denoiser_new(&c, &d, &size, 1, kinds), DT_ERR_ARG);
    assert_says(c.error.message, "the network is no SiT");
    error_clear(&c.error);
    tiny_network *m = tiny_new(&c, &d, size.shape, 2);
    assert_non_null(m);
    assert_int_equal(tiny_write(&c, &d, &(denoiser_file){.path = temp_path("tiny.safetensors")}), DT_OK);
    const model_choice choice = {.process = DT_PROCESS_SIT};
    assert_int_equal(model_file_open_as(&f, temp_path("tiny.safetensors"), &choice, kinds, &c.error), DT_ERR_ARG);
    assert_says(c.error.message, "its network is no SiT");
    ctx_close(&c);
}

/* ---- what is written ---- */

static void every_file_that_is_written_says_it(void **state)
{
    (void)state;
    char *json = NULL;
    dt_context *c = NULL;
    dt_settings s = settings_of("bare.safetensors", "written");
    s.process = DT_PROCESS_SIT;
    s.metadata = false;
    s.bank[0] = '\0';
    s.method = DT_METHOD_FINETUNE;
    s.save_model_as = DT_MODEL_PT;
    s.checkpointing_steps = 6;
    fixture_train_to_the_end(&s);
    assert_opens("written", DT_PROCESS_AUTO, true);
    assert_opens("written/final/model.pt", DT_PROCESS_AUTO, true);
    assert_opens("written/checkpoints/step-00000006", DT_PROCESS_AUTO, true);
    assert_opens("written/checkpoints/step-00000006/model.safetensors", DT_PROCESS_AUTO, true);
    assert_int_equal(dt_open(&c, &s), DT_OK);
    assert_int_equal(dt_inspect(c, temp_path("written/final/model.safetensors"), &json), DT_OK);
    assert_says(json, "\"difftune.process\": \"sit\"");
    free(json);
    dt_close(c);
}

static void converting_keeps_it_and_changes_no_bit(void **state)
{
    (void)state;
    dt_settings s = settings_of("bare.safetensors", "converted.pt");
    s.process = DT_PROCESS_SIT;
    s.save_model_as = DT_MODEL_PT;
    fixture_must(dt_convert, &s);
    s = settings_of("converted.pt", "converted.safetensors");
    fixture_must(dt_convert, &s);
    assert_opens("converted.safetensors", DT_PROCESS_AUTO, true);
    assert_same_bits(fixture_tensors(temp_path("converted.safetensors")),
                     fixture_tensors(temp_path("bare.safetensors")));
    s = settings_of("converted.pt", "as_dit");
    s.save_model_as = DT_MODEL_DIFFUSERS;
    assert_int_equal(fixture_call_until(dt_convert, &s, -1), DT_ERR_UNSUPPORTED);
    assert_says(fixture_message, "diffusers has no SiT");
    assert_false(file_exists(temp_path("as_dit")));
}

/* ---- runs ---- */

static void the_setting_trains_what_the_metadata_trains(void **state)
{
    (void)state;
    dt_settings s = settings_of("says.safetensors", "");
    const file_hash said = fixture_bits(s);
    s = settings_of("bare.safetensors", "");
    s.label_init = DT_LABEL_ROWS; /* says.safetensors has the names of its classes, bare.safetensors has not */
    s.process = DT_PROCESS_SIT;
    assert_same_bits(fixture_bits(s), said);
    s.process = DT_PROCESS_DDPM;
    s.sampler = DT_SAMPLER_DDIM;
    assert_string_not_equal(fixture_bits(s).hex, said.hex);
}

static void a_stopped_run_ends_in_the_same_bits(void **state)
{
    (void)state;
    dt_settings s = settings_of("says.safetensors", "whole");
    fixture_train_to_the_end(&s);
    s = settings_of("says.safetensors", "parts");
    assert_int_equal(fixture_train(&s, 2), DT_ERR_INTERRUPTED);
    assert_int_equal(fixture_train(&s, 3), DT_ERR_INTERRUPTED);
    fixture_train_to_the_end(&s);
    assert_same_bits(fixture_result("parts"), fixture_result("whole"));
}

/* Its own bank, Diff-Tuning on it with everything that is measured, samples of the result, their distance to the pictures. */
static void it_goes_through_every_verb(void **state)
{
    (void)state;
    dt_settings s = settings_of("says.safetensors", "tuned");
    snprintf(s.bank, sizeof s.bank, "%s", temp_path("bank"));
    snprintf(s.validation_data, sizeof s.validation_data, "%s", temp_path("held"));
    s.bank_size = 6;
    s.sampler = DT_SAMPLER_HEUN;
    s.validation_steps = s.sample_steps = s.eval_steps = 3;
    s.eval_count = s.validation_count = 6;
    fixture_must(dt_bank, &s);
    fixture_train_to_the_end(&s);
    assert_says(fixture_log, "psi n^tau");
    assert_says(fixture_log, "step 6: validation loss on the bank");
    assert_says(fixture_log, "step 6: FD-base");
    assert_true(file_exists(temp_path("tuned/samples/step_00000006.png")));
    const file_hash measured = fixture_result("tuned");
    s.validation_steps = s.sample_steps = s.eval_steps = 0;
    assert_same_bits(fixture_bits(s), measured); /* measuring changes nothing */

    s = settings_of("tuned", "drawn");
    fixture_must(dt_sample, &s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("says.safetensors"));
    snprintf(s.reference, sizeof s.reference, "%s", temp_path("held"));
    snprintf(s.candidate, sizeof s.candidate, "%s", temp_path("drawn/images"));
    dt_context *c = NULL;
    dt_eval_result result;
    assert_int_equal(dt_open(&c, &s), DT_OK);
    if (dt_eval(c, &s, &(dt_observer){0}, &result) != DT_OK) fail_msg("%s", dt_message(c));
    dt_close(c);
}

/* The base of an adapter is the file as the SiT it was trained on. */
static void an_adapter_keeps_to_the_process_of_its_base(void **state)
{
    (void)state;
    dt_settings s = settings_of("bare.safetensors", "lora");
    s.process = DT_PROCESS_SIT;
    s.adapter = DT_ADAPTER_LORA;
    fixture_train_to_the_end(&s);
    snprintf(s.output_dir, sizeof s.output_dir, "%s", temp_path("of_lora"));
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", temp_path("lora"));
    fixture_must(dt_sample, &s);
    s.process = DT_PROCESS_DDPM;
    s.sampler = DT_SAMPLER_DDIM;
    assert_int_equal(fixture_call_until(dt_sample, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "trained on another base");
}

static void two_processes_do_not_mix(void **state)
{
    (void)state;
    dt_settings s = settings_of("says.safetensors", "mixed");
    snprintf(s.blend, sizeof s.blend, "%s:0.5", temp_path("base.safetensors"));
    assert_int_equal(fixture_call_until(dt_sample, &s, -1), DT_ERR_ARG);
    assert_says(fixture_message, "one of the two models is a SiT, the other is none");
    s.process = DT_PROCESS_SIT;
    snprintf(s.blend, sizeof s.blend, "%s:0.5", temp_path("bare.safetensors"));
    fixture_must(dt_sample, &s);
}

static void a_new_sit_can_be_trained_from_nothing(void **state)
{
    (void)state;
    dt_settings s = settings_of("", "new");
    s.pretrained_model[0] = s.bank[0] = '\0';
    s.method = DT_METHOD_PRETRAIN;
    s.process = DT_PROCESS_SIT;
    s.resolution = FIXTURE_SIZE;
    s.hidden_size = 16;
    s.depth = 1;
    s.num_heads = 2;
    fixture_train_to_the_end(&s);
    assert_opens("new", DT_PROCESS_AUTO, true);
    s.process = DT_PROCESS_AUTO;
    s.max_train_steps++;
    assert_int_equal(fixture_train(&s, -1), DT_ERR_CONFLICT);
    assert_says(fixture_message, "with model custom, a SiT, this call has custom");
}

/* Before a picture is encoded, and nothing is written. */
static void what_a_sit_has_not_is_refused_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *said;
    } wrong[] = {{"sampler", "ddim", "sampler must be euler or heun"},
                 {"sampler", "ddpm", "sampler must be euler or heun"},
                 {"timestep_spacing", "leading", "evenly spaced; leave out timestep_spacing"},
                 {"eta", "0.5", "eta is for sampler ddim; euler has no such choice"},
                 {"save_model_as", "diffusers", "diffusers has no SiT"},
                 {"process", "ddpm", "the model's process is sit"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dt_settings s = settings_of("says.safetensors", "refused");
        s.sample_steps = 3;
        assert_int_equal(dt_settings_set(&s, wrong[i].key, wrong[i].value, NULL, 0), DT_OK);
        assert_int_not_equal(fixture_train(&s, -1), DT_OK);
        assert_says(fixture_message, wrong[i].said);
        assert_null(strstr(fixture_log, "images of"));
        assert_false(file_exists(temp_path("refused")));
        if (!strcmp(wrong[i].key, "save_model_as")) continue;
        assert_int_not_equal(fixture_call_until(dt_sample, &s, -1), DT_OK);
        assert_says(fixture_message, wrong[i].said);
        snprintf(s.bank, sizeof s.bank, "%s", temp_path("refused"));
        assert_int_not_equal(fixture_call_until(dt_bank, &s, -1), DT_OK);
        assert_says(fixture_message, wrong[i].said);
        assert_false(file_exists(temp_path("refused")));
    }
}

/* ---- predict ---- */

enum { N = 3, VALUES = 3 * FIXTURE_SIZE * FIXTURE_SIZE };

static float image_x0[N * VALUES], image_noise[N * VALUES];
static const int64_t image_dims[4] = {N, 3, FIXTURE_SIZE, FIXTURE_SIZE};

/* x0, noise, t and y; the times may be of either type. */
static void write_input(safetensors_dtype dtype, const void *t)
{
    static const int64_t y[N] = {0, 2, 3}, n = N;
    dt_error err = {0};
    rng_normal(image_x0, N * VALUES, (rng_key){.seed = 1, .purpose = RNG_NOISE});
    rng_normal(image_noise, N * VALUES, (rng_key){.seed = 2, .purpose = RNG_NOISE});
    const tensor_source source[] = {
        {.name = "x0", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = image_dims, .values = image_x0},
        {.name = "noise", .dtype = SAFETENSORS_F32, .dim_count = 4, .dims = image_dims, .values = image_noise},
        {.name = "t", .dtype = dtype, .dim_count = 1, .dims = &n, .data = t},
        {.name = "y", .dtype = SAFETENSORS_I64, .dim_count = 1, .dims = &n, .data = y}};
    safetensors_write(temp_path("input.safetensors"), source, 4, NULL, 0, NULL, &err);
    assert_int_equal(err.status, DT_OK);
}

static dt_status predict(void)
{
    dt_context *c = NULL;
    dt_settings s = settings_of("says.safetensors", "output.safetensors");
    snprintf(s.input, sizeof s.input, "%s", temp_path("input.safetensors"));
    s.gradients = true;
    assert_int_equal(dt_open(&c, &s), DT_OK);
    const dt_status status = dt_predict(c, &s);
    snprintf(fixture_message, sizeof fixture_message, "%s", dt_message(c));
    dt_close(c);
    return status;
}

static void read_output(float *into, const char *name, int64_t count)
{
    tensor_file f;
    dt_error err = {0};
    assert_int_equal(safetensors_open(&f, temp_path("output.safetensors"), &err), DT_OK);
    const tensor_entry *e = tensor_file_find(&f, name);
    assert_true(e && e->count == count);
    assert_int_equal(tensor_read_f32(into, e, &err), DT_OK);
    tensor_file_close(&f);
}

static void predict_is_told_times_from_0_to_1(void **state)
{
    (void)state;
    static float out[N * VALUES], xt[N * VALUES], last[2 * 3 * 4 * 4];
    const float t[N] = {0, 0.375F, 1}, late[N] = {0, 1.5F, 1}, early[N] = {0, -0.25F, 1};
    float mse[N];
    const int64_t steps[N] = {0, 500, 999};
    write_input(SAFETENSORS_F32, t);
    if (predict() != DT_OK) fail_msg("%s", fixture_message);
    read_output(out, "out", N * VALUES); /* not twice as many: the second half is no variance */
    read_output(xt, "x_t", N * VALUES);
    read_output(mse, "mse", N);
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int j = i * VALUES; j < (i + 1) * VALUES; j++) {
            const double x0 = (double)image_x0[j], noise = (double)image_noise[j], at = (double)t[i];
            assert_true(fabs((double)xt[j] - (at * x0 + (1 - at) * noise)) < 1e-6);
            sum += pow((double)out[j] - (x0 - noise), 2) / VALUES;
        }
        assert_true(fabs(sum - (double)mse[i]) < 1e-5 * sum);
    }
    read_output(last, "grad.final_layer.linear.bias",
                2 * 3 * 4 * 4); /* of a pixel: 3 channels, and 3 that are dropped */
    for (int i = 0; i < 2 * 3 * 4 * 4; i++) assert_true((i % 6 < 3) == (last[i] != 0));
    write_input(SAFETENSORS_F32, late);
    assert_int_equal(predict(), DT_ERR_ARG);
    assert_says(fixture_message, "tensor t: entry 1 is 1.5, 0 to 1 expected");
    write_input(SAFETENSORS_F32, early);
    assert_int_equal(predict(), DT_ERR_ARG);
    write_input(SAFETENSORS_I64, steps);
    assert_int_equal(predict(), DT_ERR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_or_the_setting_says_it),
        cmocka_unit_test(a_contradiction_is_refused),
        cmocka_unit_test(a_file_that_is_called_sit_is_not_taken_for_a_dit),
        cmocka_unit_test(each_process_has_a_hash_of_its_own),
        cmocka_unit_test(a_network_of_another_kind_is_no_sit),
        cmocka_unit_test(every_file_that_is_written_says_it),
        cmocka_unit_test(converting_keeps_it_and_changes_no_bit),
        cmocka_unit_test(the_setting_trains_what_the_metadata_trains),
        cmocka_unit_test(a_stopped_run_ends_in_the_same_bits),
        cmocka_unit_test(it_goes_through_every_verb),
        cmocka_unit_test(an_adapter_keeps_to_the_process_of_its_base),
        cmocka_unit_test(two_processes_do_not_mix),
        cmocka_unit_test(a_new_sit_can_be_trained_from_nothing),
        cmocka_unit_test(what_a_sit_has_not_is_refused_at_once),
        cmocka_unit_test(predict_is_told_times_from_0_to_1),
    };
    return cmocka_run_group_tests_name("SiT", tests, make, temp_folder_remove);
}
