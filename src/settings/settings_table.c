/* The table of settings. Order here is the order in --help, in the man page and in saved files. */
#include "settings/settings.h"

#include "base/cpus.h"

enum {
    BANK = SETTINGS_BANK,
    TRAIN = SETTINGS_TRAIN,
    SAMPLE = SETTINGS_SAMPLE,
    EVAL = SETTINGS_EVAL,
    PREDICT = SETTINGS_PREDICT,
    REPORT = SETTINGS_REPORT,
    CONVERT = SETTINGS_CONVERT,
    DATA = SETTINGS_DATA,
    CACHE = SETTINGS_CACHE,
    CHAIN = SETTINGS_CHAIN,
    IDEAL = SETTINGS_IDEAL,
    DIAGNOSE = SETTINGS_DIAGNOSE,
    INSPECT = SETTINGS_INSPECT,
    ANNOTATE = SETTINGS_ANNOTATE,
    USES_MODEL = BANK | TRAIN | SAMPLE | EVAL | PREDICT | CHAIN | IDEAL | DIAGNOSE,
    COMPUTES = USES_MODEL | CACHE | ANNOTATE,
    RUN = SETTINGS_RUN,
    STUDY = SETTINGS_STUDY,
    BOTH = RUN | STUDY,
    DRAWS = BANK | TRAIN | SAMPLE | CHAIN,
    PROMPTED = BANK | SAMPLE | CHAIN,
    ENCODES = PROMPTED | TRAIN | PREDICT | DIAGNOSE,
};

const char *const settings_group_names[] = {
    [SETTINGS_GROUP_MACHINE] = "Machine",
    [SETTINGS_GROUP_MODEL] = "Model",
    [SETTINGS_GROUP_DATA] = "Data",
    [SETTINGS_GROUP_METHOD] = "Method",
    [SETTINGS_GROUP_ADAPTER] = "Adapter",
    [SETTINGS_GROUP_TRAINING] = "Training",
    [SETTINGS_GROUP_WATCHING] = "Watching a run",
    [SETTINGS_GROUP_SAMPLING] = "Sampling",
    [SETTINGS_GROUP_BANK] = "Memory bank",
    [SETTINGS_GROUP_MEASURES] = "Measures",
    [SETTINGS_GROUP_EXPERIMENT] = "Experiment",
    [SETTINGS_GROUP_FILES] = "Files",
};

/* Words stand in the order of the enums in difftune.h. */
static const char *const device_words[] = {"cpu", "cuda", NULL};
static const char *const ranks_words[] = {"auto", "alone", NULL};
static const char *const isa_words[] = {"auto", "portable", "avx2", "avx512", "avx512bf16", "amx", NULL};
static const char *const adapter_words[] = {"none", "bitfit", "difffit", "lora", "vpt-deep", "adaptformer", NULL};
static const char *const difffit_words[] = {"released", "paper", NULL};
static const char *const adapter_format_words[] = {"peft", "diffusers", "kohya", NULL};
static const char *const file_weights_words[] = {"auto", "ema", "model", NULL};
static const char *const beta_words[] = {"scaled_linear", "linear", NULL};
static const char *const process_words[] = {"auto", "ddpm", "sit", NULL};
static const char *const label_words[] = {"mean", "random", "rows", "nearest-name", NULL};
static const char *const part_words[] = {"auto", "unet", "controlnet", NULL};
static const char *const dtype_words[] = {"f32", "bf16", "f16", NULL};
static const char *const format_words[] = {"safetensors", "pt", "diffusers", "original", NULL};
static const char *const method_words[] = {"diff-tuning", "finetune", "pretrain", NULL};
static const char *const preset_words[] = {"paper", "released", "distil", NULL};
static const char *const psi_words[] = {"power", "snr", "table", "measured", NULL};
static const char *const xi_words[] = {"preset", "one-minus", "mirror", "table", NULL};
static const char *const t_law_words[] = {"sample", "weight", NULL};
static const char *const ablation_words[] = {"none", "retention-only", "reconsolidation-only", NULL};
static const char *const retention_words[] = {"bank", "bank-distil", "target-distil", "null-flat",
                                              "sdft", "none",        "preset",        NULL};
static const char *const lr_words[] = {"constant", "linear", "cosine", NULL};
static const char *const precision_words[] = {"no", "bf16", NULL};
static const char *const moments_words[] = {"f32", "bf16", NULL};
static const char *const sampler_words[] = {"ddim", "ddpm", "dpm++2m", "unipc", "heun", "euler", NULL};
static const settings_alias sampler_aliases[] = {{"DDIMScheduler", DT_SAMPLER_DDIM},
                                                 {"DDPMScheduler", DT_SAMPLER_DDPM},
                                                 {"DPMSolverMultistepScheduler", DT_SAMPLER_DPM_2M},
                                                 {"UniPCMultistepScheduler", DT_SAMPLER_UNIPC},
                                                 {"HeunDiscreteScheduler", DT_SAMPLER_HEUN},
                                                 {"EulerDiscreteScheduler", DT_SAMPLER_EULER},
                                                 {NULL, 0}};
static const char *const spacing_words[] = {"ddim",     "sections", "leading", "linspace",
                                            "trailing", "karras",   "auto",    NULL};
static const char *const channels_words[] = {"three", "all", "auto", NULL};
static const char *const guidance_words[] = {"null", "same", NULL};
static const char *const class_order_words[] = {"turn", "random", NULL};
static const char *const weights_words[] = {"ema", "last", NULL};
static const char *const bank_labels_words[] = {"null", "classes", NULL};
static const char *const feature_words[] = {"base", "squeezenet", "inception", NULL};
static const char *const resize_words[] = {"tf1", "pytorch-fid", "clean", NULL};
static const char *const keep_words[] = {"all", "model", "measures", NULL};
static const char *const score_words[] = {"adm", "torch-fidelity", NULL};

/* What people call the methods. */
const char *const settings_method_names[] = {"Diff-Tuning", "plain fine-tuning", "pre-training"};

// clang-format off
#define MEMBER(field) #field, .offset = offsetof(dt_settings, field), .size = sizeof(((dt_settings *)0)->field)
#define ROW(g, field, kind, first) .group = SETTINGS_GROUP_##g, .name = MEMBER(field), .type = SETTINGS_##kind, .initial = first
#define USE(meta, v, a, i, h) .metavar = meta, .verbs = v, .affects = SETTINGS_##a, .identity = i, .help = h
#define TEXT(g, field, first, meta, v, a, i, h) {ROW(g, field, TEXT, first), USE(meta, v, a, i, h)}
#define WORDS(g, field, first, meta, v, a, i, h) {ROW(g, field, TEXT, first), USE(meta, v, a, i, h), .is_list = true}
#define INPUT(g, field, meta, v, a, i, h) {ROW(g, field, TEXT, ""), USE(meta, v, a, i, h), .path = SETTINGS_FILE}
#define PICTURES(g, field, meta, v, a, i, h) {ROW(g, field, TEXT, ""), USE(meta, v, a, i, h), .path = SETTINGS_PICTURES}
#define INPUTS(g, field, meta, v, a, i, h) {ROW(g, field, TEXT, ""), USE(meta, v, a, i, h), .path = SETTINGS_FILE, .is_list = true}
#define OUTPUT(g, field, first, meta, v, a, i, h) {ROW(g, field, TEXT, first), USE(meta, v, a, i, h), .path = SETTINGS_FILE, .written = ~0u}
#define INT(g, field, first, lo, hi, v, a, i, h) {ROW(g, field, INT, first), .min = lo, .max = hi, USE("N", v, a, i, h)}
#define REAL(g, field, first, lo, hi, v, a, i, h) {ROW(g, field, REAL, first), .min = lo, .max = hi, USE("X", v, a, i, h)}
#define BOOL(g, field, first, v, a, i, h) {ROW(g, field, BOOL, first), USE("BOOL", v, a, i, h)}
#define ENUM(g, field, first, w, v, a, i, h) {ROW(g, field, ENUM, first), .words = w, USE("WORD", v, a, i, h)}
#define ENUM_ALIASED(g, field, first, w, aka, v, a, i, h) {ROW(g, field, ENUM, first), .words = w, .aliases = aka, USE("WORD", v, a, i, h)}

/* Above 2^53 a seed would not survive readers that keep JSON numbers as doubles. */
#define SEED_MAX 9007199254740992.0
#define STEPS    1e9

const settings_key settings_keys[] = {
    INT(MACHINE, threads, "0", 0, CPUS_MOST, COMPUTES, SPEED, 0, "threads to use; 0: OMP_NUM_THREADS, or what the machine or container gives"),
    ENUM(MACHINE, device, "cpu", device_words, COMPUTES, RESULT, TRAIN, "where the networks run; cuda: an NVIDIA GPU"),
    ENUM(MACHINE, ranks, "auto", ranks_words, COMPUTES | DATA | CONVERT | INSPECT | REPORT, SPEED, 0, "auto: processes of mpirun, srun or torchrun make one call; alone: each its own"),
    ENUM(MACHINE, isa, "auto", isa_words, COMPUTES, RESULT, TRAIN, "highest instruction set used"),
    ENUM(MACHINE, mixed_precision, "no", precision_words, USES_MODEL, RESULT, TRAIN, "bf16: products in bf16, weights in f32"),
    INT(MACHINE, seed, "0", 0, SEED_MAX, DRAWS | EVAL | IDEAL | DIAGNOSE, RESULT, TRAIN, "of all random numbers"),

    INPUT(MODEL, pretrained_model, "PATH", USES_MODEL | CONVERT, RESULT, 0, "file (safetensors, .pt), run folder or diffusers folder"),
    ENUM(MODEL, file_weights, "auto", file_weights_words, USES_MODEL | CONVERT, RESULT, 0, "averaged or trained weights of a file with both; auto: averaged"),
    INPUT(MODEL, blend, "PATH", SAMPLE | CONVERT | CHAIN, RESULT, 0, "PATH:SHARE mixes the weights with those of another model, e.g. the base"),
    INPUT(MODEL, controlnet_model, "PATH", TRAIN | SAMPLE | CHAIN | PREDICT, RESULT, 0, "a ControlNet on the model; train with control: default a new one"),
    WORDS(MODEL, conditioning_embedding_out_channels, "", "LIST", TRAIN, RESULT, TRAIN, "stem of a new ControlNet; default: 16,32,96,256 as needed"),
    REAL(MODEL, controlnet_conditioning_scale, "1", 0, 100, SAMPLE | CHAIN | PREDICT, RESULT, 0, "factor of what the ControlNet tells"),
    BOOL(MODEL, sd_unlocked, "false", TRAIN, RESULT, TRAIN, "the base's way up trains with the ControlNet"),
    REAL(MODEL, ema_length, "0", 0, 0.3, SAMPLE | PREDICT | CONVERT | CHAIN, RESULT, 0, "average of this length, of a run with ema_power; 0: its result"),
    ENUM(MODEL, process, "auto", process_words, USES_MODEL | CONVERT, RESULT, 0, "of a file that does not say it; auto: its own, else ddpm (DiT)"),
    INPUT(MODEL, vae, "PATH", CACHE | TRAIN | BANK | SAMPLE | EVAL | CHAIN | IDEAL | DIAGNOSE, RESULT, 0, "codec of a model of latents; default: that of its run or of its pipeline"),
    INPUT(MODEL, text_encoder, "PATH", ENCODES, RESULT, 0, "of prompts: diffusers folder or SD 1.x file; empty: the model's or its run's"),
    INPUT(MODEL, tokenizer, "PATH", ENCODES, RESULT, 0, "folder, or CLIP's bpe_simple_vocab_16e6.txt.gz; empty: by text_encoder"),
    TEXT(MODEL, model, "custom", "NAME", TRAIN, RESULT, TRAIN, "pretrain: DiT-S/2 .. DiT-XL/8; custom, with the widths below; or UNet"),
    INT(MODEL, hidden_size, "192", 4, 16384, TRAIN, RESULT, TRAIN, "width of the network; pretrain with model custom"),
    INT(MODEL, depth, "6", 1, 1024, TRAIN, RESULT, TRAIN, "number of blocks; pretrain with model custom"),
    INT(MODEL, num_heads, "0", 0, 1024, USES_MODEL | CONVERT, RESULT, TRAIN, "of a file that does not state them; pretrain custom: 3, UNet: 4 unless given"),
    INT(MODEL, patch_size, "4", 1, 8, TRAIN, RESULT, TRAIN, "1, 2, 4 or 8; pretrain with model custom"),
    INT(MODEL, in_channels, "3", 1, 1024, TRAIN, RESULT, TRAIN, "channels of an image; pretrain without vae"),
    BOOL(MODEL, learn_sigma, "true", TRAIN, RESULT, TRAIN, "predict the variance too; pretrain"),
    WORDS(MODEL, block_out_channels, "64,128,256", "LIST", TRAIN, RESULT, TRAIN, "widths of the levels, from the largest image on; pretrain UNet"),
    WORDS(MODEL, down_block_types, "", "LIST", TRAIN, RESULT, TRAIN, "CrossAttnDownBlock2D or DownBlock2D of each; default: only the last is plain"),
    INT(MODEL, layers_per_block, "2", 1, 8, TRAIN, RESULT, TRAIN, "layers of each level; pretrain UNet"),
    INT(MODEL, cross_attention_dim, "128", 1, 16384, TRAIN, RESULT, TRAIN, "width of what is told, here a token of each class; pretrain UNet"),
    INT(MODEL, norm_num_groups, "32", 1, 1024, TRAIN, RESULT, TRAIN, "groups of the norms; divides every width; pretrain UNet"),
    ENUM(MODEL, beta_schedule, "scaled_linear", beta_words, TRAIN, RESULT, TRAIN, "noise: Stable Diffusion's, or linear, DiT's; pretrain UNet"),
    REAL(MODEL, class_dropout_prob, "0.1", 0, 1, TRAIN, RESULT, TRAIN, "share of labels replaced by the null class"),
    REAL(MODEL, time_dropout, "0", 0, 1, TRAIN, RESULT, TRAIN, "share of samples that are not told t: what sample's nag_scale needs"),
    ENUM(MODEL, label_init, "mean", label_words, TRAIN, RESULT, TRAIN, "first rows of new classes in the label table"),
    ENUM(MODEL, save_model_as, "safetensors", format_words, TRAIN | CONVERT, RESULT, 0, "format of the result; train: one more beside final/model.safetensors"),
    ENUM(MODEL, part, "auto", part_words, CONVERT, RESULT, 0, "network of a file that holds a UNet and a ControlNet; auto: the ControlNet"),
    INPUT(MODEL, original_checkpoint, "PATH", CONVERT, RESULT, 0, "whole checkpoint, in whose copy the UNet is put; save_model_as original"),
    INPUT(MODEL, transfer_from, "PATH", CONVERT, RESULT, 0, "base of the model, whose weights are taken off for those of transfer_to"),
    INPUT(MODEL, transfer_to, "PATH", CONVERT, RESULT, 0, "another base: model - transfer_from + transfer_to, where all three have it"),
    ENUM(MODEL, save_dtype, "f32", dtype_words, TRAIN | CONVERT, RESULT, 0, "number type of written models"),
    BOOL(MODEL, metadata, "true", TRAIN | CONVERT, RESULT, 0, "written models say what they were made from"),

    PICTURES(DATA, train_data, "PATH", CACHE | TRAIN | IDEAL | DIAGNOSE, RESULT, 0, "folder, tar or zip of class folders with images; PATH:SPLIT takes a split of it"),
    PICTURES(DATA, validation_data, "PATH", CACHE | TRAIN | IDEAL | DIAGNOSE, RESULT, 0, "held-out images in the same layout, PATH or PATH:SPLIT; empty: none"),
    PICTURES(DATA, source_data, "PATH", DIAGNOSE, RESULT, 0, "pictures that the base was trained on, or others of their kind; empty: none"),
    OUTPUT(DATA, cache_dir, "latents", "DIR", CACHE | TRAIN | IDEAL, RESULT, 0, "where encoded images are kept; models of latents"),
    PICTURES(DATA, control, "PATH", TRAIN | SAMPLE | CHAIN | BANK, RESULT, 0, "annotator (canny, ..), control pictures named as the images, or given"),
    PICTURES(DATA, control_data, "PATH", SAMPLE | CHAIN, RESULT, 0, "folder, tar or zip of images to annotate, or with control given of maps"),
    TEXT(DATA, default_prompt, "a high-quality, detailed, and professional image", "TEXT", TRAIN, RESULT, 0, "what images without a caption are told; networks that are told prompts"),
    INT(DATA, resolution, "0", 0, 4096, CACHE | TRAIN | EVAL | IDEAL | ANNOTATE, RESULT, TRAIN, "edge of the images; 0: the model's, squeezenet: 64, inception, annotate: own"),
    BOOL(DATA, crop, "true", ANNOTATE, RESULT, 0, "squares of resolution; no: the shorter side, both multiples of 64, as demos"),
    BOOL(DATA, random_flip, "true", TRAIN, RESULT, TRAIN, "mirror half of the training images"),
    TEXT(DATA, background, "#ffffff", "COLOUR", CACHE | TRAIN | EVAL | CHAIN | IDEAL | DIAGNOSE | ANNOTATE, RESULT, TRAIN, "#rrggbb behind transparent pixels"),
    BOOL(DATA, strict, "false", CACHE | TRAIN | EVAL | CHAIN | IDEAL | DIAGNOSE | ANNOTATE, RESULT, 0, "stop at a broken image instead of skipping and listing it"),
    INPUT(DATA, annotator_weights, "FILE", ANNOTATE | TRAIN | SAMPLE | CHAIN | BANK, RESULT, 0, "weights of the annotator's network, e.g. ControlNetHED.pth; canny has none"),

    ENUM(METHOD, method, "diff-tuning", method_words, TRAIN, RESULT, TRAIN, "how to train"),
    ENUM(METHOD, preset, "distil", preset_words, TRAIN, RESULT, TRAIN, "the paper's way, its code's, or the paper's with predictions kept"),
    REAL(METHOD, tau, "1", 0, 100, TRAIN, RESULT, TRAIN, "reconsolidation psi = t^tau; 0 with xi one-minus is plain fine-tuning"),
    REAL(METHOD, tau_retention, "-1", -1, 100, TRAIN, RESULT, TRAIN, "tau of xi mirror; negative: tau"),
    ENUM(METHOD, psi, "power", psi_words, TRAIN, RESULT, TRAIN, "reconsolidation over t: t^tau, 1/(1+SNR), psi_table, or measured first"),
    INPUT(METHOD, psi_table, "FILE", TRAIN, RESULT, TRAIN, "1000 numbers, one for each t from 0; psi table"),
    ENUM(METHOD, xi, "preset", xi_words, TRAIN, RESULT, TRAIN, "retention weight over t: 1 - psi, (1-t)^tau, or xi_table"),
    INPUT(METHOD, xi_table, "FILE", TRAIN, RESULT, TRAIN, "1000 numbers, one for each t from 0; xi table"),
    ENUM(METHOD, t_law, "sample", t_law_words, TRAIN, RESULT, TRAIN, "draw t by psi and xi, or draw it evenly and weight the loss"),
    ENUM(METHOD, retention, "preset", retention_words, TRAIN, RESULT, TRAIN, "what is kept: the bank, or what the frozen base predicts, or nothing"),
    {ROW(METHOD, bank, TEXT, ""), USE("PATH", BANK | TRAIN | DIAGNOSE, RESULT, 0, "folder of the memory bank, or a folder of images"), .path = SETTINGS_PICTURES, .written = BANK},
    REAL(METHOD, bank_fraction, "-1", -1, 1, TRAIN, RESULT, TRAIN, "share of the batch that is retained; negative: the preset's"),
    REAL(METHOD, retention_weight, "-1", -1, 1e6, TRAIN, RESULT, TRAIN, "factor of the retention loss; negative: the preset's, or 0.1 of sdft"),
    ENUM(METHOD, ablation, "none", ablation_words, TRAIN, RESULT, TRAIN, "leave out one half of the method"),

    ENUM(ADAPTER, adapter, "none", adapter_words, TRAIN | DIAGNOSE, RESULT, TRAIN, "what trains: all weights (none), or few beside a frozen base"),
    INT(ADAPTER, lora_rank, "8", 1, 16384, TRAIN | DIAGNOSE, RESULT, TRAIN, "rank of the matrices; adapter lora"),
    REAL(ADAPTER, lora_alpha, "0", 0, 1e6, TRAIN, RESULT, TRAIN, "scale is alpha / rank; 0: alpha is the rank; adapter lora"),
    BOOL(ADAPTER, use_rslora, "false", TRAIN, RESULT, TRAIN, "scale is alpha / sqrt(rank); adapter lora"),
    BOOL(ADAPTER, use_dora, "false", TRAIN | DIAGNOSE, RESULT, TRAIN, "each output of the maps has a magnitude of its own; adapter lora"),
    WORDS(ADAPTER, lora_targets, "", "LIST", TRAIN | DIAGNOSE, RESULT, TRAIN, "ends of linear maps' names, or all-linear; default: attention's; adapter lora"),
    ENUM(ADAPTER, difffit_variant, "released", difffit_words, TRAIN | DIAGNOSE, RESULT, TRAIN, "scales of the released code or of the paper; adapter difffit"),
    INT(ADAPTER, difffit_depth, "14", 0, 1024, TRAIN | DIAGNOSE, RESULT, TRAIN, "blocks with scales, from the first on; difffit_variant released"),
    INT(ADAPTER, vpt_tokens, "10", 1, 4096, TRAIN | DIAGNOSE, RESULT, TRAIN, "prompt tokens of each block; adapter vpt-deep"),
    INT(ADAPTER, adaptformer_width, "64", 1, 16384, TRAIN | DIAGNOSE, RESULT, TRAIN, "width of the bottleneck; adapter adaptformer"),
    REAL(ADAPTER, adaptformer_scale, "0.1", 0, 1000, TRAIN, RESULT, TRAIN, "factor of what the bottleneck gives; adapter adaptformer"),
    REAL(ADAPTER, adapter_lr_factor, "1", 0, 1000, TRAIN, RESULT, TRAIN, "multiplies learning_rate while an adapter trains; DiffFit's take 10"),
    INPUTS(ADAPTER, adapter_weights, "PATHS", USES_MODEL | CONVERT, RESULT, 0, "adapters joined to the model, PATH or PATH:WEIGHT, separated by commas"),
    ENUM(ADAPTER, save_adapter_as, "peft", adapter_format_words, CONVERT, RESULT, 0, "names in a written LoRA: PEFT's, diffusers' (DiT: by PEFT), or kohya's"),
    BOOL(ADAPTER, merge, "false", CONVERT, RESULT, 0, "add the adapters to the weights and write a whole model"),

    OUTPUT(TRAINING, output_dir, "", "DIR", TRAIN | SAMPLE | DATA | CHAIN | IDEAL | DIAGNOSE, PLACE, 0, "folder of the run, the samples, the data set or the analysis"),
    INT(TRAINING, max_train_steps, "24000", 0, STEPS, TRAIN | DIAGNOSE, RESULT, TRAIN, "optimiser steps of the whole run"),
    INT(TRAINING, train_batch_size, "32", 1, 65536, TRAIN | DIAGNOSE, RESULT, TRAIN, "images of one pass, bank included"),
    INT(TRAINING, gradient_accumulation_steps, "1", 1, 65536, TRAIN | DIAGNOSE, RESULT, TRAIN, "passes of one optimiser step"),
    REAL(TRAINING, learning_rate, "1e-4", 0, 1e3, TRAIN, RESULT, TRAIN, "of AdamW, after warm-up"),
    ENUM(TRAINING, lr_scheduler, "constant", lr_words, TRAIN, RESULT, TRAIN, "course of the learning rate after warm-up"),
    INT(TRAINING, lr_warmup_steps, "0", 0, STEPS, TRAIN, RESULT, TRAIN, "steps of linear warm-up"),
    REAL(TRAINING, adam_beta1, "0.9", 0, 0.9999999, TRAIN, RESULT, TRAIN, "decay of AdamW's first moment"),
    REAL(TRAINING, adam_beta2, "0.999", 0, 0.9999999, TRAIN, RESULT, TRAIN, "decay of AdamW's second moment"),
    REAL(TRAINING, adam_epsilon, "1e-8", 1e-30, 1, TRAIN, RESULT, TRAIN, "added to the root of the second moment"),
    REAL(TRAINING, adam_weight_decay, "0", 0, 100, TRAIN, RESULT, TRAIN, "decoupled weight decay"),
    ENUM(TRAINING, adam_moments, "f32", moments_words, TRAIN, RESULT, TRAIN, "bf16: AdamW's two moments in half the memory"),
    REAL(TRAINING, max_grad_norm, "0", 0, 1e9, TRAIN, RESULT, TRAIN, "clip the gradient's norm to this; 0: no clipping"),
    REAL(TRAINING, l2_sp, "0", 0, 1e6, TRAIN, RESULT, TRAIN, "L2-SP: pulls weights to the base's, loss + l2_sp/2 their squared distance"),
    BOOL(TRAINING, gradient_checkpointing, "false", TRAIN, MEMORY, 0, "compute each block twice and keep less memory"),
    BOOL(TRAINING, fused_backward_pass, "false", TRAIN, MEMORY, 0, "update weights during the backward pass; keep no gradients"),
    REAL(TRAINING, ema_decay, "0.9999", 0, 1, TRAIN, RESULT, TRAIN, "decay of the averaged weights"),
    BOOL(TRAINING, ema_warmup, "false", TRAIN, RESULT, TRAIN, "average from the first step on, not from the starting weights on"),
    WORDS(TRAINING, ema_power, "", "LIST", TRAIN, RESULT, TRAIN, "lengths (0.05,0.1) of averages kept for sample's ema_length; empty: none"),
    INT(TRAINING, ema_snapshot_steps, "0", 0, STEPS, TRAIN, WATCHING, 0, "steps between files of those averages; 0: checkpointing_steps"),
    INT(TRAINING, checkpointing_steps, "1000", 0, STEPS, TRAIN, WATCHING, 0, "steps between checkpoints; 0: only at the end"),
    INT(TRAINING, checkpoints_total_limit, "2", 0, STEPS, TRAIN, WATCHING, 0, "newest checkpoints kept; 0: all"),

    INT(WATCHING, logging_steps, "10", 0, STEPS, TRAIN, WATCHING, 0, "steps between lines of the log; 0: the last step alone"),
    INT(WATCHING, validation_steps, "500", 0, STEPS, TRAIN, WATCHING, 0, "steps between validation losses; 0: never"),
    INT(WATCHING, validation_count, "256", 1, STEPS, TRAIN | IDEAL | DIAGNOSE, WATCHING, 0, "images of a validation loss at most"),
    INT(WATCHING, sample_steps, "500", 0, STEPS, TRAIN, WATCHING, 0, "steps between sample grids; 0: never"),
    TEXT(WATCHING, validation_prompt, "", "TEXT", TRAIN, WATCHING, 0, "what sample grids show: a text or NAME.txt, in turn; empty: held-out captions"),
    INT(WATCHING, eval_steps, "0", 0, STEPS, TRAIN, WATCHING, 0, "steps between Frechet distances to validation_data; 0: never"),
    INT(WATCHING, eval_count, "512", 2, STEPS, TRAIN | CHAIN, WATCHING, 0, "samples of a Frechet distance"),
    INT(WATCHING, convergence_steps, "0", 0, STEPS, TRAIN, RESULT, 0, "steps between measures of obedience to the control; 0: never"),
    INT(WATCHING, convergence_count, "16", 1, STEPS, TRAIN, RESULT, 0, "samples of such a measure"),
    TEXT(WATCHING, convergence_threshold, "auto", "auto|paper|X", TRAIN, RESULT, 0, "from which a sample obeys; auto: a jump is looked for; or a row of table 4"),
    BOOL(WATCHING, stop_at_convergence, "false", TRAIN, RESULT, 0, "end the run where samples obey their control"),
    BOOL(WATCHING, tensorboard, "true", TRAIN, WATCHING, 0, "write TensorBoard event files"),
    INPUT(WATCHING, diagnosis, "DIR", TRAIN, WATCHING, 0, "folder made by diagnose, kept with the run for its report"),
    BOOL(WATCHING, dry_run, "false", TRAIN, PLACE, 0, "make a few steps, tell time, memory and disk of the run; write nothing"),

    ENUM_ALIASED(SAMPLING, sampler, "ddim", sampler_words, sampler_aliases, DRAWS, RESULT, 0, "how a step is made; ddpm: ancestral sampling; of a SiT euler or heun"),
    INT(SAMPLING, num_inference_steps, "50", 1, 1000, DRAWS, RESULT, 0, "steps from noise to image"),
    ENUM(SAMPLING, timestep_spacing, "auto", spacing_words, DRAWS, RESULT, 0, "which of the 1000 steps are taken; auto: the sampler's usual ones"),
    REAL(SAMPLING, eta, "0", 0, 1, DRAWS, RESULT, 0, "noise added by ddim; 0: none"),
    BOOL(SAMPLING, clip_sample, "false", DRAWS, RESULT, 0, "clip the predicted image to [-1, 1] at each step; for pixel models"),
    REAL(SAMPLING, guidance_scale, "1.5", 0, 100, DRAWS, RESULT, 0, "classifier-free guidance; 1: none"),
    ENUM(SAMPLING, guidance_channels, "auto", channels_words, DRAWS, RESULT, 0, "auto: three of a DiT's four, as its authors have it, else all"),
    INPUT(SAMPLING, guidance_model, "PATH", SAMPLE | CHAIN, RESULT, 0, "the other branch of guidance is this model's: the base, or a worse checkpoint"),
    ENUM(SAMPLING, guidance_condition, "null", guidance_words, SAMPLE | CHAIN, RESULT, 0, "what guidance_model is told: nothing, or what the model is told"),
    WORDS(SAMPLING, guidance_interval, "", "LO,HI", SAMPLE | CHAIN, RESULT, 0, "steps t from LO to HI alone are guided, of 0 to 999; empty: all"),
    REAL(SAMPLING, nag_scale, "0", 0, 100, SAMPLE | CHAIN, RESULT, 0, "noise awareness guidance, of a model trained with time_dropout; 0: none"),
    INPUT(SAMPLING, tail_model, "PATH", SAMPLE | CHAIN, RESULT, 0, "makes the last steps in the model's place: the base"),
    REAL(SAMPLING, tail, "0.1", 0, 1, SAMPLE, RESULT, 0, "share of the steps that tail_model makes"),
    WORDS(SAMPLING, tails, "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1", "LIST", CHAIN, RESULT, 0, "shares of the steps that are compared, rising, 0 to 1"),
    TEXT(SAMPLING, prompt, "", "TEXT", PROMPTED | PREDICT, RESULT, 0, "what is drawn, or a file NAME.txt of prompts, one a line, in turn"),
    TEXT(SAMPLING, negative_prompt, "", "TEXT", PROMPTED, RESULT, 0, "what guidance leads away from, or a file NAME.txt of one line; told prompts"),
    WORDS(SAMPLING, classes, "", "LIST", SAMPLE | CHAIN, RESULT, 0, "cat,dog or 0,3-9 (numbers unless a class is called by one); empty: all"),
    ENUM(SAMPLING, class_order, "turn", class_order_words, SAMPLE | CHAIN, RESULT, 0, "classes one after the other, or drawn evenly"),
    INT(SAMPLING, num_samples, "16", 1, 1e7, TRAIN | SAMPLE | CHAIN, RESULT, 0, "images drawn; train, chain: images of a sample grid"),
    INT(SAMPLING, sample_batch_size, "32", 1, 256, DRAWS | EVAL | IDEAL | DIAGNOSE, SPEED, 0, "images drawn or measured together"),
    INT(SAMPLING, save_images, "-1", -1, 1e7, SAMPLE, RESULT, 0, "so many of the images become files; -1: all"),
    OUTPUT(SAMPLING, save_stack, "", "FILE", SAMPLE, RESULT, 0, "all images in one .npz too, as ADM's evaluator reads them"),
    ENUM(SAMPLING, weights, "ema", weights_words, TRAIN, RESULT, 0, "weights of the samples and of the run's result"),

    INT(BANK, bank_size, "5000", 1, 1e8, BANK, RESULT, 0, "images of the bank"),
    INT(BANK, bank_shard_size, "512", 1, 1e6, BANK, RESULT, 0, "images of one file of the bank"),
    ENUM(BANK, bank_labels, "null", bank_labels_words, BANK, RESULT, 0, "without a class, or all classes in turn with guidance"),

    PICTURES(MEASURES, reference, "PATH", EVAL | CHAIN, RESULT, 0, "folder, tar, zip, .npz of statistics or samples to compare with"),
    PICTURES(MEASURES, candidate, "PATH", EVAL, RESULT, 0, "folder, tar, zip, .npz of statistics or samples to judge"),
    PICTURES(MEASURES, trained_on, "PATH", EVAL, RESULT, 0, "pictures of the candidate's training: is it copying them?"),
    ENUM(MEASURES, feature, "base", feature_words, TRAIN | EVAL | SAMPLE | CHAIN, RESULT, 0, "network whose features are compared"),
    INPUT(MEASURES, feature_weights, "FILE", TRAIN | EVAL | SAMPLE | CHAIN, RESULT, 0, "SqueezeNet v1.1, pt_inception-2015-12-05-6726825d.pth; sample: or the base"),
    ENUM(MEASURES, inception_resize, "tf1", resize_words, TRAIN | EVAL | SAMPLE | CHAIN, RESULT, 0, "how pictures become 299x299; feature inception"),
    ENUM(MEASURES, inception_score_parts, "adm", score_words, TRAIN | EVAL | CHAIN, RESULT, 0, "division of images for the Inception Score"),
    OUTPUT(MEASURES, save_statistics, "", "FILE", EVAL | SAMPLE, RESULT, 0, "where to keep statistics of the reference, or of the samples"),
    BOOL(MEASURES, save_features, "false", EVAL | SAMPLE, RESULT, 0, "save_statistics keeps every picture's features too"),

    TEXT(EXPERIMENT, recipe, "", "TEXT", RUN, RESULT, 0, "name of the data set in the paper, for the report"),
    PICTURES(EXPERIMENT, data, "DIR", BOTH, RESULT, 0, "folder made by data prepare"),
    TEXT(EXPERIMENT, reference_split, "test", "NAME", BOTH, RESULT, 0, "split of data that samples are compared with"),
    INPUT(EXPERIMENT, arms, "FILE", BOTH, RESULT, 0, "YAML file with the mapping arms, names to settings; a recipe may hold it"),
    INT(EXPERIMENT, fid_count, "10000", 2, 1e7, BOTH, RESULT, 0, "images drawn and measured with each tuned model"),
    INT(EXPERIMENT, bank_seed, "-1", -1, SEED_MAX, BOTH, RESULT, 0, "seed of the bank that is drawn; negative: the arm's"),
    ENUM(EXPERIMENT, keep, "model", keep_words, STUDY, WATCHING, 0, "what stays of a finished arm; its measures always do"),
    REAL(EXPERIMENT, paper_fid_finetune, "0", 0, 1e6, RUN, RESULT, 0, "FID in the paper, plain fine-tuning; 0: none"),
    REAL(EXPERIMENT, paper_fid_difffit, "0", 0, 1e6, RUN, RESULT, 0, "FID in the paper, DiffFit; 0: none"),
    REAL(EXPERIMENT, paper_fid_diff_tuning, "0", 0, 1e6, RUN, RESULT, 0, "FID in the paper, Diff-Tuning; 0: none"),

    INPUT(FILES, input, "FILE", PREDICT, RESULT, 0, "safetensors with x, t, y; or x0, noise, t, y"),
    OUTPUT(FILES, output, "", "FILE", PREDICT | REPORT | CONVERT, RESULT, 0, "file to write, or folder for diffusers"),
    BOOL(FILES, gradients, "false", PREDICT, RESULT, 0, "write every parameter's gradient too"),
    INPUTS(FILES, runs, "DIRS", REPORT, RESULT, 0, "run folders, separated by commas"),
    TEXT(FILES, title, "", "TEXT", REPORT | BOTH, RESULT, 0, "heading of the page"),
    INPUT(FILES, against, "PATH", INSPECT, RESULT, 0, "another model file: how far the weights of both are apart"),
};
// clang-format on
const int settings_key_count = sizeof settings_keys / sizeof settings_keys[0];
