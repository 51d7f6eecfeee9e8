/* Names of files that one part of the program writes and another reads. What one part alone knows by name is named there. */
#ifndef FILE_NAMES_H
#define FILE_NAMES_H

/* Of a run's folder: what it is, its settings, what was read of its data, what was measured, and a table of psi. */
#define RUN_FILE         "run.json"
#define RUN_PATHS        "paths" /* in it: where the run's inputs lay */
#define CONFIG_FILE      "config.yaml"
#define DATA_REPORT_FILE "data_report.json"
#define METRICS_FILE     "metrics.jsonl"
#define PSI_FILE         "psi.txt"

/* Of the folders of other verbs, by which each is known. */
#define DIAGNOSIS_FILE  "diagnosis.json"
#define CHAIN_FILE      "chain.json"
#define IDEAL_FILE      "ideal.json"
#define EXPERIMENT_FILE "experiment.json" /* of `run` and `study`, */
#define RECIPE_FILE     "recipe.yaml"     /* and the settings that they were told */

/* What else is in a bank, a cache or a checkpoint, with the sum of each. */
#define MANIFEST_FILE "manifest.json"

/* Of a checkpoint. */
#define STATE_FILE    "state.json"
#define WEIGHTS_FILE  "model.safetensors"
#define AVERAGES_FILE "ema.safetensors"

#endif
