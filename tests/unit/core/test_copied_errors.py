"""Every error survives what programs do with errors: pickle, deepcopy, and the way home from another process."""

from __future__ import annotations

import copy
import errno
import importlib
import inspect
import multiprocessing
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from types import ModuleType
from typing import Final

import pytest

import kdm_adapters
import kdm_cli
import kdm_core
import kdm_http
from kdm_adapters.kubernetes.api.client import ApiError
from kdm_adapters.kubernetes.config.credentials import CredentialsError, InvalidClusterConfig
from kdm_adapters.kubernetes.config.exec_plugin import PluginError
from kdm_adapters.kubernetes.config.go_yaml import InvalidYaml
from kdm_adapters.kubernetes.config.tls_context import UnusableCertificate
from kdm_adapters.kubernetes.parking.records import Unreadable
from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_adapters.kubernetes.wire.protobuf_fields import Malformed
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_adapters.remote.access import InvalidAccess
from kdm_adapters.remote.decoding import NotKdms
from kdm_adapters.remote.errors import Problem
from kdm_adapters.remote.sse import EventTooLarge
from kdm_adapters.remote.transport_errors import AnswerLost, Misdirected, NotAccepted, Unreachable, Untrusted
from kdm_adapters.side_thread import Stalled
from kdm_cli.exits import CommandError, Exit
from kdm_cli.extras import MissingExtra
from kdm_cli.loopback import _Broken
from kdm_cli.news import PipeClosed
from kdm_cli.pki.errors import PkiError
from kdm_cli.settings import BadSetting
from kdm_core import (
    AmbiguousName,
    AuditUnavailable,
    BulkRefused,
    BulkTooLarge,
    CacheNotSynced,
    CacheStale,
    ChangedSinceParked,
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    Forbidden,
    InvalidInput,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    NothingToPark,
    NotParked,
    NotSeenYet,
    NotTried,
    OverrideForbidden,
    Owner,
    OwnerConflict,
    OwnerType,
    ParkingFull,
    ParkingOff,
    ParkingRecordUnreadable,
    PlanChanged,
    PolicyError,
    PreconditionFailed,
    ReasonRequired,
    Unavailable,
    Verb,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
    WriteRejected,
    judge,
)
from kdm_core.copyable import Copyable
from kdm_core.errors import Contended, InvalidChange, InvalidQuery, InvalidSelector, OutOfBounds
from kdm_http.api.errors import BadRequest, Refused
from kdm_http.server.header_budget import HeaderTooLarge
from kdm_http.server.listener import BindError
from kdm_http.server.request_head import BadHead
from kdm_http.server.serve import ServerError
from kdm_http.tls.certificate_files import TlsConfigurationError
from kdm_http.tls.certificates import BadCertificate
from kdm_http.tls.peer import PeerRefused
from kdm_http.tls.pem import PemError
from kdm_http.tls.rejection import Reason
from kdm_http.tls.trial import TrialFailed
from kdm_http.tls.verifier import MaterialMismatch
from unit.core.fixtures import ALICE, WEB, fail

ERRORS: Final[list[Exception]] = [
    KdmError("m"),
    InvalidInput("m"),
    InvalidName("name", "A" * 100, "a name"),
    InvalidReplicas(10**5000, 5),
    InvalidQuery("m"),
    InvalidChange("m"),
    InvalidSelector("a in", "m"),
    OutOfBounds(WEB, 3, 9, 0, 5),
    Contended(WEB, 7),
    PolicyError("m"),
    PreconditionFailed("m"),
    DeploymentNotFound(WEB),
    DeploymentNotFound("web"),
    NamespaceNotWatched("blog", ["shop"]),
    AmbiguousName("web", ["a", "b"]),
    Forbidden(ALICE, Verb.READ, "it", "shop"),
    ReasonRequired(ALICE, Verb.SCALE, "it", "shop"),
    OverrideForbidden(ALICE, Verb.SCALE, "it", "shop"),
    OwnerConflict(WEB, 9, judge([Owner("ScaledObject", "web", 1, 4, OwnerType.SCALED_OBJECT)], 3, 9)),
    WriteRejected("m"),
    WriteConflict("m"),
    WriteForbidden("m"),
    WriteInvalid("m"),
    Unavailable("m"),
    CacheNotSynced("m"),
    CacheStale("m"),
    ClusterUnreachable("m"),
    ClusterUnrecognized("m"),
    ClusterTimeout("m"),
    ClusterOverloaded("m", 7),
    NotSeenYet("m"),
    NotTried("m"),
    PlanChanged("c84f"),
    BulkTooLarge(612, 500),
    BulkRefused([(WEB, OutOfBounds(WEB, 3, 9, 0, 5))], 40),
    AuditUnavailable("m"),
    ParkingOff(),
    NothingToPark(WEB),
    NotParked(WEB, "m"),
    ChangedSinceParked(WEB, 2, 5, "was scaled", forgotten=True),
    ParkingRecordUnreadable(WEB, "there", "m"),
    ParkingFull("there", "1 MiB"),
    InvalidClusterConfig("m"),
    Copyable("m"),
    ApiError(Failure(409, "Conflict", "m", causes=(("a", "b"),), retry_after_s=2.5)),
    CredentialsError("what", "detail"),
    PluginError("what", "detail"),
    UnusableCertificate("m"),
    InvalidYaml("m"),
    ProtocolError("m\n"),
    Malformed("m"),
    Stalled(errno.EAGAIN, "m"),
    BadHead(417, "m"),
    BadRequest("m", 415),
    Refused("idempotency-key-reused", 422, "m", written=None, retry_after_s=1),
    BadSetting("m"),
    BindError("m"),
    PeerRefused(Reason.NO_IDENTITY, "m"),
    BadCertificate("m"),
    PemError("m"),
    PkiError("m"),
    ServerError("m"),
    TlsConfigurationError("m"),
    TrialFailed("m"),
    MaterialMismatch("m"),
    MissingExtra("m"),
    HeaderTooLarge("m"),
    Unreadable("m"),
    InvalidAccess("m"),
    NotKdms("m"),
    Problem(409, {"code": "write-conflict", "detail": "m"}),
    EventTooLarge("m"),
    AnswerLost("m"),
    Misdirected("m"),
    NotAccepted("m"),
    Unreachable("m"),
    Untrusted("m"),
    CommandError("m", Exit.DENIED, "forbidden"),
    _Broken("m"),
    PipeClosed("m"),
]


def test_errors_come_home_from_a_process_pool() -> None:
    """Each says the same and knows the same, and the pool goes on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for error in ERRORS:
            with pytest.raises(type(error)) as caught:
                pool.submit(fail, error).result(60)
            assert_alike(caught.value, error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_every_kind_of_copy(error: Exception) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert_alike(pickle.loads(pickle.dumps(error, protocol)), error)  # noqa: S301 - our own
    assert_alike(copy.copy(error), error)
    assert_alike(copy.deepcopy(error), error)


def assert_alike(copied: Exception, error: Exception) -> None:
    assert type(copied) is type(error)
    assert (str(copied), copied.args) == (str(error), error.args)
    known = {name: value for name, value in vars(copied).items() if name != "__notes__"}
    if isinstance(error, BulkRefused):  # errors within an error: each was copied, too
        for (ref, one), (other_ref, other) in zip(known.pop("items"), error.items, strict=True):
            assert ref == other_ref
            assert_alike(one, other)
        assert known == {"total": error.total}
    else:
        assert known == vars(error)


def modules(root: ModuleType) -> Iterator[ModuleType]:
    for each in pkgutil.walk_packages(root.__path__, root.__name__ + "."):
        if "__main__" not in each.name:
            yield importlib.import_module(each.name)


def test_no_error_of_kdm_is_left_out_here() -> None:
    """Nor one of those that never leave it: a program's pool of processes may bring any of them home."""
    found = {
        value
        for root in (kdm_core, kdm_adapters, kdm_http, kdm_cli)
        for module in modules(root)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == module.__name__
    }
    assert found == {type(error) for error in ERRORS}
