#!/usr/bin/env python3
"""Writes tests/vectors/mat: the lists of Oxford Flowers and Stanford Cars in small, as their archives have them.

    python3 make_mat_vectors.py            (NumPy, SciPy)
"""

import pathlib

import numpy as np
from scipy.io import savemat

OUT = pathlib.Path(__file__).parent / "mat"


def annotations(names_and_classes, labelled=True):
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"] + (["class"] if labelled else []) + ["fname"]
    rows = np.zeros((1, len(names_and_classes)), dtype=[(f, "O") for f in fields])
    for row, (name, label) in zip(rows[0], names_and_classes):
        for i, f in enumerate(fields[:4]):
            row[f] = np.uint16(300 + i)
        if labelled:
            row["class"] = np.uint8(label)
        row["fname"] = name
    return rows


def main():
    OUT.mkdir(exist_ok=True)
    flowers = {"labels": np.array([[2, 1, 2, 1, 2, 1, 1]], np.uint8)}
    sets = {"trnid": np.array([[3, 2]], np.uint16), "valid": np.array([[4]], np.uint16),
            "tstid": np.array([[1, 5, 6, 7]], np.uint16)}
    savemat(OUT / "imagelabels.mat", flowers, do_compression=True)
    savemat(OUT / "setid.mat", sets, do_compression=True)
    savemat(OUT / "setid_plain.mat", sets, do_compression=False)

    names = np.empty((1, 3), object)
    names[0, :] = ["AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012", "Citro\u00ebn C3 2001"]
    savemat(OUT / "cars_meta.mat", {"class_names": names}, do_compression=True)
    savemat(OUT / "cars_train_annos.mat", {"annotations": annotations([("00001.jpg", 2), ("00002.jpg", 1),
                                                                       ("00003.jpg", 3)])}, do_compression=True)
    savemat(OUT / "cars_test_annos_withlabels.mat", {"annotations": annotations([("00001.jpg", 1), ("00002.jpg", 2)])},
            do_compression=False)
    savemat(OUT / "cars_test_annos.mat", {"annotations": annotations([("00001.jpg", 0)], False)}, do_compression=True)

    savemat(OUT / "kinds.mat", {"real": np.array([[1.5, -2.0], [3.0, 4e30]]), "single": np.array([[0.5]], np.float32),
                                "int8": np.array([[-7]], np.int8), "int64": np.array([[-(1 << 40)]], np.int64),
                                "small": np.array([[1, 2]], np.uint16), "complex": np.array([[1 + 2j]]),
                                "empty": np.zeros((0, 3)), "text": "na\u00efve", "none": np.empty((1, 0), object)},
            do_compression=False)


if __name__ == "__main__":
    main()
