#!/usr/bin/env python3
"""Interpreter handlers must end in tail calls: a handler that calls the next one lets a guest's loop grow the host's stack.

Usage: check_tail_calls.py libyado_cpu_interp.a
Disassembles the library. `next` and `enter` jump through Insn::run of the following slot or of a block's first, 0x20 or 0x40 behind a register; only the
run loop may make that jump as a call, and nobody may call a function that makes it.
"""
import re
import subprocess
import sys

RUN_LOOP = re.compile(r"run_blocks|run_single|run_until_unusual|catching")
HANDLER = re.compile(r"yado::cpu_interp::Core&, yado::cpu_interp::Insn const\*")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
DISPATCH = re.compile(r"\t(call|jmp) +\*0x([24]0)\(%r")
FIRST_INSN = re.compile(r"\tlea +0x40\(%r..\),%rsi")  # a virtual call may use offset 0x40 too, but has no Insn to pass
CALL = re.compile(r"\tcall +[0-9a-f]+ <(.*?)(?:\+0x[0-9a-f]+)?>|R_X86_64_PL[TC]32\t(.*)-0x4")


def functions(library):
    text = subprocess.run(["objdump", "-drC", "--no-show-raw-insn", library], check=True, capture_output=True, text=True)
    name, lines = None, []
    for line in text.stdout.splitlines():
        start = FUNCTION.match(line)
        if start:
            if name:
                yield name, lines
            name, lines = start.group(1), []
        elif name:
            lines.append(line)
    if name:
        yield name, lines


def main():
    dispatchers, calls, bad = set(), [], []
    for name, lines in functions(sys.argv[1]):
        if RUN_LOOP.search(name) or not HANDLER.search(name):
            continue
        previous_is_call = False
        for at, line in enumerate(lines):
            dispatch = DISPATCH.search(line)
            if dispatch and dispatch.group(2) == "40" and not any(FIRST_INSN.search(l) for l in lines[max(0, at - 12):at]):
                dispatch = None
            if dispatch:
                dispatchers.add(name)
                if dispatch.group(1) == "call":
                    bad.append(f"{name}: calls the next handler instead of jumping to it")
            call = CALL.search(line)
            if call and call.group(1):
                calls.append((name, call.group(1)))
            if call and call.group(2) and previous_is_call:
                calls.append((name, call.group(2)))
            previous_is_call = "\tcall " in line
    bad += [f"{caller}: calls {callee}, which goes on to the next handler" for caller, callee in calls
            if callee in dispatchers and callee != caller]
    for line in sorted(set(bad)):
        print(line)
    if not dispatchers:
        print("no handlers found: is this the interpreter's optimized library?")
    return 1 if bad or not dispatchers else 0


if __name__ == "__main__":
    sys.exit(main())
