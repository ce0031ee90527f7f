"""The sub-commands that measure a network on people: by group, and in searches."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags


def _add_network_and_set(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("network", type=Path, metavar="NETWORK", help=".safetensors, .pth, .ckpt or .onnx file")
    parser.add_argument("path", type=Path, metavar="SET", help=what)


def _add_groups_flags(parser: argparse.ArgumentParser) -> None:
    _add_network_and_set(parser, "folder with groups.csv, RFW or BFW as released, or a test set that names its people")
    parser.add_argument(
        "--table", type=Path, help="CSV 'identity,ATTRIBUTE,...' with a line per person (default: the set's own groups)"
    )
    parser.add_argument(
        "--fmr",
        nargs="+",
        default=["1e-2"],
        metavar="FMR",
        help="false match rates that set the threshold, of 1e-1, 1e-2, ..., 1e-6 (default: 1e-2)",
    )
    parser.add_argument("--attributes", nargs="+", default=[], metavar="NAME", help="attributes (default: all)")
    parser.add_argument(
        "--reference", metavar="GROUP", help="group whose impostors set the threshold (default: all, equally weighted)"
    )
    parser.add_argument("--against", type=Path, metavar="NETWORK", help="second network to subtract (default: none)")
    parser.add_argument(
        "--drop-shared", action="store_true", help="leave out people who stand in two groups (default: refuse the set)"
    )
    parser.add_argument("--out", type=Path, default=Path("groups"), help="folder of the report (default: groups)")
    add_stage_flags(parser, "--device", "--seed")


def _groups(args: argparse.Namespace) -> str:
    from evaluate.measure.groups.report import GroupQuestion, report_groups

    question = GroupQuestion(args.path, args.table, args.fmr, args.attributes, args.reference, args.drop_shared)
    return report_groups(args.network, question, args.out, against=args.against, device=args.device, seed=args.seed)


def _add_identify_flags(parser: argparse.ArgumentParser) -> None:
    _add_network_and_set(parser, "folder with searches.csv, or TinyFace as released")
    parser.add_argument("--out", type=Path, default=Path("searches"), help="folder of the report (default: searches)")
    add_stage_flags(parser, "--device")


def _identify(args: argparse.Namespace) -> str:
    from evaluate.measure.identification.report import report_searches

    return report_searches(args.network, args.path, args.out, device=args.device)


COMMANDS = (
    Command(
        "groups",
        "Measure errors by group of people, and how unequal they are",
        "Measure FMR and FNMR of each group at one threshold, with measures of inequality, their intervals by a "
        "bootstrap over people, and the same measures with shuffled group labels. Reads a network and a set of people "
        "whose groups are known, compares every face with every other, and writes groups.json and groups.html into "
        "--out. With --against, it tests whether a second network differs in its errors by group. A group without "
        "enough impostors for the wanted rate is refused. The set of the example is made by generate "
        "protocols render_groups.",
        "evaluate groups weights/mobilefacenet_y1.onnx runs/protocols/render_v1/render_groups --fmr 1e-2",
        _add_groups_flags,
        _groups,
    ),
    Command(
        "identify",
        "Search for people in galleries: ranks, and TPIR at FPIR",
        "Search for every probe of a set in its galleries: rank 1, 5, 10 and 20, and TPIR at FPIR by ISO/IEC 19795-1. "
        "Reads a network and a set of searches, and writes searches.json and searches.html into --out. IJB-B and IJB-C "
        "are searched with evaluate --protocols ijbb ijbc. The set of the example is made by generate protocols "
        "render_gallery.",
        "evaluate identify weights/mobilefacenet_y1.onnx runs/protocols/render_v1/render_gallery",
        _add_identify_flags,
        _identify,
    ),
)
