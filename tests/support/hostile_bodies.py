"""Bodies that cost as much work as their size allows, for every scope. bench/hostile_bodies.py uses them too."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alts.shared.auth.tokens import Scope
from alts.shared.openpgp import crc24
from scheduler.api.middleware.body_limit import CALLER_LIMIT, WORKER_LIMIT
from tests.support.builders import TASK_ID

SCHEDULE = "/tasks/schedule"
CANCEL = "/tasks/cancel"
REPORT = f"/worker/tasks/{TASK_ID}/attempts/1/report"
HEARTBEAT = f"/worker/tasks/{TASK_ID}/attempts/1/heartbeat"
OVER = "/worker/attempts/over"

SPEC: dict[str, Any] = {
    "runner_type": "docker",
    "dist_name": "debian",
    "dist_version": "12",
    "dist_arch": "x86_64",
    "package_name": "hello",
}


@dataclass(frozen=True)
class Hostile:
    """A request that is expensive to handle."""

    name: str
    path: str
    scope: Scope | None
    make: Callable[[int], bytes]
    """Return the body, of at most `limit` bytes."""

    @property
    def body(self) -> bytes:
        limit = WORKER_LIMIT if self.path.startswith("/worker/") and self.scope is Scope.WORKER else CALLER_LIMIT
        made = self.make(limit)
        assert len(made) <= limit
        return made


def _filled(before: str, item: str, after: str, *, separator: str = ",") -> Callable[[int], bytes]:
    """Return a maker of bodies that repeat the item as often as it fits."""

    def make(limit: int) -> bytes:
        room = limit - len(before) - len(after) + len(separator)
        return (before + separator.join([item] * (room // (len(item) + len(separator)))) + after).encode()

    return make


def _keys(before: str, after: str) -> Callable[[int], bytes]:
    def make(limit: int) -> bytes:
        pairs = ",".join(f'"{number:x}":1' for number in range((limit - len(before) - len(after)) // 12))
        return (before + pairs + after).encode()

    return make


def _spec(**fields: Any) -> bytes:
    return json.dumps({**SPEC, **fields}).encode()


def _repositories(**fields: Any) -> bytes:
    return _spec(repositories=[{"url": "http://deb.debian.org/debian bookworm main", **fields}] * 20)


def _blanks_in_url(limit: int) -> bytes:
    return _spec(repositories=[{"url": "http://a " + " " * (limit - 300) + "x"}])


def _blanks_in_urls(limit: int) -> bytes:
    return _repositories(url="http://a " + " " * (limit // 20 - 100) + "x")


def _components(limit: int) -> bytes:
    return _repositories(url="http://a b" + " c" * (limit // 40 - 100))


def _architectures(limit: int) -> bytes:
    return _repositories(url=f"deb [arch={'a,' * (limit // 40 - 100)}a] http://a b c")


def _armor(size: int) -> str:
    """Two keys, so that the checksum is computed again."""
    content = b"\x99" + bytes(size * 3 // 8)
    body = base64.encodebytes(content).decode()
    checksum = base64.b64encode(crc24(content).to_bytes(3, "big")).decode()
    block = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}={checksum}\n-----END PGP PUBLIC KEY BLOCK-----\n"
    return block + block


def _two_keys_each(limit: int) -> bytes:
    return _repositories(gpg_key=_armor(limit // 20 - 5000))


def _ids(count: int) -> Callable[[int], bytes]:
    def make(limit: int) -> bytes:
        ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(min(count, limit // 41 - 2))]
        return json.dumps({"task_ids": ids}).encode()

    return make


def _report(**fields: Any) -> bytes:
    report = {"task_id": TASK_ID, "attempt": 1, "outcome": "passed", "reason": "", **fields}
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode()


def _good_report(limit: int) -> bytes:
    finding = {"kind": "bad_rpath", "message": "\x01" * 150, "evidence": "," * 600}
    count = (limit - 20_000) // (len(json.dumps(finding)) + 1) // 10
    stage = {"stage": "integrity", "outcome": "failed", "findings": [finding] * min(count, 400)}
    return _report(stages=[stage] * 10)


def _mapping(limit: int) -> bytes:
    return _report(package={f"{number:x}": "x" for number in range(limit // 16 - 100)})


_REPOSITORIES = '{"dist_name":"debian","repositories":['
_STAGES = '{"task_id":"x","attempt":1,"outcome":"passed","reason":"","stages":['

_CALLERS = (
    ("repositories {}", SCHEDULE, _filled(_REPOSITORIES, "{}", "]}")),
    ('repositories "x"', SCHEDULE, _filled(_REPOSITORIES, '"x"', "]}")),
    ("repositories 1", SCHEDULE, _filled(_REPOSITORIES, "1", "]}")),
    ("repositories [[]]", SCHEDULE, _filled(_REPOSITORIES, "[]", "]}")),
    ('list of "x"', SCHEDULE, _filled("[", '"x"', "]")),
    ("list of {}", SCHEDULE, _filled("[", "{}", "]")),
    ("list of floats", SCHEDULE, _filled("[", "1.5", "]")),
    ("nested lists", SCHEDULE, _filled("", "[", "", separator="")),
    ("nested objects", SCHEDULE, _filled("", '{"a":', "", separator="")),
    ("keys", SCHEDULE, _keys("{", "}")),
    ("keys of a repository", SCHEDULE, _keys(_REPOSITORIES + "{", "}]}")),
    ("one key again and again", SCHEDULE, _filled("{", '"a":1', "}")),
    ("escapes", SCHEDULE, _filled('{"dist_name":"', "\\u0041", '"}', separator="")),
    ("pairs of surrogates", SCHEDULE, _filled('{"dist_name":"', "\\ud83d\\udc27", '"}', separator="")),
    ("half surrogates", SCHEDULE, _filled('{"dist_name":"', "\\ud800", '"}', separator="")),
    ("quotes in a string", SCHEDULE, _filled('{"dist_name":"', '\\"', '"}', separator="")),
    ("commas in a string", SCHEDULE, _filled('{"dist_name":"', ",", '"}', separator="")),
    ("empty strings", SCHEDULE, _filled("", '""', "", separator="")),
    ("backslashes", SCHEDULE, _filled("", "\\", "", separator="")),
    ("long key", SCHEDULE, _filled('{"', "k", '":1}', separator="")),
    ("long text", SCHEDULE, _filled('"', "x", '"', separator="")),
    ("long name", SCHEDULE, _filled('{"package_name":"', "x", '"}', separator="")),
    ("endless integer", SCHEDULE, _filled('{"dist_version":', "9", "}", separator="")),
    ("endless fraction", SCHEDULE, _filled('{"dist_version":0.', "9", "}", separator="")),
    ("blanks", SCHEDULE, _filled("", " ", "1", separator="")),
    ("blanks in a url", SCHEDULE, _blanks_in_url),
    ("blanks in urls", SCHEDULE, _blanks_in_urls),
    ("components in urls", SCHEDULE, _components),
    ("architectures in urls", SCHEDULE, _architectures),
    ("small, read at once", SCHEDULE, lambda _limit: _spec(repositories=[{"url": "http://a b" + " c" * 1900}])),
    ("two keys each, accepted", SCHEDULE, _two_keys_each),
    ("ids to cancel, too many", CANCEL, _ids(10**6)),
    ("ids to cancel, a thousand", CANCEL, _ids(1000)),
    ("ids that are none", CANCEL, _filled('{"task_ids":[', "{}", "]}")),
    ("no such route", "/nothing", _filled("[", "{}", "]")),
)
_WORKERS = (
    ("stages {}", REPORT, _filled(_STAGES, "{}", "]}")),
    ("stages 1", REPORT, _filled(_STAGES, "1", "]}")),
    ("keys of a mapping", REPORT, _mapping),
    ("a report, full", REPORT, _good_report),
    ("progress {}", HEARTBEAT, _filled('{"progress":[', "{}", "]}")),
    ("attempts", OVER, _filled('{"attempts":[', '["x",1]', "]}")),
    ("a thousand attempts", OVER, lambda _limit: json.dumps({"attempts": [[TASK_ID, 1]] * 1000}).encode()),
    ("queues", "/worker/presence", _filled('{"worker":"w","ready":true,"queues":[', "1", "]}")),
    ("escapes", HEARTBEAT, _filled('{"progress":"', "\\u0001", '"}', separator="")),
    ("nested lists", REPORT, _filled("", "[", "", separator="")),
)
HOSTILE = (
    *(
        Hostile(f"{scope or 'nobody'}: {name}", path, scope, make)
        for scope in (Scope.ADMIN, Scope.READ, None)
        for name, path, make in (_CALLERS if scope is Scope.ADMIN else _CALLERS[:1])
    ),
    *(Hostile(f"worker: {name}", path, Scope.WORKER, make) for name, path, make in _WORKERS),
    Hostile("worker: at the callers' door", SCHEDULE, Scope.WORKER, _CALLERS[0][2]),
    Hostile("write: at the workers' door", REPORT, Scope.WRITE, _WORKERS[0][2]),
)
