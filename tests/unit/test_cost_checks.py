"""Prices, energy and what is asked of them are refused where they do not go together, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from findings import DEVICES, config_findings
from hwfit.config_checks import check_config, check_devices
from hwfit.device_sections import Composite, Device
from hwfit.sections import Config

OWNED = {"price": 30_000, "years": 4}


def test_the_cheapest_cannot_be_found_without_a_price() -> None:
    cost = {"objective": "cost"}
    ((path, text),) = config_findings(decision=cost)
    assert path == ("decision", "objective")
    assert "none of cpu has a price_per_hour" in text
    assert config_findings({"devices": ["gpu0"]}, decision=cost) == []


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        (
            {"price_per_hour": 2.5, "owned": OWNED},
            ("owned",),
            "is there beside price_per_hour (2.5); allowed",
        ),
        (
            {"owned": OWNED | {"residual_value": 30_000}},
            ("owned", "residual_value"),
            "is 30000, not below the price (30000); allowed: what it is still worth after `years`",
        ),
        (
            {"owned": OWNED | {"power_w": 300, "idle_power_w": 400}},
            ("owned", "idle_power_w"),
            "is 400, above power_w (300); allowed: power_w or less",
        ),
        ({"owned": OWNED | {"idle_power_w": 40}}, ("owned", "idle_power_w"), "is 40, without power_w; add"),
    ],
)
def test_a_device_is_rented_or_owned_and_owned_in_figures_that_go_together(
    changes: dict[str, Any], place: tuple[str, ...], reason: str
) -> None:
    device = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, **changes)
    ((path, text),) = check_devices({"box": device})
    assert path == ("box", *place)
    assert reason in text


def test_what_is_owned_has_a_price() -> None:
    device = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, owned=OWNED)
    assert list(check_devices({"box": device})) == []
    config = Config(matrix={"models": ["mlp"], "devices": ["box"]}, decision={"objective": "cost"})
    assert list(check_config(config, {"box": device})) == []


def test_electricity_is_for_what_is_owned() -> None:
    ((path, text),) = config_findings({"devices": ["gpu0"]}, cost={"electricity_per_kwh": 0.2})
    assert path == ("cost", "electricity_per_kwh")
    assert "is 0.2, but none of gpu0 is owned: a price_per_hour has its electricity in it" in text
    box = Device(accelerator="cpu", runtimes={"torch": "torch-cpu"}, owned=OWNED)
    devices = {"box": box, "gpu0": DEVICES["gpu0"], "pair": Composite(members=["box", "gpu0"])}
    matrix = {"models": ["mlp"], "devices": ["pair"]}
    config = Config(matrix=matrix, cost={"electricity_per_kwh": 0.2})
    assert list(check_config(config, devices)) == []


def test_a_limit_in_dollars_meets_no_other_currency() -> None:
    priced, euros = {"devices": ["gpu0"]}, {"currency": "EUR"}
    decision: dict[str, Any] = {"constraints": {"max_cost_usd_per_million": 5}}
    assert config_findings(priced, decision=decision) == []
    ((path, text),) = config_findings(priced, decision=decision, cost=euros)
    assert path == ("decision", "constraints", "max_cost_usd_per_million")
    assert text == "is in US dollars, and cost.currency is EUR; write max_cost_per_million, which is in EUR"
    decision = {"per_model": {"mlp": {"constraints": {"max_cost_per_million": 5}}}}
    assert config_findings(priced, decision=decision, cost=euros) == []


def test_one_limit_on_cost_is_enough() -> None:
    decision = {
        "constraints": {"max_cost_usd_per_million": 5},
        "per_model": {"mlp": {"constraints": {"max_cost_per_million": 3}}},
    }
    ((_, text),) = config_findings({"devices": ["gpu0"]}, decision=decision)
    assert "for mlp, which mean the same; allowed: one of the two" in text


def test_a_limit_on_cost_that_nobody_can_know_is_refused() -> None:
    ((path, text),) = config_findings(decision={"constraints": {"max_cost_per_million": 5}})
    assert path == ("decision", "constraints", "max_cost_per_million")
    assert "is a limit on cost, but none of cpu has a price_per_hour or `owned`" in text


@pytest.mark.parametrize("wanted", ["cost", {"cost": 0.5, "latency": 0.5}])
def test_a_cost_that_nobody_can_know_is_refused_in_every_objective(wanted: Any) -> None:
    decision = {"per_model": {"mlp": {"objective": wanted}}}
    ((path, text),) = config_findings(decision=decision)
    assert path == ("decision", "per_model", "mlp", "objective")
    assert "none of cpu has a price_per_hour" in text
    assert config_findings({"devices": ["cpu", "gpu0"]}, decision=decision) == []


def test_an_external_meter_says_what_its_watts_are_those_of() -> None:
    device = {"accelerator": "cpu", "runtimes": {"torch": "torch-cpu"}}
    alone = Device(**device, power_command="read-meter")
    (place, text), *others = check_devices({"cpu": alone})
    assert place == ("cpu", "power_command")
    assert "needs power_scope beside it; allowed: board, package, node" in text
    assert not others
    both = Device(**device, power_command="read-meter", power_scope="node", power_interval_s=5)
    assert not list(check_devices({"cpu": both}))
    for key, value in {"power_scope": "node", "power_interval_s": 1}.items():
        assert list(check_devices({"cpu": Device(**device, **{key: value})})) == [
            (("cpu", key), "is for a device with a power_command")
        ]


@pytest.mark.parametrize(
    ("objective", "said"), [("energy", "is 'energy'"), ({"energy": 1, "latency": 1}, "has energy in it")]
)
def test_the_least_energy_cannot_be_found_where_none_is_measured(objective: Any, said: str) -> None:
    decision = {"objective": objective}
    texts = [text for _, text in config_findings(decision=decision, measurement={"energy_seconds": 0})]
    assert f"{said}, but measurement.energy_seconds is 0, so that none is measured" in texts
    texts = [text for _, text in config_findings(decision=decision)]
    assert not any("energy_seconds" in text for text in texts)
