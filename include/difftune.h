/* difftune: tunes a pre-trained diffusion model (DiT, SiT, Stable Diffusion 1's UNet, ControlNet) to a folder of images by
 * Diff-Tuning (Zhong, Guo, Dong, Long: "Diffusion Tuning: Transferring Diffusion Models via Chain of Forgetting", 2024).
 *
 * A complete program: make the memory bank, tune; RUN/final/model.safetensors is the tuned model.
 *
 *     #include <difftune.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         dt_context *ctx = NULL;
 *         dt_settings s;
 *         dt_settings_init(&s);
 *         snprintf(s.pretrained_model, sizeof s.pretrained_model, "base.safetensors");
 *         snprintf(s.train_data, sizeof s.train_data, "my_images");
 *         snprintf(s.bank, sizeof s.bank, "bank");
 *         snprintf(s.output_dir, sizeof s.output_dir, "run");
 *         s.bank_size = 16;
 *         s.max_train_steps = 4;
 *         dt_status status = dt_open(&ctx, &s);
 *         if (status == DT_OK) status = dt_bank(ctx, &s, NULL);
 *         if (status == DT_OK) status = dt_train(ctx, &s, NULL);
 *         if (status != DT_OK) fprintf(stderr, "%s\n", dt_message(ctx));
 *         dt_close(ctx);
 *         return status;
 *     }
 *
 * Contracts that hold everywhere:
 *  - Every function that can fail returns a dt_status; the sentence that explains a failure (object, expected, found)
 *    is dt_message(ctx). The library never prints, never exits, and installs no signal handlers.
 *  - A failed call leaves existing files as they were: outputs are written beside, synced and renamed.
 *  - Two contexts in one process do not disturb each other. All that changes and belongs to the process is the list of the
 *    folders it has locked, behind a mutex, and with CUDA the GPU, whose stream its contexts share. One context is used by
 *    one thread at a time; inside, the work is spread over `threads` threads with the same bits for any number.
 *  - t is 0-based, 0..999, as in DiT's code; t = 0 is the cleanest step. Images are RGB in [-1, 1], layout [N,C,H,W].
 */
#ifndef DIFFTUNE_H
#define DIFFTUNE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dt_status {
    DT_OK = 0,
    DT_ERR_ARG,         /* a setting is out of range, unknown or contradicts another one */
    DT_ERR_IO,          /* the operating system refused: missing file, no permission, disk full */
    DT_ERR_FORMAT,      /* a file is not what it says it is */
    DT_ERR_SHAPE,       /* a tensor has another name, type or shape than the model needs */
    DT_ERR_MEMORY,      /* not enough memory */
    DT_ERR_NUMERIC,     /* five training steps in a row, or what was drawn, encoded or measured, are not finite */
    DT_ERR_INTERRUPTED, /* stopped on request; the same call goes on, but for eval, ideal, diagnose: they begin anew */
    DT_ERR_UNSUPPORTED, /* this build, machine or file version does not offer it */
    DT_ERR_CONFLICT,    /* a folder or file was made otherwise than is asked for, or another process works in it */
} dt_status;

/* One word for a status, e.g. "format". Never NULL. */
const char *dt_status_name(dt_status status);

enum { DT_HEADS_OF_NEW = 3 }; /* attention heads of a new network of one's own sizes, unless num_heads says others */
enum { DT_PATH_MAX = 1024, DT_TEXT_MAX = 256, DT_LIST_MAX = 16 * DT_PATH_MAX };

/* ---- settings: one flat struct. Each member is a key of the same name in settings files and, as --KEY, on the command line:
 * "difftune VERB --help" and the manual page have its range, default and words and say what it is for. A value out of its range is
 * DT_ERR_ARG ---- */

typedef enum dt_method { DT_METHOD_DIFF_TUNING, DT_METHOD_FINETUNE, DT_METHOD_PRETRAIN } dt_method;
typedef enum dt_preset { DT_PRESET_PAPER, DT_PRESET_RELEASED, DT_PRESET_DISTIL } dt_preset;
typedef enum dt_psi { DT_PSI_POWER, DT_PSI_SNR, DT_PSI_TABLE, DT_PSI_MEASURED } dt_psi;
typedef enum dt_xi { DT_XI_PRESET, DT_XI_ONE_MINUS, DT_XI_MIRROR, DT_XI_TABLE } dt_xi;
typedef enum dt_t_law { DT_T_SAMPLE, DT_T_WEIGHT } dt_t_law;
typedef enum dt_ablation { DT_ABLATION_NONE, DT_ABLATION_RETENTION_ONLY, DT_ABLATION_RECONSOLIDATION_ONLY } dt_ablation;
typedef enum dt_adapter {
    DT_ADAPTER_NONE, /* all weights train */
    DT_ADAPTER_BITFIT,
    DT_ADAPTER_DIFFFIT,
    DT_ADAPTER_LORA,
    DT_ADAPTER_VPT_DEEP,
    DT_ADAPTER_ADAPTFORMER,
} dt_adapter;
typedef enum dt_difffit { DT_DIFFFIT_RELEASED, DT_DIFFFIT_PAPER } dt_difffit;
/* Which network of a file that holds a UNet and a ControlNet; auto: the ControlNet. */
typedef enum dt_part { DT_PART_AUTO, DT_PART_UNET, DT_PART_CONTROLNET } dt_part;

typedef enum dt_adapter_format { DT_ADAPTER_PEFT, DT_ADAPTER_DIFFUSERS, DT_ADAPTER_KOHYA } dt_adapter_format;
typedef enum dt_retention {
    DT_RETENTION_BANK,          /* the paper: the base's own samples with their noise as the target */
    DT_RETENTION_BANK_DISTIL,   /* the same with the frozen base's prediction as the target */
    DT_RETENTION_TARGET_DISTIL, /* the user's pictures, the frozen base's prediction on the null branch; no bank */
    DT_RETENTION_NULL_FLAT,     /* the same with xi = 1 */
    DT_RETENTION_SDFT,          /* the noisy end, on every sample and on pure noise */
    DT_RETENTION_NONE,
    DT_RETENTION_PRESET, /* bank; of distil none with a control, bank-distil with a bank, else target-distil */
} dt_retention;
typedef enum dt_file_weights { DT_FILE_WEIGHTS_AUTO, DT_FILE_WEIGHTS_EMA, DT_FILE_WEIGHTS_MODEL } dt_file_weights;
typedef enum dt_beta_schedule { DT_BETA_SCALED_LINEAR, DT_BETA_LINEAR } dt_beta_schedule;
typedef enum dt_process { DT_PROCESS_AUTO, DT_PROCESS_DDPM, DT_PROCESS_SIT } dt_process;
typedef enum dt_label_init { DT_LABEL_MEAN, DT_LABEL_RANDOM, DT_LABEL_ROWS, DT_LABEL_NEAREST_NAME } dt_label_init;
typedef enum dt_precision { DT_PRECISION_F32, DT_PRECISION_BF16 } dt_precision;
typedef enum dt_lr_schedule { DT_LR_CONSTANT, DT_LR_LINEAR, DT_LR_COSINE } dt_lr_schedule;
typedef enum dt_sampler {
    DT_SAMPLER_DDIM,
    DT_SAMPLER_DDPM,
    DT_SAMPLER_DPM_2M, /* DPM-Solver++(2M) */
    DT_SAMPLER_UNIPC,
    DT_SAMPLER_HEUN,
    DT_SAMPLER_EULER,
} dt_sampler;
typedef enum dt_spacing {
    DT_SPACING_DDIM,
    DT_SPACING_SECTIONS,
    DT_SPACING_LEADING,
    DT_SPACING_LINSPACE,
    DT_SPACING_TRAILING,
    DT_SPACING_KARRAS,
    DT_SPACING_AUTO, /* the sampler's own: sections for ddim and ddpm, linspace for the others */
} dt_spacing;
/* auto: three of a DiT's or SiT's latents of four, as their authors have it; else all. */
typedef enum dt_guidance_channels { DT_GUIDE_THREE, DT_GUIDE_ALL, DT_GUIDE_AUTO } dt_guidance_channels;
typedef enum dt_guidance_condition { DT_GUIDE_BY_NULL, DT_GUIDE_BY_SAME } dt_guidance_condition;
typedef enum dt_class_order { DT_CLASSES_IN_TURN, DT_CLASSES_RANDOM } dt_class_order;
typedef enum dt_weights { DT_WEIGHTS_EMA, DT_WEIGHTS_LAST } dt_weights;
typedef enum dt_bank_labels { DT_BANK_NULL, DT_BANK_CLASSES } dt_bank_labels;
typedef enum dt_file_dtype { DT_FILE_F32, DT_FILE_BF16, DT_FILE_F16 } dt_file_dtype;
typedef enum dt_model_format {
    DT_MODEL_SAFETENSORS,
    DT_MODEL_PT,
    DT_MODEL_DIFFUSERS,
    DT_MODEL_ORIGINAL
} dt_model_format;
typedef enum dt_feature { DT_FEATURE_BASE, DT_FEATURE_SQUEEZENET, DT_FEATURE_INCEPTION } dt_feature;
typedef enum dt_inception_resize {
    DT_INCEPTION_TF1,         /* as the graph of the ADM evaluator, and torch-fidelity */
    DT_INCEPTION_PYTORCH_FID, /* as pytorch-fid */
    DT_INCEPTION_CLEAN,       /* as clean-fid */
} dt_inception_resize;
typedef enum dt_keep { DT_KEEP_ALL, DT_KEEP_MODEL, DT_KEEP_MEASURES } dt_keep;
typedef enum dt_score_parts { DT_SCORE_ADM, DT_SCORE_TORCH_FIDELITY } dt_score_parts;
/* Contexts on CUDA share one stream and the work space of the process's GPU: the first one, of several ranks on a machine one for each.
 * Calls on them must not run at the same time. */
typedef enum dt_device { DT_DEVICE_CPU, DT_DEVICE_CUDA } dt_device;
typedef enum dt_ranks { DT_RANKS_AUTO, DT_RANKS_ALONE } dt_ranks;
typedef enum dt_isa { DT_ISA_AUTO, DT_ISA_PORTABLE, DT_ISA_AVX2, DT_ISA_AVX512, DT_ISA_AVX512BF16, DT_ISA_AMX } dt_isa;

typedef struct dt_settings {
    /* machine */
    int64_t
        threads; /* 0: OMP_NUM_THREADS, or the processors that the process may use, as far as its container lets it */
    dt_device device; /* where the networks run */
    dt_ranks ranks;   /* whether processes that were started together make one call */
    dt_isa isa;       /* highest instruction set used by the CPU */
    int64_t seed;     /* 0 to 2^53: the same seed and settings draw the same numbers, on every device */

    /* model */
    char pretrained_model[DT_PATH_MAX]; /* file (safetensors, .pt), run folder, or diffusers folder */
    char vae[DT_PATH_MAX];              /* models of latents: the codec, AutoencoderKL or a tiny autoencoder */
    char text_encoder[DT_PATH_MAX]; /* models told prompts: diffusers folder or checkpoint; empty: pretrained_model */
    char tokenizer[DT_PATH_MAX];    /* its vocabulary; empty: that beside it */
    char model[DT_TEXT_MAX];        /* pretrain: "DiT-S/2" .. "DiT-XL/8", "custom" with the widths below, or "UNet" */
    int64_t hidden_size, depth, patch_size, in_channels; /* pretrain, model "custom" */
    char block_out_channels[DT_TEXT_MAX]; /* pretrain, UNet: widths of its levels, from the largest image on */
    char down_block_types[DT_TEXT_MAX];   /* CrossAttnDownBlock2D or DownBlock2D for each; empty: the last is plain */
    int64_t layers_per_block, cross_attention_dim, norm_num_groups; /* as diffusers has them */
    dt_beta_schedule beta_schedule;                                 /* the noise that a new UNet is trained for */
    int64_t num_heads;       /* 0: the file's; pretrain: DT_HEADS_OF_NEW, of a UNet 4 */
    char blend[DT_PATH_MAX]; /* "PATH:SHARE": weights are so much those of another model of the same shapes */
    char controlnet_model[DT_PATH_MAX]; /* a ControlNet on pretrained_model; train: empty and a control: a new one */
    char conditioning_embedding_out_channels[DT_TEXT_MAX]; /* of a new one's stem, with commas; empty: as published */
    double controlnet_conditioning_scale;                  /* of what it tells */
    bool sd_unlocked;                                      /* the base's way up trains with it */
    double ema_length;             /* of a run's folder, the average of this length (ema_power); 0: its result */
    dt_file_weights file_weights;  /* of a file with averaged weights and others; auto: the averaged ones */
    dt_process process;            /* of a file that does not say it, and of pretrain; auto: the file's, else ddpm */
    bool learn_sigma;              /* pretrain: the network predicts the variance too, as DiT's do */
    double class_dropout_prob;     /* share of training samples that are not told their class or caption */
    double time_dropout;           /* share of samples that are not told their t, which nag_scale needs */
    dt_label_init label_init;      /* new classes' first rows in the label table */
    dt_model_format save_model_as; /* convert: what is written; train: beside final/model.safetensors */
    char original_checkpoint[DT_PATH_MAX]; /* convert: whose copy the UNet is put into; empty: it is written alone */
    char transfer_from[DT_PATH_MAX], transfer_to[DT_PATH_MAX]; /* convert: adds what the second has and the first not */
    dt_file_dtype save_dtype;                                  /* of the numbers of a written model */
    bool metadata;                                             /* written models say what they were made from */

    /* data */
    char train_data[DT_PATH_MAX];      /* folder of class folders, or a tar or zip of them */
    char validation_data[DT_PATH_MAX]; /* held-out images, same layout; empty: none */
    char source_data[DT_PATH_MAX];     /* diagnose: pictures like those the base was trained on; empty: none */
    char cache_dir[DT_PATH_MAX];       /* where encoded pictures and prompts, and control maps, are kept */
    char control[DT_PATH_MAX]; /* train: control pictures named as the pictures, or "given": those that the data names;
                                * sample: "given", control_data holds control pictures */
    char control_data[DT_PATH_MAX];   /* sample: what control pictures are made of, or themselves */
    char default_prompt[DT_TEXT_MAX]; /* of pictures without a caption */
    int64_t resolution;               /* of the pictures; 0: the model's */
    bool crop;        /* annotate: resolution is a square's; else the shorter side's, as ControlNet's demos resize */
    bool random_flip; /* half of the training samples are mirrored */
    char background[DT_TEXT_MAX];        /* colour behind transparent pixels, "#rrggbb" */
    bool strict;                         /* a broken image is an error instead of a skipped and listed file */
    char annotator_weights[DT_PATH_MAX]; /* of the network that makes control pictures; canny has none */

    /* method */
    dt_method method;
    dt_preset preset;
    double tau;           /* psi = t^tau */
    double tau_retention; /* mirror form of xi only; negative: same as tau */
    dt_psi psi;
    char psi_table[DT_PATH_MAX];
    dt_xi xi;
    char xi_table[DT_PATH_MAX];
    dt_t_law t_law;
    dt_retention retention;
    char bank[DT_PATH_MAX];  /* folder made by dt_bank, or a folder of images */
    double bank_fraction;    /* share of the batch that is retained; negative: the preset's */
    double retention_weight; /* negative: the preset's, or 0.1 of sdft */
    dt_ablation ablation;

    /* adapter: what trains */
    dt_adapter adapter;
    int64_t lora_rank;
    double lora_alpha;              /* 0: lora_rank; the scale is alpha / rank */
    bool use_rslora;                /* alpha / sqrt(rank) */
    bool use_dora;                  /* each output of the maps has a magnitude of its own */
    char lora_targets[DT_TEXT_MAX]; /* ends of names of linear maps, with commas, or "all-linear"; empty: attention's */
    dt_difffit difffit_variant;
    int64_t difffit_depth;     /* released: scales in so many blocks from the first on */
    int64_t vpt_tokens;        /* of each block */
    int64_t adaptformer_width; /* of the bottleneck */
    double adaptformer_scale;
    double adapter_lr_factor;          /* multiplies learning_rate while an adapter trains */
    char adapter_weights[DT_LIST_MAX]; /* "PATH" or "PATH:WEIGHT", separated by commas: used with pretrained_model */
    dt_adapter_format save_adapter_as; /* names in a written LoRA file */
    dt_part part;                      /* convert */
    bool merge;                        /* convert: the adapters' weights in the model's own */

    /* training */
    char output_dir[DT_PATH_MAX];
    int64_t max_train_steps, train_batch_size, gradient_accumulation_steps;
    double learning_rate;
    dt_lr_schedule lr_scheduler;
    int64_t lr_warmup_steps;
    double adam_beta1, adam_beta2, adam_epsilon, adam_weight_decay;
    dt_precision adam_moments; /* how AdamW's moments are kept between steps; bf16 is rounded at random, by fair odds */
    double max_grad_norm;      /* 0: no clipping */
    double l2_sp;              /* adds l2_sp / 2 times the squared distance to the base's weights to the loss; 0: not */
    dt_precision mixed_precision;
    bool gradient_checkpointing;
    bool fused_backward_pass; /* each weight is updated when its gradient is complete; no gradients are kept */
    double ema_decay;
    bool ema_warmup; /* decay 0, then at most (1 + n) / (10 + n) after n updates: no trace of the starting weights */
    char ema_power[DT_TEXT_MAX];     /* "0.05,0.1": power-function averages of these lengths are kept; empty: none */
    int64_t ema_snapshot_steps;      /* 0: as checkpointing_steps */
    int64_t checkpointing_steps;     /* 0: only at the end */
    int64_t checkpoints_total_limit; /* 0: keep all */
    /* every so many steps and at the last one; 0: never, but for the log's line of the last one */
    int64_t logging_steps, validation_steps, sample_steps, eval_steps;
    char validation_prompt[DT_PATH_MAX];     /* of sample grids, a text or a file NAME.txt; empty: held-out captions */
    int64_t validation_count;                /* images of a validation loss at most */
    int64_t eval_count;                      /* samples of a Frechet distance */
    int64_t convergence_steps;               /* between measures of how well samples obey their control; 0: never */
    int64_t convergence_count;               /* samples of one */
    char convergence_threshold[DT_TEXT_MAX]; /* "auto", "paper", a row of its table 4 ("Seg-ADE") or a number */
    bool stop_at_convergence;                /* the run ends where they do */
    bool tensorboard;
    char diagnosis[DT_PATH_MAX]; /* folder of dt_diagnose, whose findings the run keeps for its report; empty: none */
    bool dry_run; /* dt_train reads everything, makes a few steps, tells what the run needs, and writes nothing */

    /* sampling */
    dt_sampler sampler;
    int64_t num_inference_steps;
    dt_spacing timestep_spacing;
    double eta;            /* ddim: share of the noise that ddpm adds at each step; 0: none */
    double guidance_scale; /* classifier-free guidance as DiT's cfg-scale: 1 is none */
    bool clip_sample; /* predicted images are clipped to [-1, 1] at each step: for models of pixels, not of latents */
    dt_guidance_channels guidance_channels;
    char guidance_model[DT_PATH_MAX];         /* sample: answers for the other branch; empty: the model itself */
    dt_guidance_condition guidance_condition; /* what guidance_model is told: nothing, or what the model is told */
    char guidance_interval[DT_TEXT_MAX];      /* sample: "LO,HI", both included: t outside is not guided; empty: all */
    double nag_scale;                         /* sample: noise awareness guidance; 0: none */
    char tail_model[DT_PATH_MAX]; /* sample, chain: makes the last steps in the model's place; empty: nobody */
    double tail;                  /* sample: the share of the steps that it makes, 0 to 1 */
    char tails[DT_TEXT_MAX];      /* chain: the shares that are compared, "0,0.1,1" */
    char prompt[DT_PATH_MAX];     /* models told prompts: the prompt, or a file NAME.txt of one a line, drawn in turn */
    char negative_prompt[DT_PATH_MAX]; /* what guidance leads away from */
    char classes[DT_TEXT_MAX];         /* "0,3,7", "0-101" or names; empty: all classes */
    dt_class_order class_order;
    int64_t num_samples, sample_batch_size;
    int64_t save_images;          /* so many of the samples become files; negative: all */
    char save_stack[DT_PATH_MAX]; /* all images in one .npz as well, arr_0 and arr_1 as ADM has them; empty: none */
    dt_weights weights;           /* which weights a training run draws its samples with and ends in */

    /* bank */
    int64_t bank_size, bank_shard_size;
    dt_bank_labels bank_labels; /* unconditional (the paper), or all classes in turn with guidance */

    /* measures */
    char reference[DT_PATH_MAX];       /* eval: folder, tar, zip, .npz of statistics or samples to compare with */
    char candidate[DT_PATH_MAX];       /* eval: folder, tar, zip, .npz of statistics or samples to judge */
    char trained_on[DT_PATH_MAX];      /* eval: pictures that the candidate's model was trained on; empty: not asked */
    dt_feature feature;                /* whose features a distance is of */
    char feature_weights[DT_PATH_MAX]; /* SqueezeNet's or Inception's published file; sample: or the base */
    dt_inception_resize inception_resize; /* how pictures become 299 x 299 */
    dt_score_parts inception_score_parts; /* how images are divided for the Inception Score */
    char save_statistics[DT_PATH_MAX]; /* eval: .npz for those of the reference, sample: of the samples; empty: none */
    bool save_features;                /* save_statistics keeps the features of every picture too */

    /* predict */
    char input[DT_PATH_MAX];  /* tensors to predict from (dt_predict) */
    char output[DT_PATH_MAX]; /* predict, convert, report: the file or folder that is written */
    bool gradients;           /* of every parameter too */

    /* experiment: what dt_run does and compares with */
    char recipe[DT_TEXT_MAX]; /* name of the data set in the paper */
    char data[DT_PATH_MAX];   /* folder made by dt_data_prepare */
    char reference_split[16]; /* split of data that samples are compared with */
    char arms[DT_PATH_MAX];   /* YAML file of arms, or of a study; empty: plain fine-tuning and Diff-Tuning */
    int64_t fid_count;        /* images drawn and measured with each tuned model */
    int64_t bank_seed;        /* of the bank that an experiment draws; negative: the arm's seed */
    dt_keep keep;             /* study: what stays of an arm that is finished */
    double paper_fid_finetune, paper_fid_difffit, paper_fid_diff_tuning; /* table 1 of the paper; 0: none */

    /* report */
    /* run folders, separated by commas; the folder of an experiment stands for the runs of all its arms */
    char runs[DT_LIST_MAX];
    char title[DT_TEXT_MAX];

    /* inspect */
    char against[DT_PATH_MAX]; /* another model to compare with; empty: none */
} dt_settings;

typedef struct dt_context dt_context;

/* All defaults of the table. */
void dt_settings_init(dt_settings *s);

/* Sets one key from text ("learning_rate" or "learning-rate", "1e-4"). DT_ERR_ARG names key, value and what is
 * allowed, and for an unknown key the nearest valid one; *s is then unchanged. `message` may be NULL. */
dt_status dt_settings_set(dt_settings *s, const char *key, const char *text, char message[], int64_t message_size);

/* Reads a YAML mapping of keys on top of *s. Unknown keys are refused with line and nearest valid name. Where the file
 * holds arms (see dt_run) or another part of a study (`data`, `grid`, `draw`, `seeds`; see dt_study), s->arms becomes the
 * file's path. */
dt_status dt_settings_load(dt_settings *s, const char *path, char message[], int64_t message_size);

/* Writes every key with its value; dt_settings_load of that file gives back the same struct. */
dt_status dt_settings_save(const dt_settings *s, const char *path, char message[], int64_t message_size);

/* ---- context ---- */

/* Opens an engine for s->device, s->threads and s->isa. Processes that mpirun, srun or torchrun started together find each other
 * here, unless s->ranks says otherwise, and make each call of the context together (docs/ranks.md): DT_ERR_UNSUPPORTED where they
 * cannot, DT_ERR_IO where one does not come. Then dt_close waits for the others, and a process that follows has an empty message where
 * another tells the reason. *out is set even on failure (so that dt_message works), except when memory for the context itself is
 * missing; close it in every case. */
dt_status dt_open(dt_context **out, const dt_settings *s);
void dt_close(dt_context *ctx);

/* The sentence of the last failure of this context, "" if none. Owned by the context. */
const char *dt_message(const dt_context *ctx);

/* Version, engines, instruction sets and libraries in use, several lines. Static text. */
const char *dt_version(void);

/* ---- what a caller may watch ---- */

typedef struct dt_progress {
    const char *task; /* "bank", "cache", "train", "sample", "eval", "chain", "ideal", "diagnose", "annotate", "link" */
    int64_t step, step_count;
    double loss_target, loss_bank; /* NaN where there is none */
    double loss_retained;          /* mean squared distance to the frozen base's predictions; NaN where none is kept */
    double grad_norm, learning_rate;
    double samples_per_second; /* in training of the whole batch, what is retained included */
    double seconds_left;
    int64_t memory_bytes; /* peak resident memory so far */
} dt_progress;

/* While a call works, its observer's functions too, the thread's numbers have a decimal point whatever its locale says. */
typedef struct dt_observer {
    void *user;
    void (*progress)(void *user, const dt_progress *p); /* called after each step; may be NULL */
    void (*log)(void *user, const char *line);          /* one sentence, no newline; may be NULL */
    /* Asked between steps, and about twice a second between the batches of other work; may be NULL. A true answer ends the
     * call with DT_ERR_INTERRUPTED, in training with a checkpoint; after it the question need not come again. */
    bool (*should_stop)(void *user);
    /* Asked at the same times while a run trains; may be NULL. A true answer makes a checkpoint now, after which the run goes
     * on; who wants one only answers true once. */
    bool (*should_save)(void *user);
} dt_observer;

/* ---- the verbs. `observer` may be NULL. Each uses the settings that its --help lists ----
 *
 * What they return, besides what each says:
 *  - DT_ERR_ARG: settings that are out of range, contradict each other, or are missing; DT_ERR_IO: a path that is not there, or cannot
 *    be read or written; DT_ERR_FORMAT, DT_ERR_SHAPE, DT_ERR_UNSUPPORTED: a file that is damaged, does not fit the others, or holds
 *    what is not known here. All this is found before the work begins where it can be.
 *  - DT_ERR_CONFLICT: a folder that holds what other settings or other data made, or other things, or in which another process works.
 *    Nothing in it is changed.
 *  - DT_ERR_INTERRUPTED: the observer asked for it. Verbs that write a folder go on where they stopped when they are called again
 *    with the same settings.
 *  - DT_ERR_MEMORY, DT_ERR_NUMERIC. */

typedef struct dt_data_counts {
    int64_t classes, train, validation, test; /* images of each split */
} dt_data_counts;

typedef struct dt_prepared {
    char title[DT_TEXT_MAX], split_source[DT_TEXT_MAX]; /* the data set, and where its split comes from */
    bool made;                                          /* false: the same folder was there already */
    dt_data_counts found, published;
    int64_t missing; /* images that are listed and not there: left out */
    char first_missing[DT_PATH_MAX];
} dt_prepared;

/* Makes s->output_dir/{train,val,test}/CLASS/FILE, each a symbolic link into `folder`, where the user unpacked the
 * archive of data set `name` (food101, sun397, df20m, caltech101, cub200, artbench10, oxford_flowers, stanford_cars).
 * Nothing in `folder` is changed or copied. */
dt_status dt_data_prepare(dt_context *ctx, const char *name, const char *folder, const dt_settings *s,
                          const dt_observer *observer, dt_prepared *result);

/* Name of annotator number 0, 1, .. ("canny", "hed", ..); NULL behind the last one. */
const char *dt_annotator_name(int64_t number);

typedef struct dt_annotated {
    int64_t made, found, passed_over; /* maps made now, maps that were there, pictures without one */
} dt_annotated;

/* Makes control pictures: the map that annotator `kind` makes of each picture of `input` (a picture, or a folder with its sub-folders,
 * tar or zip of them), as PNG: `output` is the file of one picture's map (.png), else a folder in which each map has its picture's
 * name. s->resolution 0 keeps the pictures' sizes, else they are cropped as training pictures are. Goes on where an earlier
 * call stopped. */
dt_status dt_annotate(dt_context *ctx, const char *kind, const char *input, const char *output, const dt_settings *s,
                      const dt_observer *observer, dt_annotated *result);

/* Draws s->bank_size samples of s->pretrained_model, of its unconditional branch or by s->bank_labels of all classes in
 * turn, into s->bank (safetensors shards and manifest.json). Goes on where an earlier call stopped; the same bits however
 * often it was interrupted, on the same device and isa. */
dt_status dt_bank(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* Encodes the images of s->train_data and s->validation_data with the codec s->vae into s->cache_dir, where dt_train of a
 * model of latents looks for them (and puts what is missing). Goes on where an earlier call stopped. */
dt_status dt_cache(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* Measures, before any training, the base's loss over t on the pictures that it is to be tuned to, on samples of its own (those of
 * s->bank, or a few that are drawn) and on its source pictures (s->source_data, where given). Writes s->output_dir: diagnosis.json,
 * and train.yaml with the settings that follow, for dt_settings_load. The observer is told what was found, in sentences. */
dt_status dt_diagnose(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* Tunes (or pre-trains) s->pretrained_model to the pictures of s->train_data into s->output_dir, a run: final/model.safetensors (of an
 * adapter final/adapter_model.safetensors), checkpoints/, config.yaml, run.json and metrics.jsonl. Goes on from the newest whole
 * checkpoint; the same bits however often it was interrupted. */
dt_status dt_train(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* Draws s->num_samples samples of s->pretrained_model into s->output_dir: images/NNNNNN.png and grid.png. Goes on where an earlier
 * call stopped, and adds to what is there when more are asked for. */
dt_status dt_sample(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* NaN where a number is not at hand. */
typedef struct dt_eval_result {
    /* "FD-base", "FD-squeezenet"; "FID tf1", "FID pytorch-fid" or "FID clean" by the resize */
    char measure[DT_TEXT_MAX];
    double frechet_distance;
    double kernel_distance, kernel_distance_std; /* KID over subsets; needs the images of both sides */
    double precision, recall;                    /* needs the images of both sides */
    double spatial_frechet_distance;             /* sFID; feature inception, as is what follows */
    double inception_score, inception_score_std; /* of the candidate's images */
    /* With s->trained_on: the share of candidates that copy a training picture, the share of held-out pictures (the reference)
     * that the same rule says so of, and the ratio of both sides' mean distances to the nearest training picture. */
    double copied, copied_held_out, nearest_ratio;
    int64_t reference_count, candidate_count; /* images; 0: read from a file that does not say */
} dt_eval_result;

/* Distance between s->reference and s->candidate in the features of s->feature. */
dt_status dt_eval(dt_context *ctx, const dt_settings *s, const dt_observer *observer, dt_eval_result *result);

enum { DT_CHAIN_POINTS_MAX = 51 };

typedef struct dt_chain_point {
    double tail;        /* share of the steps that s->tail_model made */
    int64_t tail_steps; /* so many are that */
    dt_eval_result distance;
} dt_chain_point;

typedef struct dt_chain_result {
    int64_t count, best; /* points; the one of the lowest Frechet distance */
    dt_chain_point point[DT_CHAIN_POINTS_MAX];
} dt_chain_result;

/* The chain of forgetting (figure 1 of the paper): s->eval_count samples of s->pretrained_model, drawn once for each share of
 * s->tails with that share of the steps, the last ones, made by s->tail_model, and their distances to s->reference. Writes
 * s->output_dir: chain.json, chain.csv, and a folder as dt_sample's for each share. Goes on where an earlier call stopped. */
dt_status dt_chain(dt_context *ctx, const dt_settings *s, const dt_observer *observer, dt_chain_result *result);

enum { DT_IDEAL_BANDS = 10 };

/* Means over pictures under noise at steps of one tenth of 0..999; squares are means over values. NaN where there is no model. */
typedef struct dt_ideal_band {
    double nearest, mean; /* between what the ideal says and the nearest picture, or the mean of all, squared */
    double ideal_loss, model_loss; /* between the noise that each predicts and the noise that was added, squared */
    double apart, apart_x0;        /* between the two predictions, squared: of the noise, and of the clean picture */
} dt_ideal_band;

typedef struct dt_ideal_result {
    int64_t count; /* pictures that the ideal knows */
    bool has_model, has_other;
    double nearest_at_first, mean_at_last;                      /* the limits: at t = 0, at t = 999 */
    dt_ideal_band known[DT_IDEAL_BANDS], other[DT_IDEAL_BANDS]; /* of s->train_data, of s->validation_data */
} dt_ideal_result;

/* The ideal denoiser of the pictures of s->train_data (theorem 1 of the paper): its two limits, its loss over t on these pictures and
 * those of s->validation_data, and how far s->pretrained_model, where there is one, is from it. Writes ideal.json, ideal.csv and
 * grid.png into s->output_dir. */
dt_status dt_ideal(dt_context *ctx, const dt_settings *s, const dt_observer *observer, dt_ideal_result *result);

/* One forward pass on the tensors x [N,C,H,W], t [N] and what the network is told (y [N], context or s->prompt, control) of
 * s->input (with x0 and noise instead of x: also the loss terms, and with s->gradients every parameter's gradient) into
 * s->output. */
dt_status dt_predict(dt_context *ctx, const dt_settings *s);

/* Writes s->pretrained_model as s->output in the format s->save_model_as, with numbers of type s->save_dtype. */
dt_status dt_convert(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* JSON text of what is in a model file, bank or run folder. Free it with dt_free. */
dt_status dt_inspect(dt_context *ctx, const char *path, char **json);

/* The same of the distance between the weights of two model files, runs or adapters that have rows in common: whole, by kind of
 * layer and by depth, each as the sum of squares, its root, and per value. DT_ERR_SHAPE where they have none. */
dt_status dt_compare(dt_context *ctx, const char *path, const char *other, char **json);
void dt_free(void *p);

/* One experiment in s->output_dir: the memory bank, what is compared (its arms) tuned with the same settings, s->fid_count
 * images of each, their distances to the reference, and report.html. Each stage is one of the calls above with settings
 * derived from *s; finished ones are skipped, and DT_ERR_CONFLICT tells when *s has other settings for one of them.
 *
 * The arms are those of the YAML file s->arms, any number of them, each with settings of its own on top of *s:
 *
 *     arms:
 *       plain: {method: finetune}
 *       paper: {preset: paper}
 *       steep: {tau: 2, bank_size: 10000}
 *
 * An arm's run, images and column of the report are called by its name. Banks, caches and statistics of the reference are
 * shared by the arms that have the same settings for them. Without s->arms there are two, "finetune" and "diff-tuning". */
dt_status dt_run(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* A study in s->output_dir, as the YAML file s->arms describes it: the product of its arms or its grid, its data sets and its
 * seeds, each tuned, drawn from in every way of `draw`, and measured, on the machinery of dt_run; study.csv and report.html hold
 * every measure. docs/studies.md has the form of the file. What fails is told and does not stop the rest; then the call ends in
 * the status of the first failure, and the next call tries again what failed. */
dt_status dt_study(dt_context *ctx, const dt_settings *s, const dt_observer *observer);

/* Writes s->output, one self-contained HTML page about the run folders in s->runs, any number of them. */
dt_status dt_report(dt_context *ctx, const dt_settings *s);

#ifdef __cplusplus
}
#endif
#endif
