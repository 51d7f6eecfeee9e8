#include "data/class_list.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* A whole number, which *at is moved behind. One that is too large stays so. */
static bool read_number(int64_t *number, const char **at)
{
    char *end;
    if (!isdigit((unsigned char)**at)) return false;
    *number = strtoll(*at, &end, 10);
    *at = end;
    return true;
}

/* "7" or "3-9" as numbers of classes. */
static bool read_numbers(int64_t *first, int64_t *last, const char *word, int64_t class_count)
{
    if (!read_number(first, &word)) return false;
    *last = *first;
    if (*word == '-' && word++ && !read_number(last, &word)) return false;
    return *word == '\0' && *first <= *last && *last < class_count;
}

/* The class of that name, or -1; *more tells whether there are several. */
static int64_t find_name(const model_info *info, const char *word, bool *more)
{
    int64_t found = -1;
    *more = false;
    for (int64_t i = 0; i < info->class_name_count; i++) {
        if (strcmp(info->class_name[i], word)) continue;
        *more = found >= 0;
        if (found < 0) found = i;
    }
    return found;
}

/* A class that is called by a number which is not its own: numbers are names then, and no ranges. -1: there is none. */
static int64_t misnumbered(const model_info *info)
{
    for (int64_t i = 0; i < info->class_name_count; i++) {
        int64_t number;
        const char *name = info->class_name[i];
        if (read_number(&number, &name) && *name == '\0' && number != i) return i;
    }
    return -1;
}

static dt_status refuse(const char *word, const model_info *info, int64_t class_count, int64_t called, dt_error *err)
{
    if (called >= 0)
        return error_set(
            err, DT_ERR_ARG,
            "classes: \"%s\" is not the name of a class; as the model calls class %lld \"%s\", numbers are "
            "taken for names only, parted by commas",
            word, (long long)called, info->class_name[called]);
    return error_set(err, DT_ERR_ARG,
                     "classes: \"%s\" is neither a class name of the model%s nor a number 0..%lld, nor two of them "
                     "with a hyphen",
                     word, info->class_name_count ? "" : ", which names none,", (long long)class_count - 1);
}

/* One word: the name of a class, else its number or a range of numbers. What could be both is refused. */
static dt_status read_word(int64_t *first, int64_t *last, const char *word, const model_info *info, int64_t class_count,
                           dt_error *err)
{
    bool more;
    word += strspn(word, " ");
    const int64_t named = find_name(info, word, &more), called = misnumbered(info);
    const bool numbers = called < 0 && read_numbers(first, last, word, class_count);
    if (more) return error_set(err, DT_ERR_ARG, "classes: more than one class of the model has the name \"%s\"", word);
    if (named < 0) return numbers ? DT_OK : refuse(word, info, class_count, called, err);
    if (numbers && (*first != named || *last != named))
        return error_set(err, DT_ERR_ARG,
                         "classes: \"%s\" is the name of class %lld, and could be numbers of others; give the number",
                         word, (long long)named);
    *first = *last = named;
    return DT_OK;
}

/* Counts the classes of the text, and fills l->class where there is room for them. */
static dt_status walk(class_list *l, const char *classes, const model_info *info, int64_t class_count, dt_error *err)
{
    char text[DT_TEXT_MAX], *rest = text;
    snprintf(text, sizeof text, "%s", classes);
    l->count = 0;
    for (const char *word; (word = strsep(&rest, ","));) {
        int64_t first = 0, last = 0;
        if (read_word(&first, &last, word, info, class_count, err) != DT_OK) return err->status;
        for (int64_t y = first; y <= last; y++, l->count++)
            if (l->class) l->class[l->count] = (int32_t)y;
    }
    return DT_OK;
}

static dt_status make_room(class_list *l, ctx *c)
{
    l->class = arena_alloc(&c->model, (size_t)l->count * sizeof *l->class, &c->error);
    return c->error.status;
}

dt_status class_list_all(class_list *l, ctx *c, int64_t class_count)
{
    *l = (class_list){.order = DT_CLASSES_IN_TURN, .count = class_count};
    if (make_room(l, c) != DT_OK) return c->error.status;
    for (int64_t y = 0; y < class_count; y++) l->class[y] = (int32_t)y;
    return DT_OK;
}

dt_status class_list_one(class_list *l, ctx *c, int32_t class)
{
    *l = (class_list){.order = DT_CLASSES_IN_TURN, .count = 1};
    if (make_room(l, c) == DT_OK) l->class[0] = class;
    return c->error.status;
}

dt_status class_list_read(class_list *l, ctx *c, const dt_settings *s, const model_info *info, int64_t class_count)
{
    if (s->classes[0] && class_count == 0)
        return error_set(&c->error, DT_ERR_ARG, "classes %s: the model has no classes", s->classes);
    if (s->classes[0]) {
        *l = (class_list){0};
        if (walk(l, s->classes, info, class_count, &c->error) != DT_OK || make_room(l, c) != DT_OK)
            return c->error.status;
        walk(l, s->classes, info, class_count, &c->error);
    } else {
        class_list_all(l, c, class_count);
    }
    l->order = s->class_order;
    l->seed = (uint64_t)s->seed;
    return c->error.status;
}

int32_t class_list_at(const class_list *l, int64_t number)
{
    if (l->count == 0) return 0;
    if (l->order == DT_CLASSES_IN_TURN) return l->class[number % l->count];
    rng_key key = {.seed = l->seed, .purpose = RNG_SAMPLE_CLASS, .sample = (uint32_t)number};
    return l->class[rng_below(key, 0, (uint64_t)l->count)];
}
