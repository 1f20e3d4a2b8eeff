#!/usr/bin/env python3
"""Checks the module layering that src/*/CMakeLists.txt declares (RANK, DEPS) against the includes in the sources.

An include of a module that is not in DEPS, of a module of the same or a higher rank, or a cycle, is an error.
"""
import pathlib
import re
import sys


def declared(src: pathlib.Path) -> dict[str, tuple[int, list[str]]]:
    modules = {}
    for cmake in sorted(src.glob("*/CMakeLists.txt")):
        for name, rank, rest in re.findall(r"yado_module\(\s*(\w+)\s+RANK\s+(\d+)([^)]*)\)", cmake.read_text()):
            deps = re.search(r"DEPS\s+([\w\s]*?)(?:LIBS|$)", rest.strip())
            modules[name] = (int(rank), deps.group(1).split() if deps else [])
    return modules


def problems(root: pathlib.Path) -> list[str]:
    src = root / "src"
    modules = declared(src)
    found = [] if modules else [f"{src}: no modules declared"]
    for name, (rank, deps) in modules.items():
        for dep in deps:
            if dep not in modules:
                found.append(f"src/{name}/CMakeLists.txt: DEPS names {dep}, which is no module")
            elif modules[dep][0] >= rank:
                found.append(f"src/{name}/CMakeLists.txt: {name} (rank {rank}) may not depend on {dep} (rank {modules[dep][0]})")
        for path in sorted((src / name).rglob("*")):
            if path.suffix not in (".h", ".cpp"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                m = re.match(r'\s*#\s*include\s+"(\w+)/', line)
                if m and m.group(1) in modules and m.group(1) != name and m.group(1) not in deps:
                    found.append(f"{path.relative_to(root)}:{number}: {name} includes {m.group(1)}, which is not in its DEPS")
    return found


if __name__ == "__main__":
    errors = problems(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(errors) if errors else "layers: ok")
    sys.exit(1 if errors else 0)
