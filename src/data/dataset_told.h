/* What a data set says of its pictures beside their classes: captions and control pictures. Private to src/data.
 *
 * Captions of the picture KEY.png are, in this order of trust,
 *   - those of a list in a folder above it: metadata.jsonl with lines {"file_name", "text"}, where text is one caption or an array
 *     of them (`caption` and `prompt` are understood too), or ControlNet's prompt.json with lines {"target", "prompt"}. Names are
 *     below the folder of the list;
 *   - the lines of KEY.txt, or of KEY.caption: each line that is not blank is one;
 *   - text, caption or prompt of the object in KEY.json, as tars of WebDataset have them.
 * A list may name a control picture too: conditioning_image (or conditioning_image_file_name) in metadata.jsonl, source in prompt.json. A
 * picture that is the control of others is none of the pictures, whoever asks. */
#ifndef DATA_DATASET_TOLD_H
#define DATA_DATASET_TOLD_H

#include "data/dataset_source.h"

/* Gives the listed files their captions (where `captions` is true) and the names of their control pictures, which move from s->file
 * to s->control. Lists and captions that cannot be read, and what they say of pictures that are not there, are noted in the
 * report where captions are wanted; `strict` makes each an error then (DT_ERR_FORMAT). Texts that are of no picture are
 * noted as what they are. */
dt_status told_find(source *s, dataset_report *report, bool captions, bool strict, dt_error *err);

#endif
