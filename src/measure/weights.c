#include "measure/weights.h"

#include "model/file/params_file.h"

/* Where a row's start is read to, and the difference made; in scratch. */
typedef struct row_room {
    real *start, *difference;
} row_room;

static bool take_room(trainer *t, row_room *room)
{
    int64_t largest = 0;
    for (int i = 0; i < t->set.count; i++) {
        const int64_t count = tensor_count(t->set.row[i].tensor);
        if (count > largest) largest = count;
    }
    const size_t bytes = (size_t)largest * sizeof(real);
    room->start = numbers_alloc(t->c, &t->c->scratch, bytes);
    room->difference = numbers_alloc(t->c, &t->c->scratch, bytes);
    return !ctx_failed(t->c);
}

/* The table that the row is of, where a rule made it start; NULL: the base's file did, or nothing that is known. */
static const params *made_by(const trainer *t, const param *row)
{
    const params *own = &t->adapter.params, *model = t->model.params;
    if (row->init == PARAM_GIVEN) return NULL;
    if (row >= own->row && row < own->row + own->count) return own;
    return !t->file.path[0] ? model : NULL;
}

/* What the row started with; NULL where that is not known. */
static const real *start_of(trainer *t, const train_row *r, const row_room *room)
{
    const params *made = made_by(t, r->param);
    if (r->anchor) return r->anchor;
    if (made)
        params_start(t->c, room->start, made, (int)(r->param - made->row), t->plan.seed);
    else if (trainer_row_is_of_base(t, r))
        params_read_values(t->c, room->start, r->param, trainer_start_file(t, r->param), r->param->name);
    else
        return NULL;
    return room->start;
}

dt_status measure_weights(trainer *t, weight_distance *out)
{
    ctx *c = t->c;
    row_room room;
    const arena_place mark = arena_mark(&c->scratch);
    *out = (weight_distance){0};
    const bool ready = take_room(t, &room);
    for (int i = 0; ready && i < t->set.count && !ctx_failed(c); i++) {
        const train_row *r = &t->set.row[i];
        const int64_t count = tensor_count(r->tensor);
        const real *start = start_of(t, r, &room), *difference = room.difference;
        if (!start) out->left_out += count;
        if (!start || ctx_failed(c)) continue;
        c->engine.memory.clear(room.difference, (size_t)count * sizeof(real));
        c->engine.add_difference(room.difference, r->tensor->data, start, 1, count);
        weight_distance_add(out, r->param->name, c->engine.sum_squares(&difference, &count, 1), count);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

void measure_weights_rehearse(trainer *t)
{
    row_room room;
    const arena_place mark = arena_mark(&t->c->scratch);
    take_room(t, &room);
    arena_release(&t->c->scratch, mark);
}
