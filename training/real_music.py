"""Evaluate models on recordings made by people: instruments of notes, soundtracks, neighbors, the same track again.

python training/real_music.py --models model_cards/mulap-tiny random:model_cards/mulap-tiny handcrafted --data DIR
python training/real_music.py --models DIR MusiCNN=CONVERTED --reference MusiCNN --data DIR --half test

DIR has notes/CLASS/ and soundtracks/CLASS/; the command says where to get what is missing. Features are computed once
per model and file. Repeat the command to resume an interrupted run.
"""

from mulap_hf.arguments import parse_arguments
from mulap_hf.real_music.arguments import RealMusicArguments
from mulap_hf.scripts import free_waiting_threads, run_script


def main(arguments: list[str] | None = None) -> int:
    (args,) = parse_arguments((RealMusicArguments,), arguments, __doc__)
    free_waiting_threads()
    from mulap_hf.commands.real_music import real_music

    return real_music(args)


if __name__ == "__main__":
    run_script(main)
