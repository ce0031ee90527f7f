"""Rehearse a benchmark: each stage once as it stands, over a few identities and steps, in a folder of its own.

The stages are started as ``bench run`` starts them, by the same launcher, on the same device, with the same weights and
recipe. Only sizes change: identities, images, epochs, and pairs of the test sets. The folder is removed at the end;
what was measured stays in ``RUNS/rehearsals``, and nothing of a rehearsal is a result.
"""

import os
import shutil
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.config.benchmarks import Benchmark, load_benchmark
from bench.config.generator import RenderGenerator, Vec2FaceGenerator
from bench.machine.facts import environment
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, read_card
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import MissingInput, find_protocol, is_rendered, rendered_protocol_path
from bench.runs.launch import run_command, stage_command
from bench.runs.plan.measured import Measured, settings_digest, write_measured
from bench.runs.stage import Stages

_NUM_PAIRS = 40
_TIMES_MORE = 2
"""The second dataset has this many times the identities of the first; their difference in time gives the rate."""
_SHORT = "short_"
"""Prefix of the names of shortened test sets."""


@dataclass(frozen=True)
class Sizes:
    """How much is rehearsed."""

    num_identities: int
    images_per_identity: int
    num_steps: int
    """Steps of training."""
    batch_size: int | None
    """Faces per step of one process; None for the batch of the recipe."""


ON_A_GPU = Sizes(num_identities=64, images_per_identity=16, num_steps=40, batch_size=None)
ON_A_CPU = Sizes(num_identities=2, images_per_identity=4, num_steps=8, batch_size=4)
"""Where AttrOP accepts no image, as with weights of random numbers, every image takes 15 seconds on two cores."""


class Rehearsal:
    """One rehearsal: runs stages, and collects what they took.

    Args:
        benchmark: Entry of benchmarks.yaml.
        missing: Inputs that do not exist. What needs them is left out.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).
        device: The torch device that ``args.device`` stands for.
    """

    def __init__(self, benchmark: Benchmark, missing: list[MissingInput], args: Namespace, device: str) -> None:
        self._benchmark, self._missing, self._args = benchmark, missing, args
        self._is_gpu, self._sizes = device.startswith("cuda"), ON_A_GPU if device.startswith("cuda") else ON_A_CPU
        self._num_processes = int(os.environ.get("NPROC") or 1)
        self._folder = args.runs / ".rehearsals" / benchmark.name
        self._has_failed_to_generate = False
        facts = environment()
        self.measured = Measured(
            settings=settings_digest(benchmark),
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            device=f"{facts.gpu if self._is_gpu and facts.gpu else f'{facts.num_cores} cores of {facts.cpu}'}, "
            f"NPROC={self._num_processes}",
            num_processes=self._num_processes,
            problems=[str(item) for item in missing],
        )

    def run(self) -> Iterator[str]:
        """Rehearse every stage that has its inputs.

        Yields:
            Lines for the terminal.
        """
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        try:
            protocols = self._shorten_test_sets()
            yield from self._generate(protocols)
            yield from self._train(protocols)
            if protocols:
                yield from self._evaluate(protocols)
            else:
                yield "evaluate: not rehearsed, no test set is here"
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            write_measured(self._args.runs, self._benchmark.name, self.measured)
        yield from (f"problem: {problem}" for problem in self.measured.problems)

    def _shorten_test_sets(self) -> list[str]:
        """Write the first pairs of every test set that exists, and return the names of the short sets."""
        names = []
        for name in self._benchmark.protocols:
            path = find_protocol(name, self._args.test_sets)
            if is_rendered(name):
                path = rendered_protocol_path(name, self._args.runs)
            if path is None or not path.exists():
                continue
            out = self._folder / "test_sets" / f"{_SHORT}{name}.bin"
            line = [
                sys.executable,
                "-m",
                "evaluate",
                "shorten",
                str(path),
                "--out",
                str(out),
                "--pairs",
                str(_NUM_PAIRS),
            ]
            if run_command(line, is_quiet=True):
                self.measured.problems.append(f"{path} cannot be read, see the message above")
            elif out.exists():
                names.append(f"{_SHORT}{name}")
        return names

    def _generate(self, protocols: list[str]) -> Iterator[str]:
        if not self._can_generate:
            yield "generate: not rehearsed, rendered faces stand in for those of the entry"
            return
        few, many = self._sizes.num_identities, _TIMES_MORE * self._sizes.num_identities
        cards = []
        for num_identities in (few, many):
            stages = self._write_entry(protocols, {"num_identities": num_identities})
            if not self._run_stage("generate", stages):
                self._has_failed_to_generate = True
                yield "generate: failed, rendered faces stand in for those of the entry"
                return
            cards.append(read_card(stages.generate.directory, DatasetCard))
        rate, start_seconds = marginal_rate(*cards)
        self.measured.generate_images_per_second = rate
        self.measured.bytes_per_image = (stages.generate.directory / "faces.lmdb").stat().st_size / cards[1].num_images
        self._note_memory("generate", cards[1].cost.peak_memory_mb)
        yield f"generate: {rate:.3g} images/s"
        if isinstance(self._benchmark.generator, Vec2FaceGenerator):
            stages = self._write_entry(protocols, {"num_identities": many, "attributes": {"max_steps": 0}})
            if self._run_stage("generate", stages):
                card = read_card(stages.generate.directory, DatasetCard)
                seconds = max(card.cost.seconds - start_seconds, 1e-3)
                self.measured.without_attrop_images_per_second = card.num_images / seconds
                yield f"generate: {card.num_images / seconds:.3g} images/s without optimiser steps of AttrOP"

    def _train(self, protocols: list[str]) -> Iterator[str]:
        """Train with the recipe's batch size on a GPU; on a CPU with two small ones, to extrapolate the memory."""
        share = self._benchmark.recipe.batch_size // self._num_processes
        if self._is_gpu:
            for micro_batch in [share // 2**halvings for halvings in range(8) if share % 2**halvings == 0]:
                if self._train_once(protocols, share, micro_batch):
                    if micro_batch < share:
                        self.measured.largest_micro_batch = micro_batch
                        yield f"train: at most {micro_batch} faces at a time fit, set --micro-batch {micro_batch}"
                    break
        else:
            small = self._sizes.batch_size or 4
            memory = [self._train_once(protocols, size, size) for size in (small, 2 * small)]
            if all(memory):
                yield from self._extrapolate(small, memory[0], memory[1], share)
        if rate := self.measured.train_images_per_second:
            yield f"train: {rate:.3g} images/s"

    def _extrapolate(self, size: int, memory: float, memory_of_double: float, share: int) -> Iterator[str]:
        """Extrapolate the memory of the whole batch, in GB, from that of two small batches."""
        per_face = max(0.0, memory_of_double - memory) / size
        whole = memory + per_face * (share - size)
        self.measured.memory_gb["train"] = round(whole, 2)
        total = psutil.virtual_memory().total / 1e9
        yield f"train: {whole:.1f} GB with {share} faces at a time, extrapolated from {size} and {2 * size}"
        if whole > total and per_face:
            fits = size + int((total - memory) / per_face)
            largest = max((n for n in range(2, share + 1) if share % n == 0 and n <= fits), default=2)
            self.measured.largest_micro_batch = largest
            self.measured.problems.append(
                f"training takes {whole:.1f} GB of the {total:.1f} GB here; set TRAIN_FLAGS='--micro-batch {largest}'"
            )

    def _train_once(self, protocols: list[str], share: int, micro_batch: int) -> float:
        """Train a few steps. Returns the largest memory in GB; 0 if the training failed."""
        before = os.environ.get("TRAIN_FLAGS", "")
        os.environ["TRAIN_FLAGS"] = f"{before} --validate-every 0"
        if micro_batch < share:
            os.environ["TRAIN_FLAGS"] += f" --micro-batch {micro_batch}"
        stages = self._write_entry(protocols, batch_size=share * self._num_processes)
        try:
            if not self._run_stage("generate", stages) or not self._run_stage("train", stages):
                return 0.0
        finally:
            os.environ["TRAIN_FLAGS"] = before
        card = read_card(stages.train.directory, ModelCard)
        self.measured.train_images_per_second = _step_rate(card)
        self._note_memory("train", card.cost.peak_memory_mb)
        return self.measured.memory_gb.get("train", 0.0)

    def _evaluate(self, protocols: list[str]) -> Iterator[str]:
        stages = self._write_entry(protocols, batch_size=self._last_batch_size)
        if stages.train.is_finished and self._run_stage("evaluate", stages):
            card = read_card(stages.evaluate.directory, ResultCard)
            self.measured.evaluate_images_per_second = card.cost.images_per_second
            self._note_memory("evaluate", card.cost.peak_memory_mb)
            if rate := card.cost.images_per_second:
                yield f"evaluate: {rate:.3g} images/s"

    def _note_memory(self, stage: str, megabytes: float | None) -> None:
        if megabytes is not None:
            self.measured.memory_gb[stage] = round(megabytes * 2**20 / 1e9, 2)

    def _run_stage(self, name: str, stages: Stages) -> bool:
        """Run a stage unless it is finished, and return whether it succeeded. A failing stage prints why.

        Raises:
            SystemExit: A signal that asks for the end of the rehearsal has ended the stage, which has said so.
        """
        stage = getattr(stages, name)
        if stage.is_finished:
            return True
        status = run_command(stage_command(stage, self._stage_args))
        if status - 128 in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            sys.exit(status)
        if status:
            self.measured.problems.append(f"{name} ended with status {status}, see the message above")
        return status == 0

    @property
    def _stage_args(self) -> Namespace:
        """The flags of the stages: those of the user, except the folders and the file of benchmarks."""
        changes = {"runs": self._folder / "runs", "test_sets": self._folder / "test_sets", "set": ""}
        return Namespace(**vars(self._args) | changes | {"config": self._folder / "benchmarks.yaml"})

    def _write_entry(
        self, protocols: list[str], generator: dict[str, Any] | None = None, batch_size: int | None = None
    ) -> Stages:
        """Write a file of benchmarks with a small version of the entry, and return its stages.

        Args:
            protocols: Names of the test sets.
            generator: Fields of the generator to change further; sections are merged.
            batch_size: Faces per step over all processes; None for that of the recipe.
        """
        benchmark, sizes = self._benchmark, self._sizes
        batch_size = batch_size or benchmark.recipe.batch_size
        self._last_batch_size = batch_size
        small = {"num_identities": sizes.num_identities, "images_per_identity": sizes.images_per_identity}
        num_images = sizes.num_identities * sizes.images_per_identity
        settings: dict[str, Any] = {"kind": "render"}
        if self._can_generate:
            settings = benchmark.generator.model_dump(mode="json", exclude_unset=True)
        settings |= small
        for name, value in (generator or {}).items():
            settings[name] = settings.get(name, {}) | value if isinstance(value, dict) else value
        recipe = benchmark.recipe.model_dump(mode="json", exclude_unset=True) | {"batch_size": batch_size}
        epochs = -(-sizes.num_steps // max(1, num_images // batch_size))
        recipe["schedule"] = {"kind": "polynomial", "epochs": epochs}
        entry = {
            "about": "a rehearsal",
            "generator": settings,
            "recipe": "rehearsed",
            "protocols": protocols or [f"{_SHORT}none"],
            "expected": benchmark.expected.model_dump(mode="json", exclude_unset=True),
        }
        path = self._folder / "benchmarks.yaml"
        document = {"recipes": {"rehearsed": recipe}, "protocols": {}, "benchmarks": {benchmark.name: entry}}
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        args = self._stage_args
        return plan_stages(
            load_benchmark(benchmark.name, path), seed=args.seed, runs=args.runs, test_sets=args.test_sets
        )

    @property
    def _can_generate(self) -> bool:
        """Whether the generator of the entry can draw here; if not, rendered faces stand in for its own."""
        generator = self._benchmark.generator
        if self._has_failed_to_generate:
            return False
        if isinstance(generator, RenderGenerator):
            return True
        names = {item.path.name for item in self._missing}
        is_drawn = isinstance(generator, Vec2FaceGenerator) and generator.source == "generate"
        return is_drawn and not names & {Path(name).name for name in generator.weight_files}


def marginal_rate(few: DatasetCard, many: DatasetCard) -> tuple[float, float]:
    """Images per second of generating without the start-up, and the seconds of the start-up, from two datasets.

    Loading the networks takes as long for a few images as for millions, so the plain rate of a few would be too low.
    """
    seconds, images = many.cost.seconds - few.cost.seconds, many.num_images - few.num_images
    if seconds <= 0:  # another program slowed down the first one
        return many.num_images / many.cost.seconds, 0.0
    return images / seconds, max(0.0, few.cost.seconds - few.num_images * seconds / images)


def _step_rate(card: ModelCard) -> float | None:
    """Images per second of the steps of a training, without the wait for the first faces of a short one."""
    rate, waited = card.final.get("images_per_second"), card.final.get("data_wait_share")
    if not rate or waited is None:
        return card.cost.images_per_second
    return rate / max(1 - waited, 0.05)
