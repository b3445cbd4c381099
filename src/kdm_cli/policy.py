"""``kdm policy``: check a policy file, and ask it why somebody may do something or not."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdm_core import DeploymentRef, Identity, InvalidInput, Policy, PolicyError, Verb, parse_policy, regular_file
from kdm_core.names import check_replicas
from kdm_core.policy import Explanation, Verdict

if TYPE_CHECKING:
    from argparse import _SubParsersAction

ALLOWED: Final = 0
DENIED: Final = 1
BAD_INPUT: Final = 2
"""argparse exits with the same code for arguments it cannot read."""

_VERBS: Final = {verb.value: verb for verb in (Verb.READ, Verb.SCALE)}


def register(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``policy`` to a command line. ``args.handler(args)`` then runs it and returns the exit code.

    Args:
        subparsers: What ``ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser("policy", help="check and explain policy files")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser(
        "check", help="check a policy file", description="Check a policy file. Exits with 0 if it is valid, else 2."
    )
    command.add_argument("file", metavar="FILE", help="the policy file, - for standard input")
    command.set_defaults(handler=check)

    command = commands.add_parser(
        "explain",
        help="say whether and why somebody may do something",
        description="Say whether a policy allows something, and why. Exits with 0 if it does, 1 if not, "
        "2 if the question or the file makes no sense. The bounds of the configuration apply as well.",
    )
    command.add_argument("file", metavar="FILE", help="the policy file, - for standard input")
    command.add_argument("--user", required=True, help="the certificate's common name, or its SPIFFE ID")
    command.add_argument("--group", action="append", default=[], help="an organization of it; may be repeated")
    command.add_argument("--verb", required=True, choices=sorted(_VERBS))
    command.add_argument("--deployment", required=True, metavar="NAMESPACE/NAME")
    command.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the Deployment; may be repeated"
    )
    command.add_argument("--replicas", type=int, metavar="N", help="the count to scale to; without it, to any")
    command.add_argument(
        "--without-reason", action="store_true", help="ask as somebody who gives no reason for a scale"
    )
    command.add_argument(
        "--override", action="store_true", help="ask as somebody who overrides an owner that changes the count back"
    )
    command.set_defaults(handler=explain)


def check(args: argparse.Namespace) -> int:
    """Run ``kdm policy check``."""
    try:
        policy = _read(args.file)
    except InvalidInput as error:
        return _complain(error)
    count = len(policy.grants)
    summary = f"{count} grant{'' if count == 1 else 's'}" if count else "no grants, so everything is denied"
    return _print([f"{args.file}: valid: {summary}"], ALLOWED)


def explain(args: argparse.Namespace) -> int:
    """Run ``kdm policy explain``."""
    try:
        policy = _read(args.file)
        actor = Identity(args.user, frozenset(args.group))
        verb = _VERBS[args.verb]
        ref = _ref(args.deployment)
        labels = dict(_label(text) for text in args.label)
        replicas = _replicas(args.replicas, verb)
        reason = _reason(verb, without=args.without_reason)
        override = _override(verb, asked=args.override)
    except InvalidInput as error:
        return _complain(error)
    explanation = policy.explain(actor, verb, ref, labels, replicas, reason=reason, override=override)
    return _print(_answer(explanation, verb), ALLOWED if explanation.allowed else DENIED)


def _print(lines: list[str], code: int) -> int:
    """Print an answer. Where nobody could read it, the exit code must not claim that there was one."""
    try:
        print("\n".join(lines), flush=True)
    except OSError as error:
        # The interpreter would try to write the rest of the buffer when it exits, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(f"standard output: {error.strerror}")
    return code


def _answer(explanation: Explanation, verb: Verb) -> list[str]:
    if explanation.allowed:
        return ["allowed", *(f"  by {_title(each)}{_condition(each, verb)}" for each in explanation.allowing)]
    if not explanation.verdicts:
        return ["denied", "  the policy has no grants, so everything is denied"]
    return ["denied", *(f"  not by {_title(v)}: {'; '.join(v.misses)}" for v in explanation.near_misses)]


def _condition(verdict: Verdict, verb: Verb) -> str:
    return ", with a reason" if verdict.grant.require_reason and verb is Verb.SCALE else ""


def _title(verdict: Verdict) -> str:
    name = verdict.grant.name
    return f"grant[{verdict.index}]" + (f" {name!r}" if name else "")


def _read(file: str) -> Policy:
    """Read a policy file.

    Raises:
        InvalidInput: It cannot be read or is no policy; the message begins with the file's name.
    """
    try:
        if file == "-":
            data = sys.stdin.buffer.read(regular_file.MAX_BYTES + 1)
        else:  # a pipe is welcome too, as of a shell's <(...)
            with Path(file).open("rb") as opened:
                data = opened.read(regular_file.MAX_BYTES + 1)
        if len(data) > regular_file.MAX_BYTES:
            raise InvalidInput(f"{file}: larger than {regular_file.MAX_BYTES} bytes")
        text = data.decode("utf-8-sig")  # Windows' editors begin with a mark
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        return parse_policy(text)
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from error


def _ref(text: str) -> DeploymentRef:
    namespace, slash, name = text.partition("/")
    if not slash:
        raise InvalidInput(f"--deployment {text!r}: must be NAMESPACE/NAME")
    return DeploymentRef.parse(namespace, name)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidInput(f"--label {text!r}: must be KEY=VALUE")
    return key, value


def _replicas(replicas: int | None, verb: Verb) -> int | None:
    if replicas is None:
        return None
    if verb is not Verb.SCALE:
        raise InvalidInput("--replicas has no meaning without --verb scale")
    return check_replicas(replicas)


def _reason(verb: Verb, *, without: bool) -> bool:
    if without and verb is not Verb.SCALE:
        raise InvalidInput("--without-reason has no meaning without --verb scale")
    return not without


def _override(verb: Verb, *, asked: bool) -> bool:
    if asked and verb is not Verb.SCALE:
        raise InvalidInput("--override has no meaning without --verb scale")
    return asked


def _complain(error: InvalidInput | str) -> int:
    print(f"kdm policy: {error}", file=sys.stderr)
    return BAD_INPUT
