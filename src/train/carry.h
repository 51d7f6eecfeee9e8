/* Numbers of the engine between ranks. Where the engine works in the process's memory they go as they are; where it has memory of its
 * own they are packed there, so that each two ranks exchange one message at a time however many rows there are, and go from device to
 * device (rank/rank.h) or by way of the host. */
#ifndef TRAIN_CARRY_H
#define TRAIN_CARRY_H

#include "rank/rank.h"
#include "tensor/context.h"

/* Makes these transfers of the engine's numbers, which the other ranks make as well, and waits for them. The order of what two ranks send
 * each other is that of the list. Packing takes at most 16 MiB of the device, and as much of the host where it is passed (of hundreds of
 * ranks more: 128 KiB for each). */
dt_status carry_numbers(ctx *c, const rank_part part[], int count);

/* Takes the memory of that and gives it back, where no rank sends another one more than so many bytes (tensor/rehearsal.h). */
void carry_rehearse(ctx *c, size_t longest);

#endif
