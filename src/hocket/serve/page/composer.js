// Where a message is written: text, files by picker, drop and paste, microphone, camera, drafts.
import { $, clearNotice, notice } from "./dom.js";
import { part, show } from "./media.js";
import { LONGEST, record, watch } from "./record.js";
import * as store from "./store.js";
import { bytes, clock, t } from "./text.js";

let page; // what main.js gives: { chat, busy, send, save, saveNow }
let parts; // of the message on show
let editing; // the turn that is edited, if one is
let recorder; // the microphone, while it records

// Written at every key: a database may not finish when the page goes away.
const draftKey = () => `hocket.draft.${page.chat().id}`;

export function setUp(given) {
	page = given;
	const say = $("say");
	say.oninput = () => {
		grow();
		if (editing) return;
		localStorage.setItem(draftKey(), say.value);
		page.save();
	};
	say.onkeydown = (event) => {
		// Enter also ends the choice of a Chinese word; Safari then says 229.
		if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
		event.preventDefault();
		submit();
	};
	$("send").onclick = submit;
	$("edit-cancel").onclick = load;
	$("attach").onclick = () => $("files").click();
	$("files").onchange = async ({ target }) => {
		await attach(target.files);
		target.value = "";
	};
	$("mic").onclick = startRecording;
	$("record-keep").onclick = () => endRecording(true);
	$("record-cancel").onclick = () => endRecording(false);
	$("camera").onclick = takePicture;
	document.onpaste = (event) => {
		const { files, types } = event.clipboardData;
		// A spreadsheet's cells come as a picture too.
		if (!files.length || types.includes("text/rtf")) return;
		event.preventDefault();
		attach(files);
	};
	document.ondragover = document.ondrop = document.ondragleave = (event) => {
		if (!event.dataTransfer.types.includes("Files")) return;
		event.preventDefault();
		document.body.classList.toggle("drop", event.type === "dragover");
		if (event.type === "drop") attach(event.dataTransfer.files);
	};
	addEventListener("beforeunload", (event) => recorder && event.preventDefault());
}

export function load() {
	put(undefined, page.chat().draft, localStorage.getItem(draftKey()));
}

export function edit(turn) {
	put(turn, [...turn.parts], turn.text);
	$("say").focus();
}

function put(turn, its, text) {
	[editing, parts, $("say").value] = [turn, its, text ?? ""];
	draw();
}

export function escape() {
	if (recorder) endRecording(false);
	else if (editing) load();
	else return false;
	return true;
}

export function draw() {
	$("editing").hidden = !editing;
	$("tray").replaceChildren(...parts.map((each) => show(each, () => remove(each))));
	$("send").hidden = page.busy();
	$("stop").hidden = !page.busy();
	grow();
}

function grow() {
	$("say").style.height = 0;
	$("say").style.height = `${$("say").scrollHeight}px`;
}

function submit() {
	const message = { text: $("say").value.trim(), parts, from: editing };
	if (page.busy() || recorder || !(message.text || parts.length)) return;
	if (!editing) {
		page.chat().draft = [];
		localStorage.removeItem(draftKey());
	}
	load();
	page.send(message);
}

export async function attach(files) {
	const chat = page.chat(), into = parts;
	for (const file of [...files]) {
		try {
			const found = await part(file);
			into.push(found);
			await keep(found, chat);
		} catch (error) {
			notice(error.message);
		}
	}
	changed();
}

export async function keep(part, chat) {
	if (!(await store.keep(part, chat))) notice(t("overCap", { name: part.name, cap: bytes(store.MOST_MEDIA) }));
}

function remove(each) {
	parts.splice(parts.indexOf(each), 1);
	if (!editing) store.drop([each.id]);
	changed();
}

function changed() {
	draw();
	page.saveNow();
	$("say").focus();
}

async function withDevice(start) {
	clearNotice("device");
	try {
		if (!navigator.mediaDevices) throw new Error(t("needsHttps"));
		await start();
	} catch (error) {
		notice(t("noDevice", { why: error.message }), { id: "device" });
	}
}

function startRecording() {
	if (!recorder) withDevice(async () => {
		recorder = await record((level, seconds) => {
			$("level").value = level;
			$("timer").textContent = clock(seconds);
			if (seconds >= LONGEST) endRecording(true);
		});
		$("recording").hidden = false;
		$("record-keep").focus();
	});
}

async function endRecording(kept) {
	const ended = recorder;
	recorder = undefined;
	$("recording").hidden = true;
	$("say").focus();
	const blob = await (kept ? ended.keep() : ended.drop());
	if (kept) attach([named(blob, "recording", "wav")]);
}

function takePicture() {
	withDevice(async () => {
		const camera = await watch($("preview"));
		$("shot").onclose = camera.drop;
		$("shot-cancel").onclick = () => $("shot").close();
		$("shot-take").onclick = async () => {
			const blob = await camera.take();
			$("shot").close();
			attach([named(blob, "picture", "jpg")]);
		};
		$("shot").showModal();
	});
}

function named(blob, word, ending) {
	return new File([blob], `${t(word)} ${new Date().toLocaleTimeString("de")}.${ending}`, { type: blob.type });
}
