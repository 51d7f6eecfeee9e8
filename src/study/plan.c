#include "study/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/settings_check.h"
#include "file/file.h"

static const char default_cache[] = "latents"; /* of the setting cache_dir: then it lies in the experiment's folder */

/* NAME and a suffix in the folder of the experiment, which is the arms' output_dir. */
static void path_of(char out[DT_PATH_MAX], const study_arm *arm, const char *name, const char *suffix)
{
    char text[STUDY_NAME_MAX + 32];
    snprintf(text, sizeof text, "%s%s", name, suffix);
    file_join(out, arm->s.output_dir, text);
}

/* ---- arms ---- */

/* Adds ":split" to the folder of a prepared data set. */
static void take_split(char out[DT_PATH_MAX], const dt_settings *s, const char *split)
{
    if (!out[0] && s->data[0]) snprintf(out, DT_PATH_MAX, "%.*s:%s", FILE_FOLDER_MAX, s->data, split);
}

static dt_status open_arms(study_plan *plan, const dt_settings *recipe, const settings_arms *arms, dt_error *err)
{
    plan->arm = calloc((size_t)arms->count, sizeof *plan->arm);
    if (!plan->arm) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its arms", recipe->output_dir);
    plan->arm_count = arms->count;
    for (int i = 0; i < arms->count; i++) {
        study_arm *arm = &plan->arm[i];
        dt_error why = {0};
        snprintf(arm->name, sizeof arm->name, "%s", arms->arm[i].name);
        if (!strcmp(arm->name, default_cache))
            return error_set(err, DT_ERR_ARG, "arm %s: the experiment keeps something else under this name", arm->name);
        arm->s = *recipe;
        arm->s.arms[0] = '\0';
        settings_arm_apply(&arm->s, &arms->arm[i]);
        if (settings_check(&arm->s, SETTINGS_RUN, &why) != DT_OK)
            return error_set(err, why.status, "arm %s: %s", arm->name, why.message);
        take_split(arm->s.train_data, &arm->s, "train");
        take_split(arm->s.reference, &arm->s, arm->s.reference_split);
        if (!strcmp(arm->s.cache_dir, default_cache)) path_of(arm->s.cache_dir, arm, default_cache, "");
    }
    return DT_OK;
}

/* ---- stages ---- */

/* Adds a stage called as the arm and a suffix. */
static study_stage *add_stage(study_plan *plan, const study_arm *arm, const char *suffix, const char *title,
                              settings_verb verb)
{
    study_stage *stage = &plan->stage[plan->stage_count++];
    *stage = (study_stage){.title = title, .verb = verb, .arm = arm, .s = arm->s};
    snprintf(stage->name, sizeof stage->name, "%s%s", arm->name, suffix);
    return stage;
}

/* Adds the stage that this arm needs, or returns the one with the same settings that is there already. */
static study_stage *share_stage(study_plan *plan, const study_arm *arm, const char *name, const char *title,
                                settings_verb verb)
{
    bool first = true;
    for (int i = 0; i < plan->stage_count; i++) {
        study_stage *other = &plan->stage[i];
        if (other->verb != verb) continue;
        if (settings_same(&other->arm->s, &arm->s, verb)) return other;
        first = false;
    }
    study_stage *stage = add_stage(plan, arm, "", title, verb);
    stage->shared = true;
    snprintf(stage->name, sizeof stage->name, "%s%s%s", name, first ? "" : "-", first ? "" : arm->name);
    return stage;
}

/* What can fail for a missing file comes first: the reference needs its images and the features' network, the cache the
 * codec. Every arm is given the bank; those that do not replay it are measured on it. */
static void add_shared_stages(study_plan *plan)
{
    const study_arm *end = plan->arm + plan->arm_count;
    for (study_arm *arm = plan->arm; arm < end; arm++) {
        study_stage *stage = share_stage(plan, arm, "reference", "features of the reference images", SETTINGS_EVAL);
        stage->s.candidate[0] = '\0';
        path_of(stage->s.save_statistics, arm, stage->name, ".npz");
        arm->reference = stage;
    }
    for (study_arm *arm = plan->arm; arm < end; arm++)
        share_stage(plan, arm, "cache", "latents of the images, for models of latents", SETTINGS_CACHE);
    for (study_arm *arm = plan->arm; arm < end; arm++) {
        study_stage *stage = share_stage(plan, arm, "bank", "memory bank", SETTINGS_BANK);
        if (!stage->s.bank[0]) path_of(stage->s.bank, arm, stage->name, "");
        arm->bank = stage;
    }
    /* The arms' own copies are written last: until here they are compared without. */
    for (study_arm *arm = plan->arm; arm < end; arm++) memcpy(arm->s.bank, arm->bank->s.bank, sizeof arm->s.bank);
}

static void add_train(study_plan *plan, const study_arm *arm)
{
    study_stage *stage = add_stage(plan, arm, "", settings_method_names[arm->s.method], SETTINGS_TRAIN);
    path_of(stage->s.output_dir, arm, arm->name, "");
}

/* Features of the base are those of the model that the arms start from. */
static void add_samples(study_plan *plan, const study_arm *arm)
{
    dt_settings *s = &add_stage(plan, arm, "-samples", "its samples", SETTINGS_SAMPLE)->s;
    s->num_samples = s->fid_count;
    if (s->feature == DT_FEATURE_BASE) memcpy(s->feature_weights, s->pretrained_model, sizeof s->feature_weights);
    path_of(s->pretrained_model, arm, arm->name, "");
    path_of(s->output_dir, arm, arm->name, "-samples");
    path_of(s->save_statistics, arm, arm->name, "-samples/statistics.npz");
}

static void add_distance(study_plan *plan, const study_arm *arm)
{
    dt_settings *s = &add_stage(plan, arm, "-distance", "their distance", SETTINGS_EVAL)->s;
    memcpy(s->reference, arm->reference->s.save_statistics, sizeof s->reference);
    path_of(s->candidate, arm, arm->name, "-samples/statistics.npz");
    s->save_statistics[0] = '\0';
}

static void add_report(study_plan *plan, const dt_settings *recipe)
{
    const study_arm everything = {.name = "report", .s = *recipe};
    study_stage *stage = add_stage(plan, &everything, "", "report", SETTINGS_REPORT);
    stage->arm = NULL;
    memcpy(stage->s.runs, recipe->output_dir, sizeof recipe->output_dir);
    path_of(stage->s.output, &everything, "report", ".html");
    if (!stage->s.title[0])
        snprintf(stage->s.title, sizeof stage->s.title, "%.200s", recipe->recipe[0] ? recipe->recipe : "Diff-Tuning");
}

/* ---- checks ---- */

/* Against the stages before it: names are folders, and a bank given by the user is one folder for all arms. */
static dt_status check_place(const study_plan *plan, const study_stage *stage, dt_error *err)
{
    for (const study_stage *other = plan->stage; other < stage; other++) {
        if (!strcmp(other->name, stage->name))
            return error_set(err, DT_ERR_ARG, "arm %s: another stage is called %s; choose another name",
                             stage->arm ? stage->arm->name : other->arm->name, stage->name);
        if (stage->verb == SETTINGS_BANK && other->verb == SETTINGS_BANK && !strcmp(other->s.bank, stage->s.bank))
            return error_set(err, DT_ERR_ARG, "arm %s: its bank is another one than that of arm %s; leave out bank",
                             stage->arm->name, other->arm->name);
    }
    return DT_OK;
}

static dt_status check_settings(const study_stage *stage, dt_error *err)
{
    dt_error why = {0};
    bool idle = stage->verb == SETTINGS_CACHE && !stage->s.vae[0]; /* its rules are those of models of latents */
    if (!idle && settings_check(&stage->s, stage->verb, &why) != DT_OK)
        error_set(err, why.status, "%s%s: %s", stage->arm ? "arm " : "", stage->arm ? stage->arm->name : stage->name,
                  why.message);
    return err->status;
}

dt_status study_plan_open(study_plan *plan, const dt_settings *recipe, const settings_arms *arms, dt_error *err)
{
    *plan = (study_plan){0};
    if (open_arms(plan, recipe, arms, err) == DT_OK) {
        size_t most = (size_t)arms->count * 6 + 1;
        plan->stage = calloc(most, sizeof *plan->stage);
        if (!plan->stage) error_set(err, DT_ERR_MEMORY, "%s: no memory for its stages", recipe->output_dir);
    }
    if (err->status == DT_OK) {
        add_shared_stages(plan);
        for (int i = 0; i < plan->arm_count; i++) {
            add_train(plan, &plan->arm[i]);
            add_samples(plan, &plan->arm[i]);
            add_distance(plan, &plan->arm[i]);
        }
        add_report(plan, recipe);
    }
    for (int i = 0; i < plan->stage_count && err->status == DT_OK; i++)
        if (check_place(plan, &plan->stage[i], err) == DT_OK) check_settings(&plan->stage[i], err);
    if (err->status != DT_OK) study_plan_close(plan);
    return err->status;
}

void study_plan_close(study_plan *plan)
{
    free(plan->arm);
    free(plan->stage);
    *plan = (study_plan){0};
}
