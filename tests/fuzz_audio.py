"""Decode thousands of damaged audio files: each must give finite samples, or one AudioError that names the file.

    python tests/fuzz_audio.py --files 5000

Every file is a healthy one that was made here, with flipped bytes, a cut, an insertion, extreme numbers in its header,
or another file joined to it. Files are decoded in a child process, so that a crash of a decoder is seen and counted.
Exit status: 0 = all as it must be, 1 = not.
"""

import argparse
import io
import multiprocessing
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile as sf

from mulap_hf.audio import load_audio
from mulap_hf.errors import AudioError

SECONDS, MEBIBYTES = 10.0, 512  # that decoding a file may take
KINDS = {  # format, subtype, rate, channels
    "wav": ("WAV", "PCM_16", 44100, 2),
    "float.wav": ("WAV", "FLOAT", 48000, 1),
    "24.wav": ("WAVEX", "PCM_24", 44100, 1),
    "ima.wav": ("WAV", "IMA_ADPCM", 44100, 1),
    "ms.wav": ("WAV", "MS_ADPCM", 44100, 2),
    "w64": ("W64", "PCM_16", 44100, 1),
    "aiff": ("AIFF", "PCM_16", 44100, 2),
    "ima.aiff": ("AIFF", "IMA_ADPCM", 44100, 1),
    "caf": ("CAF", "PCM_16", 44100, 1),
    "alac.caf": ("CAF", "ALAC_16", 44100, 1),
    "au": ("AU", "PCM_16", 44100, 1),
    "flac": ("FLAC", "PCM_16", 44100, 2),
    "24.flac": ("FLAC", "PCM_24", 48000, 1),
    "ogg": ("OGG", "VORBIS", 44100, 2),
    "opus": ("OGG", "OPUS", 48000, 1),
    "mp3": ("MP3", "MPEG_LAYER_III", 44100, 2),
    "mono.mp3": ("MP3", "MPEG_LAYER_III", 22050, 1),
}
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@cache
def healthy(kind: str, seconds: float = 1.5) -> bytes:
    """A file of a kind in `KINDS`: a chord in noise."""
    format, subtype, rate, channels = KINDS[kind]
    samples = np.arange(int(rate * seconds))
    chord = sum(np.sin(2 * np.pi * pitch * samples / rate) for pitch in (220, 277, 330)) / 8
    noise = np.random.default_rng(0).normal(0, 0.01, (len(samples), channels))
    file = io.BytesIO()
    sf.write(file, (chord[:, None] + noise).astype(np.float32), rate, format=format, subtype=subtype)
    return file.getvalue()


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """The content of a file, damaged in one to three ways."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        size = max(1, len(data))
        place, length = int(rng.integers(size)), int(rng.integers(1, 3000))
        in_header = int(rng.integers(min(size, 200)))
        way = rng.integers(9)
        if way == 0:
            for index in rng.integers(size, size=rng.integers(1, 60)):
                data[index : index + 1] = rng.bytes(1)
        elif way == 1:
            for index in rng.integers(min(size, 200), size=rng.integers(1, 8)):
                data[index : index + 1] = rng.bytes(1)
        elif way == 2:
            number = int(rng.choice(_NUMBERS))
            data[in_header : in_header + 4] = struct.pack(rng.choice(("<I", ">I")), number)
        elif way == 3:
            del data[place:]
        elif way == 4:
            del data[place : place + length]
        elif way == 5:
            data[place:place] = rng.bytes(length)
        elif way == 6:
            data[place:place] = bytes([rng.choice((0, 255))]) * length
        elif way == 7:
            data[place : place + length] = data[in_header : in_header + length]
        else:
            data += healthy(str(rng.choice(list(KINDS))))
    return bytes(data)


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of damaged files, of all kinds in turn."""
    kinds = list(KINDS)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        yield f"{index:05d}.{kind}", mutate(healthy(kind), np.random.default_rng([seed, index]))


def what_is_wrong(path: Path) -> tuple[str, str | None]:
    """How decoding a file ended, and what must not be."""
    problems: list[str] = []
    try:
        samples = load_audio(path, report=problems.append)
    except AudioError as error:
        named = str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return "refused", None if named else f"a message that does not name the file: {error}"
    except Exception as error:
        return "refused", f"{type(error).__name__}: {error}"
    if not np.isfinite(samples).all() or samples.dtype != np.float32 or samples.ndim != 1:
        return "decoded", "samples that are not finite mono float32"
    return ("decoded in part" if problems else "decoded"), None


def _serve(paths: list[Path], results: Connection):
    for path in paths:
        started = time.monotonic()
        outcome = what_is_wrong(path)
        mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        results.send((*outcome, time.monotonic() - started, mebibytes))


def decode_in_child(paths: list[Path]) -> Iterator[tuple[Path, str, str | None, float, float]]:
    """Each path, how its decoding ended, what is wrong with that, the seconds it took, and the peak of the memory."""
    context = multiprocessing.get_context("fork")
    left = list(paths)
    while left:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_serve, args=(left, theirs))
        child.start()
        theirs.close()
        try:
            while left:
                if not ours.poll(2 * SECONDS):
                    yield left.pop(0), "stopped", f"it took more than {2 * SECONDS} s", 2 * SECONDS, 0
                    break
                yield left.pop(0), *ours.recv()
        except EOFError:
            child.join()
            yield left.pop(0), "crashed", f"the decoder ended the process with status {child.exitcode}", 0, 0
        child.kill()
        child.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000, help="how many (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: 0)")
    parser.add_argument("--keep", type=Path, help="folder for copies of the files with which something is wrong")
    args = parser.parse_args()
    outcomes, failures, slowest, largest = Counter(), [], (0.0, ""), 0.0
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        paths = []
        for name, content in damaged(args.files, args.seed):
            paths.append(Path(folder, name))
            paths[-1].write_bytes(content)
        for path, outcome, problem, seconds, mebibytes in decode_in_child(paths):
            outcomes[outcome] += 1
            slowest, largest = max(slowest, (seconds, path.name)), max(largest, mebibytes)
            if problem is None and (seconds > SECONDS or mebibytes > MEBIBYTES):
                problem = f"{seconds:.1f} s and {mebibytes:.0f} MiB"
            if problem is not None:
                failures.append(f"{path.name}: {problem}")
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / path.name).write_bytes(path.read_bytes())
    print(f"{args.files} files in {time.monotonic() - started:.0f} s: {dict(outcomes)}")
    print(f"slowest: {slowest[0]:.2f} s ({slowest[1]}); largest process: {largest:.0f} MiB")
    print(f"wrong: {len(failures)}", *failures, sep="\n  ")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
