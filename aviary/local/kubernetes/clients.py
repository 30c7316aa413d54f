"""The programs by which people reach a cluster: helm and kubectl.

Built from their published Go modules at first use, as the cluster's own are (`programs`), with the
same versions of what both need, so that most of it is compiled already.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aviary.local import debian, golang
from aviary.local.kubernetes.programs import VERSION, KubernetesError, go, linked

SOURCE: Final = Path(__file__).parent / "build_clients"
_RECIPE: Final = 1


@dataclass(frozen=True)
class ClientTools:
    """What was built."""

    root: Path

    @property
    def helm(self) -> Path:
        """Helm 4."""
        return self.root / "bin/helm"

    @property
    def kubectl(self) -> Path:
        """kubectl, of the cluster's own version; kustomize is in it."""
        return self.root / "bin/kubectl"

    def is_there(self) -> bool:
        """Whether both were built."""
        return (self.root / "stamp.json").exists()


async def install_clients(cache: Path, say: Callable[[str], None]) -> ClientTools:
    """Build the programs below `cache` unless that is done already; about 130 MB.

    Args:
        cache: a folder that may be kept between runs; two processes may share it.
        say: told what takes minutes, before it begins.

    Raises:
        KubernetesError: Go is missing, or failed.
    """
    made = _clients(cache)
    if made.is_there():
        return made
    (made.root / "bin").mkdir(parents=True, exist_ok=True)
    with await asyncio.to_thread(debian.locked, made.root.parent / "lock"):
        if made.is_there():
            return made
        if not golang.is_there():
            raise KubernetesError("go is not there, which builds helm and kubectl (golang.org)")
        say("building helm and kubectl from source, once: about a minute of two free cores")
        flags = ("-trimpath", "-mod=readonly", "-ldflags", linked(), "-o", f"{made.root}/bin/")
        programs = ("helm.sh/helm/v4/cmd/helm", "k8s.io/kubernetes/cmd/kubectl")
        await go("build", *flags, *programs, source=SOURCE)
        (made.root / "stamp.json").write_text(json.dumps({"kubernetes": VERSION}))
        return made


def _digest() -> str:
    files = (SOURCE / "go.mod", SOURCE / "go.sum")
    return golang.digest(files, _RECIPE)


def _clients(cache: Path) -> ClientTools:
    return ClientTools(cache.absolute() / "kubernetes" / f"clients-{_digest()}")
