"""Admission that refuses to scale, or stores another count: a real webhook, served here over TLS, and real policies."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import uuid4

import trustme
from aiohttp import web

from .controlplane.access import Cluster, KubectlFailed
from .kdm_process import wait_until

__all__ = ["Webhook", "mutation", "policy", "webhook"]

TIMEOUT_S: Final = 1
"""How long the API server waits for the webhook, in seconds: the least it accepts."""
_PROBE: Final = 4242
"""A count by which a policy or webhook is asked whether it is in force yet."""


class Webhook:
    """Refuses every write, as it is told to, once it is in force.

    Attributes:
        name: As the API server calls it.
        answers: Makes the answer to a review: an AdmissionReview's ``response``, or any other answer.
    """

    def __init__(self) -> None:
        self.name = f"limits-{uuid4().hex[:6]}.kdm.test"
        self.answers: Callable[[], Mapping[str, Any] | web.Response | None] = dict
        self.asked = 0

    def denies(self, **status: Any) -> None:
        """Deny, with this ``Status``."""
        self.answers = lambda: {"allowed": False, "status": status}

    def fails(self, code: int, text: str) -> None:
        """Answer with what is no review."""
        self.answers = lambda: web.Response(status=code, text=text)

    def hangs(self) -> None:
        """Do not answer."""
        self.answers = lambda: None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one review."""
        review = await request.json()
        self.asked += 1
        answer = self.answers()
        if answer is None:
            await asyncio.Event().wait()  # until the API server gives up, which cancels this
        if isinstance(answer, web.Response):
            return answer
        response = {"uid": review["request"]["uid"], "allowed": True, **(answer or {})}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


@asynccontextmanager
async def webhook(cluster: Cluster, namespace: str, deployment: str) -> AsyncIterator[Webhook]:
    """Serve a webhook that is asked about each write to a ``scale`` in a namespace. It allows all at first.

    Args:
        cluster: One that reaches this machine's loopback address.
        namespace: The namespace.
        deployment: Of a Deployment there, to see by whether the webhook is in force.
    """
    hook, authority = Webhook(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    application = web.Application()
    application.router.add_post("/", hook.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port = runner.addresses[0][1]
        rule = {
            "name": hook.name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": TIMEOUT_S,
            "namespaceSelector": _only(namespace),
            "rules": [_scales()],
            "clientConfig": {
                "url": f"https://127.0.0.1:{port}/",
                "caBundle": base64.b64encode(authority.cert_pem.bytes()).decode(),
            },
        }
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": hook.name},
            "webhooks": [rule],
        }
        await asyncio.to_thread(_apply, cluster, configuration)
        try:
            await asyncio.to_thread(wait_until, lambda: bool(_dry_run(cluster, namespace, deployment) or hook.asked))
            yield hook
        finally:
            await asyncio.to_thread(cluster.kubectl, "delete", "validatingwebhookconfiguration", hook.name)
    finally:
        await runner.cleanup()


@contextmanager
def policy(cluster: Cluster, namespace: str, deployment: str, validations: list[dict[str, str]]) -> Iterator[str]:
    """Put a ValidatingAdmissionPolicy in force over each write to a ``scale`` in a namespace.

    Args:
        cluster: Any.
        namespace: The namespace.
        deployment: Of a Deployment there, to see by whether the policy is in force.
        validations: As the policy has them.

    Yields:
        The policy's name, which is its binding's, too.
    """
    name = f"freeze-{uuid4().hex[:6]}"
    version = "admissionregistration.k8s.io/v1"
    probe = {"expression": f"object.spec.replicas != {_PROBE}", "message": "in force"}
    constraints = {"resourceRules": [_scales()], "namespaceSelector": _only(namespace)}
    spec = {"failurePolicy": "Fail", "matchConstraints": constraints, "validations": [*validations, probe]}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    _apply(
        cluster, {"apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}
    )
    _apply(
        cluster,
        {
            "apiVersion": version,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": binding,
        },
    )
    try:
        wait_until(lambda: "in force" in _dry_run(cluster, namespace, deployment))
        yield name
    finally:
        cluster.kubectl("delete", "validatingadmissionpolicybinding", name)
        cluster.kubectl("delete", "validatingadmissionpolicy", name)


@contextmanager
def mutation(cluster: Cluster, namespace: str, deployment: str, stored: int) -> Iterator[None]:
    """Have a MutatingAdmissionPolicy store one and the same count, whatever is written to a ``scale`` in a namespace.

    Args:
        cluster: Any.
        namespace: The namespace.
        deployment: Of a Deployment there, to see by whether the policy is in force.
        stored: The count.
    """
    name = f"keep-{uuid4().hex[:6]}"
    version = "admissionregistration.k8s.io/v1"
    patch = {"expression": f'[JSONPatch{{op: "add", path: "/spec/replicas", value: {stored}}}]'}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [_scales()], "namespaceSelector": _only(namespace)},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": patch}],
    }
    kinds = (("MutatingAdmissionPolicy", spec), ("MutatingAdmissionPolicyBinding", {"policyName": name}))
    for kind, content in kinds:
        _apply(cluster, {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": content})

    def tried() -> str:
        return cluster.kubectl(
            "patch", "deployment", deployment, f"--namespace={namespace}", "--subresource=scale", "--type=merge",
            f'--patch={{"spec":{{"replicas":{_PROBE}}}}}', "--dry-run=server", "-o", "jsonpath={.spec.replicas}",
        )  # fmt: skip

    try:
        wait_until(lambda: tried() != str(_PROBE))
        yield
        cluster.kubectl("delete", "mutatingadmissionpolicybinding", name)
        wait_until(lambda: tried() == str(_PROBE))
    finally:
        cluster.kubectl("delete", "mutatingadmissionpolicybinding", name, "--ignore-not-found")
        cluster.kubectl("delete", "mutatingadmissionpolicy", name)


def _apply(cluster: Cluster, manifest: Mapping[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps(manifest))


def _dry_run(cluster: Cluster, namespace: str, deployment: str) -> str:
    """Ask whether a write would be refused, and return in which words; "" where it would not."""
    patch = json.dumps({"spec": {"replicas": _PROBE}})
    try:
        cluster.kubectl(
            "patch", "deployment", deployment, f"--namespace={namespace}", "--subresource=scale", "--type=merge",
            f"--patch={patch}", "--dry-run=server",
        )  # fmt: skip
    except KubectlFailed as error:
        return str(error)
    return ""


def _scales() -> dict[str, list[str]]:
    return {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}


def _only(namespace: str) -> dict[str, dict[str, str]]:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
