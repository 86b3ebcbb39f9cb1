"""The container's files are well formed, and agree with the program. No Docker engine runs here."""

import re
import shlex
from pathlib import Path

import yaml

from captionlab.cli.main import parser

DEPLOY = Path(__file__).parents[1] / "deploy"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their arguments, lines joined."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def words_of(value: str) -> list[str]:
    return [str(word) for word in yaml.safe_load(value)]


def test_the_image_serves_as_nobody_and_says_how_it_is():
    found = instructions()
    last = [name for name, _ in found]
    names = last[len(last) - last[::-1].index("FROM") - 1 :]  # of the last stage
    assert names.index("USER") < names.index("ENTRYPOINT")
    values = dict(found)
    assert values["USER"] not in ("0", "root")
    assert re.search(r"CMD \[.*127\.0\.0\.1:8000/health", values["HEALTHCHECK"])
    assert all(":" in rest for name, rest in found if name == "FROM")


def test_what_is_copied_is_there_and_let_in():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in shlex.split(rest)[:-1]:
                assert (DEPLOY.parent / source).exists(), source
                assert f"!{source}" in ignored


def test_the_commands_are_commands_of_captionlab():
    values = dict(instructions())
    program, *start = words_of(values["ENTRYPOINT"])
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["captioner"]
    assert program == "captionlab"
    for command in (words_of(values["CMD"]), service["command"]):
        options = parser().parse_args([*start, *command])
        assert (options.command, options.port) == ("serve", int(values["EXPOSE"]))
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
