"""Every setting of the service, in one class.

A setting ``name`` is read from the environment variable ``REID_NAME``. The options of
``python -m service serve`` override the most common ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.gallery.rules import is_name
from service.machine.processors import available
from service.values.addresses import AllowedAddresses
from service.values.broker import Broker

PREFIX = "REID_"
MIB = 1 << 20
EVERY_GALLERY = "*"
"""Key of ``import_roots``: folders for every gallery, for callers whose key is not bound."""
KEY_VARIABLE = "REID_KEY"  # the API key that the command line sends; not a setting


class Settings(BaseSettings):
    """What an operator can change without editing code."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # an input may hold a password
    )

    model: Path = Field(
        default=Path("models/hhcl-synthetic"),
        description="model folder with manifest.json and the network it names",
    )
    detector: Path = Field(
        default=Path("models/nanodet-person"),
        description="model folder of a detector, which finds the persons on whole frames; without "
        "one, routes that need it answer 501",
    )
    data: Path = Field(default=Path("data"), description="folder that stores the galleries")
    models: Path | None = Field(
        default=None,
        description="folder with more model folders, for galleries of other models and for "
        "changing a gallery's model",
    )
    model_idle_seconds: float = Field(
        default=900.0,
        gt=0,
        description="a model of REID_MODELS that has embedded nothing for so many seconds leaves "
        "memory, and so does a gallery's version for a model that does not serve it; they are "
        "loaded again when needed",
    )
    embeddings: Literal["memory", "disk"] = Field(
        default="memory",
        description="where embeddings live while they are searched; disk maps files in the data "
        "folder, of which the system keeps in memory what fits, so that a gallery may be larger "
        "than the memory",
    )
    milvus_uri: str | None = Field(
        default=None,
        description="store the galleries in this Milvus instead of the data folder: "
        "http://host:19530, or the path of a milvus-lite file",
    )
    milvus_token: SecretStr = Field(
        default=SecretStr(""), description="user:password, or an API key, for that Milvus"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(
        default=8000, ge=0, le=65535, description="port to listen on; 0 lets the system choose one"
    )
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto",
        description="where the network and the search run; auto prefers CUDA and falls back to the "
        "CPU, cuda refuses to start without CUDA",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="lowest level that is logged"
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="most matches per query if the search sets no top_k"
    )
    max_image_bytes: int = Field(
        default=10 * MIB, ge=1, description="largest accepted image file, in bytes"
    )
    max_image_pixels: int = Field(
        default=16_000_000,
        ge=1,
        description="largest accepted image, in pixels (width times height)",
    )
    max_images: int = Field(default=64, ge=1, le=1000, description="most images per request")
    max_request_bytes: int = Field(
        default=64 * MIB, ge=1, description="largest accepted request body, in bytes"
    )
    max_requests: int = Field(
        default=256,
        ge=1,
        description="requests answered at the same time; beyond it the answer is 503, except for "
        "probes and metrics",
    )
    max_requests_per_client: int | None = Field(
        default=None,
        ge=1,
        description="requests per key, or per address without keys, answered at the same time; "
        "beyond it 429; default: a quarter of max_requests",
    )
    max_batch: int = Field(
        default=32, ge=1, le=4096, description="most images per run of the network"
    )
    max_queue: int = Field(
        default=512,
        ge=1,
        description="images that may wait for the network; beyond it the answer is 503",
    )
    max_queue_seconds: float = Field(
        default=2.0,
        gt=0,
        description="how long an image may wait for the network before its request gets 503",
    )
    receive_seconds: float = Field(
        default=30.0,
        gt=0,
        description="how long a client may send nothing in the middle of a request body",
    )
    decode_threads: int = Field(
        default_factory=available,
        ge=1,
        le=256,
        description="threads that decode images; default: one per processor available to the "
        "process",
    )
    import_roots: list[Path] | dict[str, list[Path]] = Field(
        default=[],
        description="folders of this machine that imports may read: a JSON list, for callers whose "
        "key is not bound to galleries; or a JSON object with a list per gallery, where * means "
        "every gallery, for the same callers; none by default",
    )
    max_import_bytes: int = Field(
        default=8 << 30,
        ge=1,
        description="largest accepted import, in bytes: an archive itself, and what it unpacks to",
    )
    import_memory_bytes: int = Field(
        default=1 << 30,
        ge=64 * MIB,
        description="memory for the process that reads one import, in bytes; beyond it this import "
        "fails, and nothing else does",
    )
    max_kept_bytes: int = Field(
        default=32 << 30,
        ge=1,
        description="received imports that one key, or one address without keys, may keep on disk "
        "while they wait, run or can be resumed, in bytes; twice as much per gallery; beyond it "
        "429",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="listen beyond loopback even if no key exists: anyone who can reach the port "
        "has full access",
    )
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        description="requests per minute and key, unless the key sets its own limit; beyond it 429",
    )
    audit_days: int = Field(
        default=90,
        ge=1,
        description="how many days of the audit log are kept; older days are deleted",
    )
    audit_required: bool = Field(
        default=True,
        description="reject searches, listings and pictures while the audit log accepts no "
        "entries; false answers them, and writes their entries to the process log",
    )
    event_days: int = Field(
        default=30, ge=1, description="how many days events are kept; older ones are deleted"
    )
    webhooks: list[str] = Field(
        default=[],
        description="addresses that events may be delivered to, as a JSON list of what they begin "
        "with, such as https://hooks.example.com/; addresses that are not public need their "
        "network in the list too, such as 10.1.0.0/16; none by default",
    )
    mqtt: SecretStr | None = Field(
        default=None,
        description="MQTT broker that events may be delivered to, as "
        "mqtt://USER:PASSWORD@HOST:PORT/PREFIX or mqtts:// for TLS; only the host is needed (extra "
        "mqtt)",
    )
    trusted_proxies: list[str] = Field(
        default=[],
        description="addresses and networks of proxies whose X-Forwarded-For is trusted, as a JSON "
        "list; none by default",
    )
    cors_origins: list[str] = Field(
        default=[],
        description="origins whose pages may call the service, as a JSON list; none by default",
    )
    retention_seconds: float = Field(
        default=60.0,
        gt=0,
        description="pause between erasures of crops past their gallery's keep_for, in seconds",
    )
    drain_seconds: int = Field(
        default=30,
        ge=0,
        description="how long running requests may take to finish after SIGTERM, in seconds",
    )

    @field_validator("import_roots")
    @classmethod
    def _roots_are_of_galleries(
        cls, roots: list[Path] | dict[str, list[Path]]
    ) -> list[Path] | dict[str, list[Path]]:
        for name in roots if isinstance(roots, dict) else ():
            if name != EVERY_GALLERY and not is_name(name):
                raise ValueError(f"{name[:80]!r} is neither a gallery name nor {EVERY_GALLERY}")
        return roots

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: list[str]) -> list[str]:
        return [str(ip_network(proxy)) for proxy in proxies]

    @field_validator("webhooks")
    @classmethod
    def _webhooks_are_addresses(cls, webhooks: list[str]) -> list[str]:
        AllowedAddresses.read(webhooks)
        return webhooks

    @field_validator("mqtt")
    @classmethod
    def _mqtt_is_a_broker(cls, mqtt: SecretStr | None) -> SecretStr | None:
        if mqtt is not None:
            Broker.read(mqtt.get_secret_value())
        return mqtt

    @property
    def places_per_client(self) -> int:
        """How many requests of one client may be answered at the same time."""
        share = self.max_requests_per_client or max(1, self.max_requests // 4)
        return min(share, self.max_requests)

    @model_validator(mode="after")
    def _milvus_decides_where_embeddings_live(self) -> Self:
        if self.milvus_uri is not None and self.embeddings == "disk":
            raise ValueError(
                "embeddings 'disk' and milvus_uri exclude each other: in a Milvus, Milvus decides "
                "where embeddings live"
            )
        return self

    @model_validator(mode="after")
    def _a_full_request_fits_the_queue(self) -> Self:
        if self.max_queue < self.max_images:
            raise ValueError(
                f"max_queue {self.max_queue} is below max_images {self.max_images}: "
                "a request with the most images would never be accepted"
            )
        return self


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Find variables that look like settings but are not, and are most likely misspelt.

    Args:
        environment: variable names and values, such as ``os.environ``.

    Returns:
        Their names, sorted.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {KEY_VARIABLE}
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and name.upper() not in known
    )
