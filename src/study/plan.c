#include "study/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/controls.h"
#include "api/settings_check.h"
#include "api/settings_paths.h"
#include "base/grow.h"
#include "file/folder.h"
#include "file/names.h"
#include "settings/settings_implied.h"

static const char default_cache[] = "latents"; /* of the setting cache_dir: then it lies in the experiment's folder */

/* NAME and a suffix in the folder of the experiment. */
static void path_of(char out[DT_PATH_MAX], const study_plan *plan, const char *name, const char *suffix)
{
    char text[STUDY_NAME_MAX + 32];
    snprintf(text, sizeof text, "%s%s", name, suffix);
    file_join(out, plan->recipe->output_dir, text);
}

/* ---- arms ---- */

/* Adds ":split" to the folder of a prepared data set. */
static void take_split(char out[DT_PATH_MAX], const dt_settings *s, const char *split)
{
    if (!out[0] && s->data[0]) snprintf(out, DT_PATH_MAX, "%.*s:%s", FILE_FOLDER_MAX, s->data, split);
}

/* What is compared with are statistics, and no pictures. */
static bool has_statistics(const dt_settings *s)
{
    return file_has_extension(s->reference, "npz");
}

/* What a study takes for granted. */
static void complete_for_study(dt_settings *s)
{
    s->save_features = true;
    if (!s->reference[0]) memcpy(s->reference, s->validation_data, sizeof s->reference);
    take_split(s->reference, s, s->reference_split);
    if (!s->validation_data[0] && !has_statistics(s))
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
static dt_status open_arm(const study_plan *plan, study_arm *arm, dt_error *err)
{
    dt_error why = {0};
    dt_settings *s = &arm->s;
    const bool study = plan->study, controlled = settings_tell_control(s);
    forget_adapter(s);
    settings_imply(s, SETTINGS_TRAIN);
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
    if (!strcmp(s->cache_dir, default_cache)) path_of(s->cache_dir, plan, default_cache, "");
    return DT_OK;
}

static dt_status open_arms(study_plan *plan, const settings_arms *arms, dt_error *err)
{
    const dt_settings *recipe = plan->recipe;
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
        if (open_arm(plan, arm, err) != DT_OK) return err->status;
        plan->draws = plan->draws || arm->draws;
    }
    return DT_OK;
}

/* ---- what arms share ---- */

/* Which subsets of pictures a distance takes is nothing to features alone, so that all seeds share them. */
static void shape_reference(dt_settings *s, const dt_settings *recipe)
{
    s->candidate[0] = s->trained_on[0] = '\0';
    s->adapter_weights[0] = s->blend[0] = '\0';
    s->seed = recipe->seed;
    s->save_features = s->save_features && !has_statistics(s);
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

/* Where a shared stage writes is in the experiment's folder, where the settings do not say it. */
static void settle_shared(dt_settings *s, const study_plan *plan, const study_stage *stage)
{
    shared_kinds[stage->kind].shape(s, plan->recipe);
    if (stage->verb == SETTINGS_EVAL) path_of(s->save_statistics, plan, stage->name, ".npz");
    if (stage->verb == SETTINGS_BANK && !s->bank[0]) path_of(s->bank, plan, stage->name, "");
}

/* ---- what each arm has ---- */

static void settle_train(dt_settings *s, const study_plan *plan, const study_stage *stage)
{
    path_of(s->output_dir, plan, stage->name, "");
}

/* It has in it what was joined to its base. */
static void draw_by_trained(dt_settings *s, const study_plan *plan, const study_arm *arm, const char *file)
{
    path_of(s->pretrained_model, plan, arm->name, file);
    s->adapter_weights[0] = s->blend[0] = '\0';
}

/* What was trained tells the base the controls of held-out pictures; the base of sd_unlocked has trained too. */
static void draw_by_control(dt_settings *s, const study_plan *plan, const study_arm *arm)
{
    path_of(s->controlnet_model, plan, arm->name, "");
    if (s->sd_unlocked) draw_by_trained(s, plan, arm, "/final/unet.safetensors");
    if (!controls_are_annotated(s))
        snprintf(s->control, sizeof s->control, CONTROL_GIVEN);
    else if (!s->control_data[0])
        memcpy(s->control_data, s->validation_data, sizeof s->control_data);
}

static const settings_arm *way_of(const study_plan *plan, int number)
{
    return plan->draw && plan->draw->count ? &plan->draw->arm[number] : NULL;
}

/* Features of the base are those of the model that the arms start from. */
static void settle_samples(dt_settings *s, const study_plan *plan, const study_stage *stage)
{
    const settings_arm *way = way_of(plan, stage->way);
    if (way) settings_arm_apply(s, way);
    s->num_samples = s->fid_count;
    if (s->feature == DT_FEATURE_BASE) memcpy(s->feature_weights, s->pretrained_model, sizeof s->feature_weights);
    if (settings_tell_control(&stage->arm->s))
        draw_by_control(s, plan, stage->arm);
    else
        draw_by_trained(s, plan, stage->arm, "");
    path_of(s->output_dir, plan, stage->name, "");
    path_of(s->save_statistics, plan, stage->name, "/statistics.npz");
}

/* Between statistics that the stages before have written; a reference of statistics may hold features that its stage does not keep. */
static void settle_distance(dt_settings *s, const study_plan *plan, const study_stage *stage)
{
    const study_stage *const *shared = stage->arm->shared;
    if (!has_statistics(s)) path_of(s->reference, plan, shared[STUDY_REFERENCE]->name, ".npz");
    path_of(s->candidate, plan, stage->needs[0]->name, "/statistics.npz");
    if (shared[STUDY_TRAINING]) path_of(s->trained_on, plan, shared[STUDY_TRAINING]->name, ".npz");
    s->adapter_weights[0] = s->blend[0] = s->save_statistics[0] = '\0';
    s->save_features = false;
}

static void settle_report(dt_settings *s, const study_plan *plan, const study_stage *stage)
{
    const dt_settings *recipe = plan->recipe;
    memcpy(s->runs, recipe->output_dir, sizeof recipe->output_dir);
    path_of(s->output, plan, stage->name, ".html");
    if (!s->title[0]) snprintf(s->title, sizeof s->title, "%.200s", recipe->recipe[0] ? recipe->recipe : "Diff-Tuning");
}

void study_stage_settings(dt_settings *out, const study_plan *plan, const study_stage *stage)
{
    static void (*const settle[])(dt_settings * s, const study_plan *plan, const study_stage *stage) = {
        [STUDY_REFERENCE] = settle_shared,  [STUDY_TRAINING] = settle_shared, [STUDY_CACHE] = settle_shared,
        [STUDY_BANK] = settle_shared,       [STUDY_TRAIN] = settle_train,     [STUDY_SAMPLES] = settle_samples,
        [STUDY_DISTANCE] = settle_distance, [STUDY_REPORT] = settle_report};
    *out = stage->arm ? stage->arm->s : *plan->recipe;
    settle[stage->kind](out, plan, stage);
}

/* ---- stages ---- */

/* Adds a stage; its name is a name and a suffix. */
static study_stage *add_stage(study_plan *plan, const study_arm *arm, const char *name, const char *suffix,
                              const char *title, study_kind kind, settings_verb verb)
{
    study_stage *stage = &plan->stage[plan->stage_count++];
    *stage = (study_stage){.title = title, .kind = kind, .verb = verb, .arm = arm};
    snprintf(stage->name, sizeof stage->name, "%s%s", name, suffix);
    return stage;
}

static void add_need(study_stage *stage, const study_stage *need)
{
    int count = 0;
    while (stage->needs[count]) count++;
    stage->needs[count] = need;
}

/* Adds the stage that this arm needs, or returns the one with the same settings that is there already. */
static const study_stage *share_stage(study_plan *plan, const study_arm *arm, study_kind kind)
{
    bool first = true;
    char suffix[SETTINGS_ARM_NAME_MAX + 1] = "";
    dt_settings mine = arm->s;
    shared_kinds[kind].shape(&mine, plan->recipe);
    for (int i = 0; i < plan->stage_count; i++) {
        const study_stage *other = &plan->stage[i];
        if (other->kind != kind) continue;
        dt_settings its = other->arm->s;
        shared_kinds[kind].shape(&its, plan->recipe);
        if (settings_same(&its, &mine, other->verb)) return other;
        first = false;
    }
    if (!first) snprintf(suffix, sizeof suffix, "-%s", arm->name);
    return add_stage(plan, arm, shared_kinds[kind].name, suffix, shared_kinds[kind].title, kind,
                     shared_kinds[kind].verb);
}

/* What can fail for a missing file comes first: the reference needs its images and the features' network, the cache the
 * codec. Every arm is given the bank; those that do not replay it are measured on it. */
static void add_shared_stages(study_plan *plan)
{
    study_arm *const end = plan->arm + plan->arm_count;
    for (study_kind kind = STUDY_REFERENCE; kind <= STUDY_BANK; kind++)
        for (study_arm *arm = plan->arm; arm < end; arm++)
            if (shared_kinds[kind].wanted(plan, arm)) arm->shared[kind] = share_stage(plan, arm, kind);
    /* The arms' banks are written last: until here they are compared without. */
    for (study_arm *arm = plan->arm; arm < end; arm++)
        if (arm->shared[STUDY_BANK] && !arm->s.bank[0]) path_of(arm->s.bank, plan, arm->shared[STUDY_BANK]->name, "");
}

static const study_stage *add_train(study_plan *plan, const study_arm *arm)
{
    study_stage *stage =
        add_stage(plan, arm, arm->name, "", settings_method_names[arm->s.method], STUDY_TRAIN, SETTINGS_TRAIN);
    for (int kind = 0; kind <= STUDY_BANK; kind++)
        if (arm->shared[kind]) add_need(stage, arm->shared[kind]);
    stage->measures = !arm->draws;
    return stage;
}

/* Adds NAME-samples or NAME-distance, or NAME-WAY-samples and so on, which needs another one. */
static study_stage *add_drawn(study_plan *plan, const study_arm *arm, int way, const char *what, const char *title,
                              study_kind kind, settings_verb verb, const study_stage *need)
{
    enum { SUFFIX_MAX = STUDY_NAME_MAX - SETTINGS_ARM_NAME_MAX };
    char suffix[SUFFIX_MAX];
    const settings_arm *named = way_of(plan, way);
    snprintf(suffix, sizeof suffix, "%s%.*s-%s", named ? "-" : "", SETTINGS_NAME_MAX - 1, named ? named->name : "",
             what);
    study_stage *stage = add_stage(plan, arm, arm->name, suffix, title, kind, verb);
    stage->way = way;
    add_need(stage, need);
    return stage;
}

static void add_arm_stages(study_plan *plan, const study_arm *arm)
{
    const study_stage *train = add_train(plan, arm);
    for (int i = 0; i < plan->way_count && arm->draws; i++) {
        const study_stage *samples =
            add_drawn(plan, arm, i, "samples", "its samples", STUDY_SAMPLES, SETTINGS_SAMPLE, train);
        add_drawn(plan, arm, i, "distance", "their distance", STUDY_DISTANCE, SETTINGS_EVAL, samples)->measures = true;
    }
}

/* ---- checks ---- */

/* Against the stages before it: names are folders, and a bank given by the user is one folder for all arms. */
static dt_status check_place(const study_plan *plan, const study_stage *stage, dt_error *err)
{
    for (const study_stage *other = plan->stage; other < stage; other++) {
        if (!strcmp(other->name, stage->name))
            return error_set(err, DT_ERR_ARG, "arm %s: another stage is called %s; choose another name",
                             stage->arm ? stage->arm->name : other->arm->name, stage->name);
        if (stage->verb == SETTINGS_BANK && other->verb == SETTINGS_BANK &&
            !strcmp(other->arm->s.bank, stage->arm->s.bank))
            return error_set(err, DT_ERR_ARG, "arm %s: its bank is another one than that of arm %s; leave out bank",
                             stage->arm->name, other->arm->name);
    }
    return DT_OK;
}

static dt_status check_settings(const study_plan *plan, const study_stage *stage, dt_error *err)
{
    dt_error why = {0};
    dt_settings s;
    study_stage_settings(&s, plan, stage);
    const bool idle = stage->verb == SETTINGS_CACHE && !s.vae[0]; /* its rules are those of models of latents */
    if (!idle && settings_check(&s, stage->verb, &why) != DT_OK)
        error_set(err, why.status, "%s%s: %s", stage->arm ? "arm " : "", stage->arm ? stage->arm->name : stage->name,
                  why.message);
    return err->status;
}

dt_status study_plan_open(study_plan *plan, const dt_settings *recipe, const settings_arms *arms,
                          const settings_arms *draw, dt_error *err)
{
    *plan = (study_plan){
        .recipe = recipe, .draw = draw, .way_count = draw && draw->count ? draw->count : 1, .study = draw != NULL};
    if (open_arms(plan, arms, err) == DT_OK && draw && draw->count && !plan->draws)
        error_set(err, DT_ERR_ARG,
                  "draw: of arms that tell a control nothing is drawn, unless reference names what to compare with");
    if (err->status == DT_OK) {
        const size_t most = (size_t)arms->count * (size_t)(STUDY_BANK + 2 + 2 * plan->way_count) + 1;
        plan->stage = calloc(most, sizeof *plan->stage);
        if (!plan->stage) error_set(err, DT_ERR_MEMORY, "%s: no memory for its stages", recipe->output_dir);
    }
    if (err->status == DT_OK) {
        add_shared_stages(plan);
        for (int i = 0; i < plan->arm_count; i++) add_arm_stages(plan, &plan->arm[i]);
        if (!plan->study) add_stage(plan, NULL, "report", "", "report", STUDY_REPORT, SETTINGS_REPORT);
    }
    for (int i = 0; i < plan->stage_count && err->status == DT_OK; i++)
        if (check_place(plan, &plan->stage[i], err) == DT_OK) check_settings(plan, &plan->stage[i], err);
    if (err->status != DT_OK) study_plan_close(plan);
    return err->status;
}

/* ---- what must be there ---- */

/* A path that a stage writes at. */
typedef struct written {
    const study_stage *by;
    char path[DT_PATH_MAX];
} written;

/* All of them, in the order of the stages. */
typedef struct written_list {
    written *at;
    int64_t count;
} written_list;

static dt_status add_written(written_list *w, const study_stage *by, const char *path, dt_error *err)
{
    written *grown = grow_array(w->at, w->count, sizeof *grown);
    if (!grown) return error_set(err, DT_ERR_MEMORY, "no memory for what stage %s writes", by->name);
    w->at = grown;
    grown[w->count].by = by;
    snprintf(grown[w->count++].path, DT_PATH_MAX, "%s", path);
    return DT_OK;
}

static dt_status list_written(written_list *w, const study_plan *plan, dt_error *err)
{
    for (const study_stage *stage = plan->stage; stage < plan->stage + plan->stage_count; stage++) {
        dt_settings s;
        study_stage_settings(&s, plan, stage);
        for (settings_paths at = settings_paths_of(&s, stage->verb); settings_paths_next(&at);)
            if (settings_paths_writes(&at) && add_written(w, stage, at.path, err) != DT_OK) return err->status;
    }
    return err->status;
}

/* Whether a stage before this one makes what is at the path. */
static bool is_made(const written_list *w, const study_stage *stage, const char *path)
{
    for (const written *at = w->at; at < w->at + w->count && at->by < stage; at++)
        if (!strcmp(path, at->path) || file_is_named_below(path, at->path)) return true;
    return false;
}

static dt_status check_inputs(const study_plan *plan, const written_list *w, const study_stage *stage, dt_error *err)
{
    dt_settings s;
    study_stage_settings(&s, plan, stage);
    for (settings_paths in = settings_paths_of(&s, stage->verb); settings_paths_next(&in);)
        if (!settings_paths_writes(&in) && !file_exists(in.path) && !is_made(w, stage, in.path)) {
            dt_error why = {0};
            settings_path_missing(&in, &why);
            return error_set(err, why.status, "arm %s: %s", stage->arm->name, why.message);
        }
    if (stage->kind == STUDY_BANK && !file_exists(s.bank) && !file_is_named_below(s.bank, plan->recipe->output_dir))
        return error_set(err, DT_ERR_IO,
                         "arm %s: bank %s: no such file or folder; without it one is drawn in output_dir",
                         stage->arm->name, s.bank);
    return DT_OK;
}

/* First of trainings, which know a path by the name that the user gave it. */
dt_status study_plan_check_inputs(const study_plan *plan, dt_error *err)
{
    written_list w = {0};
    list_written(&w, plan, err);
    for (int others = 0; others < 2; others++)
        for (const study_stage *stage = plan->stage; stage < plan->stage + plan->stage_count; stage++)
            if (stage->arm && (stage->kind != STUDY_TRAIN) == others && err->status == DT_OK)
                check_inputs(plan, &w, stage, err);
    free(w.at);
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
