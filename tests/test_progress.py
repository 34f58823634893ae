import os
import pty
import re
import sys
import time
from pathlib import Path

import pytest

from homeroom import progress as module
from homeroom.progress import progress, say


def test_without_a_terminal_there_are_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLAIN_LINE_SECONDS", 0.05)
    with progress("pretrain [x]", 4) as bar:
        for step in range(4):
            time.sleep(0.06)
            bar.advance(loss=f"{4 - step}.00", rate="8,120 tok/s")
    say("pretrain", "2.9M parameters [in] workspace/artifacts/pretrain-0 " + "x" * 200)
    captured = capsys.readouterr()
    assert captured.out == ""
    *lines, last = captured.err.splitlines()
    assert re.fullmatch(r"pretrain \[x\]   50% 2/4  loss 3.00  8,120 tok/s  0:0\d, 0:0\d left", lines[1])
    assert re.fullmatch(r"pretrain \[x\]  100% 4/4  loss 1.00  8,120 tok/s  0:0\d", lines[-1])
    assert last == "pretrain   2.9M parameters [in] workspace/artifacts/pretrain-0 " + "x" * 200


def test_plain_lines_are_rare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLAIN_LINE_SECONDS", 0.2)
    with progress("clean") as bar:
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            bar.advance()
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_work_that_is_soon_done_has_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("clean") as bar:
        for _ in range(1000):
            bar.advance(10, kept="9")
    assert capsys.readouterr().err.splitlines() == ["clean  10,000  kept 9  0:00"]


def test_no_last_line_for_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress("clean", 3):
        _ = 1 / 0
    assert capsys.readouterr().err == ""
    with progress("clean", 3) as bar:
        bar.update(3)
    assert capsys.readouterr().err == "clean  100% 3/3  0:00\n"


def test_time_left_is_reckoned_from_what_was_done_since_the_resume(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("pretrain", 1100) as bar:
        bar.update(1000)
        for _ in range(4):
            time.sleep(0.05)
            bar.advance()
        bar.print_line()
    left = re.search(r"0:00, 0:0(\d) left", capsys.readouterr().err)
    assert left is not None
    assert 4 <= int(left[1]) <= 7


SCRIPT = """if True:
    import time
    from homeroom.progress import progress, say
    with progress("pretrain", 20) as bar:
        for step in range(20):
            time.sleep(0.03)
            bar.advance(loss="2.50", rate="8,120 tok/s")
            if step == 10:
                say("collect", "1,234 documents")
                with progress("validate", 4) as inner:
                    for _ in range(4):
                        time.sleep(0.08)
                        inner.advance()
"""


def test_in_a_terminal_there_is_a_bar() -> None:
    child, terminal = pty.fork()
    if not child:
        os.environ.update(TERM="xterm-256color", COLUMNS="90", PYTHONPATH=str(Path(module.__file__).parents[1]))
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT])
    output = b""
    while True:
        try:
            output += os.read(terminal, 65536)
        except OSError:
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    screen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode())
    assert re.search(r"pretrain ━+[╸╺]?━* +\d+% \d+/20 loss 2.50  8,120 tok/s 0:0\d, 0:0\d left", screen), screen
    assert re.search(r"validate ━+[╸╺]?━* +\d+% \d/4 ", screen), screen
    assert "collect    1,234 documents" in screen
    assert re.search(r"100% 20/20 loss 2.50  8,120 tok/s 0:0\d", screen), screen
