"""The one training loop: both stages run in it. Progress, evaluation, atomic checkpoints, exact resume.

Everything random is derived from (seed, step), so a run that is stopped and resumed takes the very steps of one that was not.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from maskhand.checkpoint import read_state, save_state, save_weights
from maskhand.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to train."""

    steps: int
    batch_size: int
    learning_rate: float
    final_rate: float = 0.02
    """Learning rate at the end, as a share of the first one (cosine decay)."""
    warmup_steps: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    """Decay of the averaged weights that are evaluated and shipped; 0 keeps none."""
    seed: int = 0
    evaluate_every: int = 1000
    save_every: int = 500
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    accelerator: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "save_every", "devices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}; it must be at least 1")
        if self.learning_rate <= 0:
            raise ConfigError(f"train.learning_rate is {self.learning_rate}; it must be positive")


class Stage(ABC):
    """What a training stage tells the loop."""

    module: nn.Module
    """Holds everything that learns; called as module(batch) -> (loss, {name: value})."""

    @abstractmethod
    def batches(self, start: int) -> Iterator[Any]:
        """Batches from step `start` on; batch k depends on the seed and k alone."""

    @abstractmethod
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Held-out measures; the first one is minimised by keeping the best weights."""

    @abstractmethod
    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and config to ship."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": learning_rate}]


class _Sealed:
    """Carries a batch past Fabric, which would round its numbers to half precision at the module's door."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class _Opening(nn.Module):
    """The stage's module, taking sealed batches."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sealed: _Sealed) -> Any:
        return self.inner(sealed.batch)


def rate_at(step: int, config: TrainConfig) -> float:
    """Share of the learning rate at a step: linear warm-up, then cosine decay."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    return warm * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * step / config.steps)))


def fit(
    stage: Stage, config: TrainConfig, out: str | Path, *, resume: bool = True, stop_after: int | None = None
) -> dict[str, float]:
    """Train a stage in folder `out`: state.pt (resume), best.safetensors, last.safetensors, log.jsonl.

    Args:
        resume: go on from `out`/state.pt where it exists.
        stop_after: leave, state saved, once this step is reached (for slices of a long run).

    Returns:
        The last evaluation.

    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)
    fabric.launch()
    optimizer = torch.optim.AdamW(
        stage.parameter_groups(config.learning_rate),
        betas=config.betas,
        weight_decay=config.weight_decay,  # type: ignore[arg-type]
    )
    initial = [group["lr"] for group in optimizer.param_groups]
    average = (
        torch.optim.swa_utils.AveragedModel(
            stage.module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema_decay), use_buffers=False
        )
        if config.ema_decay
        else None
    )
    step, best = 0, math.inf
    state_path, state = out / "state.pt", {}
    if resume and state_path.exists():
        state = read_state(state_path)
        try:
            stage.module.load_state_dict(state["module"])
            if average is not None:
                average.load_state_dict(state["average"])
        except (KeyError, RuntimeError) as error:
            raise ConfigError(
                f"{state_path} was made with other settings: use another folder, or --fresh to start over"
            ) from error
        step, best = state["step"], state["best"]
    if average is not None:
        average.to(fabric.device)
    module, optimizer = fabric.setup(_Opening(stage.module), optimizer)
    if state:
        optimizer.load_state_dict(state["optimizer"])

    def save() -> None:
        if fabric.is_global_zero:
            now = {"module": stage.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "best": best}
            save_state(state_path, {**now, **({"average": average.state_dict()} if average is not None else {})})
            save_weights(out / "last.safetensors", *stage.weights(judged()))

    def judged() -> nn.Module:
        """The weights that count: the average if one is kept."""
        return average.module if average is not None else stage.module

    def log(record: dict[str, float]) -> None:
        if fabric.is_global_zero:
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, **{k: round(v, 5) for k, v in record.items()}}) + "\n")

    end = min(config.steps, stop_after or config.steps)
    results: dict[str, float] = {}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console, disable=not fabric.is_global_zero) as bar:
        task = bar.add_task("training", total=config.steps, completed=step, note="")
        stage.module.train()
        running: dict[str, float] = {}
        began, shown = time.monotonic(), 0.0
        while step < end:
            # Several devices take turns at the batches: of each W, one for every device.
            mine = stage.batches(step * fabric.world_size + fabric.global_rank)
            for batch in itertools.islice(mine, 0, None, fabric.world_size):
                torch.manual_seed(config.seed * 1_000_003 + step)
                for group, rate in zip(optimizer.param_groups, initial, strict=True):
                    group["lr"] = rate * rate_at(step, config)
                loss, terms = module(_Sealed(fabric.to_device(batch)))
                optimizer.zero_grad()
                fabric.backward(loss)
                fabric.clip_gradients(module, optimizer, max_norm=config.clip_norm)
                optimizer.step()
                if average is not None:
                    average.update_parameters(stage.module)
                step += 1
                for name, value in terms.items():
                    running[name] = 0.98 * running.get(name, float(value)) + 0.02 * float(value)
                if time.monotonic() - shown > 0.5:
                    shown = time.monotonic()
                    bar.update(task, completed=step, note="  ".join(f"{k} {v:.3f}" for k, v in running.items()))
                if step % config.evaluate_every == 0 or step == config.steps:
                    stage.module.eval()
                    judged().eval()
                    results = stage.evaluate(judged())
                    stage.module.train()
                    log({**running, **results, "seconds": time.monotonic() - began})
                    bar.console.print(f"step {step}: " + ", ".join(f"{k} {v:.3f}" for k, v in results.items()))
                    score = next(iter(results.values()), math.inf)
                    if score < best or not results:
                        best = score
                        if fabric.is_global_zero:
                            save_weights(out / "best.safetensors", *stage.weights(judged()))
                if step % config.save_every == 0 or step >= end:
                    save()
                if step >= end:
                    break
        bar.update(task, completed=step)
    return results
