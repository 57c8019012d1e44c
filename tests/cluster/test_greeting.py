from __future__ import annotations

import pytest

from rayl2o.cluster.greeting import Greeting, greet, must_agree, read
from rayl2o.errors import UserError
from rayl2o.folder import scope


def _greeting(**other: object) -> Greeting:
    return Greeting(1, "there", "node", "3.11.7", {**scope(), **other})


def test_equal_scopes_agree_and_harmless_differences_are_said() -> None:
    assert must_agree(_greeting(), "worker", scope()) == []
    (line,) = must_agree(_greeting(cpu_capability="DEFAULT"), "worker", scope())
    assert "not bit-identical" in line
    assert "there" in line


@pytest.mark.parametrize("package", ["torch", "rayl2o"])
def test_other_versions_are_refused(package: str) -> None:
    with pytest.raises(UserError, match=f"the learner on there runs {package} 0.0, the driver") as refused:
        must_agree(_greeting(**{package: "0.0"}), "learner", scope())
    assert "install" in str(refused.value)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("ray_local")
def test_a_config_that_this_node_cannot_read_names_the_host() -> None:
    with pytest.raises(UserError, match=f"a worker on {greet().host} cannot read the config .unknown task"):
        read("task: {name: from-a-plugin}", "worker")
    assert read("updates: 3", "worker").updates == 3
