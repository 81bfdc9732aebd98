from __future__ import annotations

import pytest

from batchctl.cli.typed import shareable


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        pytest.param(["run", "s.py", "-o", "out"], ["run", "s.py", "-o", "out"], id="nothing to hide"),
        pytest.param(["--env", "TOKEN=x=y", "in"], ["--env", "TOKEN=***", "in"], id="env"),
        pytest.param(["--env=TOKEN=x", "in"], ["--env=TOKEN=***", "in"], id="env in one word"),
        pytest.param(["--env", "--env=a"], ["--env", "--env=***"], id="a value that looks like a flag"),
        pytest.param(["--env", "HOME"], ["--env", "HOME"], id="env without a value"),
        pytest.param(["--set", "env.TOKEN=x"], ["--set", "env.TOKEN=***"], id="set, native"),
        pytest.param(
            ["--set=settings.environment_variables.A=x"],
            ["--set=settings.environment_variables.A=***"],
            id="set, azure",
        ),
        pytest.param(
            ["--set", "environment=x"], ["--set", "environment=x"], id="azure's environment is an image's name"
        ),
        pytest.param(["--set", "timeout=3"], ["--set", "timeout=3"], id="set of another key"),
        pytest.param([], [], id="empty"),
        pytest.param(["--env"], ["--env"], id="cut off"),
    ],
)
def test_values_that_may_be_secrets_are_left_out(argv: list[str], shown: list[str]) -> None:
    assert shareable(argv) == tuple(shown)
