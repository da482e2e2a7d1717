"""A key for tokens that name none."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from alts.shared.auth.tokens import Key, Scope


@dataclass(frozen=True)
class OneSecret:
    """A single key, for tokens without `kid`. Implements Keys."""

    secret: SecretStr
    algorithm: str
    grants: frozenset[Scope] = frozenset(Scope)

    def find(self, algorithm: str, kid: str | None) -> Key | None:
        """See Keys."""
        if (algorithm, kid) != (self.algorithm, None):
            return None
        return Key(self.algorithm, self.secret, self.grants)
