"""The documentation site: it builds without a warning, its links end somewhere, and it needs no network."""

import logging
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from workflow_project import CHECKOUT

# One process builds the site for all tests.
pytestmark = pytest.mark.slow

# Elements that a browser loads by itself, and their attribute.
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
# Where MathML and SVG say what they are: names, not addresses that anything loads.
NAMESPACES = "http://www.w3.org/"


class Page(HTMLParser):
    """The ids of a page, what it links to, what it loads, and its equations."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.loaded, self.n_equations = set(), set(), set(), 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self.n_equations += tag == "math"
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])
        if attributes.get(LOADED.get(tag)) and attributes.get("rel") != "canonical":
            self.loaded.add(attributes[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the built site, and what the build warned of."""
    warnings = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())
    folder = tmp_path_factory.mktemp("site")
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(os.environ, "NO_MKDOCS_2_WARNING", "1")
            # Warnings are collected and not counted by strict, so that all of them are seen at once.
            build(load_config(str(CHECKOUT / "mkdocs.yml"), site_dir=str(folder), strict=False))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    return folder, warnings


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site[0].rglob("*.html"))}


def test_the_site_builds_without_a_warning(site):
    folder, warnings = site
    assert not warnings
    assert (folder / "index.html").exists()


def test_every_module_has_a_page(site):
    folder, _ = site
    modules = [path for path in (CHECKOUT / "src/odevae").rglob("*.py") if path.name != "__init__.py"]
    assert len(modules) > 50
    for path in modules:
        page = folder / "reference" / path.relative_to(CHECKOUT / "src").with_suffix(".html")
        assert f'id="{".".join(page.relative_to(folder / "reference").with_suffix("").parts)}' in page.read_text()


def test_every_link_within_the_site_ends_somewhere(pages, site):
    broken = []
    for path, page in pages.items():
        # The page for addresses that do not exist is shown at any address, so its links are absolute.
        if path.name == "404.html":
            continue
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                broken.append(f"{path.relative_to(site[0])}: {link}")
    assert not broken


def test_a_page_loads_nothing_from_a_network(pages, site):
    away = [(path.name, name) for path, page in pages.items() for name in page.loaded if urlsplit(name).netloc]
    assert not away
    styles = "".join(path.read_text(encoding="utf-8") for path in site[0].rglob("*.css"))
    found = set(re.findall(r"(?:@import\s+|url\()['\"]?((?:https?:)?//[^'\")]+)", styles))
    assert not {address for address in found if not address.startswith(NAMESPACES)}
    # The theme's script would load the drawing library of Mermaid from a network where a page has such a graph.
    assert not [path for path in pages if 'class="mermaid"' in path.read_text(encoding="utf-8")]


def test_every_equation_is_drawn_and_linked_to_its_function(pages, site):
    path = site[0] / "docs/theory.html"
    text = path.read_text(encoding="utf-8")
    source = (CHECKOUT / "docs/theory.md").read_text(encoding="utf-8")
    assert pages[path].n_equations == len(re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", source, re.DOTALL))
    assert 'class="arithmatex"' not in text
    # Numbers of the paper.
    assert {n for group in re.findall(r"\*\*[^*\n]+ \(([\d, ]+)\)\.?\*\*", source) for n in group.split(", ")} == {
        str(n) for n in range(1, 14)
    }
    linked = {name for link in pages[path].links for name in re.findall(r"reference/.*#(odevae.*)", link)}
    assert len(linked) == len(set(re.findall(r"\[`[\w.]+`\]\(\.\./src/[^)]+\)", source)))
