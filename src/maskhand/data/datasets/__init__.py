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

_REGISTERED: dict[str, Dataset] = {
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


def register_dataset(dataset: Dataset) -> None:
    """Let `maskhand data`, shards and training name a data set of one's own."""
    _REGISTERED[dataset.name] = dataset


def dataset_names() -> list[str]:
    """All that can be named, in order."""
    return sorted(_REGISTERED)


def dataset(name: str) -> Dataset:
    """A data set by name.

    Raises:
        InputError: there is none of that name.

    """
    if name not in _REGISTERED:
        raise InputError(f"no data set named {name!r}; one of {', '.join(dataset_names())}, or register your own")
    return _REGISTERED[name]
