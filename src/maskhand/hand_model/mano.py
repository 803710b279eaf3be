"""The user's own MANO file (MANO_RIGHT.pkl from mano.is.tue.mpg.de; its licence forbids shipping it).

The official file is a Python 2 pickle with chumpy and scipy.sparse objects. It is read here without either package's
code
being run: an unpickler that knows only the handful of classes needed, rebuilds their data, and refuses everything else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from maskhand.errors import AssetError
from maskhand.hand_model.layer import HandModelData
from maskhand.hand_model.skeleton import MANO_TIP_VERTICES


class _Shell:
    """Stands for a chumpy or scipy.sparse object; only its state is kept."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected text encoding {encoding!r}")
    return text.encode(encoding)


_NUMPY = {"ndarray": np.ndarray, "dtype": np.dtype}
_ARRAY_MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray"}
_SHELLS = {
    ("chumpy.ch", "Ch"),
    ("chumpy.reordering", "Select"),
    ("scipy.sparse.csc", "csc_matrix"),
    ("scipy.sparse._csc", "csc_matrix"),
    ("scipy.sparse.csr", "csr_matrix"),
    ("scipy.sparse._csr", "csr_matrix"),
}


class RestrictedUnpickler(pickle.Unpickler):
    """Builds numpy arrays and empty shells, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAY_MODULES:
            if name == "_reconstruct":
                return np.empty((0,)).__reduce__()[0]
            if name == "scalar":
                return np.float64(0).__reduce__()[0]
            if name in _NUMPY:
                return _NUMPY[name]
        if (module, name) in _SHELLS:
            return _Shell
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) == ("copy_reg", "_reconstructor") or (module, name) == ("copyreg", "_reconstructor"):
            return _reconstruct_shell
        if module in ("__builtin__", "builtins") and name == "object":
            return object
        raise pickle.UnpicklingError(f"refused to build {module}.{name}")


def _reconstruct_shell(cls: type, base: type, state: Any) -> Any:
    if cls is not _Shell:
        raise pickle.UnpicklingError(f"refused to rebuild {cls!r}")
    return _Shell()


def load_mano(path: str | Path) -> HandModelData:
    """The official MANO_RIGHT.pkl as hand model data: 778 vertices, 10 shapes, 135 pose correctives, flat rest pose.

    Raises:
        AssetError: the file is missing, is not MANO's, is the left hand's, or holds anything beyond plain arrays.

    """
    path = Path(path)
    if "LEFT" in path.name.upper():
        raise AssetError(f"{path} is MANO's left hand; give MANO_RIGHT.pkl: left hands are mirrored right ones here")
    try:
        with path.open("rb") as file:
            content = RestrictedUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise AssetError(
            f"{path} does not exist; MANO_RIGHT.pkl comes from https://mano.is.tue.mpg.de after accepting its licence"
        ) from None
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise AssetError(f"{path} cannot be read as MANO_RIGHT.pkl: {error}") from error
    needed = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise AssetError(f"{path} is not a MANO file: it lacks {', '.join(missing)}")
    return HandModelData(
        name="mano",
        template=_array(content["v_template"]),
        shape_basis=_array(content["shapedirs"])[..., :10],
        joint_regressor=_array(content["J_regressor"]),
        skin_weights=_array(content["weights"]),
        faces=_array(content["f"]).astype(np.int64),
        tips=np.array(MANO_TIP_VERTICES),
        pose_basis=_array(content["posedirs"]),
    )


def _array(value: Any) -> np.ndarray:
    """The numbers inside an array, a chumpy object or a sparse matrix."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _Shell):
        state = value.state
        if "indptr" in state:
            return _dense(state)
        if "idxs" in state and "a" in state:  # chumpy's Select: entries of another array
            chosen = _array(state["a"]).ravel()[np.asarray(state["idxs"])]
            return chosen.reshape(state.get("preferred_shape", chosen.shape))
        if "x" in state:
            return _array(state["x"])
    raise AssetError(f"MANO file holds a {type(value).__name__} where an array was expected")


def _dense(state: dict[str, Any]) -> np.ndarray:
    """A scipy sparse matrix (compressed columns if there is one pointer per column) as a dense one."""
    shape = state.get("_shape", state.get("shape"))
    rows, columns = (int(n) for n in shape)  # type: ignore[union-attr]
    pointers, indices, data = (np.asarray(state[key]) for key in ("indptr", "indices", "data"))
    dense = np.zeros((rows, columns))
    by_column = len(pointers) == columns + 1
    major = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
    dense[(indices, major) if by_column else (major, indices)] = data
    return dense
