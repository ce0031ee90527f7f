"""The sub-commands that fetch, make and shorten test sets."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config import flags


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


def _add_shorten_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test_set", type=Path, metavar="SET", help="test set of pairs: a .bin, a .npy or a folder")
    parser.add_argument("--out", type=Path, required=True, help="set to write, NAME.bin")
    parser.add_argument("--pairs", type=flags.count, default=40, metavar="N", help="pairs to keep (default: 40)")


def _shorten(args: argparse.Namespace) -> str:
    from evaluate.test_sets.shorten import shorten

    return shorten(args.test_set, args.out, args.pairs)


COMMANDS = (
    Command(
        "fetch",
        "Download test sets, or print where to ask for them",
        "Download test sets from the Hugging Face Hub into --test-sets and record their SHA-256. For a set "
        "that the Hub does not have, print where to ask for it and where to save it. Use it before the first "
        "evaluation on real faces. A file that exists is checked and not downloaded again. With --list, print "
        "repository, size, licence, SHA-256 and purpose of every set, and download nothing.",
        "evaluate fetch lfw cfp_fp",
        _add_fetch_flags,
        _fetch,
    ),
    Command(
        "pack",
        "Make a test set from images and a pairs file",
        "Make a test set in a layout of the field from a folder of images and a pairs file. With "
        "--landmarks, the images are aligned to the ArcFace template by five points each. Reads the images that "
        "the pairs name and writes --out. Use it for a test set that is published as plain photographs.",
        "evaluate pack lfw --pairs lfw/pairs.txt --landmarks lfw/landmarks.txt --out test_sets/lfw.bin",
        _add_pack_flags,
        _pack,
    ),
    Command(
        "shorten",
        "Make a short test set of the first pairs of another",
        "Read a whole test set and write its first pairs, half of them genuine, as a .bin. make rehearse "
        "uses it. Accuracies on so few pairs mean nothing.",
        "evaluate shorten test_sets/lfw.bin --out short/lfw.bin --pairs 40",
        _add_shorten_flags,
        _shorten,
    ),
)
