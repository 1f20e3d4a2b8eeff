"""The SVG of a result: for every program two bars, how many times slower than native TCG and Yado are, on a logarithmic scale."""
import math

LEFT, WIDTH, RIGHT, TOP = 110, 460, 70, 66
ROW, BAR, GAP, HEAD = 30, 11, 10, 22

STYLE = """
    .panel { fill: #ffffff; stroke: #8a94a6; }
    .grid { stroke: #d5dbe6; stroke-width: 1; }
    .native { stroke: #16202f; stroke-width: 1.5; }
    .aim { stroke: #16202f; stroke-width: 1.5; stroke-dasharray: 3 2; }
    .tcg { fill: #c3894f; }
    .yado { fill: #3f7d52; }
    .head { font: 600 13px sans-serif; fill: #16202f; }
    .title { font: 600 14px sans-serif; fill: #16202f; }
    .name { font: 12px sans-serif; fill: #16202f; text-anchor: end; }
    .value { font: 11px sans-serif; fill: #435066; }
    .tick { font: 11px sans-serif; fill: #435066; text-anchor: middle; }
    @media (prefers-color-scheme: dark) {
      .panel { fill: #12171f; stroke: #55617a; }
      .grid { stroke: #2b3546; }
      .native, .aim { stroke: #eef2f8; }
      .tcg { fill: #d29a58; }
      .yado { fill: #6cb384; }
      .head, .title, .name { fill: #eef2f8; }
      .value, .tick { fill: #b4c0d4; }
    }"""


class Scale:
    """From a ratio to an x: logarithmic, from 0.5 to a round number beyond the largest."""

    def __init__(self, largest):
        self.low = 0.5
        self.ticks = [t * 10**p for p in range(0, 5) for t in (1, 2, 5)]
        self.high = next((t for t in self.ticks if t >= largest), self.ticks[-1])
        self.ticks = [t for t in self.ticks if t <= self.high]

    def x(self, value):
        inside = min(max(value, self.low), self.high)
        return LEFT + WIDTH * math.log(inside / self.low) / math.log(self.high / self.low)


def bar(scale, kind, y, value, clear):
    """A bar from 1, native's speed: to the right if slower, to the left if faster; its figure stands off the x to be kept clear."""
    ends = sorted((scale.x(1), scale.x(value)))
    beside = clear if clear and ends[1] <= clear < ends[1] + 40 else ends[1]
    shown = f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return (f'<rect class="{kind}" x="{ends[0]:.1f}" y="{y}" width="{max(1, ends[1] - ends[0]):.1f}" height="{BAR}"/>'
            f'<text class="value" x="{beside + 5:.1f}" y="{y + BAR - 2}">{shown}</text>')


def program(scale, y, name, slower, aim):
    parts = [f'<text class="name" x="{LEFT - 8}" y="{y + BAR + 4}">{name}</text>']
    if slower["tcg"]:
        parts.append(bar(scale, "tcg", y, slower["tcg"], None))
    if slower["yado"]:
        x = scale.x(aim) if aim else None
        parts.append(bar(scale, "yado", y + BAR + 1, slower["yado"], x))
        if aim:
            parts.append(f'<line class="aim" x1="{x:.1f}" x2="{x:.1f}" y1="{y + BAR - 1}" y2="{y + 2 * BAR + 3}"/>')
    return parts


def axis(scale, bottom):
    parts = []
    for tick in scale.ticks:
        x = scale.x(tick)
        parts.append(f'<line class="{"native" if tick == 1 else "grid"}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{TOP - 6}">{"native" if tick == 1 else tick}</text>')
    return parts


def legend():
    return [f'<text class="title" x="16" y="26">Times slower than native</text>',
            '<rect class="tcg" x="260" y="16" width="22" height="11"/><text class="value" x="288" y="26">QEMU TCG</text>',
            '<rect class="yado" x="370" y="16" width="22" height="11"/><text class="value" x="398" y="26">Yado bt</text>',
            '<line class="aim" x1="470" x2="470" y1="14" y2="29"/><text class="value" x="478" y="26">aim</text>']


def draw(groups):
    """groups: (title, aim or None, [(program, {"tcg": ratio or None, "yado": ratio or None})])."""
    scale = Scale(max((s[kind] or 1 for _, _, rows in groups for _, s in rows for kind in ("tcg", "yado")), default=1))
    body, y = [], TOP + GAP
    for title, aim, rows in groups:
        body.append(f'<text class="head" x="16" y="{y + 13}">{title}</text>')
        y += HEAD
        for name, slower in rows:
            body += program(scale, y, name, slower, aim)
            y += ROW
        y += GAP
    width, height = LEFT + WIDTH + RIGHT, y + 4
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            'aria-labelledby="t d">\n  <title id="t">Programs in Yado and in QEMU TCG against native</title>\n'
            '  <desc id="d">How many times slower than native each program runs; the dashed line is the aim.</desc>\n'
            f'  <style>{STYLE}\n  </style>\n  <rect class="panel" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>')
    return "\n".join([head, *("  " + part for part in [*legend(), *axis(scale, y - GAP), *body]), "</svg>"]) + "\n"
