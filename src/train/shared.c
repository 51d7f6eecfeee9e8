#include "train/shared.h"

#include "train/carry.h"

enum {
    WINDOW_MIN = 1 << 16, /* values of a part that are added up at a time */
    WINDOW_MAX = 1 << 20,
    ROOM_VALUES = 1 << 22, /* that others' gradients take where it can be kept to */
};

/* ---- windows ---- */

/* The more ranks there are, the less of each other's gradients is in memory. */
static int64_t window_values(int ranks)
{
    const int64_t values = ROOM_VALUES / (ranks - 1);
    return values < WINDOW_MIN ? WINDOW_MIN : values > WINDOW_MAX ? WINDOW_MAX : values;
}

static int64_t within(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* What of a rank's part of a row lies in window number `window` of the `windows` that its part of all values is cut into. */
static row_part part_in_window(const trainset *set, int row, int rank, int ranks, int64_t window, int64_t windows)
{
    const row_part p = trainset_part(set, row, rank, ranks);
    const int64_t begin = trainset_before(set, rank, ranks) - set->row[row].at + window * window_values(ranks);
    const int64_t low = window == 0 ? p.first : within(begin, p.first, p.first + p.count);
    const int64_t end = p.first + p.count;
    return (row_part){low, (window == windows - 1 ? end : within(begin + window_values(ranks), low, end)) - low};
}

/* ---- lists of transfers ---- */

typedef struct list {
    rank_part *part;
    int count;
} list;

/* Room in scratch for the rows of one rank to or from every other one, and those of all others from or to it. */
static bool list_open(ctx *c, const trainset *set, list *l)
{
    const size_t ranks = (size_t)c->ranks->count, rows = (size_t)set->count;
    *l = (list){.part = arena_alloc(&c->scratch, (ranks * rows + rows + ranks) * sizeof *l->part, &c->error)};
    return l->part != NULL;
}

static void list_add(list *l, int peer, bool sends, real *values, int64_t count)
{
    if (count) l->part[l->count++] = (rank_part){peer, sends, values, (size_t)count * sizeof *values};
}

/* ---- gradients ---- */

/* One window of every rank's part: each sends the others theirs and adds up its own. */
static void sum_window(ctx *c, trainset *set, real *room, int64_t window, int64_t windows)
{
    const int me = c->ranks->index, ranks = c->ranks->count;
    list l;
    if (!list_open(c, set, &l)) return;
    for (int row = 0; row < set->count; row++)
        for (int peer = 0; peer < ranks; peer++) {
            const row_part p = part_in_window(set, row, peer, ranks, window, windows);
            if (peer != me) list_add(&l, peer, true, set->row[row].tensor->grad + p.first, p.count);
        }
    real *to = room;
    for (int peer = 0; peer < ranks; peer++)
        for (int row = 0; row < set->count && peer != me; row++) {
            const row_part p = part_in_window(set, row, me, ranks, window, windows);
            list_add(&l, peer, false, to, p.count);
            to += p.count;
        }
    if (carry_numbers(c, l.part, l.count) != DT_OK) return;
    const real *from = room;
    for (int peer = 0; peer < ranks; peer++)
        for (int row = 0; row < set->count && peer != me; row++) {
            const row_part p = part_in_window(set, row, me, ranks, window, windows);
            if (p.count) c->engine.accumulate(set->row[row].tensor->grad + p.first, from, p.count);
            from += p.count;
        }
}

/* Values of a rank's part of all, at the most. */
static int64_t largest_part(const ctx *c, const trainset *set)
{
    return trainset_before(set, 1, c->ranks->count) + 1;
}

/* A window of each other rank's gradients, in scratch. */
static real *room_for_windows(ctx *c, const trainset *set)
{
    const int64_t each = window_values(c->ranks->count), largest = largest_part(c, set);
    const int64_t room = (largest < each ? largest : each) + TRAINSET_LINE;
    return numbers_alloc(c, &c->scratch, (size_t)(room * (c->ranks->count - 1)) * sizeof(real));
}

void shared_sum_gradients(ctx *c, trainset *set)
{
    if (rank_count(c->ranks) == 1 || ctx_failed(c)) return;
    const int64_t each = window_values(c->ranks->count), windows = (largest_part(c, set) + each - 1) / each;
    const arena_place mark = arena_mark(&c->scratch);
    real *received = room_for_windows(c, set);
    for (int row = 0; row < set->count; row++) tensor_grad(c, set->row[row].tensor); /* zeros, where no pass came by */
    for (int64_t window = 0; window < windows && !ctx_failed(c); window++) {
        const arena_place before = arena_mark(&c->scratch);
        sum_window(c, set, received, window, windows);
        arena_release(&c->scratch, before);
    }
    arena_release(&c->scratch, mark);
}

/* ---- weights ---- */

void shared_spread_weights(ctx *c, trainset *set)
{
    list l;
    if (rank_count(c->ranks) == 1 || ctx_failed(c)) return;
    const arena_place mark = arena_mark(&c->scratch);
    if (list_open(c, set, &l)) {
        for (int row = 0; row < set->count; row++)
            for (int peer = 0; peer < c->ranks->count; peer++) {
                const train_row *r = &set->row[row];
                const row_part p = trainset_part(set, row, peer, c->ranks->count);
                if (peer == c->ranks->index) continue;
                list_add(&l, peer, true, r->tensor->data + r->first, r->kept);
                list_add(&l, peer, false, r->tensor->data + p.first, p.count);
            }
        carry_numbers(c, l.part, l.count);
    }
    arena_release(&c->scratch, mark);
    trainset_changed(c, set);
}

void shared_rehearse(ctx *c, const trainset *set)
{
    list l;
    if (rank_count(c->ranks) == 1) return;
    const arena_place mark = arena_mark(&c->scratch);
    room_for_windows(c, set);
    list_open(c, set, &l);
    carry_rehearse(c, (size_t)(largest_part(c, set) + TRAINSET_LINE * set->count) * sizeof(real));
    arena_release(&c->scratch, mark);
}

/* ---- values that are shared out ---- */

static void receive(ctx *c, const list *l)
{
    carry_numbers(c, l->part, l->count);
    for (int peer = 1; peer < c->ranks->count; peer++) rank_receipt(c->ranks, peer, false, &c->error);
    if (!ctx_failed(c)) rank_done(c->ranks);
}

static void add_from_all(const ctx *c, const trainset *set, list *l, real *to, int row, train_values values)
{
    const train_row *r = &set->row[row];
    trainset_get(c, to + r->first, r, values);
    for (int peer = 1; peer < c->ranks->count; peer++) {
        const row_part p = trainset_part(set, row, peer, c->ranks->count);
        list_add(l, peer, false, to + p.first, p.count);
    }
}

void shared_collect(ctx *c, trainset *set, train_values values)
{
    list l;
    const arena_place mark = arena_mark(&c->scratch);
    if (list_open(c, set, &l) && rank_tell(c->ranks, (rank_order){RANK_COLLECT, (int)values, -1}, &c->error) == DT_OK) {
        for (int row = 0; row < set->count; row++) add_from_all(c, set, &l, set->row[row].tensor->grad, row, values);
        receive(c, &l);
    }
    arena_release(&c->scratch, mark);
}

dt_status shared_collect_row(ctx *c, const trainset *set, real *to, int row, train_values values)
{
    list l;
    const arena_place mark = arena_mark(&c->scratch);
    if (list_open(c, set, &l) &&
        rank_tell(c->ranks, (rank_order){RANK_COLLECT, (int)values, row}, &c->error) == DT_OK) {
        add_from_all(c, set, &l, to, row, values);
        receive(c, &l);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}

/* What this rank keeps of a row, as numbers: where narrow values become that, in the memory of the row's gradient, which is empty. */
static real *given(const ctx *c, const train_row *r, train_values values)
{
    real *lie = trainset_values_of(r, values);
    if (lie || !r->kept) return lie;
    trainset_get(c, r->tensor->grad + r->first, r, values);
    return r->tensor->grad + r->first;
}

dt_status shared_give(ctx *c, const trainset *set, const rank_order *order)
{
    list l;
    const arena_place mark = arena_mark(&c->scratch);
    if (list_open(c, set, &l)) {
        for (int row = 0; row < set->count; row++)
            if (order->value < 0 || order->value == row)
                list_add(&l, 0, true, given(c, &set->row[row], (train_values)order->number), set->row[row].kept);
        carry_numbers(c, l.part, l.count);
        rank_receipt(c->ranks, 0, true, &c->error);
    }
    arena_release(&c->scratch, mark);
    return c->error.status;
}
