"""What a TIFF file states of itself: its tags, the range of its values, and its pages."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, TiffTags

from frcnn.data.image_source import ImageFile, bytes_of
from frcnn.data.intensity import IntensityRange
from frcnn.errors import ImageError, SeveralPagesError

# Of PhotometricInterpretation.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
SEPARATE_PLANES = 2  # of PlanarConfiguration
SIGNED = 2  # of SampleFormat
ASSOCIATED_ALPHA = 1  # of ExtraSamples: colors are multiplied by it
_ALPHA = (ASSOCIATED_ALPHA, 2, 999)  # the last one is what CorelDRAW writes
_COLORS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, PALETTE: 1, CMYK: 4}  # samples of it; others 3
_NUMBERS = {info.name: number for number, info in TiffTags.TAGS_V2.items()}
# What can be the largest possible value of images, as against the largest one in an image.
_TOPS = {1.0, *(2.0**bits - 1 for bits in range(8, 17))}
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a smaller copy, a mask of transparency
NO_PICTURE = _REDUCED | _MASK
_ONE_CHANNEL = ("1", "L", "F")  # and all modes that begin with I
_MOST_TEXT = 2**18  # characters of a description that are searched
_MOST_PAGES = 100  # that are looked at; a pyramid has a dozen
_ANY_STACK = "such as red, green and blue, or a stack"
HOW_TO_SPLIT = ("save one page, as gray or as RGB. tifffile splits it into files of a page each: "
                "python -c \"import sys, tifffile; [tifffile.imwrite(f'page{i}.tif', "
                "page.asarray()) for i, page in enumerate(tifffile.TiffFile(sys.argv[1]).pages)]\""
                " FILE")

TagReader = Callable[[str], Any]


def tag(image: Image.Image, name: str) -> Any:
    """The value of a TIFF's tag, the first of several; None without it, or in another format."""
    value = all_of_tag(image, name)
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value


def all_of_tag(image: Image.Image, name: str) -> Any:
    """The value of a TIFF's tag, a tuple of several; None without it, or in another format."""
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(_NUMBERS[name])


def range_of_tags(read: TagReader) -> IntensityRange | None:
    """The range of possible values that a TIFF states, or None.

    These are BitsPerSample below 16, SignificantBits in the description of an OME-TIFF, and
    MaxSampleValue or SMaxSampleValue. The last two are often the largest value of the one image,
    which says nothing of the others; they count where they are one less than a power of 2, or 1.
    SignificantBits of 16 is what programs write that do not know it, so it counts for nothing.

    Args:
        read: function of a tag's name that returns its value, the first of several, or None.
    """
    bits = read("BitsPerSample")
    if isinstance(bits, int) and 8 < bits < 16:
        return 0.0, 2.0**bits - 1
    significant = re.search(r'<(?:\w+:)?Pixels\b[^>]{0,2000}\sSignificantBits="(\d{1,2})"',
                            _description(read))
    if significant and 8 <= int(significant[1]) < 16:
        return 0.0, 2.0**int(significant[1]) - 1
    for top, bottom in (("MaxSampleValue", "MinSampleValue"),
                        ("SMaxSampleValue", "SMinSampleValue")):
        high, low = read(top), read(bottom)
        if high is not None and float(high) in _TOPS and not low:
            return 0.0, float(high)
    return None


def _description(read: TagReader) -> str:
    text = read("ImageDescription")
    return text[:_MOST_TEXT] if isinstance(text, str) else ""


# --- samples of a pixel -----------------------------------------------------------------------


def has_unnamed(name: str, photometric: int, samples: int, extra: Sequence[int] | None,
                channels: int) -> bool:
    """Whether samples of a pixel are neither color nor alpha, such as near infrared.

    Such a file is one of as many channels as it has samples, and not a picture.

    Args:
        name: of the file.
        photometric: PhotometricInterpretation.
        samples: SamplesPerPixel.
        extra: ExtraSamples; None without the tag: a fourth sample of RGB is alpha then.
        channels: with which the file is read.

    Raises:
        ImageError: there are such samples, and the file is read with another number of channels.
    """
    more = max(0, samples - _COLORS.get(photometric, 3))
    if extra is None:
        has_alpha = photometric == RGB and more > 0
    else:
        has_alpha = any(value in _ALPHA for value in extra[:more])
    unnamed = more - has_alpha
    if unnamed and samples != channels:
        raise ImageError(
            f"{name}: has {counted(samples)}, {unnamed} of them neither color nor alpha by its "
            f"tag ExtraSamples, but {channels} are read (IMAGE_CHANNEL_COUNT); set it to "
            f"{samples}, or save the file without what is not wanted.")
    return unnamed > 0


def is_of_channels(image: Image.Image, path: ImageFile, channels: int) -> bool:
    """`has_unnamed` of an image that Pillow opened; False for other formats than TIFF."""
    photometric = tag(image, "PhotometricInterpretation")
    if image.format != "TIFF" or photometric is None:
        return False
    extra = all_of_tag(image, "ExtraSamples")
    if extra is not None and not isinstance(extra, tuple):
        extra = (extra,)
    return has_unnamed(str(path), photometric, tag(image, "SamplesPerPixel") or 1, extra,
                       channels)


def counted(channels: int) -> str:
    """A number of channels with its word."""
    return f"{channels} channel{'s' * (channels > 1)}"


def check_count(name: str, count: int, channels: int, possible: Sequence[int] = ()) -> None:
    """Checks that a file of `count` channels can be read with another number, of channels.

    Args:
        name: of the file.
        count: channels that it has.
        channels: with which it is read.
        possible: those that it can be read with; none: only its own.

    Raises:
        ImageError: it cannot.
    """
    if channels not in (possible or (count,)):
        raise ImageError(f"{name}: has {counted(count)}, but {channels} are read "
                         "(IMAGE_CHANNEL_COUNT); set it to what all images have, or leave this one "
                         "out.")


# --- pages ------------------------------------------------------------------------------------


def refuse_pages(image: Image.Image, path: ImageFile) -> None:
    """Raises SeveralPagesError for a TIFF whose first page is not the picture alone.

    Several pages of one size may be the channels of one picture, or planes of a stack, or a film.
    Before a larger page, the first may be a preview. Smaller pages, as in a pyramid, and masks are
    ignored.
    """
    if image.format != "TIFF":
        return
    problem = _problem_of_pages(image) or _problem_of_contiguous_stack(image, path)
    if problem:
        raise SeveralPagesError(f"{path}: {problem}")


def has_one_channel(image: Image.Image) -> bool:
    """Whether an image that Pillow opened has gray pixels, of any depth."""
    return image.mode in _ONE_CHANNEL or image.mode.startswith("I")


def _problem_of_pages(image: Image.Image) -> str | None:
    first, is_gray = image.size, has_one_channel(image)
    is_preview = bool((tag(image, "NewSubfileType") or 0) & _REDUCED)
    description = _description(lambda name: tag(image, name))
    page, problem = 1, None
    while problem is None and page < _MOST_PAGES:
        try:
            image.seek(page)
        except EOFError:
            break
        except Exception:  # of a later page that Pillow does not read, of any kind
            if page == 1:
                raise
            break
        if not (tag(image, "NewSubfileType") or 0) & NO_PICTURE:
            problem = _problem_of(page, image.size, first, is_gray, is_preview, description)
        page += 1
    image.seek(0)
    return problem


def _problem_of(page: int, size: tuple[int, int], first: tuple[int, int], is_gray: bool,
                is_preview: bool, description: str) -> str | None:
    """What is wrong with a page after the first one, if anything."""
    if is_preview or size[0] * size[1] > first[0] * first[1]:
        return (f"its page {page + 1} is the picture, of {size[0]} x {size[1]} pixels, and the "
                f"first is a preview of it, or another; {HOW_TO_SPLIT}.")
    if size != first:
        return None
    kind = "of one gray channel each" if is_gray else "of one size"
    stated = _stated_stack(description)
    return f"has several pages {kind}, {stated or _ANY_STACK}; {HOW_TO_SPLIT}."


def _problem_of_contiguous_stack(image: Image.Image, path: ImageFile) -> str | None:
    """ImageJ writes large stacks with the tags of the first plane alone; the others follow it."""
    description = _description(lambda name: tag(image, name))
    match = re.match(r"ImageJ=.*?^images=(\d{1,9})\s*$", description, re.DOTALL | re.MULTILINE)
    tiles = getattr(image, "tile", None)
    bits = tag(image, "BitsPerSample")
    if not match or int(match[1]) < 2 or not tiles or not isinstance(bits, int) \
            or tag(image, "Compression") not in (None, 1):
        return None
    width, height = image.size
    plane = width * height * bits * int(tag(image, "SamplesPerPixel") or 1) // 8
    if bytes_of(path) < tiles[0][2] + int(match[1]) * plane:  # the text is of another file
        return None
    return f"has {match[1]} planes, {_stated_stack(description)}; {HOW_TO_SPLIT}."


def _stated_stack(description: str) -> str:
    """What the pages are by the description of OME or ImageJ; empty if that does not say it."""
    parts = []
    for pattern, names in (
            (r'<(?:\w+:)?Pixels\b[^>]{{0,2000}}\s{}="(\d{{1,9}})"', ("SizeC", "SizeZ", "SizeT")),
            (r"(?s)^ImageJ=.*\n{}=(\d{{1,9}})\b", ("channels", "slices", "frames"))):
        for name, word in zip(names, ("channels", "planes in depth", "points in time")):
            match = re.search(pattern.format(name), description)
            if match and int(match[1]) > 1:
                parts.append(f"{match[1]} {word}")
    return f"by its description {' and '.join(parts)}" if parts else ""
