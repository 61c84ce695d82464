// Draws the turns of a chat. Turns that did not change keep their nodes: a player goes on playing.
import { children, path } from "./chat.js";
import { $, copyButton, h, iconButton } from "./dom.js";
import { render } from "./markdown.js";
import { show } from "./media.js";
import { t } from "./text.js";

const drawn = new Map(); // a turn's id -> { item, stamp }: its node, and what it depends on

export const clear = () => drawn.clear();

// `acts` has what the buttons do: edit, erase, again and turnTo, each called with the turn.
export function draw(chat, running, acts) {
	const items = path(chat).map((turn) => {
		const beside = children(chat, turn.parent).map(({ id }) => id);
		const stamp = [...beside, running, turn.ended, turn.error].join();
		if (drawn.get(turn.id)?.stamp !== stamp) {
			const item = h("li", { class: `turn ${turn.role}` });
			drawn.set(turn.id, { stamp, item });
			(turn.role === "user" ? question : response)(item, turn, running);
			item.append(buttons(turn, beside, running, acts));
		}
		return drawn.get(turn.id).item;
	});
	$("empty").hidden = items.length > 0;
	for (const old of [...$("turns").children]) if (!items.includes(old)) old.remove();
	// Moving a node would stop its player.
	items.forEach((item, at) => $("turns").children[at] !== item && $("turns").insertBefore(item, $("turns").children[at]));
}

function question(item, { parts = [], text }) {
	item.append(h("h2", { class: "away" }, t("you")));
	if (parts.length) item.append(h("ul", { class: "media" }, ...parts.map((each) => show(each))));
	if (text) item.append(h("p", { class: "said" }, text));
}

function response(item, turn, running) {
	const mind = h("details", {}, h("summary", {}, t("thinking")), h("p"));
	item.append(h("h2", {}, turn.model), mind, h("div", { class: "text" }));
	if (turn.id === running) item.ariaBusy = "true";
	else if (turn.error) item.append(h("p", { class: "failed" }, turn.error));
	else if (turn.ended) item.append(h("p", { class: "soft" }, t(turn.ended)));
	item.append(h("p", { class: "stats soft" }));
	update(turn);
}

export function update(turn) {
	const item = drawn.get(turn.id)?.item;
	if (!item) return;
	const [mind, text, foot] = ["details", ".text", ".stats"].map((each) => item.querySelector(each));
	mind.hidden = !turn.thinking;
	mind.lastChild.textContent = turn.thinking;
	render(turn.text, text);
	const { first, seconds, out, into, guessed } = turn.stats ?? {};
	if (first === undefined) return;
	// Of the tokens after the first.
	const speed = out > 1 && seconds > .01 && t("speed", { n: ((out - 1) / seconds).toFixed(1) });
	const found = [into && t("tokensIn", { n: into }), t("tokensOut", { n: (guessed ? "\u2248" : "") + out }), speed, t("first", { n: Number(first).toFixed(2) })];
	foot.textContent = found.filter(Boolean).join(" \u00b7 ");
}

function buttons(turn, beside, running, acts) {
	const row = h("div", { class: "acts" });
	if (turn.text) row.append(copyButton(() => turn.text));
	if (running) return row;
	for (const act of turn.role === "user" ? ["edit", "erase"] : ["again"]) row.append(iconButton(act, () => acts[act](turn)));
	if (beside.length > 1) {
		const at = beside.indexOf(turn.id);
		const step = (by) => () => acts.turnTo(turn, beside.at((at + by) % beside.length));
		row.append(iconButton("previous", step(-1)), `${at + 1}/${beside.length}`, iconButton("next", step(1)));
	}
	return row;
}
