"""MuLaP on HuggingFace Inference Endpoints: answers audio with labels, an embedding, or zero-shot scores.

The endpoint's server (huggingface-inference-toolkit) creates one `EndpointHandler` for the repository's folder and
calls it with every request. The server returns the result as JSON; an exception becomes status 400, with the message
under `error`.
"""

import base64
import io
import json
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile as sf
from transformers import pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module

# Limits of one request. The server handles one request at a time, so a large one delays all others, and the smallest
# instances have 2 GB of memory.
MAX_BYTES = 128 * 2**20  # all files of a request together; 12 minutes of wav in CD quality, hours of mp3
MAX_SECONDS = 1800  # all audio of a request together; it determines the memory, however small the files are
MAX_ITEMS = 32  # items of a batch; each is one run of the model
MAX_LABELS = 100  # zero-shot labels; each is fused with each item
MAX_CHARACTERS = 500  # length of a label and of a template; the model uses a sentence or two
# Limits of a file's header. Music is recorded within them; far outside, resampling takes too much memory.
MIN_RATE, MAX_RATE = 4000, 192000  # Hz
MAX_CHANNELS = 2  # the input of the model is the mean of the channels; more of them only take more time
FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF")  # libsndfile's other parsers are rarely tested

_FULL_SCALE = 16  # samples are in [-1, 1], or a little above if they clip; unscaled integers exceed this
_PARAMETERS = {
    "audio-classification": {"top_k": (int,), "function_to_apply": (str,), "per_chunk": (bool,)},
    "feature-extraction": {"per_chunk": (bool,), "space": (str,)},
    "zero-shot-audio-classification": {
        "candidate_labels": (list, str),
        "hypothesis_template": (str,),
        "multi_label": (bool,),
    },
}


class EndpointHandler:
    """Answers requests with the pipelines of a model.

    Args:
        path: folder of the model; default: the folder of this file.
    """

    def __init__(self, path: str = ""):
        self.folder = str(path or Path(__file__).parent)
        config = json.loads(Path(self.folder, "config.json").read_text(encoding="utf-8"))
        self.tasks = config["custom_pipelines"]
        task = "audio-classification" if "audio-classification" in self.tasks else "feature-extraction"
        self.pipeline = pipeline(task, model=self.folder, trust_remote_code=True)
        self.sampling_rate = self.pipeline.feature_extractor.sampling_rate
        self.load_audio = get_class_from_dynamic_module("audio.load_audio", self.folder)

    def __call__(self, data: dict) -> list:
        """Answers a request.

        Args:
            data: a dict with two keys.
                `inputs`: the bytes of an audio file (wav, flac, ogg, mp3, aiff), the same in base64, or
                `{"array": [...], "sampling_rate": Hz}`, mono or stereo in [-1, 1]; or a list of these.
                `parameters`: for a classifier `top_k`, `function_to_apply`, `per_chunk`; for a base model `per_chunk`
                and `space`, or for zero-shot `candidate_labels`, `hypothesis_template`, `multi_label`.

        Returns:
            The result of the pipeline; for a list of inputs, a list of results. A classifier returns a list of
            `{"label", "score"}`, best first, or with `per_chunk` a list of `{"start", "end", "scores"}`. A base model
            returns an embedding as a list of numbers, or with `per_chunk` one for each chunk.

        Raises:
            ValueError: the request is not valid; the message says what to change.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError('send the bytes of an audio file, or JSON: {"inputs": base64, "parameters": {...}}')
        if unknown := data.keys() - {"inputs", "parameters", "options"}:  # clients of the Inference API send options
            raise ValueError(f'{_names(unknown)} is not "inputs" or "parameters": put options into "parameters"')
        parameters = self._parameters(data.get("parameters"))
        answer = self._zero_shot if "candidate_labels" in parameters else self.pipeline
        inputs = data["inputs"]
        if isinstance(inputs, list):
            return answer(self._clips({f"input {index}": item for index, item in enumerate(inputs)}), **parameters)
        return answer(self._clips({"the input": inputs})[0], **parameters)

    @cached_property
    def _zero_shot(self):
        """Created at the first request for it. If the model was not trained for it, the client gets the error."""
        zero_shot = pipeline("zero-shot-audio-classification", model=self.folder, trust_remote_code=True)
        zero_shot.model = self.pipeline.model  # so that the weights are in memory only once
        return zero_shot

    def _parameters(self, parameters: dict | None) -> dict:
        """The arguments of the pipeline: the parameters that are not null.

        Raises:
            ValueError: a parameter is unknown, or has a wrong type or size.
        """
        if not isinstance(parameters or {}, dict):
            raise ValueError(
                f'parameters is {type(parameters).__name__}: it must be an object, like {{"per_chunk": true}}'
            )
        parameters = {name: value for name, value in (parameters or {}).items() if value is not None}
        task = self.pipeline.task
        if "candidate_labels" in parameters and task == "feature-extraction":
            task = "zero-shot-audio-classification"
        if task not in self.tasks:
            raise ValueError("this model has no text side: leave candidate_labels out")
        known = _PARAMETERS[task]
        if unknown := parameters.keys() - known.keys():
            raise ValueError(f"{_names(unknown)} is not a parameter of {task}, which takes {_names(known)}")
        for name, value in parameters.items():
            if type(value) not in known[name]:
                kinds = " or ".join(kind.__name__ for kind in known[name])
                raise ValueError(f"{name} is {type(value).__name__}: it must be {kinds}")
        if "candidate_labels" in parameters:
            _check_texts(parameters)
        return parameters

    def _clips(self, inputs: dict[str, object]) -> list[dict]:
        """The inputs as mono waveforms with their sampling rates, as the pipelines take them.

        Args:
            inputs: by the name that an error message uses.

        Raises:
            ValueError: an input cannot be read as audio, or together they exceed the limits of a request.
        """
        if not 1 <= len(inputs) <= MAX_ITEMS:
            raise ValueError(f"inputs is a list of {len(inputs)}: send 1 to {MAX_ITEMS} in a request")
        files = [item for item in inputs.values() if isinstance(item, (bytes, str))]
        size = sum(len(file) * (3 / 4 if isinstance(file, str) else 1) for file in files)
        if size > MAX_BYTES:
            raise ValueError(
                f"inputs has {size:,.0f} bytes of audio files, and a request may have {MAX_BYTES:,}: send flac or "
                "mp3, or fewer files at once"
            )
        clips, left = [], float(MAX_SECONDS)
        for name, item in inputs.items():
            if isinstance(item, dict):
                clip = _array(item, name, left)
            else:
                clip = self._decode(_contents(item, name), name, left)
            if (peak := np.abs(clip["array"]).max()) > _FULL_SCALE:
                raise ValueError(f"{name} peaks at {peak:g}, and samples must be in [-1, 1]: divide int16 by 32768")
            left -= len(clip["array"]) / clip["sampling_rate"]
            clips.append(clip)
        return clips

    def _decode(self, contents: bytes, name: str, left: float) -> dict:
        """The samples of a file. Decoding stops after `left` seconds, whatever the header says."""
        _check_header(contents, name, left)
        file = io.BytesIO(contents)
        file.name = name  # in messages
        waveform = self.load_audio(file, self.sampling_rate, duration=left + 1, report=_refuse)
        _check_seconds(len(waveform) / self.sampling_rate, name, left)
        return {"array": waveform, "sampling_rate": self.sampling_rate}


def _contents(item, name: str) -> bytes:
    """The bytes of a file. Text must be base64: paths and URLs would be opened with the rights of the server."""
    if isinstance(item, str):
        try:
            item = base64.b64decode("".join(item.split()), validate=True)
        except ValueError as error:
            raise ValueError(
                f"{name} is text that is not base64 ({error}): send the file itself in base64; paths, URLs and data: "
                "URIs are not opened"
            ) from error
    if not isinstance(item, bytes):
        raise ValueError(
            f"{name} is {type(item).__name__}: send the bytes of an audio file, the same in base64, or "
            '{"array": [...], "sampling_rate": Hz}'
        )
    if not item:
        raise ValueError(f"{name} is empty (0 bytes): send an audio file")
    return item


def _refuse(problem: str):
    """Raises a ValueError for a file of which a part is missing."""
    raise ValueError(f"{problem}: send the complete file")


def _check_header(contents: bytes, name: str, left: float):
    """Refuses a file by its header, before it costs the time to decode it.

    Raises:
        ValueError: the file is not audio, or exceeds a limit.
    """
    try:
        file = sf.SoundFile(io.BytesIO(contents))
    except sf.SoundFileError as error:
        raise ValueError(
            f"{name} is broken, or not wav, flac, ogg, mp3 or aiff: its {len(contents)} bytes begin with "
            f"{contents[:8]!r}. Convert it, for example: ffmpeg -i song.m4a song.flac. Text is decoded as base64, and "
            "never opened as a path or URL"
        ) from error
    with file:
        if file.format not in FORMATS:
            raise ValueError(f"{name} is {file.format}, not wav, flac, ogg, mp3 or aiff: convert it")
        _check_rate(file.samplerate, name)
        if file.channels > MAX_CHANNELS:
            raise ValueError(f"{name} has {file.channels} channels, more than {MAX_CHANNELS}: mix them down")
        if _knows_length(file, contents):
            _check_seconds(file.frames / file.samplerate, name, left)


def _knows_length(file: sf.SoundFile, contents: bytes) -> bool:
    """False for a flac that was written to a pipe, and for an mp3 whose length libsndfile guesses."""
    if file.format == "MP3":
        start = 0
        while contents[start : start + 3] == b"ID3":  # tags; their size has seven bits per byte
            start += 10 + sum(byte << 7 * place for place, byte in enumerate(contents[start + 9 : start + 5 : -1]))
        first = contents[start : start + 42]  # the header of the first frame, and a possible length
        return any(tag in first for tag in (b"Xing", b"Info", b"VBRI"))
    return file.frames < 2**63 - 1


def _array(item: dict, name: str, left: float) -> dict:
    """Numbers as a mono float32 waveform `(samples,)`.

    Raises:
        ValueError: they are not a waveform, or it is longer than `left` seconds.
    """
    if item.keys() != {"array", "sampling_rate"}:
        raise ValueError(f'{name} has the keys {_names(item)}: it must be {{"array": [...], "sampling_rate": Hz}}')
    array, rate = item["array"], item["sampling_rate"]
    _check_rate(rate, name)
    rows = array if isinstance(array, list) and array and isinstance(array[0], list) else [array]
    # Checked one by one: numpy would accept "1" as a number, and use as much memory for each text as for the longest.
    if not all(isinstance(row, list) and set(map(type, row)) <= {int, float} for row in rows):
        raise ValueError(f"{name}: array must be a list of numbers, or two such lists (left and right)")
    try:
        samples = np.array(rows, dtype=np.float64)  # (channels, samples) or (samples, channels)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name}: array has lists of different lengths, or numbers beyond float64") from error
    if samples.size == 0 or min(samples.shape) > 2:
        raise ValueError(f"{name}: array has shape {samples.shape}: it must be mono or stereo, and not empty")
    _check_seconds(max(samples.shape) / rate, name, left)
    return {"array": samples.mean(axis=np.argmin(samples.shape), dtype=np.float32), "sampling_rate": rate}


def _check_rate(rate, name: str):
    if type(rate) is not int or not MIN_RATE <= rate <= MAX_RATE:
        raise ValueError(f"{name} has sampling_rate {rate!r:.40}: it must be an integer, {MIN_RATE} to {MAX_RATE} Hz")


def _check_seconds(seconds: float, name: str, left: float):
    if seconds > left:
        raise ValueError(
            f"{name} has at least {seconds:.0f} s of audio, and {left:.0f} s are left of the {MAX_SECONDS} s that a "
            "request may have: send an excerpt, or fewer files at once"
        )


def _check_texts(parameters: dict):
    """Checks the labels and the template of zero-shot.

    Raises:
        ValueError: they are not texts, too many, or too long.
    """
    labels = parameters["candidate_labels"]
    labels = labels.split(",") if isinstance(labels, str) else labels
    if not 1 <= len(labels) <= MAX_LABELS:
        raise ValueError(f"candidate_labels has {len(labels)} labels: send 1 to {MAX_LABELS}")
    for text in (*labels, parameters.get("hypothesis_template", "{}")):
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_CHARACTERS:
            raise ValueError(
                f"candidate_labels and hypothesis_template must be texts of 1 to {MAX_CHARACTERS} characters, not "
                f"{text!r:.60}"
            )


def _names(names) -> str:
    return ", ".join(sorted(names))[:200]
