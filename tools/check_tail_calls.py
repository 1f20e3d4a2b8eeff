#!/usr/bin/env python3
"""Checks that the interpreter's handlers end in tail calls: check_tail_calls.py LIBRARY.

A handler goes on with `return next(c, i)`, an indirect jump through the next instruction's first field, 32 bytes on
(cpu_interp/insn.h). Where the compiler makes a call of it (a local whose address escaped still lives), blocks that chain to
each other grow the stack without end.
"""
import re
import subprocess
import sys

NEXT = re.compile(r"\bcall\s+\*0x20\(%(?!rax)\w+\)")  # through %rax it is a virtual call


def offenders(library: str) -> list[str]:
    listing = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", library], check=True, capture_output=True, text=True).stdout
    found, function = [], ""
    for line in listing.splitlines():
        if line.endswith(">:"):
            function = line.split("<", 1)[1][:-2]
        elif NEXT.search(line) and "cpu_interp::Insn const*" in function:
            found.append(function)
    return sorted(set(found))


if __name__ == "__main__":
    bad = offenders(sys.argv[1])
    print("\n".join(f"calls the next handler instead of jumping to it: {f}" for f in bad) if bad else "tail calls: ok")
    sys.exit(1 if bad else 0)
