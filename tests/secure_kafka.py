"""Apache Kafka with TLS, users and ACLs, for tests: certificates and passwords are made here and live as long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import trustme
from confluent_kafka import admin as confluent_admin
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from eldermesh.kafka.access import KafkaSecurity
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from tests.kafka_server import KafkaServer

MECHANISM: Final = "SCRAM-SHA-512"
_ANSWER_SECONDS = 30.0


class Acl(NamedTuple):
    """A right: on the topics or groups (`TOPIC`, `GROUP`) whose name is this, or `PREFIXED`: begins so."""

    resource: str
    name: str
    operation: str
    pattern: str = "LITERAL"


def mesh_acls(prefix: str) -> list[Acl]:
    """What the user of the services needs, on topics and groups with the prefix of the mesh."""
    topics = ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE")
    return [
        *(Acl("TOPIC", prefix, operation, "PREFIXED") for operation in topics),
        Acl("GROUP", f"{prefix}eldermesh.", "READ", "PREFIXED"),
    ]


def publisher_acls(prefix: str, inbox: str = "jobs") -> list[Acl]:
    """What a user needs who submits jobs, to `jobs` or to the inbox of a tenant, and reads their outcome."""
    return [
        Acl("TOPIC", f"{prefix}{inbox}", "WRITE"),
        *(Acl("TOPIC", f"{prefix}{name}", "READ") for name in ("jobs.progress", "jobs.done", "jobs.dead")),
    ]


def approver_acls(prefix: str) -> list[Acl]:
    """What a user needs beyond that who decides on holds."""
    return [
        Acl("TOPIC", f"{prefix}jobs", "DESCRIBE"),
        *publisher_acls(prefix)[1:],
        Acl("TOPIC", f"{prefix}jobs.holds", "READ"),
        Acl("TOPIC", f"{prefix}jobs.decisions", "WRITE"),
    ]


class SecureKafka(KafkaServer):
    """A node that takes users at `secure` over TLS, and at `mutual` those who have a certificate, without a password.

    Its certificate is for 127.0.0.1, and for no name. Each user's password is the name and `-secret`. `bootstrap` is
    inside, for itself and for ACLs.
    """

    def __init__(self, data_dir: Path, users: Iterable[str]) -> None:
        self._secure_port = free_port()
        self.secure = f"{LOOPBACK}:{self._secure_port}"
        self.by_name = f"localhost:{self._secure_port}"
        self.mutual = f"{LOOPBACK}:{free_port()}"
        authority = trustme.CA()
        self.ca, self.other_ca = data_dir / "ca.pem", data_dir / "other_ca.pem"
        self._certificate, self._key = data_dir / "client.pem", data_dir / "client_key.pem"
        data_dir.mkdir(parents=True, exist_ok=True)
        authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.other_ca)
        client = authority.issue_cert("client.test")
        client.cert_chain_pems[0].write_to_path(self._certificate)
        client.private_key_pem.write_to_path(self._key)
        key_store = data_dir / "broker.pem"
        key_store.write_bytes(_key_store(authority.issue_cert(LOOPBACK)))
        super().__init__(
            data_dir,
            settings={
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(key_store),
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.ca),
                "listener.name.ssl.ssl.client.auth": "required",
                "sasl.enabled.mechanisms": MECHANISM,
                f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",  # the node itself, at its inner listeners
            },
            format_arguments=[
                argument
                for user in users
                for argument in ("--add-scram", f'{MECHANISM}=[name="{user}",password="{password(user)}"]')
            ],
        )

    def login(self, user: str, **others: Any) -> KafkaSecurity:
        """How this user connects; `others` are fields in place of the right ones."""
        values: dict[str, Any] = {
            "protocol": "sasl_ssl",
            "ca": self.ca,
            "sasl_mechanism": MECHANISM,
            "username": user,
            "password": SecretStr(password(user)),
        }
        return KafkaSecurity(**(values | others))

    def certificate_login(self) -> KafkaSecurity:
        """How the owner of the client certificate connects to `mutual`."""
        return KafkaSecurity("ssl", ca=self.ca, certificate=self._certificate, key=self._key)

    def login_settings(self, user: str) -> dict[str, Any]:
        """The same as settings of the mesh."""
        login = self.login(user)
        return {
            "kafka_security": login.protocol,
            "kafka_ca": login.ca,
            "kafka_sasl_mechanism": login.sasl_mechanism,
            "kafka_username": login.username,
            "kafka_password": login.password,
        }

    async def allow(self, user: str, acls: Iterable[Acl]) -> None:
        """Let a user do these things, from any host."""
        admin: Any = confluent_admin  # its types do not name all that it exports
        client = admin.AdminClient({"bootstrap.servers": self.bootstrap})
        bindings = [
            admin.AclBinding(
                admin.ResourceType[acl.resource],
                acl.name,
                admin.ResourcePatternType[acl.pattern],
                f"User:{user}",
                "*",
                admin.AclOperation[acl.operation],
                admin.AclPermissionType.ALLOW,
            )
            for acl in acls
        ]
        for created in client.create_acls(bindings).values():
            await asyncio.to_thread(created.result, _ANSWER_SECONDS)

    def _node_properties(self) -> dict[str, str]:
        """Those of a plain node, and the listeners for users."""
        plain = super()._node_properties()
        secure = f"SASL_SSL://{self.secure},SSL://{self.mutual}"
        added = {
            "listeners": secure,
            "advertised.listeners": secure,
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL",
        }
        return plain | {name: f"{plain[name]},{value}" for name, value in added.items()}


def password(user: str) -> str:
    """The password of a user."""
    return f"{user}-secret"


def _key_store(issued: trustme.LeafCert) -> bytes:
    """Key and certificates as Kafka reads them: the key has to be in PKCS 8."""
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pkcs8 + b"".join(each.bytes() for each in issued.cert_chain_pems)
