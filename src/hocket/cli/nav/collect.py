"""Write rows to learn walking from: what an expert does in the rooms, and what is to be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from hocket._errors import ConfigError, DataError
from hocket._log import console
from hocket._options import read_options
from hocket.chat.navigation import Asking
from hocket.cli.nav._world import SetOption, find_profile, read_settings, spec_of
from hocket.nav.agent import Agent
from hocket.nav.collect import CollectOptions, collect
from hocket.nav.rooms.episodes import RoomsOptions
from hocket.nav.rooms.world import RoomsEnv
from hocket.nav.sights import SightOptions, write_sights


def command(
    out: Annotated[Path, typer.Argument(help="Folder that is made.")] = Path("hocket-rooms"),
    walks: Annotated[int, typer.Option(min=1, help="Walks.")] = 150,
    sights: Annotated[int, typer.Option(min=0, help="Pictures with captions, questions.")] = 36000,
    drills: Annotated[int, typer.Option(min=0, help="Made-up scenes in words.")] = 8000,
    settings: SetOption = None,
    epsilon: Annotated[float, typer.Option(help="Share of random decisions.")] = 0.15,
    others: Annotated[int, typer.Option(help="Labels for other landmarks.")] = 3,
    stops: Annotated[int, typer.Option(help="Copies of rows that say to stop.")] = 2,
    aloud: Annotated[
        bool, typer.Option("--aloud", help="Answers begin with what is in sight.")
    ] = False,
    policy: Annotated[
        Path | None, typer.Option(help="Checkpoint whose mistakes are visited (DAgger).")
    ] = None,
    beta: Annotated[float, typer.Option(help="Share of decisions that stay the expert's.")] = 0.5,
    frames: Annotated[int, typer.Option(min=1, help="Pictures that the policy is shown.")] = 8,
    prompt: Annotated[Asking, typer.Option(help="How the policy is asked.")] = Asking.NAVILA,
    side: Annotated[int, typer.Option(min=0, help="Pixels; 0 is the profile's.")] = 0,
    seed: Annotated[int, typer.Option(help="Places, walks and mistakes.")] = 0,
) -> None:
    """Write rows to learn walking from: what an expert does in the rooms, and what is to be seen.

    OUT gets walks.json (NaVILA's rows), shapes.json, names.json, sights.json, goals.json,
    asked.json and drills.json (LLaVA's) and their pictures. --set takes the options of the rooms,
    such as levels=[0,1,2]; the split is always train.
    """
    given = {"levels": [0, 1], **read_settings(settings)}
    if "split" in given:
        raise ConfigError("--set split: rows to learn from are of the split train. Leave it out.")
    given = {"episodes": walks, "seed": seed, **given, "kind": "rooms"}
    rooms = read_options("environment", RoomsOptions, given)
    spec = spec_of(find_profile("rooms"), side=side)
    for name in ("walks.json", "sights.json"):
        if (out / name).exists():
            raise DataError(f"{out / name} exists. Choose a new folder.")
    options = CollectOptions(
        epsilon=epsilon, beta=beta, others=others, stops=stops, aloud=aloud, seed=seed
    )
    agent = _walker(policy, frames, prompt) if policy else None
    with Progress(console=console(), transient=True) as bar:
        if sights:
            seen = bar.add_task("sights", total=sights)
            write_sights(
                rooms,
                spec,
                out,
                SightOptions(pictures=sights, drills=drills, aloud=aloud, seed=seed),
                progress=lambda done, total: bar.update(seen, completed=done, total=total),
            )
        walked = bar.add_task("walks", total=walks)
        count = collect(
            lambda: RoomsEnv(rooms, spec),
            out,
            options,
            policy=agent,
            progress=lambda done, total: bar.update(walked, completed=done, total=total),
        )
    typer.echo(f"{out}: {count} rows of {walks} walks, {sights} sights")


def _walker(policy: Path, frames: int, prompt: Asking) -> Agent:
    """Return the model whose mistakes are visited."""
    # torch takes seconds, and an expert does not need it.
    from hocket.cli._session import start_session
    from hocket.infer.engine import Engine
    from hocket.nav.model_agent import AgentOptions, ModelAgent

    start_session()
    return ModelAgent(Engine.load(policy), AgentOptions(frames=frames, prompt=prompt))
