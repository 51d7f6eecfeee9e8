#include "train/carry.h"

#include <string.h>

#include "tensor/tensor.h"

enum {
    ROOM_BYTES = 1 << 24, /* that are packed at a time, to all others together and from them */
    PIECE_MIN = 1 << 16,  /* to one of them at the least, or from it */
};

/* What is packed: of each peer a piece of the bytes that come from it, and behind all of these a piece of those that go to it. */
typedef struct packing {
    const rank_part *part; /* whole list */
    int part_count;
    size_t piece; /* bytes of one message at the most */
    char *room;   /* the engine's */
    rank_part *message;
    int message_count;
    size_t coming, size; /* bytes of the room: that come, and all that are used */
} packing;

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Bytes of the list to a peer, or from it. */
static size_t lane_bytes(const packing *p, int peer, bool sends)
{
    size_t bytes = 0;
    for (int i = 0; i < p->part_count; i++)
        if (p->part[i].peer == peer && p->part[i].sends == sends) bytes += p->part[i].bytes;
    return bytes;
}

/* Copies bytes `first` and on of all those to a peer into the room at `at`, or from there to where those of the peer belong. */
static void copy_piece(const ctx *c, const packing *p, const rank_part *message, size_t first)
{
    size_t before = 0; /* bytes of the parts before */
    const size_t last = first + message->bytes;
    for (int i = 0; i < p->part_count && before < last; i++) {
        const rank_part *q = &p->part[i];
        if (q->peer != message->peer || q->sends != message->sends) continue;
        const size_t low = before > first ? before : first, high = min_size(before + q->bytes, last);
        if (low < high) {
            char *packed = (char *)message->data + (low - first), *own = (char *)q->data + (low - before);
            c->engine.memory.copy(q->sends ? packed : own, q->sends ? own : packed, high - low);
        }
        before += q->bytes;
    }
}

/* The messages of one round: piece number `round` of whatever goes to each peer and comes from it. */
static void list_messages(const ctx *c, packing *p, size_t round)
{
    p->message_count = 0;
    p->size = 0;
    for (int sends = 0; sends < 2; sends++) {
        for (int peer = 0; peer < c->ranks->count; peer++) {
            const size_t all = lane_bytes(p, peer, sends), first = min_size(all, round * p->piece);
            const size_t bytes = min_size(all - first, p->piece);
            if (!bytes) continue;
            p->message[p->message_count++] = (rank_part){peer, sends, p->room + p->size, bytes};
            p->size += bytes;
        }
        if (!sends) p->coming = p->size;
    }
}

/* From device to device. */
static void exchange_there(ctx *c, const packing *p)
{
    if (c->engine.memory.finish(&c->error) == DT_OK)
        rank_transfer_device(c->ranks, p->message, p->message_count, &c->error);
}

/* By way of the host's memory. */
static void exchange_here(ctx *c, const packing *p)
{
    const engine_memory *memory = &c->engine.memory;
    char *host = arena_alloc(&c->scratch, p->size, &c->error);
    rank_part *message = arena_alloc(&c->scratch, (size_t)p->message_count * sizeof *message, &c->error);
    if (ctx_failed(c)) return;
    for (int i = 0; i < p->message_count; i++) {
        message[i] = p->message[i];
        message[i].data = host + ((char *)p->message[i].data - p->room);
    }
    if (p->size > p->coming) memory->download(host + p->coming, p->room + p->coming, p->size - p->coming, &c->error);
    rank_transfer(c->ranks, message, p->message_count, &c->error);
    if (p->coming && !ctx_failed(c)) memory->upload(p->room, host, p->coming);
}

static void exchange_round(ctx *c, packing *p, size_t round)
{
    const arena_place mark = arena_mark(&c->scratch);
    list_messages(c, p, round);
    for (int i = 0; i < p->message_count; i++)
        if (p->message[i].sends) copy_piece(c, p, &p->message[i], round * p->piece);
    if (rank_reaches_devices(c->ranks))
        exchange_there(c, p);
    else
        exchange_here(c, p);
    for (int i = 0; i < p->message_count && !ctx_failed(c); i++)
        if (!p->message[i].sends) copy_piece(c, p, &p->message[i], round * p->piece);
    arena_release(&c->scratch, mark);
}

/* Bytes of the longest of all lanes. */
static size_t longest_lane(const ctx *c, const packing *p)
{
    size_t longest = 0;
    for (int peer = 0; peer < c->ranks->count; peer++)
        for (int sends = 0; sends < 2; sends++) {
            const size_t bytes = lane_bytes(p, peer, sends);
            if (bytes > longest) longest = bytes;
        }
    return longest;
}

static size_t lanes_of(const ctx *c)
{
    return 2 * (size_t)(c->ranks->count - 1);
}

static size_t piece_of(const ctx *c)
{
    const size_t equal = ROOM_BYTES / lanes_of(c);
    return equal < PIECE_MIN ? PIECE_MIN : equal;
}

/* Room for all lanes, of which none is longer than that. */
static bool make_room(ctx *c, packing *p, size_t longest)
{
    p->room = numbers_alloc(c, &c->scratch, lanes_of(c) * min_size(p->piece, longest));
    p->message = arena_alloc(&c->scratch, lanes_of(c) * sizeof *p->message, &c->error);
    return !ctx_failed(c);
}

/* Both ends of a lane cut it into the same pieces, in the same rounds. */
static dt_status carry_packed(ctx *c, const rank_part part[], int count)
{
    packing p = {.part = part, .part_count = count, .piece = piece_of(c)};
    const size_t longest = longest_lane(c, &p);
    const arena_place mark = arena_mark(&c->scratch);
    if (make_room(c, &p, longest))
        for (size_t round = 0; round * p.piece < longest && !ctx_failed(c); round++) exchange_round(c, &p, round);
    arena_release(&c->scratch, mark);
    return c->error.status;
}

void carry_rehearse(ctx *c, size_t longest)
{
    packing p = {.piece = piece_of(c)};
    const arena_place mark = arena_mark(&c->scratch);
    if (c->engine.memory.backing && make_room(c, &p, longest) && !rank_reaches_devices(c->ranks))
        arena_alloc(&c->scratch, lanes_of(c) * min_size(p.piece, longest), &c->error);
    arena_release(&c->scratch, mark);
}

dt_status carry_numbers(ctx *c, const rank_part part[], int count)
{
    if (ctx_failed(c)) return c->error.status;
    return c->engine.memory.backing ? carry_packed(c, part, count) : rank_transfer(c->ranks, part, count, &c->error);
}
