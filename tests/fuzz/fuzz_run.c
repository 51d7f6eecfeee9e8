/* libFuzzer target: any bytes as the files of a run that is gone on with: run.json, of its checkpoint manifest.json, state.json
 * and tensors of any names and shapes (fuzz_tensors.h) as its weights, and tensors as the finished model. A part that is left
 * empty is the good one; so is a manifest's word on what comes behind it. */
#include "fuzz_tensors.h"

#include "fuzz_dit.h"
#include "image/image.h"
#include "run/checkpoint.h"
#include "run/run_folder.h"

#define CHECKPOINT "run/checkpoints/step-00000001"
enum { BYTES_MAX = 1 << 16 };

static const char *const files[] = {CHECKPOINT "/model.safetensors",     CHECKPOINT "/ema.safetensors",
                                    CHECKPOINT "/optimizer.safetensors", CHECKPOINT "/state.json",
                                    CHECKPOINT "/manifest.json",         "run/run.json"};
enum { MODEL, EMA, OPTIMIZER, STATE, MANIFEST, RUN, FILES };

static fuzz_bytes good[FILES];
static const dt_observer nobody;
static dt_settings s;
static training run;
static ctx c; /* lasts, with the run in it */

/* A run of one step, opened as a call that goes on would. */
static void make_run(void)
{
    static const uint8_t rgb[2 * 2 * 3];
    dt_error err = {0};
    fuzz_put_dit("base.safetensors", 3, 1);
    fuzz_make_dirs("data/c0");
    assert(image_write_png(fuzz_path("data/c0/0.png"), rgb, 2, 2, NULL, 0, &err) == DT_OK);
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "%s", fuzz_path("base.safetensors"));
    snprintf(s.train_data, sizeof s.train_data, "%s", fuzz_path("data"));
    snprintf(s.output_dir, sizeof s.output_dir, "%s", fuzz_path("run"));
    s.method = DT_METHOD_FINETUNE;
    s.threads = s.max_train_steps = s.train_batch_size = 1;
    s.validation_steps = s.sample_steps = 0;
    s.tensorboard = false;
    assert(dt_train(fuzz_context(), &s, &nobody) == DT_OK);
    for (int i = 0; i < FILES; i++) good[i] = fuzz_get(files[i]);
    assert(ctx_open(&c, DT_DEVICE_CPU, 1, DT_ISA_AUTO) == DT_OK);
    assert(training_open(&run, &c, &s, &nobody, model_kinds_all) == DT_OK);
}

/* The manifest of a checkpoint as it lies there. */
static void write_manifest(void)
{
    char text[1024] = "{";
    for (int i = 0; i < MANIFEST; i++) {
        file_hash hash;
        dt_error err = {0};
        assert(file_sha256(&hash, fuzz_path(files[i]), &err) == DT_OK);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s\"%s\":\"%s\"", i ? "," : "",
                 file_base_name(files[i]), hash.hex);
    }
    strcat(text, "}");
    fuzz_put(files[MANIFEST], fuzz_text(text));
}

static void write_files(fuzz_bytes rest)
{
    const fuzz_bytes description = fuzz_part(&rest), manifest = fuzz_part(&rest), state = fuzz_part(&rest),
                     weights = fuzz_part(&rest);
    for (int i = 0; i <= OPTIMIZER; i++) {
        if (weights.size)
            fuzz_put_tensors(files[i], weights, BYTES_MAX);
        else
            fuzz_put(files[i], good[i]);
    }
    fuzz_put(files[RUN], description.size ? description : good[RUN]);
    fuzz_put(files[STATE], state.size ? state : good[STATE]);
    if (manifest.size)
        fuzz_put(files[MANIFEST], manifest);
    else
        write_manifest();
    fuzz_put_tensors("run/final/model.safetensors", rest, BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!good[0].data) make_run();
    write_files((fuzz_bytes){data, size});
    run.trainer.step = 0;
    run.saved_step = -1;
    dt_error err = {0};
    run_folder_look(&run, &err);
    fuzz_check_error(&err);
    if (checkpoint_resume(&run) == DT_OK) {
        assert(run.trainer.step >= 0 && run.trainer.skipped >= 0);
        run_folder_check_length(&run, &c.error);
    }
    fuzz_check_error(&c.error);
    error_clear(&c.error);
    arena_clear(&c.step);
    arena_clear(&c.scratch);
    return 0;
}
