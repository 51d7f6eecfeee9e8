/* The rules across keys: what each verb needs, and settings that contradict each other. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "file/folder.h"
#include "temp_folder.h"
#include "api/settings_check.h"
#include "api/settings_paths.h"
#include "api/settings_unused.h"

static dt_settings good_train(void)
{
    dt_settings s;
    dt_settings_init(&s);
    snprintf(s.pretrained_model, sizeof s.pretrained_model, "base.safetensors");
    snprintf(s.train_data, sizeof s.train_data, "images");
    snprintf(s.bank, sizeof s.bank, "bank");
    snprintf(s.output_dir, sizeof s.output_dir, "run");
    return s;
}

/* Puts "key=value key=value" on top of `s`; the check must fail and mention `part`, or pass if `part` is NULL. */
static void assert_check(dt_settings s, settings_verb verb, const char *changes, const char *part)
{
    char text[512];
    snprintf(text, sizeof text, "%s", changes);
    for (char *rest, *item = strtok_r(text, " ", &rest); item; item = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(item, '=');
        *value++ = '\0';
        assert_int_equal(dt_settings_set(&s, item, value, NULL, 0), DT_OK);
    }
    dt_error err = {0};
    dt_status status = settings_check(&s, verb, &err);
    if (part && status == DT_OK) fail_msg("'%s' was not refused", changes);
    if (part) assert_says(err.message, part);
    if (!part && status != DT_OK) fail_msg("'%s' was refused: %s", changes, err.message);
}

static void collect(void *user, const char *line)
{
    snprintf(user, DT_MESSAGE_MAX, "%s", line);
}

/* What is told of settings that change nothing; "" for nothing. */
static void assert_told(settings_verb verb, const char *changes, const char *told)
{
    char text[512], line[DT_MESSAGE_MAX] = "";
    const dt_observer observer = {.user = line, .log = collect};
    dt_settings s = good_train();
    snprintf(text, sizeof text, "%s", changes);
    for (char *rest, *item = strtok_r(text, " ", &rest); item; item = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(item, '=');
        *value++ = '\0';
        assert_int_equal(dt_settings_set(&s, item, value, NULL, 0), DT_OK);
    }
    settings_tell_unused(&s, verb, &observer);
    if (told[0])
        assert_says(line, told);
    else
        assert_string_equal(line, "");
}

static void settings_that_change_nothing_are_told(void **state)
{
    (void)state;
    assert_told(SETTINGS_TRAIN, "tau=2 preset=released", "");
    assert_told(SETTINGS_TRAIN, "method=finetune tau=2 preset=released",
                "preset (method diff-tuning), tau (method diff-tuning)");
    assert_told(SETTINGS_TRAIN, "adapter=lora vpt_tokens=3 lora_rank=4", "vpt_tokens (adapter vpt-deep)");
    assert_told(SETTINGS_TRAIN, "psi=snr tau=2", "tau (psi power, or xi mirror)");
    assert_told(SETTINGS_TRAIN, "psi=snr tau=2 xi=mirror", "");
    assert_told(SETTINGS_TRAIN, "cache_dir=c", "cache_dir (vae, control or text_encoder)");
    assert_told(SETTINGS_TRAIN, "cache_dir=c vae=v", "");
    assert_told(SETTINGS_TRAIN, "eval_count=9", "eval_count (eval_steps)");
    assert_told(SETTINGS_BANK, "guidance_scale=4", "guidance_scale (bank_labels classes)");
    assert_told(SETTINGS_BANK, "guidance_scale=4 bank_labels=classes", "");
    assert_told(SETTINGS_SAMPLE, "feature=squeezenet feature_weights=w", "feature_weights (save_statistics)");
    assert_told(SETTINGS_SAMPLE, "feature=squeezenet feature_weights=w save_statistics=s", "");
    assert_told(SETTINGS_SAMPLE, "tail=0.5", "tail (tail_model)");
    assert_told(SETTINGS_SAMPLE, "tail=0.5 tail_model=m", "");
    assert_told(SETTINGS_IDEAL, "pretrained_model= cache_dir=c num_heads=2",
                "num_heads (pretrained_model), cache_dir (vae)");
    assert_told(SETTINGS_IDEAL, "cache_dir=c vae=v num_heads=2 pretrained_model=m", "");
    assert_told(SETTINGS_EVAL, "inception_resize=clean", "inception_resize (feature inception)");
    assert_told(SETTINGS_EVAL, "resolution=9", "resolution (other features than base)");
    assert_told(SETTINGS_EVAL, "resolution=9 feature=squeezenet num_heads=2", "num_heads (feature base)");
}

static void train_says_what_it_needs_and_what_contradicts(void **state)
{
    (void)state;
    static const char *const rules[][2] = {
        {"", NULL},
        {"train_data=", "train needs train_data"},
        {"output_dir=", "train needs output_dir"},
        {"pretrained_model=", "train needs pretrained_model"},
        {"preset=paper bank=", "needs bank"},
        {"bank= method=finetune", NULL},
        {"bank= ablation=reconsolidation-only", NULL},
        {"preset=paper bank= tau=0", NULL},
        {"bank= tau=0 preset=released", "needs bank"},
        {"bank= bank_fraction=0", NULL},
        {"ablation=retention-only", NULL},
        {"ablation=retention-only bank_fraction=0", "nothing is retained"},
        {"ablation=reconsolidation-only bank_fraction=0.5", "bank_fraction"},
        {"method=finetune ablation=retention-only", "ablation"},
        {"bank=", NULL},
        {"control=canny", NULL},
        {"control=canny bank_fraction=0.25", "preset distil retains nothing of what is told a control"},
        {"control=canny retention_weight=2", "preset distil retains nothing"},
        {"control=canny xi=mirror", "preset distil retains nothing"},
        {"control=canny ablation=retention-only", "give retention, or another preset"},
        {"control=canny preset=paper bank_fraction=0.25", NULL},
        {"control=canny retention=bank-distil bank_fraction=0.25", NULL},
        {"control=canny method=finetune", NULL},
        {"retention=bank bank=", "retention bank needs bank (difftune bank makes one)"},
        {"retention=bank-distil bank=", "retention bank-distil needs bank"},
        {"retention=target-distil bank=", NULL},
        {"retention=null-flat bank=", NULL},
        {"retention=sdft bank=", NULL},
        {"retention=none bank=", NULL},
        {"retention=sdft bank= train_batch_size=1", NULL},
        {"retention=target-distil train_batch_size=1", "train_batch_size"},
        {"retention=sdft bank_fraction=0.5", "retention sdft takes no share of the batch; leave out bank_fraction"},
        {"retention=none bank_fraction=0.5", "retention none takes no share"},
        {"retention=null-flat bank_fraction=0.5", NULL},
        {"retention=null-flat xi=mirror", "xi is given, but retention null-flat has none to choose"},
        {"retention=sdft xi=one-minus", "xi is given, but retention sdft"},
        {"retention=sdft preset=released tau_retention=2", "tau_retention is given, but retention sdft"},
        {"retention=target-distil xi=mirror", NULL},
        {"retention=target-distil method=finetune", "retention target-distil is for method diff-tuning"},
        {"retention=none method=finetune", NULL},
        {"retention=null-flat ablation=retention-only", NULL},
        {"retention=sdft ablation=reconsolidation-only", "leave out retention sdft"},
        {"retention=none ablation=retention-only", "retention is none"},
        {"retention=target-distil ablation=retention-only bank_fraction=0", "nothing is retained"},
        {"psi=measured", "psi measured needs validation_data"},
        {"psi=measured validation_data=v", NULL},
        {"psi=measured validation_data=v bank= retention=sdft", "psi measured needs bank: samples of the base itself"},
        {"psi=measured psi_table=x.txt", "psi is not table"},
        {"psi=measured method=finetune bank=", NULL},
        {"ema_power=0.05,0.1 ema_snapshot_steps=10", NULL},
        {"ema_power=0.05,0.5", "ema_power 0.05,0.5: lengths from 0.001 to 0.3"},
        {"ema_power=0.05,0.05", "ema_power 0.05,0.05: 0.05 stands there twice"},
        {"ema_snapshot_steps=10", "ema_snapshot_steps is given, but ema_power keeps no averages"},
        {"control=canny sd_unlocked=true ema_power=0.05", "ema_power keeps averages of one network"},
        {"bank_fraction=1", "bank_fraction 1"},
        {"train_batch_size=1", "train_batch_size"},
        {"train_batch_size=2 preset=released", NULL},
        {"train_batch_size=1 method=finetune", NULL},
        {"xi=table", "xi_table"},
        {"xi_table=x.txt", "xi is not table"},
        {"psi=table", "psi_table"},
        {"psi_table=x.txt", "psi is not table"},
        {"psi=table psi_table=/nonexistent/x.txt", "/nonexistent/x.txt"},
        {"tau_retention=2", "tau_retention"},
        {"tau_retention=2 xi=mirror", NULL},
        {"tau_retention=2 preset=released", NULL},
        {"sampler=ddpm eta=0.5", "eta is for sampler ddim; ddpm has no such choice"},
        {"sampler=dpm++2m eta=0.5", "eta is for sampler ddim; dpm++2m has no such choice"},
        {"background=white", "background"},
        {"background=#12345g", "background"},
        {"output_dir=images", "output_dir"},
        {"output_dir=bank", "output_dir"},
        {"max_train_steps=10 lr_warmup_steps=11", "lr_warmup_steps 11"},
        {"eval_steps=5", "validation_data"},
        {"eval_steps=5 validation_data=v", NULL},
        {"eval_steps=5 validation_data=v feature=squeezenet", "feature_weights"},
        {"method=pretrain", "leave out pretrained_model"},
        {"hidden_size=384", "hidden_size 384 is for method pretrain"},
        {"norm_num_groups=8", "norm_num_groups 8 is for method pretrain with model UNet"},
        {"depth=12", "depth 12"},
        {"patch_size=2 method=finetune", "patch_size 2"},
        {"model=DiT-S/2", "model DiT-S/2 is for method pretrain"},
        {"in_channels=1", "in_channels 1"},
        {"learn_sigma=false", "learn_sigma false"},
        {"hidden_size=192 num_heads=4", NULL},
        {"lora_rank=16", "lora_rank 16 is for an adapter, and there is none"},
        {"adapter=difffit lora_targets=mlp.fc1", NULL},
        {"adapter=difffit use_dora=true", "use_dora true is for adapter lora"},
        {"adapter=lora lora_rank=16 use_dora=true", NULL},
        {"difffit_depth=7", "difffit_depth 7 is for an adapter"},
        {"adapter_lr_factor=10", "all weights train"},
        {"adapter_lr_factor=10 adapter=bitfit", NULL},
        {"method=pretrain pretrained_model= resolution=32 model=DiT-S/2", NULL},
        {"method=pretrain pretrained_model= resolution=32 model=DiT-S/2 depth=3", "depth 3 is for model custom"},
        {"method=pretrain pretrained_model= resolution=32 model=DiT-S/2 num_heads=4", "num_heads 4"},
        {"method=pretrain pretrained_model= resolution=32 vae=v in_channels=4", "in_channels 4"},
        {"method=pretrain pretrained_model= resolution=32 label_init=rows", "label_init rows is for tuning"},
        {"vae=v", NULL},
        {"vae=v cache_dir=", "vae needs cache_dir"},
        {"vae=v train_data=.", "cache_dir latents must not be in the folder of train_data"},
        {"vae=v train_data=. cache_dir=a/../b", "cache_dir"},
        {"vae=v train_data=vectors", NULL},
        {"vae=v train_data=vectors cache_dir=vectors/new/latents", "train_data"},
        {"vae=v validation_data=vectors cache_dir=./vectors", "validation_data"},
        {"vae=v clip_sample=true", "clip_sample is for models of pixels"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_check(good_train(), SETTINGS_TRAIN, rules[i][0], rules[i][1]);
}

static void pretrain_checks_the_widths_of_the_new_network(void **state)
{
    (void)state;
    dt_settings s = good_train();
    memset(s.pretrained_model, 0, sizeof s.pretrained_model);
    s.method = DT_METHOD_PRETRAIN;
    static const char *const rules[][2] = {
        {"", "resolution"},
        {"resolution=32", NULL},
        {"resolution=32 num_heads=5", "num_heads 5"},
        {"resolution=32 hidden_size=9", "hidden_size 9"},
        {"resolution=32 patch_size=3", "patch_size"},
        {"resolution=30", "resolution 30"},
        {"resolution=32 eval_steps=5 validation_data=v", "squeezenet"},
        {"resolution=32 num_heads=5 model=DiT-S/2", "num_heads 5 is for model custom"},
        {"resolution=32 model=UNet num_heads=2 layers_per_block=1 beta_schedule=linear", NULL},
        {"resolution=32 model=UNet hidden_size=64", "hidden_size 64 is for a DiT"},
        {"resolution=32 layers_per_block=1", "layers_per_block 1 is for method pretrain with model UNet"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_check(s, SETTINGS_TRAIN, rules[i][0], rules[i][1]);
}

static void the_other_verbs_say_what_they_need(void **state)
{
    (void)state;
    static const struct {
        settings_verb verb;
        const char *changes, *part;
    } rules[] = {
        {SETTINGS_BANK, "bank=b", "bank needs pretrained_model"},
        {SETTINGS_BANK, "pretrained_model=m", "bank needs the setting bank"},
        {SETTINGS_BANK, "pretrained_model=m bank=b", NULL},
        {SETTINGS_CACHE, "train_data=d resolution=64", "cache needs vae"},
        {SETTINGS_CACHE, "vae=v resolution=64", "cache needs train_data"},
        {SETTINGS_CACHE, "vae=v train_data=d", "cache needs resolution"},
        {SETTINGS_CACHE, "vae=v train_data=d resolution=64 cache_dir=", "cache needs cache_dir"},
        {SETTINGS_CACHE, "vae=v train_data=. resolution=64 cache_dir=d", "cache_dir"},
        {SETTINGS_CACHE, "vae=v train_data=d resolution=64", NULL},
        {SETTINGS_SAMPLE, "pretrained_model=m", "sample needs output_dir"},
        {SETTINGS_SAMPLE, "output_dir=o", "sample needs pretrained_model"},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o", NULL},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o save_statistics=f", "save_statistics needs feature_weights"},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o save_statistics=f feature_weights=w save_images=0", NULL},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o save_images=0", "keeps nothing"},
        {SETTINGS_EVAL, "candidate=c pretrained_model=m", "eval needs reference"},
        {SETTINGS_EVAL, "reference=r pretrained_model=m", "eval needs candidate"},
        {SETTINGS_EVAL, "reference=r pretrained_model=m save_statistics=f", NULL},
        {SETTINGS_EVAL, "reference=r candidate=c", "feature base needs pretrained_model"},
        {SETTINGS_EVAL, "reference=r candidate=c feature=squeezenet", "feature_weights"},
        {SETTINGS_EVAL, "reference=r candidate=c feature=inception", "pt_inception-2015-12-05-6726825d.pth"},
        {SETTINGS_EVAL, "reference=r candidate=c feature=inception feature_weights=w", NULL},
        {SETTINGS_EVAL, "reference=r candidate=c feature=squeezenet feature_weights=w", NULL},
        {SETTINGS_EVAL, "reference=r candidate=c pretrained_model=m feature_weights=w", "feature is base"},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o ema_length=0.075", NULL},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o ema_length=0.0005",
         "ema_length must be 0, or a length from"},
        {SETTINGS_SAMPLE, "pretrained_model=m output_dir=o ema_length=0.1 file_weights=ema", "leave out file_weights"},
        {SETTINGS_CONVERT, "pretrained_model=m output=o.safetensors", NULL},
        {SETTINGS_CONVERT, "pretrained_model=m output=o.pt save_model_as=pt", NULL},
        {SETTINGS_CONVERT, "pretrained_model=m output=o.ckpt", "save_model_as pt does"},
        {SETTINGS_CONVERT, "pretrained_model=m output=o.safetensors save_model_as=pt", "writes no safetensors"},
        {SETTINGS_CONVERT, "pretrained_model=m output=o ema_length=0.1", NULL},
        {SETTINGS_CONVERT, "pretrained_model=m output=o ema_length=0.1 adapter_weights=a", "an adapter by itself"},
        {SETTINGS_CONVERT, "pretrained_model=m output=o ema_length=0.1 adapter_weights=a merge=true", NULL},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=b reference=r output_dir=o", NULL},
        {SETTINGS_CHAIN, "pretrained_model=m reference=r output_dir=o", "chain needs tail_model"},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=b output_dir=o", "chain needs reference"},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=b reference=r", "chain needs output_dir"},
        {SETTINGS_CHAIN, "tail_model=b reference=r output_dir=o", "chain needs pretrained_model"},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=b reference=r output_dir=o tails=0.5,0.1", "tails must be"},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=o reference=r output_dir=o", "must not be the"},
        {SETTINGS_CHAIN, "pretrained_model=m tail_model=b reference=r output_dir=o feature=squeezenet",
         "feature_weights"},
        {SETTINGS_IDEAL, "train_data=d output_dir=o resolution=32", NULL},
        {SETTINGS_IDEAL, "train_data=d output_dir=o pretrained_model=m", NULL},
        {SETTINGS_IDEAL, "train_data=d output_dir=o", "ideal needs resolution"},
        {SETTINGS_IDEAL, "train_data=d output_dir=o pretrained_model=m resolution=32", "leave it out"},
        {SETTINGS_IDEAL, "output_dir=o resolution=32", "ideal needs train_data"},
        {SETTINGS_IDEAL, "train_data=d resolution=32", "ideal needs output_dir"},
        {SETTINGS_IDEAL, "train_data=d output_dir=d resolution=32", "must not be the"},
        {SETTINGS_IDEAL, "train_data=d output_dir=o vae=v cache_dir= pretrained_model=m", "vae needs cache_dir"},
        {SETTINGS_PREDICT, "input=i output=o", "pretrained_model"},
        {SETTINGS_PREDICT, "pretrained_model=m output=o", "input"},
        {SETTINGS_PREDICT, "pretrained_model=m input=i", "output"},
        {SETTINGS_PREDICT, "pretrained_model=m input=i output=i", "output"},
        {SETTINGS_PREDICT, "pretrained_model=m input=i output=o", NULL},
        {SETTINGS_REPORT, "runs=a", "output"},
        {SETTINGS_REPORT, "output=o", "runs"},
        {SETTINGS_REPORT, "runs=a,b output=o", NULL},
    };
    dt_settings s;
    dt_settings_init(&s);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        assert_check(s, rules[i].verb, rules[i].changes, rules[i].part);
}

static void values_put_into_the_struct_by_hand_are_checked_too(void **state)
{
    (void)state;
    dt_error err = {0};
    dt_settings s = good_train();
    s.num_heads = -1;
    assert_int_equal(settings_check(&s, SETTINGS_TRAIN, &err), DT_ERR_ARG);
    assert_says(err.message, "num_heads");
    error_clear(&err);
    s = good_train();
    s.learning_rate = NAN;
    assert_int_equal(settings_check(&s, SETTINGS_TRAIN, &err), DT_ERR_ARG);
    error_clear(&err);
    s = good_train();
    s.sampler = (dt_sampler)7;
    assert_int_equal(settings_check(&s, SETTINGS_TRAIN, &err), DT_ERR_ARG);
    error_clear(&err);
    s = good_train();
    memset(s.train_data, 'x', sizeof s.train_data);
    assert_int_equal(settings_check(&s, SETTINGS_TRAIN, &err), DT_ERR_ARG);
}

/* What is written is not what is read, and not among pictures, however it is reached. */
static void outputs_are_kept_away_from_inputs(void **state)
{
    (void)state;
    dt_error err = {0};
    static const char *const folders[] = {"d/train/cat", "d/val/cat", "out", "elsewhere/cat"};
    for (int i = 0; i < 4; i++) assert_int_equal(file_make_dirs(temp_path(folders[i]), &err), DT_OK);
    temp_write("model", "m", 1);
    assert_int_equal(symlink(temp_path("d"), temp_path("link")), 0);
    assert_int_equal(symlink(temp_path("elsewhere"), temp_path("d/train/dog")), 0);
    assert_int_equal(symlink(temp_path("model"), temp_path("same")), 0);
    assert_int_equal(symlink("..", temp_path("d/train/cat/loop")), 0);
    assert_int_equal(chdir(temp_folder), 0);
    static const struct {
        settings_verb verb;
        const char *changes, *part;
    } cases[] = {
        {SETTINGS_TRAIN, "train_data=d output_dir=out", NULL},
        {SETTINGS_TRAIN, "train_data=d output_dir=d2", NULL},
        {SETTINGS_TRAIN, "train_data=d/train output_dir=d/run", NULL}, /* beside it */
        {SETTINGS_TRAIN, "train_data=d output_dir=d/run", "must not be in the folder of train_data"},
        {SETTINGS_TRAIN, "train_data=d:train output_dir=d/train/new/run", "must not be in the folder of train_data"},
        {SETTINGS_TRAIN, "train_data=d output_dir=link/run", "must not be in the folder of train_data"},
        {SETTINGS_TRAIN, "train_data=link output_dir=./d/../d/run", "must not be in the folder of train_data"},
        {SETTINGS_TRAIN, "train_data=d output_dir=elsewhere/run", "must not be in the folder of train_data"},
        {SETTINGS_TRAIN, "train_data=x validation_data=d:val output_dir=d/x", "folder of validation_data"},
        {SETTINGS_TRAIN, "train_data=x bank=d output_dir=d/x", "folder of bank"},
        {SETTINGS_TRAIN, "train_data=x output_dir=r bank=./r", NULL}, /* not there */
        {SETTINGS_TRAIN, "train_data=x output_dir=d cache_dir=d vae=v", "must not be the same as"},
        {SETTINGS_CACHE, "train_data=d cache_dir=link/c vae=v resolution=8", "must not be in the folder of train_data"},
        {SETTINGS_EVAL, "reference=d save_statistics=d/s.npz pretrained_model=m",
         "must not be in the folder of reference"},
        {SETTINGS_EVAL, "reference=x candidate=model save_statistics=same pretrained_model=m", "must not be the file"},
        {SETTINGS_SAMPLE, "output_dir=out pretrained_model=m save_stack=s.npz save_statistics=s.npz feature_weights=f",
         "must not be the same as"},
        {SETTINGS_SAMPLE, "pretrained_model=d output_dir=d/samples", NULL}, /* a run's folder may hold its samples */
        {SETTINGS_CONVERT, "pretrained_model=model output=same", "must not be the file of pretrained_model"},
        {SETTINGS_CONVERT, "pretrained_model=m adapter_weights=a,model:0.5 merge=true output=same",
         "must not be the file of adapter_weights"},
        {SETTINGS_CONVERT, "pretrained_model=d output=d/train", "is there already, in the folder of pretrained_model"},
        {SETTINGS_CONVERT, "pretrained_model=d output=d/new", NULL},
        {SETTINGS_TRAIN, "train_data=x control=canny output_dir=canny", NULL}, /* an annotator's name */
        {SETTINGS_PREDICT, "pretrained_model=m input=model output=same", "must not be the file of input"},
        {SETTINGS_RUN, "pretrained_model=m data=d output_dir=link/run", "must not be in the folder of data"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_settings s;
        dt_settings_init(&s);
        if (cases[i].verb == SETTINGS_TRAIN) s = good_train();
        assert_check(s, cases[i].verb, cases[i].changes, cases[i].part);
    }
}

static void what_is_read_must_be_there(void **state)
{
    (void)state;
    static const struct {
        settings_verb verb;
        const char *key[3], *value[3], *part;
    } cases[] = {
        {SETTINGS_TRAIN, {"pretrained_model", "train_data"}, {"model", "d:train"}, NULL},
        {SETTINGS_TRAIN, {"pretrained_model", "train_data"}, {"model", "nothing"}, "train_data nothing: no such file"},
        {SETTINGS_TRAIN,
         {"pretrained_model", "train_data"},
         {"nothing", "d"},
         "pretrained_model nothing: no such file"},
        {SETTINGS_TRAIN, {"bank"}, {"nothing"}, "bank nothing: no such file or folder; difftune bank makes one"},
        {SETTINGS_TRAIN, {"control"}, {"cany"}, "control cany: no annotator (canny, hed"},
        {SETTINGS_TRAIN, {"control"}, {"canny"}, NULL},
        {SETTINGS_TRAIN, {"control"}, {"given"}, NULL},
        {SETTINGS_BANK, {"pretrained_model", "bank"}, {"model", "new"}, NULL}, /* which is written */
        {SETTINGS_SAMPLE, {"adapter_weights"}, {"model:0.5,nothing:0.5"}, "adapter_weights nothing:0.5: no such file"},
    };
    dt_error none = {0};
    assert_int_equal(file_make_dirs(temp_path("d/train"), &none), DT_OK);
    temp_write("model", "m", 1);
    assert_int_equal(chdir(temp_folder), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_settings s;
        dt_error err = {0};
        dt_settings_init(&s);
        for (int k = 0; k < 3 && cases[i].key[k]; k++)
            assert_int_equal(dt_settings_set(&s, cases[i].key[k], cases[i].value[k], NULL, 0), DT_OK);
        settings_check_inputs(&s, cases[i].verb, &err);
        assert_int_equal(err.status, cases[i].part ? DT_ERR_IO : DT_OK);
        if (cases[i].part) assert_says(err.message, cases[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_that_change_nothing_are_told),
        cmocka_unit_test(train_says_what_it_needs_and_what_contradicts),
        cmocka_unit_test(pretrain_checks_the_widths_of_the_new_network),
        cmocka_unit_test(the_other_verbs_say_what_they_need),
        cmocka_unit_test_setup_teardown(outputs_are_kept_away_from_inputs, temp_folder_make, temp_folder_remove),
        cmocka_unit_test_setup_teardown(what_is_read_must_be_there, temp_folder_make, temp_folder_remove),
        cmocka_unit_test(values_put_into_the_struct_by_hand_are_checked_too),
    };
    return cmocka_run_group_tests_name("settings_check", tests, NULL, NULL);
}
