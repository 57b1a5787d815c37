"""Every setting of the service, in one class.

A setting ``name`` is read from the environment variable ``REID_NAME``; the flags of
``python -m service serve`` override the ones people change most.
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

PREFIX = "REID_"
MIB = 1 << 20
EVERY_GALLERY = "*"
"""Among ``import_roots``: the folders for every gallery, for callers bound to none."""
KEY_VARIABLE = "REID_KEY"  # the key of the command line, no setting of the service


class Settings(BaseSettings):
    """What an operator can change without touching code."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    model: Path = Field(
        default=Path("models/hhcl-mobilenetv2"),
        description="model folder: manifest.json and the network it names",
    )
    data: Path = Field(default=Path("data"), description="folder the galleries are stored in")
    models: Path | None = Field(
        default=None,
        description="folder of further model folders, for galleries of other models and for "
        "changing a gallery's model",
    )
    milvus_uri: str | None = Field(
        default=None,
        description="keeps the galleries in this Milvus instead of the data folder: "
        "http://host:19530, or the path of a milvus-lite file",
    )
    milvus_token: SecretStr = Field(
        default=SecretStr(""), description="user:password, or a key, of that Milvus"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks one")
    device: Literal["auto", "cuda", "cpu"] = Field(
        default="auto",
        description="where network and search run; auto prefers CUDA and falls back to the CPU, "
        "cuda refuses to start without it",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is logged"
    )
    top_k: int = Field(
        default=10, ge=1, le=1000, description="matches of a search that does not say how many"
    )
    max_image_bytes: int = Field(
        default=10 * MIB, ge=1, description="largest accepted image file, bytes"
    )
    max_image_pixels: int = Field(
        default=16_000_000, ge=1, description="largest accepted image, width times height"
    )
    max_images: int = Field(default=64, ge=1, le=1000, description="most images of one request")
    max_request_bytes: int = Field(
        default=64 * MIB, ge=1, description="largest accepted request body, bytes"
    )
    max_requests: int = Field(
        default=256,
        ge=1,
        description="requests answered at the same time; beyond it the answer is 503, but for "
        "probes and metrics",
    )
    max_requests_per_client: int | None = Field(
        default=None,
        ge=1,
        description="requests of one key, or of one address without keys, answered at the same "
        "time; beyond it 429; a quarter of max_requests, if absent",
    )
    max_batch: int = Field(
        default=32, ge=1, le=4096, description="most images of one run of the network"
    )
    max_queue: int = Field(
        default=512,
        ge=1,
        description="images that may wait for the network; beyond it the answer is 503",
    )
    max_queue_seconds: float = Field(
        default=2.0,
        gt=0,
        description="longest an image waits for the network before its request is answered 503",
    )
    receive_seconds: float = Field(
        default=30.0,
        gt=0,
        description="longest a client may send nothing in the middle of a request body",
    )
    decode_threads: int = Field(
        default_factory=available,
        ge=1,
        le=256,
        description="threads that decode images; one a processor the process may use, if absent",
    )
    import_roots: list[Path] | dict[str, list[Path]] = Field(
        default=[],
        description="folders of this machine that imports may read: a JSON list for callers that "
        "are bound to no gallery, or a JSON object of lists by gallery, with * for every gallery "
        "and the same callers; none by default",
    )
    max_import_bytes: int = Field(
        default=8 << 30,
        ge=1,
        description="largest accepted import: an archive's own size, and what it unpacks to",
    )
    import_memory_bytes: int = Field(
        default=1 << 30,
        ge=64 * MIB,
        description="memory that the process reading one import may take, bytes; beyond it the "
        "import fails, and nothing else does",
    )
    max_kept_bytes: int = Field(
        default=32 << 30,
        ge=1,
        description="bytes of received imports that wait, run or failed that one key, or one "
        "address without keys, may keep; twice as many of one gallery; beyond it 429",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="without any key, listen beyond loopback all the same: whoever reaches the "
        "port may do everything",
    )
    requests_per_minute: int = Field(
        default=600,
        ge=1,
        description="requests a minute of one key that does not say otherwise; beyond it 429",
    )
    audit_days: int = Field(
        default=90, ge=1, description="days the audit log is kept; older ones are removed"
    )
    audit_required: bool = Field(
        default=True,
        description="refuse searches, listings and pictures while the audit log takes no entry; "
        "false answers them, and their entries are in the process log",
    )
    trusted_proxies: list[str] = Field(
        default=[],
        description="addresses and networks of proxies whose X-Forwarded-For is believed, as a "
        "JSON list; none by default",
    )
    cors_origins: list[str] = Field(
        default=[],
        description="origins whose pages may call the service, as a JSON list; none by default",
    )
    retention_seconds: float = Field(
        default=60.0, gt=0, description="how often crops past their gallery's keep_for are erased"
    )
    drain_seconds: int = Field(
        default=30, ge=0, description="time running requests get to finish after SIGTERM, seconds"
    )

    @field_validator("import_roots")
    @classmethod
    def _roots_are_of_galleries(
        cls, roots: list[Path] | dict[str, list[Path]]
    ) -> list[Path] | dict[str, list[Path]]:
        for name in roots if isinstance(roots, dict) else ():
            if name != EVERY_GALLERY and not is_name(name):
                raise ValueError(f"{name[:80]!r} is no name of a gallery, and not {EVERY_GALLERY}")
        return roots

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_networks(cls, proxies: list[str]) -> list[str]:
        return [str(ip_network(proxy)) for proxy in proxies]

    @property
    def places_per_client(self) -> int:
        """Requests of one client that may be answered at the same time."""
        share = self.max_requests_per_client or max(1, self.max_requests // 4)
        return min(share, self.max_requests)

    @model_validator(mode="after")
    def _a_full_request_fits_the_queue(self) -> Self:
        if self.max_queue < self.max_images:
            raise ValueError(
                f"max_queue {self.max_queue} is below max_images {self.max_images}: "
                "a full request would never be accepted"
            )
        return self


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names in an environment that look like settings and are none, most likely misspelt.

    Args:
        environment: variable names and their values, as ``os.environ``.

    Returns:
        The names, sorted.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {KEY_VARIABLE}
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and name.upper() not in known
    )
