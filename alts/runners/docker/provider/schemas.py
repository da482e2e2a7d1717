"""Terraform schemas of the provider's resources. Pure.

Names and types are those of kreuzwerker/docker 3.6, except `pids_limit`, which that provider lacks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from tf.blocks import SetNestedBlock
from tf.schema import Attribute, Block, Schema
from tf.types import Bool, List, Map, Number, Set, String, TfType


class ObjectList(TfType):  # type: ignore[misc]  # tf is untyped
    """A list of objects whose attributes are all strings. tf 1.2 has no object type."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def encode(self, value: Any) -> Any:
        return value

    def decode(self, value: Any) -> Any:
        return value

    def tf_type(self) -> bytes:
        return json.dumps(["list", ["object", dict.fromkeys(self._names, "string")]]).encode()


def _required(name: str, kind: TfType) -> Attribute:
    return Attribute(name, kind, required=True, requires_replace=True)


def _optional(name: str, kind: TfType, *, requires_replace: bool = True) -> Attribute:
    return Attribute(name, kind, optional=True, requires_replace=requires_replace)


def _defaulted(name: str, kind: TfType, default: object) -> Attribute:
    return Attribute(name, kind, optional=True, computed=True, default=default, requires_replace=True)


def _computed(name: str, kind: TfType) -> Attribute:
    return Attribute(name, kind, computed=True)


def _labels() -> SetNestedBlock:
    return SetNestedBlock("labels", Block([_required("label", String()), _required("value", String())]))


@functools.cache
def provider_schema() -> Schema:
    return Schema(attributes=[Attribute("host", String(), optional=True)])


@functools.cache
def container_schema() -> Schema:
    return Schema(
        version=2,
        attributes=[
            _computed("id", String()),
            _required("name", String()),
            _required("image", String()),
            _optional("command", List(String())),
            _optional("env", Set(String())),
            _optional("hostname", String()),
            _optional("init", Bool()),
            _defaulted("network_mode", String(), "bridge"),
            _optional("security_opts", Set(String())),
            _optional("memory", Number()),  # MB
            _optional("memory_swap", Number()),  # MB, memory included
            _optional("cpus", String()),
            _optional("pids_limit", Number()),
            _optional("shm_size", Number()),  # MB
            _optional("log_driver", String()),
            # Reading a stopped container returns false, and Terraform replaces it because of the difference.
            _defaulted("must_run", Bool(), default=True),
            _optional("remove_volumes", Bool(), requires_replace=False),
            _optional("destroy_grace_seconds", Number(), requires_replace=False),
            _computed("network_data", ObjectList("network_name", "ip_address", "gateway", "mac_address")),
        ],
        block_types=[
            _labels(),
            SetNestedBlock("capabilities", Block([_optional("add", Set(String())), _optional("drop", Set(String()))])),
            SetNestedBlock(
                "networks_advanced", Block([_required("name", String()), _optional("aliases", Set(String()))])
            ),
        ],
    )


@functools.cache
def image_schema() -> Schema:
    return Schema(
        attributes=[
            _computed("id", String()),
            _required("name", String()),
            _optional("platform", String()),
            _optional("keep_locally", Bool(), requires_replace=False),
            _optional("force_remove", Bool(), requires_replace=False),
            _computed("image_id", String()),
        ],
    )


@functools.cache
def network_schema() -> Schema:
    return Schema(
        attributes=[
            _computed("id", String()),
            _required("name", String()),
            _defaulted("driver", String(), "bridge"),
            _optional("internal", Bool()),
            _optional("options", Map(String())),
        ],
        block_types=[
            _labels(),
            SetNestedBlock("ipam_config", Block([_optional("subnet", String()), _optional("gateway", String())])),
        ],
    )


def labels_of(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the `labels` blocks of a resource as a mapping for the Docker SDK."""
    return {block["label"]: block["value"] for block in state.get("labels") or ()}
