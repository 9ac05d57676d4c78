"""The configuration of a new recording as YAML: each key below its description in the schema, the unused ones too."""

from collections.abc import Iterator, Mapping, Sequence

import yaml

from odevae.config.schema import NUMBER
from odevae.data.frames import described
from odevae.data.recording import Recording
from odevae.new_recording.study import MODEL, Study

LINE_LENGTH = 118
LONGEST_WORD = 24
INDENT = "  "
# Not of a file, or set by the study.
LEFT_OUT = ("file", "fetch", "recording", "simulate", "published")
HEAD = (
    "A recording of your own, from `make new`. Edit this file and call the same command again: it uses your edits.",
    "To have it written again, delete or rename it. config/README.md explains every key; a line such as `# key: value` "
    "is a key that is not set.",
)


def config_text(
    name: str,
    entry: Mapping,
    schema: dict,
    understood: Sequence[str],
    recording: Recording,
    study: Study,
) -> str:
    """The whole file.

    Args:
        name: of the data set, the benchmark and its table.
        entry: what is known of the file, without what `study` chose.
        schema: of the configuration.
        understood: sentences about the format of the file.
        recording: what the file holds.
        study: what is compared.
    """
    covariates = f"Covariates: {', '.join(recording.covariates) or 'none'}."
    chosen = {"colour_by": list(study.colour_by), "decode": list(study.decode), "heldout": study.heldout}
    rules = schema["$defs"]
    benchmark = {
        "datasets": {name: list(study.latent_dims)},
        "splits": list(study.splits),
        "models": list(study.models),
        "asked": MODEL,
        "compare_with": study.compare_with,
    }
    runs = {
        "datasets": [name],
        "protocols": ["heldout"],
        "splits": [study.splits[0]],
        "models": [MODEL],
        "latent_dims": [study.latent_dims[-1]],
        "lambdas_smooth": ["0"],
        "seeds": [1],
    }
    parts = [
        _dataset(
            name, {**entry, **chosen}, schema, [*understood, f"{described(recording)}.", covariates, *study.notes]
        ),
        [""],
    ]
    parts.append(
        [
            *_comment("The table and the page of `make new`: results/tables and results/report.", ""),
            "benchmarks:",
            f"{INDENT}{name}:",
            *_keys(rules["benchmark"], benchmark, schema, INDENT * 2),
            "",
        ]
    )
    parts.append(
        [
            *_comment(
                f"One run of {MODEL} with figures of its latents, only made if you ask for it: snakemake --configfile "
                f"config/mine.yaml --cores 2 results/report/{name}_runs.html",
                "",
            ),
            "studies:",
            f"{INDENT}{name}_runs:",
            *_keys(rules["study"], runs, schema, INDENT * 2, with_unset=False),
        ]
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def draft_text(name: str, entry: Mapping, schema: dict, understood: Sequence[str], problem: str) -> str:
    """The part of the data set alone, for a file that cannot be read without one of the keys that it lists."""
    about = [*understood, f"This recording cannot be used yet: {problem}"]
    return "\n".join(_dataset(name, entry, schema, about)) + "\n"


def _dataset(name: str, entry: Mapping, schema: dict, about: list[str]) -> list[str]:
    rule = schema["$defs"]["dataset"]
    rest = {key: value for key, value in entry.items() if key in rule["properties"]}
    return [
        *(line for sentence in HEAD for line in _comment(sentence, "")),
        "",
        "datasets:",
        f"{INDENT}{name}:",
        *(line for sentence in about for line in _comment(sentence, INDENT * 2)),
        f"{INDENT * 2}file: {_flow(entry['file'])}",
        *_keys(rule, rest, schema, INDENT * 2),
    ]


def _keys(rule: dict, values: Mapping, schema: dict, indent: str, with_unset: bool = True) -> Iterator[str]:
    """Each key of an object of the schema: its description, then its value or, as a comment, an example."""
    for key, own in rule["properties"].items():
        if key in LEFT_OUT:
            continue
        own = followed(own, schema)
        if key not in values and not with_unset:
            continue
        yield from _comment(_described(own), indent)
        if key not in values:
            yield f"{indent}# {key}: {_flow(example(own, schema))}"
        elif set(values[key] if isinstance(values[key], dict) else [key]) <= set(own.get("properties", {})):
            yield f"{indent}{key}:"
            yield from _keys(own, values[key], schema, indent + INDENT)
        else:
            yield from _wrapped(f"{indent}{key}: ", values[key])


def example(rule: dict, schema: dict):
    """A valid value of a key: the schema's example, its default, or what its required keys make."""
    rule = followed(rule, schema)
    if "examples" in rule or "default" in rule:
        return rule["examples"][0] if "examples" in rule else rule["default"]
    if "enum" in rule:
        return rule["enum"][0]
    if rule.get("properties"):
        keys = rule.get("required") or rule["properties"]
        return {key: example(rule["properties"][key], schema) for key in keys}
    return {"boolean": True, "integer": 1, "number": 1.0}.get(rule.get("type"), "...")


def followed(rule: dict, schema: dict) -> dict:
    """A rule with what it refers to."""
    while "$ref" in rule:
        own = {key: value for key, value in rule.items() if key != "$ref"}
        rule = schema["$defs"][rule["$ref"].rpartition("/")[2]] | own
    return rule


def _described(rule: dict) -> str:
    default = f" (default {_flow(rule['default'])})" if rule.get("default") not in (None, [], {}) else ""
    return rule.get("description", "") + default


def _comment(sentence: str, indent: str) -> list[str]:
    """A sentence as lines of a comment; nothing for an empty one."""
    lines, line = [], f"{indent}#"
    for word in sentence.split():
        if len(line) + len(word) + 1 > LINE_LENGTH:
            lines.append(line)
            line = f"{indent}#"
        line += f" {word}"
    return [*lines, line] if sentence else []


def _wrapped(start: str, value) -> list[str]:
    """A key and its value on one line, or on several if it is long."""
    text = _flow(value)
    if len(start) + len(text) <= LINE_LENGTH:
        return [start + text]
    inner = len(start) - len(start.lstrip()) + 2
    # PyYAML ends a line after it has passed the width.
    lines = _flow(value, LINE_LENGTH - inner - LONGEST_WORD).splitlines()
    return [start.rstrip(), *(" " * inner + line for line in lines)]


class _Dumper(yaml.SafeDumper):
    """Texts that look like numbers, such as the weights of a study, are in quotes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if NUMBER.fullmatch(text) else None)


_Dumper.add_representer(str, _text)


def _flow(value, width: int = 10**6) -> str:
    """A value as YAML on one line, or on lines of some width."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=width, sort_keys=False, allow_unicode=True)
    return text.strip().removesuffix("\n...").strip()
