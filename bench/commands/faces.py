"""The sub-commands that write face datasets in other layouts, cut them and put them together."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config import flags
from bench.errors import InputError
from bench.names import nearest


def _add_convert_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="IN", help="LMDB, .rec, WebDataset shards, or folder with one sub-folder per identity"
    )
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
        help="file of lines 'image x1 y1 ... x5 y5', by which images of a folder are aligned (default: no alignment)",
    )


def _convert(args: argparse.Namespace) -> str:
    from bench.faces.convert import convert
    from bench.faces.open import open_faces

    faces = open_faces(args.source, args.mask)
    convert(faces, args.target, args.to, shift_right=args.shift_right, landmarks=args.align)
    return f"{args.target}: {len(faces)} faces of {faces.num_identities} identities"


def _add_subset_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="IN", help="face dataset in any layout")
    parser.add_argument("target", metavar="OUT", type=Path, help="folder to write; it must not exist")
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
    parser.add_argument("target", metavar="OUT", type=Path, help="folder to write; it must not exist")
    parser.add_argument(
        "parts", metavar="[NAME=]PATH", nargs="+", help="face datasets in any layout; names of parts must differ"
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
        help="take these parts whole; --shares are then multiples of their number of images (default: none)",
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
        help="cut a part to its share by leaving out identities, or images of all identities (default: identities)",
    )
    parser.add_argument(
        "--shared-identities",
        choices=("refuse", "merge", "separate"),
        default="refuse",
        help="what to do with people in several parts, known by folder name or --same-people (default: refuse)",
    )
    parser.add_argument(
        "--same-people",
        type=Path,
        metavar="FILE",
        help="text file; every line names one person's identities as PART/NAME, with tabs between (default: none)",
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
    from bench.faces.mixture.mix import Part, Rules, make_mixture
    from bench.faces.mixture.subset import Caps
    from bench.runs.dataset import open_files

    _refuse_existing(args.target)
    paths = {name or Path(path).resolve().stem: path for name, _, path in (part.rpartition("=") for part in args.parts)}
    if len(paths) < len(args.parts):
        raise InputError("two parts have one name; give each its own, as NAME=PATH")
    if unknown := [name for name in args.keep_real if name not in paths]:
        raise InputError(f"--keep-real {unknown[0]} names no part; {nearest(unknown[0], paths)}")
    cut_parts = [name for name in paths if name not in args.keep_real]
    if args.shares is not None and len(args.shares) != len(cut_parts):
        raise InputError(
            f"--shares holds {len(args.shares)} numbers for {len(cut_parts)} parts; give one to each of {cut_parts}"
        )
    shares = dict(zip(cut_parts, args.shares or [], strict=False))
    parts = [
        Part(name, open_files(path), share=shares.get(name), is_real=name in args.keep_real)
        for name, path in paths.items()
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


COMMANDS = (
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
        "names the faces, and every command reads it like a dataset, as long as IN stays where it is. With the same "
        "seed, a smaller subset is part of a larger one. Use it to see what fewer identities or images cost; "
        "`bench convert` makes a copy of it.",
        "bench subset faces.lmdb faces_100x8 --identities 100 --images-per-identity 8",
        _add_subset_flags,
        _subset,
    ),
    Command(
        "mix",
        "Put several face datasets together, with new identity labels",
        "Put several face datasets together, without copying a face: OUT is a folder that names the faces, and "
        "every command reads it like a dataset. Identities get new labels. With --total-images the mixture has that "
        "many images, and every part gives its share; with --keep-real some parts stay whole and the others are "
        "added to them. Use it to learn whether generated faces can replace real ones, or help beside them.",
        "bench mix mixed photos=data/photos drawn=faces.lmdb --total-images 20000 --shares 0.5 0.5",
        _add_mix_flags,
        _mix,
    ),
)
