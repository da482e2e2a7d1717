"""Prove that the installed package is the requested one: the same file from the same repository."""

from __future__ import annotations

from collections.abc import Iterator

from alts.package_managers.base import Candidate, Identity
from alts.pipeline.context import StageContext
from alts.pipeline.stage import StageAnswer
from alts.shared.models.report import Finding, Kind


def right_package(context: StageContext) -> StageAnswer:
    """Compare name, version, architecture, repository and checksum with the request and the repository's index.

    Skipped if the base image had the package: the machine has no file then to compare.
    Raises what StageContext.unanswered() returns if the machine does not answer.
    """
    spec, packages, seen = context.spec, context.packages, context.seen
    if seen.candidate is None or seen.package is None:
        return StageAnswer(skipped="nothing was installed")
    if seen.already_installed:
        return StageAnswer(
            skipped=f"{spec.package_name} {seen.candidate.version} came with the base image: "
            "there is no package file to check its origin with"
        )
    queries = packages.identity(seen.package, seen.candidate)
    done = [context.run(argv, repeatable=True) for argv in queries.argvs]
    if failed := next((one for one in done if not one.ok), None):
        message = f"the machine's package manager cannot be queried: {failed.argv[0]} failed"
        raise context.unanswered(failed, message)
    seen.identity = queries.read([one.output for one in done])
    return StageAnswer(tuple(_findings(context, seen.candidate, seen.identity)))


def _findings(context: StageContext, candidate: Candidate, found: Identity) -> Iterator[Finding]:
    name = context.spec.package_name
    if (found.name, found.version) != (name, candidate.version):
        yield _wrong(f"{name} {candidate.version} was requested", f"{found.name} {found.version}")
    architectures = sorted(context.packages.architectures(context.spec))
    if found.architecture not in architectures:
        yield _wrong(f"{name} was requested for {' or '.join(architectures)}", found.architecture)
    if found.repository != candidate.origin:
        yield _wrong(f"{name} should come from {candidate.origin}", found.repository or "no repository")
    if not found.sha256:
        yield Finding(
            kind=Kind.INTERNAL,
            message=f"the package file of {name} is not on the machine any more, so its checksum cannot be verified",
            evidence=found.file,
        )
    elif found.promised_sha256 and found.sha256 != found.promised_sha256:
        yield Finding(
            kind=Kind.CHECKSUM_MISMATCH,
            message=f"{found.file} does not match the checksum in the index of {found.repository}",
            evidence=f"promised {found.promised_sha256}, installed {found.sha256}",
        )


def _wrong(asked: str, found: str) -> Finding:
    return Finding(
        kind=Kind.WRONG_PACKAGE_INSTALLED,
        message=f"{asked}; found: {found}",
        evidence=found,
    )
