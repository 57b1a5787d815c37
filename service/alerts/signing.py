"""Signs deliveries, so that a receiver knows who sent them and when.

The scheme is Standard Webhooks (https://www.standardwebhooks.com): libraries in many languages
check it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    """A new secret: ``whsec_`` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signed_headers(secret: str, message_id: str, moment: int, body: bytes) -> dict[str, str]:
    """The headers that identify and sign a message.

    Args:
        secret: of the watch, from :func:`new_secret`.
        message_id: the same for every attempt.
        moment: of this attempt, in whole seconds since 1970-01-01 UTC.
        body: as it is sent.

    Returns:
        ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``: ``v1,`` and the
        HMAC-SHA256 of id, timestamp and body, joined by full stops, in base64.
    """
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{message_id}.{moment}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(moment),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
