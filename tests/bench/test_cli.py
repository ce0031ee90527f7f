"""Bad input at the commands: one line that says what to do, status 2, and nothing half-written."""

import ast
import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from paths import ROOT

from bench.cli import add_stage_flags, parse_flags, run, stage_parser
from bench.config.benchmarks import BENCHMARKS_PATH, load_benchmark
from bench.errors import InputError, python_command
from bench.faces.face import encode_jpeg
from evaluate.layouts.packed import write_bin


def call(program, *arguments, cwd=ROOT, **environment):
    command = [sys.executable, "-m", *program.split(), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | environment)


def assert_one_line(done, *words):
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def add_benchmark(tmp_path, **generator):
    """A benchmarks.yaml in which ``mine`` is smoke with another generator."""
    document = yaml.safe_load(BENCHMARKS_PATH.read_text())
    document["benchmarks"]["mine"] = document["benchmarks"]["smoke"] | {"generator": generator}
    path = tmp_path / "benchmarks.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_message_with_a_very_long_value_is_cut():
    message = str(InputError(f"a.json: field {'9' * 100_000} is unknown; run the stage again"))
    assert message.startswith("a.json: field 999") and message.endswith("999 is unknown; run the stage again")
    assert " ... " in message and len(message) < 300
    assert len(str(InputError("many words " * 1000))) < 2000
    assert str(InputError("n" * 399)) == "n" * 399


@pytest.mark.parametrize("program", ["generate", "fr_train", "evaluate", "bench run", "bench plan"])
def test_an_unknown_scale(tmp_path, program):
    done = call(program, "--scale", "20kk", "--runs", tmp_path / "runs")
    assert_one_line(done, "SCALE=20kk", "did you mean 20k?")
    assert not (tmp_path / "runs").exists()


def test_missing_inputs_are_listed_before_anything_starts(tmp_path):
    here = {"--runs": tmp_path / "runs", "--test-sets": tmp_path, "--weights": tmp_path}
    done = call("bench run", "--scale", "20k", *(part for flag in here.items() for part in flag))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "error: SCALE=20k cannot start, 9 inputs are missing:"
    assert lines[1].startswith("  vec2face_generator.pth is missing: run ")
    assert lines[9].endswith(f"cplfw.bin, to {tmp_path / 'cplfw.bin'}")
    assert lines[10:] == ["  make fetch SCALE=20k downloads those that the Hub has"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused_before_anything_starts(tmp_path):
    done = call("bench run", "--scale", "smoke", "--runs", tmp_path / "runs", "--device", "cuda:99")
    assert_one_line(done, "DEVICE=cuda:99, but torch")
    assert not (tmp_path / "runs").exists()


def test_runs_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = call("generate", "--scale", "smoke", "--runs", tmp_path / "runs")
    assert_one_line(done, str(tmp_path / "runs"), "cannot be written", "set RUNS")


def test_one_identity(tmp_path):
    (tmp_path / "faces" / "ann").mkdir(parents=True)
    (tmp_path / "faces" / "ann" / "1.png").write_bytes(b"")
    config = add_benchmark(tmp_path, kind="files", path=str(tmp_path / "faces"))
    done = call("generate", "--scale", "mine", "--config", config, "--runs", tmp_path / "runs")
    assert_one_line(done, "holds 1 identity", "at least 2")
    assert not list((tmp_path / "runs").rglob("*.json"))


def test_training_before_there_are_faces(tmp_path):
    done = call("fr_train", "--scale", "smoke", "--runs", tmp_path / "runs")
    assert_one_line(done, "holds no face dataset", "make generate SCALE=smoke")


def test_evaluating_before_there_is_a_network(tmp_path):
    done = call("evaluate", "--scale", "smoke", "--runs", tmp_path / "runs")
    assert_one_line(done, "holds no trained network", "make train SCALE=smoke")


def test_a_model_that_is_not_there(tmp_path):
    done = call("evaluate", "--model", tmp_path / "gone.pth", "--runs", tmp_path / "runs")
    assert_one_line(done, "gone.pth does not exist")


@pytest.mark.slow
def test_a_test_set_that_is_not_there(tmp_path):
    (tmp_path / "m.pth").write_bytes(b"x")
    done = call("evaluate", "--model", tmp_path / "m.pth", "--protocols", "lfw", "--test-sets", tmp_path, cwd=ROOT)
    assert_one_line(done, "no lfw in", ".venv/bin/python -m evaluate fetch lfw")


def test_a_price_that_is_none(tmp_path):
    done = call("bench run", "--scale", "smoke", "--runs", tmp_path / "runs", PRICE_PER_HOUR="-2.5")
    assert_one_line(done, "PRICE_PER_HOUR=-2.5 is no price", "as in PRICE_PER_HOUR=2.5")
    assert not list((tmp_path / "runs").rglob("*.json"))


@pytest.mark.slow
def test_a_protocol_with_fewer_pairs_than_folds(tmp_path):
    faces = [encode_jpeg(np.full((112, 112, 3), 40 * i, np.uint8)) for i in range(4)]
    write_bin(tmp_path / "few.bin", faces, [True, False])
    from fr_train.backbone import build_backbone
    from fr_train.checkpoint import save_backbone

    settings = load_benchmark("smoke").recipe.backbone
    save_backbone(tmp_path / "net.safetensors", build_backbone(settings), settings)
    flags = ("--protocols", "few", "--test-sets", tmp_path, "--runs", tmp_path / "runs", "--device", "cpu")
    done = call("evaluate", "--model", tmp_path / "net.safetensors", *flags)
    assert_one_line(done, "2 pairs cannot make 10 folds")
    assert not list((tmp_path / "runs").rglob("*.json"))


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(tmp_path, small_disk):
    config = add_benchmark(tmp_path, kind="render", num_identities=24, images_per_identity=6, jpeg_quality=100)
    done = call("generate", "--scale", "mine", "--config", config, "--runs", small_disk / "runs")
    assert_one_line(done_without_bars(done), "disk is full", "set RUNS to another folder")
    assert not [path for path in small_disk.rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_disk_that_is_full_from_the_start(tmp_path, small_disk):
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(2 << 20))
    config = add_benchmark(tmp_path, kind="render", num_identities=2, images_per_identity=1)
    done = call("generate", "--scale", "mine", "--config", config, "--runs", small_disk / "runs")
    assert_one_line(done_without_bars(done), "disk is full", "set RUNS")


def done_without_bars(done):
    """The same, without what progress bars drew before the error."""
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "\n".join(lines))


def parser_with_commands():
    parser = stage_parser("evaluate", "")
    commands = parser.add_subparsers(dest="command")
    audit = commands.add_parser("audit")
    add_stage_flags(audit)
    audit.add_argument("path", nargs="?")
    packing = commands.add_parser("pack")
    packing.add_argument("--out")
    return parser


@pytest.mark.parametrize(
    ("line", "scale", "seed"),
    [
        ("audit", "smoke", 0),
        ("--scale mini audit", "mini", 0),
        ("audit --scale mini", "mini", 0),
        ("--scale mini --seed 2 audit faces --scale 10k", "10k", 2),
        ("--scale mini", "mini", 0),
    ],
)
def test_flags_before_a_sub_command_count(line, scale, seed):
    args = parse_flags(parser_with_commands(), line.split())
    assert (args.scale, args.seed) == (scale, seed)
    assert args.runs == Path("runs")


def test_flags_before_a_sub_command_that_does_not_know_them_are_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_flags(parser_with_commands(), ["--scale", "mini", "pack", "--out", "x"])
    assert stopped.value.code == 2
    assert "pack does not take --scale" in capsys.readouterr().err


def end_with(error):
    """Status and stderr of a command that raises an error."""

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    return ended.value.code


@pytest.mark.parametrize(
    ("number", "readable", "words"),
    [
        (errno.ENOSPC, True, "cannot be written: the disk is full; make room, or set RUNS to another folder"),
        (errno.EFBIG, True, "cannot be written: the file is too large for this disk or for ulimit -f; make room"),
        (errno.EACCES, True, "cannot be written: you have no permission to write there; set RUNS to another folder"),
        (errno.EACCES, False, "cannot be read: you have no permission to read it; change that, or name another file"),
        (errno.ENAMETOOLONG, True, "cannot be used: File name too long; correct the path"),
        (errno.ENOTDIR, True, "cannot be used: Not a directory; correct the path"),
    ],
)
def test_errors_of_the_disk_say_what_is_wrong(tmp_path, capsys, monkeypatch, number, readable, words):
    path = tmp_path / "file"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: readable)  # root may read everything
    assert end_with(OSError(number, os.strerror(number), str(path))) == 2
    assert capsys.readouterr().err.startswith(f"error: {path} {words}")


@pytest.mark.parametrize(("may_enter", "verb"), [(True, "written"), (False, "read")])
def test_a_file_below_a_folder_that_may_not_be_entered(tmp_path, capsys, monkeypatch, may_enter, verb):
    monkeypatch.setattr(os, "access", lambda *_: may_enter)
    assert end_with(PermissionError(errno.EACCES, "denied", str(tmp_path / "new" / "file"))) == 2
    assert f"cannot be {verb}: " in capsys.readouterr().err


def test_a_bug_shows_its_traceback():
    with pytest.raises(FileNotFoundError):
        run(lambda: Path("/gone").read_text())


INTERRUPTED = """
import sys, time
from bench.cli import run
def main():
    print("ready", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        {then}
run(main)
"""


@pytest.mark.parametrize("then", ["raise", "raise RuntimeError('a worker ended')", "time.sleep(0); raise"])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_ctrl_c_is_one_line_of_rank_0_whatever_libraries_make_of_it(then, rank):
    code = INTERRUPTED.format(then=then)
    environment = os.environ | {"RANK": rank, "WORLD_SIZE": "2"}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == ("interrupted; run the same command again to resume" if rank == "0" else "")


@pytest.mark.parametrize("program", ["bench", "generate", "fr_train", "evaluate"])
def test_ctrl_c_while_modules_are_imported(tmp_path, program):
    (tmp_path / "pydantic.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)")
    done = call(program, "--help", PYTHONPATH=str(tmp_path))
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted; run the same command again to resume"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1251", "utf-8"])
def test_a_stream_that_has_no_plus_minus(encoding):
    code = "from bench.cli import run; run(lambda: print('80.60 ± 0.80'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding) in ("80.60 ± 0.80\n", "80.60 ? 0.80\n")


def test_a_reader_that_ends_early():
    code = "from bench.cli import run; run(lambda: print('line\\n' * 100_000))"
    line = f'{sys.executable} -c "{code}" | head -n 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["line", "141"]
    assert done.stderr == ""


def test_no_message_names_a_python_that_may_not_be_the_environments():
    """Hints print ``python_command``, which works as printed. Docstrings may be shorter."""
    assert python_command("bench sync") == ".venv/bin/python -m bench sync"
    made_by = ROOT / "generate" / "hub" / "provenance.py"  # cards record these words
    for package in ("bench", "generate", "fr_train", "evaluate"):
        for path in {*(ROOT / package).rglob("*.py")} - {made_by}:
            tree = ast.parse(path.read_text())
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    text = node.value.replace(".venv/bin/python -m ", "")
                    assert "python -m" not in text, f"{path}:{node.lineno} {node.value}"
