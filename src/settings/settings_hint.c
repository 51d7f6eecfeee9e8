/* What an unknown name may have meant: what other programs call the same thing, or a slip of the fingers. */
#include "settings/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* Words of diffusers' and kohya's scripts, of DiT's and ADM's own, and of Hugging Face's trainer. Of several rows of one word
 * the first counts whose key the verb uses. */
static const struct {
    const char *word;
    const char *key;  /* what it is here, or NULL */
    const char *said; /* how it is done here, where no key does it */
} foreign[] = {
    {"lr", "learning_rate", NULL},
    {"base_lr", "learning_rate", NULL},
    {"unet_lr", "learning_rate", NULL},
    {"bs", "train_batch_size", NULL},
    {"bs", "sample_batch_size", NULL},
    {"batch", "train_batch_size", NULL},
    {"batch", "sample_batch_size", NULL},
    {"batch_size", "train_batch_size", NULL},
    {"batch_size", "sample_batch_size", NULL},
    {"global_batch_size", "train_batch_size", NULL},
    {"micro_batch_size", "train_batch_size", NULL},
    {"per_device_train_batch_size", "train_batch_size", NULL},
    {"per_proc_batch_size", "sample_batch_size", NULL},
    {"eval_batch_size", "sample_batch_size", NULL},
    {"epochs", NULL, "the length of a run is max_train_steps: epochs x images / train_batch_size"},
    {"num_epochs", NULL, "the length of a run is max_train_steps: epochs x images / train_batch_size"},
    {"num_train_epochs", NULL, "the length of a run is max_train_steps: epochs x images / train_batch_size"},
    {"max_train_epochs", NULL, "the length of a run is max_train_steps: epochs x images / train_batch_size"},
    {"steps", "max_train_steps", NULL},
    {"steps", "num_inference_steps", NULL},
    {"max_steps", "max_train_steps", NULL},
    {"train_steps", "max_train_steps", NULL},
    {"num_train_steps", "max_train_steps", NULL},
    {"iterations", "max_train_steps", NULL},
    {"iters", "max_train_steps", NULL},
    {"num_iters", "max_train_steps", NULL},
    {"max_iters", "max_train_steps", NULL},
    {"num_steps", "max_train_steps", NULL},
    {"num_steps", "num_inference_steps", NULL},
    {"num_sampling_steps", "num_inference_steps", NULL},
    {"sampling_steps", "num_inference_steps", NULL},
    {"inference_steps", "num_inference_steps", NULL},
    {"ddim_steps", "num_inference_steps", NULL},
    {"timestep_respacing", "num_inference_steps", NULL},
    {"resume", NULL, "the same command goes on from the newest checkpoint of its output_dir"},
    {"resume_from", NULL, "the same command goes on from the newest checkpoint of its output_dir"},
    {"resume_from_checkpoint", NULL, "the same command goes on from the newest checkpoint of its output_dir"},
    {"resume_checkpoint", NULL, "the same command goes on from the newest checkpoint of its output_dir"},
    {"overwrite_output_dir", NULL, "nothing is overwritten; choose another output_dir"},
    {"cfg", "guidance_scale", NULL},
    {"cfg_scale", "guidance_scale", NULL},
    {"guidance", "guidance_scale", NULL},
    {"scale", "guidance_scale", NULL},
    {"save_steps", "checkpointing_steps", NULL},
    {"save_interval", "checkpointing_steps", NULL},
    {"save_every_n_steps", "checkpointing_steps", NULL},
    {"save_every_n_epochs", "checkpointing_steps", NULL},
    {"save_state", NULL, "every checkpoint holds the whole state"},
    {"checkpoint_every", "checkpointing_steps", NULL},
    {"checkpoint_steps", "checkpointing_steps", NULL},
    {"ckpt_every", "checkpointing_steps", NULL},
    {"save_total_limit", "checkpoints_total_limit", NULL},
    {"log_every", "logging_steps", NULL},
    {"log_interval", "logging_steps", NULL},
    {"eval_every", "eval_steps", NULL},
    {"sample_every_n_steps", "sample_steps", NULL},
    {"sample_every_n_epochs", "sample_steps", NULL},
    {"validation_epochs", "sample_steps", NULL},
    {"num_validation_images", "num_samples", NULL},
    {"weight_decay", "adam_weight_decay", NULL},
    {"beta1", "adam_beta1", NULL},
    {"beta2", "adam_beta2", NULL},
    {"grad_clip", "max_grad_norm", NULL},
    {"clip_grad_norm", "max_grad_norm", NULL},
    {"gradient_clip_val", "max_grad_norm", NULL},
    {"warmup", "lr_warmup_steps", NULL},
    {"warmup_steps", "lr_warmup_steps", NULL},
    {"num_warmup_steps", "lr_warmup_steps", NULL},
    {"lr_scheduler_type", "lr_scheduler", NULL},
    {"lr_scheduler_num_cycles", NULL, "lr_scheduler is constant, linear or cosine, once"},
    {"scale_lr", NULL, "learning_rate is taken as it is"},
    {"grad_accum", "gradient_accumulation_steps", NULL},
    {"accumulate_grad_batches", "gradient_accumulation_steps", NULL},
    {"optimizer", NULL, "the optimiser is AdamW"},
    {"optimizer_type", NULL, "the optimiser is AdamW"},
    {"optimizer_args", NULL, "the optimiser is AdamW: adam_beta1, adam_beta2, adam_epsilon, adam_weight_decay"},
    {"use_8bit_adam", "adam_moments", NULL},
    {"ema", "ema_decay", NULL},
    {"ema_rate", "ema_decay", NULL},
    {"use_ema", "weights", NULL},
    {"fp16", "mixed_precision", NULL},
    {"bf16", "mixed_precision", NULL},
    {"full_fp16", "mixed_precision", NULL},
    {"full_bf16", "mixed_precision", NULL},
    {"allow_tf32", "mixed_precision", NULL},
    {"precision", "mixed_precision", NULL},
    {"dtype", "mixed_precision", NULL},
    {"save_precision", "save_dtype", NULL},
    {"gpu", "device", NULL},
    {"gpus", NULL, "a GPU is --device cuda, several are several processes (torchrun, mpirun or srun)"},
    {"num_gpus", NULL, "a GPU is --device cuda, several are several processes (torchrun, mpirun or srun)"},
    {"gpu_ids", "device", NULL},
    {"local_rank", NULL, "processes of torchrun, mpirun or srun find each other by themselves"},
    {"cuda", "device", NULL},
    {"workers", "threads", NULL},
    {"num_workers", "threads", NULL},
    {"dataloader_num_workers", "threads", NULL},
    {"max_data_loader_n_workers", "threads", NULL},
    {"pretrained_model_name_or_path", "pretrained_model", NULL},
    {"model_path", "pretrained_model", NULL},
    {"model_name_or_path", "pretrained_model", NULL},
    {"base_model", "pretrained_model", NULL},
    {"ckpt", "pretrained_model", NULL},
    {"ckpt_path", "pretrained_model", NULL},
    {"checkpoint", "pretrained_model", NULL},
    {"vae_path", "vae", NULL},
    {"taesd", "vae", NULL},
    {"pretrained_vae_model_name_or_path", "vae", NULL},
    {"vae_id_or_path", "vae", NULL},
    {"tokenizer_name", "tokenizer", NULL},
    {"revision", NULL, "models are files and folders of this machine; nothing is loaded from a hub"},
    {"variant", NULL, "models are files and folders of this machine; nothing is loaded from a hub"},
    {"push_to_hub", NULL, "results are written to output_dir; nothing is sent to a hub"},
    {"hub_model_id", NULL, "results are written to output_dir; nothing is sent to a hub"},
    {"data", "train_data", NULL},
    {"data_path", "train_data", NULL},
    {"data_dir", "train_data", NULL},
    {"train_data_dir", "train_data", NULL},
    {"instance_data_dir", "train_data", NULL},
    {"dataset", "train_data", NULL},
    {"dataset_name", "train_data", NULL},
    {"dataset_config", NULL, "pictures are a folder or an archive (train_data), with their captions beside them"},
    {"val_data", "validation_data", NULL},
    {"val_data_dir", "validation_data", NULL},
    {"validation_data_dir", "validation_data", NULL},
    {"validation_image", NULL, "samples on the way have the controls of validation_data"},
    {"controlnet_model_name_or_path", "controlnet_model", NULL},
    {"controlnet", "controlnet_model", NULL},
    {"conditioning_image_column", NULL, "a control picture is `conditioning_image` of metadata.jsonl (control given)"},
    {"class_data_dir", "bank", NULL},
    {"reg_data_dir", "bank", NULL},
    {"num_class_images", NULL, "pictures to retain are drawn before: difftune bank, with bank_size"},
    {"class_prompt", NULL, "pictures to retain are drawn before: difftune bank, with prompt"},
    {"prior_loss_weight", "retention_weight", NULL},
    {"with_prior_preservation", "retention", NULL},
    {"cache_latents", NULL, "latents are always made once and kept (cache_dir)"},
    {"cache_latents_to_disk", "cache_dir", NULL},
    {"results_dir", "output_dir", NULL},
    {"out_dir", "output_dir", NULL},
    {"outdir", "output_dir", NULL},
    {"save_dir", "output_dir", NULL},
    {"sample_dir", "output_dir", NULL},
    {"output", "output_dir", NULL},
    {"output_name", "output_dir", NULL},
    {"logging_dir", NULL, "logs are written to output_dir"},
    {"report_to", "tensorboard", NULL},
    {"log_with", "tensorboard", NULL},
    {"image_size", "resolution", NULL},
    {"height", "resolution", NULL},
    {"height", NULL, "pictures are drawn at the size that the model was trained at (resolution)"},
    {"center_crop", NULL, "pictures are always cropped at their centre"},
    {"enable_bucket", NULL, "pictures are cropped to squares at their centre; there are no buckets of sizes"},
    {"bucket_reso_steps", NULL, "pictures are cropped to squares at their centre; there are no buckets of sizes"},
    {"color_aug", NULL, "pictures are mirrored (random_flip), and nothing else is done to them"},
    {"flip_aug", "random_flip", NULL},
    {"num_classes", NULL, "the classes are the folders of train_data"},
    {"class_labels", "classes", NULL},
    {"labels", "classes", NULL},
    {"validation_prompt", "prompt", NULL},
    {"prompts", "prompt", NULL},
    {"prompt_file", "prompt", NULL},
    {"from_file", "prompt", NULL},
    {"sample_prompts", "validation_prompt", NULL},
    {"validation_prompts", "validation_prompt", NULL},
    {"instance_prompt", "default_prompt", NULL},
    {"n_samples", "num_samples", NULL},
    {"num_images", "num_samples", NULL},
    {"n_iter", "num_samples", NULL},
    {"batch_count", "num_samples", NULL},
    {"num_fid_samples", "num_samples", NULL},
    {"num_images_per_prompt", "num_samples", NULL},
    {"scheduler", "sampler", NULL},
    {"sampling_method", "sampler", NULL},
    {"ddim_eta", "eta", NULL},
    {"init_image", NULL, "samples begin from noise; a picture to begin from is not offered"},
    {"strength", NULL, "samples begin from noise; a picture to begin from is not offered"},
    {"sample_sampler", "sampler", NULL},
    {"path_type", "process", NULL},
    {"prediction", "process", NULL},
    {"prediction_type", "process", NULL},
    {"noise_scheduler", "sampler", NULL},
    {"scheduler_type", "sampler", NULL},
    {"use_karras_sigmas", NULL, "Karras' noise levels are timestep_spacing karras"},
    {"dropout", "class_dropout_prob", NULL},
    {"caption_extension", NULL,
     "captions are read from NAME.txt and NAME.caption beside pictures, and from metadata.jsonl"},
    {"caption_column", NULL, "a caption is `text` of metadata.jsonl"},
    {"caption_dropout_rate", "class_dropout_prob", NULL},
    {"proportion_empty_prompts", "class_dropout_prob", NULL},
    {"shuffle_caption", NULL, "captions are told as they stand"},
    {"keep_tokens", NULL, "captions are told as they stand"},
    {"max_token_length", NULL, "a prompt has 77 tokens; what is beyond is left out, and told"},
    {"clip_skip", NULL, "prompts are told by the encoder's last layer, as Stable Diffusion 1 was trained"},
    {"train_text_encoder", NULL, "the text encoder stays as it is"},
    {"text_encoder_lr", NULL, "the text encoder stays as it is"},
    {"network_train_unet_only", NULL, "the text encoder stays as it is anyway"},
    {"width", NULL, "of pictures that is resolution, which samples have from their model; of a network hidden_size"},
    {"num_layers", "depth", NULL},
    {"heads", "num_heads", NULL},
    {"snr_gamma", NULL, "min-SNR weights are not offered; how often each t is trained is psi's"},
    {"min_snr_gamma", NULL, "min-SNR weights are not offered; how often each t is trained is psi's"},
    {"min_timestep", NULL, "how often each t is trained is psi's (psi table)"},
    {"max_timestep", NULL, "how often each t is trained is psi's (psi table)"},
    {"noise_offset", NULL, "noise is added as the model was trained to see it; an offset is not offered"},
    {"loss_type", NULL, "the loss is the squared error of what the network predicts"},
    {"v_parameterization", NULL, "Stable Diffusion 1.x alone is known here, which predicts the noise"},
    {"v2", NULL, "Stable Diffusion 1.x alone is known here"},
    {"sdxl", NULL, "Stable Diffusion 1.x alone is known here"},
    {"lora_dropout", NULL, "adapters train without dropout"},
    {"network_dropout", NULL, "adapters train without dropout"},
    {"rank", "lora_rank", NULL},
    {"lora_r", "lora_rank", NULL},
    {"network_dim", "lora_rank", NULL},
    {"network_alpha", "lora_alpha", NULL},
    {"network_module", "adapter", NULL},
    {"network_weights", "adapter_weights", NULL},
    {"lora_weights", "adapter_weights", NULL},
    {"lora", "adapter", NULL},
    {"lora", "adapter_weights", NULL},
    {"peft", "adapter", NULL},
    {"target_modules", "lora_targets", NULL},
    {"lora_layers", "lora_targets", NULL},
    {"enable_xformers_memory_efficient_attention", NULL, "attention needs no switch here"},
    {"xformers", NULL, "attention needs no switch here"},
    {"sdpa", NULL, "attention needs no switch here"},
    {"mem_eff_attn", NULL, "attention needs no switch here"},
    {"wandb", NULL, "metrics.jsonl and TensorBoard files are written to output_dir"},
};

/* Names of keys in a sentence, as flags have them. */
static void write_flag(char text[DT_TEXT_MAX], const char *key)
{
    snprintf(text, DT_TEXT_MAX, "--%s", key);
    for (char *c = text; *c; c++) *c = *c == '_' ? '-' : *c;
}

static bool is_used(const char *key, unsigned verbs)
{
    return settings_find(key)->verbs & verbs;
}

/* The only key that begins with the words of `name` and goes on; NULL where there is none, or several. */
static const settings_key *continued(const char *name, unsigned verbs)
{
    const size_t length = strnlen(name, DT_TEXT_MAX);
    const settings_key *found = NULL;
    for (int i = 0; i < settings_key_count; i++) {
        const settings_key *key = &settings_keys[i];
        char beginning[DT_TEXT_MAX];
        if (!(key->verbs & verbs) || length >= strlen(key->name) || key->name[length] != '_') continue;
        snprintf(beginning, sizeof beginning, "%.*s", (int)length, key->name);
        if (text_distance(beginning, name, text_unhyphened) != 0) continue;
        if (found) return NULL;
        found = key;
    }
    return found;
}

const char *settings_nearest(const char *name, unsigned verbs)
{
    const int length = (int)strnlen(name, DT_TEXT_MAX), near = length < 6 ? 1 : length / 3;
    const settings_key *nearest = continued(name, verbs);
    if (nearest) return nearest->name;
    int smallest = near + 1;
    for (int i = 0; i < settings_key_count; i++) {
        const int distance = text_distance(settings_keys[i].name, name, text_unhyphened);
        if (!(settings_keys[i].verbs & verbs) || distance >= smallest) continue;
        nearest = &settings_keys[i];
        smallest = distance;
    }
    return nearest ? nearest->name : NULL;
}

void settings_hint(char text[DT_TEXT_MAX], const char *name, unsigned verbs, bool flags)
{
    char key[DT_TEXT_MAX];
    text[0] = '\0';
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (text_distance(foreign[i].word, name, text_unhyphened) != 0) continue;
        if (foreign[i].key && !is_used(foreign[i].key, verbs)) continue;
        snprintf(key, sizeof key, "%s", foreign[i].key ? foreign[i].key : "");
        if (flags && foreign[i].key) write_flag(key, foreign[i].key);
        if (foreign[i].key)
            snprintf(text, DT_TEXT_MAX, "; here that is '%.120s'", key);
        else
            snprintf(text, DT_TEXT_MAX, "; %s", foreign[i].said);
        return;
    }
    const char *nearest = settings_nearest(name, verbs);
    if (!nearest) return;
    snprintf(key, sizeof key, "%s", nearest);
    if (flags) write_flag(key, nearest);
    snprintf(text, DT_TEXT_MAX, "; the nearest one is '%.120s'", key);
}
