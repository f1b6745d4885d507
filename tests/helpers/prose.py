"""Finds docstrings, comments and documents that break the rules of CONTRIBUTING.md: openings, retired words, riddles.

python tests/helpers/prose.py moganet/run README.md
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# A docstring begins with a verb or a noun phrase.
OPENINGS = re.compile(r'(What|Whether|Of|Who|Whose|In which|Where|Which|How|That which|Those)\b')
# Words that the project used for ideas that the field has a term for: (pattern, term).
RETIRED = [
    (r'(?:spatial|channel) hal(?:f|ves)|half a block|halves of (?:a|the|its) blocks?|each half\b', 'branch'),
    (r'\bin parts\b|\bby parts\b', 'eager operators'),
    (r'\bby turns\b', 'interleaved'),
    (r'\brivals?\b', 'baseline'),
    (r'\btranscription\b', 'plain network'),
    (r'\bceilings?\b', 'roofline'),
    (r'\bportraits?\b', 'rendered crop'),
    (r'\boutlines?\b', 'polygon'),
    (r'\bforeign part', 'modified module'),
    (r'\b(?:is|are|be) taken by itself\b', 'is chosen automatically'),
    (r'\bmatrix products?\b', 'matmul'),
]
MAX_WHAT = 1.0  # per 1000 words


class Text(NamedTuple):
    """A docstring, a comment or a line of a document, with its place."""

    place: str
    text: str
    docstring: bool


def texts(path: Path) -> Iterator[Text]:
    """Yield the prose of a Python, C++ or Markdown file."""
    source = path.read_text()
    if path.suffix == '.py':
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node)
                if docstring:
                    yield Text(f'{path}:{node.body[0].lineno}', docstring, True)
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and not re.match(r'# (noqa|fmt|type):', token.string):
                yield Text(f'{path}:{token.start[0]}', token.string.lstrip('# '), False)
    elif path.suffix in ('.cpp', '.h'):
        for number, line in enumerate(source.splitlines(), 1):
            found = re.search(r'//+ ?(.*)', line)
            if found:
                yield Text(f'{path}:{number}', found[1], False)
    else:
        fenced = False
        for number, line in enumerate(source.splitlines(), 1):
            fenced ^= line.startswith('```')
            if not fenced:
                yield Text(f'{path}:{number}', line, False)


def faults(path: Path) -> Iterator[str]:
    """Yield a line for each opening and each retired word."""
    for place, text, docstring in texts(path):
        opening = OPENINGS.match(text) if docstring else None
        if opening:
            yield f'{place}: opens with {opening[0]!r}: {text.splitlines()[0]}'
        for pattern, term in RETIRED:
            found = re.search(pattern, re.sub(r'`+[^`]*`+', '', text), re.I)  # names in code keep their spelling
            if found:
                yield f'{place}: {found[0]!r} is retired, say {term!r}'


def what_rate(paths: list[Path]) -> float:
    """Return how often 'what' stands in the prose, per 1000 words."""
    words = [word for path in paths for text in texts(path) for word in re.findall(r"[A-Za-z']+", text.text)]
    return 1000 * sum(word.lower() == 'what' for word in words) / max(1, len(words))


def files(names: list[str]) -> list[Path]:
    """Return the files with prose that ``names``, files or folders, stand for."""
    found = []
    for name in map(Path, names):
        found += sorted(name.rglob('*')) if name.is_dir() else [name]
    return [path for path in found if path.suffix in ('.py', '.cpp', '.h', '.md') and '.venv' not in path.parts]


if __name__ == '__main__':
    chosen = files(sys.argv[1:])
    for path in chosen:
        for fault in faults(path):
            print(fault)
    print(f"'what' per 1000 words: {what_rate(chosen):.1f}, at most {MAX_WHAT}")
