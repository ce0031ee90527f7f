"""Files that ``python -m generate fetch`` downloads by name: weights, identity vectors and published datasets.

They lie in the Hub repositories BooBooWu/Vec2Face and BooBooWu/Vec2Face_plus of the Vec2Face authors, each of which is
two: the published datasets are in the one of type dataset, everything else in the one of type model. HSFace100K and
200K are published as masks of HSFace300K. The Hub has the faces neither of HSFace300K nor of VFace300K.
``bench.runs.hub`` downloads the files, and demands the SHA-256 that catalogue.yaml states.
"""

from functools import partial

from bench.config.generator import Vec2FaceGenerator
from bench.names import look_up
from bench.runs.hub import HubFile

_weights = partial(HubFile, repo_id="BooBooWu/Vec2Face")
_faces = partial(HubFile, repo_id="BooBooWu/Vec2Face", repo_type="dataset")
_plus = partial(HubFile, repo_id="BooBooWu/Vec2Face_plus")
_plus_faces = partial(HubFile, repo_id="BooBooWu/Vec2Face_plus", repo_type="dataset")
_NETWORKS = ("hsface10k", "hsface20k", "hsface100k", "hsface200k", "hsface300k")
_PLUS_NETWORKS = ("vface10k", "vface20k", "vface100k", "vface300k")

CATALOGUE = {
    "generator": _weights("weights/vec2face_generator.pth"),
    "arcface-r100": _weights("weights/arcface-r100-glint360k.pth"),
    "magface-r100": _weights("weights/magface-r100-glint360k.pth"),
    "6drepnet": _weights("weights/6DRepNet_300W_LP_AFLW2000.pth"),
    "center-features": _weights("center_feature_examples.npy"),
    "plus-generator": _plus("vec2face_plus/main_model.pth"),
    "plus-pose": _plus("vec2face_plus/pose_model.pth"),
    **{f"fr-{dataset}": _weights(f"fr_weights/{dataset}.pth") for dataset in _NETWORKS},
    **{f"fr-{dataset}": _plus(f"fr_weights/{dataset}.pth") for dataset in _PLUS_NETWORKS},
    "fr-casia": _weights("fr_weights/casia-webface-r50.pth"),
    "fr-casia-hsface10k": _weights("fr_weights/casia-webface_hsface10k-r50.pth"),
    "faces-hsface10k": _faces("HSFaces/hsface10k.lmdb"),
    "faces-hsface20k": _faces("HSFaces/hsface20k.lmdb"),
    "faces-vface10k": _plus_faces("VFaces/vface10k.lmdb"),
    "faces-vface20k": _plus_faces("VFaces/vface20k.lmdb"),
    "faces-vface100k": _plus_faces("VFaces/vface100k.lmdb"),
    "mask-hsface100k": _faces("HSFaces/hsface100k_mask.npy"),
    "mask-hsface200k": _faces("HSFaces/hsface200k_mask.npy"),
    "faces-webface4m": _weights("lmdb_dataset/WebFace4M/WebFace4M.lmdb"),
    "mask-webface4m": _weights("lmdb_dataset/WebFace4M/50000_ids_1022444_ims.npy"),
    "faces-webface4m-landmarks": _plus("WebFace4M/WebFace4M_with_landmarks.lmdb"),
}
"""Name for ``python -m generate fetch`` -> file on the Hub."""


def files_of_generator(settings: Vec2FaceGenerator) -> list[HubFile]:
    """The files of the catalogue that a generator's settings name, in their order.

    Args:
        settings: Section ``generator`` of a benchmark.
    """
    by_name = {file.local_name: file for file in CATALOGUE.values()}
    return [by_name[name] for name in settings.weight_files if name in by_name]


def find_file(name: str) -> HubFile:
    """The file with this name in the catalogue.

    Raises:
        InputError: If the name is unknown; the message suggests the nearest name.
    """
    return look_up("file", name, CATALOGUE)
