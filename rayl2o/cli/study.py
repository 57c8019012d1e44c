"""``rayl2o study``: trains the arms of a study over meta-seeds and says which one is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rayl2o.cli.options import Json, Out, Workers, one_thread
from rayl2o.cli.output import Output, output

STUDIES = Path("studies")


def verb(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A study of 'rayl2o list studies', or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="E.g. seeds=[0] base.updates=20.")
    ] = None,
    out: Out = None,
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Train every arm of a study from every meta-seed and compare them; the same command again goes on where it stopped."""
    one_thread()
    from rayl2o.study.definition import load, name_of

    study, called = load(name, overrides or []), name_of(name)
    folder = out if out is not None else STUDIES / called
    with output(as_json) as says:
        from rayl2o.cli.progress import followed
        from rayl2o.evaluate.pmap import process_map
        from rayl2o.study.job import jobs
        from rayl2o.study.runner import document, finished

        pmap = map if workers == 1 else process_map(workers)
        total = len(jobs(study))
        records = list(followed(finished(study, folder, pmap), total, "done", _line, says.err))
        found = document(called, study, records)
        _tell(found, folder, says)
    if found["failed"]:
        raise typer.Exit(1)


def _line(record: dict[str, Any]) -> str:
    return f"{record['job']} failed: {record['error']}" if record["status"] == "failed" else str(record["job"])


def _tell(found: dict[str, Any], folder: Path, says: Output) -> None:
    from rayl2o.checkpoint import replace_file
    from rayl2o.study.figures import save_figures
    from rayl2o.study.measured import measured
    from rayl2o.study.measured_figure import save_measured_figure
    from rayl2o.study.measured_tables import measured_blocks
    from rayl2o.study.records import write_document
    from rayl2o.study.results import rows
    from rayl2o.study.tables import Block, blocks, markdown, rich_table

    name, summary, distilled = found["study"], rows(found), measured(found)
    tables: list[Block[Any]] = [*blocks(found, summary), *measured_blocks(found, distilled)]
    results, page = folder / f"{name}.json", folder / f"{name}.md"
    write_document(results, found)
    replace_file(page, lambda file: file.write(markdown(tables).encode()))
    figures = [*save_figures(found, folder, name), *save_measured_figure(found, folder, name)]
    for job in found["failed"]:
        says.err.print(f"failed: {job}; see {folder / 'jobs' / f'{job}.json'}", markup=False)
    data = {
        "study": name,
        "out": folder,
        "sha256": found["sha256"],
        "jobs": len(found["jobs"]),
        "failed": found["failed"],
        "results": results,
        "figures": figures,
        "rows": [row.to_json() for row in summary],
        "distilled": [one.to_json() for one in distilled],
    }
    files = ", ".join(str(file) for file in (results, page, *figures))
    says.result(data, *map(rich_table, tables), Text(f"written: {files}"))
