"""The chart's values: each is documented and reaches kdm, and nothing else is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from kdm_cli.settings import SETTINGS, Settings

from .helm import CHART, Helm, HelmFailed
from .values_table import renewed, rows

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TRIAL: dict[str, Any] = {"trial": {"enabled": True}}
SERVER: dict[str, Any] = {"existingSecret": "server"}
EXISTS: dict[str, Any] = {"key": "a", "operator": "Exists"}
SECURED: dict[str, Any] = {"tls": {**SERVER, "clientCa": {"existingSecret": "ca"}}, "policy": {"allowAll": True}}

# Settings that follow from other values, and one that has no place in a cluster: its certificates are public.
DERIVED = {
    "kubeconfig", "context", "namespaces", "tls_cert", "tls_key", "tls_client_ca", "tls_client_crl", "policy_file",
    "owners", "events",
    "parking",
    "parking_namespace",
}  # fmt: skip
LEFT_OUT = {"dev"}


def test_the_readme_shows_every_value() -> None:
    """If not, `python tests/integration/chart/values_table.py` writes the table."""
    readme = (CHART / "README.md").read_text()
    assert readme == renewed(readme)
    assert all(f"`{path}`" in readme for path, _, _ in rows((CHART / "values.yaml").read_text()))


def test_the_schema_knows_the_values_that_exist_and_no_other() -> None:
    """At every level: a key without a default, or a default without a key, is a mistake in one of them."""

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        properties = schema.get("properties")
        if properties is None:  # a map with keys of the user's, or Kubernetes' own
            return
        assert schema["additionalProperties"] is False, path
        if values:  # issuerRef and affinity have none by default
            assert set(properties) - {"global"} == set(values), path
        for key, value in values.items():
            if isinstance(value, dict):
                compare(properties[key], value, f"{path}.{key}")

    compare(SCHEMA, DEFAULTS, "values")


def test_every_setting_of_kdm_can_be_reached() -> None:
    """A new setting of `kdm serve` needs a value here: in values.yaml, the schema and, by itself, the README."""
    assert {each.name for each in SETTINGS} == {*DEFAULTS["settings"], *DERIVED, *LEFT_OUT}


def test_settings_have_kdms_own_defaults_except_where_a_pod_needs_others() -> None:
    differing = {
        each.name: DEFAULTS["settings"][each.name]
        for each in SETTINGS
        if each.name in DEFAULTS["settings"] and each.parse(_text(DEFAULTS["settings"][each.name])) != each.default
    }
    assert differing == {
        "repository": "kubernetes",
        "host": "*",
        "ops_host": "*",
        "audit_file": "-",
        "log_format": "json",
    }


def test_kdm_reads_every_setting_as_the_values_gave_it(helm: Helm) -> None:
    """The ConfigMap is an environment that kdm accepts; numbers are not written in ways it would not understand."""
    given = {
        "max_replicas": 2147483647,
        "limit_requests_burst": 100000000,
        "limit_grace_s": 0.25,
        "label_selector": 'tier in (a, b), "odd"',
        "refuse_stale": True,
    }
    objects = helm.objects({**SECURED, "namespaces": ["shop", "payments"], "settings": given})
    settings = Settings.read(objects["ConfigMap/demo-kdm-settings"]["data"])
    assert settings.max_replicas == 2147483647
    assert settings.limits.requests_burst == 100000000
    assert settings.limits.grace_s == 0.25
    assert settings.label_selector == 'tier in (a, b), "odd"'
    assert settings.refuse_stale
    assert settings.namespaces == ("shop", "payments")
    assert settings.repository == "kubernetes"
    assert settings.audit_destination == "-"


@pytest.mark.parametrize("name", sorted(DEFAULTS["settings"]))
def test_the_schema_refuses_what_kdm_would_refuse(helm: Helm, name: str) -> None:
    """So that a mistake is told by `helm upgrade`, and not by a Pod that cannot start."""
    anything = {"host", "ops_host", "label_selector", "audit_file"}  # kdm takes any text, the schema no other type
    bad: list[Any] = [[], 7 if name in anything else "nonsense!"]
    for each in bad:
        with pytest.raises(HelmFailed, match=f"/settings/{name}'"):
            helm.template({**TRIAL, "settings": {name: each}})


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"unknown": 1}, "additional properties 'unknown' not allowed"),
        ({"settings": {"dev": True}}, "'/settings': additional properties 'dev' not allowed"),
        ({"settings": {"max_replica": 1}}, "additional properties 'max_replica' not allowed"),
        ({"tls": {"existingsecret": "x"}}, "additional properties 'existingsecret' not allowed"),
        ({"tls": {"clientCa": {"secret": "x"}}}, "additional properties 'secret' not allowed"),
        ({"tls": {"certManager": {"issuerRef": {"nam": "x"}}}}, "additional properties 'nam' not allowed"),
        ({"metrics": {"serviceMonitor": {"interval": 30}}}, "/metrics/serviceMonitor/interval"),
        ({"image": {"pullPolicy": "always"}}, "/image/pullPolicy"),
        ({"image": {"digest": "sha256:short"}}, "/image/digest"),
        ({"image": {"tag": "a b"}}, "/image/tag"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        ({"replicaCount": "two"}, "/replicaCount"),
        ({"replicaCount": -1}, "/replicaCount"),
        ({"minReadySeconds": 600}, "/minReadySeconds"),
        (
            {"networkPolicy": {"apiFrom": [{"podSelector": {"matchExpressions": [{**EXISTS, "key": "{"}]}}]}},
            "/matchExpressions/0/key",
        ),
        ({"namespaces": "shop"}, "/namespaces"),
        ({"namespaces": ["Shop"]}, "/namespaces/0"),
        ({"namespaces": ["shop", "shop"]}, "/namespaces"),
        ({"namespaces": ["*"]}, "/namespaces/0"),
        ({"settings": {"port": 0}}, "/settings/port"),
        ({"settings": {"namespace": "Shop"}}, "/settings/namespace"),
        ({"settings": {"limit_grace_s": 0}}, "/settings/limit_grace_s"),
        ({"shutdown": {"preStopSleepSeconds": -1}}, "/shutdown/preStopSleepSeconds"),
        ({"service": {"type": "ExternalName"}}, "/service/type"),
        ({"service": {"loadBalancerSourceRanges": ["anywhere"]}}, "/service/loadBalancerSourceRanges/0"),
        ({"podDisruptionBudget": {"maxUnavailable": "101%"}}, "/podDisruptionBudget/maxUnavailable"),
        ({"networkPolicy": {"apiServerPorts": []}}, "/networkPolicy/apiServerPorts"),
        ({"resources": {"requests": {"memory": "lots"}}}, "/resources/requests/memory"),
        ({"resources": {"request": {}}}, "additional properties 'request' not allowed"),
        ({"livenessProbe": {"httpGet": {}}}, "additional properties 'httpGet' not allowed"),
        ({"runAsUser": 0}, "/runAsUser"),
        ({"tolerations": [{"keys": "a"}]}, "additional properties 'keys' not allowed"),
        ({"affinity": {"nodeAffinities": {}}}, "additional properties 'nodeAffinities' not allowed"),
        ({"topologySpreadConstraints": [{"topologyKey": "zone"}]}, "/topologySpreadConstraints/0"),
        ({"podLabels": {"a": "not a label!"}}, "/podLabels/a"),
        ({"podAnnotations": {"a": 1}}, "/podAnnotations/a"),
        ({"extraEnv": [{"value": "x"}]}, "/extraEnv/0"),
        ({"extraVolumeMounts": [{"name": "x"}]}, "/extraVolumeMounts/0"),
    ],
    ids=json.dumps,
)
def test_the_schema_names_what_it_refuses(helm: Helm, values: dict[str, Any], place: str) -> None:
    with pytest.raises(HelmFailed) as refusal:
        helm.template({**TRIAL, **values})
    assert place in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "needs a server certificate"),
        ({"tls": SERVER}, "whose client certificates to accept"),
        ({"tls": SECURED["tls"]}, "everything is denied without a policy"),
        ({**SECURED, "tls": {"clientCa": {"existingSecret": "ca"}}}, "needs a server certificate"),
        (
            {**SECURED, "tls": {**SERVER, "certManager": {"enabled": True, "issuerRef": {"name": "x"}}}},
            "the server has one certificate",
        ),
        (
            {**SECURED, "tls": {"certManager": {"enabled": True}, "clientCa": {"fromServerSecret": True}}},
            "needs tls.certManager.issuerRef.name",
        ),
        (
            {**SECURED, "tls": {**SERVER, "clientCa": {"existingSecret": "a", "existingConfigMap": "b"}}},
            "tls.clientCa has more than one source",
        ),
        (
            {**SECURED, "tls": {**SECURED["tls"], "crl": {"existingSecret": "a", "existingConfigMap": "b"}}},
            "tls.crl has two sources",
        ),
        ({**SECURED, "tls": {**SECURED["tls"], "extraDnsNames": ["a.example"]}}, "tls.extraDnsNames is for"),
        ({**SECURED, "policy": {"allowAll": True, "toml": "version = 1"}}, "there is more than one policy"),
        ({**SECURED, **TRIAL}, "trial.enabled generates the certificates"),
        ({**TRIAL, "policy": {"allowAll": True, "existingConfigMap": "p"}}, "there is more than one policy"),
        ({**TRIAL, "policy": {"key": "p.toml"}}, "policy.key says where"),
        ({**TRIAL, "settings": {"repository": "memory", "label_selector": "a=b"}}, "need settings.repository"),
        ({**TRIAL, "settings": {"repository": "memory"}, "events": {"enabled": True}}, "events.enabled needs settings"),
        ({**TRIAL, "settings": {"history_entries": 0}, "events": {"enabled": True}}, "events.enabled needs a history"),
        ({**SECURED, "kubeconfig": {"context": "x"}}, "kubeconfig.context needs"),
        ({**TRIAL, "namespaces": ["shop"], "settings": {"namespace": "payments"}}, "'payments', which kdm is not to"),
        ({**TRIAL, "serviceAccount": {"create": False}}, "serviceAccount.name must say"),
        ({**TRIAL, "settings": {"port": 8081}}, "need a port each"),
        ({**TRIAL, "settings": {"audit_file": "/audit"}}, "settings.audit_file is a file"),
        ({**TRIAL, "extraEnv": [{"name": "KDM_MAX_REPLICAS", "value": "1"}]}, "settings.max_replicas"),
        ({**TRIAL, "terminationGracePeriodSeconds": 20}, "must be more than the 20 s"),
        ({**TRIAL, "terminationGracePeriodSeconds": 30, "settings": {"limit_grace_s": 19.1}}, "more than the 30 s"),
        ({**TRIAL, "autoscaling": {"enabled": True, "minReplicas": 9}}, "autoscaling.minReplicas is more"),
        (
            {**TRIAL, "autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}},
            "needs resources.requests.cpu",
        ),
        ({**TRIAL, "service": {"nodePort": 30000}}, "service.nodePort needs"),
        ({**TRIAL, "service": {"loadBalancerClass": "x"}}, "need service.type LoadBalancer"),
        (
            {**TRIAL, "metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}},
            "needs metrics.service.enabled",
        ),
        (
            {**TRIAL, "metrics": {"serviceMonitor": {"enabled": True, "interval": "5s"}}},
            "metrics.serviceMonitor.scrapeTimeout must not be more",
        ),
        (
            {
                **SECURED,
                "tls": {
                    "certManager": {"enabled": True, "issuerRef": {"name": "x"}, "duration": "720h"},
                    "clientCa": {"fromServerSecret": True},
                },
            },
            "renewBefore must be less than tls.certManager.duration",
        ),
        ({**TRIAL, "settings": {"ops_host": "127.0.0.1"}}, "where the kubelet's probes cannot reach it"),
        ({**TRIAL, "extraVolumes": [{"name": "tls", "emptyDir": {}}]}, "there is a volume 'tls' already"),
        ({**TRIAL, "extraVolumes": [{"name": "a", "emptyDir": {}}] * 2}, "there is a volume 'a' already"),
        ({**TRIAL, "extraVolumeMounts": [{"name": "a", "mountPath": "/a"}]}, "there is no volume 'a'"),
        (
            {**TRIAL, "extraVolumeMounts": [{"name": "tls", "mountPath": "/etc/kdm/policy"}]},
            "something is mounted at /etc/kdm/policy already",
        ),
        ({**TRIAL, "extraContainers": [{"name": "kdm", "image": "x"}]}, "there is a container 'kdm' already"),
        ({**TRIAL, "extraEnv": [{"name": "TZ", "value": "UTC"}] * 2}, "TZ is there twice"),
        (
            {**TRIAL, "extraEnv": [{"name": "TZ", "value": "", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]},
            "TZ has value and valueFrom",
        ),
        (
            {**TRIAL, "topologySpreadConstraints": [DEFAULTS["topologySpreadConstraints"][0]] * 2},
            "kubernetes.io/hostname, ScheduleAnyway is there twice",
        ),
        (
            {
                **TRIAL,
                "topologySpreadConstraints": [{**DEFAULTS["topologySpreadConstraints"][0], "minDomains": 2}],
            },
            "needs whenUnsatisfiable DoNotSchedule",
        ),
        ({**TRIAL, "tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "Exists takes no value"),
        ({**TRIAL, "tolerations": [{"effect": "NoSchedule"}]}, "says so by operator Exists"),
        ({**TRIAL, "tolerations": [{"key": "a", "tolerationSeconds": 5}]}, "needs effect NoExecute"),
        ({**TRIAL, "resources": {"requests": {"memory": "1Gi"}}}, "the request of memory, 1Gi, is more than its limit"),
        ({**TRIAL, "resources": {"limits": {"memory": "1e6"}}}, "the request of memory, 128Mi, is more than"),
        ({**TRIAL, "resources": {"limits": {"cpu": 0.05}}}, "the request of cpu, 100m, is more than its limit, 0.05"),
    ],
    ids=json.dumps,
)
def test_a_combination_that_cannot_work_is_refused_with_a_sentence(
    helm: Helm, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(HelmFailed) as refusal:
        helm.template(values)
    assert sentence in str(refusal.value)


def test_an_older_cluster_is_refused(helm: Helm) -> None:
    """Before 1.30 the sleep that a Pod ends with is off by default, and the API server drops it without a word."""
    with pytest.raises(HelmFailed, match="incompatible with Kubernetes"):
        helm.template(TRIAL, version="1.29.9")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
