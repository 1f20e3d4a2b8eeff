"""What blocks.c writes, for who looks at an image afterwards."""
import struct

BLOCK = 4096
MASK = (1 << 64) - 1
ZEROES = bytes(BLOCK)


def mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def content(batch: int, block: int) -> bytes:
    """Of a block; batch 0: zeroes."""
    if batch == 0:
        return ZEROES
    return struct.pack("<512Q", batch, block, *(mix(batch * 1000003 + block * 512 + n & MASK) for n in range(2, 512)))


def batch_writes(batch: int, blocks: int) -> list[tuple[int, int]]:
    """(block, batch or 0 for zeroes), in order."""
    state = mix(batch)
    out = []
    for _ in range(1 + state % 48):
        state = mix(state)
        out.append((state % blocks, batch))
    state = mix(state)
    if state % 4 == 0:
        first = state // 4 % (blocks // 16) * 16
        out += [(block, 0) for block in range(first, first + 16)]
    return out


class Model:
    """What a disk must show after a cut-off: of each block the last write of a flushed batch, or of the one that was under way. A batch begins
    when the one before it was flushed, so that any of its blocks proves that, also where the guest's word of it was lost with its process."""

    AHEAD = 2  # batches of which something may be there: the one under way, and where all that can be seen of it are zeroes, the next

    def __init__(self, size: int):
        self.blocks = size // BLOCK
        self.state = [0] * self.blocks
        self.done = 0  # batches up to here are in `state`

    def newest(self, image: bytes) -> int:
        """The last batch of which a whole block is there."""
        stamps = sorted(((struct.unpack_from("<Q", image, block * BLOCK)[0], block) for block in range(self.blocks)), reverse=True)
        return next((stamp for stamp, block in stamps if image[block * BLOCK:(block + 1) * BLOCK] == content(stamp, block)), 0)

    def cut_off(self, flushed: int, image: bytes) -> list[str]:
        """Complaints about the image. What it shows is where the next run starts, with batch `done` + 1."""
        flushed = max(flushed, self.newest(image) - 1)
        allowed: dict[int, set[int]] = {}
        for batch in range(self.done + 1, flushed + 1):
            for block, stamp in batch_writes(batch, self.blocks):
                self.state[block] = stamp
        for batch in range(flushed + 1, flushed + 1 + self.AHEAD):
            for block, stamp in batch_writes(batch, self.blocks):
                allowed.setdefault(block, {self.state[block]}).add(stamp)
        complaints = []
        for block in range(self.blocks):
            shown = image[block * BLOCK:(block + 1) * BLOCK]
            stamp = struct.unpack_from("<Q", shown)[0]
            if stamp not in allowed.get(block, {self.state[block]}) or shown != content(stamp, block):
                complaints.append(f"block {block} shows batch {stamp}; {sorted(allowed.get(block, {self.state[block]}))} would be right (flushed: {flushed})")
            self.state[block] = stamp
        self.done = flushed + self.AHEAD
        return complaints
