"""Settings: each is a flag and a variable, and what cannot be is refused by name with what can."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs
import pytest

from kdm_cli.settings import SETTINGS, BadSetting, Setting, Settings, add_flags
from kdm_http.server.limits import Limits


def flags(*argv: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


def test_without_any_kdm_listens_on_loopback_alone_and_holds_demo_data() -> None:
    settings = Settings.read({}, flags())
    assert settings == Settings()
    assert (settings.host, settings.ops_host) == ("127.0.0.1", "127.0.0.1")
    assert (settings.repository, settings.namespace, settings.max_replicas) == ("memory", "*", 1000)
    assert (settings.dev, settings.tls_min_version, settings.audit_file) == (False, "1.3", "")
    assert settings.limits == Limits()


def test_a_flag_wins_over_its_variable() -> None:
    environment = {"KDM_PORT": "9000", "KDM_OPS_PORT": "9001", "KDM_REFUSE_STALE": "true", "KDM_LIMIT_IDLE_S": "5"}
    settings = Settings.read(environment, flags("--port", "9100", "--no-refuse-stale", "--limit-idle-s", "7.5"))
    assert (settings.port, settings.ops_port, settings.refuse_stale) == (9100, 9001, False)
    assert settings.limits == Limits(idle_s=7.5)


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.read(
        {
            "KDM_NAMESPACES": "shop, payments",
            "KDM_NAMESPACE": "shop",
            "KDM_TLS_CERT": "/etc/kdm/tls.crt",
            "KDM_STALE_AFTER_S": "30.5",
            "KDM_DEV": "no",
            "KDM_LOOP": "asyncio",
            "KDM_LIMIT_CONNECTIONS": "10",
            "PATH": "/bin",
            "KDM_TEST_CLUSTER": "of the test suite",
            "KDM_CACHE_DIR": "of the test suite",
        }
    )
    assert settings.namespaces == ("shop", "payments")
    assert settings.tls_cert == Path("/etc/kdm/tls.crt")
    assert (settings.namespace, settings.stale_after_s, settings.dev, settings.loop) == ("shop", 30.5, False, "asyncio")
    assert settings.limits.connections == 10


def test_the_variables_of_a_kubernetes_service_called_kdm_are_no_settings() -> None:
    """Kubernetes puts them into every Pod of the namespace, kdm's own too, and one has the name of a setting."""
    environment = {
        "KDM_SERVICE_HOST": "10.0.0.7",
        "KDM_SERVICE_PORT": "8443",
        "KDM_SERVICE_PORT_HTTPS": "8443",
        "KDM_PORT": "tcp://10.0.0.7:8443",
        "KDM_PORT_8443_TCP": "tcp://10.0.0.7:8443",
        "KDM_PORT_8443_TCP_PROTO": "tcp",
        "KDM_PORT_8443_TCP_PORT": "8443",
        "KDM_PORT_8443_TCP_ADDR": "10.0.0.7",
        "KDM_OPS_SERVICE_HOST": "10.0.0.8",
        "KDM_OPS_PORT": "tcp://10.0.0.8:8081",
        "KDM_OPS_PORT_8081_TCP_ADDR": "10.0.0.8",
    }
    assert Settings.read(environment) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("KDM_PORT", "http", "an integer from 0 to 65535"),
        ("KDM_PORT", "65536", "an integer from 0 to 65535"),
        ("KDM_PORT", "-1", "an integer from 0 to 65535"),
        ("KDM_MAX_REPLICAS", "2147483648", "from 0 to 2147483647"),
        ("KDM_REPOSITORY", "etcd", "one of memory, kubernetes"),
        ("KDM_DEV", "maybe", "true or false"),
        ("KDM_STALE_AFTER_S", "nan", "a number of at least 1"),
        ("KDM_STALE_AFTER_S", "inf", "a number of at least 1"),
        ("KDM_WRITE_TIMEOUT_S", "0", "a number of at least 0.1"),
        ("KDM_NAMESPACE", "Shop", "DNS-1123"),
        ("KDM_NAMESPACES", "shop,a.b", "DNS-1123"),
        ("KDM_TLS_MIN_VERSION", "1.1", "one of 1.3, 1.2"),
        ("KDM_LIMIT_CONNECTIONS", "0", "an integer from 1"),
        ("KDM_LIMIT_GRACE_S", "soon", "a number of at least"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(BadSetting) as as_variable:
        Settings.read({name: value})
    assert str(as_variable.value).startswith(f"{name}: ")
    assert allowed in str(as_variable.value)
    setting = next(each for each in SETTINGS if each.variable == name)
    with pytest.raises(BadSetting) as as_flag:
        Settings.read({}, {setting.name: value})
    assert str(as_flag.value).startswith(f"{setting.flag}: ")


@pytest.mark.parametrize(
    ("name", "hint"), [("KDM_POTR", "did you mean KDM_PORT?"), ("KDM_COLOUR_SCHEME", "kdm serve --help")]
)
def test_an_unknown_variable_is_named(name: str, hint: str) -> None:
    with pytest.raises(BadSetting, match=f"unknown setting {name}") as caught:
        Settings.read({name: "1"})
    assert hint in str(caught.value)


def test_help_tells_each_setting_s_flag_variable_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    told = " ".join(parser.format_help().split())
    for each in SETTINGS:
        assert each.flag in told
        assert f"({each.variable})" in told
        assert f"[{each.shown_default}]" in told or not each.shown_default


def test_every_limit_of_the_edge_is_a_setting_with_its_documentation() -> None:
    limits = [each for each in SETTINGS if each.limit]
    assert {each.field_name for each in limits} == set(attrs.fields_dict(Limits))
    assert all(each.help for each in SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: str(setting.variable))
@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_value_is_an_error_that_names_it_and_says_how_to_mean_everything(setting: Setting, empty: str) -> None:
    """Whatever the setting: a template that lost its value must not widen what kdm does."""
    with pytest.raises(BadSetting, match=f"^{setting.variable}: is empty; leave it out "):
        Settings.read({setting.variable: empty})
    if not isinstance(setting.default, bool):
        with pytest.raises(BadSetting, match=f"^{setting.flag}: is empty; leave it out "):
            Settings.read({}, {setting.name: empty})


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("KDM_HOST", "leave it out for 127.0.0.1, or say * for every interface"),
        ("KDM_OPS_HOST", "leave it out for 127.0.0.1, or say * for every interface"),
        ("KDM_NAMESPACES", "leave it out to watch every namespace"),
        ("KDM_LABEL_SELECTOR", "leave it out to manage every Deployment"),
        ("KDM_TLS_CLIENT_CRL", "leave it out if nothing is to be revoked"),
    ],
)
def test_what_an_empty_value_would_have_widened_is_said(variable: str, says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Settings.read({variable: ""})
    assert str(caught.value) == f"{variable}: is empty; {says}"


def test_a_list_of_nothing_is_no_list() -> None:
    with pytest.raises(BadSetting, match="KDM_NAMESPACES: ' , ' is not allowed: it must be one namespace at least"):
        Settings.read({"KDM_NAMESPACES": " , "})


@pytest.mark.parametrize(
    ("environment", "given", "complaint"),
    [
        ({"KDM_NAMESPACES": "shop", "KDM_NAMESPACE": "blog"}, (), "KDM_NAMESPACE: 'blog' is not watched"),
        ({"KDM_NAMESPACES": "shop,web"}, ("--namespace", "blog"), "--namespace: 'blog' is not watched"),
        ({"KDM_NAMESPACE": "blog"}, ("--namespaces", "shop"), "--namespaces has shop"),
    ],
)
def test_a_default_namespace_that_is_not_watched_is_refused_at_the_start(
    environment: dict[str, str], given: tuple[str, ...], complaint: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        Settings.read(environment, flags(*given))
    assert complaint in str(caught.value)


@pytest.mark.parametrize("namespace", ["*", "shop", "web"])
def test_a_default_namespace_that_is_watched_is_good(namespace: str) -> None:
    read = Settings.read({"KDM_NAMESPACES": "shop,web", "KDM_NAMESPACE": namespace})
    assert read.namespace == namespace
    assert Settings.read({"KDM_NAMESPACE": "anything"}).namespace == "anything", "all are watched"


def test_a_flag_wins_over_a_bad_variable_with_a_warning() -> None:
    """And silently over a good one; a bad flag stays an error, and so does a variable that no flag stands in for."""
    warnings: list[str] = []
    environment = {"KDM_PORT": "http", "KDM_NAMESPACES": "", "KDM_OPS_PORT": "9001", "KDM_LIMIT_IDLE_S": "soon"}
    given = flags("--port", "9100", "--namespaces", "shop", "--ops-port", "9002", "--limit-idle-s", "7")
    settings = Settings.read(environment, given, warnings.append)
    assert (settings.port, settings.namespaces, settings.ops_port) == (9100, ("shop",), 9002)
    assert settings.limits.idle_s == 7
    assert warnings == [
        "KDM_PORT: 'http' is not allowed: it must be an integer from 0 to 65535; ignored, because --port is given",
        "KDM_NAMESPACES: is empty; leave it out to watch every namespace; ignored, because --namespaces is given",
        (
            "KDM_LIMIT_IDLE_S: 'soon' is not allowed: it must be a number of at least 0.001; "
            "ignored, because --limit-idle-s is given"
        ),
    ]
    with pytest.raises(BadSetting, match="--port"):
        Settings.read({"KDM_PORT": "8443"}, flags("--port", "http"))
    with pytest.raises(BadSetting, match="KDM_PORT"):
        Settings.read({"KDM_PORT": "http"}, flags("--ops-port", "1"))


PATHS = [
    each for each in SETTINGS if each.name in {"tls_cert", "tls_key", "tls_client_ca", "policy_file", "audit_file"}
]


@pytest.mark.parametrize("setting", PATHS, ids=lambda setting: str(setting.variable))
def test_a_home_directory_is_found_or_the_path_is_an_error(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every setting that is a path, and on one line."""
    monkeypatch.setenv("HOME", "/home/alice")
    assert str(getattr(Settings.read({setting.variable: "~/x"}), setting.field_name)) == "/home/alice/x"
    for path in ("~no-such-user/x", "~no-such-user"):
        with pytest.raises(BadSetting) as caught:
            Settings.read({setting.variable: path})
        assert "'~no-such-user', whose home directory is not known" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert str(getattr(Settings.read({setting.variable: "./~x"}), setting.field_name)) in {"./~x", "~x"}


def test_a_policy_file_may_be_called_like_the_word() -> None:
    assert Settings.read({"KDM_POLICY_FILE": "./allow-all"}).policy_file == "./allow-all"
    assert Settings.read({"KDM_POLICY_FILE": "allow-all"}).policy_file == "allow-all"


def test_every_interface_has_a_word() -> None:
    """Of either family, whichever the machine has: what an empty value was taken for before."""
    settings = Settings.read({"KDM_HOST": "*"}, flags("--ops-host", "*"))
    assert (settings.host, settings.ops_host) == ("", "")


def test_an_ipv6_address_may_have_the_brackets_of_a_url() -> None:
    settings = Settings.read({"KDM_HOST": "[::1]"}, flags("--ops-host", "[fe80::1%eth0]"))
    assert (settings.host, settings.ops_host) == ("::1", "fe80::1%eth0")
