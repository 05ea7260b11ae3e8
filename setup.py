import re
from pathlib import Path

from setuptools import find_packages, setup

# torchaudio's registry build is made for CUDA 13.0 and refuses a torch made for another CUDA; torch 2.15 is.
core = [
    "torch>=2.11,<2.15",
    "torchaudio>=2.11",  # transformers' audio pipelines resample with it; augmentation in training
    "transformers>=5.23",
    "huggingface-hub>=2.4",
    "safetensors>=0.8",
    "numpy>=2.0",
    "soundfile>=0.13",  # decodes wav, flac, ogg and mp3 without a system package
    "soxr>=1.0",  # high-quality resampling, block by block
    "pyarrow>=21",  # embeddings as parquet
    "tqdm>=4.66",
    "filelock>=3.30",  # one run per output folder; older ones let forked loaders keep a killed run's lock
    "scipy>=1.15",  # filters of the synthetic corpus, which ONNX exports are checked with, too
    "pyyaml>=6.0",  # configurations of published checkpoints
]
onnx = [
    "onnx>=1.20",  # the graph around the exported network, and its checks
    "onnxscript>=0.6",  # torch.onnx writes with it
    "onnxruntime>=1.23",  # compares the file with torch, and quantizes it
]
formats = ["av>=14.0"]  # m4a, aac, wma, webm and other audio that libsndfile does not decode: FFmpeg in a wheel
tables = [
    "openpyxl>=3.1",  # catalogs as XLSX
    "mutagen>=1.47",  # titles, artists and genres in the tags of audio files
]
ray = ["ray[data]>=2.50"]  # mulap embed --ray: the machines of a cluster
s3 = ["s3fs>=2025.9"]  # s3:// as input and output, and as training data
sentence_transformers = [
    "sentence-transformers>=6.2",  # SentenceTransformer(folder): embeddings of audio and texts, fine-tuning
]
notebooks = [
    "ipykernel>=6.29",  # runs the notebooks of training/examples, in Jupyter or an editor
]
mteb = [
    *sentence_transformers,
    "mteb>=2.26",  # tasks and scores of the benchmark of embedding models
]
search = [
    "faiss-cpu>=1.12",  # nearest neighbors
    "datasets>=5.2",  # tracks of an index, mapped into memory, with their faiss indexes
    "duckdb>=1.4",  # conditions on metadata in SQL
    "gradio>=6.31",  # the page of `mulap serve`, which the Space shares
]
extras = {
    "train": [
        "accelerate>=1.15",
        "datasets>=5.2",
        "evaluate>=0.4.6",
        "jinja2>=3.1",  # templates of model cards
        "tensorboard>=2.20",  # the default tracker
        "matplotlib>=3.10",  # plots in reports
        "scikit-learn>=1.7",  # neighbors and t-SNE of the map of clips; in tests the yardstick of our metrics
        "threadpoolctl>=3.5",  # probes on real recordings in one thread, as their matrices are small
    ],
    "tables": tables,
    "onnx": onnx,
    "formats": formats,
    "search": search,
    "sentence-transformers": sentence_transformers,
    "s3": s3,
    "mteb": mteb,
    "ray": ray,
    "notebooks": notebooks,
    "test": [
        *onnx,
        "peft>=0.21",  # adapters on a model with running statistics
        *formats,
        *search,
        *tables,
        *s3,
        *ray,
        "mido>=1.3",  # reads the scores (MIDI files) of the synthetic corpus
        "moto[server]>=5.1",  # an S3 server on this machine
        "polars>=1.30",  # reads our tables, as do
        "duckdb>=1.3",
        "lancedb>=0.40",
        "qdrant-client>=1.20",
        *mteb,
        *notebooks,
        "nbclient>=0.10",  # executes them
        "pytest>=8.4",
        "pytest-xdist>=3.8",
        "setuptools>=77",  # builds the wheel that is tested
        "playwright>=1.65",  # drives a browser
        "PySide6-WebEngine>=6.12",  # a Chromium from the package registry, where the machine has none
    ],
    "dev": ["ruff>=0.14", "mypy>=1.18", "types-PyYAML>=6.0"],
}

# The version has one place, the package.
(version,) = re.findall(r'^__version__ = "(.+)"$', Path("src/mulap_hf/__init__.py").read_text(), re.MULTILINE)

setup(
    name="mulap-hf",
    version=version,
    description="MuLaP: music audio representations from audio and noisy descriptions, for HuggingFace transformers",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"mulap_hf": ["py.typed"], "mulap_hf.publishing": ["templates/*", "endpoint/*"]},
    install_requires=core,
    extras_require=extras,
    entry_points={"console_scripts": ["mulap=mulap_hf.cli:main"]},
)
