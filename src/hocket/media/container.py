"""Opening files that FFmpeg reads: MP4, WebM, AVI, M4A and their like.

Knows PyAV; must not know what a caller does with frames or samples.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
import av.container
from av.codec.context import CodecContext
from av.packet import Packet
from av.stream import Stream

from hocket._errors import MediaError
from hocket.media.limits import Limits
from hocket.media.where import Where, reason

# Playlists (hls, concat, dash) are left out: they open other files and URLs by themselves.
_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,wav,flac,mp3,aac,aiff,amr,gif,h264"

# Matroska's last packets may end this much before the length that its header states.
_SLACK_SECONDS = 1.0


@contextmanager
def opened(where: Where, limits: Limits, *, noun: str) -> Iterator[av.container.InputContainer]:
    """Open a container and turn FFmpeg's errors, also later ones, into MediaError.

    Args:
        where: the file or bytes.
        limits: caps on bytes, checked first.
        noun: what the caller hopes to find, such as ``video``.

    Raises:
        MediaError: missing, empty, too big, damaged or of a format that is not allowed.
    """
    where.check(limits)
    # "file:" keeps a name such as "concat:x" or "http:x" from choosing a protocol.
    source = io.BytesIO(where.data) if where.data is not None else f"file:{where.path}"
    try:
        with av.open(
            source, mode="r", options={"format_whitelist": _FORMATS}, metadata_errors="ignore"
        ) as container:
            yield container
    except (av.FFmpegError, EOFError) as error:
        raise MediaError(
            f"{where.name}: the {noun} is damaged, cut off or not a {noun} ({reason(error)}). "
            f"Copy or encode the file again."
        ) from error


def check_codec(stream: Stream, where: Where, *, instead: str) -> None:
    """Refuse a stream that this FFmpeg has no decoder for.

    Raises:
        MediaError: PyAV gave the stream no codec, whatever its types say.
    """
    codec: CodecContext | None = stream.codec_context
    if codec is None:
        raise MediaError(
            f"{where.name}: its {stream.type} uses a codec that cannot be decoded here. "
            f"Encode it as {instead}."
        )


def packets(
    container: av.container.InputContainer, stream: Stream, where: Where
) -> Iterator[Packet[Stream]]:
    """Yield the packets of one stream, reading the whole file and decoding nothing.

    Raises:
        MediaError: a Matroska or WebM file that ends before the length in its header.
    """
    end = 0.0
    # The length is that of the longest stream, so all of them are looked at.
    for packet in container.demux():
        if not packet.size:
            continue
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index:
            yield packet
    told = (container.duration or 0) / av.time_base
    if "matroska" in container.format.name and end < told - _SLACK_SECONDS:
        raise MediaError(
            f"{where.name}: the file is cut off at {end:.1f} s, but its header says {told:.1f} s. "
            f"Copy the file again or remove its row."
        )
