"""The provider as a service of Terraform's protocol 6. Adds to tf's servicer what tf 1.2.0 lacks."""

from __future__ import annotations

import logging
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.iface import DeleteContext, Provider
from tf.provider import ProviderServicer
from tf.schema import Schema
from tf.types import Unknown
from tf.utils import Diagnostics, read_dynamic_value

from alts.runners.docker.provider import ADDRESS
from alts.runners.docker.provider.resources import (
    ContainerResource,
    EngineClients,
    EngineResource,
    ImageResource,
    NetworkResource,
)
from alts.runners.docker.provider.schemas import provider_schema

log = logging.getLogger(__name__)


class DockerProvider(Provider):  # type: ignore[misc]  # tf is untyped
    """The resources of one engine. Many terraforms share it, so `host` may only repeat that engine's address."""

    def __init__(self, engine: EngineClients) -> None:
        self._engine = engine

    def get_model_prefix(self) -> str:
        return "docker_"

    def full_name(self) -> str:
        return ADDRESS

    def get_provider_schema(self, diags: Diagnostics) -> Schema:  # noqa: ARG002 - tf's signature
        return provider_schema()

    def validate_config(self, diags: Diagnostics, config: dict[str, Any]) -> None:
        """Do nothing: values may still be unknown. See configure_provider."""

    def configure_provider(self, diags: Diagnostics, config: dict[str, Any] | None) -> None:
        host = (config or {}).get("host")
        if host not in (None, Unknown, self._engine.host):
            diags.add_error(
                "this provider serves another engine",
                f"it was started for {self._engine.host}, and the configuration asks for {host}",
                ["host"],
            )

    def get_data_sources(self) -> list[type]:
        return []

    def get_resources(self) -> list[type[EngineResource]]:
        return [ContainerResource, ImageResource, NetworkResource]

    def new_resource(self, klass: type[EngineResource]) -> EngineResource:
        return klass(self._engine)


class DockerServicer(ProviderServicer):  # type: ignore[misc]  # tf is untyped
    """tf's servicer. Also replaces if only nested blocks change, and undoes objects of terraforms that are gone."""

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().PlanResourceChange(request, context)
        before, after = read_dynamic_value(request.prior_state), read_dynamic_value(request.proposed_new_state)
        if before and after:
            for name, block in self._get_res_blocks(request.type_name).items():
                old, new = (block.decode(state.get(name) or []) for state in (before, after))
                if not block.semantically_equal(old, new):
                    step = pb.AttributePath.Step(attribute_name=name)
                    response.requires_replace.append(pb.AttributePath(steps=[step]))
        return response

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        response = super().ApplyResourceChange(request, context)
        made = read_dynamic_value(response.new_state)
        if made and not context.is_active() and read_dynamic_value(request.prior_state) is None:
            # Terraform was killed while it waited, so no state will have this object.
            self._undo(request.type_name, made)
        return response

    def _undo(self, type_name: str, made: dict[str, Any]) -> None:
        resource = self.app.new_resource(self._get_res_cls(type_name))
        if not resource.undone_when_orphaned:
            return
        diagnostics = Diagnostics()
        resource.delete(DeleteContext(diagnostics, type_name), made)
        outcome = "stays" if diagnostics.has_errors() else "undone"
        log.warning("%s %s was made for a terraform that is gone: %s %s", type_name, made["id"], outcome, diagnostics)
