"""Files that ``python -m generate fetch`` downloads by name: weights, identity vectors and published datasets.

They lie in the Hub repositories BooBooWu/Vec2Face and BooBooWu/Vec2Face_plus of the Vec2Face authors, each of which is
two: the published datasets are in the one of type dataset, everything else in the one of type model. HSFace100K and
200K are published as masks of HSFace300K alone, whose faces the Hub does not have, as little as those of VFace300K.
``bench.runs.hub`` downloads the files.
"""

from functools import partial

from bench.config.generator import Vec2FaceGenerator
from bench.names import look_up
from bench.runs.hub import HubFile

_weights = partial(HubFile, repo_id="BooBooWu/Vec2Face")
_faces = partial(HubFile, repo_id="BooBooWu/Vec2Face", repo_type="dataset")
_plus = partial(HubFile, repo_id="BooBooWu/Vec2Face_plus")
_plus_faces = partial(HubFile, repo_id="BooBooWu/Vec2Face_plus", repo_type="dataset")
_NETWORKS = {
    "hsface10k": None,
    "hsface20k": None,
    "hsface100k": "bf8c47f8534794a710e9a1c268809a86a33cbf219a810f64df648a6fe2b5109f",
    "hsface200k": "c5d31554c03c2cab8047b10fce55ef5ba5d0bb933f3e51fd4ff2021dd34088c4",
    "hsface300k": "3c66ec70848cdc9a5d75a9fc4476cecc5789ce295c875f36a28300b742ddead7",
    "casia-webface-r50": None,
    "casia-webface_hsface10k-r50": None,
}
"""Recognition networks of Vec2Face's authors -> SHA-256, where it was seen on the Hub."""
_PLUS_NETWORKS = {
    "vface10k": "b4083a8611b970a203e1309f8e45fd84b1c7d6e3822b57297e6f46e2c6272c18",
    "vface20k": None,
    "vface100k": None,
    "vface300k": None,
}
_MAIN_SHA256 = "fdd7e6d3969189d020f4827b4d1f7bc307b5c3bfee6c499a4bf15f214ec3b885"
_POSE_SHA256 = "ede5ceab24da0e010a1358cac528617ab64b14fdcc023f6335221ed1879d2b7c"

CATALOGUE = {
    "generator": _weights("weights/vec2face_generator.pth"),
    "arcface-r100": _weights("weights/arcface-r100-glint360k.pth"),
    "magface-r100": _weights("weights/magface-r100-glint360k.pth"),
    "6drepnet": _weights("weights/6DRepNet_300W_LP_AFLW2000.pth"),
    "center-features": _weights("center_feature_examples.npy"),
    "plus-generator": _plus("vec2face_plus/main_model.pth", sha256=_MAIN_SHA256),
    "plus-pose": _plus("vec2face_plus/pose_model.pth", sha256=_POSE_SHA256),
    **{f"fr-{name}": _weights(f"fr_weights/{name}.pth", sha256=digest) for name, digest in _NETWORKS.items()},
    **{f"fr-{name}": _plus(f"fr_weights/{name}.pth", sha256=digest) for name, digest in _PLUS_NETWORKS.items()},
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
