"""Whom the NetworkPolicies let through: what the values name, on clusters that differ, and never more by accident."""

from __future__ import annotations

import ipaddress
import itertools
import random
import re
from typing import Any

import pytest

from .helm import Helm, HelmFailed
from .mutations import EVERYTHING
from .test_values import SCHEMA


def rules(helm: Helm, policy: dict[str, Any], side: str, name: str = "demo-kdm") -> list[dict[str, Any]]:
    objects = helm.objects({**EVERYTHING, "networkPolicy": policy})
    found: list[dict[str, Any]] = objects[f"NetworkPolicy/{name}"]["spec"][side]
    return found


@pytest.mark.parametrize("name", ["demo-kdm", "demo-kdm-test"])
def test_dns_is_port_53_of_anybody_unless_values_say_otherwise(helm: Helm, name: str) -> None:
    """For kdm's Pods and the test's. OpenShift's DNS listens on 5353; a node's own cache has an address alone."""
    dns = rules(helm, {}, "egress", name)[0]
    assert dns == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}

    pods = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}},
        "podSelector": {"matchLabels": {"dns.operator.openshift.io/daemonset-dns": "default"}},
    }
    node = {"ipBlock": {"cidr": "169.254.20.10/32"}}
    dns = rules(helm, {"dns": {"ports": [53, 5353], "to": [pods, node]}}, "egress", name)[0]
    assert dns["to"] == [pods, node]
    assert {(each["port"], each["protocol"]) for each in dns["ports"]} == set(
        itertools.product([53, 5353], ["UDP", "TCP"])
    )


@pytest.mark.parametrize(
    ("policy", "place"),
    [
        ({"apiServerPorts": None}, "missing property 'apiServerPorts'"),
        ({"apiServerPorts": []}, "/networkPolicy/apiServerPorts"),
        ({"apiServerPorts": [None]}, "/networkPolicy/apiServerPorts/0"),
        ({"apiServerCidrs": None}, "missing property 'apiServerCidrs'"),
        ({"apiServerCidrs": [""]}, "/networkPolicy/apiServerCidrs/0"),
        ({"dns": None}, "missing property 'dns'"),
        ({"dns": {"ports": None}}, "missing property 'ports'"),
        ({"dns": {"ports": []}}, "/networkPolicy/dns/ports"),
        ({"dns": {"to": [{}]}}, "/networkPolicy/dns/to/0"),
        ({"dns": {"to": [{"podSelector": None}]}}, "/networkPolicy/dns/to/0/podSelector"),
        ({"apiFrom": None}, "missing property 'apiFrom'"),
        ({"apiFrom": [{}]}, "/networkPolicy/apiFrom/0"),
        ({"apiFrom": [None]}, "/networkPolicy/apiFrom/0"),
        ({"apiFrom": [{"namespaceselector": {}}]}, "additional properties 'namespaceselector' not allowed"),
        ({"apiFrom": [{"podSelector": {"matchLabels": None}}]}, "/podSelector/matchLabels"),
        ({"apiFrom": [{"podSelector": {"app": "x"}}]}, "additional properties 'app' not allowed"),
        ({"apiFrom": [{"ipBlock": {}}]}, "missing property 'cidr'"),
        ({"apiFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}, "maxProperties"),
        ({"opsFrom": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}, "'values'"),
        ({"extraEgress": [{}]}, "/networkPolicy/extraEgress/0"),
        ({"extraEgress": [{"to": []}]}, "/networkPolicy/extraEgress/0/to"),
        ({"extraEgress": [{"to": None, "ports": [{"port": 1}]}]}, "/networkPolicy/extraEgress/0/to"),
        ({"extraEgress": [{"ports": []}]}, "/networkPolicy/extraEgress/0/ports"),
        ({"extraEgress": [{"ports": [{"protocol": "TCP"}]}]}, "missing property 'port'"),
        ({"extraEgress": [{"from": [{"podSelector": {}}]}]}, "additional properties 'from' not allowed"),
        ({"extraEgress": [{"ports": [{"port": 9, "endPort": 8}]}]}, "endPort 8 needs a port"),
        ({"extraEgress": [{"ports": [{"port": "http", "endPort": 8}]}]}, "endPort 8 needs a port"),
    ],
    ids=str,
)
def test_what_would_let_everything_through_is_refused(helm: Helm, policy: dict[str, Any], place: str) -> None:
    """In Kubernetes no ports are all ports, and no peers are everybody."""
    with pytest.raises(HelmFailed) as refusal:
        helm.template({**EVERYTHING, "networkPolicy": policy})
    assert place in str(refusal.value)


def test_egress_rules_that_say_what_they_mean_are_taken(helm: Helm) -> None:
    extra = [
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}]},
        {"ports": [{"port": 4317, "protocol": "TCP"}, {"port": 8000, "endPort": 8010}, {"port": "otlp"}]},
        {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]},
    ]
    assert rules(helm, {"extraEgress": extra}, "egress")[2:] == extra


@pytest.mark.parametrize("protocol", ["tcp", "https", "kubernetes.io/wss", "", None])
def test_what_the_service_says_it_speaks_can_be_chosen(helm: Helm, protocol: str | None) -> None:
    """Azure's load balancer probes `https` by a request without a certificate, and finds every node unhealthy."""
    values = (
        EVERYTHING if protocol is None else {**EVERYTHING, "service": {"type": "LoadBalancer", "appProtocol": protocol}}
    )
    (port,) = helm.objects(values)["Service/demo-kdm"]["spec"]["ports"]
    assert port.get("appProtocol", "") == ("https" if protocol is None else protocol)


def test_openshift_chooses_user_and_groups(helm: Helm) -> None:
    """`restricted-v2` refuses a Pod that asks for others than the namespace's: kdm's and the test's ask for none."""
    objects = helm.objects({**EVERYTHING, "runAsUser": None})
    for pod in (objects["Deployment/demo-kdm"]["spec"]["template"], objects["Pod/demo-kdm-test"]):
        contexts = [pod["spec"]["securityContext"], *(each["securityContext"] for each in pod["spec"]["containers"])]
        assert all(not {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} & set(each) for each in contexts)
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(each["capabilities"] == {"drop": ["ALL"]} for each in contexts[1:])


def test_the_schema_takes_the_networks_that_there_are(helm: Helm) -> None:
    """As Python's ipaddress judges 20,000 that are nearly right. What it refuses the API server would, too late."""
    patterns = [re.compile(each["pattern"], re.ASCII) for each in SCHEMA["definitions"]["cidr"]["anyOf"]]
    choose = random.Random(20)  # noqa: S311
    seen = {True: 0, False: 0}
    for _ in range(20_000):
        text = _nearly_a_network(choose)
        taken = any(each.fullmatch(text) for each in patterns)
        assert taken == _is_network(text), text
        seen[taken] += 1
    assert min(seen.values()) > 1000
    with pytest.raises(HelmFailed, match="/service/loadBalancerSourceRanges/0"):
        helm.template({**EVERYTHING, "service": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/33"]}})


def _nearly_a_network(choose: random.Random) -> str:
    if choose.random() < 0.5:
        odd = ["0", "10", "255", "256", "01", "192", ""]
        parts = [choose.choice([*odd, *(str(choose.randrange(256)) for _ in range(28))]) for _ in range(4)]
        parts = parts[: choose.choice([3, 4, 4, 4, 4])]
        return f"{'.'.join(parts)}/{choose.choice(['0', '8', '32', '33', '08', '', '24'])}"
    odd = ["", "0", "db8", "2001", "FFFF", "12345", "g"]
    size = choose.randrange(1, 10)
    groups = [choose.choice([*odd, *(f"{choose.randrange(65536):x}" for _ in range(28))]) for _ in range(size)]
    if choose.random() < 0.6:
        groups.insert(choose.randrange(len(groups) + 1), choose.choice(["", "", ":"]))
    return f"{':'.join(groups)}/{choose.choice(['0', '64', '128', '129', '064', ''])}"


def _is_network(text: str) -> bool:
    address, _, prefix = text.partition("/")
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return prefix == str(int(prefix)) and "%" not in address
