"""References that try to read files outside the folder of media: in requests and in rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from tests.abuse.door import LIMITS, Door, door
from tests.abuse.seeds import pictures
from tests.abuse.suite import Case, Expected, Size, Suite

from hocket._errors import DataError
from hocket.media.locate import locate
from hocket.serve.fetch import Fetcher, FetchOptions
from hocket.serve.media import MediaReader

SECRET = b"outside"

# OUT is a file beside the folder, NAME its name, ROOT the folder.
REFERENCES = (
    "OUT",
    "../NAME",
    "./../NAME",
    "in/../../NAME",
    "in/../../media/../NAME",
    "..//NAME",
    ".././NAME",
    "../../ROOT/../NAME",
    "ROOT/../NAME",
    "ROOT/in/../../NAME",
    "ROOT_beside/NAME",
    "../media_beside/NAME",
    "/proc/self/environ",
    "/proc/self/mem",
    "/proc/self/fd/0",
    "/proc/self/cwd/NAME",
    "/proc/self/root/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "/dev/tcp/127.0.0.1/80",
    "/etc/passwd",
    "/etc/passwd\0.png",
    "a.png\0",
    "\0",
    "a.png/../../NAME",
    "%2e%2e/NAME",
    "%2e%2e%2fNAME",
    "..%2fNAME",
    "%252e%252e%252fNAME",
    "..%c0%afNAME",
    "%c0%ae%c0%ae/NAME",
    "%ff/NAME",
    "..%00/NAME",
    "..\\NAME",
    "..\\..\\NAME",
    "\\\\127.0.0.1\\share\\NAME",
    "//127.0.0.1/share/NAME",
    "C:\\Windows\\win.ini",
    "C:/Windows/win.ini",
    "\uff0e\uff0e/NAME",
    "..\u2215NAME",
    "..\u2044NAME",
    "~/.ssh/id_rsa",
    "~root/.bashrc",
    "$HOME/.bashrc",
    "${HOME}/.bashrc",
    "`id`",
    "a.png;cat OUT",
    "|cat OUT",
    "link",
    "link_folder/NAME",
    "chain",
    "loop",
    "broken",
    "in/link",
    "pipe",
    "socket",
    "in",
    "",
    ".",
    "..",
    "/",
    "...",
    "a.png ",
    "a.png.",
    "../" * 40 + "etc/passwd",
    "a" * 300,
    "a/" * 3000,
    "file:OUT",
    "file:///OUT",
    "file://localhost/OUT",
)

# References of a request that no server takes, whatever stands behind file://.
SCHEMED = (
    "file:OUT",
    "FILE://OUT",
    "file://localhostOUT",
    "file://127.0.0.1OUT",
    "file:////127.0.0.1/share/NAME",
    "file://C:/NAME",
    "file://OUT?x",
    "file://OUT#x",
    "media://NAME",
    "zip://OUT",
)


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make a folder of media with everything that leads out of it; return it and a secret."""
    root = folder / "media"
    for name in ("media/in", "media_beside", "outside"):
        (folder / name).mkdir(parents=True)
    secret = folder / "secret.png"
    for place in (secret, folder / "media_beside" / secret.name, folder / "outside" / secret.name):
        place.write_bytes(SECRET)
    (root / "a.png").write_bytes(pictures()[5])
    (root / "link").symlink_to(secret)
    (root / "in" / "link").symlink_to("../../secret.png")
    (root / "link_folder").symlink_to(folder / "outside")
    (root / "chain").symlink_to("link")
    (root / "loop").symlink_to("loop")
    (root / "broken").symlink_to(folder / "nothing")
    os.mkfifo(root / "pipe")
    os.mknod(root / "socket", 0o140600)
    return root, secret


def cases(count: int, folder: Path) -> Iterator[Case]:
    """Yield references, each as a row and as a request hold it."""
    root, secret = prepare(folder)
    with door() as entry:
        yield from islice(_all(root, secret, entry), count)


def _all(root: Path, secret: Path, entry: Door) -> Iterator[Case]:
    def filled(text: str) -> str:
        return text.replace("OUT", str(secret)).replace("NAME", secret.name)

    def placed(text: str) -> str:
        return filled(text).replace("ROOT_", f"{root}_").replace("ROOT", str(root))

    for text in REFERENCES:
        yield Case(f"row {text[:60]!r}", partial(_row, placed(text), root))
    for text in REFERENCES[:58]:
        url = f"file://{placed(text)}"
        yield Case(f"request {text[:60]!r}", partial(_request, url, root, entry))
    for text in SCHEMED:
        yield Case(f"url {text!r}", partial(_request, filled(text), root, entry))
    yield Case("off", partial(_request, f"file://{root}/a.png", None, entry))
    for text in ("a.png", "in/../a.png", f"{root}/a.png"):
        yield Case(f"inside, row {text[-12:]!r}", partial(_row, text, root), Expected.ANSWERED)
        url = f"file://{text}"
        request = partial(_request, url, root, entry)
        yield Case(f"inside, request {text[-12:]!r}", request, Expected.ANSWERED)


def _row(reference: str, root: Path) -> bytes:
    path = locate(reference, root=root, where="rows.json row 0", confined=True)
    assert SECRET not in path.read_bytes(), f"{path} was opened"
    return path.read_bytes()


def _request(url: str, root: Path | None, entry: Door) -> object:
    reader = MediaReader(LIMITS, Fetcher(FetchOptions()), root)
    at = "messages[0].content[0]"
    try:
        part = {"type": "image_url", "image_url": {"url": url}}
        return entry.load(reader.part(part, at, entry.decoder))
    except DataError as error:
        assert str(root) not in str(error), f"the message tells where the media are: {error}"
        raise


SUITE = Suite(
    name="traversal",
    tries="paths that leave the media folder: .., links, encodings, devices, pipes, UNC, NUL",
    means="no byte from outside is read, and no message says what is there",
    counts={Size.CI: 146, Size.NIGHTLY: 146},
    cases=cases,
    seconds=5.0,
)
