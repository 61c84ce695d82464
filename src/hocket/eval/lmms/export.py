"""Our results in the files of lmms-eval, for whatever reads those.

``DATE_results.json`` has the numbers, ``DATE_samples_TASK.jsonl`` a line per question. Written as
lmms-eval 0.7 does, but that ``doc_hash`` is the hash of the question; theirs is of nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from hocket._compat import installed_version
from hocket._errors import ConfigError
from hocket.eval.answers import Line, read_answers
from hocket.eval.resample import Figure
from hocket.eval.run import log_files
from hocket.eval.scores import SCORES, Sample, Scores, read_samples, read_scores, write_whole

# Half of a 95 % interval in standard errors.
_ERRORS_PER_HALF = 1.959964


def export_results(folder: Path, to: Path) -> list[Path]:
    """Write the results of a model.

    Args:
        folder: of the model's results.
        to: where the files go.

    Returns:
        The files.

    Raises:
        ConfigError: there are no results.
        MachineError: a file cannot be written.
    """
    found = {
        file.parent: scores
        for file in sorted(folder.glob(f"*/{SCORES}"))
        if (scores := read_scores(file.parent)) is not None
    }
    if not found:
        raise ConfigError(f"{folder} holds no results. Run hocket eval first.")
    newest = max((at / SCORES).stat().st_mtime for at in found)
    date = time.strftime("%Y%m%d_%H%M%S", time.localtime(newest))
    files = []
    for at, scores in found.items():
        file = to / f"{date}_samples_{_task(scores)}.jsonl"
        lines, samples = read_answers(log_files(at)), read_samples(at)
        rows = [_sample(lines[name], sample) for name, sample in samples.items() if name in lines]
        write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        files.append(file)
    file = to / f"{date}_results.json"
    text = json.dumps(_results(list(found.values()), date), indent=2, ensure_ascii=False)
    write_whole(file, text + "\n")
    return [file, *files]


def _task(scores: Scores) -> str:
    return scores.exam.replace("@", "_v")


def _results(every: list[Scores], date: str) -> dict[str, Any]:
    return {
        "results": {_task(one): {"alias": one.title, **_numbers(one)} for one in every},
        "versions": {_task(one): one.version for one in every},
        "n-shot": {_task(one): 0 for one in every},
        "higher_is_better": {
            _task(one): {metric.label: metric.best > 0 for metric in one.metrics} for one in every
        },
        "n-samples": {
            _task(one): {"original": one.questions, "effective": one.questions - one.errors}
            for one in every
        },
        "config": {
            "model": "hocket",
            "model_args": f"pretrained={every[0].model}",
            "limit": every[0].limit or None,
            "fingerprint": every[0].fingerprint,
        },
        "model_name": every[0].model,
        "date": date,
        "source": f"hocket {installed_version('hocket') or ''}".strip(),
    }


def _numbers(scores: Scores) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in scores.metrics:
        for figure in metric.figures:
            name = metric.label if figure.name == metric.figures[0].name else figure.name
            found[f"{name},none"] = figure.value
            found[f"{name}_stderr,none"] = _error(figure)
    return found


def _error(figure: Figure) -> float | str:
    if figure.low is None or figure.high is None:
        return "N/A"
    return (figure.high - figure.low) / 2 / _ERRORS_PER_HALF


def _sample(line: Line, sample: Sample) -> dict[str, Any]:
    said = line.reply.text
    return {
        "doc_id": line.at,
        "target": line.target,
        "input": line.prompt,
        "resps": [[said]],
        "filtered_resps": [said],
        "doc_hash": hashlib.sha256(f"{line.id}\n{line.prompt}".encode()).hexdigest(),
        **{label: stat.score for label, stat in sample.stats.items()},
    }
