"""Opaque tokens that the server hands out and gets back: versioned, signed, self-contained.

A token is ``base64url(version byte + HMAC-SHA256 of the content, cut to 16 bytes + content)``. The key is the
shop's own, so a token of one shop means nothing in another.
"""

import base64
import binascii
import hashlib
import hmac

from endcap.sdk.errors import InvalidInput


_VERSION = b"\x02"
_SIGNATURE_BYTES = 16


def sign(key: bytes, purpose: str, content: bytes) -> str:
    """Make a token.

    Args:
        key: The shop's token key.
        purpose: What the token is for; a token of one purpose is rejected for another.
        content: The bytes that the token carries.
    """
    return _encode(_VERSION + _signature(key, purpose, content) + content)


def verify(key: bytes, purpose: str, token: str) -> bytes:
    """Return the content of a token that ``sign`` made.

    Raises:
        InvalidInput: The token is not one of this shop and purpose, or was altered.
    """
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (binascii.Error, UnicodeEncodeError) as error:
        raise _refused(purpose) from error
    signature, content = raw[1 : 1 + _SIGNATURE_BYTES], raw[1 + _SIGNATURE_BYTES :]
    if raw[:1] != _VERSION or not hmac.compare_digest(signature, _signature(key, purpose, content)):
        raise _refused(purpose)
    if _encode(raw) != token:  # base64 skips characters outside its alphabet
        raise _refused(purpose)
    return content


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _signature(key: bytes, purpose: str, content: bytes) -> bytes:
    signed = _VERSION + purpose.encode() + b"\x1f" + content
    return hmac.digest(key, signed, hashlib.sha256)[:_SIGNATURE_BYTES]


def _refused(purpose: str) -> InvalidInput:
    return InvalidInput(
        f"the {purpose} was not made by this shop, or was altered: send it back as it came", field=purpose
    )
