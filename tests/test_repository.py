"""Files around the code agree with it: workflows, templates, model index, citation, change log, notes for upgrading."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from modelindex.load_model_index import load as load_model_index

import moganet
from moganet.paper import metafile

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))
CHANGELOG = (ROOT / 'CHANGELOG.md').read_text()
UPGRADING = (ROOT / 'UPGRADING.md').read_text()
RELEASE = re.search(r'^## \[?(\d+\.\d+\.\d+)\]? - (\d{4}-\d{2}-\d{2})$', CHANGELOG, re.M)


def read_yaml(path):
    return yaml.safe_load((ROOT / path).read_text())


def steps(path):
    workflow = read_yaml(path)
    jobs = workflow['jobs'].values() if 'jobs' in workflow else [workflow['runs']]
    return [step for job in jobs for step in job['steps']]


def test_workflows_are_those_of_contributing():
    assert [path.stem for path in WORKFLOWS] == ['kernels', 'lint', 'nightly', 'release', 'test']


@pytest.mark.parametrize('path', [*WORKFLOWS, ROOT / '.github/actions/environment/action.yml'], ids=lambda p: p.stem)
def test_workflow_names_existing_targets_files_and_actions(path):
    targets = set(re.findall(r'^([a-z0-9-]+)[^=\n]*:', (ROOT / 'Makefile').read_text(), re.M))
    for step in steps(path):
        command = step.get('run', '')
        for words in re.findall(r'\bmake ([^\n]+)', command):
            assert {word for word in words.split() if '=' not in word} <= targets
        for name in re.findall(r'\b(?:tests|tools|requirements)/[\w./-]+', command):
            assert (ROOT / name).exists()
        action = step.get('uses', '')
        if action.startswith('./'):
            assert (ROOT / action / 'action.yml').is_file()
        else:
            assert not action or re.fullmatch(r'actions/[\w-]+@v\d+', action)


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)
def test_workflow_reads_only_and_ends(path):
    workflow = read_yaml(path)
    assert workflow['permissions'] == {'contents': 'read'}
    assert all(job['timeout-minutes'] <= 240 for job in workflow['jobs'].values())
    # YAML reads the key `on` as true.
    watched = (workflow[True].get('pull_request') or {}).get('paths', []) if isinstance(workflow[True], dict) else []
    assert [pattern for pattern in watched if not list(ROOT.glob(pattern.removesuffix('/**')))] == []


def test_workflow_tests_the_oldest_and_the_newest_python():
    matrix = read_yaml('.github/workflows/test.yml')['jobs']['test']['strategy']['matrix']
    assert matrix == {'python': ['3.10', '3.12']}


def test_ci_runs_the_checks_and_the_tests():
    assert (ROOT / '.ci/run').read_text().splitlines()[-1] == 'exec make check test'


@pytest.mark.parametrize('name', ['bug', 'feature'])
def test_issue_form_has_what_a_form_needs(name):
    form = read_yaml(f'.github/ISSUE_TEMPLATE/{name}.yml')
    assert {'name', 'description', 'body'} <= set(form)
    assert all(field['attributes']['label'] for field in form['body'])
    assert any(field.get('validations', {}).get('required') for field in form['body'])


def test_dependabot_watches_the_pinned_set():
    updates = read_yaml('.github/dependabot.yml')['updates']
    assert {update['package-ecosystem'] for update in updates} == {'pip', 'github-actions'}
    for update in updates:
        for folder in update.get('directories', [update.get('directory')]):
            assert (ROOT / folder.strip('/')).is_dir()


def test_model_index_has_every_row_and_resolves_every_path(monkeypatch):
    monkeypatch.chdir(ROOT)
    index = load_model_index('model-index.yml')
    index.build_models_with_collections()
    assert sorted(read_yaml('model-index.yml')['Import']) == [f'configs/{t}/metafile.yml' for t in metafile.tasks(ROOT)]
    rows = [row for task in metafile.tasks(ROOT) for row in metafile.rows(task, ROOT)]
    assert sorted(model.config for model in index.models) == sorted(row.config for row in rows)
    assert [model.config for model in index.models if not Path(model.config).is_file()] == []
    readmes = {collection.readme for collection in index.collections}
    assert [readme for readme in readmes if not Path(readme).is_file()] == []


def test_citation_is_that_of_the_readme_and_of_this_version():
    citation = read_yaml('CITATION.cff')
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert citation['version'] == moganet.__version__ == RELEASE[1]
    assert str(citation['date-released']) == RELEASE[2]
    paper = citation['preferred-citation']
    readme = (ROOT / 'README.md').read_text()
    assert f'title={{{paper["title"]}}}' in readme
    authors = ' and '.join(f'{a["family-names"]}, {a["given-names"]}' for a in paper['authors'])
    assert f'author={{{authors}}}' in readme
    assert f'year={{{paper["year"]}}}' in readme


def test_changelog_starts_with_what_is_not_released():
    sections = re.findall(r'^## (.+)$', CHANGELOG, re.M)
    assert sections[0] == '[Unreleased]'
    assert all(re.fullmatch(r'\[\d+\.\d+\.\d+\](?: - \d{4}-\d{2}-\d{2})?', section) for section in sections[1:])
    kinds = set(re.findall(r'^### (.+)$', CHANGELOG, re.M))
    assert kinds <= {'Added', 'Changed', 'Deprecated', 'Removed', 'Fixed', 'Security'}


def test_upgrading_leads_to_modules_that_exist():
    moves = re.findall(r'^\| `([\w.]+)` \| `([\w.]+)`', UPGRADING, re.M)
    assert len(moves) > 50
    assert [new for _, new in moves if importlib.util.find_spec(new) is None] == []
    # Some names of old modules are those of packages now.
    packages = {new.rpartition('.')[0] for _, new in moves}
    assert [old for old, _ in moves if _file(old) is not None and old not in packages] == []


def _file(module):
    """The file of a module, or None; without importing its package."""
    path = ROOT / module.replace('.', '/')
    return next((p for p in (path.with_suffix('.py'), path / '__init__.py') if p.is_file()), None)


def test_no_file_of_the_repository_is_large():
    names = subprocess.run(['git', 'ls-files'], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    sizes = {name: (ROOT / name).stat().st_size for name in names if (ROOT / name).is_file()}
    assert {name: size for name, size in sizes.items() if size > 500_000} == {}
