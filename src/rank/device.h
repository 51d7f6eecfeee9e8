/* The way from device to device: NCCL's, a module that is loaded where the ranks compute on devices (src/nccl/). */
#ifndef RANK_DEVICE_H
#define RANK_DEVICE_H

#include "rank/rank.h"

/* What rank 0 makes and the others are told, so that NCCL finds them (its ncclUniqueId). */
typedef struct device_key {
    char text[128];
} device_key;

enum { DEVICE_TEXT = 32 }; /* that tells a GPU from the others of its machine */

/* Opens the way, for all ranks or none of them: where the module is missing at one, or two ranks share a device, numbers go by way of the
 * host's memory, and r->note says why. The rank's device is the one that the calling thread uses. */
dt_status ranks_join_devices(rank_group *r, dt_error *err);

#endif
