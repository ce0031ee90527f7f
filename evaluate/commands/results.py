"""The sub-commands that measure, compare, publish and audit: their flags, their help, and the one call behind each.

Each call imports what it needs, so that ``--help`` stays quick, and returns the text to print.
"""

import argparse
import shlex
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config.benchmarks import load_benchmark, protocol_names
from bench.errors import InputError
from bench.files import exists


def _add_compare_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        type=_result_paths,
        nargs=2,
        metavar="RESULT",
        help="folder with a result.json, or a published NAME.json; several seeds of one setting in one word: 'X Y Z'",
    )


def _compare(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.difference import describe_difference, describe_seeds

    a, b = args.results
    return describe_difference(a[0], b[0]) if len(a) == len(b) == 1 else describe_seeds(a, b)


def _result_paths(text: str) -> list[Path]:
    """One path, or several with spaces between them; a path that exists is one, whatever its name."""
    if exists(text) or not text.strip():
        return [Path(text)]
    try:
        return [Path(word) for word in shlex.split(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is no list of paths ({error}); correct its quotes") from None


def _add_check_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "result", type=Path, metavar="RESULT", help="folder with a result.json, or a published NAME.json"
    )
    add_stage_flags(parser, "--test-sets")


def _check(args: argparse.Namespace) -> str:
    from evaluate.challenge.check import check_result

    return check_result(args.result, args.test_sets)


def _add_fetch_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="test sets to fetch (default: every known one)")
    add_stage_flags(parser, "--test-sets")
    parser.add_argument("--revision", default="main", help="commit, tag or branch of the repository (default: main)")
    parser.add_argument(
        "--list", action="store_true", help="print every set with what is known of its file (default: download)"
    )


def _fetch(args: argparse.Namespace) -> str:
    from evaluate.test_sets.fetch import fetch_test_sets, list_test_sets

    if args.list:
        return list_test_sets(args.names)
    return fetch_test_sets(args.names, args.test_sets, revision=args.revision)


def _add_pack_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of the images that the pairs file names")
    parser.add_argument(
        "--pairs", type=Path, required=True, help="pairs file: LFW's or RFW's layout, or lines 'pathA pathB 0|1'"
    )
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="file with a line 'image x1 y1 ... x5 y5' per image, in pixels (default: the images are aligned already)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="set to write: NAME.bin, NAME.xz, NAME.npy or a folder of PNG files"
    )


def _pack(args: argparse.Namespace) -> str:
    from evaluate.test_sets.pack import pack

    protocol = pack(args.folder, args.pairs, args.out, args.landmarks)
    return f"{args.out}: {protocol.num_pairs:,} pairs of {len(protocol.faces):,} images, SHA-256 {protocol.sha256}"


def _add_leaderboard_flags(parser: argparse.ArgumentParser) -> None:
    add_stage_flags(parser, "--runs")
    parser.add_argument(
        "--result",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders with a result.json whose rows are printed (default: none)",
    )
    parser.add_argument(
        "--committed",
        type=Path,
        metavar="REPORTS",
        help="read REPORTS/results/*.json and write REPORTS/leaderboard.* instead (default: read --runs)",
    )


def _leaderboard(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.write import describe_results, write_committed_leaderboard, write_leaderboard

    page = write_committed_leaderboard(args.committed) if args.committed else write_leaderboard(args.runs)
    return describe_results(args.result, page) if args.result else str(page)


def _add_sweep_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of a sweep, RUNS/sweeps/NAME")


def _sweep(args: argparse.Namespace) -> str:
    from evaluate.scaling.write import write_sweep

    return write_sweep(args.folder)


def _add_scaling_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("scaling.svg"), metavar="FILE", help="figure to write (default: scaling.svg)"
    )


def _scaling(args: argparse.Namespace) -> str:
    from evaluate.scaling.write import write_published_study

    return write_published_study(args.out)


def _add_publish_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, nargs="*", metavar="FOLDER", help="folder with a result.json")
    parser.add_argument(
        "--reports", type=Path, default=Path("reports"), help="folder of committed reports (default: reports)"
    )


def _publish(args: argparse.Namespace) -> str:
    from evaluate.leaderboard.publish import publish

    return "\n".join(map(str, publish(args.results, args.reports)))


def _datasets(args: argparse.Namespace) -> str:
    from evaluate.test_sets.public_datasets import describe_datasets

    return describe_datasets(args.names)


def _add_datasets_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="datasets to print (default: all)")


def _add_audit_flags(parser: argparse.ArgumentParser) -> None:
    add_stage_flags(parser)
    parser.add_argument(
        "path", type=Path, nargs="?", help="LMDB file, .rec file or folder to audit (default: the faces of --scale)"
    )
    parser.add_argument(
        "--network", type=Path, help="recognition network, a .safetensors, .pth or .onnx file (default: images only)"
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="SET",
        help="paths of datasets, names of test sets, or the lists five and rfw, to look for leaked identities from "
        "(default: none)",
    )
    parser.add_argument(
        "--against-real",
        metavar="SET",
        help="real faces, a dataset or a test set, to measure quality and diversity against: distances of embeddings, "
        "sharpness (default: none)",
    )
    parser.add_argument(
        "--members",
        type=Path,
        metavar="FACES",
        help="people that the generator was trained on, a folder of generate prepare or a dataset, to measure what the "
        "dataset repeats of them; needs --control (default: none)",
    )
    parser.add_argument(
        "--control",
        type=Path,
        metavar="FACES",
        help="held-out people of the same source, whom the generator never saw: a dataset, or a .txt file with names "
        "of identities of --members (default: none)",
    )
    parser.add_argument(
        "--second-network", type=Path, metavar="FILE", help="a second judge for --members (default: --network alone)"
    )
    parser.add_argument(
        "--show-members",
        action="store_true",
        help="draw training images beside the synthetic ones nearest to them in nearest_pairs.png (default: a blank)",
    )
    parser.add_argument("--mask", help=".npy file with the positions of the images to audit (default: all of them)")
    for name, estimator in (("quality", "MagFace"), ("yaw", "6DRepNet")):
        help_text = (
            f"{estimator} weights (.pth), or any TorchScript or ONNX estimator of {name} (default: not estimated)"
        )
        parser.add_argument(f"--{name}", type=Path, help=help_text)


def _audit(args: argparse.Namespace) -> str:
    from evaluate.audit.privacy.people import open_people
    from evaluate.audit.run import Comparisons
    from evaluate.audit.source import benchmark_source, find_source, find_sources, open_source
    from evaluate.audit.stage import NetworkFiles, audit_unless_finished

    if args.path:
        source, scale = open_source(args.path, mask=args.mask), "datasets"
    else:
        benchmark, scale = load_benchmark(args.scale, args.config, args.set), args.scale
        source = benchmark_source(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    references = find_sources(protocol_names(args.against, args.config), args.test_sets)
    estimators = {name: path for name in ("quality", "yaw") if (path := getattr(args, name))}
    real = find_source(args.against_real, args.test_sets) if args.against_real else None
    if (args.members is None) != (args.control is None):
        raise InputError(
            "--members and --control belong together; give the people that the generator was trained on, and held-out "
            "people to compare them with"
        )
    people = open_people(args.members, args.control) if args.members else None
    others = Comparisons(references, real, people, show_members=args.show_members)
    networks = NetworkFiles(args.network, estimators, args.load_estimator, args.second_network)
    return audit_unless_finished(
        source, others, networks, scale_dir=args.runs / scale, device=args.device, seed=args.seed
    )


COMMANDS = {
    "measure": (
        Command(
            "compare",
            "Test whether two results differ significantly",
            "Compare two results: which settings differ, and by how much the accuracies differ on the same pairs, with "
            "a 95 % interval (paired bootstrap) and a p-value (exact McNemar test). With several seeds of each, seeds "
            "and pairs are both taken into account. Reads the cards and scores of both "
            "results and writes nothing. Use it to decide whether a change of settings changed the accuracy.",
            "evaluate compare runs/smoke/results/A runs/smoke/results/B",
            _add_compare_flags,
            _compare,
        ),
        Command(
            "check",
            "whether a result, its network, its faces and its test sets are unchanged",
            "Check a result: count its figures again from its scores, and compare the cards, the network, the faces "
            "and the test sets behind it with the SHA-256 that its cards record. Reads all these files and writes "
            "nothing. Use it before a result is published, or after files were copied.",
            "evaluate check runs/smoke/results/0123456789abcdef",
            _add_check_flags,
            _check,
        ),
    ),
    "test sets": (
        Command(
            "fetch",
            "Download verification sets, or print where to ask for them",
            "Download verification sets from the Hugging Face Hub into --test-sets and record their SHA-256. For a set "
            "that the Hub does not have, print where to ask for it and where to save it. Use it before the first "
            "evaluation on real faces. A file that exists is checked and not downloaded again. With --list, print "
            "repository, size, licence, SHA-256 and purpose of every set, and download nothing.",
            "evaluate fetch lfw cfp_fp",
            _add_fetch_flags,
            _fetch,
        ),
        Command(
            "pack",
            "Make a verification set from images and a pairs file",
            "Make a verification set in a layout of the field from a folder of images and a pairs file. With "
            "--landmarks, the images are aligned to the ArcFace template by five points each. Reads the images that "
            "the pairs name and writes --out. Use it for a test set that is published as plain photographs.",
            "evaluate pack lfw --pairs lfw/pairs.txt --landmarks lfw/landmarks.txt --out test_sets/lfw.bin",
            _add_pack_flags,
            _pack,
        ),
    ),
    "leaderboard": (
        Command(
            "leaderboard",
            "Render the leaderboard of the local or the committed results",
            "Render all results as leaderboard.md, leaderboard.csv and leaderboard.html. Reads the cards and scores in "
            "--runs and writes the three files there; with --committed it reads and writes a folder of reports. A "
            "benchmark does this as its last step, so use it after copying results from another machine, or after a "
            "change of the page.",
            "evaluate leaderboard --committed reports",
            _add_leaderboard_flags,
            _leaderboard,
        ),
        Command(
            "sweep",
            "Render table, figures and page of a sweep",
            "Render what a sweep found so far: table.csv, figures, and index.html with the fits of error against the "
            "size of the dataset, where the sweep varies it. Reads the plan in the folder and the results that it "
            "names, and writes into the folder. A sweep does this as its last step, so use it while one still runs.",
            "evaluate sweep runs/sweeps/smoke_size",
            _add_sweep_flags,
            _sweep,
        ),
        Command(
            "scaling",
            "Fit published accuracies against the number of identities",
            "Fit error against identities for each generator of reports/published.csv with three sizes or more, by two "
            "rival forms, and say what ten times more identities would add. Reads that file and writes a figure. Use "
            "it to see what others gained by larger datasets.",
            "evaluate scaling --out scaling.svg",
            _add_scaling_flags,
            _scaling,
        ),
        Command(
            "publish",
            "Copy results into reports/results and render reports/leaderboard.*",
            "Copy results from runs into the committed reports. Reads the given folders, writes a card, scores and "
            "(for generated faces only) a sample grid per result to REPORTS/results, and renders "
            "REPORTS/leaderboard.*. Use it when a result is to be committed.",
            "evaluate publish runs/mini/results/0123456789abcdef",
            _add_publish_flags,
            _publish,
        ),
    ),
    "face datasets": (
        Command(
            "audit",
            "Measure duplicates, separation, consistency, diversity and leakage of a dataset",
            "Describe a face dataset. The images alone give broken files, sizes, sharpness and duplicates. With "
            "--network, the audit also measures the separation of identities, consistency, diversity and the colour "
            "order; with --against, identities that are shared with other sets; with --against-real, the distance to "
            "real faces; with --members and --control, what a synthetic dataset repeats of its generator's training "
            "people. Reads the dataset and writes audit.json, audit.html and tables to RUNS/SCALE/audits "
            "(RUNS/datasets/audits for a path). Use it before training on a dataset, or publishing it.",
            "evaluate audit faces.lmdb --network weights/mobilefacenet_y1.onnx --against lfw",
            _add_audit_flags,
            _audit,
        ),
        Command(
            "datasets",
            "Print what is known of public face datasets",
            "Print the public synthetic and real face datasets: identities and images as stated and as counted, "
            "licence, source, known traps, and how this suite reads each. Reads catalogue.yaml and writes nothing. Use "
            "it to choose what to compare your dataset with.",
            "evaluate datasets HSFace10K DCFace",
            _add_datasets_flags,
            _datasets,
        ),
    ),
}
