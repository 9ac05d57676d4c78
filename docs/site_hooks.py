"""What MkDocs asks while it builds the documentation site, see mkdocs.yml.

The site has the folders of the repository, so a link that works on GitHub works there. A link from a page to a source
file, ``[`name`](../src/odevae/....py)``, becomes one to that name in the reference. Equations become MathML, which
browsers draw without a script.
"""

import ast
import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = PROJECT / "src"
# Pages that are not in docs/.
MORE_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "config/README.md")
KINDS = (".md", ".png", ".css")

SOURCE_LINK = re.compile(r"\[`([\w.]+)`\]\((?:\.\./)*src/(odevae[\w/]*)\.py\)")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)
MERMAID = re.compile(r"```mermaid\n(.*?)```\n", re.DOTALL)


def on_config(config):
    """Put a page for each module into the navigation."""
    (entry,) = (entry for entry in config.nav if "Reference" in entry)
    entry["Reference"] = reference_of(SOURCES / "odevae")
    return config


def on_files(files: Files, *, config) -> Files:
    """Place the pages as the repository does, and add the reference."""

    def add(name: str) -> None:
        files.append(File(name, str(PROJECT), config.site_dir, config.use_directory_urls))

    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
            if Path(file.src_uri).suffix in KINDS:
                add(f"docs/{file.src_uri}")
    for name in MORE_PAGES:
        add(name)
    for path in (SOURCES / "odevae").rglob("*.py"):
        if has_page(path):
            name = module_of(path)
            text = f"# `{name}`\n\n::: {name}\n"
            files.append(File.generated(config, page_of(path), content=text))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    markdown = MERMAID.sub(lambda found: table_of_arrows(found[1]), markdown)
    return SOURCE_LINK.sub(lambda found: f"[`{found[1]}`][{found[2].replace('/', '.')}.{found[1]}]", markdown)


def on_page_content(content: str, **_) -> str:
    return EQUATION.sub(mathml, content)


def has_page(path: Path) -> bool:
    """A package without a docstring of its own has nothing to say."""
    return path.name != "__init__.py" or ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is not None


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_of(path: Path) -> str:
    """Where in the site a module is described; a package at the head of its folder."""
    folder, name = path.relative_to(SOURCES).parent, "index" if path.name == "__init__.py" else path.stem
    return (Path("reference") / folder / f"{name}.md").as_posix()


def reference_of(folder: Path) -> list:
    """Navigation of a package: itself, then its packages, then its modules, each by name."""
    own = folder / "__init__.py"
    entries = [page_of(own)] if has_page(own) else []
    packages = sorted(path.parent for path in folder.glob("*/__init__.py"))
    entries += [{package.name: reference_of(package)} for package in packages]
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    return [*entries, *({path.stem: page_of(path)} for path in modules)]


def mathml(found: re.Match) -> str:
    display = "block" if found[1] == "div" else "inline"
    return f'<{found[1]} class="equation">{convert(html.unescape(found[2]), display=display)}</{found[1]}>'


def table_of_arrows(graph: str) -> str:
    """A Mermaid graph as a table. GitHub draws it; here that would need a script of megabytes."""
    ends: dict[str, list[str]] = {}
    for source, target in re.findall(r"^\s*(\w+) --> (\w+)$", graph, re.MULTILINE):
        ends.setdefault(source, []).append(f"`{target}`")
    rows = [f"| `{source}` | {', '.join(targets)} |" for source, targets in ends.items()]
    return "\n".join(["| room | imports |", "|---|---|", *rows]) + "\n"
