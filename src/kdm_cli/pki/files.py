"""Files of certificates: written as a whole or not at all, by one process at a time; every error is one line."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kdm_cli.pki.errors import PkiError
from kdm_http.tls.certificates import BadCertificate, Certificate, RevocationList

_LOCK_WAIT_S: Final = 30.0
"""How long another run may take, which signs and writes a few files: then something is wrong with it."""

_LOCK_POLL_S: Final = 0.02


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, made where missing, against other processes. It ends with this process at the latest.

    Raises:
        PkiError: The file cannot be opened, or another process does not give the lock back.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise PkiError(f"cannot write {path}: {exc.strerror}") from exc
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise PkiError(f"another process has held {path} for {_LOCK_WAIT_S:.0f} s: end it first") from exc
                time.sleep(_LOCK_POLL_S)
            except OSError as exc:
                raise PkiError(f"cannot lock {path}: {exc.strerror}") from exc
        yield
    finally:
        os.close(handle)


def make_directory(path: Path, *, mode: int = 0o777) -> None:
    """Make a directory, and those above it, where missing.

    Raises:
        PkiError: It cannot be made.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as exc:
        raise PkiError(f"cannot write {path}: {exc.strerror}") from exc


def check_absent(directory: Path, names: Iterable[str]) -> None:
    """Make sure that files are not there yet.

    Raises:
        PkiError: One is.
    """
    if there := [str(directory / name) for name in names if (directory / name).exists()]:
        raise PkiError(f"there already: {', '.join(there)}; replace with --force")


def write_files(directory: Path, files: Mapping[str, bytes], *, force: bool, mode: int = 0o644) -> list[Path]:
    """Write files, each as a whole or not at all; those named ``*-key.pem`` for their owner's eyes alone.

    Args:
        directory: Where to; made where missing.
        files: Their contents by name.
        force: Whether to replace what is there.
        mode: Who may read the others.

    Returns:
        Their paths.

    Raises:
        PkiError: One is there already (then nothing is written), or cannot be written.
    """
    paths = [directory / name for name in files]
    if not force:
        check_absent(directory, files)
    make_directory(directory)
    try:
        _write(dict(zip(paths, files.values(), strict=True)), mode)
    except OSError as exc:
        raise PkiError(f"cannot write {exc.filename or directory}: {exc.strerror}") from exc
    return paths


def _write(files: Mapping[Path, bytes], mode: int) -> None:
    """Write files. None is replaced before there was room for all: a key has its certificate."""
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in files.items():
            real = Path(os.path.realpath(path))  # a link, as to what a server reads, stays one
            handle, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)  # made with mode 0600
            written.append((Path(temporary), real))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), 0o600 if path.name.endswith("-key.pem") else mode)
                os.fsync(file.fileno())
        for temporary_path, real in written:
            temporary_path.replace(real)
            _sync_directory(real.parent)  # or a crash could undo this and keep a later file
    except BaseException:
        for temporary_path, _ in written:
            with contextlib.suppress(OSError):
                temporary_path.unlink()
        raise


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        PkiError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise PkiError(f"cannot read {path}: {exc.strerror}") from exc


def read_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM file.

    Raises:
        PkiError: It, or one after it, cannot be read, or there is none.
    """
    return read_certificates(path)[0]


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file. Whatever field of them is looked at later can be read.

    Raises:
        PkiError: One cannot be read, or there is none.
    """
    content = read(path)
    try:
        found = x509.load_pem_x509_certificates(content)
        for each in found:
            Certificate.read(each.public_bytes(serialization.Encoding.DER))
    except BadCertificate as exc:
        raise PkiError(f"{path}: {exc}") from exc
    except x509.InvalidVersion as exc:
        raise PkiError(f"{path}: the certificate cannot be read: {exc}") from exc
    except ValueError as exc:
        raise PkiError(f"{path} holds no PEM certificate") from exc
    return found


def read_crl(path: Path) -> x509.CertificateRevocationList:
    """Return the first revocation list of a PEM file.

    Raises:
        PkiError: It cannot be read, or has none.
    """
    content = read(path)
    try:
        found = x509.load_pem_x509_crl(content)
    except (ValueError, x509.InvalidVersion) as exc:
        raise PkiError(f"{path} holds no PEM revocation list") from exc
    try:
        RevocationList.read(found.public_bytes(serialization.Encoding.DER))
    except BadCertificate as exc:
        raise PkiError(f"{path}: {exc}") from exc
    return found
