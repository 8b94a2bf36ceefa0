"""The hand-checked table of the drum corpus: what each instrument of each kit is, whose it is, and its fold.

Every instrument name of the kits was read beside the names of its recordings, since a pattern is no judge of them (it
calls `WaterglassHi` a hi-hat, and `Snare Rock` holds three strokes of one kit and two of another). The rules:

- a label is a family that at least three kits play, wide enough to be heard and not only read: see `FAMILIES`;
- the instrument's name decides; where the name of the recording says something else, the hit is left out;
- what could be two of the ten (a crash cymbal struck as a ride, "Cymbal") is left out, never guessed;
- folds keep kits whole, and kits that share drums together: The Black Pearl 1.0 and GMRockKit hold 81 recordings in
  common, and the three kits of Millo are one drum set recorded three times. Of all such folds these are the ones whose
  sizes and shares of each label differ least (found by search; the sizes are 101, 119, 132, 121 and 99 hits).

`aural.training.drums` reads it; nothing else needs to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FAMILIES: dict[str, str] = {
    "hihat": "hi-hat, closed, half open, open, choked or by pedal",
    "snare": "snare drum, struck on the head or as a rimshot, and rolls",
    "tom": "tom-tom, from high to floor",
    "crash": "crash, splash and china cymbals",
    "kick": "bass drum",
    "ride": "ride cymbal, on its bow or its bell",
    "cowbell": "struck bells: cowbell, agogo, bells of the dunun drums",
    "conga": "hand percussion drums: conga, bongo, djembe, dunun",
    "clap": "hand claps and finger snaps",
    "shaker": "what is shaken: shaker, maraca, tambourine",
}
LABELS = tuple(FAMILIES)
FOLDS = 5

STICK = "side sticks and drum sticks"
OTHER = "percussion and effects of no family"
TWO = "could be of two families (crash or ride, cymbal, drum)"
DISAGREE = "instrument and recording have names that disagree"
COPY = "copy of a recording that is there already"


@dataclass(frozen=True)
class Kit:
    """One drum kit.

    Attributes:
        package: the Debian package that carries it.
        author: of its recordings, after the package's copyright file; after drumkit.xml where that names nobody.
        licence: the short name that the copyright file gives its licence.
        fold: 1 to `FOLDS`.
        instruments: names of instruments by label, and by reason those that are left out.
        recordings: recordings that are left out whatever their instrument is, with the reason.
    """

    package: str
    author: str
    licence: str
    fold: int
    instruments: Mapping[str, tuple[str, ...]]
    recordings: Mapping[str, str] = field(default_factory=dict)

    def verdict(self, instrument: str) -> str | None:
        """The label of an instrument or the reason to leave it out; None for a name that is not in the table."""
        return next((verdict for verdict, names in self.instruments.items() if instrument in names), None)


KITS: dict[str, Kit] = {
    "Audiophob": Kit(
        "hydrogen-drumkits",
        "soundcloud.com/audiophobdubstep",
        "CC0",
        1,
        {
            "hihat": ("Closed HH", "Open HH"),
            "snare": ("Snare Jazz", "Snare Rock"),
            "tom": ("Tom Low", "Tom Mid", "Tom Hi"),
            "crash": ("Crash",),
            "clap": ("Hand Clap",),
            STICK: ("Stick",),
            DISAGREE: ("Kick", "Pedal HH", "Cowbell", "Ride Jazz"),  # tom-0105, fxshake5, trimo-c3, sabmute
        },
    ),
    "BJA_Pacific": Kit(
        "hydrogen-drumkits",
        "Luc Tanguay, Bransin James Anderson",
        "CC-BY-SA-3.0-us",
        4,
        {
            "hihat": ("Hi Hat Closed", "Hi Hat Opened", "Hi Hat Free"),
            "snare": ("Snare", "Snare Roll", "Snare Dry"),
            "tom": ("Tom", "Floor Tom"),
            "crash": ("Crash Left", "Crash Right"),
            "kick": ("BassDrum",),
            "ride": ("Ride Bell", "Ride", "Ride 2"),
        },
    ),
    "ColomboAcousticDrumkit": Kit(
        "hydrogen-drumkits",
        "Marcos Guglielmetti",
        "GPL-2+ with composition exception",
        1,
        {
            "hihat": ("Closed HH", "Pedal HH", "Open HH"),
            "snare": ("Snare1", "redo super opaco", "Snare Rock"),  # redoblante: snare drum
            "tom": ("Tom Low", "Tom Mid", "Tom Hi", "tomhi2", "tomhi3", "tomhi4"),
            "crash": ("crash16inch", "crash20inch--2"),
            "kick": ("BassDrum",),
            STICK: ("Stick",),
            TWO: ("ride-crash20inch", "ride-cup"),  # strokes of a ride on a crash cymbal
        },
        {"crash16i__ride2.flac": TWO, "crash16i__ride_cup4.flac": TWO},
    ),
    "ElectricEmpireKit": Kit(
        "hydrogen-drumkits",
        "Artemiy Pavlov (ArtemioLabs)",
        "GPL-2+",
        3,
        {
            "hihat": (
                *("Hat Closed Bs", "Hat Closed Dirty", "Hat Low", "Hat Ring 1", "Hat Ring 2"),
                *("Hat Op Dirty", "Hat Op Phaser"),
            ),
            "snare": ("Snare 1", "Snare 2", "Snare 3", "Snare Low", "Snare Ring"),
            "kick": (
                *("Kick Lite 1", "Kick Lite 2", "Kick Low 1", "Kick Low 2", "Kick Nz", "Kick Old", "Kick Power"),
                *("Kick Ring", "Kick Stomp", "Kick Dist", "Kick Hard 1", "Kick Hard 2"),
            ),
            "conga": ("Conga 1", "Conga 2"),
            "clap": ("Clap", "Clap Hard"),
            OTHER: ("Click", "Whistle"),
            TWO: ("Drum 1", "Drum 2"),
        },
    ),
    "ForzeeStereo": Kit(
        "hydrogen-drumkits",
        "Vladimir Sadovnikov, Alexander Belokurov",
        "GPL-2",
        3,
        {  # each name goes on with maker and size in brackets, which are not read
            "hihat": ("Hi-Hat Closed", "Hi-Hat Open", "Hi-Hat Semiopen", "Hi-Hat Pedal"),
            "snare": ("Snare", "Snare Rimshot", "Snare 2", "Snare 2 Rimshot"),
            "tom": ("Tom Low", "Tom Mid", "Tom High"),
            "crash": ("China", "Crash", "Splash"),
            "kick": ("Kick",),
            "ride": ("Ride", "Ride Bell", "Ride Bow"),
            "cowbell": ("Agogo Low", "Agogo High"),
            "shaker": ("Tambourine", "Tambourine Pedal"),
            STICK: ("Rim Click", "Stick"),
            TWO: ("Crash/Ride", "Crash/Ride Bell", "Crash/Ride Bow"),
        },
    ),
    "GMRockKit": Kit(
        "hydrogen-data",
        "Glen MacArthur, Sebastian Moors",
        "GPL-2+",
        2,
        {
            "hihat": ("Hat Closed", "Hat Pedal", "Hat Open", "Hat Semi-Open"),
            "snare": ("Snare", "Snare Rimshot"),
            "tom": ("Floor Tom", "Tom 2", "Tom 1"),
            "crash": ("Crash", "Splash"),
            "kick": ("Kick",),
            "ride": ("Ride", "Ride 2", "Bell"),  # the same recordings are "Paiste Bell" in The Black Pearl
            "cowbell": ("Cowbell",),
            STICK: ("Stick",),
            COPY: ("Hand Clap",),  # one of Gimme A Hand's claps
        },
    ),
    "Gimme A Hand 1.0": Kit(
        "hydrogen-drumkits",
        "Glen MacArthur",
        "GPL-2",
        4,
        {
            "cowbell": ("Cowbell",),
            "conga": ("Bongo Hi", "Bongo Lo"),
            "clap": ("Hand Clap", "Finger Snaps"),
            "shaker": ("Maraca", "Tambourine"),
            OTHER: (
                *("Cajon Thump", "Cajon Slap", "Clave", "Woodblock Hi", "Woodblock Lo"),
                *("WaterglassHi", "WaterglassLo"),
            ),
        },
    ),
    "HardElectro1": Kit(
        "hydrogen-drumkits",
        "Artemiy Pavlov (ArtemioLabs)",
        "GPL-2+",
        1,
        {
            "hihat": ("Closed HH 1", "Closed HH 2", "Closed HH 3", "Closed HH 4", "Open HH", "Side HH", "Side OHH"),
            "snare": ("Snare",),
            "kick": ("Kick 1", "Kick 2", "Kick 3"),
            "clap": ("Clap 1", "Clap 2"),
            OTHER: ("Zap 1", "Zap 2", "FX"),
        },
    ),
    "Millo-Drums_v.1": Kit(
        "hydrogen-drumkits",
        "Emiliano Grilli (Emillo)",
        "GPL-2",
        5,
        {
            "hihat": ("Closed HH", "Pedal HH", "Open HH"),
            "snare": ("Snare Jazz", "Snare Rock"),
            "tom": ("Tom Low", "Tom Mid", "Tom Hi"),
            "crash": ("Crash", "Crash Jazz"),
            "kick": ("Kick",),
            "ride": ("Ride Jazz", "Ride Rock"),
            "cowbell": ("Cowbell",),
            "clap": ("Hand Clap",),
            STICK: ("Stick",),
        },
    ),
    "Millo_MultiLayered2": Kit(
        "hydrogen-drumkits",
        "Emiliano Grilli (Emillo)",
        "GPL-2",
        5,
        {
            "hihat": ("Closed HH", "Pedal HH", "Open HH"),
            "snare": ("Snare Jazz", "Snare Rock"),
            "tom": ("Tom Low", "Tom Mid", "Tom Hi"),
            "crash": ("Crash", "Crash Jazz"),
            "kick": ("Kick",),
            "ride": ("Ride Jazz", "Ride Rock"),
            "cowbell": ("Cowbell",),
            "clap": ("Hand Clap",),
            STICK: ("Stick",),
        },
    ),
    "Millo_MultiLayered3": Kit(
        "hydrogen-drumkits",
        "Emiliano Grilli (Emillo)",
        "GPL-2",
        5,
        {
            "hihat": ("Closed HH", "Pedal HH", "Open HH"),
            "snare": ("Snare Roll", "Snare Rock"),
            "tom": ("Tom Low", "Tom Mid", "Tom Hi"),
            "crash": ("Crash",),
            "kick": ("Kick",),
            "ride": ("Ride Jazz",),
            STICK: ("Stick",),
            COPY: ("Cowbell",),  # that of Millo-Drums_v.1
        },
    ),
    "TR808EmulationKit": Kit(
        "hydrogen-data",
        "ArtemioLabs",
        "GPL-2+",
        2,
        {
            "hihat": ("Closed Hat", "Pedal Hat", "Open Hat"),
            "snare": ("Snare 1", "Snare 2"),
            "tom": ("Tom Low", "Tom Mid", "Tom Hi"),
            "kick": ("Kick Long", "Kick Short"),
            "cowbell": ("Cowbell",),
            "conga": ("Conga",),
            "clap": ("Clap",),
            "shaker": ("Shaker",),
            OTHER: ("Clave",),
            TWO: ("Cymbal",),
        },
    ),
    "The Black Pearl 1.0": Kit(
        "hydrogen-drumkits",
        "Glen MacArthur",
        "GPL-2",
        2,
        {
            "hihat": (
                *("Sabian Hat Closed", "Sabian Hat Pedal", "Sabian Hat Semi-Open", "Sabian Hat Open"),
                *("Sabian Hat Swish", "Sabian Hat Choke"),
            ),
            "snare": ("Pearl Snare", "Pearl Snare Rimshot"),
            "tom": ("Pearl Tom Floor", "Pearl Tom 2", "Pearl Tom 1"),
            "crash": ("Sabian Crash", "Sabian Crash Flink", "Zildjian Splash", "Zildjian Splash Choke"),
            "kick": ("Pearl Kick",),
            "ride": ("Paiste Ride", "Paiste Bell", "Paiste Ride Flink"),
            "cowbell": ("Cowbell",),
            STICK: ("Pearl Side Stick",),
            COPY: ("Hand Clap",),  # one of Gimme A Hand's claps
        },
    ),
    "VariBreaks": Kit(
        "hydrogen-drumkits",
        "Artemiy Pavlov (ArtemioLabs)",
        "GPL-2+",
        1,
        {
            "hihat": (
                *("VariBreaks Hat 1 Cl", "VariBreaks Hat 1 Pd", "VariBreaks Hat 1 Op"),
                *("VariBreaks Hat 2 Cl", "VariBreaks Hat 3 Cl"),
            ),
            "snare": ("VariBreaks Snare 1", "VariBreaks Snare 2", "VariBreaks Snare 3"),
            "tom": ("VariBreaks Tom Low", "VariBreaks Tom Mid", "VariBreaks Tom Hi"),
            "kick": ("VariBreaks Kick 1", "VariBreaks Kick 2", "VariBreaks Kick 3"),
            TWO: ("VariBreaks Drum 1", "VariBreaks Drum 2"),
        },
    ),
    "circAfrique v4": Kit(
        "hydrogen-drumkits",
        "Jim Harney",
        "CC-BY-SA-3.0",
        1,
        {
            "cowbell": (
                *("Sangban1 Bell Hit", "Sangban1 Bell Mute", "Dununba1 Bell", "Dununba1 Bell Mute"),
                *("Kenkeni1 Bell Hit", "Kenkeni1 Bell Mute"),
            ),
            "conga": (
                *("Djembe1 Slap", "Djembe1 Tone", "Djembe1 Bass", "Djembe2 Slap", "Djembe2 Tone", "Djembe2 Bass"),
                *("Djembe3 Slap", "Djembe3 Tone", "Djembe3 Bass", "Djembe4 Slap", "Djembe4 Tone", "Djembe4 Bass"),
                *("Djembe5 Slap", "Djembe5 Tone", "Djembe5 Bass", "Sangban1 Head Hit", "Sangban1 Head Mute"),
                *("Dununba1 Head Hit", "Dununba1 Head Mute", "Kenkeni1 Head Hit", "Kenkeni1 Head Mute"),
            ),
        },
    ),
    "rumpf_kit_z01_h2": Kit(
        "hydrogen-drumkits",
        "Emanuel Rumpf",
        "CC-BY-3.0",
        1,
        {
            "hihat": ("f#3 - hi-hat closed", "g#3 - hi-hat pedal", "a#3 - hi-hat open"),
            "snare": ("d3 - snare 1", "e3 - snare 2"),
            "tom": ("b3 - low tom", "c4 - middle tom", "d4 - high tom"),
            "crash": ("c#4 - crash",),
            "kick": ("c3 - bass drum 1", "f3 - bass drum 2", "g3 - bass drum 3", "a3 - bass drum 4"),
            "ride": ("f4 - ride bell",),
            "cowbell": ("g#4 - cowbell",),
            "clap": ("d#3 - clap",),
            STICK: ("c#3 - stick",),
            TWO: ("d#4 - cymbal 1", "e4 - cymbal 2"),
        },
    ),
}
