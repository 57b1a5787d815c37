"""``/keys`` and ``/whoami``: who may do what."""

from fastapi import APIRouter, Response

from service.access.new_key import NewKey
from service.api.keys import CreatedKey, KeyRecord, Keys, WhoAmI
from service.errors import NotFound, StorageFull, Unavailable
from service.http.dependencies import AuditOf, CallerOf, GateOf
from service.http.problems import responses
from service.http.records import key_record, who_am_i

router = APIRouter(tags=["access"])


@router.get("/whoami", responses=responses())
async def whoami(caller: CallerOf, gate: GateOf) -> WhoAmI:
    """Say which key the service sees, and what it allows."""
    known = gate.keys.every() if caller.key_id is not None else []
    key = next((key for key in known if key.key_id == caller.key_id), None)
    return who_am_i(caller, key)


@router.get("/keys", responses=responses(Unavailable))
async def list_keys(gate: GateOf) -> Keys:
    """List every key without its secret, including revoked and expired ones."""
    found = await gate.bookkeeping.run(gate.keys.every)
    return Keys(keys=[key_record(key) for key in found], file=str(gate.keys.path))


@router.post("/keys", status_code=201, responses=responses(StorageFull, Unavailable))
async def create_key(body: NewKey, gate: GateOf, audit: AuditOf, response: Response) -> CreatedKey:
    """Create a key. Only this answer contains its text.

    Once a key exists, every request needs one.
    """
    key, text = await gate.bookkeeping.run(gate.keys.create, body)
    audit.key = key
    response.headers["Location"] = f"/keys/{key.key_id}"
    return CreatedKey(**key_record(key).model_dump(), key=text)


@router.delete("/keys/{key_id}", responses=responses(NotFound, StorageFull, Unavailable))
async def revoke_key(key_id: str, gate: GateOf, audit: AuditOf) -> KeyRecord:
    """Revoke a key permanently; it is rejected from the next request on.

    This works even on a full disk.
    """
    audit.key = await gate.bookkeeping.run(gate.keys.revoke, key_id)
    return key_record(audit.key)
