// Makes DOM nodes and icons. Text goes in as text: nothing here parses HTML.
import { t } from "./text.js";

export const $ = (id) => document.getElementById(id);

export function h(tag, set = {}, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(set)) {
		if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
		else if (typeof value === "boolean") node.toggleAttribute(name, value);
		else node.setAttribute(name, value);
	}
	node.append(...children);
	return node;
}

const ICONS = {
	again: "M19 12a7 7 0 1 1-2-5l3 3M20 4v6h-6",
	attach: "M20 11l-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7L9.5 17a1.6 1.6 0 0 1-2.3-2.3L14.5 7.5",
	camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7",
	chats: "M4 7h16M4 12h16M4 17h16",
	close: "M6 6l12 12M18 6L6 18",
	copy: "M9 9h11v11H9zM5 15H4V4h11v1",
	edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
	erase: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
	next: "M9 5l7 7-7 7",
	previous: "M15 5l-7 7 7 7",
	record: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3M6 11a6 6 0 0 0 12 0M12 17v4",
	send: "M12 20V5M5 12l7-7 7 7",
	settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
	stop: "M7 7h10v10H7z",
};

export function icon(name) {
	const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
	svg.setAttribute("viewBox", "0 0 24 24");
	svg.setAttribute("aria-hidden", "true");
	path.setAttribute("d", ICONS[name]);
	svg.append(path);
	return svg;
}

export function iconButton(name, act, label = t(name)) {
	return h("button", { class: "small", "aria-label": label, title: label, onclick: act }, icon(name));
}

// Shows a message until it is closed, or its id cleared.
export function notice(text, { id = text, action, act } = {}) {
	clearNotice(id);
	const note = h("div", { "data-id": id }, h("p", {}, text));
	if (action) note.append(h("button", { class: "plain", onclick: act }, action));
	note.append(iconButton("close", () => note.remove()));
	$("notices").append(note);
}

export function clearNotice(id) {
	for (const each of [...$("notices").children]) if (each.dataset.id === id) each.remove();
}

// Plain http on another host has no clipboard.
export function copyButton(read) {
	return !navigator.clipboard ? "" : iconButton("copy", async ({ currentTarget: button }) => {
		await navigator.clipboard.writeText(read());
		$("live").textContent = t("copied");
		button.classList.add("done");
		setTimeout(() => button.classList.remove("done"), 1500);
	});
}
