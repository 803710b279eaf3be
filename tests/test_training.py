from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maskhand.assets import load
from maskhand.checkpoint import read_state, read_weights, save_state, save_weights
from maskhand.cli.main import app
from maskhand.data.cached import CachedSamples, mixed_batches, mixed_indices, moved
from maskhand.data.feature_cache import (
    TrunkReader,
    cache_synthetic,
    complete_shards,
    missing_shards,
    photo_truth,
    write_shard,
)
from maskhand.data.live import WINDOW_STEPS, live_batches
from maskhand.data.augmentation import warped
from maskhand.detection.hand_detector import HandFinder
from maskhand.detection.landmark_network import shared_landmark_network
from maskhand.errors import AssetError, ConfigError, InputError
from maskhand.evaluation.synthetic import TEST_SEED
from maskhand.geometry.crop import crop_around
from maskhand.hand_model.free_hand import free_hand_data
from maskhand.inference.calibration import Calibration
from maskhand.model.config import EncoderConfig, ModelConfig
from maskhand.backbones.hand import CACHED_BLOCK
from maskhand.model.maskhand import MaskHandModel
from maskhand.training.precision import HALF_IS_SLOW
from maskhand.synthesis.pose_prior import PosePrior
from maskhand.synthesis.scenes import CHUNK, SceneConfig
from maskhand.tokenizer.vq_mano import TokenizerConfig, VqMano
from maskhand.training.loop import TrainConfig, fit, rate_at
from maskhand.training.settings import DataConfig, ModelTraining
from maskhand.training.export import average_weights
from maskhand.training.tokenizer_stage import TokenizerStage, TokenizerTraining
from maskhand.training.model_stage import ModelStage
from maskhand.training.transformer_stage import shipped_weights

pytest.importorskip("lightning_fabric", reason="the extra 'train' is not installed")
TOKENIZER = TokenizerConfig(token_count=32, codebook_size=64, code_dim=16, width=16, depth=1)


def train_config(**changes) -> TrainConfig:
    settings = dict(steps=6, batch_size=4, learning_rate=1e-3, evaluate_every=100, save_every=100, accelerator="cpu")
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """16 synthetic crops, and 6 of them again as photos without labels."""
    root = tmp_path_factory.mktemp("cache")
    cache_synthetic(root / "synthetic", seed=11, shard=0, rows=16, config=SceneConfig())
    cache_synthetic(root / "validation", seed=12, shard=0, rows=4, config=SceneConfig(), images=True)
    rows = CachedSamples(complete_shards(root / "synthetic")).rows(np.arange(6))
    pairs = [
        (
            np.full((224, 224, 3), 40 * k, np.uint8),
            photo_truth(rows["keypoints_2d"][k].numpy(), rows["keypoints_3d"][k].numpy()),
        )
        for k in range(6)
    ]
    write_shard(root / "photos" / "all", pairs, TrunkReader(), {"source": "test"}, images=True)
    return root


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_weights(folder / "last.safetensors")[0]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float = 0) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=atol, rtol=0, msg=f"{key} differs")


def test_a_stopped_tokenizer_run_takes_the_very_steps_of_an_unbroken_one(tmp_path, hand_model) -> None:
    def run(folder: Path, stop: int | None = None) -> None:
        settings = TokenizerTraining(train=train_config(ema_decay=0.9), tokenizer=TOKENIZER)
        torch.manual_seed(7)
        fit(TokenizerStage(settings, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=3)
    run(tmp_path / "parts")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    one, other = (read_state(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    assert one["step"] == other["step"] == 6
    assert_same(one["module"], other["module"])


def test_a_resumed_run_follows_its_settings_and_a_finished_one_says_so(tmp_path, hand_model, capsys) -> None:
    def run(fresh: bool = False, **changes) -> None:
        settings = TokenizerTraining(train=train_config(evaluate_every=3, **changes), tokenizer=TOKENIZER)
        fit(TokenizerStage(settings, hand_model), settings.train, tmp_path, resume=not fresh)

    run(steps=3, weight_decay=0.1)
    run(steps=4, weight_decay=0.2)
    assert {group["weight_decay"] for group in read_state(tmp_path / "state.pt")["optimizer"]["param_groups"]} == {0.2}
    capsys.readouterr()
    run(steps=4)
    assert "is at step 4 of 4 already" in " ".join(capsys.readouterr().err.split())
    run(steps=3, fresh=True)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1, "the log starts afresh"
    with pytest.raises(ConfigError, match=r"train\.accelerator='bogus'"):
        run(accelerator="bogus")


def test_without_bfloat16_arithmetic_a_run_learns_in_float32_and_says_so(
    tmp_path, hand_model, monkeypatch, capsys
) -> None:
    def run(name: str, precision: str) -> dict[str, torch.Tensor]:
        settings = TokenizerTraining(train=train_config(precision=precision), tokenizer=TOKENIZER)
        torch.manual_seed(7)
        fit(TokenizerStage(settings, hand_model), settings.train, tmp_path / name)
        return weights_of(tmp_path / name)

    monkeypatch.setattr("maskhand.training.loop.half_is_fast", lambda device: False)
    plain = run("plain", "32-true")
    assert HALF_IS_SLOW not in " ".join(capsys.readouterr().err.split())
    assert_same(plain, run("half", "bf16-mixed"))
    assert HALF_IS_SLOW in " ".join(capsys.readouterr().err.split())


def test_a_stopped_model_run_takes_the_very_steps_of_an_unbroken_one(tmp_path, hand_model, shards) -> None:
    torch.manual_seed(3)
    tokenizer = VqMano(TOKENIZER).eval()

    def run(folder: Path, stop: int | None = None) -> None:
        settings = ModelTraining(
            train=train_config(ema_decay=0.9),
            data=DataConfig(synthetic=str(shards / "synthetic"), photos=str(shards / "photos"), photo_share=0.5),
            model=ModelConfig(width=16, heads=2, synthesizer_layers=1),
        )
        torch.manual_seed(7)
        fit(ModelStage(settings, tokenizer, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=2)
    run(tmp_path / "parts")
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"))
    torch.manual_seed(4)
    tokenizer = VqMano(TOKENIZER).eval()
    with pytest.raises(ConfigError, match=r"other weights of model\.tokenizer"):
        run(tmp_path / "parts")


def test_a_model_run_evaluates_keeps_the_best_and_logs(tmp_path, hand_model, shards) -> None:
    settings = ModelTraining(
        train=train_config(steps=2, evaluate_every=1),
        data=DataConfig(synthetic=str(shards / "synthetic"), evaluation=str(shards / "synthetic")),
        model=ModelConfig(width=16, heads=2, synthesizer_layers=1),
    )
    result = fit(ModelStage(settings, VqMano(TOKENIZER).eval(), hand_model), settings.train, tmp_path)
    assert result["pa_mpjpe_mm"] > 0 and result["landmark_network_pa_mpjpe_mm"] > 0
    assert (tmp_path / "best.safetensors").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_two_processes_of_one_machine_train_one_model(tmp_path, shards) -> None:
    settings = {
        "start": "none",
        "model.width": 32,
        "data.synthetic": shards / "synthetic",
        "data.photos": shards / "photos",
        "data.evaluation": shards / "validation",
        "train.accelerator": "cpu",
        "train.devices": 2,
        "train.batch_size": 4,
        "train.steps": 2,
    }
    command = [
        sys.executable,
        "-m",
        "maskhand.cli.main",
        "train",
        "model",
        "--config",
        "configs/default-keypoints.toml",
    ]
    command += ["-o", str(tmp_path), *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("step 2:") == 1, "each process reported"
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1
    assert read_state(tmp_path / "state.pt")["step"] == 2


def test_live_images_and_photos_train_a_whole_backbone_and_resume(tmp_path, hand_model, shards) -> None:
    torch.manual_seed(3)
    tokenizer = VqMano(TOKENIZER).eval()
    folders = {"photos": str(shards / "photos"), "evaluation": str(shards / "validation")}

    def run(folder: Path, stop: int | None = None) -> None:
        settings = ModelTraining(
            train=train_config(steps=2, batch_size=4),
            data=DataConfig(synthetic="live", **folders, workers=0, warp=1.0, in_memory=True),
            model=ModelConfig(width=16, heads=2, synthesizer_layers=1, encoder=EncoderConfig(learns="all")),
        )
        torch.manual_seed(7)
        fit(ModelStage(settings, tokenizer, hand_model), settings.train, folder, stop_after=stop)

    run(tmp_path / "whole")
    run(tmp_path / "parts", stop=1)
    run(tmp_path / "parts")
    # The very first pass of a process through the whole backbone differs from later ones in the last bit.
    assert_same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts"), atol=1e-6)
    before = shared_landmark_network().trunk.state_dict()["stem.weight"]
    after = weights_of(tmp_path / "whole")["encoder.backbone.trunk.stem.weight"]
    assert not torch.equal(before, after), "the first layer has learned"


@pytest.mark.parametrize(
    ("data", "learns", "message"),
    [
        ({"synthetic": "live", "photos": "synthetic"}, "all", "keep no crops"),
        ({"synthetic": "x"}, "all", "needs images"),
        ({"synthetic": "synthetic"}, "upright", "needs data.synthetic=live"),
        ({"synthetic": "live", "evaluation": "validation"}, "upright", "data.photos and evaluation none"),
    ],
)
def test_data_that_does_not_go_with_the_model_is_refused(
    hand_model, shards, monkeypatch, data, learns, message
) -> None:
    monkeypatch.chdir(shards)
    model = ModelConfig(width=16, heads=2, encoder=EncoderConfig(learns="all"))
    if learns == "upright":
        model = ModelConfig(width=16, heads=2, upright_crop=False)
    settings = ModelTraining(train=train_config(), data=DataConfig(**data), model=model)
    with pytest.raises((ConfigError, InputError), match=message):
        ModelStage(settings, VqMano(TOKENIZER).eval(), hand_model)


def test_batches_hold_their_shares_and_every_row_comes_once_an_epoch() -> None:
    seen = np.concatenate([mixed_indices([20, 7], [0.75, 0.25], 8, seed=1, step=k)[0] for k in range(10)])
    assert len(seen) == 60
    assert all((np.sort(seen[e * 20 : e * 20 + 20]) == np.arange(20)).all() for e in range(3))
    a, b = (mixed_indices([20, 7], [0.75, 0.25], 8, seed=1, step=4) for _ in range(2))
    assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_shards_hold_what_the_network_sees_and_are_written_once(shards) -> None:
    samples = CachedSamples(complete_shards(shards / "synthetic"))
    rows = samples.rows(np.array([0, 15]))
    assert rows["map8"].shape == (2, 40, 28, 28)
    assert rows["pose"].shape == (2, 16, 3, 3) and bool(rows["labelled"].all())
    made = {"seed": 11, "rows": 16, "config": SceneConfig()}
    assert missing_shards(shards / "synthetic", range(2), **made) == [1]
    for other, message in (
        ({"rows": 8}, "rows"),
        ({"config": SceneConfig(object_share=0.0)}, "scenes"),
        ({"half": True}, "half"),
    ):
        with pytest.raises(InputError, match=message):
            missing_shards(shards / "synthetic", range(2), **made | other)
    assert not CachedSamples(complete_shards(shards / "photos")).small["labelled"].any()


def test_moved_rows_are_what_the_trunk_sees_of_a_moved_crop() -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 30), size=(240, 240), mode="bicubic").clamp(0, 1)
    trunk = shared_landmark_network().trunk

    def rows(right: int, down: int) -> dict[str, torch.Tensor]:
        """Of a crop in which everything lies so far to the right and below."""
        crop = image[..., 8 - down : 232 - down, 8 - right : 232 - right]
        places = torch.tensor([[[0.1 + 2 * right / 224, -0.2 + 2 * down / 224, 0.9, 0.3]]])
        return {"map8": trunk.maps(crop, CACHED_BLOCK)[8], "points": places, "keypoints_2d": places[..., :2]}

    got, wanted = moved(rows(0, 0), np.array([[1, -1]])), rows(8, -8)
    torch.testing.assert_close(got["points"], wanted["points"])
    torch.testing.assert_close(got["keypoints_2d"], wanted["keypoints_2d"])
    inside = (..., slice(8, -8), slice(8, -8))  # the network pads with zeros, which differ
    torch.testing.assert_close(got["map8"][inside], wanted["map8"][inside], rtol=1e-4, atol=1e-4)
    assert got["map8"].shape == wanted["map8"].shape


def test_batches_are_moved_by_at_most_what_was_asked_and_the_same_each_time(shards) -> None:
    table = CachedSamples(complete_shards(shards / "synthetic"))
    still, one, other = (next(mixed_batches([table], [1.0], 8, 3, [2], shift=shift)) for shift in (0, 1, 1))
    by = (one["keypoints_2d"] - still["keypoints_2d"]) / (2 / 28)
    assert set(by.round().unique().tolist()) == {-1, 0, 1} and (by - by.round()).abs().max() < 1e-3
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_batches_go_by_their_numbers_and_a_share_of_nothing_takes_nothing(shards, hand_model) -> None:
    tables = [CachedSamples(complete_shards(shards / name)) for name in ("synthetic", "photos")]
    live = {"seed": 3, "batch": 4, "workers": 0}

    def streams(*steps: int) -> list:
        return [
            mixed_batches(tables, [1.0, 0.0], 8, 3, steps),
            live_batches(free_hand_data(), SceneConfig(), steps=steps, **live),
            ({"pose": pose} for pose in PosePrior(hand_model).batches(4, 3, steps)),
        ]

    for all_of_them, every_other in zip(streams(1, 2, 3), streams(1, 3), strict=True):
        one, _, three = all_of_them
        for batch, wanted in zip((one, three), every_other, strict=True):
            assert torch.equal(batch["pose"], wanted["pose"])
    assert bool(next(streams(0)[0])["labelled"].all())


def test_live_images_that_come_again_are_drawn_from_a_window_that_moves_on() -> None:
    live = {"seed": 3, "batch": 2 * CHUNK, "workers": 0, "repeats": 2}
    chosen = SceneConfig(size=32)
    batches = [
        batch["shape"][:, 0].tolist() for batch in live_batches(free_hand_data(), chosen, steps=range(6), **live)
    ]
    alone = next(live_batches(free_hand_data(), chosen, steps=[5], **live))["shape"][:, 0].tolist()
    assert alone == batches[5], "a batch goes by its number"
    assert all(len(set(batch)) == 2 * CHUNK for batch in batches), "no image twice in one batch"
    images = live_batches(free_hand_data(), chosen, seed=3, batch=CHUNK, steps=range(WINDOW_STEPS + 5), workers=0)
    by_number = [float(x) for batch in images for x in batch["shape"][:, 0]]
    for step, batch in enumerate(batches):
        assert set(batch) <= set(by_number[step * CHUNK : (step + WINDOW_STEPS) * CHUNK])
    assert len({x for batch in batches for x in batch}) > 5 * CHUNK, "from all over the window"


def test_a_warped_crop_shows_its_hand_where_its_truth_says(hand_model, poses) -> None:
    torch.manual_seed(0)
    pose, shape = poses[:4], torch.zeros(4, 10)
    points = hand_model.keypoints(pose, shape)
    places = 4 * points[..., :2]  # a camera far away
    x, y = (torch.arange(96) * 2 + 1) / 96 - 1, (torch.arange(96) * 2 + 1) / 96 - 1
    spot = ((x - places[:, 8, :1, None]).square() + (y[:, None] - places[:, 8, 1:, None]).square()) < 0.05**2
    image = (255 * spot)[..., None].expand(-1, -1, -1, 3).to(torch.uint8)
    batch = {"image": image, "pose": pose, "keypoints_2d": places, "keypoints_3d": points}
    as_it_is, same = warped(batch, 0.0)
    assert same is batch and torch.equal(as_it_is, image.permute(0, 3, 1, 2) / 255)
    seen, moved_batch = warped(batch, 3.0)
    light = seen.mean(1) / seen.mean(1).sum((1, 2), keepdim=True)
    where = torch.stack([(light.sum(1) * x).sum(1), (light.sum(2) * y).sum(1)], -1)
    torch.testing.assert_close(where, moved_batch["keypoints_2d"][:, 8], atol=0.015, rtol=0)
    torch.testing.assert_close(
        hand_model.keypoints(moved_batch["pose"], shape), moved_batch["keypoints_3d"], atol=1e-6, rtol=0
    )
    by = moved_batch["keypoints_2d"] - places
    assert by.abs().amax((1, 2)).min() > 0.03 and (where - places[:, 8]).norm(dim=-1).min() > 0.02, "they have moved"
    flat, wanted = moved_batch["keypoints_3d"][..., :2], moved_batch["keypoints_2d"]
    grown = (wanted[:, 8] - wanted[:, 0]).norm(dim=-1) / (flat[:, 8] - flat[:, 0]).norm(dim=-1)
    torch.testing.assert_close(wanted - wanted[:, :1], grown[:, None, None] * (flat - flat[:, :1]), atol=1e-5, rtol=0)


def test_a_run_by_the_clock_ends_in_time_with_its_rate_run_down(tmp_path, hand_model, capsys) -> None:
    settings = TokenizerTraining(train=train_config(steps=100_000, minutes=0.05), tokenizer=TOKENIZER)
    fit(TokenizerStage(settings, hand_model), settings.train, tmp_path)
    state = read_state(tmp_path / "state.pt")
    assert 0 < state["step"] < 100_000 and state["seconds"] >= 3
    assert state["optimizer"]["param_groups"][0]["lr"] < 0.1 * settings.train.learning_rate
    fit(TokenizerStage(settings, hand_model), settings.train, tmp_path)
    assert read_state(tmp_path / "state.pt")["step"] == state["step"], "the time before counts"
    assert "more train.minutes go on" in " ".join(capsys.readouterr().err.split())


def test_only_what_is_large_stays_open(shards) -> None:
    assert all(
        set(shard) == {"map8", "jpeg", "jpeg_end"} for shard in CachedSamples(complete_shards(shards / "photos")).shards
    )


def test_folders_that_are_no_shards_are_not_written_over(tmp_path) -> None:
    for name, meta in (("theirs", '{"title": "my photos"}'), ("beside", '{"source": "photos", "rows": 3}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(meta)
        (tmp_path / name / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="is no feature shard"):
            write_shard(tmp_path / name, iter(()), TrunkReader(), {"source": "photos"})
        assert (tmp_path / name / "notes.txt").read_text() == "mine"


def test_kept_crops_come_back_as_they_were(shards) -> None:
    photos = CachedSamples(complete_shards(shards / "photos"))
    rows = photos.images(np.array([4, 1]))
    assert rows["image"].shape == (2, 224, 224, 3)
    assert [round(float(image.float().mean())) for image in rows["image"]] == [160, 40]
    torch.testing.assert_close(rows["keypoints_2d"], photos.rows(np.array([4, 1]))["keypoints_2d"])


def test_a_shard_that_fails_leaves_nothing_behind(tmp_path) -> None:
    def broken():
        yield np.zeros((224, 224, 3), np.uint8), photo_truth(np.zeros((21, 2)), np.zeros((21, 3)))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_shard(tmp_path / "shard", broken(), TrunkReader(), {})
    with pytest.raises(InputError, match="maskhand data cache"):
        complete_shards(tmp_path)


def test_shards_with_depths_in_another_unit_are_refused(tmp_path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "meta.json").write_text('{"source": "photos", "rows": 3}')
    with pytest.raises(InputError, match="another unit"):
        complete_shards(tmp_path)


def test_the_learning_rate_warms_up_and_decays() -> None:
    settings = train_config(steps=1000, warmup_steps=100, final_rate=0.1)
    rates = [rate_at(k, settings) for k in range(1000)]
    assert rates[0] < 0.02 and max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "train.steps is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"minutes": 5.0, "devices": 2}, "minutes is 5.0"),
    ],
)
def test_impossible_training_settings_are_refused(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        train_config(**changes)


def test_a_damaged_state_is_named(tmp_path) -> None:
    (tmp_path / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(AssetError, match=r"state\.pt cannot be read"):
        read_state(tmp_path / "state.pt")
    with pytest.raises(AssetError, match="does not exist"):
        read_state(tmp_path / "none.pt")
    save_state(tmp_path / "state.pt", {"step": 3})
    assert read_state(tmp_path / "state.pt") == {"step": 3}


def test_averaged_weights_lie_between_the_two(tmp_path) -> None:
    torch.manual_seed(0)
    early = MaskHandModel(ModelConfig(width=16, heads=2), VqMano(TOKENIZER))
    changes = dict(pose_depth=True, keypoint_width=8, encoder=EncoderConfig(learns="most"))
    late = MaskHandModel(ModelConfig(width=16, heads=2, **changes), early.tokenizer)
    for name, model in (("early", early), ("late", late)):
        save_weights(tmp_path / f"{name}.safetensors", *shipped_weights(model))
    paths = [tmp_path / f"{name}.safetensors" for name in ("late", "early")]
    average_weights(*paths, tmp_path / "mean.safetensors", share=0.75)
    (a, _), (b, _), (mean, config) = (read_weights(path) for path in (*paths, tmp_path / "mean.safetensors"))
    assert config["model"]["encoder"]["learns"] == "most"
    torch.testing.assert_close(mean["mask_token"], 0.75 * a["mask_token"] + 0.25 * b["mask_token"])
    torch.testing.assert_close(mean["keypoint_head.read.weight"], a["keypoint_head.read.weight"])
    trunk = shared_landmark_network().trunk.blocks[5].expand.weight
    torch.testing.assert_close(mean["encoder.backbone.own.5.expand.weight"], trunk, rtol=1e-5, atol=1e-6)
    more = ModelConfig(width=16, heads=2, **changes, keypoint_hourglasses=1, keypoint_context=True)
    later = MaskHandModel(more, early.tokenizer)
    later.keypoint_context.weight.data += 1
    later.keypoint_head.hourglasses[0].correct.weight.data += 1
    save_weights(tmp_path / "later.safetensors", *shipped_weights(later))
    average_weights(tmp_path / "later.safetensors", paths[0], tmp_path / "mean.safetensors", share=0.25)
    mean, _ = read_weights(tmp_path / "mean.safetensors")
    for added in ("keypoint_context.weight", "keypoint_head.hourglasses.0.correct.weight"):  # had no effect before
        torch.testing.assert_close(mean[added], torch.full_like(mean[added], 0.25))
    other = MaskHandModel(ModelConfig(width=32, heads=2), early.tokenizer)
    save_weights(tmp_path / "other.safetensors", *shipped_weights(other))
    with pytest.raises(InputError, match="does not fit"):
        average_weights(paths[0], tmp_path / "other.safetensors", tmp_path / "no.safetensors", share=0.5)
    deeper = MaskHandModel(ModelConfig(width=16, heads=2, synthesizer_layers=6), early.tokenizer)
    save_weights(tmp_path / "deeper.safetensors", *shipped_weights(deeper))
    with pytest.raises(InputError, match="does not fit"):  # its new layers are no mixture of anything
        average_weights(tmp_path / "deeper.safetensors", paths[1], tmp_path / "no.safetensors", share=0.5)


@pytest.mark.parametrize("seed", [11, TEST_SEED - 1])
def test_live_images_that_judge_are_no_training_images(hand_model, shards, seed: int) -> None:
    settings = ModelTraining(
        train=train_config(seed=seed),
        data=DataConfig(synthetic="live", evaluation=str(shards / "validation")),
        model=ModelConfig(width=16, heads=2),
    )
    with pytest.raises(ConfigError, match=f"draws the images of seed {seed + 1}"):
        ModelStage(settings, VqMano(TOKENIZER), hand_model)


def test_weights_of_another_tokenizer_are_no_start(tmp_path, hand_model) -> None:
    torch.manual_seed(0)
    first, second = VqMano(TOKENIZER), VqMano(TOKENIZER)
    save_weights(tmp_path / "start.safetensors", *shipped_weights(MaskHandModel(ModelConfig(width=16, heads=2), first)))
    config = ModelTraining(
        train=train_config(),
        data=DataConfig(synthetic="live"),
        model=ModelConfig(width=16, heads=2),
        start=str(tmp_path / "start.safetensors"),
    )
    ModelStage(config, first, hand_model)
    with pytest.raises(ConfigError, match="another tokenizer"):
        ModelStage(config, second, hand_model)
    whole = MaskHandModel(ModelConfig(width=16, heads=2, encoder=EncoderConfig(learns="all")), first)
    save_weights(tmp_path / "start.safetensors", *shipped_weights(whole))
    with pytest.raises(ConfigError, match="trunk that learned"):
        ModelStage(config, first, hand_model)


def test_parts_of_a_start_can_be_left_out(tmp_path, hand_model) -> None:
    tokenizer = VqMano(TOKENIZER)
    before = MaskHandModel(ModelConfig(width=16, heads=2, synthesizer_layers=2), tokenizer)
    for parameter in before.synthesizer.parameters():
        torch.nn.init.normal_(parameter)
    save_weights(tmp_path / "start.safetensors", *shipped_weights(before))

    def started(*without: str) -> ModelStage:
        settings = ModelTraining(
            train=train_config(),
            data=DataConfig(synthetic="live"),
            model=ModelConfig(width=16, heads=2, synthesizer_layers=2),
            start=str(tmp_path / "start.safetensors"),
            start_without=without,
            offset_rate=0.1,
        )
        return ModelStage(settings, tokenizer, hand_model)

    stage = started("synthesizer.layers.1.look")
    first, second = stage.module.model.synthesizer.layers
    torch.testing.assert_close(first.look.out.weight, before.synthesizer.layers[0].look.out.weight)
    assert (second.look.out.weight == 0).all() and (second.feed[0].weight != 0).any()
    slow = [
        group
        for group in stage.parameter_groups(1.0)
        if group["lr"] == 0.1 and first.look.offsets.bias.shape in {p.shape for p in group["params"]}
    ]
    assert len(slow) == 1
    with pytest.raises(ConfigError, match="start_without='synthesiser' names no weights"):
        started("synthesiser")


def test_two_runs_become_a_file_that_loads_with_its_confidence(tmp_path, shards) -> None:
    model = MaskHandModel(ModelConfig(width=16, heads=2, synthesizer_layers=1), VqMano(TOKENIZER))
    for name in ("later", "earlier"):
        save_weights(tmp_path / f"{name}.safetensors", *shipped_weights(model))
        torch.nn.init.normal_(model.embed.weight, std=0.1)
        torch.nn.init.normal_(model.mask_token)
    later, earlier, mixed, shipped = (
        str(tmp_path / f"{name}.safetensors") for name in ("later", "earlier", "mixed", "shipped")
    )
    for arguments in (
        ["average", later, earlier, "-o", mixed, "--share", "0.25", "--keep", "mask_token"],
        ["ship", mixed, "-o", shipped, "--cache", str(shards / "validation")],
    ):
        result = CliRunner().invoke(app, ["train", *arguments])
        assert result.exit_code == 0, result.output
    one, other, between = (read_weights(path)[0]["embed.weight"] for path in (later, earlier, mixed))
    torch.testing.assert_close(between, 0.25 * one + 0.75 * other)
    torch.testing.assert_close(read_weights(mixed)[0]["mask_token"], read_weights(later)[0]["mask_token"])
    _, config = read_weights(shipped)
    assert load(shipped).calibration == Calibration(**config["calibration"])
    assert Path(shipped).stat().st_size < 0.6 * Path(mixed).stat().st_size


def test_the_networks_keypoints_are_as_fine_in_half_precision(hand_model) -> None:
    config = ModelTraining(
        train=train_config(), data=DataConfig(synthetic="live"), model=ModelConfig(width=16, heads=2)
    )
    objective = ModelStage(config, VqMano(TOKENIZER), hand_model).module
    image = torch.rand(1, 3, 224, 224)
    with torch.autocast("cpu", torch.bfloat16):
        half = objective._seen(image, torch.zeros(1, 21, 2))[1]
    assert torch.equal(half, objective._seen(image, torch.zeros(1, 21, 2))[1])


def test_the_network_reads_turned_crops_upright(hand_model, demo_image) -> None:
    hand = max(HandFinder().find(demo_image), key=lambda hand: hand.right)
    model = ModelConfig(width=16, heads=2, upright_crop=False)
    objective = ModelStage(
        ModelTraining(train=train_config(), data=DataConfig(synthetic="live"), model=model),
        VqMano(TOKENIZER),
        hand_model,
    ).module
    straight = crop_around(hand.keypoints, mirrored=False)
    for turn in (0.0, 2.0, -1.3):
        crop = replace(straight, angle=straight.angle + turn)
        image = torch.from_numpy(crop.extract(demo_image, 224)).permute(2, 0, 1)[None] / 255
        true = torch.from_numpy(crop.to_crop(hand.keypoints[:, :2]))[None]
        seen = objective._seen(image, true)[1][0]
        assert (seen[:, :2] - true[0]).norm(dim=-1).mean() < 0.06, "less than a finger's width"
        cached = TrunkReader()(crop.extract(demo_image, 224)[None], true.numpy())["points"][0]
        np.testing.assert_allclose(cached, seen, atol=0.02)
