"""What a name is: of an identity, a camera or a crop. The one place that decides.

One name has one spelling. Every way in brings a text to its normal form first, so ``José`` means
the same person whether a keyboard wrote one character for the last letter or two.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_NAME = 200
"""Most characters of a name."""

# Zero-width non-joiner and joiner: Persian, Sinhala and others cannot be written without them.
_JOINERS = "\u200c\u200d"
_BLANKS = (
    " \t\n\r\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u202f\u205f\u3000"
)
_TRIMMED = _BLANKS + _JOINERS  # at an edge, a joiner joins nothing, except after a virama
_JOINER = "\u200d"
_VIRAMA = 9  # a combining class; with a joiner it is the last letter of many Malayalam names
_DECODING_FAILED = "\ufffd"
_KINDS = {
    "Cc": "a control character",
    "Cf": "an invisible format character",
    "Cs": "half of a surrogate pair",
    "Co": "a private-use character",
    "Cn": "no assigned character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# Letters, marks and symbols that are drawn as nothing: the fillers of Hangul, the empty Braille
# pattern, the inherent vowels of Khmer, and marks that only choose how their neighbour is drawn.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_DOTS = frozenset({".", ".."})
_DOT_SEGMENT = re.compile(r"(?<![^/\\])\.{1,2}(?![^/\\])")
_DIGITS = 16


def normal_form(text: str) -> str:
    """The one spelling of a text, whether or not it can be a name.

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
    """A text in Unicode's form NFC, blanks and all: for a part of a name, such as its beginning."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def name_of(text: str) -> str:
    """Read the name of an identity or a camera.

    Args:
        text: what somebody wrote; blanks around it are dropped.

    Returns:
        The name in its normal form: 1..200 characters that can be seen, blanks, and the joiners
        U+200C and U+200D.

    Raises:
        ValueError: the text can be no name; the message says which character broke which rule.
    """
    name = normal_form(text)
    if not name:
        raise ValueError("must hold at least one character that is not blank")
    if len(name) > MAX_NAME:
        raise ValueError(f"must be at most {MAX_NAME} characters long, got {len(name)}")
    if name.isascii() and name.isprintable():
        return name
    for place, character in enumerate(name, start=1):
        if (rule := _broken_rule(character)) is not None:
            raise ValueError(
                f"must not hold U+{ord(character):04X}, which is {rule} (character {place})"
            )
    if not any(_is_seen(character) for character in name):
        raise ValueError("must hold at least one character that can be seen")
    return name


def id_of(text: str) -> str:
    """Read the id of a crop: a name that a URL can hold as it is.

    Clients fold ``.`` and ``..`` in a path before they send it, and proxies fold empty segments:
    the URL of such a crop would mean another crop, or the whole gallery.

    Args:
        text: what somebody wrote; blanks around it are dropped.

    Returns:
        The id in its normal form.

    Raises:
        ValueError: it can be no name, or holds a segment ``.``, ``..`` or an empty one.
    """
    crop_id = name_of(text)
    if "/" in crop_id and not all(crop_id.split("/")):
        raise ValueError(
            "must not begin or end with '/', nor hold '//': proxies fold these in a URL"
        )
    if "." in crop_id and not _DOTS.isdisjoint(_segments(crop_id)):
        raise ValueError(
            "must not hold the segment '.' or '..': clients fold these in a URL, and would mean "
            "another crop"
        )
    return crop_id


def is_name(text: str) -> bool:
    """Whether a text is a name in its normal form."""
    try:
        return name_of(text) == text
    except ValueError:
        return False


def fitting_name(text: str) -> str | None:
    """Make a name of any text, for what was stored under older rules.

    Args:
        text: any text.

    Returns:
        Its normal form if that is a name; None if nothing of it can be seen. Else ``_`` for what
        must not be in a name, after sixteen digits of the text's SHA-256, so that no two people
        become one.
    """
    name = normal_form(text)
    if not any(_is_seen(character) for character in name):
        return None
    try:
        return name_of(name)
    except ValueError:
        return _marked(name, "-", _cleaned(name))


def fitting_id(text: str) -> str:
    """Make a crop's id of any text, such as a path.

    Args:
        text: any text.

    Returns:
        Its normal form if that is an id. Else its end with ``_`` for what must not be in an id,
        after sixteen digits of the text's SHA-256 and a slash.
    """
    try:
        return id_of(text)
    except ValueError:
        return marked_id(normal_form(text))


def marked_id(text: str) -> str:
    """Make an id of any text that no other text has, also none of the same normal form.

    Args:
        text: any text.

    Returns:
        Sixteen digits of the text's SHA-256, a slash, and the text's end with ``_`` for what must
        not be in an id.
    """
    return _marked(text, "/", _addressable(_cleaned(normal_form(text))))


def _broken_rule(character: str) -> str | None:
    """What is wrong with a character of a name; None if nothing is."""
    if character in _JOINERS:
        return None
    if character in _BIDIRECTIONAL:
        return "a bidirectional control"
    if character == _DECODING_FAILED:
        return "what is left of a character in another encoding: send UTF-8"
    return _KINDS.get(unicodedata.category(character))


def _is_seen(character: str) -> bool:
    if character in _TRIMMED or character in _UNSEEN:
        return False
    if any(ord(character) in selectors for selectors in _SELECTORS):
        return False
    return unicodedata.category(character) not in _KINDS


def _segments(crop_id: str) -> list[str]:
    # Browsers take a backslash in an address for a slash.
    return crop_id.replace("\\", "/").split("/")


def _cleaned(text: str) -> str:
    return "".join("_" if _broken_rule(character) else character for character in text)


def _addressable(text: str) -> str:
    """The text with ``_`` for every segment that a client or a proxy would fold."""
    return "/".join(part or "_" for part in _DOT_SEGMENT.sub("_", text).split("/"))


def _marked(text: str, joint: str, clean: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    end = clean[-(MAX_NAME - _DIGITS - len(joint)) :]
    # The cut may have made a new first segment.
    return f"{digest}{joint}{end if joint != '/' else _addressable(end.lstrip('/'))}"
