"""The one training loop: both stages run in it. Progress, evaluation, atomic checkpoints, exact resume.

Everything random is derived from (seed, step), so a run that is stopped and resumed takes the very steps of one that
was not.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from maskhand.checkpoint import read_state, save_state, save_weights
from maskhand.errors import ConfigError
from maskhand.io.files import made_folder
from maskhand.training.precision import HALF_IS_SLOW, half_is_fast
from maskhand.training.schedule import TrainConfig, done_at, rate_at


class Stage(ABC):
    """What a training stage tells the loop."""

    module: nn.Module
    """Holds everything that learns; called as module(batch) -> (loss, {name: value})."""
    frozen: tuple[str, ...] = ()
    """What the names of its parts begin with that come from outside and do not learn."""

    @abstractmethod
    def batches(self, steps: Iterable[int]) -> Iterator[Any]:
        """The batches of these numbers; batch k depends on the seed and k alone."""

    @abstractmethod
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Held-out measures; the first one is minimised by keeping the best weights."""

    @abstractmethod
    def weights(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and config to ship."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": [p for p in self.module.parameters() if p.requires_grad], "lr": learning_rate}]


class _Wrapped:
    """Carries a batch past Fabric, which would round its numbers to half precision."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class _Unwrapping(nn.Module):
    """The stage's module, taking wrapped batches."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, wrapped: _Wrapped) -> Any:
        return self.inner(wrapped.batch)


def _made_with_other(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path} was made with other {what}: use another folder, or --fresh to start over")


class _Run:
    """One run in progress: module, optimiser, averaged weights, and what of them is on disk."""

    def __init__(self, stage: Stage, config: TrainConfig, out: Path, *, resume: bool) -> None:
        self.stage, self.config, self.out = stage, config, out
        try:
            self.fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision=config.precision)
        except (ValueError, RuntimeError) as error:
            where = f"train.accelerator={config.accelerator!r} and train.devices={config.devices}"
            raise ConfigError(f"{where} do not work here: {error}") from error
        self.without_half = config.precision != "32-true" and not half_is_fast(self.fabric.device)
        if self.without_half:
            self.fabric = Fabric(accelerator=config.accelerator, devices=config.devices, precision="32-true")
        self.fabric.launch()
        groups = stage.parameter_groups(config.learning_rate)
        self.rates = [group["lr"] for group in groups]
        optimizer = torch.optim.AdamW(groups, betas=config.betas, weight_decay=config.weight_decay)
        self.average: torch.optim.swa_utils.AveragedModel | None = None
        if config.ema_decay:
            follow = torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema_decay)
            self.average = torch.optim.swa_utils.AveragedModel(stage.module, multi_avg_fn=follow, use_buffers=False)
        self.step, self.best = 0, math.inf
        self.began, self.earlier = time.monotonic(), 0.0
        path = out / "state.pt"
        state = read_state(path) if resume and path.exists() else {}
        if state:
            self._restore(state, path)
        if self.average is not None:
            self.average.to(self.fabric.device)
        self.module, self.optimizer = self.fabric.setup(_Unwrapping(stage.module), optimizer)
        if state:
            self._restore_optimizer(state, path)
        elif not resume:
            (out / "log.jsonl").unlink(missing_ok=True)

    def _restore(self, state: dict[str, Any], path: Path) -> None:
        given = {
            key: value.clone()
            for key, value in self.stage.module.state_dict().items()
            if key.startswith(self.stage.frozen)
        }
        try:
            self.stage.module.load_state_dict(state["module"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        except (KeyError, RuntimeError) as error:
            raise _made_with_other(path, "settings") from error
        if not all(torch.equal(value, state["module"][key].to(value)) for key, value in given.items()):
            raise _made_with_other(path, "weights of " + " and ".join(self.stage.frozen))
        self.step, self.best, self.earlier = state["step"], state["best"], state.get("seconds", 0.0)

    def _restore_optimizer(self, state: dict[str, Any], path: Path) -> None:
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:
            raise _made_with_other(path, "settings") from error
        for group in self.optimizer.param_groups:  # as the settings say now
            group.update(betas=self.config.betas, weight_decay=self.config.weight_decay)

    @property
    def seconds(self) -> float:
        """How long it has been learning, with what was before it was stopped."""
        return self.earlier + time.monotonic() - self.began

    @property
    def done(self) -> bool:
        return done_at(self.step, self.config, self.seconds) == 1

    @property
    def judged(self) -> nn.Module:
        """The weights that count: the average if one is kept."""
        return self.stage.module if self.average is None else self.average.module

    def batches(self) -> Iterator[Any]:
        """Several devices take turns at the batches: of each W, one for every device."""
        world = self.fabric.world_size
        return self.stage.batches(itertools.count(self.step * world + self.fabric.global_rank, world))

    def learn(self, batch: Any) -> dict[str, Tensor]:
        """One step of the optimiser; the terms of the loss."""
        step = self.config.seed * 1_000_003 + self.step
        torch.manual_seed(step * self.fabric.world_size + self.fabric.global_rank)  # masks of its own for every device
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * rate_at(self.step, self.config, self.seconds)
        loss, terms = self.module(_Wrapped(self.fabric.to_device(batch)))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.config.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.stage.module)
        self.step += 1
        return terms

    def evaluate(self, record: dict[str, float]) -> dict[str, float]:
        """Measure, log beside `record`, keep the weights if they are the best so far."""
        self.stage.module.eval()
        self.judged.eval()
        results = self.stage.evaluate(self.judged)
        self.stage.module.train()
        score = next(iter(results.values()), math.inf)
        better = score < self.best or not results
        self.best = min(score, self.best)
        if self.fabric.is_global_zero:
            rounded = {key: round(value, 5) for key, value in {**record, **results}.items()}
            with (self.out / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.step, **rounded}) + "\n")
            if better:
                save_weights(self.out / "best.safetensors", *self.stage.weights(self.judged))
        return results

    def save(self) -> None:
        """Everything needed to go on, and the weights as they are now."""
        if self.fabric.is_global_zero:
            state = {"module": self.stage.module.state_dict(), "optimizer": self.optimizer.state_dict()}
            if self.average is not None:
                state["average"] = self.average.state_dict()
            save_state(self.out / "state.pt", {**state, "step": self.step, "best": self.best, "seconds": self.seconds})
            save_weights(self.out / "last.safetensors", *self.stage.weights(self.judged))


def fit(
    stage: Stage, config: TrainConfig, out: str | Path, *, resume: bool = True, stop_after: int | None = None
) -> dict[str, float]:
    """Train a stage in folder `out`: state.pt (resume), best.safetensors, last.safetensors, log.jsonl.

    Args:
        stage: what to train.
        config: how long and how fast.
        out: made if absent.
        resume: go on from `out`/state.pt where it exists, with the settings given now.
        stop_after: leave, state saved, once this step is reached (for slices of a long run).

    Returns:
        The last evaluation.

    """
    out = made_folder(out)
    run = _Run(stage, config, out, resume=resume)
    end = min(config.steps, stop_after or config.steps)
    results: dict[str, float] = {}
    running: dict[str, Tensor] = {}
    shown = 0.0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    quiet = not run.fabric.is_global_zero
    with Progress(
        *columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True, quiet=quiet), disable=quiet
    ) as bar:
        if run.without_half:
            bar.console.print(HALF_IS_SLOW)
        over = run.step >= end or run.done
        if over:
            more = "train.minutes" if config.minutes and run.step < end else "train.steps"
            bar.console.print(f"{out} is at step {run.step} of {end} already: more {more} go on, --fresh starts over")
        task = bar.add_task("training", total=config.steps, completed=run.step, note="")
        stage.module.train()
        run.began = time.monotonic()
        for batch in () if over else run.batches():
            for name, value in run.learn(batch).items():
                running[name] = running.get(name, value).lerp(value, 0.02)  # not read here: a GPU would be waited for
            if time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                bar.update(task, completed=run.step, note="  ".join(f"{k} {float(v):.3f}" for k, v in running.items()))
            done = run.done
            over = run.step >= end or done
            if run.step % config.evaluate_every == 0 or done:
                results = run.evaluate({**{k: float(v) for k, v in running.items()}, "seconds": run.seconds})
                bar.console.print(f"step {run.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in results.items()))
            if run.step % config.save_every == 0 or over:
                run.save()
            if over:
                break
        bar.update(task, completed=run.step)
    return results
