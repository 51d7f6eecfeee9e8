/* The diagnosis for any denoiser, and what becomes of it. */
#ifndef API_DIAGNOSE_H
#define API_DIAGNOSE_H

#include "measure/advice.h"
#include "model/maker.h"

/* Measures, tells the observer what follows in sentences, and writes s->output_dir; *d and *a receive it all. */
dt_status diagnose(ctx *c, diagnosis *d, advice *a, const dt_settings *s, const dt_observer *observer,
                   model_kinds kinds);

/* What a diagnosis is called by and was made of. */
typedef struct diagnosis_origin {
    const char *base_sha256, *data_sha256;
    bool drew;        /* the samples were drawn for it: no bank was given */
    bool sees_pixels; /* the base is one of pixels */
    bool is_flow;     /* it is a SiT */
} diagnosis_origin;

/* Writes diagnosis.json, train.yaml and, where it is wanted, psi.txt into an existing folder, each whole or not at all. */
dt_status diagnosis_write(const diagnosis *d, const advice *a, const diagnosis_origin *from, const dt_settings *s,
                          dt_error *err);

#endif
