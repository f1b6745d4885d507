"""The shape of the code: sizes of files and functions, and which package and file may import which."""

import ast
import functools
import io
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.name for path in ROOT.glob('moga*') if (path / '__init__.py').exists())
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (*PACKAGES, 'tools', 'tests', 'configs')
    for path in (ROOT / folder).rglob('*.py')
)
# Lines of code: comments, docstrings and blank lines are free.
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 300, 60, 10
MM_PACKAGES = {'mmcv', 'mmdet', 'mmseg', 'mmpose', 'mmpretrain'}
HOSTS = {
    'mogacls': {'mmpretrain', 'mmcv'},
    'mogadet': {'mmdet', 'mmcv'},
    'mogaseg': {'mmseg', 'mmcv'},
    'mogapose': {'mmpose', 'mmcv'},
    'mogavideo': set(),
    'moganet': set(),
}
# (path, function or '*'): the reason.
EXCEPTIONS = {
    (
        'tests/mogapose/expose/models/test_estimator.py',
        '*',
    ): 'one fixture of heads and body models serves all',
    ('tests/mogapose/test_preflight.py', '*'): 'a case for each fault of a keypoint file',
}


@functools.cache
def tree(path):
    return ast.parse((ROOT / path).read_text())


def nodes(path, *kinds):
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def code_lines(path):
    """Numbers of the lines with code on them."""
    free = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO((ROOT / path).read_text()).readline):
        if token.type not in free:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in nodes(path, ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef):
        if ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def too_large(path):
    """Return the parts of a file that are over a limit: {(path, function or '*'): size}."""
    long = [f for f in nodes(path, ast.FunctionDef) if f.end_lineno - f.lineno >= MAX_FUNCTION]
    lines = code_lines(path) if long or (ROOT / path).read_text().count('\n') > MAX_FILE else set()
    found = {(path, '*'): len(lines)} if len(lines) > MAX_FILE else {}
    for function in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        length = len(lines & set(range(function.lineno, function.end_lineno + 1)))
        if length > MAX_FUNCTION:
            found[path, function.name] = length
        arguments = function.args
        count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1
        if function.name == '__init__' and count > MAX_ARGUMENTS:
            found[path, function.name] = count
    return found


def test_files_functions_and_constructors_are_small():
    """Each exception is listed with its reason, and none is listed in vain."""
    found = {}
    for path in SOURCES:
        found |= too_large(path)
    assert {key: size for key, size in found.items() if key not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) - set(found) == set()


def imports(path):
    """(module, name) of every import of a file, anywhere in it, relative ones resolved; a plain import has no name."""
    package = path.removesuffix('.py').removesuffix('/__init__').split('/')
    if not path.endswith('__init__.py'):
        package = package[:-1]
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            module = '.'.join([*base, *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)


def test_arrows_between_packages():
    wrong = {}
    for path in SOURCES:
        package = path.split('/')[0]
        if package in PACKAGES:
            found = {module.split('.')[0] for module, _ in imports(path)}
            others = (found & set(PACKAGES)) - {package, 'moganet'} | (found & MM_PACKAGES) - HOSTS[package]
            if others:
                wrong[path] = others
    assert wrong == {}


def file_imports():
    """{module: modules of the project that its file imports}; `from package import module` names the module alone."""
    modules = {
        path.removesuffix('.py').removesuffix('/__init__').replace('/', '.'): path
        for path in SOURCES
        if path.split('/')[0] in PACKAGES
    }
    graph = {}
    for module, path in modules.items():
        found = {f'{source}.{name}' if f'{source}.{name}' in modules else source for source, name in imports(path)}
        graph[module] = found & set(modules) - {module}
    return graph


def cycles(graph):
    """Circles in a graph, each as the list of its members."""
    found, done = [], set()

    def visit(module, trail):
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
            return
        if module in done:
            return
        for target in sorted(graph[module]):
            visit(target, [*trail, module])
        done.add(module)

    for module in graph:
        visit(module, [])
    return found


def test_a_circle_is_found():
    assert cycles(dict(a={'b'}, b={'c'}, c={'a'}, d={'a'})) == [['a', 'b', 'c', 'a']]
    assert cycles(dict(a={'b', 'c'}, b={'c'}, c=set())) == []


def test_files_import_each_other_in_no_circle():
    """Imports inside functions count too: a circle that is only lazy still cannot be read from one end."""
    assert cycles(file_imports()) == []


def test_the_core_loads_weights_with_torch_and_mmengine_alone(tmp_path):
    script = f"""
import sys
for name in ('cv2', 'torchvision', 'mmcv', 'matplotlib.pyplot'):
    sys.modules[name] = None  # importing it fails, as if it were not installed
import torch
from moganet import MogaNet
path = {str(tmp_path / 'w.pth')!r}
torch.save(dict(state_dict=MogaNet('xtiny').state_dict()), path)
model = MogaNet('xtiny', init_cfg=dict(type='Pretrained', checkpoint=path))
model.init_weights()
assert torch.equal(model.norm4.weight, torch.load(path, weights_only=True)['state_dict']['norm4.weight'])
print('loaded')
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, cwd=ROOT)
    assert 'loaded' in done.stdout, done.stderr


def test_no_file_is_a_drawer_for_everything():
    names = {Path(path).stem for path in SOURCES}
    assert names & {'utils', 'util', 'misc', 'common', 'helpers'} == set()


def test_sources_neither_edit_the_path_nor_hide_missing_packages():
    assert [path for path in SOURCES if ('sys' + '.path.') in (ROOT / path).read_text()] == []
    hidden = []
    for path in SOURCES:
        for node in nodes(path, ast.ExceptHandler):
            calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and getattr(n.func, 'id', '') == 'print']
            if calls and 'ImportError' in ast.dump(node.type or ast.Constant('')):
                hidden.append(f'{path}:{node.lineno}')
    assert hidden == []
