#include "cli.h"

static dt_status run(dt_context *ctx, const dt_settings *s, char *const operand[], const dt_observer *observer)
{
    (void)operand;
    return dt_run(ctx, s, observer);
}

const verb run_verb = {
    .section = VERB_WHOLE,
    .name = "run",
    .summary = "does all of this as one experiment: Diff-Tuning and plain fine-tuning side by side",
    .description = "Does what the file RECIPE describes, in one folder: statistics of the reference images, the cache "
                   "of latents, the memory bank, tuning by each of the arms with otherwise the same settings, images "
                   "of each, their distances, and report.html beside the paper's numbers. RECIPE is a YAML file of "
                   "settings, such as recipes/stanford_cars.yaml; flags win over it. The arms are plain fine-tuning "
                   "and Diff-Tuning, or those of the mapping 'arms' in the recipe, each a name with settings of its "
                   "own. Instead of --data, made by data prepare, --train-data and --reference may name folders of "
                   "yours. Of a recipe with --control, such as recipes/controlnet_edge.yaml, the result is from which "
                   "step samples of each arm obey it, and a distance only with --reference. An interrupted call goes "
                   "on with the same command: finished stages are recognised by their "
                   "settings, and a call with other settings for one of them is refused.",
    .example = "  difftune data prepare stanford_cars downloads --output-dir cars\n"
               "  difftune run recipes/stanford_cars.yaml --data cars --pretrained-model DiT-XL-2-256x256.pt \\\n"
               "      --vae sd-vae-ft-ema --feature-weights pt_inception-2015-12-05-6726825d.pth \\\n"
               "      --output-dir cars-run\n"
               "  difftune run recipes/controlnet_edge.yaml --pretrained-model v1-5-pruned-emaonly.safetensors \\\n"
               "      --train-data coco/train2017 --validation-data coco/val2017 --output-dir edge-run\n",
    .needs = "data pretrained_model output_dir",
    .often = "vae feature_weights arms max_train_steps bank_size fid_count annotator_weights mixed_precision "
             "device",
    .keys = SETTINGS_RUN | SETTINGS_CACHE | SETTINGS_BANK | SETTINGS_TRAIN | SETTINGS_SAMPLE | SETTINGS_EVAL,
    .operands = "RECIPE",
    .operand_is_config = true,
    .run = run,
};
