"""The sub-commands that make faces or what faces need: fetch, centers, faces, protocols."""

import argparse
import sys
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config import flags
from bench.config.benchmarks import load_benchmark, protocol_names
from bench.config.generator import Vec2FaceGenerator, weight_path
from bench.errors import InputError
from bench.machine.device import process_rank
from bench.runs.inputs import is_rendered, rendered_protocol_path

_DEFAULT_SCALE, _LANDMARK_SCALE = "10k", "v10k"


def _fetch_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", help="names of files (default: the files that --scale needs)")
    parser.add_argument("--revision", help="commit, tag or branch of the Hub (default: the revision of --scale)")
    parser.add_argument(
        "--list", action="store_true", help="print every name with what is known of its file (default: download)"
    )
    add_stage_flags(parser, "--scale", "--config", "--weights", scale=_DEFAULT_SCALE)


def _fetch(args: argparse.Namespace) -> str:
    from bench.runs.hub import fetch, list_files
    from generate.hub.catalogue import CATALOGUE, files_of_generator, find_file

    if args.list:
        return list_files({name: find_file(name) for name in args.names or CATALOGUE})
    settings = _vec2face_settings(args)
    files = [find_file(name) for name in args.names] or files_of_generator(settings)
    if not files:
        raise InputError(f"benchmark {args.scale} needs no file of the Hub; give names, or another --scale")
    revision = args.revision or settings.revision
    return "\n".join(str(fetch(file, args.weights, revision=revision)) for file in files)


def _centers_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("faces", type=Path, help="LMDB, folder with one sub-folder per person, or folder of images")
    parser.add_argument("--out", type=Path, required=True, help=".npy file to write, one row per identity")
    add_stage_flags(parser, "--scale", "--config", "--weights", "--device", scale=_DEFAULT_SCALE)


def _centers(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.draw.centers import write_centers

    network = weight_path(_vec2face_settings(args).identity_weights, args.weights)
    num_identities, num_faces = write_centers(args.faces, args.out, network, device=choose_device(args.device))
    return f"centers: {num_identities} identities from {num_faces} faces -> {args.out}"


def _faces_flags(parser: argparse.ArgumentParser) -> None:
    _people_flags(parser)
    _pose_flags(parser)
    parser.add_argument(
        "--quality",
        metavar="NORM",
        type=flags.positive,
        help="target MagFace feature norm (default: that of --scale, 27 for 10k)",
    )
    parser.add_argument("--lmdb", action="store_true", help="write faces.lmdb (default: a folder of images)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an interrupted one is resumed")
    parser.add_argument(
        "--scale", help=f"entry of benchmarks.yaml (default: {_DEFAULT_SCALE}; by landmarks: {_LANDMARK_SCALE})"
    )
    add_stage_flags(parser, "--config", "--weights", "--device", "--seed")


def _people_flags(parser: argparse.ArgumentParser) -> None:
    """Whose faces are drawn, how many, and how different."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--centers", type=Path, help=".npy of identity vectors (default: those that --scale draws or reads)"
    )
    source.add_argument(
        "--from-images",
        type=Path,
        help="aligned photographs of existing people, folder or LMDB (default: invented people)",
    )
    source.add_argument(
        "--vector",
        metavar="TEXT",
        help="identity vector of one person as the demo page copies it, drawn as it is (default: as --centers)",
    )
    parser.add_argument("--range", metavar="FIRST:END", help="identities to make, END excluded (default: all)")
    parser.add_argument(
        "--images", metavar="N", type=flags.count, default=50, help="images per identity (default: %(default)s)"
    )
    parser.add_argument(
        "--noise",
        metavar="SIGMA",
        type=flags.positive_or_zero,
        help="noise per dimension of the vectors of images without a target yaw (default: the sigmas of --scale; 0.2 "
        "with --from-images)",
    )


def _pose_flags(parser: argparse.ArgumentParser) -> None:
    """Which poses the faces have, and how they are reached."""
    parser.add_argument(
        "--yaw",
        metavar="DEGREES",
        type=flags.yaw,
        nargs="+",
        default=(),
        help="target yaws in degrees, used in turn (default: no targets)",
    )
    parser.add_argument(
        "--by",
        choices=("attrop", "landmarks"),
        default="attrop",
        help="how --yaw is reached: by optimising vectors step by step (attrop), or in one pass by a picture of the "
        "five landmarks of a turned head (landmarks; needs Vec2Face+'s weights, by default those of --scale v10k) "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        type=Path,
        help="draw by your own landmark pictures (file or folder), .npy of pictures or of points (L, 5, 2), or text "
        "file of landmarks, in equal shares, in place of --yaw (default: the landmarks of a head turned by --yaw)",
    )


def _faces(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.draw.centers import CONSENT
    from generate.draw.faces import Request, make_faces, parse_range, parse_vector

    if args.from_images:
        sys.stderr.write(f"note: {CONSENT}.\n")
    by_landmarks = args.by == "landmarks" or args.landmarks is not None
    args.scale = args.scale or (_LANDMARK_SCALE if by_landmarks else _DEFAULT_SCALE)
    request = Request(
        images_per_identity=args.images,
        identities=parse_range(args.range) if args.range else None,
        centers=args.centers,
        people=args.from_images,
        vector=parse_vector(args.vector) if args.vector is not None else None,
        noise=args.noise,
        yaw_degrees=tuple(args.yaw),
        by_landmarks=by_landmarks,
        landmarks=args.landmarks,
        quality=args.quality,
        as_lmdb=args.lmdb,
    )
    settings, device = _vec2face_settings(args), choose_device(args.device)
    drawn = make_faces(args.out, settings, request, seed=args.seed, weights=args.weights, device=device)
    statistics = drawn.statistics
    num_accepted = statistics.landmark_images_accepted if by_landmarks else statistics.attribute_images_accepted
    accepted = f", {num_accepted} met their targets" if args.yaw or by_landmarks else ""
    return f"faces: {drawn.num_images} images of {drawn.num_identities} identities{accepted} -> {args.out}"


def _protocols_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", help="rendered protocols, such as render_lfw, or a list of them (default: those of --scale)"
    )
    parser.add_argument("--scale", help="entry of benchmarks.yaml that names the protocols (default: smoke)")
    add_stage_flags(parser, "--config", "--runs")


def _protocols(args: argparse.Namespace) -> str | None:
    from generate.render.protocols.write import rendered_protocol

    if args.names and args.scale:
        raise InputError(f"protocols {' '.join(args.names)} and --scale {args.scale} were given; give one of the two")
    if args.names:
        names = protocol_names(args.names, args.config)
    else:
        benchmark = load_benchmark(args.scale or "smoke", args.config)
        names = [name for name in benchmark.protocols if is_rendered(name)]
        if not names:
            return f"protocols: benchmark {benchmark.name} uses no rendered protocol, nothing to write"
    folders = [rendered_protocol(name, rendered_protocol_path(name, args.runs).parent) for name in names]
    is_first = process_rank()[0] == 0
    return "\n".join(f"protocols: {folder}" for folder in folders) if is_first else None


def _vec2face_settings(args: argparse.Namespace) -> Vec2FaceGenerator:
    generator = load_benchmark(args.scale, args.config).generator
    if not isinstance(generator, Vec2FaceGenerator):
        raise InputError(f"--scale {args.scale} has a {generator.kind} generator; give one with Vec2Face, such as 10k")
    return generator


COMMANDS = (
    Command(
        "fetch",
        "Download released weights and datasets by name",
        "Reads the Vec2Face authors' repositories on the Hugging Face Hub and writes files into --weights. Needed once "
        "before a benchmark with Vec2Face's released weights. The SHA-256 of every file is recorded at the first fetch "
        "and checked at every later use. A file that exists is not downloaded again. With --list, prints repository, "
        "size, licence, SHA-256 and purpose of every file, and downloads nothing.",
        "generate fetch generator arcface-r100 --weights weights",
        _fetch_flags,
        _fetch,
    ),
    Command(
        "centers",
        "Compute the identity vectors of existing faces",
        "Reads aligned faces and writes the mean identity feature of every person, a .npy with one row per identity. "
        "Needed to generate from the people of a dataset: give the file as centers: in benchmarks.yaml, or to the "
        "sub-command faces.",
        "generate centers data/faces.lmdb --out centers.npy",
        _centers_flags,
        _centers,
    ),
    Command(
        "faces",
        "Generate images of a range of identities, without a benchmark",
        "Reads weights and, if given, identity vectors or photographs. Writes images by identity (or faces.lmdb), "
        "faces.parquet and grid.png into --out. Does what Vec2Face's image_generation.py does and, with --yaw, its "
        "pose_image_generation.py; with --by landmarks, what Vec2Face+'s pose_control.py does. Two halves of a range, "
        "generated separately, hold the same images as the whole.",
        "generate faces --centers weights/center_feature_examples.npy --range 0:100 --images 50 --out faces",
        _faces_flags,
        _faces,
    ),
    Command(
        "protocols",
        "Render the synthetic verification protocols of a benchmark",
        "Reads the names of rendered protocols from a benchmark or the command line and writes each below "
        "RUNS/protocols. Training and evaluation call this themselves when they need a protocol. Protocols that exist "
        "are left unchanged. Several launches may run it at once, and the processes of torchrun share the rendering.",
        "generate protocols --scale smoke",
        _protocols_flags,
        _protocols,
    ),
)
