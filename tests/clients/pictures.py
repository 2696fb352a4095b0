"""Writes small pictures of every kind into a folder, and a list of what each should be answered like.

python pictures.py FOLDER

`right` holds the right pixels, upright and over white, as a PNG of Pillow's; `status` is 422 where rows are missing.
"""

import json
import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import jpegs as jpegs_by_hand
from PIL import Image

FOLDER = Path(sys.argv[1])
LIST = []
RIGHT = {}
SIZE = (61, 43)


def add(name, data, right=None, complete=True, status=200):
    (FOLDER / name).write_bytes(data)
    entry = {"file": name, "status": status, "complete": complete}
    if right is not None:
        pixels = right.convert("RGB")
        key = (pixels.size, pixels.tobytes())
        if key not in RIGHT:
            RIGHT[key] = f"right-{len(RIGHT)}.png"
            pixels.save(FOLDER / RIGHT[key])
        entry["right"] = RIGHT[key]
    LIST.append(entry)


def scene():
    """Something with edges, gradients and grain."""
    image = Image.new("RGBA", SIZE)
    width, height = SIZE
    for y in range(height):
        for x in range(width):
            grain = (x * 73 + y * 151) % 23
            inside = (x - 25) ** 2 + (y - 22) ** 2 < 150
            colour = (200 - 2 * x + grain, 80 + 3 * y, 40 + grain) if inside else (4 * x // 2 + grain, 120 + 2 * y, 230 - 3 * y)
            image.putpixel((x, y), (*colour, 0 if (x // 7 + y // 5) % 4 == 0 else 255))
    return image


SCENE = scene()


def over_white(image):
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def from_pixels(size, pixels):
    image = Image.new("RGB", size)
    image.putdata(pixels)
    return image


def turned(image, orientation):
    method = [
        None, None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
    ][orientation]
    return image if method is None else image.transpose(method)


def exif(orientation, order="<", kind=3, prefix=b""):
    value = struct.pack(order + "HH", orientation, 0) if kind == 3 else struct.pack(order + "I", orientation)
    entry = struct.pack(order + "HHI", 0x112, kind, 1) + value
    return prefix + (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, 1) + entry + b"\0\0\0\0"


# PNG

def chunk(name, content, sum=None):
    sum = zlib.crc32(name + content) if sum is None else sum
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum)


SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = chunk(b"IEND", b"")
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
PALETTE = [(i * 7 % 256, i * 13 % 256, 255 - i) for i in range(256)]


def samples(kind, depth, x, y):
    """A pixel's samples, and the colour and alpha that they stand for, in 8 bits."""
    red, green, blue, alpha = SCENE.getpixel((x, y))
    most = (1 << depth) - 1
    down = lambda value: value * most // 255
    up = lambda value: round(value * 255 / most)
    if kind == 3:
        index = (red + green) % min(256, most + 1)
        return [index], (*PALETTE[index], 255)
    values = [down(v) for v in ((red, green, blue) if kind & 2 else (green,))]
    colour = [up(v) for v in values] * (1 if kind & 2 else 3)
    if kind & 4:
        return values + [down(alpha)], (*colour, alpha)
    return values, (*colour, 255)


def pack(values, depth):
    if depth == 16:
        return b"".join(struct.pack(">H", v) for v in values)
    if depth == 8:
        return bytes(values)
    bits = "".join(format(v, f"0{depth}b") for v in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))


def filtered(rows, size):
    """Each row with another filter than the one before."""
    out, above = b"", None
    for number, row in enumerate(rows):
        above = above or bytes(len(row))
        kind = number % 5
        line = bytearray()
        for i, value in enumerate(row):
            a = row[i - size] if i >= size else 0
            b, c = above[i], above[i - size] if i >= size else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line.append((value - [0, a, b, (a + b) // 2, paeth][kind]) % 256)
        out += bytes([kind]) + line
        above = row
    return out


def png(kind, depth, interlaced=False, transparency=None, before=b"", after=b"", split=None, end=END):
    width, height = SIZE
    size = max(1, CHANNELS[kind] * depth // 8)
    raw = b""
    for x0, y0, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        if x0 < width and y0 < height:
            raw += filtered(
                [pack(sum((samples(kind, depth, x, y)[0] for x in range(x0, width, dx)), []), depth) for y in range(y0, height, dy)],
                size,
            )
    data = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced))
    data += before
    if kind == 3:
        data += chunk(b"PLTE", b"".join(map(bytes, PALETTE[: 1 << depth])))
    if transparency is not None:
        data += chunk(b"tRNS", transparency)
    packed = zlib.compress(raw)
    if split:
        data += chunk(b"IDAT", packed[:split]) + chunk(b"IDAT", b"") + chunk(b"IDAT", packed[split:])
    else:
        data += chunk(b"IDAT", packed)
    return data + after + end


def pixels_of(kind, depth, clear=None):
    width, height = SIZE
    pixels = []
    for y in range(height):
        for x in range(width):
            values, (*colour, alpha) = samples(kind, depth, x, y)
            white = alpha == 0 or (clear is not None and values in clear)
            pixels.append((255, 255, 255) if white else tuple(colour))
    return from_pixels(SIZE, pixels)


def pngs():
    for kind, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            for interlaced in (False, True):
                name = f"png-{kind}-{depth}{'-i' * interlaced}"
                add(f"{name}.png", png(kind, depth, interlaced), pixels_of(kind, depth))
                if kind in (0, 2, 3):
                    values = samples(kind, depth, 9, 9)[0]
                    if kind == 3:
                        clear = b"\xff\0"
                        right = pixels_of(kind, depth, [[1]])
                    else:
                        clear, right = struct.pack(f">{len(values)}H", *values), pixels_of(kind, depth, [values])
                    add(f"{name}-clear.png", png(kind, depth, interlaced, clear), right)
    plain, right = png(2, 8), pixels_of(2, 8)
    names = "gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs sPLT tIME tEXt zTXt iTXt eXIf acTL fcTL fdAT cICP mDCV cLLI tRNS PLTE vpAg".split()
    for name in names:
        for what, content, crc in (("empty", b"", None), ("odd", b"\xff\x01\0" * 3 + b"\x07", None), ("sum", b"\0" * 6, 7)):
            if (name, what) == ("tRNS", "sum") or (name, what) != ("tRNS", "odd"):
                broken = chunk(name.encode(), content, crc)
                add(f"png-{name}-{what}.png", png(2, 8, before=broken), right)
                add(f"png-{name}-{what}-after.png", png(2, 8, after=broken), right)
    add("png-twice.png", png(2, 8, before=chunk(b"gAMA", b"\0\0\xb1\x8f") * 2), right)
    for length in (0, 1):
        add(f"png-clear-{length}.png", png(0, 8, transparency=b"\0" * length), pixels_of(0, 8))
    add("png-clear-long.png", png(3, 2, transparency=b"\xff" * 9), pixels_of(3, 2))
    add("png-split.png", png(2, 8, split=100), right)
    for orientation in range(1, 9):
        for order in "<>":
            for prefix in (b"", b"Exif\0\0"):
                block = exif(orientation, order, 3 if order == "<" else 4, prefix)
                name = f"png-exif-{orientation}-{'little' if order == '<' else 'big'}{'-prefix' * bool(prefix)}"
                add(f"{name}.png", png(2, 8, before=chunk(b"eXIf", block)), turned(right, orientation))
    add("png-exif-behind.png", png(2, 8, after=chunk(b"eXIf", exif(6))), turned(right, 6))
    add("png-exif-cut.png", png(2, 8, before=chunk(b"eXIf", exif(6)[:17])), right)
    add("png-trailer.png", plain + b"more", right)
    bare = plain[: -len(END)]
    for what, data in {"no-end": bare, "no-sum": bare[:-4], "half-sum": bare[:-2], "no-adler": bare[:-8], "half-end": plain[:-6]}.items():
        add(f"png-cut-{what}.png", data, right, complete=False)
    add("png-cut-interlaced.png", png(6, 8, True)[: -len(END) - 6], pixels_of(6, 8), complete=False)
    add("png-cut-rows.png", bare[:-40], status=422)
    add("png-cut-half.png", bare[: len(bare) // 2], status=422)
    add("png-cut-rows-interlaced.png", png(2, 8, True)[: -len(END) - 60], status=422)
    spoiled = bytearray(plain)
    spoiled[-len(END) - 30] ^= 1
    add("png-spoiled.png", bytes(spoiled), status=422)


# BMP

def bmp(bits, rows, size=40, masks=b"", palette=b"", compression=0, offset=None, planes=1, used=0, top_down=False, data=None, colours_entry=4, width=None, height=None):
    width, height = width or SIZE[0], height or SIZE[1]
    if data is None:
        order = rows if top_down else rows[::-1]
        data = b"".join(row + bytes(-len(row) % 4) for row in order)
    if size == 12:
        info = struct.pack("<IHHHH", 12, width, height, planes, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", size, width, -height if top_down else height, planes, bits, compression, len(data), 0, 0, used, 0)
        info = (info + masks + bytes(200))[:size] + (masks if size == 40 else b"")
    start = 14 + len(info) + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start if offset is None else offset)
    return head + info + palette + data


def rgb_rows(pack_pixel, image=None):
    image = image or SCENE
    return [b"".join(pack_pixel(*image.getpixel((x, y))) for x in range(image.width)) for y in range(image.height)]


def pillow(data):
    return Image.open(BytesIO(data)).convert("RGB")


def bmps():
    opaque = SCENE.convert("RGB")
    bgr = rgb_rows(lambda r, g, b, a: bytes((b, g, r)))
    for size in (12, 16, 40, 52, 56, 64, 108, 124):
        data = bmp(24, bgr, size)
        add(f"bmp-24-header-{size}.bmp", data, opaque)
    add("bmp-24-top-down.bmp", bmp(24, bgr, top_down=True), opaque)
    add("bmp-24-planes-0.bmp", bmp(24, bgr, planes=0), opaque)
    add("bmp-24-planes-9.bmp", bmp(24, bgr, planes=9), opaque)
    for offset in (0, 1, 14, 53):
        add(f"bmp-24-offset-{offset}.bmp", bmp(24, bgr, offset=offset), opaque)
    gap = bmp(24, bgr, offset=64)
    add("bmp-24-gap.bmp", gap[:54] + b"0123456789" + gap[54:], opaque)
    for bits in (1, 2, 4, 8):
        colours = PALETTE[: 1 << bits]
        index = lambda x, y: sum(SCENE.getpixel((x, y))[:2]) % (1 << bits)
        rows = [pack([index(x, y) for x in range(SIZE[0])], bits) for y in range(SIZE[1])]
        right = from_pixels(SIZE, [colours[index(x, y)] for y in range(SIZE[1]) for x in range(SIZE[0])])
        quads = b"".join(bytes((b, g, r, 0)) for r, g, b in colours)
        triples = b"".join(bytes((b, g, r)) for r, g, b in colours)
        add(f"bmp-{bits}.bmp", bmp(bits, rows, palette=quads), right)
        add(f"bmp-{bits}-core.bmp", bmp(bits, rows, 12, palette=triples), right)
        add(f"bmp-{bits}-os2.bmp", bmp(bits, rows, 64, palette=quads), right)
        add(f"bmp-{bits}-v5.bmp", bmp(bits, rows, 124, palette=quads), right)
        add(f"bmp-{bits}-top-down.bmp", bmp(bits, rows, palette=quads, top_down=True), right)
        add(f"bmp-{bits}-used.bmp", bmp(bits, rows, palette=quads, used=1 << bits), right)
        for offset in (0, 20, 54):
            add(f"bmp-{bits}-offset-{offset}.bmp", bmp(bits, rows, palette=quads, offset=offset), right)
        if bits < 8:
            many = quads + bytes(4 * (256 - len(colours)))
            add(f"bmp-{bits}-used-256.bmp", bmp(bits, rows, palette=many, used=256), right)
        few = max(index(x, y) for y in range(SIZE[1]) for x in range(SIZE[0])) + 1
        add(f"bmp-{bits}-few.bmp", bmp(bits, rows, palette=quads[: 4 * few], used=few), right)
        data = bmp(bits, rows, palette=quads)
        padding = -len(rows[0]) % 4
        if padding:
            add(f"bmp-{bits}-no-padding.bmp", data[:-padding], right, complete=False)
        add(f"bmp-{bits}-cut.bmp", data[: -padding - 1], status=422)
    five = lambda r, g, b, a: struct.pack("<H", (r >> 3) << 10 | (g >> 3) << 5 | b >> 3)
    six = lambda r, g, b, a: struct.pack("<H", (r >> 3) << 11 | (g >> 2) << 5 | b >> 3)
    for name, data in {
        "16": bmp(16, rgb_rows(five)),
        "16-555": bmp(16, rgb_rows(five), compression=3, masks=struct.pack("<III", 0x7C00, 0x3E0, 0x1F)),
        "16-565": bmp(16, rgb_rows(six), compression=3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
        "16-565-v4": bmp(16, rgb_rows(six), 108, compression=3, masks=struct.pack("<IIII", 0xF800, 0x7E0, 0x1F, 0)),
    }.items():
        add(f"bmp-{name}.bmp", data, pillow(data))
    bgrx = rgb_rows(lambda r, g, b, a: bytes((b, g, r, 0)))
    bgra = rgb_rows(lambda r, g, b, a: bytes((b, g, r, a)))
    normal = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    add("bmp-32.bmp", bmp(32, bgrx), opaque)
    add("bmp-32-unused-set.bmp", bmp(32, bgra), opaque)
    for size in (56, 108, 124):
        add(f"bmp-32-alpha-{size}.bmp", bmp(32, bgra, size, compression=3, masks=normal), over_white(SCENE))
        add(f"bmp-32-alpha-0-{size}.bmp", bmp(32, bgrx, size, compression=3, masks=normal), opaque)
    add("bmp-32-masks.bmp", bmp(32, bgrx, compression=3, masks=normal[:12]), opaque)
    add("bmp-32-alpha-masks.bmp", bmp(32, bgra, compression=6, masks=normal), over_white(SCENE))
    rgba = rgb_rows(lambda r, g, b, a: bytes((r, g, b, a)))
    add("bmp-32-rgba.bmp", bmp(32, rgba, 108, compression=3, masks=struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)), over_white(SCENE))
    runs()


def runs():
    """Runs of 8 and 4 bits, with every command."""
    width, height = SIZE
    index = lambda x, y, most: (x // 5 + y // 3) % most
    for bits, most, compression in ((8, 200, 1), (4, 16, 2)):
        data = b""
        for y in reversed(range(height)):
            values = [index(x, y, most) for x in range(width)]
            x = 0
            while x < width:
                if y % 2 and width - x >= 9:
                    part = values[x:x + 9]
                    data += bytes((0, 9)) + (bytes(part) + b"\0" if bits == 8 else pack(part, 4) + b"\0")
                    x += 9
                else:
                    count = 1
                    while x + count < width and values[x + count] == values[x]:
                        count += 1
                    data += bytes((count, values[x] if bits == 8 else values[x] * 17))
                    x += count
            data += b"\0\0"
        quads = b"".join(bytes((b, g, r, 0)) for r, g, b in PALETTE[: 1 << bits])
        right = from_pixels(SIZE, [PALETTE[index(x, y, most)] for y in range(height) for x in range(width)])
        make = lambda data, size=40: bmp(bits, None, size, palette=quads, compression=compression, data=data)
        add(f"bmp-rle{bits}.bmp", make(data + b"\0\1"), right)
        add(f"bmp-rle{bits}-os2.bmp", make(data + b"\0\1", 64), right)
        add(f"bmp-rle{bits}-no-end.bmp", make(data), right, complete=False)
        add(f"bmp-rle{bits}-cut.bmp", make(data[: len(data) // 2]), status=422)
        # Two pixels, a jump over five and up one row, three pixels, and the end.
        jump = bytes((2, 0x11, 0, 2, 5, 1, 3, 0x22, 0, 1))
        pixels = [[PALETTE[0]] * width for _ in range(height)]
        one, two = (0x11, 0x22) if bits == 8 else (1, 2)
        pixels[height - 1][:2] = [PALETTE[one]] * 2
        pixels[height - 2][7:10] = [PALETTE[two]] * 3
        add(f"bmp-rle{bits}-jump.bmp", make(jump), from_pixels(SIZE, sum(pixels, [])))


# GIF

def gif(image, **options):
    to = BytesIO()
    image.save(to, "GIF", **options)
    return to.getvalue()


def gifs():
    palette = SCENE.convert("RGB").quantize(64)
    right = palette.convert("RGB")
    for interlace in (0, 1):
        data = gif(palette, interlace=interlace)
        add(f"gif-{interlace}.gif", data, right)
        add(f"gif-{interlace}-no-trailer.gif", data[:-1], right, complete=False)
        add(f"gif-{interlace}-no-terminator.gif", data[:-2], right, complete=False)
        add(f"gif-{interlace}-cut.gif", data[:-60], status=422)
        add(f"gif-{interlace}-half.gif", data[: len(data) // 2], status=422)
        clear = gif(palette, interlace=interlace, transparency=palette.getpixel((9, 9)))
        add(f"gif-{interlace}-clear.gif", clear, over_white(Image.open(BytesIO(clear))))
    other = Image.new("P", SIZE, 3)
    other.putpalette(palette.getpalette())
    for disposal in range(4):
        moving = gif(palette, save_all=True, append_images=[other], disposal=disposal, duration=50)
        add(f"gif-moving-{disposal}.gif", moving, right)
        add(f"gif-moving-{disposal}-cut.gif", moving[:-9], right, complete=False)
    data = gif(palette)
    at = 13 + 3 * (2 << (data[10] & 7))
    blocks = {
        "comment": b"\x21\xfe\x03abc\0", "unknown": b"\x21\x77\x02ab\0", "control-long": b"\x21\xf9\x06\1\0\0\0\0\0\0",
        "control-empty": b"\x21\xf9\0", "application": b"\x21\xff\x03abc\x02ab\0", "application-empty": b"\x21\xff\0",
        "netscape-short": b"\x21\xff\x0bNETSCAPE2.0\x01\1\0", "text": b"\x21\x01\x0c" + b"\xff" * 12 + b"\x01a\0", "zero": b"\0",
        "xmp": b"\x21\xff\x0bXMP DataXMP<x/>\1" + bytes(range(255, -1, -1)) + b"\0",
    }
    for name, block in blocks.items():
        add(f"gif-{name}.gif", data[:at] + block + data[at:], right)
    # A frame that is smaller than its canvas: what is around it is clear.
    small = data[:6] + struct.pack("<HH", SIZE[0] + 20, SIZE[1] + 10) + data[10:]
    around = Image.new("RGB", (SIZE[0] + 20, SIZE[1] + 10), "white")
    around.paste(right, (0, 0))
    add("gif-small-frame.gif", small, around)
    add("gif-trailer.gif", data + b"more", right)


# WebP

def riff(*parts, size=None):
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def part(name, content):
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp(image, **options):
    to = BytesIO()
    image.save(to, "WEBP", **options)
    return to.getvalue()


def parts_of(data):
    at, parts = 12, {}
    while at + 8 <= len(data):
        length = struct.unpack("<I", data[at + 4:at + 8])[0]
        parts.setdefault(data[at:at + 4], data[at + 8:at + 8 + length])
        at += 8 + length + length % 2
    return parts


def webps():
    opaque = SCENE.convert("RGB")
    lossless = webp(opaque, lossless=True)
    add("webp-lossless.webp", lossless, opaque)
    add("webp-lossless-alpha.webp", webp(SCENE, lossless=True, exact=True), over_white(SCENE))
    frame = part(b"VP8L", parts_of(lossless)[b"VP8L"])
    extended = lambda flags: part(b"VP8X", bytes((flags, 0, 0, 0)) + struct.pack("<I", SIZE[0] - 1)[:3] + struct.pack("<I", SIZE[1] - 1)[:3])
    for bit, name in ((0x20, "icc"), (0x08, "exif"), (0x04, "xmp"), (0x02, "animation"), (0x3C, "all"), (0xC1, "reserved")):
        add(f"webp-flag-{name}.webp", riff(extended(bit), frame), opaque)
    for name in (b"ICCP", b"EXIF", b"XMP ", b"ANIM", b"abcd"):
        text = name.decode().strip()
        for what, content in (("empty", b""), ("odd", b"\xff\x01\0")):
            add(f"webp-{text}-{what}.webp", riff(extended(0), part(name, content), frame), opaque)
            add(f"webp-{text}-{what}-behind.webp", riff(extended(0x2C), frame, part(name, content)), opaque)
        cut = name + struct.pack("<I", 500) + b"abc"
        add(f"webp-{text}-cut.webp", riff(extended(0), frame, cut), opaque)
    for orientation in range(1, 9):
        for prefix in (b"", b"Exif\0\0"):
            block = part(b"EXIF", exif(orientation, ">" if prefix else "<", 4 if orientation % 2 else 3, prefix))
            right = turned(opaque, orientation)
            for flag in (0, 8):
                name = f"webp-exif-{orientation}{'-prefix' * bool(prefix)}{'-flag' * bool(flag)}"
                add(f"{name}.webp", riff(extended(flag), frame, block), right)
    add("webp-size-0.webp", riff(frame, size=0), opaque)
    add("webp-size-large.webp", riff(frame, size=len(frame) + 500), opaque, complete=False)
    add("webp-cut-behind.webp", riff(extended(8), frame, part(b"EXIF", exif(6)))[:-30], opaque, complete=False)
    add("webp-cut.webp", lossless[:-40], status=422)
    add("webp-half.webp", lossless[: len(lossless) // 2], status=422)
    still = Image.new("RGB", SIZE, (9, 90, 200))
    moving = webp(opaque, save_all=True, append_images=[still], lossless=True, duration=50)
    add("webp-moving.webp", moving, opaque)
    add("webp-moving-cut.webp", moving[:-5], opaque, complete=False)


# JPEG's orientation: blocks of one grey each, which every decoder agrees on.

def jpegs():
    grey = Image.new("L", (8 * 9, 8 * 7))
    for y in range(grey.height):
        for x in range(grey.width):
            grey.putpixel((x, y), (x // 8 * 24 + y // 8 * 9) % 256)
    to = BytesIO()
    grey.save(to, "JPEG", quality=100)
    data = to.getvalue()
    grey = Image.open(BytesIO(data)).convert("RGB")
    with_segments = lambda *contents: data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(c) + 2) + c for c in contents) + data[2:]
    for orientation in range(1, 9):
        for order in "<>":
            for kind in (3, 4):
                name = f"jpeg-exif-{orientation}-{'little' if order == '<' else 'big'}-{kind}"
                add(f"{name}.jpg", with_segments(exif(orientation, order, kind, b"Exif\0\0")), turned(grey, orientation))
    block = lambda orientation: exif(orientation, prefix=b"Exif\0\0")
    none = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"
    add("jpeg-two-exif.jpg", with_segments(block(6), block(3)), turned(grey, 6))
    add("jpeg-two-exif-first.jpg", with_segments(block(6), none), turned(grey, 6))
    add("jpeg-two-exif-second.jpg", with_segments(none, block(6)), turned(grey, 6))
    add("jpeg-xmp-then-exif.jpg", with_segments(b"http://ns.adobe.com/xap/1.0/\0<x/>", block(8)), turned(grey, 8))
    for name, content in {
        "xmp-short": b"http://ns.adobe.com/xmp/extension/\0abc", "exif-empty": b"Exif\0\0", "exif-cut": block(6)[:20],
        "exif-order": b"Exif\0\0XX*\0", "empty": b"",
    }.items():
        add(f"jpeg-{name}.jpg", with_segments(content), grey)
    for marker in range(0xE1, 0xEE):
        segment = bytes((0xFF, marker, 0, 7)) + b"\xff\0\xff\xd9\0"
        add(f"jpeg-app{marker - 0xE0}.jpg", data[:2] + segment + data[2:], grey)


def more_jpegs():
    """Pixels are Pillow's, to the bit."""
    for name, data in jpegs_by_hand.files():
        add(f"jpeg-{name}.jpg", data, pillow(data))
        if name.endswith("33x31"):
            add(f"jpeg-{name}-cut.jpg", data[:-len(data) // 3], status=422)
    picture = over_white(SCENE)
    for mode in ("RGB", "L", "CMYK"):
        for progressive in (False, True):
            for optimize in (False, True):
                for subsampling in (0, 1, 2) if mode != "L" else (0,):
                    for quality in (20, 95):
                        to = BytesIO()
                        picture.convert(mode).save(
                            to, "JPEG", quality=quality, progressive=progressive, optimize=optimize, subsampling=subsampling,
                            restart_marker_blocks=quality // 10 if optimize else 0,
                        )
                        data = to.getvalue()
                        name = f"jpeg-pillow-{mode}-{progressive}-{optimize}-{subsampling}-{quality}"
                        add(f"{name}.jpg", data, pillow(data))
                        # Every row is there, and only the end is not.
                        add(f"{name}-no-end.jpg", data[:-2], pillow(data), complete=False)
    # What webcams leave out.
    to = BytesIO()
    picture.save(to, "JPEG", quality=80)
    data, at, without = to.getvalue(), 2, b"\xff\xd8"
    while data[at + 1] != 0xDA:
        end = at + 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
        without += data[at:end] if data[at + 1] != 0xC4 else b""
        at = end
    add("jpeg-no-tables.jpg", without + data[at:], pillow(data))


for make in (pngs, bmps, gifs, webps, jpegs, more_jpegs):
    make()
(FOLDER / "list.json").write_text(json.dumps(LIST))
print(f"{len(LIST)} pictures")
