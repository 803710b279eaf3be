"""The two engines: the same answers, the shipped graphs, and what each refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from tests.helpers import run, small_network

from maskhand import AssetError, ConfigError, load
from maskhand.assets import embedded, network_config, read_network
from maskhand.checkpoint import read_weights, save_weights
from maskhand.inference.config import InferenceConfig
from maskhand.runtime.export import export_bare_graphs
from maskhand.runtime.graphs import detection_graphs, hand_graphs
from maskhand.runtime.onnx_engine import OnnxEngine, default_threads, graph_index

WITHOUT = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "numba", "cv2", "onnx", "array_api_compat", "scipy"}:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Refused())
from maskhand.cli.main import main
sys.argv = ["maskhand", *sys.argv[1:]]
main()
"""


@pytest.fixture(scope="module")
def network():
    return read_network(embedded("default.safetensors"))[0]


def test_both_engines_give_the_same_hands(hands, torch_predictor, demo_image) -> None:
    others = sorted(torch_predictor(demo_image), key=lambda hand: hand.box[0])
    assert len(others) == len(hands) == 2
    for one, other in zip(hands, others, strict=True):
        assert one.side == other.side and one.confidence == pytest.approx(other.confidence, abs=1e-3)
        off = (one.vertices - one.joints[:1]) - (other.vertices - other.joints[:1])
        assert np.linalg.norm(off, axis=1).max() < 2e-5  # 0.02 mm


def test_the_shipped_graphs_are_those_that_the_code_exports(network, tmp_path) -> None:
    export_bare_graphs(tmp_path, network)
    shipped = embedded("graphs")
    assert (tmp_path / "index.json").read_text() == (shipped / "index.json").read_text()
    for path in sorted(tmp_path.glob("*.onnx")):
        ours, theirs = (onnx.load(folder / path.name, load_external_data=False) for folder in (tmp_path, shipped))
        assert ours == theirs, f"{path.name}: run maskhand export onnx --bare -o src/maskhand/assets/graphs"


@pytest.mark.parametrize("batch", [1, 3])
def test_every_graph_gives_what_its_module_gives_for_any_batch(batch: int, predictor, network) -> None:
    for name, graph in {**detection_graphs(), **hand_graphs(network)}.items():
        inputs = graph.eval().example(batch)
        with torch.inference_mode():
            expected = graph(*inputs)
        found = predictor.engine.run(name, **{k: x.detach().numpy() for k, x in zip(graph.inputs, inputs, strict=True)})
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, atol=2e-4, rtol=2e-4, err_msg=f"{name}: {key}")


def test_exported_files_run_by_themselves(tmp_path, hand_model, poses) -> None:
    import onnxruntime

    result = run("export", "onnx", "-o", tmp_path / "graphs")
    assert result.exit_code == 0, result.output
    names = {"hands", "palms", "landmarks", "encode", "round", "mean", "pose", "hand"}
    assert {path.stem for path in (tmp_path / "graphs").iterdir()} == names
    session = onnxruntime.InferenceSession(tmp_path / "graphs" / "hand.onnx")
    shape = torch.randn(len(poses), 10)
    vertices, keypoints = session.run(None, {"pose": poses.numpy(), "shape": shape.numpy()})
    mesh = hand_model(poses, shape)
    np.testing.assert_allclose(vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_allclose(keypoints, mesh.keypoints, atol=1e-6)


@pytest.mark.parametrize("command", [["demo"], ["reconstruct", str(embedded("demo.jpg"))]])
def test_reconstruction_needs_neither_torch_nor_any_other_extra(command, tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *command, "-o", str(tmp_path / "out")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "demo_1.glb").exists()


def test_what_an_extra_brings_is_named_where_it_is_missing(tmp_path) -> None:
    for command in (["evaluate", "synthetic"], ["export", "onnx", "-o", str(tmp_path / "o")]):
        done = subprocess.run([sys.executable, "-c", WITHOUT, *command], capture_output=True, text=True)
        assert done.returncode == 2 and "pip install 'maskhand[torch]'" in done.stderr.replace("\n", " ")
        assert "Traceback" not in done.stderr


def test_weights_of_other_sizes_are_run_by_torch(tmp_path) -> None:
    small = small_network()
    save_weights(tmp_path / "small.safetensors", small.state_dict(), network_config(small, InferenceConfig()))
    assert load(tmp_path / "small.safetensors").network.config == small.config
    with pytest.raises(ConfigError, match="no graphs of a network of the sizes"):
        load(tmp_path / "small.safetensors", backend="onnx")


def test_weights_of_the_same_sizes_run_without_torch(tmp_path, demo_image) -> None:
    tensors, config = read_weights(embedded("default.safetensors"))
    save_weights(tmp_path / "mine.safetensors", tensors, config, half=True)
    own = load(tmp_path / "mine.safetensors")
    assert isinstance(own.engine, OnnxEngine) and len(own(demo_image)) == 2


def test_weights_in_single_precision_are_not_rounded(tmp_path, demo_image) -> None:
    tensors, config = read_weights(embedded("default.safetensors"))
    moved = {k: v * (1 + 3e-4) if v.is_floating_point() else v for k, v in tensors.items()}  # no half-precision numbers
    save_weights(tmp_path / "mine.safetensors", moved, config)
    ours, theirs = (load(tmp_path / "mine.safetensors", backend=b)(demo_image) for b in ("onnx", "torch"))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.vertices, other.vertices, atol=2e-5)


def test_weights_of_another_type_are_refused(tmp_path) -> None:
    tensors, config = read_weights(embedded("default.safetensors"))
    tensors["model.embed.weight"] = tensors["model.embed.weight"].to(torch.bfloat16)
    save_weights(tmp_path / "brain.safetensors", tensors, config)
    with pytest.raises(AssetError, match=r"model\.embed\.weight is of type BF16"):
        load(tmp_path / "brain.safetensors")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore")
def test_a_forked_process_runs_the_graphs(demo_image) -> None:
    engine = load(threads=1).engine
    child = os.fork()
    if child == 0:
        found = engine.run("landmarks", image=np.ascontiguousarray(demo_image[None, :224, :224]))
        os._exit(0 if found["points"].shape == (1, 21, 3) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_engine_for_detection_alone_has_no_other_graphs() -> None:
    with pytest.raises(ConfigError, match="no graph 'pose'"):
        OnnxEngine().run("pose", embedding=np.zeros((1, 64, 256), np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "tensorflow"}, "backend is 'tensorflow'"),
        ({"backend": "onnx", "device": "cuda"}, "runs on the CPU alone"),
        ({"threads": 0}, "threads is 0"),
        ({"device": "nowhere"}, "device 'nowhere' cannot be used"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(arguments, message: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=message):
        load(**arguments)


def test_the_pytorch_module_is_only_behind_the_torch_engine(predictor, torch_predictor) -> None:
    assert torch_predictor.network.config == predictor.engine.config
    with pytest.raises(ConfigError, match="backend='torch'"):
        _ = predictor.network


def test_threads_are_those_asked_for_or_a_few() -> None:
    assert load(threads=1).engine.threads == 1
    assert 1 <= default_threads() <= 4 and load().engine.threads == default_threads()


def test_the_index_names_the_sizes_of_the_default_network(predictor) -> None:
    engine = predictor.engine
    assert engine.fits(engine.config, engine.tokenizer)
    assert not engine.fits(engine.config, replace(engine.tokenizer, codebook_size=1024))
    assert "model.embed.weight" in graph_index()["weights"]["round"]


def test_a_damaged_weight_file_says_so_when_it_is_loaded(tmp_path) -> None:
    tensors, config = read_weights(embedded("default.safetensors"))
    del tensors["model.embed.weight"]
    save_weights(tmp_path / "part.safetensors", tensors, config)
    with pytest.raises(AssetError, match=r"missing \['model.embed.weight'\]"):
        load(tmp_path / "part.safetensors")
