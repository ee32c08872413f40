"""The command line: tables of plans, and one line for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import adjointsim as adj
from adjointsim import cli
from adjointsim.schedules import P


def lines(capsys, text):
    assert cli.main(text.split()) == 0
    out = capsys.readouterr()
    assert not out.err
    return out.out.splitlines()


def taken(rows):
    """The cells of the plan that would be taken."""
    (row,) = [row for row in rows if row.startswith("-> ") and "would be taken" not in row]
    return row.split()[1:]


def test_a_budget(capsys):
    rows = lines(capsys, "plan --steps 1e6 --state 80MB --memory 4GB")
    assert rows[0] == "1000000 steps, states of 80 MB, memory 4 GB; 80 TB to store every state"
    assert taken(rows)[:4] == ["binomial", "43", "-", str(P(10**6, 43))]
    assert "--step-seconds" in rows[-1]


def test_candidates_and_times(capsys, monkeypatch):
    monkeypatch.setattr(cli, "cache_bytes", lambda: 10_000_000)
    monkeypatch.setattr(cli, "STREAM", 2e-10)
    rows = lines(capsys, "plan --steps 1000 --state 1MB --memory 2GB --working 1MB --step-seconds 1e-5")
    assert taken(rows)[0] == "periodic" and any(row.split()[0] == "store-all" for row in rows if row)
    rows = lines(capsys, "plan --steps 1000 --state 1MB --memory 2GB --working 1MB --step-seconds 1e-2 --vjp-seconds 0.03")
    assert taken(rows)[0] == "store-all" and "40.4 s" in " ".join(taken(rows)) and rows[-1] == "-> would be taken: the fastest"


def test_a_disk(capsys):
    rows = lines(capsys, "plan --steps 1e9 --state 1MB --memory 4GB --disk 1TB --step-seconds 1e-3 --disk-bandwidth 2GB/s")
    assert taken(rows)[0] == "periodic-disk" and any("binomial" in row for row in rows)
    assert "disk 1 TB" in rows[0] and "go on" in rows[-1]


def test_what_is_free(capsys, monkeypatch):
    monkeypatch.setattr(cli, "free_memory", lambda: 40_000_000)
    rows = lines(capsys, "plan --steps 100 --state 1MB")
    assert "memory 20 MB (half of what is free)" in rows[0] and taken(rows)[:2] == ["binomial", "13"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the following arguments are required: command"),
        ("fly", "invalid choice: 'fly'"),
        ("plan", "the following arguments are required: --steps, --state"),
        ("plan --steps 1.5 --state 1MB", "Got '1.5', but expected an integer number of steps"),
        ("plan --steps nan --state 1MB", "Got 'nan'"),
        ("plan --steps 1e400 --state 1MB", "Got '1e400'"),
        ("plan --steps -5 --state 1MB", "Got n_steps=-5"),
        ("plan --steps 1e30 --state 1MB", "below 2**63"),
        ("plan --steps 5 --state 2gigs", "Got state='2gigs'"),
        ("plan --steps 5 --state 1MB --memory 1.5", "a fraction of the free memory"),
        ("plan --steps 5 --state 1MB --memory 1kB", "Got memory=1000 bytes, but expected at least 8000000"),
        ("plan --steps 5 --state 1MB --disk 0", "Got disk='0'"),
        ("plan --steps 5 --state 1MB --step-seconds -1", "Got '-1', but expected a positive number of seconds"),
        ("plan --steps 5 --state 1MB --vjp-seconds 1", "--vjp-seconds needs --step-seconds"),
        ("plan --steps 5 --state 1MB --disk-bandwidth fast", "Got bandwidth='fast', but expected bytes a second"),
    ],
)
def test_one_line_for_what_is_wrong(capsys, text, said):
    with pytest.raises(SystemExit) as stopped:
        cli.main(text.split())
    assert stopped.value.code == 2
    out = capsys.readouterr()
    assert not out.out and out.err.startswith("adjointsim") and out.err.count("\n") == 1 and said in out.err


def test_as_a_module():
    command = [sys.executable, "-m", "adjointsim", "plan", "--steps", "1000", "--state", "1kB", "--memory", "1MB"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(adj.__file__).parents[1])
    assert done.returncode == 0 and "-> " in done.stdout and not done.stderr
    done = subprocess.run([*command, "--memory", "none"], capture_output=True, text=True, cwd=Path(adj.__file__).parents[1])
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
