"""nginx's language, as far as it takes to move the addresses in a file aside and to see what it would serve."""

import dataclasses
import glob
import pathlib
import re
import re._parser as grammar


@dataclasses.dataclass
class Word:
    text: str
    start: int
    end: int


@dataclasses.dataclass
class Directive:
    name: str
    words: list
    start: int
    end: int
    block: list = None

    @property
    def args(self):
        return [word.text for word in self.words]

    def inside(self, name):
        return [each for each in self.block or () if each.name == name]


def words(text):
    """Words and the signs `;`, `{`, `}`, with their places."""
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if char.isspace():
            at += 1
        elif char == "#":
            at = text.find("\n", at)
            at = end if at < 0 else at
        elif char in ";{}":
            yield Word(char, at, at + 1), True
            at += 1
        elif char in "\"'":
            stop = at + 1
            while stop < end and text[stop] != char:
                stop += 2 if text[stop] == "\\" else 1
            yield Word(re.sub(r"\\([\"'\\])", r"\1", text[at + 1 : stop]), at, stop + 1), False
            at = stop + 1
        else:
            stop = at
            while stop < end and not text[stop].isspace() and text[stop] not in ";{":
                stop += 2 if text[stop] == "\\" or text.startswith("${", stop) else 1
            yield Word(text[at:stop], at, stop), False
            at = stop


def parse(text):
    """The directives of a text."""
    top = []
    blocks, pending = [top], []
    for word, sign in words(text):
        if not sign:
            pending.append(word)
            continue
        if word.text == "}":
            if len(blocks) > 1:
                blocks.pop()
                blocks[-1][-1].end = word.end
        elif pending:
            name, *rest = pending
            block = [] if word.text == "{" else None
            blocks[-1].append(Directive(name.text, rest, name.start, word.end, block))
            if block is not None:
                blocks.append(block)
        pending = []
    return top


def walk(directives):
    for each in directives:
        yield each
        yield from walk(each.block or ())


def edited(text, edits):
    """The text with other words in some places."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def with_includes(text, folder, depth=0):
    """The text with the included files in the place of their names."""
    edits = []
    for each in walk(parse(text)):
        if each.name == "include" and each.block is None and depth < 8:
            files = sorted(glob.glob(str(folder / each.args[0])))
            inside = [
                with_includes(pathlib.Path(name).read_text(errors="replace"), folder, depth + 1) for name in files
            ]
            edits.append((each.start, each.end, "\n".join(inside)))
    return edited(text, edits)


def sample(expression):
    """A text that an expression matches, or None."""
    try:
        made = "".join(_made(grammar.parse(expression)))
        return made if re.search(expression, made) else None
    except (re.error, ValueError, OverflowError, NotImplementedError, RecursionError):
        return None


def _made(items):
    for operation, value in items:
        name = str(operation)
        if name == "LITERAL":
            yield chr(value)
        elif name in ("ANY", "NOT_LITERAL"):
            yield "x"
        elif name == "IN":
            yield _one_of(value)
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inside = value
            yield "".join(_made(inside)) * max(least, 1 if most else 0)
        elif name == "SUBPATTERN":
            yield from _made(value[3])
        elif name == "BRANCH":
            yield from _made(value[1][0])
        elif name in ("AT", "ASSERT_NOT"):
            continue
        else:
            raise NotImplementedError(name)


def _one_of(choices):
    negated = str(choices[0][0]) == "NEGATE"
    for candidate in "x1a0_-/.A =?":
        inside = any(_is_in(candidate, operation, value) for operation, value in choices if str(operation) != "NEGATE")
        if inside != negated:
            return candidate
    for operation, value in choices:
        if str(operation) == "LITERAL":
            return chr(value)
        if str(operation) == "RANGE":
            return chr(value[0])
    raise NotImplementedError


def _is_in(char, operation, value):
    name = str(operation)
    if name == "LITERAL":
        return ord(char) == value
    if name == "RANGE":
        return value[0] <= ord(char) <= value[1]
    tests = {
        "CATEGORY_DIGIT": str.isdigit,
        "CATEGORY_WORD": lambda c: c.isalnum() or c == "_",
        "CATEGORY_SPACE": str.isspace,
    }
    named = str(value)
    return not tests[named.replace("NOT_", "")](char) if "NOT_" in named else tests[named](char)
