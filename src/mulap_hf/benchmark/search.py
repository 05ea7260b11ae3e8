"""Search of a large index: recall, time per query, time to build, and memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..files import markdown_table
from ..search.index import SearchIndex
from ..search.vectors import EXACT_TRACKS, NEIGHBORS, search
from .measure import Variant, measure
from .report import make_report, write_report

QUERIES = 200
_SPECTRUM = 0.55  # standard deviations fall as rank ** -0.55: 13 effective dimensions of 96, as features of real music
_TRACKS_PER_CLUSTER, _SPREAD = 50, 0.6  # and the deviation within a cluster, relative to that of the clusters
_BLOCK = 1 << 16
# The peak memory of a process, in KiB. `ru_maxrss` of a child begins with the memory of its parent.
_PEAK = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
_BUILD = f"""
import sys
from mulap_hf.cli import run_command
run_command(["index", sys.argv[1], "--output", sys.argv[2]])
{_PEAK}
"""
_SEARCH_ONCE = f"""
import sys
import numpy as np
from mulap_hf.search.index import SearchIndex
index = SearchIndex(sys.argv[1])
index.search({{"embedding": np.ones(index.vectors("embedding").size)}})
{_PEAK}
"""


def run(output: Path, rounds: int, tracks: int = 1_000_000, size: int = 96) -> str:
    """Measure the search of a clustered and of a Gaussian catalog; write `OUTPUT/search.*`.

    Args:
        output: Folder of the report.
        rounds: Number of measured rounds, of `QUERIES` queries each.
        tracks: Number of tracks of a catalog.
        size: Number of numbers per vector.

    Returns:
        The Markdown report.
    """
    catalogs, variants = {}, []
    with TemporaryDirectory() as folder:
        for name in ("clustered", "Gaussian"):
            vectors = make_vectors(name, tracks + QUERIES, size)
            table = Path(folder, f"{name}.parquet")
            write_table(table, vectors[:tracks])
            catalogs[name], found = build_and_check(table, Path(folder, name), vectors[tracks:])
            variants += [found[0], found[1]]
        measurements = measure(variants, rounds)
    notes = [
        f"{tracks:,} vectors of {size} numbers, and {QUERIES} queries that are not among them, one at a time. Random, "
        "but clustered as music is: clusters of very different sizes (50 tracks on average), and 13 effective "
        "dimensions, as features of real music have. Gaussian vectors without any structure are the worst case. The "
        "time includes everything but the encoding of the query."
    ]
    exact = [variant.name for variant in variants if variant.name.endswith("exact")]
    report = make_report("Search of a large index", measurements, "queries", exact, None, notes)
    report["catalogs"] = catalogs
    return write_report(output / "search", report, render_search(report))


def make_vectors(kind: str, number: int, size: int) -> np.ndarray:
    """Random vectors of length 1, float32 `(number, size)`: "clustered" or "Gaussian"."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, size + 1) ** -_SPECTRUM if kind == "clustered" else np.ones(size)
    clusters = max(number // _TRACKS_PER_CLUSTER, 1)
    centers = (rng.normal(size=(clusters, size)) * scale).astype(np.float32)
    weights = rng.pareto(1.5, clusters) + 0.1
    owners = rng.choice(clusters, number, p=weights / weights.sum())
    vectors = np.empty((number, size), dtype=np.float32)
    for start in range(0, number, _BLOCK):
        block = rng.normal(size=(min(_BLOCK, number - start), size)).astype(np.float32) * scale
        if kind == "clustered":
            block = centers[owners[start : start + _BLOCK]] + _SPREAD * block
        vectors[start : start + _BLOCK] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return vectors


def write_table(path: Path, vectors: np.ndarray):
    """A table as `mulap embed` writes it."""
    columns = {
        "path": [f"music/{row:08d}.flac" for row in range(len(vectors))],
        "seconds": np.full(len(vectors), 200.0),
        "embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]),
    }
    about = {"model": None, "fingerprints": {"embedding": "random vectors"}}
    pq.write_table(pa.table(columns).replace_schema_metadata({"mulap": json.dumps(about)}), path)


def build_and_check(table: Path, folder: Path, queries: np.ndarray) -> tuple[dict[str, Any], list[Variant]]:
    """Build an index in a separate process, as `mulap index` does.

    Returns:
        What was measured of it, and the variants to time: the index, and an exact search.
    """
    start, before = time.perf_counter(), os.times()
    build_mib = _run(_BUILD, table, folder)
    seconds, after = time.perf_counter() - start, os.times()
    index = SearchIndex(folder)
    space, faiss_index = index.about["spaces"]["embedding"], index.faiss_index("embedding")
    lists, probes = space.get("lists", 0), space.get("probes", 0)
    exact = search(faiss_index, queries, NEIGHBORS, lists)[1]
    found = search(faiss_index, queries, NEIGHBORS, probes)[1]
    times, cpu_times = [], []
    for query in queries:
        begin, cpu = time.perf_counter(), time.process_time()
        index.search({"embedding": query}, NEIGHBORS)
        times.append(1000 * (time.perf_counter() - begin))
        cpu_times.append(1000 * (time.process_time() - cpu))
    facts = {
        "recall": float(np.mean([len({*a} & {*b}) / NEIGHBORS for a, b in zip(exact, found, strict=True)])),
        "recall_at_build": space.get("recall"),
        "lists": lists,
        "probes": probes,
        "median_ms": float(np.median(times)),
        "p95_ms": float(np.percentile(times, 95)),
        "cpu_ms": float(np.median(cpu_times)),
        "build_seconds": seconds,
        "build_cpu_seconds": sum(after[2:4]) - sum(before[2:4]),
        "build_mib": build_mib,
        "search_mib": _run(_SEARCH_ONCE, folder),
        "disk_mib": sum(file.stat().st_size for file in folder.iterdir()) / 2**20,
    }
    few = queries[:10]  # an exact search of a million tracks takes a while
    variants = [
        Variant(f"{folder.name}, index", lambda: [index.search({"embedding": query}, NEIGHBORS) for query in few], 10),
        Variant(
            f"{folder.name}, exact", lambda: [search(faiss_index, query[None], NEIGHBORS, lists) for query in few], 10
        ),
    ]
    return facts, variants


def _run(code: str, *arguments: Path) -> float:
    """Run Python code in a separate process; return what it prints at the end in units of 1024: its memory in MiB."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(output.split()[-1]) / 1024


def render_search(report: Mapping[str, Any]) -> str:
    """Return the table of recall, time and memory as Markdown."""
    header = ["catalog", "recall@10", "measured at build", "lists searched", "ms per query, median", "95 %", "CPU ms"]
    header += ["build, s", "build, CPU s", "memory to build, MiB", "memory to search, MiB", "on disk, MiB"]
    rows = []
    for name, facts in report["catalogs"].items():
        at_build = "exact" if facts["recall_at_build"] is None else f"{facts['recall_at_build']:.3f}"
        times = [f"{facts[key]:.1f}" for key in ("median_ms", "p95_ms", "cpu_ms")]
        sizes = ("build_seconds", "build_cpu_seconds", "build_mib", "search_mib", "disk_mib")
        lists = f"{facts['probes']} of {facts['lists']}"
        rows.append([name, f"{facts['recall']:.3f}", at_build, lists, *times, *(f"{facts[key]:.0f}" for key in sizes)])
    text = (
        f"\nUp to {EXACT_TRACKS:,} tracks, an index is exact. Recall is the fraction of the ten nearest tracks that "
        "are found. Memory is the largest of the process, with its libraries.\n\n"
    )
    return text + markdown_table(header, rows) + "\n"
