"""The jobs of a study, as data that crosses a process, and what doing one brings: plain JSON-able numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rayl2o.errors import UserError
from rayl2o.evaluate.runner import run
from rayl2o.evaluate.search_space import SPACES
from rayl2o.evaluate.tuning import tune
from rayl2o.rules.registry import parse_rule
from rayl2o.study.arms import Arm, arms, digest
from rayl2o.study.definition import ALL, Baselines, Evaluation, Probe, Snapshots, Study, written
from rayl2o.study.distillation import Distillation
from rayl2o.study.distilling import distilled
from rayl2o.study.scoring import cosines, plain_scores, rounded, scores
from rayl2o.study.trained import trained
from rayl2o.study.training import UPDATES, Snapshot, train

TRAINING, BASELINE, KNOWN = "training", "baseline", "known"


@dataclass(frozen=True)
class TrainingJob:
    """An arm trained from one meta-seed, its snapshots scored, and the last one distilled where that is asked for."""

    arm: Arm
    seed: int
    snapshots: Snapshots
    evaluations: tuple[Evaluation, ...]
    probe: Probe
    distillation: Distillation = field(default_factory=Distillation)

    @property
    def name(self) -> str:
        """ARM-SEED, unique in the study and fit for a file's name."""
        return f"{self.arm.name}-{self.seed}"

    @property
    def sha256(self) -> str:
        """Digest of all that decides the numbers and is written in a definition or preset; defaults of the code are not."""
        more = (replace(self.distillation, known=()),) if self.distillation.asked else ()
        asked = [written(part) for part in (self.snapshots, self.evaluations, self.probe, *more)]
        return digest([TRAINING, self.arm.data, self.seed, *asked])

    def header(self) -> dict[str, Any]:
        """What its record says whether it succeeds or not."""
        return {"kind": TRAINING, "arm": self.arm.name, "levels": self.arm.levels, "seed": self.seed}

    def perform(self, folder: Path | None = None) -> dict[str, Any]:
        """Trains and scores; the numbers of every snapshot.

        Args:
            folder: Where trained weights are kept and found again if something is distilled; None keeps none.
        """
        config = self.arm.config(self.seed)
        taken = self._trained(folder)
        scored: dict[int, dict[str, Any]] = {}
        for snapshot in taken:
            scored[snapshot.round] = self._scored(snapshot, scored.get(snapshot.round, {}))
        done = {
            "rule": config.rule.kind,
            "credit": config.unroll.credit,
            "weights": sum(value.numel() for value in taken[0].phi.values()),
            "snapshots": [_described(snapshot) | scored[snapshot.round] for snapshot in taken],
        }
        if self.distillation.asked:
            (last,) = (one for one in taken if one.mark.last and one.mark.clock == UPDATES)
            done["distillation"] = distilled(config.exported_rule(), last.phi, self.distillation)
        return done

    def _trained(self, folder: Path | None) -> list[Snapshot]:
        config = self.arm.config(self.seed)
        if folder is None or not self.distillation.asked:
            return train(config, self.snapshots, self.name)
        what = digest([TRAINING, self.arm.data, self.seed, written(self.snapshots)])
        return trained(config, self.snapshots, self.name, folder, what)

    def _scored(self, snapshot: Snapshot, known: dict[str, Any]) -> dict[str, Any]:
        """What is asked of a snapshot, beyond what is known of its phi."""
        config = self.arm.config(self.seed)
        rule, dtype = config.exported_rule(), config.unroll.torch_dtype
        values = dict(known.get("evaluations", {}))
        for one in self.evaluations:
            if one.label not in values and (snapshot.mark.last or one.snapshots == ALL):
                values[one.label] = scores(rule, snapshot.phi, one, dtype)
        if "cosines" in known:
            return {**known, "evaluations": values}
        found = cosines(config, snapshot.phi, self.probe) if self.probe.credits else {}
        return {"evaluations": values, "cosines": found}


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "clock": snapshot.mark.clock,
        "mark": snapshot.mark.at,
        "last": snapshot.mark.last,
        "round": snapshot.round,
        "cpu_s": round(snapshot.cpu_s, 3),
        "inner_steps": snapshot.inner_steps,
        "skipped": snapshot.skipped,
    }


@dataclass(frozen=True)
class BaselineJob:
    """A classic rule tuned for one evaluation, and scored on it."""

    rule: str
    evaluation: Evaluation
    baselines: Baselines

    @property
    def name(self) -> str:
        """As a training's, with the evaluation for the seed."""
        return f"baseline-{self.rule}-{self.evaluation.label}"

    @property
    def sha256(self) -> str:
        """As a training's; the other rules of the study do not count."""
        asked = {name: value for name, value in written(self.baselines).items() if name != "rules"}
        return digest([BASELINE, self.rule, written(self.evaluation), asked])

    def header(self) -> dict[str, Any]:
        """As a training's."""
        return {"kind": BASELINE, "rule": self.rule, "evaluation": self.evaluation.label}

    def perform(self, folder: Path | None = None) -> dict[str, Any]:
        """Tunes and scores; keeps nothing."""
        del folder
        family, one = self.evaluation.make_family(), self.evaluation
        tuned = tune(
            SPACES[self.rule],
            family,
            self.baselines.tuning_seeds,
            one.steps,
            scoring_seeds=one.eval_seeds,
            task=one.label,
            draws=self.baselines.draws,
        )
        return {
            "label": tuned.label,
            "draws": len(tuned.draws),
            "on_edge": list(tuned.on_edge),
            "tuning_score": rounded([tuned.score])[0],
            "scores": plain_scores(run(tuned.rule, {}, family, one.eval_seeds, one.steps)),
        }


@dataclass(frozen=True)
class KnownJob:
    """A rule without weights, distilled and measured as trained ones are."""

    rule: str
    distillation: Distillation

    @property
    def name(self) -> str:
        """As a training's, with the rule's text for the arm."""
        return f"known-{re.sub(r'[^A-Za-z0-9.]+', '-', self.rule)}"

    @property
    def sha256(self) -> str:
        """As a training's; the other rules of the study do not count."""
        return digest([KNOWN, self.rule, written(replace(self.distillation, known=()))])

    def header(self) -> dict[str, Any]:
        """As a training's."""
        return {"kind": KNOWN, "rule": self.rule}

    def perform(self, folder: Path | None = None) -> dict[str, Any]:
        """Distils; keeps nothing."""
        del folder
        return {"distillation": distilled(parse_rule(self.rule), {}, self.distillation, self.rule)}


Job = TrainingJob | BaselineJob | KnownJob


def jobs(study: Study) -> list[Job]:
    """All jobs: known rules, then meta-seed by meta-seed so that a study that is cut short has whole seeds; baselines last.

    Raises:
        UserError: As :func:`rayl2o.study.arms.arms`, if a task does not exist, if tuning seeds are scoring seeds, or if two jobs
            have one name.
    """
    found: list[Job] = [KnownJob(rule, study.distillation) for rule in study.distillation.known]
    all_arms = arms(study)
    if study.distillation.asked:
        study.distillation.make_family()
    for one in study.evaluations:
        one.make_family()
        if study.baselines.rules and set(study.baselines.tuning_seeds) & set(one.eval_seeds):
            raise UserError(
                f"evaluation {one.label} scores on tuning seeds", value=one.first_seed, mend="move baselines.first_seed"
            )
    for seed in study.seeds:
        for arm in all_arms:
            mine = tuple(one for one in study.evaluations if arm.evaluated_in(one))
            found.append(TrainingJob(arm, seed, study.snapshots, mine, study.probe, study.distillation))
    found += [BaselineJob(rule, one, study.baselines) for one in study.evaluations for rule in study.baselines.rules]
    names = [job.name for job in found]
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise UserError("two jobs would write one file", value=twice, mend="rename a level, or change a known rule")
    return found
