"""What a person sees while a stage works: one live bar with its figures, and one line for what a stage made.

Everything goes to standard error, so that standard output carries only what was asked for. Where that is no
terminal, a plain line every ten seconds replaces the bar. What to show is the caller's business.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

PLAIN_LINE_SECONDS = 10.0
_console = Console(stderr=True, highlight=False, soft_wrap=True)


class Bar:
    """The bar of one piece of work. `shown` values are short strings: loss="3.21", rate="8,120 tok/s"."""

    def __init__(self, display: Progress, task_id: TaskID, live: bool) -> None:
        self._display, self._task_id, self._live = display, task_id, live
        self._next_line = time.monotonic() + PLAIN_LINE_SECONDS

    def advance(self, n: float = 1, **shown: str) -> None:
        self._show(shown)
        self._display.advance(self._task_id, n)
        self._plain_line_when_due()

    def update(self, completed: float, **shown: str) -> None:
        """Set how much is done, as after a resume; time left is reckoned from what is done from then on."""
        self._show(shown)
        self._display.update(self._task_id, completed=completed)
        self._plain_line_when_due()

    @property
    def _task(self) -> Task:
        return self._display._tasks[self._task_id]

    def _show(self, shown: dict[str, str]) -> None:
        self._task.fields["shown"].update(shown)

    def _plain_line_when_due(self) -> None:
        if not self._live and time.monotonic() >= self._next_line:
            self.print_line()

    def print_line(self) -> None:
        self._next_line = time.monotonic() + PLAIN_LINE_SECONDS
        task = self._task
        parts = [task.description, _amount(task), _shown(task), _times(task)]
        _console.print("  ".join(part for part in parts if part), markup=False)


@contextmanager
def progress(description: str, total: float | None = None) -> Iterator[Bar]:
    """Show work on `total` things (None: not known) while the block runs. Bars may be nested."""
    live = _console.is_terminal and not _console.is_dumb_terminal
    display = Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        _Column(_amount, "progress.percentage"),
        _Column(_shown, "cyan"),
        _Column(_times, "dim"),
        console=_console,
        speed_estimate_period=60,
    )
    task_id = display.add_task(escape(description) if live else description, total=total, shown={})
    bar = Bar(display, task_id, live)
    if live:
        with display:
            yield bar
    else:
        yield bar
        bar.print_line()


def say(stage: str, text: str) -> None:
    """The one line that tells what a stage made and where; it appears above a bar that is up."""
    _console.print(Text.assemble((f"{stage:<10}", "bold green"), " ", text))


class _Column(ProgressColumn):
    """A column made by one of the functions below, so that bars and plain lines say the same."""

    max_refresh = 0.25

    def __init__(self, text_of: Callable[[Task], str], style: str) -> None:
        super().__init__()
        self._text_of, self._style = text_of, style

    def render(self, task: Task) -> Text:
        return Text(self._text_of(task), style=self._style)


def _amount(task: Task) -> str:
    if task.total is None:
        return f"{task.completed:,.0f}"
    return f"{task.percentage:3.0f}% {task.completed:,.0f}/{task.total:,.0f}"


def _shown(task: Task) -> str:
    """A rate carries its unit and stands alone, others take their name along: `loss 3.21  8,120 tok/s`."""
    shown: dict[str, str] = task.fields["shown"]
    return "  ".join(v if k == "rate" else f"{k.replace('_', ' ')} {v}" for k, v in shown.items())


def _times(task: Task) -> str:
    passed = _clock(task.finished_time or task.elapsed or 0.0)
    if task.finished or task.total is None:
        return passed
    left = task.time_remaining
    return f"{passed}, {'?' if left is None else _clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
