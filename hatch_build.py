"""Compile the scanner where that is possible; where it is not, the package is pure Python.

In:  `fastchunk/_scan.pyx`, a C compiler, Python's headers; `CC`, `CFLAGS`, `LDFLAGS` are honoured.
Out: `_scan` as an extension module: in a wheel, or beside its source for an editable install. With
     `FASTCHUNK_BUILD=require` a build that fails is an error.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("fastchunk")  # build hooks run at the root of the tree


class ScannerHook(BuildHookInterface[Any]):
    """Builds `fastchunk._scan` for a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the extension and say where it goes."""
        wanted = os.environ.get("FASTCHUNK_BUILD", "")
        if wanted not in ("", "require"):
            self.app.abort(f"FASTCHUNK_BUILD is 'require' or not set, not {wanted!r}")
        is_editable = version == "editable"
        if is_editable:
            # Should the build fail, a module of an older source would be imported.
            for suffix in EXTENSION_SUFFIXES:
                (PACKAGE / f"_scan{suffix}").unlink(missing_ok=True)
        # The wheel is written after this returns, so the directory lives as long as the hook.
        self.temporary = TemporaryDirectory(prefix="fastchunk-build-")
        built, reason = build_extension(self.temporary.name)
        if built is None:
            if wanted == "require":
                self.app.abort(f"fastchunk's compiled scanner cannot be built: {reason}")
            self.app.display_warning(f"fastchunk goes without its compiled scanner: {reason}")
            return
        if is_editable:
            shutil.copy(built, PACKAGE)
        else:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"][str(built)] = f"{PACKAGE}/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what the build left."""
        self.temporary.cleanup()


def build_extension(directory: str) -> tuple[Path | None, str]:
    """Compile the scanner in a directory: where it is, or None and why it cannot be compiled."""
    try:
        # Without build isolation these may be missing.
        from Cython.Build import cythonize  # noqa: PLC0415
        from Cython.Compiler.Errors import CompileError  # noqa: PLC0415
        from setuptools import Distribution, Extension  # noqa: PLC0415
        from setuptools.command.build_ext import build_ext  # noqa: PLC0415
        from setuptools.errors import BaseError, CCompilerError  # noqa: PLC0415
    except ImportError as error:
        return None, str(error)

    # MSVC takes other flags, and setuptools gives it good ones. These go behind the flags that
    # Python was built with, and CFLAGS, a second time, goes behind these.
    flags = ["-O3", "-g0", *shlex.split(os.environ.get("CFLAGS", ""))] if os.name != "nt" else []
    source = str(PACKAGE / "_scan.pyx")
    extension = Extension("fastchunk._scan", [source], extra_compile_args=flags)
    try:
        modules = cythonize([extension], build_dir=directory, quiet=True)
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_lib, command.build_temp = directory, directory
        command.ensure_finalized()
        command.run()
    except (BaseError, CCompilerError, CompileError, OSError) as error:
        # setuptools shows a command with all of its arguments; its name and how it ended will do.
        message = re.sub(r"'\['(.*?)'.*\]'", r"'\1'", str(error))
        return None, " ".join(message.split())
    return Path(command.get_ext_fullpath("fastchunk._scan")), ""
