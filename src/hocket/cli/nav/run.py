"""Let a model walk through a world, and score it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID
from rich.table import Table

from hocket._errors import ConfigError
from hocket._log import console
from hocket.chat.navigation import Asking
from hocket.cli._session import start_session
from hocket.cli.nav._world import SetOption, find_profile, read_settings, spec_of
from hocket.eval.identity import find_candidate
from hocket.infer.engine import Engine
from hocket.nav.agent import Agent, RandomAgent
from hocket.nav.codec import Grammar
from hocket.nav.environment import NavEnv
from hocket.nav.loop import LoopOptions, OnInvalid
from hocket.nav.model_agent import AgentOptions, ModelAgent
from hocket.nav.open_loop import compare
from hocket.nav.run import RunOptions, read_logs, run
from hocket.nav.score import Profile
from hocket.nav.table import Mean, TableRow
from hocket.nav.walks_page import write_page
from hocket.nav.worlds import open_world

# How the walks of a world are scored unless somebody says otherwise.
_USUAL = {"rooms": "rooms", "r2r_graph": "r2r"}
_SHOWN = ("sr", "osr", "spl", "ndtw", "ne_m", "steps", "invalid")


def command(
    model: Annotated[
        Path | None, typer.Argument(help="Checkpoint directory or run folder; none for baselines.")
    ] = None,
    env: Annotated[str, typer.Option(help="World, a file of `nav/worlds`.")] = "rooms",
    settings: SetOption = None,
    profile: Annotated[str, typer.Option(help="How walks are scored.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of logs, table and report.")] = Path("runs/nav"),
    frames: Annotated[int, typer.Option(min=1, help="Pictures that the model is shown.")] = 8,
    prompt: Annotated[Asking, typer.Option(help="How it is asked.")] = Asking.NAVILA,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest answer.")] = 0.0,
    clean: Annotated[bool, typer.Option("--clean", help="Instructions as trained on.")] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Chance, and the model blinded, too.")
    ] = True,
    side: Annotated[int, typer.Option(min=0, help="Pixels; 0 is the profile's.")] = 0,
    max_steps: Annotated[int, typer.Option(min=0, help="Steps; 0 is the profile's.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Walks side by side.")] = 16,
    grammar: Annotated[Grammar, typer.Option(help="How answers are read.")] = Grammar.NAVILA,
    on_invalid: Annotated[
        OnInvalid, typer.Option(help="What an unreadable answer does.")
    ] = OnInvalid.FORWARD25,
    limit: Annotated[int, typer.Option(min=0, help="Walks at most; 0 for all.")] = 0,
    shard: Annotated[str, typer.Option(help="I/N: the I-th of N shares, from 0.")] = "0/1",
    pictures: Annotated[int, typer.Option(min=0, help="Walks in the report.")] = 12,
    video: Annotated[int, typer.Option(min=0, help="Walks that become an MP4.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the random walker.")] = 0,
    open_loop: Annotated[
        bool,
        typer.Option("--open-loop", help="Walk the recorded or the expert's way; compare answers."),
    ] = False,
) -> None:
    """Let a model walk through a world, and score it.

    The same command goes on with a run that was stopped. Shards write into one folder.
    """
    start_session()
    world = read_settings(settings)
    chosen = find_profile(profile or _USUAL.get(env, "vlnce"))
    spec = spec_of(chosen, side=side, max_steps=max_steps)

    def make_world() -> NavEnv:
        return open_world(env, world, spec)

    make_world().close()  # a wrong option is told of before a model is loaded
    asked = AgentOptions(frames=frames, prompt=prompt, clean=clean, temperature=temperature)
    agents = _agents(model, asked, baselines=baselines, seed=seed)
    if open_loop:
        _compare(make_world, agents, batch=batch, limit=limit, grammar=grammar)
        return
    options = RunOptions(
        **_shard(shard),
        limit=limit,
        pictures=pictures,
        films=video,
        loop=LoopOptions(batch=batch, grammar=grammar, on_invalid=on_invalid),
        setup=_setup(model, env, world, chosen.name, asked, spec, grammar, on_invalid, seed),
    )
    _walk(make_world, agents, chosen, out, options)


def _walk(
    make_world: Callable[[], NavEnv],
    agents: Mapping[str, Agent],
    profile: Profile,
    out: Path,
    options: RunOptions,
) -> None:
    """Walk, and show the table."""
    with Progress(console=console(), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(agent: str, done: int, total: int) -> None:
            if agent not in tasks:
                tasks[agent] = bar.add_task(agent, total=total)
            bar.update(tasks[agent], completed=done)

        rows = run(make_world, agents, profile, out, options, progress=show)
    page = out / "report.html"
    write_page(page, rows, read_logs(out), profile, options.setup, out / "pictures")
    console().print(_screen(rows, profile.name))
    typer.echo(f"report: {page}")


def _agents(
    model: Path | None, asked: AgentOptions, *, baselines: bool, seed: int
) -> dict[str, Agent]:
    agents: dict[str, Agent] = {}
    if model is not None:
        engine = Engine.load(model)
        agents["model"] = ModelAgent(engine, asked)
        if baselines:
            agents["blind"] = ModelAgent(engine, replace(asked, blind=True))
    if baselines or model is None:
        agents["random"] = RandomAgent(seed)
    return agents


def _compare(
    make_world: Callable[[], NavEnv],
    agents: Mapping[str, Agent],
    *,
    batch: int,
    limit: int,
    grammar: Grammar,
) -> None:
    """Print the agreement of each agent with the recorded answers."""
    for name, agent in agents.items():
        found = compare(make_world, agent, batch=batch, limit=limit, grammar=grammar)
        typer.echo(
            f"{name}: {found.decisions} decisions, same action {found.same_action:.1%}, "
            f"same words {found.same_decision:.1%}, invalid {found.invalid}"
        )


def _shard(text: str) -> dict[str, int]:
    first, mark, second = text.partition("/")
    if not (mark and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise ConfigError(f"--shard {text}: expected I/N with I from 0 to N - 1, such as 0/4.")
    return {"shard": int(first), "shards": int(second)}


def _setup(
    model: Path | None,
    env: str,
    world: Mapping[str, Any],
    profile: str,
    asked: AgentOptions,
    spec: Any,
    grammar: Grammar,
    on_invalid: OnInvalid,
    seed: int,
) -> dict[str, Any]:
    return {
        "model": str(model) if model else "",
        # Trained on, the same folder holds another model.
        "weights": find_candidate(model).fingerprint if model else "",
        "seed": seed,
        "world": env,
        "options": dict(world),
        "profile": profile,
        "frames": asked.frames,
        "prompt": str(asked.prompt),
        "clean": asked.clean,
        "temperature": asked.temperature,
        "side": [spec.width, spec.height],
        "max_steps": spec.max_steps,
        "grammar": str(grammar),
        "on_invalid": str(on_invalid),
    }


def _screen(rows: list[TableRow], profile: str) -> Table:
    """Return the table, narrow enough for 80 columns; the report has every interval."""
    table = Table(title=f"profile {profile}", box=None, padding=(0, 1, 0, 0))
    for name in ("who", "group", "walks", *_SHOWN, "at any", "at right"):
        table.add_column(name, justify="left" if name in ("who", "group") else "right")
    for row in rows:
        cells = [_number(row.means[name], name) for name in _SHOWN]
        split = [
            f"{100 * one.value:.0f}" if one else "-" for one in (row.reached_any, row.reached_right)
        ]
        table.add_row(row.agent, row.group, str(row.walks), *cells, *split)
    table.caption = "shares in percent; at any: stopped at some landmark; at right: of those"
    return table


def _number(mean: Mean, name: str) -> str:
    if name == "sr":
        return f"{100 * mean.value:.1f} +-{50 * (mean.high - mean.low):.0f}"
    return f"{100 * mean.value:.1f}" if name in ("osr", "spl", "ndtw") else f"{mean.value:.2f}"
