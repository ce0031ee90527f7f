"""Rendered training sets: features and circumstances of every face, resumed with the same bytes, bad input named."""

from dataclasses import replace

import numpy as np
import pytest
from generator_training import FEATURE_DIM, save_network

from bench.errors import InputError
from bench.faces.lmdb_file import LmdbFaces
from bench.files import sha256
from generate.networks.circumstances import NAMES, NUM_CIRCUMSTANCES, encode, with_clear_view
from generate.networks.identity import load_identity_network
from generate.networks.over_faces import outputs_over_faces
from generate.render import camera, face, head
from generate.render import dataset as rendering
from generate.render.face import IDENTITIES_PER_SEED, alignment_error, factor_table, render_face
from generate.render.people import draw_factors, draw_identity
from generate.training.prepared import rendered_set
from generate.training.prepared.rendered_set import RenderedPeople, render_training_set, split_features

SEED, PEOPLE, IMAGES = 7, 6, 3
FILES = ("faces.lmdb", "centers.npy", "differences.npy", "rendered.json")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("network") / "identity.safetensors")


@pytest.fixture(scope="module")
def in_one_process():
    """Render in this process, and in parts of two people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "cores_of_process", lambda: 1)
        patch.setattr(rendered_set, "_PART_FACES", 2 * IMAGES)
        yield


@pytest.fixture(scope="module")
def finished(weights, in_one_process, tmp_path_factory):
    directory = tmp_path_factory.mktemp("set")
    return directory, render_training_set(RenderedPeople(PEOPLE, IMAGES, SEED, weights), directory)


def test_faces_are_the_renderer_s_and_features_end_with_their_circumstances(finished, weights):
    directory, rendered = finished
    assert sorted(path.name for path in directory.iterdir()) == sorted(FILES)
    assert rendered["num_images"] == PEOPLE * IMAGES and rendered["feature_dim"] == FEATURE_DIM + NUM_CIRCUMSTANCES
    faces, network = LmdbFaces(directory / "faces.lmdb"), load_identity_network(weights)
    assert faces.identity_ids.tolist() == np.repeat(range(PEOPLE), IMAGES).tolist()
    for row in (0, 7, 17):
        person, image = SEED * IDENTITIES_PER_SEED + row // IMAGES, row % IMAGES
        factors, shown = draw_factors(person, image), faces.image(row)
        assert np.abs(shown.astype(int) - render_face(person, image, factors)).mean() < 4  # but for the JPEG
        table = factor_table([person], [image])
        columns = {name: table[name].to_numpy() for name in table}
        expected = encode(columns, alignment_error(person, image, factors)[None], shown[None])[0]
        np.testing.assert_allclose(faces.features(row)[FEATURE_DIM:], expected, atol=1e-6)
        identity = outputs_over_faces(network, shown[None], batch_size=1)[0]
        np.testing.assert_allclose(faces.features(row)[:FEATURE_DIM], identity, atol=1e-4)


def test_vectors_to_draw_from_add_up_to_features(finished):
    directory, _ = finished
    faces = LmdbFaces(directory / "faces.lmdb")
    features = np.stack([faces.features(row) for row in range(len(faces))])
    centers, rows = split_features(features, faces.identity_ids)
    assert (centers[:, FEATURE_DIM:] == 0).all()
    for row in range(len(features)):
        person = features[faces.identity_ids == faces.identity_ids[row], :FEATURE_DIM].mean(axis=0)
        np.testing.assert_allclose(centers[faces.identity_ids[row], :FEATURE_DIM], person, atol=1e-5)
        scale = np.sqrt(IMAGES / (IMAGES - 1))  # a mean of three is nearer to them than to other faces
        np.testing.assert_allclose(rows[row, :FEATURE_DIM], scale * (features[row, :FEATURE_DIM] - person), atol=1e-5)
        assert np.array_equal(rows[row, FEATURE_DIM:], with_clear_view(features[row : row + 1, FEATURE_DIM:])[0])
    np.testing.assert_allclose(np.load(directory / "centers.npy"), centers, atol=1e-2)
    np.testing.assert_allclose(np.load(directory / "differences.npy"), rows, atol=1e-2)


def test_correlations_of_circumstances_are_those_of_the_renderer(finished):
    """Rows are stored whole: their correlations equal those of the encoded factors, but for blur and noise."""
    directory, _ = finished
    people = np.repeat(np.arange(PEOPLE) + SEED * IDENTITIES_PER_SEED, IMAGES)
    table = factor_table(people.tolist(), np.tile(range(IMAGES), PEOPLE).tolist())
    numbers = encode(
        {name: table[name].to_numpy() for name in table},
        np.zeros((len(table), 4)),
        np.zeros((len(table), 112, 112, 3), np.uint8),
    )
    unknown = ("align_", "t_", "b_", "blur", "noise")
    known = [column for column, name in enumerate(NAMES) if not name.startswith(unknown) and np.ptp(numbers[:, column])]
    stored = np.load(directory / "differences.npy")[:, FEATURE_DIM:].astype(float)
    expected = np.corrcoef(numbers[:, known], rowvar=False)
    np.testing.assert_allclose(np.corrcoef(stored[:, known], rowvar=False), expected, atol=5e-3)


@pytest.mark.usefixtures("in_one_process")
def test_a_killed_command_continues_and_ends_with_the_same_bytes(finished, weights, tmp_path, monkeypatch):
    real, calls = rendered_set.render_with_alignment, []

    def dies_in_the_second_part(table):
        calls.append(table["identity_seed"][0] % IDENTITIES_PER_SEED)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(table)

    monkeypatch.setattr(rendered_set, "render_with_alignment", dies_in_the_second_part)
    people = RenderedPeople(PEOPLE, IMAGES, SEED, weights)
    with pytest.raises(KeyboardInterrupt):
        render_training_set(people, tmp_path)
    assert not (tmp_path / "faces.lmdb").exists()
    render_training_set(people, tmp_path)
    assert calls == [0, 2, 2, 4]  # the first part is not rendered again
    assert [sha256(tmp_path / name) for name in FILES] == [sha256(finished[0] / name) for name in FILES]
    render_training_set(people, tmp_path)
    assert len(calls) == 4


def test_other_settings_are_refused(finished, weights, tmp_path):
    with pytest.raises(InputError, match=r"rendered.json was made with seed=7, this call has 8; delete the folder"):
        render_training_set(RenderedPeople(PEOPLE, IMAGES, 8, weights), finished[0])


@pytest.mark.parametrize(("num_people", "images"), [(1, 3), (6, 1)])
def test_too_few_people_or_images_are_refused(weights, tmp_path, num_people, images):
    with pytest.raises(InputError, match=f"{num_people} people with {images} images each are too few to learn from"):
        render_training_set(RenderedPeople(num_people, images, SEED, weights), tmp_path)


def test_seeds_of_the_protocols_and_missing_networks_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match="belong to the protocols"):
        render_training_set(RenderedPeople(PEOPLE, IMAGES, 2**40, weights), tmp_path)
    with pytest.raises(InputError, match=r"identity network .*none.safetensors does not exist"):
        render_training_set(RenderedPeople(PEOPLE, IMAGES, SEED, tmp_path / "none.safetensors"), tmp_path)


def test_alignment_error_is_what_jitter_adds():
    factors = replace(draw_factors(5, 1), landmark_jitter=0.8)
    assert alignment_error(5, 1, replace(factors, landmark_jitter=0.0)) == pytest.approx([0, 0, 0, 0], abs=1e-12)
    scale, rotation, right, down = alignment_error(5, 1, factors)
    surface = face._expressive_surface(draw_identity(5), factors)
    points = camera.project(surface, camera.rotation(factors.yaw_degrees, factors.pitch_degrees), factors.distance)
    landmarks = points[:2, head.template().landmarks]
    exact = camera.align(landmarks, replace(factors, landmark_jitter=0.0), np.random.default_rng(0))
    jittered = camera.align(landmarks, factors, np.random.default_rng([4, 5, 1]))
    for point in (3 + 4j, -20 + 10j):
        before, after = (a * point + b for a, b in (exact, jittered))
        moved = np.exp(scale + 1j * rotation) * (before - (56 + 56j)) + (56 + 56j) + right + 1j * down
        assert moved == pytest.approx(after, abs=1e-9)
