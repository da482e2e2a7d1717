"""OpenPGP public keys in ASCII armor, the form that every apt and rpm reads.

Only the armor and the first byte are checked; apt and rpm verify the key itself. No library does this here, because
pysequoia is a native extension and pgpy has had no release since 2022.
"""

from __future__ import annotations

import base64
import binascii
import re

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END = "-----END PGP PUBLIC KEY BLOCK-----"
# RFC 9580 6.2: headers, a blank line, base64, an optional checksum.
_ARMOR = re.compile(rf"^{_BEGIN}\n(?:[A-Za-z]+: [ -~]*\n)*\n?(?P<body>(?:[A-Za-z0-9+/=]+\n)+){_END}$", re.MULTILINE)
_HELP = f"only an http:// or https:// URL or ASCII-armored text is accepted, from '{_BEGIN}' to '{_END}'"

# RFC 9580 6.1.1
_CRC24_START = 0xB704CE
_CRC24_POLYNOMIAL = 0x1864CFB


def public_key(content: bytes) -> str:
    """Return the armored form of a key file, which may be armored or binary. Raises ValueError if it is no key."""
    if _BEGIN.encode() in content:
        return armored_key(content.decode("ascii", errors="replace"))
    # The first byte of a packet has its highest bit set, and a public key is a packet of type 6 (RFC 9580 4.2, 5).
    if not content or content[0] not in (0x98, 0x99, 0x9A, 0xC6):
        raise ValueError("not an OpenPGP public key, neither ASCII-armored nor binary")
    return _armored(content)


def armored_key(text: str) -> str:
    """Return a public key's armor with "\\n" line ends, without the text around it.

    Several armors, as distributions have them in one file, become one. Raises ValueError for anything else.
    """
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    blocks = list(_ARMOR.finditer(lines))
    if not blocks or len(blocks) != lines.count("-----BEGIN"):
        raise ValueError(_HELP)
    keys = [_decoded(block["body"]) for block in blocks]
    return f"{blocks[0][0]}\n" if len(keys) == 1 else _armored(b"".join(keys))


def _decoded(body: str) -> bytes:
    # The checksum is a line of its own that begins with "=" (RFC 9580 6.1).
    text = "".join(line for line in body.splitlines() if not line.startswith("="))
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the armored key is damaged: {error}") from None


def _armored(content: bytes) -> str:
    body = base64.b64encode(content).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    checksum = base64.b64encode(crc24(content).to_bytes(3, "big")).decode()
    return "\n".join([_BEGIN, "", *lines, f"={checksum}", _END, ""])


def crc24(content: bytes) -> int:
    """Return the checksum of RFC 9580 6.1."""
    crc = _CRC24_START
    for byte in content:
        crc = (crc << 8 & 0xFFFFFF) ^ _CRC24_TABLE[crc >> 16 ^ byte]
    return crc


def _crc24_of(byte: int) -> int:
    crc = byte << 16
    for _ in range(8):
        crc <<= 1
        if crc & 0x1000000:
            crc ^= _CRC24_POLYNOMIAL
    return crc


# With this table a key of 64 KiB takes milliseconds, without it 0.1 s.
_CRC24_TABLE = [_crc24_of(byte) for byte in range(256)]
