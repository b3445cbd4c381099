"""What makes a cluster's or a user's entry unusable, whatever the files say that it names.

The rules are those of client-go v0.36.3, ``tools/clientcmd/validation.go`` and ``transport``.
"""

from __future__ import annotations

from kdm_adapters.kubernetes.config.exec_plugin import API_VERSIONS
from kdm_adapters.kubernetes.config.fields import InvalidClusterConfig
from kdm_adapters.kubernetes.config.kubeconfig import Cluster, Exec, User


def check_cluster(cluster: Cluster, where: str) -> None:
    """Check a cluster's entry.

    Args:
        cluster: The entry.
        where: How errors name it.

    Raises:
        InvalidClusterConfig: kubectl refuses it.
    """
    if not cluster.server:
        raise InvalidClusterConfig(f"{where}: server is missing")
    if cluster.certificate_authority and cluster.certificate_authority_data:
        raise InvalidClusterConfig(
            f"{where}: certificate-authority and certificate-authority-data are both set: remove one"
        )
    if cluster.insecure_skip_tls_verify and (cluster.certificate_authority or cluster.certificate_authority_data):
        raise InvalidClusterConfig(
            f"{where}: insecure-skip-tls-verify and a certificate authority are both set: remove one"
        )


def check_user(user: User, where: str) -> None:
    """Check a user's entry.

    Args:
        user: The entry.
        where: How errors name it.

    Raises:
        InvalidClusterConfig: kubectl refuses it, or it needs what kdm does not do.
    """
    if user.auth_provider is not None:
        raise InvalidClusterConfig(
            f"{where}: auth-provider is not supported: use an exec plugin in its place, such as kubelogin for OIDC"
        )
    if user.token and (user.username or user.password):
        raise InvalidClusterConfig(f"{where}: token and username/password are both set: remove one")
    if user.token_file and user.username:
        raise InvalidClusterConfig(f"{where}: tokenFile and username are both set: remove one")
    if not user.impersonate and (user.impersonate_uid or user.impersonate_groups or user.impersonate_extra):
        raise InvalidClusterConfig(f"{where}: as-uid, as-groups and as-user-extra need as")
    if user.exec is not None:
        _check_exec(user.exec, where)


def _check_exec(plugin: Exec, where: str) -> None:
    if not plugin.command:
        raise InvalidClusterConfig(f"{where}: exec.command is missing")
    if not plugin.api_version:
        raise InvalidClusterConfig(f"{where}: exec.apiVersion is missing")
    if plugin.api_version not in API_VERSIONS:
        raise InvalidClusterConfig(f"{where}: exec.apiVersion must be one of {', '.join(sorted(API_VERSIONS))}")
    if not all(name for name, _ in plugin.env):
        raise InvalidClusterConfig(f"{where}: exec.env has an entry without a name")
    if any("\0" in each for each in (plugin.command, *plugin.args, *(text for pair in plugin.env for text in pair))):
        raise InvalidClusterConfig(f"{where}: exec holds a null byte")
    if not plugin.interactive_mode:
        raise InvalidClusterConfig(f"{where}: exec.interactiveMode is missing: set it to Never or IfAvailable")
    if plugin.interactive_mode == "Always":
        raise InvalidClusterConfig(f"{where}: exec.interactiveMode is Always, but kdm has no terminal")
    if plugin.interactive_mode not in {"Never", "IfAvailable"}:
        raise InvalidClusterConfig(f"{where}: exec.interactiveMode must be Never, IfAvailable or Always")
