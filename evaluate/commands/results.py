"""The sub-commands that compare and check results, and that put them on leaderboards and pages."""

import argparse
import shlex
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.files import exists


def _add_compare_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        type=_result_paths,
        nargs=2,
        metavar="RESULT",
        help="folder with a result.json, or a published NAME.json; give several seeds of one setting as one argument: "
        "'X Y Z'",
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


COMMANDS = (
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
        "Check whether a result, its network, its faces and its test sets are unchanged",
        "Check a result: compute its numbers again from its scores, and compare the cards, the network, the faces "
        "and the test sets behind it with the SHA-256 that its cards record. Reads all these files and writes "
        "nothing. Use it before a result is published, or after files were copied.",
        "evaluate check runs/smoke/results/0123456789abcdef",
        _add_check_flags,
        _check,
    ),
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
)
