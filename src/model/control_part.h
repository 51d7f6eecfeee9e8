/* The ControlNet beside a model file (model/maker.h): one that is there, or a new one. */
#ifndef MODEL_CONTROL_PART_H
#define MODEL_CONTROL_PART_H

#include "container/tensor_file.h"
#include "diffusion/denoiser.h"

/* The settings' `control`: control pictures that the data names, or is. */
#define CONTROL_GIVEN "given"

typedef struct control_choice {
    bool wanted;
    const char *path; /* file, run folder or diffusers folder; NULL or empty: a new one, started from the base */
    double scale;     /* of what it tells */
    const char *
        stem; /* of a new one: conditioning_embedding_out_channels (model/sd/controlnet_config.h); NULL: by the factor */
    uint64_t seed; /* of a new one */
} control_choice;

typedef struct control_part {
    control_choice choice;
    char path[DT_PATH_MAX]; /* of the weights; empty: a new one */
    tensor_file tensors;
    int64_t factor; /* side of a control picture over that of x; 0: that of the file */
    file_hash hash; /* of the file's bytes; empty for a new one */
} control_part;

/* Opens the ControlNet at `path` (empty: none, it is a new one) for the UNet in the viewed file `base`. DT_ERR_FORMAT for a file that
 * holds none, DT_ERR_SHAPE naming what differs for one that does not fit. On failure *k is empty and may be closed. */
dt_status control_part_open(control_part *k, const control_choice *choice, const char *path, const tensor_file *base,
                            dt_error *err);
void control_part_close(control_part *k);

/* SHA-256 of the base's file that it says it was made for; NULL: it does not say. */
const char *control_part_base(const control_part *k);

/* *d, the denoiser of the base, becomes that of both. DT_ERR_SHAPE for a ControlNet whose pictures are not `factor` times as wide as
 * x. */
dt_status control_part_join(ctx *c, denoiser *d, const control_part *k, const char *base_sha256);

#endif
