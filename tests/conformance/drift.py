"""`python -m tests.conformance.drift [SCHEMA …]`: list the fields of servers that `wire` lacks.

Asked are the chunk models of the installed openai, ray, sglang and vllm, and the JSON Schemas of
chunk models that are given as files. What `wire` keeps unparsed is not looked into. Exits with 1
if a field is missing, or a model is not where it is known to be; with 2 for a usage error.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .servers import PACKAGES, Schema, installed_schema, places, read


def missing(schema: Schema) -> list[str]:
    """List the fields that `wire` has not: the Struct, and the place below the chunk."""
    lacking = (f"{p.struct.__name__}: {p}" for p in places(schema) if not p.known)
    return list(dict.fromkeys(lacking))


def _report(name: str, schema: Schema) -> bool:
    """Print what is missing from one schema, and return whether anything is."""
    found = missing(schema)
    fields = len(set(map(str, places(schema))))
    print(f"{name}: {len(found) or 'none'} of {fields} fields missing from wire")
    for line in found:
        print(f"  {line}")
    return bool(found)


def _report_installed(package: str) -> bool:
    try:
        schema = installed_schema(package)
    except ImportError as error:
        print(f"{package} {_version(package)}: its chunk model cannot be imported: {error}")
        return True
    if schema is None:
        print(f"{package}: not installed")
        return False
    return _report(f"{package} {_version(package)}", schema)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.drift", description=__doc__)
    parser.add_argument("schemas", nargs="*", type=Path, metavar="SCHEMA")
    files = {}
    for path in parser.parse_args().schemas:
        try:
            files[str(path)] = read(path)
        except (OSError, ValueError, RecursionError) as error:
            parser.error(f"{path}: {error}")
    drifted = [_report_installed(package) for package in PACKAGES]
    drifted += [_report(name, schema) for name, schema in files.items()]
    return 1 if any(drifted) else 0


if __name__ == "__main__":
    sys.exit(main())
