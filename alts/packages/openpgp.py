"""Public keys in ASCII armor, which every apt and rpm reads."""

from __future__ import annotations

import base64

from alts.shared.repository import armored_key

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"

# RFC 9580 6.1.1
_CRC24_START = 0xB704CE
_CRC24_POLYNOMIAL = 0x1864CFB


def public_key(content: bytes) -> str:
    """The armored key of a key file, whichever of both forms it has. Raises ValueError where it is no key."""
    if content.lstrip().startswith(b"-----BEGIN"):
        return armored_key(content.decode("ascii", errors="replace"))
    # A packet's first byte has its highest bit set; a public key's packet is of type 6 (RFC 9580 4.2, 5).
    if not content or content[0] not in (0x98, 0x99, 0x9A, 0xC6):
        raise ValueError("not an OpenPGP public key, neither ASCII-armored nor binary")
    body = base64.b64encode(content).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    checksum = base64.b64encode(crc24(content).to_bytes(3, "big")).decode()
    return "\n".join([_BEGIN, "", *lines, f"={checksum}", _END, ""])


def crc24(content: bytes) -> int:
    """The checksum of RFC 9580 6.1."""
    crc = _CRC24_START
    for byte in content:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC24_POLYNOMIAL
    return crc
