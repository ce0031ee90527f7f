"""Rehearse a benchmark: each stage once as it stands, over a few identities and steps, in a folder of its own.

The stages are started as ``bench run`` starts them, by the same launcher, on the same device, with the same weights and
recipe. Only sizes change: identities, images, epochs, and pairs of the test sets. The folder is removed at the end;
what was measured stays in ``RUNS/rehearsals``, and nothing of a rehearsal is a result.
"""

import os
import shutil
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import yaml

from bench.config.benchmarks import Benchmark, load_benchmark
from bench.config.generator import RenderGenerator, Vec2FaceGenerator
from bench.config.recipe import REHEARSALS, checked_micro_batch
from bench.errors import OUT_OF_MEMORY, InputError
from bench.machine.facts import Cost, environment, memory_limit
from bench.machine.preemption import ENDED_BY_SIGNAL
from bench.machine.progress import note
from bench.runs.cards import DatasetCard, ModelCard, ResultCard, read_card
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import MissingInput, find_protocol, is_rendered, rendered_protocol_path
from bench.runs.launch import num_processes, run_command, stage_command
from bench.runs.plan.describe import has_released_sizes
from bench.runs.plan.measured import Measured, settings_digest, write_measured
from bench.runs.plan.small import (
    ON_A_CPU,
    ON_A_GPU,
    RELEASED_ON_A_CPU,
    MemoryOfTraining,
    asked_micro_batch,
    ever_smaller,
    marginal_rate,
    rehearsed_training,
    step_rate,
)
from bench.runs.stage import Stages, stage_lock
from bench.runs.tracking.live import SWITCH

_TIMES_MORE_WITHOUT_ATTROP = 8
"""As ``Sizes.times_more``, for datasets without optimiser steps, which take much less time for an image."""
_SHORT = "short_"
"""Prefix of the names of shortened test sets."""


@dataclass(frozen=True)
class _Rehearsed:
    """A small dataset."""

    card: DatasetCard
    num_bytes: int
    """Size of its faces.lmdb."""


class Rehearsal:
    """One rehearsal: runs stages, and collects what they took.

    Args:
        benchmark: Entry of benchmarks.yaml.
        missing: Inputs that do not exist. What needs them is left out.
        args: Values of the stage flags (``bench.cli.add_stage_flags``).
        device: The torch device that ``args.device`` stands for.

    Raises:
        InputError: If LAUNCH is set, or NPROC is not a number of processes.
    """

    def __init__(self, benchmark: Benchmark, missing: list[MissingInput], args: Namespace, device: str) -> None:
        if os.environ.get("LAUNCH"):
            raise InputError("LAUNCH is set, but a rehearsal measures one machine; unset it, and give NPROC")
        self._benchmark, self._missing, self._args = benchmark, missing, args
        self._is_gpu = device.startswith("cuda")
        on_a_cpu = RELEASED_ON_A_CPU if has_released_sizes(benchmark.generator) else ON_A_CPU
        self._sizes = ON_A_GPU if self._is_gpu else on_a_cpu
        self._num_processes = num_processes()
        self._folder = args.runs / REHEARSALS / benchmark.name / "work"
        self._has_failed_to_generate = self._ran_out_of_memory = False
        self._trained: Stages | None = None
        facts = environment()
        self.measured = Measured(
            settings=settings_digest(benchmark),
            created_utc=datetime.now(UTC),
            device=f"{facts.gpu if self._is_gpu and facts.gpu else f'{facts.num_cores} cores of {facts.cpu}'}, "
            f"NPROC={self._num_processes}",
            num_processes=self._num_processes,
            is_gpu=self._is_gpu,
            problems=[str(item) for item in missing],
        )

    def run(self) -> Iterator[str]:
        """Rehearse every stage that has its inputs.

        Yields:
            Lines for the terminal.

        Raises:
            InputError: Another rehearsal of this benchmark runs.
            SystemExit: A signal asks for the end. The measurements of an earlier rehearsal stay.
        """
        os.environ[SWITCH] = "0"  # MLflow shows no rehearsals
        with stage_lock(self._folder.parent):
            try:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir()
                protocols = self._shorten_test_sets()
                yield from self._generate(protocols)
                yield from self._train(protocols)
                if protocols:
                    yield from self._evaluate(protocols)
                else:
                    yield "evaluate: not rehearsed, no test set is here"
            finally:
                shutil.rmtree(self._folder.parent, ignore_errors=True)
                with suppress(OSError):  # another benchmark is rehearsed
                    self._folder.parent.parent.rmdir()
        self.measured.created_utc = datetime.now(UTC)
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
                str(self._sizes.num_pairs),
            ]
            if _run_or_end(line):
                self.measured.problems.append(f"{path} cannot be read, see the message above")
            elif out.exists():
                names.append(f"{_SHORT}{name}")
        return names

    def _generate(self, protocols: list[str]) -> Iterator[str]:
        if not self._can_generate:
            yield "generate: not rehearsed, rendered faces stand in for those of the entry"
            return
        pair = self._generate_two(protocols, self._sizes.times_more, {})
        if pair is None:
            self._has_failed_to_generate = True
            yield "generate: failed, rendered faces stand in for those of the entry"
            return
        few, many = pair
        self.measured.generate_images_per_second = marginal_rate(few.card, many.card)
        added_bytes, added_images = many.num_bytes - few.num_bytes, many.card.num_images - few.card.num_images
        self.measured.bytes_per_image = added_bytes / added_images  # a file of few images is mostly its first pages
        self._note_memory("generate", many.card.cost)
        yield f"generate: {self.measured.generate_images_per_second:.3g} images/s"
        if isinstance(self._benchmark.generator, Vec2FaceGenerator):
            without = self._generate_two(protocols, _TIMES_MORE_WITHOUT_ATTROP, {"attributes": {"max_steps": 0}})
            if without is not None:
                rate = marginal_rate(without[0].card, without[1].card)
                self.measured.without_attrop_images_per_second = rate
                yield f"generate: {rate:.3g} images/s without optimiser steps of AttrOP"

    def _generate_two(
        self, protocols: list[str], times_more: int, changes: dict[str, Any]
    ) -> "tuple[_Rehearsed, _Rehearsed] | None":
        """Generate a dataset, and one of ``times_more`` as many identities; None if one of them fails."""
        rehearsed = []
        for num_identities in (self._sizes.num_identities, times_more * self._sizes.num_identities):
            stages = self._write_entry(protocols, num_identities, changes)
            if not self._run_stage("generate", stages):
                return None
            directory = stages.generate.directory
            num_bytes = (directory / "faces.lmdb").stat().st_size
            rehearsed.append(_Rehearsed(read_card(directory, DatasetCard), num_bytes))
        return rehearsed[0], rehearsed[1]

    def _train(self, protocols: list[str]) -> Iterator[str]:
        """Train with the recipe's batch size on a GPU; on a CPU with two small ones, to extrapolate the memory."""
        batch_size = self._benchmark.recipe.batch_size
        share, rest = divmod(batch_size, self._num_processes)
        if rest:
            self.measured.problems.append(
                f"the batch of {batch_size} faces is not divisible by {self._num_processes} processes; change NPROC"
            )
            return
        micro_batch = checked_micro_batch(asked_micro_batch(), share)
        if self._is_gpu:
            yield from self._find_micro_batch(protocols, share, micro_batch)
        elif memory := self._measure_training(protocols, max(2, min(self._sizes.batch_size or share, share // 2))):
            yield self._extrapolate(memory, share, micro_batch)
        if rate := self.measured.train_images_per_second:
            yield f"train: {rate:.3g} images/s"

    def _measure_training(self, protocols: list[str], small: int) -> MemoryOfTraining | None:
        """Train on a CPU with two small batches of few identities, then with those of the long run; None if one fails.

        Class weights would hide what a face adds, since their step comes when the memory of the faces is free again.
        """
        memory = []
        for faces, classes in ((small, 0), (2 * small, 0), (2 * small, self._identities_of_long_run)):
            memory.append(self._train_once(protocols, faces, faces, classes))
            if not memory[-1]:
                return None
        of_classes = max(0.0, memory[2] - memory[1])
        return MemoryOfTraining(small, memory[0] + of_classes, (memory[1] - memory[0]) / small)

    def _find_micro_batch(self, protocols: list[str], share: int, first: int) -> Iterator[str]:
        """Train with ever smaller parts of the share of a process until one fits into the memory of its GPU."""
        for micro_batch in ever_smaller(first, share):
            if self._train_once(protocols, share, micro_batch, self._identities_of_long_run):
                if micro_batch < first:
                    self.measured.largest_micro_batch = micro_batch
                    text = f"{micro_batch} of {first} faces fit into GPU memory at a time"
                    self.measured.problems.append(f"{text}; set TRAIN_FLAGS='--micro-batch {micro_batch}'")
                    yield f"train: {text}"
                return
            if not self._ran_out_of_memory:
                return
        self.measured.problems.append("training does not fit into GPU memory, however few faces at a time; raise NPROC")

    def _extrapolate(self, memory: MemoryOfTraining, share: int, micro_batch: int) -> str:
        """Extrapolate the memory of training with ``micro_batch`` faces at a time from that of two small batches."""
        sizes = f"{memory.size} and {2 * memory.size}"
        if memory.per_face <= 0:
            return f"train: {sizes} faces at a time took the same memory, which tells nothing about {micro_batch}"
        whole, here = memory.of(micro_batch), memory_limit() / 1e9 / self._num_processes
        self.measured.memory_gb["train"] = round(whole, 2)
        if whole > here:
            largest = self.measured.largest_micro_batch = memory.largest(share, here)
            advice = f"set TRAIN_FLAGS='--micro-batch {largest}'" if largest else "use a machine with more memory"
            self.measured.problems.append(
                f"training takes {whole:.1f} GB of the {here:.1f} GB that a process has here; {advice}"
            )
        return f"train: {whole:.1f} GB with {micro_batch} faces at a time, extrapolated from {sizes}"

    def _train_once(self, protocols: list[str], share: int, micro_batch: int, classes: int) -> float:
        """Train a few steps. Returns the largest main memory in GB; 0 if the training failed.

        Args:
            protocols: Names of the test sets.
            share: Faces per step of one process.
            micro_batch: How many of them at a time.
            classes: Identities of which class weights are trained; 0 for those of the dataset.
        """
        num_identities = self._sizes.times_more * self._sizes.num_identities  # as for the rate of generating
        if not self._is_gpu:  # rendered ones, since two batches of generated faces would take minutes
            num_identities = -(-2 * share // self._sizes.images_per_identity)
        batch_size = share * self._num_processes
        stages = self._write_entry(protocols, num_identities, {}, batch_size, is_rendered=not self._is_gpu)
        self._trained = stages
        shutil.rmtree(stages.train.directory, ignore_errors=True)  # of a training with other class weights
        with rehearsed_training(micro_batch if micro_batch < share else None, classes):
            if not self._run_stage("generate", stages) or not self._run_stage("train", stages):
                return 0.0
        card = read_card(stages.train.directory, ModelCard)
        self.measured.train_images_per_second = step_rate(card)
        self._note_memory("train", card.cost)
        return self.measured.memory_gb.get("train", 0.0)

    @property
    def _identities_of_long_run(self) -> int:
        """Number of identities of the entry; 0 where only its datasets know."""
        generator = self._benchmark.generator
        return generator.num_identities if isinstance(generator, RenderGenerator | Vec2FaceGenerator) else 0

    def _evaluate(self, protocols: list[str]) -> Iterator[str]:
        stages = self._trained
        if stages is None or not stages.train.is_finished:
            yield "evaluate: not rehearsed, no network was trained"
        elif self._run_stage("evaluate", stages):
            card = read_card(stages.evaluate.directory, ResultCard)
            self.measured.evaluate_images_per_second = card.cost.images_per_second
            self._note_memory("evaluate", card.cost)
            if rate := card.cost.images_per_second:
                yield f"evaluate: {rate:.3g} images/s"

    def _note_memory(self, stage: str, cost: Cost) -> None:
        main, on_gpu = cost.peak_memory_mb, cost.peak_gpu_memory_mb
        for memory, megabytes in ((self.measured.memory_gb, main), (self.measured.gpu_memory_gb, on_gpu)):
            if megabytes is not None:
                memory[stage] = round(megabytes * 2**20 / 1e9, 2)

    def _run_stage(self, name: str, stages: Stages) -> bool:
        """Run a stage unless it is finished, and return whether it succeeded. A failing stage prints why."""
        stage = getattr(stages, name)
        if stage.is_finished:
            return True
        with tempfile.TemporaryFile() as log:
            # Evaluation warns of the network of a rehearsal, which has hardly learned; training on a GPU may not fit
            is_hidden = name == "evaluate" or (name == "train" and self._is_gpu)
            status = _run_or_end(stage_command(stage, self._stage_args), log if is_hidden else None)
            log.seek(0)
            text = log.read().decode(errors="replace")
        self._ran_out_of_memory = name == "train" and OUT_OF_MEMORY in text
        if status and not self._ran_out_of_memory:
            sys.stderr.write(text)
            self.measured.problems.append(f"{name} ended with status {status}, see the message above")
        return status == 0

    @property
    def _stage_args(self) -> Namespace:
        """The flags of the stages: those of the user, except the folders and the file of benchmarks."""
        changes = {"runs": self._folder / "runs", "test_sets": self._folder / "test_sets", "set": ""}
        return Namespace(**vars(self._args) | changes | {"config": self._folder / "benchmarks.yaml"})

    def _write_entry(
        self,
        protocols: list[str],
        num_identities: int,
        generator: dict[str, Any],
        batch_size: int | None = None,
        *,
        is_rendered: bool = False,
    ) -> Stages:
        """Write a file of benchmarks with a small version of the entry, and return its stages.

        Args:
            protocols: Names of the test sets.
            num_identities: Identities for each process.
            generator: Fields of the generator to change further; sections are merged.
            batch_size: Faces per step over all processes; None for that of the recipe.
            is_rendered: Whether rendered faces stand in for those of the entry, as where it cannot generate.
        """
        benchmark, sizes = self._benchmark, self._sizes
        batch_size = batch_size or benchmark.recipe.batch_size
        num_images = num_identities * self._num_processes * sizes.images_per_identity
        settings: dict[str, Any] = {"kind": "render"}
        draws = self._can_generate and not is_rendered
        if draws:
            settings = benchmark.generator.model_dump(mode="json", exclude_unset=True)
        settings["num_identities"] = num_identities * self._num_processes
        settings["images_per_identity"] = sizes.images_per_identity
        if isinstance(benchmark.generator, Vec2FaceGenerator) and draws:
            # One shard for each process, or more: else one process would draw, and the others wait
            settings["identities_per_shard"] = min(num_identities, benchmark.generator.identities_per_shard)
        for name, value in generator.items():
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


def _run_or_end(command: Sequence[str], log: IO[bytes] | None = None) -> int:
    """Run a command without its stdout and return its status; end as it did if a signal asked for the end."""
    status = run_command(command, is_quiet=True, log=log)
    if status in ENDED_BY_SIGNAL:
        note(f"the rehearsal was ended by {signal.Signals(status - 128).name}; run the same command again to repeat it")
        sys.exit(status)
    return status
