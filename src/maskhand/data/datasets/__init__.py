"""Readers of the original files of the paper's data sets: one module each, every one yielding `Sample`s."""

from __future__ import annotations

from maskhand.data.datasets import (
    coco_wholebody,
    dexycb,
    freihand,
    h2o3d,
    halpe,
    hamer,
    hint,
    ho3d,
    interhand,
    mpii_nzsl,
    mtc,
    rhd,
)
from maskhand.data.datasets.source import Dataset
from maskhand.errors import InputError

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for module in (
        freihand,
        ho3d,
        dexycb,
        interhand,
        mtc,
        rhd,
        h2o3d,
        coco_wholebody,
        halpe,
        mpii_nzsl,
        hint,
        hamer,
    )
    for dataset in module.DATASETS
}


def dataset(name: str) -> Dataset:
    """A data set by name.

    Raises:
        InputError: there is none of that name.

    """
    if name not in DATASETS:
        raise InputError(f"no data set named {name!r}; one of {', '.join(sorted(DATASETS))}")
    return DATASETS[name]
