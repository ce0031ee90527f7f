"""The sub-commands that audit face datasets and list the public ones."""

import argparse
from pathlib import Path

from bench.cli import Command, add_stage_flags
from bench.config.benchmarks import load_benchmark, protocol_names
from bench.errors import InputError


def _add_audit_flags(parser: argparse.ArgumentParser) -> None:
    add_stage_flags(parser)
    parser.add_argument(
        "path", type=Path, nargs="?", help="LMDB file, .rec file or folder to audit (default: the faces of --scale)"
    )
    parser.add_argument(
        "--network",
        type=Path,
        help="recognition network, a .safetensors, .pth, .ckpt or .onnx file (default: images only)",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="SET",
        help="datasets or test sets (paths, names, or the lists five and rfw) to search for identities that the "
        "audited dataset shares with them (default: none)",
    )
    parser.add_argument(
        "--against-real",
        metavar="SET",
        help="real faces, a dataset or a test set, to measure quality and diversity against: distances of embeddings, "
        "sharpness (default: none)",
    )
    _add_privacy_flags(parser)
    parser.add_argument("--mask", help=".npy file with the positions of the images to audit (default: all of them)")
    for name, estimator in (("quality", "MagFace"), ("yaw", "6DRepNet")):
        help_text = (
            f"{estimator} weights (.pth), or any TorchScript or ONNX estimator of {name} (default: not estimated)"
        )
        parser.add_argument(f"--{name}", type=Path, help=help_text)
    parser.add_argument(
        "--lpips",
        type=Path,
        metavar="FILE",
        help="torchvision's AlexNet weights, to measure how far images of one identity lie apart perceptually; needs "
        "--network (default: not measured)",
    )
    _add_group_flags(parser)


def _add_privacy_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--members",
        type=Path,
        metavar="FACES",
        help="people that the generator was trained on, a folder of generate prepare or a dataset, to measure whether "
        "the dataset repeats them; needs --control (default: none)",
    )
    parser.add_argument(
        "--control",
        type=Path,
        metavar="FACES",
        help="held-out people of the same source, whom the generator never saw: a dataset, or a .txt file with names "
        "of identities of --members (default: none)",
    )
    parser.add_argument(
        "--second-network",
        type=Path,
        metavar="FILE",
        help="second recognition network, which judges --members too (default: --network alone)",
    )
    parser.add_argument(
        "--show-members",
        action="store_true",
        help="draw training images beside the synthetic ones nearest to them in nearest_pairs.png (default: a grey "
        "square)",
    )


def _add_group_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--groups",
        type=Path,
        metavar="TABLE",
        help="CSV 'identity,ATTRIBUTE,...' with a line per identity, to count identities and images by group "
        "(default: the renderer's groups of a rendered dataset)",
    )
    parser.add_argument(
        "--attribute",
        nargs="+",
        default=[],
        metavar="FILE",
        help="ONNX networks that classify faces into groups, as FILE.onnx or FILE.onnx:GROUP,GROUP with the names of "
        "its outputs (default: none)",
    )


def _audit(args: argparse.Namespace) -> str | None:
    from evaluate.audit.makeup import with_attributes
    from evaluate.audit.privacy.people import open_people
    from evaluate.audit.run import Comparisons
    from evaluate.audit.source import benchmark_source, find_source, find_sources, open_source
    from evaluate.audit.stage import NetworkFiles, audit_unless_finished

    if args.mask and not args.path:
        raise InputError(f"--mask {args.mask} was given without a path; give the dataset's file too, or no mask")
    if args.show_members and not args.members:
        raise InputError("--show-members was given without --members; give both, or neither")
    if args.path:
        source, scale = open_source(args.path, mask=args.mask), "datasets"
    else:
        benchmark, scale = load_benchmark(args.scale, args.config, args.set), args.scale
        source = benchmark_source(benchmark, seed=args.seed, runs=args.runs, test_sets=args.test_sets)
    source = with_attributes(source, args.groups, args.attribute, args.rendered_groups, device=args.device)
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
    networks = NetworkFiles(args.network, estimators, args.load_estimator, args.second_network, args.lpips)
    return audit_unless_finished(
        source, others, networks, scale_dir=args.runs / scale, device=args.device, seed=args.seed
    )


def _add_datasets_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="datasets to print (default: all)")


def _datasets(args: argparse.Namespace) -> str:
    from evaluate.test_sets.public_datasets import describe_datasets

    return describe_datasets(args.names)


COMMANDS = (
    Command(
        "audit",
        "Measure duplicates, separation, consistency, diversity and leakage of a dataset",
        "Describe a face dataset. The images alone give broken files, sizes, sharpness and duplicates. With "
        "--network, the audit also measures the separation of identities, consistency, diversity and the colour "
        "order; with --against, identities that are shared with other sets; with --against-real, the distance to "
        "real faces; with --members and --control, what a synthetic dataset repeats of its generator's training "
        "people. Where groups of people are known (from the renderer, --groups or --attribute), it counts identities "
        "and images by group. Reads the dataset and writes audit.json, audit.html and tables to RUNS/SCALE/audits "
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
)
