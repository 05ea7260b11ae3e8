"""Drum grids: the strokes of each drum in one bar of sixteenth notes, for every groove."""

__all__ = [
    "CRASH",
    "FILL_DRUMS",
    "GROOVES",
    "HI_HAT",
    "OPEN_HI_HAT",
    "QUIET_GROOVES",
    "SHAKER",
    "SNARE",
    "TIMEKEEPERS",
    "TRIPLE_GROOVES",
]

# General-MIDI drum pitches.
KICK, SIDE_STICK, SNARE, CLAP = 36, 37, 38, 39
HI_HAT, PEDAL_HI_HAT, LOW_TOM, OPEN_HI_HAT, MID_TOM, CRASH, HIGH_TOM, RIDE = 42, 44, 45, 46, 47, 49, 50, 51
TAMBOURINE, COWBELL, CONGA, SHAKER, CLAVES = 54, 56, 63, 70, 75

# A row has one character per sixteenth: a digit is a stroke (9 = full velocity), a dot is a rest.
GROOVES: dict[str, dict[int, str]] = {
    "rock": {KICK: "9...5...9.6.....", SNARE: "....9.......9...", HI_HAT: "7.5.7.5.7.5.7.5."},
    "open rock": {KICK: "9.....6.9.......", SNARE: "....9.......9...", OPEN_HI_HAT: "7...7...7...7..."},
    "double bass": {KICK: "9898989898989898", SNARE: "....9.......9...", RIDE: "8...8...8...8..."},
    "metal half time": {KICK: "99..99..99..9999", SNARE: "........9.......", CRASH: "8...8...8...8..."},
    "punk": {KICK: "9...9.9.9...9.9.", SNARE: "..9...9...9...9.", HI_HAT: "8.8.8.8.8.8.8.8."},
    "shuffle": {KICK: "9.......9.......", SNARE: "....8.......8...", RIDE: "8..67..68..67..6"},
    "swing": {RIDE: "8...7..48...7..4", PEDAL_HI_HAT: "....6.......6...", KICK: "3.......3......."},
    "brushes": {SNARE: "3.2.4.2.3.2.4.2.", PEDAL_HI_HAT: "....5.......5...", KICK: "4..............."},
    "four on the floor": {KICK: "9...9...9...9...", OPEN_HI_HAT: "..7...7...7...7.", CLAP: "....7.......7..."},
    "techno": {KICK: "9...9...9...9...", HI_HAT: "5.8.5.8.5.8.5.8.", SIDE_STICK: "...5..5...5..5.."},
    "breakbeat": {KICK: "9.9.......9.....", SNARE: "....9..4.4..9...", HI_HAT: "7.7.7.7.7.7.7.7."},
    "boom bap": {KICK: "9..5...6..9.....", SNARE: "....9.......9...", HI_HAT: "7.4.7.4.7.4.7.4."},
    "trap": {KICK: "9......6..9.....", CLAP: "........8.......", HI_HAT: "7575757575776677"},
    "half time": {KICK: "9.....5.........", SNARE: "........8.......", HI_HAT: "6...6...6...6..."},
    "funk": {KICK: "9..6..9...6..6..", SNARE: "....9..3.3..9..3", HI_HAT: "7474747474747474"},
    "disco": {
        KICK: "9...9...9...9...",
        SNARE: "....8.......8...",
        OPEN_HI_HAT: "..6...6...6...6.",
        HI_HAT: "6...6...6...6...",
    },
    "one drop": {KICK: "........9.......", SIDE_STICK: "........8.......", HI_HAT: "6.5.6.5.6.5.6.5."},
    "steppers": {KICK: "8...8...8...8...", SIDE_STICK: "........8.......", HI_HAT: "5.4.5.4.5.4.5.4."},
    "bossa nova": {KICK: "8..58..58..58..5", SIDE_STICK: "7..7..7...7..7..", HI_HAT: "5555555555555555"},
    "salsa": {
        CLAVES: "8..8..8...8.8...",
        CONGA: "..6.6.77..6.6.77",
        COWBELL: "7...7...7...7...",
        KICK: "......6.......6.",
    },
    "samba": {KICK: "7..98..97..98..9", SNARE: "5.55.5.55.5.55.5", SHAKER: "6464646464646464"},
    "reggaeton": {KICK: "9...9...9...9...", SNARE: "...8..8....8..8.", SHAKER: "5.5.5.5.5.5.5.5."},
    "hand percussion": {TAMBOURINE: "5...7...5...7...", SHAKER: "5.4.5.4.5.4.5.4.", KICK: "6.......6......."},
    "train beat": {SNARE: "5353635353536353", KICK: "7...7...7...7..."},
    "sparse": {SHAKER: "3.......3.......", KICK: "4..............."},
}

# One bar of three beats, for songs in triple time. Swing and brushes use the jazz waltz, all others the waltz.
_WALTZ = {KICK: "9...........", SNARE: "....6...6...", HI_HAT: "6...5...5..."}
_JAZZ_WALTZ = {RIDE: "8...7..47..4", PEDAL_HI_HAT: "....6...6..."}
TRIPLE_GROOVES: dict[str, dict[int, str]] = {
    groove: _JAZZ_WALTZ if groove in ("swing", "brushes") else _WALTZ for groove in GROOVES
}

# Grooves without fills and crashes; timekeeping drums, which calm songs thin out; drums of a fill.
QUIET_GROOVES = frozenset({"swing", "brushes", "sparse", "bossa nova", "one drop"})
TIMEKEEPERS = frozenset({HI_HAT, RIDE, SHAKER, TAMBOURINE})
FILL_DRUMS = (SNARE, HIGH_TOM, MID_TOM, LOW_TOM)
