"""The command line: what bad input gets, and what a machine reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import nas as package
from hw_cost_models.errors import MeasurementError
from nas import after, cli, cli_runs, errors
from nas.bilevel import Bilevel
from nas.errors import BadInputError
from search_spaces.catalogue import SPACES
from tests.nas.toys import FIRST, INNER, OPTIONS, TOY, new_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from nas import Result
    from search_spaces import SearchSpace, Task

    Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setitem(SPACES, "toy", TOY)


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Runs the command as a shell would: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return code, out, err

    return run


def _assert_one_line(err: str, *fragments: str) -> None:
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("error ")
    for fragment in fragments:
        assert fragment in lines[0]


# ------------------------------------------------------------------------------------ exit 2


@pytest.mark.parametrize("option", ["--latency-ms", "--memory-mb", "--params-m"])
@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "-inf"])
def test_a_budget_that_is_none(nas: Nas, option: str, value: str) -> None:
    code, _, err = nas("search", option, value, "--out", "run")
    assert code == 2
    _assert_one_line(err, option[2:].replace("-", "_"), f"{float(value)}", "not a positive number")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("--space", "nope"), ("nope", "hybrid-lm")),
        (("--space", "[/red]"), ("[/red]", "hybrid-lm")),
        (("--device", "nope"), ("nope", "local", "nvidia-l4", "raspberry-pi-5")),
        (("--device", "lokal"), ("lokal", "did you mean 'local'")),
        (("--preset", "nope"), ("nope", "quick", "standard", "thorough")),
        (("--controller", "nope"), ("nope", "gumbel", "darts", "random")),
        (("--schedule", "nope"), ("nope", "staged", "joint")),
        (("--statistic", "p10"), ("p10", "p50", "p95")),
        (("--latency-ms", "fast"), ("--latency-ms", "number")),
        (("--threads", "0"), ("--threads", "greater than or equal to 1")),
        (("--batch", "-3"), ("--batch", "greater than or equal to 1")),
        (("--nonsense",), ("--nonsense",)),
    ],
    ids=lambda value: "-".join(value) if value and value[0].startswith("--") else "",
)
def test_a_name_or_value_that_is_not_known(
    nas: Nas, arguments: tuple[str, ...], fragments: tuple[str, ...]
) -> None:
    code, _, err = nas("search", *arguments, "--out", "run")
    assert code == 2
    _assert_one_line(err, *fragments)
    assert not Path("run").exists()


@pytest.mark.parametrize("command", ["search", "cost"])
def test_a_device_with_other_threads_than_its_figures_are_for(nas: Nas, command: str) -> None:
    code, _, err = nas(command, "--device", "raspberry-pi-5", "--threads", "3")
    assert code == 2
    _assert_one_line(err, "raspberry-pi-5", "not 3")
    assert not Path("runs").exists(), "nothing was begun"


def test_a_command_that_is_not_known(nas: Nas) -> None:
    code, _, err = nas("serach")
    assert code == 2
    _assert_one_line(err, "serach", "search")


def _missing(path: Path) -> None:
    pass


def _empty_file(path: Path) -> None:
    path.touch()


def _empty_folder(path: Path) -> None:
    path.mkdir()


def _short(path: Path) -> None:
    path.write_text("too short")


def _binary(path: Path) -> None:
    path.write_bytes(b"\x00\xff" * 5000)


def _folder_of_binaries(path: Path) -> None:
    path.mkdir()
    _binary(path / "a.bin")


@pytest.mark.parametrize("make", [_missing, _empty_file, _empty_folder, _short, _binary, _folder_of_binaries])
@pytest.mark.parametrize("name", ["data", "odd [name]"])
def test_data_that_cannot_be_learnt(nas: Nas, make: Callable[[Path], None], name: str) -> None:
    make(Path(name))
    code, _, err = nas("search", "--data", name, "--out", "run")
    assert code == 2
    _assert_one_line(err, name)
    assert not Path("run").exists()


@pytest.mark.parametrize("data", ["rcall", "./recall"])
def test_data_that_is_neither_a_name_nor_there(nas: Nas, data: str) -> None:
    code, _, err = nas("search", "--data", data, "--out", "run")
    assert code == 2
    _assert_one_line(err, f"{data}: no such file or folder", "recall, copying, compression, memorisation")
    assert not Path("run").exists()


def test_generated_data_of_a_length_that_holds_nothing(nas: Nas) -> None:
    code, _, err = nas("search", "--data", "compression", "--length", "7", "--out", "run")
    assert code == 2
    _assert_one_line(err, "compression needs a length of 8 or more", "got length 7")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("data", "length", "stored"),
    [(None, 256, None), ("recall", 512, "recall"), ("./recall", 256, "{here}/recall")],
)
def test_a_run_stores_data_so_that_it_is_found_again(
    nas: Nas, monkeypatch: pytest.MonkeyPatch, data: str | None, length: int, stored: str | None
) -> None:
    """A generated task by its name, its length its own; a path from any folder."""
    Path("recall").write_text("text " * 2000)
    asked: dict[str, Any] = {}

    def search(space: SearchSpace, task: Task, out: Path, **given: Any) -> Result:
        asked.update(given, task=task)
        raise BadInputError("seen")

    monkeypatch.setattr(package, "search", search)
    nas("search", *(("--data", data) if data else ()), "--out", "run")
    stored = stored and stored.format(here=Path.cwd().resolve())
    assert asked["data"] == stored
    assert asked["workload"].length == length
    run = new_run(Path("run"))
    run.config.update(space="hybrid-lm", data=stored, workload={"length": length})
    monkeypatch.chdir("/")
    again = cli_runs.space_and_task(run)[1]
    assert again.name == asked["task"].name
    assert again.describe()["sha256"] == asked["task"].describe()["sha256"]


@pytest.mark.parametrize("holds", ["a run", "something else"])
def test_an_out_that_holds_something(nas: Nas, holds: str) -> None:
    if holds == "a run":
        new_run(Path("run"))
    else:
        Path("run").mkdir()
        Path("run/notes.txt").write_text("mine")
    before = {f: f.read_bytes() for f in Path("run").iterdir()}
    code, _, err = nas("search", "--out", "run")
    assert code == 2
    _assert_one_line(err, "run is not empty")
    assert ("nas resume run" in err) == (holds == "a run")
    assert {f: f.read_bytes() for f in Path("run").iterdir()} == before


@pytest.mark.parametrize("command", ["resume", "export", "verify", "report"])
@pytest.mark.parametrize("holds", ["nothing", "no run"])
def test_what_is_no_run(nas: Nas, command: str, holds: str) -> None:
    if holds == "no run":
        Path("run").mkdir()
    out = ("--out", "out") if command in ("export", "report") else ()
    code, _, err = nas(command, "run", *out)
    assert code == 2
    _assert_one_line(err, "run holds no run")
    assert not Path("out").exists()


# ------------------------------------------------------------------------- exit 3, 4 and 1


def test_a_budget_that_nothing_can_meet(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said from the cost table, before any training."""

    monkeypatch.setattr(
        Bilevel, "train_weights", lambda self: pytest.fail("trained under an impossible budget")
    )
    code, _, err = nas(
        "search", "--space", "toy", "--device", "raspberry-pi-5", "--params-m", "1e-6", "--out", "run"
    )
    assert code == 3
    # The head alone has 4 * 4 + 4 parameters.
    _assert_one_line(err, "params_m <= 1e-06", "smallest feasible figure is 2e-05")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.VerificationError("the file differs"), 4),
        (errors.DivergedError("the loss is nan"), 1),
        (MeasurementError("the process died"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_errors_that_are_understood(
    nas: Nas, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fails(path: Path) -> None:
        raise error

    monkeypatch.setattr(cli, "open_run", fails)
    found, _, err = nas("report", "run", "--out", "out")
    assert found == code
    _assert_one_line(err, str(error))


def test_a_defect_keeps_its_traceback(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "open_run", fails)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        nas("report", "run", "--out", "out")


def test_control_c_says_how_to_go_on(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "open_run", stopped)
    code, _, err = nas("resume", "run")
    assert code == 130
    assert "nas resume" in err


@pytest.mark.parametrize("verdict", ["within", "over", "undecided", "predicted, not verified"])
def test_the_verdict_is_the_exit_code(nas: Nas, monkeypatch: pytest.MonkeyPatch, verdict: str) -> None:
    result = {
        "budget": {"latency_ms": 4.0},
        "predicted": {"latency_ms": 3.5},
        "measured": {"latency_ms": 4.1},
        "verification": {"verdicts": {"latency_ms": verdict}},
        "verdict": verdict,
    }
    monkeypatch.setattr(cli, "open_run", lambda path: None)
    monkeypatch.setattr(cli, "space_and_task", lambda run: (None, None))
    monkeypatch.setattr(after, "verify_again", lambda run, space: result)
    code, out, _ = nas("verify", "run")
    assert code == (4 if verdict in ("over", "undecided") else 0)
    assert all(figure in out for figure in ("4.00", "3.50", "4.10", verdict))


# -------------------------------------------------------------------- what a machine reads


def test_the_cost_table_as_json(nas: Nas) -> None:
    code, out, _ = nas(
        "cost", "--space", "toy", "--device", "raspberry-pi-5", "--batch", "3", "--length", "5", "--json"
    )
    assert code == 0
    table = json.loads(out)
    assert table.keys() >= {"device", "workload", "threads", "statistic", "choices", "fixed"}
    assert (table["device"], table["statistic"]) == ("raspberry-pi-5", "p50")
    assert table["workload"] == {"kind": "forward", "batch": 3, "length": 5, "unit": "examples"}
    assert {path: tuple(options) for path, options in table["choices"].items()} == OPTIONS
    linear = table["choices"][FIRST]["linear"]
    assert linear["weight_mb"] == pytest.approx(20 * 4 / 1e6)
    assert linear["params_m"] == pytest.approx(20 / 1e6)
    assert linear["latency_ms"] > 0
    assert table["choices"][INNER]["wide"]["params_m"] == pytest.approx((5 * 8 + 9 * 4) / 1e6)
    assert table["fixed"]["params_m"] == pytest.approx(20 / 1e6)


def test_the_cost_table_for_people(nas: Nas) -> None:
    code, out, _ = nas("cost", "--space", "toy", "--device", "raspberry-pi-5")
    assert code == 0
    assert all(name in out for name in ("raspberry-pi-5", FIRST, "tanh.x2", "wide", "the rest"))


def test_equal_places_share_a_heading_and_figures_are_whole_in_a_narrow_terminal(nas: Nas) -> None:
    code, out, _ = nas(
        "cost",
        "--space",
        "encoder",
        "--device",
        "raspberry-pi-5",
        "--length",
        "16",
        "--precision",
        "fp32,int8",
    )
    assert code == 0
    assert "layers.*.mixer ×4" in out
    assert "layers.*.mixer.attention" in out
    assert "int8" in out
    assert "…" not in out
    code, _, error = nas("cost", "model.onnx", "--precision", "int8")
    assert code == 2
    assert "--precision is for a space" in error


def test_devices(nas: Nas) -> None:
    code, out, _ = nas("devices", "--json")
    assert code == 0
    profiles = {profile["name"]: profile for profile in json.loads(out)}
    assert profiles.keys() >= {"local", "raspberry-pi-5", "nvidia-l4"}
    assert profiles["raspberry-pi-5"]["roofline"]["peak_gflops"]["float32"]["source"]
    code, out, _ = nas("devices")
    assert code == 0
    assert all(name in out for name in profiles)


@pytest.mark.parametrize(
    "command", [(), ("search",), ("resume",), ("export",), ("verify",), ("report",), ("cost",), ("devices",)]
)
def test_help(nas: Nas, command: tuple[str, ...]) -> None:
    code, out, _ = nas(*command, "--help")
    assert code == 0
    assert "Usage: " in out
    if command == ("search",):
        options = ("space", "data", "device", "latency-ms", "memory-mb", "params-m", "preset", "seed", "out")
        assert all(f"--{option}" in out for option in options)


def test_help_is_instant() -> None:
    """What takes seconds to import is imported where it is used."""
    code = (
        "import sys; sys.argv = ['nas', '--help']\n"
        "from nas.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = 'torch scipy onnx onnxruntime onnxscript numpy pydantic networkx plotly hw_cost_models'\n"
        "print('heavy:', *sorted(set(heavy.split()) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: nas" in ran.stdout
    heavy = ran.stdout.rpartition("heavy:")[2].split()
    assert not set(heavy) & {"torch", "scipy", "onnx", "onnxruntime", "onnxscript"}
