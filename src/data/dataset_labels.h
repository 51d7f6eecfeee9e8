/* Classes of WebDataset's form: a picture KEY.jpg is of the class that KEY.cls names. The rules are told in dataset.h. Private to
 * src/data. */
#ifndef DATA_DATASET_LABELS_H
#define DATA_DATASET_LABELS_H

#include "data/dataset_source.h"

/* Labels the files, which are in the order of names and stay so inside each class, by s->label. Pictures without a label are
 * noted in the report and dropped. Gives the names of the classes, which are the caller's, also on failure. */
dt_status label_files_by_text(char ***class_name, int64_t *class_count, source *s, dataset_report *report,
                              dt_error *err);

#endif
