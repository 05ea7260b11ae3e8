"""Vocabulary of the captions: synonyms of styles, instruments, moods and tempi, and irrelevant sentences."""

__all__ = [
    "INSTRUMENT_WORDS",
    "IRRELEVANT_SENTENCES",
    "MOOD_WORDS",
    "NOUNS",
    "PRAISE",
    "STYLE_WORDS",
    "TEMPO_WORDS",
    "USES",
    "VERBS",
    "mood_of",
    "tempo_class_of",
]

STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "rock": ("rock", "guitar-driven rock", "alternative rock", "indie rock", "stadium rock", "rock and roll"),
    "metal": ("metal", "heavy metal", "thrash", "hard and heavy", "hard rock", "headbanging"),
    "blues": ("blues", "delta blues", "twelve-bar blues", "bluesy", "barroom blues", "slow-hand blues"),
    "jazz": ("jazz", "swing", "bebop", "cool jazz", "jazz combo", "lounge jazz"),
    "classical": ("classical", "chamber music", "baroque", "orchestral", "romantic era", "recital"),
    "electronic": ("electronic", "techno", "house", "edm", "trance", "club"),
    "hip-hop": ("hip hop", "hip-hop", "rap beat", "boom bap", "trap beat", "lo-fi beat"),
    "folk": ("folk", "acoustic folk", "singer-songwriter", "bluegrass", "celtic", "country folk"),
    "ambient": ("ambient", "soundscape", "new age", "drone", "atmospheric", "chill out"),
    "latin": ("latin", "salsa", "bossa nova", "samba", "tropical", "afro-cuban"),
    "reggae": ("reggae", "dub", "roots reggae", "ska", "island music", "rocksteady"),
    "funk": ("funk", "disco", "soul", "funky", "r&b", "groove"),
}

INSTRUMENT_WORDS: dict[str, tuple[str, ...]] = {
    "accordion": ("accordion", "squeezebox"),
    "acoustic guitar": ("acoustic guitar", "strummed guitar", "nylon guitar", "guitar"),
    "banjo": ("banjo", "five-string banjo"),
    "bass": ("bass", "bass line", "bass guitar", "low end"),
    "bells": ("bells", "glockenspiel", "music box", "chimes"),
    "brass section": ("brass", "horns", "horn section", "brass stabs"),
    "cello": ("cello", "low strings"),
    "choir": ("choir", "voices", "vocal pads", "choral voices"),
    "clarinet": ("clarinet", "woodwind"),
    "distorted guitar": ("distorted guitar", "overdriven guitars", "heavy guitar riffs", "guitar"),
    "drums": ("drums", "drum beat", "percussion", "beats"),
    "electric guitar": ("electric guitar", "clean guitar", "guitar"),
    "electric piano": ("electric piano", "rhodes", "keys"),
    "flute": ("flute", "pan pipes", "woodwind"),
    "french horn": ("french horn", "horn"),
    "harmonica": ("harmonica", "blues harp", "mouth organ"),
    "harp": ("harp", "plucked harp"),
    "harpsichord": ("harpsichord", "cembalo", "keys"),
    "oboe": ("oboe", "woodwind"),
    "organ": ("organ", "hammond organ", "keys"),
    "piano": ("piano", "keys", "grand piano"),
    "saxophone": ("sax", "saxophone"),
    "steel drums": ("steel drums", "steel pan"),
    "strings": ("strings", "string section", "orchestral strings"),
    "synth lead": ("synth", "synth lead", "synthesizer"),
    "synth pad": ("pads", "synth pad", "synthesizer", "warm pads"),
    "trombone": ("trombone", "brass"),
    "trumpet": ("trumpet", "horns", "brass"),
    "vibraphone": ("vibes", "vibraphone", "mallets"),
    "violin": ("violin", "fiddle", "solo violin"),
}

MOOD_WORDS: dict[str, tuple[str, ...]] = {
    "joyful": ("happy", "upbeat", "energetic", "joyful", "fun", "exciting", "uplifting", "cheerful"),
    "angry": ("aggressive", "angry", "dark", "intense", "tense", "driving", "menacing"),
    "calm": ("relaxing", "peaceful", "calm", "warm", "mellow", "gentle", "laid-back"),
    "sad": ("sad", "melancholic", "gloomy", "moody", "sombre", "haunting", "lonely"),
    "even": ("steady", "easy-going", "understated", "groovy", "smooth"),
}

TEMPO_WORDS: dict[str, tuple[str, ...]] = {
    "slow": ("slow", "slow tempo", "downtempo", "slow-paced"),
    "medium": ("mid-tempo", "moderate", "medium pace"),
    "fast": ("fast", "up-tempo", "fast-paced", "quick"),
}

NOUNS = ("track", "song", "piece", "tune", "music", "instrumental", "recording")
VERBS = ("play", "carry", "drive", "lead")
PRAISE = (
    "nice",
    "great",
    "really cool",
    "original",
    "beautiful",
    "simple",
    "catchy",
    "modern",
    "vintage",
    "professional",
)
USES = (
    "a car commercial",
    "a travel vlog",
    "a cooking show",
    "corporate videos",
    "a documentary",
    "a video game",
    "film trailers",
    "a wedding video",
    "sports highlights",
    "a podcast intro",
)

# `captions` fills {number} and {year} with random numbers.
IRRELEVANT_SENTENCES = (
    "Recorded in one take at the home studio.",
    "Track number {number} from the second album.",
    "Contact us for licensing options.",
    "Download includes {number} versions and stems.",
    "Please leave a comment and rate it!",
    "(c) all rights reserved {year}.",
    "Remastered in {year}.",
    "This was composed for a friend.",
    "Loopable version available.",
    "Free for non commercial use.",
    "My favourite one so far.",
    "Enjoy and subscribe.",
    "First upload of the year.",
    "Length: {number} minutes.",
    "Sample rate 44.1 kHz, wav and mp3 included.",
    "Sorry for the long silence, more to come in {year}.",
)


def mood_of(arousal: float, valence: float) -> str:
    """Return the key of `MOOD_WORDS` for an arousal and a valence in [-1, 1]."""
    if abs(arousal) < 0.22 and abs(valence) < 0.22:
        return "even"
    if arousal > 0:
        return "joyful" if valence > 0 else "angry"
    return "calm" if valence > 0 else "sad"


def tempo_class_of(tempo: float) -> str:
    """Return the key of `TEMPO_WORDS` for a tempo in beats per minute."""
    return "slow" if tempo < 85 else "medium" if tempo < 120 else "fast"
