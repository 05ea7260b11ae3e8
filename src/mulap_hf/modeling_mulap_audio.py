"""The audio backbone: waveform -> chunks -> log-mel -> MusiCNN -> one feature per chunk and one per track."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from .configuration_mulap import MulapAudioConfig, MulapConfig
from .modeling_mulap_arguments import check_shape, mask_of_audio, only_known_arguments
from .modeling_mulap_conv import MulapConv, max_over_frequency
from .modeling_mulap_layers import MulapAlignment
from .modeling_mulap_outputs import MulapAudioOutput
from .modeling_mulap_pitch import MulapPitch
from .modeling_mulap_spectrum import MulapLogMel, MulapSpectrum
from .modeling_mulap_threads import can_run_in_threads, run_in_threads
from .pipeline_mulap_tasks import custom_pipelines, sentence_transformers_files

# Regular expressions for the weights of other parts that a saved folder may contain.
JOINT_PARTS = (
    r"^(alignment|audio_embeddings|audio_layers|audio_pooler|text_embeddings|text_layers|text_pooler|connections)\."
)
HEADS = r"^(matching_head|mlm_head|mam_head|words_head|chunks_head|classifier|similarity)\."
# Outputs of the tall convolutions, before the maximum, below which plain convolutions are faster: three chunks of the
# tiny preset.
FEW_OUTPUTS = 1_500_000
# The same, below which a part of a batch is too small for a separate thread: nearly a chunk of the published preset.
OUTPUTS_PER_THREAD = 3_390_000


class MulapMusiCNN(nn.Module):
    """MusiCNN (Pons & Serra, 2019; Won et al., SMC 2020) without its classifier."""

    def __init__(self, config: MulapAudioConfig):
        super().__init__()
        self.config = config
        self.input_norm = nn.BatchNorm2d(1)
        self.timbral = nn.ModuleList(
            MulapConv(
                nn.Conv2d(
                    1,
                    config.timbral_channels,
                    (int(height * config.num_mel_bins), config.timbral_width),
                    padding=(0, config.timbral_width // 2),
                )
            )
            for height in config.timbral_heights
        )
        heights = sum(config.num_mel_bins - layer.conv.kernel_size[0] + 1 for layer in self.timbral)
        self.outputs_per_frame = config.timbral_channels * heights
        self.temporal = nn.ModuleList(
            MulapConv(nn.Conv1d(1, config.temporal_channels, length, padding=length // 2))
            for length in config.temporal_lengths
        )
        sizes = [config.frontend_size] + [config.midend_channels] * config.midend_layers
        self.midend = nn.ModuleList(
            MulapConv(nn.Conv1d(before, after, config.midend_length, padding=config.midend_length // 2))
            for before, after in pairwise(sizes)
        )

    def forward(self, log_mel: torch.Tensor) -> list[torch.Tensor]:
        """`(chunks, mel bands, frames)` -> the stages, each `(chunks, channels, frames)`."""
        image = self.input_norm(log_mel[:, None].to(self.input_norm.weight.dtype))  # (chunks, 1, mel bands, frames)
        energy = image.mean(dim=2)  # (chunks, 1, frames)
        stages = [torch.cat(self.timbre(image) + [conv(energy) for conv in self.temporal], dim=1)]
        for index, conv in enumerate(self.midend):
            hidden = conv(stages[-1])
            stages.append(hidden if index == 0 else hidden + stages[-1])
        return stages

    def timbre(self, image: torch.Tensor) -> list[torch.Tensor]:
        """`(chunks, 1, mel bands, frames)` -> maxima of the tall convolutions, each `(chunks, channels, frames)`."""
        fast = self.config.fast_convolutions and not self._is_small(image)
        return max_over_frequency(image, self.timbral, fast)

    def _is_small(self, image: torch.Tensor) -> bool:
        """Whether plain convolutions are faster and as accurate."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return False
        accurate = image.dtype == torch.float32 and not torch.is_autocast_enabled(image.device.type)
        return accurate and len(image) * image.shape[3] * self.outputs_per_frame < FEW_OUTPUTS


class MulapPreTrainedModel(PreTrainedModel):
    """Base of all MuLaP models: weight initialization, frozen parts, folders that load without this package."""

    config: MulapConfig
    # All models name their backbone like this, so the weights of any folder load into any of the classes.
    base_model_prefix = "audio_model"
    main_input_name = "input_values"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    # transformers unpads the queries by the mask of the keys, but in co-attention the queries are another sequence.
    _supports_flash_attn = False
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["MulapMusiCNN", "MulapPitch", "MulapLayer", "MulapConnection"]
    # Trainer divides the loss by the number of accumulated batches itself: each term is a mean over its batch.
    accepts_loss_kwargs = False
    # Name of a class of transformers' Auto family -> "file.Class", for every class that loads from a saved folder.
    _auto_map: dict[str, str] = {}
    # Names of modules that get no gradient and stay in eval mode.
    _frozen_modules: tuple[str, ...] = ()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, MulapSpectrum):
            module.reset_buffers()
        elif isinstance(module, MulapPitch):
            module.reset_templates()
        elif isinstance(module, MulapAlignment):
            init.constant_(module.logit_scale, self.config.logit_scale_init_value)

    def _freeze(self, *names: str):
        self._frozen_modules = (*self._frozen_modules, *names)
        self.train(self.training)

    def train(self, mode: bool = True):
        """As in torch, but frozen parts stay in eval mode, and so does every BatchNorm whose weights are frozen.

        The running statistics of these BatchNorms therefore stay as they are: they are not in the adapters that PEFT
        saves, which would otherwise compute something else when they are loaded again.
        """
        super().train(mode)
        for name in self._frozen_modules:
            # Here as well as in `_freeze`, because `from_pretrained` replaces the parameters and then calls this.
            self.get_submodule(name).requires_grad_(False).eval()
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not _trains(module):
                module.eval()
        return self

    def post_init(self):
        super().post_init()
        # The exemptions of a sub-model are for loading it alone: inside another model an unknown weight is an error.
        self._keys_to_ignore_on_load_unexpected = set(type(self)._keys_to_ignore_on_load_unexpected or ())

    def save_pretrained(self, save_directory, **kwargs):
        """As in transformers; in addition, the folder names every class, pipeline and module that it loads as."""
        self.config.auto_map = dict(self._auto_map)
        self.config.custom_pipelines = custom_pipelines(self.config, type(self).__name__)
        if kwargs.get("is_main_process", True):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            for name, content in sentence_transformers_files(self.config, type(self).__name__).items():
                Path(save_directory, name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        super().save_pretrained(save_directory, **kwargs)


class MulapAudioModel(MulapPreTrainedModel):
    """The audio backbone, which MuLaP pre-trains and which is transferred to other tasks."""

    config: MulapAudioConfig
    input_modalities = ("audio",)
    # Recomputing a layer in the backward pass would count its batch twice in the statistics of BatchNorm.
    supports_gradient_checkpointing = False
    # The last one: `from_pretrained(..., pitch_channels=0)` leaves out the pitch branch.
    _keys_to_ignore_on_load_unexpected = [JOINT_PARTS, HEADS, r"^(audio_model\.)?pitch\."]
    _auto_map = {
        "AutoConfig": "configuration_mulap.MulapAudioConfig",
        "AutoModel": "modeling_mulap_audio.MulapAudioModel",
        "AutoFeatureExtractor": "feature_extraction_mulap.MulapFeatureExtractor",
    }

    def __init__(self, config: MulapAudioConfig):
        super().__init__(config)
        self.log_mel = MulapLogMel(config)
        self.musicnn = MulapMusiCNN(config)
        self.pitch = MulapPitch(config) if config.pitch_channels else None
        self.post_init()

    def get_input_embeddings(self):
        return self.musicnn.input_norm

    @can_return_tuple
    @only_known_arguments
    def forward(
        self,
        input_values: torch.Tensor,
        audio_attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> MulapAudioOutput:
        """Features of every chunk and the embedding of every track.

        A track is cut into chunks of `config.chunk_length` samples without overlap. An incomplete last chunk is
        dropped; if it is the only one, it is padded with silence instead. In eval mode the backbone computes
        `config.chunk_batch_size` chunks at a time, so the length of a track is limited only by the memory for its
        samples.

        Args:
            input_values: `(batch, samples)`, mono waveforms at `config.sampling_rate`, in [-1, 1].
            audio_attention_mask: `(batch, samples)`, 1 = real, 0 = padding. Without it every sample is real.
            output_hidden_states: also return the stages of the backbone, frame by frame.
            attention_mask: another name of `audio_attention_mask`, which `SequenceFeatureExtractor.pad` uses.

        Raises:
            ValueError: a shape does not fit, or the two masks differ.
            TypeError: an argument is unknown.
        """
        audio_attention_mask = mask_of_audio(audio_attention_mask, attention_mask)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        chunks, chunk_mask = self.split(input_values, audio_attention_mask)
        dense = audio_attention_mask is None or keeps_padding(self)
        features, stages = self._encode(chunks.flatten(0, 1) if dense else chunks[chunk_mask], output_hidden_states)

        def arrange(values: torch.Tensor) -> torch.Tensor:
            """`(encoded chunks, ...)` -> `(batch, chunks, ...)`, zero where a chunk is padding."""
            if not dense:
                return unpack(values, chunk_mask)
            values = values.unflatten(0, chunk_mask.shape)
            return values * chunk_mask.view(*chunk_mask.shape, *[1] * (values.dim() - 2))

        features = arrange(features)  # (batch, chunks, features)
        return MulapAudioOutput(
            last_hidden_state=features,
            pooler_output=masked_mean(features, chunk_mask),
            chunk_mask=chunk_mask.long(),
            hidden_states=tuple(arrange(stage) for stage in stages) if output_hidden_states else None,
        )

    def split(self, input_values: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Chunks `(batch, chunks, samples)`, silent where padded, and a mask `(batch, chunks)` of the real ones."""
        length = self.config.chunk_length
        if input_values.dim() != 2 or input_values.shape[1] == 0:
            raise ValueError(
                f"input_values has shape {tuple(input_values.shape)}; MuLaP takes (batch, samples), one mono waveform "
                "per row: let the feature extractor prepare it"
            )
        check_shape("audio_attention_mask", mask, "(batch, samples)", input_values.shape)
        missing = max(0, length - input_values.shape[1])
        num_chunks = max(1, input_values.shape[1] // length)

        def cut(samples: torch.Tensor) -> torch.Tensor:
            samples = F.pad(samples, (0, missing)) if missing else samples[:, : num_chunks * length]
            return samples.unflatten(1, (num_chunks, length))

        chunks = cut(input_values)
        if mask is None:
            return chunks, torch.ones(chunks.shape[:2], dtype=torch.bool, device=chunks.device)
        sample_mask = cut(mask.bool())
        complete = sample_mask.all(dim=2)
        first = torch.arange(num_chunks, device=chunks.device) == 0
        return chunks.masked_fill(~sample_mask, 0), complete | (first & ~complete.any(dim=1, keepdim=True))

    def _encode(self, chunks: torch.Tensor, with_stages: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """`(chunks, samples)` -> `(chunks, features)` and the stages, each `(chunks, frames, channels)`."""
        if self.training or torch.compiler.is_compiling():
            return self._encode_batch(chunks, with_stages)
        size = min(max(1, len(chunks)), self.config.chunk_batch_size)
        work = size * (self.config.chunk_length // self.config.hop_length) * self.musicnn.outputs_per_frame
        alone = can_run_in_threads(self, chunks)
        threads = max(1, min(torch.get_num_threads(), size, work // OUTPUTS_PER_THREAD)) if alone else 1
        batches = chunks.split(math.ceil(size / threads))
        outputs: list[Any] = [None] * len(batches)

        def encode(part: int):
            for number in range(part, len(batches), threads):
                outputs[number] = self._encode_batch(batches[number], with_stages)

        if alone:
            run_in_threads(encode, threads)
        else:
            encode(0)
        features = torch.cat([features for features, _ in outputs])
        return features, [torch.cat(stage) for stage in zip(*(stages for _, stages in outputs), strict=True)]

    def _encode_batch(self, chunks: torch.Tensor, with_stages: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        stages = self.musicnn(self.log_mel(chunks))
        joint = torch.cat(stages, dim=1)  # (chunks, channels, frames)
        parts = [joint.amax(dim=2), joint.mean(dim=2)]
        if self.pitch is not None:
            parts.append(self.pitch(chunks))
        features = torch.cat(parts, dim=1)  # (chunks, features)
        return features, [stage.transpose(1, 2) for stage in stages] if with_stages else []


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def keeps_padding(model: nn.Module) -> bool:
    """Whether padded chunks are computed and then zeroed: only in graphs compiled for inference, whose shapes must not
    depend on the data. Elsewhere they are left out, so they cost nothing and do not enter BatchNorm statistics."""
    return torch.compiler.is_compiling() and not model.training


def unpack(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Spreads `(real items, ...)` to where the mask `(batch, items)` is True; zero elsewhere."""
    unpacked = values.new_zeros(*mask.shape, *values.shape[1:])
    unpacked[mask] = values
    return unpacked


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the items of `(batch, items, size)` where the mask `(batch, items)` is True; zero where none is."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


__all__ = ["MulapAudioModel", "MulapAudioOutput", "MulapPreTrainedModel"]
