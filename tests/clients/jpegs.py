"""JPEG files in every form that the format allows and encoders seldom write: random coefficients, coded by hand."""

import random
import struct

ZIGZAG = sorted(range(64), key=lambda place: (
    place // 8 + place % 8,
    place // 8 if (place // 8 + place % 8) % 2 else place % 8,
))


def segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def huffman(kind, number, length):
    """A table in which every symbol has a code of this length: itself, with zeros before it."""
    counts = [0] * 16
    # Differences of DC coefficients have sizes for symbols.
    counts[length - 1] = symbols = 255 if kind else 16
    return segment(0xC4, bytes((kind << 4 | number, *counts, *range(symbols))))


class Bits:
    def __init__(self):
        self.text = []

    def put(self, value, size):
        if size:
            self.text.append(format(value, f"0{size}b"))

    def value(self, value, size):
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def take(self):
        text = "".join(self.text)
        self.text = []
        text += "1" * (-len(text) % 8)
        data = int(text, 2).to_bytes(len(text) // 8, "big") if text else b""
        return data.replace(b"\xff", b"\xff\0")


class File:
    """`factors` are those of each component; `scans` the components of each scan, in order."""

    def __init__(self, width, height, factors, scans=None, progressive=False, restart=0, length=8, ids=None, before=b"", seed=0):
        self.random = random.Random(seed)
        self.factors = factors
        self.length = length
        self.restart = restart
        self.progressive = progressive
        self.most = [max(factor[way] for factor in factors) for way in (0, 1)]
        self.size = (width, height)
        self.mcus = [-(-side // (8 * most)) for side, most in zip(self.size, self.most)]
        self.planes = [self.plane(index) for index in range(len(factors))]
        ids = ids or [index + 1 for index in range(len(factors))]
        self.ids = ids
        steps = [self.random.randint(1, 24) for _ in range(64)]
        frame = struct.pack(">BHHB", 8, height, width, len(factors))
        for identity, (across, down) in zip(ids, factors):
            frame += bytes((identity, across << 4 | down, 0))
        self.data = b"\xff\xd8" + before + segment(0xDB, bytes((0, *steps)))
        self.data += segment(0xC2 if progressive else 0xC0, frame)
        self.data += huffman(0, 0, length) + huffman(1, 0, length)
        if restart:
            self.data += segment(0xDD, struct.pack(">H", restart))
        for scan in scans or [list(range(len(factors)))]:
            if progressive:
                self.scan(scan, 0, 0)
                for component in scan:
                    split = self.random.randint(1, 62)
                    self.scan([component], 1, split)
                    self.scan([component], split + 1, 63)
            else:
                self.scan(scan, 0, 63)
        self.data += b"\xff\xd9"

    def plane(self, index):
        across, down = self.factors[index]
        stride, rows = self.mcus[0] * across, self.mcus[1] * down
        blocks = []
        for _ in range(stride * rows):
            block = [0] * 64
            block[0] = self.random.randint(-60, 60)
            for _ in range(self.random.choice((0, 1, 4, 12, 50))):
                block[self.random.randint(1, 63)] = self.random.randint(-9, 9)
            blocks.append(block)
        return stride, blocks

    def scan(self, components, first, last):
        header = bytes((len(components),))
        for component in components:
            header += bytes((self.ids[component], 0))
        self.data += segment(0xDA, header + bytes((first, last, 0)))
        self.bits, self.before = Bits(), {}
        done = 0
        for blocks in self.order(components):
            if self.restart and done and done % self.restart == 0:
                self.data += self.bits.take() + bytes((0xFF, 0xD0 + (done // self.restart - 1) % 8))
                self.before = {}
            done += 1
            for component, block in blocks:
                self.block(component, block, first, last)
        self.data += self.bits.take()

    def order(self, components):
        """The blocks of each MCU."""
        if len(components) == 1:
            component = components[0]
            across, down = self.factors[component]
            if len(self.factors) == 1:
                across, down = self.most
            stride, blocks = self.planes[component]
            width, height = (-(-(-(-side * own // most)) // 8) for side, own, most in zip(self.size, (across, down), self.most))
            for row in range(height):
                for column in range(width):
                    yield [(component, blocks[row * stride + column])]
            return
        for row in range(self.mcus[1]):
            for column in range(self.mcus[0]):
                yield [
                    (component, self.planes[component][1][(row * down + y) * self.planes[component][0] + column * across + x])
                    for component in components
                    for across, down in [self.factors[component]]
                    for y in range(down)
                    for x in range(across)
                ]

    def block(self, component, block, first, last):
        if first == 0:
            difference = block[0] - self.before.get(component, 0)
            self.before[component] = block[0]
            size = abs(difference).bit_length()
            self.bits.put(size, self.length)
            self.bits.value(difference, size)
        run = 0
        for place in range(max(first, 1), last + 1):
            value = block[ZIGZAG[place]]
            if value == 0:
                run += 1
                continue
            while run > 15:
                self.bits.put(0xF0, self.length)
                run -= 16
            size = abs(value).bit_length()
            self.bits.put(run << 4 | size, self.length)
            self.bits.value(value, size)
            run = 0
        if run and last > 0:
            self.bits.put(0, self.length)


COLOUR = {
    "444": [(1, 1)] * 3, "422": [(2, 1), (1, 1), (1, 1)], "440": [(1, 2), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)],
    "411": [(4, 1), (1, 1), (1, 1)], "441": [(1, 4), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)],
    "3x1": [(3, 1), (1, 1), (1, 1)], "3x2": [(3, 2), (1, 1), (1, 1)], "1x3": [(1, 3), (1, 1), (1, 1)],
    "mixed": [(2, 2), (2, 1), (1, 2)], "fine-chroma": [(1, 1), (2, 2), (2, 2)], "one-fine": [(2, 2), (1, 1), (2, 2)],
    "doubled": [(2, 1), (2, 1), (2, 1)],
}
SIZES = [(1, 1), (7, 3), (3, 17), (16, 16), (33, 31), (45, 9), (70, 50)]
SCANS = {"together": None, "apart": [[0], [1], [2]], "backwards": [[2], [1], [0]], "chroma-first": [[1, 2], [0]], "luma-first": [[0], [1, 2]]}
JFIF = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")


def adobe(transform):
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))


def files():
    """Names and bytes."""
    seed = 0
    for sampling, factors in COLOUR.items():
        for scans, script in SCANS.items():
            for progressive in (False, True):
                for size in SIZES[seed % 2::2]:
                    seed += 1
                    options = {
                        "restart": (0, 0, 1, 3)[seed % 4], "length": (8, 8, 12)[seed % 3], "seed": seed,
                        "before": (b"", JFIF)[seed % 2],
                    }
                    kind = "progressive" if progressive else "sequential"
                    yield f"{sampling}-{scans}-{kind}-{size[0]}x{size[1]}", File(*size, factors, script, progressive, **options).data
    for size in SIZES:
        for factor in ((1, 1), (2, 2), (3, 1)):
            for progressive in (False, True):
                seed += 1
                yield f"grey-{factor[0]}x{factor[1]}-{progressive}-{size[0]}x{size[1]}", File(*size, [factor], None, progressive, seed=seed).data
        for transform in (None, 0, 2):
            for factors in ([(1, 1)] * 4, [(2, 2), (1, 1), (1, 1), (2, 2)]):
                seed += 1
                before = b"" if transform is None else adobe(transform)
                yield f"inks-{transform}-{factors[0][0]}-{size[0]}x{size[1]}", File(*size, factors, before=before, seed=seed).data
    for name, before, ids in [
        ("jfif-and-adobe-rgb", JFIF + adobe(0), None), ("adobe-rgb", adobe(0), None), ("adobe-ycc", adobe(1), None),
        ("adobe-unknown", adobe(7), None), ("adobe-short", segment(0xEE, b"Adobe\0\x64\0\0"), None), ("names-rgb", b"", list(b"RGB")),
        ("names-rgb-jfif", JFIF, list(b"RGB")), ("names-odd", b"", [9, 4, 200]), ("names-zero", b"", [0, 1, 2]),
    ]:
        seed += 1
        yield f"colours-{name}", File(40, 24, COLOUR["420"], before=before, ids=ids, seed=seed).data
