"""Arithmetic of many kinds, by algorithms that every processor does alike (no transcendental function of the C library)."""
import array
import binascii
import decimal
import fractions
import hashlib
import heapq
import math
import random
import struct
import sys
import zlib

sys.set_int_max_str_digits(0)
r = random.Random(7)
words = [r.getrandbits(64) for _ in range(20000)]
print("sum", sum(words), "xor", __import__("functools").reduce(lambda a, b: a ^ b, words))
print("power", pow(3, 2**61 - 2, 2**61 - 1), pow(words[0], words[1], words[2] | 1), math.gcd(*words[:50]), math.isqrt(words[5] ** 9))
print("digits", hashlib.sha256(str(7**40000).encode()).hexdigest(), hashlib.sha256(str(math.factorial(3000)).encode()).hexdigest())
x = 0.5
total = 0.0
for i in range(1, 300000):
    x = 3.9 * x * (1 - x)
    total += math.sqrt(x) / i - (i % 7) * 1e-9
print("floats", x.hex(), total.hex(), math.fsum(struct.unpack("<20000d", struct.pack("<20000Q", *(w >> 2 for w in words)))).hex())
decimal.getcontext().prec = 200
print("decimal", sum(decimal.Decimal(1) / decimal.Decimal(i) for i in range(1, 3000)), decimal.Decimal(2).sqrt(), decimal.Decimal(3).ln())
print("fraction", hashlib.md5(str(sum(fractions.Fraction(1, i) for i in range(1, 600))).encode()).hexdigest())
data = b"".join(struct.pack("<Q", w) for w in words) * 4 + b"again " * 50000
for level in (1, 6, 9):
    packed = zlib.compress(data, level)
    assert zlib.decompress(packed) == data
    print("zlib", level, len(packed), zlib.crc32(packed), zlib.adler32(data), binascii.crc32(data))
print("sorted", hashlib.sha1(repr(sorted(words)).encode()).hexdigest(), heapq.nsmallest(3, words), hashlib.sha1(array.array("d", sorted(w / 3 for w in words)).tobytes()).hexdigest())
