"""Puts the tables of studies into a page of the documentation, between markers; text outside them is left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayl2o.errors import UserError
from rayl2o.study.measured import Measured, measured
from rayl2o.study.measured_tables import Beside, measured_blocks
from rayl2o.study.results import FEWEST, measures_cosines, rows
from rayl2o.study.tables import blocks, markdown
from rayl2o.symbolic.complexity import COUNTING_RULE


def with_studies(
    page: str,
    documents: Mapping[str, Mapping[str, Any]],
    images: str = "images",
    beside: Mapping[str, Beside] | None = None,
) -> str:
    """The page with what stands between ``<!-- study:NAME -->`` and ``<!-- /study:NAME -->`` written anew.

    Args:
        page: The page's text.
        documents: By name of the study, as :func:`rayl2o.study.runner.document` returns them.
        images: Where the figures lie, seen from the page.
        beside: By name of the study, further columns of the tables on distilled rules.

    Raises:
        UserError: If a study has no markers, or more than one pair.
    """
    for name, document in documents.items():
        begin, end = f"<!-- study:{name} -->", f"<!-- /study:{name} -->"
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise UserError("the page has no place for a study", value=name, mend=f"write {begin} and {end} once each")
        before, after = page[: page.index(begin)], page[page.index(end) + len(end) :]
        page = f"{before}{begin}\n{section(name, document, images, (beside or {}).get(name))}{end}{after}"
    return page


def section(name: str, document: Mapping[str, Any], images: str = "images", beside: Beside | None = None) -> str:
    """What stands between the markers: the question, the figure, the tables, what the numbers are."""
    seeds, summary, distilled = document["definition"]["seeds"], rows(document), measured(document)
    parts = [
        f"{document['question']}\n",
        f"![{name}: mean loss of every arm, a point per meta-seed]({images}/study-{name}.png)\n",
        *([f"![{name}: cosine against loss]({images}/study-{name}-cosine.png)\n"] if measures_cosines(summary) else []),
        markdown(blocks(document, summary)),
        *_of_formulas(name, document, distilled, images, beside),
        f"{len(seeds)} meta-seed{'s' if len(seeds) > 1 else ''}; losses are means over the horizon and the evaluation "
        "seeds; intervals and paired differences (negative: lower loss than the reference) are 95 % bootstraps over "
        "meta-seeds, over evaluation seeds where there is one meta-seed or a tuned baseline; fewer than "
        f"{FEWEST} pairs get no verdict. "
        f"`rayl2o study {name}`, definition `{document['sha256'][:12]}`.\n",
    ]
    if document["failed"]:
        parts.append(f"Failed: {', '.join(document['failed'])}.\n")
    return "\n".join(parts)


def _of_formulas(
    name: str, document: Mapping[str, Any], distilled: Sequence[Measured], images: str, beside: Beside | None
) -> list[str]:
    if not distilled:
        return []
    return [
        f"![{name}: R2 of formulas by their nodes]({images}/study-{name}-formulas.png)\n",
        markdown(measured_blocks(document, distilled, beside)),
        "Numbers of distilled rules are means over meta-seeds, lowest and highest in brackets. All rules are recorded in runs "
        "of the same seeds; rows of other runs than the fitted ones decide which formula stands for an MC or a size, rows of yet "
        "others give R2. None: no formula was found within the threshold. Sound are formulas that no guard refuses. "
        f"{COUNTING_RULE[0].upper()}{COUNTING_RULE[1:]}\n",
    ]
