"""What `homeroom evaluate --tasks` found, as a person reads it in the terminal, and which scores the report shows."""

from collections.abc import Iterator, Mapping

from rich.cells import cell_len

from homeroom.report.figures import number_at, rows_at, value_at
from homeroom.settings import Json
from homeroom.workspace import Artifact, Workspace

_HEADS = ("shots", "accuracy", "by log-likelihood per byte of the choice")


def text(metrics: Mapping[str, Json]) -> str:
    """The file and the model, a line for each number of examples, and what was left out."""
    rows = rows_at(metrics, "scores")
    table = [_HEADS]
    for row in rows:
        table.append((str(row["shots"]), _rate(row, "accuracy"), _rate(row, "accuracy_per_byte")))
        by_category = value_at(row, "by_category")
        for name, of_it in by_category.items() if isinstance(by_category, dict) else ():
            count = number_at(of_it, "accuracy", "n")
            table.append((f"  {name} ({count:,})", _rate(of_it, "accuracy"), _rate(of_it, "accuracy_per_byte")))
    widths = [max(cell_len(line[column]) for line in table) for column in (0, 1)]
    told = [f"{_title(metrics)}      model {metrics['model']}, {metrics['weights']}"]
    for *cells, last in table:
        # In cells of the terminal: a Chinese category is twice as wide as it is long.
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True))
        told.append("   ".join([*padded, last]))
    return "\n".join([*told, *_notes(metrics)])


def headline(metrics: Mapping[str, Json]) -> str:
    """One score in a few words."""
    rates = (f"{_rate(row, 'accuracy')} with {row['shots']} shots" for row in rows_at(metrics, "scores"))
    weights = str(metrics.get("weights", ""))
    return f"{_title(metrics)}: {', '.join(rates)}" + (f", {weights}" if weights.startswith("int8") else "")


def of_models(workspace: Workspace, models: Mapping[str, Artifact]) -> list[Artifact]:
    """The scores of these models, and of their int8 weights, the newest last; nobody else's stand beside theirs."""
    ids, made = {artifact.id for artifact in models.values()}, workspace.artifacts.all()
    ids |= {one.id for one in made if one.stage == "compress" and ids.issuperset(one.inputs)}
    return [one for one in made if one.stage == "score" and ids.issuperset(one.inputs)]


def _title(metrics: Mapping[str, Json]) -> str:
    choices = value_at(metrics, "choices")
    counts = [count for count in choices if isinstance(count, int)] if isinstance(choices, list) else []
    number = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{counts[0]}"
    chance = number_at((rows_at(metrics, "scores") or [{}])[0], "chance") or 0
    return f"{metrics['file']}: {metrics['questions']:,} questions, {number} choices (chance {100 * chance:.1f} %)"


def _rate(row: Json, name: str) -> str:
    mean, low, high = (100 * (number_at(row, name, part) or 0) for part in ("mean", "low", "high"))
    return f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def _notes(metrics: Mapping[str, Json]) -> Iterator[str]:
    rows = rows_at(metrics, "scores")
    # Without examples a question fits or does not, so that it is left out everywhere or nowhere.
    if too_long := number_at(rows[0], "too_long"):
        yield f"longer than the model's context, and not counted: {too_long:,} questions"
    for row in rows:
        if fewer := number_at(row, "fewer_examples"):
            yield f"asked with fewer than {row['shots']} examples, since more do not fit: {fewer:,} questions"
    if rejects := number_at(metrics, "rejects"):
        examples = value_at(metrics, "reject_examples")
        named = [str(one) for one in examples] if isinstance(examples, list) else []
        yield f"lines left out: {rejects:,}"
        yield from (f"  {one}" for one in named)
        if rejects > len(named):
            yield f"  … and {rejects - len(named):,} more, all of them in the score's rejects.jsonl"
