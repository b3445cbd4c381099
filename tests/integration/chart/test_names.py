"""Names of releases and namespaces, as Helm and Kubernetes take them: the objects' names are good, or it is refused."""

from __future__ import annotations

import re

import pytest

from .helm import Helm, HelmFailed, by_name
from .mutations import EVERYTHING

NUMBER = re.compile(r"(?i)(name|namespace|instance): (0x)?[0-9][0-9a-f]*$", re.MULTILINE)
"""A name that Kubernetes would read as a number: PyYAML does not take 1e3 for one."""

MAX_RELEASE = 53
"""The longest name of a release that Helm takes."""


@pytest.mark.parametrize("release", ["a.b", "1a", "0", "kdm.eu", "1.2.3"])
def test_a_release_whose_services_would_have_no_good_name_is_refused(helm: Helm, release: str) -> None:
    """Helm takes dots and digits in front; a Service's name has neither, and the rest would have been made already."""
    with pytest.raises(HelmFailed, match=r"a Service's name begins with a letter .* set fullnameOverride"):
        helm.template(EVERYTHING, release=release)
    assert "Service/good" in by_name(helm.template({**EVERYTHING, "fullnameOverride": "good"}, release=release))


@pytest.mark.parametrize(
    ("release", "namespace"),
    [
        ("r" * MAX_RELEASE, "n" * 63),
        ("x" * 46 + "--y", "team"),
        ("x" * 47 + "-----y", "team"),
        ("a--b", "1-2"),
        ("kdm", "123"),
        ("true", "1e3"),
        ("null", "true"),
        ("on", "null"),
        ("yes", "0x1f"),
        ("e3", "15"),
    ],
)
def test_any_other_release_has_good_names_that_are_text(helm: Helm, release: str, namespace: str) -> None:
    """Also where YAML would read a number, a truth or nothing in them."""
    manifests = helm.template(EVERYTHING, release=release, namespace=namespace)
    assert NUMBER.search(manifests) is None
    for key, each in by_name(manifests).items():
        name = each["metadata"]["name"].rpartition(":")[2]
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), key
        assert each["metadata"].get("namespace", namespace) in {namespace, "shop"}
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def test_releases_of_one_name_in_two_namespaces_share_no_object(helm: Helm) -> None:
    """Though they manage the same namespaces and keep what is parked in one place: Helm refuses what another owns."""
    values = {**EVERYTHING, "parking": {"enabled": True, "namespace": "state"}}
    one, other = (
        {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects.values()}
        for objects in (by_name(helm.template(values, namespace=name, release="kdm")) for name in ("blue", "green"))
    )
    assert ("Role", "state", "blue:kdm:parking") in one
    assert one & other == set()


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null"])
def test_names_in_values_stay_text(helm: Helm, name: str) -> None:
    """What Kubernetes would read as a number or a truth is quoted."""
    values = {
        **EVERYTHING,
        "nameOverride": name,
        "fullnameOverride": "kdm",
        "namespaces": [name],
        "serviceAccount": {"name": name},
        "priorityClassName": name,
        "tests": {"clientSecret": name},
        "policy": {"toml": "version = 1", "key": name},
    }
    manifests = helm.template(values, namespace=name)
    assert NUMBER.search(manifests) is None
    objects = by_name(manifests)
    pod = objects["Deployment/kdm"]["spec"]["template"]
    assert pod["spec"]["priorityClassName"] == pod["spec"]["serviceAccountName"] == name
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == name
    assert objects[f"ServiceAccount/{name}"]["metadata"]["namespace"] == name
    assert objects[f"RoleBinding/{name}:kdm"]["subjects"][0]["name"] == name
    assert objects[f"Role/{name}:kdm"]["metadata"]["namespace"] == name
    assert objects["Pod/kdm-test"]["spec"]["volumes"][0]["secret"]["secretName"] == name
    assert list(objects["ConfigMap/kdm-policy"]["data"]) == [name]


@pytest.mark.parametrize(
    "toml", ["  # indented\nversion = 1", "\n\nversion = 1\n\n", "version = 1 # {{ no }}", 'a = "\t: #"']
)
def test_a_policy_arrives_as_it_was_written(helm: Helm, toml: str) -> None:
    data = helm.objects({"trial": {"enabled": True}, "policy": {"toml": toml}})["ConfigMap/demo-kdm-policy"]["data"]
    assert data["policy.toml"].rstrip("\n") == toml.rstrip("\n")
