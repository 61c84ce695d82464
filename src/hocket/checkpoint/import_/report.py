"""What became of every tensor of an imported checkpoint."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

NAME = "import_report.json"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The account of an import.

    Attributes:
        kind: the importer.
        source: the folder that was imported.
        mapped: name in the model -> the source tensors it is made of, as ``file: name``.
        changed: name in the model -> what was done to it, where it is no plain copy.
        ignored: source tensor -> why it was left out.
        notes: what was decided where the source leaves it open.
        parameters: numbers in the model.
    """

    kind: str
    source: str
    mapped: dict[str, tuple[str, ...]]
    changed: dict[str, str]
    ignored: dict[str, str]
    notes: tuple[str, ...]
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``import_report.json`` holds."""
        return {
            "kind": self.kind,
            "source": self.source,
            "parameters": self.parameters,
            "notes": list(self.notes),
            "changed": self.changed,
            "ignored": self.ignored,
            "mapped": {name: list(origins) for name, origins in self.mapped.items()},
        }

    def lines(self) -> list[str]:
        """Return the report in short, a line each."""
        used = {origin for origins in self.mapped.values() for origin in origins}
        lines = [
            f"{self.kind}: {len(used)} source tensors fill {len(self.mapped)} of the model, "
            f"{self.parameters:,} parameters"
        ]
        for what, count in Counter(self.changed.values()).most_common():
            first = next(name for name, one in self.changed.items() if one == what)
            more = f" and {count - 1} more" if count > 1 else ""
            lines.append(f"changed: {first}{more}: {what}")
        for reason, count in Counter(self.ignored.values()).most_common():
            first = next(name for name, one in self.ignored.items() if one == reason)
            more = f" and {count - 1} more" if count > 1 else ""
            lines.append(f"ignored: {first}{more}: {reason}")
        return lines + [f"note: {note}" for note in self.notes]
