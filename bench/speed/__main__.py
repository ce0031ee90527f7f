"""Measure speed and memory on this machine and write reports/speed/: ``python -m bench.speed generate``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.cli import add_stage_flags, run
from bench.config import flags
from bench.errors import InputError, python_command
from bench.machine.facts import environment
from bench.speed import SPEED_DIR, Row, write_speed

_DESCRIPTION = "Measure speed and memory on this machine, and write the page of a table into reports/speed/."

_OFFICIAL = {
    "generate": "also measure the generator of this clone of HaiyuWu/Vec2Face; needs the packages that it imports",
    "train": "also measure the loader of this clone of HaiyuWu/SOTA-Face-Recognition-Train-and-Test; needs the "
    "packages that it imports",
}
"""Command -> help of ``--official``."""


def main() -> int:
    """Measure what the command line names; write and print its page."""
    parser = argparse.ArgumentParser(prog=python_command("bench.speed"), description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (measure, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name in ("generate", "gpu"):  # the others measure on the CPU
            add_stage_flags(command, "--device")
        if name in _OFFICIAL:
            command.add_argument("--official", type=Path, metavar="FOLDER", help=_OFFICIAL[name])
        command.add_argument("--out", type=Path, default=SPEED_DIR, help="folder of the pages (default: reports/speed)")
        if name == "pose":
            command.add_argument(
                "--identities", type=flags.count, default=200, metavar="N", help="identities to draw (default: 200)"
            )
        if name == "scale":
            _add_scale_flags(command)
        command.set_defaults(measure=measure)
    args = parser.parse_args()
    print(args.measure(args).read_text())
    return 0


def _generate(args: argparse.Namespace) -> Path:
    from bench.machine.device import choose_device
    from generate.speed.network import BATCH_SIZE, NOTES, OFFICIAL_NOTES, generator_rows

    rows = generator_rows(choose_device(args.device), args.official)
    tables = {f"Images of the base generator, in batches of {BATCH_SIZE}": rows}
    notes = f"{NOTES} {OFFICIAL_NOTES}" if args.official else NOTES
    return write_speed("generate", "Vec2Face: as published against ours", tables, notes=notes, directory=args.out)


def _attrop(args: argparse.Namespace) -> Path:
    from generate.speed.attrop import NOTES, attrop_rows

    title = "AttrOP: as published against ours"
    tables = {"What an accepted image costs": attrop_rows()}
    return write_speed("attrop", title, tables, notes=NOTES, directory=args.out)


def _pose(args: argparse.Namespace) -> Path:
    from generate.speed.pose import NOTES, pose_tables

    title = "Poses: one pass by a landmark picture against AttrOP"
    tables = pose_tables(num_identities=args.identities)
    return write_speed("pose", title, tables, notes=NOTES, directory=args.out)


def _evaluate(args: argparse.Namespace) -> Path:
    from evaluate.measure.speed import NOTES, scoring_rows

    tables = {"Five sets of 6,000 pairs, embeddings of 512 dimensions": scoring_rows()}
    title = "Ten-fold accuracy: the field's grid loop against ours"
    return write_speed("evaluate", title, tables, notes=NOTES, directory=args.out)


def _train(args: argparse.Namespace) -> Path:
    import numpy as np

    from bench.config.benchmarks import load_benchmark
    from bench.speed.official import official_name
    from evaluate.measure.speed import memory_rows
    from fr_train.speed.faces import face_rows
    from fr_train.speed.step import NOTES, head_rows, step_rows, wait_rows
    from generate.render.face import render_face
    from generate.render.people import draw_factors

    images = np.stack([render_face(i, j, draw_factors(i, j)) for i in range(64) for j in range(4)])
    hsface, smoke = load_benchmark("10k").recipe, load_benchmark("smoke").recipe
    tables: dict[str, Sequence[Row]] = {
        "Faces decoded and augmented by one core": face_rows(images, hsface, args.official),
        "A training step of IResNet-50 at 112 x 112, all cores": step_rows(hsface),
        "A run's wait for faces, all cores": wait_rows(
            images,
            {
                "smoke": smoke,
                "with HSFace's augmentation": smoke.model_copy(update={"augmentation": hsface.augmentation}),
            },
        ),
        "A test set of 6,000 pairs in memory": memory_rows(images),
        "A head of 300,000 identities of 512 dimensions": head_rows(),
    }
    title = "Training: as the field's trainers do it against ours"
    notes = NOTES
    if args.official:
        notes += f"\n\nOfficial loader: {official_name(args.official)}, which HSFace's authors train with. It runs "
        notes += "without its thread that copies batches to a GPU."
    return write_speed("train", title, tables, notes=notes, directory=args.out)


def _tracking(args: argparse.Namespace) -> Path:
    import numpy as np

    from bench.config.benchmarks import load_benchmark
    from fr_train.speed.tracking import NOTES, NUM_FACES, NUM_REPEATS, tracking_rows
    from generate.render.face import render_face
    from generate.render.people import draw_factors

    images = np.stack([render_face(i, j, draw_factors(i, j)) for i in range(16) for j in range(4)])
    recipe = load_benchmark("smoke").recipe
    title = "Following a training in MLflow: what it costs"
    caption = f"The recipe of smoke over {NUM_FACES:,} faces, medians of {NUM_REPEATS} alternating runs"
    return write_speed("tracking", title, {caption: tracking_rows(images, recipe)}, notes=NOTES, directory=args.out)


def _mixture(args: argparse.Namespace) -> Path:
    import numpy as np

    from bench.config.benchmarks import load_benchmark
    from fr_train.speed.mixture import NOTES, mixture_rows
    from generate.render.face import render_face
    from generate.render.people import draw_factors

    images = np.stack([render_face(i, j, draw_factors(i, j)) for i in range(96) for j in range(4)])
    tables = {"384 rendered faces": mixture_rows(images, load_benchmark("smoke").recipe)}
    title = "Mixture of three datasets against one LMDB of the same faces"
    return write_speed("mixture", title, tables, notes=NOTES, directory=args.out)


def _add_scale_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--identities",
        type=flags.count,
        nargs="+",
        default=[30_000, 100_000, 300_000],
        metavar="N",
        help="numbers of identities (default: 30000 100000 300000)",
    )
    parser.add_argument(
        "--images", type=flags.count, default=50, metavar="N", help="images of each identity (default: 50)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/scale"),
        help="folder of the artificial files, 22 GB at 300,000 identities, and of the numbers so far; an interrupted "
        "run resumes from them (default: runs/scale)",
    )


def _scale(args: argparse.Namespace) -> Path:
    import evaluate.audit.scale
    import fr_train.speed.scale
    import generate.speed.scale
    from bench.speed.scale import Size, measure_steps

    steps = [*generate.speed.scale.steps(), *fr_train.speed.scale.steps(), *evaluate.audit.scale.steps()]
    sizes = [Size(number, args.images) for number in sorted(args.identities)]
    caption = f"Made-up datasets with {args.images} images of each identity"
    tables = {caption: measure_steps(steps, sizes, args.folder)}
    notes = (
        "Every step of a benchmark that uses no network, each in a process of its own, by the code of a real run. "
        "Image files have 59 bytes, vectors and embeddings 512 dimensions; those of the audit are memory-mapped, as "
        "float16. Peak MiB: resident memory, pages of mapped files included, which the system takes back when it needs "
        "them. The exponents compare the two largest sizes measured; that of memory leaves out what the imports take. "
        "A dash was not measured."
    )
    title = "Memory and time at many identities"
    return write_speed("scale", title, tables, notes=notes, directory=args.out)


def _gpu(args: argparse.Namespace) -> Path:
    import torch

    from bench.machine.device import choose_device
    from bench.speed.checks import run_checks
    from evaluate.measure.speed import embedding_checks
    from fr_train.speed.checks import training_checks
    from generate.speed.checks import generator_checks

    device = choose_device(args.device)
    if device == "cpu":
        torch.set_num_threads(1)  # the small networks are not faster on two
    rows = run_checks([*generator_checks(), *embedding_checks(), *training_checks()], device)
    where = environment().gpu if device.startswith("cuda") else "a CPU, with small networks"
    tables = {f"On {where}": rows}
    notes = (
        "Weights are random. Rates are of the whole device; peak memory is that of torch's allocator on a GPU. Without "
        "a GPU, small networks run on the CPU: that proves the checks and nothing about a GPU."
    )
    path = write_speed("gpu", "What only a GPU can prove", tables, notes=notes, directory=args.out)
    failed = [row["check"] for row in rows if row["result"] == "failed"]
    if failed:
        print(path.read_text())
        raise InputError(f"{len(failed)} checks failed on {where}: {'; '.join(map(str, failed))}; see the table")
    return path


COMMANDS = {
    "generate": (_generate, "the Vec2Face generator: images per second and memory, as published and ours"),
    "attrop": (_attrop, "AttrOP: generator calls per accepted image, by the published rule and by ours"),
    "pose": (_pose, "poses by landmark pictures and by AttrOP: yaw reached, identity kept, generator calls"),
    "train": (_train, "training: decoding, one step, waiting for faces, memory of test sets and of the head"),
    "tracking": (_tracking, "MLflow: images per second of a training that is followed, and of one that is not"),
    "scale": (_scale, "seconds and memory of every step without a network, up to 300,000 identities of 50 images"),
    "mixture": (_mixture, "reading a mixture of three datasets, against one LMDB of the same faces"),
    "gpu": (_gpu, "what only a GPU can prove, in five minutes: parity, NCCL, loss scale of fp16, rates, memory"),
    "evaluate": (_evaluate, "ten-fold accuracy of five test sets: the field's loop over thresholds, and ours"),
}
"""Name -> function that measures and returns the path of the page, and its help text."""

if __name__ == "__main__":
    run(main)
