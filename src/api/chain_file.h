/* What dt_chain is asked for and leaves: the list of shares, chain.json and chain.csv. */
#ifndef API_CHAIN_FILE_H
#define API_CHAIN_FILE_H

#include "base/error.h"
#include "diffusion/sampler.h"
#include "file/json_file.h"

/* Reads the shares of the setting `tails`, which rise from 0 to 1; their number, or 0 with DT_ERR_ARG. */
int64_t chain_read_tails(double shares[DT_CHAIN_POINTS_MAX], const char *text, dt_error *err);

/* Name of a point's folder: "p12.5" of the share 0.125. */
enum { CHAIN_NAME_MAX = 32 };
void chain_point_name(char name[CHAIN_NAME_MAX], double tail);

/* Writes both files into the folder; `about`, whose reference is taken, says what was drawn and how and stands before the
 * points. */
dt_status chain_write(const char *folder, json_t *about, const dt_chain_result *r, dt_error *err);

#endif
