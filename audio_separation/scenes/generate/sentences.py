"""English sentences without end from a small grammar of our own; a different seed says different things."""

from __future__ import annotations

import numpy as np

# ruff: noqa: SIM905  (word lists read better as text)

_ADJECTIVES = """
    quiet narrow golden ancient careful clever frozen hollow bitter cheerful distant broken silver crooked
    gentle heavy hidden humble lively lonely modest muddy noble patient plain polished proud rapid restless
    rusty sharp shallow simple sleepy slender solemn spotted steady stubborn sudden sunny tender thirsty
    tidy timid velvet warm weary wicked wooden yellow zealous pale green purple scarlet brave curious dusty
    elegant famous generous grateful honest jealous magic nervous odd perfect rough secret tiny unusual
""".split()
_PEOPLE = """
    gardener teacher captain farmer doctor baker painter sailor widow hunter judge lawyer merchant miner
    neighbour nurse officer pilot poet priest queen ranger scholar servant shepherd singer soldier stranger
    student tailor traveller uncle visitor waiter weaver writer child dancer engineer fisherman grandmother
    helper journalist king librarian mechanic nephew orphan postman actor butcher cook daughter editor
""".split()
_THINGS = """
    lantern window basket letter kettle ladder mirror needle ribbon saddle table violin wagon blanket bottle
    bucket button candle carpet chimney clock compass cradle curtain dagger drawer engine feather fiddle
    hammer helmet jacket journal key kitchen lamp map medal notebook oven package pencil pillow pocket
    puzzle radio rope sandwich scissors shovel spoon stove suitcase teapot ticket tower trumpet umbrella
    vase wheel whistle apple anchor barrel bell bicycle bridge cabbage camera cheese coin dictionary egg
    fence garden guitar hat island jewel jug lemon magnet mushroom newspaper onion orange parcel quilt
""".split()
_PLACES = """
    harbour valley market forest meadow station village castle desert library cellar chapel courtyard
    factory farmhouse hospital hotel lighthouse museum orchard palace prairie quarry restaurant river school
    shore square stable theatre tunnel university vineyard workshop attic balcony beach border canyon cave
    cottage crossroads garage highway jungle kitchen lagoon mountain office park pier playground street
""".split()
_TRANSITIVE = """
    carried painted borrowed repaired dropped followed gathered guarded hid ignored lifted noticed opened
    ordered packed polished praised pushed reached remembered rescued returned saved searched shook sold
    studied touched traded watched weighed admired bought cleaned collected counted covered described
    discovered examined explained finished found imagined joined measured moved needed offered pulled
""".split()
_INTRANSITIVE = """
    waited laughed wandered whispered shivered slept travelled vanished worked argued arrived complained
    danced dreamed escaped gathered hesitated hurried listened marched paused rested sang smiled sneezed
    stumbled trembled walked wept whistled yawned climbed drifted floated jumped kneeled leaned played
""".split()
_ADVERBS = """
    slowly quickly gladly softly bravely calmly eagerly fiercely gently happily loudly neatly patiently
    politely proudly quietly rarely sadly silently strangely suddenly together twice wisely yearly again
""".split()
_TIMES = """
    yesterday tonight sometimes afterwards meanwhile later once finally today tomorrow eventually usually
""".split()
_WHEN = [
    "before sunrise", "after the storm", "during the long winter", "at noon", "in early spring",
    "last autumn",
    "every other Sunday", "on a foggy morning", "when the bells rang", "just past midnight",
    "for thirteen years", "while the children slept", "since the first of May", "until the music stopped",
    "at a quarter to nine", "on the hottest day of July",
]  # fmt: skip
_NAMES = """
    Martha Oliver Beatrice Julian Theodora Patrick Winifred Hassan Ingrid Leopold Yvonne Kazimir Adelaide
    Boris Clementine Dominic Esther Felix Georgia Hugo Isolde Jerome Katherine Lionel Miriam Nathaniel
""".split()
_NUMBERS = "two three four five six seven eight nine eleven twelve fifteen twenty forty sixty ninety".split()
_PREPOSITIONS = "across behind beneath beside beyond inside near outside through towards under above".split()

_TEMPLATES = [
    "the {adj} {person} {vt} the {adj2} {thing} {prep} the {place} {when}",
    "{time}, {name} {vt} {number} {adj} {thing}s and {vi} {adv}",
    "{name} and the {person} {vi} {prep} the {adj} {place}",
    "why had nobody {vt} the {thing} of the {adj} {person}?",
    "{when}, a {adj} {person} {vt} my {thing} and {vi} {prep} the {place}",
    "the {thing} that {name} {vt} was {adj}, {adj2} and full of {thing2}s",
    "if you ask the {person}, the {place} is {number} miles {prep} the {place2}",
    "there were {number} {adj} {thing}s {prep} the {place}, but the {person} {vi} {adv}",
    "{name} {adv} {vt} the {person}, who {vi} {prep} a {adj} {place}",
    "nobody in the {place} {vt} the {adj} {thing} {when}",
    "have you seen how {adv} the {person} {vt} the {thing}?",
    "it was the {adj} {thing}, not the {adj2} {thing2}, that the {person} {vt}",
    "{time} the {adj} {place} belonged to {name} and {number} {person}s",
    "please tell {name} that the {thing} {prep} the {place} is {adj}",
]
_WORDS = {
    "adj": _ADJECTIVES,
    "adj2": _ADJECTIVES,
    "person": _PEOPLE,
    "thing": _THINGS,
    "thing2": _THINGS,
    "place": _PLACES,
    "place2": _PLACES,
    "vt": _TRANSITIVE,
    "vi": _INTRANSITIVE,
    "adv": _ADVERBS,
    "time": _TIMES,
    "when": _WHEN,
    "name": _NAMES,
    "number": _NUMBERS,
    "prep": _PREPOSITIONS,
}


def random_sentence(rng: np.random.Generator) -> str:
    """One sentence of about 8 to 18 words (2 to 6 s of speech)."""
    template = _TEMPLATES[rng.integers(len(_TEMPLATES))]
    words = {slot: choices[rng.integers(len(choices))] for slot, choices in _WORDS.items()}
    sentence = template.format(**words)
    sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence.endswith("?") else sentence + "."


def random_sentences(rng: np.random.Generator, count: int) -> list[str]:
    """``count`` sentences, drawn one after the other from ``rng``."""
    return [random_sentence(rng) for _ in range(count)]
