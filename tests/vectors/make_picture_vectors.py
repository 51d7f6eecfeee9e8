#!/usr/bin/env python3
"""Makes pictures.safetensors: small BMP, GIF, TIFF and AVIF files and the pixels that they hold.

    python3 make_picture_vectors.py            (NumPy, Pillow 11.3 or later, tifffile, imagecodecs)

For each picture NAME: `NAME.file`, its bytes; `NAME.rgb` [height, width, 3], upright, over white; `NAME.bound`, by how much a
value may differ (0 where nothing is lost). The pixels are Pillow's, except where Pillow cuts 16 bits to 8 instead of rounding,
reads no such file or takes alpha for something else: there they are those that the file was made of."""
import io
import json
import pathlib
import struct

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).parent / "pictures.safetensors"
WIDTH, HEIGHT = 21, 18
LOSSY = 3
pictures = {}

y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
rgb = np.stack([x * 12, y * 14, (x * 5 + y * 9) % 256], -1).astype(np.uint8)
rgb[4:9, 3:12] = (250, 20, 90)
grey = (x * 11 + y * 3).astype(np.uint8)
bits = ((x // 3 + y // 2) % 2).astype(np.uint8)
alpha = ((x * 13 + y * 29) % 256).astype(np.uint8)
rgba = np.dstack([rgb, alpha])
index = ((x // 2 + y * 3) % 16).astype(np.uint8)
palette = np.array([[i * 16, 255 - i * 7, i * i % 256] for i in range(16)], np.uint8)


def div255(v):
    v = v.astype(np.int64) + 128
    return ((v + (v >> 8)) >> 8).astype(np.uint8)


def over_white(pixels, a):
    a = a[..., None].astype(np.int64)
    return div255(pixels.astype(np.int64) * a + 255 * (255 - a))


def add(name, data, pixels=None, bound=0):
    """Without pixels they are Pillow's."""
    if pixels is None:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.has_transparency_data:
            whole = np.asarray(image.convert("RGBA"))
            pixels = over_white(whole[..., :3], whole[..., 3])
        else:
            pixels = np.asarray(image.convert("RGB"))
    assert name not in pictures
    pictures[name] = (data, np.ascontiguousarray(pixels), bound)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def paletted(values):
    image = Image.fromarray(values, "P")
    image.putpalette(palette.tobytes())
    return image


# ---- BMP ----

def rows_of(values, bytes_each):
    """Rows from the bottom, padded to 4 bytes."""
    rows = values.reshape(HEIGHT, -1).view(np.uint8).reshape(HEIGHT, WIDTH * bytes_each)
    return b"".join(row.tobytes() + b"\0" * (-len(row.tobytes()) % 4) for row in rows[::-1])


def bmp(header, bits_each, compression, between, data, height=HEIGHT, colours=0):
    """`between` stands behind the 40 bytes of BITMAPINFOHEADER: the rest of a longer header, masks, palette."""
    at = 14 + 40 + len(between)
    return (struct.pack("<2sIHHI", b"BM", at + len(data), 0, 0, at) +
            struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits_each, compression, len(data), 2835, 2835, colours, 0) +
            between + data)


def add_bmps():
    bgrx = np.hstack([palette[:, ::-1], np.zeros((16, 1), np.uint8)])
    add("bmp_1", saved(Image.fromarray(bits * 255).convert("1"), "BMP"))
    add("bmp_8_grey", saved(Image.fromarray(grey), "BMP"))
    add("bmp_8", saved(paletted(index), "BMP"), palette[index])
    add("bmp_24", saved(Image.fromarray(rgb), "BMP"), rgb)
    add("bmp_32", saved(Image.fromarray(rgba, "RGBA"), "BMP"), rgb)
    packed = np.pad(index, ((0, 0), (0, 1)))
    nibbles = (packed[:, ::2] << 4 | packed[:, 1::2]).astype(np.uint8)
    four = b"".join(row.tobytes() + b"\0" * (-len(row) % 4) for row in nibbles[::-1])
    add("bmp_4", bmp(40, 4, 0, bgrx.tobytes(), four, colours=16), palette[index])
    add("bmp_top_down", bmp(40, 24, 0, b"", rows_of(np.ascontiguousarray(rgb[::-1, :, ::-1]), 3), -HEIGHT), rgb)
    core = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    add("bmp_core_24", core + rows_of(np.ascontiguousarray(rgb[..., ::-1]), 3), rgb)
    core = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 26 + 48) + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 4)
    add("bmp_core_4", core + palette[:, ::-1].tobytes() + four, palette[index])
    fields = rgb.astype(np.uint16)
    five = (fields[..., 0] >> 3) << 10 | (fields[..., 1] >> 3) << 5 | fields[..., 2] >> 3
    add("bmp_555", bmp(40, 16, 0, b"", rows_of(five, 2)))
    six = (fields[..., 0] >> 3) << 11 | (fields[..., 1] >> 2) << 5 | fields[..., 2] >> 3
    add("bmp_565", bmp(40, 16, 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F), rows_of(six, 2)))
    mixed = np.dstack([rgba[..., 3], rgba[..., 2], rgba[..., 1], rgba[..., 0]])
    swapped = struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)
    add("bmp_fields", bmp(40, 32, 3, swapped, rows_of(np.ascontiguousarray(mixed), 4)), rgb)
    bgra = np.ascontiguousarray(rgba[..., [2, 1, 0, 3]])
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for name, header in (("v3", 56), ("v4", 108), ("v5", 124)):
        between = masks + b"\0" * (header - 56)
        add(f"bmp_{name}_alpha", bmp(header, 32, 3, between, rows_of(bgra, 4)), over_white(rgb, alpha))
    bgra[..., 3] = 0
    add("bmp_alpha_unused", bmp(108, 32, 3, masks + b"\0" * 52, rows_of(bgra, 4)), rgb)
    # Runs, literals of odd length, a jump, pixels that are left out and have colour 0.
    whole = index.copy()
    runs = bytearray()
    for row in range(HEIGHT - 1, -1, -1):
        if row == 5:
            runs += bytes([3, 7, 0, 2, 4, 1])  # three pixels; then four to the right and one up: row 4
            runs += bytes([0, 5]) + bytes([1, 2, 3, 4, 5, 0])
            whole[5], whole[4] = 0, 0
            whole[5, :3], whole[4, 7:12] = 7, [1, 2, 3, 4, 5]
            runs += b"\0\0"
        elif row != 4:
            runs += bytes([0, WIDTH]) + index[row].tobytes() + b"\0" * (WIDTH % 2) + b"\0\0"
    add("bmp_rle8", bmp(40, 8, 1, bgrx.tobytes(), bytes(runs) + b"\0\1", colours=16), palette[whole])
    runs = bytearray()
    for row in range(HEIGHT - 1, -1, -1):
        if row == 3:
            runs += bytes([WIDTH, 0x5A]) + b"\0\0"
        else:
            data = nibbles[row].tobytes()
            runs += bytes([0, WIDTH]) + data + b"\0" * (len(data) % 2) + b"\0\0"
    whole = index.copy()
    whole[3] = [5 if i % 2 == 0 else 10 for i in range(WIDTH)]
    add("bmp_rle4", bmp(40, 4, 2, bgrx.tobytes(), bytes(runs) + b"\0\1", colours=16), palette[whole])


# ---- GIF ----

def add_gifs():
    add("gif", saved(paletted(index), "GIF", interlace=0), palette[index])
    add("gif_interlaced", saved(paletted(index), "GIF", interlace=1), palette[index])
    clear = saved(paletted(index), "GIF", interlace=0, transparency=3)
    add("gif_clear", clear)
    others = [paletted((index + i) % 16) for i in (1, 2)]
    add("gif_animated", saved(paletted(index), "GIF", save_all=True, append_images=others, loop=0, duration=50),
        palette[index])
    small = bytearray(clear)  # the same frame on a larger canvas, away from its corner
    small[6:10] = struct.pack("<HH", WIDTH + 9, HEIGHT + 6)
    at = small.index(b",\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
    small[at + 1:at + 5] = struct.pack("<HH", 4, 5)
    add("gif_small_frame", bytes(small))
    outside = bytearray(saved(paletted(index), "GIF", interlace=0))
    outside[6:10] = struct.pack("<HH", 5, HEIGHT + 3)  # to the right of its canvas, not below it
    canvas = np.full((HEIGHT + 3, WIDTH, 3), 255, np.uint8)
    canvas[:HEIGHT] = palette[index]
    add("gif_outside", bytes(outside), canvas)


# ---- TIFF ----

def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, metadata=None, software=False, **options)
    return buffer.getvalue()


def as_rgb(values):
    return np.repeat(values[..., None], 3, -1)


def add_tiffs():
    for packing in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        name = packing or "plain"
        add(f"tiff_rgb_{name.removeprefix('tiff_')}", saved(Image.fromarray(rgb), "TIFF", compression=packing), rgb)
    add("tiff_predictor", saved(Image.fromarray(rgb), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}), rgb)
    for packing in ("raw", "group3", "group4", "tiff_ccitt"):
        add(f"tiff_1_{packing}", saved(Image.fromarray(bits * 255).convert("1"), "TIFF", compression=packing), as_rgb(bits * 255))
    add("tiff_grey", saved(Image.fromarray(grey), "TIFF"), as_rgb(grey))
    add("tiff_grey_alpha", saved(Image.fromarray(np.dstack([grey, alpha]), "LA"), "TIFF"), over_white(as_rgb(grey), alpha))
    add("tiff_palette", saved(paletted(index), "TIFF"), palette[index])
    add("tiff_rgba", saved(Image.fromarray(rgba, "RGBA"), "TIFF", compression="tiff_lzw"), over_white(rgb, alpha))
    multiplied = div255(rgb.astype(np.int64) * alpha[..., None])
    laid = multiplied.astype(np.int64) + div255(255 * (255 - alpha[..., None].astype(np.int64)))
    add("tiff_multiplied", tiff(np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"]),
        laid.astype(np.uint8))
    add("tiff_extra", tiff(rgba, photometric="rgb", extrasamples=["unspecified"]), rgb)
    add("tiff_cmyk", saved(Image.fromarray(rgba, "CMYK"), "TIFF"))
    add("tiff_jpeg", saved(Image.fromarray(rgb), "TIFF", compression="jpeg", quality=95), bound=LOSSY)
    add("tiff_white_is_0", tiff(grey, photometric="miniswhite"), as_rgb(255 - grey))
    deep = (rgb.astype(np.uint16) * 256 + np.arange(HEIGHT * WIDTH * 3, dtype=np.uint16).reshape(rgb.shape) % 256)
    rounded = ((deep.astype(np.int64) + 128) // 257).astype(np.uint8)
    add("tiff_16", tiff(deep, photometric="rgb"), rounded)
    add("tiff_16_big_endian", tiff(deep, photometric="rgb", byteorder=">", compression="zlib", predictor=True), rounded)
    add("tiff_16_grey", tiff(np.ascontiguousarray(deep[..., 0]), photometric="minisblack"), as_rgb(rounded[..., 0]))
    add("tiff_planes", tiff(np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib"), rgb)
    add("tiff_tiles", tiff(rgb, photometric="rgb", tile=(16, 16), compression="lzw"), rgb)
    add("tiff_tile_planes", tiff(np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16)), rgb)
    add("tiff_large_tile", tiff(rgb, photometric="rgb", tile=(64, 64), compression="zlib"), rgb)
    add("tiff_jpeg_tiles", tiff(rgb, photometric="ycbcr", tile=(16, 16), compression="jpeg", compressionargs={"level": 95}), bound=LOSSY)
    add("tiff_strips", tiff(rgb, photometric="rgb", rowsperstrip=5, compression="zlib"), rgb)
    add("tiff_big", tiff(rgb, photometric="rgb", bigtiff=True), rgb)
    pages = [Image.fromarray(rgb[::-1]), Image.fromarray(rgb[:, ::-1])]
    add("tiff_pages", saved(Image.fromarray(rgb), "TIFF", save_all=True, append_images=pages), rgb)
    for orientation in range(2, 9):
        add(f"tiff_turned_{orientation}", saved(Image.fromarray(rgb), "TIFF", tiffinfo={274: orientation}))


# ---- AVIF ----

def add_avifs():
    smooth = np.stack([x * 12, y * 14, 255 - x * 6 - y * 5], -1).astype(np.uint8)
    image = Image.fromarray(smooth)
    add("avif", saved(image, "AVIF", quality=90), bound=LOSSY)
    add("avif_444", saved(image, "AVIF", quality=90, subsampling="4:4:4"), bound=LOSSY)
    add("avif_alpha", saved(Image.fromarray(np.dstack([smooth, alpha]), "RGBA"), "AVIF", quality=95), bound=LOSSY)
    add("avif_frames", saved(image, "AVIF", quality=90, save_all=True, append_images=[Image.fromarray(255 - smooth)]), bound=LOSSY)
    add("avif_grey", saved(Image.fromarray(grey), "AVIF", quality=95, subsampling="4:0:0"), bound=LOSSY)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[274] = orientation
        add(f"avif_turned_{orientation}", saved(image, "AVIF", quality=90, exif=exif), bound=LOSSY)
    deep = np.dstack([smooth, alpha]).astype(np.uint16) * 4
    add("avif_10", imagecodecs.avif_encode(deep, level=95, bitspersample=10), bound=LOSSY)


def write():
    header, body = {}, bytearray()
    for name, (data, pixels, bound) in sorted(pictures.items()):
        for part, shape, content in (("file", [len(data)], data), ("rgb", list(pixels.shape), pixels.tobytes()),
                                     ("bound", [1], bytes([bound]))):
            header[f"{name}.{part}"] = {"dtype": "U8", "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
            body += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    OUT.write_bytes(struct.pack("<Q", len(text)) + text + body)


add_bmps()
add_gifs()
add_tiffs()
add_avifs()
write()
