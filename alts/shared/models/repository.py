"""A repository of a request, in any of apt's notations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from alts.shared.openpgp import armored_key

# Suite, component and architecture as in sources.list(5).
_SUITE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._~+/-]*|\.?/)\Z")
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*\Z")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*\Z")
_URL = re.compile(r"https?://[A-Za-z0-9.:_\[\]-]+(?:/[A-Za-z0-9._~%+:@,=/-]*)?\Z")
_CREDENTIALS = re.compile(r"https?://[^/]*@", re.IGNORECASE)
_LONGEST_URL = 2000
# Characters of Source.line, which has no key.
_LONGEST_LINE = 4000
# Characters of `url`, which may be a stanza with a key, and of `gpg_key`.
_LONGEST_TEXT = 65_536
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_OPTIONS = re.compile(r"deb \[ ?(?P<options>[^\[\]]*?) ?\] ")
_STANZA_LINE = re.compile(r"(?P<key>[A-Za-z][A-Za-z-]*):[ \t]*(?P<value>.*)\Z")

_URL_HELP = (
    "only http:// and https:// URLs without credentials or query are accepted, optionally followed by a suite and "
    "components, for example 'http://deb.debian.org/debian bookworm main', or a whole deb822 stanza"
)
_STANZA_FIELDS = ("types", "uris", "suites", "components", "architectures", "trusted", "signed-by", "enabled")


@dataclass(frozen=True)
class Source:
    """Content of a line or a stanza."""

    url: str
    suite: str = "./"
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    trusted: bool = False
    gpg_key: str | None = None

    @property
    def line(self) -> str:
        """Canonical one-line form. parse_source() of it gives the same Source, except for `trusted` and `gpg_key`."""
        options = f"deb [arch={','.join(self.architectures)}] " if self.architectures else ""
        return options + " ".join([self.url, self.suite, *self.components])


class Repository(BaseModel):
    """A repository to test the package from.

    `url` is written as in sources.list(5): "http://host/debian bookworm main", with or without "deb " or
    "deb [arch=amd64 trusted=yes] " before it, or a deb822 stanza ("Types: deb\\nURIs: ..."). A plain URL is that of a
    flat apt repository (suite "./") or the base URL of a dnf repository.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(default=None, max_length=100)
    url: str = Field(min_length=1, max_length=_LONGEST_TEXT)
    trusted: bool = False
    """Use the repository without a signature (apt: [trusted=yes])."""
    gpg_key: str | None = Field(default=None, max_length=_LONGEST_TEXT)
    """Key that signs the repository: ASCII-armored text, or an http(s) URL, fetched when the task runs."""
    priority: int | None = Field(default=None, strict=True, ge=1, le=1000)
    """For apt the pin priority (500 is usual, the highest wins), for dnf its priority (99, the lowest wins)."""

    @model_validator(mode="before")
    @classmethod
    def _options_become_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("url"), str) or len(data["url"]) > _LONGEST_TEXT:
            return data
        try:
            source = parse_source(data["url"])
        except ValueError:
            return data  # the field's own validator reports the error
        lifted = {"trusted": True} if source.trusted else {}
        return data | {"url": source.line} | lifted | ({"gpg_key": source.gpg_key} if source.gpg_key else {})

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, name: str | None) -> str | None:
        if name is not None and not _NAME.match(name):
            raise ValueError("only letters, digits and . _ - are accepted, a letter or digit first")
        return name

    @field_validator("url")
    @classmethod
    def _url_is_a_source(cls, url: str) -> str:
        return parse_source(url).line

    @field_validator("gpg_key")
    @classmethod
    def _key_is_a_url_or_a_key(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is None:
            return None
        if info.data.get("trusted"):
            raise ValueError("give either trusted or gpg_key, not both")
        if key.startswith(("http://", "https://")):
            _check_url(key)
            return key
        return armored_key(key)

    @property
    def source(self) -> tuple[str, str, tuple[str, ...]]:
        """URL, suite and components, e.g. ("http://deb.debian.org/debian", "bookworm", ("main",))."""
        parsed = parse_source(self.url)
        return parsed.url, parsed.suite, parsed.components

    @property
    def architectures(self) -> tuple[str, ...]:
        """Architectures to fetch, with dpkg's names; empty for the machine's own."""
        return parse_source(self.url).architectures

    @property
    def host(self) -> str:
        """Name or address in the URL, without a port. apt distinguishes repositories by it (apt_preferences(5))."""
        return urlsplit(self.source[0]).hostname or ""


def parse_source(text: str) -> Source:
    """Parse a line of sources.list(5) or a deb822 stanza. Raises ValueError that says what is accepted."""
    text = text.strip(" \t\n")
    source = _of_stanza(text) if "\n" in text else _of_line(text)
    if len(source.line) > _LONGEST_LINE:
        raise ValueError(f"a URL with suite, components and architectures may have at most {_LONGEST_LINE} characters")
    _check_url(source.url)
    if not _SUITE.match(source.suite) or not all(_COMPONENT.match(component) for component in source.components):
        raise ValueError("suite and components may hold only letters, digits and . _ ~ + / -")
    if source.suite.endswith("/") == bool(source.components):
        raise ValueError("a suite needs at least one component; a flat repository's path ends with / and has none")
    if not all(_ARCHITECTURE.match(architecture) for architecture in source.architectures):
        raise ValueError("an architecture may hold only lower case letters, digits and -")
    return source


def _check_url(url: str) -> None:
    if len(url) > _LONGEST_URL:
        raise ValueError(f"a URL may have at most {_LONGEST_URL} characters")
    if _CREDENTIALS.match(url):
        raise ValueError("credentials in a URL are not accepted: every package on the machine could read them")
    if not _URL.match(url):
        raise ValueError(_URL_HELP)
    parts = urlsplit(url)  # raises ValueError for brackets without an IPv6 address in them
    if not parts.hostname or not (_is_name(parts.hostname) or parts.netloc.startswith("[")) or parts.port == 0:
        raise ValueError("the URL's host is neither a name nor an address, or its port is 0")


def _is_name(host: str) -> bool:
    """Tell whether DNS can have the name: at most 253 characters, in labels of 1 to 63 (RFC 1035 2.3.4)."""
    return len(host) <= 253 and all(1 <= len(label) <= 63 for label in host.removesuffix(".").split("."))


def _of_line(text: str) -> Source:
    # One blank before "#": with any number of blanks, re would search again from each of ten thousand.
    text = " ".join(re.split(r"[ \t]+", re.sub(r"[ \t]#.*", "", text).rstrip(" \t")))
    options: dict[str, str] = {}
    if match := _OPTIONS.match(text):
        options = dict(_options(match["options"]))
        text = text[match.end() :]
    elif text.startswith("deb "):
        text = text.removeprefix("deb ")
    url, suite, components = _split(text)
    return Source(
        url,
        suite,
        components,
        architectures=tuple(filter(None, options.get("arch", "").split(","))),
        trusted="trusted" in options,
    )


def _split(text: str) -> tuple[str, str, tuple[str, ...]]:
    url, *words = text.split(" ")
    return (url, words[0], tuple(words[1:])) if words else (url, "./", ())


def _options(text: str) -> Iterator[tuple[str, str]]:
    for option in text.split():
        key, _, value = option.partition("=")
        if key == "signed-by":
            raise ValueError("signed-by is not accepted: give the key itself, or its URL, in gpg_key")
        if key not in ("arch", "trusted") or (key == "trusted" and value != "yes"):
            raise ValueError(f"the option {option!r} is not accepted, only arch=... and trusted=yes are")
        yield key, value


def _of_stanza(text: str) -> Source:
    fields = dict(_stanza_fields(text))
    types = fields.get("types", "").split()
    if "deb" not in types or set(types) - {"deb", "deb-src"}:
        raise ValueError("a deb822 stanza must have 'Types: deb', without deb-src")
    if fields.get("enabled", "yes") != "yes":
        raise ValueError("a disabled repository cannot be used: remove 'Enabled: no'")
    for key in ("URIs", "Suites"):
        if len(fields.get(key.lower(), "").split()) != 1:
            raise ValueError(f"a deb822 stanza must have exactly one word in {key}")
    if fields.get("trusted", "no") not in ("yes", "no"):
        raise ValueError("Trusted must be yes or no")
    return Source(
        url=fields["uris"],
        suite=fields["suites"],
        components=tuple(fields.get("components", "").split()),
        architectures=tuple(fields.get("architectures", "").split()),
        trusted=fields.get("trusted") == "yes",
        gpg_key=_signed_by(fields.get("signed-by", "")),
    )


def _stanza_fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield each field's name, in lower case, and value. Continuation lines lose their indentation.

    Raises ValueError for a line that is not a field, and for an unknown field. python-debian's Deb822 is not used
    because it skips such lines, and a second stanza.
    """
    key, lines = "", [""]
    for line in text.strip().splitlines():
        if line.startswith("#"):
            continue
        if key and line.startswith((" ", "\t")):
            # A full stop stands for a blank line (deb822(5)).
            lines.append("" if line.strip() == "." else line.strip())
            continue
        match = _STANZA_LINE.match(line)
        if not match:
            raise ValueError("only one deb822 stanza is accepted, of lines like 'URIs: http://deb.debian.org/debian'")
        if key:
            yield key, "\n".join(lines).strip()
        key, lines = match["key"].lower(), [match["value"]]
        if key not in _STANZA_FIELDS:
            raise ValueError(f"the field {match['key']} is not accepted; choose one of: {', '.join(_STANZA_FIELDS)}")
    yield key, "\n".join(lines).strip()


def _signed_by(value: str) -> str | None:
    if value.startswith("/") or (value and "\n" not in value):
        raise ValueError("Signed-By must hold the armored key itself; give a key file's content, or a URL, in gpg_key")
    return value or None
