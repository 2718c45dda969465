"""Print constraints that hold fastchunk's requirements at the lowest versions that it allows.

A floor is a requirement's `>=` in pyproject.toml. Everything else is as in tests/constraints.txt,
so that the same versions are tested every time.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def floors() -> dict[str, Requirement]:
    """Turn each `>=` into a `==`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = [project["dependencies"], *project["optional-dependencies"].values()]
    found: dict[str, Requirement] = {}
    for requirement in (Requirement(line) for lines in listed for line in lines):
        for bound in requirement.specifier:
            if bound.operator == ">=":
                lowest = Requirement(f"{requirement.name}=={bound.version}")
                if found.setdefault(requirement.name, lowest) != lowest:
                    raise SystemExit(f"{requirement.name} has two floors in pyproject.toml")
    return found


def main() -> None:
    """Print the floors, and of the committed constraints those that have none."""
    lowest = floors()
    print(*lowest.values(), sep="\n")
    for line in (ROOT / "tests/constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#") and Requirement(line).name not in lowest:
            print(line)


if __name__ == "__main__":
    main()
