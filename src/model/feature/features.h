/* Image features for the distances: rows of numbers that say what is in a picture.
 *
 * FD-base: the frozen base model's own tokens after half of its blocks, averaged over positions, at t = 100 (a flow: 0.75) with
 * the null class and noise that is fixed per image number (diffusion models' middle features at low noise are known to carry
 * content: Baranchuk et al. 2022). Needs no other file, but depends on the base: compare only within one base.
 * FD-squeezenet: 512 values of SqueezeNet v1.1 (model/feature/squeezenet.h). Neither is FID.
 * FID: 2048 values of Inception v3 and 2023 more for sFID (model/feature/inception.h), after one of three ways to resize. */
#ifndef FEATURE_FEATURES_H
#define FEATURE_FEATURES_H

#include "diffusion/denoiser.h"
#include "model/feature/inception.h"
#include "model/feature/squeezenet.h"

typedef struct features {
    dt_feature kind;
    int64_t dim;
    int64_t spatial_dim;  /* values behind them for sFID; 0: none */
    const char *measure;  /* "FD-base", "FD-squeezenet", "FID tf1", "FID pytorch-fid", "FID clean" */
    char identity[64];    /* measure, and for FD-base the base's hash: only statistics of equal identity compare */
    const denoiser *base; /* FD-base: borrowed */
    schedule schedule;
    const squeezenet *net;      /* FD-squeezenet: borrowed */
    const inception *inception; /* FID: borrowed */
    dt_inception_resize resize;
} features;

/* `base` has features; `base_sha256` is its file's. */
void features_of_base(features *f, const denoiser *base, const char *base_sha256);
void features_of_squeezenet(features *f, const squeezenet *net);
void features_of_inception(features *f, const inception *net, dt_inception_resize resize);

/* rows[n,dim + spatial_dim] of images x[n,C,H,W] in [-1,1] (square but for FD-base), which are number first..first+n-1 of
 * their set. */
dt_status features_rows(ctx *c, const features *f, float *rows, const float *x, sample_shape shape, int64_t first,
                        int64_t n);

/* The same of 8-bit pictures of any sizes; FID only. */
dt_status features_picture_rows(ctx *c, const features *f, float *rows, const image pictures[], int64_t n);

#endif
