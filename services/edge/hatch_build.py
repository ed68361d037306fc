"""Compiles the loop of the fan-out while the package is built; without a compiler the edge goes without."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCE, _LIBRARY = "fanwire_edge/sockets.c", "fanwire_edge/_sockets.so"


class Native(BuildHookInterface[BuilderConfig]):
    """Puts the compiled library beside its source, and into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; what fails leaves a package that works, and says so."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        compiler = os.environ.get("CC", "cc").split()
        command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(root / _LIBRARY), str(root / _SOURCE)]
        try:
            subprocess.run(command, check=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as problem:
            (root / _LIBRARY).unlink(missing_ok=True)
            self.app.display_warning(f"the fan-out goes without its compiled loop: {problem}")
            return
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["artifacts"].append(_LIBRARY)
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
