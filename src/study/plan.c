#include "study/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/controls.h"
#include "api/settings_check.h"
#include "api/settings_paths.h"
#include "file/folder.h"
#include "file/names.h"

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

/* What a study takes for granted; statistics are no pictures. */
static void complete_for_study(dt_settings *s)
{
    s->save_features = true;
    if (!s->reference[0]) memcpy(s->reference, s->validation_data, sizeof s->reference);
    take_split(s->reference, s, s->reference_split);
    if (!s->validation_data[0] && !file_has_extension(s->reference, "npz"))
        memcpy(s->validation_data, s->reference, sizeof s->validation_data);
}

/* Held-out pictures are those whose controls are drawn by; a distance is taken where it is asked for alone. */
static void complete_for_control(dt_settings *s, bool study)
{
    take_split(s->validation_data, s, s->reference_split);
    if (study && s->reference[0]) s->save_features = true;
}

/* Settings of adapters that arms share are nothing to one that has none. */
static void forget_adapter(dt_settings *s)
{
    dt_error never = {0};
    for (int i = 0; i < settings_key_count && s->adapter == DT_ADAPTER_NONE; i++)
        if (!settings_matter(s, &settings_keys[i]) && settings_keys[i].group == SETTINGS_GROUP_ADAPTER)
            settings_set(s, settings_keys[i].name, settings_keys[i].initial, &never);
}

/* Fills in what the arm's settings leave to the plan. */
static dt_status open_arm(study_arm *arm, bool study, dt_error *err)
{
    dt_error why = {0};
    dt_settings *s = &arm->s;
    const bool controlled = settings_tell_control(s);
    forget_adapter(s);
    if (controlled)
        complete_for_control(s, study);
    else if (study)
        complete_for_study(s);
    arm->draws = !controlled || s->reference[0];
    if (study && arm->draws && s->feature != DT_FEATURE_BASE && s->resolution == 0)
        return error_set(err, DT_ERR_ARG,
                         "arm %s: feature %s needs resolution in a study: the size of the samples, at which the "
                         "reference's pictures are compared with them",
                         arm->name, settings_word(s, "feature"));
    if (settings_check_arm(s, &why) != DT_OK) return error_set(err, why.status, "arm %s: %s", arm->name, why.message);
    take_split(s->train_data, s, "train");
    if (!controlled) take_split(s->reference, s, s->reference_split);
    if (!strcmp(s->cache_dir, default_cache)) path_of(s->cache_dir, arm, default_cache, "");
    return DT_OK;
}

static dt_status open_arms(study_plan *plan, const dt_settings *recipe, const settings_arms *arms, dt_error *err)
{
    plan->arm = calloc((size_t)arms->count, sizeof *plan->arm);
    if (!plan->arm) return error_set(err, DT_ERR_MEMORY, "%s: no memory for its arms", recipe->output_dir);
    plan->arm_count = arms->count;
    for (int i = 0; i < arms->count; i++) {
        study_arm *arm = &plan->arm[i];
        snprintf(arm->name, sizeof arm->name, "%s", arms->arm[i].name);
        if (!strcmp(arm->name, default_cache))
            return error_set(err, DT_ERR_ARG, "arm %s: the experiment keeps something else under this name", arm->name);
        arm->s = *recipe;
        arm->s.arms[0] = '\0';
        settings_arm_apply(&arm->s, &arms->arm[i]);
        if (open_arm(arm, plan->study, err) != DT_OK) return err->status;
        plan->draws = plan->draws || arm->draws;
    }
    return DT_OK;
}

/* ---- stages ---- */

/* Adds a stage called as the arm and a suffix. */
static study_stage *add_stage(study_plan *plan, const study_arm *arm, const char *suffix, const char *title,
                              study_kind kind, settings_verb verb)
{
    study_stage *stage = &plan->stage[plan->stage_count++];
    *stage = (study_stage){.title = title, .kind = kind, .verb = verb, .arm = arm, .s = arm->s};
    snprintf(stage->name, sizeof stage->name, "%s%s", arm->name, suffix);
    return stage;
}

static void add_need(study_stage *stage, const study_stage *need)
{
    int count = 0;
    while (stage->needs[count]) count++;
    stage->needs[count] = need;
}

/* ---- what arms share ---- */

/* Which subsets of pictures a distance takes is nothing to features alone, so that all seeds share them. */
static void shape_reference(dt_settings *s, const dt_settings *recipe)
{
    s->candidate[0] = s->trained_on[0] = '\0';
    s->seed = recipe->seed;
}

static void shape_training(dt_settings *s, const dt_settings *recipe)
{
    memcpy(s->reference, s->train_data, sizeof s->reference);
    shape_reference(s, recipe);
}

static void shape_cache(dt_settings *s, const dt_settings *recipe)
{
    (void)s, (void)recipe;
}

static void shape_bank(dt_settings *s, const dt_settings *recipe)
{
    (void)recipe;
    if (s->bank_seed >= 0) s->seed = s->bank_seed;
}

/* Whether a bank's path holds pictures: a bank that this program drew has a manifest, the place of one to be drawn is free. */
static bool is_pictures(const char *bank)
{
    char path[DT_PATH_MAX];
    dt_error why = {0};
    snprintf(path, sizeof path, "%s", bank);
    file_cut_word(path);
    if (!bank[0] || !file_exists(path)) return false;
    if (!file_is_folder(path)) return true;
    file_join(path, bank, MANIFEST_FILE);
    return !file_exists(path) && file_check_free_folder(bank, "bank", &why) == DT_ERR_CONFLICT;
}

static bool is_compared(const study_plan *plan, const study_arm *arm)
{
    (void)plan;
    return arm->draws;
}

static bool may_copy(const study_plan *plan, const study_arm *arm)
{
    return plan->study && arm->draws;
}

static bool always(const study_plan *plan, const study_arm *arm)
{
    (void)plan, (void)arm;
    return true;
}

/* Control pictures that are given are given of no picture that a bank would draw. */
static bool has_a_drawn_bank(const study_plan *plan, const study_arm *arm)
{
    (void)plan;
    return !is_pictures(arm->s.bank) && (!settings_tell_control(&arm->s) || controls_are_annotated(&arm->s));
}

static const struct {
    const char *name, *title;
    settings_verb verb;
    bool (*wanted)(const study_plan *plan, const study_arm *arm);
    /* Makes an arm's settings those of the stage, but for its place. */
    void (*shape)(dt_settings *s, const dt_settings *recipe);
} shared_kinds[] = {
    [STUDY_REFERENCE] = {"reference", "features of the reference images", SETTINGS_EVAL, is_compared, shape_reference},
    [STUDY_TRAINING] = {"training", "features of the training images", SETTINGS_EVAL, may_copy, shape_training},
    [STUDY_CACHE] = {"cache", "latents of the images, for models of latents", SETTINGS_CACHE, always, shape_cache},
    [STUDY_BANK] = {"bank", "memory bank", SETTINGS_BANK, has_a_drawn_bank, shape_bank},
};

/* Adds the stage that this arm needs, or returns the one with the same settings that is there already. */
static study_stage *share_stage(study_plan *plan, const study_arm *arm, study_kind kind, const dt_settings *recipe)
{
    bool first = true;
    dt_settings mine = arm->s;
    shared_kinds[kind].shape(&mine, recipe);
    for (int i = 0; i < plan->stage_count; i++) {
        study_stage *other = &plan->stage[i];
        if (other->kind != kind) continue;
        dt_settings its = other->arm->s;
        shared_kinds[kind].shape(&its, recipe);
        if (settings_same(&its, &mine, other->verb)) return other;
        first = false;
    }
    const char *name = shared_kinds[kind].name;
    study_stage *stage = add_stage(plan, arm, "", shared_kinds[kind].title, kind, shared_kinds[kind].verb);
    stage->s = mine;
    snprintf(stage->name, sizeof stage->name, "%s%s%s", name, first ? "" : "-", first ? "" : arm->name);
    return stage;
}

/* Adds what arms share of one kind. What they write, where the settings do not say it, is in the experiment's folder. */
static void share_kind(study_plan *plan, study_kind kind, const dt_settings *recipe)
{
    for (study_arm *arm = plan->arm; arm < plan->arm + plan->arm_count; arm++) {
        if (!shared_kinds[kind].wanted(plan, arm)) continue;
        study_stage *stage = share_stage(plan, arm, kind, recipe);
        if (stage->verb == SETTINGS_EVAL) path_of(stage->s.save_statistics, arm, stage->name, ".npz");
        if (stage->verb == SETTINGS_BANK && !stage->s.bank[0]) path_of(stage->s.bank, arm, stage->name, "");
        arm->shared[kind] = stage;
    }
}

/* What can fail for a missing file comes first: the reference needs its images and the features' network, the cache the
 * codec. Every arm is given the bank; those that do not replay it are measured on it. */
static void add_shared_stages(study_plan *plan, const dt_settings *recipe)
{
    for (study_kind kind = STUDY_REFERENCE; kind <= STUDY_BANK; kind++) share_kind(plan, kind, recipe);
    /* The arms' own copies are written last: until here they are compared without. */
    for (study_arm *arm = plan->arm; arm < plan->arm + plan->arm_count; arm++)
        if (arm->shared[STUDY_BANK]) memcpy(arm->s.bank, arm->shared[STUDY_BANK]->s.bank, sizeof arm->s.bank);
}

/* ---- what each arm has ---- */

static study_stage *add_train(study_plan *plan, const study_arm *arm)
{
    study_stage *stage = add_stage(plan, arm, "", settings_method_names[arm->s.method], STUDY_TRAIN, SETTINGS_TRAIN);
    path_of(stage->s.output_dir, arm, arm->name, "");
    for (int kind = 0; kind <= STUDY_BANK; kind++)
        if (arm->shared[kind]) add_need(stage, arm->shared[kind]);
    stage->measures = !arm->draws;
    return stage;
}

enum { SUFFIX_MAX = STUDY_NAME_MAX - SETTINGS_ARM_NAME_MAX };

/* "-samples", or "-WAY-samples". */
static void suffix_of(char out[SUFFIX_MAX], const settings_arm *way, const char *what)
{
    snprintf(out, SUFFIX_MAX, "%s%.*s-%s", way ? "-" : "", SETTINGS_NAME_MAX - 1, way ? way->name : "", what);
}

/* What was trained tells the base the controls of held-out pictures; the base of sd_unlocked has trained too. */
static void draw_by_control(dt_settings *s, const study_arm *arm)
{
    path_of(s->controlnet_model, arm, arm->name, "");
    if (s->sd_unlocked) path_of(s->pretrained_model, arm, arm->name, "/final/unet.safetensors");
    if (!controls_are_annotated(s))
        snprintf(s->control, sizeof s->control, CONTROL_GIVEN);
    else if (!s->control_data[0])
        memcpy(s->control_data, s->validation_data, sizeof s->control_data);
}

/* Features of the base are those of the model that the arms start from. */
static study_stage *add_samples(study_plan *plan, const study_arm *arm, const settings_arm *way)
{
    char suffix[SUFFIX_MAX];
    suffix_of(suffix, way, "samples");
    study_stage *stage = add_stage(plan, arm, suffix, "its samples", STUDY_SAMPLES, SETTINGS_SAMPLE);
    dt_settings *s = &stage->s;
    if (way) settings_arm_apply(s, way);
    s->num_samples = s->fid_count;
    if (s->feature == DT_FEATURE_BASE) memcpy(s->feature_weights, s->pretrained_model, sizeof s->feature_weights);
    if (settings_tell_control(&arm->s))
        draw_by_control(s, arm);
    else
        path_of(s->pretrained_model, arm, arm->name, "");
    path_of(s->output_dir, arm, stage->name, "");
    path_of(s->save_statistics, arm, stage->name, "/statistics.npz");
    return stage;
}

static study_stage *add_distance(study_plan *plan, const study_arm *arm, const settings_arm *way,
                                 const study_stage *samples)
{
    char suffix[SUFFIX_MAX];
    suffix_of(suffix, way, "distance");
    study_stage *stage = add_stage(plan, arm, suffix, "their distance", STUDY_DISTANCE, SETTINGS_EVAL);
    dt_settings *s = &stage->s;
    memcpy(s->reference, arm->shared[STUDY_REFERENCE]->s.save_statistics, sizeof s->reference);
    memcpy(s->candidate, samples->s.save_statistics, sizeof s->candidate);
    if (arm->shared[STUDY_TRAINING])
        memcpy(s->trained_on, arm->shared[STUDY_TRAINING]->s.save_statistics, sizeof s->trained_on);
    s->save_statistics[0] = '\0';
    s->save_features = false;
    return stage;
}

static void add_arm_stages(study_plan *plan, const study_arm *arm, const settings_arms *draw)
{
    const study_stage *train = add_train(plan, arm);
    for (int i = 0; i < plan->way_count && arm->draws; i++) {
        const settings_arm *way = draw && draw->count ? &draw->arm[i] : NULL;
        study_stage *samples = add_samples(plan, arm, way);
        study_stage *distance = add_distance(plan, arm, way, samples);
        samples->way = distance->way = i;
        distance->measures = true;
        add_need(samples, train);
        add_need(distance, samples);
    }
}

static void add_report(study_plan *plan, const dt_settings *recipe)
{
    const study_arm everything = {.name = "report", .s = *recipe};
    study_stage *stage = add_stage(plan, &everything, "", "report", STUDY_REPORT, SETTINGS_REPORT);
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

dt_status study_plan_open(study_plan *plan, const dt_settings *recipe, const settings_arms *arms,
                          const settings_arms *draw, dt_error *err)
{
    *plan = (study_plan){.way_count = draw && draw->count ? draw->count : 1, .study = draw != NULL};
    if (open_arms(plan, recipe, arms, err) == DT_OK && draw && draw->count && !plan->draws)
        error_set(err, DT_ERR_ARG,
                  "draw: of arms that tell a control nothing is drawn, unless reference names what to compare with");
    if (err->status == DT_OK) {
        const size_t most = (size_t)arms->count * (size_t)(STUDY_BANK + 2 + 2 * plan->way_count) + 1;
        plan->stage = calloc(most, sizeof *plan->stage);
        if (!plan->stage) error_set(err, DT_ERR_MEMORY, "%s: no memory for its stages", recipe->output_dir);
    }
    if (err->status == DT_OK) {
        add_shared_stages(plan, recipe);
        for (int i = 0; i < plan->arm_count; i++) add_arm_stages(plan, &plan->arm[i], draw);
        if (!plan->study) add_report(plan, recipe);
    }
    for (int i = 0; i < plan->stage_count && err->status == DT_OK; i++)
        if (check_place(plan, &plan->stage[i], err) == DT_OK) check_settings(&plan->stage[i], err);
    if (err->status != DT_OK) study_plan_close(plan);
    return err->status;
}

/* Whether a stage before this one makes what is at the path. */
static bool is_made(const study_plan *plan, const study_stage *stage, const char *path)
{
    for (const study_stage *other = plan->stage; other < stage; other++)
        for (settings_paths out = settings_paths_of(&other->s, other->verb); settings_paths_next(&out);)
            if (settings_paths_writes(&out) && (!strcmp(path, out.path) || file_is_named_below(path, out.path)))
                return true;
    return false;
}

static dt_status check_inputs(const study_plan *plan, const study_stage *stage, dt_error *err)
{
    for (settings_paths in = settings_paths_of(&stage->s, stage->verb); settings_paths_next(&in);)
        if (!settings_paths_writes(&in) && !file_exists(in.path) && !is_made(plan, stage, in.path)) {
            dt_error why = {0};
            settings_path_missing(&in, &why);
            return error_set(err, why.status, "arm %s: %s", stage->arm->name, why.message);
        }
    const char *bank = stage->s.bank;
    if (stage->kind == STUDY_BANK && !file_exists(bank) && !file_is_named_below(bank, stage->arm->s.output_dir))
        return error_set(err, DT_ERR_IO,
                         "arm %s: bank %s: no such file or folder; without it one is drawn in output_dir",
                         stage->arm->name, bank);
    return DT_OK;
}

dt_status study_plan_check_inputs(const study_plan *plan, dt_error *err)
{
    for (int others = 0; others < 2;
         others++) /* after trainings, which know a path by the name that the user gave it */
        for (const study_stage *stage = plan->stage; stage < plan->stage + plan->stage_count; stage++)
            if (stage->arm && (stage->kind != STUDY_TRAIN) == others && err->status == DT_OK)
                check_inputs(plan, stage, err);
    return err->status;
}

dt_status study_plan_check_bases(const study_plan *plan, dt_error *err)
{
    for (int i = 0; i < plan->arm_count && err->status == DT_OK; i++) {
        const study_arm *arm = &plan->arm[i];
        dt_error why = {0};
        if (settings_tell_control(&arm->s) && controls_check_base(&arm->s, &why) != DT_OK)
            error_set(err, why.status, "arm %s: %s", arm->name, why.message);
    }
    return err->status;
}

void study_plan_close(study_plan *plan)
{
    free(plan->arm);
    free(plan->stage);
    *plan = (study_plan){0};
}
