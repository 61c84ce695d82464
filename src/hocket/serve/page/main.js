// The page: opens chats, sends messages, keeps the list.
import { models } from "./api.js";
import { add, cut, name, newChat, newId, path } from "./chat.js";
import * as composer from "./composer.js";
import { $, clearNotice, h, icon, iconButton, notice } from "./dom.js";
import { download, json, markdown, read } from "./exchange.js";
import { remember, sampling, settings, setUp } from "./settings.js";
import * as store from "./store.js";
import { follow, message } from "./talk.js";
import { speak, t } from "./text.js";
import * as view from "./view.js";

const running = new Map(); // chat -> { chat, turn, stop } of the answer that is coming
const unsaved = new Set();
let list = []; // chats that are kept, the newest first
let shown; // the chat on show
let pinned = true; // whether the thread follows its end
let retry; // a timer

const wide = matchMedia("(min-width: 60rem)");

// Keeps a chat; the first time it also gets its place in the list.
async function save(chat) {
	if (chat.gone) return;
	chat.updated = Date.now();
	if (!list.includes(chat)) {
		list.unshift(chat);
		drawList();
	}
	await store.save(chat).catch(notSaved);
}

const notSaved = (error) => notice(t("notSaved", { why: error.message }), { id: "save" });

function saveSoon(chat) {
	if (!unsaved.size) setTimeout(() => {
		unsaved.forEach(save);
		unsaved.clear();
	}, 500);
	unsaved.add(chat);
}

async function openChat() {
	const id = location.hash.slice(1) || newId();
	shown = list.find((chat) => chat.id === id) ?? { ...newChat(), id };
	history.replaceState(null, "", `#${id}`);
	await store.fill(shown);
	view.clear();
	pinned = true;
	composer.load();
	redraw();
	if (!wide.matches) toggle("side", false);
	$("say").focus();
}

function go(id) {
	if (location.hash.slice(1) === id) openChat();
	else location.hash = id;
}

async function eraseChat() {
	if (!confirm(`${t("eraseChat")}: ${name(shown, "")}`)) return;
	shown.gone = true;
	running.get(shown)?.stop();
	list = list.filter(({ gone }) => !gone);
	localStorage.removeItem(`hocket.draft.${shown.id}`);
	await store.remove(shown.id);
	go("");
}

function rename() {
	shown.title = prompt(t("rename"), name(shown, "")) ?? shown.title;
	save(shown);
	redraw();
}

async function exportAll() {
	for (const chat of list) await store.fill(chat);
	download(newChat(), "json", await json(list));
}

async function importFile({ target }) {
	const [file] = target.files;
	try {
		const found = await read(await file.text());
		for (const chat of found) {
			await save(chat);
			for (const part of store.allParts(chat)) if (part.blob) await composer.keep(part, chat);
		}
		go(found[0].id);
	} catch (error) {
		notice(t("cannotImport", { name: file.name, why: error.message }));
	}
	target.value = "";
}

function drawList() {
	const onclick = () => download(shown, "md", markdown(shown));
	$("list").replaceChildren(...list.map((chat) => {
		const link = h("a", { href: `#${chat.id}` }, name(chat, t("newChat")));
		if (chat !== shown) return h("li", {}, link);
		link.ariaCurrent = "page";
		const buttons = [iconButton("edit", rename, t("rename")), iconButton("erase", eraseChat, t("eraseChat")), h("button", { onclick }, "Markdown")];
		return h("li", {}, link, h("div", { class: "acts" }, ...buttons));
	}));
}

function redraw() {
	view.draw(shown, running.get(shown)?.turn.id, { edit: composer.edit, erase, again, turnTo });
	composer.draw();
	drawList();
	document.title = name(shown, "Hocket");
	stick();
}

function stick() {
	if (pinned) $("thread").scrollTop = $("thread").scrollHeight;
}

function send({ text, parts, from }) {
	pinned = true;
	run(add(shown, from ? from.parent : path(shown).at(-1)?.id ?? "", { role: "user", text, parts }));
}

async function run(question) {
	const chat = shown, turns = path(chat);
	const above = turns.slice(0, turns.indexOf(question) + 1);
	// "reloaded" is what stays when the page goes away before the answer has ended.
	const turn = add(chat, question.id, { role: "assistant", model: settings.model, ended: "reloaded" });
	const controller = new AbortController();
	running.set(chat, { chat, turn, stop: () => controller.abort() });
	redraw();
	await save(chat);
	const status = await follow(turn, above, { model: settings.model, ...sampling() }, controller.signal, () => {
		saveSoon(chat);
		if (chat === shown) view.update(turn);
		stick();
	});
	running.delete(chat);
	if (turn.ended === "reloaded") turn.ended = "";
	await save(chat);
	redraw();
	if (status === 401) askKey();
}

function again(turn) {
	run(shown.nodes.find(({ id }) => id === turn.parent));
}

function turnTo(turn, id) {
	shown.picked[turn.parent] = id;
	save(shown);
	redraw();
}

function erase(turn) {
	if (!confirm(t("eraseTurn"))) return;
	store.drop(cut(shown, turn));
	save(shown);
	redraw();
}

async function loadModels() {
	clearTimeout(retry);
	try {
		const names = await models();
		remember({ model: names.includes(settings.model) ? settings.model : names[0] });
		$("model").replaceChildren(...names.map((each) => h("option", { selected: each === settings.model }, each)));
		clearNotice("models");
	} catch (error) {
		notice(message(error), { id: "models", action: t("retry"), act: loadModels });
		if (error.status === 401) askKey();
		else retry = setTimeout(loadModels, 5000);
	}
}

function askKey() {
	toggle("panel", true);
	$("look").elements.key.select();
}

function toggle(id, open) {
	$(id).hidden = !open;
	$(`${id}-open`).ariaExpanded = open;
	$("veil").hidden = wide.matches || ($("side").hidden && $("panel").hidden);
}

function shut() {
	for (const id of ["side", "panel"]) toggle(id, false);
}

function frame() {
	for (const id of ["side", "panel"]) {
		$(`${id}-open`).onclick = $(`${id}-close`).onclick = () => {
			const open = $(id).hidden;
			toggle(id, open);
			$(`${id}-${open ? "close" : "open"}`).focus();
		};
	}
	wide.onchange = () => {
		shut();
		toggle("side", wide.matches);
	};
	wide.onchange();
	$("veil").onclick = shut;
	$("new").onclick = () => go("");
	$("model").onchange = () => remember({ model: $("model").value });
	$("stop").onclick = () => running.get(shown)?.stop();
	$("thread").onscroll = ({ target }) => {
		pinned = target.scrollHeight - target.scrollTop - target.clientHeight < 60;
	};
	new ResizeObserver(stick).observe($("thread"));
	$("export").onclick = exportAll;
	$("import").onclick = () => $("import-file").click();
	$("import-file").onchange = importFile;
	document.onkeydown = ({ key }) => {
		if (key !== "Escape" || document.querySelector("dialog[open]") || composer.escape()) return;
		if (running.has(shown)) $("stop").click();
		else if (!$("veil").hidden || !$("panel").hidden) shut();
	};
	addEventListener("hashchange", openChat);
	// A database may not finish while the page goes away; this does.
	addEventListener("pagehide", () => {
		localStorage.setItem("hocket.partial", JSON.stringify([...running.values()], store.bare));
	});
}

async function restore() {
	for (const { chat, turn } of JSON.parse(localStorage.getItem("hocket.partial")) ?? []) {
		Object.assign(chat.nodes.find(({ id }) => id === turn.id), turn);
		await store.save(chat);
	}
	localStorage.removeItem("hocket.partial");
	list = await store.chats();
}

async function start() {
	setUp((field) => {
		if (field === "key") return loadModels();
		speak(settings.language);
		view.clear();
		redraw();
	});
	speak(settings.language);
	for (const node of document.querySelectorAll("button[data-label]")) node.append(icon(node.dataset.label));
	composer.setUp({ chat: () => shown, busy: () => running.has(shown), send, save: () => saveSoon(shown), saveNow: () => save(shown) });
	frame();
	await store.open().then(restore).catch(notSaved);
	document.documentElement.dataset.ready = "";
	await openChat();
	loadModels();
}

start();
