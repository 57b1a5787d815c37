"""Watch one folder per camera, add new crops to a gallery, and print who was there.

    python examples/watch_folders.py crops --gallery lobby --query somebody.jpg

``crops`` holds a folder per camera, such as ``crops/door/0001.jpg``. A detector should write a
picture under a name that starts with a dot and rename it when it is complete. The service's address
and key come from ``--url`` and the environment variable ``REID_KEY``.
"""

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.client import Client, InvalidImage

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def new_crops(folder: Path, seen: dict[Path, float]) -> Iterator[Path]:
    """Yield pictures that are new or have changed since the last call."""
    for path in sorted(folder.glob("[!.]*/[!.]*")):
        changed = path.stat().st_mtime
        if path.suffix.lower() in PICTURES and seen.get(path) != changed:
            seen[path] = changed
            yield path


def add(client: Client, gallery: str, path: Path) -> None:
    """Add or replace a crop; its camera is the folder, its time the file's."""
    camera, taken = path.parent.name, datetime.fromtimestamp(path.stat().st_mtime, UTC)
    try:
        client.crops.put(gallery, f"{camera}/{path.name}", path, camera=camera, timestamp=taken)
    except InvalidImage as error:
        print(f"left out {path}: {error}")


def print_people(client: Client, gallery: str, since: datetime, query: Path | None) -> None:
    """Group the crops of a time window into people, print them, and search for one of them."""
    client.jobs.wait(client.identities.cluster(gallery, since=since).job_id)
    for person in client.identities.iterate(gallery, since=since):
        print(f"{person.identity}: {person.crops} crops, cameras {', '.join(person.cameras)}")
    if query is not None:
        answer = client.search(query, gallery=gallery, since=since, group_by="identity", top_k=3)
        print(f"{query.name}: {answer.results[0].status}")
        for match in answer.results[0].matches:
            print(f"  {match.identity or match.crop_id}, camera {match.camera}, {match.score:.2f}")


def main() -> None:
    """Read the command line, and watch until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="holds one folder of pictures per camera")
    parser.add_argument("--gallery", default="default", help="gallery to fill and to search")
    parser.add_argument("--query", type=Path, help="picture of a person to look for")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the time window")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the service")
    parser.add_argument("--once", action="store_true", help="stop after the first look")
    options, seen = parser.parse_args(), dict[Path, float]()
    with Client(options.url) as client:
        client.galleries.provide(options.gallery)
        while True:
            found = list(new_crops(options.folder, seen))
            for path in found:
                add(client, options.gallery, path)
            if found:
                since = datetime.now(UTC) - timedelta(hours=options.hours)
                print_people(client, options.gallery, since, options.query)
            if options.once:
                return
            time.sleep(2.0)


if __name__ == "__main__":
    main()
