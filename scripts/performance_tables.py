"""The tables of docs/performance.md, from what `benchmarks/` measured."""

from __future__ import annotations

from typing import Any

from formatting import number, table

Values = dict[str, Any]


def latency(values: Values) -> str:
    """One hand beside MediaPipe Hands."""
    names = {
        "mediapipe_static": "MediaPipe Hands 0.10.21, static images",
        "mediapipe_video": "the same, video: it looks for palms only where it lost the hand",
        "onnx_t1": "**ours, T = 1**",
        "onnx_t5": "ours, T = 5",
        "torch_t1": 'ours, T = 1, `backend="torch"`',
    }
    rows = []
    for key, label in names.items():
        median, worst = values[f"{key}_ms"], values[f"{key}_worst_ms"]
        rows.append([label, number(median, 1), number(worst, 1), number(median / values["mediapipe_static_ms"])])
    return table(["one hand, detection included", "median [ms]", "worst photo [ms]", "beside MediaPipe"], rows)


def targets(speed: Values, size: Values) -> str:
    """What was aimed at."""
    wanted = [
        ("one hand, over MediaPipe Hands static", speed["onnx_over_mediapipe"], 2.2, "x"),
        ("T = 5 over T = 1", speed["t5_over_t1"], 1.3, "x"),
        ("beside one busy process, over alone", speed["beside_1_busy_over_alone"], 1.5, "x"),
        ("the same, worst photo", speed["beside_1_busy_worst_over_alone"], 1.5, "x"),
        ("beside two busy processes", speed["beside_2_busy_over_alone"], 2.0, "x"),
        ("the same, worst photo", speed["beside_2_busy_worst_over_alone"], 2.0, "x"),
        ("two of ours at once, over one alone", speed["two_of_ours_over_one"], 2.2, "x"),
        ("100 hypotheses, over one hand", speed["hypotheses_100_over_one"], 15, "x"),
        ("`maskhand reconstruct photo.jpg -o out`, cold", size["reconstruct_s"], 1.2, "s"),
        ("its peak memory", size["reconstruct_peak_mb"], 350, "MB"),
        ("1,000 hypotheses, peak memory", size["hypotheses_1000_peak_mb"], 1000, "MB"),
        ("`maskhand --help`", size["help_s"], 0.2, "s"),
        ("site-packages of a fresh environment", size["site_packages_mb"], 350, "MB"),
    ]
    rows = []
    for what, value, limit, unit in wanted:
        measured = number(value, 0 if unit == "MB" else 2)
        rows.append([what, f"{measured} {unit}", f"{limit:g} {unit}", "yes" if value <= limit else "**no**"])
    return table(["", "measured", "at most", "reached"], rows)


def engines(rows: list[Values]) -> str:
    """Engines on our graphs: median ms with one thread / two / two beside a busy core."""

    def times(row: Values, graph: str) -> str:
        if f"{graph}_1" not in row:
            return "-"
        return " / ".join(number(row[f"{graph}_{how}"], 1) for how in ("1", "2", "2_busy"))

    graphs = [graph for graph in ("hands", "palms", "landmarks", "encode", "round") if f"{graph}_1" in rows[0]]
    lines = [
        [
            row["engine"],
            *(times(row, graph) for graph in graphs),
            number(row["making_s"]),
            number(row["installed_mb"], 0),
        ]
        for row in rows
    ]
    return table(["engine", *graphs, "start [s]", "installed [MB]"], lines)


def floor(values: Values) -> str:
    """Arithmetic of one hand."""
    rows = [
        [row["graph"], number(row["mflop"], 0), str(row["runs"]), number(row["floor_ms"], 1)]
        for row in values["graphs"]
    ]
    return table(["graph", "MFLOP", "runs", "at least [ms]"], rows)


def others(values: Values) -> str:
    """Our parts beside other packages'."""

    def ms(key: str, digits: int = 1) -> str:
        return f"{number(values.get(f'{key}_ms'), digits)} ms"

    size = number(values["vit_h_mparameters"], 0)
    rows = [
        ["16 hands skinned", f"{ms('hand_numpy')} (NumPy), {ms('hand_torch')} (PyTorch)", f"{ms('hand_smplx')}: smplx"],
        [
            "a hand drawn, 480 x 480",
            f"{ms('rasterise_numpy')} (NumPy), {ms('rasterise_numba')} (Numba, for training images)",
            f"{ms('rasterise_embree')}: trimesh with embreex",
        ],
        [
            "a hand in a given box",
            ms("ours_in_a_box", 0),
            f"{ms('vit_h', 0)}: forward pass alone of a network of HaMeR's size, {size} M random weights",
        ],
    ]
    return table(["", "ours", "beside it"], rows)
