"""Decide what is a valid name of an identity, a camera or a crop.

Each name has one spelling. All input is brought to its normal form first, so ``José`` is the same
person whether a keyboard wrote one character for the last letter or two.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_NAME = 200
"""Longest name, in characters."""

# Zero-width non-joiner and joiner: Persian, Sinhala and others cannot be written without them.
_JOINERS = "\u200c\u200d"
_BLANKS = (
    " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000"
)
_TRIMMED = _BLANKS + _JOINERS  # at an edge a joiner has no effect, except after a virama
_JOINER = "\u200d"
_VIRAMA = 9  # combining class; with a joiner it ends many Malayalam names
_DECODING_FAILED = "\ufffd"
_KINDS = {
    "Cc": "a control character",
    "Cf": "an invisible format character",
    "Cs": "half of a surrogate pair",
    "Co": "a private-use character",
    "Cn": "not an assigned character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Letters, marks and symbols that are invisible: the fillers of Hangul, the empty Braille pattern,
# the inherent vowels of Khmer, and marks that only select how their neighbour is drawn.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_DOTS = frozenset({".", ".."})
_DOT_SEGMENT = re.compile(r"(?<![^/\\])\.{1,2}(?![^/\\])")
_DIGITS = 16


def normal_form(text: str) -> str:
    """Bring a text to its one spelling, whether or not it is a valid name.

    Args:
        text: any text.

    Returns:
        The text in Unicode's form NFC, without blanks around it.
    """
    text = composed(text)
    name = text.strip(_TRIMMED)
    if len(name) == len(text) or not name or unicodedata.combining(name[-1]) != _VIRAMA:
        return name
    cut = text.lstrip(_TRIMMED)[len(name) :]
    return name + _JOINER if cut.startswith(_JOINER) else name


def composed(text: str) -> str:
    """Bring a part of a name, such as its beginning, to Unicode's form NFC; blanks stay."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def name_of(text: str) -> str:
    """Read the name of an identity or a camera.

    Args:
        text: the text as written; blanks around it are dropped.

    Returns:
        The name in its normal form: 1..200 visible characters, blanks, and the joiners U+200C and
        U+200D.

    Raises:
        ValueError: the text is not a valid name; the message says which character broke which rule.
    """
    name = normal_form(text)
    if not name:
        raise ValueError("must contain at least one character that is not blank")
    if len(name) > MAX_NAME:
        raise ValueError(f"must be at most {MAX_NAME} characters long, got {len(name)}")
    if name.isascii() and name.isprintable():
        return name
    for place, character in enumerate(name, start=1):
        if (rule := _broken_rule(character)) is not None:
            raise ValueError(
                f"must not contain U+{ord(character):04X}, which is {rule} (character {place})"
            )
    if not any(_is_seen(character) for character in name):
        raise ValueError("must contain at least one visible character")
    return name


def id_of(text: str) -> str:
    """Read the id of a crop: a name that a URL can hold unchanged.

    Clients resolve ``.`` and ``..`` in a path before they send it, and proxies remove empty
    segments, so the URL of such a crop would address another crop, or the whole gallery.

    Args:
        text: the text as written; blanks around it are dropped.

    Returns:
        The id in its normal form.

    Raises:
        ValueError: it is not a valid name, or has a segment that is ``.``, ``..`` or empty.
    """
    crop_id = name_of(text)
    if "/" in crop_id and not all(crop_id.split("/")):
        raise ValueError(
            "must not begin or end with '/', nor contain '//': proxies remove these from a URL"
        )
    if "." in crop_id and not _DOTS.isdisjoint(_segments(crop_id)):
        raise ValueError(
            "must not contain the segment '.' or '..': clients resolve these in a URL, which then "
            "addresses another crop"
        )
    return crop_id


def is_name(text: str) -> bool:
    """Whether a text is a name in its normal form."""
    try:
        return name_of(text) == text
    except ValueError:
        return False


def fitting_name(text: str) -> str | None:
    """Make a valid name of any text, for names that were stored under older rules.

    Args:
        text: any text.

    Returns:
        Its normal form if that is a valid name; None if none of its characters is visible.
        Otherwise sixteen digits of the text's SHA-256, so that no two people become one, followed
        by the text with ``_`` for every invalid character.
    """
    name = normal_form(text)
    if not any(_is_seen(character) for character in name):
        return None
    try:
        return name_of(name)
    except ValueError:
        return _marked(name, "-", _cleaned(name))


def fitting_id(text: str) -> str:
    """Make a valid crop id of any text, such as a path.

    Args:
        text: any text.

    Returns:
        Its normal form if that is a valid id. Otherwise the answer of :func:`marked_id`.
    """
    try:
        return id_of(text)
    except ValueError:
        return marked_id(normal_form(text))


def marked_id(text: str) -> str:
    """Make an id of any text, different for any two texts even if their normal form is the same.

    Args:
        text: any text.

    Returns:
        Sixteen digits of the text's SHA-256, a slash, and the end of the text with ``_`` for every
        invalid character.
    """
    return _marked(text, "/", _addressable(_cleaned(normal_form(text))))


def _broken_rule(character: str) -> str | None:
    """What is wrong with a character of a name; None if it is valid."""
    if character in _JOINERS:
        return None
    if character in _BIDIRECTIONAL:
        return "a bidirectional control"
    if character == _DECODING_FAILED:
        return "the replacement for a character in another encoding: send UTF-8"
    return _KINDS.get(unicodedata.category(character))


def _is_seen(character: str) -> bool:
    if character in _TRIMMED or character in _UNSEEN:
        return False
    if any(ord(character) in selectors for selectors in _SELECTORS):
        return False
    return unicodedata.category(character) not in _KINDS


def _segments(crop_id: str) -> list[str]:
    # Browsers treat a backslash in an address as a slash.
    return crop_id.replace("\\", "/").split("/")


def _cleaned(text: str) -> str:
    return "".join("_" if _broken_rule(character) else character for character in text)


def _addressable(text: str) -> str:
    """The text with ``_`` for every segment that a client or a proxy would remove."""
    return "/".join(part or "_" for part in _DOT_SEGMENT.sub("_", text).split("/"))


def _marked(text: str, joint: str, clean: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    end = clean[-(MAX_NAME - _DIGITS - len(joint)) :]
    # Cutting may have created a new first segment.
    return f"{digest}{joint}{end if joint != '/' else _addressable(end.lstrip('/'))}"
