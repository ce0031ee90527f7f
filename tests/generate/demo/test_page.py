"""The demo page in headless Chromium: pixels as in Python, sliders and buttons, and what it says where it cannot run.

Needs chromium, and the archive of onnxruntime-web, which ``make demo`` fetches into ``weights``.
"""

import functools
import http.server
import json
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from paths import ROOT
from PIL import Image

from bench.config.benchmarks import load_benchmark
from bench.config.generator import ASSETS_PATH
from bench.faces.pixels import to_network_input, to_pixels
from generate.demo.folder import DEMO_NAME, GENERATOR_NAME, DemoSize, make_demo
from generate.demo.runtime import ARCHIVE
from generate.draw.faces import parse_vector, vector_text
from generate.draw.perturbation import perturb
from generate.draw.pose.image_rows import vectors_with_circumstances
from generate.export.identity import IdentityFeatures
from generate.networks.circumstances import NUM_CIRCUMSTANCES, yaw_of
from generate.vec2face import load_generator

pytestmark = pytest.mark.slow
DIM = 178
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory):
    """Makes the demo of a benchmark, with directions that were found from few images."""

    def make(scale):
        if not (ROOT / "weights" / ARCHIVE).is_file():
            pytest.skip(f"weights/{ARCHIVE} is missing: run make demo once")
        directory = tmp_path_factory.mktemp("demo") / scale
        made = functools.partial(
            make_demo,
            directory,
            load_benchmark(scale),
            weights=ROOT / "weights",
            command=f"generate faces --scale {scale}",
            size=DemoSize(people=100, rendered_faces=60),
        )
        assert made()
        assert not made()  # a finished folder is kept
        return directory

    return make


@pytest.fixture(scope="module")
def folder(make_folder):
    return make_folder("smoke")


@pytest.fixture(scope="module")
def serve():
    """Serves folders on localhost: folder -> address."""
    servers = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def start(directory):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser(open_browser):
    driver = open_browser("--window-size=1240,1000")
    driver.set_script_timeout(WAIT_SECONDS)
    yield driver
    driver.quit()


def wait_for(page, script):
    """The first truthy value of a script; the message of the page if it shows one."""
    for _ in range(4 * WAIT_SECONDS):
        if value := page.execute_script(f"return {script}"):
            return value
        if message := page.find_element("css selector", "#message").text:
            return message
        time.sleep(0.25)
    raise TimeoutError(script)


ROW_IS_DRAWN = (
    "window.demo && document.querySelectorAll('[data-cosine]').length === 8 &&"
    "[...document.querySelectorAll('[data-cosine]')].every(cell => cell.textContent !== '…')"
)


@pytest.fixture(scope="module")
def page(browser, serve, folder):
    browser.get(serve(folder) + "?seed=3")
    assert wait_for(browser, ROW_IS_DRAWN) is True
    return browser


def move(page, name, value):
    """Move a slider and wait until the row is drawn."""
    page.execute_script(
        "window.demo.times.row = null; const input = document.getElementById(arguments[0]);"
        "input.value = arguments[1]; input.dispatchEvent(new Event('input'))",
        name,
        value,
    )
    wait_for(page, "window.demo.times.row")


def pixels_of(page, slot):
    script = (
        "const canvas = document.querySelector(`[data-slot='${arguments[0]}'] canvas`);"
        "return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    )
    return np.array(page.execute_script(script, slot), np.uint8).reshape(112, 112, 4)[..., :3]


def reset(page):
    page.execute_script("window.demo.times.row = null; document.getElementById('reset').click()")
    wait_for(page, "window.demo.times.row")


def test_pixels_and_features_are_those_of_python(page):
    generator = load_generator(ASSETS_PATH / "sharp" / "generator.safetensors")
    identity = IdentityFeatures(ASSETS_PATH / "identity.safetensors").eval()
    rng = np.random.default_rng(0)
    for ratio in (0.1, 0.37, 1.0):
        vector, noise = rng.standard_normal((1, DIM)).astype(np.float32), rng.random((1, 49)).astype(np.float32)
        drawn = page.execute_async_script(
            "const [vector, noise, ratio, done] = arguments; window.demo.draw(vector, noise, ratio).then(done)",
            vector[0].tolist(),
            noise[0].tolist(),
            ratio,
        )
        pixels = np.array(drawn["pixels"], np.int64).reshape(112, 112, 4)
        with torch.no_grad():
            expected = to_pixels(generator(torch.from_numpy(vector), torch.from_numpy(noise), ratio))
            features = identity(to_network_input(expected))[0].numpy()
        assert expected.std() > 20
        assert np.abs(pixels[..., :3] - expected[0].astype(np.int64)).max() <= 2
        assert (pixels[..., 3] == 255).all()
        given = np.array(drawn["features"])
        assert given @ features / np.linalg.norm(given) / np.linalg.norm(features) > 0.999


def image_vector(page, vector, noise, degrees=0):
    """The vector of an image as the page makes it, with noise of strength 0.9."""
    script = """const [vector, noise, degrees, done] = arguments;
      Promise.all([import('./people.js'), fetch('demo.json').then(answer => answer.json())]).then(([module, entry]) =>
        done([...new module.People(entry).image(Float32Array.from(vector), Float32Array.from(noise), 0.9, degrees)]))"""
    return page.execute_async_script(script, vector.tolist(), noise.tolist(), degrees)


@pytest.mark.parametrize("degrees", [0, 25, -40])
def test_vectors_of_images_are_those_of_python(page, folder, degrees):
    description = json.loads((folder / DEMO_NAME).read_text())
    row = parse_vector(description["noise"]["matrix"]).reshape(-1, DIM)[:1]
    vector = np.random.default_rng(1).standard_normal(DIM).astype(np.float32)
    vector[-NUM_CIRCUMSTANCES:] = 0
    yaw = yaw_of(row[:, -NUM_CIRCUMSTANCES:]) + degrees
    expected = vectors_with_circumstances(vector, np.array([0.9], np.float32), yaw, row, seed=7, identity_id=4)[0]
    # the row is kept in float16, so that its sine and cosine are rounded where the yaw stays as it is
    np.testing.assert_allclose(image_vector(page, vector, row[0], degrees), expected, atol=1e-3)


def test_the_first_picture_and_a_row_come_in_time(page):
    reset(page)
    times = page.execute_script("return window.demo.times")
    assert 0 < times["first"] < 60_000  # generous: the machine of a test may be busy; docs state measured times
    assert 0 < times["row"] < 60_000


def test_equal_seeds_draw_equal_people(page, serve, folder):
    before = pixels_of(page, "A"), page.execute_script("return window.demo.person()")
    page.refresh()
    assert wait_for(page, ROW_IS_DRAWN) is True
    assert np.array_equal(pixels_of(page, "A"), before[0])
    assert page.execute_script("return window.demo.person()") == before[1]


def test_the_yaw_slider_turns_heads_and_reset_turns_them_back(page):
    from generate.networks.estimators import yaw_estimator

    estimator = yaw_estimator(ASSETS_PATH / "yaw.safetensors")

    def yaw_of_row():
        row = np.stack([pixels_of(page, str(number)) for number in range(1, 9)])
        with torch.no_grad():
            return estimator(to_network_input(row)).mean().item()

    reset(page)
    start = yaw_of_row()
    move(page, "yaw", 30)
    right = yaw_of_row()
    move(page, "yaw", -30)
    left = yaw_of_row()
    reset(page)
    assert right > start + 10 > start - 10 > left
    assert yaw_of_row() == start


def cosine_to_a(page):
    """Mean identity cosine of the row to person A, as the page shows it."""
    return np.mean([float(cell.text) for cell in page.find_elements("css selector", "[data-cosine]")])


def test_without_noise_the_images_are_nearer_to_the_person(page):
    reset(page)
    with_noise = cosine_to_a(page)
    move(page, "noise", 0)
    assert cosine_to_a(page) > with_noise + 0.02
    reset(page)


def test_the_mix_goes_from_one_person_to_the_other(page):
    reset(page)
    move(page, "noise", 0)
    only_a = cosine_to_a(page)
    move(page, "mix", 100)
    only_b = cosine_to_a(page)
    assert only_a > 0.7
    assert only_b < only_a - 0.2
    reset(page)


@pytest.mark.parametrize("direction", range(5))
def test_directions_change_the_person(page, direction):
    reset(page)
    before = np.array(page.execute_script("return window.demo.person()"))
    move(page, f"direction{direction}", 2)
    changed = np.array(page.execute_script("return window.demo.person()")) - before
    entry = page.execute_async_script("fetch('demo.json').then(a => a.json()).then(arguments[0])")
    vector = parse_vector(entry["directions"][direction]["vector"])
    np.testing.assert_allclose(changed, 2 * vector, atol=1e-3)
    reset(page)


def test_two_clicks_compare_two_images(page):
    for slot in ("3", "5"):
        page.execute_script(f"document.querySelector(\"[data-slot='{slot}']\").click()")
    assert page.find_element("css selector", "#names").text == "image 3 and image 5"
    identity = IdentityFeatures(ASSETS_PATH / "identity.safetensors").eval()
    with torch.no_grad():
        features = identity(to_network_input(np.stack([pixels_of(page, slot) for slot in ("3", "5")])))
    expected = torch.nn.functional.cosine_similarity(*features, dim=0).item()
    assert float(page.find_element("css selector", "#cosine").text) == pytest.approx(expected, abs=2e-3)


def test_the_copied_command_makes_the_same_person(page, tmp_path):
    reset(page)
    portrait = pixels_of(page, "A")
    page.execute_script("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve() }")
    page.find_element("css selector", "#copy-vector").click()
    copied = json.loads(page.execute_script("return window.copied"))
    page.find_element("css selector", "#copy-command").click()
    words = shlex.split(wait_for(page, "window.copied.startsWith('.venv') && window.copied"))
    assert words[:3] == [".venv/bin/python", "-m", "generate"]
    vector = words[words.index("--vector") + 1]
    assert vector_text(np.array(copied, np.float32)) == vector
    words[words.index("--images") + 1], words[-1] = "6", str(tmp_path / "person")
    subprocess.run([sys.executable, *words[1:], "--device", "cpu"], cwd=ROOT, check=True, timeout=300)
    files = sorted((tmp_path / "person").rglob("*.jpg"))
    assert len(files) == 6
    images = np.stack([portrait, *(np.asarray(Image.open(path)) for path in files)])
    identity = IdentityFeatures(ASSETS_PATH / "identity.safetensors").eval()
    with torch.no_grad():
        features = torch.nn.functional.normalize(identity(to_network_input(images)), dim=1)
    same = (features[1:] @ features[0]).mean().item()
    assert same > 0.6


def test_nothing_comes_from_elsewhere_and_nothing_fails(page):
    script = "return performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)"
    hosts = set(page.execute_script(script)) - {""}
    assert hosts == {page.execute_script("return location.host")}
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [390, 800, 1240])
def test_no_window_scrolls_sideways(page, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_generator_without_circumstances_is_drawn_as_in_python_too(browser, serve, make_folder):
    folder = make_folder("smoke_attrop")
    browser.get(serve(folder) + "?seed=3")
    assert wait_for(browser, ROW_IS_DRAWN) is True
    description = json.loads((folder / DEMO_NAME).read_text())
    vector = np.random.default_rng(1).standard_normal(description["feature_dim"]).astype(np.float32)
    matrix = parse_vector(description["noise"]["matrix"]).reshape(len(vector), len(vector))
    normal = np.random.default_rng([7, 2, 4, 0]).standard_normal(len(vector), dtype=np.float32)  # as perturb draws it
    expected = perturb(vector, np.array([0.9], np.float32), seed=7, identity_id=4, directions=matrix)[0]
    np.testing.assert_allclose(image_vector(browser, vector, normal @ matrix), expected, atol=1e-4)
    turning = description["yaw"]  # the curve that was measured
    assert turning["degrees"] == sorted(turning["degrees"]) and len(turning["amounts"]) == len(turning["degrees"])
    turned = image_vector(browser, vector, normal @ matrix, turning["degrees"][-1])
    moved = turning["amounts"][-1] * parse_vector(turning["vector"])
    np.testing.assert_allclose(turned, expected + moved, atol=1e-3)


def test_a_page_from_disk_says_what_to_do(browser, folder):
    browser.get((folder / "index.html").as_uri())
    message = browser.find_element("css selector", "#message").text
    assert message.startswith("This page was opened from disk")
    assert "run python3 -m http.server in the folder of the page" in message
    assert not browser.find_element("css selector", "main").is_displayed()


def test_a_browser_without_simd_is_told_so(open_browser, serve, folder):
    old = open_browser("--js-flags=--no-enable-sse4-1 --no-enable-ssse3 --no-enable-sse3")
    try:
        old.get(serve(folder))
        message = wait_for(old, "document.getElementById('message').textContent")
        assert message.startswith("This browser has no WebAssembly SIMD")
        assert "open the page in a current" in message
    finally:
        old.quit()


def broken_copy(folder, target):
    shutil.copytree(folder, target)
    return target


def test_a_network_of_other_sizes_is_refused(browser, serve, folder, tmp_path):
    from generate.export.generator import write_generator
    from generate.vec2face import Architecture, Vec2Face

    copy = broken_copy(folder, tmp_path / "other")
    write_generator(Vec2Face(Architecture(16, 32, 1, 2, 1, 2, 32, (1, 1, 1), 8)).eval(), copy / GENERATOR_NAME)
    browser.get(serve(copy))
    message = wait_for(browser, "document.getElementById('message').textContent")
    assert message == "generator.onnx takes vectors of 16, not 178: run make demo again."


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (GENERATOR_NAME, None, "generator.onnx could not be loaded (status 404): run make demo again."),
        (GENERATOR_NAME, b"no network", "generator.onnx is not a network that this page can run"),
        ("identity.onnx", None, "identity.onnx could not be loaded (status 404): run make demo again."),
        (DEMO_NAME, None, "demo.json could not be loaded (status 404): run make demo again."),
    ],
)
def test_a_broken_folder_is_told_in_one_sentence(browser, serve, folder, tmp_path, name, content, sentence):
    path = broken_copy(folder, tmp_path / "broken") / name
    path.unlink()
    if content is not None:
        Path(path).write_bytes(content)
    browser.get(serve(path.parent))
    assert wait_for(browser, "document.getElementById('message').textContent").startswith(sentence)
