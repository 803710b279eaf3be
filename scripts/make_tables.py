"""The tables of README.md and docs/ from the measured results in results/, between `<!-- table NAME -->` marks.

python scripts/make_tables.py            # write them
python scripts/make_tables.py --check    # exit status 1 if a document differs (CI)
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import performance_tables
from formatting import number, table

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/model-card.md", "docs/paper.md", "docs/performance.md")
RELEASES = ("0.16.0", "0.15.0", "0.14.0")
"""The latest first: what one did not measure anew stands as the one before it measured it."""
RELEASE, BEFORE = RELEASES[:2]


def result(version: str, name: str) -> Any:
    """What a results file of a release holds, or that of the last one before it that has one; None if none has."""
    for folder in RELEASES[RELEASES.index(version) :]:
        path = ROOT / "results" / folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text())["result"]
    return None


ARROWS = {"less": "(-)", "more": "(+)"}


def real() -> str:
    """Real evidence: this release, the one before, the landmark network; (-): less is better."""
    before = {(row["source"], row["measure"]): row for row in result(BEFORE, "real")}
    rows = []
    for row in result(RELEASE, "real"):
        old = before.get((row["source"], row["measure"]))
        measure = row["measure"].replace("landmark network, mean", "network's mean")
        rows.append(
            [
                row["source"],
                f"{measure} {ARROWS[row['better']]}",
                number(row["ours"]),
                number(old["ours"] if old else None),
                number(row["landmark_network"]),
                str(row["count"]),
            ]
        )
    return table(["source", "measure", RELEASE, BEFORE, "network", "n"], rows)


def synthetic() -> str:
    """The synthetic test."""
    rows = []
    for label, version, name in (
        (f"{RELEASE}, T = 1", RELEASE, "synthetic-5000-t1"),
        (f"{BEFORE}, T = 1", BEFORE, "synthetic-5000-t1"),
        ("first 1,000, T = 1", RELEASE, "synthetic-1000-t1"),
        ("first 1,000, T = 5", RELEASE, "synthetic-1000-t5"),
        ("first 1,000, T = 1, no fit", RELEASE, "synthetic-1000-t1-bare"),
        ("first 1,000, T = 5, no fit", RELEASE, "synthetic-1000-t5-bare"),
    ):
        values = result(version, name)
        if values:
            keys = ("pa_mpjpe_mm", "pa_mpvpe_mm", "visible_pa_mm", "occluded_pa_mm", "mpjpe_mm", "spearman_joint")
            rows.append([label, *(number(values[key]) for key in keys)])
    theirs = result(RELEASE, "synthetic-5000-t1")["landmark_network_pa_mpjpe_mm"]
    rows.append(["landmark network, keypoints with depth", number(theirs), "-", "-", "-", "-", "-"])
    return table(
        ["", "PA-MPJPE [mm]", "PA-MPVPE [mm]", "visible", "occluded", "MPJPE [mm]", "confidence and error (Spearman)"],
        rows,
    )


def summary() -> str:
    """The README's three lines."""
    rows = {(row["source"], row["measure"]): row for row in result(RELEASE, "real")}
    stereo = rows[("stereo_handpose3d", "PA-MPJPE, landmarks on our mesh [mm]")]
    test, tokens = result(RELEASE, "synthetic-5000-t1"), result(RELEASE, "tokenizer")
    return table(
        ["measured with", "PA-MPJPE", "beside it"],
        [
            [
                f"real 3D, two calibrated cameras, {stereo['count']} views",
                f"**{number(stereo['ours'])} mm**",
                f"{number(stereo['landmark_network'])} mm: MediaPipe's landmark network on the same views",
            ],
            [
                "5,000 synthetic test images, hard views, objects, occluders",
                f"**{number(test['pa_mpjpe_mm'])} mm**",
                f"{number(test['landmark_network_pa_mpjpe_mm'])} mm: the same network",
            ],
            [
                "tokenizer: 5,000 held-out poses through 64 tokens and back",
                f"**{number(tokens['pa_mpjpe_mm'])} mm**",
                "0.47 mm: the paper's, on MANO, FreiHAND",
            ],
        ],
    )


def detection() -> str:
    """Hands found on photos that are held out, by kind."""
    rows = []
    sets = [
        (f"detection-{name}-default{suffix}", photos + what)
        for name, photos in (("gloves", "a recording of gloves"), ("hand_boxes", "cartons, fruit, clothes"))
        for suffix, what in (("", ""), ("-reconstructed", ", reconstructed"))
    ]
    for name, photos in sets:
        for row in result(RELEASE, name):
            keys = ("recall_30", "recall_50", "precision_30", "precision_50", "ap_50", "false_percent")
            rows.append([photos, row["hands"], str(row["count"]), *(number(row.get(key)) for key in keys)])
    header = ["photos", "hands", "n", "recall at IoU .3 [%]", "at .5", "precision at .3 [%]", "at .5", "AP at .5 [%]",
              "photos with a false hand [%]"]  # fmt: skip
    return table(header, rows)


def sides() -> str:
    """Photos of two hands."""
    values = result(RELEASE, "sides-1600")
    kinds = [key.removesuffix("_found_percent") for key in values if key.endswith("_found_percent")]
    rows = [
        [kind.replace("_", " "), number(values[f"{kind}_found_percent"]), number(values[f"{kind}_side_percent"])]
        for kind in kinds
    ]
    return table(["a right and a left hand, rendered", "found [%]", "of these on the right side [%]"], rows)


def hypotheses() -> str:
    """Drawn hands by rank."""
    values = result(RELEASE, "hypotheses-500-t5")
    names = {
        "answer_pa_mpjpe_mm": "the one answer",
        "hypotheses_pa_mpjpe_mm": "16 drawn hands, mean",
        "first_pa_mpjpe_mm": "first by rank",
        "last_pa_mpjpe_mm": "last by rank",
        "best_pa_mpjpe_mm": "best of 16 (nobody knows which)",
    }
    rows = [[label, number(values[key])] for key, label in names.items()]
    rows += [
        ["rank correlation of nearness to the others with error", number(values["spearman_rank"])],
        ["rank correlation of the tokens' improbability with error", number(values["spearman_improbability"])],
    ]
    return table(["500 synthetic images, T = 5", "PA-MPJPE [mm]"], rows)


def heuristics() -> str:
    """What each heuristic is worth: the change when it is switched off."""
    rows = result(RELEASE, "heuristics")
    shipped = rows[0]
    lines = [["as shipped", "", *(number(shipped[k]) for k in KEYS)]]
    for row in rows[1:]:
        settings = ", ".join(f"`{s}`" for s in row["settings"])
        lines.append([row["variant"], settings, *(f"{row[k] - shipped[k]:+.2f}" for k in KEYS)])
    header = ["switched off", "setting", "synthetic [mm]", "found [%]", "distance [% of the hand]", "gross [%]"]
    return table(header, lines)


KEYS = ("synthetic_mm", "found_percent", "distance_percent", "gross_percent")
TABLES: dict[str, Callable[[], str]] = {
    "real": real,
    "synthetic": synthetic,
    "summary": summary,
    "hypotheses": hypotheses,
    "heuristics": heuristics,
    "detection": detection,
    "sides": sides,
    "latency": lambda: performance_tables.latency(result(RELEASE, "latency")),
    "targets": lambda: performance_tables.targets(result(RELEASE, "latency"), result(RELEASE, "footprint")),
    "engines": lambda: performance_tables.engines(result(RELEASE, "engines")),
    "floor": lambda: performance_tables.floor(result(RELEASE, "floor")),
    "others": lambda: performance_tables.others(result(RELEASE, "others")),
}


def with_tables(text: str) -> str:
    """The document with every marked table made anew."""

    def made(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if a document differs")
    check = parser.parse_args().check
    different = []
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text()
        made = with_tables(text)
        if made != text:
            different.append(name)
            if not check:
                path.write_text(made)
    if check and different:
        print(f"tables of {', '.join(different)} differ from results/: run python scripts/make_tables.py")
    return int(check and bool(different))


if __name__ == "__main__":
    sys.exit(main())
