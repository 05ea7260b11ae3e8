"""Chord progressions and melody scales that the styles choose from."""

__all__ = [
    "BLUES_MAJOR",
    "BLUES_MINOR",
    "BLUES_SCALES",
    "CLASSICAL_MAJOR",
    "CLASSICAL_MINOR",
    "FUNK_MAJOR",
    "FUNK_MINOR",
    "JAZZ_MAJOR",
    "JAZZ_MINOR",
    "LATIN_MAJOR",
    "LATIN_MINOR",
    "METAL_MAJOR",
    "METAL_MINOR",
    "MODAL_MAJOR",
    "MODAL_MINOR",
    "PENTATONIC_SCALES",
    "POP_MAJOR",
    "POP_MINOR",
    "REGGAE_MAJOR",
    "REGGAE_MINOR",
]

POP_MAJOR = ("I V vi IV", "I IV V IV", "vi IV I V", "I vi IV V", "I IV I V", "I iii IV V")
POP_MINOR = ("i bVI bIII bVII", "i bVII bVI V", "i iv bVII bIII", "i bVI iv V", "i iv i V")
JAZZ_MAJOR = ("ii7 V7 IM7 IM7", "IM7 vi7 ii7 V7", "iii7 VI7 ii7 V7", "IM7 IV7 iii7 VI7", "IM7 #Idim ii7 V7")
JAZZ_MINOR = ("i7 iim7b5 V7 i7", "i7 iv7 bVII7 bIIIM7", "iim7b5 V7 i7 i7", "i9 i9 iv9 V7")
BLUES_MAJOR = (
    "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
    "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
)
BLUES_MINOR = (
    "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7",
    "i7 iv7 i7 i7 iv7 iv7 i7 i7 V7 iv7 i7 V7",
)
CLASSICAL_MAJOR = ("I V I IV I V I I", "I IV V I", "I vi ii V", "I V vi iii IV I IV V", "I IV ii V7 vi ii V I")
CLASSICAL_MINOR = ("i iv V i", "i bVI iv V", "i V i iv bVI V i V", "i bVII bIII V7")
METAL_MAJOR = ("I5 bVII5 IV5 I5", "I5 IV5 V5 I5")
METAL_MINOR = ("i5 bVI5 bVII5 i5", "i5 i5 bII5 i5", "i5 bIII5 bVI5 V5", "i5 bVII5 bVI5 bVI5", "i5 bII5 bIII5 bII5")
MODAL_MAJOR = ("Iadd9 Iadd9 bVIIadd9 IVadd9", "IM7 IVM7 IM7 IVM7", "I I ii I", "Iadd9 vadd9 IVadd9 Iadd9")
MODAL_MINOR = ("i9 i9 bVIM7 i9", "i9 IV i9 IV", "i i bVII bVII", "i7 bVIM7 i7 bVIM7")
FUNK_MAJOR = ("I9 I9 I9 IV9", "I9 IV9 I9 IV9", "I7 I7 bVII7 IV7")
FUNK_MINOR = ("i7 IV7 i7 IV7", "i9 i9 iv9 i9", "i7 i7 bVIM7 V7")
LATIN_MAJOR = ("I V I V", "I IV V IV", "ii7 V7 I vi7", "I vi ii V")
LATIN_MINOR = ("i iv V7 V7", "i bVII bVI V7", "i V7 i V7")
REGGAE_MAJOR = ("I IV I IV", "I V vi IV", "I ii IV I", "I V IV V")
REGGAE_MINOR = ("i iv i iv", "i bVII i bVII", "i bVI bVII i")

# For each mode, the scales of a melody and their weights.
BLUES_SCALES = {
    "major": {"minor blues": 0.6, "major blues": 0.4},
    "minor": {"minor blues": 1.0},
}
PENTATONIC_SCALES = {
    "major": {"major": 0.5, "major pentatonic": 0.5},
    "minor": {"minor": 0.5, "minor pentatonic": 0.5},
}
