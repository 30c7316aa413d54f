"""The programs of a small Kubernetes, built from their published Go modules at first use.

`build/go.mod` pins them, `build/go.sum` has the checksums of every module. Go itself has to be
there; the first build takes minutes, and the ones after it what has changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from aviary.local import debian, golang
from aviary.local.golang import GoError

SOURCE: Final = Path(__file__).parent / "build"
VERSION: Final = "1.36.3"
"""Of Kubernetes; `build/go.mod` has the same."""
MINUTES: Final = 6
"""What a first build takes on two free cores."""
_ETCD: Final = "go.etcd.io/etcd/server/v3"
_ISTIO: Final = "istio.io/istio"
_GATEWAY: Final = "sigs.k8s.io/gateway-api"
_RECIPE: Final = 1


class KubernetesError(RuntimeError):
    """There can be no cluster here; the text says why."""


@dataclass(frozen=True)
class KubernetesTools:
    """What was built."""

    root: Path

    @property
    def api_server(self) -> Path:
        """kube-apiserver."""
        return self.root / "bin/kube-apiserver"

    @property
    def etcd(self) -> Path:
        """Where the API server keeps its objects."""
        return self.root / "bin/etcd"

    @property
    def controllers(self) -> Path:
        """The controllers of Deployments, ReplicaSets, EndpointSlices, namespaces and garbage."""
        return self.root / "bin/controllers"

    @property
    def istiod(self) -> Path:
        """Istio's pilot-discovery."""
        return self.root / "bin/pilot-discovery"

    def definitions(self, name: str) -> list[dict[str, Any]]:
        """The CRDs of `gateway-api` (its standard channel), or of `istio`."""
        found: list[dict[str, Any]] = json.loads((self.root / f"crds/{name}.json").read_text())
        return found

    def is_there(self) -> bool:
        """Whether all of it was built."""
        return (self.root / "stamp.json").exists()


def tools(cache: Path) -> KubernetesTools:
    """Where this source's programs are, or would be."""
    return KubernetesTools(cache.absolute() / "kubernetes" / _digest())


def to_build(cache: Path) -> int:
    """The minutes that `install` would take; 0 where it is done, or can't be."""
    return 0 if tools(cache).is_there() or not golang.is_there() else MINUTES


async def install(cache: Path, say: Callable[[str], None]) -> KubernetesTools:
    """Build the programs below `cache` unless that is done already; about 400 MB.

    Args:
        cache: a folder that may be kept between runs; two processes may share it.
        say: told what takes minutes, before it begins.

    Raises:
        KubernetesError: Go is missing, or failed.
    """
    made = tools(cache)
    if made.is_there():
        return made
    made.root.mkdir(parents=True, exist_ok=True)
    with await asyncio.to_thread(debian.locked, made.root.parent / "lock"):
        if made.is_there():
            return made
        if not golang.is_there():
            raise KubernetesError("go is not there, which builds Kubernetes (golang.org, 1.26)")
        say(
            f"building Kubernetes {VERSION}, etcd and istiod from source, once: "
            f"about {MINUTES} minutes of two free cores, and 2.5 GB of modules"
        )
        await _build(made.root)
        await _definitions(made.root)
        (made.root / "stamp.json").write_text(json.dumps({"kubernetes": VERSION}))
        return made


async def _build(root: Path) -> None:
    flags = ("-trimpath", "-mod=readonly", "-ldflags", linked())
    into = f"{root}/bin/"
    (root / "bin").mkdir(exist_ok=True)
    # The longest first: a build that is cut short has done what the others need as well.
    await go("build", *flags, "-o", into, "k8s.io/kubernetes/cmd/kube-apiserver", "./controllers")
    await go("build", *flags, "-o", f"{into}etcd", _ETCD)
    await go("build", *flags, "-o", into, "istio.io/istio/pilot/cmd/pilot-discovery")


def linked() -> str:
    """What the linker is told.

    Without its version in the program, clients can't parse what the server says of itself.
    """
    major, minor, _ = VERSION.split(".")
    said = {
        "gitVersion": f"v{VERSION}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "published",
    }
    place = "k8s.io/component-base/version"
    return " ".join(("-s -w", *(f"-X {place}.{name}={value}" for name, value in said.items())))


async def _definitions(root: Path) -> None:
    """The CRDs, as JSON: their YAML takes seconds to read."""
    (root / "crds").mkdir(exist_ok=True)
    gateway, istio = await _folder(_GATEWAY), await _folder(_ISTIO)
    files = {
        "gateway-api": sorted((gateway / "config/crd/standard").glob("*.yaml")),
        "istio": [istio / "manifests/charts/base/files/crd-all.gen.yaml"],
    }
    for name, every in files.items():
        found = [
            one
            for file in every
            for one in await asyncio.to_thread(_documents, file)
            if one.get("kind") == "CustomResourceDefinition"
        ]
        if not found:
            raise KubernetesError(f"{name}: expected CRDs in its module")
        (root / f"crds/{name}.json").write_text(json.dumps(found))


def _documents(file: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load_all(file.read_text(), Loader=loader)
    return [one for one in found if isinstance(one, dict)]


async def _folder(module: str) -> Path:
    return Path((await go("list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)).strip())


async def go(*words: str, source: Path = SOURCE) -> str:
    """Run `go` where its modules are pinned; what it printed.

    Raises:
        KubernetesError: it failed.
    """
    try:
        return await golang.go(source, *words)
    except GoError as error:
        raise KubernetesError(str(error)) from error


def _digest() -> str:
    files = (SOURCE / "go.mod", SOURCE / "go.sum", SOURCE / "controllers/main.go")
    return golang.digest(files, _RECIPE)
