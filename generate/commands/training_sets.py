"""The sub-commands that make the training set of a generator: turn, appearance, prepare, variation."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config import flags


def _source_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the faces that a training set is made from."""
    parser.add_argument(
        "--faces",
        type=Path,
        required=True,
        help="LMDB, or folder with one sub-folder of aligned 112 x 112 faces per identity",
    )
    parser.add_argument("--mask", type=Path, help=".npy of positions of the faces to use (default: all)")
    parser.add_argument(
        "--leave-out", type=Path, help="text file of identity names to leave out, one per line (default: none)"
    )


def _turn_flags(parser: argparse.ArgumentParser) -> None:
    _source_flags(parser)
    parser.add_argument(
        "--yaw-model", type=Path, required=True, help="weights of 6DRepNet, or generate/assets/yaw.safetensors"
    )
    parser.add_argument(
        "--views",
        metavar="N",
        type=flags.count,
        default=1,
        help="turned views of each photograph (default: %(default)s)",
    )
    parser.add_argument(
        "--degrees",
        type=flags.yaw,
        nargs=2,
        default=(20.0, 80.0),
        metavar=("LEAST", "MOST"),
        help="range of the views' yaw in degrees, to either side (default: 20 80)",
    )
    parser.add_argument("--out", type=Path, required=True, help="LMDB to write")
    add_stage_flags(parser, "--device", "--seed")


def _turn(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from bench.runs.dataset import open_files
    from generate.training.prepared.turn import measure_yaw, write_with_views

    faces = open_files(args.faces, args.mask, args.leave_out)
    yaw = measure_yaw(faces, args.yaw_model, device=choose_device(args.device))
    write_with_views(faces, yaw, args.out, num_views=args.views, degrees=tuple(args.degrees), seed=args.seed)
    return f"turn: {len(faces)} photographs and {args.views * len(faces)} turned views of them in {args.out}"


def _appearance_flags(parser: argparse.ArgumentParser) -> None:
    _source_flags(parser)
    parser.add_argument(
        "--identity-model", type=Path, required=True, help="identity network: .onnx, or .safetensors of this suite"
    )
    parser.add_argument(
        "--numbers",
        metavar="N",
        type=flags.count,
        default=64,
        help="principal components to append (default: %(default)s)",
    )
    parser.add_argument(
        "--strength",
        metavar="RATIO",
        type=flags.positive,
        default=0.5,
        help="mean norm of the components, as a share of that of the features (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="network to write, of the same file type")


def _appearance(args: argparse.Namespace) -> str:
    from bench.machine.stopwatch import Stopwatch
    from bench.runs.dataset import open_files
    from generate.hub.provenance import write_appearance_card
    from generate.networks.appearance import add_appearance

    stopwatch, faces = Stopwatch(), open_files(args.faces, args.mask, args.leave_out)
    settings = {"num_components": args.numbers, "strength": args.strength}
    appearance = add_appearance(args.identity_model, faces, args.out, **settings)
    figures, cost = {"explained": appearance.explained}, stopwatch.cost(images=len(faces))
    write_appearance_card(args.out, args.identity_model, args.faces, settings=settings, figures=figures, cost=cost)
    explained = f"{appearance.explained:.1%} of the variance of the low-resolution faces"
    return f"appearance: {args.numbers} components explain {explained}; {args.out}"


def _prepare_flags(parser: argparse.ArgumentParser) -> None:
    _source_flags(parser)
    parser.add_argument(
        "--identity-model",
        type=Path,
        help="identity network that computes the features: IResNet .pth or .safetensors, or .onnx "
        "(default: take them from --features or from the LMDB)",
    )
    parser.add_argument(
        "--features", type=Path, help=".npy of features, one row per face (default: take them from the LMDB)"
    )
    parser.add_argument(
        "--mirror", action="store_true", help="add every face mirrored, with its own feature (default: off)"
    )
    parser.add_argument(
        "--mean-norm",
        metavar="NORM",
        type=flags.positive,
        help="scale all features to this mean norm (default: keep their scale)",
    )
    parser.add_argument(
        "--landmarks",
        type=Path,
        help="add a picture of each face's five landmarks, for train-pose: text file, .npy (N, 5, 2), faces.parquet of "
        "rendered faces, or an .onnx landmark network (default: none)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the training set")
    add_stage_flags(parser, "--device")


def _prepare(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from bench.runs.dataset import open_files
    from generate.training.prepared.prepare import Preparation, prepare

    faces = open_files(args.faces, args.mask, args.leave_out)
    settings = Preparation(args.identity_model, args.features, args.mirror, args.mean_norm, args.landmarks)
    prepared = prepare(faces, settings, args.out, device=choose_device(args.device))
    return f"prepare: {prepared['num_images']} faces of {prepared['num_identities']} identities in {args.out}"


def _variation_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prepared", type=Path, required=True, help="folder of generate prepare, read and written")
    parser.add_argument(
        "--min-faces",
        metavar="N",
        type=flags.count,
        required=True,
        help="use only identities with at least N faces; after "
        "prepare --mirror, each photograph counts with its mirror image, as two",
    )
    parser.add_argument(
        "--views",
        metavar="N",
        type=flags.count_or_zero,
        default=0,
        help="turned views that follow each photograph (--views of generate turn); they are left out "
        "(default: %(default)s)",
    )


def _variation(args: argparse.Namespace) -> str:
    from generate.training.prepared.variation import write_variation

    num_identities, num_differences = write_variation(args.prepared, min_faces=args.min_faces, views=args.views)
    return f"variation: {num_differences} differences of {num_identities} identities in {args.prepared}"


COMMANDS = (
    Command(
        "turn",
        "Rotate photographs on a 3D head, to add profile views to a training set",
        "Reads aligned photographs and a yaw network. Writes an LMDB in which turned views follow each photograph. "
        "Needed when the photographs show few profiles, because a generator draws only poses of its training set. "
        "Run it before appearance and prepare.",
        "generate turn --faces data/lfw --yaw-model generate/assets/yaw.safetensors --out data/lfw_turned.lmdb",
        _turn_flags,
        _turn,
    ),
    Command(
        "appearance",
        "Append principal components of the image to an identity network's features",
        "Reads aligned faces and an identity network. Writes the network again, with principal components of the "
        "low-resolution image behind its features, and a card that names the network it was made from. Needed for "
        "small generators: identity features hold no light, pose or hair, so that a generator conditioned on them "
        "alone draws the average of these.",
        "generate appearance --faces data/lfw_turned.lmdb --identity-model weights/mobilefacenet_y1.onnx "
        "--out weights/lfw/identity.onnx",
        _appearance_flags,
        _appearance,
    ),
    Command(
        "prepare",
        "Compute the training set of a generator from faces and an identity network",
        "Reads aligned faces and an identity network. Writes faces.lmdb with one feature per face, centers.npy, "
        "deviations.npy and prepared.json into --out. Needed before train; WebFace4M's own LMDB needs no preparation. "
        "With --landmarks it adds a landmark picture to each face, which train-pose needs. "
        "A killed command resumes when it is given again.",
        "generate prepare --faces data/lfw_turned.lmdb --identity-model weights/lfw/identity.onnx --out weights/lfw",
        _prepare_flags,
        _prepare,
    ),
    Command(
        "variation",
        "Estimate how images of one person vary, for use as generation noise",
        "Reads a folder of generate prepare and writes seen_often.npy (centres of identities with many faces) and "
        "differences.npy (features less their centre) into it. Needed for generator settings that use "
        "perturbation.differences, which adds the variation of real people to invented ones.",
        "generate variation --prepared weights/lfw --min-faces 6 --views 1",
        _variation_flags,
        _variation,
    ),
)
