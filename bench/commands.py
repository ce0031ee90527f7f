"""The sub-commands of ``python -m bench``: their flags, their help, and the call behind each."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from bench.cli import Command, add_seeds_flag, add_stage_flags, chosen_seeds
from bench.config import flags
from bench.config.benchmarks import Benchmark, load_benchmark
from bench.errors import InputError
from bench.names import nearest
from bench.runs.fingerprints import plan_stages
from bench.runs.inputs import MissingInput, fetch_inputs, missing_inputs
from bench.runs.stage import Stages, check_weights


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    add_stage_flags(parser)
    add_seeds_flag(parser)


def _run(args: argparse.Namespace) -> Iterator[str]:
    from bench.runs.benchmark import run_benchmark
    from bench.runs.plan import describe_missing

    benchmark, stages_by_seed, missing = _plan_of(args)
    if missing:
        raise InputError(describe_missing(benchmark, missing))
    for stages in stages_by_seed.values():
        check_weights(stages.generate, args.weights)
    return run_benchmark(benchmark, stages_by_seed, args)


def _plan(args: argparse.Namespace) -> str:
    from bench.runs.plan import describe_plan

    return describe_plan(*_plan_of(args), args.runs)


def _add_sweep_flags(parser: argparse.ArgumentParser) -> None:
    from bench.config.sweeps import SWEEPS_PATH

    parser.add_argument("name", nargs="?", metavar="NAME", help="entry of sweeps.yaml")
    parser.add_argument("--jobs", type=flags.count, default=1, metavar="N", help="stages at once (default: 1)")
    parser.add_argument("--plan", action="store_true", help="print the points and what each still needs; start nothing")
    parser.add_argument(
        "--seeds",
        type=flags.seeds,
        default=(),
        metavar="SEEDS",
        help="seeds of every point in one word, as in '0 1 2' (default: those of the sweep)",
    )
    parser.add_argument("--sweeps", type=Path, default=SWEEPS_PATH, help="file of sweeps (default: sweeps.yaml)")
    add_stage_flags(parser, "--device", "--runs", "--test-sets", "--weights", "--config")


def _sweep(args: argparse.Namespace) -> str | Iterator[str]:
    from bench.config.sweeps import load_sweep
    from bench.runs.sweeps.points import make_points
    from bench.runs.sweeps.run import describe_sweep, run_sweep

    sweep = load_sweep(args.name, args.sweeps)
    points = make_points(sweep, config=args.config, runs=args.runs, test_sets=args.test_sets, seeds=args.seeds)
    return describe_sweep(sweep, points, args) if args.plan else run_sweep(sweep, points, args)


def _add_prune_flags(parser: argparse.ArgumentParser) -> None:
    from bench.config.sweeps import SWEEPS_PATH

    add_stage_flags(parser, "--runs", "--test-sets", "--config")
    parser.add_argument("--sweeps", type=Path, default=SWEEPS_PATH, help="file of sweeps (default: sweeps.yaml)")
    parser.add_argument("--yes", action="store_true", help="delete what is listed (default: only list it)")


def _prune(args: argparse.Namespace) -> Iterator[str]:
    from bench.runs.sweeps.prune import find_unnamed, prune

    folders = {"runs": args.runs, "config": args.config, "sweeps": args.sweeps, "test_sets": args.test_sets}
    return prune(find_unnamed(**folders), deletes=args.yes)


def _plan_of(args: argparse.Namespace) -> tuple[Benchmark, dict[int, Stages], list[MissingInput]]:
    """The benchmark that the flags name, its stages by seed, and the files that it lacks."""
    benchmark = load_benchmark(args.scale, args.config, args.set)
    stages_by_seed = {
        seed: plan_stages(benchmark, seed=seed, runs=args.runs, test_sets=args.test_sets)
        for seed in chosen_seeds(args, benchmark.seeds)
    }
    return benchmark, stages_by_seed, missing_inputs(benchmark, test_sets=args.test_sets, weights=args.weights)


def _fetch(args: argparse.Namespace) -> Iterator[str]:
    return fetch_inputs(load_benchmark(args.scale, args.config), test_sets=args.test_sets, weights=args.weights)


def _sync(args: argparse.Namespace) -> str:
    from bench.runs.tracking.addresses import shown_uri
    from bench.runs.tracking.sending import sync

    num_sent, problem = sync(args.runs)
    if problem:
        raise InputError(f"{problem}; the cards are kept: repair the connection and run this command again")
    return f"{num_sent} results sent to {shown_uri(args.runs)}"


def _add_convert_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="LMDB, .rec, WebDataset shards, or folder with one per identity")
    parser.add_argument("target", metavar="OUT", help="LMDB file, or folder for the other layouts; must not exist")
    parser.add_argument(
        "--to", choices=("lmdb", "rec", "shards", "folder"), default="lmdb", help="layout to write (default: lmdb)"
    )
    parser.add_argument("--mask", help=".npy of positions: write only these faces, in this order (default: all)")
    parser.add_argument(
        "--shift-right",
        type=flags.pixels,
        default=0,
        metavar="PIXELS",
        help="move every face to the right; 8 corrects faces cut by ArcFace's 96 x 112 template (default: 0)",
    )
    parser.add_argument(
        "--align",
        type=Path,
        metavar="LANDMARKS",
        help="align the images of a folder to 112 x 112; lines of 'image x1 y1 ... x5 y5' (default: leave them)",
    )


def _convert(args: argparse.Namespace) -> str:
    from bench.faces.convert import convert
    from bench.faces.open import open_faces

    faces = open_faces(args.source, args.mask)
    convert(faces, args.target, args.to, shift_right=args.shift_right, landmarks=args.align)
    return f"{args.target}: {len(faces)} faces of {faces.num_identities} identities"


def _add_subset_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="face dataset in any layout")
    parser.add_argument("target", metavar="OUT", type=Path, help="folder of the view; must not exist")
    parser.add_argument("--identities", type=flags.count, metavar="N", help="draw N identities (default: all)")
    parser.add_argument(
        "--images-per-identity", type=flags.count, metavar="N", help="draw exactly N images of each (default: all)"
    )
    parser.add_argument(
        "--min-images-per-identity",
        type=flags.count,
        default=1,
        metavar="N",
        help="leave out identities with fewer than N images first (default: 1)",
    )
    parser.add_argument(
        "--max-images-per-identity", type=flags.count, metavar="N", help="draw at most N of each (default: no limit)"
    )
    parser.add_argument("--mask", help=".npy of positions: use only these faces (default: all)")
    parser.add_argument("--leave-out", help="text file of identity names to leave out, one a line (default: none)")
    add_stage_flags(parser, "--seed")


def _subset(args: argparse.Namespace) -> str:
    from bench.faces.mixture.mix import Part, Rules, make_mixture
    from bench.faces.mixture.subset import Subset
    from bench.runs.dataset import open_files

    _refuse_existing(args.target)
    subset = Subset(
        args.identities, args.images_per_identity, args.min_images_per_identity, args.max_images_per_identity
    )
    faces = open_files(args.source, args.mask, args.leave_out)
    card = make_mixture(args.target, [Part(faces.path.stem, faces, subset)], Rules(), seed=args.seed)
    return f"{args.target}: {card.num_images} of {len(faces)} faces, {card.num_identities} identities"


def _add_mix_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="OUT", type=Path, help="folder of the view; must not exist")
    parser.add_argument(
        "parts", metavar="[NAME=]PATH", nargs="+", help="face datasets in any layout, also views; names must differ"
    )
    parser.add_argument(
        "--total-images",
        type=flags.count,
        metavar="N",
        help="size of the mixture; needs --shares (default: all images)",
    )
    parser.add_argument(
        "--keep-real",
        nargs="+",
        default=[],
        metavar="NAME",
        help="take these parts whole; the shares of the others are multiples of their images (default: none)",
    )
    parser.add_argument(
        "--shares",
        nargs="+",
        type=flags.positive_or_zero,
        metavar="SHARE",
        help="share of each part that is not kept whole, in their order (default: none)",
    )
    parser.add_argument(
        "--filled-by",
        choices=("identities", "images"),
        default="identities",
        help="cut a part to its share by leaving out identities, or images of all (default: identities)",
    )
    parser.add_argument(
        "--shared-identities",
        choices=("refuse", "merge", "separate"),
        default="refuse",
        help="what to do with people whom parts share by the names of their folders or by a list (default: refuse)",
    )
    parser.add_argument(
        "--same-people",
        type=Path,
        metavar="FILE",
        help="lines of PART/NAME, tab, PART/NAME of one person (default: none)",
    )
    for name, text in (
        ("identities", "identities of the mixture"),
        ("images", "images of the mixture"),
        ("images-per-identity", "images of each identity"),
    ):
        parser.add_argument(
            f"--max-{name}",
            type=flags.count,
            metavar="N",
            help=f"at most N {text}, drawn at random (default: no limit)",
        )
    add_stage_flags(parser, "--seed")


def _mix(args: argparse.Namespace) -> str:
    from bench.faces.mixture.budget import Budget
    from bench.faces.mixture.mix import Caps, Part, Rules, make_mixture
    from bench.runs.dataset import open_files

    _refuse_existing(args.target)
    places = {
        name or Path(path).resolve().stem: path for name, _, path in (part.rpartition("=") for part in args.parts)
    }
    if len(places) < len(args.parts):
        raise InputError("two parts have one name; give each its own, as NAME=PATH")
    if unknown := [name for name in args.keep_real if name not in places]:
        raise InputError(f"--keep-real {unknown[0]} names no part; {nearest(unknown[0], places)}")
    cut = [name for name in places if name not in args.keep_real]
    if args.shares is not None and len(args.shares) != len(cut):
        raise InputError(f"--shares holds {len(args.shares)} numbers for {len(cut)} parts; give one to each of {cut}")
    shares = dict(zip(cut, args.shares or [], strict=False))
    parts = [
        Part(name, open_files(path), share=shares.get(name), is_real=name in args.keep_real)
        for name, path in places.items()
    ]
    rules = Rules(
        Budget(args.total_images, bool(args.keep_real), args.filled_by),
        Caps(args.max_identities, args.max_images, args.max_images_per_identity),
        args.shared_identities,
        args.same_people,
    )
    card = make_mixture(args.target, parts, rules, seed=args.seed)
    taken = "; ".join(f"{part.name} {part.num_images} of {part.num_identities} identities" for part in card.parts)
    return f"{args.target}: {card.num_images} faces of {card.num_identities} identities ({taken})"


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise InputError(f"{target} exists already; delete it or name another")


COMMANDS = {
    "benchmarks": (
        Command(
            "run",
            "Run all stages: generate, train, evaluate, leaderboard",
            "Run all stages of a benchmark. Reads the entry --scale of benchmarks.yaml, and the weights and test sets "
            "that it names. Writes faces, networks and results below --runs, and the leaderboard. A finished stage is "
            "skipped, an interrupted one is resumed. --seeds runs several seeds one after the other, and --set changes "
            "fields of the entry. The environment variables NPROC, LAUNCH and TRAIN_FLAGS say how "
            "stages are started.",
            "bench run --scale smoke --seeds '0 1 2' --set 'generator.num_identities=100'",
            _add_run_flags,
            _run,
        ),
        Command(
            "plan",
            "Print what would run and why, what is missing, the disk and the hours",
            "Print which stages of a benchmark would run and why, which inputs are missing and where to get them, and "
            "the images, disk, memory and hours that it needs. Starts and writes nothing. Use it before a long run.",
            "bench plan --scale 20k",
            _add_run_flags,
            _plan,
        ),
        Command(
            "sweep",
            "Run all points of a sweep: benchmarks with other settings and seeds",
            "Run a sweep: benchmarks with other values of some fields, each by several seeds. Reads an entry of "
            "sweeps.yaml and the benchmarks that it varies. The points are ordinary runs below --runs; finished ones "
            "are skipped, datasets that points share are made once, and a point that fails does not end the others. "
            "Writes plan, table, figures and page into RUNS/sweeps/NAME. Use it to ask how much a setting matters.",
            "bench sweep smoke_size --jobs 2",
            _add_sweep_flags,
            _sweep,
        ),
        Command(
            "fetch",
            "Download all weights and test sets that a benchmark lacks",
            "Download every file that the entry --scale of benchmarks.yaml lacks and that the Hugging Face Hub has: "
            "weights and published datasets into --weights, test sets into --test-sets. Says of the others where to "
            "get them, and ends with status 2 then. Use it once where there is a network, before a run on machines "
            "that have none.",
            "bench fetch --scale 20k",
            lambda parser: add_stage_flags(parser, "--scale", "--config", "--test-sets", "--weights"),
            _fetch,
        ),
        Command(
            "sync",
            "Send results to MLflow that it does not have yet",
            "Send every finished result and audit below --runs to MLflow, unless it was sent before. A benchmark does "
            "so at its end; use this command after the tracking server could not be reached.",
            "bench sync",
            lambda parser: add_stage_flags(parser, "--runs"),
            _sync,
        ),
        Command(
            "prune",
            "List, and with --yes delete, runs that no benchmark, sweep or latest.json names",
            "List the folders of faces, networks and results below --runs that no entry of benchmarks.yaml, no sweep "
            "and no latest.json leads to, with their size: those of changed settings and of entries that are gone. "
            "With --yes, delete them; folders that are in use are left. Audits, trained generators and results of "
            "given networks are never touched. Use it to make room after settings were tried.",
            "bench prune",
            _add_prune_flags,
            _prune,
        ),
    ),
    "face datasets": (
        Command(
            "convert",
            "Write a face dataset in another layout",
            "Read a face dataset in any layout and write it in another. Image files are copied unchanged, unless they "
            "are shifted or aligned. Use it to bring a dataset into a trainer that reads one layout only.",
            "bench convert faces/train.rec faces.lmdb --to lmdb",
            _add_convert_flags,
            _convert,
        ),
        Command(
            "subset",
            "Draw identities and images of a face dataset at random",
            "Draw identities and images of a face dataset at random, without copying a face: OUT is a folder that "
            "names the faces, and every command reads it like a dataset, as long as IN stays where it is. With one "
            "seed, a smaller subset lies within a larger one. Use it to see what fewer identities or images cost; "
            "`bench convert` makes a copy of it.",
            "bench subset faces.lmdb faces_100x8 --identities 100 --images-per-identity 8",
            _add_subset_flags,
            _subset,
        ),
        Command(
            "mix",
            "Put several face datasets together, with labels made anew",
            "Put several face datasets together, without copying a face: OUT is a folder that names the faces, and "
            "every command reads it like a dataset. Identities get new labels. With --total-images the mixture has so "
            "many images, and every part its share; with --keep-real some parts stay whole and the others are added "
            "to them. Use it to learn whether drawn faces replace real ones, or add to them.",
            "bench mix mixed photos=data/photos drawn=faces.lmdb --total-images 20000 --shares 0.5 0.5",
            _add_mix_flags,
            _mix,
        ),
    ),
}
