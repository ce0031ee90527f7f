"""The sub-commands fetch, centers, faces and push of ``python -m generate``. Heavy imports wait until one runs.

Every command returns the line that tells what it did.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from bench.config.benchmarks import load_benchmark
from bench.config.generator import Vec2FaceGenerator
from bench.errors import InputError

_DEFAULT_SCALE = "10k"


def add_commands(commands: Any) -> None:
    """Add the parsers; each sets ``run``, the function that does it."""
    _add_fetch(commands.add_parser("fetch", help="download released weights and datasets, by name"))
    _add_centers(commands.add_parser("centers", help="faces and the identity network -> .npy of identity centres"))
    _add_faces(commands.add_parser("faces", help="images of a range of identities, or of people in given photos"))
    _add_push(commands.add_parser("push", help="upload a finished dataset to the Hub; only with --upload"))


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Flags that the stage has too: given before the command's name or after it."""
    parser.add_argument("--scale", default=_DEFAULT_SCALE, help=f"benchmark whose settings count ({_DEFAULT_SCALE})")
    parser.add_argument("--config", type=Path, default=argparse.SUPPRESS, help="the benchmarks (benchmarks.yaml)")
    parser.add_argument("--weights", type=Path, default=argparse.SUPPRESS, help="folder of weights (weights)")


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="what to fetch (default: all that generating needs)")
    parser.add_argument("--revision", help="commit, tag or branch (default: that of the benchmark)")
    _add_settings(parser)
    parser.set_defaults(run=_fetch)


def _add_centers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("faces", type=Path, help="LMDB, folder with one sub-folder per person, or folder of images")
    parser.add_argument("--out", type=Path, required=True, help=".npy to write; rows in the order of the identities")
    parser.add_argument("--device", default=argparse.SUPPRESS, help="auto, cpu, cuda or cuda:N (auto)")
    _add_settings(parser)
    parser.set_defaults(run=_centers)


def _add_faces(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--centers", type=Path, help=".npy of identity vectors (default: drawn, Gaussian)")
    source.add_argument("--from-images", type=Path, help="aligned faces of people who exist: folder or LMDB")
    parser.add_argument("--range", help="FIRST:END, numbers of identities (default: all that are given)")
    parser.add_argument("--images", type=int, default=50, help="images per identity (50)")
    parser.add_argument("--yaw", type=float, nargs="+", default=(), help="target yaws in degrees, in turn (none)")
    parser.add_argument("--quality", type=float, help="target MagFace norm (that of the benchmark: 27)")
    parser.add_argument("--lmdb", action="store_true", help="write faces.lmdb in place of a folder of images")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; the same command goes on in it")
    parser.add_argument("--seed", type=int, default=argparse.SUPPRESS, help="seed (0)")
    parser.add_argument("--device", default=argparse.SUPPRESS, help="auto, cpu, cuda or cuda:N (auto)")
    _add_settings(parser)
    parser.set_defaults(run=_faces)


def _add_push(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="folder of the dataset, with dataset.json")
    parser.add_argument("--repo", required=True, help="user/name of the dataset on the Hub")
    parser.add_argument("--upload", action="store_true", help="do upload; without it the command only tells")
    parser.add_argument("--public", action="store_true", help="make a new repository public (default: private)")
    parser.set_defaults(run=_push)


def _settings(args: argparse.Namespace) -> Vec2FaceGenerator:
    generator = load_benchmark(args.scale, args.config).generator
    if not isinstance(generator, Vec2FaceGenerator):
        raise InputError(f"--scale {args.scale} has a {generator.kind} generator; give one with Vec2Face, such as 10k")
    return generator


def _fetch(args: argparse.Namespace) -> str:
    from bench.runs.hub import fetch
    from generate.hub.catalogue import GENERATION, find_file

    revision = args.revision or _settings(args).revision
    files = [find_file(name) for name in args.names or GENERATION]
    return "\n".join(str(fetch(file, args.weights, revision=revision)) for file in files)


def _centers(args: argparse.Namespace) -> str:
    from bench.files import write_array
    from bench.machine.device import choose_device
    from generate.draw.centers import face_centers, open_people
    from generate.networks.estimators import identity_estimator

    faces, device = open_people(args.faces), choose_device(args.device)
    identity = identity_estimator(args.weights / _settings(args).identity_weights, device)
    write_array(args.out, face_centers(faces, identity, device=device))
    return f"centers: {faces.num_identities} of {len(faces)} faces -> {args.out}"


def _faces(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.draw.centers import CONSENT
    from generate.draw.faces import Request, make_faces, parse_range

    if args.from_images:
        sys.stderr.write(f"note: {CONSENT}.\n")
    request = Request(
        images_per_identity=args.images,
        identities=parse_range(args.range) if args.range else None,
        centers=args.centers,
        people=args.from_images,
        yaw_degrees=tuple(args.yaw),
        quality=args.quality,
        as_lmdb=args.lmdb,
    )
    where = {"seed": args.seed, "weights": args.weights, "device": choose_device(args.device)}
    made = make_faces(args.out, _settings(args), request, **where)
    accepted = f", {made['attribute_images_accepted']} met their targets" if args.yaw else ""
    return f"faces: {made['num_images']} images of {made['num_identities']} identities{accepted} -> {args.out}"


def _push(args: argparse.Namespace) -> str:
    from generate.hub.push import push

    return push(args.directory, args.repo, upload=args.upload, public=args.public)
