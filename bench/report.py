#!/usr/bin/env python3
"""Makes of a result of suite.py its tables and its picture.

  bench/report.py bench/results/programs.json                          (prints the tables)
  bench/report.py bench/results/programs.json --svg docs/programs.svg --document docs/performance.md

Every value is a rate, more is better. "Slower than native" is native / side; "Yado / TCG" is how many times faster Yado is.
"""
import argparse
import json
import math
import pathlib
import statistics

import picture

# group: what it is, the bar over TCG, the aim against native (how many times slower)
BARS = {
    "integer": ("integer", 2, 1.5),
    "float": ("floating point", 8, 1.5),
    "x87": ("x87 and MMX", None, 1.5),
    "linpack": ("LINPACK", 8, 1.5),
    "vector": ("AVX2", None, 1.5),
    "crypto": ("OpenSSL", 15, 1.5),
    "zstd": ("zstd", 3, 1.5),
    "gzip": ("gzip", None, 1.5),
    "memory": ("memory", 3, 1.5),
    "system": ("system", 2, 3),
    "parallel": ("parallel, 2 vCPUs", None, None),
}


def median(row, side):
    values = row["values"].get(side)
    return statistics.median(values) if values and not row["wrong"].get(side) else None


def best_tcg(row):
    """TCG's median and which CPU model gave it: the better one counts."""
    medians = {side: median(row, side) for side in ("tcg", "tcg-erms")}
    known = {side: value for side, value in medians.items() if value}
    if not known:
        return None, ""
    side = max(known, key=known.get)
    return known[side], " (-erms)" if side == "tcg-erms" else ""


def ratio(a, b):
    return a / b if a and b else None


def text(value, digits=3, mark=""):
    if value is None:
        return ""
    shown = f"{value:.{digits}g}"
    return (f"{value:.0f}" if "e" in shown else shown) + mark


def spread(row):
    """The widest of the sides' spreads, as a share of the median."""
    widths = {side: (max(v) - min(v)) / statistics.median(v) * 100 for side, v in row["values"].items() if len(v) > 1}
    return ", ".join(f"{side} {width:.0f} %" for side, width in widths.items())


def ratios(row):
    native, yado, (tcg, _) = median(row, "native"), median(row, "yado"), best_tcg(row)
    return {"tcg": ratio(native, tcg), "yado": ratio(native, yado), "over": ratio(yado, tcg)}


def geometric(values):
    known = [value for value in values if value]
    return math.exp(sum(map(math.log, known)) / len(known)) if known else None


def program_table(rows):
    lines = ["| program | unit | native | TCG | Yado | Yado / TCG | TCG slower than native | Yado slower than native | spread |",
             "|---|---|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        tcg, which = best_tcg(row)
        r = ratios(row)
        cells = [name, row["unit"], text(median(row, "native")), text(tcg, mark=which), text(median(row, "yado")), text(r["over"]), text(r["tcg"]),
                 text(r["yado"]), spread(row)]
        lines.append("| " + " | ".join(cells) + " |")
        lines += [f"| {name} | WRONG | {side}: {messages[0]} |" + " |" * 6 for side, messages in row["wrong"].items()]
    return lines


def group_table(rows):
    lines = ["| group, geometric means | Yado / TCG | bar | Yado slower than native | aim | TCG slower than native |", "|---|---|---|---|---|---|"]
    for group, (title, bar, aim) in BARS.items():
        each = [ratios(row) for row in rows.values() if row["group"] == group]
        if each:
            means = {key: geometric(r[key] for r in each) for key in ("over", "yado", "tcg")}
            lines.append(f"| {title} | {text(means['over'])} | {text(bar)} | {text(means['yado'])} | {text(aim)} | {text(means['tcg'])} |")
    return lines


def parallel_lines(rows):
    """What two threads do over one, on two vCPUs."""
    one, two = rows.get("threads1"), rows.get("threads2")
    if not one or not two:
        return []
    gains = {side: ratio(median(two, side), median(one, side)) for side in ("native", "tcg", "yado")}
    return ["", "Two threads over one: " + ", ".join(f"{side} {text(gain)}" for side, gain in gains.items() if gain) + " (bar for Yado: 1.8)"]


def tables(result):
    rows = result["rows"]
    head = f"{result['date']}, {result['commit']}, {result['host']}, medians of {result['runs']}"
    if result["per_cpu_second"]:
        head += ", rates per second of CPU"
    if result["yado_args"]:
        head += f", yado run {result['yado_args']}"
    return "\n".join([head, "", *program_table(rows), "", *group_table(rows), *parallel_lines(rows), *linpack_table(rows)])


def linpack_table(rows):
    """LINPACK in the shape of the Xen paper's Table 4: host, guest, ratio."""
    lines = ["", "| LINPACK, GFLOPS | host | guest (TCG) | ratio | guest (Yado) | ratio |", "|---|---|---|---|---|---|"]
    for name, order in (("linpack", 1000), ("linpack200", 200)):
        if name in rows:
            native, tcg, yado = (median(rows[name], side) for side in ("native", "tcg", "yado"))
            lines.append(f"| N = {order} | {text(native)} | {text(tcg)} | {text(ratio(tcg, native))} | {text(yado)} | {text(ratio(yado, native))} |")
    return lines if len(lines) > 3 else []


def groups(rows):
    """What picture.draw takes: the groups with the programs that have a ratio."""
    for group, (title, _, aim) in BARS.items():
        each = [(name, ratios(row)) for name, row in rows.items() if row["group"] == group]
        each = [(name, r) for name, r in each if r["tcg"] or r["yado"]]
        if each:
            yield title, aim, each


def into_document(path, tables_text):
    """Puts the tables between the document's two marks."""
    begin, end = "<!-- programs: begin -->", "<!-- programs: end -->"
    document = path.read_text()
    if begin not in document or end not in document:
        raise SystemExit(f"report: {path} has no marks {begin} and {end}")
    head, tail = document.split(begin)[0], document.split(end)[1]
    path.write_text(f"{head}{begin}\n{tables_text}\n{end}{tail}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=pathlib.Path)
    parser.add_argument("--svg", type=pathlib.Path, help="writes the picture there")
    parser.add_argument("--document", type=pathlib.Path, help="puts the tables between the marks of this file")
    args = parser.parse_args()
    result = json.loads(args.result.read_text())
    if args.svg:
        args.svg.write_text(picture.draw(list(groups(result["rows"]))))
    if args.document:
        into_document(args.document, tables(result))
    if not args.svg and not args.document:
        print(tables(result))


if __name__ == "__main__":
    main()
