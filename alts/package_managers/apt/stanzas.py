"""Read stanzas of fields (deb822(5)). python-debian does the reading."""

from __future__ import annotations

from collections.abc import Mapping

from debian.deb822 import Deb822


def read_stanzas(text: str) -> tuple[Mapping[str, str], ...]:
    """Read the stanzas between empty lines. Field names match in any case, and lines without a field are passed over.

    This function splits the text because Deb822.iter_paragraphs() opens a text of one line as a file of that name, and
    stops at the first stanza without a field. It splits with splitlines() because Deb822 raises ValueError if a value's
    line holds one of the other line ends.
    """
    return tuple(Deb822(stanza.splitlines()) for stanza in text.split("\n\n") if stanza.strip())
